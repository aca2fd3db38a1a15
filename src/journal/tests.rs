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
    Settings { owner: OWNER, segment_bytes: 1_500, tails_max_bytes: 3_000 }
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

/// Every second kind of record is one with output.
fn output_of<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    (record.kind % 2 == 1).then_some(record.payload)
}

/// All output is kept.
const ALL: Outputs<'_> = Outputs { extract: &output_of, keep: &[], keep_before: Index(0) };

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
    Act::Append(2, 900, 0),
    Act::Append(2, 900, 0),
    Act::Append(2, 900, 0),
    Act::Peer(5, 1),
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
                said(open.journal.snapshot_begin(&mut self.disk, index))?;
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
        self.finish_keeping(open, &ALL)
    }

    fn finish_keeping(&mut self, open: &mut Open, outputs: &Outputs<'_>) -> Result<(), String> {
        while said(open.journal.snapshot_finish_step(&mut self.disk, outputs))? == Progress::More {}
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
        said(open.journal.snapshot_begin_from_peer(&mut self.disk, seam))?;
        self.chunks(open, &theirs)?;
        // A log that holds the snapshot's last record is kept.
        let after = if added == 0 { self.now() } else { theirs };
        self.journals.push(after);
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
        let mut visit = |record: RunsRecord<'_>| {
            read.push(record.payload.to_vec());
            Ok(())
        };
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

/// Opens the journal and rebuilds the history from snapshot and records. What an inspection says
/// before is what opening does.
fn read_all(disk: &mut SimStorage) -> Result<(Journal, Report, Vec<Entry>), OpenError> {
    let (wrong, torn) = inspect(disk);
    let read = open_all(disk);
    if !matches!(read, Err(OpenError::Storage(_))) {
        assert_eq!(wrong.as_ref(), read.as_ref().err());
    }
    if let Ok((journal, report, _)) = &read {
        assert_eq!(torn, report.torn.as_ref().map(|torn| torn.offset));
        // What was settled is sound, and ends where the journal does.
        let parts = Inspection::begin(disk, OWNER).unwrap();
        assert_eq!(kept_of(parts), journal.last());
    }
    read
}

/// The first thing that an inspection finds wrong, and where a torn group begins.
fn inspect(disk: &SimStorage) -> (Option<OpenError>, Option<u64>) {
    let mut inspection = Inspection::begin(disk, OWNER).unwrap();
    let (mut wrong, mut torn) = (None, None);
    while let Some(part) = inspection.next(&mut |_| Ok(())) {
        torn = torn.or(part.torn);
        wrong = wrong.or(part.wrong);
    }
    (wrong, torn)
}

fn kept_of(mut inspection: Inspection<'_>) -> Seam {
    while let Some(part) = inspection.next(&mut |_| Ok(())) {
        assert_eq!(part.wrong, None, "{part:?}");
    }
    inspection.kept()
}

fn open_all(disk: &mut SimStorage) -> Result<(Journal, Report, Vec<Entry>), OpenError> {
    let (mut chunks, mut meta, mut tail, mut next) = (Vec::new(), None, Vec::new(), 1);
    let (journal, report) = Journal::open(disk, settings(), &mut |item| {
        match item {
            Item::Snapshot(found) => {
                meta = Some(found);
                next = found.seam.index.0 + 1;
            }
            Item::SnapshotChunk(bytes) => chunks.extend_from_slice(bytes),
            Item::SnapshotEnd => {}
            Item::Record(record) => {
                assert_eq!(record.index.0, next, "records come in order");
                next += 1;
                tail.push((record.epoch.0, record.kind, record.payload.to_vec()));
            }
        }
        Ok(())
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
    let Some((open, report)) = rig.start(story) else { return };
    let found = rig.now();
    for (index, entry) in (1..).zip(&found) {
        if let Some(epoch) = open.journal.epoch_at(Index(index)) {
            assert_eq!(epoch.0, entry.0, "{story}: epoch at {index}");
        }
    }
    drop(open);
    let files = rig.disk.list().unwrap();
    let (_, second) = rig.start(story).unwrap();
    assert_eq!(second.torn, None, "{story}: a tear is cut once");
    assert_eq!(second.kept, report.kept, "{story}");
    assert_eq!(files, rig.disk.list().unwrap(), "{story}");
    // What was found counts now, and what follows it does as well.
    rig.disk.crash(Survival::Nothing);
    let (mut open, _) = rig.start(story).unwrap();
    assert_eq!(rig.now(), found, "{story}");
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
        if step > 20 && step % 3 == 0 && !rig.disk.is_settled() {
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
            && RunsLog::open(&mut again.disk, OWNER.store, &mut |_| Ok(())).is_ok()
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

/// A journal with a snapshot, three segments and a last group of two records, at rest.
fn at_rest() -> Rig {
    let mut rig = Rig::new();
    let mut open = rig.live(&STORY[..10]).unwrap();
    for act in [
        Act::Append(2, 600, 0),
        Act::Append(2, 400, 0),
        Act::Append(1, 50, 1),
        Act::Runs(2, 30),
        Act::Append(2, 90, 0),
    ] {
        rig.act(&mut open, act).unwrap();
    }
    rig.disk.crash(Survival::Nothing);
    rig
}

/// Where the last group of a log file starts, and the records before it.
fn last_group(bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut start, mut count) = (64, 64, 0);
    let mut before = 0;
    while at < bytes.len() {
        let header = Header::decode(&bytes[at..]).unwrap();
        if header.group == header.index {
            (start, before) = (at, count);
        }
        at += header.frame_bytes();
        count += 1;
    }
    (start, count - before)
}

fn segments(disk: &SimStorage) -> Vec<String> {
    let names = disk.list().unwrap().into_iter();
    names.filter(|name| segment::parse_segment_name(name).is_some()).collect()
}

/// Opens the journal of a damaged disk: an error must name the place, and only the last `torn`
/// records may be missing.
#[track_caller]
fn check_damaged(mut disk: SimStorage, file: &str, all: &[Entry], torn: usize, story: &str) {
    match read_all(&mut disk) {
        Err(OpenError::Damaged(damage)) => {
            assert_eq!(damage.file, file, "{story}");
            assert!(damage.offset <= disk.length(file).unwrap(), "{story}: {damage}");
        }
        Err(error) => panic!("{story}: {error}"),
        Ok((_, report, read)) => {
            let tear = report.torn.unwrap_or_else(|| panic!("{story}: nothing was noticed"));
            assert!(torn > 0, "{story}: taken for a tear");
            assert_eq!(read, all[..all.len() - torn], "{story}");
            assert_eq!(tear.index.0 as usize, read.len() + 1, "{story}");
            assert_eq!(disk.length(&tear.kept_as).unwrap(), tear.bytes, "{story}");
            assert_eq!(report.kept, [tear.kept_as], "{story}");
        }
    }
}

#[test]
fn a_flip_of_any_byte_of_the_journal_is_noticed() {
    let mut rig = at_rest();
    let all = rig.now();
    let files = segments(&rig.disk);
    assert!(files.len() >= 3, "{files:?}");
    let groups_before = last_group(rig.disk.bytes(files.last().unwrap()).unwrap()).0 > 64;
    assert!(groups_before, "the last segment holds more than the last group");
    for file in files.iter().map(String::as_str).chain(["snapshot"]) {
        let bytes = rig.disk.bytes(file).unwrap().to_vec();
        let newest = Some(file) == files.last().map(String::as_str);
        let (start, records) = if newest { last_group(&bytes) } else { (bytes.len(), 0) };
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            rig.disk.plant(file, &bad);
            let torn = if at >= start { records } else { 0 };
            let story = format!("{file} bit {} of byte {at}", at % 8);
            check_damaged(rig.disk.clone(), file, &all, torn, &story);
        }
        rig.disk.plant(file, &bytes);
    }
    assert_eq!(read_all(&mut rig.disk).unwrap().2, all);
}

#[test]
fn a_hole_in_the_last_group_is_a_tear_and_one_with_anything_behind_it_is_not() {
    let mut rig = Rig::new();
    let mut open = rig.live(&[Act::Append(1, 10, 1), Act::Append(3, 100, 0)]).unwrap();
    let all = rig.now();
    let newest = segments(&rig.disk).pop().unwrap();
    let mut bytes = rig.disk.bytes(&newest).unwrap().to_vec();
    let start = last_group(&bytes).0;
    bytes[start..start + 60].fill(0);
    rig.disk.plant(&newest, &bytes);
    check_damaged(rig.disk.clone(), &newest, &all, 3, "the first of three is gone");
    // A group that was begun behind it, however torn, shows that its sync had returned.
    for behind in [&[0][..], &[7; 300]] {
        rig.disk.plant(&newest, &[&bytes, behind].concat());
        check_damaged(rig.disk.clone(), &newest, &all, 0, "bytes behind its last record");
    }
    rig.disk.plant(&newest, &bytes);
    rig.append(&mut open, 1, 5, 0).unwrap();
    check_damaged(rig.disk.clone(), &newest, &all, 0, "a group behind it");
}

#[test]
fn a_flip_of_any_byte_of_the_runs_log_or_the_hard_state_is_noticed() {
    let mut rig = at_rest();
    let bytes = rig.disk.bytes("runs").unwrap().to_vec();
    let (start, torn) = last_group(&bytes);
    let all = rig.runs.last().unwrap().clone();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        let mut disk = rig.disk.clone();
        disk.plant("runs", &bad);
        let mut read = Vec::new();
        let mut visit = |record: RunsRecord<'_>| {
            read.push(record.payload.to_vec());
            Ok(())
        };
        match RunsLog::open(&mut disk, OWNER.store, &mut visit) {
            Err(OpenError::Damaged(damage)) => assert_eq!(damage.file, "runs", "byte {at}"),
            Err(error) => panic!("byte {at}: {error}"),
            Ok((_, tear)) => {
                assert!(at >= start && tear.is_some(), "byte {at} is taken for a tear");
                assert_eq!(read, all[..all.len() - torn], "byte {at}");
            }
        }
    }
    let (old, new) = (hard(500), hard(501));
    let mut file = HardFile::load(&mut rig.disk).unwrap().unwrap().file;
    file.store(&mut rig.disk, &old).unwrap();
    file.store(&mut rig.disk, &new).unwrap();
    let bytes = rig.disk.bytes("hard").unwrap().to_vec();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        let mut disk = rig.disk.clone();
        disk.plant("hard", &bad);
        let loaded = HardFile::load(&mut disk).unwrap().unwrap();
        assert_eq!(loaded.other_copy_bad, at % 4096 < 68, "byte {at}");
        assert!(loaded.hard == new || (loaded.hard == old && loaded.other_copy_bad), "byte {at}");
        let healed = HardFile::load(&mut disk).unwrap().unwrap();
        assert!(!healed.other_copy_bad && healed.hard == loaded.hard, "byte {at}");
        bad[(at + 4096) % 8192] ^= 0x10;
        disk.plant("hard", &bad);
        let both = HardFile::load(&mut disk);
        assert_eq!(both.is_err(), at % 4096 < 68, "byte {at} of both copies");
    }
}

#[test]
fn a_file_cut_at_any_length_is_noticed_or_ends_at_a_group() {
    let mut rig = at_rest();
    let all = rig.now();
    let files = segments(&rig.disk);
    for file in files.iter().map(String::as_str).chain(["snapshot"]) {
        let bytes = rig.disk.bytes(file).unwrap().to_vec();
        let newest = Some(file) == files.last().map(String::as_str);
        for length in 0..bytes.len() {
            rig.disk.plant(file, &bytes[..length]);
            match read_all(&mut rig.disk.clone()) {
                Err(OpenError::Damaged(damage)) => {
                    // A whole segment that ends too early shows where the next one begins.
                    let next = damage.offset == 0 && files.contains(&damage.file);
                    assert!(damage.file == file || next, "{file} cut to {length}: {damage}");
                    assert!(!newest || length < 64, "{file} cut to {length}: {damage}");
                }
                Err(error) => panic!("{file} cut to {length}: {error}"),
                Ok((_, _, read)) => {
                    assert!(newest && length >= 64, "{file} cut to {length} goes unnoticed");
                    assert!(all.starts_with(&read), "{file} cut to {length}");
                    assert!(read.len() + 5 >= all.len(), "{file} cut to {length}");
                }
            }
        }
        rig.disk.plant(file, &bytes);
    }
    for file in &files {
        let mut disk = rig.disk.clone();
        disk.remove(file).unwrap();
        let said = read_all(&mut disk).map(|(_, _, read)| all.starts_with(&read));
        assert!(said.is_err() || (Some(file) == files.last() && said == Ok(true)), "{file}");
    }
}

#[test]
fn a_directory_of_any_bytes_never_panics() {
    let rig = at_rest();
    let names = rig.disk.list().unwrap();
    for seed in 0..1_500 {
        let mut rng = Rng::new(seed);
        let mut disk = if rng.chance(1, 8) { SimStorage::new() } else { rig.disk.clone() };
        for _ in 0..=rng.below(3) {
            let name = &names[rng.below(names.len() as u64) as usize];
            let other = &names[rng.below(names.len() as u64) as usize];
            let mut bytes = disk.bytes(other).unwrap_or_default().to_vec();
            match rng.below(4) {
                0 => bytes = (0..rng.below(300)).map(|_| rng.next_u64() as u8).collect(),
                1 => bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize),
                2 => {
                    let from = rng.below(bytes.len() as u64 + 1) as usize;
                    let part = bytes[from..].to_vec();
                    bytes.extend_from_slice(&part);
                }
                _ => {}
            }
            let strange = format!("journal/{:016x}", rng.next_u64());
            disk.plant(if rng.chance(1, 4) { &strange } else { name }, &bytes);
        }
        println!("seed {seed}");
        let _ = HardFile::load(&mut disk);
        let _ = RunsLog::open(&mut disk, OWNER.store, &mut |_| Ok(()));
        let first =
            Journal::open(&mut disk, settings(), &mut |_| Ok(())).map(|(open, _)| open.last());
        let again =
            Journal::open(&mut disk, settings(), &mut |_| Ok(())).map(|(open, _)| open.last());
        assert_eq!(first, again, "seed {seed}");
    }
}

#[test]
fn headers_with_a_sound_checksum_and_wild_values_never_panic() {
    let edge = INDEX_MAX;
    for first in [0, 1, 2, edge, edge + 1, edge + 2, u64::MAX - 1, u64::MAX] {
        for index in [0, 1, edge, edge + 1, u64::MAX - 1] {
            let seam = Seam { index: Index(first.wrapping_sub(1)), ..Seam::default() };
            let mut disk = SimStorage::new();
            let mut log = segment::encode_header(segment::SEGMENT_MAGIC, OWNER, seam);
            if index > 0 {
                let before = Seam { index: Index(index - 1), ..seam };
                frame::encode_group(&mut log, before, &records(index, &[(9, 9, vec![])]));
            }
            disk.plant(&segment::segment_name(Index(first)), &log);
            let opened = Journal::open(&mut disk, settings(), &mut |_| Ok(()));
            // What is no header at all looks like a tear.
            let kept = first == 1 && (index <= 1 || index > edge);
            assert_eq!(opened.is_ok(), kept, "{first} {index}");
        }
    }
}

#[test]
fn a_group_is_one_write_and_one_sync() {
    let mut rig = Rig::new();
    let mut open = rig.live(&[]).unwrap();
    for act in [Act::Append(9, 10, 1), Act::Runs(9, 10), Act::Hard] {
        let before = (rig.disk.steps(), rig.disk.syncs());
        rig.act(&mut open, act).unwrap();
        assert_eq!((rig.disk.steps(), rig.disk.syncs()), (before.0 + 2, before.1 + 1), "{act:?}");
    }
}

#[test]
fn after_a_full_disk_the_same_may_be_tried_again() {
    let acts = [
        Act::Append(3, 300, 0),
        Act::Append(1, 1_400, 0),
        Act::Runs(3, 300),
        Act::Compact,
        Act::Truncate(2),
        Act::Snapshot(1),
        Act::Hard,
    ];
    for (act, fault) in
        acts.iter().flat_map(|&act| [(act, Fault::NoSpace), (act, Fault::ShortNoSpace)])
    {
        for step in 0.. {
            let mut rig = at_rest();
            let (mut open, _) = rig.start("before").unwrap();
            rig.disk.set_fault(rig.disk.steps() + step, fault);
            let story = format!("{act:?} with {fault:?} at its step {step}");
            let salt = rig.salt;
            let before = rig.clone();
            match rig.act(&mut open, act) {
                Ok(()) => {
                    assert!(step > 1, "{story}");
                    break;
                }
                Err(said) if said == WriteError::NoSpace.to_string() => {
                    rig.salt = salt;
                    if matches!(act, Act::Snapshot(_)) {
                        // The records appended between its chunks are there already.
                        rig.act(&mut open, Act::Append(1, 10, 0)).unwrap();
                    } else {
                        (rig.journals, rig.runs) = (before.journals, before.runs);
                        rig.act(&mut open, act).unwrap_or_else(|error| panic!("{story}: {error}"));
                    }
                }
                // The full disk met a name or an undoing; only a restart helps then.
                Err(_) => {
                    let refused = rig.clone().act(&mut open, act);
                    assert_eq!(refused, Err(WriteError::Poisoned.to_string()), "{story}");
                }
            }
            rig.disk.crash(Survival::Nothing);
            check_restart(rig, &story);
        }
    }
}

#[test]
fn a_disk_without_room_takes_nothing_and_goes_on_when_there_is_some() {
    let mut rig = Rig::new();
    let mut open = rig.live(&STORY[..4]).unwrap();
    let used: usize =
        rig.disk.list().unwrap().iter().map(|name| rig.disk.bytes(name).unwrap().len()).sum();
    for room in [0, 1, 63, 64, 65, 400, 999] {
        rig.disk.set_capacity(Some((used + room) as u64));
        let salt = rig.salt;
        let said = rig.append(&mut open, 2, 700, 0);
        assert_eq!(said, Err(WriteError::NoSpace.to_string()), "room for {room}");
        rig.salt = salt;
    }
    rig.disk.set_capacity(None);
    rig.append(&mut open, 2, 700, 0).unwrap();
    rig.disk.crash(Survival::Nothing);
    check_restart(rig, "room again");
}

#[test]
fn after_a_failed_sync_every_write_is_refused() {
    for fault in [Fault::Error, Fault::ShortError] {
        for step in 0..2 {
            let mut rig = Rig::new();
            let mut o = rig.live(&STORY[..4]).unwrap();
            for act in [Act::Append(1, 9, 0), Act::Runs(1, 9), Act::Hard] {
                rig.disk.set_fault(rig.disk.steps() + step, fault);
                rig.act(&mut o, act).unwrap_err();
                let said = rig.act(&mut o, act);
                assert_eq!(said, Err(WriteError::Poisoned.to_string()), "{act:?}");
            }
            let steps = rig.disk.steps();
            let disk = &mut rig.disk;
            assert_eq!(o.journal.truncate_from(disk, Index(1)), Err(WriteError::Poisoned));
            assert_eq!(o.journal.snapshot_begin(disk, Index(1)), Err(WriteError::Poisoned));
            assert_eq!(o.journal.snapshot_chunk(disk, b"x"), Err(WriteError::Poisoned));
            assert_eq!(o.journal.snapshot_finish_step(disk, &ALL), Err(WriteError::Poisoned));
            assert_eq!(o.journal.snapshot_abort(disk), Err(WriteError::Poisoned));
            assert_eq!(o.runs.compact(disk, &[]), Err(WriteError::Poisoned));
            assert_eq!(disk.steps(), steps, "the disk was left alone");
        }
    }
}

#[test]
fn a_newer_format_and_a_foreign_file_are_told_from_damage() {
    for (file, at, error) in [
        ("snapshot", 8, "has format 2, which a later"),
        ("snapshot", 16, "is of another cluster"),
        ("journal", 8, "has format 2, which a later"),
        ("journal", 24, "is of another cluster"),
        ("runs", 8, "has format 2, which a later"),
        ("runs", 24, "is of another cluster"),
        ("hard", 8, "has format 2, which a later"),
    ] {
        let mut disk = at_rest().disk;
        let newest = segments(&disk).pop().unwrap();
        let name = if file == "journal" { newest.as_str() } else { file };
        let mut bytes = disk.bytes(name).unwrap().to_vec();
        bytes[at] ^= 3;
        let end = if file == "hard" { 64 } else { 60 };
        let crc = crc32fast::hash(&bytes[..end]);
        bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        disk.plant(name, &bytes);
        let said = match file {
            "runs" => RunsLog::open(&mut disk, OWNER.store, &mut |_| Ok(())).map(|_| ()),
            "hard" => HardFile::load(&mut disk).map(|_| ()),
            _ => Journal::open(&mut disk, settings(), &mut |_| Ok(())).map(|_| ()),
        };
        let said = said.unwrap_err().to_string();
        assert!(said.starts_with(&format!("{name} {error}")), "{said}");
    }
}

#[test]
fn an_error_says_where_and_what_to_do() {
    let damage = Damage { file: "journal/01".into(), offset: 64, what: "it is so" };
    let said = OpenError::Damaged(damage).to_string();
    assert!(said.starts_with("journal/01 is damaged at byte 64: it is so; "), "{said}");
    for part in ["from a backup", "bellwether journal recover", "begin anew", "bellwether reset"] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

#[test]
fn records_are_found_by_index_across_segments_and_marks() {
    let mut rig = Rig::new();
    let mut open = rig.live(&[]).unwrap();
    for _ in 0..12 {
        for epochs in [1, 0] {
            rig.append(&mut open, 3, 20_000, epochs).unwrap();
        }
    }
    let all = rig.now();
    let (reopened, _, _) = read_all(&mut rig.disk.clone()).unwrap();
    for journal in [&open.journal, &reopened] {
        for (from, entry) in (1..).zip(&all) {
            let mut read = Vec::new();
            let whole = journal.read(&rig.disk, Index(from), 50_000, &mut |record| {
                read.push((record.epoch.0, record.kind, record.payload.to_vec()));
            });
            assert_eq!(whole, Ok(true));
            assert_eq!(read, all[from as usize - 1..][..read.len()], "from {from}");
            assert!(read.len() == 2 || from == all.len() as u64, "{} {from}", read.len());
            let seam = journal.seam_at(&rig.disk, Index(from)).unwrap().unwrap();
            assert_eq!((seam.index.0, seam.epoch.0), (from, entry.0));
            assert_eq!(journal.epoch_at(Index(from)), Some(Epoch(entry.0)));
            let first = all.iter().position(|other| other.0 == entry.0).unwrap() as u64 + 1;
            assert_eq!(journal.first_of_epoch(Epoch(entry.0)), Some(Index(first)));
        }
        let beyond = Index(all.len() as u64 + 1);
        assert_eq!(journal.epoch_at(beyond), None);
        assert_eq!(journal.seam_at(&rig.disk, beyond), Ok(None));
        assert_eq!(journal.read(&rig.disk, beyond, 1, &mut |_| panic!()), Ok(true));
        assert_eq!(journal.read(&rig.disk, Index(0), 1, &mut |_| panic!()), Ok(false));
    }
}

#[test]
fn a_snapshot_counts_bytes_and_is_read_again_chunk_by_chunk() {
    let mut rig = Rig::new();
    let mut open = rig.live(&[Act::Append(3, 100, 1)]).unwrap();
    assert_eq!(open.journal.bytes_since_snapshot(), 3 * 44 + 303);
    assert_eq!(open.journal.snapshot_begin(&mut rig.disk, Index(9)), Err(WriteError::NotNewer));
    rig.act(&mut open, Act::Snapshot(0)).unwrap();
    let journal = &mut open.journal;
    assert_eq!(journal.bytes_since_snapshot(), 2 * 44 + 61, "what was appended meanwhile");
    assert_eq!(journal.snapshot_bytes(), rig.disk.length("snapshot").unwrap());
    assert_eq!(journal.snapshot_begin(&mut rig.disk, Index(3)), Err(WriteError::NotNewer));
    let mut reader = journal.snapshot_reader(&rig.disk).unwrap().unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next_chunk(&rig.disk).unwrap() {
        bytes.extend_from_slice(chunk);
    }
    assert_eq!(decode_entries(&bytes), rig.now()[..3]);
    assert_eq!(reader.next_chunk(&rig.disk), Ok(None));
}

// ---- output of runs ----

/// A journal that is snapshotted again and again, each time with a group in between; and what is
/// to be kept of the output in its older half.
fn live_with_outputs(rig: &mut Rig) -> Result<Vec<Index>, String> {
    let mut open = rig.live(&[Act::Append(3, 200, 1)])?;
    let mut thinned = Vec::new();
    for round in 0..6 {
        for _ in 0..3 {
            rig.append(&mut open, 3, 250, 0)?;
        }
        let now = rig.now();
        let index = Index(now.len() as u64 - 2);
        said(open.journal.snapshot_begin(&mut rig.disk, index))?;
        rig.chunks(&mut open, &now[..now.len() - 2])?;
        let keep_before = open.journal.outputs_old();
        let keep: Vec<Index> =
            (1..keep_before.0).step_by(4).map(|at| Index(at + round % 2)).collect();
        rig.finish_keeping(&mut open, &Outputs { keep: &keep, keep_before, ..ALL })?;
        if keep_before > Index(0) {
            thinned = keep;
        }
    }
    Ok(thinned)
}

/// Whatever is kept of an output is what was written; and what must be kept is.
#[track_caller]
fn check_outputs(rig: &mut Rig, must: impl Fn(Index) -> bool, story: &str) -> usize {
    let Some((mut open, _)) = rig.start(story) else { return 0 };
    let mut kept = 0;
    for (index, (epoch, kind, payload)) in (1..).map(Index).zip(rig.now()) {
        let record = Record { index, epoch: Epoch(epoch), kind, schema: 4, payload: &payload };
        let written = output_of(&record);
        let found = open.journal.output(&rig.disk, index, &output_of).unwrap();
        match (found.as_deref(), written) {
            (Some(found), Some(written)) => assert!(found == written, "{story}: {index}"),
            (Some(_), None) => panic!("{story}: {index} has no output"),
            (None, Some(_)) => assert!(!must(index), "{story}: the output of {index} is gone"),
            (None, None) => {}
        }
        kept += usize::from(found.is_some());
    }
    kept
}

#[test]
fn output_outlives_its_segments_and_the_oldest_is_thinned_out() {
    let mut rig = Rig::new();
    let keep = live_with_outputs(&mut rig).unwrap();
    let all = rig.now().iter().filter(|entry| entry.1 % 2 == 1).count();
    assert!(!keep.is_empty(), "there was too much at some time");
    let old = *keep.last().unwrap();
    let must = |index: Index| index.0 > old.0 + 4 || keep.binary_search(&index).is_ok();
    let kept = check_outputs(&mut rig, must, "no fault");
    assert!(kept < all && kept > 4, "{kept} of {all} are kept");
    let tails = |name: &String| name.starts_with("journal/tails-");
    let files: Vec<String> = rig.disk.list().unwrap().into_iter().filter(tails).collect();
    let bytes: u64 = files.iter().map(|file| rig.disk.length(file).unwrap()).sum();
    assert!(bytes <= 2 * settings().tails_max_bytes, "{bytes} bytes in {files:?}");
    // A damaged file is of no use, and does no harm.
    for file in files {
        let mut bytes = rig.disk.bytes(&file).unwrap().to_vec();
        bytes[70] ^= 1;
        rig.disk.plant(&file, &bytes);
    }
    check_outputs(&mut rig, |_| false, "damaged");
}

#[test]
fn a_crash_at_any_step_keeps_the_output_that_was_not_thinned_out() {
    let (mut step, mut crashes) = (0, 0);
    loop {
        let mut rig = Rig::new();
        rig.disk.set_fault(step, Fault::Crash);
        let lived = live_with_outputs(&mut rig);
        if lived.is_ok() {
            assert!(crashes > 60, "the story has many steps, not {crashes}");
            return;
        }
        for survival in survivals(3) {
            let mut rig = rig.clone();
            rig.disk.crash(survival);
            let newest = rig.journals.first().map_or(0, Vec::len) as u64;
            let must = |index: Index| index.0 + 24 > newest;
            check_outputs(&mut rig, must, &format!("crash at step {step}, {survival:?}"));
        }
        crashes += 1;
        step += 2;
    }
}

#[test]
fn what_is_there_is_never_made_over() {
    let mut disk = at_rest().disk;
    let before = disk.steps();
    assert!(matches!(Journal::create(&mut disk, settings()), Err(OpenError::Exists { .. })));
    let made = RunsLog::create(&mut disk, OWNER.store).map(|_| ());
    assert_eq!(made, Err(OpenError::Exists { file: "runs".into() }));
    let made = HardFile::create(&mut disk, &hard(1)).map(|_| ());
    assert_eq!(made, Err(OpenError::Exists { file: "hard".into() }));
    assert_eq!(disk.steps(), before);
    disk.plant("notes.txt", b"somebody's");
    disk.plant("journal/README", b"somebody's");
    read_all(&mut disk).unwrap();
    assert_eq!(disk.bytes("notes.txt"), Some(b"somebody's".as_slice()));
    assert_eq!(disk.bytes("journal/README"), Some(b"somebody's".as_slice()));
}

#[test]
fn the_longest_group_is_kept_and_cut_and_anything_longer_is_no_tear() {
    let mut rig = Rig::new();
    let mut open = rig.live(&[Act::Append(1, 10, 1)]).unwrap();
    let third = GROUP_MAX_BYTES / 3 - 45;
    rig.append(&mut open, 3, third, 0).unwrap();
    rig.append(&mut open, 1, PAYLOAD_MAX_BYTES, 0).unwrap();
    rig.append(&mut open, 3, third, 0).unwrap();
    let all = rig.now();
    let newest = segments(&rig.disk).pop().unwrap();
    let mut bytes = rig.disk.bytes(&newest).unwrap().to_vec();
    assert_eq!(read_all(&mut rig.disk.clone()).unwrap().2, all);
    bytes[200] ^= 1;
    rig.disk.plant(&newest, &bytes);
    check_damaged(rig.disk.clone(), &newest, &all, 3, "the longest tear");
    bytes.resize(64 + GROUP_MAX_BYTES + 1, 0);
    rig.disk.plant(&newest, &bytes);
    check_damaged(rig.disk.clone(), &newest, &all, 0, "longer than any write");
}

/// A day in the life of a node, drawn from `seed`: acts, faults and restarts of every kind.
fn live_at_random(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut rig = Rig::new();
    let mut open = Some(rig.live(&[Act::Append(2, 9, 1)]).unwrap());
    for turn in 0..60 {
        let story = format!("seed {seed}, turn {turn}");
        let Some(node) = &mut open else {
            open = rig.start(&story).map(|(open, _)| open);
            assert!(open.is_some(), "{story}");
            continue;
        };
        if rng.chance(1, 4) {
            let faults = [Fault::Crash, Fault::Error, Fault::ShortError, Fault::ShortNoSpace];
            rig.disk.set_fault(rig.disk.steps() + rng.below(12), faults[rng.below(4) as usize]);
        }
        let kept = rig.now().len() as u64;
        let free = kept - node.journal.snapshot().map_or(0, |meta| meta.seam.index.0);
        let size = rng.below(900) as usize;
        let act = match rng.below(9) {
            0 if free > 0 => Act::Truncate(rng.below(free) as usize),
            1 if free > 1 => Act::Snapshot(rng.below(free - 1) as usize),
            2 if free > 2 => Act::Peer(rng.below(free - 2) as usize, rng.below(4)),
            3 => Act::Compact,
            4 => Act::Hard,
            5 => Act::Runs(1 + rng.below(4), size),
            _ => Act::Append(1 + rng.below(4), size, rng.below(2)),
        };
        if rig.act(node, act).is_ok() && !rng.chance(1, 20) {
            continue;
        }
        open = None;
        if rng.chance(1, 3) {
            rig.disk.restart();
        } else {
            rig.disk.crash(Survival::Some(rng.next_u64()));
        }
    }
}

#[test]
fn random_lives_lose_nothing() {
    for seed in 0..300 {
        live_at_random(seed);
    }
}
