//! One to seven whole nodes in one thread, driven from one moment to the next.
//!
//! What happens next is whatever is due first: a fault of the plan, a word of the network, a disk,
//! a launcher, a client, a node's own timer. So the time that passes costs nothing, and the same
//! seed gives the same world.

use std::collections::BTreeMap;

use super::super::disk::Work;
use super::super::world::{BEGIN, Utc};
use super::clients::Clients;
use super::machine::{MS, Machine, NEVER, SECOND};
use super::network::Network;
use super::plan::{Fault, Plan};
use super::watch::Watch;
use crate::api::HostRule;
use crate::cluster::Timing;
use crate::http::Method;
use crate::ident::{ClusterId, Epoch, Index, NodeId};
use crate::node::testing::wired;
use crate::node::{Effect, Input, Node, Raw, Settings, Word};
use crate::rng::{Rng, mix, stable_hash};
use crate::run::order::LauncherCommand;
use crate::run::session::Said;
use crate::store::{Record, Servers};
use crate::time::{Now, Wall};

/// The most that a node's loop lets pass between two looks at what is due.
const TURN: u64 = MS / 20;
/// Within this a healed cluster has a leader, and within that it has fired what was due.
const LEADER_WITHIN: u64 = 10 * SECOND;
const FIRES_WITHIN: u64 = 5 * SECOND;
/// How long a healed world may take until nothing is open.
const QUIET_WITHIN: u64 = 60 * SECOND;
/// How far a wall clock is set off at most, in milliseconds: not so far that it is a correction.
const OFFSET_MAX: i64 = 3_600_000;

pub(super) struct World {
    pub(super) t: u64,
    pub(super) step: u64,
    pub(super) machines: Vec<Machine>,
    pub(super) net: Network,
    pub(super) watch: Watch,
    pub(super) clients: Clients,
    pub(super) plan: Plan,
    next_item: usize,
    /// The status of each answer, by who asked.
    pub(super) wishes: BTreeMap<String, u16>,
    rng: Rng,
    snapshot_bytes: u64,
    pub(super) trace: u64,
    pub(super) told: bool,
    /// Whether all words are printed, too.
    pub(super) words: bool,
}

/// Who there is in a world.
#[derive(Clone, Copy)]
pub(super) struct Crew {
    pub(super) voters: usize,
    /// Servers that do not vote from the beginning.
    pub(super) spares: usize,
    pub(super) workers: usize,
}

impl Crew {
    /// Voters alone.
    pub(super) fn of(voters: usize) -> Crew {
        Crew { voters, spares: 0, workers: 0 }
    }

    fn count(self) -> usize {
        self.voters + self.spares + self.workers
    }
}

enum Event {
    Fault,
    Word,
    Client,
    Start(usize),
    Node(usize),
    Disk(usize),
    Launcher(usize),
}

impl World {
    /// The world of a seed.
    pub(super) fn new(seed: u64) -> World {
        let mut rng = Rng::new(mix(seed ^ 0x5eed));
        // In every fourth there are more nodes than those that vote, and they may change.
        let crew = match seed % 4 {
            3 => Crew {
                voters: 1 + rng.below(4) as usize,
                spares: rng.below(3) as usize,
                workers: rng.below(3) as usize,
            },
            _ => Crew::of([1, 2, 3, 3, 3, 4, 5, 5, 6, 7][rng.below(10) as usize]),
        };
        let plan = Plan::drawn(&mut rng, crew.count(), seed % 4 == 3);
        World::of(crew, plan, rng)
    }

    /// A world with such nodes and that plan.
    pub(super) fn of(crew: Crew, plan: Plan, mut rng: Rng) -> World {
        let id = |number: usize| NodeId::new(number as u32).unwrap();
        let voters = (1..=crew.voters).map(id).collect();
        let config = Record::Config(Servers::of(ClusterId(3), voters));
        let first = Raw {
            index: Index(1),
            epoch: Epoch(0),
            kind: config.kind(),
            payload: config.encode(Wall(BEGIN), "genesis"),
        };
        let mut machine = |number| {
            let founder = Some(&first).filter(|_| number <= crew.voters);
            let mut machine = Machine::new(number as u32, founder.cloned(), &mut rng);
            machine.server = number <= crew.voters + crew.spares;
            machine
        };
        let machines = (1..=crew.count()).map(&mut machine).collect();
        let snapshot_bytes = if rng.chance(2, 3) { 30_000 } else { u64::MAX };
        World {
            t: 0,
            step: 0,
            machines,
            net: Network::new(Rng::new(rng.next_u64()), plan.weather),
            watch: Watch::new(plan.steps),
            clients: Clients::new(Rng::new(rng.next_u64())),
            plan,
            next_item: 0,
            wishes: BTreeMap::new(),
            rng,
            snapshot_bytes,
            trace: 0,
            told: false,
            words: false,
        }
    }

    /// Nobody asks for anything by itself.
    pub(super) fn without_clients(mut self) -> World {
        self.clients.next_at = NEVER;
        self
    }

    /// Lives through the faults.
    pub(super) fn live(&mut self) {
        self.run_until(self.plan.span);
    }

    pub(super) fn run_until(&mut self, until: u64) {
        while self.go_on(until) {}
        self.t = until;
    }

    /// Lives until something is so, which must be soon.
    pub(super) fn run_to(&mut self, what: &str, is_so: impl Fn(&World) -> bool) {
        let by = self.t + 60 * SECOND;
        while !is_so(self) {
            assert!(self.go_on(by), "it never comes to {what}");
        }
    }

    /// The next thing that happens up to `until`; false when there is none.
    fn go_on(&mut self, until: u64) -> bool {
        let Some((at, event)) = self.next_event().filter(|(at, _)| *at <= until) else {
            return false;
        };
        self.t = at.max(self.t);
        self.step += 1;
        self.happen(event);
        if self.step.is_multiple_of(64) {
            let at = (self.step / 64) as usize % self.machines.len();
            self.watch.same_state(&self.machines[at]);
        }
        true
    }

    pub(super) fn pass(&mut self, span: u64) {
        self.run_until(self.t + span);
    }

    fn next_event(&self) -> Option<(u64, Event)> {
        let item = self.plan.items.get(self.next_item).map_or(NEVER, |&(at, _)| at);
        let mut first = (item, Event::Fault);
        let mut weigh = |at: u64, event: Event| {
            if at < first.0 {
                first = (at, event);
            }
        };
        weigh(self.net.next(), Event::Word);
        weigh(self.clients.next(), Event::Client);
        for (at, machine) in self.machines.iter().enumerate() {
            weigh(machine.start_next(), Event::Start(at));
            weigh(machine.node_due(), Event::Node(at));
            weigh(machine.disk_next(), Event::Disk(at));
            weigh(machine.launcher_next(), Event::Launcher(at));
        }
        Some(first).filter(|(at, _)| *at < NEVER)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Fault => {
                let (_, fault) = self.plan.items[self.next_item].clone();
                self.next_item += 1;
                self.fault(fault);
            }
            Event::Word => self.arrive(),
            Event::Client => self.client(),
            Event::Start(at) => self.start(at),
            Event::Node(at) => {
                self.machines[at].turn_at = self.t + TURN;
                self.input(at, Input::Tick);
            }
            Event::Disk(at) => self.serve_disk(at),
            Event::Launcher(at) => self.serve_launcher(at),
        }
    }

    // ---- faults ----

    /// Who leads now: of several, the one of the highest epoch.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |at: &usize| self.machines[*at].node.as_ref().is_some_and(Node::leads);
        let leaders = (0..self.machines.len()).filter(leads);
        leaders.max_by_key(|&at| self.machines[at].led)
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        let t = self.t;
        if self.told {
            println!("{:.3}: {fault:?}", t as f64 / 1e9);
        }
        self.trace = mix(self.trace ^ t);
        match fault {
            Fault::Agent(at, span) => {
                self.crash(at);
                self.machines[at].agent_at = t + span;
            }
            Fault::Launcher(at, span) => {
                let now = self.now(at);
                let machine = &mut self.machines[at];
                machine.launcher.die(&mut machine.rng, now);
                machine.launcher_at = t + span;
            }
            Fault::Machine(at, span) => self.power_off(at, span),
            Fault::All(span) => (0..self.machines.len()).for_each(|at| self.power_off(at, span)),
            Fault::Pause(at, span) => self.machines[at].paused_until = t + span,
            Fault::Wire(at) => {
                let now = self.now(at);
                let machine = &mut self.machines[at];
                machine.launcher.cut(&mut machine.rng, now);
            }
            Fault::Stop(at, span) => {
                self.machines[at].agent_at = t + span;
                if self.machines[at].paused_until <= t {
                    self.input(at, Input::Stop);
                }
            }
            Fault::Step(at, ms) => self.set_clock(at, self.machines[at].clock.offset + ms),
            Fault::SlowDisk(at, span) => self.machines[at].slow_until = t + span,
            Fault::StuckDisk(at, span) => self.machines[at].stalled_until = t + span,
            Fault::Part(side, span) => self.net.part(&side, self.machines.len(), t + span),
            Fault::OneWay(from, to, span) => self.net.cut((from, to), t + span),
            Fault::Break(a, b) => self.net.break_both((a, b)),
            Fault::Leave(at, span) => {
                self.machines[at].agent_at = t + span;
                self.wish(at, (Method::Post, "/v1/leave"), "");
            }
            Fault::Transfer(to) => {
                let body = format!(r#"{{"to":"n{}"}}"#, to + 1);
                self.wish(to, (Method::Post, "/v1/voters/transfer"), &body);
            }
            Fault::Vote(at, votes) => {
                let key = if votes { "add" } else { "remove" };
                let body = format!(r#"{{"{key}":["n{}"]}}"#, at + 1);
                let asked = self.rng.below(self.machines.len() as u64) as usize;
                self.wish(asked, (Method::Post, "/v1/voters"), &body);
            }
            Fault::Leader(fault) => {
                if let Some(leader) = self.leader() {
                    self.fault(fault.at(leader));
                }
            }
        }
    }

    pub(super) fn set_clock(&mut self, at: usize, offset: i64) {
        self.machines[at].clock.offset = offset.clamp(-OFFSET_MAX, OFFSET_MAX);
        if self.machines[at].paused_until <= self.t && self.rng.chance(3, 4) {
            self.input(at, Input::ClockSet);
        }
    }

    fn power_off(&mut self, at: usize, span: u64) {
        self.crash(at);
        let machine = &mut self.machines[at];
        machine.reboot(self.t);
        (machine.agent_at, machine.launcher_at) = (self.t + span, self.t + span);
    }

    fn crash(&mut self, at: usize) {
        let (t, now) = (self.t, self.now(at));
        let machine = &mut self.machines[at];
        machine.paused_until = 0;
        if machine.node.take().is_none() {
            return;
        }
        machine.disk.crash(&mut machine.rng);
        machine.launcher.agent_died(&mut machine.rng, now);
        machine.agent_at = machine.agent_at.max(t + MS);
        (machine.leads, machine.led) = (false, None);
        machine.orders.clear();
        self.watch.oracle.counts.crashes += 1;
        self.look_at_started(at);
        self.net.died(at);
        self.hang_up(at);
    }

    fn start(&mut self, at: usize) {
        let (t, now) = (self.t, self.now(at));
        let machine = &mut self.machines[at];
        if machine.launcher.instance().is_none() && machine.launcher_at <= t {
            machine.launcher.start(&mut machine.rng);
        }
        let wait = MS + machine.rng.below(20 * MS);
        machine.launcher_due = machine.launcher_due.max(t + wait);
        if machine.node.is_some() {
            if machine.paused_until <= t {
                machine.launcher.connect();
            }
            return;
        }
        if machine.agent_at > t {
            return;
        }
        machine.life += 1;
        let settings = Settings {
            name: machine.name.clone(),
            tags: vec![("role".into(), if at == 3 { "db" } else { "web" }.into())],
            address: String::new(),
            server: machine.server,
            work: machine.work,
            default_zone: "UTC".into(),
            hosts: HostRule::default(),
            running_max: machine.running_max,
            snapshot_bytes: self.snapshot_bytes,
            timing: Timing::default(),
            seed: machine.rng.next_u64(),
            warnings: Vec::new(),
        };
        machine.exiting = false;
        let found = machine.disk.open();
        if self.told {
            let (snapshot, last) = (found.state.applied(), found.records.last());
            let last = last.map_or(snapshot, |entry| entry.index);
            let count = found.records.len();
            println!("  {:.3}: n{} finds {snapshot} to {last} ({count})", t as f64 / 1e9, at + 1);
        }
        machine.node = Some(Node::new(settings, Box::new(Utc), found, now));
        self.effects(at);
        let is_server = |machine: &&Machine| machine.server;
        let servers = self.machines.iter().filter(is_server).map(|machine| machine.id).collect();
        self.input(at, Input::Servers(servers));
    }

    // ---- what moves ----

    pub(super) fn now(&self, at: usize) -> Now {
        self.machines[at].clock.read(self.t)
    }

    fn arrive(&mut self) {
        let machines = &self.machines;
        let waits = |at: usize| machines[at].paused_until;
        let Some(((from, to), word)) = self.net.arrive(self.t, &waits) else { return };
        if self.machines[to].node.is_none() {
            if !matches!(word, Word::Consensus(_)) {
                self.net.break_both((from, to));
            }
            return;
        }
        if self.words {
            let what: String = format!("{word:?}").chars().take(260).collect();
            println!("  {:.3}: n{} hears n{}: {what}", self.t as f64 / 1e9, to + 1, from + 1);
        }
        let from = self.machines[from].id;
        if let Word::Session(word) = &word {
            if let Said::Order(order) = &word.said {
                let machine = &mut self.machines[to];
                if order.epoch >= machine.disk.runs_epoch() {
                    machine.orders.insert(order.spawn.run, order.epoch);
                }
            }
        }
        self.input(to, Input::Peer(from, word));
    }

    fn serve_disk(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.disk.work(&mut machine.rng);
        machine.disk_due = self.t + machine.disk_wait(self.t);
        while let Some(input) = self.machines[at].disk.tell() {
            self.input(at, input);
            if self.machines[at].rng.chance(1, 6) {
                break;
            }
        }
    }

    fn serve_launcher(&mut self, at: usize) {
        let now = self.now(at);
        let machine = &mut self.machines[at];
        let wait = MS / 5 + machine.rng.below(5 * MS);
        machine.launcher_due = self.t + wait;
        machine.launcher.tick(&mut machine.rng, now);
        machine.launcher.obey(&mut machine.rng, now);
        if machine.rng.chance(1, 2) {
            machine.launcher.announce();
        }
        self.look_at_started(at);
        if self.machines[at].paused_until > self.t {
            return;
        }
        if let Some(process) = self.machines[at].launcher.poll_gone() {
            self.input(at, Input::ProcessGone(process));
        }
        if let Some(event) = self.machines[at].launcher.tell() {
            self.input(at, Input::Launcher(event));
        }
    }

    fn look_at_started(&mut self, at: usize) {
        for run in std::mem::take(&mut self.machines[at].launcher.fresh) {
            self.watch.started(&self.machines, run, self.t);
        }
    }

    pub(super) fn input(&mut self, at: usize, input: Input) {
        let now = self.now(at);
        if let Some(node) = &mut self.machines[at].node {
            node.handle(input, now);
            self.effects(at);
        }
    }

    fn effects(&mut self, at: usize) {
        self.watch.observe(&mut self.machines, at, self.t);
        while let Some(effect) = self.machines[at].node.as_mut().and_then(Node::poll_effect) {
            self.trace(at, &effect);
            self.carry_out(at, effect);
            if self.plan.mid > 0 && self.rng.chance(1, self.plan.mid) {
                self.machines[at].agent_at = self.t + self.rng.below(3 * SECOND);
                self.crash(at);
            }
        }
        if self.machines[at].exiting && self.machines[at].node.is_some() {
            self.crash(at);
        }
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let work = match effect {
            Effect::Reply(id, response) => return self.answered(at, id, response),
            Effect::Send(to, word) => {
                let to = self.machines.iter().position(|machine| machine.id == to);
                let to = to.expect("a node speaks to those it knows");
                let word = wired(self.machines[at].node.as_ref().expect("it speaks"), word);
                return self.net.send((at, to), word, self.t);
            }
            Effect::Launcher(command) => {
                let machine = &mut self.machines[at];
                if let LauncherCommand::Spawn(order) = &command {
                    self.watch.check_spawn(machine, order);
                }
                let wait = MS / 10 + machine.rng.below(3 * MS);
                machine.launcher_due = machine.launcher_due.max(self.t + wait);
                return machine.launcher.send(command);
            }
            Effect::Watch(process) => return self.machines[at].launcher.watch(process),
            Effect::Halt(why) => panic!("n{} halts: {why}", at + 1),
            Effect::Exit => {
                self.machines[at].exiting = true;
                return;
            }
            Effect::ReadBody(_) | Effect::StreamReady(_) => return,
            Effect::Log(note) => {
                if self.told {
                    println!("    n{}: {} {:?}", at + 1, note.message, note.fields);
                }
                return;
            }
            Effect::Commit(batch) => Work::Commit(batch),
            Effect::Snapshot(index, work) => Work::Snapshot(index, work),
            Effect::ReadOutputs(id, list) => Work::ReadOutputs(id, list),
            Effect::ReadRecords(from) => Work::ReadRecords(from),
            Effect::ReadSnapshot(to, index, part) => Work::ReadSnapshot(to, index, part),
            Effect::CompactRuns(live) => Work::CompactRuns(live),
        };
        let machine = &mut self.machines[at];
        if machine.disk.is_idle() {
            machine.disk_due = self.t + machine.disk_wait(self.t);
        }
        machine.disk.push(work);
    }

    fn trace(&mut self, at: usize, effect: &Effect) {
        let word = match effect {
            Effect::Reply(id, response) => id.0 << 16 | u64::from(response.status),
            Effect::Commit(batch) => batch.ticket.0 << 8 | batch.runs.len() as u64,
            Effect::Send(to, _) => u64::from(to.get()) << 40,
            Effect::Launcher(LauncherCommand::Spawn(order)) => order.run.group.0 << 32,
            Effect::Log(note) => stable_hash(note.message.as_bytes()),
            _ => 7,
        };
        self.trace = mix(self.trace ^ word ^ (at as u64) << 56 ^ self.t.rotate_left(20));
    }

    // ---- the end ----

    /// Ends all faults: soon somebody leads, what is due is fired, everybody has the same, and
    /// what is open ends.
    pub(super) fn heal(&mut self) {
        self.stop_faults();
        self.pass(LEADER_WITHIN);
        assert!(self.leader().is_some(), "nobody leads after {LEADER_WITHIN} ns");
        self.pass(FIRES_WITHIN);
        let late_before = self.now(0).wall.second().plus(-5);
        let jobs: Vec<_> = self.watch.oracle.state.jobs_by_name().cloned().collect();
        for job in &jobs {
            let owed = self.watch.oracle.owes(job);
            let late = owed.filter(|&due| due < late_before);
            assert_eq!(late, None, "{} fires late, or never", job.name);
        }
        let owed = self.watch.oracle.owes_retry();
        let owed = owed.filter(|(_, since)| since.second() < late_before);
        assert_eq!(owed, None, "it is tried again late, or never");
        let owed = self.watch.oracle.owes_chained();
        let owed = owed.filter(|(.., since)| since.second() < late_before);
        assert_eq!(owed, None, "it runs after another late, or never");
        (self.clients.next_at, self.clients.again) = (NEVER, BTreeMap::new());
        let by = self.t + QUIET_WITHIN;
        while self.t < by && !self.is_quiet() {
            let names: Vec<_> =
                self.watch.oracle.state.jobs_by_name().map(|job| job.name.to_string()).collect();
            if self.clients.asked.is_empty() && self.clients.again.is_empty() {
                names.iter().for_each(|name| self.delete(name));
            }
            self.hurry();
            self.pass(SECOND / 2);
        }
        self.pass(3 * SECOND);
        self.check_end();
    }

    fn stop_faults(&mut self) {
        if self.told {
            println!("{:.3}: the world heals", self.t as f64 / 1e9);
        }
        self.next_item = usize::MAX;
        self.plan.mid = 0;
        self.net.heal();
        for at in 0..self.machines.len() {
            let machine = &mut self.machines[at];
            (machine.paused_until, machine.stalled_until, machine.slow_until) = (0, 0, 0);
            (machine.agent_at, machine.launcher_at) = (self.t, self.t);
            machine.launcher.quick = true;
            self.set_clock(at, 0);
        }
        self.hurry();
    }

    fn hurry(&mut self) {
        for machine in &mut self.machines {
            let now = machine.clock.read(self.t);
            machine.launcher.hurry(now);
        }
    }

    fn is_quiet(&self) -> bool {
        let state = &self.watch.oracle.state;
        self.clients.asked.is_empty()
            && self.clients.again.is_empty()
            && state.jobs_by_name().len() == 0
            && state.open_runs().len() == 0
            && self.machines.iter().all(|machine| !machine.launcher.has_processes())
    }

    fn check_end(&mut self) {
        let state = &self.watch.oracle.state;
        assert_eq!(state.jobs_by_name().len(), 0, "jobs can be deleted");
        let open: Vec<_> = state.open_runs().collect();
        assert!(open.is_empty(), "runs stay open: {open:?}");
        assert!(self.clients.asked.is_empty(), "a request has no answer");
        let bytes = state.snapshot();
        let servers = state.servers();
        assert_eq!(servers.voters, servers.wanted, "the voters are those that are wanted");
        let keeps = |node| servers.voters.contains(&node) || servers.learners.contains(&node);
        for machine in &self.machines {
            let id = machine.id;
            let node = machine.node.as_ref().expect("it runs");
            assert_eq!(machine.disk.runs_held(), 0, "the runs log of {id} is not cleared");
            if !keeps(id) {
                continue;
            }
            assert_eq!(node.state().applied(), state.applied(), "{id} lags");
            assert!(*node.state() == *state, "{id} has made another state of the same");
            assert!(node.state().snapshot() == bytes, "{id} would write another snapshot");
        }
        let kept = |machine: &Machine| keeps(machine.id) || !machine.server;
        let kept: Vec<bool> = self.machines.iter().map(kept).collect();
        for at in (0..self.machines.len()).filter(|&at| kept[at]) {
            let who = self.wish(at, (Method::Get, "/ready"), "");
            self.pass(SECOND / 10);
            assert_eq!(self.wishes.get(&who), Some(&200), "n{} is ready", at + 1);
        }
    }
}
