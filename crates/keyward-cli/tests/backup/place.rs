//! A service with what is to be carried elsewhere, and a node that uses it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use cryptoki_sys::*;
use keyward_client::{Client, Config};
use keyward_crypto::ec::signature_to_der;
use keyward_wire::attribute::Value as Attr;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{
    Catalogue, Done, Key, Login, Object, Request, Sign, Ticket, UserType, key, sign,
};
use serde_json::Value;

use crate::common::{Said, keyward, run, serve};

/// A folder with a service that runs in it, and what was made there.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub child: Option<Child>,
    pub listen: String,
}

impl Place {
    /// A service with a token, a key with a certificate, and an identity for it.
    pub fn with_a_node() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = free_address();
        let mut place = Self { folder, child: None, listen };
        run(["init", "--dir", &place.at("service"), "--listen", &place.listen]).fine();
        place.start("service");
        place
            .admin(["token", "create", "--label", "node", "--so-pin", "12345678", "--pin", "1234"]);
        for kind in ["ec:p256", "rsa:2048"] {
            place.admin(["key", "generate", "--token", "node", "--type", kind, "--label", kind]);
        }
        let csr = place.at("node.csr");
        place.admin([
            "cert",
            "request",
            "--token",
            "node",
            "--key",
            "ec:p256",
            "--subject",
            "CN=node",
            "--out",
            &csr,
        ]);
        place.shell(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca && \
             openssl x509 -req -in node.csr -CA ca.pem -CAkey ca.key -days 10 -out node.pem",
        );
        place.admin(["cert", "import", "--token", "node", &place.at("node.pem")]);
        let endpoint = place.listen.clone();
        place.admin([
            "identity",
            "create",
            "node1",
            "--token",
            "node",
            "--endpoint",
            &endpoint,
            "--out",
            &place.at("node1"),
        ]);
        place
    }

    pub fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn config(&self, service: &str) -> String {
        self.at(&format!("{service}/keyward.toml"))
    }

    pub fn start(&mut self, service: &str) {
        self.child = Some(serve(self.config(service)));
    }

    /// Ends the service as an operator does.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }

    pub fn said<const N: usize>(&self, arguments: [&str; N]) -> Said {
        let admin = self.at("service/admin/client.toml");
        keyward(arguments).env("KEYWARD_ADMIN_CONFIG", admin).output().unwrap().into()
    }

    pub fn admin<const N: usize>(&self, arguments: [&str; N]) -> String {
        self.said(arguments).fine()
    }

    pub fn shell(&self, script: &str) {
        let status = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.folder.path())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{script}");
    }

    pub fn backup(&self, name: &str) -> String {
        let out = self.at(name);
        self.admin(["backup", "--out", &out]);
        out
    }

    pub fn master_key(&self) -> String {
        self.at("service/master.key")
    }

    /// node1's client.toml with another endpoint, otherwise as it was.
    pub fn node_at(&self, listen: &str) -> Node {
        let path = PathBuf::from(self.at("node1/client.toml"));
        let text = fs::read_to_string(&path).unwrap();
        let changed = text.replace(&self.listen, listen);
        assert!(listen == self.listen || changed != text);
        let moved = path.with_file_name("moved.toml");
        fs::write(&moved, changed).unwrap();
        Node(Client::new(Config::load(&moved).unwrap()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a module would do on a node.
pub struct Node(Client);

impl Node {
    pub fn ask(&self, ticket: Option<&Ticket>, operation: Operation) -> (Answer, Option<Ticket>) {
        let request = Request {
            token: "node".into(),
            ticket: ticket.cloned(),
            operation: Some(operation),
            ..Request::default()
        };
        let frame = self.0.call(request).unwrap().swap_remove(0);
        (frame.result.unwrap(), frame.ticket)
    }

    pub fn login(&self) -> Ticket {
        let login = Login {
            user_type: UserType::User.into(),
            pin: Some(b"1234".to_vec()),
            ..Login::default()
        };
        self.ask(None, Operation::Login(login)).1.unwrap()
    }

    pub fn objects(&self, ticket: &Ticket) -> Vec<Object> {
        match self.ask(Some(ticket), Operation::Catalogue(Catalogue::default())).0 {
            Answer::Catalogue(part) => part.objects,
            _ => panic!("no catalogue"),
        }
    }

    /// All that a login shows, in an order that does not change.
    pub fn contents(&self) -> Vec<Object> {
        let mut objects = self.objects(&self.login());
        objects.sort_by(|one, other| one.unique_id.cmp(&other.unique_id));
        objects
    }

    /// An ECDSA signature by the node's key, in DER.
    pub fn sign(&self, digest: &[u8]) -> Vec<u8> {
        let ticket = self.login();
        let is = |object: &Object, kind: u64, value: u64| {
            object
                .attributes
                .iter()
                .any(|one| one.r#type == kind && one.value == Some(Attr::Number(value)))
        };
        let key = self
            .objects(&ticket)
            .into_iter()
            .find(|object| {
                is(object, CKA_CLASS, CKO_PRIVATE_KEY) && is(object, CKA_KEY_TYPE, CKK_EC)
            })
            .unwrap();
        let sign = Sign {
            key: Some(Key { key: Some(key::Key::UniqueId(key.unique_id)) }),
            input: digest.to_vec(),
            scheme: Some(sign::Scheme::Ecdsa(Done {})),
            recoverable: false,
            ..Sign::default()
        };
        match self.ask(Some(&ticket), Operation::Sign(sign)).0 {
            Answer::Signature(signed) => signature_to_der(&signed.value).unwrap(),
            _ => panic!("no signature"),
        }
    }
}

pub fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub fn secret_file(path: &str, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// OpenSSL finds that the key of the certificate which was issued before the
/// backup has made the signature.
pub fn openssl_agrees(place: &Place, node: &Node) {
    let digest = [0x5a; 32];
    fs::write(place.at("digest"), digest).unwrap();
    fs::write(place.at("signature"), node.sign(&digest)).unwrap();
    place.shell(
        "openssl x509 -in node.pem -noout -pubkey > node.pub && \
         openssl pkeyutl -verify -pubin -inkey node.pub -in digest -sigfile signature \
         -pkeyopt digest:sha256",
    );
}
