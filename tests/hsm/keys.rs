//! Keys that are made in the HSM, brought to it and found in it.

use p256::ecdsa::signature::hazmat::PrehashVerifier;

use super::*;
use crate::common::alone::alone;
use crate::common::raw::{P256, Template, mechanism};

#[test]
fn what_is_made_in_the_token_is_in_the_hsm_and_goes_with_the_object() {
    alone(|| {
        let host = Host::new(None, "");
        let rsa = host.rsa();
        host.signs(rsa).unwrap();
        let ec = host.module.generate_ec(host.session, P256, true);
        let digest = Sha256::digest(b"what is signed");
        let signature = host.module.sign_with(host.session, CKM_ECDSA, ec.1, &digest).unwrap();
        let info = host.module.get(host.session, ec.0, CKA_PUBLIC_KEY_INFO).unwrap();
        p256::ecdsa::VerifyingKey::from_public_key_der(&info)
            .unwrap()
            .verify_prehash(&digest, &p256::ecdsa::Signature::from_slice(&signature).unwrap())
            .unwrap();
        for (name, key) in [("sensitive", CKA_SENSITIVE), ("never", CKA_NEVER_EXTRACTABLE)] {
            assert_eq!(host.module.get(host.session, rsa.1, key).unwrap(), [1], "{name}");
        }
        let secret = host.module.get(host.session, rsa.1, CKA_PRIVATE_EXPONENT).unwrap_err();
        assert_eq!(secret, CKR_ATTRIBUTE_SENSITIVE);

        let there = host.hsm.tool(&["-O"]);
        assert_eq!(there.matches("Private Key Object").count(), 2, "{there}");
        let access = "sensitive, always sensitive, never extractable, local";
        assert_eq!(there.matches(access).count(), 2, "{there}");
        for key in [rsa.1, ec.1] {
            host.module.destroy(host.session, key).unwrap();
        }
        until("the keys go", || !host.hsm.tool(&["-O"]).contains("Object"));
    });
}

#[test]
fn a_key_that_is_not_stored_does_not_stay_in_the_hsm() {
    alone(|| {
        let host = Host::new(None, "");
        // The public half has no place in the token: 400 KiB are the most.
        let public = Template::new()
            .bytes(CKA_EC_PARAMS, P256)
            .flag(CKA_TOKEN, true)
            .bytes(CKA_LABEL, &vec![b'x'; 500 << 10]);
        let private = Template::new().flag(CKA_TOKEN, true);
        let refused =
            host.module.generate(host.session, CKM_EC_KEY_PAIR_GEN, public, private).unwrap_err();
        assert_eq!(refused, CKR_DEVICE_MEMORY);
        // It was made, or the test shows nothing.
        assert!(host.service.log().contains("DEVICE_MEMORY"), "{}", host.service.log());
        until("the key goes", || !host.hsm.tool(&["-O"]).contains("Object"));
    });
}

#[test]
fn a_key_that_is_created_or_migrated_goes_into_the_hsm() {
    alone(|| {
        let host = Host::new(None, "");
        let folder = tempfile::tempdir().unwrap();
        openssl(
            &[
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=old", "-keyout",
                "key.pem", "-out", "cert.pem",
            ],
            folder.path(),
        );
        openssl(
            &[
                "pkcs12",
                "-export",
                "-in",
                "cert.pem",
                "-inkey",
                "key.pem",
                "-name",
                "old",
                "-out",
                "old.p12",
                "-passout",
                "pass:changeit",
            ],
            folder.path(),
        );
        let module = common::module().display().to_string();
        let from = folder.path().join("old.p12").display().to_string();
        let to = format!("pkcs11:token={TOKEN}?module-path={module}");
        let plan = folder.path().join("plan.toml").display().to_string();
        let migrate = |arguments: &[&str]| {
            run(Command::new(common::keyward())
                .arg("migrate")
                .args(arguments)
                .env("KEYWARD_CONFIG", std::env::var_os("KEYWARD_CONFIG").unwrap())
                .env("KEYWARD_MIGRATE_PASSWORD", "changeit")
                .env("KEYWARD_MIGRATE_TO_PIN", common::PIN))
        };
        migrate(&["plan", "--from", &from, "--to", &to, "--out", &plan]);
        let text = std::fs::read_to_string(&plan).unwrap();
        std::fs::write(&plan, text.replace("by = \"\"", "by = \"test\"")).unwrap();
        migrate(&["run", &plan]);
        let there = host.hsm.tool(&["-O"]);
        assert_eq!(there.matches("Private Key Object").count(), 1, "{there}");
        let mut found = Vec::new();
        until("the module sees the key", || {
            let private = Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY);
            found = host.module.find(host.session, private).unwrap();
            !found.is_empty()
        });
        let [key] = found[..] else { panic!("{found:?}") };
        let signature =
            host.module.sign_with(host.session, CKM_SHA256_RSA_PKCS, key, b"data").unwrap();
        std::fs::write(folder.path().join("signature"), signature).unwrap();
        std::fs::write(folder.path().join("data"), b"data").unwrap();
        openssl(
            &["x509", "-in", "cert.pem", "-pubkey", "-noout", "-out", "public.pem"],
            folder.path(),
        );
        openssl(
            &["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "data"],
            folder.path(),
        );
    });
}

#[test]
fn keys_of_the_hsm_are_attached_with_their_certificates() {
    alone(|| {
        let hsm = SoftHsm::new();
        let folder = tempfile::tempdir().unwrap();
        openssl(
            &[
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=old", "-keyout",
                "key.pem", "-out", "cert.pem",
            ],
            folder.path(),
        );
        openssl(&["rsa", "-in", "key.pem", "-outform", "DER", "-out", "key.der"], folder.path());
        openssl(&["x509", "-in", "cert.pem", "-outform", "DER", "-out", "cert.der"], folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (key, certificate) = (file("key.der"), file("cert.der"));
        for object in [["privkey", &key], ["cert", &certificate]] {
            let [kind, path] = object;
            hsm.tool(&["--write-object", path, "--type", kind, "--id", "01", "--label", "old"]);
        }
        let pair = |kind: &str, id: &str, label: &str| {
            hsm.tool(&["--keypairgen", "--key-type", kind, "--id", id, "--label", label]);
        };
        pair("EC:secp384r1", "02", "second");
        // Two keys that nothing tells apart: an EC key shows no public part.
        pair("EC:prime256v1", "03", "twins");
        pair("EC:prime256v1", "03", "twins");

        let service = Service::with_hsm(&hsm.section(&hsm.module(), ""));
        service.token(TOKEN);
        let state = |service: &Service, label: &str| -> Vec<String> {
            let all = shown(service);
            let some = all.iter().filter(|key| key["label"] == label);
            some.map(|key| key["state"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(state(&service, "old"), ["free"]);
        assert_eq!(state(&service, "twins"), ["unfit", "unfit"]);
        let refused =
            service.admin_command().args(["token", "attach", TOKEN, "twins"]).output().unwrap();
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains("2 keys called"), "{told}");

        service.admin(&["token", "attach", TOKEN, "--all"]);
        service.admin(&["token", "attach", TOKEN, "--all"]);
        assert_eq!(state(&service, "old"), ["attached"]);
        assert_eq!(state(&service, "second"), ["attached"]);

        configure(&service.identity("client", &[TOKEN], &[]));
        let module = Module::initialized();
        let session = module.user();
        let of = |class| {
            let template = Template::new().number(CKA_CLASS, class).bytes(CKA_ID, &[1]);
            module.find(session, template).unwrap()
        };
        let [private] = of(CKO_PRIVATE_KEY)[..] else { panic!() };
        let [certificate] = of(CKO_CERTIFICATE)[..] else { panic!() };
        let value = module.get(session, certificate, CKA_VALUE).unwrap();
        assert_eq!(value, std::fs::read(file("cert.der")).unwrap());
        let signature = module.sign_with(session, CKM_SHA256_RSA_PKCS, private, b"data").unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&value).unwrap();
        rsa::PublicKey::from_public_key_der(parsed.public_key().raw)
            .unwrap()
            .verify(rsa::Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(b"data"), &signature)
            .unwrap();
        // What the HSM says of it, not what is usual here.
        assert_eq!(module.get(session, private, CKA_LOCAL).unwrap(), [0]);
    });
}

#[test]
fn secret_keys_work_in_the_hsm_and_session_keys_do_not_go_there() {
    alone(|| {
        let host = Host::new(None, "");
        let secret = |token: bool| {
            let template = Template::new()
                .flag(CKA_TOKEN, token)
                .flag(CKA_SENSITIVE, true)
                .flag(CKA_EXTRACTABLE, false)
                .number(CKA_VALUE_LEN, 32);
            host.module.generate_key(host.session, CKM_AES_KEY_GEN, template).unwrap()
        };
        let (stays, goes) = (secret(false), secret(true));
        let there = host.hsm.tool(&["-O"]);
        assert_eq!(there.matches("Secret Key Object").count(), 1, "{there}");
        let id = there.split("ID:").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();

        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let iv: [u8; 16] = *b"0123456789abcdef";
        let plain: Vec<u8> = (0..64).collect();
        let encrypted = host.module.encrypt_cbc(host.session, goes, &iv, &plain).unwrap();
        std::fs::write(file("in"), &encrypted).unwrap();
        host.hsm.tool(&[
            "--decrypt",
            "-m",
            "AES-CBC",
            "--iv",
            "30313233343536373839616263646566",
            "--id",
            &id,
            "-i",
            &file("in"),
            "-o",
            &file("out"),
        ]);
        assert_eq!(std::fs::read(file("out")).unwrap(), plain);
        host.module.encrypt_cbc(host.session, stays, &iv, &plain).unwrap();

        // What could leave the HSM is not made, and what it cannot do is not listed.
        let open = Template::new()
            .flag(CKA_TOKEN, true)
            .flag(CKA_EXTRACTABLE, true)
            .number(CKA_VALUE_LEN, 32);
        let refused = host.module.generate_key(host.session, CKM_AES_KEY_GEN, open).unwrap_err();
        assert_eq!(refused, CKR_TEMPLATE_INCONSISTENT);
        let listed = host.module.mechanisms(host.module.slots().unwrap()[0]).unwrap();
        for able in [CKM_RSA_PKCS, CKM_SHA384_RSA_PKCS_PSS, CKM_ECDSA, CKM_AES_CBC, CKM_SHA256] {
            assert!(listed.contains(&able), "{able:#x}");
        }
        for unable in [CKM_ML_DSA, CKM_HKDF_DERIVE, CKM_RSA_AES_KEY_WRAP] {
            assert!(!listed.contains(&unable), "{unable:#x}");
        }
    });
}

#[test]
fn a_key_is_unwrapped_by_the_hsm_and_stays_there() {
    alone(|| {
        let host = Host::new(None, "");
        let public = Template::new().number(CKA_MODULUS_BITS, 2048).flag(CKA_TOKEN, true);
        let private = Template::new().flag(CKA_TOKEN, true).flag(CKA_UNWRAP, true);
        let (public, private) =
            host.module.generate(host.session, CKM_RSA_PKCS_KEY_PAIR_GEN, public, private).unwrap();
        let info = host.module.get(host.session, public, CKA_PUBLIC_KEY_INFO).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("public.der"), info).unwrap();
        std::fs::write(folder.path().join("secret"), [7; 32]).unwrap();
        openssl(
            &[
                "pkeyutl",
                "-encrypt",
                "-pubin",
                "-keyform",
                "DER",
                "-inkey",
                "public.der",
                "-in",
                "secret",
                "-out",
                "wrapped",
            ],
            folder.path(),
        );
        let wrapped = std::fs::read(folder.path().join("wrapped")).unwrap();
        let key = |token| {
            Template::new()
                .number(CKA_CLASS, CKO_SECRET_KEY)
                .number(CKA_KEY_TYPE, CKK_AES)
                .flag(CKA_TOKEN, token)
        };
        let mut by = mechanism(CKM_RSA_PKCS);
        let outside =
            host.module.unwrap(host.session, &mut by, private, &wrapped, key(false)).unwrap_err();
        assert_eq!(outside, CKR_KEY_FUNCTION_NOT_PERMITTED);
        let unwrapped =
            host.module.unwrap(host.session, &mut by, private, &wrapped, key(true)).unwrap();
        let encrypted =
            host.module.encrypt_cbc(host.session, unwrapped, &[0; 16], &[0; 16]).unwrap();
        std::fs::write(folder.path().join("zeros"), [0; 16]).unwrap();
        openssl(
            &[
                "enc",
                "-aes-256-ecb",
                "-nopad",
                "-K",
                &"07".repeat(32),
                "-in",
                "zeros",
                "-out",
                "own",
            ],
            folder.path(),
        );
        assert_eq!(encrypted, std::fs::read(folder.path().join("own")).unwrap());
        let there = host.hsm.tool(&["-O"]);
        assert_eq!(there.matches("Secret Key Object").count(), 1, "{there}");
    });
}
