//! A host that calls whatever it likes in any order, with arguments that are
//! right, nearly right and wrong. It may get any answer of the standard's, and
//! never a crash, a wait without end, or a byte beside its buffers.
//!
//! A round begins with new sessions and keys and has a seed; what one thread does
//! in it comes from the seed alone. `KEYWARD_FUZZ_SEED=7 cargo test --release
//! --test fuzz -- --nocapture` runs a round again; KEYWARD_FUZZ_SECONDS says how
//! long to go on.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "these are tests")]
#![allow(clippy::multiple_unsafe_ops_per_block, reason = "these are tests")]

mod call;
mod codes;
#[path = "../common/mod.rs"]
mod common;
mod draw;
mod found;
mod honest;
mod mechanisms;
mod memory;
mod templates;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::alone::{alone_within, configure};
use common::raw::{Module, P256, Template};
use common::seeded::{self, Seeded};
use common::{PIN, Service};
use cryptoki_sys::*;
use draw::{Draw, Key, World};
use keyward_pkcs11::abi::{Signature, functions};
use memory::Memory;

use self::call::{Any, Call};

/// How long CI fuzzes.
const SHORT: Duration = Duration::from_secs(6);

/// Calls of one thread in one round.
const CALLS: usize = 1500;

/// So many calls find every way.
const LONG: u64 = 300_000;

/// What the standard, or we, never answer with CKR_OK.
const NEVER_OK: &[&str] = &[
    "C_GetFunctionStatus",
    "C_CancelFunction",
    "C_AsyncComplete",
    "C_AsyncGetID",
    "C_AsyncJoin",
    "C_WaitForSlotEvent",
];

/// No call takes longer, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn no_call_in_any_order_brings_the_host_down() {
    let patience = seeded::time(SHORT) + 3 * PATIENCE;
    let trail = common::target().join("tests/fuzz-calls");
    let tells = TellsTrail(&trail);
    alone_within(patience, || {
        let service = Service::start();
        let compat = ["--label", "steady", "--policy", "compat", "--so-pin"];
        let pins = [common::SO_PIN, "--pin", PIN];
        service.admin(&[&["token", "create"], &compat[..], &pins[..]].concat());
        service.token("wrecked");
        service.token(honest::FRESH);
        configure(&service.identity("client", &["steady", "wrecked", honest::FRESH], &[]));
        fuzz(&trail);
        // What panicked there was answered, and is a fault all the same.
        assert!(!service.log().contains("panicked"), "{}", service.log());
    });
    drop(tells);
}

/// Shows the calls that were under way when the process ended.
struct TellsTrail<'a>(&'a Path);

impl Drop for TellsTrail<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let calls = std::fs::read_to_string(self.0).unwrap_or_default();
            eprintln!("the last calls:\n{}", calls.replace('\0', ""));
        }
    }
}

fn fuzz(trail: &Path) {
    let module = Module::initialized();
    let slots = ["steady", "wrecked"].map(|label| slot(&module, label));
    let fresh = slot(&module, honest::FRESH);
    let world = World::new(module, slots, fresh);
    let trail = Trail::new(trail);
    std::thread::scope(|scope| {
        scope.spawn(|| trail.watch());
        let _over = Over(&trail);
        seeded::rounds(SHORT, |seed| round(&world, &trail, seed));
    });
    trail.sum_up();
    usual_work(&world);
}

fn slot(module: &Module, label: &str) -> CK_SLOT_ID {
    let matches = |slot: &CK_SLOT_ID| {
        let mut info = CK_TOKEN_INFO::default();
        let rv = common::raw::call!(module, C_GetTokenInfo(*slot, &raw mut info));
        rv == CKR_OK && info.label.starts_with(label.as_bytes())
    };
    module.slots().unwrap().into_iter().find(matches).unwrap()
}

fn round(world: &World, trail: &Trail, seed: u64) {
    begin(world);
    // One round in four is of several threads: what they do depends on the
    // machine as well.
    let threads = if seed.is_multiple_of(4) { 3 } else { 1 };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || calls(world, trail, seed, thread)))
            .collect();
        for thread in running {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

fn calls(world: &World, trail: &Trail, seed: u64, thread: usize) {
    let functions: Vec<(Signature, Any)> = list(world);
    let mut draw = Draw {
        world,
        rng: Seeded::new(seed.wrapping_mul(0x1_0001).wrapping_add(thread as u64)),
        memory: Memory::new(),
        key_type: None,
    };
    // What was begun, and in which session: it is gone on with, mostly.
    let mut begun: Option<(&str, CK_SESSION_HANDLE)> = None;
    for number in 0..CALLS {
        if world.sessions().len() < 3 || number % 50 == 0 {
            open(world);
        }
        draw.memory.clear();
        draw.key_type = None;
        let turn = Turn { trail, seed, thread, number };
        if draw.rng.once_in(60) {
            let mut make = |draw: &Draw<'_>, call: &Call| {
                let named = functions.iter().find(|(one, _)| one.0 == call.signature.0);
                turn.make(draw, call, named.unwrap().1)
            };
            honest::Host { draw: &mut draw, make: &mut make }.work();
            continue;
        }
        let following = begun.filter(|_| draw.rng.below(4) > 0);
        let (signature, function) = loop {
            let (signature, function) = functions[draw.rng.below(functions.len())];
            let takes_part = following.is_none_or(|(what, _)| goes_on(what, signature.0));
            let rare = match signature.0 {
                "C_Finalize" | "C_CloseAllSessions" | "C_Logout" => 20,
                "C_InitToken" => 8,
                "C_CloseSession" | "C_DestroyObject" | "C_GenerateKeyPair" => 3,
                _ => 1,
            };
            if takes_part && draw.rng.once_in(rare) {
                break (signature, function);
            }
        };
        let call = call::draw(&mut draw, signature, following.map(|(_, session)| session));
        let rv = turn.make(&draw, &call, function);
        match (signature.0.strip_suffix("Init"), call.session) {
            (Some(what), Some(session)) if rv == CKR_OK => begun = Some((what, session)),
            _ if draw.rng.once_in(8) => begun = None,
            _ => {}
        }
        if draw.world.sessions().len() > 12 {
            let session = draw.session();
            let _ = common::raw::call!(world.module, C_CloseSession(session));
            world.closed(session);
        }
    }
}

/// Where a thread is.
struct Turn<'a> {
    trail: &'a Trail,
    seed: u64,
    thread: usize,
    number: usize,
}

impl Turn<'_> {
    fn make(&self, draw: &Draw<'_>, call: &Call, function: Any) -> CK_RV {
        let Self { trail, seed, thread, number } = self;
        let name = call.signature.0;
        trail.begins(*thread, *seed, *number, name);
        let answer = call.make(draw, function);
        trail.ends(*thread, name, answer == Ok(CKR_OK));
        let rv = answer.unwrap_or_else(|what| {
            panic!("seed {seed}, thread {thread}, call {number}: {name} {what}")
        });
        if std::env::var_os("KEYWARD_FUZZ_TRACE").is_some() {
            println!("{seed} {thread} {number} {name} {rv:#x}");
        }
        rv
    }
}

/// Whether a function goes on with what `C_...Init` began; `what` is without Init.
fn goes_on(what: &str, function: &str) -> bool {
    if function.ends_with("Init") {
        return false;
    }
    match what.strip_prefix("C_Message") {
        Some(what) => function.strip_prefix("C_").is_some_and(|name| {
            name.starts_with(what) && name.contains("Message")
                || name.strip_prefix("Message").is_some_and(|name| name.starts_with(what))
        }),
        None => function.starts_with(what),
    }
}

/// All functions, and C_GetInfo of each list besides.
fn list(world: &World) -> Vec<(Signature, Any)> {
    let module = &world.module;
    let infos = [module.list().C_GetInfo, module.list_3_2().C_GetInfo];
    let infos = infos.map(|info| ("C_GetInfo", info.unwrap() as *const ()));
    let exported = functions().map(|(name, _)| (*name, module.address(name)));
    // Else another copy of the module has come in between.
    assert_eq!(module.list().C_Sign.unwrap() as *const (), module.address("C_Sign"));
    exported
        .chain(infos)
        .map(|(name, address)| {
            let signature = functions().find(|(known, _)| *known == name).unwrap();
            // SAFETY: it is a C function whose arguments all go where u64 go.
            (*signature, unsafe { std::mem::transmute::<*const (), Any>(address) })
        })
        .collect()
}

/// New sessions; of what the last round has left in the token, the keys of this
/// test alone.
fn begin(world: &World) {
    let module = &world.module;
    world.forget();
    let rv = module.initialize();
    assert!(matches!(rv, CKR_OK | CKR_CRYPTOKI_ALREADY_INITIALIZED), "{rv:#x}");
    for slot in world.slots {
        assert_eq!(common::raw::call!(module, C_CloseAllSessions(slot)), CKR_OK);
    }
    let session = module.open(world.slots[0], CKF_RW_SESSION).unwrap();
    module.login(session, PIN).unwrap();
    world.opened(session, world.slots[0]);
    for object in module.find(session, Template::new().flag(CKA_TOKEN, true)).unwrap() {
        // The keys of this test cannot be destroyed.
        let _ = common::raw::call!(module, C_DestroyObject(session, object));
    }
    if module.find(session, keys()).unwrap().is_empty() {
        make_keys(module, session);
    }
    open(world);
}

/// What the keys of this test have in common.
fn keys() -> Template {
    Template::new().flag(CKA_TOKEN, true).bytes(CKA_ID, b"fuzz").flag(CKA_DESTROYABLE, false)
}

/// A key of each kind, which may do all that its kind can.
fn make_keys(module: &Module, session: CK_SESSION_HANDLE) {
    let pair = |number, public: fn(Template) -> Template| {
        let private = keys().flag(CKA_EXTRACTABLE, true).flag(CKA_SENSITIVE, false);
        let private = match number {
            CKM_EC_KEY_PAIR_GEN => private.flag(CKA_DERIVE, true),
            _ => private,
        };
        module.generate(session, number, public(keys()), private).unwrap();
    };
    pair(CKM_EC_KEY_PAIR_GEN, |keys| keys.bytes(CKA_EC_PARAMS, P256));
    pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, |keys| keys.bytes(CKA_EC_PARAMS, templates::ED25519));
    pair(CKM_RSA_PKCS_KEY_PAIR_GEN, |keys| keys.number(CKA_MODULUS_BITS, 2048));
    pair(CKM_ML_DSA_KEY_PAIR_GEN, |keys| keys.number(CKA_PARAMETER_SET, 1));
    pair(CKM_ML_KEM_KEY_PAIR_GEN, |keys| keys.number(CKA_PARAMETER_SET, 1));
    for (kind, length) in
        [(CKK_AES, 16), (CKK_AES, 32), (CKK_GENERIC_SECRET, 32), (CKK_DES3, 24), (CKK_HKDF, 32)]
    {
        let mut template = keys()
            .number(CKA_CLASS, CKO_SECRET_KEY)
            .number(CKA_KEY_TYPE, kind)
            .bytes(CKA_VALUE, &(1..=length).collect::<Vec<u8>>())
            .flag(CKA_SENSITIVE, false)
            .flag(CKA_EXTRACTABLE, true);
        for usage in
            [CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE]
        {
            template = template.flag(usage, true);
        }
        module.create(session, template).unwrap();
    }
}

/// More sessions, logged in, and the keys that are there; errors are those of a
/// token in the middle of something else.
fn open(world: &World) {
    let module = &world.module;
    let _ = module.initialize();
    for slot in [world.slots[0], world.slots[0], world.slots[0], world.slots[1]] {
        let Ok(session) = module.open(slot, CKF_RW_SESSION) else { continue };
        world.opened(session, slot);
        if slot == world.slots[0] {
            let _ = module.login(session, PIN);
            let found = module.find(session, keys()).unwrap_or_default();
            let number = |object, attribute| {
                let value = module.get(session, object, attribute).ok()?;
                Some(CK_ULONG::from_ne_bytes(value.try_into().ok()?))
            };
            let key = |handle| {
                let (class, kind) = (number(handle, CKA_CLASS)?, number(handle, CKA_KEY_TYPE)?);
                Some(Key { handle, class, kind })
            };
            let found: Vec<_> = found.into_iter().filter_map(key).collect();
            if !found.is_empty() {
                world.keys(found);
            }
        }
    }
}

/// After all that, a host does what hosts do.
fn usual_work(world: &World) {
    begin(world);
    let (module, session) = (&world.module, world.sessions()[0].session);
    let (public, private) = module.generate_ec(session, P256, true);
    let digest = [7; 32];
    let signature = module.sign_with(session, CKM_ECDSA, private, &digest).unwrap();
    module.verify_with(session, CKM_ECDSA, public, &digest, &signature).unwrap();
    assert_eq!(module.finalize(), CKR_OK);
}

/// What each thread is about to call: in a file, which outlives a crash, with the
/// time for the one who watches.
struct Trail {
    file: std::fs::File,
    started: Instant,
    since: [AtomicU64; 4],
    over: AtomicBool,
    /// How often each function was called, and how often it said CKR_OK.
    calls: Mutex<BTreeMap<&'static str, (u64, u64)>>,
}

/// Ends the watch, also when a round has panicked.
struct Over<'a>(&'a Trail);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

impl Trail {
    fn new(path: &Path) -> Self {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = std::fs::File::create(path).unwrap();
        let (since, over, calls) = Default::default();
        Self { file, started: Instant::now(), since, over, calls }
    }

    fn begins(&self, thread: usize, seed: u64, number: usize, function: &str) {
        let line = format!("seed {seed}, thread {thread}, call {number}: {function:<32}\n");
        self.file.write_all_at(line.as_bytes(), thread as u64 * 128).unwrap();
        let now = self.started.elapsed().as_millis() as u64 + 1;
        self.since[thread].store(now, Ordering::SeqCst);
    }

    fn ends(&self, thread: usize, function: &'static str, fine: bool) {
        self.since[thread].store(0, Ordering::SeqCst);
        let mut calls = self.calls.lock().unwrap();
        let (made, succeeded) = calls.entry(function).or_default();
        *made += 1;
        *succeeded += u64::from(fine);
    }

    /// A long run has seen every function succeed: else it has not tried what lies
    /// behind the checks.
    fn sum_up(&self) {
        let calls = self.calls.lock().unwrap();
        let (made, succeeded) =
            calls.values().fold((0, 0), |(made, fine), one| (made + one.0, fine + one.1));
        println!("{made} calls, {succeeded} of them CKR_OK");
        for (function, (made, succeeded)) in &*calls {
            println!("{function:<32} {made:>8} {succeeded:>8}");
        }
        let never = |function: &&str| {
            !NEVER_OK.contains(function) && calls.get(*function).is_none_or(|(_, fine)| *fine == 0)
        };
        let names = functions().map(|(name, _)| *name);
        let missing: Vec<_> = names.filter(never).collect();
        if made >= LONG {
            assert!(missing.is_empty(), "these have never succeeded: {missing:?}");
        }
    }

    /// Ends the process when a call does not come back.
    fn watch(&self) {
        while !self.over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.started.elapsed();
            for (thread, since) in self.since.iter().enumerate() {
                let since = Duration::from_millis(since.load(Ordering::SeqCst));
                if !since.is_zero() && now.saturating_sub(since) > PATIENCE {
                    eprintln!("thread {thread}: a call does not come back");
                    std::process::abort();
                }
            }
        }
    }
}
