//! Jobs, and the records that create, replace and delete them.

use std::collections::VecDeque;
use std::rc::Rc;

use super::fires::History;
use super::record::{End, Ending, Facts, JobPut, Skip};
use super::{Change, State};
use crate::ident::{Index, JobId};
use crate::time::{Second, Wall};

/// How many skips a job keeps, apart from its fires.
pub(super) const SKIPS_MAX: usize = 100;

/// A job as the journal has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Index of the record that created it.
    pub id: JobId,
    /// Its name.
    pub name: Rc<str>,
    /// Canonical bytes of its definition.
    pub spec: Rc<[u8]>,
    /// What the state must know of the definition.
    pub facts: Facts,
    /// Index of the record that wrote the definition.
    pub version: u64,
    /// The mark: every due time up to here is decided, or was never owed.
    pub decided_until: Second,
    /// Where `@every` counts from.
    pub anchor: Second,
    /// When it was created.
    pub created: Wall,
    /// When its definition was written.
    pub updated: Wall,
    /// Runs that succeeded.
    pub success_count: u64,
    /// Runs that failed, were killed, timed out or are lost.
    pub error_count: u64,
    /// Due times and runs that were skipped or missed.
    pub missed_count: u64,
    /// When a run last succeeded.
    pub last_success: Option<Wall>,
    /// When a run last ended otherwise.
    pub last_error: Option<Wall>,
    /// What the newest ended fire says that started at all.
    pub status: Status,
    /// Claim of the fire that `status` is of, kept or not; 0 before any.
    pub judged: Index,
    /// In order of claim: the newest ended ones, and all that are open.
    pub fires: History,
    /// The newest skips: index, time and range.
    pub skips: VecDeque<(Index, Wall, Skip)>,
}

/// What the newest ended fire says of its job, among those of which a run may have started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Status {
    /// None has ended yet.
    #[default]
    Untriggered,
    /// All its runs succeeded.
    Success,
    /// Some did.
    PartiallyFailed,
    /// None did.
    Failed,
}

impl Job {
    pub(super) fn count(&mut self, ending: &Ending) {
        match ending.end {
            End::Succeeded => {
                self.success_count = self.success_count.saturating_add(1);
                self.last_success = self.last_success.max(Some(ending.finished));
            }
            End::Failed | End::Killed | End::TimedOut | End::Lost => {
                self.error_count = self.error_count.saturating_add(1);
                self.last_error = self.last_error.max(Some(ending.finished));
            }
            End::Skipped | End::Missed => self.count_missed(1),
        }
    }

    pub(super) fn count_missed(&mut self, count: u64) {
        self.missed_count = self.missed_count.saturating_add(count);
    }
}

impl State {
    pub(super) fn put_job(&mut self, put: JobPut, index: Index, wall: Wall) -> Change {
        let spec: Rc<[u8]> = put.spec.into();
        if let Some(&id) = self.names.get(put.name.as_str()) {
            let Some(job) = self.jobs.get_mut(&id) else { unreachable!("a name leads to a job") };
            job.spec = spec;
            job.facts = put.facts;
            job.version = index.0;
            job.updated = wall;
            job.decided_until = put.mark.unwrap_or(job.decided_until);
            job.anchor = put.anchor.unwrap_or(job.anchor);
            let tails = &mut self.tails;
            job.fires.trim(usize::from(job.facts.keep), |run| tails.remove(run));
            return Change::JobPut(id);
        }
        let id = JobId(index.0);
        let name: Rc<str> = put.name.into();
        let job = Job {
            id,
            name: Rc::clone(&name),
            spec,
            facts: put.facts,
            version: index.0,
            decided_until: put.mark.unwrap_or(wall.second()),
            anchor: put.anchor.unwrap_or(wall.second()),
            created: wall,
            updated: wall,
            success_count: 0,
            error_count: 0,
            missed_count: 0,
            last_success: None,
            last_error: None,
            status: Status::Untriggered,
            judged: Index(0),
            fires: History::default(),
            skips: VecDeque::new(),
        };
        self.names.insert(name, id);
        self.jobs.insert(id, job);
        Change::JobPut(id)
    }

    pub(super) fn delete_job(&mut self, id: JobId) -> Change {
        let Some(job) = self.jobs.remove(&id) else { return Change::Void(Some(id)) };
        self.names.remove(&job.name);
        let open = job.fires.has_open_run();
        self.deleted.insert(id, job);
        if !open {
            self.forget_job(id);
        }
        Change::JobDeleted(id)
    }

    /// Drops what is left of a deleted job whose runs have all ended.
    pub(super) fn forget_job(&mut self, id: JobId) {
        let Some(job) = self.deleted.remove(&id) else { return };
        for fire in job.fires.iter() {
            fire.runs.iter().for_each(|run| self.tails.remove(fire.run_id(run)));
        }
    }
}
