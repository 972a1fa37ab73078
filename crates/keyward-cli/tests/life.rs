//! The whole life of a service, a token, a key, its certificate and an
//! identity, as an operator types it.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::{dev, keyward, run, serve};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_service_is_made_served_and_stopped_and_keeps_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("service");
    let port = common::service::ports::free_port();
    let dir_text = dir.to_str().unwrap();
    let listen = format!("127.0.0.1:{port}");
    let told =
        run(["init", "--dir", dir_text, "--listen", &listen, "--san", "keyward.test"]).fine();
    assert!(told.contains("keyward serve --config"), "{told}");
    assert!(told.contains("keyward token create"), "{told}");
    for secret in ["master.key", "server.key", "admin/identity.key"] {
        let mode = fs::metadata(dir.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }

    let config = dir.join("keyward.toml");
    let admin = dir.join("admin/client.toml");
    let admin = admin.to_str().unwrap();
    let mut service = serve(config.to_str().unwrap());
    let create = keyward(["token", "create", "--label", "one", "--admin", admin, "--json"])
        .env("KEYWARD_SO_PIN", "12345678")
        .env("KEYWARD_PIN", "1234")
        .output()
        .unwrap();
    let token = json(&common::Said::from(create).fine());
    assert_eq!(token["label"], "one");
    assert_eq!(token["login"], "pin");
    let pid = Pid::from_child(&service);
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(0));

    let mut service = serve(config.to_str().unwrap());
    let again = json(&run(["token", "show", "one", "--admin", admin, "--json"]).fine());
    assert_eq!(again["serial"], token["serial"]);
    kill_process(Pid::from_child(&service), Signal::INT).unwrap();
    assert_eq!(service.wait().unwrap().code(), Some(0));

    let error = run(["token", "list", "--admin", admin]).failed(1);
    assert!(error.contains(&listen), "{error}");
    assert!(error.contains("keyward: hint: is the service running"), "{error}");
}

#[test]
fn a_key_gets_its_certificate_from_a_ca_and_shows_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem \
            -subj /CN=authority -days 30 2>openssl.log
        for type in rsa:2048 ec:p256 ec:p384 ec:p521; do
            "$keyward" key generate --token dev --type $type --label $type --json > $type.json
            "$keyward" cert request --token dev --key $type \
                --subject "CN=node1,OU=a,OU=b,DC=example,DC=org" \
                --san node1.test --san 10.0.0.1 --out $type.csr
            openssl req -in $type.csr -verify -noout 2>>openssl.log
            openssl req -in $type.csr -noout -text >> requests
            openssl x509 -req -in $type.csr -CA ca.pem -CAkey ca.key -days 10 \
                -copy_extensions copy -out $type.pem 2>>openssl.log
            cat $type.pem ca.pem > $type.chain
            "$keyward" cert import --token dev --json $type.chain > $type.imported
            "$keyward" cert export --token dev $type --chain | cmp - $type.chain
            "$keyward" cert export --token dev $type | cmp - $type.pem
        done
        "$keyward" cert import --token dev --json ec:p256.chain > again
        "$keyward" cert list --token dev --json > certificates
        "$keyward" key list --token dev --json > keys 2> warnings
        "$keyward" status --json
    "#;
    let said = dev(folder.path(), &[], script);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let status = json(&said.fine());

    let requests = read("requests");
    assert!(requests.contains("OU = b, OU = a, CN = node1"), "{requests}");
    assert!(requests.contains("DNS:node1.test, IP Address:10.0.0.1"), "{requests}");
    assert!(requests.contains("ecdsa-with-SHA384") && requests.contains("ecdsa-with-SHA512"));

    let first = json(&read("rsa:2048.imported"));
    assert_eq!(first[0]["result"], "imported");
    assert_eq!(first[0]["key"], "rsa:2048");
    assert_eq!(first[1]["result"], "imported");
    assert_eq!(first[1]["key"], Value::Null);
    let again = json(&read("again"));
    assert_eq!(again[0]["result"], "already_there");
    assert_eq!(again[1]["result"], "already_there");

    let certificates = json(&read("certificates"));
    let certificates = certificates.as_array().unwrap();
    assert_eq!(certificates.len(), 5);
    let authority = certificates.iter().find(|one| one["key"].is_null()).unwrap();
    assert_eq!(authority["label"], Value::Null);
    assert_eq!(authority["authority"], true);
    assert_eq!(authority["subject"], "CN=authority");

    let keys = json(&read("keys"));
    for key in keys.as_array().unwrap() {
        assert_eq!(key["label"], key["type"]);
        assert_eq!(key["extractable"], false);
        assert_eq!(key["sensitive"], true);
        assert_eq!(key["id"].as_str().unwrap().len(), 16);
        assert_eq!(key["certificates"][0]["id"], key["id"]);
        assert_eq!(key["certificates"].as_array().unwrap().len(), 1);
    }
    assert!(read("warnings").contains("4 keys of token \"dev\" have certificates"));

    let tokens = status["tokens"].as_array().unwrap();
    let operations = &tokens.iter().find(|one| one["token"] == "dev").unwrap()["operations"];
    assert_eq!(operations["sign"]["count"], 4);
    assert_eq!(operations["sign"]["failed"], 0);
    assert_eq!(operations["generate_key_pair"]["count"], 4);
    for field in
        ["software", "uptime_seconds", "process_id", "connections", "requests", "accepted", "store"]
    {
        assert!(!status[field].is_null(), "{field}");
    }
}

#[test]
fn a_certificate_is_replaced_only_when_asked_and_only_by_one_for_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        "$keyward" key generate --token dev --type ec:p256 --label node >/dev/null
        "$keyward" key generate --token dev --type ec:p256 --label other >/dev/null
        "$keyward" cert request --token dev --key node --subject CN=node --san node --out node.csr
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=authority 2>/dev/null
        for n in 1 2; do
            openssl x509 -req -in node.csr -CA ca.pem -CAkey ca.key -set_serial $n -out $n.pem 2>/dev/null
        done
        "$keyward" cert import --token dev 1.pem
        ! "$keyward" cert import --token dev 2.pem 2> twice
        ! "$keyward" cert import --token dev --key other 2.pem 2> wrong-key
        ! "$keyward" cert import --token dev ca.pem 2> no-key
        cat ca.pem 2.pem > wrong-order.pem
        ! "$keyward" cert import --token dev wrong-order.pem 2> wrong-order
        "$keyward" cert import --token dev --replace 2.pem
        "$keyward" cert import --token dev --no-key ca.pem
        "$keyward" key rename --token dev node node-2027
        "$keyward" cert export --token dev node-2027 --chain > chain
        cat 2.pem ca.pem | cmp - chain
        "$keyward" cert delete --token dev node-2027 --yes
        "$keyward" key delete --token dev node-2027 --yes
        "$keyward" key list --token dev --json
    "#;
    let keys = json(&dev(folder.path(), &[], script).fine());
    assert_eq!(keys.as_array().unwrap().len(), 1);
    assert_eq!(keys[0]["label"], "other");
    for (file, words) in [
        ("twice", "hint: --replace"),
        ("wrong-key", "it is for key \"node\""),
        ("no-key", "hint: --no-key"),
        ("wrong-order", "did not issue"),
    ] {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.contains(words), "{file}: {text}");
    }
}

#[test]
fn keys_come_from_files_in_each_of_their_forms() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        umask 077
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out pkcs8.key 2>/dev/null
        openssl genrsa -traditional -out pkcs1.key 2048 2>/dev/null
        openssl ecparam -name secp384r1 -genkey -out sec1.key
        openssl pkey -in pkcs8.key -aes256 -passout pass:x -out encrypted.key
        for form in pkcs8 pkcs1 sec1; do
            "$keyward" key import --token dev --label $form $form.key >/dev/null
            "$keyward" cert request --token dev --key $form --subject CN=$form --san a > $form.csr
            openssl req -in $form.csr -verify -noout 2>/dev/null
            openssl req -in $form.csr -pubkey -noout > $form.pub
            openssl pkey -in $form.key -pubout | cmp - $form.pub
        done
        ! "$keyward" key import --token dev --label again pkcs8.key 2> again
        ! "$keyward" key import --token dev --label encrypted encrypted.key 2> encrypted
        chmod 644 pkcs8.key
        ! "$keyward" key import --token dev --label exposed pkcs8.key 2> exposed
    "#;
    dev(folder.path(), &[], script).fine();
    for (file, words) in [
        ("again", "already, as \"pkcs8\""),
        ("encrypted", "is encrypted"),
        ("exposed", "chmod 600"),
    ] {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.contains(words), "{file}: {text}");
    }
}

#[test]
fn an_identity_sees_only_its_token_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        "$keyward" token create --label other --login certificate
        "$keyward" identity create node1 --token other:ro --profile tls --out node1 --json > made
        ! "$keyward" identity create node2 --token other --out node1 2> occupied
        ! "$keyward" identity create node2 --token missing --out node2 2> missing
        test ! -e node2
        "$keyward" token list --admin node1/client.toml --json > seen
        ! "$keyward" status --admin node1/client.toml 2> no-admin
        ! setsid -w "$keyward" identity revoke node1 2> unasked
        "$keyward" identity revoke node1 --yes
        ! "$keyward" token list --admin node1/client.toml 2> revoked
        "$keyward" identity list --json
    "#;
    let identities = json(&dev(folder.path(), &[], script).fine());
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let made = json(&read("made"));
    assert_eq!(made["grants"][0]["token"], "other");
    assert_eq!(made["grants"][0]["read_only"], true);
    let seen = json(&read("seen"));
    assert_eq!(seen.as_array().unwrap().len(), 1);
    assert_eq!(seen[0]["label"], "other");
    let config = read("node1/client.toml");
    for line in ["profile = \"tls\"", "login = \"certificate\"", "writable = false"] {
        assert!(config.contains(line), "{config}");
    }
    let mode = fs::metadata(folder.path().join("node1")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for (file, words) in [
        // In a session of its own it has no terminal to ask on.
        ("unasked", "It cannot be brought back. If so, add --yes"),
        ("occupied", "node1 is not empty"),
        ("missing", "there is no token \"missing\""),
        ("no-admin", "must hold an administrator's identity"),
        ("revoked", "revoked"),
    ] {
        let text = read(file);
        assert!(text.contains(words), "{file}: {text}");
    }
    let node1 =
        identities.as_array().unwrap().iter().find(|one| one["name"] == "node1").unwrap().clone();
    assert_eq!(node1["revoked"], true);
}

#[test]
fn a_pin_is_changed_with_the_old_one_or_by_an_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        umask 077
        printf '1234\n' > old
        printf '4321\n' > new
        "$keyward" token set-pin dev --old-pin-file old --new-pin-file new
        ! "$keyward" token set-pin dev --old-pin-file old --new-pin-file new 2> wrong
        "$keyward" token set-pin dev --reset --new-pin-file old
        "$keyward" token set-pin dev --old-pin-file old --new-pin-file new
        chmod 644 new
        ! "$keyward" token set-pin dev --reset --new-pin-file new 2> exposed
        "$keyward" token create --label flag --so-pin 87654321 --pin 5678 2> flag
    "#;
    dev(folder.path(), &[], script).fine();
    for (file, words) in
        [("wrong", "PIN"), ("exposed", "chmod 600 new"), ("flag", "the list of processes")]
    {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.contains(words), "{file}: {text}");
    }
}

#[test]
fn a_name_means_the_living_identity_and_revoked_ones_are_marked() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        "$keyward" identity create node1 --token dev --out one
        "$keyward" identity revoke node1 --yes
        "$keyward" identity show node1 --json > dead
        "$keyward" identity create node1 --token dev:ro --out two 2> hint
        "$keyward" identity show node1 --json > living
        "$keyward" identity list > table
        "$keyward" token list --admin two/client.toml --json > seen
        "$keyward" identity revoke node1 --yes 2> revoked
        "$keyward" identity revoke node1 --yes 2> again
    "#;
    dev(folder.path(), &[], script).fine();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(json(&read("dead"))["revoked"], true);
    let living = json(&read("living"));
    assert_eq!(living["revoked"], false);
    assert_eq!(living["grants"][0]["read_only"], true);
    let table = read("table");
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("node1 ")).collect();
    assert!(rows.len() == 2 && rows[0].ends_with("(revoked)"), "{table}");
    assert!(!rows[1].contains("revoked"), "{table}");
    assert_eq!(json(&read("seen"))[0]["label"], "dev");
    assert!(read("revoked").contains("\"node1\" is revoked\n"), "{}", read("revoked"));
    assert!(read("again").contains("revoked already"));
    let config = folder.path().join("two/client.toml");
    assert!(read("hint").contains(&format!("KEYWARD_CONFIG={}", config.display())));
}

#[test]
fn an_identity_is_renewed_in_place_under_a_running_client() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        "$keyward" token create --label open --login certificate
        "$keyward" identity create node1 --token open --valid-days 100 --out node1 2>/dev/null
        cp node1/identity.pem first.pem; cp node1/identity.key first.key
        touch ready
        wait_for() { n=0; until test -e $1; do sleep 0.05; n=$((n + 1)); test $n -lt 400; done; }
        wait_for connected
        stat -c '%i %a' node1/identity.key > before
        "$keyward" identity renew --config node1/client.toml --json > renewed
        stat -c '%i %a' node1/identity.key > after
        ls -A node1 > files
        "$keyward" identity renew --config node1/client.toml --revoke-old 2> revoked
        touch renewed-twice; wait_for done
        cp -r node1 old; cp first.pem old/identity.pem; cp first.key old/identity.key
        ! "$keyward" token list --admin old/client.toml 2> refused
        "$keyward" identity renew node1 --out other --valid-days 20 --json > by-admin
        cp other/identity.* node1/
        "$keyward" token list --admin node1/client.toml --json > seen
        ! "$keyward" identity renew node1 --out other 2> occupied
        ! "$keyward" identity renew admin --out stolen --admin node1/client.toml 2> not-mine
        ! "$keyward" identity renew node1 2> no-out
        "$keyward" identity renew node1 --out last --revoke-old
        ! "$keyward" token list --admin node1/client.toml 2> refused-again
    "#;
    let config = folder.path().join("node1/client.toml");
    let path = folder.path().to_owned();
    let client = std::thread::spawn(move || {
        let exists = |name: &str| path.join(name).exists();
        common::eventually("the identity is there", || exists("ready"));
        let client = keyward_client::Client::new(keyward_client::Config::load(&config).unwrap());
        let list = || keyward_wire::Request {
            operation: Some(keyward_wire::request::Operation::ListTokens(
                keyward_wire::ListTokens {},
            )),
            ..keyward_wire::Request::default()
        };
        client.call(list()).unwrap();
        fs::write(path.join("connected"), "").unwrap();
        let mut calls = 0;
        while !exists("renewed-twice") {
            client.call(list()).unwrap();
            calls += 1;
        }
        // Its connection has ended; the next one is made with the new files.
        client.call(list()).unwrap();
        fs::write(path.join("done"), "").unwrap();
        calls
    });
    let said = dev(folder.path(), &[], script);
    said.fine();
    assert!(client.join().unwrap() > 10);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let renewed = json(&read("renewed"));
    assert_eq!(renewed["name"], "node1");
    assert!(renewed["private_key"].as_str().unwrap().ends_with("node1/identity.key"));
    let (before, after) = (read("before"), read("after"));
    assert_ne!(before, after);
    assert!(after.ends_with(" 600\n"), "{after}");
    assert_eq!(read("files"), "ca.pem\nclient.toml\nidentity.key\nidentity.pem\n");
    assert!(read("revoked").contains("earlier certificates are good no longer"));
    let made = json(&read("by-admin"));
    assert!(made["certificate_expires"].as_str() < renewed["certificate_expires"].as_str());
    assert_eq!(json(&read("seen"))[0]["label"], "open");
    for (file, words) in [
        ("refused", "this certificate of the identity is revoked"),
        ("refused-again", "this certificate of the identity is revoked"),
        ("occupied", "other is not empty"),
        ("not-mine", "no administrator"),
        ("no-out", "--out"),
    ] {
        assert!(read(file).contains(words), "{file}: {}", read(file));
    }
    assert!(!folder.path().join("stolen").exists());
}

#[test]
fn a_token_is_unlocked_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        umask 077
        printf 'wrong\n' > wrong
        printf '4321\n' > new
        for n in 1 2 3 4 5 6 7 8 9 10; do
            ! "$keyward" token set-pin dev --old-pin-file wrong --new-pin-file new 2>/dev/null
        done
        "$keyward" token show dev --json > locked
        "$keyward" token show dev > told 2> hint
        "$keyward" token list > table
        "$keyward" token unlock dev --identity dev 2> not-that-one
        "$keyward" token show dev --json > locked-still
        "$keyward" token unlock dev 2> unlocked
        "$keyward" token show dev --json > fine
        "$keyward" key generate --token dev --type ec:p256 --label k >/dev/null
        ! setsid -w "$keyward" token delete dev 2> unasked
        "$keyward" token delete dev --yes
        ! "$keyward" token delete dev --yes 2> gone
        "$keyward" identity show dev --json
    "#;
    let identity = json(&dev(folder.path(), &[], script).fine());
    assert_eq!(identity["grants"].as_array().unwrap().len(), 0);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    for file in ["locked", "locked-still"] {
        let wrong = &json(&read(file))["wrong_pins"][0];
        assert_eq!(wrong["identity"], "admin", "{file}");
        assert_eq!(wrong["pin"], "user");
        assert_eq!(wrong["wrong"], 10);
        assert_eq!(wrong["locked"], true);
    }
    assert_eq!(json(&read("fine"))["wrong_pins"].as_array().unwrap().len(), 0);
    for (file, words) in [
        ("told", "10 wrong user PIN(s) of identity \"admin\", locked out"),
        ("hint", "keyward token unlock dev"),
        ("not-that-one", "no wrong PINs"),
        ("unlocked", "has forgotten: 10 wrong user PIN(s)"),
        ("unasked", "Destroy token \"dev\" and the 2 objects in it?"),
        ("gone", "there is no token \"dev\""),
    ] {
        assert!(read(file).contains(words), "{file}: {}", read(file));
    }
    let row = read("table").lines().find(|line| line.starts_with("dev ")).unwrap().to_owned();
    assert!(row.contains(" admin "), "{row}");
}

#[test]
fn keys_without_a_label_are_called_by_certificate_or_id_and_objects_by_uri() {
    let folder = tempfile::tempdir().unwrap();
    // As keytool leaves them: the key has no label, its certificate has.
    let script = r#"
        for id in one two 0x0001; do
            "$keyward" key generate --token dev --type ec:p256 --label "key $id" --id $id >/dev/null
        done
        "$keyward" cert request --key 'pkcs11:token=dev;object=key%20one' --subject CN=one \
            --san one --out one.csr
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ca 2>/dev/null
        openssl x509 -req -in one.csr -CA ca.pem -CAkey ca.key -out one.pem 2>/dev/null
        "$keyward" cert import --key 'pkcs11:token=dev;id=one' one.pem
        for id in one two 0x0001; do "$keyward" key rename --token dev "key $id" ''; done
        "$keyward" cert list --token dev --json > without
        "$keyward" key list --token dev > table
        "$keyward" key show --token dev two --json > two
        "$keyward" key show --token dev 0x0001 --json > three
        "$keyward" key show 'pkcs11:token=dev;id=one' --json > one
        "$keyward" cert export 'pkcs11:token=dev;id=one;type=cert' | cmp - one.pem
        ! "$keyward" key show 'pkcs11:id=one' 2> no-token
        ! "$keyward" key show --token other 'pkcs11:token=dev;id=one' 2> two-tokens
        "$keyward" key rename 'pkcs11:token=dev;id=two' named
        "$keyward" key delete 'pkcs11:token=dev;object=named' --yes
        "$keyward" key list --token dev --json
    "#;
    let keys = json(&dev(folder.path(), &[], script).fine());
    assert_eq!(keys.as_array().unwrap().len(), 2);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let table = read("table");
    for name in ["one ", "two ", "0x0001 "] {
        assert!(table.lines().any(|line| line.starts_with(name)), "{table}");
    }
    for (file, name) in [("one", "one"), ("two", "two"), ("three", "0x0001")] {
        let key = json(&read(file));
        assert_eq!(key["name"], name, "{file}");
        assert_eq!(key["label"], "", "{file}");
    }
    assert_eq!(json(&read("without"))[0]["key"], "one");
    assert!(read("no-token").contains("no token is named"));
    assert!(read("two-tokens").contains("--token says \"other\""));
}

#[test]
fn a_master_key_comes_from_a_systemd_credential() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("service");
    run(["init", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0"]).fine();
    let credentials = folder.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::rename(dir.join("master.key"), credentials.join("master")).unwrap();
    let mode = fs::Permissions::from_mode(0o440);
    fs::set_permissions(credentials.join("master"), mode).unwrap();
    let config = dir.join("keyward.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace(r#"{ file = "master.key" }"#, r#"{ credential = "master" }"#);
    fs::write(&config, text).unwrap();

    let arguments = ["serve", "--announce", "--config", config.to_str().unwrap()];
    let error = run(arguments).failed(1);
    assert!(error.contains("LoadCredential"), "{error}");
    let mut child = keyward(arguments)
        .env("CREDENTIALS_DIRECTORY", &credentials)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready "), "{line}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_client_that_goes_away_leaves_no_line_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        "$keyward" token list > /dev/null
        sleep 0.3
        cp "$KEYWARD_DIR/service.log" log
    "#;
    dev(folder.path(), &[], script).fine();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(!log.contains("close_notify") && !log.contains("a connection is closed"), "{log}");
}
