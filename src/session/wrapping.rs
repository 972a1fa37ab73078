//! Keys that carry keys: C_WrapKey and C_UnwrapKey. It is done here if all that
//! takes part is here, and in the service if anything is there.

use cryptoki_sys::*;
use keyward_token::key::{self, PrivateKey, SecretKey, WorkingKey};
use keyward_token::mechanism::{Parameter, WrappingScheme};
use keyward_token::{Attributes, rules};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, UnwrapKey, WrapKey};

use crate::error::{Error, Result};
use crate::object::Known;
use crate::remote::{Remote, one, unexpected};
use crate::session::Session;
use crate::session::signature::{label, renewed};

/// A key that may be wrapped, and is not yet.
#[derive(Debug)]
pub(crate) struct Wrapping<'a> {
    session: &'a Session,
    mechanism: CK_MECHANISM_TYPE,
    scheme: WrappingScheme,
    handle: CK_OBJECT_HANDLE,
    wrapping: Known,
    key: Known,
}

impl Session {
    /// Begins C_WrapKey: whatever can be refused without the keys' values is
    /// refused now.
    pub(crate) fn wrapping(
        &self,
        remote: &Remote,
        (mechanism, parameter): (CK_MECHANISM_TYPE, &Parameter),
        handle: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
    ) -> Result<Wrapping<'_>> {
        let scheme = WrappingScheme::new(mechanism, parameter)?;
        let wrapping = self.working_key(remote, handle, CKR_WRAPPING_KEY_HANDLE_INVALID)?;
        let key = self.slot.key(remote, key)?;
        rules::may_wrap(&scheme, &wrapping.object, &key.object)?;
        self.slot.policy(remote).permit(mechanism, CKA_WRAP, &wrapping.object)?;
        Ok(Wrapping { session: self, mechanism, scheme, handle, wrapping, key })
    }

    /// C_UnwrapKey.
    pub(crate) fn unwrap_key(
        &self,
        remote: &Remote,
        (mechanism, parameter): (CK_MECHANISM_TYPE, &Parameter),
        handle: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: Attributes,
    ) -> Result<CK_OBJECT_HANDLE> {
        let scheme = WrappingScheme::new(mechanism, parameter)?;
        let unwrapping = self.working_key(remote, handle, CKR_UNWRAPPING_KEY_HANDLE_INVALID)?;
        let wanted = rules::may_unwrap(&scheme, &unwrapping.object, template.clone())?;
        self.slot.policy(remote).permit(mechanism, CKA_UNWRAP, &unwrapping.object)?;
        self.may_place(wanted.is_token_object(), wanted.is_private())?;
        if wrapped.len() > LONGEST_WRAPPED {
            return Err(Error::new(
                CKR_WRAPPED_KEY_LEN_RANGE,
                "the wrapped key is longer than any key that is offered",
            ));
        }
        if unwrapping.is_here() && !wanted.is_token_object() && !wanted.is_sensitive() {
            let attributes = unwrapping.object.attributes();
            let made = if scheme.is_asymmetric() {
                let key = PrivateKey::of(attributes)?;
                rules::unwrap(&scheme, WorkingKey::Private(&key), wrapped, wanted)
            } else {
                let key = SecretKey::of(attributes)?;
                rules::unwrap(&scheme, WorkingKey::Secret(&key), wrapped, wanted)
            };
            return self.keep(remote, made?);
        }
        let unwrap = UnwrapKey {
            unwrapping_key: Some(unwrapping.operand()),
            wrapping: Some(scheme.into()),
            wrapped: wrapped.to_vec(),
            template: (&template).into(),
            mechanism: Some(mechanism),
        };
        let made = self.make_of(remote, handle, unwrapping, Operation::UnwrapKey(unwrap));
        made.map(|(key, _)| key)
    }

    /// The key that does the work; without it, `invalid`.
    fn working_key(
        &self,
        remote: &Remote,
        handle: CK_OBJECT_HANDLE,
        invalid: CK_RV,
    ) -> Result<Known> {
        self.slot.key(remote, handle).map_err(|error| match error.rv {
            CKR_KEY_HANDLE_INVALID => Error { rv: invalid, ..error },
            _ => error,
        })
    }

    /// Has the service make a key out of another: its handle, and the version that
    /// a premaster secret begins with.
    pub(super) fn make_of(
        &self,
        remote: &Remote,
        handle: CK_OBJECT_HANDLE,
        key: Known,
        operation: Operation,
    ) -> Result<(CK_OBJECT_HANDLE, Vec<u8>)> {
        let frames = self
            .slot
            .ask_for_change(remote, operation)
            .map_err(|error| error.about(format_args!("key {}", label(&key))))?;
        let Answer::Object(wire::ObjectResult { object: Some(object), sealed, version }) =
            one(frames)?
        else {
            return Err(unexpected());
        };
        renewed(&self.slot, handle, key, sealed);
        Ok((self.slot.take_in(self.handle, object)?, version))
    }
}

impl Wrapping<'_> {
    /// How long the wrapped key will be, in bytes, if that can be told without
    /// wrapping it.
    pub(crate) fn length(&self) -> Result<Option<usize>> {
        Ok(key::wrapped_length(&self.scheme, &self.wrapping.object, &self.key.object)?)
    }

    /// The wrapped key.
    pub(crate) fn wrap(self, remote: &Remote) -> Result<Vec<u8>> {
        // A public key is in the module, wherever it belongs.
        let here = self.wrapping.is_here() || self.scheme.is_asymmetric();
        if here && self.key.is_here() {
            return Ok(key::wrap(&self.scheme, &self.wrapping.object, &self.key.object)?);
        }
        let wrap = WrapKey {
            wrapping_key: Some(self.wrapping.operand()),
            key: Some(self.key.operand()),
            wrapping: Some(self.scheme.into()),
            mechanism: Some(self.mechanism),
        };
        let slot = &self.session.slot;
        let answer = slot
            .ask(remote, Operation::WrapKey(wrap))
            .map_err(|error| error.about(format_args!("key {}", label(&self.key))))?;
        let Answer::Wrapped(answer) = one(answer)? else {
            return Err(unexpected());
        };
        renewed(slot, self.handle, self.wrapping, answer.sealed);
        Ok(answer.value)
    }
}

/// In bytes; a request has to fit into a frame.
const LONGEST_WRAPPED: usize = 200_000;
