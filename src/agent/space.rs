//! Room on the disk, and the ballast: a file whose blocks are given up when there are no others.
//!
//! Looks at the file system when the disk thread says so, and decides nothing but whether there is
//! enough, little or none; what the node makes of that is the node's.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::node::Space;
use crate::rng::Rng;
use crate::sys::file::{self, Access, Dir};

/// The file's name in the data directory.
const BALLAST: &str = "ballast";
/// How much is written at once where a file system cannot give blocks without that.
const WRITE_BYTES: usize = 64 * 1024;

/// The room on the disk of one data directory.
#[derive(Debug)]
pub(super) struct Room {
    dir: Dir,
    /// Bytes of the ballast, and of what is kept free beside it; 0 turns both off.
    ballast_bytes: u64,
    has_ballast: bool,
    /// Whether it may be tried to make one: not again and again after a failure.
    may_make: bool,
    space: Space,
}

impl Room {
    /// The room of `dir`, with the ballast that an earlier start has left there. With what should
    /// be known of that, as a line for the log.
    pub(super) fn open(dir: Dir, ballast_bytes: u64) -> (Room, Option<String>) {
        let (mut has_ballast, mut may_make, mut remark) = (false, ballast_bytes > 0, None);
        match dir.metadata(BALLAST) {
            Ok(Some(found)) if !found.is_file => {
                may_make = false;
                remark = Some(format!("{BALLAST} in the data directory is no file; it is left"));
            }
            Ok(Some(found)) => {
                let is_whole = found.length == ballast_bytes && found.taken_bytes >= ballast_bytes;
                has_ballast = is_whole && may_make;
                if !has_ballast {
                    // Of another size, or cut short when it was made.
                    let _ = release(&dir);
                }
            }
            Ok(None) | Err(_) => {}
        }
        (Room { dir, ballast_bytes, has_ballast, may_make, space: Space::Enough }, remark)
    }

    /// How much there was when last looked.
    pub(super) fn space(&self) -> Space {
        self.space
    }

    /// Looks how much there is after a write has found room. `Some` when that is news.
    pub(super) fn look(&mut self) -> Option<Space> {
        // Who can't look goes by what the writes say.
        let mut free = self.dir.space().map_or(u64::MAX, |space| space.free_bytes);
        if !self.has_ballast && self.may_make && leaves_enough(free, self.ballast_bytes) {
            self.has_ballast = make(&self.dir, self.ballast_bytes).is_ok();
            self.may_make = self.has_ballast;
            free = self.dir.space().map_or(free, |space| space.free_bytes);
        }
        self.change(judge(free, self.ballast_bytes, self.space))
    }

    /// Gives up the ballast. Returns whether that has made room.
    pub(super) fn release(&mut self) -> bool {
        std::mem::take(&mut self.has_ballast) && release(&self.dir).unwrap_or(false)
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

/// Removes the ballast in `dir`, so that its blocks can be written. Returns whether it was there;
/// what is no file is left.
///
/// # Errors
/// Those of unlinkat(2) and fsync(2).
pub(super) fn release(dir: &Dir) -> io::Result<bool> {
    let is_file = dir.metadata(BALLAST)?.is_some_and(|found| found.is_file);
    let removed = is_file && dir.unlink(BALLAST)?;
    if removed {
        // Some file systems free the blocks of a removed file no sooner.
        dir.sync()?;
    }
    Ok(removed)
}

fn make(dir: &Dir, bytes: u64) -> io::Result<()> {
    let file = dir.file(BALLAST, Access::CreateNew)?;
    let made = match file::allocate(&file, bytes) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => fill(&file, bytes),
        made => made,
    };
    if made.is_err() {
        let _ = release(dir);
    }
    made
}

/// Writes what no file system can make smaller.
fn fill(file: &File, bytes: u64) -> io::Result<()> {
    let mut rng = Rng::new(bytes);
    let mut at = 0;
    while at < bytes {
        let mut block: Vec<u8> = std::iter::repeat_with(|| rng.next_u64().to_le_bytes())
            .take(WRITE_BYTES / 8)
            .flatten()
            .collect();
        block.truncate(usize::try_from(bytes - at).unwrap_or(WRITE_BYTES).min(WRITE_BYTES));
        file.write_all_at(&block, at)?;
        at += block.len() as u64;
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn what_is_free_is_judged_with_some_slack_on_the_way_back() {
        for (free, ballast, before, after) in [
            (16 * MIB, 16 * MIB, Space::Enough, Space::Enough),
            (16 * MIB - 1, 16 * MIB, Space::Enough, Space::Low),
            (20 * MIB - 1, 16 * MIB, Space::Low, Space::Low),
            (20 * MIB - 1, 16 * MIB, Space::Full, Space::Low),
            (20 * MIB, 16 * MIB, Space::Low, Space::Enough),
            (20 * MIB, 16 * MIB, Space::Full, Space::Enough),
            (0, 0, Space::Enough, Space::Enough),
            (0, 0, Space::Full, Space::Enough),
            (u64::MAX, u64::MAX, Space::Full, Space::Enough),
        ] {
            assert_eq!(judge(free, ballast, before), after, "{free} of {ballast}, {before:?}");
        }
    }

    #[test]
    fn a_ballast_never_makes_the_disk_full_by_itself() {
        for ballast in [1, 1_000, MIB, 16 * MIB, 1 << 40] {
            // The least that is enough, by halving.
            let (mut no, mut yes) = (0, ballast * 8);
            assert!(!leaves_enough(no, ballast) && leaves_enough(yes, ballast));
            while yes - no > 1 {
                let middle = no + (yes - no) / 2;
                let enough = leaves_enough(middle, ballast);
                (no, yes) = if enough { (no, middle) } else { (middle, yes) };
            }
            let left = yes - ballast;
            assert_eq!(judge(left, ballast, Space::Low), Space::Enough, "{yes} and {ballast}");
            // Nor is the node at the edge of too little from then on.
            assert!(left >= ballast + ballast / 2, "{yes} and {ballast}");
        }
    }

    fn data_dir() -> (tempfile::TempDir, Dir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        (temp, dir)
    }

    fn open(dir: &Dir, bytes: u64) -> (Room, Option<String>) {
        Room::open(dir.try_clone().unwrap(), bytes)
    }

    #[test]
    fn a_ballast_owns_its_blocks_however_it_is_made() {
        let (_temp, dir) = data_dir();
        for bytes in [1, MIB, MIB + 4_097] {
            make(&dir, bytes).unwrap();
            let made = dir.metadata(BALLAST).unwrap().unwrap();
            assert!(made.length == bytes && made.taken_bytes >= bytes, "{made:?}");
            assert!(release(&dir).unwrap() && !release(&dir).unwrap());
            let file = dir.file(BALLAST, Access::CreateNew).unwrap();
            fill(&file, bytes).unwrap();
            let made = dir.metadata(BALLAST).unwrap().unwrap();
            assert!(made.length == bytes && made.taken_bytes >= bytes, "{made:?}");
            release(&dir).unwrap();
        }
    }

    #[test]
    fn a_ballast_is_made_kept_given_up_and_made_again() {
        let (_temp, dir) = data_dir();
        let is_there = || dir.metadata(BALLAST).unwrap().is_some();
        let (mut room, _) = open(&dir, MIB);
        assert!(!is_there(), "it is made when there was a look");
        assert_eq!(room.look(), None);
        assert!(is_there());
        assert!(room.release() && !is_there());
        assert!(!room.release(), "there is none");
        assert_eq!(room.exhausted(), Some(Space::Full));
        assert_eq!(room.exhausted(), None, "no news");
        assert_eq!(room.look(), Some(Space::Enough));
        assert!(is_there());
        // The next start finds it, unless it is to have another size, or none.
        assert!(open(&dir, MIB).0.has_ballast && is_there());
        assert!(!open(&dir, 2 * MIB).0.has_ballast && !is_there());
        make(&dir, MIB).unwrap();
        let (mut room, _) = open(&dir, 0);
        assert!(!is_there());
        assert_eq!(room.look(), None);
        assert!(!is_there());
        // One that has holes is none.
        dir.file(BALLAST, Access::CreateNew).unwrap().set_len(MIB).unwrap();
        assert!(!open(&dir, MIB).0.has_ballast && !is_there());
    }

    #[test]
    fn what_is_no_file_is_left_and_told_of() {
        let (_temp, dir) = data_dir();
        dir.make_dir(BALLAST).unwrap();
        for bytes in [0, MIB] {
            let (mut room, remark) = open(&dir, bytes);
            assert!(remark.is_some());
            assert_eq!(room.look(), None);
            assert!(!room.release() && !release(&dir).unwrap());
            assert!(dir.metadata(BALLAST).unwrap().is_some());
        }
    }
}
