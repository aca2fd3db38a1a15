//! Snapshots on their way from a leader to a follower that lacks what is in one.
//!
//! The leader sends the first part; the follower asks for each further one when the last is
//! written, so neither holds more than a part, and a transfer that was interrupted goes on with
//! whoever leads next, if that one has the same snapshot. The follower builds the state as the
//! parts come, and takes it when its disk has the whole in force.

use std::collections::BTreeMap;
use std::time::Duration;

use super::effect::{Effect, Level, SnapshotNews, SnapshotPart, SnapshotWork, Word};
use super::{Node, config_of};
use crate::cluster::Place;
use crate::ident::{Digest, Index, NodeId};
use crate::journal::Seam;
use crate::store::SnapshotLoader;
use crate::time::Mono;

/// How long a side waits for the other before it says again what it said last.
const AGAIN: Duration = Duration::from_secs(2);

/// Snapshots on their way, on both sides.
#[derive(Debug, Default)]
pub(super) struct Shipping {
    /// When each follower was sent a part last.
    sent: BTreeMap<NodeId, Mono>,
    receiving: Option<Box<Receiving>>,
}

/// A snapshot that comes in.
#[derive(Debug)]
struct Receiving {
    seam: Seam,
    digest: Digest,
    loader: SnapshotLoader,
    /// The next part.
    next: u64,
    /// Whether the disk has yet to take the last part that came.
    is_written: bool,
    /// Whether all parts have come.
    is_whole: bool,
    ask_at: Mono,
}

impl Shipping {
    /// When [`Node::ask_for_parts`] must be called at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        let waits = |receiving: &&Receiving| receiving.is_written && !receiving.is_whole;
        self.receiving.as_deref().filter(waits).map(|receiving| receiving.ask_at)
    }

    /// Whether one comes in.
    pub(super) fn is_busy(&self) -> bool {
        self.receiving.is_some()
    }

    /// Whether the snapshot at `index` is one that comes in.
    pub(super) fn is_receiving(&self, index: Index) -> bool {
        self.receiving.as_ref().is_some_and(|receiving| receiving.seam.index == index)
    }
}

impl Node {
    /// A follower lacks what is only in a snapshot: sends it the first part of the newest, unless
    /// it is being sent one.
    pub(super) fn offer_snapshot(&mut self, to: NodeId) {
        let sent = self.shipping.sent.get(&to);
        if sent.is_none_or(|&at| self.now.mono.since(at) >= AGAIN) {
            self.shipping.sent.insert(to, self.now.mono);
            self.effects.push_back(Effect::ReadSnapshot(to, Index(0), 0));
        }
    }

    /// A follower wants this part.
    pub(super) fn part_wanted(&mut self, from: NodeId, index: Index, part: u64) {
        if self.established.is_some() {
            self.shipping.sent.insert(from, self.now.mono);
            self.effects.push_back(Effect::ReadSnapshot(from, index, part));
        }
    }

    /// A part of a snapshot has come.
    pub(super) fn part_came(&mut self, from: NodeId, part: SnapshotPart) {
        let SnapshotPart { seam, digest, number, chunks, is_last } = part;
        if self.leader().is_none_or(|(leader, _)| leader != from) {
            return;
        }
        if seam.index <= self.state.applied() {
            // It is here already, which the leader may not know.
            return self.has_place(place_of(seam));
        }
        let known = self.shipping.receiving.as_ref();
        if known.is_none_or(|known| (known.seam, known.digest) != (seam, digest)) {
            if number != 0 {
                return;
            }
            self.begin_to_receive(seam, digest);
        }
        let Some(receiving) = &mut self.shipping.receiving else { return };
        if !receiving.is_written || receiving.is_whole {
            return;
        }
        if number != receiving.next {
            receiving.ask_at = self.now.mono;
            return self.ask_for_parts();
        }
        if let Err(error) = chunks.iter().try_for_each(|chunk| receiving.loader.chunk(chunk)) {
            let fields = vec![("why", error.to_string())];
            self.log(Level::Error, "the leader's snapshot cannot be read", fields);
            self.shipping.receiving = None;
            self.effects.push_back(Effect::Snapshot(seam.index, SnapshotWork::Abort));
            return;
        }
        receiving.next += 1;
        (receiving.is_written, receiving.is_whole) = (false, is_last);
        let work = match is_last {
            true => SnapshotWork::End(chunks, Vec::new(), Index(0)),
            false => SnapshotWork::Part(chunks),
        };
        self.effects.push_back(Effect::Snapshot(seam.index, work));
    }

    /// Asks for the next part, if it is time to.
    pub(super) fn ask_for_parts(&mut self) {
        let due = self.shipping.poll_timeout().is_some_and(|at| at <= self.now.mono);
        let leader = self.leader().map(|(leader, _)| leader);
        let leader = leader.filter(|&leader| leader != self.identity.node);
        let (true, Some(receiving)) = (due, &mut self.shipping.receiving) else { return };
        receiving.ask_at = self.now.mono + AGAIN;
        let (index, part) = (receiving.seam.index, receiving.next);
        if let Some(leader) = leader {
            self.effects.push_back(Effect::Send(leader, Word::SnapshotWanted(index, part)));
        }
    }

    /// The disk has news of the snapshot that comes in.
    pub(super) fn received(&mut self, news: SnapshotNews) {
        match news {
            SnapshotNews::PartWritten => {
                if let Some(receiving) = &mut self.shipping.receiving {
                    (receiving.is_written, receiving.ask_at) = (true, self.now.mono);
                }
                self.ask_for_parts();
            }
            SnapshotNews::InForce(digest) => self.take_snapshot(digest),
            SnapshotNews::GivenUp => self.shipping.receiving = None,
        }
    }

    fn begin_to_receive(&mut self, seam: Seam, digest: Digest) {
        self.state.end_snapshot();
        self.checkpoints.give_way();
        let (loader, next, ask_at) = (SnapshotLoader::new(), 0, self.now.mono);
        let receiving =
            Receiving { seam, digest, loader, next, is_written: true, is_whole: false, ask_at };
        self.shipping.receiving = Some(Box::new(receiving));
        self.effects.push_back(Effect::Snapshot(seam.index, SnapshotWork::BeginFrom(seam)));
        self.log(Level::Info, "taking a snapshot", vec![("index", seam.index.to_string())]);
    }

    /// The snapshot is in force on the disk: takes its state.
    fn take_snapshot(&mut self, digest: Digest) {
        let Some(receiving) = self.shipping.receiving.take() else { return };
        let seam = receiving.seam;
        let state = match receiving.loader.finish() {
            Ok(state) if digest == receiving.digest && state.applied() == seam.index => state,
            Ok(_) | Err(_) => {
                let why = "the snapshot that the leader sent is not what it said; remove this \
                           node's data directory, so that it joins anew";
                self.effects.push_back(Effect::Halt(why.into()));
                return;
            }
        };
        self.checkpoints.made_by_leader(seam.index, digest);
        if self.state.applied() < seam.index {
            self.state = state;
            self.has_commit = true;
            if self.is_scheduled {
                self.scheduler.take_office(&self.state, &*self.zones, self.now);
            }
        }
        self.has_place(place_of(seam));
        self.consensus.rebased(seam.index);
        let (first, last) = (seam.index, self.consensus.log().last().index);
        self.log.retain(|entry| (first.0 + 1..=last.0).contains(&entry.index.0));
        self.found = self.found.min(last);
        self.generation = self.consensus.generation();
    }

    fn has_place(&mut self, place: Place) {
        if let Some(config) = config_of(&self.state) {
            self.consensus.replaced(place, config);
        }
    }
}

fn place_of(seam: Seam) -> Place {
    Place { epoch: seam.epoch, index: seam.index }
}
