//! Everything symmetric and every newer key against Project Wycheproof's vectors.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Case, wycheproof};
use keyward_crypto::ed25519::Variant;
use keyward_crypto::ml_dsa::Mu;
use keyward_crypto::{
    BlockKey, Cmac, Curve, EcPrivateKey, EcPublicKey, Ed25519PublicKey, Error, Hash, Hmac, MlDsa,
    MlDsaPrivateKey, MlDsaPublicKey, MlKem, MlKemPrivateKey, MlKemPublicKey, Result, RsaPublicKey,
    X25519PrivateKey, X25519PublicKey, ccm, gcm, kdf, signature_from_der, wrap,
};

/// Says of a case what Wycheproof says of it. What is only acceptable may go either way, if the
/// value is right.
fn judge(case: &Case, result: Result<Vec<u8>>, expected: &[u8]) {
    match (case.result.as_str(), result) {
        ("valid", result) => assert_eq!(result.as_deref(), Ok(expected), "{}", case.name),
        (_, Err(_)) => {}
        ("invalid", Ok(_)) => panic!("{} succeeded", case.name),
        (_, Ok(value)) => assert_eq!(value, expected, "{}", case.name),
    }
}

#[test]
fn aes_gcm() {
    for case in wycheproof("aes_gcm") {
        let key = BlockKey::aes(&case.bytes("key")).unwrap();
        let (iv, aad, tag_length) =
            (case.bytes("iv"), case.bytes("aad"), case.number("tagSize") / 8);
        let sealed = [case.bytes("ct"), case.bytes("tag")].concat();
        let opened = gcm::decrypt(&key, &iv, &aad, tag_length, &sealed).map(|text| text.to_vec());
        judge(&case, opened, &case.bytes("msg"));
        if case.is_valid() {
            let again = gcm::encrypt(&key, &iv, &aad, tag_length, &case.bytes("msg")).unwrap();
            assert_eq!(again, sealed, "{}", case.name);
        }
    }
}

#[test]
fn aes_ccm() {
    for case in wycheproof("aes_ccm") {
        let key = BlockKey::aes(&case.bytes("key")).unwrap();
        let (iv, aad, tag_length) =
            (case.bytes("iv"), case.bytes("aad"), case.number("tagSize") / 8);
        let sealed = [case.bytes("ct"), case.bytes("tag")].concat();
        let opened = ccm::decrypt(&key, &iv, &aad, tag_length, &sealed).map(|text| text.to_vec());
        judge(&case, opened, &case.bytes("msg"));
        if case.is_valid() {
            let again = ccm::encrypt(&key, &iv, &aad, tag_length, &case.bytes("msg")).unwrap();
            assert_eq!(again, sealed, "{}", case.name);
        }
    }
}

#[test]
fn aes_cbc_with_padding() {
    for case in wycheproof("aes_cbc_pkcs5") {
        let key = BlockKey::aes(&case.bytes("key")).unwrap();
        let iv = case.bytes("iv");
        let opened = key.cbc_pad_decrypt(&iv, &case.bytes("ct")).map(|text| text.to_vec());
        judge(&case, opened, &case.bytes("msg"));
        if case.is_valid() {
            let again = key.cbc_pad_encrypt(&iv, &case.bytes("msg")).unwrap();
            assert_eq!(again, case.bytes("ct"), "{}", case.name);
        }
    }
}

#[test]
fn aes_key_wrap() {
    for case in wycheproof("aes_wrap") {
        let key = BlockKey::aes(&case.bytes("key")).unwrap();
        let opened = wrap::unwrap(&key, None, &case.bytes("ct")).map(|key| key.to_vec());
        judge(&case, opened, &case.bytes("msg"));
        if case.is_valid() {
            let again = wrap::wrap(&key, None, &case.bytes("msg")).unwrap();
            assert_eq!(again, case.bytes("ct"), "{}", case.name);
        }
    }
}

#[test]
fn aes_key_wrap_with_padding() {
    for case in wycheproof("aes_kwp") {
        let key = BlockKey::aes(&case.bytes("key")).unwrap();
        let opened = wrap::unwrap_padded(&key, &case.bytes("ct")).map(|key| key.to_vec());
        judge(&case, opened, &case.bytes("msg"));
        if case.is_valid() {
            let again = wrap::wrap_padded(&key, &case.bytes("msg")).unwrap();
            assert_eq!(again, case.bytes("ct"), "{}", case.name);
        }
    }
}

#[test]
fn aes_cmac() {
    for case in wycheproof("aes_cmac") {
        // Keys of other lengths are among the invalid ones.
        let result = BlockKey::aes(&case.bytes("key")).and_then(|key| {
            let mut cmac = Cmac::new(&key);
            let message = case.bytes("msg");
            let (head, tail) = message.split_at(message.len() / 3);
            cmac.update(head);
            cmac.update(tail);
            cmac.verify(case.number("tagSize") / 8, &case.bytes("tag"))
        });
        assert_eq!(result.is_ok(), case.is_valid(), "{}", case.name);
    }
}

#[test]
fn hmac_with_every_hash() {
    for (file, hash) in [
        ("hmac_sha1", Hash::Sha1),
        ("hmac_sha224", Hash::Sha224),
        ("hmac_sha256", Hash::Sha256),
        ("hmac_sha384", Hash::Sha384),
        ("hmac_sha512", Hash::Sha512),
        ("hmac_sha512_224", Hash::Sha512_224),
        ("hmac_sha512_256", Hash::Sha512_256),
        ("hmac_sha3_224", Hash::Sha3_224),
        ("hmac_sha3_256", Hash::Sha3_256),
        ("hmac_sha3_384", Hash::Sha3_384),
        ("hmac_sha3_512", Hash::Sha3_512),
    ] {
        for case in wycheproof(file) {
            let mut hmac = Hmac::new(hash, &case.bytes("key"));
            let message = case.bytes("msg");
            let (head, tail) = message.split_at(message.len() / 2);
            hmac.update(head);
            let mut copy = hmac.clone();
            copy.update(tail);
            drop(hmac);
            let result = copy.verify(case.number("tagSize") / 8, &case.bytes("tag"));
            assert_eq!(result.is_ok(), case.is_valid(), "{}", case.name);
        }
    }
}

#[test]
fn hkdf_with_every_hash() {
    for (file, hash) in [
        ("hkdf_sha1", Hash::Sha1),
        ("hkdf_sha256", Hash::Sha256),
        ("hkdf_sha384", Hash::Sha384),
        ("hkdf_sha512", Hash::Sha512),
    ] {
        for case in wycheproof(file) {
            let key = kdf::hkdf_extract(hash, &case.bytes("salt"), &case.bytes("ikm"));
            let output = kdf::hkdf_expand(hash, &key, &case.bytes("info"), case.number("size"));
            judge(&case, output.map(|output| output.to_vec()), &case.bytes("okm"));
        }
    }
}

#[test]
fn x25519() {
    for case in wycheproof("x25519") {
        let result = X25519PrivateKey::from_bytes(&case.bytes("private")).and_then(|private| {
            private.agree(&X25519PublicKey::from_bytes(&case.bytes("public"))?)
        });
        judge(&case, result.map(|shared| shared.to_vec()), &case.bytes("shared"));
    }
}

#[test]
fn ecdh() {
    for (file, curve) in [
        ("ecdh_secp224r1_ecpoint", Curve::P224),
        ("ecdh_secp256r1_ecpoint", Curve::P256),
        ("ecdh_secp384r1_ecpoint", Curve::P384),
        ("ecdh_secp521r1_ecpoint", Curve::P521),
    ] {
        for case in wycheproof(file) {
            let result = EcPrivateKey::from_scalar(curve, &case.bytes("private"))
                .and_then(|key| key.ecdh(&EcPublicKey::from_point(curve, &case.bytes("public"))?));
            judge(&case, result.map(|shared| shared.to_vec()), &case.bytes("shared"));
        }
    }
}

#[test]
fn ed25519() {
    for case in wycheproof("ed25519") {
        let key = Ed25519PublicKey::from_bytes(&case.bytes("publicKey")).unwrap();
        let result = key.verify(Variant::Pure, &case.bytes("msg"), &case.bytes("sig"));
        assert_eq!(result.is_ok(), case.is_valid(), "{}", case.name);
    }
}

#[test]
fn ecdsa_on_secp256k1() {
    for case in wycheproof("ecdsa_secp256k1_sha256_p1363") {
        let key = EcPublicKey::from_point(Curve::Secp256k1, &case.bytes("publicKey")).unwrap();
        let digest = Hash::Sha256.digest(&case.bytes("msg"));
        let result = key.verify(&digest, &case.bytes("sig"));
        assert_eq!(result.is_ok(), case.is_valid(), "{}", case.name);
    }
}

#[test]
fn ecdsa_with_sha_3() {
    for case in wycheproof("ecdsa_secp256r1_sha3_256") {
        let key = EcPublicKey::from_point(Curve::P256, &case.bytes("publicKey")).unwrap();
        let digest = Hash::Sha3_256.digest(&case.bytes("msg"));
        let result = signature_from_der(Curve::P256, &case.bytes("sig"))
            .and_then(|signature| key.verify(&digest, &signature));
        assert_eq!(result.is_ok(), case.is_valid(), "{}", case.name);
    }
}

#[test]
fn rsa_pkcs1_with_sha_3() {
    for case in wycheproof("rsa_signature_2048_sha3_256") {
        let key = RsaPublicKey::from_spki_der(&case.bytes("publicKeyDer")).unwrap();
        let digest = Hash::Sha3_256.digest(&case.bytes("msg"));
        let info = Hash::Sha3_256.digest_info(&digest).unwrap();
        let result = key.verify_pkcs1_raw(&info, &case.bytes("sig"));
        if case.result != "acceptable" {
            assert_eq!(result.is_ok(), case.is_valid(), "{}", case.name);
        }
    }
}

#[test]
fn ml_dsa_signs_and_verifies() {
    for (size, set) in ML_DSA {
        for case in wycheproof(&format!("mldsa_{size}_sign_seed")) {
            let Ok(key) = MlDsaPrivateKey::from_seed(set, &case.bytes("privateSeed")) else {
                assert!(!case.is_valid(), "{}", case.name);
                continue;
            };
            if !case.is_valid() {
                assert!(
                    Mu::of_message(&key.public(), &case.bytes("ctx")).is_err(),
                    "{}",
                    case.name
                );
                continue;
            }
            assert_eq!(key.public().to_bytes(), case.bytes("publicKey"), "{}", case.name);
            assert_eq!(*key.seed().unwrap(), case.bytes("privateSeed"));
            // The vector's signature is deterministic, ours is hedged: both have to verify.
            let mu = mu(&key.public(), &case).unwrap();
            for signature in [case.bytes("sig"), key.sign(&mu).unwrap()] {
                assert_eq!(key.public().verify(&mu, &signature), Ok(()), "{}", case.name);
            }
            let same = MlDsaPrivateKey::from_expanded(set, &key.expanded()).unwrap();
            assert_eq!(same.public().to_bytes(), case.bytes("publicKey"));
            assert!(same.seed().is_none());
        }
    }
}

#[test]
fn ml_dsa_refuses_what_is_not_a_signature() {
    for (size, set) in ML_DSA {
        for case in wycheproof(&format!("mldsa_{size}_verify")) {
            let result = MlDsaPublicKey::from_bytes(set, &case.bytes("publicKey"))
                .and_then(|key| key.verify(&mu(&key, &case)?, &case.bytes("sig")));
            assert_eq!(result.is_ok(), case.is_valid(), "{}", case.name);
        }
    }
}

fn mu(key: &MlDsaPublicKey, case: &Case) -> Result<[u8; 64]> {
    let mut mu = Mu::of_message(key, &case.bytes("ctx"))?;
    let message = case.bytes("msg");
    let (head, tail) = message.split_at(message.len() / 2);
    mu.update(head);
    mu.update(tail);
    Ok(mu.finish())
}

#[test]
fn ml_kem_makes_the_standards_keys() {
    for (size, set) in ML_KEM {
        for case in wycheproof(&format!("mlkem_{size}_keygen_seed")) {
            let key = MlKemPrivateKey::from_seed(set, &case.bytes("seed")).unwrap();
            assert_eq!(*key.expanded(), case.bytes("dk"), "{}", case.name);
            assert_eq!(key.public().to_bytes(), case.bytes("ek"), "{}", case.name);
            assert_eq!(*key.seed().unwrap(), case.bytes("seed"));
        }
    }
}

#[test]
fn ml_kem_decapsulates() {
    for (size, set) in ML_KEM {
        for case in wycheproof(&format!("mlkem_{size}")) {
            let result = MlKemPrivateKey::from_seed(set, &case.bytes("seed"))
                .and_then(|key| key.decapsulate(&case.bytes("c")));
            judge(&case, result.map(|secret| secret.to_vec()), &case.bytes("K"));
        }
        for case in wycheproof(&format!("mlkem_{size}_semi_expanded_decaps")) {
            let result = MlKemPrivateKey::from_expanded(set, &case.bytes("dk"))
                .and_then(|key| key.decapsulate(&case.bytes("c")));
            judge(&case, result.map(|secret| secret.to_vec()), &case.bytes("K"));
        }
    }
}

#[test]
fn ml_kem_agrees_with_itself() {
    for set in MlKem::ALL {
        let key = MlKemPrivateKey::generate(set).unwrap();
        let public = MlKemPublicKey::from_spki_der(&key.public().spki_der()).unwrap();
        let (mut ciphertext, secret) = public.encapsulate().unwrap();
        assert_eq!(ciphertext.len(), set.ciphertext_length());
        assert_eq!(key.decapsulate(&ciphertext).unwrap(), secret);
        ciphertext[0] ^= 1;
        assert_ne!(key.decapsulate(&ciphertext).unwrap(), secret, "implicit rejection");
        assert_eq!(key.decapsulate(&ciphertext[1..]), Err(Error::DataLength));
        let again = MlKemPrivateKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap();
        assert_eq!(again.expanded(), key.expanded());
        let mut changed = key.expanded();
        let hash = set.private_length() - 64;
        changed[hash] ^= 1;
        assert!(MlKemPrivateKey::from_expanded(set, &changed).is_err(), "the hash of ek");
        let all_ones = vec![0xff; set.public_length()];
        assert!(MlKemPublicKey::from_bytes(set, &all_ones).is_err(), "not reduced");
    }
}

const ML_DSA: [(u32, MlDsa); 3] =
    [(44, MlDsa::MlDsa44), (65, MlDsa::MlDsa65), (87, MlDsa::MlDsa87)];

const ML_KEM: [(u32, MlKem); 3] =
    [(512, MlKem::MlKem512), (768, MlKem::MlKem768), (1024, MlKem::MlKem1024)];
