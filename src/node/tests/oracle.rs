//! What must hold of a journal, said once more and differently.
//!
//! It reads every durable record, in order, and keeps a state of its own. For each due time that
//! a job owes it expects exactly one claim or skip (I13); for each end it knows from the launcher
//! whether it can be true; and it remembers who asked for what, for the answers to be compared.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::launcher::Launchers;
use crate::cron::{self, Place, Schedule, Zone};
use crate::ident::{Index, JobId, NodeId, RunId};
use crate::job::Spec;
use crate::job::spec::RETRY_WAIT_MAX;
use crate::run::order::{Cause, Entry as Known, Status};
use crate::store::{
    CHAINED_MAX, Change, Claim, End, Ending, Entry, Finished, Job, JobPut, Reason, Record,
    Restored, Retry, Skip, State, Trigger,
};
use crate::time::{Second, Wall};

/// Up to how many due times of a skip are counted.
const COUNT_MAX: u32 = 10_000;

pub(super) struct Oracle {
    pub(super) state: State,
    /// Effective records by who asked for them.
    pub(super) effects: BTreeMap<String, Vec<Index>>,
    /// The newest decided due time of each job, and the clock era that it is of.
    decided: BTreeMap<JobId, (u32, Second)>,
    ended: BTreeMap<RunId, Ending>,
    /// The definition that each fire was claimed with, and how many attempts each target had left.
    claimed: BTreeMap<Index, Spec>,
    /// Runs that were tried again, and by which.
    retried: BTreeMap<RunId, RunId>,
    /// Runs that are to be tried again, and since when.
    owed: BTreeMap<RunId, (JobId, Wall)>,
    /// The targets of each fire, with its job, while it may still succeed.
    fires: BTreeMap<Index, (JobId, Vec<NodeId>)>,
    /// Fires that jobs are owed for ends of others, and since when.
    chained: BTreeMap<(JobId, Index), Wall>,
    schedules: BTreeMap<String, Schedule>,
    pub(super) counts: Counts,
}

/// What a life has seen, so that one without events is noticed.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Counts {
    pub(super) claims: u64,
    pub(super) skips: u64,
    pub(super) ends: u64,
    pub(super) lost: u64,
    pub(super) missed: u64,
    pub(super) corrections: u64,
    pub(super) crashes: u64,
    pub(super) answers: u64,
    /// Times that the node heard of a full disk, and answers that said of no outcome.
    pub(super) full: u64,
    pub(super) unknown: u64,
    pub(super) restored: u64,
    pub(super) retries: u64,
    /// Retries that ended because their job was gone.
    pub(super) dropped: u64,
    /// Fires for ends of other jobs, and those of them that were given up.
    pub(super) chained: u64,
    pub(super) unchained: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: Counts) {
        self.claims += other.claims;
        self.skips += other.skips;
        self.ends += other.ends;
        self.lost += other.lost;
        self.missed += other.missed;
        self.corrections += other.corrections;
        self.crashes += other.crashes;
        self.answers += other.answers;
        self.full += other.full;
        self.unknown += other.unknown;
        self.restored += other.restored;
        self.retries += other.retries;
        self.dropped += other.dropped;
        self.chained += other.chained;
        self.unchained += other.unchained;
    }
}

impl Oracle {
    pub(super) fn new() -> Oracle {
        Oracle {
            state: State::new(),
            effects: BTreeMap::new(),
            decided: BTreeMap::new(),
            ended: BTreeMap::new(),
            claimed: BTreeMap::new(),
            retried: BTreeMap::new(),
            owed: BTreeMap::new(),
            fires: BTreeMap::new(),
            chained: BTreeMap::new(),
            schedules: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Takes the next durable record.
    pub(super) fn take(&mut self, entry: Entry, launchers: &dyn Launchers) -> Change {
        let (index, wall, actor) = (entry.index, entry.wall, entry.actor.clone());
        let record = match entry.record.clone() {
            Record::Keyed(keyed) => keyed.record,
            record => record,
        };
        let before = match &record {
            Record::Claim(claim) => self.state.job(claim.job).cloned(),
            Record::Skip(skip) => self.state.job(skip.job).cloned(),
            Record::JobPut(put) => self.state.job_named(&put.name).cloned(),
            _ => None,
        };
        let all: Vec<Job> = match &record {
            Record::RestoreCommit(_) => self.state.jobs_by_name().cloned().collect(),
            _ => Vec::new(),
        };
        let marks = |state: &State| -> Vec<(JobId, Second)> {
            state.jobs_by_name().map(|job| (job.id, job.decided_until)).collect()
        };
        let marks_before = marks(&self.state);
        let change = self.state.apply(entry);
        self.state.check();
        if let Record::EpochStart { .. }
        | Record::Node(_)
        | Record::Finished(_)
        | Record::Retry(_)
        | Record::RestorePart(_) = &record
        {
            let what = "neither offices nor ends nor retries nor what is staged move a mark";
            assert_eq!(marks(&self.state), marks_before, "{what}");
        }
        if matches!(change, Change::Void(_) | Change::Staged) {
            return change;
        }
        if let Change::Restored(jobs) = &change {
            self.restored(jobs, &all, wall.second());
        }
        match (&record, before) {
            (Record::Claim(claim), Some(job)) => {
                self.claimed.insert(index, Spec::from_bytes(&job.spec).unwrap());
                self.fires.insert(index, (job.id, claim.targets.clone()));
                self.claim(claim, &job, wall);
            }
            (Record::Retry(retry), _) => self.retry(*retry, wall),
            (Record::Skip(skip), Some(job)) => self.skip(skip, &job, wall),
            (Record::JobPut(put), stored) => self.put(put, stored.as_ref(), wall),
            (Record::Finished(finished), _) => {
                self.finished(finished, launchers);
                self.owe(&change, finished, wall);
                self.succeeded(finished.run.group, (index, wall));
            }
            (Record::ClockCorrected { .. }, _) => self.counts.corrections += 1,
            _ => {}
        }
        self.owed.retain(|_, (job, _)| self.state.job(*job).is_some());
        self.chained.retain(|(id, _), _| {
            let job = self.state.job(*id);
            job.is_some_and(|job| !job.facts.disabled && !job.timing.parent.is_empty())
        });
        let (owed, told) = (self.chained.keys().copied(), self.state.chained());
        assert!(owed.eq(told), "each success of a job gives each that runs after it a fire");
        let (owed, told) = (self.owed.keys(), self.state.owed_retries().map(|(run, _)| run));
        assert!(owed.copied().eq(told), "what has failed and may be tried again is to be");
        self.effects.entry(actor).or_default().push(index);
        change
    }

    /// Whether `run` is the first of its target, or follows one that has failed.
    pub(super) fn has_begun(&self, run: RunId) -> bool {
        run.attempt == 1 || self.retried.values().any(|&next| next == run)
    }

    /// The run that is owed a retry for longest, and since when.
    pub(super) fn owes_retry(&self) -> Option<(RunId, Wall)> {
        let all = self.owed.iter().map(|(&run, &(_, since))| (run, since));
        all.min_by_key(|&(_, since)| since)
    }

    /// The fire that is owed for longest for the end of another job, and since when.
    pub(super) fn owes_chained(&self) -> Option<(JobId, Index, Wall)> {
        let all = self.chained.iter().map(|(&(id, end), &since)| (id, end, since));
        all.min_by_key(|&(.., since)| since)
    }

    /// The attempt after which `run` was made.
    pub(super) fn attempt_before(&self, run: RunId) -> Option<RunId> {
        self.retried.iter().find(|(_, next)| **next == run).map(|(&before, _)| before)
    }

    /// Whether `run` has ended.
    pub(super) fn has_ended(&self, run: RunId) -> bool {
        self.ended.contains_key(&run)
    }

    /// How `run` has ended.
    pub(super) fn ending(&self, run: RunId) -> Option<&Ending> {
        self.ended.get(&run)
    }

    /// The first due time that `job` owes.
    pub(super) fn owes(&mut self, job: &Job) -> Option<Second> {
        if job.facts.disabled {
            return None;
        }
        let spec = Spec::from_bytes(&job.spec).unwrap();
        self.next(job, &spec, job.decided_until)
    }

    fn next(&mut self, job: &Job, spec: &Spec, after: Second) -> Option<Second> {
        if !spec.parent_job.is_empty() {
            return None;
        }
        let schedule = self
            .schedules
            .entry(spec.schedule.clone())
            .or_insert_with(|| cron::parse(&spec.schedule).unwrap().schedule);
        let zone = Zone::utc();
        let place = Place { zone: &zone, name: &job.name, anchor: job.anchor };
        let after = spec.starts_at.map_or(after, |at| after.max(at.second().plus(-1)));
        let expires = spec.expires_at.map_or(Second(i64::MAX), Wall::second);
        schedule.next_after(after, &place).filter(|&due| due <= expires)
    }

    fn claim(&mut self, claim: &Claim, job: &Job, wall: Wall) {
        self.counts.claims += 1;
        assert_eq!(claim.parent.is_some(), claim.trigger == Trigger::Parent);
        if let Some(end) = claim.parent {
            self.counts.chained += 1;
            let owed = self.chained.remove(&(job.id, end));
            assert!(owed.is_some(), "{}: nothing is owed for the end at {end}", job.name);
        }
        let Some(due) = claim.due else { return };
        assert!(!job.facts.disabled, "a disabled job is not claimed");
        let spec = Spec::from_bytes(&job.spec).unwrap();
        let expected = self.next(job, &spec, job.decided_until);
        assert_eq!(Some(due), expected, "{}: due times are decided in order", job.name);
        assert!(due <= wall.second(), "{}: no fire before its time", job.name);
        self.decide(job, due, due);
    }

    /// A run has ended: whether its target is to be tried again, its definition says.
    fn owe(&mut self, change: &Change, finished: &Finished, wall: Wall) {
        let Change::Ended(job, run) = *change else { panic!("an end ends a run: {change:?}") };
        let spec = &self.claimed[&run.group];
        let failed = match finished.ending.end {
            End::Failed | End::TimedOut => true,
            End::Lost => spec.idempotent,
            End::Succeeded | End::Killed | End::Skipped | End::Missed => false,
        };
        if failed && u64::from(run.attempt) <= spec.retries && self.state.job(job).is_some() {
            self.owed.insert(run, (job, wall));
        }
    }

    /// A run of the fire has ended. When every target of it has succeeded, by its last attempt, all
    /// who run after its job are owed a fire, if they may be now.
    fn succeeded(&mut self, group: Index, (index, wall): (Index, Wall)) {
        let Some((job, targets)) = self.fires.get(&group) else { return };
        let last = |&node: &NodeId| {
            let mut run = RunId { group, node, attempt: 1 };
            while let Some(&next) = self.retried.get(&run) {
                run = next;
            }
            self.ended.get(&run).is_some_and(|ending| ending.end == End::Succeeded)
        };
        let Some(parent) = self.state.job(*job).filter(|_| targets.iter().all(last)) else {
            return;
        };
        let now = wall.second();
        let may_run = |child: &&Job| {
            let spec = Spec::from_bytes(&child.spec).unwrap();
            let begun = spec.starts_at.is_none_or(|at| at.second() <= now);
            let over = spec.expires_at.is_some_and(|at| at.second() < now);
            *spec.parent_job == *parent.name && !child.facts.disabled && begun && !over
        };
        for child in self.state.jobs_by_name().filter(may_run) {
            let id = child.id;
            let owed = self.chained.range((id, Index(0))..=(id, Index(u64::MAX))).count();
            if owed < CHAINED_MAX {
                self.chained.insert((id, index), wall);
            }
        }
        self.fires.remove(&group);
    }

    /// An attempt follows one that has failed, once, in its time and where it may.
    fn retry(&mut self, retry: Retry, wall: Wall) {
        self.counts.retries += 1;
        let Retry { run, node, not_before } = retry;
        let spec = &self.claimed[&run.group];
        let next = RunId { node, attempt: run.attempt + 1, ..run };
        assert!(self.owed.remove(&run).is_some(), "{run} is tried again and was not to be");
        assert!(node == run.node || !spec.runs_on_each(), "{run} leaves its node");
        assert!(!self.retried.values().any(|&other| other == next), "{next} is made twice");
        assert_eq!(self.retried.insert(run, next), None, "{run} is tried again twice");
        let doublings = 1_u64 << (run.attempt - 1);
        let first = spec.retry_backoff.as_millis() as u64;
        let whole = (first * doublings).min(RETRY_WAIT_MAX.as_millis() as u64) as i64;
        let wait = not_before.ms_since(wall);
        let bounds = whole * 9 / 10 - 2..=(whole * 11 / 10).min(RETRY_WAIT_MAX.as_millis() as i64);
        assert!(bounds.contains(&wait), "{run} is tried again after {wait} ms of {whole}");
    }

    fn skip(&mut self, skip: &Skip, job: &Job, wall: Wall) {
        self.counts.skips += 1;
        assert!(!job.facts.disabled, "a disabled job owes nothing");
        if let Some(end) = skip.parent {
            self.counts.unchained += 1;
            let owed = self.chained.remove(&(job.id, end));
            assert!(owed.is_some(), "{}: nothing is owed for the end at {end}", job.name);
            return;
        }
        let spec = Spec::from_bytes(&job.spec).unwrap();
        let first = self.next(job, &spec, job.decided_until);
        assert_eq!(Some(skip.first), first, "{}: a skip begins where the mark is", job.name);
        let (mut at, mut count) = (skip.first, 1);
        while at < skip.until && count < COUNT_MAX {
            at = self.next(job, &spec, at).expect("a skip ends with a due time");
            count += 1;
        }
        assert_eq!(skip.count, count, "{}: a skip counts its due times", job.name);
        assert_eq!(skip.more, at < skip.until, "{}: or says that there are more", job.name);
        let last = self.next(job, &spec, skip.until.plus(-1));
        assert_eq!(last, Some(skip.until), "{}: a skip ends with a due time", job.name);
        assert!(skip.until <= wall.second(), "{}: nothing is skipped before its time", job.name);
        self.decide(job, skip.first, skip.until);
    }

    fn decide(&mut self, job: &Job, first: Second, last: Second) {
        let era = self.state.clock_era();
        let before = self.decided.insert(job.id, (era, last));
        if let Some((_, newest)) = before.filter(|&(decided_in, _)| decided_in == era) {
            assert!(first > newest, "{}: {first:?} is decided twice", job.name);
        }
    }

    fn put(&mut self, put: &JobPut, stored: Option<&Job>, wall: Wall) {
        let spec = Spec::from_bytes(&put.spec).unwrap();
        let now = wall.second();
        let start = spec.starts_at.map_or(now, |at| at.second().plus(-1));
        let expected = now.max(start);
        let Some(job) = stored else {
            assert_eq!(put.mark, Some(expected), "{}: nothing is owed from before", put.name);
            return;
        };
        let old = Spec::from_bytes(&job.spec).unwrap();
        let waits = old.starts_at.is_some_and(|at| at.second().plus(-1) == job.decided_until);
        if waits {
            // The mark stands for the start, and what was decided before it is not known any more.
            self.decided.remove(&job.id);
        }
        let read = |spec: &Spec| {
            let is_child = !spec.parent_job.is_empty();
            (!is_child).then(|| cron::parse(&spec.schedule).unwrap().schedule)
        };
        let moves = read(&old) != read(&spec)
            || old.starts_at != spec.starts_at
            || (old.disabled && !spec.disabled)
            // It owed nothing from its old end to now, whatever its end is from here on.
            || (old.expires_at != spec.expires_at
                && old.expires_at.is_some_and(|at| at.second() < now));
        if put.facts.disabled || spec.parent_job.is_empty() {
            // An end that was on its way is behind what was decided before the edit.
            let owed = self.chained.keys().filter(|(id, _)| *id == job.id).count() as u64;
            let missed = self.state.job(job.id).expect("it is there").counts().missed_count;
            let what = "what is owed after another is told when it is given up";
            assert_eq!(missed, job.counts().missed_count + owed, "{}: {what}", put.name);
        }
        let Some(mark) = put.mark else {
            assert!(!moves, "{}: an edit of the times or an enable moves the mark", put.name);
            return;
        };
        assert!(moves, "{}: other edits leave the mark", put.name);
        assert!(mark >= expected, "{}: nothing is owed from before an edit", put.name);
        assert!(mark == expected || mark == job.decided_until);
        let owed = self.owes(job).filter(|&due| due <= now);
        assert_eq!(owed, None, "{}: what was owed is decided before an edit", put.name);
    }

    fn restored(&mut self, jobs: &[(Rc<str>, JobId, Restored)], before: &[Job], now: Second) {
        self.counts.restored += 1;
        for (name, id, result) in jobs {
            let old = before.iter().find(|job| job.id == *id);
            assert_eq!(old.is_some(), *result != Restored::Created, "{name}: {result:?}");
            if *result == Restored::Removed {
                assert_eq!(self.state.job(*id), None, "{name} is removed");
                continue;
            }
            let job = self.state.job(*id).cloned().expect("it is restored");
            assert!(job.decided_until >= now, "{name}: nothing is owed from before a restore");
            let Some(old) = old else { continue };
            if old.waits_for_start() {
                self.decided.remove(id);
            } else {
                assert!(job.decided_until >= old.decided_until, "{name}: a mark went back");
            }
            let owed = self.owes(old).filter(|&due| due <= now);
            assert_eq!(owed, None, "{name}: what was owed is decided before a restore");
        }
    }

    fn finished(&mut self, finished: &Finished, launchers: &dyn Launchers) {
        self.counts.ends += 1;
        let Finished { run, ending, .. } = finished;
        let before = self.ended.insert(*run, *ending);
        assert_eq!(before, None, "{run} has ended before");
        assert_ne!(ending.reason, Some(Reason::Untraceable), "{run}");
        let launcher = launchers.launcher_of(run.node);
        let instance = launcher.started.get(run);
        let known = launcher.ends.get(run);
        match ending.end {
            End::Missed => {
                self.counts.missed += 1;
                assert_eq!(instance, None, "{run} is called missed and was started");
            }
            End::Skipped => {
                self.counts.dropped += 1;
                assert_eq!(
                    ending.reason,
                    Some(Reason::JobDeleted),
                    "{run}: overlap is decided with the claim"
                );
                assert!(run.attempt > 1, "{run}: what is claimed goes on without its job");
                assert_eq!(instance, None, "{run} is called skipped and was started");
                let of_job = self.state.jobs_by_name().any(|job| job.execution(*run).is_some());
                assert!(!of_job, "{run}: its job is there");
            }
            // Whether it was given up too early is for those to say who know of the network.
            End::Lost if ending.reason == Some(Reason::Unreachable) => self.counts.lost += 1,
            End::Lost => {
                self.counts.lost += 1;
                let holder = instance.filter(|&&own| launcher.instance() == Some(own));
                assert_eq!(holder, None, "{run} is called lost and its launcher lives");
            }
            End::Succeeded | End::Failed | End::Killed | End::TimedOut => match known {
                Some(Known::Ended(exit)) => {
                    let end = match (exit.cause, exit.status) {
                        (Cause::TimedOut, _) => End::TimedOut,
                        (Cause::Killed, _) => End::Killed,
                        (Cause::Own, Status::Code(0)) => End::Succeeded,
                        (Cause::Own, Status::Code(_) | Status::Signal(_)) => End::Failed,
                    };
                    assert_eq!((end, exit.started), (ending.end, ending.started), "{run}");
                    assert_eq!(finished.tail, exit.tail, "{run}");
                }
                Some(Known::Failed(_)) => assert_eq!(ending.end, End::Failed, "{run}"),
                Some(Known::Running(..)) => unreachable!("is no end"),
                None => {
                    assert_eq!(ending.end, End::Failed, "{run} ended, nobody saw how");
                    assert_eq!(instance, None, "{run} failed to start and was started");
                }
            },
        }
    }
}
