//! Secrets that are sent to a public key: C_EncapsulateKey and C_DecapsulateKey, on the workers.

use cryptoki_sys::{CKA_DECAPSULATE, CKA_ENCAPSULATE, CKM_ML_KEM};
use keyward_token::key::{PublicKey, WorkingKey};
use keyward_token::{Attributes, rules};
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Result};

use super::hsm::Effects;
use super::repeat::{Changes, Plan};
use super::{Call, Engine};

impl Engine {
    /// C_EncapsulateKey, where the client may not see the secret.
    pub(super) async fn encapsulate_key(
        &self,
        call: &Call,
        encapsulate: &wire::EncapsulateKey,
    ) -> Result<Plan> {
        let access = self.access(call)?;
        let template = Attributes::try_from(encapsulate.template.clone())?;
        let policy = access.policy();
        let public = self.operand(call, &access, encapsulate.public_key.as_ref())?;
        let (object, ciphertext) = self
            .workers
            .run(call.identity.uid, call.deadline, move || {
                let wanted = rules::may_encapsulate(public.object(), template)?;
                policy.permit(CKM_ML_KEM, CKA_ENCAPSULATE, public.object())?;
                let key = PublicKey::of(public.object().attributes())?;
                let (ciphertext, secret) = key.encapsulate()?;
                Ok((rules::encapsulated(&secret, wanted)?, ciphertext))
            })
            .await?;
        let mut effects = Effects::default();
        let object = self.bring(&access, object, &mut effects, call.deadline).await?;
        let mut changes = Changes::default();
        let object = self.place(call, &access, object, &mut changes)?;
        let subject = object.unique_id.clone();
        let result =
            Answered::Encapsulated(wire::EncapsulatedKey { object: Some(object), ciphertext });
        Ok(Plan::new(changes, access.answer(Some(result))).about(subject).with(effects))
    }

    /// C_DecapsulateKey.
    pub(super) async fn decapsulate_key(
        &self,
        call: &Call,
        decapsulate: &wire::DecapsulateKey,
    ) -> Result<Plan> {
        let access = self.access(call)?;
        let template = Attributes::try_from(decapsulate.template.clone())?;
        let ciphertext = decapsulate.ciphertext.clone();
        let policy = access.policy();
        let private = self.operand(call, &access, decapsulate.private_key.as_ref())?;
        let sealed = private.renewed();
        let object = self
            .workers
            .run(call.identity.uid, call.deadline, move || {
                let wanted = rules::may_decapsulate(private.object(), template)?;
                policy.permit(CKM_ML_KEM, CKA_DECAPSULATE, private.object())?;
                private.with_private_or_secret(|key| {
                    let WorkingKey::Private(key) = key else {
                        return Err(Error::new(
                            ErrorCode::KeyTypeInconsistent,
                            "the key is not a private key",
                        ));
                    };
                    rules::encapsulated(&key.decapsulate(&ciphertext)?, wanted)
                })
            })
            .await?;
        self.plan_made(call, &access, object, Effects::default(), (sealed, Vec::new())).await
    }
}
