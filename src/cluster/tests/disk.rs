//! A server's journal with a chain of hashes along it, and a disk that has written some of what it
//! was given.
//!
//! What is pending becomes durable in groups, as the disk thread writes them. A crash keeps what
//! an fsync has covered and any prefix of what was pending; where the two files are independent,
//! any prefix of the journal's part and any one of the pending promises.

use std::collections::{BTreeSet, VecDeque};

use super::super::*;
use super::node;
use crate::ident::{Epoch, Index, NodeId};
use crate::mistake::{Mistake, made};
use crate::rng::{Rng, mix, stable_hash};

/// The kinds of records of these worlds.
pub(super) const START: u8 = 1;
pub(super) const WRITE: u8 = 2;
pub(super) const CONFIG: u8 = 3;

pub(super) fn encode(config: &Config) -> Vec<u8> {
    let voters = config.voters.nodes();
    let nodes = voters.iter().chain(&config.learners).map(|node| node.get() as u8);
    [voters.len() as u8].into_iter().chain(nodes).collect()
}

pub(super) fn decode(raw: &Raw) -> Option<Config> {
    let (&count, nodes) = raw.payload.split_first().filter(|_| raw.kind == CONFIG)?;
    let nodes: Vec<NodeId> = nodes.iter().map(|&id| node(id.into())).collect();
    let count = usize::from(count);
    let voters = Voters::new(nodes[..count].to_vec())?;
    Some(Config { voters, learners: nodes[count..].to_vec() })
}

/// Everything up to a place, as far as this model needs it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Snapshot {
    pub(super) place: Place,
    pub(super) chain: u64,
    pub(super) config: Option<Config>,
}

/// A journal: records behind a snapshot.
#[derive(Clone)]
pub(super) struct Journal {
    pub(super) base: Snapshot,
    pub(super) entries: Vec<(Raw, u64)>,
}

impl Journal {
    pub(super) fn new(config: Option<Config>) -> Journal {
        let base = Snapshot { place: Place::default(), chain: 0, config };
        Journal { base, entries: Vec::new() }
    }

    pub(super) fn last(&self) -> Place {
        self.entries.last().map_or(self.base.place, |(raw, _)| raw.place())
    }

    pub(super) fn get(&self, index: Index) -> Option<&(Raw, u64)> {
        let at = index.0.checked_sub(self.base.place.index.0 + 1)?;
        self.entries.get(at as usize)
    }

    /// The chain at `index`; `None` where nothing is known.
    pub(super) fn chain(&self, index: Index) -> Option<u64> {
        let is_base = index == self.base.place.index;
        if is_base { Some(self.base.chain) } else { self.get(index).map(|&(_, chain)| chain) }
    }

    pub(super) fn holds(&self, place: Place) -> bool {
        let at_base = place == self.base.place;
        at_base || self.get(place.index).is_some_and(|(raw, _)| raw.place() == place)
    }

    pub(super) fn push(&mut self, raw: Raw) -> u64 {
        let before = self.chain(self.last().index).unwrap_or_default();
        let words = [raw.epoch.0, raw.index.0, raw.kind.into(), stable_hash(&raw.payload)];
        let chain = words.iter().fold(before, |chain, word| mix(chain ^ word).wrapping_add(1));
        self.entries.push((raw, chain));
        chain
    }

    pub(super) fn cut(&mut self, keep: Index) {
        let kept = keep.0.saturating_sub(self.base.place.index.0);
        self.entries.truncate(kept as usize);
    }

    /// The snapshot that can be made at `index`.
    pub(super) fn snapshot(&self, index: Index) -> Option<Snapshot> {
        let (raw, chain) = self.get(index)?;
        let until = self.entries.iter().take_while(|(raw, _)| raw.index <= index);
        let config = until.filter_map(|(raw, _)| decode(raw)).last().or(self.base.config.clone());
        Some(Snapshot { place: raw.place(), chain: *chain, config })
    }

    /// What is up to the snapshot goes; if it is not this journal's, everything.
    pub(super) fn install(&mut self, snapshot: Snapshot) {
        match self.holds(snapshot.place) {
            true => self.entries.retain(|(raw, _)| raw.index > snapshot.place.index),
            false => self.entries.clear(),
        }
        self.base = snapshot;
    }

    pub(super) fn shape(&self) -> Shape {
        let mut shape = Shape::behind(self.base.place);
        for (raw, _) in &self.entries {
            shape.push(raw.epoch);
        }
        shape
    }

    pub(super) fn configs(&self) -> Vec<(Index, Config)> {
        let first = self.base.config.clone().map(|config| (self.base.place.index, config));
        let later = self.entries.iter().filter_map(|(raw, _)| Some((raw.index, decode(raw)?)));
        first.into_iter().chain(later).collect()
    }

    /// Who takes part, by the newest configuration.
    pub(super) fn config(&self) -> Option<Config> {
        self.configs().pop().map(|(_, config)| config)
    }
}

/// What a disk is given.
#[derive(Clone)]
pub(super) enum Op {
    Promise(Promise),
    Cut(Index),
    Append(Vec<Raw>, u64),
    /// A snapshot of the own state.
    Snapshot(Snapshot),
    /// A snapshot that somebody has sent.
    Install(Snapshot, NodeId),
}

/// What a disk holds.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) promise: Promise,
    pub(super) journal: Journal,
}

impl Image {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Promise(promise) => self.promise = *promise,
            Op::Cut(keep) => self.journal.cut(*keep),
            Op::Append(records, _) => records.iter().for_each(|raw| {
                self.journal.push(raw.clone());
            }),
            Op::Snapshot(snapshot) | Op::Install(snapshot, _) => {
                self.journal.install(snapshot.clone());
            }
        }
    }
}

pub(super) struct Disk {
    pub(super) durable: Image,
    /// What is being written, and what waits.
    writing: VecDeque<Op>,
    queue: VecDeque<Op>,
    /// Every promise to somebody that was ever durable here.
    pub(super) kept: BTreeSet<(Epoch, NodeId)>,
    /// The highest promise that the server was told is durable.
    pub(super) told: Promise,
    /// An old image of the whole disk.
    pub(super) saved: Option<Image>,
    /// How long a write takes, in microseconds: from, to.
    pub(super) slow: (u64, u64),
    /// Until when it does nothing.
    pub(super) stalled_until: u64,
    /// Whether a crash keeps all that was pending, or nothing; by chance where nothing is said.
    pub(super) keeps: Option<bool>,
}

impl Disk {
    pub(super) fn new(config: Option<Config>) -> Disk {
        let journal = Journal::new(config);
        Disk {
            durable: Image { promise: Promise::default(), journal },
            writing: VecDeque::new(),
            queue: VecDeque::new(),
            kept: BTreeSet::new(),
            told: Promise::default(),
            saved: None,
            slow: (500, 10_000),
            stalled_until: 0,
            keeps: None,
        }
    }

    pub(super) fn push(&mut self, op: Op) {
        self.queue.push_back(op);
    }

    /// Begins to write what waits, if there is something and nothing is being written: says when
    /// that will be done.
    pub(super) fn begin(&mut self, now: u64, rng: &mut Rng) -> Option<u64> {
        if !self.writing.is_empty() || self.queue.is_empty() {
            return None;
        }
        self.writing = std::mem::take(&mut self.queue);
        let (from, to) = self.slow;
        let takes = (from + rng.below(to - from + 1)) * 1_000;
        Some(now.max(self.stalled_until) + takes)
    }

    /// The group that was being written is durable.
    pub(super) fn done(&mut self) -> VecDeque<Op> {
        let group = std::mem::take(&mut self.writing);
        for op in &group {
            self.durable.apply(op);
            self.note_promise();
        }
        group
    }

    fn note_promise(&mut self) {
        let Promise { epoch, to } = self.durable.promise;
        self.kept.extend(to.map(|to| (epoch, to)));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.writing.is_empty() && self.queue.is_empty()
    }

    /// Power or process is gone: what was pending is there in part.
    pub(super) fn crash(&mut self, rng: &mut Rng, any_subset: bool) {
        let pending: Vec<Op> = self.writing.drain(..).chain(self.queue.drain(..)).collect();
        let keep = match self.keeps {
            Some(true) => pending.len(),
            Some(false) => 0,
            None => rng.below(pending.len() as u64 + 1) as usize,
        };
        if !any_subset {
            pending[..keep].iter().for_each(|op| self.durable.apply(op));
        } else {
            let is_promise = |op: &&Op| matches!(op, Op::Promise(_));
            let promises: Vec<&Op> = pending.iter().filter(is_promise).collect();
            if let Some(op) = promises.get(rng.below(promises.len() as u64 + 1) as usize) {
                self.durable.apply(op);
            }
            pending[..keep].iter().filter(|op| !is_promise(op)).for_each(|op| {
                self.durable.apply(op);
            });
        }
        self.note_promise();
        if made(Mistake::NoPromiseDisk) {
            self.durable.promise = Promise::default();
        }
    }

    /// A new disk under the old name.
    pub(super) fn wipe(&mut self) {
        *self = Disk { saved: self.saved.take(), ..Disk::new(None) };
    }

    pub(super) fn save(&mut self) {
        self.saved = Some(self.durable.clone());
    }

    /// The old image is back. False when there is none, or nothing has changed since.
    pub(super) fn roll_back(&mut self) -> bool {
        let Some(saved) = self.saved.clone() else { return false };
        (self.durable, self.told) = (saved, Promise::default());
        self.kept.clear();
        true
    }
}
