//! What the verbs share that change a stopped data directory: nothing in it is ever deleted, it is
//! moved into a folder beside.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::agent::LOCK;
use crate::sys::file::{self, Access, Dir};
use crate::sys::{clock, user};

/// Files and folders of an agent that count, and what a crash may leave beside them.
const OURS: [&str; 8] =
    ["hard", "hard.tmp", "runs", "runs.tmp", "snapshot", "snapshot.tmp", "torn.tmp", "journal"];

/// Takes the lock of an agent, for as long as the file lives.
///
/// # Errors
/// When an agent has it, or the directory is another user's: its agent could not use what this
/// one would make there.
pub(super) fn lock(path: &Path, dir: &Dir) -> Result<File, String> {
    let failed = |error: io::Error| format!("cannot lock it: {error}");
    let owner = std::fs::metadata(path).map_err(failed)?.uid();
    if owner != user::uid() {
        return Err(format!(
            "it belongs to the user with the id {owner}; do this as that user, as in: sudo -u \
             '#{owner}' bellwether …"
        ));
    }
    let lock = dir.file(LOCK, Access::Create).map_err(failed)?;
    match file::lock_exclusive(&lock).map_err(failed)? {
        true => Ok(lock),
        false => Err(IN_USE.to_owned()),
    }
}

/// Why a directory is not touched.
pub(super) const IN_USE: &str = "an agent is using it; stop that first";

/// The names that are ours, kept pieces of torn groups first and the identity next: a start that
/// finds one without the other refuses.
///
/// # Errors
/// When the directory cannot be listed.
pub(super) fn ours(dir: &Dir) -> io::Result<Vec<String>> {
    let names = dir.list()?.into_iter().filter_map(|name| name.into_string().ok());
    let (mut torn, mut rest) = (Vec::new(), Vec::new());
    for name in names {
        if name.starts_with("torn-") {
            torn.push(name);
        } else if OURS.contains(&name.as_str()) {
            rest.push(name);
        }
    }
    rest.sort_unstable();
    torn.extend(rest);
    Ok(torn)
}

/// A name for a folder that is not there yet: `PREFIX-` and the time.
///
/// # Errors
/// When the directory cannot be looked at.
pub(super) fn folder_name(dir: &Dir, prefix: &str) -> io::Result<String> {
    let mut time = clock::now().wall.second().0;
    loop {
        let name = format!("{prefix}-{time}");
        if dir.metadata(&name)?.is_none() {
            return Ok(name);
        }
        time += 1;
    }
}

/// Moves `names` into the folder, which is made if it is not there, each durably and in order.
///
/// # Errors
/// A sentence; what was moved before stays moved.
pub(super) fn move_into(dir: &Dir, folder: &str, names: &[String]) -> Result<(), String> {
    let made = match dir.make_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => dir.open_dir(folder),
    };
    let into = made.map_err(|error| format!("cannot make the folder {folder}: {error}"))?;
    for name in names {
        move_one(dir, name, &into).map_err(|error| format!("cannot move {name}: {error}"))?;
    }
    Ok(())
}

/// Moves one name between two directories, durably.
///
/// # Errors
/// Those of the system.
pub(super) fn move_one(from: &Dir, name: &str, into: &Dir) -> io::Result<()> {
    from.move_to(name, into)?;
    into.sync()?;
    from.sync()
}
