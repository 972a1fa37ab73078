//! Keys that carry keys: C_WrapKey and C_UnwrapKey, on the workers.

use std::sync::Arc;

use cryptoki_sys::*;
use keyward_token::key::{self, PrivateKey, SecretKey, WorkingKey};
use keyward_token::mechanism::{WrappingScheme, declared};
use keyward_token::{Attributes, Object, hsm, rules};
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Result};

use super::access::Access;
use super::hsm::Effects;
use super::keys::no_key;
use super::repeat::Plan;
use super::{Answer, Call, Engine, malformed};
use crate::state::StoredObject;

/// A key that takes part, with its secret parts.
pub(super) enum Operand {
    /// The token's.
    Stored(Arc<StoredObject>),
    /// The client's: its blob was opened, or it came as it is. `renewed`: the blob with a new
    /// expiry, if it is time for one.
    Carried { object: Box<Object>, renewed: Vec<u8> },
}

impl Engine {
    /// C_WrapKey.
    pub(super) async fn wrap_key(
        &self,
        call: &Call,
        access: Access,
        wrap: &wire::WrapKey,
    ) -> Result<Answer> {
        let scheme = scheme(wrap.wrapping.as_ref())?;
        let mechanism = declared::of_wrapping(wrap.mechanism, &scheme)?;
        let policy = access.policy();
        let wrapping = self
            .operand(call, &access, wrap.wrapping_key.as_ref())
            .map_err(|error| instead_of_key_handle(error, ErrorCode::WrappingKeyHandleInvalid))?;
        let key = self.operand(call, &access, wrap.key.as_ref())?;
        let subject = key.object().attributes().bytes(CKA_UNIQUE_ID).map(<[u8]>::to_vec);
        let subject = subject.map(|id| String::from_utf8_lossy(&id).into_owned());
        let sealed = wrapping.renewed();
        let value = self
            .workers
            .run(call.identity.uid, call.deadline, move || {
                rules::may_wrap(&scheme, wrapping.object(), key.object())?;
                policy.permit(mechanism, CKA_WRAP, wrapping.object())?;
                wrapping.must_be_here()?;
                key::wrap(&scheme, wrapping.object(), key.object())
            })
            .await;
        // A key leaves the service, even if nobody can read it as it is.
        let code = value.as_ref().err().map_or("OK", |error| error.code.as_str_name());
        let (identity, token) = (call.identity.record.name.as_str(), call.label.as_str());
        let subject = subject.as_deref().unwrap_or_default();
        tracing::info!(target: "audit", identity, token, operation = "wrap_key", subject, code);
        Ok(access.answer(Some(Answered::Wrapped(wire::Bytes { value: value?, sealed }))))
    }

    /// C_UnwrapKey.
    pub(super) async fn unwrap_key(&self, call: &Call, unwrap: &wire::UnwrapKey) -> Result<Plan> {
        let access = self.access(call)?;
        let scheme = scheme(unwrap.wrapping.as_ref())?;
        let mechanism = declared::of_wrapping(unwrap.mechanism, &scheme)?;
        let policy = access.policy();
        let template = Attributes::try_from(unwrap.template.clone())?;
        let wrapped = unwrap.wrapped.clone();
        let key = unwrap.unwrapping_key.as_ref();
        let unwrapping = self
            .operand(call, &access, key)
            .map_err(|error| instead_of_key_handle(error, ErrorCode::UnwrappingKeyHandleInvalid))?;
        let sealed = unwrapping.renewed();
        let mut effects = Effects::default();
        if let Operand::Stored(stored) = &unwrapping
            && let Some(reference) = hsm::reference(&stored.object)
            && let Some(hsm) = self.hsm_of(&access.token)?
        {
            rules::may_unwrap(&scheme, &stored.object, template)?;
            policy.permit(mechanism, CKA_UNWRAP, &stored.object)?;
            let object = self
                .unwrap_in_hsm(&access, (hsm, reference), unwrap, &mut effects, call.deadline)
                .await?;
            return self.plan_made(call, &access, object, effects, Default::default()).await;
        }
        let object = self
            .workers
            .run(call.identity.uid, call.deadline, move || {
                let wanted = rules::may_unwrap(&scheme, unwrapping.object(), template)?;
                policy.permit(mechanism, CKA_UNWRAP, unwrapping.object())?;
                unwrapping
                    .with_private_or_secret(|key| rules::unwrap(&scheme, key, &wrapped, wanted))
            })
            .await?;
        self.plan_made(call, &access, object, effects, (sealed, Vec::new())).await
    }

    /// A key that a request names, wherever it is.
    ///
    /// # Errors
    /// CKR_KEY_HANDLE_INVALID if there is none, or none that may be seen.
    pub(super) fn operand(
        &self,
        call: &Call,
        access: &Access,
        key: Option<&wire::Key>,
    ) -> Result<Operand> {
        match key.and_then(|key| key.key.as_ref()) {
            Some(wire::key::Key::UniqueId(unique_id)) => {
                access.object(unique_id).cloned().map(Operand::Stored).ok_or_else(no_key)
            }
            Some(wire::key::Key::Sealed(blob)) => {
                let owner = self.owner(call, access);
                let opened = owner.open(&self.vault, blob)?;
                if !access.sees(&opened.object) {
                    return Err(no_key());
                }
                let renewed = if opened.renew {
                    owner.seal(&self.vault, &opened.object)?
                } else {
                    Vec::new()
                };
                Ok(Operand::Carried { object: Box::new(opened.object), renewed })
            }
            Some(wire::key::Key::Plain(plain)) => {
                let mut attributes = Attributes::try_from(plain.attributes.clone())?;
                // The security officer's word is kept here and nowhere else.
                attributes.set(CKA_TRUSTED, false);
                let object = Box::new(Object::from_attributes(attributes)?);
                Ok(Operand::Carried { object, renewed: Vec::new() })
            }
            None => Err(malformed("the request names no key")),
        }
    }
}

impl Operand {
    pub(super) fn object(&self) -> &Object {
        match self {
            Self::Stored(stored) => &stored.object,
            Self::Carried { object, .. } => object,
        }
    }

    /// Refuses a key that is in an HSM: what is asked of it is not done there.
    ///
    /// # Errors
    /// CKR_KEY_FUNCTION_NOT_PERMITTED.
    fn must_be_here(&self) -> Result<()> {
        if hsm::reference(self.object()).is_none() {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::KeyFunctionNotPermitted,
            "the key is in an HSM; there it signs, decrypts and unwraps, and does nothing else",
        ))
    }

    /// The blob to carry from now on; empty if it stays what it is.
    pub(super) fn renewed(&self) -> Vec<u8> {
        match self {
            Self::Stored(_) => Vec::new(),
            Self::Carried { renewed, .. } => renewed.clone(),
        }
    }

    /// Does something with the private or secret key that it is.
    pub(super) fn with_private_or_secret<T>(
        &self,
        work: impl FnOnce(WorkingKey<'_>) -> Result<T>,
    ) -> Result<T> {
        self.must_be_here()?;
        let attributes = self.object().attributes();
        match (self.object().class(), self) {
            (CKO_SECRET_KEY, _) => work(WorkingKey::Secret(&SecretKey::of(attributes)?)),
            (_, Self::Stored(stored)) => work(WorkingKey::Private(stored.private_key()?)),
            _ => work(WorkingKey::Private(&PrivateKey::of(attributes)?)),
        }
    }
}

fn scheme(wrapping: Option<&wire::Wrapping>) -> Result<WrappingScheme> {
    let wrapping = wrapping.ok_or_else(|| malformed("the request names no scheme"))?;
    WrappingScheme::try_from(wrapping.clone())
}

/// The standard has a value of its own for the key that does the work.
fn instead_of_key_handle(error: Error, code: ErrorCode) -> Error {
    match error.code {
        ErrorCode::KeyHandleInvalid => Error { code, ..error },
        _ => error,
    }
}
