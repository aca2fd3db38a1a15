//! The life of a run on the node that was ordered to start it: phase × event.
//!
//! The one rule behind every cell: a spawn is asked for only after `Accepted` is durable, an end
//! is told only after `Exited` is, and where nobody can know the end is `lost`, never a guess.
//! There is no catch-all cell, so a new phase or event must be decided everywhere.

use super::ending;
use super::order::{Entry, Process, SpawnOrder};
use super::runs_log::RunsRecord;
use crate::ident::{Instance, RunId};
use crate::mistake::{Mistake, made};
use crate::store::{End, Ending, Reason};
use crate::time::Wall;

/// Where a run stands on its node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// `Accepted` is on its way to the disk; nobody was asked for a process.
    Accepting(Box<SpawnOrder>),
    /// `Accepted` is durable, and still nobody was asked: the launcher is away.
    Accepted(Box<SpawnOrder>),
    /// This launcher was asked, or may have been before a restart.
    Asked(Instance),
    /// There is a process, held by this launcher.
    Running(Instance, Process, Wall),
    /// The process has lost its launcher; when it ends, nobody learns how.
    Orphaned(Process, Wall),
    /// `Exited` is on its way to the disk.
    Ending(Ending, Vec<u8>),
    /// `Exited` is durable; kept until the leader says that it has the end.
    Ended(Ending, Vec<u8>),
}

/// What can happen to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The record that the phase waits for is durable.
    Durable(Launcher),
    /// A launcher has come, and its table lacks the run.
    Lacking(Launcher),
    /// The launcher's entry: news, or part of its table when it came.
    News(Entry),
    /// The launcher refused the order, which named another instance.
    Refused,
    /// The orphaned process has ended.
    ProcessGone,
    /// The leader has the end on the disks of a majority.
    Settled,
}

/// Who is there to be asked for a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Launcher {
    /// The launcher at hand, if any.
    pub instance: Option<Instance>,
    /// Whether the start deadline of the run has passed.
    pub late: bool,
}

/// What is to be done, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Write this to the runs log.
    Append(RunsRecord),
    /// Ask the launcher for a process.
    Spawn(Box<SpawnOrder>),
    /// Tell the launcher that the end is on disk.
    Ack,
    /// Say when this process, which has no launcher, ends.
    Watch(Process),
    /// Tell the leader that the run surely never started.
    ReportNeverStarted,
    /// Tell the leader what the phase is now.
    ReportPhase,
}

/// A run's next phase, `None` when it is forgotten, and what to do for it.
pub type Step = (Option<Phase>, Vec<Action>);

/// What `event` makes of `run`, which is in `phase`.
pub fn step(run: RunId, phase: Phase, event: Event, now: Wall) -> Step {
    match phase {
        Phase::Accepting(order) => accepting(run, order, event),
        Phase::Accepted(order) => accepted(run, order, event),
        Phase::Asked(instance) => asked(run, instance, event, now),
        Phase::Running(instance, process, started) => {
            running(run, (instance, process, started), event, now)
        }
        Phase::Orphaned(process, started) => orphaned(run, process, started, event, now),
        Phase::Ending(ending, tail) => match event {
            Event::Durable(_) => {
                (Some(Phase::Ended(ending, tail)), vec![Action::Ack, Action::ReportPhase])
            }
            Event::Lacking(_)
            | Event::News(_)
            | Event::Refused
            | Event::ProcessGone
            | Event::Settled => stay(Phase::Ending(ending, tail)),
        },
        Phase::Ended(ending, tail) => match event {
            // The launcher did not hear the first acknowledgement.
            Event::News(_) => (Some(Phase::Ended(ending, tail)), vec![Action::Ack]),
            Event::Settled => (None, vec![Action::Append(RunsRecord::Forgotten { run })]),
            Event::Durable(_) | Event::Lacking(_) | Event::Refused | Event::ProcessGone => {
                stay(Phase::Ended(ending, tail))
            }
        },
    }
}

fn accepting(run: RunId, order: Box<SpawnOrder>, event: Event) -> Step {
    match event {
        Event::Durable(launcher) => ask(run, order, launcher),
        // The completion of the record will find the launcher that has come.
        Event::Lacking(_)
        | Event::News(_)
        | Event::Refused
        | Event::ProcessGone
        | Event::Settled => stay(Phase::Accepting(order)),
    }
}

fn accepted(run: RunId, order: Box<SpawnOrder>, event: Event) -> Step {
    match event {
        Event::Lacking(launcher) => ask(run, order, launcher),
        Event::Durable(_)
        | Event::News(_)
        | Event::Refused
        | Event::ProcessGone
        | Event::Settled => stay(Phase::Accepted(order)),
    }
}

fn asked(run: RunId, asked: Instance, event: Event, now: Wall) -> Step {
    match event {
        Event::Lacking(launcher) if launcher.instance == Some(asked) => never_started(run),
        Event::Lacking(_) if made(Mistake::LostIsRetried) => never_started(run),
        Event::Lacking(_) => lost(run, Reason::LauncherGone, now, now),
        Event::News(Entry::Running(process, started)) => {
            let record = RunsRecord::Spawned { run, instance: asked, process, started };
            let actions = vec![Action::Append(record), Action::ReportPhase];
            (Some(Phase::Running(asked, process, started)), actions)
        }
        Event::News(Entry::Ended(exit)) => end(run, ending::of_exit(&exit), exit.tail),
        Event::News(Entry::Failed(failure)) => end(run, ending::of_failure(&failure), Vec::new()),
        Event::Refused => never_started(run),
        Event::Durable(_) | Event::ProcessGone | Event::Settled => stay(Phase::Asked(asked)),
    }
}

fn running(
    run: RunId,
    (instance, process, started): (Instance, Process, Wall),
    event: Event,
    now: Wall,
) -> Step {
    match event {
        // A launcher keeps what it has started until the end is on our disk; one that has
        // forgotten a run is not to be believed about it.
        Event::Lacking(launcher) if launcher.instance == Some(instance) => {
            lost(run, Reason::Untraceable, started, now)
        }
        Event::Lacking(_) => {
            (Some(Phase::Orphaned(process, started)), vec![Action::Watch(process)])
        }
        Event::News(Entry::Ended(exit)) => end(run, ending::of_exit(&exit), exit.tail),
        Event::News(Entry::Failed(_)) => lost(run, Reason::Untraceable, started, now),
        Event::News(Entry::Running(..))
        | Event::Durable(_)
        | Event::Refused
        | Event::ProcessGone
        | Event::Settled => stay(Phase::Running(instance, process, started)),
    }
}

fn orphaned(run: RunId, process: Process, started: Wall, event: Event, now: Wall) -> Step {
    match event {
        Event::ProcessGone => lost(run, Reason::LauncherGone, started, now),
        Event::Durable(_)
        | Event::Lacking(_)
        | Event::News(_)
        | Event::Refused
        | Event::Settled => stay(Phase::Orphaned(process, started)),
    }
}

/// Asks the launcher at hand, if the order names it; else promises anew, for nobody was asked.
fn ask(run: RunId, mut order: Box<SpawnOrder>, launcher: Launcher) -> Step {
    if launcher.late {
        return never_started(run);
    }
    match launcher.instance {
        None => stay(Phase::Accepted(order)),
        Some(instance) if instance == order.instance => {
            (Some(Phase::Asked(instance)), vec![Action::Spawn(order), Action::ReportPhase])
        }
        Some(instance) => {
            order.instance = instance;
            let record = RunsRecord::Accepted { run, instance };
            (Some(Phase::Accepting(order)), vec![Action::Append(record)])
        }
    }
}

fn end(run: RunId, ending: Ending, tail: Vec<u8>) -> Step {
    let record = RunsRecord::Exited { run, ending, tail: tail.clone() };
    (Some(Phase::Ending(ending, tail)), vec![Action::Append(record)])
}

fn lost(run: RunId, reason: Reason, started: Wall, now: Wall) -> Step {
    let ending = Ending { started, ..Ending::decided(End::Lost, reason, now) };
    end(run, ending, Vec::new())
}

fn never_started(run: RunId) -> Step {
    let record = RunsRecord::Forgotten { run };
    (None, vec![Action::Append(record), Action::ReportNeverStarted])
}

fn stay(phase: Phase) -> Step {
    (Some(phase), Vec::new())
}

#[cfg(test)]
mod tests;
