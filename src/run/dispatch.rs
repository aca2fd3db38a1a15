//! The leader's half of a run: orders what is claimed, hears of it, and concludes it.
//!
//! Holds what the journal does not: which runs are ordered, starting or running, as the workers
//! tell, and which workers can be told anything. A new leader starts from the open runs of the
//! state and asks. The node drives it with applied records, sessions and reports, and carries out
//! what [`Dispatch::poll`] gives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::worker::{Order, Report};
use super::{launch, retry};
use crate::ident::{Epoch, Index, JobId, NodeId, RunId};
use crate::job::Spec;
use crate::mistake::{Mistake, made};
use crate::schedule::Scheduler;
use crate::store::{End, Ending, Finished, Reason, Retry, State};
use crate::time::{Mono, Now, Wall};
use crate::timer::TimerQueue;

/// How long a run stays open whose node says nothing: then it is lost, whatever becomes of it.
pub const LOST_AFTER: Duration = Duration::from_secs(6 * 3_600);
/// What is added to the longest time that a run with a timeout can take, before it is lost.
const LOST_GRACE: Duration = Duration::from_secs(60);

/// How long an office waits at its begin for the session of a node that is to try again, before
/// another node may.
const SESSIONS_WITHIN: Duration = Duration::from_secs(10);

/// What the leader has heard of an open run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Nothing since this office began; the node was asked.
    Nothing,
    /// It was claimed in this office, or surely never started before it, and its node can't be told
    /// yet, or must not be, because it is a retry.
    Unsent,
    /// The order is given.
    Ordered,
    /// The node has accepted it.
    Starting,
    /// There is a process, since then.
    Running(Wall),
    /// Its end is on its way to the journal.
    Concluding,
}

/// What the node must do for the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// Give this order to the run's node.
    Order(Box<Order>),
    /// Ask the run's node what became of it.
    Question(RunId),
    /// Tell the run's node that its end is committed.
    Settle(RunId),
    /// Write the end of the run.
    Finish(Box<Finished>),
    /// Write that it is tried again.
    Retry(Retry),
}

#[derive(Debug)]
struct Tracked {
    heard: Heard,
    /// It is not ordered before.
    not_before: Mono,
    deadline: Mono,
}

/// The open runs of one office.
#[derive(Debug, Default)]
pub struct Dispatch {
    epoch: Epoch,
    runs: BTreeMap<RunId, Tracked>,
    /// Runs whose retry is on its way to the journal, and where that is made.
    retrying: BTreeMap<RunId, NodeId>,
    /// The nodes that can be told something.
    sessions: BTreeSet<NodeId>,
    /// Since when each node can't be, of those that had a session; the others since `began`.
    away: BTreeMap<NodeId, Mono>,
    began: Mono,
    /// When to look again at runs that are not sent, or must not be yet, or whose node is away.
    looks: TimerQueue<Mono, RunId>,
    /// Whether the disk takes nothing, so that no run is its own fault too late.
    stands_still: bool,
    /// The newest claim that may have waited for the disk while it took nothing.
    held_up: Index,
    out: VecDeque<Instruction>,
}

impl Dispatch {
    /// Begins the office of `epoch`: every open run of the state is asked for.
    pub fn take_office(&mut self, epoch: Epoch, state: &State, scheduler: &Scheduler, now: Now) {
        *self = Dispatch { epoch, began: now.mono, ..Dispatch::default() };
        let forgets = made(Mistake::RetryLostOnFailover);
        for (run, job) in state.open_runs().filter(|(run, _)| !forgets || run.attempt == 1) {
            let deadline = now.mono + launch::late_time_left(state, scheduler, job, run, now.wall);
            let not_before = not_before(state, job, run, now);
            self.runs.insert(run, Tracked { heard: Heard::Nothing, not_before, deadline });
            self.looks.arm(now.mono + LOST_GRACE, run);
        }
        if !forgets {
            self.retry_all(state, now);
        }
    }

    /// Ends the office: nothing is said any more.
    pub fn leave_office(&mut self) {
        *self = Dispatch::default();
    }

    /// `node` can be told something from now on: it is asked for what it was ordered or may have
    /// been, and ordered the rest.
    pub fn session_began(&mut self, state: &State, node: NodeId, now: Now) {
        self.sessions.insert(node);
        self.away.remove(&node);
        let of_node = |run: &&RunId| run.node == node;
        let runs: Vec<RunId> = self.runs.keys().filter(of_node).copied().collect();
        for run in runs {
            match self.heard(run) {
                Heard::Unsent => self.send(state, run, now),
                Heard::Nothing | Heard::Ordered | Heard::Starting | Heard::Running(_) => {
                    self.out.push_back(Instruction::Question(run));
                }
                Heard::Concluding => {}
            }
        }
        self.retry_all(state, now);
    }

    /// `node` can't be told anything from now on.
    pub fn session_ended(&mut self, node: NodeId, now: Now) {
        if !self.sessions.remove(&node) {
            return;
        }
        self.away.insert(node, now.mono);
        for &run in self.runs.keys().filter(|run| run.node == node) {
            self.looks.arm(now.mono + LOST_GRACE, run);
        }
    }

    /// Whether `node` can be told something.
    pub fn is_reachable(&self, node: NodeId) -> bool {
        self.sessions.contains(&node)
    }

    /// How long nothing can be told to `node`, as far as this office knows.
    pub fn silent_for(&self, node: NodeId, now: Now) -> Duration {
        if self.sessions.contains(&node) {
            return Duration::ZERO;
        }
        now.mono.since(self.away.get(&node).copied().unwrap_or(self.began))
    }

    /// When [`Dispatch::tick`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.looks.next_deadline().filter(|_| !self.stands_still)
    }

    /// Orders retries whose time has come, and gives up runs whose node could not be reached: those
    /// that were never sent when their deadline passes, the others when they must have ended.
    pub fn tick(&mut self, state: &State, now: Now) {
        if self.stands_still {
            return;
        }
        while let Some((_, run)) = self.looks.pop_due(now.mono) {
            let is_away = !self.sessions.contains(&run.node);
            let Some(tracked) = self.runs.get(&run) else {
                self.retry(state, run, now);
                continue;
            };
            if !is_away {
                if tracked.heard == Heard::Unsent {
                    self.send(state, run, now);
                }
                continue;
            }
            let (end, at) = match tracked.heard {
                Heard::Unsent => (End::Missed, tracked.deadline),
                Heard::Running(_) if made(Mistake::MissedWrittenForStarted) => {
                    (End::Missed, tracked.deadline)
                }
                Heard::Nothing | Heard::Ordered | Heard::Starting | Heard::Running(_) => {
                    (End::Lost, self.lost_at(state, run))
                }
                Heard::Concluding => continue,
            };
            if now.mono < at {
                self.looks.arm(at, run);
            } else {
                self.conclude(run, Ending::decided(end, Reason::Unreachable, now.wall), Vec::new());
            }
        }
    }

    /// The disk takes nothing: until it does, no run is given up because it starts too late.
    pub fn stand_still(&mut self) {
        self.stands_still = true;
    }

    /// The disk takes what waits for it, up to the record at `appended`. What has not started by
    /// now was held up by no fault of its own: like after a restart, it is asked for, and has as
    /// long as its job wants a due time caught up.
    pub fn go_on(&mut self, state: &State, scheduler: &Scheduler, appended: Index, now: Now) {
        self.stands_still = false;
        self.held_up = appended;
        for (&run, tracked) in &mut self.runs {
            let Some(job) = state.open_run(run) else { continue };
            match tracked.heard {
                Heard::Nothing | Heard::Unsent | Heard::Ordered | Heard::Starting => {}
                Heard::Running(_) | Heard::Concluding => continue,
            }
            let left = launch::late_time_left(state, scheduler, job, run, now.wall);
            tracked.deadline = tracked.deadline.max(now.mono + left);
            if tracked.heard != Heard::Unsent && self.sessions.contains(&run.node) {
                self.out.push_back(Instruction::Question(run));
            }
        }
        self.retry_all(state, now);
    }

    /// Orders the open runs of a fire that was claimed in this office.
    pub fn claimed(
        &mut self,
        state: &State,
        scheduler: &Scheduler,
        job: JobId,
        group: Index,
        now: Now,
    ) {
        let Some(fire) = state.fire(job, group) else { return };
        // Read once for all targets: at a second with many fires, this is most of their cost.
        let spec = launch::claimed_spec(fire);
        let left = spec.as_ref().map(|spec| launch::time_left(fire, spec, now.wall));
        let deadline = now.mono + left.unwrap_or_default();
        let ordered = if made(Mistake::SecondTargetRefused) { 1 } else { usize::MAX };
        for run in fire.open_runs().take(ordered) {
            let deadline = match group <= self.held_up {
                true => now.mono + launch::late_time_left(state, scheduler, job, run, now.wall),
                false => deadline,
            };
            let not_before = now.mono;
            self.runs.insert(run, Tracked { heard: Heard::Unsent, not_before, deadline });
            if self.sessions.contains(&run.node) {
                self.order(state, job, run, spec.as_ref(), now);
            } else if made(Mistake::NoSessionMeansSkip) {
                let ending = Ending::decided(End::Missed, Reason::Unreachable, now.wall);
                self.conclude(run, ending, Vec::new());
            } else {
                self.looks.arm(deadline, run);
            }
        }
    }

    /// The retry `run` was made by the record at `index`, in this office: it is ordered when its
    /// time has come.
    pub fn retried(
        &mut self,
        state: &State,
        scheduler: &Scheduler,
        (job, run): (JobId, RunId),
        index: Index,
        now: Now,
    ) {
        self.retrying.retain(|&of, _| state.owed_retry(of).is_some());
        let not_before = not_before(state, job, run, now);
        let left = match index <= self.held_up {
            true => launch::late_time_left(state, scheduler, job, run, now.wall),
            false => launch::retry_time_left(state, job, run, now.wall),
        };
        let deadline = now.mono + left;
        self.runs.insert(run, Tracked { heard: Heard::Unsent, not_before, deadline });
        self.send(state, run, now);
    }

    /// `job` was deleted: what of it would only be tried again later is not.
    pub fn job_deleted(&mut self, state: &State, job: JobId, now: Now) {
        let unsent = self.runs.iter().filter(|(run, tracked)| {
            tracked.heard == Heard::Unsent && state.open_run(**run) == Some(job)
        });
        self.retrying.retain(|&of, _| state.owed_retry(of).is_some());
        let retries: Vec<RunId> =
            unsent.map(|(&run, _)| run).filter(|run| run.attempt > 1).collect();
        retries.into_iter().for_each(|run| {
            self.drop_retry(run, now);
        });
    }

    /// Takes what a node says of a run.
    ///
    /// # Panics
    /// Before [`Dispatch::take_office`]: who has not applied all that is committed takes a run
    /// that it has not heard of for one that has ended.
    pub fn report(&mut self, state: &State, run: RunId, report: Report, now: Now) {
        assert!(self.epoch > Epoch(0), "only a leader is told of runs");
        let Some(job) = state.open_run(run) else {
            // The end is committed; the node may not have heard so.
            if matches!(report, Report::Ended(..)) {
                self.out.push_back(Instruction::Settle(run));
            }
            return;
        };
        let Some(tracked) = self.runs.get_mut(&run) else { return };
        if tracked.heard == Heard::Concluding {
            return;
        }
        match report {
            Report::Starting => tracked.heard = Heard::Starting,
            Report::Running(since) => tracked.heard = Heard::Running(since),
            Report::Ended(ending, tail) => self.conclude(run, ending, tail),
            Report::NeverStarted if run.attempt > 1 && state.job(job).is_none() => {
                self.drop_retry(run, now);
            }
            Report::NeverStarted if now.mono < tracked.not_before => {
                tracked.heard = Heard::Unsent;
                self.looks.arm(tracked.not_before, run);
            }
            Report::NeverStarted if now.mono < tracked.deadline => {
                let spec = state.fire(job, run.group).and_then(launch::claimed_spec);
                self.order(state, job, run, spec.as_ref(), now);
            }
            // It is asked for again when that is over.
            Report::NeverStarted if self.stands_still => tracked.heard = Heard::Nothing,
            Report::NeverStarted => {
                let ending = Ending::decided(End::Missed, Reason::DeadlinePassed, now.wall);
                self.conclude(run, ending, Vec::new());
            }
        }
    }

    /// The end of `run` is committed.
    pub fn ended(&mut self, state: &State, run: RunId, now: Now) {
        self.runs.remove(&run);
        self.out.push_back(Instruction::Settle(run));
        self.retry(state, run, now);
    }

    /// The registry has changed, by which runs may have ended: those of a node that came back with
    /// another data directory.
    pub fn members_changed(&mut self, state: &State, now: Now) {
        let out = &mut self.out;
        self.runs.retain(|&run, _| {
            let is_open = state.open_run(run).is_some();
            if !is_open {
                out.push_back(Instruction::Settle(run));
            }
            is_open
        });
        self.retry_all(state, now);
    }

    /// What the leader has heard of `run`.
    pub fn heard(&self, run: RunId) -> Heard {
        self.runs.get(&run).map_or(Heard::Nothing, |tracked| tracked.heard)
    }

    /// The next thing to do. Call until `None` after every other call.
    pub fn poll(&mut self) -> Option<Instruction> {
        self.out.pop_front()
    }

    fn order(&mut self, state: &State, job: JobId, run: RunId, spec: Option<&Spec>, now: Now) {
        let Some(tracked) = self.runs.get_mut(&run) else { return };
        tracked.heard = Heard::Ordered;
        match spec.and_then(|spec| launch::spawn_order(state, job, run, spec)) {
            Some(spawn) => {
                let order = Order { epoch: self.epoch, deadline: tracked.deadline, spawn };
                self.out.push_back(Instruction::Order(Box::new(order)));
            }
            None => {
                // A definition that cannot be read was never one that was accepted here.
                let ending = Ending::decided(End::Failed, Reason::Untraceable, now.wall);
                self.conclude(run, ending, Vec::new());
            }
        }
    }

    /// Has every run tried again that is owed it.
    fn retry_all(&mut self, state: &State, now: Now) {
        let owed: Vec<RunId> = state.owed_retries().map(|(run, _)| run).collect();
        owed.into_iter().for_each(|run| self.retry(state, run, now));
    }

    /// Has `run` tried again, if that is owed and not decided yet. Nothing is while the disk takes
    /// nothing.
    fn retry(&mut self, state: &State, run: RunId, now: Now) {
        let Some(job) = state.owed_retry(run).filter(|_| !self.stands_still) else { return };
        let Some(fire) = state.fire(job, run.group) else { return };
        if self.retrying.contains_key(&run) {
            return;
        }
        // A definition that cannot be read was never one that was accepted here.
        let spec = launch::claimed_spec(fire).unwrap_or_default();
        let by = self.began + SESSIONS_WITHIN;
        if !self.sessions.contains(&run.node) && !spec.runs_on_each() && now.mono < by {
            self.looks.arm(by, run);
            return;
        }
        let node = retry::node(state, (job, fire), &spec, run, &self.sessions, &self.retrying);
        let not_before = now.wall + retry::wait(spec.retry_backoff, run);
        self.retrying.insert(run, node);
        self.out.push_back(Instruction::Retry(Retry { run, node, not_before }));
    }

    /// Gives up a retry that nobody was told of, because its job is gone.
    fn drop_retry(&mut self, run: RunId, now: Now) {
        let ending = Ending::decided(End::Skipped, Reason::JobDeleted, now.wall);
        self.conclude(run, ending, Vec::new());
    }

    /// Orders a run that could not be sent before, or looks again when it may be.
    fn send(&mut self, state: &State, run: RunId, now: Now) {
        let Some(job) = state.open_run(run) else { return };
        let Some(tracked) = self.runs.get(&run) else { return };
        if now.mono < tracked.not_before {
            self.looks.arm(tracked.not_before, run);
            return;
        }
        if !self.sessions.contains(&run.node) {
            self.looks.arm(tracked.deadline, run);
            return;
        }
        if now.mono >= tracked.deadline {
            let ending = Ending::decided(End::Missed, Reason::Unreachable, now.wall);
            self.conclude(run, ending, Vec::new());
            return;
        }
        let spec = state.fire(job, run.group).and_then(launch::claimed_spec);
        self.order(state, job, run, spec.as_ref(), now);
    }

    /// When a run is lost whose node is away: when its own timeout has ended it in any case, or
    /// at the latest when nobody should wait any longer.
    fn lost_at(&self, state: &State, run: RunId) -> Mono {
        let since = self.away.get(&run.node).copied().unwrap_or(self.began);
        let job = state.open_run(run);
        let spec = job.and_then(|job| state.fire(job, run.group)).and_then(launch::claimed_spec);
        let bound = spec
            .filter(|spec| !spec.timeout.is_zero())
            .map(|spec| spec.start_deadline + spec.timeout + spec.kill_grace + LOST_GRACE);
        since + bound.unwrap_or(LOST_AFTER).min(LOST_AFTER)
    }

    fn conclude(&mut self, run: RunId, ending: Ending, tail: Vec<u8>) {
        if let Some(tracked) = self.runs.get_mut(&run) {
            tracked.heard = Heard::Concluding;
        }
        self.out.push_back(Instruction::Finish(Box::new(Finished { run, ending, tail })));
    }
}

/// When a run may be ordered at the earliest.
fn not_before(state: &State, job: JobId, run: RunId, now: Now) -> Mono {
    let kept = state.fire(job, run.group).and_then(|fire| fire.run(run));
    now.mono + kept.map_or(Duration::ZERO, |kept| launch::hold(kept, now.wall))
}

#[cfg(test)]
mod tests;
