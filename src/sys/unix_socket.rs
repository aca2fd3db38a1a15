//! Unix sockets by a name inside a directory handle, so that a long path to the directory does not
//! meet the 108 bytes of `sun_path`.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::errno;
use super::file::{Dir, FILE_MODE};

/// The process at the other end, as it was when the connection was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its number; 0 when it lives in another process namespace.
    pub pid: u32,
}

/// Listens on `name` in `dir`; does not block. A socket that is already there is the caller's to
/// remove, who knows by a lock that nobody listens on it.
///
/// # Errors
/// Those of bind(2) and listen(2).
pub fn bind(dir: &Dir, name: &str) -> io::Result<UnixListener> {
    let path = path_of(dir, name)?;
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(FILE_MODE))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects to `name` in `dir`. The stream does not block.
///
/// # Errors
/// Those of connect(2): `NotFound` and `ConnectionRefused` when nobody listens.
pub fn connect(dir: &Dir, name: &str) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path_of(dir, name)?)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Who is at the other end.
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer(stream: &impl AsFd) -> io::Result<Credentials> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let (fd, value, length_at) = (stream.as_fd(), &raw mut found, &raw mut length);
    // SAFETY: the kernel writes at most `length` bytes into `found`, which holds as many.
    errno::check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            value.cast(),
            length_at,
        )
    })?;
    Ok(Credentials { uid: found.uid, gid: found.gid, pid: u32::try_from(found.pid).unwrap_or(0) })
}

fn path_of(dir: &Dir, name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name.contains('/') {
        return Err(errno::invalid("not a plain file name"));
    }
    Ok(dir.magic_path().join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_deep_in_a_long_path_is_bound_and_reached() {
        let temp = tempfile::tempdir().unwrap();
        let long = temp.path().join("x".repeat(200)).join("y".repeat(200));
        // In a process of its own: the child of another thread may hold a copy of the listener for
        // a moment, and whoever connects is not refused until that is closed, too.
        let code = crate::sys::spawn::in_fork(|| {
            let dir = Dir::create(&long).unwrap();
            assert_eq!(connect(&dir, "s").unwrap_err().kind(), io::ErrorKind::NotFound);
            let listener = bind(&dir, "s").unwrap();
            assert_eq!(dir.metadata("s").unwrap().unwrap().mode, FILE_MODE);
            let client = connect(&dir, "s").unwrap();
            let (server, _) = listener.accept().unwrap();
            for end in [&client, &server] {
                let found = peer(end).unwrap();
                assert_eq!((found.uid, found.pid), (crate::sys::user::uid(), std::process::id()));
            }
            drop(listener);
            assert_eq!(connect(&dir, "s").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(bind(&dir, "s").unwrap_err().kind(), io::ErrorKind::AddrInUse);
        });
        assert_eq!(code, 0);
    }
}
