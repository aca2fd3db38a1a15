//! What a leader knows of one follower's journal.

use std::collections::VecDeque;

use crate::ident::Index;
use crate::time::{Mono, Wall};

use super::message::Place;
use super::shape::Shape;

/// Most Appends that are on their way to one follower.
pub(super) const APPENDS_AHEAD_MAX: usize = 8;
/// Most bytes of records in one Append, as they travel, unless a single one is larger.
pub const APPEND_MAX_BYTES: usize = 256 * 1024;

/// On how many answers of a follower it is looked back, to know its clock.
const CLOCKS_KEPT: usize = 8;

/// How a follower is fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Feed {
    /// Where the two journals agree is not known: one Append at a time.
    Probing,
    /// They agree: as much as the window allows.
    Streaming,
    /// It lacks what is only in a snapshot.
    Snapshot,
}

/// One follower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// The next record that it is sent.
    pub(super) next: Index,
    /// What its disk surely holds.
    pub(super) matched: Index,
    /// The newest round that it has answered.
    pub(super) round: u64,
    /// How it is fed.
    pub(super) feed: Feed,
    /// The last record of each Append that is on its way.
    ahead: VecDeque<Index>,
    /// Whether something was sent since the last answer or heartbeat, while probing.
    pub(super) asked: bool,
    /// Whether a heartbeat is due to it.
    pub(super) beat_due: bool,
    /// The commit index that it was told.
    pub(super) told: Index,
    /// When it was last heard.
    pub(super) heard: Option<Mono>,
    /// How far its wall clock was ahead of the own monotonic one in its last answers, in
    /// milliseconds, less the time that each was on its way.
    clocks: VecDeque<i64>,
}

impl Peer {
    /// A follower that is believed to have everything before `next`.
    pub(super) fn new(next: Index) -> Peer {
        Peer {
            next,
            matched: Index(0),
            round: 0,
            feed: Feed::Probing,
            ahead: VecDeque::new(),
            asked: false,
            beat_due: true,
            told: Index(0),
            heard: None,
            clocks: VecDeque::new(),
        }
    }

    /// It has answered at `now`, and its wall clock showed `wall` then.
    pub(super) fn answered(&mut self, wall: Wall, now: Mono) {
        self.heard = Some(now);
        if self.clocks.len() >= CLOCKS_KEPT {
            self.clocks.pop_front();
        }
        self.clocks.push_back(wall.0.saturating_sub(millis(now)));
    }

    /// What its wall clock shows at `now`, as far as its last answers tell: by the one that was on
    /// its way for the shortest time.
    pub(super) fn clock(&self, now: Mono) -> Option<Wall> {
        let ahead = self.clocks.iter().max()?;
        Some(Wall(ahead.saturating_add(millis(now))))
    }

    /// Whether it may be sent records now.
    pub(super) fn may_be_fed(&self) -> bool {
        match self.feed {
            Feed::Probing => !self.asked,
            Feed::Streaming => self.ahead.len() < APPENDS_AHEAD_MAX,
            Feed::Snapshot => false,
        }
    }

    /// Records up to `last` are on their way.
    pub(super) fn sent(&mut self, last: Index) {
        self.asked = true;
        if self.feed == Feed::Streaming && last >= self.next {
            self.ahead.push_back(last);
            self.next = Index(last.0 + 1);
        }
    }

    /// Its disk holds everything up to `matched`, it says.
    pub(super) fn acked(&mut self, matched: Index) {
        self.asked = false;
        self.matched = self.matched.max(matched);
        if self.feed == Feed::Snapshot && self.matched < self.next {
            // It goes on waiting for the snapshot, whatever it answers to heartbeats.
            return;
        }
        while self.ahead.front().is_some_and(|&last| last <= self.matched) {
            self.ahead.pop_front();
        }
        self.next = self.next.max(Index(self.matched.0 + 1));
        self.feed = Feed::Streaming;
    }

    /// Its journal does not agree at `prev`, where `found` stands, the epoch of which begins at
    /// `first` there.
    pub(super) fn conflicts(&mut self, prev: Index, found: Place, first: Index, log: &Shape) {
        let is_old = prev <= self.matched || prev >= self.next;
        if !is_old {
            self.back_to(resume_at(prev, found, first, log).max(Index(self.matched.0 + 1)));
        }
    }

    /// What was on its way may be lost: begins again behind what it surely has.
    pub(super) fn restart(&mut self) {
        if self.feed == Feed::Streaming {
            self.back_to(Index(self.matched.0 + 1));
        }
    }

    /// Whether anything is on its way.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.ahead.is_empty()
    }

    fn back_to(&mut self, next: Index) {
        self.next = next;
        self.feed = Feed::Probing;
        self.asked = false;
        self.ahead.clear();
    }
}

fn millis(at: Mono) -> i64 {
    i64::try_from(at.0 / 1_000_000).unwrap_or(i64::MAX)
}

/// Where to go on with a follower that has `found` where `prev` was expected: behind the last
/// record that may be the same in both journals. A whole epoch is skipped in one step.
fn resume_at(prev: Index, found: Place, first: Index, log: &Shape) -> Index {
    let common = log.last_up_to(found.epoch);
    let below = match common.epoch == found.epoch {
        // Both have records of that epoch: what one leader wrote agrees as far as both go.
        true => common.index.min(found.index),
        // None of that epoch is in this journal: all of them are to go.
        false => Index(first.0.saturating_sub(1)),
    };
    Index(below.0.min(prev.0.saturating_sub(1)) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each answer of a follower that waits for a snapshot was taken for a sign that it could be
    /// fed, found wanting, and answered with another heartbeat: a storm, as soon as one word in a
    /// few came twice.
    #[test]
    fn who_waits_for_a_snapshot_is_not_sent_a_heartbeat_for_each_of_its_answers() {
        let mut peer = Peer::new(Index(10));
        peer.feed = Feed::Snapshot;
        for matched in [0, 9] {
            peer.acked(Index(matched));
            assert_eq!(peer.feed, Feed::Snapshot, "it has {matched}");
        }
        peer.acked(Index(30));
        assert_eq!((peer.feed, peer.next), (Feed::Streaming, Index(31)));
    }

    /// The clock of a follower was taken to be behind by as long as its answer was on its way, and
    /// with it the time by which its leader decides, which then went back.
    #[test]
    fn a_late_answer_does_not_make_a_clock_late() {
        let second = |at: u64| Mono(at * 1_000_000_000);
        let mut peer = Peer::new(Index(1));
        assert_eq!(peer.clock(second(1)), None);
        // What its clock showed, in seconds, and when that was heard.
        for (showed, heard, shows) in [(100, 1, 100), (101, 4, 103), (104, 5, 104), (109, 6, 109)] {
            peer.answered(Wall(showed * 1_000), second(heard));
            assert_eq!(peer.clock(second(heard)), Some(Wall(shows * 1_000)));
        }
        // It is set back, and believed when it has said so often enough.
        (7..15).for_each(|at| peer.answered(Wall(at as i64 * 1_000), second(at)));
        assert_eq!(peer.clock(second(20)), Some(Wall(20_000)));
    }
}
