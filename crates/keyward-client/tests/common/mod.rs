//! Replicas that do as they are told: the wire, and nothing behind it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyward_client::Config;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, ErrorCode, Hello, HelloResult, ListTokens, Request, Response};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;

/// What a replica does with a request that is no Hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    Answers,
    /// Answers with this code, and "come again in so many milliseconds".
    Says(ErrorCode, u32),
    /// Shakes hands, says hello, and does not answer.
    Silent,
    /// Answers, and is about to stop.
    Drains,
    /// Closes the connection instead of an answer.
    Closes,
    /// Answers with what this makes of it; its requests are counted.
    Garbles(Garble),
}

/// The bytes of a frame, made of the request, its answer and its number.
#[derive(Clone, Copy, Debug)]
pub struct Garble(pub fn(&Request, Response, u64) -> Vec<u8>);

impl PartialEq for Garble {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Garble {}

/// A CA, and a client's and a service's certificate.
pub struct Pki {
    dir: TempDir,
    server: Arc<ServerConfig>,
}

/// A replica at an address of its own.
pub struct Replica {
    pub endpoint: String,
    shared: Arc<Shared>,
    server: Arc<ServerConfig>,
    listening: Option<(Arc<AtomicBool>, std::thread::JoinHandle<()>)>,
}

struct Shared {
    mood: Mutex<Mood>,
    connections: AtomicU64,
    open: AtomicU64,
    requests: AtomicU64,
    hellos: AtomicU64,
    operations: Mutex<Vec<Vec<u8>>>,
}

impl Pki {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec![name.to_owned()])
                .unwrap()
                .signed_by(&key, &issuer)
                .unwrap();
            (certificate, key)
        };
        let (client, client_key) = issue("client");
        let write = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        write("ca.pem", authority_certificate.pem());
        write("identity.pem", client.pem());
        let key = write("identity.key", client_key.serialize_pem());
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority_certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let (service, service_key) = issue("keyward");
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![service.der().clone()],
                PrivateKeyDer::try_from(service_key.serialize_der()).unwrap(),
            )
            .unwrap();
        server.alpn_protocols = vec![wire::ALPN.to_vec()];
        Self { dir, server: Arc::new(server) }
    }

    pub fn replica(&self) -> Replica {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            mood: Mutex::new(Mood::Answers),
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            hellos: AtomicU64::new(0),
            operations: Mutex::default(),
        });
        let mut replica =
            Replica { endpoint, shared, server: Arc::clone(&self.server), listening: None };
        replica.listen(listener);
        replica
    }

    /// The config of a client with these endpoints and deadlines.
    pub fn config(&self, endpoints: &[&str], deadlines: &str) -> Config {
        let path = self.dir.path().join("client.toml");
        let text = format!(
            "endpoints = {endpoints:?}\nauthority = 'ca.pem'\ncertificate = 'identity.pem'\n\
             private_key = 'identity.key'\n[deadlines]\n{deadlines}\n"
        );
        std::fs::write(&path, text).unwrap();
        Config::load(Path::new(&path)).unwrap()
    }
}

impl Replica {
    pub fn is(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// How many requests it has read that were no Hello.
    pub fn requests(&self) -> u64 {
        self.shared.requests()
    }

    pub fn hellos(&self) -> u64 {
        self.shared.hellos.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The operation ids that it has seen, in their order.
    pub fn operations(&self) -> Vec<Vec<u8>> {
        self.shared.operations.lock().unwrap().clone()
    }

    /// Closes all connections and refuses new ones.
    pub fn stop(&mut self) {
        if let Some((over, thread)) = self.listening.take() {
            over.store(true, Ordering::SeqCst);
            thread.join().unwrap();
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            while self.shared.open.load(Ordering::SeqCst) > 0 {
                assert!(std::time::Instant::now() < deadline, "connections stay open");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    pub fn start(&mut self) {
        self.listen(TcpListener::bind(&self.endpoint).unwrap());
    }

    fn listen(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (shared, server) = (Arc::clone(&self.shared), Arc::clone(&self.server));
        let ends = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let (shared, server) = (Arc::clone(&shared), Arc::clone(&server));
                let ends = Arc::clone(&ends);
                shared.open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    shared.serve(stream, server, &ends);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        self.listening = Some((over, thread));
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    fn serve(&self, stream: TcpStream, server: Arc<ServerConfig>, ends: &AtomicBool) {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let tls = ServerConnection::new(server).unwrap();
        let mut stream = StreamOwned::new(tls, stream);
        self.connections.fetch_add(1, Ordering::SeqCst);
        let mut inbox = Vec::new();
        while !ends.load(Ordering::SeqCst) {
            let mut bytes = [0; 16 << 10];
            match stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => inbox.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => return,
            }
            while let Some(request) = wire::frame::take::<Request>(&mut inbox).unwrap() {
                let Some(response) = self.answer(&request) else {
                    if *self.mood.lock().unwrap() == Mood::Closes {
                        return;
                    }
                    continue;
                };
                let mood = *self.mood.lock().unwrap();
                let frame = match mood {
                    Mood::Garbles(garble) => (garble.0)(&request, response, self.requests()),
                    _ => wire::frame::encode(&response).unwrap(),
                };
                if stream.write_all(&frame).is_err() {
                    return;
                }
            }
        }
    }

    fn answer(&self, request: &Request) -> Option<Response> {
        let mood = *self.mood.lock().unwrap();
        let mut response = Response { id: request.id, ..Response::default() };
        response.draining = mood == Mood::Drains;
        response.result = Some(Answer::Hello(HelloResult::default()));
        if matches!(request.operation, Some(Operation::Hello(_))) {
            self.hellos.fetch_add(1, Ordering::SeqCst);
            return Some(response);
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.operations.lock().unwrap().push(request.operation_id.clone());
        match mood {
            Mood::Answers | Mood::Drains | Mood::Garbles(_) => {}
            Mood::Says(code, retry_after_ms) => {
                let mut failure = wire::Failure { retry_after_ms, ..wire::Failure::default() };
                failure.set_code(code);
                response.result = Some(Answer::Failure(failure));
            }
            Mood::Silent | Mood::Closes => return None,
        }
        Some(response)
    }
}

/// A question that changes nothing.
pub fn question() -> Request {
    Request { operation: Some(Operation::ListTokens(ListTokens {})), ..Request::default() }
}

/// Of the input of [`long_question`], in bytes.
pub const LONG: usize = 5 << 18;

/// A question whose input is longer than a frame.
pub fn long_question() -> Request {
    let sign = wire::Sign { input: vec![7; LONG], ..wire::Sign::default() };
    Request { operation: Some(Operation::Sign(sign)), ..Request::default() }
}

/// A Hello, as an operation like others would be.
pub fn hello() -> Request {
    Request { operation: Some(Operation::Hello(Hello::default())), ..Request::default() }
}

/// An address that swallows what is sent to it: the system drops the first
/// packet of a connection because the queue of this listener is full.
pub struct BlackHole {
    pub endpoint: String,
    _listener: TcpListener,
    _fill: Vec<TcpStream>,
}

impl BlackHole {
    pub fn new() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&socket, 0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut fill = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            fill.push(stream);
            assert!(fill.len() < 10, "the queue does not fill");
        }
        Self { endpoint: address.to_string(), _listener: listener, _fill: fill }
    }
}
