//! A directory held open, and files reached through it.
//!
//! Names are looked up in the directory that was opened, wherever it has been moved since. A name
//! is one component; a symbolic link in its place is refused, never followed; nothing that is
//! opened leaks into a child.

use std::ffi::{CString, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::errno;

/// Permissions of the files made here.
pub const FILE_MODE: u32 = 0o600;
/// Permissions of the directories made here.
pub const DIRECTORY_MODE: u32 = 0o700;

/// A directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// To read and write; made when it is not there.
    Create,
    /// To read and write; an error when it is there.
    CreateNew,
    /// To write at its end, whoever else writes; made when it is not there.
    Append,
}

/// What is known of a name without opening it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Bytes.
    pub length: u64,
    /// Bytes of the file system that it takes; fewer than its length where it has holes.
    pub taken_bytes: u64,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The owner.
    pub uid: u32,
    /// The permission bits.
    pub mode: u32,
}

/// Room on a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

impl Dir {
    /// Opens an existing directory. The path itself may lead through links.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(path: &Path) -> io::Result<Dir> {
        let file =
            File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC).open(path);
        file.map(|file| Dir { fd: file.into() })
    }

    /// Opens a directory; makes it, private to this user, with what is missing above it.
    ///
    /// # Errors
    /// Those of mkdir(2) and open(2).
    pub fn create(path: &Path) -> io::Result<Dir> {
        match DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path) {
            // Something else has the name: what open(2) says of it is the clearer error.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => Dir::open(path),
        }
    }

    /// A second handle to the same directory.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn try_clone(&self) -> io::Result<Dir> {
        self.fd.try_clone().map(|fd| Dir { fd })
    }

    /// Opens a directory in this one.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn open_dir(&self, name: &str) -> io::Result<Dir> {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        self.open_at(name, flags).map(|fd| Dir { fd })
    }

    /// Makes a directory in this one, private to this user.
    ///
    /// # Errors
    /// Those of mkdirat(2).
    pub fn make_dir(&self, name: &str) -> io::Result<()> {
        let name = component(name)?;
        let (fd, mode) = (self.fd.as_raw_fd(), DIRECTORY_MODE);
        // SAFETY: reads a text that ends with NUL and lives through the call.
        errno::check(unsafe { libc::mkdirat(fd, name.as_ptr(), mode) }).map(drop)
    }

    /// Opens a file in this directory.
    ///
    /// # Errors
    /// Those of openat(2); `ELOOP` for a symbolic link.
    pub fn file(&self, name: &str, access: Access) -> io::Result<File> {
        let flags = match access {
            Access::Read => libc::O_RDONLY,
            Access::Write => libc::O_RDWR,
            Access::Create => libc::O_RDWR | libc::O_CREAT,
            Access::CreateNew => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
            Access::Append => libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND,
        };
        // O_NONBLOCK changes nothing for a regular file; without it, opening a fifo that somebody
        // has put there would wait for ever.
        let flags = flags | libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
        self.open_at(name, flags).map(File::from)
    }

    /// Gives `from` the name `to`, in place of what had it.
    ///
    /// # Errors
    /// Those of renameat(2).
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (component(from)?, component(to)?);
        let fd = self.fd.as_raw_fd();
        // SAFETY: reads two texts that end with NUL and live through the call.
        errno::check(unsafe { libc::renameat(fd, from.as_ptr(), fd, to.as_ptr()) }).map(drop)
    }

    /// Moves a file or folder into another directory, where it keeps its name.
    ///
    /// # Errors
    /// Those of renameat(2).
    pub fn move_to(&self, name: &str, into: &Dir) -> io::Result<()> {
        let name = component(name)?;
        let (from, to) = (self.fd.as_raw_fd(), into.fd.as_raw_fd());
        // SAFETY: reads a text that ends with NUL and lives through the call.
        errno::check(unsafe { libc::renameat(from, name.as_ptr(), to, name.as_ptr()) }).map(drop)
    }

    /// Removes a file. Returns whether it was there.
    ///
    /// # Errors
    /// Those of unlinkat(2), but for `ENOENT`.
    pub fn unlink(&self, name: &str) -> io::Result<bool> {
        let name = component(name)?;
        let fd = self.fd.as_raw_fd();
        // SAFETY: reads a text that ends with NUL and lives through the call.
        match errno::check(unsafe { libc::unlinkat(fd, name.as_ptr(), 0) }) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is known of a name; `None` when it is not there. A symbolic link is not followed.
    ///
    /// # Errors
    /// Those of fstatat(2), but for `ENOENT`.
    pub fn metadata(&self, name: &str) -> io::Result<Option<Metadata>> {
        let name = component(name)?;
        let fd = self.fd.as_raw_fd();
        // SAFETY: a stat is numbers only, for all of which zero is a value.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        let (stat_at, flags) = (&raw mut stat, libc::AT_SYMLINK_NOFOLLOW);
        // SAFETY: reads a text that ends with NUL, writes one stat; both live through the call.
        match errno::check(unsafe { libc::fstatat(fd, name.as_ptr(), stat_at, flags) }) {
            Ok(_) => Ok(Some(Metadata {
                length: u64::try_from(stat.st_size).unwrap_or(0),
                // The unit of this field is 512 bytes, whatever the file system's block is.
                taken_bytes: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
                is_file: stat.st_mode & libc::S_IFMT == libc::S_IFREG,
                is_directory: stat.st_mode & libc::S_IFMT == libc::S_IFDIR,
                uid: stat.st_uid,
                mode: stat.st_mode & 0o7777,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names in this directory, in no order, without `.` and `..`.
    ///
    /// # Errors
    /// Those of readdir(3).
    pub fn list(&self) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(self.magic_path())?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Makes durable which names this directory holds: after a create, rename or unlink.
    ///
    /// # Errors
    /// Those of fsync(2).
    pub fn sync(&self) -> io::Result<()> {
        // SAFETY: takes a number only.
        errno::retry(|| errno::check(unsafe { libc::fsync(self.fd.as_raw_fd()) })).map(drop)
    }

    /// Room on the file system that holds this directory.
    ///
    /// # Errors
    /// Those of fstatvfs(3).
    pub fn space(&self) -> io::Result<Space> {
        // SAFETY: a statvfs is numbers only, for all of which zero is a value.
        let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: writes one statvfs into `stat`.
        errno::check(unsafe { libc::fstatvfs(self.fd.as_raw_fd(), &raw mut stat) })?;
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    /// A path to this directory that is short however long its real one is, and that leads to it
    /// wherever it has been moved. Only for this process, and only while the handle lives.
    pub fn magic_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    fn open_at(&self, name: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
        let name = component(name)?;
        let (fd, flags) = (self.fd.as_raw_fd(), flags | libc::O_CLOEXEC);
        let fd = errno::retry(|| {
            // SAFETY: reads a text that ends with NUL and lives through the call.
            errno::check(unsafe { libc::openat(fd, name.as_ptr(), flags, FILE_MODE) })
        })?;
        // SAFETY: the descriptor was just made and has no other owner.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Takes the lock of a file for this process, until it ends or closes any handle to that file.
/// Does not wait; returns whether the lock is held, `false` when another process has it.
///
/// It is a record lock, which a child does not inherit. One of flock(2) would be held by a child
/// between fork(2) and execve(2) too, and outlive a process that is killed at that moment.
///
/// # Errors
/// Those of fcntl(2).
pub fn lock_exclusive(file: &File) -> io::Result<bool> {
    let whole = whole_file();
    let (fd, lock) = (file.as_raw_fd(), &raw const whole);
    // SAFETY: reads one flock, which lives through the call.
    let locked = errno::retry(|| errno::check(unsafe { libc::fcntl(fd, libc::F_SETLK, lock) }));
    match locked.map_err(|error| (error.raw_os_error(), error)) {
        Ok(_) => Ok(true),
        Err((Some(libc::EACCES | libc::EAGAIN), _)) => Ok(false),
        Err((_, error)) => Err(error),
    }
}

/// Gives a file its first `bytes` bytes, with room on the disk for all of them.
///
/// # Errors
/// Those of fallocate(2); `EOPNOTSUPP` where the file system cannot do that.
pub fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let length =
        libc::off64_t::try_from(bytes).map_err(|_| errno::invalid("no file is so long"))?;
    let fd = file.as_raw_fd();
    // SAFETY: takes numbers only.
    errno::retry(|| errno::check(unsafe { libc::fallocate64(fd, 0, 0, length) })).map(drop)
}

/// Whether another process has the lock of a file, which need not be open for writing.
///
/// # Errors
/// Those of fcntl(2).
pub fn is_locked(file: &File) -> io::Result<bool> {
    let mut whole = whole_file();
    let (fd, lock) = (file.as_raw_fd(), &raw mut whole);
    // SAFETY: reads and writes one flock, which lives through the call.
    errno::retry(|| errno::check(unsafe { libc::fcntl(fd, libc::F_GETLK, lock) }))?;
    Ok(whole.l_type != libc::F_UNLCK as libc::c_short)
}

/// An exclusive lock of all of a file.
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// A pipe, its reading end first. The reading end does not block; the writing end does. Neither
/// leaks into a child.
///
/// # Errors
/// Those of pipe2(2).
pub fn pipe() -> io::Result<(File, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two numbers into `ends`.
    errno::check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the descriptor was just made and has no other owner.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    // SAFETY: takes numbers only.
    errno::check(unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((File::from(reader), writer))
}

/// Waits until the descriptor can be read or its other end is closed, at most `limit`, which is
/// rounded up to the millisecond. Returns whether it can.
///
/// # Errors
/// Those of poll(2).
pub fn wait_readable(fd: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let ms =
        libc::c_int::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX);
    // SAFETY: the kernel reads and writes one pollfd.
    errno::retry(|| errno::check(unsafe { libc::poll(&raw mut poll, 1, ms) }))
        .map(|count| count > 0)
}

/// Whether a write of at most `PIPE_BUF` (4,096) bytes would not wait now.
///
/// # Errors
/// Those of poll(2).
pub fn is_writable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: the kernel reads and writes one pollfd.
    let found = errno::retry(|| errno::check(unsafe { libc::poll(&raw mut poll, 1, 0) }))?;
    Ok(found > 0 && poll.revents & libc::POLLOUT != 0)
}

/// `name` as one component of a path.
fn component(name: &str) -> io::Result<CString> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(errno::invalid("not a plain file name"));
    }
    errno::c_string(name)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::RawFd;
    use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

    use super::*;

    fn temp() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::create(&temp.path().join("a/b")).unwrap();
        (temp, dir)
    }

    #[test]
    fn files_are_written_read_renamed_listed_and_removed() {
        let (temp, dir) = temp();
        let file = dir.file("new", Access::CreateNew).unwrap();
        file.write_all_at(b"hello", 3).unwrap();
        file.sync_data().unwrap();
        assert_eq!(
            dir.file("new", Access::CreateNew).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        let known = dir.metadata("new").unwrap().unwrap();
        assert_eq!((known.length, known.is_file, known.mode), (8, true, FILE_MODE));
        file.set_len(5).unwrap();
        dir.rename("new", "old").unwrap();
        dir.sync().unwrap();
        let mut text = Vec::new();
        dir.file("old", Access::Read).unwrap().read_to_end(&mut text).unwrap();
        assert_eq!(text, b"\0\0\0he");
        dir.file("old", Access::Append).unwrap().write_all(b"!").unwrap();
        assert_eq!(dir.metadata("old").unwrap().unwrap().length, 6);
        dir.make_dir("inner").unwrap();
        dir.open_dir("inner").unwrap().file("x", Access::Create).unwrap();
        let inner = dir.open_dir("inner").unwrap();
        inner.move_to("x", &dir).unwrap();
        assert_eq!(inner.metadata("x").unwrap(), None);
        dir.move_to("x", &inner).unwrap();
        let mut names = dir.list().unwrap();
        names.sort();
        assert_eq!(names, ["inner", "old"]);
        assert!(dir.unlink("old").unwrap());
        assert!(!dir.unlink("old").unwrap());
        assert_eq!(dir.metadata("old").unwrap(), None);
        let mode = std::fs::metadata(temp.path().join("a/b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, DIRECTORY_MODE);
    }

    #[test]
    fn a_handle_follows_its_directory_when_that_is_moved() {
        let (temp, dir) = temp();
        std::fs::rename(temp.path().join("a"), temp.path().join("moved")).unwrap();
        dir.file("x", Access::Create).unwrap();
        assert!(temp.path().join("moved/b/x").exists());
        assert!(dir.try_clone().unwrap().metadata("x").unwrap().is_some());
    }

    #[test]
    fn links_and_paths_are_refused() {
        let (temp, dir) = temp();
        std::fs::write(temp.path().join("secret"), "x").unwrap();
        symlink(temp.path().join("secret"), temp.path().join("a/b/link")).unwrap();
        for access in [Access::Read, Access::Write, Access::Create, Access::Append] {
            let error = dir.file("link", access).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{access:?}");
        }
        assert!(!dir.metadata("link").unwrap().unwrap().is_file);
        symlink(temp.path(), temp.path().join("a/b/up")).unwrap();
        assert!(dir.open_dir("up").is_err());
        for name in ["", ".", "..", "a/b", "../x", "x\0y"] {
            let error = dir.file(name, Access::Create).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    /// An agent was killed while its child was on the way to become the launcher, and the next
    /// agent met a lock that nobody would use: "another agent is using it".
    #[test]
    fn a_lock_is_held_by_one_process_and_goes_with_it_but_not_to_its_child() {
        let (_temp, dir) = temp();
        let (mut told, tell) = io::pipe().unwrap();
        let ours = dir.file("lock", Access::Create).unwrap();
        // SAFETY: the child calls only what signal-safety(7) allows, and never returns.
        let holder = unsafe { libc::fork() };
        if holder == 0 {
            hold_lock_and_fork(&ours, tell.as_raw_fd());
        }
        let mut number = [0; 4];
        told.read_exact(&mut number).unwrap();
        let child = libc::pid_t::from_ne_bytes(number);
        assert!(child > 1, "the lock was free");
        assert!(!lock_exclusive(&ours).unwrap());
        let looked_at = dir.file("lock", Access::Read).unwrap();
        assert!(is_locked(&looked_at).unwrap());
        kill(holder);
        // SAFETY: waits for a child of this test; asks for no status.
        assert_eq!(unsafe { libc::waitpid(holder, std::ptr::null_mut(), 0) }, holder);
        assert!(!is_locked(&looked_at).unwrap());
        assert!(lock_exclusive(&ours).unwrap());
        kill(child);
    }

    /// Locks, forks, tells the child's number, or 0, and stays.
    fn hold_lock_and_fork(file: &File, tell: RawFd) -> ! {
        let locked = matches!(lock_exclusive(file), Ok(true));
        // SAFETY: both sides only wait from here on.
        let child = if locked { unsafe { libc::fork() } } else { 0 };
        let number = child.to_ne_bytes();
        if child != 0 || !locked {
            // SAFETY: reads four bytes from `number`.
            unsafe { libc::write(tell, number.as_ptr().cast(), number.len()) };
        }
        loop {
            // SAFETY: takes nothing.
            unsafe { libc::pause() };
        }
    }

    fn kill(pid: libc::pid_t) {
        // SAFETY: takes numbers only; both processes were started here and stay until killed.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    }

    #[test]
    fn a_file_in_place_of_a_directory_is_called_what_it_is() {
        let (temp, dir) = temp();
        dir.file("x", Access::Create).unwrap();
        for path in ["a/b/x", "a/b/x/y"] {
            let error = Dir::create(&temp.path().join(path)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{path}");
        }
    }

    #[test]
    fn space_is_counted_in_bytes() {
        let (_temp, dir) = temp();
        let space = dir.space().unwrap();
        assert!(space.free_bytes > 1 << 20 && space.free_bytes <= space.total_bytes, "{space:?}");
    }
}
