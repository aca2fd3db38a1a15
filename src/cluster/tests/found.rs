//! Faults that these worlds have found, each with the least that shows it.

use super::super::*;
use super::disk::WRITE;
use super::network::Letter;
use super::node;
use super::scenarios::staged;
use super::world::MS;
use crate::ident::{Epoch, Index, NodeId};
use crate::time::{Mono, Now, Wall};

const NOW: Now = Now { mono: Mono(MS), wall: Wall(0) };

fn voters(ids: &[u32]) -> Config {
    Config::of(Voters::new(ids.iter().map(|&id| node(id)).collect()).unwrap())
}

fn place(epoch: u64, index: u64) -> Place {
    Place { epoch: Epoch(epoch), index: Index(index) }
}

/// The first of three voters, with a journal of so many records of epoch 1.
fn follower(records: u64) -> Consensus {
    let mut shape = Shape::default();
    (0..records).for_each(|_| {
        shape.push(Epoch(1));
    });
    let start = Start {
        me: node(1),
        promise: Promise { epoch: Epoch(1), to: Some(node(3)) },
        shape,
        committed: Index(0),
        configs: vec![(Index(0), voters(&[1, 2, 3]))],
        seed: 1,
        timing: Timing::default(),
    };
    Consensus::new(start, NOW)
}

fn append(epoch: u64, prev: Place, records: &[u64]) -> Envelope {
    let raw = |(&of, index): (&u64, u64)| Raw {
        index: Index(index),
        epoch: Epoch(of),
        kind: WRITE,
        payload: vec![1],
    };
    let records = records.iter().zip(prev.index.0 + 1..).map(raw).collect();
    let append = Append { prev, records, commit: Index(0), round: 1 };
    Envelope { epoch: Epoch(epoch), message: Message::Append(append) }
}

fn sent(consensus: &mut Consensus) -> Vec<(NodeId, Envelope)> {
    let acts = std::iter::from_fn(|| consensus.poll());
    let letter = |act| if let Act::Send(to, envelope) = act { Some((to, envelope)) } else { None };
    acts.filter_map(letter).collect()
}

#[test]
fn a_refusal_waits_for_the_promise_that_it_names() {
    let mut consensus = follower(0);
    consensus.handle(node(2), append(2, Place::default(), &[]), NOW);
    sent(&mut consensus);
    consensus.handle(node(3), append(1, Place::default(), &[]), NOW);
    let tail = Place::default();
    let candidacy = Message::Candidacy { tail, transfer_of: None };
    consensus.handle(node(3), Envelope { epoch: Epoch(1), message: candidacy }, NOW);
    let early = sent(&mut consensus);
    assert!(!early.iter().any(|(_, letter)| matches!(letter.message, Message::Stale { .. })));
    consensus.promise_durable(Promise { epoch: Epoch(2), to: Some(node(2)) }, NOW);
    consensus.handle(node(3), append(1, Place::default(), &[]), NOW);
    let promised = Epoch(2);
    let late = sent(&mut consensus);
    assert!(late.iter().any(|(_, letter)| letter.message == Message::Stale { promised }));
}

#[test]
fn a_leader_that_is_to_go_can_be_elected_to_finish_it() {
    let mut world = staged(2, 0);
    world.begin();
    world.crash(node(1));
    assert!(world.change(node(2), voters(&[1])));
    world.until(3_000, "it steps down", |world| world.leaders().is_empty());
    world.start(node(1));
    world.until(12_000, "the one that stays leads", |world| world.leaders() == [node(1)]);
    assert!(world.checks.end() >= Index(2), "and the change is committed");
    assert_eq!(world.checks.broken, None);
}

#[test]
fn a_vote_that_a_slow_disk_delays_is_waited_for() {
    let mut world = staged(3, 0);
    world.begin();
    world.slow(1, 1_500);
    world.crash(node(3));
    world.is_led_by(2, 15_000);
    assert_eq!(world.checks.broken, None);
}

#[test]
fn one_slow_write_does_not_hold_up_the_next_candidacy_for_long() {
    let mut world = staged(3, 0);
    world.begin();
    world.crash(node(3));
    world.slow(2, 5_000);
    world.slow(1, 5_000);
    world.run_for(8_000);
    world.slow(2, 1);
    world.crash(node(1));
    world.slow(1, 1);
    world.run_for(6_000);
    world.start(node(1));
    world.until(10_000, "somebody leads", |world| !world.leaders().is_empty());
    assert_eq!(world.checks.broken, None);
}

#[test]
fn many_reads_on_a_slow_network_unseat_nobody() {
    let mut world = staged(3, 0);
    world.begin();
    world.net.delay = (100_000, 100_000);
    for _ in 0..5_000 {
        world.read(node(3));
        world.run_for(1);
    }
    assert_eq!((world.leaders(), world.checks.counts.wins), (vec![node(3)], 1));
    assert!(world.checks.counts.reads > 1_000);
    assert_eq!(world.checks.broken, None);
}

#[test]
fn a_configuration_goes_with_the_journal_that_a_snapshot_replaces() {
    let mut consensus = follower(0);
    consensus.handle(node(3), append(1, Place::default(), &[1, 1, 1]), NOW);
    sent(&mut consensus);
    consensus.configured(Index(3), voters(&[1, 2, 3, 4]));
    consensus.replaced(place(2, 2), voters(&[1, 2, 3]));
    assert_eq!(consensus.config(), Some(&voters(&[1, 2, 3])));
    assert_eq!(consensus.log().last(), place(2, 2));
}

#[test]
fn what_was_durable_of_a_journal_that_is_replaced_counts_no_more() {
    let mut consensus = follower(5);
    consensus.replaced(place(2, 3), voters(&[1, 2, 3]));
    consensus.handle(node(3), append(2, place(2, 3), &[2, 2]), NOW);
    assert_eq!((consensus.log().tail(), consensus.log().last()), (place(2, 3), place(2, 5)));
}

#[test]
fn a_snapshot_that_comes_late_does_not_put_the_journal_back() {
    let mut consensus = follower(9);
    let mut heard = append(1, place(1, 9), &[]);
    if let Message::Append(append) = &mut heard.message {
        append.commit = Index(9);
    }
    consensus.handle(node(3), heard, NOW);
    consensus.rebased(Index(7));
    consensus.replaced(place(1, 4), voters(&[1, 2]));
    assert_eq!(consensus.log().last(), place(1, 9));
    assert_eq!(consensus.log().tail(), place(1, 9));
    assert_eq!(consensus.config(), Some(&voters(&[1, 2, 3])));
    let acked = |(_, letter): &(NodeId, Envelope)| match letter.message {
        Message::Ack { matched, .. } => Some(matched),
        _ => None,
    };
    assert_eq!(sent(&mut consensus).iter().filter_map(acked).next_back(), Some(Index(9)));
}

#[test]
fn who_waits_for_a_snapshot_is_not_flooded_with_heartbeats() {
    let mut world = staged(3, 0);
    world.begin();
    world.crash(node(1));
    for _ in 0..5 {
        world.write(node(3));
    }
    world.run_for(50);
    world.snapshot(node(3));
    world.run_for(50);
    world.start(node(1));
    world.net.recorded.clear();
    world.run_for(1_500);
    let to_it = |letter: &&Letter| letter.0 == node(3) && letter.1 == node(1);
    let count = world.net.recorded.iter().filter(to_it).count();
    assert!(count < 12, "{count} messages in 1.5 s");
    world.run_for(4_000);
    world.agree();
    assert_eq!(world.checks.broken, None);
}

#[test]
fn a_snapshot_that_was_not_needed_is_no_snapshot_to_give() {
    let mut consensus = follower(9);
    let mut heard = append(1, place(1, 9), &[]);
    if let Message::Append(append) = &mut heard.message {
        append.commit = Index(9);
    }
    consensus.handle(node(3), heard, NOW);
    consensus.replaced(place(1, 4), voters(&[1, 2, 3]));
    assert_eq!(consensus.log().shape.base(), Place::default());
}

#[test]
fn one_that_is_to_go_does_not_outrank_one_that_stays() {
    for (newest, outranks) in [(voters(&[1, 2, 3]), true), (voters(&[1, 3]), false)] {
        let start = Start {
            me: node(2),
            promise: Promise { epoch: Epoch(1), to: Some(node(2)) },
            shape: follower(2).log().shape.clone(),
            committed: Index(0),
            configs: vec![(Index(0), voters(&[1, 2, 3])), (Index(2), newest)],
            seed: 1,
            timing: Timing::default(),
        };
        let mut consensus = Consensus::new(start, NOW);
        let probe = Message::Probe { nonce: 1, tail: place(1, 2) };
        consensus.handle(node(1), Envelope { epoch: Epoch(1), message: probe }, NOW);
        let says = |(_, letter): &(NodeId, Envelope)| match letter.message {
            Message::ProbeAnswer { outranks, .. } => Some(outranks),
            _ => None,
        };
        assert_eq!(sent(&mut consensus).iter().find_map(says), Some(outranks));
    }
}
