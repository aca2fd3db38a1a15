//! Routes of jobs.

use std::collections::VecDeque;

use serde_json::Value;

use super::list::{Page, bad_query, number};
use super::peek;
use super::shown;
use super::stream::{Items, Stream};
use super::tags::{check_version, tagged};
use super::{Answer, Call, Change, Handled, JobContext, RunOnce, Then, View};
use crate::cron::{self, Place, Zone, civil};
use crate::http::{Body, Response};
use crate::ident::JobId;
use crate::job::{Concurrency, Draft, Mode, Parsed, Refusal, RefusalKind, Spec, Status};
use crate::schedule::{choose_targets, timing};
use crate::store::{Claim, Facts, JOBS_MAX, Job, JobPut, Record, Trigger};
use crate::time::Second;

/// What is said of a definition that validation let in and nobody can read.
const UNREADABLE: &str = "the stored definition cannot be read; this is a bug";

/// Most children that are named where a job can't be deleted because of them.
const CHILDREN_SHOWN_MAX: usize = 10;
/// Most due times of one preview.
const PREVIEW_MAX: usize = 1_000;

/// All jobs that pass the filters of the query.
pub(super) fn list(call: &Call<'_>) -> Handled {
    let page = Page::of(call, false)?;
    let filters = Filters::of(call)?;
    let view = call.view;
    let mut found: Vec<&Job> = view.state.jobs_by_name().filter(|job| filters.take(job)).collect();
    sort(call, &page, &mut found)?;
    let total = found.len();
    let ids: VecDeque<JobId> = page.cut(found).iter().map(|job| job.id).collect();
    let stream = Stream::new(Items::Jobs(ids), call.wants_pretty());
    let head = Response::new(200, Body::Empty).header("X-Total-Count", total.to_string());
    Ok(Answer::Stream(head, Box::new(stream)))
}

/// One job.
pub(super) fn show(call: &Call<'_>) -> Handled {
    let job = call.job()?;
    let body = shown::job(call.view, job, Vec::new(), call.wants_pretty());
    Ok(Answer::Now(tagged(call, job, Response::json(200, body))))
}

/// POST and PUT: the definition becomes what the body says.
pub(super) fn replace(call: &Call<'_>) -> Handled {
    put(call, Mode::Replace)
}

/// PATCH: the given keys change, and a job that isn't there is created.
pub(super) fn merge(call: &Call<'_>) -> Handled {
    put(call, Mode::Merge)
}

/// DELETE: the job goes, runs of it that are open go on.
pub(super) fn delete(call: &Call<'_>) -> Handled {
    let job = call.job()?;
    check_version(call, Some(job))?;
    if call.request.query.iter().any(|(key, _)| key == "kill") {
        return Err(not_yet("kill: ending open runs by request"));
    }
    if let Some(children) = children(call.view, job) {
        let sentence =
            format!("the job is the parent_job of {children}; change or delete that first");
        return Err(Response::error(409, "has_dependents", &sentence));
    }
    let body = shown::job(call.view, job, Vec::new(), call.wants_pretty());
    Ok(Answer::Change(Box::new(Change {
        name: job.name.to_string(),
        settle: None,
        record: Record::JobDelete { job: job.id },
        actor: call.peer.who.clone(),
        key: None,
        then: Then::Fixed(Response::json(200, body)),
    })))
}

/// Runs a job by hand, a disabled one too.
pub(super) fn run(call: &Call<'_>) -> Handled {
    let job = call.job()?;
    check_version(call, Some(job))?;
    let claim = claim_by_hand(call.view, job)
        .map_err(|not_run| Response::error(not_run.status, not_run.code, &not_run.sentence))?;
    Ok(Answer::Change(Box::new(Change {
        name: job.name.to_string(),
        settle: None,
        record: claim,
        actor: call.peer.who.clone(),
        key: None,
        then: Then::Claimed { pretty: call.wants_pretty() },
    })))
}

/// Turns `disabled` over.
pub(super) fn toggle(call: &Call<'_>) -> Handled {
    let disabled = call.job()?.facts.disabled;
    set_disabled(call, !disabled)
}

/// The job fires again.
pub(super) fn enable(call: &Call<'_>) -> Handled {
    set_disabled(call, false)
}

/// The job fires no more.
pub(super) fn disable(call: &Call<'_>) -> Handled {
    set_disabled(call, true)
}

/// The next due times of a job.
pub(super) fn next(call: &Call<'_>) -> Handled {
    let job = call.job()?;
    let spec = stored_spec(job)?;
    let count = preview_count(call)?;
    if !job.timing.parent.is_empty() {
        return Ok(Answer::Now(call.json(200, b"[]".to_vec())));
    }
    let expression = cron::parse(&spec.schedule).map_err(|error| bad_query(&error.to_string()))?;
    let zone = known_zone(call.view, expression.zone.as_deref().unwrap_or(&spec.timezone))?;
    let place = Place { zone: &zone, name: &job.name, anchor: job.anchor };
    let from = job.decided_until.max(call.view.now.wall.second());
    let last = spec.expires_at.map(|at| at.second());
    let count = if job.facts.disabled { 0 } else { count };
    let times = due_times(&expression.schedule, &place, from, count, last);
    Ok(Answer::Now(call.json(200, times)))
}

/// The next due times of a schedule without a job.
pub(super) fn preview(call: &Call<'_>) -> Handled {
    let Some(text) = call.request.query_value("schedule") else {
        return Err(bad_query("schedule is missing; give the schedule to preview"));
    };
    let count = preview_count(call)?;
    let expression = cron::parse(text)
        .map_err(|error| Response::error(400, "invalid_schedule", &format!("schedule: {error}")))?;
    let named = call.request.query_value("timezone").filter(|zone| !zone.is_empty());
    let zone_name = expression.zone.as_deref().or(named).unwrap_or(call.view.default_zone);
    let zone = known_zone(call.view, zone_name)?;
    let now = call.view.now.wall.second();
    let name = call.request.query_value("name").unwrap_or("");
    let place = Place { zone: &zone, name, anchor: now };
    Ok(Answer::Now(call.json(200, due_times(&expression.schedule, &place, now, count, None))))
}

/// Why a job is not run by hand.
#[derive(Debug)]
pub(super) struct NotRun {
    status: u16,
    code: &'static str,
    pub(super) sentence: String,
}

/// The claim of a fire by hand.
///
/// # Errors
/// When a run is open and the job forbids two, or no node may run it.
pub(super) fn claim_by_hand(view: &View<'_>, job: &Job) -> Result<Record, NotRun> {
    let conflict = |code, sentence: String| NotRun { status: 409, code, sentence };
    if job.facts.forbid {
        let id = |run| crate::run::launch::execution_id(view.state, run);
        let open = job.open_runs().next().map(|run| format!("the run {} is open", id(run)));
        let owed = || Some(format!("the run {} is tried again", id(job.owed_retries().next()?)));
        if let Some(what) = open.or_else(owed) {
            let sentence = format!("{what}, and the job forbids two at once");
            return Err(conflict("overlap", sentence));
        }
    }
    let unreadable = || NotRun { status: 500, code: "bug", sentence: UNREADABLE.into() };
    let spec = Spec::from_bytes(&job.spec).map_err(|_| unreadable())?;
    let salt = view.state.applied().0 as i64;
    let targets = choose_targets(view.state, &spec, job.id, salt);
    if targets.is_empty() {
        let sentence = "no registered node may run this job: see its tags and run_on";
        return Err(conflict("no_node", sentence.into()));
    }
    Ok(Record::Claim(Claim {
        job: job.id,
        version: job.version,
        due: None,
        clock_era: view.state.clock_era(),
        trigger: Trigger::Manual,
        targets,
        parent: None,
    }))
}

fn put(call: &Call<'_>, mode: Mode) -> Handled {
    let path_name = call.segments.first().map(String::as_str);
    let draft = Draft::parse(&call.request.body).map_err(refused)?;
    let name = draft.name(path_name).map_err(refused)?.to_owned();
    let stored = call.view.state.job_named(&name);
    check_version(call, stored)?;
    if stored.is_none() && call.view.state.jobs_by_name().len() >= JOBS_MAX {
        let sentence = format!("there are {JOBS_MAX} jobs already, which is the limit");
        return Err(Response::error(409, "too_many_jobs", &sentence));
    }
    let old = stored.map(stored_spec).transpose()?;
    let context = context(call.view);
    let parsed = draft.finish(old.as_ref(), mode, path_name, &context).map_err(refused)?;
    let run_on_create = call.request.query.iter().any(|(key, _)| key == "runoncreate");
    let run_once = if run_on_create { RunOnce::Wanted } else { RunOnce::No };
    let Parsed { spec, canonical, warnings, ignored, schedule: _ } = parsed;
    let pretty = call.wants_pretty();
    let then = Then::Stored { status: 201, warnings, ignored, pretty, run_once };
    Ok(put_change(call, stored, old.as_ref(), spec, canonical, then))
}

fn set_disabled(call: &Call<'_>, disabled: bool) -> Handled {
    let job = call.job()?;
    check_version(call, Some(job))?;
    let old = stored_spec(job)?;
    let mut spec = Spec { disabled, ..old.clone() };
    if let Some(note) = note(call)? {
        spec.note = note;
    }
    let bytes = spec.to_bytes();
    let then = Then::Stored {
        status: 200,
        warnings: Vec::new(),
        ignored: Vec::new(),
        pretty: call.wants_pretty(),
        run_once: RunOnce::No,
    };
    Ok(put_change(call, Some(job), Some(&old), spec, bytes, then))
}

/// The change that stores `spec`, with the mark and the anchor as this change moves them.
fn put_change(
    call: &Call<'_>,
    stored: Option<&Job>,
    old: Option<&Spec>,
    spec: Spec,
    canonical: Vec<u8>,
    then: Then,
) -> Answer {
    let now = call.view.now.wall.second();
    let other_times = old.is_none_or(|old| !same_times(old, &spec));
    let enabled = old.is_some_and(|old| old.disabled && !spec.disabled);
    let other_start = old.is_none_or(|old| old.starts_at != spec.starts_at);
    // A due time at the very start is owed, so the mark is a second before it.
    let start = spec.starts_at.map_or(now, |at| at.second().plus(-1));
    // What it owed up to its end is settled; it owes nothing of the time from there to a later end.
    let expired = |old: &Spec| old.expires_at.is_some_and(|at| at.second() < now);
    let revived = old.is_some_and(|old| expired(old) && old.expires_at != spec.expires_at);
    let moves = other_times || enabled || other_start || revived;
    let put = JobPut {
        name: spec.name.clone(),
        spec: canonical,
        timing: timing(&spec),
        facts: facts(&spec),
        mark: moves.then(|| now.max(start)),
        anchor: other_times.then_some(now),
    };
    Answer::Change(Box::new(Change {
        name: spec.name,
        settle: stored.map(|job| job.id),
        record: Record::JobPut(put),
        actor: call.peer.who.clone(),
        key: None,
        then,
    }))
}

/// What the state must know of a definition without reading it.
pub(super) fn facts(spec: &Spec) -> Facts {
    Facts {
        disabled: spec.disabled,
        forbid: spec.concurrency == Concurrency::Forbid,
        per_node: spec.runs_on_each(),
        keep: u16::try_from(spec.keep).unwrap_or(u16::MAX),
        retries: u8::try_from(spec.retries).unwrap_or(u8::MAX),
        idempotent: spec.idempotent,
    }
}

/// The jobs that run after `job`, as a sentence lists them.
fn children(view: &View<'_>, job: &Job) -> Option<String> {
    let mut names = view.state.children(&job.name).map(|child| format!("\"{}\"", child.name));
    let mut shown: Vec<String> = names.by_ref().take(CHILDREN_SHOWN_MAX).collect();
    let more = names.count();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// Whether two definitions are due at the same times, compared as they are read. What runs after
/// another is never due.
fn same_times(old: &Spec, new: &Spec) -> bool {
    let never = |spec: &Spec| !spec.parent_job.is_empty();
    if never(old) || never(new) {
        return never(old) && never(new);
    }
    let read = |spec: &Spec| cron::parse(&spec.schedule).map(|expression| expression.schedule);
    let same_schedule = || old.schedule == new.schedule || read(old) == read(new);
    old.timezone == new.timezone && same_schedule()
}

/// The `note` of an optional body.
fn note(call: &Call<'_>) -> Result<Option<String>, Response> {
    if call.request.body.is_empty() {
        return Ok(None);
    }
    let malformed = |sentence: &str| Response::error(400, "malformed", sentence);
    let object = crate::job::json::read_object(&call.request.body)
        .map_err(|error| malformed(&format!("the body is not a valid JSON object: {error}")))?;
    match object.get("note") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(note)) if note.len() <= crate::job::spec::NOTE_MAX_BYTES => {
            Ok(Some(note.clone()))
        }
        Some(_) => Err(malformed("note must be a text of at most 4096 bytes")),
    }
}

fn refused(refusal: Refusal) -> Response {
    let code = match refusal.kind {
        RefusalKind::Malformed => "malformed",
        RefusalKind::Invalid => "invalid",
    };
    Response::error(400, code, &refusal.sentence)
}

fn stored_spec(job: &Job) -> Result<Spec, Response> {
    Spec::from_bytes(&job.spec).map_err(|_| Response::error(500, "bug", UNREADABLE))
}

/// What validation asks of other rooms.
pub(super) fn context<'a>(view: &View<'a>) -> JobContext<'a> {
    JobContext {
        zones: view.zones,
        default_zone: view.default_zone,
        now: view.now.wall.second(),
        state: view.state,
        restores: false,
    }
}

fn not_yet(what: &str) -> Response {
    Response::error(501, "not_implemented", &format!("{what} is not available in this version"))
}

fn known_zone(view: &View<'_>, name: &str) -> Result<Zone, Response> {
    view.zones.zone(name).ok_or_else(|| {
        let shown: String = crate::text::escape_control(name).chars().take(64).collect();
        bad_query(&format!("the time zone \"{shown}\" is not known here"))
    })
}

fn preview_count(call: &Call<'_>) -> Result<usize, Response> {
    match number(call, "count")?.unwrap_or(1) {
        count if count <= PREVIEW_MAX => Ok(count),
        _ => Err(bad_query(&format!("count must be at most {PREVIEW_MAX}"))),
    }
}

fn due_times(
    schedule: &cron::Schedule,
    place: &Place<'_>,
    from: Second,
    count: usize,
    last: Option<Second>,
) -> Vec<u8> {
    let mut at = from;
    let mut times = Vec::new();
    while times.len() < count {
        match schedule.next_after(at, place) {
            Some(due) if last.is_none_or(|last| due <= last) => {
                times.push(Value::from(civil::format_in(due, place.zone)));
                at = due;
            }
            Some(_) | None => break,
        }
    }
    Value::Array(times).to_string().into_bytes()
}

/// The filters of a list of jobs.
struct Filters<'a> {
    metadata: Vec<(&'a str, &'a str)>,
    tags: Vec<(&'a str, &'a str)>,
    text: Option<&'a str>,
    status: Option<Status>,
    disabled: Option<bool>,
}

impl<'a> Filters<'a> {
    fn of(call: &Call<'a>) -> Result<Filters<'a>, Response> {
        let query = &call.request.query;
        let keyed = |prefix: &str| -> Vec<(&'a str, &'a str)> {
            let key_of =
                |key: &'a str| key.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']');
            query.iter().filter_map(|(key, value)| Some((key_of(key)?, value.as_str()))).collect()
        };
        let given = |key: &str| call.request.query_value(key).filter(|value| !value.is_empty());
        let status = match given("status") {
            None => None,
            Some("untriggered") => Some(Status::Untriggered),
            Some(word) => match Status::from_word(word) {
                Some(status) => Some(status),
                None => {
                    let words = "untriggered, success, failed or partially_failed";
                    return Err(bad_query(&format!("status must be {words}")));
                }
            },
        };
        let disabled = match given("disabled") {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(bad_query("disabled must be true or false")),
        };
        let (metadata, tags) = (keyed("metadata"), keyed("tags"));
        Ok(Filters { metadata, tags, text: given("q"), status, disabled })
    }

    fn take(&self, job: &Job) -> bool {
        let cheap = self.disabled.is_none_or(|wanted| wanted == job.facts.disabled)
            && self.status.is_none_or(|wanted| wanted == shown::counts(job).status);
        if !cheap {
            return false;
        }
        let has_all = |key: &str, wanted: &[(&str, &str)]| {
            if wanted.is_empty() {
                return true;
            }
            let own = peek::texts(&job.spec, key);
            wanted.iter().all(|(key, value)| own.get(*key).is_some_and(|own| own == value))
        };
        let named = |text: &str| {
            job.name.contains(text) || peek::text(&job.spec, "displayname").contains(text)
        };
        self.text.is_none_or(named)
            && has_all("metadata", &self.metadata)
            && has_all("tags", &self.tags)
    }
}

/// Sorts by the field that `_sort` names; jobs that are equal in it stay in order of name.
fn sort(call: &Call<'_>, page: &Page, jobs: &mut [&Job]) -> Result<(), Response> {
    let view = call.view;
    match call.request.query_value("_sort") {
        None | Some("" | "id" | "name") => {}
        Some(key @ ("displayname" | "schedule")) => {
            jobs.sort_by_cached_key(|job| peek::text(&job.spec, key));
        }
        Some("success_count") => jobs.sort_by_key(|job| job.counts().success_count),
        Some("error_count") => jobs.sort_by_key(|job| job.counts().error_count),
        Some("last_success") => jobs.sort_by_key(|job| job.counts().last_success),
        Some("last_error") => jobs.sort_by_key(|job| job.counts().last_error),
        Some("next") => jobs.sort_by_cached_key(|job| view.scheduler.next_due(job, view.now)),
        Some(_) => {
            let fields = "name, displayname, schedule, success_count, error_count, last_success, \
                          last_error or next";
            return Err(bad_query(&format!("_sort must be {fields}")));
        }
    }
    if page.descending {
        jobs.reverse();
    }
    Ok(())
}
