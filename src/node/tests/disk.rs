//! A disk that is slow or full, loses what it has not written, and stops between any two writes.
//!
//! Batches become durable in the order given, some of them as one group: first their promises,
//! then all records of the journal at once, then those of the runs log, as the disk thread writes
//! them, each after the cut of its batch. What is durable is told later. A full disk keeps a group
//! that it has written to between two steps, takes nothing else, and goes on there when it has
//! room. A crash keeps what was written and any whole step beyond.

use std::collections::VecDeque;

use crate::cluster::{Place, Promise};
use crate::ident::{Boot, Digest, Epoch, Index, NodeId, StoreId, StreamId};
use crate::journal::Seam;
use crate::node::{
    Batch, Durable, Found, Identity, Input, Raw, SnapshotNews, SnapshotPart, SnapshotWork, Space,
};
use crate::rng::{Rng, stable_hash};
use crate::run::runs_log::{self, RunsRecord};
use crate::store::{Entry, SCHEMA, SnapshotLoader, State, output_in};

/// What the model says that a record of the runs log takes, so that it is written anew at times.
const RUNS_RECORD_BYTES: u64 = 30_000;
/// How many records are read at once for a follower that lags.
const RECORDS_READ: usize = 20;
/// How many chunks of a snapshot are sent at once.
const CHUNKS_SENT: usize = 1;

pub(super) enum Work {
    Commit(Batch),
    Snapshot(Index, SnapshotWork),
    ReadOutputs(StreamId, Vec<Index>),
    ReadRecords(Index),
    ReadSnapshot(NodeId, Index, u64),
    CompactRuns(Vec<RunsRecord>),
}

pub(super) struct Disk {
    identity: Identity,
    snapshot: Option<Snapshot>,
    snapshot_bytes: u64,
    behind: Vec<Raw>,
    runs: Vec<RunsRecord>,
    /// Every durable record from index 1 on, those behind the snapshot too.
    pub(super) history: Vec<Raw>,
    /// What a snapshot of another node stands for, whose records were never here.
    covered: Place,
    queue: VecDeque<Work>,
    /// A snapshot that is being written.
    writing: Option<Snapshot>,
    told_later: VecDeque<Input>,
    /// How much room there is.
    space: Space,
    /// What the node was told of it, or will have been when it has heard all.
    told_space: Space,
    /// A group for which there was no room, and how many of its steps are done.
    stuck: Option<(Vec<Batch>, usize)>,
}

#[derive(Clone)]
struct Snapshot {
    index: Index,
    /// What it stands for, if it is another node's.
    seam: Option<Seam>,
    chunks: Vec<Vec<u8>>,
    /// Whether all chunks have come.
    whole: bool,
}

impl Snapshot {
    /// What stands for its SHA-256.
    fn digest(&self) -> Digest {
        let bytes = self.chunks.concat();
        let words = [0, 1, 2, 3].map(|salt| stable_hash(&[&bytes[..], &[salt]].concat()));
        let mut digest = Digest::default();
        for (part, word) in digest.chunks_mut(8).zip(words) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }
}

impl Disk {
    /// The disk of a node, with the first record of the cluster if it is one of the founders.
    pub(super) fn new(node: NodeId, store: StoreId, first: Option<Raw>) -> Disk {
        let promise = Promise::default();
        Disk {
            identity: Identity { node, store, boot: Boot(1), promise },
            snapshot: None,
            snapshot_bytes: 0,
            behind: first.iter().cloned().collect(),
            runs: Vec::new(),
            history: first.into_iter().collect(),
            covered: Place::default(),
            queue: VecDeque::new(),
            writing: None,
            told_later: VecDeque::new(),
            space: Space::Enough,
            told_space: Space::Enough,
            stuck: None,
        }
    }

    /// Somebody writes to the disk, or removes what was written.
    pub(super) fn set_space(&mut self, space: Space) {
        self.space = space;
    }

    pub(super) fn is_full(&self) -> bool {
        self.space == Space::Full
    }

    /// A look at the room after a write, or instead of one.
    fn tell_space(&mut self) {
        if self.told_space != self.space {
            self.told_space = self.space;
            self.told_later.push_back(Input::Space(self.space));
        }
    }

    pub(super) fn push(&mut self, work: Work) {
        self.queue.push_back(work);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.stuck.is_none()
            && self.writing.is_none()
            && self.told_later.is_empty()
    }

    /// Writes a group, or does one piece of other work.
    pub(super) fn work(&mut self, rng: &mut Rng) {
        let (group, done) = match self.stuck.take() {
            Some(stuck) => stuck,
            None if self.is_full() => (self.next_group(rng), 0),
            None => return self.work_with_room(rng),
        };
        if !self.is_full() {
            // What was held up must be known to have been when it is done.
            self.tell_space();
            self.complete(&group, done);
        } else if !group.is_empty() {
            let goes_to = done.max(rng.below(Step::ALL.len() as u64) as usize);
            for &step in &Step::ALL[done..goes_to] {
                group.iter().for_each(|batch| self.write(batch, step));
            }
            self.stuck = Some((group, goes_to));
            self.tell_space();
        }
    }

    fn work_with_room(&mut self, rng: &mut Rng) {
        self.tell_space();
        let whole = self.writing.take_if(|writing| writing.whole && rng.chance(1, 4));
        if let Some(snapshot) = whole {
            let (index, digest) = (snapshot.index, snapshot.digest());
            self.install(snapshot);
            self.told_later.push_back(Input::Snapshot(index, SnapshotNews::InForce(digest)));
            return;
        }
        let group = self.next_group(rng);
        self.complete(&group, 0);
        if group.is_empty() {
            match self.queue.pop_front() {
                Some(Work::Snapshot(index, work)) => self.snapshot_work(index, work, rng),
                Some(Work::ReadOutputs(stream, records)) => {
                    let outputs = records.iter().map(|&index| (index, self.output(index)));
                    let outputs = Input::Outputs(stream, outputs.collect());
                    self.told_later.push_back(outputs);
                }
                Some(Work::ReadRecords(from)) => {
                    let records = self.records(from);
                    self.told_later.push_back(Input::Records(records));
                }
                Some(Work::ReadSnapshot(to, index, number)) => {
                    if let Some(part) = self.part(index, number) {
                        self.told_later.push_back(Input::SnapshotPart(to, part));
                    }
                }
                Some(Work::CompactRuns(live)) => self.runs = live,
                Some(Work::Commit(_)) => unreachable!("would be a group"),
                None => {}
            }
        }
    }

    fn complete(&mut self, group: &[Batch], done: usize) {
        for &step in &Step::ALL[done..] {
            group.iter().for_each(|batch| self.write(batch, step));
        }
        for batch in group {
            let durable = self.durable(batch);
            self.told_later.push_back(Input::Durable(durable));
        }
    }

    /// The next thing that the node is told.
    pub(super) fn tell(&mut self) -> Option<Input> {
        self.told_later.pop_front()
    }

    /// The process or the machine dies: of what waits, some may reach the disk all the same.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        self.told_space = Space::Enough;
        // Nothing overtakes a group that is stuck.
        let is_stuck = self.stuck.take().is_some() || self.is_full();
        while !is_stuck && !self.queue.is_empty() && rng.chance(1, 2) {
            let group = self.next_group(rng);
            let steps = if rng.chance(1, 2) { 3 } else { rng.below(3) as usize };
            for &step in &Step::ALL[..steps] {
                group.iter().for_each(|batch| self.write(batch, step));
            }
            if steps < 3 {
                // The journal may be cut, and not go on yet.
                if let Some(batch) = group.first().filter(|_| steps == 1 && rng.chance(1, 2)) {
                    self.cut(batch);
                }
                break;
            }
            if group.is_empty() {
                match self.queue.pop_front() {
                    Some(Work::CompactRuns(live)) => self.runs = live,
                    Some(Work::ReadRecords(_) | Work::ReadSnapshot(..)) => {}
                    Some(Work::Commit(_) | Work::Snapshot(..) | Work::ReadOutputs(..)) | None => {
                        break;
                    }
                }
            }
        }
        if let Some(snapshot) = self.writing.take().filter(|w| w.whole && rng.chance(1, 3)) {
            self.install(snapshot);
        }
        self.queue.clear();
        self.told_later.clear();
    }

    /// What a new start finds.
    pub(super) fn open(&mut self) -> Found {
        self.identity.boot.0 += 1;
        let state = match &self.snapshot {
            None => State::new(),
            Some(Snapshot { index, chunks, .. }) => {
                let mut loader = SnapshotLoader::new();
                chunks.iter().for_each(|chunk| loader.chunk(chunk).unwrap());
                let state = loader.finish().unwrap();
                assert_eq!(state.applied(), *index);
                state
            }
        };
        let records = self.behind.iter().map(decode).collect();
        let runs = self.runs.iter().map(reread).collect();
        let checkpoint = self.snapshot.as_ref().map(|made| (made.index, made.digest()));
        Found { identity: self.identity, state, records, runs, checkpoint }
    }

    /// The durable record of the runs log that holds for a run now.
    pub(super) fn promised(&self, run: crate::ident::RunId) -> Option<&RunsRecord> {
        self.runs.iter().rev().find(|record| match record {
            RunsRecord::Epoch(_) => false,
            RunsRecord::Accepted { run: own, .. }
            | RunsRecord::Spawned { run: own, .. }
            | RunsRecord::Exited { run: own, .. }
            | RunsRecord::Forgotten { run: own } => *own == run,
        })
    }

    /// How many runs the runs log still speaks of.
    pub(super) fn runs_held(&self) -> usize {
        let mut held = std::collections::BTreeSet::new();
        for record in &self.runs {
            match record {
                RunsRecord::Epoch(_) => {}
                RunsRecord::Forgotten { run } => {
                    held.remove(run);
                }
                RunsRecord::Accepted { run, .. }
                | RunsRecord::Spawned { run, .. }
                | RunsRecord::Exited { run, .. } => {
                    held.insert(*run);
                }
            }
        }
        held.len()
    }

    fn next_group(&mut self, rng: &mut Rng) -> Vec<Batch> {
        let mut group = Vec::new();
        while let Some(Work::Commit(_)) = self.queue.front() {
            if !group.is_empty() && rng.chance(1, 3) {
                break;
            }
            if let Some(Work::Commit(batch)) = self.queue.pop_front() {
                group.push(batch);
            }
        }
        group
    }

    fn write(&mut self, batch: &Batch, step: Step) {
        match step {
            Step::Promise => {
                if let Some(promise) = batch.promise {
                    let before = self.identity.promise;
                    let is_new = promise.epoch > before.epoch || before.to.is_none();
                    assert!(
                        is_new && promise.epoch >= before.epoch,
                        "a promise never decreases, and an epoch is promised once: {before:?}, \
                         {promise:?}"
                    );
                    self.identity.promise = promise;
                }
            }
            Step::Journal => {
                self.cut(batch);
                for raw in &batch.records {
                    let last = self.last();
                    assert_eq!(raw.index.0, last.index.0 + 1, "the journal has no gap");
                    assert!(raw.epoch >= last.epoch && raw.epoch <= self.identity.promise.epoch);
                    self.history.push(raw.clone());
                    self.behind.push(raw.clone());
                }
            }
            Step::Runs => {
                for record in &batch.runs {
                    self.check_promise(record);
                    self.runs.push(record.clone());
                }
            }
        }
    }

    /// A run is promised once to each launcher, and not at all when it is known to have started.
    fn check_promise(&self, record: &RunsRecord) {
        let RunsRecord::Accepted { run, instance } = record else { return };
        match self.promised(*run) {
            Some(RunsRecord::Accepted { instance: other, .. }) => {
                assert_ne!(instance, other, "{run} is promised twice");
            }
            Some(RunsRecord::Spawned { .. } | RunsRecord::Exited { .. }) => {
                panic!("{run} was started, and is promised again");
            }
            Some(RunsRecord::Forgotten { .. } | RunsRecord::Epoch(_)) | None => {}
        }
    }

    fn cut(&mut self, batch: &Batch) {
        if let Some(keep) = batch.cut {
            self.history.retain(|raw| raw.index <= keep);
            self.behind.retain(|raw| raw.index <= keep);
        }
    }

    /// Some records from there on, as many as fit a message.
    fn records(&self, from: Index) -> Vec<Raw> {
        let records = self.behind.iter().filter(|raw| raw.index >= from);
        let records: Vec<Raw> = records.take(RECORDS_READ).cloned().collect();
        let gap = records.first().is_some_and(|first| first.index > from);
        if gap { Vec::new() } else { records }
    }

    /// The newest epoch whose leader this node may have answered.
    pub(super) fn runs_epoch(&self) -> Epoch {
        let epoch = |record: &RunsRecord| match record {
            RunsRecord::Epoch(epoch) => Some(*epoch),
            RunsRecord::Accepted { .. }
            | RunsRecord::Spawned { .. }
            | RunsRecord::Exited { .. }
            | RunsRecord::Forgotten { .. } => None,
        };
        self.runs.iter().filter_map(epoch).max().unwrap_or_default()
    }

    fn durable(&self, batch: &Batch) -> Durable {
        let journal: usize = self.behind.iter().map(|raw| raw.payload.len() + 64).sum();
        Durable {
            ticket: batch.ticket,
            journal_bytes: journal as u64,
            snapshot_bytes: self.snapshot_bytes,
            runs_bytes: self.runs.len() as u64 * RUNS_RECORD_BYTES,
            outputs_old: Index(0),
        }
    }

    fn snapshot_work(&mut self, index: Index, work: SnapshotWork, rng: &mut Rng) {
        let seam = match work {
            SnapshotWork::BeginFrom(seam) => Some(seam),
            SnapshotWork::Begin
            | SnapshotWork::Part(_)
            | SnapshotWork::End(..)
            | SnapshotWork::Abort => None,
        };
        if seam.is_some() || work == SnapshotWork::Begin {
            if self.snapshot.as_ref().is_some_and(|old| old.index >= index) {
                self.told_later.push_back(Input::Snapshot(index, SnapshotNews::GivenUp));
                return;
            }
            let is_here = self.last().index >= index;
            assert!(is_here || seam.is_some(), "a snapshot of what the journal does not hold");
            self.writing = Some(Snapshot { index, seam, chunks: Vec::new(), whole: false });
            return;
        }
        let Some(writing) = self.writing.as_mut().filter(|writing| writing.index == index) else {
            return;
        };
        match work {
            _ if rng.chance(1, 9) => {
                self.writing = None;
                self.told_later.push_back(Input::Snapshot(index, SnapshotNews::GivenUp));
            }
            SnapshotWork::Begin | SnapshotWork::BeginFrom(_) => unreachable!("handled above"),
            SnapshotWork::Part(chunks) => {
                writing.chunks.extend(chunks);
                self.told_later.push_back(Input::Snapshot(index, SnapshotNews::PartWritten));
            }
            SnapshotWork::End(chunks, _, _) => {
                writing.chunks.extend(chunks);
                writing.whole = true;
            }
            SnapshotWork::Abort => self.writing = None,
        }
    }

    fn output(&self, index: Index) -> Option<Vec<u8>> {
        let raw = self.history.iter().find(|raw| raw.index == index)?;
        output_in(raw.kind, SCHEMA, &raw.payload).map(<[u8]>::to_vec)
    }

    /// The end of the journal.
    fn last(&self) -> Place {
        let written = self.history.last().map(Raw::place).unwrap_or_default();
        written.max(self.covered)
    }

    /// Whether everything up to `index` is in a snapshot that another node has made.
    pub(super) fn covers(&self, index: Index) -> bool {
        index <= self.covered.index
    }

    /// A part of the snapshot at `index`, or the first one of the newest.
    fn part(&self, index: Index, number: u64) -> Option<SnapshotPart> {
        let snapshot = self.snapshot.as_ref()?;
        let number = if index == snapshot.index { number } else { 0 };
        let epoch_at = |raw: &Raw| (raw.index == snapshot.index).then_some(raw.epoch);
        let seam = snapshot.seam.or_else(|| {
            let epoch = self.history.iter().find_map(epoch_at)?;
            Some(Seam { index: snapshot.index, epoch, chain: 5 })
        })?;
        let parts: Vec<&[Vec<u8>]> = snapshot.chunks.chunks(CHUNKS_SENT).collect();
        let chunks = parts.get(usize::try_from(number).unwrap())?.to_vec();
        let is_last = number + 1 == parts.len() as u64;
        Some(SnapshotPart { seam, digest: snapshot.digest(), number, chunks, is_last })
    }

    fn install(&mut self, snapshot: Snapshot) {
        if let Some(seam) = snapshot.seam {
            let place = Place { epoch: seam.epoch, index: seam.index };
            if !self.history.iter().any(|raw| raw.place() == place) {
                // Nothing of this journal is known to be the leader's.
                self.history.clear();
                self.behind.clear();
                self.covered = place;
            }
        }
        self.snapshot_bytes = snapshot.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        self.behind.retain(|raw| raw.index > snapshot.index);
        self.snapshot = Some(snapshot);
    }
}

#[derive(Clone, Copy)]
enum Step {
    Promise,
    Journal,
    Runs,
}

impl Step {
    const ALL: [Step; 3] = [Step::Promise, Step::Journal, Step::Runs];
}

pub(super) fn decode(raw: &Raw) -> Entry {
    Entry::decode(raw.index, raw.epoch, raw.kind, SCHEMA, &raw.payload).unwrap()
}

fn reread(record: &RunsRecord) -> RunsRecord {
    RunsRecord::decode(record.kind(), runs_log::SCHEMA, &record.encode()).unwrap()
}
