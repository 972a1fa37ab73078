//! What C_Sign costs with a key in an HSM behind the service, beside the same
//! key in the same HSM, used directly.
//!
//! The HSM is SoftHSM. Measured in turns: the ratio is what to look at.
//!
//! `cargo bench --bench hsm` takes half a minute, `-- --short` a few seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are measurements")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use common::Service;
use common::softhsm::SoftHsm;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

/// A library with as many sessions as threads are to sign.
struct Side {
    module: Pkcs11,
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let (rounds, count) = if short { (3, 50) } else { (15, 300) };
    let hsm = SoftHsm::new();
    for (label, id, kind) in [("rsa", "01", "rsa:2048"), ("p256", "02", "EC:prime256v1")] {
        hsm.tool(&["--keypairgen", "--key-type", kind, "--id", id, "--label", label]);
    }
    let service = Service::with_hsm(&hsm.section(&hsm.module(), ""));
    service.token("bench");
    service.admin(&["token", "attach", "bench", "--all"]);
    let config = service.identity("bench", &["bench"], &[]);
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("KEYWARD_CONFIG", config) };
    // SAFETY: as above.
    unsafe { std::env::set_var("SOFTHSM2_CONF", hsm.conf()) };
    let direct = Side::load(hsm.module().to_str().unwrap());
    let ours = Side::load(common::module().to_str().unwrap());

    println!("Microseconds for one signature; medians of {rounds} rounds of {count}, in turns.");
    println!(
        "{:<14} {:>8} {:>16} {:>16} {:>7}",
        "", "threads", "SoftHSM itself", "behind Keyward", "ratio"
    );
    for (name, label) in [("RSA-2048", "rsa"), ("ECDSA P-256", "p256")] {
        for threads in [1, 4] {
            let mut times = [const { Vec::new() }; 2];
            for round in 0..=rounds {
                let taken = [&direct, &ours].map(|side| side.sign(label, threads, count));
                // The first round warms up.
                if round > 0 {
                    times.iter_mut().zip(taken).for_each(|(all, one)| all.push(one));
                }
            }
            let [direct, ours] = times.map(median);
            println!("{name:<14} {threads:>8} {direct:>16.1} {ours:>16.1} {:>7.2}", ours / direct);
        }
    }
}

impl Side {
    fn load(path: &str) -> Self {
        let module = Pkcs11::new(path).unwrap();
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        Self { module }
    }

    fn session(&self) -> Session {
        let slots = self.module.get_slots_with_initialized_token().unwrap();
        let session = self.module.open_ro_session(slots[0]).unwrap();
        // Whoever comes second finds that somebody has logged in.
        let _ = session.login(UserType::User, Some(&AuthPin::new(common::PIN.into())));
        session
    }

    /// Microseconds for one of `count` signatures, which so many threads share.
    fn sign(&self, label: &str, threads: usize, count: usize) -> f64 {
        let begin = Arc::new(Barrier::new(threads + 1));
        let sessions: Vec<_> = (0..threads).map(|_| self.session()).collect();
        thread::scope(|scope| {
            let mut running = Vec::new();
            for session in sessions {
                let key = private_key(&session, label);
                let begin = Arc::clone(&begin);
                let is_rsa = label == "rsa";
                running.push(scope.spawn(move || {
                    let mechanism = if is_rsa { Mechanism::RsaPkcs } else { Mechanism::Ecdsa };
                    begin.wait();
                    for _ in 0..count / threads {
                        session.sign(&mechanism, key, &[7; 32]).unwrap();
                    }
                    session
                }));
            }
            begin.wait();
            let started = Instant::now();
            // The sessions end after the clock has stopped.
            let ended: Vec<_> = running.into_iter().map(|one| one.join().unwrap()).collect();
            let taken = started.elapsed();
            drop(ended);
            taken.as_secs_f64() * 1e6 / count as f64
        })
    }
}

fn private_key(session: &Session, label: &str) -> ObjectHandle {
    let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(label.into())];
    session.find_objects(&template).unwrap()[0]
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
