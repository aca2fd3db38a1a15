//! A disk that is full, read-only or broken, under the real program: it says so, refuses what it
//! cannot keep, goes on by itself when there is room, and has lost no due second and no answer.
//!
//! Each test has a small file system of its own, mounted where nobody else sees it.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

#[path = "disk_full/books.rs"]
mod books;
mod common;
#[path = "disk_full/failing.rs"]
mod failing;
#[path = "disk_full/small_disk.rs"]
mod small_disk;

use books::Ticking;
use common::{Agent, DEADLINE, Reply, wait_until};
use serde_json::json;
use small_disk::SmallDisk;
use std::time::Instant;

/// Bytes of the small disks, and of the ballast on them.
const DISK_KIB: u64 = 24 * 1024;
const BALLAST: &str = "2MiB";

const NEARLY_FULL: &str = r#"msg="the disk is nearly full""#;
const FULL: &str = r#"msg="the disk is full""#;
const ROOM_AGAIN: &str = r#"msg="the disk has room again""#;

const KEPT: &str = r#"{"name":"kept","schedule":"@manually","command":"true"}"#;
const OTHER: &str = r#"{"name":"other","schedule":"@manually","command":"true"}"#;

#[track_caller]
fn refused_for_room(reply: Reply) {
    let reply = reply.expect(503);
    assert_eq!(reply.json()["code"], json!("disk_full"), "{}", reply.text());
    assert!(reply.header("retry-after").is_some(), "{:?}", reply.headers);
}

/// The agent refuses changes and says why, and answers all else.
#[track_caller]
fn check_full(agent: &Agent) {
    refused_for_room(agent.post("/v1/jobs", OTHER));
    refused_for_room(agent.post("/v1/jobs/tick/run", ""));
    refused_for_room(agent.delete("/v1/jobs/tick", ""));
    let ready = agent.get("/ready").expect(503).json();
    let reasons = ready["reasons"].as_array().expect("reasons");
    assert!(reasons.contains(&json!("disk_full")), "{ready}");
    agent.get("/health").expect(200);
    agent.get("/v1/jobs").expect(200);
    agent.get("/v1/jobs/tick").expect(200);
    agent.get("/v1/jobs/tick/executions").expect(200);
    agent.get("/v1/jobs/other").expect(404);
}

/// There is room: the agent has noticed, takes changes, and has a ballast again.
#[track_caller]
fn check_recovered(agent: &mut Agent, disk: &SmallDisk) {
    agent.wait_until_ready();
    agent.post("/v1/jobs", OTHER).expect(201);
    wait_until(DEADLINE, "there is a ballast", || disk.has_ballast(BALLAST).then_some(()));
}

#[test]
fn a_disk_that_fills_up_costs_changes_then_fires_and_in_the_end_nothing() {
    let Some(disk) = SmallDisk::new(DISK_KIB) else { return };
    let mut agent = disk.agent().flag("--ballast", BALLAST).start();
    let tick = Ticking::create(&agent);
    tick.wait_for_fires(&agent, 2);
    assert!(disk.has_ballast(BALLAST));

    // The ballast is given up, and its room is for fires and ends alone.
    disk.fill();
    agent.wait_for_log(NEARLY_FULL);
    wait_until(DEADLINE, "the ballast is gone", || (!disk.has_ballast(BALLAST)).then_some(()));
    check_full(&agent);
    tick.wait_for_fires(&agent, 2);

    // Somebody takes that, too.
    while !agent.log().contains(FULL) {
        disk.fill();
    }
    check_full(&agent);
    let stands = tick.claimed(&agent);
    wait_until(DEADLINE, "two seconds have passed", || {
        check_full(&agent);
        tick.is_silent_for(&agent, 2).then_some(())
    });
    assert!(tick.claimed(&agent) <= stands + 1, "no fire is decided that can't be recorded");

    disk.free();
    agent.wait_for_log(ROOM_AGAIN);
    check_recovered(&mut agent, &disk);
    tick.wait_for_fires(&agent, 2);
    tick.check_books(&agent);
    let log = agent.log();
    for state in [NEARLY_FULL, FULL, ROOM_AGAIN] {
        assert!(log.matches(state).count() <= 3, "a flood: {log}");
    }
}

#[test]
fn an_agent_killed_on_a_full_disk_starts_again_and_has_lost_nothing() {
    let Some(disk) = SmallDisk::new(DISK_KIB) else { return };
    let mut agent = disk.agent().flag("--ballast", BALLAST).start();
    let tick = Ticking::create(&agent);
    agent.post("/v1/jobs", KEPT).expect(201);
    for round in 0..3 {
        tick.wait_for_fires(&agent, 1);
        disk.fill();
        agent.wait_for_log(NEARLY_FULL);
        if round > 0 {
            while !agent.is_running() || !agent.log().contains(FULL) {
                disk.fill();
            }
        }
        agent.kill9();
        // On a disk as full as this one there may be no start at all.
        agent.relaunch();
        let listens = wait_until(DEADLINE, "it starts or ends", || {
            match (agent.is_listening(), agent.is_running()) {
                (true, _) => Some(true),
                (false, false) => Some(false),
                (false, true) => None,
            }
        });
        if !listens {
            assert_eq!(agent.wait().code(), Some(1));
            agent.wait_for_log("no space is left on its disk");
        }
        disk.free();
        if !listens {
            agent.relaunch();
        }
        agent.wait_until_ready_again();
        agent.get("/v1/jobs/kept").expect(200);
    }
    check_recovered(&mut agent, &disk);
    tick.check_books(&agent);
}

#[test]
fn a_job_that_fills_the_disk_stops_all_of_them_only_for_as_long_as_it_does() {
    let Some(disk) = SmallDisk::new(DISK_KIB) else { return };
    let mut agent = disk.agent().flag("--ballast", BALLAST).start();
    let tick = Ticking::create(&agent);
    let hog = agent.data_dir().join("hog");
    let go_on = agent.home().join("go-on");
    let (hog, go_on) = (hog.display(), go_on.display());
    // It takes what becomes free until it is told to stop, and then gives all of it back.
    let command = format!(
        "until test -e {go_on}; do cat /dev/zero >>{hog}; sleep 0.05; done 2>/dev/null; rm {hog}"
    );
    let job = json!({"name": "hog", "schedule": "@manually", "shell": true, "command": command});
    agent.post("/v1/jobs?runoncreate", job).expect(201);
    agent.wait_for_log(FULL);
    check_full(&agent);
    std::fs::write(agent.home().join("go-on"), "").expect("it can be written");
    agent.wait_for_log(ROOM_AGAIN);
    check_recovered(&mut agent, &disk);
    wait_until(DEADLINE, "the job has ended well", || {
        let hog = agent.get("/v1/jobs/hog").expect(200).json();
        (hog["success_count"] == json!(1)).then_some(())
    });
    tick.wait_for_fires(&agent, 2);
    tick.check_books(&agent);
}

#[test]
fn a_change_that_the_disk_does_not_take_has_no_known_outcome_and_is_made_when_there_is_room() {
    let Some(disk) = SmallDisk::new(DISK_KIB) else { return };
    let mut agent = disk.agent().flag("--ballast", "0").start();
    assert!(!disk.has_ballast("0"));
    disk.fill();
    // Nothing has been written since, so nobody knows yet. It is longer than the rest of a page,
    // which is room that is taken already.
    let job = json!({"name": "kept", "schedule": "@manually", "command": "true",
                     "note": "n".repeat(4_096)});
    let job = job.to_string();
    let key = [("Idempotency-Key", "one")];
    let tcp = agent.tcp();
    let ask = || tcp.try_request("POST", "/v1/jobs", &key, Some(&job)).expect("an answer");
    let asked = Instant::now();
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(ask);
        agent.wait_for_log(FULL);
        refused_for_room(agent.post("/v1/jobs", OTHER));
        first.join().expect("it is answered")
    });
    let code = |reply: &Reply| reply.json()["code"].clone();
    assert_eq!((first.status, code(&first)), (504, json!("outcome_unknown")));
    assert!(asked.elapsed() < 2 * DEADLINE, "it took {:?}", asked.elapsed());
    assert_eq!(ask().status, 504, "it is still not known");
    agent.get("/v1/jobs/kept").expect(404);
    disk.free();
    agent.wait_for_log(ROOM_AGAIN);
    agent.get("/v1/jobs/kept").expect(200);
    let again = ask().expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"), "it was made once");
    agent.get("/v1/jobs/other").expect(404);
}

#[test]
fn a_stop_does_not_wait_for_room() {
    let Some(disk) = SmallDisk::new(DISK_KIB) else { return };
    let builder = disk.agent().flag("--ballast", "0").flag("--leave-timeout", "1s");
    let mut agent = builder.start();
    let tick = Ticking::create(&agent);
    tick.wait_for_fires(&agent, 1);
    disk.fill();
    agent.wait_for_log(FULL);
    assert_eq!(agent.stop().code(), Some(0));
    agent.wait_for_log("stopping took too long");
    disk.free();
    agent.restart();
    tick.wait_for_fires(&agent, 2);
    tick.check_books(&agent);
}

#[test]
fn a_full_disk_at_the_start_takes_the_ballast_or_is_told_of() {
    let Some(disk) = SmallDisk::new(DISK_KIB) else { return };
    let mut agent = disk.agent().flag("--ballast", BALLAST).start();
    let tick = Ticking::create(&agent);
    tick.wait_for_fires(&agent, 1);
    assert!(agent.stop().success());

    assert!(disk.has_ballast(BALLAST));
    disk.fill();
    agent.relaunch();
    agent.wait_for_log("the ballast was given up");
    agent.wait_until_listening();
    disk.take(512 * 1024);
    agent.wait_for_log(NEARLY_FULL);
    agent.wait_for_log(r#"msg="leading""#);
    check_full(&agent);
    tick.wait_for_fires(&agent, 2);
    assert!(agent.stop().success());

    assert!(!disk.has_ballast(BALLAST));
    disk.fill();
    let before = disk.journal();
    agent.relaunch();
    let status = agent.wait();
    let log = agent.whole_log();
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().expect("a line");
    for part in ["cannot start", "no space is left on its disk", "free some", "start again"] {
        assert!(last.contains(part), "{part:?} is not in {last}");
    }
    assert_eq!(disk.journal(), before, "it was touched");

    disk.free();
    agent.relaunch();
    agent.wait_until_ready_again();
    check_recovered(&mut agent, &disk);
    tick.check_books(&agent);
}

#[test]
fn a_file_system_turned_read_only_ends_the_agent_or_is_not_turned_and_costs_no_answer() {
    let Some(mut disk) = SmallDisk::new(DISK_KIB) else { return };
    let mut agent = disk.agent().flag("--ballast", BALLAST).start();
    let tick = Ticking::create(&agent);
    agent.post("/v1/jobs", KEPT).expect(201);
    tick.wait_for_fires(&agent, 1);
    // An agent that writes is a reason for the kernel to refuse, unless it is the disk that fails;
    // see the tests of that.
    if disk.remount("ro") {
        assert_eq!(agent.wait().code(), Some(1));
        agent.wait_for_log("read-only");
    } else {
        tick.wait_for_fires(&agent, 1);
        agent.kill9();
        agent.kill9_launcher_at(&disk.inside("launcher.pid"));
        assert!(disk.remount("ro"), "nobody writes any more");
    }
    agent.relaunch();
    assert_eq!(agent.wait().code(), Some(1));
    agent.wait_for_log("ead-only file system");
    assert!(disk.remount("rw"));
    agent.relaunch();
    agent.wait_until_ready_again();
    agent.get("/v1/jobs/kept").expect(200);
    tick.wait_for_fires(&agent, 1);
    tick.check_seconds(&agent);
}
