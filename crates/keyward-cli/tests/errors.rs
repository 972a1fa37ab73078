//! What goes wrong gets one sentence, a hint where there is one to give, and
//! the right exit code.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{dev, run};

/// A service that nobody runs.
fn service(folder: &Path) -> PathBuf {
    let dir = folder.join("service");
    run(["init", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:1"]).fine();
    dir
}

#[track_caller]
fn serve_fails(dir: &Path, words: &[&str]) {
    let config = dir.join("keyward.toml");
    let error = run(["serve", "--config", config.to_str().unwrap()]);
    let text = error.stderr.clone();
    error.failed(1);
    for word in words {
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(text.matches("keyward: error: ").count(), 1, "{text}");
}

fn edit(dir: &Path, from: &str, to: &str) {
    let path = dir.join("keyward.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).unwrap();
}

#[test]
fn a_wrong_key_of_the_configuration_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let dir = service(folder.path());
    edit(&dir, "listen =", "lisen =");
    serve_fails(&dir, &["keyward.toml", "line", "lisen"]);
}

#[test]
fn a_busy_port_is_told_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let dir = service(folder.path());
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    edit(&dir, "127.0.0.1:1", &address);
    serve_fails(&dir, &[&address, "in use", "keyward: hint: "]);
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    for secret in ["master.key", "server.key"] {
        let folder = tempfile::tempdir().unwrap();
        let dir = service(folder.path());
        fs::set_permissions(dir.join(secret), fs::Permissions::from_mode(0o644)).unwrap();
        serve_fails(&dir, &[secret, "others can read it", "keyward: hint: ", "chmod 600"]);
    }
}

#[test]
fn another_master_key_does_not_open_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let dir = service(folder.path());
    fs::write(dir.join("master.key"), "0".repeat(64)).unwrap();
    serve_fails(&dir, &["master.key", "keyward: hint: "]);
}

#[test]
fn a_folder_in_use_is_not_made_a_service_again() {
    let folder = tempfile::tempdir().unwrap();
    let dir = service(folder.path());
    let before = fs::read(dir.join("master.key")).unwrap();
    let error = run(["init", "--dir", dir.to_str().unwrap()]).failed(1);
    assert!(error.contains("already holds a service"), "{error}");
    assert_eq!(fs::read(dir.join("master.key")).unwrap(), before);
    let error = run(["init", "--dir", folder.path().to_str().unwrap()]).failed(1);
    assert!(error.contains("is not empty"), "{error}");
}

#[test]
fn dev_tells_why_its_service_did_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let error = dev(folder.path(), &["--dir", "home", "--listen", &address], "true").failed(1);
    assert!(error.contains("the service did not start: cannot listen on"), "{error}");
    assert!(error.contains("keyward: hint: "), "{error}");
    assert!(!error.contains("TRACE") && !error.contains("INFO"), "{error}");
}

#[test]
fn a_store_that_another_service_has_open_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        ! "$keyward" serve --config "$KEYWARD_DIR/keyward.toml" 2> second
        "$keyward" token list > /dev/null
    "#;
    dev(folder.path(), &[], script).fine();
    let error = fs::read_to_string(folder.path().join("second")).unwrap();
    assert!(error.starts_with("keyward: error: ") && error.contains("in use"), "{error}");
}

#[test]
fn what_is_not_there_is_named_with_where_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        "$keyward" key generate --token dev --type ec:p256 --label here > /dev/null
        try() { if "$keyward" "$@" > out 2>> errors; then exit 3; else test $? = 1; fi; test ! -s out; }
        try token show nowhere
        try key list --token nowhere
        try key generate --token nowhere --type ec:p256 --label a
        try key show --token dev elsewhere
        try key show --token dev --id 0x0102
        try key generate --token dev --type ec:p256 --label here
        try cert export --token dev here
        try cert import --token dev nofile.pem
        try identity revoke nobody --yes
        try token create --label dev
        try status --admin nofile.toml
        try key list --token dev --admin "$KEYWARD_DIR/client/client.toml"
        printf 'no key\\n' > nothing.key; chmod 644 nothing.key
        try key import --token dev --label nothing nothing.key
        (export KEYWARD_ADMIN_CONFIG=; try status)
    "#;
    dev(folder.path(), &[], script).fine();
    let errors = fs::read_to_string(folder.path().join("errors")).unwrap();
    for words in [
        "error: there is no token \"nowhere\"\nkeyward: hint: `keyward token list`",
        "token \"dev\" has no key \"elsewhere\"\nkeyward: hint: keyward key list --token dev",
        "has no key with id 0x0102",
        "there is a key \"here\" in the token already",
        "token \"dev\" has no certificate \"here\"",
        "nofile.pem cannot be read",
        "there is no identity \"nobody\"",
        "there is a token \"dev\" already",
        "nofile.toml",
        "identity \"dev\" is no administrator: it sees no private key without a login\nkeyward: hint: ",
        "nothing.key holds no private key\n",
        "cannot read /etc/keyward/admin/client.toml",
    ] {
        assert!(errors.contains(words), "{words}\n{errors}");
    }
    assert_eq!(errors.matches("keyward: error: ").count(), 14, "{errors}");
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for (arguments, words) in [
        (vec!["serv"], "serv"),
        (vec!["token", "create"], "--label"),
        (vec!["key", "generate", "--token", "t", "--label", "l", "--type", "rsa:1024"], "rsa:2048"),
        (vec!["key", "show", "--token", "t"], "no object is named"),
        (vec!["cert", "request", "--token", "t", "--key", "k", "--subject", "node1"], "CN=node1"),
        (
            vec![
                "cert",
                "request",
                "--token",
                "t",
                "--key",
                "k",
                "--subject",
                "CN=a",
                "--san",
                "a b",
            ],
            "host name",
        ),
        (vec!["identity", "create", "n", "--out", "n"], "may do nothing"),
        (vec!["dev", "true"], "--"),
    ] {
        let error = run(&arguments).failed(2);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn help_version_and_completions_are_data() {
    let help = run(["--help"]).fine();
    assert!(help.contains("Look after tokens"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    let version = run(["--version"]).fine();
    assert_eq!(version, run(["version"]).fine());
    assert!(version.starts_with("keyward "), "{version}");
    assert!(run(["version", "--json"]).fine().contains("\"version\""));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man");
    run(["man", "--out", out.to_str().unwrap()]).fine();
    for page in ["keyward.1", "keyward-identity-renew.1", "keyward-token-unlock.1"] {
        let page = fs::read_to_string(out.join(page)).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(["completions", shell]).fine().contains("keyward"), "{shell}");
    }
}
