//! Bytes that are no frame, or nearly one: an error and no panic, and no more
//! memory than a frame has reason to ask for.

#![allow(clippy::unwrap_used, missing_docs, reason = "these are tests")]

#[path = "../../../tests/common/seeded.rs"]
mod seeded;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward_wire::parts::INPUT_LIMIT;
use keyward_wire::request::Operation;
use keyward_wire::{Request, Response, frame};
use prost::Message;
use seeded::Seeded;

/// Counts what is allocated, and the most there was at once.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// So many bytes of memory may one byte of a frame become: a message without
/// content takes two bytes there, and a structure and a doubled vector here.
const GROWTH: usize = 512;

#[test]
fn no_bytes_make_the_decoder_panic_or_ask_for_much() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/0.1");
    let golden: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(golden.len() > 40);
    let mut heads = 0;
    seeded::rounds(Duration::from_secs(1), |seed| {
        let mut rng = Seeded::new(seed);
        for _ in 0..200 {
            let mut bytes = golden[rng.below(golden.len())].clone();
            match rng.below(8) {
                0 => {
                    let length = rng.below(200);
                    bytes = rng.bytes(length);
                }
                1 => {
                    let other = &golden[rng.below(golden.len())];
                    let at = rng.below(bytes.len());
                    bytes.splice(at.., other[rng.below(other.len())..].iter().copied());
                }
                2 => rng.mutate(&mut bytes),
                // The header is right again, so that the body is looked at.
                _ => {
                    let mut body = bytes.split_off(frame::HEADER);
                    rng.mutate(&mut body);
                    bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
                    bytes.extend(body);
                }
            }
            let request = read::<Request>(&bytes);
            read::<Response>(&bytes);
            // Heads of long requests: what is let in can be put together.
            if let Some(Operation::Long(long)) = request.and_then(|request| request.operation)
                && let Ok(length) = long.check()
            {
                assert!(length <= INPUT_LIMIT + 16 && long.with(vec![7]).is_some());
                heads += 1;
            }
        }
    });
    assert!(heads > 0);
}

fn read<M: Message + Default>(bytes: &[u8]) -> Option<M> {
    let mut buffer = bytes.to_vec();
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let result = frame::take::<M>(&mut buffer);
    let asked = MOST.load(Ordering::Relaxed).saturating_sub(before);
    assert!(asked <= 512 + GROWTH * bytes.len(), "{asked} bytes for {} of a frame", bytes.len());
    let message = result.ok().flatten()?;
    // What was read can be written, and is then read as the same.
    let again = message.encode_to_vec();
    assert!(again == frame::decode::<M>(&again).unwrap().encode_to_vec());
    Some(message)
}
