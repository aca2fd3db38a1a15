//! Which fires are due, which are caught up, and which are given up.
//!
//! Owns, on the leader, each job's parsed schedule and one alarm per job. Never starts anything:
//! it proposes `Claim` and `Skip` records, and considers a job again only after those are applied,
//! so that every due time is decided once, in order. The node drives it with the state and the
//! time; zones are handed in.
#![forbid(unsafe_code)]

mod chained;
mod owed;
mod targets;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::cron::{self, Place, Schedule, Zone, Zones};
use crate::ident::{Index, JobId};
use crate::job::{Catchup, Spec};
use crate::mistake::{Mistake, made};
use crate::store::{Claim, Job, Record, Skip, SkipReason, State, Timing, Trigger};
use crate::time::{Now, Second, Wall};
use crate::timer::TimerQueue;

pub use targets::{choose as choose_targets, choose_other};

/// Most jobs that one call of [`Scheduler::poll`] decides; the rest follow at the next call, so
/// that a thundering second delays no heartbeat and no answer for long.
pub const JOBS_PER_POLL: usize = 256;
/// Most claims of one job that are proposed at once.
pub const CLAIMS_PER_DECISION: usize = 100;
/// How many plans may be kept that no job has any more, beside one for each job.
const SPARE_PLANS_MAX: usize = 64;
/// How many alarms may be stale, beside one for each job.
const STALE_ALARMS_MAX: usize = 64;
/// A due time not older than this, in the office of a leader that was there all the time, was
/// delayed and not missed: it is claimed, whatever the catch-up policy.
const DELAY_MAX: i64 = 10;
/// Bounds of the catch-up window of a job that sets none: half the time to the following fire,
/// within these.
const WINDOW_MIN: i64 = 60;
const WINDOW_MAX: i64 = 12 * 3_600;

/// What the state is to know of when the job of `spec` is due.
pub fn timing(spec: &Spec) -> Timing {
    // One that runs after another has no due times of its own, whatever its schedule says.
    let own = |text: &String| if spec.parent_job.is_empty() { text.clone() } else { String::new() };
    Timing {
        schedule: own(&spec.schedule),
        timezone: own(&spec.timezone),
        parent: spec.parent_job.clone(),
        starts: spec.starts_at.map(Wall::second),
        expires: spec.expires_at.map(Wall::second),
    }
}

/// The leader's schedule of all jobs.
#[derive(Debug, Default)]
pub struct Scheduler {
    /// By where the timing stands in memory, which is faster to find than what it says.
    plans: BTreeMap<*const Timing, Rc<Plan>>,
    jobs: BTreeMap<JobId, Scheduled>,
    alarms: TimerQueue<Second, (JobId, u64)>,
    next_token: u64,
    /// Jobs without a plan.
    unplanned: BTreeSet<JobId>,
    /// Since when this leader has watched the clock without a gap.
    live_since: Second,
    /// What is owed for ends of jobs up to here is not known to this leader.
    forgotten: Index,
}

/// What a scheduler has decided for one job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// The records to append, in order.
    pub records: Vec<Record>,
    /// Whether more is owed than these decide; it is decided when they are applied.
    pub more: bool,
}

/// A parsed schedule with its zone, shared by all jobs of the same timing.
#[derive(Debug)]
struct Plan {
    schedule: Schedule,
    zone: Zone,
    /// Two moments between which there is no due time, and of which the later is one; the same for
    /// all jobs of this plan.
    gap: Cell<Option<(Second, Second)>>,
    /// Kept, so that no other can take its place.
    _timing: Rc<Timing>,
}

#[derive(Debug)]
struct Scheduled {
    /// `None` while the zone is missing or the schedule cannot be read: the mark waits.
    plan: Option<Rc<Plan>>,
    /// The newest alarm's; those armed before are stale.
    token: u64,
    /// Index of the last record that was proposed for the job and is not applied yet; 0 for none.
    in_flight: Index,
}

impl Scheduler {
    /// Begins an office: every job is considered afresh, from its mark.
    pub fn take_office(&mut self, state: &State, zones: &dyn Zones, now: Now) {
        let forgotten = if made(Mistake::ChildLostOnFailover) { state.applied() } else { Index(0) };
        *self = Scheduler { live_since: now.wall.second(), forgotten, ..Scheduler::default() };
        for job in state.jobs() {
            self.plan(job, zones);
        }
    }

    /// The clock was stepped, or the machine slept: what lies behind was not watched.
    pub fn clock_jumped(&mut self, state: &State, now: Now) {
        self.live_since = now.wall.second();
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in jobs {
            self.arm(state, id);
        }
    }

    /// The zones on disk may have changed: parses every schedule anew. What is in flight stays so,
    /// and the clock was watched all the time.
    pub fn zones_changed(&mut self, state: &State, zones: &dyn Zones) {
        self.plans.clear();
        for job in state.jobs() {
            self.plan(job, zones);
        }
    }

    /// A job's definition was written: parses its schedule anew.
    pub fn job_put(&mut self, state: &State, id: JobId, zones: &dyn Zones) {
        if let Some(job) = state.job(id) {
            self.plan(job, zones);
        }
    }

    /// A job was deleted.
    pub fn job_deleted(&mut self, id: JobId) {
        self.jobs.remove(&id);
        self.unplanned.remove(&id);
    }

    /// The records that [`Scheduler::poll`] or [`Scheduler::settle`] gave for `id` were appended,
    /// the last of them at `last`: the job waits until that is applied.
    pub fn proposed(&mut self, id: JobId, last: Index) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.in_flight = last;
        }
    }

    /// Whether records for `id` were proposed that are not applied yet: what it owes can't be
    /// settled before.
    pub fn is_in_flight(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| job.in_flight > Index(0))
    }

    /// A record about `id` was applied at `index`.
    pub fn applied(&mut self, state: &State, id: JobId, index: Index) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if index >= job.in_flight {
            job.in_flight = Index(0);
        }
        if job.in_flight == Index(0) {
            self.arm(state, id);
        }
    }

    /// Decides jobs that are due, at most [`JOBS_PER_POLL`] of them: for each the records to
    /// append, in order. Call again while it gives any.
    pub fn poll(&mut self, state: &State, now: Now) -> Vec<(JobId, Vec<Record>)> {
        let mut decided = self.poll_chained(state, now);
        while decided.len() < JOBS_PER_POLL {
            let Some((_, (id, token))) = self.alarms.pop_due(now.wall.second()) else { break };
            if self.jobs.get(&id).is_none_or(|job| job.token != token) {
                continue;
            }
            let records = self.settle(state, id, now).records;
            if !records.is_empty() {
                decided.push((id, records));
            }
        }
        decided
    }

    /// What decides every due time that `id` owes up to now: before its schedule or its state is
    /// changed, and when its alarm rings. Empty when it owes none, or waits for a record.
    pub fn settle(&mut self, state: &State, id: JobId, now: Now) -> Decision {
        let (Some(job), Some(scheduled)) = (state.job(id), self.jobs.get(&id)) else {
            return Decision::default();
        };
        if !job.timing.parent.is_empty() {
            return self.follow(state, job, scheduled.in_flight, now);
        }
        let Some(plan) = scheduled.plan.clone().filter(|_| scheduled.in_flight == Index(0)) else {
            return Decision::default();
        };
        let mut timeline = timeline(&plan, job);
        if made(Mistake::ResumeFromNow) {
            timeline.starts = timeline.starts.max(Some(self.live_since));
        }
        let owed = owed::owed(&timeline, job, now.wall.second());
        let decision = self.decide(state, job, &timeline, &owed, now);
        if decision.records.is_empty() {
            self.arm(state, id);
        }
        decision
    }

    /// The second up to which a change of `job` may not take back its mark: what is decided stays
    /// so, though the clock was set back a little. `None` when the mark only stands for a start
    /// that is still to come.
    pub fn decided_until(&self, job: &Job) -> Option<Second> {
        (!job.waits_for_start()).then_some(job.decided_until)
    }

    /// When [`Scheduler::poll`] must be called next.
    pub fn next_alarm(&self) -> Option<Second> {
        self.alarms.next_deadline()
    }

    /// The next due time of `job` after now, as previews show it; `None` when it owes none.
    pub fn next_due(&self, job: &Job, now: Now) -> Option<Second> {
        if job.facts.disabled {
            return None;
        }
        let scheduled = self.jobs.get(&job.id)?;
        let plan = scheduled.plan.as_ref()?;
        timeline(plan, job).next_after(job.decided_until.max(now.wall.second()))
    }

    /// How old a due time of `job` may be and still be caught up, in seconds; `None` when the job
    /// wants none caught up.
    pub fn catchup_window(&self, job: &Job, spec: &Spec, due: Second) -> Option<i64> {
        match (spec.catchup, spec.catchup_window) {
            (Catchup::Skip, _) => None,
            (_, Some(window)) => Some(whole_seconds(window)),
            (Catchup::Latest | Catchup::All, None) => {
                let plan = self.jobs.get(&job.id)?.plan.as_ref()?;
                let following =
                    Timeline { starts: None, expires: None, ..timeline(plan, job) }.next_after(due);
                let half = following.map_or(WINDOW_MAX, |following| (following - due) / 2);
                Some(half.clamp(WINDOW_MIN, WINDOW_MAX))
            }
        }
    }

    /// The skips that give up what every job owes up to `now`, for `reason`. Of one whose due times
    /// nobody can name here it is not known how many they are.
    pub fn give_up(&self, state: &State, now: Second, reason: SkipReason) -> Vec<Record> {
        let mut records = Vec::new();
        for job in state.jobs_by_name().filter(|job| !job.facts.disabled) {
            let Some(scheduled) = self.jobs.get(&job.id) else { continue };
            let range = match &scheduled.plan {
                Some(plan) => {
                    let timeline = timeline(plan, job);
                    owed::owed(&timeline, job, now).before(None, &timeline)
                }
                None if job.decided_until >= now || !job.timing.parent.is_empty() => None,
                None => Some(owed::Range { first: now, last: now, count: 0, more: true }),
            };
            let Some(owed::Range { first, last, count, more }) = range else { continue };
            records.push(Record::Skip(Skip {
                job: job.id,
                clock_era: state.clock_era(),
                after: job.decided_until,
                until: last,
                first,
                count,
                more,
                reason,
                parent: None,
            }));
        }
        records
    }

    /// Jobs whose zone is missing on this node, or whose schedule cannot be read: their marks
    /// wait.
    pub fn waiting_for_zone(&self) -> usize {
        self.unplanned.len()
    }

    fn plan(&mut self, job: &Job, zones: &dyn Zones) {
        let in_flight = self.jobs.get(&job.id).map_or(Index(0), |scheduled| scheduled.in_flight);
        let plan = self.intern(&job.timing, zones);
        match plan.is_some() || !job.timing.parent.is_empty() {
            true => self.unplanned.remove(&job.id),
            false => self.unplanned.insert(job.id),
        };
        self.jobs.insert(job.id, Scheduled { plan, token: 0, in_flight });
        self.arm_job(job);
    }

    fn intern(&mut self, timing: &Rc<Timing>, zones: &dyn Zones) -> Option<Rc<Plan>> {
        if let Some(plan) = self.plans.get(&Rc::as_ptr(timing)) {
            return Some(Rc::clone(plan));
        }
        let expression = cron::parse(&timing.schedule).ok()?;
        let zone = zones.zone(expression.zone.as_deref().unwrap_or(&timing.timezone))?;
        if self.plans.len() > 2 * self.jobs.len() + SPARE_PLANS_MAX {
            self.plans.retain(|_, plan| Rc::strong_count(plan) > 1);
        }
        let _timing = Rc::clone(timing);
        let plan =
            Rc::new(Plan { schedule: expression.schedule, zone, gap: Cell::new(None), _timing });
        self.plans.insert(Rc::as_ptr(timing), Rc::clone(&plan));
        Some(plan)
    }

    fn arm(&mut self, state: &State, id: JobId) {
        if let Some(job) = state.job(id) {
            self.arm_job(job);
        }
    }

    /// Arms the alarm of the first due time that is not decided.
    fn arm_job(&mut self, job: &Job) {
        let Some(scheduled) = self.jobs.get_mut(&job.id) else { return };
        self.next_token += 1;
        scheduled.token = self.next_token;
        let Some(plan) = scheduled.plan.clone().filter(|_| !job.facts.disabled) else { return };
        let mut timeline = timeline(&plan, job);
        if made(Mistake::ResumeFromNow) {
            timeline.starts = timeline.starts.max(Some(self.live_since));
        }
        if let Some(due) = timeline.next_after(job.decided_until) {
            self.alarms.arm(due, (job.id, self.next_token));
        }
        // Each edit of a job that is due in a year leaves an alarm behind; they are not to pile up.
        if self.alarms.len() > 2 * self.jobs.len() + STALE_ALARMS_MAX {
            let jobs = &self.jobs;
            self.alarms.retain(|(id, token)| jobs.get(id).is_some_and(|job| job.token == *token));
        }
    }

    fn decide(
        &self,
        state: &State,
        job: &Job,
        timeline: &Timeline<'_>,
        owed: &owed::Owed,
        now: Now,
    ) -> Decision {
        let Some(newest) = owed.newest() else { return Decision::default() };
        // Not before, because a job that is changed seldom owes anything.
        let Ok(spec) = Spec::from_bytes(&job.spec) else { return Decision::default() };
        let wanted = self.wanted(job, &spec, newest, now.wall.second());
        let mut claimed = owed.last(wanted, timeline);
        let more = claimed.len() > CLAIMS_PER_DECISION;
        // The rest stay owed, and are decided when these are applied.
        claimed.truncate(CLAIMS_PER_DECISION);
        let era = state.clock_era();
        let mut records = Vec::with_capacity(claimed.len() + 1);
        let mut after = job.decided_until;
        let skipped = owed.before(claimed.first().copied(), timeline);
        let told = |_: &owed::Range| claimed.is_empty() || !made(Mistake::SkipWithoutRecord);
        if let Some(skipped) = skipped.filter(told) {
            records.push(Record::Skip(Skip {
                job: job.id,
                clock_era: era,
                after,
                until: skipped.last,
                first: skipped.first,
                count: skipped.count,
                more: skipped.more,
                reason: SkipReason::WindowPassed,
                parent: None,
            }));
            after = skipped.last;
        }
        for due in claimed {
            records.push(self.fire(state, job, &spec, due, after));
            after = due;
        }
        Decision { records, more }
    }

    /// The claim of `due`, or the skip that stands for it when no node may run it.
    fn fire(&self, state: &State, job: &Job, spec: &Spec, due: Second, after: Second) -> Record {
        let clock_era = state.clock_era();
        let targets = choose_targets(state, spec, job.id, due.0);
        if targets.is_empty() {
            let reason = SkipReason::NoNode;
            let (job, until, first, parent) = (job.id, due, due, None);
            let (count, more) = (1, false);
            let skip = Skip { job, clock_era, after, until, first, count, more, reason, parent };
            return Record::Skip(skip);
        }
        let live = due >= self.live_since;
        let trigger = if live { Trigger::Schedule } else { Trigger::Catchup };
        Record::Claim(Claim {
            job: job.id,
            version: job.version,
            due: Some(due),
            clock_era,
            trigger,
            targets,
            parent: None,
        })
    }

    /// Which of the owed due times, counted from the newest, are to be claimed.
    fn wanted(&self, job: &Job, spec: &Spec, newest: Second, now: Second) -> Wanted {
        let age = now - newest;
        let fresh = age <= whole_seconds(spec.start_deadline);
        let in_window = self.catchup_window(job, spec, newest).is_some_and(|window| age <= window);
        let (count, not_before) = match spec.catchup {
            Catchup::All => {
                let window = spec.catchup_window.map(whole_seconds);
                let not_before = window.map_or(Second(i64::MIN), |window| now.plus(-window));
                (usize::try_from(spec.catchup_max).unwrap_or(usize::MAX), not_before)
            }
            Catchup::Latest if in_window => (1, newest),
            Catchup::Latest | Catchup::Skip => (0, newest),
        };
        Wanted {
            count,
            not_before,
            at_least: usize::from(fresh),
            all_from: self.live_since.max(now.plus(-DELAY_MAX)),
        }
    }
}

/// Which of the newest due times are claimed: each rule gives a number, the largest holds.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// So many that lie at or after `not_before`.
    count: usize,
    not_before: Second,
    /// So many in any case.
    at_least: usize,
    /// All from here on.
    all_from: Second,
}

/// One job's due times, within the bounds that the job itself sets.
struct Timeline<'a> {
    schedule: &'a Schedule,
    place: Place<'a>,
    /// It owes none before, and none after.
    starts: Option<Second>,
    expires: Option<Second>,
    /// What is known of the schedule, if it is due at the same times for all jobs.
    gap: Option<&'a Cell<Option<(Second, Second)>>>,
}

fn timeline<'a>(plan: &'a Plan, job: &'a Job) -> Timeline<'a> {
    let place = Place { zone: &plan.zone, name: &job.name, anchor: job.anchor };
    let Timing { starts, expires, .. } = *job.timing;
    let shared = !plan.schedule.is_spread() && !plan.schedule.is_every();
    Timeline { schedule: &plan.schedule, place, starts, expires, gap: shared.then_some(&plan.gap) }
}

impl Timeline<'_> {
    fn next_after(&self, after: Second) -> Option<Second> {
        // The mark alone does not say when the job starts: a correction of the clock lowers it.
        let after = self.starts.map_or(after, |starts| after.max(starts.plus(-1)));
        let due = match self.gap.and_then(Cell::get) {
            Some((from, due)) if (from..due).contains(&after) => due,
            Some(_) | None => {
                let due = self.schedule.next_after(after, &self.place)?;
                if let Some(gap) = self.gap {
                    gap.set(Some((after, due)));
                }
                due
            }
        };
        self.expires.is_none_or(|expires| due <= expires).then_some(due)
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
