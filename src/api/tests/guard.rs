//! Which hosts, pages and peers are let in.

use super::*;

#[test]
fn the_name_in_host_must_be_ours_on_tcp() {
    let rows = [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("n1", 200),
        ("N1:80", 200),
        ("cron.example:443", 200),
        ("Cron.Example", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.2", 421),
        ("[::2]", 421),
        ("none", 421),
    ];
    for (host, status) in rows {
        let text = format!("GET /v1/jobs\nHost: {host}");
        let mut world = World::new();
        world.talk(&[(&text, &status.to_string())]);
        world.peer.on_unix_socket = true;
        world.talk(&[(&text, "200")]);
    }
    let absolute = "GET http://evil.example/v1/jobs\nHost: localhost";
    World::new().talk(&[(absolute, "421 | ~ \"code\":\"misdirected\"")]);
}

#[test]
fn a_page_from_elsewhere_changes_nothing() {
    let rows = [
        ("Sec-Fetch-Site: same-origin", 201),
        ("Sec-Fetch-Site: none", 201),
        ("Sec-Fetch-Site: same-site", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-origin\nSec-Fetch-Site: same-origin", 403),
        ("Host: localhost:8080\nOrigin: http://localhost:8080", 201),
        ("Host: localhost:8080\nOrigin: HTTP://LOCALHOST:8080", 403),
        ("Host: localhost:8080\nOrigin: http://LOCALHOST:8080", 201),
        ("Host: localhost:8080\nOrigin: http://localhost:8081", 403),
        ("Host: localhost:8080\nOrigin: https://localhost:8080", 403),
        ("Host: localhost:8080\nOrigin: http://localhost", 403),
        ("Host: localhost\nOrigin: null", 403),
        ("Host: localhost\nOrigin: http://evil.example", 403),
        ("Host: localhost\nOrigin: http://localhost\nOrigin: http://localhost", 403),
        ("Referer: http://evil.example/", 201),
    ];
    for (fields, status) in rows {
        let text = put("a", "").replacen('\n', &format!("\n{fields}\n"), 1);
        World::new().talk(&[(&text, &status.to_string())]);
        // To look is not to change; what a page may read is the browser's to say.
        World::new().talk(&[(&format!("GET /v1/jobs\n{fields}"), "200 | = []")]);
    }
}

#[test]
fn an_old_client_leaves_by_get_and_a_browser_does_not() {
    World::new().talk(&[("GET /v1/leave", "200"), ("GET /v1/leave\nUser-Agent: x", "200")]);
    for field in [
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Storage-Access: none",
        "Origin: http://localhost",
        "Referer: http://localhost/",
        "Purpose: prefetch",
        "Sec-Purpose: prefetch",
    ] {
        let wanted = "405 | ~ use POST | Allow: POST, OPTIONS";
        World::new().talk(&[(&format!("GET /v1/leave\n{field}"), wanted)]);
    }
    World::new().talk(&[("POST /v1/leave\nSec-Fetch-Site: same-origin", "200")]);
}

#[test]
fn a_peer_without_a_role_is_told_what_to_do() {
    let mut world = World::new();
    world.peer = peer(None);
    world.talk(&[
        ("GET /v1/jobs", "401 | WWW-Authenticate: Bearer | ~ Unix socket"),
        ("GET /health", "200"),
        ("GET /v1/nothing", "404"),
    ]);
    world.peer.on_unix_socket = true;
    world.talk(&[("GET /v1/jobs", "403 | ~ \"code\":\"forbidden\""), ("GET /ready", "200")]);
    world.peer = peer(Some(Role::Run));
    world.talk(&[(&put("a", ""), "403 | ~ needs the role write; you have run")]);
}
