//! Room on the disk, and the ballast: a file whose blocks are given up when there are no others.
//!
//! Looks how much room there is when the disk thread says so, and decides nothing but whether that
//! is enough, little or none; what the node makes of it is the node's. All it knows of a disk is
//! the trait, so that it can be stopped at any step.

use crate::journal::{Blocks, StorageError};
use crate::node::Space;

/// The file's name in the data directory.
const BALLAST: &str = "ballast";

/// The room on the disk of one data directory.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes of the ballast, and of what is kept free beside it; 0 turns both off.
    ballast_bytes: u64,
    has_ballast: bool,
    /// Whether it may be tried to make one: not again and again after a failure.
    may_make: bool,
    space: Space,
}

impl Room {
    /// The room on `disk`, with the ballast that an earlier start has left there. With what should
    /// be known of that, as a line for the log.
    pub(super) fn open(disk: &mut dyn Blocks, ballast_bytes: u64) -> (Room, Option<String>) {
        let (mut has_ballast, mut may_make, mut remark) = (false, ballast_bytes > 0, None);
        match disk.reserved_bytes(BALLAST) {
            Ok(bytes) => {
                has_ballast = bytes == ballast_bytes && may_make;
                if !has_ballast {
                    // Of another size, or cut short when it was made.
                    let _ = release(disk);
                }
            }
            Err(StorageError::NotFound) => {}
            Err(error) => {
                may_make = false;
                remark = Some(format!("{BALLAST} in the data directory is left: {error}"));
            }
        }
        (Room { ballast_bytes, has_ballast, may_make, space: Space::Enough }, remark)
    }

    /// How much there was when last looked.
    pub(super) fn space(&self) -> Space {
        self.space
    }

    /// Looks how much there is after a write has found room. `Some` when that is news.
    pub(super) fn look(&mut self, disk: &mut dyn Blocks) -> Option<Space> {
        // Who can't look goes by what the writes say.
        let mut free = disk.free_bytes().unwrap_or(u64::MAX);
        if !self.has_ballast && self.may_make && leaves_enough(free, self.ballast_bytes) {
            self.has_ballast = make(disk, self.ballast_bytes);
            self.may_make = self.has_ballast;
            free = disk.free_bytes().unwrap_or(free);
        }
        self.change(judge(free, self.ballast_bytes, self.space))
    }

    /// Gives up the ballast. Returns whether that has made room.
    pub(super) fn release(&mut self, disk: &mut dyn Blocks) -> bool {
        std::mem::take(&mut self.has_ballast) && release(disk)
    }

    /// A write has found no room, ballast or not. `Some` when that is news.
    pub(super) fn exhausted(&mut self) -> Option<Space> {
        self.change(Space::Full)
    }

    fn change(&mut self, space: Space) -> Option<Space> {
        let before = std::mem::replace(&mut self.space, space);
        (before != space).then_some(space)
    }
}

/// How much room `free` bytes are beside a ballast of that size. It takes a little more to be
/// enough again than to stay so, or every record of a run would change it.
fn judge(free: u64, ballast_bytes: u64, before: Space) -> Space {
    let wanted = match before {
        Space::Enough => ballast_bytes,
        Space::Low | Space::Full => ballast_bytes.saturating_add(ballast_bytes / 4),
    };
    if free >= wanted { Space::Enough } else { Space::Low }
}

/// Whether a ballast leaves so much of `free` that it does not make the disk full by itself.
fn leaves_enough(free: u64, ballast_bytes: u64) -> bool {
    free >= ballast_bytes.saturating_mul(2).saturating_add(ballast_bytes.div_ceil(2))
}

/// Removes the ballast on `disk`, so that its blocks can be written. Returns whether it was there;
/// what is no file is left.
pub(super) fn release(disk: &mut dyn Blocks) -> bool {
    let removed = disk.reserved_bytes(BALLAST).is_ok() && disk.remove(BALLAST).is_ok();
    // Some file systems free the blocks of a removed file no sooner.
    removed && disk.sync_dir_of(BALLAST).is_ok()
}

fn make(disk: &mut dyn Blocks, bytes: u64) -> bool {
    let is_made = disk.reserve(BALLAST, bytes).is_ok();
    if !is_made {
        release(disk);
    }
    is_made
}

#[cfg(test)]
mod full;
#[cfg(test)]
mod tests;
