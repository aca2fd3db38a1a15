//! Servers against a world that loses, delays, stops and dies, drawn from a seed.
//!
//! `SIM_SEEDS=n` runs n worlds from `SIM_FROM` on, `SIM_SEED=n` replays one, `SIM_TELL=1` tells
//! what fails. A failure is printed with its seed, its step, and the fewest faults that still show
//! it.

mod checks;
mod disk;
mod found;
mod gate;
mod hearsay;
mod measure;
mod network;
mod plan;
mod scenarios;
mod tell;
mod world;

use tell::tell;

use std::time::Instant;

use crate::ident::NodeId;
use checks::Counts;
use plan::Plan;

/// Worlds of a plain test run.
const SEEDS: u64 = 150;

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Prints a failure so that it can be understood, and fails.
fn report(plan: &Plan, broken: &str) -> ! {
    let outcome = plan.outcome();
    println!("SIM_SEED={} fails at step {}: {broken}", plan.seed, outcome.steps);
    let small = plan.shrunk(broken);
    println!("{} voters, {} spares, any subset: {}", small.voters, small.spares, small.any_subset);
    for (at, fault) in &small.items {
        println!("{at:>8} ms  {fault:?}");
    }
    let outcome = small.outcome();
    println!("{}", outcome.broken.unwrap_or_default());
    if std::env::var_os("SIM_TELL").is_some() {
        let mut world = small.world();
        world.told = Some(Vec::new());
        let lived = std::panic::AssertUnwindSafe(|| small.live(&mut world));
        let _ = std::panic::catch_unwind(lived);
        println!("{}", world.told.unwrap_or_default().join("\n"));
    }
    panic!("SIM_SEED={}: {broken}", plan.seed);
}

#[test]
fn nothing_that_happens_to_servers_breaks_the_cluster() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let from = number("SIM_FROM").unwrap_or(0);
            from..from + number("SIM_SEEDS").unwrap_or(SEEDS)
        }
    };
    let began = Instant::now();
    let mut counts = Counts::default();
    for seed in seeds {
        let plan = Plan::drawn(seed);
        let outcome = plan.outcome();
        if let Some(broken) = outcome.broken {
            report(&plan, &broken);
        }
        counts.add(outcome.counts);
    }
    let took = began.elapsed().as_secs_f64();
    println!("{counts:?}");
    println!(
        "{:.0} seeds a minute, {:.0} simulated seconds a second",
        counts.worlds as f64 / took * 60.0,
        counts.seconds as f64 / took
    );
}

#[test]
fn the_same_seed_gives_the_same_life() {
    for seed in [3, 8] {
        let lives = [0; 2].map(|_| Plan::drawn(seed).outcome());
        assert_eq!(lives[0].trace, lives[1].trace, "seed {seed}");
        assert!(lives[0].steps > 100);
    }
}
