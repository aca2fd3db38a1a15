//! The record that makes the next attempt of a target whose last one has failed.
//!
//! That one is owed, a fire says ([`Fire::owed_retries`]); when and where it is made, the leader
//! says in the record.

use super::fires::{Fire, Run, RunState};
use super::record::Retry;
use super::{Change, State};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{NodeId, RunId};
use crate::time::Wall;

impl State {
    /// Makes the next attempt of a target whose last one has failed: once, and nowhere that another
    /// attempt is.
    pub(super) fn retry(&mut self, retry: Retry) -> Change {
        let Retry { run, node, not_before } = retry;
        let Some(&id) = self.owed.get(&run) else { return Change::Void(None) };
        let may_retry = |fire: &Fire| fire.may_retry_on(run, node);
        if !self.fire(id, run.group).is_some_and(may_retry) {
            return Change::Void(Some(id));
        }
        self.save_before(id);
        let fire =
            self.jobs.get_mut(&id).and_then(|job| job.past_mut().history.fire_mut(run.group));
        let Some(fire) = fire else { unreachable!("what is to be tried again has a fire") };
        let next = RunId { node, attempt: run.attempt + 1, ..run };
        if let (Ok(at), Err(place)) = (fire.position(run), fire.position(next)) {
            fire.runs[at].retried = true;
            let not_before = Some(not_before);
            let run = Run { not_before, ..Run::new(node, next.attempt, RunState::Open) };
            fire.runs.insert(place, run);
        }
        self.owed.remove(&run);
        self.open.insert(next, id);
        Change::Retried(id, next)
    }
}

impl Retry {
    pub(super) fn encode(&self, out: &mut Encoder) {
        self.run.encode(out);
        out.u32(self.node.get()).i64(self.not_before.0);
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<Retry, DecodeError> {
        Ok(Retry {
            run: RunId::decode(input)?,
            node: NodeId::decode(input)?,
            not_before: Wall(input.i64()?),
        })
    }
}
