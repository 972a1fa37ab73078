//! A service of its own for each test, and a plain client of the wire.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cryptoki_sys::*;
use keyward_service::config::{Config, Etcd as EtcdSettings};
use keyward_service::init::{Join, Options, init, join};
use keyward_service::{ServeError, serve};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, Request, Response, Ticket, frame};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::etcd::Etcd;

pub const SO_PIN: &[u8] = b"12345678";
pub const PIN: &[u8] = b"1234";
const DEADLINE: Duration = Duration::from_secs(20);

/// A running service.
pub struct Service {
    pub dir: PathBuf,
    pub address: SocketAddr,
    change: fn(&mut Config),
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
    folder: tempfile::TempDir,
}

/// A service's folder, with nothing running in it. With KEYWARD_TEST_STORE=etcd
/// its store is in etcd.
pub fn folder() -> tempfile::TempDir {
    let in_etcd = std::env::var_os("KEYWARD_TEST_STORE").is_some_and(|store| store == "etcd");
    folder_in(in_etcd.then(|| settings(Etcd::shared())))
}

/// A service's folder, with its store there or in etcd.
pub fn folder_in(etcd: Option<EtcdSettings>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let mut options = Options::new(folder.path().join("service"), listen);
    options.etcd = etcd;
    // It waits for etcd on a thread of its own.
    init(&options).unwrap();
    folder
}

/// A store of its own in etcd.
pub fn settings(etcd: &Etcd) -> EtcdSettings {
    let mut settings = EtcdSettings::new(
        etcd.endpoints(),
        etcd.authority(),
        etcd.certificate(),
        etcd.private_key(),
    );
    let random = keyward_crypto::random::bytes::<8>();
    settings.prefix = format!("/{:x}/", u64::from_be_bytes(random));
    settings
}

/// The configuration of the service in a folder.
pub fn config(folder: &Path) -> Config {
    Config::load(&folder.join("service/keyward.toml")).unwrap()
}

/// Why a service with this configuration does not start.
pub async fn refused(config: Config) -> ServeError {
    timeout(DEADLINE, serve(config, |_| panic!("it started"), std::future::pending()))
        .await
        .unwrap()
        .unwrap_err()
}

impl Service {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: fn(&mut Config)) -> Self {
        Self::in_folder(folder(), change).await
    }

    pub async fn in_folder(folder: tempfile::TempDir, change: fn(&mut Config)) -> Self {
        Self::at(folder, change, None).await
    }

    /// A service with its store in etcd.
    pub async fn on(etcd: &Etcd, change: fn(&mut Config)) -> Self {
        Self::in_folder(folder_in(Some(settings(etcd))), change).await
    }

    /// One more replica of a service with its store in etcd, which it reaches by
    /// these endpoints, or else by the same ones.
    pub async fn joined(&self, endpoints: Option<Vec<String>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let first = config(self.folder.path());
        let mut etcd = first.etcd.unwrap();
        if let Some(endpoints) = endpoints {
            etcd.endpoints = endpoints;
        }
        let listen = "127.0.0.1:0".parse().unwrap();
        let dir = folder.path().join("service");
        join(&Join::new(dir, listen, etcd, self.dir.join("master.key"))).unwrap();
        Self::in_folder(folder, self.change).await
    }

    async fn at(
        folder: tempfile::TempDir,
        change: fn(&mut Config),
        listen: Option<SocketAddr>,
    ) -> Self {
        let mut config = config(folder.path());
        config.pins.backoff_ms = 0;
        config.listen = listen.unwrap_or(config.listen);
        change(&mut config);
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let task =
            tokio::spawn(serve(config, move |address| ready.send(address).unwrap(), async move {
                drop(stopped.await)
            }));
        let address = timeout(DEADLINE, started).await.unwrap().unwrap();
        Self { dir: folder.path().join("service"), address, change, stop, task, folder }
    }

    /// Stops it; it must do so without an error.
    pub async fn stop(self) -> tempfile::TempDir {
        let _ = self.stop.send(());
        timeout(DEADLINE, self.task).await.unwrap().unwrap().unwrap();
        self.folder
    }

    pub async fn restart(self) -> Self {
        let change = self.change;
        Self::in_folder(self.stop().await, change).await
    }

    /// Stops it and starts it again at the same address.
    pub async fn restart_in_place(self) -> Self {
        let (change, address) = (self.change, self.address);
        Self::at(self.stop().await, change, Some(address)).await
    }

    pub fn admin_identity(&self) -> Identity {
        let admin = self.dir.join("admin");
        Identity {
            certificate: CertificateDer::from_pem_file(admin.join("identity.pem")).unwrap(),
            key: std::fs::read_to_string(admin.join("identity.key")).unwrap(),
            authority: CertificateDer::from_pem_file(admin.join("ca.pem")).unwrap(),
        }
    }

    pub async fn admin(&self) -> Client {
        self.connect(&self.admin_identity()).await
    }

    /// The administrator of a service that this one joined.
    pub async fn admin_of(&self, first: &Self) -> Client {
        self.connect(&first.admin_identity()).await
    }

    /// The folder above the service's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub async fn connect(&self, identity: &Identity) -> Client {
        Client::connect(self.address, identity).await.unwrap()
    }

    /// A token "dev" with both PINs, and an identity that was given it.
    pub async fn token_and_identity(&self) -> Identity {
        let mut admin = self.admin().await;
        admin.create_token("dev").await;
        admin.create_identity("node-1", &[("dev", false)]).await.unwrap()
    }

    /// A client that is logged in to the token "dev".
    pub async fn user(&self) -> Client {
        let identity = self.token_and_identity().await;
        let mut client = self.connect(&identity).await;
        client.token = "dev".to_owned();
        client.login(PIN).await.unwrap();
        client
    }
}

/// What a client shows.
#[derive(Clone)]
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: String,
    pub authority: CertificateDer<'static>,
}

/// A connection, and what a module would remember.
pub struct Client {
    pub stream: TlsStream<TcpStream>,
    pub token: String,
    pub ticket: Option<Ticket>,
    pub instance: Vec<u8>,
    next: u64,
    early: HashMap<u64, Vec<Response>>,
}

impl Client {
    pub async fn connect(address: SocketAddr, identity: &Identity) -> std::io::Result<Self> {
        Self::connect_with(address, identity, wire::ALPN).await
    }

    pub async fn connect_with(
        address: SocketAddr,
        identity: &Identity,
        alpn: &[u8],
    ) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(identity.authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![identity.certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("keyward").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        Ok(Self {
            stream,
            token: String::new(),
            ticket: None,
            instance: vec![7; 16],
            next: 1,
            early: HashMap::new(),
        })
    }

    /// A request as this client makes it.
    pub fn request(&mut self, operation: Operation) -> Request {
        self.next += 1;
        Request {
            id: self.next,
            ticket: self.ticket.clone(),
            operation_id: keyward_crypto::random::bytes::<16>().to_vec(),
            instance: self.instance.clone(),
            token: self.token.clone(),
            operation: Some(operation),
            ..Request::default()
        }
    }

    pub async fn send(&mut self, request: &Request) {
        self.stream.write_all(&frame::encode(request).unwrap()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame, or why there is none.
    pub async fn receive(&mut self) -> std::io::Result<Response> {
        let read = async {
            let mut header = [0; frame::HEADER];
            self.stream.read_exact(&mut header).await?;
            let mut body = vec![0; frame::length(header).unwrap()];
            self.stream.read_exact(&mut body).await?;
            Ok(frame::decode(&body).unwrap())
        };
        timeout(DEADLINE, read).await.unwrap()
    }

    /// Whether the service has closed the connection.
    pub async fn is_closed(&mut self) -> bool {
        loop {
            if self.receive().await.is_err() {
                return true;
            }
        }
    }

    /// All frames of the answer to a request.
    pub async fn frames(&mut self, request: &Request) -> Vec<Response> {
        self.send(request).await;
        loop {
            let response = self.receive().await.unwrap();
            let (id, more) = (response.id, response.more);
            self.early.entry(id).or_default().push(response);
            if id == request.id && !more {
                return self.early.remove(&id).unwrap();
            }
        }
    }

    /// Sends a request and takes a renewed ticket over.
    pub async fn exchange(&mut self, request: &Request) -> Result<Response, Error> {
        let response = self.frames(request).await.swap_remove(0);
        if let Some(ticket) = &response.ticket {
            self.ticket = Some(ticket.clone());
        }
        match response.result {
            Some(Answered::Failure(failure)) => Err(failure.into()),
            _ => Ok(response),
        }
    }

    pub async fn ask(&mut self, operation: Operation) -> Result<Answered, Error> {
        let request = self.request(operation);
        Ok(self.exchange(&request).await?.result.unwrap())
    }

    /// Why an operation fails.
    pub async fn refusal(&mut self, operation: Operation) -> Error {
        self.ask(operation).await.map(drop).unwrap_err()
    }

    pub async fn login(&mut self, pin: &[u8]) -> Result<wire::TokenInfo, Error> {
        self.login_as(wire::UserType::User, Some(pin)).await
    }

    pub async fn login_as(
        &mut self,
        user_type: wire::UserType,
        pin: Option<&[u8]>,
    ) -> Result<wire::TokenInfo, Error> {
        let ticket = self.ticket.take();
        let operation = Operation::Login(wire::Login {
            user_type: user_type.into(),
            pin: pin.map(<[u8]>::to_vec),
            ..wire::Login::default()
        });
        match self.ask(operation).await {
            Ok(Answered::Login(login)) => Ok(login.token.unwrap()),
            Ok(_) => panic!("a login answered something else"),
            Err(error) => {
                self.ticket = ticket;
                Err(error)
            }
        }
    }

    pub async fn create_token(&mut self, label: &str) -> wire::TokenInfo {
        let operation = Operation::CreateToken(wire::CreateToken {
            label: label.to_owned(),
            login_mode: wire::LoginMode::Pin.into(),
            so_pin: SO_PIN.to_vec(),
            user_pin: PIN.to_vec(),
            ..wire::CreateToken::default()
        });
        match self.ask(operation).await.unwrap() {
            Answered::Token(token) => token,
            _ => panic!("an answer to something else"),
        }
    }

    pub async fn create_identity(
        &mut self,
        name: &str,
        grants: &[(&str, bool)],
    ) -> Result<Identity, Error> {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let grants = grants
            .iter()
            .map(|(token, read_only)| wire::Grant {
                token: (*token).to_owned(),
                read_only: *read_only,
            })
            .collect();
        let operation = Operation::CreateIdentity(wire::CreateIdentity {
            name: name.to_owned(),
            grants,
            certificate_request: request.der().to_vec(),
            ..wire::CreateIdentity::default()
        });
        match self.ask(operation).await? {
            Answered::Identity(made) => Ok(Identity {
                certificate: made.certificate.into(),
                key: key.serialize_pem(),
                authority: made.authority.into(),
            }),
            _ => panic!("an answer to something else"),
        }
    }

    /// The objects of a catalogue and its frames.
    pub async fn catalogue(
        &mut self,
        known: Option<wire::Revision>,
    ) -> (Vec<wire::Object>, Vec<Response>) {
        self.catalogue_of(wire::Scope::Current, known).await
    }

    pub async fn catalogue_of(
        &mut self,
        scope: wire::Scope,
        known: Option<wire::Revision>,
    ) -> (Vec<wire::Object>, Vec<Response>) {
        let request =
            self.request(Operation::Catalogue(wire::Catalogue { known, scope: scope.into() }));
        let frames = self.frames(&request).await;
        let objects = frames
            .iter()
            .filter_map(|frame| match &frame.result {
                Some(Answered::Catalogue(part)) => Some(part.objects.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        (objects, frames)
    }

    /// The client's token as it stands.
    pub async fn token_info(&mut self) -> wire::TokenInfo {
        match self.ask(Operation::ListTokens(wire::ListTokens {})).await.unwrap() {
            Answered::Tokens(list) => {
                list.tokens.into_iter().find(|token| token.label == self.token).unwrap()
            }
            _ => panic!("an answer to something else"),
        }
    }

    pub async fn status(&mut self) -> wire::StatusResult {
        match self.ask(Operation::Status(wire::Status {})).await.unwrap() {
            Answered::Status(status) => status,
            _ => panic!("an answer to something else"),
        }
    }

    pub async fn create_object(
        &mut self,
        template: Vec<wire::Attribute>,
    ) -> Result<wire::Object, Error> {
        match self.ask(Operation::CreateObject(wire::CreateObject { template })).await? {
            Answered::Object(made) => Ok(made.object.unwrap()),
            _ => panic!("an answer to something else"),
        }
    }

    pub async fn generate(&mut self, operation: Operation) -> Result<wire::KeyPair, Error> {
        match self.ask(operation).await? {
            Answered::KeyPair(pair) => Ok(pair),
            _ => panic!("an answer to something else"),
        }
    }

    pub async fn sign(
        &mut self,
        key: wire::key::Key,
        scheme: wire::sign::Scheme,
        input: &[u8],
    ) -> Result<wire::Bytes, Error> {
        let sign = wire::Sign {
            key: Some(wire::Key { key: Some(key) }),
            input: input.to_vec(),
            scheme: Some(scheme),
            recoverable: false,
            ..wire::Sign::default()
        };
        match self.ask(Operation::Sign(sign)).await? {
            Answered::Signature(signature) => Ok(signature),
            _ => panic!("an answer to something else"),
        }
    }
}

pub fn boolean(attribute: u64, value: bool) -> wire::Attribute {
    let value = Some(wire::attribute::Value::Boolean(value));
    wire::Attribute { r#type: attribute, value }
}

pub fn number(attribute: u64, value: u64) -> wire::Attribute {
    let value = Some(wire::attribute::Value::Number(value));
    wire::Attribute { r#type: attribute, value }
}

pub fn bytes(attribute: u64, value: &[u8]) -> wire::Attribute {
    let value = Some(wire::attribute::Value::Bytes(value.to_vec()));
    wire::Attribute { r#type: attribute, value }
}

/// The bytes of an object's attribute.
pub fn value(object: &wire::Object, attribute: u64) -> Vec<u8> {
    let found = object.attributes.iter().find(|one| one.r#type == attribute).unwrap();
    match &found.value {
        Some(wire::attribute::Value::Bytes(bytes)) => bytes.clone(),
        _ => panic!("no bytes"),
    }
}

/// A data object of the token.
pub fn data(label: &str, content: &[u8], private: bool) -> Vec<wire::Attribute> {
    vec![
        number(CKA_CLASS, CKO_DATA),
        boolean(CKA_TOKEN, true),
        boolean(CKA_PRIVATE, private),
        bytes(CKA_LABEL, label.as_bytes()),
        bytes(CKA_VALUE, content),
    ]
}

/// The generation of a P-256 key pair, in the token or in the session.
pub fn generate_p256(token: bool) -> Operation {
    const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    Operation::GenerateKeyPair(wire::GenerateKeyPair {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public_template: vec![boolean(CKA_TOKEN, token), bytes(CKA_EC_PARAMS, P256)],
        private_template: vec![boolean(CKA_TOKEN, token)],
        ..wire::GenerateKeyPair::default()
    })
}

/// The generation of an RSA key pair in the token.
pub fn generate_rsa(bits: u64) -> Operation {
    Operation::GenerateKeyPair(wire::GenerateKeyPair {
        mechanism: CKM_RSA_PKCS_KEY_PAIR_GEN,
        public_template: vec![boolean(CKA_TOKEN, true), number(CKA_MODULUS_BITS, bits)],
        private_template: vec![boolean(CKA_TOKEN, true)],
        ..wire::GenerateKeyPair::default()
    })
}

pub fn ecdsa() -> wire::sign::Scheme {
    wire::sign::Scheme::Ecdsa(wire::Done {})
}

pub fn by_id(object: &wire::Object) -> wire::key::Key {
    wire::key::Key::UniqueId(object.unique_id.clone())
}

pub fn by_blob(object: &wire::Object) -> wire::key::Key {
    wire::key::Key::Sealed(object.sealed.clone())
}

/// The keys of a store that nobody has open.
pub fn store_keys(config: &Config) -> Vec<String> {
    use redb::{ReadableDatabase, ReadableTable};
    const DATA: redb::TableDefinition<&str, &[u8]> = redb::TableDefinition::new("data");
    if let Some(etcd) = &config.etcd {
        return etcd_keys(Etcd::shared(), &etcd.prefix);
    }
    let database = redb::Database::open(&config.data).unwrap();
    let table = database.begin_read().unwrap().open_table(DATA).unwrap();
    table.iter().unwrap().map(|entry| entry.unwrap().0.value().to_owned()).collect()
}

/// The keys of a store in etcd.
pub fn etcd_keys(etcd: &Etcd, prefix: &str) -> Vec<String> {
    let printed = etcd.ctl(&["get", "--prefix", "--keys-only", prefix]);
    printed.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
}
