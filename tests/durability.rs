//! What was answered is there after a crash, with the real program: killed at any moment while many
//! clients change jobs as fast as they can, it comes back with each change that it has answered,
//! with none that it has refused, and with each other one wholly or not at all.
//!
//! Moments and requests are drawn from a seed, which a failure prints; `SURVIVAL_SEED` draws them
//! again.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]
#![allow(clippy::print_stdout, reason = "how much was tried is for the person")]

#[path = "durability/client.rs"]
mod client;
mod common;
#[path = "durability/ledger.rs"]
mod ledger;
#[path = "durability/reader.rs"]
mod reader;

use client::{Counts, Writer, executions};
use common::{Agent, Client, DEADLINE, Seed, pass, wait_for_a_file_beside, wait_until};
use reader::{Shown, is_over};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Clients that change jobs, half of them over TCP.
const WRITERS: usize = 8;
/// Kills of one trial; there are four.
const ROUNDS: u32 = 50;

#[test]
fn killed_while_it_takes_snapshots_it_keeps_what_it_answered() {
    trial("many snapshots", "4096");
}

#[test]
fn killed_again_while_it_takes_snapshots_it_keeps_what_it_answered() {
    trial("many snapshots again", "64KiB");
}

#[test]
fn killed_between_snapshots_it_keeps_what_it_answered() {
    trial("some snapshots", "512KiB");
}

#[test]
fn killed_long_before_a_snapshot_it_keeps_what_it_answered() {
    trial("few snapshots", "2MiB");
}

fn trial(title: &str, snapshot_after: &str) {
    let began = Instant::now();
    let mut trial = Trial::begin(title, snapshot_after);
    let mut rounds = 0;
    // More rounds than this on a machine that is slow to fill a segment.
    while rounds < ROUNDS || (!trial.has_compacted() && rounds < 4 * ROUNDS) {
        trial.round();
        rounds += 1;
    }
    let killing = began.elapsed();
    let (snapshots, firsts) = (trial.snapshots.len(), trial.firsts.len());
    assert!(trial.has_compacted(), "{snapshots} snapshots and {firsts} first segments");
    let counts = trial.counts();
    let Counts { answered, refused, kept, dropped, replayed } = counts;
    let least = [answered, refused, kept, dropped, replayed].into_iter().min();
    assert!(least >= Some(u64::from(ROUNDS / 2)), "too little was tried: {counts:?}");
    trial.end();
    println!(
        "{title}: {rounds} rounds in {killing:?}, all in {:?}; {snapshots} snapshots, {firsts} \
         first segments; {counts:?}",
        began.elapsed()
    );
}

struct Trial {
    agent: Agent,
    writers: Vec<Writer>,
    /// Snapshots that were found after a kill, each a file of its own.
    snapshots: BTreeSet<(u64, i64)>,
    /// First segments of the journal that were found after a kill.
    firsts: BTreeSet<String>,
    seed: Seed,
}

impl Trial {
    fn begin(title: &str, snapshot_after: &str) -> Trial {
        let seed = Seed::new(title);
        let agent = Agent::builder().flag("--snapshot-after", snapshot_after).start();
        // Most of a segment, so that its end comes early in the trial.
        for _ in 0..120 {
            agent.unix().post("/v1/jobs", scratch()).expect(201);
        }
        agent.unix().delete("/v1/jobs/scratch", "").expect(200);
        let writers = (0..WRITERS).map(Writer::new).collect();
        Trial { agent, writers, snapshots: BTreeSet::new(), firsts: BTreeSet::new(), seed }
    }

    /// Load, a kill, a start, and a look at all that is there.
    fn round(&mut self) {
        let shown = self.load_and_kill();
        self.note_files();
        self.agent.relaunch();
        if self.seed.rng.chance(1, 8) {
            // The next start is not spared, either.
            pass(Duration::from_micros(self.seed.rng.below(60_000)));
            self.agent.kill9();
            self.agent.relaunch();
        }
        self.agent.wait_until_ready_again();
        self.check(&shown, false);
    }

    fn load_and_kill(&mut self) -> Shown {
        let clients = [self.agent.unix(), self.agent.tcp()];
        let names: Vec<String> = self.writers.iter().flat_map(Writer::names).collect();
        let dying = AtomicBool::new(false);
        let connect = |number: usize| clients[number % 2].connect().expect("the agent listens");
        let (agent, rng) = (&mut self.agent, &mut self.seed.rng);
        std::thread::scope(|scope| {
            for (number, writer) in self.writers.iter_mut().enumerate() {
                let (connection, seed) = (connect(number), rng.next_u64());
                let dying = &dying;
                scope.spawn(move || writer.work(connection, seed, dying));
            }
            let (connection, names, seed) = (connect(0), &names, rng.next_u64());
            let reader = scope.spawn(move || Shown::read(connection, names, seed));
            pass(Duration::from_micros(rng.below(100_000)));
            if rng.chance(1, 3) {
                wait_for_a_file_beside(agent.data_dir(), Duration::from_millis(60));
            }
            dying.store(true, Ordering::SeqCst);
            agent.kill9();
            reader.join().expect("what the agent answers can be read")
        })
    }

    fn note_files(&mut self) {
        let dir = self.agent.data_dir();
        if let Ok(found) = fs::metadata(dir.join("snapshot")) {
            self.snapshots.insert((found.ino(), found.mtime_nsec()));
        }
        self.firsts.extend(segments(&self.agent).into_iter().next());
    }

    /// Whether enough snapshots were taken, and segments removed.
    fn has_compacted(&self) -> bool {
        self.snapshots.len() >= 2 && self.firsts.len() >= 2
    }

    fn check(&mut self, shown: &Shown, all_runs: bool) {
        let unix = self.agent.unix();
        let jobs = all_jobs(&unix);
        std::thread::scope(|scope| {
            for writer in &mut self.writers {
                scope.spawn(|| writer.check(&unix, &jobs, shown, all_runs));
            }
        });
        let wrong: Vec<&String> = self.writers.iter().flat_map(|writer| &writer.wrong).collect();
        assert!(wrong.is_empty(), "{} things are wrong: {wrong:#?}", wrong.len());
        let known: BTreeSet<String> = self.writers.iter().flat_map(Writer::names).collect();
        let strange: Vec<&String> = jobs.keys().filter(|name| !known.contains(*name)).collect();
        assert!(strange.is_empty(), "nobody made {strange:?}");
    }

    fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for Counts { answered, refused, kept, dropped, replayed } in
            self.writers.iter().map(|writer| writer.counts)
        {
            sum.answered += answered;
            sum.refused += refused;
            sum.kept += kept;
            sum.dropped += dropped;
            sum.replayed += replayed;
        }
        sum
    }

    /// Lets every run end. Then neither an orderly stop, nor a kill, nor a snapshot changes a byte
    /// of what is answered.
    fn end(&mut self) {
        let unix = self.agent.unix();
        wait_until(DEADLINE, "every run has ended", || {
            (unix.get("/v1/busy").expect(200).json() == json!([])).then_some(())
        });
        self.check(&Shown::default(), true);
        for (name, job) in all_jobs(&unix) {
            let runs = executions(&unix, &name);
            assert!(runs.iter().all(is_over), "{name}: {runs:?}");
            let good = runs.iter().filter(|run| run["state"] == "succeeded").count();
            assert_eq!(job["success_count"], json!(good), "{job}");
        }
        let books = books(&unix);
        self.agent.restart();
        assert!(books == self::books(&unix), "an orderly restart changed what is answered");
        self.agent.kill9();
        self.agent.restart();
        assert!(books == self::books(&unix), "a kill changed what is answered");
        self.take_snapshot();
        assert!(books == self::books(&unix), "a snapshot changed what is answered");
        for _ in 0..2 {
            self.agent.restart();
            assert!(
                books == self::books(&unix),
                "a start from a snapshot changed what is answered"
            );
        }
        self.seed.passed();
    }

    /// Changes a job that is then deleted, until a snapshot was taken.
    fn take_snapshot(&mut self) {
        let unix = self.agent.unix();
        let file = self.agent.data_dir().join("snapshot");
        let found = || fs::metadata(&file).map(|found| (found.ino(), found.mtime_nsec())).ok();
        let before = found();
        wait_until(DEADLINE, "a snapshot was taken", || {
            for _ in 0..10 {
                unix.post("/v1/jobs", scratch()).expect(201);
            }
            (found() != before).then_some(())
        });
        unix.delete("/v1/jobs/scratch", "").expect(200);
    }
}

/// A job of 60 KB.
fn scratch() -> Value {
    let labels = (0..15).map(|number| (format!("k{number}"), json!("x".repeat(4_000))));
    let labels: serde_json::Map<String, Value> = labels.collect();
    json!({"name": "scratch", "schedule": "@manually", "command": "true", "metadata": labels})
}

/// All jobs by name.
fn all_jobs(client: &Client) -> BTreeMap<String, Value> {
    let jobs = client.get("/v1/jobs").expect(200).json();
    let jobs = jobs.as_array().expect("a list").iter();
    jobs.map(|job| (job["name"].as_str().expect("a name").to_owned(), job.clone())).collect()
}

/// All that is answered about jobs and their executions, byte for byte.
fn books(client: &Client) -> Vec<Vec<u8>> {
    let jobs = client.get("/v1/jobs").expect(200);
    let names = all_jobs(client).into_keys();
    let paths = names.flat_map(|name| {
        let executions = format!("/v1/jobs/{name}/executions?state=all");
        [format!("/v1/jobs/{name}"), format!("/v1/executions/{name}"), executions]
    });
    let others = paths.map(|path| client.get(&path).expect(200).body);
    [jobs.body].into_iter().chain(others).collect()
}

/// Names of the segments of the journal, oldest first.
fn segments(agent: &Agent) -> BTreeSet<String> {
    let entries = fs::read_dir(agent.data_dir().join("journal")).expect("a journal");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name != "segment.tmp")
        .collect()
}
