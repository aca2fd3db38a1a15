//! Fires and their runs, and the records that begin and end them.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::jobs::{Job, SKIPS_MAX, Status};
use super::record::{Claim, End, Ending, Facts, Finished, Reason, Skip, SkipReason, Trigger};
use super::{Change, State};
use crate::ident::{Index, JobId, NodeId, RunId};
use crate::time::{Second, Wall};

/// Most runs that the ended fires of one job have together, whatever it asks to keep.
pub(super) const SUMMARIES_MAX: usize = 10_000;

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
    /// The claimed definition, for as long as a run is open: an edit changes later fires only.
    pub spec: Option<Rc<[u8]>>,
    /// In order of node.
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
}

/// Whether a run has ended. That it is running is no part of the state: the leader hears it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunState {
    /// Claimed, and no end known.
    Open,
    /// The end, which never changes again.
    Ended(Ending),
}

impl Fire {
    /// The name of `run`, which must be of this fire.
    pub fn run_id(&self, run: &Run) -> RunId {
        RunId { group: self.group, node: run.node, attempt: run.attempt }
    }

    /// Its runs without an end.
    pub fn open_runs(&self) -> impl Iterator<Item = RunId> + '_ {
        self.runs.iter().filter(|run| run.state == RunState::Open).map(|run| self.run_id(run))
    }

    /// Whether all runs have ended.
    pub fn is_over(&self) -> bool {
        self.open_runs().next().is_none()
    }

    pub(super) fn runs_are_in_order(&self) -> bool {
        self.runs.is_sorted_by(|a, b| (a.node, a.attempt) < (b.node, b.attempt))
    }

    /// What its ends say of the job; `None` when no run was ever to start.
    fn verdict(&self) -> Option<Status> {
        let ends = self.runs.iter().filter_map(|run| match run.state {
            RunState::Open => None,
            RunState::Ended(ending) => Some(ending.end),
        });
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

impl State {
    pub(super) fn claim(&mut self, claim: Claim, group: Index, wall: Wall) -> Change {
        let era = self.clock_era;
        let Some(job) = self.jobs.get_mut(&claim.job) else {
            return Change::Void(Some(claim.job));
        };
        let stale_due = claim.due.is_some_and(|due| due <= job.decided_until);
        if claim.version != job.version || claim.clock_era != era || stale_due {
            return Change::Void(Some(claim.job));
        }
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
            runs.push(Run { node, attempt: 1, state });
        }
        let skipped = runs.iter().filter(|run| run.state != RunState::Open).count();
        job.count_missed(skipped as u64);
        let spec = (skipped < runs.len()).then(|| Rc::clone(&job.spec));
        let fire =
            Fire { group, due: claim.due, trigger: claim.trigger, claimed: wall, spec, runs };
        for run in fire.open_runs() {
            self.open.insert(run, claim.job);
        }
        job.fires.push(fire);
        self.settle_fire(claim.job, group);
        Change::Claimed(claim.job, group)
    }

    pub(super) fn finish(&mut self, finished: Finished) -> Change {
        let run = finished.run;
        let Some(id) = self.open.remove(&run) else {
            // An ended run never changes its outcome.
            return Change::Void(None);
        };
        let deleted = !self.jobs.contains_key(&id);
        let jobs = if deleted { &mut self.deleted } else { &mut self.jobs };
        let Some(job) = jobs.get_mut(&id) else { unreachable!("an open run belongs to a job") };
        let Some(open) = job.fires.run_mut(run) else { unreachable!("an open run is in its fire") };
        open.state = RunState::Ended(finished.ending);
        job.count(&finished.ending);
        self.tails.put(run, finished.tail);
        self.settle_fire(id, run.group);
        if deleted && !self.deleted[&id].fires.has_open_run() {
            self.forget_job(id);
        }
        Change::Ended(id, run)
    }

    /// Ends every open run of `node` as lost.
    pub(super) fn lose_runs(&mut self, node: NodeId, wall: Wall) {
        let open = self.open.keys().filter(|run| run.node == node);
        let runs: Vec<RunId> = open.copied().collect();
        for run in runs {
            let ending = Ending::decided(End::Lost, Reason::StoreReplaced, wall);
            self.finish(Finished { run, ending, tail: Vec::new() });
        }
    }

    pub(super) fn skip(&mut self, skip: Skip, index: Index, wall: Wall) -> Change {
        let era = self.clock_era;
        let Some(job) = self.jobs.get_mut(&skip.job) else {
            return Change::Void(Some(skip.job));
        };
        // A range that ends where it starts or before would take the mark back.
        let empty = skip.until <= skip.after;
        if empty || skip.clock_era != era || skip.after != job.decided_until {
            return Change::Void(Some(skip.job));
        }
        job.decided_until = skip.until;
        match skip.reason {
            SkipReason::WindowPassed | SkipReason::NoNode => {
                job.count_missed(u64::from(skip.count));
            }
            // What may have run is not called missed.
            SkipReason::Lost => {
                job.error_count = job.error_count.saturating_add(u64::from(skip.count));
            }
        }
        let id = skip.job;
        job.skips.push_back((index, wall, skip));
        if job.skips.len() > SKIPS_MAX {
            job.skips.pop_front();
        }
        Change::Skipped(id)
    }

    /// Takes the consequences of a fire whose last run may have ended.
    fn settle_fire(&mut self, id: JobId, group: Index) {
        let Some(job) = self.jobs.get_mut(&id).or_else(|| self.deleted.get_mut(&id)) else {
            return;
        };
        let Some(fire) = job.fires.close(group) else { return };
        // Runs that never started say nothing, and no late end overrules a newer fire.
        match fire.verdict() {
            Some(verdict) if group > job.judged => {
                job.status = verdict;
                job.judged = group;
            }
            Some(_) | None => {}
        }
        let tails = &mut self.tails;
        job.fires.trim(usize::from(job.facts.keep), |run| tails.remove(run));
    }
}

/// The fires that a job keeps, in order of claim.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    fires: VecDeque<Fire>,
    /// Those of them that have an open run, in order.
    open: VecDeque<Index>,
    /// How many runs the others have in all.
    ended_runs: usize,
}

impl History {
    /// All fires, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Fire> + ExactSizeIterator {
        self.fires.iter()
    }

    /// The fire of that claim; `None` when it is not kept.
    pub fn get(&self, group: Index) -> Option<&Fire> {
        self.fires.get(self.position(group)?)
    }

    /// Whether any run has not ended.
    pub fn has_open_run(&self) -> bool {
        !self.open.is_empty()
    }

    /// Its runs without an end, in order of claim. Fires that are over cost nothing.
    pub fn open_runs(&self) -> impl Iterator<Item = RunId> + '_ {
        self.open.iter().filter_map(|&group| self.get(group)).flat_map(Fire::open_runs)
    }

    pub(super) fn push(&mut self, fire: Fire) {
        assert!(
            self.fires.back().is_none_or(|last| last.group < fire.group),
            "claims are in order"
        );
        match &fire.spec {
            Some(_) => self.open.push_back(fire.group),
            None => self.ended_runs += fire.runs.len(),
        }
        self.fires.push_back(fire);
    }

    pub(super) fn run_mut(&mut self, run: RunId) -> Option<&mut Run> {
        let at = self.position(run.group)?;
        let runs = &mut self.fires.get_mut(at)?.runs;
        runs.iter_mut().find(|kept| kept.node == run.node && kept.attempt == run.attempt)
    }

    /// Closes the fire of `group` and gives it; `None` while a run of it is open.
    fn close(&mut self, group: Index) -> Option<&Fire> {
        let at = self.position(group)?;
        let fire = self.fires.get_mut(at)?;
        if !fire.is_over() {
            return None;
        }
        // The definition is pinned exactly as long as the fire counts as open.
        if fire.spec.take().is_some() {
            self.ended_runs += fire.runs.len();
            if let Ok(at) = self.open.binary_search(&group) {
                self.open.remove(at);
            }
        }
        Some(fire)
    }

    /// Drops the oldest ended fires beyond `keep` fires and [`SUMMARIES_MAX`] runs. A fire with an
    /// open run stays, and its runs do not count.
    pub(super) fn trim(&mut self, keep: usize, mut dropped: impl FnMut(RunId)) {
        while self.exceeds(keep) {
            let Some(fire) = self.fires.remove(self.oldest_ended()) else { return };
            self.ended_runs -= fire.runs.len();
            fire.runs.iter().for_each(|run| dropped(fire.run_id(run)));
        }
    }

    /// Whether there is something to trim.
    pub(super) fn exceeds(&self, keep: usize) -> bool {
        self.fires.len() - self.open.len() > keep || self.ended_runs > SUMMARIES_MAX
    }

    /// Checks what must hold between records.
    ///
    /// # Panics
    /// When it doesn't.
    pub(super) fn check(&self, keep: usize) {
        assert!(self.fires.iter().is_sorted_by(|a, b| a.group < b.group), "claims are in order");
        for fire in &self.fires {
            assert_eq!(fire.is_over(), fire.spec.is_none(), "an open fire pins its definition");
            assert!(fire.runs_are_in_order(), "the runs of a fire are in order of node");
        }
        let (over, open): (Vec<_>, Vec<_>) = self.fires.iter().partition(|fire| fire.is_over());
        assert!(open.iter().map(|fire| &fire.group).eq(&self.open));
        assert_eq!(over.iter().map(|fire| fire.runs.len()).sum::<usize>(), self.ended_runs);
        assert!(!self.exceeds(keep), "history is trimmed");
    }

    /// Where the oldest ended fire stands; beyond the last when there is none.
    fn oldest_ended(&self) -> usize {
        // Before it all are open, so that the two lists agree up to there: no walk over the many
        // open fires that a job may have, but a search for the place where they part.
        let (mut low, mut high) = (0, self.open.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.fires.get(middle).map(|fire| fire.group) == self.open.get(middle).copied() {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    fn position(&self, group: Index) -> Option<usize> {
        self.fires.binary_search_by_key(&group, |fire| fire.group).ok()
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
        match (forbid && job.fires.has_open_run(), per_node) {
            (false, _) => Busy::These(BTreeSet::new()),
            (true, false) => Busy::All,
            (true, true) => Busy::These(job.fires.open_runs().map(|run| run.node).collect()),
        }
    }

    fn holds(&self, node: NodeId) -> bool {
        match self {
            Busy::All => true,
            Busy::These(nodes) => nodes.contains(&node),
        }
    }
}
