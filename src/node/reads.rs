//! Reads that must see every change that was answered before they came.
//!
//! A leader serves one when a majority has answered a round of heartbeats that began after it:
//! nobody else led then, so nobody else has answered a change. Another server asks the leader for
//! the index that such a read must see, waits until it has applied as much, and answers by itself.
//! No leases: they would hang on clocks.

use std::collections::BTreeMap;

use super::Node;
use super::effect::{Effect, Word};
use super::requests::{OUTCOME_WAIT, overloaded_by};
use crate::api::{self, Peer};
use crate::cluster::READS_MAX;
use crate::http::Request;
use crate::ident::{Index, NodeId, RequestId};
use crate::mistake::{Mistake, made};
use crate::time::Mono;

/// Reads that wait, by a number that this node has given them.
#[derive(Debug, Default)]
pub(super) struct Reads {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    who: Who,
    /// Who was asked, if not this node itself.
    asked: Option<NodeId>,
    /// What must be applied here; not known before the leader has said so.
    index: Option<Index>,
    late_at: Mono,
}

#[derive(Debug)]
enum Who {
    /// A client of this node.
    Client(RequestId, Peer, Box<Request>),
    /// Another node, with its own number.
    Node(NodeId, u64),
}

impl Reads {
    /// Nothing waits. Numbers begin at a place drawn for this start: a late answer to a read from
    /// before it must not be taken for one of now.
    pub(super) fn new(seed: u64) -> Reads {
        Reads { next: seed >> 2, waiting: BTreeMap::new() }
    }

    /// When [`Node::serve_reads`] must be called at the latest.
    pub(super) fn late_at(&self) -> Option<Mono> {
        // Each waits equally long, so the oldest is late first.
        self.waiting.values().next().map(|waiting| waiting.late_at)
    }
}

impl Node {
    /// A client wants to see every change that was answered before now.
    pub(super) fn read(&mut self, id: RequestId, peer: Peer, mut request: Box<Request>) {
        request.query.retain(|(key, _)| key != api::CONSISTENT);
        let other = self.leader().map(|(node, _)| node).filter(|_| self.established.is_none());
        if self.established.is_none() && other.is_none() {
            return self.reply(id, no_leader());
        }
        let client = Who::Client(id, peer, request);
        let Some(number) = self.wait_to_read(client, other) else { return };
        match other {
            None => self.prove_read(number),
            Some(to) => self.effects.push_back(Effect::Send(to, Word::ReadIndex(number))),
        }
    }

    /// Another node asks what a read must see that has come there.
    pub(super) fn read_asked(&mut self, from: NodeId, theirs: u64) {
        if self.established.is_none() {
            return self.effects.push_back(Effect::Send(from, Word::ReadAt(theirs, None)));
        }
        if let Some(number) = self.wait_to_read(Who::Node(from, theirs), None) {
            self.prove_read(number);
        }
    }

    /// The leader has said what a read must see.
    pub(super) fn read_told(&mut self, from: NodeId, number: u64, index: Option<Index>) {
        let asked = self.reads.waiting.get(&number).and_then(|waiting| waiting.asked);
        if asked == Some(from) {
            self.read_proven(number, index);
        }
    }

    /// What was committed when the read of that number came; `None` when nobody can say.
    pub(super) fn read_proven(&mut self, number: u64, index: Option<Index>) {
        let Some(waiting) = self.reads.waiting.get_mut(&number) else { return };
        match (&waiting.who, index) {
            (&Who::Node(to, theirs), _) => {
                self.reads.waiting.remove(&number);
                self.effects.push_back(Effect::Send(to, Word::ReadAt(theirs, index)));
            }
            (Who::Client(..), Some(_)) => waiting.index = index,
            (&Who::Client(id, ..), None) => {
                self.reads.waiting.remove(&number);
                self.reply(id, no_leader());
            }
        }
    }

    /// Serves the reads for which enough is applied, and gives up those that are late.
    pub(super) fn serve_reads(&mut self) {
        let (applied, now) = (self.state.applied(), self.now.mono);
        let is_due = |waiting: &Waiting| {
            waiting.late_at <= now || waiting.index.is_some_and(|index| index <= applied)
        };
        let due = self.reads.waiting.iter().filter(|(_, waiting)| is_due(waiting));
        let due: Vec<u64> = due.map(|(&number, _)| number).collect();
        for number in due {
            let Some(Waiting { who, index, .. }) = self.reads.waiting.remove(&number) else {
                continue;
            };
            let is_seen = index.is_some_and(|index| index <= applied);
            match who {
                Who::Client(id, peer, request) if is_seen => self.request(id, peer, request),
                Who::Client(id, ..) => self.reply(id, no_leader()),
                // Who asks gives up by itself.
                Who::Node(..) => {}
            }
        }
    }

    fn prove_read(&mut self, number: u64) {
        if made(Mistake::ReadWithoutRound) {
            return self.read_proven(number, Some(self.state.applied()));
        }
        self.consensus.read(number, self.now);
        self.follow_consensus();
    }

    /// The number of a read that waits from now on; `None` when there are too many.
    fn wait_to_read(&mut self, who: Who, asked: Option<NodeId>) -> Option<u64> {
        if self.reads.waiting.len() >= READS_MAX {
            match who {
                Who::Client(id, ..) => self.reply(id, overloaded_by("too many reads are waiting")),
                Who::Node(to, theirs) => {
                    self.effects.push_back(Effect::Send(to, Word::ReadAt(theirs, None)));
                }
            }
            return None;
        }
        self.reads.next += 1;
        let (number, late_at) = (self.reads.next, self.now.mono + OUTCOME_WAIT);
        self.reads.waiting.insert(number, Waiting { who, asked, index: None, late_at });
        Some(number)
    }
}

fn no_leader() -> crate::http::Response {
    let sentence = "no leader has answered, so this may not be all; try again in a moment";
    api::unavailable("no_leader", sentence)
}
