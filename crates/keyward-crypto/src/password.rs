//! What files that a password protects are made with: keys out of passwords, and ciphers of which
//! nothing new should be made.
//!
//! Only reading is offered. Iterations are the file's choice, so whoever calls bounds them.

use std::ffi::c_int;

use aws_lc_sys::{
    EVP_BytesToKey, EVP_CIPHER, EVP_CIPHER_CTX_set_padding, EVP_PBE_scrypt, EVP_aes_256_cbc,
    EVP_des_cbc, EVP_rc2_40_cbc, EVP_rc2_cbc, PKCS5_PBKDF2_HMAC,
};
use zeroize::Zeroizing;

use crate::block::{Context, Direction};
use crate::digest::Hash;
use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, check};

/// PBKDF2 with HMAC (RFC 8018 section 5.2): `length` bytes.
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if `iterations` or `length` is 0.
pub fn pbkdf2(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    at_least_one(iterations, length)?;
    let mut key = Zeroizing::new(vec![0; length]);
    // SAFETY: the inputs are valid for their lengths, and so is the output; the digest is a
    // constant.
    let returned = unsafe {
        PKCS5_PBKDF2_HMAC(
            password.as_ptr().cast(),
            password.len(),
            salt.as_ptr(),
            salt.len(),
            iterations,
            hash.evp(),
            key.len(),
            key.as_mut_ptr(),
        )
    };
    check(returned, OUT_OF_MEMORY)?;
    Ok(key)
}

/// scrypt (RFC 7914): `length` bytes. `memory` is the most that it may take, in bytes.
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if cost, block size or parallelism are none, or more than `memory`
/// is needed.
pub fn scrypt(
    password: &[u8],
    salt: &[u8],
    (cost, block_size, parallelism): (u64, u64, u64),
    memory: usize,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    at_least_one(1, length)?;
    let mut key = Zeroizing::new(vec![0; length]);
    // SAFETY: the inputs are valid for their lengths, and so is the output.
    let returned = unsafe {
        EVP_PBE_scrypt(
            password.as_ptr().cast(),
            password.len(),
            salt.as_ptr(),
            salt.len(),
            cost,
            block_size,
            parallelism,
            memory,
            key.as_mut_ptr(),
            key.len(),
        )
    };
    check(returned, Error::ParameterInvalid("scrypt cannot be done with these costs"))?;
    Ok(key)
}

/// At most 48 bytes of OpenSSL's own derivation, as encrypted PEM blocks of old have it with one
/// iteration of MD5; for up to one digest it is PBKDF1 (RFC 8018 section 5.1).
///
/// # Errors
///
/// [`Error::ParameterInvalid`] if `iterations` is 0, `length` is not 1 to 48, or `salt` is not 8
/// bytes long.
pub fn bytes_to_key(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>> {
    at_least_one(iterations, length)?;
    if salt.len() != 8 || length > 48 {
        return Err(Error::ParameterInvalid("the salt has 8 bytes, and the key at most 48"));
    }
    let mut key = Zeroizing::new(vec![0; 48]);
    let (first, second) = key.split_at_mut(32);
    // SAFETY: the salt has the 8 bytes that are read, the password is valid for its length. Of the
    // cipher only its lengths matter: 32 bytes of key and then 16 of vector are written.
    let returned = unsafe {
        EVP_BytesToKey(
            EVP_aes_256_cbc(),
            hash.evp(),
            salt.as_ptr(),
            password.as_ptr(),
            password.len(),
            iterations,
            first.as_mut_ptr(),
            second.as_mut_ptr(),
        )
    };
    if returned != 32 {
        return Err(crate::ffi::failed(OUT_OF_MEMORY));
    }
    key.truncate(length);
    Ok(key)
}

/// A cipher that is broken and still found in files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OldCipher {
    /// DES, with a key of 8 bytes.
    Des,
    /// RC2 with a key of 5 bytes, 40 bits of it effective.
    Rc2With40Bits,
    /// RC2 with a key of 16 bytes, 128 bits of it effective.
    Rc2With128Bits,
}

impl OldCipher {
    /// The length of a key in bytes.
    #[must_use]
    pub fn key_length(self) -> usize {
        match self {
            Self::Des => 8,
            Self::Rc2With40Bits => 5,
            Self::Rc2With128Bits => 16,
        }
    }

    /// Decrypts by CBC, with a vector of 8 bytes, and takes the padding off.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] or [`Error::ParameterInvalid`] for a key or vector of another length,
    /// [`Error::DataLength`] if `data` is empty or not whole blocks,
    /// [`Error::EncryptedDataInvalid`] if the padding is wrong.
    pub fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if key.len() != self.key_length() {
            return Err(Error::InvalidKey("the key has not the cipher's length"));
        }
        if iv.len() != BLOCK {
            return Err(Error::ParameterInvalid("the initialisation vector has 8 bytes"));
        }
        if data.is_empty() || !data.len().is_multiple_of(BLOCK) {
            return Err(Error::DataLength);
        }
        let context = Context::new(self.evp(), Direction::Decrypt)?;
        context.start(key, iv)?;
        // SAFETY: the context is valid.
        unsafe { EVP_CIPHER_CTX_set_padding(context.0.as_ptr(), c_int::from(true)) };
        let mut output = Zeroizing::new(vec![0; data.len() + BLOCK]);
        let written = context.update(&mut output, data, OUT_OF_MEMORY)?;
        let finished = context.finish(&mut output[written..], Error::EncryptedDataInvalid)?;
        output.truncate(written + finished);
        Ok(output)
    }

    fn evp(self) -> *const EVP_CIPHER {
        // SAFETY: these functions have no arguments and return the address of a constant.
        unsafe {
            match self {
                Self::Des => EVP_des_cbc(),
                Self::Rc2With40Bits => EVP_rc2_40_cbc(),
                Self::Rc2With128Bits => EVP_rc2_cbc(),
            }
        }
    }
}

fn at_least_one(iterations: u32, length: usize) -> Result<()> {
    if iterations == 0 || length == 0 {
        return Err(Error::ParameterInvalid("neither iterations nor length are zero"));
    }
    Ok(())
}

/// Bytes of a block of DES and RC2.
const BLOCK: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn pbkdf2_gives_the_keys_of_rfc_6070() {
        for (iterations, length, key) in [
            (1, 20, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
            (4096, 20, "4b007901b765489abead49d926f721d065a429c1"),
        ] {
            let found = pbkdf2(Hash::Sha1, b"password", b"salt", iterations, length).unwrap();
            assert_eq!(*found, hex(key));
        }
        assert!(pbkdf2(Hash::Sha1, b"", b"", 0, 1).is_err());
    }

    #[test]
    fn scrypt_gives_the_key_of_rfc_7914_and_keeps_to_its_memory() {
        let derive = |memory| scrypt(b"password", b"NaCl", (1024, 8, 16), memory, 64);
        assert_eq!(
            **derive(64 << 20).unwrap(),
            hex("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162\
                 2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640")
        );
        assert!(derive(1 << 16).is_err());
    }

    #[test]
    fn bytes_to_key_is_openssl_s() {
        // openssl enc -aes-256-cbc -md md5 -k password -S 0102030405060708 -P
        let key = bytes_to_key(Hash::Md5, b"password", &[1, 2, 3, 4, 5, 6, 7, 8], 1, 48).unwrap();
        let expected = hex("e7b0971e52ca5cc8d0539fb3412f6316f7ba2e6ee293d9f3457b99436b51ce02\
             8d450e2ed75a84a923d4eac9fe49226b");
        assert_eq!(*key, expected);
    }

    #[test]
    fn old_ciphers_decrypt_what_openssl_encrypted() {
        // echo -n "fifteen letters" | openssl enc -provider legacy -provider default -rc2-cbc
        //   -K 88bca90e90875a7f0f9c384627bafeb2 -iv 0102030405060708
        for (cipher, key, data) in [
            (
                OldCipher::Rc2With128Bits,
                "88bca90e90875a7f0f9c384627bafeb2",
                "f67ae9fe2ae4bdd1f7b51a7815477304",
            ),
            (OldCipher::Rc2With40Bits, "88bca90e90", "8d832465af78d9bf0355ba9cb325f44b"),
            (OldCipher::Des, "88bca90e90875a7f", "a63903af59780b53c24256b1acc4a761"),
        ] {
            let (mut key, iv, data) = (hex(key), hex("0102030405060708"), hex(data));
            assert_eq!(**cipher.decrypt(&key, &iv, &data).unwrap(), *b"fifteen letters");
            assert_eq!(cipher.decrypt(&key, &iv, &data[1..]).unwrap_err(), Error::DataLength);
            assert!(cipher.decrypt(&key[1..], &iv, &data).is_err());
            key[1] ^= 0x10;
            assert_ne!(
                cipher.decrypt(&key, &iv, &data).as_deref().ok().map(Vec::as_slice),
                Some(&b"fifteen letters"[..])
            );
        }
    }
}
