//! One node in a world that one seed decides: its disk, its launcher, its clocks, its clients.
//!
//! The node is driven as the agent's loop drives it. Faults come between any two effects. After
//! the faults the world heals, and everything that is open must come to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::disk::{self, Disk, Work};
use super::jobs::random_job;
use super::launcher::Launcher;
use super::oracle::Oracle;
use crate::api::{HostRule, Peer, Role};
use crate::cluster::Timing;
use crate::cron::{Zone, Zones};
use crate::http::{Body, BodyPiece, Headers, Method, Request, Response};
use crate::ident::{ClusterId, Epoch, Index, NodeId, RequestId, StoreId, StreamId};
use crate::node::{Batch, Effect, Input, Node, PATIENCE, Produced, Raw, Settings, Space};
use crate::rng::{Rng, stable_hash};
use crate::run::order::{LauncherCommand, SpawnOrder};
use crate::run::runs_log::RunsRecord;
use crate::store::{Record, Servers};
use crate::time::{Mono, Now, Wall};

/// 2026-06-01T00:00:00Z, when every world begins.
pub(super) const BEGIN: i64 = 1_780_272_000_000;
const SECOND: u64 = 1_000_000_000;
const HOUR_MS: i64 = 3_600_000;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// How long a healed world may take until nothing is open.
const HEAL_MAX: Duration = Duration::from_secs(400);

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) step: u64,
    mono: u64,
    wall: i64,
    node: Option<Node>,
    disk: Disk,
    pub(super) launcher: Launcher,
    pub(super) oracle: Oracle,
    asked: BTreeMap<u64, Asked>,
    /// Long answers that are being read, and what has come of each.
    streams: BTreeMap<StreamId, Vec<u8>>,
    /// What is still to come of the bodies of restores, and which of them is waited for.
    uploads: BTreeMap<RequestId, Vec<u8>>,
    upload_rng: Rng,
    wanted: Option<RequestId>,
    /// Whether the node knows that its disk is full.
    told_full: bool,
    /// The last backup that was read to its end.
    backup: Option<String>,
    /// Requests that were refused, which must not have had an effect, ever.
    refused: Vec<String>,
    next_request: u64,
    faults: Faults,
    running_max: usize,
    /// Everything that came out, as one number.
    pub(super) trace: u64,
    exiting: bool,
    /// Whether to print everything.
    pub(super) told: bool,
}

struct Asked {
    method: Method,
    path: String,
    changes: bool,
}

/// Which kinds of faults this world knows.
#[derive(Clone, Copy, Default)]
struct Faults {
    agent: bool,
    launcher: bool,
    wire: bool,
    machine: bool,
    clock_small: bool,
    clock_great: bool,
    slow_disk: bool,
    full_disk: bool,
    leave: bool,
}

impl Faults {
    fn drawn(rng: &mut Rng) -> Faults {
        let mut on = || rng.chance(1, 2);
        Faults {
            agent: on(),
            launcher: on(),
            wire: on(),
            machine: on(),
            clock_small: on(),
            clock_great: on() && on(),
            slow_disk: on(),
            leave: on() && on(),
            full_disk: on(),
        }
    }
}

pub(super) struct Utc;

impl Zones for Utc {
    fn zone(&self, name: &str) -> Option<Zone> {
        (name == "UTC").then(Zone::utc)
    }
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let faults = Faults::drawn(&mut rng);
        let me = NodeId::new(9).unwrap();
        let config = Record::Config(Servers::of(ClusterId(3), vec![me]));
        let first = Raw {
            index: Index(1),
            epoch: Epoch(0),
            kind: config.kind(),
            payload: config.encode(Wall(BEGIN), "genesis"),
        };
        World {
            running_max: [1, 2, 100][rng.below(3) as usize],
            rng,
            step: 0,
            mono: 5 * SECOND,
            wall: BEGIN,
            node: None,
            disk: Disk::new(me, StoreId(7), Some(first)),
            launcher: Launcher::new(),
            oracle: Oracle::new(),
            asked: BTreeMap::new(),
            streams: BTreeMap::new(),
            uploads: BTreeMap::new(),
            upload_rng: Rng::new(!seed),
            wanted: None,
            told_full: false,
            backup: None,
            refused: Vec::new(),
            next_request: 0,
            faults,
            trace: seed,
            exiting: false,
            told: false,
        }
    }

    /// Lives through `steps` steps with faults.
    pub(super) fn live(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step += 1;
            self.act();
            self.check();
        }
    }

    /// Without faults: waits until the node is trusted and nothing is overdue, removes every job,
    /// and waits until nothing is open.
    pub(super) fn heal(&mut self) {
        self.faults = Faults::default();
        self.disk.set_space(Space::Enough);
        self.launcher.quick = true;
        self.pass(PATIENCE + Duration::from_secs(20));
        let now = self.now();
        let jobs: Vec<_> = self.oracle.state.jobs_by_name().cloned().collect();
        for job in &jobs {
            let owed = self.oracle.owes(job);
            let late = owed.filter(|&due| now.wall.second() - due > 4);
            assert_eq!(late, None, "{} fires late, or never", job.name);
        }
        let owed = (self.oracle.owes_retry(), self.oracle.owes_chained());
        self.pass(Duration::from_secs(10));
        let late = self.oracle.owes_retry().filter(|&late| owed.0 == Some(late));
        assert_eq!(late, None, "it is tried again late, or never");
        let late = self.oracle.owes_chained().filter(|&late| owed.1 == Some(late));
        assert_eq!(late, None, "it runs after another late, or never");
        let by = self.mono + HEAL_MAX.as_nanos() as u64;
        while self.mono < by && !self.is_quiet() {
            // A parent can be deleted when nobody runs after it any more.
            let jobs = self.oracle.state.jobs_by_name();
            let names: Vec<String> = jobs.map(|job| job.name.to_string()).collect();
            for name in names {
                self.ask(Method::Delete, format!("/v1/jobs/{name}"), String::new());
            }
            self.pass(Duration::from_secs(5));
        }
        let state = &self.oracle.state;
        assert_eq!(state.jobs_by_name().len(), 0, "jobs can be deleted");
        let open: Vec<_> = state.open_runs().collect();
        assert!(open.is_empty(), "runs stay open: {open:?}");
        assert!(self.asked.is_empty(), "a request has no answer");
        self.pass(Duration::from_secs(5));
        assert_eq!(self.disk.runs_held(), 0, "the runs log is not cleared");
        self.ask(Method::Get, "/ready".into(), String::new());
        self.pass(Duration::from_secs(1));
        let node = self.node.as_ref().expect("runs");
        assert_eq!(*node.state(), self.oracle.state, "the node has applied all that is durable");
    }

    fn is_quiet(&self) -> bool {
        self.asked.is_empty()
            && self.oracle.state.jobs_by_name().len() == 0
            && self.oracle.state.open_runs().len() == 0
            && !self.launcher.has_processes()
            && self.disk.is_idle()
    }

    /// Lets `span` pass, with everything else as quick as it can be.
    fn pass(&mut self, span: Duration) {
        let until = self.mono + span.as_nanos() as u64;
        while self.mono < until {
            self.step += 1;
            self.start_processes();
            for _ in 0..8 {
                self.serve_launcher();
                self.disk.work(&mut self.rng);
                self.observe();
                self.tell_disk();
                self.turn();
            }
            self.advance(until);
            self.check();
        }
    }

    fn act(&mut self) {
        if self.faults.full_disk && self.rng.chance(1, 25) {
            let spaces = [Space::Enough, Space::Low, Space::Full];
            self.disk.set_space(spaces[self.rng.below(3) as usize]);
        }
        match self.rng.below(100) {
            0..=24 => self.advance(u64::MAX),
            25..=44 => {
                if !self.faults.slow_disk || self.rng.chance(1, 4) {
                    self.disk.work(&mut self.rng);
                }
                self.observe();
            }
            45..=59 => self.tell_disk(),
            60..=79 => self.serve_launcher(),
            80..=89 => self.random_request(),
            90..=94 => self.start_processes(),
            _ => self.fault(),
        }
        if self.rng.chance(9, 10) {
            self.turn();
        }
        let jitter = self.rng.below(40_000_000);
        self.pass_time(jitter);
    }

    fn fault(&mut self) {
        let now = self.now();
        let faults = self.faults;
        match self.rng.below(16) {
            0..=2 if faults.agent => self.crash(),
            3 | 4 if faults.launcher => self.launcher.die(&mut self.rng, now),
            5 | 6 if faults.wire => self.launcher.cut(&mut self.rng, now),
            7 if faults.machine => {
                self.crash();
                self.launcher.reboot();
                self.mono = self.rng.below(100 * SECOND);
                self.wall += self.rng.below(HOUR_MS as u64) as i64;
            }
            8..=10 if faults.clock_small => {
                let span = [2_000, 20_000, 600_000, 3 * HOUR_MS - 1][self.rng.below(4) as usize];
                let step = self.rng.below(2 * span as u64) as i64 - span;
                self.set_wall(self.wall + step);
            }
            11 if faults.clock_great => {
                let right = BEGIN + (self.mono / 1_000_000) as i64;
                let to = match self.rng.below(5) {
                    0 => self.wall - 4 * HOUR_MS,
                    1 => self.wall + 30 * HOUR_MS,
                    2 => self.rng.below(1_000_000) as i64,
                    3 => 2_208_988_800_000,
                    _ => right,
                };
                self.set_wall(to);
            }
            12 if faults.leave => self.ask(Method::Post, "/v1/leave".into(), String::new()),
            13 if faults.agent => self.input(Input::Stop),
            14 => self.input(Input::ZonesChanged),
            _ => {}
        }
    }

    fn set_wall(&mut self, to: i64) {
        self.wall = to;
        if self.rng.chance(3, 4) {
            self.input(Input::ClockSet);
        }
    }

    // ---- time ----

    pub(super) fn now(&self) -> Now {
        Now { mono: Mono(self.mono), wall: Wall(self.wall) }
    }

    fn pass_time(&mut self, nanos: u64) {
        let before = self.mono / 1_000_000;
        self.mono += nanos;
        self.wall += (self.mono / 1_000_000 - before) as i64;
    }

    /// Goes on to the next moment at which something is due, or some way towards it.
    fn advance(&mut self, until: u64) {
        let mut at = self.mono + 10 * SECOND;
        if let Some(node) = &self.node {
            at = at.min(node.poll_timeout().map_or(u64::MAX, |due| due.0));
            if let Some(alarm) = node.poll_alarm() {
                let ahead = u64::try_from(alarm.0.saturating_sub(self.wall)).unwrap_or(0);
                at = at.min(self.mono.saturating_add(ahead.saturating_mul(1_000_000)));
            }
        }
        at = at.min(self.launcher.next_end().map_or(u64::MAX, |end| end.0)).min(until);
        let ahead = at.saturating_sub(self.mono);
        let slept = match self.rng.below(6) {
            0 => self.rng.below(ahead + 1),
            1 if until == u64::MAX => ahead + self.rng.below(15 * SECOND),
            _ => ahead,
        };
        self.pass_time(slept.max(1_000_000));
    }

    // ---- the node ----

    fn start_processes(&mut self) {
        self.launcher.start(&mut self.rng);
        self.start_node();
        if self.node.is_some() {
            self.launcher.connect();
        }
    }

    fn start_node(&mut self) {
        // On a full disk some starts find room, by what they give up, and some do not.
        let refused = self.disk.is_full() && self.rng.chance(1, 2);
        if self.node.is_some() || refused {
            return;
        }
        (self.exiting, self.told_full) = (false, false);
        let settings = Settings {
            name: "n1".into(),
            tags: vec![("role".into(), "web".into())],
            address: String::new(),
            server: true,
            work: true,
            default_zone: "UTC".into(),
            hosts: HostRule::default(),
            running_max: self.running_max,
            snapshot_bytes: 30_000,
            timing: Timing::default(),
            seed: self.rng.next_u64(),
            warnings: Vec::new(),
        };
        let found = self.disk.open();
        self.node = Some(Node::new(settings, Box::new(Utc), found, self.now()));
        self.effects();
    }

    fn crash(&mut self) {
        if self.node.take().is_some() {
            let now = self.now();
            self.oracle.counts.crashes += 1;
            if self.told {
                println!("{}: crash", self.step);
            }
            self.disk.crash(&mut self.rng);
            self.launcher.agent_died(&mut self.rng, now);
            self.asked.clear();
            self.streams.clear();
            self.uploads.clear();
            self.wanted = None;
            self.observe();
        }
    }

    /// What the loop does at the end of each turn.
    fn turn(&mut self) {
        if self.upload_rng.chance(1, 2) {
            self.upload();
        }
        let now = self.now();
        let due = self.node.as_ref().is_some_and(|node| {
            node.poll_timeout().is_some_and(|at| at <= now.mono)
                || node.poll_alarm().is_some_and(|at| at <= now.wall)
        });
        if due {
            self.input(Input::Tick);
        }
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        if self.told && !matches!(input, Input::Tick) {
            println!("{}: {:?} {input:?}", self.step, now.wall);
        }
        if let Some(node) = &mut self.node {
            if let Input::Space(space) = input {
                self.told_full = space == Space::Full;
                self.oracle.counts.full += u64::from(self.told_full);
            }
            node.handle(input, now);
            self.effects();
        }
    }

    fn effects(&mut self) {
        while let Some(effect) = self.node.as_mut().and_then(Node::poll_effect) {
            self.trace(&effect);
            match effect {
                Effect::Reply(id, response) => self.answered(id, response),
                Effect::Commit(batch) => {
                    self.check_decides_nothing_when_full(&batch);
                    self.disk.push(Work::Commit(batch));
                }
                Effect::Snapshot(index, work) => self.disk.push(Work::Snapshot(index, work)),
                Effect::ReadOutputs(id, list) => self.disk.push(Work::ReadOutputs(id, list)),
                Effect::ReadRecords(_) | Effect::ReadSnapshot(..) | Effect::Send(..) => {
                    panic!("nobody else is there")
                }
                Effect::ReadBody(id) => {
                    assert!(self.uploads.contains_key(&id), "nothing is left of it");
                    assert_eq!(self.wanted.replace(id), None, "it is asked for once");
                }
                Effect::StreamReady(id) => self.read_stream(id),
                Effect::Halt(why) => panic!("{why}"),
                Effect::CompactRuns(live) => self.disk.push(Work::CompactRuns(live)),
                Effect::Launcher(command) => {
                    if let LauncherCommand::Spawn(order) = &command {
                        self.check_spawn(order);
                    }
                    self.launcher.send(command);
                }
                Effect::Watch(process) => self.launcher.watch(process),
                Effect::Log(_) => {}
                Effect::Exit => self.exiting = true,
            }
            if self.faults.agent && self.rng.chance(1, 2_000) {
                self.crash();
            }
        }
        if self.exiting && self.node.is_some() {
            assert!(self.asked.is_empty(), "a request has no answer at the exit");
            self.crash();
        }
    }

    fn tell_disk(&mut self) {
        while let Some(input) = self.disk.tell() {
            self.input(input);
            if self.rng.chance(1, 4) {
                break;
            }
        }
    }

    fn serve_launcher(&mut self) {
        let now = self.now();
        self.launcher.tick(&mut self.rng, now);
        match self.rng.below(4) {
            0 => self.launcher.announce(),
            1 => self.launcher.obey(&mut self.rng, now),
            2 => {
                if let Some(process) = self.launcher.poll_gone() {
                    self.input(Input::ProcessGone(process));
                }
            }
            _ => {
                if let Some(event) = self.launcher.tell() {
                    self.input(Input::Launcher(event));
                }
            }
        }
    }

    // ---- clients ----

    fn random_request(&mut self) {
        let name = NAMES[self.rng.below(5) as usize];
        let path = format!("/v1/jobs/{name}");
        match self.rng.below(15) {
            0..=4 => {
                let body = random_job(&mut self.rng, name, self.wall);
                let once = if self.rng.chance(1, 6) { "?runoncreate" } else { "" };
                self.ask(Method::Post, format!("/v1/jobs{once}"), body);
            }
            5 => {
                let body = format!(r#"{{"keep":{}}}"#, self.rng.below(4));
                self.ask(Method::Patch, path, body);
            }
            6 => self.ask(Method::Delete, path, String::new()),
            7 => self.ask(Method::Post, format!("{path}/run"), String::new()),
            8 | 9 => {
                let how = ["toggle", "enable", "disable"][self.rng.below(3) as usize];
                self.ask(Method::Post, format!("{path}/{how}"), String::new());
            }
            10 => self.ask(Method::Get, "/v1/busy".into(), String::new()),
            11 => self.ask(Method::Get, "/v1/backup".into(), String::new()),
            12 | 13 => self.random_restore(),
            _ => self.ask(Method::Get, format!("{path}/executions"), String::new()),
        }
    }

    fn random_restore(&mut self) {
        let replace = if self.rng.chance(1, 4) { "?replace" } else { "" };
        let body = match (self.rng.below(5), self.backup.clone()) {
            (0 | 1, Some(backup)) => backup,
            // The last line is missing.
            (2, Some(backup)) => backup.lines().next().unwrap().to_owned(),
            _ => {
                let from = self.rng.below(5) as usize;
                let names = NAMES.iter().skip(from).take(3);
                let jobs: Vec<String> =
                    names.map(|name| random_job(&mut self.rng, name, self.wall)).collect();
                let bad = if self.rng.chance(1, 6) { r#",{"name":"f"}"# } else { "" };
                format!("[{}{bad}]", jobs.join(","))
            }
        };
        self.ask(Method::Post, format!("/v1/restore{replace}"), body);
    }

    fn ask(&mut self, method: Method, target: String, body: String) {
        if self.node.is_none() {
            return;
        }
        self.next_request += 1;
        let id = self.next_request;
        let (path, query) = match target.split_once('?') {
            Some((path, key)) => (path.to_owned(), vec![(key.to_owned(), String::new())]),
            None => (target, Vec::new()),
        };
        let changes = method != Method::Get && !path.ends_with("/leave");
        self.asked.insert(id, Asked { method: method.clone(), path: path.clone(), changes });
        let comes_in_pieces = path == "/v1/restore" && self.upload_rng.chance(1, 2);
        let mut body = body.into_bytes();
        if comes_in_pieces {
            self.uploads.insert(RequestId(id), std::mem::take(&mut body));
        }
        let request = Request {
            method,
            path,
            query,
            headers: Headers::default(),
            body,
            host: Some("localhost".into()),
            version_10: false,
        };
        let peer = Peer { role: Some(Role::Admin), who: format!("r{id}"), on_unix_socket: true };
        let (id, request) = (RequestId(id), Box::new(request));
        self.input(match comes_in_pieces {
            true => Input::Upload { id, peer, request },
            false => Input::Request { id, peer, request },
        });
    }

    /// Gives a piece of a body that is waited for. Some clients leave in the middle.
    fn upload(&mut self) {
        let Some(id) = self.wanted.take() else { return };
        let mut rest = self.uploads.remove(&id).expect("some is left");
        if self.upload_rng.chance(1, 40) {
            self.input(Input::Body(id, None));
            return;
        }
        let length = self.upload_rng.below(1 + rest.len() as u64) as usize;
        let bytes: Vec<u8> = rest.drain(..length).collect();
        let is_last = rest.is_empty();
        if !is_last {
            self.uploads.insert(id, rest);
        }
        self.input(Input::Body(id, Some(BodyPiece { bytes, is_last })));
    }

    fn answered(&mut self, id: RequestId, response: Response) {
        let asked = self.asked.remove(&id.0).expect("each request is answered once");
        self.uploads.remove(&id);
        self.wanted = self.wanted.filter(|&wanted| wanted != id);
        self.oracle.counts.answers += 1;
        let what = format!("{} {} as r{id}", asked.method.name(), asked.path);
        assert_ne!(response.status, 500, "{what}: {response:?}");
        if asked.path == "/ready" {
            assert_eq!(response.status, 200, "{what}: {response:?}");
        }
        if let Body::Stream(stream) = response.body {
            let has_effect = self.oracle.effects.contains_key(&format!("r{id}"));
            assert!(has_effect || !asked.changes, "{what} is answered before it is durable");
            if self.rng.chance(1, 2) {
                self.input(Input::StreamClosed(stream));
                return;
            }
            self.streams.insert(stream, Vec::new());
            self.read_stream(stream);
            return;
        }
        if !asked.changes {
            return;
        }
        if response.status == 504 {
            // Nobody can know; the disk still has it, or has made it durable right now.
            self.oracle.counts.unknown += 1;
            return;
        }
        let who = format!("r{id}");
        let effective = self.oracle.effects.contains_key(&who);
        if (200..300).contains(&response.status) {
            assert!(effective, "{what} is answered before it is durable: {response:?}");
        } else {
            assert!(!effective, "{what} is refused and has an effect: {response:?}");
            self.refused.push(who);
        }
    }

    /// Reads a long answer as far as it can be made now. Half of them lose their reader.
    fn read_stream(&mut self, stream: StreamId) {
        let Some(bytes) = self.streams.get_mut(&stream) else { return };
        let node = self.node.as_mut().unwrap();
        let mut produced = Produced::More;
        while produced == Produced::More {
            produced = node.produce(stream, bytes);
        }
        match produced {
            Produced::Waiting if self.rng.chance(1, 2) => {
                self.streams.remove(&stream);
                self.input(Input::StreamClosed(stream));
            }
            Produced::Waiting | Produced::More => {}
            Produced::Cut => {
                self.streams.remove(&stream);
            }
            Produced::Done => {
                let bytes = self.streams.remove(&stream).unwrap();
                let values = serde_json::Deserializer::from_slice(&bytes);
                let values: Result<Vec<serde_json::Value>, _> = values.into_iter().collect();
                let values = values.expect("a list is JSON, and so is each line of a backup");
                if let Some(end) = values.last().and_then(|last| last.get("jobs")) {
                    assert_eq!(*end, values.len() - 2, "a backup tells how many jobs it has");
                    self.backup = Some(String::from_utf8(bytes).unwrap());
                }
            }
        }
    }

    // ---- checks ----

    /// Shows the oracle what has become durable.
    fn observe(&mut self) {
        loop {
            let seen = self.oracle.state.applied().0 as usize;
            let Some(raw) = self.disk.history.get(seen) else { return };
            if self.told {
                println!("{}: durable {:?}", self.step, disk::decode(raw));
            }
            self.trace = stable_hash(&raw.payload) ^ self.trace.rotate_left(9);
            self.oracle.take(disk::decode(raw), &self.launcher);
        }
    }

    fn check(&mut self) {
        if let Some(node) = &self.node {
            let (applied, durable) = (node.state().applied(), self.oracle.state.applied());
            assert!(applied <= durable, "applied before it is durable");
            if applied == durable && self.step.is_multiple_of(16) {
                assert_eq!(*node.state(), self.oracle.state);
            }
        }
        for who in &self.refused {
            assert!(!self.oracle.effects.contains_key(who), "{who} was refused");
        }
        if self.refused.len() > 64 {
            self.refused.drain(..32);
        }
    }

    /// While nothing can become durable, nothing is claimed or skipped, and no job is changed.
    fn check_decides_nothing_when_full(&self, batch: &Batch) {
        for raw in batch.records.iter().filter(|_| self.told_full) {
            let record = disk::decode(raw).record;
            let decides = matches!(
                record,
                Record::Claim(_) | Record::Skip(_) | Record::JobPut(_) | Record::JobDelete { .. }
            );
            assert!(!decides, "{record:?} is decided while the disk is full");
        }
    }

    /// A process is asked for only when claim and promise are durable, and while it is wanted.
    fn check_spawn(&self, order: &SpawnOrder) {
        let run = order.run;
        let claim = self.disk.history.get(run.group.0 as usize - 1).map(disk::decode);
        let claimed = claim.is_some_and(|entry| matches!(entry.record, Record::Claim(_)));
        assert!(claimed, "{run} is ordered before its claim is durable");
        match self.disk.promised(run) {
            Some(RunsRecord::Accepted { instance, .. }) => {
                assert_eq!(*instance, order.instance, "{run}: the promise names the launcher");
            }
            other => panic!("{run} is asked for, and the runs log has {other:?}"),
        }
        assert!(!self.oracle.has_ended(run), "{run} has ended and is started");
        assert!(self.oracle.has_begun(run), "{run} is started, and nothing before it has failed");
    }

    fn trace(&mut self, effect: &Effect) {
        if self.told {
            println!("{}:     {effect:?}", self.step);
        }
        let word = match effect {
            Effect::Reply(id, response) => id.0 << 16 | u64::from(response.status),
            Effect::Commit(batch) => batch.ticket.0 << 8 | batch.runs.len() as u64,
            Effect::Snapshot(index, _) => index.0,
            Effect::ReadOutputs(stream, list) => stream.0 << 8 | list.len() as u64,
            Effect::ReadRecords(index) | Effect::ReadSnapshot(_, index, _) => index.0,
            Effect::Send(to, _) => u64::from(to.get()),
            Effect::ReadBody(id) => id.0,
            Effect::StreamReady(stream) => stream.0,
            Effect::Halt(why) => stable_hash(why.as_bytes()),
            Effect::CompactRuns(live) => live.len() as u64,
            Effect::Launcher(LauncherCommand::Spawn(order)) => order.run.group.0 << 32,
            Effect::Launcher(LauncherCommand::Kill(run) | LauncherCommand::Ack(run)) => run.group.0,
            Effect::Watch(process) => u64::from(process.pid),
            Effect::Log(note) => stable_hash(note.message.as_bytes()),
            Effect::Exit => 1,
        };
        self.trace = crate::rng::mix(self.trace ^ word ^ self.mono.rotate_left(32));
    }
}
