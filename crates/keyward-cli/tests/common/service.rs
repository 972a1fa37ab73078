//! A service of a test's own, run by the real program, and a client of it that
//! speaks the wire.

#[allow(clippy::duplicate_mod, reason = "tests/common/etcd.rs has it, too")]
#[path = "../../../../tests/common/ports.rs"]
pub mod ports;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cryptoki_sys::*;
use keyward_client::{Client, Config, Error};
use keyward_wire::attribute::Value;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, Attribute, Object, Request};

use super::{KEYWARD, run};

pub const SO_PIN: &str = "12345678";
pub const PIN: &str = "1234";

/// The folder of a service, and the service while it runs.
pub struct Service {
    pub folder: tempfile::TempDir,
    pub child: Option<Child>,
}

impl Service {
    /// Makes a service and does not start it.
    pub fn made() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free_port();
        let dir = folder.path().join("service");
        run(["init", "--dir", dir.to_str().unwrap(), "--listen", &format!("127.0.0.1:{port}")])
            .fine();
        Self { folder, child: None }
    }

    /// What `keyward init` made.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("service")
    }

    pub fn config(&self) -> PathBuf {
        self.dir().join("keyward.toml")
    }

    pub fn admin_config(&self) -> PathBuf {
        self.dir().join("admin/client.toml")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts it.
    pub fn start(&mut self) {
        let mut command = Command::new(KEYWARD);
        command.args(["serve", "--announce", "--exit-with-stdin", "--config"]).arg(self.config());
        self.start_as(command);
    }

    /// Starts it by a command that ends in becoming `keyward serve --announce
    /// --exit-with-stdin`.
    pub fn start_as(&mut self, mut command: Command) {
        assert!(self.child.is_none());
        let log = self.folder.path().join("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = command
            .env_remove("KEYWARD_LOG")
            // Ends with this process, however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        self.child = Some(child);
        assert!(line.starts_with("ready "), "{line}{}", self.log());
    }

    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends it as an operator does; gives back its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        child.wait().unwrap().code()
    }

    /// Runs `keyward` as the administrator.
    pub fn admin(&self, arguments: &[&str]) -> super::Said {
        super::keyward(arguments)
            .env("KEYWARD_ADMIN_CONFIG", self.admin_config())
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .into()
    }

    pub fn token(&self, label: &str) {
        self.admin(&["token", "create", "--label", label, "--so-pin", SO_PIN, "--pin", PIN]).fine();
    }

    /// The administrator's client, with a token to work on.
    pub fn client(&self, token: &str) -> TokenClient {
        TokenClient::new(&self.admin_config(), token)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// A client that works on one token.
pub struct TokenClient {
    client: Client,
    token: String,
    patience: Duration,
}

impl TokenClient {
    pub fn new(config: &Path, token: &str) -> Self {
        Self {
            client: Client::new(Config::load(config).unwrap()),
            token: token.to_owned(),
            patience: Duration::from_secs(1),
        }
    }

    /// The same, waiting for so long in each call.
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// A request of this operation, with an id of its own.
    pub fn request(&self, operation: Operation) -> Request {
        Request {
            token: self.token.clone(),
            operation_id: keyward_crypto::random::bytes::<16>().to_vec(),
            operation: Some(operation),
            ..Request::default()
        }
    }

    /// The first frame's result.
    pub fn send(&self, request: Request) -> Result<Answer, Error> {
        let frames = self.client.call_within(request, self.patience)?;
        Ok(frames.into_iter().find_map(|frame| frame.result).unwrap())
    }

    pub fn ask(&self, operation: Operation) -> Result<Answer, Error> {
        self.send(self.request(operation))
    }

    /// Makes a data object; gives back its identifier.
    pub fn create(&self, content: &[u8]) -> Result<String, Error> {
        match self.ask(create(content))? {
            Answer::Object(made) => Ok(made.object.unwrap().unique_id),
            _ => panic!("an answer to something else"),
        }
    }

    /// Makes a P-256 key pair; gives back the identifiers of the public and the
    /// private half.
    pub fn generate(&self) -> Result<(String, String), Error> {
        match self.ask(generate())? {
            Answer::KeyPair(pair) => {
                Ok((pair.public_key.unwrap().unique_id, pair.private_key.unwrap().unique_id))
            }
            _ => panic!("an answer to something else"),
        }
    }

    pub fn sign(&self, private: &str) -> Result<Vec<u8>, Error> {
        let key = wire::key::Key::UniqueId(private.to_owned());
        match self.ask(Operation::Sign(wire::Sign {
            key: Some(wire::Key { key: Some(key) }),
            input: vec![7; 32],
            scheme: Some(wire::sign::Scheme::Ecdsa(wire::Done {})),
            ..wire::Sign::default()
        }))? {
            Answer::Signature(signature) => Ok(signature.value),
            _ => panic!("an answer to something else"),
        }
    }

    /// All objects of the token.
    pub fn objects(&self) -> Vec<Object> {
        let request = self.request(Operation::Catalogue(wire::Catalogue::default()));
        let frames = self.client.call(request).unwrap();
        let parts = frames.into_iter().map(|frame| match frame.result {
            Some(Answer::Catalogue(part)) => part,
            _ => panic!("an answer to something else"),
        });
        parts
            .flat_map(|part| {
                assert_ne!(part.state(), wire::catalogue_result::State::TooLarge);
                part.objects
            })
            .collect()
    }

    pub fn login(&self, pin: &str) -> Result<(), Error> {
        let login = wire::Login {
            user_type: wire::UserType::User.into(),
            pin: Some(pin.as_bytes().to_vec()),
            ..wire::Login::default()
        };
        self.ask(Operation::Login(login)).map(drop)
    }
}

pub fn create(content: &[u8]) -> Operation {
    Operation::CreateObject(wire::CreateObject {
        template: vec![
            attribute(CKA_CLASS, Value::Number(CKO_DATA)),
            attribute(CKA_TOKEN, Value::Boolean(true)),
            attribute(CKA_VALUE, Value::Bytes(content.to_vec())),
        ],
    })
}

pub fn generate() -> Operation {
    const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let token = || attribute(CKA_TOKEN, Value::Boolean(true));
    Operation::GenerateKeyPair(wire::GenerateKeyPair {
        mechanism: CKM_EC_KEY_PAIR_GEN,
        public_template: vec![token(), attribute(CKA_EC_PARAMS, Value::Bytes(P256.to_vec()))],
        private_template: vec![token()],
        ..wire::GenerateKeyPair::default()
    })
}

pub fn attribute(r#type: u64, value: Value) -> Attribute {
    Attribute { r#type, value: Some(value) }
}
