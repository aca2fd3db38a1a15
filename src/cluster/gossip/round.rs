//! The order in which members are probed: a shuffled round, so that each is probed once a round
//! and a failure is seen after a bounded time (SWIM, section 4.3).

use crate::ident::NodeId;
use crate::rng::Rng;

/// Tries for each member drawn by chance, before a sample stays smaller.
const TRIES_PER_DRAW: usize = 8;

/// The members that can be spoken to.
#[derive(Debug, Default)]
pub(super) struct Round {
    nodes: Vec<NodeId>,
    at: usize,
}

impl Round {
    /// Puts `node` at a place drawn by chance: whoever joins is not the last of every round.
    pub(super) fn insert(&mut self, node: NodeId, rng: &mut Rng) {
        let place = rng.below(self.nodes.len() as u64 + 1) as usize;
        self.nodes.insert(place, node);
        if place < self.at {
            self.at += 1;
        }
    }

    /// Takes `node` out.
    pub(super) fn remove(&mut self, node: NodeId) {
        if let Some(place) = self.nodes.iter().position(|&other| other == node) {
            self.nodes.remove(place);
            if place < self.at {
                self.at -= 1;
            }
        }
    }

    /// The next one of this round; after the last one the round is shuffled anew.
    pub(super) fn next(&mut self, rng: &mut Rng) -> Option<NodeId> {
        if self.at >= self.nodes.len() {
            self.at = 0;
            for end in (1..self.nodes.len()).rev() {
                self.nodes.swap(end, rng.below(end as u64 + 1) as usize);
            }
        }
        let node = self.nodes.get(self.at).copied();
        self.at += 1;
        node
    }

    /// Up to `count` different members by chance, none of them `except`.
    pub(super) fn draw(&self, count: usize, except: Option<NodeId>, rng: &mut Rng) -> Vec<NodeId> {
        let mut drawn = Vec::with_capacity(count);
        if self.nodes.is_empty() {
            return drawn;
        }
        for _ in 0..count * TRIES_PER_DRAW {
            let node = self.nodes[rng.below(self.nodes.len() as u64) as usize];
            if Some(node) != except && !drawn.contains(&node) {
                drawn.push(node);
            }
            if drawn.len() == count {
                break;
            }
        }
        drawn
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }
}
