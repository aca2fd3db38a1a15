//! The election of a leader, from the side of one voter.
//!
//! A candidacy names an epoch above every promise known here; the promise to oneself is made
//! durable before it counts, and an epoch is never used twice, not even over a restart. A majority
//! of durable promises wins. Probes, votes of others and the timers between them travel by
//! messages, which this version does not carry yet: a voter set beyond the node itself is refused
//! where it would be formed.

use super::voters::Voters;
use crate::ident::{Epoch, NodeId};

/// The highest epoch that this voter has promised, and to whom; durable before anything that
/// depends on it leaves the node, and never lowered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Promise {
    /// The epoch.
    pub epoch: Epoch,
    /// Whom it was promised to; `None` while the epoch is known but nobody was chosen.
    pub to: Option<NodeId>,
}

/// What this voter is at the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Neither a candidate nor the leader.
    Follower,
    /// It asks for promises in this epoch; these voters have made theirs durable.
    Candidate {
        /// The epoch that it wants to lead.
        epoch: Epoch,
        /// Who has promised it.
        promised: Vec<NodeId>,
    },
    /// It leads.
    Leader(Epoch),
}

/// One voter's part in elections.
#[derive(Debug)]
pub struct Election {
    me: NodeId,
    promise: Promise,
    standing: Standing,
}

impl Election {
    /// The voter `me` after a start, with the promise that its disk holds: a follower, whatever it
    /// was before.
    pub fn new(me: NodeId, promise: Promise) -> Self {
        Election { me, promise, standing: Standing::Follower }
    }

    /// Starts a candidacy and returns the promise to oneself. Make it durable, then call
    /// [`Election::promised`].
    pub fn campaign(&mut self) -> Promise {
        let epoch = Epoch(self.promise.epoch.0 + 1);
        self.promise = Promise { epoch, to: Some(self.me) };
        self.standing = Standing::Candidate { epoch, promised: Vec::new() };
        self.promise
    }

    /// Counts a durable promise of `voter` for `epoch`. Returns the epoch when it was the one that
    /// won: the office begins with its first record.
    pub fn promised(&mut self, voter: NodeId, epoch: Epoch, voters: &Voters) -> Option<Epoch> {
        let Standing::Candidate { epoch: wanted, promised } = &mut self.standing else {
            return None;
        };
        if *wanted != epoch || promised.contains(&voter) || !voters.contains(voter) {
            return None;
        }
        promised.push(voter);
        if !voters.carried(|node| promised.contains(&node)) {
            return None;
        }
        self.standing = Standing::Leader(epoch);
        Some(epoch)
    }

    /// What this voter is.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The epoch that this node leads.
    pub fn leads(&self) -> Option<Epoch> {
        match self.standing {
            Standing::Leader(epoch) => Some(epoch),
            Standing::Follower | Standing::Candidate { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn voters(count: u32) -> Voters {
        Voters::new((1..=count).map(node).collect()).unwrap()
    }

    #[test]
    fn durable_promises_of_a_majority_win_and_no_fewer() {
        for (count, needed) in [(1, 1), (2, 2), (3, 2), (5, 3), (7, 4)] {
            let mut election = Election::new(node(1), Promise::default());
            let promise = election.campaign();
            assert_eq!(promise, Promise { epoch: Epoch(1), to: Some(node(1)) });
            for voter in 1..needed {
                assert_eq!(election.promised(node(voter), Epoch(1), &voters(count)), None);
            }
            let won = election.promised(node(needed), Epoch(1), &voters(count));
            assert_eq!(won, Some(Epoch(1)), "{count} voters");
            assert_eq!(election.leads(), Some(Epoch(1)));
        }
    }

    #[test]
    fn a_promise_counts_once_for_its_epoch_and_from_a_voter_only() {
        let mut election = Election::new(node(1), Promise { epoch: Epoch(7), to: Some(node(2)) });
        assert_eq!(election.campaign().epoch, Epoch(8), "above what was promised to another");
        for (voter, epoch) in [(1, 7), (1, 8), (1, 8), (9, 8), (2, 9)] {
            assert_eq!(election.promised(node(voter), Epoch(epoch), &voters(3)), None);
        }
        assert_eq!(election.leads(), None);
        assert_eq!(election.promised(node(2), Epoch(8), &voters(3)), Some(Epoch(8)));
        assert_eq!(election.promised(node(3), Epoch(8), &voters(3)), None, "won already");
    }

    #[test]
    fn an_epoch_is_never_used_twice_not_even_after_a_restart() {
        let mut election = Election::new(node(1), Promise::default());
        let first = election.campaign();
        assert_eq!(election.campaign().epoch, Epoch(2));
        let mut restarted = Election::new(node(1), first);
        assert_eq!(*restarted.standing(), Standing::Follower);
        assert_eq!(restarted.campaign().epoch, Epoch(2));
    }
}
