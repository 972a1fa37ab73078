//! A connection on its way: connects and shakes hands step by step, and waits
//! for nothing, so that one thread can have several on their way.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use crate::connection::Connection;
use crate::deadline::Deadline;
use crate::stream::{Timed, await_one};

/// The system looks after idle connections: it notices a peer that is gone, and
/// a firewall does not take the connection for a forgotten one.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// A connection on its way.
pub(crate) struct Opening {
    socket: TcpStream,
    tls: ClientConnection,
    connected: bool,
    /// Which endpoint it leads to.
    pub(crate) endpoint: usize,
    pub(crate) began: Instant,
}

impl Opening {
    /// Sets out.
    pub(crate) fn begin(
        address: SocketAddr,
        endpoint: usize,
        name: ServerName<'static>,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket: OwnedFd = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_socket_keepalive(&socket, true)?;
        sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES)?;
        match connect(&socket, &address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let socket = TcpStream::from(socket);
        Ok(Self { socket, tls, connected: false, endpoint, began: Instant::now() })
    }

    /// Goes as far as it can without waiting; `true` when the hands are shaken.
    pub(crate) fn step(&mut self) -> io::Result<bool> {
        if !self.connected {
            if !await_one(&mut [self.awaits()], Deadline::now())? {
                return Ok(false);
            }
            sockopt::socket_error(&self.socket)??;
            self.connected = true;
        }
        loop {
            match self.advance() {
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(false),
                Err(error) => return Err(error),
                Ok(()) if self.tls.is_handshaking() || self.tls.wants_write() => {}
                Ok(()) => return Ok(true),
            }
        }
    }

    fn advance(&mut self) -> io::Result<()> {
        let mut socket = Timed::new(&self.socket, Deadline::now());
        while self.tls.wants_write() {
            self.tls.write_tls(&mut socket)?;
        }
        if !self.tls.is_handshaking() {
            return Ok(());
        }
        if self.tls.read_tls(&mut socket)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Err(error) = self.tls.process_new_packets() {
            // The peer is told why, if that is possible at once.
            while self.tls.wants_write() && self.tls.write_tls(&mut socket).is_ok() {}
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(())
    }

    /// What the next step waits for.
    pub(crate) fn awaits(&self) -> PollFd<'_> {
        let event =
            if !self.connected || self.tls.wants_write() { PollFlags::OUT } else { PollFlags::IN };
        PollFd::new(&self.socket, event)
    }

    /// The connection, once the hands are shaken.
    pub(crate) fn finish(self) -> Connection {
        Connection::new(self.socket, self.tls, self.endpoint)
    }
}
