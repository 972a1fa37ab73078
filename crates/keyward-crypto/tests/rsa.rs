//! RSA keys, against OpenSSL's vectors and against the `rsa` crate both ways.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::LazyLock;
use std::thread;

use keyward_crypto::{
    Error, Hash, PrivateKey, RsaPrimeComponents, RsaPrivateComponents, RsaPrivateKey, RsaPublicKey,
    random,
};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts;
use rsa::{Oaep, Pkcs1v15Encrypt, Pkcs1v15Sign, Pss};
use sha2::{Sha256, Sha384, Sha512};

const MESSAGE: &[u8] = b"keyward test message";
const PKCS8: &[u8] = include_bytes!("vectors/rsa.pkcs8.der");

/// Bytes of the modulus of `KEY`.
const K: usize = 256;

static KEY: LazyLock<RsaPrivateKey> =
    LazyLock::new(|| RsaPrivateKey::from_pkcs8_der(PKCS8).unwrap());
static THEIRS: LazyLock<rsa::PrivateKey> =
    LazyLock::new(|| rsa::PrivateKey::from_pkcs8_der(PKCS8).unwrap());

#[test]
fn the_key_of_openssl_comes_and_goes_in_every_form() {
    assert_eq!((KEY.bits(), KEY.modulus_length()), (2048, K));
    assert_eq!(*KEY.to_pkcs8_der().unwrap(), PKCS8);
    let pkcs1 = RsaPrivateKey::from_pkcs1_der(include_bytes!("vectors/rsa.pkcs1.der")).unwrap();
    assert_eq!(*pkcs1.to_pkcs8_der().unwrap(), PKCS8);
    assert!(matches!(PrivateKey::from_pkcs8_der(PKCS8).unwrap(), PrivateKey::Rsa(_)));
    let spki = KEY.public().spki_der();
    assert_eq!(spki, THEIRS.to_public_key().to_public_key_der().unwrap().as_bytes());
    assert_eq!(RsaPublicKey::from_spki_der(&spki).unwrap(), KEY.public());
}

#[test]
fn components_make_the_same_key_again() {
    let parts = KEY.components().unwrap();
    assert_eq!(*RsaPrivateKey::try_from(&parts).unwrap().to_pkcs8_der().unwrap(), PKCS8);
    assert_eq!(parts.public_exponent, [1, 0, 1]);
    assert_eq!(parts.modulus, *THEIRS.n().to_be_bytes());
    let public =
        RsaPublicKey::new(&[&[0, 0], &parts.modulus[..]].concat(), &parts.public_exponent).unwrap();
    assert_eq!(public, KEY.public());
    assert_eq!(
        (public.modulus(), public.public_exponent()),
        (parts.modulus, parts.public_exponent)
    );
}

#[test]
fn contradicting_components_are_refused() {
    type Tamper = fn(&mut RsaPrivateComponents);
    let tampers: [(&str, Tamper); 10] = [
        ("modulus", |parts| parts.modulus[100] ^= 1),
        ("public exponent", |parts| parts.public_exponent = vec![3]),
        ("private exponent", |parts| parts.private_exponent[100] ^= 1),
        ("prime 1", |parts| primes(parts).prime_1[50] ^= 1),
        ("prime 2", |parts| primes(parts).prime_2[50] ^= 1),
        ("exponent 1", |parts| primes(parts).exponent_1[50] ^= 1),
        ("exponent 2", |parts| primes(parts).exponent_2[50] ^= 1),
        ("coefficient", |parts| primes(parts).coefficient[50] ^= 1),
        ("swapped primes", |parts| {
            let primes = primes(parts);
            std::mem::swap(&mut primes.prime_1, &mut primes.prime_2);
        }),
        ("empty prime", |parts| primes(parts).prime_1.clear()),
    ];
    for (at, (name, tamper)) in tampers.into_iter().enumerate() {
        let mut parts = KEY.components().unwrap();
        tamper(&mut parts);
        assert!(matches!(RsaPrivateKey::try_from(&parts), Err(Error::InvalidKey(_))), "{name}");
        if at < 3 {
            parts.primes = None;
            let made = RsaPrivateKey::try_from(&parts);
            assert!(matches!(made, Err(Error::InvalidKey(_))), "{name}, without primes");
        }
    }
}

fn primes(parts: &mut RsaPrivateComponents) -> &mut RsaPrimeComponents {
    parts.primes.as_mut().unwrap()
}

#[test]
fn a_key_without_primes_works_and_has_no_pkcs8() {
    let mut parts = KEY.components().unwrap();
    parts.primes = None;
    let key = RsaPrivateKey::try_from(&parts).unwrap();
    let again = key.components().unwrap();
    assert!(again.primes.is_none() && again.private_exponent == parts.private_exponent);
    let digest = Hash::Sha256.digest(b"message");
    let signature = key.sign_pkcs1_raw(&Hash::Sha256.digest_info(&digest).unwrap()).unwrap();
    let padding = Pkcs1v15Sign::new::<Sha256>();
    THEIRS.to_public_key().verify(padding, &digest, &signature).unwrap();
    assert!(matches!(key.to_pkcs8_der(), Err(Error::InvalidKey(_))));
}

#[test]
fn a_coefficient_changed_within_pkcs8_is_refused() {
    let mut der = PKCS8.to_vec();
    *der.last_mut().unwrap() ^= 1;
    assert!(matches!(RsaPrivateKey::from_pkcs8_der(&der), Err(Error::InvalidKey(_))));
}

#[test]
fn keys_that_are_not_ours_are_refused() {
    type Expected = fn(Error) -> bool;
    let refused: [(&[u8], Expected); 5] = [
        (&[], |error| matches!(error, Error::InvalidKey(_))),
        (&PKCS8[..1000], |error| matches!(error, Error::InvalidKey(_))),
        (include_bytes!("vectors/rsa.pkcs1.der"), |error| matches!(error, Error::InvalidKey(_))),
        (include_bytes!("vectors/rsa-pss.pkcs8.der"), |error| {
            matches!(error, Error::InvalidKey(_))
        }),
        (include_bytes!("vectors/p256.pkcs8.der"), |error| matches!(error, Error::InvalidKey(_))),
    ];
    for (index, (der, expected)) in refused.into_iter().enumerate() {
        let error = RsaPrivateKey::from_pkcs8_der(der).unwrap_err();
        assert!(expected(error), "{index}: {error}");
    }
    // Short, and for a token's policy to refuse.
    let short = RsaPrivateKey::from_pkcs8_der(include_bytes!("vectors/rsa-1024.pkcs8.der"));
    assert_eq!(short.unwrap().bits(), 1024);
    let trailing = [PKCS8, &[0]].concat();
    assert!(matches!(RsaPrivateKey::from_pkcs8_der(&trailing), Err(Error::InvalidKey(_))));
    let modulus = KEY.public().modulus();
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0, 0, 0, 0, 1]] {
        assert!(
            matches!(RsaPublicKey::new(&modulus, exponent), Err(Error::InvalidKey(_))),
            "{exponent:?}"
        );
    }
    // As long as 512 bits in bytes; which is for a token's policy to refuse, too.
    assert_eq!(RsaPublicKey::new(&[0x7f; 64], &[3]).unwrap().bits(), 511);
    for short in [&[0xff; 63][..], &[0x00, 0xff]] {
        assert_eq!(RsaPublicKey::new(short, &[3]), Err(Error::UnsupportedKeySize));
    }
    assert_eq!(RsaPublicKey::new(&[0xff; 1025], &[3]), Err(Error::UnsupportedKeySize));
}

#[test]
fn new_keys_have_the_size_and_exponent_asked_for() {
    for (bits, exponent) in [(2048, &[1, 0, 1][..]), (2048, &[0, 3]), (3072, &[1, 0, 1])] {
        let key = RsaPrivateKey::generate(bits, exponent).unwrap();
        assert_eq!(key.bits(), bits);
        assert_eq!(key.public().public_exponent(), exponent.strip_prefix(&[0]).unwrap_or(exponent));
        let theirs = rsa::PrivateKey::from_pkcs8_der(&key.to_pkcs8_der().unwrap()).unwrap();
        theirs.validate().unwrap();
        let back =
            RsaPrivateKey::from_pkcs8_der(theirs.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        assert_eq!(back.to_pkcs8_der().unwrap(), key.to_pkcs8_der().unwrap());
        let signature = key.sign_pkcs1_raw(b"data").unwrap();
        assert_eq!(key.public().verify_pkcs1_raw(b"data", &signature), Ok(()));
    }
}

#[test]
fn generate_refuses_bad_sizes_and_exponents() {
    for bits in [0, 384, 511, 1000, 2047, 2049, 2056, 8320, u32::MAX] {
        assert_eq!(
            RsaPrivateKey::generate(bits, &[1, 0, 1]).err(),
            Some(Error::UnsupportedKeySize),
            "{bits}"
        );
    }
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
        let error = RsaPrivateKey::generate(2048, exponent);
        assert!(matches!(error, Err(Error::ParameterInvalid(_))), "{exponent:?}");
    }
}

#[test]
fn pkcs1_signatures_agree_with_rsa_both_ways() {
    let (digest, public) = (Hash::Sha256.digest(MESSAGE), KEY.public());
    let info = Hash::Sha256.digest_info(&digest).unwrap();
    let ours = KEY.sign_pkcs1_raw(&info).unwrap();
    THEIRS.to_public_key().verify(Pkcs1v15Sign::new::<Sha256>(), &digest, &ours).unwrap();
    let theirs = THEIRS.sign(Pkcs1v15Sign::new::<Sha256>(), &digest).unwrap();
    assert_eq!(theirs, ours);
    assert_eq!(public.verify_pkcs1_raw(&info, &theirs), Ok(()));
    assert_eq!(public.recover_pkcs1(&theirs).unwrap(), info);
}

#[test]
fn pkcs1_signs_up_to_k_less_11_bytes() {
    let public = KEY.public();
    for length in [0, 1, 36, K - 11] {
        let data = vec![0x5a; length];
        let signature = KEY.sign_pkcs1_raw(&data).unwrap();
        assert_eq!(public.recover_pkcs1(&signature).unwrap(), data, "{length}");
    }
    assert_eq!(KEY.sign_pkcs1_raw(&[0; K - 10]), Err(Error::DataLength));
}

#[test]
fn pkcs1_verify_refuses_what_was_not_signed() {
    let public = KEY.public();
    let signature = KEY.sign_pkcs1_raw(b"data").unwrap();
    assert_eq!(public.verify_pkcs1_raw(b"date", &signature), Err(Error::SignatureInvalid));
    assert_eq!(public.verify_pkcs1_raw(b"dat", &signature), Err(Error::SignatureInvalid));
    for position in [0, 100, K - 1] {
        let mut changed = signature.clone();
        changed[position] ^= 1;
        assert_eq!(
            public.verify_pkcs1_raw(b"data", &changed),
            Err(Error::SignatureInvalid),
            "{position}"
        );
    }
    for length in [0, K - 1, K + 1] {
        assert_eq!(public.verify_pkcs1_raw(b"data", &vec![1; length]), Err(Error::SignatureLength));
    }
    // A block of type 2, as for encryption, is no signature.
    let mut block = vec![0x77; K];
    (block[0], block[1], block[K - 5]) = (0, 2, 0);
    assert_eq!(public.recover_pkcs1(&KEY.raw(&block).unwrap()), Err(Error::SignatureInvalid));
}

#[test]
fn pss_agrees_with_rsa_both_ways() {
    let (digest, public) = (Hash::Sha384.digest(MESSAGE), KEY.public());
    for salt in [0, 20, 48, K - 48 - 2] {
        let ours = KEY.sign_pss(Hash::Sha384, Hash::Sha384, salt, &digest).unwrap();
        THEIRS.to_public_key().verify(Pss::<Sha384>::new_with_salt(salt), &digest, &ours).unwrap();
        let theirs = THEIRS.sign(Pss::<Sha384>::new_with_salt(salt), &digest).unwrap();
        assert_eq!(
            public.verify_pss(Hash::Sha384, Hash::Sha384, salt, &digest, &theirs),
            Ok(()),
            "{salt}"
        );
        assert_eq!(
            public.verify_pss(Hash::Sha384, Hash::Sha384, salt, &digest, &ours),
            Ok(()),
            "{salt}"
        );
    }
}

#[test]
fn pss_with_two_hashes_is_that_of_openssl() {
    let (digest, public) = (Hash::Sha384.digest(MESSAGE), KEY.public());
    let theirs = include_bytes!("vectors/rsa.pss");
    assert_eq!(public.verify_pss(Hash::Sha384, Hash::Sha1, 20, &digest, theirs), Ok(()));
    let ours = KEY.sign_pss(Hash::Sha384, Hash::Sha1, 20, &digest).unwrap();
    assert_eq!(public.verify_pss(Hash::Sha384, Hash::Sha1, 20, &digest, &ours), Ok(()));
    for (hash, mgf, salt) in [
        (Hash::Sha384, Hash::Sha384, 20),
        (Hash::Sha3_384, Hash::Sha1, 20),
        (Hash::Sha384, Hash::Sha1, 21),
    ] {
        for signature in [&theirs[..], &ours] {
            let error = public.verify_pss(hash, mgf, salt, &digest, signature);
            assert_eq!(error, Err(Error::SignatureInvalid), "{hash} {mgf} {salt}");
        }
    }
    assert_eq!(
        public.verify_pss(Hash::Sha384, Hash::Sha1, 20, &digest, &ours[1..]),
        Err(Error::SignatureLength)
    );
}

#[test]
fn pss_works_with_every_hash_and_refuses_what_does_not_fit() {
    let public = KEY.public();
    for hash in Hash::ALL {
        let (digest, h) = (hash.digest(MESSAGE), hash.length());
        let signature = KEY.sign_pss(hash, hash, h, &digest).unwrap();
        assert_eq!(public.verify_pss(hash, hash, h, &digest, &signature), Ok(()), "{hash}");
        assert_eq!(KEY.sign_pss(hash, hash, h, &digest[1..]), Err(Error::DataLength), "{hash}");
        assert_eq!(
            public.verify_pss(hash, hash, h, &digest[1..], &signature),
            Err(Error::DataLength),
            "{hash}"
        );
        for salt in [K - h - 1, usize::MAX] {
            let error = KEY.sign_pss(hash, hash, salt, &digest);
            assert!(matches!(error, Err(Error::ParameterInvalid(_))), "{hash} {salt}");
        }
    }
}

#[test]
fn pkcs1_encryption_agrees_with_rsa_and_openssl() {
    let ours = KEY.public().encrypt_pkcs1(b"a secret").unwrap();
    assert_eq!(THEIRS.decrypt(Pkcs1v15Encrypt, &ours).unwrap(), b"a secret");
    let theirs = THEIRS.to_public_key().encrypt(&mut Rng, Pkcs1v15Encrypt, b"a secret").unwrap();
    assert_eq!(*KEY.decrypt_pkcs1(&theirs).unwrap(), b"a secret");
    assert_eq!(
        *KEY.decrypt_pkcs1(include_bytes!("vectors/rsa.pkcs1-ciphertext")).unwrap(),
        b"a secret"
    );
}

#[test]
fn oaep_agrees_with_rsa_and_openssl() {
    let (public, their_public) = (KEY.public(), THEIRS.to_public_key());
    let ours = public.encrypt_oaep(Hash::Sha256, Hash::Sha256, b"", b"a secret").unwrap();
    assert_eq!(THEIRS.decrypt(Oaep::<Sha256>::new(), &ours).unwrap(), b"a secret");
    let theirs = their_public.encrypt(&mut Rng, Oaep::<Sha256>::new(), b"a secret").unwrap();
    assert_eq!(*KEY.decrypt_oaep(Hash::Sha256, Hash::Sha256, b"", &theirs).unwrap(), b"a secret");

    let ours = public.encrypt_oaep(Hash::Sha512, Hash::Sha256, b"keyward", b"a secret").unwrap();
    let padding = Oaep::<Sha512, Sha256>::new_with_mgf_hash_and_label(*b"keyward");
    assert_eq!(THEIRS.decrypt(padding, &ours).unwrap(), b"a secret");
    let theirs = include_bytes!("vectors/rsa.oaep");
    assert_eq!(
        *KEY.decrypt_oaep(Hash::Sha512, Hash::Sha256, b"keyward", theirs).unwrap(),
        b"a secret"
    );

    let wrong: [(Hash, Hash, &[u8]); 4] = [
        (Hash::Sha256, Hash::Sha256, b"keyward"),
        (Hash::Sha512, Hash::Sha512, b"keyward"),
        (Hash::Sha512, Hash::Sha256, b"Keyward"),
        (Hash::Sha512, Hash::Sha256, b""),
    ];
    for (hash, mgf, label) in wrong {
        let error = KEY.decrypt_oaep(hash, mgf, label, theirs);
        assert_eq!(error, Err(Error::EncryptedDataInvalid), "{hash} {mgf} {label:?}");
    }
}

#[test]
fn encryption_takes_what_fits() {
    let public = KEY.public();
    for length in [0, 1, K - 11] {
        let ciphertext = public.encrypt_pkcs1(&vec![3; length]).unwrap();
        assert_eq!(*KEY.decrypt_pkcs1(&ciphertext).unwrap(), vec![3; length]);
    }
    assert_eq!(public.encrypt_pkcs1(&[3; K - 10]), Err(Error::DataLength));
    for hash in Hash::ALL {
        let most = K - 2 * hash.length() - 2;
        for length in [0, most] {
            let ciphertext = public.encrypt_oaep(hash, Hash::Sha1, b"l", &vec![3; length]).unwrap();
            assert_eq!(
                *KEY.decrypt_oaep(hash, Hash::Sha1, b"l", &ciphertext).unwrap(),
                vec![3; length],
                "{hash}"
            );
        }
        assert_eq!(
            public.encrypt_oaep(hash, hash, b"", &vec![3; most + 1]),
            Err(Error::DataLength),
            "{hash}"
        );
    }
}

#[test]
fn decryption_refuses_bad_lengths_and_padding() {
    // A block of type 1, one whose padding never ends, and one with less than 8 bytes of padding.
    let mut blocks = [[0x77_u8; K]; 3];
    (blocks[0][0], blocks[0][1], blocks[0][K - 5]) = (0, 1, 0);
    (blocks[1][0], blocks[1][1]) = (0, 2);
    (blocks[2][0], blocks[2][1], blocks[2][9]) = (0, 2, 0);
    for block in blocks {
        let ciphertext = KEY.public().raw(&block).unwrap();
        assert_eq!(KEY.decrypt_pkcs1(&ciphertext), Err(Error::EncryptedDataInvalid));
        let error = KEY.decrypt_oaep(Hash::Sha1, Hash::Sha1, b"", &ciphertext);
        assert_eq!(error, Err(Error::EncryptedDataInvalid));
    }
    assert_eq!(KEY.decrypt_pkcs1(&[0xff; K]), Err(Error::EncryptedDataInvalid));
    for length in [0, K - 1, K + 1] {
        assert_eq!(KEY.decrypt_pkcs1(&vec![1; length]), Err(Error::DataLength));
        assert_eq!(
            KEY.decrypt_oaep(Hash::Sha1, Hash::Sha1, b"", &vec![1; length]),
            Err(Error::DataLength)
        );
    }
}

#[test]
fn raw_rsa_undoes_itself_and_pads_on_the_left() {
    let public = KEY.public();
    for input in [&b"short"[..], &[0x42; K]] {
        let mut padded = vec![0; K - input.len()];
        padded.extend_from_slice(input);
        let signature = KEY.raw(input).unwrap();
        assert_eq!(public.raw(&signature).unwrap(), padded);
        assert_eq!(*KEY.raw(&public.raw(input).unwrap()).unwrap(), padded);
    }
    let modulus = public.modulus();
    let mut less_one = modulus.clone();
    less_one[K - 1] -= 1;
    for bad in [&modulus[..], &[0xff; K], &less_one, &[], &[0], &[1]] {
        assert_eq!(KEY.raw(bad), Err(Error::DataInvalid));
    }
    for bad in [&modulus[..], &[0xff; K]] {
        assert_eq!(public.raw(bad), Err(Error::DataInvalid));
    }
    assert_eq!(KEY.raw(&[0; K + 1]), Err(Error::DataLength));
    assert_eq!(public.raw(&[0; K + 1]), Err(Error::DataLength));
}

#[test]
fn eight_threads_use_one_key() {
    let key = RsaPrivateKey::from_pkcs8_der(PKCS8).unwrap();
    let public = key.public();
    thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (key, public) = (&key, &public);
            scope.spawn(move || {
                for round in 0..8 {
                    let data = [thread, round];
                    public.verify_pkcs1_raw(&data, &key.sign_pkcs1_raw(&data).unwrap()).unwrap();
                    let ciphertext =
                        public.encrypt_oaep(Hash::Sha256, Hash::Sha256, b"", &data).unwrap();
                    let plaintext = key
                        .clone()
                        .decrypt_oaep(Hash::Sha256, Hash::Sha256, b"", &ciphertext)
                        .unwrap();
                    assert_eq!(*plaintext, data);
                }
            });
        }
    });
}

#[test]
fn debug_shows_no_secrets() {
    assert_eq!(format!("{:?}", *KEY), "RsaPrivateKey { bits: 2048, .. }");
    let components = format!("{:?}", KEY.components().unwrap());
    assert_eq!(components, "RsaPrivateComponents { modulus_length: 256, .. }");
}

/// Our generator in the form in which the `rsa` crate asks for one.
struct Rng;

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(random::bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(random::bytes()))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        random::fill(buffer);
        Ok(())
    }
}

impl TryCryptoRng for Rng {}
