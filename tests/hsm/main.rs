//! Tokens whose keys are in an HSM, which is SoftHSM: what is made in the token
//! is there, what is there can be attached, and a library that loses its
//! sessions, crashes or hangs costs the host nothing but a moment.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

#[path = "../common/mod.rs"]
mod common;

mod faults;
mod keys;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::alone::{TOKEN, configure};
use common::raw::{Module, Rv};
use common::softhsm::SoftHsm;
use common::{Service, run};
use cryptoki_sys::*;
use rsa::pkcs8::DecodePublicKey;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A host with a token in an HSM, in which the user has logged in.
struct Host {
    hsm: SoftHsm,
    service: Service,
    module: Module,
    session: CK_SESSION_HANDLE,
}

impl Host {
    /// With this library between the service and SoftHSM; `None`: none. `more`
    /// goes into the configuration.
    fn new(library: Option<PathBuf>, more: &str) -> Self {
        let hsm = SoftHsm::new();
        let library = library.unwrap_or_else(|| hsm.module());
        let service = Service::with_hsm(&hsm.section(&library, more));
        service.token(TOKEN);
        configure(&service.identity("client", &[TOKEN], &[]));
        let module = Module::initialized();
        let session = module.user();
        Self { hsm, service, module, session }
    }

    /// An RSA key pair in the HSM.
    fn rsa(&self) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        self.module.generate_rsa(self.session, true)
    }

    /// A signature, which must be right.
    fn signs(&self, (public, private): (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)) -> Rv {
        let data = b"what is signed";
        let signature = self.module.sign_with(self.session, CKM_SHA256_RSA_PKCS, private, data)?;
        let info = self.module.get(self.session, public, CKA_PUBLIC_KEY_INFO)?;
        let key = rsa::PublicKey::from_public_key_der(&info).unwrap();
        let digest = Sha256::digest(data);
        key.verify(rsa::Pkcs1v15Sign::new::<Sha256>(), &digest, &signature).unwrap();
        Ok(())
    }

    /// What the service says of the HSM.
    fn status(&self) -> Value {
        status(&self.service)
    }

    /// How often the library was started.
    fn starts(&self) -> u64 {
        self.status()["starts"].as_u64().unwrap()
    }
}

fn status(service: &Service) -> Value {
    let status: Value = serde_json::from_str(&service.admin(&["status", "--json"])).unwrap();
    status["hsms"][0].clone()
}

/// The keys of the HSM, as `keyward token attach` shows them.
fn shown(service: &Service) -> Vec<Value> {
    serde_json::from_str(&service.admin(&["token", "attach", TOKEN, "--json"])).unwrap()
}

fn openssl(arguments: &[&str], folder: &Path) -> String {
    run(Command::new("openssl").args(arguments).current_dir(folder))
}

/// Waits until something is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !so() {
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
