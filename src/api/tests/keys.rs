//! Keys of changes: asked twice, changed once.

use super::*;

fn with_key(text: &str, key: &str) -> String {
    text.replacen('\n', &format!("\nIdempotency-Key: {key}\n"), 1)
}

#[test]
fn a_change_that_is_asked_for_again_gets_the_first_answer() {
    let mut world = World::new();
    let create = with_key(&put("a", ""), "k1");
    let run = "POST /v1/jobs/a/run\nIdempotency-Key: k2";
    let toggle = "POST /v1/jobs/a/toggle\nIdempotency-Key: k3";
    let delete = "DELETE /v1/jobs/a\nIdempotency-Key: k4";
    let again = "Idempotent-Replayed: true";
    world.talk(&[
        (&create, "201 | Location: /v1/jobs/a | -Idempotent-Replayed"),
        (&create, &format!("201 | Location: /v1/jobs/a | {again} | ~ \"version\":3")),
        (run, "200 | X-Execution-Group: 4 | -Idempotent-Replayed"),
        (run, &format!("200 | X-Execution-Group: 4 | {again}")),
        (&run.replace("/run", "/run/"), &format!("200 | {again}")),
        (toggle, "200 | ~ \"disabled\":true"),
        (toggle, &format!("200 | ~ \"disabled\":true | {again} | -Location")),
        (delete, "200 | ~ \"version\":5"),
        (delete, &format!("200 | {again} | = {{\"id\":\"a\",\"name\":\"a\"}}")),
        (&create, &format!("201 | {again} | = {{\"id\":\"a\",\"name\":\"a\"}}")),
        ("GET /v1/jobs", "200 | = []"),
    ]);
    assert_eq!(world.state.applied().0, 6);
    // Without a leader nothing is changed, so the answer can be given all the same.
    world.established = false;
    world.talk(&[
        (run, &format!("200 | {again}")),
        ("POST /v1/jobs/a/run\nIdempotency-Key: k9", "503"),
    ]);
}

#[test]
fn a_job_made_and_run_is_found_again_by_its_run() {
    let mut world = World::new();
    let text = with_key(&put("a", ""), "k").replace("/v1/jobs", "/v1/jobs?runoncreate");
    let answer = "201 | Location: /v1/jobs/a | X-Execution-Group: 4";
    world.talk(&[(&text, answer), (&text, answer), ("GET /v1/busy", "200 | X-Total-Count: 1")]);
}

#[test]
fn a_key_is_of_one_request_and_for_an_hour() {
    let mut world = World::new();
    let first = with_key(&put("a", ""), "k");
    world.talk(&[
        (&first, "201"),
        (&with_key(&put("b", ""), "k"), "409 | ~ \"code\":\"idempotency_key_reused\""),
        (&first.replace("POST", "PATCH"), "409"),
        (&first.replace("/v1/jobs", "/v1/jobs?runoncreate"), "409"),
        ("POST /v1/jobs/a/run\nIdempotency-Key: k", "409"),
        ("GET /v1/jobs/a\nIdempotency-Key: k", "200"),
        (&with_key(&put("b", ""), "K"), "201"),
    ]);
    for (later, replayed) in [(3_599_999, true), (3_600_000, false)] {
        world.now.wall = Wall(NOON.0 + later);
        assert_eq!(header(&world.ask(&first), "Idempotent-Replayed").is_some(), replayed);
    }
}

#[test]
fn what_was_refused_is_tried_again() {
    let mut world = World::new();
    let run = "POST /v1/jobs/a/run\nIdempotency-Key: k";
    world.talk(&[(run, "404"), (&put("a", ""), "201"), (run, "200 | -Idempotent-Replayed")]);
}

#[test]
fn a_key_is_1_to_64_visible_ascii_characters() {
    let longest = "k".repeat(64);
    for (key, status) in [
        ("k", 201),
        (&*longest, 201),
        ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", 201),
        ("!~,;", 201),
        (&*format!("{longest}k"), 400),
        ("", 400),
        ("a b", 400),
        ("schl\u{fc}ssel", 400),
        ("a\nIdempotency-Key: b", 400),
    ] {
        let text = with_key(&put("a", ""), key);
        World::new().talk(&[(&text, &status.to_string())]);
    }
}

#[test]
fn a_role_is_needed_for_the_answer_too() {
    let mut world = World::new();
    let text = with_key(&put("a", ""), "k");
    world.talk(&[(&text, "201")]);
    world.peer = peer(Some(Role::Read));
    world.talk(&[(&text, "403")]);
}
