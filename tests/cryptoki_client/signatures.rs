//! Signatures, in the eyes of others.

use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki_sys::*;
use keyward_token::mechanism::{Family, Mechanism as Listed, Policy};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts;
use rsa::{Generate, Pkcs1v15Sign, Pss};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::common;
use crate::common::alone::{alone, service};
use crate::common::outside::{OpenSsl, ecdsa_der, ecdsa_raw};
use crate::common::raw::{Module, P256, P384, P521, call};
use crate::host::{generate_ec, generate_rsa, initialized, public_key, refused, user};

/// How `cryptoki` names a mechanism of the registry that signs; `None` for those
/// that it does not know.
fn signing(number: CK_MECHANISM_TYPE, name: &str) -> Option<Mechanism<'static>> {
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
        _ if name.contains("SHA3_") => return None,
        other => panic!("the registry has a mechanism that this test does not know: {other:#x}"),
    })
}

/// Signs by a mechanism that `cryptoki` lacks.
fn sign_raw(session: &Session, mechanism: &Listed, key: ObjectHandle, data: &[u8]) -> Vec<u8> {
    let raw = Module::load(&common::module());
    let mut pss = match mechanism.number {
        CKM_SHA224_RSA_PKCS_PSS => pss(CKM_SHA224, CKG_MGF1_SHA224, 28),
        CKM_SHA3_224_RSA_PKCS_PSS => pss(CKM_SHA3_224, CKG_MGF1_SHA3_224, 28),
        CKM_SHA3_256_RSA_PKCS_PSS => pss(CKM_SHA3_256, CKG_MGF1_SHA3_256, 32),
        CKM_SHA3_384_RSA_PKCS_PSS => pss(CKM_SHA3_384, CKG_MGF1_SHA3_384, 48),
        _ => pss(CKM_SHA3_512, CKG_MGF1_SHA3_512, 64),
    };
    let with_pss = matches!(mechanism.family, Family::RsaPss(_));
    let mut mechanism = CK_MECHANISM {
        mechanism: mechanism.number,
        pParameter: if with_pss { (&raw mut pss).cast() } else { std::ptr::null_mut() },
        ulParameterLen: if with_pss { size_of::<CK_RSA_PKCS_PSS_PARAMS>() as CK_ULONG } else { 0 },
    };
    let rv = call!(raw, C_SignInit(session.handle(), &raw mut mechanism, key.handle()));
    assert_eq!(rv, CKR_OK);
    raw.sign(session.handle(), data).unwrap()
}

fn pss(
    hash: CK_MECHANISM_TYPE,
    mgf: CK_RSA_PKCS_MGF_TYPE,
    salt: CK_ULONG,
) -> CK_RSA_PKCS_PSS_PARAMS {
    CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash, mgf, sLen: salt }
}

/// OpenSSL's name of the hash in a mechanism's name.
fn hash_in(name: &str) -> Option<&'static str> {
    [
        ("SHA1", "sha1"),
        ("SHA224", "sha224"),
        ("SHA256", "sha256"),
        ("SHA384", "sha384"),
        ("SHA512", "sha512"),
        ("SHA3_224", "sha3-224"),
        ("SHA3_256", "sha3-256"),
        ("SHA3_384", "sha3-384"),
        ("SHA3_512", "sha3-512"),
    ]
    .into_iter()
    .find(|(part, _)| name.contains(part))
    .map(|(_, hash)| hash)
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
        // Authentication codes, TLS's too, and newer keys are in tests/state_machine.
        let elsewhere = |family| {
            matches!(
                family,
                Family::Hmac { .. }
                    | Family::Cmac { .. }
                    | Family::TlsMac
                    | Family::Eddsa
                    | Family::MlDsa
                    | Family::HashMlDsa(_)
            )
        };
        let signers = Policy::Default
            .offers()
            .map(|offer| offer.mechanism)
            .filter(|mechanism| mechanism.flags & CKF_SIGN != 0 && !elsewhere(mechanism.family));
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
                let how = signing(mechanism.number, name);
                let signature = match &how {
                    Some(how) => session.sign(how, *private, data).unwrap(),
                    None => sign_raw(&session, mechanism, *private, data),
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
                            "pkeyutl",
                            "-verifyrecover",
                            "-pubin",
                            "-keyform",
                            "DER",
                            "-inkey",
                            "public.der",
                            "-in",
                            "signature",
                            "-pkeyopt",
                            "rsa_padding_mode:none",
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
        assert_eq!(signed, 21 + 3 * 10);
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
        assert!(
            session
                .verify(&Mechanism::RsaPkcsPss(other_hash), public, &digest, &signature)
                .is_err()
        );
        // OpenSSL, on the larger curves.
        let openssl = OpenSsl::new();
        for (name, curve, width) in [("P-384", P384, 48), ("P-521", P521, 66)] {
            let option = format!("ec_paramgen_curve:{name}");
            openssl
                .run(&["genpkey", "-algorithm", "EC", "-pkeyopt", &option, "-out", "k.pem"])
                .unwrap();
            openssl.file("digest", &digest);
            openssl
                .run(&["pkey", "-in", "k.pem", "-pubout", "-outform", "DER", "-out", "k.der"])
                .unwrap();
            openssl
                .run(&["pkeyutl", "-sign", "-inkey", "k.pem", "-in", "digest", "-out", "s"])
                .unwrap();
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
