//! How a journal makes a snapshot of itself, or takes on one that the leader sends.
//!
//! Both are written in steps beside the snapshot there is, with groups appended in between, and
//! come into force at once: by a rename and a sync of the folder. Only then does what they make
//! needless go: older segments, kept pieces of torn groups, and, for a leader's snapshot that
//! no record here matches, the whole log.

use super::error::{OpenError, WriteError};
use super::frame::Seam;
use super::recovery::{remove_kept_pieces, remove_log};
use super::segment::Segment;
use super::snapshot::{
    Origin, SNAPSHOT_BESIDE, SNAPSHOT_FILE, Setback, SnapshotMeta, SnapshotReader, SnapshotWriter,
};
use super::storage::{Storage, remove_if_there};
use super::tails::{Copying, Outputs, TAILS_BESIDE};
use super::{Journal, Progress};
use crate::ident::Index;

/// A snapshot that is being written, and the journal's bytes when it was begun.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) writer: SnapshotWriter,
    bytes_before: u64,
    /// Of so many segments the output is copied.
    copied: usize,
    copying: Copying,
}

impl Journal {
    /// Begins a snapshot of the state at `index`, which must be in the journal; drops one that
    /// was begun before.
    ///
    /// # Errors
    /// A [`WriteError`]; [`WriteError::NotNewer`] when `index` is not above the snapshot's, or is
    /// not in the journal.
    pub fn snapshot_begin(
        &mut self,
        storage: &mut dyn Storage,
        index: Index,
    ) -> Result<(), WriteError> {
        self.poison.check()?;
        let seam = match self.seam_at(storage, index) {
            Ok(seam) => seam.ok_or(WriteError::NotNewer)?,
            Err(error) => return Err(self.setback(storage, error.into())),
        };
        self.begin(storage, SnapshotMeta { seam, origin: Origin::Own })
    }

    /// Begins a snapshot that the leader sends, which stands for all up to `seam`.
    ///
    /// # Errors
    /// As [`Self::snapshot_begin`].
    pub fn snapshot_begin_from_peer(
        &mut self,
        storage: &mut dyn Storage,
        seam: Seam,
    ) -> Result<(), WriteError> {
        self.begin(storage, SnapshotMeta { seam, origin: Origin::Peer })
    }

    /// Writes the next chunk of the snapshot that was begun. It is durable only at the end.
    ///
    /// # Errors
    /// A [`WriteError`]; the snapshot is then given up, and [`WriteError::NoSpace`] leaves the
    /// journal usable.
    ///
    /// # Panics
    /// When none was begun, its end has been begun, or the chunk is empty or longer than
    /// [`CHUNK_MAX_BYTES`].
    pub fn snapshot_chunk(
        &mut self,
        storage: &mut dyn Storage,
        bytes: &[u8],
    ) -> Result<(), WriteError> {
        self.poison.check()?;
        let pending = self.pending.as_mut();
        assert!(pending.is_some(), "a chunk without a snapshot");
        let written = pending.map_or(Ok(()), |pending| pending.writer.chunk(storage, bytes));
        written.map_err(|error| self.setback(storage, Setback::Disk(error)))
    }

    /// Goes on with the end of the snapshot: it is synced and read back in steps; what the segments
    /// that it makes needless hold of output is copied in steps; then it is put in place of the
    /// last one, and those segments are removed one by one. Groups may be appended between the
    /// steps.
    ///
    /// # Errors
    /// As [`Self::snapshot_chunk`]; [`WriteError::Damaged`] when it reads back differently.
    ///
    /// # Panics
    /// When no snapshot was begun.
    pub fn snapshot_finish_step(
        &mut self,
        storage: &mut dyn Storage,
        outputs: &Outputs<'_>,
    ) -> Result<Progress, WriteError> {
        self.poison.check()?;
        if self.dropping && self.pending.is_none() {
            return self.drop_needless(storage);
        }
        assert!(self.pending.is_some(), "an end without a snapshot");
        let Some(pending) = &mut self.pending else { return Ok(Progress::Done) };
        match pending.writer.finish_step(storage) {
            Ok(false) => return Ok(Progress::More),
            Ok(true) => {}
            Err(error) => return Err(self.setback(storage, error.into())),
        }
        match self.copy_outputs(storage, outputs) {
            Ok(false) => return Ok(Progress::More),
            Ok(true) => {}
            Err(error) => return Err(self.setback(storage, error.into())),
        }
        let Some(pending) = self.pending.take() else { return Ok(Progress::Done) };
        self.install(storage, &pending)?;
        self.drop_needless(storage)
    }

    /// Gives up the snapshot that was begun, if any.
    ///
    /// # Errors
    /// A [`WriteError`].
    pub fn snapshot_abort(&mut self, storage: &mut dyn Storage) -> Result<(), WriteError> {
        self.poison.check()?;
        if self.pending.take().is_some() {
            let removed = remove_if_there(storage, SNAPSHOT_BESIDE);
            removed.map_err(|error| self.poison.fail(error))?;
        }
        Ok(())
    }

    /// A reader of the snapshot's chunks; `None` without one.
    ///
    /// # Errors
    /// An [`OpenError`].
    pub fn snapshot_reader(
        &self,
        storage: &dyn Storage,
    ) -> Result<Option<SnapshotReader>, OpenError> {
        let open = |_| SnapshotReader::open(storage, SNAPSHOT_FILE, self.settings.owner);
        self.snapshot.map(open).transpose()
    }

    fn begin(&mut self, storage: &mut dyn Storage, meta: SnapshotMeta) -> Result<(), WriteError> {
        self.poison.check()?;
        if self.snapshot().is_some_and(|old| old.seam.index >= meta.seam.index)
            || meta.seam.index == Index(0)
        {
            return Err(WriteError::NotNewer);
        }
        self.pending = None;
        let begun = SnapshotWriter::begin(storage, self.settings.owner, meta);
        let writer = begun.map_err(|error| self.setback(storage, Setback::Disk(error)))?;
        let (bytes_before, copied) = (self.bytes_since_snapshot, 0);
        self.pending = Some(Pending { writer, bytes_before, copied, copying: Copying::segment() });
        Ok(())
    }

    /// Copies a step more of the output in the segments that are about to go, and thins out what
    /// is kept of those that went before; true when all is done.
    fn copy_outputs(
        &mut self,
        storage: &mut dyn Storage,
        outputs: &Outputs<'_>,
    ) -> Result<bool, OpenError> {
        let Some(meta) = self.pending.as_ref().map(|pending| pending.writer.meta()) else {
            return Ok(true);
        };
        // Records that the leader's snapshot replaces were never committed.
        if meta.origin == Origin::Peer && self.seam_at(storage, meta.seam.index)? != Some(meta.seam)
        {
            return Ok(true);
        }
        let Some(pending) = &mut self.pending else { return Ok(true) };
        let next = meta.seam.next();
        let needless = self.segments.windows(2).take_while(|pair| pair[1].first <= next).count();
        let tails = (&mut self.tails, self.settings.owner);
        match self.segments.get(pending.copied).filter(|_| pending.copied < needless) {
            Some(segment) => {
                let extract = outputs.extract;
                if pending.copying.step_segment(storage, tails, segment, extract)? {
                    pending.copied += 1;
                    pending.copying = Copying::segment();
                }
                Ok(false)
            }
            None if matches!(pending.copying, Copying::Segment(..)) => {
                pending.copying = Copying::files();
                Ok(false)
            }
            None => pending.copying.step_files(storage, tails, outputs),
        }
    }

    /// Gives up the snapshot, and says what became of the journal.
    fn setback(&mut self, storage: &mut dyn Storage, setback: Setback) -> WriteError {
        self.pending = None;
        let verdict = match setback {
            Setback::Disk(error) => self.undo(storage, SNAPSHOT_BESIDE, error),
            Setback::Bytes(damage) => match remove_if_there(storage, SNAPSHOT_BESIDE) {
                Ok(()) => WriteError::Damaged(damage),
                Err(error) => self.poison.fail(error),
            },
        };
        match (&verdict, remove_if_there(storage, TAILS_BESIDE)) {
            (WriteError::NoSpace | WriteError::Damaged(_), Err(error)) => self.poison.fail(error),
            _ => verdict,
        }
    }

    /// Puts the verified snapshot in force, then removes what it makes needless.
    fn install(&mut self, storage: &mut dyn Storage, pending: &Pending) -> Result<(), WriteError> {
        let meta = pending.writer.meta();
        let matching = match self.seam_at(storage, meta.seam.index) {
            Ok(seam) => seam == Some(meta.seam),
            Err(error) => return Err(self.setback(storage, error.into())),
        };
        assert!(matching || meta.origin == Origin::Peer, "an own snapshot is of this journal");
        if let Err(error) = storage.rename(SNAPSHOT_BESIDE, SNAPSHOT_FILE) {
            return Err(self.setback(storage, Setback::Disk(error)));
        }
        let mut put = || {
            storage.sync_dir_of(SNAPSHOT_FILE)?;
            if !matching {
                let firsts: Vec<Index> = self.segments.iter().map(|s| s.first).collect();
                remove_log(storage, &firsts)?;
                let segment = Segment::new(meta.seam);
                segment.create(storage, self.settings.owner)?;
                self.segments = vec![segment];
            }
            remove_kept_pieces(storage, meta.seam.index)
        };
        put().map_err(|error| self.poison.fail(error))?;
        if !matching {
            self.end_at(meta.seam);
            self.epochs.clear();
            self.bytes_since_snapshot = 0;
        }
        self.snapshot = Some((meta, pending.writer.length()));
        self.digest = pending.writer.digest();
        self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_sub(pending.bytes_before);
        self.dropping = true;
        Ok(())
    }

    /// Removes one of the segments that lie wholly within the snapshot, but never the last. One at
    /// a time, because a group that waits meanwhile waits for as long as the disk takes to free it.
    fn drop_needless(&mut self, storage: &mut dyn Storage) -> Result<Progress, WriteError> {
        let next = self.snapshot().map_or(Index(0), |meta| meta.seam.next());
        if let [oldest, second, ..] = self.segments.as_slice() {
            if second.first <= next {
                let removed = remove_if_there(storage, &oldest.file);
                removed.map_err(|error| self.poison.fail(error))?;
                self.segments.remove(0);
                return Ok(Progress::More);
            }
        }
        self.dropping = false;
        let first = self.first_index();
        let older = self.epochs.partition_point(|&(_, start)| start <= first);
        self.epochs.drain(..older.saturating_sub(1));
        Ok(Progress::Done)
    }
}
