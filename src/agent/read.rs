//! What the disk thread reads: outputs of runs, records for followers that lag, and parts of the
//! snapshot for those that lack more. All of it is durable, so it goes on while nothing can be
//! written.

use super::disk::{Done, Thread, output_of};
use crate::cluster::APPEND_MAX_BYTES;
use crate::ident::{Index, NodeId, StreamId};
use crate::journal::{OpenError, Record, SnapshotReader};
use crate::node::{CHUNK_BYTES, PART_BYTES, Raw, SnapshotPart};

/// Something to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Read {
    /// What these records hold of the output of runs.
    Outputs(StreamId, Vec<Index>),
    /// Records from here on.
    Records(Index),
    /// A part of the snapshot at that index, for that node.
    Snapshot(NodeId, Index, u64),
}

/// A reader of the snapshot, and the part that it would read next.
#[derive(Debug)]
pub(super) struct PartEnd {
    next: u64,
    reader: SnapshotReader,
}

impl Thread {
    /// Reads, and says what was read.
    pub(super) fn read(&mut self, read: Read) {
        match read {
            Read::Outputs(stream, records) => self.read_outputs(stream, &records),
            Read::Records(from) => self.read_records(from),
            Read::Snapshot(to, index, part) => match self.read_part(index, part) {
                Ok(Some(part)) => self.say(Done::SnapshotPart(to, part)),
                // Whoever wants it asks again.
                Ok(None) => {}
                Err(error) => {
                    self.part_end = None;
                    self.say(Done::Remark("the snapshot cannot be read", error.to_string()));
                }
            },
        }
    }

    /// What can't be read is missing, which is said, and nothing more: it is of no need.
    fn read_outputs(&mut self, stream: StreamId, records: &[Index]) {
        let (storage, journal) = (&mut self.files.storage, &mut self.files.journal);
        let (mut outputs, mut wrong) = (Vec::with_capacity(records.len()), None);
        for &index in records {
            let output = journal.output(storage, index, &output_of);
            let output = output.unwrap_or_else(|error| {
                wrong = Some(error.to_string());
                None
            });
            outputs.push((index, output));
        }
        if let Some(why) = wrong {
            self.send(Done::Remark("the output of a run cannot be read", why));
        }
        self.say(Done::Outputs(stream, outputs));
    }

    /// Reads what a follower lacks. What can't be read is asked for again.
    fn read_records(&mut self, from: Index) {
        let mut records = Vec::new();
        let mut keep = |record: Record<'_>| {
            let Record { index, epoch, kind, payload, .. } = record;
            records.push(Raw { index, epoch, kind, payload: payload.to_vec() });
        };
        let (storage, journal) = (&self.files.storage, &self.files.journal);
        if let Err(error) = journal.read(storage, from, APPEND_MAX_BYTES, &mut keep) {
            self.send(Done::Remark("the journal cannot be read", error.to_string()));
        }
        self.say(Done::Records(records));
    }

    /// The part of that number of the snapshot at `index`, or the first of the one there is.
    fn read_part(&mut self, index: Index, part: u64) -> Result<Option<SnapshotPart>, OpenError> {
        let (storage, journal) = (&self.files.storage, &self.files.journal);
        let (Some(meta), Some(digest)) = (journal.snapshot(), journal.snapshot_digest()) else {
            return Ok(None);
        };
        let number = if meta.seam.index == index { part } else { 0 };
        let here = |end: &PartEnd| end.next == number && end.reader.meta() == meta;
        let PartEnd { mut next, mut reader } = match self.part_end.take().filter(here) {
            Some(end) => end,
            None => match journal.snapshot_reader(storage)? {
                Some(reader) => PartEnd { next: 0, reader },
                None => return Ok(None),
            },
        };
        // After an interruption: what was sent before is read over.
        loop {
            let (mut chunks, mut bytes, mut is_last) = (Vec::new(), 0, false);
            while bytes < PART_BYTES {
                let Some(chunk) = reader.next_chunk(storage)? else {
                    is_last = true;
                    break;
                };
                bytes += CHUNK_BYTES + chunk.len();
                chunks.push(chunk.to_vec());
            }
            let is_it = next == number;
            next += 1;
            if is_it {
                self.part_end = (!is_last).then_some(PartEnd { next, reader });
                let seam = meta.seam;
                return Ok(Some(SnapshotPart { seam, digest, number, chunks, is_last }));
            }
            if is_last {
                return Ok(None);
            }
        }
    }
}
