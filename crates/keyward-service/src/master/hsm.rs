//! What an HSM does for a master key: it finds or makes the key, encrypts, decrypts.

use std::path::Path;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use keyward_crypto::{Hash, RsaPublicKey, random};
use keyward_hsm::Hsm;
use keyward_token::mechanism::{self, BlockCipher, BlockMode, EncryptionScheme};
use keyward_token::{Attributes, Value};
use keyward_wire::{self as wire, Error, ErrorCode};
use zeroize::Zeroizing;

use super::MasterKeyError;
use super::sealed::{HASHES, Scheme, Sealed};
use crate::store::vault::Secret;

/// How a master key is to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Means {
    /// AES-256-GCM, by a secret key.
    AesGcm,
    /// RSAES-OAEP: whoever has the public key could seal, the HSM alone unseals.
    RsaOaep,
}

/// A key in an HSM that seals.
pub(super) struct Key {
    means: Means,
    label: String,
    id: Vec<u8>,
    /// Of an RSA key.
    public: Option<RsaPublicKey>,
    /// Nobody else has used it yet.
    pub(super) made: bool,
}

/// Waits until an HSM can be asked.
///
/// # Errors
/// `PinRefused`; `Away`: unless `patient`, at once.
pub(super) async fn arrive(
    hsm: &Hsm,
    deadline: Instant,
    patient: bool,
) -> Result<(), MasterKeyError> {
    hsm.arrive(deadline, patient).await.map_err(|status| {
        let hsm = hsm.name().to_owned();
        let trouble = status.trouble.unwrap_or_else(|| "it did not answer in time".to_owned());
        match status.pin_refused {
            true => MasterKeyError::PinRefused { hsm, trouble },
            false => MasterKeyError::Away { hsm, trouble },
        }
    })
}

/// Has an HSM decrypt a master key. `path` is where it was found.
pub(super) async fn unseal(
    hsm: &Hsm,
    sealed: &Sealed,
    path: &Path,
) -> Result<Secret, MasterKeyError> {
    let changed = |reason: &str| MasterKeyError::NotOpened {
        file: path.to_owned(),
        hsm: hsm.name().to_owned(),
        key: sealed.key_name(),
        reason: reason.to_owned(),
    };
    let decrypt = wire::Decrypt {
        scheme: Some(encryption(sealed).into()),
        input: sealed.ciphertext.clone(),
        ..wire::Decrypt::default()
    };
    let opened = hsm.decrypt(&reference(sealed), decrypt, Instant::now() + PATIENCE).await;
    let opened = Zeroizing::new(opened.map_err(|error| match error.code {
        ErrorCode::Later => away(hsm, &error),
        ErrorCode::KeyHandleInvalid => MasterKeyError::KeyGone {
            file: path.to_owned(),
            hsm: hsm.name().to_owned(),
            key: sealed.key_name(),
            tokens: tokens(hsm, sealed),
        },
        _ => changed(&error.message),
    })?);
    let key = match sealed.scheme {
        Scheme::AesGcm { .. } => Some(opened.as_slice()),
        Scheme::RsaOaep { .. } => {
            opened.strip_suffix(Hash::Sha256.digest(&sealed.header()).as_slice())
        }
    };
    key.and_then(|key| <[u8; 32]>::try_from(key).ok())
        .map(Zeroizing::new)
        .ok_or_else(|| changed("what it holds does not belong to what stands beside it"))
}

/// What sealed it, and what is there.
fn tokens(hsm: &Hsm, sealed: &Sealed) -> String {
    let by = format!("the token {:?} (serial number {}) sealed it", sealed.token, sealed.serial);
    match hsm.status().token {
        Some((label, serial, _)) if (&label, &serial) != (&sealed.token, &sealed.serial) => {
            format!("{by}, and this is {label:?} ({serial})")
        }
        _ => by,
    }
}

fn encryption(sealed: &Sealed) -> EncryptionScheme {
    match &sealed.scheme {
        Scheme::AesGcm { iv } => EncryptionScheme::Block {
            cipher: BlockCipher::Aes,
            mode: BlockMode::Gcm {
                iv: iv.clone(),
                associated: sealed.header(),
                tag_length: TAG_LENGTH,
            },
        },
        Scheme::RsaOaep { hash } => {
            // Not every HSM takes a label; what it would bind is inside.
            EncryptionScheme::RsaOaep { hash: *hash, mgf1_hash: *hash, label: Vec::new() }
        }
    }
}

/// Finds the key with a label, or has the HSM make it. Without `means`, what is there decides, or
/// what the HSM can do.
pub(super) async fn key(
    hsm: &Hsm,
    label: &str,
    means: Option<Means>,
) -> Result<Key, MasterKeyError> {
    let deadline = Instant::now() + PATIENCE;
    let refused = |error: Error| refused(hsm, error);
    let by_label =
        Attributes::from_pairs([(CKA_LABEL, label.as_bytes().to_vec().into())]).map_err(refused)?;
    let there = hsm.find(&by_label, deadline).await.map_err(refused)?;
    let keys: Vec<_> = there
        .iter()
        .filter_map(|one| Some((kind(one)?, one)))
        .filter(|(kind, _)| means.is_none_or(|means| means == *kind))
        .collect();
    match keys.as_slice() {
        [] => make(hsm, label, means, deadline).await,
        [(means, found)] => {
            if let Some(reason) = unfit(found, *means) {
                return Err(unfit_error(
                    hsm,
                    format!(
                        "its key {label:?} {reason}; name another label, or one that is not there yet"
                    ),
                ));
            }
            let id = found.bytes(CKA_ID).unwrap_or_default().to_vec();
            let public = match means {
                Means::AesGcm => None,
                Means::RsaOaep => Some(public(hsm, found, &there)?),
            };
            Ok(Key { means: *means, label: label.to_owned(), id, public, made: false })
        }
        several => Err(unfit_error(
            hsm,
            format!(
                "it has {} keys labelled {label:?}, and which of them is meant is not known; name another label",
                several.len()
            ),
        )),
    }
}

/// What a key could seal by, if it could.
fn kind(object: &Attributes) -> Option<Means> {
    match (object.number(CKA_CLASS)?, object.number(CKA_KEY_TYPE)?) {
        (CKO_SECRET_KEY, CKK_AES) => Some(Means::AesGcm),
        (CKO_PRIVATE_KEY, CKK_RSA) => Some(Means::RsaOaep),
        _ => None,
    }
}

/// Why a key that is there must not be used.
fn unfit(key: &Attributes, means: Means) -> Option<&'static str> {
    let lacks = |attribute| key.boolean(attribute) == Some(false);
    if !key.is_true(CKA_SENSITIVE) || key.boolean(CKA_EXTRACTABLE) != Some(false) {
        return Some(
            "may leave the HSM: it must have CKA_SENSITIVE true and CKA_EXTRACTABLE false",
        );
    }
    if lacks(CKA_DECRYPT) || (means == Means::AesGcm && lacks(CKA_ENCRYPT)) {
        return Some("is not one to encrypt and decrypt with (CKA_ENCRYPT, CKA_DECRYPT)");
    }
    if means == Means::AesGcm && key.number(CKA_VALUE_LEN) != Some(32) {
        return Some("is an AES key of another length than 256 bits");
    }
    None
}

async fn make(
    hsm: &Hsm,
    label: &str,
    means: Option<Means>,
    deadline: Instant,
) -> Result<Key, MasterKeyError> {
    let abilities = hsm.abilities(deadline).await.map_err(|error| refused(hsm, error))?;
    let can = |number| mechanism::find(number).is_ok_and(|it| abilities.has(it));
    let does = |means| match means {
        Means::AesGcm => can(CKM_AES_KEY_GEN) && can(CKM_AES_GCM),
        Means::RsaOaep => can(CKM_RSA_PKCS_KEY_PAIR_GEN) && can(CKM_RSA_PKCS_OAEP),
    };
    let wanted = means.map_or(vec![Means::AesGcm, Means::RsaOaep], |means| vec![means]);
    let means = wanted.into_iter().find(|means| does(*means)).ok_or_else(|| {
        unfit_error(
            hsm,
            format!(
                "it has no key {label:?}, and cannot make one: {}",
                match means {
                    Some(Means::AesGcm) => "CKM_AES_KEY_GEN or CKM_AES_GCM is missing",
                    Some(Means::RsaOaep) =>
                        "CKM_RSA_PKCS_KEY_PAIR_GEN or CKM_RSA_PKCS_OAEP is missing",
                    None => "it has neither CKM_AES_GCM nor CKM_RSA_PKCS_OAEP",
                }
            ),
        )
    })?;
    let id = random::bytes::<16>().to_vec();
    let mut key = Key { means, label: label.to_owned(), id, public: None, made: true };
    let made = generate(hsm, &mut key, deadline).await;
    if let Err(error) = made {
        key.take_back(hsm).await;
        return Err(error);
    }
    Ok(key)
}

async fn generate(hsm: &Hsm, key: &mut Key, deadline: Instant) -> Result<(), MasterKeyError> {
    let refused = |error: Error| refused(hsm, error);
    let name = || {
        [
            (CKA_LABEL, Value::from(key.label.clone().into_bytes())),
            (CKA_ID, key.id.clone().into()),
            (CKA_TOKEN, true.into()),
        ]
    };
    let guarded = [
        (CKA_PRIVATE, true),
        (CKA_SENSITIVE, true),
        (CKA_EXTRACTABLE, false),
        (CKA_DECRYPT, true),
        (CKA_SIGN, false),
        (CKA_UNWRAP, false),
        (CKA_DERIVE, false),
    ]
    .map(|(attribute, value)| (attribute, Value::from(value)));
    let all = |more: Vec<(u64, Value)>| {
        Attributes::from_pairs(name().into_iter().chain(more)).map_err(refused)
    };
    if key.means == Means::AesGcm {
        let mut more = guarded.to_vec();
        more.extend([
            (CKA_VALUE_LEN, 32_u64.into()),
            (CKA_ENCRYPT, true.into()),
            (CKA_VERIFY, false.into()),
            (CKA_WRAP, false.into()),
        ]);
        hsm.generate_key(CKM_AES_KEY_GEN, &all(more)?, deadline).await.map_err(refused)?;
        return Ok(());
    }
    let public = all(vec![
        (CKA_MODULUS_BITS, RSA_BITS.into()),
        (CKA_PUBLIC_EXPONENT, vec![1, 0, 1].into()),
        (CKA_ENCRYPT, true.into()),
        (CKA_VERIFY, false.into()),
        (CKA_WRAP, false.into()),
    ])?;
    let private = all(guarded.to_vec())?;
    // It takes longer than anything else.
    let deadline = Instant::now() + PAIR_PATIENCE;
    let shown = hsm
        .generate_key_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &public, &private, deadline)
        .await
        .map_err(refused)?;
    key.public = Some(self::public(hsm, &shown, &[])?);
    Ok(())
}

/// The public half of an RSA key, as it or another object of its CKA_ID shows it.
fn public(
    hsm: &Hsm,
    key: &Attributes,
    others: &[Attributes],
) -> Result<RsaPublicKey, MasterKeyError> {
    let id = key.bytes(CKA_ID).filter(|id| !id.is_empty());
    let other = others.iter().find(|other| {
        other.number(CKA_CLASS) == Some(CKO_PUBLIC_KEY) && id.is_some() && other.bytes(CKA_ID) == id
    });
    [Some(key), other]
        .into_iter()
        .flatten()
        .find_map(|one| {
            RsaPublicKey::new(one.bytes(CKA_MODULUS)?, one.bytes(CKA_PUBLIC_EXPONENT)?).ok()
        })
        .filter(|public| public.bits() >= LEAST_RSA_BITS)
        .ok_or_else(|| {
            unfit_error(
                hsm,
                format!("it shows no public key of {LEAST_RSA_BITS} bits or more to its RSA key"),
            )
        })
}

impl Key {
    /// Seals a master key, and sees to it that the HSM unseals it.
    pub(super) async fn seal(&self, hsm: &Hsm, master: &Secret) -> Result<Sealed, MasterKeyError> {
        let (token, serial, _) = hsm.status().token.unwrap_or_default();
        let seal = |scheme| Sealed {
            token: token.clone(),
            serial: serial.clone(),
            key: self.label.clone(),
            id: self.id.clone(),
            scheme,
            ciphertext: Vec::new(),
        };
        let Some(public) = &self.public else {
            let mut sealed = seal(Scheme::AesGcm { iv: random::bytes::<12>().to_vec() });
            sealed.ciphertext = self.encrypt(hsm, &sealed, master).await?;
            check(hsm, &sealed, master).await.map_err(|error| match error {
                // Some make the IV themselves and tell it in their own ways.
                MasterKeyError::NotOpened { reason, .. } => unfit_error(
                    hsm,
                    format!(
                        "it does not decrypt what it has encrypted by AES-GCM with an IV that was \
                         given ({reason}); seal by RSA-OAEP"
                    ),
                ),
                error => error,
            })?;
            return Ok(sealed);
        };
        let mut last = None;
        for (_, hash) in HASHES {
            let mut sealed = seal(Scheme::RsaOaep { hash });
            let mut plaintext = Zeroizing::new(master.to_vec());
            plaintext.extend_from_slice(&Hash::Sha256.digest(&sealed.header()));
            let encrypted = public.encrypt_oaep(hash, hash, &[], &plaintext);
            sealed.ciphertext = encrypted.map_err(|error| unfit_error(hsm, error.to_string()))?;
            match check(hsm, &sealed, master).await {
                Ok(()) => return Ok(sealed),
                Err(error @ MasterKeyError::Away { .. }) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| unfit_error(hsm, "it has no hash for OAEP".to_owned())))
    }

    async fn encrypt(
        &self,
        hsm: &Hsm,
        sealed: &Sealed,
        master: &Secret,
    ) -> Result<Vec<u8>, MasterKeyError> {
        let wire::decrypt::Scheme::Block(block) = encryption(sealed).into() else {
            return Err(unfit_error(hsm, "an RSA key was asked to encrypt".to_owned()));
        };
        let encrypt = wire::Encrypt {
            block: Some(block),
            input: master.to_vec(),
            ..wire::Encrypt::default()
        };
        let encrypted = hsm.encrypt(&reference(sealed), encrypt, Instant::now() + PATIENCE).await;
        encrypted.map_err(|error| refused(hsm, error))
    }

    /// Destroys it, if it was made for what did not come about.
    pub(super) async fn take_back(&self, hsm: &Hsm) {
        if !self.made {
            return;
        }
        if let Ok(id) = Attributes::from_pairs([(CKA_ID, self.id.clone().into())]) {
            // What it was taken back for is what matters to whoever asked.
            let _ = hsm.destroy(&id, Instant::now() + PATIENCE).await;
        }
    }
}

/// Sees to it that the HSM unseals a key that was just sealed.
async fn check(hsm: &Hsm, sealed: &Sealed, master: &Secret) -> Result<(), MasterKeyError> {
    let opened = unseal(hsm, sealed, Path::new("the sealed key")).await?;
    if *opened == **master {
        return Ok(());
    }
    Err(unfit_error(hsm, "it decrypts something else than it was given".to_owned()))
}

/// The template that finds the key alone.
pub(super) fn reference(sealed: &Sealed) -> Attributes {
    let mut template = Attributes::new();
    match sealed.scheme {
        Scheme::AesGcm { .. } => template.set(CKA_CLASS, CKO_SECRET_KEY),
        Scheme::RsaOaep { .. } => template.set(CKA_CLASS, CKO_PRIVATE_KEY),
    }
    match sealed.id.as_slice() {
        [] => template.set(CKA_LABEL, sealed.key.clone().into_bytes()),
        id => template.set(CKA_ID, id.to_vec()),
    }
    template
}

fn refused(hsm: &Hsm, error: Error) -> MasterKeyError {
    match error.code {
        ErrorCode::Later => away(hsm, &error),
        _ => unfit_error(hsm, error.message.into_owned()),
    }
}

fn away(hsm: &Hsm, error: &Error) -> MasterKeyError {
    // The error names the HSM, and so does its own sentence.
    let trouble = hsm.status().trouble.unwrap_or_else(|| error.message.clone().into_owned());
    MasterKeyError::Away { hsm: hsm.name().to_owned(), trouble }
}

fn unfit_error(hsm: &Hsm, reason: String) -> MasterKeyError {
    MasterKeyError::Unfit { hsm: hsm.name().to_owned(), reason }
}

/// For one call, whatever the configuration allows to it.
const PATIENCE: Duration = Duration::from_secs(60);
const PAIR_PATIENCE: Duration = Duration::from_secs(300);
/// Bytes.
const TAG_LENGTH: u32 = 16;
/// NIST SP 800-57: 128 bits of strength.
const RSA_BITS: u64 = 3072;
const LEAST_RSA_BITS: u32 = 2048;
