//! Pages of others in the user's browser, and what a path could be taken for.

use crate::common::{Agent, Client, Reply};
use crate::{ask, jobs, routes, with_job};
use serde_json::json;

const NEW: &str = r#"{"name":"new","schedule":"@manually","command":"true"}"#;

#[test]
fn a_name_in_host_that_is_not_ours_is_misdirected() {
    let agent = Agent::start();
    let before = with_job(&agent);
    let Client::Tcp(address) = agent.tcp() else { panic!("it is TCP") };
    let port = address.port();
    for (host, ours) in [
        ("localhost".to_owned(), true),
        ("LocalHost:80".to_owned(), true),
        (format!("localhost:{port}"), true),
        (format!("127.0.0.1:{port}"), true),
        ("[::1]".to_owned(), true),
        (format!("[::1]:{port}"), true),
        ("evil.example".to_owned(), false),
        (format!("evil.example:{port}"), false),
        ("localhost.evil.example".to_owned(), false),
        ("127.0.0.1.evil.example".to_owned(), false),
        ("evil-localhost".to_owned(), false),
        ("localhost.".to_owned(), false),
        ("127.0.0.2".to_owned(), false),
        ("127.1".to_owned(), false),
        ("0.0.0.0".to_owned(), false),
        ("[::]".to_owned(), false),
        ("2130706433".to_owned(), false),
        (String::new(), false),
    ] {
        for (head, body) in [
            ("GET /v1/jobs", ""),
            ("GET /health", ""),
            ("GET /ready", ""),
            ("PATCH /v1/jobs/quiet", "{}"),
            ("DELETE /v1/jobs/no-such-job", ""),
        ] {
            let head = format!("{head} HTTP/1.1\r\nHost: {host}\r\n");
            let reply = ask(&agent.tcp(), &head, body);
            assert_eq!(reply.status != 421, ours, "{head}: {}", reply.text());
            if !ours {
                assert_eq!(reply.json()["code"], json!("misdirected"), "{head}");
            }
        }
    }
    // The authority of an absolute target is what counts.
    for (head, status) in [
        ("GET http://evil.example/v1 HTTP/1.1\r\nHost: localhost\r\n", 421),
        ("GET http://localhost/v1 HTTP/1.1\r\nHost: evil.example\r\n", 200),
        ("GET /v1 HTTP/1.0\r\n", 421),
        ("GET /v1 HTTP/1.0\r\nHost: localhost\r\n", 200),
        ("GET /v1 HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.example\r\n", 200),
        ("GET /v1 HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n", 421),
    ] {
        assert_eq!(ask(&agent.tcp(), head, "").status, status, "{head}");
    }
    // No browser comes over the socket.
    for head in ["GET /v1 HTTP/1.1\r\nHost: evil.example\r\n", "GET /v1 HTTP/1.0\r\n"] {
        ask(&agent.unix(), head, "").expect(200);
    }
    let patched = jobs(&agent);
    assert_eq!(patched[0]["name"], before[0]["name"]);
}

#[test]
fn a_change_comes_from_a_tool_or_from_our_own_page() {
    let agent = Agent::start();
    with_job(&agent);
    let Client::Tcp(address) = agent.tcp() else { panic!("it is TCP") };
    let (own, port) = (address.to_string(), address.port());
    for (fields, allowed) in [
        (String::new(), true),
        (format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin"), true),
        (format!("Origin: http://{own}"), true),
        ("Sec-Fetch-Site: same-origin".to_owned(), true),
        ("Sec-Fetch-Site: none".to_owned(), true),
        ("Sec-Fetch-Site: cross-site".to_owned(), false),
        ("Sec-Fetch-Site: same-site".to_owned(), false),
        ("Sec-Fetch-Site: Same-Origin".to_owned(), false),
        ("Sec-Fetch-Site: odd".to_owned(), false),
        ("Sec-Fetch-Site:".to_owned(), false),
        ("Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site".to_owned(), false),
        ("Origin: null".to_owned(), false),
        ("Origin:".to_owned(), false),
        ("Origin: http://evil.example".to_owned(), false),
        (format!("Origin: https://{own}"), false),
        ("Origin: http://127.0.0.1".to_owned(), false),
        (format!("Origin: http://127.0.0.1:{}", port ^ 1), false),
        (format!("Origin: http://localhost:{port}"), false),
        (format!("Origin: http://{own}/"), false),
        (format!("Origin: http://{own}.evil.example"), false),
        (format!("Origin: http://{own}\r\nOrigin: http://evil.example"), false),
        (format!("Origin: http://{own}, http://evil.example"), false),
        ("Origin: http://evil.example\r\nSec-Fetch-Site: same-origin".to_owned(), false),
        (format!("Origin: http://{own}\r\nSec-Fetch-Site: cross-site"), false),
    ] {
        let fields = if fields.is_empty() { fields } else { format!("{fields}\r\n") };
        let before = jobs(&agent);
        for (head, body) in [
            ("POST /v1/jobs", NEW),
            ("PUT /v1/jobs/new", NEW),
            ("PATCH /v1/jobs/new", "{}"),
            ("POST /v1/jobs/new/toggle", ""),
            ("DELETE /v1/jobs/new", ""),
        ] {
            let head = format!("{head} HTTP/1.1\r\nHost: {own}\r\n{fields}");
            let reply = ask(&agent.tcp(), &head, body);
            match allowed {
                true => assert!(matches!(reply.status, 200 | 201), "{head}: {}", reply.text()),
                false => {
                    assert_eq!(reply.status, 403, "{head}");
                    assert_eq!(reply.json()["code"], json!("cross_site"), "{head}");
                }
            }
            no_cors(&reply);
        }
        assert_eq!(jobs(&agent), before, "{fields}");
        // Reading is safe: without CORS the page does not see the answer.
        let head = format!("GET /v1/jobs HTTP/1.1\r\nHost: {own}\r\n{fields}");
        let reply = ask(&agent.tcp(), &head, "");
        assert_eq!(reply.status, 200, "{head}");
        no_cors(&reply);
    }
    let preflight = format!(
        "OPTIONS /v1/jobs HTTP/1.1\r\nHost: {own}\r\nOrigin: http://evil.example\r\n\
         Access-Control-Request-Method: POST\r\nAccess-Control-Request-Private-Network: true\r\n"
    );
    no_cors(&ask(&agent.tcp(), &preflight, ""));
}

#[track_caller]
fn no_cors(reply: &Reply) {
    let cors = reply.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
    assert_eq!(cors, None);
}

#[test]
fn no_browser_makes_a_node_leave_by_looking() {
    let agent = Agent::start();
    let before = with_job(&agent);
    for fields in [
        "Sec-Fetch-Site: none",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Mode: navigate",
        "Sec-Fetch-Dest: image",
        "Sec-Fetch-User: ?1",
        "Origin: http://localhost",
        "Origin: http://evil.example",
        "Referer: http://localhost/",
        "Referer:",
        "Purpose: prefetch",
    ] {
        for path in ["/v1/leave", "/v1/leave/", "/v1/%6ceave"] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
            let reply = ask(&agent.tcp(), &head, "").expect(405);
            assert_eq!(reply.json()["error"], json!("use POST"), "{fields}");
            assert!(reply.header("allow").is_some_and(|allow| allow.contains("POST")));
        }
    }
    for method in ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"] {
        let reply = agent.tcp().request(method, "/v1/leave", None);
        let wanted = if method == "OPTIONS" { 200 } else { 405 };
        assert_eq!(reply.status, wanted, "{method}");
    }
    assert_eq!(jobs(&agent), before);
    agent.get("/ready").expect(200);
}

#[test]
fn head_and_options_never_change_anything() {
    let agent = Agent::start();
    let before = with_job(&agent);
    for route in routes() {
        for (method, body) in [("HEAD", None), ("OPTIONS", None), ("OPTIONS", Some(NEW))] {
            let path = route.path_for("quiet");
            let reply = agent.tcp().request(method, &path, body);
            assert!(
                matches!(reply.status, 200 | 400 | 404 | 405 | 501),
                "{method} {path}: {}",
                reply.status
            );
            if method == "HEAD" {
                assert_eq!(reply.text(), "", "{method} {path}");
            } else {
                let allow = reply.header("allow").unwrap_or_default();
                assert!(allow.split(", ").any(|one| one == route.method), "{path}: {allow}");
                assert!(!allow.split(", ").any(|one| one.is_empty()), "{path}: {allow}");
            }
        }
    }
    ask(&agent.tcp(), "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n", "");
    assert_eq!(jobs(&agent), before);
    let runs = agent.get("/v1/jobs/quiet/executions?state=all").expect(200);
    assert_eq!(runs.json(), json!([]));
    agent.get("/ready").expect(200);
}

#[test]
fn a_path_is_decoded_once_and_matched_exactly() {
    let agent = Agent::start();
    let before = with_job(&agent);
    for (path, status) in [
        ("/v1/jobs/quiet", 200),
        ("/v1/jobs/quiet/", 200),
        ("/v1/jobs/%71uiet", 200),
        ("/%76%31/jobs/quiet", 200),
        ("/v1/jobs/quiet?x=/../..", 200),
        // An escaped slash is a part of a name, and no name has one.
        ("/v1/jobs/a%2fb", 404),
        ("/v1%2fjobs%2fquiet", 404),
        ("/v1/jobs%2fquiet", 404),
        ("/v1/jobs/quiet%2fexecutions", 404),
        ("/v1/jobs/quiet%3fx", 404),
        ("/v1/jobs/%2571uiet", 404),
        ("/v1/jobs/QUIET", 404),
        ("/V1/jobs/quiet", 404),
        ("/v1/JOBS/quiet", 404),
        ("/v1/jobs/quiet;x=1", 404),
        ("/v1/jobs/quiet%20", 404),
        ("/v1/jobs/quiet%0d%0aX-Injected:%20yes", 404),
        ("/v1/jobs/%1b%5b2J", 404),
        ("/v1/jobs/*", 404),
        ("//v1/jobs/quiet", 404),
        ("/v1//jobs/quiet", 404),
        ("/v1/jobs//quiet", 404),
        ("/v1/jobs/quiet//", 404),
        ("//", 404),
        ("/v1/jobs/..", 400),
        ("/v1/jobs/%2e%2e", 400),
        ("/v1/jobs/%2E%2e/jobs/quiet", 400),
        ("/v1/./jobs/quiet", 400),
        ("/v1/x/../jobs/quiet", 400),
        ("/v1/jobs/quiet%00", 400),
        ("/v1/jobs/%ff", 400),
        ("/v1/jobs/%c0%ae%c0%ae", 400),
        ("/v1/jobs/%", 400),
        ("/v1/jobs/%7", 400),
        ("/v1/jobs/%zz", 400),
        ("/v1/jobs/qu\u{7f}iet", 400),
        ("/v1/jobs\\quiet", 404),
    ] {
        let head = |method: &str| format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        let reply = ask(&agent.tcp(), &head("GET"), "");
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert_eq!(reply.header("x-injected"), None, "{path}");
        assert!(!reply.text().contains(|c: char| c.is_control()), "{path}: {:?}", reply.text());
        if status != 200 {
            for method in ["DELETE", "POST", "PUT", "PATCH"] {
                let reply = ask(&agent.tcp(), &head(method), "{}");
                assert!((400..500).contains(&reply.status), "{method} {path}: {}", reply.status);
            }
        }
    }
    // A change by another way to write the name changes that job and makes no second one.
    agent.tcp().patch("/v1/jobs/%71uiet/", "{}").expect(201);
    let after = jobs(&agent);
    assert_eq!(after.as_array().map(Vec::len), Some(1));
    assert_eq!(after[0]["name"], before[0]["name"]);
}
