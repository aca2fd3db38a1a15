//! Processes of jobs, with the real program: what they get, how they end, and that they outlive
//! their agent.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use common::{Agent, DEADLINE, Pid, alive, wait_until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;

#[test]
fn two_hundred_jobs_due_in_one_second_all_run_and_each_once() {
    let agent = Agent::start();
    // Time enough to create them, one answer after another, on a machine that is busy.
    let due = jiff::Timestamp::now().as_second() + 8;
    let at = jiff::Timestamp::from_second(due).expect("a time").to_string();
    let names: Vec<String> = (0..200).map(|number| format!("job-{number}")).collect();
    for name in &names {
        let command = testify(&agent.home().join(name));
        let job = json!({"name": name, "schedule": format!("@at {at}"), "shell": true,
            "command": command});
        agent.post("/v1/jobs", job).expect(201);
    }
    let before = jiff::Timestamp::now().as_second();
    assert!(before < due, "creating the jobs took too long");
    for name in &names {
        wait_for_state(&agent, name, "succeeded");
    }
    wait_until_alone(&agent);
    for name in &names {
        let all = executions(&agent, name);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!((text(&all[0], "state"), text(&all[0], "scheduled_for")), ("succeeded", &*at));
        let witness = fs::read_to_string(agent.home().join(name)).expect("it has run");
        assert_eq!(witness, format!("{at} {}\n", text(&all[0], "id")));
    }
}

#[test]
fn a_process_inherits_nothing_and_leads_a_session_of_its_own() {
    let agent = Agent::builder().env("SECRET", "of the agent").start();
    // Descriptors that could leak, beside those that every agent has.
    let tcp: Vec<_> = (0..20).map(|_| agent.tcp().connect().expect("it listens")).collect();
    agent.get("/health").expect(200);
    assert_eq!(output(&agent, "fds", "ls /proc/self/fd"), "0\n1\n2\n3\n");
    assert_eq!(output(&agent, "stdin", "readlink /proc/self/fd/0"), "/dev/null\n");
    let status = output(&agent, "status", "cat /proc/self/status");
    for field in ["SigBlk", "SigIgn", "ShdPnd"] {
        let line = status.lines().find(|line| line.starts_with(field)).expect("proc(5) has it");
        let (_, mask) = line.split_once('\t').expect("proc(5) has a mask");
        let mask = u64::from_str_radix(mask, 16).expect("in hexadecimal");
        // Signals 32 and 33 are the C library's own, which has posix_spawn(3) ignore them for all
        // that follow; nobody can send or set them through it.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
    assert!(status.contains("Umask:\t0022\n"), "{status}");
    let stat = output(&agent, "stat", "cat /proc/self/stat");
    // Process, then after name, state and parent: group, session, terminal.
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!((fields[4], fields[5], fields[6]), (fields[0], fields[0], "0"), "{stat}");
    drop(tcp);
}

/// The agent is killed while an attempt is waited for.
#[test]
fn a_job_that_fails_is_tried_again_by_whichever_agent_is_there() {
    let mut agent = Agent::start();
    let command = "echo $BELLWETHER_ATTEMPT $BELLWETHER_TRIGGER; test $BELLWETHER_ATTEMPT = 3";
    let job = json!({"name": "again", "schedule": "@manually", "shell": true, "retries": 5,
        "retry_backoff": "1s", "concurrency": "forbid", "command": command});
    agent.post("/v1/jobs", job).expect(201);
    agent.post("/v1/jobs/again/run", json!({})).expect(200);
    let waiting = wait_until(DEADLINE, "an attempt is waited for", || {
        let open = agent.get("/v1/busy").expect(200).json();
        (open[0]["attempt"] == 2 && open[0]["state"] == "claimed").then(|| open[0].clone())
    });
    assert_eq!(text(&waiting, "trigger"), "retry");
    let refused = agent.post("/v1/jobs/again/run", json!({})).expect(409).json();
    assert_eq!(refused["code"], "overlap", "its place is taken");
    agent.kill9();
    agent.restart();
    let all = wait_until(DEADLINE, "the third attempt succeeds", || {
        let all = executions(&agent, "again");
        (text(&all[0], "state") == "succeeded").then_some(all)
    });
    let shown = |key: &str| all.iter().map(|one| text(one, key)).collect::<Vec<_>>();
    assert_eq!(shown("state"), ["succeeded", "failed", "failed"]);
    assert_eq!(shown("trigger"), ["retry", "retry", "manual"]);
    assert_eq!(shown("output"), ["3 retry\n", "2 retry\n", "1 manual\n"]);
    let ids: Vec<&str> = shown("id").into_iter().filter_map(|id| id.rsplit('-').next()).collect();
    assert_eq!(ids, ["3", "2", "1"]);
    let job = agent.get("/v1/jobs/again").expect(200).json();
    assert_eq!((&job["success_count"], &job["error_count"]), (&json!(1), &json!(0)));
    assert_eq!(job["status"], "success");
}

/// The middle one of three is written last; the agent is killed while the first runs.
#[test]
fn a_job_runs_after_another_has_succeeded_and_not_when_it_failed() {
    let mut agent = Agent::start();
    let go = agent.home().join("go");
    let wait = format!("while ! test -e '{}'; do sleep 0.05; done", go.display());
    let say = "echo $BELLWETHER_TRIGGER";
    for job in [
        json!({"name": "first", "schedule": "@manually", "shell": true, "command": wait}),
        json!({"name": "last", "schedule": "@manually", "shell": true, "command": say}),
        json!({"name": "middle", "parent_job": "first", "shell": true, "command": say}),
        json!({"name": "last", "parent_job": "middle", "shell": true, "command": say}),
        json!({"name": "bad", "schedule": "@manually", "command": "false"}),
        json!({"name": "never", "parent_job": "bad", "command": "true"}),
    ] {
        agent.post("/v1/jobs", job).expect(201);
    }
    for (job, code) in [
        (json!({"name": "x", "parent_job": "nobody", "command": "true"}), 400),
        (json!({"name": "first", "parent_job": "last", "command": "true"}), 400),
        (json!({"name": "first", "parent_job": "first", "command": "true"}), 400),
    ] {
        let why = agent.post("/v1/jobs", job).expect(code).json();
        assert!(text(&why, "error").starts_with("parent_job: "), "{why}");
    }
    let refused = agent.tcp().request("DELETE", "/v1/jobs/first", None).expect(409).json();
    assert!(text(&refused, "error").contains("\"middle\""), "{refused}");
    let first = agent.get("/v1/jobs/first").expect(200).json();
    assert_eq!((&first["dependent_jobs"], &first["parent_job"]), (&json!(["middle"]), &json!("")));
    for name in ["first", "bad"] {
        agent.post(&format!("/v1/jobs/{name}/run"), json!({})).expect(200);
    }
    wait_until(DEADLINE, "the first runs", || {
        let open = agent.get("/v1/busy").expect(200).json();
        (open[0]["state"] == "running").then_some(())
    });
    agent.kill9();
    fs::write(&go, "").expect("a file in the home");
    agent.restart();
    for name in ["first", "middle", "last"] {
        let run = wait_for_state(&agent, name, "succeeded");
        let trigger = if name == "first" { "manual" } else { "parent" };
        assert_eq!(text(&run, "trigger"), trigger, "{name}");
    }
    assert_eq!(text(&executions(&agent, "last")[0], "output"), "parent\n");
    wait_for_state(&agent, "bad", "failed");
    wait_until_alone(&agent);
    for (name, count) in [("middle", 1), ("last", 1), ("never", 0)] {
        assert_eq!(executions(&agent, name).len(), count, "{name}");
        assert_eq!(
            agent.get(&format!("/v1/jobs/{name}/next?count=3")).expect(200).json(),
            json!([])
        );
    }
}

#[test]
fn the_environment_is_made_from_nothing() {
    let agent = Agent::builder().env("SECRET", "of the agent").start();
    let job = json!({"name": "env", "schedule": "@manually", "command": "env",
        "env": {"OWN": "a b", "LANG": "xx", "BELLWETHER_JOB_NAME": "other"}});
    agent.post("/v1/jobs", job).expect(201);
    let run = run_to_end(&agent, "env");
    let found: BTreeMap<&str, &str> =
        text(&run, "output").lines().filter_map(|line| line.split_once('=')).collect();
    let names: Vec<&str> = found.keys().copied().collect();
    let wanted = [
        "BELLWETHER_ATTEMPT",
        "BELLWETHER_EXECUTION_ID",
        "BELLWETHER_JOB_NAME",
        "BELLWETHER_NODE_NAME",
        "BELLWETHER_SCHEDULED_FOR",
        "BELLWETHER_TRIGGER",
        "ENV_JOB_NAME",
        "HOME",
        "LANG",
        "LOGNAME",
        "OWN",
        "PATH",
        "SHELL",
        "USER",
    ];
    assert_eq!(names, wanted);
    for (name, value) in [
        ("BELLWETHER_ATTEMPT", "1"),
        ("BELLWETHER_EXECUTION_ID", text(&run, "id")),
        ("BELLWETHER_JOB_NAME", "env"),
        ("BELLWETHER_NODE_NAME", text(&run, "node_name")),
        ("BELLWETHER_SCHEDULED_FOR", text(&run, "scheduled_for")),
        ("BELLWETHER_TRIGGER", "manual"),
        ("ENV_JOB_NAME", "env"),
        ("LANG", "xx"),
        ("OWN", "a b"),
        ("SHELL", "/bin/sh"),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
}

#[test]
fn a_run_that_takes_too_long_is_asked_to_end_and_then_killed_with_its_group() {
    let agent = Agent::start();
    let home = agent.home().display().to_string();
    let script = format!(
        "cd {home}; trap 'echo asked >> asked' TERM
         sh -c \"trap '' TERM; echo \\$\\$ > child; while :; do sleep 0.1; done\" &
         echo $$ > leader; while :; do sleep 0.1; done"
    );
    let job = json!({"name": "slow", "schedule": "@manually", "shell": true, "command": script,
        "timeout": "1s", "kill_grace": "1s"});
    agent.post("/v1/jobs", job).expect(201);
    let run = run_to_end(&agent, "slow");
    assert_eq!((text(&run, "state"), &run["signal"]), ("timed_out", &json!(9)), "{run}");
    let took = run["duration_ms"].as_u64().expect("it has ended");
    assert!(took >= 2_000, "the grace was cut short: {run}");
    for name in ["leader", "child"] {
        let pid = pid_in(&agent.home().join(name));
        wait_until(DEADLINE, "it is gone", || (!alive(pid)).then_some(()));
    }
    assert_eq!(fs::read_to_string(agent.home().join("asked")).expect("it was asked"), "asked\n");
    wait_until_alone(&agent);
}

#[test]
fn what_a_job_leaves_behind_is_reaped_and_does_not_keep_its_run_open() {
    let agent = Agent::start();
    let home = agent.home().display().to_string();
    let script = format!(
        "cd {home}; setsid sh -c 'echo $$ > daemon; until [ -e go ]; do sleep 0.05; done' \
         >/dev/null 2>&1 & until [ -s daemon ]; do sleep 0.05; done"
    );
    let job = json!({"name": "daemon", "schedule": "@manually", "shell": true, "command": script});
    agent.post("/v1/jobs", job).expect(201);
    let run = run_to_end(&agent, "daemon");
    assert_eq!(text(&run, "state"), "succeeded", "{run}");
    let daemon = pid_in(&agent.home().join("daemon"));
    assert!(alive(daemon) && agent.others().contains(&daemon));
    fs::write(agent.home().join("go"), "").expect("written");
    wait_until_alone(&agent);
}

#[test]
fn a_run_outlives_an_agent_that_is_stopped_and_its_end_is_told_by_the_next() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let mut agent = Agent::start();
        let (id, pid) = start_long(&agent);
        match signal {
            libc::SIGTERM => assert!(agent.stop().success()),
            _ => agent.kill9(),
        }
        assert!(alive(pid));
        agent.relaunch();
        agent.wait_until_ready_again();
        wait_for_state(&agent, "long", "running");
        end_long(&agent);
        wait_for_state(&agent, "long", "succeeded");
        check_long(&agent, &id, "before\nafter\n");
    }
}

#[test]
fn an_end_that_came_while_no_agent_was_there_is_told_by_the_next() {
    let mut agent = Agent::start();
    let (id, pid) = start_long(&agent);
    agent.kill9();
    end_long(&agent);
    wait_until(DEADLINE, "the process has ended", || (!alive(pid)).then_some(()));
    agent.relaunch();
    agent.wait_until_ready_again();
    wait_for_state(&agent, "long", "succeeded");
    check_long(&agent, &id, "before\nafter\n");
}

#[test]
fn a_run_whose_launcher_died_is_running_while_its_process_lives_and_then_lost() {
    for kills_agent in [false, true] {
        let mut agent = Agent::start();
        let (id, pid) = start_long(&agent);
        if kills_agent {
            agent.kill9();
            agent.kill9_launcher();
            agent.relaunch();
        } else {
            agent.kill9_launcher();
        }
        agent.wait_until_ready_again();
        wait_for_state(&agent, "long", "running");
        // A second successor has only the runs log to go by.
        agent.kill9();
        agent.relaunch();
        agent.wait_until_ready_again();
        wait_for_state(&agent, "long", "running");
        assert!(alive(pid));
        end_long(&agent);
        wait_for_state(&agent, "long", "lost");
        assert!(!alive(pid));
        check_long(&agent, &id, "");
        let job = agent.get("/v1/jobs/long").expect(200).json();
        assert_eq!((&job["error_count"], &job["success_count"]), (&json!(1), &json!(0)), "{job}");
    }
}

#[test]
fn runs_by_hand_are_each_a_run_however_many_ask_at_once() {
    let agent = Agent::start();
    let witness = agent.home().join("witness");
    let job = json!({"name": "hand", "schedule": "@manually", "shell": true,
        "command": testify(&witness)});
    agent.post("/v1/jobs", job).expect(201);
    let groups: Vec<u64> = thread::scope(|scope| {
        let ask = || {
            let client = agent.tcp();
            let run = move |_| {
                let reply = client.post("/v1/jobs/hand/run", "").expect(200);
                let group = reply.header("x-execution-group").expect("a group").to_owned();
                group.parse::<u64>().expect("a number")
            };
            (0..10).map(run).collect::<Vec<u64>>()
        };
        let all: Vec<_> = (0..5).map(|_| scope.spawn(ask)).collect();
        all.into_iter().flat_map(|thread| thread.join().expect("it asks")).collect()
    });
    wait_until_alone(&agent);
    let all = executions(&agent, "hand");
    assert!(all.iter().all(|run| text(run, "state") == "succeeded"), "{all:?}");
    let wanted: BTreeSet<u64> = groups.iter().copied().collect();
    assert_eq!((groups.len(), wanted.len(), all.len()), (50, 50, 50));
    assert!(all.iter().all(|run| wanted.contains(&run["group"].as_u64().expect("a group"))));
    let lines = fs::read_to_string(witness).expect("it has run");
    let ids: BTreeSet<&str> =
        lines.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    assert_eq!((lines.lines().count(), ids.len()), (50, 50));
    assert!(all.iter().all(|run| ids.contains(text(run, "id"))));
}

/// Starts a run that waits for [`end_long`]; its id and process.
fn start_long(agent: &Agent) -> (String, Pid) {
    let home = agent.home().display().to_string();
    let script = format!(
        "cd {home}; echo before; echo $$ >> pids; until [ -e go ]; do sleep 0.05; done; echo after"
    );
    let job = json!({"name": "long", "schedule": "@manually", "shell": true, "command": script});
    agent.post("/v1/jobs", job).expect(201);
    agent.post("/v1/jobs/long/run", "").expect(200);
    let run = wait_for_state(agent, "long", "running");
    // Which process it is goes to the disk without anybody waiting for that; what is answered
    // later is on the disk later.
    let job = json!({"name": "later", "schedule": "@manually", "command": "true"});
    agent.post("/v1/jobs", job).expect(201);
    (text(&run, "id").to_owned(), pid_in(&agent.home().join("pids")))
}

fn end_long(agent: &Agent) {
    fs::write(agent.home().join("go"), "").expect("written");
}

/// There was one run, and one process.
#[track_caller]
fn check_long(agent: &Agent, id: &str, output: &str) {
    let all = executions(agent, "long");
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((text(&all[0], "id"), text(&all[0], "output")), (id, output));
    let pids = fs::read_to_string(agent.home().join("pids")).expect("it has run");
    assert_eq!(pids.lines().count(), 1, "it ran again: {pids}");
    wait_until_alone(agent);
}

/// What a command prints that is run by hand.
#[track_caller]
fn output(agent: &Agent, name: &str, command: &str) -> String {
    let job = json!({"name": name, "schedule": "@manually", "command": command});
    agent.post("/v1/jobs", job).expect(201);
    let run = run_to_end(agent, name);
    assert_eq!(text(&run, "state"), "succeeded", "{run}");
    text(&run, "output").to_owned()
}

/// Runs a job by hand; its only execution, when that has ended.
#[track_caller]
fn run_to_end(agent: &Agent, job: &str) -> Value {
    agent.post(&format!("/v1/jobs/{job}/run"), "").expect(200);
    wait_until(DEADLINE, "the run has ended", || {
        let run = executions(agent, job).pop()?;
        let open = ["claimed", "queued", "starting", "running", "terminating"];
        (!open.contains(&text(&run, "state"))).then_some(run)
    })
}

/// The job's only execution, once it is in that state.
#[track_caller]
fn wait_for_state(agent: &Agent, job: &str, state: &str) -> Value {
    wait_until(DEADLINE, &format!("the run of {job} is {state}"), || {
        let run = executions(agent, job).pop()?;
        (text(&run, "state") == state).then_some(run)
    })
}

#[track_caller]
fn executions(agent: &Agent, job: &str) -> Vec<Value> {
    let path = format!("/v1/jobs/{job}/executions?state=all");
    let Value::Array(all) = agent.get(&path).expect(200).json() else { panic!("no list") };
    all
}

/// Waits until agent and launcher are all that is left, and no run is open.
#[track_caller]
fn wait_until_alone(agent: &Agent) {
    wait_until(DEADLINE, "no run is open", || {
        let open = agent.get("/v1/busy").expect(200).json();
        (open == json!([])).then_some(())
    });
    wait_until(DEADLINE, "no process is left", || agent.others().is_empty().then_some(()));
}

/// A line in the witness, by one write(2) at its end.
fn testify(witness: &Path) -> String {
    let line = r#"printf '%s %s\n' "$BELLWETHER_SCHEDULED_FOR" "$BELLWETHER_EXECUTION_ID""#;
    format!("{line} >> '{}'", witness.display())
}

#[track_caller]
fn text<'a>(item: &'a Value, key: &str) -> &'a str {
    item[key].as_str().unwrap_or_else(|| panic!("no {key} in {item}"))
}

fn pid_in(file: &Path) -> Pid {
    wait_until(DEADLINE, "a process number is written", || {
        fs::read_to_string(file).ok()?.strip_suffix('\n')?.parse().ok()
    })
}
