//! A data directory with anything in its files.

use bellwether::ident::{
    Boot, BootId, ClusterId, Epoch, Index, Instance, JobId, NodeId, RunId, StoreId,
};
use bellwether::job::Spec;
use bellwether::journal::sim::SimStorage;
use bellwether::journal::{
    Hard, HardFile, Inspection, Item, Journal, Outputs, Owner, Progress, Record, RunsLog,
    RunsRecord, SEGMENT_BYTES_DEFAULT, Settings, Storage, TAILS_MAX_BYTES, owner_in,
};
use bellwether::run::order::Process;
use bellwether::run::runs_log;
use bellwether::store::{
    self, Claim, End, Ending, Facts, Finished, JobPut, Keyed, Member, MemberState, Reason, Replay,
    RequestKey, SCHEMA, Skip, SkipReason, SnapshotLoader, State, Timing, Trigger,
};
use bellwether::time::{Second, Wall};

const SEGMENT: &str = "journal/0000000000000001";
const FILES: [&str; 5] = [SEGMENT, "hard", "runs", "snapshot", "journal/0000000000000003"];

const OWNER: Owner = Owner { cluster: ClusterId(7), store: StoreId(9) };

/// A first byte from 128 on is for [`read_pieces`]. Of the others, an even one puts the rest into
/// one of the files as it is; an odd one damages good files: each four bytes that follow say the
/// file, the place (two bytes) and the new byte. Whatever is opened once is opened a second time
/// with the same records, and the second time nothing is torn; after damage the records are the
/// first of those that were written, none of them changed.
pub(crate) fn journal_open(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    if *choice >= 128 {
        return read_pieces(rest);
    }
    let mut storage = SimStorage::new();
    let mut written = None;
    if choice % 2 == 0 {
        storage.plant(FILES[usize::from(choice / 2) % FILES.len()], rest);
    } else {
        good_files(&mut storage);
        written = open_all(&mut storage);
        rest.chunks_exact(4).for_each(|edit| damage(&mut storage, edit));
    }
    if let Some((first, _)) = open_all(&mut storage) {
        if let Some((written, _)) = written {
            assert!(written.starts_with(&first), "{first:?} was never written");
        }
        storage.restart();
        let (second, torn) = open_all(&mut storage).expect("what was opened is opened again");
        assert_eq!(second, first);
        assert!(!torn);
    }
    let _ = read_state(&storage);
    let _ = HardFile::load(&mut storage);
    let _ = RunsLog::open(&mut storage, OWNER.store, &mut |_| Ok(()));
}

/// Files whose checksums are all right, with anything in their records and chunks: each four bytes
/// say which piece, the place (two bytes) and the new byte. The whole way up to a state takes them
/// or refuses them; a state that is taken is written and read again as it was.
fn read_pieces(edits: &[u8]) {
    let mut pieces = good_pieces();
    for edit in edits.chunks_exact(4) {
        let [piece, low, high, byte] = edit else { continue };
        let count = pieces.len();
        let (_, payload) = &mut pieces[usize::from(*piece) % count];
        let at = usize::from(u16::from_le_bytes([*low, *high])) % (payload.len() + 1);
        match payload.get_mut(at) {
            Some(_) if *byte == 0xff => payload.truncate(at),
            Some(there) => *there = *byte,
            None => payload.push(*byte),
        }
    }
    let mut storage = SimStorage::new();
    write_pieces(&mut storage, &pieces);
    let inspected = read_state(&storage);
    let mut replay = Replay::new();
    let opened = Journal::open(&mut storage, settings(), &mut |item| match replay.take(item)? {
        Some(entry) => replay.apply(entry),
        None => Ok(()),
    });
    // Records that the snapshot stands for are read by the inspection alone.
    if let Some(state) = &inspected {
        assert!(opened.is_ok(), "what was inspected is opened");
        assert_eq!(format!("{state:?}"), format!("{:?}", replay.state()));
        let mut loader = SnapshotLoader::new();
        let loaded = state.snapshot().iter().try_for_each(|chunk| loader.chunk(chunk));
        assert_eq!(loaded, Ok(()), "what was applied makes a snapshot");
        assert!(loader.finish().is_ok());
    }
    let _ = RunsLog::open(&mut storage, OWNER.store, &mut runs_record);
}

/// The state in the files, if all of it can be read, as the tools look at it.
fn read_state(storage: &SimStorage) -> Option<State> {
    let _ = HardFile::read(storage);
    let _ = owner_in(storage);
    let mut replay = Replay::new();
    let mut is_sound = true;
    let mut inspection = Inspection::begin(storage, OWNER).expect("the disk has no faults");
    let mut visit = |item: Item<'_>| match replay.take(item)? {
        Some(entry) => replay.apply(entry),
        None => Ok(()),
    };
    while let Some(part) = inspection.next(&mut visit) {
        is_sound &= part.wrong.is_none();
    }
    let kept = inspection.kept();
    let _ = RunsLog::inspect(storage, OWNER.store, &mut runs_record);
    if is_sound {
        assert_eq!(replay.state().applied(), kept.index);
    }
    is_sound.then(|| replay.into_state())
}

fn runs_record(raw: RunsRecord<'_>) -> Result<(), String> {
    let read = runs_log::RunsRecord::decode(raw.kind, raw.schema, raw.payload);
    read.map(drop).map_err(|error| error.to_string())
}

/// What a piece is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// A record that the snapshot stands for, of this kind.
    Old(u8),
    Chunk,
    /// A record behind it.
    New(u8),
    Runs(u8),
}

/// Pieces of a sound directory.
fn good_pieces() -> Vec<(Piece, Vec<u8>)> {
    let node = NodeId::new(1).expect("1 is not 0");
    let run = RunId { group: Index(5), node, attempt: 1 };
    let mut state = State::new();
    let mut pieces = Vec::new();
    for record in records(node, run) {
        let payload = record.encode(Wall(1_000), "fuzz");
        pieces.push((Piece::Old(record.kind()), payload));
        let index = Index(state.applied().0 + 1);
        let (epoch, wall, actor) = (Epoch(0), Wall(1_000), "fuzz".to_owned());
        state.apply(store::Entry { index, epoch, wall, actor, record });
    }
    pieces.extend(state.snapshot().into_iter().map(|chunk| (Piece::Chunk, chunk)));
    for record in records(node, run) {
        pieces.push((Piece::New(record.kind()), record.encode(Wall(2_000), "fuzz")));
    }
    let ending = Ending::decided(End::Lost, Reason::LauncherGone, Wall(1));
    let process = Process { pid: 1, start_ticks: 1, boot: BootId(1) };
    let instance = Instance(1);
    for record in [
        runs_log::RunsRecord::Epoch(Epoch(1)),
        runs_log::RunsRecord::Accepted { run, instance },
        runs_log::RunsRecord::Spawned { run, instance, process, started: Wall(1) },
        runs_log::RunsRecord::Exited { run, ending, tail: b"out".to_vec() },
        runs_log::RunsRecord::Forgotten { run },
    ] {
        pieces.push((Piece::Runs(record.kind()), record.encode()));
    }
    pieces
}

/// A record of each kind, and two jobs: one with an open run, and one that is deleted.
fn records(node: NodeId, run: RunId) -> Vec<store::Record> {
    let facts =
        Facts { disabled: false, forbid: true, per_node: false, keep: 2, ..Facts::default() };
    let put = |name: &str| {
        let spec = Spec { name: name.into(), command: "true".into(), ..Spec::default() };
        let (spec, timing) = (spec.to_bytes(), Timing::default());
        JobPut { name: name.into(), spec, timing, facts, mark: None, anchor: None }
    };
    let claim = |due: i64| Claim {
        job: JobId(4),
        version: 4,
        due: Some(Second(due)),
        clock_era: 0,
        trigger: Trigger::Schedule,
        targets: vec![node],
        parent: None,
    };
    let member = Member {
        id: node,
        store: OWNER.store,
        boot: Boot(1),
        name: "n".into(),
        address: String::new(),
        server: true,
        work: true,
        tags: vec![("a".into(), "b".into())],
        state: MemberState::Registered,
    };
    let skip = Skip {
        job: JobId(4),
        clock_era: 0,
        after: Second(2),
        until: Second(3),
        first: Second(3),
        count: 1,
        more: false,
        reason: SkipReason::WindowPassed,
        parent: None,
    };
    let ending = Ending::decided(End::Succeeded, Reason::Overlap, Wall(1));
    let key = RequestKey { text: "key".into(), print: 1, status: 201 };
    let keyed = Keyed { key, record: store::Record::JobPut(put("b")) };
    vec![
        store::Record::Config(store::Servers::of(OWNER.cluster, vec![node])),
        store::Record::EpochStart { leader: node },
        store::Record::Node(member),
        store::Record::JobPut(put("a")),
        store::Record::Claim(claim(2)),
        store::Record::Finished(Finished { run, ending, tail: b"out".to_vec() }),
        store::Record::Skip(skip),
        store::Record::Claim(claim(4)),
        store::Record::Keyed(Box::new(keyed)),
        store::Record::JobDelete { job: JobId(9) },
        store::Record::ClockCorrected { to: Second(1) },
    ]
}

/// Writes the pieces as an agent would, with every checksum right.
fn write_pieces(storage: &mut SimStorage, pieces: &[(Piece, Vec<u8>)]) {
    let mut journal = Journal::create(storage, settings()).expect("an empty disk takes a journal");
    let mut runs = RunsLog::create(storage, OWNER.store).expect("an empty disk takes a log");
    let chunks: Vec<&Vec<u8>> =
        pieces.iter().filter(|(piece, _)| *piece == Piece::Chunk).map(|(_, bytes)| bytes).collect();
    for (at, (piece, payload)) in pieces.iter().enumerate() {
        let index = journal.last().next();
        let record = |kind| Record { index, epoch: Epoch(0), kind, schema: SCHEMA, payload };
        let before = at.checked_sub(1).and_then(|at| pieces.get(at)).map(|(piece, _)| *piece);
        match piece {
            Piece::Old(kind) | Piece::New(kind) => {
                journal.append_group(storage, &[record(*kind)]).expect("the disk has no faults");
            }
            Piece::Chunk if before == Some(Piece::Chunk) => {}
            Piece::Chunk => {
                let last = journal.last().index;
                journal.snapshot_begin(storage, last).expect("the disk has no faults");
                for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                    journal.snapshot_chunk(storage, chunk).expect("the disk has no faults");
                }
                let outputs = Outputs { extract: &|_| None, keep: &[], keep_before: Index(0) };
                let mut step = || journal.snapshot_finish_step(storage, &outputs);
                while step().expect("the disk has no faults") == Progress::More {}
            }
            Piece::Runs(kind) => {
                let record = RunsRecord { kind: *kind, schema: runs_log::SCHEMA, payload };
                runs.append_group(storage, &[record]).expect("the disk has no faults");
            }
        }
    }
}

fn settings() -> Settings {
    let tails_max_bytes = TAILS_MAX_BYTES;
    Settings { owner: OWNER, segment_bytes: SEGMENT_BYTES_DEFAULT, tails_max_bytes }
}

/// The records, and whether a tear was cut off; `None` when the journal is refused.
fn open_all(storage: &mut SimStorage) -> Option<(Vec<String>, bool)> {
    let mut found = Vec::new();
    let mut visit = |item: Item<'_>| {
        found.push(format!("{item:?}"));
        Ok(())
    };
    let (_, report) = Journal::open(storage, settings(), &mut visit).ok()?;
    Some((found, report.torn.is_some()))
}

fn good_files(storage: &mut SimStorage) {
    let mut journal = Journal::create(storage, settings()).expect("an empty disk takes a journal");
    let mut runs = RunsLog::create(storage, OWNER.store).expect("an empty disk takes a log");
    for index in [1, 3] {
        let record = |index: u64| Record {
            index: Index(index),
            epoch: Epoch(index),
            kind: 1,
            schema: 1,
            payload: b"payload",
        };
        let group = [record(index), record(index + 1)];
        journal.append_group(storage, &group).expect("the disk has no faults");
        let record = RunsRecord { kind: 2, schema: 1, payload: b"run" };
        runs.append_group(storage, &[record]).expect("the disk has no faults");
    }
    let hard = Hard {
        cluster: OWNER.cluster,
        store: OWNER.store,
        node: NodeId::new(1).expect("1 is not 0"),
        boot: Boot(1),
        promised_epoch: Epoch(1),
        promised_to: None,
    };
    HardFile::create(storage, &hard).expect("an empty disk takes the file");
}

/// Changes one byte, or cuts the file there if the new byte is 0xff.
fn damage(storage: &mut SimStorage, edit: &[u8]) {
    let [file, low, high, byte] = edit else { return };
    let name = FILES[usize::from(*file) % FILES.len()];
    let Some(mut image) = storage.bytes(name).map(<[u8]>::to_vec) else { return };
    let at = usize::from(u16::from_le_bytes([*low, *high])) % (image.len() + 1);
    match image.get_mut(at) {
        Some(_) if *byte == 0xff => image.truncate(at),
        Some(there) => *there = *byte,
        None => image.push(*byte),
    }
    let _ = storage.remove(name);
    storage.plant(name, &image);
}
