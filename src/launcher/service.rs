//! The launcher's loop: descriptors on one side, the table on the other.
//!
//! One thread, which never waits but for all descriptors at once. Each turn gives every descriptor
//! a bounded share, so that one chatty job or a flood of orders holds up nobody.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::net::{UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::child::{Child, Children, Surroundings, stage_of};
use super::link::{Incoming, Link};
use super::protocol::{self, Answer, Request};
use super::slot::End;
use super::table::{Effect, Table};
use super::{PID, SOCKET, Settings, is_trusted, say, take_lock};
use crate::ident::{BootId, Instance, RunId};
use crate::run::order::Status;
use crate::sys::file::{Access, Dir};
use crate::sys::process::{self, Ended, Pid};
use crate::sys::signal::{self, Deadly, Signal, SignalPipe};
use crate::sys::spawn::Progress;
use crate::sys::{clock, limits, random, unix_socket};
use crate::time::Mono;

/// Most commands carried out in one turn; each may be a fork. As many as a leader claims at once.
const COMMANDS_PER_TURN: usize = 256;
/// Most bytes of output read from one descriptor in one turn, and after the end of a run.
const OUTPUT_PER_TURN_BYTES: usize = 1024 * 1024;
/// The buffer for all reading.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long a connection may take to say hello: until then no other is served.
const HELLO_WAIT: Duration = Duration::from_secs(10);

const LISTENER: Token = Token(0);
const SIGNALS: Token = Token(1);
const LINK: Token = Token(2);
/// From here on, two tokens for each child: its output and its report.
const CHILDREN: usize = 16;

/// The running launcher.
pub(super) struct Service {
    poll: Poll,
    dir: Dir,
    listener: UnixListener,
    signals: SignalPipe,
    table: Table,
    children: Children,
    /// Children whose output was not read to its end in the last turn.
    chatty: VecDeque<usize>,
    lingering: Vec<RunId>,
    link: Option<Link>,
    surroundings: Surroundings,
    boot: BootId,
    buffer: Vec<u8>,
    idle_exit: Option<Duration>,
    idle_since: Mono,
    is_done: bool,
    /// Held until the end of the process.
    _lock: File,
}

impl Service {
    /// Takes the directory; `None` when another launcher serves it.
    pub(super) fn open(settings: &Settings) -> io::Result<Option<Service>> {
        let dir = Dir::create(&settings.dir)?;
        let Some(lock) = take_lock(&dir)? else { return Ok(None) };
        signal::ignore_broken_pipes()?;
        let signals = SignalPipe::new()?;
        process::become_subreaper()?;
        // A wish: on a kernel that does not know it, jobs start later on a busy machine.
        let _ = process::ask_for_short_turns();
        limits::raise_descriptors()?;
        let mut pid = dir.file(PID, Access::Create)?;
        // For people and scripts only: a full disk is no reason to run no job.
        if let Err(error) = pid.set_len(0).and_then(|()| writeln!(pid, "{}", std::process::id())) {
            say("warn", format_args!("cannot write {PID}: {error}"));
        }
        // Whoever made it held the lock, and is gone.
        dir.unlink(SOCKET)?;
        let mut listener = UnixListener::from_std(unix_socket::bind(&dir, SOCKET)?);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let signal_fd = signals.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&signal_fd), SIGNALS, Interest::READABLE)?;
        Ok(Some(Service {
            poll,
            dir,
            listener,
            signals,
            table: Table::new(Instance(random::u64()?)),
            children: Children::default(),
            chatty: VecDeque::new(),
            lingering: Vec::new(),
            link: None,
            surroundings: Surroundings::new()?,
            boot: clock::boot_id()?,
            buffer: vec![0; BUFFER_BYTES],
            idle_exit: settings.idle_exit,
            idle_since: clock::now().mono,
            is_done: false,
            _lock: lock,
        }))
    }

    /// Serves until nothing is left to do.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        while !self.is_done {
            let wait = self.wait(clock::now().mono);
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.turn(&events)?;
        }
        // Still under the lock: no other launcher has made these.
        self.dir.unlink(SOCKET)?;
        self.dir.unlink(PID)?;
        Ok(())
    }

    fn turn(&mut self, events: &Events) -> io::Result<()> {
        let has_news = events.iter().any(|event| event.token() == LINK);
        if let Some(link) = self.link.as_mut().filter(|_| has_news) {
            link.set_readable();
        }
        // First, because what is to be started is late already, and what has ended can wait: its
        // end is written down in the time of those that have not begun. And once it is looked at
        // it is often told as an end at once, instead of as a start and then as an end.
        self.read_link();
        self.carry_out();
        let mut had_signal = false;
        let rested = self.chatty.len();
        for event in events {
            match event.token() {
                LISTENER | LINK => {}
                SIGNALS => had_signal = true,
                Token(number) => self.child_is_ready(number - CHILDREN),
            }
        }
        // Those that were left over in the last turn; not those that were just read.
        for _ in 0..rested {
            if let Some(serial) = self.chatty.pop_front() {
                self.read_output(serial);
            }
        }
        if had_signal {
            self.take_signals()?;
        }
        self.table.handle_timeout(clock::now());
        self.carry_out();
        self.answer();
        self.accept();
        self.judge_idleness(clock::now().mono);
        Ok(())
    }

    /// How long nothing will have to be done unless a descriptor says so.
    fn wait(&self, now: Mono) -> Option<Duration> {
        let link_waits = self.link.as_ref().is_some_and(Link::may_have_more);
        if !self.chatty.is_empty() || (link_waits && self.table.takes_commands()) {
            return Some(Duration::ZERO);
        }
        let hello = self.link.as_ref().filter(|link| !link.greeted);
        let hello = hello.map(|link| link.since + HELLO_WAIT);
        let idle = self.idle_exit.filter(|_| self.is_idle()).map(|wait| self.idle_since + wait);
        let deadline = [self.table.poll_timeout(), hello, idle].into_iter().flatten().min();
        deadline.map(|deadline| deadline.since(now))
    }

    fn is_idle(&self) -> bool {
        self.link.is_none() && self.table.is_empty()
    }

    fn judge_idleness(&mut self, now: Mono) {
        let is_over = |wait| now.since(self.idle_since) >= wait;
        if self.is_idle() && self.idle_exit.is_some_and(is_over) {
            say("info", "no agent and nothing to do: the launcher ends");
            self.is_done = true;
        }
    }

    fn take_signals(&mut self) -> io::Result<()> {
        while let Some(signal) = self.signals.next()? {
            match signal {
                Signal::Child => self.reap()?,
                Signal::Terminate if self.table.is_empty() => self.is_done = true,
                Signal::Terminate => {
                    let (runs, _) = self.table.counts();
                    say("warn", format_args!("{runs} runs are not done: the launcher stays"));
                }
                Signal::User1 => {
                    let (runs, alive) = self.table.counts();
                    say("info", format_args!("{runs} runs in the table, {alive} of them alive"));
                }
                // These mean a terminal, and that is not ours.
                Signal::Interrupt | Signal::Hangup => {}
            }
        }
        Ok(())
    }

    /// Reaps all that have ended, orphans that came to us by adoption among them.
    fn reap(&mut self) -> io::Result<()> {
        while let Some(pid) = process::next_ended()? {
            let serial = self.children.of_pid(pid);
            if let Some(serial) = serial {
                self.read_report(serial);
                self.read_output(serial);
            }
            let Some(found) = process::reap(pid)? else { continue };
            let run = serial.and_then(|serial| self.children.get_mut(serial)).map(|it| it.run);
            let Some(run) = run else { continue };
            self.children.reaped(pid);
            let status = match found.ended {
                Ended::Code(code) => Status::Code(code),
                Ended::Signal(signal) => Status::Signal(signal),
            };
            let end = End { status, cpu_ms: found.cpu_ms, max_rss_bytes: found.max_rss_bytes };
            let lives = self.table.wants_group_ended(run) && group_lives(pid);
            self.table.reaped(run, end, lives, clock::now());
            if lives {
                self.lingering.push(run);
            }
        }
        self.look_after_lingering();
        Ok(())
    }

    fn look_after_lingering(&mut self) {
        for run in std::mem::take(&mut self.lingering) {
            if let Some((pid, _)) = self.children.pid_of(run).filter(|(pid, _)| group_lives(*pid)) {
                debug_assert!(self.children.of_pid(pid).is_none(), "its leader was reaped");
                self.lingering.push(run);
                continue;
            }
            if let Some(serial) = self.children.serial_of(run) {
                self.read_output(serial);
            }
            self.table.group_gone(run, clock::now());
        }
    }

    fn child_is_ready(&mut self, number: usize) {
        let serial = number / 2;
        if number.is_multiple_of(2) { self.read_output(serial) } else { self.read_report(serial) }
    }

    fn read_report(&mut self, serial: usize) {
        let Some(child) = self.children.get_mut(serial) else { return };
        let Some(report) = &mut child.report else { return };
        match report.read() {
            Progress::Pending => return,
            Progress::Started => self.table.executed(child.run),
            Progress::Failed(error) => {
                let (stage, errno) = stage_of(error);
                self.table.exec_failed(child.run, stage, errno, clock::now());
            }
        }
        child.report = None;
    }

    fn read_output(&mut self, serial: usize) {
        let Some(child) = self.children.get_mut(serial) else { return };
        let Some(output) = &mut child.output else { return };
        let mut total = 0;
        while total < OUTPUT_PER_TURN_BYTES {
            match output.read(&mut self.buffer) {
                Ok(count) if count > 0 => {
                    self.table.output(child.run, &self.buffer[..count]);
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    child.output = None;
                    return;
                }
            }
        }
        if !self.chatty.contains(&serial) {
            self.chatty.push_back(serial);
        }
    }

    fn read_link(&mut self) {
        for _ in 0..COMMANDS_PER_TURN {
            let Some(link) = &mut self.link else { return };
            if !link.may_have_more() || !self.table.takes_commands() {
                return;
            }
            match link.next(&mut self.buffer) {
                Incoming::Request(Request::Command(command)) => {
                    self.table.command(command, clock::now());
                }
                Incoming::Request(Request::Hello(version)) => self.greet(version),
                Incoming::Drained => return,
                Incoming::Closed => return self.drop_link("the agent has gone"),
                Incoming::Broken(error) => return self.drop_link(&error.to_string()),
            }
        }
    }

    fn greet(&mut self, version: u32) {
        let Some(link) = &mut self.link else { return };
        if version == protocol::VERSION {
            link.greeted = true;
            self.table.agent_came();
            return;
        }
        link.push(&Answer::Mismatch { agent: version, launcher: protocol::VERSION });
        // It fits into the empty buffer of a fresh socket.
        let _ = link.flush();
        self.drop_link(&format!("the agent speaks version {version}"));
    }

    /// Ends the connection, with what has not been read and written.
    fn drop_link(&mut self, reason: &str) {
        self.link = None;
        self.idle_since = clock::now().mono;
        self.table.agent_went();
        let (_, alive) = self.table.counts();
        say("info", format_args!("{reason}; {alive} runs go on"));
    }

    /// Serves the next agent once the last one has gone.
    fn accept(&mut self) {
        let now = clock::now().mono;
        if self.link.as_ref().is_some_and(|it| !it.greeted && now.since(it.since) >= HELLO_WAIT) {
            self.drop_link("a connection has not said hello");
        }
        while self.link.is_none() {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return say("error", format_args!("cannot accept: {error}")),
            };
            match self.admit(&mut stream) {
                Ok(()) => self.link = Some(Link::new(stream, now)),
                Err(error) => say("warn", format_args!("a connection was refused: {error}")),
            }
        }
    }

    fn admit(&self, stream: &mut UnixStream) -> io::Result<()> {
        if !is_trusted(unix_socket::peer(stream)?.uid) {
            return Err(super::stranger());
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(stream, LINK, interest)
    }

    fn answer(&mut self) {
        let Some(link) = &mut self.link else { return };
        let identify = |run| self.children.process_of(run, self.boot);
        loop {
            while link.has_room() {
                let Some(answer) = self.table.poll_answer(&identify) else { break };
                link.push(&answer);
            }
            match link.flush() {
                Ok(true) if link.has_room() && self.table.has_answers() => {}
                Ok(_) => return,
                Err(_) => return self.drop_link("the agent has gone"),
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.table.poll_effect() {
            match effect {
                Effect::Spawn(order) => match self.surroundings.start(&order) {
                    Ok(child) => self.take_in(child),
                    Err((stage, errno)) => {
                        self.table.fork_failed(order.run, stage, errno, clock::now());
                    }
                },
                Effect::Signal(run, signal) => self.signal(run, signal),
                Effect::Release(run) => self.children.release(run),
            }
        }
    }

    fn take_in(&mut self, child: Child) {
        let run = child.run;
        let output = child.output.as_ref().map(AsRawFd::as_raw_fd);
        let report = child.report.as_ref().map(|report| report.as_fd().as_raw_fd());
        let serial = self.children.insert(child);
        for (fd, place) in [(output, 0), (report, 1)] {
            let Some(fd) = fd else { continue };
            let token = Token(CHILDREN + serial * 2 + place);
            let added =
                self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE);
            if let Err(error) = added {
                // The end will be noticed all the same, by its signal.
                say("error", format_args!("cannot watch run {run}: {error}"));
            }
        }
    }

    fn signal(&self, run: RunId, signal: Deadly) {
        let Some((pid, is_child)) = self.children.pid_of(run) else { return };
        if !is_child && !group_lives(pid) {
            return;
        }
        if let Err(error) = process::signal_group(pid, signal) {
            say("error", format_args!("cannot signal run {run}: {error}"));
        }
    }
}

/// Whether others are left in the group of a leader that was just reaped.
fn group_lives(leader: Pid) -> bool {
    process::group_exists(leader) && process::group_outlives(leader).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::launcher::protocol::EventReader;
    use crate::launcher::testing::{order, run};
    use crate::run::order::{Entry, Exit, LauncherCommand, LauncherEvent, Program, SpawnOrder};
    use crate::sys::pidfd::PidFd;
    use crate::sys::spawn::in_fork;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A launcher in this process, which turns when it is told to, and what its agent hears.
    struct Rig {
        service: Service,
        agent: std::os::unix::net::UnixStream,
        reader: EventReader,
        instance: Instance,
        ended: BTreeMap<u64, Exit>,
    }

    impl Rig {
        fn new(dir: &std::path::Path) -> Rig {
            let settings = Settings { dir: dir.into(), idle_exit: None };
            let service = Service::open(&settings).unwrap().unwrap();
            let agent = crate::launcher::connect(&Dir::open(dir).unwrap()).unwrap();
            let (reader, ended) = (EventReader::default(), BTreeMap::new());
            let mut rig = Rig { service, agent, reader, instance: Instance(0), ended };
            let mut hello = Vec::new();
            protocol::encode_hello(&mut hello);
            rig.agent.write_all(&hello).unwrap();
            while rig.instance == Instance(0) {
                rig.turn();
            }
            rig
        }

        fn order(&mut self, numbers: impl Iterator<Item = u64>) {
            let mut bytes = Vec::new();
            for number in numbers {
                let order = order(number, Program::Words(vec!["true".into()]));
                let order = SpawnOrder { instance: self.instance, ..order };
                protocol::encode_command(&LauncherCommand::Spawn(order), &mut bytes).unwrap();
            }
            self.agent.write_all(&bytes).unwrap();
        }

        /// One turn with all that has happened by now.
        fn turn(&mut self) {
            let mut events = Events::with_capacity(1_024);
            self.service.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            self.service.turn(&events).unwrap();
            let mut buffer = [0; 4_096];
            while let Ok(count) = self.agent.read(&mut buffer) {
                self.reader.push(&buffer[..count]);
            }
            while let Some(event) = self.reader.next().unwrap() {
                match event {
                    LauncherEvent::Welcome { instance, .. } => self.instance = instance,
                    LauncherEvent::Run(run, Entry::Ended(exit)) => {
                        self.ended.insert(run.group.0, exit);
                    }
                    LauncherEvent::Run(_, Entry::Running(..)) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Of two whose turn has come at once, one that is due and one that is over, and of orders
    /// above the limit.
    #[test]
    fn orders_go_before_ends_and_above_the_limit_ends_before_orders() {
        let temp = tempfile::tempdir().unwrap();
        let code = in_fork(|| {
            let mut rig = Rig::new(&temp.path().join("data"));
            rig.order(1..=1);
            while rig.service.children.pid_of(run(1)).is_none() {
                rig.turn();
            }
            let (pid, _) = rig.service.children.pid_of(run(1)).unwrap();
            let gone = PidFd::open(pid).unwrap().unwrap();
            assert!(crate::sys::file::wait_readable(gone.as_fd(), PATIENCE).unwrap());
            assert!(rig.ended.is_empty(), "it has not been looked at");
            let last = COMMANDS_PER_TURN as u64 + 1;
            rig.order(2..=last + 1);
            rig.turn();
            assert_eq!(rig.service.table.counts().0 as u64, last, "as many as fit into a turn");
            assert!(rig.ended.contains_key(&1), "and ends after them");
            while rig.ended.len() as u64 <= last {
                rig.turn();
            }
            let finished = rig.ended[&1].finished;
            assert!(rig.ended[&last].started <= finished, "the last within the limit goes before");
            assert!(finished <= rig.ended[&(last + 1)].started, "the first above it comes after");
        });
        assert_eq!(code, 0);
    }
}
