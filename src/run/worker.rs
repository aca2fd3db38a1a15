//! The worker's half of a run: takes orders of the leader, keeps the runs log, asks the launcher.
//!
//! Never decides whether a run should start, only that it starts at most once. The node drives it
//! with orders, launcher news and disk completions, and carries out what [`Worker::poll`] gives,
//! in order. What a restart finds in the runs log is fed back with [`Worker::restore`].

use std::collections::{BTreeMap, VecDeque};

use super::order::{Entry, LauncherCommand, LauncherEvent, Process, SpawnOrder};
use super::runs_log::RunsRecord;
use super::table::{self, Action, Event, Launcher, Phase};
use crate::ident::{Epoch, Instance, RunId};
use crate::mistake::{Mistake, made};
use crate::store::Ending;
use crate::time::{Mono, Now, Wall};
use crate::timer::TimerQueue;

/// Most runs that a node holds at once, open or not yet settled; later orders wait.
pub const HELD_MAX: usize = 10_000;

/// An order of the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// The office that gave it.
    pub epoch: Epoch,
    /// It may not reach a process after this.
    pub deadline: Mono,
    /// The process; its instance is filled in here.
    pub spawn: SpawnOrder,
}

/// What the leader is told of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// There is no process and never was one; the run may be ordered anew.
    NeverStarted,
    /// Accepted; a process has been or will be asked for.
    Starting,
    /// There is a process, since then.
    Running(Wall),
    /// Ended, durably so.
    Ended(Ending, Vec<u8>),
}

/// What the node must do for the worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// Append this to the runs log, and call [`Worker::durable`] when that is on disk.
    Append(RunsRecord),
    /// Tell the launcher.
    Launcher(LauncherCommand),
    /// Call [`Worker::process_gone`] when this process ends.
    Watch(Process),
    /// Tell the leader.
    Report(RunId, Report),
}

/// The worker of one node.
#[derive(Debug)]
pub struct Worker {
    epoch: Epoch,
    epoch_durable: bool,
    launcher: Option<Instance>,
    running_max: usize,
    runs: BTreeMap<RunId, Held>,
    waiting: VecDeque<Order>,
    questions: Vec<RunId>,
    deadlines: TimerQueue<Mono, RunId>,
    work: VecDeque<Work>,
}

#[derive(Debug)]
struct Held {
    phase: Phase,
    deadline: Mono,
}

impl Worker {
    /// A worker that lets at most `running_max` runs have a process at once.
    pub fn new(running_max: usize) -> Self {
        Worker {
            epoch: Epoch(0),
            epoch_durable: false,
            launcher: None,
            running_max: running_max.clamp(1, HELD_MAX),
            runs: BTreeMap::new(),
            waiting: VecDeque::new(),
            questions: Vec::new(),
            deadlines: TimerQueue::new(),
            work: VecDeque::new(),
        }
    }

    /// Takes a record of the runs log, in order, before anything else is called.
    pub fn restore(&mut self, record: RunsRecord) {
        let (run, phase) = match record {
            RunsRecord::Epoch(epoch) => {
                self.epoch = self.epoch.max(epoch);
                return;
            }
            RunsRecord::Forgotten { run } => {
                self.runs.remove(&run);
                return;
            }
            RunsRecord::Accepted { run, instance } => (run, Phase::Asked(instance)),
            RunsRecord::Spawned { run, instance, process, started } => {
                (run, Phase::Running(instance, process, started))
            }
            RunsRecord::Exited { run, ending, tail } => (run, Phase::Ended(ending, tail)),
        };
        // A deadline binds the way to the first process only; what was accepted is past that.
        self.runs.insert(run, Held { phase, deadline: Mono(u64::MAX) });
    }

    /// The records that a runs log must hold now and no others, for writing it anew.
    pub fn live_records(&self) -> Vec<RunsRecord> {
        let mut records = vec![RunsRecord::Epoch(self.epoch)];
        for (&run, held) in &self.runs {
            records.push(match &held.phase {
                Phase::Accepting(order) | Phase::Accepted(order) => {
                    RunsRecord::Accepted { run, instance: order.instance }
                }
                Phase::Asked(instance) => RunsRecord::Accepted { run, instance: *instance },
                &Phase::Running(instance, process, started) => {
                    RunsRecord::Spawned { run, instance, process, started }
                }
                // Instance 0 is no launcher's, so a restart finds the process orphaned again.
                &Phase::Orphaned(process, started) => {
                    RunsRecord::Spawned { run, instance: Instance(0), process, started }
                }
                Phase::Ending(ending, tail) | Phase::Ended(ending, tail) => {
                    RunsRecord::Exited { run, ending: *ending, tail: tail.clone() }
                }
            });
        }
        records
    }

    /// A leader of `epoch` has come: its orders are taken once the epoch is durable here.
    pub fn greet(&mut self, epoch: Epoch) {
        if epoch <= self.epoch && self.epoch_durable {
            return;
        }
        self.epoch = self.epoch.max(epoch);
        self.epoch_durable = false;
        // Nobody was asked for them yet, and who gave them leads no more.
        self.waiting.retain(|order| order.epoch >= epoch);
        self.work.push_back(Work::Append(RunsRecord::Epoch(self.epoch)));
    }

    /// Takes an order. A run that is held already is answered with its state; one of a lower epoch
    /// is dropped, for its leader is none any more.
    pub fn order(&mut self, order: Order, now: Now) {
        if order.epoch < self.epoch && !made(Mistake::LowEpochObeyed) {
            return;
        }
        let run = order.spawn.run;
        if self.runs.contains_key(&run) && !made(Mistake::NoWorkerDedup) {
            self.report(run);
            return;
        }
        if self.waiting.iter().all(|waiting| waiting.spawn.run != run) {
            self.deadlines.arm(order.deadline, run);
            self.waiting.push_back(order);
        }
        self.admit(now);
    }

    /// Answers what became of `run`, as soon as the launcher has told what it knows.
    pub fn question(&mut self, run: RunId) {
        self.questions.push(run);
        self.answer();
    }

    /// The leader has the end of `run`.
    pub fn settled(&mut self, run: RunId, now: Now) {
        self.step(run, Event::Settled, now);
    }

    /// `record`, given out by [`Worker::poll`], is durable.
    pub fn durable(&mut self, record: &RunsRecord, now: Now) {
        match record {
            RunsRecord::Epoch(epoch) => {
                if *epoch == self.epoch && !self.epoch_durable {
                    self.epoch_durable = true;
                    self.report_ends();
                }
                self.answer();
                self.admit(now);
            }
            RunsRecord::Accepted { run, .. } | RunsRecord::Exited { run, .. } => {
                let launcher = self.launcher_for(*run, now);
                self.step(*run, Event::Durable(launcher), now);
            }
            RunsRecord::Spawned { .. } | RunsRecord::Forgotten { .. } => {}
        }
    }

    /// Takes what the launcher says.
    pub fn launcher(&mut self, event: LauncherEvent, now: Now) {
        match event {
            LauncherEvent::Welcome { instance, table } => self.welcome(instance, table, now),
            LauncherEvent::Run(run, entry) => self.news(run, entry, now),
            LauncherEvent::Refused(run) => self.step(run, Event::Refused, now),
            LauncherEvent::Gone => self.launcher = None,
        }
    }

    /// `process`, which was given out to be watched, has ended.
    pub fn process_gone(&mut self, process: Process, now: Now) {
        let orphan = |held: &Held| matches!(held.phase, Phase::Orphaned(p, _) if p == process);
        let orphans: Vec<RunId> =
            self.runs.iter().filter(|(_, held)| orphan(held)).map(|(&run, _)| run).collect();
        for run in orphans {
            self.step(run, Event::ProcessGone, now);
        }
    }

    /// Gives up the orders whose deadline has passed.
    pub fn tick(&mut self, now: Now) {
        while let Some((_, run)) = self.deadlines.pop_due(now.mono) {
            let late = |order: &Order| order.spawn.run == run && order.deadline <= now.mono;
            if let Some(at) = self.waiting.iter().position(late) {
                self.waiting.remove(at);
                self.say(run, Report::NeverStarted);
            }
        }
    }

    /// The next thing to do. Call until `None` after every other call.
    pub fn poll(&mut self) -> Option<Work> {
        self.work.pop_front()
    }

    /// When [`Worker::tick`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if self.waiting.is_empty() { None } else { self.deadlines.next_deadline() }
    }

    /// Whether the epoch of the leader that was greeted last is durable here.
    pub fn is_greeted(&self) -> bool {
        self.epoch_durable
    }

    /// Whether a launcher is there.
    pub fn has_launcher(&self) -> bool {
        self.launcher.is_some()
    }

    fn welcome(&mut self, instance: Instance, table: Vec<(RunId, Entry)>, now: Now) {
        self.launcher = Some(instance);
        let mut known: BTreeMap<RunId, Entry> = table.into_iter().collect();
        let held: Vec<RunId> = self.runs.keys().copied().collect();
        for run in held {
            match known.remove(&run) {
                Some(entry) => self.step(run, Event::News(entry), now),
                None => {
                    let launcher = self.launcher_for(run, now);
                    self.step(run, Event::Lacking(launcher), now);
                }
            }
        }
        for (run, entry) in known {
            self.news(run, entry, now);
        }
        self.answer();
        self.admit(now);
    }

    fn news(&mut self, run: RunId, entry: Entry, now: Now) {
        if self.runs.contains_key(&run) {
            self.step(run, Event::News(entry), now);
            return;
        }
        match entry {
            // The leader has this end already, and the launcher missed the acknowledgement.
            Entry::Ended(_) | Entry::Failed(_) => {
                self.work.push_back(Work::Launcher(LauncherCommand::Ack(run)));
            }
            Entry::Running(..) => {}
        }
    }

    fn step(&mut self, run: RunId, event: Event, now: Now) {
        let Some(held) = self.runs.remove(&run) else { return };
        let (next, actions) = table::step(run, held.phase, event, now.wall);
        if let Some(phase) = next {
            self.runs.insert(run, Held { phase, ..held });
        }
        for action in actions {
            match action {
                Action::Append(record) => self.work.push_back(Work::Append(record)),
                Action::Spawn(order) => {
                    self.work.push_back(Work::Launcher(LauncherCommand::Spawn(*order)));
                }
                Action::Ack => self.work.push_back(Work::Launcher(LauncherCommand::Ack(run))),
                Action::Watch(process) => self.work.push_back(Work::Watch(process)),
                Action::ReportNeverStarted => {
                    self.say(run, Report::NeverStarted);
                }
                Action::ReportPhase => self.report(run),
            }
        }
        self.admit(now);
    }

    /// Accepts waiting orders, oldest first, while a launcher is there and there is room.
    fn admit(&mut self, now: Now) {
        let Some(instance) = self.launcher.filter(|_| self.epoch_durable) else { return };
        while !self.waiting.is_empty() && self.has_room() {
            let Some(mut order) = self.waiting.pop_front() else { return };
            let run = order.spawn.run;
            if order.deadline <= now.mono {
                self.say(run, Report::NeverStarted);
                continue;
            }
            order.spawn.instance = instance;
            let phase = Phase::Accepting(Box::new(order.spawn));
            self.runs.insert(run, Held { phase, deadline: order.deadline });
            self.work.push_back(Work::Append(RunsRecord::Accepted { run, instance }));
            if made(Mistake::AcceptedNotFsynced) {
                let launcher = self.launcher_for(run, now);
                self.step(run, Event::Durable(launcher), now);
            }
        }
        if self.waiting.is_empty() {
            // Deadlines are kept for those who wait; of a short run with a long one it would stay.
            self.deadlines.clear();
        }
    }

    fn has_room(&self) -> bool {
        // Ended runs hold no process, but each holds its output until it is settled.
        self.runs.len() < HELD_MAX && self.processes() < self.running_max
    }

    fn processes(&self) -> usize {
        if self.runs.len() < self.running_max {
            return self.runs.len();
        }
        let ended = |held: &&Held| matches!(held.phase, Phase::Ending(..) | Phase::Ended(..));
        self.runs.len() - self.runs.values().filter(ended).count()
    }

    fn launcher_for(&self, run: RunId, now: Now) -> Launcher {
        let late = self.runs.get(&run).is_some_and(|held| held.deadline <= now.mono);
        Launcher { instance: self.launcher, late }
    }

    /// Answers questions once it can: not before the launcher's table is known, nor before the
    /// epoch of who asks is durable.
    fn answer(&mut self) {
        if self.launcher.is_none() || !self.epoch_durable {
            return;
        }
        for run in std::mem::take(&mut self.questions) {
            if self.runs.contains_key(&run) {
                self.report(run);
            } else if self.waiting.iter().all(|order| order.spawn.run != run) {
                self.say(run, Report::NeverStarted);
            }
        }
    }

    /// A new leader hears of every end that none has settled: it may have one committed already,
    /// and would not ask for it.
    pub fn report_ends(&mut self) {
        let ended = |held: &Held| matches!(held.phase, Phase::Ended(..));
        let runs: Vec<RunId> =
            self.runs.iter().filter(|(_, held)| ended(held)).map(|(&run, _)| run).collect();
        runs.into_iter().for_each(|run| self.report(run));
    }

    fn report(&mut self, run: RunId) {
        let Some(held) = self.runs.get(&run) else { return };
        let report = match &held.phase {
            Phase::Accepting(_) | Phase::Accepted(_) | Phase::Asked(_) => Report::Starting,
            Phase::Running(_, _, started) | Phase::Orphaned(_, started) => {
                Report::Running(*started)
            }
            // The end is told when it is durable; until then the process is as good as running.
            Phase::Ending(ending, _) => Report::Running(ending.started),
            Phase::Ended(ending, tail) => Report::Ended(*ending, tail.clone()),
        };
        self.say(run, report);
    }

    /// Tells the leader, if there is one: it may take a report for the last word on a run, so
    /// nothing is told to one whose office this node has not on its disk, let alone to nobody.
    /// Who comes next asks, or is told.
    fn say(&mut self, run: RunId, report: Report) {
        if self.epoch_durable {
            self.work.push_back(Work::Report(run, report));
        }
    }
}

#[cfg(test)]
mod tests;
