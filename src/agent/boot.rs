//! From a data directory to a node: the lock, the identity, both logs; or a new directory's
//! genesis.
//!
//! Genesis is announced by a file before it begins and ended by its removal, so that one which was
//! cut short is begun anew, and a directory that has lost a file is never taken for an empty one.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use super::space;
use super::storage::FileStorage;
use crate::cluster::Promise;
use crate::ident::{Boot, ClusterId, Epoch, Index, NodeId, StoreId};
use crate::journal::{
    Blocks, Hard, HardFile, Journal, OpenError, Owner, Record, RunsLog, Settings, Storage,
    StorageError, TAILS_MAX_BYTES, WriteError,
};
use crate::node::{Found, Identity};
use crate::run::runs_log::RunsRecord;
use crate::store::{self, Replay};
use crate::sys::file::{self, Access, Dir};
use crate::sys::{clock, random};

/// The file whose lock says that an agent uses the directory.
pub(crate) const LOCK: &str = "agent.lock";
/// There while a genesis is under way.
pub(crate) const GENESIS: &str = "genesis";
/// There while a recovery is putting new files in the place of damaged ones; see `cli::recover`.
pub(crate) const UNFINISHED: &str = "recovery";
/// Length at which a segment of the journal is ended.
pub(crate) const SEGMENT_BYTES: u64 = crate::journal::SEGMENT_BYTES_DEFAULT;

/// Why a data directory cannot be used.
#[derive(Debug)]
pub(super) enum BootError {
    /// It can't be made, opened, locked or written.
    Directory(&'static str, io::Error),
    /// Another agent uses it.
    InUse,
    /// A file of it cannot be used.
    Open(OpenError),
    /// A first write failed.
    Write(WriteError),
    /// There is no room to start, ballast or not.
    Full,
    /// The identity is gone, and something is left that needs it.
    NoIdentity,
    /// Some of the files are those before a recovery, and some those after.
    Unfinished,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Directory(what, error) => write!(f, "cannot {what} it: {error}"),
            BootError::InUse => f.write_str("another agent is using it"),
            BootError::Open(error) => error.fmt(f),
            BootError::Write(error) => error.fmt(f),
            BootError::Full => f.write_str(
                "no space is left on its disk, and there is no ballast to give up; free some, \
                 16 MiB will do, and start again",
            ),
            BootError::NoIdentity => f.write_str(
                "the file \"hard\" is missing beside a journal; restore it from a backup of the \
                 whole directory, or see bellwether journal recover and bellwether reset",
            ),
            BootError::Unfinished => f.write_str(
                "a recovery of it is unfinished; run it again: bellwether journal recover \
                 --accept-loss DIR",
            ),
        }
    }
}

impl BootError {
    /// Whether there was no room: with some more the same may be tried again.
    fn is_full(&self) -> bool {
        match self {
            BootError::Directory(_, error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            BootError::Open(error) => *error == OpenError::Storage(StorageError::NoSpace),
            BootError::Write(error) => *error == WriteError::NoSpace,
            BootError::Full => true,
            BootError::InUse | BootError::NoIdentity | BootError::Unfinished => false,
        }
    }
}

impl From<OpenError> for BootError {
    fn from(error: OpenError) -> Self {
        BootError::Open(error)
    }
}

/// An open data directory, whose lock is held as long as this lives.
#[derive(Debug)]
pub(super) struct Opened {
    /// For the sockets.
    pub(super) dir: Dir,
    pub(super) lock: File,
    /// For the disk thread.
    pub(super) files: Files,
    /// For the node.
    pub(super) found: Found,
    /// What should be known of the start, as lines for the log.
    pub(super) remarks: Vec<String>,
    /// The same as codes for `/ready`.
    pub(super) warnings: Vec<&'static str>,
}

/// What the disk thread writes.
#[derive(Debug)]
pub(super) struct Files<S = FileStorage> {
    pub(super) storage: S,
    pub(super) hard: Hard,
    pub(super) hard_file: HardFile,
    pub(super) journal: Journal,
    pub(super) runs: RunsLog,
}

/// What a data directory holds, as [`Opened`] has it, but for what it lies on.
pub(super) struct Contents {
    pub(super) files: Files<()>,
    pub(super) found: Found,
    remarks: Vec<String>,
    warnings: Vec<&'static str>,
}

impl Files<()> {
    /// The same on that storage.
    pub(super) fn on<S>(self, storage: S) -> Files<S> {
        let Files { storage: (), hard, hard_file, journal, runs } = self;
        Files { storage, hard, hard_file, journal, runs }
    }
}

/// Opens the data directory at `path`; makes it when it isn't there.
pub(super) fn open(path: &Path) -> Result<Opened, BootError> {
    let failed = |what| move |error| BootError::Directory(what, error);
    let dir = Dir::create(path).map_err(failed("open"))?;
    let lock = dir.file(LOCK, Access::Create).map_err(failed("write to"))?;
    if !file::lock_exclusive(&lock).map_err(failed("lock"))? {
        return Err(BootError::InUse);
    }
    if dir.metadata(UNFINISHED).map_err(failed("open"))?.is_some() {
        return Err(BootError::Unfinished);
    }
    let top = dir.try_clone().map_err(failed("open"))?;
    let full = |error: BootError| if error.is_full() { BootError::Full } else { error };
    let mut storage = FileStorage::open(top).map_err(failed("write to")).map_err(full)?;
    let contents = read_somehow(&mut storage, |storage| {
        let identity = identity(&dir, storage)?;
        read(storage, identity)
    })?;
    let Contents { files, found, remarks, warnings } = contents;
    Ok(Opened { dir, lock, files: files.on(storage), found, remarks, warnings })
}

/// Reads what is on `storage` by `read`; when there is no room for that, once more without the
/// ballast.
pub(super) fn read_somehow<S: Blocks>(
    storage: &mut S,
    mut read: impl FnMut(&mut S) -> Result<Contents, BootError>,
) -> Result<Contents, BootError> {
    let mut contents = read(storage);
    if contents.as_ref().is_err_and(BootError::is_full) && space::release(storage) {
        contents = read(storage);
        if let Ok(contents) = &mut contents {
            let what = "the disk was full; the ballast was given up to start all the same";
            contents.remarks.push(what.into());
        }
    }
    contents.map_err(|error| if error.is_full() { BootError::Full } else { error })
}

/// Reads what is on `storage`, and makes it durable. `identity` tells whose it is, and whether one
/// copy of that was bad.
pub(super) fn read(
    storage: &mut dyn Storage,
    (mut hard, mut hard_file, hard_bad): (Hard, HardFile, bool),
) -> Result<Contents, BootError> {
    let settings = journal_settings(hard.owner());
    // Before either log is repaired: a start that is refused leaves both as they are.
    let mut runs = Vec::new();
    let part = RunsLog::inspect(storage, hard.store, &mut |raw| {
        let record = RunsRecord::decode(raw.kind, raw.schema, raw.payload);
        runs.push(record.map_err(|error| error.to_string())?);
        Ok(())
    });
    part.wrong.map_or(Ok(()), Err)?;
    let (mut replay, mut records) = (Replay::new(), Vec::new());
    let (journal, report) = Journal::open(storage, settings, &mut |item| {
        records.extend(replay.take(item)?);
        Ok(())
    })?;
    let state = replay.into_state();
    let (runs_log, runs_torn) = RunsLog::open(storage, hard.store, &mut |_| Ok(()))?;
    // Last of all: a start that is refused does not count, and leaves the directory as it is.
    hard.boot = next_boot(hard.boot);
    // If one copy of the identity was lost, it may have been the newer one, with a promise that
    // the journal is proof of. To whom it was is not known; said to be our own, it is given to
    // nobody else in that epoch.
    let epoch = journal.last().epoch;
    if hard.promised_epoch < epoch {
        (hard.promised_epoch, hard.promised_to) = (epoch, Some(hard.node));
    }
    hard_file.store(storage, &hard).map_err(BootError::Write)?;
    let mut remarks = Vec::new();
    for torn in report.torn.iter().chain(&runs_torn) {
        let (bytes, place, kept) = (torn.bytes, &torn.file, &torn.kept_as);
        remarks.push(format!(
            "the last group of {place}, {bytes} bytes, was cut short by a crash and never \
             acknowledged; it is kept as {kept}"
        ));
    }
    let mut warnings = Vec::new();
    if !report.kept.is_empty() || runs_torn.is_some() {
        warnings.push("torn_tail");
    }
    if hard_bad {
        remarks.push("one of the two copies of the identity was unreadable and is renewed".into());
    }
    let identity = Identity {
        node: hard.node,
        store: hard.store,
        boot: hard.boot,
        promise: Promise { epoch: hard.promised_epoch, to: hard.promised_to },
    };
    let checkpoint = journal.snapshot().map(|meta| meta.seam.index).zip(journal.snapshot_digest());
    let found = Found { identity, state, records, runs, checkpoint };
    let files = Files { storage: (), hard, hard_file, journal, runs: runs_log };
    Ok(Contents { files, found, remarks, warnings })
}

fn journal_settings(owner: Owner) -> Settings {
    Settings { owner, segment_bytes: SEGMENT_BYTES, tails_max_bytes: TAILS_MAX_BYTES }
}

/// The identity in the directory, as the last start left it; a new one for a new directory.
fn identity(dir: &Dir, storage: &mut FileStorage) -> Result<(Hard, HardFile, bool), BootError> {
    let failed = |error| BootError::Directory("write to", error);
    let unfinished = dir.metadata(GENESIS).map_err(failed)?.is_some();
    if let Some(loaded) = HardFile::load(storage)?.filter(|_| !unfinished) {
        return Ok((loaded.hard, loaded.file, loaded.other_copy_bad));
    }
    let ours = |name: &String| name.starts_with("journal/") || name == "snapshot" || name == "runs";
    let left: Vec<String> =
        storage.list().map_err(OpenError::from)?.into_iter().filter(ours).collect();
    if !unfinished && !left.is_empty() {
        return Err(BootError::NoIdentity);
    }
    dir.file(GENESIS, Access::Create).and_then(|file| file.sync_all()).map_err(failed)?;
    dir.sync().map_err(failed)?;
    for name in left.iter().map(String::as_str).chain(["hard"]) {
        match storage.remove(name) {
            Ok(()) | Err(StorageError::NotFound) => {}
            Err(error) => return Err(OpenError::from(error).into()),
        }
    }
    let made = genesis(storage)?;
    dir.unlink(GENESIS).map_err(failed)?;
    dir.sync().map_err(failed)?;
    Ok((made.0, made.1, false))
}

/// A cluster of this node: a journal whose first record names it, empty runs log, identity.
fn genesis(storage: &mut FileStorage) -> Result<(Hard, HardFile), BootError> {
    let failed = |error| BootError::Directory("draw random numbers for", error);
    let mut node = None;
    while node.is_none() {
        node = NodeId::new(random::u32().map_err(failed)?);
    }
    let Some(node) = node else { return Err(BootError::NoIdentity) };
    let now = clock::now().wall;
    let hard = Hard {
        cluster: ClusterId(random::u64().map_err(failed)?.max(1)),
        store: StoreId(random::u64().map_err(failed)?),
        node,
        boot: Boot(0),
        promised_epoch: Epoch(0),
        promised_to: None,
    };
    let settings = journal_settings(hard.owner());
    let mut journal = Journal::create(storage, settings)?;
    let config = store::Record::Config(store::Servers::of(hard.cluster, vec![node]));
    let first = Record {
        index: Index(1),
        epoch: Epoch(0),
        kind: config.kind(),
        schema: store::SCHEMA,
        payload: &config.encode(now, "genesis"),
    };
    journal.append_group(storage, &[first]).map_err(BootError::Write)?;
    RunsLog::create(storage, hard.store)?;
    let file = HardFile::create(storage, &hard)?;
    Ok((hard, file))
}

/// The number of this start: the time, so that it is of use to a person, but always a higher one
/// than that of the start before.
fn next_boot(last: Boot) -> Boot {
    let unix_time = u64::try_from(clock::now().wall.second().0).unwrap_or(0);
    Boot(unix_time.max(last.0.saturating_add(1)))
}
