//! Signals to this process as values from a descriptor, signalfd(2), and the two that end others.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{direct, errno};

/// A signal that a daemon reacts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP.
    Hangup,
    /// SIGUSR1.
    User1,
    /// SIGCHLD; one value may stand for many children.
    Child,
}

/// A signal that ends a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadly {
    /// SIGTERM, which it may handle.
    Terminate,
    /// SIGKILL, which it may not.
    Kill,
}

impl Deadly {
    pub(super) fn number(self) -> libc::c_int {
        match self {
            Deadly::Terminate => libc::SIGTERM,
            Deadly::Kill => libc::SIGKILL,
        }
    }
}

/// The [`Signal`]s that have come and nobody has read; a descriptor that does not block.
#[derive(Debug)]
pub struct SignalPipe {
    fd: OwnedFd,
}

impl SignalPipe {
    /// Blocks all [`Signal`]s in the calling thread and takes them through a descriptor instead.
    /// To be called before the first other thread starts, which inherits the mask: a thread that
    /// does not block them would take them away.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub fn new() -> io::Result<SignalPipe> {
        let set = set_of(&Signal::ALL.map(Signal::number));
        change_mask(libc::SIG_BLOCK, &set)?;
        let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
        // SAFETY: the kernel reads one sigset_t from `set`.
        let fd = errno::check(unsafe { libc::signalfd(-1, &raw const set, flags) })?;
        // SAFETY: the descriptor was just made and has no other owner.
        Ok(SignalPipe { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The next signal; `None` when there is none now. Call again until `None`.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn next(&self) -> io::Result<Option<Signal>> {
        // SAFETY: a signalfd_siginfo is numbers only, for all of which zero is a value.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let (fd, size) = (self.fd.as_raw_fd(), size_of::<libc::signalfd_siginfo>());
        let answer = errno::retry(|| {
            // SAFETY: the kernel writes at most `size` bytes, which is what `info` holds.
            errno::check_count(unsafe { libc::read(fd, (&raw mut info).cast(), size) })
        });
        match answer {
            Ok(_) => Ok(Signal::ALL
                .into_iter()
                .find(|signal| i64::from(signal.number()) == i64::from(info.ssi_signo))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Signal {
    const ALL: [Signal; 5] =
        [Signal::Terminate, Signal::Interrupt, Signal::Hangup, Signal::User1, Signal::Child];

    fn number(self) -> libc::c_int {
        match self {
            Signal::Terminate => libc::SIGTERM,
            Signal::Interrupt => libc::SIGINT,
            Signal::Hangup => libc::SIGHUP,
            Signal::User1 => libc::SIGUSR1,
            Signal::Child => libc::SIGCHLD,
        }
    }
}

/// All signals of the calling thread, blocked until this is dropped.
#[derive(Debug)]
pub struct Blocked {
    before: libc::sigset_t,
}

/// Blocks every signal of the calling thread.
///
/// # Errors
/// Those of pthread_sigmask(3).
pub fn block_all() -> io::Result<Blocked> {
    let mut all = set_of(&[]);
    // SAFETY: writes one sigset_t into `all`.
    unsafe { libc::sigfillset(&raw mut all) };
    change_mask(libc::SIG_SETMASK, &all).map(|before| Blocked { before })
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // A mask that was read a moment ago can be set again; there is no other error.
        let restored = change_mask(libc::SIG_SETMASK, &self.before);
        debug_assert!(restored.is_ok());
    }
}

/// Makes a write to a closed pipe or socket an error instead of the end of the process.
///
/// # Errors
/// Those of signal(2).
pub fn ignore_broken_pipes() -> io::Result<()> {
    // SAFETY: SIG_IGN is no handler that could be run.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The signals that are not left to their default actions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Changed {
    /// A bit for each number.
    numbers: u128,
    /// What the kernel takes for the size of a set of signals.
    set_bytes: usize,
}

impl Changed {
    /// Those of this process at this moment.
    pub fn now() -> Changed {
        let is_changed = |&number: &libc::c_int| {
            // SAFETY: a sigaction is numbers and an address, for all of which zero is a value.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: writes one sigaction into `action`, and changes nothing.
            let found = unsafe { libc::sigaction(number, std::ptr::null(), &raw mut action) };
            // What the C library keeps for itself answers EINVAL, and is not inherited.
            found == 0 && action.sa_sigaction != libc::SIG_DFL
        };
        let last = libc::SIGRTMAX().min(127);
        let numbers = (1..=last).filter(is_changed).fold(0, |bits, number| bits | 1 << number);
        Changed { numbers, set_bytes: usize::try_from(last).unwrap_or(64).div_ceil(8) }
    }

    /// Gives these signals their default actions, and blocks none of all: what a program expects
    /// to be started with. For a child before its execve(2): takes no memory and no errno(3).
    pub(super) fn set_defaults(self) -> Result<(), i32> {
        // More than a sigaction or a set of signals takes anywhere, and zero is the default, and
        // the empty set.
        let zero = [0_u64; 16];
        for number in (0..128_usize).filter(|number| self.numbers >> number & 1 == 1) {
            let args = [number, zero.as_ptr().expose_provenance(), 0, self.set_bytes, 0];
            // SAFETY: the kernel reads one sigaction from `zero`; the default action is no handler
            // that could be run.
            unsafe { direct::call(libc::SYS_rt_sigaction, args) }?;
        }
        let args =
            [libc::SIG_SETMASK as usize, zero.as_ptr().expose_provenance(), 0, self.set_bytes, 0];
        // SAFETY: the kernel reads one set of signals from `zero`.
        unsafe { direct::call(libc::SYS_rt_sigprocmask, args) }.map(drop)
    }
}

fn set_of(numbers: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: a sigset_t is an array of numbers, for which zero is a value.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes one sigset_t into `set`.
    unsafe { libc::sigemptyset(&raw mut set) };
    for &number in numbers {
        // SAFETY: changes one sigset_t, which sigemptyset(3) has filled.
        unsafe { libc::sigaddset(&raw mut set, number) };
    }
    set
}

fn change_mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = set_of(&[]);
    // SAFETY: reads one sigset_t from `set` and writes one into `before`.
    match unsafe { libc::pthread_sigmask(how, set, &raw mut before) } {
        0 => Ok(before),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::spawn::in_fork;

    #[test]
    fn signals_come_out_typed_and_do_not_end_the_process() {
        // In a process of its own, whose one thread holds the mask.
        let code = in_fork(|| {
            let pipe = SignalPipe::new().unwrap();
            assert_eq!(pipe.next().unwrap(), None);
            for signal in Signal::ALL {
                // SAFETY: sends a signal that is blocked to this very thread.
                unsafe { libc::raise(signal.number()) };
                assert_eq!(pipe.next().unwrap(), Some(signal));
            }
            assert_eq!(pipe.next().unwrap(), None);
        });
        assert_eq!(code, 0);
    }

    #[test]
    fn blocked_signals_wait_until_the_mask_is_restored() {
        let code = in_fork(|| {
            let pipe = SignalPipe::new().unwrap();
            let blocked = block_all().unwrap();
            // SAFETY: sends a signal that is blocked to this very thread.
            unsafe { libc::raise(libc::SIGUSR2) };
            drop(pipe);
            drop(blocked);
            // Not reached: the default action of SIGUSR2 has ended the process.
        });
        assert_eq!(code, -libc::SIGUSR2);
    }
}
