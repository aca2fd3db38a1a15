//! What lies on the disk, what goes to the log, and what a job inherits.

use crate::common::{Agent, DEADLINE, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn all_files_are_closed_to_others_whatever_the_umask() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("deep").join("data");
    let through = r#"umask 0; exec "$@""#;
    let agent = Agent::builder().through(through).data_dir(&dir).flag("--snapshot-after", "4096");
    let mut agent = agent.start();
    run(
        &agent,
        json!({"name": "out", "schedule": "@manually", "command": "echo secret; umask",
                       "shell": true}),
    );
    check_modes(&home.path().join("deep"));
    agent.kill9();
    agent.restart();
    check_modes(&home.path().join("deep"));
    // What a crash has cut off is kept aside.
    agent.stop();
    let runs = dir.join("runs");
    let bytes = fs::read(&runs).expect("the file");
    fs::write(&runs, &bytes[..bytes.len() - 1]).expect("it is ours");
    agent.restart();
    assert!(dir.join("torn-runs").exists());
    check_modes(&home.path().join("deep"));
}

#[track_caller]
fn check_modes(path: &Path) {
    let found = fs::symlink_metadata(path).expect("it is there");
    let wanted = if found.is_dir() { 0o700 } else { 0o600 };
    let mode = found.permissions().mode() & 0o7777;
    assert_eq!(mode, wanted, "{} has mode {mode:o}", path.display());
    if found.is_dir() {
        for entry in fs::read_dir(path).expect("ours") {
            check_modes(&entry.expect("an entry").path());
        }
    }
}

#[test]
fn nothing_that_came_from_outside_steers_the_reader_of_a_log() {
    let home = tempfile::tempdir().expect("a directory");
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\nlevel=error msg=\"forged\"";
    let dir = home.path().join(format!("data{evil}"));
    let mut agent = Agent::builder().data_dir(&dir).start();
    let unix = agent.tcp();
    for body in [
        json!({"name": evil, "schedule": "@manually", "command": "true"}),
        json!({"name": "x", "schedule": evil, "command": "true"}),
        json!({"name": "x", "schedule": "@daily", "timezone": evil, "command": "true"}),
        json!({"name": "x", "schedule": "@daily", "command": "true", evil: evil}),
    ] {
        let reply = unix.post("/v1/jobs", &body);
        assert!(matches!(reply.status, 201 | 400), "{body}");
        assert!(!reply.text().contains(|c: char| c.is_control()), "{:?}", reply.text());
        for (name, value) in &reply.headers {
            assert!(!value.contains(|c: char| c.is_control()), "{name}: {value:?}");
        }
    }
    let command = format!("'/no{evil}/program' '{evil}'");
    let body = json!({"name": "bad", "schedule": "@manually", "command": command, "note": evil,
                      "env": {"A": evil}, "cwd": format!("/{evil}")});
    run(&agent, body);
    let body = json!({"name": "loud", "schedule": "@manually", "shell": true,
                      "command": format!("printf '%s' '{evil}'; printf '%s' '{evil}' >&2")});
    let ended = run(&agent, body);
    assert!(ended["output"].as_str().is_some_and(|output| output.contains("owned")), "{ended}");
    for target in ["/v1/jobs/%1b%5b2J%0alevel=error", "/%1b%5b2J", "/v1/jobs?q=%0d%0alevel%3derror"]
    {
        unix.get(target);
    }
    agent.raw(format!("{evil}\r\n\r\n").as_bytes());
    agent.signal(libc::SIGUSR1);
    agent.wait_for_log(r#"msg="state""#);
    let launcher = fs::read_to_string(dir.join("launcher.log")).expect("the launcher's log");
    agent.stop();
    for (who, text) in [("the agent", agent.log()), ("the launcher", launcher)] {
        for line in text.lines() {
            assert!(!line.contains(|c: char| c.is_control()), "{who}: {line:?}");
            assert!(line.starts_with("time="), "{who}: {line:?}");
        }
        assert!(!text.contains("msg=\"forged\""), "{who}: {text}");
    }
}

#[test]
fn a_job_inherits_no_descriptor_and_none_of_the_agents_environment() {
    let agent = Agent::builder().env("BELLWETHER_SECRET", "hunter2").start();
    let command = "ls /proc/$$/fd | tr '\\n' ' '; env";
    let body = json!({"name": "look", "schedule": "@manually", "shell": true, "command": command});
    let ended = run(&agent, body);
    let output = ended["output"].as_str().expect("text");
    assert!(output.starts_with("0 1 2 "), "{output}");
    assert!(!output.contains("hunter2"), "{output}");
    let launcher = fs::read(format!("/proc/{}/environ", agent.launcher_pid())).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&launcher).contains("hunter2"));
}

/// Stores the job, runs it once, and returns the execution when it has ended.
#[track_caller]
fn run(agent: &Agent, job: Value) -> Value {
    let name = job["name"].as_str().expect("a name").to_owned();
    agent.post("/v1/jobs?runoncreate", &job).expect(201);
    wait_until(DEADLINE, "the run has ended", || {
        let runs = agent.get(&format!("/v1/jobs/{name}/executions")).expect(200).json();
        let run = runs.as_array()?.first()?.clone();
        (run["finished_at"] != json!("0001-01-01T00:00:00Z")).then_some(run)
    })
}
