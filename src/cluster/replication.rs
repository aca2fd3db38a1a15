//! What is appended, what is durable where, and what is therefore committed.
//!
//! A record is committed when a majority of the voters has it durably and it is of the leader's
//! own epoch; earlier ones are committed with it (Raft, section 5.4.2). A voter's own copy counts
//! only once an fsync has covered it.

use std::collections::BTreeMap;

use super::voters::Voters;
use crate::ident::{Epoch, Index, NodeId};

/// A record's place: the index, and the epoch in which it was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Place {
    /// The epoch, which ranks first when two logs are compared.
    pub epoch: Epoch,
    /// The index.
    pub index: Index,
}

/// The replicated journal from the side of one node.
#[derive(Debug)]
pub struct Replication {
    me: NodeId,
    last: Place,
    committed: Index,
    /// First index of the office that this node holds.
    office_from: Option<Index>,
    durable: BTreeMap<NodeId, Index>,
}

impl Replication {
    /// A journal that ends, durably, at `last`, and of which the records up to `committed` are
    /// known to be committed (those that a snapshot covers).
    pub fn new(me: NodeId, last: Place, committed: Index) -> Self {
        assert!(committed <= last.index, "what is committed is in the journal");
        let durable = BTreeMap::from([(me, last.index)]);
        Replication { me, last, committed, office_from: None, durable }
    }

    /// Begins an office: the next place that is given out is its first record's.
    pub fn take_office(&mut self, epoch: Epoch) {
        assert!(epoch > self.last.epoch, "an office is newer than every record");
        self.office_from = Some(Index(self.last.index.0 + 1));
        self.last.epoch = epoch;
    }

    /// The place of the next record of this office.
    pub fn append(&mut self) -> Place {
        assert!(self.office_from.is_some(), "only a leader appends");
        self.last.index.0 += 1;
        self.last
    }

    /// Notes that `node` has everything up to `index` durably, and returns the commit index, which
    /// may have advanced.
    pub fn durable(&mut self, node: NodeId, index: Index, voters: &Voters) -> Index {
        assert!(node != self.me || index <= self.last.index, "nothing is durable before it is");
        let reached = self.durable.entry(node).or_default();
        *reached = index.max(*reached);
        let durable = |node| self.durable.get(&node).copied().unwrap_or_default();
        let candidate = voters.durable_on_majority(durable);
        if self.office_from.is_some_and(|first| candidate >= first) {
            self.committed = self.committed.max(candidate);
        }
        self.committed
    }

    /// The newest record, durable or not.
    pub fn last(&self) -> Place {
        self.last
    }

    /// The newest committed index.
    pub fn committed(&self) -> Index {
        self.committed
    }

    /// Whether the office that this node holds has committed its first record: nothing is
    /// answered, fired or ordered before.
    pub fn is_established(&self) -> bool {
        self.office_from.is_some_and(|first| self.committed >= first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn place(epoch: u64, index: u64) -> Place {
        Place { epoch: Epoch(epoch), index: Index(index) }
    }

    #[test]
    fn records_of_earlier_epochs_are_committed_by_one_of_the_own() {
        for count in [1, 3, 5] {
            let voters = Voters::new((1..=count).map(node).collect()).unwrap();
            let mut log = Replication::new(node(1), place(2, 10), Index(4));
            log.take_office(Epoch(3));
            for id in 1..=count {
                // Everybody has the old records, and still that commits none of them.
                assert_eq!(log.durable(node(id), Index(10), &voters), Index(4));
            }
            assert!(!log.is_established());
            assert_eq!(log.append(), place(3, 11));
            for id in 1..=voters.majority() as u32 {
                let committed = log.durable(node(id), Index(11), &voters);
                let wanted = if id as usize == voters.majority() { 11 } else { 4 };
                assert_eq!(committed, Index(wanted), "{id} of {count}");
            }
            assert!(log.is_established());
        }
    }

    #[test]
    fn a_late_report_never_takes_anything_back() {
        let voters = Voters::new(vec![node(1)]).unwrap();
        let mut log = Replication::new(node(1), Place::default(), Index(0));
        log.take_office(Epoch(1));
        let last = (0..5).map(|_| log.append()).last().unwrap();
        assert_eq!(last, place(1, 5));
        assert_eq!(log.durable(node(1), Index(5), &voters), Index(5));
        assert_eq!(log.durable(node(1), Index(2), &voters), Index(5));
    }

    #[test]
    #[should_panic(expected = "nothing is durable before it is")]
    fn a_completion_beyond_the_end_is_a_broken_invariant() {
        let voters = Voters::new(vec![node(1)]).unwrap();
        Replication::new(node(1), place(1, 1), Index(0)).durable(node(1), Index(2), &voters);
    }
}
