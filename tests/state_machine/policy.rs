//! A token's policy, CKA_ALLOWED_MECHANISMS, and keys that ask for the PIN each time.

use std::ptr::null_mut;
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::DIGEST;
use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::parse;
use crate::common::raw::{Module, P256, Rv, Template, call, mechanism, mechanism_with, ok};
use crate::common::{PIN, Service};
use crate::vectors::wycheproof;

fn listed(module: &Module, slot: CK_SLOT_ID) -> Vec<CK_MECHANISM_TYPE> {
    let mut count = 0;
    assert_eq!(call!(module, C_GetMechanismList(slot, null_mut(), &raw mut count)), CKR_OK);
    let mut list = vec![0; count as usize];
    assert_eq!(call!(module, C_GetMechanismList(slot, list.as_mut_ptr(), &raw mut count)), CKR_OK);
    list
}

/// Sets a policy, and waits until the module has heard of it.
pub fn set_policy(
    service: &Service,
    module: &Module,
    policy: &str,
    sign: CK_MECHANISM_TYPE,
    is: bool,
) {
    service.admin(&["token", "set-policy", TOKEN, policy]);
    let slot = module.slots().unwrap()[0];
    let deadline = Instant::now() + Duration::from_secs(20);
    let offered = || {
        let mut info = CK_MECHANISM_INFO::default();
        let rv = call!(module, C_GetMechanismInfo(slot, sign, &raw mut info));
        rv == CKR_OK && info.flags & CKF_SIGN != 0
    };
    while offered() != is {
        assert!(Instant::now() < deadline, "the module does not hear of the policy {policy}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn rsa_1024(
    module: &Module,
    session: CK_SESSION_HANDLE,
) -> Rv<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
    let public = Template::new().number(CKA_MODULUS_BITS, 1024);
    module.generate(session, CKM_RSA_PKCS_KEY_PAIR_GEN, public, Template::new())
}

#[test]
fn old_mechanisms_are_there_for_those_who_ask() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        let slot = module.slots().unwrap()[0];
        let default = listed(&module, slot);
        for old in [CKM_MD5, CKM_MD5_RSA_PKCS, CKM_DES3_CBC, CKM_DES3_KEY_GEN] {
            assert!(!default.contains(&old), "{old:#x}");
        }
        assert_eq!(rsa_1024(&module, session).unwrap_err(), CKR_KEY_SIZE_RANGE);
        let mut md5 = mechanism(CKM_MD5);
        assert_eq!(call!(module, C_DigestInit(session, &raw mut md5)), CKR_MECHANISM_INVALID);

        set_policy(&service, &module, "compat", CKM_MD5_RSA_PKCS, true);
        let compat = listed(&module, slot);
        assert!(default.iter().all(|mechanism| compat.contains(mechanism)));
        let (public, private) = rsa_1024(&module, session).unwrap();
        let signature = module.sign_with(session, CKM_MD5_RSA_PKCS, private, b"abc").unwrap();
        assert_eq!(signature.len(), 128);
        module.verify_with(session, CKM_MD5_RSA_PKCS, public, b"abc", &signature).unwrap();
        assert_eq!(call!(module, C_DigestInit(session, &raw mut md5)), CKR_OK);
        let (mut digest, mut length) = ([0; 16], 16);
        let text = b"abc".as_ptr().cast_mut();
        let rv = call!(module, C_Digest(session, text, 3, digest.as_mut_ptr(), &raw mut length));
        assert_eq!(rv, CKR_OK);
        // RFC 1321, appendix A.5.
        assert_eq!(u128::from_be_bytes(digest), 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72);

        set_policy(&service, &module, "fips", CKM_SHA1_RSA_PKCS, false);
        let (public, private) = module.generate_rsa(session, false);
        assert_eq!(
            module.sign_init(session, CKM_SHA1_RSA_PKCS, private).unwrap_err(),
            CKR_MECHANISM_INVALID
        );
        let mut sha1 = mechanism(CKM_SHA1_RSA_PKCS);
        assert_eq!(call!(module, C_VerifyInit(session, &raw mut sha1, public)), CKR_OK);
        let mut pkcs1 = mechanism(CKM_RSA_PKCS);
        let rv = call!(module, C_EncryptInit(session, &raw mut pkcs1, public));
        assert_eq!(rv, CKR_MECHANISM_INVALID);
        module.sign_with(session, CKM_SHA256_RSA_PKCS, private, b"abc").unwrap();
    });
}

#[test]
fn a_public_session_knows_what_the_token_offers_before_anybody_looks() {
    alone(|| {
        let service = service();
        service.admin(&["token", "set-policy", TOKEN, "compat"]);
        let md5 = |module: &Module, session| {
            let mut md5 = mechanism(CKM_MD5);
            call!(module, C_DigestInit(session, &raw mut md5))
        };
        // Each operation is the first that the module is asked for.
        let triple_des = |module: &Module, session| {
            let template = Template::new().flag(CKA_PRIVATE, false);
            module.generate_key(session, CKM_DES3_KEY_GEN, template).err().unwrap_or(CKR_OK)
        };
        for first in [&md5 as &dyn Fn(&Module, CK_SESSION_HANDLE) -> CK_RV, &triple_des] {
            let module = Module::initialized();
            let session = module.open(0, CKF_RW_SESSION).unwrap();
            assert_eq!(first(&module, session), CKR_OK);
            assert_eq!(module.finalize(), CKR_OK);
        }
    });
}

#[test]
fn a_key_does_what_its_allowed_mechanisms_say() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let allowed: Vec<u8> =
            [CKM_ECDSA_SHA256, CKM_ECDSA].iter().flat_map(|number| number.to_ne_bytes()).collect();
        for (sensitive, token) in [(true, true), (true, false), (false, false)] {
            let public = Template::new().bytes(CKA_EC_PARAMS, P256);
            let private = Template::new()
                .flag(CKA_TOKEN, token)
                .flag(CKA_SENSITIVE, sensitive)
                .flag(CKA_EXTRACTABLE, !sensitive)
                .flag(CKA_SIGN, true)
                .bytes(CKA_ALLOWED_MECHANISMS, &allowed);
            let (_, key) = module.generate(session, CKM_EC_KEY_PAIR_GEN, public, private).unwrap();
            module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap();
            module.sign_with(session, CKM_ECDSA_SHA256, key, b"abc").unwrap();
            assert_eq!(
                module.sign_init(session, CKM_ECDSA_SHA384, key).unwrap_err(),
                CKR_MECHANISM_INVALID,
                "sensitive {sensitive}, token {token}"
            );
        }
    });
}

#[test]
fn a_key_that_always_authenticates_asks_for_the_pin_at_each_use() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let again = |pin| module.login_as(session, CKU_CONTEXT_SPECIFIC, pin);
        // Nothing waits for it.
        assert_eq!(again(PIN).unwrap_err(), CKR_OPERATION_NOT_INITIALIZED);
        let (_, ordinary) = module.generate_ec(session, P256, false);
        module.sign_init(session, CKM_ECDSA, ordinary).unwrap();
        assert_eq!(again(PIN).unwrap_err(), CKR_OPERATION_NOT_INITIALIZED);
        module.sign(session, &DIGEST).unwrap();

        for token in [true, false] {
            let public = Template::new().bytes(CKA_EC_PARAMS, P256).flag(CKA_VERIFY, true);
            let private = Template::new()
                .flag(CKA_TOKEN, token)
                .flag(CKA_SIGN, true)
                .flag(CKA_ALWAYS_AUTHENTICATE, true);
            let (public, key) =
                module.generate(session, CKM_EC_KEY_PAIR_GEN, public, private).unwrap();
            let refused = module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap_err();
            assert_eq!(refused, CKR_USER_NOT_LOGGED_IN);
            for _ in 0..2 {
                module.sign_init(session, CKM_ECDSA, key).unwrap();
                assert_eq!(again("wrong").unwrap_err(), CKR_PIN_INCORRECT);
                again(PIN).unwrap();
                let signature = module.sign(session, &DIGEST).unwrap();
                module.verify_with(session, CKM_ECDSA, public, &DIGEST, &signature).unwrap();
            }
            // One use is one.
            let refused = module.sign_with(session, CKM_ECDSA, key, &DIGEST).unwrap_err();
            assert_eq!(refused, CKR_USER_NOT_LOGGED_IN);
            // The first part asks for it already, and that is the end.
            module.sign_init(session, CKM_ECDSA_SHA256, key).unwrap();
            let part = || call!(module, C_SignUpdate(session, DIGEST.as_ptr().cast_mut(), 32));
            assert_eq!(part(), CKR_USER_NOT_LOGGED_IN);
            assert_eq!(part(), CKR_OPERATION_NOT_INITIALIZED);
        }
        // The login itself has not suffered.
        ok(call!(module, C_Logout(session))).unwrap();
    });
}

#[test]
fn a_key_carries_and_derives_by_its_allowed_mechanisms_alone() {
    alone(|| {
        let _service = service();
        let module = Module::initialized();
        let session = module.user();
        let allowed: Vec<u8> = [CKM_AES_KEY_WRAP_PAD, CKM_SHA256_KEY_DERIVATION]
            .iter()
            .flat_map(|number| number.to_ne_bytes())
            .collect();
        let readable = || {
            Template::new()
                .number(CKA_CLASS, CKO_SECRET_KEY)
                .number(CKA_KEY_TYPE, CKK_AES)
                .flag(CKA_SENSITIVE, false)
                .flag(CKA_EXTRACTABLE, true)
        };
        let carried = module.create(session, readable().bytes(CKA_VALUE, &[1; 16])).unwrap();
        for (sensitive, token) in [(true, true), (true, false), (false, false)] {
            let key = Template::new()
                .number(CKA_CLASS, CKO_SECRET_KEY)
                .number(CKA_KEY_TYPE, CKK_AES)
                .flag(CKA_TOKEN, token)
                .flag(CKA_SENSITIVE, sensitive)
                .bytes(CKA_VALUE, &[2; 16])
                .bytes(CKA_ALLOWED_MECHANISMS, &allowed);
            let key = module.create(session, key).unwrap();
            let mut pad = mechanism(CKM_AES_KEY_WRAP_PAD);
            let wrapped = module.wrap(session, &mut pad, key, carried).unwrap();
            module.unwrap(session, &mut pad, key, &wrapped, readable()).unwrap();
            let mut kwp = mechanism(CKM_AES_KEY_WRAP_KWP);
            let refused = Err(CKR_MECHANISM_INVALID);
            assert_eq!(module.wrap(session, &mut kwp, key, carried).map(drop), refused);
            let unwrapped = module.unwrap(session, &mut kwp, key, &wrapped, readable());
            assert_eq!(unwrapped.map(drop), refused);
            let length = || readable().number(CKA_VALUE_LEN, 16);
            module
                .derive(session, &mut mechanism(CKM_SHA256_KEY_DERIVATION), key, length())
                .unwrap();
            let other = &mut mechanism(CKM_SHA384_KEY_DERIVATION);
            assert_eq!(module.derive(session, other, key, length()).map(drop), refused);
        }
        // A PIN at each use has no place in these functions.
        let private = Template::new().flag(CKA_ALWAYS_AUTHENTICATE, true).flag(CKA_DERIVE, true);
        let public = Template::new().bytes(CKA_EC_PARAMS, P256);
        let pair = module.generate(session, CKM_EC_KEY_PAIR_GEN, public, private).unwrap();
        let mut point = module.get(session, pair.0, CKA_EC_POINT).unwrap();
        let mut parameter = CK_ECDH1_DERIVE_PARAMS {
            kdf: CKD_NULL,
            ulSharedDataLen: 0,
            pSharedData: null_mut(),
            ulPublicDataLen: point.len() as CK_ULONG,
            pPublicData: point.as_mut_ptr(),
        };
        let mut ecdh = mechanism_with(CKM_ECDH1_DERIVE, &mut parameter);
        let derived = module.derive(session, &mut ecdh, pair.1, readable());
        assert_eq!(derived, Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    });
}

/// A DER INTEGER without leading zeros, and what follows.
fn number(der: &[u8]) -> (&[u8], &[u8]) {
    let (_, value, rest) = parse(der);
    (&value[value.iter().take_while(|byte| **byte == 0).count()..], rest)
}

#[test]
fn dsa_and_diffie_hellman_are_there_under_compat() {
    alone(|| {
        let service = service();
        let module = Module::initialized();
        let session = module.user();
        set_policy(&service, &module, "compat", CKM_DSA, true);
        let mut group = None;
        for case in wycheproof("dsa_2048_256_sha256_p1363") {
            let der = case.bytes("publicKeyDer");
            let (_, whole, _) = parse(&der);
            let (_, algorithm, key) = parse(whole);
            let (_, parameters, _) = parse(parse(algorithm).2);
            let (p, rest) = number(parameters);
            let (q, rest) = number(rest);
            let (g, _) = number(rest);
            let (y, _) = number(&parse(key).1[1..]);
            let template = Template::new()
                .number(CKA_CLASS, CKO_PUBLIC_KEY)
                .number(CKA_KEY_TYPE, CKK_DSA)
                .bytes(CKA_PRIME, p)
                .bytes(CKA_SUBPRIME, q)
                .bytes(CKA_BASE, g)
                .bytes(CKA_VALUE, y);
            let key = module.create(session, template).unwrap();
            let (message, signature) = (case.bytes("msg"), case.bytes("sig"));
            let verified = module.verify_with(session, CKM_DSA_SHA256, key, &message, &signature);
            assert_eq!(verified.is_ok(), case.is_valid(), "{}", case.name);
            group.get_or_insert((p.to_vec(), q.to_vec(), g.to_vec()));
        }
        let (p, q, g) = group.unwrap();
        let mut values = Vec::new();
        for (sensitive, token) in [(true, true), (true, false), (false, false)] {
            let private = || {
                Template::new()
                    .flag(CKA_TOKEN, token)
                    .flag(CKA_SENSITIVE, sensitive)
                    .flag(CKA_EXTRACTABLE, !sensitive)
            };
            let public = Template::new().bytes(CKA_PRIME, &p).bytes(CKA_SUBPRIME, &q);
            let public = public.bytes(CKA_BASE, &g).flag(CKA_TOKEN, token);
            let pair = module.generate(session, CKM_DSA_KEY_PAIR_GEN, public, private()).unwrap();
            let signature = module.sign_with(session, CKM_DSA_SHA256, pair.1, b"data").unwrap();
            module.verify_with(session, CKM_DSA_SHA256, pair.0, b"data", &signature).unwrap();
            let public = Template::new().bytes(CKA_PRIME, &p).bytes(CKA_BASE, &g);
            let kind = CKM_DH_PKCS_KEY_PAIR_GEN;
            let pair = module.generate(session, kind, public.flag(CKA_TOKEN, token), private());
            let pair = pair.unwrap();
            values.push((module.get(session, pair.0, CKA_VALUE).unwrap(), pair.1));
        }
        let agree = |own: usize, other: usize| {
            let mut peer = values[other].0.clone();
            let mut m = mechanism_with(CKM_DH_PKCS_DERIVE, peer.as_mut_slice());
            let readable = Template::new()
                .number(CKA_CLASS, CKO_SECRET_KEY)
                .number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
                .flag(CKA_SENSITIVE, false)
                .flag(CKA_EXTRACTABLE, true);
            let key = module.derive(session, &mut m, values[own].1, readable).unwrap();
            module.get(session, key, CKA_VALUE).unwrap()
        };
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            let shared = agree(one, other);
            assert_eq!(shared.len(), 256);
            assert_eq!(agree(other, one), shared);
        }
    });
}
