//! `keyward identity renew --config` killed at each of its steps: whatever it
//! has done by then, the identity can be used, and the next renewal goes well.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::dev;

/// Kills the process instead of its n-th `rename`, n from KILL_AT.
const KILLER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>

int rename(const char *old, const char *new)
{
    static int count;
    int (*next)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    const char *at = getenv("KILL_AT");

    if (at && ++count == atoi(at))
        raise(SIGKILL);
    return next(old, new);
}
"#;

/// Twice in a row, each at another step; then to the end.
const SCRIPT: &str = r#"
    "$keyward" token create --label open --login certificate
    "$keyward" identity create node1 --token open --out node1 2>/dev/null
    works() { "$keyward" token list --admin node1/client.toml >/dev/null; }
    renew_and_die_at() {
        code=0
        LD_PRELOAD=$killer KILL_AT=$1 "$keyward" identity renew --config node1/client.toml 2>/dev/null || code=$?
        printf '%s ' $code >> codes
        ls -A node1 | tr '\n' ' ' >> files
        works
    }
    for first in 1 2; do
        for second in 1 2 3 4; do
            renew_and_die_at $first
            renew_and_die_at $second
            "$keyward" identity renew --config node1/client.toml 2>/dev/null
            works
            echo >> codes
            ls -A node1 | tr '\n' ' ' > left
        done
    done
    ln -s node1 link
    (flock 9; ! "$keyward" identity renew --config link/client.toml 2> at-once) 9< node1
    cat node1/identity.key >> node1/identity.pem
    sed -i 's/identity.key/identity.pem/' node1/client.toml
    chmod 600 node1/identity.pem
    ! "$keyward" identity renew --config node1/client.toml 2> one-file
"#;

#[test]
fn a_renewal_that_is_killed_at_any_step_leaves_an_identity_that_works() {
    let folder = tempfile::tempdir().unwrap();
    let killer = killer(folder.path());
    let script = SCRIPT.replace("$killer", killer.to_str().unwrap());
    dev(folder.path(), &[], &script).fine();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    // There are two renames, of the certificate and then of the key, and one
    // more where an earlier renewal was cut short between them.
    let killed = ["137 137 ", "137 137 ", "137 0 ", "137 0 "];
    let killed_between = ["137 137 ", "137 137 ", "137 137 ", "137 0 "];
    assert_eq!(read("codes").lines().collect::<Vec<_>>(), [killed, killed_between].concat());
    assert!(read("files").contains("identity.key.new"), "nothing was cut short");
    assert_eq!(read("left"), "ca.pem client.toml identity.key identity.pem ");
    assert!(read("at-once").contains("another process is renewing"), "{}", read("at-once"));
    assert!(read("one-file").contains("both certificate and key"), "{}", read("one-file"));
}

/// Two files that do not belong together and no third one: no crash of ours.
#[test]
fn a_key_that_is_not_the_certificates_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        "$keyward" token create --label open --login certificate
        "$keyward" identity create one --token open --out one 2>/dev/null
        "$keyward" identity create two --token open --out two 2>/dev/null
        cp two/identity.key one/identity.key
        ! "$keyward" token list --admin one/client.toml 2> refused
    "#;
    dev(folder.path(), &[], script).fine();
    let refused = fs::read_to_string(folder.path().join("refused")).unwrap();
    assert!(refused.contains("one/identity.key: this is not the key of"), "{refused}");
}

fn killer(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("killer.c"), folder.join("killer.so"));
    fs::write(&source, KILLER).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(built.success());
    library
}
