//! AES, Triple DES and DES in the modes that only keep secret: ECB, CBC, CTR, OFB and CFB. Who needs to know that
//! nothing was changed takes [`gcm`](crate::gcm) or [`ccm`](crate::ccm).
//!
//! CBC and CTR work in steps: the chaining value or counter is the caller's, is moved on by each
//! call, and may travel to another machine between two calls.

use std::ffi::c_int;
use std::fmt;
use std::ptr;

use aws_lc_sys::{
    EVP_CIPHER, EVP_CIPHER_CTX, EVP_CIPHER_CTX_new, EVP_CIPHER_CTX_set_padding, EVP_CipherFinal_ex,
    EVP_CipherInit_ex, EVP_CipherUpdate, EVP_aes_128_cbc, EVP_aes_128_cfb1, EVP_aes_128_cfb8,
    EVP_aes_128_cfb128, EVP_aes_128_ctr, EVP_aes_128_ecb, EVP_aes_128_ofb, EVP_aes_192_cbc,
    EVP_aes_192_cfb1, EVP_aes_192_cfb8, EVP_aes_192_cfb128, EVP_aes_192_ctr, EVP_aes_192_ecb,
    EVP_aes_192_ofb, EVP_aes_256_cbc, EVP_aes_256_cfb1, EVP_aes_256_cfb8, EVP_aes_256_cfb128,
    EVP_aes_256_ctr, EVP_aes_256_ecb, EVP_aes_256_ofb, EVP_des_cbc, EVP_des_ecb, EVP_des_ede3_cbc,
    EVP_des_ede3_ecb,
};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ffi::{OUT_OF_MEMORY, Owned, check};

/// A key of a block cipher.
#[derive(Clone)]
pub struct BlockKey {
    cipher: Cipher,
    /// As long as the cipher's keys.
    bytes: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
    Des,
}

/// Which way a cipher goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Direction {
    Encrypt,
    Decrypt,
}

impl BlockKey {
    /// An AES key of 16, 24 or 32 bytes (FIPS 197).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn aes(key: &[u8]) -> Result<Self> {
        let cipher = match key.len() {
            16 => Cipher::Aes128,
            24 => Cipher::Aes192,
            32 => Cipher::Aes256,
            _ => return Err(Error::InvalidKey("an AES key has 16, 24 or 32 bytes")),
        };
        Ok(Self { cipher, bytes: Zeroizing::new(key.to_vec()) })
    }

    /// A Triple DES key of three DES keys, 24 bytes, or of two, 16 bytes, the first of which is
    /// the third too (NIST SP 800-67). The parity bits do not matter.
    ///
    /// For old programs only: NIST disallows the cipher since 2024.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn triple_des(key: &[u8]) -> Result<Self> {
        let mut bytes = Zeroizing::new(key.to_vec());
        match key.len() {
            16 => bytes.extend_from_slice(&key[..8]),
            24 => {}
            _ => return Err(Error::InvalidKey("a Triple DES key has 16 or 24 bytes")),
        }
        Ok(Self { cipher: Cipher::TripleDes, bytes })
    }

    /// A DES key of 8 bytes (FIPS 46-3). The parity bits do not matter.
    ///
    /// For old programs only: 56 bits are found by trying them all.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] for any other length.
    pub fn des(key: &[u8]) -> Result<Self> {
        if key.len() != 8 {
            return Err(Error::InvalidKey("a DES key has 8 bytes"));
        }
        Ok(Self { cipher: Cipher::Des, bytes: Zeroizing::new(key.to_vec()) })
    }

    /// The length of the cipher's blocks in bytes: 16, or 8 for Triple DES and DES.
    #[must_use]
    pub fn block_length(&self) -> usize {
        match self.cipher {
            Cipher::TripleDes | Cipher::Des => 8,
            Cipher::Aes128 | Cipher::Aes192 | Cipher::Aes256 => 16,
        }
    }

    pub(crate) fn is_aes(&self) -> bool {
        !matches!(self.cipher, Cipher::TripleDes | Cipher::Des)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// AWS-LC's description of the cipher in this mode: a constant that lives as long as the
    /// process. CTR and the modes with feedback are AES's only; the others then have CBC.
    pub(crate) fn evp(&self, mode: Mode) -> *const EVP_CIPHER {
        // SAFETY: these functions have no arguments and return the address of a constant.
        unsafe {
            match (self.cipher, mode) {
                (Cipher::Aes128, Mode::Ecb) => EVP_aes_128_ecb(),
                (Cipher::Aes128, Mode::Cbc) => EVP_aes_128_cbc(),
                (Cipher::Aes128, Mode::Ctr) => EVP_aes_128_ctr(),
                (Cipher::Aes192, Mode::Ecb) => EVP_aes_192_ecb(),
                (Cipher::Aes192, Mode::Cbc) => EVP_aes_192_cbc(),
                (Cipher::Aes192, Mode::Ctr) => EVP_aes_192_ctr(),
                (Cipher::Aes256, Mode::Ecb) => EVP_aes_256_ecb(),
                (Cipher::Aes256, Mode::Cbc) => EVP_aes_256_cbc(),
                (Cipher::Aes256, Mode::Ctr) => EVP_aes_256_ctr(),
                (Cipher::Aes128, Mode::Feedback(Feedback::Ofb)) => EVP_aes_128_ofb(),
                (Cipher::Aes128, Mode::Feedback(Feedback::Cfb1)) => EVP_aes_128_cfb1(),
                (Cipher::Aes128, Mode::Feedback(Feedback::Cfb8)) => EVP_aes_128_cfb8(),
                (Cipher::Aes128, Mode::Feedback(Feedback::Cfb128)) => EVP_aes_128_cfb128(),
                (Cipher::Aes192, Mode::Feedback(Feedback::Ofb)) => EVP_aes_192_ofb(),
                (Cipher::Aes192, Mode::Feedback(Feedback::Cfb1)) => EVP_aes_192_cfb1(),
                (Cipher::Aes192, Mode::Feedback(Feedback::Cfb8)) => EVP_aes_192_cfb8(),
                (Cipher::Aes192, Mode::Feedback(Feedback::Cfb128)) => EVP_aes_192_cfb128(),
                (Cipher::Aes256, Mode::Feedback(Feedback::Ofb)) => EVP_aes_256_ofb(),
                (Cipher::Aes256, Mode::Feedback(Feedback::Cfb1)) => EVP_aes_256_cfb1(),
                (Cipher::Aes256, Mode::Feedback(Feedback::Cfb8)) => EVP_aes_256_cfb8(),
                (Cipher::Aes256, Mode::Feedback(Feedback::Cfb128)) => EVP_aes_256_cfb128(),
                (Cipher::TripleDes, Mode::Ecb) => EVP_des_ede3_ecb(),
                (Cipher::TripleDes, _) => EVP_des_ede3_cbc(),
                (Cipher::Des, Mode::Ecb) => EVP_des_ecb(),
                (Cipher::Des, _) => EVP_des_cbc(),
            }
        }
    }

    /// Encrypts or decrypts whole blocks, each for itself (NIST SP 800-38A section 6.1).
    ///
    /// # Errors
    ///
    /// [`Error::DataLength`] if `data` is not whole blocks.
    pub fn ecb(&self, direction: Direction, data: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.whole_blocks(data)?;
        self.run(Mode::Ecb, direction, &[], false, data, INTERNAL)
    }

    /// Encrypts or decrypts whole blocks by CBC (NIST SP 800-38A section 6.2) and leaves in
    /// `chain`, which is one block long and starts as the initialisation vector, what the next
    /// block needs.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] if `chain` is not one block, [`Error::DataLength`] if `data` is
    /// not whole blocks.
    pub fn cbc(
        &self,
        direction: Direction,
        chain: &mut [u8],
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.one_block(chain)?;
        self.whole_blocks(data)?;
        let output = self.run(Mode::Cbc, direction, chain, false, data, INTERNAL)?;
        let ciphertext = match direction {
            Direction::Encrypt => &output,
            Direction::Decrypt => data,
        };
        if let Some(start) = ciphertext.len().checked_sub(chain.len()) {
            chain.copy_from_slice(&ciphertext[start..]);
        }
        Ok(output)
    }

    /// Pads `data` (RFC 5652 section 6.3) and encrypts it by CBC: the end of a text, or all of it.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] if `chain` is not one block.
    pub fn cbc_pad_encrypt(&self, chain: &[u8], data: &[u8]) -> Result<Vec<u8>> {
        self.one_block(chain)?;
        self.run(Mode::Cbc, Direction::Encrypt, chain, true, data, INTERNAL)
            .map(|mut output| std::mem::take(&mut *output))
    }

    /// Decrypts by CBC and takes the padding off: the end of a text, or all of it.
    ///
    /// Whoever can ask this for chosen ciphertexts and learn whether it succeeded can decrypt
    /// without the key (Vaudenay 2002); that lies in the scheme.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] if `chain` is not one block, [`Error::DataLength`] if `data` is
    /// empty or not whole blocks, [`Error::EncryptedDataInvalid`] if the padding is wrong.
    pub fn cbc_pad_decrypt(&self, chain: &[u8], data: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.one_block(chain)?;
        self.whole_blocks(data)?;
        if data.is_empty() {
            return Err(Error::DataLength);
        }
        self.run(Mode::Cbc, Direction::Decrypt, chain, true, data, Error::EncryptedDataInvalid)
    }

    /// Encrypts or decrypts, which is the same, by AES in counter mode (NIST SP 800-38A section
    /// 6.5), and moves `counter` on.
    ///
    /// A call starts at a block's start: all calls but the last get whole blocks, or the rest of
    /// the last block of key stream is lost.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] unless it is an AES key, [`Error::DataLength`] if a counter value would be used
    /// twice.
    pub fn ctr(&self, counter: &mut Counter, data: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if !self.is_aes() {
            return Err(Error::InvalidKey("counter mode takes an AES key"));
        }
        let needed = data.len().div_ceil(BLOCK) as u128;
        if needed > counter.left {
            return Err(Error::DataLength);
        }
        let mut output = Zeroizing::new(Vec::with_capacity(data.len()));
        let mut rest = data;
        while !rest.is_empty() {
            // AWS-LC counts in all 128 bits: up to where the narrower counter turns over it does
            // the same.
            let run = counter.until_wrap().min(rest.len().div_ceil(BLOCK) as u128);
            let length = rest.len().min(usize::try_from(run).map_or(usize::MAX, bytes_of));
            let (now, later) = rest.split_at(length);
            let block = counter.block();
            output.extend_from_slice(&self.run(
                Mode::Ctr,
                Direction::Encrypt,
                &block,
                false,
                now,
                INTERNAL,
            )?);
            counter.advance(run);
            rest = later;
        }
        Ok(output)
    }

    /// Encrypts or decrypts by AES in a mode that makes a stream of it (NIST SP 800-38A sections 6.3
    /// and 6.4), and leaves in `chain`, which is one block long and starts as the initialisation
    /// vector, what the next call needs.
    ///
    /// All calls but the last get whole blocks.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] unless it is an AES key, [`Error::ParameterInvalid`] if `chain` is not
    /// one block.
    pub fn feedback(
        &self,
        feedback: Feedback,
        direction: Direction,
        chain: &mut Vec<u8>,
        data: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        if !self.is_aes() {
            return Err(Error::InvalidKey("modes with feedback take an AES key"));
        }
        self.one_block(chain)?;
        let output = self.run(Mode::Feedback(feedback), direction, chain, false, data, INTERNAL)?;
        *chain = match direction {
            Direction::Encrypt => feedback.next(chain, data, &output),
            Direction::Decrypt => feedback.next(chain, &output, data),
        };
        Ok(output)
    }

    fn one_block(&self, chain: &[u8]) -> Result<()> {
        if chain.len() == self.block_length() {
            return Ok(());
        }
        Err(Error::ParameterInvalid("the initialisation vector is not as long as a block"))
    }

    fn whole_blocks(&self, data: &[u8]) -> Result<()> {
        if data.len().is_multiple_of(self.block_length()) { Ok(()) } else { Err(Error::DataLength) }
    }

    fn run(
        &self,
        mode: Mode,
        direction: Direction,
        iv: &[u8],
        padding: bool,
        data: &[u8],
        error: Error,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let context = Context::new(self.evp(mode), direction)?;
        context.start(&self.bytes, iv)?;
        // SAFETY: the context is valid.
        unsafe { EVP_CIPHER_CTX_set_padding(context.0.as_ptr(), c_int::from(padding)) };
        let mut output = Zeroizing::new(vec![0; data.len() + self.block_length()]);
        let written = context.update(&mut output, data, INTERNAL)?;
        let finished = context.finish(&mut output[written..], error)?;
        output.truncate(written + finished);
        Ok(output)
    }
}

/// A mode that feeds back what it made: output, or so many bits of ciphertext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are the standard's own")]
pub enum Feedback {
    Ofb,
    Cfb1,
    Cfb8,
    Cfb128,
}

impl Feedback {
    /// What the next step starts from, after whole blocks; `chain` is what this one started from.
    #[must_use]
    pub fn next(self, chain: &[u8], plaintext: &[u8], ciphertext: &[u8]) -> Vec<u8> {
        let Some(start) = ciphertext.len().checked_sub(chain.len()) else { return chain.to_vec() };
        let last = &ciphertext[start..];
        match self {
            // The key stream, which is what the two differ in.
            Self::Ofb => last.iter().zip(&plaintext[start..]).map(|(one, two)| one ^ two).collect(),
            Self::Cfb1 | Self::Cfb8 | Self::Cfb128 => last.to_vec(),
        }
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockKey").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

/// The counter of CTR: a block of which the last bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    block: u128,
    /// 1 to 128.
    bits: u32,
    /// Blocks until the counter's first value comes again.
    left: u128,
}

impl Counter {
    /// A counter that starts at `block`, of which the last `bits`, 1 to 128, count; when they
    /// overflow they go on from zero.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterInvalid`] for any other number of bits.
    pub fn new(block: [u8; BLOCK], bits: u32) -> Result<Self> {
        let left = match bits {
            1..=127 => 1 << bits,
            128 => u128::MAX,
            _ => return Err(Error::ParameterInvalid("a counter has 1 to 128 bits")),
        };
        Ok(Self { block: u128::from_be_bytes(block), bits, left })
    }

    /// The block that comes next.
    #[must_use]
    pub fn block(&self) -> [u8; BLOCK] {
        self.block.to_be_bytes()
    }

    /// How many of the last bits count, 1 to 128.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.bits
    }

    fn mask(&self) -> u128 {
        u128::MAX >> (u128::BITS - self.bits)
    }

    /// Blocks until the counting bits turn over, at least 1.
    fn until_wrap(&self) -> u128 {
        (self.mask() - (self.block & self.mask())).saturating_add(1)
    }

    /// Moves on by `blocks`, at most `left`.
    fn advance(&mut self, blocks: u128) {
        let counted = self.block.wrapping_add(blocks) & self.mask();
        self.block = (self.block & !self.mask()) | counted;
        self.left -= blocks;
    }
}

/// A cipher at work.
pub(crate) struct Context(pub(crate) Owned<EVP_CIPHER_CTX>);

impl Context {
    /// Chooses cipher and direction; key and vector come with [`start`](Self::start).
    pub(crate) fn new(cipher: *const EVP_CIPHER, direction: Direction) -> Result<Self> {
        // SAFETY: a constructor without arguments; the caller owns the result.
        let context = unsafe { Owned::new(EVP_CIPHER_CTX_new(), OUT_OF_MEMORY) }?;
        let encrypt = c_int::from(direction == Direction::Encrypt);
        // SAFETY: the context is valid, the cipher is a constant; null: no ENGINE, no key yet, no
        // vector yet.
        let returned = unsafe {
            EVP_CipherInit_ex(
                context.as_ptr(),
                cipher,
                ptr::null_mut(),
                ptr::null(),
                ptr::null(),
                encrypt,
            )
        };
        check(returned, OUT_OF_MEMORY)?;
        Ok(Self(context))
    }

    /// `key` and `iv` have the lengths that the cipher was told to expect.
    pub(crate) fn start(&self, key: &[u8], iv: &[u8]) -> Result<()> {
        const AS_BEFORE: c_int = -1;

        // SAFETY: the context is valid, and so are key and vector for the lengths that the cipher
        // reads; null: cipher and ENGINE stay.
        let returned = unsafe {
            EVP_CipherInit_ex(
                self.0.as_ptr(),
                ptr::null(),
                ptr::null_mut(),
                key.as_ptr(),
                iv.as_ptr(),
                AS_BEFORE,
            )
        };
        check(returned, OUT_OF_MEMORY)
    }

    /// `output` has room for `data` and a block. Returns how much was written.
    pub(crate) fn update(&self, output: &mut [u8], data: &[u8], error: Error) -> Result<usize> {
        self.feed(output.as_mut_ptr(), data.as_ptr(), data.len(), error)
    }

    /// Authenticated data that is not encrypted.
    pub(crate) fn associated(&self, data: &[u8], error: Error) -> Result<()> {
        self.feed(ptr::null_mut(), data.as_ptr(), data.len(), error).map(|_| ())
    }

    /// How long the text will be, which CCM has to know first.
    pub(crate) fn announce(&self, length: usize, error: Error) -> Result<()> {
        self.feed(ptr::null_mut(), ptr::null(), length, error).map(|_| ())
    }

    fn feed(
        &self,
        output: *mut u8,
        input: *const u8,
        length: usize,
        error: Error,
    ) -> Result<usize> {
        let length = c_int::try_from(length).map_err(|_| Error::DataLength)?;
        let mut written: c_int = 0;
        // SAFETY: the context is started; the three callers above pass a valid input or, with a
        // length only, none; and an output with room for it, or none.
        let returned =
            unsafe { EVP_CipherUpdate(self.0.as_ptr(), output, &mut written, input, length) };
        check(returned, error)?;
        // Never negative when the call succeeded.
        Ok(usize::try_from(written).unwrap_or(0))
    }

    /// `output` has room for a block. Returns how much was written.
    pub(crate) fn finish(&self, output: &mut [u8], error: Error) -> Result<usize> {
        let mut written: c_int = 0;
        // SAFETY: the context is started, and the output has room for a block.
        let returned =
            unsafe { EVP_CipherFinal_ex(self.0.as_ptr(), output.as_mut_ptr(), &mut written) };
        check(returned, error)?;
        Ok(usize::try_from(written).unwrap_or(0))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Ecb,
    Cbc,
    Ctr,
    Feedback(Feedback),
}

fn bytes_of(blocks: usize) -> usize {
    blocks.saturating_mul(BLOCK)
}

/// Bytes of an AES block.
const BLOCK: usize = 16;

const INTERNAL: Error = Error::Internal("a block cipher failed");
