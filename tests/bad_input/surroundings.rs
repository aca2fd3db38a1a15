//! What an agent inherits and what others do to it: descriptors that are closed or full, signals.

use crate::common::{Agent, DEADLINE, wait_until};
use crate::programs::finished_run;
use crate::{Calm, names};
use serde_json::json;

#[test]
fn closed_or_full_standard_descriptors_cost_lines_and_nothing_else() {
    let rows = [
        ("stdin closed", r#"exec "$@" <&-"#),
        ("stderr closed", r#"exec "$@" 2>&-"#),
        ("all closed", r#"exec "$@" <&- >&- 2>&-"#),
        ("stderr read-only", r#"exec "$@" 2</dev/null"#),
        ("stderr a full device", r#"exec "$@" 2>/dev/full"#),
        (
            "stderr a full pipe",
            // A pipe that this shell, and so the agent, could read, but never does.
            r#"mkfifo p && exec 3<>p && rm p && head -c 65536 /dev/zero >&3 && exec "$@" 2>&3"#,
        ),
    ];
    std::thread::scope(|scope| {
        for (what, script) in rows {
            scope.spawn(move || check_fires(what, script));
        }
    });
}

/// An agent that is started by `script` answers, fires, and stops in good order.
#[track_caller]
fn check_fires(what: &str, script: &str) {
    let mut agent = Agent::builder().through(script).launch();
    agent.wait_until_ready_on_socket();
    let unix = agent.unix();
    let job = json!({"name": "tick", "schedule": "@every 1s", "command": "echo out"});
    unix.post("/v1/jobs", job).expect(201);
    // Things to say, far more than a pipe holds.
    for _ in 0..200 {
        unix.get("/v1/jobs/nobody").expect(404);
        agent.signal(libc::SIGUSR1);
    }
    wait_until(DEADLINE, what, || {
        let job = unix.get("/v1/jobs/tick").expect(200).json();
        assert_eq!(job["error_count"], json!(0), "{what}");
        (job["success_count"].as_u64()? >= 2).then_some(())
    });
    let runs = unix.get("/v1/jobs/tick/executions").expect(200).json();
    let runs = runs.as_array().expect("an array").iter();
    let mut ended = runs.filter(|run| run["state"] == json!("succeeded"));
    assert!(ended.all(|run| run["output"] == json!("out\n")), "{what}");
    unix.get("/ready").expect(200);
    assert!(agent.stop().success(), "{what}");
}

#[test]
fn a_reader_of_the_log_that_goes_away_ends_nothing() {
    // The reader takes one line and ends; what is written then would raise SIGPIPE.
    let script = r#"mkfifo p && { head -n 1 <p >/dev/null & } && exec "$@" 2>p"#;
    let mut agent = Agent::builder().through(script).launch();
    agent.wait_until_ready_on_socket();
    let mut calm = Calm::over(agent);
    for _ in 0..50 {
        calm.agent.signal(libc::SIGUSR1);
        calm.check("a reader that went away");
    }
    assert!(calm.agent.stop().success());
}

#[test]
fn harmless_signals_are_harmless() {
    let mut calm = Calm::start();
    for _ in 0..20 {
        for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGPIPE, libc::SIGCHLD] {
            calm.agent.signal(signal);
        }
    }
    calm.agent.wait_for_log(r#"msg="state""#);
    calm.check("signals");
    // Nor have they reached what a job inherits.
    let job = json!({"name": "pipe", "schedule": "@manually", "shell": true,
                     "command": "kill -PIPE $$; echo survived"});
    calm.agent.post("/v1/jobs?runoncreate", job).expect(201);
    let run = finished_run(&calm.agent, "pipe");
    assert_eq!((&run["success"], &run["signal"]), (&json!(false), &json!(libc::SIGPIPE)), "{run}");
}

#[test]
fn a_second_sigterm_ends_at_once_and_loses_nothing() {
    let mut agent = Agent::start();
    // A request that is under way, which a graceful stop waits for.
    let mut half = agent.tcp().connect().expect("it listens");
    half.send(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n").expect("it is sent");
    let kept = json!({"name": "kept", "schedule": "@manually", "command": "true"});
    agent.post("/v1/jobs", kept).expect(201);
    agent.signal(libc::SIGTERM);
    agent.wait_for_log("stopping");
    if agent.is_running() {
        agent.signal(libc::SIGTERM);
    }
    assert_eq!(agent.wait().code(), Some(0));
    agent.restart();
    assert_eq!(names(&agent.tcp()), ["kept"]);
    let ready = agent.get("/ready").expect(200).json();
    assert_eq!(ready["warnings"], json!([]));
}

#[test]
fn a_change_that_comes_while_it_stops_is_refused_or_kept_but_never_lost() {
    for _ in 0..3 {
        let mut agent = Agent::start();
        let unix = agent.unix();
        let pid = agent.pid();
        let mut acknowledged = Vec::new();
        for number in 0..200 {
            if number == 100 {
                assert!(agent.pid() == pid && agent.is_running());
                agent.signal(libc::SIGTERM);
            }
            let name = format!("job-{number:03}");
            let job = json!({"name": name, "schedule": "@manually", "command": "true"});
            let reply = unix.try_request("POST", "/v1/jobs", &[], Some(&job.to_string()));
            match reply.map(|reply| reply.status) {
                Ok(201) => acknowledged.push(name),
                Ok(503) | Err(_) => {}
                Ok(other) => panic!("{other} while it stops"),
            }
        }
        assert_eq!(agent.wait().code(), Some(0));
        assert!(acknowledged.len() >= 100);
        agent.restart();
        let kept = names(&agent.tcp());
        let lost: Vec<&String> = acknowledged.iter().filter(|name| !kept.contains(name)).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}
