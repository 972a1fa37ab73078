//! Replicas that answer nonsense: the client gets an error in time, and then goes
//! on as if nothing had been.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;
#[path = "../../../tests/common/seeded.rs"]
mod seeded;

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Garble, Mood, Pki, long_question, question};
use keyward_client::Client;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{Done, Request, Response, frame};
use seeded::Seeded;

/// The deadline of the client's calls, and what a busy machine may add.
const DEADLINE: &str = "call_ms = 100";
const SLACK: Duration = Duration::from_secs(20);

static SEED: AtomicU64 = AtomicU64::new(1);

fn golden() -> &'static [Response] {
    static GOLDEN: OnceLock<Vec<Response>> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keyward-wire/tests/golden/0.1");
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("response-"))
            .map(|path| frame::take(&mut std::fs::read(path).unwrap()).unwrap().unwrap())
            .collect()
    })
}

/// An answer of some other kind, or the right one, with this request's number, and
/// mutated mostly.
fn garble(request: &Request, answer: Response, count: u64) -> Vec<u8> {
    let mut rng = Seeded::new(SEED.load(Ordering::SeqCst) ^ (count << 32));
    // Without a hello there is no connection to go on with.
    if matches!(request.operation, Some(Operation::Hello(_))) && rng.below(4) > 0 {
        return frame::encode(&answer).unwrap();
    }
    // Half of those who would send more are asked for it, once or again and again.
    if matches!(request.operation, Some(Operation::Long(_) | Operation::Part(_)))
        && rng.below(2) > 0
    {
        let send_on = Response {
            id: request.id,
            more: true,
            result: Some(Answer::SendOn(Done {})),
            ..Response::default()
        };
        return frame::encode(&send_on).unwrap();
    }
    let mut response = golden()[rng.below(golden().len())].clone();
    if !rng.once_in(6) {
        response.id = request.id;
    }
    let mut bytes = frame::encode(&response).unwrap();
    match rng.below(4) {
        0 => {}
        1 => rng.mutate(&mut bytes),
        _ => {
            let mut body = bytes.split_off(frame::HEADER);
            rng.mutate(&mut body);
            bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
            bytes.extend(body);
        }
    }
    bytes
}

#[test]
fn mutated_answers_are_errors_and_no_panic_and_no_hang() {
    assert!(golden().len() > 10);
    let pki = Pki::new();
    let (mut calls, mut failed) = (0, 0);
    seeded::rounds(Duration::from_secs(2), |seed| {
        SEED.store(seed, Ordering::SeqCst);
        let replica = pki.replica();
        let client = Client::new(pki.config(&[&replica.endpoint], DEADLINE));
        replica.is(Mood::Garbles(Garble(garble)));
        for _ in 0..4 {
            let started = Instant::now();
            calls += 1;
            let question = if calls % 4 == 0 { long_question() } else { question() };
            failed += u64::from(client.call(question).is_err());
            let took = started.elapsed();
            assert!(took < SLACK, "a call took {took:?}");
        }
        replica.is(Mood::Answers);
        let end = Instant::now() + SLACK;
        while let Err(error) = client.call(question()) {
            assert!(Instant::now() < end, "it does not recover: {error}");
        }
    });
    println!("{calls} calls, {failed} of them failed");
    assert!(failed > 0);
}
