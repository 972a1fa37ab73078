//! Session objects that travel sealed: the client carries what it cannot read.
//!
//! A blob is a version byte and what the sealing key made of the expiry
//! (seconds since 1970-01-01 UTC, u64 big-endian) and the encoded attributes.

use keyward_token::{Attributes, Object};
use keyward_wire::{self as wire, Error, ErrorCode, Result};
use prost::Message;
use zeroize::Zeroizing;

use crate::clock;
use crate::id::Id;
use crate::store::vault::Vault;

/// To whom a sealed object belongs.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) identity: Id,
    pub(super) token: Id,
    pub(super) instance: Vec<u8>,
}

/// An object that was sealed.
pub(super) struct Opened {
    pub(super) object: Object,
    /// Seal it again: a good part of its life is over.
    pub(super) renew: bool,
}

impl Owner {
    /// Seals an object.
    pub(super) fn seal(&self, vault: &Vault, object: &Object) -> Result<Vec<u8>> {
        let mut plaintext = Zeroizing::new((clock::seconds() + LIFE).to_be_bytes().to_vec());
        plaintext.extend_from_slice(&encode(object));
        let sealed = vault
            .sealed
            .seal(&self.authenticated(), &plaintext)
            .map_err(|_| Error::new(ErrorCode::Internal, "the object is too long to be sealed"))?;
        Ok([&[VERSION], sealed.as_slice()].concat())
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// CKR_KEY_HANDLE_INVALID if it is another owner's, or has expired.
    pub(super) fn open(&self, vault: &Vault, blob: &[u8]) -> Result<Opened> {
        let invalid = || {
            Error::new(
                ErrorCode::KeyHandleInvalid,
                "the session key has expired, or was made for another client or token",
            )
        };
        let sealed = blob.strip_prefix(&[VERSION]).ok_or_else(invalid)?;
        let plaintext = vault.sealed.open(&self.authenticated(), sealed).map_err(|_| invalid())?;
        let (expires, encoded) = plaintext.split_first_chunk::<8>().ok_or_else(invalid)?;
        let left =
            u64::from_be_bytes(*expires).checked_sub(clock::seconds()).ok_or_else(invalid)?;
        let attributes = wire::Attributes::decode(encoded).map_err(|_| invalid())?;
        let object = Object::from_attributes(Attributes::try_from(attributes.attributes)?)?;
        Ok(Opened { object, renew: left < LIFE - RENEW_AFTER })
    }

    fn authenticated(&self) -> Vec<u8> {
        [&[VERSION], self.identity.as_bytes(), self.token.as_bytes(), &self.instance].concat()
    }
}

/// An object's attributes, secret ones too, as they are stored.
pub(super) fn encode(object: &Object) -> Zeroizing<Vec<u8>> {
    let attributes = wire::Attributes { attributes: object.attributes().into() };
    Zeroizing::new(attributes.encode_to_vec())
}

/// Of the blob's form and of the sealing key.
const VERSION: u8 = 1;
/// Seconds.
const LIFE: u64 = 24 * 3600;
/// Seconds.
const RENEW_AFTER: u64 = 3600;

#[cfg(test)]
mod tests {
    use cryptoki_sys::{CKA_CLASS, CKO_DATA};

    use super::*;

    #[test]
    fn only_its_owner_opens_a_blob() {
        let (vault, _) = Vault::create(&Zeroizing::new([3; 32])).unwrap();
        let owner = Owner { identity: Id::random(), token: Id::random(), instance: vec![1; 16] };
        let attributes = Attributes::from_pairs([(CKA_CLASS, CKO_DATA.into())]).unwrap();
        let object = Object::from_attributes(attributes).unwrap();
        let blob = owner.seal(&vault, &object).unwrap();
        let opened = owner.open(&vault, &blob).unwrap();
        assert_eq!(opened.object, object);
        assert!(!opened.renew);
        for other in [
            Owner { identity: Id::random(), ..owner.clone() },
            Owner { token: Id::random(), ..owner.clone() },
            Owner { instance: vec![2; 16], ..owner.clone() },
        ] {
            let refused = other.open(&vault, &blob).map(drop).unwrap_err();
            assert_eq!(refused.code, ErrorCode::KeyHandleInvalid);
        }
        let mut changed = blob.clone();
        changed[0] = 2;
        assert!(owner.open(&vault, &changed).is_err());
    }
}
