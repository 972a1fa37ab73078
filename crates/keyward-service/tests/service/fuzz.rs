//! What a client with a certificate sends, right or not, does not bring the
//! service down.

use std::path::Path;
use std::time::Duration;

use crate::common::*;
use crate::long;
use crate::seeded::{self, Seeded};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::{self as wire, ErrorCode, Request, frame};
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn mutated_requests_do_not_bring_the_service_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keyward-wire/tests/golden/0.1");
    let golden: Vec<Request> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("request-"))
        .map(|path| frame::take(&mut std::fs::read(path).unwrap()).unwrap().unwrap())
        .collect();
    assert!(golden.len() > 20);
    let service = Service::start().await;
    let identity = service.token_and_identity().await;
    let mut user = service.connect(&identity).await;
    user.token = "dev".to_owned();
    user.login(PIN).await.unwrap();
    let key = long::key(&mut user).await;
    let (mut frames, mut connections, mut closed) = (0, 0, 0);
    for seed in seeded::seeds(Duration::from_secs(2)) {
        connections += 1;
        let mut rng = Seeded::new(seed);
        let mut client = service.connect(&identity).await;
        client.token = "dev".to_owned();
        // Wrong PINs may have locked the token by now.
        let _ = client.login(PIN).await;
        let mut last = 0;
        for _ in 0..40 {
            // A long input, whose parts are what was announced or not.
            let request = if rng.once_in(4) {
                if last == 0 || rng.once_in(4) {
                    let request = client.request(long::head(&key, 1 + rng.below(100)));
                    last = request.id;
                    request
                } else {
                    let length = rng.below(60);
                    long::part(last - rng.below(2) as u64, &rng.bytes(length))
                }
            } else {
                // An honest envelope, so that it gets as far as the operation.
                client.request(golden[rng.below(golden.len())].operation.clone().unwrap())
            };
            let mut bytes = frame::encode(&request).unwrap();
            if rng.below(2) == 0 {
                let mut body = bytes.split_off(frame::HEADER);
                rng.mutate(&mut body);
                bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
                bytes.extend(body);
            } else if rng.once_in(8) {
                rng.mutate(&mut bytes);
            }
            frames += 1;
            let sent = client.stream.write_all(&bytes).await.is_ok()
                && client.stream.flush().await.is_ok();
            if !sent {
                break;
            }
        }
        // Answers are taken until the connection is closed or there are none.
        let quiet = Duration::from_millis(300);
        while let Ok(answer) = tokio::time::timeout(quiet, client.receive()).await {
            let Ok(answer) = answer else {
                closed += 1;
                break;
            };
            // A panic is answered like this.
            let internal = matches!(&answer.result, Some(Answer::Failure(failure))
                if failure.code() == ErrorCode::Internal);
            assert!(!internal, "seed {seed}: {answer:?}");
        }
        let mut honest = service.admin().await;
        let hello = Operation::Hello(wire::Hello::default());
        honest.ask(hello).await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
    }
    println!("{frames} frames on {connections} connections, {closed} of which the service closed");
    // It does its work.
    let mut admin = service.admin().await;
    admin.create_token("after").await;
    let identity = admin.create_identity("after", &[("after", false)]).await.unwrap();
    let mut client = service.connect(&identity).await;
    client.token = "after".to_owned();
    client.login(PIN).await.unwrap();
    let pair = client.generate(generate_p256(true)).await.unwrap();
    let private = by_id(&pair.private_key.unwrap());
    client.sign(private, ecdsa(), &[7; 32]).await.unwrap();
    service.stop().await;
}
