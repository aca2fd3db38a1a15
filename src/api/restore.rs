//! A restore: the lines of a backup, or a JSON array of jobs as Dkron gives it, read one job at a
//! time as its body comes, so that no turn is long and no more of it is in memory than a job.
//!
//! Every job goes the way of a definition that is posted. The node stages what comes out, and puts
//! it in force when all of it is good; the first that is not ends the restore, and nothing has
//! changed.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde_json::{Map, Value};

use super::backup::{FORMAT, VERSION};
use super::form::FormFile;
use super::split::{Fault, Found, OBJECT_MAX_BYTES, Splitter};
use super::stream::{Items, Stream};
use super::{Answer, Call, Handled, JobContext, View, jobs, keys};
use crate::http::{Body, Method, Response, Streamed};
use crate::ident::JobId;
use crate::job::{Draft, Kept, Mode, Parsed, Status, json};
use crate::rng::{StableHash, mix};
use crate::store::{
    self, ChainError, Counts, JOBS_MAX, JobPut, RequestKey, RestoreCommit, RestorePart, Restored,
    STAGED_MAX_BYTES, check_chains,
};

/// Where jobs are restored, as the path of a request names it.
const RESTORE_PATH: &str = "/v1/restore";
/// Longest body that is taken there, in bytes.
const RESTORE_MAX_BYTES: usize = 1024 * 1024 * 1024;
/// A restore that is being read.
#[derive(Debug)]
pub struct Restore {
    splitter: Splitter,
    /// Bytes of the objects that were read.
    read_bytes: u64,
    /// Whether the line that begins a backup was read.
    is_begun: bool,
    /// Each job, and its parent; empty for none.
    jobs: BTreeMap<String, String>,
    /// Of them, how many were not there when they were read.
    new: usize,
    staged_bytes: usize,
    replace: bool,
    pretty: bool,
    /// Who asks.
    pub actor: String,
    /// The client's key. It says what body it stands for when all of that was there.
    pub key: Option<RequestKey>,
    body: StableHash,
}

/// What comes next of a restore.
#[derive(Debug)]
pub enum Next {
    /// This job, as a part of it.
    Part(Box<RestorePart>),
    /// Nothing, before more of the body is there.
    Wants,
    /// That was the last.
    Done,
}

/// Which requests are restores, and how long they may be.
pub fn streamed() -> Streamed {
    Streamed { method: Method::Post, path: RESTORE_PATH, body_max_bytes: RESTORE_MAX_BYTES }
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
        splitter: Splitter::new(is("multipart/").then(|| FormFile::new(kind))),
        read_bytes: 0,
        is_begun: false,
        jobs: BTreeMap::new(),
        new: 0,
        staged_bytes: 0,
        replace: call.request.query.iter().any(|(key, _)| key == "replace"),
        pretty: call.wants_pretty(),
        actor: call.peer.who.clone(),
        key: None,
        body: StableHash::default(),
    })))
}

impl Restore {
    /// Takes the next piece of the body.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.key.is_some() {
            self.body.update(piece);
        }
        self.splitter.feed(piece);
    }

    /// That was all of the body.
    pub fn end(&mut self) {
        self.splitter.end();
        if let Some(key) = &mut self.key {
            key.print = mix(key.print ^ self.body.finish());
        }
    }

    /// How many jobs were read.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// How many bytes that took, without what is between them.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// The next job, as a part of the restore `id`.
    ///
    /// # Errors
    /// 400 or 409, naming the place, when that is none, or what should follow does not.
    pub fn next(&mut self, view: &View<'_>, id: u64) -> Result<Next, Response> {
        loop {
            let found = self.splitter.next().map_err(|fault| self.refuse(fault))?;
            let (at, line) = match found {
                Found::Wants => return Ok(Next::Wants),
                Found::End => return Ok(Next::Done),
                Found::Object(at, line) => (at, line),
            };
            self.read_bytes += at.len() as u64;
            let object = json::read_object(self.splitter.text(at)).map_err(|error| {
                let place = self.place(line + error.line - 1);
                malformed(&place, &format!("{} (column {})", error.message, error.column))
            })?;
            if !self.splitter.is_array() && self.is_edge(&object, line)? {
                continue;
            }
            let place = self.place(line);
            let part = self.part(view, id, object).map_err(|why| invalid(&place, &why))?;
            self.count(view, &part, &place)?;
            return Ok(Next::Part(Box::new(part)));
        }
    }

    /// The record that puts all of it in force.
    ///
    /// # Errors
    /// 400 when a job has a parent that would not be there; 409 when there would be too many jobs,
    /// or its key was used for something else; the answer to a restore that was made with the same
    /// key and body.
    pub fn commit(&self, view: &View<'_>, id: u64) -> Result<RestoreCommit, Response> {
        let repeat = self.key.as_ref().and_then(|key| keys::repeat(view, key, self.pretty));
        if let Some(answer) = repeat {
            return Err(answer);
        }
        let stored = view.state.jobs_by_name().len();
        self.check_parents(view)?;
        let is_new = |name: &&String| view.state.job_named(name).is_none();
        let is_too_many = !self.replace
            && stored + self.jobs.len() > JOBS_MAX
            && stored + self.jobs.keys().filter(is_new).count() > JOBS_MAX;
        if is_too_many {
            return Err(too_many());
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

    /// Whether `object` is the first line of a backup, or the last.
    fn is_edge(&mut self, object: &Map<String, Value>, line: usize) -> Result<bool, Response> {
        let place = self.place(line);
        let number = |key: &str| object.get(key).and_then(Value::as_u64);
        if !std::mem::replace(&mut self.is_begun, true) {
            if object.get("format").and_then(Value::as_str) != Some(FORMAT) {
                let why = "a backup begins with a line that says its format, or it is an array of \
                           jobs";
                return Err(malformed(&place, why));
            }
            if number("version") != Some(VERSION) {
                let why = format!("the version of a backup must be {VERSION}");
                return Err(malformed(&place, &why));
            }
            return Ok(true);
        }
        if object.get("end").is_none() {
            return Ok(false);
        }
        let count = self.jobs.len();
        if number("jobs") != Some(count as u64) {
            let why = format!("the last line tells of another number of jobs than {count}");
            return Err(malformed(&place, &why));
        }
        self.splitter.close();
        Ok(true)
    }

    /// Counts a job that is to be staged.
    fn count(&mut self, view: &View<'_>, part: &RestorePart, place: &str) -> Result<(), Response> {
        self.staged_bytes += part.staged_bytes();
        if self.jobs.len() > JOBS_MAX || self.staged_bytes > STAGED_MAX_BYTES {
            let sentence = format!(
                "{place}: at most {JOBS_MAX} jobs, which take at most {STAGED_MAX_BYTES} bytes, \
                 are restored at once"
            );
            return Err(Response::error(409, "too_many_jobs", &sentence));
        }
        self.new += usize::from(view.state.job_named(&part.put.name).is_none());
        if !self.replace && view.state.jobs_by_name().len() + self.new > JOBS_MAX {
            return Err(too_many());
        }
        Ok(())
    }

    fn refuse(&self, fault: Fault) -> Response {
        let here = self.place(self.splitter.line());
        match fault {
            Fault::Incomplete => {
                let sentence = "the backup is incomplete: its last line is missing";
                Response::error(400, "incomplete", sentence)
            }
            Fault::TooLong => {
                let why = format!("it is too long, a job has at most {OBJECT_MAX_BYTES} bytes");
                malformed(&here, &why)
            }
            Fault::NoComma => malformed(&here, "after a job comes a comma or the end of the array"),
            Fault::AfterEnd => malformed(&here, "nothing may follow the end"),
            Fault::NotOneFile => {
                let sentence = "the form must have one file and nothing else";
                Response::error(400, "malformed", sentence)
            }
        }
    }

    fn place(&self, line: usize) -> String {
        match self.splitter.is_array() {
            true => format!("job {} (line {line})", self.jobs.len() + 1),
            false => format!("line {line}"),
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

fn malformed(place: &str, why: &str) -> Response {
    Response::error(400, "malformed", &format!("{place}: {why}"))
}

fn invalid(place: &str, why: &str) -> Response {
    Response::error(400, "invalid", &format!("{place}: {why}"))
}

fn too_many() -> Response {
    let sentence = format!("there would be more than {JOBS_MAX} jobs, which is the limit");
    Response::error(409, "too_many_jobs", &sentence)
}
