//! The disk thread: the only one that waits for fsync.
//!
//! Takes what the node wants on disk from a queue, in order. All batches that are queued share one
//! write and one fdatasync of each log; what arrives meanwhile is the next group. There is no
//! timer. A snapshot is written in steps between groups. After an error it does nothing more: the
//! process is to end, and a restart finds out what is durable.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use mio::Waker;

use super::boot::Files;
use crate::ident::{Index, StreamId};
use crate::journal::{GROUP_MAX_BYTES, Outputs, Progress, Record, WriteError};
use crate::node::{Batch, Durable, SnapshotNews, SnapshotWork};
use crate::run::runs_log::{self, RunsRecord};
use crate::store::{SCHEMA, output_in};
use crate::sys::process;

/// Most pieces of work that wait for the disk. The node's own limits keep it far below; a sender
/// that met a full queue would block the loop until the disk has caught up.
const QUEUE_MAX: usize = 65_536;
/// What a record takes in a file beside its payload, generously.
const FRAME_BYTES: usize = 128;

/// Something for the disk.
#[derive(Debug)]
pub(super) enum Work {
    Commit(Batch),
    Snapshot(Index, SnapshotWork),
    ReadOutputs(StreamId, Vec<Index>),
    CompactRuns(Vec<RunsRecord>),
}

/// What has become of it.
#[derive(Debug)]
pub(super) enum Done {
    Durable(Durable),
    Snapshot(Index, SnapshotNews),
    Outputs(StreamId, Vec<(Index, Option<Vec<u8>>)>),
    /// Something that should be known, and why.
    Remark(&'static str, String),
    /// The disk failed; nothing more will become durable.
    Failed(String),
}

/// The loop's side of the disk thread.
#[derive(Debug)]
pub(super) struct Disk {
    work: Arc<Queue>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
}

impl Disk {
    /// Starts the thread over `files`. It wakes the loop by `waker` for each group.
    pub(super) fn start(files: Files, waker: Arc<Waker>) -> std::io::Result<Disk> {
        let work = Arc::new(Queue::default());
        let (done_out, done) = mpsc::channel();
        let mut thread = Thread { files, done: done_out, waker, snapshot: None };
        let builder = std::thread::Builder::new().name("disk".into()).stack_size(256 * 1024);
        let work_in = Arc::clone(&work);
        let thread = builder.spawn(move || thread.run(&work_in))?;
        Ok(Disk { work, done, thread: Some(thread) })
    }

    /// Queues work; nothing happens when the thread has ended after an error.
    pub(super) fn push(&self, work: Work) {
        self.work.push(work);
    }

    /// The next thing that has become of work, if any.
    pub(super) fn poll(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.work.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Work on its way to the thread. Not a channel: one that spins and yields before it sleeps gives
/// a busy machine's processor away right when the next work is about to come, and is given it back
/// milliseconds later.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// That there is work, or room, or an end: only one side can be waiting at a time.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    work: VecDeque<Work>,
    is_closed: bool,
}

impl Queue {
    /// Puts work in, or drops it when nobody takes any more; waits while the queue is full.
    fn push(&self, work: Work) {
        let full = |waiting: &mut Waiting| waiting.work.len() >= QUEUE_MAX && !waiting.is_closed;
        let waited = self.changed.wait_while(self.lock(), full);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        if !waiting.is_closed {
            waiting.work.push_back(work);
            self.changed.notify_one();
        }
    }

    /// Takes all there is, and waits for some if `wait` says so. False when nothing will come.
    fn pull(&self, into: &mut VecDeque<Work>, wait: bool) -> bool {
        let nothing = |waiting: &mut Waiting| wait && waiting.work.is_empty() && !waiting.is_closed;
        let waited = self.changed.wait_while(self.lock(), nothing);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        into.append(&mut waiting.work);
        self.changed.notify_one();
        !waiting.is_closed
    }

    /// Nothing is put in any more, or taken out.
    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Whoever panicked here has changed nothing by halves.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    files: Files,
    done: Sender<Done>,
    waker: Arc<Waker>,
    snapshot: Option<Snapshot>,
}

/// A snapshot that is being written.
struct Snapshot {
    index: Index,
    /// When all of it is written: the records whose output is kept of those before the other.
    ending: Option<(Vec<Index>, Index)>,
}

impl Thread {
    fn run(&mut self, queue: &Queue) {
        // A wish: on a kernel that does not know it, a busy machine makes commits slower.
        let _ = process::ask_for_short_turns();
        let mut pulled = VecDeque::new();
        loop {
            let busy = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.ending.is_some());
            let wait = pulled.is_empty() && !busy;
            if !queue.pull(&mut pulled, wait) && pulled.is_empty() {
                return;
            }
            if let Err(error) = self.turn(&mut pulled) {
                queue.close();
                self.say(Done::Failed(error.to_string()));
                return;
            }
        }
    }

    /// One group of batches, or one piece of other work; then a step of the snapshot.
    fn turn(&mut self, pulled: &mut VecDeque<Work>) -> Result<(), WriteError> {
        let group = next_group(pulled);
        if !group.is_empty() {
            self.commit(&group)?;
        }
        match pulled.pop_front() {
            None => {}
            Some(Work::Commit(batch)) => pulled.push_front(Work::Commit(batch)),
            Some(Work::CompactRuns(live)) => self.compact_runs(&live)?,
            Some(Work::Snapshot(index, work)) => self.snapshot_work(index, work)?,
            Some(Work::ReadOutputs(stream, records)) => self.read_outputs(stream, &records),
        }
        self.step_snapshot()
    }

    fn commit(&mut self, group: &[Batch]) -> Result<(), WriteError> {
        let Files { storage, hard, hard_file, journal, runs } = &mut self.files;
        for (epoch, to) in group.iter().filter_map(|batch| batch.promise) {
            hard.promised_epoch = epoch;
            hard.promised_to = Some(to);
            hard_file.store(storage, hard)?;
        }
        let records: Vec<Record<'_>> = group
            .iter()
            .flat_map(|batch| &batch.records)
            .map(|raw| Record {
                index: raw.index,
                epoch: raw.epoch,
                kind: raw.kind,
                schema: SCHEMA,
                payload: &raw.payload,
            })
            .collect();
        for part in parts(&records, Record::frame_bytes) {
            journal.append_group(storage, part)?;
        }
        let encoded: Vec<(u8, Vec<u8>)> = group
            .iter()
            .flat_map(|batch| &batch.runs)
            .map(|record| (record.kind(), record.encode()))
            .collect();
        let runs_records = raw_runs(&encoded);
        for part in parts(&runs_records, |record| record.payload.len() + FRAME_BYTES) {
            runs.append_group(storage, part)?;
        }
        let (journal_bytes, snapshot_bytes) =
            (journal.bytes_since_snapshot(), journal.snapshot_bytes());
        let (runs_bytes, outputs_old) = (runs.bytes(), journal.outputs_old());
        for Batch { ticket, .. } in group {
            let ticket = *ticket;
            let durable =
                Durable { ticket, journal_bytes, snapshot_bytes, runs_bytes, outputs_old };
            self.send(Done::Durable(durable));
        }
        self.wake();
        Ok(())
    }

    fn compact_runs(&mut self, live: &[RunsRecord]) -> Result<(), WriteError> {
        let encoded: Vec<(u8, Vec<u8>)> =
            live.iter().map(|record| (record.kind(), record.encode())).collect();
        match self.files.runs.compact(&mut self.files.storage, &raw_runs(&encoded)) {
            // The old file still counts; the next group that finds it long asks again.
            Ok(()) | Err(WriteError::NoSpace) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn snapshot_work(&mut self, index: Index, work: SnapshotWork) -> Result<(), WriteError> {
        let Files { storage, journal, .. } = &mut self.files;
        let is_ours = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.index == index);
        let done = match work {
            SnapshotWork::Begin => {
                self.snapshot = Some(Snapshot { index, ending: None });
                journal.snapshot_begin(storage, index)
            }
            // It was given up here, which the node did not know yet.
            SnapshotWork::Part(_) | SnapshotWork::End(..) | SnapshotWork::Abort if !is_ours => {
                return Ok(());
            }
            SnapshotWork::Part(chunks) => {
                let written = chunks.iter().try_for_each(|c| journal.snapshot_chunk(storage, c));
                if written.is_ok() {
                    self.say(Done::Snapshot(index, SnapshotNews::PartWritten));
                }
                written
            }
            SnapshotWork::End(chunks, keep, keep_before) => {
                self.snapshot = Some(Snapshot { index, ending: Some((keep, keep_before)) });
                chunks.iter().try_for_each(|c| journal.snapshot_chunk(storage, c))
            }
            SnapshotWork::Abort => {
                self.snapshot = None;
                return journal.snapshot_abort(storage);
            }
        };
        done.or_else(|error| self.give_up_snapshot(error))
    }

    fn step_snapshot(&mut self) -> Result<(), WriteError> {
        let Some(Snapshot { index, ending: Some((keep, keep_before)) }) = &self.snapshot else {
            return Ok(());
        };
        let (index, keep_before) = (*index, *keep_before);
        let outputs = Outputs { extract: &output_of, keep, keep_before };
        let Files { storage, journal, .. } = &mut self.files;
        match journal.snapshot_finish_step(storage, &outputs) {
            Ok(Progress::More) => Ok(()),
            Ok(Progress::Done) => {
                self.snapshot = None;
                let digest = journal.snapshot_digest().unwrap_or_default();
                self.say(Done::Snapshot(index, SnapshotNews::InForce(digest)));
                Ok(())
            }
            Err(error) => self.give_up_snapshot(error),
        }
    }

    /// A snapshot that can't be written costs nothing but the room of the old segments, unless the
    /// disk itself has failed.
    fn give_up_snapshot(&mut self, error: WriteError) -> Result<(), WriteError> {
        let given_up = self.snapshot.take();
        match error {
            WriteError::NoSpace | WriteError::Damaged(_) | WriteError::NotNewer => {
                self.send(Done::Remark("snapshot given up", error.to_string()));
                if let Some(Snapshot { index, .. }) = given_up {
                    self.say(Done::Snapshot(index, SnapshotNews::GivenUp));
                }
                Ok(())
            }
            WriteError::Failed(_) | WriteError::Poisoned => Err(error),
        }
    }

    /// What can't be read is missing, which is said, and nothing more: it is of no need.
    fn read_outputs(&mut self, stream: StreamId, records: &[Index]) {
        let Files { storage, journal, .. } = &mut self.files;
        let mut outputs = Vec::with_capacity(records.len());
        let mut wrong = None;
        for &index in records {
            let output = journal.output(storage, index, &output_of);
            outputs.push((
                index,
                output.unwrap_or_else(|error| {
                    wrong = Some(error.to_string());
                    None
                }),
            ));
        }
        if let Some(why) = wrong {
            self.send(Done::Remark("the output of a run cannot be read", why));
        }
        self.say(Done::Outputs(stream, outputs));
    }

    fn say(&self, done: Done) {
        self.send(done);
        self.wake();
    }

    fn send(&self, done: Done) {
        // The loop has ended when nobody listens; so will this thread, at its next turn.
        let _ = self.done.send(done);
    }

    fn wake(&self) {
        let _ = self.waker.wake();
    }
}

/// All batches at the head of the queue.
fn next_group(pulled: &mut VecDeque<Work>) -> Vec<Batch> {
    let mut group = Vec::new();
    while let Some(work) = pulled.pop_front() {
        match work {
            Work::Commit(batch) => group.push(batch),
            other @ (Work::Snapshot(..) | Work::ReadOutputs(..) | Work::CompactRuns(_)) => {
                pulled.push_front(other);
                break;
            }
        }
    }
    group
}

fn output_of<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    output_in(record.kind, record.schema, record.payload)
}

fn raw_runs(encoded: &[(u8, Vec<u8>)]) -> Vec<crate::journal::RunsRecord<'_>> {
    encoded
        .iter()
        .map(|(kind, payload)| crate::journal::RunsRecord {
            kind: *kind,
            schema: runs_log::SCHEMA,
            payload,
        })
        .collect()
}

/// `records` in parts of at most half a group's limit each, one record at least.
fn parts<T>(records: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
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
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_queue_keeps_the_order_and_is_emptied_after_its_end() {
        let queue = Arc::new(Queue::default());
        let sender = Arc::clone(&queue);
        // More than there is room for, so that the sender has to wait for the receiver.
        let count = QUEUE_MAX as u64 + 100;
        let thread = std::thread::spawn(move || {
            for number in 0..count {
                sender.push(Work::Snapshot(Index(number), SnapshotWork::Begin));
            }
            sender.close();
            sender.push(Work::CompactRuns(Vec::new()));
        });
        let (mut taken, mut pulled) = (0, VecDeque::new());
        loop {
            let more = queue.pull(&mut pulled, true);
            assert!(pulled.len() <= QUEUE_MAX);
            for work in pulled.drain(..) {
                assert!(matches!(work, Work::Snapshot(Index(at), _) if at == taken));
                taken += 1;
            }
            if !more {
                break;
            }
        }
        thread.join().unwrap();
        assert_eq!(taken, count);
        assert!(!queue.pull(&mut pulled, false) && pulled.is_empty(), "nothing came after the end");
    }

    #[test]
    fn parts_hold_everything_once_in_order_and_none_is_too_large() {
        let half = GROUP_MAX_BYTES / 2;
        for (sizes, counts) in [
            (vec![], vec![]),
            (vec![1], vec![1]),
            (vec![half, 1], vec![1, 1]),
            (vec![half - 1, 1, 1], vec![2, 1]),
            (vec![half + 5, 1], vec![1, 1]),
            (vec![1, half + 5, 1], vec![1, 1, 1]),
        ] {
            let found = parts(&sizes, |&size| size);
            assert_eq!(found.iter().map(|part| part.len()).collect::<Vec<_>>(), counts);
            assert_eq!(found.concat(), sizes);
        }
    }
}
