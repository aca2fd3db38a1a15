//! The fires of jobs that run after another: each is owed for one end, and decided at once.

use super::{CLAIMS_PER_DECISION, Decision, JOBS_PER_POLL, Scheduler, choose_targets};
use crate::ident::{Index, JobId};
use crate::job::Spec;
use crate::store::{Claim, Job, Record, Skip, SkipReason, State, Trigger};
use crate::time::Now;

impl Scheduler {
    /// Decides what jobs are owed, at most [`JOBS_PER_POLL`] of them.
    pub(super) fn poll_chained(&mut self, state: &State, now: Now) -> Vec<(JobId, Vec<Record>)> {
        let mut decided = Vec::new();
        let mut last = None;
        for (id, _) in state.chained() {
            if decided.len() == JOBS_PER_POLL {
                break;
            }
            if last.replace(id) == Some(id) {
                continue;
            }
            let records = self.settle(state, id, now).records;
            if !records.is_empty() {
                decided.push((id, records));
            }
        }
        decided
    }

    /// What decides the fires that a job is owed because others have succeeded: however long ago,
    /// for nobody could.
    pub(super) fn follow(&self, state: &State, job: &Job, in_flight: Index, now: Now) -> Decision {
        let owed = state.chained_of(job.id);
        let (Ok(spec), true) =
            (Spec::from_bytes(&job.spec), in_flight == Index(0) && owed.len() > 0)
        else {
            return Decision::default();
        };
        let more = owed.len() > CLAIMS_PER_DECISION;
        let owed = owed.filter(|&end| end > self.forgotten).take(CLAIMS_PER_DECISION);
        let records = owed.map(|end| after_end(state, job, &spec, end, now)).collect();
        Decision { records, more }
    }
}

/// The claim of the fire that `job` is owed for the end at `end`, or the skip that stands for it
/// when no node may run it.
fn after_end(state: &State, job: &Job, spec: &Spec, end: Index, now: Now) -> Record {
    let (clock_era, parent) = (state.clock_era(), Some(end));
    let targets = choose_targets(state, spec, job.id, end.0 as i64);
    if targets.is_empty() {
        let at = now.wall.second();
        let (job, after, until, first) = (job.id, at, at, at);
        let (count, more, reason) = (1, false, SkipReason::NoNode);
        let skip = Skip { job, clock_era, after, until, first, count, more, reason, parent };
        return Record::Skip(skip);
    }
    let (version, trigger) = (job.version, Trigger::Parent);
    Record::Claim(Claim { job: job.id, version, due: None, clock_era, trigger, targets, parent })
}
