//! Inputs that are longer than a frame, on their way in: what they may take of
//! the service's memory, and of its patience.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyward_wire::request::Operation;
use keyward_wire::{Error, ErrorCode, Long, Part, Request, Result, parts};
use zeroize::{Zeroize, Zeroizing};

use crate::id::Id;
use crate::workers::later;

/// The memory for long inputs, which all connections share.
pub(super) struct Room {
    /// Bytes.
    total: usize,
    taken: Mutex<HashMap<Id, usize>>,
}

/// A part of the room, for as long as this lives.
pub(super) struct Share<'a> {
    room: &'a Room,
    identity: Id,
    bytes: usize,
}

/// A long request whose input is on its way.
pub(super) struct Upload<'a> {
    /// All but the input.
    head: Box<Request>,
    input: Zeroizing<Vec<u8>>,
    /// `input.len() <= length`
    length: usize,
    /// For all of the input, and for the answer.
    until: Instant,
    /// For the next part.
    due: Instant,
    share: Share<'a>,
}

/// What a part made of an upload.
pub(super) enum Added<'a> {
    More(Box<Upload<'a>>),
    /// All is there.
    Whole(Box<Request>, Share<'a>),
}

impl Room {
    /// `total` is in bytes.
    pub(super) fn new(total: usize) -> Self {
        Self { total, taken: Mutex::default() }
    }

    /// Room for an input of `length` bytes and what is made of it.
    ///
    /// # Errors
    /// `LATER` if others have it, or the identity has its half already;
    /// `DATA_LEN_RANGE` if there will never be as much.
    pub(super) fn take(&self, identity: Id, length: usize) -> Result<Share<'_>> {
        let bytes = length.saturating_mul(COPIES);
        if bytes > self.total {
            return Err(Error::new(
                ErrorCode::DataLenRange,
                "more than this service has room for (limits.input_mib of its configuration)",
            ));
        }
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(&identity).copied().unwrap_or(0);
        if all + bytes > self.total {
            return Err(later("so many long inputs are under way that there is no room"));
        }
        // Whoever has nothing may have more than half.
        if own > 0 && own + bytes > self.total / 2 {
            return Err(later("this identity has as many long inputs under way as it may"));
        }
        taken.insert(identity, own + bytes);
        drop(taken);
        Ok(Share { room: self, identity, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        if let Some(own) = taken.get_mut(&self.identity) {
            *own -= self.bytes;
            if *own == 0 {
                taken.remove(&self.identity);
            }
        }
    }
}

impl<'a> Upload<'a> {
    /// Nothing has come yet. `life` is how long a request may take that does not
    /// say it.
    ///
    /// # Errors
    /// As [`Long::check`] and [`Room::take`].
    pub(super) fn new(
        room: &'a Room,
        identity: Id,
        request: &Request,
        long: &Long,
        life: Duration,
    ) -> Result<Self> {
        let length = long.check()?;
        let share = room.take(identity, length)?;
        let now = Instant::now();
        // There and back.
        let most = life + 2 * parts::allowance(length);
        let patience = Duration::from_millis(request.patience_ms.into());
        let until = now + if patience.is_zero() { most } else { patience.min(most) };
        Ok(Self {
            head: Box::new(request.clone()),
            input: Zeroizing::default(),
            length,
            until,
            due: until.min(now + STALL),
            share,
        })
    }

    /// The request's.
    pub(super) fn id(&self) -> u64 {
        self.head.id
    }

    /// The head, for the engine to look at.
    pub(super) fn head(&self) -> Request {
        Request::clone(&self.head)
    }

    /// The next part has to be there by then.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Takes a part in.
    ///
    /// # Errors
    /// `MALFORMED` if it is empty, or more than was announced.
    pub(super) fn add(mut self: Box<Self>, mut part: Part) -> Result<Added<'a>> {
        let wrong = part.bytes.is_empty() || part.bytes.len() > self.length - self.input.len();
        if !wrong {
            if self.input.capacity() == 0 {
                // At once: what has to grow leaves copies behind.
                self.input.reserve_exact(self.length);
            }
            self.input.extend_from_slice(&part.bytes);
        }
        part.bytes.zeroize();
        if wrong {
            let message = "a part that is empty, or longer than what is still to come";
            return Err(Error::new(ErrorCode::Malformed, message));
        }
        let now = Instant::now();
        if self.input.len() < self.length {
            self.due = self.until.min(now + STALL);
            return Ok(Added::More(self));
        }
        let left = self.until.saturating_duration_since(now).as_millis().max(1);
        self.head.patience_ms = u32::try_from(left).unwrap_or(u32::MAX);
        if let Some(Operation::Long(long)) = self.head.operation.take() {
            self.head.operation = long.with(std::mem::take(&mut *self.input));
        }
        Ok(Added::Whole(self.head, self.share))
    }
}

/// The input itself, what a worker has of it, and what comes of it.
const COPIES: usize = 3;
/// For the next part to come.
const STALL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use keyward_wire::{Sign, long};

    use super::*;

    const MIB: usize = 1 << 20;
    const LIFE: Duration = Duration::from_secs(9);

    #[test]
    fn one_identity_has_half_of_the_room_at_the_most_unless_it_has_none() {
        let room = Room::new(12 * MIB);
        let (greedy, other, third) = (Id::random(), Id::random(), Id::random());
        let code = |taken: Result<Share<'_>>| taken.map(drop).unwrap_err().code;
        assert_eq!(code(room.take(greedy, 5 * MIB)), ErrorCode::DataLenRange);
        assert!(room.take(greedy, 4 * MIB).is_ok(), "nobody else has any");
        let one = room.take(greedy, MIB).unwrap();
        let two = room.take(greedy, MIB).unwrap();
        assert_eq!(code(room.take(greedy, 1)), ErrorCode::Later);
        let three = room.take(other, 2 * MIB).unwrap();
        assert_eq!(code(room.take(third, 1)), ErrorCode::Later);
        drop(two);
        assert!(room.take(third, MIB).is_ok());
        drop((one, three));
        assert!(room.lock().is_empty());
    }

    #[test]
    fn parts_are_the_input_and_no_more_than_was_announced() {
        let room = Room::new(MIB);
        let long = Long { of: Some(long::Of::Sign(Sign::default())), length: 5 };
        let operation = Some(Operation::Long(long.clone()));
        let request = Request { id: 9, operation, ..Request::default() };
        let upload = || Box::new(Upload::new(&room, Id::random(), &request, &long, LIFE).unwrap());
        let part = |bytes: &[u8]| Part { bytes: bytes.to_vec() };
        for wrong in [&b""[..], b"123456"] {
            let error = upload().add(part(wrong)).map(drop).unwrap_err();
            assert_eq!(error.code, ErrorCode::Malformed);
        }
        let Ok(Added::More(half)) = upload().add(part(b"123")) else { panic!() };
        let Ok(Added::Whole(whole, share)) = half.add(part(b"45")) else { panic!() };
        assert_eq!(whole.id, 9);
        let Some(Operation::Sign(sign)) = whole.operation else { panic!() };
        assert_eq!(sign.input, b"12345");
        drop(share);
        assert!(room.lock().is_empty());
    }
}
