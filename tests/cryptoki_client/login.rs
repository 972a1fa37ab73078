//! Slots, tokens, profiles and logins.

use cryptoki::error::RvError;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::Attribute;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Limit, Slot};
use cryptoki::types::AuthPin;
use cryptoki_sys::*;
use keyward_token::mechanism::Policy;

use crate::common;
use crate::common::alone::{TOKEN, alone, configure, service};
use crate::common::raw::{Module, P256, call};
use crate::common::{PIN, SO_PIN, Service};
use crate::host::{generate_ec, initialized, login, pin, private_keys, refused, slot, user};

#[test]
fn slots_are_small_stable_and_never_removable() {
    alone(|| {
        let service = Service::start();
        let tokens = ["alpha", "beta", "gamma"];
        for token in tokens {
            service.token(token);
        }
        configure(&service.identity("client", &tokens, &[]));
        let module = initialized();
        let slots = module.get_all_slots().unwrap();
        assert_eq!(slots.iter().map(Slot::id).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(module.get_slots_with_token().unwrap(), slots);
        for (slot, token) in slots.iter().zip(tokens) {
            let info = module.get_token_info(*slot).unwrap();
            assert_eq!(info.label(), token);
            assert_eq!(info.serial_number().len(), 16);
            assert!(!module.get_slot_info(*slot).unwrap().removable_device());
        }
        module.finalize().unwrap();
        // A new token changes nothing for those that are there.
        service.token("aaaa");
        let module = initialized();
        assert_eq!(module.get_all_slots().unwrap(), slots);
        let info = module.get_token_info(slots[2]).unwrap();
        assert_eq!(info.label(), "gamma");
    });
}

#[test]
fn token_info_says_what_hosts_act_on() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let slot = slot(&module);
        let session = module.open_ro_session(slot).unwrap();
        let _second = module.open_rw_session(slot).unwrap();
        let info = module.get_token_info(slot).unwrap();
        assert!(info.login_required() && info.token_initialized() && info.user_pin_initialized());
        assert!(info.rng() && !info.write_protected());
        // With it Java would log in with a null PIN.
        assert!(!info.protected_authentication_path());
        assert!(matches!(info.max_session_count(), Limit::Infinite));
        assert!(matches!(info.max_rw_session_count(), Limit::Infinite));
        assert_eq!((info.session_count(), info.rw_session_count()), (Some(2), Some(1)));
        assert_eq!((info.min_pin_length(), info.max_pin_length()), (4, 255));
        // The crate takes the newest interface that it knows.
        let version = module.get_library_info().unwrap().cryptoki_version();
        assert_eq!((version.major(), version.minor()), (3, 2));
        assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RoPublic);
    });
}

#[test]
fn mechanisms_are_those_of_the_registry() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let slot = slot(&module);
        let listed = module.get_mechanism_list(slot).unwrap();
        assert!(listed.contains(&MechanismType::RSA_PKCS_PSS));
        // `cryptoki` leaves out what it does not know.
        let raw = Module::load(&common::module());
        let (mut numbers, mut count) = ([0; 200], 200);
        let rv = call!(raw, C_GetMechanismList(0, numbers.as_mut_ptr(), &raw mut count));
        assert_eq!(rv, CKR_OK);
        let offered: Vec<CK_MECHANISM_TYPE> =
            Policy::Default.offers().map(|offer| offer.mechanism.number).collect();
        assert_eq!(numbers[..count as usize], offered);
        for mechanism in listed {
            module.get_mechanism_info(slot, mechanism).unwrap();
        }
        let stranger = module.get_mechanism_info(slot, MechanismType::DES3_CBC);
        assert_eq!(refused(stranger), RvError::MechanismInvalid);
    });
}

#[test]
fn a_wrong_pin_is_told_and_counted_and_the_right_one_works() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let slot = slot(&module);
        let session = module.open_rw_session(slot).unwrap();
        let attempt = |pin: &AuthPin| session.login(UserType::User, Some(pin));
        assert_eq!(refused(attempt(&pin("4321"))), RvError::PinIncorrect);
        let info = module.get_token_info(slot).unwrap();
        assert!(info.user_pin_count_low() && !info.user_pin_locked());
        attempt(&pin(PIN)).unwrap();
        assert!(!module.get_token_info(slot).unwrap().user_pin_count_low());
        assert_eq!(refused(attempt(&pin(PIN))), RvError::UserAlreadyLoggedIn);
        let officer = session.login(UserType::So, Some(&pin(SO_PIN)));
        assert_eq!(refused(officer), RvError::UserAnotherAlreadyLoggedIn);
        session.logout().unwrap();
        assert_eq!(refused(session.logout()), RvError::UserNotLoggedIn);
        // Wrong again, until the last try and beyond.
        let mut tries = 0;
        while refused(attempt(&pin("4321"))) == RvError::PinIncorrect {
            tries += 1;
            assert!(tries < 100, "the PIN is never locked");
        }
        assert_eq!(refused(attempt(&pin(PIN))), RvError::PinLocked);
        assert!(module.get_token_info(slot).unwrap().user_pin_locked());
        // The security officer helps.
        session.login(UserType::So, Some(&pin(SO_PIN))).unwrap();
        assert_eq!(
            session.get_session_info().unwrap().session_state(),
            SessionState::RwSecurityOfficer
        );
        session.init_pin(&pin("new PIN")).unwrap();
        session.logout().unwrap();
        attempt(&pin("new PIN")).unwrap();
        session.set_pin(&pin("new PIN"), &pin(PIN)).unwrap();
        session.logout().unwrap();
        attempt(&pin(PIN)).unwrap();
    });
}

#[test]
fn profile_tls_lists_what_a_tls_stack_uses() {
    alone(|| {
        let service = Service::start();
        service.token(TOKEN);
        configure(&service.identity("client", &[TOKEN], &["--profile", "tls"]));
        let module = initialized();
        let slot = slot(&module);
        let wanted = [MechanismType::RSA_PKCS, MechanismType::RSA_PKCS_PSS, MechanismType::ECDSA];
        assert_eq!(module.get_mechanism_list(slot).unwrap(), wanted);
        // Nor do the flags of these say what else a key of theirs could be used for.
        let rsa = module.get_mechanism_info(slot, MechanismType::RSA_PKCS).unwrap();
        assert!(rsa.sign() && rsa.decrypt() && !rsa.wrap() && !rsa.unwrap());
        // The JDK digests itself, but offers PSS only with hashes that are known.
        for hash in [MechanismType::SHA256, MechanismType::SHA384, MechanismType::SHA512] {
            module.get_mechanism_info(slot, hash).unwrap();
        }
        let other = module.get_mechanism_info(slot, MechanismType::SHA256_RSA_PKCS);
        assert_eq!(refused(other), RvError::MechanismInvalid);
        assert!(!module.get_token_info(slot).unwrap().rng());
        let session = user(&module);
        let (_, key) = generate_ec(&session, P256, true, b"key");
        session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
    });
}

#[test]
fn a_token_may_be_opened_by_the_certificate_alone() {
    alone(|| {
        let service = Service::start();
        let create = ["token", "create", "--label", TOKEN, "--login", "certificate"];
        service.admin(&[&create[..], &["--so-pin", SO_PIN]].concat());
        configure(&service.identity("client", &[TOKEN], &[]));
        let module = initialized();
        let slot = slot(&module);
        assert!(!module.get_token_info(slot).unwrap().login_required());
        let session = module.open_rw_session(slot).unwrap();
        let (_, key) = generate_ec(&session, P256, true, b"key");
        session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
        assert_eq!(private_keys(&session), [key]);
        // A host that logs in all the same may do so, whatever its PIN.
        session.login(UserType::User, Some(&pin("whatever"))).unwrap();
        session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
        session.logout().unwrap();
        session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
    });
}

#[test]
fn a_token_that_is_initialised_anew_is_empty_and_shows_its_new_label() {
    alone(|| {
        let service = service();
        let module = initialized();
        let slot = slot(&module);
        let session = user(&module);
        generate_ec(&session, P256, true, b"key");
        let busy = module.init_token(slot, &pin(SO_PIN), TOKEN);
        assert_eq!(refused(busy), RvError::SessionExists);
        drop(session);
        let wrong = module.init_token(slot, &pin("87654321"), TOKEN);
        assert_eq!(refused(wrong), RvError::PinIncorrect);
        module.init_token(slot, &pin(SO_PIN), "another").unwrap();
        assert_eq!(module.get_token_info(slot).unwrap().label(), "another");
        // Those who administer it go on calling it what they called it.
        assert!(service.admin(&["token", "show", TOKEN]).contains("another"));
        module.init_token(slot, &pin(SO_PIN), TOKEN).unwrap();
        assert_eq!(module.get_token_info(slot).unwrap().label(), TOKEN);
        module.init_token(slot, &pin(SO_PIN), "another").unwrap();
        assert!(!module.get_token_info(slot).unwrap().user_pin_initialized());
        let session = module.open_rw_session(slot).unwrap();
        let early = session.login(UserType::User, Some(&pin(PIN)));
        assert_eq!(refused(early), RvError::UserPinNotInitialized);
        session.login(UserType::So, Some(&pin(SO_PIN))).unwrap();
        session.init_pin(&pin(PIN)).unwrap();
        session.logout().unwrap();
        login(&session);
        assert!(session.find_objects(&[]).unwrap().is_empty());
    });
}

#[test]
fn a_login_is_the_applications_and_ends_with_the_last_session() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let slot = slot(&module);
        let first = module.open_rw_session(slot).unwrap();
        let second = module.open_ro_session(slot).unwrap();
        login(&first);
        let state = |session: &Session| session.get_session_info().unwrap().session_state();
        assert_eq!((state(&first), state(&second)), (SessionState::RwUser, SessionState::RoUser));
        first.close().unwrap();
        assert_eq!(state(&second), SessionState::RoUser);
        let third = module.open_rw_session(slot).unwrap();
        assert_eq!(state(&third), SessionState::RwUser);
        second.close().unwrap();
        third.close().unwrap();
        let fourth = module.open_rw_session(slot).unwrap();
        assert_eq!(state(&fourth), SessionState::RwPublic);
        assert_eq!(
            refused(fourth.generate_key_pair(
                &Mechanism::EccKeyPairGen,
                &[Attribute::EcParams(P256.to_vec())],
                &[Attribute::Token(true)]
            )),
            RvError::UserNotLoggedIn
        );
    });
}
