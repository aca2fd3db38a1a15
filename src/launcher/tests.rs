//! The real loop with real processes. Each launcher is a forked copy of the test process, because
//! signals, adoption of orphans and waiting for children belong to a whole process.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::protocol::EventReader;
use super::*;
use crate::ident::{Instance, RunId};
use crate::launcher::testing::{order, run as run_id};
use crate::run::order::{
    Cause, Entry, Exit, LauncherCommand, LauncherEvent, Process, Program, SpawnOrder, Stage, Status,
};
use crate::sys::pidfd::PidFd;
use crate::sys::process;
use crate::sys::signal::Deadly;

const PATIENCE: Duration = Duration::from_secs(30);

/// A launcher in a process of its own, which goes with this value.
struct Rig {
    temp: tempfile::TempDir,
    dir: Dir,
    pid: Pid,
    ended: PidFd,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(None)
    }

    fn with(idle_exit: Option<Duration>) -> Rig {
        let temp = tempfile::tempdir().unwrap();
        let settings = Settings { dir: temp.path().join("data"), idle_exit };
        let pid = spawn::fork_running(|| {
            assert!(is_success(run(&settings)));
        });
        let dir = Dir::create(&temp.path().join("data")).unwrap();
        Rig { temp, dir, pid, ended: PidFd::open(pid).unwrap().unwrap() }
    }

    fn agent(&self) -> Agent {
        Agent::new(&self.dir)
    }

    fn path(&self, name: &str) -> String {
        self.temp.path().join(name).to_str().unwrap().to_string()
    }

    fn wait_for_end(&self) -> bool {
        file::wait_readable(self.ended.as_fd(), PATIENCE).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.ended.signal(Deadly::Kill);
        self.wait_for_end();
        let _ = process::reap(self.pid);
    }
}

/// An agent's end of the link.
struct Agent {
    stream: UnixStream,
    reader: EventReader,
    instance: Instance,
    table: BTreeMap<RunId, Entry>,
}

impl Agent {
    fn new(dir: &Dir) -> Agent {
        let deadline = Instant::now() + PATIENCE;
        let mut stream = loop {
            match connect(dir) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "no launcher: {error}"),
            }
            std::thread::yield_now();
        };
        let mut hello = Vec::new();
        protocol::encode_hello(&mut hello);
        stream.write_all(&hello).unwrap();
        let reader = EventReader::default();
        let mut agent = Agent { stream, reader, instance: Instance(0), table: BTreeMap::new() };
        match agent.next() {
            LauncherEvent::Welcome { instance, table } => {
                agent.instance = instance;
                agent.table = table.into_iter().collect();
            }
            other => panic!("no welcome but {other:?}"),
        }
        agent
    }

    fn next(&mut self) -> LauncherEvent {
        let mut buffer = [0; 4_096];
        loop {
            if let Some(event) = self.reader.next().unwrap() {
                return event;
            }
            assert!(file::wait_readable(self.stream.as_fd(), PATIENCE).unwrap(), "no news");
            match self.stream.read(&mut buffer) {
                Ok(0) => return LauncherEvent::Gone,
                Ok(count) => self.reader.push(&buffer[..count]),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn send(&mut self, command: &LauncherCommand) {
        let mut bytes = Vec::new();
        protocol::encode_command(command, &mut bytes).unwrap();
        self.stream.set_nonblocking(false).unwrap();
        self.stream.write_all(&bytes).unwrap();
        self.stream.set_nonblocking(true).unwrap();
    }

    fn spawn(&mut self, order: SpawnOrder) {
        let instance = self.instance;
        self.send(&LauncherCommand::Spawn(SpawnOrder { instance, ..order }));
    }

    fn shell(&mut self, number: u64, text: &str) {
        self.spawn(order(number, Program::Shell(text.into())));
    }

    fn ack(&mut self, number: u64) {
        self.send(&LauncherCommand::Ack(run_id(number)));
    }

    /// News of the run, leaving others in the table.
    fn entry(&mut self, number: u64, wanted: impl Fn(&Entry) -> bool) -> Entry {
        loop {
            if let Some(entry) = self.table.get(&run_id(number)).filter(|entry| wanted(entry)) {
                return entry.clone();
            }
            match self.next() {
                LauncherEvent::Run(run, entry) => self.table.insert(run, entry),
                other => panic!("{other:?}"),
            };
        }
    }

    fn running(&mut self, number: u64) -> Process {
        match self.entry(number, |_| true) {
            Entry::Running(process, _) => process,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, number: u64) -> Exit {
        match self.entry(number, |entry| !matches!(entry, Entry::Running(..))) {
            Entry::Ended(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    fn failure(&mut self, number: u64) -> (Stage, i32) {
        match self.entry(number, |_| true) {
            Entry::Failed(failure) => (failure.stage, failure.errno),
            other => panic!("{other:?}"),
        }
    }
}

fn is_success(code: ExitCode) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
}

fn words(list: &[&str]) -> Program {
    Program::Words(list.iter().map(|word| word.to_string()).collect())
}

fn text(exit: &Exit) -> String {
    String::from_utf8(exit.tail.clone()).unwrap()
}

fn wait_until_gone(process: Process) {
    let Some(fd) = PidFd::open(Pid::new(process.pid).unwrap()).unwrap() else { return };
    let same = process::is_alive(process.pid, process.start_ticks, process.boot).unwrap();
    assert!(!same || file::wait_readable(fd.as_fd(), PATIENCE).unwrap(), "{process:?} lives on");
}

#[test]
fn codes_signals_and_output_come_back() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    for (number, program, status, output) in [
        (1, Program::Shell("echo out; echo err >&2; echo out; exit 3".into()), Status::Code(3), ""),
        (2, words(&["true"]), Status::Code(0), ""),
        (3, words(&["/bin/sh", "-c", "kill -USR1 $$"]), Status::Signal(10), ""),
        (4, words(&["printf", "%s|", "a b", "", "$HOME"]), Status::Code(0), "a b||$HOME|"),
        (5, Program::Shell("umask; ulimit -n; pwd".into()), Status::Code(0), ""),
    ] {
        agent.spawn(SpawnOrder { cwd: Some("/usr".into()), ..order(number, program) });
        let exit = agent.end(number);
        assert_eq!((exit.status, exit.cause), (status, Cause::Own), "run {number}");
        assert_eq!(exit.output_bytes, exit.tail.len() as u64);
        assert!(exit.finished >= exit.started && exit.max_rss_bytes > 0, "{exit:?}");
        let limit = limits::original_descriptors().unwrap().soft;
        match number {
            1 => assert_eq!(text(&exit), "out\nerr\nout\n", "in the order written"),
            5 => assert_eq!(text(&exit), format!("0022\n{limit}\n/usr\n")),
            _ => assert_eq!(text(&exit), output, "run {number}"),
        }
    }
}

#[test]
fn the_environment_is_made_from_nothing() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    let variables = |list: &[(&str, &str)]| {
        list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>()
    };
    let env = variables(&[("BELLWETHER_JOB_NAME", "x"), ("LANG", "de_DE.UTF-8")]);
    agent.spawn(SpawnOrder { env, ..order(1, words(&["env"])) });
    let mut lines: Vec<String> = text(&agent.end(1)).lines().map(String::from).collect();
    lines.sort();
    let user = user::look_up(user::uid()).unwrap().unwrap();
    let (name, home) = (user.name.to_str().unwrap(), user.home.to_str().unwrap());
    let wanted = [
        "BELLWETHER_JOB_NAME=x".to_string(),
        format!("HOME={home}"),
        "LANG=de_DE.UTF-8".into(),
        format!("LOGNAME={name}"),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
        "SHELL=/bin/sh".into(),
        format!("USER={name}"),
    ];
    assert_eq!(lines, wanted);
    // A PATH of the job's own is the one in which its program is looked up.
    let env = variables(&[("PATH", "/nowhere")]);
    agent.spawn(SpawnOrder { env, ..order(2, words(&["env"])) });
    assert_eq!(agent.failure(2), (Stage::Exec, 2));
}

#[test]
fn a_job_inherits_no_descriptor_and_leads_its_own_session() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    // Others are running, so that the launcher holds pipes that must not leak.
    agent.shell(1, "exec sleep 600");
    agent.running(1);
    agent.shell(2, "ls -l /proc/self/fd; cut -d ' ' -f 1,5,6 /proc/self/stat; echo $$");
    let said = text(&agent.end(2));
    let names: Vec<&str> = said
        .lines()
        .filter(|it| it.contains("->"))
        .filter_map(|it| it.split(" -> ").nth(1))
        .collect();
    assert_eq!(names.len(), 4, "{said}");
    assert_eq!(names[0], "/dev/null");
    assert!(names[1].starts_with("pipe:") && names[1] == names[2], "{said}");
    assert!(names[3].starts_with("/proc/"), "the listing's own: {said}");
    let mut rest = said.lines().skip_while(|line| line.contains("->") || line.starts_with("total"));
    let ids: Vec<&str> = rest.next().unwrap().split(' ').collect();
    let shell = rest.next().unwrap();
    assert_eq!(ids[1..], [shell, shell], "group and session are the shell's: {said}");
}

#[test]
fn starts_that_fail_say_at_which_step() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    let plain = rig.path("plain");
    std::fs::write(&plain, "x").unwrap();
    let long = "x".repeat(200_000);
    for (number, program, cwd, wanted) in [
        (1, words(&["no-such-program"]), None, (Stage::Exec, 2)),
        (2, words(&["/no/such"]), None, (Stage::Exec, 2)),
        (3, words(&[&plain]), None, (Stage::Exec, 13)),
        (4, words(&["true"]), Some("/no/such"), (Stage::Directory, 2)),
        (5, words(&["true"]), Some(plain.as_str()), (Stage::Directory, 20)),
        (6, words(&["true", "\0"]), None, (Stage::Refused, 0)),
        (7, words(&["true", &long]), None, (Stage::Refused, 0)),
        (8, words(&[]), None, (Stage::Refused, 0)),
    ] {
        agent.spawn(SpawnOrder { cwd: cwd.map(String::from), ..order(number, program) });
        assert_eq!(agent.failure(number), wanted, "run {number}");
    }
}

#[test]
fn a_job_that_ignores_term_is_killed_with_its_whole_group() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    let fifo = rig.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let script =
        format!("trap '' TERM; sleep 601 & echo $!; echo up > {fifo}; while :; do sleep 602; done");
    for (number, timeout_ms, cause) in [(1, 1_000, Cause::TimedOut), (2, 0, Cause::Killed)] {
        agent.spawn(SpawnOrder {
            timeout_ms,
            kill_grace_ms: 150,
            ..order(number, Program::Shell(script.clone()))
        });
        agent.running(number);
        assert_eq!(std::fs::read_to_string(&fifo).unwrap(), "up\n");
        if timeout_ms == 0 {
            agent.send(&LauncherCommand::Kill(run_id(number)));
        }
        let exit = agent.end(number);
        assert_eq!((exit.status, exit.cause), (Status::Signal(9), cause));
        assert!(exit.duration_ms >= timeout_ms + 150, "{exit:?}");
        let sleeper = Pid::new(text(&exit).trim().parse().unwrap()).unwrap();
        if let Some(fd) = PidFd::open(sleeper).unwrap() {
            assert!(file::wait_readable(fd.as_fd(), PATIENCE).unwrap(), "its child lives on");
        }
    }
}

#[test]
fn a_group_keeps_its_grace_when_only_its_leader_ends_on_term() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    let marks = rig.path("marks");
    // The shell ends at once; its child needs a while to clean up, and is let.
    let gentle = format!(
        "(trap 'sleep 0.3; echo clean >> {marks}; exit' TERM; echo up; while :; do sleep 0.05; \
         done) & wait"
    );
    let stubborn = "(trap '' TERM; echo up; while :; do sleep 0.05; done) & wait";
    for (number, script, grace) in [(1, gentle.as_str(), 20_000), (2, stubborn, 200)] {
        let order = order(number, Program::Shell(script.into()));
        agent.spawn(SpawnOrder { timeout_ms: 400, kill_grace_ms: grace, ..order });
        let process = agent.running(number);
        let exit = agent.end(number);
        assert_eq!((exit.status, exit.cause), (Status::Signal(15), Cause::TimedOut));
        let (low, high) = if number == 1 { (600, 10_000) } else { (600, 5_000) };
        assert!((low..high).contains(&exit.duration_ms), "run {number}: {exit:?}");
        wait_until_gone(process);
    }
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), "clean\n");
}

#[test]
fn two_hundred_at_once_all_start_and_all_end() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    let count = 200;
    for number in 1..=count {
        agent.shell(number, &format!("echo {number}"));
    }
    for number in 1..=count {
        assert_eq!(text(&agent.end(number)), format!("{number}\n"));
        agent.ack(number);
    }
    drop(agent);
    assert!(rig.agent().table.is_empty());
}

#[test]
fn the_next_agent_hears_what_happened_while_none_was_there() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    let fifo = rig.path("fifo");
    agent.shell(1, &format!("mkfifo {fifo}; echo up; read x < {fifo}; echo $x; exit 7"));
    agent.shell(2, "exec sleep 600");
    agent.shell(3, "exit 0");
    let (first, second) = (agent.running(1), agent.running(2));
    agent.end(3);
    let instance = agent.instance;
    drop(agent);
    // The job opens its end when it comes to it; this open waits for that.
    let until_made = Instant::now() + PATIENCE;
    while !std::fs::exists(&fifo).unwrap() {
        assert!(Instant::now() < until_made);
        std::thread::yield_now();
    }
    std::fs::write(&fifo, "bye\n").unwrap();
    wait_until_gone(first);

    let mut agent = rig.agent();
    assert_eq!(agent.instance, instance);
    assert_eq!(agent.table.keys().copied().collect::<Vec<_>>(), [1, 2, 3].map(run_id));
    assert_eq!(agent.running(2), second);
    let exit = agent.end(1);
    assert_eq!((exit.status, text(&exit).as_str()), (Status::Code(7), "up\nbye\n"));
    // A repeated order starts nothing and is answered with the entry.
    agent.table.clear();
    agent.shell(3, "echo again");
    assert_eq!(agent.end(3).output_bytes, 0);
    agent.shell(2, "echo again");
    assert_eq!(agent.running(2), second);
    // An order for another launcher is refused.
    agent.send(&LauncherCommand::Spawn(order(4, words(&["true"]))));
    assert_eq!(agent.next(), LauncherEvent::Refused(run_id(4)));
    agent.ack(1);
    agent.ack(2);
    agent.ack(3);
    drop(agent);
    let agent = rig.agent();
    assert_eq!(agent.table.keys().copied().collect::<Vec<_>>(), [run_id(2)], "alive, so kept");
}

#[test]
fn an_agent_that_does_not_read_costs_nothing_and_misses_nothing() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    let count = 100;
    for number in 1..=count {
        let order = order(number, Program::Shell("head -c 16384 /dev/zero".into()));
        agent.spawn(SpawnOrder { tail_max_bytes: 16_384, ..order });
    }
    // 1.6 MiB of news: more than the socket and the backlog take.
    for number in (1..=count).rev() {
        assert_eq!(agent.end(number).tail.len(), 16_384);
    }
}

#[test]
fn a_chatty_job_is_read_to_its_end_and_holds_up_nobody() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    agent.shell(1, "exec yes");
    agent.shell(2, "head -c 50000000 /dev/zero; echo end");
    agent.shell(3, "echo quick");
    assert_eq!(text(&agent.end(3)), "quick\n");
    let exit = agent.end(2);
    assert_eq!(exit.output_bytes, 50_000_004);
    assert_eq!(exit.tail.len(), 4_096);
    assert!(exit.tail.ends_with(b"\0end\n"));
    agent.send(&LauncherCommand::Kill(run_id(1)));
    assert_eq!(agent.end(1).cause, Cause::Killed);
}

#[test]
fn a_run_ends_with_its_leader_and_no_zombie_stays() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    // The grandchild holds the pipe and outlives the run; then it ends as an orphan.
    let fifo = rig.path("fifo");
    agent.shell(1, &format!("mkfifo {fifo}; (read x < {fifo}) & echo $!"));
    let exit = agent.end(1);
    assert_eq!(exit.status, Status::Code(0));
    let orphan = Pid::new(text(&exit).trim().parse().unwrap()).unwrap();
    let held = PidFd::open(orphan).unwrap().unwrap();
    std::fs::write(&fifo, "go\n").unwrap();
    assert!(file::wait_readable(held.as_fd(), PATIENCE).unwrap());
    // A later child is reaped in a later turn: so the orphan has been reaped before.
    agent.shell(2, "exit 0");
    agent.end(2);
    agent.shell(3, "exit 0");
    agent.end(3);
    assert_eq!(process::stat(orphan).unwrap(), None);
    let children = format!("/proc/{0}/task/{0}/children", rig.pid.get());
    assert_eq!(std::fs::read_to_string(children).unwrap(), "");
}

#[test]
fn a_stranger_to_the_protocol_is_dropped_and_the_next_served() {
    let rig = Rig::new();
    drop(rig.agent());
    let old = [4, 0, 0, 0, 1, 99, 0, 0, 0];
    for (bytes, wanted) in [
        (
            &old[..],
            Some(protocol::ProtocolError::Version { agent: 99, launcher: protocol::VERSION }),
        ),
        (&[0xff; 9][..], None),
        (&[0, 0, 0, 0, 200][..], None),
        (&[0, 0, 0, 0, 3][..], None),
    ] {
        let mut stream = connect(&rig.dir).unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut reader = EventReader::default();
        let mut answer = Vec::new();
        // Unread bytes make the close a reset, which ends the reading as well.
        let _ = stream.read_to_end(&mut answer);
        reader.push(&answer);
        assert_eq!(reader.next().err(), wanted, "{bytes:?}");
    }
    rig.agent();
}

#[test]
fn a_second_connection_waits_for_the_end_of_the_first() {
    let rig = Rig::new();
    let mut first = rig.agent();
    let mut second = connect(&rig.dir).unwrap();
    let mut hello = Vec::new();
    protocol::encode_hello(&mut hello);
    second.write_all(&hello).unwrap();
    first.shell(1, "exit 0");
    first.end(1);
    assert!(!file::wait_readable(second.as_fd(), Duration::ZERO).unwrap());
    drop(first);
    assert!(file::wait_readable(second.as_fd(), PATIENCE).unwrap());
}

#[test]
fn a_launcher_ends_when_idle_and_a_second_one_at_once() {
    let rig = Rig::with(Some(Duration::from_millis(100)));
    let mut agent = rig.agent();
    let settings = Settings { dir: rig.temp.path().join("data"), idle_exit: None };
    assert_eq!(
        spawn::in_fork(|| assert!(is_success(run(&settings)))),
        0,
        "leaves the directory to it"
    );
    agent.shell(1, "exit 0");
    agent.end(1);
    drop(agent);
    // Its end is not acknowledged, so the launcher stays.
    assert!(!file::wait_readable(rig.ended.as_fd(), Duration::from_millis(300)).unwrap());
    let mut agent = rig.agent();
    agent.ack(1);
    drop(agent);
    assert!(rig.wait_for_end());
    assert_eq!(rig.dir.metadata(SOCKET).unwrap(), None);
    assert_eq!(rig.dir.metadata(PID).unwrap(), None);
}

#[test]
fn term_ends_a_launcher_only_when_nothing_is_left() {
    let rig = Rig::new();
    let mut agent = rig.agent();
    agent.shell(1, "exec sleep 600");
    agent.running(1);
    rig.ended.signal(Deadly::Terminate).unwrap();
    agent.shell(2, "exit 0");
    agent.end(2);
    agent.send(&LauncherCommand::Kill(run_id(1)));
    agent.end(1);
    agent.ack(1);
    agent.ack(2);
    // Seen by an answer that comes after both.
    agent.send(&LauncherCommand::Spawn(order(3, words(&["true"]))));
    assert_eq!(agent.next(), LauncherEvent::Refused(run_id(3)));
    rig.ended.signal(Deadly::Terminate).unwrap();
    assert!(rig.wait_for_end());
}

#[test]
fn a_launcher_is_started_detached() {
    let temp = tempfile::tempdir().unwrap();
    let exe = temp.path().join("exe");
    // Written by another process: a descriptor open for writing here could be inherited by a
    // child of another test, and the kernel would say that the file is busy.
    let script =
        "#!/bin/sh\necho \"$@\"\ncut -d ' ' -f 6 /proc/$$/stat\necho $$\npwd\nls /proc/$$/fd\n";
    let made = std::process::Command::new("/bin/sh")
        .args(["-c", "printf %s \"$1\" > \"$2\"; chmod +x \"$2\"", "sh", script])
        .arg(&exe)
        .status();
    assert!(made.unwrap().success());
    let pid = start(&exe, temp.path()).unwrap();
    let fd = PidFd::open(pid).unwrap().unwrap();
    assert!(file::wait_readable(fd.as_fd(), PATIENCE).unwrap());
    assert!(process::reap(pid).unwrap().is_some());
    let log = std::fs::read_to_string(temp.path().join(LOG)).unwrap();
    let pid = pid.get();
    let dir = temp.path().canonicalize().unwrap();
    // Descriptor 10 is where the shell keeps its script.
    let wanted = format!("launcher --data-dir {}\n{pid}\n{pid}\n/\n0\n1\n10\n2\n", dir.display());
    assert_eq!(log, wanted);
    let error = start(Path::new("/no/such"), temp.path()).unwrap_err();
    assert_eq!((error.step, error.errno), (Step::Exec, 2));
}
