//! The proof that the target has what the source had. Keys answer a fresh
//! challenge in the target, which the source's public key or certificate, or the
//! source itself, judges; certificates and data are compared byte for byte.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki_sys::*;
use keyward_crypto::block::BlockKey;
use keyward_crypto::digest::Hash;
use keyward_crypto::ec::{EcPrivateKey, EcPublicKey};
use keyward_crypto::ed25519::{Ed25519PublicKey, Variant};
use keyward_crypto::hmac::hmac;
use keyward_crypto::rsa::RsaPublicKey;
use keyward_hsm::attributes::{Template, read};
use keyward_token::{Attributes, attribute};

use crate::error::{Error, Kind, Result};
use crate::inventory::chain;
use crate::journal::State;
use crate::manifest::{Left, Manifest, Proof, Verdict};
use crate::object::Object;
use crate::plan::{Plan, Step, Way, is_same};
use crate::run::{Progress, find_made, token_of};
use crate::source::Source;
use crate::token::failure::failure;

/// Verifies each object of a plan that was to go, at `now` in seconds since 1970.
///
/// # Errors
/// If the journal is another plan's, or a token stops to answer. What is wrong
/// with single objects is in their verdicts.
pub fn verify(
    plan: &Plan,
    source: &Source,
    target: &Source,
    state: &State,
    now: i64,
    progress: &dyn Progress,
) -> Result<Manifest> {
    let digest = plan.digest()?;
    if state.plan.as_ref() != Some(&digest) {
        return Err(Error::new(
            "the journal belongs to another plan, or the plan was changed since",
        ));
    }
    let token = token_of(target)?;
    let going: Vec<&Step> =
        plan.steps.iter().filter(|step| matches!(step.way, Way::Plain | Way::Wrapped)).collect();
    progress.begin(going.len(), 0);
    let judge = Judge {
        source,
        target,
        from: source.token.as_ref().map(|token| token.session()).transpose()?,
        to: token.session()?,
    };
    let mut objects = Vec::new();
    for step in going {
        let proof = judge.one(step, state)?;
        match &proof.verdict {
            Verdict::Same => progress.made(&step.what),
            Verdict::NotProved(why) | Verdict::Wrong(why) => progress.failed(&step.what, why),
        }
        objects.push(proof);
    }
    let left = plan
        .steps
        .iter()
        .filter(|step| matches!(step.way, Way::NotAtAll | Way::Leave))
        .map(|step| Left {
            reference: step.reference.clone(),
            what: step.what.clone(),
            why: step.reason.clone(),
        })
        .collect();
    Ok(Manifest {
        format: 1,
        verified_at: crate::moment(now),
        plan: digest,
        signed_off_by: plan.sign_off.by.clone(),
        source: plan.source.clone(),
        target: plan.target.clone(),
        target_serial: token.serial().to_owned(),
        complete: objects.iter().all(|proof| proof.verdict.is_good()),
        objects,
        left,
    })
}

/// What a challenge came to: how it was made, and whether it was met.
type Answer = std::result::Result<&'static str, Verdict>;

struct Judge<'a> {
    source: &'a Source,
    target: &'a Source,
    from: Option<Session>,
    to: Session,
}

impl Judge<'_> {
    fn one(&self, step: &Step, state: &State) -> Result<Proof> {
        let mut proof = Proof {
            reference: step.reference.clone(),
            what: step.what.clone(),
            way: step.way.name().to_owned(),
            sha256: step.sha256.clone(),
            method: "none".to_owned(),
            verdict: Verdict::Same,
            differences: Vec::new(),
        };
        let wrong = |why: &str| Verdict::Wrong(why.to_owned());
        let Some(object) = self.source.objects.iter().find(|it| it.reference == step.reference)
        else {
            proof.verdict = Verdict::NotProved("it is not in the source any more".to_owned());
            return Ok(proof);
        };
        let there = find_made(step, object, self.target)?
            .or_else(|| self.target.objects.iter().find(|there| is_same(object, there)));
        let Some(there) = there else {
            proof.verdict = match state.failed.get(&step.reference) {
                Some(why) => wrong(&format!("it could not be made: {why}")),
                None => wrong("it is not in the target"),
            };
            return Ok(proof);
        };
        let answer = match object.class() {
            CKO_CERTIFICATE => self.certificate(object, there),
            CKO_DATA | CKO_PUBLIC_KEY if is_same(object, there) => Ok("compared byte for byte"),
            CKO_DATA | CKO_PUBLIC_KEY => Err(wrong("its value is another one")),
            CKO_PRIVATE_KEY => self.private_key(object, there)?,
            _ => self.secret_key(object, there)?,
        };
        match answer {
            Ok(method) => proof.method = method.to_owned(),
            Err(verdict) => proof.verdict = verdict,
        }
        proof.differences = differences(&step.attributes(object)?, &there.attributes);
        Ok(proof)
    }

    /// The same bytes, and the same chain behind it.
    fn certificate(&self, object: &Object, there: &Object) -> Answer {
        if object.certificate() != there.certificate() {
            return Err(Verdict::Wrong("it is another certificate".to_owned()));
        }
        let issuers = |object: &Object, all: &[Object]| -> Vec<Vec<u8>> {
            chain(object, all)
                .iter()
                .filter_map(|it| all.iter().find(|other| other.reference == *it))
                .filter_map(Object::certificate)
                .map(<[u8]>::to_vec)
                .collect()
        };
        let (here, there) =
            (issuers(object, &self.source.objects), issuers(there, &self.target.objects));
        // The target may know more issuers than the source did.
        if !there.starts_with(&here) {
            return Err(Verdict::Wrong("its chain is not the same in the target".to_owned()));
        }
        Ok("compared byte for byte, with its chain")
    }

    fn private_key(&self, object: &Object, there: &Object) -> Result<Answer> {
        let not_proved = |why: &str| Ok(Err(Verdict::NotProved(why.to_owned())));
        let Some(info) = &object.info else {
            return not_proved("the source shows neither its public key nor a certificate");
        };
        let Some(handle) = there.handle else { return not_proved("it has no handle") };
        let allows = |attribute| there.attributes.boolean(attribute).unwrap_or(true);
        let answer = match there.attributes.number(CKA_KEY_TYPE) {
            Some(CKK_RSA) => {
                let Ok(key) = RsaPublicKey::from_spki_der(info) else {
                    return not_proved("its public key is too short to be judged");
                };
                if allows(CKA_SIGN) {
                    self.rsa_signs(&key, handle)
                } else if allows(CKA_DECRYPT) {
                    self.rsa_decrypts(&key, handle)
                } else {
                    return not_proved("it may neither sign nor decrypt");
                }
            }
            Some(CKK_EC) => {
                let Ok(key) = EcPublicKey::from_spki_der(info) else {
                    return not_proved("its curve is not known here");
                };
                if allows(CKA_SIGN) {
                    self.ec_signs(&key, handle)
                } else if allows(CKA_DERIVE) {
                    self.ec_agrees(&key, handle)
                } else {
                    return not_proved("it may neither sign nor agree");
                }
            }
            Some(CKK_EC_EDWARDS) => match Ed25519PublicKey::from_spki_der(info) {
                Ok(key) => self.ed25519_signs(&key, handle),
                Err(_) => return not_proved("its curve is not known here"),
            },
            _ => return not_proved("keys of its type cannot be challenged here"),
        };
        settled(answer)
    }

    fn rsa_signs(&self, key: &RsaPublicKey, handle: ObjectHandle) -> Result<Answer> {
        let digest = Hash::Sha256.digest(&challenge());
        let info = Hash::Sha256.digest_info(&digest)?;
        let signature = self.sign(&Mechanism::RsaPkcs, handle, &info)?;
        Ok(met(key.verify_pkcs1_raw(&info, &signature).is_ok(), "signed (CKM_RSA_PKCS)"))
    }

    fn rsa_decrypts(&self, key: &RsaPublicKey, handle: ObjectHandle) -> Result<Answer> {
        let challenge = challenge();
        let encrypted = key.encrypt_pkcs1(&challenge)?;
        let plain = self
            .to
            .decrypt(&Mechanism::RsaPkcs, handle, &encrypted)
            .map_err(|error| failure("the target, decrypting", &error))?;
        Ok(met(plain == challenge, "decrypted (CKM_RSA_PKCS)"))
    }

    fn ec_signs(&self, key: &EcPublicKey, handle: ObjectHandle) -> Result<Answer> {
        let digest = Hash::Sha256.digest(&challenge());
        let signature = self.sign(&Mechanism::Ecdsa, handle, &digest)?;
        Ok(met(key.verify(&digest, &signature).is_ok(), "signed (CKM_ECDSA)"))
    }

    fn ec_agrees(&self, key: &EcPublicKey, handle: ObjectHandle) -> Result<Answer> {
        let own = EcPrivateKey::generate(key.curve())?;
        let shared = own.ecdh(key)?;
        let peer = own.public().point();
        let parameters = Ecdh1DeriveParams::new(EcKdf::null(), &peer);
        let mut template = Attributes::new();
        template.set(CKA_CLASS, CKO_SECRET_KEY);
        template.set(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
        template.set(CKA_TOKEN, false);
        template.set(CKA_SENSITIVE, false);
        template.set(CKA_EXTRACTABLE, true);
        template.set(CKA_VALUE_LEN, shared.len() as u64);
        let refused = |error| failure("the target, agreeing on a secret", &error);
        let derived = self
            .to
            .derive_key(
                &Mechanism::Ecdh1Derive(parameters),
                handle,
                Template::from(&template).as_slice(),
            )
            .map_err(refused)?;
        let value = read(&self.to, derived, &[CKA_VALUE]).map_err(refused)?;
        // It goes with the session anyway.
        let _ = self.to.destroy_object(derived);
        let same = value.bytes(CKA_VALUE) == Some(&shared[..]);
        Ok(met(same, "agreed on a secret (CKM_ECDH1_DERIVE)"))
    }

    fn ed25519_signs(&self, key: &Ed25519PublicKey, handle: ObjectHandle) -> Result<Answer> {
        let challenge = challenge();
        let parameters = EddsaParams::new(EddsaSignatureScheme::Ed25519);
        let signature = self.sign(&Mechanism::Eddsa(parameters), handle, &challenge)?;
        let good = key.verify(Variant::Pure, &challenge, &signature).is_ok();
        Ok(met(good, "signed (CKM_EDDSA)"))
    }

    fn sign(&self, mechanism: &Mechanism<'_>, key: ObjectHandle, data: &[u8]) -> Result<Vec<u8>> {
        self.to.sign(mechanism, key, data).map_err(|error| failure("the target, signing", &error))
    }

    /// An exchange of both sides: what one encrypts the other decrypts, or both
    /// give the same code.
    fn secret_key(&self, object: &Object, there: &Object) -> Result<Answer> {
        let not_proved = |why: &str| Ok(Err(Verdict::NotProved(why.to_owned())));
        let Some(handle) = there.handle else { return not_proved("it has no handle") };
        let both = |attribute| {
            object.attributes.boolean(attribute).unwrap_or(true)
                && there.attributes.boolean(attribute).unwrap_or(true)
        };
        let value = object.secret.as_ref().and_then(|secret| secret.bytes(CKA_VALUE));
        let answer = match object.attributes.number(CKA_KEY_TYPE) {
            Some(CKK_AES) if both(CKA_ENCRYPT) && both(CKA_DECRYPT) => {
                self.aes(object, value, handle)
            }
            Some(CKK_GENERIC_SECRET | CKK_SHA256_HMAC) if both(CKA_SIGN) => {
                self.hmac(object, value, handle)
            }
            _ if value.is_some() => self.value(value, handle),
            _ => return not_proved("nothing that it may do can be done on both sides"),
        };
        settled(answer)
    }

    fn aes(&self, object: &Object, value: Option<&[u8]>, there: ObjectHandle) -> Result<Answer> {
        let (challenge, vector) = (challenge(), keyward_crypto::random::bytes::<16>());
        let mechanism = Mechanism::AesCbcPad(vector);
        let encrypted = self
            .to
            .encrypt(&mechanism, there, &challenge)
            .map_err(|error| failure("the target, encrypting", &error))?;
        let plain = match (value, &self.from, object.handle) {
            (Some(value), ..) => BlockKey::aes(value)?
                .cbc_pad_decrypt(&vector, &encrypted)
                .ok()
                .map(|it| it.to_vec()),
            (None, Some(from), Some(handle)) => from.decrypt(&mechanism, handle, &encrypted).ok(),
            _ => None,
        };
        let good = plain.is_some_and(|plain| plain == challenge);
        Ok(met(good, "encrypted there, decrypted here (CKM_AES_CBC_PAD)"))
    }

    fn hmac(&self, object: &Object, value: Option<&[u8]>, there: ObjectHandle) -> Result<Answer> {
        let challenge = challenge();
        let code = self.sign(&Mechanism::Sha256Hmac, there, &challenge)?;
        let own = match (value, &self.from, object.handle) {
            (Some(value), ..) => hmac(Hash::Sha256, value, &challenge).to_vec(),
            (None, Some(from), Some(handle)) => from
                .sign(&Mechanism::Sha256Hmac, handle, &challenge)
                .map_err(|error| failure("the source, authenticating", &error))?,
            _ => Vec::new(),
        };
        Ok(met(code == own, "the same code on both sides (CKM_SHA256_HMAC)"))
    }

    /// A key of a file, which the target may show.
    fn value(&self, value: Option<&[u8]>, there: ObjectHandle) -> Result<Answer> {
        let shown =
            read(&self.to, there, &[CKA_VALUE]).map_err(|error| failure("the target", &error))?;
        Ok(match shown.bytes(CKA_VALUE) {
            None => Err(Verdict::NotProved("nothing that it may do can be judged here".to_owned())),
            shown => met(shown == value, "compared byte for byte"),
        })
    }
}

fn met(good: bool, method: &'static str) -> Answer {
    match good {
        true => Ok(method),
        false => Err(Verdict::Wrong("the target's key is another one".to_owned())),
    }
}

/// What a token refuses to do with one key is about that key.
fn settled(answer: Result<Answer>) -> Result<Answer> {
    match answer {
        Err(error) if error.kind() != Kind::Token => Ok(Err(Verdict::NotProved(error.to_string()))),
        other => other,
    }
}

/// Attributes that are not as planned.
fn differences(planned: &Attributes, found: &Attributes) -> Vec<String> {
    planned
        .iter()
        // A point is written in two ways; the key itself was compared.
        .filter(|(number, _)| !matches!(*number, CKA_VALUE_LEN | CKA_EC_POINT))
        .filter(|(number, _)| !attribute::is_secret(*number))
        .filter_map(|(number, value)| {
            let name = attribute::name(number);
            match found.value(number) {
                Some(found) if found == value => None,
                Some(_) => Some(format!("{name} is another one in the target")),
                None => Some(format!("{name} is missing in the target")),
            }
        })
        .collect()
}

fn challenge() -> Vec<u8> {
    keyward_crypto::random::bytes::<32>().to_vec()
}
