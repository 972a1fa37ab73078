//! Ed25519, X25519, ML-DSA, DSA and Diffie-Hellman: files, the rarer schemes, and what is refused.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::{hex, unhex, wycheproof};
use keyward_crypto::ed25519::Variant;
use keyward_crypto::ml_dsa::Mu;
use keyward_crypto::{
    DhGroup, DhPrivateKey, DsaParameters, DsaPrivateKey, DsaPublicKey, Ed25519PrivateKey,
    Ed25519PublicKey, Error, Hash, MlDsa, MlDsaPrivateKey, MlDsaPublicKey, X25519PrivateKey,
    X25519PublicKey,
};

/// RFC 8032 section 7.2, `foo`, and section 7.3, `abc`.
#[test]
fn ed25519_with_a_context_and_prehashed_are_the_rfcs() {
    let key = Ed25519PrivateKey::from_seed(&unhex(
        "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
    ))
    .unwrap();
    let message = unhex("f726936d19c800494e3fdaff20b276a8");
    let signature = key.sign(Variant::Context(b"foo"), &message).unwrap();
    assert_eq!(
        hex(&signature),
        "55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a\
         8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d"
    );
    assert_eq!(key.public().verify(Variant::Context(b"foo"), &message, &signature), Ok(()));
    for other in [Variant::Context(b"bar"), Variant::Pure] {
        let refused = key.public().verify(other, &message, &signature);
        assert_eq!(refused, Err(Error::SignatureInvalid));
    }

    let key = Ed25519PrivateKey::from_seed(&unhex(
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    ))
    .unwrap();
    let digest = Hash::Sha512.digest(b"abc");
    let signature = key.sign(Variant::Prehashed(b""), &digest).unwrap();
    assert_eq!(
        hex(&signature),
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41\
         31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
    );
    assert_eq!(key.public().verify(Variant::Prehashed(b""), &digest, &signature), Ok(()));
}

#[test]
fn ed25519_refuses_what_its_schemes_do_not_allow() {
    let key = Ed25519PrivateKey::generate();
    for context in [&b""[..], &[0; 256]] {
        let error = key.sign(Variant::Context(context), b"message");
        assert!(matches!(error, Err(Error::ParameterInvalid(_))), "{}", context.len());
    }
    let long = key.sign(Variant::Prehashed(&[0; 256]), &[0; 64]);
    assert!(matches!(long, Err(Error::ParameterInvalid(_))));
    assert_eq!(key.sign(Variant::Prehashed(b""), b"no digest"), Err(Error::DataLength));
    let signature = key.sign(Variant::Pure, b"message").unwrap();
    let cut = key.public().verify(Variant::Pure, b"message", &signature[1..]);
    assert_eq!(cut, Err(Error::SignatureLength));
    assert_eq!(format!("{key:?}"), "Ed25519PrivateKey { .. }");
}

/// Runs `openssl` on files in a directory of its own and returns what it prints.
fn openssl(files: &[(&str, &[u8])], arguments: &[&str]) -> Vec<u8> {
    let directory = std::env::temp_dir().join(format!(
        "keyward-crypto-{}-{}",
        std::process::id(),
        hex(&keyward_crypto::random::bytes::<8>())
    ));
    std::fs::create_dir(&directory).unwrap();
    for (name, content) in files {
        std::fs::write(directory.join(name), content).unwrap();
    }
    let output = Command::new("openssl").args(arguments).current_dir(&directory).output().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn openssl_verifies_ed25519_and_agrees_by_x25519() {
    let key = Ed25519PrivateKey::generate();
    let signature = key.sign(Variant::Pure, b"message").unwrap();
    let verified = openssl(
        &[("key", &key.public().spki_der()), ("text", b"message"), ("signature", &signature)],
        &[
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "key",
            "-keyform",
            "DER",
            "-rawin",
            "-in",
            "text",
            "-sigfile",
            "signature",
        ],
    );
    assert!(String::from_utf8_lossy(&verified).contains("Successfully"));
    let public = openssl(
        &[("key", &key.to_pkcs8_der())],
        &["pkey", "-in", "key", "-inform", "DER", "-pubout", "-outform", "DER"],
    );
    assert_eq!(Ed25519PublicKey::from_spki_der(&public).unwrap(), key.public());
    let again = Ed25519PrivateKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap();
    assert_eq!(again.seed(), key.seed());

    let (ours, theirs) = (X25519PrivateKey::generate(), X25519PrivateKey::generate());
    let shared = openssl(
        &[("key", &theirs.to_pkcs8_der()), ("peer", &ours.public().spki_der())],
        &[
            "pkeyutl",
            "-derive",
            "-inkey",
            "key",
            "-keyform",
            "DER",
            "-peerkey",
            "peer",
            "-peerform",
            "DER",
        ],
    );
    assert_eq!(*ours.agree(&theirs.public()).unwrap(), shared);
    let again = X25519PrivateKey::from_pkcs8_der(&ours.to_pkcs8_der()).unwrap();
    assert_eq!(again.as_bytes(), ours.as_bytes());
    let public = X25519PublicKey::from_spki_der(&ours.public().spki_der()).unwrap();
    assert_eq!(public, ours.public());
}

#[test]
fn one_kind_is_not_taken_for_another() {
    let (ed, x) = (Ed25519PrivateKey::generate(), X25519PrivateKey::generate());
    assert!(matches!(
        X25519PrivateKey::from_pkcs8_der(&ed.to_pkcs8_der()),
        Err(Error::InvalidKey(_))
    ));
    assert!(matches!(
        Ed25519PrivateKey::from_pkcs8_der(&x.to_pkcs8_der()),
        Err(Error::InvalidKey(_))
    ));
    let spki = x.public().spki_der();
    assert!(matches!(Ed25519PublicKey::from_spki_der(&spki), Err(Error::InvalidKey(_))));
    assert!(matches!(MlDsaPublicKey::from_spki_der(&spki), Err(Error::InvalidKey(_))));
}

#[test]
fn ml_dsa_separates_messages_digests_and_contexts() {
    let key = MlDsaPrivateKey::generate(MlDsa::MlDsa44).unwrap();
    let public = MlDsaPublicKey::from_spki_der(&key.public().spki_der()).unwrap();
    let digest = Hash::Sha256.digest(b"message");
    let of = |mut mu: Mu, data: &[u8]| {
        mu.update(data);
        mu.finish()
    };
    let mus = [
        of(Mu::of_message(&public, b"").unwrap(), &digest),
        of(Mu::of_message(&public, b"context").unwrap(), &digest),
        of(Mu::of_digest(&public, b"", Hash::Sha256).unwrap(), &digest),
        of(Mu::of_digest(&public, b"", Hash::Sha3_256).unwrap(), &digest),
        of(Mu::of_digest(&public, b"context", Hash::Sha256).unwrap(), &digest),
    ];
    for (at, mu) in mus.iter().enumerate() {
        let signature = key.sign(mu).unwrap();
        for (other, against) in mus.iter().enumerate() {
            assert_eq!(public.verify(against, &signature).is_ok(), at == other, "{at} {other}");
        }
    }
    assert_eq!(key.sign(&[0; 63]), Err(Error::DataLength));
    assert!(matches!(Mu::of_message(&public, &[0; 256]), Err(Error::ParameterInvalid(_))));
    assert!(matches!(Mu::of_digest(&public, b"", Hash::Md5), Err(Error::ParameterInvalid(_))));
    let again = MlDsaPrivateKey::from_pkcs8_der(&key.to_pkcs8_der()).unwrap();
    assert_eq!(again.expanded(), key.expanded());
    let mut changed = key.expanded();
    changed[100] ^= 1;
    assert!(MlDsaPrivateKey::from_expanded(MlDsa::MlDsa44, &changed).is_err());
}

/// FIPS 204 algorithm 2 line 6 and algorithm 4 line 23, with OpenSSL's SHAKE256.
#[test]
fn mu_is_what_openssl_hashes_to() {
    let key = MlDsaPrivateKey::generate(MlDsa::MlDsa65).unwrap().public();
    let shake = |data: &[u8]| {
        let arguments = ["dgst", "-shake256", "-xoflen", "64", "-binary", "data"];
        openssl(&[("data", data)], &arguments)
    };
    let of_key = shake(&key.to_bytes());
    let mut mu = Mu::of_message(&key, b"ctx").unwrap();
    mu.update(b"message");
    let expected = shake(&[&of_key[..], b"\x00\x03ctxmessage"].concat());
    assert_eq!(mu.finish()[..], expected);
    let digest = Hash::Sha512.digest(b"message");
    let mut mu = Mu::of_digest(&key, b"ctx", Hash::Sha512).unwrap();
    mu.update(&digest);
    // 2.16.840.1.101.3.4.2.3
    let oid = unhex("0609608648016503040203");
    let expected = shake(&[&of_key[..], b"\x01\x03ctx", &oid, &digest].concat());
    assert_eq!(mu.finish()[..], expected);
}

#[test]
fn x25519_refuses_a_point_that_gives_zero() {
    let key = X25519PrivateKey::generate();
    for low in [[0; 32], unhex(ORDER_EIGHT).try_into().unwrap()] {
        let error = key.agree(&X25519PublicKey::from_bytes(&low).unwrap());
        assert!(matches!(error, Err(Error::ParameterInvalid(_))));
    }
}

/// A point of order 8 (RFC 7748 does not list it; Wycheproof's x25519 flags it LowOrderPublic).
const ORDER_EIGHT: &str = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";

#[test]
fn dsa_verifies_what_wycheproof_says() {
    for case in wycheproof("dsa_2048_256_sha256_p1363") {
        let (parameters, value) = dsa_of_spki(&case.bytes("publicKeyDer"));
        let key = DsaPublicKey::new(&parameters, &value).unwrap();
        let digest = Hash::Sha256.digest(&case.bytes("msg"));
        let result = key.verify(&digest, &case.bytes("sig"));
        assert_eq!(result.is_ok(), case.is_valid(), "{}", case.name);
    }
}

#[test]
fn dsa_signs_and_agrees_with_itself() {
    let case = &wycheproof("dsa_2048_256_sha256_p1363")[0];
    let (parameters, _) = dsa_of_spki(&case.bytes("publicKeyDer"));
    let key = DsaPrivateKey::generate(&parameters).unwrap();
    let digest = Hash::Sha256.digest(b"message");
    let signature = key.sign(&digest).unwrap();
    assert_eq!(signature.len(), 64);
    let public = key.public().unwrap();
    assert_eq!(public.verify(&digest, &signature), Ok(()));
    assert_eq!(public.verify(&digest[1..], &signature), Err(Error::SignatureInvalid));
    let same = DsaPrivateKey::from_value(&parameters, key.value()).unwrap();
    assert_eq!(same.public().unwrap().value(), public.value());
    for refused in [&[0][..], parameters.subprime(), &[0xff; 40]] {
        assert!(matches!(
            DsaPrivateKey::from_value(&parameters, refused),
            Err(Error::InvalidKey(_))
        ));
    }
    assert!(matches!(DsaPublicKey::new(&parameters, b""), Err(Error::InvalidKey(_))));
}

#[test]
fn dsa_parameters_are_made_to_measure() {
    let parameters = DsaParameters::generate(1024, &|| false).unwrap();
    assert_eq!((parameters.prime().len(), parameters.subprime().len()), (128, 20));
    let key = DsaPrivateKey::generate(&parameters).unwrap();
    let signature = key.sign(&[1; 20]).unwrap();
    assert_eq!(key.public().unwrap().verify(&[1; 20], &signature), Ok(()));
    assert_eq!(DsaParameters::generate(1000, &|| false), Err(Error::UnsupportedKeySize));
}

#[test]
fn a_search_for_primes_ends_when_nobody_waits_for_it() {
    assert_eq!(DsaParameters::generate(2048, &|| true), Err(Error::Stopped));
    assert_eq!(DhGroup::generate(1984, &|| true), Err(Error::Stopped));
    // Those that are known are not searched for.
    let known = DhGroup::generate(8192, &|| true).unwrap();
    assert_eq!((known.prime().len(), known.base()), (1024, &[2][..]));
    for refused in [1023, 2049, 16384] {
        assert_eq!(DhGroup::generate(refused, &|| true), Err(Error::UnsupportedKeySize));
    }
}

#[test]
fn diffie_hellman_agrees_and_refuses_degenerate_values() {
    let case = &wycheproof("dsa_2048_256_sha256_p1363")[0];
    let (parameters, _) = dsa_of_spki(&case.bytes("publicKeyDer"));
    let group = DhGroup::new(parameters.prime(), parameters.base()).unwrap();
    let [one, two] = [Some(256), None].map(|bits| DhPrivateKey::generate(&group, bits).unwrap());
    assert!(one.value().len() <= 32 && two.value().len() > 200);
    let shared = one.agree(&two.public_value()).unwrap();
    assert_eq!(shared, two.agree(&one.public_value()).unwrap());
    assert_eq!(shared.len(), 256);
    let same = DhPrivateKey::from_value(&group, &one.value()).unwrap();
    assert_eq!(same.public_value(), one.public_value());
    for refused in [&[0][..], &[1], parameters.prime()] {
        assert!(matches!(one.agree(refused), Err(Error::ParameterInvalid(_))));
    }
    assert!(matches!(DhGroup::new(&[0xf1; 32], &[2]), Err(Error::UnsupportedKeySize)));
    assert!(matches!(DhGroup::new(&[0xf0; 128], &[2]), Err(Error::InvalidKey(_))));
}

/// Parameters and public value out of a SubjectPublicKeyInfo, which is all that is in it.
fn dsa_of_spki(der: &[u8]) -> (DsaParameters, Vec<u8>) {
    let mut integers = Vec::new();
    let mut rest = der;
    while let [tag, tail @ ..] = rest {
        let (length, tail) = match tail {
            [0x81, length, tail @ ..] => (usize::from(*length), tail),
            [0x82, high, low, tail @ ..] => (usize::from(*high) << 8 | usize::from(*low), tail),
            [length, tail @ ..] => (usize::from(*length), tail),
            [] => unreachable!(),
        };
        rest = match tag {
            0x30 => tail,
            // The BIT STRING's first byte counts unused bits.
            0x03 => &tail[1..],
            0x02 => {
                integers.push(tail[..length].to_vec());
                &tail[length..]
            }
            _ => &tail[length..],
        };
    }
    let [p, q, g, y] = integers.try_into().unwrap();
    (DsaParameters::new(&p, &q, &g).unwrap(), y)
}
