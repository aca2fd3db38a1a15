//! Appends groups to a log file: one write, one sync, and a verdict.
//!
//! [`Appender`] owns the end of one file and the seam there. It never reads, and never tries a
//! failed sync again (the kernel reports an error once and calls the lost pages clean). Only a
//! full disk is survivable: the part that was written is cut, and the cut made durable, so that
//! the same group or another may follow. The journal and the runs log drive it.

use super::error::{Poison, WriteError};
use super::frame::{Record, Seam, encode_group};
use super::storage::{Storage, StorageError, Stored};

/// The end of a log file.
#[derive(Debug)]
pub(crate) struct Appender {
    file: String,
    length: u64,
    seam: Seam,
    buffer: Vec<u8>,
}

impl Appender {
    /// Appends behind the first `length` bytes of `file`, where `seam` is.
    pub(crate) fn new(file: String, length: u64, seam: Seam) -> Self {
        Appender { file, length, seam, buffer: Vec::new() }
    }

    /// Bytes that count.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The seam at the end.
    pub(crate) fn seam(&self) -> Seam {
        self.seam
    }

    /// Makes `records` durable as one group and returns how many bytes they took.
    ///
    /// # Errors
    /// As [`WriteError`] says; nothing counts then.
    ///
    /// # Panics
    /// As `encode_group` does.
    pub(crate) fn append(
        &mut self,
        storage: &mut dyn Storage,
        poison: &mut Poison,
        records: &[Record<'_>],
    ) -> Result<u64, WriteError> {
        poison.check()?;
        self.buffer.clear();
        let seam = encode_group(&mut self.buffer, self.seam, records);
        match self.write(storage) {
            Ok(()) => {
                let bytes = self.buffer.len() as u64;
                self.length += bytes;
                self.seam = seam;
                Ok(bytes)
            }
            Err(StorageError::NoSpace) => {
                self.cut(storage).map_err(|error| poison.fail(error))?;
                Err(WriteError::NoSpace)
            }
            Err(error) => Err(poison.fail(error)),
        }
    }

    fn write(&self, storage: &mut dyn Storage) -> Stored<()> {
        storage.append(&self.file, &self.buffer)?;
        storage.sync_data(&self.file)
    }

    /// The cut is synced before anything follows it: a crash must never mix sectors of the
    /// abandoned group with those of the next.
    fn cut(&self, storage: &mut dyn Storage) -> Stored<()> {
        storage.truncate(&self.file, self.length)?;
        storage.sync_data(&self.file)
    }
}
