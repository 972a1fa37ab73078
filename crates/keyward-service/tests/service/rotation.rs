//! A key takes another's place, certificates belong to their keys.

use crate::common::*;
use cryptoki_sys::*;
use keyward_token::stage::CKA_KEYWARD_STAGE;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answered;
use keyward_wire::{self as wire, ErrorCode, Scope};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SubjectPublicKeyInfo};

/// A certificate authority that is not ours.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// A certificate for the key of an object.
    fn certify(&self, key: &wire::Object) -> Vec<u8> {
        let info = SubjectPublicKeyInfo::from_der(&value(key, CKA_PUBLIC_KEY_INFO)).unwrap();
        let params = CertificateParams::new(["node".to_owned()]).unwrap();
        params.signed_by(&info, &self.issuer).unwrap().der().to_vec()
    }
}

fn certificate(der: &[u8], more: Vec<wire::Attribute>) -> Vec<wire::Attribute> {
    let mut template = vec![
        number(CKA_CLASS, CKO_CERTIFICATE),
        number(CKA_CERTIFICATE_TYPE, CKC_X_509),
        boolean(CKA_TOKEN, true),
        bytes(CKA_VALUE, der),
    ];
    template.extend(more);
    template
}

fn install(key: &wire::Object, chain: &[&[u8]]) -> Operation {
    let template = |der: &&[u8]| wire::Attributes { attributes: certificate(der, Vec::new()) };
    Operation::InstallCertificate(wire::InstallCertificate {
        key: key.unique_id.clone(),
        certificate: chain.first().map(template),
        authorities: chain.iter().skip(1).map(template).collect(),
    })
}

fn retire(key: &wire::Object) -> Operation {
    Operation::RetireKey(wire::RetireKey { unique_id: key.unique_id.clone() })
}

/// A key pair of this CKA_ID and label; `successor_of` another or of none.
fn pair(id: &[u8], label: &[u8], successor_of: Option<&wire::Object>) -> Operation {
    let Operation::GenerateKeyPair(mut generate) = generate_p256(true) else { unreachable!() };
    for template in [&mut generate.public_template, &mut generate.private_template] {
        template.extend([bytes(CKA_ID, id), bytes(CKA_LABEL, label)]);
    }
    generate.successor_of = successor_of.map_or(String::new(), |key| key.unique_id.clone());
    Operation::GenerateKeyPair(generate)
}

async fn private(client: &mut Client, operation: Operation) -> wire::Object {
    client.generate(operation).await.unwrap().private_key.unwrap()
}

/// CKA_ID, label and stage of the objects that a scope shows, of one class.
async fn seen(client: &mut Client, scope: Scope, class: u64) -> Vec<(Vec<u8>, Vec<u8>, String)> {
    let (objects, _) = client.catalogue_of(scope, None).await;
    let mut seen: Vec<_> = objects
        .iter()
        .filter(|object| object.attributes.contains(&number(CKA_CLASS, class)))
        .map(|object| {
            let stage = object.attributes.iter().find(|one| one.r#type == CKA_KEYWARD_STAGE);
            let stage = stage.map_or("current".to_owned(), |_| {
                let text = String::from_utf8(value(object, CKA_KEYWARD_STAGE)).unwrap();
                text.split(' ').next().unwrap().to_owned()
            });
            (value(object, CKA_ID), value(object, CKA_LABEL), stage)
        })
        .collect();
    seen.sort();
    seen
}

fn line(id: &str, label: &str, stage: &str) -> (Vec<u8>, Vec<u8>, String) {
    (id.as_bytes().to_vec(), label.as_bytes().to_vec(), stage.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_takes_the_place_in_one_step_and_the_old_key_signs_until_it_is_retired() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let authority = Authority::new();
    let old = private(&mut client, pair(b"1", b"old label", None)).await;
    let leaf = authority.certify(&old);
    // As keytool does it: the alias stands on the certificate.
    let template = certificate(&leaf, vec![bytes(CKA_ID, b"1"), bytes(CKA_LABEL, b"node")]);
    client.create_object(template).await.unwrap();

    let new = private(&mut client, pair(b"2", b"waiting", Some(&old))).await;
    for class in [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY] {
        for scope in [Scope::Current, Scope::Usable] {
            assert_eq!(seen(&mut client, scope, class).await, [line("1", "old label", "current")]);
        }
        assert_eq!(seen(&mut client, Scope::All, class).await.len(), 2);
    }
    let digest = [7; 32];
    client.sign(by_id(&new), ecdsa(), &digest).await.unwrap();
    let refusal = client.refusal(pair(b"3", b"", Some(&new))).await;
    assert_eq!(refusal.code, ErrorCode::ActionProhibited);

    let next = authority.certify(&new);
    client.ask(install(&new, &[&next, &authority.der])).await.unwrap();
    assert_eq!(
        seen(&mut client, Scope::Current, CKO_PRIVATE_KEY).await,
        [line("2", "node", "current")]
    );
    assert_eq!(
        seen(&mut client, Scope::Usable, CKO_PRIVATE_KEY).await,
        [line("1", "old label", "superseded"), line("2", "node", "current")]
    );
    for class in [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY] {
        assert_eq!(seen(&mut client, Scope::Current, class).await, [line("2", "node", "current")]);
    }
    let certificates = seen(&mut client, Scope::Usable, CKO_CERTIFICATE).await;
    assert_eq!(
        certificates,
        [line("", "", "current"), line("1", "node", "superseded"), line("2", "node", "current")]
    );
    // Whoever has the old one goes on with it; a search by template does not
    // find it.
    client.sign(by_id(&old), ecdsa(), &digest).await.unwrap();
    client.sign(by_id(&new), ecdsa(), &digest).await.unwrap();
    let find = |scope: Scope| {
        Operation::Find(wire::Find {
            template: vec![number(CKA_CLASS, CKO_PRIVATE_KEY)],
            scope: scope.into(),
            ..wire::Find::default()
        })
    };
    for (scope, count) in [(Scope::Current, 1), (Scope::Usable, 2)] {
        let Answered::Find(found) = client.ask(find(scope)).await.unwrap() else { panic!() };
        assert_eq!(found.objects.len(), count);
    }

    for wrong in [retire(&new), install(&old, &[&leaf])] {
        assert_eq!(client.refusal(wrong).await.code, ErrorCode::ActionProhibited);
    }
    client.ask(retire(&old)).await.unwrap();
    for class in [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY] {
        assert_eq!(seen(&mut client, Scope::All, class).await, [line("2", "node", "current")]);
    }
    assert_eq!(seen(&mut client, Scope::All, CKO_CERTIFICATE).await.len(), 2);
    let gone = client.sign(by_id(&old), ecdsa(), &digest).await.map(drop).unwrap_err();
    assert_eq!(gone.code, ErrorCode::KeyHandleInvalid);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_key_is_refused_and_nothing_changes() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let authority = Authority::new();
    let old = private(&mut client, pair(b"1", b"node", None)).await;
    let other = private(&mut client, pair(b"9", b"other", None)).await;
    let leaf = authority.certify(&old);
    client.ask(install(&old, &[&leaf])).await.unwrap();
    let new = private(&mut client, pair(b"2", b"node", Some(&old))).await;
    let before = client.catalogue_of(Scope::All, None).await.0;

    let wrong = authority.certify(&other);
    for operation in [install(&new, &[&wrong]), install(&new, &[&leaf]), install(&old, &[&wrong])] {
        assert_eq!(client.refusal(operation).await.code, ErrorCode::TemplateInconsistent);
    }
    // Out of order, or no certificates.
    let next = authority.certify(&new);
    let stranger = Authority::new();
    let mut odd = CertificateParams::default();
    odd.distinguished_name.push(rcgen::DnType::CommonName, "somebody else");
    let odd = odd.signed_by(&KeyPair::generate().unwrap(), &stranger.issuer).unwrap();
    for operation in
        [install(&new, &[&next, odd.der()]), install(&new, &[]), install(&new, &[b"no DER"])]
    {
        client.refusal(operation).await;
    }
    assert_eq!(client.catalogue_of(Scope::All, None).await.0, before);

    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_in_one_step_and_the_key_stays() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let authority = Authority::new();
    let key = private(&mut client, pair(b"1", b"", None)).await;
    let first = certificate(
        &authority.certify(&key),
        vec![bytes(CKA_ID, b"1"), bytes(CKA_LABEL, b"alias")],
    );
    client.create_object(first).await.unwrap();
    let second = authority.certify(&key);
    let request = client.request(install(&key, &[&second, &authority.der]));
    // A repeat is no second one.
    client.exchange(&request).await.unwrap();
    client.exchange(&request).await.unwrap();
    client.ask(install(&key, &[&second, &authority.der])).await.unwrap();
    let all = client.catalogue_of(Scope::All, None).await.0;
    let mut values: Vec<_> = all
        .iter()
        .filter(|object| object.attributes.contains(&number(CKA_CLASS, CKO_CERTIFICATE)))
        .map(|object| (value(object, CKA_LABEL), value(object, CKA_VALUE)))
        .collect();
    values.sort();
    assert_eq!(values, [(Vec::new(), authority.der.clone()), (b"alias".to_vec(), second)]);
    assert_eq!(seen(&mut client, Scope::All, CKO_PRIVATE_KEY).await, [line("1", "", "current")]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_destroyed_meanwhile_is_succeeded_unless_its_place_is_taken() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let authority = Authority::new();
    let destroy = |key: &wire::Object| {
        Operation::DestroyObject(wire::DestroyObject { unique_id: key.unique_id.clone() })
    };
    let old = private(&mut client, pair(b"1", b"node", None)).await;
    let new = private(&mut client, pair(b"2", b"node", Some(&old))).await;
    client.ask(destroy(&old)).await.unwrap();
    // An operator of keytool makes a key under the same alias.
    let rival = private(&mut client, pair(b"3", b"node", None)).await;
    let next = authority.certify(&new);
    assert_eq!(client.refusal(install(&new, &[&next])).await.code, ErrorCode::AlreadyExists);
    client.ask(destroy(&rival)).await.unwrap();
    client.ask(install(&new, &[&next])).await.unwrap();
    assert_eq!(
        seen(&mut client, Scope::All, CKO_PRIVATE_KEY).await,
        [line("2", "node", "current")]
    );
    // What waits can be given up.
    let newer = private(&mut client, pair(b"4", b"node", Some(&new))).await;
    client.ask(retire(&newer)).await.unwrap();
    assert_eq!(seen(&mut client, Scope::All, CKO_PUBLIC_KEY).await.len(), 3);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_user_who_may_write_replaces_a_key() {
    let service = Service::start().await;
    let mut client = service.user().await;
    let authority = Authority::new();
    let old = private(&mut client, pair(b"1", b"node", None)).await;
    let new = private(&mut client, pair(b"2", b"node", Some(&old))).await;
    let next = authority.certify(&new);
    let mut admin = service.admin().await;
    let reader = admin.create_identity("reader", &[("dev", true)]).await.unwrap();
    let mut reader = service.connect(&reader).await;
    reader.token = "dev".to_owned();
    let error = reader.refusal(install(&new, &[&next])).await;
    assert_eq!(error.code, ErrorCode::UserNotLoggedIn);
    reader.login(PIN).await.unwrap();
    for operation in [install(&new, &[&next]), retire(&new), pair(b"3", b"", Some(&old))] {
        assert_eq!(reader.refusal(operation).await.code, ErrorCode::TokenWriteProtected);
    }
    // For an identity that was not given the token there is none.
    let stranger = admin.create_identity("stranger", &[]).await.unwrap();
    let mut stranger = service.connect(&stranger).await;
    stranger.token = "dev".to_owned();
    let error = stranger.refusal(retire(&new)).await;
    assert_eq!(error.code, ErrorCode::TokenNotPresent);
    service.stop().await;
}
