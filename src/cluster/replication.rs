//! What is appended, what is durable where, and what is therefore committed.
//!
//! A record is committed when a majority of the voters has it durably and it is of the leader's
//! own epoch; earlier ones are committed with it (Raft, section 5.4.2). A voter's own copy counts
//! only once an fsync has covered it. A follower takes a record only behind one that it shares
//! with the leader, and cuts its journal only where that contradicts the current leader's.

use std::collections::VecDeque;

use super::message::{Act, Append, Envelope, Message, Place, Raw};
use super::office::Office;
use super::shape::Shape;
use super::voters::Voters;
use super::wire::RECORD_BYTES;
use crate::ident::{Epoch, Index, NodeId};
use crate::mistake::{Mistake, made};
use crate::time::Wall;

/// Most bytes of encoded records that are kept in memory for followers that lag a little; what is
/// older is read from the disk.
const RECENT_MAX_BYTES: usize = 1024 * 1024;

/// The replicated journal from the side of one node.
#[derive(Debug)]
pub struct Replication {
    pub(super) me: NodeId,
    pub(super) shape: Shape,
    pub(super) durable: Index,
    pub(super) committed: Index,
    /// How often the journal was cut: a completion from before the last time says nothing.
    generation: u64,
    /// The office that this node holds.
    pub(super) office: Option<Office>,
    /// The newest records, without a gap.
    recent: VecDeque<Raw>,
    recent_bytes: usize,
    following: Option<Following>,
}

/// What a follower knows of its leader.
#[derive(Clone, Copy, Debug)]
struct Following {
    leader: NodeId,
    epoch: Epoch,
    /// Up to where the own journal is known to be the leader's.
    verified: Index,
    /// The newest round heard.
    round: u64,
    /// What was acknowledged last.
    acked: Index,
    /// Whether an answer is owed as soon as the promise of the epoch is durable.
    owes: bool,
}

impl Replication {
    /// A durable journal of that shape, of which the records up to `committed` are known to be
    /// committed (those that a snapshot covers).
    pub fn new(me: NodeId, shape: Shape, committed: Index) -> Self {
        let durable = shape.last().index;
        assert!(committed <= durable, "what is committed is in the journal");
        Replication {
            me,
            shape,
            durable,
            committed,
            generation: 0,
            office: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            following: None,
        }
    }

    /// The newest record, durable or not.
    pub fn last(&self) -> Place {
        self.shape.last()
    }

    /// The newest durable record.
    pub fn tail(&self) -> Place {
        self.shape.place(self.durable)
    }

    /// The newest index known to be committed.
    pub fn committed(&self) -> Index {
        self.committed
    }

    /// To be named in completions of what is given to the disk from now on.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the office that this node holds has committed its first record: nothing is
    /// answered, fired or ordered before.
    pub fn is_established(&self) -> bool {
        self.office.as_ref().is_some_and(|office| self.committed >= office.first)
    }

    /// The place of the next record of this office. Give the record itself to
    /// [`Replication::keep`].
    ///
    /// # Panics
    /// When this node does not lead.
    pub(super) fn append(&mut self) -> Place {
        let epoch = self.office.as_ref().map(|office| office.epoch);
        assert!(epoch.is_some(), "only a leader appends");
        self.shape.push(epoch.unwrap_or_default())
    }

    /// Keeps a record for the followers.
    pub(super) fn keep(&mut self, raw: Raw) {
        self.recent_bytes += raw.payload.len();
        self.recent.push_back(raw);
        while self.recent_bytes > RECENT_MAX_BYTES && self.recent.len() > 1 {
            self.forget_oldest();
        }
    }

    /// Nobody needs what is kept before `index`.
    pub(super) fn forget_before(&mut self, index: Index) {
        while self.recent.front().is_some_and(|raw| raw.index < index) {
            self.forget_oldest();
        }
    }

    /// Records from `index` on, up to `bytes` of them as they travel, but at least one; `None` when
    /// they are not in memory.
    pub(super) fn recent(&self, index: Index, bytes: usize) -> Option<Vec<Raw>> {
        let first = self.recent.front()?.index;
        let skip = usize::try_from(index.0.checked_sub(first.0)?).ok()?;
        if skip >= self.recent.len() {
            return None;
        }
        let mut size = 0;
        let mut taken = Vec::new();
        for raw in self.recent.iter().skip(skip) {
            size += RECORD_BYTES + raw.payload.len();
            if size > bytes && !taken.is_empty() {
                break;
            }
            taken.push(raw.clone());
        }
        Some(taken)
    }

    /// The disk holds everything up to `last`, as it was given out in `generation`.
    ///
    /// # Panics
    /// When it claims more than was given out.
    pub(super) fn log_durable(&mut self, last: Index, generation: u64) {
        if generation != self.generation && !made(Mistake::StaleCompletion) {
            return;
        }
        let end = self.shape.last().index;
        assert!(last <= end || made(Mistake::StaleCompletion), "nothing is durable before it is");
        self.durable = self.durable.max(last.min(end));
    }

    /// Takes what the leader of `epoch` sends; the promise of that epoch is on its way to the disk
    /// at least.
    pub(super) fn take(
        &mut self,
        leader: NodeId,
        epoch: Epoch,
        append: Append,
        out: &mut VecDeque<Act>,
    ) {
        let following = match self.following {
            Some(old) if old.epoch == epoch => old,
            Some(_) | None => {
                let (verified, acked) = (Index(0), Index(0));
                Following { leader, epoch, verified, round: 0, acked, owes: false }
            }
        };
        let Append { prev, records, commit, round } = append;
        let following = self.following.insert(Following {
            leader,
            round: following.round.max(round),
            ..following
        });
        let end = Index(prev.index.0 + records.len() as u64);
        if !is_one_run(prev, &records) {
            return;
        }
        // Before the base everything is committed, so the leader has the same.
        let agrees = prev.index < self.shape.base().index || self.shape.holds(prev);
        if !agrees {
            let found = self.shape.place(prev.index.min(self.shape.last().index));
            let first = self.shape.first_of_epoch_at(found.index);
            let message = Message::Conflict { prev: prev.index, found, first };
            out.push_back(Act::Send(leader, Envelope { epoch, message }));
            return;
        }
        following.owes = true;
        following.verified = following.verified.max(end);
        let verified = following.verified;
        if !self.merge(records, end, out) {
            return;
        }
        let committed = commit.min(verified);
        if committed > self.committed {
            self.committed = committed;
            out.push_back(Act::Committed(committed));
        }
    }

    /// Appends what is not there yet, and cuts what contradicts it. False when that cannot be.
    fn merge(&mut self, records: Vec<Raw>, end: Index, out: &mut VecDeque<Act>) -> bool {
        let base = self.shape.base().index;
        let is_new = |raw: &Raw| raw.index > base && !self.shape.holds(raw.place());
        let Some(at) = records.iter().position(is_new) else {
            if made(Mistake::TruncOnShort) && end < self.shape.last().index {
                self.cut(end, out);
            }
            return true;
        };
        let new = records.into_iter().skip(at).collect::<Vec<_>>();
        let Some(first) = new.first() else { return true };
        let keep = Index(first.index.0 - 1);
        if keep < self.shape.last().index {
            if keep < self.committed {
                out.push_back(Act::Halt("a leader contradicts what is committed"));
                return false;
            }
            self.cut(keep, out);
        }
        for raw in &new {
            self.shape.push(raw.epoch);
            self.keep(raw.clone());
        }
        out.push_back(Act::Append(new));
        true
    }

    /// Drops every record behind `keep`.
    fn cut(&mut self, keep: Index, out: &mut VecDeque<Act>) {
        self.shape.cut(keep);
        self.durable = self.durable.min(keep);
        self.generation += 1;
        while self.recent.back().is_some_and(|raw| raw.index > keep) {
            if let Some(raw) = self.recent.pop_back() {
                self.recent_bytes -= raw.payload.len();
            }
        }
        out.push_back(Act::Truncate(keep));
    }

    /// Acknowledges what the disk holds of the leader's journal, if that is more than before or a
    /// heartbeat is to be answered. `promised` is the durable promise: an answer counts for its
    /// epoch, which must not be forgotten by a crash.
    pub(super) fn acknowledge(&mut self, promised: Epoch, wall: Wall, out: &mut VecDeque<Act>) {
        let last = self.shape.last().index;
        let Some(following) = &mut self.following else { return };
        let durable = if made(Mistake::AckBeforeFsync) { last } else { self.durable };
        let matched = following.verified.min(durable);
        let is_due = following.owes || matched > following.acked;
        if !is_due || promised < following.epoch {
            return;
        }
        following.owes = false;
        following.acked = matched;
        let message = Message::Ack { matched, round: following.round, wall };
        out.push_back(Act::Send(following.leader, Envelope { epoch: following.epoch, message }));
    }

    /// The promise was given to a later epoch than that of the leader followed so far.
    pub(super) fn unfollow_before(&mut self, epoch: Epoch) {
        if self.following.is_some_and(|following| following.epoch < epoch) {
            self.following = None;
        }
    }

    /// What is committed now that a voter has more; true when that is more than before.
    pub(super) fn count(&mut self, voters: &Voters) -> bool {
        let Some(office) = &self.office else { return false };
        let own = match made(Mistake::SelfBeforeFsync) {
            true => self.shape.last().index,
            false => self.durable,
        };
        let reached = |node| match node == self.me {
            true => own,
            false => office.peers.get(&node).map(|peer| peer.matched).unwrap_or_default(),
        };
        let candidate = match made(Mistake::GossipQuorum) {
            true => office.reached_by_those_alive(own, voters),
            false => voters.durable_on_majority(reached),
        };
        let of_this_epoch = candidate >= office.first || made(Mistake::OldEpochCount);
        if !of_this_epoch || candidate <= self.committed {
            return false;
        }
        self.committed = candidate;
        true
    }

    /// Everything up to `place` is in a snapshot of the leader, which is in force here or was not
    /// needed. True when the journal behind it is left.
    pub(super) fn replaced(&mut self, place: Place) -> bool {
        // What is committed here is the same as there, however late the snapshot comes; but the
        // own disk may lack it still, and has no snapshot of its own because of that.
        let is_late = place.index <= self.committed;
        let is_left = is_late || self.shape.holds(place);
        if !is_left {
            self.shape = Shape::behind(place);
            self.durable = place.index;
            self.generation += 1;
            self.recent.clear();
            self.recent_bytes = 0;
        }
        if !is_late {
            self.durable = self.durable.max(place.index);
            self.shape.rebase(place.index);
        }
        self.committed = self.committed.max(place.index);
        if let Some(following) = &mut self.following {
            following.verified = following.verified.max(place.index);
            following.owes = true;
        }
        is_left
    }

    fn forget_oldest(&mut self) {
        if let Some(raw) = self.recent.pop_front() {
            self.recent_bytes -= raw.payload.len();
        }
    }
}

/// Whether the records follow `prev` without a gap, in epochs that never decrease.
fn is_one_run(prev: Place, records: &[Raw]) -> bool {
    let mut last = prev;
    records.iter().all(|raw| {
        let follows = raw.index.0 == last.index.0 + 1 && raw.epoch >= last.epoch;
        last = raw.place();
        follows
    })
}
