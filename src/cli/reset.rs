//! `bellwether reset`: moves the data of a stopped agent aside, so that its next start begins anew.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use getopts::Options;

use super::survey::{is_in_use, open, shown};
use super::{USAGE, aside, recover, say};
use crate::agent::{GENESIS, UNFINISHED};
use crate::sys::file::Dir;

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    dir: PathBuf,
    yes: bool,
}

/// Reads the words after the verb.
///
/// # Errors
/// What is wrong with them, as a clause.
pub(super) fn parse(words: &[String]) -> Result<Command, String> {
    let mut options = Options::new();
    options.optflag("", "yes", "").optflag("", "genesis", "").optflag("", "rejoin", "");
    let found =
        options.parse(words).map_err(|fail| crate::text::escape_control(&fail.to_string()))?;
    for (flag, instead) in [
        ("genesis", "reset DIR --yes undoes a first start, too"),
        ("rejoin", "journal recover --accept-loss DIR keeps what can be read of a damaged one"),
    ] {
        if found.opt_present(flag) {
            return Err(format!(
                "--{flag} is for clusters, and this version runs one node; {instead}"
            ));
        }
    }
    match found.free.as_slice() {
        [dir] => Ok(Command { dir: dir.into(), yes: found.opt_present("yes") }),
        words => Err(format!("one data directory is expected, found {}", words.len())),
    }
}

/// Moves everything aside. Exit code 0, 1 when that is not possible, 2 without `--yes`.
pub(super) fn run(command: &Command, err: &mut dyn Write) -> ExitCode {
    let path = &command.dir;
    reset(path, command.yes, err).unwrap_or_else(|why| {
        say(err, &format!("bellwether: {}: {why}\n", shown(path)));
        ExitCode::FAILURE
    })
}

fn reset(path: &Path, yes: bool, err: &mut dyn Write) -> Result<ExitCode, String> {
    let dir = open(path)?;
    let names = to_move(&dir)?;
    if names.is_empty() {
        return Err("it holds no data of an agent".to_owned());
    }
    let shown = shown(path);
    if !yes {
        if is_in_use(&dir) {
            return Err(aside::IN_USE.to_owned());
        }
        let list = names.join(", ");
        say(
            err,
            &format!(
                "bellwether: {shown}: this would move aside {list}, with all jobs and their \
                 history; nothing was changed; add --yes to do it\n"
            ),
        );
        return Ok(ExitCode::from(USAGE));
    }
    let _lock = aside::lock(path, &dir)?;
    // Again, with the lock: an agent may have been there a moment ago.
    let names = to_move(&dir)?;
    let folder = aside::folder_name(&dir, "reset").map_err(|error| error.to_string())?;
    aside::move_into(&dir, &folder, &names)?;
    say(
        err,
        &format!(
            "bellwether: {shown}: all data was moved into {folder}; the next start begins anew\n"
        ),
    );
    Ok(ExitCode::SUCCESS)
}

/// What is ours, in such an order that a start which finds the half of it refuses: the marks of
/// something unfinished go last.
fn to_move(dir: &Dir) -> Result<Vec<String>, String> {
    let mut names = aside::ours(dir).map_err(|error| format!("cannot list it: {error}"))?;
    for name in [recover::BUILT, UNFINISHED, GENESIS] {
        if dir.metadata(name).map_err(|error| error.to_string())?.is_some() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
