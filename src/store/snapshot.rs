//! The state as bytes, taken by a cursor while it goes on changing.
//!
//! A snapshot is a sequence of entries: a header; each job in order of number, followed by its
//! open fires, the summaries of its ended ones and its skips; answers to keyed changes; the jobs of
//! a restore that is not in force. Chunks hold as many whole entries as reach [`CHUNK_BYTES`], so
//! that the same state has the same chunks on every node, whoever asks for them in however many
//! turns. A job that is changed before the cursor has come to it is encoded as it was, at once; so
//! the result is the state as it was when the snapshot was begun.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::State;
use super::answers::Answered;
use super::bytes::encode_second;
use super::fires::{Fire, RunState};
use super::jobs::{Counts, Job, Past, Status};
use super::record::RestorePart;
use super::walk::{Step, Walk};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Index, JobId};
use crate::mistake::{Mistake, made};
use crate::time::Wall;

/// A chunk ends with the entry that reaches this size.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// Most summaries in one entry.
pub(super) const SUMMARIES_PER_ENTRY: usize = 512;

pub(super) const HEADER: u8 = 1;
pub(super) const JOB: u8 = 2;
pub(super) const OPEN_FIRE: u8 = 3;
pub(super) const SUMMARIES: u8 = 4;
pub(super) const SKIPS: u8 = 5;
pub(super) const ANSWER: u8 = 6;
pub(super) const STAGED: u8 = 7;

/// What comes next of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// The next chunk.
    Chunk(Vec<u8>),
    /// It is complete. These records, in order, hold the newest output of some job each, as far as
    /// they lie before this index, which is the one that was asked for when it was begun.
    Done(Vec<Index>, Index),
    /// It can't be completed: too much has changed at once. Begin another.
    Void,
}

/// A snapshot that is being taken.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(super) struct Cursor {
    walk: Walk<Before>,
    place: Place,
    /// Answers that were dropped since.
    dropped: BTreeMap<Index, Answered>,
    out: Chunks,
    outputs_before: Index,
    outputs: Vec<Index>,
}

/// What is taken next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Jobs,
    Answer(Index),
    Staged(Index),
    End,
}

#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq, Eq))]
struct Before {
    entries: Vec<Vec<u8>>,
    newest_output: Option<Index>,
}

impl State {
    /// Begins to take a snapshot of the state as it is now; one that was begun before is given up.
    /// At its end it names the records with the newest output of each job that lie before
    /// `outputs_before`.
    pub fn begin_snapshot(&mut self, outputs_before: Index) {
        self.cursor = Some(Box::new(Cursor::new(self, outputs_before)));
    }

    /// Gives up the snapshot that was begun, if any.
    pub fn end_snapshot(&mut self) {
        self.cursor = None;
    }

    /// The next piece of the snapshot that was begun: at most some [`CHUNK_BYTES`] of work.
    pub fn snapshot_piece(&mut self) -> Piece {
        let Some(mut cursor) = self.cursor.take().filter(|cursor| !cursor.walk.is_void()) else {
            return Piece::Void;
        };
        match cursor.chunk(self) {
            Some(chunk) => {
                self.cursor = Some(cursor);
                Piece::Chunk(chunk)
            }
            None => {
                cursor.outputs.sort_unstable();
                Piece::Done(cursor.outputs, cursor.outputs_before)
            }
        }
    }

    /// The chunks of the whole state, all at once.
    pub fn snapshot(&self) -> Vec<Vec<u8>> {
        let mut cursor = Cursor::new(self, Index(0));
        std::iter::from_fn(|| cursor.chunk(self)).collect()
    }

    pub(super) fn save_for_snapshot(&mut self, id: JobId) {
        let Some(cursor) = &mut self.cursor else { return };
        if !cursor.walk.is_ahead(id) {
            return;
        }
        let live = self.jobs.get(&id).map(|job| (job, false));
        let Some((job, deleted)) = live.or_else(|| Some((self.deleted.get(&id)?, true))) else {
            return;
        };
        let mut entries = Vec::new();
        job_entries(job, deleted, &mut |entry| entries.push(entry));
        let newest_output = newest_output(job, cursor.outputs_before);
        let bytes = entries.iter().map(Vec::len).sum();
        cursor.walk.keep(id, Before { entries, newest_output }, bytes);
    }

    /// To be called with an answer that is dropped.
    pub(super) fn save_answer(&mut self, index: Index, answered: Answered) {
        if let Some(cursor) = &mut self.cursor {
            if index <= cursor.walk.index() && cursor.place <= Place::Answer(index) {
                cursor.dropped.insert(index, answered);
            }
        }
    }

    pub(super) fn void_snapshot(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.walk.give_up();
        }
    }
}

impl Cursor {
    fn new(state: &State, outputs_before: Index) -> Cursor {
        let mut out = Chunks::default();
        out.push(header_entry(state));
        Cursor {
            walk: Walk::new(state.applied),
            place: Place::Jobs,
            dropped: BTreeMap::new(),
            out,
            outputs_before,
            outputs: Vec::new(),
        }
    }

    /// The next chunk; `None` after the last.
    fn chunk(&mut self, state: &State) -> Option<Vec<u8>> {
        while self.out.full.is_empty() {
            match self.place {
                Place::Jobs => self.take_jobs(state),
                Place::Answer(index) => self.take_answers(state, index),
                Place::Staged(index) => self.take_staged(state, index),
                Place::End => return self.out.last(),
            }
        }
        self.out.full.pop_front()
    }

    /// Takes jobs until there is a chunk.
    fn take_jobs(&mut self, state: &State) {
        let Cursor { walk, out, outputs, outputs_before, .. } = self;
        let at_end = walk.go_on(state, &mut |step| {
            match step {
                Step::Before(before) => {
                    before.entries.into_iter().for_each(|entry| out.push(entry));
                    outputs.extend(before.newest_output);
                }
                Step::Unchanged(job, deleted) => {
                    job_entries(job, deleted, &mut |entry| out.push(entry));
                    outputs.extend(newest_output(job, *outputs_before));
                }
            }
            out.full.is_empty()
        });
        if at_end {
            self.place = Place::Answer(Index(0));
        }
    }

    /// Takes answers from `from` on until there is a chunk.
    fn take_answers(&mut self, state: &State, from: Index) {
        let mut kept = state.answers.range(from, self.walk.index()).peekable();
        while self.out.full.is_empty() {
            let dropped = self.dropped.first_key_value().map(|(&index, _)| index);
            let next = [kept.peek().map(|(index, _)| *index), dropped].into_iter().flatten().min();
            let Some(index) = next else {
                self.place = Place::Staged(Index(0));
                return;
            };
            // A key that was used again has dropped its answer, and is not there twice.
            let entry = match (self.dropped.remove(&index), kept.next_if(|(at, _)| *at == index)) {
                (Some(answered), _) => answer_entry(index, &answered),
                (None, Some((_, answered))) => answer_entry(index, answered),
                (None, None) => return,
            };
            self.out.push(entry);
            self.place = Place::Answer(Index(index.0.saturating_add(1)));
        }
    }

    /// Takes jobs of a restore from `from` on until there is a chunk. Those are never changed, and
    /// what drops them gives the snapshot up.
    fn take_staged(&mut self, state: &State, from: Index) {
        for (index, part) in state.staged.entries(from, self.walk.index()) {
            self.out.push(staged_entry(index, part));
            if !self.out.full.is_empty() {
                self.place = Place::Staged(Index(index.0.saturating_add(1)));
                return;
            }
        }
        self.place = Place::End;
    }
}

fn staged_entry(index: Index, part: &RestorePart) -> Vec<u8> {
    let mut out = Encoder::new();
    out.u8(STAGED).u64(index.0);
    part.encode(&mut out);
    out.into_bytes()
}

/// The newest record before `before` that holds an output of the job.
fn newest_output(job: &Job, before: Index) -> Option<Index> {
    if before == Index(0) {
        return None;
    }
    job.past.as_ref()?.history.newest_output().filter(|&record| record < before)
}

/// The entries of a state, one by one.
#[cfg(test)]
pub(super) fn entries(state: &State) -> Vec<Vec<u8>> {
    let mut all = vec![header_entry(state)];
    let mut jobs: Vec<(&Job, bool)> = state.jobs.values().map(|job| (&**job, false)).collect();
    jobs.extend(state.deleted.values().map(|job| (&**job, true)));
    jobs.sort_by_key(|(job, _)| job.id);
    jobs.iter().for_each(|(job, deleted)| job_entries(job, *deleted, &mut |one| all.push(one)));
    all.extend(state.answers.iter().map(|(index, answered)| answer_entry(index, answered)));
    let staged = state.staged.entries(Index(0), state.applied);
    all.extend(staged.map(|(index, part)| staged_entry(index, part)));
    all
}

/// Entries, put together to chunks.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq))]
struct Chunks {
    full: VecDeque<Vec<u8>>,
    open: Vec<u8>,
}

impl Chunks {
    fn push(&mut self, entry: Vec<u8>) {
        self.open.extend(entry);
        if self.open.len() >= CHUNK_BYTES {
            self.full.push_back(std::mem::take(&mut self.open));
        }
    }

    fn last(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.open)).filter(|open| !open.is_empty())
    }
}

fn header_entry(state: &State) -> Vec<u8> {
    let mut out = Encoder::new();
    out.u8(HEADER).u64(state.applied.0).u64(state.epoch.0).i64(state.newest_wall.0);
    out.u32(state.clock_era);
    state.servers.encode(&mut out);
    out.option(state.checkpoint, |out, index| {
        out.u64(index.0);
    });
    out.list(state.members.values(), |out, member| member.encode(out));
    let chained: Vec<(JobId, Index)> = state.chained().collect();
    out.list(chained.into_iter(), |out, (id, end)| {
        out.u64(id.0).u64(end.0);
    });
    out.into_bytes()
}

/// The entries of one job, in order.
fn job_entries(job: &Job, deleted: bool, emit: &mut dyn FnMut(Vec<u8>)) {
    emit(job_entry(job, deleted));
    let Some(past) = &job.past else { return };
    let whole = !made(Mistake::SnapshotWithoutOpenRuns);
    for fire in past.history.open_fires().filter(|_| whole) {
        emit(fire_entry(fire, job));
    }
    let mut summaries = past.history.summaries();
    while summaries.len() > 0 {
        let mut out = Encoder::new();
        let count = summaries.len().min(SUMMARIES_PER_ENTRY);
        out.u8(SUMMARIES).u16(count as u16);
        summaries.by_ref().take(count).for_each(|summary| {
            out.raw(summary.bytes());
        });
        emit(out.into_bytes());
    }
    if !past.skips.is_empty() {
        let mut out = Encoder::new();
        out.u8(SKIPS).list(past.skips.iter(), |out, (index, wall, skip)| {
            out.u64(index.0).i64(wall.0);
            skip.encode(out);
        });
        emit(out.into_bytes());
    }
}

fn job_entry(job: &Job, deleted: bool) -> Vec<u8> {
    let mut out = Encoder::with_capacity(job.name.len() + job.spec.len() + 256);
    out.u8(JOB).bool(deleted).u64(job.id.0).str(&job.name).bytes(&job.spec);
    job.timing.encode(&mut out);
    job.facts.encode(&mut out);
    out.u64(job.version).i64(job.decided_until.0).i64(job.anchor.0);
    out.i64(job.created.0).i64(job.updated.0);
    out.option(job.past.as_deref(), |out, past: &Past| {
        encode_counts(&past.counts, out);
        out.u64(past.judged.0);
    });
    out.into_bytes()
}

pub(super) fn encode_counts(counts: &Counts, out: &mut Encoder) {
    let Counts { success_count, error_count, missed_count, last_success, last_error, status } =
        *counts;
    out.u64(success_count).u64(error_count).u64(missed_count);
    let wall = |out: &mut Encoder, wall: Wall| {
        out.i64(wall.0);
    };
    out.option(last_success, wall).option(last_error, wall);
    out.u8(match status {
        Status::Untriggered => 0,
        Status::Success => 1,
        Status::PartiallyFailed => 2,
        Status::Failed => 3,
    });
}

pub(super) fn decode_counts(input: &mut Decoder<'_>) -> Result<Counts, DecodeError> {
    Ok(Counts {
        success_count: input.u64()?,
        error_count: input.u64()?,
        missed_count: input.u64()?,
        last_success: input.option(|input| input.i64().map(Wall))?,
        last_error: input.option(|input| input.i64().map(Wall))?,
        status: match input.u8()? {
            0 => Status::Untriggered,
            1 => Status::Success,
            2 => Status::PartiallyFailed,
            3 => Status::Failed,
            _ => return Err(DecodeError::Invalid("status")),
        },
    })
}

fn fire_entry(fire: &Fire, job: &Job) -> Vec<u8> {
    let mut out = Encoder::new();
    out.u8(OPEN_FIRE).u64(fire.group.0);
    encode_second(fire.due, &mut out);
    out.u8(fire.trigger.code()).i64(fire.claimed.0).u8(fire.retries).bool(fire.idempotent);
    // The definition is written only where the job's own has moved on.
    let pinned =
        Some(&fire.spec).filter(|spec| !Rc::ptr_eq(spec, &job.spec) && ***spec != *job.spec);
    out.option(pinned, |out, spec| {
        out.bytes(spec);
    });
    out.list(fire.runs.iter(), |out, run| {
        out.u32(run.node.get()).u32(run.attempt).u64(run.record.0);
        let ending = match run.state {
            RunState::Open => None,
            RunState::Ended(ending) => Some(ending),
        };
        out.option(ending, |out, ending| ending.encode(out));
        out.bool(run.retried).option(run.not_before, |out, at| {
            out.i64(at.0);
        });
    });
    out.into_bytes()
}

fn answer_entry(index: Index, answered: &Answered) -> Vec<u8> {
    let mut out = Encoder::new();
    out.u8(ANSWER).u64(index.0);
    answered.key.encode(&mut out);
    out.i64(answered.wall.0).u64(answered.job.0).str(&answered.name).bool(answered.claimed);
    out.into_bytes()
}
