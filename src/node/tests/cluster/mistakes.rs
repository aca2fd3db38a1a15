//! Each rule that is broken on purpose must be missed by somebody. Some take more than chance to
//! show: they have scenarios of their own.

use super::live;
use super::world::World;
use crate::mistake::{Making, Mistake};

/// The mistakes, and from which seed on a world is looked for that fails.
const MISTAKES: [(Mistake, u64); 10] = [
    (Mistake::StartBeforeCommit, 0),
    (Mistake::AcceptedNotFsynced, 0),
    (Mistake::ResumeFromNow, 0),
    (Mistake::MarkNotResetOnEdit, 0),
    (Mistake::SecondTargetRefused, 0),
    (Mistake::BackStepRefires, 10),
    (Mistake::LostIsRetried, 60),
    (Mistake::SkipWithoutRecord, 0),
    (Mistake::NoSessionMeansSkip, 2),
    (Mistake::ApplyReadsClock, 0),
];
/// How many worlds may be looked through.
const WORLDS_MAX: u64 = 100;

/// Those that show in the life of one node, whose clock may be wrong by years.
const OF_ONE: [(Mistake, u64); 2] =
    [(Mistake::FutureClockBlocks, 7), (Mistake::SnapshotWithoutOpenRuns, 268)];

/// The mistake of that name.
pub(super) fn named(name: &str) -> Option<Mistake> {
    let steered = [
        Mistake::NoWorkerDedup,
        Mistake::MissedWrittenForStarted,
        Mistake::LowEpochObeyed,
        Mistake::ReadWithoutRound,
        Mistake::RetryLostOnFailover,
        Mistake::ChildLostOnFailover,
    ];
    let all = MISTAKES.iter().chain(&OF_ONE).map(|&(mistake, _)| mistake).chain(steered);
    all.into_iter().find(|mistake| format!("{mistake:?}") == name)
}

#[test]
fn a_mistake_fails_a_cluster_soon() {
    for (mistake, first) in MISTAKES {
        let _making = Making::new(Some(mistake));
        let fails = |seed: &u64| live(&mut World::new(*seed)).is_err();
        let found = (first..first + WORLDS_MAX).find(fails);
        assert!(found.is_some(), "{mistake:?} is not caught");
        println!("{mistake:?} is caught with seed {found:?}");
    }
}

#[test]
fn a_mistake_fails_one_node_soon() {
    for (mistake, first) in OF_ONE {
        let _making = Making::new(Some(mistake));
        let fails = |seed: &u64| std::panic::catch_unwind(|| super::super::life(*seed)).is_err();
        let found = (first..first + WORLDS_MAX).find(fails);
        assert!(found.is_some(), "{mistake:?} is not caught");
        println!("{mistake:?} is caught with seed {found:?}");
    }
}
