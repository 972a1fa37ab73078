//! What is done with private keys, on the workers.

use cryptoki_sys::{
    CKA_ALLOWED_MECHANISMS, CKA_DECRYPT, CKA_SIGN, CKA_SIGN_RECOVER, CKO_PRIVATE_KEY,
};
use keyward_token::Object;
use keyward_token::attribute::Value;
use keyward_token::key::PrivateKey;
use keyward_token::mechanism::{EncryptionScheme, SignatureScheme};
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Result};

use super::access::{Access, Rights};
use super::{Answer, Call, Engine, malformed};

impl Engine {
    /// C_Sign and C_SignRecover.
    pub(super) async fn sign(
        &self,
        call: &Call,
        access: Access,
        sign: &wire::Sign,
    ) -> Result<Answer> {
        let scheme = sign.scheme.clone().ok_or_else(|| malformed("the request names no scheme"))?;
        let scheme = SignatureScheme::try_from(scheme)?;
        let usage = if sign.recoverable {
            scheme.must_be_recoverable()?;
            CKA_SIGN_RECOVER
        } else {
            CKA_SIGN
        };
        let input = sign.input.clone();
        let work = move |key: &PrivateKey| key.sign(&scheme, &input);
        let bytes = self.with_key(call, &access, sign.key.as_ref(), usage, work).await?;
        Ok(access.answer(Some(Answered::Signature(bytes))))
    }

    /// C_Decrypt.
    pub(super) async fn decrypt(
        &self,
        call: &Call,
        access: Access,
        decrypt: &wire::Decrypt,
    ) -> Result<Answer> {
        let scheme =
            decrypt.scheme.clone().ok_or_else(|| malformed("the request names no scheme"))?;
        let scheme = EncryptionScheme::try_from(scheme)?;
        let input = decrypt.input.clone();
        let work = move |key: &PrivateKey| key.decrypt(&scheme, &input).map(|plain| plain.to_vec());
        let bytes = self.with_key(call, &access, decrypt.key.as_ref(), CKA_DECRYPT, work).await?;
        Ok(access.answer(Some(Answered::Plaintext(bytes))))
    }

    /// Does `work` with a key that allows `usage`, on a worker.
    async fn with_key(
        &self,
        call: &Call,
        access: &Access,
        key: Option<&wire::Key>,
        usage: u64,
        work: impl FnOnce(&PrivateKey) -> Result<Vec<u8>> + Send + 'static,
    ) -> Result<wire::Bytes> {
        let uid = call.identity.uid;
        match key.and_then(|key| key.key.as_ref()) {
            Some(wire::key::Key::UniqueId(unique_id)) => {
                let stored = access.object(unique_id).cloned().ok_or_else(no_key)?;
                usable(&stored.object, usage)?;
                let value = self
                    .workers
                    .run(uid, call.deadline, move || work(stored.private_key()?))
                    .await?;
                Ok(wire::Bytes { value, sealed: Vec::new() })
            }
            Some(wire::key::Key::Sealed(blob)) => {
                let owner = self.owner(call, access);
                let blob = blob.clone();
                let vault = std::sync::Arc::clone(&self.vault);
                let user = access.rights == Rights::User;
                self.workers
                    .run(uid, call.deadline, move || {
                        let opened = owner.open(&vault, &blob)?;
                        if opened.object.is_private() && !user {
                            return Err(no_key());
                        }
                        usable(&opened.object, usage)?;
                        let value = work(&PrivateKey::of(opened.object.attributes())?)?;
                        let sealed = if opened.renew {
                            owner.seal(&vault, &opened.object)?
                        } else {
                            Vec::new()
                        };
                        Ok(wire::Bytes { value, sealed })
                    })
                    .await
            }
            None => Err(malformed("the request names no key")),
        }
    }
}

/// Whether an object is a private key that allows `usage`.
fn usable(object: &Object, usage: u64) -> Result<()> {
    if object.class() != CKO_PRIVATE_KEY {
        return Err(Error::new(ErrorCode::KeyTypeInconsistent, "the object is not a private key"));
    }
    if matches!(
        object.attributes().value(CKA_ALLOWED_MECHANISMS),
        Some(Value::Numbers(allowed)) if allowed.is_empty()
    ) {
        return Err(Error::new(
            ErrorCode::KeyFunctionNotPermitted,
            "CKA_ALLOWED_MECHANISMS of the key is an empty list",
        ));
    }
    object.permit(usage)
}

fn no_key() -> Error {
    Error::new(
        ErrorCode::KeyHandleInvalid,
        "there is no such key, or it is private and the user has not logged in",
    )
}
