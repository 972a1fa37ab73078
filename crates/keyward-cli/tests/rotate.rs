//! A key is replaced by another under its label, as an operator types it.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;

use common::dev;
use serde_json::Value;

/// A CA, a key `node` with a certificate, and shell functions for more.
const BEGIN: &str = r#"
    umask 077
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem \
        -subj /CN=authority -days 30 -addext keyUsage=critical,keyCertSign 2>/dev/null
    certify() {
        openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -days 10 \
            -copy_extensions copy -out $1.pem 2>/dev/null
        cat $1.pem ca.pem > $1.chain
    }
    states() { "$keyward" key list --token dev --json 2>/dev/null; }
    rotate() { "$keyward" key rotate --token dev node "$@"; }
    "$keyward" key generate --token dev --type ec:p256 --label node >/dev/null
    "$keyward" cert request --token dev --key node --subject CN=node,O=a,O=b \
        --san node.test --san 10.0.0.1 --out one.csr
    certify one
    "$keyward" cert import --token dev one.chain 2>/dev/null
"#;

/// Runs a script after [`BEGIN`]; gives back what it said, and its files.
fn after_begin(script: &str) -> (String, impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().unwrap();
    let said = dev(folder.path(), &[], &format!("{BEGIN}\n{script}")).fine();
    (said, move |name: &str| fs::read_to_string(folder.path().join(name)).unwrap())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// State and id of each key.
fn keys(text: &str) -> Vec<(String, String)> {
    let text_of = |key: &Value, field: &str| key[field].as_str().unwrap().to_owned();
    let keys = json(text);
    let keys = keys.as_array().unwrap();
    assert!(keys.iter().all(|key| key["name"] == "node"));
    assert!(keys.iter().all(|key| key["since"].is_null() == (key["state"] == "current")));
    keys.iter().map(|key| (text_of(key, "state"), text_of(key, "id"))).collect()
}

fn states(keys: &[(String, String)]) -> Vec<&str> {
    keys.iter().map(|(state, _)| state.as_str()).collect()
}

#[test]
fn a_key_is_replaced_by_request_and_certificate_and_each_step_can_be_done_again() {
    let (end, read) = after_begin(
        r#"
        states > before
        rotate --out two.csr 2> hint
        rotate > again.csr 2>/dev/null
        openssl req -in two.csr -verify -noout 2>/dev/null
        openssl req -in two.csr -noout -text > request
        openssl req -in two.csr -pubkey -noout | cmp - /dev/fd/3 3<<EOF
$(openssl req -in again.csr -pubkey -noout)
EOF
        states > pending
        ! rotate --type rsa:2048 2> other-type
        ! rotate --certificate one.chain 2> old-certificate
        cat ca.pem one.pem > wrong-order
        ! rotate --certificate wrong-order 2> wrong-order.said
        states > unchanged
        "$keyward" key show --token dev node --json > shown
        certify two
        rotate --certificate two.chain --json > switched 2> told
        rotate --certificate two.chain >/dev/null 2> twice
        "$keyward" cert export --token dev node --chain | cmp - two.chain
        states > after
        "$keyward" key retire --token dev node --after 1h 2> early
        ! setsid -w "$keyward" key retire --token dev node 2> unasked
        "$keyward" key retire --token dev node --after 0s --yes 2> retired
        "$keyward" key retire --token dev node --yes 2> nothing
        ! "$keyward" key retire --token dev nobody --yes 2> nobody
        states
    "#,
    );
    let before = keys(&read("before"));
    assert_eq!(states(&before), ["current"]);
    let request = read("request");
    for words in ["O = b, O = a, CN = node", "DNS:node.test, IP Address:10.0.0.1"] {
        assert!(request.contains(words), "{request}");
    }
    assert!(read("hint").contains("--certificate CHAIN.pem"));
    let pending = keys(&read("pending"));
    assert_eq!(states(&pending), ["current", "pending"]);
    assert_eq!(keys(&read("unchanged")), pending);
    assert_eq!(json(&read("shown"))["id"], before[0].1.as_str());
    let switched = json(&read("switched"));
    assert_eq!(switched["state"], "current");
    assert_eq!(switched["label"], "node");
    assert_eq!(switched["id"], pending[1].1.as_str());
    assert!(read("told").contains("hint: when all have loaded their keystores anew"));
    let after = keys(&read("after"));
    assert_eq!(states(&after), ["current", "superseded"]);
    assert_eq!(after[1].1, before[0].1);
    let end = keys(&end);
    assert_eq!((states(&end), &end[0].1), (vec!["current"], &pending[1].1));
    for (file, words) in [
        ("other-type", "is waiting already, and it is ec:p256"),
        ("old-certificate", "it is for the key that is in place"),
        ("wrong-order.said", "did not issue"),
        ("twice", "it is in place already"),
        ("early", "stays: it is not that old"),
        ("unasked", "cannot be brought back. If so, add --yes"),
        ("retired", "is destroyed"),
        ("nothing", "no old key of \"node\" is left"),
        ("nobody", "has no key \"nobody\""),
    ] {
        let text = read(file);
        assert!(text.contains(words), "{file}: {text}");
    }
}

#[test]
fn a_key_is_replaced_in_one_command_with_a_ca_in_files() {
    let (end, read) = after_begin(
        r#"
        for type in rsa:2048 ec:p384; do
            rotate --ca ca.pem --ca-key ca.key --days 5 --type $type --json > $type.json 2>/dev/null
            "$keyward" cert export --token dev node > $type.pem
            openssl verify -x509_strict -CAfile ca.pem $type.pem > /dev/null
            openssl x509 -in $type.pem -noout -text > $type.text
        done
        openssl ecparam -name secp384r1 -genkey -noout -out ec.key
        openssl req -x509 -key ec.key -out ec.pem -subj /CN=ec-authority -days 2 \
            -addext keyUsage=critical,keyCertSign
        rotate --ca ec.pem --ca-key ec.key --san other.test >/dev/null 2>&1
        "$keyward" cert export --token dev node > last.pem
        openssl verify -x509_strict -CAfile ec.pem last.pem > /dev/null
        openssl x509 -in last.pem -noout -text > last.text
        openssl x509 -in last.pem -noout -checkend 172000 > /dev/null
        ! openssl x509 -in last.pem -noout -checkend 172801 > /dev/null
        ! rotate --ca ca.pem --ca-key ec.key 2> other-key
        ! rotate --ca one.pem --ca-key ca.key 2> no-authority
        chmod 644 ca.key
        ! rotate --ca ca.pem --ca-key ca.key 2> exposed
        rotate > waiting.csr 2>/dev/null
        states > waiting
        rotate --abort 2> aborted
        states
    "#,
    );
    for (name, algorithm) in [("rsa:2048", "rsaEncryption"), ("ec:p384", "secp384r1")] {
        let text = read(&format!("{name}.text"));
        for words in [
            algorithm,
            "Subject: O = b, O = a, CN = node",
            "DNS:node.test, IP Address:10.0.0.1",
            "CA:FALSE",
            "TLS Web Server Authentication, TLS Web Client Authentication",
        ] {
            assert!(text.contains(words), "{name}, {words}: {text}");
        }
        assert_eq!(json(&read(&format!("{name}.json")))["type"], name);
    }
    let last = read("last.text");
    assert!(last.contains("DNS:other.test\n") && last.contains("ecdsa-with-SHA384"), "{last}");
    assert!(read("other-key").contains("the key is not that of the authority"));
    assert!(read("no-authority").contains("is no certificate authority"));
    assert!(read("exposed").contains("chmod 600"));
    assert!(read("aborted").contains("is destroyed"), "{}", read("aborted"));
    let waiting = keys(&read("waiting"));
    let all = ["current", "pending", "superseded", "superseded", "superseded"];
    assert_eq!(states(&waiting), all);
    assert_eq!(states(&keys(&end)), [&all[..1], &all[2..]].concat());
}

#[test]
fn a_key_without_a_certificate_is_replaced_by_what_is_said_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        "$keyward" key generate --token dev --type ec:p256 --label node >/dev/null
        ! "$keyward" key rotate --token dev node 2> refused
        "$keyward" key rotate --token dev node --subject CN=node --out two.csr 2>/dev/null
        "$keyward" key delete --token dev node --yes
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=a 2>/dev/null
        openssl x509 -req -in two.csr -CA ca.pem -CAkey ca.key -out two.pem 2>/dev/null
        "$keyward" key rotate --token dev node --certificate two.pem --json
    "#;
    let said = dev(folder.path(), &[], script).fine();
    assert_eq!(json(&said)["state"], "current");
    let refused = fs::read_to_string(folder.path().join("refused")).unwrap();
    assert!(refused.contains("--subject and --san say what the new one is for"), "{refused}");
}
