//! The side that owns processes: `bellwether launcher`.
//!
//! It starts what its agent orders, reads what comes out, enforces timeouts, and keeps each end
//! until the agent says that it is on disk. It decides nothing, writes nothing durable, and
//! outlives its agent: jobs go on, and the next agent hears of all of them. The order of a start is
//! vixie cron's `do_command`; the table of states is s6-supervise's idea.
//!
//! [`run`] is the process; [`start`] and [`connect`] are for the agent, with [`protocol`] between.

mod child;
mod link;
mod order_check;
pub mod protocol;
mod service;
mod slot;
mod table;
mod tail;
#[cfg(test)]
mod testing;

use std::ffi::CString;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

pub use order_check::{OrderError, PATH_MAX_BYTES, STRING_MAX_BYTES, check_order};
pub use table::RUNS_MAX;

use crate::sys::file::{Access, Dir};
use crate::sys::process::{self, Pid};
use crate::sys::spawn::{Image, StartError, Step};
use crate::sys::{clock, file, limits, signal, spawn, unix_socket, user};

/// The socket, in the data directory.
pub const SOCKET: &str = "launcher.sock";
/// The file whose lock says that a launcher lives.
pub const LOCK: &str = "launcher.lock";
/// The launcher's process id, for people and scripts.
pub const PID: &str = "launcher.pid";
/// What a launcher that was started by an agent has to say.
pub const LOG: &str = "launcher.log";
/// How long a launcher without agent and runs stays.
pub const IDLE_EXIT: Duration = Duration::from_secs(60);

/// How a launcher behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The data directory.
    pub dir: PathBuf,
    /// How long it stays without an agent while its table is empty; `None` is for ever, for a
    /// launcher under a unit of its own. [`IDLE_EXIT`] for a child of an agent.
    pub idle_exit: Option<Duration>,
}

/// Is the launcher until it is done: with success when nothing is left to do or another launcher
/// already serves the directory. To be called by a process that has one thread and no children.
pub fn run(settings: &Settings) -> ExitCode {
    // Orders carry the environment of jobs, and so what they keep secret.
    if let Err(error) = process::forbid_dumps() {
        say("error", format_args!("cannot forbid core dumps: {error}"));
        return ExitCode::FAILURE;
    }
    // An agent starts it by /proc/self/exe, whose last part would be its name. One that it keeps
    // costs a person some searching, and nothing else.
    let _ = process::set_name(c"bellwether");
    match service::Service::open(settings) {
        Ok(Some(mut service)) => match service.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say("error", format_args!("the loop cannot go on: {error}"));
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            say("info", format_args!("another launcher serves {}", settings.dir.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say("error", format_args!("cannot start in {}: {error}", settings.dir.display()));
            ExitCode::FAILURE
        }
    }
}

/// Starts a launcher for the data directory `dir` that outlives this process: in a session of its
/// own, with `launcher.log` as its output and the descriptor limit that this process was started
/// with. Returns when it executes `exe`, usually `/proc/self/exe`; its socket comes a moment later,
/// so [`connect`] is to be tried again on `NotFound` and `ConnectionRefused`. The caller is to reap
/// it, which `sys::process::reap` does without waiting.
///
/// # Errors
/// The step that failed.
pub fn start(exe: &Path, dir: &Path) -> Result<Pid, StartError> {
    let at = |step| {
        move |error: io::Error| StartError { step, errno: error.raw_os_error().unwrap_or(0) }
    };
    let open_files = || {
        let log = Dir::open(dir)?.file(LOG, Access::Append)?;
        // The launcher's own directory is `/`, so that it holds no file system busy.
        Ok((log, std::fs::File::open("/dev/null")?, dir.canonicalize()?))
    };
    let (log, null, dir) = open_files().map_err(at(Step::Descriptors))?;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|error| at(Step::Exec)(error.into()));
    let image = Image {
        paths: vec![text(exe.as_os_str().as_bytes())?],
        words: vec![
            c"bellwether".into(),
            c"launcher".into(),
            c"--data-dir".into(),
            text(dir.as_os_str().as_bytes())?,
        ],
        env: Vec::new(),
        directory: c"/".into(),
        or_root: true,
        umask: 0o077,
        descriptors: limits::original_descriptors().map_err(at(Step::Limits))?,
        signals: signal::Changed::now(),
    };
    let spawned = spawn::spawn(image, null.as_fd(), log.as_fd())?;
    match spawned.report.wait() {
        Ok(()) => Ok(spawned.pid),
        Err(error) => {
            // It exits right after its report, so this wait is short; otherwise it stays a zombie.
            while let Ok(None) = process::reap(spawned.pid) {
                std::thread::yield_now();
            }
            Err(error)
        }
    }
}

/// Connects to the launcher that serves `dir`; the stream does not block. The agent then sends
/// [`protocol::encode_hello`] and reads with a [`protocol::EventReader`].
///
/// # Errors
/// `NotFound` and `ConnectionRefused` when there is none; `PermissionDenied` when another user
/// listens there.
pub fn connect(dir: &Dir) -> io::Result<UnixStream> {
    let stream = unix_socket::connect(dir, SOCKET)?;
    if is_trusted(unix_socket::peer(&stream)?.uid) { Ok(stream) } else { Err(stranger()) }
}

/// Whether the process at the other end is of this user, or root's.
fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == user::uid()
}

fn stranger() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the other end belongs to another user")
}

/// Writes a line to standard error, and does not mind when nobody can read it.
fn say(level: &str, message: impl Display) {
    let wall = clock::now().wall;
    let (seconds, ms) = (wall.second().0, wall.0.rem_euclid(1_000));
    let line = crate::text::escape_control(&message.to_string());
    let line = format!("time={seconds}.{ms:03} level={level} launcher: {line}\n");
    let mut stderr = io::stderr();
    let _ = stderr.write_all(line.as_bytes());
}

/// Opens the lock file and takes its lock; `None` when another launcher holds it.
fn take_lock(dir: &Dir) -> io::Result<Option<std::fs::File>> {
    let lock = dir.file(LOCK, Access::Create)?;
    Ok(file::lock_exclusive(&lock)?.then_some(lock))
}

#[cfg(test)]
mod tests;
