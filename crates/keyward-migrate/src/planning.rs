//! How a plan comes about from what both sides hold and can do, and whether one
//! that people have edited can be done.

use std::collections::{BTreeMap, BTreeSet};

use cryptoki::mechanism::MechanismType;
use cryptoki_sys::*;

use crate::error::{Error, Result};
use crate::material::hex;
use crate::object::Object;
use crate::plan::{FORMAT, Plan, SignOff, Step, Way, is_same, label_text};
use crate::probe::Probe;
use crate::source::Source;
use crate::transport::{Transport, Wrapping};
use crate::way_out;

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
