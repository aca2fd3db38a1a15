//! One run in the launcher's table: its state, and what is kept of it. The table moves it.

use std::time::Duration;

use super::tail::Tail;
use crate::run::order::{Cause, Entry, Exit, Process, SpawnOrder, StartFailure, Status};
use crate::time::{Mono, Now};

/// A run.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) started: Now,
    /// Its process, once somebody was told of it.
    pub(super) process: Option<Process>,
    /// Whether an agent may have heard that it runs.
    pub(super) told: bool,
    pub(super) failure: Option<StartFailure>,
    pub(super) timeout: Option<Duration>,
    pub(super) kill_grace: Duration,
    pub(super) deadline: Option<Mono>,
    pub(super) tail: Tail,
}

/// How far a run has come.
#[derive(Debug)]
pub(super) enum State {
    /// Between fork(2) and execve(2).
    Starting,
    /// The program runs.
    Running,
    /// TERM has been sent; KILL follows.
    Terminating(Cause),
    /// KILL has been sent.
    Killed(Cause),
    /// The leader has been reaped after a TERM, but others of its group live in their grace.
    Lingering(Cause, End),
    /// Over.
    Ended(Exit),
    /// Never began.
    Failed(StartFailure),
}

impl Slot {
    /// A run that was ordered just now.
    pub(super) fn new(order: &SpawnOrder, now: Now) -> Slot {
        Slot {
            state: State::Starting,
            started: now,
            process: None,
            told: false,
            failure: None,
            timeout: (order.timeout_ms > 0).then(|| Duration::from_millis(order.timeout_ms)),
            kill_grace: Duration::from_millis(order.kill_grace_ms),
            deadline: None,
            tail: Tail::new(order.tail_max_bytes as usize),
        }
    }

    /// The entry as an agent is told it; from now on it can only end. `identify` tells its process
    /// when that must be known.
    pub(super) fn entry(&mut self, identify: impl FnOnce() -> Option<Process>) -> Option<Entry> {
        match &self.state {
            State::Starting
            | State::Running
            | State::Terminating(_)
            | State::Killed(_)
            | State::Lingering(..) => {
                self.process = self.process.or_else(identify);
                self.told |= self.process.is_some();
                self.process.map(|process| Entry::Running(process, self.started.wall))
            }
            State::Ended(exit) => Some(Entry::Ended(exit.clone())),
            State::Failed(failure) => Some(Entry::Failed(*failure)),
        }
    }

    /// Whether no process lives for it any more.
    pub(super) fn is_over(&self) -> bool {
        match self.state {
            State::Ended(_) | State::Failed(_) => true,
            State::Starting
            | State::Running
            | State::Terminating(_)
            | State::Killed(_)
            | State::Lingering(..) => false,
        }
    }

    /// Bytes of output kept for it.
    pub(super) fn kept_bytes(&self) -> usize {
        match &self.state {
            State::Ended(exit) => exit.tail.len(),
            State::Starting
            | State::Running
            | State::Terminating(_)
            | State::Killed(_)
            | State::Lingering(..)
            | State::Failed(_) => self.tail.len(),
        }
    }
}

/// What wait4(2) told of a leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct End {
    /// How it ended.
    pub(super) status: Status,
    /// Processor time in milliseconds.
    pub(super) cpu_ms: u64,
    /// The largest resident set in bytes.
    pub(super) max_rss_bytes: u64,
}
