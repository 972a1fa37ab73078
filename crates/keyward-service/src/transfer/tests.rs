use std::path::Path;

use super::*;
use crate::init::{Join, Options, init, join};
use crate::store::Snapshot;
use crate::store::etcd::tests::harness;

/// A service in a folder whose store has so many entries more than a new one.
async fn service(folder: &Path, more: usize) -> Config {
    let path = folder.join("service");
    let options = Options::new(path.clone(), "127.0.0.1:0".parse().unwrap());
    std::thread::spawn(move || init(&options).unwrap()).join().unwrap();
    let config = Config::load(&path.join("keyward.toml")).unwrap();
    let store = server::connect(&config).await.unwrap();
    for number in 0..more {
        let value = vec![b'x'; if number == 7 { 900 << 10 } else { 100 }];
        let put = vec![(format!("later/{number:05}"), value)];
        let transaction = Transaction { puts: put, ..Transaction::default() };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        store.commit(transaction, deadline).await.unwrap();
    }
    store.close();
    config
}

/// The same configuration with another store.
fn elsewhere(config: &Config, name: &str) -> Config {
    let mut other = config.clone();
    other.data = config.data.with_file_name(name);
    other
}

async fn snapshot(config: &Config) -> Snapshot {
    let store = server::connect(config).await.unwrap();
    let snapshot = store.snapshot("").await.unwrap();
    store.close();
    snapshot
}

fn carried(snapshot: &Snapshot) -> Vec<(&str, &[u8])> {
    let entries = snapshot.entries.iter().filter(|(key, _)| is_carried(key));
    entries.map(|(key, versioned)| (key.as_str(), versioned.value.as_slice())).collect()
}

/// As from the command: on a thread that runs nothing else.
async fn run_copy(from: &Config, to: &Config, resume: bool) -> Result<Copied, TransferError> {
    let (from, to) = (from.clone(), to.clone());
    tokio::task::spawn_blocking(move || copy(&from, &to, resume)).await.unwrap()
}

async fn refused(config: &Config) -> String {
    let served = crate::serve(config.clone(), |_| panic!("it started"), std::future::pending());
    served.await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_copy_holds_the_same_and_has_an_incarnation_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let from = service(folder.path(), 300).await;
    let to = elsewhere(&from, "copy.redb");
    let copied = run_copy(&from, &to, false).await.unwrap();
    let (before, after) = (snapshot(&from).await, snapshot(&to).await);
    assert_eq!(copied.entries, carried(&before).len() as u64);
    assert_eq!(carried(&before), carried(&after));
    let incarnation = |snapshot: &Snapshot| {
        <[u8; 8]>::try_from(snapshot.value(paths::INCARNATION_KEY).unwrap()).unwrap()
    };
    assert_ne!(incarnation(&before), incarnation(&after));
    assert_eq!(before.value(paths::FORMAT_KEY), after.value(paths::FORMAT_KEY));
    // A store is no destination, whatever is said.
    for resume in [false, true] {
        let error = run_copy(&from, &to, resume).await.unwrap_err();
        assert!(matches!(error, TransferError::NotEmpty(_)), "{error}");
    }
    let error = run_copy(&from, &from, true).await.unwrap_err();
    assert!(matches!(error, TransferError::SameStore(_)), "{error}");
}

#[tokio::test]
async fn a_copy_may_have_another_master_key() {
    let folder = tempfile::tempdir().unwrap();
    let from = service(folder.path(), 0).await;
    let mut to = elsewhere(&from, "copy.redb");
    let key = folder.path().join("other.key");
    crate::files::write_new(&key, "ab".repeat(32).as_bytes(), crate::files::SECRET).unwrap();
    to.master_key.place = crate::master::Place::File(key);
    assert!(run_copy(&from, &to, false).await.unwrap().other_master_key);
    let copied = snapshot(&to).await;
    server::unlock(&to, &to.master().read().unwrap(), &copied).unwrap();
    let old = server::unlock(&to, &from.master().read().unwrap(), &copied);
    assert!(matches!(old.map(drop), Err(ServeError::WrongMasterKey { .. })));
}

#[tokio::test]
async fn a_store_that_was_cut_off_is_none_until_it_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let from = service(folder.path(), 300).await;
    let to = elsewhere(&from, "copy.redb");
    // What is there after a kill in the middle, with an entry that the source
    // has not.
    let store = destination(&to).await.unwrap();
    let mut loader = Loader::begin(&*store, false).await.unwrap();
    for number in 0..250 {
        loader.put(format!("stray/{number}"), vec![1; 10]).await.unwrap();
    }
    drop(loader);
    store.close();
    drop(store);
    let left = snapshot(&to).await;
    assert_eq!(carried(&left).len(), 200, "some was written and some was not");

    let said = refused(&to).await;
    assert!(said.contains("half written") && said.contains("--resume"), "{said}");
    let error = run_copy(&from, &to, false).await.unwrap_err();
    assert!(matches!(error, TransferError::HalfWritten(_)), "{error}");
    assert_eq!(carried(&snapshot(&to).await), carried(&left), "nothing was touched");
    run_copy(&from, &to, true).await.unwrap();
    assert_eq!(carried(&snapshot(&from).await), carried(&snapshot(&to).await));
}

#[tokio::test]
async fn of_two_that_fill_a_store_the_later_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let to = elsewhere(&service(folder.path(), 0).await, "copy.redb");
    let store = destination(&to).await.unwrap();
    let mut first = Loader::begin(&*store, false).await.unwrap();
    first.put("a".to_owned(), vec![1]).await.unwrap();
    let mut second = Loader::begin(&*store, true).await.unwrap();
    second.put("b".to_owned(), vec![2]).await.unwrap();
    assert_eq!(first.finish(vec![3]).await, Err(LoadError::HalfWritten));
    second.finish(vec![4]).await.unwrap();
    let whole = store.snapshot("").await.unwrap();
    assert_eq!(carried(&whole), [("b", [2].as_slice())]);
    assert_eq!(whole.value(paths::LOADING_KEY), None);
}

#[tokio::test]
async fn a_damaged_source_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let from = service(folder.path(), 0).await;
    let store = server::connect(&from).await.unwrap();
    let puts = vec![(paths::AUTHORITY_KEY.to_owned(), b"damaged".to_vec())];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    store.commit(Transaction { puts, ..Transaction::default() }, deadline).await.unwrap();
    store.close();
    drop(store);
    let to = elsewhere(&from, "copy.redb");
    let error = run_copy(&from, &to, false).await.unwrap_err();
    assert!(matches!(error, TransferError::Damaged { .. }), "{error}");
    assert!(!to.data.exists());
}

/// The same configuration with a store of its own in etcd.
fn in_etcd(config: &Config, prefix: &str) -> Config {
    let cluster = harness::Etcd::shared();
    let mut etcd = crate::config::Etcd::new(
        cluster.endpoints(),
        cluster.authority(),
        cluster.certificate(),
        cluster.private_key(),
    );
    etcd.prefix = prefix.to_owned();
    Config { store: StoreKind::Etcd, data: PathBuf::new(), etcd: Some(etcd), ..config.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_goes_into_etcd_and_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let from = service(folder.path(), 300).await;
    let (there, back) = (in_etcd(&from, "/copied/"), elsewhere(&from, "back.redb"));
    let before = snapshot(&from).await;
    let copied = run_copy(&from, &there, false).await.unwrap();
    assert_eq!(copied.entries, carried(&before).len() as u64);
    assert_eq!(carried(&before), carried(&snapshot(&there).await));
    for resume in [false, true] {
        let error = run_copy(&from, &there, resume).await.unwrap_err();
        assert!(matches!(error, TransferError::NotEmpty(_)), "{error}");
        let error = run_copy(&there, &there, resume).await.unwrap_err();
        assert!(matches!(error, TransferError::SameStore(_)), "{error}");
    }
    let other = in_etcd(&from, "/copied-again/");
    run_copy(&there, &other, false).await.unwrap();
    run_copy(&other, &back, false).await.unwrap();
    let after = snapshot(&back).await;
    assert_eq!(carried(&before), carried(&after));
    server::unlock(&back, &back.master().read().unwrap(), &after).unwrap();
    assert_eq!(after.value(paths::CLOCK_KEY), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_half_written_in_etcd_is_served_joined_and_overwritten_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let from = service(folder.path(), 300).await;
    let to = in_etcd(&from, "/half/");
    let store = server::connect(&to).await.unwrap();
    let mut loader = Loader::begin(&*store, false).await.unwrap();
    for number in 0..250 {
        loader.put(format!("stray/{number}"), vec![1; 10]).await.unwrap();
    }
    drop(loader);
    let left = snapshot(&to).await;
    assert_eq!(carried(&left).len(), 200);

    let mut said = vec![refused(&to).await];
    let listen = "127.0.0.1:0".parse().unwrap();
    let (dir, etcd) = (folder.path().join("more"), to.etcd.clone().unwrap());
    let mut options = Options::new(dir.clone(), listen);
    options.etcd = Some(etcd.clone());
    said.push(init(&options).unwrap_err().to_string());
    let replica = Join::new(dir.clone(), listen, etcd, from.data.with_file_name("master.key"));
    said.push(join(&replica).unwrap_err().to_string());
    said.push(run_copy(&from, &to, false).await.unwrap_err().to_string());
    for said in said {
        assert!(said.contains("half written") && said.contains("--resume"), "{said}");
    }
    assert!(!dir.exists());
    assert_eq!(carried(&snapshot(&to).await), carried(&left), "nothing was touched");
    run_copy(&from, &to, true).await.unwrap();
    assert_eq!(carried(&snapshot(&from).await), carried(&snapshot(&to).await));
    join(&replica).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_meanwhile_gives_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let first = service(folder.path(), 300).await;
    let (from, to) = (in_etcd(&first, "/changing/"), elsewhere(&first, "copy.redb"));
    run_copy(&first, &from, false).await.unwrap();
    let replica = server::connect(&from).await.unwrap();
    let writes = tokio::spawn(async move {
        loop {
            let put = vec![("later/new".to_owned(), vec![b'x'; 100])];
            let transaction = Transaction { puts: put, ..Transaction::default() };
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            replica.commit(transaction, deadline).await.unwrap();
        }
    });
    let error = run_copy(&from, &to, false).await.unwrap_err();
    assert!(matches!(error, TransferError::Changed(_)), "{error}");
    writes.abort();
    assert!(refused(&to).await.contains("half written"));
    run_copy(&from, &to, true).await.unwrap();
    assert_eq!(carried(&snapshot(&from).await), carried(&snapshot(&to).await));
}
