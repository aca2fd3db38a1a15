//! A running agent, and how it is started.

use super::client::{Client, Reply};
use super::keeper::Keeper;
use super::log::Log;
use super::process::{self, Pid};
use super::{DEADLINE, wait_until};
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The environment variable that marks an agent, with its id, for [`super::leftovers`].
pub(crate) const MARK: &str = "BELLWETHER_TEST";

/// What the line of the log contains that says where the agent listens.
const LISTENING: &str = r#"msg="listening""#;

/// What an agent is started with. The environment is empty but for the mark, `PATH`, and what
/// [`Builder::env`] adds.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    program: PathBuf,
    stand_in: Option<String>,
    through: Option<String>,
    flags: Vec<String>,
    env: Vec<(String, String)>,
    data_dir: Option<PathBuf>,
}

impl Builder {
    /// Adds a flag with its value, as in `.flag("--node-name", "a")`.
    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Adds arguments as they are.
    pub(crate) fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.flags.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// Sets an environment variable of the agent.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses `dir` as it is, there or not, instead of a fresh directory, which is removed in the
    /// end; `dir` is not.
    pub(crate) fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Runs this shell script instead of the agent; its `$1` is the data directory. For tests of
    /// the harness.
    pub(crate) fn stand_in(mut self, script: &str) -> Self {
        self.stand_in = Some(script.to_owned());
        self
    }

    /// Runs this shell script, which ends with `exec "$@"` and prepares what the agent inherits:
    /// limits, descriptors, user.
    pub(crate) fn through(mut self, script: &str) -> Self {
        self.through = Some(script.to_owned());
        self
    }

    /// Runs this program instead of the one that was built with the tests.
    pub(crate) fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Starts the agent and waits until it says that it fires jobs.
    #[track_caller]
    pub(crate) fn start(self) -> Agent {
        let mut agent = self.launch();
        agent.wait_until_listening();
        agent.wait_until_ready();
        agent
    }

    /// Starts the agent and waits for nothing.
    #[track_caller]
    pub(crate) fn launch(self) -> Agent {
        let home = tempfile::Builder::new().prefix("bellwether-test-").tempdir();
        let home = home.expect("a directory for the test can be made");
        let data_dir = self.data_dir.clone().unwrap_or_else(|| {
            let fresh = home.path().join("data");
            fs::create_dir(&fresh).expect("a data directory can be made");
            fresh
        });
        let log = Log::default();
        let mut agent =
            Agent { builder: self, home, data_dir, log, starts: Vec::new(), mark: 0, http: None };
        agent.spawn();
        agent
    }

    fn command(&self, home: &Path, data_dir: &Path, id: &str) -> Command {
        let mut command;
        match (&self.stand_in, &self.through) {
            (Some(script), _) => {
                command = Command::new("/bin/sh");
                command.args(["-c", script, "stand-in"]).arg(data_dir);
            }
            (None, through) => {
                command = match through {
                    None => Command::new(&self.program),
                    Some(script) => {
                        let mut shell = Command::new("/bin/sh");
                        shell.args(["-c", script, "through"]).arg(&self.program);
                        shell
                    }
                };
                command.args(["agent", "--http-addr", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
            }
        }
        command.args(&self.flags).current_dir(home).stdin(Stdio::null());
        command.env_clear().env(MARK, id).env("RUST_BACKTRACE", "1");
        // The last one is where a build with coverage leaves its counts.
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// An agent with its directory. Dropped, it is killed together with its launcher, its jobs and
/// whatever they started; if the test fails, its log is printed.
pub(crate) struct Agent {
    builder: Builder,
    /// One per start, the last one for the agent itself: what an earlier agent started lives on.
    starts: Vec<Keeper>,
    home: TempDir,
    data_dir: PathBuf,
    log: Log,
    /// The first line of the log that the current agent may have written.
    mark: usize,
    http: Option<SocketAddr>,
}

impl Agent {
    /// An agent with nothing special, ready to fire jobs.
    #[track_caller]
    pub(crate) fn start() -> Agent {
        Agent::builder().start()
    }

    /// An agent with more flags, environment or an existing directory.
    pub(crate) fn builder() -> Builder {
        Builder {
            program: PathBuf::from(env!("CARGO_BIN_EXE_bellwether")),
            stand_in: None,
            through: None,
            flags: Vec::new(),
            env: Vec::new(),
            data_dir: None,
        }
    }

    /// Kills the agent as a power cut would. Its launcher and its jobs live on.
    #[track_caller]
    pub(crate) fn kill9(&mut self) {
        self.signal(libc::SIGKILL);
        self.wait();
    }

    /// Asks the agent to stop (SIGTERM), waits until it has, and returns how it ended.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait()
    }

    /// Starts the agent again with the same flags over the same data, and waits until it is ready.
    /// Stops it first if it runs.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        if self.is_running() {
            self.stop();
        }
        self.spawn();
        self.wait_until_listening();
        self.wait_until_ready();
    }

    /// Starts the agent again after a [`Agent::kill9`] or [`Agent::stop`] and waits for nothing.
    #[track_caller]
    pub(crate) fn relaunch(&mut self) {
        assert!(!self.is_running(), "an agent that runs cannot be started again");
        self.spawn();
    }

    /// Adds a flag for the next start.
    pub(crate) fn add_flag(&mut self, name: &str, value: &str) {
        self.builder.flags.extend([name.to_owned(), value.to_owned()]);
    }

    /// Sends a signal to the agent, which must run.
    #[track_caller]
    pub(crate) fn signal(&mut self, signal: libc::c_int) {
        assert!(self.is_running(), "the agent has ended: {:?}", self.current().wait(DEADLINE));
        process::send(self.pid(), signal).expect("a running agent can be signalled");
    }

    /// Waits until the agent has ended, and returns how.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.current().wait(DEADLINE).expect("the agent ends within the deadline")
    }

    /// Whether the agent itself runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.current().wait(Duration::ZERO).is_none()
    }

    /// Whether the agent, since its last start, has said where it listens.
    pub(crate) fn is_listening(&self) -> bool {
        self.log.wait_for(self.mark, Duration::ZERO, |line| line.contains(LISTENING)).is_some()
    }

    /// Waits for the line that says where the agent listens.
    #[track_caller]
    pub(crate) fn wait_until_listening(&mut self) {
        let line = self.wait_for_log(LISTENING);
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("http="));
        let address = address.unwrap_or_else(|| panic!("no http= in {line}"));
        self.http = Some(address.trim_matches('"').parse().expect("an address and a port"));
    }

    /// Waits until the agent says that it fires jobs: `GET /ready` is 200.
    #[track_caller]
    pub(crate) fn wait_until_ready(&mut self) {
        let tcp = self.tcp();
        wait_until(DEADLINE, "the agent is ready", || {
            assert!(self.is_running(), "the agent has ended: {:?}", self.current().wait(DEADLINE));
            let reply = tcp.try_request("GET", "/ready", &[], None).ok()?;
            (reply.status == 200).then_some(())
        });
    }

    /// Waits, after [`Agent::relaunch`], until the agent is ready, if that is not known yet.
    #[track_caller]
    pub(crate) fn wait_until_ready_again(&mut self) {
        self.wait_until_listening();
        self.wait_until_ready();
    }

    /// Waits until the agent, since its last start, has logged a line that contains `part`, and
    /// returns the line.
    #[track_caller]
    pub(crate) fn wait_for_log(&mut self, part: &str) -> String {
        match self.log.wait_for(self.mark, DEADLINE, |line| line.contains(part)) {
            Some(line) => line,
            None => panic!("no line with {part} in the log"),
        }
    }

    /// Waits until the agent answers 200 to `GET /ready` on its Unix socket: for one whose log
    /// nobody can read.
    #[track_caller]
    pub(crate) fn wait_until_ready_on_socket(&mut self) {
        let unix = self.unix();
        wait_until(DEADLINE, "the agent is ready", || {
            assert!(self.is_running(), "the agent has ended: {:?}", self.current().wait(DEADLINE));
            let reply = unix.try_request("GET", "/ready", &[], None).ok()?;
            (reply.status == 200).then_some(())
        });
    }

    /// Waits until nobody writes the log any more, and returns all of it.
    #[track_caller]
    pub(crate) fn whole_log(&self) -> String {
        assert!(self.log.wait_for_end(DEADLINE), "somebody keeps the log open");
        self.log()
    }

    /// All that was logged, by every start.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// The agent's process number.
    pub(crate) fn pid(&self) -> Pid {
        self.starts.last().expect("it was started").program()
    }

    /// The launcher's process number, as the agent wrote it into its directory.
    #[track_caller]
    pub(crate) fn launcher_pid(&self) -> Pid {
        Self::pid_in(&self.data_dir.join("launcher.pid"))
    }

    #[track_caller]
    fn pid_in(file: &Path) -> Pid {
        wait_until(DEADLINE, "launcher.pid holds a number", || {
            fs::read_to_string(file).ok()?.trim().parse().ok()
        })
    }

    /// Kills the launcher and waits until it is gone. Its jobs live on.
    #[track_caller]
    pub(crate) fn kill9_launcher(&mut self) {
        let file = self.data_dir.join("launcher.pid");
        self.kill9_launcher_at(&file);
    }

    /// The same for a launcher whose directory is found under another path.
    #[track_caller]
    pub(crate) fn kill9_launcher_at(&mut self, file: &Path) {
        let pid = Self::pid_in(file);
        assert!(self.owns(pid), "process {pid} of launcher.pid is not of this agent");
        process::send(pid, libc::SIGKILL).expect("the launcher can be killed");
        wait_until(DEADLINE, "the launcher is gone", || (!process::alive(pid)).then_some(()));
    }

    /// Whether `pid` was started, however indirectly, by this agent.
    pub(crate) fn owns(&self, pid: Pid) -> bool {
        self.starts.iter().any(|keeper| process::descends(pid, keeper.ancestor()))
    }

    /// The processes of this agent that are neither itself nor its launcher: those of jobs, and
    /// what has ended and was not reaped.
    #[track_caller]
    pub(crate) fn others(&self) -> Vec<Pid> {
        let known = [self.pid(), self.launcher_pid()];
        let all = self.starts.iter().flat_map(|keeper| process::below(keeper.ancestor()));
        all.filter(|pid| !known.contains(pid)).collect()
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A directory for the test's own files, removed with the agent.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// What the agent's processes are found by; see [`super::leftovers`].
    pub(crate) fn id(&self) -> String {
        let name = self.home.path().file_name().expect("a directory has a name");
        name.to_string_lossy().into_owned()
    }

    /// The API over TCP.
    #[track_caller]
    pub(crate) fn tcp(&self) -> Client {
        Client::Tcp(self.http.expect("wait_until_listening() comes first"))
    }

    /// The API over the Unix socket.
    pub(crate) fn unix(&self) -> Client {
        Client::Unix(self.data_dir.join("api.sock"))
    }

    /// GET over TCP; likewise below. More is on [`Client`].
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.tcp().get(path)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: impl fmt::Display) -> Reply {
        self.tcp().post(path, body)
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, body: impl fmt::Display) -> Reply {
        self.tcp().patch(path, body)
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str, body: impl fmt::Display) -> Reply {
        self.tcp().delete(path, body)
    }

    #[track_caller]
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        self.tcp().raw(bytes)
    }

    #[track_caller]
    fn spawn(&mut self) {
        self.mark = self.log.len();
        self.http = None;
        let mut command = self.builder.command(self.home.path(), &self.data_dir, &self.id());
        let (reader, writer) = io::pipe().expect("a pipe for the log");
        let second = writer.try_clone().expect("a second end of the pipe");
        command.stdout(writer).stderr(second);
        match Keeper::start(command) {
            Ok(keeper) => self.starts.push(keeper),
            Err(error) => panic!("{:?} does not start: {error}", self.builder.program),
        }
        self.log.collect(reader);
    }

    fn current(&mut self) -> &mut Keeper {
        self.starts.last_mut().expect("it was started")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let id = self.id();
        self.starts.clear();
        let left = process::leftovers(&id);
        if std::thread::panicking() {
            self.log.wait_for_end(DEADLINE);
            eprintln!("---- log of agent {id}\n{}\n---- left over: {left:?}", self.log());
            return;
        }
        assert!(left.is_empty(), "the agent {id} left processes behind: {left:?}");
    }
}
