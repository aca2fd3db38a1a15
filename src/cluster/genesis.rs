//! The birth of a cluster of several servers: all of them agree on who they are, or nobody starts.
//!
//! When gossip shows exactly as many empty servers as each of them waits for, the one of the lowest
//! number proposes a genesis: a cluster, and who its voters are. A node agrees to one genesis in
//! its life, durably, and from then on asks all the others to agree to the same. Who has heard that
//! from all of them knows that it stands: no other can, for each of them has given its one word.
//! So it does not matter who dies in between, nor who proposed. What is missing is told by name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::voters::{VOTERS_MAX, Voters};
use crate::ident::{ClusterId, NodeId};
use crate::time::{Mono, Now, Wall};

/// How often the others are asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long gossip must have shown the same servers before one of them proposes.
const CALM: Duration = Duration::from_secs(2);

/// A cluster as it begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Genesis {
    /// The cluster.
    pub cluster: ClusterId,
    /// The time of the first record, which is the same on every disk.
    pub wall: Wall,
    /// Who founds it, and votes.
    pub founders: Voters,
}

/// What founders tell each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GenesisWord {
    /// I have agreed to this; do you?
    Propose(Genesis),
    /// I have.
    Agree(ClusterId),
    /// I can't.
    Refuse(ClusterId, Refusal),
}

/// Why a node does not agree to a genesis.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// It has agreed to another.
    Another,
    /// It waits for another number of servers.
    Expects(u8),
}

/// What is to be done for a genesis, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GenesisAct {
    /// Make this durable, then call [`Founding::kept`].
    Keep(Genesis),
    /// Tell another server. It may be lost.
    Send(NodeId, GenesisWord),
    /// All have agreed: the journal begins with this. Nothing follows.
    Stands(Genesis),
}

/// One empty server before its cluster is born.
#[derive(Debug)]
pub struct Founding {
    me: NodeId,
    expect: u8,
    /// The number of the cluster, should this node propose it.
    draw: ClusterId,
    /// Empty servers that wait for as many, this one included, and since when it is these.
    seen: BTreeSet<NodeId>,
    seen_since: Mono,
    /// The one genesis that this node has agreed to, and whether that is durable.
    agreed: Option<(Genesis, bool)>,
    agree: BTreeSet<NodeId>,
    refuse: BTreeMap<NodeId, Refusal>,
    ask_at: Mono,
    stands: bool,
    out: VecDeque<GenesisAct>,
}

impl Founding {
    /// An empty server that waits for `expect` servers, itself included: 2 to [`VOTERS_MAX`].
    /// `agreed` is what its disk holds; `draw` is a number drawn at random, not 0.
    pub fn new(
        me: NodeId,
        expect: u8,
        agreed: Option<Genesis>,
        draw: ClusterId,
        now: Mono,
    ) -> Founding {
        Founding {
            me,
            expect,
            draw,
            seen: BTreeSet::from([me]),
            seen_since: now,
            agreed: agreed.map(|genesis| (genesis, true)),
            agree: BTreeSet::from([me]),
            refuse: BTreeMap::new(),
            ask_at: now,
            stands: false,
            out: VecDeque::new(),
        }
    }

    /// The empty servers that gossip shows to be alive and to wait for as many as this one.
    pub fn seen(&mut self, others: impl IntoIterator<Item = NodeId>, now: Now) {
        let seen: BTreeSet<NodeId> = others.into_iter().chain([self.me]).collect();
        if seen != self.seen {
            (self.seen, self.seen_since) = (seen, now.mono);
        }
        self.tick(now);
    }

    /// Takes a word of another server.
    pub fn handle(&mut self, from: NodeId, word: GenesisWord, now: Now) {
        match word {
            GenesisWord::Propose(genesis) => self.proposed(from, genesis),
            GenesisWord::Agree(cluster) if self.is_of_mine(from, cluster) => {
                self.refuse.remove(&from);
                self.agree.insert(from);
            }
            GenesisWord::Refuse(cluster, why) if self.is_of_mine(from, cluster) => {
                if !self.agree.contains(&from) {
                    self.refuse.insert(from, why);
                }
            }
            GenesisWord::Agree(_) | GenesisWord::Refuse(..) => {}
        }
        self.tick(now);
    }

    /// What [`GenesisAct::Keep`] gave out is durable.
    pub fn kept(&mut self, now: Now) {
        if let Some((_, durable)) = &mut self.agreed {
            *durable = true;
        }
        self.ask_at = now.mono;
        self.tick(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        if self.stands {
            return;
        }
        match &self.agreed {
            None if self.may_propose(now.mono) => {
                let founders = Voters::new(self.seen.iter().copied().collect());
                if let Some(founders) = founders {
                    self.agree_to(Genesis { cluster: self.draw, wall: now.wall, founders });
                }
            }
            Some((genesis, true)) => {
                let agrees = |node: &NodeId| self.agree.contains(node);
                if genesis.founders.nodes().iter().all(agrees) {
                    self.stands = true;
                    self.out.push_back(GenesisAct::Stands(genesis.clone()));
                } else if self.ask_at <= now.mono {
                    self.ask_at = now.mono + ASK_EVERY;
                    let others = genesis.founders.nodes().iter().filter(|node| !agrees(node));
                    let word = GenesisWord::Propose(genesis.clone());
                    self.out.extend(others.map(|&to| GenesisAct::Send(to, word.clone())));
                }
            }
            None | Some((_, false)) => {}
        }
    }

    /// When [`Founding::tick`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        match &self.agreed {
            _ if self.stands => None,
            None => Some(self.seen_since + CALM).filter(|_| self.is_first_of_all()),
            Some((_, durable)) => Some(self.ask_at).filter(|_| *durable),
        }
    }

    /// The next thing to do. Call until `None` after every other call.
    pub fn poll(&mut self) -> Option<GenesisAct> {
        self.out.pop_front()
    }

    /// The genesis that this node has agreed to.
    pub fn agreed(&self) -> Option<&Genesis> {
        self.agreed.as_ref().map(|(genesis, _)| genesis)
    }

    /// How many servers are seen, and how many are waited for.
    pub fn count(&self) -> (usize, u8) {
        (self.seen.len(), self.expect)
    }

    /// Whose word is missing to the genesis that this node has agreed to, and why if it is known.
    pub fn missing(&self) -> Vec<(NodeId, Option<Refusal>)> {
        let founders = self.agreed().map(|genesis| genesis.founders.nodes()).unwrap_or_default();
        let missing = founders.iter().filter(|node| !self.agree.contains(node));
        missing.map(|node| (*node, self.refuse.get(node).copied())).collect()
    }

    fn is_first_of_all(&self) -> bool {
        self.seen.len() == usize::from(self.expect) && self.seen.first() == Some(&self.me)
    }

    fn may_propose(&self, now: Mono) -> bool {
        let sized = (2..=VOTERS_MAX).contains(&usize::from(self.expect));
        sized && self.is_first_of_all() && now.since(self.seen_since) >= CALM
    }

    fn is_of_mine(&self, from: NodeId, cluster: ClusterId) -> bool {
        let mine = self.agreed().filter(|genesis| genesis.cluster == cluster);
        mine.is_some_and(|genesis| genesis.founders.contains(from))
    }

    fn agree_to(&mut self, genesis: Genesis) {
        self.agreed = Some((genesis.clone(), false));
        self.out.push_back(GenesisAct::Keep(genesis));
    }

    fn proposed(&mut self, from: NodeId, genesis: Genesis) {
        let founders = &genesis.founders;
        if !founders.contains(from) || !founders.contains(self.me) || from == self.me {
            return;
        }
        let cluster = genesis.cluster;
        let answer = match &self.agreed {
            Some((mine, durable)) if *mine == genesis => {
                // Who asks has agreed.
                self.agree.insert(from);
                self.refuse.remove(&from);
                // A word that may be forgotten is not given; it is asked for again.
                durable.then_some(GenesisWord::Agree(cluster))
            }
            Some(_) => Some(GenesisWord::Refuse(cluster, Refusal::Another)),
            None if founders.nodes().len() != usize::from(self.expect) => {
                Some(GenesisWord::Refuse(cluster, Refusal::Expects(self.expect)))
            }
            None => {
                self.agree_to(genesis);
                self.agree.insert(from);
                None
            }
        };
        self.out.extend(answer.map(|word| GenesisAct::Send(from, word)));
    }
}

#[cfg(test)]
mod tests;
