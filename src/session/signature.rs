//! Signing and verifying. The digest is made here; what goes to the service is
//! the digest, and only for a key that is there.

use cryptoki_sys::*;
use keyward_token::key::{Message, PrivateKey, PublicKey, SecretKey};
use keyward_token::mechanism::{Parameter, SignatureScheme, Signing};
use keyward_wire::parts::INPUT_LIMIT;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{Sign, Verify};

use crate::error::{Error, Result};
use crate::object::{Known, Place};
use crate::remote::{Remote, one, unexpected};
use crate::session::context::Context;
use crate::slot::Slot;

/// What an asymmetric key signs that digests nothing itself is shorter than this,
/// in bytes.
const LONGEST_AS_IT_IS: usize = 1_000_000;

/// A signature under way.
#[derive(Debug)]
pub(crate) struct Signature {
    handle: CK_OBJECT_HANDLE,
    key: Known,
    mechanism: CK_MECHANISM_TYPE,
    scheme: SignatureScheme,
    context: Context,
    /// The signature is to give the data back: C_SignRecover.
    recoverable: bool,
    message: Message,
    /// Parts came in: what began so does not end in one call (section 5.13.2).
    pub(crate) in_parts: bool,
    /// How long the signature will be, in bytes.
    pub(crate) length: usize,
}

/// A verification under way.
#[derive(Debug)]
pub(crate) struct Verification {
    verifier: Verifier,
    mechanism: CK_MECHANISM_TYPE,
    scheme: SignatureScheme,
    message: Message,
    /// As in [`Signature`].
    pub(crate) in_parts: bool,
}

/// Who verifies: the module, or the service with a secret key that is there.
#[derive(Debug)]
enum Verifier {
    Public(PublicKey),
    Secret(CK_OBJECT_HANDLE, Known),
}

/// A verification whose signature was there first: C_VerifySignatureInit.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) verification: Verification,
    pub(crate) signature: Vec<u8>,
}

impl Signature {
    /// Begins: `usage` is CKA_SIGN or CKA_SIGN_RECOVER.
    pub(crate) fn new(
        handle: CK_OBJECT_HANDLE,
        key: Known,
        usage: CK_ATTRIBUTE_TYPE,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &Parameter,
    ) -> Result<Self> {
        let recoverable = usage == CKA_SIGN_RECOVER;
        let signing = if recoverable {
            Signing::recoverable(mechanism, parameter)?
        } else {
            Signing::new(mechanism, parameter)?
        };
        if signing.scheme.is_symmetric() {
            must_be_secret(&key)?;
        } else if key.object.class() != CKO_PRIVATE_KEY {
            return Err(Error::new(CKR_KEY_TYPE_INCONSISTENT, "signing takes a private key"));
        }
        check_type(&key, &signing)?;
        key.object.permit(usage)?;
        let length = match code_length(&signing.scheme) {
            Some(length) => length,
            None => key.object.signature_length()?,
        };
        let public = || PublicKey::of(key.object.attributes());
        let message = Message::new(&signing.preparation, public, most(&signing.scheme))?;
        Ok(Self {
            handle,
            mechanism,
            scheme: signing.scheme,
            context: Context::of(&key),
            key,
            recoverable,
            message,
            in_parts: false,
            length,
        })
    }

    /// Whether the PIN was given for it, and the key that asks.
    pub(super) fn context(&mut self) -> (&mut Context, Known) {
        (&mut self.context, self.key.clone())
    }

    /// Takes a part in.
    ///
    /// # Errors
    /// CKR_USER_NOT_LOGGED_IN if the key asks for the PIN, which was not given.
    pub(crate) fn update(&mut self, part: &[u8]) -> Result<()> {
        self.context.proof()?;
        Ok(self.message.update(part)?)
    }

    pub(crate) fn finish(self, slot: &Slot, remote: &Remote) -> Result<Vec<u8>> {
        let authentication = self.context.proof()?;
        let mut input = self.message.finish()?;
        let Some(key) = self.key.reference() else {
            let attributes = self.key.object.attributes();
            if self.scheme.is_symmetric() {
                return Ok(SecretKey::of(attributes)?.sign(&self.scheme, &input)?);
            }
            return Ok(PrivateKey::of(attributes)?.sign(&self.scheme, &input)?);
        };
        let sign = Sign {
            key: Some(key),
            scheme: Some(self.scheme.into()),
            recoverable: self.recoverable,
            input: std::mem::take(&mut *input),
            mechanism: Some(self.mechanism),
            authentication,
        };
        let answer = slot
            .ask(remote, Operation::Sign(sign))
            .map_err(|error| error.about(format_args!("key {}", label(&self.key))))?;
        let Answer::Signature(answer) = one(answer)? else {
            return Err(unexpected());
        };
        if answer.value.len() != self.length {
            return Err(unexpected());
        }
        renewed(slot, self.handle, self.key, answer.sealed);
        Ok(answer.value)
    }
}

impl Verification {
    pub(crate) fn new(
        handle: CK_OBJECT_HANDLE,
        key: &Known,
        mechanism: CK_MECHANISM_TYPE,
        parameter: &Parameter,
    ) -> Result<Self> {
        let signing = Signing::new(mechanism, parameter)?;
        if signing.scheme.is_symmetric() {
            must_be_secret(key)?;
        } else if key.object.class() != CKO_PUBLIC_KEY {
            return Err(Error::new(CKR_KEY_TYPE_INCONSISTENT, "verifying takes a public key"));
        }
        check_type(key, &signing)?;
        key.object.permit(CKA_VERIFY)?;
        let public = || PublicKey::of(key.object.attributes());
        let message = Message::new(&signing.preparation, public, most(&signing.scheme))?;
        let verifier = if signing.scheme.is_symmetric() {
            Verifier::Secret(handle, key.clone())
        } else {
            Verifier::Public(public()?)
        };
        Ok(Self { verifier, mechanism, message, scheme: signing.scheme, in_parts: false })
    }

    /// How long a signature is, in bytes.
    pub(crate) fn length(&self) -> usize {
        match &self.verifier {
            Verifier::Public(key) => key.signature_length(),
            Verifier::Secret(..) => code_length(&self.scheme).unwrap_or_default(),
        }
    }

    pub(crate) fn update(&mut self, part: &[u8]) -> Result<()> {
        Ok(self.message.update(part)?)
    }

    pub(crate) fn finish(self, slot: &Slot, remote: &Remote, signature: &[u8]) -> Result<()> {
        let mut input = self.message.finish()?;
        let (handle, key) = match self.verifier {
            Verifier::Public(key) => return Ok(key.verify(&self.scheme, &input, signature)?),
            Verifier::Secret(handle, key) => (handle, key),
        };
        let Some(reference) = key.reference() else {
            let key = SecretKey::of(key.object.attributes())?;
            return Ok(key.verify(&self.scheme, &input, signature)?);
        };
        let of = Sign {
            key: Some(reference),
            scheme: Some(self.scheme.into()),
            recoverable: false,
            input: std::mem::take(&mut *input),
            mechanism: Some(self.mechanism),
            authentication: Vec::new(),
        };
        let verify = Verify { of: Some(of), code: signature.to_vec() };
        let answer = slot
            .ask(remote, Operation::Verify(verify))
            .map_err(|error| error.about(format_args!("key {}", label(&key))))?;
        let Answer::Verified(answer) = one(answer)? else {
            return Err(unexpected());
        };
        renewed(slot, handle, key, answer.sealed);
        Ok(())
    }
}

/// Keeps the sealed blob whose expiry was renewed by its use; the key from now
/// on.
pub(super) fn renewed(slot: &Slot, handle: CK_OBJECT_HANDLE, key: Known, sealed: Vec<u8>) -> Known {
    if sealed.is_empty() || !matches!(key.place, Place::Sealed(_)) {
        return key;
    }
    let key = Known { place: Place::Sealed(sealed.into()), ..key };
    slot.replace(handle, key.clone());
    key
}

fn must_be_secret(key: &Known) -> Result<()> {
    if key.object.class() == CKO_SECRET_KEY {
        return Ok(());
    }
    Err(Error::new(CKR_KEY_TYPE_INCONSISTENT, "the mechanism takes a secret key"))
}

/// How long an authentication code is, in bytes; `None` for signatures.
fn code_length(scheme: &SignatureScheme) -> Option<usize> {
    match scheme {
        SignatureScheme::Hmac { length, .. }
        | SignatureScheme::Cmac { length, .. }
        | SignatureScheme::TlsMac { length, .. } => Some(*length as usize),
        _ => None,
    }
}

/// The most that is kept for a scheme which gets the data themselves, in bytes.
fn most(scheme: &SignatureScheme) -> usize {
    match scheme {
        SignatureScheme::Hmac { .. }
        | SignatureScheme::Cmac { .. }
        | SignatureScheme::Ed25519
        | SignatureScheme::Ed25519Context(_) => INPUT_LIMIT,
        _ => LONGEST_AS_IT_IS,
    }
}

/// What a person calls the key.
pub(super) fn label(key: &Known) -> String {
    let attributes = key.object.attributes();
    [CKA_LABEL, CKA_ID]
        .into_iter()
        .filter_map(|attribute| attributes.bytes(attribute))
        .find(|value| !value.is_empty())
        .map_or_else(|| "without a name".to_owned(), |value| value.escape_ascii().to_string())
}

pub(super) fn check_type(key: &Known, signing: &Signing) -> Result<()> {
    if key.object.key_type().is_some_and(|key_type| signing.takes(key_type)) {
        return Ok(());
    }
    Err(Error::new(CKR_KEY_TYPE_INCONSISTENT, "the key is not of the mechanism's type"))
}
