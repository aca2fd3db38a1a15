//! Processes: waiting for children, signalling groups, and what /proc tells of others.

use std::ffi::CStr;
use std::io::{self, Read};
use std::num::NonZeroI32;

use super::errno;
use super::signal::Deadly;
use crate::ident::BootId;

/// The number of a process: positive, so that it never means a group or everybody in kill(2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// The process numbered `pid`; `None` for 0 and for what the kernel never gives out.
    pub fn new(pid: u32) -> Option<Pid> {
        i32::try_from(pid).ok().and_then(NonZeroI32::new).map(Pid)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get().unsigned_abs()
    }

    pub(super) fn raw(self) -> libc::pid_t {
        self.0.get()
    }
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// A child that has ended, and what it and its own waited-for children used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reaped {
    /// How it ended.
    pub ended: Ended,
    /// Processor time, user and system, in milliseconds.
    pub cpu_ms: u64,
    /// The largest resident set of one process, in bytes; of a child that has shared the memory of
    /// this process until its execve(2), no less than this process's own had been by then.
    pub max_rss_bytes: u64,
}

/// Longest line of /proc/PID/stat: some fifty numbers of at most twenty digits, and a name.
const STAT_MAX_BYTES: usize = 2_048;

/// A line of /proc/PID/stat, proc_pid_stat(5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Whether it has ended and nobody has waited for it.
    pub is_zombie: bool,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// When it started, in clock ticks since the system's start.
    pub start_ticks: u64,
}

/// A child that has ended and is still to be reaped: until then its number means nobody else.
///
/// # Errors
/// Those of waitid(2); having no child at all is none.
pub fn next_ended() -> io::Result<Option<Pid>> {
    // SAFETY: a siginfo_t is numbers only, for all of which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let answer = errno::retry(|| {
        // SAFETY: the kernel writes one siginfo_t into `info`.
        errno::check(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) })
    });
    match answer {
        Ok(_) => {
            // SAFETY: waitid(2) has filled the part of a SIGCHLD, or left it zero.
            let pid = unsafe { info.si_pid() };
            Ok(u32::try_from(pid).ok().and_then(Pid::new))
        }
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reaps the child `pid` if it has ended; does not wait.
///
/// # Errors
/// Those of wait4(2): `ECHILD` when it is no child of this process.
pub fn reap(pid: Pid) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: a rusage is numbers only, for all of which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let found = errno::retry(|| {
        let (status_at, usage_at) = (&raw mut status, &raw mut usage);
        // SAFETY: the kernel writes one number and one rusage into them.
        errno::check(unsafe { libc::wait4(pid.raw(), status_at, libc::WNOHANG, usage_at) })
    })?;
    if found == 0 {
        return Ok(None);
    }
    let ended = if libc::WIFSIGNALED(status) {
        Ended::Signal(libc::WTERMSIG(status))
    } else {
        Ended::Code(libc::WEXITSTATUS(status))
    };
    Ok(Some(Reaped {
        ended,
        cpu_ms: milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime),
        max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1_024),
    }))
}

/// Sends the signal to every process of the group that the child `leader` leads, or to it alone
/// while it has not made its group yet. The caller has not reaped the leader, or knows that others
/// are in the group: so the number cannot have come to mean another one. Returns whether anybody
/// was there.
///
/// # Errors
/// Those of kill(2).
pub fn signal_group(leader: Pid, signal: Deadly) -> io::Result<bool> {
    assert!(leader.get() > 1, "kill(-1) would reach every process");
    for target in [-leader.raw(), leader.raw()] {
        // SAFETY: takes numbers only.
        match errno::check(unsafe { libc::kill(target, signal.number()) }) {
            Ok(_) => return Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether the group numbered `leader` has a member, be it one that has ended and was not waited
/// for. Cheap, unlike [`group_outlives`].
pub fn group_exists(leader: Pid) -> bool {
    // SAFETY: takes numbers only; signal 0 is sent to nobody.
    unsafe { libc::kill(-leader.raw(), 0) == 0 }
}

/// What /proc tells of `pid`; `None` when there is no such process.
///
/// # Errors
/// When /proc cannot be read or says something else.
pub fn stat(pid: Pid) -> io::Result<Option<Stat>> {
    let mut line = [0; STAT_MAX_BYTES];
    // One read: the kernel does not say how long the line is, and a read that grows step by step
    // has it made anew for each of them.
    let read = std::fs::File::open(format!("/proc/{}/stat", pid.get()))
        .and_then(|mut file| errno::retry(|| file.read(&mut line)));
    let text = match read {
        Ok(length) => &line[..length],
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A process that ends while its file is open.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(error) => return Err(error),
    };
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "not a line of /proc/PID/stat");
    parse_stat(text).map(Some).ok_or_else(unreadable)
}

/// Whether the process with that number, start time and boot is alive. One that has ended and was
/// not waited for counts as ended.
///
/// # Errors
/// Those of [`stat`] and [`super::clock::boot_id`].
pub fn is_alive(pid: u32, start_ticks: u64, boot: BootId) -> io::Result<bool> {
    if boot != super::clock::boot_id()? {
        return Ok(false);
    }
    let Some(pid) = Pid::new(pid) else { return Ok(false) };
    let found = stat(pid)?;
    Ok(found.is_some_and(|stat| stat.start_ticks == start_ticks && !stat.is_zombie))
}

/// Whether processes are left in the group and session that `leader`, now ended, has led. While
/// one is, no other process can get its number. Reads all of /proc.
///
/// # Errors
/// When /proc cannot be read.
pub fn group_outlives(leader: Pid) -> io::Result<bool> {
    if stat(leader)?.is_some_and(|stat| !stat.is_zombie) {
        return Ok(false); // The number belongs to another process by now.
    }
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::new) else {
            continue;
        };
        // A process may vanish while it is looked at; that is no error of the scan.
        let Ok(Some(found)) = stat(pid) else { continue };
        if found.group == leader.get() && found.session == leader.get() && !found.is_zombie {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives this process the name by which ps(1) and pkill(1) know it, at most 15 bytes.
///
/// # Errors
/// Those of prctl(2).
pub fn set_name(name: &CStr) -> io::Result<()> {
    // SAFETY: the kernel reads a text that ends with NUL and lives through the call.
    errno::check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }).map(drop)
}

/// Makes this process the parent of descendants whose own parent has ended, so that it can reap
/// them (PR_SET_CHILD_SUBREAPER).
///
/// # Errors
/// Those of prctl(2).
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: takes numbers only.
    errno::check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Keeps other processes of this user from reading the memory of this one, and the kernel from
/// writing it into a core file.
///
/// # Errors
/// Those of prctl(2).
pub fn forbid_dumps() -> io::Result<()> {
    // SAFETY: takes numbers only.
    errno::check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// What sched_setattr(2) takes, in its first version.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// The shortest turn that the kernel gives.
const TURN_NS: u64 = 100_000;
/// SCHED_FLAG_RESET_ON_FORK of linux/sched.h.
const RESET_ON_FORK: u64 = 1;

/// Asks for short turns on the processor for the calling thread, so that it gets one soon after
/// each time it has waited, however busy the machine is; its share stays what it was. Threads and
/// children that it starts get turns as long as everybody's, and no better niceness than 0. For a
/// thread that often waits and computes little.
///
/// # Errors
/// Those of sched_getattr(2) and sched_setattr(2): without harm, for it is only a wish. Kernels
/// before 6.12 take it and do nothing.
pub fn ask_for_short_turns() -> io::Result<()> {
    const SIZE: u32 = size_of::<SchedAttr>() as u32;
    // SAFETY: a SchedAttr is numbers only, for all of which zero is a value.
    let mut attr: SchedAttr = unsafe { std::mem::zeroed() };
    let attr_at = &raw mut attr;
    // SAFETY: the kernel writes at most `SIZE` bytes into `attr`, which is what it holds.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, attr_at, SIZE, 0) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    if attr.policy != libc::SCHED_OTHER.cast_unsigned() {
        // Somebody has chosen how this process is scheduled.
        return Ok(());
    }
    attr = SchedAttr { size: SIZE, flags: RESET_ON_FORK, runtime_ns: TURN_NS, ..attr };
    // SAFETY: the kernel reads `SIZE` bytes from `attr`.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name stands in brackets and may hold anything, brackets and spaces too: the last closing
    // bracket ends it.
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?; // Field 3.
    let group = fields.nth(1)?.parse().ok()?; // Field 5.
    let session = fields.next()?.parse().ok()?; // Field 6.
    let start_ticks = fields.nth(15)?.parse().ok()?; // Field 22.
    Some(Stat { is_zombie: matches!(state, "Z" | "X" | "x"), group, session, start_ticks })
}

fn milliseconds(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(micros / 1_000)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sys::clock;

    #[test]
    fn a_stat_line_is_read_whatever_the_name_of_the_program() {
        let rest = "Z 1 20 30 0 -1 4 5 6 7 8 9 10 11 12 13 14 15 16 98765 0 0";
        for name in ["sh", "a b", "a) R 9 9 9", "", "\u{fffd}("] {
            let found = parse_stat(format!("7 ({name}) {rest}\n").as_bytes()).unwrap();
            let wanted = Stat { is_zombie: true, group: 20, session: 30, start_ticks: 98_765 };
            assert_eq!(found, wanted, "{name}");
        }
        for broken in ["", "7", "7 (sh", "7 (sh) R 1 2", "7 (sh) R 1 x 3"] {
            assert_eq!(parse_stat(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn short_turns_are_granted_and_not_inherited() {
        let of = |pid: i32| {
            // SAFETY: as in the function.
            let mut attr: SchedAttr = unsafe { std::mem::zeroed() };
            let size = size_of::<SchedAttr>();
            // SAFETY: as in the function.
            let got =
                unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut attr, size, 0) };
            assert_eq!(got, 0);
            (attr.policy, attr.nice, attr.flags, attr.runtime_ns)
        };
        let asked = std::thread::spawn(move || {
            let before = of(0);
            ask_for_short_turns().unwrap();
            let after = of(0);
            assert_eq!((before.0, before.1), (after.0, after.1), "policy and niceness stay");
            assert_eq!(after.2, RESET_ON_FORK);
            let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let inherited = of(i32::try_from(child.id()).unwrap());
            drop(child.wait_with_output());
            (before, inherited)
        });
        let (before, inherited) = asked.join().unwrap();
        assert_eq!(before, inherited, "a child is as if nobody had asked");
    }

    #[test]
    fn a_process_is_alive_until_it_has_ended_even_if_nobody_has_waited() {
        let boot = clock::boot_id().unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let ticks = stat(Pid::new(child.id()).unwrap()).unwrap().unwrap().start_ticks;
        assert!(is_alive(child.id(), ticks, boot).unwrap());
        assert!(!is_alive(child.id(), ticks + 1, boot).unwrap(), "another start time");
        assert!(!is_alive(child.id(), ticks, BootId(!boot.0)).unwrap(), "another boot");
        let held = super::super::pidfd::PidFd::open(Pid::new(child.id()).unwrap());
        let held = held.unwrap().unwrap();
        drop(child.stdin.take());
        let limit = std::time::Duration::from_secs(10);
        assert!(super::super::file::wait_readable(std::os::fd::AsFd::as_fd(&held), limit).unwrap());
        assert!(!is_alive(child.id(), ticks, boot).unwrap(), "a zombie");
        child.wait().unwrap();
        assert!(!is_alive(child.id(), ticks, boot).unwrap());
        assert!(!is_alive(0, ticks, boot).unwrap());
        assert!(!is_alive(u32::MAX, ticks, boot).unwrap());
    }
}
