//! Batches that become durable together, and how far they have.
//!
//! One write and one fdatasync of each log: promises first, then the journal, then the runs log. A
//! full disk stops it between two of these; it goes on there when it is written again.

use super::boot::Files;
use crate::ident::Ticket;
use crate::journal::{Record, WriteError, in_groups};
use crate::node::{Batch, Durable};
use crate::run::runs_log;
use crate::store::SCHEMA;

/// What a record takes in a file beside its payload, generously.
const FRAME_BYTES: usize = 128;

/// A group on its way to the disk.
#[derive(Debug)]
pub(super) struct Group {
    batches: Vec<Batch>,
    /// So many promises, records of the journal and records of the runs log are durable.
    promises: usize,
    records: usize,
    runs: usize,
}

impl Group {
    pub(super) fn new(batches: Vec<Batch>) -> Group {
        Group { batches, promises: 0, records: 0, runs: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Makes all of it durable that is not yet.
    ///
    /// # Errors
    /// After [`WriteError::NoSpace`] it may be called again.
    pub(super) fn write(&mut self, files: &mut Files) -> Result<(), WriteError> {
        let Files { storage, hard, hard_file, journal, runs } = files;
        let promises = self.batches.iter().filter_map(|batch| batch.promise);
        for (epoch, to) in promises.skip(self.promises) {
            hard.promised_epoch = epoch;
            hard.promised_to = Some(to);
            hard_file.store(storage, hard)?;
            self.promises += 1;
        }
        let raw = self.batches.iter().flat_map(|batch| &batch.records);
        let records: Vec<Record<'_>> = raw
            .skip(self.records)
            .map(|raw| Record {
                index: raw.index,
                epoch: raw.epoch,
                kind: raw.kind,
                schema: SCHEMA,
                payload: &raw.payload,
            })
            .collect();
        for part in in_groups(&records, Record::frame_bytes) {
            journal.append_group(storage, part)?;
            self.records += part.len();
        }
        let encoded: Vec<(u8, Vec<u8>)> = self
            .batches
            .iter()
            .flat_map(|batch| &batch.runs)
            .skip(self.runs)
            .map(|record| (record.kind(), record.encode()))
            .collect();
        let runs_records = raw_runs(&encoded);
        for part in in_groups(&runs_records, |record| record.payload.len() + FRAME_BYTES) {
            runs.append_group(storage, part)?;
            self.runs += part.len();
        }
        Ok(())
    }

    /// What is to be said of each batch when all is durable, in order.
    pub(super) fn completions(&self, files: &Files) -> impl Iterator<Item = Durable> + use<'_> {
        let all = Durable {
            ticket: Ticket::default(),
            journal_bytes: files.journal.bytes_since_snapshot(),
            snapshot_bytes: files.journal.snapshot_bytes(),
            runs_bytes: files.runs.bytes(),
            outputs_old: files.journal.outputs_old(),
        };
        self.batches.iter().map(move |batch| Durable { ticket: batch.ticket, ..all })
    }
}

pub(super) fn raw_runs(encoded: &[(u8, Vec<u8>)]) -> Vec<crate::journal::RunsRecord<'_>> {
    encoded
        .iter()
        .map(|(kind, payload)| crate::journal::RunsRecord {
            kind: *kind,
            schema: runs_log::SCHEMA,
            payload,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::boot;
    use crate::ident::{Epoch, Index, NodeId};
    use crate::node::Raw;
    use crate::run::runs_log::RunsRecord;

    /// A full disk may have stopped a group after any of its records.
    #[test]
    fn a_group_that_is_written_again_goes_on_where_it_stopped() {
        let temp = tempfile::tempdir().unwrap();
        let mut files = boot::open(temp.path()).unwrap().files;
        let first = files.journal.last().index.0 + 1;
        let batch = |ticket: u64| Batch {
            ticket: Ticket(ticket),
            promise: NodeId::new(7).map(|node| (Epoch(ticket), node)),
            records: (0..2)
                .map(|number| {
                    let index = Index(first + 2 * (ticket - 1) + number);
                    Raw { index, epoch: Epoch(ticket), kind: 1, payload: vec![0; 100] }
                })
                .collect(),
            runs: vec![RunsRecord::Epoch(Epoch(ticket))],
        };
        let mut group = Group::new(vec![batch(1), batch(2)]);
        // The first promise and the first record were written before.
        let head = Batch { records: batch(1).records[..1].to_vec(), runs: vec![], ..batch(1) };
        Group::new(vec![head]).write(&mut files).unwrap();
        (group.promises, group.records) = (1, 1);
        for _ in 0..2 {
            group.write(&mut files).unwrap();
            assert_eq!(files.journal.last().index, Index(first + 3));
            assert_eq!(files.hard.promised_epoch, Epoch(2));
            assert_eq!((group.promises, group.records, group.runs), (2, 4, 2));
        }
        let told: Vec<u64> = group.completions(&files).map(|durable| durable.ticket.0).collect();
        assert_eq!(told, [1, 2]);
        let bytes = files.runs.bytes();
        group.write(&mut files).unwrap();
        assert_eq!(files.runs.bytes(), bytes, "nothing is written twice");
    }
}
