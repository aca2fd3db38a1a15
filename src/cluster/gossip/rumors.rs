//! The news that ride along with every datagram, those that were told least often first (SWIM,
//! section 4.1). At most one word a member: a newer word takes the place of the older.

use super::update::Update;
use crate::ident::NodeId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// How often a word is told, times the decimal digits of the number of nodes, which is
/// 4·⌈log10(n+1)⌉.
const TELLINGS_PER_DIGIT: u32 = 4;

/// The queue; bounded by the number of members, as each has one place in it.
#[derive(Debug, Default)]
pub(super) struct Rumors {
    by_node: BTreeMap<NodeId, (Place, Update)>,
    order: BTreeSet<(Place, NodeId)>,
    next_seq: u64,
}

/// How often it was told; among equals the newest word goes first.
type Place = (u32, Reverse<u64>);

impl Rumors {
    /// Starts to tell `update`, from the beginning if an older word was being told.
    pub(super) fn push(&mut self, update: Update) {
        self.stop(update.node);
        self.next_seq += 1;
        self.put((0, Reverse(self.next_seq)), update);
    }

    /// Tells no more about `node`.
    pub(super) fn stop(&mut self, node: NodeId) {
        if let Some((place, _)) = self.by_node.remove(&node) {
            self.order.remove(&(place, node));
        }
    }

    /// The next words for a datagram to `to`, at most `count`, in a cluster of `nodes`. Each is
    /// counted as told. Nobody needs to be told what it said of itself.
    pub(super) fn take(&mut self, count: usize, to: Option<NodeId>, nodes: usize) -> Vec<Update> {
        let others = self.order.iter().filter(|(_, node)| Some(*node) != to);
        let chosen: Vec<(Place, NodeId)> = others.take(count).copied().collect();
        let mut words = Vec::with_capacity(chosen.len());
        for ((told, seq), node) in chosen {
            let Some((_, update)) = self.by_node.get(&node).copied() else { continue };
            self.stop(node);
            if told + 1 < tellings_max(nodes) {
                self.put((told + 1, seq), update);
            }
            words.push(update);
        }
        words
    }

    /// How many words are being told.
    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }

    fn put(&mut self, place: Place, update: Update) {
        self.by_node.insert(update.node, (place, update));
        self.order.insert((place, update.node));
    }
}

/// How often a word is told in a cluster of `nodes`: 4·⌈log10(n+1)⌉.
pub(super) fn tellings_max(nodes: usize) -> u32 {
    TELLINGS_PER_DIGIT * (nodes.max(1).ilog10() + 1)
}
