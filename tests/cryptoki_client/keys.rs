//! Keys that are made, and keys that are brought.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{
    Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle,
};
use cryptoki::session::Session;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{Generate, Pkcs1v15Sign};
use sha2::{Digest, Sha256};

use crate::common::alone::{TOKEN, alone, service};
use crate::common::raw::{P256, P384, P521};
use crate::host::{bytes, generate_ec, generate_rsa, initialized, public_key, refused, user};

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
            p256::ecdsa::VerifyingKey::from(ec.public_key())
                .verify_prehash(&digest, &signature)
                .unwrap();
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
