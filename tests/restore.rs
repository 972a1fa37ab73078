//! The service is restored from a backup under a host that goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::alone::{TOKEN, alone, configure};
use common::raw::{Module, P256};
use common::{Service, keyward, run};
use cryptoki_sys::*;

const DIGEST: [u8; 32] = [9; 32];

/// Puts a backup in the place of the store, on the same endpoint.
fn put_back(service: &mut Service, backup: &str) {
    service.stop();
    std::fs::remove_file(service.path().join("store.redb")).unwrap();
    let config = service.path().join("keyward.toml");
    run(std::process::Command::new(keyward()).args(["restore", backup, "--into"]).arg(config));
    service.resume();
}

fn backup(service: &Service) -> String {
    let file = service.dir.path().join("backup").to_str().unwrap().to_owned();
    service.admin(&["backup", "--out", &file]);
    file
}

#[test]
fn a_host_goes_on_with_its_login_and_sees_the_objects_of_the_backup() {
    alone(|| {
        let mut service = Service::start();
        service.token(TOKEN);
        configure(&service.identity("client", &[TOKEN], &[]));
        let module = Module::initialized();
        let session = module.user();
        let (_, kept) = module.generate_ec(session, P256, true);
        module.sign_with(session, CKM_ECDSA, kept, &DIGEST).unwrap();
        let file = backup(&service);
        let (_, lost) = module.generate_ec(session, P256, true);
        module.sign_with(session, CKM_ECDSA, lost, &DIGEST).unwrap();

        put_back(&mut service, &file);
        // Same session, same login, same handle: the host has nothing to do.
        module.sign_with(session, CKM_ECDSA, kept, &DIGEST).unwrap();
        let gone = module.sign_with(session, CKM_ECDSA, lost, &DIGEST);
        assert_eq!(gone.map(drop), Err(CKR_KEY_HANDLE_INVALID));
        // It can be written again: no revision of the lost store is waited for.
        let (_, new) = module.generate_ec(session, P256, true);
        module.sign_with(session, CKM_ECDSA, new, &DIGEST).unwrap();
    });
}

#[test]
fn a_login_to_a_pin_that_was_set_after_the_backup_ends_and_the_old_pin_works() {
    alone(|| {
        let mut service = Service::start();
        service.token(TOKEN);
        configure(&service.identity("client", &[TOKEN], &[]));
        let module = Module::initialized();
        let session = module.user();
        let (_, key) = module.generate_ec(session, P256, true);
        let file = backup(&service);
        let pin = service.path().join("pin");
        std::fs::write(&pin, "4321").unwrap();
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o600)).unwrap();
        let pin = pin.to_str().unwrap();
        service.admin(&["token", "set-pin", TOKEN, "--reset", "--new-pin-file", pin]);
        assert_eq!(
            module.sign_with(session, CKM_ECDSA, key, &DIGEST).map(drop),
            Err(CKR_USER_NOT_LOGGED_IN)
        );
        module.login(session, "4321").unwrap();
        module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap();

        put_back(&mut service, &file);
        assert_eq!(
            module.sign_with(session, CKM_ECDSA, key, &DIGEST).map(drop),
            Err(CKR_USER_NOT_LOGGED_IN)
        );
        assert_eq!(module.login(session, "4321"), Err(CKR_PIN_INCORRECT));
        module.login(session, common::PIN).unwrap();
        module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap();
    });
}
