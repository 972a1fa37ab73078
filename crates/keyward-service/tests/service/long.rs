//! Inputs that are longer than a frame: their parts between other requests, what
//! is refused before they are sent, and peers that do not keep to it.

use std::time::Duration;

use cryptoki_sys::*;
use keyward_crypto::block::BlockKey;
use keyward_wire::parts::{INPUT_LIMIT, PART};
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode, Request, Response, long};

use crate::common::*;

const MIB: usize = 1 << 20;

/// A secret key of the token's, for everything.
pub async fn key(client: &mut Client) -> wire::Key {
    let template = vec![
        number(CKA_CLASS, CKO_SECRET_KEY),
        number(CKA_KEY_TYPE, CKK_AES),
        boolean(CKA_TOKEN, true),
        boolean(CKA_SIGN, true),
        boolean(CKA_ENCRYPT, true),
        bytes(CKA_VALUE, &[7; 16]),
    ];
    let object = client.create_object(template).await.unwrap();
    wire::Key { key: Some(by_id(&object)) }
}

fn cmac(key: &wire::Key) -> wire::Sign {
    wire::Sign {
        key: Some(key.clone()),
        scheme: Some(wire::sign::Scheme::Cmac(wire::Cmac {
            cipher: wire::BlockCipher::Aes.into(),
            length: 16,
        })),
        mechanism: Some(CKM_AES_CMAC),
        ..wire::Sign::default()
    }
}

/// The head of a code over so many bytes.
pub fn head(key: &wire::Key, length: usize) -> Operation {
    let of = Some(long::Of::Sign(cmac(key)));
    Operation::Long(wire::Long { of, length: length as u64 })
}

pub fn part(id: u64, bytes: &[u8]) -> Request {
    let operation = Some(Operation::Part(wire::Part { bytes: bytes.to_vec() }));
    Request { id, operation, ..Request::default() }
}

fn code_of(response: &Response) -> ErrorCode {
    match &response.result {
        Some(Answered::Failure(failure)) => failure.code(),
        _ => ErrorCode::Unspecified,
    }
}

/// Sends a head that is let in; the request's id.
async fn begin(client: &mut Client, operation: Operation) -> u64 {
    begin_within(client, operation, 0).await
}

async fn begin_within(client: &mut Client, operation: Operation, patience_ms: u32) -> u64 {
    let mut request = client.request(operation);
    request.patience_ms = patience_ms;
    client.send(&request).await;
    let told = client.receive().await.unwrap();
    assert!(matches!(told.result, Some(Answered::SendOn(_))), "{:?}", code_of(&told));
    assert!(told.more && told.id == request.id);
    request.id
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_between_other_requests_and_make_one() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let key = key(&mut client).await;
    let data: Vec<u8> = (0..3 * MIB).map(|at| (at / 97) as u8).collect();
    let id = begin(&mut client, head(&key, data.len())).await;
    // One at a time.
    assert_eq!(client.refusal(head(&key, 9)).await.code, ErrorCode::Later);
    // Of requests that are not under way, or are no long ones.
    client.send(&part(id + 77, b"lost")).await;
    let parts: Vec<&[u8]> = data.chunks(MIB - 100).collect();
    for bytes in &parts {
        assert_eq!(
            client.refusal(Operation::Sign(wire::Sign::default())).await.code,
            ErrorCode::Malformed
        );
        client.send(&part(id, bytes)).await;
    }
    let answer = client.receive().await.unwrap();
    assert!(answer.id == id && !answer.more);
    let Some(Answered::Signature(code)) = answer.result else { panic!() };
    let aes = BlockKey::aes(&[7; 16]).unwrap();
    assert_eq!(code.value, *keyward_crypto::cmac::cmac(&aes, &data));

    // A ciphertext comes back in several frames, and they are counted as one.
    let gcm = wire::Aead { nonce: vec![1; 12], associated: Vec::new(), tag_length: 16 };
    let block = wire::Block {
        cipher: wire::BlockCipher::Aes.into(),
        mode: Some(wire::block::Mode::Gcm(gcm)),
    };
    let encrypt =
        wire::Encrypt { key: Some(key.clone()), block: Some(block), ..wire::Encrypt::default() };
    let of = Some(long::Of::Encrypt(encrypt));
    let id =
        begin(&mut client, Operation::Long(wire::Long { of, length: data.len() as u64 })).await;
    for bytes in &parts {
        client.send(&part(id, bytes)).await;
    }
    let (mut text, mut frames, mut more) = (Vec::new(), 0, true);
    while more {
        let answer = client.receive().await.unwrap();
        assert_eq!(answer.id, id);
        more = answer.more;
        frames += 1;
        let Some(Answered::Ciphertext(piece)) = answer.result else { panic!() };
        assert!(piece.value.len() <= PART);
        text.extend(piece.value);
    }
    assert_eq!((text.len(), frames), (data.len() + 16, 4));
    let status = service.admin().await.status().await;
    let counted = |name: &str| {
        let of_token = status.tokens.iter().find(|token| token.token == "dev").unwrap();
        let counted = of_token.operations.iter().find(|one| one.operation == name).unwrap();
        (counted.count, counted.failed)
    };
    assert_eq!(counted("encrypt"), (1, 0));
    // The one, that which was told to come later, and those without a key.
    assert_eq!(counted("sign"), (6, 5));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_before_it_is_sent() {
    let service = Service::with(|config| config.limits.input_mib = 24).await;
    let mut client = service.user().await;
    let key = key(&mut client).await;
    let nothing = wire::Key { key: Some(wire::key::Key::UniqueId("nothing".to_owned())) };
    let with_input = wire::Sign { input: vec![1], ..cmac(&key) };
    for (operation, code) in [
        (head(&nothing, MIB), ErrorCode::KeyHandleInvalid),
        (head(&key, INPUT_LIMIT + 1), ErrorCode::DataLenRange),
        // Three times 9 MiB are more than this service has.
        (head(&key, 9 * MIB), ErrorCode::DataLenRange),
        (head(&key, 0), ErrorCode::Malformed),
        (Operation::Long(wire::Long { of: None, length: 9 }), ErrorCode::Malformed),
        (
            Operation::Long(wire::Long { of: Some(long::Of::Sign(with_input)), length: 9 }),
            ErrorCode::Malformed,
        ),
    ] {
        assert_eq!(client.refusal(operation).await.code, code);
    }
    // Without a login there is no such key.
    let ticket = client.ticket.take();
    assert_eq!(client.refusal(head(&key, MIB)).await.code, ErrorCode::KeyHandleInvalid);
    client.ticket = ticket;

    // What is not what was announced ends it, and what still comes is nothing.
    for wrong in [vec![], vec![7; 10]] {
        let id = begin(&mut client, head(&key, 9)).await;
        client.send(&part(id, &wrong)).await;
        let refused = client.receive().await.unwrap();
        assert_eq!((refused.id, code_of(&refused)), (id, ErrorCode::Malformed));
        client.send(&part(id, b"more")).await;
    }
    let id = begin(&mut client, head(&key, 9)).await;
    client.send(&part(id, b"nine byte")).await;
    assert!(matches!(client.receive().await.unwrap().result, Some(Answered::Signature(_))));
    service.stop().await;
}

/// A peer that says it will send and does not has its half of the room for as
/// long as it says that it waits, and nobody else has less for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stops_in_the_middle_holds_up_nobody_else() {
    let service = Service::with(|config| config.limits.input_mib = 12).await;
    let mut client = service.user().await;
    let key = key(&mut client).await;
    let mut admin = service.admin().await;
    let other = admin.create_identity("node-2", &[("dev", false)]).await.unwrap();
    let (mut first, mut second) = (service.connect(&other).await, service.connect(&other).await);
    for client in [&mut first, &mut second] {
        client.token = "dev".to_owned();
        client.login(PIN).await.unwrap();
    }
    let held = begin_within(&mut first, head(&key, 2 * MIB), 1500).await;
    first.send(&part(held, &vec![7; MIB / 2])).await;
    // Its half is taken, on whatever connection.
    assert_eq!(second.refusal(head(&key, 2000)).await.code, ErrorCode::Later);
    let id = begin(&mut client, head(&key, 2 * MIB)).await;
    for _ in 0..4 {
        client.send(&part(id, &vec![7; MIB / 2])).await;
    }
    assert!(matches!(client.receive().await.unwrap().result, Some(Answered::Signature(_))));
    // It is told when its own time is up, and its connection goes on.
    let late = first.receive().await.unwrap();
    assert_eq!((late.id, code_of(&late)), (held, ErrorCode::Later));
    first.send(&part(held, &vec![7; MIB / 2])).await;
    let id = begin(&mut second, head(&key, 4)).await;
    second.send(&part(id, b"four")).await;
    assert!(matches!(second.receive().await.unwrap().result, Some(Answered::Signature(_))));
    let id = begin(&mut first, head(&key, 4)).await;
    first.send(&part(id, b"four")).await;
    assert!(matches!(first.receive().await.unwrap().result, Some(Answered::Signature(_))));
    // One that goes away leaves nothing behind.
    begin(&mut first, head(&key, 2 * MIB)).await;
    drop(first);
    tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let request = second.request(head(&key, 2 * MIB));
            second.send(&request).await;
            if code_of(&second.receive().await.unwrap()) != ErrorCode::Later {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_says_so_and_waits_for_no_parts() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let key = key(&mut client).await;
    let id = begin(&mut client, head(&key, 2 * MIB)).await;
    let (_, told) = tokio::join!(service.stop(), client.receive());
    let told = told.unwrap();
    assert_eq!((told.id, code_of(&told)), (id, ErrorCode::Later));
    assert!(told.draining);
}
