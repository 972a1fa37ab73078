//! Several replicas, of which some do not do as they should: no call fails
//! while one works, and none waits for one that does not.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]

mod common;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{BlackHole, Mood, Pki, Replica, hello, question};
use keyward_client::{Client, Errand, Error, Progress};
use keyward_wire::request::Operation;
use keyward_wire::{ErrorCode, GenerateKeyPair, Request, Response, SetPin};

/// What a busy machine may add to anything.
const SLACK: Duration = Duration::from_millis(400);

/// A probe, as the module's documentation has it.
const PROBE: Duration = Duration::from_millis(250);

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A client that begins with the first of these endpoints.
fn client(pki: &Pki, endpoints: &[&str], deadlines: &str) -> Client {
    loop {
        let client = Client::new(pki.config(endpoints, deadlines));
        if format!("{client:?}").contains(&format!("\"{}", endpoints[0])) {
            return client;
        }
    }
}

/// Two replicas, and a client that begins with the first.
fn pair(deadlines: &str) -> (Pki, Replica, Replica, Client) {
    let pki = Pki::new();
    let (home, other) = (pki.replica(), pki.replica());
    let client = client(&pki, &[&home.endpoint, &other.endpoint], deadlines);
    (pki, home, other, client)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// Calls from this many threads at once; the slowest.
fn at_once(client: &Client, threads: usize) -> Duration {
    let together = Barrier::new(threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    let (result, took) = timed(|| client.call(question()));
                    result.unwrap();
                    took
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    })
}

#[test]
fn who_says_later_is_asked_again_when_it_said() {
    let pki = Pki::new();
    let replica = pki.replica();
    let client = client(&pki, &[&replica.endpoint], "");
    replica.is(Mood::Says(ErrorCode::Later, 400));
    let (result, took) = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(milliseconds(200));
            replica.is(Mood::Answers);
        });
        timed(|| client.call(question()))
    });
    result.unwrap();
    assert!(took >= milliseconds(400), "{took:?}");
    assert_eq!(replica.requests(), 2, "it was asked before its time");
}

#[test]
fn what_one_replica_cannot_answer_now_another_is_asked_at_once() {
    for code in [ErrorCode::Later, ErrorCode::StoreUnavailable, ErrorCode::RevisionBehind] {
        let (_pki, home, other, client) = pair("");
        client.call(question()).unwrap();
        home.is(Mood::Says(code, 2000));
        let (result, took) = timed(|| client.call(question()));
        result.unwrap();
        assert!(took < milliseconds(1000), "{code:?}: {took:?}");
        assert_eq!((home.requests(), other.requests()), (2, 1), "{code:?}");
    }
}

/// An answer is an answer, even if it is no help: the service is not down.
#[test]
fn what_none_can_answer_is_told_and_is_no_outage() {
    for code in [ErrorCode::StoreUnavailable, ErrorCode::RevisionBehind] {
        let (_pki, home, other, client) = pair("call_ms = 600");
        for replica in [&home, &other] {
            replica.is(Mood::Says(code, 0));
        }
        let (result, took) = timed(|| client.call(question()));
        assert!(matches!(&result, Err(Error::Service(error)) if error.code == code), "{result:?}");
        assert!(took < milliseconds(600) + SLACK, "{took:?}");
        assert!(home.requests() > 1 && other.requests() > 1, "each is asked more than once");
        for replica in [&home, &other] {
            replica.is(Mood::Answers);
        }
        // 300 ms would be too long for a probe.
        let (result, _) = timed(|| client.call(question()));
        result.unwrap();
    }
}

/// The last attempt may end before its answer comes.
#[test]
fn what_was_told_is_the_reason_though_the_last_attempt_had_no_answer() {
    let (_pki, home, other, client) = pair("call_ms = 800");
    for replica in [&home, &other] {
        replica.is(Mood::Says(ErrorCode::StoreUnavailable, 0));
    }
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(milliseconds(300));
            home.is(Mood::Silent);
            other.is(Mood::Silent);
        });
        client.call(question())
    });
    let Err(Error::Service(error)) = &result else { panic!("{result:?}") };
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
}

/// Making a key may take a minute, being told that it cannot be made may not.
#[test]
fn a_key_that_cannot_be_made_is_refused_as_soon_as_anything_else() {
    let (_pki, mut home, mut other, client) = pair("call_ms = 600");
    let make = || Request {
        operation: Some(Operation::GenerateKeyPair(GenerateKeyPair::default())),
        ..Request::default()
    };
    for replica in [&home, &other] {
        replica.is(Mood::Says(ErrorCode::StoreUnavailable, 0));
    }
    let (result, took) = timed(|| client.call(make()));
    let Err(Error::Service(error)) = &result else { panic!("{result:?}") };
    assert_eq!(error.code, ErrorCode::StoreUnavailable);
    assert!(took < milliseconds(600) + SLACK, "{took:?}");
    home.stop();
    other.stop();
    let (result, took) = timed(|| client.call(make()));
    assert!(matches!(&result, Err(Error::Unreachable { .. })), "{result:?}");
    assert!(took < milliseconds(600) + SLACK, "{took:?}");
}

/// It shakes hands and then says nothing.
#[test]
fn a_silent_replica_is_left_early_when_another_works() {
    let (_pki, home, other, client) = pair("");
    at_once(&client, 64);
    home.is(Mood::Silent);
    let slowest = at_once(&client, 64);
    // A quarter of request_ms for the eight that were on their way, and nothing
    // more for those that waited behind them.
    println!("64 threads, one replica silent: slowest {slowest:?}");
    assert!(slowest < milliseconds(500) + SLACK, "{slowest:?}");
    let asked = home.requests();
    let mut most = Duration::ZERO;
    for _ in 0..200 {
        let (result, took) = timed(|| client.call(question()));
        result.unwrap();
        most = most.max(took);
        std::thread::sleep(milliseconds(5));
    }
    println!("200 calls afterwards: slowest {most:?}");
    assert!(other.requests() >= 64, "{}", other.requests());
    // It says hello, so it was tried again; not more often than its rests allow.
    assert!(home.requests() - asked <= 4, "{} requests", home.requests() - asked);
}

#[test]
fn a_decryption_within_a_second_finds_the_other_replica_in_time() {
    let (_pki, home, _other, client) = pair("");
    client.call(question()).unwrap();
    home.is(Mood::Silent);
    let (result, took) = timed(|| client.call_within(question(), milliseconds(1000)));
    result.unwrap();
    println!("found after {took:?}");
    assert!(took < milliseconds(1000));
}

#[test]
fn a_draining_replica_is_left_without_an_error_and_found_again() {
    let (_pki, home, other, client) = pair("");
    at_once(&client, 8);
    home.is(Mood::Drains);
    client.call(question()).unwrap();
    let asked = home.requests();
    for _ in 0..10 {
        client.call(question()).unwrap();
    }
    assert_eq!(home.requests(), asked, "it was asked again");
    assert_eq!(other.requests(), 10);
    home.is(Mood::Answers);
    returns_to(&client, &home);
}

/// Calls until the replica gets them all again.
fn returns_to(client: &Client, home: &Replica) {
    let (asked, deadline) = (home.requests(), Instant::now() + Duration::from_secs(20));
    let mut most = Duration::ZERO;
    while home.requests() < asked + 50 {
        let (result, took) = timed(|| client.call(question()));
        result.unwrap();
        most = most.max(took);
        assert!(Instant::now() < deadline, "it does not come back");
        std::thread::sleep(milliseconds(2));
    }
    println!("back home; slowest call on the way {most:?}");
}

#[test]
fn a_replica_that_is_killed_and_started_under_load_costs_no_call() {
    let (_pki, mut home, other, client) = pair("");
    let over = AtomicBool::new(false);
    let (done, slowest) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let (result, took) = timed(|| client.call(question()));
                    result.unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                    let took = u64::try_from(took.as_millis()).unwrap();
                    slowest.fetch_max(took, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..3 {
            std::thread::sleep(milliseconds(200));
            home.stop();
            std::thread::sleep(milliseconds(300));
            home.start();
        }
        over.store(true, Ordering::SeqCst);
    });
    println!("{done:?} calls, 0 failed, slowest {slowest:?} ms");
    assert!(other.requests() > 0);
    returns_to(&client, &home);
}

#[test]
fn a_black_hole_delays_no_call_but_the_first() {
    let pki = Pki::new();
    let (hole, other) = (BlackHole::new(), pki.replica());
    let client = client(&pki, &[&hole.endpoint, &other.endpoint], "");
    let (result, first) = timed(|| client.call(question()));
    result.unwrap();
    assert!(first < milliseconds(100) + SLACK, "{first:?}");
    let mut most = Duration::ZERO;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        // New connections all the time.
        other.is(Mood::Closes);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(milliseconds(5));
                other.is(Mood::Answers);
            });
            let (result, took) = timed(|| client.call(question()));
            result.unwrap();
            most = most.max(took);
        });
    }
    println!("first {first:?}, later at most {most:?}");
    assert!(most < milliseconds(300) + SLACK, "{most:?}");
}

/// The first call after it works, whatever the other endpoints do.
#[test]
fn a_probe_reaches_the_replica_that_is_back_behind_one_that_is_not() {
    let pki = Pki::new();
    let (hole, mut other) = (BlackHole::new(), pki.replica());
    for endpoints in [[&hole.endpoint, &other.endpoint], [&other.endpoint, &hole.endpoint]]
        .map(|pair| pair.map(String::clone))
    {
        let client = client(&pki, &[&endpoints[0], &endpoints[1]], "call_ms = 600");
        other.stop();
        let (result, took) = timed(|| client.call(question()));
        assert!(matches!(result, Err(Error::Unreachable { .. })), "{result:?}");
        assert!(took < milliseconds(600) + SLACK, "{took:?}");
        for _ in 0..4 {
            let (result, took) = timed(|| client.call(question()));
            assert!(matches!(result, Err(Error::Unreachable { .. })), "{result:?}");
            assert!(took < PROBE + SLACK, "{took:?}");
        }
        other.start();
        client.call(question()).unwrap();
    }
}

/// Once the first call has used up its time, those under way do not use up
/// theirs.
#[test]
fn no_thread_waits_on_when_the_service_has_come_to_count_as_down() {
    let (_pki, home, other, client) = pair("call_ms = 1500");
    at_once(&client, 16);
    for replica in [&home, &other] {
        replica.is(Mood::Silent);
    }
    let started = Instant::now();
    let late: Vec<(u64, Duration)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..64_u64)
            .map(|number| {
                let client = &client;
                scope.spawn(move || {
                    let delay = number * 1400 / 64;
                    std::thread::sleep(milliseconds(delay));
                    client.call(question()).unwrap_err();
                    (delay, started.elapsed())
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let last = late.iter().map(|(_, ended)| *ended).max().unwrap();
    println!("the first deadline was at 1500 ms, the last of 64 threads ended at {last:?}");
    assert!(last < milliseconds(1500) + PROBE + SLACK, "{late:?}");
    home.is(Mood::Answers);
    client.call(question()).unwrap();
}

/// The token's description is asked for with a quarter of a second; that this
/// passes does not make the service count as down.
#[test]
fn a_short_question_begins_no_outage() {
    let pki = Pki::new();
    let replica = pki.replica();
    let client = client(&pki, &[&replica.endpoint], "");
    replica.is(Mood::Silent);
    client.call_within(question(), PROBE).unwrap_err();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(milliseconds(900));
            replica.is(Mood::Answers);
        });
        client.call(question()).unwrap();
    });
}

/// Takes an errand to its end, without waiting for it in any step.
fn run(client: &Client, mut errand: Errand) -> Result<Vec<Response>, Error> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (step, took) = timed(|| client.step(errand));
        assert!(took < SLACK, "{took:?}");
        match step? {
            Progress::Answered(frames) => return Ok(frames),
            Progress::OnItsWay(on) => errand = on,
        }
        assert!(Instant::now() < deadline, "the errand never ends");
        std::thread::sleep(milliseconds(1));
    }
}

#[test]
fn an_errand_has_a_connection_of_its_own_and_calls_go_on() {
    let pki = Pki::new();
    let replica = pki.replica();
    let client = client(&pki, &[&replica.endpoint], "");
    client.call(question()).unwrap();
    replica.is(Mood::Silent);
    let errand = client.errand(question()).unwrap();
    let Ok(Progress::OnItsWay(mut errand)) = client.step(errand) else { panic!("an answer") };
    // It comes to be asked, and is not answered.
    let deadline = Instant::now() + Duration::from_secs(10);
    while replica.requests() < 2 {
        let Ok(Progress::OnItsWay(on)) = client.step(errand) else { panic!("an answer") };
        errand = on;
        assert!(Instant::now() < deadline, "it is never asked");
        std::thread::sleep(milliseconds(1));
    }
    replica.is(Mood::Answers);
    client.call(question()).unwrap();
    assert_eq!(replica.connections(), 2);
    drop(errand);

    run(&client, client.errand(question()).unwrap()).unwrap();
    // An older service does not know what it is asked.
    replica.is(Mood::Says(ErrorCode::OperationUnknown, 0));
    let refused = run(&client, client.errand(question()).unwrap()).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::OperationUnknown);
    replica.is(Mood::Answers);
    client.call(question()).unwrap();
    replica.is(Mood::Closes);
    let closed = run(&client, client.errand(question()).unwrap()).unwrap_err();
    assert!(matches!(closed, Error::Unreachable { .. }), "{closed:?}");
}

#[test]
fn a_repeated_change_carries_the_same_operation_id() {
    let (_pki, home, other, client) = pair("");
    client.call(question()).unwrap();
    home.is(Mood::Closes);
    let change =
        Request { operation: Some(Operation::SetPin(SetPin::default())), ..Request::default() };
    client.call(change).unwrap();
    let (first, second) = (home.operations(), other.operations());
    assert_eq!(first.last().unwrap().len(), 16);
    assert_eq!(first.last(), second.last());
}

#[test]
fn a_replica_of_another_service_is_passed_over_and_two_are_an_error_at_once() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let (foreign, foreign_too, own) = (stranger.replica(), stranger.replica(), pki.replica());
    let good = client(&pki, &[&foreign.endpoint, &own.endpoint], "");
    let (result, took) = timed(|| good.call(question()));
    result.unwrap();
    assert!(took < SLACK + milliseconds(100), "{took:?}");
    let bad = client(&pki, &[&foreign.endpoint, &foreign_too.endpoint], "");
    let (result, took) = timed(|| bad.call(question()));
    assert!(matches!(result, Err(Error::Refused { .. })), "{result:?}");
    assert!(took < milliseconds(1000), "{took:?}");
}

#[test]
fn an_endpoint_may_be_a_name() {
    let pki = Pki::new();
    let replica = pki.replica();
    let port = replica.endpoint.rsplit_once(':').unwrap().1;
    let client = client(&pki, &[&format!("localhost:{port}")], "");
    client.call(hello()).unwrap();
    assert_eq!(replica.connections(), 1);
}

/// All of those who wait for the probe that succeeds go on.
#[test]
fn all_threads_go_on_with_the_first_probe_that_is_answered() {
    let pki = Pki::new();
    let mut replica = pki.replica();
    let client = client(&pki, &[&replica.endpoint], "call_ms = 300");
    for _ in 0..20 {
        replica.stop();
        client.call(question()).unwrap_err();
        replica.start();
        at_once(&client, 32);
    }
}
