//! `bellwether journal`: looks at a data directory, beside a running agent too, and recovers one.
//!
//! `verify`, `dump` and `stats` never write. What they print on standard output is for programs,
//! one JSON object a line; the sentence for a person is on standard error.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use getopts::Options;
use serde_json::{Value, json};

use super::survey::{self, Survey, open, shown, tell};
use super::{dump, print, quoted, recover, say};
use crate::cron::civil;
use crate::journal::{OpenError, Part, Storage, StorageError};

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Checks every file.
    Verify(PathBuf),
    /// Prints records.
    Dump(PathBuf, dump::Choice),
    /// Prints numbers.
    Stats(PathBuf),
    /// Makes a damaged directory one that can be started; whether its losses are accepted.
    Recover(PathBuf, bool),
}

const VERBS: &str = "verify, dump, stats, recover";

/// Reads the words after the verb.
///
/// # Errors
/// What is wrong with them, as a clause.
pub(super) fn parse(words: &[String]) -> Result<Command, String> {
    let Some((verb, rest)) = words.split_first() else {
        return Err(format!("what to do is missing; it is one of {VERBS}"));
    };
    let mut options = Options::new();
    match verb.as_str() {
        "verify" | "stats" => {}
        "dump" => {
            options.optopt("", "from", "", "").optopt("", "count", "", "");
            options.optflag("", "runs", "").optflag("", "secrets", "");
        }
        "recover" => {
            options.optflag("", "accept-loss", "");
        }
        _ => return Err(format!("{} is none of {VERBS}", quoted(verb))),
    }
    let found =
        options.parse(rest).map_err(|fail| crate::text::escape_control(&fail.to_string()))?;
    let [dir] = found.free.as_slice() else {
        return Err(format!(
            "one data directory is expected after {verb}, found {}",
            found.free.len()
        ));
    };
    let number = |name: &str| match found.opt_str(name) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(number) if number > 0 => Ok(Some(number)),
            Ok(_) | Err(_) => Err(format!("--{name}: {} is not a number from 1", quoted(&text))),
        },
    };
    let dir = PathBuf::from(dir);
    Ok(match verb.as_str() {
        "verify" => Command::Verify(dir),
        "stats" => Command::Stats(dir),
        "dump" => {
            let (runs, secrets) = (found.opt_present("runs"), found.opt_present("secrets"));
            let (from, count) = (number("from")?.unwrap_or(1), number("count")?);
            Command::Dump(dir, dump::Choice { from, count, runs, secrets })
        }
        _ => Command::Recover(dir, found.opt_present("accept-loss")),
    })
}

/// Carries the command out. Exit code 0 when all is sound, 1 when it is not, or could not be read
/// or written, 2 when losses must be accepted first.
pub(super) fn run(command: &Command, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let (dir, done) = match command {
        Command::Verify(dir) => (dir, verify(dir, out, err)),
        Command::Dump(dir, choice) => (dir, dump::run(dir, *choice, out, err)),
        Command::Stats(dir) => (dir, stats(dir, out, err)),
        Command::Recover(dir, accept_loss) => (dir, recover::run(dir, *accept_loss, err)),
    };
    done.unwrap_or_else(|why| {
        say(err, &format!("bellwether: {}: {why}\n", shown(dir)));
        ExitCode::FAILURE
    })
}

fn verify(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> Result<ExitCode, String> {
    let found = survey::survey(&open(path)?)?;
    let lines: Vec<String> = found.parts.iter().map(|part| line(&part_json(part))).collect();
    let printed = print(&lines.concat(), out, err);
    let verdict = tell(path, &found, err);
    Ok(if verdict == ExitCode::SUCCESS { printed } else { verdict })
}

fn part_json(part: &Part) -> Value {
    let mut object = json!({
        "file": part.file, "bytes": part.bytes, "records": part.records, "ok": part.wrong.is_none(),
    });
    if let Some((first, last)) = part.indexes {
        object["first"] = first.0.into();
        object["last"] = last.0.into();
    }
    if let Some((first, last)) = part.epochs {
        object["epochs"] = json!([first.0, last.0]);
    }
    if let Some(offset) = part.torn {
        object["torn"] = json!({"offset": offset});
    }
    if let Some((offset, what)) = part.wrong.as_ref().map(OpenError::place) {
        object["offset"] = offset.into();
        object["what"] = what.into();
    }
    object
}

fn stats(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> Result<ExitCode, String> {
    let dir = open(path)?;
    let found = survey::survey(&dir)?;
    let printed = print(&line(&stats_json(&found, torn_bytes(&dir)?)), out, err);
    if found.is_sound() {
        return Ok(printed);
    }
    Ok(tell(path, &found, err))
}

fn stats_json(found: &Survey, torn_bytes: u64) -> Value {
    let state = found.replay.state();
    let bytes = |of: &dyn Fn(&str) -> bool| -> u64 {
        found.parts.iter().filter(|part| of(&part.file)).map(|part| part.bytes).sum()
    };
    let runs = |job: &crate::store::Job| job.executions().count();
    let executions: usize = state.jobs_by_name().map(runs).sum();
    let hex = |number: u64| format!("{number:016x}");
    json!({
        "cluster": found.owner.map(|owner| hex(owner.cluster.0)),
        "store": found.owner.map(|owner| hex(owner.store.0)),
        "node": found.hard.map(|hard| hard.node.to_string()),
        "boot": found.hard.map(|hard| hard.boot.0),
        "promised_epoch": found.hard.map(|hard| hard.promised_epoch.0),
        "last_index": found.kept.index.0,
        "last_epoch": found.kept.epoch.0,
        "newest": civil::format_utc(state.newest_wall()),
        "records": found.kinds,
        "jobs": state.jobs_by_name().len(),
        "open_runs": state.open_runs().len(),
        "executions": executions,
        "snapshot_bytes": bytes(&|file| file == "snapshot"),
        "segment_bytes": bytes(&|file| file.starts_with("journal/")),
        "runs_bytes": bytes(&|file| file == "runs"),
        "torn_bytes": torn_bytes,
        "ok": found.is_sound(),
    })
}

/// Bytes of the kept pieces of torn groups.
fn torn_bytes(dir: &crate::sys::file::Dir) -> Result<u64, String> {
    let storage = survey::storage(dir)?;
    let names = storage.list().map_err(|error| error.to_string())?;
    let lengths = names.iter().filter(|name| name.starts_with("torn-")).map(|name| {
        match storage.length(name) {
            Err(StorageError::NotFound) => Ok(0),
            length => length.map_err(|error| error.to_string()),
        }
    });
    lengths.sum()
}

/// A line of output: a JSON object in which nothing steers a terminal.
pub(super) fn line(object: &Value) -> String {
    let mut out = dump::harmless(&object.to_string());
    out.push('\n');
    out
}
