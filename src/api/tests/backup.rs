//! Backups: what stands in them, of which moment, and who may have one.

use super::*;
use crate::store::BACKUPS_MAX;

fn lines(body: &str) -> Vec<serde_json::Value> {
    body.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn a_backup_holds_each_job_with_all_that_is_known_of_it() {
    let mut world = World::new();
    world.talk(&[
        (&put("b", r#""env":{"SECRET":"x\ny"}"#), "201"),
        (&put("a", r#""schedule_":"x","disabled":true"#), "201"),
        ("POST /v1/jobs/b/run", "200 | X-Execution-Group: 5"),
    ]);
    world.end(5, 1, End::Failed, b"out");
    let response = world.ask("GET /v1/backup");
    assert_eq!(header(&response, "Content-Type"), Some("application/x-ndjson"));
    let told = lines(&body_text(&response));
    assert_eq!(told.len(), 4);
    assert_eq!(
        told[0],
        serde_json::json!({
            "format": "bellwether-backup", "version": 1, "cluster": "0000000000000005",
            "index": 6, "time": "2026-06-01T12:00:00Z",
        })
    );
    assert_eq!(told[3], serde_json::json!({"end": "bellwether-backup", "jobs": 2}));
    for (line, name) in [(&told[1], "b"), (&told[2], "a")] {
        let shown = world.body(&format!("GET /v1/jobs/{name}"), 200);
        let moving = ["next", "version", "dependent_jobs"];
        for (key, value) in shown.as_object().unwrap() {
            let wanted = (!moving.contains(&key.as_str())).then_some(value);
            assert_eq!(line.get(key), wanted, "{name}: {key}");
        }
        assert_eq!(line["anchor"], "2026-06-01T12:00:00Z");
        assert_eq!(line["decided_until"], "2026-06-01T12:00:00Z");
    }
    assert_eq!(told[1]["env"]["SECRET"], "x\ny", "a backup that hides what runs need is none");
    assert_eq!((&told[1]["error_count"], &told[1]["status"]), (&1.into(), &"failed".into()));
}

#[test]
fn a_backup_is_of_the_moment_at_which_it_was_begun() {
    let mut world = World::new();
    let note = "x".repeat(2_000);
    for number in 0..200 {
        world.body(&put(&format!("job{number:03}"), &format!("\"note\":\"{note}\"")), 201);
    }
    let begin =
        |world: &World| match handle(&world.view(), &request("GET /v1/backup?pretty"), &world.peer)
        {
            Answer::Stream(_, stream) => stream,
            other => panic!("not streamed: {other:?}"),
        };
    let wanted = {
        let mut stream = begin(&world);
        world.read(&mut stream)
    };
    let mut stream = begin(&world);
    let (mut all, mut pieces) = (Vec::new(), 0);
    loop {
        let before = all.len();
        let done = stream.produce(&world.view(), &mut all) == Progress::Done;
        let size = all.len() - before;
        assert!(size <= 64 * 1024 + 8_192, "{size} bytes in one piece");
        pieces += 1;
        if done {
            break;
        }
        assert!(size >= 64 * 1024, "{size} bytes in a piece that is not the last");
        for number in (pieces..200).step_by(3) {
            world.ask(&format!("DELETE /v1/jobs/job{number:03}"));
            world.ask(&format!("POST /v1/jobs/job{:03}/toggle", number + 1));
        }
        world.body(&put(&format!("new{pieces}"), ""), 201);
    }
    assert!(pieces > 5, "{pieces}");
    assert!(all == wanted, "a change shows in a backup that was begun before it");
}

#[test]
fn one_backup_too_many_is_refused_until_another_is_read() {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    let begin = |world: &World| handle(&world.view(), &request("GET /v1/backup"), &world.peer);
    let mut streams: Vec<Answer> = (0..BACKUPS_MAX).map(|_| begin(&world)).collect();
    assert!(streams.iter().all(|answer| matches!(answer, Answer::Stream(..))));
    world.talk(&[("GET /v1/backup", "503 | ~ \"code\":\"overloaded\" | ~ 4 backups")]);
    streams.pop();
    world.talk(&[("GET /v1/backup", "200 | ~ \"jobs\":1")]);
}

/// Too much has changed while it was read: the reader is to see that it has not all.
#[test]
fn a_backup_that_is_overtaken_is_cut_short() {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    let answer = handle(&world.view(), &request("GET /v1/backup"), &world.peer);
    let Answer::Stream(_, mut stream) = answer else { panic!("not streamed") };
    world.apply(Record::ClockCorrected { to: world.now.wall.second() });
    let mut all = Vec::new();
    assert_eq!(stream.produce(&world.view(), &mut all), Progress::Cut);
    assert!(!String::from_utf8(all).unwrap().contains("\"end\""));
}
