//! Whole nodes together, against a world that pauses, cuts off, loses, delays, steps and dies,
//! drawn from a seed.
//!
//! `CLUSTER_SEEDS=n` runs n worlds, `CLUSTER_SEED=n` replays one; `CLUSTER_TELL=1` prints what
//! happens (`words`: and all that is said), `CLUSTER_LESS=1` looks for faults of the plan that it
//! fails without, and `CLUSTER_MISTAKE=name` makes a mistake.

mod clients;
mod machine;
mod mistakes;
mod network;
mod plan;
mod scenarios;
mod watch;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::mistake::Making;
use world::World;

/// Worlds of a plain test run.
const SEEDS: u64 = 40;

#[test]
fn a_cluster_keeps_its_promises_whatever_dies() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("CLUSTER_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("CLUSTER_FROM").unwrap_or(0);
            first..first + number("CLUSTER_SEEDS").unwrap_or(SEEDS)
        }
    };
    let wrong = std::env::var("CLUSTER_MISTAKE").ok();
    let wrong = wrong.map(|name| mistakes::named(&name).expect("a mistake of that name"));
    let _making = Making::new(wrong);
    let mut seen = Seen::default();
    for seed in seeds {
        let mut world = World::new(seed);
        world.told = std::env::var_os("CLUSTER_TELL").is_some();
        world.watch.told = world.told;
        world.words = std::env::var("CLUSTER_TELL").is_ok_and(|what| what == "words");
        if let Err(panic) = live(&mut world) {
            println!("CLUSTER_SEED={seed} fails at step {}, {} ns", world.step, world.t);
            if std::env::var_os("CLUSTER_LESS").is_some() {
                println!("enough for it: {:#?}", less(seed));
            }
            resume_unwind(panic);
        }
        seen.add(&world);
    }
    println!("{seen:?}");
}

#[test]
fn the_same_seed_gives_the_same_cluster() {
    for seed in [3, 8] {
        let trace = || {
            let mut world = World::new(seed);
            live(&mut world).expect("it lives");
            (world.trace, world.watch.trace, world.step)
        };
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}

fn live(world: &mut World) -> std::thread::Result<()> {
    catch_unwind(AssertUnwindSafe(|| {
        world.live();
        world.heal();
    }))
}

/// The plan of a seed that fails, without the faults that it fails without.
fn less(seed: u64) -> Vec<(u64, plan::Fault)> {
    let mut plan = World::new(seed).plan;
    let mut at = plan.items.len();
    while at > 0 {
        at -= 1;
        let mut fewer = plan.clone();
        fewer.items.remove(at);
        let mut world = World::new(seed);
        world.plan = fewer.clone();
        if live(&mut world).is_err() {
            plan = fewer;
        }
    }
    plan.items
}

/// What the worlds have seen, so that those without events are noticed.
#[derive(Debug, Default)]
struct Seen {
    steps: u64,
    seconds: u64,
    offices: u64,
    records: usize,
    spawns: u64,
    answers: std::collections::BTreeMap<u16, u64>,
    counts: super::oracle::Counts,
}

impl Seen {
    fn add(&mut self, world: &World) {
        self.steps += world.step;
        self.seconds += world.t / machine::SECOND;
        self.offices += world.watch.offices;
        self.records += world.watch.committed.len();
        self.spawns += world.watch.spawns;
        for (&status, &count) in &world.clients.answers {
            *self.answers.entry(status).or_default() += count;
        }
        self.counts.add(world.watch.oracle.counts);
    }
}
