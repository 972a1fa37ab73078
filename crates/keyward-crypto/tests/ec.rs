//! EC keys, against OpenSSL's vectors on every curve and against the `p256` crate both ways.

#![allow(clippy::unwrap_used)]

use std::thread;

use keyward_crypto::{
    Curve, EcPrivateKey, EcPublicKey, Error, Hash, PrivateKey, signature_from_der, signature_to_der,
};
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};

const MESSAGE: &[u8] = b"keyward test message";

struct Vectors {
    curve: Curve,
    pkcs8: &'static [u8],
    sec1: &'static [u8],
    spki: &'static [u8],
    compressed_spki: &'static [u8],
    signature: &'static [u8],
    peer_spki: &'static [u8],
    shared: &'static [u8],
}

macro_rules! vectors {
    ($($curve:ident $name:literal),*) => {
        [$(Vectors {
            curve: Curve::$curve,
            pkcs8: include_bytes!(concat!("vectors/", $name, ".pkcs8.der")),
            sec1: include_bytes!(concat!("vectors/", $name, ".sec1.der")),
            spki: include_bytes!(concat!("vectors/", $name, ".spki.der")),
            compressed_spki: include_bytes!(concat!("vectors/", $name, ".compressed-spki.der")),
            signature: include_bytes!(concat!("vectors/", $name, ".signature.der")),
            peer_spki: include_bytes!(concat!("vectors/", $name, ".peer-spki.der")),
            shared: include_bytes!(concat!("vectors/", $name, ".shared")),
        }),*]
    };
}

const VECTORS: [Vectors; 20] = vectors!(
    P224 "p224",
    P256 "p256",
    P384 "p384",
    P521 "p521",
    Secp256k1 "secp256k1",
    P192 "p192",
    BrainpoolP160r1 "brainpoolP160r1",
    BrainpoolP160t1 "brainpoolP160t1",
    BrainpoolP192r1 "brainpoolP192r1",
    BrainpoolP192t1 "brainpoolP192t1",
    BrainpoolP224r1 "brainpoolP224r1",
    BrainpoolP224t1 "brainpoolP224t1",
    BrainpoolP256r1 "brainpoolP256r1",
    BrainpoolP256t1 "brainpoolP256t1",
    BrainpoolP320r1 "brainpoolP320r1",
    BrainpoolP320t1 "brainpoolP320t1",
    BrainpoolP384r1 "brainpoolP384r1",
    BrainpoolP384t1 "brainpoolP384t1",
    BrainpoolP512r1 "brainpoolP512r1",
    BrainpoolP512t1 "brainpoolP512t1"
);

#[test]
fn keys_of_openssl_come_and_go_in_every_form() {
    for v in &VECTORS {
        let key = EcPrivateKey::from_pkcs8_der(v.pkcs8).unwrap();
        assert_eq!(key.curve(), v.curve);
        assert_eq!(*key.to_pkcs8_der(), v.pkcs8, "{}", v.curve);
        assert_eq!(key.public().spki_der(), v.spki, "{}", v.curve);
        let others = [
            EcPrivateKey::from_sec1_der(v.sec1).unwrap(),
            EcPrivateKey::from_scalar(v.curve, &key.scalar()).unwrap(),
        ];
        for other in others {
            assert_eq!(*other.to_pkcs8_der(), v.pkcs8, "{}", v.curve);
        }
        for spki in [v.spki, v.compressed_spki] {
            let public = EcPublicKey::from_spki_der(spki).unwrap();
            assert_eq!(public, key.public(), "{}", v.curve);
            assert_eq!(public.spki_der(), v.spki, "{}", v.curve);
        }
        assert!(matches!(PrivateKey::from_pkcs8_der(v.pkcs8).unwrap(), PrivateKey::Ec(_)));
    }
}

#[test]
fn signatures_of_openssl_verify() {
    let digest = Hash::Sha512.digest(MESSAGE);
    for v in &VECTORS {
        let public = EcPublicKey::from_spki_der(v.spki).unwrap();
        let signature = signature_from_der(v.curve, v.signature).unwrap();
        assert_eq!(signature.len(), 2 * v.curve.field_length());
        assert_eq!(public.verify(&digest, &signature), Ok(()), "{}", v.curve);
        assert_eq!(signature_to_der(&signature).unwrap(), v.signature, "{}", v.curve);
    }
}

#[test]
fn ecdh_gives_the_secret_of_openssl() {
    for v in &VECTORS {
        let key = EcPrivateKey::from_pkcs8_der(v.pkcs8).unwrap();
        let peer = EcPublicKey::from_spki_der(v.peer_spki).unwrap();
        assert_eq!(*key.ecdh(&peer).unwrap(), v.shared, "{}", v.curve);
    }
}

#[test]
fn ecdh_is_the_same_from_both_sides_and_keeps_its_leading_zeros() {
    for curve in Curve::ALL {
        for _ in 0..8 {
            let (one, two) =
                (EcPrivateKey::generate(curve).unwrap(), EcPrivateKey::generate(curve).unwrap());
            let secret = one.ecdh(&two.public()).unwrap();
            assert_eq!(secret, two.ecdh(&one.public()).unwrap());
            assert_eq!(secret.len(), curve.field_length());
        }
    }
    let (one, two) = (
        EcPrivateKey::generate(Curve::P256).unwrap(),
        EcPrivateKey::generate(Curve::P384).unwrap(),
    );
    assert!(matches!(one.ecdh(&two.public()), Err(Error::ParameterInvalid(_))));
}

#[test]
fn new_keys_sign_digests_of_any_length_on_every_curve() {
    for curve in Curve::ALL {
        let key = EcPrivateKey::generate(curve).unwrap();
        let public = key.public();
        for length in [1, 20, 32, 48, 64, 66, 100] {
            let digest = vec![0xa5; length];
            let signature = key.sign(&digest).unwrap();
            assert_eq!(signature.len(), 2 * curve.field_length(), "{curve}");
            assert_eq!(public.verify(&digest, &signature), Ok(()), "{curve} {length}");
            assert_ne!(key.sign(&digest).unwrap(), signature, "the nonce must be new");
            assert_eq!(
                signature_from_der(curve, &signature_to_der(&signature).unwrap()).unwrap(),
                signature
            );
        }
        assert_eq!(key.sign(&[]), Err(Error::DataLength));
        assert_eq!(public.verify(&[], &vec![1; 2 * curve.field_length()]), Err(Error::DataLength));
    }
}

/// As SunPKCS11 hands them over (PKCS#11 v3.1 section 6.3.1).
#[test]
fn both_halves_may_lack_the_same_leading_zeros() {
    let key = EcPrivateKey::generate(Curve::P521).unwrap();
    let digest = Hash::Sha512.digest(MESSAGE);
    // Each half begins with a zero every other time.
    let short = (0..1000)
        .map(|_| key.sign(&digest).unwrap())
        .find_map(|whole| {
            let (r, s) = whole.split_at(66);
            Some([r.strip_prefix(&[0])?, s.strip_prefix(&[0])?].concat())
        })
        .unwrap();
    assert_eq!(key.public().verify(&digest, &short), Ok(()));
    assert_eq!(key.public().verify(&digest, &short[1..]), Err(Error::SignatureLength));
    assert_eq!(key.public().verify(&digest, &short[2..]), Err(Error::SignatureInvalid));
}

#[test]
fn verify_refuses_what_was_not_signed() {
    for curve in Curve::ALL {
        let key = EcPrivateKey::generate(curve).unwrap();
        let (public, n) = (key.public(), curve.field_length());
        let digest = Hash::Sha224.digest(MESSAGE);
        let signature = key.sign(&digest).unwrap();
        for position in [0, n - 1, n, 2 * n - 1] {
            let mut changed = signature.clone();
            changed[position] ^= 1;
            assert_eq!(
                public.verify(&digest, &changed),
                Err(Error::SignatureInvalid),
                "{curve} {position}"
            );
        }
        assert_eq!(
            public.verify(&Hash::Sha224.digest(b"else"), &signature),
            Err(Error::SignatureInvalid)
        );
        assert_eq!(public.verify(&digest, &vec![0; 2 * n]), Err(Error::SignatureInvalid));
        assert_eq!(public.verify(&digest, &vec![0xff; 2 * n]), Err(Error::SignatureInvalid));
        for length in [0, 1, n, 2 * n - 1, 2 * n + 1, 2 * n + 2] {
            assert_eq!(
                public.verify(&digest, &vec![1; length]),
                Err(Error::SignatureLength),
                "{curve} {length}"
            );
        }
        let other = EcPrivateKey::generate(curve).unwrap().public();
        assert_eq!(other.verify(&digest, &signature), Err(Error::SignatureInvalid));
    }
}

#[test]
fn p256_agrees_with_us_both_ways() {
    let ours = EcPrivateKey::generate(Curve::P256).unwrap();
    let theirs = p256::ecdsa::SigningKey::from_slice(&ours.scalar()).unwrap();
    assert_eq!(theirs.verifying_key().to_sec1_point(false).as_bytes(), ours.public().point());
    let digest = Hash::Sha256.digest(MESSAGE);

    let signature = p256::ecdsa::Signature::from_slice(&ours.sign(&digest).unwrap()).unwrap();
    theirs.verifying_key().verify_prehash(&digest, &signature).unwrap();

    let signature: p256::ecdsa::Signature = theirs.sign_prehash(&digest).unwrap();
    assert_eq!(ours.public().verify(&digest, &signature.to_bytes()), Ok(()));
    assert_eq!(signature_to_der(&signature.to_bytes()).unwrap(), signature.to_der().as_bytes());
}

#[test]
fn points_come_compressed_and_uncompressed_and_nowise_else() {
    for curve in Curve::ALL {
        let public = EcPrivateKey::generate(curve).unwrap().public();
        let (point, n) = (public.point(), curve.field_length());
        assert_eq!((point.len(), point[0]), (1 + 2 * n, 4));
        let mut compressed = point[..=n].to_vec();
        compressed[0] = 2 + point[2 * n] % 2;
        assert_eq!(EcPublicKey::from_point(curve, &point).unwrap(), public);
        assert_eq!(EcPublicKey::from_point(curve, &compressed).unwrap(), public);

        let mut off_curve = point.clone();
        off_curve[2 * n] ^= 1;
        let mut hybrid = point.clone();
        hybrid[0] = 6 + point[2 * n] % 2;
        let bad: [&[u8]; 8] = [
            &[],
            &[0],
            &[4],
            &point[1..],
            &point[..2 * n],
            &[&point[..], &[0]].concat(),
            &off_curve,
            &hybrid,
        ];
        for point in bad {
            let error = EcPublicKey::from_point(curve, point);
            assert!(matches!(error, Err(Error::InvalidKey(_))), "{curve} {point:?}");
        }
    }
}

#[test]
fn scalars_are_padded_trimmed_and_kept_in_range() {
    for curve in Curve::ALL {
        let one = EcPrivateKey::from_scalar(curve, &[1]).unwrap();
        let mut padded = vec![0; curve.field_length() + 3];
        *padded.last_mut().unwrap() = 1;
        assert_eq!(EcPrivateKey::from_scalar(curve, &padded).unwrap().public(), one.public());
        assert_eq!(*one.scalar(), padded[3..], "{curve}");
        for bad in [vec![], vec![0], vec![0; 66], vec![0xff; curve.field_length()], vec![1; 100]] {
            let error = EcPrivateKey::from_scalar(curve, &bad);
            assert!(matches!(error, Err(Error::InvalidKey(_))), "{curve} {bad:?}");
        }
    }
}

/// The order of P-256 (FIPS 186-5) is the first scalar that is too great.
#[test]
fn the_order_itself_is_no_scalar() {
    let mut order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    assert!(matches!(EcPrivateKey::from_scalar(Curve::P256, &order), Err(Error::InvalidKey(_))));
    order[31] -= 1;
    assert!(EcPrivateKey::from_scalar(Curve::P256, &order).is_ok());
}

#[test]
fn p521_takes_66_bytes_everywhere() {
    let key = EcPrivateKey::from_scalar(Curve::P521, &[9]).unwrap();
    assert_eq!(key.scalar().len(), 66);
    assert_eq!(key.public().point().len(), 133);
    // Half of all values of r and s need 65 bytes or less, so that padding is bound to happen here.
    for _ in 0..16 {
        let signature = key.sign(&Hash::Sha512.digest(MESSAGE)).unwrap();
        assert_eq!(signature.len(), 132);
        assert_eq!(
            signature_from_der(Curve::P521, &signature_to_der(&signature).unwrap()).unwrap(),
            signature
        );
    }
}

#[test]
fn signatures_that_do_not_fit_are_refused() {
    let small = signature_to_der(&[1, 1]).unwrap();
    assert_eq!(small, [0x30, 6, 2, 1, 1, 2, 1, 1]);
    let mut raw = vec![0; 64];
    (raw[31], raw[63]) = (1, 1);
    assert_eq!(signature_from_der(Curve::P256, &small).unwrap(), raw);
    let long = signature_to_der(&[0x7f; 96]).unwrap();
    let trailing = [&small[..], &[0]].concat();
    for bad in [&long[..], &trailing, &small[1..], &[]] {
        assert_eq!(signature_from_der(Curve::P256, bad), Err(Error::SignatureInvalid));
    }
    for bad in [&[][..], &[1], &[1, 2, 3]] {
        assert_eq!(signature_to_der(bad), Err(Error::SignatureLength));
    }
}

#[test]
fn params_name_the_curve_by_oid_or_string() {
    let names = [
        ("P-224", Curve::P224),
        ("secp224r1", Curve::P224),
        ("P-256", Curve::P256),
        ("secp256r1", Curve::P256),
        ("prime256v1", Curve::P256),
        ("P-384", Curve::P384),
        ("secp384r1", Curve::P384),
        ("P-521", Curve::P521),
        ("secp521r1", Curve::P521),
        ("secp256k1", Curve::Secp256k1),
        ("P-192", Curve::P192),
        ("prime192v1", Curve::P192),
        ("brainpoolP256r1", Curve::BrainpoolP256r1),
        ("brainpoolP512t1", Curve::BrainpoolP512t1),
    ];
    for (name, curve) in names {
        let der = [&[0x13, name.len() as u8][..], name.as_bytes()].concat();
        assert_eq!(Curve::from_params_der(&der), Ok(curve));
    }
    for curve in Curve::ALL {
        assert_eq!(Curve::from_params_der(curve.oid_der()), Ok(curve));
        assert_eq!(Curve::from_params_der(&curve.oid_der()[1..]), Err(Error::UnsupportedCurve));
        // The PKCS#8 vectors hold the same identifier.
        let pkcs8 = VECTORS.iter().find(|v| v.curve == curve).unwrap().pkcs8;
        assert!(
            pkcs8.windows(curve.oid_der().len()).any(|window| window == curve.oid_der()),
            "{curve}"
        );
    }
    let secp192k1 = [6, 5, 0x2b, 0x81, 4, 0, 0x1f];
    for bad in [&[][..], &[0x30, 0], &[0x13], &[0x13, 0], &[0x13, 9, b'P'], b"P-256", &secp192k1] {
        assert_eq!(Curve::from_params_der(bad), Err(Error::UnsupportedCurve), "{bad:?}");
    }
}

#[test]
fn keys_that_are_not_ours_are_refused() {
    let secp192k1 = include_bytes!("vectors/secp192k1.pkcs8.der");
    assert!(matches!(EcPrivateKey::from_pkcs8_der(secp192k1), Err(Error::InvalidKey(_))));
    for v in &VECTORS {
        not_ours(v);
    }
    assert!(matches!(
        PrivateKey::from_pkcs8_der(include_bytes!("vectors/ed25519.pkcs8.der")),
        Err(Error::InvalidKey(_))
    ));
}

/// Both AWS-LC and `ec_der` read nothing else.
fn not_ours(p256: &Vectors) {
    let trailing = [p256.pkcs8, &[0]].concat();
    let mut mismatched = p256.pkcs8.to_vec();
    // The last byte of the public point.
    *mismatched.last_mut().unwrap() ^= 1;
    let refused: [&[u8]; 6] = [
        &[],
        &p256.pkcs8[..p256.pkcs8.len() - 1],
        &trailing,
        &mismatched,
        include_bytes!("vectors/rsa.pkcs8.der"),
        include_bytes!("vectors/ed25519.pkcs8.der"),
    ];
    for der in refused {
        assert!(EcPrivateKey::from_pkcs8_der(der).is_err(), "{}", p256.curve);
    }
    assert!(matches!(EcPrivateKey::from_pkcs8_der(&mismatched), Err(Error::InvalidKey(_))));
    assert!(matches!(EcPrivateKey::from_sec1_der(p256.pkcs8), Err(Error::InvalidKey(_))));
    assert!(matches!(EcPublicKey::from_spki_der(p256.pkcs8), Err(Error::InvalidKey(_))));
}

#[test]
fn eight_threads_sign_with_one_key() {
    let key = EcPrivateKey::generate(Curve::P384).unwrap();
    let public = key.public();
    thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (key, public) = (&key, &public);
            scope.spawn(move || {
                for round in 0..8 {
                    let digest = Hash::Sha384.digest(&[thread, round]);
                    public.verify(&digest, &key.sign(&digest).unwrap()).unwrap();
                    drop(key.clone());
                }
            });
        }
    });
}

#[test]
fn debug_shows_no_scalar() {
    let key = EcPrivateKey::from_scalar(Curve::P256, &[0xab; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "EcPrivateKey { curve: P256, .. }");
    assert_eq!(format!("{:?}", PrivateKey::from(key)), "Ec(EcPrivateKey { curve: P256, .. })");
}
