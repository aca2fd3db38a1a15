//! A walk over all jobs in order of number, each as it was when the walk was begun, while they go
//! on changing: a job that is changed before the walk has come to it is kept as it was.
//!
//! Snapshots and backups walk. What is kept of a job is theirs to say; the state tells both before
//! it changes one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use super::State;
use super::jobs::{Job, Past};
use crate::ident::{Index, JobId};

/// Most bytes that jobs as they were may take in one walk, before it is given up: more has changed
/// since it was begun than it is worth.
pub(super) const BEFORE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Most backups that are taken at once.
pub const BACKUPS_MAX: usize = 4;

/// A walk that is under way.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(super) struct Walk<T> {
    /// The state that is walked over is that after this record.
    index: Index,
    /// The first job that is not taken yet.
    next: JobId,
    /// Jobs that the walk has not come to, as they were before they were changed.
    before: BTreeMap<JobId, T>,
    before_bytes: usize,
    void: bool,
}

/// One job of a walk.
pub(super) enum Step<'a, T> {
    /// It is as it was; and whether it is a deleted one.
    Unchanged(&'a Job, bool),
    /// It has changed since, and this was kept of it.
    Before(T),
}

impl<T> Walk<T> {
    /// A walk over the state as it is after the record at `index`, which is the newest.
    pub(super) fn new(index: Index) -> Walk<T> {
        Walk { index, next: JobId(0), before: BTreeMap::new(), before_bytes: 0, void: false }
    }

    /// The record after which the state is walked over.
    pub(super) fn index(&self) -> Index {
        self.index
    }

    /// Whether it can't be completed.
    pub(super) fn is_void(&self) -> bool {
        self.void
    }

    /// Gives the walk up.
    pub(super) fn give_up(&mut self) {
        self.void = true;
        self.before.clear();
    }

    /// Whether the job is part of the walk, is still to be taken, and was not changed since the
    /// walk was begun.
    pub(super) fn is_ahead(&self, id: JobId) -> bool {
        let is_part = id.0 <= self.index.0 && self.next <= id;
        is_part && !self.void && !self.before.contains_key(&id)
    }

    /// Keeps what a job that [`Walk::is_ahead`] was; it takes so many bytes.
    pub(super) fn keep(&mut self, id: JobId, before: T, bytes: usize) {
        self.before_bytes += bytes;
        self.before.insert(id, before);
        if self.before_bytes > BEFORE_MAX_BYTES {
            self.give_up();
        }
    }

    /// Gives the next jobs to `take`, until that wants no more. True after the last job.
    pub(super) fn go_on(
        &mut self,
        state: &State,
        take: &mut dyn FnMut(Step<'_, T>) -> bool,
    ) -> bool {
        if self.next.0 > self.index.0 {
            return true;
        }
        let range = self.next..=JobId(self.index.0);
        let mut live = state.jobs.range(range.clone()).peekable();
        let mut deleted = state.deleted.range(range).peekable();
        loop {
            let kept = self.before.first_key_value().map(|(&id, _)| id);
            let ids = [live.peek().map(|(id, _)| **id), deleted.peek().map(|(id, _)| **id), kept];
            let Some(id) = ids.into_iter().flatten().min() else {
                self.next = JobId(u64::MAX);
                return true;
            };
            let now = live.next_if(|(at, _)| **at == id).map(|(_, job)| (job, false));
            let gone = deleted.next_if(|(at, _)| **at == id).map(|(_, job)| (job, true));
            self.next = JobId(id.0.saturating_add(1));
            let step = match (self.before.remove(&id), now.or(gone)) {
                (Some(before), _) => Step::Before(before),
                (None, Some((job, deleted))) => Step::Unchanged(job, deleted),
                (None, None) => continue,
            };
            if !take(step) {
                return false;
            }
        }
    }
}

/// The backups that are being taken: those whose [`Backup`] somebody still has. They are no part
/// of what the journal says, so that states are equal whoever reads them.
#[derive(Debug, Default)]
pub(super) struct Backups(RefCell<Vec<Weak<RefCell<Walk<Job>>>>>);

#[cfg(test)]
impl PartialEq for Backups {
    fn eq(&self, _: &Backups) -> bool {
        true
    }
}

#[cfg(test)]
impl Eq for Backups {}

/// A backup that is being taken; dropped, it is given up.
#[derive(Debug)]
pub struct Backup(Rc<RefCell<Walk<Job>>>);

/// How a backup goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackupStep {
    /// There may be more jobs.
    More,
    /// That was the last job.
    Done,
    /// It can't be completed: too much has changed since it was begun.
    Void,
}

impl Backup {
    /// Gives the next jobs, as they were when the backup was begun, to `take`, until that wants
    /// no more. `state` is the one that the backup is of. Of a job's past only the counts are
    /// given.
    pub fn go_on(&self, state: &State, take: &mut dyn FnMut(&Job) -> bool) -> BackupStep {
        let mut walk = self.0.borrow_mut();
        if walk.is_void() {
            return BackupStep::Void;
        }
        let at_end = walk.go_on(state, &mut |step| match step {
            Step::Unchanged(_, true) => true,
            Step::Unchanged(job, false) => take(job),
            Step::Before(job) => take(&job),
        });
        if at_end { BackupStep::Done } else { BackupStep::More }
    }
}

impl State {
    /// Begins a backup of the state as it is now. `None` while [`BACKUPS_MAX`] are being taken.
    pub fn begin_backup(&self) -> Option<Backup> {
        let mut backups = self.backups.0.borrow_mut();
        backups.retain(|backup| backup.strong_count() > 0);
        if backups.len() >= BACKUPS_MAX {
            return None;
        }
        let walk = Rc::new(RefCell::new(Walk::new(self.applied)));
        backups.push(Rc::downgrade(&walk));
        Some(Backup(walk))
    }

    /// To be called before the job `id` is changed.
    pub(super) fn save_before(&mut self, id: JobId) {
        self.save_for_snapshot(id);
        let backups = self.backups.0.get_mut();
        if backups.is_empty() {
            return;
        }
        backups.retain(|backup| backup.strong_count() > 0);
        let Some(job) = self.jobs.get(&id) else { return };
        for backup in backups.iter().filter_map(Weak::upgrade) {
            let mut walk = backup.borrow_mut();
            if walk.is_ahead(id) {
                let bytes = size_of::<Job>() + size_of::<Past>() + job.spec.len();
                walk.keep(id, without_history(job), bytes);
            }
        }
    }

    /// To be called before every job is changed at once.
    pub(super) fn void_walks(&mut self) {
        self.void_snapshot();
        for backup in self.backups.0.get_mut().iter().filter_map(Weak::upgrade) {
            backup.borrow_mut().give_up();
        }
    }
}

fn without_history(job: &Job) -> Job {
    let counts = job.counts();
    Job {
        id: job.id,
        name: Rc::clone(&job.name),
        spec: Rc::clone(&job.spec),
        timing: Rc::clone(&job.timing),
        past: Some(Box::new(Past { counts, ..Past::default() })),
        ..*job
    }
}
