//! Plaintexts and ciphertexts that are longer than a frame.

use keyward_wire::response::Result as Answered;
use keyward_wire::{Bytes, parts};
use zeroize::Zeroizing;

/// What follows the first piece of a result.
pub(super) struct Frames {
    whole: Zeroizing<Vec<u8>>,
    /// How much is on its way already; `< whole.len()`
    sent: usize,
    sealed: Vec<u8>,
    answered: fn(Bytes) -> Answered,
}

/// Cuts a result that is too long for a frame: its first piece, and the rest.
pub(super) fn cut(result: Option<Answered>) -> (Option<Answered>, Option<Frames>) {
    let (answered, bytes): (fn(Bytes) -> Answered, Bytes) = match result {
        Some(Answered::Plaintext(bytes)) if is_long(&bytes) => (Answered::Plaintext, bytes),
        Some(Answered::Ciphertext(bytes)) if is_long(&bytes) => (Answered::Ciphertext, bytes),
        short => return (short, None),
    };
    let (whole, sealed) = (Zeroizing::new(bytes.value), bytes.sealed);
    let first = Bytes { value: whole[..parts::PART].to_vec(), sealed: Vec::new() };
    let rest = Frames { whole, sent: parts::PART, sealed, answered };
    (Some(answered(first)), Some(rest))
}

impl Frames {
    /// The next frame's result, and whether more follow; `None` after the last.
    pub(super) fn next_frame(&mut self) -> Option<(Answered, bool)> {
        let piece = self.whole[self.sent..].chunks(parts::PART).next()?;
        self.sent += piece.len();
        let more = self.sent < self.whole.len();
        let sealed = if more { Vec::new() } else { std::mem::take(&mut self.sealed) };
        Some(((self.answered)(Bytes { value: piece.to_vec(), sealed }), more))
    }
}

fn is_long(bytes: &Bytes) -> bool {
    bytes.value.len() > parts::PART
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_whole_and_the_seal_comes_last() {
        let value: Vec<u8> = (0..2 * parts::PART + 7).map(|at| at.to_le_bytes()[0]).collect();
        let bytes = Bytes { value: value.clone(), sealed: vec![1] };
        let (first, rest) = cut(Some(Answered::Plaintext(bytes)));
        let (mut rest, mut seen) = (rest.unwrap(), vec![first.unwrap()]);
        let mut more = true;
        while more {
            let (next, again) = rest.next_frame().unwrap();
            seen.push(next);
            more = again;
        }
        assert!(rest.next_frame().is_none());
        let seen: Vec<Bytes> = seen
            .into_iter()
            .map(|one| match one {
                Answered::Plaintext(bytes) => bytes,
                _ => panic!(),
            })
            .collect();
        let sealed: Vec<_> = seen.iter().map(|piece| piece.sealed.len()).collect();
        assert_eq!(sealed, [0, 0, 1]);
        let whole: Vec<u8> = seen.into_iter().flat_map(|piece| piece.value).collect();
        assert!(whole == value);
        // What fits is left as it is.
        let short = Bytes { value: vec![7; parts::PART], sealed: vec![1] };
        let (short, rest) = cut(Some(Answered::Ciphertext(short)));
        assert!(rest.is_none());
        let Some(Answered::Ciphertext(short)) = short else { panic!() };
        assert_eq!(short.sealed, [1]);
    }
}
