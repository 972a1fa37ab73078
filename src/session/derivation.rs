//! Keys that come out of keys: C_DeriveKey. It is done here if all that takes
//! part is here and the new key may be here too, else in the service.

use cryptoki_sys::*;
use keyward_token::key::{PrivateKey, SecretKey, WorkingKey};
use keyward_token::mechanism::{DerivationScheme, Material, Parameter};
use keyward_token::rules::Wanted;
use keyward_token::{Attributes, rules};
use keyward_wire::derive_keys::part::Part;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{DeriveKey, DeriveKeys, derive_keys};

use crate::error::Result;
use crate::object::Known;
use crate::remote::{Remote, one, unexpected};
use crate::session::Session;
use crate::session::signature::{label, renewed};

impl Session {
    /// C_DeriveKey: the handle of the new key, and the version that a premaster
    /// secret begins with if the mechanism tells it.
    pub(crate) fn derive_key(
        &self,
        remote: &Remote,
        (mechanism, parameter): (CK_MECHANISM_TYPE, &Parameter),
        handle: CK_OBJECT_HANDLE,
        mut template: Attributes,
    ) -> Result<(CK_OBJECT_HANDLE, Vec<u8>)> {
        if mechanism == CKM_PUB_KEY_FROM_PRIV_KEY {
            return Ok((self.public_half(remote, handle, template)?, Vec::new()));
        }
        let (scheme, other) = DerivationScheme::new(mechanism, parameter)?;
        if mechanism == CKM_HKDF_DATA {
            template.set_default(CKA_CLASS, CKO_DATA);
        }
        let base = self.slot.key(remote, handle)?;
        let other = other.map(|other| self.slot.key(remote, other)).transpose()?;
        let second = other.as_ref().map(|other| &*other.object);
        let wanted = rules::may_derive(&scheme, &base.object, second, template.clone())?;
        self.slot.policy(remote).permit(mechanism, CKA_DERIVE, &base.object)?;
        self.may_place(wanted.is_token_object(), wanted.is_private())?;
        let here = base.is_here() && other.as_ref().is_none_or(Known::is_here);
        if here && !wanted.is_token_object() && !wanted.is_sensitive() {
            let second = second.map(|second| SecretKey::of(second.attributes())).transpose()?;
            let attributes = base.object.attributes();
            let (made, version) = if base.object.class() == CKO_PRIVATE_KEY {
                let key = PrivateKey::of(attributes)?;
                let key = WorkingKey::Private(&key);
                (rules::derive(&scheme, key, second.as_ref(), wanted)?, Vec::new())
            } else {
                let key = SecretKey::of(attributes)?;
                let key = WorkingKey::Secret(&key);
                let tells = matches!(scheme, DerivationScheme::TlsPrf { tells_version: true, .. });
                let version = if tells { key.version() } else { Vec::new() };
                (rules::derive(&scheme, key, second.as_ref(), wanted)?, version)
            };
            return Ok((self.keep(remote, made)?, version));
        }
        let derive = DeriveKey {
            base: Some(base.operand()),
            other: other.as_ref().map(Known::operand),
            derivation: Some(scheme.into()),
            template: (&template).into(),
            mechanism: Some(mechanism),
        };
        self.make_of(remote, handle, base, Operation::DeriveKey(derive))
    }

    /// What CKM_PUB_KEY_FROM_PRIV_KEY gives. The public half is no secret, and is in the module
    /// already.
    fn public_half(
        &self,
        remote: &Remote,
        handle: CK_OBJECT_HANDLE,
        template: Attributes,
    ) -> Result<CK_OBJECT_HANDLE> {
        let private = self.slot.key(remote, handle)?;
        let template = rules::public_half(&private.object, template)?;
        self.slot.policy(remote).permit(CKM_PUB_KEY_FROM_PRIV_KEY, CKA_DERIVE, &private.object)?;
        self.create_object(remote, template)
    }

    /// C_DeriveKey by a mechanism that gives several keys, or bytes.
    pub(crate) fn derive_keys(
        &self,
        remote: &Remote,
        (mechanism, parameter): (CK_MECHANISM_TYPE, &Parameter),
        handle: CK_OBJECT_HANDLE,
        template: &Attributes,
    ) -> Result<DerivedKeys> {
        let (scheme, _) = DerivationScheme::new(mechanism, parameter)?;
        let material = Material::new(mechanism, parameter, template)?;
        let base = self.slot.key(remote, handle)?;
        let wanted = rules::may_derive_material(&scheme, &base.object, material.clone())?;
        self.slot.policy(remote).permit(mechanism, CKA_DERIVE, &base.object)?;
        for key in wanted.keys() {
            self.may_place(key.is_token_object(), key.is_private())?;
        }
        let closed = |key: &Wanted| key.is_token_object() || key.is_sensitive();
        if base.is_here() && !wanted.keys().iter().any(closed) {
            let key = SecretKey::of(base.object.attributes())?;
            let (keys, data) = wanted.derive(&scheme, WorkingKey::Secret(&key))?;
            let keys: Result<_> = keys.into_iter().map(|key| self.keep(remote, key)).collect();
            return Ok(DerivedKeys {
                keys: keys?,
                data: data.into_iter().map(|mut data| std::mem::take(&mut *data)).collect(),
            });
        }
        let key = |template: &Attributes| {
            Part::Key(keyward_wire::Attributes { attributes: template.into() })
        };
        // No mechanism gives more than 65,536 bytes.
        let data = |length: &usize| Part::Data(u32::try_from(*length).unwrap_or(u32::MAX));
        let parts = material.keys.iter().map(key).chain(material.data.iter().map(data));
        let derive = DeriveKeys {
            base: Some(base.operand()),
            derivation: Some(scheme.into()),
            parts: parts.map(|part| derive_keys::Part { part: Some(part) }).collect(),
            mechanism,
        };
        let frames = self
            .slot
            .ask_for_change(remote, Operation::DeriveKeys(derive))
            .map_err(|error| error.about(format_args!("key {}", label(&base))))?;
        let Answer::DerivedKeys(answer) = one(frames)? else { return Err(unexpected()) };
        let lengths: Vec<_> = answer.data.iter().map(Vec::len).collect();
        if answer.keys.len() != material.keys.len() || lengths != material.data {
            return Err(unexpected());
        }
        renewed(&self.slot, handle, base, answer.sealed);
        let take_in = |object| self.slot.take_in(self.handle, object);
        let keys: Result<_> = answer.keys.into_iter().map(take_in).collect();
        Ok(DerivedKeys { keys: keys?, data: answer.data })
    }
}

/// What a mechanism gave that gives several keys, or bytes.
#[derive(Debug)]
pub(crate) struct DerivedKeys {
    /// In the order in which they were asked for.
    pub(crate) keys: Vec<CK_OBJECT_HANDLE>,
    /// The same.
    pub(crate) data: Vec<Vec<u8>>,
}
