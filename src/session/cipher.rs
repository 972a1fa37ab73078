//! Encrypting and decrypting with RSA. What is public is done here.

use cryptoki_sys::*;
use keyward_token::key::{PrivateKey, PublicKey};
use keyward_token::mechanism::{EncryptionScheme, Parameter};
use keyward_wire::Decrypt;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::object::Known;
use crate::remote::{Remote, one, unexpected};
use crate::session::signature::{label, renewed};
use crate::slot::Slot;

/// RSA takes no more than the modulus is long; this is more than enough.
const LONGEST_INPUT: usize = 1 << 16;

/// An encryption or decryption under way.
#[derive(Debug)]
pub(crate) struct Cipher {
    handle: CK_OBJECT_HANDLE,
    key: Known,
    scheme: EncryptionScheme,
    input: Zeroizing<Vec<u8>>,
    /// The result, once it is there: the host's buffer may have been too short.
    output: Option<Zeroizing<Vec<u8>>>,
    /// Parts came in: what began so does not end in one call.
    pub(crate) in_parts: bool,
    /// The length of the key's modulus, in bytes.
    modulus: usize,
}

impl Cipher {
    /// Begins: `usage` is CKA_ENCRYPT or CKA_DECRYPT.
    pub(crate) fn new(
        handle: CK_OBJECT_HANDLE,
        key: Known,
        usage: CK_ATTRIBUTE_TYPE,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &Parameter,
    ) -> Result<Self> {
        let scheme = EncryptionScheme::new(mechanism, parameter)?;
        let class = if usage == CKA_ENCRYPT { CKO_PUBLIC_KEY } else { CKO_PRIVATE_KEY };
        if key.object.class() != class || key.object.key_type() != Some(CKK_RSA) {
            return Err(Error::new(
                CKR_KEY_TYPE_INCONSISTENT,
                "encryption takes an RSA public key, decryption an RSA private key",
            ));
        }
        key.object.permit(usage)?;
        let modulus = key.object.signature_length()?;
        let input = Zeroizing::default();
        Ok(Self { handle, key, scheme, input, output: None, in_parts: false, modulus })
    }

    /// The result is no longer than this when `more` bytes have come, in bytes.
    pub(crate) fn bound(&self, _more: usize) -> usize {
        self.output.as_ref().map_or(self.modulus, |output| output.len())
    }

    /// Whether the result is there already, and waits for a larger buffer.
    pub(crate) fn is_done(&self) -> bool {
        self.output.is_some()
    }

    /// Takes in a part of the data.
    pub(crate) fn add(&mut self, part: &[u8]) -> Result<()> {
        if self.input.len() + part.len() > LONGEST_INPUT {
            return Err(Error::new(CKR_DATA_LEN_RANGE, "more data than RSA takes"));
        }
        self.input.extend_from_slice(part);
        Ok(())
    }

    /// The ciphertext.
    pub(crate) fn encrypt(&mut self) -> Result<&[u8]> {
        if self.output.is_none() {
            let key = PublicKey::of(self.key.object.attributes())?;
            self.output = Some(key.encrypt(&self.scheme, &self.input)?.into());
        }
        Ok(self.output.as_deref().map_or(&[], Vec::as_slice))
    }

    /// The plaintext.
    pub(crate) fn decrypt(&mut self, slot: &Slot, remote: &Remote) -> Result<&[u8]> {
        if self.output.is_none() {
            self.output = Some(self.decrypt_once(slot, remote)?);
        }
        Ok(self.output.as_deref().map_or(&[], Vec::as_slice))
    }

    fn decrypt_once(&self, slot: &Slot, remote: &Remote) -> Result<Zeroizing<Vec<u8>>> {
        let Some(key) = self.key.reference() else {
            let key = PrivateKey::of(self.key.object.attributes())?;
            return Ok(key.decrypt(&self.scheme, &self.input)?);
        };
        let decrypt = Decrypt {
            key: Some(key),
            scheme: Some(self.scheme.clone().into()),
            input: self.input.to_vec(),
        };
        let answer = slot
            .ask(remote, Operation::Decrypt(decrypt))
            .map_err(|error| error.about(format_args!("key {}", label(&self.key))))?;
        let Answer::Plaintext(answer) = one(answer)? else {
            return Err(unexpected());
        };
        renewed(slot, self.handle, self.key.clone(), answer.sealed);
        Ok(answer.value.into())
    }
}
