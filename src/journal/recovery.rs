//! Opening: what is on the disk is verified, handed on, and made durable before it counts.
//!
//! The rule for the first bad place: in the last segment, where a cut-short write can look like
//! it, with nothing behind it that was written later, it is a *tear* of the last group, which
//! nobody was ever told of; the group is cut and its bytes kept. Everything else is damage, and
//! refused. Model: fjall's journal recovery, and the rule of Alagappan et al., "Protocol-aware
//! recovery for consensus-based storage" (FAST 2018), that a tear and a corruption must not be
//! taken for each other.

use super::error::{Damage, OpenError};
use super::frame::{GROUP_MAX_BYTES, Header, RECORD_HEADER_BYTES, Seam};
use super::reader::{Bad, Group, GroupReader, Step};
use super::segment::{
    FILE_HEADER_BYTES, SEGMENT_BESIDE, SEGMENT_MAGIC, Segment, parse_segment_name, read_header,
    rewrite,
};
use super::snapshot::{Origin, SNAPSHOT_BESIDE, SNAPSHOT_FILE, SnapshotMeta, SnapshotReader};
use super::storage::{Storage, Stored, remove_if_there, replace};
use super::{Item, Settings};
use crate::ident::{Digest, Epoch, Index};
use std::ops::ControlFlow;

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
    visit: &mut dyn FnMut(Item<'_>),
) -> Result<Recovered, OpenError> {
    for leftover in [SEGMENT_BESIDE, SNAPSHOT_BESIDE, TORN_BESIDE] {
        remove_if_there(storage, leftover)?;
    }
    let names = storage.list()?;
    let has_snapshot = names.iter().any(|name| name == SNAPSHOT_FILE);
    let snapshot = has_snapshot.then(|| read_snapshot(storage, settings, visit)).transpose()?;
    let mut firsts: Vec<Index> = names.iter().filter_map(|n| parse_segment_name(n)).collect();
    firsts.sort_unstable();
    let (snapshot, digest) = match snapshot {
        Some((meta, length, digest)) => (Some((meta, length)), digest),
        None => (None, Digest::default()),
    };
    let meta = snapshot.map(|(meta, _)| meta);
    let start = first_needed(&firsts, meta.as_ref())?;

    let mut scan = Scan::new(settings, meta);
    let fits = scan.segments(storage, firsts.get(start..).unwrap_or_default(), visit)?;
    let mut found = match (fits, meta) {
        (true, _) | (false, None) => scan.settle(storage)?,
        (false, Some(meta)) => replace_log(storage, settings, &firsts, meta)?,
    };
    (found.snapshot, found.digest) = (snapshot, digest);
    found.report.snapshot = meta;
    if fits {
        for &obsolete in firsts.get(..start).unwrap_or_default() {
            remove_if_there(storage, &super::segment::segment_name(obsolete))?;
        }
    }
    // Names that an earlier process made or removed may have been so only in memory.
    storage.sync_dir_of(SNAPSHOT_FILE)?;
    storage.sync_dir_of(SEGMENT_BESIDE)?;
    found.report.kept = kept_pieces(storage)?.into_iter().map(|(name, _)| name).collect();
    Ok(found)
}

fn read_snapshot(
    storage: &dyn Storage,
    settings: &Settings,
    visit: &mut dyn FnMut(Item<'_>),
) -> Result<(SnapshotMeta, u64, Digest), OpenError> {
    let mut reader = SnapshotReader::open(storage, SNAPSHOT_FILE, settings.owner)?;
    visit(Item::Snapshot(reader.meta()));
    while let Some(chunk) = reader.next_chunk(storage)? {
        visit(Item::SnapshotChunk(chunk));
    }
    let digest = reader.digest().unwrap_or_default();
    Ok((reader.meta(), storage.length(SNAPSHOT_FILE)?, digest))
}

/// The place in `firsts` of the segment with the first record that is needed. Segments before it
/// were being removed, in any order, when the process ended.
fn first_needed(firsts: &[Index], snapshot: Option<&SnapshotMeta>) -> Result<usize, OpenError> {
    let next = snapshot.map_or(Seam::default(), |meta| meta.seam).next();
    let started = firsts.partition_point(|&first| first <= next);
    match (started.checked_sub(1), firsts.first(), snapshot) {
        (Some(start), _, _) => Ok(start),
        // The old log is removed before the new one is begun.
        (None, None, Some(SnapshotMeta { origin: Origin::Peer, .. })) => Ok(0),
        (None, None, _) => Err(OpenError::Missing { file: "the journal" }),
        (None, Some(&first), _) => Err(Damage {
            file: super::segment::segment_name(first),
            offset: 0,
            what: "the segment before it is missing",
        }
        .into()),
    }
}

/// The walk over the segments.
struct Scan<'a> {
    settings: &'a Settings,
    snapshot: Option<SnapshotMeta>,
    segments: Vec<Segment>,
    seam: Seam,
    epochs: Vec<(Epoch, Index)>,
    bytes_since: u64,
    records: u64,
    tear: Option<Tear>,
}

impl<'a> Scan<'a> {
    fn new(settings: &'a Settings, snapshot: Option<SnapshotMeta>) -> Self {
        let seam = Seam::default();
        let (segments, epochs, tear) = (Vec::new(), Vec::new(), None);
        Scan { settings, snapshot, segments, seam, epochs, bytes_since: 0, records: 0, tear }
    }

    /// Verifies the segments and hands on what follows the snapshot. False when they do not
    /// match a snapshot that may replace them; then nothing was handed on.
    fn segments(
        &mut self,
        storage: &dyn Storage,
        firsts: &[Index],
        visit: &mut dyn FnMut(Item<'_>),
    ) -> Result<bool, OpenError> {
        for (place, &first) in firsts.iter().enumerate() {
            let last = place + 1 == firsts.len();
            if !self.segment(storage, first, last, visit)? {
                return self.mismatch(first, "its records are not those of the snapshot");
            }
        }
        let needed = self.snapshot.map_or(Index(0), |meta| meta.seam.index);
        match firsts.last() {
            Some(&last) if self.seam.index < needed => {
                self.mismatch(last, "the journal ends before the snapshot does")
            }
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    fn mismatch(&self, first: Index, what: &'static str) -> Result<bool, OpenError> {
        match self.snapshot {
            Some(SnapshotMeta { origin: Origin::Peer, .. }) => Ok(false),
            Some(SnapshotMeta { origin: Origin::Own, .. }) | None => {
                let file = super::segment::segment_name(first);
                Err(Damage { file, offset: FILE_HEADER_BYTES as u64, what }.into())
            }
        }
    }

    fn segment(
        &mut self,
        storage: &dyn Storage,
        first: Index,
        last: bool,
        visit: &mut dyn FnMut(Item<'_>),
    ) -> Result<bool, OpenError> {
        let file = super::segment::segment_name(first);
        let before = read_header(storage, &file, SEGMENT_MAGIC, self.settings.owner)?;
        let damaged = |what| Err(Damage { file: file.clone(), offset: 0, what }.into());
        if before.next() != first {
            return damaged("its first index is not the one in its name");
        }
        let continues = match (self.segments.is_empty(), self.snapshot) {
            (false, _) => before == self.seam,
            (true, None) => before == Seam::default(),
            (true, Some(meta)) if before.index == meta.seam.index => {
                if before != meta.seam {
                    return Ok(false);
                }
                true
            }
            (true, Some(_)) => true,
        };
        if !continues {
            return damaged("it does not continue what comes before it");
        }
        self.seam = before;
        self.segments.push(Segment::new(before));
        let ended = scan_log(storage, &file, before, &mut |group| self.group(&group, visit))?;
        match ended {
            Ended::Stopped => Ok(false),
            Ended::Whole => Ok(true),
            Ended::Bad { start, bad } if last && bad.tear => {
                self.tear = Some(judge(storage, &file, start, self.seam.next(), bad)?);
                Ok(true)
            }
            Ended::Bad { bad, .. } => Err(bad.damage(&file).into()),
        }
    }

    fn group(&mut self, group: &Group<'_>, visit: &mut dyn FnMut(Item<'_>)) -> ControlFlow<()> {
        for (header, payload) in group.frames() {
            let here = header.seam();
            if self.snapshot.is_some_and(|meta| meta.seam.index == here.index && meta.seam != here)
            {
                return ControlFlow::Break(());
            }
            if self.snapshot.is_none_or(|meta| here.index > meta.seam.index) {
                visit(Item::Record(header.record(payload)));
                self.records += 1;
                self.bytes_since += header.frame_bytes() as u64;
            }
            if self.epochs.last().is_none_or(|&(epoch, _)| epoch != here.epoch) {
                self.epochs.push((here.epoch, here.index));
            }
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.grow(group.first, group.bytes.len() as u64);
        }
        self.seam = group.seam;
        ControlFlow::Continue(())
    }

    /// Keeps the torn bytes, then makes the kept part of the last segment durable.
    fn settle(self, storage: &mut dyn Storage) -> Result<Recovered, OpenError> {
        let mut report = Report { records: self.records, ..Report::default() };
        if let Some(tear) = self.tear {
            let name = torn_name(self.seam.next());
            let file = self.segments.last().map(|segment| segment.file.clone());
            let file = file.unwrap_or_default();
            report.torn = Some(tear.keep(storage, file, name, self.seam.next())?);
        }
        if let Some(last) = self.segments.last() {
            rewrite(storage, &last.file, SEGMENT_BESIDE, last.length, None)?;
        }
        Ok(Recovered {
            snapshot: None,
            digest: Digest::default(),
            segments: self.segments,
            seam: self.seam,
            epochs: self.epochs,
            bytes_since: self.bytes_since,
            report,
        })
    }
}

/// Removes all segments, newest first and each durably, so that what a crash leaves has no gap;
/// then begins a journal behind the snapshot.
pub(crate) fn remove_log(storage: &mut dyn Storage, firsts: &[Index]) -> Stored<()> {
    for &first in firsts.iter().rev() {
        remove_if_there(storage, &super::segment::segment_name(first))?;
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

/// How the walk over one file ended.
pub(crate) enum Ended {
    /// At its end.
    Whole,
    /// Where the visitor wished.
    Stopped,
    /// At a bad place; the group that it is in starts at `start`.
    Bad { start: u64, bad: Bad },
}

/// Hands the groups of a log file on, from its first, which must continue `before`.
pub(crate) fn scan_log(
    storage: &dyn Storage,
    file: &str,
    before: Seam,
    visit: &mut dyn FnMut(Group<'_>) -> ControlFlow<()>,
) -> Stored<Ended> {
    let mut reader = GroupReader::new(storage, file, FILE_HEADER_BYTES as u64, Some(before))?;
    loop {
        let start = reader.offset();
        match reader.next()? {
            Step::Group(group) => {
                if visit(group).is_break() {
                    return Ok(Ended::Stopped);
                }
            }
            Step::End => return Ok(Ended::Whole),
            Step::Bad(bad) => return Ok(Ended::Bad { start, bad }),
        }
    }
}

/// A tear: where its group starts, and all bytes from there.
pub(crate) struct Tear {
    offset: u64,
    bytes: Vec<u8>,
}

/// Decides whether `bad`, in the group that starts at `start` with the index `group`, is a tear.
///
/// # Errors
/// [`OpenError::Damaged`] when it is not.
pub(crate) fn judge(
    storage: &dyn Storage,
    file: &str,
    start: u64,
    group: Index,
    bad: Bad,
) -> Result<Tear, OpenError> {
    let rest = storage.length(file)?.saturating_sub(start);
    if rest > GROUP_MAX_BYTES as u64 {
        return Err(bad.damage(file).into());
    }
    let mut bytes = vec![0; rest as usize];
    let read = storage.read_at(file, start, &mut bytes)?;
    bytes.truncate(read);
    let behind = bytes.get((bad.offset - start) as usize..).unwrap_or_default();
    if written_later(behind, group.0) {
        return Err(bad.damage(file).into());
    }
    Ok(Tear { offset: start, bytes })
}

/// Whether `bytes` hold a sign that a group behind `group` was begun, which means that `group`
/// itself had been made durable: a whole record of a later group, or the last record of `group`
/// with more bytes behind it.
fn written_later(bytes: &[u8], group: u64) -> bool {
    let records_max = (bytes.len() / RECORD_HEADER_BYTES) as u64 + 1;
    (0..bytes.len()).any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        // Cheap and sufficient to skip nearly all places before a checksum is made.
        let Some(&index) = rest.get(16..).and_then(|field| field.first_chunk::<8>()) else {
            return false;
        };
        let distance = u64::from_le_bytes(index).checked_sub(group);
        if distance.is_none_or(|distance| distance > records_max + GROUP_RECORDS_MAX) {
            return false;
        }
        let Some(header) = Header::decode(rest) else { return false };
        let frame = rest.get(RECORD_HEADER_BYTES..header.frame_bytes());
        frame.is_some_and(|payload| {
            let whole = crc32fast::hash(payload) == header.payload_crc;
            let ends_early = header.last && header.frame_bytes() < rest.len();
            whole && (header.group > group || (header.group == group && ends_early))
        })
    })
}

const GROUP_RECORDS_MAX: u64 = (GROUP_MAX_BYTES / RECORD_HEADER_BYTES) as u64;

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
