//! How a connection lives: turns, waits, streams, and its end.

use super::*;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: n\r\n\r\n";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn fifty_pipelined_requests_are_answered_one_by_one_in_order() {
    let mut input = Vec::new();
    for at in 0..50 {
        let chunks = if at % 3 == 0 { "Transfer-Encoding: chunked\r\n" } else { "" };
        let body = if at % 3 == 0 { "3\r\nabc\r\n0\r\n\r\n" } else { "" };
        let text = format!("PUT /{at} HTTP/1.1\r\nHost: n\r\n{chunks}\r\n{body}");
        input.extend_from_slice(text.as_bytes());
    }
    let (requests, answers) = converse(&input);
    let paths: Vec<String> = requests.into_iter().map(|request| request.path).collect();
    let wanted: Vec<String> = (0..50).map(|at| format!("/{at}")).collect();
    assert_eq!(paths, wanted);
    let bodies: Vec<String> =
        answers.into_iter().map(|answer| String::from_utf8(answer.body).unwrap()).collect();
    assert_eq!(bodies, wanted);
}

#[test]
fn the_next_request_waits_for_the_answer_to_the_last() {
    let mut peer = Peer::new();
    peer.connection.received(&[GET, GET].concat(), peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    assert_eq!(peer.connection.poll_request(peer.now), None);
    assert!(!peer.connection.wants_read(), "a request waits already");
    peer.connection.respond(Response::json(200, vec![b'x'; 100_000]), peer.now);
    assert_eq!(peer.connection.poll_request(peer.now), None, "the peer takes nothing");
    assert!(!peer.connection.wants_read());
    assert_eq!(peer.connection.waiting_since(), None);
    let unsent = peer.connection.output().len();
    peer.connection.sent(unsent - 1_000, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    assert!(peer.connection.wants_read(), "nothing waits any more");
}

#[test]
fn a_shell_that_ignores_the_back_pressure_is_cut_off() {
    let mut peer = Peer::new();
    peer.connection.received(GET, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    peer.connection.received(&vec![b'x'; 1024 * 1024], peer.now);
    assert!(!peer.connection.is_done());
    peer.connection.received(b"x", peer.now);
    assert!(peer.connection.is_done());
    peer.connection.respond(Response::json(200, Vec::new()), peer.now);
    assert_eq!(peer.connection.output(), b"", "a late answer is of no use");
}

#[test]
fn persistence_follows_version_and_wish() {
    for (version, field, said, stays) in [
        ("1.1", "", None, true),
        ("1.1", "Connection: keep-alive\r\n", None, true),
        ("1.1", "Connection: close\r\n", Some("close"), false),
        ("1.1", "Connection: x, CLOSE\r\n", Some("close"), false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", Some("close"), false),
        ("1.0", "", Some("close"), false),
        ("1.0", "Connection: Keep-Alive\r\n", Some("keep-alive"), true),
        ("1.0", "Connection: keep-alive, close\r\n", Some("close"), false),
    ] {
        let mut peer = Peer::new();
        peer.feed(format!("GET / HTTP/{version}\r\nHost: n\r\n{field}\r\n").as_bytes());
        assert_eq!(peer.answers()[0].header("connection"), said, "{version} {field}");
        assert_eq!(!peer.connection.is_done(), stays, "{version} {field}");
    }
}

#[test]
fn what_follows_the_last_request_is_thrown_away() {
    let mut peer = Peer::new();
    peer.feed(&[b"GET /a HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n", GET].concat());
    assert_eq!(peer.statuses(), [200]);
    assert!(peer.connection.wants_shutdown());
}

#[test]
fn a_client_that_waits_for_continue_gets_it_before_the_body() {
    let mut peer = Peer::new();
    peer.feed(&post(&["Expect: 100-Continue", "Content-Length: 2"], ""));
    assert_eq!(peer.wire, b"HTTP/1.1 100 Continue\r\n\r\n");
    peer.feed(b"ab");
    assert_eq!(peer.requests[0].body, b"ab");
    assert_eq!(peer.statuses(), [200]);
    for (version, length, wanted) in [("1.1", 0, false), ("1.0", 2, false), ("1.1", 2, true)] {
        let mut peer = Peer::new();
        let fields = format!("Host: n\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n");
        peer.feed(format!("PUT / HTTP/{version}\r\n{fields}\r\n").as_bytes());
        assert_eq!(peer.wire.starts_with(b"HTTP/1.1 100 "), wanted, "{version}, {length} bytes");
    }
}

#[test]
fn a_response_keeps_to_its_lines() {
    let mut peer = Peer::new();
    peer.connection.received(GET, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    let response = Response::new(201, Body::Bytes(b"hi".to_vec()))
        .header("Location", "/x\r\nSet-Cookie: a=b\r\n\r\nevil\0\u{85}")
        .header("Content-Type", "text/plain")
        .header("content-length", "7")
        .header("Transfer-Encoding", "chunked")
        .header("X-Whom", "another")
        .header("X-Text", "naïve\ttext");
    peer.connection.respond(response, peer.now);
    peer.drain();
    let answer = &peer.answers()[0];
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), Some("/x  Set-Cookie: a=b    evil  "));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(answer.header("content-length"), Some("2"));
    assert_eq!(answer.header("x-whom"), Some(WHOM));
    assert_eq!(answer.header("x-text"), Some("naïve text"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.body, b"hi");
}

#[test]
fn the_error_object_survives_any_sentence() {
    let Body::Bytes(json) = Response::error(400, "bad_request", "\"\\\r\n\u{7f}é").body else {
        panic!("an error has a body");
    };
    let object: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(object["error"], "\"\\\r\n\u{7f}é");
    assert!(json.starts_with(b"{\"error\":"));
    assert!(json.ends_with(b",\"code\":\"bad_request\"}"));
}

#[test]
fn bodies_are_sent_only_where_they_belong() {
    for (method, status, body, length, sent) in [
        ("GET", 200, Body::Bytes(b"abc".to_vec()), Some("3"), "abc"),
        ("HEAD", 200, Body::Bytes(b"abc".to_vec()), Some("3"), ""),
        ("HEAD", 404, Body::Bytes(b"abc".to_vec()), Some("3"), ""),
        ("GET", 200, Body::Empty, Some("0"), ""),
        ("GET", 204, Body::Bytes(b"abc".to_vec()), None, ""),
        ("GET", 304, Body::Bytes(b"abc".to_vec()), None, ""),
        ("GET", 304, Body::Stream(StreamId(1)), None, ""),
        ("HEAD", 200, Body::Stream(StreamId(1)), None, ""),
    ] {
        let mut peer = Peer::new();
        peer.connection
            .received(format!("{method} / HTTP/1.1\r\nHost: n\r\n\r\n").as_bytes(), peer.now);
        peer.requests.extend(peer.connection.poll_request(peer.now));
        peer.connection.respond(Response::new(status, body), peer.now);
        assert_eq!(peer.connection.stream_id(), None);
        peer.drain();
        let answer = peer.answers().remove(0);
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("content-length"), length, "{method} {status}");
        assert_eq!(answer.body, sent.as_bytes(), "{method} {status}");
        peer.feed(GET);
        assert_eq!(peer.statuses(), [status, 200], "the connection goes on");
    }
}

#[test]
fn a_stream_is_asked_for_as_the_peer_takes_it() {
    for (version, framed) in [("1.1", true), ("1.0", false)] {
        let mut peer = Peer::new();
        let head = format!("GET / HTTP/{version}\r\nHost: n\r\nConnection: keep-alive\r\n\r\n");
        peer.connection.received(head.as_bytes(), peer.now);
        assert!(peer.connection.poll_request(peer.now).is_some());
        peer.connection.respond(Response::new(200, Body::Stream(StreamId(7))), peer.now);
        assert_eq!(peer.connection.wants_stream(), Some(StreamId(7)));
        peer.connection.stream(&[b'x'; 65_536], false, peer.now);
        assert_eq!(peer.connection.wants_stream(), None, "the piece is not taken yet");
        assert_eq!(peer.connection.stream_id(), Some(StreamId(7)));
        peer.drain();
        assert_eq!(peer.connection.wants_stream(), Some(StreamId(7)));
        peer.connection.stream(b"", false, peer.now);
        assert_eq!(peer.connection.output(), b"", "an empty chunk would end the body");
        peer.connection.stream(b"end", true, peer.now);
        peer.drain();
        let answer = peer.answers().remove(0);
        assert_eq!(answer.body.len(), 65_539);
        assert_eq!(answer.header("transfer-encoding"), framed.then_some("chunked"));
        assert_eq!(answer.closes(), !framed);
        assert_eq!(peer.connection.is_done(), !framed, "HTTP/1.0 ends a stream by closing");
    }
}

#[test]
fn an_aborted_stream_is_cut_and_never_ended() {
    let mut peer = Peer::new();
    peer.connection.received(GET, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    peer.connection.respond(Response::new(200, Body::Stream(StreamId(7))), peer.now);
    peer.connection.stream(b"abc", false, peer.now);
    peer.drain();
    peer.connection.abort();
    peer.connection.stream(b"more", true, peer.now);
    peer.drain();
    assert!(peer.connection.is_done());
    assert!(peer.wire.ends_with(b"\r\n3\r\nabc\r\n"));
    assert_eq!(peer.connection.poll_timeout(), None);
}

#[test]
fn waits_are_over_when_they_say() {
    // What arrives, the wait then, and what the machine does at its end.
    let body = post(&["Content-Length: 5000"], "");
    let (slow, more) = (body.clone(), [body, vec![b'x'; 2048 + 1023]].concat());
    for (name, input, wait, status) in [
        ("idle", &b""[..], 60, None),
        ("an empty line alone", b"\r\n", 60, None),
        ("half an empty line", b"\r", 60, None),
        ("a head", b"G", 10, Some(408)),
        ("a head after an empty line", b"\r\nG", 10, Some(408)),
        ("a body of which nothing came", &slow, 30, Some(408)),
        ("a body of which some came", &more, 32, Some(408)),
    ] {
        let mut peer = Peer::new();
        peer.feed(input);
        assert_eq!(peer.connection.poll_timeout(), Some(peer.now + seconds(wait)), "{name}");
        peer.wait(seconds(wait) - Duration::from_nanos(1));
        assert!(peer.connection.output().is_empty() && !peer.connection.is_done(), "{name}");
        peer.wait(Duration::from_nanos(1));
        assert_eq!(peer.connection.is_done(), status.is_none(), "{name}");
        peer.drain();
        assert_eq!(peer.statuses(), status.into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_slow_head_is_not_kept_alive_by_a_byte_now_and_then() {
    let mut peer = Peer::new();
    for byte in &GET[..10] {
        assert_eq!(peer.statuses(), [] as [u16; 0]);
        peer.feed(&[*byte]);
        peer.wait(seconds(1));
    }
    peer.drain();
    assert_eq!(peer.statuses(), [408]);
}

#[test]
fn a_body_at_the_least_rate_is_waited_for() {
    let mut peer = Peer::new();
    peer.feed(&post(&["Content-Length: 102400"], ""));
    for _ in 0..100 {
        peer.wait(seconds(1));
        peer.feed(&[b'x'; 1024]);
    }
    assert_eq!(peer.statuses(), [200]);
    let mut peer = Peer::new();
    peer.feed(&post(&["Content-Length: 102400"], ""));
    for _ in 0..100 {
        peer.wait(seconds(1));
        peer.feed(&[b'x'; 512]);
    }
    assert_eq!(peer.statuses(), [408]);
}

#[test]
fn the_idle_wait_begins_anew_when_the_answer_is_sent() {
    let mut peer = Peer::new();
    peer.wait(seconds(59));
    peer.feed(GET);
    assert_eq!(peer.connection.poll_timeout(), Some(peer.now + seconds(60)));
    peer.wait(seconds(59));
    assert!(!peer.connection.is_done());
    peer.wait(seconds(1));
    assert!(peer.connection.is_done());
}

#[test]
fn a_reader_that_takes_nothing_is_dropped() {
    let mut peer = Peer::new();
    peer.connection.received(GET, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    assert_eq!(peer.connection.poll_timeout(), None, "the answer may take its time");
    peer.wait(seconds(1_000));
    peer.connection.respond(Response::json(200, b"[]".to_vec()), peer.now);
    peer.wait(seconds(29));
    peer.connection.sent(1, peer.now);
    peer.wait(seconds(29));
    assert!(!peer.connection.is_done());
    peer.wait(seconds(1));
    assert!(peer.connection.is_done());
    assert_eq!(peer.connection.output(), b"");
}

#[test]
fn a_stream_without_news_is_not_a_stall() {
    let mut peer = Peer::new();
    peer.connection.received(GET, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    peer.connection.respond(Response::new(200, Body::Stream(StreamId(1))), peer.now);
    peer.drain();
    assert_eq!(peer.connection.poll_timeout(), None);
    peer.wait(seconds(3_600));
    peer.connection.stream(b"news", false, peer.now);
    assert_eq!(peer.connection.poll_timeout(), Some(peer.now + seconds(30)));
}

#[test]
fn a_refused_peer_is_listened_to_for_a_while() {
    let refuse = || {
        let mut peer = Peer::new();
        peer.connection.received(b"bad\r\n", peer.now);
        assert!(!peer.connection.wants_shutdown(), "the answer is not sent yet");
        peer.drain();
        assert_eq!(peer.statuses(), [400]);
        assert!(peer.connection.wants_shutdown() && peer.connection.wants_read());
        peer
    };
    let mut peer = refuse();
    peer.feed(GET);
    assert_eq!(peer.statuses(), [400], "nothing more is answered");
    peer.connection.closed_by_peer(peer.now);
    assert!(peer.connection.is_done());

    let mut peer = refuse();
    assert_eq!(peer.connection.poll_timeout(), Some(peer.now + seconds(5)));
    peer.wait(seconds(5));
    assert!(peer.connection.is_done());

    let mut peer = refuse();
    let max = Limits::default().linger_max_bytes;
    peer.connection.received(&vec![0; max - b"bad\r\n".len() - 1], peer.now);
    assert!(!peer.connection.is_done());
    peer.connection.received(b"x", peer.now);
    assert!(peer.connection.is_done());
}

#[test]
fn a_refused_peer_that_sends_without_end_is_no_longer_read() {
    let mut peer = Peer::new();
    peer.connection.received(b"bad\r\n", peer.now);
    peer.connection.received(&vec![0; Limits::default().linger_max_bytes], peer.now);
    assert!(!peer.connection.wants_read());
    assert!(!peer.connection.is_done(), "its answer is still to be sent");
}

#[test]
fn the_peers_end_drops_half_requests_and_no_answers() {
    // What arrived before the end, and the answers.
    let half = post(&["Content-Length: 3"], "ab");
    let chunk = chunked("3\r\nabc\r\n");
    for (input, statuses) in [
        (&b""[..], &[][..]),
        (b"GET /", &[]),
        (&half, &[]),
        (&chunk, &[]),
        (GET, &[200]),
        (&[GET, GET, b"GET"].concat(), &[200, 200]),
        (&[GET, b"bad\r\n"].concat(), &[200, 400]),
    ] {
        let mut peer = Peer::new();
        peer.connection.received(b"", peer.now);
        assert!(!peer.connection.is_done(), "nothing is not the end");
        peer.connection.received(input, peer.now);
        peer.connection.closed_by_peer(peer.now);
        assert!(!peer.connection.wants_read());
        peer.serve();
        assert_eq!(peer.statuses(), statuses, "{:?}", String::from_utf8_lossy(input));
        assert!(peer.connection.is_done());
        assert_eq!(peer.connection.poll_timeout(), None);
    }
}

#[test]
fn an_answer_in_the_making_is_sent_after_the_peers_end() {
    let mut peer = Peer::new();
    peer.connection.received(GET, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    peer.connection.closed_by_peer(peer.now);
    assert!(!peer.connection.is_done());
    peer.connection.respond(Response::new(200, Body::Stream(StreamId(1))), peer.now);
    peer.drain();
    assert!(!peer.connection.is_done());
    peer.connection.stream(b"abc", true, peer.now);
    assert!(!peer.connection.is_done());
    peer.drain();
    assert_eq!(peer.answers()[0].body, b"abc");
    assert!(peer.connection.is_done());
}

#[test]
fn finishing_lets_what_has_begun_come_to_its_end() {
    let mut idle = Peer::new();
    idle.connection.finish(idle.now);
    assert!(idle.connection.is_done());

    let mut begun = Peer::new();
    begun.feed(&GET[..9]);
    begun.connection.finish(begun.now);
    assert!(!begun.connection.is_done());
    begun.feed(&GET[9..]);
    assert!(begun.answers()[0].closes());
    assert!(begun.connection.is_done());

    let mut unsent = Peer::new();
    unsent.connection.received(GET, unsent.now);
    assert!(unsent.connection.poll_request(unsent.now).is_some());
    unsent.connection.respond(Response::json(200, b"[]".to_vec()), unsent.now);
    unsent.connection.finish(unsent.now);
    assert!(!unsent.connection.is_done());
    unsent.drain();
    assert_eq!(unsent.statuses(), [200]);
    assert!(unsent.connection.is_done());
}

#[test]
fn an_answer_may_end_the_connection() {
    let mut peer = Peer::new();
    peer.connection.received(GET, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    let response = Response::json(200, b"[]".to_vec()).header("Connection", "close");
    peer.connection.respond(response, peer.now);
    peer.drain();
    assert!(peer.answers()[0].closes());
    assert!(peer.connection.is_done());
}

#[test]
fn the_one_that_waits_longest_can_be_found() {
    let mut peer = Peer::new();
    let start = peer.now;
    assert_eq!(peer.connection.waiting_since(), Some(start));
    peer.wait(seconds(3));
    peer.feed(b"G");
    assert_eq!(peer.connection.waiting_since(), Some(start), "a byte is no request");
    peer.connection.received(&GET[1..], peer.now);
    assert_eq!(peer.connection.waiting_since(), None, "it is our turn");
    assert!(peer.connection.poll_request(peer.now).is_some());
    assert_eq!(peer.connection.waiting_since(), None);
    peer.connection.respond(Response::json(200, b"[]".to_vec()), peer.now);
    assert_eq!(peer.connection.waiting_since(), None, "the answer is not sent");
    peer.now = peer.now + seconds(2);
    peer.drain();
    assert_eq!(peer.connection.waiting_since(), Some(peer.now));
    peer.feed(&post(&["Content-Length: 9", "Expect: 100-continue"], "abc"));
    let since = peer.now;
    peer.wait(seconds(2));
    peer.feed(b"d");
    assert_eq!(peer.connection.waiting_since(), Some(since), "half a body is no request");
}

#[test]
fn an_idle_connection_holds_a_few_hundred_bytes() {
    let mut peer = Peer::new();
    let body = "b".repeat(1024 * 1024);
    let large = post(&[&format!("Content-Length: {}", body.len())], &body);
    peer.feed(&large);
    peer.connection.received(GET, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    peer.connection.respond(Response::json(200, vec![b'x'; 1_000_000]), peer.now);
    peer.drain();
    assert_eq!(peer.statuses(), [200, 200]);
    let own = size_of::<Connection>();
    let held = peer.connection.held_bytes();
    assert!(own + held <= 768, "{own} bytes and {held} beside them");
}

#[test]
fn a_request_that_is_answered_slowly_keeps_no_input() {
    let mut peer = Peer::new();
    let mut input = post(&["Content-Length: 60000"], &"b".repeat(60_000));
    input.extend_from_slice(&GET[..5]);
    peer.connection.received(&input, peer.now);
    assert!(peer.connection.poll_request(peer.now).is_some());
    assert!(peer.connection.held_bytes() <= 256, "{}", peer.connection.held_bytes());
}
