//! Requests that are longer than a frame, and replicas that do not know of them,
//! that stop in the middle, that have no room.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{Garble, LONG, Mood, Pki, long_question, question};
use keyward_client::{Client, Error};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{
    Bytes, Decrypt, Done, ErrorCode, Failure, ListTokens, Request, Response, frame, long, parts,
};

const DEADLINES: &str = "call_ms = 2000";

fn answer(request: &Request, more: bool, result: Answer) -> Vec<u8> {
    let result = Some(result);
    frame::encode(&Response { id: request.id, more, result, ..Response::default() }).unwrap()
}

fn is_last(request: &Request) -> bool {
    matches!(&request.operation, Some(Operation::Part(part)) if part.bytes.len() < parts::PART)
}

/// Takes everything; answers with the length of what came, by the last part.
fn takes(request: &Request, response: Response, _: u64) -> Vec<u8> {
    static LENGTH: Mutex<usize> = Mutex::new(0);
    match &request.operation {
        Some(Operation::Long(long)) => {
            let Some(long::Of::Sign(sign)) = &long.of else { panic!() };
            assert!(sign.input.is_empty());
            *LENGTH.lock().unwrap() = 0;
            answer(request, true, Answer::SendOn(Done {}))
        }
        Some(Operation::Part(part)) => {
            assert!(request.token.is_empty() && request.ticket.is_none());
            let mut length = LENGTH.lock().unwrap();
            *length += part.bytes.len();
            if !is_last(request) {
                return Vec::new();
            }
            let value = length.to_be_bytes().to_vec();
            answer(request, false, Answer::Signature(Bytes { value, ..Bytes::default() }))
        }
        _ => frame::encode(&response).unwrap(),
    }
}

/// Asks for the parts, and says after the first that there is no time.
fn gives_up(request: &Request, response: Response, _: u64) -> Vec<u8> {
    match &request.operation {
        Some(Operation::Long(_)) => answer(request, true, Answer::SendOn(Done {})),
        Some(Operation::Part(_)) => {
            let failure = Failure { code: ErrorCode::Later.into(), ..Failure::default() };
            answer(request, false, Answer::Failure(failure))
        }
        _ => frame::encode(&response).unwrap(),
    }
}

/// Asks for the parts, and breaks the connection in the middle of them.
fn breaks(request: &Request, response: Response, _: u64) -> Vec<u8> {
    match &request.operation {
        Some(Operation::Long(_)) => answer(request, true, Answer::SendOn(Done {})),
        Some(Operation::Part(_)) => vec![0xff; 64],
        _ => frame::encode(&response).unwrap(),
    }
}

/// Asks for the parts, and never for anything else.
fn insists(request: &Request, _: Response, _: u64) -> Vec<u8> {
    answer(request, true, Answer::SendOn(Done {}))
}

fn length_of(frames: &[Response]) -> usize {
    assert_eq!(frames.len(), 1);
    match &frames[0].result {
        Some(Answer::Signature(bytes)) => {
            usize::from_be_bytes(bytes.value.as_slice().try_into().unwrap())
        }
        _ => panic!("another answer"),
    }
}

/// Two replicas, of which the client begins with the first.
fn client(pki: &Pki, endpoints: &[&str]) -> Client {
    loop {
        let client = Client::new(pki.config(endpoints, DEADLINES));
        if format!("{client:?}").contains(&format!("\"{}", endpoints[0])) {
            return client;
        }
    }
}

fn code(result: Result<Vec<Response>, Error>) -> ErrorCode {
    result.map(drop).unwrap_err().code()
}

/// One that gives up, breaks or does not know is as good as none where another
/// works. All that can happen stands in one test: what `takes` counts is one.
#[test]
fn another_replica_takes_what_one_does_not() {
    let pki = Pki::new();
    let (one, other) = (pki.replica(), pki.replica());
    other.is(Mood::Garbles(Garble(takes)));
    for mood in [
        Mood::Garbles(Garble(takes)),
        Mood::Says(ErrorCode::OperationUnknown, 0),
        Mood::Says(ErrorCode::Later, 5000),
        Mood::Garbles(Garble(gives_up)),
        Mood::Garbles(Garble(breaks)),
        Mood::Closes,
    ] {
        let client = client(&pki, &[&one.endpoint, &other.endpoint]);
        client.call(question()).unwrap();
        one.is(mood);
        let frames = client.call(long_question()).unwrap();
        assert_eq!(length_of(&frames), LONG, "{mood:?}");
        one.is(Mood::Answers);
        // A short one after it is answered as ever.
        client.call(question()).unwrap();
    }
}

#[test]
fn an_old_service_is_told_of_by_name_and_gets_no_data() {
    let pki = Pki::new();
    let old = pki.replica();
    let client = client(&pki, &[&old.endpoint]);
    old.is(Mood::Says(ErrorCode::OperationUnknown, 0));
    let started = Instant::now();
    let error = client.call(long_question()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DataLenRange);
    assert!(error.to_string().contains("older than this client"), "{error}");
    let decrypt = Decrypt { input: vec![7; 2 << 20], ..Decrypt::default() };
    let request = Request { operation: Some(Operation::Decrypt(decrypt)), ..Request::default() };
    assert_eq!(code(client.call(request)), ErrorCode::EncryptedDataLenRange);
    assert!(started.elapsed() < Duration::from_secs(2), "it waited");
    assert_eq!(
        (old.requests(), old.connections()),
        (2, 1),
        "data were sent, or it was asked twice"
    );
    // Of what fits into a frame it says what it always said.
    let list =
        Request { operation: Some(Operation::ListTokens(ListTokens {})), ..Request::default() };
    assert_eq!(code(client.call(list)), ErrorCode::OperationUnknown);
}

/// The parts are sent once, whatever is asked for; and the call ends in time.
#[test]
fn a_replica_that_only_asks_for_more_is_left_in_time() {
    let pki = Pki::new();
    let replica = pki.replica();
    let client = Client::new(pki.config(&[&replica.endpoint], "call_ms = 300"));
    client.call(question()).unwrap();
    replica.is(Mood::Garbles(Garble(insists)));
    let started = Instant::now();
    assert_eq!(code(client.call(long_question())), ErrorCode::Unavailable);
    // 2.5 s there and back, at a MiB in a second.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(replica.requests() < 12, "it sent {} frames", replica.requests());
    replica.is(Mood::Answers);
    client.call(question()).unwrap();
}

/// What has no input that could come in parts is refused here, and is no outage.
#[test]
fn what_cannot_be_cut_is_refused_at_once() {
    let pki = Pki::new();
    let replica = pki.replica();
    let client = client(&pki, &[&replica.endpoint]);
    let request = Request { token: "x".repeat(2 << 20), ..question() };
    assert_eq!(code(client.call(request)), ErrorCode::DataLenRange);
    client.call(question()).unwrap();
    assert_eq!(replica.requests(), 1);
}
