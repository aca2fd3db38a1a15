//! Every deliberate mistake must be caught, or the worlds prove nothing.
//!
//! A mistake is looked for in worlds of those kinds of faults that can show it, or on the stage if
//! chance shows it too seldom. The same without the mistake must be green. `SIM_GATE=n` counts how
//! many seeds each takes, n times.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plan::{Kind, Outcome, Plan};
use super::world::World;
use super::{number, scenarios};
use crate::mistake::{Making, Mistake};

/// Most seeds that a mistake may take.
const SEEDS_MAX: u64 = 60;

/// What shows a mistake: worlds of those kinds of faults, or a scene of so many voters.
enum Shown {
    Worlds(&'static [Kind]),
    Scene(u32, fn(&mut World)),
}

fn shown_by(mistake: Mistake) -> Shown {
    use Kind::{Crash, CrashAll, Cut, Delay, Doubled, Loss, Pause, Replay, RollBack, Slow, Split};
    use Kind::{Stall, Wipe};
    match mistake {
        Mistake::PlainBully => Shown::Worlds(&[Crash, Split, Slow, Cut]),
        Mistake::IndexOnly => Shown::Scene(3, scenarios::long_against_new),
        Mistake::GossipQuorum => Shown::Worlds(&[Split, Cut, Crash]),
        Mistake::OldEpochCount => Shown::Scene(5, scenarios::s03),
        Mistake::AckBeforeFsync | Mistake::SelfBeforeFsync => Shown::Worlds(&[Crash, Slow]),
        Mistake::VoteBeforeFsync => Shown::Worlds(&[Crash, Slow]),
        Mistake::NoPromiseDisk => Shown::Worlds(&[Crash, CrashAll]),
        Mistake::VoteTwice => Shown::Worlds(&[Split, Pause, Delay, Loss]),
        Mistake::EpochMarkerAheadOfLog => Shown::Worlds(&[Split, Cut, Pause, Delay, Crash]),
        Mistake::NoFence => Shown::Worlds(&[Replay, Crash, Pause, Loss]),
        Mistake::StickyVoid => Shown::Worlds(&[Replay, Loss, Split, Delay]),
        Mistake::TruncOnShort => Shown::Worlds(&[Delay, Doubled, Slow]),
        Mistake::StaleCompletion => Shown::Scene(5, scenarios::s20),
        Mistake::TwoConfigChanges => Shown::Scene(3, scenarios::out_one_by_one),
        Mistake::WipedSameId => Shown::Worlds(&[Wipe, Wipe, Slow, Cut, Stall, Crash]),
        Mistake::RolledBackDisk => Shown::Worlds(&[RollBack, RollBack, Slow, Cut, Stall, Crash]),
        // Those of sealing and of runs have tests in their rooms.
        Mistake::ReplayWindowOff
        | Mistake::StartBeforeCommit
        | Mistake::AcceptedNotFsynced
        | Mistake::NoWorkerDedup
        | Mistake::LowEpochObeyed
        | Mistake::ResumeFromNow
        | Mistake::MarkNotResetOnEdit
        | Mistake::SecondTargetRefused
        | Mistake::BackStepRefires
        | Mistake::FutureClockBlocks
        | Mistake::LostIsRetried
        | Mistake::RetryLostOnFailover
        | Mistake::ChildLostOnFailover
        | Mistake::SkipWithoutRecord
        | Mistake::NoSessionMeansSkip
        | Mistake::MissedWrittenForStarted
        | Mistake::SnapshotWithoutOpenRuns
        | Mistake::ReadWithoutRound
        | Mistake::ApplyReadsClock => panic!("{mistake:?} is not seen by servers alone"),
    }
}

fn lived(plan: &Plan, mistake: Option<Mistake>) -> Outcome {
    let _making = Making::new(mistake);
    plan.outcome()
}

/// What goes wrong on the stage.
fn played(voters: u32, scene: fn(&mut World), mistake: Option<Mistake>) -> Option<String> {
    let _making = Making::new(mistake);
    let mut world = scenarios::staged(voters, 0);
    world.told = None;
    let played = catch_unwind(AssertUnwindSafe(|| scene(&mut world)));
    world.checks.broken.or(played.err().map(|_| "the scene ends in another way".into()))
}

/// Looks for a world that catches `mistake`: its plan, what it shows, and how many worlds it took.
fn catch(mistake: Mistake, kinds: &[Kind], from: u64) -> Option<(Plan, String, u64)> {
    (0..SEEDS_MAX).find_map(|nth| {
        let plan = Plan::of(from + nth, kinds);
        let broken = lived(&plan, Some(mistake)).broken?;
        Some((plan, broken, nth + 1))
    })
}

fn is_caught(mistake: Mistake) {
    let kinds = match shown_by(mistake) {
        Shown::Worlds(kinds) => kinds,
        Shown::Scene(voters, scene) => {
            let broken = played(voters, scene, Some(mistake));
            println!("{mistake:?}: {}", broken.expect("the scene shows the mistake"));
            assert_eq!(played(voters, scene, None), None, "without {mistake:?}");
            return;
        }
    };
    let Some((plan, broken, _)) = catch(mistake, kinds, 0) else {
        panic!("{mistake:?} is caught by none of {SEEDS_MAX} worlds");
    };
    println!("{mistake:?}, seed {}: {broken}", plan.seed);
    let sound = lived(&plan, None).broken;
    assert_eq!(sound, None, "seed {} fails without {mistake:?}, too", plan.seed);
}

/// One test for each, named for it.
macro_rules! caught {
    ($($name:ident $mistake:ident)*) => {
        $(#[test]
        fn $name() {
            is_caught(Mistake::$mistake);
        })*

        const ALL: &[Mistake] = &[$(Mistake::$mistake),*];
    };
}

caught! {
    a_plain_bully_is_caught PlainBully
    comparing_lengths_only_is_caught IndexOnly
    a_quorum_of_those_alive_is_caught GossipQuorum
    committing_an_old_epoch_by_counting_is_caught OldEpochCount
    an_ack_before_the_fsync_is_caught AckBeforeFsync
    counting_oneself_before_the_fsync_is_caught SelfBeforeFsync
    a_vote_before_the_fsync_is_caught VoteBeforeFsync
    a_promise_that_is_not_stored_is_caught NoPromiseDisk
    voting_twice_is_caught VoteTwice
    an_epoch_ahead_of_the_journal_is_caught EpochMarkerAheadOfLog
    obeying_an_old_leader_is_caught NoFence
    unseating_a_leader_is_caught StickyVoid
    cutting_at_a_short_append_is_caught TruncOnShort
    a_stale_completion_is_caught StaleCompletion
    two_changes_at_once_are_caught TwoConfigChanges
    a_wiped_disk_under_the_same_name_is_caught WipedSameId
    a_disk_that_went_back_is_caught RolledBackDisk
}

/// How many seeds each mistake takes, for those who tune the worlds.
#[test]
fn how_soon_each_mistake_is_caught() {
    let Some(times) = number("SIM_GATE") else { return };
    for &mistake in ALL {
        let Shown::Worlds(kinds) = shown_by(mistake) else { continue };
        let mut took = Vec::new();
        let mut first = None;
        for time in 0..times {
            let caught = catch(mistake, kinds, time * SEEDS_MAX);
            took.push(caught.as_ref().map_or(SEEDS_MAX, |&(.., took)| took));
            first = first.or(caught);
        }
        took.sort_unstable();
        let (median, missed) = (took[took.len() / 2], took.iter().filter(|&&n| n == SEEDS_MAX));
        println!("{mistake:?}: median {median} seeds, {} of {times} without", missed.count());
        if let Some((plan, broken, _)) = first {
            println!("    seed {}: {broken}", plan.seed);
        }
    }
}
