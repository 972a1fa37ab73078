//! Keys of the newer and the older kinds.

use keyward_crypto::digest::Hash;

use super::super::generation::{key_pair, secret_key};
use super::*;
use crate::key::SecretKey;
use crate::mechanism::{BlockCipher, BlockMode, EncryptionScheme, SignatureScheme};

const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const X25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x6e];

/// A pair of a type; the private half is readable.
fn make(key_type: u64, public: &[(u64, Value)]) -> (Object, Object) {
    let open = template(&[(CKA_SENSITIVE, false.into()), (CKA_EXTRACTABLE, true.into())]);
    key_pair(CKM_VENDOR_DEFINED, key_type, template(public), open).unwrap()
}

/// The attributes that an importing host gives.
fn given(object: &Object, attributes: &[u64]) -> Attributes {
    let mut given = template(&[
        (CKA_CLASS, object.class().into()),
        (CKA_KEY_TYPE, object.key_type().unwrap().into()),
    ]);
    for attribute in attributes {
        given.set(*attribute, object.read(*attribute).unwrap().clone());
    }
    given
}

#[test]
fn pairs_of_every_kind_sign_and_are_imported_again() {
    let mu: &[u8] = &[5; 64];
    let ml_dsa = |set: u64| (CKA_PARAMETER_SET, set.into());
    for (key_type, public, parts, scheme, input) in [
        (
            CKK_EC_EDWARDS,
            (CKA_EC_PARAMS, bytes(ED25519)),
            [CKA_EC_PARAMS, CKA_VALUE],
            SignatureScheme::Ed25519,
            &b"any message"[..],
        ),
        (
            CKK_ML_DSA,
            ml_dsa(CKP_ML_DSA_65),
            [CKA_PARAMETER_SET, CKA_SEED],
            SignatureScheme::MlDsa,
            mu,
        ),
        (
            CKK_ML_DSA,
            ml_dsa(CKP_ML_DSA_44),
            [CKA_PARAMETER_SET, CKA_VALUE],
            SignatureScheme::MlDsa,
            mu,
        ),
    ] {
        let (public, private) = make(key_type, &[public]);
        let key = PrivateKey::of(private.attributes()).unwrap();
        let signature = key.sign(&scheme, input).unwrap();
        assert_eq!(signature.len(), private.signature_length().unwrap());
        let imported = create(given(&private, &parts)).unwrap();
        let visible = imported.visible();
        for secret in [CKA_VALUE, CKA_SEED] {
            assert_eq!(visible.value(secret), None, "{secret:#x}");
            assert!(imported.read(secret).is_err(), "{secret:#x}");
        }
        // The public half out of the public object, and out of the private one, with its secrets
        // and as the module sees it.
        for attributes in [public.attributes(), imported.attributes(), &visible] {
            let key = PublicKey::of(attributes).unwrap();
            assert_eq!(key.verify(&scheme, input, &signature), Ok(()));
            let cut = key.verify(&scheme, input, &signature[1..]);
            assert_eq!(code(cut), ErrorCode::SignatureLenRange);
        }
        let wrong = key.sign(&SignatureScheme::Ecdsa, input);
        assert_eq!(code(wrong), ErrorCode::KeyTypeInconsistent);
    }
}

#[test]
fn a_seed_and_a_value_that_differ_are_refused() {
    let set = (CKA_PARAMETER_SET, CKP_ML_KEM_768.into());
    let (_, one) = make(CKK_ML_KEM, std::slice::from_ref(&set));
    let (_, two) = make(CKK_ML_KEM, &[set]);
    let mut both = given(&one, &[CKA_PARAMETER_SET, CKA_SEED, CKA_VALUE]);
    assert!(create(both.clone()).is_ok());
    both.set(CKA_VALUE, two.read(CKA_VALUE).unwrap().clone());
    assert_eq!(code(create(both)), ErrorCode::AttributeValueInvalid);
}

#[test]
fn keys_that_only_agree_agree_and_do_not_sign() {
    let by_name = [&[0x13, 10], &b"curve25519"[..]].concat();
    let [one, two] =
        [X25519, &by_name].map(|curve| make(CKK_EC_MONTGOMERY, &[(CKA_EC_PARAMS, bytes(curve))]));
    let shared = |private: &Object, public: &Object| {
        let point = public.attributes().bytes(CKA_EC_POINT).unwrap();
        assert_eq!((point.len(), &point[..2]), (34, &[4, 32][..]), "an OCTET STRING");
        let private = PrivateKey::of(private.attributes()).unwrap();
        // Some hosts give the bare bytes.
        assert_eq!(private.agree(point).unwrap(), private.agree(&point[2..]).unwrap());
        private.agree(point).unwrap()
    };
    assert_eq!(shared(&one.1, &two.0), shared(&two.1, &one.0));
    assert!(!one.1.attributes().is_true(CKA_SIGN) && one.1.attributes().is_true(CKA_DERIVE));

    let (public, private) = make(CKK_ML_KEM, &[(CKA_PARAMETER_SET, CKP_ML_KEM_512.into())]);
    let (ciphertext, secret) = PublicKey::of(public.attributes()).unwrap().encapsulate().unwrap();
    let found = PrivateKey::of(private.attributes()).unwrap().decapsulate(&ciphertext).unwrap();
    assert_eq!(found, secret);
    assert!(public.attributes().is_true(CKA_ENCAPSULATE));
    assert!(private.attributes().is_true(CKA_DECAPSULATE));
}

#[test]
fn a_curve_or_parameter_set_that_does_not_fit_is_refused() {
    for (key_type, public, expected) in [
        (CKK_EC_EDWARDS, (CKA_EC_PARAMS, bytes(X25519)), ErrorCode::CurveNotSupported),
        (CKK_EC_MONTGOMERY, (CKA_EC_PARAMS, bytes(ED25519)), ErrorCode::CurveNotSupported),
        (CKK_ML_DSA, (CKA_PARAMETER_SET, 9_u64.into()), ErrorCode::AttributeValueInvalid),
        (CKK_ML_DSA, (CKA_LABEL, bytes(b"no set")), ErrorCode::TemplateIncomplete),
    ] {
        let made = key_pair(CKM_VENDOR_DEFINED, key_type, template(&[public]), Attributes::new());
        assert_eq!(code(made), expected);
    }
}

#[test]
fn a_generated_secret_key_is_closed_by_default() {
    let length = template(&[(CKA_VALUE_LEN, 32_u64.into())]);
    let key = secret_key(CKM_AES_KEY_GEN, CKK_AES, length).unwrap();
    for (attribute, expected) in [
        (CKA_PRIVATE, true),
        (CKA_SENSITIVE, true),
        (CKA_EXTRACTABLE, false),
        (CKA_ALWAYS_SENSITIVE, true),
        (CKA_NEVER_EXTRACTABLE, true),
        (CKA_LOCAL, true),
    ] {
        assert_eq!(key.attributes().boolean(attribute), Some(expected), "{attribute:#x}");
    }
    assert_eq!(code(key.read(CKA_VALUE)), ErrorCode::AttributeSensitive);
    assert_eq!(key.attributes().number(CKA_KEY_GEN_MECHANISM), Some(CKM_AES_KEY_GEN));
}

#[test]
fn secret_keys_have_the_lengths_of_their_type() {
    for (key_type, length, expected) in [
        (CKK_AES, None, Err(ErrorCode::TemplateIncomplete)),
        (CKK_AES, Some(17), Err(ErrorCode::KeySizeRange)),
        (CKK_AES, Some(24), Ok(24)),
        (CKK_DES3, None, Ok(24)),
        (CKK_DES3, Some(16), Err(ErrorCode::TemplateInconsistent)),
        (CKK_SHA256_HMAC, Some(1), Ok(1)),
        (CKK_GENERIC_SECRET, Some(0), Err(ErrorCode::KeySizeRange)),
        (CKK_GENERIC_SECRET, Some(u64::MAX), Err(ErrorCode::KeySizeRange)),
    ] {
        let made = SecretKey::generate(key_type, length);
        let made = made.map(|key| key.value().len()).map_err(|error| error.code);
        assert_eq!(made, expected, "{key_type:#x} {length:?}");
    }
    let des = SecretKey::generate(CKK_DES3, None).unwrap();
    assert!(des.value().iter().all(|byte| byte.count_ones() % 2 == 1), "odd parity");
}

/// Of keys of zeros: what AES-128 and Triple DES make of a block of zeros; of `abc`: the start of
/// its SHA-1 digest (FIPS 180).
#[test]
fn check_values_are_the_standards() {
    for (key_type, value, check) in [
        (CKK_AES, vec![0; 16], [0x66, 0xe9, 0x4b]),
        (CKK_DES3, vec![0; 24], [0x8c, 0xa6, 0x4d]),
        (CKK_GENERIC_SECRET, b"abc".to_vec(), [0xa9, 0x99, 0x3e]),
    ] {
        let secret = |check: Option<&[u8]>| {
            let mut template = template(&[
                (CKA_CLASS, CKO_SECRET_KEY.into()),
                (CKA_KEY_TYPE, key_type.into()),
                (CKA_VALUE, bytes(&value)),
            ]);
            if let Some(check) = check {
                template.set(CKA_CHECK_VALUE, check);
            }
            create(template)
        };
        for (given, kept) in [(None, &check[..]), (Some(&check[..]), &check), (Some(&[][..]), &[])]
        {
            let made = secret(given).unwrap();
            assert_eq!(made.attributes().bytes(CKA_CHECK_VALUE), Some(kept));
        }
        assert_eq!(code(secret(Some(&[1, 2, 3]))), ErrorCode::AttributeValueInvalid);
    }
}

/// RFC 4231, test case 2.
#[test]
fn secret_keys_authenticate_at_any_length_asked_for() {
    let key = SecretKey::new(CKK_GENERIC_SECRET, b"Jefe").unwrap();
    let text = b"what do ya want for nothing?";
    let scheme = |length| SignatureScheme::Hmac { hash: Hash::Sha256, length };
    let whole = key.sign(&scheme(32), text).unwrap();
    assert_eq!(whole[..4], [0x5b, 0xdc, 0xc1, 0x46]);
    let cut = key.sign(&scheme(10), text).unwrap();
    assert_eq!(cut, whole[..10]);
    assert_eq!(key.verify(&scheme(10), text, &cut), Ok(()));
    assert_eq!(code(key.verify(&scheme(10), text, &whole)), ErrorCode::SignatureLenRange);
    assert_eq!(code(key.verify(&scheme(10), b"else", &cut)), ErrorCode::SignatureInvalid);
    let other = SecretKey::new(CKK_SHA384_HMAC, b"Jefe").unwrap();
    assert_eq!(code(other.sign(&scheme(32), text)), ErrorCode::KeyTypeInconsistent);
    let cmac = SignatureScheme::Cmac { cipher: BlockCipher::Aes, length: 16 };
    assert_eq!(code(key.sign(&cmac, text)), ErrorCode::KeyTypeInconsistent);
}

#[test]
fn secret_keys_decrypt_what_they_encrypt_and_unwrap_what_they_wrap() {
    let key = SecretKey::new(CKK_AES, &[3; 32]).unwrap();
    for mode in [
        BlockMode::Ecb,
        BlockMode::Cbc { chain: vec![1; 16] },
        BlockMode::CbcPad { chain: vec![1; 16] },
        BlockMode::Gcm { iv: vec![2; 12], associated: vec![9], tag_length: 16 },
        BlockMode::Ccm { nonce: vec![2; 12], associated: vec![9], tag_length: 8 },
    ] {
        let of = |cipher| EncryptionScheme::Block { cipher, mode: mode.clone() };
        let encrypted = key.encrypt(&of(BlockCipher::Aes), &[7; 48]).unwrap();
        assert_ne!(encrypted[..48], [7; 48]);
        assert_eq!(*key.decrypt(&of(BlockCipher::Aes), &encrypted).unwrap(), [7; 48]);
        let another = key.encrypt(&of(BlockCipher::TripleDes), &[7; 48]);
        assert_eq!(code(another), ErrorCode::KeyTypeInconsistent);
    }
    let ecb = EncryptionScheme::Block { cipher: BlockCipher::Aes, mode: BlockMode::Ecb };
    assert_eq!(code(key.encrypt(&ecb, &[0; 5])), ErrorCode::DataLenRange);
    assert_eq!(code(key.decrypt(&ecb, &[0; 5])), ErrorCode::EncryptedDataLenRange);
    for padded in [false, true] {
        let mut wrapped = key.wrap(padded, &[8; 24]).unwrap();
        assert_eq!(*key.unwrap(padded, &wrapped).unwrap(), [8; 24]);
        wrapped[0] ^= 1;
        assert_eq!(code(key.unwrap(padded, &wrapped)), ErrorCode::EncryptedDataInvalid);
    }
}
