//! A network that delays, loses, doubles, reorders, cuts, clogs, and remembers.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Envelope;
use crate::ident::NodeId;
use crate::rng::Rng;

/// How many messages are remembered, to be sent again long after.
const RECORDED_MAX: usize = 600;

pub(super) type Letter = (NodeId, NodeId, Envelope);

pub(super) struct Network {
    /// How long a message takes, in microseconds: from, to.
    pub(super) delay: (u64, u64),
    /// How many of a thousand are lost, and sent twice.
    pub(super) loss: u64,
    pub(super) doubled: u64,
    /// Directions in which nothing passes.
    pub(super) cuts: BTreeSet<(NodeId, NodeId)>,
    /// Directions in which everything waits until then.
    pub(super) clogs: BTreeMap<(NodeId, NodeId), u64>,
    pub(super) recorded: Vec<Letter>,
    /// What a script wants lost.
    pub(super) lost: Option<Lost>,
}

pub(super) type Lost = fn(NodeId, NodeId, &Envelope) -> bool;

impl Network {
    pub(super) fn new() -> Network {
        Network {
            delay: (200, 2_000),
            loss: 0,
            doubled: 0,
            cuts: BTreeSet::new(),
            clogs: BTreeMap::new(),
            recorded: Vec::new(),
            lost: None,
        }
    }

    pub(super) fn heal(&mut self) {
        *self = Network { recorded: std::mem::take(&mut self.recorded), ..Network::new() };
    }

    pub(super) fn cut_both(&mut self, a: NodeId, b: NodeId) {
        self.cuts.extend([(a, b), (b, a)]);
    }

    /// When the message arrives, and when again: not at all if it is lost.
    pub(super) fn arrivals(&mut self, letter: &Letter, now: u64, rng: &mut Rng) -> Vec<u64> {
        if self.recorded.len() < RECORDED_MAX {
            self.recorded.push(letter.clone());
        } else if rng.chance(1, 20) {
            let at = rng.below(RECORDED_MAX as u64) as usize;
            self.recorded[at] = letter.clone();
        }
        let way = (letter.0, letter.1);
        let unwanted = self.lost.is_some_and(|lost| lost(letter.0, letter.1, &letter.2));
        if unwanted || self.cuts.contains(&way) || (self.loss > 0 && rng.chance(self.loss, 1_000)) {
            return Vec::new();
        }
        let times = 1 + usize::from(self.doubled > 0 && rng.chance(self.doubled, 1_000));
        let free = self.clogs.get(&way).copied().unwrap_or_default().max(now);
        (0..times).map(|_| free + self.takes(rng)).collect()
    }

    pub(super) fn takes(&self, rng: &mut Rng) -> u64 {
        let (from, to) = self.delay;
        (from + rng.below(to - from + 1)) * 1_000
    }
}
