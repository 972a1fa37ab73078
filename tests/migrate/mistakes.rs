//! What people get wrong: one sentence that names what it is about, a hint, and
//! everything as it was.

use super::hsm::{Hsm, P256, openssl, said, self_signed, sign_off};
use crate::common::run;

#[test]
fn mistakes_are_named_and_change_nothing() {
    let hsm = Hsm::new(&["new", "other"]);
    let folder = hsm.folder.path();
    self_signed(folder, P256, "k", ("k.pem", "c.pem"));
    openssl(
        folder,
        "pkcs12 -export -inkey k.pem -in c.pem -name k -passout pass:changeit -out k.p12",
    );
    let target = hsm.uri("new");
    let refused = |words: &[&str], wanted: &[&str]| {
        let text = said(&mut hsm.migrate(words), 1);
        for wanted in wanted {
            assert!(text.contains(wanted), "{words:?}: {wanted:?} is not in {text}");
        }
        assert!(text.starts_with("keyward: error: "), "{text}");
    };
    // Sources and targets.
    refused(&["inventory", "--from", "none.p12"], &["none.p12 cannot be read"]);
    let text = said(
        hsm.migrate(&["inventory", "--from", "k.p12"]).env("KEYWARD_MIGRATE_PASSWORD", "wrong"),
        1,
    );
    assert!(text.contains("k.p12: the password is wrong, or the file was changed"), "{text}");
    let nowhere = format!("pkcs11:token=nowhere?module-path={}", hsm.module);
    refused(
        &["plan", "--from", "k.p12", "--to", &nowhere, "--out", "p"],
        &["no token for", "there are \"new\" (serial number "],
    );
    refused(
        &["inventory", "--from", "pkcs11:token=new?module-path=/bin/true"],
        &["is no PKCS#11 library"],
    );
    refused(
        &["inventory", "--from", "pkcs11:token=new?pin-value=1"],
        &["holds a PIN", "pin-source"],
    );
    refused(&["plan", "--from", &target, "--to", &target, "--out", "p"], &["the same token"]);
    let text = said(
        hsm.migrate(&["inventory", "--from", &target]).env("KEYWARD_MIGRATE_FROM_PIN", "99"),
        1,
    );
    assert!(text.contains("token \"new\": the PIN is wrong"), "{text}");

    // Plans.
    run(&mut hsm.migrate(&["plan", "--from", "k.p12", "--to", &target, "--out", "plan.toml"]));
    refused(&["run", "plan.toml"], &["not signed off", "[sign_off]"]);
    let plan = hsm.file("plan.toml");
    sign_off(&plan);
    let good = std::fs::read_to_string(&plan).unwrap();
    for (from, to, wanted) in [
        ("way = \"plain\"", "way = \"wrapped\"", "cannot go wrapped"),
        ("way = \"plain\"", "way = \"fast\"", "unknown variant"),
        ("sensitive = true", "sensible = true", "unknown field"),
        ("id = \"", "id = \"0", "hexadecimal"),
        ("reference = \"private-key-", "reference = \"private-key-0", "not in the source"),
        ("format = 1", "format = 2", "unknown format"),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&plan, good.replacen(from, to, 1)).unwrap();
        refused(&["run", "plan.toml"], &[wanted]);
    }
    std::fs::write(&plan, &good).unwrap();
    assert!(hsm.listed("new").is_empty());

    // A CKA_ID that the target has already, with another key.
    let id = good.lines().find_map(|line| line.strip_prefix("id = ")).unwrap().trim_matches('"');
    run(&mut hsm.pkcs11_tool("new", &["--keypairgen", "--key-type", "EC:prime256v1", "--id", id]));
    refused(&["run", "plan.toml"], &["private key \"k\"", "another", "CKA_ID"]);
    let planned = hsm.plan("k.p12", &target, "clash.toml", None);
    assert_eq!(planned.way("private key \"k\""), "not-at-all");
    for kind in ["privkey", "pubkey"] {
        run(&mut hsm.pkcs11_tool("new", &["--delete-object", "--type", kind, "--id", id]));
    }

    // The source is another one by now.
    self_signed(folder, P256, "k", ("k2.pem", "c2.pem"));
    let old = std::fs::read(hsm.file("k.p12")).unwrap();
    openssl(
        folder,
        "pkcs12 -export -inkey k2.pem -in c2.pem -name k -passout pass:changeit -out k.p12",
    );
    refused(&["run", "plan.toml"], &["not in the source (any more)", "make a new plan"]);
    std::fs::write(hsm.file("k.p12"), old).unwrap();

    // Journals and manifests.
    run(&mut hsm.migrate(&["run", "plan.toml"]));
    std::fs::write(&plan, good.replacen("label = \"k\"", "label = \"k2\"", 1)).unwrap();
    refused(&["run", "plan.toml"], &["belongs to another plan"]);
    refused(&["rollback", "plan.toml", "--yes"], &["belongs to another plan"]);
    std::fs::write(&plan, &good).unwrap();
    let verify = ["verify", "plan.toml", "--signing-key", "s.pem", "--out", "m.json"];
    run(&mut hsm.migrate(&verify));
    let check = ["check", "m.json", "--public-key", "m.json.pub"];
    run(&mut hsm.migrate(&check));
    let manifest = std::fs::read_to_string(hsm.file("m.json")).unwrap();
    std::fs::write(hsm.file("m.json"), manifest.replacen("plain", "other", 1)).unwrap();
    refused(&check, &["it was changed, or signed with another key"]);
    std::fs::write(hsm.file("m.json"), &manifest).unwrap();
    refused(
        &[
            "remove-source",
            "plan.toml",
            "--manifest",
            "m.json",
            "--public-key",
            "m.json.pub",
            "--yes",
        ],
        &["the source is files"],
    );
    // SoftHSM shows no public half of an EC private key: one that is another behind the same name
    // and beside the right public key is found out by its signature alone.
    openssl(folder, "pkey -in k2.pem -outform DER -out k2.der");
    run(&mut hsm.pkcs11_tool("new", &["--delete-object", "--type", "privkey", "--id", id]));
    run(&mut hsm.pkcs11_tool(
        "new",
        &[
            "--write-object",
            "k2.der",
            "--type",
            "privkey",
            "--id",
            id,
            "--label",
            "k",
            "--usage-sign",
        ],
    ));
    let output = hsm.migrate(&verify).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for proof in manifest["objects"].as_array().unwrap() {
        let is_private = proof["what"].as_str().unwrap().contains("private key");
        let wanted = if is_private { "wrong" } else { "same" };
        assert_eq!(proof["verdict"]["is"], wanted, "{proof}");
    }
}

#[test]
fn one_broken_file_does_not_hide_the_others() {
    let hsm = Hsm::new(&["new"]);
    std::fs::create_dir_all(hsm.file("nodes/one")).unwrap();
    openssl(&hsm.file("nodes"), "genpkey -algorithm ed25519 -out one/a.key");
    std::fs::write(hsm.file("nodes/one/b.jks"), b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01").unwrap();
    std::fs::write(hsm.file("nodes/readme"), "not a key").unwrap();
    let mut command = hsm.migrate(&["inventory", "--from", "nodes", "--html", "report.html"]);
    let output = command.output().unwrap();
    // Something could not be read: a script that goes on must know.
    assert_eq!(output.status.code(), Some(1));
    let (table, text) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(table.contains("Ed25519"), "{table}");
    assert!(text.contains("b.jks: it ends too early"), "{text}");
    assert!(text.contains("1 other files"), "{text}");
    let report = std::fs::read_to_string(hsm.file("report.html")).unwrap();
    assert!(report.contains("Ed25519") && report.contains("b.jks"), "{report}");
}
