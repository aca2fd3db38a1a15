//! Which nodes run a fire.

use crate::ident::{JobId, NodeId};
use crate::job::spec::split_tag;
use crate::job::{RunOn, Spec};
use crate::rng::stable_hash;
use crate::store::{Member, MemberState, State, TARGETS_MAX};

/// The targets of a fire of `job`, in order of number: the registered working nodes whose tags
/// equal those of `spec`, all of them or as many as it asks for. Which ones is decided by a hash
/// of (job, `salt`, node), so it is spread over fires and the same wherever it is computed; `salt`
/// is the due time, or the version for a fire by hand.
pub fn choose(state: &State, spec: &Spec, job: JobId, salt: i64) -> Vec<NodeId> {
    let mut candidates: Vec<NodeId> =
        state.members().filter(|member| may_run(member, spec)).map(|member| member.id).collect();
    let count = match (spec.counted_tag(), spec.run_on) {
        (Some((_, count)), _) | (None, RunOn::Count(count)) => {
            usize::try_from(count).unwrap_or(usize::MAX)
        }
        (None, RunOn::Any) => 1,
        (None, RunOn::All) => TARGETS_MAX,
    };
    if candidates.len() > count {
        candidates.sort_by_key(|&node| rank(job, salt, node));
        candidates.truncate(count);
        candidates.sort_unstable();
    }
    candidates
}

/// One more node for a fire of `job`, of those for which `is_free` holds; `None` when there is
/// none.
pub fn choose_other(
    state: &State,
    spec: &Spec,
    job: JobId,
    salt: i64,
    is_free: &dyn Fn(NodeId) -> bool,
) -> Option<NodeId> {
    let may_run = state.members().filter(|member| may_run(member, spec) && is_free(member.id));
    may_run.map(|member| member.id).min_by_key(|&node| rank(job, salt, node))
}

fn may_run(member: &Member, spec: &Spec) -> bool {
    let has = |key: &str, value: &str| {
        member.tags.iter().any(|(own, own_value)| own == key && own_value == value)
    };
    member.work
        && member.state == MemberState::Registered
        && spec.tags.iter().all(|(key, value)| has(key, split_tag(value).0))
}

fn rank(job: JobId, salt: i64, node: NodeId) -> u64 {
    let mut key = [0; 20];
    key[..8].copy_from_slice(&job.0.to_le_bytes());
    key[8..16].copy_from_slice(&salt.to_le_bytes());
    key[16..].copy_from_slice(&node.get().to_le_bytes());
    stable_hash(&key)
}
