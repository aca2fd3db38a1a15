//! Connections that are used badly: half requests, slow ones, too many, garbage.

use crate::common::{Agent, Connection, DEADLINE, is_root, wait_until};
use crate::{Calm, QUIET, check_refusal};
use bellwether::rng::Rng;
use std::fs;
use std::time::{Duration, Instant};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Asks for more than a connection takes up before it sends.
const LONG_ANSWER: &str = "GET /v1/schedule/next?schedule=@daily&count=1000 HTTP/1.1\r\n\
                           Host: localhost\r\n\r\n";

#[test]
fn a_request_that_is_cut_off_is_dropped_and_changes_nothing() {
    let calm = Calm::start();
    let body = r#"{"name":"half","schedule":"@daily","command":"true"}"#;
    let full = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // Cut at every byte, the last of the body included.
    for length in 0..full.len() {
        let mut connection = calm.agent.unix().connect().expect("it listens");
        connection.send(&full.as_bytes()[..length]).expect("it is sent");
    }
    for request in [
        &full[..full.len() - 1],
        "DELETE /v1/jobs/quiet HTTP/1.1\r\nHost: localhost\r\n",
        "PUT /v1/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "DELETE /v1/jobs/quiet HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n{}",
    ] {
        let answer = calm.agent.raw(request.as_bytes());
        assert_eq!(String::from_utf8_lossy(&answer), "", "{request}");
    }
    calm.check("requests that were cut off");
}

#[test]
fn what_follows_a_malformed_request_is_never_read_as_another() {
    let calm = Calm::start();
    let delete = "DELETE /v1/jobs/quiet HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (bad, status) in [
        ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(), 400),
        // The start of a TLS handshake.
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}".to_owned(), 400),
        ("GET /health HTTP/1.1\nHost: localhost\n\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nX: \u{0}\r\n\r\n".to_owned(), 400),
        ("GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET health HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET /health#x HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n".to_owned(), 505),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 501),
        (post("Content-Length: 2\r\nTransfer-Encoding: chunked", "{}"), 400),
        (post("Content-Length: 2\r\nContent-Length: 3", "{}"), 400),
        (post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), 501),
        (post("Transfer-Encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked", "1\r\n{}\r\n0\r\n\r\n"), 400),
        (post("Content-Encoding: gzip\r\nContent-Length: 2", "{}"), 415),
        (post("Expect: a-miracle\r\nContent-Length: 2", "{}"), 417),
    ] {
        let mut connection = calm.agent.tcp().connect().expect("it listens");
        let pipelined = format!("{HEALTH}{HEALTH}{bad}{delete}");
        // It may be refused before all of it is sent.
        let _ = connection.send(pipelined.as_bytes());
        for _ in 0..2 {
            connection.reply("GET").expect("a reply").expect(200);
        }
        let reply = connection.reply("GET").unwrap_or_else(|error| panic!("{bad:?}: {error}"));
        check_refusal(&reply, status, "", &format!("{bad:?}"));
        assert_eq!(reply.header("connection"), Some("close"), "{bad:?}");
        let _ = connection.finish();
        assert_eq!(connection.rest().expect("it is closed"), b"", "{bad:?}");
    }
    calm.check("garbage behind good requests");
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{body}")
}

#[test]
fn many_pipelined_requests_are_answered_one_by_one() {
    let calm = Calm::start();
    let mut connection = calm.agent.tcp().connect().expect("it listens");
    let count = 500;
    connection.send(HEALTH.repeat(count).as_bytes()).expect("it is sent");
    connection.send(b"GARBAGE\r\n\r\n").expect("it is sent");
    for _ in 0..count {
        connection.reply("GET").expect("a reply").expect(200);
    }
    check_refusal(&connection.reply("GET").expect("a reply"), 400, "first line", "garbage");
    calm.check("many requests");
}

#[test]
fn pipelined_requests_with_long_answers_are_all_answered() {
    let calm = Calm::start();
    for client in [calm.agent.tcp(), calm.agent.unix()] {
        let mut connection = client.connect().expect("it listens");
        let count = 50;
        connection.send(LONG_ANSWER.repeat(count).as_bytes()).expect("it is sent");
        for number in 0..count {
            let reply = connection.reply("GET");
            let reply = reply.unwrap_or_else(|error| panic!("reply {number}: {error}"));
            assert!(reply.expect(200).body.len() > 20_000);
        }
    }
    calm.check("long answers");
}

#[test]
fn a_reader_that_takes_nothing_holds_up_nobody() {
    let calm = Calm::start();
    let unread: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = calm.agent.tcp().connect().expect("it listens");
            let request = "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n";
            // The agent stops reading when its answers are not taken, so not all of it goes out.
            let _ = connection.send(request.repeat(50).as_bytes());
            connection
        })
        .collect();
    calm.check("readers that take nothing");
    drop(unread);
    calm.check("readers that went away");
}

/// The one test that waits for a limit of time, 10 s for a head, by the real clock.
#[test]
fn slow_heads_are_closed_in_time_and_others_are_served_meanwhile() {
    let calm = Calm::start();
    let begun = Instant::now();
    let mut slow: Vec<Connection> =
        (0..50).map(|_| calm.agent.tcp().connect().expect("it listens")).collect();
    for connection in &mut slow {
        connection.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").expect("sent");
    }
    let mut silent = calm.agent.tcp().connect().expect("it listens");
    silent.send(b"DELETE /v1/jobs/quiet HTTP/1.1\r\nHost: localhost\r\n").expect("sent");
    let mut longest = Duration::ZERO;
    wait_until(DEADLINE, "the first slow head was refused", || {
        let asked = Instant::now();
        calm.check("slow heads");
        longest = longest.max(asked.elapsed());
        // A byte now and then does not make it longer.
        let refused = slow.iter_mut().any(|connection| connection.send(b"x").is_err());
        (refused || begun.elapsed() > Duration::from_secs(10)).then_some(())
    });
    assert!(begun.elapsed() >= Duration::from_millis(9_500), "{:?}", begun.elapsed());
    for connection in &mut slow {
        let reply = connection.reply("GET").expect("a reply");
        check_refusal(&reply, 408, "did not arrive in time", "a slow head");
    }
    check_refusal(&silent.reply("DELETE").expect("a reply"), 408, "in time", "silence");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(longest < Duration::from_secs(2), "somebody waited {longest:?}");
    calm.check("slow heads that were closed");
}

#[test]
fn a_new_connection_gets_in_however_many_there_are() {
    // 256 descriptors leave (256 - 64) / 2 = 96 connections.
    const DESCRIPTORS: usize = 256;
    const CONNECTIONS: usize = 5_000;
    let through = format!(r#"ulimit -n {DESCRIPTORS}; exec "$@""#);
    let calm = Calm::over(Agent::builder().through(&through).start());
    let held = CONNECTIONS.min(descriptors_here().saturating_sub(500));
    let mut open = std::collections::VecDeque::new();
    for number in 0..CONNECTIONS {
        let mut connection = calm.agent.tcp().connect().expect("it listens");
        match number % 5 {
            0 => connection.send(b"GET /health HTTP/1.1\r\n").expect("it is sent"),
            1 => {
                connection.send(HEALTH.as_bytes()).expect("it is sent");
                connection.reply("GET").expect("the newest gets in").expect(200);
            }
            _ => {}
        }
        if number % 1_000 == 999 {
            calm.check("a thousand connections more");
            // The agent keeps its own user from looking into it.
            if is_root() {
                let descriptors = format!("/proc/{}/fd", calm.agent.pid());
                let count = fs::read_dir(descriptors).expect("it runs").count();
                assert!(count < DESCRIPTORS, "{count} descriptors");
            }
        }
        open.push_back(connection);
        if open.len() > held {
            open.pop_front();
        }
    }
    assert!(open.len() >= CONNECTIONS.min(held));
    let mut newest = open.pop_back().expect("it was opened");
    newest.send(HEALTH.as_bytes()).expect("it is sent");
    newest.reply("GET").expect("the newest is served").expect(200);
    calm.agent.tcp().post("/v1/jobs", QUIET).expect(201);
    drop(open);
    let log = calm.agent.log();
    assert!(!log.contains("level=error"), "{log}");
}

#[test]
fn readers_that_take_nothing_cannot_keep_others_out() {
    // As above, 96 connections.
    let through = r#"ulimit -n 256; exec "$@""#;
    let calm = Calm::over(Agent::builder().through(through).start());
    // The buffers of a Unix socket are small, and the same for all.
    let request = "GET /v1/schedule/next?schedule=@daily&count=400 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stalled: Vec<Connection> = Vec::new();
    for _ in 0..120 {
        let mut connection = calm.agent.unix().connect().expect("it listens");
        connection.send(request.repeat(40).as_bytes()).expect("it is sent");
        // One answer shows that the connection got in; the rest is never taken.
        connection.reply("GET").expect("the newest gets in").expect(200);
        stalled.push(connection);
    }
    calm.check("readers that take nothing");
    calm.agent.get("/v1/jobs").expect(200);
    drop(stalled);
    calm.check("readers that went away");
}

/// Good requests with a few bytes changed, repeated, dropped or cut, sent in pieces of any size.
#[test]
fn requests_that_are_broken_at_random_break_nothing() {
    const REQUESTS: [&str; 8] = [
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 61\r\n\r\n\
         {\"name\":\"x1\",\"schedule\":\"0 0 0 1 1 *\",\"command\":\"true\",\"a\":1}",
        "PATCH /v1/jobs/x1?pretty HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
         e\r\n{\"tags\":{\"a\":\"\r\n6\r\nb\\u00e9\r\n3\r\n\"}}\r\n0\r\n\r\n",
        "GET /v1/jobs?_start=0&_end=7&q=x&tags[a]=b&_sort=next&_order=DESC HTTP/1.1\r\n\
         Host: localhost:80\r\nAccept: */*\r\nIf-None-Match: \"1-2\"\r\n\r\n",
        "GET /v1/schedule/next?schedule=0%201-5/2%20*%20*%20*%20MON&count=9 HTTP/1.1\r\n\
         Host: localhost\r\n\r\n",
        "PUT /v1/jobs/x1 HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\
         If-Match: \"3\"\r\nContent-Length: 46\r\n\r\n\
         {\"schedule\":\"@every 9000h\",\"command\":\"echo a\"}",
        "GET http://localhost/v1/jobs/x1/executions?state=all HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v1/jobs/x1/run HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Length: 2\r\n\r\n{}",
        "DELETE /v1/jobs/x1 HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n\r\n",
    ];
    let seed = std::env::var("BELLWETHER_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(20_261);
    println!("BELLWETHER_SEED={seed} repeats this");
    let mut rng = Rng::new(seed);
    let agent = Agent::start();
    for round in 0..1_500 {
        let mut bytes = Vec::new();
        for _ in 0..=rng.below(3) {
            bytes.extend_from_slice(REQUESTS[rng.below(8) as usize].as_bytes());
        }
        for _ in 0..rng.below(4) {
            break_something(&mut bytes, &mut rng);
        }
        let client = if rng.chance(1, 2) { agent.tcp() } else { agent.unix() };
        let mut connection = client.connect().expect("it listens");
        for piece in bytes.chunks(1 + rng.below(bytes.len() as u64 + 1) as usize) {
            if connection.send(piece).is_err() {
                break;
            }
        }
        let _ = connection.finish();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let answer = connection.rest().unwrap_or_else(|error| panic!("{error}: {shown}"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 "), "{shown}: {answer}");
        assert!(!answer.contains("HTTP/1.1 500"), "{shown}: {answer}");
        if round % 100 == 0 {
            agent.get("/ready").expect(200);
        }
    }
    agent.get("/ready").expect(200);
    agent.get("/v1/jobs").expect(200).json();
    assert!(!agent.log().contains("level=error"), "{}", agent.log());
}

/// Bytes that mean something to one of the readers.
const SPECIAL: &[u8] = b"\r\n\0 :/%\"{}[],\xff";

fn break_something(bytes: &mut Vec<u8>, rng: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.below(bytes.len() as u64) as usize;
    match rng.below(6) {
        0 => bytes[at] = rng.below(256) as u8,
        1 => bytes[at] ^= 1 << rng.below(8),
        2 => drop(bytes.remove(at)),
        3 => bytes.truncate(at.max(1)),
        4 => bytes.insert(at, SPECIAL[rng.below(SPECIAL.len() as u64) as usize]),
        _ => {
            let end = (at + 1 + rng.below(40) as usize).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
    }
}

/// How many descriptors this process may have, after asking for all it can get.
fn descriptors_here() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max.min(65_536);
    // SAFETY: reads one rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    usize::try_from(limit.rlim_cur).expect("it is small")
}
