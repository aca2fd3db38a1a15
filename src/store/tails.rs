//! The last output of ended runs.
//!
//! Kept apart from the rest of the state, under one bound on bytes: when it is crossed the oldest
//! go first, and a reader is told that a tail is gone.

use std::collections::BTreeMap;

use crate::ident::RunId;

/// Bytes that all tails may take, the book-keeping of each included; those of runs that wrote
/// nothing are not counted, being as many as the history keeps of them.
pub(super) const TAILS_MAX_BYTES: usize = 16 * 1024 * 1024;
/// What one kept tail costs beside its bytes.
const OVERHEAD_BYTES: usize = 96;

/// Output tails by run; runs are in order of claim, so the first are the oldest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tails {
    by_run: BTreeMap<RunId, Box<[u8]>>,
    bytes: usize,
}

impl Tails {
    /// Keeps the tail of `run`. An empty one drives no other out, and reads as empty.
    pub fn put(&mut self, run: RunId, tail: Vec<u8>) {
        self.remove(run);
        self.bytes += cost(&tail);
        self.by_run.insert(run, tail.into());
        while self.bytes > TAILS_MAX_BYTES {
            let Some((&oldest, _)) = self.by_run.first_key_value() else { break };
            self.remove(oldest);
        }
    }

    /// Drops the tail of `run`, if it is there.
    pub fn remove(&mut self, run: RunId) {
        if let Some(tail) = self.by_run.remove(&run) {
            self.bytes -= cost(&tail);
        }
    }

    /// The tail of `run`.
    pub fn get(&self, run: RunId) -> Option<&[u8]> {
        self.by_run.get(&run).map(|tail| &**tail)
    }

    /// All tails, oldest run first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (RunId, &[u8])> {
        self.by_run.iter().map(|(&run, tail)| (run, &**tail))
    }
}

/// Most jobs are silent; were their tails counted, they alone would push out all others.
fn cost(tail: &[u8]) -> usize {
    if tail.is_empty() { 0 } else { tail.len() + OVERHEAD_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{Index, NodeId};

    fn run(group: u64) -> RunId {
        RunId { group: Index(group), node: NodeId::new(1).unwrap(), attempt: 1 }
    }

    #[test]
    fn the_oldest_tails_go_when_the_bound_is_crossed() {
        let size = 16 * 1024;
        let fits = TAILS_MAX_BYTES / (size + OVERHEAD_BYTES);
        let mut tails = Tails::default();
        for group in 0..fits as u64 {
            tails.put(run(group), vec![b'x'; size]);
        }
        assert!(tails.get(run(0)).is_some(), "up to the bound all are kept");
        tails.put(run(fits as u64), vec![b'x'; size]);
        assert_eq!(tails.get(run(0)), None);
        assert!(tails.get(run(1)).is_some());
        assert_eq!(tails.iter().len(), fits);
    }

    #[test]
    fn runs_that_wrote_nothing_drive_no_tail_out() {
        let mut tails = Tails::default();
        tails.put(run(0), vec![b'x']);
        for group in 1..=(TAILS_MAX_BYTES / OVERHEAD_BYTES) as u64 {
            tails.put(run(group), Vec::new());
        }
        assert_eq!(tails.get(run(0)), Some(&b"x"[..]));
        assert_eq!(tails.get(run(1)), Some(&b""[..]));
    }

    #[test]
    fn a_tail_put_twice_is_counted_once() {
        let mut tails = Tails::default();
        tails.put(run(1), vec![0; 100]);
        tails.put(run(1), vec![0; 10]);
        assert_eq!(tails.bytes, 10 + OVERHEAD_BYTES);
        tails.remove(run(1));
        assert_eq!(tails, Tails::default());
    }
}
