//! Jobs whose program cannot be started.

use crate::common::{Agent, DEADLINE, wait_until};
use crate::names;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_program_that_cannot_be_started_is_a_failed_run_that_says_why() {
    let agent = Agent::start();
    let file = |name: &str, mode: u32, text: &str| {
        let path = agent.home().join(name);
        fs::write(&path, text).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path.to_str().expect("a plain path").to_owned()
    };
    let locked = file("locked", 0o644, "#!/bin/sh\ntrue\n");
    let garbage = file("garbage", 0o755, "\u{1}\u{2}\u{3} no program");
    let orphan = file("orphan", 0o755, "#!/no/such/interpreter\n");
    let home = agent.home().to_str().expect("a plain path").to_owned();
    let missing = format!("{home}/missing");
    let unexecutable = "the program could not be executed: ";
    let nowhere = "the working directory could not be entered: ";
    let mut wanted = Vec::new();
    for (name, command, cwd, reason) in [
        ("missing", missing.as_str(), "", format!("{unexecutable}no such file or directory")),
        ("not-in-path", "no-such-program-anywhere -x", "", format!("{unexecutable}no such file")),
        ("locked", &locked, "", format!("{unexecutable}permission denied")),
        ("directory", &home, "", format!("{unexecutable}permission denied")),
        ("garbage", &garbage, "", format!("{unexecutable}exec format error")),
        ("orphan", &orphan, "", format!("{unexecutable}no such file or directory")),
        ("nowhere", "true", &missing, format!("{nowhere}no such file or directory")),
        ("in-a-file", "true", &locked, format!("{nowhere}not a directory")),
    ] {
        let job = json!({"name": name, "schedule": "@manually", "command": command, "cwd": cwd});
        agent.post("/v1/jobs", job).expect(201);
        agent.post(&format!("/v1/jobs/{name}/run"), "").expect(200);
        wanted.push(name.to_owned());
        let run = finished_run(&agent, name);
        assert_eq!((&run["success"], &run["state"]), (&json!(false), &json!("failed")), "{run}");
        let said = run["reason"].as_str().expect("a reason");
        assert!(said.starts_with(&reason), "{name}: {said:?} is not {reason:?}");
        let job = agent.get(&format!("/v1/jobs/{name}")).expect(200).json();
        assert_eq!((&job["error_count"], &job["success_count"]), (&json!(1), &json!(0)), "{name}");
        agent.get("/ready").expect(200);
    }
    wanted.sort();
    assert_eq!(names(&agent.tcp()), wanted);
    let good = json!({"name": "good", "schedule": "@manually", "command": "echo fine"});
    agent.post("/v1/jobs?runoncreate", good).expect(201);
    let run = finished_run(&agent, "good");
    assert_eq!((&run["success"], &run["output"]), (&json!(true), &json!("fine\n")), "{run}");
}

/// The only execution of `job`, once it has ended.
#[track_caller]
pub(crate) fn finished_run(agent: &Agent, job: &str) -> Value {
    let path = format!("/v1/jobs/{job}/executions");
    wait_until(DEADLINE, &format!("a run of {job} has ended"), || {
        let runs = agent.unix().get(&path).expect(200).json();
        let run = runs.as_array()?.first()?.clone();
        (run["finished_at"] != json!("0001-01-01T00:00:00Z")).then_some(run)
    })
}
