//! A job that is due at every second and writes down each start on a disk that has room; and the
//! check that each of its seconds was decided once, and started once or not at all, as it is told.

use crate::common::{Agent, DEADLINE, wait_until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Ticking {
    witness: PathBuf,
}

impl Ticking {
    /// Creates the job.
    #[track_caller]
    pub(crate) fn create(agent: &Agent) -> Ticking {
        let witness = agent.home().join("witness");
        let command = format!(
            "echo $BELLWETHER_SCHEDULED_FOR $BELLWETHER_EXECUTION_ID >>{}",
            witness.display()
        );
        let job = json!({"name": "tick", "schedule": "* * * * * *", "timezone": "UTC",
                         "keep": 10_000, "shell": true, "command": command});
        agent.post("/v1/jobs", job).expect(201);
        Ticking { witness }
    }

    /// Waits until so many more starts are written down.
    #[track_caller]
    pub(crate) fn wait_for_fires(&self, agent: &Agent, count: usize) {
        let wanted = self.starts().len() + count;
        wait_until(DEADLINE, "the job fires", || {
            agent.get("/health").expect(200);
            (self.starts().len() >= wanted).then_some(())
        });
    }

    /// How many fires are claimed.
    #[track_caller]
    pub(crate) fn claimed(&self, agent: &Agent) -> usize {
        self.books(agent).len()
    }

    /// Whether the newest claimed second lies so far back.
    #[track_caller]
    pub(crate) fn is_silent_for(&self, agent: &Agent, seconds: i64) -> bool {
        let newest = self.books(agent).iter().map(due).max().expect("fires");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        now as i64 - newest > seconds
    }

    /// Ends the job and checks all of its seconds.
    #[track_caller]
    pub(crate) fn check_books(&self, agent: &Agent) {
        self.check(agent, &["succeeded", "missed", "skipped"]);
    }

    /// The same, where ends may be unknown because a launcher was killed.
    #[track_caller]
    pub(crate) fn check_seconds(&self, agent: &Agent) {
        self.check(agent, &["succeeded", "missed", "skipped", "lost"]);
    }

    #[track_caller]
    fn check(&self, agent: &Agent, ends: &[&str]) {
        agent.patch("/v1/jobs/tick", r#"{"disabled":true}"#).expect(201);
        let books = wait_until(DEADLINE, "every run has ended", || {
            let books = self.books(agent);
            let over = |item: &Value| ends.contains(&state(item));
            books.iter().all(over).then_some(books)
        });
        let mut decided: BTreeMap<i64, &Value> = BTreeMap::new();
        for item in &books {
            let last = due(item);
            let first = item["skipped_from"].as_str().map_or(last, second);
            for at in first..=last {
                let other = decided.insert(at, item);
                assert_eq!(other, None, "second {at} is decided twice, once by {item}");
            }
        }
        let (first, last) = (decided.keys().next(), decided.keys().last());
        let (first, last) = (*first.expect("fires"), *last.expect("fires"));
        let lost: Vec<i64> = (first..=last).filter(|at| !decided.contains_key(at)).collect();
        assert!(lost.is_empty(), "seconds that nothing tells of: {lost:?}");
        let mut started = BTreeSet::new();
        for at in self.starts() {
            assert!(started.insert(at), "second {at} was started twice");
            let told = decided.get(&at).map(|item| state(item));
            assert!(matches!(told, Some("succeeded" | "lost")), "second {at} ran: {told:?}");
        }
        let ran = |item: &&Value| state(item) == "succeeded";
        for item in books.iter().filter(ran) {
            assert!(started.contains(&due(item)), "nothing was started for {item}");
        }
    }

    fn books(&self, agent: &Agent) -> Vec<Value> {
        let path = "/v1/jobs/tick/executions?state=all&output_size_limit=0";
        let list = agent.get(path).expect(200).json();
        list.as_array().expect("a list").clone()
    }

    /// The seconds for which a process was started, in order.
    fn starts(&self) -> Vec<i64> {
        let text = fs::read_to_string(&self.witness).unwrap_or_default();
        text.lines().map(|line| second(line.split(' ').next().expect("a word"))).collect()
    }
}

fn state(item: &Value) -> &str {
    item["state"].as_str().expect("a state")
}

fn due(item: &Value) -> i64 {
    second(item["scheduled_for"].as_str().expect("a due time"))
}

/// The Unix time of a moment like 2026-06-01T00:00:00Z.
fn second(text: &str) -> i64 {
    bellwether::cron::civil::parse_rfc3339(text).expect("a moment").second().0
}
