//! What runs printed last, kept when the segments that told of it are removed.
//!
//! Before a segment goes, what its records hold of output is copied to a *tail file* named after
//! its first index, complete and durable under that name. Such files are bounded in bytes: beyond,
//! the oldest become one that keeps only what is asked for. They are of use but not of need, so
//! what can't be read of one is missing, and nothing more.
//!
//! A file is the header of [`super::segment`] with the magic `bwtails\0`, then frames in order of
//! index: crc (4) of all that follows it in the frame, length (4), index (8), bytes.

use super::error::OpenError;
use super::frame::{PAYLOAD_MAX_BYTES, Record, Seam};
use super::reader::{GroupReader, Step};
use super::segment::{FILE_HEADER_BYTES, Owner, Segment, encode_header, read_header};
use super::storage::{Storage, Stored, remove_if_there};
use crate::codec::Encoder;
use crate::ident::Index;
use std::ops::ControlFlow;

/// Bytes that all tail files have together before the oldest are thinned out.
pub const TAILS_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Where one is written before it gets its name.
pub(crate) const TAILS_BESIDE: &str = "journal/tails.tmp";

const PREFIX: &str = "journal/tails-";
const MAGIC: [u8; 8] = *b"bwtails\0";
const FRAME_HEADER_BYTES: usize = 16;
/// Distance of the places that are remembered of a file.
const MARK_BYTES: u64 = 64 * 1024;
/// How much of a segment is copied, or of a file looked through, at once.
const STEP_BYTES: u64 = 1024 * 1024;

/// Gives what a record holds of the output of a run; `None` or nothing for most.
pub type Extract<'e> = &'e dyn for<'r> Fn(&Record<'r>) -> Option<&'r [u8]>;

/// What is to become of output while segments are removed.
#[derive(Clone, Copy)]
pub struct Outputs<'a> {
    /// What a record holds of it.
    pub extract: Extract<'a>,
    /// The records, in order, that are kept of those before `keep_before`.
    pub keep: &'a [Index],
    /// Up to where only those are kept, exclusive; 0 keeps all.
    pub keep_before: Index,
}

/// All tail files, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    files: Vec<TailFile>,
    max_bytes: u64,
}

#[derive(Debug)]
struct TailFile {
    name: String,
    first: Index,
    bytes: u64,
    /// Places of some frames, in order; made when they are first needed.
    marks: Option<Vec<(Index, u64)>>,
}

impl Tails {
    /// The files that are there.
    pub(crate) fn open(storage: &mut dyn Storage, max_bytes: u64) -> Stored<Tails> {
        remove_if_there(storage, TAILS_BESIDE)?;
        let mut tails = Tails { files: Vec::new(), max_bytes };
        for name in storage.list()? {
            if let Some(first) = parse_name(&name) {
                tails.add(first, storage.length(&name)?);
            }
        }
        Ok(tails)
    }

    /// Up to which record, exclusive, output should be thinned out; 0 while there is room.
    pub(crate) fn old(&self) -> Index {
        let mut bytes: u64 = self.files.iter().map(|file| file.bytes).sum();
        if bytes <= self.max_bytes {
            return Index(0);
        }
        let mut after = Index(0);
        for pair in self.files.windows(2) {
            bytes -= pair[0].bytes;
            after = pair[1].first;
            if bytes <= self.max_bytes / 2 {
                break;
            }
        }
        after
    }

    /// What is kept of the record at `index`.
    pub(crate) fn get(
        &mut self,
        storage: &dyn Storage,
        owner: Owner,
        index: Index,
    ) -> Result<Option<Vec<u8>>, OpenError> {
        let after = self.files.partition_point(|file| file.first <= index);
        let Some(file) = after.checked_sub(1).and_then(|at| self.files.get_mut(at)) else {
            return Ok(None);
        };
        let marks = match &file.marks {
            Some(marks) => marks,
            None => {
                read_header(storage, &file.name, MAGIC, owner)?;
                file.marks.insert(marks_of(storage, &file.name)?)
            }
        };
        let near = marks.partition_point(|&(first, _)| first <= index);
        let Some(&(_, offset)) = near.checked_sub(1).and_then(|at| marks.get(at)) else {
            return Ok(None);
        };
        let mut place = None;
        walk(storage, &file.name, offset, &mut |frame| {
            place = (frame.index == index).then_some(frame);
            if frame.index < index { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(place.map(|frame| frame.read(storage, &file.name)).transpose()?.flatten())
    }

    fn add(&mut self, first: Index, bytes: u64) {
        self.files.retain(|file| file.first != first);
        let at = self.files.partition_point(|file| file.first < first);
        self.files.insert(at, TailFile { name: tails_name(first), first, bytes, marks: None });
    }

    /// How many of the oldest files lie wholly before `index`.
    fn before(&self, index: Index) -> usize {
        let next = self.files.iter().skip(1).map(|file| file.first);
        next.take_while(|&first| first <= index).count()
    }
}

/// Makes one tail file, in steps.
#[derive(Debug)]
pub(crate) enum Copying {
    /// Of a segment, from this offset on; the count is of bytes written so far.
    Segment(u64, u64),
    /// Of the oldest files, of which so many are done.
    Files(usize, u64),
}

impl Copying {
    /// Begins with a segment.
    pub(crate) fn segment() -> Copying {
        Copying::Segment(FILE_HEADER_BYTES as u64, 0)
    }

    /// Begins with the oldest files.
    pub(crate) fn files() -> Copying {
        Copying::Files(0, 0)
    }

    /// Goes on with `segment`; true when its file is durable under its name, or it needs none.
    pub(crate) fn step_segment(
        &mut self,
        storage: &mut dyn Storage,
        (tails, owner): (&mut Tails, Owner),
        segment: &Segment,
        extract: Extract<'_>,
    ) -> Result<bool, OpenError> {
        let Copying::Segment(offset, written) = self else { return Ok(true) };
        let start = *offset;
        let (mut frames, mut ended) = (Encoder::new(), false);
        let mut reader = GroupReader::new(storage, &segment.file, start, None)?;
        reader = reader.up_to(segment.length);
        while reader.offset() - start < STEP_BYTES && !ended {
            match reader.next()? {
                Step::Group(group) => {
                    for record in group.records() {
                        let output = extract(&record).filter(|output| !output.is_empty());
                        output.into_iter().for_each(|o| put_frame(&mut frames, record.index, o));
                    }
                }
                Step::End => ended = true,
                Step::Bad(bad) => return Err(bad.damage(&segment.file).into()),
            }
        }
        *offset = reader.offset();
        append(storage, owner, segment.before, written, &frames.into_bytes())?;
        if ended && *written > 0 {
            name_it(storage, tails, segment.first, *written)?;
        }
        Ok(ended)
    }

    /// Goes on with the files before `outputs.keep_before`; true when one stands in their place.
    pub(crate) fn step_files(
        &mut self,
        storage: &mut dyn Storage,
        (tails, owner): (&mut Tails, Owner),
        outputs: &Outputs<'_>,
    ) -> Result<bool, OpenError> {
        let Copying::Files(done, written) = self else { return Ok(true) };
        let old = tails.before(outputs.keep_before);
        if let Some(file) = tails.files.get(*done).filter(|_| *done < old) {
            // The newest are kept, if there are too many even of those.
            let budget = (tails.max_bytes / 2).saturating_sub(*written);
            let frames = kept_frames(storage, &file.name, outputs.keep, budget)?;
            let before = Seam { index: Index(file.first.0.saturating_sub(1)), ..Seam::default() };
            append(storage, owner, before, written, &frames)?;
            *done += 1;
            return Ok(false);
        }
        let Some(first) = tails.files.first().map(|file| file.first).filter(|_| old > 0) else {
            return Ok(true);
        };
        let gone: Vec<String> = tails.files.drain(..old).map(|file| file.name).collect();
        let named = *written > 0;
        if named {
            name_it(storage, tails, first, *written)?;
        }
        for name in gone.iter().skip(usize::from(named)) {
            remove_if_there(storage, name)?;
        }
        Ok(true)
    }
}

/// A frame's place in its file.
#[derive(Clone, Copy, Debug)]
struct Frame {
    crc: u32,
    index: Index,
    offset: u64,
    length: usize,
}

impl Frame {
    /// Its bytes, if they are what was written.
    fn read(&self, storage: &dyn Storage, name: &str) -> Stored<Option<Vec<u8>>> {
        let mut bytes = vec![0; self.length];
        let read = storage.read_at(name, self.offset + FRAME_HEADER_BYTES as u64, &mut bytes)?;
        let whole = read == bytes.len() && crc(self.index, &bytes) == self.crc;
        Ok(whole.then_some(bytes))
    }
}

/// Shows the frames of a file from `offset` on; ends early where there is none.
fn walk(
    storage: &dyn Storage,
    name: &str,
    mut offset: u64,
    visit: &mut dyn FnMut(Frame) -> ControlFlow<()>,
) -> Stored<()> {
    let (mut block, mut start) = (vec![0; MARK_BYTES as usize], offset);
    let mut filled = storage.read_at(name, start, &mut block)?;
    loop {
        let at = (offset - start) as usize;
        if at + FRAME_HEADER_BYTES > filled {
            start = offset;
            filled = storage.read_at(name, start, &mut block)?;
            if filled < FRAME_HEADER_BYTES {
                return Ok(());
            }
            continue;
        }
        let word = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&block[at + from..at + from + 8]);
            u64::from_le_bytes(bytes)
        };
        let (crc, length, index) = (word(0) as u32, (word(0) >> 32) as usize, Index(word(8)));
        if length > PAYLOAD_MAX_BYTES || visit(Frame { crc, index, offset, length }).is_break() {
            return Ok(());
        }
        offset += (FRAME_HEADER_BYTES + length) as u64;
    }
}

fn marks_of(storage: &dyn Storage, name: &str) -> Stored<Vec<(Index, u64)>> {
    let mut marks: Vec<(Index, u64)> = Vec::new();
    walk(storage, name, FILE_HEADER_BYTES as u64, &mut |frame| {
        if marks.last().is_none_or(|&(_, at)| frame.offset >= at + MARK_BYTES) {
            marks.push((frame.index, frame.offset));
        }
        ControlFlow::Continue(())
    })?;
    Ok(marks)
}

/// The frames of the records `keep`, newest first as far as they fit, then in order.
fn kept_frames(
    storage: &dyn Storage,
    name: &str,
    keep: &[Index],
    mut budget: u64,
) -> Stored<Vec<u8>> {
    let mut found = Vec::new();
    walk(storage, name, FILE_HEADER_BYTES as u64, &mut |frame| {
        if keep.binary_search(&frame.index).is_ok() {
            found.push(frame);
        }
        ControlFlow::Continue(())
    })?;
    let fits = |frame: &&Frame| {
        let left = budget.checked_sub((FRAME_HEADER_BYTES + frame.length) as u64);
        budget = left.unwrap_or(0);
        left.is_some()
    };
    let mut newest: Vec<&Frame> = found.iter().rev().take_while(fits).collect();
    newest.reverse();
    let mut frames = Encoder::new();
    for frame in newest {
        if let Some(bytes) = frame.read(storage, name)? {
            put_frame(&mut frames, frame.index, &bytes);
        }
    }
    Ok(frames.into_bytes())
}

/// Appends to the file that is being made; nothing makes none.
fn append(
    storage: &mut dyn Storage,
    owner: Owner,
    before: Seam,
    written: &mut u64,
    frames: &[u8],
) -> Stored<()> {
    if frames.is_empty() {
        return Ok(());
    }
    if *written == 0 {
        remove_if_there(storage, TAILS_BESIDE)?;
        storage.create_new(TAILS_BESIDE)?;
        let header = encode_header(MAGIC, owner, before);
        storage.append(TAILS_BESIDE, &header)?;
        *written = header.len() as u64;
    }
    storage.append(TAILS_BESIDE, frames)?;
    *written += frames.len() as u64;
    Ok(())
}

/// Makes the file durable, under its name.
fn name_it(storage: &mut dyn Storage, tails: &mut Tails, first: Index, bytes: u64) -> Stored<()> {
    storage.sync_data(TAILS_BESIDE)?;
    let name = tails_name(first);
    storage.rename(TAILS_BESIDE, &name)?;
    storage.sync_dir_of(&name)?;
    tails.add(first, bytes);
    Ok(())
}

fn put_frame(out: &mut Encoder, index: Index, bytes: &[u8]) {
    out.u32(crc(index, bytes)).u32(bytes.len() as u32).u64(index.0).raw(bytes);
}

fn crc(index: Index, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(bytes.len() as u32).to_le_bytes());
    hasher.update(&index.0.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn tails_name(first: Index) -> String {
    format!("{PREFIX}{:016x}", first.0)
}

fn parse_name(name: &str) -> Option<Index> {
    let first = Index(u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()?);
    (tails_name(first) == name).then_some(first)
}
