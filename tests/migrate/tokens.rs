//! From token to token: plain, wrapped, and what cannot go.

use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use serde_json::Value;

use super::hsm::{Hsm, keyward_uri, listed, openssl, said, self_signed};
use crate::common::alone::{alone, set_variable};
use crate::common::raw::{P256, P521};
use crate::common::{PIN, Service, module, run};

const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// Secret flags of a key: sensitive, extractable, only under trusted keys.
type Flags = (bool, bool, bool);

const WRAPPABLE: Flags = (true, true, false);

#[test]
fn sensitive_keys_go_wrapped_and_the_others_have_a_way_out() {
    alone(|| {
        let hsm = Hsm::new(&["old", "new"]);
        set_variable("SOFTHSM2_CONF", hsm.config.as_os_str());
        with_session(&hsm, "old", |session| {
            rsa(session, "rsa", 1, WRAPPABLE);
            curve(session, Mechanism::EccKeyPairGen, P256, "ec", 2, WRAPPABLE);
            curve(session, Mechanism::EccKeyPairGen, P521, "ec521", 3, WRAPPABLE);
            rsa(session, "trusted", 4, (true, true, true));
            rsa(session, "stays", 5, (true, false, false));
            let mechanism = Mechanism::EccEdwardsKeyPairGen;
            curve(session, mechanism, ED25519, "ed", 6, WRAPPABLE);
            secret(session, Mechanism::AesKeyGen, "aes", 7);
            secret(session, Mechanism::GenericSecretKeyGen, "mac", 8);
        });
        let plan = hsm.plan(&hsm.uri("old"), &hsm.uri("new"), "plan.toml", None);
        for (what, way) in [
            ("private key \"rsa\"", "wrapped"),
            ("private key \"ec\"", "wrapped"),
            ("private key \"ec521\"", "wrapped"),
            ("private key \"trusted\"", "wrapped"),
            ("secret key \"aes\"", "wrapped"),
            ("secret key \"mac\"", "wrapped"),
            ("public key \"rsa\"", "plain"),
            ("private key \"stays\"", "not-at-all"),
            ("public key \"stays\"", "leave"),
            ("private key \"ed\"", "not-at-all"),
        ] {
            assert_eq!(plan.way(what), way, "{what}: {}", plan.step(what));
        }
        assert_eq!(plan.0["transport"]["method"], "oaep-then-aes-key-wrap-pad");
        assert_eq!(plan.0["transport"]["trusted"], true);
        let ed = plan.step("private key \"ed\"");
        assert!(ed["reason"].as_str().unwrap().contains("CKR_KEY_NOT_WRAPPABLE"), "{ed}");
        let way_out = plan.step("private key \"stays\"")["way_out"].to_string();
        assert!(way_out.contains("CN=stays"), "{way_out}");
        let lost = plan.step("private key \"rsa\"")["lost"].to_string();
        assert!(lost.contains("CKA_LOCAL") && !lost.contains("CKA_ALLOWED"), "{lost}");

        run(&mut hsm.migrate(&["run", "plan.toml"]));
        let manifest = verify(&hsm, "plan.toml", None);
        assert_eq!(manifest["complete"], true, "{manifest:#}");
        assert_eq!(manifest["objects"].as_array().unwrap().len(), 10);
        for proof in manifest["objects"].as_array().unwrap() {
            assert!(proof["differences"].as_array().unwrap().is_empty(), "{proof}");
        }
        assert!(!hsm.listed("old").iter().any(|object| object.contains("transport")));
        assert_eq!(
            hsm.listed("new"),
            [
                "Private Key ec",
                "Private Key ec521",
                "Private Key rsa",
                "Private Key trusted",
                "Public Key ec",
                "Public Key ec521",
                "Public Key rsa",
                "Public Key trusted",
                "Secret Key aes",
                "Secret Key mac",
            ]
        );
        let keys = [
            ("01", "rsa", "RSA-PKCS"),
            ("04", "trusted", "RSA-PKCS"),
            ("02", "ec", "ECDSA"),
            ("03", "ec521", "ECDSA"),
        ];
        others_agree(&hsm, &keys);
        // What a manifest proves may be removed at the source, and nothing else.
        let text = said(
            &mut hsm.migrate(&[
                "remove-source",
                "plan.toml",
                "--manifest",
                "manifest.json",
                "--public-key",
                "manifest.json.pub",
                "--yes",
            ]),
            0,
        );
        assert!(text.contains("10 objects removed"), "{text}");
        assert_eq!(
            hsm.listed("old"),
            ["Private Key ed", "Private Key stays", "Public Key ed", "Public Key stays"]
        );
        let text = said(&mut hsm.migrate(&["rollback", "plan.toml", "--yes"]), 1);
        assert!(text.contains("the target has the only one"), "{text}");
        assert_eq!(hsm.listed("new").len(), 10);
    });
}

/// OpenSSL and pkcs11-tool on what the new token does with the old one's keys.
fn others_agree(hsm: &Hsm, keys: &[(&str, &str, &str)]) {
    let file = |name: &str| hsm.file(name).to_str().unwrap().to_owned();
    std::fs::write(file("data"), b"sixteen bytes...").unwrap();
    let folder = hsm.folder.path();
    openssl(folder, "dgst -sha256 -binary -out digest data");
    for &(id, label, mechanism) in keys {
        let words =
            ["--sign", "--mechanism", mechanism, "--id", id, "--signature-format", "openssl"];
        run(hsm.pkcs11_tool("new", &words).args([
            "--input-file",
            "digest",
            "--output-file",
            label,
        ]));
        run(&mut hsm.pkcs11_tool(
            "old",
            &["--read-object", "--type", "pubkey", "--id", id, "--output-file", "public.der"],
        ));
        let check = "pkeyutl -verify -pubin -keyform DER -inkey public.der -in digest -sigfile";
        openssl(folder, &format!("{check} {label}"));
    }
    let aes =
        ["--mechanism", "AES-CBC-PAD", "--id", "07", "--iv", "000102030405060708090a0b0c0d0e0f"];
    let both = |token: &str, verb: &str, from: &str, to: &str| {
        run(hsm.pkcs11_tool(token, &[verb]).args(aes).args([
            "--input-file",
            from,
            "--output-file",
            to,
        ]));
    };
    both("old", "--encrypt", "data", "encrypted");
    both("new", "--decrypt", "encrypted", "decrypted");
    assert_eq!(std::fs::read(file("data")).unwrap(), std::fs::read(file("decrypted")).unwrap());
}

#[test]
fn plain_keys_and_chains_go_to_keyward_and_back() {
    let hsm = Hsm::new(&["old", "new"]);
    let folder = hsm.folder.path();
    self_signed(folder, "rsa:2048", "authority", ("ca.key", "ca.pem"));
    for (name, kind) in [("r", "rsa:2048"), ("e", "ec -pkeyopt ec_paramgen_curve:P-384")] {
        openssl(
            folder,
            &format!(
                "req -newkey {kind} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ),
        );
        openssl(
            folder,
            &format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -out {name}.pem -days 9"),
        );
    }
    openssl(folder, "genpkey -algorithm ed25519 -out d.key");
    hsm.plan("d.key", &hsm.uri("new"), "zero.toml", None);
    run(&mut hsm.migrate(&["run", "zero.toml"]));
    assert_eq!(verify(&hsm, "zero.toml", None)["objects"][0]["method"], "signed (CKM_EDDSA)");
    run(&mut hsm.migrate(&["rollback", "zero.toml", "--yes"]));
    // First into SoftHSM, by the command itself, extractable and not sensitive.
    std::fs::create_dir(hsm.file("keys")).unwrap();
    for name in ["ca.pem", "r.key", "r.pem", "e.key", "e.pem"] {
        std::fs::copy(hsm.file(name), hsm.file("keys").join(name)).unwrap();
    }
    hsm.plan("keys", &hsm.uri("old"), "one.toml", None);
    let text = std::fs::read_to_string(hsm.file("one.toml")).unwrap();
    let open = text
        .replace("sensitive = true", "sensitive = false")
        .replace("extractable = false", "extractable = true");
    std::fs::write(hsm.file("one.toml"), open).unwrap();
    run(&mut hsm.migrate(&["run", "one.toml"]));
    assert_eq!(verify(&hsm, "one.toml", None)["complete"], true);

    let service = Service::start();
    service.token("node1");
    let config = service.identity("migration", &["node1"], &[]);
    let with_config = |mut command: Command| {
        command.env("KEYWARD_CONFIG", &config);
        command
    };
    let there = hsm.plan(&hsm.uri("old"), &keyward_uri("node1"), "two.toml", Some(&config));
    assert_eq!(there.way("private key \"r\""), "plain");
    run(&mut with_config(hsm.migrate(&["run", "two.toml"])));
    let manifest = verify(&hsm, "two.toml", Some(&config));
    assert_eq!(manifest["complete"], true, "{manifest:#}");
    let certificates: Value =
        serde_json::from_str(&service.admin(&["cert", "list", "--token", "node1", "--json"]))
            .unwrap();
    assert_eq!(certificates.as_array().unwrap().len(), 3, "{certificates}");

    let back = hsm.plan(&keyward_uri("node1"), &hsm.uri("new"), "three.toml", Some(&config));
    assert_eq!(back.way("private key \"e\""), "plain", "{}", back.0);
    run(&mut with_config(hsm.migrate(&["run", "three.toml"])));
    let manifest = verify(&hsm, "three.toml", Some(&config));
    assert_eq!(manifest["complete"], true, "{manifest:#}");
    assert_eq!(hsm.listed("new"), hsm.listed("old"));

    // The second time there is nothing to do.
    let again = hsm.plan(&hsm.uri("old"), &keyward_uri("node1"), "again.toml", Some(&config));
    assert!(again.0["object"].as_array().unwrap().iter().all(|step| step["way"] == "leave"));

    // What was there before the run is not taken back with it.
    service.admin(&["key", "generate", "--token", "node1", "--type", "ec:p256", "--label", "own"]);
    let text = said(&mut with_config(hsm.migrate(&["rollback", "two.toml", "--yes"])), 0);
    assert!(text.contains("objects removed"), "{text}");
    let library = module().display().to_string();
    let left = listed(&library, "node1", &[("KEYWARD_CONFIG", &config)]);
    assert_eq!(left, ["Private Key own", "Public Key own"]);
}

#[test]
fn sensitive_keys_go_wrapped_to_keyward_and_back() {
    alone(|| {
        let hsm = Hsm::new(&["old", "new"]);
        set_variable("SOFTHSM2_CONF", hsm.config.as_os_str());
        with_session(&hsm, "old", |session| {
            rsa(session, "rsa", 1, WRAPPABLE);
            curve(session, Mechanism::EccKeyPairGen, P256, "ec", 2, WRAPPABLE);
            secret(session, Mechanism::AesKeyGen, "aes", 7);
        });
        let service = Service::start();
        service.token("node1");
        let config = service.identity("migration", &["node1"], &[]);
        let keyward = keyward_uri("node1");
        for (from, to, name) in [
            (hsm.uri("old"), &keyward, "there.toml"),
            (keyward.clone(), &hsm.uri("new"), "back.toml"),
        ] {
            let plan = hsm.plan(&from, to, name, Some(&config));
            for what in ["private key \"rsa\"", "private key \"ec\"", "secret key \"aes\""] {
                assert_eq!(plan.way(what), "wrapped", "{name}: {}", plan.step(what));
            }
            run(hsm.migrate(&["run", name]).env("KEYWARD_CONFIG", &config));
            let manifest = verify(&hsm, name, Some(&config));
            assert_eq!(manifest["complete"], true, "{manifest:#}");
        }
        assert_eq!(hsm.listed("new"), hsm.listed("old"));
        assert!(service.count("node1", "unwrap_key") >= 3);
        assert!(service.count("node1", "wrap_key") >= 3);
        others_agree(&hsm, &[("01", "rsa", "RSA-PKCS"), ("02", "ec", "ECDSA")]);
    });
}

/// Verifies a plan; the manifest, which OpenSSL finds to be signed.
fn verify(hsm: &Hsm, plan: &str, config: Option<&std::path::Path>) -> Value {
    for end in ["", ".sig", ".pub"] {
        let _ = std::fs::remove_file(hsm.file(&format!("manifest.json{end}")));
    }
    let mut command =
        hsm.migrate(&["verify", plan, "--signing-key", "key.pem", "--out", "manifest.json"]);
    if let Some(config) = config {
        command.env("KEYWARD_CONFIG", config);
    }
    // An incomplete one is a manifest all the same.
    let _ = command.output().unwrap();
    run(Command::new("openssl")
        .args(["pkeyutl", "-verify", "-pubin", "-inkey", "manifest.json.pub", "-rawin"])
        .args(["-in", "manifest.json", "-sigfile", "manifest.json.sig"])
        .current_dir(hsm.folder.path()));
    run(&mut hsm.migrate(&["check", "manifest.json", "--public-key", "manifest.json.pub"]));
    serde_json::from_slice(&std::fs::read(hsm.file("manifest.json")).unwrap()).unwrap()
}

fn with_session(hsm: &Hsm, label: &str, body: impl FnOnce(&Session)) {
    let library = Pkcs11::new(&hsm.module).unwrap();
    library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slots = library.get_slots_with_token().unwrap();
    let slot = slots
        .into_iter()
        .find(|slot| library.get_token_info(*slot).unwrap().label() == label)
        .unwrap();
    let session = library.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
    body(&session);
    drop(session);
    library.finalize().unwrap();
}

fn common(label: &str, id: u8) -> Vec<Attribute> {
    vec![Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(vec![id])]
}

fn private((sensitive, extractable, trusted): Flags) -> [Attribute; 4] {
    [
        Attribute::Private(true),
        Attribute::Sensitive(sensitive),
        Attribute::Extractable(extractable),
        Attribute::WrapWithTrusted(trusted),
    ]
}

fn rsa(session: &Session, label: &str, id: u8, flags: Flags) {
    let mut public = common(label, id);
    public.extend([Attribute::ModulusBits(2048.into()), Attribute::PublicExponent(vec![1, 0, 1])]);
    let mut secret = common(label, id);
    secret.extend(private(flags));
    secret.extend([Attribute::Sign(true), Attribute::Decrypt(true)]);
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &secret).unwrap();
}

fn curve(
    session: &Session,
    mechanism: Mechanism<'_>,
    parameters: &[u8],
    label: &str,
    id: u8,
    flags: Flags,
) {
    let mut public = common(label, id);
    public.push(Attribute::EcParams(parameters.to_vec()));
    let mut secret = common(label, id);
    secret.extend(private(flags));
    secret.push(Attribute::Sign(true));
    session.generate_key_pair(&mechanism, &public, &secret).unwrap();
}

fn secret(session: &Session, mechanism: Mechanism<'_>, label: &str, id: u8) {
    let mut template = common(label, id);
    template.extend(private(WRAPPABLE));
    template.push(Attribute::ValueLen(32.into()));
    let cipher = matches!(mechanism, Mechanism::AesKeyGen);
    template.extend([
        Attribute::Encrypt(cipher),
        Attribute::Decrypt(cipher),
        Attribute::Sign(!cipher),
        Attribute::Verify(!cipher),
    ]);
    session.generate_key(&mechanism, &template).unwrap();
}
