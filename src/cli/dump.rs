//! `bellwether journal dump`: records as JSON objects, one a line, their fields by name.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::say;
use super::survey::{clause, kind_name, look_again, open, owner_of, shown};
use crate::cron::civil;
use crate::ident::{NodeId, RunId};
use crate::job::Spec;
use crate::journal::{HardFile, Inspection, Item, OpenError, Owner, Part, RunsLog, Storage};
use crate::run::runs_log::RunsRecord;
use crate::store::{
    Claim, Ending, Entry, Finished, JobPut, Member, MemberState, Reason, Record, Replay, Skip,
    SkipReason,
};
use crate::time::{Second, Wall};

/// Most bytes of an output tail that are shown, its last ones.
const TAIL_SHOWN_MAX_BYTES: usize = 4096;

/// Which records, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The first index.
    pub from: u64,
    /// Most that are shown.
    pub count: Option<u64>,
    /// Those of the runs log.
    pub runs: bool,
    /// With the values of variables.
    pub secrets: bool,
}

/// Prints the records. Exit code 0, or 1 when damage lies before the last that was asked for.
pub(super) fn run(
    path: &Path,
    choice: Choice,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, String> {
    let mut printer = Printer::new(choice, out);
    let wrong = look_again(&open(path)?, |storage| {
        let wrong = match choice.runs {
            true => printer.runs(storage)?,
            false => printer.journal(storage)?,
        };
        let is_content = wrong.is_none();
        Ok((wrong, is_content))
    })?;
    match printer.finish() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(format!("cannot write to standard output: {error}"));
        }
        Ok(()) | Err(_) => {}
    }
    let Some(wrong) = wrong else { return Ok(ExitCode::SUCCESS) };
    say(err, &format!("bellwether: {}: {wrong}\n", shown(path)));
    Ok(ExitCode::FAILURE)
}

/// Prints each record once, though a directory may be read again.
struct Printer<'o> {
    out: BufWriter<&'o mut dyn Write>,
    next: u64,
    left: u64,
    secrets: bool,
    failed: Option<io::Error>,
}

impl<'o> Printer<'o> {
    fn new(choice: Choice, out: &'o mut dyn Write) -> Self {
        let (out, left) = (BufWriter::new(out), choice.count.unwrap_or(u64::MAX));
        Printer { out, next: choice.from, left, secrets: choice.secrets, failed: None }
    }

    /// Prints the journal, and says what is wrong with it.
    fn journal(&mut self, storage: &dyn Storage) -> Result<Option<String>, String> {
        let owner = owner(storage)?;
        let begun = Inspection::begin(storage, owner);
        let mut inspection = begun.map_err(|error| error.to_string())?;
        let (mut replay, secrets) = (Replay::new(), self.secrets);
        let mut visit = |item: Item<'_>| {
            if let Item::Record(_) = item {
                if let Some(entry) = replay.take(item)? {
                    let index = entry.index.0;
                    self.record(index, || entry_json(&entry, secrets));
                }
            }
            Ok(())
        };
        while let Some(part) = inspection.next(&mut visit) {
            if let Some(wrong) = wrong_of(&part) {
                return Ok(Some(wrong));
            }
        }
        Ok(None)
    }

    fn runs(&mut self, storage: &dyn Storage) -> Result<Option<String>, String> {
        let mut place = 0;
        let part = RunsLog::inspect(storage, owner(storage)?.store, &mut |raw| {
            let record = RunsRecord::decode(raw.kind, raw.schema, raw.payload);
            let record = record.map_err(|error| error.to_string())?;
            place += 1;
            self.record(place, || runs_json(place, &record));
            Ok(())
        });
        Ok(wrong_of(&part))
    }

    fn record(&mut self, index: u64, json: impl FnOnce() -> Map<String, Value>) {
        if index < self.next || self.left == 0 || self.failed.is_some() {
            return;
        }
        (self.next, self.left) = (index + 1, self.left - 1);
        let line = harmless(&ordered(json()));
        self.failed = writeln!(self.out, "{line}").err();
    }

    fn finish(mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)?;
        self.out.flush()
    }
}

fn owner(storage: &dyn Storage) -> Result<Owner, String> {
    let hard = match HardFile::read(storage) {
        Ok(copy) => copy.map(|copy| copy.hard),
        Err(OpenError::Damaged(_)) => None,
        Err(error) => return Err(error.to_string()),
    };
    owner_of(hard, storage).ok_or_else(|| "it holds no data of an agent".to_owned())
}

fn wrong_of(part: &Part) -> Option<String> {
    part.wrong.as_ref().map(|wrong| clause(part, wrong))
}

/// The fields that every record has first, in the order in which one reads.
fn ordered(mut object: Map<String, Value>) -> String {
    let mut out = String::from("{");
    let mut put = |key: &str, value: &Value| {
        let comma = if out.len() > 1 { "," } else { "" };
        out.push_str(&format!("{comma}{}:{value}", Value::from(key)));
    };
    for key in ["index", "epoch", "kind", "wall", "actor"] {
        if let Some(value) = object.remove(key) {
            put(key, &value);
        }
    }
    object.iter().for_each(|(key, value)| put(key, value));
    out.push('}');
    out
}

/// `json` with the control characters escaped that JSON itself lets pass, such as the one that
/// begins a command to a terminal in eight bits.
pub(super) fn harmless(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c.is_control() {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

fn entry_json(entry: &Entry, secrets: bool) -> Map<String, Value> {
    let mut object = fields(&entry.record, secrets);
    object.insert("index".into(), entry.index.0.into());
    object.insert("epoch".into(), entry.epoch.0.into());
    object.insert("kind".into(), kind_name(&entry.record).into());
    object.insert("wall".into(), wall(entry.wall));
    object.insert("actor".into(), entry.actor.as_str().into());
    object
}

fn fields(record: &Record, secrets: bool) -> Map<String, Value> {
    let fields = match record {
        Record::EpochStart { leader } => json!({"leader": node(*leader)}),
        Record::Config(servers) => json!({
            "cluster": format!("{:016x}", servers.cluster.0),
            "voters": nodes(&servers.voters),
            "learners": nodes(&servers.learners),
            "wanted": nodes(&servers.wanted),
        }),
        Record::Node(member) => member_json(member),
        Record::JobPut(put) => put_json(put, secrets),
        Record::JobDelete { job } => json!({"job_id": job.0}),
        Record::Claim(claim) => claim_json(claim),
        Record::Finished(finished) => finished_json(finished),
        Record::Skip(skip) => skip_json(skip),
        Record::ClockCorrected { to } => json!({"to": second(*to)}),
        Record::Checkpoint { previous } => json!({
            "previous": previous.map(|(index, _)| index.0),
        }),
        Record::RestorePart(part) => {
            let mut object = put_json(&part.put, secrets);
            object["restore"] = part.restore.into();
            object["created"] = part.created.map_or(Value::Null, wall);
            object["updated"] = part.updated.map_or(Value::Null, wall);
            object
        }
        Record::RestoreCommit(commit) => json!({
            "restore": commit.restore, "jobs": commit.jobs, "replace": commit.replace,
        }),
        Record::Retry(retry) => json!({
            "run": run_json(retry.run), "node": node(retry.node),
            "not_before": wall(retry.not_before),
        }),
        Record::Keyed(keyed) => {
            let mut inner = fields(&keyed.record, secrets);
            inner.insert("key".into(), keyed.key.text.as_str().into());
            return inner;
        }
    };
    object_of(fields)
}

fn object_of(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

fn member_json(member: &Member) -> Value {
    json!({
        "node": node(member.id), "store": format!("{:016x}", member.store.0),
        "boot": member.boot.0, "name": member.name, "address": member.address,
        "server": member.server, "work": member.work,
        "tags": member.tags.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "state": match member.state {
            MemberState::Registered => "registered",
            MemberState::Left => "left",
        },
    })
}

fn put_json(put: &JobPut, secrets: bool) -> Value {
    // Bytes that are no definition are not shown: nobody could say what in them is a secret.
    let job = match Spec::from_bytes(&put.spec) {
        Ok(spec) => {
            let bytes = if secrets { spec.to_bytes() } else { spec.masked().to_bytes() };
            serde_json::from_slice(&bytes).unwrap_or(Value::Null)
        }
        Err(error) => json!({"unreadable": error.to_string(), "bytes": put.spec.len()}),
    };
    json!({
        "name": put.name, "job": job,
        "mark": put.mark.map(second), "anchor": put.anchor.map(second),
    })
}

fn claim_json(claim: &Claim) -> Value {
    json!({
        "job_id": claim.job.0, "version": claim.version, "due": claim.due.map(second),
        "clock_era": claim.clock_era, "trigger": claim.trigger.name(),
        "parent": claim.parent.map(|end| end.0),
        "targets": claim.targets.iter().map(|target| node(*target)).collect::<Vec<_>>(),
    })
}

fn finished_json(finished: &Finished) -> Value {
    let mut object = ending_json(&finished.ending);
    object["run"] = run_json(finished.run);
    put_tail(&mut object, &finished.tail);
    object
}

fn ending_json(ending: &Ending) -> Value {
    json!({
        "end": ending.end.name(), "reason": ending.reason.map(reason_json),
        "exit_code": ending.exit_code, "signal": ending.signal,
        "started": wall(ending.started), "finished": wall(ending.finished),
        "duration_ms": ending.duration_ms, "cpu_ms": ending.cpu_ms,
        "max_rss_bytes": ending.max_rss_bytes, "output_bytes": ending.output_bytes,
    })
}

fn reason_json(reason: Reason) -> Value {
    match reason {
        Reason::DeadlinePassed => json!("deadline_passed"),
        Reason::Overlap => json!("overlap"),
        Reason::StartFailed(stage, errno) => json!({"start_failed": stage, "errno": errno}),
        Reason::LauncherGone => json!("launcher_gone"),
        Reason::Untraceable => json!("untraceable"),
        Reason::StoreReplaced => json!("store_replaced"),
        Reason::Unreachable => json!("unreachable"),
        Reason::JobDeleted => json!("job_deleted"),
    }
}

fn put_tail(object: &mut Value, tail: &[u8]) {
    let start = tail.len().saturating_sub(TAIL_SHOWN_MAX_BYTES);
    let shown = tail.get(start..).unwrap_or_default();
    object["tail"] = String::from_utf8_lossy(shown).into();
    object["tail_bytes"] = tail.len().into();
}

fn skip_json(skip: &Skip) -> Value {
    json!({
        "job_id": skip.job.0, "clock_era": skip.clock_era, "after": second(skip.after),
        "until": second(skip.until), "first": second(skip.first), "count": skip.count,
        "more": skip.more,
        "reason": match skip.reason {
            SkipReason::WindowPassed => "window_passed",
            SkipReason::NoNode => "no_node",
            SkipReason::Lost => "lost",
            SkipReason::Backlog => "backlog",
            SkipReason::Withdrawn => "withdrawn",
        },
        "parent": skip.parent.map(|end| end.0),
    })
}

fn runs_json(place: u64, record: &RunsRecord) -> Map<String, Value> {
    let (kind, mut fields) = match record {
        RunsRecord::Epoch(epoch) => ("epoch", json!({"epoch": epoch.0})),
        RunsRecord::Accepted { run, instance } => {
            ("accepted", json!({"run": run_json(*run), "instance": instance.0.to_string()}))
        }
        RunsRecord::Spawned { run, instance, process, started } => (
            "spawned",
            json!({
                "run": run_json(*run), "instance": instance.0.to_string(), "pid": process.pid,
                "started": wall(*started),
            }),
        ),
        RunsRecord::Exited { run, ending, tail } => {
            let mut fields = ending_json(ending);
            fields["run"] = run_json(*run);
            put_tail(&mut fields, tail);
            ("exited", fields)
        }
        RunsRecord::Forgotten { run } => ("forgotten", json!({"run": run_json(*run)})),
    };
    fields["index"] = place.into();
    fields["kind"] = kind.into();
    object_of(fields)
}

fn run_json(run: RunId) -> Value {
    json!({"claim": run.group.0, "node": node(run.node), "attempt": run.attempt})
}

fn nodes(ids: &[NodeId]) -> Vec<String> {
    ids.iter().map(|id| node(*id)).collect()
}

fn node(id: NodeId) -> String {
    id.to_string()
}

fn wall(at: Wall) -> Value {
    civil::format_utc(at).into()
}

fn second(at: Second) -> Value {
    wall(at.wall())
}
