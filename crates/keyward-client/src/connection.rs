//! One connection that has done its handshake: a request out, its frames in.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{Part, Request, Response, frame, parts};
use prost::Message;
use rustix::event::{PollFd, PollFlags};
use rustls::ClientConnection;
use zeroize::Zeroizing;

use crate::deadline::Deadline;
use crate::endpoint::Heard;
use crate::stream::{Timed, await_one};

/// A request, and what comes behind it where it is longer than a frame.
pub(crate) struct Question {
    pub(crate) request: Request,
    pub(crate) rest: Zeroizing<Vec<u8>>,
}

/// A connection that has done its handshake.
pub(crate) struct Connection {
    socket: TcpStream,
    tls: ClientConnection,
    /// Plaintext that was received and is not a whole frame yet.
    inbox: Vec<u8>,
    /// The frames of the present answer so far.
    frames: Vec<Response>,
    /// The service has asked for the rest of the present request.
    wants_rest: bool,
    /// The id of the last request.
    last_id: u64,
    used: Instant,
    /// Which endpoint it leads to.
    pub(crate) endpoint: usize,
}

impl Question {
    pub(crate) fn new(mut request: Request) -> Self {
        let mut rest = Zeroizing::default();
        // The envelope grows by what is filled in for each attempt.
        if request.encoded_len() > parts::PART
            && let Some(operation) = request.operation.take()
        {
            let (head, input) = operation.into_parts();
            request.operation = Some(head);
            rest = input.unwrap_or_default();
        }
        Self { request, rest }
    }
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, tls: ClientConnection, endpoint: usize) -> Self {
        let (inbox, frames) = (Vec::new(), Vec::new());
        let used = Instant::now();
        Self { socket, tls, inbox, frames, wants_rest: false, last_id: 0, used, endpoint }
    }

    /// How long ago it was used.
    pub(crate) fn rested(&self) -> Duration {
        self.used.elapsed()
    }

    /// Sends a request, with the rest of it when the service asks for that, and
    /// collects the frames of its answer. If `silence` is given, an endpoint from
    /// which nothing is heard for so long, on no connection, counts as one that
    /// does not answer. After an error the connection is of no further use.
    pub(crate) fn exchange(
        &mut self,
        question: &mut Question,
        deadline: Deadline<'_>,
        heard: &Heard,
        mut silence: Option<Duration>,
    ) -> io::Result<Vec<Response>> {
        self.ask(&mut question.request, deadline)?;
        let asked = Instant::now();
        let mut rest = question.rest.as_slice();
        loop {
            if let Some(frames) = self.answer()? {
                return Ok(frames);
            }
            if std::mem::take(&mut self.wants_rest) && !rest.is_empty() {
                self.send_rest(std::mem::take(&mut rest), deadline)?;
                // It answers, and has much to do.
                silence = None;
                continue;
            }
            let quiet = heard.since(asked).elapsed();
            let until =
                silence.map_or(deadline, |silence| deadline.within(silence.saturating_sub(quiet)));
            match self.receive(until) {
                Ok(()) => heard.note(),
                // Another connection may have heard something meanwhile.
                Err(error)
                    if error.kind() == ErrorKind::TimedOut
                        && !deadline.is_over()
                        && silence
                            .is_some_and(|silence| heard.since(asked).elapsed() < silence) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a request.
    pub(crate) fn ask(&mut self, request: &mut Request, deadline: Deadline<'_>) -> io::Result<()> {
        self.used = Instant::now();
        self.last_id += 1;
        request.id = self.last_id;
        request.patience_ms = u32::try_from(deadline.left().as_millis()).unwrap_or(u32::MAX);
        self.wants_rest = false;
        self.send_frame(request, deadline)
    }

    /// Sends the rest of the last request, unless an answer comes before its end.
    fn send_rest(&mut self, rest: &[u8], deadline: Deadline<'_>) -> io::Result<()> {
        for part in rest.chunks(parts::PART) {
            let part = Operation::Part(Part { bytes: part.to_vec() });
            let mut request =
                Request { id: self.last_id, operation: Some(part), ..Request::default() };
            let sent = self.send_frame(&request, deadline);
            if let Some(part) = &mut request.operation {
                part.wipe();
            }
            sent?;
            if await_one(&mut [PollFd::new(&self.socket, PollFlags::IN)], Deadline::now())? {
                self.receive(deadline)?;
                if !self.inbox.is_empty() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn send_frame(&mut self, request: &Request, deadline: Deadline<'_>) -> io::Result<()> {
        let bytes = Zeroizing::new(frame::encode(request).map_err(io::Error::other)?);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let taken = self.tls.writer().write(rest)?;
            rest = &rest[taken..];
            self.send(deadline)?;
        }
        Ok(())
    }

    /// The frames of the answer, if all of them have come.
    pub(crate) fn answer(&mut self) -> io::Result<Option<Vec<Response>>> {
        while let Some(response) = self.received()? {
            if response.more && matches!(response.result, Some(Answer::SendOn(_))) {
                self.wants_rest = true;
                continue;
            }
            let more = response.more;
            self.frames.push(response);
            if !more {
                return Ok(Some(std::mem::take(&mut self.frames)));
            }
        }
        Ok(None)
    }

    /// The next frame of the answer to the last request.
    pub(crate) fn next_frame(&mut self, deadline: Deadline<'_>) -> io::Result<Response> {
        loop {
            if let Some(response) = self.received()? {
                return Ok(response);
            }
            self.receive(deadline)?;
        }
    }

    /// The next frame of the answer, if it has come.
    fn received(&mut self) -> io::Result<Option<Response>> {
        while let Some(response) =
            frame::take::<Response>(&mut self.inbox).map_err(io::Error::other)?
        {
            // Id 0 is the service's word on the connection as a whole.
            if response.id == self.last_id || response.id == 0 {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    /// Whether the peer has closed an idle connection, or sent what nobody
    /// asked for.
    pub(crate) fn is_stale(&mut self) -> bool {
        loop {
            let event = &mut [PollFd::new(&self.socket, PollFlags::IN)];
            match await_one(event, Deadline::now()) {
                Ok(false) => return !self.inbox.is_empty(),
                Ok(true) => {
                    if self.receive(Deadline::now()).is_err() {
                        return true;
                    }
                }
                Err(_) => return true,
            }
        }
    }

    /// Reads once from the socket and moves what it decrypts to into the inbox.
    pub(crate) fn receive(&mut self, deadline: Deadline<'_>) -> io::Result<()> {
        let count = self.tls.read_tls(&mut Timed::new(&self.socket, deadline))?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let state = match self.tls.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // The peer is told why, if that is possible at once.
                let _ = self.send(Deadline::now());
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        };
        let start = self.inbox.len();
        let length = state.plaintext_bytes_to_read();
        self.inbox.resize(start + length, 0);
        self.tls.reader().read_exact(&mut self.inbox[start..])?;
        if length == 0 && state.peer_has_closed() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Writes all TLS records that wait.
    fn send(&mut self, deadline: Deadline<'_>) -> io::Result<()> {
        let mut timed = Timed::new(&self.socket, deadline);
        while self.tls.wants_write() {
            self.tls.write_tls(&mut timed)?;
        }
        Ok(())
    }
}
