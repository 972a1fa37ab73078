//! Runs that are killed at random moments and go on, until all is there, once.
//!
//! `KEYWARD_MIGRATE_OBJECTS` and `KEYWARD_MIGRATE_KILLS` make the long form of
//! it, `KEYWARD_SEED` the moments of an earlier run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use keyward_crypto::ec::{Curve, EcPrivateKey};

use super::hsm::{Hsm, keyward_uri, listed, said};
use crate::common::{Service, module, run};

#[test]
fn a_run_into_softhsm_that_is_killed_goes_on_without_duplicates() {
    let hsm = Hsm::new(&["new"]);
    let variable = ("SOFTHSM2_CONF", hsm.config.clone());
    killed(&hsm, &hsm.uri("new"), (&hsm.module, "new", &variable), (200, 3));
}

#[test]
fn a_run_into_keyward_that_is_killed_goes_on_without_duplicates() {
    let hsm = Hsm::new(&["unused"]);
    let service = Service::start();
    service.token("node1");
    let config = service.identity("migration", &["node1"], &[]);
    let variable = ("KEYWARD_CONFIG", config);
    let referee = (&*module().display().to_string(), "node1", &variable);
    killed(&hsm, &keyward_uri("node1"), referee, (2000, 10));
}

#[test]
fn a_target_that_vanishes_in_the_middle_ends_the_run_with_the_object_named() {
    let hsm = Hsm::new(&["unused"]);
    let mut service = Service::start();
    service.token("node1");
    let config = service.identity("migration", &["node1"], &[]);
    make_keys(&hsm.file("keys"), 60);
    hsm.plan("keys", &keyward_uri("node1"), "plan.toml", Some(&config));
    let journal = hsm.file("plan.toml.journal");
    let mut command = hsm.migrate(&["run", "plan.toml", "--jobs", "1"]);
    command.env("KEYWARD_CONFIG", &config);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&mut child, &journal, 20);
    service.kill();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the run stopped: EC P-256 "), "{text}");
    assert!(text.contains("hint: "), "{text}");
    service.resume();
    let mut again = hsm.migrate(&["run", "plan.toml"]);
    said(again.env("KEYWARD_CONFIG", &config), 0);
    let library = module().display().to_string();
    let there = listed(&library, "node1", &[("KEYWARD_CONFIG", &config)]);
    assert_eq!(there.len(), 120);
    assert_eq!(there.iter().collect::<BTreeSet<_>>().len(), 120);
}

/// `usual`: how many objects there are, and how often it is killed.
fn killed(
    hsm: &Hsm,
    target: &str,
    referee: (&str, &str, &(&'static str, PathBuf)),
    usual: (u64, u64),
) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let objects = number("KEYWARD_MIGRATE_OBJECTS").unwrap_or(usual.0);
    let kills = number("KEYWARD_MIGRATE_KILLS").unwrap_or(usual.1);
    let seed = number("KEYWARD_SEED")
        .unwrap_or_else(|| u64::from_le_bytes(keyward_crypto::random::bytes()));
    println!("seed {seed}, {objects} objects, {kills} kills");
    let (library, label, variable) = referee;
    make_keys(&hsm.file("keys"), objects / 2);
    hsm.plan("keys", target, "plan.toml", Some(&variable.1));
    let journal = hsm.file("plan.toml.journal");
    let migrate = |words: &[&str]| {
        let mut command = hsm.migrate(words);
        command.env(variable.0, &variable.1);
        command
    };
    let mut random = seed | 1;
    for kill in 0..kills {
        let mut child = migrate(&["run", "plan.toml"]).spawn().unwrap();
        // Two lines for each object, spread over the kills.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let share = 2 * objects / (kills + 1);
        wait_for_lines(&mut child, &journal, kill * share + 1 + random % share);
        kill_now(child);
    }
    let text = said(&mut migrate(&["run", "plan.toml"]), 0);
    assert!(text.contains("were there from before"), "{text}");
    let there = listed(library, label, &[(variable.0, &variable.1)]);
    let odd: Vec<_> = there.iter().filter(|object| !object.contains(" Key k")).collect();
    assert_eq!(there.len() as u64, objects, "seed {seed}: {odd:?}");
    assert_eq!(there.iter().collect::<BTreeSet<_>>().len() as u64, objects, "seed {seed}");
    let verify = ["verify", "plan.toml", "--signing-key", "key.pem", "--out", "manifest.json"];
    run(&mut migrate(&verify));
    said(&mut migrate(&["rollback", "plan.toml", "--yes"]), 0);
    assert!(listed(library, label, &[(variable.0, &variable.1)]).is_empty());
}

/// EC keys, one in each file.
fn make_keys(folder: &Path, count: u64) {
    std::fs::create_dir(folder).unwrap();
    for index in 0..count {
        let key = EcPrivateKey::generate(Curve::P256).unwrap();
        let block = pem::Pem::new("PRIVATE KEY", key.to_pkcs8_der().to_vec());
        std::fs::write(folder.join(format!("k{index:05}.pem")), pem::encode(&block)).unwrap();
    }
}

fn wait_for_lines(child: &mut Child, journal: &Path, wanted: u64) {
    let deadline = Instant::now() + Duration::from_secs(300);
    let lines = || {
        let text = std::fs::read(journal).unwrap_or_default();
        text.iter().filter(|byte| **byte == b'\n').count() as u64
    };
    while lines() < wanted {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(Instant::now() < deadline, "the journal has {} lines of {wanted}", lines());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kill_now(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
