//! A client that changes jobs of its own as fast as it can, and knows after each restart what must
//! be there, what may be, and what must not.

use super::common::{Client, Connection, Reply};
use super::ledger::{Ask, Effect, Ledger, Seen};
use super::reader::{Shown, is_over};
use bellwether::rng::Rng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Jobs of one client.
const JOBS: u64 = 4;
/// Most requests of one write, but for repeats.
const BATCH: u64 = 6;

/// How often what happened.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    /// Requests without an answer whose change was there after the restart.
    pub(crate) kept: u64,
    /// The same, and it was not there.
    pub(crate) dropped: u64,
    pub(crate) replayed: u64,
}

pub(crate) struct Writer {
    number: usize,
    rng: Rng,
    serial: u64,
    ledger: Ledger,
    /// Requests of this round that have no answer, in the order in which they were sent.
    pending: Vec<Arc<Ask>>,
    /// Jobs that a request of this round may have deleted.
    deleted: BTreeSet<String>,
    /// Executions that have ended, by job and id.
    ends: BTreeMap<(String, String), Value>,
    pub(crate) counts: Counts,
    pub(crate) wrong: Vec<String>,
}

impl Writer {
    pub(crate) fn new(number: usize) -> Writer {
        Writer {
            number,
            rng: Rng::new(0),
            serial: 0,
            ledger: Ledger::default(),
            pending: Vec::new(),
            deleted: BTreeSet::new(),
            ends: BTreeMap::new(),
            counts: Counts::default(),
            wrong: Vec::new(),
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        (0..JOBS).map(|job| format!("w{}-{job}", self.number)).collect()
    }

    // ---- under load ----

    /// Sends requests until the agent is gone, which only one that is `dying` may be.
    pub(crate) fn work(&mut self, mut connection: Connection, seed: u64, dying: &AtomicBool) {
        self.rng = Rng::new(seed);
        self.deleted.clear();
        while self.wrong.is_empty() {
            let asks = self.batch();
            let text: String = asks.iter().map(|ask| ask.bytes()).collect();
            let deletes = asks.iter().filter(|ask| ask.effect == Effect::Delete);
            self.deleted.extend(deletes.map(|ask| ask.name.clone()));
            // What could not be sent may have arrived.
            let answers = match connection.send(text.as_bytes()) {
                Ok(()) => self.read(&asks, &mut connection),
                Err(error) => (0, Err(error)),
            };
            if let (count, Err(error)) = answers {
                self.pending = asks[count..].to_vec();
                if !dying.load(Ordering::SeqCst) {
                    self.wrong.push(format!("a living agent closed the connection: {error}"));
                }
                return;
            }
        }
    }

    /// Reads the answers as far as they come.
    fn read(&mut self, asks: &[Arc<Ask>], from: &mut Connection) -> (usize, io::Result<()>) {
        for (count, ask) in asks.iter().enumerate() {
            match from.reply(ask.method) {
                Ok(reply) => self.note(ask, &reply),
                Err(error) => return (count, Err(error)),
            }
        }
        (asks.len(), Ok(()))
    }

    fn note(&mut self, ask: &Arc<Ask>, reply: &Reply) {
        match reply.status {
            200..300 if ask.effect != Effect::Look => self.counts.answered += 1,
            400.. => self.counts.refused += 1,
            _ => {}
        }
        self.counts.replayed += u64::from(reply.header("idempotent-replayed").is_some());
        self.wrong.extend(self.ledger.answered(ask, reply).err());
    }

    fn batch(&mut self) -> Vec<Arc<Ask>> {
        let count = if self.rng.chance(1, 2) { 1 } else { 2 + self.rng.below(BATCH - 1) };
        let mut asks = Vec::new();
        for place in 0..count {
            let ask = Arc::new(self.ask(place == 0));
            if ask.key.is_some() && self.rng.chance(1, 4) {
                // A hasty client, which repeats before it has an answer.
                asks.push(Arc::clone(&ask));
            }
            asks.push(ask);
        }
        asks
    }

    fn ask(&mut self, is_first: bool) -> Ask {
        self.serial += 1;
        let name = format!("w{}-{}", self.number, self.rng.below(JOBS));
        let path = format!("/v1/jobs/{name}");
        let drawn = self.rng.below(100);
        let keyed = drawn < 76 && self.rng.chance(1, 3);
        let key = keyed.then(|| format!("key-{}-{}", self.number, self.serial));
        let ask = |method, path, body, effect| Ask {
            method,
            path,
            key,
            if_match: None,
            body,
            name: name.clone(),
            effect,
        };
        match drawn {
            0..30 => {
                let body = Some(self.definition(&name, is_first));
                let collection = "/v1/jobs".to_owned();
                let mut ask = match self.rng.below(2) {
                    0 => ask("POST", collection, body, Effect::Put),
                    _ => ask("PUT", path, body, Effect::Put),
                };
                let version = self.ledger.version(&ask.name).filter(|_| is_first && !keyed);
                ask.if_match = version.map(|version| version.to_string());
                ask
            }
            30..50 => ask("PATCH", path, Some(self.change(&name)), Effect::Merge),
            50..58 => {
                let (to, word) =
                    [(Some(true), "disable"), (Some(false), "enable"), (None, "toggle")]
                        [self.rng.below(3) as usize];
                ask("POST", format!("{path}/{word}"), None, Effect::Disable(to))
            }
            58..65 => ask("DELETE", path, None, Effect::Delete),
            65..76 => ask("POST", format!("{path}/run"), None, Effect::Run),
            76..86 => self.wrong_ask(name),
            _ => ask("GET", path, None, Effect::Look),
        }
    }

    fn definition(&mut self, name: &str, may_be_long: bool) -> Value {
        let long = may_be_long && self.rng.chance(1, 2);
        let length = if long { 4_000 } else { self.rng.below(100) as usize };
        let text = "x".repeat(length);
        let labels = (0..self.rng.below(13)).map(|number| (format!("k{number}"), json!(text)));
        let metadata: serde_json::Map<String, Value> = labels.collect();
        let starts_at = self.rng.chance(1, 2).then_some("2999-01-01T00:00:00Z");
        json!({
            "name": name, "schedule": if starts_at.is_some() { "0 0 0 1 1 *" } else { "@manually" },
            "command": format!("echo {}", self.serial), "note": self.serial.to_string(),
            "metadata": metadata, "env": {"SERIAL": self.serial.to_string()},
            "starts_at": starts_at, "disabled": self.rng.chance(1, 4), "keep": 10_000,
        })
    }

    /// A body of PATCH, which also does to create the job.
    fn change(&mut self, name: &str) -> Value {
        let mut body = json!({
            "name": name, "schedule": "@manually", "command": "true", "keep": 10_000,
            "note": self.serial.to_string(),
        });
        if self.rng.chance(1, 2) {
            let key = format!("k{}", self.rng.below(9));
            body["metadata"] = json!({ key: self.serial.to_string() });
        }
        if self.rng.chance(1, 2) {
            body["owner"] =
                [json!(null), json!("somebody"), json!("else")][self.rng.below(3) as usize].clone();
        }
        body
    }

    /// A request that is refused, whatever there is.
    fn wrong_ask(&mut self, name: String) -> Ask {
        let path = format!("/v1/jobs/{name}");
        let good = self.definition(&name, false);
        let with = |key: &str, value: Value| {
            let mut body = good.clone();
            body[key] = value;
            Some(body)
        };
        // The first record of a journal is of no job.
        let stale = Some("1".to_owned());
        let used = self.ledger.given.keys().next().cloned();
        let (method, path, body, if_match, key) = match self.rng.below(7) {
            0 => ("POST", "/v1/jobs".into(), with("schedule", json!("99 * * * *")), None, None),
            1 => ("PUT", path, with("name", json!("another")), None, None),
            2 => ("PATCH", path, with("note", json!("n".repeat(5_000))), None, None),
            3 => ("PUT", path, Some(good), stale, None),
            4 => ("DELETE", path, None, stale, None),
            5 if used.is_some() => {
                ("POST", format!("{path}/disable?other={}", self.serial), None, None, used)
            }
            _ => ("POST", format!("{path}/run"), None, stale, None),
        };
        Ask { method, path, key, if_match, body, name, effect: Effect::Refused }
    }

    // ---- after a restart ----

    /// Finds out what became of the requests without an answer, and checks all the others.
    pub(crate) fn check(
        &mut self,
        client: &Client,
        jobs: &BTreeMap<String, Value>,
        shown: &Shown,
        all_runs: bool,
    ) {
        let runs = self.runs_of_interest(shown, all_runs);
        let runs = runs.into_iter().map(|name| (name.clone(), executions(client, &name))).collect();
        let seen = Seen { jobs, runs };
        let pending = std::mem::take(&mut self.pending);
        let fitting = self.fitting(&pending, &seen);
        let Some(&count) = fitting.last() else { return };
        for (place, ask) in pending.iter().enumerate() {
            let changes = !matches!(ask.effect, Effect::Look | Effect::Refused);
            self.counts.kept += u64::from(changes && place < count);
            self.counts.dropped += u64::from(changes && place >= count);
            if place < count {
                self.ledger.apply(ask);
            }
        }
        self.ledger.adopt(&seen);
        self.check_shown(&seen, shown, &pending);
        self.check_ends(&seen);
        self.repeat(client, &pending, &fitting);
    }

    /// Of which jobs the executions are asked for: where they may have changed, and some more.
    fn runs_of_interest(&mut self, shown: &Shown, all: bool) -> Vec<String> {
        let mut names = self.names();
        names.retain(|name| {
            let asked = self
                .pending
                .iter()
                .any(|ask| &ask.name == name && matches!(ask.effect, Effect::Run | Effect::Delete));
            all || asked || shown.runs.contains_key(name) || self.rng.chance(1, 8)
        });
        names
    }

    /// How many of the requests without an answer may have been carried out, so that all that is
    /// seen follows: they were taken one after another, so those that were are the first ones.
    fn fitting(&mut self, pending: &[Arc<Ask>], seen: &Seen<'_>) -> Vec<usize> {
        let names = self.names();
        let mut ledger = self.ledger.clone();
        let (mut fitting, mut reasons) = (Vec::new(), Vec::new());
        for count in 0..=pending.len() {
            match ledger.contradiction(&names, seen) {
                None => fitting.push(count),
                Some(what) => reasons.push(format!("{count} of them made: {what}")),
            }
            if let Some(ask) = pending.get(count) {
                ledger.apply(ask);
            }
        }
        if fitting.is_empty() {
            let asks: Vec<String> = pending.iter().map(|ask| ask.brief()).collect();
            self.wrong.push(format!("after the restart: {reasons:#?}; without answer: {asks:#?}"));
        }
        fitting
    }

    /// What a reader was shown before the agent died is still there.
    fn check_shown(&mut self, seen: &Seen<'_>, shown: &Shown, pending: &[Arc<Ask>]) {
        for name in self.names() {
            let version = shown.versions.get(&name).copied().unwrap_or(0);
            let unsure =
                self.ledger.version(&name).is_none() && pending.iter().any(|ask| ask.name == name);
            if self.ledger.floor(&name) < version && !unsure {
                self.wrong.push(format!("version {version} of {name} was shown and is gone"));
            }
            if self.deleted.contains(&name) {
                continue;
            }
            let Some(now) = seen.runs.get(&name) else { continue };
            for (id, old) in shown.runs.get(&name).into_iter().flatten() {
                let new = now.iter().find(|new| &new["id"] == id);
                if !new.is_some_and(|new| new == old || !is_over(old)) {
                    self.wrong.push(format!("{name}: {old} was shown and became {new:?}"));
                }
            }
        }
    }

    /// What has ended never changes.
    fn check_ends(&mut self, seen: &Seen<'_>) {
        let (deleted, jobs) = (&self.deleted, &self.ledger.jobs);
        self.ends.retain(|(name, _), _| !deleted.contains(name) && jobs.contains_key(name));
        for (name, runs) in &seen.runs {
            for run in runs.iter().filter(|run| is_over(run)) {
                let id = run["id"].as_str().expect("an id").to_owned();
                let old = self.ends.entry((name.clone(), id)).or_insert_with(|| run.clone());
                if old != run {
                    self.wrong.push(format!("{name}: the end {old} became {run}"));
                }
            }
        }
    }

    /// Requests with keys are sent again: those without an answer, and some that had one.
    fn repeat(&mut self, client: &Client, pending: &[Arc<Ask>], fitting: &[usize]) {
        let mut again: Vec<(Arc<Ask>, bool, bool)> = Vec::new();
        let (least, most) = (fitting[0], fitting[fitting.len() - 1]);
        for (place, ask) in pending.iter().enumerate() {
            // One that found no job, however early it was taken, has changed nothing.
            let given = ask.key.as_ref().is_some_and(|key| self.ledger.given.contains_key(key));
            if ask.key.is_some() && ask.effect != Effect::Refused {
                again.push((Arc::clone(ask), given && place < least, given && place < most));
            }
        }
        let known: Vec<&Arc<Ask>> = self.ledger.given.values().map(|given| &given.ask).collect();
        for _ in 0..known.len().min(2) {
            let ask = known[self.rng.below(known.len() as u64) as usize];
            again.push((Arc::clone(ask), true, true));
        }
        let touched: BTreeSet<String> = again.iter().map(|(ask, ..)| ask.name.clone()).collect();
        for (ask, was_made, may_be_made) in again {
            let reply = send(client, &ask);
            let key = ask.key.as_ref().expect("they have one");
            let replayed = reply.header("idempotent-replayed").is_some();
            if was_made && !replayed {
                self.wrong.push(format!("{} is done again: {}", ask.brief(), reply.text()));
            }
            if !replayed && may_be_made && !was_made {
                // It could not be told from what was seen; now it can.
                self.ledger.given.remove(key);
            }
            self.note(&ask, &reply);
        }
        for name in touched {
            let job = client.get(&format!("/v1/jobs/{name}"));
            let found = (job.status == 200).then(|| (name.clone(), job.json()));
            let runs = BTreeMap::from([(name.clone(), executions(client, &name))]);
            let seen = Seen { jobs: &found.into_iter().collect(), runs };
            let what = self.ledger.contradiction(&[name], &seen);
            self.wrong.extend(what.map(|what| format!("after repeats: {what}")));
        }
    }
}

fn send(client: &Client, ask: &Ask) -> Reply {
    let mut connection = client.connect().expect("the agent listens");
    connection.send(ask.bytes().as_bytes()).expect("it is taken");
    connection.reply(ask.method).expect("an answer")
}

/// All executions of a job; none if it is not there.
pub(crate) fn executions(client: &Client, name: &str) -> Vec<Value> {
    let reply = client.get(&format!("/v1/jobs/{name}/executions?state=all"));
    match reply.status {
        404 => Vec::new(),
        _ => reply.expect(200).json().as_array().expect("a list").clone(),
    }
}
