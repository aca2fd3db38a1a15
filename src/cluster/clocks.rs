//! What the clocks of the voters say, as a leader hears of them with each acknowledgement.
//!
//! A wall clock that is off by hours must not fire what is not due, and nobody can tell by one
//! clock. The median of the voters' is right while most of them are.

use super::consensus::Consensus;
use crate::ident::NodeId;
use crate::time::{Now, Wall};

impl Consensus {
    /// The median of the voters' wall clocks now, this leader's own among them; of an even number
    /// the earlier of the two in the middle. `None` while only one is known.
    pub fn voters_clock(&self, now: Now) -> Option<Wall> {
        let mut clocks: Vec<Wall> = self.clocks(now).map(|(_, wall)| wall).collect();
        clocks.sort_unstable();
        if clocks.len() < 2 {
            return None;
        }
        clocks.get((clocks.len() - 1) / 2).copied()
    }

    /// The other voter whose clock is the nearest to `wall`, and by how many milliseconds it
    /// differs.
    pub fn nearest_clock(&self, wall: Wall, now: Now) -> Option<(NodeId, i64)> {
        let others = self.clocks(now).filter(|&(node, _)| node != self.me);
        let off = others.map(|(node, clock)| (node, clock.ms_since(wall).saturating_abs()));
        off.min_by_key(|&(node, off)| (off, node))
    }

    /// The clock of each voter that was heard lately, as it must show now.
    fn clocks(&self, now: Now) -> impl Iterator<Item = (NodeId, Wall)> + '_ {
        let voters = self.configs.voters().map(|voters| voters.nodes()).unwrap_or_default();
        let clock = move |node: NodeId| {
            if node == self.me {
                return Some(now.wall);
            }
            let peer = self.log.office.as_ref()?.peers.get(&node)?;
            let is_fresh = |at| now.mono.since(at) <= self.timing.quorum;
            peer.heard.filter(|&at| is_fresh(at)).and_then(|_| peer.clock(now.mono))
        };
        voters.iter().filter_map(move |&node| Some((node, clock(node)?)))
    }
}
