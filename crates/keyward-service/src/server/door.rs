//! Who stands before the door: peers that have shown no certificate yet.
//!
//! They are known by nothing but where they come from, so that is what room is
//! shared by. Who has said nothing waits without taking a handshake's place; who
//! has gets one, if need be that of the source which has most of them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

/// All peers before the door.
pub(super) struct Door {
    state: Mutex<State>,
    /// The most that shake hands at once.
    most: usize,
    /// The most that wait.
    most_waiting: usize,
}

#[derive(Default)]
struct State {
    /// Those that have said nothing yet, and those whose turn has not come.
    waiting: Crowd,
    /// Those that shake hands; no more than [`Door::most`].
    inside: Crowd,
    /// Of those waiting: whose turn comes next, the oldest first.
    queue: BTreeMap<u64, (IpAddr, oneshot::Sender<Turn>)>,
}

/// Connections by their source.
#[derive(Default)]
struct Crowd {
    by_source: HashMap<IpAddr, BTreeMap<u64, Arc<Notify>>>,
    count: usize,
}

/// A connection that was accepted, for as long as it waits.
pub(super) struct Arrival {
    door: Arc<Door>,
    source: IpAddr,
    number: u64,
    close: Arc<Notify>,
}

/// A connection that may shake hands, for as long as it does.
pub(super) struct Turn {
    door: Arc<Door>,
    source: IpAddr,
    number: u64,
    close: Arc<Notify>,
}

impl Door {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let most_waiting = most.saturating_mul(WAITING);
        Arc::new(Self { state: Mutex::default(), most, most_waiting })
    }

    /// Lets a connection wait. If too many do, one of the source that has most is
    /// to close: the oldest that has said nothing, or else the newest. `number` is
    /// greater than those before.
    pub(super) fn arrive(self: &Arc<Self>, peer: IpAddr, number: u64) -> Arrival {
        let source = source(peer);
        let close = Arc::new(Notify::new());
        let mut state = self.lock();
        state.waiting.enter(source, number, &close);
        if state.waiting.count > self.most_waiting {
            let State { waiting, queue, .. } = &mut *state;
            waiting.evict(|number| !queue.contains_key(&number));
        }
        drop(state);
        Arrival { door: Arc::clone(self), source, number, close }
    }

    fn turn(self: &Arc<Self>, state: &mut State, source: IpAddr, number: u64) -> Turn {
        let close = Arc::new(Notify::new());
        state.inside.enter(source, number, &close);
        Turn { door: Arc::clone(self), source, number, close }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival {
    /// Waits for a turn. It comes at once if there is room, or if another source
    /// has at least two more inside: its oldest one is to close.
    pub(super) async fn turn(&self) -> Option<Turn> {
        match self.ask() {
            Ok(turn) => Some(turn),
            Err(told) => told.await.ok(),
        }
    }

    /// A turn, or where it will be told of.
    fn ask(&self) -> Result<Turn, oneshot::Receiver<Turn>> {
        let mut state = self.door.lock();
        if state.inside.count >= self.door.most {
            if state.inside.most() <= state.inside.of(self.source) + 1 {
                let (teller, told) = oneshot::channel();
                state.queue.insert(self.number, (self.source, teller));
                return Err(told);
            }
            state.inside.evict(|_| true);
        }
        Ok(self.door.turn(&mut state, self.source, self.number))
    }

    /// Ends when the connection is to be closed.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut state = self.door.lock();
        state.waiting.leave(self.source, self.number);
        let queued = state.queue.remove(&self.number);
        drop(state);
        drop(queued);
    }
}

impl Turn {
    /// Ends when the connection is to be closed, for one of another source.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.door.lock();
        state.inside.leave(self.source, self.number);
        // Of those who wait, the oldest of the source that has fewest inside.
        let mut untold = None;
        while state.inside.count < self.door.most {
            let next = state.queue.iter().min_by_key(|(_, (source, _))| state.inside.of(*source));
            let Some((&number, _)) = next else { break };
            let Some((source, teller)) = state.queue.remove(&number) else { break };
            if teller.is_closed() {
                continue;
            }
            let turn = self.door.turn(&mut state, source, number);
            untold = teller.send(turn).err();
            break;
        }
        drop(state);
        // Whoever it was for has left just now; the next one is told by this.
        drop(untold);
    }
}

impl Crowd {
    fn enter(&mut self, source: IpAddr, number: u64, close: &Arc<Notify>) {
        self.by_source.entry(source).or_default().insert(number, Arc::clone(close));
        self.count += 1;
    }

    /// Does nothing for one that was evicted.
    fn leave(&mut self, source: IpAddr, number: u64) {
        let Some(of_source) = self.by_source.get_mut(&source) else { return };
        if of_source.remove(&number).is_some() {
            self.count -= 1;
        }
        if of_source.is_empty() {
            self.by_source.remove(&source);
        }
    }

    /// Has one of the source that has most closed: the oldest that is `first`, or
    /// else the newest.
    fn evict(&mut self, first: impl Fn(u64) -> bool) {
        let most = self.by_source.iter().max_by_key(|(_, of_source)| of_source.len());
        let Some((&source, of_source)) = most else { return };
        let oldest = of_source.iter().find(|(number, _)| first(**number));
        let Some((&number, close)) = oldest.or(of_source.last_key_value()) else { return };
        // A permit is kept for one that does not wait just now.
        close.notify_one();
        self.leave(source, number);
    }

    fn of(&self, source: IpAddr) -> usize {
        self.by_source.get(&source).map_or(0, BTreeMap::len)
    }

    fn most(&self) -> usize {
        self.by_source.values().map(BTreeMap::len).max().unwrap_or(0)
    }
}

/// What counts as one: an address of IPv4, and a network of IPv6, in which one
/// machine may take any address.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address => address,
    }
}

/// Times as many as shake hands may wait for it.
const WAITING: usize = 4;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn is_closed(closed: impl Future<Output = ()>) -> bool {
        closed.now_or_never().is_some()
    }

    #[test]
    fn the_source_that_has_most_gives_way_to_others() {
        let door = Door::new(4);
        let greedy: Vec<_> = (0..4).map(|number| door.arrive(address(1), number)).collect();
        let inside: Vec<_> = greedy.iter().map(|one| one.turn().now_or_never().unwrap()).collect();
        drop(greedy);
        let other = door.arrive(address(2), 4);
        let one = other.turn().now_or_never().unwrap().unwrap();
        let closed: Vec<_> =
            inside.iter().map(|turn| is_closed(turn.as_ref().unwrap().closed())).collect();
        assert_eq!(closed, [true, false, false, false]);
        let second = door.arrive(address(2), 5);
        let two = second.turn().now_or_never().unwrap().unwrap();
        // Two and two: nobody has more than anybody else.
        let third = door.arrive(address(2), 6);
        assert!(third.turn().now_or_never().is_none());
        assert!(!is_closed(one.closed()) && !is_closed(two.closed()));
        assert_eq!(door.lock().inside.count, 4);
    }

    #[tokio::test]
    async fn a_turn_that_is_over_goes_to_the_source_that_has_fewest() {
        let door = Door::new(2);
        let (a, b) = (door.arrive(address(1), 0), door.arrive(address(2), 1));
        let (one, two) = (a.turn().await.unwrap(), b.turn().await.unwrap());
        let (same, gone, other) =
            (door.arrive(address(2), 2), door.arrive(address(3), 3), door.arrive(address(3), 4));
        let mut same_turn = Box::pin(same.turn());
        assert!(same_turn.as_mut().now_or_never().is_none());
        // One that gave up waiting is passed over.
        assert!(gone.turn().now_or_never().is_none());
        let mut other_turn = Box::pin(other.turn());
        assert!(other_turn.as_mut().now_or_never().is_none());
        drop(one);
        let three = other_turn.now_or_never().unwrap().unwrap();
        assert!(same_turn.as_mut().now_or_never().is_none());
        drop((two, three));
        same_turn.now_or_never().unwrap().unwrap();
        assert_eq!(door.lock().inside.count, 0);
    }

    #[test]
    fn of_those_who_wait_in_silence_the_oldest_goes() {
        let door = Door::new(2);
        let quiet = door.arrive(address(9), 0);
        let many: Vec<_> = (1..=20).map(|number| door.arrive(address(1), number)).collect();
        let closed = |many: &[Arrival]| {
            let closed = many.iter().filter(|one| is_closed(one.closed()));
            closed.map(|one| one.number).collect::<Vec<_>>()
        };
        assert_eq!(closed(&many), (1..=13).collect::<Vec<_>>());
        assert!(!is_closed(quiet.closed()));
        // Those that wait for their turn stay, and one more is one too many.
        let held: Vec<_> = (21..=22)
            .map(|number| door.arrive(address(1), number).turn().now_or_never().unwrap())
            .collect();
        assert_eq!(closed(&many), [14]);
        let more: Vec<_> = (23..=24).map(|number| door.arrive(address(1), number)).collect();
        assert_eq!(closed(&many), [15]);
        let mut turns: Vec<_> =
            many[15..].iter().chain(&more).map(|one| Box::pin(one.turn())).collect();
        assert!(turns.iter_mut().all(|turn| turn.as_mut().now_or_never().is_none()));
        let late = door.arrive(address(1), 25);
        assert!(is_closed(late.closed()));
        assert_eq!(closed(&many), [] as [u64; 0]);
        drop(turns);
        drop((many, quiet, more, late, held));
        let state = door.lock();
        assert!(state.waiting.by_source.is_empty() && state.queue.is_empty());
    }

    #[test]
    fn addresses_of_one_machine_are_one_source() {
        let parsed = |text: &str| source(text.parse().unwrap());
        assert_eq!(parsed("2001:db8::1"), parsed("2001:db8::ffff:2"));
        assert_ne!(parsed("2001:db8::1"), parsed("2001:db8:0:1::1"));
        assert_eq!(parsed("::ffff:10.0.0.1"), parsed("10.0.0.1"));
        assert_ne!(parsed("10.0.0.1"), parsed("10.0.0.2"));
    }
}
