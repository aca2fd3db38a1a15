//! What is a request, what is not, and what is neither to anyone.

use super::*;

/// The status and code with which `input` is refused, in every segmentation.
#[track_caller]
fn refusal_of(input: &[u8]) -> (u16, String) {
    let (requests, answers) = converse(input);
    let shown = String::from_utf8_lossy(input);
    assert_eq!(requests, [], "accepted: {shown}");
    assert_eq!(answers.len(), 1, "not refused: {shown}");
    let object: serde_json::Value = serde_json::from_slice(&answers[0].body).unwrap();
    (answers[0].status, object["code"].as_str().unwrap().to_owned())
}

/// The one request that `input` is, in every segmentation.
#[track_caller]
fn accepted(input: &[u8]) -> Request {
    let (mut requests, answers) = converse(input);
    let shown = String::from_utf8_lossy(input);
    assert_eq!(requests.len(), 1, "{:?} for {shown}", answers);
    requests.remove(0)
}

#[test]
fn a_request_is_read_in_full() {
    let request = accepted(
        b"PATCH /v1/jobs/a%20b/?pretty&q=x+y HTTP/1.1\r\nHost: n1:8080\r\nAccept: a\r\n\
          accept:\tb  \r\nX-Empty:\r\nContent-Length: 5\r\nContent-Encoding: Identity\r\n\r\nhello",
    );
    assert_eq!(request.method, Method::Patch);
    assert_eq!(request.path, "/v1/jobs/a%20b/");
    assert_eq!(request.segments().unwrap(), ["v1", "jobs", "a b"]);
    assert_eq!(request.query_value("q"), Some("x y"));
    assert_eq!(request.query_value("pretty"), Some(""));
    assert_eq!(request.query_value("Pretty"), None);
    assert_eq!(request.headers.all("ACCEPT").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(request.headers.get("x-empty"), Some(""));
    assert_eq!(request.headers.get("x-none"), None);
    assert_eq!(request.host.as_deref(), Some("n1:8080"));
    assert_eq!(request.body, b"hello");
    assert!(!request.version_10);
}

#[test]
fn methods_reach_the_caller_as_they_are() {
    for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "TRACE", "X!"] {
        let request = accepted(format!("{name} /x HTTP/1.1\r\nHost: n\r\n\r\n").as_bytes());
        assert_eq!(request.method.name(), name);
        assert_eq!(
            matches!(request.method, Method::Other(_)),
            matches!(name, "get" | "TRACE" | "X!")
        );
    }
    let request = accepted(b"OPTIONS * HTTP/1.1\r\nHost: n\r\n\r\n");
    assert_eq!(request.path, "*");
}

#[test]
fn an_absolute_targets_authority_replaces_host() {
    for (target, version, host, wanted) in [
        ("/x", "1.1", "Host: a\r\n", Some("a")),
        ("http://b:1/x", "1.1", "Host: a\r\n", Some("b:1")),
        ("http://b/x", "1.0", "", Some("b")),
        ("/x", "1.0", "", None),
        ("/x", "1.0", "Host: a\r\n", Some("a")),
        ("/x", "1.1", "Host:\r\n", Some("")),
    ] {
        let input = format!("GET {target} HTTP/{version}\r\n{host}\r\n");
        let request = accepted(input.as_bytes());
        assert_eq!(request.host.as_deref(), wanted, "{input}");
        assert_eq!(request.path, "/x");
    }
}

#[test]
fn bodies_end_where_their_framing_says() {
    for (input, body) in [
        (post(&[], ""), ""),
        (post(&["Content-Length: 0"], ""), ""),
        (post(&["Content-Length: 003"], "abc"), "abc"),
        (post(&["Content-Length:\t3 "], "abc"), "abc"),
        (chunked("0\r\n\r\n"), ""),
        (chunked("3\r\nabc\r\n0\r\n\r\n"), "abc"),
        (chunked("3\r\na\r\n\r\n00A\r\n0123456789\r\n000\r\n\r\n"), "a\r\n0123456789"),
        (chunked("3;x=1;y=\"; z\"\r\nabc\r\n0;last\r\n\r\n"), "abc"),
        (chunked("3 \t;x\r\nabc\r\n0\r\n\r\n"), "abc"),
        (chunked("1\r\na\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n"), "a"),
        (post(&["transfer-encoding:  CHUNKED "], "1\r\na\r\n0\r\n\r\n"), "a"),
    ] {
        let request = accepted(&input);
        assert_eq!(String::from_utf8_lossy(&request.body), body);
        assert_eq!(request.headers.get("x"), None, "trailers are dropped");
    }
}

#[test]
fn every_ambiguity_has_one_answer() {
    let mut rows = ambiguous_lines();
    rows.extend(ambiguous_versions());
    rows.extend(ambiguous_fields());
    rows.extend(ambiguous_lengths());
    rows.extend(ambiguous_chunks());
    for (input, status) in rows {
        let (got, code) = refusal_of(&input);
        let shown = String::from_utf8_lossy(&input);
        assert_eq!(got, status, "{shown}");
        let wanted = match status {
            400 => "bad_request",
            413 => "body_too_large",
            415 => "unsupported_media_type",
            417 => "expectation_failed",
            501 => "not_implemented",
            505 => "version_not_supported",
            other => panic!("{other}"),
        };
        assert_eq!(code, wanted, "{shown}");
    }
}

type Rows = Vec<(Vec<u8>, u16)>;

fn line(line: &str) -> Vec<u8> {
    format!("{line}\r\nHost: n1\r\n\r\n").into_bytes()
}

fn field(field: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: n1\r\n{field}\r\n\r\n").into_bytes()
}

fn raw(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn ambiguous_lines() -> Rows {
    vec![
        (line("GET  / HTTP/1.1"), 400),
        (line("GET /  HTTP/1.1"), 400),
        (line("GET / HTTP/1.1 "), 400),
        (line(" GET / HTTP/1.1"), 400),
        (line("GET\t/\tHTTP/1.1"), 400),
        (line("GET /\tHTTP/1.1"), 400),
        (line("GET / x HTTP/1.1"), 400),
        (line("G(T / HTTP/1.1"), 400),
        (line("G\u{e9}T / HTTP/1.1"), 400),
        (line("GET /"), 400),
        (line("GET"), 400),
        (line("GET /\u{e9} HTTP/1.1"), 400),
        (line("GET /\0 HTTP/1.1"), 400),
        (line("GET /\x7f HTTP/1.1"), 400),
        (line("GET /a#b HTTP/1.1"), 400),
        (line("GET * HTTP/1.1"), 400),
        (line("GET v1 HTTP/1.1"), 400),
        (line("GET n1:80 HTTP/1.1"), 400),
        (line("GET http://u@n1/ HTTP/1.1"), 400),
        (line("GET /?a=%g0 HTTP/1.1"), 400),
        (line("GET /?a=%ff HTTP/1.1"), 400),
        (line("GET /?a=%00 HTTP/1.1"), 400),
        (line("CONNECT n1:80 HTTP/1.1"), 501),
        (raw("\r\n\r\nGET / HTTP/1.1\r\nHost: n1\r\n\r\n"), 400),
        (raw("\nGET / HTTP/1.1\r\nHost: n1\r\n\r\n"), 400),
        (raw("\rGET / HTTP/1.1\r\nHost: n1\r\n\r\n"), 400),
        (raw("GET / HTTP/1.1\nHost: n1\r\n\r\n"), 400),
        (raw("GET / HTTP/1.1\rHost: n1\r\n\r\n"), 400),
        (raw("GET / HTTP/1.1\r\r\nHost: n1\r\n\r\n"), 400),
    ]
}

fn ambiguous_versions() -> Rows {
    vec![
        (line("GET / HTTP/2.0"), 505),
        (line("GET / HTTP/1.2"), 505),
        (line("GET / HTTP/0.9"), 505),
        (line("GET / HTTP/01.1"), 505),
        (line("GET / HTTP/1.10"), 505),
        (raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505),
        (line("GET / http/1.1"), 400),
        (line("GET / HTTP/1.x"), 400),
        (line("GET / HTTP/"), 400),
        (line("GET / HTTPS/1.1"), 400),
        (line("GET / HTTP/1.1111111111111"), 400),
    ]
}

fn ambiguous_fields() -> Rows {
    vec![
        (field("A : b"), 400),
        (field("A\t: b"), 400),
        (field(": b"), 400),
        (field("A"), 400),
        (field("A b: c"), 400),
        (field("A\u{e9}: b"), 400),
        (field("A(: b"), 400),
        (field("A\0: b"), 400),
        (field("A: \0"), 400),
        (field("A: \x01"), 400),
        (field("A: \x7f"), 400),
        (field("A: \x0b"), 400),
        (field("A: b\r\n c"), 400),
        (field("A: b\r\n\tc"), 400),
        (field("A: b\r\n :c"), 400),
        (field("A: b\nB: c"), 400),
        (field("A: b\rB: c"), 400),
        (field("A: b\r\r\nB: c"), 400),
        (raw("GET / HTTP/1.1\r\n Host: n1\r\n\r\n"), 400),
        (raw("GET / HTTP/1.1\r\nHost: n1\n\n"), 400),
        (raw("GET / HTTP/1.1\r\nHost: n1\r\n\n"), 400),
        (raw("GET / HTTP/1.1\r\nHost: n1\r\n\rX"), 400),
        (raw("GET / HTTP/1.1\r\n\r\n"), 400),
        (raw("GET http://n1/ HTTP/1.1\r\n\r\n"), 400),
        (field("Host: n1"), 400),
        (field("host: n2"), 400),
        (raw("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400),
        (raw("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400),
        (raw("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), 400),
        (raw("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400),
        (raw("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), 400),
    ]
}

fn ambiguous_lengths() -> Rows {
    vec![
        (post(&["Content-Length: 3", "Content-Length: 3"], "abc"), 400),
        (post(&["Content-Length: 3", "Content-Length: 4"], "abc"), 400),
        (post(&["Content-Length: 3, 3"], "abc"), 400),
        (post(&["Content-Length: +3"], "abc"), 400),
        (post(&["Content-Length: -3"], "abc"), 400),
        (post(&["Content-Length: 3 4"], "abc"), 400),
        (post(&["Content-Length: 0x3"], "abc"), 400),
        (post(&["Content-Length: 3.0"], "abc"), 400),
        (post(&["Content-Length: \u{663}"], "abc"), 400),
        (post(&["Content-Length:"], "abc"), 400),
        (post(&["Content-Length: 99999999999999999999999"], "abc"), 413),
        (post(&["Content-Length: 3", "Transfer-Encoding: chunked"], "0\r\n\r\n"), 400),
        (post(&["Transfer-Encoding: chunked", "Content-Length: 3"], "0\r\n\r\n"), 400),
        (post(&["Transfer-Encoding: x", "Content-Length: x"], "0\r\n\r\n"), 400),
        (post(&["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n"), 501),
        (post(&["Transfer-Encoding: chunked, gzip"], "0\r\n\r\n"), 501),
        (post(&["Transfer-Encoding: chunked, chunked"], "0\r\n\r\n"), 501),
        (post(&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "0\r\n\r\n"), 501),
        (post(&["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], "0\r\n\r\n"), 501),
        (post(&["Transfer-Encoding: identity"], ""), 501),
        (post(&["Transfer-Encoding: xchunked"], "0\r\n\r\n"), 501),
        (post(&["Transfer-Encoding: \"chunked\""], "0\r\n\r\n"), 501),
        (post(&["Transfer-Encoding: chunked;x"], "0\r\n\r\n"), 501),
        (post(&["Transfer-Encoding:"], "0\r\n\r\n"), 501),
        (raw("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (post(&["Content-Encoding: gzip", "Content-Length: 1"], "a"), 415),
        (post(&["Content-Encoding: identity", "Content-Encoding: br"], ""), 415),
        (post(&["Content-Encoding: identity, gzip"], ""), 415),
        (post(&["Expect: 200-ok", "Content-Length: 1"], "a"), 417),
        (post(&["Expect: 100-continue, x", "Content-Length: 1"], "a"), 417),
    ]
}

fn ambiguous_chunks() -> Rows {
    vec![
        (chunked("\r\n"), 400),
        (chunked(";x\r\n"), 400),
        (chunked(" 1\r\na\r\n0\r\n\r\n"), 400),
        (chunked("1 \r\na\r\n0\r\n\r\n"), 400),
        (chunked("0x1\r\na\r\n0\r\n\r\n"), 400),
        (chunked("+1\r\na\r\n0\r\n\r\n"), 400),
        (chunked("-1\r\na\r\n0\r\n\r\n"), 400),
        (chunked("g\r\n"), 400),
        (chunked("00000000000000001\r\na\r\n0\r\n\r\n"), 400),
        (chunked("1\na\r\n0\r\n\r\n"), 400),
        (chunked("1\ra\r\n0\r\n\r\n"), 400),
        (chunked("1\r\nab\r\n0\r\n\r\n"), 400),
        (chunked("1\r\na\n0\r\n\r\n"), 400),
        (chunked("1\r\na\rb0\r\n\r\n"), 400),
        (chunked("1;a\nb\r\na\r\n0\r\n\r\n"), 400),
        (chunked("1;\0\r\na\r\n0\r\n\r\n"), 400),
        (chunked("1;a\rb\r\na\r\n0\r\n\r\n"), 400),
        (chunked("0\r\nA : b\r\n\r\n"), 400),
        (chunked("0\r\n A: b\r\n\r\n"), 400),
        (chunked("0\r\nA: b\n\r\n"), 400),
        (chunked("0\r\n\n"), 400),
        (chunked("0\r\nA: b\r\n c\r\n\r\n"), 400),
        (chunked("0\r\nA: \x01\r\n\r\n"), 400),
        (chunked("1;\x01\r\na\r\n0\r\n\r\n"), 400),
        (chunked("fffffffffffffffff\r\n"), 413),
        (chunked("ffffffffffffffff\r\n"), 413),
    ]
}

#[test]
fn no_request_is_smuggled_behind_another() {
    // Each was read in two ways by some pair of real proxies and servers.
    let inner = "GET /evil HTTP/1.1\r\nHost: n1\r\n\r\n";
    let te = "Transfer-Encoding";
    let mut inputs = vec![
        chunked(&format!("0\r\n\r{inner}")),
        chunked(&format!("0\n\r\n{inner}")),
        chunked(&format!("5\r\n0\r\n\r\n{inner}\r\n0\r\n\r\n")),
        chunked(&format!("1\r\na0\r\n\r\n{inner}")),
        chunked(&format!("2;\nxx\r\n4c\r\n0\r\n\r\n{inner}")),
        chunked(&format!("100000000000000000\r\n\r\n{inner}")),
        post(&["Content-Length: 6", "Transfer-Encoding: chunked"], &format!("0\r\n\r\n{inner}")),
        post(&["Content-Length: 0", "Content-Length: 44"], inner),
        post(&["Content-Length: 0,44"], inner),
        post(&["Content-Length : 44"], inner),
        post(&["Content-Length\0: 44"], inner),
        post(&["Content-Length: 0\r\n 44"], inner),
        post(&["X: y\nContent-Length: 44"], inner),
        post(&["X: y\rContent-Length: 44"], inner),
        post(&["Content-Length: \x0b44"], inner),
        post(&["Content-Length: 4_4"], inner),
        post(&[&format!("Content-Length: 6\r\n{te}:\r\n chunked")], &format!("0\r\n\r\n{inner}")),
        format!("GET /a HTTP/1.1\nHost: n1\n\n{inner}").into_bytes(),
        format!("GET /a\r\n\r\n{inner}").into_bytes(),
        format!("POST / HTTP/1.0\r\n{te}: chunked\r\n\r\n0\r\n\r\n{inner}").into_bytes(),
    ];
    for coding in [
        " : chunked",
        ":\x0bchunked",
        ": \x00chunked",
        "\n: chunked",
        ": xchunked",
        ": chunked, ",
        ": identity, chunked",
        ": chunk",
        ": chunked\r\nTransfer-encoding: x",
        ": 'chunked'",
    ] {
        let fields = [&*format!("{te}{coding}"), "X: y"];
        inputs.push(post(&fields, &format!("0\r\n\r\n{inner}")));
    }
    for input in inputs {
        let (requests, answers) = converse(&input);
        let shown = String::from_utf8_lossy(&input);
        assert_eq!(requests, [], "{shown}");
        assert_eq!(answers.len(), 1, "{shown}");
    }
}

#[test]
fn a_field_that_is_no_framing_field_frames_nothing() {
    for name in ["Content_Length", "X-Content-Length", "Content-Lengt", "Content-Length-"] {
        let field = format!("{name}: 44");
        let input = post(&[&field], "GET /second HTTP/1.1\r\nHost: n1\r\n\r\n");
        let paths: Vec<String> = converse(&input).0.into_iter().map(|r| r.path).collect();
        assert_eq!(paths, ["/v1/jobs", "/second"]);
    }
}

#[test]
fn a_refused_head_request_gets_no_body() {
    let mut peer = Peer::new();
    peer.feed(b"\r\nHEAD / HTTP/1.1\r\n\r\n");
    let answers = read_answers(&peer.wire, &[true]);
    assert_eq!(answers[0].status, 400);
    assert_ne!(answers[0].header("content-length"), Some("0"));
    let input = b"HEAD / HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\nx";
    let peer = in_pieces(input, &[]);
    assert_eq!(read_answers(&peer.wire, &[true])[0].status, 400);
}

#[test]
fn bytes_beyond_ascii_in_a_value_are_kept_if_they_are_utf8() {
    let request = accepted("GET / HTTP/1.1\r\nHost: n\r\nX: é\r\n\r\n".as_bytes());
    assert_eq!(request.headers.get("x"), Some("é"));
    let request = accepted(b"GET / HTTP/1.1\r\nHost: n\r\nX: \xe9!\r\n\r\n");
    assert_eq!(request.headers.get("x"), Some("\u{fffd}!"));
}

/// Feeds `input` at once and byte by byte, and returns the statuses.
#[track_caller]
fn statuses_with(limits: &Limits, input: &[u8]) -> Vec<u16> {
    let mut whole = Peer::with(limits.clone());
    whole.feed(input);
    let mut bytewise = Peer::with(limits.clone());
    for byte in input {
        bytewise.feed(&[*byte]);
    }
    assert_eq!(whole.wire, bytewise.wire);
    whole.statuses()
}

#[test]
fn each_size_limit_holds_to_the_byte() {
    let limits = Limits::default();
    let target = |bytes: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: n\r\n\r\n", "x".repeat(bytes - 1)).into_bytes()
    };
    let method =
        |bytes: usize| format!("{} / HTTP/1.1\r\nHost: n\r\n\r\n", "M".repeat(bytes)).into_bytes();
    let header = |bytes: usize| {
        let value = "v".repeat(bytes - "Host: n\r\nX: \r\n\r\n".len());
        format!("GET / HTTP/1.1\r\nHost: n\r\nX: {value}\r\n\r\n").into_bytes()
    };
    let fields = |count: usize| {
        let more = "X: y\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: n\r\n{more}\r\n").into_bytes()
    };
    let known = |bytes: usize| post(&[&format!("Content-Length: {bytes}")], &"b".repeat(bytes));
    let chunks = |bytes: usize| {
        let half = bytes / 2;
        let (a, b) = ("b".repeat(half), "b".repeat(bytes - half));
        chunked(&format!("{half:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n", bytes - half))
    };
    let extensions = |bytes: usize| {
        let half = bytes / 2;
        let (a, b) = ("e".repeat(half), "e".repeat(bytes - half));
        chunked(&format!("1;{a}\r\nx\r\n0;{b}\r\n\r\n"))
    };
    let spaces = |bytes: usize| chunked(&format!("1 {};\r\nx\r\n0\r\n\r\n", " ".repeat(bytes)));
    let trailers = |bytes: usize| {
        let value = "v".repeat(bytes - "X: \r\n\r\n".len());
        chunked(&format!("0\r\nX: {value}\r\n\r\n"))
    };
    let trailer_fields = |count: usize| chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(count)));
    type Make<'a> = &'a dyn Fn(usize) -> Vec<u8>;
    for (name, make, max, status) in [
        ("target", &target as Make<'_>, limits.target_max_bytes, 414),
        ("method", &method, head::METHOD_MAX_BYTES, 501),
        ("header", &header, limits.header_max_bytes, 431),
        ("fields", &fields, limits.fields_max, 431),
        ("known body", &known, limits.body_max_bytes, 413),
        ("chunked body", &chunks, limits.body_max_bytes, 413),
        ("extensions", &extensions, limits.header_max_bytes, 431),
        ("spaces", &spaces, limits.header_max_bytes, 431),
        ("trailers", &trailers, limits.header_max_bytes, 431),
        ("trailer fields", &trailer_fields, limits.fields_max, 431),
    ] {
        assert_eq!(statuses_with(&limits, &make(max)), [200], "{name} of {max}");
        assert_eq!(statuses_with(&limits, &make(max + 1)), [status], "{name} over {max}");
    }
}

#[test]
fn a_body_too_large_is_refused_before_it_comes() {
    let mut peer = Peer::new();
    peer.feed(&post(&["Content-Length: 1048577", "Expect: 100-continue"], ""));
    assert_eq!(peer.statuses(), [413]);
    assert!(!String::from_utf8_lossy(&peer.wire).contains("100 Continue"));
    let mut peer = Peer::new();
    peer.feed(&chunked("100001\r\n"));
    assert_eq!(peer.statuses(), [413]);
}

#[test]
fn a_large_announcement_takes_no_memory() {
    let mut peer = Peer::new();
    peer.feed(&post(&["Content-Length: 1048576"], "abc"));
    assert!(peer.connection.held_bytes() < 1024, "{}", peer.connection.held_bytes());
    let mut peer = Peer::new();
    peer.feed(&chunked("100000\r\nabc"));
    assert!(peer.connection.held_bytes() < 1024, "{}", peer.connection.held_bytes());
}

#[test]
fn a_head_is_scanned_once() {
    // What was seen is overwritten before the rest comes: if it were looked at again, the scan
    // would fail.
    let limits = Limits::default();
    let mut scanner = head::HeadScanner::new();
    let head = b"GET / HTTP/1.1\r\nHost: n\r\nX: y\r\n\r\n";
    let mut arrived = Vec::new();
    for (at, &byte) in head.iter().enumerate() {
        arrived.push(byte);
        let end = scanner.scan(&arrived, &limits).unwrap();
        assert_eq!(end, (at + 1 == head.len()).then_some(head.len()));
        arrived[at] = 0;
    }
}

/// The pieces from which random input is made; most are harmless, some are not.
const WORDS: [&str; 46] = [
    "GET",
    "HEAD",
    "POST",
    "OPTIONS",
    " ",
    " ",
    "/",
    "/v1/jobs",
    "?a=b",
    "%41",
    "*",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2.0",
    "\r\n",
    "\r\n",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    "\0",
    "\t",
    ":",
    ": ",
    "Host: n",
    "Host",
    "Content-Length: ",
    "Content-Length: 3",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: ",
    "chunked",
    "Expect: 100-continue",
    "Connection: close",
    "Connection: keep-alive",
    "X: y",
    ";",
    ",",
    "0",
    "3",
    "1f",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "GET / HTTP/1.1\r\nHost: n\r\n",
    "POST / HTTP/1.1\r\nHost: n\r\n",
    "é",
    "\u{7f}",
];

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let seed = option_env!("HTTP_SEED").map(|seed| seed.parse().unwrap());
    let range = seed.map_or(0..count, |seed| seed..seed + 1);
    range.inspect(|seed| println!("HTTP_SEED={seed} replays this"))
}

/// Feeds `input` whole and in random pieces, with the end of the peer in some; the rules must hold
/// and the pieces must not matter.
fn check_random(input: &[u8], rng: &mut Rng) -> Peer {
    let whole = in_pieces(input, &[]);
    check_rules(&whole, input);
    let mut cuts: Vec<usize> = (1..input.len()).filter(|_| rng.chance(1, 7)).collect();
    if rng.chance(1, 8) {
        cuts = (1..input.len()).collect();
    }
    let mut cut = in_pieces(input, &cuts);
    assert_eq!(cut.requests, whole.requests, "{:?}", String::from_utf8_lossy(input));
    assert_eq!(cut.wire, whole.wire, "{:?}", String::from_utf8_lossy(input));
    cut.connection.closed_by_peer(cut.now);
    cut.serve();
    assert!(cut.connection.is_done(), "after its end a peer that takes all is done with");
    assert_eq!(cut.wire, whole.wire, "what is half there is not answered at the end");
    whole
}

#[test]
fn random_words_never_break_the_rules() {
    for seed in seeds(3_000) {
        let mut rng = Rng::new(seed);
        let mut input = Vec::new();
        for _ in 0..rng.below(40) {
            let word = WORDS[rng.below(WORDS.len() as u64) as usize];
            input.extend_from_slice(word.as_bytes());
            if rng.chance(1, 60) {
                input.push(rng.next_u64() as u8);
            }
        }
        check_random(&input, &mut rng);
    }
}

#[test]
fn random_requests_come_out_as_they_were_made_and_mutations_break_no_rule() {
    let mut refused = 0;
    for seed in seeds(1_500) {
        let mut rng = Rng::new(seed);
        let made: Vec<Request> = (0..1 + rng.below(4)).map(|_| random_request(&mut rng)).collect();
        let mut input = Vec::new();
        for request in &made {
            write_request(request, &mut rng, &mut input);
        }
        let peer = check_random(&input, &mut rng);
        assert_eq!(peer.requests.len(), made.len(), "{:?}", peer.statuses());
        for (got, made) in peer.requests.iter().zip(&made) {
            assert_eq!((&got.method, &got.path), (&made.method, &made.path));
            assert_eq!((&got.query, &got.body), (&made.query, &made.body));
            assert_eq!((&got.host, got.version_10), (&made.host, made.version_10));
            for (name, value) in made.headers.iter() {
                assert_eq!(got.headers.get(&name.to_uppercase()), Some(value));
            }
        }
        for _ in 0..4 {
            let mut mutant = input.clone();
            for _ in 0..1 + rng.below(3) {
                mutate(&mut mutant, &mut rng);
            }
            let peer = check_random(&mutant, &mut rng);
            refused += usize::from(peer.answers_any_refusal());
        }
    }
    let everything = option_env!("HTTP_SEED").is_none();
    assert!(!everything || refused > 1_000, "the mutations are too tame: {refused} refused");
}

impl Peer {
    fn answers_any_refusal(&self) -> bool {
        self.connection.wants_shutdown()
    }
}

fn random_text(rng: &mut Rng, alphabet: &str, most: u64) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let pick = |rng: &mut Rng| letters[rng.below(letters.len() as u64) as usize];
    (0..rng.below(most + 1)).map(|_| pick(rng)).collect()
}

fn random_request(rng: &mut Rng) -> Request {
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"];
    let method = Method::from_name(methods[rng.below(methods.len() as u64) as usize]);
    let path = format!("/{}", random_text(rng, "abc/-._~%", 12).replace('%', "%41"));
    let text = |rng: &mut Rng| random_text(rng, "ab =&%+é[]/?\"", 6);
    let pairs = (0..rng.below(4)).map(|_| (format!("k{}", text(rng)), text(rng)));
    let query = pairs.collect::<Vec<_>>();
    let mut headers = Headers::default();
    for at in 0..rng.below(5) {
        let value = random_text(rng, "xyz ,;=:\t\"é", 12).trim_matches([' ', '\t']).to_owned();
        headers.push(format!("X-Field-{at}"), value);
    }
    let body = (0..rng.below(60)).map(|_| rng.next_u64() as u8).collect();
    let host = Some(format!("{}n:8080", random_text(rng, "abc.-", 5)));
    Request { method, path, query, headers, body, host, version_10: rng.chance(1, 4) }
}

/// Writes `request` in one of the many ways in which it can be.
fn write_request(request: &Request, rng: &mut Rng, out: &mut Vec<u8>) {
    let escape = |rng: &mut Rng, text: &str| -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric();
        let escaped = |rng: &mut Rng, b: u8| match b {
            b' ' if rng.chance(1, 2) => "+".to_owned(),
            b'[' | b']' | b'/' | b'?' if rng.chance(1, 2) => char::from(b).to_string(),
            b if plain(b) && rng.chance(9, 10) => char::from(b).to_string(),
            b if rng.chance(1, 2) => format!("%{b:02x}"),
            b => format!("%{b:02X}"),
        };
        text.bytes().map(|b| escaped(rng, b)).collect()
    };
    let mut target = request.path.clone();
    for (at, (key, value)) in request.query.iter().enumerate() {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(&escape(rng, key));
        if !value.is_empty() || rng.chance(1, 2) {
            target.push('=');
            target.push_str(&escape(rng, value));
        }
    }
    let host = request.host.as_deref().unwrap();
    let mut fields: Vec<String> = Vec::new();
    if rng.chance(1, 4) {
        target = format!("http://{host}{target}");
        fields.push("host: other".into());
    } else {
        fields.push(format!("HOST:{host}"));
    }
    if request.version_10 {
        fields.push("Connection: x, Keep-Alive".into());
    } else if rng.chance(1, 4) {
        fields.push("Expect: 100-Continue".into());
    }
    let spaces = [" ", "", "\t", "  \t"];
    for (name, value) in request.headers.iter() {
        let space = |rng: &mut Rng| spaces[rng.below(4) as usize];
        fields.push(format!("{name}:{}{value}{}", space(rng), space(rng)));
    }
    let in_chunks = !request.version_10 && rng.chance(1, 2);
    if in_chunks {
        fields.push("transfer-encoding: Chunked".into());
    } else if !request.body.is_empty() || rng.chance(1, 2) {
        fields.push(format!("content-LENGTH: {}", request.body.len()));
    }
    let version = if request.version_10 { "1.0" } else { "1.1" };
    out.extend_from_slice(format!("{} {target} HTTP/{version}\r\n", request.method).as_bytes());
    out.extend_from_slice(format!("{}\r\n\r\n", fields.join("\r\n")).as_bytes());
    if in_chunks {
        write_chunks(&request.body, rng, out);
    } else {
        out.extend_from_slice(&request.body);
        if rng.chance(1, 4) {
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn write_chunks(mut body: &[u8], rng: &mut Rng, out: &mut Vec<u8>) {
    while !body.is_empty() {
        let (chunk, rest) = body.split_at(1 + rng.below(body.len() as u64) as usize);
        let extension = ["", ";x", ";x=\"y z\"", " ;q"][rng.below(4) as usize];
        out.extend_from_slice(format!("{:02X}{extension}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        body = rest;
    }
    let trailers = ["", "X-Sum: 1\r\n"][rng.below(2) as usize];
    out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
}

fn mutate(input: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.below(input.len() as u64) as usize;
    match rng.below(6) {
        0 => input[at] ^= 1 << rng.below(8),
        1 => input[at] = b"\r\n \t:;0\0"[rng.below(8) as usize],
        2 => drop(input.remove(at)),
        3 => input.insert(at, b"\r\n \t:;0\0"[rng.below(8) as usize]),
        4 => {
            let word = WORDS[rng.below(WORDS.len() as u64) as usize];
            input.splice(at..at, word.bytes());
        }
        _ => {
            let end = input.len().min(at + rng.below(30) as usize);
            let copy: Vec<u8> = input[at..end].to_vec();
            let to = rng.below(input.len() as u64) as usize;
            input.splice(to..to, copy);
        }
    }
}
