//! The loop.
//!
//! One turn: wait for events or the next deadline, turn them into inputs, carry out effects, move
//! bytes of the connections that have something to do. Nothing in a turn waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::conns::{self, Conns, Listener, Wish};
use super::disk::{Disk, Done, Work};
use super::link::Link;
use super::log::Log;
use super::open::FIRST_LISTENER;
use super::read::Read;
use super::space::Room;
use super::watch::{self, Watches};
use super::zones::FileZones;
use super::{Settings, boot, open};
use crate::http;
use crate::ident::StreamId;
use crate::node::{Effect, Input, Level, Node, Produced};
use crate::sys::signal::{Signal, SignalPipe};
use crate::sys::timerfd::{Alarm, WallTimer};
use crate::sys::{clock, limits, notify, process, random};
use crate::time::{Mono, Now, Wall};

const SIGNALS: Token = Token(0);
const ALARM: Token = Token(1);
const DISK: Token = Token(2);
const LAUNCHER: Token = Token(3);

/// Most events taken at once.
const EVENTS_MAX: usize = 1_024;
/// How long connections may take in one turn before everything else has its go again.
const PUMP_MAX: Duration = Duration::from_millis(2);
/// How long accepting pauses when the system has no descriptor or memory left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers may take to be sent when the node has ended.
const FLUSH_WAIT: Duration = Duration::from_secs(2);
/// Descriptors that are kept for everything but connections.
const DESCRIPTORS_KEPT: u64 = 64;

/// The agent at work.
pub(super) struct Agent {
    log: Log,
    poll: Poll,
    signals: SignalPipe,
    alarm: WallTimer,
    armed: Option<Wall>,
    listeners: Vec<Listener>,
    /// Listeners that may have connections waiting, which no event will tell of again.
    to_accept: BTreeSet<usize>,
    accept_again_at: Option<Mono>,
    conns: Conns,
    dirty: VecDeque<Token>,
    /// Connections whose stream waits for the disk.
    waiting: BTreeMap<StreamId, Token>,
    link: Link,
    link_has_more: bool,
    watches: Watches,
    disk: Disk,
    node: Node,
    /// The node's, to be told when the files have changed.
    zones: Rc<FileZones>,
    now: Now,
    told_ready: bool,
    stop_by: Option<Mono>,
    leave_timeout: Duration,
    exit_by: Option<Mono>,
    failed: bool,
    /// Held for as long as the agent uses the directory.
    _lock: std::fs::File,
}

impl Agent {
    /// Opens the data directory and everything else that an agent needs.
    pub(super) fn start(settings: &Settings, mut log: Log) -> Result<Agent, (Log, String)> {
        match Self::open(settings, &mut log) {
            Ok(open) => Ok(open(log)),
            Err(why) => Err((log, why)),
        }
    }

    fn open(
        settings: &Settings,
        log: &mut Log,
    ) -> Result<impl FnOnce(Log) -> Agent + use<>, String> {
        let failed = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
        // Before the first thread, which inherits the mask.
        let signals = SignalPipe::new().map_err(failed("take signals"))?;
        process::forbid_dumps().map_err(failed("forbid core dumps"))?;
        let descriptors =
            limits::raise_descriptors().map_err(failed("raise the limit on files"))?;
        let path = settings.data_dir.display();
        let opened = boot::open(&settings.data_dir)
            .map_err(|error| format!("the data directory {path} cannot be used: {error}"))?;
        for remark in &opened.remarks {
            log.say(Level::Warn, "found at the start", vec![("what", remark.clone())]);
        }
        let poll = Poll::new().map_err(failed("wait for events"))?;
        let listeners = open::listen(settings, &opened.dir, &poll)?;
        log.say(Level::Info, "listening", open::addresses(&listeners, settings));
        let alarm = WallTimer::new().map_err(failed("make a timer"))?;
        for (token, fd) in [(SIGNALS, signals.as_fd()), (ALARM, alarm.as_fd())] {
            poll.registry()
                .register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)
                .map_err(failed("wait for events"))?;
        }
        let waker = Waker::new(poll.registry(), DISK).map_err(failed("make a waker"))?;
        let mut files = opened.files;
        let (room, remark) = Room::open(&mut files.storage, settings.ballast_bytes);
        if let Some(what) = remark {
            log.say(Level::Warn, "found at the start", vec![("what", what)]);
        }
        let disk = Disk::start(files, room, Arc::new(waker)).map_err(failed("start a thread"))?;
        let zones = Rc::new(FileZones::system());
        let seed = random::u64().map_err(failed("draw a random number"))?;
        let node_settings = open::node_settings(settings, &zones, seed, opened.warnings);
        let now = clock::now();
        let node = Node::new(node_settings, Box::new(Rc::clone(&zones)), opened.found, now);
        let max = connections_max(settings, descriptors.soft);
        let http = http::Settings { whom: settings.node_name.clone(), ..http::Settings::default() };
        let conns = Conns::new(http, max, settings.anonymous);
        let link = Link::new(opened.dir, settings.data_dir.clone(), LAUNCHER);
        let (leave_timeout, lock) = (settings.leave_timeout, opened.lock);
        Ok(move |log| Agent {
            log,
            poll,
            signals,
            alarm,
            armed: None,
            to_accept: BTreeSet::new(),
            listeners,
            accept_again_at: None,
            conns,
            dirty: VecDeque::new(),
            waiting: BTreeMap::new(),
            link,
            link_has_more: false,
            watches: Watches::default(),
            disk,
            node,
            zones,
            now,
            told_ready: false,
            stop_by: None,
            leave_timeout,
            exit_by: None,
            failed: false,
            _lock: lock,
        })
    }

    /// Turns until the node has ended.
    pub(super) fn run(&mut self) -> ExitCode {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.effects();
        self.watch_clock();
        while !self.is_over() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fail("cannot wait for events", error.to_string());
                }
            }
            self.now = clock::now();
            for event in &events {
                self.event(event.token(), event.is_readable(), event.is_writable());
            }
            self.turn();
        }
        let _ = notify::notify("STOPPING=1");
        if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn event(&mut self, token: Token, readable: bool, writable: bool) {
        match token {
            SIGNALS => self.take_signals(),
            ALARM => self.take_alarm(),
            DISK => {}
            LAUNCHER => self.link_has_more = true,
            Token(number) if number >= conns::FIRST_TOKEN => {
                self.conns.ready(token, readable, writable);
                self.dirty.push_back(token);
            }
            Token(number) if number >= watch::FIRST_TOKEN => {
                if let Some(process) = self.watches.take(token, self.poll.registry()) {
                    self.input(Input::ProcessGone(process));
                }
            }
            Token(number) => {
                self.to_accept.insert(number - FIRST_LISTENER);
            }
        }
    }

    /// What is done in every turn, after the events are sorted.
    fn turn(&mut self) {
        self.take_disk();
        self.tend_launcher();
        let due = self.node.poll_timeout().is_some_and(|at| at <= self.now.mono)
            || self.node.poll_alarm().is_some_and(|at| at <= self.now.wall);
        if due {
            self.input(Input::Tick);
        }
        self.accept();
        self.dirty.extend(self.conns.handle_timeouts(self.now.mono));
        self.pump();
        if let Some(event) = self.link.flush() {
            self.input(Input::Launcher(event));
        }
        if self.stop_by.is_some_and(|by| by <= self.now.mono) {
            self.log.say(Level::Warn, "stopping took too long and was cut short", Vec::new());
            self.exit_by = Some(self.now.mono);
        }
        self.watch_clock();
    }

    fn input(&mut self, input: Input) {
        self.node.handle(input, self.now);
        self.effects();
    }

    fn effects(&mut self) {
        let mut wishes = Vec::new();
        while let Some(effect) = self.node.poll_effect() {
            match effect {
                Effect::Reply(id, response) => {
                    let token = self.conns.answer(id, response, self.now.mono, &mut wishes);
                    self.dirty.extend(token);
                }
                Effect::Commit(batch) => self.disk.push(Work::Commit(batch)),
                Effect::Snapshot(index, work) => self.disk.push(Work::Snapshot(index, work)),
                Effect::ReadOutputs(id, list) => self.read(Read::Outputs(id, list)),
                // The only voter has nobody to speak to, and no socket for it.
                Effect::Send(..) => {}
                Effect::ReadSnapshot(to, index, part) => {
                    self.read(Read::Snapshot(to, index, part));
                }
                Effect::ReadRecords(from) => self.read(Read::Records(from)),
                Effect::ReadBody(id) => {
                    let token = self.conns.read_body(id, &mut wishes);
                    self.dirty.extend(token);
                }
                Effect::StreamReady(stream) => {
                    let token = self.waiting.remove(&stream);
                    wishes.extend(token.map(|token| Wish::Piece(token, stream)));
                }
                Effect::Halt(why) => self.fail("halted", why),
                Effect::CompactRuns(live) => self.disk.push(Work::CompactRuns(live)),
                Effect::Launcher(command) => {
                    if let Err(why) = self.link.send(&command) {
                        self.log.say(Level::Error, "an order was not sent", vec![("why", why)]);
                    }
                }
                Effect::Watch(process) => {
                    if !self.watches.add(process, self.poll.registry()) {
                        self.node.handle(Input::ProcessGone(process), self.now);
                    }
                }
                Effect::Log(note) => self.log.write(&note),
                Effect::Exit => self.begin_exit(),
            }
        }
        self.tell_ready();
        for wish in wishes {
            self.grant(wish);
        }
    }

    fn read(&self, read: Read) {
        self.disk.push(Work::Read(read));
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Answer(id, peer, request, false) => {
                self.input(Input::Request { id, peer, request });
            }
            Wish::Answer(id, peer, request, true) => {
                self.input(Input::Upload { id, peer, request });
            }
            Wish::Body(id, piece) => self.input(Input::Body(id, piece)),
            Wish::Piece(token, stream) => {
                let mut piece = Vec::new();
                let produced = self.node.produce(stream, &mut piece);
                if produced == Produced::Waiting {
                    self.waiting.insert(stream, token);
                }
                if produced == Produced::Cut {
                    self.conns.cut(token);
                    self.dirty.push_back(token);
                } else if produced != Produced::Waiting || !piece.is_empty() {
                    self.conns.piece(token, &piece, produced == Produced::Done, self.now.mono);
                    self.dirty.push_back(token);
                }
                self.effects();
            }
            Wish::Cancel(stream) => {
                self.waiting.remove(&stream);
                self.node.handle(Input::StreamClosed(stream), self.now);
            }
        }
    }

    /// Moves bytes of the connections with something to do, in turn, for a bounded time: a fast
    /// reader of a long list must not delay a fire.
    fn pump(&mut self) {
        let until = clock::now().mono + PUMP_MAX;
        while let Some(token) = self.dirty.pop_front() {
            let mut wishes = Vec::new();
            if self.conns.pump(token, self.now.mono, &mut wishes) {
                self.dirty.push_back(token);
            }
            wishes.into_iter().for_each(|wish| self.grant(wish));
            if clock::now().mono >= until {
                return;
            }
        }
    }

    fn take_signals(&mut self) {
        loop {
            match self.signals.next() {
                Ok(None) => return,
                Ok(Some(Signal::Terminate | Signal::Interrupt)) => self.stop(),
                Ok(Some(Signal::Hangup)) => {
                    self.zones.forget();
                    self.input(Input::ZonesChanged);
                }
                Ok(Some(Signal::User1)) => self.say_state(),
                Ok(Some(Signal::Child)) => self.link.child_ended(),
                Err(error) => return self.fail("cannot read signals", error.to_string()),
            }
        }
    }

    /// The first signal stops in good order, the second at once.
    fn stop(&mut self) {
        if self.stop_by.is_some() {
            self.exit_by = Some(self.now.mono);
            return;
        }
        self.stop_by = Some(self.now.mono + self.leave_timeout);
        self.input(Input::Stop);
    }

    fn say_state(&mut self) {
        let state = self.node.state();
        let fields = vec![
            ("epoch", state.epoch().to_string()),
            ("index", state.applied().to_string()),
            ("jobs", state.jobs_by_name().len().to_string()),
            ("open_runs", state.open_runs().len().to_string()),
        ];
        self.log.say(Level::Info, "state", fields);
    }

    fn take_alarm(&mut self) {
        self.armed = None;
        match self.alarm.read() {
            Ok(Alarm::Fired | Alarm::NotYet) => {}
            Ok(Alarm::ClockSet) => self.input(Input::ClockSet),
            Err(error) => self.fail("cannot read the timer", error.to_string()),
        }
    }

    /// Keeps the timer armed for the node's next alarm; it also watches for a clock that is set.
    fn watch_clock(&mut self) {
        let wanted = self.node.poll_alarm().or(Some(Wall(i64::MAX)));
        if self.armed == wanted {
            return;
        }
        match self.alarm.arm(wanted) {
            Ok(was_set) => {
                self.armed = wanted;
                if was_set {
                    self.input(Input::ClockSet);
                }
            }
            Err(error) => self.fail("cannot arm the timer", error.to_string()),
        }
    }

    fn take_disk(&mut self) {
        while let Some(done) = self.disk.poll() {
            match done {
                Done::Durable(durable) => self.input(Input::Durable(durable)),
                Done::Snapshot(index, news) => self.input(Input::Snapshot(index, news)),
                Done::Outputs(stream, outputs) => self.input(Input::Outputs(stream, outputs)),
                Done::SnapshotPart(to, part) => self.input(Input::SnapshotPart(to, part)),
                Done::Records(records) => self.input(Input::Records(records)),
                Done::Remark(what, why) => self.log.say(Level::Warn, what, vec![("why", why)]),
                Done::Space(space) => self.input(Input::Space(space)),
                Done::Failed(why) => self.fail("the disk failed", why),
            }
        }
    }

    fn tend_launcher(&mut self) {
        if let Err(why) = self.link.tend(self.poll.registry(), self.now.mono) {
            self.log.say(Level::Error, "launcher", vec![("why", why)]);
        }
        if !std::mem::take(&mut self.link_has_more) {
            return;
        }
        let mut events = Vec::new();
        match self.link.read(&mut events) {
            Ok(more) => self.link_has_more = more,
            Err(why) => self.log.say(Level::Error, "launcher", vec![("why", why)]),
        }
        for event in events {
            self.input(Input::Launcher(event));
        }
    }

    fn accept(&mut self) {
        if self.exit_by.is_some() || self.accept_again_at.is_some_and(|at| at > self.now.mono) {
            return;
        }
        self.accept_again_at = None;
        for number in std::mem::take(&mut self.to_accept) {
            let Some(listener) = self.listeners.get(number) else { continue };
            let (registry, mut wishes) = (self.poll.registry(), Vec::new());
            let accepted = self.conns.accept(listener, registry, self.now.mono, &mut wishes);
            if let Err(error) = accepted {
                let fields = vec![("why", error.to_string())];
                self.log.say(Level::Error, "cannot accept a connection", fields);
                self.to_accept.insert(number);
                self.accept_again_at = Some(self.now.mono + ACCEPT_PAUSE);
            }
            wishes.into_iter().for_each(|wish| self.grant(wish));
        }
    }

    fn begin_exit(&mut self) {
        self.exit_by = Some(self.now.mono + FLUSH_WAIT.min(self.leave_timeout));
        self.dirty.extend(self.conns.finish(self.now.mono));
    }

    fn is_over(&self) -> bool {
        self.failed || self.exit_by.is_some_and(|by| by <= self.now.mono || self.conns.is_empty())
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.dirty.is_empty() || self.link_has_more {
            return Some(Duration::ZERO);
        }
        if self.node.poll_alarm().is_some_and(|at| at <= self.now.wall) {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.node.poll_timeout(),
            self.conns.poll_timeout(),
            self.link.poll_timeout(),
            self.accept_again_at,
            self.stop_by,
            self.exit_by,
        ];
        let next = deadlines.into_iter().flatten().min()?;
        // The poll rounds up to the millisecond, so a deadline is never met too early.
        Some(next.since(clock::now().mono))
    }

    fn tell_ready(&mut self) {
        if !self.told_ready && self.node.leads() {
            self.told_ready = true;
            if let Err(error) = notify::notify("READY=1") {
                let fields = vec![("why", error.to_string())];
                self.log.say(Level::Warn, "cannot notify the service manager", fields);
            }
        }
    }

    fn fail(&mut self, message: &'static str, why: String) {
        self.log.say(Level::Error, message, vec![("why", why)]);
        self.failed = true;
    }
}

/// How many connections are taken: as set, and at most half of what descriptors allow.
fn connections_max(settings: &Settings, descriptors: u64) -> usize {
    let room = usize::try_from(descriptors.saturating_sub(DESCRIPTORS_KEPT) / 2);
    settings.connections_max.min(room.unwrap_or(usize::MAX)).max(1)
}
