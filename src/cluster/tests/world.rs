//! Servers in one thread, each with its disk and its clock, on one network; one seed decides.
//!
//! Each is driven as a node drives its consensus: an input, the tick if one is due, then whatever
//! it wants done. What the layers above do is modelled here: they ship snapshots, keep servers out
//! whose disk was wiped or rolled back, and tell of the configurations among the records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::*;
use super::checks::{Checks, show};
use super::disk::{CONFIG, Disk, Journal, Op, START, Snapshot, WRITE, decode, encode};
use super::network::Network;
use super::tell::overheard;
use super::{node, tell};
use crate::ident::{Epoch, Index, NodeId};
use crate::mistake::{Mistake, made};
use crate::rng::{Rng, mix};
use crate::time::{Mono, Now, Wall};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MS;
/// Most records that are read from a disk at once.
const READ_MAX: usize = 20;

pub(super) struct Server {
    pub(super) disk: Disk,
    pub(super) up: Option<Up>,
    /// Counts its starts: what was on its way to an earlier life is lost.
    life: u64,
    pub(super) paused: bool,
    held: Vec<Event>,
    /// Its clock: nanoseconds ahead, and parts per million too fast.
    offset: u64,
    pub(super) drift: u64,
    wake_at: u64,
    /// Whether the others know it for another than it says it is.
    pub(super) refused: bool,
}

pub(super) struct Up {
    pub(super) consensus: Consensus,
    /// Its journal, durable or not.
    pub(super) journal: Journal,
    pub(super) applied: Index,
    pub(super) promise: Promise,
    /// The office that it holds, as far as it has said.
    pub(super) office: Option<Epoch>,
    /// What was answered when each read began.
    reads: BTreeMap<u64, Index>,
    /// Records that clients wait for.
    asked: BTreeSet<Index>,
    installing: bool,
    /// When it last took a leader's word, by its own clock.
    heard: Option<u64>,
    /// What this server has said last, for the transcript to leave out what repeats.
    pub(super) said: BTreeMap<(NodeId, u8), String>,
}

#[derive(Clone)]
pub(super) enum Event {
    Arrives(NodeId, NodeId, Envelope),
    Wake(NodeId),
    Written(NodeId, u64),
    /// Records from there were read, for a follower.
    WasRead(NodeId, u64, Index),
    /// A snapshot of the first has come to the second, which was asked for in this epoch.
    Shipped(NodeId, NodeId, Epoch, Snapshot),
    /// The first has the second's snapshot.
    Held(NodeId, NodeId),
    Resume(NodeId),
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: u64,
    order: u64,
    events: BTreeMap<(u64, u64), Event>,
    pub(super) servers: BTreeMap<NodeId, Server>,
    genesis: Config,
    pub(super) net: Network,
    pub(super) checks: Checks,
    pub(super) any_subset: bool,
    /// Everything that happened, as one number.
    pub(super) trace: u64,
    pub(super) steps: u64,
    next_id: u64,
    shipping: BTreeSet<NodeId>,
    /// A conversation that people can read, if it is wanted.
    pub(super) told: Option<Vec<String>>,
    /// When each office was established.
    pub(super) established: Vec<(u64, NodeId)>,
}

impl World {
    /// `voters` voters, and `spares` servers that belong to no cluster yet.
    pub(super) fn new(seed: u64, voters: u32, spares: u32) -> World {
        let config = Config::of(Voters::new((1..=voters).map(node).collect()).unwrap());
        let mut world = World {
            genesis: config.clone(),
            rng: Rng::new(mix(seed)),
            now: 1,
            order: 0,
            events: BTreeMap::new(),
            servers: BTreeMap::new(),
            net: Network::new(),
            checks: Checks::default(),
            any_subset: false,
            trace: seed,
            steps: 0,
            next_id: 0,
            shipping: BTreeSet::new(),
            told: None,
            established: Vec::new(),
        };
        for id in 1..=voters + spares {
            let config = (id <= voters).then(|| config.clone());
            let server = Server {
                disk: Disk::new(config),
                up: None,
                life: 0,
                paused: false,
                held: Vec::new(),
                offset: 0,
                drift: 0,
                wake_at: u64::MAX,
                refused: false,
            };
            world.servers.insert(node(id), server);
        }
        world
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.servers.keys().copied().collect()
    }

    pub(super) fn start_all(&mut self) {
        self.ids().into_iter().for_each(|id| self.start(id));
    }

    fn later(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.insert((at.max(self.now), self.order), event);
    }

    /// Lives until `until`, or until something is broken.
    pub(super) fn run_until(&mut self, until: u64) {
        while let Some((&(at, order), _)) = self.events.first_key_value() {
            if at > until || self.checks.broken.is_some() {
                break;
            }
            let event = self.events.remove(&(at, order)).expect("the first is there");
            self.now = at;
            self.steps += 1;
            self.happen(event);
        }
        self.now = self.now.max(until);
    }

    pub(super) fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + ms * MS);
    }

    fn happen(&mut self, event: Event) {
        let id = match &event {
            Event::Arrives(_, id, _) | Event::Shipped(_, id, ..) | Event::Held(_, id) => *id,
            Event::Wake(id) | Event::Written(id, _) | Event::WasRead(id, ..) => *id,
            Event::Resume(id) => {
                let id = *id;
                return self.resume(id);
            }
        };
        self.trace = mix(self.trace ^ self.now).wrapping_add(u64::from(id.get()));
        let server = self.servers.get_mut(&id).expect("a server");
        if server.paused {
            server.held.push(event);
            return;
        }
        match event {
            Event::Arrives(from, _, envelope) => self.arrives(from, id, envelope),
            Event::Wake(_) => {
                if server.wake_at <= self.now {
                    server.wake_at = u64::MAX;
                    self.turn(id);
                }
            }
            Event::Written(_, life) if life == server.life => self.written(id),
            Event::WasRead(_, life, from) if life == server.life => self.was_read(id, from),
            Event::Written(..) | Event::WasRead(..) | Event::Resume(_) => {}
            Event::Shipped(from, _, epoch, snapshot) => self.shipped(from, id, epoch, snapshot),
            Event::Held(from, _) => {
                self.shipping.remove(&from);
            }
        }
    }

    pub(super) fn up(&mut self, id: NodeId) -> Option<&mut Up> {
        self.servers.get_mut(&id)?.up.as_mut()
    }

    pub(super) fn is_refused(&self, id: NodeId) -> bool {
        self.servers.get(&id).is_some_and(|server| server.refused)
    }

    fn clock(&self, id: NodeId) -> Now {
        let server = &self.servers[&id];
        let mono = server.offset + self.now + self.now / 1_000_000 * server.drift;
        Now { mono: Mono(mono), wall: Wall((self.now / MS) as i64) }
    }

    // ---- a server's life ----

    pub(super) fn start(&mut self, id: NodeId) {
        let seed = self.rng.next_u64();
        let offset = self.rng.below(1_000 * SECOND);
        let server = self.servers.get_mut(&id).expect("a server");
        if server.up.is_some() || server.refused {
            return;
        }
        (server.paused, server.offset, server.wake_at) = (false, offset, u64::MAX);
        server.life += 1;
        let image = server.disk.durable.clone();
        let told = server.disk.told;
        let start = Start {
            me: id,
            promise: image.promise,
            shape: image.journal.shape(),
            committed: image.journal.base.place.index,
            configs: image.journal.configs(),
            seed,
            timing: Timing::default(),
        };
        self.checks.promised(id, told, image.promise);
        let now = self.clock(id);
        let up = Up {
            consensus: Consensus::new(start, now),
            applied: image.journal.base.place.index,
            promise: image.promise,
            office: None,
            journal: image.journal,
            reads: BTreeMap::new(),
            asked: BTreeSet::new(),
            installing: false,
            heard: None,
            said: BTreeMap::new(),
        };
        tell!(self, "{id} starts: promised {}, journal to {}", up.promise.epoch.0, {
            show(up.journal.last())
        });
        let server = self.servers.get_mut(&id).expect("a server");
        server.up = Some(up);
        self.shipping.remove(&id);
        self.turn(id);
    }

    pub(super) fn crash(&mut self, id: NodeId) {
        let server = self.servers.get_mut(&id).expect("a server");
        if server.up.take().is_none() {
            return;
        }
        server.life += 1;
        server.paused = false;
        let held = std::mem::take(&mut server.held);
        server.disk.crash(&mut self.rng, self.any_subset);
        let (epoch, last) =
            (server.disk.durable.promise.epoch.0, { show(server.disk.durable.journal.last()) });
        self.checks.counts.crashes += 1;
        tell!(self, "{id} crashes; its disk keeps: promised {epoch}, journal to {last}");
        // What was in its queues is lost, and a letter to it as well as any.
        drop(held);
    }

    pub(super) fn pause(&mut self, id: NodeId, ms: u64) {
        let server = self.servers.get_mut(&id).expect("a server");
        if server.up.is_some() && !server.paused {
            server.paused = true;
            tell!(self, "{id} stands still for {} s", ms as f64 / 1_000.0);
            self.later(self.now + ms * MS, Event::Resume(id));
        }
    }

    pub(super) fn resume(&mut self, id: NodeId) {
        let server = self.servers.get_mut(&id).expect("a server");
        if std::mem::take(&mut server.paused) {
            tell!(self, "{id} goes on");
            let server = self.servers.get_mut(&id).expect("a server");
            for event in std::mem::take(&mut server.held) {
                self.happen(event);
            }
        }
    }

    // ---- what happens to it ----

    fn arrives(&mut self, from: NodeId, id: NodeId, envelope: Envelope) {
        if self.is_refused(from) || self.is_refused(id) {
            return;
        }
        let now = self.clock(id);
        let sticky = u128::from(now.mono.0);
        let Some(up) = self.up(id) else { return };
        let promised = up.promise.epoch;
        let sticky_for = Timing::default().sticky.as_nanos();
        let has_leader = up.heard.is_some_and(|at| sticky - u128::from(at) < sticky_for);
        let (is_append, unseats) = match &envelope.message {
            Message::Append(append) => {
                if up.installing && !append.records.is_empty() {
                    return;
                }
                (true, false)
            }
            Message::Candidacy { transfer_of, .. } => {
                (false, has_leader && envelope.epoch > promised && transfer_of.is_none())
            }
            Message::Probe { .. }
            | Message::ProbeAnswer { .. }
            | Message::Vote { .. }
            | Message::Ack { .. }
            | Message::Conflict { .. }
            | Message::Stale { .. }
            | Message::Transfer => (false, false),
        };
        if is_append && envelope.epoch >= promised {
            up.heard = Some(now.mono.0);
        }
        let is_old = is_append && envelope.epoch < promised;
        let before = (up.consensus.election().leader(), up.consensus.log().last());
        up.consensus.handle(from, envelope, now);
        let after = (up.consensus.election().leader(), up.consensus.log().last());
        self.checks.require(!is_old || before == after, || {
            format!("rule 7: {id} has promised epoch {}, and obeys an older one", promised.0)
        });
        self.turn(id);
        let rises = self.up(id).is_some_and(|up| up.promise.epoch > promised);
        self.checks.require(!unseats || !rises, || {
            format!("rule 4: {id} hears a leader, and a candidacy of {from} raises its promise")
        });
    }

    fn written(&mut self, id: NodeId) {
        let server = self.servers.get_mut(&id).expect("a server");
        for op in server.disk.done() {
            let now = self.clock(id);
            match op {
                Op::Promise(promise) => {
                    tell!(self, "{id} disk: promise {}{}", promise.epoch.0, to(promise.to));
                    let server = self.servers.get_mut(&id).expect("a server");
                    server.disk.told = promise;
                    let Some(up) = server.up.as_mut() else { return };
                    up.consensus.promise_durable(promise, now);
                }
                Op::Append(records, generation) => {
                    let last = records.last().expect("records").place();
                    tell!(self, "{id} disk: journal to {}", show(last));
                    let Some(up) = self.up(id) else { return };
                    up.consensus.log_durable(last.index, generation, now);
                }
                Op::Cut(_) => {}
                Op::Snapshot(snapshot) => {
                    let Some(up) = self.up(id) else { return };
                    up.consensus.rebased(snapshot.place.index);
                    up.journal.install(snapshot);
                }
                Op::Install(snapshot, from) => self.installed(id, snapshot, from),
            }
            self.turn(id);
        }
        self.turn(id);
    }

    fn was_read(&mut self, id: NodeId, from: Index) {
        let Some(up) = self.up(id) else { return };
        let entries = up.journal.entries.iter().map(|(raw, _)| raw);
        let records: Vec<Raw> = entries.filter(|raw| raw.index >= from).cloned().collect();
        let is_there = records.first().is_some_and(|raw| raw.index == from);
        let mut bytes = 0;
        let fits = |raw: &&Raw| {
            let before = bytes;
            bytes += raw.payload.len();
            is_there && before <= APPEND_MAX_BYTES
        };
        let records = records.iter().take(READ_MAX).take_while(fits).cloned().collect();
        up.consensus.records(records);
        self.turn(id);
    }

    /// Lets it do what is due, and does what it wants done.
    pub(super) fn turn(&mut self, id: NodeId) {
        let now = self.clock(id);
        let Some(up) = self.up(id) else { return };
        if up.consensus.poll_timeout().is_some_and(|at| at <= now.mono) {
            up.consensus.tick(now);
        }
        self.acts(id);
        if let Some(up) = self.up(id) {
            up.consensus.settle();
        }
        self.acts(id);
        let server = self.servers.get_mut(&id).expect("a server");
        if let Some(at) = server.disk.begin(self.now, &mut self.rng) {
            let life = server.life;
            self.later(at, Event::Written(id, life));
        }
        self.set_alarm(id);
    }

    fn set_alarm(&mut self, id: NodeId) {
        let local = self.clock(id).mono.0;
        let now = self.now;
        let server = self.servers.get_mut(&id).expect("a server");
        let due = server.up.as_ref().and_then(|up| up.consensus.poll_timeout());
        let Some(due) = due else { return };
        let ahead = due.0.saturating_sub(local);
        let at = now + ahead - ahead / 1_000_000 * server.drift.min(1_000) + 1;
        if at < server.wake_at {
            server.wake_at = at;
            self.later(at, Event::Wake(id));
        }
    }

    fn acts(&mut self, id: NodeId) {
        while let Some(act) = self.up(id).and_then(|up| up.consensus.poll()) {
            if self.checks.broken.is_some() {
                return;
            }
            match act {
                Act::Send(to, envelope) => self.send(id, to, envelope),
                Act::Promise(promise) => self.promise(id, promise),
                Act::Truncate(keep) => self.truncate(id, keep),
                Act::Append(records) => self.take(id, records),
                Act::Committed(index) => self.committed(id, index),
                Act::Won(epoch) => {
                    tell!(self, "{id} wins epoch {}", epoch.0);
                    if let Some(up) = self.up(id) {
                        (up.heard, up.office) = (None, Some(epoch));
                    }
                    self.checks.won(id, epoch, &self.servers);
                    self.append(id, START, id.get().to_le_bytes().to_vec());
                }
                Act::Lost(epoch) => {
                    tell!(self, "{id} leads epoch {} no more", epoch.0);
                    if let Some(up) = self.up(id) {
                        (up.heard, up.office) = (None, None);
                        up.asked.clear();
                    }
                }
                Act::Read(from) => {
                    let (life, takes) = (self.servers[&id].life, 1 + self.rng.below(20));
                    self.later(self.now + takes * MS, Event::WasRead(id, life, from));
                }
                Act::Snapshot(follower) => self.ship(id, follower),
                Act::ReadReady(read, index) => {
                    tell!(self, "{id} serves read {read} at {}", index.0);
                    let floor = self.up(id).and_then(|up| up.reads.remove(&read));
                    self.checks.read(id, index, floor.expect("a read is served once"));
                }
                Act::ReadFailed(read) => {
                    tell!(self, "{id} cannot serve read {read}");
                    self.up(id).and_then(|up| up.reads.remove(&read));
                }
                Act::Halt(why) => self.checks.fail(format!("{id} halts: {why}")),
            }
        }
    }

    fn promise(&mut self, id: NodeId, promise: Promise) {
        let Some(up) = self.up(id) else { return };
        let before = std::mem::replace(&mut up.promise, promise);
        self.checks.promised(id, before, promise);
        self.servers.get_mut(&id).expect("a server").disk.push(Op::Promise(promise));
    }

    fn truncate(&mut self, id: NodeId, keep: Index) {
        tell!(self, "{id} cuts its journal behind {}", keep.0);
        let Some(up) = self.up(id) else { return };
        up.journal.cut(keep);
        let applied = up.applied;
        self.checks.cut(id, keep, applied);
        self.servers.get_mut(&id).expect("a server").disk.push(Op::Cut(keep));
    }

    fn take(&mut self, id: NodeId, records: Vec<Raw>) {
        for raw in &records {
            let Some(up) = self.up(id) else { return };
            let follows = raw.index.0 == up.journal.last().index.0 + 1;
            let chain = up.journal.push(raw.clone());
            if let Some(config) = decode(raw) {
                up.consensus.configured(raw.index, config);
            }
            self.checks.require(follows, || format!("{id} appends with a gap at {}", raw.index));
            self.checks.appended(id, raw, chain);
        }
        let Some(up) = self.up(id) else { return };
        let generation = up.consensus.generation();
        self.servers.get_mut(&id).expect("a server").disk.push(Op::Append(records, generation));
    }

    /// Appends a record of the office that it holds.
    pub(super) fn append(&mut self, id: NodeId, kind: u8, payload: Vec<u8>) -> Index {
        let up = self.up(id).expect("it leads");
        let Place { epoch, index } = up.consensus.append();
        let raw = Raw { index, epoch, kind, payload };
        if up.consensus.is_followed() {
            up.consensus.keep(raw.clone());
        }
        if let Some(config) = decode(&raw) {
            up.consensus.configured(index, config);
        }
        let chain = up.journal.push(raw.clone());
        let generation = up.consensus.generation();
        self.checks.appended(id, &raw, chain);
        let what = match kind {
            START => "its first record".to_owned(),
            CONFIG => format!("a configuration, {}", names(decode(&raw).as_ref())),
            _ => "a record".to_owned(),
        };
        tell!(self, "{id} appends {} at {}", what, show(raw.place()));
        let disk = &mut self.servers.get_mut(&id).expect("a server").disk;
        disk.push(Op::Append(vec![raw], generation));
        index
    }

    fn committed(&mut self, id: NodeId, index: Index) {
        self.checks.committed(id, index, &self.servers);
        let now = self.now;
        let Some(up) = self.up(id) else { return };
        let before = up.applied;
        up.applied = before.max(index);
        let waiting = up.asked.split_off(&Index(index.0 + 1));
        let answered = std::mem::replace(&mut up.asked, waiting);
        let stands = up.consensus.log().is_established();
        let first = up.journal.entries.iter().rfind(|(raw, _)| raw.kind == START);
        let first = first.map(|(raw, _)| raw.index).filter(|at| before < *at && *at <= index);
        if up.office.is_some() {
            tell!(self, "{id} commits up to {}", index.0);
            if stands && first.is_some() {
                self.established.push((now, id));
            }
            for at in answered {
                tell!(self, "{id} answers the client of {}", at.0);
                self.checks.counts.answered += 1;
                self.checks.answered = self.checks.answered.max(at);
            }
        } else {
            tell!(self, "{id} knows that {} is committed", index.0);
        }
    }

    // ---- between servers ----

    fn send(&mut self, from: NodeId, to: NodeId, envelope: Envelope) {
        self.checks.sent(from, to, &envelope, &self.servers);
        let config = self.up(from).map(|up| up.consensus.config_at()).unwrap_or_default();
        let letter = (from, to, wired(from, config, envelope));
        let arrivals = self.net.arrivals(&letter, self.now, &mut self.rng);
        overheard(self, &letter, arrivals.is_empty());
        for at in arrivals {
            self.later(at, Event::Arrives(from, to, letter.2.clone()));
        }
    }

    /// Old letters arrive once more.
    pub(super) fn replay(&mut self, count: u64) {
        for _ in 0..count.min(self.net.recorded.len() as u64) {
            let at = self.rng.below(self.net.recorded.len() as u64) as usize;
            let (from, to, envelope) = self.net.recorded[at].clone();
            let late = self.rng.below(50 * MS);
            self.later(self.now + late, Event::Arrives(from, to, envelope));
        }
    }

    fn ship(&mut self, id: NodeId, follower: NodeId) {
        let cut = self.net.cuts.contains(&(id, follower));
        let Some(up) = self.up(id) else { return };
        let (snapshot, epoch) = (up.journal.base.clone(), up.promise.epoch);
        if snapshot.place.index == Index(0) || cut || !self.shipping.insert(follower) {
            return;
        }
        tell!(self, "{id} begins to send {follower} a snapshot at {}", show(snapshot.place));
        let takes = (50 + self.rng.below(1_000)) * MS;
        self.later(self.now + takes, Event::Shipped(id, follower, epoch, snapshot));
    }

    fn shipped(&mut self, from: NodeId, id: NodeId, epoch: Epoch, snapshot: Snapshot) {
        self.shipping.remove(&id);
        if self.net.cuts.contains(&(from, id)) || self.is_refused(from) || self.is_refused(id) {
            return;
        }
        let Some(up) = self.up(id) else { return };
        // Parts count only from the leader that is followed.
        let leader = up.consensus.election().leader();
        if leader.is_none_or(|(leader, _)| leader != from) || up.installing {
            tell!(self, "{id} breaks off the snapshot that {from} sent in {}", epoch.0);
        } else if snapshot.place.index <= up.applied {
            // It is here already, which the leader may not know.
            let Some(config) = up.consensus.config().cloned() else { return };
            up.consensus.replaced(snapshot.place, config);
            self.turn(id);
        } else {
            up.installing = true;
            let server = self.servers.get_mut(&id).expect("a server");
            server.disk.push(Op::Install(snapshot, from));
            self.turn(id);
        }
    }

    fn installed(&mut self, id: NodeId, snapshot: Snapshot, from: NodeId) {
        let Snapshot { place, chain, .. } = snapshot;
        tell!(self, "{id} disk: the snapshot at {} is in force", show(place));
        let Some(up) = self.up(id) else { return };
        up.installing = false;
        let Some(config) = snapshot.config.clone() else { return };
        up.consensus.replaced(place, config);
        up.consensus.rebased(place.index);
        up.journal.install(snapshot);
        up.applied = up.applied.max(place.index);
        self.checks.installed(id, place, chain);
        if !self.net.cuts.contains(&(id, from)) && self.rng.chance(1, 2) {
            let takes = self.net.takes(&mut self.rng);
            self.later(self.now + takes, Event::Held(id, from));
        }
    }

    // ---- what clients and operators do ----

    /// Who believes that it leads, and has committed its first record.
    pub(super) fn leaders(&self) -> Vec<NodeId> {
        let leads = |server: &Server| {
            let up = server.up.as_ref().filter(|_| !server.paused && !server.refused);
            up.is_some_and(|up| up.consensus.log().is_established())
        };
        self.servers.iter().filter(|(_, server)| leads(server)).map(|(&id, _)| id).collect()
    }

    /// A client asks `id` for a record.
    pub(super) fn write(&mut self, id: NodeId) {
        self.next_id += 1;
        let payload = self.next_id.to_le_bytes().to_vec();
        let Some(up) = self.up(id).filter(|up| !up.consensus.is_handing_over()) else { return };
        if up.consensus.log().is_established() {
            let index = self.append(id, WRITE, payload);
            self.up(id).expect("it leads").asked.insert(index);
            self.turn(id);
        }
    }

    pub(super) fn read(&mut self, id: NodeId) {
        self.next_id += 1;
        let (read, floor, now) = (self.next_id, self.checks.answered, self.clock(id));
        tell!(self, "{id} is asked for read {read}");
        let Some(up) = self.up(id) else { return };
        up.reads.insert(read, floor);
        up.consensus.read(read, now);
        self.turn(id);
    }

    /// Proposes another configuration, if one may begin. True when it did.
    pub(super) fn change(&mut self, id: NodeId, next: Config) -> bool {
        let Some(up) = self.up(id) else { return false };
        let leads = up.consensus.election().leads().is_some();
        let free = up.consensus.may_change_voters() || made(Mistake::TwoConfigChanges);
        let Some(old) = up.consensus.config().filter(|_| leads && free) else { return false };
        if !old.may_become(&next) || *old == next {
            return false;
        }
        self.append(id, CONFIG, encode(&next));
        self.checks.counts.changes += 1;
        self.turn(id);
        true
    }

    pub(super) fn transfer(&mut self, id: NodeId, to: NodeId) -> bool {
        let Some(up) = self.up(id) else { return false };
        let sent = up.consensus.transfer(to);
        self.checks.counts.transfers += u64::from(sent);
        self.turn(id);
        sent
    }

    /// Makes a snapshot of all that is committed on `id`.
    pub(super) fn snapshot(&mut self, id: NodeId) {
        let genesis = self.genesis.clone();
        let Some(up) = self.up(id).filter(|up| !up.installing) else { return };
        if let Some(mut snapshot) = up.journal.snapshot(up.applied) {
            // One that came later has the first configuration from the others, as all records.
            snapshot.config.get_or_insert(genesis);
            tell!(self, "{id} makes a snapshot at {}", show(snapshot.place));
            self.servers.get_mut(&id).expect("a server").disk.push(Op::Snapshot(snapshot));
            self.turn(id);
        }
    }

    pub(super) fn elapsed(&self, since: u64) -> Duration {
        Duration::from_nanos(self.now - since)
    }
}

/// What comes of `envelope` as bytes, which is the same.
fn wired(from: NodeId, config: Index, envelope: Envelope) -> Envelope {
    let frame = envelope.frame(from, config).expect("what a consensus says fits a frame");
    let (header, body) = wire::Header::read(&frame).expect("it is a frame");
    assert_eq!((header.from, header.config), (from, config));
    let read = Envelope::read(&header, body).expect("it is a message");
    assert_eq!(read, envelope);
    read
}

pub(super) fn to(node: Option<NodeId>) -> String {
    node.map_or(String::new(), |node| format!(" to {node}"))
}

pub(super) fn names(config: Option<&Config>) -> String {
    let Some(config) = config else { return "nobody".into() };
    let voters: Vec<String> = config.voters.nodes().iter().map(NodeId::to_string).collect();
    let learners: Vec<String> = config.learners.iter().map(NodeId::to_string).collect();
    match learners.is_empty() {
        true => format!("voters {}", voters.join(" ")),
        false => format!("voters {}, learners {}", voters.join(" "), learners.join(" ")),
    }
}
