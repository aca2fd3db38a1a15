//! What the launcher knows of its runs: a state machine without processes, clock or socket.
//!
//! The loop tells it commands, what became of processes, their output, and the time; it answers
//! with [`Effect`]s, and with [`Answer`]s for the agent that are made only when there is room to
//! send them, so that an agent that does not read costs no memory. It decides nothing but what an
//! order says: when to terminate, and what to keep. A run that was told as running can only end; a
//! run is forgotten when the agent has acknowledged its end, and never while a process may live.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::order_check::check_order;
use super::protocol::Answer;
use super::slot::{End, Slot, State};
use crate::ident::{Instance, RunId};
use crate::run::order::{
    Cause, Entry, Exit, LauncherCommand, Process, SpawnOrder, Stage, StartFailure,
};
use crate::sys::signal::Deadly;
use crate::time::{Mono, Now};
use crate::timer::TimerQueue;

/// Most runs in the table, ended and unacknowledged ones included.
pub const RUNS_MAX: usize = 10_000;
/// Most answers that stand on no entry and wait to be sent; the loop takes no command above it.
pub(super) const ANSWERS_MAX: usize = 1_024;
/// Most bytes of output kept in all before each run is held to [`TAIL_FLOOR_BYTES`].
pub(super) const TAILS_MAX_BYTES: usize = 2 * 1024 * 1024;
/// What every run may keep of its output, however much others keep.
pub(super) const TAIL_FLOOR_BYTES: usize = 256;
/// How long a child may take to its execve(2) before it counts as running: one that hangs on a
/// dead network file system must not look as if nothing had been started.
pub(super) const START_WAIT: Duration = Duration::from_secs(1);

/// What the loop is to do, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Fork; answer with [`Table::fork_failed`] if that comes to no process.
    Spawn(Box<SpawnOrder>),
    /// Send the signal to the group of this run's process.
    Signal(RunId, Deadly),
    /// Close what is held for this run; its process has been reaped.
    Release(RunId),
}

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    instance: Instance,
    slots: BTreeMap<RunId, Slot>,
    timers: TimerQueue<Mono, RunId>,
    effects: VecDeque<Effect>,
    answers: VecDeque<Answer>,
    news: BTreeSet<RunId>,
    listing: Listing,
    alive: usize,
    tails_bytes: usize,
}

/// Tells which process a run has; `None` when it has none.
pub(super) type Identify<'i> = dyn Fn(RunId) -> Option<Process> + 'i;

#[derive(Debug)]
enum Listing {
    /// No agent is there.
    NoAgent,
    /// The welcome itself is next.
    Welcome,
    /// Entries after this run are next.
    After(Option<RunId>),
    /// All has been listed; news follow.
    Done,
}

impl Table {
    /// An empty table of the launcher named `instance`.
    pub(super) fn new(instance: Instance) -> Table {
        Table {
            instance,
            slots: BTreeMap::new(),
            timers: TimerQueue::new(),
            effects: VecDeque::new(),
            answers: VecDeque::new(),
            news: BTreeSet::new(),
            listing: Listing::NoAgent,
            alive: 0,
            tails_bytes: 0,
        }
    }

    /// An agent has said hello: it hears of the whole table, whatever an earlier one has heard.
    pub(super) fn agent_came(&mut self) {
        self.listing = Listing::Welcome;
        self.news.clear();
        self.answers.clear();
    }

    /// The agent is gone. Runs go on.
    pub(super) fn agent_went(&mut self) {
        self.listing = Listing::NoAgent;
        self.news.clear();
        self.answers.clear();
    }

    /// Carries out a command. To be called only while [`Table::takes_commands`].
    pub(super) fn command(&mut self, command: LauncherCommand, now: Now) {
        match command {
            LauncherCommand::Spawn(order) => self.spawn(order, now),
            LauncherCommand::Kill(run) => self.kill(run, now.mono),
            LauncherCommand::Ack(run) => self.acknowledge(run),
        }
    }

    /// The start that [`Effect::Spawn`] asked for came to no process.
    pub(super) fn fork_failed(&mut self, run: RunId, stage: Stage, errno: i32, now: Now) {
        let Some(slot) = self.slots.get_mut(&run) else { return };
        // Killed by the turn that ordered it, with no grace or with one that the turn outlasted.
        let is_new =
            matches!(slot.state, State::Starting | State::Terminating(_) | State::Killed(_));
        assert!(is_new, "was to be forked");
        slot.state = State::Failed(StartFailure { stage, errno, at: now.wall });
        self.ended(run);
    }

    /// The child has executed its program.
    pub(super) fn executed(&mut self, run: RunId) {
        let Some(slot) = self.slots.get_mut(&run) else { return };
        match slot.state {
            State::Starting => self.becomes_running(run),
            // It hung so long that it was told as running, or is being ended: nothing is new.
            State::Running
            | State::Terminating(_)
            | State::Killed(_)
            | State::Lingering(..)
            | State::Ended(_)
            | State::Failed(_) => {}
        }
    }

    /// The child could not execute its program, and will be reaped.
    pub(super) fn exec_failed(&mut self, run: RunId, stage: Stage, errno: i32, now: Now) {
        if let Some(slot) = self.slots.get_mut(&run) {
            slot.failure = Some(StartFailure { stage, errno, at: now.wall });
        }
    }

    /// The run has written this.
    pub(super) fn output(&mut self, run: RunId, bytes: &[u8]) {
        let Some(slot) = self.slots.get_mut(&run).filter(|slot| !slot.is_over()) else { return };
        let others = self.tails_bytes - slot.tail.len();
        let room = TAILS_MAX_BYTES.saturating_sub(others).max(TAIL_FLOOR_BYTES);
        slot.tail.push(bytes, room);
        self.tails_bytes = others + slot.tail.len();
    }

    /// Whether the end of this run's leader leaves its group to be ended too: then
    /// [`Table::reaped`] is to be told whether others are left in it.
    pub(super) fn wants_group_ended(&self, run: RunId) -> bool {
        self.slots.get(&run).is_some_and(|slot| match slot.state {
            State::Terminating(_) => true,
            State::Starting
            | State::Running
            | State::Killed(_)
            | State::Lingering(..)
            | State::Ended(_)
            | State::Failed(_) => false,
        })
    }

    /// The leader has been reaped, and all that is left of its output given to
    /// [`Table::output`].
    pub(super) fn reaped(&mut self, run: RunId, end: End, group_lives: bool, now: Now) {
        let Some(slot) = self.slots.get_mut(&run) else { return };
        match slot.state {
            State::Starting | State::Running => self.finish(run, Cause::Own, end, now),
            State::Terminating(cause) if group_lives => {
                // The deadline of the grace stays.
                slot.state = State::Lingering(cause, end);
            }
            State::Terminating(cause) | State::Killed(cause) => {
                self.finish(run, cause, end, now);
            }
            State::Lingering(..) | State::Ended(_) | State::Failed(_) => {
                unreachable!("a process is reaped once")
            }
        }
    }

    /// Nobody is left in the group of a run whose leader was reaped before.
    pub(super) fn group_gone(&mut self, run: RunId, now: Now) {
        let Some(slot) = self.slots.get(&run) else { return };
        if let State::Lingering(cause, end) = slot.state {
            self.finish(run, cause, end, now);
        }
    }

    /// The earliest moment at which [`Table::handle_timeout`] has something to do; may be early.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.timers.next_deadline()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        while let Some((deadline, run)) = self.timers.pop_due(now.mono) {
            let slot = self.slots.get_mut(&run);
            // An entry that was overtaken names a deadline that its slot no longer has.
            if let Some(slot) = slot.filter(|slot| slot.deadline == Some(deadline)) {
                slot.deadline = None;
                self.due(run, now);
            }
        }
    }

    /// The next thing to do. To be asked until `None` after every other call.
    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What the agent is to hear next, made at this moment. To be asked while there is room to
    /// send it, after every other call and whenever room is made. `identify` is asked once for
    /// each run that is told as running: to find out more than a process's number takes as long as
    /// half its fork, and many a run has ended before there is anything to tell.
    pub(super) fn poll_answer(&mut self, identify: &Identify<'_>) -> Option<Answer> {
        match self.listing {
            Listing::NoAgent => None,
            Listing::Welcome => {
                self.listing = Listing::After(None);
                Some(Answer::Welcome(self.instance))
            }
            Listing::After(last) => Some(self.list_after(last, identify)),
            Listing::Done => self.answers.pop_front().or_else(|| {
                let run = self.news.pop_first()?;
                self.tell(run, identify).map(|entry| Answer::Run(run, entry))
            }),
        }
    }

    /// Whether [`Table::poll_answer`] may have another.
    pub(super) fn has_answers(&self) -> bool {
        match self.listing {
            Listing::NoAgent => false,
            Listing::Welcome | Listing::After(_) => true,
            Listing::Done => !self.answers.is_empty() || !self.news.is_empty(),
        }
    }

    /// Whether answers are few enough for another command.
    pub(super) fn takes_commands(&self) -> bool {
        self.answers.len() < ANSWERS_MAX
    }

    /// Whether nothing is alive and nothing unacknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many runs are in the table, and how many of them have not ended.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.slots.len(), self.alive)
    }

    fn spawn(&mut self, order: SpawnOrder, now: Now) {
        let run = order.run;
        let refused = |errno| {
            let failure = StartFailure { stage: Stage::Refused, errno, at: now.wall };
            Answer::Run(run, Entry::Failed(failure))
        };
        if order.instance != self.instance {
            self.answers.push_back(Answer::Refused(run));
        } else if self.slots.contains_key(&run) {
            self.announce(run);
        } else if check_order(&order).is_err() {
            // A refusal leaves no entry: a repeated order is refused again.
            self.answers.push_back(refused(0));
        } else if self.slots.len() >= RUNS_MAX {
            self.answers.push_back(refused(crate::sys::EAGAIN));
        } else {
            self.slots.insert(run, Slot::new(&order, now));
            self.alive += 1;
            self.arm(run, now.mono + START_WAIT);
            self.effects.push_back(Effect::Spawn(Box::new(order)));
        }
    }

    fn kill(&mut self, run: RunId, now: Mono) {
        let Some(slot) = self.slots.get(&run) else { return };
        match slot.state {
            State::Starting | State::Running => self.terminate(run, Cause::Killed, now),
            // It is being ended, or has: the first cause stays.
            State::Terminating(_)
            | State::Killed(_)
            | State::Lingering(..)
            | State::Ended(_)
            | State::Failed(_) => {}
        }
    }

    fn acknowledge(&mut self, run: RunId) {
        // A living process is never forgotten, whatever the agent says.
        let Some(slot) = self.slots.get(&run).filter(|slot| slot.is_over()) else { return };
        self.tails_bytes -= slot.kept_bytes();
        self.slots.remove(&run);
        self.news.remove(&run);
    }

    fn due(&mut self, run: RunId, now: Now) {
        let Some(slot) = self.slots.get_mut(&run) else { return };
        match slot.state {
            State::Starting => self.becomes_running(run),
            State::Running => self.terminate(run, Cause::TimedOut, now.mono),
            State::Terminating(cause) => {
                slot.state = State::Killed(cause);
                self.effects.push_back(Effect::Signal(run, Deadly::Kill));
            }
            State::Lingering(cause, end) => {
                self.effects.push_back(Effect::Signal(run, Deadly::Kill));
                self.finish(run, cause, end, now);
            }
            State::Killed(_) | State::Ended(_) | State::Failed(_) => {
                unreachable!("has no deadline")
            }
        }
    }

    fn becomes_running(&mut self, run: RunId) {
        let Some(slot) = self.slots.get_mut(&run) else { return };
        slot.state = State::Running;
        slot.told = true;
        slot.deadline = None;
        if let Some(timeout) = slot.timeout {
            let at = slot.started.mono + timeout;
            self.arm(run, at);
        }
        self.announce(run);
    }

    fn terminate(&mut self, run: RunId, cause: Cause, now: Mono) {
        let Some(slot) = self.slots.get_mut(&run) else { return };
        slot.state = State::Terminating(cause);
        let at = now + slot.kill_grace;
        self.effects.push_back(Effect::Signal(run, Deadly::Terminate));
        self.arm(run, at);
    }

    fn finish(&mut self, run: RunId, cause: Cause, end: End, now: Now) {
        let Some(slot) = self.slots.get_mut(&run) else { return };
        slot.state = match slot.failure {
            Some(failure) if !slot.told => State::Failed(failure),
            Some(_) | None => State::Ended(Exit {
                status: end.status,
                cause,
                started: slot.started.wall,
                finished: now.wall,
                duration_ms: u64::try_from(now.mono.since(slot.started.mono).as_millis())
                    .unwrap_or(u64::MAX),
                cpu_ms: end.cpu_ms,
                max_rss_bytes: end.max_rss_bytes,
                output_bytes: slot.tail.total_bytes(),
                tail: slot.tail.take(),
            }),
        };
        let left = slot.tail.take().len();
        self.tails_bytes -= left;
        self.effects.push_back(Effect::Release(run));
        self.ended(run);
    }

    fn ended(&mut self, run: RunId) {
        if let Some(slot) = self.slots.get_mut(&run) {
            slot.deadline = None;
        }
        self.alive -= 1;
        self.announce(run);
    }

    fn arm(&mut self, run: RunId, at: Mono) {
        let Some(slot) = self.slots.get_mut(&run) else { return };
        slot.deadline = Some(at);
        self.timers.arm(at, run);
        // Short runs with long timeouts leave stale entries behind: start afresh when most are.
        if self.timers.len() > 2 * self.alive + 64 {
            self.timers.clear();
            for (&run, slot) in &self.slots {
                if let Some(deadline) = slot.deadline {
                    self.timers.arm(deadline, run);
                }
            }
        }
    }

    /// Has the agent hear of this run, unless it will anyway or is not there.
    fn announce(&mut self, run: RunId) {
        match self.listing {
            Listing::NoAgent | Listing::Welcome => {}
            Listing::After(last) if last.is_none_or(|last| last < run) => {}
            Listing::After(_) | Listing::Done => {
                self.news.insert(run);
            }
        }
    }

    fn list_after(&mut self, last: Option<RunId>, identify: &Identify<'_>) -> Answer {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        let Some((&run, _)) = self.slots.range((start, Bound::Unbounded)).next() else {
            self.listing = Listing::Done;
            return Answer::ListedAll;
        };
        self.listing = Listing::After(Some(run));
        let entry = self.slots.get_mut(&run).and_then(|slot| slot.entry(|| identify(run)));
        match entry {
            Some(entry) => Answer::Listed(run, entry),
            // Ordered and not forked: impossible between two turns, and no reason to stop here.
            None => self.list_after(Some(run), identify),
        }
    }

    fn tell(&mut self, run: RunId, identify: &Identify<'_>) -> Option<Entry> {
        let slot = self.slots.get_mut(&run)?;
        match slot.state {
            // It will be told when it has come to its program.
            State::Starting => None,
            State::Running
            | State::Terminating(_)
            | State::Killed(_)
            | State::Lingering(..)
            | State::Ended(_)
            | State::Failed(_) => slot.entry(|| identify(run)),
        }
    }
}

#[cfg(test)]
mod tests;
