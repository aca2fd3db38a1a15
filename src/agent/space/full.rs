//! A disk that fills up and becomes free again, stopped at each step: between the write that finds
//! no room and the ballast that is there once more, a crash loses nothing that was acknowledged,
//! and what is left starts again.

use super::*;
use crate::agent::boot::{self, BootError, Contents, Files};
use crate::agent::group::Group;
use crate::cluster::Promise;
use crate::ident::{Boot, ClusterId, Epoch, Index, NodeId, StoreId, Ticket};
use crate::journal::sim::{Fault, SimStorage, Survival};
use crate::journal::{Hard, HardFile, Journal, Record, RunsLog, WriteError};
use crate::node::{Batch, Raw};
use crate::run::runs_log::RunsRecord;
use crate::store::{Facts, JobPut};

/// The ballast, which is more than a start takes; what is left beside it at first, which is, too;
/// and what a record takes.
const BALLAST_BYTES: u64 = 16 * 1024;
const LEFT_BYTES: u64 = 10 * 1024;
const SPEC_BYTES: usize = 2_000;

/// What was acknowledged: the end of the journal, and the epoch in promise and runs log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct Acked {
    index: u64,
    epoch: u64,
}

/// How a life went on, and ended.
#[derive(PartialEq, Eq, Debug)]
enum End {
    /// There is room again, and a ballast.
    Recovered,
    /// The process ends, as after a crash or an error of the disk.
    Failed,
}

struct Life {
    disk: SimStorage,
    acked: Acked,
    /// What was given to the disk last, acknowledged or not.
    given: Acked,
    was_full: bool,
}

fn me() -> NodeId {
    NodeId::new(7).unwrap()
}

/// A node on a disk without bounds, which has made its ballast.
fn born() -> SimStorage {
    let mut disk = SimStorage::new();
    let hard = Hard {
        cluster: ClusterId(1),
        store: StoreId(2),
        node: me(),
        boot: Boot(0),
        promised_epoch: Epoch(0),
        promised_to: None,
    };
    let settings = crate::journal::Settings {
        owner: hard.owner(),
        segment_bytes: boot::SEGMENT_BYTES,
        tails_max_bytes: crate::journal::TAILS_MAX_BYTES,
    };
    let mut journal = Journal::create(&mut disk, settings).unwrap();
    let config = crate::store::Record::Config(crate::store::Servers::of(hard.cluster, vec![me()]));
    let payload = config.encode(crate::time::Wall(1), "genesis");
    let (kind, schema) = (config.kind(), crate::store::SCHEMA);
    let first = Record { index: Index(1), epoch: Epoch(0), kind, schema, payload: &payload };
    journal.append_group(&mut disk, &[first]).unwrap();
    RunsLog::create(&mut disk, hard.store).unwrap();
    HardFile::create(&mut disk, &hard).unwrap();
    let (mut room, _) = Room::open(&mut disk, BALLAST_BYTES);
    room.look(&mut disk);
    assert!(room.has_ballast);
    disk
}

fn start(disk: &mut SimStorage) -> Result<Contents, BootError> {
    boot::read_somehow(disk, |disk| {
        let loaded = HardFile::load(disk)?.ok_or(BootError::NoIdentity)?;
        boot::read(disk, (loaded.hard, loaded.file, loaded.other_copy_bad))
    })
}

/// The record at `index`, with a promise and a record of runs.
fn batch(index: u64, epoch: u64) -> Batch {
    let put = JobPut {
        name: "a".into(),
        spec: vec![b'x'; SPEC_BYTES],
        timing: crate::schedule::timing(&crate::job::Spec::default()),
        facts: Facts { per_node: true, keep: 1, ..Facts::default() },
        mark: None,
        anchor: None,
    };
    let record = crate::store::Record::JobPut(put);
    let payload = record.encode(crate::time::Wall(index as i64), "test");
    Batch {
        ticket: Ticket(index),
        promise: Some(Promise { epoch: Epoch(epoch), to: Some(me()) }),
        cut: None,
        records: vec![Raw {
            index: Index(index),
            epoch: Epoch(epoch),
            kind: record.kind(),
            payload,
        }],
        runs: vec![RunsRecord::Epoch(Epoch(epoch))],
    }
}

impl Life {
    fn new(disk: &SimStorage) -> Life {
        let acked = Acked { index: 1, epoch: 0 };
        Life { disk: disk.clone(), acked, given: acked, was_full: false }
    }

    /// Starts, fills the disk, waits for room, and goes on until there is a ballast again.
    fn live(&mut self) -> Result<End, BootError> {
        let contents = start(&mut self.disk)?;
        let mut files = contents.files.on(std::mem::take(&mut self.disk));
        let (mut room, _) = Room::open(&mut files.storage, BALLAST_BYTES);
        let end = self.fill(&mut files, &mut room);
        self.disk = files.storage;
        Ok(end)
    }

    fn fill(&mut self, files: &mut Files<SimStorage>, room: &mut Room) -> End {
        room.look(&mut files.storage);
        let mut stuck: Option<Group> = None;
        let mut after = 0;
        let mut next = files.journal.last().index.0;
        while after < 3 {
            let mut group = stuck.take().unwrap_or_else(|| {
                next += 1;
                assert!(next < 200, "it is never full");
                self.given = Acked { index: next, epoch: next };
                Group::new(vec![batch(next, next)])
            });
            match group.write_somehow(files, room, false) {
                (Ok(()), false) => {
                    self.acked = self.given;
                    room.look(&mut files.storage);
                    after += u64::from(self.was_full);
                }
                // The power has failed while the ballast was given up.
                (Err(WriteError::NoSpace), _) if files.storage.is_dead() => return End::Failed,
                (Err(WriteError::NoSpace), false) => {
                    assert!(!room.has_ballast, "it is given up before anything waits");
                    room.exhausted();
                    // Somebody makes room while it waits; at the first time not enough.
                    let used = files.storage.used_bytes();
                    let more = if self.was_full { 1 << 20 } else { 100 };
                    files.storage.set_capacity(Some(used + more));
                    self.was_full = true;
                    stuck = Some(group);
                }
                (Err(_), _) => return End::Failed,
                (Ok(()), true) => panic!("there is no snapshot"),
            }
        }
        let is_whole = room.has_ballast && room.space() == Space::Enough;
        if is_whole { End::Recovered } else { End::Failed }
    }

    /// All that was acknowledged is there, in order, and nothing that was never given.
    fn check(&mut self, what: &str) {
        // As full as it was; there may be no start then, but only if there is nothing to give up.
        let had_ballast = self.disk.reserved_bytes(BALLAST).is_ok();
        let contents = start(&mut self.disk).unwrap_or_else(|error| {
            assert!(matches!(error, BootError::Full), "{what}: {error}");
            assert!(!had_ballast, "{what}: a ballast lets a full node start");
            let more = 2 * (BALLAST_BYTES + LEFT_BYTES);
            self.disk.set_capacity(Some(self.disk.used_bytes() + more));
            start(&mut self.disk).unwrap_or_else(|error| panic!("{what}: {error}"))
        });
        let indexes: Vec<u64> = contents.found.records.iter().map(|entry| entry.index.0).collect();
        let last = indexes.len() as u64;
        assert!(indexes.iter().copied().eq(1..=last), "{what}: {indexes:?}");
        let epochs =
            contents.found.records.iter().skip(1).all(|entry| entry.epoch.0 == entry.index.0);
        assert!(epochs, "{what}: records are those that were given");
        let range = |least: u64, most: u64, got: u64| (least..=most).contains(&got);
        let (acked, given) = (self.acked, self.given);
        assert!(range(acked.index, given.index, last), "{what}: {last} of {acked:?}, {given:?}");
        let promised = contents.files.hard.promised_epoch.0;
        assert!(range(acked.epoch, given.epoch, promised), "{what}: promise {promised}, {acked:?}");
        let of_runs = contents.found.runs.iter().map(|record| match record {
            RunsRecord::Epoch(epoch) => epoch.0,
            other => panic!("{what}: {other:?}"),
        });
        let newest = of_runs.max().unwrap_or(0);
        assert!(range(acked.epoch, given.epoch, newest), "{what}: runs {newest}, {acked:?}");
        // It was told to nobody, but is there now.
        self.acked = Acked { index: last, epoch: promised.max(newest) };
        self.given = self.acked;
    }
}

/// A disk with a ballast and little room beside it.
fn small() -> SimStorage {
    let mut disk = born();
    let used = disk.used_bytes();
    disk.set_capacity(Some(used + LEFT_BYTES));
    disk
}

#[test]
fn a_crash_at_any_step_of_a_full_disk_loses_nothing_that_was_acknowledged() {
    let disk = small();
    let mut whole = Life::new(&disk);
    assert_eq!(whole.live().unwrap(), End::Recovered);
    assert!(whole.was_full && whole.acked.index > 10, "{:?}", whole.acked);
    let steps = disk.steps()..whole.disk.steps();
    println!("{} steps, {} groups", steps.end - steps.start, whole.acked.index);
    let (none, all) = (Survival::Nothing, Survival::Everything);
    for step in steps {
        let some = [Survival::Writes, Survival::Names, Survival::Some(step), Survival::Some(!step)];
        for fault in
            [Fault::Crash, Fault::Error, Fault::ShortError, Fault::NoSpace, Fault::ShortNoSpace]
        {
            let some = some.into_iter().filter(|_| fault == Fault::Crash);
            for survival in [none, all].into_iter().chain(some) {
                let what = format!("{fault:?} at step {step}, {survival:?} survives");
                let mut life = Life::new(&disk);
                life.disk.set_fault(step, fault);
                let end = life.live();
                // What goes wrong with the ballast alone, or finds no room, ends nothing.
                assert!(fault != Fault::Crash || end.ok() != Some(End::Recovered), "{what}");
                life.disk.crash(survival);
                life.check(&what);
                // And it goes on from there.
                let again = life.live();
                assert_eq!(again.ok(), Some(End::Recovered), "{what}, then once more");
                life.disk.crash(Survival::Nothing);
                life.check(&format!("{what}, then once more"));
            }
        }
    }
}

/// Somebody else takes all room, at any moment at which there is a ballast.
#[test]
fn a_ballast_lets_a_full_node_start() {
    let mut starts = 0;
    for left in (0..2 * LEFT_BYTES).step_by(61) {
        let mut life = Life::new(&born());
        let used = life.disk.used_bytes();
        life.disk.set_capacity(Some(used + left));
        let why = start(&mut life.disk).err();
        assert!(why.is_none(), "{left} bytes are left: {why:?}");
        starts += u64::from(life.disk.reserved_bytes(BALLAST).is_err());
    }
    assert!(starts > 0, "it was given up for some");
}
