//! A digest under way.

use keyward_crypto::digest::{Digester, Hash};

/// A digest under way.
#[derive(Debug)]
pub(crate) struct Digest {
    digester: Digester,
    /// Parts came in: what began so does not end in one call.
    pub(crate) in_parts: bool,
}

impl Digest {
    pub(crate) fn new(hash: Hash) -> Self {
        Self { digester: Digester::new(hash), in_parts: false }
    }

    pub(crate) fn update(&mut self, part: &[u8]) {
        self.digester.update(part);
        self.in_parts = true;
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.digester.finish()
    }

    /// How long the digest will be, in bytes.
    pub(crate) fn length(&self) -> usize {
        self.digester.hash().length()
    }
}
