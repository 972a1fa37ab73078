//! A host starts while the service is away: what it is shown, what it is not,
//! and that it goes on with the service once that is back. C_Finalize and
//! C_Initialize stand for a new process: nothing is kept over them.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::alone::{TOKEN, alone, configure};
use common::raw::{Module, P256, Template, call};
use common::{SO_PIN, Service, run};
use cryptoki_sys::*;

const DIGEST: [u8; 32] = [9; 32];

/// The deadlines of these tests, in milliseconds.
const REQUEST: u64 = 300;
const CALL: u64 = 600;

const SETTING: &str = "offline_start = { file = \"token.snapshot\" }\n";

/// A service with a token that the certificate opens, and its client.
struct Setup {
    service: Service,
    config: PathBuf,
}

impl Setup {
    fn new(setting: &str) -> Self {
        let service = Service::start();
        create(&service, TOKEN);
        let config = service.identity("client", &[TOKEN], &[]);
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains("login = \"certificate\""), "{text}");
        let text = text
            .replace(
                "[deadlines]\n",
                &format!("[deadlines]\nrequest_ms = {REQUEST}\ncall_ms = {CALL}\n"),
            )
            .replacen("\n[log]\n", "\n[log]\nlevel = \"error\"\nfile = \"module.log\"\n", 1);
        std::fs::write(&config, text + setting).unwrap();
        configure(&config);
        Self { service, config }
    }

    fn file(&self) -> PathBuf {
        self.config.with_file_name("token.snapshot")
    }

    /// What the module has logged since the last time.
    fn log(&self) -> String {
        let path = self.config.with_file_name("module.log");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        // It is appended to.
        std::fs::write(&path, "").unwrap();
        text
    }

    /// A module that starts anew, with a session that changes things.
    fn start(&self) -> Host {
        let module = Module::initialized();
        let session = module.open(0, CKF_RW_SESSION).unwrap();
        Host { module, session }
    }

    /// Has a snapshot written that shows what there is now.
    fn snapshot(&self) {
        // One from the middle of what the test has done so far may be there.
        remove(&self.file());
        let host = self.start();
        host.until(|| {
            host.find(CKO_PRIVATE_KEY).unwrap();
            self.file().exists()
        });
        host.end();
    }
}

struct Host {
    module: Module,
    session: CK_SESSION_HANDLE,
}

impl Host {
    fn find(&self, class: CK_OBJECT_CLASS) -> Result<Vec<CK_OBJECT_HANDLE>, CK_RV> {
        self.module.find(self.session, Template::new().number(CKA_CLASS, class))
    }

    fn sign(&self, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, CK_RV> {
        self.module.sign_with(self.session, CKM_ECDSA, key, &DIGEST)
    }

    fn make_key(&self) -> CK_OBJECT_HANDLE {
        self.module.generate_ec(self.session, P256, true).1
    }

    /// Waits until something is so.
    fn until(&self, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so() {
            assert!(Instant::now() < deadline, "it never came to be");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(self) {
        assert_eq!(self.module.finalize(), CKR_OK);
    }
}

fn create(service: &Service, token: &str) {
    let create = ["token", "create", "--label", token, "--login", "certificate"];
    service.admin(&[&create[..], &["--so-pin", SO_PIN]].concat());
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_host_starts_without_the_service_and_goes_on_with_it() {
    alone(|| {
        let mut setup = Setup::new(SETTING);
        let host = setup.start();
        let key = host.make_key();
        let unique = host.module.get(host.session, key, CKA_UNIQUE_ID).unwrap();
        let point = |host: &Host| {
            let public = host.find(CKO_PUBLIC_KEY).unwrap();
            host.module.get(host.session, public[0], CKA_EC_POINT).unwrap()
        };
        let expected = point(&host);
        host.end();
        setup.snapshot();
        assert_eq!(mode(&setup.file()), 0o600);
        setup.service.stop();

        setup.log();
        let started = Instant::now();
        let host = setup.start();
        let mut info = CK_TOKEN_INFO::default();
        assert_eq!(call!(host.module, C_GetTokenInfo(0, &raw mut info)), CKR_OK);
        assert_ne!(info.serialNumber, [b' '; 16], "the snapshot's serial number is not told");
        let keys = host.find(CKO_PRIVATE_KEY).unwrap();
        let waited = started.elapsed();
        assert_eq!(host.module.get(host.session, keys[0], CKA_UNIQUE_ID).unwrap(), unique);
        assert_eq!(point(&host), expected);
        for _ in 0..20 {
            assert_eq!(host.find(CKO_PRIVATE_KEY).unwrap(), keys);
        }
        let all = started.elapsed();
        println!("first search after {waited:?}, 22 searches after {all:?}");
        // 22 probes would take 5 s.
        assert!(all < Duration::from_secs(3), "{all:?}");
        let log = setup.log();
        assert!(log.contains("shows the token as it was") && log.contains("no answer"), "{log}");
        // What needs the service waits for it and says so; so does what changes
        // something.
        assert_eq!(host.sign(keys[0]), Err(CKR_DEVICE_ERROR));
        let data = Template::new()
            .number(CKA_CLASS, CKO_DATA)
            .flag(CKA_TOKEN, true)
            .bytes(CKA_VALUE, b"value");
        assert_eq!(host.module.create(host.session, data), Err(CKR_DEVICE_ERROR));
        // A host that logs in all the same may do so, whatever its PIN.
        host.module.login(host.session, "whatever").unwrap();
        let officer = host.module.open(0, CKF_RW_SESSION).unwrap();
        assert_eq!(
            host.module.login_as(officer, CKU_SO, SO_PIN),
            Err(CKR_USER_ANOTHER_ALREADY_LOGGED_IN)
        );

        setup.service.resume();
        // The very first call works: same session, same handle.
        let signature = host.sign(keys[0]).unwrap();
        let public = host.find(CKO_PUBLIC_KEY).unwrap()[0];
        host.module.verify_with(host.session, CKM_ECDSA, public, &DIGEST, &signature).unwrap();
        assert_eq!(host.find(CKO_PRIVATE_KEY).unwrap(), keys);
        let another = host.make_key();
        host.until(|| host.find(CKO_PRIVATE_KEY).unwrap().contains(&another));
        host.sign(another).unwrap();
        host.end();
    });
}

#[test]
fn what_others_changed_meanwhile_is_seen_when_the_service_is_back() {
    alone(|| {
        let mut setup = Setup::new(SETTING);
        let host = setup.start();
        let secret = Template::new()
            .number(CKA_CLASS, CKO_SECRET_KEY)
            .number(CKA_KEY_TYPE, CKK_AES)
            .flag(CKA_TOKEN, true)
            .flag(CKA_SENSITIVE, false)
            .flag(CKA_EXTRACTABLE, true)
            .bytes(CKA_VALUE, b"this can be read");
        host.module.create(host.session, secret).unwrap();
        host.make_key();
        host.end();
        setup.snapshot();
        // The secret that may be read is not in the file.
        let file = std::fs::read(setup.file()).unwrap();
        assert!(!file.windows(16).any(|part| part == b"this can be read"));
        let counts = |host: &Host| {
            let count = |class| host.find(class).unwrap().len();
            (count(CKO_PRIVATE_KEY), count(CKO_SECRET_KEY))
        };
        setup.service.stop();
        let host = setup.start();
        assert_eq!(counts(&host), (1, 0));
        // Nothing has changed, and what the snapshot leaves out is seen again.
        setup.service.resume();
        host.until(|| counts(&host) == (1, 1));
        host.end();

        let generate = ["key", "generate", "--token", TOKEN, "--type", "ec:p256", "--label", "new"];
        setup.service.admin(&generate);
        setup.service.stop();
        let host = setup.start();
        let keys = host.find(CKO_PRIVATE_KEY).unwrap();
        assert_eq!(counts(&host), (1, 0));
        setup.service.resume();
        host.until(|| counts(&host) == (2, 1));
        assert!(host.find(CKO_PRIVATE_KEY).unwrap().contains(&keys[0]));
        host.end();
    });
}

#[test]
fn without_the_setting_nothing_is_written_and_nothing_shown() {
    alone(|| {
        let mut setup = Setup::new("");
        let host = setup.start();
        host.make_key();
        host.find(CKO_PRIVATE_KEY).unwrap();
        host.end();
        assert_eq!(setup.service.count(TOKEN, "snapshot"), 0);
        assert!(!setup.file().exists());
        setup.service.stop();
        let host = setup.start();
        assert_eq!(host.find(CKO_PRIVATE_KEY), Err(CKR_DEVICE_ERROR));
        host.end();
    });
}

#[test]
fn a_snapshot_is_asked_for_when_there_is_none_or_the_token_has_changed() {
    alone(|| {
        let setup = Setup::new(SETTING);
        let asked = || setup.service.count(TOKEN, "snapshot");
        setup.snapshot();
        assert_eq!(asked(), 1);
        let first = std::fs::read(setup.file()).unwrap();
        // It is good and up to date.
        let host = setup.start();
        for _ in 0..50 {
            host.find(CKO_PRIVATE_KEY).unwrap();
        }
        host.end();
        assert_eq!(asked(), 1);
        setup
            .service
            .admin(&["key", "generate", "--token", TOKEN, "--type", "ec:p256", "--label", "new"]);
        let host = setup.start();
        host.until(|| {
            host.find(CKO_PRIVATE_KEY).unwrap();
            std::fs::read(setup.file()).unwrap() != first
        });
        // Further changes do not make it ask again and again.
        for _ in 0..3 {
            host.make_key();
            host.find(CKO_PRIVATE_KEY).unwrap();
        }
        host.end();
        assert_eq!(asked(), 2);
    });
}

/// What is done to the file, and what the log must say of it.
type Spoiler = (&'static str, fn(&Path), &'static str);

const SPOILERS: [Spoiler; 11] = [
    ("missing", |file| std::fs::remove_file(file).unwrap(), "there is none yet"),
    ("empty", |file| std::fs::write(file, "").unwrap(), "cut short or damaged"),
    ("something else", |file| std::fs::write(file, "a letter").unwrap(), "cut short or damaged"),
    (
        "cut short",
        |file| change(file, |bytes| bytes.truncate(bytes.len() / 2)),
        "cut short or damaged",
    ),
    (
        "one bit less",
        |file| change(file, |bytes| *bytes.last_mut().unwrap() ^= 1),
        "signature is wrong",
    ),
    ("one bit of the content", |file| change(file, |bytes| bytes[60] ^= 1), "signature is wrong"),
    ("writable by the group", |file| chmod(file, 0o620), "chmod 600"),
    ("writable by all", |file| chmod(file, 0o602), "chmod 600"),
    ("a link", |file| symlink(aside(file), file).unwrap(), "a symbolic link"),
    (
        "a folder",
        |file| {
            aside(file);
            std::fs::create_dir(file).unwrap();
        },
        "a folder",
    ),
    (
        "a pipe",
        |file| {
            aside(file);
            run(Command::new("mkfifo").arg(file));
        },
        "a pipe",
    ),
];

fn chmod(file: &Path, mode: u32) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(file).unwrap();
    change(&mut bytes);
    std::fs::write(file, bytes).unwrap();
}

/// Moves the file away before something takes its place.
fn aside(file: &Path) -> PathBuf {
    let kept = file.with_extension("kept");
    std::fs::rename(file, &kept).unwrap();
    kept
}

#[test]
fn what_is_not_to_be_trusted_is_not_shown_and_the_log_says_why() {
    alone(|| {
        let mut setup = Setup::new(SETTING);
        let host = setup.start();
        host.make_key();
        host.end();
        setup.snapshot();
        let good = std::fs::read(setup.file()).unwrap();
        setup.service.stop();
        let file = setup.file();
        for (name, spoil, why) in SPOILERS {
            setup.log();
            spoil(&file);
            let host = setup.start();
            assert_eq!(host.find(CKO_PRIVATE_KEY), Err(CKR_DEVICE_ERROR), "{name}");
            host.end();
            let log = setup.log();
            assert!(
                log.contains("offline start is not possible") && log.contains(why),
                "{name}: {log}"
            );
            remove(&file);
            std::fs::write(&file, &good).unwrap();
            chmod(&file, 0o600);
        }
        let host = setup.start();
        assert_eq!(host.find(CKO_PRIVATE_KEY).unwrap().len(), 1);
        host.end();
    });
}

fn remove(file: &Path) {
    match std::fs::symlink_metadata(file) {
        Ok(found) if found.is_dir() => std::fs::remove_dir(file).unwrap(),
        Ok(_) => std::fs::remove_file(file).unwrap(),
        Err(_) => {}
    }
}

#[test]
fn another_tokens_and_another_identitys_snapshots_are_refused() {
    alone(|| {
        let mut setup = Setup::new(SETTING);
        create(&setup.service, "another");
        setup.snapshot();
        let own = setup.file();
        // The same client's, of another token.
        let text = std::fs::read_to_string(&setup.config).unwrap();
        let other = setup.service.identity("other", &[TOKEN, "another"], &[]);
        let folder = other.parent().unwrap().to_owned();
        let slot = "\n[[slot]]\ntoken = \"another\"\nlogin = \"certificate\"\nwritable = true\n";
        let setting = format!("offline_start = {{ file = {:?} }}\n", folder.join("a"));
        let (head, _) = text.split_once("\n[[slot]]\n").unwrap();
        let absolute = |text: &str| {
            ["ca.pem", "identity.pem", "identity.key"].iter().fold(text.to_owned(), |text, name| {
                text.replace(&format!("\"{name}\""), &format!("{:?}", folder.join(name)))
            })
        };
        std::fs::write(&setup.config, format!("{}{slot}{setting}", absolute(head))).unwrap();
        let host = setup.start();
        host.until(|| {
            host.find(CKO_PRIVATE_KEY).unwrap();
            folder.join("a").exists()
        });
        host.end();
        setup.service.stop();
        let refused = |why: &str| {
            setup.log();
            let host = setup.start();
            assert_eq!(host.find(CKO_PRIVATE_KEY), Err(CKR_DEVICE_ERROR));
            host.end();
            let log = setup.log();
            assert!(log.contains(why), "{log}");
        };
        // Another identity's, of the token.
        std::fs::write(&setup.config, absolute(&text)).unwrap();
        refused("made for another identity");
        // Another token's.
        std::fs::copy(folder.join("a"), &own).unwrap();
        refused("of another token, \"another\"");
        // And its own, from before.
        std::fs::write(&setup.config, &text).unwrap();
        refused("of another token, \"another\"");
    });
}

#[test]
fn a_process_goes_back_to_nothing_that_is_older_than_what_it_saw() {
    alone(|| {
        let mut setup = Setup::new(SETTING);
        setup.snapshot();
        let old = std::fs::read(setup.file()).unwrap();
        let host = setup.start();
        host.make_key();
        host.until(|| {
            host.find(CKO_PRIVATE_KEY).unwrap();
            std::fs::read(setup.file()).unwrap() != old
        });
        let new = std::fs::read(setup.file()).unwrap();
        setup.service.stop();
        // With its last session the module forgets what it knows of the token.
        let anew = |bytes: &[u8]| {
            std::fs::write(setup.file(), bytes).unwrap();
            assert_eq!(call!(host.module, C_CloseAllSessions(0)), CKR_OK);
            let session = host.module.open(0, 0).unwrap();
            let found =
                host.module.find(session, Template::new().number(CKA_CLASS, CKO_PRIVATE_KEY));
            found.map(|found| found.len())
        };
        assert_eq!(anew(&old), Err(CKR_DEVICE_ERROR));
        let log = setup.log();
        assert!(log.contains("older than what this process has seen"), "{log}");
        assert_eq!(anew(&new), Ok(1));
        host.end();
    });
}

#[test]
fn who_may_not_see_the_token_any_more_is_shown_nothing_of_it() {
    alone(|| {
        let mut setup = Setup::new(SETTING);
        setup.snapshot();
        setup.service.admin(&["identity", "revoke", "client", "--yes"]);
        let host = setup.start();
        assert!(host.find(CKO_PRIVATE_KEY).is_err());
        assert!(!setup.file().exists());
        setup.service.stop();
        assert_eq!(host.find(CKO_PRIVATE_KEY), Err(CKR_DEVICE_ERROR));
        host.end();
    });
}

#[test]
fn a_service_that_gives_no_snapshots_is_asked_once_and_works_as_ever() {
    alone(|| {
        let mut setup = Setup::new(SETTING);
        let path = setup.service.path().join("keyward.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("[deadlines]\n", "[deadlines]\nsnapshot_h = 0\n", 1))
            .unwrap();
        setup.service.stop();
        setup.service.resume();
        let host = setup.start();
        let key = host.make_key();
        let mut log = String::new();
        host.until(|| {
            host.sign(key).unwrap();
            log += &setup.log();
            log.contains("deadlines.snapshot_h is 0")
        });
        for _ in 0..20 {
            host.sign(key).unwrap();
        }
        assert_eq!(setup.service.count(TOKEN, "snapshot"), 1);
        assert!(!setup.file().exists());
        host.end();
    });
}

/// Whoever names a file that is something else keeps that.
#[test]
fn a_file_that_is_no_snapshot_is_not_replaced() {
    alone(|| {
        let setup = Setup::new(SETTING);
        std::fs::write(setup.file(), "a letter").unwrap();
        let host = setup.start();
        let mut log = String::new();
        host.until(|| {
            host.find(CKO_PRIVATE_KEY).unwrap();
            log += &setup.log();
            log.contains("something else than a snapshot")
        });
        host.end();
        assert_eq!(std::fs::read_to_string(setup.file()).unwrap(), "a letter");
    });
}
