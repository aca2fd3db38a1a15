//! A run's process as the launcher holds it: what it is made of, and the pipes to it.
//!
//! Output and errors go into one pipe, so that their order is kept. The pipe is read until the run
//! has ended and not beyond: a grandchild that has left the group and still holds it meets a closed
//! pipe then, as it would when its terminal goes away. So no run keeps a descriptor after its end.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use crate::ident::{BootId, RunId};
use crate::run::order::{Process, Program, SpawnOrder, Stage};
use crate::sys::process::{self, Pid};
use crate::sys::spawn::{self, Image, Report, Spawned, StartError, Step};
use crate::sys::{file, limits, signal, user};

/// Permissions that files made by a job do not get.
const JOB_UMASK: u32 = 0o022;
/// Where programs are looked up, unless the order says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// As cron has it: the login shell of a user without login would only refuse.
const SHELL: &str = "/bin/sh";
const DEFAULT_LANG: &str = "C.UTF-8";

/// What every process gets, looked up once.
#[derive(Debug)]
pub(super) struct Surroundings {
    null: File,
    descriptors: limits::Limit,
    signals: signal::Changed,
    env: Vec<(&'static str, String)>,
    home: String,
}

impl Surroundings {
    /// Those of the user that this process runs as.
    ///
    /// # Errors
    /// When `/dev/null` or the user database cannot be read.
    pub(super) fn new() -> io::Result<Surroundings> {
        let uid = user::uid();
        let known = user::look_up(uid)?;
        let (name, home) = known.map_or_else(
            || (uid.to_string(), "/".to_string()),
            |user| (user.name.to_string_lossy().into(), user.home.to_string_lossy().into()),
        );
        let env = vec![
            ("HOME", home.clone()),
            ("LANG", DEFAULT_LANG.into()),
            ("LOGNAME", name.clone()),
            ("PATH", DEFAULT_PATH.into()),
            ("SHELL", SHELL.into()),
            ("USER", name),
        ];
        let null = File::open("/dev/null")?;
        let (descriptors, signals) = (limits::original_descriptors()?, signal::Changed::now());
        Ok(Surroundings { null, descriptors, signals, env, home })
    }

    /// The image that `order`, which has been checked, asks for.
    fn image(&self, order: &SpawnOrder) -> io::Result<Image> {
        let mut env: BTreeMap<&str, &str> =
            self.env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        env.extend(order.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let (paths, words) = match &order.program {
            Program::Words(words) => {
                let program = words.first().map_or("", String::as_str);
                let path = env.get("PATH").copied().unwrap_or(DEFAULT_PATH);
                (candidates(program, path), words.clone())
            }
            Program::Shell(text) => {
                (vec![SHELL.into()], vec![SHELL.into(), "-c".into(), text.clone()])
            }
        };
        let directory = order.cwd.as_deref().unwrap_or(&self.home);
        Ok(Image {
            paths: texts(paths)?,
            words: texts(words)?,
            env: texts(env.iter().map(|(name, value)| format!("{name}={value}")))?,
            directory: CString::new(directory)?,
            // A user without a home can run jobs; one whose directory was asked for must have it.
            or_root: order.cwd.is_none(),
            umask: JOB_UMASK,
            descriptors: self.descriptors,
            signals: self.signals,
        })
    }

    /// Starts the process of `order`; the step that failed and its errno if it cannot. Does not
    /// wait for the execve(2).
    pub(super) fn start(&self, order: &SpawnOrder) -> Result<Child, (Stage, i32)> {
        let errno = |error: io::Error| error.raw_os_error().unwrap_or(0);
        let image = self.image(order).map_err(|error| (Stage::Refused, errno(error)))?;
        let (output, writer) = file::pipe().map_err(|error| (Stage::Pipe, errno(error)))?;
        let started = spawn::spawn(image, self.null.as_fd(), writer.as_fd());
        let Spawned { pid, report } = started.map_err(stage_of)?;
        Ok(Child { run: order.run, pid, output: Some(output), report: Some(report) })
    }
}

/// The files to try for `program`, as execvp(3) has it.
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.into()];
    }
    let file_in = |dir: &str| match dir {
        "" => program.to_string(),
        dir => format!("{dir}/{program}"),
    };
    path.split(':').map(file_in).collect()
}

fn texts<T: Into<Vec<u8>>>(list: impl IntoIterator<Item = T>) -> io::Result<Vec<CString>> {
    Ok(list.into_iter().map(CString::new).collect::<Result<_, _>>()?)
}

/// The agent's name for a step of the start.
pub(super) fn stage_of(error: StartError) -> (Stage, i32) {
    let stage = match error.step {
        Step::Pipe => Stage::Pipe,
        Step::Fork => Stage::Fork,
        Step::Session => Stage::Session,
        Step::Descriptors => Stage::Descriptors,
        Step::Limits => Stage::Limits,
        Step::Directory => Stage::Directory,
        Step::Exec => Stage::Exec,
    };
    (stage, error.errno)
}

/// A process and its pipes.
#[derive(Debug)]
pub(super) struct Child {
    /// The run.
    pub(super) run: RunId,
    /// The leader; while the run lingers, only the number of its group.
    pub(super) pid: Pid,
    /// Its output, until the end of file.
    pub(super) output: Option<File>,
    /// What it says about its start, until it has.
    pub(super) report: Option<Report>,
}

/// The children, by each of the names that the loop meets.
#[derive(Debug, Default)]
pub(super) struct Children {
    by_serial: HashMap<usize, Child>,
    by_run: HashMap<RunId, usize>,
    by_pid: HashMap<Pid, usize>,
    next_serial: usize,
}

impl Children {
    /// Takes a child in; returns its serial, which is never given twice.
    pub(super) fn insert(&mut self, child: Child) -> usize {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_run.insert(child.run, serial);
        self.by_pid.insert(child.pid, serial);
        self.by_serial.insert(serial, child);
        serial
    }

    /// The child of that serial.
    pub(super) fn get_mut(&mut self, serial: usize) -> Option<&mut Child> {
        self.by_serial.get_mut(&serial)
    }

    /// The serial of the child with that process id, until it was reaped.
    pub(super) fn of_pid(&self, pid: Pid) -> Option<usize> {
        self.by_pid.get(&pid).copied()
    }

    /// The serial of the run's child.
    pub(super) fn serial_of(&self, run: RunId) -> Option<usize> {
        self.by_run.get(&run).copied()
    }

    /// The process id of the run, and whether it has not been reaped.
    pub(super) fn pid_of(&self, run: RunId) -> Option<(Pid, bool)> {
        let serial = self.by_run.get(&run)?;
        let pid = self.by_serial.get(serial)?.pid;
        Some((pid, self.by_pid.get(&pid) == Some(serial)))
    }

    /// The process of the run, found in `boot`, by all that tells it from others.
    pub(super) fn process_of(&self, run: RunId, boot: BootId) -> Option<Process> {
        let (pid, _) = self.pid_of(run)?;
        // It is there until it is reaped, even if it has ended; and a leader that was reaped while
        // others of its group live is not alive, whatever is said of it.
        let known = process::stat(pid).ok().flatten();
        let start_ticks = known.map_or(0, |stat| stat.start_ticks);
        Some(Process { pid: pid.get(), start_ticks, boot })
    }

    /// The process has been reaped: its number may come to mean another one.
    pub(super) fn reaped(&mut self, pid: Pid) {
        self.by_pid.remove(&pid);
    }

    /// Closes what is held for a run.
    pub(super) fn release(&mut self, run: RunId) {
        if let Some(child) = self.by_run.remove(&run).and_then(|it| self.by_serial.remove(&it)) {
            // Only if it is still this child's: a number is given out again.
            if self.by_pid.get(&child.pid).is_some_and(|it| !self.by_serial.contains_key(it)) {
                self.by_pid.remove(&child.pid);
            }
        }
        if self.by_serial.is_empty() {
            *self = Children { next_serial: self.next_serial, ..Children::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_as_execvp_does() {
        for (program, path, wanted) in [
            ("ls", "/usr/bin:/bin", &["/usr/bin/ls", "/bin/ls"][..]),
            ("ls", "", &["ls"]),
            ("ls", ":/bin", &["ls", "/bin/ls"]),
            ("./ls", "/bin", &["./ls"]),
            ("/bin/ls", "/usr/bin", &["/bin/ls"]),
        ] {
            assert_eq!(candidates(program, path), wanted, "{program} {path}");
        }
    }
}
