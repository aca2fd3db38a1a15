//! The job object, its previews and its history.

use super::*;
use serde_json::Value;

#[test]
fn the_job_object_has_every_key_of_both_eras() {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    let job = world.body("GET /v1/jobs/a", 200);
    let seed = "name schedule command shell owner owner_email success_count error_count \
                last_success last_error disabled tags";
    let later = "id displayname timezone executor executor_config metadata retries parent_job \
                 dependent_jobs processors concurrency status next ephemeral starts_at expires_at \
                 run_as_user";
    let own = "env cwd timeout kill_grace start_deadline catchup catchup_window catchup_max \
               retry_backoff run_on queue_max limits output_limit keep idempotent notify note \
               version created_at updated_at missed_count";
    let mut wanted: Vec<&str> =
        [seed, later, own].iter().flat_map(|words| words.split_whitespace()).collect();
    wanted.sort_unstable();
    let mut keys: Vec<&str> = job.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, wanted);
    for key in ["last_success", "last_error", "starts_at", "expires_at", "next"] {
        assert_eq!(job[key], Value::Null, "{key}");
    }
    for key in ["tags", "metadata", "processors"] {
        assert!(job[key].is_object(), "{key}");
    }
    assert_eq!(job["created_at"], "2026-06-01T12:00:00Z");
}

#[test]
fn due_times_are_previewed_as_they_will_come() {
    let mut world = World::new();
    world.body(&put("a", "").replace("@manually", "0 30 * * * *"), 201);
    world.body(&put("b", r#""disabled":true"#).replace("@manually", "@hourly"), 201);
    let ends = r#""expires_at":"2026-06-01T13:30:00Z""#;
    world.body(&put("c", ends).replace("@manually", "0 30 * * * *"), 201);
    world.talk(&[
        ("GET /v1/jobs/a/next", "200 | = [\"2026-06-01T12:30:00+00:00\"]"),
        (
            "GET /v1/jobs/a/next?count=2",
            "200 | = [\"2026-06-01T12:30:00+00:00\",\"2026-06-01T13:30:00+00:00\"]",
        ),
        ("GET /v1/jobs/a/next?count=0", "200 | = []"),
        ("GET /v1/jobs/a/next?count=1001", "400 | ~ count must be at most 1000"),
        ("GET /v1/jobs/a/next?count=x", "400 | ~ whole number"),
        ("GET /v1/jobs/a/next?count=-1", "400"),
        ("GET /v1/jobs/a/next?count=99999999999999999999999", "400"),
        ("GET /v1/jobs/b/next?count=3", "200 | = []"),
        ("GET /v1/jobs/b", "200 | ~ \"next\":null"),
        (
            "GET /v1/jobs/c/next?count=9",
            "200 | = [\"2026-06-01T12:30:00+00:00\",\"2026-06-01T13:30:00+00:00\"]",
        ),
        ("GET /v1/jobs/a", "200 | ~ \"next\":\"2026-06-01T12:30:00Z\""),
        (
            "GET /v1/schedule/next?schedule=@hourly&count=1",
            "200 | = [\"2026-06-01T13:00:00+00:00\"]",
        ),
        ("GET /v1/schedule/next?schedule=0+0+3+*+*+*&timezone=UTC&pretty", "200 | ~ \n    \"2026"),
        ("GET /v1/schedule/next?schedule=~+~+*+*+*+*&name=a", "200"),
        ("GET /v1/schedule/next?schedule=@manually", "200 | = []"),
        (
            "GET /v1/schedule/next?schedule=@at+2026-06-01T12:00:01Z&count=5",
            "200 | = [\"2026-06-01T12:00:01+00:00\"]",
        ),
        ("GET /v1/schedule/next", "400 | ~ schedule is missing"),
        ("GET /v1/schedule/next?schedule=", "400 | ~ \"code\":\"invalid_schedule\""),
        ("GET /v1/schedule/next?schedule=@nightly", "400"),
        ("GET /v1/schedule/next?schedule=0+61+*+*+*+*", "400 | ~ column"),
        ("GET /v1/schedule/next?schedule=@daily&timezone=Mars", "400 | ~ Mars"),
        ("GET /v1/schedule/next?schedule=@daily&count=1001", "400"),
        ("GET /v1/schedule/next?schedule=CRON_TZ=UTC+*+*+*+*+*", "200"),
    ]);
    let many = world.body("GET /v1/jobs/a/next?count=1000", 200);
    assert_eq!(many.as_array().unwrap().len(), 1_000);
    let rare = world.body("GET /v1/schedule/next?schedule=0+0+0+29+2+1&count=1000", 200);
    assert!(rare.as_array().unwrap().len() <= 1_000);
}

/// A job with: 4 succeeded, 5 failed, 6 skipped due times, 7 open.
fn history() -> World {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    world.body("POST /v1/jobs/a", 200);
    world.end(4, 1, End::Succeeded, b"one two three");
    world.now.wall = Wall(world.now.wall.0 + 60_000);
    let job = world.state.job_named("a").unwrap();
    let claim = |world: &World, due: Option<Second>| {
        Record::Claim(Claim {
            job: JobId(3),
            version: 3,
            due,
            clock_era: world.state.clock_era(),
            trigger: Trigger::Schedule,
            targets: vec![node(1)],
            parent: None,
        })
    };
    let after = job.decided_until;
    world.apply(claim(&world, Some(after.plus(10))));
    world.end(6, 1, End::Failed, "snow \u{2603}".as_bytes());
    world.apply(Record::Skip(Skip {
        job: JobId(3),
        clock_era: 0,
        after: after.plus(10),
        until: after.plus(40),
        first: after.plus(20),
        count: 3,
        more: false,
        reason: SkipReason::WindowPassed,
        parent: None,
    }));
    world.apply(claim(&world, None));
    world
}

#[test]
fn the_history_is_shown_newest_first_and_in_the_wanted_states() {
    let mut world = history();
    let mut ids = |query: &str| -> String {
        let list = world.body(&format!("GET /v1/jobs/a/executions{query}"), 200);
        let old = world.body(&format!("GET /v1/executions/a{query}"), 200);
        assert_eq!(list, old, "{query}");
        let ids = list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap());
        ids.collect::<Vec<_>>().join(" ")
    };
    for (query, wanted) in [
        ("", "9-n1-1 6-n1-1 4-n1-1"),
        ("?state=all", "9-n1-1 8-skip 6-n1-1 4-n1-1"),
        ("?state=missed", "8-skip"),
        ("?state=skipped", ""),
        ("?state=failed", "6-n1-1"),
        ("?state=succeeded", "4-n1-1"),
        ("?state=claimed", "9-n1-1"),
        ("?state=", "9-n1-1 6-n1-1 4-n1-1"),
        ("?_order=ASC", "4-n1-1 6-n1-1 9-n1-1"),
        ("?_order=asc&state=all", "4-n1-1 6-n1-1 8-skip 9-n1-1"),
        ("?_sort=started_at&_order=ASC", "4-n1-1 6-n1-1 9-n1-1"),
        ("?_sort=finished_at&_order=ASC", "9-n1-1 4-n1-1 6-n1-1"),
        ("?_sort=state&_order=ASC", "9-n1-1 6-n1-1 4-n1-1"),
        ("?_sort=attempt&_order=ASC&_end=1", "4-n1-1"),
        ("?_start=1", "6-n1-1 4-n1-1"),
        ("?_start=1&_end=2", "6-n1-1"),
        ("?_start=3&_end=9", ""),
    ] {
        assert_eq!(ids(query), wanted, "{query}");
    }
    world.talk(&[
        ("GET /v1/jobs/a/executions?_end=1", "200 | X-Total-Count: 3"),
        ("GET /v1/jobs/a/executions?state=running,failed", "400 | ~ state must be all or one of"),
        ("GET /v1/jobs/a/executions?_sort=output", "400 | ~ _sort must be"),
        ("GET /v1/jobs/a/executions?_order=up", "400 | ~ _order must be ASC or DESC"),
        ("GET /v1/jobs/a/executions?_start=2&_end=1", "400 | ~ _end must not be less"),
        ("GET /v1/jobs/a/executions?output_size_limit=x", "400"),
        ("GET /v1/jobs/a", "200 | ~ \"success_count\":1,\"error_count\":1,\"missed_count\":3"),
    ]);
}

#[test]
fn executions_have_every_key_and_no_null_time() {
    let mut world = history();
    let list = world.body("GET /v1/jobs/a/executions?state=all", 200);
    for item in list.as_array().unwrap() {
        for key in ["job_name", "node_name", "output", "id", "state", "trigger", "reason"] {
            assert!(item[key].is_string(), "{key} of {item}");
        }
        for key in ["started_at", "finished_at", "scheduled_for"] {
            assert!(item[key].as_str().unwrap().ends_with('Z'), "{key} of {item}");
        }
        for key in ["success", "output_truncated"] {
            assert!(item[key].is_boolean(), "{key} of {item}");
        }
        for key in ["exit_code", "signal", "duration_ms", "cpu_ms", "max_rss_bytes"] {
            assert!(item.get(key).is_some(), "{key} of {item}");
        }
    }
    assert_eq!(list[0]["finished_at"], "0001-01-01T00:00:00Z", "an open run");
    assert_eq!((&list[0]["success"], &list[0]["state"]), (&false.into(), &"claimed".into()));
    assert_eq!((&list[1]["skipped_count"], &list[1]["state"]), (&3.into(), &"missed".into()));
    assert_eq!(list[1]["started_at"], list[1]["finished_at"]);
    assert_eq!((&list[3]["exit_code"], &list[3]["success"]), (&0.into(), &true.into()));
    assert_eq!((&list[3]["trigger"], &list[2]["trigger"]), (&"manual".into(), &"schedule".into()));
    world.talk(&[
        ("GET /v1/jobs/a/executions/8-skip", "200 | ~ \"id\":\"8-skip\""),
        ("GET /v1/jobs/a/executions/4-n1-1", "200 | ~ one two three"),
        (
            "GET /v1/jobs/a/executions/4-n1-1?output_size_limit=5",
            "200 | ~ \"output\":\"three\" | ~ \"output_truncated\":true",
        ),
        ("GET /v1/jobs/a/executions/4-n1-1?output_size_limit=0", "200 | ~ \"output\":\"\""),
        (
            "GET /v1/jobs/a/executions/4-n1-1?output_size_limit=13",
            "200 | ~ one two three | ~ \"output_truncated\":false",
        ),
        (
            "GET /v1/jobs/a/executions/4-n1-1?output_size_limit=99999999999999999999",
            "200 | ~ one two three",
        ),
        // Cut within a character: what is left of it is shown as such.
        ("GET /v1/jobs/a/executions/6-n1-1?output_size_limit=2", "200 | ~ \u{fffd}"),
        ("GET /v1/jobs/a/executions?output_size_limit=3", "200 | ~ \"output\":\"ree\""),
    ]);
}

#[test]
fn open_runs_are_busy_a_deleted_jobs_too() {
    let mut world = history();
    world.body(&put("b", ""), 201);
    world.body("POST /v1/jobs/b", 200);
    world.talk(&[
        ("GET /v1/busy", "200 | X-Total-Count: 2 | ~ \"reachable\":true | ~ \"last_seen\":\"2026"),
        ("DELETE /v1/jobs/a", "200"),
        (
            "GET /v1/busy?_end=1",
            "200 | X-Total-Count: 2 | ~ 9-n1-1 | ~ \"job_deleted\":true | ! 11-n1",
        ),
        ("GET /v1/busy?_order=DESC&_end=1", "200 | ~ 11-n1-1 | ! 9-n1-1 | ! job_deleted"),
        ("GET /v1/busy?_sort=job_name&_order=DESC&_end=1", "200 | ~ 11-n1-1 | ! 9-n1-1"),
        ("GET /v1/busy?_sort=color", "400 | ~ _sort must be"),
        ("GET /v1/busy?_start=x", "400"),
        ("GET /v1/jobs/a/executions", "404"),
    ]);
    world.end(9, 1, End::Succeeded, b"");
    world.talk(&[
        ("GET /v1/busy", "200 | X-Total-Count: 1"),
        ("GET /v1/jobs/b/executions", "200 | ! reachable"),
    ]);
}

#[test]
fn a_node_that_the_registry_does_not_have_is_named_by_its_number() {
    let mut world = World::new();
    world.body(&put("a", ""), 201);
    world.apply(Record::Claim(Claim {
        job: JobId(3),
        version: 3,
        due: None,
        clock_era: 0,
        trigger: Trigger::Manual,
        targets: vec![node(0xabc)],
        parent: None,
    }));
    let list = world.body("GET /v1/jobs/a/executions", 200);
    let id = list[0]["id"].as_str().unwrap();
    assert_eq!(id, "4-00000abc-1");
    world.talk(&[(&format!("GET /v1/jobs/a/executions/{id}"), "200 | ~ 00000abc")]);
}
