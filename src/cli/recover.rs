//! `bellwether journal recover`: from a damaged data directory to one that can be started.
//!
//! What is sound before the first damage becomes the snapshot of a new directory, of a new cluster
//! and a new node: what the lost records have promised binds nobody, and no run of before is taken
//! for one of after. The new one is built beside the old and then put in its place under a mark,
//! with which no agent starts; a recovery that was cut short goes on where it was.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use super::survey::{Survey, clause, is_in_use, open, shown, survey};
use super::{USAGE, aside, say};
use crate::agent::{FileStorage, FileZones, SEGMENT_BYTES, UNFINISHED};
use crate::ident::{ClusterId, Index, NodeId, StoreId};
use crate::journal::{
    Hard, HardFile, Journal, OpenError, Outputs, Progress, Record, RunsLog, Settings,
    TAILS_MAX_BYTES, in_groups,
};
use crate::schedule::Scheduler;
use crate::store::{self, Entry, Member, MemberState, SkipReason, State};
use crate::sys::file::{Access, Dir};
use crate::sys::{clock, random};
use crate::time::{Now, Wall};

/// The folder in which the new directory is built.
pub(super) const BUILT: &str = "recovery.tmp";
/// Where the mark is written before it gets its name.
const MARK_BESIDE: &str = "recovery.mark.tmp";
/// Longest mark, in bytes.
const MARK_MAX_BYTES: u64 = 64;
/// Who signs the records that a recovery adds.
const ACTOR: &str = "recovery";

/// Says what would be lost, and with `accept_loss` recovers. Exit code 0, or 2 without consent.
pub(super) fn run(path: &Path, accept_loss: bool, err: &mut dyn Write) -> Result<ExitCode, String> {
    let dir = open(path)?;
    if is_in_use(&dir) {
        return Err(aside::IN_USE.to_owned());
    }
    let name = shown(path);
    let mut tell = |what: &str| say(err, &format!("bellwether: {name}: {what}\n"));
    if dir.metadata(UNFINISHED).map_err(|error| error.to_string())?.is_some() {
        if !accept_loss {
            tell("a recovery was cut short; add --accept-loss to finish it");
            return Ok(ExitCode::from(USAGE));
        }
        let _lock = aside::lock(path, &dir)?;
        let folder = put_in_place(&dir)?;
        tell(&format!("the recovery is finished; the damaged files are in {folder}"));
        return Ok(ExitCode::SUCCESS);
    }
    let found = survey(&dir)?;
    if found.is_sound() {
        tell("nothing is damaged, and there is nothing to recover");
        return Ok(ExitCode::SUCCESS);
    }
    check_possible(&found)?;
    for sentence in losses(&found) {
        tell(&sentence);
    }
    if !accept_loss {
        tell("nothing was changed; add --accept-loss to keep what is left, and lose the rest");
        return Ok(ExitCode::from(USAGE));
    }
    let _lock = aside::lock(path, &dir)?;
    // Again, with the lock: what was looked at before may have changed.
    let found = survey(&dir)?;
    check_possible(&found)?;
    let last = build(&dir, found)?;
    let folder = aside::folder_name(&dir, "damaged").map_err(|error| error.to_string())?;
    mark(&dir, &format!("out {folder}"))?;
    let folder = put_in_place(&dir)?;
    tell(&format!(
        "recovered up to the record at index {last}, as a new cluster; the damaged files are in \
         {folder}"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Refuses what is no damage, and what leaves nothing.
fn check_possible(found: &Survey) -> Result<(), String> {
    for part in &found.parts {
        match &part.wrong {
            Some(wrong @ (OpenError::Newer { .. } | OpenError::Foreign { .. })) => {
                return Err(wrong.to_string());
            }
            Some(wrong @ (OpenError::Storage(_) | OpenError::Exists { .. })) => {
                return Err(clause(part, wrong));
            }
            Some(OpenError::Damaged(_) | OpenError::Unread { .. } | OpenError::Missing { .. })
            | None => {}
        }
    }
    let state = found.replay.state();
    if found.kept.index == Index(0) || node_before(found).is_none() {
        let wrong = found.first_wrong().map(|(part, wrong)| clause(part, wrong));
        return Err(format!(
            "its jobs cannot be recovered: {}, and no sound record is before that; restore it from \
             a backup, or begin anew with: bellwether reset",
            wrong.unwrap_or_default()
        ));
    }
    if state.applied() != found.kept.index {
        return Err("its sound records make no whole state".to_owned());
    }
    Ok(())
}

/// Who the node was.
fn node_before(found: &Survey) -> Option<NodeId> {
    found.hard.map(|hard| hard.node).or(found.replay.state().servers().voters.first().copied())
}

/// Whether records are lost, as far as can be known.
fn loses_records(found: &Survey) -> bool {
    found.parts.iter().any(|part| part.file.starts_with("journal") && part.wrong.is_some())
}

/// What is damaged, and what that costs, one sentence each.
fn losses(found: &Survey) -> Vec<String> {
    let damaged = found.parts.iter().filter_map(|part| Some(clause(part, part.wrong.as_ref()?)));
    let mut sentences: Vec<String> = damaged.collect();
    let (state, kept) = (found.replay.state(), found.kept.index);
    if loses_records(found) {
        let lasts = found.parts.iter().filter_map(|part| part.indexes.map(|(_, last)| last));
        let known = lasts.max().filter(|&last| last > kept);
        let end = known.map_or(String::new(), |last| format!(" to {last}, or later"));
        sentences.push(format!(
            "lost is every record from index {} on{end}; what was due since the last that is kept \
             is not run again, for nobody knows whether it ran",
            found.kept.next()
        ));
    } else {
        sentences.push("no record is lost".to_owned());
    }
    sentences.push("what ended runs wrote is not kept".to_owned());
    let newest = crate::cron::civil::format_utc(state.newest_wall());
    sentences.push(format!(
        "kept are the records up to index {kept}, of {newest}, with {} jobs; {} open runs end as \
         lost",
        state.jobs_by_name().len(),
        state.open_runs().len()
    ));
    sentences
}

/// Builds the new directory in [`BUILT`], durably, and returns its last index.
fn build(dir: &Dir, found: Survey) -> Result<Index, String> {
    let failed = |error: io::Error| format!("cannot build the new directory: {error}");
    // What an earlier try has left was never put to use.
    match std::fs::remove_dir_all(dir.magic_path().join(BUILT)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    dir.make_dir(BUILT).map_err(failed)?;
    let top = dir.open_dir(BUILT).map_err(failed)?;
    let mut storage = FileStorage::open(top).map_err(failed)?;
    let hard = identity(&found).map_err(failed)?;
    let now = clock::now();
    let wall = now.wall.max(found.replay.state().newest_wall());
    let now = Now { wall, ..now };
    let records = added(&found, &hard, now);
    let settings = Settings {
        owner: hard.owner(),
        segment_bytes: SEGMENT_BYTES,
        tails_max_bytes: TAILS_MAX_BYTES,
    };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut journal =
        Journal::create_behind(&mut storage, settings, found.kept).map_err(|error| text(&error))?;
    let mut state = found.replay.into_state();
    append(&mut journal, &mut storage, &mut state, records, wall)?;
    snapshot(&mut journal, &mut storage, &state).map_err(|error| text(&error))?;
    RunsLog::create(&mut storage, hard.store).map_err(|error| text(&error))?;
    HardFile::create(&mut storage, &hard).map_err(|error| text(&error))?;
    dir.sync().map_err(failed)?;
    Ok(state.applied())
}

/// A new cluster, a new directory and a new node, which has promised what the old one had.
fn identity(found: &Survey) -> io::Result<Hard> {
    let before = node_before(found);
    let node = loop {
        let drawn = NodeId::new(random::u32()?);
        if let Some(node) = drawn.filter(|_| drawn != before) {
            break node;
        }
    };
    let state = found.replay.state();
    let boot = before.and_then(|before| state.member(before)).map(|member| member.boot);
    let promised = found.hard.map(|hard| hard.promised_epoch).unwrap_or_default();
    Ok(Hard {
        cluster: ClusterId(random::u64()?.max(1)),
        store: StoreId(random::u64()?),
        node,
        boot: found.hard.map(|hard| hard.boot).or(boot).unwrap_or_default(),
        promised_epoch: promised.max(found.kept.epoch),
        promised_to: Some(node),
    })
}

/// The records that make the state one of the new cluster.
fn added(found: &Survey, hard: &Hard, now: Now) -> Vec<store::Record> {
    let state = found.replay.state();
    let servers = store::Servers::of(hard.cluster, vec![hard.node]);
    let mut records = vec![store::Record::Config(servers)];
    // The old node is gone; that its directory is another one now ends its open runs as lost.
    for member in state.members().cloned() {
        let (store, state) = (hard.store, MemberState::Left);
        records.push(store::Record::Node(Member { store, state, ..member }));
    }
    if loses_records(found) {
        // A claim may be among what is lost, so a due time that is decided again could start a
        // run a second time.
        let mut scheduler = Scheduler::default();
        scheduler.take_office(state, &FileZones::system(), now);
        records.extend(scheduler.give_up(state, now.wall.second(), SkipReason::Lost));
    }
    records
}

/// Appends the records and applies them.
fn append(
    journal: &mut Journal,
    storage: &mut FileStorage,
    state: &mut State,
    records: Vec<store::Record>,
    wall: Wall,
) -> Result<(), String> {
    let encoded: Vec<(u8, Vec<u8>)> =
        records.iter().map(|record| (record.kind(), record.encode(wall, ACTOR))).collect();
    let epoch = journal.last().epoch;
    let (first, schema) = (journal.last().next().0, store::SCHEMA);
    let raw: Vec<Record<'_>> = (encoded.iter().zip(first..))
        .map(|((kind, payload), index)| Record {
            index: Index(index),
            epoch,
            kind: *kind,
            schema,
            payload,
        })
        .collect();
    for group in in_groups(&raw, Record::frame_bytes) {
        journal.append_group(storage, group).map_err(|error| error.to_string())?;
    }
    for record in records {
        let index = Index(state.applied().0 + 1);
        state.apply(Entry { index, epoch, wall, actor: ACTOR.to_owned(), record });
    }
    Ok(())
}

fn snapshot(
    journal: &mut Journal,
    storage: &mut FileStorage,
    state: &State,
) -> Result<(), crate::journal::WriteError> {
    journal.snapshot_begin(storage, state.applied())?;
    for chunk in state.snapshot() {
        journal.snapshot_chunk(storage, &chunk)?;
    }
    // What ended runs wrote lies in the files that are moved aside.
    let outputs = Outputs { extract: &|_| None, keep: &[], keep_before: Index(0) };
    while journal.snapshot_finish_step(storage, &outputs)? == Progress::More {}
    Ok(())
}

/// Goes on with what the mark says: first all that is old goes into the folder it names, then all
/// that is new comes in. Each step may be done again. Returns the folder.
fn put_in_place(dir: &Dir) -> Result<String, String> {
    let text = read_mark(dir).map_err(|error| format!("cannot read {UNFINISHED}: {error}"))?;
    let parts = text.trim_end().split_once(' ').filter(|(phase, folder)| {
        let time = folder.strip_prefix("damaged-");
        let is_time = time.is_some_and(|time| time.bytes().all(|byte| byte.is_ascii_digit()));
        is_time && ["out", "in"].contains(phase)
    });
    let Some((phase, folder)) = parts else {
        return Err(format!("{UNFINISHED} is not what a recovery writes"));
    };
    let failed = |error: io::Error| format!("cannot put the new files in place: {error}");
    if phase == "out" {
        aside::move_into(dir, folder, &aside::ours(dir).map_err(failed)?)?;
        mark(dir, &format!("in {folder}"))?;
    }
    let built = match dir.open_dir(BUILT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        built => Some(built.map_err(failed)?),
    };
    if let Some(built) = built {
        for name in aside::ours(&built).map_err(failed)? {
            aside::move_one(&built, &name, dir).map_err(failed)?;
        }
        std::fs::remove_dir(dir.magic_path().join(BUILT)).map_err(failed)?;
        dir.sync().map_err(failed)?;
    }
    dir.unlink(UNFINISHED).and_then(|_| dir.sync()).map_err(failed)?;
    Ok(folder.to_owned())
}

/// Writes the mark durably, in place of the one before.
fn mark(dir: &Dir, text: &str) -> Result<(), String> {
    let write = || {
        dir.unlink(MARK_BESIDE)?;
        let mut file = dir.file(MARK_BESIDE, Access::CreateNew)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        dir.rename(MARK_BESIDE, UNFINISHED)?;
        dir.sync()
    };
    write().map_err(|error| format!("cannot write {UNFINISHED}: {error}"))
}

fn read_mark(dir: &Dir) -> io::Result<String> {
    let mut text = String::new();
    dir.file(UNFINISHED, Access::Read)?.take(MARK_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
