//! Keys that the token makes itself.

use cryptoki_sys::*;
use keyward_crypto::dh::{DhGroup, DhPrivateKey};
use keyward_crypto::dsa::{DsaParameters, DsaPrivateKey};
use keyward_crypto::ec::EcPrivateKey;
use keyward_crypto::ed25519::Ed25519PrivateKey;
use keyward_crypto::ml_dsa::MlDsaPrivateKey;
use keyward_crypto::ml_kem::MlKemPrivateKey;
use keyward_crypto::rsa::RsaPrivateKey;
use keyward_crypto::x25519::X25519PrivateKey;
use keyward_wire::{Error, ErrorCode, Result};

use super::defaults::{private_defaults, public_defaults, secret_defaults};
use super::source::{KeySource, Password};
use super::{Author, incomplete, is_made_by_token, number, only_known, read_only, secret, valid};
use crate::attribute::{self, Attributes, value_invalid};
use crate::key::{self, PrivateKey, SecretKey, from_crypto};
use crate::mechanism::{self, Family};
use crate::object::Object;

/// Makes a key pair as C_GenerateKeyPair does (section 5.18.2): the public
/// object, then the private one. RSA takes a processor for a good while.
///
/// # Errors
/// As [`create`](super::create), and CKR_MECHANISM_INVALID.
pub fn generate_key_pair(
    mechanism: u64,
    public_template: Attributes,
    private_template: Attributes,
) -> Result<(Object, Object)> {
    let Family::PairGeneration(key_type) = mechanism::find(mechanism)?.family else {
        return Err(Error::new(
            ErrorCode::MechanismInvalid,
            format!("mechanism {mechanism:#x} makes no key pair"),
        ));
    };
    key_pair(mechanism, key_type, public_template, private_template)
}

/// Makes a secret key as C_GenerateKey does (section 5.18.1). One that does not say otherwise is
/// private, sensitive and not extractable, as a private key is.
///
/// # Errors
/// As [`create`](super::create), CKR_MECHANISM_INVALID, CKR_KEY_SIZE_RANGE.
pub fn generate_secret_key(
    mechanism: u64,
    source: &KeySource,
    template: Attributes,
) -> Result<Object> {
    match (mechanism::find(mechanism)?.family, source) {
        (Family::SecretGeneration(key_type), KeySource::Random) => {
            secret_key(mechanism, key_type, template)
        }
        (Family::PremasterGeneration, KeySource::Premaster(version)) => {
            premaster(mechanism, *version, template)
        }
        (Family::PasswordGeneration, KeySource::Password(password)) => {
            of_password(mechanism, password, template)
        }
        (Family::PremasterGeneration | Family::PasswordGeneration, _) => Err(Error::new(
            ErrorCode::MechanismParamInvalid,
            "the parameter of the mechanism is missing",
        )),
        _ => Err(Error::new(
            ErrorCode::MechanismInvalid,
            format!("mechanism {mechanism:#x} makes no secret key so"),
        )),
    }
}

pub(super) fn key_pair(
    mechanism: u64,
    key_type: u64,
    public_template: Attributes,
    private_template: Attributes,
) -> Result<(Object, Object)> {
    let mut public = for_generation(public_template, CKO_PUBLIC_KEY, key_type)?;
    let mut private = for_generation(private_template, CKO_PRIVATE_KEY, key_type)?;
    let pair = drawn(key_type, &public, &private)?;
    pair.public()?.describe(&mut public);
    pair.describe(&mut private)?;
    public_defaults(&mut public);
    private_defaults(&mut private);
    for attributes in [&mut public, &mut private] {
        attributes.set(CKA_LOCAL, true);
        attributes.set(CKA_KEY_GEN_MECHANISM, mechanism);
    }
    since_the_beginning(&mut private);
    Ok((Object::from_attributes(public)?, Object::from_attributes(private)?))
}

/// A premaster secret is there to be wrapped for the server: it is extractable unless the template
/// says otherwise.
fn premaster(mechanism: u64, version: [u8; 2], template: Attributes) -> Result<Object> {
    let mut attributes = for_generation(template, CKO_SECRET_KEY, CKK_GENERIC_SECRET)?;
    let key = SecretKey::premaster(version);
    if attributes.number(CKA_VALUE_LEN).is_some_and(|given| given != key.value().len() as u64) {
        return Err(Error::new(
            ErrorCode::TemplateInconsistent,
            "a premaster secret has 48 bytes, CKA_VALUE_LEN says another length",
        ));
    }
    attributes.set_default(CKA_EXTRACTABLE, true);
    made(mechanism, &key, attributes)
}

fn of_password(mechanism: u64, password: &Password, mut template: Attributes) -> Result<Object> {
    template.set_default(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
    let key_type = number(&template, CKA_KEY_TYPE)?;
    let attributes = for_generation(template, CKO_SECRET_KEY, key_type)?;
    let length = key::length(key_type, attributes.number(CKA_VALUE_LEN))?;
    let mut key = SecretKey::new(key_type, &password.derive(length)?)?;
    key.set_parity();
    made(mechanism, &key, attributes)
}

pub(super) fn secret_key(mechanism: u64, key_type: u64, template: Attributes) -> Result<Object> {
    let attributes = for_generation(template, CKO_SECRET_KEY, key_type)?;
    let key = SecretKey::generate(key_type, attributes.number(CKA_VALUE_LEN))?;
    made(mechanism, &key, attributes)
}

fn made(mechanism: u64, key: &SecretKey, mut attributes: Attributes) -> Result<Object> {
    secret::describe(key, &mut attributes)?;
    secret_defaults(&mut attributes, true);
    attributes.set(CKA_LOCAL, true);
    attributes.set(CKA_KEY_GEN_MECHANISM, mechanism);
    since_the_beginning(&mut attributes);
    Object::from_attributes(attributes)
}

/// What a new key has been ever since.
fn since_the_beginning(attributes: &mut Attributes) {
    let sensitive = attributes.is_true(CKA_SENSITIVE);
    let extractable = attributes.is_true(CKA_EXTRACTABLE);
    attributes.set(CKA_ALWAYS_SENSITIVE, sensitive);
    attributes.set(CKA_NEVER_EXTRACTABLE, !extractable);
}

/// A new key of a type, as the templates want it.
fn drawn(key_type: u64, public: &Attributes, private: &Attributes) -> Result<PrivateKey> {
    // What describes the pair belongs into the public template; some hosts put it into the other.
    let either = |attribute| {
        public
            .bytes(attribute)
            .or_else(|| private.bytes(attribute))
            .ok_or_else(|| incomplete(attribute))
    };
    let with_set = || {
        let mut attributes = Attributes::new();
        for template in [private, public] {
            if let Some(set) = template.number(CKA_PARAMETER_SET) {
                attributes.set(CKA_PARAMETER_SET, set);
            }
        }
        attributes
    };
    Ok(match key_type {
        CKK_RSA => {
            let bits = number(public, CKA_MODULUS_BITS)?;
            let bits = u32::try_from(bits).map_err(|_| value_invalid(CKA_MODULUS_BITS))?;
            let exponent = public.bytes(CKA_PUBLIC_EXPONENT).unwrap_or(&[1, 0, 1]);
            PrivateKey::Rsa(RsaPrivateKey::generate(bits, exponent).map_err(from_crypto)?)
        }
        CKK_EC => {
            let curve = key::curve(either(CKA_EC_PARAMS)?)?;
            PrivateKey::Ec(EcPrivateKey::generate(curve).map_err(from_crypto)?)
        }
        CKK_EC_EDWARDS => {
            key::edwards(either(CKA_EC_PARAMS)?)?;
            PrivateKey::Ed25519(Ed25519PrivateKey::generate())
        }
        CKK_EC_MONTGOMERY => {
            key::montgomery(either(CKA_EC_PARAMS)?)?;
            PrivateKey::X25519(X25519PrivateKey::generate())
        }
        CKK_ML_DSA => {
            let set = key::ml_dsa_set(&with_set())?;
            PrivateKey::MlDsa(MlDsaPrivateKey::generate(set).map_err(from_crypto)?)
        }
        CKK_ML_KEM => {
            let set = key::ml_kem_set(&with_set())?;
            PrivateKey::MlKem(MlKemPrivateKey::generate(set).map_err(from_crypto)?)
        }
        CKK_DSA => {
            let (prime, subprime) = (either(CKA_PRIME)?, either(CKA_SUBPRIME)?);
            let parameters = DsaParameters::new(prime, subprime, either(CKA_BASE)?);
            parameters
                .and_then(|parameters| DsaPrivateKey::generate(&parameters))
                .map(PrivateKey::Dsa)
                .map_err(from_crypto)?
        }
        CKK_DH => {
            let bits = private
                .number(CKA_VALUE_BITS)
                .map(u32::try_from)
                .transpose()
                .map_err(|_| value_invalid(CKA_VALUE_BITS))?;
            DhGroup::new(either(CKA_PRIME)?, either(CKA_BASE)?)
                .and_then(|group| DhPrivateKey::generate(&group, bits))
                .map(PrivateKey::Dh)
                .map_err(from_crypto)?
        }
        _ => return Err(value_invalid(CKA_KEY_TYPE)),
    })
}

/// The template of a key that the token makes, with class and type as they must be.
pub(super) fn for_generation(
    mut template: Attributes,
    class: u64,
    key_type: u64,
) -> Result<Attributes> {
    only_known(&template, class)?;
    for (attribute, value) in template.iter() {
        if is_made_by_token(attribute) {
            return Err(read_only(attribute));
        }
        if is_made_by_generation(class, attribute) {
            return Err(Error::new(
                ErrorCode::TemplateInconsistent,
                format!("{} comes with the key itself", attribute::name(attribute)),
            ));
        }
        valid(attribute, value, Author::User)?;
    }
    for (attribute, expected) in [(CKA_CLASS, class), (CKA_KEY_TYPE, key_type)] {
        if template.number(attribute).is_some_and(|given| given != expected) {
            return Err(Error::new(
                ErrorCode::TemplateInconsistent,
                format!("{} is not the mechanism's", attribute::name(attribute)),
            ));
        }
        template.set(attribute, expected);
    }
    Ok(template)
}

fn is_made_by_generation(class: u64, attribute: u64) -> bool {
    matches!(attribute, CKA_MODULUS | CKA_EC_POINT | CKA_PUBLIC_KEY_INFO | CKA_VALUE)
        || (class == CKO_PRIVATE_KEY && attribute::is_secret(attribute))
        || (class == CKO_DOMAIN_PARAMETERS
            && matches!(attribute, CKA_PRIME | CKA_SUBPRIME | CKA_BASE))
}
