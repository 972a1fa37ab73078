//! The service killed in the middle of its writes: what it has acknowledged is
//! there afterwards.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{keyward, run};
use cryptoki_sys::*;
use keyward_client::{Client, Config};
use keyward_wire::attribute::Value;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{Attribute, Catalogue, CreateObject, DestroyObject, Request};

const ROUNDS: usize = 20;
const WRITERS: usize = 4;

#[test]
fn what_was_acknowledged_survives_a_kill_in_the_middle_of_writes() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("service");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    run(["init", "--dir", dir.to_str().unwrap(), "--listen", &listen]).fine();
    let admin = dir.join("admin/client.toml");
    let mut service = serve(&dir.join("keyward.toml"));
    keyward(["token", "create", "--label", "t", "--admin", admin.to_str().unwrap(), "--no-pin"])
        .env("KEYWARD_SO_PIN", "12345678")
        .status()
        .unwrap();

    let mut expected = BTreeSet::new();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let config = Config::load(&admin).unwrap();
        let client = Arc::new(Client::new(config));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let client = Arc::clone(&client);
                std::thread::spawn(move || write(&client))
            })
            .collect();
        // Each round is cut at another point.
        std::thread::sleep(Duration::from_millis(20 + 11 * round as u64));
        service.kill().unwrap();
        service.wait().unwrap();
        for writer in writers {
            let made = writer.join().unwrap();
            acknowledged += made.len();
            expected.extend(made);
        }
        service = serve(&dir.join("keyward.toml"));
        let there = objects(&Client::new(Config::load(&admin).unwrap()));
        let missing: Vec<_> = expected.difference(&there).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} of {} are gone", expected.len());
        // What the kill cut off may have taken place: one write of each writer.
        let added = there.difference(&expected).count();
        assert!(added <= WRITERS, "round {round}: {added} objects were never acknowledged");
        expected = there;
    }
    assert!(acknowledged > 5 * ROUNDS, "{acknowledged} writes were too few to say anything");
    service.kill().unwrap();
    service.wait().unwrap();
}

fn serve(config: &Path) -> Child {
    let mut child = keyward(["serve", "--announce", "--config", config.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready "), "{line}");
    child
}

/// Makes objects, and destroys every third, until the service is gone: the
/// identifiers of what must be there.
fn write(client: &Client) -> BTreeSet<String> {
    let mut made = BTreeSet::new();
    for number in 1.. {
        let template = vec![
            attribute(CKA_CLASS, Value::Number(CKO_DATA)),
            attribute(CKA_TOKEN, Value::Boolean(true)),
            attribute(CKA_VALUE, Value::Bytes(vec![0x5a; 200])),
        ];
        let Some(answer) = ask(client, Operation::CreateObject(CreateObject { template })) else {
            break;
        };
        let Answer::Object(result) = answer else { panic!() };
        made.insert(result.object.unwrap().unique_id);
        if number % 3 == 0 {
            let unique_id = made.pop_first().unwrap();
            if ask(client, Operation::DestroyObject(DestroyObject { unique_id })).is_none() {
                break;
            }
        }
    }
    made
}

/// The answer, unless the service is gone.
fn ask(client: &Client, operation: Operation) -> Option<Answer> {
    let request = Request { token: "t".into(), operation: Some(operation), ..Request::default() };
    match client.call_within(request, Duration::from_millis(400)) {
        Ok(frames) => frames.into_iter().next().and_then(|frame| frame.result),
        Err(keyward_client::Error::Unreachable { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fn objects(client: &Client) -> BTreeSet<String> {
    let request = Request {
        token: "t".into(),
        operation: Some(Operation::Catalogue(Catalogue { known: None })),
        ..Request::default()
    };
    let frames = client.call(request).unwrap();
    let parts = frames.into_iter().filter_map(|frame| match frame.result {
        Some(Answer::Catalogue(part)) => Some(part),
        _ => None,
    });
    parts
        .flat_map(|part| {
            assert_ne!(part.state(), keyward_wire::catalogue_result::State::TooLarge);
            part.objects
        })
        .map(|object| object.unique_id)
        .collect()
}

fn attribute(r#type: u64, value: Value) -> Attribute {
    Attribute { r#type, value: Some(value) }
}
