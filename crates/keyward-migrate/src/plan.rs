//! How each object goes, or why it cannot: a file that people read, edit and
//! sign off. It holds no secret.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cryptoki::mechanism::MechanismType;
use cryptoki_sys::*;
use keyward_token::{Attributes, Value};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::material::{fingerprint, hex, point_in_octet_string};
use crate::object::Object;
use crate::probe::Probe;
use crate::source::Source;
use crate::transport::{Transport, Wrapping};
use crate::way_out;

/// A whole migration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The version of this form.
    pub format: u32,
    /// RFC 3339, in UTC.
    pub made: String,
    /// Files and folders, or one token's URI.
    pub source: Vec<String>,
    /// The target's URI.
    pub target: String,
    /// Who says that it may be done.
    pub sign_off: SignOff,
    /// How wrapped keys travel, if any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Each object of the source.
    #[serde(default, rename = "object")]
    pub steps: Vec<Step>,
}

/// Who says that a plan may be done. Empty until somebody does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOff {
    /// A name.
    pub by: String,
    /// Whatever there is to say.
    #[serde(default)]
    pub note: String,
}

/// What becomes of one object.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which one, as the inventory calls it.
    pub reference: String,
    /// For people.
    pub what: String,
    /// File and entry, or token.
    pub from: String,
    /// How it goes.
    pub way: Way,
    /// Why so.
    pub reason: String,
    /// CKA_LABEL in the target: text, or 0x and hexadecimal digits.
    pub label: String,
    /// CKA_ID in the target, in hexadecimal.
    pub id: String,
    /// CKA_SENSITIVE in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<bool>,
    /// CKA_EXTRACTABLE in the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extractable: Option<bool>,
    /// Attributes that the target does not keep, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
    /// What to do instead, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub way_out: Vec<String>,
    /// SHA-256 of the public key, certificate or data, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// An attribute that does not arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// As the standard calls it.
    pub attribute: String,
    /// Why, and what it will be.
    pub why: String,
}

/// How an object goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Read at the source and created in the target.
    Plain,
    /// Wrapped by the source and unwrapped by the target: never in the clear outside of both.
    Wrapped,
    /// It cannot go.
    NotAtAll,
    /// It could go, and stays: it is there already, or somebody decided so.
    Leave,
}

/// What a plan is made of.
pub struct Planning<'a> {
    source: &'a Source,
    target: &'a Source,
    transport: Option<Transport>,
    /// Why there is no transport.
    no_transport: String,
    probe: Probe<'a>,
    wrapping: Option<Wrapping>,
}

impl<'a> Planning<'a> {
    /// Looks at what both sides can do.
    ///
    /// # Errors
    /// If source and target are the same, or a token does not answer.
    pub fn new(source: &'a Source, target: &'a Source) -> Result<Self> {
        let token = target.token.as_ref().ok_or_else(|| Error::new("the target is no token"))?;
        let mut wrapping = None;
        let mut no_transport = String::new();
        let mut transport = None;
        if let Some(from) = &source.token {
            if from.is_same(token) {
                return Err(Error::new("source and target are the same token"));
            }
            match Transport::choose(from, token) {
                Ok(chosen) => {
                    transport = Some(chosen);
                    wrapping = Some(Wrapping::new(from)?);
                }
                Err(why) => no_transport = why,
            }
        }
        Ok(Self { source, target, transport, no_transport, probe: Probe::new(token)?, wrapping })
    }

    /// The plan, made at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// If a token stops to answer.
    pub fn plan(&mut self, names: Vec<String>, now: i64) -> Result<Plan> {
        let source = self.source;
        let mut steps = Vec::new();
        let mut planned = Vec::new();
        for object in &source.objects {
            let mut step = self.step(object, &planned)?;
            if matches!(step.way, Way::Plain | Way::Wrapped) {
                planned.push(object);
            } else if step.way == Way::NotAtAll && step.way_out.is_empty() {
                step.way_out = way_out::steps(object, source, self.target);
            }
            steps.push(step);
        }
        stay_with_their_keys(&mut steps, source);
        let wraps = steps.iter().any(|step| step.way == Way::Wrapped);
        let mut transport = self.transport.clone().filter(|_| wraps);
        if let Some(transport) = &mut transport {
            transport.trusted = steps.iter().any(|step| {
                step.way == Way::Wrapped
                    && source.objects.iter().any(|object| {
                        object.reference == step.reference
                            && object.attributes.is_true(CKA_WRAP_WITH_TRUSTED)
                    })
            });
        }
        Ok(Plan {
            format: FORMAT,
            made: crate::moment(now),
            source: names,
            target: self.target.name.clone(),
            sign_off: SignOff::default(),
            transport,
            steps,
        })
    }

    fn step(&mut self, object: &Object, planned: &[&Object]) -> Result<Step> {
        let mut step = Step {
            reference: object.reference.clone(),
            what: object.name(),
            from: match &object.entry {
                Some(entry) => format!("{}, entry {entry:?}", object.place),
                None => object.place.clone(),
            },
            way: Way::NotAtAll,
            reason: String::new(),
            label: label_text(object.attributes.bytes(CKA_LABEL).unwrap_or_default()),
            id: hex(object.id()),
            sensitive: object.attributes.boolean(CKA_SENSITIVE),
            extractable: object.attributes.boolean(CKA_EXTRACTABLE),
            lost: Vec::new(),
            way_out: Vec::new(),
            sha256: object.fingerprint(),
        };
        if let Some(same) = planned.iter().find(|other| is_same(object, other)) {
            step.way = Way::Leave;
            step.reason = format!("it is the same as {}", same.reference);
            return Ok(step);
        }
        (step.way, step.reason) = self.way(object, &step)?;
        if matches!(step.way, Way::Plain | Way::Wrapped) {
            match self.probe.lost(object, &step)? {
                Ok(lost) => {
                    step.lost = lost;
                    if let Some(mechanism) = self.missing_mechanism(object) {
                        step.reason.push_str(&format!(
                            "; the target has no {mechanism}: it keeps the key, and nothing signs with it"
                        ));
                    }
                }
                Err(refusal) => {
                    step.way = Way::NotAtAll;
                    step.reason = refusal;
                }
            }
        }
        Ok(step)
    }

    /// The way that is open to an object under the label and id of its step, and
    /// why.
    fn way(&mut self, object: &Object, step: &Step) -> Result<(Way, String)> {
        let no = |why: &str| Ok((Way::NotAtAll, why.to_owned()));
        if let Some(closed) = &object.closed {
            return no(&format!("it could not be opened: {closed}"));
        }
        if object.is_incomplete() {
            return no("it is incomplete: the token was stopped while it wrote it");
        }
        let id = step.id_bytes()?;
        if let Some(there) = self.target.objects.iter().find(|there| is_same(object, there)) {
            return Ok((Way::Leave, format!("the target has it already, as {}", there.name())));
        }
        let clashes =
            |there: &&Object| there.class() == object.class() && !id.is_empty() && there.id() == id;
        let is_key = matches!(object.class(), CKO_PRIVATE_KEY | CKO_PUBLIC_KEY | CKO_SECRET_KEY);
        if is_key && let Some(there) = self.target.objects.iter().find(clashes) {
            return no(&format!(
                "the target has another {} with this CKA_ID; give it an id of its own here",
                there.name()
            ));
        }
        match object.class() {
            CKO_CERTIFICATE | CKO_PUBLIC_KEY | CKO_DATA => {
                Ok((Way::Plain, "it is no secret".to_owned()))
            }
            CKO_PRIVATE_KEY | CKO_SECRET_KEY => self.key_way(object),
            _ => no("objects of its class are not moved"),
        }
    }

    /// The mechanism that a key signs by, if the target has it not.
    fn missing_mechanism(&self, object: &Object) -> Option<&'static str> {
        let signs = object.class() == CKO_PRIVATE_KEY && object.attributes.is_true(CKA_SIGN);
        let (mechanism, name) = match object.attributes.number(CKA_KEY_TYPE) {
            Some(CKK_RSA) => (MechanismType::RSA_PKCS, "CKM_RSA_PKCS"),
            Some(CKK_EC) => (MechanismType::ECDSA, "CKM_ECDSA"),
            Some(CKK_EC_EDWARDS) => (MechanismType::EDDSA, "CKM_EDDSA"),
            _ => return None,
        };
        let token = self.target.token.as_ref()?;
        (signs && token.mechanism(mechanism).is_none()).then_some(name)
    }

    fn key_way(&mut self, object: &Object) -> Result<(Way, String)> {
        if object.secret.is_some() {
            return Ok((Way::Plain, "it is in a file".to_owned()));
        }
        let attributes = &object.attributes;
        if !attributes.boolean(CKA_EXTRACTABLE).unwrap_or(false) {
            let reason = "it is not extractable (CKA_EXTRACTABLE is false)".to_owned();
            return Ok((Way::NotAtAll, reason));
        }
        if !attributes.boolean(CKA_SENSITIVE).unwrap_or(true) {
            return Ok((Way::Plain, "it is extractable and not sensitive".to_owned()));
        }
        let (Some(transport), Some(wrapping)) = (&self.transport, &mut self.wrapping) else {
            let reason = format!("it is sensitive, and {}", self.no_transport);
            return Ok((Way::NotAtAll, reason));
        };
        if attributes.is_true(CKA_WRAP_WITH_TRUSTED) {
            let reason = format!(
                "it is sensitive and goes only under a trusted key: {}, made by the source's \
                 security officer",
                transport.describe()
            );
            return Ok((Way::Wrapped, reason));
        }
        match wrapping.would(object)? {
            None => Ok((
                Way::Wrapped,
                format!("it is sensitive and extractable: {}", transport.describe()),
            )),
            Some(refusal) => Ok((
                Way::NotAtAll,
                format!("it is sensitive, and the source does not wrap it: {refusal}"),
            )),
        }
    }

    /// Demands that a plan that people may have edited can be done with what is
    /// here now.
    ///
    /// # Errors
    /// The first step that cannot be done, or an object that is not there.
    pub fn check(&mut self, plan: &Plan, done: &BTreeSet<String>) -> Result<()> {
        if plan.sign_off.by.trim().is_empty() {
            return Err(Error::new("the plan is not signed off")
                .hint("read it, and write your name after `by =` under [sign_off]"));
        }
        let mut seen = BTreeSet::new();
        let mut ids = BTreeMap::new();
        for step in &plan.steps {
            let of = |error: Error| error.of(format!("{} ({})", step.reference, step.what));
            if !seen.insert(&step.reference) {
                return Err(of(Error::new("it stands in the plan twice")));
            }
            if matches!(step.way, Way::NotAtAll | Way::Leave) {
                continue;
            }
            let object =
                self.source.objects.iter().find(|it| it.reference == step.reference).ok_or_else(
                    || of(Error::new("it is not in the source (any more)").hint("make a new plan")),
                )?;
            if step.sha256 != object.fingerprint() {
                return Err(of(
                    Error::new("it is another one in the source by now").hint("make a new plan")
                ));
            }
            let id = step.id_bytes().map_err(of)?;
            step.label_bytes().map_err(of)?;
            let is_key = object.class() != CKO_CERTIFICATE && object.class() != CKO_DATA;
            if is_key
                && !id.is_empty()
                && let Some(other) = ids.insert((object.class(), id), &step.reference)
            {
                return Err(of(Error::new(format!("{other} has the same id"))));
            }
            if done.contains(&step.reference) {
                continue;
            }
            let (way, reason) = self.way(object, step).map_err(of)?;
            if way == Way::Leave {
                continue;
            }
            if way != step.way {
                return Err(of(Error::new(format!("it cannot go {}: {reason}", step.way.name()))));
            }
        }
        Ok(())
    }
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// If it is none, or of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::new(format!("the plan {name} cannot be read: {error}")))?;
        let plan: Self = toml::from_str(&text).map_err(|error| {
            let text = error.to_string();
            let lines: Vec<_> = text.lines().filter(|line| !line.contains('|')).collect();
            Error::new(format!("the plan {name}: {}", lines.join(": ")))
        })?;
        if plan.format != FORMAT {
            return Err(Error::new(format!(
                "the plan {name} has the unknown format {}",
                plan.format
            )));
        }
        Ok(plan)
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never, in fact.
    pub fn text(&self) -> Result<String> {
        let body = toml::to_string_pretty(self)
            .map_err(|error| Error::new(format!("the plan cannot be written: {error}")))?;
        Ok(format!("{HEADER}{body}"))
    }

    /// SHA-256 over what it says, without comments.
    ///
    /// # Errors
    /// Never, in fact.
    pub fn digest(&self) -> Result<String> {
        let body = toml::to_string(self)
            .map_err(|error| Error::new(format!("the plan cannot be written: {error}")))?;
        Ok(fingerprint(body.as_bytes()))
    }

    /// How many steps go each way.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Way, usize> {
        let mut counts = BTreeMap::new();
        for step in &self.steps {
            *counts.entry(step.way).or_default() += 1;
        }
        counts
    }
}

impl Step {
    /// CKA_ID.
    ///
    /// # Errors
    /// If it is no hexadecimal text.
    pub fn id_bytes(&self) -> Result<Vec<u8>> {
        from_hex(&self.id).ok_or_else(|| {
            Error::new(format!("its id {:?} is not an even number of hexadecimal digits", self.id))
        })
    }

    /// CKA_LABEL.
    ///
    /// # Errors
    /// If it begins as hexadecimal digits do, and has others.
    pub fn label_bytes(&self) -> Result<Vec<u8>> {
        match self.label.strip_prefix("0x") {
            Some(digits) => from_hex(digits).ok_or_else(|| {
                Error::new(format!("its label {:?} is no hexadecimal text", self.label))
            }),
            None => Ok(self.label.clone().into_bytes()),
        }
    }

    /// The attributes that the object is to have in the target, without its
    /// value.
    ///
    /// # Errors
    /// As [`Self::id_bytes`].
    pub fn attributes(&self, object: &Object) -> Result<Attributes> {
        let mut attributes = object.attributes.clone();
        for given_by_the_token in NOT_SET {
            attributes.remove(*given_by_the_token);
        }
        for lost in &self.lost {
            let number = attributes
                .iter()
                .map(|(number, _)| number)
                .find(|number| keyward_token::attribute::name(*number) == lost.attribute);
            if let Some(number) = number {
                attributes.remove(number);
            }
        }
        if let Some(point) = point_in_octet_string(&attributes) {
            attributes.set(CKA_EC_POINT, point);
        }
        attributes.set(CKA_TOKEN, true);
        attributes.set(CKA_LABEL, self.label_bytes()?);
        if object.class() != CKO_DATA {
            attributes.set(CKA_ID, self.id_bytes()?);
        }
        if let Some(sensitive) = self.sensitive {
            attributes.set(CKA_SENSITIVE, sensitive);
        }
        if let Some(extractable) = self.extractable {
            attributes.set(CKA_EXTRACTABLE, extractable);
        }
        for optional in MAY_BE_EMPTY {
            let empty = match attributes.value(*optional) {
                Some(Value::Bytes(value)) => value.is_empty(),
                Some(Value::Numbers(values)) => values.is_empty(),
                _ => false,
            };
            if empty {
                attributes.remove(*optional);
            }
        }
        Ok(attributes)
    }
}

impl Way {
    /// As it stands in a plan.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Wrapped => "wrapped",
            Self::NotAtAll => "not-at-all",
            Self::Leave => "leave",
        }
    }
}

/// Whether two objects, of which one may be elsewhere, are one and the same.
#[must_use]
pub fn is_same(one: &Object, other: &Object) -> bool {
    let bytes = |attribute| {
        one.attributes.bytes(attribute).unwrap_or_default()
            == other.attributes.bytes(attribute).unwrap_or_default()
    };
    if one.class() != other.class() {
        return false;
    }
    match one.class() {
        CKO_CERTIFICATE => bytes(CKA_VALUE),
        CKO_DATA => bytes(CKA_VALUE) && bytes(CKA_LABEL) && bytes(CKA_APPLICATION),
        CKO_PRIVATE_KEY | CKO_PUBLIC_KEY => match (&one.info, &other.info) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        },
        // Nothing of a secret key can be compared but what it is called.
        CKO_SECRET_KEY => {
            bytes(CKA_LABEL)
                && bytes(CKA_ID)
                && one.kind() == other.kind()
                && !one.label().is_empty()
        }
        _ => false,
    }
}

/// A public key or certificate whose private key cannot go is of no use in the
/// target, and some hosts take it for an authority's.
fn stay_with_their_keys(steps: &mut [Step], source: &Source) {
    let of = |class: u64, object: &Object| object.class() == class && object.info.is_some();
    let mut staying = Vec::new();
    for (step, object) in steps.iter().zip(&source.objects) {
        if step.way == Way::NotAtAll && of(CKO_PRIVATE_KEY, object) {
            staying.push(object.info.clone());
        }
    }
    for (step, object) in steps.iter_mut().zip(&source.objects) {
        let belongs = of(CKO_PUBLIC_KEY, object) || of(CKO_CERTIFICATE, object);
        if step.way == Way::Plain && belongs && staying.contains(&object.info) {
            step.way = Way::Leave;
            step.reason = "its private key cannot go; plain here moves it all the same".to_owned();
        }
    }
}

fn label_text(label: &[u8]) -> String {
    match std::str::from_utf8(label) {
        Ok(text) if !text.starts_with("0x") => text.to_owned(),
        _ => format!("0x{}", hex(label)),
    }
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|start| u8::from_str_radix(&digits[start..start + 2], 16).ok())
        .collect()
}

/// What a token says of an object and nobody may set (PKCS#11 v3.1 tables 13, 23
/// and 27); what follows from the key itself.
const NOT_SET: &[u64] = &[
    CKA_LOCAL,
    CKA_KEY_GEN_MECHANISM,
    CKA_ALWAYS_SENSITIVE,
    CKA_NEVER_EXTRACTABLE,
    CKA_UNIQUE_ID,
    CKA_CHECK_VALUE,
    CKA_PUBLIC_KEY_INFO,
    CKA_MODULUS_BITS,
    CKA_TRUSTED,
];

const MAY_BE_EMPTY: &[u64] =
    &[CKA_SUBJECT, CKA_START_DATE, CKA_END_DATE, CKA_URL, CKA_OBJECT_ID, CKA_ALLOWED_MECHANISMS];

const FORMAT: u32 = 1;

const HEADER: &str = "\
# What `keyward migrate run` will do. Read it, change it, and write your name under [sign_off].
#
# way      plain       read at the source, created in the target
#          wrapped     never in the clear outside of the two tokens
#          not-at-all  it cannot go; way_out says what to do instead
#          leave       it stays: it is in the target already, or you decide so
# label, id, sensitive and extractable are the object's in the target and may be changed.
# lost     attributes that the target does not keep

";
