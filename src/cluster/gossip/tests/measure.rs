//! How long a death takes to be known to all, who is wrongly held for dead, and what the gossip
//! costs. `GOSSIP_NODES=1000` measures clusters of that size, `GOSSIP_SEEDS=n` so many of them,
//! `GOSSIP_MINUTES=n` for so long, `GOSSIP_LOST=n` with so many of a thousand datagrams lost; best
//! in a release build.

use super::sim::{Net, World, number, seeds};
use super::*;
use std::time::Duration;

/// Most deaths in each world, and the time between them.
const DEATHS: usize = 25;
const PAUSE: Duration = Duration::from_secs(4);

/// A node that goes unnoticed for so long was not noticed at all.
const KNOWN_WITHIN: Duration = Duration::from_secs(25);

/// What finding and telling may take, beside the suspicion itself.
const BESIDE_SUSPICION: Duration = Duration::from_secs(3);

/// What is measured of a death: when the dead one was pinged first, was suspected by one and by
/// all, and was held for dead by one and by all.
const STAGES: [&str; 5] = ["pinged", "suspected", "by all", "dead", "to all"];

fn nodes() -> u32 {
    number("GOSSIP_NODES").unwrap_or(50) as u32
}

/// How many of a thousand datagrams are lost.
fn losses() -> Vec<u64> {
    number("GOSSIP_LOST").map_or(vec![0, 50, 200], |lost| vec![lost])
}

#[test]
fn a_death_is_known_to_all_in_time() {
    let count = nodes();
    let mut slowest = Vec::new();
    for lost in losses() {
        let deaths: Vec<[u64; 5]> = seeds(1).flat_map(|seed| deaths(count, lost, seed)).collect();
        let stage = |at: usize| deaths.iter().map(|ms| ms[at]).collect::<Vec<u64>>();
        let told = STAGES.iter().enumerate().map(|(at, what)| {
            let ms = stage(at);
            format!("{what} {}", figures(&ms))
        });
        let told = told.collect::<Vec<_>>().join(", ");
        println!("{count} nodes, {} % lost, {} deaths, ms: {told}", lost / 10, deaths.len());
        slowest.push(p99(&stage(4)));
    }
    let bound = Timing::times(1).suspicion_among(count as usize) + BESIDE_SUSPICION;
    assert!(slowest.iter().all(|ms| u128::from(*ms) < bound.as_millis()), "{slowest:?}");
}

/// Milliseconds from each of many deaths to each of the [`STAGES`].
fn deaths(count: u32, lost: u64, seed: u64) -> Vec<[u64; 5]> {
    let mut world = World::acquainted(count, Net::lan(lost), seed);
    world.run_for(Duration::from_secs(3));
    let deaths = DEATHS.min(count as usize / 10);
    let crashes: Vec<(usize, Mono)> = (0..deaths).map(|_| crash_one(&mut world)).collect();
    world.run_for(KNOWN_WITHIN);
    let after = |&(victim, at): &(usize, Mono)| {
        assert!(world.all_believe(victim, Some(State::Dead)), "{victim} is not known");
        let number = victim as u32 + 1;
        let of_it = (number, 0)..(number + 1, 0);
        let suspicions = || world.suspicions.range(of_it.clone()).map(|(_, at)| *at);
        let deaths = || world.deaths.range(of_it.clone()).map(|(_, at)| *at);
        let stages = [
            world.pinged.get(&number).copied(),
            suspicions().min(),
            suspicions().max(),
            deaths().min(),
            deaths().max(),
        ];
        // Who was suspected when it died needed no suspicion any more.
        stages.map(|stage| stage.map_or(0, |stage| stage.since(at).as_millis() as u64))
    };
    crashes.iter().map(after).collect()
}

/// Ends a node that runs, by chance, and waits a while.
fn crash_one(world: &mut World) -> (usize, Mono) {
    let mut victim = world.below(world.nodes.len());
    while world.nodes[victim].gossip.is_none() {
        victim = (victim + 1) % world.nodes.len();
    }
    world.crash(victim);
    let at = world.now;
    world.run_for(PAUSE);
    (victim, at)
}

#[test]
fn who_is_alive_is_not_held_for_dead_and_the_gossip_costs_little() {
    let (count, minutes) = (nodes(), number("GOSSIP_MINUTES").unwrap_or(1));
    let mut wronged = Vec::new();
    for lost in losses() {
        let mut world = World::acquainted(count, Net::lan(lost), 1);
        world.run_for(Duration::from_secs(60 * minutes));
        let sent = world.nodes.iter().flat_map(|node| node.sent_bytes.iter().skip(1));
        let lists: u64 = world.nodes.iter().map(|node| node.list_bytes).sum();
        let gossips = world.nodes.iter().filter_map(|node| node.gossip.as_ref());
        let refuted: u32 = gossips.map(|gossip| gossip.me.incarnation).sum();
        println!(
            "{count} nodes, {} % lost, {minutes} minutes: {} false deaths, {refuted} suspicions \
             refuted; bytes a second and node: {} in datagrams, {} in lists",
            lost / 10,
            world.deaths.len(),
            figures(&sent.copied().collect::<Vec<_>>()),
            lists / (u64::from(count) * 60 * minutes),
        );
        wronged.push(world.deaths.len());
    }
    assert!(wronged.iter().all(|count| *count == 0), "{wronged:?}");
}

/// The 99th of a hundred.
fn p99(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() * 99).div_ceil(100) - 1]
}

/// Mean, 99th of a hundred, and the most.
fn figures(values: &[u64]) -> String {
    let mean = values.iter().sum::<u64>() / values.len().max(1) as u64;
    let most = values.iter().max().copied().unwrap_or_default();
    format!("{mean} (p99 {}, most {most})", p99(values))
}
