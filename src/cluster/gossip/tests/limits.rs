//! Every limit, crossed.

use super::*;
use crate::codec::Encoder;
use std::time::Duration;

#[test]
fn a_datagram_of_the_largest_size_is_read_and_a_longer_one_is_not() {
    let room = updates_that_fit(&Body::News);
    let words: Vec<Update> = (1..=room as u32).map(|n| word(n, 1, 0, State::Alive)).collect();
    let bytes = datagram(header(2, 1), Body::News, &words);
    assert!(bytes.len() <= PAYLOAD_BYTES_MAX && bytes.len() + UPDATE_BYTES > PAYLOAD_BYTES_MAX);
    assert!(Datagram::decode(&bytes).is_ok());
    let longer = [&bytes[..], &bytes[HEADER_BYTES..HEADER_BYTES + UPDATE_BYTES]].concat();
    assert!(Datagram::decode(&longer).is_err());
}

#[test]
fn a_description_of_the_largest_size_is_taken_and_a_longer_one_is_not() {
    let mut me = Me { node: id(1), boot: Boot(1), meta: meta(1) };
    let size = |meta: &Meta| {
        let mut out = Encoder::new();
        Card { node: id(1), boot: Boot(1), version: 1, meta: meta.clone() }.encode(&mut out);
        out.len()
    };
    let rest = META_BYTES_MAX - size(&me.meta);
    me.meta.tags[0].1.push_str(&"x".repeat(rest));
    assert_eq!(size(&me.meta), META_BYTES_MAX);
    let mut gossip = Gossip::new(me.clone(), 1, Timing::times(1)).unwrap();
    me.meta.tags[0].1.push('x');
    assert!(gossip.set_meta(me.meta.clone(), Mono(0)).is_err());
    assert_eq!(gossip.me().update, word(1, 1, 0, State::Alive), "nothing was changed");
    assert!(Gossip::new(me, 1, Timing::times(1)).is_err());
}

#[test]
fn a_question_for_too_many_descriptions_is_refused() {
    let ask = |count: usize| {
        let nodes = (1..=count as u32).map(id).collect();
        Datagram::decode(&datagram(header(2, 1), Body::Ask(nodes), &[]))
    };
    assert!(ask(ASK_MAX).is_ok());
    assert!(ask(ASK_MAX + 1).is_err());
}

#[test]
fn descriptions_for_a_suspect_leave_room_for_the_suspicion_whatever_their_size() {
    for length in 0..64 {
        let mut gossip = among(3, Mono(0));
        let described = |number: u32| {
            let mut card = card(number, 1, 2);
            card.meta.tags[0].1 = "x".repeat(length);
            card
        };
        let words: Vec<Update> =
            (3..40).map(|number| Update { meta: 2, ..word(number, 1, 0, State::Alive) }).collect();
        gossip.handle(address(2), &datagram(header(2, 1), Body::News, &words), Mono(0));
        for number in 3..40 {
            let cards = Body::Cards(vec![described(number)]);
            gossip.handle(address(2), &datagram(header(2, 1), cards, &[]), Mono(0));
        }
        let suspicion = Update { meta: 2, ..word(3, 1, 0, State::Suspect) };
        gossip.handle(address(2), &datagram(header(2, 1), Body::News, &[suspicion]), Mono(0));
        acts(&mut gossip);
        let ask = Body::Ask((8..8 + ASK_MAX as u32).map(id).collect());
        gossip.handle(address(3), &datagram(header(3, 1), ask, &[]), Mono(0));
        let (_, answer) = &sent(&acts(&mut gossip))[0];
        assert!(matches!(&answer.body, Body::Cards(cards) if cards.len() > 3), "{answer:?}");
        assert_eq!(answer.updates[0], suspicion, "{length}");
    }
}

#[test]
fn a_list_of_all_members_fits_and_one_more_entry_is_refused() {
    let mut described = card(1, 1, 1);
    described.meta.name = "n".repeat(crate::ident::NAME_MAX_BYTES);
    described.meta.tags = vec![("k".into(), "v".repeat(310))];
    assert!(described.check().is_ok());
    let list = |count: u32| {
        let entry = |number| {
            let card = Card { node: id(number), ..described.clone() };
            (word(number, 1, 0, State::Alive), Some(card))
        };
        let entries = (1..=count).map(entry).collect();
        List { header: header(1, 1), is_answer: false, entries }.encode()
    };
    let largest = list(LIST_MAX as u32);
    assert!(largest.len() > 600_000 && largest.len() <= LIST_BYTES_MAX);
    assert!(List::decode(&largest).is_ok());
    assert!(List::decode(&list(LIST_MAX as u32 + 1)).is_err());
    assert!(List::decode(&vec![0; LIST_BYTES_MAX + 1]).is_err());
    let mut lying = List { header: header(1, 1), is_answer: false, entries: vec![] }.encode();
    lying[HEADER_BYTES..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(List::decode(&lying).is_err());
}

#[test]
fn a_flood_of_invented_members_pushes_out_only_who_is_gone() {
    let mut now = Mono(0);
    let mut gossip = among(1_001, now);
    let dead = word(1_001, 1, 0, State::Dead);
    gossip.handle(address(2), &datagram(header(2, 1), Body::News, &[dead]), now);
    let real: Vec<NodeId> = (2..=1_000).map(id).collect();
    for invented in 0..100 {
        let first = 100_000 + invented * 60;
        let states = [State::Alive, State::Suspect];
        let words: Vec<Update> =
            (first..first + 60).map(|n| word(n, 9, 1, states[n as usize % 2])).collect();
        gossip.handle(address(2), &datagram(header(2, 1), Body::News, &words), now);
        gossip.tick(now);
        check(&gossip);
        now = now + Duration::from_millis(1);
    }
    assert_eq!(gossip.members().count(), MEMBERS_MAX);
    assert!(gossip.drops().of(Drop::Full) > 5_000);
    assert!(real.iter().all(|&node| gossip.member(node).is_some_and(|m| m.meta.is_some())));
    assert_eq!(state_of(&gossip, 1_001), None, "who was dead has made room");
    assert!(told(&acts(&mut gossip)).contains(&Event::Forgotten(id(1_001))));
    // Nobody describes the invented ones; when their time is up they are gone.
    for _ in 0..2 * 60_000 {
        let Some(next) = gossip.poll_timeout().filter(|&at| at < Mono(62_000_000_000)) else {
            break;
        };
        gossip.tick(next);
        acts(&mut gossip);
    }
    let invented =
        gossip.members().filter(|view| view.meta.is_none() && view.update.state.is_live());
    assert_eq!(invented.count(), 0);
}

#[test]
fn no_more_than_so_many_addresses_to_join_by_are_kept() {
    let mut gossip = started(1, 1, 1);
    gossip.set_join((2..=JOIN_MAX as u32 + 2).map(address).collect(), Mono(0));
    assert_eq!(gossip.join.len(), JOIN_MAX);
}

#[test]
fn a_word_is_told_four_times_the_digits_of_the_number_of_nodes() {
    for (nodes, tellings) in [(0, 4), (1, 4), (9, 4), (10, 8), (99, 8), (100, 12), (1_000, 16)] {
        let mut rumors = Rumors::default();
        rumors.push(word(2, 1, 0, State::Dead));
        let told = (0..100).filter(|_| !rumors.take(5, nodes).is_empty()).count();
        assert_eq!(told, tellings, "{nodes} nodes");
    }
}

#[test]
fn no_more_than_so_many_suspects_are_asked_a_last_time_at_once() {
    for (suspects, asked) in [(31, 31), (32, 32), (33, 32), (60, 32)] {
        let mut gossip = among(100, Mono(0));
        let words: Vec<Update> =
            (31..31 + suspects).map(|number| word(number, 1, 0, State::Suspect)).collect();
        gossip.handle(address(2), &datagram(header(2, 1), Body::News, &words), Mono(0));
        let suspicion = gossip.timing.suspicion_among(100);
        let deadline = Mono(0) + suspicion;
        let due = gossip.members.suspects_until(deadline, deadline + Duration::from_nanos(1));
        assert_eq!(due.count(), suspects as usize);
        gossip.begin_period(Mono(0) + (suspicion - gossip.timing.probe_every));
        let is_suspect = |probe: &&Probe| (31..31 + suspects).contains(&probe.target.get());
        // The round may have come to one of them by itself.
        let pinged = gossip.probes.iter().filter(is_suspect).count();
        assert!(pinged == asked || pinged == asked + 1 && asked < suspects as usize, "{pinged}");
    }
}

#[test]
fn all_times_are_multiplied_by_one_setting() {
    let (one, ten) = (Timing::times(1), Timing::times(10));
    assert_eq!(ten.probe_every, one.probe_every * 10);
    assert_eq!(ten.forget, one.forget * 10);
    assert_eq!(ten.suspicion_among(1_000), one.suspicion_among(1_000) * 10);
    for (nodes, ms) in [(1, 4_000), (10, 4_000), (100, 8_000), (1_000, 12_000)] {
        assert_eq!(one.suspicion_among(nodes).as_millis(), ms, "{nodes} nodes");
    }
}
