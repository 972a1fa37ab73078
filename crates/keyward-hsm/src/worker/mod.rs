//! The worker: a process that holds an HSM's library, for the service.

mod mechanism;
mod seat;
mod token;

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use self::seat::Seat;
use self::token::Reached;
use crate::protocol::{Done, Lost, Outcome, Task, Work, read, write};

/// Works for the service at the other end of standard input and output until
/// that closes.
///
/// # Errors
/// If it is not the service that is there.
pub fn run() -> io::Result<()> {
    outlive_signals()?;
    let answers = Answers::take_standard_output()?;
    let mut tasks = io::stdin().lock();
    let Some(Task { id, work: Some(Work::Open(open)), .. }) = read(&mut tasks)? else {
        return Err(io::Error::other("this is started by keyward serve, not by hand"));
    };
    let reached = match token::reach(open) {
        Ok(reached) => Arc::new(reached),
        Err(lost) => return answers.give(id, Done::Lost(lost)),
    };
    let result = work(&reached, &mut tasks, &answers, id);
    end();
    result
}

fn work(
    reached: &Arc<Reached>,
    tasks: &mut impl Read,
    answers: &Arc<Answers>,
    id: u64,
) -> io::Result<()> {
    let (queue, queued) = channel();
    let queued = Arc::new(Mutex::new(queued));
    // All sessions are there before the first is used: some libraries do not
    // survive that other threads open more.
    let seats: Result<Vec<_>, Lost> =
        (0..reached.sessions).map(|_| Seat::take(Arc::clone(reached))).collect();
    let seats = match seats {
        Ok(seats) => seats,
        Err(lost) => return answers.give(id, Done::Lost(lost)),
    };
    for (number, seat) in seats.into_iter().enumerate() {
        let (queued, answers) = (Arc::clone(&queued), Arc::clone(answers));
        thread::Builder::new()
            .name(format!("session-{number}"))
            .spawn(move || serve(seat, &queued, &answers))?;
    }
    answers.give(id, Done::Ready(reached.ready.clone()))?;
    while let Some(task) = read(tasks)? {
        if queue.send(task).is_err() {
            break;
        }
    }
    Ok(())
}

/// Does one task after the other in a session.
fn serve(mut seat: Seat, queued: &Mutex<Receiver<Task>>, answers: &Answers) {
    loop {
        let next = queued.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = next else { return };
        let id = task.id;
        let done = seat.work(task).unwrap_or_else(Done::Lost);
        if answers.give(id, done).is_err() {
            return;
        }
    }
}

/// Standard output, as it was: what the library prints goes where errors go.
struct Answers(Mutex<std::fs::File>);

impl Answers {
    fn take_standard_output() -> io::Result<Arc<Self>> {
        let own = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        Ok(Arc::new(Self(Mutex::new(own.into()))))
    }

    fn give(&self, id: u64, done: Done) -> io::Result<()> {
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut *to, &Outcome { id, done: Some(done) })
    }
}

/// The service ends its workers itself, when nothing is under way: a signal to
/// the whole group is not for this process.
fn outlive_signals() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _guard = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        // From the first time on the signal does nothing else, for good.
        drop(signal(kind)?);
    }
    Ok(())
}

/// The service is gone. Some libraries hang in their last function; they get a
/// moment for it.
fn end() {
    let watch = thread::Builder::new().name("end".to_owned()).spawn(|| {
        thread::sleep(LAST_MOMENT);
        // What is left of the process must not run: it is what hangs.
        let _ = kill_process(getpid(), Signal::KILL);
    });
    if watch.is_err() {
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

const LAST_MOMENT: Duration = Duration::from_secs(1);
