//! When and where a run that has failed is tried again.
//!
//! That it is, the state says; what is decided here goes into the record of the retry, so that
//! whoever leads then finds it there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ident::{JobId, NodeId, RunId};
use crate::job::Spec;
use crate::job::spec::RETRY_WAIT_MAX;
use crate::rng::stable_hash;
use crate::schedule::choose_other;
use crate::store::{Fire, State};

/// The wait after the attempt `run`: `first` after the first one, twice that after the second and
/// so on, at most [`RETRY_WAIT_MAX`]; and a tenth more or less, so that what failed together is not
/// tried again together. The same wherever it is computed.
pub fn wait(first: Duration, run: RunId) -> Duration {
    let doublings = run.attempt.saturating_sub(1).min(31);
    let whole = first.saturating_mul(1 << doublings).min(RETRY_WAIT_MAX);
    let mut name = [0; 16];
    name[..8].copy_from_slice(&run.group.0.to_le_bytes());
    name[8..12].copy_from_slice(&run.node.get().to_le_bytes());
    name[12..].copy_from_slice(&run.attempt.to_le_bytes());
    let thousandths = 900 + (stable_hash(&name) % 201) as u32;
    (whole * thousandths / 1_000).min(RETRY_WAIT_MAX)
}

/// The node for the attempt after `run`: the same one if it is among `near`, those that can be told
/// something, or the job runs on each; else another of them that may run the job and has no part in
/// the fire. `chosen` are the nodes of retries that are decided and not in the state yet.
pub(super) fn node(
    state: &State,
    (job, fire): (JobId, &Fire),
    spec: &Spec,
    run: RunId,
    near: &BTreeSet<NodeId>,
    chosen: &BTreeMap<RunId, NodeId>,
) -> NodeId {
    if near.contains(&run.node) || spec.runs_on_each() {
        return run.node;
    }
    // The attempts of the only target may come back to where one was; with several, a node belongs
    // to the first of them that came there, so that no two ever meet.
    let is_only = fire.targets() == 1;
    let is_of_fire = |node| fire.runs.iter().any(|other| other.node == node);
    let is_chosen = |node| chosen.iter().any(|(of, &to)| of.group == run.group && to == node);
    let is_free = |node| near.contains(&node) && (is_only || !is_of_fire(node)) && !is_chosen(node);
    let salt = i64::from(run.attempt);
    choose_other(state, spec, job, salt, &is_free).unwrap_or(run.node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::Index;

    fn run(group: u64, attempt: u32) -> RunId {
        RunId { group: Index(group), node: NodeId::new(7).unwrap(), attempt }
    }

    #[test]
    fn a_wait_doubles_up_to_five_minutes_and_is_a_tenth_longer_or_shorter() {
        let second = Duration::from_secs(1);
        for (first, attempt, whole) in [
            (second, 1, 1_000),
            (second, 2, 2_000),
            (second, 9, 256_000),
            (second, 10, 300_000),
            (second, u32::MAX, 300_000),
            (Duration::from_millis(100), 4, 800),
            (RETRY_WAIT_MAX, 1, 300_000),
        ] {
            let waits: Vec<u128> =
                (0..2_000).map(|group| wait(first, run(group, attempt)).as_millis()).collect();
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            let limit = (whole * 11 / 10).min(RETRY_WAIT_MAX.as_millis());
            assert!((whole * 9 / 10..=whole * 91 / 100).contains(least), "{attempt}: {least}");
            assert!((limit * 99 / 100..=limit).contains(most), "{attempt}: {most}");
        }
        assert_eq!(wait(second, run(5, 1)), wait(second, run(5, 1)));
    }
}
