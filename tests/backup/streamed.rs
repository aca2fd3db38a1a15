//! Restores that are larger than what the agent keeps of them, and clients that stall or leave in
//! the middle of one.

use super::common::{Agent, Client, DEADLINE, wait_until};
use serde_json::json;
use std::fs;

/// What is sent, about: more than a body that is kept whole may have.
const BODY_BYTES: usize = 96 * 1024 * 1024;
/// Jobs in it; most of it is white space between them, so that little of it is state.
const JOBS: usize = 1_500;
/// What the agent's memory may grow by, in KiB: pieces, records on their way, and those jobs.
const GROWTH_MAX_KIB: u64 = 24 * 1024;

fn job(number: usize) -> String {
    format!(r#"{{"name":"job{number}","schedule":"@manually","command":"true"}}"#)
}

/// The most memory that the process has ever had, in KiB.
fn peak_kib(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

/// Sends a large restore, a job at a time, as `piece` frames it; the status of the answer.
fn send_large(client: &Client, head: &str, piece: impl Fn(&[u8]) -> Vec<u8>, end: &[u8]) -> u16 {
    let mut connection = client.connect().expect("it listens");
    let head = format!("POST /v1/restore?replace HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
    connection.send(head.as_bytes()).expect("it is sent");
    for number in 0..JOBS {
        connection.send(&piece(element(number).as_bytes())).expect("it is taken");
    }
    connection.send(&piece(b"]")).expect("it is taken");
    connection.send(end).expect("it is taken");
    let reply = connection.reply("POST").expect("a reply");
    assert_eq!(reply.json().as_array().map(Vec::len), Some(JOBS), "{}", reply.status);
    reply.status
}

/// A job, with what comes before it.
fn element(number: usize) -> String {
    let space = " \n".repeat(BODY_BYTES / JOBS / 2);
    format!("{}{space}{}", if number == 0 { "[" } else { "," }, job(number))
}

#[test]
fn a_restore_larger_than_what_is_kept_of_it_takes_little_memory() {
    let agent = Agent::start();
    agent.unix().post("/v1/restore", "[]").expect(200);
    let before = peak_kib(&agent);
    let length: usize = (0..JOBS).map(|number| element(number).len()).sum();
    assert!(length > 64 * 1024 * 1024, "{length} bytes");
    let known = format!("Content-Length: {}", length + 1);
    assert_eq!(send_large(&agent.tcp(), &known, <[u8]>::to_vec, b""), 200);
    let chunk = |bytes: &[u8]| {
        let size = format!("{:x}\r\n", bytes.len());
        [size.as_bytes(), bytes, b"\r\n"].concat()
    };
    let chunked = "Transfer-Encoding: chunked";
    assert_eq!(send_large(&agent.unix(), chunked, chunk, b"0\r\n\r\n"), 200);
    let grown = peak_kib(&agent) - before;
    println!("{length} bytes were restored twice, for {grown} KiB more of memory");
    assert!(grown < GROWTH_MAX_KIB, "{grown} KiB");
}

#[test]
fn a_restore_has_a_size_and_says_so() {
    let agent = Agent::start();
    for head in
        ["Content-Length: 1073741825\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n40000001\r\n"]
    {
        let mut connection = agent.unix().connect().expect("it listens");
        let head = format!("POST /v1/restore HTTP/1.1\r\nHost: localhost\r\n{head}");
        connection.send(head.as_bytes()).expect("it is sent");
        let reply = connection.reply("POST").expect("a reply").expect(413);
        assert!(reply.text().contains("at most 1073741824 bytes"), "{}", reply.text());
    }
    agent.unix().post("/v1/jobs", "x".repeat(1024 * 1024 + 1)).expect(413);
    agent.unix().post("/v1/restore", "[]").expect(200);
}

#[test]
fn a_client_that_stalls_or_leaves_in_the_middle_changes_nothing_and_makes_room_for_another() {
    let agent = Agent::start();
    agent.unix().post("/v1/restore", format!("[{}]", job(0))).expect(200);
    let body = format!("[{},{}]", job(1), job(2));
    for sent in [0, 1, body.len() / 2, body.len() - 1] {
        let mut stalled = agent.unix().connect().expect("it listens");
        let length = body.len();
        let head = format!(
            "POST /v1/restore?replace HTTP/1.1\r\nHost: localhost\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        stalled.send(head.as_bytes()).expect("it is sent");
        stalled.send(&body.as_bytes()[..sent]).expect("it is sent");
        // All else goes on, but there is one restore at a time.
        let ask = || agent.unix().post("/v1/restore", "[]");
        wait_until(DEADLINE, "it is under way", || (ask().status == 503).then_some(()));
        assert!(ask().text().contains("another restore is under way"));
        agent.unix().patch("/v1/jobs/job0", json!({"note": sent.to_string()})).expect(201);
        drop(stalled);
        wait_until(DEADLINE, "it is given up", || (ask().status == 200).then_some(()));
        let jobs = agent.unix().get("/v1/jobs").expect(200).json();
        let names: Vec<&str> = jobs.as_array().expect("a list").iter().filter_map(name).collect();
        assert_eq!(names, ["job0"], "{sent} bytes were sent");
    }
    // What is malformed ends it, too.
    for (bad, status) in [("3\r\n[{}\r\n1\r\n", 400), ("x", 400), ("40000001\r\n", 413)] {
        let mut connection = agent.tcp().connect().expect("it listens");
        let head =
            "POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        connection.send(format!("{head}1\r\n[\r\n{bad}xx").as_bytes()).expect("it is sent");
        connection.reply("POST").expect("a reply").expect(status);
        let ask = || agent.unix().post("/v1/restore", "[]");
        wait_until(DEADLINE, "it is given up", || (ask().status == 200).then_some(()));
    }
    assert_eq!(agent.unix().get("/v1/jobs").expect(200).json().as_array().map(Vec::len), Some(1));
}

/// An error in the middle is answered at once, while the client is still sending.
#[test]
fn a_client_that_waits_for_continue_and_one_that_does_not_are_told_what_is_wrong() {
    let agent = Agent::start();
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut connection = agent.tcp().connect().expect("it listens");
        let head = format!(
            "POST /v1/restore HTTP/1.1\r\nHost: localhost\r\n{expect}\
             Content-Length: 900000000\r\n\r\n"
        );
        connection.send(head.as_bytes()).expect("it is sent");
        connection.send(b"[\n{\"name\":\"a\"},").expect("it is sent");
        let reply = connection.reply("POST").expect("a reply").expect(400);
        assert!(reply.text().contains("job 1 (line 2): schedule"), "{}", reply.text());
        assert_eq!(reply.header("connection"), Some("close"));
    }
    assert_eq!(agent.get("/v1/jobs").expect(200).json(), json!([]));
}

fn name(job: &serde_json::Value) -> Option<&str> {
    job["name"].as_str()
}
