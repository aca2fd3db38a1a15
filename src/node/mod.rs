//! A node: the machines of the lower rooms, put together.
//!
//! Takes inputs and the time, gives effects. Owns no clock, socket, file, thread or random source,
//! so the agent's loop and a simulator can drive the same brain. One rule orders effects: what
//! must be durable is durable before anything that depends on it leaves the node; what waits for a
//! disk is held in here. A node alone is the cluster with one voter; nothing here asks how many.
#![forbid(unsafe_code)]

mod carry;
mod checkpoint;
mod clock;
mod effect;
mod forward;
mod handover;
mod leading;
mod office;
mod reads;
mod ready;
mod requests;
mod restore;
mod seek;
mod sessions;
mod ship;
mod space;
mod wire;

pub use crate::cluster::Raw;
pub use clock::{PATIENCE, RELEASE};
pub use effect::{
    Batch, Durable, Effect, Identity, Input, Level, Note, Produced, SnapshotNews, SnapshotPart,
    SnapshotWork, Space, Word,
};
pub use wire::{CHUNK_BYTES, PART_BYTES, Told};

use std::collections::{BTreeMap, VecDeque};

use crate::api::{HostRule, Progress, Stream, View};
use crate::cluster::{Config, Consensus, Place, Promise, Shape, Start, Timing, Voters};
use crate::cron::Zones;
use crate::ident::{Digest, Epoch, Index, NodeId, RequestId, StreamId, Ticket};
use crate::run::dispatch::Dispatch;
use crate::run::runs_log::RunsRecord;
use crate::run::session::{self, Sessions, Tether};
use crate::run::worker::Worker;
use crate::schedule::Scheduler;
use crate::store::{Entry, State};
use crate::time::{Mono, Now, Wall};

use checkpoint::Checkpoints;
use clock::ClockGuard;
use forward::Forwards;
use handover::Handover;
use reads::Reads;
use requests::Requests;
use restore::Restoring;
use seek::Seek;
use ship::Shipping;

/// What a node must be told of itself.
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Where others reach it; empty while it takes no part in a network.
    pub address: String,
    /// Whether it is a server, which keeps the journal and may vote; else a worker.
    pub server: bool,
    /// Whether it runs anything.
    pub work: bool,
    /// Its tags, in order of key.
    pub tags: Vec<(String, String)>,
    /// The zone of a job that names none.
    pub default_zone: String,
    /// Further names of this node in `Host`.
    pub hosts: HostRule,
    /// Most runs with a process at once.
    pub running_max: usize,
    /// Bytes of journal after which a snapshot is due, if the last one isn't larger.
    pub snapshot_bytes: u64,
    /// How long elections and heartbeats wait.
    pub timing: Timing,
    /// A number drawn at random, for waits that must differ from those of other nodes.
    pub seed: u64,
    /// What `/ready` warns of from the start, as codes.
    pub warnings: Vec<&'static str>,
}

/// What a data directory holds.
#[derive(Debug)]
pub struct Found {
    /// Who this node is.
    pub identity: Identity,
    /// The state of the snapshot, or the empty one.
    pub state: State,
    /// The records behind it, in order; which of them are committed is not known yet.
    pub records: Vec<Entry>,
    /// The records of the runs log.
    pub runs: Vec<RunsRecord>,
    /// The snapshot's index, and its SHA-256.
    pub checkpoint: Option<(Index, Digest)>,
}

/// One node.
pub struct Node {
    settings: Settings,
    identity: Identity,
    zones: Box<dyn Zones>,
    started: Mono,
    now: Now,
    clock: ClockGuard,
    state: State,
    /// Records behind the applied ones, in order.
    log: VecDeque<Entry>,
    /// The end of the journal that the start found.
    found: Index,
    /// Whether this start knows of anything that it is committed.
    has_commit: bool,
    consensus: Consensus,
    /// How often the journal was cut in what was given to the disk.
    generation: u64,
    /// The epoch that this node leads, once the office is established.
    established: Option<Epoch>,
    scheduler: Scheduler,
    /// Whether the scheduler knows every job, as it does from the first leader on.
    is_scheduled: bool,
    dispatch: Dispatch,
    sessions: Sessions,
    /// What was said to this node when it was elected and not established yet.
    early: Vec<(NodeId, session::Word)>,
    tether: Tether,
    seek: Seek,
    worker: Worker,
    requests: Requests,
    forwards: Forwards,
    reads: Reads,
    restoring: Option<Restoring>,
    /// Answers on their way out, and whether each waits for outputs from the disk.
    streams: BTreeMap<StreamId, (Stream, bool)>,
    next_stream: u64,
    batch: Batch,
    next_ticket: u64,
    space: Space,
    /// What was given to the disk, oldest first.
    on_disk: VecDeque<OnDisk>,
    checkpoints: Checkpoints,
    shipping: Shipping,
    /// Who could keep the journal: the registered servers.
    servers: Vec<NodeId>,
    handover: Option<Handover>,
    leaving: Leaving,
    effects: VecDeque<Effect>,
}

/// What of a batch must be acted on when it is durable.
#[derive(Debug)]
struct OnDisk {
    ticket: Ticket,
    promise: Option<Promise>,
    /// The end of the journal then, if the batch changes it, and how often it was cut before.
    end: Option<(Index, u64)>,
    runs: Vec<RunsRecord>,
}

/// Whether the node is about to end.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Leaving {
    No,
    /// It leaves the registry first.
    Registry {
        /// Who is answered then, or at the latest at that time.
        request: Option<(RequestId, Mono)>,
        /// When it ends all the same.
        until: Mono,
    },
    /// It stops as soon as nothing is on its way to the disk.
    Stopping,
    /// The exit is given out.
    Gone,
}

impl Node {
    /// The node that `found` describes, after a start at `now`. It tries to lead at once: before
    /// anybody has promised anything, asking is free.
    pub fn new(settings: Settings, zones: Box<dyn Zones>, found: Found, now: Now) -> Node {
        let Found { identity, state, records, runs, checkpoint } = found;
        let start = consensus_of(&settings, &identity, &state, &records);
        let found = start.shape.last().index;
        let newest = newest_wall(&state, &records);
        let seed = settings.seed.rotate_left(32);
        let mut worker = Worker::new(settings.running_max);
        runs.into_iter().for_each(|record| worker.restore(record));
        let mut node = Node {
            clock: ClockGuard::new(newest, now),
            settings,
            identity,
            zones,
            started: now.mono,
            now,
            generation: 0,
            consensus: Consensus::new(start, now),
            state,
            log: records.into(),
            found,
            has_commit: false,
            established: None,
            scheduler: Scheduler::default(),
            is_scheduled: false,
            dispatch: Dispatch::default(),
            sessions: Sessions::default(),
            early: Vec::new(),
            tether: Tether::new(seed),
            seek: Seek::new(seed.rotate_left(7), now.mono),
            worker,
            requests: Requests::default(),
            forwards: Forwards::new(seed),
            reads: Reads::new(seed.rotate_left(21)),
            restoring: None,
            streams: BTreeMap::new(),
            next_stream: 0,
            batch: Batch::default(),
            next_ticket: 0,
            space: Space::Enough,
            on_disk: VecDeque::new(),
            checkpoints: Checkpoints::new(checkpoint),
            shipping: Shipping::default(),
            servers: Vec::new(),
            handover: None,
            leaving: Leaving::No,
            effects: VecDeque::new(),
        };
        node.note_servers();
        node.consensus.tick(now);
        node.settle_turn();
        node
    }

    /// Takes an input. Poll effects and both deadlines afterwards.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.look_at_clock(now);
        let is_tick = matches!(input, Input::Tick);
        match input {
            Input::Tick | Input::ClockSet => {}
            Input::Request { id, peer, request } => self.request(id, peer, request),
            Input::Upload { id, peer, request } => self.upload(id, &peer, &request),
            Input::Body(id, piece) => self.restore_piece(id, piece),
            Input::StreamClosed(id) => {
                self.streams.remove(&id);
            }
            Input::Durable(durable) => self.durable(durable),
            Input::Snapshot(index, news) => self.snapshot_news(index, news),
            Input::Outputs(id, outputs) => self.outputs(id, outputs),
            Input::Launcher(event) => self.worker.launcher(event, now),
            Input::Space(space) => self.space_changed(space),
            Input::ProcessGone(process) => self.worker.process_gone(process, now),
            Input::ZonesChanged if self.established.is_some() => {
                self.scheduler.zones_changed(&self.state, &*self.zones);
            }
            Input::ZonesChanged => {}
            Input::Peer(from, word) => self.hear(from, word),
            Input::Servers(servers) => self.servers_seen(servers),
            Input::SnapshotPart(to, part) => {
                self.effects.push_back(Effect::Send(to, Word::SnapshotPart(part)));
            }
            Input::Records(records) => {
                self.consensus.records(records);
                self.follow_consensus();
            }
            Input::Stop => self.stop(),
        }
        if self.consensus.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.consensus.tick(now);
        }
        self.follow_consensus();
        self.tend_handover();
        self.tend_voters();
        self.look_for_leader();
        self.tend_sessions();
        self.ask_for_parts();
        self.worker.tick(now);
        self.answer_late();
        self.answer_forwards();
        self.serve_reads();
        self.fire();
        self.go_on_restoring(is_tick && !self.is_handing_over());
        self.settle_turn();
    }

    /// The next thing to do. Call until `None` after [`Node::new`] and every [`Node::handle`].
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Node::handle`] must be called at the latest, by the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Mono> {
        // Only a leader may correct the clock, so nobody else need look.
        let clock = self.clock.poll_timeout().filter(|_| self.established.is_some());
        let restore = self.restore_can_go_on().then_some(self.now.mono);
        let consensus = self.consensus.poll_timeout();
        let sessions = self.sessions_due();
        let waits = [
            consensus,
            sessions,
            self.seek_due(),
            self.worker.poll_timeout(),
            self.late_at(),
            self.handover_due(),
            self.forwards.late_at(),
            self.reads.late_at(),
            self.shipping.poll_timeout(),
            clock,
            restore,
        ];
        waits.into_iter().flatten().min()
    }

    /// When [`Node::handle`] must be called at the latest, by the wall clock; and earlier, with
    /// [`Input::ClockSet`], when that is set.
    pub fn poll_alarm(&self) -> Option<Wall> {
        if !self.may_fire() {
            return None;
        }
        // A clock that is ahead of the voters' decides by theirs.
        let ahead = self.clock.ahead_ms();
        self.scheduler.next_alarm().map(|due| Wall(due.wall().0.saturating_add(ahead)))
    }

    /// Appends the next piece of a large answer to `buf`, at least one byte unless it was the last
    /// or has to wait. Call when its socket has taken the piece before, or it can go on; and poll
    /// effects afterwards.
    pub fn produce(&mut self, id: StreamId, buf: &mut Vec<u8>) -> Produced {
        if self.streams.get(&id).is_some_and(|&(_, waits)| waits) {
            return Produced::Waiting;
        }
        let Some((mut stream, _)) = self.streams.remove(&id) else { return Produced::Done };
        let not_ready = self.not_ready();
        let progress = stream.produce(&self.view(&not_ready), buf);
        let waits = matches!(progress, Progress::Wants(_));
        if !matches!(progress, Progress::Done | Progress::Cut) {
            self.streams.insert(id, (stream, waits));
        }
        match progress {
            Progress::More => Produced::More,
            Progress::Done => Produced::Done,
            Progress::Cut => {
                self.log(Level::Info, "a backup was cut short", Vec::new());
                Produced::Cut
            }
            Progress::Wants(records) => {
                self.effects.push_back(Effect::ReadOutputs(id, records));
                Produced::Waiting
            }
        }
    }

    fn outputs(&mut self, id: StreamId, outputs: Vec<(Index, Option<Vec<u8>>)>) {
        if let Some((stream, waits)) = self.streams.get_mut(&id) {
            stream.give(outputs);
            *waits = false;
            self.effects.push_back(Effect::StreamReady(id));
        }
    }

    /// The applied state, for those who watch a node from outside.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where the newest configuration of the journal stands, which each frame tells.
    pub fn config_at(&self) -> Index {
        self.consensus.config_at()
    }

    /// Whether this node is established as leader.
    pub fn leads(&self) -> bool {
        self.established.is_some()
    }

    fn view<'a>(&'a self, not_ready: &'a [&'static str]) -> View<'a> {
        View {
            state: &self.state,
            scheduler: &self.scheduler,
            dispatch: &self.dispatch,
            zones: &*self.zones,
            default_zone: &self.settings.default_zone,
            me: self.identity.node,
            node_name: &self.settings.name,
            is_server: self.settings.server,
            leader: self.leader(),
            established: self.established.is_some(),
            not_ready,
            warnings: &self.settings.warnings,
            uptime: self.now.mono.since(self.started),
            now: self.now,
            hosts: &self.settings.hosts,
        }
    }

    /// Ends a turn: carries words between leader and worker until none is left, then gives out
    /// what is for the disk as one batch.
    fn settle_turn(&mut self) {
        self.carry();
        self.consensus.settle();
        self.follow_consensus();
        self.flush();
        self.end_if_stopped();
    }

    fn flush(&mut self) {
        let batch = &mut self.batch;
        let end = batch.records.last().map(|raw| raw.index).or(batch.cut);
        if batch.promise.is_none() && end.is_none() && batch.runs.is_empty() {
            return;
        }
        self.next_ticket += 1;
        batch.ticket = Ticket(self.next_ticket);
        let batch = std::mem::take(batch);
        self.on_disk.push_back(OnDisk {
            ticket: batch.ticket,
            promise: batch.promise,
            end: end.map(|index| (index, self.generation)),
            runs: batch.runs.clone(),
        });
        self.effects.push_back(Effect::Commit(batch));
    }

    fn log(&mut self, level: Level, message: &'static str, fields: Vec<(&'static str, String)>) {
        self.effects.push_back(Effect::Log(Note { level, message, fields }));
    }
}

/// What the consensus starts from.
fn consensus_of(
    settings: &Settings,
    identity: &Identity,
    state: &State,
    records: &[Entry],
) -> Start {
    let base = Place { epoch: state.epoch(), index: state.applied() };
    let mut shape = Shape::behind(base);
    let mut configs: Vec<(Index, Config)> =
        config_of(state).into_iter().map(|config| (base.index, config)).collect();
    for entry in records {
        shape.push(entry.epoch);
        configs.extend(config_in(&entry.record).map(|config| (entry.index, config)));
    }
    Start {
        me: identity.node,
        promise: identity.promise,
        shape,
        committed: base.index,
        configs,
        seed: settings.seed,
        timing: settings.timing,
    }
}

/// The configuration of `state`; none before the first record.
fn config_of(state: &State) -> Option<Config> {
    config_with(state.servers())
}

/// The configuration that `record` puts in force.
fn config_in(record: &crate::store::Record) -> Option<Config> {
    match record {
        crate::store::Record::Config(servers) => config_with(servers),
        _ => None,
    }
}

fn config_with(servers: &crate::store::Servers) -> Option<Config> {
    let voters = Voters::new(servers.voters.clone())?;
    Some(Config { voters, learners: servers.learners.clone() })
}

/// The latest wall time that `records`, applied to `state`, will have seen: a correction takes
/// back those before it.
fn newest_wall(state: &State, records: &[Entry]) -> Wall {
    records.iter().fold(state.newest_wall(), |newest, entry| match entry.record {
        crate::store::Record::ClockCorrected { to } => to.wall(),
        _ => newest.max(entry.wall),
    })
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
