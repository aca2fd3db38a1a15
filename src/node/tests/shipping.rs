//! Three servers, one of which is away until the others have only a snapshot of what it lacks.

use std::collections::{BTreeMap, VecDeque};

use crate::api::{HostRule, Peer, Role};
use crate::cluster::{Promise, Timing};
use crate::cron::Zone;
use crate::http::{Headers, Method, Request};
use crate::ident::{Boot, ClusterId, Epoch, Index, NodeId, RequestId, StoreId};
use crate::journal::Seam;
use crate::node::testing::wired;
use crate::node::{
    Durable, Effect, Found, Identity, Input, Node, RELEASE, Raw, Settings, SnapshotNews,
    SnapshotPart, SnapshotWork, Word,
};
use crate::store::{Entry, Record, Servers, State};
use crate::time::{Mono, Now};

/// Chunks in a part.
const PART: usize = 2;
const JOBS: u32 = 3_000;
const ALL: [u32; 3] = [7, 8, 9];

struct Server {
    node: Node,
    inbox: VecDeque<Input>,
    /// The chunks of the snapshot that is being written or in force, and where it ends.
    chunks: Vec<Vec<u8>>,
    seam: Seam,
    journal: Vec<Raw>,
}

struct Group {
    now: Now,
    servers: BTreeMap<NodeId, Server>,
    /// The part of this number is lost, once.
    lose: Option<u64>,
    away: Option<NodeId>,
}

fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

fn server(me: u32, now: Now) -> Server {
    let record = Record::Config(Servers::of(ClusterId(1), ALL.map(id).to_vec()));
    let first = Raw {
        index: Index(1),
        epoch: Epoch(0),
        kind: record.kind(),
        payload: record.encode(RELEASE, "test"),
    };
    let actor = "test".into();
    let entry = Entry { index: Index(1), epoch: Epoch(0), wall: RELEASE, actor, record };
    let promise = Promise::default();
    let found = Found {
        identity: Identity { node: id(me), store: StoreId(u64::from(me)), boot: Boot(1), promise },
        state: State::new(),
        records: vec![entry],
        runs: Vec::new(),
        checkpoint: None,
    };
    let settings = Settings {
        name: format!("n{me}"),
        tags: Vec::new(),
        address: String::new(),
        server: true,
        work: true,
        default_zone: "UTC".into(),
        hosts: HostRule::default(),
        running_max: 1,
        // Due as soon as there is anything.
        snapshot_bytes: 1,
        timing: Timing::default(),
        seed: u64::from(me),
        warnings: Vec::new(),
    };
    let zones = BTreeMap::from([("UTC".to_owned(), Zone::utc())]);
    let node = Node::new(settings, Box::new(zones), found, now);
    let (inbox, chunks, journal) = (VecDeque::new(), Vec::new(), vec![first]);
    Server { node, inbox, chunks, seam: Seam::default(), journal }
}

impl Group {
    fn new() -> Group {
        let now = Now { mono: Mono(1_000_000_000), wall: RELEASE };
        let servers = ALL.map(|me| (id(me), server(me, now))).into();
        Group { now, servers, lose: None, away: None }
    }

    fn get(&self, number: u32) -> &Server {
        &self.servers[&id(number)]
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now.mono = Mono(self.now.mono.0 + 10_000_000);
            self.now.wall.0 += 10;
            for me in ALL.map(id) {
                let due = |node: &Node, now| node.poll_timeout().is_some_and(|at| at <= now);
                let server = self.servers.get_mut(&me).unwrap();
                if due(&server.node, self.now.mono) {
                    server.inbox.push_back(Input::Tick);
                }
                self.effects(me);
                while let Some(input) = self.servers.get_mut(&me).unwrap().inbox.pop_front() {
                    self.servers.get_mut(&me).unwrap().node.handle(input, self.now);
                    self.effects(me);
                }
            }
        }
    }

    fn effects(&mut self, me: NodeId) {
        while let Some(effect) = self.servers.get_mut(&me).unwrap().node.poll_effect() {
            let server = self.servers.get_mut(&me).unwrap();
            match effect {
                Effect::Commit(batch) => {
                    server.journal.retain(|raw| batch.cut.is_none_or(|keep| raw.index <= keep));
                    server.journal.extend(batch.records);
                    let (ticket, journal_bytes) = (batch.ticket, 2);
                    let durable = Durable { ticket, journal_bytes, ..Durable::default() };
                    server.inbox.push_back(Input::Durable(durable));
                }
                Effect::Snapshot(index, work) => server.snapshot(index, work),
                Effect::ReadSnapshot(to, index, part) => {
                    let part = if index == server.seam.index { part } else { 0 };
                    if let Some(part) = server.part(part) {
                        server.inbox.push_back(Input::SnapshotPart(to, part));
                    }
                }
                Effect::ReadRecords(from) => {
                    assert!(from > server.seam.index, "{from} is in a snapshot only");
                    let records = server.journal.iter().filter(|raw| raw.index >= from);
                    let records = records.take(100).cloned().collect();
                    server.inbox.push_back(Input::Records(records));
                }
                Effect::Send(to, word) => {
                    let word = wired(&server.node, word);
                    let is_away = [me, to].iter().any(|&node| self.away == Some(node));
                    let is_lost = match &word {
                        Word::SnapshotPart(part) => {
                            self.lose.take_if(|lost| *lost == part.number).is_some()
                        }
                        _ => false,
                    };
                    if is_away || is_lost {
                        continue;
                    }
                    let inbox = &mut self.servers.get_mut(&to).unwrap().inbox;
                    inbox.push_back(Input::Peer(me, word));
                }
                Effect::Halt(why) => panic!("{me}: {why}"),
                Effect::Reply(..)
                | Effect::ReadOutputs(..)
                | Effect::ReadBody(_)
                | Effect::StreamReady(_)
                | Effect::CompactRuns(_)
                | Effect::Launcher(_)
                | Effect::Watch(_)
                | Effect::Log(_)
                | Effect::Exit => {}
            }
        }
    }

    fn ask(&mut self, of: u32, method: Method, path: &str, body: &str) {
        let (path, body) = (path.to_owned(), body.into());
        let (query, headers) = (Vec::new(), Headers::default());
        let (host, version_10) = (None, false);
        let request = Box::new(Request { method, path, query, headers, body, host, version_10 });
        let peer = Peer { role: Some(Role::Admin), who: "test".into(), on_unix_socket: true };
        let input = Input::Request { id: RequestId(1), peer, request };
        self.servers.get_mut(&id(of)).unwrap().inbox.push_back(input);
        self.pass(10);
    }
}

impl Server {
    fn snapshot(&mut self, index: Index, work: SnapshotWork) {
        let news = match work {
            SnapshotWork::Begin => {
                self.chunks.clear();
                self.seam = Seam { index, epoch: self.node.state().epoch(), chain: 5 };
                return;
            }
            SnapshotWork::BeginFrom(seam) => {
                self.chunks.clear();
                self.seam = seam;
                return;
            }
            SnapshotWork::Part(chunks) => {
                self.chunks.extend(chunks);
                SnapshotNews::PartWritten
            }
            SnapshotWork::End(chunks, ..) => {
                self.chunks.extend(chunks);
                SnapshotNews::InForce([3; 32])
            }
            SnapshotWork::Abort => return,
        };
        self.inbox.push_back(Input::Snapshot(index, news));
    }

    fn part(&self, number: u64) -> Option<SnapshotPart> {
        let parts: Vec<&[Vec<u8>]> = self.chunks.chunks(PART).collect();
        let chunks = parts.get(number as usize)?.to_vec();
        let is_last = number as usize + 1 == parts.len();
        Some(SnapshotPart { seam: self.seam, digest: [3; 32], number, chunks, is_last })
    }
}

fn job(number: u32) -> String {
    let note = "x".repeat(200);
    format!(r#"{{"name":"job{number}","schedule":"@manually","command":"true","note":"{note}"}}"#)
}

/// What is sent of the snapshot may be lost on the way.
#[test]
fn a_follower_takes_the_snapshot_and_goes_on_from_there() {
    for lose in [None, Some(0), Some(1), Some(3)] {
        let mut group = Group::new();
        group.lose = lose;
        group.pass(6_000);
        let leads = |me: &u32| group.get(*me).node.leads();
        let leader = ALL.into_iter().find(leads).expect("one leads");
        let away = ALL.into_iter().find(|&me| me != leader).unwrap();
        group.away = Some(id(away));
        let jobs: Vec<String> = (0..JOBS).map(job).collect();
        group.ask(leader, Method::Post, "/v1/restore", &format!("[{}]", jobs.join(",")));
        group.pass(8_000);
        group.ask(leader, Method::Post, "/v1/jobs", &job(JOBS));
        group.pass(2_000);
        let lacking = group.get(away).node.state().applied();
        assert!(group.get(leader).seam.index > lacking, "it can only be caught up so");
        group.away = None;
        group.pass(10_000);
        let (leader, follower) = (group.get(leader).node.state(), group.get(away).node.state());
        assert_eq!(follower.jobs().len(), JOBS as usize + 1, "lost: {lose:?}");
        assert!(*leader == *follower, "lost: {lose:?}");
    }
}
