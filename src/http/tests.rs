//! Conversations with a [`Connection`], in which a [`Peer`] plays the shell and the handlers.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ident::StreamId;
use crate::rng::Rng;
use crate::time::Mono;

mod corpus;
mod life;
mod uploads;

const WHOM: &str = "node-1";

/// A connection, a clock, and all that went through.
struct Peer {
    connection: Connection,
    now: Mono,
    requests: Vec<Request>,
    wire: Vec<u8>,
}

/// A response as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is given twice in {self:?}");
        value
    }

    fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

impl Peer {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let settings = Settings { whom: WHOM.into(), limits };
        let now = Mono(5_000_000_000);
        let connection = Connection::new(Arc::new(settings), now);
        Peer { connection, now, requests: Vec::new(), wire: Vec::new() }
    }

    /// Gives the machine `bytes`, answers every request with its path and takes all output.
    fn feed(&mut self, bytes: &[u8]) {
        self.connection.received(bytes, self.now);
        self.serve();
    }

    fn serve(&mut self) {
        self.take_body();
        while let Some(request) = self.connection.poll_request(self.now) {
            self.requests.push(request);
            if !self.connection.is_uploading() {
                self.respond();
            }
            self.take_body();
        }
        self.drain();
    }

    /// Takes what has come of the body of an upload, and answers when that is all.
    fn take_body(&mut self) {
        while let Some(piece) = self.connection.poll_body(self.now) {
            self.requests.last_mut().unwrap().body.extend(piece.bytes);
            if piece.is_last {
                self.respond();
            }
        }
    }

    fn respond(&mut self) {
        let path = self.requests.last().unwrap().path.clone();
        let response = Response::new(200, Body::Bytes(path.into_bytes()));
        self.connection.respond(response, self.now);
    }

    fn drain(&mut self) {
        let output = self.connection.output().to_vec();
        self.connection.sent(output.len(), self.now);
        self.wire.extend_from_slice(&output);
    }

    fn wait(&mut self, wait: Duration) {
        self.now = self.now + wait;
        self.connection.handle_timeout(self.now);
    }

    fn answers(&self) -> Vec<Answer> {
        let heads: Vec<bool> = self.requests.iter().map(|r| r.method == Method::Head).collect();
        read_answers(&self.wire, &heads)
    }

    fn statuses(&self) -> Vec<u16> {
        self.answers().iter().map(|answer| answer.status).collect()
    }
}

/// Reads what a strict client would; interim responses are left out. `heads` says which of the
/// requests were HEAD.
fn read_answers(mut wire: &[u8], heads: &[bool]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !wire.is_empty() {
        let shown = String::from_utf8_lossy(wire);
        let end = wire.windows(4).position(|w| w == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("a head has no end: {shown}"));
        let head = std::str::from_utf8(&wire[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        let status = status.get(..3).unwrap().parse().unwrap();
        wire = &wire[end + 4..];
        if status == 100 {
            assert!(lines.next().is_none(), "an interim response has no fields");
            continue;
        }
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let is_head = heads.get(answers.len()).copied().unwrap_or(false);
        if is_head || matches!(status, 204 | 304) {
        } else if let Some(length) = answer.header("content-length") {
            let (body, rest) = wire.split_at(length.parse().unwrap());
            answer.body = body.to_vec();
            wire = rest;
        } else if answer.header("transfer-encoding").is_some() {
            (answer.body, wire) = read_chunks(wire);
        } else {
            assert!(answer.closes(), "{answer:?} has no end");
            answer.body = std::mem::take(&mut wire).to_vec();
        }
        answers.push(answer);
    }
    answers
}

fn read_chunks(mut wire: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let end = wire.windows(2).position(|w| w == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&wire[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&wire[end + 2..end + 2 + size]);
        assert_eq!(&wire[end + 2 + size..end + 4 + size], b"\r\n");
        wire = &wire[end + 4 + size..];
        if size == 0 {
            return (body, wire);
        }
    }
}

/// Sends `input` in every segmentation that is worth it and returns what it led to, which must be
/// the same each time and follow the rules that hold for any bytes.
#[track_caller]
fn converse(input: &[u8]) -> (Vec<Request>, Vec<Answer>) {
    let whole = in_pieces(input, &[]);
    check_rules(&whole, input);
    let each: Vec<usize> = (1..input.len()).collect();
    let mut cuts: Vec<Vec<usize>> = vec![each.clone()];
    if input.len() < 2_000 {
        cuts.extend(each.iter().map(|&at| vec![at]));
    }
    for cuts in cuts {
        let cut = in_pieces(input, &cuts);
        let shown = String::from_utf8_lossy(input);
        let place: &[usize] = if cuts.len() == 1 { &cuts } else { &[] };
        assert_eq!(cut.requests, whole.requests, "cut at {place:?}: {shown}");
        assert_eq!(
            String::from_utf8_lossy(&cut.wire),
            String::from_utf8_lossy(&whole.wire),
            "cut at {place:?}: {shown}"
        );
        assert_eq!(cut.connection.is_done(), whole.connection.is_done());
        assert_eq!(cut.connection.wants_shutdown(), whole.connection.wants_shutdown());
    }
    let answers = whole.answers();
    (whole.requests, answers)
}

fn in_pieces(input: &[u8], cuts: &[usize]) -> Peer {
    let mut peer = Peer::new();
    let mut start = 0;
    for &end in cuts.iter().chain([&input.len()]) {
        peer.feed(&input[start..end]);
        start = end;
    }
    peer
}

/// What holds whatever came in: one answer for each request, at most one refusal and nothing after
/// it, and the name of the node on everything.
#[track_caller]
fn check_rules(peer: &Peer, input: &[u8]) {
    let shown = String::from_utf8_lossy(input);
    // A refused HEAD has no body either, and is not among the requests.
    let wire_is_cut = peer.wire.ends_with(b"\r\n\r\n");
    let mut heads: Vec<bool> = peer.requests.iter().map(|r| r.method == Method::Head).collect();
    heads.push(wire_is_cut);
    let answers = read_answers(&peer.wire, &heads);
    let refused = answers.len() - peer.requests.len();
    assert!(refused <= 1, "{refused} refusals for {shown:?}");
    for (at, answer) in answers.iter().enumerate() {
        let is_last = at + 1 == answers.len();
        assert_eq!(answer.header("x-whom"), Some(WHOM));
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
        assert!(is_last || !answer.closes(), "an answer follows the last one: {shown:?}");
        if answer.status == 200 {
            assert!(at < peer.requests.len());
            continue;
        }
        assert!(is_last && refused == 1 && answer.closes(), "{answer:?}");
        if !wire_is_cut {
            let object: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["code", "error"]);
        }
    }
}

/// A request line and `Host`, then `fields`, each ended here, then `body`.
fn post(fields: &[&str], body: &str) -> Vec<u8> {
    let mut text = String::from("POST /v1/jobs HTTP/1.1\r\nHost: n1\r\n");
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post(&["Transfer-Encoding: chunked"], body)
}
