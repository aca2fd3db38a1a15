//! A message of the gossip with any bytes, and a node that hears it.

use bellwether::cluster::gossip::{
    Act, Card, Datagram, Gossip, LIST_BYTES_MAX, List, MEMBERS_MAX, Me, Meta, PAYLOAD_BYTES_MAX,
    State, Timing, Update,
};
use bellwether::ident::{Boot, ClusterId, NodeId, StoreId};
use bellwether::time::Mono;
use std::net::SocketAddr;

/// Ticks after which what was heard has had its effects.
const TICKS_MAX: usize = 64;

/// The first byte says how the rest comes in: as a datagram, as a list, or as the answer to one.
/// What is read is written as it was. A node that hears it stays itself, knows no more than it
/// may, and says nothing that another one could not read.
pub(crate) fn gossip_decode(bytes: &[u8]) {
    let Some((choice, message)) = bytes.split_first() else { return };
    if let Ok(datagram) = Datagram::decode(message) {
        assert_eq!(datagram.encode(), message);
    }
    if let Ok(list) = List::decode(message) {
        assert_eq!(list.encode(), message);
    }
    let from = address(9);
    let mut now = Mono(1);
    let mut gossip = acquainted(now);
    let before = gossip.me().update;
    // Twice: a replay must be as harmless as the first one.
    for _ in 0..2 {
        match choice % 3 {
            0 => gossip.handle(from, message, now),
            1 => {
                if let Some(answer) = gossip.list_asked(from, message, now) {
                    assert!(List::decode(&answer).is_ok_and(|list| list.is_answer));
                }
            }
            _ => gossip.list_answered(from, message, now),
        }
        for _ in 0..TICKS_MAX {
            let Some(at) = gossip.poll_timeout() else { break };
            now = now.max(at);
            gossip.tick(now);
            check(&mut gossip, before);
        }
    }
}

fn check(gossip: &mut Gossip, before: Update) {
    let me = gossip.me().update;
    assert_eq!((me.node, me.boot, me.state), (before.node, before.boot, State::Alive));
    assert!(me.incarnation >= before.incarnation && me.meta >= before.meta);
    assert!(gossip.members().count() <= MEMBERS_MAX);
    assert!(gossip.members().all(|view| view.update.node != me.node));
    while let Some(act) = gossip.poll() {
        match act {
            Act::Send { bytes, .. } => {
                assert!(bytes.len() <= PAYLOAD_BYTES_MAX);
                assert!(Datagram::decode(&bytes).is_ok());
            }
            Act::Exchange { bytes, .. } => {
                assert!(bytes.len() <= LIST_BYTES_MAX);
                assert!(List::decode(&bytes).is_ok_and(|list| !list.is_answer));
            }
            Act::Tell(_) => {}
        }
    }
}

/// The node 1, which knows the nodes 2 to 5.
fn acquainted(now: Mono) -> Gossip {
    let me = Me { node: id(1), boot: Boot(1), meta: meta(1) };
    let mut gossip = Gossip::new(me, 17, Timing::times(1)).expect("it is a good description");
    let word = |number| Update {
        node: id(number),
        boot: Boot(1),
        incarnation: 0,
        state: State::Alive,
        meta: 1,
    };
    let card = |number| Card { node: id(number), boot: Boot(1), version: 1, meta: meta(number) };
    let header = bellwether::cluster::gossip::Header {
        cluster: ClusterId(7),
        sender: word(2),
        leader: None,
    };
    let entries = (2..=5).map(|number| (word(number), Some(card(number)))).collect();
    let list = List { header, is_answer: true, entries };
    gossip.list_answered(address(2), &list.encode(), now);
    assert_eq!(gossip.members().count(), 4);
    gossip
}

fn id(number: u32) -> NodeId {
    NodeId::new(number).expect("it is not 0")
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 8946))
}

fn meta(number: u32) -> Meta {
    Meta {
        address: address(number as u8),
        name: format!("node-{number}"),
        store: StoreId(u64::from(number)),
        cluster: ClusterId(7),
        server: true,
        expect: 0,
        tags: vec![("zone".into(), "a".into())],
    }
}
