//! Changes of jobs: what is stored, what is answered, and what is refused.

use super::*;
use serde_json::{Value, json};

#[test]
fn a_job_is_created_replaced_merged_and_deleted() {
    let created = "201 | Location: /v1/jobs/a | ~ \"name\":\"a\" | ~ \"version\":3";
    World::new().talk(&[
        (
            "POST /v1/jobs\n\n{\"name\":\"a\",\"schedule\":\"@daily\",\"command\":\"true\",\
          \"owner\":\"x\",\"tags\":{\"k\":\"v\"}}",
            created,
        ),
        (
            "PATCH /v1/jobs\n\n{\"name\":\"a\",\"owner\":\"y\"}",
            "201 | ~ \"owner\":\"y\" | ~ {\"k\":\"v\"}",
        ),
        ("PATCH /v1/jobs/a\n\n{\"tags\":null}", "201 | ~ \"tags\":{} | ~ \"owner\":\"y\""),
        ("PATCH /v1/jobs/a\n\n{\"owner\":\"\"}", "201 | ~ \"owner\":\"\""),
        (
            "PUT /v1/jobs/a\n\n{\"schedule\":\"@hourly\",\"command\":\"false\"}",
            "201 | ~ \"schedule\":\"@hourly\" | ~ \"version\":7",
        ),
        ("POST /v1/jobs\n\n{\"name\":\"a\",\"schedule\":\"@daily\",\"command\":\"true\"}", "201"),
        ("DELETE /v1/jobs/a", "200 | ~ \"name\":\"a\" | ~ \"version\":8"),
        ("DELETE /v1/jobs/a", "404"),
        ("GET /v1/jobs", "200 | = [] | X-Total-Count: 0"),
        ("PATCH /v1/jobs\n\n{\"name\":\"b\",\"schedule\":\"@daily\",\"command\":\"x\"}", "201"),
        (
            "PATCH /v1/jobs/c\n\n{\"schedule\":\"@daily\",\"command\":\"x\"}",
            "201 | Location: /v1/jobs/c",
        ),
        ("PUT /v1/jobs/d\n\n{\"name\":\"d\",\"schedule\":\"@daily\",\"command\":\"x\"}", "201"),
    ]);
}

#[test]
fn what_is_no_job_is_refused_with_a_sentence() {
    World::new().talk(&[
        ("POST /v1/jobs", "400 | ~ \"code\":\"malformed\" | ~ nothing is there"),
        ("POST /v1/jobs\n\n{", "400 | ~ line 1 column"),
        ("POST /v1/jobs\n\n[]", "400 | ~ a JSON object is needed, not an array"),
        ("POST /v1/jobs\n\n{\"name\":\"a\",\"name\":\"b\"}", "400"),
        ("POST /v1/jobs\n\n{\"schedule\":\"@daily\"}", "400 | ~ name: is missing"),
        ("POST /v1/jobs\n\n{\"name\":\"\"}", "400 | ~ \"code\":\"invalid\""),
        ("POST /v1/jobs\n\n{\"name\":\"a b\"}", "400"),
        ("PUT /v1/jobs/.x\n\n{\"schedule\":\"@daily\",\"command\":\"x\"}", "400"),
        ("PUT /v1/jobs/x\n\n{\"name\":\"y\"}", "400 | ~ differs"),
        (
            "POST /v1/jobs\n\n{\"name\":\"a\",\"schedule\":\"0 75 * * * *\",\"command\":\"x\"}",
            "400 | ~ column 3",
        ),
        ("POST /v1/jobs\n\n{\"name\":\"a\",\"command\":\"x\"}", "400 | ~ schedule: is missing"),
        ("POST /v1/jobs\n\n{\"name\":\"a\",\"schedule\":\"@daily\"}", "400 | ~ command"),
        (
            "POST /v1/jobs\n\n{\"name\":\"a\",\"schedule\":\"@daily\",\"command\":\"x\",\
          \"timezone\":\"Mars/Base\"}",
            "400 | ~ time zone",
        ),
        ("POST /v1/jobs\n\n{\"name\":\"a\",\"schedule\":\"@daily\",\"executor\":\"kafka\"}", "400"),
        ("GET /v1/jobs", "200 | = []"),
    ]);
}

#[test]
fn foreign_keys_are_ignored_by_name_and_warnings_are_given() {
    let mut world = World::new();
    world.talk(&[
        (&put("a", r#""color":"red","project":1"#), "201 | X-Ignored-Keys: color, project"),
        (&put("b", ""), "201 | -X-Ignored-Keys | ! warnings"),
        (&put("c", r#""a,\r\nSet-Cookie: x":1"#), "201 | X-Ignored-Keys: a???Set-Cookie:?x"),
        (
            "POST /v1/jobs\n\n{\"name\":\"d\",\"schedule\":\"@daily\",\"command\":\"a | b\"}",
            "201 | ~ \"warnings\":[\"command: no shell reads it",
        ),
        ("GET /v1/jobs/d", "200 | ! warnings"),
    ]);
}

#[test]
fn a_body_that_was_got_can_be_posted_back() {
    let mut world = World::new();
    let all = r#""owner":"o","owner_email":"e@x","shell":true,"timezone":"UTC","disabled":true,
        "tags":{"role":"web"},"metadata":{"m":"1"},"retries":0,"concurrency":"forbid",
        "executor":"shell","executor_config":{"env":"A=1,B=2","cwd":"/tmp","timeout":"5s"},
        "keep":7,"note":"n","starts_at":"2030-01-01T00:00:00Z""#;
    world.body(&put("a", all), 201);
    world.body("POST /v1/jobs/a/run", 200);
    world.end(4, 1, End::Succeeded, b"out");
    let first = world.body("GET /v1/jobs/a", 200);
    for method in ["POST /v1/jobs", "PUT /v1/jobs/a", "PATCH /v1/jobs/a", "PATCH /v1/jobs"] {
        world.now.wall = Wall(world.now.wall.0 + 5_000);
        let text = format!("{method}\n\n{first}");
        assert_eq!(header(&world.ask(&text), "X-Ignored-Keys"), None, "{method}");
        let mut after = world.body("GET /v1/jobs/a", 200);
        assert_ne!(
            (&after["version"], &after["updated_at"]),
            (&first["version"], &first["updated_at"])
        );
        for key in ["version", "updated_at"] {
            after[key] = first[key].clone();
        }
        assert_eq!(after, first, "{method}");
    }
}

#[test]
fn old_counters_in_a_body_change_nothing() {
    let mut world = World::new();
    let body = world.body(
        &put(
            "a",
            r#""success_count":9,"error_count":"8","last_success":"2020-01-01T00:00:00Z",
            "next":"x","status":"failed","id":"zzz","version":3,"dependent_jobs":["q"]"#,
        ),
        201,
    );
    assert_eq!((&body["success_count"], &body["id"]), (&0.into(), &"a".into()));
    assert_eq!((&body["last_success"], &body["status"]), (&Value::Null, &"".into()));
}

#[test]
fn enabling_and_disabling_answer_the_job() {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    world.talk(&[
        ("POST /v1/jobs/a/toggle", "200 | ~ \"disabled\":true | -Location"),
        ("POST /v1/jobs/a/toggle", "200 | ~ \"disabled\":false"),
        ("POST /v1/jobs/a/disable\n\n{\"note\":\"for the move\"}", "200 | ~ for the move"),
        ("POST /v1/jobs/a/disable", "200 | ~ \"disabled\":true | ~ for the move"),
        ("POST /v1/jobs/a/enable\n\n{\"note\":\"\",\"color\":1}", "200 | ~ \"note\":\"\""),
        ("POST /v1/jobs/a/enable\n\n{\"note\":null}", "200 | ~ \"disabled\":false"),
        ("POST /v1/jobs/a/enable\n\n{\"note\":1}", "400 | ~ note must be a text"),
        ("POST /v1/jobs/a/enable\n\nx", "400 | ~ malformed"),
    ]);
    let long = format!("POST /v1/jobs/a/enable\n\n{{\"note\":\"{}\"}}", "x".repeat(4_097));
    world.talk(&[(&long, "400"), (&long.replacen("xx", "x", 1), "200")]);
}

#[test]
fn a_run_by_hand_needs_no_schedule_and_no_enabled_job() {
    let mut world = World::new();
    world.body(&put("a", r#""disabled":true,"starts_at":"2031-01-01T00:00:00Z""#), 201);
    world.talk(&[
        ("POST /v1/jobs/a", "200 | X-Execution-Group: 4 | ~ \"name\":\"a\""),
        ("POST /v1/jobs/a/run?pretty", "200 | X-Execution-Group: 5 | ~     \"name\": \"a\""),
        (&put("f", r#""concurrency":"forbid""#), "201"),
        ("POST /v1/jobs/f/run", "200 | X-Execution-Group: 7"),
        ("POST /v1/jobs/f/run", "409 | ~ the run 7-n1-1 is open | ~ \"code\":\"overlap\""),
        (&put("g", r#""tags":{"role":"db"}"#), "201"),
        ("POST /v1/jobs/g/run", "409 | ~ \"code\":\"no_node\""),
    ]);
    world.end(7, 1, End::Failed, b"");
    world.talk(&[("POST /v1/jobs/f/run", "200")]);
}

#[test]
fn run_on_create_runs_once_and_a_job_that_cannot_run_is_stored_all_the_same() {
    let mut world = World::new();
    let text = put("a", "").replace("/v1/jobs", "/v1/jobs?runoncreate");
    world.talk(&[
        (&text, "201 | Location: /v1/jobs/a | X-Execution-Group: 4"),
        ("GET /v1/busy", "200 | X-Total-Count: 1 | ~ \"id\":\"4-n1-1\""),
        (&text.replace("?runoncreate", ""), "201 | -X-Execution-Group"),
    ]);
}

#[test]
fn a_change_may_name_the_version_that_it_is_meant_for() {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    let got = world.ask("GET /v1/jobs/a");
    let tag = header(&got, "ETag").unwrap().to_owned();
    assert!(tag.starts_with("\"3-") && tag.ends_with('"'), "{tag}");
    let put_if = |field: &str| format!("PATCH /v1/jobs/a\n{field}\n\n{{}}");
    for field in ["2", "\"2\"", "\"30\"", "\"2-3\"", "\"x\"", "", "1, 2", "W/\"4\""] {
        let text = put_if(&format!("If-Match: {field}"));
        world.talk(&[(&text, "412 | ~ the job is at version 3 | ~ version_mismatch")]);
        for change in ["DELETE /v1/jobs/a", "POST /v1/jobs/a/toggle", "POST /v1/jobs/a/run"] {
            world.talk(&[(&format!("{change}\nIf-Match: {field}"), "412")]);
        }
    }
    for (version, form) in (3..).zip([
        &|v: u64| v.to_string(),
        &|v| format!("\"{v}\""),
        &|v| format!("\"{v}-0123456789abcdef\""),
        &|v| format!("W/\"{v}-0123456789abcdef\""),
        &|v| format!("\"1\", \"{v}\""),
        &|v| format!("\"1\"\nIf-Match: {v}"),
        &|_| "*".to_owned(),
    ] as [&dyn Fn(u64) -> String; 7])
    {
        let text = put_if(&format!("If-Match: {}", form(version)));
        world.talk(&[(&text, "201")]);
    }
    world.talk(&[
        ("GET /v1/jobs/a", "200 | ~ \"version\":10"),
        (&put_if("If-None-Match: *"), "412"),
        ("PUT /v1/jobs/b\nIf-None-Match: *\n\n{\"schedule\":\"@daily\",\"command\":\"x\"}", "201"),
        ("PUT /v1/jobs/c\nIf-Match: *\n\n{\"schedule\":\"@daily\",\"command\":\"x\"}", "412"),
        (
            "PUT /v1/jobs/c\nIf-Match: 3\n\n{\"schedule\":\"@daily\",\"command\":\"x\"}",
            "412 | ~ no such job",
        ),
    ]);
}

#[test]
fn a_tag_changes_with_the_body_and_not_with_the_version_alone() {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    let tag = |world: &mut World, query: &str| {
        let response = world.ask(&format!("GET /v1/jobs/a{query}"));
        header(&response, "ETag").unwrap().to_owned()
    };
    let first = tag(&mut world, "");
    assert_eq!(tag(&mut world, ""), first, "nothing has changed");
    assert_ne!(tag(&mut world, "?pretty"), first, "other bytes have another tag");
    for seen in [first.clone(), format!("W/{first}"), format!("\"x\", {first}"), "*".into()] {
        for method in ["GET", "HEAD"] {
            let response = world.ask(&format!("{method} /v1/jobs/a\nIf-None-Match: {seen}"));
            assert_eq!(
                (response.status, header(&response, "ETag")),
                (304, Some(&*first)),
                "{seen}"
            );
            assert_eq!(response.body, Body::Empty);
        }
    }
    for other in ["3", "\"3\"", "\"x\"", ""] {
        world.talk(&[(&format!("GET /v1/jobs/a\nIf-None-Match: {other}"), "200")]);
    }
    // Another job's change is no news of this one; a counter that moves is.
    world.body(&put("b", ""), 201);
    assert_eq!(tag(&mut world, ""), first);
    world.body("POST /v1/jobs/a/run", 200);
    world.end(5, 1, End::Succeeded, b"");
    let second = tag(&mut world, "");
    assert_ne!(second, first);
    world.talk(&[
        (&format!("GET /v1/jobs/a\nIf-None-Match: {first}"), "200 | ~ \"success_count\":1"),
        // The definition is what it was, so the old tag still allows to change it.
        (&format!("PATCH /v1/jobs/a\nIf-Match: {first}\n\n{{}}"), "201"),
        (&format!("PATCH /v1/jobs/a\nIf-Match: {second}\n\n{{}}"), "412"),
    ]);
}

#[test]
fn deleting_with_kill_is_not_there_yet_and_deletes_nothing() {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    world.talk(&[("DELETE /v1/jobs/a?kill", "501"), ("GET /v1/jobs/a", "200")]);
}

#[test]
fn the_mark_moves_only_when_due_times_do() {
    let mut world = World::new();
    let job = |world: &World| {
        let job = world.state.job_named("a").unwrap();
        (job.decided_until, job.anchor)
    };
    let start = NOON.second();
    let text = "PUT /v1/jobs/a\n\n{\"schedule\":\"@every 1h\",\"command\":\"x\"}";
    world.body(text, 201);
    assert_eq!(job(&world), (start, start));
    let later = start.plus(600);
    world.now.wall = later.wall();
    let rows = [
        ("PUT /v1/jobs/a\n\n{\"schedule\":\"@every 1h\",\"command\":\"y\"}", start, start),
        ("PATCH /v1/jobs/a\n\n{\"owner\":\"x\"}", start, start),
        ("POST /v1/jobs/a/disable", start, start),
        ("POST /v1/jobs/a/enable", later, start),
        ("PATCH /v1/jobs/a\n\n{\"schedule\":\"@every 60m\"}", later, start),
        ("PATCH /v1/jobs/a\n\n{\"schedule\":\"@every 2h\"}", later, later),
    ];
    for (text, mark, anchor) in rows {
        world.talk(&[(text, if text.contains("POST") { "200" } else { "201" })]);
        assert_eq!(job(&world), (mark, anchor), "{text}");
    }
    let ahead = json!({ "starts_at": "2026-06-02T00:00:00Z" });
    world.body(&format!("PATCH /v1/jobs/a\n\n{ahead}"), 201);
    assert_eq!(job(&world).0, Second(start.0 + 12 * 3_600 - 1), "a due time at the start is owed");
}
