//! The life of an identity's certificate.

use crate::common::*;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode};
use rcgen::{CertificateParams, KeyPair};
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: u64 = 24 * 3600;

/// The operation, and the key that stays here.
fn renew(name: &str, valid_days: u32) -> (Operation, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    let operation = Operation::RenewIdentity(wire::RenewIdentity {
        name: name.to_owned(),
        certificate_request: request.der().to_vec(),
        valid_days,
    });
    (operation, key)
}

async fn renewed(
    client: &mut Client,
    name: &str,
    valid_days: u32,
) -> Result<(Identity, wire::Identity), wire::Error> {
    let (operation, key) = renew(name, valid_days);
    let Answered::Identity(made) = client.ask(operation).await? else { panic!() };
    let identity = Identity {
        certificate: made.certificate.into(),
        key: key.serialize_pem(),
        authority: made.authority.into(),
    };
    Ok((identity, made.identity.unwrap()))
}

fn keep(name: &str, identity: &Identity) -> Operation {
    let (_, parsed) = X509Certificate::from_der(&identity.certificate).unwrap();
    let name = name.to_owned();
    Operation::RevokeCertificates(wire::RevokeCertificates {
        name,
        keep: parsed.raw_serial().to_vec(),
    })
}

async fn is_let_in(service: &Service, identity: &Identity) -> bool {
    let mut client = service.connect(identity).await;
    // In TLS 1.3 a client learns of it with its first read.
    let hello = client.request(Operation::Hello(wire::Hello::default()));
    client.send(&hello).await;
    let answer = client.receive().await.unwrap();
    match answer.result {
        Some(Answered::Hello(_)) => true,
        Some(Answered::Failure(failure)) => {
            assert_eq!((answer.id, failure.code()), (0, ErrorCode::IdentityRevoked));
            assert!(failure.message.contains("this certificate"), "{}", failure.message);
            false
        }
        _ => panic!(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_the_same_identitys() {
    let service = Service::start().await;
    let old = service.token_and_identity().await;
    let mut before = service.connect(&old).await;
    before.token = "dev".to_owned();
    before.login(PIN).await.unwrap();
    let sealed = before.generate(generate_p256(false)).await.unwrap().private_key.unwrap();

    // It renews itself, and an administrator renews it.
    let (own, _) = renewed(&mut before, "", 0).await.unwrap();
    let mut admin = service.admin().await;
    let (given, shown) = renewed(&mut admin, "node-1", 0).await.unwrap();
    assert_eq!(shown.name, "node-1");
    assert_eq!(shown.connections, 1);
    for identity in [&own, &given] {
        // Tickets and sealed objects go on, with the new certificate too.
        let mut after = service.connect(identity).await;
        after.token = "dev".to_owned();
        after.ticket = before.ticket.clone();
        after.create_object(data("d", b"x", true)).await.unwrap();
        after.sign(by_blob(&sealed), ecdsa(), &[1; 32]).await.unwrap();
    }
    // The connection from before does not notice, and the old one is good still.
    before.sign(by_blob(&sealed), ecdsa(), &[1; 32]).await.unwrap();
    assert!(is_let_in(&service, &old).await);
    let service = service.restart().await;
    for identity in [&old, &own, &given] {
        assert!(is_let_in(&service, identity).await);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_renews_another_or_gives_itself_a_longer_life() {
    let service = Service::start().await;
    let identity = service.token_and_identity().await;
    let mut client = service.connect(&identity).await;
    let mut admin = service.admin().await;
    for name in ["admin", "nobody"] {
        let error = renewed(&mut client, name, 0).await.map(drop).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotPermitted);
        let revoke = keep(name, &identity);
        assert_eq!(client.refusal(revoke).await.code, ErrorCode::NotPermitted);
    }
    let error = renewed(&mut admin, "nobody", 0).await.map(drop).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);

    let days = |shown: &wire::Identity| {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        (shown.certificate_expires - now + DAY / 2) / DAY
    };
    // 365 is what it was made with.
    for (asked, given) in [(0, 365), (30, 30), (3000, 365)] {
        let (_, shown) = renewed(&mut client, "", asked).await.unwrap();
        assert_eq!(days(&shown), given, "{asked}");
    }
    let (_, shown) = renewed(&mut admin, "node-1", 900).await.unwrap();
    assert_eq!(days(&shown), 900);
    let (_, shown) = renewed(&mut client, "node-1", 3000).await.unwrap();
    assert_eq!(days(&shown), 900);

    // A request that its own key has not signed is none.
    let (operation, _) = renew("", 0);
    let Operation::RenewIdentity(mut broken) = operation else { panic!() };
    *broken.certificate_request.last_mut().unwrap() ^= 1;
    let error = client.refusal(Operation::RenewIdentity(broken)).await;
    assert_eq!(error.code, ErrorCode::DataInvalid);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_certificates_end_when_they_are_revoked() {
    let service = Service::start().await;
    let old = service.token_and_identity().await;
    let mut before = service.connect(&old).await;
    before.token = "dev".to_owned();
    before.login(PIN).await.unwrap();
    let (new, _) = renewed(&mut before, "", 0).await.unwrap();
    let mut after = service.connect(&new).await;
    after.token = "dev".to_owned();
    after.ticket = before.ticket.clone();

    let unknown = Operation::RevokeCertificates(wire::RevokeCertificates {
        name: String::new(),
        keep: vec![1; 16],
    });
    assert_eq!(after.refusal(unknown).await.code, ErrorCode::NotFound);
    after.ask(keep("", &new)).await.unwrap();
    assert!(before.is_closed().await);
    after.create_object(data("d", b"x", true)).await.unwrap();
    assert!(!is_let_in(&service, &old).await);
    assert!(is_let_in(&service, &new).await);

    // The next one is good beside it, until an administrator ends that.
    let (newer, _) = renewed(&mut after, "", 0).await.unwrap();
    assert!(is_let_in(&service, &newer).await);
    let service = service.restart().await;
    assert!(!is_let_in(&service, &old).await);
    let mut admin = service.admin().await;
    admin.ask(keep("node-1", &newer)).await.unwrap();
    assert!(!is_let_in(&service, &new).await);
    assert!(is_let_in(&service, &newer).await);
    service.stop().await;
}
