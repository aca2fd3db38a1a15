//! A node against a world that loses, delays, steps and dies, drawn from a seed.
//!
//! `NODE_SEEDS=n` runs n worlds, `NODE_SEED=n` replays one; `NODE_TELL=1` prints all that happens.

mod cluster;
mod disk;
mod jobs;
mod launcher;
mod oracle;
mod shipping;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use oracle::Counts;
use world::World;

/// Worlds of a plain test run.
const SEEDS: u64 = 120;
/// Steps with faults in each.
const STEPS: u64 = 300;

#[test]
fn a_node_keeps_its_promises_whatever_dies() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("NODE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("NODE_SEEDS").unwrap_or(SEEDS),
    };
    let mut counts = Counts::default();
    for seed in seeds {
        counts.add(life(seed).1);
    }
    println!("{counts:?}");
    assert!(counts.restored > 0 || number("NODE_SEED").is_some(), "no restore was in force");
}

#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in [1, 17] {
        assert_eq!(life(seed).0, life(seed).0, "seed {seed}");
    }
}

/// Lives one life, and says its trace and what it has seen.
fn life(seed: u64) -> (u64, Counts) {
    let mut world = World::new(seed);
    world.told = std::env::var_os("NODE_TELL").is_some();
    let lived = catch_unwind(AssertUnwindSafe(|| {
        world.live(STEPS);
        world.heal();
    }));
    if let Err(panic) = lived {
        println!("NODE_SEED={seed} fails at step {}, {:?}", world.step, world.now());
        resume_unwind(panic);
    }
    (world.trace, world.oracle.counts)
}
