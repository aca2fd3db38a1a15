//! A few servers that hear each other at once, with disks that answer when they are told to.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::ident::{Epoch, Index, NodeId};
use crate::mistake::{Making, Mistake};
use crate::time::{Mono, Now, Wall};

struct Server {
    consensus: Consensus,
    /// What the disk has yet to say.
    pending: VecDeque<Pending>,
    records: Vec<Raw>,
}

enum Pending {
    Promise(Promise),
    Log(Index, u64),
}

struct Group {
    now: Now,
    servers: BTreeMap<NodeId, Server>,
    wire: VecDeque<(NodeId, NodeId, Envelope)>,
    /// Servers that nobody hears and that hear nobody.
    cut_off: Vec<NodeId>,
    /// Servers whose disks do not answer.
    stuck: Vec<NodeId>,
}

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

impl Group {
    fn new(count: u32) -> Group {
        let now = Now { mono: Mono(1), wall: Wall(0) };
        let voters = Voters::new((1..=count).map(node).collect()).unwrap();
        let server = |id| {
            let start = Start {
                me: node(id),
                promise: Promise::default(),
                shape: Shape::default(),
                committed: Index(0),
                configs: vec![(Index(0), Config::of(voters.clone()))],
                seed: u64::from(id),
                timing: Timing::default(),
            };
            let consensus = Consensus::new(start, now);
            (node(id), Server { consensus, pending: VecDeque::new(), records: Vec::new() })
        };
        let servers = (1..=count).map(server).collect();
        let (wire, cut_off, stuck) = (VecDeque::new(), Vec::new(), Vec::new());
        Group { now, servers, wire, cut_off, stuck }
    }

    fn get(&mut self, id: u32) -> &mut Consensus {
        &mut self.servers.get_mut(&node(id)).unwrap().consensus
    }

    /// Lets time pass in steps of 10 ms.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now.mono = Mono(self.now.mono.0 + 10_000_000);
            let ids: Vec<NodeId> = self.servers.keys().copied().collect();
            for &id in &ids {
                let server = self.servers.get_mut(&id).unwrap();
                server.consensus.tick(self.now);
                self.acts(id);
            }
            for _ in 0..8 {
                while let Some((from, to, envelope)) = self.wire.pop_front() {
                    let cut = |id: &NodeId| self.cut_off.contains(id);
                    if !cut(&from) && !cut(&to) {
                        let server = self.servers.get_mut(&to).unwrap();
                        server.consensus.handle(from, envelope, self.now);
                        self.acts(to);
                    }
                }
                ids.iter()
                    .filter(|id| !self.stuck.contains(id))
                    .copied()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|id| self.sync(id));
            }
        }
    }

    fn sync(&mut self, id: NodeId) {
        while let Some(done) = self.servers.get_mut(&id).unwrap().pending.pop_front() {
            let consensus = &mut self.servers.get_mut(&id).unwrap().consensus;
            match done {
                Pending::Promise(promise) => consensus.promise_durable(promise, self.now),
                Pending::Log(last, generation) => consensus.log_durable(last, generation, self.now),
            }
            self.acts(id);
        }
    }

    fn acts(&mut self, id: NodeId) {
        let server = self.servers.get_mut(&id).unwrap();
        while let Some(act) = server.consensus.poll() {
            match act {
                Act::Send(to, envelope) => self.wire.push_back((id, to, envelope)),
                Act::Promise(promise) => server.pending.push_back(Pending::Promise(promise)),
                Act::Truncate(keep) => server.records.retain(|raw| raw.index <= keep),
                Act::Append(records) => {
                    let last = records.last().unwrap().index;
                    server.records.extend(records);
                    let generation = server.consensus.generation();
                    server.pending.push_back(Pending::Log(last, generation));
                }
                Act::Won(_) => append(server, b"start"),
                Act::Halt(why) => panic!("{id}: {why}"),
                Act::Committed(_)
                | Act::Lost(_)
                | Act::Read(_)
                | Act::Snapshot(_)
                | Act::ReadReady(..)
                | Act::ReadFailed(_) => {}
            }
        }
    }

    fn leader(&self) -> Option<u32> {
        let leads = |server: &&Server| server.consensus.log().is_established();
        let live = self.servers.iter().filter(|(id, _)| !self.cut_off.contains(id));
        live.map(|(_, server)| server).find(leads).map(|s| s.consensus.log().me.get())
    }
}

fn append(server: &mut Server, payload: &[u8]) {
    let Place { epoch, index } = server.consensus.append();
    let raw = Raw { index, epoch, kind: 1, payload: payload.to_vec() };
    server.consensus.keep(raw.clone());
    server.records.push(raw);
    server.pending.push_back(Pending::Log(index, server.consensus.generation()));
    server.consensus.settle();
}

#[test]
fn any_number_of_voters_elects_one_leader_whose_records_are_committed() {
    for count in 1..=7 {
        let mut group = Group::new(count);
        group.pass(4_000);
        let leader = group.leader().expect("somebody leads");
        append(group.servers.get_mut(&node(leader)).unwrap(), b"x");
        group.pass(600);
        for server in group.servers.values() {
            assert_eq!(server.consensus.log().committed(), Index(2), "{count} voters");
            assert_eq!(server.records.len(), 2);
            let leads = server.consensus.election().leads();
            assert_eq!(leads.is_some(), server.consensus.log().me.get() == leader);
        }
    }
}

#[test]
fn a_leader_that_is_cut_off_steps_down_and_its_records_give_way() {
    let mut group = Group::new(3);
    group.pass(4_000);
    let old = group.leader().expect("somebody leads");
    group.cut_off.push(node(old));
    append(group.servers.get_mut(&node(old)).unwrap(), b"nobody hears this");
    group.pass(5_000);
    assert_eq!(group.get(old).election().leads(), None);
    let new = group.leader().expect("another leads");
    append(group.servers.get_mut(&node(new)).unwrap(), b"y");
    group.cut_off.clear();
    group.pass(1_000);
    let epochs = |group: &Group| {
        let of = |server: &Server| server.records.iter().map(|raw| raw.epoch).collect::<Vec<_>>();
        group.servers.values().map(of).collect::<Vec<_>>()
    };
    let all = epochs(&group);
    assert!(all.iter().all(|epochs| *epochs == all[0]), "{all:?}");
    assert_eq!(group.leader(), Some(new), "who leads is not unseated");
}

#[test]
fn what_waits_for_a_disk_waits_and_a_mistake_shows() {
    for (mistake, elects) in [(None, false), (Some(Mistake::VoteBeforeFsync), true)] {
        let _making = Making::new(mistake);
        let mut group = Group::new(3);
        group.stuck = vec![node(2), node(3)];
        group.pass(10_000);
        assert_eq!(!group.servers[&node(1)].records.is_empty(), elects, "{mistake:?}");
        let epoch = group.servers[&node(2)].consensus.durable_promise().epoch;
        assert_eq!(epoch, Epoch(0));
    }
}
