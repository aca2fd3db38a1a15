//! The replicated state: what [`State::apply`] makes of the committed journal, and nothing else.
//!
//! Owns jobs, fires and their runs, and the registry of nodes; of what runs printed it only knows
//! in which record that stands. Never looks at a clock, a zone, a schedule or a setting: all that a
//! decision depended on is written in the record, so the same journal gives the same state on every
//! node and in every year. The node drives it, one committed record at a time.
#![forbid(unsafe_code)]

mod answers;
mod bytes;
mod chains;
mod fires;
mod history;
mod jobs;
mod load;
mod record;
mod replay;
mod restore;
mod retries;
mod servers;
mod snapshot;
mod summary;
mod walk;

pub use answers::{ANSWERS_MAX, Answered, KEY_MAX_BYTES, RequestKey};
pub use bytes::{ACTOR_MAX_BYTES, SCHEMA, output_in};
pub use chains::{CHAINED_MAX, ChainError, check_chains};
pub use fires::{Execution, Fire, Run, RunState};
pub use jobs::{Counts, Job, Status};
pub use load::{SnapshotError, SnapshotLoader};
pub use record::{
    Claim, End, Ending, Entry, Facts, Finished, JobPut, Keyed, Member, MemberState, Reason, Record,
    RestoreCommit, RestorePart, Retry, Skip, SkipReason, TARGETS_MAX, Timing, Trigger,
};
pub use replay::Replay;
pub use restore::{Restored, STAGED_MAX_BYTES};
pub use servers::Servers;
pub use snapshot::Piece;
pub use walk::{BACKUPS_MAX, Backup, BackupStep};

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use answers::Answers;
use chains::Chains;
use jobs::Timings;
use restore::Staged;
use snapshot::Cursor;
use walk::Backups;

use crate::ident::{Epoch, Index, JobId, NodeId, RunId};
use crate::mistake::{self, Mistake, made};
use crate::time::{Second, Wall};

/// Most jobs that the state holds.
pub const JOBS_MAX: usize = 1_000_000;

/// All that the committed journal says.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct State {
    applied: Index,
    epoch: Epoch,
    newest_wall: Wall,
    clock_era: u32,
    servers: Servers,
    members: BTreeMap<NodeId, Member>,
    jobs: BTreeMap<JobId, Box<Job>>,
    names: BTreeMap<Rc<str>, JobId>,
    timings: Timings,
    chains: Chains,
    /// Jobs that were deleted while runs of theirs were open, until the last of those has ended.
    deleted: BTreeMap<JobId, Box<Job>>,
    /// Every run that has not ended, and its job.
    open: BTreeMap<RunId, JobId>,
    /// Every run that has failed and is to be tried again, and its job.
    owed: BTreeMap<RunId, JobId>,
    answers: Answers,
    /// The newest checkpoint.
    checkpoint: Option<Index>,
    /// The snapshot that is being taken.
    cursor: Option<Box<Cursor>>,
    backups: Backups,
    staged: Staged,
}

/// What a record changed, for those who act on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A leader's office has begun.
    EpochStarted(NodeId),
    /// Voters or registry have changed.
    Members,
    /// A job was created or replaced.
    JobPut(JobId),
    /// A job was deleted.
    JobDeleted(JobId),
    /// A fire was claimed; runs of it may be open.
    Claimed(JobId, Index),
    /// A run has ended.
    Ended(JobId, RunId),
    /// A run was made, because the attempt before it had failed.
    Retried(JobId, RunId),
    /// Due times were given up.
    Skipped(JobId),
    /// Every mark may have been lowered.
    ClockCorrected,
    /// A snapshot of the state as it is now is wanted.
    Checkpoint,
    /// A job of a restore was staged.
    Staged,
    /// Jobs were restored, in their order, and those that were removed for them.
    Restored(Vec<(Rc<str>, JobId, Restored)>),
    /// The record no longer applied when its turn came, and changed nothing: the job it names was
    /// deleted or edited by a record before it, the run had ended, or the restore was not whole.
    Void(Option<JobId>),
}

impl State {
    /// The state before any record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the next committed record and says what it changed.
    ///
    /// # Panics
    /// When `entry` is not the one that follows: a gap in the journal is a broken invariant.
    pub fn apply(&mut self, entry: Entry) -> Change {
        assert_eq!(entry.index.0, self.applied.0 + 1, "records are applied in order, each once");
        assert!(entry.epoch >= self.epoch, "epochs never decrease along the journal");
        self.applied = entry.index;
        self.epoch = entry.epoch;
        self.newest_wall = self.newest_wall.max(entry.wall);
        while let Some((index, answered)) = self.answers.expire(self.newest_wall) {
            self.save_answer(index, answered);
        }
        let clock = if made(Mistake::ApplyReadsClock) { mistake::clock() } else { 0 };
        self.apply_record(entry.record, entry.index, Wall(entry.wall.0 + clock))
    }

    fn apply_record(&mut self, record: Record, index: Index, wall: Wall) -> Change {
        match record {
            Record::EpochStart { leader } => {
                self.drop_staged();
                Change::EpochStarted(leader)
            }
            Record::Config(servers) => {
                self.servers = servers;
                Change::Members
            }
            Record::Node(member) => self.put_member(member, index, wall),
            Record::JobPut(put) => self.put_job(put, index, wall),
            Record::JobDelete { job } => self.delete_job(job),
            Record::Claim(claim) => self.claim(claim, index, wall),
            Record::Finished(finished) => self.finish(finished, index, wall),
            Record::Skip(skip) => self.skip(skip, index, wall),
            Record::ClockCorrected { to } => {
                self.correct_clock(to);
                Change::ClockCorrected
            }
            Record::Checkpoint { .. } => {
                self.checkpoint = Some(index);
                Change::Checkpoint
            }
            Record::RestorePart(part) => self.stage(*part, index),
            Record::RestoreCommit(commit) => self.commit_restore(commit, index, wall),
            Record::Retry(retry) => self.retry(retry),
            Record::Keyed(keyed) => self.apply_keyed(*keyed, index, wall),
        }
    }

    /// A node with another data directory than before knows nothing of its runs, nor does anybody.
    fn put_member(&mut self, member: Member, index: Index, wall: Wall) -> Change {
        let (node, store) = (member.id, member.store);
        let before = self.members.insert(node, member);
        if before.is_some_and(|before| before.store != store) {
            self.lose_runs(node, index, wall);
        }
        Change::Members
    }

    /// A change that was not made has no answer to remember: it may be tried again.
    fn apply_keyed(&mut self, keyed: Keyed, index: Index, wall: Wall) -> Change {
        let Keyed { key, record } = keyed;
        // A deleted job's name must be looked up before.
        let named = |id: JobId| self.jobs.get(&id).map(|job| Rc::clone(&job.name));
        let deleted = match record {
            Record::JobDelete { job } => named(job),
            _ => None,
        };
        let change = self.apply_record(record, index, wall);
        let (job, claimed) = match change {
            Change::JobPut(job) | Change::JobDeleted(job) => (job, false),
            Change::Claimed(job, _) => (job, true),
            // Of all those jobs no one is the answer's.
            Change::Restored(_) => (JobId(0), false),
            Change::EpochStarted(_)
            | Change::Members
            | Change::Ended(..)
            | Change::Retried(..)
            | Change::Skipped(_)
            | Change::ClockCorrected
            | Change::Checkpoint
            | Change::Staged
            | Change::Void(_) => return change,
        };
        let name = match change {
            Change::Restored(_) => Some(Rc::from("")),
            _ => deleted.or_else(|| self.job(job).map(|job| Rc::clone(&job.name))),
        };
        if let Some(name) = name {
            let answered = Answered { key, wall, job, name, claimed };
            for (index, dropped) in self.answers.put(index, answered) {
                self.save_answer(index, dropped);
            }
        }
        change
    }

    /// Index of the newest record applied.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Epoch of the newest record applied.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The latest wall time that any record carries.
    pub fn newest_wall(&self) -> Wall {
        self.newest_wall
    }

    /// How often the clock was set back and the marks with it.
    pub fn clock_era(&self) -> u32 {
        self.clock_era
    }

    /// The cluster and its servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// The registry of nodes.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// One node of the registry.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// The job of that number, unless it was deleted.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(|job| &**job)
    }

    /// The job of that number, a deleted one with open runs too.
    pub fn job_or_deleted(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).or_else(|| self.deleted.get(&id)).map(|job| &**job)
    }

    /// The job of that name.
    pub fn job_named(&self, name: &str) -> Option<&Job> {
        self.job(*self.names.get(name)?)
    }

    /// All jobs, in order of number: as they lie in memory, more or less.
    pub fn jobs(&self) -> impl ExactSizeIterator<Item = &Job> {
        self.jobs.values().map(|job| &**job)
    }

    /// All jobs, in order of name.
    pub fn jobs_by_name(&self) -> impl ExactSizeIterator<Item = &Job> {
        self.names.values().map(|id| &*self.jobs[id])
    }

    /// Every open run with its job, in order of claim.
    pub fn open_runs(&self) -> impl ExactSizeIterator<Item = (RunId, JobId)> {
        self.open.iter().map(|(&run, &job)| (run, job))
    }

    /// Whether that run is open, and whose it is.
    pub fn open_run(&self, run: RunId) -> Option<JobId> {
        self.open.get(&run).copied()
    }

    /// Every run that has failed and is to be tried again, with its job, in order of claim.
    pub fn owed_retries(&self) -> impl ExactSizeIterator<Item = (RunId, JobId)> {
        self.owed.iter().map(|(&run, &job)| (run, job))
    }

    /// Whether that run has failed and is to be tried again, and whose it is.
    pub fn owed_retry(&self, run: RunId) -> Option<JobId> {
        self.owed.get(&run).copied()
    }

    /// The fire of that claim, while a run of it is open or is to be tried again.
    pub fn fire(&self, job: JobId, group: Index) -> Option<&Fire> {
        self.job_or_deleted(job)?.fire(group)
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> Option<Index> {
        self.checkpoint
    }

    /// What the change with the client's key `text` was answered, and by which record; `None` when
    /// none is known or it is an hour ago at `now`.
    pub fn answered(&self, text: &str, now: Wall) -> Option<(Index, &Answered)> {
        self.answers.get(text, now)
    }

    fn correct_clock(&mut self, to: Second) {
        self.clock_era = self.clock_era.wrapping_add(1);
        // The record is the proof that all later times were never real; the newest wall time must
        // follow, or the next start would take the corrected clock for a broken one.
        self.newest_wall = to.wall();
        self.void_walks();
        for job in self.jobs.values_mut() {
            job.decided_until = job.decided_until.min(to);
        }
    }

    /// Checks what must hold after every record; for tests and simulation.
    ///
    /// # Panics
    /// When it doesn't.
    pub fn check(&self) {
        assert_eq!(self.names.len(), self.jobs.len());
        for (name, id) in &self.names {
            assert_eq!(&self.jobs[id].name, name);
        }
        self.timings.check(self.jobs.len());
        let (mut open, mut owed) = (BTreeSet::new(), BTreeSet::new());
        for job in self.jobs.values().chain(self.deleted.values()) {
            open.extend(job.open_runs().map(|run| (run, job.id)));
            owed.extend(job.owed_retries().map(|run| (run, job.id)));
            if let Some(past) = &job.past {
                past.history.check(usize::from(job.facts.keep));
            }
        }
        let indexed: BTreeSet<_> = self.open_runs().collect();
        assert_eq!(open, indexed, "the index of open runs must agree with the fires");
        let indexed: BTreeSet<_> = self.owed_retries().collect();
        assert_eq!(owed, indexed, "the index of retries must agree with the fires");
        self.answers.check();
        self.staged.check();
        assert!(self.jobs.keys().all(|id| !self.deleted.contains_key(id)));
        assert!(self.chains_are_sound(), "who runs after another can");
        let children = self.jobs.values().filter(|job| !job.timing.parent.is_empty());
        let linked = |job: &Job| self.children(&job.timing.parent).any(|other| other.id == job.id);
        assert!(children.clone().all(|job| linked(job)));
        assert_eq!(
            children.count(),
            self.names.keys().flat_map(|name| self.children(name)).count()
        );
        for job in self.deleted.values() {
            assert!(job.has_open_fire(), "a deleted job is kept for its open runs alone");
            assert_eq!(job.owed_retries().next(), None, "a deleted job is not tried again");
        }
    }
}

#[cfg(test)]
mod tests;
