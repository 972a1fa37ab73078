//! The service goes away and comes back: what a host sees meanwhile, and that
//! it has nothing to do afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use common::Service;
use common::alone::{TOKEN, alone, configure};
use common::gate::Gate;
use common::raw::{Module, P256, Rv, Template, call, mechanism, ok};
use cryptoki_sys::*;

const DIGEST: [u8; 32] = [9; 32];

/// The deadlines of these tests, in milliseconds.
const REQUEST: u64 = 400;
const CALL: u64 = 800;

/// What a call may take beyond its deadline on a busy machine.
const SLACK: Duration = Duration::from_millis(400);

/// While the service counts as down a call takes no longer than one probe, 250
/// ms, and what a busy machine adds.
const PROBE: Duration = Duration::from_millis(400);

/// A service with one token and a client that does not wait for long.
fn service() -> (Service, PathBuf) {
    let service = Service::start();
    service.token(TOKEN);
    let config = service.identity("client", &[TOKEN], &[]);
    hurry(&config);
    configure(&config);
    (service, config)
}

fn hurry(config: &Path) {
    let text = std::fs::read_to_string(config).unwrap();
    let deadlines =
        format!("[deadlines]\nconnect_ms = 300\nrequest_ms = {REQUEST}\ncall_ms = {CALL}\n");
    let changed = text.replace("[deadlines]\n", &deadlines);
    assert_ne!(changed, text, "client.toml has no [deadlines]");
    std::fs::write(config, changed).unwrap();
}

/// A module with a session, a login and a key of the token.
fn signer() -> (Module, CK_SESSION_HANDLE, CK_OBJECT_HANDLE) {
    let module = Module::initialized();
    let session = module.user();
    let (_, key) = module.generate_ec(session, P256, true);
    module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap();
    (module, session, key)
}

/// How long a call took, which must fail as it should without the service.
fn fails(module: &Module, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) -> Duration {
    let started = Instant::now();
    let result = module.sign_with(session, CKM_ECDSA, key, &DIGEST);
    assert_eq!(result, Err(CKR_DEVICE_ERROR));
    started.elapsed()
}

#[test]
fn a_call_fails_in_time_and_the_next_ones_at_once() {
    alone(|| {
        let (mut service, _) = service();
        let (module, session, key) = signer();
        service.stop();
        let first = fails(&module, session, key);
        assert!(first < Duration::from_millis(CALL) + SLACK, "{first:?}");
        for _ in 0..5 {
            let next = fails(&module, session, key);
            assert!(next < PROBE, "{next:?}");
        }
        // The failed call left no operation behind.
        assert_eq!(module.sign(session, &DIGEST), Err(CKR_OPERATION_NOT_INITIALIZED));
        service.resume();
        // The very first call works: same session, same login, same handle.
        module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap();
    });
}

/// A listener that accepts nothing: as a host that hangs, or a firewall that
/// swallows packets.
#[test]
fn a_service_that_says_nothing_is_waited_for_no_longer_than_the_deadline() {
    alone(|| {
        let (mut service, _) = service();
        let (module, session, key) = signer();
        service.stop();
        let silent = TcpListener::bind(&service.endpoint).unwrap();
        let first = fails(&module, session, key);
        assert!(first < Duration::from_millis(CALL) + SLACK, "{first:?}");
        let next = fails(&module, session, key);
        assert!(next < PROBE, "{next:?}");
        drop(silent);
        service.resume();
        module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap();
    });
}

#[test]
fn threads_share_one_probe() {
    alone(|| {
        let (mut service, _) = service();
        let (module, session, key) = signer();
        service.stop();
        // It hangs, so that each attempt lasts as long as it may.
        let silent = TcpListener::bind(&service.endpoint).unwrap();
        fails(&module, session, key);
        let together = Barrier::new(8);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let own = module.open(0, 0).unwrap();
                    together.wait();
                    let took = fails(&module, own, key);
                    assert!(took < PROBE, "{took:?}");
                });
            }
        });
        // One after the other they would take 2 s.
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        drop(silent);
        service.resume();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let own = module.open(0, 0).unwrap();
                    module.sign_with(own, CKM_ECDSA, key, &DIGEST).unwrap();
                });
            }
        });
    });
}

#[test]
fn a_service_that_was_killed_is_found_again() {
    alone(|| {
        let (mut service, _) = service();
        let (module, session, key) = signer();
        for _ in 0..3 {
            service.kill();
            service.resume();
            // The connection is dead and nobody has noticed yet.
            module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap();
        }
        service.kill();
        fails(&module, session, key);
        service.resume();
        module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap();
    });
}

#[test]
fn a_restart_between_init_and_sign_goes_unnoticed() {
    alone(|| {
        let (mut service, _) = service();
        let (module, session, key) = signer();
        module.sign_init(session, CKM_ECDSA_SHA256, key).unwrap();
        let part = b"half of it";
        let update = || {
            let data = part.as_ptr().cast_mut();
            ok(call!(module, C_SignUpdate(session, data, part.len() as CK_ULONG)))
        };
        update().unwrap();
        service.stop();
        service.resume();
        update().unwrap();
        let mut signature = [0; 64];
        let mut length = 64;
        let rv = call!(module, C_SignFinal(session, signature.as_mut_ptr(), &raw mut length));
        assert_eq!((rv, length), (CKR_OK, 64));
        assert_eq!(service.count(TOKEN, "sign"), 1);
        assert_eq!(service.count(TOKEN, "login"), 0);
    });
}

#[test]
fn session_objects_and_searches_outlive_a_restart() {
    alone(|| {
        let (mut service, _) = service();
        let (module, session, _) = signer();
        let (public, private) = module.generate_rsa(session, false);
        let all = module.find(session, Template::new()).unwrap();
        service.kill();
        service.resume();
        let signature = module.sign_with(session, CKM_SHA256_RSA_PKCS, private, b"data").unwrap();
        module.verify_with(session, CKM_SHA256_RSA_PKCS, public, b"data", &signature).unwrap();
        assert_eq!(module.find(session, Template::new()).unwrap(), all);
    });
}

#[test]
fn what_needs_no_service_works_without() {
    alone(|| {
        let (mut service, _) = service();
        service.stop();
        let started = Instant::now();
        let module = Module::initialized();
        assert_eq!(module.slots().unwrap(), [0]);
        let session = module.open(0, CKF_RW_SESSION).unwrap();
        let mut info = CK_SLOT_INFO::default();
        assert_eq!(call!(module, C_GetSlotInfo(0, &raw mut info)), CKR_OK);
        assert_eq!(info.flags, CKF_TOKEN_PRESENT);
        let mut mechanisms = [0; 256];
        let mut count = 256;
        let rv = call!(module, C_GetMechanismList(0, mechanisms.as_mut_ptr(), &raw mut count));
        assert_eq!(rv, CKR_OK);
        assert!(mechanisms[..count as usize].contains(&CKM_ECDSA));
        let mut state = CK_SESSION_INFO::default();
        assert_eq!(call!(module, C_GetSessionInfo(session, &raw mut state)), CKR_OK);
        assert_eq!(state.state, CKS_RW_PUBLIC_SESSION);
        assert_eq!(call!(module, C_CloseSession(session)), CKR_OK);
        for mechanism in &mechanisms[..count as usize] {
            let mut info = CK_MECHANISM_INFO::default();
            assert_eq!(call!(module, C_GetMechanismInfo(0, *mechanism, &raw mut info)), CKR_OK);
        }
        // The list asks for the token's policy, for 250 ms at most; the rest
        // asks for nothing.
        let took = started.elapsed();
        assert!(took < PROBE, "{took:?}");
        // The token's flags come from the config then, after the time for a
        // connection and 250 ms at most.
        let mut info = CK_TOKEN_INFO::default();
        let started = Instant::now();
        assert_eq!(call!(module, C_GetTokenInfo(0, &raw mut info)), CKR_OK);
        let most = Duration::from_secs(1) + PROBE;
        assert!(started.elapsed() < most, "{:?}", started.elapsed());
        let started = Instant::now();
        assert_eq!(call!(module, C_GetTokenInfo(0, &raw mut info)), CKR_OK);
        assert!(started.elapsed() < PROBE, "{:?}", started.elapsed());
        let wanted = CKF_LOGIN_REQUIRED | CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED;
        assert_eq!(info.flags & wanted, wanted);
        // A login does need it, and can be repeated.
        let session = module.open(0, CKF_RW_SESSION).unwrap();
        assert_eq!(module.login(session, common::PIN), Err(CKR_DEVICE_ERROR));
        service.resume();
        module.login(session, common::PIN).unwrap();
    });
}

#[test]
fn slots_that_the_config_does_not_name_come_from_the_service_once_it_answers() {
    alone(|| {
        let (mut service, config) = service();
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.split("[[slot]]").next().unwrap()).unwrap();
        service.stop();
        let module = Module::initialized();
        assert_eq!(module.slots(), Err(CKR_DEVICE_ERROR));
        service.resume();
        // An empty list would have been remembered by the JDK for ever.
        assert_eq!(module.slots().unwrap(), [0]);
        service.stop();
        assert_eq!(module.slots().unwrap(), [0]);
    });
}

#[test]
fn what_is_known_can_be_searched_and_read_during_an_outage() {
    alone(|| {
        let (mut service, _) = service();
        let (module, session, key) = signer();
        let private = || Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY);
        assert_eq!(module.find(session, private()).unwrap(), [key]);
        service.stop();
        assert_eq!(module.find(session, private()).unwrap(), [key]);
        assert_eq!(module.get(session, key, CKA_KEY_TYPE).unwrap(), CKK_EC.to_ne_bytes());
        let mut random = [0; 16];
        assert_eq!(call!(module, C_GenerateRandom(session, random.as_mut_ptr(), 16)), CKR_OK);
        assert_ne!(random, [0; 16]);
    });
}

/// A certificate is renewed by writing the files anew; the next connection
/// uses them.
#[test]
fn a_renewed_identity_is_read_from_the_disk() {
    alone(|| {
        let (mut service, config) = service();
        let (module, session, key) = signer();
        let renewed = service.identity("renewed", &[TOKEN], &[]);
        let (old, new) = (config.parent().unwrap(), renewed.parent().unwrap());
        for file in ["identity.pem", "identity.key"] {
            std::fs::rename(new.join(file), old.join(file)).unwrap();
        }
        service.admin(&["identity", "revoke", "client", "--yes"]);
        service.stop();
        service.resume();
        // Another identity: the ticket was the old one's, so a new login is due.
        assert_eq!(module.sign_with(session, CKM_ECDSA, key, &DIGEST), Err(CKR_USER_NOT_LOGGED_IN));
        module.login(session, common::PIN).unwrap();
        module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap();
    });
}

/// The JDK calls C_Decrypt where it holds up garbage collection, so that in
/// profile `tls` a second is all that it may take.
#[test]
fn decryption_in_profile_tls_waits_a_second_and_nothing_else_does() {
    const WHOLE_CALL: &str = "[deadlines]\nrequest_ms = 2500\ncall_ms = 2500\n";
    const SECRET: &[u8] = b"a pre-master secret";
    alone(|| {
        let service = Service::start();
        service.token(TOKEN);
        let key = ["key", "generate", "--token", TOKEN, "--type", "rsa:2048", "--label", "k"];
        service.admin(&key);
        let gate = Gate::before(&service.endpoint);
        for profile in ["tls", "full"] {
            let config = service.identity(profile, &[TOKEN], &["--profile", profile]);
            let text = std::fs::read_to_string(&config).unwrap();
            let changed = text
                .replace(&service.endpoint, &gate.endpoint)
                .replace("[deadlines]\n", WHOLE_CALL);
            std::fs::write(&config, changed).unwrap();
            configure(&config);
            let module = Module::initialized();
            let session = module.user();
            let key_of =
                |class| module.find(session, Template::new().number(CKA_CLASS, class)).unwrap()[0];
            let (public, private) = (key_of(CKO_PUBLIC_KEY), key_of(CKO_PRIVATE_KEY));
            let ciphertext = encrypt(&module, session, public, SECRET);
            assert_eq!(decrypt(&module, session, private, &ciphertext).unwrap(), SECRET);

            gate.close();
            let started = Instant::now();
            let refused = decrypt(&module, session, private, &ciphertext);
            let took = started.elapsed();
            gate.open();
            assert_eq!(refused, Err(CKR_DEVICE_ERROR));
            let (least, most) = match profile {
                "tls" => (900, 2000),
                _ => (2400, 4000),
            };
            let allowed = Duration::from_millis(least)..Duration::from_millis(most);
            assert!(allowed.contains(&took), "{profile}: {took:?}");
            assert_eq!(decrypt(&module, session, private, &ciphertext).unwrap(), SECRET);

            // A signature has the whole call's time.
            gate.close();
            let started = Instant::now();
            let refused = module.sign_with(session, CKM_RSA_PKCS, private, &DIGEST);
            let took = started.elapsed();
            gate.open();
            assert_eq!(refused, Err(CKR_DEVICE_ERROR));
            assert!(took > Duration::from_millis(2400), "{profile}: {took:?}");
            module.sign_with(session, CKM_RSA_PKCS, private, &DIGEST).unwrap();
            assert_eq!(module.finalize(), CKR_OK);
        }
    });
}

fn encrypt(
    module: &Module,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    data: &[u8],
) -> Vec<u8> {
    let mut mechanism = mechanism(CKM_RSA_PKCS);
    ok(call!(module, C_EncryptInit(session, &raw mut mechanism, key))).unwrap();
    let mut output = vec![0; 256];
    let mut length = 256;
    let (input, size) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    let output_at = output.as_mut_ptr();
    ok(call!(module, C_Encrypt(session, input, size, output_at, &raw mut length))).unwrap();
    output
}

fn decrypt(
    module: &Module,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    data: &[u8],
) -> Rv<Vec<u8>> {
    let mut mechanism = mechanism(CKM_RSA_PKCS);
    ok(call!(module, C_DecryptInit(session, &raw mut mechanism, key)))?;
    let mut output = vec![0; 256];
    let mut length = 256;
    let (input, size) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    let output_at = output.as_mut_ptr();
    ok(call!(module, C_Decrypt(session, input, size, output_at, &raw mut length)))?;
    output.truncate(length as usize);
    Ok(output)
}

#[test]
fn a_revoked_identity_is_told_so_and_not_waited_for() {
    alone(|| {
        let (service, _) = service();
        let (module, session, key) = signer();
        service.admin(&["identity", "revoke", "client", "--yes"]);
        let took = fails(&module, session, key);
        assert!(took < Duration::from_millis(CALL) + SLACK, "{took:?}");
    });
}
