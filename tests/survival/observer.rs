//! A user who goes on asking and ordering while everything dies, and remembers each answer.

use super::BY_HAND;
use super::common::{Client, Reply, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// States after which nothing may change.
pub(crate) const FINAL: [&str; 7] =
    ["succeeded", "failed", "killed", "timed_out", "lost", "skipped", "missed"];
/// Longer than any trial.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// What was answered during a trial.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The last answer about each execution, by job and id.
    pub(crate) executions: BTreeMap<String, BTreeMap<String, Value>>,
    /// Groups of runs by hand that were answered 200.
    pub(crate) groups: Vec<u64>,
    /// Jobs whose creation was answered 201.
    pub(crate) created: Vec<String>,
    /// What must not be, as sentences.
    pub(crate) wrong: Vec<String>,
    /// How many listings were read.
    pub(crate) listings: u64,
}

/// The user, at work in a thread of its own.
pub(crate) struct Observer {
    stop: Arc<AtomicBool>,
    compactions: Arc<AtomicU32>,
    thread: Option<JoinHandle<Seen>>,
}

impl Observer {
    /// Starts to ask for `jobs`, in turn. The runs log of `data_dir` is looked at, too.
    pub(crate) fn start(client: Client, jobs: Vec<String>, data_dir: &Path) -> Observer {
        let stop = Arc::new(AtomicBool::new(false));
        let compactions = Arc::new(AtomicU32::new(0));
        let mut user = User {
            client,
            jobs,
            seen: Seen::default(),
            turn: 0,
            runs_log: data_dir.join("runs"),
            runs_bytes: 0,
            compactions: Arc::clone(&compactions),
        };
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            wait_until(FOR_EVER, "the trial is over", || {
                user.take_turn();
                until.load(Ordering::Relaxed).then_some(())
            });
            user.seen
        });
        Observer { stop, compactions, thread: Some(thread) }
    }

    /// How often the runs log was seen to become much shorter.
    pub(crate) fn compactions(&self) -> u32 {
        self.compactions.load(Ordering::Relaxed)
    }

    /// Stops, and says what was seen.
    pub(crate) fn stop(&mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("what the agent answers can be read")
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct User {
    client: Client,
    jobs: Vec<String>,
    seen: Seen,
    turn: usize,
    runs_log: PathBuf,
    runs_bytes: u64,
    compactions: Arc<AtomicU32>,
}

impl User {
    fn take_turn(&mut self) {
        self.turn += 1;
        let job = self.jobs[self.turn % self.jobs.len()].clone();
        let path = format!("/v1/jobs/{job}/executions?state=all&output_size_limit=0");
        if let Some(reply) = self.ask("GET", &path, None) {
            self.note_listing(&job, &reply);
        }
        match self.turn % 16 {
            3 => self.run_by_hand(),
            11 => self.create(),
            _ => {}
        }
        let bytes = fs::metadata(&self.runs_log).map_or(0, |found| found.len());
        if bytes > 0 && bytes < self.runs_bytes / 2 {
            self.compactions.fetch_add(1, Ordering::Relaxed);
        }
        self.runs_bytes = bytes;
    }

    fn run_by_hand(&mut self) {
        let Some(reply) = self.ask("POST", &format!("/v1/jobs/{BY_HAND}/run"), None) else {
            return;
        };
        match reply.header("x-execution-group").map(str::parse) {
            Some(Ok(group)) if reply.status == 200 => self.seen.groups.push(group),
            _ if reply.status == 503 => {}
            other => self.seen.wrong.push(format!("a run by hand: {other:?} {}", reply.text())),
        }
    }

    fn create(&mut self) {
        let name = format!("extra-{}", self.turn);
        let job = json!({"name": name, "schedule": "@manually", "command": "true"}).to_string();
        let Some(reply) = self.ask("POST", "/v1/jobs", Some(&job)) else { return };
        match reply.status {
            201 => self.seen.created.push(name),
            503 => {}
            other => self.seen.wrong.push(format!("a creation: {other} {}", reply.text())),
        }
    }

    /// The answer, if there is a whole one.
    fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Option<Reply> {
        self.client.try_request(method, path, &[], body).ok()
    }

    fn note_listing(&mut self, job: &str, reply: &Reply) {
        if reply.status == 503 {
            return;
        }
        let list = reply.json();
        let Some(list) = list.as_array() else {
            let text = reply.text();
            self.seen.wrong.push(format!("executions of {job}: {} {text}", reply.status));
            return;
        };
        self.seen.listings += 1;
        let found = list.iter().map(|item| (text(item, "id").to_owned(), item.clone())).collect();
        let last = self.seen.executions.entry(job.to_owned()).or_default();
        if !job.starts_with("loud") {
            self.seen.wrong.extend(contradictions(job, last, &found));
        }
        *last = found;
    }
}

/// In what `now` takes back what `before` said.
pub(crate) fn contradictions(
    job: &str,
    before: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, old) in before {
        match now.get(id) {
            None => wrong.push(format!("{job}: {old} is gone")),
            Some(new) if FINAL.contains(&text(old, "state")) && old != new => {
                wrong.push(format!("{job}: the end {old} became {new}"));
            }
            Some(_) => {}
        }
    }
    wrong
}

/// The text at `key` of an answer.
#[track_caller]
pub(crate) fn text<'a>(item: &'a Value, key: &str) -> &'a str {
    item[key].as_str().unwrap_or_else(|| panic!("no {key} in {item}"))
}
