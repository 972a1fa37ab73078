//! Key derivation against what OpenSSL 3.0 derives (`openssl kdf`).

#![allow(clippy::unwrap_used)]

mod common;

use common::{hex, unhex};
use keyward_crypto::kdf::{Prf, counter_mode, hkdf_expand, tls10_prf, tls12_prf, x963};
use keyward_crypto::{BlockKey, Error, Hash};

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// `-kdfopt info:shared X963KDF`, 100 bytes.
const X963: [(Hash, &str); 6] = [
    (
        Hash::Sha1,
        "3793f1741a8a857fa3f6db3bba8d9126321a11f71b5dd103fb0455c460c4a8f79f8d2fec0454d1fe6aa00784acb99578fc381d257c5ce031d80337932361294c789f78deddba38e472c68fe954b89d12ecc8e202c644626bd4934d0a3cd025a785c99adf",
    ),
    (
        Hash::Sha224,
        "f4614e8020a9c3404f26b10b1e4c365908a385daed99ab197a534fc6e5b5e99919a092bea64146a791b16ef020482f82119d70e4a226c9411c6f0bdd51de5498c6db6ff214dddb22ecb052fb2dda7ca69d321976c849a9518b94299b428d7cc32875c204",
    ),
    (
        Hash::Sha256,
        "35e25f5b250849d60d0403920daf2a27821f9bc80668c26a9d0bed0e2502e31feeb75f4a4dce845ff795457c8c0453ad86c269cf3d5ffd73073a4b5feeecc983edd367fd9feaff773a86d761e5fdceba714bbccde244184ba0e68d5f32ca206d007f36fd",
    ),
    (
        Hash::Sha384,
        "e36dc585acb874b1e221a4ebeb27e3da249356b70eaeb7a1abf2c8c96efbf6c7f4ad722501873688f21a49c08c373f08b067ad6f4fa5b8c26dfc45690c9391c319247261c265283091ee745530c669cd1a67540573ab1d7550a0a03b42bc93a152e1bd07",
    ),
    (
        Hash::Sha512,
        "ab52148b9aba92a36b47ccdb40a7b04445c0c5f5b5c4dd7b67af742f56f8a99fd21b9a337a87b0b25db7fb2042777ae1464294cebc7709f3a864440be8a2f869e6a5b463e52c9a759b42ae064aa2b87d40289d512a9417c70ef022e03e771894a7b6f266",
    ),
    (
        Hash::Sha3_256,
        "89f14eac1f2c620047d757d402b7e1e16382fea437bc1300ac53fa3aede804bc6a33482bdca50374b943422259b634137fc0292f978878dbe2ea7ffb3743da81c70c7bc5b071006ae97c75611d2a4f9ab086c577c7c3c225212feffe60f1960f1a449d6a",
    ),
];

/// `-kdfopt seed:labelseed TLS1-PRF`, 100 bytes.
const TLS12: [(Hash, &str); 2] = [
    (
        Hash::Sha256,
        "63729d8caf7093018dc56e0bf9b70959189a6de50f9b3ba7715c2e00e25c232fd45f4de6300bdb929b970e49c35c6e23cf0c969fe32d0a5fffb49cc6eb652ffd7353ba6ca2e8975669523886adcdca52117f6ec10a4c8071222873e159852a021e0c2744",
    ),
    (
        Hash::Sha384,
        "f2132ef13468de62aa1266eb6c70cfb409d8e35cb7804d07c2ae61218382ce4bd54d577a954c60b8f0c77a7af0b3d497883b81eeede45b5d141a5615272993d953efa2d582a50af60b2a9df243ef62493da076ded5011d6191e5f9ae4229fd502a9ce01c",
    ),
];
const TLS10: &str = "307d6d6d760ceb733e9b7af90cc4063affc11391d8eec211f41300da8f134f3c26fbbe25d8ed2e7872ee2ccf5a2e13e829056bfdc7ec3d49b85004a4138afe610c26a125d532daf837ff0e8c3035727a6057f0e27b6b810d995e2826e2e5ee4448227208";

/// `-kdfopt salt:label -kdfopt info:context KBKDF`, 70 bytes; CMAC with the first half of the key.
const HMAC_SHA256: &str = "4074371b251d6edef8141e9e3e04183d0d2cf48211479bdc77334f613978aed6ddf046629ae7207e8495cc8857c0f20367cae7cdf78b43b5354c4d00948541029fa882e55480";
const HMAC_SHA384: &str = "881f79cbc237bbe037dc270c5ed20d26477443820aa05325e9346a24f070adca27dac58851cd03191db64bab9d8d31e21fc29863f5c3b79111c86de1a96ce5e8523ff9a5c075";
const CMAC_AES128: &str = "0a61c52f79b3341697672479cdd6531e4571a2fc1deb5e56f7ac7490caa4b9d34aafa285d59b257feb920dd5009d2717f85df367bea4c0b63a88dc0e64dffe76145b00699812";

#[test]
fn x963_is_openssls() {
    for (hash, expected) in X963 {
        for length in [1, 20, 64, 100] {
            let derived = x963(hash, &unhex(SECRET), b"shared", length).unwrap();
            assert_eq!(hex(&derived), &expected[..2 * length], "{hash}");
        }
    }
    assert!(matches!(x963(Hash::Sha1, b"", b"", 0), Err(Error::ParameterInvalid(_))));
}

#[test]
fn counter_mode_is_openssls() {
    let secret = unhex(SECRET);
    for (prf, expected) in [
        (Prf::hmac(Hash::Sha256, &secret), HMAC_SHA256),
        (Prf::hmac(Hash::Sha384, &secret), HMAC_SHA384),
        (Prf::cmac(&BlockKey::aes(&secret[..16]).unwrap()), CMAC_AES128),
    ] {
        let input = |counter: u64| {
            let bits: u32 = 8 * 70;
            [&(counter as u32).to_be_bytes()[..], b"label\0context", &bits.to_be_bytes()].concat()
        };
        let derived = counter_mode(&prf, 70, u64::from(u32::MAX), input).unwrap();
        assert_eq!(hex(&derived), expected);
    }
}

#[test]
fn a_counter_that_cannot_count_so_far_is_refused() {
    let prf = Prf::hmac(Hash::Sha256, b"key");
    let input = |counter: u64| vec![counter as u8];
    assert!(counter_mode(&prf, 255 * 32, 255, input).is_ok());
    let error = counter_mode(&prf, 255 * 32 + 1, 255, input);
    assert!(matches!(error, Err(Error::ParameterInvalid(_))));
}

#[test]
fn the_prfs_of_tls_are_openssls() {
    for (hash, expected) in TLS12 {
        let derived = tls12_prf(hash, &unhex(SECRET), b"label", b"seed", 100).unwrap();
        assert_eq!(hex(&derived), expected, "{hash}");
    }
    assert_eq!(hex(&tls10_prf(&unhex(SECRET), b"label", b"seed", 100).unwrap()), TLS10);
}

#[test]
fn hkdf_refuses_nothing_and_too_much() {
    for length in [0, 255 * 32 + 1] {
        let error = hkdf_expand(Hash::Sha256, &[1; 32], b"", length);
        assert!(matches!(error, Err(Error::ParameterInvalid(_))), "{length}");
    }
}
