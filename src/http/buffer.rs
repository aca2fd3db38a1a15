//! The bytes of one direction: appended at the end, used up from the front.

/// What an empty buffer may keep for its next use, in bytes.
pub(super) const KEEP_MAX_BYTES: usize = 256;

/// A queue of bytes that lies in one piece. Using up costs nothing; what is left is moved to the
/// front at the next append.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    used: usize,
}

impl Buffer {
    /// What is there.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.used..).unwrap_or_default()
    }

    /// How much is there.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.used
    }

    /// Whether nothing is there.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes to append to.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        &mut self.bytes
    }

    /// Takes `count` bytes from the front, which must be there. Memory is given back when the
    /// buffer becomes empty.
    pub(super) fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "only what is there can be used up");
        self.used += count;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEEP_MAX_BYTES {
            self.bytes = Vec::new();
        }
    }

    /// Gives back memory when little of it is used. A wait may follow that someone else ends.
    pub(super) fn shrink(&mut self) {
        if self.bytes.capacity() > KEEP_MAX_BYTES.max(4 * self.len()) {
            self.end().shrink_to_fit();
        }
    }

    /// Memory held, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
