//! What runs printed is there as long as they are, though the journal that told of it is not.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use common::{Agent, DEADLINE, wait_until};
use serde_json::{Value, json};
use std::fs;

/// Runs, and how much of what each prints is kept: together they fill more than one segment.
const RUNS: u64 = 620;
const TAIL_BYTES: usize = 16 * 1024;

#[test]
fn the_last_output_of_runs_outlives_the_segments_that_held_it() {
    let mut agent = Agent::builder().flag("--snapshot-after", "1MiB").start();
    // Each run prints its own name at the end of more than is kept.
    let command =
        format!("head -c {TAIL_BYTES} /dev/zero | tr '\\0' x; echo $BELLWETHER_EXECUTION_ID");
    let job = json!({
        "name": "loud", "schedule": "@manually", "shell": true, "command": command, "keep": 10_000,
    });
    agent.post("/v1/jobs", job).expect(201);
    for _ in 0..RUNS {
        agent.unix().post("/v1/jobs/loud/run", "").expect(200);
    }
    let client = agent.unix();
    wait_until(DEADLINE, "all have run", || {
        (client.get("/v1/jobs/loud").json()["success_count"] == json!(RUNS)).then_some(())
    });
    wait_until(DEADLINE, "a segment was removed and its output kept", || {
        let files = fs::read_dir(agent.data_dir().join("journal")).expect("a journal");
        let names: Vec<String> =
            files.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        let removed = !names.iter().any(|name| name == "0000000000000001");
        (removed && names.iter().any(|name| name.starts_with("tails-"))).then_some(())
    });
    check(&agent);
    agent.kill9();
    agent.restart();
    check(&agent);
    agent.restart();
    check(&agent);
}

#[track_caller]
fn check(agent: &Agent) {
    let list = agent.unix().get("/v1/jobs/loud/executions").json();
    let items = list.as_array().expect("an array");
    assert_eq!(items.len() as u64, RUNS);
    for item in items {
        let id = item["id"].as_str().expect("an id");
        let output = item["output"].as_str().expect("a text");
        assert_eq!(output.len(), TAIL_BYTES, "{id}: {}", item["reason"]);
        assert!(output.ends_with(&format!("x{id}\n")), "{id} has another's output");
    }
    let oldest = items.last().and_then(|item| item["id"].as_str()).expect("an id");
    let one: Value = agent.unix().get(&format!("/v1/jobs/loud/executions/{oldest}")).json();
    assert_eq!(Some(&one), items.last());
}
