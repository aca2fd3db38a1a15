//! Jobs that run after another, as the API has them.

use super::*;

fn child(name: &str, parent: &str) -> String {
    format!(
        "POST /v1/jobs\n\n{{\"name\":\"{name}\",\"parent_job\":\"{parent}\",\"command\":\"true\"}}"
    )
}

fn plain(name: &str) -> String {
    child(name, "").replace("\"parent_job\":\"\"", "\"schedule\":\"@manually\"")
}

#[test]
fn a_parent_is_checked_shown_and_kept() {
    let mut world = World::new();
    for (text, wanted) in [
        (child("b", "a"), "400 | ~ parent_job: there is no job named \\\"a\\\"; create that first"),
        (child("b", "b"), "400 | ~ parent_job: a job can't run after itself"),
        (child("b", "-"), "400 | ~ parent_job: must not start with"),
        (plain("a"), "201"),
        (child("b", "a"), "201 | ~ \"parent_job\":\"a\" | ~ \"schedule\":\"\" | ~ \"next\":null"),
        (child("c", "a"), "201"),
        ("GET /v1/jobs/a".into(), "200 | ~ \"dependent_jobs\":[\"b\",\"c\"]"),
        ("GET /v1/jobs/b/next?count=3".into(), "200 | = []"),
        (
            child("a", "c"),
            "400 | ~ parent_job: \\\"c\\\" runs after \\\"a\\\" already, so neither would start",
        ),
        (
            "DELETE /v1/jobs/a".into(),
            "409 | ~ has_dependents | ~ parent_job of \\\"b\\\", \\\"c\\\"",
        ),
        ("PATCH /v1/jobs/c\n\n{\"parent_job\":\"b\"}".into(), "201"),
        ("PATCH /v1/jobs/b\n\n{\"parent_job\":null}".into(), "400 | ~ schedule: is missing"),
        (
            "PATCH /v1/jobs/b\n\n{\"schedule\":\"@daily\"}".into(),
            "201 | ~ schedule: it is not followed, because the job runs after",
        ),
        ("PATCH /v1/jobs/b\n\n{\"parent_job\":\"\"}".into(), "201 | ! \"next\":null"),
        ("GET /v1/jobs/a".into(), "200 | ~ \"dependent_jobs\":[]"),
        ("DELETE /v1/jobs/a".into(), "200"),
        ("DELETE /v1/jobs/c".into(), "200"),
        ("DELETE /v1/jobs/b".into(), "200"),
    ] {
        world.talk(&[(&text, wanted)]);
    }
    // A long list of children is cut short.
    world.ask(&plain("a"));
    for number in 10..23 {
        world.ask(&child(&format!("c{number}"), "a"));
    }
    world.talk(&[("DELETE /v1/jobs/a", "409 | ~ \\\"c19\\\", 3 more; change | ! c20")]);
}

#[test]
fn a_restore_takes_children_before_their_parents_and_no_broken_chain() {
    let job = |name: &str, parent: &str| {
        let text = if parent.is_empty() { plain(name) } else { child(name, parent) };
        text.split_once("\n\n").unwrap().1.to_owned()
    };
    let whole = [job("c", "b"), job("b", "a"), job("a", "")];
    for (jobs, target, wanted) in [
        (&whole[..], "/v1/restore", "200"),
        (&whole[..1], "/v1/restore", "400 | ~ job \\\"c\\\": parent_job: there would be no job"),
        (&[job("c", "z")], "/v1/restore", "200"),
        (&[job("c", "z")], "/v1/restore?replace", "400 | ~ there would be no job named \\\"z\\\""),
        (&[job("z", "y")], "/v1/restore", "400 | ~ it would run after itself in the end"),
        (&[job("x", "y"), job("z", "")], "/v1/restore?replace", "400"),
        (&[job("x", "z"), job("z", "")], "/v1/restore?replace", "200"),
    ] {
        let mut world = World::new();
        world.ask(&plain("z"));
        world.ask(&child("y", "z"));
        let text = format!("POST {target}\n\n[{}]", jobs.join(","));
        world.talk(&[(&text, wanted)]);
        world.state.check();
    }
}
