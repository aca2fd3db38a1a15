//! Who this process is, and what the user database knows of a user.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;

/// Longest entry of the user database that is read, in bytes.
pub const ENTRY_MAX_BYTES: usize = 1024 * 1024;

/// An entry of the user database, passwd(5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
    /// The login name.
    pub name: OsString,
    /// The home directory, which need not exist.
    pub home: OsString,
    /// The login shell.
    pub shell: OsString,
}

/// The effective user of this process.
pub fn uid() -> u32 {
    // SAFETY: takes nothing, touches no memory, never fails.
    unsafe { libc::geteuid() }
}

/// The effective group of this process.
pub fn gid() -> u32 {
    // SAFETY: takes nothing, touches no memory, never fails.
    unsafe { libc::getegid() }
}

/// The entry of `uid`; `None` when there is none. May ask a name service and wait for it: for the
/// start of a process, not for a loop.
///
/// # Errors
/// Those of getpwuid_r(3).
pub fn look_up(uid: u32) -> io::Result<Option<User>> {
    let mut buffer = vec![0u8; 1024];
    loop {
        match look_up_into(uid, &mut buffer) {
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {
                if buffer.len() >= ENTRY_MAX_BYTES {
                    return Err(error);
                }
                buffer.resize(buffer.len() * 4, 0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

fn look_up_into(uid: u32, buffer: &mut [u8]) -> io::Result<Option<User>> {
    // SAFETY: a passwd is numbers and pointers, for all of which zero is a value.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
    let (entry_at, found_at) = (&raw mut entry, &raw mut found);
    // SAFETY: all four point at memory that lives through the call, the buffer with its length.
    let answer = unsafe { libc::getpwuid_r(uid, entry_at, start, length, found_at) };
    match answer {
        // Some libraries say ENOENT, ESRCH … for an unknown user: see NOTES of getpwuid_r(3).
        0 | libc::ENOENT | libc::ESRCH if found.is_null() => Ok(None),
        0 => Ok(Some(User {
            uid: entry.pw_uid,
            gid: entry.pw_gid,
            name: copy_text(entry.pw_name),
            home: copy_text(entry.pw_dir),
            shell: copy_text(entry.pw_shell),
        })),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Copies one text out of an entry that getpwuid_r(3) has just filled.
fn copy_text(text: *const libc::c_char) -> OsString {
    if text.is_null() {
        return OsString::new();
    }
    // SAFETY: getpwuid_r(3) ends its texts with NUL, inside a buffer that the caller still holds.
    let text = unsafe { CStr::from_ptr(text) };
    OsString::from_vec(text.to_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_and_a_stranger_is_not() {
        let root = look_up(0).unwrap().unwrap();
        assert_eq!((root.uid, root.gid, root.name.to_str()), (0, 0, Some("root")));
        assert_eq!(root.home, "/root");
        assert_eq!(look_up(0x7fff_fff0).unwrap(), None);
        assert!(look_up(uid()).is_ok());
    }
}
