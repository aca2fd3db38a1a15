//! The books are closed: what the API says, what the jobs wrote, and what was seen on the way must
//! agree to the last second.

use super::common::Client;
use super::observer::{FINAL, Seen, contradictions, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// A job of the trial.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) witness: PathBuf,
    pub(crate) definition: Value,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Due at every second, all of it kept.
    EverySecond,
    /// The same, but only counted: its history is short.
    Loud,
    /// Due never.
    ByHand,
}

/// Whether the end of a run may be unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Losses {
    /// No launcher died, so each end is known.
    None,
    /// Runs of launchers that were killed.
    WithLaunchers,
}

/// All executions of all jobs, by job and id.
type Books = BTreeMap<String, BTreeMap<String, Value>>;

/// Checks everything; returns the books.
pub(crate) fn audit(client: &Client, jobs: &[Job], seen: &Seen, losses: Losses) -> Books {
    let mut books = Books::new();
    let mut wrong = seen.wrong.clone();
    assert!(seen.listings > 0, "nothing was seen during the trial");
    for job in jobs {
        let shown = client.get(&format!("/v1/jobs/{}", job.name)).expect(200).json();
        let path = format!("/v1/jobs/{}/executions?state=all&output_size_limit=0", job.name);
        let list = client.get(&path).expect(200).json();
        let list = list.as_array().expect("a list");
        let found: BTreeMap<String, Value> =
            list.iter().map(|item| (text(item, "id").to_owned(), item.clone())).collect();
        assert_eq!(found.len(), list.len(), "ids of {} are not unique", job.name);
        let audit = Audit { job, shown: &shown, found: &found, losses, wrong: &mut wrong };
        audit.run(seen);
        books.insert(job.name.clone(), found);
    }
    for name in &seen.created {
        if client.get(&format!("/v1/jobs/{name}")).status != 200 {
            wrong.push(format!("the job {name}, whose creation was answered 201, is gone"));
        }
    }
    let few: Vec<&String> = wrong.iter().take(60).collect();
    assert!(wrong.is_empty(), "{} things are wrong: {few:#?}", wrong.len());
    books
}

struct Audit<'a> {
    job: &'a Job,
    shown: &'a Value,
    found: &'a BTreeMap<String, Value>,
    losses: Losses,
    wrong: &'a mut Vec<String>,
}

impl Audit<'_> {
    fn run(mut self, seen: &Seen) {
        let lines = self.lines();
        self.check_ends();
        match self.job.kind {
            Kind::EverySecond => {
                self.check_memory(seen);
                self.check_seconds(&lines);
                self.check_witness(&lines);
                self.check_counters();
            }
            Kind::ByHand => {
                self.check_memory(seen);
                self.check_witness(&lines);
                self.check_counters();
                self.check_groups(&seen.groups);
            }
            Kind::Loud => self.check_total(&lines),
        }
    }

    fn say(&mut self, what: String) {
        self.wrong.push(format!("{}: {what}", self.job.name));
    }

    /// Lines of the witness as (due second, execution id).
    fn lines(&mut self) -> Vec<(i64, String)> {
        let text = fs::read_to_string(&self.job.witness).unwrap_or_default();
        let mut lines = Vec::new();
        for line in text.lines() {
            match line.split_once(' ') {
                Some((due, id)) if !id.contains(' ') => lines.push((second(due), id.to_owned())),
                _ => self.say(format!("the witness holds the line {line:?}")),
            }
        }
        lines
    }

    fn check_ends(&mut self) {
        let allowed: &[&str] = match self.losses {
            Losses::None => &["succeeded", "missed", "skipped"],
            Losses::WithLaunchers => &["succeeded", "missed", "skipped", "lost"],
        };
        for item in self.found.values() {
            assert!(FINAL.contains(&text(item, "state")), "still open: {item}");
            if !allowed.contains(&text(item, "state")) {
                self.say(format!("no run should end like {item}"));
            }
        }
    }

    /// What was once answered is there, and no end has changed.
    fn check_memory(&mut self, seen: &Seen) {
        let before = seen.executions.get(&self.job.name);
        let wrong = before.map(|before| contradictions(&self.job.name, before, self.found));
        self.wrong.extend(wrong.unwrap_or_default());
    }

    /// Every second between creation and disabling is decided exactly once, and no second that
    /// has a line says that nothing was started.
    fn check_seconds(&mut self, lines: &[(i64, String)]) {
        let mut decided: BTreeMap<i64, &Value> = BTreeMap::new();
        for item in self.found.values() {
            let last = second(text(item, "scheduled_for"));
            let first = item["skipped_from"].as_str().map_or(last, second);
            let count = item["skipped_count"].as_i64().unwrap_or(1);
            if count != last - first + 1 {
                self.say(format!("{item} does not stand for {} seconds", last - first + 1));
            }
            for due in first..=last {
                if let Some(other) = decided.insert(due, item) {
                    self.say(format!("second {due} is decided twice: {item} and {other}"));
                }
            }
        }
        let first = second(text(self.shown, "created_at")) + 1;
        let last = second(text(self.shown, "updated_at"));
        for due in first..=last {
            if !decided.contains_key(&due) {
                self.say(format!("second {due} of {first} to {last} is not decided"));
            }
        }
        let outside: Vec<&i64> =
            decided.keys().filter(|due| !(first..=last).contains(due)).collect();
        if !outside.is_empty() {
            self.say(format!("{outside:?} are decided, but not due"));
        }
        let mut with_line = BTreeSet::new();
        for (due, id) in lines {
            if !with_line.insert(due) {
                self.say(format!("second {due} has two lines"));
            }
            match decided.get(due) {
                Some(item) if matches!(text(item, "state"), "missed" | "skipped") => {
                    self.say(format!("second {due} has a line of {id}, and says {item}"));
                }
                Some(_) => {}
                None => self.say(format!("second {due} has a line of {id}, and is not decided")),
            }
        }
    }

    /// Each line is of one run, each run has at most one, and one that succeeded has one.
    fn check_witness(&mut self, lines: &[(i64, String)]) {
        let mut with_line = BTreeSet::new();
        for (due, id) in lines {
            if !with_line.insert(id.as_str()) {
                self.say(format!("run {id} has two lines"));
            }
            match self.found.get(id) {
                None => self.say(format!("run {id} has a line, and is not in the history")),
                Some(item) if second(text(item, "scheduled_for")) != *due => {
                    self.say(format!("run {id} has a line of second {due}, and says {item}"));
                }
                Some(_) => {}
            }
        }
        for (id, item) in self.found {
            if text(item, "state") == "succeeded" && !with_line.contains(id.as_str()) {
                self.say(format!("{item} has no line"));
            }
        }
    }

    fn check_counters(&mut self) {
        let (mut good, mut bad, mut missed) = (0, 0, 0);
        for item in self.found.values() {
            match text(item, "state") {
                "succeeded" => good += 1,
                "missed" | "skipped" => missed += item["skipped_count"].as_i64().unwrap_or(1),
                _ => bad += 1,
            }
        }
        for (key, counted) in
            [("success_count", good), ("error_count", bad), ("missed_count", missed)]
        {
            let told = self.counter(key);
            if told != counted {
                self.say(format!("{key} is {told}, and the history has {counted}"));
            }
        }
    }

    /// What can be said of a job whose history is short.
    fn check_total(&mut self, lines: &[(i64, String)]) {
        let due = second(text(self.shown, "updated_at")) - second(text(self.shown, "created_at"));
        let (good, bad) = (self.counter("success_count"), self.counter("error_count"));
        let missed = self.counter("missed_count");
        if good + bad + missed != due {
            self.say(format!("{good} + {bad} + {missed} ends for {due} due seconds"));
        }
        let seconds: BTreeSet<i64> = lines.iter().map(|(due, _)| *due).collect();
        if seconds.len() != lines.len() {
            self.say("a second has two lines".to_owned());
        }
        let count = lines.len() as i64;
        if !(good..=good + bad).contains(&count) {
            self.say(format!("{count} lines for {good} good ends and {bad} others"));
        }
    }

    fn check_groups(&mut self, groups: &[u64]) {
        let found: BTreeSet<u64> =
            self.found.values().filter_map(|item| item["group"].as_u64()).collect();
        for group in groups {
            if !found.contains(group) {
                self.say(format!("group {group}, which was answered 200, is gone"));
            }
        }
    }

    fn counter(&self, key: &str) -> i64 {
        self.shown[key].as_i64().unwrap_or_else(|| panic!("no {key} in {}", self.shown))
    }
}

/// The second of an RFC 3339 time.
#[track_caller]
fn second(time: &str) -> i64 {
    let parsed: Result<jiff::Timestamp, _> = time.parse();
    parsed.unwrap_or_else(|error| panic!("{time}: {error}")).as_second()
}
