//! Why a journal cannot be opened or written.

use super::storage::StorageError;
use std::fmt;

/// A place in a file that is not what was written there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it, in bytes from its start.
    pub offset: u64,
    /// What is wrong there, as a clause.
    pub what: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { file, offset, what } = self;
        write!(f, "{file} is damaged at byte {offset}: {what}")
    }
}

/// Why a journal, a snapshot or a runs log cannot be opened. No acknowledged byte was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// The file that must be there is not.
    Missing {
        /// Its name.
        file: &'static str,
    },
    /// A new journal was asked for where one is.
    Exists {
        /// A file of it.
        file: String,
    },
    /// The disk refused; after [`StorageError::NoSpace`] it may be tried again.
    Storage(StorageError),
    /// Bytes that were once acknowledged are not readable.
    Damaged(Damage),
    /// Bytes that are as they were written, and that nobody here can read.
    Unread {
        /// The file.
        file: String,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What the reader said, as a clause.
        what: String,
    },
    /// A later version of this program wrote the file.
    Newer {
        /// The file.
        file: String,
        /// Its format.
        version: u32,
    },
    /// The file is of another cluster, or of another node's data directory.
    Foreign {
        /// The file.
        file: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Missing { file } => write!(f, "{file} is missing{REMEDY}"),
            OpenError::Exists { file } => {
                write!(f, "{file} is already there; a new journal needs an empty directory")
            }
            OpenError::Storage(error) => error.fmt(f),
            OpenError::Damaged(damage) => write!(f, "{damage}{REMEDY}"),
            OpenError::Unread { file, offset, what } => write!(
                f,
                "{file} cannot be read at byte {offset}: it {what}; was it written by a later \
                 version?"
            ),
            OpenError::Newer { file, version } => write!(
                f,
                "{file} has format {version}, which a later bellwether wrote; start that one"
            ),
            OpenError::Foreign { file } => write!(
                f,
                "{file} is of another cluster or another node; put the right data directory here"
            ),
        }
    }
}

impl OpenError {
    /// Where in its file the damage is, in bytes, and what it is, without file and remedy.
    pub fn place(&self) -> (Option<u64>, String) {
        match self {
            OpenError::Damaged(damage) => (Some(damage.offset), damage.what.to_owned()),
            OpenError::Unread { offset, what, .. } => (Some(*offset), format!("it {what}")),
            OpenError::Missing { .. } => (None, "it is missing".to_owned()),
            OpenError::Exists { .. } => (None, "it is there".to_owned()),
            OpenError::Storage(error) => (None, error.to_string()),
            OpenError::Newer { version, .. } => {
                (None, format!("it has format {version}, which a later bellwether wrote"))
            }
            OpenError::Foreign { .. } => {
                (None, "it is of another cluster or another node".to_owned())
            }
        }
    }
}

const REMEDY: &str = "; restore the data directory from a backup, or see what can be kept of it: \
                      bellwether journal recover; to begin anew without its jobs and their \
                      history: bellwether reset";

impl std::error::Error for OpenError {}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        OpenError::Storage(error)
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        OpenError::Damaged(damage)
    }
}

/// Why something was not written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// The disk is full. What was begun has been undone, and the same may be tried again.
    NoSpace,
    /// The disk failed: what is durable is unknown, and every later write is refused. The
    /// process should end and find out by opening anew.
    Failed(StorageError),
    /// An earlier write failed; nothing was done.
    Poisoned,
    /// What was read back differs from what was written; it was not put to use.
    Damaged(Damage),
    /// The snapshot offered does not end later than the one there is; nothing was done.
    NotNewer,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::NoSpace => f.write_str("no space is left on the disk"),
            WriteError::Failed(error) => {
                write!(f, "{error}; only a restart tells what is on the disk")
            }
            WriteError::Poisoned => {
                f.write_str("an earlier write failed; only a restart tells what is on the disk")
            }
            WriteError::Damaged(damage) => damage.fmt(f),
            WriteError::NotNewer => {
                f.write_str("the snapshot ends no later than the one that is there")
            }
        }
    }
}

impl std::error::Error for WriteError {}

/// Remembers that a write failed: from then on nothing may be written (fsync reports an error
/// once, and the kernel then calls the lost pages clean).
#[derive(Debug, Default)]
pub(crate) struct Poison(bool);

impl Poison {
    /// # Errors
    /// [`WriteError::Poisoned`] after a failure.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        if self.0 { Err(WriteError::Poisoned) } else { Ok(()) }
    }

    /// Poisons, and says why.
    pub(crate) fn fail(&mut self, error: StorageError) -> WriteError {
        self.0 = true;
        WriteError::Failed(error)
    }

    /// `NoSpace` passes; every other error poisons.
    pub(crate) fn judge(&mut self, error: StorageError) -> WriteError {
        match error {
            StorageError::NoSpace => WriteError::NoSpace,
            other @ (StorageError::NotFound
            | StorageError::ReadOnly
            | StorageError::Other { .. }) => self.fail(other),
        }
    }
}
