//! What the journal asks of a disk, and how a disk says no.
//!
//! [`Storage`] is one data directory and its `journal/` folder. The journal never opens a file
//! itself: the shell implements this trait over real files, [`super::sim`] over memory. Nothing
//! here promises durability but [`Storage::sync_data`] (bytes and length of one file) and
//! [`Storage::sync_dir_of`] (names); what lies between two of them may reach the disk in any
//! part, in any order, or not at all. Model: redb's `StorageBackend`, and what POSIX leaves open.

use std::fmt;

/// A directory of files named by `name` or `journal/name`; the names come from this room alone.
///
/// Every call takes effect at once for later calls, as through a page cache. A failed call may
/// have taken effect in part.
pub trait Storage {
    /// The names of all files, those of the `journal` folder with `journal/` before them. Other
    /// people's files may be among them; names that are not UTF-8 may be left out.
    ///
    /// # Errors
    /// A [`StorageError`], here as in every method below.
    fn list(&self) -> Stored<Vec<String>>;

    /// The length of `file` in bytes.
    fn length(&self, file: &str) -> Stored<u64>;

    /// Fills `buffer` from `offset` and returns how many bytes there were: fewer than
    /// `buffer.len()` only at the end of the file.
    fn read_at(&self, file: &str, offset: u64, buffer: &mut [u8]) -> Stored<usize>;

    /// Makes an empty file, private to its owner; one of that name must not exist.
    fn create_new(&mut self, file: &str) -> Stored<()>;

    /// Writes all of `bytes` at the end of `file`; on an error any first part may be there. An
    /// implementation keeps the file open, so that this is one system call.
    fn append(&mut self, file: &str, bytes: &[u8]) -> Stored<()>;

    /// Overwrites `file` from `offset`; on an error any part may have been changed.
    fn write_at(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Stored<()>;

    /// Cuts `file` to `length` bytes.
    fn truncate(&mut self, file: &str, length: u64) -> Stored<()>;

    /// Makes content and length of `file` durable. After an error nothing is known about what
    /// was written since the last success, and a second try proves nothing.
    fn sync_data(&mut self, file: &str) -> Stored<()>;

    /// Makes the names in the folder that `file` lies in durable: what was created, renamed and
    /// removed there.
    fn sync_dir_of(&mut self, file: &str) -> Stored<()>;

    /// Gives `from` the name `to` in the same folder, in place of what had it, atomically.
    fn rename(&mut self, from: &str, to: &str) -> Stored<()>;

    /// Removes `file`.
    fn remove(&mut self, file: &str) -> Stored<()>;
}

/// A [`Storage`] that can keep some of the disk's room for later, as a file.
pub trait Blocks: Storage {
    /// How many bytes of the disk are free.
    ///
    /// # Errors
    /// A [`StorageError`], here as in every method below.
    fn free_bytes(&self) -> Stored<u64>;

    /// Makes a file of so many bytes, each with room on the disk of its own; one of that name must
    /// not exist. After an error it may be there, cut short.
    fn reserve(&mut self, file: &str, bytes: u64) -> Stored<()>;

    /// How many bytes `file` keeps: its length, or 0 where not each of them has room of its own.
    /// What is no file is an error.
    fn reserved_bytes(&self, file: &str) -> Stored<u64>;
}

/// What a [`Storage`] answers.
pub type Stored<T> = Result<T, StorageError>;

/// Why a disk refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageError {
    /// No file of that name.
    NotFound,
    /// The disk or the quota is full (`ENOSPC`, `EDQUOT`); the only error after which writing
    /// may go on.
    NoSpace,
    /// The file system is mounted read-only (`EROFS`).
    ReadOnly,
    /// Anything else.
    Other {
        /// The operation, as a verb.
        op: &'static str,
        /// The file it was for.
        file: String,
        /// What the operating system said.
        detail: String,
    },
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::NotFound => f.write_str("the file does not exist"),
            StorageError::NoSpace => f.write_str("no space is left on the disk"),
            StorageError::ReadOnly => f.write_str("the file system is read-only"),
            StorageError::Other { op, file, detail } => write!(f, "cannot {op} {file}: {detail}"),
        }
    }
}

impl std::error::Error for StorageError {}

/// Largest step in which files are copied and read, in bytes.
const STEP_BYTES: u64 = 1024 * 1024;

/// Removes `file` if it is there.
pub(crate) fn remove_if_there(storage: &mut dyn Storage, file: &str) -> Stored<()> {
    match storage.remove(file) {
        Err(StorageError::NotFound) => Ok(()),
        done => done,
    }
}

/// Puts a complete, durable file in place of `file`, or leaves what was there: `write` fills
/// `beside`, which is then synced and renamed. A crash leaves the old or the new, and perhaps
/// `beside`; so does [`StorageError::NoSpace`], which leaves the old.
pub(crate) fn replace(
    storage: &mut dyn Storage,
    beside: &str,
    file: &str,
    write: &mut dyn FnMut(&mut dyn Storage) -> Stored<()>,
) -> Stored<()> {
    remove_if_there(storage, beside)?;
    storage.create_new(beside)?;
    write(storage)?;
    storage.sync_data(beside)?;
    storage.rename(beside, file)?;
    storage.sync_dir_of(file).map_err(|error| match error {
        // The new file has its name already, so "undone" would be untrue.
        StorageError::NoSpace => {
            let detail = error.to_string();
            StorageError::Other { op: "sync the folder of", file: file.to_owned(), detail }
        }
        StorageError::NotFound | StorageError::ReadOnly | StorageError::Other { .. } => error,
    })
}

/// Appends the bytes `start..end` of `from` to `to`.
pub(crate) fn copy(
    storage: &mut dyn Storage,
    from: &str,
    to: &str,
    start: u64,
    end: u64,
) -> Stored<()> {
    let mut at = start;
    let mut buffer = vec![0; STEP_BYTES.min(end - start) as usize];
    while at < end {
        let step = buffer.len().min((end - at) as usize);
        let read = storage.read_at(from, at, &mut buffer[..step])?;
        if read < step {
            let detail = format!("it ends at byte {} while it is copied", at + read as u64);
            return Err(StorageError::Other { op: "read", file: from.to_owned(), detail });
        }
        storage.append(to, &buffer[..step])?;
        at += step as u64;
    }
    Ok(())
}
