//! How a service is made, what stops it from starting, and what is on its disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::*;
use keyward_service::init::{InitError, Options, init};
use keyward_service::{ServeError, serve};
use redb::{Database, TableDefinition};

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir.to_owned(), "127.0.0.1:7512".parse().unwrap());
    options.sans = vec!["keys.example.com".to_owned(), "192.0.2.7".to_owned()];
    options
}

#[test]
fn init_writes_everything_with_the_right_modes_and_not_twice() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new/service");
    let report = init(&options(&dir)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data = report.data.unwrap();
    for secret in
        [&report.private_key, &report.master_key, &data, &report.admin.join("identity.key")]
    {
        assert_eq!(mode(secret), 0o600, "{}", secret.display());
    }
    assert_eq!(mode(&dir), 0o700);
    for public in [&report.config, &report.authority, &report.certificate, &report.admin_config] {
        assert!(public.is_file(), "{}", public.display());
    }
    let client: toml::Table =
        toml::from_str(&fs::read_to_string(&report.admin_config).unwrap()).unwrap();
    assert_eq!(client["endpoints"][0].as_str(), Some("127.0.0.1:7512"));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 7);

    assert!(matches!(init(&options(&dir)), Err(InitError::Exists(_))));
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("file"), "").unwrap();
    assert!(matches!(init(&options(&other)), Err(InitError::NotEmpty(_))));
    // An empty folder will do.
    fs::remove_file(other.join("file")).unwrap();
    init(&options(&other)).unwrap();
}

#[test]
fn an_init_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("service");
    let mut bad_san = options(&dir);
    bad_san.sans = vec!["no name!".to_owned()];
    let mut bad_admin = options(&dir);
    bad_admin.admin_name = "a b".to_owned();
    for bad in [bad_san, bad_admin] {
        assert!(init(&bad).is_err());
        assert!(!dir.exists());
    }
}

#[tokio::test]
async fn secrets_that_others_can_read_are_refused() {
    let folder = folder();
    for name in ["master.key", "server.key"] {
        let path = folder.path().join("service").join(name);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = refused(config(folder.path())).await.to_string();
        assert!(error.contains(name) && error.contains("chmod 600"), "{error}");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test]
async fn a_wrong_master_key_is_refused() {
    let folder = folder();
    let path = folder.path().join("service/master.key");
    let right = fs::read_to_string(&path).unwrap();
    fs::write(&path, "00".repeat(32)).unwrap();
    assert!(matches!(refused(config(folder.path())).await, ServeError::WrongMasterKey { .. }));
    fs::write(&path, "not a key").unwrap();
    assert!(refused(config(folder.path())).await.to_string().contains("64 hexadecimal digits"));
    fs::write(&path, right).unwrap();
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused() {
    const DATA: TableDefinition<&str, &[u8]> = TableDefinition::new("data");
    let folder = folder();
    let config = config(folder.path());
    {
        let database = Database::open(&config.data).unwrap();
        let writing = database.begin_write().unwrap();
        let stored = [&1_u64.to_be_bytes()[..], b"99"].concat();
        writing.open_table(DATA).unwrap().insert("meta/format", stored.as_slice()).unwrap();
        writing.commit().unwrap();
    }
    let error = refused(config).await;
    assert!(matches!(&error, ServeError::StoreTooNew { found, .. } if found == "99"), "{error}");
}

#[tokio::test]
async fn a_store_that_is_missing_is_not_made_anew() {
    let folder = folder();
    let config = config(folder.path());
    fs::remove_file(&config.data).unwrap();
    let path = config.data.clone();
    assert!(matches!(refused(config).await, ServeError::Store { .. }));
    assert!(!path.exists());
}

/// Starts a service in a process of this test; says why it did not start, if so.
async fn attempt(folder: &Path) -> Option<String> {
    let started = |_| {};
    serve(config(folder), started, std::future::ready(())).await.err().map(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused_with_its_name_and_never_with_a_panic() {
    let folder = folder();
    let path = folder.path().join("service/store.redb");
    let whole = fs::read(&path).unwrap();
    let check = async |what: String, content: Vec<u8>, must_fail: bool| {
        fs::write(&path, &content).unwrap();
        match attempt(folder.path()).await {
            Some(error) => {
                assert!(error.contains("store.redb"), "{what}: {error}");
                assert!(error.contains("backup") || error.contains("decrypt"), "{what}: {error}");
            }
            None => assert!(!must_fail, "{what}: it started"),
        }
    };
    check("empty".to_owned(), Vec::new(), true).await;
    check("garbage".to_owned(), b"-----BEGIN".repeat(500), true).await;
    check("zeros".to_owned(), vec![0; whole.len()], true).await;
    for length in [1, 100, 511, 4096, 5000, whole.len() / 4] {
        check(format!("cut to {length}"), whole[..length].to_vec(), true).await;
    }
    for position in (0..whole.len()).step_by(whole.len() / 60 + 1) {
        let mut changed = whole.clone();
        let end = (position + 64).min(whole.len());
        changed[position..end].iter_mut().for_each(|byte| *byte ^= 0x55);
        // What nobody uses may be changed.
        check(format!("changed at {position}"), changed, false).await;
    }
    let used = whole.windows(11).position(|window| window == b"meta/format").unwrap();
    let mut changed = whole.clone();
    changed[used] ^= 1;
    check("a key changed".to_owned(), changed, true).await;
    fs::write(&path, &whole).unwrap();
    assert_eq!(attempt(folder.path()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_gets_neither_the_store_nor_the_port() {
    let service = Service::start().await;
    let second = keyward_service::Config::load(&service.dir.join("keyward.toml")).unwrap();
    assert!(matches!(refused(second).await, ServeError::StoreInUse(_)));
    let folder = folder();
    let mut third = config(folder.path());
    third.listen = service.address;
    let error = refused(third).await.to_string();
    assert!(error.contains("cannot listen on") && error.contains("address in use"), "{error}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_people_wrote_is_readable_on_the_disk() {
    let service = Service::start().await;
    let mut admin = service.admin().await;
    admin.create_token("visible-label").await;
    let identity = admin.create_identity("visible-name", &[("visible-label", false)]);
    let mut client = service.connect(&identity.await.unwrap()).await;
    client.token = "visible-label".to_owned();
    client.login(PIN).await.unwrap();
    client.create_object(data("visible-object", b"visible-content", true)).await.unwrap();
    let folder = service.stop().await;
    let store = fs::read(folder.path().join("service/store.redb")).unwrap();
    assert!(store.len() > 1000);
    assert!(!store.windows(8).any(|window| window == b"visible-"));
}
