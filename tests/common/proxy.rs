//! Endpoints that can be disturbed: TCP proxies in front of a service.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How an endpoint behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    Forwards,
    /// As a process that was killed: connections are closed, new ones refused.
    Refuses,
    /// Takes connections and resets them.
    Resets,
    /// As a host that hangs: takes connections, and nothing comes of it. What
    /// was sent meanwhile arrives when the line forwards again.
    Stalls,
}

/// A proxy on an address of its own.
pub struct Proxy {
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    line: Mutex<Line>,
    over: AtomicBool,
    flows: Mutex<Vec<Arc<Flow>>>,
}

/// One connection through a proxy.
pub struct Flow {
    from_client: AtomicU64,
    ended: AtomicBool,
}

impl Flow {
    /// How many bytes have come from the client.
    pub fn bytes(&self) -> u64 {
        self.from_client.load(Ordering::SeqCst)
    }

    /// Whether one end has closed it.
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Proxy {
    /// A proxy on the loopback.
    pub fn start(target: &str) -> Self {
        Self::on("127.0.0.1", target)
    }

    pub fn on(address: &str, target: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            line: Mutex::new(Line::Forwards),
            over: AtomicBool::new(false),
            flows: Mutex::default(),
        });
        let accepts = Arc::clone(&shared);
        let own = endpoint.parse().unwrap();
        std::thread::spawn(move || accepts.accept(listener, own));
        Self { endpoint, shared }
    }

    /// Has the line behave like that from now on, and waits until it does.
    pub fn set(&self, line: Line) {
        *self.shared.line.lock().unwrap() = line;
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let refused = match TcpStream::connect(&self.endpoint) {
                Ok(_) => false,
                Err(error) => error.kind() == ErrorKind::ConnectionRefused,
            };
            if refused == (line == Line::Refuses) {
                return;
            }
            assert!(Instant::now() < deadline, "the proxy does not become {line:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// All connections that brought a byte, the first one first.
    pub fn flows(&self) -> Vec<Arc<Flow>> {
        let flows = self.shared.flows.lock().unwrap();
        flows.iter().filter(|flow| flow.bytes() > 0).cloned().collect()
    }

    /// How many bytes have come from clients.
    pub fn bytes(&self) -> u64 {
        self.flows().iter().map(|flow| flow.bytes()).sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn line(&self) -> Line {
        *self.line.lock().unwrap()
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn accept(self: Arc<Self>, listener: TcpListener, own: SocketAddr) {
        listener.set_nonblocking(true).unwrap();
        let mut listener = Some(listener);
        while !self.is_over() {
            if self.line() == Line::Refuses {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind(own).ok();
                if let Some(listener) = &listener {
                    listener.set_nonblocking(true).unwrap();
                }
            }
            if let Some(Ok((client, _))) = listener.as_ref().map(TcpListener::accept) {
                let shared = Arc::clone(&self);
                std::thread::spawn(move || shared.carry(client));
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn carry(&self, client: TcpStream) {
        client.set_nonblocking(false).unwrap();
        let flow = Arc::new(Flow { from_client: AtomicU64::new(0), ended: AtomicBool::new(false) });
        self.flows.lock().unwrap().push(Arc::clone(&flow));
        // A service that is away is away for the client too.
        let Ok(service) = TcpStream::connect(&self.target) else {
            reset(&client);
            return;
        };
        for socket in [&client, &service] {
            socket.set_nodelay(true).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.copy(&client, &service, &flow, true));
            scope.spawn(|| self.copy(&service, &client, &flow, false));
        });
        if matches!(self.line(), Line::Refuses | Line::Resets) {
            reset(&client);
        }
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, flow: &Flow, counts: bool) {
        let mut buffer = vec![0; 1 << 16];
        while !self.is_over() && !flow.ended() {
            match self.line() {
                Line::Forwards => {}
                Line::Stalls => {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                }
                Line::Refuses | Line::Resets => break,
            }
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    continue;
                }
                Err(_) => break,
            };
            if counts {
                flow.from_client.fetch_add(count as u64, Ordering::SeqCst);
            }
            while self.line() == Line::Stalls && !self.is_over() {
                std::thread::sleep(Duration::from_millis(2));
            }
            if matches!(self.line(), Line::Refuses | Line::Resets)
                || to.write_all(&buffer[..count]).is_err()
            {
                break;
            }
        }
        flow.ended.store(true, Ordering::SeqCst);
        if !matches!(self.line(), Line::Refuses | Line::Resets) {
            let _ = to.shutdown(Shutdown::Both);
        }
    }
}

/// Has a socket reset its connection when it is closed.
pub fn reset(socket: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Leads a client to these endpoints instead of the service's own.
pub fn route(config: &Path, endpoints: &[&str]) {
    let text = std::fs::read_to_string(config).unwrap();
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.starts_with("endpoints") {
            true => format!("endpoints = {endpoints:?}"),
            false => line.to_owned(),
        })
        .collect();
    assert_ne!(lines.join("\n"), text.trim_end(), "client.toml has no endpoints");
    std::fs::write(config, lines.join("\n") + "\n").unwrap();
}
