//! The store against a real etcd.

use std::sync::Mutex;

use super::*;
use crate::store::Update;
use crate::store::contract::{self, deadline, put};

#[allow(dead_code)]
#[path = "../../../../../tests/common/etcd.rs"]
pub(crate) mod harness;

use harness::Etcd as Cluster;

fn settings(cluster: &Cluster, prefix: &str) -> Settings {
    let mut settings = Settings::new(
        cluster.endpoints(),
        cluster.authority(),
        cluster.certificate(),
        cluster.private_key(),
    );
    settings.prefix = prefix.to_owned();
    settings
}

fn open(cluster: &Cluster, prefix: &str) -> Etcd {
    Etcd::new(&settings(cluster, prefix)).unwrap()
}

/// Has the updates noted in short: commits by their number, "all" else.
async fn watched(store: &Etcd) -> Arc<Mutex<Vec<String>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let from = store.snapshot("").await.unwrap().sequence;
    let notes = Arc::clone(&told);
    let watcher: Watcher = Arc::new(move |update| {
        notes.lock().unwrap().push(match update {
            Update::Commit(commit) => commit.puts[0].0.clone(),
            Update::Everything(snapshot) => {
                let keys = snapshot.entries.iter().map(|(key, _)| key.as_str());
                let keys: Vec<_> = keys.filter(|key| !key.starts_with("meta/")).collect();
                format!("all {}", keys.join(" "))
            }
        });
    });
    store.watch(watcher, from);
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_a_store() {
    let cluster = Cluster::shared();
    contract::holds(&open(cluster, "/contract/")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_commits_another_is_told_and_other_prefixes_are_none_of_its_business() {
    let cluster = Cluster::shared();
    let (first, second) = (open(cluster, "/two/"), open(cluster, "/two/"));
    let (one, two) = (watched(&first).await, watched(&second).await);
    let stranger = open(cluster, "/twofold/");
    stranger.commit(put("x", b""), deadline()).await.unwrap();
    for number in 0..20 {
        let store = if number % 2 == 0 { &first } else { &second };
        store.commit(put(&format!("k/{number:02}"), b"v"), deadline()).await.unwrap();
    }
    first.catch_up(deadline()).await.unwrap();
    second.catch_up(deadline()).await.unwrap();
    let expected: Vec<_> = (0..20).map(|number| format!("k/{number:02}")).collect();
    assert_eq!(*one.lock().unwrap(), expected);
    assert_eq!(*two.lock().unwrap(), expected);
    assert_eq!(second.snapshot("").await.unwrap().entries.len(), 21);
    // A conflict is seen by whoever plans anew.
    let mut conflict = put("k/00", b"again");
    conflict.checks.push(Check::Absent("k/19".to_owned()));
    let answer = first.commit(conflict, deadline()).await;
    assert_eq!(answer, Err(StoreError::Conflict));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_found_again() {
    let cluster = Cluster::shared();
    let store = open(cluster, "/lost/");
    let mut transaction = put("operation", b"sealed once, with 28 bytes or more");
    transaction.checks.push(Check::Absent("operation".to_owned()));
    let first = store.commit(transaction.clone(), deadline()).await.unwrap();
    // As after an answer that did not come: the same transaction again.
    assert_eq!(store.commit(transaction.clone(), deadline()).await, Ok(first));
    // One that looks the same is not the same if it is not sealed.
    let mut plain = put("format", b"1");
    plain.checks.push(Check::Absent("format".to_owned()));
    store.commit(plain.clone(), deadline()).await.unwrap();
    assert_eq!(store.commit(plain, deadline()).await, Err(StoreError::Conflict));
    transaction.puts[0].1 = b"sealed anew, with 28 bytes or more".to_vec();
    assert_eq!(store.commit(transaction, deadline()).await, Err(StoreError::Conflict));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_etcd_would_not_take_is_refused_before_it_is_sent() {
    let cluster = Cluster::shared();
    let store = open(cluster, "/limits/");
    let longest = Transaction {
        puts: (0..14).map(|number| (format!("{number}"), vec![7; 100 << 10])).collect(),
        ..Transaction::default()
    };
    let mut longest = longest;
    longest.puts[13].1.truncate(90 << 10);
    store.commit(longest.clone(), deadline()).await.unwrap();
    longest.puts.push(("more".to_owned(), vec![7; 100 << 10]));
    let refused = store.commit(longest, deadline()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::TooLarge(_)), "{refused}");
    let most = Transaction {
        checks: (0..MOST_OPERATIONS).map(|number| Check::Absent(format!("n/{number}"))).collect(),
        puts: (0..MOST_OPERATIONS).map(|number| (format!("n/{number}"), Vec::new())).collect(),
        ..Transaction::default()
    };
    store.commit(most, deadline()).await.unwrap();
    assert_eq!(store.snapshot("n/").await.unwrap().entries.len(), MOST_OPERATIONS);
    let too_many = Transaction {
        deletes: (0..=MOST_OPERATIONS).map(|number| format!("n/{number}")).collect(),
        ..Transaction::default()
    };
    let refused = store.commit(too_many, deadline()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::TooLarge(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_many_pages_is_of_one_moment() {
    let cluster = Cluster::shared();
    let store = open(cluster, "/pages/");
    for part in 0..8 {
        let transaction = Transaction {
            puts: (0..100).map(|number| (format!("{part}/{number:03}"), vec![1; 20_000])).collect(),
            ..Transaction::default()
        };
        let (one, two) = (transaction.clone(), transaction);
        let halves = [(one, 0..50), (two, 50..100)];
        for (mut half, range) in halves {
            half.puts = half.puts[range].to_vec();
            store.commit(half, deadline()).await.unwrap();
        }
    }
    let snapshot = store.snapshot("").await.unwrap();
    assert_eq!(snapshot.entries.len(), 801);
    assert!(snapshot.entries.is_sorted_by(|a, b| a.0 < b.0));
    assert!(snapshot.entries.iter().all(|(_, it)| it.version <= snapshot.sequence));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_die_or_hang_are_done_without() {
    let cluster = Cluster::start(3);
    let (first, second) = (open(&cluster, "/k/"), open(&cluster, "/k/"));
    let (one, two) = (watched(&first).await, watched(&second).await);
    let mut expected = Vec::new();
    let mut number = 0;
    let mut commit = async |expected: &mut Vec<String>| {
        number += 1;
        let key = format!("k/{number:03}");
        // As sealed values are: by it a commit that is sent again knows itself.
        let mut transaction = put(&key, &keyward_crypto::random::bytes::<64>());
        // What a frozen member was asked it does when it wakes up.
        transaction.checks.push(Check::Absent(key.clone()));
        first.commit(transaction, deadline()).await.unwrap();
        expected.push(key);
    };
    commit(&mut expected).await;
    let leader = cluster.leader().unwrap();
    cluster.kill(leader);
    for _ in 0..5 {
        commit(&mut expected).await;
    }
    cluster.start_again(leader);
    let leader = cluster.wait_for_leader();
    cluster.freeze(leader);
    for _ in 0..5 {
        commit(&mut expected).await;
    }
    second.catch_up(deadline()).await.unwrap();
    assert_eq!(*two.lock().unwrap(), expected);
    cluster.thaw(leader);
    for _ in 0..5 {
        commit(&mut expected).await;
    }
    second.catch_up(deadline()).await.unwrap();
    assert_eq!(*one.lock().unwrap(), expected);
    assert_eq!(*two.lock().unwrap(), expected);

    // Without a majority a commit says why not, before its deadline, and later
    // ones work again.
    cluster.kill(0);
    cluster.kill(1);
    let until = Instant::now() + Duration::from_secs(8);
    let refused = first.commit(put("k/no", b""), until).await.unwrap_err();
    let StoreError::Unavailable(reason) = &refused else { panic!("{refused}") };
    assert!(reason.contains("etcd"), "{reason}");
    assert!(Instant::now() < until + Duration::from_secs(1));
    cluster.start_again(0);
    cluster.wait_for_leader();
    commit(&mut expected).await;
    second.catch_up(deadline()).await.unwrap();
    // The refused one may have taken place after all; it is told of then, too.
    two.lock().unwrap().retain(|key| key != "k/no");
    assert_eq!(*two.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_compaction_everything_is_read_again() {
    let cluster = Cluster::start(1);
    let (first, second) = (open(&cluster, "/k/"), open(&cluster, "/k/"));
    first.commit(put("a", b""), deadline()).await.unwrap();
    let told = watched(&second).await;
    first.commit(put("b", b""), deadline()).await.unwrap();
    second.catch_up(deadline()).await.unwrap();
    assert_eq!(*told.lock().unwrap(), ["b"]);
    // It misses what comes, and etcd forgets it.
    second.close();
    first.commit(put("c", b""), deadline()).await.unwrap();
    let mut gone = Transaction { deletes: vec!["a".to_owned()], ..Transaction::default() };
    gone.puts.push(("d".to_owned(), Vec::new()));
    first.commit(gone, deadline()).await.unwrap();
    cluster.compact();
    let from = *second.shared.applied.borrow();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let watcher: Watcher = Arc::new({
        let notes = Arc::clone(&notes);
        move |update| {
            if let Update::Everything(snapshot) = update {
                let keys: Vec<_> = snapshot.entries.into_iter().map(|(key, _)| key).collect();
                notes.lock().unwrap().push(keys);
            }
        }
    });
    second.watch(watcher, from);
    second.catch_up(deadline()).await.unwrap();
    assert_eq!(*notes.lock().unwrap(), [["b", "c", "d", "meta/clock"]]);
    let last = first.commit(put("e", b""), deadline()).await.unwrap();
    second.catch_up(deadline()).await.unwrap();
    assert_eq!(*second.shared.applied.borrow(), last);
}
