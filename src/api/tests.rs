//! The API as conversations: requests as they come from a socket, answers as they go out, over a
//! state that only records have made.
//!
//! [`World`] plays the node's part: it applies the record of a change, and hands a stream's pieces
//! together. Each row of a conversation is a request and what its answer must be.

mod backup;
mod chains;
mod changes;
mod guard;
mod jobs;
mod keys;
mod lists;
mod restore;
mod routes;
mod streams;
mod voters;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::cron::Zone;
use crate::http::{Connection, Settings};
use crate::ident::{Boot, ClusterId, RunId, StoreId};
use crate::store::{
    self, Claim, End, Ending, Entry, Finished, Member, MemberState, Servers, Skip, SkipReason,
    Trigger,
};
use crate::time::{Mono, Second, Wall};

/// 2026-06-01T12:00:00Z.
const NOON: Wall = Wall(1_780_315_200_000);

struct World {
    state: State,
    scheduler: Scheduler,
    dispatch: Dispatch,
    zones: BTreeMap<String, Zone>,
    hosts: HostRule,
    is_server: bool,
    established: bool,
    not_ready: Vec<&'static str>,
    now: Now,
    peer: Peer,
    /// What runs printed, by the record of their end.
    outputs: BTreeMap<Index, Vec<u8>>,
}

impl World {
    /// One node, `n1`, that leads a cluster of its own, and no job.
    fn new() -> World {
        let mut world = World {
            state: State::new(),
            scheduler: Scheduler::default(),
            dispatch: Dispatch::default(),
            zones: [("UTC".to_owned(), Zone::utc())].into(),
            hosts: HostRule { names: vec!["cron.example".into()] },
            is_server: true,
            established: true,
            not_ready: Vec::new(),
            now: Now { mono: Mono(0), wall: NOON },
            peer: peer(Some(Role::Admin)),
            outputs: BTreeMap::new(),
        };
        world.apply(Record::Config(Servers::of(ClusterId(5), vec![node(1)])));
        world.apply(Record::Node(member(1, "n1")));
        world.scheduler.take_office(&world.state, &world.zones, world.now);
        world
    }

    fn apply(&mut self, record: Record) -> store::Change {
        let index = Index(self.state.applied().0 + 1);
        let (wall, actor) = (self.now.wall, "test".to_owned());
        let entry = Entry { index, epoch: Epoch(1), wall, actor, record };
        let change = self.state.apply(entry);
        match change {
            store::Change::JobPut(job) => self.scheduler.job_put(&self.state, job, &self.zones),
            store::Change::JobDeleted(job) => self.scheduler.job_deleted(job),
            store::Change::Claimed(job, group) => {
                self.dispatch.claimed(&self.state, &self.scheduler, job, group, self.now);
            }
            store::Change::Ended(_, run) => self.dispatch.ended(&self.state, run, self.now),
            store::Change::Retried(job, run) => {
                let of = (job, run);
                self.dispatch.retried(&self.state, &self.scheduler, of, index, self.now);
            }
            store::Change::Restored(ref jobs) => {
                for (_, job, _) in jobs {
                    self.scheduler.job_put(&self.state, *job, &self.zones);
                }
            }
            _ => {}
        }
        self.state.check();
        change
    }

    fn view(&self) -> View<'_> {
        View {
            state: &self.state,
            scheduler: &self.scheduler,
            dispatch: &self.dispatch,
            zones: &self.zones,
            default_zone: "UTC",
            me: node(1),
            node_name: "n1",
            is_server: self.is_server,
            leader: self.established.then_some((node(1), Epoch(1))),
            established: self.established,
            not_ready: &self.not_ready,
            warnings: &[],
            uptime: Duration::from_secs(90),
            now: self.now,
            hosts: &self.hosts,
        }
    }

    /// The answer to a request, its change made and its stream read to the end.
    fn answer(&mut self, request: &Request) -> Response {
        let answer = match handle(&self.view(), request, &self.peer) {
            Answer::Now(response) => response,
            Answer::Leave => left(&self.view()),
            Answer::Transfer(_) => handed_over(&self.view()),
            Answer::Consistent => {
                let query = |(key, _): &(String, String)| key != CONSISTENT;
                let mut request = request.clone();
                request.query.retain(query);
                self.answer(&request)
            }
            Answer::Forward => unavailable("no_leader", "the node would ask the leader"),
            Answer::Stream(mut head, mut stream) => {
                head.body = Body::Bytes(self.read(&mut stream));
                head
            }
            Answer::Change(change) => self.change(*change),
            Answer::Restore(restore) => match self.restore(*restore, &request.body) {
                Ok(response) | Err(response) => response,
            },
        };
        for (name, _) in &answer.headers {
            assert!(ANSWER_FIELDS.contains(name), "{name} would not come from a leader");
        }
        answer
    }

    /// Plays the node's part in a restore, whose body comes in two pieces.
    fn restore(&mut self, mut restore: Restore, body: &[u8]) -> Result<Response, Response> {
        let mut pieces = vec![&body[body.len() / 2..], &body[..body.len() / 2]];
        loop {
            match restore.next(&self.view(), 1)? {
                Next::Part(part) => {
                    self.apply(Record::RestorePart(part));
                }
                Next::Wants => match pieces.pop() {
                    Some(piece) => restore.feed(piece),
                    None => restore.end(),
                },
                Next::Done => break,
            }
        }
        let commit = restore.commit(&self.view(), 1)?;
        let record = keyed(Record::RestoreCommit(commit), restore.key.clone());
        let store::Change::Restored(jobs) = self.apply(record) else { panic!("it is whole") };
        let (mut head, mut stream) = restore.answer(&jobs);
        head.body = Body::Bytes(self.read(&mut stream));
        Ok(head)
    }

    /// All of a stream, which is told what it wants to know.
    fn read(&self, stream: &mut Stream) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match stream.produce(&self.view(), &mut all) {
                Progress::More => {}
                Progress::Wants(records) => {
                    let kept = |index| (index, self.outputs.get(&index).cloned());
                    stream.give(records.into_iter().map(kept).collect());
                }
                Progress::Done => return all,
                Progress::Cut => panic!("nothing has changed so much"),
            }
        }
    }

    fn change(&mut self, change: Change) -> Response {
        let Change { name, record, key, mut then, .. } = change;
        let wanted = matches!(then, Then::Stored { run_once: RunOnce::Wanted, .. });
        let record = keyed(record, key.clone().filter(|_| !wanted));
        // What goes into the journal comes out of it.
        let payload = record.encode(self.now.wall, "");
        let (index, kind) = (Index(self.state.applied().0 + 1), record.kind());
        let entry = Entry::decode(index, Epoch(1), kind, store::SCHEMA, &payload);
        assert_eq!(entry.unwrap().record, record);
        assert!(!matches!(self.apply(record), store::Change::Void(_)));
        if let Then::Stored { run_once, .. } = &mut then {
            if wanted {
                *run_once = RunOnce::Done;
                let job = self.state.job_named(&name).unwrap();
                let claim = claim_by_hand(&self.view(), job).unwrap();
                self.apply(keyed(claim, key));
            }
        }
        applied(&self.view(), &name, then, self.state.applied())
    }

    /// The answer to a request that is written as in [`World::talk`].
    fn ask(&mut self, text: &str) -> Response {
        self.answer(&request(text))
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    fn body(&mut self, text: &str, status: u16) -> serde_json::Value {
        let response = self.ask(text);
        assert_eq!(response.status, status, "{text}: {}", body_text(&response));
        serde_json::from_str(&body_text(&response)).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// Asks, and checks each answer. A request is `METHOD target`, lines of header fields, and
    /// after an empty line the body. What is wanted is the status, then, each after ` | `:
    /// `Name: value` a header, `-Name` none of that name, `= text` the body, `~ text` a part of
    /// it, `! text` no part of it.
    #[track_caller]
    fn talk(&mut self, rows: &[(&str, &str)]) {
        for (text, wanted) in rows {
            let response = self.ask(text);
            let body = body_text(&response);
            let shown = format!("{text}\ngot {} {:?}\n{body}", response.status, response.headers);
            let mut parts = wanted.split(" | ");
            assert_eq!(parts.next(), Some(response.status.to_string().as_str()), "{shown}");
            for part in parts {
                let holds = match part.split_at(1) {
                    ("=", rest) => body == rest.trim_start(),
                    ("~", rest) => body.contains(rest.trim_start()),
                    ("!", rest) => !body.contains(rest.trim_start()),
                    ("-", name) => header(&response, name).is_none(),
                    _ => {
                        let (name, value) = part.split_once(": ").unwrap();
                        header(&response, name) == Some(value)
                    }
                };
                assert!(holds, "wanted {part}\n{shown}");
            }
            check_always(&response, &shown);
        }
    }

    /// Ends the run of `group` on node `on`.
    fn end(&mut self, group: u64, on: u32, end: End, tail: &[u8]) {
        let wall = self.now.wall;
        let run = RunId { group: Index(group), node: node(on), attempt: 1 };
        let ending = Ending {
            end,
            reason: None,
            exit_code: Some(i32::from(end != End::Succeeded)),
            signal: None,
            started: wall,
            finished: Wall(wall.0 + 1_500),
            duration_ms: 1_500,
            cpu_ms: 3,
            max_rss_bytes: 4_096,
            output_bytes: tail.len() as u64,
        };
        self.apply(Record::Finished(Finished { run, ending, tail: tail.to_vec() }));
        self.outputs.insert(self.state.applied(), tail.to_vec());
    }
}

/// What holds of every answer.
#[track_caller]
fn check_always(response: &Response, shown: &str) {
    let body = body_text(response);
    if header(response, "Content-Type") == Some("application/x-ndjson") {
        for line in body.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect(shown);
        }
    } else if response.status != 304 {
        let json: serde_json::Value = serde_json::from_str(&body).expect(shown);
        if response.status >= 400 && json != "I am a follower" && json.get("ready").is_none() {
            let sentence = json["error"].as_str().expect(shown);
            assert!(!sentence.is_empty() && !sentence.ends_with('.'), "{shown}");
            assert!(json["code"].is_string(), "{shown}");
        }
    }
    assert_eq!(
        response.status == 405,
        header(response, "Allow").is_some() && response.status != 200
    );
    if response.status == 503 {
        assert!(header(response, "Retry-After").is_some(), "{shown}");
    }
}

fn body_text(response: &Response) -> String {
    match &response.body {
        Body::Empty => String::new(),
        Body::Bytes(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Body::Stream(_) => panic!("the node makes streams, not handlers"),
    }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let found = response.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// The request, read by the protocol's machine from its bytes. Without a `Host` line it has
/// `Host: localhost`; `Host: none` makes it one of HTTP/1.0 without any.
fn request(text: &str) -> Request {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    let fields: Vec<&str> = lines.collect();
    let hostless = fields.contains(&"Host: none");
    let mut bytes = format!("{first} HTTP/1.{}\r\n", u8::from(!hostless));
    for field in fields.iter().filter(|field| **field != "Host: none") {
        bytes.push_str(&format!("{field}\r\n"));
    }
    if !fields.iter().any(|field| field.starts_with("Host: ")) {
        bytes.push_str("Host: localhost\r\n");
    }
    bytes.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut connection = Connection::new(Arc::new(Settings::default()), Mono(0));
    let mut left = bytes.as_bytes();
    loop {
        let now = Mono(0);
        if let Some(request) = connection.poll_request(now) {
            return request;
        }
        assert!(connection.wants_read() && !left.is_empty(), "not a request: {text}");
        let (part, rest) = left.split_at(left.len().min(4_096));
        connection.received(part, now);
        left = rest;
    }
}

fn node(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

fn member(number: u32, name: &str) -> Member {
    Member {
        id: node(number),
        store: StoreId(number.into()),
        boot: Boot(1),
        name: name.to_owned(),
        address: String::new(),
        server: true,
        work: true,
        tags: vec![("role".into(), "web".into())],
        state: MemberState::Registered,
    }
}

fn peer(role: Option<Role>) -> Peer {
    Peer { role, who: "uid 1".into(), on_unix_socket: false }
}

/// POST of a job that never fires by itself, with further keys.
fn put(name: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { "," };
    format!(
        "POST /v1/jobs\n\n{{\"name\":\"{name}\",\"schedule\":\"@manually\",\"command\":\"true\"\
         {comma}{more}}}"
    )
}
