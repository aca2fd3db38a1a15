//! Who votes: what may be wanted, and what is shown of it.

use super::*;

/// Three servers, a worker, and one server that has left.
fn world() -> World {
    let mut world = World::new();
    world.apply(Record::Node(member(2, "n2")));
    world.apply(Record::Node(member(3, "n3")));
    world.apply(Record::Node(Member { server: false, ..member(4, "w1") }));
    world.apply(Record::Node(Member { state: MemberState::Left, ..member(5, "n5") }));
    world
}

/// The names in a list of names or members.
fn names(list: &serde_json::Value) -> Vec<&str> {
    let values = list.as_array().unwrap().iter();
    values.filter_map(|value| value.get("Name").unwrap_or(value).as_str()).collect()
}

#[test]
fn what_is_wanted_is_written_down_and_shown() {
    let mut world = world();
    for (request, wanted, warns) in [
        ("GET /v1/voters", "n1", false),
        ("POST /v1/voters\n\n{\"add\":[\"n2\",\"n3\"]}", "n1,n2,n3", false),
        ("POST /v1/voters\n\n{\"add\":[\"n2\"]}", "n1,n2,n3", false),
        ("DELETE /v1/voters/n2", "n1,n3", true),
        ("POST /v1/voters/replace\n\n{\"old\":\"n1\",\"new\":\"n2\"}", "n2,n3", true),
        ("POST /v1/voters\n\n{\"add\":\"n1\",\"remove\":[\"n2\",\"n3\"]}", "n1", false),
        ("POST /v1/voters\n\n{\"add\":[\"00000002\"],\"remove\":[]}", "n1,n2", true),
    ] {
        let shown = world.body(request, 200);
        assert_eq!(names(&shown["wanted"]).join(","), wanted, "{request}");
        assert_eq!(names(&shown["voters"]), ["n1"], "the steps are the leader's");
        assert_eq!(shown["under_way"], wanted != "n1", "{request}");
        assert_eq!(shown["warnings"] != serde_json::json!([]), warns, "{request}");
        assert_eq!(shown["tolerates"], (wanted.split(',').count() - 1) / 2, "{request}");
    }
}

#[test]
fn what_can_not_be_is_refused_with_the_reason() {
    let mut world = world();
    let many = (6..=12).map(|id| format!("m{id}")).collect::<Vec<_>>();
    for (at, name) in many.iter().enumerate() {
        world.apply(Record::Node(member(6 + at as u32, name)));
    }
    let all = format!("POST /v1/voters\n\n{{\"add\":{many:?}}}");
    let more = format!("POST /v1/voters\n\n{{\"add\":{:?}}}", vec!["n2"; 17]);
    world.talk(&[
        ("POST /v1/voters", "400 | ~ not a valid JSON object"),
        ("POST /v1/voters\n\n{}", "400 | ~ name nodes in"),
        ("POST /v1/voters\n\n{\"add\":[1]}", "400 | ~ list of at most 16 names"),
        (&more, "400 | ~ list of at most 16 names"),
        ("POST /v1/voters\n\n{\"add\":[\"x\"]}", "404 | ~ no node named"),
        ("POST /v1/voters\n\n{\"add\":[\"w1\"]}", "409 | ~ only a server can vote"),
        ("POST /v1/voters\n\n{\"add\":[\"n5\"]}", "409 | ~ has left"),
        (&all, "409 | ~ 8 voters are too many; at most 7 vote"),
        ("DELETE /v1/voters/n1", "409 | ~ the last voter"),
        ("POST /v1/voters/replace\n\n{\"old\":\"n1\"}", "400 | ~ the server that comes"),
        ("POST /v1/voters/transfer", "409 | ~ no other voter"),
        ("POST /v1/voters/transfer\n\n{\"to\":\"n2\"}", "409 | ~ does not vote"),
        ("POST /v1/voters/transfer\n\n{\"to\":7}", "400 | ~ must be the name of a node"),
        ("GET /v1/voters", "200 | ~ \"wanted\":[\"n1\"]"),
    ]);
}

#[test]
fn a_worker_shows_itself_and_refers_to_the_servers() {
    let mut world = world();
    world.is_server = false;
    world.talk(&[
        ("GET /v1", "200"),
        ("GET /health", "200"),
        ("GET /v1/jobs", "503 | ~ not_a_server"),
        ("POST /v1/jobs\n\n{\"name\":\"a\"}", "503 | ~ ask a server"),
        ("GET /v1/voters", "503 | ~ not_a_server"),
        ("POST /v1/leave", "200"),
    ]);
}
