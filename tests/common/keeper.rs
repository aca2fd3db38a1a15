//! A small process between the test and the agent that nothing below it can escape.
//!
//! The keeper is a child subreaper (prctl(2)): whatever loses its parent below it, the launcher of
//! a killed agent or a daemon that forked twice, becomes its child. So it reaps as init would, and
//! when its life line closes, because the test let go of it or was killed, it kills its children
//! until it has none. One keeper per started agent keeps tests in one process apart, and leaves
//! the test's own children to std. Needs Linux 5.9 (close_range) with CONFIG_PROC_CHILDREN.

use super::process::Pid;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long the keeper may take to kill what is below it.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// A started program with everything that descends from it. Dropped, it kills them all.
pub(crate) struct Keeper {
    child: Child,
    program: Pid,
    exit: Option<ExitStatus>,
    reports: PipeReader,
    /// The keeper sees this pipe close when we drop it, and also when this process is killed.
    life_line: Option<PipeWriter>,
}

impl Keeper {
    /// Starts `command` below a keeper, each of the two in a session of its own.
    pub(crate) fn start(mut command: Command) -> io::Result<Keeper> {
        let (keeper_life, life_line) = io::pipe()?;
        let (mut reports, keeper_reports) = io::pipe()?;
        let (life, report) = (keeper_life.as_raw_fd(), keeper_reports.as_raw_fd());
        // SAFETY: `split` and all it calls only make system calls on integers and on memory of
        // their own stack; none allocates or takes a lock, so it may run after a fork.
        unsafe { command.pre_exec(move || split(life, report)) };
        let child = command.spawn()?;
        drop((keeper_life, keeper_reports));
        let program = read_number(&mut reports)?;
        Ok(Keeper { child, program, exit: None, reports, life_line: Some(life_line) })
    }

    /// The process number of the program (of the agent, not of the keeper).
    pub(crate) fn program(&self) -> Pid {
        self.program
    }

    /// The process number of the keeper: the ancestor of all that was started.
    pub(crate) fn ancestor(&self) -> Pid {
        Pid::try_from(self.child.id()).expect("process numbers are small")
    }

    /// How the program ended; `None` when it has not before `deadline` has passed.
    pub(crate) fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        if self.exit.is_none() && readable(&self.reports, deadline) {
            let status = read_number(&mut self.reports).expect("the keeper reports before it ends");
            self.exit = Some(ExitStatus::from_raw(status));
        }
        self.exit
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.life_line = None;
        let end = Instant::now() + END_DEADLINE;
        // The keeper's end closes the pipe.
        loop {
            if !readable(&self.reports, end.saturating_duration_since(Instant::now())) {
                eprintln!("keeper {} cannot kill its children", self.child.id());
                return;
            }
            if read_number(&mut self.reports).is_err() {
                break;
            }
        }
        let _ = self.child.wait();
    }
}

fn read_number(pipe: &mut PipeReader) -> io::Result<i32> {
    let mut bytes = [0; 4];
    pipe.read_exact(&mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

fn readable(pipe: &PipeReader, deadline: Duration) -> bool {
    let mut polled = [pollfd(pipe.as_raw_fd())];
    poll(&mut polled, i32::try_from(deadline.as_millis()).unwrap_or(i32::MAX));
    polled[0].revents != 0
}

// From here on everything but `poll` and `pollfd` runs in the keeper, between fork and its end.

/// Forks. Returns in the child, which goes on to become the program; the parent becomes the keeper
/// and never returns.
fn split(life: RawFd, reports: RawFd) -> io::Result<()> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes one integer.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) })?;
    // SAFETY: setsid has no argument.
    check(unsafe { libc::setsid() })?;
    // SAFETY: both sides go on with system calls only, until exec or _exit.
    match check(unsafe { libc::fork() })? {
        // A session of its own, as under an init system: what the program does to its process
        // group does not reach the keeper.
        // SAFETY: setsid has no argument.
        0 => check(unsafe { libc::setsid() }).map(drop),
        program => keep(program, life, reports),
    }
}

fn keep(program: Pid, life: RawFd, reports: RawFd) -> ! {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        // SAFETY: ignoring a signal installs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    close_all_but(life.min(reports), life.max(reports));
    let child_ended = signal_descriptor(libc::SIGCHLD);
    report(reports, program);
    let mut ending = false;
    loop {
        reap(program, reports);
        if ending {
            kill_children();
        }
        // A child may have been missed while the list was read, so the end does not rely on
        // signals alone. A negative descriptor is one that poll leaves out.
        let (watched_life, timeout_ms) = if ending { (-1, 10) } else { (life, -1) };
        let mut polled = [pollfd(child_ended), pollfd(watched_life)];
        poll(&mut polled, timeout_ms);
        if polled[0].revents != 0 {
            let mut drained = [0; 128];
            read(child_ended, &mut drained);
        }
        ending |= polled[1].revents != 0;
    }
}

/// Reaps all that have ended; ends the keeper when it has no child left.
fn reap(program: Pid, reports: RawFd) {
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            0 => return,
            // SAFETY: _exit has no condition. Nothing is left to clean up.
            -1 => unsafe { libc::_exit(0) },
            pid if pid == program => report(reports, status),
            _ => {}
        }
    }
}

fn kill_children() {
    // SAFETY: the path is a constant that ends in a zero byte.
    let list = unsafe { libc::open(c"/proc/thread-self/children".as_ptr(), libc::O_RDONLY) };
    let mut pid: Pid = 0;
    let mut buffer = [0; 512];
    loop {
        let count = read(list, &mut buffer);
        if count == 0 {
            break;
        }
        for &byte in &buffer[..count] {
            if byte.is_ascii_digit() {
                pid = pid.wrapping_mul(10).wrapping_add(Pid::from(byte - b'0'));
                continue;
            }
            if pid > 1 {
                // SAFETY: kill takes two integers. The child is not reaped yet, so the number
                // is still its own.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            pid = 0;
        }
    }
    // SAFETY: `list` was opened above and is closed once.
    unsafe { libc::close(list) };
}

fn report(to: RawFd, number: i32) {
    let bytes = number.to_ne_bytes();
    // SAFETY: `bytes` outlives the call, which reads its four bytes. When the test is gone
    // nobody wants the report, so its failure means nothing.
    unsafe { libc::write(to, bytes.as_ptr().cast(), bytes.len()) };
}

/// How many bytes came; 0 also for an error.
fn read(from: RawFd, buffer: &mut [u8]) -> usize {
    // SAFETY: the buffer is writable for its length and outlives the call.
    let count = unsafe { libc::read(from, buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(count).unwrap_or(0)
}

/// Closes what was inherited, above all the pipes whose end somebody waits for.
fn close_all_but(low: RawFd, high: RawFd) {
    for (first, last) in [(0, low - 1), (low + 1, high - 1), (high + 1, RawFd::MAX)] {
        if first <= last {
            // SAFETY: the keeper uses no other descriptor, and no value here owns one of them:
            // this process never returns to code that does.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

/// Blocks `signal` and returns a descriptor that is readable when it has come.
fn signal_descriptor(signal: libc::c_int) -> RawFd {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    // SAFETY: the set is initialised; a null pointer asks for no old mask.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: the set is initialised; -1 asks for a new descriptor.
    unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC) }
}

fn pollfd(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

fn poll(polled: &mut [libc::pollfd], timeout_ms: i32) {
    let count = polled.len() as libc::nfds_t;
    // SAFETY: the slice is writable for `count` entries and outlives the call.
    unsafe { libc::poll(polled.as_mut_ptr(), count, timeout_ms) };
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
