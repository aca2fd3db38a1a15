//! A launcher and its processes, which die when they like, and the wire to the agent, which is
//! cut when it likes. It keeps the truth of what was started, for the oracle to compare.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::ident::{BootId, Instance, NodeId, RunId};
use crate::rng::Rng;
use crate::run::order::{
    Cause, Entry, Exit, LauncherCommand, LauncherEvent, Process, SpawnOrder, Stage, StartFailure,
    Status,
};
use crate::time::{Mono, Now, Wall};

pub(super) struct Launcher {
    /// The one that runs now.
    alive: Option<Alive>,
    connected: bool,
    commands: VecDeque<LauncherCommand>,
    events: VecDeque<LauncherEvent>,
    processes: BTreeMap<u32, Running>,
    watched: BTreeSet<u32>,
    gone: VecDeque<Process>,
    next_pid: u32,
    boot: BootId,
    /// Whether processes end soon.
    pub(super) quick: bool,
    /// How long each process lasts, if neither that nor whether it starts is left to chance.
    pub(super) lasts: Option<Duration>,
    /// Whether each process fails, if that is not left to chance.
    pub(super) fails: Option<bool>,
    /// What was started, by which instance, ever.
    pub(super) started: BTreeMap<RunId, Instance>,
    /// How it ended, where a launcher saw it.
    pub(super) ends: BTreeMap<RunId, Entry>,
    /// What was started since somebody last looked here.
    pub(super) fresh: Vec<RunId>,
}

/// The launchers of a world, by their nodes.
pub(super) trait Launchers {
    fn launcher_of(&self, node: NodeId) -> &Launcher;
}

impl Launchers for Launcher {
    fn launcher_of(&self, _: NodeId) -> &Launcher {
        self
    }
}

struct Alive {
    instance: Instance,
    table: BTreeMap<RunId, Slot>,
}

struct Slot {
    process: Process,
    started: Wall,
    told: bool,
    over: Option<Entry>,
}

struct Running {
    process: Process,
    run: RunId,
    ends: Mono,
}

impl Launcher {
    pub(super) fn new() -> Launcher {
        Launcher {
            alive: None,
            connected: false,
            commands: VecDeque::new(),
            events: VecDeque::new(),
            processes: BTreeMap::new(),
            watched: BTreeSet::new(),
            gone: VecDeque::new(),
            next_pid: 1,
            boot: BootId(1),
            quick: false,
            lasts: None,
            fails: None,
            started: BTreeMap::new(),
            ends: BTreeMap::new(),
            fresh: Vec::new(),
        }
    }

    pub(super) fn instance(&self) -> Option<Instance> {
        self.alive.as_ref().map(|alive| alive.instance)
    }

    pub(super) fn has_processes(&self) -> bool {
        !self.processes.is_empty()
    }

    /// The runs that have a process now.
    pub(super) fn running(&self) -> impl Iterator<Item = RunId> + '_ {
        self.processes.values().map(|running| running.run)
    }

    /// Whether an agent is connected, or has not heard yet that it isn't any more.
    pub(super) fn is_connected(&self) -> bool {
        self.connected || !self.events.is_empty()
    }

    /// Whether there is something to be said or done at once.
    pub(super) fn is_busy(&self) -> bool {
        let untold = |alive: &Alive| {
            let silent = |slot: &Slot| !slot.told && slot.over.is_none();
            self.connected && alive.table.values().any(silent)
        };
        !self.commands.is_empty()
            || !self.events.is_empty()
            || !self.gone.is_empty()
            || self.alive.as_ref().is_some_and(untold)
    }

    pub(super) fn next_end(&self) -> Option<Mono> {
        self.processes.values().map(|running| running.ends).min()
    }

    /// Processes that run end soon.
    pub(super) fn hurry(&mut self, now: Now) {
        let soon = now.mono + Duration::from_millis(100);
        self.processes.values_mut().for_each(|running| running.ends = running.ends.min(soon));
    }

    /// A new launcher, if there is none.
    pub(super) fn start(&mut self, rng: &mut Rng) {
        if self.alive.is_none() {
            let instance = Instance(rng.next_u64() | 1);
            self.alive = Some(Alive { instance, table: BTreeMap::new() });
        }
    }

    /// The agent connects.
    pub(super) fn connect(&mut self) {
        // The agent comes anew only when it has seen the end of the wire before.
        let may_come = !self.connected && self.events.is_empty();
        let Some(alive) = self.alive.as_mut().filter(|_| may_come) else { return };
        self.connected = true;
        self.commands.clear();
        let mut table = Vec::new();
        for (&run, slot) in &mut alive.table {
            slot.told = true;
            let running = Entry::Running(slot.process, slot.started);
            table.push((run, slot.over.clone().unwrap_or(running)));
        }
        self.events.push_back(LauncherEvent::Welcome { instance: alive.instance, table });
    }

    /// The wire is cut: what the agent was sent may still arrive, in part; so may its commands.
    pub(super) fn cut(&mut self, rng: &mut Rng, now: Now) {
        if !self.connected {
            return;
        }
        while !self.commands.is_empty() && rng.chance(1, 2) {
            self.obey(rng, now);
        }
        self.connected = false;
        self.commands.clear();
        self.events.truncate(rng.below(self.events.len() as u64 + 1) as usize);
        self.events.push_back(LauncherEvent::Gone);
    }

    /// The agent is no more.
    pub(super) fn agent_died(&mut self, rng: &mut Rng, now: Now) {
        self.cut(rng, now);
        self.events.clear();
        self.watched.clear();
        self.gone.clear();
    }

    /// The launcher dies; its processes go on.
    pub(super) fn die(&mut self, rng: &mut Rng, now: Now) {
        self.cut(rng, now);
        self.alive = None;
    }

    /// The whole machine starts anew.
    pub(super) fn reboot(&mut self) {
        self.alive = None;
        self.connected = false;
        self.commands.clear();
        self.events.clear();
        self.processes.clear();
        self.watched.clear();
        self.gone.clear();
        self.boot.0 += 1;
    }

    pub(super) fn send(&mut self, command: LauncherCommand) {
        if self.connected {
            self.commands.push_back(command);
        }
    }

    /// What the agent hears next.
    pub(super) fn tell(&mut self) -> Option<LauncherEvent> {
        self.events.pop_front()
    }

    /// Carries out the next command.
    pub(super) fn obey(&mut self, rng: &mut Rng, now: Now) {
        let Some(command) = self.commands.pop_front() else { return };
        match command {
            LauncherCommand::Spawn(order) => self.spawn(order, rng, now),
            LauncherCommand::Kill(_) => unreachable!("nobody asks for it in this version"),
            LauncherCommand::Ack(run) => {
                let Some(alive) = &mut self.alive else { return };
                if alive.table.get(&run).is_some_and(|slot| slot.over.is_some()) {
                    alive.table.remove(&run);
                }
            }
        }
    }

    /// Says when `process` ends.
    pub(super) fn watch(&mut self, process: Process) {
        match self.processes.get(&process.pid) {
            Some(running) if running.process == process => {
                self.watched.insert(process.pid);
            }
            Some(_) | None => self.gone.push_back(process),
        }
    }

    pub(super) fn poll_gone(&mut self) -> Option<Process> {
        self.gone.pop_front()
    }

    /// Ends the processes whose time has come.
    pub(super) fn tick(&mut self, rng: &mut Rng, now: Now) {
        let due: Vec<u32> = self
            .processes
            .iter()
            .filter(|(_, running)| running.ends <= now.mono)
            .map(|(&pid, _)| pid)
            .collect();
        for pid in due {
            let Some(Running { process, run, .. }) = self.processes.remove(&pid) else { continue };
            if self.watched.remove(&pid) {
                self.gone.push_back(process);
            }
            let Some(alive) = &mut self.alive else { continue };
            let Some(slot) = alive.table.get_mut(&run).filter(|slot| slot.process == process)
            else {
                continue;
            };
            let entry = ending(slot, self.fails, rng, now);
            slot.over = Some(entry.clone());
            self.ends.insert(run, entry.clone());
            if self.connected {
                self.events.push_back(LauncherEvent::Run(run, entry));
            }
        }
    }

    /// A process that was not told of yet has come to its program.
    pub(super) fn announce(&mut self) {
        let Some(alive) = self.alive.as_mut().filter(|_| self.connected) else { return };
        for (&run, slot) in &mut alive.table {
            if !slot.told && slot.over.is_none() {
                slot.told = true;
                let entry = Entry::Running(slot.process, slot.started);
                self.events.push_back(LauncherEvent::Run(run, entry));
            }
        }
    }

    fn spawn(&mut self, order: SpawnOrder, rng: &mut Rng, now: Now) {
        let Some(alive) = &mut self.alive else { return };
        let run = order.run;
        if order.instance != alive.instance {
            self.events.push_back(LauncherEvent::Refused(run));
            return;
        }
        if let Some(slot) = alive.table.get(&run) {
            let running = Entry::Running(slot.process, slot.started);
            let entry = slot.over.clone().unwrap_or(running);
            self.events.push_back(LauncherEvent::Run(run, entry));
            return;
        }
        if self.lasts.is_none() && rng.chance(1, 20) {
            // Without an entry in the table: a repeated order would be refused again.
            let failure = StartFailure { stage: Stage::Refused, errno: 11, at: now.wall };
            self.events.push_back(LauncherEvent::Run(run, Entry::Failed(failure)));
            return;
        }
        let before = self.started.insert(run, alive.instance);
        assert_eq!(before, None, "{run} is started a second time");
        let pid = self.next_pid;
        self.next_pid += 1;
        let process = Process { pid, start_ticks: now.mono.0, boot: self.boot };
        let slot = Slot { process, started: now.wall, told: false, over: None };
        alive.table.insert(run, slot);
        self.fresh.push(run);
        let ends = match rng.below(4) {
            _ if self.lasts.is_some() => now.mono + self.lasts.unwrap_or_default(),
            _ if self.quick => Mono(now.mono.0 + rng.below(200_000_000)),
            0 => now.mono,
            1 => Mono(now.mono.0 + rng.below(60_000_000_000)),
            _ => Mono(now.mono.0 + rng.below(3_000_000_000)),
        };
        let limit = now.mono + Duration::from_millis(order.timeout_ms + order.kill_grace_ms);
        let ends = if order.timeout_ms > 0 { ends.min(limit) } else { ends };
        self.processes.insert(pid, Running { process, run, ends });
    }
}

fn ending(slot: &Slot, fails: Option<bool>, rng: &mut Rng, now: Now) -> Entry {
    if fails.is_none() && !slot.told && rng.chance(1, 3) {
        return Entry::Failed(StartFailure { stage: Stage::Exec, errno: 2, at: now.wall });
    }
    let (status, cause) = match rng.below(6) {
        _ if fails.is_some() => (Status::Code(fails.unwrap_or_default().into()), Cause::Own),
        0 => (Status::Code(1 + rng.below(255) as i32), Cause::Own),
        1 => (Status::Signal(9), Cause::Own),
        2 => (Status::Signal(15), Cause::TimedOut),
        _ => (Status::Code(0), Cause::Own),
    };
    Entry::Ended(Exit {
        status,
        cause,
        started: slot.started,
        finished: now.wall,
        duration_ms: 1,
        cpu_ms: 1,
        max_rss_bytes: 1,
        output_bytes: 4,
        tail: b"out\n".to_vec(),
    })
}
