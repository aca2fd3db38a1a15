//! What an agent tells a launcher, and what it hears back: plain data, with the bytes of those
//! parts that are also kept in the runs log, or that a leader tells.
//!
//! The launcher owns processes and decides nothing; so everything that a spawn depends on is in
//! the [`SpawnOrder`], and everything that is known of an end is in the [`Exit`].

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{BootId, Instance, RunId};
use crate::time::Wall;

/// Most words in the program of an order.
pub const WORDS_MAX: usize = 4_096;
/// Most variables in the environment of an order.
pub const VARIABLES_MAX: usize = 1_024;
/// Most bytes of output that an [`Exit`] carries.
pub const TAIL_MAX_BYTES: usize = 16 * 1024;

/// What to execute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Program {
    /// A program, looked up in the order's `PATH` unless it holds a slash, and its arguments.
    Words(Vec<String>),
    /// A text for `/bin/sh -c`.
    Shell(String),
}

/// One process to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpawnOrder {
    /// The run; a launcher that has it in its table answers with the entry and starts nothing.
    pub run: RunId,
    /// The launcher process that the order is meant for; any other refuses it.
    pub instance: Instance,
    /// What to execute.
    pub program: Program,
    /// Variables of the job and of bellwether; the launcher adds `PATH HOME USER LOGNAME SHELL
    /// LANG` where they are missing, and nothing else reaches the process.
    pub env: Vec<(String, String)>,
    /// Where to start; the home of the user when `None`.
    pub cwd: Option<String>,
    /// How long it may run before it is terminated, in milliseconds; 0 is without limit.
    pub timeout_ms: u64,
    /// How long after TERM it is killed, in milliseconds.
    pub kill_grace_ms: u64,
    /// How many of the last bytes of output to keep, at most [`TAIL_MAX_BYTES`].
    pub tail_max_bytes: u32,
}

/// A process, named so that a reused number is not taken for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Process {
    /// The process id, also that of its session and group.
    pub pid: u32,
    /// When it started, in clock ticks since the system's start (field 22 of proc_pid_stat(5)).
    pub start_ticks: u64,
    /// The start of the system in which both numbers are valid.
    pub boot: BootId,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// On whose account it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Its own.
    Own,
    /// The launcher terminated it when its timeout had passed.
    TimedOut,
    /// The agent had it killed.
    Killed,
}

/// All that is known of a process that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// How it ended.
    pub status: Status,
    /// On whose account.
    pub cause: Cause,
    /// When it was started, by the launcher's wall clock.
    pub started: Wall,
    /// When it ended, by the launcher's wall clock.
    pub finished: Wall,
    /// How long it ran, by the monotonic clock, in milliseconds.
    pub duration_ms: u64,
    /// Processor time of it and its waited-for children, user and system, in milliseconds.
    pub cpu_ms: u64,
    /// The largest resident set of one of its processes, in bytes; what is less than the launcher's
    /// own is told as that.
    pub max_rss_bytes: u64,
    /// How many bytes it wrote in all.
    pub output_bytes: u64,
    /// The last of them.
    pub tail: Vec<u8>,
}

/// The step at which a start failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Making pipes for output and errors.
    Pipe,
    /// fork(2).
    Fork,
    /// A session of its own.
    Session,
    /// Standard input, output and error.
    Descriptors,
    /// Resource limits.
    Limits,
    /// Supplementary groups, group or user.
    User,
    /// The working directory.
    Directory,
    /// execve(2).
    Exec,
    /// The launcher's table is full, or the order breaks one of its limits.
    Refused,
}

/// Why no process came to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartFailure {
    /// The step.
    pub stage: Stage,
    /// Its errno(3), 0 when none applies.
    pub errno: i32,
    /// When, by the launcher's wall clock.
    pub at: Wall,
}

/// One run in a launcher's table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A process that has not been reaped, and when it was started.
    Running(Process, Wall),
    /// Ended, and not yet acknowledged by the agent.
    Ended(Exit),
    /// Never started, and not yet acknowledged by the agent.
    Failed(StartFailure),
}

/// What an agent tells its launcher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LauncherCommand {
    /// Start this process.
    Spawn(SpawnOrder),
    /// Terminate a run: TERM to its group, then KILL after the grace of its order.
    Kill(RunId),
    /// The end of this run is on disk: forget it.
    Ack(RunId),
}

/// What an agent hears of its launcher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LauncherEvent {
    /// A connection stands: who it is, and all that is in its table.
    Welcome {
        /// The launcher process.
        instance: Instance,
        /// Its table, in order of run.
        table: Vec<(RunId, Entry)>,
    },
    /// News of a run, or the answer to a repeated spawn.
    Run(RunId, Entry),
    /// The order named another instance.
    Refused(RunId),
    /// The connection has ended.
    Gone,
}

impl SpawnOrder {
    /// Writes what [`SpawnOrder::decode`] reads.
    pub fn encode(&self, out: &mut Encoder) {
        self.run.encode(out);
        out.u64(self.instance.0);
        match &self.program {
            Program::Words(words) => {
                out.u8(0).list(words.iter(), |out, word| {
                    out.str(word);
                });
            }
            Program::Shell(text) => {
                out.u8(1).str(text);
            }
        }
        out.list(self.env.iter(), |out, (name, value)| {
            out.str(name).str(value);
        });
        out.option(self.cwd.as_deref(), |out, cwd| {
            out.str(cwd);
        });
        out.u64(self.timeout_ms).u64(self.kill_grace_ms).u32(self.tail_max_bytes);
    }

    /// Reads an order. Whether it can be carried out is not looked at.
    ///
    /// # Errors
    /// When the bytes are too few, or are none.
    pub fn decode(input: &mut Decoder<'_>) -> Result<SpawnOrder, DecodeError> {
        let text = |input: &mut Decoder<'_>| input.str().map(String::from);
        Ok(SpawnOrder {
            run: RunId::decode(input)?,
            instance: Instance(input.u64()?),
            program: match input.u8()? {
                0 => Program::Words(input.list(text)?),
                1 => Program::Shell(text(input)?),
                _ => return Err(DecodeError::Invalid("program")),
            },
            env: input.list(|input| Ok((text(input)?, text(input)?)))?,
            cwd: input.option(text)?,
            timeout_ms: input.u64()?,
            kill_grace_ms: input.u64()?,
            tail_max_bytes: input.u32()?,
        })
    }
}

impl Process {
    /// Writes the 20 bytes that [`Process::decode`] reads.
    pub fn encode(&self, out: &mut Encoder) {
        out.u32(self.pid).u64(self.start_ticks).u64(self.boot.0);
    }

    /// Reads a process.
    ///
    /// # Errors
    /// When the bytes are too few.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Process, DecodeError> {
        Ok(Process { pid: input.u32()?, start_ticks: input.u64()?, boot: BootId(input.u64()?) })
    }
}

impl Exit {
    /// Writes what [`Exit::decode`] reads.
    pub fn encode(&self, out: &mut Encoder) {
        let (kind, number) = match self.status {
            Status::Code(code) => (0, code),
            Status::Signal(signal) => (1, signal),
        };
        let cause = match self.cause {
            Cause::Own => 0,
            Cause::TimedOut => 1,
            Cause::Killed => 2,
        };
        out.u8(kind).i32(number).u8(cause).i64(self.started.0).i64(self.finished.0);
        out.u64(self.duration_ms).u64(self.cpu_ms).u64(self.max_rss_bytes).u64(self.output_bytes);
        out.bytes(&self.tail);
    }

    /// Reads an exit.
    ///
    /// # Errors
    /// When the bytes are too few, a value is none of the known ones, or the tail is too long.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Exit, DecodeError> {
        let status = match (input.u8()?, input.i32()?) {
            (0, code) => Status::Code(code),
            (1, signal) => Status::Signal(signal),
            _ => return Err(DecodeError::Invalid("exit status")),
        };
        let cause = match input.u8()? {
            0 => Cause::Own,
            1 => Cause::TimedOut,
            2 => Cause::Killed,
            _ => return Err(DecodeError::Invalid("cause of an exit")),
        };
        let exit = Exit {
            status,
            cause,
            started: Wall(input.i64()?),
            finished: Wall(input.i64()?),
            duration_ms: input.u64()?,
            cpu_ms: input.u64()?,
            max_rss_bytes: input.u64()?,
            output_bytes: input.u64()?,
            tail: input.bytes()?.to_vec(),
        };
        if exit.tail.len() > TAIL_MAX_BYTES {
            return Err(DecodeError::Invalid("length of an output tail"));
        }
        Ok(exit)
    }
}

impl StartFailure {
    /// Writes what [`StartFailure::decode`] reads.
    pub fn encode(&self, out: &mut Encoder) {
        out.u8(self.stage.code()).i32(self.errno).i64(self.at.0);
    }

    /// Reads a failure.
    ///
    /// # Errors
    /// When the bytes are too few or the stage is unknown.
    pub fn decode(input: &mut Decoder<'_>) -> Result<StartFailure, DecodeError> {
        let stage = Stage::from_code(input.u8()?).ok_or(DecodeError::Invalid("stage"))?;
        Ok(StartFailure { stage, errno: input.i32()?, at: Wall(input.i64()?) })
    }
}

impl Stage {
    /// The number under which this step is kept on disk; never reused.
    pub fn code(self) -> u8 {
        match self {
            Stage::Pipe => 0,
            Stage::Fork => 1,
            Stage::Session => 2,
            Stage::Descriptors => 3,
            Stage::Limits => 4,
            Stage::User => 5,
            Stage::Directory => 6,
            Stage::Exec => 7,
            Stage::Refused => 8,
        }
    }

    /// The step of that number.
    pub fn from_code(code: u8) -> Option<Stage> {
        const ALL: [Stage; 9] = [
            Stage::Pipe,
            Stage::Fork,
            Stage::Session,
            Stage::Descriptors,
            Stage::Limits,
            Stage::User,
            Stage::Directory,
            Stage::Exec,
            Stage::Refused,
        ];
        ALL.get(usize::from(code)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_kept_on_disk_are_read_as_they_were_written() {
        for (status, cause) in [
            (Status::Code(0), Cause::Own),
            (Status::Code(255), Cause::TimedOut),
            (Status::Signal(9), Cause::Killed),
        ] {
            let exit = Exit {
                status,
                cause,
                started: Wall(5),
                finished: Wall(-7),
                duration_ms: 1,
                cpu_ms: 2,
                max_rss_bytes: 3,
                output_bytes: 4,
                tail: b"bye\n".to_vec(),
            };
            let mut out = Encoder::new();
            exit.encode(&mut out);
            let bytes = out.into_bytes();
            assert_eq!(Exit::decode(&mut Decoder::new(&bytes)), Ok(exit));
        }
        for code in 0..=u8::MAX {
            assert!(Stage::from_code(code).is_none_or(|stage| stage.code() == code), "{code}");
        }
    }

    #[test]
    fn a_tail_above_its_limit_is_refused() {
        let exit = |length| Exit {
            status: Status::Code(0),
            cause: Cause::Own,
            started: Wall(0),
            finished: Wall(0),
            duration_ms: 0,
            cpu_ms: 0,
            max_rss_bytes: 0,
            output_bytes: 0,
            tail: vec![b'x'; length],
        };
        for (length, fits) in [(TAIL_MAX_BYTES, true), (TAIL_MAX_BYTES + 1, false)] {
            let mut out = Encoder::new();
            exit(length).encode(&mut out);
            let bytes = out.into_bytes();
            assert_eq!(Exit::decode(&mut Decoder::new(&bytes)).is_ok(), fits, "{length}");
        }
    }
}
