//! Sealing, HMAC and HKDF.

#![allow(clippy::unwrap_used)]

use keyward_crypto::{Error, SealingKey, hkdf_sha256, hmac_sha256, hmac_sha256_verify};

#[test]
fn open_returns_what_was_sealed() {
    let key = SealingKey::new(&[7; 32]);
    for plaintext in [&b""[..], b"x", &[42; 4096]] {
        let sealed = key.seal(b"context", plaintext).unwrap();
        assert_eq!(sealed.len(), 12 + plaintext.len() + 16);
        assert_eq!(*key.open(b"context", &sealed).unwrap(), plaintext);
        assert_ne!(key.seal(b"context", plaintext).unwrap(), sealed, "the nonce must be new");
    }
}

#[test]
fn open_refuses_every_change() {
    let key = SealingKey::new(&[7; 32]);
    let sealed = key.seal(b"context", b"plaintext").unwrap();
    for position in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[position] ^= 1;
        assert_eq!(
            key.open(b"context", &changed).err(),
            Some(Error::Unauthentic),
            "byte {position}"
        );
        assert_eq!(
            key.open(b"context", &sealed[..position]).err(),
            Some(Error::Unauthentic),
            "cut at {position}"
        );
    }
    assert_eq!(key.open(b"another", &sealed).err(), Some(Error::Unauthentic));
    assert_eq!(SealingKey::new(&[8; 32]).open(b"context", &sealed).err(), Some(Error::Unauthentic));
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", SealingKey::new(&[7; 32])), "SealingKey { .. }");
}

/// RFC 4231, test case 2.
#[test]
fn hmac_is_that_of_the_rfc() {
    let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(hex(&tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_eq!(hmac_sha256_verify(b"Jefe", b"what do ya want for nothing?", &tag), Ok(()));
}

#[test]
fn hmac_verify_refuses_every_change() {
    let tag = hmac_sha256(b"key", b"data");
    for position in 0..tag.len() {
        let mut changed = tag;
        changed[position] ^= 0x80;
        assert_eq!(hmac_sha256_verify(b"key", b"data", &changed), Err(Error::Unauthentic));
    }
    let cases: [(&[u8], &[u8], &[u8]); 4] = [
        (b"kex", b"data", &tag),
        (b"key", b"date", &tag),
        (b"key", b"data", &tag[..31]),
        (b"key", b"data", b""),
    ];
    for (key, data, tag) in cases {
        assert_eq!(hmac_sha256_verify(key, data, tag), Err(Error::Unauthentic));
    }
}

/// RFC 5869, test case 1.
#[test]
fn hkdf_is_that_of_the_rfc() {
    let salt: Vec<u8> = (0..=0x0c).collect();
    let info: Vec<u8> = (0xf0..=0xf9).collect();
    let mut out = [0; 42];
    hkdf_sha256(&[0x0b; 22], &salt, &info, &mut out).unwrap();
    let expected =
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(hex(&out), expected);
}

#[test]
fn hkdf_refuses_more_than_it_can_give() {
    assert!(hkdf_sha256(b"secret", b"", b"", &mut vec![0; 255 * 32]).is_ok());
    let error = hkdf_sha256(b"secret", b"", b"", &mut vec![0; 255 * 32 + 1]);
    assert!(matches!(error, Err(Error::ParameterInvalid(_))), "{error:?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
