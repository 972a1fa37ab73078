//! Block ciphers in the modes that Wycheproof has no vectors for, step by step, and their limits.

#![allow(clippy::unwrap_used)]

mod common;

use common::{hex, unhex};
use keyward_crypto::cmac::cmac;
use keyward_crypto::{BlockKey, Counter, Direction, Error, ccm, gcm, wrap};

/// NIST SP 800-38A appendix F: AES-128.
const KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const TEXT: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                    30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
const ECB: &str = "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf\
                   43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4";
const IV: &str = "000102030405060708090a0b0c0d0e0f";
const CBC: &str = "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2\
                   73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7";
const COUNTER: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
const CTR: &str = "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff\
                   5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee";

/// Made with `openssl enc -des-ede3-cbc` and the like of OpenSSL 3.0.
const DES_KEY: &str = "000102030405060708090a0b0c0d0e0f1011121314151617";
const DES_IV: &str = "0001020304050607";
const DES_TEXT: &str = "00112233445566778899aabbccddeeff0123456789abcdef";
const DES_CBC: &str = "ecb7c1348c6fe06524f99c0192c8a6a340a9bf4e83db9a55";
const DES_CBC_PAD: &str = "ecb7c1348c6fe06524f99c0192c8a6a340a9bf4e83db9a558932f8074d9e5e80";
const DES_ECB: &str = "97a25ba82b564f4c6142886a2ca8d53ba2f7dc8bcb6ec00c";
const DES_CMAC: &str = "b7ee8a4a9089917a";
const DES2_CBC: &str = "4bc1fccf32dfdcf87b021213475c4e3b53dd45d5cf234c40";

fn aes() -> BlockKey {
    BlockKey::aes(&unhex(KEY)).unwrap()
}

#[test]
fn ecb_is_nists() {
    let (text, encrypted) = (unhex(TEXT), unhex(ECB));
    assert_eq!(*aes().ecb(Direction::Encrypt, &text).unwrap(), encrypted);
    assert_eq!(*aes().ecb(Direction::Decrypt, &encrypted).unwrap(), text);
    assert_eq!(aes().ecb(Direction::Encrypt, &text[1..]), Err(Error::DataLength));
}

#[test]
fn cbc_is_nists_however_it_is_cut() {
    let (text, encrypted) = (unhex(TEXT), unhex(CBC));
    for (direction, input, expected) in
        [(Direction::Encrypt, &text, &encrypted), (Direction::Decrypt, &encrypted, &text)]
    {
        for cut in [0, 16, 32, 48, 64] {
            let mut chain = unhex(IV);
            let head = aes().cbc(direction, &mut chain, &input[..cut]).unwrap();
            let tail = aes().cbc(direction, &mut chain, &input[cut..]).unwrap();
            assert_eq!(&[&head[..], &tail[..]].concat(), expected, "{direction:?} {cut}");
            assert_eq!(chain, &encrypted[48..]);
        }
    }
    let mut short = vec![0; 15];
    let error = aes().cbc(Direction::Encrypt, &mut short, &text);
    assert!(matches!(error, Err(Error::ParameterInvalid(_))));
}

#[test]
fn ctr_is_nists_however_it_is_cut() {
    for cut in [0, 16, 48, 64] {
        let mut counter = Counter::new(unhex(COUNTER).try_into().unwrap(), 128).unwrap();
        let text = unhex(TEXT);
        let head = aes().ctr(&mut counter, &text[..cut]).unwrap();
        let tail = aes().ctr(&mut counter, &text[cut..61.max(cut)]).unwrap();
        let expected = &unhex(CTR)[..61.max(cut)];
        assert_eq!([&head[..], &tail[..]].concat(), expected, "{cut}");
    }
}

/// The counting bits turn over and leave the others alone; the key stream is ECB of the blocks.
#[test]
fn ctr_counts_in_as_many_bits_as_it_is_told() {
    for bits in [1, 7, 8, 9, 32, 64, 127, 128] {
        let start = [0xff; 16];
        let blocks = if bits == 1 { 2 } else { 5 };
        let mut counter = Counter::new(start, bits).unwrap();
        let stream = aes().ctr(&mut counter, &vec![0; 16 * blocks]).unwrap();
        let expected: Vec<u8> = (0..blocks as u128)
            .flat_map(|step| {
                let mask = u128::MAX >> (128 - bits);
                let block = !mask | (u128::MAX.wrapping_add(step) & mask);
                aes().ecb(Direction::Encrypt, &block.to_be_bytes()).unwrap().to_vec()
            })
            .collect();
        assert_eq!(hex(&stream), hex(&expected), "{bits} bits");
    }
    for bits in [0, 129] {
        assert!(matches!(Counter::new([0; 16], bits), Err(Error::ParameterInvalid(_))));
    }
}

#[test]
fn ctr_never_uses_a_counter_twice() {
    let mut counter = Counter::new([0x55; 16], 2).unwrap();
    assert!(aes().ctr(&mut counter, &[0; 3 * 16]).is_ok());
    assert_eq!(aes().ctr(&mut counter, &[0; 17]), Err(Error::DataLength));
    assert!(aes().ctr(&mut counter, &[0; 16]).is_ok());
    assert_eq!(aes().ctr(&mut counter, &[0]), Err(Error::DataLength));
}

#[test]
fn triple_des_is_openssls() {
    let key = BlockKey::triple_des(&unhex(DES_KEY)).unwrap();
    let (text, encrypted) = (unhex(DES_TEXT), unhex(DES_CBC));
    let mut chain = unhex(DES_IV);
    assert_eq!(*key.cbc(Direction::Encrypt, &mut chain, &text).unwrap(), encrypted);
    assert_eq!(chain, &encrypted[16..]);
    let mut chain = unhex(DES_IV);
    assert_eq!(*key.cbc(Direction::Decrypt, &mut chain, &encrypted).unwrap(), text);
    assert_eq!(hex(&key.cbc_pad_encrypt(&unhex(DES_IV), &text).unwrap()), DES_CBC_PAD);
    assert_eq!(*key.cbc_pad_decrypt(&unhex(DES_IV), &unhex(DES_CBC_PAD)).unwrap(), text);
    assert_eq!(hex(&key.ecb(Direction::Encrypt, &text).unwrap()), DES_ECB);
    assert_eq!(hex(&cmac(&key, &text)), DES_CMAC);
    let two = BlockKey::triple_des(&unhex(DES_KEY)[..16]).unwrap();
    let mut chain = unhex(DES_IV);
    assert_eq!(hex(&two.cbc(Direction::Encrypt, &mut chain, &text).unwrap()), DES2_CBC);
}

#[test]
fn triple_des_has_none_of_aes_modes() {
    let key = BlockKey::triple_des(&unhex(DES_KEY)).unwrap();
    let mut counter = Counter::new([0; 16], 32).unwrap();
    assert!(matches!(key.ctr(&mut counter, b"x"), Err(Error::InvalidKey(_))));
    assert!(matches!(gcm::encrypt(&key, &[0; 12], b"", 16, b"x"), Err(Error::InvalidKey(_))));
    assert!(matches!(ccm::encrypt(&key, &[0; 12], b"", 16, b"x"), Err(Error::InvalidKey(_))));
    assert!(matches!(wrap::wrap(&key, None, &[0; 16]), Err(Error::InvalidKey(_))));
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for length in [0, 8, 15, 17, 31, 33, 64] {
        assert!(matches!(BlockKey::aes(&vec![1; length]), Err(Error::InvalidKey(_))), "{length}");
    }
    for length in [0, 8, 23, 25, 32] {
        assert!(matches!(BlockKey::triple_des(&vec![1; length]), Err(Error::InvalidKey(_))));
    }
}

#[test]
fn gcm_takes_a_vector_of_any_length_but_none() {
    for length in [1, 8, 12, 13, 16, 60, 1000] {
        let iv = vec![7; length];
        let sealed = gcm::encrypt(&aes(), &iv, b"aad", 12, b"text").unwrap();
        assert_eq!(sealed.len(), 4 + 12);
        assert_eq!(*gcm::decrypt(&aes(), &iv, b"aad", 12, &sealed).unwrap(), b"text"[..]);
    }
    let none = gcm::encrypt(&aes(), b"", b"aad", 16, b"text");
    assert!(matches!(none, Err(Error::ParameterInvalid(_))));
}

/// Tag lengths of 96 bits and less that no Wycheproof file has: a short tag is the start of the
/// long one.
#[test]
fn gcm_cuts_the_tag() {
    let whole = gcm::encrypt(&aes(), &[1; 12], b"", 16, b"text").unwrap();
    for length in 0..=17 {
        let cut = gcm::encrypt(&aes(), &[1; 12], b"", length, b"text");
        if matches!(length, 4 | 8 | 12..=16) {
            assert_eq!(cut.unwrap(), &whole[..4 + length]);
            let mut wrong = whole[..4 + length].to_vec();
            *wrong.last_mut().unwrap() ^= 1;
            let opened = gcm::decrypt(&aes(), &[1; 12], b"", length, &wrong);
            assert_eq!(opened, Err(Error::EncryptedDataInvalid));
        } else {
            assert!(matches!(cut, Err(Error::ParameterInvalid(_))), "{length}");
        }
    }
    assert_eq!(gcm::decrypt(&aes(), &[1; 12], b"", 16, &[0; 15]), Err(Error::DataLength));
}

#[test]
fn ccm_knows_how_long_a_text_the_nonce_allows() {
    let text = vec![0; 1 << 16];
    assert_eq!(ccm::encrypt(&aes(), &[0; 13], b"", 8, &text), Err(Error::DataLength));
    assert!(ccm::encrypt(&aes(), &[0; 13], b"", 8, &text[1..]).is_ok());
    assert!(ccm::encrypt(&aes(), &[0; 12], b"", 8, &text).is_ok());
    for (nonce, tag) in [(6, 8), (14, 8), (12, 2), (12, 5), (12, 18)] {
        let error = ccm::encrypt(&aes(), &vec![0; nonce], b"", tag, b"x");
        assert!(matches!(error, Err(Error::ParameterInvalid(_))), "{nonce} {tag}");
    }
}

#[test]
fn key_wrap_takes_another_initial_value() {
    let wrapped = wrap::wrap(&aes(), Some(&[9; 8]), &[5; 24]).unwrap();
    assert_eq!(*wrap::unwrap(&aes(), Some(&[9; 8]), &wrapped).unwrap(), [5; 24]);
    assert_eq!(wrap::unwrap(&aes(), None, &wrapped), Err(Error::EncryptedDataInvalid));
    for length in [0, 8, 15, 17] {
        assert_eq!(wrap::wrap(&aes(), None, &vec![0; length]), Err(Error::DataLength));
    }
    assert_eq!(wrap::wrap_padded(&aes(), b""), Err(Error::DataLength));
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", aes()), "BlockKey { cipher: Aes128, .. }");
}
