//! A socket whose reads and writes have a deadline and raise no SIGPIPE.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, send};

use crate::deadline::Deadline;

/// No wait is longer without a look at the deadline, which may have come
/// nearer.
const LOOK: Duration = Duration::from_millis(25);

/// A borrowed socket, which is in non-blocking mode, and a deadline.
pub(crate) struct Timed<'a> {
    socket: &'a TcpStream,
    deadline: Deadline<'a>,
}

impl<'a> Timed<'a> {
    pub(crate) fn new(socket: &'a TcpStream, deadline: Deadline<'a>) -> Self {
        Self { socket, deadline }
    }

    fn wait(&self, event: PollFlags) -> io::Result<()> {
        if await_one(&mut [PollFd::new(self.socket, event)], self.deadline)? {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::TimedOut, "no answer within the deadline"))
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait(PollFlags::IN)?;
            match (&mut &*self.socket).read(buffer) {
                Err(error) if is_passing(&error) => {}
                result => return result,
            }
        }
    }
}

impl Write for Timed<'_> {
    /// The standard library's vectored write would be `writev`, which raises
    /// SIGPIPE in the host; this one is `send` with MSG_NOSIGNAL.
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match send(self.socket, buffer, SendFlags::NOSIGNAL).map_err(io::Error::from) {
                Err(error) if is_passing(&error) => self.wait(PollFlags::OUT)?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for one of several events; `false` when the deadline passes first.
pub(crate) fn await_one(events: &mut [PollFd<'_>], deadline: Deadline<'_>) -> io::Result<bool> {
    loop {
        let left = deadline.left();
        let timeout = Timespec::try_from(left.min(LOOK)).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(events, Some(&timeout)) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
