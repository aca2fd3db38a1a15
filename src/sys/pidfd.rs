//! Descriptors of processes that are not our children, pidfd_open(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::errno;
use super::process::Pid;

/// A process, held so that its number cannot come to mean another one; readable when it has ended.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// Takes hold of the process that has the number `pid` now; `None` when there is none. Who
    /// means a certain process compares its start time *after* this call.
    ///
    /// # Errors
    /// Those of pidfd_open(2); `Unsupported` before Linux 5.3.
    pub fn open(pid: Pid) -> io::Result<Option<PidFd>> {
        // SAFETY: takes numbers only.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.raw(), 0) };
        let fd = match errno::check(fd as libc::c_int) {
            Ok(fd) => fd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // SAFETY: the descriptor was just made, with close-on-exec, and has no other owner.
        Ok(Some(PidFd { fd: unsafe { OwnedFd::from_raw_fd(fd) } }))
    }

    /// Sends it the signal; `false` when it has ended.
    ///
    /// # Errors
    /// Those of pidfd_send_signal(2).
    pub fn signal(&self, signal: super::signal::Deadly) -> io::Result<bool> {
        let (fd, info) = (self.fd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: takes numbers and a null pointer, which the call allows.
        let answer =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal.number(), info, 0) };
        match errno::check(answer as libc::c_int) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::sys::signal::Deadly;

    #[test]
    fn it_becomes_readable_when_the_process_has_been_ended() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = Pid::new(child.id()).unwrap();
        let fd = PidFd::open(pid).unwrap().unwrap();
        assert!(!crate::sys::file::wait_readable(fd.as_fd(), Duration::ZERO).unwrap());
        assert!(fd.signal(Deadly::Kill).unwrap());
        assert!(crate::sys::file::wait_readable(fd.as_fd(), Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
        assert!(!fd.signal(Deadly::Kill).unwrap());
        assert!(PidFd::open(pid).unwrap().is_none());
    }
}
