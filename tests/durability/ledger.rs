//! What one client may rely on: each job as the answers so far make it.

use super::common::Reply;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Keys of a job that change without a change of the job: counters, times of runs, previews.
const VOLATILE: [&str; 7] = [
    "success_count",
    "error_count",
    "missed_count",
    "last_success",
    "last_error",
    "status",
    "next",
];

/// A request, and what it means.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    pub(crate) if_match: Option<String>,
    pub(crate) body: Option<Value>,
    /// The job that it is about.
    pub(crate) name: String,
    pub(crate) effect: Effect,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// The definition becomes the body.
    Put,
    /// What the body names changes.
    Merge,
    /// `disabled` becomes this, or is turned over.
    Disable(Option<bool>),
    Delete,
    Run,
    /// It is wrong in itself, and refused whatever is stored.
    Refused,
    /// It only looks.
    Look,
}

impl Ask {
    /// As it goes over the wire.
    pub(crate) fn bytes(&self) -> String {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", self.method, self.path);
        if let Some(key) = &self.key {
            text.push_str(&format!("Idempotency-Key: {key}\r\n"));
        }
        if let Some(version) = &self.if_match {
            text.push_str(&format!("If-Match: {version}\r\n"));
        }
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        if self.body.is_some() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text + "\r\n" + &body
    }

    /// The same without the long texts, for a message.
    pub(crate) fn brief(&self) -> String {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let body: String = body.chars().take(120).collect();
        format!("{} {} {:?} {body}", self.method, self.path, self.key)
    }
}

/// What is known of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    Is(u64),
    /// The change that made it has no answer.
    Above(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// What requests have made of the definition.
    fields: Map<String, Value>,
    version: Version,
    /// The stored job as an answer showed it, without what is volatile.
    shown: Option<Map<String, Value>>,
    /// Claims of its runs.
    groups: BTreeSet<u64>,
    /// How many runs more were asked for and have no answer.
    unknown_runs: usize,
}

/// What the first request with a key was answered.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) ask: Arc<Ask>,
    status: u16,
    /// The claim of a run; unknown if it had no answer.
    group: Option<u64>,
}

/// What must be answered.
#[derive(Debug)]
pub(crate) enum Expected {
    Stored(u16),
    Deleted,
    Ran,
    Replayed(Given),
    Absent,
    Refused,
    Shown,
}

/// All that is known.
#[derive(Clone, Default, Debug)]
pub(crate) struct Ledger {
    pub(crate) jobs: BTreeMap<String, Job>,
    /// By name, the highest version of any job of that name, deleted ones too.
    floors: BTreeMap<String, u64>,
    /// By key.
    pub(crate) given: BTreeMap<String, Given>,
}

/// What a restarted agent shows.
pub(crate) struct Seen<'a> {
    pub(crate) jobs: &'a BTreeMap<String, Value>,
    /// Executions of the jobs that were asked for, none for one that is not there.
    pub(crate) runs: BTreeMap<String, Vec<Value>>,
}

impl Ledger {
    /// Makes the change of a request, and says what it is answered.
    pub(crate) fn apply(&mut self, ask: &Arc<Ask>) -> Expected {
        let given = ask.key.as_ref().and_then(|key| self.given.get(key));
        if let Some(given) = given.filter(|_| ask.effect != Effect::Refused) {
            return Expected::Replayed(given.clone());
        }
        let expected = self.change(ask);
        let status = match expected {
            Expected::Stored(status) => status,
            Expected::Deleted | Expected::Ran => 200,
            Expected::Replayed(_) | Expected::Absent | Expected::Refused | Expected::Shown => {
                return expected;
            }
        };
        if let Some(key) = &ask.key {
            let given = Given { ask: Arc::clone(ask), status, group: None };
            self.given.insert(key.clone(), given);
        }
        expected
    }

    fn change(&mut self, ask: &Ask) -> Expected {
        let floor = self.floors.get(&ask.name).copied().unwrap_or(0);
        match (ask.effect, self.jobs.get_mut(&ask.name)) {
            (Effect::Refused, _) => Expected::Refused,
            (Effect::Look, Some(_)) => Expected::Shown,
            (Effect::Put | Effect::Merge, job) => {
                let stored = job.filter(|_| ask.effect == Effect::Merge).map(|job| &job.fields);
                let mut fields = stored.cloned().unwrap_or_else(defaults);
                let body = ask.body.as_ref().and_then(Value::as_object).expect("a definition");
                merge(&mut fields, body);
                let job = self.jobs.entry(ask.name.clone()).or_insert_with(Job::new);
                job.fields = fields;
                job.changed(floor);
                Expected::Stored(201)
            }
            (Effect::Disable(to), Some(job)) => {
                let disabled = to.unwrap_or(job.fields["disabled"] == json!(false));
                job.fields.insert("disabled".into(), disabled.into());
                job.changed(floor);
                Expected::Stored(200)
            }
            (Effect::Delete, Some(_)) => {
                self.jobs.remove(&ask.name);
                Expected::Deleted
            }
            (Effect::Run, Some(job)) => {
                job.unknown_runs += 1;
                Expected::Ran
            }
            (Effect::Look | Effect::Disable(_) | Effect::Delete | Effect::Run, None) => {
                Expected::Absent
            }
        }
    }

    /// Takes an answer to the books, or says what is wrong with it.
    pub(crate) fn answered(&mut self, ask: &Arc<Ask>, reply: &Reply) -> Result<(), String> {
        if reply.status == 503 {
            return Ok(());
        }
        let before = self.jobs.get(&ask.name).cloned();
        let expected = self.apply(ask);
        let replayed = reply.header("idempotent-replayed") == Some("true");
        let group = reply.header("x-execution-group").and_then(|text| text.parse().ok());
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let wrong = match &expected {
            _ if !expected.allows(reply.status) => Some(format!("not {expected:?}")),
            Expected::Replayed(_) if !replayed => Some("it was done again".to_owned()),
            Expected::Replayed(given) => self.replayed(ask, given.group, group),
            _ if replayed => Some("it was not done".to_owned()),
            Expected::Stored(_) => self.stored(&ask.name, &body),
            Expected::Deleted => before.and_then(|job| job.contradiction(&body)),
            Expected::Ran => self.ran(ask, group),
            Expected::Shown => before.and_then(|job| job.contradiction(&body)),
            Expected::Absent | Expected::Refused => None,
        };
        wrong.map_or(Ok(()), |what| {
            let text: String = reply.text().chars().take(300).collect();
            Err(format!("{what}, after {}: {} {text}", ask.brief(), reply.status))
        })
    }

    /// The answer to a repeat names the run that the first answer named.
    fn replayed(&mut self, ask: &Ask, first: Option<u64>, now: Option<u64>) -> Option<String> {
        let given = ask.key.as_ref().and_then(|key| self.given.get_mut(key));
        given.expect("it was found").group = now;
        let same = first.is_none_or(|first| now == Some(first));
        let is_run = ask.effect == Effect::Run;
        (!same || is_run != now.is_some()).then(|| format!("run {now:?}, not {first:?}"))
    }

    fn ran(&mut self, ask: &Ask, group: Option<u64>) -> Option<String> {
        if let Some(given) = ask.key.as_ref().and_then(|key| self.given.get_mut(key)) {
            given.group = group;
        }
        let job = self.jobs.get_mut(&ask.name).expect("it runs");
        job.unknown_runs -= 1;
        let is_new = |group| job.version.is_below(group) && job.groups.insert(group);
        (!group.is_some_and(is_new)).then(|| format!("{group:?} is no new run"))
    }

    /// A job was shown as it is stored after a change.
    fn stored(&mut self, name: &str, body: &Value) -> Option<String> {
        let job = self.jobs.get_mut(name).expect("it was stored");
        if let Some(what) = job.contradiction(body) {
            return Some(what);
        }
        job.adopt(body);
        if let Version::Is(version) = job.version {
            self.floors.insert(name.to_owned(), version);
        }
        None
    }

    /// Why `seen` is not what this ledger says.
    pub(crate) fn contradiction(&self, names: &[String], seen: &Seen<'_>) -> Option<String> {
        names.iter().find_map(|name| {
            let what = match (self.jobs.get(name), seen.jobs.get(name)) {
                (None, None) => None,
                (None, Some(shown)) => Some(format!("is there: {shown}")),
                (Some(_), None) => Some("is gone".to_owned()),
                (Some(job), Some(shown)) => job
                    .contradiction(shown)
                    .or_else(|| job.runs_contradiction(seen.runs.get(name)?)),
            };
            what.map(|what| format!("{name} {what}"))
        })
    }

    /// What was uncertain is known now.
    pub(crate) fn adopt(&mut self, seen: &Seen<'_>) {
        for (name, job) in &mut self.jobs {
            job.adopt(&seen.jobs[name]);
            if let Some(runs) = seen.runs.get(name) {
                job.groups = groups(runs);
                job.unknown_runs = 0;
            }
            if let Version::Is(version) = job.version {
                self.floors.insert(name.clone(), version);
            }
        }
    }

    /// The highest version that a job of that name has or had.
    pub(crate) fn floor(&self, name: &str) -> u64 {
        self.floors.get(name).copied().unwrap_or(0)
    }

    /// The version of a stored job, if it is known.
    pub(crate) fn version(&self, name: &str) -> Option<u64> {
        match self.jobs.get(name)?.version {
            Version::Is(version) => Some(version),
            Version::Above(_) => None,
        }
    }
}

impl Expected {
    fn allows(&self, status: u16) -> bool {
        match self {
            Expected::Stored(wanted) => status == *wanted,
            Expected::Deleted | Expected::Ran | Expected::Shown => status == 200,
            Expected::Replayed(given) => status == given.status,
            Expected::Absent => status == 404,
            Expected::Refused => (400..500).contains(&status),
        }
    }
}

impl Version {
    fn is_below(self, index: u64) -> bool {
        match self {
            Version::Is(version) | Version::Above(version) => version < index,
        }
    }
}

impl Job {
    fn new() -> Job {
        let (fields, version) = (defaults(), Version::Above(0));
        Job { fields, version, shown: None, groups: BTreeSet::new(), unknown_runs: 0 }
    }

    fn changed(&mut self, floor: u64) {
        self.version = Version::Above(floor);
        self.shown = None;
    }

    /// In what `shown` is not this job.
    fn contradiction(&self, shown: &Value) -> Option<String> {
        let version = shown["version"].as_u64().unwrap_or(0);
        let right = match self.version {
            Version::Is(known) => version == known,
            Version::Above(floor) => version > floor,
        };
        if !right {
            return Some(format!("has version {version}, not {:?}", self.version));
        }
        let other = |(key, value): (&String, &Value)| {
            let brief = |value: &Value| value.to_string().chars().take(80).collect::<String>();
            let found = &shown[key];
            (found != value).then(|| format!("{key} is {}, not {}", brief(found), brief(value)))
        };
        let known = self.shown.iter().flatten();
        self.fields.iter().chain(known).find_map(other)
    }

    fn runs_contradiction(&self, runs: &[Value]) -> Option<String> {
        let found = groups(runs);
        let lost: Vec<_> = self.groups.difference(&found).collect();
        let more = found.len() as isize - self.groups.len() as isize;
        if !lost.is_empty() {
            return Some(format!("has lost the runs {lost:?}"));
        }
        let wanted = self.unknown_runs;
        (more != wanted as isize).then(|| format!("has {more} runs more, not {wanted}"))
    }

    fn adopt(&mut self, shown: &Value) {
        self.version = Version::Is(shown["version"].as_u64().expect("a version"));
        let mut stable = shown.as_object().expect("a job").clone();
        stable.retain(|key, _| !VOLATILE.contains(&key.as_str()));
        self.shown = Some(stable);
    }
}

/// The claims of these executions.
pub(crate) fn groups(runs: &[Value]) -> BTreeSet<u64> {
    runs.iter().filter_map(|run| run["group"].as_u64()).collect()
}

/// What a definition says that says nothing.
fn defaults() -> Map<String, Value> {
    let all = json!({
        "displayname": "", "owner": "", "owner_email": "", "note": "", "disabled": false,
        "metadata": {}, "env": {}, "starts_at": null, "keep": 100, "shell": false,
    });
    all.as_object().expect("an object").clone()
}

/// What PATCH does: `null` clears, texts of `metadata` are merged one by one, all else is set.
fn merge(fields: &mut Map<String, Value>, given: &Map<String, Value>) {
    for (key, value) in given {
        let merged = match (fields.get_mut(key), value) {
            (_, Value::Null) => defaults()[key].clone(),
            (Some(Value::Object(old)), Value::Object(new)) if key == "metadata" => {
                old.extend(new.clone());
                continue;
            }
            _ => value.clone(),
        };
        fields.insert(key.clone(), merged);
    }
}
