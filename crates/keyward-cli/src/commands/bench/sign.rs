//! `keyward bench sign`.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use keyward_crypto::digest::Hash;
use keyward_crypto::{Curve, EcPrivateKey, RsaPrivateKey};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::sign::Scheme;
use keyward_wire::{self as wire};
use serde::Serialize;

use super::measure::{Latencies, Samples, hundredth, milliseconds, processor_time, tenth};
use crate::admin::{Admin, AdminArgs};
use crate::catalogue::{Catalogue, Object};
use crate::failure::Failure;
use crate::output;
use crate::selector::{Id, Selector};

/// `keyward bench sign`.
#[derive(Args, Debug)]
pub struct Sign {
    /// The token's label [default: as the URI says]
    #[arg(long)]
    token: Option<String>,
    /// The key's label, or its pkcs11: URI
    label: Option<String>,
    /// The key's CKA_ID: hexadecimal digits or text
    #[arg(long)]
    id: Option<Id>,
    /// What is signed with; always over a SHA-256 digest [default: rsa-pss or ecdsa, as the key is]
    #[arg(long, value_enum)]
    mechanism: Option<MechanismArg>,
    /// Threads, each with a connection of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=2048))]
    threads: u16,
    /// For how long
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Sign only, without round trips in between
    #[arg(long)]
    no_floor: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MechanismArg {
    /// RSASSA-PSS with a salt of 32 bytes, as TLS 1.3 has it
    RsaPss,
    /// RSASSA-PKCS1-v1_5, as TLS 1.2 has it
    RsaPkcs,
    /// ECDSA
    Ecdsa,
}

/// What was measured, as `--json` shows it. Rates are in signatures a second.
#[derive(Serialize)]
struct Report {
    token: String,
    key: String,
    key_type: String,
    mechanism: &'static str,
    threads: u16,
    seconds: f64,
    signatures: usize,
    failed: u64,
    rate: f64,
    #[serde(flatten)]
    latencies: Latencies,
    /// A call fails when it has taken so long.
    deadline_ms: u64,
    /// Absent with --no-floor, as is the ratio.
    floor: Option<Floor>,
    /// The median beside that of the floor.
    ratio: Option<f64>,
    /// The share of one processor that this program used.
    generator_cpu: f64,
    failures: Vec<String>,
}

/// The least that a signature could take.
#[derive(Serialize)]
struct Floor {
    /// A question without private-key work, by as many threads, in turns.
    round_trip: Latencies,
    round_trips_per_second: f64,
    /// In this process, alone on a processor.
    signature_ms: f64,
}

impl Sign {
    pub(super) fn run(self) -> Result<()> {
        let selector = Selector::new(self.label.as_deref(), self.id.as_ref())?;
        let token = selector.token(self.token.as_deref())?;
        let admin = Admin::open(&self.admin)?;
        let catalogue = Catalogue::load(&admin, &token)?;
        let key = catalogue.key(&selector)?;
        let job = Job::new(key, self.mechanism)?;
        // What cannot be done at all is no measurement.
        job.sign(&admin, &token)?;
        let local = job.local()?;

        let seconds = Duration::from_secs(self.seconds.into());
        let threads = usize::from(self.threads);
        let floor = !self.no_floor;
        let start = Barrier::new(threads + 1);
        let mut signatures = Samples::default();
        let mut round_trips = Samples::default();
        let mut began = Instant::now();
        let mut before = Duration::ZERO;
        thread::scope(|scope| -> Result<()> {
            let mut running = Vec::new();
            let clients: Result<Vec<_>> = (0..threads).map(|_| Admin::open(&self.admin)).collect();
            for client in clients? {
                let (job, token, start) = (&job, &token, &start);
                running
                    .push(scope.spawn(move || measure(job, &client, token, start, seconds, floor)));
            }
            start.wait();
            began = Instant::now();
            before = processor_time();
            for thread in running {
                let (signed, asked) = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
                signatures.join(signed);
                round_trips.join(asked);
            }
            Ok(())
        })?;
        let elapsed = began.elapsed();
        let used = processor_time().saturating_sub(before);

        let latencies = signatures.latencies();
        let round_trip = round_trips.latencies();
        let signature_ms = milliseconds(local);
        let least = round_trip.p50_ms + signature_ms;
        let report = Report {
            key: catalogue.name(key),
            key_type: key.key_type(),
            token,
            mechanism: job.mechanism,
            threads: self.threads,
            seconds: tenth(elapsed.as_secs_f64()),
            signatures: signatures.count(),
            failed: signatures.failed() + round_trips.failed(),
            rate: tenth(signatures.rate(threads)),
            ratio: floor.then(|| hundredth(latencies.p50_ms / least)),
            latencies,
            deadline_ms: admin.config().deadlines.call_ms,
            floor: floor.then(|| Floor {
                round_trip,
                round_trips_per_second: tenth(round_trips.rate(threads)),
                signature_ms,
            }),
            generator_cpu: hundredth(used.as_secs_f64() / elapsed.as_secs_f64()),
            failures: signatures
                .failures()
                .iter()
                .chain(round_trips.failures())
                .map(|(text, count)| format!("{count} times: {text}"))
                .collect(),
        };
        report.print(self.json)
    }
}

impl Report {
    fn print(&self, json: bool) -> Result<()> {
        if json {
            output::json(self)?;
        } else {
            let mut lines = vec![
                ("Key", format!("{} in token {}, {}", self.key, self.token, self.key_type)),
                ("Mechanism", format!("{} over a SHA-256 digest", self.mechanism)),
                (
                    "Signatures",
                    format!("{} in {} s, {} failed", self.signatures, self.seconds, self.failed),
                ),
                ("Rate", format!("{} a second, {} threads", self.rate, self.threads)),
                ("Latency", latencies(&self.latencies)),
            ];
            if let (Some(floor), Some(ratio)) = (&self.floor, self.ratio) {
                lines.extend([
                    ("Round trip", latencies(&floor.round_trip)),
                    ("Bare signature", format!("{} ms", floor.signature_ms)),
                    ("Median to floor", ratio.to_string()),
                ]);
            }
            lines.push(("This program", format!("{} of a processor", self.generator_cpu)));
            output::pairs(&lines)?;
        }
        match self.failures.first() {
            None => Ok(()),
            Some(first) => {
                let message = format!("{} requests failed, {first}", self.failed);
                Err(Failure::new(message).into())
            }
        }
    }
}

/// Latencies for people.
pub(super) fn latencies(latencies: &Latencies) -> String {
    let Latencies { p50_ms, p90_ms, p99_ms, max_ms } = latencies;
    format!("p50 {p50_ms} ms, p90 {p90_ms} ms, p99 {p99_ms} ms, max {max_ms} ms")
}

/// One thread: signatures, and for every fourth moment round trips if there is to
/// be a floor.
fn measure(
    job: &Job,
    client: &Admin,
    token: &str,
    start: &Barrier,
    seconds: Duration,
    floor: bool,
) -> (Samples, Samples) {
    let (mut signatures, mut round_trips) = (Samples::default(), Samples::default());
    // The first call connects; that is not what is measured. If it fails, the
    // others will tell.
    let _ = job.ask(client, token);
    start.wait();
    let began = Instant::now();
    loop {
        let now = Instant::now();
        let elapsed = now - began;
        if elapsed >= seconds {
            return (signatures, round_trips);
        }
        if floor && elapsed.as_millis() / SLICE_MS % 4 == 3 {
            let result = job.ask(client, token);
            round_trips.add(result, now.elapsed());
        } else {
            let result = job.sign(client, token);
            signatures.add(result, now.elapsed());
        }
    }
}

const SLICE_MS: u128 = 50;

/// What is asked for again and again.
struct Job {
    unique_id: String,
    scheme: Scheme,
    mechanism: &'static str,
    kind: Kind,
    digest: Vec<u8>,
}

enum Kind {
    Rsa { bits: u32, pss: bool },
    Ec(Curve),
}

impl Job {
    fn new(key: &Object, mechanism: Option<MechanismArg>) -> Result<Self> {
        let key_type = key.key_type();
        let kind = match key_type.split_once(':') {
            Some(("rsa", bits)) => {
                Kind::Rsa { bits: bits.parse()?, pss: mechanism != Some(MechanismArg::RsaPkcs) }
            }
            Some(("ec", _)) => {
                let parameters = key.attributes.bytes(cryptoki_sys::CKA_EC_PARAMS);
                Kind::Ec(keyward_token::key::curve(parameters.unwrap_or_default())?)
            }
            _ => {
                return Err(
                    Failure::new(format!("a key of type {key_type} is not measured")).into()
                );
            }
        };
        let fits = match kind {
            Kind::Rsa { .. } => mechanism != Some(MechanismArg::Ecdsa),
            Kind::Ec(_) => matches!(mechanism, None | Some(MechanismArg::Ecdsa)),
        };
        if !fits {
            return Err(Failure::usage(format!(
                "the mechanism does not fit a key of type {key_type}"
            ))
            .hint("rsa-pss and rsa-pkcs are for RSA keys, ecdsa for EC keys")
            .into());
        }
        let (scheme, mechanism) = match kind {
            Kind::Rsa { pss: true, .. } => (
                Scheme::RsaPss(wire::RsaPss {
                    hash: wire::Hash::Sha256.into(),
                    mgf1_hash: wire::Hash::Sha256.into(),
                    salt_length: 32,
                }),
                "rsa-pss",
            ),
            Kind::Rsa { pss: false, .. } => (Scheme::RsaPkcs1(wire::Done {}), "rsa-pkcs"),
            Kind::Ec(_) => (Scheme::Ecdsa(wire::Done {}), "ecdsa"),
        };
        let digest = Hash::Sha256.digest(b"keyward bench").to_vec();
        Ok(Self { unique_id: key.unique_id.clone(), scheme, mechanism, kind, digest })
    }

    fn sign(&self, client: &Admin, token: &str) -> Result<()> {
        let key = wire::key::Key::UniqueId(self.unique_id.clone());
        let sign = wire::Sign {
            key: Some(wire::Key { key: Some(key) }),
            scheme: Some(self.scheme.clone()),
            input: self.digest.clone(),
            ..wire::Sign::default()
        };
        client.one(token, Operation::Sign(sign), |answer| {
            matches!(answer, Answer::Signature(_)).then_some(())
        })
    }

    /// A question that costs next to nothing: a search that finds nothing.
    fn ask(&self, client: &Admin, token: &str) -> Result<()> {
        let template = vec![wire::Attribute {
            r#type: cryptoki_sys::CKA_UNIQUE_ID,
            value: Some(wire::attribute::Value::Bytes(self.unique_id.clone().into_bytes())),
        }];
        let find = wire::Find { template, most: 1, ..wire::Find::default() };
        client.done(token, Operation::Find(find))
    }

    /// What a signature takes in this process, in the median.
    fn local(&self) -> Result<Duration> {
        let sign: Box<dyn Fn() -> Result<()>> = match self.kind {
            Kind::Rsa { bits, pss } => {
                let key = RsaPrivateKey::generate(bits, &[1, 0, 1])?;
                Box::new(move || {
                    match pss {
                        true => key.sign_pss(Hash::Sha256, Hash::Sha256, 32, &self.digest)?,
                        false => key.sign_pkcs1_raw(&self.digest)?,
                    };
                    Ok(())
                })
            }
            Kind::Ec(curve) => {
                let key = EcPrivateKey::generate(curve)?;
                Box::new(move || Ok(key.sign(&self.digest).map(drop)?))
            }
        };
        let mut taken = Vec::new();
        let until = Instant::now() + LOCAL;
        while taken.len() < 3 || Instant::now() < until {
            let began = Instant::now();
            sign()?;
            taken.push(began.elapsed());
        }
        taken.sort_unstable();
        Ok(taken[taken.len() / 2])
    }
}

/// For the signatures in this process.
const LOCAL: Duration = Duration::from_millis(200);
