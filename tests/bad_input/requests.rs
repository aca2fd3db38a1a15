//! Requests that are framed well and make no sense, and those of a size at a limit.

use crate::common::{Agent, Connection};
use crate::{Calm, check_refusal, names};

/// Limits of the API, as its page names them.
const TARGET_MAX_BYTES: usize = 8 * 1024;
const HEADER_MAX_BYTES: usize = 16 * 1024;
const FIELDS_MAX: usize = 100;
const BODY_MAX_BYTES: usize = 1024 * 1024;

#[test]
fn a_malformed_or_invalid_job_is_refused_with_what_would_be_right() {
    let calm = Calm::start();
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"name":"x","schedule":"@daily","command":"true","odd":{open}{close}}}"#)
    };
    let with =
        |pair: &str| format!(r#"{{"name":"x","schedule":"@daily","command":"true",{pair}}}"#);
    let long_name = format!(r#""name":"{}","schedule":"@daily","command":"true""#, "x".repeat(129));
    let big = with(&format!(r#""owner":"o","note":"{}""#, "n".repeat(4097)));
    let huge = with(&format!(r#""env":{{"A":"{}"}}"#, "v".repeat(65 * 1024)));
    for (body, part) in [
        // No JSON, or not of the strict kind.
        ("", "nothing is there"),
        ("{", "line 1 column 1"),
        (r#"{"name":"x""#, "line 1 column"),
        (r#"{"name":"x"} x"#, "trailing characters"),
        (r#"{"name":"x",}"#, "trailing comma"),
        ("{'name':'x'}", "line 1 column 2"),
        ("name=x&schedule=@daily", "line 1 column"),
        ("[]", "a JSON object is needed, not"),
        ("\"x\"", "a JSON object is needed, not"),
        ("null", "a JSON object is needed, not"),
        ("\u{feff}{}", "byte order mark"),
        ("{\"name\":\"a\u{0}b\"}", "control character"),
        (r#"{"name":"\ud800"}"#, "line 1 column"),
        (
            r#"{"name":"x","schedule":"@daily","command":"true","name":"y"}"#,
            "\"name\" is there twice",
        ),
        (r#"{"name":"x","schedule":"@daily","command":"true","env":{"A":"1","A":"2"}}"#, "twice"),
        (&deep(200), "nesting"),
        // Something is missing.
        ("{}", "name: is missing"),
        (r#"{"schedule":"@daily","command":"true"}"#, "name: is missing"),
        (r#"{"name":"x","command":"true"}"#, "schedule: is missing"),
        (r#"{"name":"x","schedule":"@daily"}"#, "command: is missing"),
        (r#"{"name":null,"schedule":"@daily","command":"true"}"#, "name: is missing"),
        (r#"{"name":"","schedule":"@daily","command":"true"}"#, "name: "),
        // The schedule.
        (r#"{"name":"x","schedule":"0 0 99 1 1 *","command":"true"}"#, "(column 5)"),
        (r#"{"name":"x","schedule":"0 0 0 1 Jax *","command":"true"}"#, "(column 9)"),
        (r#"{"name":"x","schedule":"* * * *","command":"true"}"#, "five fields are expected"),
        (r#"{"name":"x","schedule":"@dayly","command":"true"}"#, "@daily"),
        (r#"{"name":"x","schedule":"","command":"true"}"#, "schedule: "),
        (r#"{"name":"x","schedule":"@every 1parsec","command":"true"}"#, "schedule: "),
        (r#"{"name":"x","schedule":"@at never","command":"true"}"#, "schedule: "),
        (&with(r#""timezone":"Mars/Base""#), "timezone: "),
        // Wrong types and values.
        (
            r#"{"name":7,"schedule":"@daily","command":"true"}"#,
            "name: must be a text, not a number",
        ),
        (r#"{"name":"x","schedule":["@daily"],"command":"true"}"#, "schedule: must be a text"),
        (r#"{"name":"x","schedule":"@daily","command":{"a":1}}"#, "command: must be a text"),
        (&with(r#""disabled":"perhaps""#), "disabled: must be true or false"),
        (&with(r#""retries":-1"#), "retries: "),
        (&with(r#""retries":1.5"#), "retries: "),
        (&with(r#""retries":1e300"#), "retries: "),
        (&with(r#""tags":[]"#), "tags: "),
        (&with(r#""tags":{"a":{}}"#), "tags"),
        (&with(r#""env":{"A=B":"1"}"#), "env"),
        (&with(r#""env":{"A":"\u0000"}"#), "env"),
        (&with(r#""timeout":"soon""#), "timeout: "),
        (&with(r#""timeout":"-1s""#), "timeout: "),
        (&with(r#""keep":10001"#), "keep: "),
        (&with(r#""concurrency":"maybe""#), "concurrency: "),
        (&with(r#""executor":"teleport""#), "executor: "),
        (&with(r#""cwd":"relative/path""#), "cwd: "),
        (&with(r#""parent_job":"nobody-has-this-name""#), "parent_job"),
        (r#"{"name":"x","schedule":"@daily","command":"echo 'open"}"#, "never closed"),
        (r#"{"name":"x","schedule":"@daily","command":"a\u0000b"}"#, "NUL"),
        // Names that would be paths, options or terminal codes.
        (&format!("{{{long_name}}}"), "name: "),
        (r#"{"name":"../x","schedule":"@daily","command":"true"}"#, "name: "),
        (r#"{"name":"a/b","schedule":"@daily","command":"true"}"#, "has '/' at column 2"),
        (r#"{"name":"-x","schedule":"@daily","command":"true"}"#, "name: "),
        (r#"{"name":".x","schedule":"@daily","command":"true"}"#, "name: "),
        (r#"{"name":"a\u001b[2J","schedule":"@daily","command":"true"}"#, "name: "),
        (r#"{"name":"a\nb","schedule":"@daily","command":"true"}"#, "name: "),
        (r#"{"name":"é","schedule":"@daily","command":"true"}"#, "name: "),
        // Too much.
        (&big, "note: "),
        (&huge, "bytes"),
    ] {
        let shown: String = body.chars().take(80).collect();
        for method in ["POST", "PATCH"] {
            let reply = calm.agent.tcp().request(method, "/v1/jobs", Some(body));
            check_refusal(&reply, 400, part, &format!("{method} {shown}"));
        }
    }
    calm.check("bad jobs");
}

#[test]
fn a_change_that_is_refused_leaves_the_job_as_it_was() {
    let calm = Calm::start();
    let tcp = calm.agent.tcp();
    for (method, path, body, status) in [
        ("PATCH", "/v1/jobs/quiet", r#"{"owner":"new","schedule":"nonsense"}"#, 400),
        ("PUT", "/v1/jobs/quiet", r#"{"owner":"new"}"#, 400),
        ("PUT", "/v1/jobs/quiet", r#"{"name":"another","schedule":"@daily","command":"x"}"#, 400),
        ("POST", "/v1/jobs", r#"{"name":"quiet","owner":"new","schedule":"@daily"}"#, 400),
        ("POST", "/v1/jobs/quiet/toggle", r#"{"note":7}"#, 400),
        ("POST", "/v1/jobs/quiet/disable", "[]", 400),
        ("POST", "/v1/jobs/nobody/run", "", 404),
        ("DELETE", "/v1/jobs/nobody", "", 404),
        ("DELETE", "/v1/jobs", "", 405),
        ("BREW", "/v1/jobs/quiet", "", 405),
    ] {
        let reply = tcp.request(method, path, Some(body));
        check_refusal(&reply, status, "", &format!("{method} {path} {body}"));
        if status == 405 {
            assert!(reply.header("allow").is_some_and(|all| all.contains("GET")), "{method}");
        }
    }
    for version in ["\"999\"", "999", "nonsense", ""] {
        for (method, body) in [("DELETE", None), ("PATCH", Some(r#"{"owner":"new"}"#))] {
            let headers = [("If-Match", version)];
            let reply = tcp.try_request(method, "/v1/jobs/quiet", &headers, body).expect("a reply");
            check_refusal(&reply, 412, "version", &format!("{method} If-Match: {version}"));
        }
    }
    calm.check("refused changes");
}

#[test]
fn a_query_that_makes_no_sense_is_refused() {
    let calm = Calm::start();
    for (target, part) in [
        ("/v1/jobs?_start=x", "_start must be a whole number"),
        ("/v1/jobs?_start=-1", "_start"),
        ("/v1/jobs?_start=2&_end=1", "_end must not be less"),
        ("/v1/jobs?_order=UP", "_order must be ASC or DESC"),
        ("/v1/jobs?_sort=colour", "_sort must be"),
        ("/v1/jobs?status=fine", "status must be"),
        ("/v1/jobs?disabled=2", "disabled must be"),
        ("/v1/jobs/quiet/next?count=1001", "at most 1000"),
        ("/v1/jobs/quiet/next?count=x", "count must be a whole number"),
        ("/v1/jobs/quiet/executions?state=odd", "state must be"),
        ("/v1/jobs/quiet/executions?output_size_limit=x", "output_size_limit"),
        ("/v1/schedule/next", "schedule is missing"),
        ("/v1/schedule/next?schedule=0%200%2099%201%201%20*", "(column 5)"),
        ("/v1/schedule/next?schedule=@daily&timezone=Mars/Base%1b[2J", "Mars/Base"),
        ("/v1/schedule/next?schedule=@daily&timezone=../../etc/passwd", "not known"),
        ("/v1/jobs?q=%zz", "query"),
        ("/v1/jobs?q=%ff", "query"),
        ("/v1/jobs?q=%00", "query"),
    ] {
        let reply = calm.agent.get(target);
        check_refusal(&reply, 400, part, target);
    }
    for target in
        ["/v1/jobs?_start=5&_end=9", "/v1/jobs?_end=99999999999999999999999", "/v1/jobs?odd=1"]
    {
        calm.agent.get(target).expect(200);
    }
    calm.agent.get("/v1/jobs/quiet/next?count=1000").expect(200);
    calm.check("bad queries");
}

#[test]
fn keys_that_mean_nothing_are_named_and_the_rest_is_taken() {
    let agent = Agent::start();
    let body = r#"{"name":"x","schedule":"@daily","command":"true","colour":1,
                   "a\r\nSet-Cookie: b\u0007é":{"deep":[1]}}"#;
    let reply = agent.post("/v1/jobs", body).expect(201);
    let ignored = reply.header("x-ignored-keys").expect("the header");
    assert!(ignored.contains("colour"), "{ignored}");
    assert!(ignored.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{ignored:?}");
    assert_eq!(reply.header("set-cookie"), None);
    assert_eq!(names(&agent.tcp()), ["x"]);
    let known = agent.post("/v1/jobs", r#"{"name":"y","schedule":"@daily","command":"true"}"#);
    assert_eq!(known.expect(201).header("x-ignored-keys"), None);
}

#[test]
fn thousands_of_unknown_keys_get_an_answer_that_a_client_can_read() {
    let agent = Agent::start();
    let odd: String = (0..20_000).map(|n| format!(r#","key-{n:010}":0"#)).collect();
    let body = format!(r#"{{"name":"x","schedule":"@daily","command":"true"{odd}}}"#);
    let reply = agent.post("/v1/jobs", body).expect(201);
    let ignored = reply.header("x-ignored-keys").expect("the header");
    // Proxies and clients refuse headers far beyond this.
    assert!(ignored.len() <= 4_096, "{} bytes", ignored.len());
    assert!(ignored.starts_with("key-0000000000, "), "{ignored}");
}

#[test]
fn each_size_is_refused_from_its_limit_on_and_not_before() {
    let calm = Calm::start();
    let target = |length: usize| {
        let start = "/v1/jobs/quiet?q=";
        let target = format!("{start}{}", "q".repeat(length - start.len()));
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    };
    let header = |length: usize| {
        let fixed = "Host: localhost\r\nConnection: close\r\nX: \r\n\r\n";
        let filler = "x".repeat(length - fixed.len());
        format!(
            "GET /v1/jobs/quiet HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             X: {filler}\r\n\r\n"
        )
    };
    let fields = |count: usize| {
        let more: String = (2..count).map(|n| format!("X-{n}: x\r\n")).collect();
        format!("GET /v1/jobs/quiet HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
    };
    let empty = r#"{"owner":""}"#;
    let body = |length: usize| {
        let padding = " ".repeat(length - empty.len());
        format!(
            "PATCH /v1/jobs/nobody HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{empty}{padding}"
        )
    };
    let chunks = |length: usize| {
        let padding = " ".repeat(length - empty.len());
        format!(
            "PATCH /v1/jobs/nobody HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n\
             {:x}\r\n{empty}\r\n{:x}\r\n{padding}\r\n0\r\n\r\n",
            empty.len(),
            padding.len(),
        )
    };
    for (what, request, status, part) in [
        ("a target", target(TARGET_MAX_BYTES), 200, ""),
        ("a long target", target(TARGET_MAX_BYTES + 1), 414, "at most 8192 bytes"),
        ("a header", header(HEADER_MAX_BYTES), 200, ""),
        ("a long header", header(HEADER_MAX_BYTES + 1), 431, "at most 16384 bytes"),
        ("fields", fields(FIELDS_MAX), 200, ""),
        ("many fields", fields(FIELDS_MAX + 1), 431, "at most 100 are allowed"),
        // What is missing of the job shows that the body was read as a whole.
        ("a body", body(BODY_MAX_BYTES), 400, "schedule: is missing"),
        ("a long body", body(BODY_MAX_BYTES + 1), 413, "at most 1048576 bytes"),
        ("a body in chunks", chunks(BODY_MAX_BYTES), 400, "schedule: is missing"),
        ("a long body in chunks", chunks(BODY_MAX_BYTES + 1), 413, "at most 1048576 bytes"),
    ] {
        let mut connection = calm.agent.tcp().connect().expect("it listens");
        // A refusal may come before all is sent.
        let _ = connection.send(request.as_bytes());
        let reply = connection.reply("GET").unwrap_or_else(|error| panic!("{what}: {error}"));
        match status {
            200 => drop(reply.expect(200)),
            status => check_refusal(&reply, status, part, what),
        }
        check_closed(&mut connection, what);
    }
    calm.check("sizes at the limits");
}

#[test]
fn a_length_that_promises_more_than_memory_is_refused_at_once() {
    let calm = Calm::start();
    for length in ["1048577", "18446744073709551615"] {
        let head = format!("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        let mut connection = calm.agent.tcp().connect().expect("it listens");
        connection.send(head.as_bytes()).expect("it is sent");
        check_refusal(&connection.reply("POST").expect("a reply"), 413, "too large", length);
    }
    for length in ["18446744073709551616", "-1", "+1", "0x10", "1,1", " ", "1 1"] {
        let head = format!("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        let mut connection = calm.agent.tcp().connect().expect("it listens");
        connection.send(head.as_bytes()).expect("it is sent");
        let reply = connection.reply("POST").expect("a reply");
        assert!(matches!(reply.status, 400 | 413), "{length:?} gives {}", reply.status);
    }
    calm.check("lengths that nobody can mean");
}

/// The agent has closed: there is nothing more to read.
#[track_caller]
fn check_closed(connection: &mut Connection, after: &str) {
    let rest = connection.rest().unwrap_or_else(|error| panic!("after {after}: {error}"));
    assert_eq!(rest, b"", "after {after}");
}
