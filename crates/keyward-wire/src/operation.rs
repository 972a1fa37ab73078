//! What both ends have to know of an operation without carrying it out.

use zeroize::Zeroize;

use crate::attribute::Value;
use crate::derivation::Scheme;
use crate::key::Key as Named;
use crate::request::Operation;
use crate::{Attribute, Attributes, Key, Verify};

impl Operation {
    /// Whether it changes something, so that its request carries an operation
    /// id.
    #[must_use]
    pub fn changes_something(&self) -> bool {
        !matches!(
            self,
            Self::Hello(_)
                | Self::ListTokens(_)
                | Self::Catalogue(_)
                | Self::Find(_)
                | Self::Sign(_)
                | Self::Decrypt(_)
                | Self::Encrypt(_)
                | Self::Verify(_)
                | Self::WrapKey(_)
                | Self::ListIdentities(_)
                | Self::Status(_)
                | Self::Backup(_)
                | Self::Snapshot(_)
                | Self::ListHsmKeys(_)
                | Self::Long(_)
                | Self::Part(_)
        )
    }

    /// Whether it takes up to a minute by its nature, not because the service is busy: RSA keys and
    /// domain parameters are searched for, and keys out of passwords are to take their time.
    #[must_use]
    pub fn takes_long(&self) -> bool {
        /// CKM_DSA_PARAMETER_GEN, CKM_DH_PKCS_PARAMETER_GEN and CKM_PKCS5_PBKD2.
        const LONG: [u64; 3] = [0x2000, 0x2001, 0x3b0];

        match self {
            Self::GenerateKeyPair(_) => true,
            Self::GenerateKey(generate) => LONG.contains(&generate.mechanism),
            _ => false,
        }
    }

    /// Overwrites what is secret in it: PINs, and the parts of keys.
    pub fn wipe(&mut self) {
        match self {
            Self::Login(login) => login.pin.zeroize(),
            Self::SetPin(set) => {
                set.old_pin.zeroize();
                set.new_pin.zeroize();
            }
            Self::InitPin(init) => init.new_pin.zeroize(),
            Self::InitToken(init) => init.so_pin.zeroize(),
            Self::CreateToken(create) => {
                create.so_pin.zeroize();
                create.user_pin.zeroize();
            }
            Self::CreateObject(create) => wipe(&mut create.template),
            Self::Encrypt(encrypt) => encrypt.input.zeroize(),
            // What is authenticated need not be public.
            Self::Sign(sign) => sign.input.zeroize(),
            Self::Verify(Verify { of: Some(of), .. }) => of.input.zeroize(),
            Self::Part(part) => part.bytes.zeroize(),
            Self::WrapKey(wrap) => {
                wipe_key(&mut wrap.wrapping_key);
                wipe_key(&mut wrap.key);
            }
            Self::UnwrapKey(unwrap) => wipe_key(&mut unwrap.unwrapping_key),
            Self::GenerateKey(generate) => {
                if let Some(password) = &mut generate.password {
                    password.password.zeroize();
                }
            }
            Self::DeriveKeys(derive) => wipe_key(&mut derive.base),
            Self::DecapsulateKey(decapsulate) => wipe_key(&mut decapsulate.private_key),
            Self::DeriveKey(derive) => {
                wipe_key(&mut derive.base);
                wipe_key(&mut derive.other);
                match derive.derivation.as_mut().and_then(|how| how.scheme.as_mut()) {
                    Some(Scheme::Data(data)) => {
                        data.before.zeroize();
                        data.after.zeroize();
                    }
                    Some(Scheme::Xor(data)) => data.zeroize(),
                    Some(Scheme::Encryption(encrypted)) => encrypted.data.zeroize(),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn wipe_key(key: &mut Option<Key>) {
    if let Some(Key { key: Some(Named::Plain(Attributes { attributes })) }) = key {
        wipe(attributes);
    }
}

fn wipe(attributes: &mut [Attribute]) {
    for attribute in attributes {
        match &mut attribute.value {
            Some(Value::Bytes(bytes)) => bytes.zeroize(),
            Some(Value::Template(Attributes { attributes })) => wipe(attributes),
            _ => {}
        }
    }
}
