//! Reading a journal from end to end, every byte of it, without changing any.
//!
//! The rule for the first bad place: in the last segment, where a cut-short write can look like
//! it, with nothing behind it that was written later, it is a *tear* of the last group, which
//! nobody was ever told of. Everything else is damage. [`super::Journal::open`] walks and then
//! settles; the tools walk with [`Inspection`], which goes on behind damage. Model: the rule of
//! Alagappan et al., "Protocol-aware recovery for consensus-based storage" (FAST 2018), that a
//! tear and a corruption must not be taken for each other.

use super::Item;
use super::error::{Damage, OpenError};
use super::frame::{GROUP_MAX_BYTES, Header, RECORD_HEADER_BYTES, Seam};
use super::reader::{Bad, Group, GroupReader, Step};
use super::segment::{
    FILE_HEADER_BYTES, Owner, SEGMENT_MAGIC, Segment, parse_segment_name, read_any_header,
    read_header, segment_name,
};
use super::snapshot::{Origin, SNAPSHOT_FILE, SnapshotMeta, SnapshotReader};
use super::storage::{Storage, Stored};
use crate::ident::{Digest, Epoch, Index};
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Takes what a walk hands on. An error, a clause such as "has an invalid kind", ends the walk: the
/// bytes are what was written, and nobody can read them.
pub type Visit<'v> = dyn FnMut(Item<'_>) -> Result<(), String> + 'v;

/// Whose the newest readable segment is: for a directory whose identity is lost.
pub fn owner_in(storage: &dyn Storage) -> Option<Owner> {
    let names = storage.list().ok()?;
    let mut segments: Vec<&String> =
        names.iter().filter(|name| parse_segment_name(name).is_some()).collect();
    segments.sort_unstable();
    let owner = |name: &&String| read_any_header(storage, name, SEGMENT_MAGIC).ok();
    segments.iter().rev().find_map(owner).map(|(owner, _)| owner)
}

/// What a walk found in one file.
#[derive(Debug)]
pub struct Part {
    /// Its name.
    pub file: String,
    /// Its length, in bytes.
    pub bytes: u64,
    /// The sound records in it, or the chunks of a snapshot.
    pub records: u64,
    /// The first and the last record that it holds or stands for, if there is one.
    pub indexes: Option<(Index, Index)>,
    /// Their epochs.
    pub epochs: Option<(Epoch, Epoch)>,
    /// Where a group begins whose write was cut short, in bytes.
    pub torn: Option<u64>,
    /// Why the file is not sound.
    pub wrong: Option<OpenError>,
}

/// A walk for those who want to know all: file by file, all records, and on behind damage. What
/// lies behind the first damage is verified for itself and not handed on.
pub struct Inspection<'s> {
    storage: &'s dyn Storage,
    walk: Walk,
    waiting: VecDeque<Next>,
    broken: bool,
}

#[derive(Clone, Copy)]
enum Next {
    Snapshot,
    Segments,
    /// The snapshot stands for all in it, and its removal is due.
    Needless(Index),
    Segment(Index, bool),
}

impl<'s> Inspection<'s> {
    /// Begins with the files of `owner` that there are now.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn begin(storage: &'s dyn Storage, owner: Owner) -> Stored<Self> {
        let mut walk = Walk::new(owner);
        walk.all_records = true;
        let has_snapshot = storage.list()?.iter().any(|name| name == SNAPSHOT_FILE);
        let waiting = has_snapshot.then_some(Next::Snapshot).into_iter().chain([Next::Segments]);
        Ok(Inspection { storage, walk, waiting: waiting.collect(), broken: false })
    }

    /// Walks over the next file and says what it found; `None` behind the last.
    pub fn next(&mut self, visit: &mut Visit<'_>) -> Option<Part> {
        loop {
            match self.waiting.pop_front()? {
                Next::Snapshot => return Some(self.snapshot(visit)),
                Next::Segments => {
                    if let Err(error) = self.find_segments() {
                        return Some(self.part("journal".to_owned(), Some(error)));
                    }
                }
                Next::Needless(first) => return Some(self.part(segment_name(first), None)),
                Next::Segment(first, last) => return Some(self.segment(first, last, visit)),
            }
        }
    }

    /// The last record that is kept whatever is wrong behind it.
    pub fn kept(&self) -> Seam {
        let snapshot = self.walk.snapshot.map_or(Seam::default(), |(meta, _)| meta.seam);
        if snapshot.index > self.walk.seam.index { snapshot } else { self.walk.seam }
    }

    fn find_segments(&mut self) -> Result<(), OpenError> {
        let names = self.storage.list()?;
        let mut firsts: Vec<Index> = names.iter().filter_map(|n| parse_segment_name(n)).collect();
        firsts.sort_unstable();
        let meta = self.walk.snapshot.map(|(meta, _)| meta);
        let start = first_needed(&firsts, meta.as_ref())?;
        let count = firsts.len();
        self.waiting = (firsts.into_iter().enumerate())
            .map(|(place, first)| match place < start {
                true => Next::Needless(first),
                false => Next::Segment(first, place + 1 == count),
            })
            .collect();
        Ok(())
    }

    fn snapshot(&mut self, visit: &mut Visit<'_>) -> Part {
        let walked = self.walk.snapshot(self.storage, visit);
        self.broken = walked.is_err();
        let mut part = self.part(SNAPSHOT_FILE.to_owned(), walked.err());
        part.records = self.walk.chunks;
        if let Some((meta, _)) = self.walk.snapshot {
            part.indexes = Some((Index(1), meta.seam.index));
            part.epochs = Some((Epoch(0), meta.seam.epoch));
        }
        part
    }

    fn segment(&mut self, first: Index, last: bool, visit: &mut Visit<'_>) -> Part {
        // A journal that was never cut needs no snapshot.
        if self.broken && !(first == Index(1) && self.walk.segments.is_empty()) {
            let mut alone = Walk::new(self.walk.owner);
            alone.resumed = true;
            let walked = alone.segment(self.storage, first, last, &mut |_| Ok(()));
            return self.segment_part(&alone, first, walked.err());
        }
        let walked = self.walk.segment(self.storage, first, last, visit);
        let needed = self.walk.snapshot.map_or(Index(0), |(meta, _)| meta.seam.index);
        let walked = match walked {
            Ok(true) if last && self.walk.seam.index < needed => {
                self.walk.mismatch(first, ENDS_EARLY).map(drop)
            }
            Ok(true) => Ok(()),
            // The next start drops the log; what is said of its other files is of no use.
            Ok(false) => self.walk.mismatch(first, OTHER_RECORDS).map(|_| self.waiting.clear()),
            Err(error) => Err(error),
        };
        self.broken = walked.is_err();
        self.segment_part(&self.walk, first, walked.err())
    }

    fn segment_part(&self, walk: &Walk, first: Index, wrong: Option<OpenError>) -> Part {
        let mut part = self.part(segment_name(first), wrong);
        let read = walk.segments.last().filter(|segment| segment.first == first);
        let end = read.map_or(Index(0), |_| walk.seam.index);
        if end >= first {
            part.records = end.0 - first.0 + 1;
            part.indexes = Some((first, end));
            let before = walk.epochs.partition_point(|&(_, start)| start <= first);
            let epoch = before.checked_sub(1).and_then(|at| walk.epochs.get(at));
            part.epochs =
                Some((epoch.map_or(walk.seam.epoch, |&(epoch, _)| epoch), walk.seam.epoch));
        }
        part.torn = walk.tear.as_ref().filter(|_| read.is_some()).map(|tear| tear.offset);
        part
    }

    fn part(&self, file: String, wrong: Option<OpenError>) -> Part {
        let bytes = self.storage.length(&file).unwrap_or(0);
        Part { file, bytes, records: 0, indexes: None, epochs: None, torn: None, wrong }
    }
}

const OTHER_RECORDS: &str = "its records are not those of the snapshot";
const ENDS_EARLY: &str = "the journal ends before the snapshot does";

/// The place in `firsts` of the segment with the first record that is needed. Segments before it
/// were being removed, in any order, when the process ended.
pub(crate) fn first_needed(
    firsts: &[Index],
    snapshot: Option<&SnapshotMeta>,
) -> Result<usize, OpenError> {
    let next = snapshot.map_or(Seam::default(), |meta| meta.seam).next();
    let started = firsts.partition_point(|&first| first <= next);
    match (started.checked_sub(1), firsts.first(), snapshot) {
        (Some(start), _, _) => Ok(start),
        // The old log is removed before the new one is begun.
        (None, None, Some(SnapshotMeta { origin: Origin::Peer, .. })) => Ok(0),
        (None, None, _) => Err(OpenError::Missing { file: "the journal" }),
        // What comes before it is found missing when it is read.
        (None, Some(_), _) => Ok(0),
    }
}

/// A walk, and what it has found so far.
pub(crate) struct Walk {
    owner: Owner,
    /// The snapshot and its length.
    pub(crate) snapshot: Option<(SnapshotMeta, u64)>,
    /// Of what is in it.
    pub(crate) digest: Digest,
    chunks: u64,
    pub(crate) segments: Vec<Segment>,
    /// Behind the last record that was handed on.
    pub(crate) seam: Seam,
    pub(crate) epochs: Vec<(Epoch, Index)>,
    pub(crate) bytes_since: u64,
    /// Records behind the snapshot.
    pub(crate) records: u64,
    pub(crate) tear: Option<Tear>,
    /// Whether records are handed on that the snapshot stands for.
    all_records: bool,
    /// Whether the first segment may begin anywhere.
    resumed: bool,
    /// What the visitor could not read.
    refused: Option<OpenError>,
}

impl Walk {
    pub(crate) fn new(owner: Owner) -> Self {
        Walk {
            owner,
            snapshot: None,
            digest: Digest::default(),
            chunks: 0,
            segments: Vec::new(),
            seam: Seam::default(),
            epochs: Vec::new(),
            bytes_since: 0,
            records: 0,
            tear: None,
            all_records: false,
            resumed: false,
            refused: None,
        }
    }

    /// Verifies the snapshot and hands it on.
    pub(crate) fn snapshot(
        &mut self,
        storage: &dyn Storage,
        visit: &mut Visit<'_>,
    ) -> Result<(), OpenError> {
        let mut reader = SnapshotReader::open(storage, SNAPSHOT_FILE, self.owner)?;
        let refused = |offset, what| OpenError::Unread { file: SNAPSHOT_FILE.into(), offset, what };
        let meta = reader.meta();
        visit(Item::Snapshot(meta)).map_err(|what| refused(0, what))?;
        loop {
            let offset = reader.offset();
            let Some(chunk) = reader.next_chunk(storage)? else { break };
            visit(Item::SnapshotChunk(chunk)).map_err(|what| refused(offset, what))?;
            self.chunks += 1;
        }
        visit(Item::SnapshotEnd).map_err(|what| refused(0, what))?;
        self.digest = reader.digest().unwrap_or_default();
        self.snapshot = Some((meta, storage.length(SNAPSHOT_FILE)?));
        Ok(())
    }

    /// Verifies the segments and hands on what follows the snapshot. False when they do not
    /// match a snapshot that may replace them; then nothing was handed on.
    pub(crate) fn segments(
        &mut self,
        storage: &dyn Storage,
        firsts: &[Index],
        visit: &mut Visit<'_>,
    ) -> Result<bool, OpenError> {
        for (place, &first) in firsts.iter().enumerate() {
            let last = place + 1 == firsts.len();
            if !self.segment(storage, first, last, visit)? {
                return self.mismatch(first, OTHER_RECORDS);
            }
        }
        let needed = self.snapshot.map_or(Index(0), |(meta, _)| meta.seam.index);
        match firsts.last() {
            Some(&last) if self.seam.index < needed => self.mismatch(last, ENDS_EARLY),
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    fn mismatch(&self, first: Index, what: &'static str) -> Result<bool, OpenError> {
        match self.snapshot.map(|(meta, _)| meta.origin) {
            Some(Origin::Peer) => Ok(false),
            Some(Origin::Own) | None => {
                let file = segment_name(first);
                Err(Damage { file, offset: FILE_HEADER_BYTES as u64, what }.into())
            }
        }
    }

    /// The next segment. False when it is of another journal than the snapshot.
    fn segment(
        &mut self,
        storage: &dyn Storage,
        first: Index,
        last: bool,
        visit: &mut Visit<'_>,
    ) -> Result<bool, OpenError> {
        let file = segment_name(first);
        let before = read_header(storage, &file, SEGMENT_MAGIC, self.owner)?;
        let damaged = |what| Err(Damage { file: file.clone(), offset: 0, what }.into());
        if before.next() != first {
            return damaged("its first index is not the one in its name");
        }
        let continues = match (self.segments.is_empty(), self.snapshot) {
            (false, _) => before == self.seam,
            (true, _) if self.resumed => true,
            (true, None) if before == Seam::default() => true,
            (true, None) => return damaged("the segment before it is missing"),
            (true, Some((meta, _))) if before.index == meta.seam.index => {
                if before != meta.seam {
                    return Ok(false);
                }
                true
            }
            (true, Some((meta, _))) if before.index < meta.seam.index => true,
            (true, Some(_)) => return damaged("the segment before it is missing"),
        };
        if !continues {
            return damaged("it does not continue what comes before it");
        }
        self.seam = before;
        self.segments.push(Segment::new(before));
        let ended = scan_log(storage, &file, before, &mut |group| self.group(&group, visit))?;
        match ended {
            Ended::Stopped => self.refused.take().map_or(Ok(false), Err),
            Ended::Whole => Ok(true),
            Ended::Bad { start, bad } if last && bad.tear => {
                self.tear = Some(judge(storage, &file, start, self.seam.next(), bad)?);
                Ok(true)
            }
            Ended::Bad { bad, .. } => Err(bad.damage(&file).into()),
        }
    }

    fn group(&mut self, group: &Group<'_>, visit: &mut Visit<'_>) -> ControlFlow<()> {
        let needed = self.snapshot.map(|(meta, _)| meta.seam);
        let Some(segment) = self.segments.last_mut() else { return ControlFlow::Break(()) };
        let mut offset = segment.length;
        for (header, payload) in group.frames() {
            let here = header.seam();
            if needed.is_some_and(|needed| needed.index == here.index && needed != here) {
                return ControlFlow::Break(());
            }
            let is_new = needed.is_none_or(|needed| here.index > needed.index);
            if is_new || self.all_records {
                if let Err(what) = visit(Item::Record(header.record(payload))) {
                    let file = segment.file.clone();
                    self.refused = Some(OpenError::Unread { file, offset, what });
                    return ControlFlow::Break(());
                }
            }
            if is_new {
                self.records += 1;
                self.bytes_since += header.frame_bytes() as u64;
            }
            if self.epochs.last().is_none_or(|&(epoch, _)| epoch != here.epoch) {
                self.epochs.push((here.epoch, here.index));
            }
            self.seam = here;
            offset += header.frame_bytes() as u64;
        }
        segment.grow(group.first, group.bytes.len() as u64);
        ControlFlow::Continue(())
    }
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
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
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
