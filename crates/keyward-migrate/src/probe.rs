//! What the target keeps of an object: asked of the target itself, with session
//! objects of keys that were made for the question.

use std::collections::BTreeMap;

use cryptoki::session::Session;
use cryptoki_sys::*;
use keyward_crypto::ec::{Curve, EcPrivateKey};
use keyward_crypto::ed25519::Ed25519PrivateKey;
use keyward_crypto::rsa::RsaPrivateKey;
use keyward_crypto::x25519::X25519PrivateKey;
use keyward_hsm::attributes::{Template, read};
use keyward_token::describe::kind;
use keyward_token::{Attributes, attribute};

use crate::error::{Kind, Result};
use crate::material::{KeyPair, secret_key};
use crate::object::Object;
use crate::plan::{Lost, Step};
use crate::token::Token;
use crate::token::failure::failure;

/// The attributes that do not arrive, or why the target takes no such object.
type Answer = std::result::Result<Vec<Lost>, String>;

/// Asks a target.
pub(crate) struct Probe<'a> {
    token: &'a Token,
    session: Session,
    /// By what decides about it.
    answers: BTreeMap<String, Answer>,
    keys: BTreeMap<String, Option<Attributes>>,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(token: &'a Token) -> Result<Self> {
        let session = token.session()?;
        Ok(Self { token, session, answers: BTreeMap::new(), keys: BTreeMap::new() })
    }

    /// What an object loses.
    ///
    /// # Errors
    /// If the token stops to answer.
    pub(crate) fn lost(&mut self, object: &Object, step: &Step) -> Result<Answer> {
        let mut template = step.attributes(object)?;
        template.set(CKA_TOKEN, false);
        let Some(material) = self.material(object) else {
            return Ok(Ok(given_by_the_token(object)));
        };
        for secret in [CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT, CKA_VALUE] {
            template.remove(secret);
        }
        template.remove(CKA_VALUE_LEN);
        let case = case(object, &template);
        if let Some(answer) = self.answers.get(&case) {
            return Ok(answer.clone());
        }
        let answer = self.ask(object, &template, &material)?;
        self.answers.insert(case, answer.clone());
        Ok(answer)
    }

    fn ask(&self, object: &Object, template: &Attributes, material: &Attributes) -> Result<Answer> {
        let mut lost = given_by_the_token(object);
        let bare = joined(&Attributes::new(), material);
        if let Err(refusal) = self.create(&bare, &[])? {
            return Ok(Err(format!("{} does not take it: {refusal}", self.token.name())));
        }
        let mut kept = template.clone();
        if self.create(&joined(&kept, material), &[])?.is_err() {
            // One after the other, to find those that it refuses.
            kept = Attributes::new();
            for (number, value) in template.iter() {
                let mut more = kept.clone();
                more.set(number, value.clone());
                match self.create(&joined(&more, material), &[])? {
                    Ok(_) => kept = more,
                    Err(refusal) if is_essential(number) => {
                        let name = attribute::name(number);
                        return Ok(Err(format!(
                            "{} does not take its {name}: {refusal}",
                            self.token.name()
                        )));
                    }
                    Err(refusal) => lost.push(Lost {
                        attribute: attribute::name(number),
                        why: format!("the target refuses it: {refusal}"),
                    }),
                }
            }
        }
        let wanted: Vec<u64> = kept.iter().map(|(number, _)| number).collect();
        if let Ok(found) = self.create(&joined(&kept, material), &wanted)? {
            for (number, value) in kept.iter() {
                if number == CKA_TOKEN || attribute::is_secret(number) {
                    continue;
                }
                match found.value(number) {
                    Some(found) if found == value => {}
                    Some(_) => lost.push(Lost {
                        attribute: attribute::name(number),
                        why: "the target changes it".to_owned(),
                    }),
                    None => lost.push(Lost {
                        attribute: attribute::name(number),
                        why: "the target does not keep it".to_owned(),
                    }),
                }
            }
        }
        Ok(Ok(lost))
    }

    /// Makes a session object, reads it, and destroys it.
    fn create(
        &self,
        template: &Attributes,
        wanted: &[u64],
    ) -> Result<std::result::Result<Attributes, String>> {
        let made = match self.session.create_object(Template::from(template).as_slice()) {
            Ok(made) => made,
            Err(error) => {
                let failure = failure(&self.token.name(), &error);
                if failure.kind() == Kind::Token {
                    return Err(failure);
                }
                let text = failure.to_string();
                return Ok(Err(text.rsplit(": ").next().unwrap_or_default().to_owned()));
            }
        };
        let found = read(&self.session, made, wanted);
        // It would go with the session anyway.
        let _ = self.session.destroy_object(made);
        Ok(found.map_err(|error| error.to_string()))
    }

    /// What an object of this kind is made of: its own where it is public, else
    /// that of a key made for the purpose. `None` if none can be made.
    fn material(&mut self, object: &Object) -> Option<Attributes> {
        let mut material = match object.class() {
            CKO_PRIVATE_KEY => {
                let kind = object.kind();
                self.keys
                    .entry(kind)
                    .or_insert_with(|| throwaway(object).map(|pair| pair.private.clone()))
                    .clone()?
            }
            CKO_SECRET_KEY => {
                let length = object
                    .attributes
                    .number(CKA_VALUE_LEN)
                    .and_then(|length| usize::try_from(length).ok())
                    .filter(|length| (1..=4096).contains(length))
                    .unwrap_or(match object.attributes.number(CKA_KEY_TYPE) {
                        Some(CKK_DES3) => 24,
                        Some(CKK_DES) => 8,
                        _ => 32,
                    });
                let mut material = secret_key("", &random(length));
                material.remove(CKA_VALUE_LEN);
                material.set(CKA_KEY_TYPE, object.attributes.number(CKA_KEY_TYPE)?);
                material
            }
            _ => object.attributes.clone(),
        };
        let own: Vec<u64> = material.iter().map(|(number, _)| number).collect();
        for number in own {
            if !MATERIAL.contains(&number) && !attribute::is_secret(number) {
                material.remove(number);
            }
        }
        material.set(CKA_TOKEN, false);
        Some(material)
    }
}

/// What PKCS#11 lets only the token set, where it says something worth keeping.
fn given_by_the_token(object: &Object) -> Vec<Lost> {
    let why = |attribute| match attribute {
        CKA_TRUSTED => "only the target's security officer may set it",
        _ => "the key was not made in the target, so the target says false",
    };
    [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_TRUSTED]
        .into_iter()
        .filter(|number| object.attributes.is_true(*number))
        .map(|number| (number, why(number)))
        .chain(object.unread.iter().map(|number| (*number, "it cannot be read and is not carried")))
        .map(|(number, why)| Lost { attribute: attribute::name(number), why: why.to_owned() })
        .collect()
}

fn joined(template: &Attributes, material: &Attributes) -> Attributes {
    let mut joined = material.clone();
    for (number, value) in template.iter() {
        joined.set(number, value.clone());
    }
    joined
}

/// Objects of one case are answered alike.
fn case(object: &Object, template: &Attributes) -> String {
    use keyward_token::Value;

    let mut case = format!("{} {}", object.class_name(), kind(&object.attributes));
    for lost in given_by_the_token(object) {
        case.push_str(&format!(" -{}", lost.attribute));
    }
    for (number, value) in template.iter() {
        let value = match value {
            Value::Boolean(value) => value.to_string(),
            Value::Number(value) => value.to_string(),
            // Whether an id or label is taken depends on its length, if on anything.
            Value::Bytes(value) => format!("{} bytes", value.len()),
            other => format!("{other:?}"),
        };
        case.push_str(&format!(" {number:x}={value}"));
    }
    case
}

fn is_essential(number: u64) -> bool {
    matches!(
        number,
        CKA_CLASS | CKA_KEY_TYPE | CKA_TOKEN | CKA_ID | CKA_LABEL | CKA_SENSITIVE | CKA_EXTRACTABLE
    )
}

/// A key of the object's kind, which nobody needs.
fn throwaway(object: &Object) -> Option<KeyPair> {
    let attributes = &object.attributes;
    let der = match attributes.number(CKA_KEY_TYPE)? {
        CKK_RSA => {
            // RSA keys of all sizes are alike, and large ones take seconds.
            let short = attributes.bytes(CKA_MODULUS).is_some_and(|modulus| modulus.len() < 255);
            if short {
                return None;
            }
            RsaPrivateKey::generate(2048, &[1, 0, 1]).ok()?.to_pkcs8_der().ok()?
        }
        CKK_EC => {
            let curve = Curve::from_params_der(attributes.bytes(CKA_EC_PARAMS)?).ok()?;
            EcPrivateKey::generate(curve).ok()?.to_pkcs8_der()
        }
        CKK_EC_EDWARDS if object.kind() == "Ed25519" => {
            Ed25519PrivateKey::generate().to_pkcs8_der()
        }
        CKK_EC_MONTGOMERY if object.kind() == "X25519" => {
            X25519PrivateKey::generate().to_pkcs8_der()
        }
        _ => return None,
    };
    KeyPair::from_pkcs8(&der).ok()
}

fn random(length: usize) -> Vec<u8> {
    (0..length.div_ceil(32))
        .flat_map(|_| keyward_crypto::random::bytes::<32>())
        .take(length)
        .collect()
}

/// What makes an object the one that it is.
const MATERIAL: &[u64] = &[
    CKA_CLASS,
    CKA_KEY_TYPE,
    CKA_CERTIFICATE_TYPE,
    CKA_MODULUS,
    CKA_PUBLIC_EXPONENT,
    CKA_EC_PARAMS,
    CKA_EC_POINT,
    CKA_VALUE,
    CKA_SUBJECT,
    CKA_ISSUER,
    CKA_SERIAL_NUMBER,
    CKA_PRIME,
    CKA_SUBPRIME,
    CKA_BASE,
    CKA_PARAMETER_SET,
];
