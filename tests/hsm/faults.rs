//! A library that fails.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::*;
use crate::common::alone::{alone, set_variable};
use crate::common::softhsm::faulty;

#[test]
fn a_session_that_is_lost_is_opened_again_without_a_word_to_the_host() {
    alone(|| {
        let host = Host::new(Some(faulty()), "");
        let pair = host.rsa();
        host.signs(pair).unwrap();
        for (fault, value) in [
            ("C_SignInit", CKR_SESSION_HANDLE_INVALID),
            ("C_SignInit", CKR_SESSION_CLOSED),
            ("C_SignInit", CKR_USER_NOT_LOGGED_IN),
            ("C_SignInit", CKR_KEY_HANDLE_INVALID),
            ("C_SignInit", CKR_TOKEN_NOT_PRESENT),
            ("C_SignInit", CKR_GENERAL_ERROR),
            ("C_Sign", CKR_DEVICE_ERROR),
            ("C_Sign", CKR_DEVICE_REMOVED),
        ] {
            host.hsm.faults(&format!("{fault} once:{value:#x}\n"));
            host.signs(pair).unwrap_or_else(|rv| panic!("{fault} {value:#x}: {rv:#x}"));
        }
        assert_eq!(host.starts(), 1);
    });
}

#[test]
fn a_library_that_crashes_is_started_again_without_a_word_to_the_host() {
    alone(|| {
        let host = Host::new(Some(faulty()), "");
        let pair = host.rsa();
        let mut starts = host.starts();
        for fault in ["C_SignInit once:crash", "C_Sign once:crash"] {
            host.hsm.faults(fault);
            host.signs(pair).unwrap();
            starts += 1;
            assert_eq!(host.starts(), starts, "{fault}");
        }
        // One that crashes each time is told to the host, and not for ever.
        host.hsm.faults("C_SignInit crash");
        assert_eq!(host.signs(pair).unwrap_err(), CKR_DEVICE_ERROR);
        host.hsm.faults("");
        until("the HSM is back", || host.signs(pair).is_ok());
    });
}

#[test]
fn a_call_that_hangs_holds_up_no_other_token() {
    alone(|| {
        let host = Host::new(Some(faulty()), "call_ms = 1500\n");
        host.service.admin(&[
            "token",
            "create",
            "--label",
            "other",
            "--so-pin",
            "12345678",
            "--pin",
            common::PIN,
        ]);
        host.service
            .admin(&["key", "generate", "--token", "other", "--label", "k", "--type", "ec:p256"]);
        let pair = host.rsa();
        let starts = host.starts();
        host.hsm.faults("C_Sign once:hang");
        std::thread::scope(|threads| {
            let hangs = threads.spawn(|| (host.signs(pair), Instant::now()));
            std::thread::sleep(Duration::from_millis(200));
            let answered = (0..5)
                .map(|_| {
                    // It signs the request with the key.
                    host.service.admin(&[
                        "cert",
                        "request",
                        "--token",
                        "other",
                        "--key",
                        "k",
                        "--subject",
                        "CN=other",
                    ]);
                    Instant::now()
                })
                .next()
                .unwrap();
            let (signed, end) = hangs.join().unwrap();
            assert!(answered < end, "the other token was held up");
            assert_eq!(signed, Ok(()), "the worker was not replaced in time");
        });
        assert_eq!(host.starts(), starts + 1);
    });
}

#[test]
fn an_hsm_that_is_away_is_told_and_works_when_it_is_back() {
    alone(|| {
        let host = Host::new(Some(faulty()), "");
        let pair = host.rsa();
        host.hsm.faults("C_Sign 0x32\nC_GetSlotList 0xe0\n");
        assert_eq!(host.signs(pair).unwrap_err(), CKR_DEVICE_ERROR);
        let trouble = host.status()["trouble"].as_str().unwrap().to_owned();
        assert!(trouble.contains("CKR_TOKEN_NOT_PRESENT"), "{trouble}");
        // What needs no key goes on: searches, and other tokens.
        let found = host.module.find(host.session, common::raw::Template::new()).unwrap();
        assert_eq!(found.len(), 2);
        // After a while nobody is kept waiting.
        until("it fails at once", || {
            let started = Instant::now();
            host.signs(pair).unwrap_err();
            started.elapsed() < Duration::from_secs(1)
        });
        host.hsm.faults("");
        until("the HSM is back", || host.signs(pair).is_ok());
        assert_eq!(host.status()["trouble"], "");
    });
}

#[test]
fn a_wrong_pin_is_tried_once_and_the_right_one_when_it_is_there() {
    alone(|| {
        let hsm = SoftHsm::new();
        hsm.set_pin("wrong");
        let service = Service::with_hsm(&hsm.section(&faulty(), ""));
        until("the PIN is refused", || {
            status(&service)["trouble"].as_str().unwrap().contains("CKR_PIN_INCORRECT")
        });
        // Longer than the longest pause between two starts.
        std::thread::sleep(Duration::from_millis(4500));
        assert_eq!(hsm.logins(), 1, "each further try brings the token nearer to its lock");
        hsm.set_pin("1234\n");
        until("the right PIN is taken", || status(&service)["trouble"] == "");
    });
}

#[test]
fn a_pin_comes_from_a_systemd_credential() {
    alone(|| {
        let hsm = SoftHsm::new();
        // As systemd shows it: readable for the service's user by an access control list.
        let folder = tempfile::tempdir().unwrap();
        let credential = folder.path().join("hsm-pin");
        std::fs::write(&credential, "1234\n").unwrap();
        std::fs::set_permissions(&credential, Permissions::from_mode(0o440)).unwrap();
        set_variable("CREDENTIALS_DIRECTORY", folder.path().as_os_str());
        let section = hsm.section(&hsm.module(), "");
        let line = section.lines().find(|line| line.starts_with("pin.file")).unwrap();
        let service = Service::with_hsm(&section.replace(line, r#"pin.credential = "hsm-pin""#));
        until("the PIN is taken", || status(&service)["trouble"] == "");
    });
}

#[test]
fn a_pair_whose_making_was_lost_is_not_left_in_the_hsm() {
    alone(|| {
        let host = Host::new(Some(faulty()), "");
        host.hsm.faults(&format!("C_GenerateKeyPair once:{CKR_DEVICE_ERROR:#x}"));
        let pair = host.rsa();
        host.signs(pair).unwrap();
        host.hsm.faults("C_GenerateKeyPair crash");
        let refused = host.module.generate(
            host.session,
            CKM_EC_KEY_PAIR_GEN,
            common::raw::Template::new()
                .bytes(CKA_EC_PARAMS, common::raw::P256)
                .flag(CKA_TOKEN, true),
            common::raw::Template::new().flag(CKA_TOKEN, true),
        );
        assert_eq!(refused.unwrap_err(), CKR_DEVICE_ERROR);
        host.hsm.faults("");
        until("one pair is left", || host.hsm.tool(&["-O"]).matches("Key Object").count() == 2);
        host.signs(pair).unwrap();
    });
}
