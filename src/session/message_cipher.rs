//! Message-based encryption and decryption (sections 5.9 and 5.11): a key and a
//! mechanism are named once, and each message has a nonce and a tag of its own.
//!
//! Parts of a message are kept until its end: nothing is given away before the
//! tag was right, and GCM and CCM ask the service once.

use cryptoki_sys::*;
use keyward_token::mechanism::{self, Family, ModeName, Parameter};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::library::Library;
use crate::object::Known;
use crate::session::{Cipher, Session, Way};

/// A process of messages.
#[derive(Debug)]
pub(crate) struct CipherMessages {
    way: Way,
    handle: CK_OBJECT_HANDLE,
    mechanism: CK_MECHANISM_TYPE,
    /// GCM or CCM.
    mode: ModeName,
    /// The message that comes in parts, while it does.
    pub(crate) current: Option<CipherMessage>,
}

/// A message.
#[derive(Debug)]
pub(crate) struct CipherMessage {
    cipher: Cipher,
    /// Bytes.
    pub(crate) tag_length: usize,
    /// What has come so far, in bytes.
    length: usize,
}

/// What a host says of one message, free of pointers.
#[derive(Debug)]
pub(crate) struct MessageParameter {
    /// GCM's initialisation vector or CCM's nonce.
    pub(crate) nonce: Vec<u8>,
    /// How many of its first bits stay what they are when it is generated.
    pub(crate) fixed_bits: CK_ULONG,
    /// CKG_...
    pub(crate) generator: CK_GENERATOR_FUNCTION,
    pub(crate) tag_bits: CK_ULONG,
    /// CCM: how long the message will be, in bytes.
    pub(crate) data_length: Option<CK_ULONG>,
}

impl CipherMessages {
    /// Begins: what a first message would be refused for whatever it holds is
    /// refused now.
    pub(crate) fn new(
        way: Way,
        handle: CK_OBJECT_HANDLE,
        key: impl FnOnce() -> Result<Known>,
        number: CK_MECHANISM_TYPE,
    ) -> Result<Self> {
        let Family::Block { cipher, mode: mode @ (ModeName::Gcm | ModeName::Ccm) } =
            mechanism::find(number)?.family
        else {
            return Err(Error::new(
                CKR_MECHANISM_INVALID,
                format!("mechanism {number:#x} does not encrypt messages"),
            ));
        };
        let key = key()?;
        let fits = key.object.key_type().is_some_and(|key_type| cipher.takes(key_type));
        if key.object.class() != CKO_SECRET_KEY || !fits {
            return Err(Error::new(
                CKR_KEY_TYPE_INCONSISTENT,
                "the key is not of the mechanism's class and type",
            ));
        }
        key.object.permit(way.usage())?;
        Ok(Self { way, handle, mechanism: number, mode, current: None })
    }

    /// GCM or CCM.
    pub(crate) fn mode(&self) -> ModeName {
        self.mode
    }

    /// A new message with its associated data, and its nonce if that was made
    /// here. The key is looked up each time: it may be gone, or its sealed blob
    /// renewed.
    ///
    /// # Errors
    /// CKR_OPERATION_ACTIVE while another message comes in parts,
    /// CKR_MECHANISM_PARAM_INVALID.
    pub(crate) fn begin(
        &self,
        library: &Library,
        session: &Session,
        mut parameter: MessageParameter,
        associated: &[u8],
    ) -> Result<(CipherMessage, Option<Vec<u8>>)> {
        if self.current.is_some() {
            return Err(Error::new(CKR_OPERATION_ACTIVE, "a message in parts is not finished"));
        }
        let generated = match self.way {
            Way::Encrypt => parameter.generate(library)?,
            Way::Decrypt => false,
        };
        let known = session.slot.key(&library.remote, self.handle)?;
        let cipher_parameter = parameter.of(self.mode, associated);
        let cipher = Cipher::new(self.way, self.handle, known, self.mechanism, &cipher_parameter)?;
        let tag_length = parameter.tag_length();
        let message = CipherMessage { cipher, tag_length, length: 0 };
        Ok((message, generated.then_some(parameter.nonce)))
    }
}

impl CipherMessage {
    /// How long the result will be with `more` bytes, in bytes; the tag is apart.
    pub(crate) fn length(&self, more: usize) -> usize {
        self.length.saturating_add(more)
    }

    /// Takes a part in.
    ///
    /// # Errors
    /// CKR_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_LEN_RANGE.
    pub(crate) fn add(&mut self, part: &[u8]) -> Result<()> {
        self.cipher.add(part)?;
        self.length += part.len();
        Ok(())
    }

    /// The ciphertext and its tag.
    pub(crate) fn encrypt(
        mut self,
        library: &Library,
        session: &Session,
    ) -> Result<(Vec<u8>, Vec<u8>)> {
        let sealed = self.cipher.finish(&session.slot, &library.remote)?;
        let (text, tag) =
            sealed.split_at_checked(self.length).ok_or_else(crate::remote::unexpected)?;
        Ok((text.to_vec(), tag.to_vec()))
    }

    /// The plaintext, if the tag is right.
    ///
    /// # Errors
    /// CKR_AEAD_DECRYPT_FAILED.
    pub(crate) fn decrypt(
        mut self,
        library: &Library,
        session: &Session,
        tag: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        self.cipher.add(tag)?;
        match self.cipher.finish(&session.slot, &library.remote) {
            Ok(text) => Ok(text.to_vec().into()),
            Err(error) if error.rv == CKR_ENCRYPTED_DATA_INVALID => {
                Err(Error { rv: CKR_AEAD_DECRYPT_FAILED, ..error })
            }
            Err(error) => Err(error),
        }
    }
}

impl MessageParameter {
    /// The same as one parameter of a mechanism.
    pub(crate) fn of(&self, mode: ModeName, associated: &[u8]) -> Parameter {
        let (nonce, associated) = (self.nonce.clone(), associated.to_vec());
        match mode {
            ModeName::Ccm => Parameter::Ccm {
                data_length: self.data_length.unwrap_or(0),
                nonce,
                associated,
                mac_length: self.tag_bits / 8,
            },
            _ => Parameter::Gcm { iv: nonce, associated, tag_bits: self.tag_bits },
        }
    }

    /// Of the tag, in bytes.
    pub(crate) fn tag_length(&self) -> usize {
        usize::try_from(self.tag_bits / 8).unwrap_or(usize::MAX)
    }

    /// Fills in what the host leaves to the module; whether it did.
    pub(crate) fn generate(&mut self, library: &Library) -> Result<bool> {
        let invalid = |why: &'static str| Err(Error::new(CKR_MECHANISM_PARAM_INVALID, why));
        match self.generator {
            CKG_NO_GENERATE => return Ok(false),
            CKG_GENERATE | CKG_GENERATE_RANDOM => {}
            // It would start anew in every process and on every node, under the same key.
            _ => return invalid("nonces are generated at random, and not counted"),
        }
        let bits = 8 * self.nonce.len() as CK_ULONG;
        if bits.saturating_sub(self.fixed_bits) < LEAST_RANDOM_BITS {
            return invalid("a nonce needs 64 random bits at the least");
        }
        let mut random = vec![0; self.nonce.len()];
        library.random.fill(&mut random);
        for (at, (byte, random)) in self.nonce.iter_mut().zip(random).enumerate() {
            let fixed = self.fixed_bits.saturating_sub(8 * at as CK_ULONG).min(8);
            // The shift is by 8 at the most, and so 0 then.
            let mask = (0xff_u16 >> fixed) as u8;
            *byte = (*byte & !mask) | (random & mask);
        }
        Ok(true)
    }
}

const LEAST_RANDOM_BITS: CK_ULONG = 64;
