//! Who can be told what: the sessions of a leader, and a node's own with its leader.
//!
//! A leader's own node is told in here, without a network, through the same doors: a session of
//! its own begins when its registration is committed.

use std::time::Duration;

use super::effect::{Effect, Level, Word};
use super::office::BY_NODE;
use super::{Leaving, Node};
use crate::ident::{Epoch, NodeId};
use crate::journal::CHUNK_MAX_BYTES;
use crate::run::session::{self, FromNode, Heard, SESSIONS_MAX, Said};
use crate::run::wire::MEMBER_MAX_BYTES;
use crate::store::{Member, MemberState, Record};
use crate::time::Mono;

/// Most nodes that a leader registers, those that have left too: more than can have a session.
const MEMBERS_MAX: usize = 1_200;
const _: () = assert!(MEMBERS_MAX > SESSIONS_MAX);
// A snapshot names all of them in one chunk, beside the servers and the numbers of its head.
const _: () = assert!((MEMBERS_MAX + 16) * MEMBER_MAX_BYTES < CHUNK_MAX_BYTES);
/// Another data directory may have the name of a node that was silent for so long.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(60);

impl Node {
    /// Another node has said something.
    pub(super) fn hear(&mut self, from: NodeId, word: Word) {
        match word {
            Word::Consensus(envelope) => {
                self.consensus.handle(from, envelope, self.now);
                self.follow_consensus();
            }
            Word::Session(word) => self.hear_session(from, word),
            Word::ReadIndex(number) => self.read_asked(from, number),
            Word::ReadAt(number, index) => self.read_told(from, number, index),
            Word::WhoLeads => self.point(from),
            Word::Leads(leader, epoch) => self.pointed(leader, epoch),
            Word::SnapshotPart(part) => self.part_came(from, part),
            Word::SnapshotWanted(index, part) => self.part_wanted(from, index, part),
            Word::Forward(number, peer, request) => self.forwarded(from, number, peer, request),
            Word::Answer(number, applied, answer) => {
                self.forward_answered(from, number, applied, *answer);
            }
        }
    }

    /// Who leads, as far as this node knows: itself from when its office is established.
    pub(super) fn leader(&self) -> Option<(NodeId, Epoch)> {
        let me = self.identity.node;
        let heard = self.consensus.election().leader().filter(|&(node, _)| node != me);
        let other = heard.into_iter().chain(self.seek.pointed()).max_by_key(|&(_, epoch)| epoch);
        self.established.map(|epoch| (me, epoch)).or(other)
    }

    /// When [`Node::tend_sessions`] must be called at the latest.
    pub(super) fn sessions_due(&self) -> Option<Mono> {
        let runs = self.dispatch.poll_timeout().filter(|_| self.established.is_some());
        let tether = self.tether.poll_timeout().filter(|_| self.may_greet());
        [self.sessions.poll_timeout(), tether, runs].into_iter().flatten().min()
    }

    /// Greets, beats, and gives up who is silent.
    pub(super) fn tend_sessions(&mut self) {
        let other = self.leader().filter(|_| self.established.is_none());
        if self.tether.leader_is(other, self.now.mono) {
            if let Some((_, epoch)) = other {
                self.worker.greet(epoch);
                self.schedule_all();
            }
        }
        if self.established.is_some() {
            self.tend_office();
        } else if self.tether.poll_timeout().is_some_and(|at| at <= self.now.mono) {
            let me = self.registration(match self.leaving {
                Leaving::No | Leaving::Stopping | Leaving::Gone => MemberState::Registered,
                Leaving::Registry { .. } => MemberState::Left,
            });
            let may_greet = self.may_greet();
            if let Some((to, word)) = self.tether.tick(&me, may_greet, self.now.mono) {
                self.send(to, word);
            }
        }
    }

    /// Tells `node` something about a run; drops it when there is no session, for then the next
    /// one begins with questions.
    pub(super) fn tell(&mut self, node: NodeId, said: Said) {
        if !self.sessions.is_open(node) {
            return;
        }
        if let Some(word) = self.sessions.say(node, said) {
            self.send(node, word);
        }
    }

    /// Sends a word of a session.
    pub(super) fn send(&mut self, to: NodeId, word: session::Word) {
        self.effects.push_back(Effect::Send(to, Word::Session(word)));
    }

    /// The registry has changed: who has asked for a session may have it now.
    pub(super) fn welcome_registered(&mut self) {
        let me = self.identity.node;
        if self.is_registered() && !self.dispatch.is_reachable(me) {
            self.dispatch.session_began(&self.state, me, self.now);
        }
        let is_so = |wants: &&Member| self.state.member(wants.id) == Some(*wants);
        let waiting = self.sessions.waiting().filter(is_so).map(|wants| wants.id);
        for node in waiting.collect::<Vec<_>>() {
            self.welcome(node);
        }
    }

    fn hear_session(&mut self, from: NodeId, word: session::Word) {
        let now = self.now;
        if self.established.is_some() {
            return self.hear_node(from, word);
        }
        // Who follows hears of a leader before that is established, and greets it at once.
        if self.consensus.election().leads() == Some(word.epoch) {
            if self.early.len() < SESSIONS_MAX {
                self.early.push((from, word));
            }
            return;
        }
        match self.tether.hear(from, word, now.mono) {
            Heard::Nothing => {}
            Heard::Begun => self.session_began(),
            Heard::Order(order) => self.worker.order(*order, now),
            Heard::Question(run) => self.worker.question(run),
            Heard::Settle(run) => self.worker.settled(run, now),
            Heard::Refused(why) => {
                self.log(Level::Warn, "the leader refuses this node", vec![("why", why)]);
            }
        }
    }

    /// Hears those who have greeted this node before its office was established.
    pub(super) fn hear_early(&mut self) {
        for (from, word) in std::mem::take(&mut self.early) {
            self.hear_node(from, word);
        }
    }

    /// The leader has written down what this node said of itself.
    fn session_began(&mut self) {
        self.worker.report_ends();
        // A server sees it in its own state.
        if !self.settings.server {
            self.end_leaving();
        }
    }

    fn hear_node(&mut self, from: NodeId, word: session::Word) {
        let now = self.now;
        match self.sessions.hear(from, word, now.mono) {
            FromNode::Nothing => {}
            FromNode::Greeting(member) => self.greeted(*member),
            FromNode::Report(run, report) => self.dispatch.report(&self.state, run, report, now),
            FromNode::Lost => self.end_session(from, None),
        }
    }

    fn greeted(&mut self, member: Member) {
        let node = member.id;
        self.dispatch.session_ended(node, self.now);
        if let Some(why) = self.why_refused(&member) {
            return self.end_session(node, Some(why));
        }
        if self.state.member(node) == Some(&member) {
            self.welcome(node);
        } else if !self.is_handing_over() {
            self.take_over(&member);
            self.append(Record::Node(member), BY_NODE);
        }
    }

    /// Ends the registration of another node whose name `member` takes over: its data directory is
    /// gone, and nobody can know what became of its runs.
    fn take_over(&mut self, member: &Member) {
        let Some(old) = self.holder(member).filter(|old| old.id != member.id).cloned() else {
            return;
        };
        let node = old.id.to_string();
        self.log(Level::Warn, "a name is taken over", vec![("of", node)]);
        let (store, state) = (member.store, MemberState::Left);
        self.append(Record::Node(Member { store, state, ..old }), BY_NODE);
    }

    /// Who else has the name or the number that `member` wants.
    fn holder(&self, member: &Member) -> Option<&Member> {
        self.state.members().find(|other| {
            let alike = other.name == member.name || other.id == member.id;
            alike && other.store != member.store && other.state == MemberState::Registered
        })
    }

    /// Whether a registration of that name is on its way to the journals.
    fn is_about_to_be(&self, member: &Member) -> bool {
        self.log.iter().any(|entry| match &entry.record {
            Record::Node(other) => {
                other.name == member.name
                    && other.id != member.id
                    && other.state == MemberState::Registered
            }
            _ => false,
        })
    }

    /// Why a node is not let in, if it is not.
    fn why_refused(&self, member: &Member) -> Option<String> {
        let known = self.state.member(member.id);
        if known.is_some_and(|known| known.store == member.store && known.boot > member.boot) {
            let why = "a later start of this node is registered: its data directory was put back";
            return Some(why.into());
        }
        if known.is_none() && self.registered_soon() >= MEMBERS_MAX {
            return Some(format!("there are {MEMBERS_MAX} nodes already, as many as there may be"));
        }
        if self.is_about_to_be(member) {
            return Some(format!("another node is about to have the name {:?}", member.name));
        }
        let holder = self.holder(member)?;
        let silent = self.dispatch.silent_for(holder.id, self.now);
        let is_gone = holder.id != self.identity.node && silent >= TAKE_OVER_AFTER;
        (!is_gone).then(|| {
            let Member { name, id, address, .. } = holder;
            format!(
                "the name {name:?} belongs to node {id} at {address:?}, which was heard {} s ago; \
                 it is given away after {} s",
                silent.as_secs(),
                TAKE_OVER_AFTER.as_secs(),
            )
        })
    }

    /// How many nodes are registered, or will be when all is durable.
    fn registered_soon(&self) -> usize {
        let is_known = |member: &Member| self.state.member(member.id).is_some();
        let is_new = |record: &Record| matches!(record, Record::Node(member) if !is_known(member));
        let coming = self.log.iter().filter(|entry| is_new(&entry.record)).count();
        self.state.members().len() + coming
    }

    fn welcome(&mut self, node: NodeId) {
        let Some(state) = self.state.member(node).map(|member| member.state) else { return };
        let Some(word) = self.sessions.welcome(node, self.now.mono) else { return };
        self.send(node, word);
        // Who has left is told that it is written down, and nothing else.
        if state == MemberState::Registered {
            self.dispatch.session_began(&self.state, node, self.now);
        }
    }

    fn tend_office(&mut self) {
        let (words, silent) = self.sessions.tick(self.now.mono);
        for (node, word) in words {
            self.send(node, word);
        }
        for node in silent {
            self.log(Level::Warn, "a node is silent", vec![("node", node.to_string())]);
            self.end_session(node, None);
        }
        self.dispatch.tick(&self.state, self.now);
    }

    fn end_session(&mut self, node: NodeId, why: Option<String>) {
        if let Some(word) = self.sessions.end(node, why) {
            self.send(node, word);
        }
        self.dispatch.session_ended(node, self.now);
    }

    /// A node speaks to a leader only when the epoch is on its own disk, so that no lower one is
    /// obeyed after that.
    fn may_greet(&self) -> bool {
        self.worker.is_greeted() && !matches!(self.leaving, Leaving::Stopping | Leaving::Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{Boot, StoreId};
    use crate::node::Input;
    use crate::node::testing::{every_second, node_after, records_of, sync};

    fn member(id: usize) -> Member {
        Member {
            id: NodeId::new(id as u32).expect("not 0"),
            store: StoreId(1),
            boot: Boot(1),
            name: format!("n{id}"),
            address: String::new(),
            server: false,
            work: true,
            tags: Vec::new(),
            state: MemberState::Left,
        }
    }

    /// What the leader says at once to a node that greets it.
    fn greet(leader: &mut Node, id: usize) -> Vec<Said> {
        let (now, epoch) = (leader.now, leader.leader().expect("it leads").1);
        let said = Said::Greeting(Box::new(member(id)));
        let word = session::Word { epoch, session: 5, number: 0, said };
        leader.handle(Input::Peer(member(id).id, Word::Session(word)), now);
        let mut said = Vec::new();
        leader.effects.retain(|effect| match effect {
            Effect::Send(_, Word::Session(word)) => {
                said.push(word.said.clone());
                false
            }
            _ => true,
        });
        said
    }

    #[test]
    fn there_are_only_so_many_nodes() {
        let mut records = records_of(&every_second());
        let own = 1;
        records.extend((100..100 + MEMBERS_MAX - own - 2).map(|id| Record::Node(member(id))));
        let mut leader = node_after(records, 0);
        sync(&mut leader);
        // The last two are on their way to the disk when the next one comes.
        for (id, is_room) in [(1, true), (2, true), (3, false), (100, true)] {
            let said = greet(&mut leader, id);
            let refused = matches!(&said[..], [Said::Over(Some(why))] if why.contains("1200"));
            assert_eq!(refused, !is_room, "{id}: {said:?}");
        }
        sync(&mut leader);
        assert_eq!(leader.state().members().len(), MEMBERS_MAX);
        assert!(matches!(greet(&mut leader, 4)[..], [Said::Over(Some(_))]));
        let chunks = leader.state().snapshot();
        assert!(chunks.iter().all(|chunk| chunk.len() < CHUNK_MAX_BYTES));
    }
}
