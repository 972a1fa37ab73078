//! What arguments are drawn from: chance, the host's memory, and what the calls
//! before have brought.

use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki_sys::*;

use crate::common::raw::Module;
use crate::common::seeded::Seeded;
use crate::memory::Memory;

/// What all threads share.
pub struct World {
    pub module: Module,
    /// The token whose PINs nobody changes, and the one that may be wrecked.
    pub slots: [CK_SLOT_ID; 2],
    /// The token that only honest work touches.
    pub fresh: CK_SLOT_ID,
    sessions: Mutex<Vec<Opened>>,
    /// The keys that are made for this.
    keys: Mutex<Vec<Key>>,
    objects: Mutex<Vec<CK_OBJECT_HANDLE>>,
    outputs: Mutex<Vec<Vec<u8>>>,
}

#[derive(Clone, Copy)]
pub struct Opened {
    pub session: CK_SESSION_HANDLE,
    pub slot: CK_SLOT_ID,
}

#[derive(Clone, Copy)]
pub struct Key {
    pub handle: CK_OBJECT_HANDLE,
    pub class: CK_OBJECT_CLASS,
    pub kind: CK_KEY_TYPE,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(module: Module, slots: [CK_SLOT_ID; 2], fresh: CK_SLOT_ID) -> Self {
        let (sessions, keys, objects, outputs) = Default::default();
        Self { module, slots, fresh, sessions, keys, objects, outputs }
    }

    pub fn forget(&self) {
        locked(&self.sessions).clear();
        locked(&self.objects).clear();
        locked(&self.outputs).clear();
    }

    pub fn opened(&self, session: CK_SESSION_HANDLE, slot: CK_SLOT_ID) {
        locked(&self.sessions).push(Opened { session, slot });
    }

    pub fn closed(&self, session: CK_SESSION_HANDLE) {
        locked(&self.sessions).retain(|one| one.session != session);
    }

    pub fn closed_all(&self, slot: Option<CK_SLOT_ID>) {
        locked(&self.sessions).retain(|one| slot.is_some_and(|slot| one.slot != slot));
    }

    pub fn sessions(&self) -> Vec<Opened> {
        locked(&self.sessions).clone()
    }

    pub fn keys(&self, keys: Vec<Key>) {
        *locked(&self.keys) = keys;
    }

    pub fn object(&self, handle: CK_OBJECT_HANDLE) {
        let mut objects = locked(&self.objects);
        if objects.len() > 200 {
            objects.remove(0);
        }
        objects.push(handle);
    }

    pub fn output(&self, bytes: Vec<u8>) {
        let mut outputs = locked(&self.outputs);
        if outputs.len() > 40 {
            outputs.remove(0);
        }
        outputs.push(bytes);
    }
}

/// One thread's draws.
pub struct Draw<'a> {
    pub world: &'a World,
    pub rng: Seeded,
    pub memory: Memory,
    /// The type of the keys that the call's mechanism takes.
    pub key_type: Option<CK_KEY_TYPE>,
}

impl Draw<'_> {
    /// Mostly none: then the block ends where the memory does.
    pub fn slack(&mut self) -> usize {
        if self.rng.once_in(3) { self.rng.below(9) } else { 0 }
    }

    /// A block that the module may write.
    pub fn room(&mut self, length: usize) -> *mut u8 {
        let slack = self.slack();
        self.memory.room(length, slack)
    }

    pub fn value<T: Copy>(&mut self, value: T) -> *mut T {
        let slack = self.slack();
        self.memory.structure(value, 0, slack)
    }

    /// A place for a `T`; now and then null.
    pub fn place<T>(&mut self) -> *mut T {
        if self.rng.once_in(40) {
            return null_mut();
        }
        self.room(size_of::<T>()).cast()
    }

    /// Bytes to read and their length, which is never more than what is there.
    pub fn data(&mut self, likely: usize) -> (*mut u8, CK_ULONG) {
        let bytes = self.bytes(likely);
        let length = bytes.len();
        match self.rng.below(30) {
            0 => (null_mut(), 0),
            1 => (null_mut(), 1 + self.rng.number() / 2),
            2 => (null_mut(), CK_UNAVAILABLE_INFORMATION),
            3 => (self.block(&bytes), self.rng.below(length + 1) as CK_ULONG),
            _ => (self.block(&bytes), length as CK_ULONG),
        }
    }

    pub fn block(&mut self, bytes: &[u8]) -> *mut u8 {
        let slack = self.slack();
        self.memory.put(bytes, slack)
    }

    fn bytes(&mut self, likely: usize) -> Vec<u8> {
        let length = match self.rng.below(20) {
            0 => 0,
            1 => self.rng.below(300),
            2 => self.rng.pick(&[15, 16, 17, 31, 32, 33, 55, 64, 127, 128, 255, 256, 257]),
            3 if self.rng.once_in(40) => self.rng.pick(&[70_000, 1 << 19, (1 << 20) + 1]),
            4..9 => {
                let outputs = locked(&self.world.outputs);
                if !outputs.is_empty() {
                    let mut bytes = outputs[self.rng.below(outputs.len())].clone();
                    drop(outputs);
                    if self.rng.once_in(4) {
                        self.rng.mutate(&mut bytes);
                    }
                    return bytes;
                }
                likely
            }
            _ => likely,
        };
        if length > 4096 { vec![0x5a; length] } else { self.rng.bytes(length) }
    }

    /// A buffer for a result and the place with its length.
    pub fn result(&mut self, size: usize) -> (*mut u8, CK_ULONG_PTR, usize) {
        let elements = match self.rng.below(10) {
            0 => 0,
            1 => self.rng.below(40),
            2 => self.rng.below(300),
            3 => self.rng.pick(&[16, 20, 32, 48, 64, 128, 256]),
            _ => 4096 / size,
        };
        let said = elements as CK_ULONG;
        if self.rng.once_in(40) {
            return (self.room(elements * size), null_mut(), 0);
        }
        if self.rng.once_in(8) {
            let said = self.rng.number();
            return (null_mut(), self.value(said), 0);
        }
        (self.room(elements * size), self.value(said), elements)
    }

    pub fn session(&mut self) -> CK_SESSION_HANDLE {
        let sessions = self.world.sessions();
        match self.rng.below(60) {
            0 => 0,
            1 => self.rng.next(),
            2 => self.rng.number(),
            _ if sessions.is_empty() => 1,
            _ => self.rng.pick(&sessions).session,
        }
    }

    /// A session of the token that may be wrecked.
    pub fn wrecked_session(&mut self) -> CK_SESSION_HANDLE {
        self.session_of(self.world.slots[1])
    }

    fn session_of(&mut self, slot: CK_SLOT_ID) -> CK_SESSION_HANDLE {
        let sessions: Vec<_> = self.world.sessions();
        let of: Vec<_> = sessions.iter().filter(|one| one.slot == slot).collect();
        if of.is_empty() { 0 } else { self.rng.pick(&of).session }
    }

    /// A session of the token that stays in order, if there is one.
    pub fn steady_session(&mut self) -> CK_SESSION_HANDLE {
        self.session_of(self.world.slots[0])
    }

    /// A key of this kind and one of these classes.
    pub fn key(
        &mut self,
        kind: CK_KEY_TYPE,
        classes: &[CK_OBJECT_CLASS],
    ) -> Option<CK_OBJECT_HANDLE> {
        let fits = |key: &Key| key.kind == kind && classes.contains(&key.class);
        let fitting: Vec<_> = locked(&self.world.keys).iter().copied().filter(fits).collect();
        (!fitting.is_empty()).then(|| self.rng.pick(&fitting).handle)
    }

    pub fn object(&mut self) -> CK_OBJECT_HANDLE {
        match self.rng.below(60) {
            0 => return 0,
            1 => return self.rng.next(),
            2 => return self.rng.number(),
            _ => {}
        }
        let keys = locked(&self.world.keys).clone();
        let fitting: Vec<_> = keys.iter().filter(|key| self.key_type == Some(key.kind)).collect();
        if !fitting.is_empty() && self.rng.below(4) > 0 {
            return self.rng.pick(&fitting).handle;
        }
        let objects = locked(&self.world.objects);
        if objects.is_empty() || self.rng.below(2) == 0 {
            return if keys.is_empty() { 1 } else { self.rng.pick(&keys).handle };
        }
        objects[self.rng.below(objects.len())]
    }
}
