//! Bodies that come out in pieces.

use super::*;

/// More than waits to be taken, with a read more.
const HELD_MAX_BYTES: usize = 64 * 1024;

fn streaming(max: usize) -> Limits {
    let (method, path) = (Method::Post, "/v1/jobs");
    let streamed = Some(Streamed { method, path, body_max_bytes: max });
    Limits { body_max_bytes: 10, streamed, ..Limits::default() }
}

fn known(bytes: usize) -> Vec<u8> {
    post(&[&format!("Content-Length: {bytes}")], &"x".repeat(bytes))
}

fn in_chunks(bytes: usize) -> Vec<u8> {
    let rest = bytes - 1;
    chunked(&format!("1\r\nx\r\n{rest:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(rest)))
}

/// The begin of a body, and its peer, which was told to come in pieces.
fn begun(fields: &[&str], body: &str) -> Peer {
    let mut peer = Peer::with(streaming(1 << 30));
    peer.feed(&post(fields, body));
    assert!(peer.connection.is_uploading() && peer.connection.is_answering());
    peer
}

#[test]
fn one_method_and_path_take_larger_bodies() {
    let others = Limits {
        streamed: Some(Streamed { path: "/v1/job", ..streaming(20).streamed.unwrap() }),
        ..streaming(20)
    };
    let puts = Limits {
        streamed: Some(Streamed { method: Method::Put, ..streaming(20).streamed.unwrap() }),
        ..streaming(20)
    };
    for (limits, max) in [(streaming(20), 20), (others, 10), (puts, 10)] {
        for make in [&known as &dyn Fn(usize) -> Vec<u8>, &in_chunks] {
            let statuses = |bytes| {
                let mut whole = Peer::with(limits.clone());
                whole.feed(&make(bytes));
                let mut bytewise = Peer::with(limits.clone());
                make(bytes).iter().for_each(|byte| bytewise.feed(&[*byte]));
                assert_eq!(whole.wire, bytewise.wire);
                whole.statuses()
            };
            assert_eq!(statuses(max), [200], "{max}");
            assert_eq!(statuses(max + 1), [413], "over {max}");
        }
    }
}

#[test]
fn a_body_in_pieces_is_the_same_however_it_comes_and_the_next_request_follows_it() {
    let next = post(&["Content-Length: 0"], "");
    for (fields, body, wanted) in [
        ("Content-Length: 6", "abcdef", "abcdef"),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\n3;x=y\r\ndef\r\n0\r\na: b\r\n\r\n", "abcdef"),
        ("Transfer-Encoding: chunked", "0\r\n\r\n", ""),
    ] {
        let all = [post(&[fields], body), next.clone()].concat();
        for cut in 0..=all.len() {
            let mut peer = Peer::with(streaming(20));
            peer.feed(&all[..cut]);
            peer.feed(&all[cut..]);
            assert_eq!(peer.statuses(), [200, 200], "{body:?} at {cut}");
            let bodies: Vec<&[u8]> = peer.requests.iter().map(|r| r.body.as_slice()).collect();
            assert_eq!(bodies, [wanted.as_bytes(), b""], "{body:?} at {cut}");
            assert!(!peer.connection.is_done());
        }
    }
}

#[test]
fn a_peer_is_held_back_until_its_piece_is_taken_and_then_may_take_its_time_again() {
    let mut peer = begun(&["Content-Length: 100000000"], "");
    peer.wait(Duration::from_secs(1));
    let mut total = 0;
    for _ in 0..100 {
        while peer.connection.wants_read() {
            peer.connection.received(&[b'x'; 16 * 1024], peer.now);
            total += 16 * 1024;
            assert!(peer.connection.held_bytes() < HELD_MAX_BYTES);
        }
        // Whoever is not read from is not slow.
        peer.wait(Duration::from_secs(3_600));
        assert_eq!(peer.connection.poll_timeout(), None);
        peer.connection.poll_body(peer.now).expect("a piece");
        assert!(peer.connection.poll_body(peer.now).is_none() && peer.connection.wants_read());
        peer.wait(Duration::from_secs(10));
    }
    assert!(total >= 100 * 16 * 1024 && peer.connection.is_answering());
    peer.wait(Duration::from_secs(19));
    assert!(peer.connection.is_answering());
    peer.wait(Duration::from_secs(1));
    peer.drain();
    assert_eq!(peer.statuses(), [408]);
    assert!(!peer.connection.is_answering() && !peer.connection.is_uploading());
}

#[test]
fn a_body_in_pieces_has_to_come_as_fast_as_others() {
    let mut peer = begun(&["Content-Length: 1000000"], "");
    let mut seconds = 0;
    while peer.connection.is_answering() {
        peer.connection.received(b"x", peer.now);
        peer.take_body();
        peer.wait(Duration::from_secs(1));
        seconds += 1;
    }
    assert_eq!(seconds, 30, "no rate, no time");
}

#[test]
fn a_body_that_is_cut_short_or_malformed_is_done_with_in_here() {
    for (fields, rest, wanted) in [
        ("Content-Length: 10", None, &[][..]),
        ("Transfer-Encoding: chunked", None, &[]),
        ("Transfer-Encoding: chunked", Some("3\r\nabcd"), &[400]),
        ("Transfer-Encoding: chunked", Some("x"), &[400]),
        ("Transfer-Encoding: chunked", Some("40000001\r\n"), &[413]),
    ] {
        for waits in [false, true] {
            let mut peer = begun(&[fields], "");
            if waits {
                // It is being waited for.
                assert!(peer.connection.poll_body(peer.now).is_none());
            }
            match rest {
                Some(rest) => peer.connection.received(rest.as_bytes(), peer.now),
                None => peer.connection.closed_by_peer(peer.now),
            }
            peer.drain();
            assert_eq!(peer.statuses(), wanted, "{fields}, {rest:?}");
            assert!(!peer.connection.is_answering() && !peer.connection.is_uploading());
            assert!(peer.connection.poll_body(peer.now).is_none());
            assert_eq!(peer.connection.is_done(), rest.is_none());
        }
    }
}

#[test]
fn an_answer_before_the_end_of_the_body_ends_the_connection() {
    for (sent, left_open) in [("abc", false), ("abcdefghij", true)] {
        let mut peer = Peer::with(streaming(20));
        peer.connection.received(&post(&["Content-Length: 10"], sent), peer.now);
        peer.requests.extend(peer.connection.poll_request(peer.now));
        assert!(peer.connection.is_uploading());
        peer.respond();
        peer.drain();
        assert_eq!(peer.statuses(), [200], "{sent}");
        assert_eq!(peer.answers()[0].closes(), !left_open, "{sent}");
        assert_eq!(peer.connection.wants_shutdown(), !left_open, "{sent}");
        // What still comes is no request.
        peer.feed(&known(0));
        assert_eq!(peer.statuses().len(), if left_open { 2 } else { 1 }, "{sent}");
    }
}
