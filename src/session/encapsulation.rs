//! Secrets that are sent to a public key: C_EncapsulateKey and C_DecapsulateKey.
//! What nobody may read is drawn in the service.

use cryptoki_sys::*;
use keyward_token::key::{PrivateKey, PublicKey};
use keyward_token::mechanism::{self, Family};
use keyward_token::{Attributes, rules};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{DecapsulateKey, EncapsulateKey, EncapsulatedKey};

use crate::error::{Error, Result};
use crate::object::Known;
use crate::remote::{Remote, one, unexpected};
use crate::session::Session;
use crate::session::signature::label;

/// A secret that may be sent, and is not yet.
#[derive(Debug)]
pub(crate) struct Encapsulation<'a> {
    session: &'a Session,
    known: Known,
    key: PublicKey,
    wanted: rules::Wanted,
    template: Attributes,
}

impl Session {
    /// Begins C_EncapsulateKey.
    pub(crate) fn encapsulation(
        &self,
        remote: &Remote,
        mechanism: CK_MECHANISM_TYPE,
        handle: CK_OBJECT_HANDLE,
        template: Attributes,
    ) -> Result<Encapsulation<'_>> {
        must_encapsulate(mechanism)?;
        let known = self.slot.key(remote, handle)?;
        let wanted = rules::may_encapsulate(&known.object, template.clone())?;
        self.slot.policy(remote).permit(mechanism, CKA_ENCAPSULATE, &known.object)?;
        self.may_place(wanted.is_token_object(), wanted.is_private())?;
        let key = PublicKey::of(known.object.attributes())?;
        Ok(Encapsulation { session: self, known, key, wanted, template })
    }

    /// C_DecapsulateKey.
    pub(crate) fn decapsulate_key(
        &self,
        remote: &Remote,
        mechanism: CK_MECHANISM_TYPE,
        handle: CK_OBJECT_HANDLE,
        ciphertext: &[u8],
        template: Attributes,
    ) -> Result<CK_OBJECT_HANDLE> {
        must_encapsulate(mechanism)?;
        let private = self.slot.key(remote, handle)?;
        let wanted = rules::may_decapsulate(&private.object, template.clone())?;
        self.slot.policy(remote).permit(mechanism, CKA_DECAPSULATE, &private.object)?;
        self.may_place(wanted.is_token_object(), wanted.is_private())?;
        if ciphertext.len() > LONGEST_CIPHERTEXT {
            return Err(CKR_ENCRYPTED_DATA_LEN_RANGE.into());
        }
        if private.is_here() && !wanted.is_token_object() && !wanted.is_sensitive() {
            let key = PrivateKey::of(private.object.attributes())?;
            return self.keep(remote, rules::encapsulated(&key.decapsulate(ciphertext)?, wanted)?);
        }
        let decapsulate = DecapsulateKey {
            private_key: Some(private.operand()),
            ciphertext: ciphertext.to_vec(),
            template: (&template).into(),
        };
        let operation = Operation::DecapsulateKey(decapsulate);
        self.make_of(remote, handle, private, operation).map(|(key, _)| key)
    }
}

impl Encapsulation<'_> {
    /// Of the ciphertext, in bytes.
    pub(crate) fn length(&self) -> usize {
        self.key.ciphertext_length()
    }

    /// The key that the secret has become, and the ciphertext.
    pub(crate) fn send(self, remote: &Remote) -> Result<(CK_OBJECT_HANDLE, Vec<u8>)> {
        let session = self.session;
        if !self.wanted.is_token_object() && !self.wanted.is_sensitive() {
            let (ciphertext, secret) = self.key.encapsulate()?;
            let key = rules::encapsulated(&secret, self.wanted)?;
            return Ok((session.keep(remote, key)?, ciphertext));
        }
        let encapsulate = EncapsulateKey {
            public_key: Some(self.known.operand()),
            template: (&self.template).into(),
        };
        let frames = session
            .slot
            .ask_for_change(remote, Operation::EncapsulateKey(encapsulate))
            .map_err(|error| error.about(format_args!("key {}", label(&self.known))))?;
        let Answer::Encapsulated(EncapsulatedKey { object: Some(object), ciphertext }) =
            one(frames)?
        else {
            return Err(unexpected());
        };
        if ciphertext.len() != self.length() {
            return Err(unexpected());
        }
        Ok((session.slot.take_in(session.handle, object)?, ciphertext))
    }
}

fn must_encapsulate(number: CK_MECHANISM_TYPE) -> Result<()> {
    match mechanism::find(number)?.family {
        Family::MlKem => Ok(()),
        _ => Err(Error::new(
            CKR_MECHANISM_INVALID,
            format!("mechanism {number:#x} does not encapsulate a key"),
        )),
    }
}

/// In bytes, with room to spare: a request has to fit into a frame.
const LONGEST_CIPHERTEXT: usize = 100_000;
