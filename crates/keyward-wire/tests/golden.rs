//! Frames of a version, kept for later ones: whatever has been written must be
//! read, and mean the same.
//!
//! `KEYWARD_BLESS=1 cargo test -p keyward-wire --test golden` writes the frames
//! that are not there yet and touches no other. A frame that is there is never
//! written anew: when a message gets a field, its frame stays what it is and the
//! value here gets the field's default; a second frame, with the field, may be
//! added under another name.

#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keyward_wire::attribute::Value;
use keyward_wire::catalogue_result::State;
use keyward_wire::request::Operation;
use keyward_wire::response::Result as Answer;
use keyward_wire::*;
use prost::Message;

#[test]
fn frames_of_earlier_versions_are_read_as_they_were_meant() {
    for (name, request) in requests() {
        check(&format!("request-{name}"), &request);
    }
    for (name, response) in responses() {
        check(&format!("response-{name}"), &response);
    }
}

#[test]
fn every_operation_and_result_has_a_frame_and_every_frame_a_value() {
    let mut named = BTreeSet::new();
    for (name, request) in requests() {
        assert!(request.operation.is_some());
        named.insert(format!("request-{name}.bin"));
    }
    for (name, response) in responses() {
        assert!(response.result.is_some());
        named.insert(format!("response-{name}.bin"));
    }
    let there: BTreeSet<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, named);
    for (kind, oneof) in [("request", "operation"), ("response", "result")] {
        let fields = fields_of(oneof);
        assert!(fields.len() > 10, "{fields:?}");
        for field in fields {
            let file = format!("{kind}-{field}.bin");
            assert!(named.contains(&file), "{oneof} {field} of the schema has no frame");
        }
    }
}

/// Field 1000 is nobody's, and neither is what may come.
#[test]
fn fields_of_later_versions_are_ignored() {
    for (name, request) in requests() {
        let mut body = request.encode_to_vec();
        body.extend(UNKNOWN_FIELDS);
        assert!(frame::decode::<Request>(&body).unwrap() == request, "{name}");
    }
    for (name, response) in responses() {
        let mut body = response.encode_to_vec();
        body.extend(UNKNOWN_FIELDS);
        assert!(frame::decode::<Response>(&body).unwrap() == response, "{name}");
    }
    // An operation of a later version is none, and the envelope is still read.
    let mut body = Request { id: 7, token: "dev".into(), ..Request::default() }.encode_to_vec();
    body.extend(UNKNOWN_FIELDS);
    let request: Request = frame::decode(&body).unwrap();
    assert_eq!((request.id, request.token.as_str()), (7, "dev"));
    assert!(request.operation.is_none());
    // So is an error of a later version: it is no known one.
    let failure = Failure { code: 9999, ..Failure::default() };
    let failure = Failure::decode(failure.encode_to_vec().as_slice()).unwrap();
    assert_eq!(Error::from(failure).code, ErrorCode::Unspecified);
}

/// Field 1000: a varint, 5. Field 1001: three bytes.
const UNKNOWN_FIELDS: [u8; 9] = [0xc0, 0x3e, 5, 0xca, 0x3e, 3, 1, 2, 3];

fn check<M: Message + Default + PartialEq>(name: &str, value: &M) {
    let path = folder().join(format!("{name}.bin"));
    if std::env::var_os("KEYWARD_BLESS").is_some() && !path.exists() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, frame::encode(value).unwrap()).unwrap();
    }
    let mut bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; KEYWARD_BLESS=1 writes it", path.display()));
    let read: M = frame::take(&mut bytes).unwrap().unwrap();
    assert!(bytes.is_empty(), "{name}");
    // A derived Debug would show what is secret elsewhere, so there is none.
    assert!(read == *value, "{name} is read as something else");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/0.1")
}

/// The names of the fields of a oneof of the schema's envelope.
fn fields_of(oneof: &str) -> Vec<String> {
    let schema = include_str!("../proto/keyward.proto");
    let (_, rest) = schema.split_once(&format!("  oneof {oneof} {{\n")).unwrap();
    let (body, _) = rest.split_once("\n  }").unwrap();
    body.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && !line.is_empty())
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
        .collect()
}

fn requests() -> Vec<(&'static str, Request)> {
    let template = attributes();
    let operations = [
        ("hello", Operation::Hello(Hello { software: "module 0.1.0".into() })),
        ("list_tokens", Operation::ListTokens(ListTokens {})),
        (
            "login",
            Operation::Login(Login {
                user_type: UserType::User.into(),
                pin: Some(b"1234".to_vec()),
                want_catalogue: true,
                known: Some(revision()),
                scope: Scope::Current.into(),
                ..Login::default()
            }),
        ),
        (
            "login-without-pin",
            Operation::Login(Login {
                user_type: UserType::SecurityOfficer.into(),
                pin: None,
                want_catalogue: false,
                known: None,
                scope: Scope::Current.into(),
                ..Login::default()
            }),
        ),
        (
            "catalogue",
            Operation::Catalogue(Catalogue {
                known: Some(revision()),
                scope: Scope::Current.into(),
            }),
        ),
        (
            "catalogue-scope",
            Operation::Catalogue(Catalogue { known: None, scope: Scope::Usable.into() }),
        ),
        (
            "find",
            Operation::Find(Find {
                template: template.clone(),
                cursor: b"cursor".to_vec(),
                most: 100,
                scope: Scope::Current.into(),
            }),
        ),
        ("sign", sign(sign::Scheme::RsaPkcs1(Done {}))),
        (
            "sign-pss",
            sign(sign::Scheme::RsaPss(RsaPss {
                hash: Hash::Sha256.into(),
                mgf1_hash: Hash::Sha3384.into(),
                salt_length: 32,
            })),
        ),
        ("sign-x509", sign(sign::Scheme::RsaX509(Done {}))),
        ("sign-ecdsa", sign(sign::Scheme::Ecdsa(Done {}))),
        (
            "generate_key",
            Operation::GenerateKey(GenerateKey {
                mechanism: 0x1080,
                template: template.clone(),
                ..GenerateKey::default()
            }),
        ),
        (
            "generate_key-premaster",
            Operation::GenerateKey(GenerateKey {
                mechanism: 0x374,
                version: vec![3, 3],
                ..GenerateKey::default()
            }),
        ),
        (
            "encrypt-des",
            Operation::Encrypt(Encrypt {
                key: Some(by_id()),
                block: Some(Block {
                    cipher: BlockCipher::Des.into(),
                    mode: Some(block::Mode::Ecb(Done {})),
                }),
                input: vec![0x99; 8],
                ..Encrypt::default()
            }),
        ),
        (
            "generate_key-password",
            Operation::GenerateKey(GenerateKey {
                mechanism: 0x3b0,
                password: Some(Pbkdf2 {
                    hash: Hash::Sha512.into(),
                    salt: vec![0x11; 16],
                    iterations: 100_000,
                    password: b"password".to_vec(),
                }),
                ..GenerateKey::default()
            }),
        ),
        (
            "encrypt-feedback",
            Operation::Encrypt(Encrypt {
                key: Some(by_id()),
                block: Some(Block {
                    cipher: BlockCipher::Aes.into(),
                    mode: Some(block::Mode::Feedback(FeedbackMode {
                        kind: feedback_mode::Kind::Cfb8.into(),
                        chain: vec![0x22; 16],
                    })),
                }),
                input: vec![0x99; 7],
                ..Encrypt::default()
            }),
        ),
        (
            "sign-tls_mac",
            sign(sign::Scheme::TlsMac(TlsMac {
                hash: Hash::Sha384.into(),
                server: true,
                length: 12,
            })),
        ),
        (
            "derive_keys",
            Operation::DeriveKeys(DeriveKeys {
                base: Some(by_blob()),
                derivation: Some(Derivation {
                    scheme: Some(derivation::Scheme::TlsPrf(TlsPrf {
                        hash: Hash::Sha256.into(),
                        label: b"key expansion".to_vec(),
                        seed: vec![0x11; 64],
                        length: 0,
                        tells_version: false,
                    })),
                }),
                parts: vec![
                    derive_keys::Part {
                        part: Some(derive_keys::part::Part::Key(Attributes {
                            attributes: template.clone(),
                        })),
                    },
                    derive_keys::Part { part: Some(derive_keys::part::Part::Data(12)) },
                ],
                mechanism: 0x3e1,
            }),
        ),
        (
            "encrypt",
            Operation::Encrypt(Encrypt {
                key: Some(by_id()),
                block: Some(Block {
                    cipher: BlockCipher::Aes.into(),
                    mode: Some(block::Mode::Cbc(vec![0x55; 16])),
                }),
                input: vec![0x99; 32],
                ..Encrypt::default()
            }),
        ),
        (
            "verify",
            Operation::Verify(Verify {
                of: Some(Sign {
                    key: Some(by_blob()),
                    scheme: Some(sign::Scheme::Hmac(Hmac {
                        hash: Hash::Sha256.into(),
                        length: 32,
                    })),
                    recoverable: false,
                    input: b"message".to_vec(),
                    ..Sign::default()
                }),
                code: vec![0xaa; 32],
            }),
        ),
        ("decrypt", decrypt(decrypt::Scheme::RsaPkcs1(Done {}))),
        (
            "decrypt-oaep",
            decrypt(decrypt::Scheme::RsaOaep(RsaOaep {
                hash: Hash::Sha1.into(),
                mgf1_hash: Hash::Sha512.into(),
                label: b"label".to_vec(),
            })),
        ),
        ("decrypt-x509", decrypt(decrypt::Scheme::RsaX509(Done {}))),
        (
            "generate_key_pair",
            Operation::GenerateKeyPair(GenerateKeyPair {
                mechanism: 0x1040,
                public_template: template.clone(),
                private_template: template.clone(),
                successor_of: String::new(),
            }),
        ),
        (
            "generate_key_pair-successor",
            Operation::GenerateKeyPair(GenerateKeyPair {
                mechanism: 0x1040,
                public_template: template.clone(),
                private_template: template.clone(),
                successor_of: "0f".repeat(16),
            }),
        ),
        ("find-scope", Operation::Find(Find { scope: Scope::All.into(), ..Find::default() })),
        (
            "login-scope",
            Operation::Login(Login { scope: Scope::Usable.into(), ..Login::default() }),
        ),
        (
            "install_certificate",
            Operation::InstallCertificate(InstallCertificate {
                key: "0f".repeat(16),
                certificate: Some(Attributes { attributes: template.clone() }),
                authorities: vec![Attributes { attributes: template.clone() }],
            }),
        ),
        ("snapshot", Operation::Snapshot(Snapshot { scope: Scope::Usable.into(), life_s: 86_400 })),
        ("retire_key", Operation::RetireKey(RetireKey { unique_id: "0f".repeat(16) })),
        wrap("wrap_key", wrapping::Scheme::RsaPkcs1(Done {})),
        wrap("wrap_key-rsa_oaep", wrapping::Scheme::RsaOaep(oaep())),
        wrap(
            "wrap_key-rsa_aes",
            wrapping::Scheme::RsaAes(RsaAes { bits: 256, oaep: Some(oaep()) }),
        ),
        wrap(
            "wrap_key-aes_key_wrap",
            wrapping::Scheme::AesKeyWrap(AesKeyWrap { padded: true, initial_value: vec![7; 8] }),
        ),
        wrap(
            "wrap_key-block",
            wrapping::Scheme::Block(Block {
                cipher: BlockCipher::Aes.into(),
                mode: Some(block::Mode::CbcPad(vec![7; 16])),
            }),
        ),
        (
            "unwrap_key",
            Operation::UnwrapKey(UnwrapKey {
                unwrapping_key: Some(plain()),
                wrapping: Some(Wrapping { scheme: Some(wrapping::Scheme::RsaPkcs1(Done {})) }),
                wrapped: vec![0x88; 32],
                template: template.clone(),
                mechanism: Some(1),
            }),
        ),
        derive(
            "derive_key",
            derivation::Scheme::Ecdh(Agreement {
                peer: vec![4; 65],
                kdf: Hash::Sha256.into(),
                shared: b"shared".to_vec(),
            }),
        ),
        derive(
            "derive_key-dh",
            derivation::Scheme::Dh(Agreement { peer: vec![7; 256], ..Agreement::default() }),
        ),
        derive(
            "derive_key-hkdf",
            derivation::Scheme::Hkdf(Hkdf {
                hash: Hash::Sha384.into(),
                extract: true,
                salt: b"salt".to_vec(),
                salt_is_key: true,
                expand: true,
                info: b"info".to_vec(),
            }),
        ),
        derive(
            "derive_key-counter_mode",
            derivation::Scheme::CounterMode(CounterMode {
                prf: Some(counter_mode::Prf::Cmac(BlockCipher::Aes.into())),
                fields: [
                    counter_mode::field::Field::Counter(number()),
                    counter_mode::field::Field::Length(number()),
                    counter_mode::field::Field::LengthOfBlocks(number()),
                    counter_mode::field::Field::Bytes(b"label".to_vec()),
                ]
                .map(|field| counter_mode::Field { field: Some(field) })
                .to_vec(),
            }),
        ),
        derive(
            "derive_key-feedback",
            derivation::Scheme::Feedback(FeedbackKdf {
                of: Some(CounterMode {
                    prf: Some(counter_mode::Prf::Hmac(Hash::Sha256.into())),
                    fields: vec![counter_mode::Field {
                        field: Some(counter_mode::field::Field::Before(Done {})),
                    }],
                }),
                iv: vec![0x33; 32],
            }),
        ),
        derive(
            "derive_key-data",
            derivation::Scheme::Data(Between { before: vec![1], after: vec![2] }),
        ),
        derive("derive_key-key", derivation::Scheme::Key(Done {})),
        derive("derive_key-xor", derivation::Scheme::Xor(vec![3])),
        derive("derive_key-extract", derivation::Scheme::Extract(21)),
        derive("derive_key-digest", derivation::Scheme::Digest(Hash::Sha1.into())),
        derive(
            "derive_key-encryption",
            derivation::Scheme::Encryption(EncryptedData {
                block: Some(Block {
                    cipher: BlockCipher::Aes.into(),
                    mode: Some(block::Mode::Ecb(Done {})),
                }),
                data: vec![4; 16],
            }),
        ),
        derive(
            "derive_key-tls_prf",
            derivation::Scheme::TlsPrf(TlsPrf {
                hash: Hash::Sha256.into(),
                label: b"master secret".to_vec(),
                seed: vec![5; 64],
                length: 48,
                tells_version: true,
            }),
        ),
        (
            "encapsulate_key",
            Operation::EncapsulateKey(EncapsulateKey {
                public_key: Some(plain()),
                template: template.clone(),
            }),
        ),
        (
            "decapsulate_key",
            Operation::DecapsulateKey(DecapsulateKey {
                private_key: Some(by_id()),
                ciphertext: vec![0x88; 32],
                template: template.clone(),
            }),
        ),
        (
            "long",
            Operation::Long(Long {
                of: Some(long::Of::Sign(Sign {
                    key: Some(by_id()),
                    scheme: Some(sign::Scheme::Hmac(Hmac {
                        hash: Hash::Sha256.into(),
                        length: 32,
                    })),
                    mechanism: Some(0x251),
                    ..Sign::default()
                })),
                length: 5_000_000,
            }),
        ),
        (
            "long-decrypt",
            Operation::Long(Long {
                of: Some(long::Of::Decrypt(Decrypt { key: Some(by_blob()), ..Decrypt::default() })),
                length: 16 << 20,
            }),
        ),
        ("part", Operation::Part(Part { bytes: vec![0x77; 9] })),
        ("create_object", Operation::CreateObject(CreateObject { template: template.clone() })),
        (
            "copy_object",
            Operation::CopyObject(CopyObject { source: Some(by_id()), template: template.clone() }),
        ),
        (
            "set_attributes",
            Operation::SetAttributes(SetAttributes { object: Some(by_id()), template }),
        ),
        ("destroy_object", Operation::DestroyObject(DestroyObject { unique_id: "0f".repeat(16) })),
        (
            "set_pin",
            Operation::SetPin(SetPin {
                user_type: UserType::User.into(),
                old_pin: b"1234".to_vec(),
                new_pin: b"4321".to_vec(),
            }),
        ),
        ("init_pin", Operation::InitPin(InitPin { new_pin: b"4321".to_vec() })),
        (
            "init_token",
            Operation::InitToken(InitToken {
                so_pin: b"12345678".to_vec(),
                label: "dev".into(),
                ..InitToken::default()
            }),
        ),
        (
            "init_token-shown",
            Operation::InitToken(InitToken {
                so_pin: b"12345678".to_vec(),
                label: "dev".into(),
                shown_label: "two".into(),
            }),
        ),
        (
            "create_token",
            Operation::CreateToken(CreateToken {
                label: "dev".into(),
                login_mode: LoginMode::Certificate.into(),
                so_pin: b"12345678".to_vec(),
                user_pin: b"1234".to_vec(),
                ..CreateToken::default()
            }),
        ),
        (
            "create_identity",
            Operation::CreateIdentity(CreateIdentity {
                name: "node1".into(),
                grants: vec![Grant { token: "dev".into(), read_only: true }],
                administrator: true,
                certificate_request: vec![0x30, 0],
                valid_days: 365,
            }),
        ),
        ("list_identities", Operation::ListIdentities(ListIdentities {})),
        ("revoke_identity", Operation::RevokeIdentity(RevokeIdentity { name: "node1".into() })),
        ("status", Operation::Status(Status {})),
        ("backup", Operation::Backup(Backup { wrapped_master_key: b"wrapped".to_vec() })),
        (
            "renew_identity",
            Operation::RenewIdentity(RenewIdentity {
                name: "node1".into(),
                certificate_request: vec![0x30, 0],
                valid_days: 30,
            }),
        ),
        (
            "revoke_certificates",
            Operation::RevokeCertificates(RevokeCertificates {
                name: "node1".into(),
                keep: vec![0x41; 16],
            }),
        ),
        ("unlock_token", Operation::UnlockToken(UnlockToken { identity: "node1".into() })),
        ("delete_token", Operation::DeleteToken(DeleteToken {})),
        ("set_policy", Operation::SetPolicy(SetPolicy { policy: Policy::Fips.into() })),
        ("list_hsm_keys", Operation::ListHsmKeys(ListHsmKeys {})),
        ("attach_keys", Operation::AttachKeys(AttachKeys { references: vec![vec![0x0a, 1]] })),
        (
            "create_token-hsm",
            Operation::CreateToken(CreateToken {
                label: "node1".into(),
                hsm: "main".into(),
                ..CreateToken::default()
            }),
        ),
        (
            "create_token-policy",
            Operation::CreateToken(CreateToken {
                label: "node1".into(),
                policy: Policy::Compat.into(),
                ..CreateToken::default()
            }),
        ),
        (
            "login-context",
            Operation::Login(Login {
                user_type: UserType::ContextSpecific.into(),
                pin: Some(b"1234".to_vec()),
                key: "0f".repeat(16),
                ..Login::default()
            }),
        ),
        (
            "sign-mechanism",
            Operation::Sign(Sign {
                key: Some(by_id()),
                scheme: Some(sign::Scheme::RsaPkcs1(Done {})),
                input: vec![0x77; 32],
                mechanism: Some(0x40),
                authentication: vec![0x44; 8],
                ..Sign::default()
            }),
        ),
        (
            "decrypt-mechanism",
            Operation::Decrypt(Decrypt {
                key: Some(by_id()),
                scheme: Some(decrypt::Scheme::RsaPkcs1(Done {})),
                input: vec![0x88],
                mechanism: Some(0),
                authentication: vec![0x44; 8],
            }),
        ),
    ];
    operations
        .into_iter()
        .map(|(name, operation)| {
            let request = Request {
                id: 0x0102_0304_0506,
                ticket: Some(ticket()),
                at_least: Some(revision()),
                operation_id: vec![0x11; 16],
                instance: vec![0x22; 16],
                patience_ms: 5000,
                token: "dev".into(),
                operation: Some(operation),
            };
            (name, request)
        })
        .collect()
}

fn responses() -> Vec<(&'static str, Response)> {
    let results = [
        (
            "failure",
            Answer::Failure(Failure {
                code: ErrorCode::Later.into(),
                message: "come back".into(),
                retry_after_ms: 50,
            }),
        ),
        (
            "hello",
            Answer::Hello(HelloResult {
                software: "keyward 0.1.0".into(),
                identity: "node1".into(),
                replica: vec![0x33; 16],
                administrator: true,
            }),
        ),
        ("tokens", Answer::Tokens(TokenList { tokens: vec![token()] })),
        ("login", Answer::Login(LoginResult { token: Some(token()) })),
        (
            "catalogue",
            Answer::Catalogue(CatalogueResult {
                state: State::Complete.into(),
                objects: vec![object(), object()],
                token: Some(token()),
            }),
        ),
        (
            "catalogue-unchanged",
            Answer::Catalogue(CatalogueResult {
                state: State::Unchanged.into(),
                ..CatalogueResult::default()
            }),
        ),
        (
            "catalogue-too-large",
            Answer::Catalogue(CatalogueResult {
                state: State::TooLarge.into(),
                ..CatalogueResult::default()
            }),
        ),
        ("find", Answer::Find(FindResult { objects: vec![object()], cursor: b"cursor".to_vec() })),
        ("signature", Answer::Signature(bytes())),
        ("plaintext", Answer::Plaintext(bytes())),
        ("ciphertext", Answer::Ciphertext(bytes())),
        ("verified", Answer::Verified(Bytes { value: Vec::new(), sealed: vec![1, 0x66] })),
        (
            "key_pair",
            Answer::KeyPair(KeyPair { public_key: Some(object()), private_key: Some(object()) }),
        ),
        (
            "object",
            Answer::Object(ObjectResult { object: Some(object()), ..ObjectResult::default() }),
        ),
        (
            "object-renewed",
            Answer::Object(ObjectResult {
                object: Some(object()),
                sealed: vec![1, 0x66],
                version: Vec::new(),
            }),
        ),
        (
            "object-version",
            Answer::Object(ObjectResult { version: vec![3, 3], ..ObjectResult::default() }),
        ),
        ("done", Answer::Done(Done {})),
        ("wrapped", Answer::Wrapped(bytes())),
        (
            "encapsulated",
            Answer::Encapsulated(EncapsulatedKey {
                object: Some(object()),
                ciphertext: vec![0x88; 32],
            }),
        ),
        ("send_on", Answer::SendOn(Done {})),
        (
            "derived_keys",
            Answer::DerivedKeys(DerivedKeys {
                keys: vec![object(), object()],
                data: vec![vec![0x77; 12], vec![0x66; 12]],
                sealed: b"renewed".to_vec(),
            }),
        ),
        ("token", Answer::Token(token())),
        ("token-shown", Answer::Token(TokenInfo { shown_label: "two".into(), ..token() })),
        ("token-time", Answer::Token(TokenInfo { time: 1_732_485_600, ..token() })),
        (
            "token-hsm",
            Answer::Token(TokenInfo { hsm: "main".into(), mechanisms: vec![1, 0x1041], ..token() }),
        ),
        (
            "hsm_keys",
            Answer::HsmKeys(HsmKeyList {
                keys: vec![HsmKey {
                    reference: vec![0x0a, 1],
                    label: b"key".to_vec(),
                    id: vec![1],
                    kind: "EC P-256".into(),
                    class: 3,
                    certificates: 2,
                    state: HsmKeyState::Unfit.into(),
                    reason: "why".into(),
                }],
            }),
        ),
        ("attached", Answer::Attached(ObjectList { objects: vec![Object::default()] })),
        (
            "status-hsm",
            Answer::Status(StatusResult {
                hsms: vec![HsmStatus {
                    name: "main".into(),
                    trouble: "away".into(),
                    label: "token".into(),
                    serial: "01".into(),
                    model: "model".into(),
                    starts: 3,
                }],
                ..StatusResult::default()
            }),
        ),
        ("token-policy", Answer::Token(TokenInfo { policy: Policy::Fips.into(), ..token() })),
        (
            "identity",
            Answer::Identity(IdentityResult {
                identity: Some(identity()),
                certificate: vec![0x30, 1],
                authority: vec![0x30, 2],
            }),
        ),
        ("identities", Answer::Identities(IdentityList { identities: vec![identity()] })),
        (
            "status",
            Answer::Status(StatusResult {
                software: "keyward 0.1.0".into(),
                uptime_seconds: 60,
                process_id: 4711,
                connections: 3,
                requests: 1000,
                accepted: 30,
                store: "redb".into(),
                tokens: vec![TokenStatus {
                    token: "dev".into(),
                    operations: vec![OperationCount {
                        operation: "sign".into(),
                        count: 17,
                        failed: 1,
                    }],
                }],
                ..StatusResult::default()
            }),
        ),
        ("snapshot", Answer::Snapshot(SnapshotPart { bytes: signed_snapshot().encode_to_vec() })),
        ("backup", Answer::Backup(BackupPart { bytes: b"keyward backup\n".to_vec() })),
    ];
    results
        .into_iter()
        .map(|(name, result)| {
            let response = Response {
                id: 0x0102_0304_0506,
                revision: Some(revision()),
                ticket: Some(ticket()),
                more: true,
                draining: true,
                result: Some(result),
            };
            (name, response)
        })
        .collect()
}

fn signed_snapshot() -> SignedSnapshot {
    let content = SnapshotContent {
        token: Some(token()),
        identity: "0e".repeat(16),
        revision: Some(revision()),
        issued: 1_800_000_000,
        expires: 1_800_086_400,
        scope: Scope::Usable.into(),
        objects: vec![object()],
        left_out: 1,
    };
    SignedSnapshot {
        content: content.encode_to_vec(),
        certificates: vec![vec![0x30, 0]],
        scheme: 0x0403,
        signature: vec![0x99; 64],
    }
}

fn revision() -> Revision {
    Revision { incarnation: u64::MAX, sequence: 42 }
}

fn ticket() -> Ticket {
    Ticket { access: vec![0x44; 8], refresh: vec![0x55; 8] }
}

fn by_id() -> Key {
    Key { key: Some(key::Key::UniqueId("0f".repeat(16))) }
}

fn by_blob() -> Key {
    Key { key: Some(key::Key::Sealed(vec![1, 0x66])) }
}

fn plain() -> Key {
    Key { key: Some(key::Key::Plain(Attributes { attributes: attributes() })) }
}

fn oaep() -> RsaOaep {
    RsaOaep { hash: Hash::Sha256.into(), mgf1_hash: Hash::Sha1.into(), label: b"label".to_vec() }
}

fn wrap(name: &'static str, scheme: wrapping::Scheme) -> (&'static str, Operation) {
    let wrap = WrapKey {
        wrapping_key: Some(by_blob()),
        key: Some(by_id()),
        wrapping: Some(Wrapping { scheme: Some(scheme) }),
        mechanism: Some(0x2109),
    };
    (name, Operation::WrapKey(wrap))
}

fn number() -> counter_mode::Number {
    counter_mode::Number { bits: 32, little_endian: true }
}

fn derive(name: &'static str, scheme: derivation::Scheme) -> (&'static str, Operation) {
    let derive = DeriveKey {
        base: Some(by_blob()),
        other: Some(plain()),
        derivation: Some(Derivation { scheme: Some(scheme) }),
        template: attributes(),
        mechanism: Some(0x1050),
    };
    (name, Operation::DeriveKey(derive))
}

fn sign(scheme: sign::Scheme) -> Operation {
    Operation::Sign(Sign {
        key: Some(by_id()),
        scheme: Some(scheme),
        input: vec![0x77; 32],
        recoverable: false,
        ..Sign::default()
    })
}

fn decrypt(scheme: decrypt::Scheme) -> Operation {
    Operation::Decrypt(Decrypt {
        key: Some(by_blob()),
        scheme: Some(scheme),
        input: vec![0x88],
        ..Decrypt::default()
    })
}

fn bytes() -> Bytes {
    Bytes { value: vec![0x99; 64], sealed: vec![1, 0x66] }
}

/// One of each kind, false and empty ones too: these differ from none.
fn attributes() -> Vec<Attribute> {
    let attribute = |r#type, value| Attribute { r#type, value: Some(value) };
    vec![
        attribute(0x0001, Value::Boolean(true)),
        attribute(0x0002, Value::Boolean(false)),
        attribute(0x0000, Value::Number(3)),
        attribute(0x0003, Value::Bytes(b"label".to_vec())),
        attribute(0x0102, Value::Bytes(Vec::new())),
        attribute(
            0x4000_0211,
            Value::Template(Attributes {
                attributes: vec![attribute(0x0103, Value::Boolean(true))],
            }),
        ),
        attribute(0x4000_0600, Value::Numbers(Numbers { numbers: vec![1, 0x1041] })),
        attribute(0x4000_0600, Value::Numbers(Numbers { numbers: Vec::new() })),
        Attribute { r#type: 0x0011, value: None },
    ]
}

fn object() -> Object {
    Object { unique_id: "0f".repeat(16), attributes: attributes(), sealed: vec![1, 0x66] }
}

fn token() -> TokenInfo {
    TokenInfo {
        label: "dev".into(),
        serial: "0123456789abcdef".into(),
        login_mode: LoginMode::Pin.into(),
        user_pin_initialized: true,
        user_pin: PinState::FinalTry.into(),
        so_pin: PinState::Locked.into(),
        read_only: true,
        objects: 4,
        revision: Some(revision()),
        created: 1_800_000_000,
        pin_counts: vec![PinCount {
            identity: "node1".into(),
            user_type: UserType::User.into(),
            wrong: 10,
            locked: true,
        }],
        ..TokenInfo::default()
    }
}

fn identity() -> Identity {
    Identity {
        name: "node1".into(),
        grants: vec![Grant { token: "dev".into(), read_only: true }],
        administrator: true,
        revoked: true,
        created: 1_800_000_000,
        certificate_expires: 1_900_000_000,
        connections: 8,
    }
}
