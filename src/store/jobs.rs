//! Jobs, and the records that create, replace and delete them.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::fires::{Execution, Fire};
use super::history::History;
use super::record::{End, Ending, Facts, JobPut, Skip, Timing};
use super::{Change, State};
use crate::ident::{Index, JobId, RunId};
use crate::rng::{mix, stable_hash};
use crate::time::{Second, Wall};

/// How many skips a job keeps, apart from its fires.
pub(super) const SKIPS_MAX: usize = 100;

/// A job as the journal has it. Of most jobs of a large installation nothing is known but this, so
/// what only a job has that once fired is kept apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Index of the record that created it.
    pub id: JobId,
    /// Its name.
    pub name: Rc<str>,
    /// Canonical bytes of its definition.
    pub spec: Rc<[u8]>,
    /// When it is due.
    pub timing: Rc<Timing>,
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
    /// What became of its fires, since the first.
    pub(super) past: Option<Box<Past>>,
}

/// What became of the fires of a job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Past {
    pub(super) counts: Counts,
    /// Claim of the fire that the status is of, kept or not; 0 before any.
    pub(super) judged: Index,
    pub(super) history: History,
    /// The newest skips: index, time and range.
    pub(super) skips: VecDeque<(Index, Wall, Skip)>,
}

/// What is counted of a job's runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Targets whose last attempt succeeded.
    pub success_count: u64,
    /// Targets whose last attempt failed, was killed, timed out or is lost.
    pub error_count: u64,
    /// Due times and runs that were skipped or missed.
    pub missed_count: u64,
    /// When a run last succeeded.
    pub last_success: Option<Wall>,
    /// When a run last ended otherwise.
    pub last_error: Option<Wall>,
    /// What the newest ended fire says that started at all.
    pub status: Status,
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
    /// What is counted of its runs.
    pub fn counts(&self) -> Counts {
        self.past.as_ref().map_or(Counts::default(), |past| past.counts)
    }

    /// Its runs that are kept, in order of claim, node and attempt.
    pub fn executions(&self) -> impl Iterator<Item = Execution> + '_ {
        self.past.iter().flat_map(|past| past.history.executions())
    }

    /// One of its runs; `None` when it is not kept.
    pub fn execution(&self, id: RunId) -> Option<Execution> {
        self.past.as_ref()?.history.execution(id)
    }

    /// Its newest skips, oldest first: index, time and range.
    pub fn skips(&self) -> impl Iterator<Item = &(Index, Wall, Skip)> {
        self.past.iter().flat_map(|past| &past.skips)
    }

    /// Its fires that are open: a run of each has not ended, or is to be tried again. In order of
    /// claim.
    pub fn open_fires(&self) -> impl Iterator<Item = &Fire> {
        self.past.iter().flat_map(|past| past.history.open_fires())
    }

    /// Its runs without an end, in order of claim. Fires that are over cost nothing.
    pub fn open_runs(&self) -> impl Iterator<Item = RunId> + '_ {
        self.open_fires().flat_map(Fire::open_runs)
    }

    /// Its runs that have failed and are to be tried again, in order of claim.
    pub fn owed_retries(&self) -> impl Iterator<Item = RunId> + '_ {
        self.open_fires().flat_map(Fire::owed_retries)
    }

    /// Whether any run has not ended, or is to be tried again.
    pub fn has_open_fire(&self) -> bool {
        self.open_fires().next().is_some()
    }

    /// Whether its mark only stands for a start that is still to come.
    pub fn waits_for_start(&self) -> bool {
        self.timing.starts.is_some_and(|starts| starts.plus(-1) == self.decided_until)
    }

    /// Its fire of that claim, while it is open.
    pub(super) fn fire(&self, group: Index) -> Option<&Fire> {
        self.past.as_ref()?.history.fire(group)
    }

    pub(super) fn past_mut(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }
}

impl Past {
    pub(super) fn count(&mut self, ending: &Ending) {
        let counts = &mut self.counts;
        match ending.end {
            End::Succeeded => {
                counts.success_count = counts.success_count.saturating_add(1);
                counts.last_success = counts.last_success.max(Some(ending.finished));
            }
            End::Failed | End::Killed | End::TimedOut | End::Lost => {
                counts.error_count = counts.error_count.saturating_add(1);
                counts.last_error = counts.last_error.max(Some(ending.finished));
            }
            End::Skipped | End::Missed => self.count_missed(1),
        }
    }

    /// Adds a skip, and drops the oldest beyond what is kept.
    pub(super) fn push_skip(&mut self, index: Index, wall: Wall, skip: Skip) {
        self.skips.push_back((index, wall, skip));
        if self.skips.len() > SKIPS_MAX {
            self.skips.pop_front();
        }
    }

    pub(super) fn count_lost(&mut self, count: u64) {
        self.counts.error_count = self.counts.error_count.saturating_add(count);
    }

    pub(super) fn count_missed(&mut self, count: u64) {
        self.counts.missed_count = self.counts.missed_count.saturating_add(count);
    }

    /// Takes the verdict of a fire whose last run has ended. Runs that never started say nothing,
    /// and no late end overrules a newer fire.
    pub(super) fn judge(&mut self, fire: &Fire) {
        match fire.verdict() {
            Some(verdict) if fire.group > self.judged => {
                self.counts.status = verdict;
                self.judged = fire.group;
            }
            Some(_) | None => {}
        }
    }
}

impl State {
    pub(super) fn put_job(&mut self, put: JobPut, index: Index, wall: Wall) -> Change {
        if !self.is_linked(&put) {
            return Change::Void(self.names.get(put.name.as_str()).copied());
        }
        Change::JobPut(self.put_job_as(JobId(index.0), put, index, wall))
    }

    /// Replaces a job, or creates it under the number `id`; its number.
    pub(super) fn put_job_as(&mut self, id: JobId, put: JobPut, index: Index, wall: Wall) -> JobId {
        let spec: Rc<[u8]> = put.spec.into();
        let timing = self.timings.take(put.timing.borrowed());
        if let Some(&id) = self.names.get(put.name.as_str()) {
            self.save_before(id);
            let Some(job) = self.jobs.get_mut(&id) else { unreachable!("a name leads to a job") };
            job.spec = spec;
            let before = std::mem::replace(&mut job.timing, timing);
            job.facts = put.facts;
            job.version = index.0;
            job.updated = wall;
            job.decided_until = put.mark.unwrap_or(job.decided_until);
            job.anchor = put.anchor.unwrap_or(job.anchor);
            if let Some(past) = &mut job.past {
                past.history.trim(usize::from(job.facts.keep));
            }
            self.timings.put_back(&before);
            if before.parent != job.timing.parent {
                self.chains.unlink(id, &before.parent);
                self.chains.link(id, &job.timing.parent);
            }
            self.settle_chained(id, index, wall);
            return id;
        }
        let name: Rc<str> = put.name.into();
        let job = Job {
            id,
            name: Rc::clone(&name),
            spec,
            timing,
            facts: put.facts,
            version: index.0,
            decided_until: put.mark.unwrap_or(wall.second()),
            anchor: put.anchor.unwrap_or(wall.second()),
            created: wall,
            updated: wall,
            past: None,
        };
        self.chains.link(id, &job.timing.parent);
        self.names.insert(name, id);
        self.jobs.insert(id, Box::new(job));
        id
    }

    pub(super) fn delete_job(&mut self, id: JobId) -> Change {
        let Some(job) = self.jobs.get(&id) else { return Change::Void(Some(id)) };
        if self.children(&job.name).next().is_some() {
            return Change::Void(Some(id));
        }
        self.remove_job(id)
    }

    /// Deletes a job, whoever runs after it.
    pub(super) fn remove_job(&mut self, id: JobId) -> Change {
        self.save_before(id);
        let Some(mut job) = self.jobs.remove(&id) else { return Change::Void(Some(id)) };
        self.names.remove(&job.name);
        self.timings.put_back(&job.timing);
        self.chains.unlink(id, &job.timing.parent);
        self.chains.drop_owed(id);
        for run in job.owed_retries() {
            self.owed.remove(&run);
        }
        if let Some(past) = &mut job.past {
            past.history.end_retries();
            past.history.trim(usize::from(job.facts.keep));
        }
        if job.has_open_fire() {
            self.deleted.insert(id, job);
        }
        Change::JobDeleted(id)
    }
}

/// Each timing once, with how many jobs have it; deleted ones have given theirs back. Found by a
/// hash of what it says, because a start looks one up for each job.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(super) struct Timings(BTreeMap<u64, Vec<(Rc<Timing>, usize)>>);

impl Timings {
    /// The one that equals `timing`, for one job more.
    pub(super) fn take(&mut self, timing: TimingRef<'_>) -> Rc<Timing> {
        let alike = self.0.entry(timing.hash()).or_default();
        if let Some((shared, count)) = alike.iter_mut().find(|(one, _)| one.borrowed() == timing) {
            *count += 1;
            return Rc::clone(shared);
        }
        let shared = Rc::new(timing.to_owned());
        alike.push((Rc::clone(&shared), 1));
        shared
    }

    /// One job has it no more.
    pub(super) fn put_back(&mut self, timing: &Timing) {
        let hash = timing.borrowed().hash();
        let Some(alike) = self.0.get_mut(&hash) else { unreachable!("a job's timing is kept") };
        for (one, count) in alike.iter_mut() {
            *count -= usize::from(**one == *timing);
        }
        alike.retain(|&(_, count)| count > 0);
        if alike.is_empty() {
            self.0.remove(&hash);
        }
    }

    pub(super) fn check(&self, jobs: usize) {
        let counts = || self.0.values().flatten().map(|&(_, count)| count);
        assert_eq!(counts().sum::<usize>(), jobs, "each job has one");
        assert!(counts().all(|count| count > 0));
    }
}

/// A timing whose texts are still where they were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimingRef<'a> {
    pub(super) schedule: &'a str,
    pub(super) timezone: &'a str,
    pub(super) starts: Option<Second>,
    pub(super) expires: Option<Second>,
    pub(super) parent: &'a str,
}

impl TimingRef<'_> {
    fn hash(&self) -> u64 {
        let texts = stable_hash(self.schedule.as_bytes()) ^ stable_hash(self.timezone.as_bytes());
        let texts = mix(texts) ^ stable_hash(self.parent.as_bytes());
        let bounds = [self.starts, self.expires].map(|at| at.map_or(0, |at| at.0 as u64));
        mix(texts ^ mix(bounds[0]) ^ bounds[1])
    }

    pub(super) fn to_owned(self) -> Timing {
        let TimingRef { schedule, timezone, starts, expires, parent } = self;
        let (schedule, timezone, parent) = (schedule.into(), timezone.into(), parent.into());
        Timing { schedule, timezone, starts, expires, parent }
    }
}

impl Timing {
    fn borrowed(&self) -> TimingRef<'_> {
        let Timing { schedule, timezone, starts, expires, parent } = self;
        TimingRef { schedule, timezone, starts: *starts, expires: *expires, parent }
    }
}
