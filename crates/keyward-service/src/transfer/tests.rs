use std::path::Path;

use super::*;
use crate::init::{Options, init};
use crate::store::Snapshot;

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
    to.master_key = crate::config::MasterKey::File(key);
    assert!(run_copy(&from, &to, false).await.unwrap().other_master_key);
    let copied = snapshot(&to).await;
    server::unlock(&to, &to.master_key.read().unwrap(), &copied).unwrap();
    let old = server::unlock(&to, &from.master_key.read().unwrap(), &copied);
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
