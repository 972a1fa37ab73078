//! `keyward dev`: what COMMAND gets, and what is left afterwards.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use common::{dev, eventually, keyward, lives, run};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn it_exits_with_the_status_of_the_command() {
    let folder = tempfile::tempdir().unwrap();
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
    {
        let said = dev(folder.path(), &["--dir", "home"], script);
        assert_eq!(said.code, Some(code), "{script}: {}", said.stderr);
        assert_eq!(said.stdout, "");
        assert_eq!(said.stderr, "");
    }
    fs::write(folder.path().join("text"), "").unwrap();
    let text = folder.path().join("text");
    for (command, code) in [("/no/such/command", 127), (text.to_str().unwrap(), 126)] {
        let said = run(["dev", "--no-module", "--", command]);
        assert_eq!(said.code, Some(code), "{}", said.stderr);
        assert!(
            said.stderr.starts_with(&format!("keyward: error: {command}: ")),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn the_command_finds_all_it_needs_and_a_temporary_folder_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("libkeyward_pkcs11.so");
    fs::write(&module, "").unwrap();
    let script = r#"
        test -f "$KEYWARD_CONFIG"
        test -f "$KEYWARD_PKCS11_MODULE"
        test "$KEYWARD_TOKEN_LABEL $KEYWARD_PIN $KEYWARD_SO_PIN" = "a token 5678 87654321"
        grep -q "endpoints = \[\"$KEYWARD_ENDPOINT\"\]" "$KEYWARD_CONFIG"
        grep -q 'profile = "tls"' "$KEYWARD_CONFIG"
        grep -q "writable = true" "$KEYWARD_CONFIG"
        "$keyward" token show "$KEYWARD_TOKEN_LABEL" >/dev/null
        "$keyward" status --json | grep -q "\"process_id\": $KEYWARD_SERVICE_PID,"
        echo "$KEYWARD_SERVICE_PID $KEYWARD_DIR"
    "#;
    let said: common::Said = keyward(["dev", "--token-label", "a token", "--pin", "5678"])
        .args(["--so-pin", "87654321", "--profile", "tls", "--", "sh", "-euc", script])
        .env("keyward", common::KEYWARD)
        .env("KEYWARD_PKCS11_MODULE", &module)
        .output()
        .unwrap()
        .into();
    let told = said.fine();
    let (pid, dir) = told.trim().split_once(' ').unwrap();
    assert!(!lives(pid));
    assert!(!Path::new(dir).exists(), "{dir}");
}

#[test]
fn a_named_folder_is_used_again_token_keys_endpoint_and_all() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["--dir", "home"];
    let first = dev(
        folder.path(),
        &options,
        r#""$keyward" key generate --token dev --type ec:p256 --label kept >/dev/null
           "$keyward" token show dev --json; echo "$KEYWARD_ENDPOINT""#,
    );
    let second = dev(
        folder.path(),
        &options,
        r#""$keyward" key show --token dev kept >/dev/null
           "$keyward" token show dev --json; echo "$KEYWARD_ENDPOINT""#,
    );
    assert_eq!(
        first.fine().replace("\"objects\": 2", ""),
        second.fine().replace("\"objects\": 2", "")
    );
    for (options, words) in [
        (["--dir", "home", "--token-label", "else"], "has no slot for token \"else\""),
        (["--dir", "home", "--listen", "127.0.0.1:1"], "listens on 127.0.0.1:"),
        (["--dir", "home", "--profile", "tls"], "has the profile \"full\""),
    ] {
        let error = dev(folder.path(), &options, "true").failed(1);
        assert!(error.contains(words), "{error}");
        assert!(error.contains("keyward: hint: "), "{error}");
    }
}

#[test]
fn the_command_may_kill_the_service_and_start_another_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        kill -9 "$KEYWARD_SERVICE_PID"
        while kill -0 "$KEYWARD_SERVICE_PID" 2>/dev/null; do sleep 0.02; done
        "$keyward" serve --config "$KEYWARD_DIR/keyward.toml" 2>/dev/null &
        "$keyward" token list --json > tokens
        kill $!
        wait $!
        exit 5
    "#;
    let said = dev(folder.path(), &[], script);
    assert_eq!(said.code, Some(5), "{}", said.stderr);
    assert!(fs::read_to_string(folder.path().join("tokens")).unwrap().contains("\"dev\""));
}

#[test]
fn without_a_command_it_prints_exports_and_runs_until_interrupted() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut child = keyward(["dev", "--no-module", "--token-label", "it's"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let exports: Vec<_> = lines.by_ref().take(8).map(Result::unwrap).collect();
        assert!(exports.iter().all(|line| line.starts_with("export KEYWARD_")), "{exports:?}");
        assert!(
            exports.contains(&r"export KEYWARD_TOKEN_LABEL='it'\''s'".to_owned()),
            "{exports:?}"
        );
        let pid = value(&exports, "KEYWARD_SERVICE_PID");
        let dir = value(&exports, "KEYWARD_DIR");
        assert!(lives(&pid));
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal:?}");
        assert!(!lives(&pid));
        assert!(!Path::new(&dir).exists());
    }
}

#[test]
fn a_signal_is_passed_on_and_everything_is_cleaned_up() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let script = r#"
        trap 'echo got it; exit 9' TERM
        echo "$KEYWARD_SERVICE_PID" > pid.new; mv pid.new pid
        while :; do sleep 0.02; done
    "#;
    let child = keyward(["dev", "--no-module", "--", "sh", "-c", script])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the command runs", || pid_file.exists());
    let service = fs::read_to_string(&pid_file).unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(output.stdout, b"got it\n");
    assert!(!lives(&service));
}

#[test]
fn the_service_does_not_outlive_a_killed_dev() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let script = "echo $KEYWARD_SERVICE_PID > pid.new; mv pid.new pid; exec sleep 2";
    let mut child = keyward(["dev", "--no-module", "--dir", "home", "--", "sh", "-c", script])
        .current_dir(folder.path())
        .spawn()
        .unwrap();
    eventually("the command runs", || pid_file.exists());
    let service = fs::read_to_string(&pid_file).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the service is gone", || !lives(&service));
    let log = fs::read_to_string(folder.path().join("home/service.log")).unwrap();
    assert!(log.contains("has stopped"), "{log}");
}

#[test]
fn a_module_that_is_not_there_is_an_error_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let said: common::Said = keyward(["dev", "--dir", "home", "--", "true"])
        .env("KEYWARD_PKCS11_MODULE", "/no/such/module.so")
        .current_dir(folder.path())
        .output()
        .unwrap()
        .into();
    let error = said.failed(1);
    assert!(error.contains("/no/such/module.so"), "{error}");
    assert!(!folder.path().join("home").exists());
}

fn value(exports: &[String], name: &str) -> String {
    let prefix = format!("export {name}=");
    exports.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap().to_owned()
}
