//! The host's memory for one call. Behind each block there is a page that nobody
//! may touch, or a few bytes and then that page; the bytes around a block must be
//! as they were after the call, and so must what the module was only to read.

use std::alloc::{Layout, alloc_zeroed, dealloc};

const PAGE: usize = 4096;
/// What one block may hold; the last slots are bigger.
const SMALL: usize = 4 * PAGE;
const BIG: usize = 2 << 20;
const SLOTS: usize = 128;
const BIG_SLOTS: usize = 4;
const GUARD: u8 = 0xa5;
/// So many bytes before a block are looked at.
const BEFORE: usize = 64;

pub struct Memory {
    /// Where the slots end; there begins the page that nobody may touch.
    ends: Vec<(*mut u8, usize)>,
    used: usize,
    big_used: usize,
    blocks: Vec<Block>,
}

struct Block {
    start: *mut u8,
    length: usize,
    slack: usize,
    /// What it has to hold after the call.
    kept: Option<Vec<u8>>,
}

unsafe extern "C" {
    fn mprotect(address: *mut u8, length: usize, protection: i32) -> i32;
}

const READ_AND_WRITE: i32 = 3;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size + PAGE, PAGE).unwrap()
}

impl Drop for Memory {
    fn drop(&mut self) {
        for (end, size) in &self.ends {
            // SAFETY: `new` has allocated and protected it just so.
            unsafe {
                assert_eq!(mprotect(*end, PAGE, READ_AND_WRITE), 0);
                dealloc(end.sub(*size), layout(*size));
            }
        }
    }
}

impl Memory {
    pub fn new() -> Self {
        let sizes = [(SMALL, SLOTS), (BIG, BIG_SLOTS)];
        let ends = sizes.into_iter().flat_map(|(size, count)| (0..count).map(move |_| size));
        let ends = ends
            .map(|size| {
                let layout = layout(size);
                // SAFETY: the size is not zero.
                let end = unsafe { alloc_zeroed(layout).add(size) };
                // SAFETY: the page is within what was allocated.
                assert_eq!(unsafe { mprotect(end, PAGE, 0) }, 0);
                (end, size)
            })
            .collect();
        Self { ends, used: 0, big_used: 0, blocks: Vec::new() }
    }

    /// Forgets all blocks.
    pub fn clear(&mut self) {
        (self.used, self.big_used) = (0, 0);
        self.blocks.clear();
    }

    /// A block that the module may only read.
    pub fn put(&mut self, bytes: &[u8], slack: usize) -> *mut u8 {
        let start = self.room(bytes.len(), slack);
        // SAFETY: the block is that long.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        self.blocks.last_mut().unwrap().kept = Some(bytes.to_vec());
        start
    }

    /// A block that the module may write.
    pub fn room(&mut self, length: usize, slack: usize) -> *mut u8 {
        let slot = if length + slack + BEFORE <= SMALL {
            self.used += 1;
            assert!(self.used <= SLOTS, "a call with too many blocks");
            self.used - 1
        } else {
            self.big_used += 1;
            assert!(self.big_used <= BIG_SLOTS, "a call with too many big blocks");
            SLOTS + self.big_used - 1
        };
        let (end, size) = self.ends[slot];
        assert!(length + slack + BEFORE <= size);
        // SAFETY: all of it is in the slot.
        let start = unsafe {
            let start = end.sub(slack + length);
            std::ptr::write_bytes(start.sub(BEFORE), GUARD, BEFORE + length + slack);
            start
        };
        self.blocks.push(Block { start, length, slack, kept: None });
        start
    }

    /// A structure, in a block that may be longer.
    pub fn structure<T: Copy>(&mut self, value: T, more: usize, slack: usize) -> *mut T {
        let start = self.room(size_of::<T>() + more, slack).cast::<T>();
        // SAFETY: the block is that long.
        unsafe { start.write_unaligned(value) };
        start
    }

    /// What the module has done that it may not.
    pub fn check(&self) -> Result<(), String> {
        for block in &self.blocks {
            // SAFETY: all of it is in the block's slot.
            let (before, middle, behind) = unsafe {
                (
                    std::slice::from_raw_parts(block.start.sub(BEFORE), BEFORE),
                    std::slice::from_raw_parts(block.start, block.length),
                    std::slice::from_raw_parts(block.start.add(block.length), block.slack),
                )
            };
            if before.iter().chain(behind).any(|byte| *byte != GUARD) {
                return Err(format!("wrote beside a block of {} bytes", block.length));
            }
            if block.kept.as_ref().is_some_and(|kept| kept != middle) {
                return Err(format!("wrote to {} bytes that it may only read", block.length));
            }
        }
        Ok(())
    }
}

#[test]
fn what_is_done_beside_a_block_is_seen() {
    let mut memory = Memory::new();
    let (given, room) = (memory.put(&[1, 2, 3], 2), memory.room(10, 4));
    // SAFETY: all of it is in the blocks' slots.
    let change = |place: *mut u8| unsafe {
        place.write(place.read() ^ 1);
        let seen = memory.check();
        place.write(place.read() ^ 1);
        assert_eq!(memory.check(), Ok(()));
        seen.is_err()
    };
    // SAFETY: as above.
    unsafe {
        for place in [given, given.add(2), given.add(3), given.sub(1), room.sub(64), room.add(13)] {
            assert!(change(place));
        }
        assert!(!change(room) && !change(room.add(9)));
    }
}
