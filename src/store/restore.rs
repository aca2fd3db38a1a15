//! Jobs that are restored: staged one by one, in as many records as it takes, and put in force by
//! one more, all at once.
//!
//! What is staged and never put in force is dropped by the next restore and the next office. A
//! job that is new is as it was when it was backed up, but that it owes nothing from before; of
//! one that is there the definition is replaced, and what became of its runs stays.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::jobs::{Counts, Past};
use super::record::{JobPut, RestoreCommit, RestorePart};
use super::snapshot::{decode_counts, encode_counts};
use super::{Change, JOBS_MAX, State};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Index, JobId};
use crate::time::Wall;

/// Most bytes that staged jobs may take: what the longest restore, of a GiB, can make of the most
/// jobs that there may be.
pub const STAGED_MAX_BYTES: usize = 1024 * 1024 * 1024 + JOBS_MAX * 512;

/// What became of a job in a restore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restored {
    /// It was not there before.
    Created,
    /// It has another definition now.
    Replaced,
    /// It was not part of what was restored.
    Removed,
}

/// The jobs of a restore that is not in force, each by the record that staged it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Staged {
    restore: u64,
    bytes: usize,
    parts: BTreeMap<Index, RestorePart>,
}

impl Staged {
    /// Those of the records from `from` up to `to`, in order.
    pub(super) fn entries(
        &self,
        from: Index,
        to: Index,
    ) -> impl Iterator<Item = (Index, &RestorePart)> {
        self.parts.range(from..=to.max(from)).map(|(&index, part)| (index, part))
    }

    /// Adds a job; false when it is one too many, or of another restore than those before.
    pub(super) fn add(&mut self, index: Index, part: RestorePart) -> bool {
        let bytes = self.bytes.saturating_add(part.staged_bytes());
        let is_of_other = !self.parts.is_empty() && self.restore != part.restore;
        if bytes > STAGED_MAX_BYTES || is_of_other {
            return false;
        }
        self.restore = part.restore;
        self.bytes = bytes;
        self.parts.insert(index, part);
        true
    }

    /// The newest record that staged a job.
    pub(super) fn newest(&self) -> Option<Index> {
        self.parts.last_key_value().map(|(&index, _)| index)
    }

    pub(super) fn check(&self) {
        let sum: usize = self.parts.values().map(RestorePart::staged_bytes).sum();
        assert!(sum == self.bytes && sum <= STAGED_MAX_BYTES);
        assert!(self.parts.values().all(|part| part.restore == self.restore));
    }
}

impl RestorePart {
    /// How much of [`STAGED_MAX_BYTES`] it takes.
    pub fn staged_bytes(&self) -> usize {
        let JobPut { name, spec, timing, .. } = &self.put;
        let texts = [name, &timing.schedule, &timing.timezone, &timing.parent].map(String::len);
        texts.iter().sum::<usize>() + spec.len() + size_of::<RestorePart>()
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.u64(self.restore);
        self.put.encode(out);
        encode_counts(&self.counts, out);
        let wall = |out: &mut Encoder, wall: Wall| {
            out.i64(wall.0);
        };
        out.option(self.created, wall).option(self.updated, wall);
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<RestorePart, DecodeError> {
        Ok(RestorePart {
            restore: input.u64()?,
            put: JobPut::decode(input)?,
            counts: decode_counts(input)?,
            created: input.option(|input| input.i64().map(Wall))?,
            updated: input.option(|input| input.i64().map(Wall))?,
        })
    }
}

impl RestoreCommit {
    pub(super) fn encode(&self, out: &mut Encoder) {
        out.u64(self.restore).bool(self.replace).option(self.jobs, |out, jobs| {
            out.u32(jobs);
        });
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<RestoreCommit, DecodeError> {
        let (restore, replace) = (input.u64()?, input.bool()?);
        Ok(RestoreCommit { restore, replace, jobs: input.option(Decoder::u32)? })
    }
}

impl State {
    pub(super) fn stage(&mut self, part: RestorePart, index: Index) -> Change {
        if self.staged.restore != part.restore {
            self.drop_staged();
        }
        match self.staged.add(index, part) {
            true => Change::Staged,
            false => Change::Void(None),
        }
    }

    /// Gives up a restore that is not in force.
    pub(super) fn drop_staged(&mut self) {
        if !self.staged.parts.is_empty() {
            self.void_snapshot();
        }
        self.staged = Staged::default();
    }

    pub(super) fn commit_restore(
        &mut self,
        commit: RestoreCommit,
        index: Index,
        wall: Wall,
    ) -> Change {
        let mut staged = std::mem::take(&mut self.staged);
        let is_empty = staged.parts.is_empty();
        if staged.restore != commit.restore {
            staged.parts.clear();
        }
        let is_whole = commit.jobs.is_some_and(|jobs| jobs as usize == staged.parts.len());
        if !is_whole {
            if !is_empty {
                self.void_snapshot();
            }
            return Change::Void(None);
        }
        self.void_walks();
        if !self.are_linked(staged.parts.values(), commit.replace) {
            return Change::Void(None);
        }
        let mut restored = Vec::with_capacity(staged.parts.len());
        for (id, part) in staged.parts {
            restored.push(self.restore_job(JobId(id.0), part, index, wall));
        }
        if commit.replace {
            let kept: BTreeSet<JobId> = restored.iter().map(|(_, id, _)| *id).collect();
            let all = self.names.iter().map(|(name, id)| (Rc::clone(name), *id));
            let rest: Vec<_> = all.filter(|(_, id)| !kept.contains(id)).collect();
            for (name, id) in rest {
                self.remove_job(id);
                restored.push((name, id, Restored::Removed));
            }
        }
        Change::Restored(restored)
    }

    /// Puts one job in force, under the number `new` if it is not there yet.
    fn restore_job(
        &mut self,
        new: JobId,
        part: RestorePart,
        index: Index,
        wall: Wall,
    ) -> (Rc<str>, JobId, Restored) {
        let RestorePart { mut put, counts, created, updated, restore: _ } = part;
        let now = wall.second();
        let stored = self.names.get(put.name.as_str()).and_then(|id| self.jobs.get(id));
        // What is decided stays so, unless the mark only stands for a start that is to come.
        let decided = stored.filter(|job| !job.waits_for_start()).map(|job| job.decided_until);
        let start = put.timing.starts.map(|starts| starts.plus(-1));
        put.mark = [Some(now), put.mark, start, decided].into_iter().flatten().max();
        if put.anchor.is_none() && stored.is_some_and(|job| *job.timing != put.timing) {
            put.anchor = Some(now);
        }
        let result = if stored.is_some() { Restored::Replaced } else { Restored::Created };
        let id = self.put_job_as(new, put, index, wall);
        let Some(job) = self.jobs.get_mut(&id) else { unreachable!("it was put there") };
        if result == Restored::Created {
            job.created = created.unwrap_or(wall);
            job.updated = updated.unwrap_or(job.created);
            if counts != Counts::default() {
                job.past = Some(Box::new(Past { counts, ..Past::default() }));
            }
        }
        (Rc::clone(&job.name), id, result)
    }
}
