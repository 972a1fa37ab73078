//! Keys that come out of keys: C_DeriveKey. It is done here if all that takes
//! part is here and the new key may be here too, else in the service.

use cryptoki_sys::*;
use keyward_token::key::{PrivateKey, SecretKey, WorkingKey};
use keyward_token::mechanism::{DerivationScheme, Parameter};
use keyward_token::{Attributes, rules};
use keyward_wire::DeriveKey;
use keyward_wire::request::Operation;

use crate::error::Result;
use crate::object::Known;
use crate::remote::Remote;
use crate::session::Session;

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
        let (scheme, other) = DerivationScheme::new(mechanism, parameter)?;
        if mechanism == CKM_HKDF_DATA {
            template.set_default(CKA_CLASS, CKO_DATA);
        }
        let base = self.slot.key(remote, handle)?;
        let other = other.map(|other| self.slot.key(remote, other)).transpose()?;
        let second = other.as_ref().map(|other| &*other.object);
        let wanted = rules::may_derive(&scheme, &base.object, second, template.clone())?;
        self.slot.policy().permit(mechanism, CKA_DERIVE, &base.object)?;
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
            return Ok((self.keep(made)?, version));
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
}
