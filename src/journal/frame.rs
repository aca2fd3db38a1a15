//! The bytes of one record. A log file (a segment, or the runs log) is a 64-byte header (see
//! [`super::segment`]) and then records without a gap, each a 44-byte header and its payload;
//! integers are little-endian.
//!
//! | at | bytes | field |
//! |---:|------:|-------|
//! |  0 | 4 | header crc: CRC-32 of bytes 4–43 |
//! |  4 | 4 | length of the payload, at most [`PAYLOAD_MAX_BYTES`] |
//! |  8 | 4 | payload crc: CRC-32 of the payload |
//! | 12 | 4 | chain: see below |
//! | 16 | 8 | index, one more than that of the record before |
//! | 24 | 8 | epoch, no lower than that of the record before |
//! | 32 | 8 | group: the index of the first record of the same write |
//! | 40 | 1 | kind, of which this room knows nothing |
//! | 41 | 1 | flags: 1 = last record of its group; other bits are 0 |
//! | 42 | 2 | schema: version of the payload's layout |
//! | 44 | length | payload |
//!
//! The chain is the CRC-32, continued from the record before (0 before the first), of index,
//! epoch, kind, schema, length and payload crc; it leaves group and flags out, because replicas
//! group as their disks allow, and so is equal on all of them. A group is what one write and one
//! sync made durable: all of it counts, or nothing. CRC-32 finds accidents, not attackers.
//! Model: leveldb's `log_format.md`.

use crate::codec::{Decoder, Encoder};
use crate::ident::{Epoch, Index};
use crc32fast::Hasher;

/// Longest payload of a record, in bytes: what a frame between nodes can carry beside what is said
/// of it. No record that is written comes near it.
pub const PAYLOAD_MAX_BYTES: usize = 1024 * 1024 - 4096;
/// Longest group, headers included, in bytes; the bound of every buffer here.
pub const GROUP_MAX_BYTES: usize = 2 * 1024 * 1024;
/// Highest index that is read; none that is written comes near it, and sums stay in range.
pub const INDEX_MAX: u64 = 1 << 62;
/// Length of a record's header, in bytes.
pub const RECORD_HEADER_BYTES: usize = 44;

const FLAG_LAST: u8 = 1;

/// A record as it is handed in and out; the payload is the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its place.
    pub index: Index,
    /// The epoch of the leader that made it.
    pub epoch: Epoch,
    /// What it is, to the rooms above.
    pub kind: u8,
    /// Version of the payload's layout.
    pub schema: u16,
    /// At most [`PAYLOAD_MAX_BYTES`].
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// How many bytes the record takes in a file.
    pub fn frame_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload.len()
    }
}

/// The end of a journal, or of a part of it: what the next record must continue. All zero
/// before the first record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seam {
    /// Index of the last record.
    pub index: Index,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its chain crc.
    pub chain: u32,
}

impl Seam {
    /// The index that the next record has.
    pub fn next(&self) -> Index {
        Index(self.index.0.saturating_add(1))
    }
}

/// A record's header, as decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) length: u32,
    pub(crate) payload_crc: u32,
    pub(crate) chain: u32,
    pub(crate) index: u64,
    pub(crate) epoch: u64,
    pub(crate) group: u64,
    pub(crate) kind: u8,
    pub(crate) last: bool,
    pub(crate) schema: u16,
}

impl Header {
    /// The header of `record`, which follows `before` in the group that starts at `group`.
    fn of(record: &Record<'_>, before: Seam, group: Index, last: bool) -> Header {
        let mut header = Header {
            length: record.payload.len() as u32,
            payload_crc: crc32fast::hash(record.payload),
            chain: 0,
            index: record.index.0,
            epoch: record.epoch.0,
            group: group.0,
            kind: record.kind,
            last,
            schema: record.schema,
        };
        header.chain = header.chain_after(before.chain);
        header
    }

    /// What the chain must be when that of the record before is `chain`.
    pub(crate) fn chain_after(&self, chain: u32) -> u32 {
        let mut hasher = Hasher::new_with_initial(chain);
        hasher.update(&self.index.to_le_bytes());
        hasher.update(&self.epoch.to_le_bytes());
        hasher.update(&[self.kind]);
        hasher.update(&self.schema.to_le_bytes());
        hasher.update(&self.length.to_le_bytes());
        hasher.update(&self.payload_crc.to_le_bytes());
        hasher.finalize()
    }

    /// The seam behind this record.
    pub(crate) fn seam(&self) -> Seam {
        Seam { index: Index(self.index), epoch: Epoch(self.epoch), chain: self.chain }
    }

    /// Length of the payload, in bytes.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.length as usize
    }

    /// Header and payload together, in bytes.
    pub(crate) fn frame_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload_bytes()
    }

    /// The record, with its `payload`.
    pub(crate) fn record<'a>(&self, payload: &'a [u8]) -> Record<'a> {
        Record {
            index: Index(self.index),
            epoch: Epoch(self.epoch),
            kind: self.kind,
            schema: self.schema,
            payload,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Encoder::with_capacity(RECORD_HEADER_BYTES);
        body.u32(self.length).u32(self.payload_crc).u32(self.chain);
        body.u64(self.index).u64(self.epoch).u64(self.group);
        body.u8(self.kind).u8(if self.last { FLAG_LAST } else { 0 }).u16(self.schema);
        let body = body.into_bytes();
        let mut out = Encoder::with_capacity(RECORD_HEADER_BYTES);
        out.u32(crc32fast::hash(&body)).raw(&body);
        out.into_bytes()
    }

    /// The header in the first bytes of `bytes`; `None` unless it is a whole and sound one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
        let mut input = Decoder::new(bytes);
        if input.u32().ok()? != crc32fast::hash(bytes.get(4..)?) {
            return None;
        }
        let length = input.u32().ok()?;
        let payload_crc = input.u32().ok()?;
        let chain = input.u32().ok()?;
        let index = input.u64().ok()?;
        let epoch = input.u64().ok()?;
        let group = input.u64().ok()?;
        let kind = input.u8().ok()?;
        let flags = input.u8().ok()?;
        let schema = input.u16().ok()?;
        let last = flags & FLAG_LAST != 0;
        let sound = length as usize <= PAYLOAD_MAX_BYTES
            && flags & !FLAG_LAST == 0
            && (1..=index).contains(&group)
            && index <= INDEX_MAX;
        let header = Header { length, payload_crc, chain, index, epoch, group, kind, last, schema };
        sound.then_some(header)
    }
}

/// Appends `records` to `out` as one group behind `before`, and returns the seam behind it.
///
/// # Panics
/// When the group is empty or over a limit, or does not continue `before`: a caller's mistake
/// that must not reach the disk.
pub(crate) fn encode_group(out: &mut Vec<u8>, before: Seam, records: &[Record<'_>]) -> Seam {
    let bytes: usize = records.iter().map(Record::frame_bytes).sum();
    assert!(!records.is_empty(), "a group holds a record");
    assert!(bytes <= GROUP_MAX_BYTES, "a group of {bytes} bytes is over the limit");
    let group = before.next();
    let mut seam = before;
    for (place, record) in records.iter().enumerate() {
        let length = record.payload.len();
        assert!(length <= PAYLOAD_MAX_BYTES, "a payload of {length} bytes is over the limit");
        assert!(record.index.0 == seam.index.0 + 1, "{:?} must follow {seam:?}", record.index);
        assert!(record.epoch >= seam.epoch, "{:?} must not follow {seam:?}", record.epoch);
        let header = Header::of(record, seam, group, place + 1 == records.len());
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(record.payload);
        seam = header.seam();
    }
    seam
}

/// Walks the records of a group whose bytes have been verified.
pub(crate) struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    pub(crate) fn new(verified: &'a [u8]) -> Self {
        Frames { rest: verified }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (Header, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = Header::decode(self.rest)?;
        let (frame, rest) = self.rest.split_at_checked(header.frame_bytes())?;
        self.rest = rest;
        Some((header, frame.get(RECORD_HEADER_BYTES..)?))
    }
}

/// `records` in parts that may each be a group: of at most half of [`GROUP_MAX_BYTES`], as `bytes`
/// says how long each is in a file, or of one record.
pub fn in_groups<T>(records: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut parts = Vec::new();
    let (mut from, mut sum) = (0, 0);
    for (at, record) in records.iter().enumerate() {
        let size = bytes(record);
        if at > from && sum + size > GROUP_MAX_BYTES / 2 {
            parts.push(&records[from..at]);
            (from, sum) = (at, 0);
        }
        sum += size;
    }
    if from < records.len() {
        parts.push(&records[from..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(index: u64, epoch: u64, payload: &[u8]) -> Record<'_> {
        Record { index: Index(index), epoch: Epoch(epoch), kind: 9, schema: 3, payload }
    }

    fn encoded(records: &[Record<'_>]) -> (Vec<u8>, Seam) {
        let mut out = Vec::new();
        let seam = encode_group(&mut out, Seam::default(), records);
        (out, seam)
    }

    #[test]
    fn a_group_is_read_as_it_was_written() {
        let records = [record(1, 1, b"one"), record(2, 1, b""), record(3, 5, b"three")];
        let (bytes, seam) = encoded(&records);
        let read: Vec<Record<'_>> = Frames::new(&bytes).map(|(h, p)| h.record(p)).collect();
        assert_eq!(read, records);
        let flags: Vec<(u64, bool)> = Frames::new(&bytes).map(|(h, _)| (h.group, h.last)).collect();
        assert_eq!(flags, [(1, false), (1, false), (1, true)]);
        assert_eq!((seam.index, seam.epoch), (Index(3), Epoch(5)));
    }

    #[test]
    fn the_layout_never_changes() {
        let (bytes, seam) = encoded(&[record(1, 2, b"hi")]);
        assert_eq!(bytes.len(), RECORD_HEADER_BYTES + 2);
        assert_eq!(bytes[4..8], [2, 0, 0, 0]);
        assert_eq!(bytes[16..44], {
            let mut rest = [0; 28];
            (rest[0], rest[8], rest[16], rest[24], rest[25], rest[26]) = (1, 2, 1, 9, 1, 3);
            rest
        });
        assert_eq!(crc32fast::hash(&bytes[4..44]).to_le_bytes(), bytes[..4]);
        assert_eq!(seam.chain.to_le_bytes(), bytes[12..16]);
    }

    #[test]
    fn the_chain_does_not_depend_on_the_grouping() {
        let (one, two) = (record(1, 1, b"a"), record(2, 1, b"b"));
        let (_, together) = encoded(&[one, two]);
        let (mut out, first) = encoded(&[one]);
        assert_eq!(encode_group(&mut out, first, &[two]), together);
        let (_, other) = encoded(&[one, record(2, 1, b"c")]);
        assert_ne!(other.chain, together.chain);
    }

    #[test]
    fn a_header_with_any_bit_flipped_or_a_byte_missing_is_refused() {
        let (bytes, _) = encoded(&[record(1, 1, b"")]);
        for bit in 0..RECORD_HEADER_BYTES * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_none(), "bit {bit}");
        }
        assert!(Header::decode(&bytes[..RECORD_HEADER_BYTES - 1]).is_none());
        assert!(Header::decode(&[0; RECORD_HEADER_BYTES]).is_none());
    }

    #[test]
    fn a_sound_crc_does_not_excuse_values_out_of_bounds() {
        let (bytes, _) = encoded(&[record(1, 1, b"")]);
        for (at, value) in [(5, 0xff), (41, 2), (32, 0), (32, 2)] {
            let mut bad = bytes.clone();
            bad[at] = value;
            let crc = crc32fast::hash(&bad[4..]);
            bad[..4].copy_from_slice(&crc.to_le_bytes());
            let refused = Header::decode(&bad).is_none();
            assert_eq!(refused, (at, value) != (5, 0xff), "byte {at} = {value}");
        }
        let mut long = bytes.clone();
        long[4..8].copy_from_slice(&(PAYLOAD_MAX_BYTES as u32 + 1).to_le_bytes());
        let crc = crc32fast::hash(&long[4..]);
        long[..4].copy_from_slice(&crc.to_le_bytes());
        assert!(Header::decode(&long).is_none());
    }

    #[test]
    fn what_breaks_a_limit_or_the_order_never_becomes_bytes() {
        let long = vec![0; PAYLOAD_MAX_BYTES + 1];
        let half = vec![0; PAYLOAD_MAX_BYTES];
        for (what, records) in [
            ("nothing", vec![]),
            ("too long a payload", vec![record(1, 1, &long)]),
            (
                "too large a group",
                vec![record(1, 1, &half), record(2, 1, &half), record(3, 1, &half)],
            ),
            ("a gap", vec![record(1, 1, b""), record(3, 1, b"")]),
            ("a lower epoch", vec![record(1, 2, b""), record(2, 1, b"")]),
        ] {
            assert!(std::panic::catch_unwind(|| encoded(&records)).is_err(), "{what}");
        }
        encoded(&[record(1, 1, &half)]);
    }

    #[test]
    fn groups_hold_everything_once_in_order_and_none_is_too_large() {
        let half = GROUP_MAX_BYTES / 2;
        for (sizes, counts) in [
            (vec![], vec![]),
            (vec![1], vec![1]),
            (vec![half, 1], vec![1, 1]),
            (vec![half - 1, 1, 1], vec![2, 1]),
            (vec![half + 5, 1], vec![1, 1]),
            (vec![1, half + 5, 1], vec![1, 1, 1]),
        ] {
            let found = in_groups(&sizes, |&size| size);
            assert_eq!(found.iter().map(|part| part.len()).collect::<Vec<_>>(), counts);
            assert_eq!(found.concat(), sizes);
        }
    }
}
