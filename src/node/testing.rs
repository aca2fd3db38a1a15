//! What the tests of this room share: a node after a start, with a disk that is driven by hand.

use std::collections::BTreeMap;

use super::{Durable, Effect, Found, Identity, Input, Node, RELEASE, Settings, Told, Word};
use crate::api::{HostRule, Peer, Role};
use crate::cluster::{Promise, Timing};
use crate::cron::Zone;
use crate::http::{Body, Headers, Method, Request, Response};
use crate::ident::{Boot, ClusterId, Epoch, Index, NodeId, RequestId, StoreId};
use crate::job::Spec;
use crate::store::{Entry, Facts, JobPut, Member, MemberState, Record, Servers, State};
use crate::time::{Mono, Now};

/// A job that is due at every second.
pub(super) fn every_second() -> Spec {
    Spec {
        name: "a".into(),
        schedule: "* * * * * *".into(),
        command: "true".into(),
        timezone: "UTC".into(),
        keep: 10_000,
        ..Spec::default()
    }
}

/// A journal of a cluster of one in which that job was created.
pub(super) fn records_of(spec: &Spec) -> Vec<Record> {
    vec![
        Record::Config(Servers::of(ClusterId(1), vec![node_id()])),
        Record::EpochStart { leader: node_id() },
        Record::Node(Member {
            id: node_id(),
            store: StoreId(1),
            boot: Boot(1),
            name: "n".into(),
            address: String::new(),
            server: true,
            work: true,
            tags: Vec::new(),
            state: MemberState::Registered,
        }),
        Record::JobPut(JobPut {
            name: spec.name.clone(),
            spec: spec.to_bytes(),
            timing: crate::schedule::timing(spec),
            facts: Facts {
                disabled: false,
                forbid: false,
                per_node: true,
                keep: 10_000,
                ..Facts::default()
            },
            mark: None,
            anchor: None,
        }),
    ]
}

/// A node that has just found `records`, all written at [`RELEASE`], `seconds` ago.
pub(super) fn node_after(records: Vec<Record>, seconds: i64) -> Node {
    node_of_store(StoreId(1), records, seconds)
}

/// The same, in a data directory that may be another than the one in the records.
pub(super) fn node_of_store(store: StoreId, records: Vec<Record>, seconds: i64) -> Node {
    let entry = |(index, record)| Entry {
        index: Index(index),
        epoch: Epoch(1),
        wall: RELEASE,
        actor: "test".into(),
        record,
    };
    let promise = Promise { epoch: Epoch(1), to: Some(node_id()) };
    let boot = Boot(1);
    let found = Found {
        identity: Identity { node: node_id(), store, boot, promise },
        state: State::new(),
        records: (1..).zip(records).map(entry).collect(),
        runs: Vec::new(),
        checkpoint: None,
    };
    let settings = Settings {
        name: "n".into(),
        tags: Vec::new(),
        address: String::new(),
        server: true,
        work: true,
        default_zone: "UTC".into(),
        hosts: HostRule::default(),
        running_max: 1,
        snapshot_bytes: u64::MAX,
        timing: Timing::default(),
        seed: 0x5eed_5eed_5eed_5eed,
        warnings: Vec::new(),
    };
    Node::new(settings, Box::new(zones()), found, at(seconds))
}

/// The clocks, so many seconds after [`RELEASE`].
pub(super) fn at(seconds: i64) -> Now {
    let nanoseconds = seconds.unsigned_abs() * 1_000_000_000;
    Now { mono: Mono(nanoseconds), wall: RELEASE.second().plus(seconds).wall() }
}

/// Makes the oldest batch durable that the node wants to be; false when there is none. Answers
/// before it go to `answers`.
pub(super) fn sync_one(node: &mut Node, answers: &mut Vec<Response>) -> bool {
    while let Some(effect) = node.poll_effect() {
        match effect {
            Effect::Commit(batch) => {
                let ticket = batch.ticket;
                let durable = Durable { ticket, ..Durable::default() };
                let now = node.now;
                node.handle(Input::Durable(durable), now);
                return true;
            }
            Effect::Reply(_, response) => answers.push(response),
            Effect::Snapshot(..)
            | Effect::ReadOutputs(..)
            | Effect::ReadRecords(_)
            | Effect::ReadBody(_)
            | Effect::ReadSnapshot(..)
            | Effect::Send(..)
            | Effect::StreamReady(_)
            | Effect::Halt(_)
            | Effect::CompactRuns(_)
            | Effect::Launcher(_)
            | Effect::Watch(_)
            | Effect::Log(_)
            | Effect::Exit => {}
        }
    }
    false
}

/// Makes everything durable; the answers.
pub(super) fn sync(node: &mut Node) -> Vec<Response> {
    let mut answers = Vec::new();
    while sync_one(node, &mut answers) {}
    answers
}

/// Gives the node a request.
pub(super) fn ask(node: &mut Node, method: Method, path: &str, body: &str) {
    give(node, method, path, body, Headers::default());
}

/// Gives the node a request with a key.
pub(super) fn keyed(node: &mut Node, method: Method, path: &str, body: &str, key: &str) {
    let mut headers = Headers::default();
    headers.push("Idempotency-Key", key);
    give(node, method, path, body, headers);
}

fn give(node: &mut Node, method: Method, path: &str, body: &str, headers: Headers) {
    let request = Request {
        method,
        path: path.into(),
        query: Vec::new(),
        headers,
        body: body.into(),
        host: None,
        version_10: false,
    };
    let peer = Peer { role: Some(Role::Admin), who: "test".into(), on_unix_socket: true };
    let (now, request) = (node.now, Box::new(request));
    node.handle(Input::Request { id: RequestId(1), peer, request }, now);
}

/// What was answered and not looked at yet: statuses, with the codes of errors. What else the node
/// wanted stays to be done.
pub(super) fn answered(node: &mut Node) -> Vec<String> {
    let mut answers = Vec::new();
    for effect in std::mem::take(&mut node.effects) {
        match effect {
            Effect::Reply(_, response) => {
                let Body::Bytes(body) = response.body else { continue };
                let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                let code = json["code"].as_str().map_or_else(String::new, |c| format!(" {c}"));
                answers.push(format!("{}{code}", response.status));
            }
            other => node.effects.push_back(other),
        }
    }
    answers
}

/// The status of what is answered at once, and the code or else the body. Nothing becomes durable
/// by it, and what else the node wanted stays to be done.
pub(super) fn get(node: &mut Node, path: &str) -> (u16, String) {
    ask(node, Method::Get, path, "");
    let is_reply = |effect: &Effect| matches!(effect, Effect::Reply(..));
    let at = node.effects.iter().position(is_reply).expect("it is answered at once");
    let Some(Effect::Reply(_, response)) = node.effects.remove(at) else { panic!("a reply") };
    let Body::Bytes(body) = response.body else { return (response.status, String::new()) };
    let json: serde_json::Value = serde_json::from_slice(&body).expect("an answer is JSON");
    let code = json["code"].as_str().map_or_else(|| json.to_string(), str::to_owned);
    (response.status, code)
}

/// What comes of a word of `node` as bytes, which is the same.
pub(super) fn wired(node: &Node, word: Word) -> Word {
    let (from, config) = (node.identity.node, node.config_at());
    let frame = word.frame(from, config).expect("what a node says fits a frame");
    let told = Word::read(&frame).expect("what a node says is understood");
    assert_eq!(told, Told { from, config, word });
    told.word
}

pub(super) fn node_id() -> NodeId {
    NodeId::new(7).expect("not 0")
}

fn zones() -> BTreeMap<String, Zone> {
    BTreeMap::from([("UTC".to_owned(), Zone::utc())])
}
