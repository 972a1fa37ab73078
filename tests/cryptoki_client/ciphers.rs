//! Decryption and digests, beside those of others.

use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use p256::pkcs8::DecodePublicKey as _;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::common::alone::{TOKEN, alone, service};
use crate::common::outside::OpenSsl;
use crate::host::{generate_rsa, initialized, public_key, refused, slot, user};

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
            Mechanism::RsaPkcsOaep(PkcsOaepParams::new(
                hash,
                mgf,
                PkcsOaepSource::data_specified(label),
            ))
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
                (
                    &labelled,
                    openssl.encrypt(
                        &spki,
                        &[pad, md, mgf, "rsa_oaep_label:61206c6162656c"],
                        secret,
                    ),
                ),
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
