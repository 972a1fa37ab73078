//! Many threads in one module.

use std::collections::HashMap;
use std::ptr::null_mut;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::DIGEST;
use crate::common;
use crate::common::Service;
use crate::common::alone::{TOKEN, alone, configure, service};
use crate::common::gate::Gate;
use crate::common::raw::{Module, P256, Rv, Template, call, ok};

#[test]
fn sixty_four_threads_sign_with_one_key() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let (public, private) = module.generate_ec(session, P256, true);
        let together = Barrier::new(64);
        std::thread::scope(|scope| {
            for thread in 0..64_u8 {
                let (module, together) = (&module, &together);
                scope.spawn(move || {
                    together.wait();
                    for round in 0..8 {
                        let own = module.open(0, 0).unwrap();
                        let digest = [thread, round].repeat(16);
                        let signature = module.sign_with(own, CKM_ECDSA, private, &digest).unwrap();
                        module.verify_with(own, CKM_ECDSA, public, &digest, &signature).unwrap();
                        assert_eq!(call!(module, C_CloseSession(own)), CKR_OK);
                    }
                });
            }
        });
        assert_eq!(service.count(TOKEN, "sign"), 64 * 8);
    });
}

#[test]
fn one_session_in_many_threads_does_no_harm() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let (_, private) = module.generate_ec(session, P256, false);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let rv = module.sign_with(session, CKM_ECDSA, private, &DIGEST);
                        let fine = matches!(
                            rv,
                            Ok(_) | Err(CKR_OPERATION_ACTIVE | CKR_OPERATION_NOT_INITIALIZED)
                        );
                        assert!(fine, "{rv:?}");
                    }
                });
            }
        });
        let _ = call!(module, C_SignInit(session, null_mut(), 0));
        assert!(module.sign_with(session, CKM_ECDSA, private, &DIGEST).is_ok());
    });
}

#[test]
fn c_finalize_while_threads_sign() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        module.generate_ec(session, P256, true);
        assert_eq!(module.finalize(), CKR_OK);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        // What a thread may hear whose session, login or
                        // library was taken away under it.
                        let once = || -> Rv {
                            let own = module.open(0, 0)?;
                            let found = module
                                .find(own, Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY));
                            let key = *found?.first().ok_or(CKR_KEY_HANDLE_INVALID)?;
                            module.sign_with(own, CKM_ECDSA, key, &DIGEST)?;
                            ok(call!(module, C_CloseSession(own)))
                        };
                        let mut seen = HashMap::<CK_RV, u32>::new();
                        while !over.load(Ordering::Relaxed) {
                            *seen.entry(once().err().unwrap_or(CKR_OK)).or_default() += 1;
                        }
                        seen
                    })
                })
                .collect();
            let before = service.count(TOKEN, "sign");
            for round in 1..=20 {
                assert_eq!(module.initialize(), CKR_OK);
                let session = module.open(0, CKF_RW_SESSION).unwrap();
                let _ = module.login(session, common::PIN);
                // The threads are at it.
                let deadline = Instant::now() + Duration::from_secs(10);
                while round % 5 == 0 && service.count(TOKEN, "sign") < before + 8 * round {
                    assert!(Instant::now() < deadline, "no thread signs");
                }
                assert_eq!(module.finalize(), CKR_OK);
            }
            over.store(true, Ordering::Relaxed);
            let allowed = [
                CKR_OK,
                CKR_CRYPTOKI_NOT_INITIALIZED,
                CKR_SESSION_HANDLE_INVALID,
                CKR_KEY_HANDLE_INVALID,
                CKR_USER_NOT_LOGGED_IN,
                CKR_OPERATION_NOT_INITIALIZED,
                CKR_OPERATION_ACTIVE,
            ];
            for thread in threads {
                let seen = thread.join().unwrap();
                assert!(seen.keys().all(|rv| allowed.contains(rv)), "{seen:x?}");
                assert!(seen.contains_key(&CKR_CRYPTOKI_NOT_INITIALIZED), "{seen:x?}");
            }
        });
        assert_eq!(module.initialize(), CKR_OK);
        let session = module.user();
        let found = module.find(session, Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY));
        module.sign_with(session, CKM_ECDSA, found.unwrap()[0], &DIGEST).unwrap();
    });
}

#[test]
fn c_initialize_in_many_threads_succeeds_in_one() {
    alone(|| {
        let _service = service();
        let module = Module::load(&common::module());
        let together = Barrier::new(16);
        let succeeded: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        match module.initialize() {
                            CKR_OK => 1,
                            CKR_CRYPTOKI_ALREADY_INITIALIZED => 0,
                            rv => panic!("{rv:#x}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(succeeded, 1);
    });
}

#[test]
fn c_wait_for_slot_event_ends_with_c_finalize() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let mut slot = 0;
        let rv = call!(module, C_WaitForSlotEvent(CKF_DONT_BLOCK, &raw mut slot, null_mut()));
        assert_eq!(rv, CKR_NO_EVENT);
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let module = &module;
            scope.spawn(move || {
                let mut slot = 0;
                let rv = call!(module, C_WaitForSlotEvent(0, &raw mut slot, null_mut()));
                sender.send(rv).unwrap();
            });
            // It waits, and holds nobody up.
            let early = receiver.recv_timeout(Duration::from_millis(200));
            assert!(early.is_err(), "{early:?}");
            assert!(module.open(0, 0).is_ok());
            assert_eq!(module.finalize(), CKR_OK);
            let waited = receiver.recv_timeout(Duration::from_secs(20));
            assert_eq!(waited, Ok(CKR_CRYPTOKI_NOT_INITIALIZED));
        });
        // Nor does it wait for ever.
        assert_eq!(module.initialize(), CKR_OK);
        let rv = call!(module, C_WaitForSlotEvent(0, &raw mut slot, null_mut()));
        assert_eq!(rv, CKR_FUNCTION_NOT_SUPPORTED);
    });
}

/// Found by fuzzing: the service says that what a user sees is unchanged, and nobody is that user
/// any more. Closing the last session is a logout that waits for no answer.
#[test]
fn a_search_whose_login_ends_before_its_answer_comes_is_no_fault() {
    alone(|| {
        let service = Service::start();
        service.token(TOKEN);
        let gate = Gate::before(&service.endpoint);
        let config = service.identity("client", &[TOKEN], &[]);
        common::proxy::route(&config, &[&gate.endpoint]);
        configure(&config);
        let module = Module::initialized();
        let search = |session| {
            let template = Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY);
            module.find(session, template).map(|found| found.len())
        };
        module.generate_ec(module.user(), P256, true);
        for _ in 0..3 {
            let session = module.user();
            assert_eq!(search(session), Ok(1));
            // Until a search asks again.
            std::thread::sleep(Duration::from_millis(1200));
            gate.close();
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| search(session));
                std::thread::sleep(Duration::from_millis(300));
                ok(call!(module, C_CloseAllSessions(0))).unwrap();
                gate.open();
                let found = waiting.join().unwrap();
                assert!(matches!(found, Err(CKR_SESSION_HANDLE_INVALID)), "{found:x?}");
            });
        }
    });
}
