//! What a cluster as a whole comes to, on a bad network too.

use super::sim::{Net, World, seeds};
use super::*;
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rough(lost: u64) -> Net {
    Net { lost, doubled: 50, held_up: 20, delay_us: 40_000 }
}

#[test]
fn nodes_that_know_one_address_come_to_know_all() {
    for seed in seeds(4) {
        for count in [1, 2, 3, 40] {
            let mut world = World::new(count, rough(20), seed);
            let took = world.run_until(seconds(60), World::is_converged);
            assert!(took.is_some(), "{count} nodes");
        }
    }
}

#[test]
fn a_death_and_a_goodbye_are_known_to_all() {
    for seed in seeds(4) {
        let mut world = World::acquainted(30, rough(50), seed);
        world.run_for(seconds(5));
        world.crash(3);
        world.with(4, Gossip::leave);
        world.run_for(seconds(2));
        world.crash(4);
        let is_known = |world: &World| {
            world.all_believe(3, Some(State::Dead)) && world.all_believe(4, Some(State::Left))
        };
        let took = world.run_until(seconds(30), is_known);
        assert!(took.is_some(), "after 30 seconds");
        let told = world.deaths.keys().filter(|(victim, _)| *victim == 5).count();
        assert_eq!(told, 0, "who has left was never dead");
    }
}

#[test]
fn no_false_death_lasts_on_a_network_that_loses_much() {
    for seed in seeds(3) {
        for lost in [50, 200] {
            let mut world = World::acquainted(30, rough(lost), seed);
            world.run_for(seconds(120));
            println!("{} false deaths at {lost} ‰", world.deaths.len());
            // There may always be a suspicion under way; wait for a moment without one.
            let took = world.run_until(seconds(20), |world| {
                (0..30).all(|at| !world.all_believe(at, Some(State::Dead)))
                    && world
                        .nodes
                        .iter()
                        .filter_map(|node| node.gossip.as_ref())
                        .all(|gossip| gossip.members().all(|view| view.update.state.is_live()))
            });
            assert!(took.is_some(), "a false death lasts at {lost} ‰");
            world.net = Net::lan(0);
            let took = world.run_until(seconds(30), World::is_converged);
            assert!(took.is_some(), "when nothing is lost any more");
        }
    }
}

#[test]
fn the_two_sides_of_a_partition_find_each_other_again() {
    for seed in seeds(3) {
        let mut world = World::acquainted(20, Net::lan(0), seed);
        world.run_for(seconds(5));
        (0..7).for_each(|at| world.nodes[at].side = 1);
        world.run_for(seconds(60));
        let across = |world: &World, of: usize, by: usize| {
            let gossip = world.nodes[by].gossip.as_ref().unwrap();
            state_of(gossip, of as u32 + 1)
        };
        assert_eq!(across(&world, 0, 10), Some(State::Dead));
        assert_eq!(across(&world, 10, 0), Some(State::Dead));
        world.deaths.clear();
        (0..7).for_each(|at| world.nodes[at].side = 0);
        let took = world.run_until(seconds(100), World::is_converged);
        println!("healed after {took:?}");
        assert!(took.is_some(), "not after 100 seconds");
        let is_of_one_side = |(a, b): &&(u32, u32)| (*a <= 7) == (*b <= 7);
        let wronged: Vec<_> = world.deaths.keys().filter(is_of_one_side).collect();
        assert!(wronged.is_empty(), "held for dead by their own side: {wronged:?}");
    }
}

#[test]
fn old_datagrams_and_old_boots_change_nothing() {
    for seed in seeds(3) {
        let mut world = World::acquainted(12, rough(20), seed);
        world.run_for(seconds(20));
        let recorded = world.old.len();
        for at in 0..12 {
            world.crash(at);
            world.run_for(seconds(1));
            world.start(at);
        }
        assert!(world.run_until(seconds(60), World::is_converged).is_some());
        let boots = |world: &World| -> Vec<(NodeId, Boot)> {
            let running = world.nodes.iter().filter_map(|node| node.gossip.as_ref());
            running.flat_map(|g| g.members().map(|v| (v.update.node, v.update.boot))).collect()
        };
        let before = boots(&world);
        for which in 0..recorded {
            world.replay(which);
            world.run_for(Duration::from_millis(2));
            assert_eq!(boots(&world), before, "after the replay of {which}");
        }
        assert!(world.run_until(seconds(20), World::is_converged).is_some());
        let told = world.deaths.values().filter(|at| **at > Mono(90_000_000_000)).count();
        assert_eq!(told, 0);
    }
}

#[test]
fn nodes_that_sleep_and_wake_are_taken_back_and_accuse_nobody() {
    for seed in seeds(3) {
        let mut world = World::acquainted(20, rough(20), seed);
        world.run_for(seconds(5));
        for at in 0..3 {
            world.nodes[at].asleep_until = world.now + seconds(30);
        }
        world.run_for(seconds(20));
        (0..3).for_each(|at| assert!(world.all_believe_but_sleepers(at, 3)));
        world.deaths.clear();
        let took = world.run_until(seconds(60), World::is_converged);
        assert!(took.is_some(), "not after 60 seconds");
        let accused: Vec<_> = world.deaths.keys().filter(|(victim, _)| *victim > 3).collect();
        assert!(accused.is_empty(), "{accused:?}");
    }
}

#[test]
fn crashes_and_starts_at_random_come_to_rest() {
    for seed in seeds(3) {
        let mut world = World::new(25, rough(100), seed);
        for _ in 0..40 {
            let at = world.below(25);
            match world.below(5) {
                0 => world.crash(at),
                1 | 2 => world.start(at),
                3 => world.nodes[at].side = world.below(2) as u8,
                _ => world.nodes[at].asleep_until = world.now + seconds(12),
            }
            let pause = world.below(6_000) as u64;
            world.run_for(Duration::from_millis(pause));
        }
        world.nodes.iter_mut().for_each(|node| node.side = 0);
        world.net = rough(10);
        // Who has met nobody yet needs the one address that it knows.
        world.start(0);
        let took = world.run_until(seconds(200), World::is_converged);
        println!("at rest after {took:?}");
        assert!(took.is_some(), "not after 200 seconds");
    }
}

#[test]
fn the_same_seed_makes_the_same_world() {
    let trace = |seed| {
        let mut world = World::new(15, rough(100), seed);
        world.run_for(seconds(10));
        world.crash(4);
        world.run_for(seconds(20));
        (world.trace, world.deaths.len())
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3).0, trace(4).0);
}

impl World {
    /// Whether all but the first `sleepers` hold `at` for dead.
    fn all_believe_but_sleepers(&self, at: usize, sleepers: usize) -> bool {
        let awake = self.nodes.iter().skip(sleepers).filter_map(|node| node.gossip.as_ref());
        awake.into_iter().all(|gossip| state_of(gossip, at as u32 + 1) == Some(State::Dead))
    }
}
