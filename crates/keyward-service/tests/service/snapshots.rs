//! Snapshots: what is in one, of which tokens there is one, and who signed it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::*;
use cryptoki_sys::*;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode, SignedSnapshot, SnapshotContent};
use p256::ecdsa::signature::Verifier;
use prost::Message;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

fn asked(life_s: u64) -> Operation {
    Operation::Snapshot(wire::Snapshot { scope: wire::Scope::Usable.into(), life_s })
}

/// A client of a token that the certificate opens.
async fn client(service: &Service) -> Client {
    let mut admin = service.admin().await;
    let token = wire::CreateToken {
        label: "open".to_owned(),
        login_mode: wire::LoginMode::Certificate.into(),
        so_pin: SO_PIN.to_vec(),
        ..wire::CreateToken::default()
    };
    admin.ask(Operation::CreateToken(token)).await.unwrap();
    let identity = admin.create_identity("opener", &[("open", false)]).await.unwrap();
    let mut client = service.connect(&identity).await;
    client.token = "open".to_owned();
    client
}

/// The snapshot in an answer, and in how many frames it came.
async fn snapshot(client: &mut Client, life_s: u64) -> (SignedSnapshot, usize) {
    let request = client.request(asked(life_s));
    let frames = client.frames(&request).await;
    let mut bytes = Vec::new();
    for frame in &frames {
        match &frame.result {
            Some(Answered::Snapshot(part)) => bytes.extend_from_slice(&part.bytes),
            _ => panic!("an answer to something else"),
        }
    }
    (SignedSnapshot::decode(bytes.as_slice()).unwrap(), frames.len())
}

fn content(signed: &SignedSnapshot) -> SnapshotContent {
    SnapshotContent::decode(signed.content.as_slice()).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn object(class: u64, private: bool, value: &[u8]) -> Operation {
    let mut template = vec![
        number(CKA_CLASS, class),
        boolean(CKA_TOKEN, true),
        boolean(CKA_PRIVATE, private),
        bytes(CKA_VALUE, value),
    ];
    if class == CKO_SECRET_KEY {
        template.extend([
            number(CKA_KEY_TYPE, CKK_AES),
            boolean(CKA_SENSITIVE, false),
            boolean(CKA_EXTRACTABLE, true),
        ]);
    }
    Operation::CreateObject(wire::CreateObject { template })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_shows_the_public_side_and_the_servers_key_has_signed_it() {
    let service = Service::start().await;
    let mut client = client(&service).await;
    client.generate(generate_p256(true)).await.unwrap();
    client.ask(object(CKO_SECRET_KEY, true, b"a key to be read")).await.unwrap();
    client.ask(object(CKO_DATA, true, b"private data")).await.unwrap();
    client.ask(object(CKO_DATA, false, b"public data")).await.unwrap();
    let before = now();
    let (signed, frames) = snapshot(&mut client, 3600).await;
    assert_eq!(frames, 1);
    let shown = content(&signed);
    assert!((before..=now()).contains(&shown.issued));
    assert_eq!(shown.expires - shown.issued, 3600);
    assert_eq!(shown.identity.len(), 32);
    let token = shown.token.unwrap();
    assert_eq!((token.label.as_str(), token.revision), ("open", shown.revision));
    // The pair and the public data.
    assert_eq!((shown.objects.len(), shown.left_out), (3, 2));
    let encoded = &signed.content;
    let holds = |text: &[u8]| encoded.windows(text.len()).any(|part| part == text);
    assert!(holds(b"public data"));
    assert!(!holds(b"a key to be read") && !holds(b"private data"));
    let secret: Vec<_> = shown.objects.iter().flat_map(|object| &object.attributes).collect();
    assert!(!secret.iter().any(|attribute| attribute.r#type == CKA_VALUE
        && matches!(&attribute.value, Some(wire::attribute::Value::Bytes(value)) if value != b"public data")));

    // Another library finds the signature right, by the certificate that the
    // service shows in handshakes.
    let certificate = CertificateDer::from_pem_file(service.dir.join("server.pem")).unwrap();
    assert_eq!(signed.certificates[0], certificate.as_ref());
    let (_, parsed) = X509Certificate::from_der(&signed.certificates[0]).unwrap();
    let key =
        p256::ecdsa::VerifyingKey::from_sec1_bytes(&parsed.public_key().subject_public_key.data)
            .unwrap();
    let signature = p256::ecdsa::Signature::from_der(&signed.signature).unwrap();
    assert_eq!(signed.scheme, 0x0403);
    let message = [b"keyward snapshot 1\0", encoded.as_slice()].concat();
    key.verify(&message, &signature).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_decides_how_long_a_snapshot_is_good_at_most() {
    let service = Service::with(|config| config.deadlines.snapshot_h = 2).await;
    let mut client = client(&service).await;
    for (wanted, given) in [(60, 60), (7200, 7200), (7201, 7200), (u64::MAX, 7200), (0, 7200)] {
        let shown = content(&snapshot(&mut client, wanted).await.0);
        assert_eq!(shown.expires - shown.issued, given, "{wanted}");
    }
    let service = Service::with(|config| config.deadlines.snapshot_h = 0).await;
    let mut client = self::client(&service).await;
    let refusal = client.refusal(asked(60)).await;
    assert_eq!(refusal.code, ErrorCode::NotPermitted);
    assert!(refusal.message.contains("deadlines.snapshot_h"), "{}", refusal.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_none_of_a_token_with_a_pin_or_of_anothers() {
    let service = Service::start().await;
    // Logged in, and refused all the same.
    let mut user = service.user().await;
    let refusal = user.refusal(asked(60)).await;
    assert_eq!(refusal.code, ErrorCode::NotPermitted);
    assert!(refusal.message.contains("opened by a PIN"), "{}", refusal.message);
    let mut admin = service.admin().await;
    admin.token = "dev".to_owned();
    assert_eq!(admin.refusal(asked(60)).await.code, ErrorCode::NotPermitted);
    let mut client = client_without_grant(&service).await;
    assert_eq!(client.refusal(asked(60)).await.code, ErrorCode::TokenNotPresent);
}

async fn client_without_grant(service: &Service) -> Client {
    let _open = client(service).await;
    let mut admin = service.admin().await;
    let identity = admin.create_identity("node-2", &[]).await.unwrap();
    let mut client = service.connect(&identity).await;
    client.token = "open".to_owned();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_one_comes_in_parts_and_one_that_is_too_long_not_at_all() {
    let service = Service::start().await;
    let mut client = client(&service).await;
    let value = vec![7; 390 << 10];
    for _ in 0..2 {
        client.ask(object(CKO_DATA, false, &value)).await.unwrap();
    }
    let (signed, frames) = snapshot(&mut client, 60).await;
    assert_eq!((content(&signed).objects.len(), frames), (2, 2));
    for _ in 0..9 {
        client.ask(object(CKO_DATA, false, &value)).await.unwrap();
    }
    assert_eq!(client.refusal(asked(60)).await.code, ErrorCode::DataLenRange);
}
