//! System calls that go to the kernel and touch nothing on the way.
//!
//! A function of the C library leaves the number of its error in a place of its thread, errno(3).
//! A child that shares its parent's memory has the same place as the parent, who would read the
//! child's error for its own. These calls give the error back instead.

use std::ffi::c_long;

/// Whether the calls keep what they say on this processor. Elsewhere they are the C library's, and
/// a child must not share its parent's memory.
pub(super) const LEAVES_ERRNO: bool =
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"));

/// The system call `number` with these arguments; those it does not have are ignored. The errno(3)
/// of one that failed.
///
/// # Safety
/// As the call says: what it reads and writes through its arguments must be there for that.
pub(super) unsafe fn call(number: c_long, args: [usize; 5]) -> Result<usize, i32> {
    // SAFETY: the caller's promise is the same.
    let answer = unsafe { enter(number, args) };
    // The last page of addresses is no answer of any call, so these are errors and nothing else.
    if (-4_095..0).contains(&answer) {
        return Err(i32::try_from(-answer).unwrap_or(libc::EIO));
    }
    Ok(answer.cast_unsigned())
}

#[cfg(target_arch = "x86_64")]
unsafe fn enter(number: c_long, args: [usize; 5]) -> isize {
    let answer;
    // SAFETY: the kernel keeps all registers but these three; the rest is the caller's promise.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

#[cfg(target_arch = "aarch64")]
unsafe fn enter(number: c_long, args: [usize; 5]) -> isize {
    let answer;
    // SAFETY: the kernel keeps all registers but the first; the rest is the caller's promise.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") args[0] => answer,
            in("x1") args[1],
            in("x2") args[2],
            in("x3") args[3],
            in("x4") args[4],
            options(nostack),
        );
    }
    answer
}

#[cfg(target_arch = "riscv64")]
unsafe fn enter(number: c_long, args: [usize; 5]) -> isize {
    let answer;
    // SAFETY: the kernel keeps all registers but the first; the rest is the caller's promise.
    unsafe {
        std::arch::asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") args[0] => answer,
            in("a1") args[1],
            in("a2") args[2],
            in("a3") args[3],
            in("a4") args[4],
            options(nostack),
        );
    }
    answer
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
unsafe fn enter(number: c_long, [a, b, c, d, e]: [usize; 5]) -> isize {
    // SAFETY: the caller's promise is the same.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e) };
    let error = || std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    if answer == -1 { -(error() as isize) } else { answer as isize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_given_back_and_left_nowhere_else() {
        let errno = || std::io::Error::last_os_error().raw_os_error();
        // SAFETY: there is no such descriptor, so this leaves an error behind and does nothing.
        unsafe { libc::close(-1) };
        assert_eq!(errno(), Some(libc::EBADF));
        let args = [c"/nowhere/at/all".as_ptr().expose_provenance(), 0, 0, 0, 0];
        // SAFETY: reads a text that ends with NUL.
        assert_eq!(unsafe { call(libc::SYS_chdir, args) }, Err(libc::ENOENT));
        // SAFETY: takes nothing.
        let id = unsafe { call(libc::SYS_getpid, [0; 5]) };
        assert_eq!(id, Ok(std::process::id() as usize));
        let left = if LEAVES_ERRNO { libc::EBADF } else { libc::ENOENT };
        assert_eq!(errno(), Some(left));
    }
}
