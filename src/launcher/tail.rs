//! The last bytes of a run's output.

use std::collections::VecDeque;

use crate::run::order::TAIL_MAX_BYTES;

/// Keeps the last bytes and counts all; takes no memory before the first.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    total: u64,
}

impl Tail {
    /// Keeps at most `limit` bytes, and never more than [`TAIL_MAX_BYTES`].
    pub(super) fn new(limit: usize) -> Tail {
        Tail { bytes: VecDeque::new(), limit: limit.min(TAIL_MAX_BYTES), total: 0 }
    }

    /// Takes more output, and keeps at most `room` bytes this time.
    pub(super) fn push(&mut self, bytes: &[u8], room: usize) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let limit = self.limit.min(room);
        let added = &bytes[bytes.len().saturating_sub(limit)..];
        let surplus = (self.bytes.len() + added.len()).saturating_sub(limit);
        self.bytes.drain(..surplus);
        self.bytes.reserve_exact(added.len());
        self.bytes.extend(added);
    }

    /// The bytes, which are then no longer here.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut bytes = Vec::from(std::mem::take(&mut self.bytes));
        bytes.shrink_to_fit();
        bytes
    }

    /// How many bytes are kept.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes there were in all.
    pub(super) fn total_bytes(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_stay_and_all_are_counted() {
        for (limit, room, pushes, kept) in [
            (4, 100, &["ab", "cd", "ef"][..], "cdef"),
            (4, 100, &["abcdefgh"][..], "efgh"),
            (4, 100, &["abc", "defghijk"][..], "hijk"),
            (4, 2, &["abc", "d"][..], "cd"),
            (0, 100, &["abc"][..], ""),
            (4, 100, &[][..], ""),
        ] {
            let mut tail = Tail::new(limit);
            pushes.iter().for_each(|bytes| tail.push(bytes.as_bytes(), room));
            let total: usize = pushes.iter().map(|bytes| bytes.len()).sum();
            assert_eq!(tail.total_bytes(), total as u64);
            assert_eq!(tail.take(), kept.as_bytes(), "{limit} {room} {pushes:?}");
            assert_eq!(tail.len(), 0);
        }
        let mut tail = Tail::new(usize::MAX);
        assert_eq!(tail.bytes.capacity(), 0, "a silent run takes nothing");
        tail.push(&vec![b'x'; 3 * TAIL_MAX_BYTES], usize::MAX);
        assert_eq!(tail.len(), TAIL_MAX_BYTES);
    }
}
