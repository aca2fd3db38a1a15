//! A look at all of a data directory that changes nothing: what each file holds, what is wrong
//! with it, and the state that the sound part makes. The verbs about a directory begin with it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::say;
use crate::agent::{GENESIS, LOCK, ReadStorage, UNFINISHED};
use crate::journal::{
    Hard, HardFile, Inspection, OpenError, Owner, Part, RunsLog, Seam, Storage, owner_in,
};
use crate::run::runs_log::RunsRecord;
use crate::store::{Record, Replay};
use crate::sys::file::{self, Access, Dir};
use crate::text::escape_control;

/// How often a directory that an agent uses is read again, before what looks wrong is said to be:
/// a file may have been appended to, replaced or removed while it was read.
const LOOKS_MAX: u32 = 10;

/// The identity's file.
const HARD: &str = "hard";

/// What was found.
pub(super) struct Survey {
    /// Who the directory says that it is.
    pub(super) hard: Option<Hard>,
    /// Whose files these are, as far as that can be known.
    pub(super) owner: Option<Owner>,
    /// Every file, in the order in which a start reads them.
    pub(super) parts: Vec<Part>,
    /// The state that snapshot and records make, up to the first damage.
    pub(super) replay: Replay,
    /// The last record in that state.
    pub(super) kept: Seam,
    /// How many records there are of each kind.
    pub(super) kinds: BTreeMap<&'static str, u64>,
}

impl Survey {
    pub(super) fn is_sound(&self) -> bool {
        self.first_wrong().is_none()
    }

    pub(super) fn first_wrong(&self) -> Option<(&Part, &OpenError)> {
        self.parts.iter().find_map(|part| Some((part, part.wrong.as_ref()?)))
    }
}

/// Opens a directory that must be there.
///
/// # Errors
/// A clause about it.
pub(super) fn open(path: &Path) -> Result<Dir, String> {
    Dir::open(path).map_err(|error| format!("cannot open it: {error}"))
}

/// The path as it can be printed.
pub(super) fn shown(path: &Path) -> String {
    escape_control(&path.to_string_lossy())
}

/// Whether an agent uses the directory.
pub(super) fn is_in_use(dir: &Dir) -> bool {
    dir.file(LOCK, Access::Read).and_then(|lock| file::is_locked(&lock)).unwrap_or(false)
}

/// Opens the files to be read only.
///
/// # Errors
/// A sentence.
pub(super) fn storage(dir: &Dir) -> Result<ReadStorage, String> {
    let opened = dir.try_clone().and_then(ReadStorage::open);
    opened.map_err(|error| format!("cannot open the folder journal: {error}"))
}

/// Does `look` until it is content, as [`looks`] says, each time over files opened anew.
///
/// # Errors
/// Those of `look`.
pub(super) fn look_again<T>(
    dir: &Dir,
    mut look: impl FnMut(&ReadStorage) -> Result<(T, bool), String>,
) -> Result<T, String> {
    looks(|| is_in_use(dir), || look(&storage(dir)?))
}

/// Does `look` until it is content, at most [`LOOKS_MAX`] times as long as the directory is in use,
/// and once if it is not. The last result counts.
fn looks<T>(
    is_in_use: impl Fn() -> bool,
    mut look: impl FnMut() -> Result<(T, bool), String>,
) -> Result<T, String> {
    let mut count = 0;
    loop {
        count += 1;
        let in_use_before = is_in_use();
        let (found, is_content) = look()?;
        let may_have_changed = in_use_before || is_in_use();
        if is_content || !may_have_changed || count >= LOOKS_MAX {
            return Ok(found);
        }
    }
}

/// Looks at all of a directory.
///
/// # Errors
/// A sentence, when there is nothing to look at.
pub(super) fn survey(dir: &Dir) -> Result<Survey, String> {
    check_markers(dir)?;
    look_again(dir, |storage| {
        let found = survey_once(storage)?;
        let is_content = found.is_sound() && found.parts.iter().all(|part| part.torn.is_none());
        Ok((found, is_content))
    })
}

/// Says what a directory is whose making or recovery was cut short.
fn check_markers(dir: &Dir) -> Result<(), String> {
    let is_there = |name| dir.metadata(name).map(|found| found.is_some());
    let failed = |error: io::Error| format!("cannot look into it: {error}");
    if is_there(UNFINISHED).map_err(failed)? {
        return Err("a recovery was cut short; run it again: bellwether journal recover \
                    --accept-loss DIR"
            .to_owned());
    }
    if is_there(GENESIS).map_err(failed)? {
        return Err("its first start was cut short, and the next one begins anew".to_owned());
    }
    Ok(())
}

fn survey_once(storage: &dyn Storage) -> Result<Survey, String> {
    let names = storage.list().map_err(|error| error.to_string())?;
    let is_ours = |name: &String| {
        name.starts_with("journal/") || ["hard", "snapshot", "runs"].contains(&name.as_str())
    };
    if !names.iter().any(is_ours) {
        return Err("it holds no data of an agent".to_owned());
    }
    let (hard, hard_part) = survey_hard(storage);
    let owner = owner_of(hard, storage);
    let mut found = Survey {
        hard,
        owner,
        parts: vec![hard_part],
        replay: Replay::new(),
        kept: Seam::default(),
        kinds: BTreeMap::new(),
    };
    if let Some(owner) = owner {
        survey_journal(storage, owner, &mut found)?;
        let part = RunsLog::inspect(storage, owner.store, &mut |raw| {
            let read = RunsRecord::decode(raw.kind, raw.schema, raw.payload);
            read.map(drop).map_err(|error| error.to_string())
        });
        found.parts.push(part);
    }
    Ok(found)
}

/// Whose files these are: whom the identity names, or else the newest segment.
pub(super) fn owner_of(hard: Option<Hard>, storage: &dyn Storage) -> Option<Owner> {
    hard.map(|hard| hard.owner()).or_else(|| owner_in(storage))
}

fn survey_hard(storage: &dyn Storage) -> (Option<Hard>, Part) {
    let (hard, records, wrong) = match HardFile::read(storage) {
        Ok(Some(copy)) => (Some(copy.hard), if copy.other_copy_bad { 1 } else { 2 }, None),
        Ok(None) => (None, 0, Some(OpenError::Missing { file: HARD })),
        Err(error) => (None, 0, Some(error)),
    };
    let bytes = storage.length(HARD).unwrap_or(0);
    let file = HARD.to_owned();
    (hard, Part { file, bytes, records, indexes: None, epochs: None, torn: None, wrong })
}

fn survey_journal(storage: &dyn Storage, owner: Owner, to: &mut Survey) -> Result<(), String> {
    let Survey { parts, replay, kinds, .. } = to;
    let mut inspection = Inspection::begin(storage, owner).map_err(|error| error.to_string())?;
    let mut visit = |item: crate::journal::Item<'_>| {
        let Some(entry) = replay.take(item)? else { return Ok(()) };
        *kinds.entry(kind_name(&entry.record)).or_insert(0) += 1;
        replay.apply(entry)
    };
    while let Some(part) = inspection.next(&mut visit) {
        parts.push(part);
    }
    to.kept = inspection.kept();
    Ok(())
}

/// Says on standard error whether a directory is sound, and what is wrong with it if not.
pub(super) fn tell(path: &Path, found: &Survey, err: &mut dyn Write) -> ExitCode {
    let dir = shown(path);
    for part in found.parts.iter().filter(|part| part.torn.is_some()) {
        let file = &part.file;
        say(
            err,
            &format!(
                "bellwether: {dir}: the last group of {file} was cut short by a crash, or is being \
                 written; nobody was told of it, and a start cuts it off\n"
            ),
        );
    }
    for part in &found.parts {
        if let Some(wrong) = &part.wrong {
            say(err, &format!("bellwether: {dir}: {}\n", clause(part, wrong)));
        }
    }
    if found.is_sound() {
        let (files, last) = (found.parts.len(), found.kept.index);
        let sound = format!("bellwether: {dir} is sound: {files} files, records up to {last}\n");
        say(err, &sound);
        return ExitCode::SUCCESS;
    }
    say(
        err,
        &format!(
            "bellwether: {dir} is damaged; restore it from a backup, or see what would be lost: \
             bellwether journal recover {dir}\n"
        ),
    );
    ExitCode::FAILURE
}

/// What is wrong with a file, and where.
pub(super) fn clause(part: &Part, wrong: &OpenError) -> String {
    let file = &part.file;
    match wrong.place() {
        (Some(offset), what) => format!("{file} is damaged at byte {offset}: {what}"),
        (None, what) => format!("{file}: {what}"),
    }
}

/// The kind of a record, as a word; that of the change where it has a key.
pub(super) fn kind_name(record: &Record) -> &'static str {
    match record {
        Record::EpochStart { .. } => "epoch_start",
        Record::Config(_) => "config",
        Record::Node(_) => "node",
        Record::JobPut(_) => "job_put",
        Record::JobDelete { .. } => "job_delete",
        Record::Claim(_) => "claim",
        Record::Finished(_) => "finished",
        Record::Skip(_) => "skip",
        Record::ClockCorrected { .. } => "clock_corrected",
        Record::Keyed(keyed) => kind_name(&keyed.record),
        Record::Checkpoint { .. } => "checkpoint",
        Record::RestorePart(_) => "restore_part",
        Record::RestoreCommit(_) => "restore_commit",
        Record::Retry(_) => "retry",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_looks_wrong_is_looked_at_again_only_while_an_agent_may_have_changed_it() {
        // Content from that look on; in use when that many questions are asked, one before a look
        // and, if that is answered with no, one after it.
        for (content_at, in_use_for, expected) in [
            (1, u32::MAX, 1),
            (3, u32::MAX, 3),
            (u32::MAX, u32::MAX, LOOKS_MAX),
            (u32::MAX, 0, 1),
            // The agent ended during the third look, and might have written last in it.
            (u32::MAX, 3, 4),
        ] {
            let (asked, looked) = (Cell::new(0), Cell::new(0));
            let is_in_use = || {
                asked.set(asked.get() + 1);
                asked.get() <= in_use_for
            };
            let found = looks(is_in_use, || {
                looked.set(looked.get() + 1);
                Ok((looked.get(), looked.get() >= content_at))
            });
            assert_eq!(found, Ok(expected), "content at {content_at}, in use for {in_use_for}");
        }
    }
}
