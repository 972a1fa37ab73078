//! Encrypting and decrypting. What is public is done here; what needs a key of
//! the service is done there, step by step: CBC and CTR carry on what the next
//! step starts from, and nothing is kept there between two.

use cryptoki_sys::*;
use keyward_crypto::block::Counter;
use keyward_token::key::{PrivateKey, PublicKey, SecretKey};
use keyward_token::mechanism::{BlockMode, EncryptionScheme, Parameter};
use keyward_wire::parts::INPUT_LIMIT;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{Decrypt, Encrypt, decrypt};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::object::Known;
use crate::remote::{Remote, unexpected, whole};
use crate::session::context::Context;
use crate::session::signature::{label, renewed};
use crate::slot::Slot;

/// What an RSA key encrypts or decrypts is shorter than this, in bytes.
const LONGEST_OF_RSA: usize = 1_000_000;

/// A step of CBC, CTR and ECB is no longer than this, in bytes: a multiple of
/// every block's length.
const STEP: usize = 512 << 10;

/// Encryption or decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Encrypt,
    Decrypt,
}

/// An encryption or decryption under way.
#[derive(Debug)]
pub(crate) struct Cipher {
    way: Way,
    handle: CK_OBJECT_HANDLE,
    key: Known,
    mechanism: CK_MECHANISM_TYPE,
    context: Context,
    /// Where it stands.
    scheme: EncryptionScheme,
    /// What has come and is not done yet.
    input: Zeroizing<Vec<u8>>,
    /// The end of the result, once it is there: the host's buffer may have been
    /// too short.
    output: Option<Zeroizing<Vec<u8>>>,
    /// Parts came in: what began so does not end in one call.
    pub(crate) in_parts: bool,
    /// The length of an RSA key's modulus, in bytes.
    modulus: usize,
    /// How many blocks CTR may still take, so that its counter does not
    /// overflow (AES with counter, CKM_AES_CTR).
    counter_room: Option<u128>,
}

impl Way {
    /// The attribute of a key that permits it.
    pub(crate) fn usage(self) -> CK_ATTRIBUTE_TYPE {
        match self {
            Self::Encrypt => CKA_ENCRYPT,
            Self::Decrypt => CKA_DECRYPT,
        }
    }
}

impl Cipher {
    pub(crate) fn new(
        way: Way,
        handle: CK_OBJECT_HANDLE,
        key: Known,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &Parameter,
    ) -> Result<Self> {
        let scheme = EncryptionScheme::new(mechanism, parameter)?;
        let class = match (&scheme, way) {
            (EncryptionScheme::Block { .. }, _) => CKO_SECRET_KEY,
            (_, Way::Encrypt) => CKO_PUBLIC_KEY,
            (_, Way::Decrypt) => CKO_PRIVATE_KEY,
        };
        let fits = key.object.key_type().is_some_and(|key_type| scheme.takes(key_type));
        if key.object.class() != class || !fits {
            return Err(Error::new(
                CKR_KEY_TYPE_INCONSISTENT,
                "the key is not of the mechanism's class and type",
            ));
        }
        key.object.permit(way.usage())?;
        let modulus = if class == CKO_SECRET_KEY { 0 } else { key.object.signature_length()? };
        let input = Zeroizing::default();
        let counter_room = match &scheme {
            EncryptionScheme::Block { mode: BlockMode::Ctr { counter }, .. } => Some(room(counter)),
            _ => None,
        };
        Ok(Self {
            way,
            handle,
            mechanism,
            context: Context::of(&key),
            key,
            scheme,
            input,
            output: None,
            in_parts: false,
            modulus,
            counter_room,
        })
    }

    /// Whether the PIN was given for it, and the key that asks.
    pub(super) fn context(&mut self) -> (&mut Context, Known) {
        (&mut self.context, self.key.clone())
    }

    /// Whether the result is there already, and waits for a larger buffer.
    pub(crate) fn is_done(&self) -> bool {
        self.output.is_some()
    }

    /// The end of the result is no longer than this when `more` bytes have come,
    /// in bytes.
    pub(crate) fn bound(&self, more: usize) -> usize {
        if let Some(output) = &self.output {
            return output.len();
        }
        let total = self.input.len().saturating_add(more);
        let EncryptionScheme::Block { cipher, mode } = &self.scheme else {
            return self.modulus;
        };
        match (mode, self.way) {
            (BlockMode::CbcPad { .. }, Way::Encrypt) => {
                let block = cipher.block_length();
                (total / block).saturating_add(1).saturating_mul(block)
            }
            (
                BlockMode::Gcm { tag_length, .. } | BlockMode::Ccm { tag_length, .. },
                Way::Encrypt,
            ) => total.saturating_add(*tag_length as usize),
            (
                BlockMode::Gcm { tag_length, .. } | BlockMode::Ccm { tag_length, .. },
                Way::Decrypt,
            ) => total.saturating_sub(*tag_length as usize),
            _ => total,
        }
    }

    /// Whether `more` bytes may come.
    ///
    /// # Errors
    /// CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_LEN_RANGE.
    pub(crate) fn may_take(&self, more: usize) -> Result<()> {
        let EncryptionScheme::Block { cipher, .. } = &self.scheme else { return Ok(()) };
        let blocks = self.input.len().saturating_add(more).div_ceil(cipher.block_length());
        if self.counter_room.is_some_and(|room| blocks as u128 > room) {
            return Err(Error::new(self.length_range(), "the counter would overflow"));
        }
        Ok(())
    }

    /// Whether the data can end when `more` bytes have come.
    ///
    /// # Errors
    /// CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_LEN_RANGE.
    pub(crate) fn may_end(&self, more: usize) -> Result<()> {
        self.may_take(more)?;
        let EncryptionScheme::Block { cipher, mode } = &self.scheme else { return Ok(()) };
        let total = self.input.len().saturating_add(more);
        let whole = total.is_multiple_of(cipher.block_length());
        match (mode, self.way) {
            (BlockMode::Ecb | BlockMode::Cbc { .. }, _)
            | (BlockMode::CbcPad { .. }, Way::Decrypt)
                if !whole && self.output.is_none() =>
            {
                Err(Error::new(self.length_range(), "the data does not consist of whole blocks"))
            }
            _ => Ok(()),
        }
    }

    /// What data of a wrong length is answered with.
    fn length_range(&self) -> CK_RV {
        match self.way {
            Way::Encrypt => CKR_DATA_LEN_RANGE,
            Way::Decrypt => CKR_ENCRYPTED_DATA_LEN_RANGE,
        }
    }

    /// How much the next part of this length gives, in bytes.
    pub(crate) fn gives(&self, part: usize) -> usize {
        let total = self.input.len().saturating_add(part);
        let EncryptionScheme::Block { cipher, mode } = &self.scheme else { return 0 };
        let block = cipher.block_length();
        match (mode, self.way) {
            (BlockMode::Gcm { .. } | BlockMode::Ccm { .. }, _) => 0,
            // The last block may hold padding, and is kept until the end.
            (BlockMode::CbcPad { .. }, Way::Decrypt) => total.saturating_sub(1) / block * block,
            _ => total / block * block,
        }
    }

    /// Takes in all of the data, or the end of it.
    ///
    /// # Errors
    /// CKR_DATA_LEN_RANGE and CKR_ENCRYPTED_DATA_LEN_RANGE if it is more than
    /// the mechanism or a frame takes.
    pub(crate) fn add(&mut self, part: &[u8]) -> Result<()> {
        if !self.in_steps() && part.len() > self.most().saturating_sub(self.input.len()) {
            let rv = self.length_range();
            return Err(Error::new(rv, "more data than the mechanism takes in one operation"));
        }
        self.input.extend_from_slice(part);
        Ok(())
    }

    /// Takes a part in and gives what can be given.
    pub(crate) fn update(
        &mut self,
        slot: &Slot,
        remote: &Remote,
        part: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.context.proof()?;
        let ready = self.gives(part.len());
        self.add(part)?;
        self.in_parts = true;
        self.steps(slot, remote, ready)
    }

    /// The end of the result.
    pub(crate) fn finish(&mut self, slot: &Slot, remote: &Remote) -> Result<&[u8]> {
        if self.output.is_none() {
            let mut output = Zeroizing::new(Vec::new());
            if self.in_steps() {
                output = self.steps(slot, remote, self.gives(0))?;
            }
            // Padding is made or taken off at the end, and every scheme that does
            // not work in steps works then.
            let padded = matches!(
                self.scheme,
                EncryptionScheme::Block { mode: BlockMode::CbcPad { .. }, .. }
            );
            if !self.in_steps() || padded || !self.input.is_empty() {
                let input = std::mem::take(&mut self.input);
                let scheme = self.scheme.clone();
                let end = self.once(slot, remote, scheme, input)?;
                if output.is_empty() {
                    output = end;
                } else {
                    output.extend_from_slice(&end);
                }
            }
            self.output = Some(output);
        }
        Ok(self.output.as_deref().map_or(&[], Vec::as_slice))
    }

    /// What is not done in steps has at most this many bytes.
    fn most(&self) -> usize {
        let EncryptionScheme::Block { mode, .. } = &self.scheme else { return LONGEST_OF_RSA };
        match (mode, self.way) {
            (
                BlockMode::Gcm { tag_length, .. } | BlockMode::Ccm { tag_length, .. },
                Way::Decrypt,
            ) => INPUT_LIMIT + *tag_length as usize,
            _ => INPUT_LIMIT,
        }
    }

    fn in_steps(&self) -> bool {
        matches!(
            self.scheme,
            EncryptionScheme::Block {
                mode: BlockMode::Ecb
                    | BlockMode::Cbc { .. }
                    | BlockMode::CbcPad { .. }
                    | BlockMode::Ctr { .. }
                    | BlockMode::Feedback { .. },
                ..
            }
        )
    }

    /// Does the first `length` bytes of the input, whole blocks, and moves on.
    fn steps(&mut self, slot: &Slot, remote: &Remote, length: usize) -> Result<Zeroizing<Vec<u8>>> {
        let mut output = Zeroizing::new(Vec::with_capacity(length));
        let rest = Zeroizing::new(self.input.split_off(length));
        let input = std::mem::replace(&mut self.input, rest);
        for step in input.chunks(STEP) {
            let EncryptionScheme::Block { cipher, mode } = self.scheme.clone() else {
                return Err(unexpected());
            };
            // Padding is for the end.
            let mode = match mode {
                BlockMode::CbcPad { chain } => BlockMode::Cbc { chain },
                mode => mode,
            };
            let done = self.once(
                slot,
                remote,
                EncryptionScheme::Block { cipher, mode },
                step.to_vec().into(),
            )?;
            if done.len() != step.len() {
                return Err(unexpected());
            }
            let (plain, encrypted) = match self.way {
                Way::Encrypt => (step, done.as_slice()),
                Way::Decrypt => (done.as_slice(), step),
            };
            self.move_on(plain, encrypted, cipher.block_length())?;
            output.extend_from_slice(&done);
        }
        Ok(output)
    }

    /// What the next step starts from.
    fn move_on(&mut self, plain: &[u8], encrypted: &[u8], block: usize) -> Result<()> {
        let EncryptionScheme::Block { mode, .. } = &mut self.scheme else { return Ok(()) };
        match mode {
            BlockMode::Cbc { chain } | BlockMode::CbcPad { chain } => {
                *chain = encrypted[encrypted.len().saturating_sub(block)..].to_vec();
            }
            BlockMode::Feedback { feedback, chain } => {
                *chain = feedback.next(chain, plain, encrypted);
            }
            BlockMode::Ctr { counter } => {
                let blocks = encrypted.len().div_ceil(block) as u128;
                *counter = after(counter, blocks)?;
                self.counter_room = self.counter_room.map(|room| room.saturating_sub(blocks));
            }
            BlockMode::Ecb | BlockMode::Gcm { .. } | BlockMode::Ccm { .. } => {}
        }
        Ok(())
    }

    /// One piece of work with the key.
    fn once(
        &mut self,
        slot: &Slot,
        remote: &Remote,
        scheme: EncryptionScheme,
        mut input: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let authentication = self.context.proof()?;
        let mechanism = Some(self.mechanism);
        let block = matches!(scheme, EncryptionScheme::Block { .. });
        let attributes = self.key.object.attributes();
        let key = match (self.way, self.key.reference()) {
            (Way::Encrypt, _) if !block => {
                return Ok(PublicKey::of(attributes)?.encrypt(&scheme, &input)?.into());
            }
            (Way::Decrypt, None) if !block => {
                return Ok(PrivateKey::of(attributes)?.decrypt(&scheme, &input)?);
            }
            (Way::Encrypt, None) => {
                return Ok(SecretKey::of(attributes)?.encrypt(&scheme, &input)?.into());
            }
            (Way::Decrypt, None) => {
                return Ok(SecretKey::of(attributes)?.decrypt(&scheme, &input)?);
            }
            (_, Some(key)) => key,
        };
        // Wiped when it was sent.
        let input = std::mem::take(&mut *input);
        let operation = match (self.way, decrypt::Scheme::from(scheme)) {
            (Way::Encrypt, decrypt::Scheme::Block(block)) => {
                Operation::Encrypt(Encrypt { key: Some(key), block: Some(block), input, mechanism })
            }
            (_, scheme) => Operation::Decrypt(Decrypt {
                key: Some(key),
                scheme: Some(scheme),
                input,
                mechanism,
                authentication,
            }),
        };
        let answer = slot
            .ask(remote, operation)
            .map_err(|error| error.about(format_args!("key {}", label(&self.key))))?;
        let way = self.way;
        let bytes = whole(answer, |piece| match (way, piece) {
            (Way::Encrypt, Answer::Ciphertext(bytes)) => Some(bytes),
            (Way::Decrypt, Answer::Plaintext(bytes)) => Some(bytes),
            _ => None,
        })?;
        self.key = renewed(slot, self.handle, self.key.clone(), bytes.sealed);
        Ok(bytes.value.into())
    }
}

/// How many blocks a counter counts before it overflows.
fn room(counter: &Counter) -> u128 {
    let mask = u128::MAX >> (u128::BITS - counter.bits());
    (mask - (u128::from_be_bytes(counter.block()) & mask)).saturating_add(1)
}

/// The counter some blocks later.
fn after(counter: &Counter, blocks: u128) -> Result<Counter> {
    let mask = u128::MAX >> (u128::BITS - counter.bits());
    let block = u128::from_be_bytes(counter.block());
    let moved = (block & !mask) | (block.wrapping_add(blocks) & mask);
    Counter::new(moved.to_be_bytes(), counter.bits())
        .map_err(|error| keyward_token::key::from_crypto(error).into())
}
