//! Backup and restore with the real program: what is backed up comes back as it was, and a restore
//! that is killed at any moment is there as a whole or not at all.
//!
//! Moments are drawn from a seed, which a failure prints; `SURVIVAL_SEED` draws them again.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]
#![allow(clippy::print_stdout, reason = "how much was tried is for the person")]

mod common;
#[path = "backup/streamed.rs"]
mod streamed;

use common::{Agent, Client, DEADLINE, Seed, pass, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Restores that are killed.
const ROUNDS: u32 = 24;
/// Jobs of each.
const JOBS: usize = 1_500;

/// All jobs, without what is another's on another agent: which record wrote them, and the next due
/// time, which goes by.
fn jobs(client: &Client) -> Vec<Value> {
    let Value::Array(mut jobs) = client.get("/v1/jobs").expect(200).json() else {
        panic!("a list");
    };
    for job in &mut jobs {
        let job = job.as_object_mut().expect("a job");
        job.remove("version");
        job.remove("next");
    }
    jobs
}

/// The lines of a backup but the first, without the marks, which a restore moves.
fn lines(client: &Client) -> Vec<Value> {
    let text = client.get("/v1/backup").expect(200).text();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("a line is JSON");
        line.as_object_mut().expect("an object").remove("decided_until");
        line
    };
    text.lines().skip(1).map(line).collect()
}

#[test]
fn another_agent_takes_up_what_was_backed_up() {
    let from = Agent::start();
    let unix = from.unix();
    for number in 0..300 {
        let schedule = ["@every 1h", "@manually", "0 30 4 * * *"][number % 3];
        let job = json!({
            "name": format!("job{number}"),
            "schedule": schedule,
            "command": format!("echo \"{number}\""),
            "disabled": number % 5 == 0,
            "env": {"SECRET": "a\nb,c"},
            "metadata": {"one": "x".repeat(number * 13), "two": "y".repeat(number * 13)},
            "keep": number,
        });
        unix.post("/v1/jobs", job).expect(201);
    }
    for number in 0..10 {
        unix.post(&format!("/v1/jobs/job{number}"), "").expect(200);
    }
    wait_until(DEADLINE, "every run has ended", || {
        (unix.get("/v1/busy").expect(200).json() == json!([])).then_some(())
    });
    let backup = unix.get("/v1/backup").expect(200);
    assert_eq!(backup.header("content-type"), Some("application/x-ndjson"));
    let text = backup.text();
    assert!(text.len() > 1024 * 1024, "more than another route takes: {} bytes", text.len());

    let mut to = Agent::start();
    let other = to.tcp();
    let told = other.post("/v1/restore", &text).expect(200).json();
    let told = told.as_array().expect("a list");
    assert!(told.iter().all(|job| job["result"] == "created"), "{told:?}");
    assert_eq!(told.len(), 300);
    assert_eq!(jobs(&other), jobs(&unix));
    assert!(jobs(&other).iter().any(|job| job["success_count"] == 1), "counts are restored");
    assert_eq!(lines(&other), lines(&unix));
    to.kill9();
    to.restart();
    assert_eq!(lines(&to.unix()), lines(&unix));

    // What it was given it can be given again, and what is wrong with it changes nothing.
    let again = to.unix().post("/v1/restore?replace", &text).expect(200).json();
    assert!(again.as_array().expect("a list").iter().all(|job| job["result"] == "replaced"));
    let cut = &text[..text.len() / 2];
    let cut = &cut[..cut.rfind('\n').expect("a line")];
    let refused = to.unix().post("/v1/restore?replace", cut).expect(400);
    assert!(refused.text().contains("incomplete"), "{}", refused.text());
    let twice = text.replacen("\"job7\"", "\"job8\"", 2);
    let refused = to.unix().post("/v1/restore?replace", twice).expect(400);
    assert!(refused.text().contains("line 10: name: \\\"job8\\\" is there twice"));
    assert_eq!(jobs(&to.unix()).len(), 300);
}

#[test]
fn a_backup_whose_reader_leaves_makes_room_for_another() {
    let agent = Agent::start();
    let unix = agent.unix();
    for number in 0..400 {
        let note = "x".repeat(4_000);
        let job = json!({"name": format!("job{number}"), "schedule": "@manually",
                         "command": "true", "note": note});
        unix.post("/v1/jobs", job).expect(201);
    }
    // More than a socket holds, so that none of them comes to its end.
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut reader = unix.connect().expect("the agent listens");
        reader.send(b"GET /v1/backup HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is sent");
        readers.push(reader);
    }
    let ask = || unix.get("/v1/backup");
    wait_until(DEADLINE, "four are being read", || (ask().status == 503).then_some(()));
    assert!(ask().text().contains("overloaded"));
    readers.pop();
    let backup = wait_until(DEADLINE, "there is room", || Some(ask()).filter(|r| r.status == 200));
    assert_eq!(backup.text().lines().count(), 402);
}

#[test]
fn a_restore_that_is_killed_is_there_as_a_whole_or_not_at_all() {
    let mut seed = Seed::new("killed restores");
    let mut agent = Agent::builder().flag("--snapshot-after", "64KiB").start();
    let (mut whole, mut none, mut answered) = (0, 0, 0);
    let mut last = BTreeSet::new();
    let began = Instant::now();
    for round in 0..ROUNDS {
        let names: Vec<String> = (0..JOBS).map(|number| format!("r{round}-{number}")).collect();
        let job = |name: &String| json!({"name": name, "schedule": "@manually", "command": "true"});
        let body = Value::from(names.iter().map(job).collect::<Vec<_>>()).to_string();
        let unix = agent.unix();
        let longest = if round < 4 { 2_000_000 } else { 500_000 };
        let moment = Duration::from_micros(seed.rng.below(longest));
        let ok = std::thread::scope(|scope| {
            let asked = scope
                .spawn(move || unix.try_request("POST", "/v1/restore?replace", &[], Some(&body)));
            pass(moment);
            agent.kill9();
            let reply = asked.join().expect("no panic");
            reply.is_ok_and(|reply| reply.status == 200)
        });
        agent.restart();
        let found = agent.unix().get("/v1/jobs?_end=10000").expect(200).json();
        let found = found.as_array().expect("a list").iter();
        let found: BTreeSet<String> =
            found.map(|job| job["name"].as_str().expect("a name").to_owned()).collect();
        let wanted: BTreeSet<String> = names.into_iter().collect();
        if found == wanted {
            whole += 1;
        } else {
            assert!(!ok, "round {round}: it was answered and is not there");
            assert!(found == last, "round {round}: {} jobs are there", found.len());
            none += 1;
        }
        answered += u32::from(ok);
        last = found;
    }
    println!("{whole} whole ({answered} answered), {none} none, in {:?}", began.elapsed());
    assert!(whole > 0 && none > 0, "{whole} whole, {none} none: the moments are of one kind");
    let counts = agent.unix().post("/v1/restore?replace", "[]").expect(200).json();
    assert_eq!(counts.as_array().map(Vec::len), Some(last.len()));
    seed.passed();
}
