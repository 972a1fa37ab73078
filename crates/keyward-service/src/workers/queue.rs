//! What waits for a thread: bounded, and fair among identities.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::id::Id;

/// What became of a job that was added.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed<J> {
    /// It waits.
    Queued,
    /// It waits in the place of this one.
    Instead(J),
    /// There is no place for it.
    Full(J),
}

/// Jobs in lines, one for each identity; the identities take turns.
pub(super) struct Queue<J> {
    /// None of them empty.
    lines: HashMap<Id, VecDeque<J>>,
    /// The identities that have a line, each once, the next one first.
    turns: VecDeque<Id>,
    /// The same by length, to find the longest.
    lengths: BTreeSet<(usize, Id)>,
    /// In all lines together; `waiting <= most`
    waiting: usize,
    most: usize,
}

impl<J> Queue<J> {
    /// An empty queue for `most` jobs.
    pub(super) fn new(most: usize) -> Self {
        Self {
            lines: HashMap::new(),
            turns: VecDeque::new(),
            lengths: BTreeSet::new(),
            waiting: 0,
            most,
        }
    }

    /// Adds a job. In a full queue the last job of the longest line gives way
    /// to one of a shorter line, so that nobody can keep others out.
    pub(super) fn push(&mut self, identity: Id, job: J) -> Pushed<J> {
        let mut pushed = Pushed::Queued;
        if self.waiting >= self.most {
            let own = self.length(identity);
            match self.lengths.last() {
                Some((length, longest)) if *length > own + 1 => {
                    if let Some(gone) = self.take(*longest, VecDeque::pop_back) {
                        pushed = Pushed::Instead(gone);
                    }
                }
                _ => return Pushed::Full(job),
            }
        }
        let line = self.lines.entry(identity).or_default();
        line.push_back(job);
        let length = line.len();
        self.waiting += 1;
        if length == 1 {
            self.turns.push_back(identity);
        }
        self.measure(identity, length - 1, length);
        pushed
    }

    /// The job whose turn it is; its identity goes to the end of the turns.
    pub(super) fn pop(&mut self) -> Option<J> {
        let identity = *self.turns.front()?;
        let job = self.take(identity, VecDeque::pop_front);
        // If it has a line still, its turn comes again after all others'.
        if self.turns.front() == Some(&identity) {
            self.turns.rotate_left(1);
        }
        job
    }

    /// Jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// At most so many jobs come before the next one of an identity.
    pub(super) fn ahead(&self, identity: Id) -> usize {
        let rounds = self.length(identity) + 1;
        self.waiting.min(rounds.saturating_mul(self.turns.len()))
    }

    fn length(&self, identity: Id) -> usize {
        self.lines.get(&identity).map_or(0, VecDeque::len)
    }

    fn take(
        &mut self,
        identity: Id,
        take: impl FnOnce(&mut VecDeque<J>) -> Option<J>,
    ) -> Option<J> {
        let line = self.lines.get_mut(&identity)?;
        let before = line.len();
        let job = take(line)?;
        if before == 1 {
            self.lines.remove(&identity);
            self.turns.retain(|one| *one != identity);
        }
        self.waiting -= 1;
        self.measure(identity, before, before - 1);
        Some(job)
    }

    fn measure(&mut self, identity: Id, before: usize, now: usize) {
        self.lengths.remove(&(before, identity));
        if now > 0 {
            self.lengths.insert((now, identity));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue<&'static str>) -> String {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn identities_take_turns() {
        let (busy, quiet) = (Id::random(), Id::random());
        let mut queue = Queue::new(10);
        for (identity, name) in [(busy, "b"), (busy, "b"), (busy, "b"), (quiet, "q")] {
            assert_eq!(queue.push(identity, name), Pushed::Queued);
        }
        assert_eq!((queue.ahead(quiet), queue.ahead(busy), queue.ahead(Id::random())), (4, 4, 2));
        assert_eq!(drain(&mut queue), "bqbb");
        assert_eq!(queue.waiting(), 0);
        assert!(queue.lines.is_empty() && queue.turns.is_empty() && queue.lengths.is_empty());
    }

    #[test]
    fn who_fills_the_queue_gives_way_to_who_does_not() {
        let (busy, quiet, other) = (Id::random(), Id::random(), Id::random());
        let mut queue = Queue::new(4);
        for name in ["1", "2", "3", "4"] {
            assert_eq!(queue.push(busy, name), Pushed::Queued);
        }
        assert_eq!(queue.push(busy, "5"), Pushed::Full("5"));
        assert_eq!(queue.push(quiet, "q"), Pushed::Instead("4"));
        assert_eq!(queue.push(other, "o"), Pushed::Instead("3"));
        // All are as good as equal now.
        assert_eq!(queue.push(quiet, "r"), Pushed::Full("r"));
        assert_eq!(queue.push(busy, "5"), Pushed::Full("5"));
        assert_eq!(drain(&mut queue), "1qo2");
    }

    /// Whatever comes in whatever order, the counts stay right.
    #[test]
    fn the_indexes_agree_with_the_lines() {
        let identities: Vec<_> = (0..5).map(|_| Id::random()).collect();
        let mut queue = Queue::new(12);
        let mut inside = 0_usize;
        let mut state = 7_u32;
        for _ in 0..10_000 {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let number = (state >> 16) as usize;
            if number.is_multiple_of(3) {
                inside -= usize::from(queue.pop().is_some());
            } else if queue.push(identities[number % 5], number) == Pushed::Queued {
                inside += 1;
            }
            assert_eq!(queue.waiting(), inside);
            assert_eq!(queue.lines.values().map(VecDeque::len).sum::<usize>(), inside);
            let mut turns: Vec<_> = queue.turns.iter().copied().collect();
            turns.sort();
            let mut lines: Vec<_> = queue.lines.keys().copied().collect();
            lines.sort();
            assert_eq!(turns, lines);
            let lengths: BTreeSet<_> =
                queue.lines.iter().map(|(id, line)| (line.len(), *id)).collect();
            assert_eq!(queue.lengths, lengths);
        }
    }
}
