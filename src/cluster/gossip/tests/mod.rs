//! Tests of the gossip: words and bytes by table, the machine by hand, many machines by simulation.

mod codec;
mod limits;
mod machine;
mod measure;
mod sim;
mod worlds;

use super::*;
use crate::ident::StoreId;
use core::net::{Ipv4Addr, SocketAddrV4};

fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Where the node `number` listens.
fn address(number: u32) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + number), 8946))
}

fn meta(number: u32) -> Meta {
    Meta {
        address: address(number),
        name: format!("node-{number}"),
        store: StoreId(u64::from(number)),
        cluster: ClusterId(7),
        server: number <= 3,
        expect: 0,
        tags: vec![("zone".into(), "a".into())],
    }
}

fn card(number: u32, boot: u64, version: u16) -> Card {
    Card { node: id(number), boot: Boot(boot), version, meta: meta(number) }
}

fn word(number: u32, boot: u64, incarnation: u32, state: State) -> Update {
    Update { node: id(number), boot: Boot(boot), incarnation, state, meta: 1 }
}

fn started(number: u32, boot: u64, seed: u64) -> Gossip {
    let me = Me { node: id(number), boot: Boot(boot), meta: meta(number) };
    Gossip::new(me, seed, Timing::times(1)).unwrap()
}

/// The head of a message of the node `number`.
fn header(number: u32, boot: u64) -> Header {
    let sender = word(number, boot, 0, State::Alive);
    Header { cluster: ClusterId(7), sender, leader: None }
}

fn datagram(header: Header, body: Body, updates: &[Update]) -> Vec<u8> {
    Datagram { header, body, updates: updates.to_vec() }.encode()
}

/// All acts that wait.
fn acts(gossip: &mut Gossip) -> Vec<Act> {
    std::iter::from_fn(|| gossip.poll()).collect()
}

/// The datagrams among the acts, with where they go.
fn sent(acts: &[Act]) -> Vec<(SocketAddr, Datagram)> {
    let datagram = |act: &Act| match act {
        Act::Send { to, bytes } => Some((*to, Datagram::decode(bytes).unwrap())),
        Act::Exchange { .. } | Act::Tell(_) => None,
    };
    acts.iter().filter_map(datagram).collect()
}

fn told(acts: &[Act]) -> Vec<Event> {
    let event = |act: &Act| match act {
        Act::Tell(event) => Some(*event),
        Act::Send { .. } | Act::Exchange { .. } => None,
    };
    acts.iter().filter_map(event).collect()
}

fn exchanges(acts: &[Act]) -> Vec<SocketAddr> {
    let with = |act: &Act| match act {
        Act::Exchange { with, .. } => Some(*with),
        Act::Send { .. } | Act::Tell(_) => None,
    };
    acts.iter().filter_map(with).collect()
}

fn is_now(number: u32, boot: u64, state: State) -> Event {
    Event::Member { node: id(number), boot: Boot(boot), state }
}

fn state_of(gossip: &Gossip, number: u32) -> Option<State> {
    gossip.member(id(number)).map(|view| view.update.state)
}

/// A list of `teller` with all of `numbers`, described.
fn list(teller: u32, numbers: impl Iterator<Item = u32>, is_answer: bool) -> Vec<u8> {
    let entry = |number| (word(number, 1, 0, State::Alive), Some(card(number, 1, 1)));
    List { header: header(teller, 1), is_answer, entries: numbers.map(entry).collect() }.encode()
}

/// The node 1, which knows the nodes up to `count`.
fn among(count: u32, now: Mono) -> Gossip {
    let mut gossip = started(1, 1, 17);
    gossip.list_answered(address(2), &list(2, 2..=count, true), now);
    assert_eq!(gossip.members().count(), count as usize - 1);
    acts(&mut gossip);
    gossip.rumors = Rumors::default();
    gossip
}

/// What must hold after every step.
fn check(gossip: &Gossip) {
    assert!(gossip.members.len() <= MEMBERS_MAX);
    assert!(gossip.rumors.len() <= MEMBERS_MAX + 1);
    assert!(gossip.members.get(gossip.me.node).is_none(), "nobody is his own neighbour");
    let mut in_round = 0;
    for member in gossip.members.iter() {
        let Update { boot, state, .. } = member.update;
        assert_eq!(member.in_round, state.is_live() && member.card.is_some());
        in_round += usize::from(member.in_round);
        assert!(member.card.as_ref().is_none_or(|card| card.boot == boot));
        assert!(member.held() <= member.update.meta);
    }
    assert_eq!(gossip.round.len(), in_round);
}
