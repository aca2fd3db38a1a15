//! An alarm of the wall clock that also goes off when somebody sets that clock.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::errno;
use crate::time::Wall;

/// An absolute `CLOCK_REALTIME` timer with cancel-on-set; readable when it has something to say.
#[derive(Debug)]
pub struct WallTimer {
    fd: OwnedFd,
}

/// What a [`WallTimer`] has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alarm {
    /// The moment it was armed for has come.
    Fired,
    /// The wall clock was set, or the machine slept: read the clock and arm again.
    ClockSet,
    /// Nothing yet.
    NotYet,
}

/// So far away that nobody waits for it, and within the kernel's range (2⁶³ ns, the year 2262).
const FAR_SECONDS: i64 = 9_000_000_000;

impl WallTimer {
    /// A timer that is not armed, and does not yet watch the clock.
    ///
    /// # Errors
    /// Those of timerfd_create(2).
    pub fn new() -> io::Result<WallTimer> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: takes numbers only.
        let fd = errno::check(unsafe { libc::timerfd_create(libc::CLOCK_REALTIME, flags) })?;
        // SAFETY: the descriptor was just made and has no other owner.
        Ok(WallTimer { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Arms the timer for `at`, in place of what was armed; with `None` it only watches the clock.
    /// Returns whether the clock was set since the last arming and nobody has read that yet: the
    /// kernel says it here once and not again through [`WallTimer::read`]. The timer is armed in
    /// either case.
    ///
    /// # Errors
    /// Those of timerfd_settime(2).
    pub fn arm(&self, at: Option<Wall>) -> io::Result<bool> {
        let (seconds, ms) = match at {
            // A time of zero would disarm; what lies before 1970 is due in any case.
            Some(at) if at.0 <= 0 => (0, 1),
            Some(at) => ((at.0 / 1_000).min(FAR_SECONDS), at.0 % 1_000),
            None => (FAR_SECONDS, 0),
        };
        let value = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec { tv_sec: seconds, tv_nsec: ms * 1_000_000 },
        };
        let flags = libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET;
        let (fd, before) = (self.fd.as_raw_fd(), std::ptr::null_mut());
        // SAFETY: the kernel reads one itimerspec from `value`; no old value is asked for.
        let answer = unsafe { libc::timerfd_settime(fd, flags, &raw const value, before) };
        match errno::check(answer) {
            Ok(_) => Ok(false),
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Takes what the timer has to say; does not wait.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn read(&self) -> io::Result<Alarm> {
        let mut count = [0u8; 8];
        let answer = errno::retry(|| {
            let fd = self.fd.as_raw_fd();
            // SAFETY: the kernel writes at most 8 bytes into `count`.
            errno::check_count(unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) })
        });
        match answer {
            Ok(_) => Ok(Alarm::Fired),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Alarm::NotYet),
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => Ok(Alarm::ClockSet),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for WallTimer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::clock;

    #[test]
    fn it_fires_at_its_moment_and_not_before() {
        let timer = WallTimer::new().unwrap();
        assert_eq!(timer.read().unwrap(), Alarm::NotYet);
        assert!(!timer.arm(Some(clock::now().wall + Duration::from_secs(3_600))).unwrap());
        assert_eq!(timer.read().unwrap(), Alarm::NotYet);
        let moment = clock::now().wall + Duration::from_millis(20);
        timer.arm(Some(moment)).unwrap();
        assert!(crate::sys::file::wait_readable(timer.as_fd(), Duration::from_secs(10)).unwrap());
        assert!(clock::now().wall >= moment);
        assert_eq!(timer.read().unwrap(), Alarm::Fired);
        assert_eq!(timer.read().unwrap(), Alarm::NotYet);
    }

    #[test]
    fn every_moment_can_be_armed() {
        let timer = WallTimer::new().unwrap();
        for (at, due) in [
            (Some(Wall(0)), true),
            (Some(Wall(i64::MIN)), true),
            (Some(Wall(1)), true),
            (Some(Wall(i64::MAX)), false),
            (None, false),
        ] {
            timer.arm(at).unwrap();
            let wait = if due { Duration::from_secs(10) } else { Duration::ZERO };
            let readable = crate::sys::file::wait_readable(timer.as_fd(), wait).unwrap();
            assert_eq!(readable, due, "{at:?}");
        }
    }
}
