//! What is done with private and secret keys, on the workers.

use cryptoki_sys::*;
use keyward_token::key::{PrivateKey, SecretKey};
use keyward_token::mechanism::{EncryptionScheme, Policy, SignatureScheme, declared};
use keyward_token::{Object, hsm};
use keyward_wire::long::Of;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, Error, ErrorCode, Result};

use super::access::{Access, Rights};
use super::hsm::{Key, Work};
use super::{Answer, Call, Engine, malformed};

/// What is to be done with a key, and what was shown for it.
struct Use {
    /// CKA_SIGN and the like.
    usage: u64,
    /// CKM_...
    mechanism: u64,
    /// That the PIN was given for it.
    authentication: Vec<u8>,
}

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
        let mechanism = declared::of_signature(sign.mechanism, &scheme, &input)?;
        let work = Work::Sign(scheme, input);
        let usage = Use { usage, mechanism, authentication: sign.authentication.clone() };
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
        let mechanism = declared::of_encryption(decrypt.mechanism, &scheme)?;
        let authentication = decrypt.authentication.clone();
        let usage = Use { usage: CKA_DECRYPT, mechanism, authentication };
        let work = Work::Decrypt(scheme, decrypt.input.clone());
        let bytes = self.with_key(call, &access, decrypt.key.as_ref(), usage, work).await?;
        Ok(access.answer(Some(Answered::Plaintext(bytes))))
    }

    /// C_Encrypt, with a secret key.
    pub(super) async fn encrypt(
        &self,
        call: &Call,
        access: Access,
        encrypt: &wire::Encrypt,
    ) -> Result<Answer> {
        let block =
            encrypt.block.clone().ok_or_else(|| malformed("the request names no scheme"))?;
        let scheme = EncryptionScheme::try_from(wire::decrypt::Scheme::Block(block))?;
        let mechanism = declared::of_encryption(encrypt.mechanism, &scheme)?;
        let usage = Use { usage: CKA_ENCRYPT, mechanism, authentication: Vec::new() };
        let work = Work::Encrypt(scheme, encrypt.input.clone());
        let bytes = self.with_key(call, &access, encrypt.key.as_ref(), usage, work).await?;
        Ok(access.answer(Some(Answered::Ciphertext(bytes))))
    }

    /// C_Verify, with a secret key.
    pub(super) async fn verify(
        &self,
        call: &Call,
        access: Access,
        verify: &wire::Verify,
    ) -> Result<Answer> {
        let of = verify.of.as_ref().ok_or_else(|| malformed("the request names no key"))?;
        let scheme = of.scheme.clone().ok_or_else(|| malformed("the request names no scheme"))?;
        let scheme = SignatureScheme::try_from(scheme)?;
        let (input, code) = (of.input.clone(), verify.code.clone());
        let mechanism = declared::of_signature(of.mechanism, &scheme, &input)?;
        let usage = Use { usage: CKA_VERIFY, mechanism, authentication: Vec::new() };
        let work = Work::Verify(scheme, input, code);
        let bytes = self.with_key(call, &access, of.key.as_ref(), usage, work).await?;
        Ok(access.answer(Some(Answered::Verified(bytes))))
    }

    /// Whether the input of an operation may come: whatever can be refused before
    /// it is there is refused now.
    pub(super) fn expect(access: &Access, long: &wire::Long) -> Result<()> {
        long.check()?;
        let key = match long.of.as_ref() {
            Some(Of::Sign(sign)) => sign.key.as_ref(),
            Some(Of::Verify(verify)) => verify.of.as_ref().and_then(|of| of.key.as_ref()),
            Some(Of::Encrypt(encrypt)) => encrypt.key.as_ref(),
            Some(Of::Decrypt(decrypt)) => decrypt.key.as_ref(),
            None => None,
        };
        match key.and_then(|key| key.key.as_ref()) {
            Some(wire::key::Key::UniqueId(unique_id)) => {
                access.object(unique_id).map(drop).ok_or_else(no_key)
            }
            _ => Ok(()),
        }
    }

    /// Does `work` with a key that allows it, on a worker.
    async fn with_key(
        &self,
        call: &Call,
        access: &Access,
        key: Option<&wire::Key>,
        Use { usage, mechanism, authentication }: Use,
        work: Work,
    ) -> Result<wire::Bytes> {
        let uid = call.identity.uid;
        let policy = access.policy();
        let usable = move |object: &Object| usable(policy, object, usage, mechanism);
        match key.and_then(|key| key.key.as_ref()) {
            Some(wire::key::Key::UniqueId(unique_id)) => {
                let stored = access.object(unique_id).cloned().ok_or_else(no_key)?;
                usable(&stored.object)?;
                if asks_for_pin(call, access) && always_authenticates(&stored.object) {
                    self.check_authentication(call, &access.token, unique_id, &authentication)?;
                }
                if let Some(reference) = hsm::reference(&stored.object)
                    && let Some(hsm) = self.hsm_of(&access.token)?
                {
                    let value = work.in_hsm(&hsm, &reference, call.deadline).await?;
                    return Ok(wire::Bytes { value, sealed: Vec::new() });
                }
                let value = self
                    .workers
                    .run_by_size(uid, call.deadline, work.length(), move || {
                        if stored.object.class() == CKO_SECRET_KEY {
                            return work
                                .with(&Key::Secret(SecretKey::of(stored.object.attributes())?));
                        }
                        work.with(&Key::Private(stored.private_key()?))
                    })
                    .await?;
                Ok(wire::Bytes { value, sealed: Vec::new() })
            }
            Some(wire::key::Key::Sealed(blob)) => {
                let owner = self.owner(call, access);
                let blob = blob.clone();
                let vault = std::sync::Arc::clone(&self.vault);
                let user = access.rights == Rights::User;
                let authenticated =
                    self.check_authentication(call, &access.token, "", &authentication);
                let asked = asks_for_pin(call, access);
                self.workers
                    .run_by_size(uid, call.deadline, work.length(), move || {
                        let opened = owner.open(&vault, &blob)?;
                        if opened.object.is_private() && !user {
                            return Err(no_key());
                        }
                        usable(&opened.object)?;
                        if asked && always_authenticates(&opened.object) {
                            authenticated?;
                        }
                        let attributes = opened.object.attributes();
                        let value = if opened.object.class() == CKO_SECRET_KEY {
                            work.with(&Key::Secret(SecretKey::of(attributes)?))?
                        } else {
                            work.with(&Key::Private(&PrivateKey::of(attributes)?))?
                        };
                        let sealed = if opened.renew {
                            owner.seal(&vault, &opened.object)?
                        } else {
                            Vec::new()
                        };
                        Ok(wire::Bytes { value, sealed })
                    })
                    .await
            }
            Some(wire::key::Key::Plain(_)) => {
                Err(malformed("a key that only the client has works there"))
            }
            None => Err(malformed("the request names no key")),
        }
    }
}

/// Whether an object is a private or secret key that allows what is to be done.
fn usable(policy: Policy, object: &Object, usage: u64, mechanism: u64) -> Result<()> {
    if !matches!(object.class(), CKO_PRIVATE_KEY | CKO_SECRET_KEY) {
        return Err(Error::new(
            ErrorCode::KeyTypeInconsistent,
            "the object is neither a private nor a secret key",
        ));
    }
    object.permit(usage)?;
    policy.permit(mechanism, usage, object)
}

/// Whether a PIN is asked for at each use of some keys: of those who need one to log in.
fn asks_for_pin(call: &Call, access: &Access) -> bool {
    access.token.record.login_mode() != wire::LoginMode::Certificate
        && !call.identity.record.administrator
}

fn always_authenticates(object: &Object) -> bool {
    object.attributes().is_true(CKA_ALWAYS_AUTHENTICATE)
}

pub(super) fn no_key() -> Error {
    Error::new(
        ErrorCode::KeyHandleInvalid,
        "there is no such key (was it retired?), or it is private and the user has not logged in",
    )
}
