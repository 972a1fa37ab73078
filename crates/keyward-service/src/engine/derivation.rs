//! Keys that come out of keys: C_DeriveKey, on the workers.

use cryptoki_sys::CKA_DERIVE;
use keyward_token::key::SecretKey;
use keyward_token::mechanism::{DerivationScheme, declared};
use keyward_token::{Attributes, rules};
use keyward_wire::{self as wire, Result};

use super::hsm::Effects;
use super::repeat::Plan;
use super::{Call, Engine, malformed};

impl Engine {
    /// C_DeriveKey.
    pub(super) async fn derive_key(&self, call: &Call, derive: &wire::DeriveKey) -> Result<Plan> {
        let access = self.access(call)?;
        let derivation =
            derive.derivation.clone().ok_or_else(|| malformed("the request names no scheme"))?;
        let scheme = DerivationScheme::try_from(derivation)?;
        let mechanism = declared::of_derivation(derive.mechanism, &scheme)?;
        let policy = access.policy();
        let template = Attributes::try_from(derive.template.clone())?;
        let base = self.operand(call, &access, derive.base.as_ref())?;
        let other = match scheme.takes_two() {
            true => Some(self.operand(call, &access, derive.other.as_ref())?),
            false => None,
        };
        let sealed = base.renewed();
        let (object, version) = self
            .workers
            .run(call.identity.uid, call.deadline, move || {
                let second = other.as_ref().map(|other| other.object());
                let wanted = rules::may_derive(&scheme, base.object(), second, template)?;
                policy.permit(mechanism, CKA_DERIVE, base.object())?;
                let second = second.map(|second| SecretKey::of(second.attributes())).transpose()?;
                let tells_version =
                    matches!(scheme, DerivationScheme::TlsPrf { tells_version: true, .. });
                base.with_private_or_secret(|key| {
                    let version = if tells_version { key.version() } else { Vec::new() };
                    let object = rules::derive(&scheme, key, second.as_ref(), wanted)?;
                    Ok((object, version))
                })
            })
            .await?;
        self.plan_made(call, &access, object, Effects::default(), (sealed, version)).await
    }
}
