//! Keeps the watcher told of every commit, whatever becomes of the members.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use etcd_client::{Event, EventType, WatchOptions, WatchResponse};
use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::members::Trouble;
use super::{LONGEST, Shared, lock, number};
use crate::store::paths::{CLOCK_KEY, INCARNATION_KEY};
use crate::store::{Check, Commit, StoreError, Transaction, Update, Watcher};

/// Why a watch ended.
enum End {
    /// It goes on with another connection.
    Broken(String),
    /// etcd has forgotten what comes next: everything is to be read again.
    Forgotten,
}

/// Tells `watcher` of all commits after those that it was told of. Does not
/// return.
pub(super) async fn run(shared: Arc<Shared>, watcher: Watcher) {
    let mut said: Option<String> = None;
    loop {
        let place = shared.members.current();
        let Err(end) = follow(&shared, &watcher, place, &mut said).await;
        match end {
            End::Forgotten => reload(&shared, &watcher).await,
            End::Broken(reason) => {
                // Once for each reason, not for each attempt.
                if said.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "the watch on etcd broke; it is made anew");
                    said = Some(reason);
                }
                shared.members.leave(place);
                sleep(PAUSE).await;
            }
        }
    }
}

/// Follows the commits by way of one member.
async fn follow(
    shared: &Shared,
    watcher: &Watcher,
    place: usize,
    said: &mut Option<String>,
) -> Result<std::convert::Infallible, End> {
    if shared.rolled_back.load(Relaxed) {
        return Err(End::Forgotten);
    }
    shared.watching.store(place, Relaxed);
    let from = *shared.applied.borrow();
    let broken = |trouble: Trouble| End::Broken(trouble.reason().to_owned());
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(i64::try_from(from + 1).unwrap_or(i64::MAX));
    let asked = (shared.key(""), options);
    let mut stream = shared
        .members
        .ask_one(place, Instant::now() + shared.patience, |client| {
            let (key, options) = asked.clone();
            async move {
                let mut watch = client.watch_client().max_decoding_message_size(LONGEST);
                watch.watch(key, Some(options)).await
            }
        })
        .await
        .map_err(broken)?;
    let mut created = false;
    loop {
        let message = async {
            if created {
                return Ok(stream.message().await);
            }
            timeout(shared.patience, stream.message()).await
        };
        let message = tokio::select! {
            message = message => message,
            () = shared.renew.notified() => {
                return Err(End::Broken("it fell silent while etcd went on".to_owned()));
            }
        };
        let message = match message {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Err(End::Broken("the member ended it".to_owned())),
            Ok(Err(error)) => return Err(broken(Trouble::of(&error))),
            Err(_) => return Err(End::Broken("the member does not begin it".to_owned())),
        };
        if message.compact_revision() > 0 {
            return Err(End::Forgotten);
        }
        if message.canceled() {
            return Err(End::Broken(message.cancel_reason().to_owned()));
        }
        created |= message.created();
        if said.take().is_some() {
            tracing::info!("the watch on etcd goes on");
        }
        tell(shared, watcher, &message);
    }
}

/// Tells of the commits in a message, each whole and in their order.
fn tell(shared: &Shared, watcher: &Watcher, message: &WatchResponse) {
    let of = |event: &Event| event.kv().map_or(0, |entry| number(entry.mod_revision()));
    for events in message.events().chunk_by(|a, b| of(a) == of(b)) {
        let sequence = events.first().map_or(0, of);
        // Told before, by a watch that broke.
        if sequence <= *shared.applied.borrow() {
            continue;
        }
        let mut commit = Commit { sequence, puts: Vec::new(), deletes: Vec::new() };
        for event in events {
            let Some((key, entry)) =
                event.kv().and_then(|entry| Some((shared.stripped(entry.key())?, entry)))
            else {
                continue;
            };
            match event.event_type() {
                EventType::Put => commit.puts.push((key, entry.value().to_vec())),
                EventType::Delete => commit.deletes.push(key),
            }
        }
        watcher(Update::Commit(&commit));
        shared.told(sequence);
    }
}

/// Reads everything again.
async fn reload(shared: &Shared, watcher: &Watcher) {
    let read = async {
        if shared.rolled_back.load(Relaxed) {
            renew_incarnation(shared).await?;
        }
        shared.snapshot("").await
    };
    match read.await {
        Ok(snapshot) => {
            let sequence = snapshot.sequence;
            tracing::warn!(
                sequence,
                "etcd no longer had the changes since the last one seen; all was read again"
            );
            watcher(Update::Everything(snapshot));
            shared.restarted(sequence);
        }
        Err(error) => {
            tracing::warn!(%error, "etcd cannot be read again yet");
            sleep(PAUSE).await;
        }
    }
}

/// Makes the store another one for its clients: what they saw of the commits
/// that it has lost must not be compared with those to come.
async fn renew_incarnation(shared: &Shared) -> Result<(), StoreError> {
    let found = shared.snapshot(INCARNATION_KEY).await?;
    let Some((key, seen)) = found.entries.into_iter().next() else { return Ok(()) };
    let renewal = Transaction {
        // Of several replicas one does it.
        checks: vec![Check::Version(key.clone(), seen.version)],
        puts: vec![(key, keyward_crypto::random::bytes::<8>().to_vec())],
        ..Transaction::default()
    };
    let asked = shared.transaction(&renewal, None);
    let deadline = Instant::now() + shared.patience;
    let asking = shared.members.ask(deadline, |client| {
        let asked = asked.clone();
        async move { client.kv_client().txn(asked).await }
    });
    asking.await.map(drop)
}

/// Looks how the members do and whether the watch keeps up. Does not return.
pub(super) async fn look_after(shared: Arc<Shared>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = 0;
    loop {
        ticks.tick().await;
        let deadline = Instant::now() + LOOK;
        let key = shared.key(CLOCK_KEY);
        let applied = *shared.applied.borrow();
        let looks = (0..shared.members.count()).map(|place| {
            let key = key.clone();
            shared.members.ask_one(place, deadline, move |client| {
                let key = key.clone();
                async move { client.kv_client().get(key, None).await }
            })
        });
        let answers = join_all(looks).await;
        let latest = answers
            .iter()
            .flatten()
            .map(|answer| answer.kvs().first().map_or(0, |found| number(found.mod_revision())))
            .max();
        failed = if latest.is_some() { 0 } else { failed + 1 };
        let trouble = match latest {
            // A busy member may be late once.
            None if failed < 2 => continue,
            None => Some(shared.members.story()),
            Some(0) => Some("etcd does not hold this service's store any more".to_owned()),
            Some(latest) if latest < applied => {
                Some("etcd went back to an earlier state; all is read again".to_owned())
            }
            Some(latest) => {
                shared.known(latest);
                None
            }
        };
        match &trouble {
            Some(reason) if *lock(&shared.trouble) != trouble => {
                tracing::error!(reason, "etcd is not well; reads and signatures go on");
            }
            None if lock(&shared.trouble).is_some() => tracing::info!("etcd is well again"),
            _ => {}
        }
        *lock(&shared.trouble) = trouble;
        let Some(latest @ 1..) = latest else { continue };
        if answers[shared.members.current()].is_err() {
            shared.members.leave(shared.members.current());
        }
        if latest < applied {
            shared.rolled_back.store(true, Relaxed);
        }
        // The watch may hang on a member that others do without.
        let behind = lock(&shared.behind).is_some_and(|since| since.elapsed() > LOOK);
        if behind || latest < applied || answers[shared.watching.load(Relaxed)].is_err() {
            shared.renew.notify_waiters();
        }
    }
}

const LOOK: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);
