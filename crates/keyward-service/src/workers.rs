//! The threads that do the work of private keys and PIN hashes, and the queue
//! before them, which is the admission control: bounded, and fair among
//! identities.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use keyward_wire::{Error, ErrorCode, Result};
use tokio::sync::oneshot;

use crate::id::Id;

/// The threads and their queue.
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queues: Mutex<Queues>,
    changed: Condvar,
    most: usize,
}

#[derive(Default)]
struct Queues {
    of: HashMap<Id, VecDeque<Job>>,
    /// The identities that have a job waiting, each once, the next one first.
    turns: VecDeque<Id>,
    /// In all queues together.
    waiting: usize,
    stopped: bool,
}

struct Job {
    /// Nobody waits for the answer after this.
    deadline: Instant,
    work: Box<dyn FnOnce() + Send>,
}

impl Workers {
    /// Starts `threads` threads (0: one per processor) with a queue of at most
    /// `most` jobs.
    pub(crate) fn start(threads: usize, most: usize) -> io::Result<Self> {
        let count = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        let shared = Arc::new(Shared {
            queues: Mutex::new(Queues::default()),
            changed: Condvar::new(),
            most,
        });
        let threads = (0..count)
            .map(|number| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("keyward-worker-{number}"))
                    .spawn(move || shared.work())
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Has `work` done for an identity, when its turn comes.
    ///
    /// # Errors
    /// `LATER` if the queue is full or the deadline passed in it, `INTERNAL` if
    /// the work panicked, and what the work says.
    pub(crate) async fn run<T: Send + 'static>(
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

impl Workers {
    /// Jobs that wait for a thread now.
    pub(crate) fn waiting(&self) -> u32 {
        u32::try_from(self.shared.lock().waiting).unwrap_or(u32::MAX)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut queues = self.shared.lock();
        queues.stopped = true;
        drop(queues);
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
        let mut queues = self.lock();
        if queues.waiting >= self.most {
            return Err(later("too many requests wait for a processor"));
        }
        queues.waiting += 1;
        let queue = queues.of.entry(identity).or_default();
        queue.push_back(job);
        if queue.len() == 1 {
            queues.turns.push_back(identity);
        }
        drop(queues);
        self.changed.notify_one();
        Ok(())
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            if job.deadline > Instant::now() {
                (job.work)();
            }
        }
    }

    /// The next job; `None` when the threads are to end.
    fn next(&self) -> Option<Job> {
        let mut queues = self.lock();
        loop {
            if queues.stopped {
                return None;
            }
            if let Some(job) = queues.take() {
                return Some(job);
            }
            queues = self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    /// The job whose turn it is; its identity goes to the end of the line.
    fn take(&mut self) -> Option<Job> {
        let identity = self.turns.pop_front()?;
        let queue = self.of.get_mut(&identity)?;
        let job = queue.pop_front()?;
        if queue.is_empty() {
            self.of.remove(&identity);
        } else {
            self.turns.push_back(identity);
        }
        self.waiting -= 1;
        Some(job)
    }
}

/// The failure of a request that can be made again.
pub(crate) fn later(message: &'static str) -> Error {
    Error { retry_after_ms: RETRY_AFTER_MS, ..Error::new(ErrorCode::Later, message) }
}

/// The failure of a request whose handler panicked.
pub(crate) fn panicked() -> Error {
    Error::new(ErrorCode::Internal, "the service made a mistake; its log has more")
}

const RETRY_AFTER_MS: u32 = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn identities_take_turns() {
        let (busy, quiet) = (Id::random(), Id::random());
        let shared =
            Shared { queues: Mutex::new(Queues::default()), changed: Condvar::new(), most: 10 };
        let order = Arc::new(Mutex::new(String::new()));
        for (identity, name) in [(busy, 'b'), (busy, 'b'), (busy, 'b'), (quiet, 'q')] {
            let order = Arc::clone(&order);
            let work = Box::new(move || order.lock().unwrap().push(name));
            shared.enqueue(identity, Job { deadline: soon(), work }).unwrap();
        }
        while let Some(job) = { shared.lock().take() } {
            (job.work)();
        }
        assert_eq!(*order.lock().unwrap(), "bqbb");
        assert!(shared.lock().of.is_empty());
    }

    #[tokio::test]
    async fn a_full_queue_and_a_passed_deadline_say_later() {
        let workers = Workers::start(1, 1).unwrap();
        let id = Id::random();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        let first = workers.run(id, soon(), move || {
            let _ = started.send(());
            let _ = blocked.recv();
            Ok(1)
        });
        let rest = async {
            running.await.unwrap();
            let short = Instant::now() + Duration::from_millis(20);
            let second = workers.run(id, short, || Ok(2));
            let third = async { workers.run(id, soon(), || Ok(3)).await };
            let (second, third) = tokio::join!(second, third);
            assert_eq!(second.unwrap_err().code, ErrorCode::Later);
            assert_eq!(third.unwrap_err().code, ErrorCode::Later);
            release.send(()).unwrap();
        };
        assert_eq!(tokio::join!(first, rest).0, Ok(1));
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
