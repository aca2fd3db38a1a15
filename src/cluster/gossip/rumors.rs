//! The news that ride along with every datagram, those that were told least often first (SWIM,
//! section 4.1). At most one word a member: a newer word takes the place of the older.

use super::update::Update;
use crate::ident::NodeId;

/// How often a word is told, times the decimal digits of the number of nodes, which is
/// 4·⌈log10(n+1)⌉.
const TELLINGS_PER_DIGIT: u32 = 4;

/// The news, those to be told first last; bounded by the number of members, as each has at most
/// one place.
#[derive(Debug, Default)]
pub(super) struct Rumors(Vec<(u32, Update)>);

impl Rumors {
    /// Starts to tell `update`, from the beginning if an older word was being told.
    pub(super) fn push(&mut self, update: Update) {
        self.stop(update.node);
        self.0.push((0, update));
    }

    /// Tells no more about `node`.
    pub(super) fn stop(&mut self, node: NodeId) {
        self.0.retain(|(_, update)| update.node != node);
    }

    /// The next words for a datagram, at most `count`, in a cluster of `nodes`. Each is counted as
    /// told.
    pub(super) fn take(&mut self, count: usize, nodes: usize) -> Vec<Update> {
        let first = self.0.len().saturating_sub(count);
        let mut words = Vec::with_capacity(self.0.len() - first);
        for (told, update) in self.0[first..].iter_mut().rev() {
            *told += 1;
            words.push(*update);
        }
        let enough = TELLINGS_PER_DIGIT * (nodes.max(1).ilog10() + 1);
        self.0.retain(|(told, _)| *told < enough);
        // Stable, so that among equals the newest word stays in front.
        self.0.sort_by_key(|(told, _)| std::cmp::Reverse(*told));
        words
    }

    /// How many words are being told.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
