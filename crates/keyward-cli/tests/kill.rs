//! The service killed, or told to stop, in the middle of its writes. What it has
//! acknowledged is there afterwards, whole and once; what was cut off is asked
//! for again with the same operation id, and takes place once.
//!
//! `KEYWARD_KILLS` sets the number of rounds, `KEYWARD_SEED` makes the moments
//! and the writes those of an earlier run.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::service::{PIN, SO_PIN, Service, TokenClient, attribute, create, generate};
use cryptoki_sys::*;
use keyward_client::Error;
use keyward_wire::attribute::Value;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, Object, Request};

const TOKEN: &str = "t";
const WRITERS: u64 = 4;
/// A writer keeps no more objects than this.
const MOST: usize = 24;

#[test]
fn what_was_acknowledged_survives_a_kill_in_the_middle_of_writes() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = number("KEYWARD_KILLS").unwrap_or(40);
    let seed = number("KEYWARD_SEED")
        .unwrap_or_else(|| u64::from_le_bytes(keyward_crypto::random::bytes()));
    println!("seed {seed}, {rounds} rounds");
    let mut service = Service::made();
    service.start();
    service.token(TOKEN);
    let mut random = Random(seed | 1);
    let mut writers: Vec<_> =
        (0..WRITERS).map(|number| Writer::new(number, random.next())).collect();
    let mut cut_off = 0;
    for round in 0..rounds {
        let running: Vec<_> = writers
            .into_iter()
            .map(|mut writer| {
                let client = service.client(TOKEN).patient(Duration::from_millis(600));
                std::thread::spawn(move || {
                    writer.write(&client);
                    writer
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(5 + random.below(250)));
        if round % 5 == 4 {
            assert_eq!(service.terminate(), Some(0), "{}", service.log());
        } else {
            service.kill();
        }
        writers = running.into_iter().map(|thread| thread.join().unwrap()).collect();
        service.start();
        let client = service.client(TOKEN).patient(Duration::from_secs(10));
        for writer in &mut writers {
            cut_off += u64::from(writer.repeat(&client));
        }
        check(&client, &service, &writers, &format!("seed {seed}, round {round}"));
    }
    let written: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    println!("{written} writes were acknowledged, {cut_off} were cut off and repeated");
    assert!(written > 5 * rounds && cut_off > 0, "{written} and {cut_off} say nothing");
}

/// The token has exactly what the writers made and did not destroy.
fn check(client: &TokenClient, service: &Service, writers: &[Writer], when: &str) {
    let there: BTreeMap<String, (Vec<u8>, Vec<u8>)> = client
        .objects()
        .into_iter()
        .filter(|object| number(object, CKA_CLASS) == CKO_DATA)
        .map(|object| {
            let content = (bytes(&object, CKA_VALUE), bytes(&object, CKA_LABEL));
            (object.unique_id, content)
        })
        .collect();
    let expected: BTreeMap<_, _> =
        writers.iter().flat_map(|writer| writer.objects.clone()).collect();
    let gone: Vec<_> = expected.keys().filter(|id| !there.contains_key(*id)).collect();
    assert!(gone.is_empty(), "{when}: {gone:?} are gone");
    let extra: Vec<_> = there.keys().filter(|id| !expected.contains_key(*id)).collect();
    assert!(extra.is_empty(), "{when}: {extra:?} are there twice, or again");
    assert_eq!(there, expected, "{when}: an object is not what it should be");

    let halves = |class| -> BTreeSet<String> {
        let objects = client.objects();
        let of_class = objects.iter().filter(|object| number(object, CKA_CLASS) == class);
        of_class.map(|object| object.unique_id.clone()).collect()
    };
    let pairs = || writers.iter().flat_map(|writer| writer.pairs.iter().cloned());
    assert_eq!(halves(CKO_PUBLIC_KEY), pairs().map(|pair| pair.0).collect(), "{when}");
    assert_eq!(halves(CKO_PRIVATE_KEY), pairs().map(|pair| pair.1).collect(), "{when}");
    for (_, private) in pairs() {
        client.sign(&private).unwrap();
    }
    client.login(&writers[0].pin).unwrap();
    let listed = service.admin(&["token", "list", "--json"]).fine();
    let labels: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let labels: BTreeSet<_> =
        labels.as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap()).collect();
    let mut tokens: BTreeSet<_> =
        writers.iter().flat_map(|writer| writer.tokens.iter().map(String::as_str)).collect();
    tokens.insert(TOKEN);
    assert_eq!(labels, tokens, "{when}");
}

/// Somebody who writes, and knows what must be there.
struct Writer {
    number: u64,
    random: Random,
    /// Content and label by identifier.
    objects: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
    /// Public and private half.
    pairs: Vec<(String, String)>,
    /// The first writer changes it.
    pin: String,
    /// The second writer makes and deletes them.
    tokens: BTreeSet<String>,
    acknowledged: u64,
    /// What was asked for last, and not acknowledged.
    cut_off: Option<(Write, Request)>,
}

/// A write, for when its answer comes.
#[derive(Clone)]
enum Write {
    Create { content: Vec<u8> },
    Copy { content: Vec<u8>, label: Vec<u8> },
    Label { unique_id: String, label: Vec<u8> },
    Destroy { unique_id: String },
    Generate,
    Pin { new: String },
    MakeToken { label: String },
    DeleteToken { label: String },
}

impl Writer {
    fn new(number: u64, seed: u64) -> Self {
        Self {
            number,
            random: Random(seed | 1),
            objects: BTreeMap::new(),
            pairs: Vec::new(),
            pin: PIN.to_owned(),
            tokens: BTreeSet::new(),
            acknowledged: 0,
            cut_off: None,
        }
    }

    /// Writes until the service is gone.
    fn write(&mut self, client: &TokenClient) {
        loop {
            let (write, request) = self.next(client);
            match client.send(request.clone()) {
                Ok(answer) => self.took_place(write, answer),
                Err(Error::Unreachable { .. }) => {
                    self.cut_off = Some((write, request));
                    return;
                }
                Err(error) => panic!("writer {}: {error}", self.number),
            }
        }
    }

    /// Asks once more for what was cut off; whether something was.
    fn repeat(&mut self, client: &TokenClient) -> bool {
        let Some((write, request)) = self.cut_off.take() else { return false };
        // Twice: it must happen once.
        let first = client.send(request.clone()).unwrap();
        let second = client.send(request).unwrap();
        match (&first, &second) {
            (Answer::Object(first), Answer::Object(second)) => assert_eq!(
                first.object.as_ref().unwrap().unique_id,
                second.object.as_ref().unwrap().unique_id
            ),
            (Answer::KeyPair(first), Answer::KeyPair(second)) => assert_eq!(
                first.private_key.as_ref().unwrap().unique_id,
                second.private_key.as_ref().unwrap().unique_id
            ),
            _ => {}
        }
        self.took_place(write, second);
        true
    }

    fn next(&mut self, client: &TokenClient) -> (Write, Request) {
        let some = self.random.below(self.objects.len().max(1) as u64) as usize;
        let some =
            self.objects.iter().nth(some).map(|(id, (c, l))| (id.clone(), c.clone(), l.clone()));
        let choice = self.random.below(10);
        let fresh = |writer: &mut Self| {
            let length = 16 + writer.random.below(3000) as usize;
            let mut content = format!("{}-{}-", writer.number, writer.random.next()).into_bytes();
            content.resize(length.max(content.len()), b'.');
            content
        };
        let (write, operation) = match (choice, some) {
            (0, _) if self.number == 0 => {
                let new = format!("{:08}", self.random.below(100_000_000));
                let operation = Operation::SetPin(wire::SetPin {
                    user_type: wire::UserType::User.into(),
                    old_pin: self.pin.clone().into_bytes(),
                    new_pin: new.clone().into_bytes(),
                });
                (Write::Pin { new }, operation)
            }
            (0 | 1, _) if self.number == 1 => match self.tokens.first().cloned() {
                Some(label) if self.tokens.len() > 2 => {
                    let mut request = client.request(Operation::DeleteToken(wire::DeleteToken {}));
                    request.token.clone_from(&label);
                    return (Write::DeleteToken { label }, request);
                }
                _ => {
                    let label = format!("made-{}", self.random.below(1_000_000_000));
                    let operation = Operation::CreateToken(wire::CreateToken {
                        label: label.clone(),
                        login_mode: wire::LoginMode::Pin.into(),
                        so_pin: SO_PIN.into(),
                        user_pin: PIN.into(),
                        ..wire::CreateToken::default()
                    });
                    (Write::MakeToken { label }, operation)
                }
            },
            (1, _) if self.number > 1 && self.pairs.len() < 5 => (Write::Generate, generate()),
            (2 | 3, Some((unique_id, content, _))) if self.objects.len() < MOST => {
                let label = fresh(self);
                let source = wire::key::Key::UniqueId(unique_id);
                let operation = Operation::CopyObject(wire::CopyObject {
                    source: Some(wire::Key { key: Some(source) }),
                    template: vec![attribute(CKA_LABEL, Value::Bytes(label.clone()))],
                });
                (Write::Copy { content, label }, operation)
            }
            (4 | 5, Some((unique_id, ..))) => {
                let label = fresh(self);
                let object = wire::key::Key::UniqueId(unique_id.clone());
                let operation = Operation::SetAttributes(wire::SetAttributes {
                    object: Some(wire::Key { key: Some(object) }),
                    template: vec![attribute(CKA_LABEL, Value::Bytes(label.clone()))],
                });
                (Write::Label { unique_id, label }, operation)
            }
            (choice, Some((unique_id, ..))) if choice == 6 || self.objects.len() >= MOST => {
                let destroy = wire::DestroyObject { unique_id: unique_id.clone() };
                (Write::Destroy { unique_id }, Operation::DestroyObject(destroy))
            }
            _ => {
                let content = fresh(self);
                let operation = create(&content);
                (Write::Create { content }, operation)
            }
        };
        (write, client.request(operation))
    }

    fn took_place(&mut self, write: Write, answer: Answer) {
        self.acknowledged += 1;
        match (write, answer) {
            (Write::Create { content }, Answer::Object(made)) => {
                self.objects.insert(made.object.unwrap().unique_id, (content, Vec::new()));
            }
            (Write::Copy { content, label }, Answer::Object(made)) => {
                self.objects.insert(made.object.unwrap().unique_id, (content, label));
            }
            (Write::Label { unique_id, label }, _) => {
                self.objects.get_mut(&unique_id).unwrap().1 = label;
            }
            (Write::Destroy { unique_id }, _) => {
                self.objects.remove(&unique_id).unwrap();
            }
            (Write::Generate, Answer::KeyPair(pair)) => {
                let (public, private) = (pair.public_key.unwrap(), pair.private_key.unwrap());
                self.pairs.push((public.unique_id, private.unique_id));
            }
            (Write::Pin { new }, _) => self.pin = new,
            (Write::MakeToken { label }, _) => assert!(self.tokens.insert(label)),
            (Write::DeleteToken { label }, _) => assert!(self.tokens.remove(&label)),
            _ => panic!("an answer to something else"),
        }
    }
}

/// Xorshift: never zero.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }
}

fn value(object: &Object, r#type: u64) -> Option<&Value> {
    let found = object.attributes.iter().find(|attribute| attribute.r#type == r#type)?;
    found.value.as_ref()
}

fn bytes(object: &Object, r#type: u64) -> Vec<u8> {
    match value(object, r#type) {
        Some(Value::Bytes(bytes)) => bytes.clone(),
        _ => Vec::new(),
    }
}

fn number(object: &Object, r#type: u64) -> u64 {
    match value(object, r#type) {
        Some(Value::Number(number)) => *number,
        _ => u64::MAX,
    }
}
