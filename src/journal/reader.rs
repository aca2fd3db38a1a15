//! Reads a log file group by group and checks every byte of it.
//!
//! It owns a window over one file, at most a group and a read-ahead long, and never changes
//! anything. What is wrong is said as a [`Bad`] with its place; whether that is a tear or damage
//! is for [`super::recovery`] to judge.

use super::error::Damage;
use super::frame::{Frames, GROUP_MAX_BYTES, Header, RECORD_HEADER_BYTES, Record, Seam};
use super::storage::{Storage, Stored};
use crate::ident::Index;

const READ_AHEAD_BYTES: usize = 256 * 1024;

/// Yields the groups of a log file.
pub(crate) struct GroupReader<'s> {
    window: Window<'s>,
    offset: u64,
    seam: Option<Seam>,
}

/// What lies next in a log file.
pub(crate) enum Step<'a> {
    /// A whole group, verified.
    Group(Group<'a>),
    /// The end of the file, at the end of a group.
    End,
    /// Something else.
    Bad(Bad),
}

/// A verified group.
pub(crate) struct Group<'a> {
    /// Index of its first record.
    pub(crate) first: Index,
    /// The seam behind it.
    pub(crate) seam: Seam,
    /// Its frames.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Group<'a> {
    /// Its records with their headers.
    pub(crate) fn frames(&self) -> Frames<'a> {
        Frames::new(self.bytes)
    }

    /// Its records.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        self.frames().map(|(header, payload)| header.record(payload))
    }
}

/// The first place where a file is not a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bad {
    /// Where, in bytes from the file's start.
    pub(crate) offset: u64,
    /// What is wrong.
    pub(crate) what: &'static str,
    /// Whether a write that was cut short can look like this. A record whose checksums are right
    /// and which lies at a wrong place cannot.
    pub(crate) tear: bool,
}

impl Bad {
    /// The same, as an error about `file`.
    pub(crate) fn damage(&self, file: &str) -> Damage {
        Damage { file: file.to_owned(), offset: self.offset, what: self.what }
    }
}

impl<'s> GroupReader<'s> {
    /// A reader of `file` from `offset`, the start of a group. With a `seam`, the first record
    /// must continue it; without, its index, epoch and chain are taken as they are.
    pub(crate) fn new(
        storage: &'s dyn Storage,
        file: &'s str,
        offset: u64,
        seam: Option<Seam>,
    ) -> Stored<Self> {
        let length = storage.length(file)?;
        let window = Window { storage, file, length, start: 0, bytes: Vec::new() };
        Ok(GroupReader { window, offset, seam })
    }

    /// Treats the file as `length` bytes long, if it is longer.
    pub(crate) fn up_to(mut self, length: u64) -> Self {
        self.window.length = self.window.length.min(length);
        self
    }

    /// Where the next group starts: behind all that was yielded.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next group. After [`Step::Bad`] or [`Step::End`] it says the same again.
    pub(crate) fn next(&mut self) -> Stored<Step<'_>> {
        let start = self.offset;
        let (mut at, mut seam, mut first) = (start, self.seam, None);
        loop {
            let header = match self.record_at(at, seam, first)? {
                Found::Record(header) => header,
                Found::Nothing if first.is_none() => return Ok(Step::End),
                Found::Nothing => return Ok(bad(at, "the file ends inside a group", true)),
                Found::Bad(bad) => return Ok(Step::Bad(bad)),
            };
            at += header.frame_bytes() as u64;
            if at - start > GROUP_MAX_BYTES as u64 {
                return Ok(bad(start, "a group is longer than any that is written", false));
            }
            seam = Some(header.seam());
            let first = *first.get_or_insert(header.group);
            if header.last {
                self.offset = at;
                self.seam = seam;
                let bytes = self.window.at(start, (at - start) as usize)?;
                let group = Group { first: Index(first), seam: header.seam(), bytes };
                return Ok(Step::Group(group));
            }
        }
    }

    fn record_at(&mut self, at: u64, seam: Option<Seam>, group: Option<u64>) -> Stored<Found> {
        let bytes = self.window.at(at, RECORD_HEADER_BYTES)?;
        let bad = |what, tear| Ok(Found::Bad(Bad { offset: at, what, tear }));
        if bytes.is_empty() {
            return Ok(Found::Nothing);
        }
        let Some(header) = Header::decode(bytes) else {
            return bad("a record's header is not whole", true);
        };
        let payload_at = at + RECORD_HEADER_BYTES as u64;
        let payload = self.window.at(payload_at, header.payload_bytes())?;
        let whole = payload.len() == header.payload_bytes();
        if !whole || crc32fast::hash(payload) != header.payload_crc {
            return bad("a record's payload is not whole", true);
        }
        if header.group != group.unwrap_or(header.index) {
            return bad("a record is not of the group it lies in", false);
        }
        if let Some(seam) = seam {
            if header.index != seam.next().0 {
                return bad("a record has another index than the next", false);
            }
            if header.epoch < seam.epoch.0 {
                return bad("a record has a lower epoch than the one before", false);
            }
            if header.chain != header.chain_after(seam.chain) {
                return bad("a record does not continue the chain", false);
            }
        }
        Ok(Found::Record(header))
    }
}

enum Found {
    Record(Header),
    Nothing,
    Bad(Bad),
}

fn bad(offset: u64, what: &'static str, tear: bool) -> Step<'static> {
    Step::Bad(Bad { offset, what, tear })
}

/// A part of a file in memory.
struct Window<'s> {
    storage: &'s dyn Storage,
    file: &'s str,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The `count` bytes from `offset`; fewer at the end of the file.
    fn at(&mut self, offset: u64, count: usize) -> Stored<&[u8]> {
        let count = self.length.saturating_sub(offset).min(count as u64) as usize;
        let end = offset + count as u64;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let rest = self.length.saturating_sub(offset);
            let wanted = rest.min(count.max(READ_AHEAD_BYTES) as u64) as usize;
            self.bytes.resize(wanted, 0);
            self.start = offset;
            let read = self.storage.read_at(self.file, offset, &mut self.bytes)?;
            self.bytes.truncate(read);
        }
        let from = (offset - self.start) as usize;
        let to = (from + count).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }
}
