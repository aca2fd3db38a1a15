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
/// Longest header field that an answer keeps which is too long to be sent.
const KEPT_FIELD_MAX_BYTES: usize = 1_024;
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
    pub(super) fn forward(&mut self, id: RequestId, peer: Peer, request: Request) {
        let leader = self.leader().map(|(node, _)| node).filter(|&node| node != self.identity.node);
        let Some(to) = leader.filter(|_| !Node::is_foreign(id)) else {
            let sentence = "there is no leader at the moment; try again in a moment";
            return self.reply(id, api::unavailable("no_leader", sentence));
        };
        if self.forwards.sent.len() >= FORWARDS_MAX {
            return self
                .reply(id, overloaded_by("too many changes are on their way to the leader"));
        }
        let (number, late_at) = (self.forwards.next + 1, self.now.mono + OUTCOME_WAIT);
        let (peer, request) = api::sent_on(peer, request);
        let word = Word::Forward(number, peer, Box::new(request));
        if word.frame(self.identity.node, self.config_at()).is_err() {
            let sentence = "this is too much to be sent on to the leader; ask the leader itself";
            return self.reply(id, Response::error(413, "too_large", sentence));
        }
        self.forwards.next = number;
        self.forwards.sent.insert(number, Sent { request: id, to, late_at });
        self.effects.push_back(Effect::Send(to, word));
    }

    /// Whether a request is another node's.
    pub(super) fn is_foreign(id: RequestId) -> bool {
        id.0 >= FOREIGN
    }

    /// The answer to what only the leader itself can be asked.
    pub(super) fn ask_the_leader(&self) -> Response {
        let leader = self.leader().and_then(|(node, _)| self.state.member(node));
        let name = leader.map_or_else(String::new, |leader| format!(", {}", leader.name));
        let sentence =
            format!("a restore is not sent on to the leader; ask the leader itself{name}");
        api::unavailable("no_leader", &sentence)
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
        let Response { status, mut headers, body } = answer;
        let body = match body {
            // Nothing that is forwarded is answered by one.
            Body::Stream(stream) => {
                self.streams.remove(&stream);
                None
            }
            Body::Bytes(_) | Body::Empty => Some(body),
        };
        let applied = self.state.applied();
        let told = |headers, body| {
            Word::Answer(number, applied, Box::new(Response { status, headers, body }))
        };
        let word = body.map(|body| told(headers.clone(), body));
        let fits = |word: &Word| word.frame(self.identity.node, self.config_at()).is_ok();
        let word = word.filter(fits).unwrap_or_else(|| {
            // The status stands: it says whether something was done.
            headers.retain(|(_, value)| value.len() <= KEPT_FIELD_MAX_BYTES);
            let sentence = "this is the status of the leader's answer, but what it says is too \
                            long to be sent between nodes; look at what was changed";
            told(headers, Response::error(status, "answer_too_long", sentence).body)
        });
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
mod tests;
