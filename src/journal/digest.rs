//! SHA-256, by which servers tell whether they made the same of the same journal.

use crate::ident::{DIGEST_BYTES, Digest};
use ring::digest::{Context, SHA256};

/// A digest in the making.
#[derive(Clone)]
pub(crate) struct Hasher(Context);

impl Hasher {
    pub(crate) fn new() -> Self {
        Hasher(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}
