//! Reads a job's definition from the body of a request, and says in one sentence what is wrong.
//!
//! What was got can be posted back: read-only keys are ignored, null is "not given", and of two
//! spellings the one that differs from the stored job wins. Nothing is stored here; the api room
//! finds the stored job by [`Draft::name`] and calls [`Draft::finish`].

use std::fmt;

use serde_json::{Map, Value};

use crate::ident::check_name;
use crate::time::Wall;

use super::fields::{Fields, Given, quoted, refuse};
use super::json::{self, kind};
use super::keys::fill;
use super::spec::{RunOn, SPEC_MAX_BYTES, Spec};
use super::times;
use super::{Context, ScheduleFacts};

/// Most unknown keys that are named in an answer.
pub const IGNORED_MAX: usize = 32;
/// Most characters of each of them.
pub const IGNORED_MAX_CHARS: usize = 64;

/// What becomes of the keys that a body doesn't hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// They go back to their defaults (POST and PUT).
    Replace,
    /// They stay as stored, in objects of texts too, and null is the default (PATCH).
    Merge,
}

/// A valid definition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// The definition.
    pub spec: Spec,
    /// Its stored form, at most [`SPEC_MAX_BYTES`] long.
    pub canonical: Vec<u8>,
    /// What its schedule says.
    pub schedule: ScheduleFacts,
    /// Unknown keys, for a header: visible ASCII without commas, at most [`IGNORED_MAX`].
    pub ignored: Vec<String>,
    /// Sentences for the person who sent it.
    pub warnings: Vec<String>,
}

/// Why a request is refused. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What sort of answer it takes.
    pub kind: RefusalKind,
    /// What was wrong, where, and what would be right.
    pub sentence: String,
}

/// What sort of answer a refusal takes; both are 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalKind {
    /// The body is not a JSON object.
    Malformed,
    /// The object is not a valid job.
    Invalid,
}

impl Refusal {
    pub(super) fn invalid(sentence: impl Into<String>) -> Refusal {
        Refusal { kind: RefusalKind::Invalid, sentence: sentence.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Refusal {}

/// Reads and checks a definition in one step.
///
/// # Errors
/// As [`Draft::parse`] and [`Draft::finish`].
pub fn read(
    body: &[u8],
    stored: Option<&Spec>,
    mode: Mode,
    path_name: Option<&str>,
    ctx: &dyn Context,
) -> Result<Parsed, Refusal> {
    Draft::parse(body)?.finish(stored, mode, path_name, ctx)
}

/// A body that is a JSON object, not yet checked as a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    object: Map<String, Value>,
}

impl Draft {
    /// Reads strict JSON.
    ///
    /// # Errors
    /// [`RefusalKind::Malformed`].
    pub fn parse(body: &[u8]) -> Result<Draft, Refusal> {
        match json::read_object(body) {
            Ok(object) => Ok(Draft { object }),
            Err(error) => Err(Refusal {
                kind: RefusalKind::Malformed,
                sentence: format!("the body is not a valid JSON object: {error}"),
            }),
        }
    }

    /// An object that was read already.
    pub fn of(object: Map<String, Value>) -> Draft {
        Draft { object }
    }

    /// The job's name, from the body or the path, which must agree.
    ///
    /// # Errors
    /// When there is none, or it is no valid name.
    pub fn name<'n>(&'n self, path_name: Option<&'n str>) -> Result<&'n str, Refusal> {
        let body_name = match self.object.get("name") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.as_str()),
            Some(other) => {
                let why = format!("must be a text, not {}", kind(other));
                return Err(refuse("", "name", &why));
            }
        };
        if let (Some(body), Some(path)) = (body_name, path_name) {
            if body != path {
                let why = format!("{} differs from {} in the path", quoted(body), quoted(path));
                return Err(refuse("", "name", &why));
            }
        }
        let Some(name) = body_name.or(path_name) else {
            let why = format!("is missing; every job needs one{}", misspelt("name", &self.object));
            return Err(refuse("", "name", &why));
        };
        check_name(name).map_err(|why| refuse("", "name", &why))?;
        Ok(name)
    }

    /// Checks the definition. `stored` is the job of that name, if there is one.
    ///
    /// # Errors
    /// [`RefusalKind::Invalid`] with a sentence that names the key.
    pub fn finish(
        self,
        stored: Option<&Spec>,
        mode: Mode,
        path_name: Option<&str>,
        ctx: &dyn Context,
    ) -> Result<Parsed, Refusal> {
        let name = self.name(path_name)?.to_owned();
        let Draft { mut object } = self;
        object.remove("name");
        let stored = stored.filter(|stored| stored.name == name);
        let defaults = Spec { name, run_on: ctx.default_run_on(), ..Spec::default() };
        let mut spec = match (mode, stored) {
            (Mode::Merge, Some(stored)) => stored.clone(),
            (Mode::Merge, None) | (Mode::Replace, _) => defaults.clone(),
        };
        let run_on_given = is_given(&object, "run_on");
        time(&mut object, "starts_at", ctx, &mut spec.starts_at)?;
        time(&mut object, "expires_at", ctx, &mut spec.expires_at)?;
        fill(&mut spec, stored.unwrap_or(&defaults), &defaults, &mut object)?;

        let schedule = check_schedule(&mut spec, stored, ctx, &object)?;
        check_parent(&spec, ctx)?;
        let mut warnings = schedule.warnings.clone();
        warnings.extend(check_command(&spec, &object)?);
        check_times(&spec)?;
        check_targets(&mut spec, run_on_given, stored.is_none() || mode == Mode::Replace)?;
        if stored.is_none() && !run_on_given && spec.tags.is_empty() && ctx.nodes() > 1 {
            warnings.push(everywhere(&spec, ctx.nodes()));
        }
        let canonical = spec.to_bytes();
        if canonical.len() > SPEC_MAX_BYTES {
            return Err(Refusal::invalid(format!(
                "the job is {} bytes long as it is stored, at most {SPEC_MAX_BYTES} are allowed",
                canonical.len()
            )));
        }
        let ignored = object.keys().take(IGNORED_MAX).map(|key| header_text(key)).collect();
        Ok(Parsed { spec, canonical, schedule, ignored, warnings })
    }
}

fn is_given(object: &Map<String, Value>, key: &str) -> bool {
    object.get(key).is_some_and(|value| !value.is_null() && value != "")
}

/// Takes a time: RFC 3339, or v4's form without seconds and zone, which is UTC. Go's zero time is
/// what typed clients send for "none".
fn time(
    object: &mut Map<String, Value>,
    key: &str,
    ctx: &dyn Context,
    place: &mut Option<Wall>,
) -> Result<(), Refusal> {
    const MINUTES: usize = "2006-01-02T15:04".len();
    let text = match Fields::new(object, "").text(key, times::TEXT_MAX_BYTES)? {
        Given::Absent => return Ok(()),
        Given::Null => String::new(),
        Given::Value(text) => text,
    };
    if text.is_empty() || text == times::ZERO_TIME {
        *place = None;
        return Ok(());
    }
    let minutes = || (text.len() == MINUTES).then(|| ctx.parse_time(&format!("{text}:00Z")))?;
    let Some(at) = ctx.parse_time(&text).or_else(minutes) else {
        let why =
            format!("{} is not a time; write it like \"2030-01-31T08:00:00Z\"", quoted(&text));
        return Err(refuse("", key, &why));
    };
    if !(Wall(0)..=times::MAX).contains(&at) {
        let why = format!("{} is out of range; give a year 1970-9999", quoted(&text));
        return Err(refuse("", key, &why));
    }
    *place = Some(at);
    Ok(())
}

/// Checks schedule and zone together, and settles the zone. A zone at the beginning of the
/// schedule is the one it is read in, so that another `timezone` beside it is a contradiction,
/// unless that is only the stored one, posted back.
fn check_schedule(
    spec: &mut Spec,
    stored: Option<&Spec>,
    ctx: &dyn Context,
    unknown: &Map<String, Value>,
) -> Result<ScheduleFacts, Refusal> {
    let is_child = !spec.parent_job.is_empty();
    if spec.schedule.trim().is_empty() && !is_child {
        let near = misspelt("schedule", unknown);
        let why = format!("is missing; give one, such as \"@hourly\" or \"30 4 * * *\"{near}");
        return Err(refuse("", "schedule", &why));
    }
    if !spec.timezone.is_empty() && !ctx.zone_known(&spec.timezone) {
        let why = format!(
            "{} is not a known time zone; give a name such as \"Europe/Paris\" or \"UTC\"",
            quoted(&spec.timezone)
        );
        return Err(refuse("", "timezone", &why));
    }
    if spec.schedule.trim().is_empty() {
        spec.schedule.clear();
        return Ok(ScheduleFacts::default());
    }
    let zone = match spec.timezone.as_str() {
        "" => ctx.default_zone(),
        given => given,
    };
    let mut facts = ctx
        .check_schedule(&spec.schedule, zone, &spec.name)
        .map_err(|why| refuse("", "schedule", &why))?;
    match &facts.zone {
        None => spec.timezone = zone.to_owned(),
        Some(prefix)
            if spec.timezone.is_empty()
                || spec.timezone == *prefix
                || stored.is_some_and(|stored| stored.timezone == spec.timezone) =>
        {
            spec.timezone.clone_from(prefix);
        }
        Some(prefix) => {
            let why = format!(
                "{} differs from {}, with which schedule begins; give one of them",
                quoted(&spec.timezone),
                quoted(prefix)
            );
            return Err(refuse("", "timezone", &why));
        }
    }
    if is_child {
        let parent = quoted(&spec.parent_job);
        let why = format!("schedule: it is not followed, because the job runs after {parent}");
        facts.warnings = vec![why];
    }
    Ok(facts)
}

fn check_parent(spec: &Spec, ctx: &dyn Context) -> Result<(), Refusal> {
    if spec.parent_job.is_empty() {
        return Ok(());
    }
    let checked = check_name(&spec.parent_job);
    let checked = checked.and_then(|()| ctx.check_parent(&spec.name, &spec.parent_job));
    checked.map_err(|why| refuse("", "parent_job", &why))
}

/// What to add when `key` is missing and the body has one that looks like it.
fn misspelt(key: &str, unknown: &Map<String, Value>) -> String {
    let near = crate::text::nearest(key, unknown.keys().map(String::as_str));
    near.map_or(String::new(), |near| format!("; the body has {} instead", quoted(near)))
}

/// A warning for a command that reads as if a shell were meant.
fn check_command(spec: &Spec, unknown: &Map<String, Value>) -> Result<Option<String>, Refusal> {
    if spec.command.trim().is_empty() {
        let why = format!("is missing; give the program to run{}", misspelt("command", unknown));
        return Err(refuse("", "command", &why));
    }
    let words = spec.argv().map_err(|why| refuse("", "command", &why.to_string()))?;
    let operators = ["|", "||", "&", "&&", ";", "<", ">", ">>", "2>&1", "2>/dev/null"];
    let operator = words.iter().find(|word| operators.contains(&word.as_str()));
    Ok(operator.filter(|_| !spec.shell).map(|operator| {
        format!(
            "command: no shell reads it, so that \"{operator}\" is an argument of the program; \
             set \"shell\": true if a shell is meant"
        )
    }))
}

fn check_times(spec: &Spec) -> Result<(), Refusal> {
    match (spec.starts_at, spec.expires_at) {
        (Some(starts), Some(expires)) if expires <= starts => {
            let why = format!("must be later than starts_at, {}", times::format_utc(starts));
            Err(refuse("", "expires_at", &why))
        }
        _ => Ok(()),
    }
}

/// A counted tag says on how many nodes a job runs; `run_on` is "all" then, as it is shown.
fn check_targets(spec: &mut Spec, run_on_given: bool, anew: bool) -> Result<(), Refusal> {
    let Some((key, count)) = spec.counted_tag() else { return Ok(()) };
    let key = quoted(key);
    if !run_on_given && anew {
        spec.run_on = RunOn::All;
    }
    if spec.run_on != RunOn::All {
        let why = format!(
            "must be \"all\" beside the tag {key}, whose count {count} says how many nodes run it"
        );
        return Err(refuse("", "run_on", &why));
    }
    Ok(())
}

fn everywhere(spec: &Spec, nodes: usize) -> String {
    let what = match spec.run_on {
        RunOn::All => format!("each of the {nodes} nodes"),
        RunOn::Any => format!("one of the {nodes} nodes"),
        RunOn::Count(count) => format!("{count} of the {nodes} nodes"),
    };
    format!("run_on: neither it nor tags are given, so that every run goes to {what}")
}

/// A foreign key, safe in a header and in a list with commas.
fn header_text(key: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() && c != ',' { c } else { '?' };
    key.chars().take(IGNORED_MAX_CHARS).map(safe).collect()
}

#[cfg(test)]
mod tests;
