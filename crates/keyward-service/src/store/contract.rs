//! What every store must do, for the tests of each.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::load::{LoadError, Loader};
use super::paths::{DATA_KEY_KEY, LOADING_KEY};
use super::{Check, Store, StoreError, Transaction, Update};

/// When a test gives up.
pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Commits, checks, deletes and watches in a store that nobody watches yet and
/// that holds no key under "a/" and "b/".
pub(crate) async fn holds(store: &dyn Store) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let first = store.snapshot("").await.unwrap().sequence;
    store.watch(
        Arc::new({
            let told = Arc::clone(&told);
            move |update| match update {
                Update::Commit(commit) => {
                    let mut keys: Vec<_> = commit.puts.iter().map(|put| put.0.clone()).collect();
                    keys.extend(commit.deletes.iter().map(|key| format!("-{key}")));
                    keys.retain(|key| key.contains('/') && !key.contains("meta/"));
                    keys.sort();
                    told.lock().unwrap().push((commit.sequence, keys));
                }
                Update::Everything(_) => panic!("nothing was missed"),
            }
        }),
        first,
    );
    let commit = async |transaction| store.commit(transaction, deadline()).await;

    let one = commit(put("a/1", b"one")).await.unwrap();
    assert!(one > first);
    let two = commit(put("a/2", b"two")).await.unwrap();
    assert!(two > one);
    let mut late = put("a/2", b"late");
    late.checks.push(Check::Version("a/2".to_owned(), one));
    assert_eq!(commit(late).await, Err(StoreError::Conflict));
    let mut twice = put("a/2", b"twice");
    twice.checks.push(Check::Absent("a/2".to_owned()));
    assert_eq!(commit(twice).await, Err(StoreError::Conflict));
    let mut gone = put("a/2", b"gone");
    gone.checks.push(Check::Version("a/3".to_owned(), two));
    assert_eq!(commit(gone).await, Err(StoreError::Conflict));
    let mut right = put("b/1", b"three");
    right.checks.push(Check::Version("a/2".to_owned(), two));
    right.deletes.push("a/1".to_owned());
    let three = commit(right).await.unwrap();
    let found = store.snapshot("a/").await.unwrap();
    let shown: Vec<_> = found.entries.iter().map(|(key, it)| (key.as_str(), it.version)).collect();
    assert_eq!(shown, [("a/2", two)]);
    assert_eq!(found.entries[0].1.value, b"two");
    assert!(found.sequence >= three);
    assert_eq!(store.snapshot("a/1").await.unwrap().entries, []);

    let many = Transaction {
        puts: (0..50).map(|number| (format!("a/m/{number:02}"), vec![7; 1000])).collect(),
        ..Transaction::default()
    };
    commit(many).await.unwrap();
    let mut prefix = put("b/2", b"four");
    prefix.prefix_deletes.push("a/".to_owned());
    let four = commit(prefix).await.unwrap();
    assert_eq!(store.snapshot("a/").await.unwrap().entries, []);
    assert_eq!(store.snapshot("b/").await.unwrap().entries.len(), 2);
    // Whoever commits has been told before the answer.
    let told_now = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(told_now.len(), 5);
    assert!(told_now.is_sorted());
    assert_eq!(told_now[2], (three, vec!["-a/1".to_owned(), "b/1".to_owned()]));
    assert_eq!((told_now[4].0, told_now[4].1.len()), (four, 52));
    assert_eq!(store.catch_up(deadline()).await, Ok(()));

    // Of transactions that exclude each other one takes place.
    let attempts = (0..20_u8).map(|number| {
        let mut transaction = put("b/only", &[number]);
        transaction.checks.push(Check::Absent("b/only".to_owned()));
        store.commit(transaction, deadline())
    });
    let won = join_all(attempts).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);

    // Nothing is loaded into a store that holds something.
    let full = Loader::begin(store, true).await.map(drop);
    assert_eq!(full, Err(LoadError::NotEmpty));
    for prefix in ["a/", "b/", "start"] {
        let cleared =
            Transaction { prefix_deletes: vec![prefix.to_owned()], ..Transaction::default() };
        commit(cleared).await.unwrap();
    }
    // An attempt that is cut off is swept away by the next one.
    let entries: Vec<_> =
        (0..350).map(|number| (format!("f/{number:03}"), vec![1; 9_000])).collect();
    for (cut_off, rest) in [(true, "left/"), (false, "")] {
        let mut loader = Loader::begin(store, !cut_off).await.unwrap();
        for (key, value) in entries.clone() {
            loader.put(format!("{rest}{key}"), value).await.unwrap();
        }
        let written: Vec<_> = loader.written().await.unwrap().collect();
        assert_eq!(written.len(), entries.len());
        if cut_off {
            let again = Loader::begin(store, false).await.map(drop);
            assert_eq!(again, Err(LoadError::HalfWritten));
        } else {
            assert!(written == entries);
            loader.finish(vec![9; 60]).await.unwrap();
        }
    }
    let found = store.snapshot("").await.unwrap();
    assert_eq!(found.value(DATA_KEY_KEY), Some([9; 60].as_slice()));
    assert_eq!(found.value(LOADING_KEY), None);
}

/// A transaction with one put.
pub(crate) fn put(key: &str, value: &[u8]) -> Transaction {
    Transaction { puts: vec![(key.to_owned(), value.to_vec())], ..Transaction::default() }
}
