//! The set of voters, and what a majority of it is.

use crate::ident::{Index, NodeId};

/// Most voters of a cluster.
pub const VOTERS_MAX: usize = 7;

/// Who votes: at least one, at most [`VOTERS_MAX`], each once, in order of number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voters(Vec<NodeId>);

impl Voters {
    /// The set of `nodes`; `None` when there are none, too many, or one twice.
    pub fn new(mut nodes: Vec<NodeId>) -> Option<Voters> {
        nodes.sort_unstable();
        let distinct = nodes.windows(2).all(|pair| pair[0] < pair[1]);
        let sized = (1..=VOTERS_MAX).contains(&nodes.len());
        (distinct && sized).then_some(Voters(nodes))
    }

    /// The voters, in order of number.
    pub fn nodes(&self) -> &[NodeId] {
        &self.0
    }

    /// Whether `node` votes.
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.binary_search(&node).is_ok()
    }

    /// How many voters decide: more than half.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// Whether those voters for whom `agrees` holds are a majority.
    pub fn carried(&self, mut agrees: impl FnMut(NodeId) -> bool) -> bool {
        let count = self.0.iter().filter(|&&node| agrees(node)).count();
        count >= self.majority()
    }

    /// The highest index that a majority has durably, where `durable` tells it of each voter.
    pub fn durable_on_majority(&self, durable: impl FnMut(NodeId) -> Index) -> Index {
        let mut reached: Vec<Index> = self.0.iter().copied().map(durable).collect();
        reached.sort_unstable_by(|a, b| b.cmp(a));
        reached[self.majority() - 1]
    }
}

/// Who takes part in the journal: those who decide, and those who only follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// They decide.
    pub voters: Voters,
    /// They are sent the journal, in order of number; none of them votes.
    pub learners: Vec<NodeId>,
}

impl Config {
    /// A configuration of voters alone.
    pub fn of(voters: Voters) -> Config {
        Config { voters, learners: Vec::new() }
    }

    /// All who are sent the journal.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters.nodes().iter().chain(&self.learners).copied()
    }

    /// Whether `node` is sent the journal.
    pub fn contains(&self, node: NodeId) -> bool {
        self.voters.contains(node) || self.learners.contains(&node)
    }

    /// Whether every majority of this configuration meets every majority of `next`: at most one
    /// voter comes or goes.
    pub fn may_become(&self, next: &Config) -> bool {
        let lost = |from: &Voters, to: &Voters| {
            from.nodes().iter().filter(|&&node| !to.contains(node)).count()
        };
        lost(&self.voters, &next.voters) + lost(&next.voters, &self.voters) <= 1
    }
}

/// The configurations along a journal. The newest is in force from the moment it is appended, and
/// an older one again when it is cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Configs(Vec<(Index, Config)>);

/// How many configurations are remembered: all that may still be cut, and more.
const CONFIGS_MAX: usize = 64;

impl Configs {
    /// Those of a journal, in order.
    pub fn new(configs: Vec<(Index, Config)>) -> Configs {
        Configs(configs)
    }

    /// The one in force.
    pub fn newest(&self) -> Option<&Config> {
        self.0.last().map(|(_, config)| config)
    }

    /// Who votes by it.
    pub(super) fn voters(&self) -> Option<&Voters> {
        self.newest().map(|config| &config.voters)
    }

    /// Where that stands.
    pub fn newest_at(&self) -> Index {
        self.0.last().map(|&(index, _)| index).unwrap_or_default()
    }

    /// Whether `node` may lead: it votes, or did before changes that are not known to be committed.
    ///
    /// A leader that is to go may be the only one that has the change. Without it, nobody can be
    /// elected whose journal is shorter (Raft's dissertation, section 4.2.2).
    pub(super) fn may_lead(&self, node: NodeId, committed: Index) -> bool {
        let settled = self.0.iter().rposition(|&(at, _)| at <= committed).unwrap_or_default();
        self.0.iter().skip(settled).any(|(_, config)| config.voters.contains(node))
    }

    pub(super) fn push(&mut self, index: Index, config: Config) {
        if index > self.newest_at() || self.0.is_empty() {
            self.0.push((index, config));
        }
        if self.0.len() > CONFIGS_MAX {
            self.0.remove(0);
        }
    }

    pub(super) fn cut(&mut self, last: Index) {
        while self.0.len() > 1 && self.newest_at() > last {
            self.0.pop();
        }
    }

    /// A snapshot at `index` holds `config`; the journal behind it is left, or not.
    pub(super) fn replaced(&mut self, index: Index, config: Config, is_left: bool) {
        self.0.retain(|&(at, _)| is_left && at > index);
        self.0.insert(0, (index, config));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(count: u32) -> Voters {
        Voters::new((1..=count).map(|id| NodeId::new(id).unwrap()).collect()).unwrap()
    }

    #[test]
    fn a_majority_is_more_than_half() {
        for (count, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)] {
            let set = voters(count);
            assert_eq!(set.majority(), majority);
            assert!(set.carried(|node| node.get() as usize <= majority));
            assert!(!set.carried(|node| (node.get() as usize) < majority));
        }
    }

    #[test]
    fn the_committed_index_is_the_one_that_a_majority_has() {
        for (reached, index) in [
            (vec![7], 7),
            (vec![7, 3], 3),
            (vec![9, 1, 5], 5),
            (vec![9, 9, 1, 1], 1),
            (vec![2, 8, 4, 6, 5], 5),
        ] {
            let set = voters(reached.len() as u32);
            let durable = |node: NodeId| Index(reached[node.get() as usize - 1]);
            assert_eq!(set.durable_on_majority(durable), Index(index), "{reached:?}");
        }
    }

    #[test]
    fn a_set_is_never_empty_too_large_or_double() {
        let node = |id| NodeId::new(id).unwrap();
        assert_eq!(Voters::new(vec![]), None);
        assert_eq!(Voters::new(vec![node(1), node(1)]), None);
        assert_eq!(Voters::new((1..=8).map(node).collect()), None);
        assert!(Voters::new((1..=7).map(node).collect()).is_some());
    }
}
