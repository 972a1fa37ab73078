//! The module with the crate `cryptoki` as its host: what a token does, and
//! that what it makes is right in the eyes of others.

mod common;

use std::path::Path;

use common::alone::{TOKEN, alone, configure, service};
use common::outside::{OpenSsl, ecdsa_der, ecdsa_raw};
use common::raw::{Module, P256, P384, P521};
use common::{PIN, SO_PIN, Service};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{
    Attribute, AttributeInfo, AttributeType, CertificateType, KeyType, ObjectClass, ObjectHandle,
};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Limit, Slot};
use cryptoki::types::AuthPin;
use cryptoki_sys::*;
use keyward_token::mechanism::{Family, REGISTRY};
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::DecodePublicKey as _;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{Generate, Pkcs1v15Sign, Pss};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

// ---- the host ------------------------------------------------------------------

fn initialized() -> Pkcs11 {
    let module = Pkcs11::new(common::module()).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    module
}

fn slot(module: &Pkcs11) -> Slot {
    module.get_slots_with_token().unwrap()[0]
}

fn pin(pin: &str) -> AuthPin {
    AuthPin::new(pin.into())
}

fn login(session: &Session) {
    session.login(UserType::User, Some(&pin(PIN))).unwrap();
}

/// A read-write session with the user logged in.
fn user(module: &Pkcs11) -> Session {
    let session = module.open_rw_session(slot(module)).unwrap();
    login(&session);
    session
}

/// The return value of what must fail.
#[track_caller]
fn refused<T>(result: cryptoki::error::Result<T>) -> RvError {
    match result {
        Err(Error::Pkcs11(rv, _)) => rv,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

fn generate_rsa(session: &Session, token: bool, id: &[u8]) -> (ObjectHandle, ObjectHandle) {
    let public = [
        Attribute::Token(token),
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Id(id.to_vec()),
    ];
    let private = [Attribute::Token(token), Attribute::Id(id.to_vec())];
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private).unwrap()
}

fn generate_ec(
    session: &Session,
    curve: &[u8],
    token: bool,
    id: &[u8],
) -> (ObjectHandle, ObjectHandle) {
    let public = [
        Attribute::Token(token),
        Attribute::EcParams(curve.to_vec()),
        Attribute::Id(id.to_vec()),
    ];
    let private = [Attribute::Token(token), Attribute::Id(id.to_vec())];
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap()
}

fn bytes(session: &Session, object: ObjectHandle, attribute: AttributeType) -> Vec<u8> {
    match session.get_attributes(object, &[attribute]).unwrap().pop() {
        Some(
            Attribute::PublicKeyInfo(value)
            | Attribute::Id(value)
            | Attribute::Label(value)
            | Attribute::Subject(value)
            | Attribute::Issuer(value)
            | Attribute::Modulus(value)
            | Attribute::UniqueId(value)
            | Attribute::Value(value)
            | Attribute::EcPoint(value),
        ) => value,
        other => panic!("{attribute}: {other:?}"),
    }
}

fn public_key(session: &Session, object: ObjectHandle) -> Vec<u8> {
    bytes(session, object, AttributeType::PublicKeyInfo)
}

fn private_keys(session: &Session) -> Vec<ObjectHandle> {
    session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap()
}

fn data_object(label: &[u8], value: Vec<u8>) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::DATA),
        Attribute::Token(true),
        Attribute::Label(label.to_vec()),
        Attribute::Value(value),
    ]
}

fn certificate(value: Vec<u8>) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
        Attribute::Value(value),
    ]
}

// ---- slots, token, login -------------------------------------------------------

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
        assert_eq!(module.get_library_info().unwrap().cryptoki_version().minor(), 40);
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
        let (mut numbers, mut count) = ([0; 100], 100);
        let rv = call!(raw, C_GetMechanismList(0, numbers.as_mut_ptr(), &raw mut count));
        assert_eq!(rv, CKR_OK);
        let registry: Vec<CK_MECHANISM_TYPE> =
            REGISTRY.iter().map(|mechanism| mechanism.number).collect();
        assert_eq!(numbers[..count as usize], registry);
        for mechanism in listed {
            module.get_mechanism_info(slot, mechanism).unwrap();
        }
        let stranger = module.get_mechanism_info(slot, MechanismType::AES_CBC);
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
        assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RwSecurityOfficer);
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
fn a_token_that_is_initialised_anew_is_empty_and_keeps_its_label() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let slot = slot(&module);
        let session = user(&module);
        generate_ec(&session, P256, true, b"key");
        let busy = module.init_token(slot, &pin(SO_PIN), TOKEN);
        assert_eq!(refused(busy), RvError::SessionExists);
        drop(session);
        let wrong = module.init_token(slot, &pin("87654321"), TOKEN);
        assert_eq!(refused(wrong), RvError::PinIncorrect);
        let renamed = module.init_token(slot, &pin(SO_PIN), "another");
        assert_eq!(refused(renamed), RvError::ArgumentsBad);
        module.init_token(slot, &pin(SO_PIN), TOKEN).unwrap();
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

// ---- keys and signatures ---------------------------------------------------------

/// Generated keys, as objects of the token and of the session, and what their
/// attributes say.
#[test]
fn generated_keys_are_what_was_asked_for_and_opaque() {
    alone(|| {
        let service = service();
        let module = initialized();
        let session = user(&module);
        for token in [true, false] {
            for curve in [P256, P384, P521] {
                let (public, private) = generate_ec(&session, curve, token, b"ec");
                check_generated(&session, public, private, token, KeyType::EC);
            }
            let (public, private) = generate_rsa(&session, token, b"rsa");
            check_generated(&session, public, private, token, KeyType::RSA);
            assert_eq!(bytes(&session, public, AttributeType::Modulus).len(), 256);
        }
        assert_eq!(service.count(TOKEN, "generate_key_pair"), 8);
        let short = session.generate_key_pair(
            &Mechanism::RsaPkcsKeyPairGen,
            &[Attribute::ModulusBits(512.into())],
            &[],
        );
        assert_eq!(refused(short), RvError::KeySizeRange);
        let odd = session.generate_key_pair(
            &Mechanism::EccKeyPairGen,
            &[Attribute::EcParams(vec![6, 3, 0x2a, 3, 4])],
            &[],
        );
        assert!(matches!(refused(odd), RvError::CurveNotSupported));
    });
}

fn check_generated(
    session: &Session,
    public: ObjectHandle,
    private: ObjectHandle,
    token: bool,
    kind: KeyType,
) {
    let wanted = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(kind),
        Attribute::Token(token),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
        Attribute::Local(true),
        Attribute::Sign(true),
        Attribute::AlwaysAuthenticate(false),
    ];
    let types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
    assert_eq!(session.get_attributes(private, &types).unwrap(), wanted);
    let wanted = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(kind),
        Attribute::Token(token),
        Attribute::Private(false),
        Attribute::Local(true),
        Attribute::Verify(true),
    ];
    let types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
    assert_eq!(session.get_attributes(public, &types).unwrap(), wanted);
    let secret = if kind == KeyType::RSA { AttributeType::Prime1 } else { AttributeType::Value };
    let info = session.get_attribute_info(private, &[secret]).unwrap();
    assert!(matches!(info[..], [AttributeInfo::Sensitive]));
    assert_eq!(public_key(session, public), public_key(session, private));
}

/// How `cryptoki` names a mechanism of the registry that signs; `None` for the
/// one that it does not know.
fn signing(number: CK_MECHANISM_TYPE) -> Option<Mechanism<'static>> {
    let pss = |hash_alg, mgf, salt: u64| PkcsPssParams { hash_alg, mgf, s_len: salt.into() };
    Some(match number {
        CKM_RSA_PKCS => Mechanism::RsaPkcs,
        CKM_RSA_X_509 => Mechanism::RsaX509,
        CKM_SHA1_RSA_PKCS => Mechanism::Sha1RsaPkcs,
        CKM_SHA224_RSA_PKCS => Mechanism::Sha224RsaPkcs,
        CKM_SHA256_RSA_PKCS => Mechanism::Sha256RsaPkcs,
        CKM_SHA384_RSA_PKCS => Mechanism::Sha384RsaPkcs,
        CKM_SHA512_RSA_PKCS => Mechanism::Sha512RsaPkcs,
        CKM_RSA_PKCS_PSS => {
            Mechanism::RsaPkcsPss(pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32))
        }
        CKM_SHA1_RSA_PKCS_PSS => {
            Mechanism::Sha1RsaPkcsPss(pss(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, 20))
        }
        CKM_SHA256_RSA_PKCS_PSS => {
            Mechanism::Sha256RsaPkcsPss(pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32))
        }
        CKM_SHA384_RSA_PKCS_PSS => {
            Mechanism::Sha384RsaPkcsPss(pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48))
        }
        CKM_SHA512_RSA_PKCS_PSS => {
            Mechanism::Sha512RsaPkcsPss(pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64))
        }
        CKM_ECDSA => Mechanism::Ecdsa,
        CKM_ECDSA_SHA1 => Mechanism::EcdsaSha1,
        CKM_ECDSA_SHA224 => Mechanism::EcdsaSha224,
        CKM_ECDSA_SHA256 => Mechanism::EcdsaSha256,
        CKM_ECDSA_SHA384 => Mechanism::EcdsaSha384,
        CKM_ECDSA_SHA512 => Mechanism::EcdsaSha512,
        CKM_SHA224_RSA_PKCS_PSS => return None,
        other => panic!("the registry has a mechanism that this test does not know: {other:#x}"),
    })
}

/// CKM_SHA224_RSA_PKCS_PSS, which `cryptoki` lacks.
fn sign_sha224_pss(session: &Session, key: ObjectHandle, data: &[u8]) -> Vec<u8> {
    let raw = Module::load(&common::module());
    let mut pss = CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA224, mgf: CKG_MGF1_SHA224, sLen: 28 };
    let mut mechanism = CK_MECHANISM {
        mechanism: CKM_SHA224_RSA_PKCS_PSS,
        pParameter: (&raw mut pss).cast(),
        ulParameterLen: size_of::<CK_RSA_PKCS_PSS_PARAMS>() as CK_ULONG,
    };
    let rv = call!(raw, C_SignInit(session.handle(), &raw mut mechanism, key.handle()));
    assert_eq!(rv, CKR_OK);
    raw.sign(session.handle(), data).unwrap()
}

/// OpenSSL's name of the hash in a mechanism's name.
fn hash_in(name: &str) -> Option<&'static str> {
    ["sha1", "sha224", "sha256", "sha384", "sha512"]
        .into_iter()
        .find(|hash| name.to_lowercase().split('_').any(|part| part == *hash))
}

#[test]
fn every_mechanism_that_signs_makes_signatures_that_others_accept() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let openssl = OpenSsl::new();
        let message = b"a message to be signed".repeat(99);
        let digest = Sha256::digest(&message).to_vec();
        let rsa = generate_rsa(&session, true, b"rsa");
        let ec = [P256, P384, P521].map(|curve| generate_ec(&session, curve, true, b"ec"));
        let signers = REGISTRY.iter().filter(|mechanism| mechanism.flags & CKF_SIGN != 0);
        let mut signed = 0;
        for mechanism in signers {
            let name = mechanism.name;
            let hash = hash_in(name);
            let data: &[u8] = match mechanism.family {
                Family::RsaX509 => &[0x12; 256],
                _ if hash.is_none() => &digest,
                _ => &message,
            };
            let input = hash.map_or(data.to_vec(), |hash| openssl.digest(hash, data));
            let pairs = if matches!(mechanism.family, Family::Ecdsa(_)) { &ec[..] } else { &[rsa] };
            for (public, private) in pairs {
                let how = signing(mechanism.number);
                let signature = match &how {
                    Some(how) => session.sign(how, *private, data).unwrap(),
                    None => sign_sha224_pss(&session, *private, data),
                };
                let spki = public_key(&session, *public);
                let digest_option = format!("digest:{}", hash.unwrap_or("sha256"));
                let verify = |options: &[&str], signature: &[u8]| {
                    openssl.verify(&spki, options, &input, signature)
                };
                let verified = match mechanism.family {
                    Family::RsaPkcs(Some(_)) => {
                        verify(&["rsa_padding_mode:pkcs1", &digest_option], &signature)
                    }
                    Family::RsaPkcs(None) => verify(&["rsa_padding_mode:pkcs1"], &signature),
                    Family::RsaPss(_) => verify(
                        &["rsa_padding_mode:pss", &digest_option, "rsa_pss_saltlen:digest"],
                        &signature,
                    ),
                    Family::Ecdsa(_) => verify(&[], &ecdsa_der(&signature)),
                    Family::RsaX509 => {
                        openssl.file("public.der", &spki);
                        openssl.file("signature", &signature);
                        let recovered = openssl.run(&[
                            "pkeyutl", "-verifyrecover", "-pubin", "-keyform", "DER", "-inkey",
                            "public.der", "-in", "signature", "-pkeyopt", "rsa_padding_mode:none",
                        ]);
                        recovered.map(|recovered| assert_eq!(recovered, data))
                    }
                    _ => panic!("{name} does not sign"),
                };
                verified.unwrap_or_else(|error| panic!("{name}: {error}"));
                check_with_crates(name, &spki, &input, &signature);
                // And in the module, which must tell right from wrong.
                if let Some(how) = &how {
                    session.verify(how, *public, data, &signature).unwrap();
                    let mut wrong = signature.clone();
                    *wrong.last_mut().unwrap() ^= 1;
                    let verified = session.verify(how, *public, data, &wrong);
                    assert_eq!(refused(verified), RvError::SignatureInvalid, "{name}");
                }
                signed += 1;
            }
        }
        assert_eq!(signed, 13 + 3 * 6);
    });
}

/// The crates `rsa` and `p256` agree with OpenSSL where they can tell.
fn check_with_crates(name: &str, spki: &[u8], input: &[u8], signature: &[u8]) {
    if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_der(spki) {
        let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
        key.verify_prehash(input, &signature).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    if let Ok(key) = rsa::PublicKey::from_public_key_der(spki) {
        let verified = match name {
            "CKM_RSA_PKCS" => key.verify(Pkcs1v15Sign::new_unprefixed(), input, signature),
            "CKM_SHA256_RSA_PKCS" => key.verify(Pkcs1v15Sign::new::<Sha256>(), input, signature),
            "CKM_SHA384_RSA_PKCS" => key.verify(Pkcs1v15Sign::new::<Sha384>(), input, signature),
            "CKM_SHA512_RSA_PKCS" => key.verify(Pkcs1v15Sign::new::<Sha512>(), input, signature),
            "CKM_RSA_PKCS_PSS" | "CKM_SHA256_RSA_PKCS_PSS" => {
                key.verify(Pss::<Sha256>::new(), input, signature)
            }
            "CKM_SHA384_RSA_PKCS_PSS" => key.verify(Pss::<Sha384>::new(), input, signature),
            "CKM_SHA512_RSA_PKCS_PSS" => key.verify(Pss::<Sha512>::new(), input, signature),
            _ => Ok(()),
        };
        verified.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn signatures_made_elsewhere_are_verified() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let digest = Sha256::digest(b"made elsewhere").to_vec();
        // p256
        let key = p256::SecretKey::from_slice(&<[u8; 32]>::generate()).unwrap();
        let public = session.create_object(&[
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::EC),
            Attribute::EcParams(P256.to_vec()),
            Attribute::EcPoint(point(&key)),
        ]);
        let public = public.unwrap();
        let signature: p256::ecdsa::Signature =
            p256::ecdsa::SigningKey::from(&key).sign_prehash(&digest).unwrap();
        session.verify(&Mechanism::Ecdsa, public, &digest, &signature.to_bytes()).unwrap();
        session
            .verify(&Mechanism::EcdsaSha256, public, b"made elsewhere", &signature.to_bytes())
            .unwrap();
        // rsa
        let key = rsa::PrivateKey::generate();
        let public = session.create_object(&[
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Modulus(key.n_bytes().to_vec()),
            Attribute::PublicExponent(key.e_bytes().to_vec()),
        ]);
        let public = public.unwrap();
        let signature = key.sign(Pkcs1v15Sign::new::<Sha256>(), &digest).unwrap();
        session.verify(&Mechanism::Sha256RsaPkcs, public, b"made elsewhere", &signature).unwrap();
        let signature = key.sign(Pss::<Sha256>::new(), &digest).unwrap();
        let pss = PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: 32.into(),
        };
        session.verify(&Mechanism::RsaPkcsPss(pss), public, &digest, &signature).unwrap();
        let other_hash = PkcsPssParams { hash_alg: MechanismType::SHA384, ..pss };
        assert!(session.verify(&Mechanism::RsaPkcsPss(other_hash), public, &digest, &signature).is_err());
        // OpenSSL, on the larger curves.
        let openssl = OpenSsl::new();
        for (name, curve, width) in [("P-384", P384, 48), ("P-521", P521, 66)] {
            let option = format!("ec_paramgen_curve:{name}");
            openssl
                .run(&["genpkey", "-algorithm", "EC", "-pkeyopt", &option, "-out", "k.pem"])
                .unwrap();
            openssl.file("digest", &digest);
            openssl.run(&["pkey", "-in", "k.pem", "-pubout", "-outform", "DER", "-out", "k.der"]).unwrap();
            openssl.run(&["pkeyutl", "-sign", "-inkey", "k.pem", "-in", "digest", "-out", "s"]).unwrap();
            let spki = openssl.read("k.der");
            let point = &spki[spki.len() - 2 * width - 1..];
            let public = session.create_object(&[
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(KeyType::EC),
                Attribute::EcParams(curve.to_vec()),
                Attribute::EcPoint(octet_string(point)),
            ]);
            let signature = ecdsa_raw(&openssl.read("s"), width);
            session.verify(&Mechanism::Ecdsa, public.unwrap(), &digest, &signature).unwrap();
        }
    });
}

/// CKA_EC_POINT: the point in an OCTET STRING.
fn point(key: &p256::SecretKey) -> Vec<u8> {
    octet_string(key.public_key().to_sec1_point(false).as_bytes())
}

fn octet_string(content: &[u8]) -> Vec<u8> {
    let length = content.len() as u8;
    let head: &[u8] = if length < 0x80 { &[4, length] } else { &[4, 0x81, length] };
    [head, content].concat()
}

#[test]
fn what_others_encrypt_is_decrypted() {
    alone(|| {
        let service = service();
        let module = initialized();
        let session = user(&module);
        let openssl = OpenSsl::new();
        let (public, private) = generate_rsa(&session, true, b"rsa");
        let spki = public_key(&session, public);
        let key = rsa::PublicKey::from_public_key_der(&spki).unwrap();
        let oaep = |hash, mgf, label: &'static [u8]| {
            Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::data_specified(label)))
        };
        let sha1 = oaep(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, b"");
        let sha256 = oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, b"");
        let mixed = oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA1, b"");
        let labelled = oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, b"a label");
        let pad = "rsa_padding_mode:oaep";
        let (md, mgf) = ("rsa_oaep_md:sha256", "rsa_mgf1_md:sha256");
        for secret in [&b"forty-eight bytes of a pre-master secret of TLS!"[..], b"", b"\0\0x"] {
            for (how, encrypted) in [
                (&Mechanism::RsaPkcs, key.pkcs1v15_encrypt(secret).unwrap()),
                (&Mechanism::RsaPkcs, openssl.encrypt(&spki, &["rsa_padding_mode:pkcs1"], secret)),
                (&sha256, key.oaep_encrypt::<Sha256>(secret).unwrap()),
                (&sha1, openssl.encrypt(&spki, &[pad], secret)),
                (&mixed, openssl.encrypt(&spki, &[pad, md, "rsa_mgf1_md:sha1"], secret)),
                (&labelled, openssl.encrypt(&spki, &[pad, md, mgf, "rsa_oaep_label:61206c6162656c"], secret)),
            ] {
                let decrypted = session.decrypt(how, private, &encrypted);
                assert_eq!(decrypted.unwrap(), secret, "{how:?}");
            }
            // In the module itself, and by a label that is another.
            let encrypted = session.encrypt(&labelled, public, secret).unwrap();
            assert_eq!(session.decrypt(&labelled, private, &encrypted).unwrap(), secret);
            let failed = session.decrypt(&sha256, private, &encrypted);
            assert_eq!(refused(failed), RvError::EncryptedDataInvalid);
        }
        let mut block = vec![0x42; 256];
        block[0] = 0;
        let encrypted = openssl.encrypt(&spki, &["rsa_padding_mode:none"], &block);
        assert_eq!(session.decrypt(&Mechanism::RsaX509, private, &encrypted).unwrap(), block);
        // A public key decrypts nothing, and encrypting asks nobody.
        assert_eq!(
            refused(session.decrypt(&Mechanism::RsaPkcs, public, &encrypted)),
            RvError::KeyTypeInconsistent
        );
        assert_eq!(service.count(TOKEN, "encrypt"), 0);
        assert!(service.count(TOKEN, "decrypt") > 0);
    });
}

#[test]
fn digests_are_those_of_others() {
    alone(|| {
        let service = service();
        let module = initialized();
        let session = module.open_ro_session(slot(&module)).unwrap();
        let openssl = OpenSsl::new();
        let message: Vec<u8> = (0..10_000_u32).map(|byte| byte as u8).collect();
        for data in [&message[..], b"", b"abc"] {
            for (how, expected) in [
                (Mechanism::Sha1, openssl.digest("sha1", data)),
                (Mechanism::Sha224, Sha224::digest(data).to_vec()),
                (Mechanism::Sha256, Sha256::digest(data).to_vec()),
                (Mechanism::Sha384, Sha384::digest(data).to_vec()),
                (Mechanism::Sha512, Sha512::digest(data).to_vec()),
            ] {
                assert_eq!(session.digest(&how, data).unwrap(), expected, "{how:?}");
                session.digest_init(&how).unwrap();
                for part in data.chunks(777) {
                    session.digest_update(part).unwrap();
                }
                assert_eq!(session.digest_final().unwrap(), expected, "{how:?} in parts");
            }
        }
        assert_eq!(service.counts(TOKEN).len(), 0, "digests are made on the spot");
        let random = session.generate_random_vec(64).unwrap();
        assert_ne!(random, session.generate_random_vec(64).unwrap());
    });
}

// ---- import ------------------------------------------------------------------------

/// As Java imports a key: no CKA_SENSITIVE, no CKA_EXTRACTABLE. If it could
/// read the key it would sign in software.
fn rsa_template(key: &rsa::PrivateKey) -> Vec<Attribute> {
    let number = |number: &rsa::BoxedUint| number.to_be_bytes_trimmed_vartime().to_vec();
    let primes = key.primes();
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Modulus(key.n_bytes().to_vec()),
        Attribute::PublicExponent(key.e_bytes().to_vec()),
        Attribute::PrivateExponent(number(key.d())),
        Attribute::Prime1(number(&primes[0])),
        Attribute::Prime2(number(&primes[1])),
        Attribute::Exponent1(number(key.dp().unwrap())),
        Attribute::Exponent2(number(key.dq().unwrap())),
        Attribute::Coefficient(number(&key.crt_coefficient().unwrap())),
    ]
}

fn ec_template(key: &p256::SecretKey) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::EcParams(P256.to_vec()),
        Attribute::Value(key.to_bytes().to_vec()),
    ]
}

#[test]
fn imported_keys_become_opaque_and_sign() {
    alone(|| {
        let service = service();
        let module = initialized();
        let session = user(&module);
        let rsa = rsa::PrivateKey::generate();
        let ec = p256::SecretKey::from_slice(&<[u8; 32]>::generate()).unwrap();
        let digest = Sha256::digest(b"message").to_vec();
        for token in [true, false] {
            let with_token = |mut template: Vec<Attribute>| {
                template.push(Attribute::Token(token));
                template
            };
            let key = session.create_object(&with_token(rsa_template(&rsa))).unwrap();
            check_opaque(&session, key, AttributeType::Prime2);
            let signature = session.sign(&Mechanism::Sha256RsaPkcs, key, b"message").unwrap();
            rsa.as_public_key().verify(Pkcs1v15Sign::new::<Sha256>(), &digest, &signature).unwrap();

            let key = session.create_object(&with_token(ec_template(&ec))).unwrap();
            check_opaque(&session, key, AttributeType::Value);
            let signature = session.sign(&Mechanism::Ecdsa, key, &digest).unwrap();
            let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
            p256::ecdsa::VerifyingKey::from(ec.public_key()).verify_prehash(&digest, &signature).unwrap();
        }
        assert_eq!(service.count(TOKEN, "sign"), 4, "session keys too are used in the service");
        // A key that does not fit itself.
        let mut wrong = rsa_template(&rsa);
        wrong[4] = Attribute::PrivateExponent(vec![0x55; 256]);
        assert!(session.create_object(&wrong).is_err());
    });
}

fn check_opaque(session: &Session, key: ObjectHandle, secret: AttributeType) {
    let wanted = [
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Private(true),
        // It was known elsewhere before.
        Attribute::AlwaysSensitive(false),
        Attribute::NeverExtractable(false),
        Attribute::Local(false),
    ];
    let mut types: Vec<AttributeType> = wanted.iter().map(Attribute::attribute_type).collect();
    types.insert(3, secret);
    // The sensitive one in the middle is left out, the others are all there.
    assert_eq!(session.get_attributes(key, &types).unwrap(), wanted);
    let info = session.get_attribute_info(key, &[secret]).unwrap();
    assert!(matches!(info[..], [AttributeInfo::Sensitive]));
    assert!(session.find_objects(&[Attribute::Value(vec![1])]).unwrap().is_empty());
}

// ---- objects -----------------------------------------------------------------------

#[test]
fn objects_are_copied_from_session_to_token_and_back() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let (public, private) = generate_ec(&session, P256, false, b"copy");
        let spki = public_key(&session, public);
        let to_token = [Attribute::Token(true), Attribute::Label(b"copied".to_vec())];
        let copy = session.copy_object(private, &to_token).unwrap();
        let again = session.copy_object(copy, &[Attribute::Token(false)]).unwrap();
        let key = p256::ecdsa::VerifyingKey::from_public_key_der(&spki).unwrap();
        for handle in [private, copy, again] {
            assert_eq!(bytes(&session, handle, AttributeType::Id), b"copy");
            let signature = session.sign(&Mechanism::Ecdsa, handle, &[1; 32]).unwrap();
            let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
            key.verify_prehash(&[1; 32], &signature).unwrap();
        }
        assert_eq!(bytes(&session, copy, AttributeType::Label), b"copied");
        assert_eq!(bytes(&session, private, AttributeType::Label), b"");
        assert_ne!(
            bytes(&session, copy, AttributeType::UniqueId),
            bytes(&session, session.copy_object(copy, &[]).unwrap(), AttributeType::UniqueId)
        );
        // What a copy may not become.
        assert_eq!(
            refused(session.copy_object(copy, &[Attribute::Private(false)])),
            RvError::TemplateInconsistent
        );
        let loosened = refused(session.copy_object(copy, &[Attribute::Sensitive(false)]));
        assert!(matches!(loosened, RvError::AttributeReadOnly | RvError::TemplateInconsistent));
        let public = session.copy_object(public, &[Attribute::Token(true)]).unwrap();
        assert_eq!(public_key(&session, public), spki);
    });
}

#[test]
fn labels_and_ids_are_any_bytes() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let other = module.open_ro_session(slot(&module)).unwrap();
        let (token_key, _) = generate_ec(&session, P256, true, b"1");
        let (session_key, _) = generate_ec(&session, P256, false, b"2");
        let all: Vec<u8> = (0..=254).collect();
        for key in [token_key, session_key] {
            for value in [&all[..], &[0; 255], &[0], b"", "\u{fc}ml\u{e4}ut".as_bytes(), &[0xff, 0, 0xfe]] {
                session
                    .update_attributes(key, &[Attribute::Id(value.to_vec()), Attribute::Label(value.to_vec())])
                    .unwrap();
                assert_eq!(bytes(&session, key, AttributeType::Id), value);
                assert_eq!(bytes(&other, key, AttributeType::Label), value);
                let found = session.find_objects(&[
                    Attribute::Class(ObjectClass::PUBLIC_KEY),
                    Attribute::Id(value.to_vec()),
                    Attribute::Label(value.to_vec()),
                ]);
                assert!(found.unwrap().contains(&key), "{value:x?}");
            }
        }
    });
}

#[test]
fn changes_that_would_weaken_a_key_are_refused() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let read_only = module.open_ro_session(slot(&module)).unwrap();
        for token in [true, false] {
            let (public, private) = generate_ec(&session, P256, token, b"key");
            for attribute in [
                Attribute::Sensitive(false),
                Attribute::Extractable(true),
                Attribute::Class(ObjectClass::DATA),
                Attribute::KeyType(KeyType::RSA),
                Attribute::Local(false),
                Attribute::AlwaysSensitive(false),
                Attribute::Token(!token),
                Attribute::Private(false),
                Attribute::EcParams(P384.to_vec()),
                Attribute::UniqueId(b"mine".to_vec()),
            ] {
                let name = format!("{attribute:?}");
                // Together with something harmless, which must not happen then.
                let changes = [Attribute::Label(b"changed".to_vec()), attribute];
                let rv = refused(session.update_attributes(private, &changes));
                assert_eq!(rv, RvError::AttributeReadOnly, "{name}");
                assert_eq!(bytes(&session, private, AttributeType::Label), b"", "{name}");
            }
            let label = [Attribute::Label(b"changed".to_vec())];
            if token {
                let rv = refused(read_only.update_attributes(public, &label));
                assert_eq!(rv, RvError::SessionReadOnly);
                let rv = refused(read_only.destroy_object(public));
                assert_eq!(rv, RvError::SessionReadOnly);
            }
            session.update_attributes(private, &[Attribute::Sign(false)]).unwrap();
            let signed = session.sign(&Mechanism::Ecdsa, private, &[1; 32]);
            assert_eq!(refused(signed), RvError::KeyFunctionNotPermitted);
        }
    });
}

#[test]
fn a_destroyed_object_is_gone_and_its_handle_is_not_used_again() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let mut seen = Vec::new();
        for token in [true, false, true, false] {
            let (public, private) = generate_ec(&session, P256, token, b"key");
            for handle in [public, private] {
                assert!(!seen.contains(&handle), "{handle} is used again");
                seen.push(handle);
                session.destroy_object(handle).unwrap();
                let rv = refused(session.destroy_object(handle));
                assert_eq!(rv, RvError::ObjectHandleInvalid);
                let read = session.get_attributes(handle, &[AttributeType::Class]);
                assert_eq!(refused(read), RvError::ObjectHandleInvalid);
            }
            assert_eq!(
                refused(session.sign(&Mechanism::Ecdsa, private, &[1; 32])),
                RvError::KeyHandleInvalid
            );
        }
        assert!(session.find_objects(&[]).unwrap().is_empty());
        let mut lasting = data_object(b"lasting", vec![1]);
        lasting.push(Attribute::Destroyable(false));
        let lasting = session.create_object(&lasting).unwrap();
        assert_eq!(refused(session.destroy_object(lasting)), RvError::ActionProhibited);
    });
}

#[test]
fn handles_survive_logout_and_private_objects_are_hidden_meanwhile() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let (public, private) = generate_ec(&session, P256, true, b"key");
        let (session_public, session_private) = generate_ec(&session, P256, false, b"key");
        session.logout().unwrap();
        let mut visible = session.find_objects(&[]).unwrap();
        visible.sort_by_key(ObjectHandle::handle);
        assert_eq!(visible, [public, session_public], "only what is public");
        let read = session.get_attributes(private, &[AttributeType::Class]);
        assert_eq!(refused(read), RvError::ObjectHandleInvalid);
        let signed = session.sign(&Mechanism::Ecdsa, private, &[1; 32]);
        assert!(matches!(refused(signed), RvError::KeyHandleInvalid | RvError::UserNotLoggedIn));
        let mut hidden = data_object(b"hidden", vec![1]);
        hidden.push(Attribute::Private(true));
        assert_eq!(refused(session.create_object(&hidden)), RvError::UserNotLoggedIn);
        login(&session);
        assert_eq!(private_keys(&session), [private]);
        session.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
        // Private session objects are gone for good.
        let gone = session.get_attributes(session_private, &[AttributeType::Class]);
        assert_eq!(refused(gone), RvError::ObjectHandleInvalid);
    });
}

#[test]
fn session_objects_go_with_their_session() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let keeper = user(&module);
        let session = module.open_rw_session(slot(&module)).unwrap();
        let (public, private) = generate_ec(&session, P256, false, b"key");
        // Other sessions of the application see them.
        keeper.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
        assert_eq!(keeper.find_objects(&[Attribute::Token(false)]).unwrap().len(), 2);
        session.close().unwrap();
        assert!(keeper.find_objects(&[]).unwrap().is_empty());
        for handle in [public, private] {
            let read = keeper.get_attributes(handle, &[AttributeType::Class]);
            assert_eq!(refused(read), RvError::ObjectHandleInvalid);
        }
    });
}

// ---- who sees what -------------------------------------------------------------------

#[test]
fn an_identity_sees_its_own_tokens_only() {
    alone(|| {
        let service = Service::start();
        for token in ["ours", "theirs"] {
            service.token(token);
        }
        service.admin(&["key", "generate", "--token", "theirs", "--type", "ec:p256", "--label", "k"]);
        let ours = service.identity("us", &["ours"], &[]);
        let theirs = service.identity("them", &["theirs"], &[]);
        // Ours, but with a slot for the token of the others.
        let text = std::fs::read_to_string(&ours).unwrap();
        let greedy = ours.with_file_name("greedy.toml");
        std::fs::write(&greedy, format!("{text}\n[[slot]]\ntoken = \"theirs\"\n")).unwrap();
        let without_slots = ours.with_file_name("without.toml");
        std::fs::write(&without_slots, text.split("[[slot]]").next().unwrap()).unwrap();
        let labels = |config: &Path| {
            configure(config);
            let module = initialized();
            let slots = module.get_slots_with_token().unwrap();
            let labels: Vec<String> = slots
                .iter()
                .map(|slot| module.get_token_info(*slot).unwrap().label().to_owned())
                .collect();
            (module, labels)
        };
        for (config, expected) in [(&ours, "ours"), (&theirs, "theirs"), (&without_slots, "ours")] {
            let (module, labels) = labels(config);
            assert_eq!(labels, [expected]);
            let session = user(&module);
            assert_eq!(private_keys(&session).len(), usize::from(expected == "theirs"));
            drop(session);
            module.finalize().unwrap();
        }
        let (module, _) = labels(&greedy);
        let slots = module.get_all_slots().unwrap();
        let session = module.open_ro_session(slots[1]).unwrap();
        let rv = refused(session.login(UserType::User, Some(&pin(PIN))));
        assert_eq!(rv, RvError::TokenNotPresent);
        assert_eq!(refused(session.find_objects(&[])), RvError::TokenNotPresent);
    });
}

#[test]
fn a_token_that_may_not_be_changed_is_not() {
    alone(|| {
        let service = Service::start();
        service.token(TOKEN);
        service.admin(&["key", "generate", "--token", TOKEN, "--type", "ec:p256", "--label", "k"]);
        let read_only = format!("{TOKEN}:ro");
        let config = service.identity("reader", &[&read_only], &[]);
        configure(&config);
        let module = initialized();
        let only = slot(&module);
        assert!(module.get_token_info(only).unwrap().write_protected());
        assert_eq!(refused(module.open_rw_session(only)), RvError::TokenWriteProtected);
        let session = module.open_ro_session(only).unwrap();
        login(&session);
        let key = private_keys(&session)[0];
        session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
        let label = [Attribute::Label(b"mine".to_vec())];
        assert_eq!(refused(session.update_attributes(key, &label)), RvError::TokenWriteProtected);
        assert_eq!(refused(session.destroy_object(key)), RvError::TokenWriteProtected);
        let created = session.create_object(&data_object(b"mine", vec![1]));
        assert_eq!(refused(created), RvError::TokenWriteProtected);
        // Session objects are nobody else's business.
        generate_ec(&session, P256, false, b"session");
        drop(session);
        module.finalize().unwrap();
        // A config that says otherwise does not help.
        let text = std::fs::read_to_string(&config).unwrap();
        let changed = text.replace("writable = false", "writable = true");
        assert_ne!(changed, text);
        std::fs::write(&config, changed).unwrap();
        let module = initialized();
        let session = user(&module);
        let created = session.create_object(&data_object(b"mine", vec![1]));
        assert_eq!(refused(created), RvError::TokenWriteProtected);
        let key = private_keys(&session)[0];
        assert_eq!(refused(session.destroy_object(key)), RvError::TokenWriteProtected);
    });
}

// ---- certificates and many objects -----------------------------------------------------

#[test]
fn certificates_are_described_by_what_is_in_them() {
    alone(|| {
        let _service = service();
        let module = initialized();
        let session = user(&module);
        let openssl = OpenSsl::new();
        let value = openssl.certificate("one");
        let one = session.create_object(&certificate(value.clone())).unwrap();
        let subject = bytes(&session, one, AttributeType::Subject);
        assert!(subject.ends_with(b"one"), "CN=one");
        assert_eq!(subject, bytes(&session, one, AttributeType::Issuer), "it is self-signed");
        assert_eq!(bytes(&session, one, AttributeType::Value), value);
        let mut with_subject = certificate(openssl.certificate("two"));
        with_subject.extend([Attribute::Subject(b"given".to_vec()), Attribute::Id(vec![2])]);
        let two = session.create_object(&with_subject).unwrap();
        assert_eq!(bytes(&session, two, AttributeType::Subject), b"given");
        let by_subject = |subject: Vec<u8>| {
            session
                .find_objects(&[
                    Attribute::Class(ObjectClass::CERTIFICATE),
                    Attribute::Subject(subject),
                ])
                .unwrap()
        };
        assert_eq!(by_subject(subject), [one]);
        assert_eq!(by_subject(b"given".to_vec()), [two]);
        assert!(by_subject(b"nobody".to_vec()).is_empty());
        let rv = refused(session.create_object(&certificate(b"not DER".to_vec())));
        assert_eq!(rv, RvError::AttributeValueInvalid);
    });
}

#[test]
fn three_hundred_certificates_are_found_in_pages_and_one_by_one() {
    alone(|| {
        let service = service();
        let module = initialized();
        let session = user(&module);
        let value = OpenSsl::new().certificate("many");
        let mut handles = Vec::new();
        for number in 0..300_u16 {
            let mut template = certificate(value.clone());
            template.push(Attribute::Id(number.to_be_bytes().to_vec()));
            handles.push(session.create_object(&template).unwrap());
        }
        let class = [Attribute::Class(ObjectClass::CERTIFICATE)];
        for page in [1, 7, 300, 1000] {
            let page = std::num::NonZeroUsize::new(page).unwrap();
            let mut found: Vec<ObjectHandle> = session
                .iter_objects_with_cache_size(&class, page)
                .unwrap()
                .map(Result::unwrap)
                .collect();
            found.sort_by_key(ObjectHandle::handle);
            assert_eq!(found, handles, "in pages of {page}");
        }
        let before = service.counts(TOKEN);
        for number in 0..300_u16 {
            let id = Attribute::Id(number.to_be_bytes().to_vec());
            let found = session.find_objects(&[class[0].clone(), id]).unwrap();
            assert_eq!(found, [handles[usize::from(number)]]);
        }
        // Searches in a known catalogue ask at most whether it is still right,
        // once a second.
        let asked = service.count(TOKEN, "catalogue") - before["catalogue"]["count"].as_u64().unwrap();
        assert!(asked <= 10, "{asked} questions for 300 searches");
        // A search that was begun is over when it is said to be.
        let mut search = session.iter_objects(&class).unwrap();
        assert!(search.next().is_some());
        drop(search);
        assert_eq!(session.find_objects(&class).unwrap().len(), 300);
    });
}

/// More than the 4 MiB up to which the catalogue comes as a whole.
#[test]
fn a_token_of_more_than_four_mebibytes_is_searched_from_afar() {
    alone(|| {
        let service = service();
        let module = initialized();
        let session = user(&module);
        for number in 0..25_u8 {
            let value = vec![number; 200_000];
            session.create_object(&data_object(&[number], value)).unwrap();
        }
        let (_, private) = generate_ec(&session, P256, true, b"key");
        session.logout().unwrap();
        login(&session);
        let all = session.find_objects(&[Attribute::Class(ObjectClass::DATA)]).unwrap();
        assert_eq!(all.len(), 25);
        assert!(service.count(TOKEN, "find") > 0, "{:?}", service.counts(TOKEN));
        for number in [0, 13, 24] {
            let found = session.find_objects(&[Attribute::Label(vec![number])]).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(bytes(&session, found[0], AttributeType::Value), vec![number; 200_000]);
        }
        // Handles that were told before the logout mean the same.
        session.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
        assert_eq!(private_keys(&session), [private]);
        // So they do after a change that drops what was looked at.
        let listed = session.find_objects(&[Attribute::Label(vec![7])]).unwrap()[0];
        service.admin(&["key", "generate", "--token", TOKEN, "--type", "ec:p256", "--label", "new"]);
        let (other, _) = generate_ec(&session, P256, true, b"other");
        assert_eq!(session.find_objects(&[Attribute::Label(b"new".to_vec())]).unwrap().len(), 2);
        session.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
        assert_eq!(bytes(&session, listed, AttributeType::Label), [7]);
        session.destroy_object(other).unwrap();
        let gone = session.get_attributes(other, &[AttributeType::Class]);
        assert_eq!(refused(gone), RvError::ObjectHandleInvalid);
        let found = session.find_objects(&[Attribute::Label(vec![13])]).unwrap();
        session.destroy_object(found[0]).unwrap();
        assert!(session.find_objects(&[Attribute::Label(vec![13])]).unwrap().is_empty());
        assert_eq!(session.find_objects(&[Attribute::Class(ObjectClass::DATA)]).unwrap().len(), 24);
    });
}
