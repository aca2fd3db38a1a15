//! The journal: append-only files that survive a crash at any moment, or say where they did not.
//!
//! It owns the files `hard`, `snapshot`, `runs`, `torn-*` and the folder `journal/` of a data
//! directory, through a [`Storage`] that is handed to every call. It knows bytes, indexes, epochs
//! and kinds, never what a record means, and it never reads a clock or a file by itself. The disk
//! thread drives it: what a call has returned `Ok` for is durable. Formats are in [`frame`],
//! [`segment`], [`snapshot`] and [`hard`]; the rules are those of the page "Journal on disk".
#![forbid(unsafe_code)]

mod digest;
pub mod error;
pub mod frame;
pub mod hard;
pub mod inspect;
mod install;
mod reader;
pub mod recovery;
pub mod runs_log;
pub mod segment;
pub mod sim;
pub mod snapshot;
pub mod storage;
pub mod tails;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{Damage, OpenError, WriteError};
pub use frame::{GROUP_MAX_BYTES, INDEX_MAX, PAYLOAD_MAX_BYTES, Record, Seam, in_groups};
pub use hard::{Hard, HardFile, Loaded};
pub use inspect::{Inspection, Part, Visit, owner_in};
pub use recovery::{Report, Torn};
pub use runs_log::{RunsLog, RunsRecord};
pub use segment::Owner;
pub use snapshot::{CHUNK_MAX_BYTES, Origin, SnapshotMeta, SnapshotReader};
pub use storage::{Blocks, Storage, StorageError};
pub use tails::{Extract, Outputs, TAILS_MAX_BYTES};

use crate::ident::{Digest, Epoch, Index};
use error::Poison;
use frame::{Frames, Header};
use inspect::Ended;
use install::Pending;
use reader::{GroupReader, Step};
use segment::{SEGMENT_BESIDE, Segment, rewrite};
use snapshot::SNAPSHOT_FILE;
use std::ops::ControlFlow;
use storage::remove_if_there;
use tails::Tails;
use writer::Appender;

/// Length at which a segment is ended, in bytes, unless a setting says otherwise.
pub const SEGMENT_BYTES_DEFAULT: u64 = 8 * 1024 * 1024;

/// What a journal must be told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whose files these must be.
    pub owner: Owner,
    /// A group that would make a segment longer than this goes to a new one, in bytes.
    pub segment_bytes: u64,
    /// Bytes of tail files beyond which the oldest are thinned out; usually [`TAILS_MAX_BYTES`].
    pub tails_max_bytes: u64,
}

/// What [`Journal::open`] hands on, in this order: the snapshot and its chunks, if there is one,
/// then all records behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// A snapshot follows, which stands for this.
    Snapshot(SnapshotMeta),
    /// The next chunk of it.
    SnapshotChunk(&'a [u8]),
    /// All of it was handed on, and was sound.
    SnapshotEnd,
    /// The next record.
    Record(Record<'a>),
}

/// How far a snapshot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Call again.
    More,
    /// The snapshot is in force.
    Done,
}

/// The journal, open at its end.
#[derive(Debug)]
pub struct Journal {
    settings: Settings,
    /// Oldest first; records are appended to the last.
    segments: Vec<Segment>,
    appender: Appender,
    poison: Poison,
    /// Each epoch with the first of its records that is kept.
    epochs: Vec<(Epoch, Index)>,
    snapshot: Option<(SnapshotMeta, u64)>,
    /// The digest of the snapshot.
    digest: Digest,
    bytes_since_snapshot: u64,
    tails: Tails,
    pending: Option<Pending>,
    /// Segments that the snapshot has made needless are still there.
    dropping: bool,
}

impl Journal {
    /// Makes an empty journal, whose first record will have index 1.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when there is a journal or a snapshot, else [`OpenError::Storage`].
    pub fn create(storage: &mut dyn Storage, settings: Settings) -> Result<Self, OpenError> {
        Self::create_behind(storage, settings, Seam::default())
    }

    /// Makes an empty journal whose first record will continue `before`, which a snapshot is to
    /// stand for.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_behind(
        storage: &mut dyn Storage,
        settings: Settings,
        before: Seam,
    ) -> Result<Self, OpenError> {
        let is_ours =
            |name: &String| name == SNAPSHOT_FILE || segment::parse_segment_name(name).is_some();
        if let Some(file) = storage.list()?.into_iter().find(is_ours) {
            return Err(OpenError::Exists { file });
        }
        let segment = Segment::new(before);
        segment.create(storage, settings.owner)?;
        let appender = Appender::new(segment.file.clone(), segment.length, before);
        Ok(Journal {
            settings,
            segments: vec![segment],
            appender,
            poison: Poison::default(),
            epochs: Vec::new(),
            snapshot: None,
            digest: Digest::default(),
            bytes_since_snapshot: 0,
            tails: Tails::open(storage, settings.tails_max_bytes)?,
            pending: None,
            dropping: false,
        })
    }

    /// Verifies everything there is, hands it to `visit` one piece at a time, cuts a torn last
    /// group, and makes the rest durable; nothing is changed when `visit` cannot read a piece.
    /// What was handed on counts only once this has returned: until then it may exist in the page
    /// cache alone, or be followed by damage.
    ///
    /// # Errors
    /// [`OpenError::Missing`] when there is neither journal nor snapshot; the others as they
    /// say. After [`StorageError::NoSpace`] it may be tried again; no error costs a record.
    pub fn open(
        storage: &mut dyn Storage,
        settings: Settings,
        visit: &mut Visit<'_>,
    ) -> Result<(Self, Report), OpenError> {
        let found = recovery::open(storage, &settings, visit)?;
        let Some(last) = found.segments.last() else {
            return Err(OpenError::Missing { file: "the journal" });
        };
        let appender = Appender::new(last.file.clone(), last.length, found.seam);
        let journal = Journal {
            settings,
            segments: found.segments,
            appender,
            poison: Poison::default(),
            epochs: found.epochs,
            snapshot: found.snapshot,
            digest: found.digest,
            bytes_since_snapshot: found.bytes_since,
            tails: Tails::open(storage, settings.tails_max_bytes)?,
            pending: None,
            dropping: false,
        };
        Ok((journal, found.report))
    }

    /// Makes `records` durable, all or none: one write, one sync, and a new segment before that
    /// when the last is full.
    ///
    /// # Errors
    /// A [`WriteError`]; none of the records counts then. After [`WriteError::NoSpace`] the same
    /// group or another may be tried.
    ///
    /// # Panics
    /// When there are none, they exceed [`GROUP_MAX_BYTES`] or [`PAYLOAD_MAX_BYTES`], or they do
    /// not continue [`Self::last`] in index and epoch.
    pub fn append_group(
        &mut self,
        storage: &mut dyn Storage,
        records: &[Record<'_>],
    ) -> Result<(), WriteError> {
        self.poison.check()?;
        let bytes: usize = records.iter().map(Record::frame_bytes).sum();
        let full = self.appender.length() + bytes as u64 > self.settings.segment_bytes;
        if full && self.segments.last().is_some_and(|segment| !segment.is_empty()) {
            self.roll(storage)?;
        }
        let first = self.appender.seam().next();
        let bytes = self.appender.append(storage, &mut self.poison, records)?;
        if let Some(segment) = self.segments.last_mut() {
            segment.grow(first, bytes);
        }
        for record in records {
            if self.epochs.last().is_none_or(|&(epoch, _)| epoch != record.epoch) {
                self.epochs.push((record.epoch, record.index));
            }
        }
        self.bytes_since_snapshot += bytes;
        Ok(())
    }

    /// Durably forgets the record at `index` and all behind it: a conflict with the leader.
    ///
    /// # Errors
    /// A [`WriteError`]. After any of them a part of what was to go may be gone, from the end.
    ///
    /// # Panics
    /// When the snapshot stands for `index`, or a snapshot that is being written does.
    pub fn truncate_from(
        &mut self,
        storage: &mut dyn Storage,
        index: Index,
    ) -> Result<(), WriteError> {
        self.poison.check()?;
        if index > self.last().index {
            return Ok(());
        }
        let own = self.pending.as_ref().map(|pending| pending.writer.meta());
        let own = own.filter(|meta| meta.origin == Origin::Own);
        for meta in self.snapshot.map(|(meta, _)| meta).iter().chain(&own) {
            assert!(index > meta.seam.index, "{index} is in a snapshot and was committed");
        }
        assert!(index >= self.first_index(), "{index} is not in the journal");
        while let Some(segment) = self.segments.pop_if(|last| last.first > index) {
            let removed = remove_if_there(storage, &segment.file)
                .and_then(|()| storage.sync_dir_of(&segment.file));
            removed.map_err(|error| self.poison.fail(error))?;
            self.end_at(segment.before);
        }
        self.cut_last_segment(storage, index)
    }

    /// Hands on records from `from` on, in order: as many as take together at most `bytes_max`
    /// bytes with their headers, but at least one. False when `from` lies before what is kept.
    ///
    /// # Errors
    /// [`OpenError::Damaged`] when a file has changed since it was verified, or
    /// [`OpenError::Storage`].
    pub fn read(
        &self,
        storage: &dyn Storage,
        from: Index,
        bytes_max: usize,
        visit: &mut dyn FnMut(Record<'_>),
    ) -> Result<bool, OpenError> {
        if from < self.first_index() {
            return Ok(false);
        }
        let mut bytes = 0;
        self.walk(storage, from, &mut |header, payload| {
            if header.index < from.0 {
                return true;
            }
            let is_first = bytes == 0;
            bytes += header.frame_bytes();
            let fits = is_first || bytes <= bytes_max;
            if fits {
                visit(header.record(payload));
            }
            fits && bytes < bytes_max
        })?;
        Ok(true)
    }

    /// Index, epoch and chain of the record at `index`; `None` for one that is not kept and not
    /// the last before what is kept.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn seam_at(&self, storage: &dyn Storage, index: Index) -> Result<Option<Seam>, OpenError> {
        let known = self.segments.iter().map(|segment| segment.before);
        let known = known.chain([self.last()]).chain(self.snapshot.map(|(meta, _)| meta.seam));
        if let Some(seam) = known.into_iter().find(|seam| seam.index == index) {
            return Ok(Some(seam));
        }
        let mut found = None;
        if index >= self.first_index() {
            self.walk(storage, index, &mut |header, _| {
                if header.index == index.0 {
                    found = Some(header.seam());
                }
                header.index < index.0
            })?;
        }
        Ok(found)
    }

    /// The last record.
    pub fn last(&self) -> Seam {
        self.appender.seam()
    }

    /// The first index that can be read, or would be if there were a record.
    pub fn first_index(&self) -> Index {
        self.segments.first().map_or_else(|| self.last().next(), |segment| segment.first)
    }

    /// The epoch of the record at `index`, from memory; `None` for one that is neither kept nor
    /// the last before what is kept.
    pub fn epoch_at(&self, index: Index) -> Option<Epoch> {
        let before = self.segments.first().map(|segment| segment.before);
        let edges = before.into_iter().chain(self.snapshot.map(|(meta, _)| meta.seam));
        if let Some(seam) = edges.into_iter().find(|seam| seam.index == index) {
            return Some(seam.epoch);
        }
        let kept = (self.first_index()..=self.last().index).contains(&index);
        let after = self.epochs.partition_point(|&(_, first)| first <= index);
        let &(epoch, _) = self.epochs.get(after.checked_sub(1)?)?;
        kept.then_some(epoch)
    }

    /// The first kept record of `epoch`, from memory.
    pub fn first_of_epoch(&self, epoch: Epoch) -> Option<Index> {
        let at = self.epochs.binary_search_by_key(&epoch, |&(epoch, _)| epoch).ok()?;
        self.epochs.get(at).map(|&(_, first)| first.max(self.first_index()))
    }

    /// What the snapshot stands for.
    pub fn snapshot(&self) -> Option<SnapshotMeta> {
        self.snapshot.map(|(meta, _)| meta)
    }

    /// The SHA-256 of what the snapshot holds.
    pub fn snapshot_digest(&self) -> Option<Digest> {
        self.snapshot.map(|_| self.digest)
    }

    /// What the record at `index` held of the output of a run, as far as that is kept.
    ///
    /// # Errors
    /// An [`OpenError`] about the file that should hold it.
    pub fn output(
        &mut self,
        storage: &dyn Storage,
        index: Index,
        extract: Extract<'_>,
    ) -> Result<Option<Vec<u8>>, OpenError> {
        if index < self.first_index() {
            return self.tails.get(storage, self.settings.owner, index);
        }
        let mut output = None;
        self.read(storage, index, 1, &mut |record| {
            if record.index == index {
                output = extract(&record).map(<[u8]>::to_vec);
            }
        })?;
        Ok(output)
    }

    /// Up to which record, exclusive, the next snapshot should name the outputs that are to be
    /// kept; 0 while there is room for all.
    pub fn outputs_old(&self) -> Index {
        self.tails.old()
    }

    /// Length of the snapshot, in bytes; 0 without one.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot.map_or(0, |(_, bytes)| bytes)
    }

    /// How many bytes of records were written since the last snapshot was begun.
    pub fn bytes_since_snapshot(&self) -> u64 {
        self.bytes_since_snapshot
    }
}

/// The steps of the public calls.
impl Journal {
    /// Begins the next segment.
    fn roll(&mut self, storage: &mut dyn Storage) -> Result<(), WriteError> {
        let segment = Segment::new(self.last());
        let made = segment.create(storage, self.settings.owner);
        made.map_err(|error| self.undo(storage, SEGMENT_BESIDE, error))?;
        self.appender = Appender::new(segment.file.clone(), segment.length, segment.before);
        self.segments.push(segment);
        Ok(())
    }

    /// After a file could not be made `beside`: a full disk is survived when that file is gone.
    fn undo(&mut self, storage: &mut dyn Storage, beside: &str, error: StorageError) -> WriteError {
        let verdict = self.poison.judge(error);
        match (&verdict, remove_if_there(storage, beside)) {
            (WriteError::NoSpace, Err(error)) => self.poison.fail(error),
            _ => verdict,
        }
    }

    /// The last segment ends at `seam` with all it holds.
    fn end_at(&mut self, seam: Seam) {
        if let Some(last) = self.segments.last() {
            self.appender = Appender::new(last.file.clone(), last.length, seam);
        }
        let after = self.epochs.partition_point(|&(_, first)| first <= seam.index);
        self.epochs.truncate(after);
    }

    /// Rewrites the last segment, which holds `index`, without it and what follows. The record
    /// before it becomes the last of its group, or the next start would take it for torn.
    fn cut_last_segment(
        &mut self,
        storage: &mut dyn Storage,
        index: Index,
    ) -> Result<(), WriteError> {
        let Some(last) = self.segments.last() else { return Ok(()) };
        let file = last.file.clone();
        let mut shorter = Segment::new(last.before);
        let (mut seam, mut patch) = (last.before, None);
        let scanned = inspect::scan_log(storage, &file, last.before, &mut |group| {
            let mut kept = 0;
            for (mut header, _) in group.frames().take_while(|(header, _)| header.index < index.0) {
                let offset = shorter.length + kept;
                kept += header.frame_bytes() as u64;
                seam = header.seam();
                patch = (!header.last).then(|| {
                    header.last = true;
                    (offset, header.encode())
                });
            }
            if kept > 0 {
                shorter.grow(group.first, kept);
            }
            if seam.next() < index { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match scanned {
            Ok(Ended::Whole | Ended::Stopped) => {}
            Ok(Ended::Bad { bad, .. }) => return Err(WriteError::Damaged(bad.damage(&file))),
            Err(error) => return Err(self.poison.fail(error)),
        }
        let patch = patch.as_ref().map(|(offset, bytes)| (*offset, bytes.as_slice()));
        let cut = rewrite(storage, &file, SEGMENT_BESIDE, shorter.length, patch);
        cut.map_err(|error| self.undo(storage, SEGMENT_BESIDE, error))?;
        self.segments.pop();
        self.segments.push(shorter);
        self.end_at(seam);
        Ok(())
    }

    /// Shows the verified frames from at or before `from` on, until `visit` returns false.
    fn walk(
        &self,
        storage: &dyn Storage,
        from: Index,
        visit: &mut dyn FnMut(Header, &[u8]) -> bool,
    ) -> Result<(), OpenError> {
        let start = self.segments.partition_point(|segment| segment.first <= from);
        for segment in self.segments.get(start.saturating_sub(1)..).unwrap_or_default() {
            let offset = segment.offset_before(from);
            let mut reader =
                GroupReader::new(storage, &segment.file, offset, None)?.up_to(segment.length);
            loop {
                let group = match reader.next()? {
                    Step::Group(group) => group,
                    Step::End => break,
                    Step::Bad(bad) => return Err(bad.damage(&segment.file).into()),
                };
                for (header, payload) in Frames::new(group.bytes) {
                    if !visit(header, payload) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}
