//! Which path takes which method, and from whom.

use super::*;

/// Every route: a request for it, the role it needs, its status, and the methods of its path.
/// The job `a` is there, with the execution `4-n1-1`.
const ROUTES: &[(&str, &str, u16, &str)] = &[
    ("GET /v1", "read", 200, "GET, HEAD"),
    ("GET /v1/jobs", "read", 200, "GET, HEAD, POST, PATCH"),
    (
        "POST /v1/jobs\n\n{\"name\":\"b\",\"schedule\":\"@manually\",\"command\":\"x\"}",
        "write",
        201,
        "",
    ),
    ("PATCH /v1/jobs\n\n{\"name\":\"a\"}", "write", 201, ""),
    ("GET /v1/jobs/a", "read", 200, "GET, HEAD, PUT, PATCH, DELETE, POST"),
    ("PUT /v1/jobs/a\n\n{\"schedule\":\"@manually\",\"command\":\"x\"}", "write", 201, ""),
    ("PATCH /v1/jobs/a\n\n{}", "write", 201, ""),
    ("DELETE /v1/jobs/a", "write", 200, ""),
    ("POST /v1/jobs/a", "run", 200, ""),
    ("POST /v1/jobs/a/run", "run", 200, "POST"),
    ("POST /v1/jobs/a/toggle", "write", 200, "POST"),
    ("POST /v1/jobs/a/enable", "write", 200, "POST"),
    ("POST /v1/jobs/a/disable", "write", 200, "POST"),
    ("GET /v1/jobs/a/next", "read", 200, "GET, HEAD"),
    ("GET /v1/schedule/next?schedule=@daily", "read", 200, "GET, HEAD"),
    ("GET /v1/jobs/a/executions", "read", 200, "GET, HEAD, DELETE"),
    ("GET /v1/executions/a", "read", 200, "GET, HEAD"),
    ("GET /v1/jobs/a/executions/4-n1-1", "read", 200, "GET, HEAD"),
    ("DELETE /v1/jobs/a/executions", "write", 501, ""),
    ("GET /v1/jobs/a/executions/4-n1-1/output", "read", 501, "GET, HEAD"),
    ("POST /v1/jobs/a/executions/4-n1-1/kill", "run", 501, "POST"),
    ("POST /v1/jobs/a/executions/4-n1-1/forget", "write", 501, "POST"),
    ("GET /v1/busy", "read", 200, "GET, HEAD"),
    ("GET /v1/members", "read", 200, "GET, HEAD"),
    ("GET /v1/leader", "read", 200, "GET, HEAD"),
    ("GET /v1/isleader", "read", 200, "GET, HEAD"),
    ("GET /v1/leave", "admin", 200, "GET, POST"),
    ("POST /v1/leave", "admin", 200, ""),
    ("DELETE /v1/members/n2", "admin", 501, "DELETE"),
    ("POST /v1/members/n2/drain", "admin", 501, "POST"),
    ("POST /v1/members/n2/undrain", "admin", 501, "POST"),
    ("GET /v1/pause", "read", 501, "GET, HEAD, POST"),
    ("POST /v1/pause", "write", 501, ""),
    ("POST /v1/unpause", "write", 501, "POST"),
    ("POST /v1/restore\n\n[]", "admin", 200, "POST"),
    ("GET /v1/backup", "admin", 200, "GET, HEAD"),
    ("GET /v1/audit", "read", 501, "GET, HEAD"),
    ("GET /v1/voters", "read", 200, "GET, HEAD, POST"),
    ("POST /v1/voters", "admin", 400, ""),
    ("DELETE /v1/voters/n2", "admin", 404, "DELETE"),
    ("POST /v1/voters/replace", "admin", 400, "DELETE, POST"),
    ("POST /v1/voters/transfer", "admin", 409, ""),
    ("GET /v1/openapi.json", "read", 501, "GET, HEAD"),
    ("GET /metrics", "read", 501, "GET, HEAD"),
    ("GET /health", "none", 200, "GET, HEAD"),
    ("GET /ready", "none", 200, "GET, HEAD"),
];

/// The job `a` (3) with the fire 4, open on n1.
fn world() -> World {
    let mut world = World::new();
    world.talk(&[(&put("a", ""), "201"), ("POST /v1/jobs/a/run", "200 | X-Execution-Group: 4")]);
    world
}

#[test]
fn every_route_answers_and_asks_for_its_role() {
    assert_eq!(ROUTES.len(), super::super::routes::count(), "a route is missing in this test");
    for (text, role, status, _) in ROUTES {
        world().talk(&[(text, &status.to_string())]);
        let all = ["none", "read", "run", "write", "admin"];
        for (has, name) in all.iter().enumerate() {
            let mut world = world();
            world.peer = peer(Role::from_name(name));
            let needed = all.iter().position(|each| each == role).unwrap();
            let wanted = match (has >= needed, has) {
                (true, _) => *status,
                (false, 0) => 401,
                (false, _) => 403,
            };
            world.talk(&[(text, &wanted.to_string())]);
        }
    }
}

#[test]
fn a_slash_at_the_end_changes_nothing() {
    for (text, _, status, _) in ROUTES {
        let mut world = world();
        let (method, rest) = text.split_once(' ').unwrap();
        let end = rest.find(['?', '\n']).unwrap_or(rest.len());
        let slashed = format!("{method} {}/{}", &rest[..end], &rest[end..]);
        assert_eq!(world.ask(&slashed).status, *status, "{slashed}");
    }
}

#[test]
fn other_methods_of_a_path_are_told_which_it_takes() {
    let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "PROPFIND"];
    let mut seen = 0;
    for (text, _, _, methods) in ROUTES.iter().filter(|row| !row.3.is_empty()) {
        let target = text.split([' ', '\n']).nth(1).unwrap();
        let allow = format!("{methods}, OPTIONS");
        for method in all.iter().filter(|method| !methods.split(", ").any(|own| own == **method)) {
            let wanted = format!("405 | Allow: {allow} | ~ not {method}");
            world().talk(&[(&format!("{method} {target}"), &wanted)]);
            seen += 1;
        }
        let wanted = format!("200 | Allow: {allow} | ~ OPTIONS");
        world().talk(&[(&format!("OPTIONS {target}"), &wanted)]);
    }
    assert!(seen > 100, "{seen}");
    let every = "200 | Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    world().talk(&[("OPTIONS *", every)]);
}

#[test]
fn neither_head_nor_options_changes_anything() {
    for (text, _, status, _) in ROUTES {
        let mut world = world();
        let before = world.state.applied();
        let target = text.split([' ', '\n']).nth(1).unwrap();
        let head = world.ask(&format!("HEAD {target}"));
        if text.starts_with("GET") && !target.ends_with("leave") {
            let get = world.ask(&format!("GET {target}"));
            assert_eq!((head.status, &head.headers), (get.status, &get.headers), "{text}");
            assert_eq!(head.status, *status);
        }
        world.ask(&format!("OPTIONS {target}"));
        assert_eq!(world.state.applied(), before, "{text}");
    }
    world().talk(&[("HEAD /v1/leave", "405"), ("HEAD /v1/jobs/a/run", "405")]);
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    world().talk(&[
        ("GET /", "404"),
        ("GET /v2", "404 | ~ \"code\":\"not_found\""),
        ("GET /v1/job", "404"),
        ("GET //v1/jobs", "404"),
        ("GET /v1//jobs", "404"),
        ("GET /V1/jobs", "404"),
        ("GET /v1/jobs//", "404"),
        ("GET /v1/jobs/A", "404 | ~ no job named \\\"A\\\""),
        ("GET /v1/jobs/%61", "200 | ~ \"name\":\"a\""),
        ("GET /v1/jobs/%2561", "404 | ~ %61"),
        ("GET /v1/jobs/a%2Fb", "404 | ~ a/b"),
        ("GET /v1/jobs/a%0d%0ab", "404 | ~ a\\\\r\\\\nb"),
        ("GET /v1/jobs/..", "400 | ~ '..'"),
        ("GET /v1/jobs/%2e%2e", "400 | ~ '..'"),
        ("GET /v1/jobs/%ff", "400 | ~ UTF-8"),
        ("GET /v1/jobs/%zz", "400 | ~ hexadecimal"),
        ("GET /v1/jobs/a?pretty", "200 | ~ \n    \"name\": \"a\""),
        ("GET /v1/jobs/none?pretty=false", "404 | ~ {\n    \"error\": \"there"),
        ("DELETE /v1/jobs/none", "404"),
        ("POST /v1/jobs/none", "404"),
        ("POST /v1/jobs/none/run", "404"),
        ("POST /v1/jobs/none/toggle", "404"),
        ("GET /v1/jobs/none/next", "404"),
        ("GET /v1/jobs/none/executions", "404"),
        ("GET /v1/executions/none", "404"),
        ("GET /v1/jobs/none/executions/4-n1-1", "404"),
        ("GET /v1/jobs/a/executions/5-n1-1", "404 | ~ no execution of this id"),
        ("GET /v1/jobs/a/executions/4-n1-2", "404"),
    ]);
    let long = format!("GET /v1/jobs/{}", "x".repeat(4_000));
    let body = world().body(&long, 404);
    assert!(body["error"].as_str().unwrap().len() < 200, "a long name is cut in the sentence");
}

#[test]
fn without_a_leader_reads_are_answered_and_changes_refused() {
    let mut world = world();
    world.established = false;
    world.not_ready = vec!["no_leader", "clock"];
    world.talk(&[
        ("GET /v1/jobs/a", "200"),
        ("GET /v1/isleader", "404 | = \"I am a follower\""),
        ("GET /v1/leader", "503 | ~ \"code\":\"no_leader\""),
        ("GET /ready", "503 | Retry-After: 1 | ~ \"reasons\":[\"no_leader\",\"clock\"]"),
        ("GET /health", "200 | = {\"status\":\"healthy\"}"),
        (&put("b", ""), "503 | ~ no_leader"),
        ("PATCH /v1/jobs/a\n\n{}", "503"),
        ("DELETE /v1/jobs/a", "503"),
        ("POST /v1/jobs/a", "503"),
        ("POST /v1/jobs/a/toggle", "503"),
        ("POST /v1/leave", "503"),
    ]);
    world.established = true;
    world.talk(&[("GET /v1/isleader", "200 | = \"I am a leader\"")]);
}

#[test]
fn status_members_and_leader_are_as_the_old_clients_read_them() {
    let mut world = world();
    world.apply(Record::Node(Member { state: MemberState::Left, ..member(2, "n2") }));
    let status = world.body("GET /v1", 200);
    assert_eq!(status["agent"]["name"], "n1");
    assert_eq!(status["agent"]["jobs"], "1");
    assert_eq!(status["agent"]["leader"], "n1");
    assert_eq!(status["tags"]["role"], "web");
    for part in ["agent", "serf", "tags"] {
        let leaves = status[part].as_object().unwrap();
        assert!(leaves.values().all(serde_json::Value::is_string), "{part}");
    }
    let members = world.body("GET /v1/members", 200);
    let seed = ["Name", "Addr", "Port", "Tags", "Status", "ProtocolMin", "ProtocolMax"];
    let more = ["ProtocolCur", "DelegateMin", "DelegateMax", "DelegateCur", "id", "statusText"];
    for key in seed.iter().chain(&more) {
        assert!(members[0].get(key).is_some(), "{key}");
    }
    assert_eq!((&members[0]["Status"], &members[0]["statusText"]), (&1.into(), &"alive".into()));
    assert_eq!((&members[1]["Status"], &members[1]["role"]), (&3.into(), &"server".into()));
    let leader = world.body("GET /v1/leader", 200);
    assert_eq!((&leader["Name"], &leader["epoch"]), (&"n1".into(), &1.into()));
    world.talk(&[
        ("GET /v1/members?_start=1&_end=2", "200 | X-Total-Count: 2 | ~ n2 | ! \"n1\""),
        ("GET /v1/members?_sort=Name&_order=DESC&_end=1", "200 | ~ n2 | ! \"n1\""),
        ("GET /v1/members?_sort=color", "400 | ~ _sort must be"),
        ("GET /v1/leave", "200 | ~ \"statusText\":\"alive\""),
    ]);
}
