use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use keyward_wire::{Object, SnapshotPart, TokenInfo};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use time::OffsetDateTime;

use super::*;

/// 2026-11-01, in seconds: when the snapshots of these tests are made.
const THEN: u64 = 1_793_491_200;
const HOUR: u64 = 3600;
const IDENTITY: &str = "0123456789abcdef0123456789abcdef";

/// A certificate with its key.
struct Holder {
    certificate: Certificate,
    key: KeyPair,
}

/// A client's files, and those who might sign.
struct Setup {
    folder: TempDir,
    config: Config,
    service: Holder,
    /// Of the same authority, with another name.
    neighbour: Holder,
    /// Of the same authority: this client itself.
    client: Holder,
    /// Of another authority, with the service's name.
    impostor: Holder,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, issuer) = authority();
        let (_, other) = authority();
        let client = issue(&issuer, "", &format!("{IDENTITY_URI}{IDENTITY}"));
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("identity.pem"), client.certificate.pem()).unwrap();
        let path = folder.path().join("client.toml");
        std::fs::write(
            &path,
            "endpoints = ['127.0.0.1:1']\nauthority = 'ca.pem'\ncertificate = 'identity.pem'\n\
             private_key = 'identity.key'\n",
        )
        .unwrap();
        let config = Config::load(&path).unwrap();
        let service = issue(&issuer, "keyward", "");
        let neighbour = issue(&issuer, "neighbour", "");
        let impostor = issue(&other, "keyward", "");
        Self { folder, config, service, neighbour, client, impostor }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("snapshot")
    }

    fn settings(&self) -> OfflineStart {
        OfflineStart { file: self.file(), hours: 24 }
    }

    fn check(&self, bytes: &[u8], at: u64) -> Result<Snapshot, Refused> {
        let now = UNIX_EPOCH + Duration::from_secs(at);
        Snapshot::check(&self.config, "node0", &self.settings(), bytes.to_vec(), now)
    }

    /// The sentence by which it is refused.
    fn refused(&self, bytes: &[u8], at: u64) -> String {
        self.check(bytes, at).unwrap_err().to_string()
    }
}

fn authority() -> (Certificate, Issuer<'static, KeyPair>) {
    let mut params = params();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate, Issuer::new(params, key))
}

/// A server's certificate for this name, or else a client's for this identity.
fn issue(issuer: &Issuer<'static, KeyPair>, name: &str, uri: &str) -> Holder {
    let mut params = params();
    if uri.is_empty() {
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    } else {
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = at(THEN + 30 * HOUR);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Holder { certificate, key }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.not_before = at(THEN - 100 * HOUR);
    params.not_after = at(THEN + 1000 * HOUR);
    params
}

fn at(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap()).unwrap()
}

/// What the service would say of the token "node0" for a day.
fn content() -> SnapshotContent {
    SnapshotContent {
        token: Some(TokenInfo {
            label: "node0".to_owned(),
            login_mode: LoginMode::Certificate.into(),
            ..TokenInfo::default()
        }),
        identity: IDENTITY.to_owned(),
        revision: Some(Revision { incarnation: 7, sequence: 42 }),
        issued: THEN,
        expires: THEN + 24 * HOUR,
        scope: Scope::Usable.into(),
        objects: vec![Object { unique_id: "1".to_owned(), ..Object::default() }],
        left_out: 0,
    }
}

fn sign(holder: &Holder, content: &SnapshotContent) -> Vec<u8> {
    let content = content.encode_to_vec();
    let key = PrivateKeyDer::try_from(holder.key.serialize_der()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
    SignedSnapshot {
        signature: signer.sign(&SignedSnapshot::signed_bytes(&content)).unwrap(),
        scheme: u16::from(signer.scheme()).into(),
        certificates: vec![holder.certificate.der().to_vec()],
        content,
    }
    .encode_to_vec()
}

#[test]
fn what_the_service_signed_is_good_until_it_expires() {
    let setup = Setup::new();
    let bytes = sign(&setup.service, &content());
    let good = setup.check(&bytes, THEN + HOUR).unwrap();
    assert_eq!(good.content().objects.len(), 1);
    assert_eq!(good.revision(), Revision { incarnation: 7, sequence: 42 });
    assert_eq!(good.expires(), UNIX_EPOCH + Duration::from_secs(THEN + 24 * HOUR));
    assert_eq!(good.renew_at(), UNIX_EPOCH + Duration::from_secs(THEN + 12 * HOUR));
    setup.check(&bytes, THEN + 24 * HOUR - 1).unwrap();
    assert_eq!(setup.refused(&bytes, THEN + 24 * HOUR), "it expired 0 s ago");
    // A clock that is behind a little is none that was turned back.
    setup.check(&bytes, THEN - 300).unwrap();
    assert!(setup.refused(&bytes, THEN - 301).contains("301 s in the future"));
    // The client's own limit counts where it is the lower one.
    let long = sign(&setup.service, &SnapshotContent { expires: THEN + 1000 * HOUR, ..content() });
    setup.check(&long, THEN + 24 * HOUR - 1).unwrap();
    assert!(setup.refused(&long, THEN + 24 * HOUR).contains("expired"));
    let short = sign(&setup.service, &SnapshotContent { expires: THEN + HOUR, ..content() });
    assert!(setup.refused(&short, THEN + 2 * HOUR).contains("expired 3600 s ago"));
}

#[test]
fn what_is_about_something_else_is_refused() {
    let setup = Setup::new();
    let token = |change: fn(&mut TokenInfo)| {
        let mut content = content();
        change(content.token.as_mut().unwrap());
        content
    };
    for (content, why) in [
        (token(|token| token.label = "node1".to_owned()), "another token, \"node1\""),
        (token(|token| token.login_mode = LoginMode::Pin.into()), "opened by a PIN"),
        (SnapshotContent { identity: "f".repeat(32), ..content() }, "another identity"),
        (SnapshotContent { scope: Scope::Current.into(), ..content() }, "all that it should"),
        (SnapshotContent { token: None, ..content() }, "damaged"),
    ] {
        let refused = setup.refused(&sign(&setup.service, &content), THEN);
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn whoever_is_not_the_service_signs_in_vain() {
    let setup = Setup::new();
    for (holder, who) in [
        (&setup.impostor, "another authority"),
        (&setup.neighbour, "another name"),
        (&setup.client, "a client"),
    ] {
        let refused = setup.refused(&sign(holder, &content()), THEN);
        assert!(refused.contains("would not be taken for the service"), "{who}: {refused}");
    }
    // The service's certificate, and another's signature.
    let mut forged = SignedSnapshot::decode(sign(&setup.client, &content()).as_slice()).unwrap();
    forged.certificates = vec![setup.service.certificate.der().to_vec()];
    assert!(setup.refused(&forged.encode_to_vec(), THEN).contains("signature is wrong"));
    // What the service's key signs in a handshake is none.
    let good = SignedSnapshot::decode(sign(&setup.service, &content()).as_slice()).unwrap();
    for change in [
        |good: &mut SignedSnapshot| good.content[30] ^= 1,
        |good: &mut SignedSnapshot| good.scheme = 0x0804,
        |good: &mut SignedSnapshot| good.scheme = 0x1_0403,
        |good: &mut SignedSnapshot| good.signature.clear(),
    ] {
        let mut changed = good.clone();
        change(&mut changed);
        assert!(setup.refused(&changed.encode_to_vec(), THEN).contains("signature is wrong"));
    }
    let nobody = SignedSnapshot { certificates: Vec::new(), ..good };
    assert!(setup.refused(&nobody.encode_to_vec(), THEN).contains("damaged"));
}

#[test]
fn a_client_whose_certificate_is_over_is_shown_nothing() {
    let setup = Setup::new();
    let late = SnapshotContent { issued: THEN + 20 * HOUR, expires: THEN + 40 * HOUR, ..content() };
    let bytes = sign(&setup.service, &late);
    setup.check(&bytes, THEN + 30 * HOUR).unwrap();
    let refused = setup.refused(&bytes, THEN + 30 * HOUR + 1);
    assert_eq!(refused, "the identity's certificate has expired");
    std::fs::remove_file(setup.config.certificate.clone()).unwrap();
    let refused = setup.refused(&bytes, THEN + 21 * HOUR);
    assert!(refused.contains("the identity's certificate cannot be used"), "{refused}");
}

#[test]
fn an_answer_comes_in_parts() {
    let part = |bytes: &[u8]| Response {
        result: Some(Answer::Snapshot(SnapshotPart { bytes: bytes.to_vec() })),
        ..Response::default()
    };
    assert_eq!(joined(vec![part(b"one"), part(b" and two")]).unwrap(), b"one and two");
    assert!(matches!(joined(vec![part(b"one"), Response::default()]), Err(Refused::Damaged)));
}

#[test]
fn the_file_is_replaced_whole_and_read_by_its_owner_only() {
    let setup = Setup::new();
    let path = setup.file();
    let bytes = sign(&setup.service, &content());
    let snapshot = setup.check(&bytes, THEN).unwrap();
    assert!(matches!(file::read(&path), Err(Refused::Missing)));
    for _ in 0..2 {
        snapshot.write(&path).unwrap();
        assert_eq!(file::read(&path).unwrap(), bytes);
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    // Nothing is left of what it was made in.
    let mut left: Vec<_> = std::fs::read_dir(setup.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["ca.pem", "client.toml", "identity.pem", "snapshot"]);

    match chown(&path, Some(12345), None) {
        Ok(()) => {
            let refused = file::read(&path).unwrap_err().to_string();
            assert!(refused.contains("its owner is user 12345"), "{refused}");
        }
        Err(error) => println!("not root, so nobody else's file is read: {error}"),
    }
    Snapshot::delete(&path).unwrap();
    Snapshot::delete(&path).unwrap();
    assert!(!path.exists());

    std::fs::write(&path, "a letter").unwrap();
    assert!(matches!(snapshot.write(&path), Err(Refused::Foreign)));
    assert!(matches!(Snapshot::delete(&path), Err(Refused::Foreign)));
    // What a power cut left is.
    std::fs::write(&path, &file::MAGIC[..5]).unwrap();
    snapshot.write(&path).unwrap();
    let nowhere = setup.folder.path().join("no/folder/snapshot");
    assert!(matches!(snapshot.write(&nowhere), Err(Refused::Unusable(_))));
    std::fs::write(&path, [file::MAGIC, &vec![0; 6 << 20]].concat()).unwrap();
    assert!(matches!(file::read(&path), Err(Refused::Damaged)));
}
