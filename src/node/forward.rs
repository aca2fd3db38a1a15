//! Requests that only the leader can do, from a node that does not lead.
//!
//! The receiving node has authenticated and authorised who asks. The answer comes back with the
//! leader's place in the journal, and is held until this node has applied as much: who reads here
//! afterwards sees what was answered.

use std::collections::BTreeMap;

use super::Node;
use super::effect::{Effect, Level, Word};
use super::requests::{OUTCOME_WAIT, overloaded_by};
use crate::api::{self, Peer};
use crate::http::{Body, Request, Response};
use crate::ident::{Index, NodeId, RequestId};
use crate::time::Mono;

/// Most requests of clients that are forwarded and not answered.
const FORWARDS_MAX: usize = 1_024;
/// Most bytes of a body that is forwarded: what fits a frame between nodes.
const FORWARD_MAX_BYTES: usize = 1024 * 1024 - 64 * 1024;
/// Most requests of other nodes that are not answered.
const FOREIGN_MAX: usize = 4_096;
/// Numbers of requests from here on are those of other nodes; the shell's are below.
const FOREIGN: u64 = 1 << 63;

/// Requests on their way to a leader and back, on both sides.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    next: u64,
    /// Given to a leader, by number.
    sent: BTreeMap<u64, Sent>,
    /// Answered, and held until this node has applied as much.
    held: Vec<Held>,
    /// Of other nodes.
    foreign: BTreeMap<RequestId, (NodeId, u64)>,
}

#[derive(Debug)]
struct Sent {
    request: RequestId,
    to: NodeId,
    late_at: Mono,
}

#[derive(Debug)]
struct Held {
    until: Index,
    request: RequestId,
    late_at: Mono,
    answer: Response,
}

impl Forwards {
    /// Nothing forwarded yet. Numbers begin at a place drawn for this start: a late answer to what
    /// was forwarded before it must not be taken for one of now.
    pub(super) fn new(seed: u64) -> Forwards {
        Forwards { next: seed >> 2, ..Forwards::default() }
    }

    /// When [`Node::answer_forwards`] must be called at the latest.
    pub(super) fn late_at(&self) -> Option<Mono> {
        let sent = self.sent.values().next().map(|sent| sent.late_at);
        let held = self.held.iter().map(|held| held.late_at).min();
        [sent, held].into_iter().flatten().min()
    }
}

impl Node {
    /// Forwards a request of a client to the leader; without one nothing is changed.
    pub(super) fn forward(&mut self, id: RequestId, peer: Peer, request: Box<Request>) {
        let leader = self.leader().map(|(node, _)| node).filter(|&node| node != self.identity.node);
        let Some(to) = leader.filter(|_| id.0 < FOREIGN) else {
            let sentence = "there is no leader at the moment; try again in a moment";
            return self.reply(id, api::unavailable("no_leader", sentence));
        };
        if request.body.len() > FORWARD_MAX_BYTES {
            let sentence = "this is too much to be sent on to the leader; ask the leader itself";
            return self.reply(id, api::unavailable("no_leader", sentence));
        }
        if self.forwards.sent.len() >= FORWARDS_MAX {
            return self
                .reply(id, overloaded_by("too many changes are on their way to the leader"));
        }
        self.forwards.next += 1;
        let (number, late_at) = (self.forwards.next, self.now.mono + OUTCOME_WAIT);
        self.forwards.sent.insert(number, Sent { request: id, to, late_at });
        self.effects.push_back(Effect::Send(to, Word::Forward(number, peer, request)));
    }

    /// A request that another node has forwarded to this one.
    pub(super) fn forwarded(
        &mut self,
        from: NodeId,
        number: u64,
        peer: Peer,
        request: Box<Request>,
    ) {
        self.forwards.next += 1;
        let id = RequestId(FOREIGN | self.forwards.next);
        let is_room = self.forwards.foreign.len() < FOREIGN_MAX;
        self.forwards.foreign.insert(id, (from, number));
        match (is_room, self.established) {
            (true, Some(_)) => self.request(id, peer, request),
            (false, _) => self.reply(id, overloaded_by("too many changes are waiting")),
            (true, None) => {
                let sentence = "the node that was asked leads no more; try again in a moment";
                self.reply(id, api::unavailable("no_leader", sentence));
            }
        }
    }

    /// Sends the answer to a request of another node there; gives it back if it is none.
    pub(super) fn answer_foreign(&mut self, id: RequestId, answer: Response) -> Option<Response> {
        let Some((to, number)) = self.forwards.foreign.remove(&id) else { return Some(answer) };
        let answer = match answer.body {
            Body::Stream(stream) => {
                self.streams.remove(&stream);
                api::unavailable("no_leader", "only the leader itself answers this; ask there")
            }
            Body::Bytes(_) | Body::Empty => answer,
        };
        let word = Word::Answer(number, self.state.applied(), Box::new(answer));
        self.effects.push_back(Effect::Send(to, word));
        None
    }

    /// The leader has answered a forwarded request.
    pub(super) fn forward_answered(
        &mut self,
        from: NodeId,
        number: u64,
        until: Index,
        answer: Response,
    ) {
        let is_meant = self.forwards.sent.get(&number).is_some_and(|sent| sent.to == from);
        let sent = if is_meant { self.forwards.sent.remove(&number) } else { None };
        let Some(Sent { request, late_at, .. }) = sent else { return };
        self.forwards.held.push(Held { until, request, late_at, answer });
    }

    /// Gives out the answers for which enough is applied, and those that are late.
    pub(super) fn answer_forwards(&mut self) {
        let (applied, now) = (self.state.applied(), self.now.mono);
        let is_due = |held: &mut Held| held.until <= applied || held.late_at <= now;
        let due: Vec<Held> = self.forwards.held.extract_if(.., is_due).collect();
        for Held { request, answer, .. } in due {
            self.reply(request, answer);
        }
        while self.forwards.sent.values().next().is_some_and(|sent| sent.late_at <= now) {
            if let Some((_, sent)) = self.forwards.sent.pop_first() {
                self.log(Level::Warn, "the leader has not answered", Vec::new());
                self.reply(sent.request, api::outcome_unknown());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use crate::node::Input;
    use crate::node::testing::{ask, every_second, node_after, node_id, records_of, sync};

    fn answer() -> Box<Response> {
        Box::new(Response::json(201, b"{}".to_vec()))
    }

    fn replies(node: &mut Node) -> Vec<u16> {
        let mut statuses = Vec::new();
        while let Some(effect) = node.poll_effect() {
            if let Effect::Reply(_, response) = effect {
                statuses.push(response.status);
            }
        }
        statuses
    }

    /// The numbers of forwards began at 1 after each start. An answer to the first one before it,
    /// late on its way, was then given to the first client after it.
    #[test]
    fn an_answer_to_what_was_forwarded_before_a_start_is_nobodys() {
        let leader = NodeId::new(3).expect("not 0");
        let mut node = node_after(records_of(&every_second()), 0);
        sync(&mut node);
        let now = node.now;
        // Somebody else leads, in a later epoch.
        let append = crate::cluster::Append {
            prev: crate::cluster::Place::default(),
            records: Vec::new(),
            commit: Index(0),
            round: 1,
        };
        let message = crate::cluster::Message::Append(append);
        let envelope = crate::cluster::Envelope { epoch: crate::ident::Epoch(99), message };
        node.handle(Input::Peer(leader, Word::Consensus(envelope)), now);
        while node.poll_effect().is_some() {}
        ask(&mut node, Method::Post, "/v1/jobs", "{}");
        let mut sent = Vec::new();
        while let Some(effect) = node.poll_effect() {
            if let Effect::Send(to, Word::Forward(number, ..)) = effect {
                assert_eq!(to, leader);
                sent.push(number);
            }
        }
        let [number] = sent[..] else { panic!("it is forwarded: {sent:?}") };
        for stale in [0, 1, 2] {
            let word = Word::Answer(stale, Index(0), answer());
            node.handle(Input::Peer(leader, word), now);
            assert_eq!(replies(&mut node), [] as [u16; 0], "{stale}");
        }
        let other = Word::Answer(number, Index(0), answer());
        node.handle(Input::Peer(node_id(), other), now);
        assert_eq!(replies(&mut node), [] as [u16; 0], "of another node");
        node.handle(Input::Peer(leader, Word::Answer(number, Index(0), answer())), now);
        assert_eq!(replies(&mut node), [201]);
    }
}
