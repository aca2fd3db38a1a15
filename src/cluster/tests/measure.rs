//! How long a failover takes, and whether a healthy cluster rests.
//!
//! `SIM_FAILOVERS=n` measures n failovers of each size.

use super::world::{MS, SECOND, World};
use super::{node, number};

/// Failovers of a plain test run.
const FAILOVERS: u64 = 60;
/// What of a hundred failovers the slowest but one may take, in milliseconds.
const P99_OF_3: u64 = 3_000;
const P99_OF_5: u64 = 2_700;

/// One world in which leaders die one after the other: how long each time nobody stood in for it,
/// in milliseconds.
fn failovers(voters: u32, count: u64, seed: u64) -> Vec<u64> {
    let mut world = World::new(seed, voters, 0);
    world.start_all();
    let mut took = Vec::new();
    while (took.len() as u64) < count {
        world.until(20_000, "a leader", |world| !world.leaders().is_empty());
        let rest = 2_000 + world.rng.below(1_000);
        world.run_for(rest);
        let jitter = world.now + world.rng.below(250 * MS);
        world.run_until(jitter);
        let leaders = world.leaders();
        let [leader] = leaders[..] else { continue };
        let (died, before) = (world.now, world.established.len());
        world.crash(leader);
        world.until(30_000, "another", |world| world.established.len() > before);
        took.push((world.established[before].0 - died) / MS);
        world.start(leader);
        assert_eq!(world.checks.broken, None);
    }
    took
}

#[test]
fn a_failover_takes_less_than_three_seconds() {
    let count = number("SIM_FAILOVERS").unwrap_or(FAILOVERS);
    for (voters, most) in [(3, P99_OF_3), (5, P99_OF_5)] {
        let each = count.min(200);
        let mut took: Vec<u64> =
            (0..count.div_ceil(each)).flat_map(|seed| failovers(voters, each, seed)).collect();
        took.sort_unstable();
        let part = |of: usize| took[(took.len() * of / 1_000).min(took.len() - 1)];
        let figures = [500, 900, 990, 999, 1_000].map(part);
        println!("failover of {voters}, ms at 50, 90, 99, 99.9, 100 %: {figures:?}");
        assert!(part(990) <= most || took.len() < 1_000, "99 % of {voters}: {} ms", part(990));
        assert!(part(900) <= most, "90 % of {voters}: {} ms", part(900));
    }
}

#[test]
fn a_healthy_cluster_that_loses_messages_elects_nobody() {
    for voters in [3, 5] {
        let mut world = World::new(9, voters, 0);
        world.start_all();
        world.until(20_000, "a leader", |world| !world.leaders().is_empty());
        let wins = world.checks.counts.wins;
        world.net.loss = 50;
        let hours = number("SIM_HOURS").unwrap_or(0);
        let span = (hours * 3_600).max(240);
        for _ in 0..span {
            world.write(node(voters));
            world.run_until(world.now + SECOND);
        }
        let elections = world.checks.counts.wins - wins;
        println!("{voters} voters, 5 % lost: {elections} elections in {span} s");
        assert_eq!(elections, 0);
        assert_eq!(world.checks.broken, None);
    }
}
