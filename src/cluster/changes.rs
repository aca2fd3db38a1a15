//! Changes of who keeps the journal and who leads: one step at a time, each of them safe alone.
//!
//! Who is to vote in the end is said from above; a leader takes one step towards it when the step
//! before is committed (Raft's dissertation, section 4.1: one server comes or goes at a time, and
//! only behind a committed record of the own epoch). A newcomer learns first, and a step that
//! those who are there now could not carry is not taken: it would end this office and begin none.

use super::consensus::Consensus;
use super::message::{Act, Envelope, Message};
use super::voters::{Config, VOTERS_MAX, Voters};
use crate::ident::{Index, NodeId};

/// Most servers that learn at a time.
pub const LEARNERS_MAX: usize = 2;
/// A learner that lacks at most so many records may become a voter.
pub const LAG_MAX: u64 = 1_000;

/// What decides whether a server may come or go now.
pub(super) trait Sight {
    /// Whether it has answered lately.
    fn is_there(&self, node: NodeId) -> bool;
    /// Whether its journal lacks little.
    fn is_near(&self, node: NodeId) -> bool;
}

impl Config {
    /// The next step to where `wanted` vote and the other `servers`, as far as there is room,
    /// learn. `None` when there is nothing to do, or nothing that can be done now. `me` leads, and
    /// goes last.
    pub(super) fn step(
        &self,
        wanted: &[NodeId],
        servers: &[NodeId],
        me: NodeId,
        sight: &impl Sight,
    ) -> Option<Config> {
        let votes = |node: &NodeId| self.voters.contains(*node);
        let missing: Vec<NodeId> = wanted.iter().copied().filter(|node| !votes(node)).collect();
        let is_full = self.voters.nodes().len() >= VOTERS_MAX;
        let carried = |next: &Config| next.voters.carried(|node| sight.is_there(node));
        let comes = |node: &NodeId| self.learners.contains(node) && sight.is_near(*node);
        if let Some(&node) = missing.iter().find(|node| comes(node)).filter(|_| !is_full) {
            return self.with(node).filter(carried);
        }
        if missing.is_empty() || is_full {
            let goes = |node: &&NodeId| !wanted.contains(*node);
            let others = self.voters.nodes().iter().filter(|&&node| node != me).find(goes);
            if let Some(&node) = others.or(Some(&me).filter(goes).filter(|node| votes(node))) {
                return self.without(node).filter(carried);
            }
        }
        let learners = self.next_learners(&missing, servers);
        (learners != self.learners).then(|| Config { voters: self.voters.clone(), learners })
    }

    fn with(&self, node: NodeId) -> Option<Config> {
        let voters = self.voters.nodes().iter().copied().chain([node]).collect();
        let learners = self.learners.iter().copied().filter(|&other| other != node).collect();
        Some(Config { voters: Voters::new(voters)?, learners })
    }

    fn without(&self, node: NodeId) -> Option<Config> {
        let stay = self.voters.nodes().iter().copied().filter(|&other| other != node).collect();
        Some(Config { voters: Voters::new(stay)?, learners: self.learners.clone() })
    }

    /// Who is to vote learns first; who learns already goes on; then the others in their order.
    fn next_learners(&self, missing: &[NodeId], servers: &[NodeId]) -> Vec<NodeId> {
        let mut learners = Vec::new();
        for &node in missing.iter().chain(&self.learners).chain(servers) {
            let is_new = !learners.contains(&node) && !self.voters.contains(node);
            if is_new && learners.len() < LEARNERS_MAX && servers.contains(&node) {
                learners.push(node);
            }
        }
        learners.sort_unstable();
        learners
    }
}

/// A leader's view of its followers.
struct Followers<'a>(&'a Consensus);

impl Sight for Followers<'_> {
    fn is_there(&self, node: NodeId) -> bool {
        node == self.0.me || self.0.is_heard(node)
    }

    fn is_near(&self, node: NodeId) -> bool {
        let last = self.0.log.shape.last().index;
        let matched = self.0.matched(node).unwrap_or_default();
        self.is_there(node) && matched.0 + LAG_MAX >= last.0
    }
}

impl Consensus {
    /// Whether a change of voters may begin: the office stands, and no other is under way.
    pub fn may_change_voters(&self) -> bool {
        self.log.is_established() && self.configs.newest_at() <= self.log.committed
    }

    /// The configuration to append next, so that in the end `wanted` vote; the other `servers`
    /// learn, as far as there is room. `None` when there is none, or none now.
    pub fn next_config(&self, wanted: &[NodeId], servers: &[NodeId]) -> Option<Config> {
        let config = self.configs.newest().filter(|_| self.may_change_voters())?;
        config.step(wanted, servers, self.me, &Followers(self))
    }

    /// The voter to hand over to: of those that were heard lately, the one that has most; `None`
    /// when this node does not lead, or nobody else could.
    pub fn heir(&self) -> Option<NodeId> {
        let office = self.log.office.as_ref()?;
        let voters = self.configs.voters()?;
        let able = |node: &NodeId| voters.contains(*node) && self.is_heard(*node);
        let able = office.peers.iter().filter(|(node, _)| able(node));
        able.max_by_key(|(node, peer)| (peer.matched, **node)).map(|(&node, _)| node)
    }

    /// Hands over to `to`, if that has everything. False when it has not, or this node does not
    /// lead.
    pub fn transfer(&mut self, to: NodeId) -> bool {
        let last = self.log.shape.last().index;
        let until = self.now.mono + self.timing.candidacy;
        let votes = self.configs.voters().is_some_and(|voters| voters.contains(to));
        let Some(office) = self.log.office.as_mut().filter(|_| votes) else { return false };
        if office.peers.get(&to).is_none_or(|peer| peer.matched < last) {
            return false;
        }
        office.transfer = Some((to, until));
        let envelope = Envelope { epoch: office.epoch, message: Message::Transfer };
        self.out.push_back(Act::Send(to, envelope));
        true
    }

    /// Whether the office is being handed over: nothing new should be appended.
    pub fn is_handing_over(&self) -> bool {
        self.log.office.as_ref().is_some_and(|office| office.transfer.is_some())
    }

    /// What of the journal a follower's disk surely holds; `None` unless this node leads and feeds
    /// it.
    pub fn matched(&self, node: NodeId) -> Option<Index> {
        let office = self.log.office.as_ref()?;
        office.peers.get(&node).map(|peer| peer.matched)
    }

    /// Whether this node leads and a follower has answered lately.
    pub fn is_heard(&self, node: NodeId) -> bool {
        let office = self.log.office.as_ref();
        let heard = office.and_then(|office| office.peers.get(&node)?.heard);
        heard.is_some_and(|at| self.now.mono.since(at) <= self.timing.quorum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(text: &str) -> Vec<NodeId> {
        let numbers = text.split(',').filter(|text| !text.is_empty());
        numbers.map(|text| NodeId::new(text.parse().unwrap()).unwrap()).collect()
    }

    /// Those who are there, and of them those who are near.
    struct Given(Vec<NodeId>, Vec<NodeId>);

    impl Sight for Given {
        fn is_there(&self, node: NodeId) -> bool {
            self.0.contains(&node)
        }

        fn is_near(&self, node: NodeId) -> bool {
            self.1.contains(&node)
        }
    }

    fn config(text: &str) -> Config {
        let (voters, learners) = text.split_once('+').unwrap();
        Config { voters: Voters::new(nodes(voters)).unwrap(), learners: nodes(learners) }
    }

    #[test]
    fn each_step_is_the_next_that_those_who_are_there_can_carry() {
        let all = "1,2,3,4,5,6,7,8,9";
        for (why, from, wanted, servers, there, near, next) in [
            ("nothing is wanted", "1+", "1", "1", all, "", None),
            ("a new server learns", "1+", "1", "1,2", all, "", Some("1+2")),
            ("two learn at a time", "1+", "1", "1,2,3,4", all, "", Some("1+2,3")),
            ("who learns goes on", "1+3,4", "1", "1,2,3,4", all, all, None),
            ("who is to vote learns first", "1+3,4", "1,5", "1,3,4,5", all, "", Some("1+3,5")),
            ("who left learns no more", "1+2", "1", "1", all, all, Some("1+")),
            ("a far one waits", "1+2", "1,2", "1,2", all, "", None),
            ("a near one votes", "1+2,3", "1,2", "1,2,3", all, "2", Some("1,2+3")),
            ("one at a time", "1+2,3", "1,2,3", "1,2,3", all, all, Some("1,2+3")),
            ("never on without a majority", "1+2", "1,2", "1,2", "1", all, None),
            ("one goes", "1,2,3+", "1,2", "1,2,3", all, "", Some("1,2+")),
            ("who leads goes last", "1,2,3+", "3", "1,2,3", all, "", Some("1,3+")),
            ("and goes", "1,2+", "2", "1,2", all, "", Some("2+")),
            ("never down to a dead one", "1,2,3+", "1,2", "1,2,3", "1,3", "", None),
            ("a dead one goes", "1,2,3+", "1,2", "1,2,3", "1,2", "", Some("1,2+")),
            ("come before go", "1,2,3+4", "1,2,4", all, all, "4", Some("1,2,3,4+")),
            ("then go", "1,2,3,4+", "1,2,4", "1,2,3,4", all, "", Some("1,2,4+")),
            (
                "go first when full",
                "1,2,3,4,5,6,7+8",
                "1,2,3,4,5,6,8",
                all,
                all,
                "8",
                Some("1,2,3,4,5,6+8"),
            ),
        ] {
            let sight = Given(nodes(there), nodes(near));
            let me = NodeId::new(1).unwrap();
            let step = config(from).step(&nodes(wanted), &nodes(servers), me, &sight);
            assert_eq!(step, next.map(config), "{why}");
            if let Some(step) = step {
                assert!(config(from).may_become(&step), "{why}");
            }
        }
    }

    /// However those who are there change, the steps end where they are to, if all are there in
    /// the end.
    #[test]
    fn the_steps_lead_to_what_is_wanted() {
        let mut rng = crate::rng::Rng::new(11);
        let all = nodes("1,2,3,4,5,6,7,8,9");
        let some = |rng: &mut crate::rng::Rng| {
            let picked: Vec<NodeId> = all.iter().copied().filter(|_| rng.chance(1, 2)).collect();
            if picked.is_empty() { nodes("4") } else { picked.into_iter().take(7).collect() }
        };
        for round in 0..2_000 {
            let mut at = Config::of(Voters::new(some(&mut rng)).unwrap());
            let wanted = some(&mut rng);
            let me = at.voters.nodes()[0];
            for turn in 0..60 {
                let there = if turn < 20 { some(&mut rng) } else { all.clone() };
                let near = if turn < 40 { some(&mut rng) } else { all.clone() };
                if let Some(next) = at.step(&wanted, &all, me, &Given(there, near)) {
                    assert!(at.may_become(&next) && next.learners.len() <= LEARNERS_MAX);
                    at = next;
                }
            }
            assert_eq!(at.voters.nodes(), wanted, "round {round}");
            assert_eq!(at.learners.len(), LEARNERS_MAX, "round {round}");
        }
    }
}
