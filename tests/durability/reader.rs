//! A client that only looks, and remembers what it was shown.

use super::common::{Connection, Reply};
use bellwether::rng::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;

/// States after which nothing may change.
const FINAL: [&str; 7] =
    ["succeeded", "failed", "killed", "timed_out", "lost", "skipped", "missed"];

/// What was shown in one round.
#[derive(Default, Debug)]
pub(crate) struct Shown {
    /// The highest version of each job.
    pub(crate) versions: BTreeMap<String, u64>,
    /// Executions by job and id, each as it was shown last.
    pub(crate) runs: BTreeMap<String, BTreeMap<String, Value>>,
}

impl Shown {
    /// Looks at jobs of `names` until the agent is gone.
    pub(crate) fn read(mut connection: Connection, names: &[String], seed: u64) -> Shown {
        let mut shown = Shown::default();
        let mut rng = Rng::new(seed);
        let mut look = || -> io::Result<()> {
            let name = &names[rng.below(names.len() as u64) as usize];
            let job = get(&mut connection, &format!("/v1/jobs/{name}"))?;
            let Some(version) = job["version"].as_u64() else { return Ok(()) };
            let highest = shown.versions.entry(name.clone()).or_default();
            *highest = version.max(*highest);
            let runs =
                get(&mut connection, &format!("/v1/jobs/{name}/executions?state=all&_end=20"))?;
            for run in runs.as_array().into_iter().flatten() {
                let id = run["id"].as_str().expect("an id").to_owned();
                shown.runs.entry(name.clone()).or_default().insert(id, run.clone());
            }
            Ok(())
        };
        while look().is_ok() {}
        shown
    }
}

/// Whether an execution has ended.
pub(crate) fn is_over(run: &Value) -> bool {
    run["state"].as_str().is_some_and(|state| FINAL.contains(&state))
}

fn get(connection: &mut Connection, path: &str) -> io::Result<Value> {
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    connection.reply("GET").map(|reply: Reply| reply.json())
}
