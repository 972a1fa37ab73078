//! What both ends have to know of an operation without carrying it out.

use zeroize::Zeroize;

use crate::attribute::Value;
use crate::request::Operation;
use crate::{Attribute, Attributes};

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
                | Self::ListIdentities(_)
                | Self::Status(_)
                | Self::Backup(_)
                | Self::Snapshot(_)
        )
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
            _ => {}
        }
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
