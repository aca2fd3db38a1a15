//! Fires and their runs, and the records that begin and end them.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::jobs::{Job, Status};
use super::record::{Claim, End, Ending, Facts, Finished, Reason, Skip, SkipReason, Trigger};
use super::{Change, State};
use crate::ident::{Index, NodeId, RunId};
use crate::time::{Second, Wall};

/// One decided fire: a group of runs, one for each target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fire {
    /// Index of its claim.
    pub group: Index,
    /// The due time; `None` for a fire by hand.
    pub due: Option<Second>,
    /// What made it.
    pub trigger: Trigger,
    /// When it was claimed.
    pub claimed: Wall,
    /// The claimed definition: an edit changes later fires only.
    pub spec: Rc<[u8]>,
    /// What that says of retries.
    pub retries: u8,
    /// Whether what is lost has failed.
    pub idempotent: bool,
    /// In order of node and attempt.
    pub runs: Vec<Run>,
}

/// One run of a fire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where.
    pub node: NodeId,
    /// Which try, from 1.
    pub attempt: u32,
    /// Whether it has ended.
    pub state: RunState,
    /// Index of the record of its end, which has its last output; 0 while it is open, and of one
    /// that its claim skipped.
    pub record: Index,
    /// Whether there is a next attempt.
    pub retried: bool,
    /// When it may start at the earliest, of one that is a retry; forgotten with its fire.
    pub not_before: Option<Wall>,
}

/// One run as the history has it, with what it has from its fire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Execution {
    /// Index of the claim.
    pub group: Index,
    /// The due time; `None` for a fire by hand.
    pub due: Option<Second>,
    /// When it was claimed; once the whole fire has ended, only of one by hand, else its due time.
    pub claimed: Wall,
    /// What made the fire.
    pub trigger: Trigger,
    /// The run itself.
    pub run: Run,
}

/// Whether a run has ended. That it is running is no part of the state: the leader hears it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunState {
    /// Claimed, and no end known.
    Open,
    /// The end, which never changes again.
    Ended(Ending),
}

impl Run {
    /// A run with nothing behind it.
    pub(super) fn new(node: NodeId, attempt: u32, state: RunState) -> Run {
        Run { node, attempt, state, record: Index(0), retried: false, not_before: None }
    }

    /// Whether it is a try after another, which has failed.
    pub fn is_retry(&self) -> bool {
        self.attempt > 1
    }

    /// How its target ended, once nothing is tried any more. A retry that never started leaves the
    /// target with the failure before it.
    fn outcome(&self) -> Option<Ending> {
        match self.state {
            RunState::Open => None,
            RunState::Ended(ending) if self.is_retry() && !ending.end.may_have_started() => {
                Some(Ending { end: End::Failed, ..ending })
            }
            RunState::Ended(ending) => Some(ending),
        }
    }
}

impl Fire {
    /// The name of `run`, which must be of this fire.
    pub fn run_id(&self, run: &Run) -> RunId {
        RunId { group: self.group, node: run.node, attempt: run.attempt }
    }

    /// Its runs, as the history shows them.
    pub fn executions(&self) -> impl Iterator<Item = Execution> + '_ {
        let Fire { group, due, claimed, trigger, .. } = *self;
        self.runs.iter().map(move |&run| Execution { group, due, claimed, trigger, run })
    }

    /// Its runs without an end.
    pub fn open_runs(&self) -> impl Iterator<Item = RunId> + '_ {
        self.runs.iter().filter(|run| run.state == RunState::Open).map(|run| self.run_id(run))
    }

    /// Its runs that have failed and are to be tried again.
    pub fn owed_retries(&self) -> impl Iterator<Item = RunId> + '_ {
        self.runs.iter().filter(|run| self.owes_retry(run)).map(|run| self.run_id(run))
    }

    /// That run of it.
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(self.position(id).ok()?)
    }

    /// Whether all runs have ended, and none is to be tried again.
    pub fn is_over(&self) -> bool {
        self.unfinished().next().is_none()
    }

    /// Whether a retry of `run` may be made on `node`: the target has no other attempt under way or
    /// behind it there, nor has another target.
    pub fn may_retry_on(&self, run: RunId, node: NodeId) -> bool {
        let next = RunId { node, attempt: run.attempt + 1, ..run };
        let is_other = |other: &&Run| other.node == node && self.run_id(other) != run;
        let is_taken = self.runs.iter().filter(is_other).any(|other| !other.retried);
        self.run(run).is_some_and(|run| self.owes_retry(run))
            && !is_taken
            && self.run(next).is_none()
    }

    /// Whether every target has succeeded.
    pub(super) fn has_succeeded(&self) -> bool {
        let good = |run: &Run| run.outcome().is_some_and(|ending| ending.end == End::Succeeded);
        let mut last = self.runs.iter().filter(|run| !run.retried).peekable();
        last.peek().is_some() && last.all(good)
    }

    /// How many targets it has.
    pub fn targets(&self) -> usize {
        self.runs.iter().filter(|run| !run.retried).count()
    }

    /// Its runs that are open or to be tried again.
    fn unfinished(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.state == RunState::Open || self.owes_retry(run))
    }

    /// Whether `run` has failed, and is to be tried again.
    fn owes_retry(&self, run: &Run) -> bool {
        let RunState::Ended(Ending { end, .. }) = run.state else { return false };
        let failed = match end {
            End::Failed | End::TimedOut => true,
            End::Lost => self.idempotent,
            End::Succeeded | End::Killed | End::Skipped | End::Missed => false,
        };
        failed && !run.retried && run.attempt <= u32::from(self.retries)
    }

    pub(super) fn position(&self, id: RunId) -> Result<usize, usize> {
        self.runs.binary_search_by_key(&(id.node, id.attempt), |run| (run.node, run.attempt))
    }

    pub(super) fn runs_are_in_order(&self) -> bool {
        self.runs.is_sorted_by(|a, b| (a.node, a.attempt) < (b.node, b.attempt))
    }

    /// What its ends say of the job; `None` when no run was ever to start. Of a target the last
    /// attempt counts.
    pub(super) fn verdict(&self) -> Option<Status> {
        let last = self.runs.iter().filter(|run| !run.retried);
        let ends = last.filter_map(Run::outcome).map(|ending| ending.end);
        let started: Vec<End> = ends.filter(|end| end.may_have_started()).collect();
        let succeeded = started.iter().filter(|&&end| end == End::Succeeded).count();
        match (succeeded, started.len()) {
            (_, 0) => None,
            (0, _) => Some(Status::Failed),
            (good, all) if good == all => Some(Status::Success),
            _ => Some(Status::PartiallyFailed),
        }
    }
}

impl Execution {
    /// The run's name.
    pub fn id(&self) -> RunId {
        RunId { group: self.group, node: self.run.node, attempt: self.run.attempt }
    }

    /// The moment it was due, or without a due time the moment of its claim.
    pub fn scheduled_for(&self) -> Wall {
        self.due.map_or(self.claimed, |due| due.wall())
    }

    /// Whether it has written something, whose end may be read at [`Run::record`].
    pub fn may_have_output(&self) -> bool {
        match self.run.state {
            RunState::Open => false,
            RunState::Ended(ending) => ending.output_bytes > 0 && self.run.record != Index(0),
        }
    }
}

impl State {
    pub(super) fn claim(&mut self, claim: Claim, group: Index, wall: Wall) -> Change {
        let era = self.clock_era;
        let void = Change::Void(Some(claim.job));
        let Some(job) = self.jobs.get(&claim.job) else { return void };
        let stale_due = claim.due.is_some_and(|due| due <= job.decided_until);
        let is_owed = claim.parent.is_none_or(|end| self.chains.owes(claim.job, end));
        if claim.version != job.version || claim.clock_era != era || stale_due || !is_owed {
            return void;
        }
        if let Some(end) = claim.parent {
            self.chains.decide(claim.job, end);
        }
        self.save_before(claim.job);
        let Some(job) = self.jobs.get_mut(&claim.job) else { return void };
        if let Some(due) = claim.due {
            job.decided_until = due;
        }
        let busy = Busy::of(job);
        let mut runs = Vec::with_capacity(claim.targets.len());
        for &node in &claim.targets {
            let state = match busy.holds(node) {
                true => RunState::Ended(Ending::decided(End::Skipped, Reason::Overlap, wall)),
                false => RunState::Open,
            };
            runs.push(Run::new(node, 1, state));
        }
        let (due, trigger, spec) = (claim.due, claim.trigger, Rc::clone(&job.spec));
        let Facts { retries, idempotent, .. } = job.facts;
        let fire = Fire { group, due, trigger, claimed: wall, spec, retries, idempotent, runs };
        let skipped = fire.runs.len() - fire.open_runs().count();
        for run in fire.open_runs() {
            self.open.insert(run, claim.job);
        }
        let keep = usize::from(job.facts.keep);
        let past = job.past_mut();
        past.count_missed(skipped as u64);
        past.history.push(fire);
        past.history.trim(keep);
        Change::Claimed(claim.job, group)
    }

    pub(super) fn finish(&mut self, finished: Finished, index: Index, wall: Wall) -> Change {
        let Some(&id) = self.open.get(&finished.run) else {
            // An ended run never changes its outcome.
            return Change::Void(None);
        };
        self.save_before(id);
        self.open.remove(&finished.run);
        let deleted = !self.jobs.contains_key(&id);
        let jobs = if deleted { &mut self.deleted } else { &mut self.jobs };
        let Some(job) = jobs.get_mut(&id) else { unreachable!("an open run belongs to a job") };
        let keep = usize::from(job.facts.keep);
        let past = job.past_mut();
        let fire = past.history.fire_mut(finished.run.group);
        let Some((at, fire)) =
            fire.and_then(|fire| Some((fire.position(finished.run).ok()?, fire)))
        else {
            unreachable!("an open run is in its fire")
        };
        let ended = RunState::Ended(finished.ending);
        fire.runs[at] = Run { state: ended, record: index, ..fire.runs[at] };
        if fire.owes_retry(&fire.runs[at]) {
            self.owed.insert(finished.run, id);
            return Change::Ended(id, finished.run);
        }
        if let Some(outcome) = fire.runs[at].outcome() {
            past.count(&outcome);
        }
        let mut has_succeeded = false;
        if let Some(fire) = past.history.close(finished.run.group) {
            past.judge(&fire);
            has_succeeded = fire.has_succeeded();
        }
        past.history.trim(keep);
        if deleted && !job.has_open_fire() {
            self.deleted.remove(&id);
        } else if has_succeeded && !deleted {
            let name = Rc::clone(&job.name);
            self.follow(&name, index, wall);
        }
        Change::Ended(id, finished.run)
    }

    /// Ends every open run of `node` as lost.
    pub(super) fn lose_runs(&mut self, node: NodeId, index: Index, wall: Wall) {
        let open = self.open.keys().filter(|run| run.node == node);
        let runs: Vec<RunId> = open.copied().collect();
        for run in runs {
            let ending = Ending::decided(End::Lost, Reason::StoreReplaced, wall);
            self.finish(Finished { run, ending, tail: Vec::new() }, index, wall);
        }
    }

    pub(super) fn skip(&mut self, skip: Skip, index: Index, wall: Wall) -> Change {
        let era = self.clock_era;
        let id = skip.job;
        let Some(job) = self.jobs.get(&id) else { return Change::Void(Some(id)) };
        if let Some(end) = skip.parent {
            return self.skip_chained(skip, end, (index, wall));
        }
        // A range that ends where it starts or before would take the mark back.
        let empty = skip.until <= skip.after;
        if empty || skip.clock_era != era || skip.after != job.decided_until {
            return Change::Void(Some(id));
        }
        self.save_before(id);
        let Some(job) = self.jobs.get_mut(&id) else { return Change::Void(Some(id)) };
        job.decided_until = skip.until;
        let past = job.past_mut();
        let count = u64::from(skip.count);
        match skip.reason {
            SkipReason::WindowPassed
            | SkipReason::NoNode
            | SkipReason::Backlog
            | SkipReason::Withdrawn => past.count_missed(count),
            // What may have run is not called missed.
            SkipReason::Lost => past.count_lost(count),
        }
        past.push_skip(index, wall, skip);
        Change::Skipped(id)
    }
}

/// The nodes on which a run of `job` may not start now.
enum Busy {
    All,
    These(BTreeSet<NodeId>),
}

impl Busy {
    fn of(job: &Job) -> Busy {
        let Facts { forbid, per_node, .. } = job.facts;
        match (forbid && job.has_open_fire(), per_node) {
            (false, _) => Busy::These(BTreeSet::new()),
            (true, false) => Busy::All,
            (true, true) => {
                let runs = job.open_fires().flat_map(Fire::unfinished);
                Busy::These(runs.map(|run| run.node).collect())
            }
        }
    }

    fn holds(&self, node: NodeId) -> bool {
        match self {
            Busy::All => true,
            Busy::These(nodes) => nodes.contains(&node),
        }
    }
}
