//! Other users, for tests that run as root.

use std::io;
use std::thread;

/// A user that owns nothing.
pub(crate) const NOBODY: u32 = 65_534;

/// Whether the tests run as root, so that they can be somebody else.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Does `what` as `uid`, without groups. To be called by root.
///
/// To the kernel a user belongs to a thread; it is glibc that keeps the threads of a process
/// alike. So `what` runs in a thread that asks the kernel itself, and that ends afterwards. The
/// sockets it opens are that user's.
#[track_caller]
pub(crate) fn as_user<T: Send>(uid: u32, what: impl FnOnce() -> T + Send) -> T {
    let other = || {
        become_user(uid).expect("root can be anybody");
        what()
    };
    match thread::scope(|scope| scope.spawn(other).join()) {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: a count of zero makes the kernel read nothing from the null pointer.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0usize, std::ptr::null::<libc::gid_t>()) })?;
    // SAFETY: takes numbers only. It is the last system call that needs root but one.
    check(unsafe { libc::syscall(libc::SYS_setresgid, uid, uid, uid) })?;
    // SAFETY: takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
