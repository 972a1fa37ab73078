//! What C_Sign costs beside the least that it can cost.
//!
//! The floor is measured in the same run and in turns with it: a message of the
//! same size to and fro over TLS 1.3 on loopback, by rustls and nothing else,
//! plus the bare signature. The ratio is what to look at: absolute figures
//! differ by a factor of two on the same machine from one hour to the next.
//!
//! `cargo bench --bench sign` takes a minute, `-- --short` a few seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are measurements")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::MechanismType;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use keyward_crypto::digest::Hash;
use keyward_crypto::{Curve, EcPrivateKey, RsaPrivateKey};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

/// Bytes of a Sign request and of its answer, as they go into TLS.
const REQUEST: usize = 420;
const ANSWER: usize = 320;

/// A row of the table: its name, the key's label, the mechanism, and the bare
/// signature.
type Case<'a> = (&'a str, &'a str, Mechanism<'a>, Box<dyn Fn()>);

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (rounds, count) = if short { (5, 200) } else { (20, 1000) };
    let service = common::Service::start();
    service.token("bench");
    for (label, kind) in [("rsa", "rsa:2048"), ("p256", "ec:p256")] {
        service.admin(&["key", "generate", "--token", "bench", "--type", kind, "--label", label]);
    }
    let config = service.identity("bench", &["bench"], &[]);
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("KEYWARD_CONFIG", config) };
    let module = Pkcs11::new(common::module()).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let session = module.open_ro_session(module.get_all_slots().unwrap()[0]).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(common::PIN.into()))).unwrap();

    let digest = Hash::Sha256.digest(b"benchmark");
    let rsa = RsaPrivateKey::generate(2048, &[1, 0, 1]).unwrap();
    let p256 = EcPrivateKey::generate(Curve::P256).unwrap();
    let pss = PkcsPssParams {
        hash_alg: MechanismType::SHA256,
        mgf: PkcsMgfType::MGF1_SHA256,
        s_len: 32.into(),
    };
    let mut peer = Peer::new();

    println!(
        "Microseconds for one signature, one thread; medians of {rounds} rounds of {count}, in turns."
    );
    println!(
        "{:<22} {:>10} {:>10} {:>10} {:>10} {:>7}",
        "", "ping-pong", "signature", "floor", "C_Sign", "ratio"
    );
    let cases: [Case<'_>; 2] = [
        ("RSA-2048 PSS SHA-256", "rsa", Mechanism::RsaPkcsPss(pss), {
            let digest = digest.clone();
            Box::new(move || drop(rsa.sign_pss(Hash::Sha256, Hash::Sha256, 32, &digest).unwrap()))
        }),
        ("ECDSA P-256", "p256", Mechanism::Ecdsa, {
            let digest = digest.clone();
            Box::new(move || drop(p256.sign(&digest).unwrap()))
        }),
    ];
    for (name, label, mechanism, bare) in cases {
        let key = private_key(&session, label);
        let mut times = [const { Vec::new() }; 3];
        for round in 0..=rounds {
            let taken = [
                time(count, || peer.ping()),
                time(count, &bare),
                time(count, || drop(session.sign(&mechanism, key, &digest).unwrap())),
            ];
            // The first round warms up.
            if round > 0 {
                times.iter_mut().zip(taken).for_each(|(all, one)| all.push(one));
            }
        }
        let [ping, bare, sign] = times.map(median);
        let floor = ping + bare;
        println!(
            "{name:<22} {ping:>10.1} {bare:>10.1} {floor:>10.1} {sign:>10.1} {:>7.2}",
            sign / floor
        );
    }
}

fn private_key(session: &Session, label: &str) -> ObjectHandle {
    let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.into())];
    session.find_objects(&template).unwrap()[0]
}

/// Microseconds for one of `count` calls.
fn time(count: u32, mut call: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..count {
        call();
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Rustls and nothing else: a client here, and a thread that answers.
struct Peer {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Peer {
    fn new() -> Self {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = issued.cert.der().clone();
        let key =
            rustls_pki_types::PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_nodelay(true).unwrap();
            let tls = ServerConnection::new(Arc::new(server)).unwrap();
            let mut stream = StreamOwned::new(tls, socket);
            let mut request = [0; REQUEST];
            while stream.read_exact(&mut request).is_ok() {
                stream.write_all(&[0; ANSWER]).unwrap();
                stream.flush().unwrap();
            }
        });
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let tls = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
        Self { stream: StreamOwned::new(tls, socket) }
    }

    fn ping(&mut self) {
        self.stream.write_all(&[0; REQUEST]).unwrap();
        self.stream.flush().unwrap();
        let mut answer = [0; ANSWER];
        self.stream.read_exact(&mut answer).unwrap();
    }
}
