//! A leader's office: its followers, its rounds of heartbeats, the reads that wait for one.
//!
//! A round is answered by whoever still follows this office, so a majority of answers to one
//! proves that nobody else could have led when it began. Feeds each follower from where the two
//! journals agree; what is no longer in memory is read from the disk, what is no longer in the
//! journal comes as a snapshot.

use std::collections::{BTreeMap, VecDeque};

use super::message::{Act, Append, Envelope, Message, Place, Raw};
use super::peer::{APPEND_MAX_BYTES, Feed, Peer};
use super::replication::Replication;
use super::timing::Timing;
use super::voters::{Config, Voters};
use crate::ident::{Epoch, Index, NodeId};
use crate::time::Mono;

/// Most reads that wait for a round; who comes beyond is told that it failed.
pub const READS_MAX: usize = 1_024;
/// Most rounds that are remembered while none of them is answered.
const ROUNDS_MAX: usize = 64;

/// The office of one epoch.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) epoch: Epoch,
    /// Its first record.
    pub(super) first: Index,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    /// The newest round, and when each that may still count began.
    round: u64,
    begun: VecDeque<(u64, Mono)>,
    /// When the newest round began that a majority has answered.
    pub(super) fresh: Mono,
    beat_at: Mono,
    /// Reads with the round that must be answered for them, and what was committed when they came.
    reads: VecDeque<(u64, u64, Index)>,
    /// When the own journal last advanced, or had nothing to write.
    pub(super) advanced: (Index, Mono),
    /// To whom it hands over, and until when it waits for that.
    pub(super) transfer: Option<(NodeId, Mono)>,
}

impl Office {
    /// The office of `epoch`, whose first record is at `first`.
    pub(super) fn new(epoch: Epoch, first: Index, durable: Index, now: Mono) -> Office {
        Office {
            epoch,
            first,
            peers: BTreeMap::new(),
            round: 0,
            begun: VecDeque::new(),
            fresh: now,
            beat_at: now,
            reads: VecDeque::new(),
            advanced: (durable, now),
            transfer: None,
        }
    }

    /// Feeds those who belong to `config`, and nobody else.
    pub(super) fn configured(&mut self, config: &Config, me: NodeId, next: Index) {
        self.peers.retain(|&node, _| config.contains(node));
        for node in config.nodes().filter(|&node| node != me) {
            self.peers.entry(node).or_insert_with(|| Peer::new(next));
        }
    }

    /// When the next heartbeat is due; none is when nobody follows.
    pub(super) fn poll_timeout(&self, timing: &Timing) -> Option<Mono> {
        if self.peers.is_empty() {
            return None;
        }
        let quorum = self.fresh + timing.quorum;
        let transfer = self.transfer.map(|(_, until)| until);
        [Some(self.beat_at), Some(quorum), transfer].into_iter().flatten().min()
    }

    /// Begins a round, if one is due.
    pub(super) fn beat(&mut self, timing: &Timing, now: Mono) {
        if now < self.beat_at || self.peers.is_empty() {
            return;
        }
        self.begin_round(timing, now);
        for peer in self.peers.values_mut() {
            peer.asked = false;
            let silent = peer.heard.is_none_or(|at| now.since(at) > timing.heartbeat * 4);
            if silent && peer.is_waited_for() {
                peer.restart();
            }
        }
    }

    /// Takes a read: it is served when a round that begins now is answered.
    pub(super) fn read(&mut self, id: u64, committed: Index, timing: &Timing, now: Mono) -> bool {
        if self.reads.len() >= READS_MAX {
            return false;
        }
        // Reads that come at one moment share a round.
        if self.begun.back().is_none_or(|&(_, at)| at < now) {
            self.begin_round(timing, now);
        }
        self.reads.push_back((id, self.round, committed));
        true
    }

    /// All reads that wait, for an office that ends.
    pub(super) fn end_reads(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.reads.drain(..).map(|(id, ..)| id)
    }

    /// Notes which round a majority has answered, and serves the reads that waited for it.
    pub(super) fn weigh_rounds(&mut self, me: NodeId, voters: &Voters, out: &mut VecDeque<Act>) {
        let answered = |node| match node == me {
            true => Index(self.round),
            false => Index(self.peers.get(&node).map_or(0, |peer| peer.round)),
        };
        let round = voters.durable_on_majority(answered).0;
        while let Some(&(_, at)) = self.begun.front().filter(|(begun, _)| *begun <= round) {
            self.fresh = self.fresh.max(at);
            self.begun.pop_front();
        }
        while let Some(&(id, _, index)) = self.reads.front().filter(|(_, of, _)| *of <= round) {
            self.reads.pop_front();
            out.push_back(Act::ReadReady(id, index));
        }
    }

    /// What is committed if only those count that seem alive: a mistake.
    pub(super) fn reached_by_those_alive(&self, own: Index, voters: &Voters) -> Index {
        let alive = self.peers.iter().filter(|(_, peer)| peer.round + 2 > self.round);
        let alive = alive.filter(|(node, _)| voters.contains(**node));
        let mut reached: Vec<Index> = alive.map(|(_, peer)| peer.matched).chain([own]).collect();
        reached.sort_unstable_by(|a, b| b.cmp(a));
        reached[reached.len() / 2]
    }

    /// Whether enough voters were heard within `timing.quorum` to elect another leader.
    pub(super) fn could_lead(&self, voters: &Voters, timing: &Timing, now: Mono) -> bool {
        let is_there = |node| {
            let heard = self.peers.get(&node).and_then(|peer| peer.heard);
            heard.is_some_and(|at| now.since(at) <= timing.quorum)
        };
        voters.carried(is_there)
    }

    fn begin_round(&mut self, timing: &Timing, now: Mono) {
        self.round += 1;
        self.beat_at = now + timing.heartbeat;
        // The oldest are kept: each is answered in its turn, and shows that the office is fresh,
        // however many have begun behind it.
        if self.begun.len() < ROUNDS_MAX {
            self.begun.push_back((self.round, now));
        }
        for peer in self.peers.values_mut() {
            peer.beat_due = true;
        }
    }
}

impl Replication {
    /// Sends each follower what it may be sent: records, a heartbeat, or what is committed.
    pub(super) fn feed(&mut self, out: &mut VecDeque<Act>) {
        let Some(mut office) = self.office.take() else { return };
        for (&node, peer) in &mut office.peers {
            while self.feed_one(node, peer, (office.epoch, office.round), out) {}
        }
        let needed = office.peers.values().map(|peer| peer.next.min(Index(peer.matched.0 + 1)));
        let keep_from = needed.min().unwrap_or(Index(u64::MAX));
        self.office = Some(office);
        self.forget_before(keep_from);
    }

    /// Sends one follower one Append, if there is reason to. True when there may be another.
    fn feed_one(
        &self,
        node: NodeId,
        peer: &mut Peer,
        (epoch, round): (Epoch, u64),
        out: &mut VecDeque<Act>,
    ) -> bool {
        let last = self.shape.last().index;
        if peer.next <= self.shape.base().index && peer.feed != Feed::Snapshot {
            peer.feed = Feed::Snapshot;
            peer.beat_due = true;
        }
        // Said again with each heartbeat: who sends it knows how far that is.
        if peer.feed == Feed::Snapshot && peer.beat_due {
            out.push_back(Act::Snapshot(node));
        }
        let wants = peer.next <= last && peer.may_be_fed();
        let records = match wants {
            true => self.recent(peer.next, APPEND_MAX_BYTES),
            false => None,
        };
        if wants && records.is_none() && !peer.asked {
            out.push_back(Act::Read(peer.next));
            peer.asked = true;
        }
        let records = records.unwrap_or_default();
        let news = self.committed > peer.told && peer.feed == Feed::Streaming;
        if records.is_empty() && !peer.beat_due && !news {
            return false;
        }
        peer.beat_due = false;
        peer.told = self.committed;
        let end = records.last().map(|raw| raw.index);
        out.push_back(self.append_to(node, peer, records, (epoch, round)));
        end.is_some_and(|end| end < last)
    }

    /// An Append of these records for a follower.
    fn append_to(
        &self,
        node: NodeId,
        peer: &mut Peer,
        records: Vec<Raw>,
        (epoch, round): (Epoch, u64),
    ) -> Act {
        let prev = match peer.feed {
            Feed::Snapshot => Place::default(),
            Feed::Probing | Feed::Streaming => self.shape.place(Index(peer.next.0 - 1)),
        };
        if let Some(last) = records.last() {
            peer.sent(last.index);
        }
        let append = Append { prev, records, commit: self.committed, round };
        Act::Send(node, Envelope { epoch, message: Message::Append(append) })
    }

    /// Records that were read from the disk, for those who wait for them.
    pub(super) fn give(&mut self, records: Vec<Raw>, out: &mut VecDeque<Act>) {
        let Some(mut office) = self.office.take() else { return };
        // The journal may have been cut meanwhile.
        let is_ours = |raw: &Raw| self.shape.holds(raw.place());
        if let Some(first) = records.first().filter(|_| records.iter().all(is_ours)) {
            let waiting = |peer: &Peer| peer.next == first.index && peer.feed != Feed::Snapshot;
            for (&node, peer) in office.peers.iter_mut().filter(|(_, peer)| waiting(peer)) {
                out.push_back(self.append_to(
                    node,
                    peer,
                    records.clone(),
                    (office.epoch, office.round),
                ));
            }
        }
        self.office = Some(office);
    }
}
