//! Batches that become durable together, and how far they have.
//!
//! One write and one fdatasync of each log: promises first, then the journal, then the runs log. A
//! full disk stops it between two of these; it goes on there when it is written again.

use super::boot::Files;
use super::space::Room;
use crate::ident::{Index, Ticket};
use crate::journal::{Blocks, Record, Storage, WriteError, in_groups};
use crate::node::{Batch, Durable, Raw};
use crate::run::runs_log;
use crate::store::SCHEMA;

/// What a record takes in a file beside its payload, generously.
const FRAME_BYTES: usize = 128;

/// A group on its way to the disk.
#[derive(Debug)]
pub(super) struct Group {
    batches: Vec<Batch>,
    /// So many promises, cuts and records of the journal, and records of the runs log are durable.
    promises: usize,
    cuts: usize,
    records: usize,
    runs: usize,
}

impl Group {
    pub(super) fn new(batches: Vec<Batch>) -> Group {
        Group { batches, promises: 0, cuts: 0, records: 0, runs: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Makes all of it durable that is not yet; when there is no room, once more with what can be
    /// given up: the ballast, and a snapshot if one is being written. Returns whether that was.
    ///
    /// # Errors
    /// After [`WriteError::NoSpace`] it may be called again.
    pub(super) fn write_somehow<S: Blocks>(
        &mut self,
        files: &mut Files<S>,
        room: &mut Room,
        has_snapshot: bool,
    ) -> (Result<(), WriteError>, bool) {
        match self.write(files) {
            Err(WriteError::NoSpace) => {}
            done => return (done, false),
        }
        let has_room = room.release(&mut files.storage) || has_snapshot;
        if has_snapshot {
            if let Err(error) = files.journal.snapshot_abort(&mut files.storage) {
                return (Err(error), false);
            }
        }
        let done = if has_room { self.write(files) } else { Err(WriteError::NoSpace) };
        (done, has_snapshot)
    }

    /// Makes all of it durable that is not yet.
    ///
    /// # Errors
    /// After [`WriteError::NoSpace`] it may be called again.
    fn write<S: Storage>(&mut self, files: &mut Files<S>) -> Result<(), WriteError> {
        let Files { storage, hard, hard_file, journal, runs } = files;
        let promises = self.batches.iter().filter_map(|batch| batch.promise);
        for promise in promises.skip(self.promises) {
            (hard.promised_epoch, hard.promised_to) = (promise.epoch, promise.to);
            hard_file.store(storage, hard)?;
            self.promises += 1;
        }
        while let Some((cut, records)) = next_run(&self.batches, self.cuts, self.records) {
            if let Some(keep) = cut {
                journal.truncate_from(storage, Index(keep.0 + 1))?;
                self.cuts += 1;
            }
            for part in in_groups(&records, Record::frame_bytes) {
                journal.append_group(storage, part)?;
                self.records += part.len();
            }
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
    pub(super) fn completions<S>(
        &self,
        files: &Files<S>,
    ) -> impl Iterator<Item = Durable> + use<'_, S> {
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

/// What of `batches` is to be done next with the journal, after so many cuts and records: a cut,
/// if one comes first, and the records up to the next one; `None` when all is done.
fn next_run(
    batches: &[Batch],
    cuts: usize,
    records: usize,
) -> Option<(Option<Index>, Vec<Record<'_>>)> {
    let (mut cut, mut run) = (None, Vec::new());
    let (mut cuts_seen, mut records_seen) = (0, 0);
    for batch in batches {
        if let Some(keep) = batch.cut {
            cuts_seen += 1;
            if cuts_seen > cuts {
                if cut.is_some() || !run.is_empty() {
                    break;
                }
                cut = Some(keep);
            }
        }
        let done = records.saturating_sub(records_seen).min(batch.records.len());
        records_seen += batch.records.len();
        run.extend(batch.records[done..].iter().map(record_of));
    }
    (cut.is_some() || !run.is_empty()).then_some((cut, run))
}

fn record_of(raw: &Raw) -> Record<'_> {
    let Raw { index, epoch, kind, ref payload } = *raw;
    Record { index, epoch, kind, schema: SCHEMA, payload }
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
    use crate::cluster::Promise;
    use crate::ident::{Epoch, NodeId};
    use crate::run::runs_log::RunsRecord;

    /// A full disk may have stopped a group after any of its records.
    #[test]
    fn a_group_that_is_written_again_goes_on_where_it_stopped() {
        let temp = tempfile::tempdir().unwrap();
        let mut files = boot::open(temp.path()).unwrap().files;
        let first = files.journal.last().index.0 + 1;
        let batch = |ticket: u64| Batch {
            ticket: Ticket(ticket),
            promise: Some(Promise { epoch: Epoch(ticket), to: NodeId::new(7) }),
            cut: None,
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

    /// What one leader wrote is cut for what another one has in its place, in one group.
    #[test]
    fn cuts_come_where_they_stand_between_records_and_each_once() {
        let raw = |epoch: u64, index: u64| Raw {
            index: Index(index),
            epoch: Epoch(epoch),
            kind: 1,
            payload: vec![epoch as u8],
        };
        for stopped_after in 0..6 {
            let temp = tempfile::tempdir().unwrap();
            let mut files = boot::open(temp.path()).unwrap().files;
            let base = files.journal.last().index.0;
            let cut = |keep: u64| Some(Index(base + keep));
            let batches = vec![
                Batch { records: (1..4).map(|at| raw(1, base + at)).collect(), ..Batch::default() },
                Batch { cut: cut(2), ..Batch::default() },
                Batch { records: vec![raw(2, base + 3), raw(2, base + 4)], ..Batch::default() },
                Batch { cut: cut(1), records: vec![raw(3, base + 2)], ..Batch::default() },
            ];
            let mut head = Group::new(batches[..stopped_after.min(4)].to_vec());
            head.write(&mut files).unwrap();
            let mut group = Group::new(batches);
            (group.cuts, group.records) = (head.cuts, head.records);
            group.write(&mut files).unwrap();
            group.write(&mut files).unwrap();
            let mut found = Vec::new();
            let Files { storage, journal, .. } = &files;
            let mut visit = |record: Record<'_>| found.push((record.epoch.0, record.index.0));
            assert!(journal.read(storage, Index(base + 1), 1 << 20, &mut visit).unwrap());
            assert_eq!(found, [(1, base + 1), (3, base + 2)], "{stopped_after}");
        }
    }
}
