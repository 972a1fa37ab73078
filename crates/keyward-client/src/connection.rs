//! One connection: TLS 1.3 over TCP, a request out, its frames in.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_wire::{Request, Response, frame};
use rustix::event::PollFlags;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use zeroize::Zeroizing;

use crate::stream::{Timed, ready};

/// A connection that has done its handshake.
pub(crate) struct Connection {
    socket: TcpStream,
    tls: ClientConnection,
    /// Plaintext that was received and is not a whole frame yet.
    inbox: Vec<u8>,
    /// The id of the last request.
    last_id: u64,
    /// Which endpoint it leads to.
    pub(crate) endpoint: usize,
}

impl Connection {
    /// Connects and shakes hands.
    pub(crate) fn open(
        address: SocketAddr,
        endpoint: usize,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
        deadline: Instant,
    ) -> io::Result<Self> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let socket = TcpStream::connect_timeout(&address, left)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut connection = Self { socket, tls, inbox: Vec::new(), last_id: 0, endpoint };
        while connection.tls.is_handshaking() {
            connection.send(deadline)?;
            if connection.tls.is_handshaking() {
                connection.receive(deadline)?;
            }
        }
        connection.send(deadline)?;
        Ok(connection)
    }

    /// Sends a request and collects the frames of its answer. After an error
    /// the connection is of no further use.
    pub(crate) fn exchange(
        &mut self,
        request: &mut Request,
        deadline: Instant,
    ) -> io::Result<Vec<Response>> {
        self.ask(request, deadline)?;
        let mut frames = Vec::new();
        loop {
            let response = self.next_frame(deadline)?;
            let more = response.more;
            frames.push(response);
            if !more {
                return Ok(frames);
            }
        }
    }

    /// Sends a request.
    pub(crate) fn ask(&mut self, request: &mut Request, deadline: Instant) -> io::Result<()> {
        self.last_id += 1;
        request.id = self.last_id;
        let left = deadline.saturating_duration_since(Instant::now());
        request.patience_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        let bytes = Zeroizing::new(frame::encode(request).map_err(io::Error::other)?);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let taken = self.tls.writer().write(rest)?;
            rest = &rest[taken..];
            self.send(deadline)?;
        }
        Ok(())
    }

    /// The next frame of the answer to the last request.
    pub(crate) fn next_frame(&mut self, deadline: Instant) -> io::Result<Response> {
        loop {
            while let Some(response) =
                frame::take::<Response>(&mut self.inbox).map_err(io::Error::other)?
            {
                // Id 0 is the service's word on the connection as a whole.
                if response.id == self.last_id || response.id == 0 {
                    return Ok(response);
                }
            }
            self.receive(deadline)?;
        }
    }

    /// Whether the peer has closed an idle connection, or sent what nobody
    /// asked for.
    pub(crate) fn is_stale(&mut self) -> bool {
        loop {
            match ready(&self.socket, PollFlags::IN, Duration::ZERO) {
                Ok(false) => return !self.inbox.is_empty(),
                Ok(true) => {
                    if self.receive(Instant::now() + Duration::from_millis(1)).is_err() {
                        return true;
                    }
                }
                Err(_) => return true,
            }
        }
    }

    /// Writes all TLS records that wait.
    fn send(&mut self, deadline: Instant) -> io::Result<()> {
        let mut timed = Timed::new(&self.socket, deadline);
        while self.tls.wants_write() {
            self.tls.write_tls(&mut timed)?;
        }
        Ok(())
    }

    /// Reads once from the socket and moves what it decrypts to into the inbox.
    fn receive(&mut self, deadline: Instant) -> io::Result<()> {
        let count = self.tls.read_tls(&mut Timed::new(&self.socket, deadline))?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let state = match self.tls.process_new_packets() {
            Ok(state) => state,
            Err(error) => {
                // The peer is told why, if that is possible at once.
                let _ = self.send(Instant::now());
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
}
