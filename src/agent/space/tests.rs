//! The ballast on a real disk, and how much room is enough.

use super::*;
use crate::agent::storage::FileStorage;
use crate::sys::file::{Access, Dir};

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

fn data_dir() -> (tempfile::TempDir, Dir, FileStorage) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    let disk = FileStorage::open(dir.try_clone().unwrap()).unwrap();
    (temp, dir, disk)
}

#[test]
fn a_ballast_is_made_kept_given_up_and_made_again() {
    let (_temp, dir, mut disk) = data_dir();
    let is_there = || dir.metadata(BALLAST).unwrap().is_some();
    let (mut room, _) = Room::open(&mut disk, MIB);
    assert!(!is_there(), "it is made when there was a look");
    assert_eq!(room.look(&mut disk), None);
    assert!(is_there());
    assert!(room.release(&mut disk) && !is_there());
    assert!(!room.release(&mut disk), "there is none");
    assert_eq!(room.exhausted(), Some(Space::Full));
    assert_eq!(room.exhausted(), None, "no news");
    assert_eq!(room.look(&mut disk), Some(Space::Enough));
    assert!(is_there());
    // The next start finds it, unless it is to have another size, or none.
    assert!(Room::open(&mut disk, MIB).0.has_ballast && is_there());
    assert!(!Room::open(&mut disk, 2 * MIB).0.has_ballast && !is_there());
    assert!(make(&mut disk, MIB));
    let (mut room, _) = Room::open(&mut disk, 0);
    assert!(!is_there());
    assert_eq!(room.look(&mut disk), None);
    assert!(!is_there());
    // One that has holes is none.
    dir.file(BALLAST, Access::CreateNew).unwrap().set_len(MIB).unwrap();
    assert!(!Room::open(&mut disk, MIB).0.has_ballast && !is_there());
}

#[test]
fn what_is_no_file_is_left_and_told_of() {
    let (_temp, dir, mut disk) = data_dir();
    dir.make_dir(BALLAST).unwrap();
    for bytes in [0, MIB] {
        let (mut room, remark) = Room::open(&mut disk, bytes);
        assert!(remark.is_some());
        assert_eq!(room.look(&mut disk), None);
        assert!(!room.release(&mut disk) && !release(&mut disk));
        assert!(dir.metadata(BALLAST).unwrap().is_some());
    }
}
