//! What gossip says beside the consensus, told in the same conversation.

use core::net::{Ipv4Addr, SocketAddr};

use super::super::gossip::{
    Act, Body, Card, Datagram, Drop, Event, Gossip, Header, List, Me, Meta, State, Timing, Update,
};
use super::node;
use super::world::World;
use crate::ident::{Boot, ClusterId, Epoch, NodeId, StoreId};
use crate::time::Mono;

/// The gossip of the servers 1 to 3, which know each other in their second start.
pub(super) struct Hearsay(Vec<(NodeId, Gossip)>);

impl Hearsay {
    pub(super) fn new() -> Hearsay {
        let entry = |id| {
            let card = Card { node: node(id), boot: Boot(2), version: 1, meta: meta(id) };
            (word(id, 2, State::Alive), Some(card))
        };
        let list = List { header: header(2, None), is_answer: true, entries: vec![] };
        let list = List { entries: (1..=3).map(entry).collect(), ..list }.encode();
        let list_of_3 = List { header: header(3, None), ..List::decode(&list).unwrap() }.encode();
        let started = |id| {
            let me = Me { node: node(id), boot: Boot(2), meta: meta(id) };
            let mut gossip = Gossip::new(me, u64::from(id), Timing::times(1)).unwrap();
            let list = if id == 2 { &list_of_3 } else { &list };
            gossip.list_answered(address(9), list, Mono(0));
            while gossip.poll().is_some() {}
            (node(id), gossip)
        };
        Hearsay((1..=3).map(started).collect())
    }

    /// The node 9 says to all that run what it likes; what they take for true is told.
    pub(super) fn hear(
        &mut self,
        world: &mut World,
        words: &[(u32, u64, State)],
        leader: Option<(u64, u32)>,
    ) {
        let updates = words.iter().map(|&(of, boot, state)| word(of, boot, state)).collect();
        let header = header(9, leader);
        let bytes = Datagram { header, body: Body::News, updates }.encode();
        for (id, gossip) in &mut self.0 {
            if world.servers[&*id].up.is_none() {
                continue;
            }
            let old = gossip.drops().of(Drop::OldBoot);
            gossip.handle(address(9), &bytes, Mono(0));
            while let Some(act) = gossip.poll() {
                match act {
                    Act::Tell(Event::Member { node, state, .. }) => {
                        let what = in_words(state);
                        world.say(&format!("{id} hears by gossip that {node} {what}"));
                    }
                    Act::Tell(Event::Leader(Epoch(epoch), node)) => {
                        world.say(&format!("{id} hears by gossip that {node} leads epoch {epoch}"));
                    }
                    Act::Tell(_) | Act::Send { .. } | Act::Exchange { .. } => {}
                }
            }
            let ignored = gossip.drops().of(Drop::OldBoot) - old;
            if ignored > 0 {
                world.say(&format!("{id} ignores {ignored} words about earlier starts"));
            }
        }
    }
}

fn in_words(state: State) -> &'static str {
    match state {
        State::Alive => "is alive",
        State::Suspect => "is a suspect",
        State::Dead => "is dead",
        State::Left => "has left",
    }
}

fn word(of: u32, boot: u64, state: State) -> Update {
    Update { node: node(of), boot: Boot(boot), incarnation: 0, state, meta: 1 }
}

fn header(from: u32, leader: Option<(u64, u32)>) -> Header {
    let leader = leader.map(|(epoch, of)| (Epoch(epoch), node(of)));
    Header { cluster: ClusterId(7), sender: word(from, 2, State::Alive), leader }
}

fn address(of: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + of), 8946))
}

fn meta(of: u32) -> Meta {
    Meta {
        address: address(of),
        name: format!("node-{of}"),
        store: StoreId(u64::from(of)),
        cluster: ClusterId(7),
        server: true,
        expect: 0,
        tags: vec![],
    }
}
