//! One machine of the world: a node with its disk, its launcher and its clocks.

use std::collections::BTreeMap;

use super::super::disk::Disk;
use super::super::launcher::{Launcher, Launchers};
use super::super::world::BEGIN;
use crate::ident::{Epoch, NodeId, RunId, StoreId};
use crate::node::{Node, Raw};
use crate::rng::Rng;
use crate::time::{Mono, Now, Wall};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MS;
/// For what never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// The clocks of a machine, which run a little too fast or too slow.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    mono_at_boot: u64,
    booted: u64,
    /// In millionths.
    drift: i64,
    /// How far the wall clock was set off, in milliseconds.
    pub(super) offset: i64,
}

impl Clock {
    fn drifted(&self, span: u64) -> u64 {
        let span = i128::from(span);
        u64::try_from(span + span * i128::from(self.drift) / 1_000_000).unwrap_or(0)
    }

    pub(super) fn read(&self, t: u64) -> Now {
        let mono = self.mono_at_boot + self.drifted(t - self.booted);
        let wall = BEGIN + (self.drifted(t) / MS) as i64 + self.offset;
        Now { mono: Mono(mono), wall: Wall(wall) }
    }

    fn undrifted(&self, span: u64) -> u64 {
        let wide = u128::from(span) * 1_000_000;
        let rate = u128::try_from(1_000_000 + self.drift).unwrap_or(1);
        u64::try_from(wide / rate + 2).unwrap_or(NEVER)
    }

    /// When the monotonic clock shows `at`.
    pub(super) fn when_mono(&self, at: Mono) -> u64 {
        let span = at.0.saturating_sub(self.mono_at_boot);
        self.booted.saturating_add(self.undrifted(span))
    }

    /// When the wall clock shows `at`, if nobody sets it.
    pub(super) fn when_wall(&self, at: Wall) -> u64 {
        let span = at.0.saturating_sub(BEGIN + self.offset);
        let span = u64::try_from(span).unwrap_or(0).saturating_mul(MS);
        // A millisecond more, for what the division has cut off.
        self.undrifted(span).saturating_add(MS)
    }
}

pub(super) struct Machine {
    pub(super) id: NodeId,
    pub(super) name: String,
    /// Whether it keeps the journal, and whether it runs anything.
    pub(super) server: bool,
    pub(super) work: bool,
    pub(super) disk: Disk,
    pub(super) launcher: Launcher,
    pub(super) node: Option<Node>,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    /// Until when the agent gets no turn.
    pub(super) paused_until: u64,
    /// When agent and launcher are started, if they don't run.
    pub(super) agent_at: u64,
    pub(super) launcher_at: u64,
    /// When disk and launcher have done their next work.
    pub(super) disk_due: u64,
    pub(super) launcher_due: u64,
    /// Until when the disk does nothing, or little.
    pub(super) stalled_until: u64,
    pub(super) slow_until: u64,
    /// The agent is about to end.
    pub(super) exiting: bool,
    /// The next turn of the agent's loop is not before.
    pub(super) turn_at: u64,
    pub(super) running_max: usize,
    /// The newest epoch of an order for each run that this node was not to refuse.
    pub(super) orders: BTreeMap<RunId, Epoch>,
    /// The epoch that it leads or led last.
    pub(super) led: Option<Epoch>,
    /// Whether it leads, as seen last.
    pub(super) leads: bool,
    /// How often the agent was started.
    pub(super) life: u64,
}

impl Machine {
    pub(super) fn new(number: u32, first: Option<Raw>, rng: &mut Rng) -> Machine {
        let id = NodeId::new(number).unwrap();
        let mut own = Rng::new(rng.next_u64());
        let clock = Clock {
            mono_at_boot: own.below(100 * SECOND),
            booted: 0,
            drift: own.below(400) as i64 - 200,
            offset: 0,
        };
        Machine {
            id,
            name: format!("n{number}"),
            server: true,
            work: true,
            disk: Disk::new(id, StoreId(u64::from(number) + 100), first),
            launcher: Launcher::new(),
            node: None,
            clock,
            running_max: [1, 3, 100][own.below(3) as usize],
            rng: own,
            paused_until: 0,
            agent_at: 0,
            launcher_at: 0,
            disk_due: 0,
            launcher_due: 0,
            stalled_until: 0,
            slow_until: 0,
            exiting: false,
            turn_at: 0,
            orders: BTreeMap::new(),
            led: None,
            leads: false,
            life: 0,
        }
    }

    /// The machine starts anew: its monotonic clock does, too.
    pub(super) fn reboot(&mut self, t: u64) {
        self.launcher.reboot();
        let wall = self.clock.read(t).wall;
        (self.clock.booted, self.clock.mono_at_boot) = (t, self.rng.below(100 * SECOND));
        assert_eq!(self.clock.read(t).wall, wall, "the wall clock goes on");
    }

    /// When the agent's loop has something to do by itself.
    pub(super) fn node_due(&self) -> u64 {
        let Some(node) = &self.node else { return NEVER };
        let timeout = node.poll_timeout().map_or(NEVER, |at| self.clock.when_mono(at));
        let alarm = node.poll_alarm().map_or(NEVER, |at| self.clock.when_wall(at));
        timeout.min(alarm).max(self.turn_at).max(self.paused_until)
    }

    /// When the disk has done what comes next.
    pub(super) fn disk_next(&self) -> u64 {
        if self.disk.is_idle() {
            return NEVER;
        }
        // It is the agent that writes.
        self.disk_due.max(self.stalled_until).max(self.paused_until)
    }

    /// When the launcher or its wire does what comes next.
    pub(super) fn launcher_next(&self) -> u64 {
        let ends = self.launcher.next_end().map_or(NEVER, |at| self.clock.when_mono(at));
        let news = if self.launcher.is_busy() { self.launcher_due } else { NEVER };
        ends.max(self.launcher_due).min(news)
    }

    /// When something is started, or connects.
    pub(super) fn start_next(&self) -> u64 {
        let launcher = match self.launcher.instance() {
            None => self.launcher_at,
            Some(_) if self.node.is_some() && !self.launcher.is_connected() => {
                self.launcher_due.max(self.paused_until)
            }
            Some(_) => NEVER,
        };
        let agent = if self.node.is_none() { self.agent_at } else { NEVER };
        launcher.min(agent)
    }

    /// How long the disk takes for what it does next.
    pub(super) fn disk_wait(&mut self, t: u64) -> u64 {
        let most = if t < self.slow_until { 600 * MS } else { 4 * MS };
        MS / 10 + self.rng.below(most)
    }
}

impl Launchers for Vec<Machine> {
    fn launcher_of(&self, node: NodeId) -> &Launcher {
        &self.iter().find(|machine| machine.id == node).unwrap().launcher
    }
}
