//! How long a death takes to be known to all, and what the gossip costs. `GOSSIP_NODES=1000`
//! measures a cluster of that size, `GOSSIP_SEEDS=n` more of them; best in a release build.

use super::sim::{Net, World, number, seeds};
use super::*;
use std::time::Duration;

/// Deaths in each world, and the time between them.
const DEATHS: usize = 6;
const PAUSE: Duration = Duration::from_secs(5);

/// A node that goes unnoticed for so long was not noticed at all.
const KNOWN_WITHIN: Duration = Duration::from_secs(25);

#[test]
fn a_death_is_known_to_all_in_time_and_the_gossip_costs_little() {
    let count = number("GOSSIP_NODES").unwrap_or(80) as u32;
    for lost in [0, 50, 200] {
        let mut known_after = Vec::new();
        let (mut datagrams, mut lists, mut alive_but_dead) = (Vec::new(), Vec::new(), 0);
        for seed in seeds(1) {
            let mut world = World::acquainted(count, Net::lan(lost), seed);
            world.run_for(Duration::from_secs(3));
            let crashes: Vec<(usize, Mono)> = (0..DEATHS).map(|_| crash_one(&mut world)).collect();
            world.run_for(KNOWN_WITHIN);
            for &(victim, at) in &crashes {
                assert!(world.all_believe(victim, Some(State::Dead)), "{victim} is not known");
                let told = |witness| world.deaths.get(&(victim as u32 + 1, witness));
                let last = (1..=count).filter_map(told).max().unwrap();
                known_after.push(last.since(at).as_millis() as u64);
            }
            let is_victim = |number: u32| crashes.iter().any(|c| c.0 + 1 == number as usize);
            alive_but_dead += world.deaths.keys().filter(|(v, _)| !is_victim(*v)).count();
            let seconds = (28 + 5 * DEATHS as u64) as usize;
            for node in world.nodes.iter().filter(|node| node.gossip.is_some()) {
                datagrams.extend(node.sent_bytes.iter().skip(1).take(seconds - 1).copied());
                lists.push(node.list_bytes / seconds as u64);
            }
        }
        println!(
            "{count} nodes, {} % lost: a death is known to all after {}; bytes sent a second and \
             node as datagrams {}, as lists {}; {alive_but_dead} false beliefs in a death",
            lost / 10,
            figures(known_after.clone(), "ms"),
            figures(datagrams, "B"),
            figures(lists, "B"),
        );
        let slowest = known_after.into_iter().max().unwrap();
        assert!(slowest < 30_000, "{slowest} ms");
    }
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

/// Mean, 99th of a hundred, and the most.
fn figures(mut values: Vec<u64>, unit: &str) -> String {
    values.sort_unstable();
    let mean = values.iter().sum::<u64>() / values.len().max(1) as u64;
    let p99 = values[(values.len() * 99).div_ceil(100) - 1];
    let most = values.last().copied().unwrap_or_default();
    format!("{mean} {unit} (p99 {p99}, most {most})")
}
