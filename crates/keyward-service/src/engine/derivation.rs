//! Keys that come out of keys: C_DeriveKey, on the workers.

use cryptoki_sys::CKA_DERIVE;
use keyward_token::key::SecretKey;
use keyward_token::mechanism::{DerivationScheme, Material, declared};
use keyward_token::{Attributes, rules};
use keyward_wire::derive_keys::part::Part;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Result};
use prost::Message;

use super::hsm::Effects;
use super::repeat::{Changes, Plan};
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

    /// C_DeriveKey by a mechanism that gives several keys, or bytes.
    pub(super) async fn derive_keys(&self, call: &Call, derive: &wire::DeriveKeys) -> Result<Plan> {
        let access = self.access(call)?;
        let derivation =
            derive.derivation.clone().ok_or_else(|| malformed("the request names no scheme"))?;
        let scheme = DerivationScheme::try_from(derivation)?;
        let mechanism = declared::of_material(derive.mechanism, &scheme)?;
        let material = material(&derive.parts)?;
        material.must_be_of(mechanism)?;
        let policy = access.policy();
        let base = self.operand(call, &access, derive.base.as_ref())?;
        let sealed = base.renewed();
        let (keys, data) = self
            .workers
            .run(call.identity.uid, call.deadline, move || {
                let wanted = rules::may_derive_material(&scheme, base.object(), material)?;
                policy.permit(mechanism, CKA_DERIVE, base.object())?;
                base.with_private_or_secret(|key| wanted.derive(&scheme, key))
            })
            .await?;
        let mut changes = Changes::default();
        let mut effects = Effects::default();
        let mut made = Vec::new();
        for key in keys {
            let key = self.bring(&access, key, &mut effects, call.deadline).await?;
            made.push(self.place(call, &access, key, &mut changes)?);
        }
        if made.iter().map(wire::Object::encoded_len).sum::<usize>() > LONGEST_ANSWER {
            return Err(Error::new(ErrorCode::DeviceMemory, "the keys' attributes are too long"));
        }
        let subject = made.first().map_or_else(String::new, |key| key.unique_id.clone());
        let data = data.into_iter().map(|data| data.to_vec()).collect();
        let result = Answered::DerivedKeys(wire::DerivedKeys { keys: made, data, sealed });
        let answer = access.answer(Some(result));
        Ok(Plan::new(changes, answer).about(subject).with(effects))
    }
}

fn material(parts: &[wire::derive_keys::Part]) -> Result<Material> {
    let mut material = Material { keys: Vec::new(), data: Vec::new() };
    for part in parts {
        match part.part.clone() {
            Some(Part::Key(template)) if material.data.is_empty() => {
                material.keys.push(Attributes::try_from(template.attributes)?);
            }
            Some(Part::Data(length)) => material.data.push(length as usize),
            _ => return Err(malformed("a part is no key before data, and no data")),
        }
    }
    Ok(material)
}

/// It has to fit into a frame. In bytes.
const LONGEST_ANSWER: usize = 700 << 10;
