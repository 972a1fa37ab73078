//! The threads that do the work of private keys and PIN hashes, and the queues
//! before them, which are the admission control: bounded, fair among
//! identities, and closed to what could not be done in time.
//!
//! There are two kinds of threads. What takes a millisecond or two has its own,
//! so that a thousand logins at once, or key pairs that take seconds, hold up no
//! signature: the processors are shared between the two by the system, and the
//! slow ones give way.

mod queue;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keyward_wire::{Error, ErrorCode, Result, frame};
use tokio::sync::oneshot;

use self::queue::{Pushed, Queue};
use crate::id::Id;

/// The threads and their queues.
pub(crate) struct Workers {
    quick: Lane,
    slow: Lane,
}

/// Threads of one kind and the queue before them.
struct Lane {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    threads: u32,
}

struct Inner {
    queue: Queue<Job>,
    /// What a job took of late, on average.
    usual: Duration,
    stopped: bool,
}

struct Job {
    /// Nobody waits for the answer after this.
    deadline: Instant,
    work: Box<dyn FnOnce() + Send>,
}

impl Workers {
    /// Starts `threads` threads of each kind (0: one per processor), with
    /// queues of at most `most` jobs.
    pub(crate) fn start(threads: usize, most: usize) -> io::Result<Self> {
        let count = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        Ok(Self {
            quick: Lane::start("keyward-worker", count, most, || {})?,
            slow: Lane::start("keyward-slow", count, most, give_way)?,
        })
    }

    /// Has `work` of milliseconds at most, such as a signature, done for an
    /// identity, when its turn comes.
    ///
    /// # Errors
    /// `LATER` if the queue is full, the work would come too late, or gave way
    /// to that of others; `INTERNAL` if it panicked; and what the work says.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        identity: Id,
        deadline: Instant,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.quick.run(identity, deadline, work).await
    }

    /// As [`Workers::run`], for what takes longer: a PIN's hash (20 ms and 12
    /// MiB), an RSA key pair (up to seconds).
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub(crate) async fn run_slow<T: Send + 'static>(
        &self,
        identity: Id,
        deadline: Instant,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.slow.run(identity, deadline, work).await
    }

    /// As [`Workers::run`], for work on so many bytes: with more than a frame's
    /// it takes longer.
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub(crate) async fn run_by_size<T: Send + 'static>(
        &self,
        identity: Id,
        deadline: Instant,
        bytes: usize,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lane = if bytes > frame::LIMIT { &self.slow } else { &self.quick };
        lane.run(identity, deadline, work).await
    }

    /// Jobs that wait for a thread now.
    pub(crate) fn waiting(&self) -> u32 {
        let waiting = |lane: &Lane| lane.shared.lock().queue.waiting();
        u32::try_from(waiting(&self.quick) + waiting(&self.slow)).unwrap_or(u32::MAX)
    }
}

impl Lane {
    fn start(name: &str, count: usize, most: usize, begin: fn()) -> io::Result<Self> {
        let inner = Inner { queue: Queue::new(most), usual: Duration::ZERO, stopped: false };
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            threads: u32::try_from(count).unwrap_or(u32::MAX),
        });
        let threads = (0..count)
            .map(|number| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                    begin();
                    shared.work();
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    async fn run<T: Send + 'static>(
        &self,
        identity: Id,
        deadline: Instant,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            deadline,
            work: Box::new(move || {
                let result =
                    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
                // Whoever asked may have gone away.
                let _ = answer.send(result);
            }),
        };
        self.shared.enqueue(identity, job)?;
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(result)) => result,
            // The job was dropped, or is not done yet.
            Ok(Err(_)) | Err(_) => Err(later("the request waited for a processor too long")),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // Jobs catch their panics.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn enqueue(&self, identity: Id, job: Job) -> Result<()> {
        let mut inner = self.lock();
        let wait = inner.wait(identity, self.threads);
        if Instant::now() + wait >= job.deadline {
            return Err(later_after(wait, "so many requests wait that this one would be too late"));
        }
        let pushed = inner.queue.push(identity, job);
        drop(inner);
        match pushed {
            Pushed::Queued => {}
            // Whoever waits for it is told when it is dropped.
            Pushed::Instead(other) => drop(other),
            Pushed::Full(_) => {
                return Err(later_after(wait, "too many requests wait for a processor"));
            }
        }
        self.changed.notify_one();
        Ok(())
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            let started = Instant::now();
            if job.deadline > started {
                (job.work)();
                self.lock().took(started.elapsed());
            }
        }
    }

    /// The next job; `None` when the threads are to end.
    fn next(&self) -> Option<Job> {
        let mut inner = self.lock();
        loop {
            if inner.stopped {
                return None;
            }
            if let Some(job) = inner.queue.pop() {
                return Some(job);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// How long a job that an identity adds now will wait, as things go. A short
    /// queue tells nothing.
    fn wait(&self, identity: Id, threads: u32) -> Duration {
        let ahead = u32::try_from(self.queue.ahead(identity)).unwrap_or(u32::MAX);
        if ahead <= threads.saturating_mul(FEW) {
            return Duration::ZERO;
        }
        self.usual.saturating_mul(ahead) / threads
    }

    /// A job took so long.
    fn took(&mut self, time: Duration) {
        self.usual = (self.usual * (WEIGHT - 1) + time.min(LONGEST_SAMPLE)) / WEIGHT;
    }
}

/// The failure of a request that can be made again in a moment.
pub(crate) fn later(message: &'static str) -> Error {
    later_after(Duration::ZERO, message)
}

/// The failure of a request that can be made again in about `wait`: each is told
/// another time, so that not all come back at once.
fn later_after(wait: Duration, message: &'static str) -> Error {
    let wait = wait.clamp(SHORTEST_WAIT, LONGEST_WAIT);
    let jitter = u32::from(u16::from_le_bytes(keyward_crypto::random::bytes()));
    // From a half to three halves.
    let spread = wait / 2 + wait * jitter / u32::from(u16::MAX);
    let retry_after_ms = u32::try_from(spread.as_millis()).unwrap_or(u32::MAX);
    Error { retry_after_ms, ..Error::new(ErrorCode::Later, message) }
}

/// The failure of a request whose handler panicked.
pub(crate) fn panicked() -> Error {
    Error::new(ErrorCode::Internal, "the service made a mistake; its log has more")
}

/// Lets the quick threads have the processors while they want them.
fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a slow thread keeps its priority");
    }
}

/// A slow thread gets about a third of a processor that a quick one wants too.
const NICE: i32 = 5;
/// So many jobs for each thread are done in no time.
const FEW: u32 = 4;
/// How much of the average an old job is.
const WEIGHT: u32 = 16;
/// One key pair of a few seconds says little about the jobs that wait.
const LONGEST_SAMPLE: Duration = Duration::from_millis(100);
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// A job that runs until the sender is used, and has begun when this returns.
    async fn block(
        workers: &Arc<Workers>,
        slow: bool,
    ) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        let workers = Arc::clone(workers);
        let task = tokio::spawn(async move {
            let work = move || {
                let _ = started.send(());
                let _ = blocked.recv();
                Ok(())
            };
            match slow {
                true => workers.run_slow(Id::random(), soon(), work).await,
                false => workers.run(Id::random(), soon(), work).await,
            }
        });
        running.await.unwrap();
        (release, task)
    }

    #[tokio::test]
    async fn a_full_queue_and_a_passed_deadline_say_later() {
        let workers = Arc::new(Workers::start(1, 1).unwrap());
        let id = Id::random();
        let (release, first) = block(&workers, false).await;
        let short = Instant::now() + Duration::from_millis(20);
        let second = workers.run(id, short, || Ok(2));
        let third = async { workers.run(id, soon(), || Ok(3)).await };
        let (second, third) = tokio::join!(second, third);
        assert_eq!(second.unwrap_err().code, ErrorCode::Later);
        assert_eq!(third.unwrap_err().code, ErrorCode::Later);
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(()));
    }

    /// Ten thousand requests of one identity, and one of another.
    #[tokio::test]
    async fn nobody_waits_behind_all_of_anothers_requests() {
        let workers = Arc::new(Workers::start(1, 4096).unwrap());
        let (busy, quiet) = (Id::random(), Id::random());
        let (release, first) = block(&workers, false).await;
        let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = || {
            let done = Arc::clone(&done);
            move || Ok(done.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
        };
        let mut many = tokio::task::JoinSet::new();
        for _ in 0..10_000 {
            let (workers, work) = (Arc::clone(&workers), count());
            many.spawn(async move { workers.run(busy, soon(), work).await });
        }
        while workers.waiting() < 4096 {
            tokio::task::yield_now().await;
        }
        let one = {
            let (workers, work) = (Arc::clone(&workers), count());
            let (asked, asking) = oneshot::channel();
            let task = tokio::spawn(async move {
                asked.send(()).unwrap();
                workers.run(quiet, soon(), work).await
            });
            asking.await.unwrap();
            task
        };
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert!(one.await.unwrap().unwrap() <= 2);
        let results = many.join_all().await;
        let later = results.iter().flat_map(Result::as_ref).count();
        assert!((4095..10_000).contains(&later), "{later}");
        assert_eq!(workers.waiting(), 0);
    }

    #[tokio::test]
    async fn what_is_slow_does_not_hold_up_what_is_quick() {
        let workers = Arc::new(Workers::start(1, 4).unwrap());
        let (release, slow) = block(&workers, true).await;
        assert_eq!(workers.run(Id::random(), soon(), || Ok(1)).await, Ok(1));
        release.send(()).unwrap();
        slow.await.unwrap().unwrap();
    }

    #[test]
    fn what_would_come_too_late_is_not_begun() {
        let mut inner = Inner { queue: Queue::new(1000), usual: Duration::ZERO, stopped: false };
        for _ in 0..200 {
            inner.took(Duration::from_millis(20));
        }
        let id = Id::random();
        let wait = |inner: &Inner| inner.wait(id, 2).as_millis();
        assert_eq!(wait(&inner), 0);
        for _ in 0..100 {
            let job = Job { deadline: soon(), work: Box::new(|| ()) };
            assert!(matches!(inner.queue.push(Id::random(), job), Pushed::Queued));
        }
        // A hundred of others, of 20 ms each, on two threads.
        assert!((900..=1000).contains(&wait(&inner)), "{}", wait(&inner));
        let shared = Shared { inner: Mutex::new(inner), changed: Condvar::new(), threads: 2 };
        let deadline = Instant::now() + Duration::from_millis(500);
        let refused = shared.enqueue(id, Job { deadline, work: Box::new(|| ()) }).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Later);
        assert!((450..=1500).contains(&refused.retry_after_ms), "{}", refused.retry_after_ms);
        assert!(shared.enqueue(id, Job { deadline: soon(), work: Box::new(|| ()) }).is_ok());
    }

    #[test]
    fn those_who_are_told_to_come_later_come_at_different_times() {
        let times: std::collections::BTreeSet<_> =
            (0..200).map(|_| later("").retry_after_ms).collect();
        assert!(times.len() > 40, "{times:?}");
        assert!(*times.first().unwrap() >= 50 && *times.last().unwrap() <= 150, "{times:?}");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_and_the_thread_goes_on() {
        let workers = Workers::start(1, 4).unwrap();
        let id = Id::random();
        let result = workers.run::<()>(id, soon(), || panic!("on purpose")).await;
        assert_eq!(result.unwrap_err().code, ErrorCode::Internal);
        assert_eq!(workers.run(id, soon(), || Ok(7)).await, Ok(7));
    }
}
