//! A restore: the lines of a backup, or a JSON array of jobs as Dkron gives it, read one job at a
//! time, so that no turn is long.
//!
//! Every job goes the way of a definition that is posted. The node stages what comes out, and puts
//! it in force when all of it is good; the first that is not ends the restore, and nothing has
//! changed.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::backup::{FORMAT, VERSION};
use super::stream::{Items, Stream};
use super::{Answer, Call, Handled, JobContext, View, jobs};
use crate::http::{Body, Response};
use crate::ident::JobId;
use crate::job::{Draft, Kept, Mode, Parsed, Status, json};
use crate::store::{
    self, ChainError, Counts, JOBS_MAX, JobPut, RequestKey, RestoreCommit, RestorePart, Restored,
    STAGED_MAX_BYTES, check_chains,
};

/// Where jobs are restored, as the path of a request names it.
pub const RESTORE_PATH: &str = "/v1/restore";
/// Longest body that is taken there, in bytes.
pub const RESTORE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Longest line of a backup, or element of an array, in bytes: twice a definition, each byte of
/// which may need escaping.
const JOB_MAX_BYTES: usize = 512 * 1024;
/// Longest fields of a file in a form, in bytes.
const FORM_FIELDS_MAX_BYTES: usize = 4 * 1024;

/// An object, and the line in which it begins.
type Found = (Map<String, Value>, usize);

/// A restore that is being read.
#[derive(Debug)]
pub struct Restore {
    body: Vec<u8>,
    /// How much of it is read.
    at: usize,
    /// The line, from 1, in which that is.
    line: usize,
    form: Form,
    /// Each job, and its parent; empty for none.
    jobs: BTreeMap<String, String>,
    staged_bytes: usize,
    replace: bool,
    pretty: bool,
    /// Who asks.
    pub actor: String,
    /// The client's key.
    pub key: Option<RequestKey>,
    /// The `Content-Type` of a form.
    form_kind: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Unknown,
    /// A backup, whose first line was read.
    Lines,
    /// An array, of which something was read.
    Array,
}

/// POST of a backup.
pub(super) fn restore(call: &Call<'_>) -> Handled {
    let kind = call.request.headers.get("Content-Type").unwrap_or_default();
    let is = |start: &str| kind.get(..start.len()).is_some_and(|k| k.eq_ignore_ascii_case(start));
    if is("multipart/") && !is("multipart/form-data;") {
        let sentence = "send the backup itself as the body, as curl's --data-binary does, or as \
                        the one file of a form";
        return Err(Response::error(415, "unsupported_media_type", sentence));
    }
    Ok(Answer::Restore(Box::new(Restore {
        body: Vec::new(),
        at: 0,
        line: 1,
        form: Form::Unknown,
        jobs: BTreeMap::new(),
        staged_bytes: 0,
        replace: call.request.query.iter().any(|(key, _)| key == "replace"),
        pretty: call.wants_pretty(),
        actor: call.peer.who.clone(),
        key: None,
        form_kind: is("multipart/").then(|| kind.to_owned()),
    })))
}

impl Restore {
    /// Gives it the body of its request.
    ///
    /// # Errors
    /// 400 when that is no form of one file, and was to be one.
    pub fn with_body(self, mut body: Vec<u8>) -> Result<Restore, Response> {
        let Some(kind) = &self.form_kind else { return Ok(Restore { body, ..self }) };
        let Some(file) = only_file(kind, &body) else {
            let sentence = "the form must have one file and nothing else";
            return Err(Response::error(400, "malformed", sentence));
        };
        body.truncate(file.end);
        Ok(Restore { body, at: file.start, ..self })
    }

    /// How many bytes are read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next job, as a part of the restore `id`; `None` after the last.
    ///
    /// # Errors
    /// 400 or 409, naming the place, when that is none, or what should follow does not.
    pub fn next(&mut self, view: &View<'_>, id: u64) -> Result<Option<RestorePart>, Response> {
        if self.form == Form::Unknown {
            self.begin()?;
        }
        let found = match self.form {
            Form::Array => self.element()?,
            Form::Lines | Form::Unknown => self.job_line()?,
        };
        let Some((object, line)) = found else { return Ok(None) };
        let place = self.place(line);
        let part = self.part(view, id, object).map_err(|why| invalid(&place, &why))?;
        self.staged_bytes += part.staged_bytes();
        if self.jobs.len() > JOBS_MAX || self.staged_bytes > STAGED_MAX_BYTES {
            let sentence = format!(
                "{place}: at most {JOBS_MAX} jobs, which take at most {STAGED_MAX_BYTES} bytes, \
                 are restored at once"
            );
            return Err(Response::error(409, "too_many_jobs", &sentence));
        }
        Ok(Some(part))
    }

    /// The record that puts all of it in force.
    ///
    /// # Errors
    /// 409 when there would be too many jobs, 400 when one has a parent that would not be there.
    pub fn commit(&self, view: &View<'_>, id: u64) -> Result<RestoreCommit, Response> {
        let stored = view.state.jobs_by_name().len();
        self.check_parents(view)?;
        let is_new = |name: &&String| view.state.job_named(name).is_none();
        let too_many = !self.replace
            && stored + self.jobs.len() > JOBS_MAX
            && stored + self.jobs.keys().filter(is_new).count() > JOBS_MAX;
        if too_many {
            let sentence = format!("there would be more than {JOBS_MAX} jobs, which is the limit");
            return Err(Response::error(409, "too_many_jobs", &sentence));
        }
        let jobs = u32::try_from(self.jobs.len()).ok();
        Ok(RestoreCommit { restore: id, jobs, replace: self.replace })
    }

    /// Checks that the parents are there, now that all jobs are known.
    fn check_parents(&self, view: &View<'_>) -> Result<(), Response> {
        let stored = |name: &str| view.state.job_named(name).filter(|_| !self.replace);
        let parent_of = |name| match self.jobs.get(name) {
            Some(parent) => Some(parent.as_str()),
            None => stored(name).map(|job| &*job.timing.parent),
        };
        let sentence = match check_chains(self.jobs.keys().map(String::as_str), &parent_of) {
            Ok(()) => return Ok(()),
            Err(ChainError::Missing(job, parent)) => {
                format!("job \"{job}\": parent_job: there would be no job named \"{parent}\"")
            }
            Err(ChainError::Cycle(job)) => {
                format!("job \"{job}\": parent_job: it would run after itself in the end")
            }
        };
        Err(Response::error(400, "invalid", &sentence))
    }

    /// The answer when it is in force: the head, and what makes the body.
    pub fn answer(&self, restored: &[(Rc<str>, JobId, Restored)]) -> (Response, Box<Stream>) {
        let results: VecDeque<(Rc<str>, Restored)> =
            restored.iter().map(|(name, _, result)| (Rc::clone(name), *result)).collect();
        let stream = Stream::new(Items::Restored(results), self.pretty);
        (Response::new(200, Body::Empty), Box::new(stream))
    }

    /// Reads what comes before the first job.
    fn begin(&mut self) -> Result<(), Response> {
        self.skip_space();
        match self.body.get(self.at) {
            Some(b'[') => {
                self.at += 1;
                self.form = Form::Array;
                Ok(())
            }
            Some(_) => {
                self.form = Form::Lines;
                let Some((object, line)) = self.line()? else { return Err(incomplete()) };
                let place = self.place(line);
                if object.get("format").and_then(Value::as_str) != Some(FORMAT) {
                    let why = "a backup begins with a line that says its format, or it is an \
                               array of jobs";
                    return Err(malformed(&place, why));
                }
                if object.get("version").and_then(Value::as_u64) != Some(VERSION) {
                    let why = format!("the version of a backup must be {VERSION}");
                    return Err(malformed(&place, &why));
                }
                Ok(())
            }
            None => Err(incomplete()),
        }
    }

    /// The next job of a backup; `None` after its last line.
    fn job_line(&mut self) -> Result<Option<Found>, Response> {
        let Some((object, line)) = self.line()? else { return Err(incomplete()) };
        if object.get("end").is_none() {
            return Ok(Some((object, line)));
        }
        let count = self.jobs.len();
        if object.get("jobs").and_then(Value::as_u64) != Some(count as u64) {
            let why = format!("the last line tells of another number of jobs than {count}");
            return Err(malformed(&self.place(line), &why));
        }
        self.at_end()
    }

    /// The object of the next line that is not empty, and the number of the line.
    fn line(&mut self) -> Result<Option<Found>, Response> {
        self.skip_space();
        let rest = self.body.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        self.object(length).map(Some)
    }

    /// The next element of an array; `None` after its end.
    fn element(&mut self) -> Result<Option<Found>, Response> {
        self.skip_space();
        let first = self.jobs.is_empty();
        match self.body.get(self.at) {
            Some(b']') => {
                self.at += 1;
                return self.at_end();
            }
            Some(b',') if !first => {
                self.at += 1;
                self.skip_space();
            }
            Some(_) if first => {}
            Some(_) => {
                let why = "after a job comes a comma or the end of the array";
                return Err(malformed(&self.place(self.line), why));
            }
            None => return Err(incomplete()),
        }
        let length = element_length(self.body.get(self.at..).unwrap_or_default());
        self.object(length).map(Some)
    }

    /// Reads the object in the next `length` bytes, and the line in which it begins.
    fn object(&mut self, length: usize) -> Result<Found, Response> {
        let line = self.line;
        let bytes = self.body.get(self.at..self.at + length).unwrap_or_default();
        if length > JOB_MAX_BYTES {
            let why = format!("{length} bytes are too many, a job has at most {JOB_MAX_BYTES}");
            return Err(malformed(&self.place(line), &why));
        }
        let object = json::read_object(bytes).map_err(|error| {
            let place = self.place(line + error.line - 1);
            malformed(&place, &format!("{} (column {})", error.message, error.column))
        })?;
        self.line += bytes.iter().filter(|&&byte| byte == b'\n').count();
        self.at += length;
        Ok((object, line))
    }

    fn at_end<T>(&mut self) -> Result<Option<T>, Response> {
        self.skip_space();
        if self.at < self.body.len() {
            return Err(malformed(&self.place(self.line), "nothing may follow the end"));
        }
        Ok(None)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.body.get(self.at) {
            self.line += usize::from(self.body.get(self.at) == Some(&b'\n'));
            self.at += 1;
        }
    }

    fn place(&self, line: usize) -> String {
        match self.form {
            Form::Array => format!("job {} (line {line})", self.jobs.len() + 1),
            Form::Lines | Form::Unknown => format!("line {line}"),
        }
    }

    fn part(
        &mut self,
        view: &View<'_>,
        id: u64,
        mut object: Map<String, Value>,
    ) -> Result<RestorePart, String> {
        let kept = Kept::take(&mut object).map_err(|refusal| refusal.sentence)?;
        // What is stored now has no say in what a job was.
        let context = JobContext { restores: true, ..jobs::context(view) };
        let parsed = Draft::of(object).finish(None, Mode::Replace, None, &context);
        let Parsed { spec, canonical, .. } = parsed.map_err(|refusal| refusal.sentence)?;
        if self.jobs.insert(spec.name.clone(), spec.parent_job.clone()).is_some() {
            return Err(format!("name: \"{}\" is there twice", spec.name));
        }
        let put = JobPut {
            timing: crate::schedule::timing(&spec),
            facts: jobs::facts(&spec),
            name: spec.name,
            spec: canonical,
            mark: kept.decided_until,
            anchor: kept.anchor,
        };
        let counts = Counts {
            success_count: kept.counts.success_count,
            error_count: kept.counts.error_count,
            missed_count: kept.counts.missed_count,
            last_success: kept.counts.last_success,
            last_error: kept.counts.last_error,
            status: match kept.counts.status {
                Status::Untriggered | Status::Running => store::Status::Untriggered,
                Status::Success => store::Status::Success,
                Status::Failed => store::Status::Failed,
                Status::PartiallyFailed => store::Status::PartiallyFailed,
            },
        };
        let (created, updated) = (kept.created_at, kept.updated_at);
        Ok(RestorePart { restore: id, put, counts, created, updated })
    }
}

impl Restored {
    pub(super) fn name(self) -> &'static str {
        match self {
            Restored::Created => "created",
            Restored::Replaced => "replaced",
            Restored::Removed => "removed",
        }
    }
}

/// How long the JSON value is with which `bytes` begins, if it is one: up to the comma or the
/// bracket that ends it. Whether it is one is seen when it is read.
fn element_length(bytes: &[u8]) -> usize {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if in_text => {
                in_text = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            }
            b'"' => in_text = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b']' | b',' if depth == 0 => return at,
            _ => {}
        }
    }
    bytes.len()
}

/// Where the file is in a form (RFC 7578) whose `Content-Type` is `kind`, if it is all of the form.
fn only_file(kind: &str, body: &[u8]) -> Option<Range<usize>> {
    let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    let boundary = boundary.trim_matches('"');
    let (first, last) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}--"));
    if boundary.is_empty() || !body.starts_with(first.as_bytes()) {
        return None;
    }
    let fields = body.windows(4).take(FORM_FIELDS_MAX_BYTES).position(|end| end == b"\r\n\r\n")?;
    // From the end, where it is found at once; what lies between two parts is no backup.
    let end = body.windows(last.len()).rposition(|end| end == last.as_bytes())?;
    let start = fields + 4;
    (start <= end).then_some(start..end)
}

fn malformed(place: &str, why: &str) -> Response {
    Response::error(400, "malformed", &format!("{place}: {why}"))
}

fn invalid(place: &str, why: &str) -> Response {
    Response::error(400, "invalid", &format!("{place}: {why}"))
}

fn incomplete() -> Response {
    let sentence = "the backup is incomplete: its last line is missing";
    Response::error(400, "incomplete", sentence)
}
