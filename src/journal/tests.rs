//! The journal against a disk that crashes, lies, fills up and rots.

use super::sim::{Fault, SimStorage, Survival};
use super::*;
use crate::codec::{Decoder, Encoder};
use crate::ident::{Boot, ClusterId, NodeId, StoreId};
use crate::rng::Rng;

/// One record as a test remembers it: epoch, kind and payload; its place is its index.
type Entry = (u64, u8, Vec<u8>);

const OWNER: Owner = Owner { cluster: ClusterId(77), store: StoreId(99) };

fn settings() -> Settings {
    Settings { owner: OWNER, segment_bytes: 1_500 }
}

/// A step of a story.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Append records of about so many bytes, in an epoch so much higher.
    Append(u64, usize, u64),
    /// Truncate so many records.
    Truncate(usize),
    /// Snapshot all but the newest so many records, in two chunks, with an append in between.
    Snapshot(usize),
    /// Take on the leader's snapshot: keep all but so many of our records, add so many foreign.
    Peer(usize, u64),
    Runs(u64, usize),
    /// Compact to every second record.
    Compact,
    Hard,
}

const STORY: &[Act] = &[
    Act::Hard,
    Act::Append(1, 10, 1),
    Act::Append(3, 300, 0),
    Act::Runs(2, 40),
    Act::Append(2, 700, 1),
    Act::Append(1, 5_000, 0),
    Act::Truncate(2),
    Act::Runs(1, 900),
    Act::Append(5, 20, 1),
    Act::Snapshot(2),
    Act::Hard,
    Act::Append(4, 300, 0),
    Act::Compact,
    Act::Truncate(3),
    Act::Append(4, 350, 2),
    Act::Peer(2, 3),
    Act::Runs(3, 10),
    Act::Append(2, 900, 5),
    Act::Append(2, 900, 0),
    Act::Truncate(3),
    Act::Snapshot(0),
    Act::Peer(0, 4),
    Act::Append(1, 1, 0),
    Act::Compact,
    Act::Hard,
];

/// A node's disk, and what may be found on it.
#[derive(Clone, Default)]
struct Rig {
    disk: SimStorage,
    /// Every history that a restart may find; the last is the one in force.
    journals: Vec<Vec<Entry>>,
    runs: Vec<Vec<Vec<u8>>>,
    hards: Vec<Option<Hard>>,
    /// How many bytes were made up so far; no two records are alike.
    salt: u64,
}

struct Open {
    journal: Journal,
    runs: RunsLog,
    hard: HardFile,
}

impl Rig {
    fn new() -> Self {
        Rig { hards: vec![None], ..Rig::default() }
    }

    /// Makes the files and lives through `story`, until the first error.
    fn live(&mut self, story: &[Act]) -> Result<Open, String> {
        let first = hard(0);
        self.hards.push(Some(first));
        let hard = said(HardFile::create(&mut self.disk, &first))?;
        self.hards = vec![Some(first)];
        let runs = said(RunsLog::create(&mut self.disk, OWNER.store))?;
        self.runs.push(Vec::new());
        let journal = said(Journal::create(&mut self.disk, settings()))?;
        self.journals.push(Vec::new());
        let mut open = Open { journal, runs, hard };
        for &act in story {
            self.act(&mut open, act)?;
        }
        Ok(open)
    }

    fn act(&mut self, open: &mut Open, act: Act) -> Result<(), String> {
        match act {
            Act::Append(count, size, epochs) => self.append(open, count, size, epochs),
            Act::Truncate(count) => self.truncate(open, count),
            Act::Snapshot(back) => {
                let now = self.now();
                let index = Index((now.len() - back) as u64);
                said(open.journal.snapshot_begin(&mut self.disk, index, index.0))?;
                self.chunks(open, &now[..now.len() - back])?;
                self.finish(open)
            }
            Act::Peer(back, added) => self.peer(open, back, added),
            Act::Runs(count, size) => {
                let made: Vec<Vec<u8>> = (0..count).map(|_| self.bytes(size)).collect();
                let now = self.runs.last().unwrap().clone();
                self.runs.push([now, made.clone()].concat());
                let records: Vec<_> = made.iter().map(|made| run_record(made)).collect();
                said(open.runs.append_group(&mut self.disk, &records))?;
                self.runs.drain(..self.runs.len() - 1);
                Ok(())
            }
            Act::Compact => {
                let now = self.runs.last().unwrap().clone();
                let live: Vec<Vec<u8>> = now.into_iter().step_by(2).collect();
                self.runs.push(live.clone());
                let records: Vec<_> = live.iter().map(|made| run_record(made)).collect();
                said(open.runs.compact(&mut self.disk, &records))?;
                self.runs.drain(..self.runs.len() - 1);
                Ok(())
            }
            Act::Hard => {
                self.salt += 1;
                let next = hard(self.salt);
                self.hards.push(Some(next));
                said(open.hard.store(&mut self.disk, &next))?;
                self.hards = vec![Some(next)];
                Ok(())
            }
        }
    }

    fn now(&self) -> Vec<Entry> {
        self.journals.last().unwrap().clone()
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        self.salt += 1;
        let mut rng = Rng::new(self.salt);
        (0..size).map(|_| rng.next_u64() as u8).collect()
    }

    fn append(&mut self, o: &mut Open, count: u64, size: usize, epochs: u64) -> Result<(), String> {
        let before = self.now();
        let epoch = before.last().map_or(0, |entry| entry.0) + epochs;
        let made: Vec<Entry> =
            (0..count).map(|n| (epoch, n as u8, self.bytes(size + n as usize))).collect();
        let first = before.len() as u64 + 1;
        self.journals.push([before, made.clone()].concat());
        let records = records(first, &made);
        let written = o.journal.append_group(&mut self.disk, &records);
        if written == Err(WriteError::NoSpace) {
            self.journals.pop();
        }
        said(written)?;
        self.journals.drain(..self.journals.len() - 1);
        Ok(())
    }

    fn truncate(&mut self, open: &mut Open, count: usize) -> Result<(), String> {
        let before = self.now();
        let kept = before.len() - count;
        self.journals = (kept..=before.len()).rev().map(|end| before[..end].to_vec()).collect();
        said(open.journal.truncate_from(&mut self.disk, Index(kept as u64 + 1)))?;
        self.journals.drain(..self.journals.len() - 1);
        Ok(())
    }

    fn chunks(&mut self, open: &mut Open, entries: &[Entry]) -> Result<(), String> {
        let bytes = encode_entries(entries);
        let (one, two) = bytes.split_at(bytes.len() / 2);
        said(open.journal.snapshot_chunk(&mut self.disk, one))?;
        self.append(open, 2, 30, 0)?;
        said(open.journal.snapshot_chunk(&mut self.disk, two))
    }

    fn finish(&mut self, open: &mut Open) -> Result<(), String> {
        while said(open.journal.snapshot_finish_step(&mut self.disk))? == Progress::More {}
        Ok(())
    }

    /// The leader's history has another end than ours.
    fn peer(&mut self, open: &mut Open, back: usize, added: u64) -> Result<(), String> {
        let mut theirs = self.now();
        theirs.truncate(theirs.len() - back);
        let epoch = theirs.last().unwrap().0 + 10;
        for _ in 0..added {
            let made = self.bytes(33);
            theirs.push((epoch, 200, made));
        }
        let mut bytes = Vec::new();
        let seam = frame::encode_group(&mut bytes, Seam::default(), &records(1, &theirs));
        said(open.journal.snapshot_begin_from_peer(&mut self.disk, seam, 5))?;
        self.chunks(open, &theirs)?;
        self.journals.push(theirs.clone());
        self.finish(open)?;
        self.journals.drain(..self.journals.len() - 1);
        Ok(())
    }

    /// Starts the node and checks that it found what it may find.
    #[track_caller]
    fn start(&mut self, story: &str) -> Option<(Open, Report)> {
        let loaded = HardFile::load(&mut self.disk).unwrap_or_else(|e| panic!("{story}: {e}"));
        let found = loaded.as_ref().map(|loaded| loaded.hard);
        assert!(self.hards.contains(&found), "{story}: {found:?} of {:?}", self.hards);
        let loaded = loaded?;
        self.hards = vec![found];

        let mut read = Vec::new();
        let mut visit = |record: RunsRecord<'_>| read.push(record.payload.to_vec());
        let opened = RunsLog::open(&mut self.disk, OWNER.store, &mut visit);
        let runs = match opened {
            Err(OpenError::Missing { .. }) if self.runs.is_empty() => return None,
            opened => opened.unwrap_or_else(|error| panic!("{story}: {error}")).0,
        };
        assert!(read.is_empty() || self.runs.contains(&read), "{story}: other runs");
        self.runs = vec![read];

        let (journal, report, read) = match read_all(&mut self.disk) {
            Err(OpenError::Missing { .. }) if self.journals.is_empty() => return None,
            opened => opened.unwrap_or_else(|error| panic!("{story}: {error}")),
        };
        let lengths: Vec<usize> = self.journals.iter().map(Vec::len).collect();
        let known = read.is_empty() && self.journals.is_empty() || self.journals.contains(&read);
        assert!(known, "{story}: {} records of {lengths:?}", read.len());
        self.journals = vec![read];
        Some((Open { journal, runs, hard: loaded.file }, report))
    }
}

fn said<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

fn hard(salt: u64) -> Hard {
    Hard {
        cluster: OWNER.cluster,
        store: OWNER.store,
        node: NodeId::new(7).unwrap(),
        boot: Boot(1_000 + salt),
        promised_epoch: Epoch(salt),
        promised_to: NodeId::new(salt as u32 % 3),
    }
}

fn run_record(payload: &[u8]) -> RunsRecord<'_> {
    RunsRecord { kind: 1, schema: 1, payload }
}

fn records(first: u64, entries: &[Entry]) -> Vec<Record<'_>> {
    (first..)
        .zip(entries)
        .map(|(index, (epoch, kind, payload))| Record {
            index: Index(index),
            epoch: Epoch(*epoch),
            kind: *kind,
            schema: 4,
            payload,
        })
        .collect()
}

fn encode_entries(entries: &[Entry]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.list(entries.iter(), |out, (epoch, kind, payload)| {
        out.u64(*epoch).u8(*kind).bytes(payload);
    });
    out.into_bytes()
}

fn decode_entries(bytes: &[u8]) -> Vec<Entry> {
    let mut input = Decoder::new(bytes);
    let entries = input.list(|input| Ok((input.u64()?, input.u8()?, input.bytes()?.to_vec())));
    input.finish().unwrap();
    entries.unwrap()
}

/// Opens the journal and rebuilds the history from snapshot and records.
fn read_all(disk: &mut SimStorage) -> Result<(Journal, Report, Vec<Entry>), OpenError> {
    let (mut chunks, mut meta, mut tail, mut next) = (Vec::new(), None, Vec::new(), 1);
    let (journal, report) = Journal::open(disk, settings(), &mut |item| match item {
        Item::Snapshot(found) => {
            meta = Some(found);
            next = found.seam.index.0 + 1;
        }
        Item::SnapshotChunk(bytes) => chunks.extend_from_slice(bytes),
        Item::Record(record) => {
            assert_eq!(record.index.0, next, "records come in order");
            next += 1;
            tail.push((record.epoch.0, record.kind, record.payload.to_vec()));
        }
    })?;
    let mut entries = if meta.is_some() { decode_entries(&chunks) } else { Vec::new() };
    if let Some(meta) = meta {
        assert_eq!(entries.len() as u64, meta.seam.index.0, "the snapshot is of its index");
    }
    entries.extend(tail);
    assert_eq!(journal.last().index.0, entries.len() as u64);
    Ok((journal, report, entries))
}

/// After a crash: what may be found is found, twice, and what is then written stays.
fn check_restart(mut rig: Rig, story: &str) {
    let Some((mut open, report)) = rig.start(story) else { return };
    let found = rig.now();
    for (index, entry) in (1..).zip(&found) {
        if let Some(epoch) = open.journal.epoch_at(Index(index)) {
            assert_eq!(epoch.0, entry.0, "{story}: epoch at {index}");
        }
    }
    drop(open);
    let files = rig.disk.list().unwrap();
    let (again, second) = rig.start(story).unwrap();
    open = again;
    assert_eq!(second.torn, None, "{story}: a tear is cut once");
    assert_eq!(second.kept, report.kept, "{story}");
    assert_eq!(files, rig.disk.list().unwrap(), "{story}");
    // What was found counts now, and what follows it does as well.
    rig.disk.crash(Survival::Nothing);
    let (again, _) = rig.start(story).unwrap();
    assert_eq!(rig.now(), found, "{story}");
    open = again;
    rig.append(&mut open, 2, 100, 1).unwrap();
    rig.act(&mut open, Act::Runs(1, 9)).unwrap();
    rig.act(&mut open, Act::Hard).unwrap();
    rig.disk.crash(Survival::Nothing);
    rig.start(story).unwrap();
}

fn survivals(seeds: u64) -> impl Iterator<Item = Survival> {
    use Survival::{Everything, Names, Nothing, Some, Writes};
    [Nothing, Everything, Writes, Names].into_iter().chain((0..seeds).map(Some))
}

/// The story with a fault at each of its steps in turn; `check` sees the disk after it.
fn at_every_step(fault: Fault, mut check: impl FnMut(&Rig, u64, Result<(), String>)) {
    for step in 0.. {
        let mut rig = Rig::new();
        rig.disk.set_fault(step, fault);
        let lived = rig.live(STORY).map(|_| ());
        if rig.disk.steps() <= step {
            assert!(step > 150, "the story has many steps, not {step}");
            return;
        }
        check(&rig, step, lived);
    }
}

#[test]
fn a_story_without_faults_is_read_back() {
    let mut rig = Rig::new();
    let mut open = rig.live(STORY).unwrap();
    assert!(open.journal.snapshot().is_some());
    assert_eq!(rig.journals.len(), 1);
    rig.append(&mut open, 3, 50, 0).unwrap();
    check_restart(rig, "no fault");
}

#[test]
fn a_crash_at_any_step_loses_nothing_that_was_acknowledged() {
    at_every_step(Fault::Crash, |rig, step, lived| {
        assert!(lived.is_err());
        for survival in survivals(8) {
            let mut rig = rig.clone();
            rig.disk.crash(survival);
            check_restart(rig, &format!("crash at step {step}, {survival:?}"));
        }
    });
}

#[test]
fn a_killed_process_counts_on_nothing_that_is_only_in_the_page_cache() {
    at_every_step(Fault::Crash, |rig, step, _| {
        let mut rig = rig.clone();
        rig.disk.restart();
        check_restart(rig, &format!("kill at step {step}"));
    });
}

#[test]
fn an_io_error_at_any_step_poisons_and_loses_nothing() {
    for fault in [Fault::Error, Fault::ShortError] {
        at_every_step(fault, |rig, step, lived| {
            assert!(lived.is_err(), "step {step} failed and nobody noticed");
            let story = format!("{fault:?} at step {step}");
            let mut killed = rig.clone();
            killed.disk.restart();
            check_restart(killed, &story);
            for survival in survivals(2) {
                let mut rig = rig.clone();
                rig.disk.crash(survival);
                check_restart(rig, &format!("{story}, {survival:?}"));
            }
        });
    }
}

#[test]
fn a_full_disk_at_any_step_loses_nothing() {
    for fault in [Fault::NoSpace, Fault::ShortNoSpace] {
        at_every_step(fault, |rig, step, _| {
            for survival in survivals(2) {
                let mut rig = rig.clone();
                rig.disk.crash(survival);
                check_restart(rig, &format!("{fault:?} at step {step}, {survival:?}"));
            }
        });
    }
}

#[test]
fn a_crash_at_any_step_of_a_start_changes_nothing() {
    let mut rig = Rig::new();
    rig.live(&STORY[..15]).unwrap();
    // Each crash below tears the group that is being appended, then strikes the restart too.
    for survival in survivals(12) {
        let mut torn = rig.clone();
        let mut open = torn.start("before the tear").unwrap().0;
        torn.disk.set_fault(torn.disk.steps(), Fault::Crash);
        torn.append(&mut open, 3, 1_000, 1).unwrap_err();
        torn.disk.crash(survival);
        crash_during_start(&torn, &format!("{survival:?}"));
    }
}

#[test]
fn a_crash_while_a_killed_process_starts_anew_loses_nothing() {
    at_every_step(Fault::Crash, |rig, step, _| {
        let mut rig = rig.clone();
        rig.disk.restart();
        if step > 20 {
            crash_during_start(&rig, &format!("kill at {step}"));
        }
    });
}

/// Starts the node with a crash at each step of it.
fn crash_during_start(rig: &Rig, story: &str) {
    for step in 0.. {
        let torn = rig;
        let mut again = torn.clone();
        let first = again.disk.steps();
        again.disk.set_fault(first + step, Fault::Crash);
        let started = HardFile::load(&mut again.disk).is_ok()
            && RunsLog::open(&mut again.disk, OWNER.store, &mut |_| {}).is_ok()
            && read_all(&mut again.disk).is_ok();
        if started {
            assert!(step > 10, "a start has many steps, not {step}");
            return;
        }
        assert!(again.disk.is_dead());
        for second in survivals(3) {
            let mut again = again.clone();
            again.disk.crash(second);
            check_restart(again, &format!("{story}, then {second:?} at {step}"));
        }
    }
}
