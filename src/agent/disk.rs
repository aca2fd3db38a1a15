//! The disk thread: the only one that waits for fsync.
//!
//! Takes what the node wants on disk from a queue, in order. All batches that are queued share one
//! write and one fdatasync of each log; what arrives meanwhile is the next group. There is no
//! timer, but while the disk is full, or nearly: then it looks now and then whether there is room.
//! A group that finds none is kept and tried again. A snapshot is written in steps between groups.
//! After any other error it does nothing more: the process is to end, and a restart finds out what
//! is durable.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Waker;

use super::boot::Files;
use super::group::{Group, raw_runs};
use super::read::{PartEnd, Read};
use super::space::Room;
use crate::ident::{Index, NodeId, StreamId};
use crate::journal::{Outputs, Progress, Record, WriteError};
use crate::node::{Batch, Durable, Raw, SnapshotNews, SnapshotPart, SnapshotWork, Space};
use crate::run::runs_log::RunsRecord;
use crate::store::output_in;
use crate::sys::process;

/// Most pieces of work that wait for the disk. The node's own limits keep it far below; a sender
/// that met a full queue would block the loop until the disk has caught up.
const QUEUE_MAX: usize = 65_536;
/// Pause between two looks, or two tries, while there is not enough room.
const ROOM_PAUSE: Duration = Duration::from_secs(1);

/// Something for the disk.
#[derive(Debug)]
pub(super) enum Work {
    Commit(Batch),
    Snapshot(Index, SnapshotWork),
    Read(Read),
    CompactRuns(Vec<RunsRecord>),
}

/// What has become of it.
#[derive(Debug)]
pub(super) enum Done {
    Durable(Durable),
    Snapshot(Index, SnapshotNews),
    Outputs(StreamId, Vec<(Index, Option<Vec<u8>>)>),
    Records(Vec<Raw>),
    SnapshotPart(NodeId, SnapshotPart),
    /// Something that should be known, and why.
    Remark(&'static str, String),
    /// The disk has less room, or more.
    Space(Space),
    /// The disk failed; nothing more will become durable.
    Failed(String),
}

/// The loop's side of the disk thread.
#[derive(Debug)]
pub(super) struct Disk {
    work: Arc<Queue>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    /// Kept here, too: the last thing that the thread says before it ends is that the disk has
    /// failed, and a waker that goes with it may take the event along before anybody has seen it.
    _waker: Arc<Waker>,
}

impl Disk {
    /// Starts the thread over `files`, which have `room` around them. It wakes the loop by `waker`
    /// for each group.
    pub(super) fn start(files: Files, room: Room, waker: Arc<Waker>) -> std::io::Result<Disk> {
        let work = Arc::new(Queue::default());
        let (done_out, done) = mpsc::channel();
        let kept = Arc::clone(&waker);
        let mut thread = Thread {
            files,
            room,
            done: done_out,
            waker,
            stuck: None,
            snapshot: None,
            part_end: None,
        };
        let builder = std::thread::Builder::new().name("disk".into()).stack_size(256 * 1024);
        let work_in = Arc::clone(&work);
        let thread = builder.spawn(move || thread.run(&work_in))?;
        Ok(Disk { work, done, thread: Some(thread), _waker: kept })
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

/// What the thread waits for before it takes work. An end of the queue ends every wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// Nothing.
    Not,
    /// Work.
    ForWork,
    /// Work, but no longer than a pause.
    ForWorkOrPause,
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

    /// Takes all there is, after a wait. False when nothing will come.
    fn pull(&self, into: &mut VecDeque<Work>, wait: Wait) -> bool {
        let nothing = |waiting: &mut Waiting| waiting.work.is_empty() && !waiting.is_closed;
        let lock = self.lock();
        let mut waiting = match wait {
            Wait::Not => lock,
            Wait::ForWork => {
                let waited = self.changed.wait_while(lock, nothing);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
            Wait::ForWorkOrPause => {
                let waited = self.changed.wait_timeout_while(lock, ROOM_PAUSE, nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
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

pub(super) struct Thread {
    pub(super) files: Files,
    room: Room,
    done: Sender<Done>,
    waker: Arc<Waker>,
    /// The group that found no room.
    stuck: Option<Group>,
    snapshot: Option<Snapshot>,
    /// Where the last part of a snapshot ended that was read for a follower.
    pub(super) part_end: Option<PartEnd>,
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
            let wait = self.wait(&pulled);
            let is_open = queue.pull(&mut pulled, wait);
            // An end does not wait for room; what is stuck was told to nobody.
            if !is_open && (pulled.is_empty() || self.stuck.is_some()) {
                return;
            }
            if let Err(error) = self.turn(&mut pulled) {
                queue.close();
                self.say(Done::Failed(error.to_string()));
                return;
            }
        }
    }

    fn wait(&self, pulled: &VecDeque<Work>) -> Wait {
        if self.stuck.is_some() {
            return Wait::ForWorkOrPause;
        }
        let ends = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.ending.is_some());
        if !pulled.is_empty() || ends {
            return Wait::Not;
        }
        match self.room.space() {
            Space::Enough => Wait::ForWork,
            Space::Low | Space::Full => Wait::ForWorkOrPause,
        }
    }

    /// One group of batches, or one piece of other work; then a step of the snapshot.
    fn turn(&mut self, pulled: &mut VecDeque<Work>) -> Result<(), WriteError> {
        let group = match self.stuck.take() {
            Some(stuck) => {
                self.read_all(pulled);
                stuck
            }
            None => Group::new(next_group(pulled)),
        };
        if !group.is_empty() {
            if !self.commit(group)? {
                return Ok(());
            }
        } else if self.room.space() != Space::Enough {
            self.look();
        }
        match pulled.pop_front() {
            None => {}
            Some(Work::Commit(batch)) => pulled.push_front(Work::Commit(batch)),
            Some(Work::CompactRuns(live)) => self.compact_runs(&live)?,
            Some(Work::Snapshot(index, work)) => self.snapshot_work(index, work)?,
            Some(Work::Read(read)) => self.read(read),
        }
        self.step_snapshot()
    }

    /// Makes a group durable and says so; keeps it when there is no room for it. Returns whether
    /// it is durable.
    fn commit(&mut self, mut group: Group) -> Result<bool, WriteError> {
        let has_snapshot = self.snapshot.is_some();
        let (written, gave_up) = group.write_somehow(&mut self.files, &mut self.room, has_snapshot);
        if gave_up {
            self.give_up_snapshot(WriteError::NoSpace)?;
        }
        match written {
            Ok(()) => {}
            Err(WriteError::NoSpace) => {
                self.stuck = Some(group);
                let news = self.room.exhausted();
                self.tell_space(news);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        // First, so that what was held up is known to have been when it is done.
        self.look();
        for durable in group.completions(&self.files) {
            self.send(Done::Durable(durable));
        }
        self.wake();
        Ok(true)
    }

    fn look(&mut self) {
        let news = self.room.look(&mut self.files.storage);
        self.tell_space(news);
    }

    fn tell_space(&self, news: Option<Space>) {
        if let Some(space) = news {
            self.say(Done::Space(space));
        }
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
            SnapshotWork::BeginFrom(seam) => {
                self.snapshot = Some(Snapshot { index, ending: None });
                journal.snapshot_begin_from_peer(storage, seam)
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

    /// Reads go on while nothing can be written: what they ask for is durable.
    fn read_all(&mut self, pulled: &mut VecDeque<Work>) {
        for work in std::mem::take(pulled) {
            match work {
                Work::Read(read) => self.read(read),
                other @ (Work::Commit(_) | Work::Snapshot(..) | Work::CompactRuns(_)) => {
                    pulled.push_back(other);
                }
            }
        }
    }

    pub(super) fn say(&self, done: Done) {
        self.send(done);
        self.wake();
    }

    pub(super) fn send(&self, done: Done) {
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
            other @ (Work::Snapshot(..) | Work::Read(_) | Work::CompactRuns(_)) => {
                pulled.push_front(other);
                break;
            }
        }
    }
    group
}

pub(super) fn output_of<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    output_in(record.kind, record.schema, record.payload)
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
            let more = queue.pull(&mut pulled, Wait::ForWork);
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
        assert!(
            !queue.pull(&mut pulled, Wait::Not) && pulled.is_empty(),
            "nothing came after the end"
        );
    }
}
