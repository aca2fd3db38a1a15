//! Opening: what [`super::inspect`] has verified is settled before it counts.
//!
//! A torn last group is cut and its bytes kept, what a crash has left half done is ended, and the
//! last segment is copied and synced. Only a walk without an error comes so far: a start that is
//! refused changes no file that counts. Model: fjall's journal recovery.

use super::Settings;
use super::error::OpenError;
use super::frame::Seam;
use super::inspect::{Tear, Visit, Walk, first_needed};
use super::segment::{SEGMENT_BESIDE, Segment, parse_segment_name, rewrite, segment_name};
use super::snapshot::{SNAPSHOT_BESIDE, SNAPSHOT_FILE, SnapshotMeta};
use super::storage::{Storage, Stored, remove_if_there, replace};
use crate::ident::{Digest, Epoch, Index};

/// What opening found and did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The snapshot that was handed on.
    pub snapshot: Option<SnapshotMeta>,
    /// How many records were handed on.
    pub records: u64,
    /// The last group, if it had been cut short.
    pub torn: Option<Torn>,
    /// The kept pieces of this tear and of earlier ones, until the next snapshot.
    pub kept: Vec<String>,
    /// Whether a log was dropped that did not match the snapshot received in its place.
    pub log_replaced: bool,
}

/// A group that was cut because its write had not been completed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Torn {
    /// The index its first record had or would have had.
    pub index: Index,
    /// The file it was in.
    pub file: String,
    /// Where it began, in bytes.
    pub offset: u64,
    /// How many bytes there were of it.
    pub bytes: u64,
    /// The file that holds them now; empty when there were none.
    pub kept_as: String,
}

/// What opening gives to the journal.
pub(crate) struct Recovered {
    pub(crate) snapshot: Option<(SnapshotMeta, u64)>,
    pub(crate) digest: Digest,
    pub(crate) segments: Vec<Segment>,
    pub(crate) seam: Seam,
    pub(crate) epochs: Vec<(Epoch, Index)>,
    pub(crate) bytes_since: u64,
    pub(crate) report: Report,
}

const TORN_PREFIX: &str = "torn-";
const TORN_BESIDE: &str = "torn.tmp";

/// Reads and settles the journal; see [`super::Journal::open`].
pub(crate) fn open(
    storage: &mut dyn Storage,
    settings: &Settings,
    visit: &mut Visit<'_>,
) -> Result<Recovered, OpenError> {
    let names = storage.list()?;
    let mut walk = Walk::new(settings.owner);
    if names.iter().any(|name| name == SNAPSHOT_FILE) {
        walk.snapshot(storage, visit)?;
    }
    let mut firsts: Vec<Index> = names.iter().filter_map(|n| parse_segment_name(n)).collect();
    firsts.sort_unstable();
    let (snapshot, digest) = (walk.snapshot, walk.digest);
    let meta = snapshot.map(|(meta, _)| meta);
    let start = first_needed(&firsts, meta.as_ref())?;

    let fits = walk.segments(storage, firsts.get(start..).unwrap_or_default(), visit)?;
    for leftover in [SEGMENT_BESIDE, SNAPSHOT_BESIDE, TORN_BESIDE] {
        remove_if_there(storage, leftover)?;
    }
    let mut found = match (fits, meta) {
        (true, _) | (false, None) => settle(walk, storage)?,
        (false, Some(meta)) => replace_log(storage, settings, &firsts, meta)?,
    };
    (found.snapshot, found.digest) = (snapshot, digest);
    found.report.snapshot = meta;
    if fits {
        for &obsolete in firsts.get(..start).unwrap_or_default() {
            remove_if_there(storage, &segment_name(obsolete))?;
        }
    }
    // Names that an earlier process made or removed may have been so only in memory.
    storage.sync_dir_of(SNAPSHOT_FILE)?;
    storage.sync_dir_of(SEGMENT_BESIDE)?;
    found.report.kept = kept_pieces(storage)?.into_iter().map(|(name, _)| name).collect();
    Ok(found)
}

/// Keeps the torn bytes, then makes the kept part of the last segment durable.
fn settle(walk: Walk, storage: &mut dyn Storage) -> Result<Recovered, OpenError> {
    let mut report = Report { records: walk.records, ..Report::default() };
    if let Some(tear) = walk.tear {
        let (file, index) = (walk.segments.last().map(|s| s.file.clone()), walk.seam.next());
        report.torn =
            Some(tear.keep(storage, file.unwrap_or_default(), torn_name(index), index)?);
    }
    if let Some(last) = walk.segments.last() {
        rewrite(storage, &last.file, SEGMENT_BESIDE, last.length, None)?;
    }
    Ok(Recovered {
        snapshot: None,
        digest: Digest::default(),
        segments: walk.segments,
        seam: walk.seam,
        epochs: walk.epochs,
        bytes_since: walk.bytes_since,
        report,
    })
}

/// Removes all segments, newest first and each durably, so that what a crash leaves has no gap;
/// then begins a journal behind the snapshot.
pub(crate) fn remove_log(storage: &mut dyn Storage, firsts: &[Index]) -> Stored<()> {
    for &first in firsts.iter().rev() {
        remove_if_there(storage, &segment_name(first))?;
        storage.sync_dir_of(SEGMENT_BESIDE)?;
    }
    Ok(())
}

fn replace_log(
    storage: &mut dyn Storage,
    settings: &Settings,
    firsts: &[Index],
    meta: SnapshotMeta,
) -> Result<Recovered, OpenError> {
    // The snapshot's name must outlive the log it stands for.
    storage.sync_dir_of(SNAPSHOT_FILE)?;
    remove_log(storage, firsts)?;
    let segment = Segment::new(meta.seam);
    segment.create(storage, settings.owner)?;
    let report = Report { log_replaced: true, ..Report::default() };
    let (segments, epochs) = (vec![segment], Vec::new());
    let (digest, seam) = (Digest::default(), meta.seam);
    Ok(Recovered { snapshot: None, digest, segments, seam, epochs, bytes_since: 0, report })
}

impl Tear {
    /// Puts the bytes of the tear, which began at `index` in `file`, into the file `name`.
    pub(crate) fn keep(
        self,
        storage: &mut dyn Storage,
        file: String,
        name: String,
        index: Index,
    ) -> Stored<Torn> {
        replace(storage, TORN_BESIDE, &name, &mut |storage| {
            storage.append(TORN_BESIDE, &self.bytes)
        })?;
        let bytes = self.bytes.len() as u64;
        Ok(Torn { index, file, offset: self.offset, bytes, kept_as: name })
    }
}

fn torn_name(index: Index) -> String {
    format!("{TORN_PREFIX}{}", index.0)
}

/// The kept pieces of torn groups, with the index each began at.
pub(crate) fn kept_pieces(storage: &dyn Storage) -> Stored<Vec<(String, Index)>> {
    let named = |name: String| {
        let index = Index(name.strip_prefix(TORN_PREFIX)?.parse().ok()?);
        (torn_name(index) == name).then_some((name, index))
    };
    Ok(storage.list()?.into_iter().filter_map(named).collect())
}

/// Removes kept pieces that lie before what a snapshot stands for.
pub(crate) fn remove_kept_pieces(storage: &mut dyn Storage, upto: Index) -> Stored<()> {
    for (name, index) in kept_pieces(storage)? {
        if index <= upto {
            remove_if_there(storage, &name)?;
        }
    }
    Ok(())
}
