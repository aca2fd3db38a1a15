//! Log files: their names, their header, and how one comes to be.
//!
//! The header (64 bytes, little-endian) is the same for a journal segment and for the runs log;
//! magic, version and the place of the crc stay what they are in every later format, so that an
//! old program says "newer" and not "damaged".
//!
//! | at | bytes | field |
//! |---:|------:|-------|
//! |  0 | 8 | magic: `bwjournl` or `bwrunlog` |
//! |  8 | 4 | version: [`FORMAT_VERSION`] |
//! | 12 | 4 | chain at the seam |
//! | 16 | 8 | cluster id (0 in the runs log) |
//! | 24 | 8 | store id |
//! | 32 | 8 | index of the first record |
//! | 40 | 8 | epoch at the seam |
//! | 48 | 12 | zero |
//! | 60 | 4 | CRC-32 of bytes 0–59 |

use super::error::{Damage, OpenError};
use super::frame::{INDEX_MAX, Seam};
use super::storage::{Storage, Stored, copy, replace};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{ClusterId, Epoch, Index, StoreId};

/// The format of every file of this room.
pub const FORMAT_VERSION: u32 = 1;
/// Length of the header of a log file and of a snapshot, in bytes.
pub const FILE_HEADER_BYTES: usize = 64;

/// Magic of a journal segment.
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"bwjournl";
/// Where a segment is made before it gets its name.
pub(crate) const SEGMENT_BESIDE: &str = "journal/segment.tmp";

const FOLDER: &str = "journal/";
/// Distance in bytes between two marks; what a read at an index has to skip at most, and a group.
const MARK_BYTES: u64 = 64 * 1024;

/// Whose files these are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The cluster; 0 for what does not belong to one.
    pub cluster: ClusterId,
    /// The data directory.
    pub store: StoreId,
}

/// The name of the segment whose first record is `first`: 16 hex digits in the journal's folder.
pub(crate) fn segment_name(first: Index) -> String {
    format!("{FOLDER}{:016x}", first.0)
}

/// The index in a segment's name; `None` for every other name.
pub(crate) fn parse_segment_name(name: &str) -> Option<Index> {
    let digits = name.strip_prefix(FOLDER)?;
    let first = Index(u64::from_str_radix(digits, 16).ok()?);
    (segment_name(first) == name).then_some(first)
}

/// A segment as the journal remembers it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: String,
    pub(crate) first: Index,
    /// What its first record continues.
    pub(crate) before: Seam,
    /// Bytes that count; only what a failed write left can lie behind them.
    pub(crate) length: u64,
    /// Index and offset of the starts of some groups, in order, the first group's included.
    marks: Vec<(Index, u64)>,
}

impl Segment {
    /// A segment without records, whose first will continue `before`.
    pub(crate) fn new(before: Seam) -> Self {
        let (first, length) = (before.next(), FILE_HEADER_BYTES as u64);
        Segment { file: segment_name(first), first, before, length, marks: Vec::new() }
    }

    /// Notes that the group from `first` on lies in the next `bytes` bytes.
    pub(crate) fn grow(&mut self, first: Index, bytes: u64) {
        let due = self.marks.last().is_none_or(|&(_, at)| self.length >= at + MARK_BYTES);
        if due {
            self.marks.push((first, self.length));
        }
        self.length += bytes;
    }

    /// Whether it holds no record.
    pub(crate) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Where a group starts that lies at or before `index`.
    pub(crate) fn offset_before(&self, index: Index) -> u64 {
        let after = self.marks.partition_point(|&(first, _)| first <= index);
        let mark = after.checked_sub(1).and_then(|at| self.marks.get(at));
        mark.map_or(FILE_HEADER_BYTES as u64, |&(_, offset)| offset)
    }

    /// Makes the file: complete and durable before it gets its name.
    pub(crate) fn create(&self, storage: &mut dyn Storage, owner: Owner) -> Stored<()> {
        let header = encode_header(SEGMENT_MAGIC, owner, self.before);
        replace(storage, SEGMENT_BESIDE, &self.file, &mut |storage| {
            storage.append(SEGMENT_BESIDE, &header)
        })
    }
}

/// The header of a log file whose first record follows `seam`.
pub(crate) fn encode_header(magic: [u8; 8], owner: Owner, seam: Seam) -> Vec<u8> {
    let mut out = Encoder::new();
    out.raw(&magic).u32(FORMAT_VERSION).u32(seam.chain);
    out.u64(owner.cluster.0).u64(owner.store.0);
    out.u64(seam.next().0).u64(seam.epoch.0).raw(&[0; 12]);
    seal(out)
}

/// Reads the header of the log file `file` and returns the seam that it continues.
///
/// # Errors
/// When it is damaged, newer than this program, or another owner's.
pub(crate) fn read_header(
    storage: &dyn Storage,
    file: &str,
    magic: [u8; 8],
    owner: Owner,
) -> Result<Seam, OpenError> {
    let (found, seam) = read_any_header(storage, file, magic)?;
    if found != owner {
        return Err(OpenError::Foreign { file: file.to_owned() });
    }
    Ok(seam)
}

/// The same for a file of whatever owner.
pub(crate) fn read_any_header(
    storage: &dyn Storage,
    file: &str,
    magic: [u8; 8],
) -> Result<(Owner, Seam), OpenError> {
    let (bytes, length) = read_start(storage, file)?;
    let mut input = open_sealed(file, bytes.get(..length).unwrap_or_default(), magic)?;
    let fields = (|| {
        let chain = input.u32()?;
        let found = Owner { cluster: ClusterId(input.u64()?), store: StoreId(input.u64()?) };
        Ok::<_, DecodeError>((chain, found, input.u64()?, Epoch(input.u64()?)))
    })();
    let damaged = |what| Damage { file: file.to_owned(), offset: 0, what };
    let Ok((chain, found, first, epoch)) = fields else {
        return Err(damaged("its header ends too early").into());
    };
    let Some(index) = first.checked_sub(1).filter(|&index| index <= INDEX_MAX) else {
        return Err(damaged("its first index is none that is written").into());
    };
    Ok((found, Seam { index: Index(index), epoch, chain }))
}

/// The first [`FILE_HEADER_BYTES`] of a file, and how many there were.
pub(crate) fn read_start(
    storage: &dyn Storage,
    file: &str,
) -> Stored<([u8; FILE_HEADER_BYTES], usize)> {
    let mut bytes = [0; FILE_HEADER_BYTES];
    let length = storage.read_at(file, 0, &mut bytes)?;
    Ok((bytes, length))
}

/// Ends a header: pads nothing, appends the crc of all before it.
pub(crate) fn seal(header: Encoder) -> Vec<u8> {
    let mut bytes = header.into_bytes();
    assert!(bytes.len() + 4 == FILE_HEADER_BYTES, "a header has its fixed length");
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Checks length, crc, magic and version of a header, in this order, so that a flipped bit is
/// never reported as a newer format; the fields behind the version are left to read.
pub(crate) fn open_sealed<'a>(
    file: &str,
    header: &'a [u8],
    magic: [u8; 8],
) -> Result<Decoder<'a>, OpenError> {
    let damaged = |offset: usize, what| {
        OpenError::from(Damage { file: file.to_owned(), offset: offset as u64, what })
    };
    let short = |_| damaged(header.len(), "its header ends too early");
    let mut input = Decoder::new(header);
    let body = input.raw(FILE_HEADER_BYTES - 4).map_err(short)?;
    if input.u32().map_err(short)? != crc32fast::hash(body) {
        return Err(damaged(0, "the checksum of its header is wrong"));
    }
    let mut input = Decoder::new(body);
    if input.raw(magic.len()).map_err(short)? != magic {
        return Err(damaged(0, "it does not begin as such a file does"));
    }
    match input.u32().map_err(short)? {
        FORMAT_VERSION => Ok(input),
        version if version > FORMAT_VERSION => {
            Err(OpenError::Newer { file: file.to_owned(), version })
        }
        _ => Err(damaged(8, "its format version was never in use")),
    }
}

/// Rewrites the first `length` bytes of the log file `file` durably, by way of `beside`; `patch`
/// goes in place of the bytes at its offset. Bytes read at a start may exist only in the page
/// cache, and a failed fsync of an earlier process would not be reported again: only a copy that
/// was itself synced is known to be on the disk.
pub(crate) fn rewrite(
    storage: &mut dyn Storage,
    file: &str,
    beside: &str,
    length: u64,
    patch: Option<(u64, &[u8])>,
) -> Stored<()> {
    replace(storage, beside, file, &mut |storage| {
        let Some((offset, bytes)) = patch else {
            return copy(storage, file, beside, 0, length);
        };
        copy(storage, file, beside, 0, offset)?;
        storage.append(beside, bytes)?;
        copy(storage, file, beside, offset + bytes.len() as u64, length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_name_is_a_segments() {
        assert_eq!(segment_name(Index(0x1f)), "journal/000000000000001f");
        for (name, first) in [
            ("journal/000000000000001f", Some(Index(0x1f))),
            ("journal/000000000000001F", None),
            ("journal/+00000000000001f", None),
            ("journal/1f", None),
            ("journal/", None),
            ("journal/segment.tmp", None),
            ("000000000000001f", None),
        ] {
            assert_eq!(parse_segment_name(name), first, "{name}");
        }
    }

    #[test]
    fn marks_lie_a_distance_apart_and_before_what_is_sought() {
        let mut segment = Segment::new(Seam { index: Index(9), ..Seam::default() });
        assert_eq!(segment.offset_before(Index(10)), 64);
        for group in 0..10 {
            segment.grow(Index(10 + group), 30_000);
        }
        assert_eq!(segment.marks.len(), 4);
        assert_eq!(segment.offset_before(Index(12)), 64);
        assert_eq!(segment.offset_before(Index(13)), 64 + 90_000);
        assert_eq!(segment.offset_before(Index(u64::MAX)), 64 + 270_000);
    }
}
