//! The disk under the store becomes full, or read-only, while the service runs:
//! what it does meanwhile, and that it goes on by itself afterwards.
//!
//! The disk is an ext4 file system on a loop device, in a mount namespace of
//! the service's own: that needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::service::{PIN, Service, TokenClient};
use common::{KEYWARD, Said, eventually};
use keyward_client::Error;
use keyward_wire::{ErrorCode, Object};

const TOKEN: &str = "t";

/// A service whose store is on a small disk that the test can spoil.
struct Small {
    service: Service,
}

impl Small {
    fn start() -> Self {
        let service = Service::made();
        let dir = service.dir();
        // The store goes to the disk; the rest stays where it is.
        std::fs::create_dir(dir.join("disk")).unwrap();
        std::fs::rename(dir.join("store.redb"), dir.join("first.redb")).unwrap();
        let config = std::fs::read_to_string(service.config()).unwrap();
        let changed = config.replace("\"store.redb\"", "\"disk/store.redb\"");
        assert_ne!(changed, config);
        std::fs::write(service.config(), changed).unwrap();
        let image = dir.join("image");
        std::fs::File::create(&image).unwrap().set_len(24 << 20).unwrap();
        let made = Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-m", "0"]).arg(&image).status();
        assert!(made.expect("mkfs.ext4, of the package e2fsprogs").success());
        let mut small = Self { service };
        small.launch("cp \"$1/first.redb\" \"$1/disk/store.redb\"; ");
        small.service.token(TOKEN);
        small
    }

    /// Starts the service in a new namespace with the disk in it.
    fn launch(&mut self, first: &str) {
        let script = format!(
            "mount -o loop,errors=remount-ro \"$1/image\" \"$1/disk\" || exit 1; {first}\
             exec \"$2\" serve --announce --exit-with-stdin --config \"$1/keyward.toml\""
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-ec"]);
        command.arg(script).arg("sh").arg(self.service.dir()).arg(KEYWARD);
        // What failed is in the log, which the panic shows.
        self.service.start_as(command);
    }

    /// Runs a script beside the service, in the folder with the disk.
    fn inside(&self, script: &str) -> bool {
        let pid = self.service.child.as_ref().unwrap().id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--mount", "--", "sh", "-c"]);
        command.arg(format!("cd \"$1\" && {script}")).arg("sh").arg(self.service.dir());
        command.status().unwrap().success()
    }

    fn store(&self) -> PathBuf {
        self.service.dir().join("disk/store.redb")
    }
}

fn identifiers(objects: &[Object]) -> BTreeSet<String> {
    objects.iter().map(|object| object.unique_id.clone()).collect()
}

/// The message of a store that takes no changes, which names the file.
#[track_caller]
fn unavailable(error: Error, store: &Path) -> String {
    assert_eq!(error.code(), ErrorCode::StoreUnavailable, "{error}");
    let text = error.to_string();
    assert!(text.contains(&store.display().to_string()), "{text}");
    text
}

/// Makes objects until the disk takes no more; the error.
fn until_it_fails(small: &Small, made: &mut BTreeSet<String>) -> Error {
    // It waits long enough for a busy machine, and repeats as long.
    let client = small.service.client(TOKEN).patient(Duration::from_secs(4));
    for _ in 0..2000 {
        match client.create(&vec![0x5a; 100_000]) {
            Ok(unique_id) => assert!(made.insert(unique_id)),
            // A busy machine, and nothing was done.
            Err(error) if error.code() == ErrorCode::Later => {}
            Err(error) => return error,
        }
    }
    panic!("the disk never gets full");
}

/// What goes on while nothing can be written.
fn serves_what_it_has(small: &Small, client: &TokenClient, private: &str, expected: &[Object]) {
    client.sign(private).unwrap();
    assert_eq!(identifiers(&client.objects()), identifiers(expected));
    client.login(PIN).unwrap();
    let status = small.service.admin(&["status"]).fine();
    assert!(status.contains("takes no changes") && status.contains("store.redb"), "{status}");
}

#[test]
fn a_full_disk_stops_changes_only_and_only_while_it_is_full() {
    let mut small = Small::start();
    let client = small.service.client(TOKEN);
    let (public, private) = client.generate().unwrap();
    let mut made = BTreeSet::from([public, private.clone()]);
    // Not quite to the end: the store itself meets it in the middle of a write.
    assert!(small.inside(
        "dd if=/dev/zero of=disk/filler bs=64k 2>/dev/null; truncate -s -512k disk/filler; sync"
    ));
    let error = until_it_fails(&small, &mut made);
    let message = unavailable(error, &small.store());
    assert!(message.contains("No space left on device"), "{message}");
    let during = client.objects();
    // Whatever was acknowledged is there; what failed is not.
    assert_eq!(identifiers(&during), made);
    serves_what_it_has(&small, &client, &private, &during);
    let log = small.service.log();
    assert!(log.contains("the store takes no changes") && log.contains("make room"), "{log}");

    // Nobody guesses for nothing, though nothing can be counted.
    let codes: Vec<_> = (0..11).map(|_| client.login("4321").unwrap_err().code()).collect();
    assert_eq!(codes[0], ErrorCode::StoreUnavailable);
    assert_eq!(codes[10], ErrorCode::PinLocked, "{codes:?}");

    assert!(small.inside("rm disk/filler && sync"));
    let mut last = None;
    eventually("changes are taken again", || match client.create(&vec![0x5a; 100_000]) {
        Ok(unique_id) => made.insert(unique_id),
        Err(error) => {
            last = Some(error);
            false
        }
    });
    assert!(small.service.log().contains("the store takes changes again"), "{last:?}");
    let status = small.service.admin(&["status"]).fine();
    assert!(!status.contains("takes no changes"), "{status}");
    small.service.admin(&["token", "unlock", TOKEN]).fine();
    client.login(PIN).unwrap();
    assert_eq!(identifiers(&client.objects()), made);

    small.service.kill();
    small.launch("");
    assert_eq!(identifiers(&small.service.client(TOKEN).objects()), made);
}

#[test]
fn a_service_starts_and_serves_on_a_full_disk() {
    let mut small = Small::start();
    let client = small.service.client(TOKEN);
    let (_, private) = client.generate().unwrap();
    let before = client.objects();
    small.service.kill();
    small.launch("cat /dev/zero >\"$1/disk/filler\" 2>/dev/null || true; ");
    let client = small.service.client(TOKEN);
    until_it_fails(&small, &mut BTreeSet::new());
    let during = client.objects();
    assert!(identifiers(&during).is_superset(&identifiers(&before)));
    serves_what_it_has(&small, &client, &private, &during);
}

/// As a kernel does to a disk with errors.
#[test]
fn a_disk_that_turns_read_only_stops_changes_only_and_only_meanwhile() {
    let mut small = Small::start();
    let client = small.service.client(TOKEN);
    let (_, private) = client.generate().unwrap();
    client.create(b"before").unwrap();
    let before = client.objects();
    assert!(small.inside("mount -o remount,abort disk"));
    let patient = small.service.client(TOKEN).patient(Duration::from_secs(4));
    let error = patient.create(b"during").unwrap_err();
    let message = unavailable(error, &small.store());
    assert!(message.contains("Read-only") || message.contains("I/O error"), "{message}");
    serves_what_it_has(&small, &client, &private, &before);

    // The service has let go of the file, so the disk can be repaired.
    let mut tries = 0;
    eventually("the disk can be taken away", || {
        tries += 1;
        small.inside("umount disk")
    });
    serves_what_it_has(&small, &client, &private, &before);
    // With nothing in its place, no empty store is made.
    assert!(small.inside("test -z \"$(ls disk)\""), "after {tries} tries");
    assert!(small.inside("/usr/sbin/e2fsck -p image >/dev/null; mount -o loop image disk"));
    eventually("changes are taken again", || client.create(b"after").is_ok());
    let after = client.objects();
    assert_eq!(after.len(), before.len() + 1);

    small.service.kill();
    small.launch("");
    assert_eq!(identifiers(&small.service.client(TOKEN).objects()), identifiers(&after));
}

#[test]
fn a_store_of_another_user_is_refused_by_name() {
    let service = Service::made();
    let store = service.dir().join("store.redb");
    let script = "chmod 711 \"$1\" && chown -R 65534 \"$2\" && chown 0 \"$3\" && \
        exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$4\" serve --config \"$5\"";
    // Where the program lies may not be for everybody.
    let program = service.folder.path().join("keyward");
    std::fs::copy(KEYWARD, &program).unwrap();
    let output = Command::new("sh")
        .args(["-ec", script, "sh"])
        .args([service.folder.path(), &service.dir(), &store, &program, &service.config()])
        .output()
        .unwrap();
    let error = Said::from(output).failed(1);
    assert!(error.contains("store.redb") && error.contains("permission denied"), "{error}");
}
