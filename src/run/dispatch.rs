//! The leader's half of a run: orders what is claimed, hears of it, and concludes it.
//!
//! Holds what the journal does not: which runs are ordered, starting or running, as the workers
//! tell. A new leader starts from the open runs of the state and asks. The node drives it with
//! applied records and reports, and carries out what [`Dispatch::poll`] gives.

use std::collections::{BTreeMap, VecDeque};

use super::launch;
use super::worker::{Order, Report};
use crate::ident::{Epoch, Index, JobId, RunId};
use crate::job::Spec;
use crate::schedule::Scheduler;
use crate::store::{End, Ending, Finished, Reason, State};
use crate::time::{Mono, Now, Wall};

/// What the leader has heard of an open run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Nothing since this office began; the node was asked.
    Nothing,
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
}

#[derive(Debug)]
struct Tracked {
    heard: Heard,
    deadline: Mono,
}

/// The open runs of one office.
#[derive(Debug, Default)]
pub struct Dispatch {
    epoch: Epoch,
    runs: BTreeMap<RunId, Tracked>,
    /// Whether the disk takes nothing, so that no run is its own fault too late.
    stands_still: bool,
    /// The newest claim that may have waited for the disk while it took nothing.
    held_up: Index,
    out: VecDeque<Instruction>,
}

impl Dispatch {
    /// Begins the office of `epoch`: every open run of the state is asked for.
    pub fn take_office(&mut self, epoch: Epoch, state: &State, scheduler: &Scheduler, now: Now) {
        self.epoch = epoch;
        self.runs.clear();
        self.out.clear();
        for (run, job) in state.open_runs() {
            let deadline = now.mono + launch::late_time_left(state, scheduler, job, run, now.wall);
            self.runs.insert(run, Tracked { heard: Heard::Nothing, deadline });
            self.out.push_back(Instruction::Question(run));
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
                Heard::Nothing | Heard::Ordered | Heard::Starting => {}
                Heard::Running(_) | Heard::Concluding => continue,
            }
            let left = launch::late_time_left(state, scheduler, job, run, now.wall);
            tracked.deadline = tracked.deadline.max(now.mono + left);
            self.out.push_back(Instruction::Question(run));
        }
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
        for run in fire.open_runs() {
            let deadline = match group <= self.held_up {
                true => now.mono + launch::late_time_left(state, scheduler, job, run, now.wall),
                false => deadline,
            };
            self.runs.insert(run, Tracked { heard: Heard::Ordered, deadline });
            self.order(state, job, run, spec.as_ref(), now);
        }
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
            Report::NeverStarted if now.mono < tracked.deadline => {
                tracked.heard = Heard::Ordered;
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
    pub fn ended(&mut self, run: RunId) {
        self.runs.remove(&run);
        self.out.push_back(Instruction::Settle(run));
    }

    /// The registry has changed, by which runs may have ended: those of a node that came back with
    /// another data directory.
    pub fn members_changed(&mut self, state: &State) {
        let out = &mut self.out;
        self.runs.retain(|&run, _| {
            let is_open = state.open_run(run).is_some();
            if !is_open {
                out.push_back(Instruction::Settle(run));
            }
            is_open
        });
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
        let Some(tracked) = self.runs.get(&run) else { return };
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

    fn conclude(&mut self, run: RunId, ending: Ending, tail: Vec<u8>) {
        if let Some(tracked) = self.runs.get_mut(&run) {
            tracked.heard = Heard::Concluding;
        }
        self.out.push_back(Instruction::Finish(Box::new(Finished { run, ending, tail })));
    }
}

#[cfg(test)]
mod tests;
