//! A socket whose reads and writes have a deadline and raise no SIGPIPE.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendFlags, send};

/// A borrowed socket, which is in non-blocking mode, and a deadline.
pub(crate) struct Timed<'a> {
    socket: &'a TcpStream,
    deadline: Instant,
}

impl<'a> Timed<'a> {
    pub(crate) fn new(socket: &'a TcpStream, deadline: Instant) -> Self {
        Self { socket, deadline }
    }

    fn wait(&self, event: PollFlags) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !ready(self.socket, event, left)? {
            return Err(io::Error::new(ErrorKind::TimedOut, "no answer within the deadline"));
        }
        Ok(())
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

/// Whether an event is there within `patience`.
pub(crate) fn ready(socket: &TcpStream, event: PollFlags, patience: Duration) -> io::Result<bool> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(socket, event)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
