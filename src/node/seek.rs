//! How a node that is sent no journal finds its leader.
//!
//! Voters and learners hear their leader by themselves. To everybody else a new leader says that it
//! leads; and who has no session asks the servers that it knows of, one after another, until one of
//! them says who does. Who is asked is a hint and decides nothing; what is answered is believed,
//! for it comes from a server: who delivers words knows who has proven to be one.

use std::time::Duration;

use super::Node;
use super::effect::{Effect, Word};
use crate::ident::{Epoch, NodeId};
use crate::rng::Rng;
use crate::time::Mono;

/// Most servers that are remembered: all voters, all learners, and some that were.
const SERVERS_MAX: usize = 16;
/// How long a node without a session waits before it asks, and again before it asks the next.
const PATIENCE: Duration = Duration::from_secs(3);
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A new leader tells so many nodes at once that it leads, and the next so much later: a thousand
/// come back to it within five seconds.
const TOLD_AT_ONCE: usize = 20;
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Where a leader may be found.
#[derive(Debug)]
pub(super) struct Seek {
    rng: Rng,
    servers: Vec<NodeId>,
    turn: usize,
    ask_at: Mono,
    /// Who leads, as a server has said.
    pointed: Option<(NodeId, Epoch)>,
    /// Whom this leader has yet to tell that it leads, and when it tells the next.
    untold: Vec<NodeId>,
    tell_at: Mono,
}

impl Seek {
    /// Nobody is known, so nobody is asked.
    pub(super) fn new(seed: u64, now: Mono) -> Seek {
        let rng = Rng::new(seed);
        Seek {
            rng,
            servers: Vec::new(),
            turn: 0,
            ask_at: now,
            pointed: None,
            untold: Vec::new(),
            tell_at: now,
        }
    }

    /// Who leads, as a server has said.
    pub(super) fn pointed(&self) -> Option<(NodeId, Epoch)> {
        self.pointed
    }
}

impl Node {
    /// These are servers, as far as others know.
    pub(super) fn servers_seen(&mut self, mut servers: Vec<NodeId>) {
        servers.retain(|&node| node != self.identity.node);
        servers.truncate(SERVERS_MAX);
        self.seek.servers = servers;
    }

    /// When [`Node::look_for_leader`] must be called at the latest.
    pub(super) fn seek_due(&self) -> Option<Mono> {
        if self.established.is_some() {
            return Some(self.seek.tell_at).filter(|_| !self.seek.untold.is_empty());
        }
        let seeks = !self.seek.servers.is_empty() && !self.tether.is_open();
        Some(self.seek.ask_at).filter(|_| seeks)
    }

    /// This node leads now: all who don't hear so by themselves are to be told.
    pub(super) fn announce(&mut self) {
        let hears = |node| self.consensus.config().is_some_and(|config| config.contains(node));
        let others = self.state.members().filter(|member| !hears(member.id));
        self.seek.untold = others.map(|member| member.id).collect();
        self.seek.tell_at = self.now.mono;
    }

    fn tell_some(&mut self, epoch: Epoch) {
        let (now, me) = (self.now.mono, self.identity.node);
        if self.seek.untold.is_empty() || self.seek.tell_at > now {
            return;
        }
        self.seek.tell_at = now + TELL_EVERY;
        let from = self.seek.untold.len().saturating_sub(TOLD_AT_ONCE);
        for to in self.seek.untold.split_off(from) {
            self.effects.push_back(Effect::Send(to, Word::Leads(me, epoch)));
        }
    }

    /// Tells some of those who are to be told that this node leads. Or asks a server who does, when
    /// nobody is known to, or the one who is does not answer.
    pub(super) fn look_for_leader(&mut self) {
        let now = self.now.mono;
        if let Some(epoch) = self.established {
            self.tell_some(epoch);
        }
        if self.established.is_some() || self.tether.is_open() {
            self.seek.ask_at = now + PATIENCE;
            return;
        }
        let seek = &mut self.seek;
        if seek.ask_at > now || seek.servers.is_empty() {
            return;
        }
        let spread = u64::try_from(ASK_EVERY.as_nanos() / 2).unwrap_or(u64::MAX);
        seek.ask_at = now + ASK_EVERY + Duration::from_nanos(seek.rng.below(spread));
        seek.turn = (seek.turn + 1) % seek.servers.len();
        let to = seek.servers[seek.turn];
        self.effects.push_back(Effect::Send(to, Word::WhoLeads));
    }

    /// Somebody looks for the leader.
    pub(super) fn point(&mut self, from: NodeId) {
        if let Some((leader, epoch)) = self.leader() {
            self.effects.push_back(Effect::Send(from, Word::Leads(leader, epoch)));
        }
    }

    /// A server has said who leads.
    pub(super) fn pointed(&mut self, leader: NodeId, epoch: Epoch) {
        let is_news = self.leader().is_none_or(|(_, known)| epoch > known);
        if is_news && self.established.is_none() && leader != self.identity.node {
            self.seek.pointed = Some((leader, epoch));
        }
    }
}
