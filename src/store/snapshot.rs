//! The state as chunks of bytes, and back.
//!
//! A snapshot is a header chunk, then for each job in order of number its own chunk, followed by
//! chunks of its fires and skips; then deleted jobs in the same way; then the tails and the answers
//! to keyed changes. Each starts with a tag. Lists are parted at [`CHUNK_BYTES`], so that no chunk
//! grows with what a job keeps. That none is missing at the end, the file around them proves.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use super::State;
use super::answers::{ANSWERS_MAX, Answered, RequestKey};
use super::bytes::{decode_second, encode_nodes, encode_second};
use super::fires::{Fire, History, Run, RunState};
use super::jobs::{Job, SKIPS_MAX, Status};
use super::record::{Ending, Facts, Member, Skip, Trigger};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{ClusterId, Epoch, Index, JobId, NodeId, RunId};
use crate::time::{Second, Wall};

/// A chunk of fires, skips or tails ends with the entry that reaches this size.
const CHUNK_BYTES: usize = 64 * 1024;

const HEADER: u8 = 1;
const JOB: u8 = 2;
const DELETED_JOB: u8 = 3;
const FIRES: u8 = 4;
const SKIPS: u8 = 5;
const TAILS: u8 = 6;
const ANSWERS: u8 = 7;

impl State {
    /// The chunks of the whole state as it is, each made when it is asked for.
    pub fn snapshot(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let live = self.jobs.values().flat_map(|job| job_chunks(JOB, job));
        let deleted = self.deleted.values().flat_map(|job| job_chunks(DELETED_JOB, job));
        let tails = list_chunks(TAILS, self.tails.iter(), |out, (run, tail)| {
            run.encode(out);
            out.bytes(tail);
        });
        let answers = list_chunks(ANSWERS, self.answers.iter(), |out, (index, answered)| {
            encode_answered(index, answered, out);
        });
        let jobs = std::iter::once(self.header_chunk()).chain(live).chain(deleted);
        jobs.chain(tails).chain(answers)
    }

    fn header_chunk(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u8(HEADER).u64(self.applied.0).u64(self.epoch.0).i64(self.newest_wall.0);
        out.u32(self.clock_era).u64(self.cluster.0);
        encode_nodes(&self.voters, &mut out);
        out.list(self.members.values(), |out, member| member.encode(out));
        out.into_bytes()
    }
}

/// Why chunks are no state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotError {
    /// A chunk's bytes are wrong.
    Bytes(DecodeError),
    /// A chunk stands where it can't.
    Order(&'static str),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Bytes(error) => write!(f, "a chunk of the snapshot {error}"),
            SnapshotError::Order(what) => write!(f, "the snapshot has {what}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl From<DecodeError> for SnapshotError {
    fn from(error: DecodeError) -> Self {
        SnapshotError::Bytes(error)
    }
}

/// Builds a state from the chunks of a snapshot, given in order.
#[derive(Debug, Default)]
pub struct SnapshotLoader {
    state: State,
    /// The number of the last section and of the last job in it; both only rise.
    place: Option<(u8, JobId)>,
    /// The job whose fires and skips follow, and whether it is a deleted one.
    current: Option<(Job, bool)>,
}

impl SnapshotLoader {
    /// A loader that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// When it is none, or not in its place. The loader is useless then.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let mut input = Decoder::new(bytes);
        match (input.u8()?, self.place) {
            (HEADER, None) => self.header(&mut input)?,
            (HEADER, Some(_)) => return Err(SnapshotError::Order("two headers")),
            (_, None) => return Err(SnapshotError::Order("no header")),
            (tag @ (JOB | DELETED_JOB), Some(place)) => {
                self.close_job()?;
                self.open_job(decode_job(&mut input)?, tag, place)?;
            }
            (FIRES, Some(_)) => self.add_fires(input.list(decode_fire)?)?,
            (SKIPS, Some(_)) => self.add_skips(input.list(decode_skip)?)?,
            (TAILS, Some((section, _))) => {
                self.close_job()?;
                if section > TAILS {
                    return Err(SnapshotError::Order("tails after answers"));
                }
                self.place = Some((TAILS, JobId(0)));
                for (run, tail) in input.list(decode_tail)? {
                    self.state.tails.put(run, tail);
                }
            }
            (ANSWERS, Some(_)) => {
                self.close_job()?;
                self.place = Some((ANSWERS, JobId(0)));
                self.add_answers(input.list(decode_answered)?)?;
            }
            (_, Some(_)) => return Err(DecodeError::Invalid("tag").into()),
        }
        input.finish()?;
        Ok(())
    }

    /// The state, after the last chunk.
    ///
    /// # Errors
    /// When there was no chunk at all, or the last job is a broken one.
    pub fn finish(mut self) -> Result<State, SnapshotError> {
        if self.place.is_none() {
            return Err(SnapshotError::Order("no header"));
        }
        self.close_job()?;
        Ok(self.state)
    }

    fn header(&mut self, input: &mut Decoder<'_>) -> Result<(), SnapshotError> {
        self.place = Some((HEADER, JobId(0)));
        self.state.applied = Index(input.u64()?);
        self.state.epoch = Epoch(input.u64()?);
        self.state.newest_wall = Wall(input.i64()?);
        self.state.clock_era = input.u32()?;
        self.state.cluster = ClusterId(input.u64()?);
        self.state.voters = input.list(NodeId::decode)?;
        for member in input.list(Member::decode)? {
            if self.state.members.insert(member.id, member).is_some() {
                return Err(SnapshotError::Order("a node that is there twice"));
            }
        }
        Ok(())
    }

    fn open_job(&mut self, job: Job, section: u8, place: (u8, JobId)) -> Result<(), SnapshotError> {
        if (section, job.id) <= place || self.state.jobs.contains_key(&job.id) {
            return Err(SnapshotError::Order("jobs out of order"));
        }
        if job.id.0 > self.state.applied.0 {
            return Err(SnapshotError::Order("a job of a later time"));
        }
        self.place = Some((section, job.id));
        self.current = Some((job, section == DELETED_JOB));
        Ok(())
    }

    fn add_fires(&mut self, fires: Vec<Fire>) -> Result<(), SnapshotError> {
        let applied = self.state.applied;
        let job = self.current_job()?;
        if !job.skips.is_empty() {
            return Err(SnapshotError::Order("fires after skips"));
        }
        for mut fire in fires {
            if fire.group > applied {
                return Err(SnapshotError::Order("a fire of a later time"));
            }
            if !fire.runs_are_in_order() {
                return Err(SnapshotError::Order("runs out of order"));
            }
            if job.fires.iter().next_back().is_some_and(|last| last.group >= fire.group) {
                return Err(SnapshotError::Order("fires out of order"));
            }
            match (fire.is_over(), &fire.spec) {
                (false, None) => fire.spec = Some(Rc::clone(&job.spec)),
                (true, Some(_)) => return Err(SnapshotError::Order("a pinned job with no run")),
                (false, Some(_)) | (true, None) => {}
            }
            job.fires.push(fire);
        }
        Ok(())
    }

    fn add_skips(&mut self, skips: Vec<(Index, Wall, Skip)>) -> Result<(), SnapshotError> {
        let job = self.current_job()?;
        for skip in skips {
            if job.skips.back().is_some_and(|last| last.0 >= skip.0) {
                return Err(SnapshotError::Order("skips out of order"));
            }
            job.skips.push_back(skip);
        }
        match job.skips.len() > SKIPS_MAX {
            true => Err(SnapshotError::Order("too many skips of a job")),
            false => Ok(()),
        }
    }

    fn add_answers(&mut self, answers: Vec<(Index, Answered)>) -> Result<(), SnapshotError> {
        for (index, answered) in answers {
            let newest = self.state.answers.iter().next_back().map(|(index, _)| index);
            if newest >= Some(index) || index > self.state.applied {
                return Err(SnapshotError::Order("answers out of order"));
            }
            let count = self.state.answers.iter().len();
            self.state.answers.put(index, answered);
            if count == ANSWERS_MAX || self.state.answers.iter().len() == count {
                return Err(SnapshotError::Order("too many answers, or two of one key"));
            }
        }
        Ok(())
    }

    fn current_job(&mut self) -> Result<&mut Job, SnapshotError> {
        match &mut self.current {
            Some((job, _)) => Ok(job),
            None => Err(SnapshotError::Order("a history without a job")),
        }
    }

    fn close_job(&mut self) -> Result<(), SnapshotError> {
        let Some((job, deleted)) = self.current.take() else { return Ok(()) };
        if job.fires.exceeds(usize::from(job.facts.keep)) {
            return Err(SnapshotError::Order("more fires than their job keeps"));
        }
        for run in job.fires.open_runs() {
            if self.state.open.insert(run, job.id).is_some() {
                return Err(SnapshotError::Order("a run of two jobs"));
            }
        }
        if deleted {
            if !job.fires.has_open_run() {
                return Err(SnapshotError::Order("a deleted job without an open run"));
            }
            self.state.deleted.insert(job.id, job);
            return Ok(());
        }
        if self.state.names.insert(Rc::clone(&job.name), job.id).is_some() {
            return Err(SnapshotError::Order("two jobs of one name"));
        }
        self.state.jobs.insert(job.id, job);
        Ok(())
    }
}

fn job_chunks(tag: u8, job: &Job) -> impl Iterator<Item = Vec<u8>> + '_ {
    let fires = list_chunks(FIRES, job.fires.iter(), |out, fire| encode_fire(fire, job, out));
    let skips = list_chunks(SKIPS, job.skips.iter(), |out, (index, wall, skip)| {
        out.u64(index.0).i64(wall.0);
        skip.encode(out);
    });
    std::iter::once(job_chunk(tag, job)).chain(fires).chain(skips)
}

/// `entries` as lists in chunks that start with `tag`; none when there are none.
fn list_chunks<T>(
    tag: u8,
    mut entries: impl Iterator<Item = T>,
    write: impl Fn(&mut Encoder, T),
) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let (mut list, mut count) = (Encoder::new(), 0);
        while list.len() < CHUNK_BYTES {
            let Some(entry) = entries.next() else { break };
            write(&mut list, entry);
            count += 1;
        }
        let mut out = Encoder::new();
        out.u8(tag).u32(count).raw(&list.into_bytes());
        (count > 0).then(|| out.into_bytes())
    })
}

fn job_chunk(tag: u8, job: &Job) -> Vec<u8> {
    let mut out = Encoder::new();
    out.u8(tag).u64(job.id.0).str(&job.name).bytes(&job.spec);
    job.facts.encode(&mut out);
    out.u64(job.version).i64(job.decided_until.0).i64(job.anchor.0);
    out.i64(job.created.0).i64(job.updated.0);
    out.u64(job.success_count).u64(job.error_count).u64(job.missed_count);
    let wall = |out: &mut Encoder, wall: Wall| {
        out.i64(wall.0);
    };
    out.option(job.last_success, wall).option(job.last_error, wall);
    out.u8(match job.status {
        Status::Untriggered => 0,
        Status::Success => 1,
        Status::PartiallyFailed => 2,
        Status::Failed => 3,
    });
    out.u64(job.judged.0);
    out.into_bytes()
}

fn decode_job(input: &mut Decoder<'_>) -> Result<Job, DecodeError> {
    Ok(Job {
        id: JobId(input.u64()?),
        name: input.str()?.into(),
        spec: input.bytes()?.into(),
        facts: Facts::decode(input)?,
        version: input.u64()?,
        decided_until: Second(input.i64()?),
        anchor: Second(input.i64()?),
        created: Wall(input.i64()?),
        updated: Wall(input.i64()?),
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
        judged: Index(input.u64()?),
        fires: History::default(),
        skips: VecDeque::new(),
    })
}

fn encode_fire(fire: &Fire, job: &Job, out: &mut Encoder) {
    out.u64(fire.group.0);
    encode_second(fire.due, out);
    out.u8(fire.trigger.code()).i64(fire.claimed.0);
    // The definition is written only where the job's own has moved on.
    let pinned = fire.spec.as_ref().filter(|spec| **spec != job.spec);
    out.option(pinned, |out, spec| {
        out.bytes(spec);
    });
    out.list(fire.runs.iter(), |out, run| {
        out.u32(run.node.get()).u32(run.attempt);
        let ending = match run.state {
            RunState::Open => None,
            RunState::Ended(ending) => Some(ending),
        };
        out.option(ending, |out, ending| ending.encode(out));
    });
}

fn encode_answered(index: Index, answered: &Answered, out: &mut Encoder) {
    out.u64(index.0);
    answered.key.encode(out);
    out.i64(answered.wall.0).u64(answered.job.0).str(&answered.name).bool(answered.claimed);
}

fn decode_answered(input: &mut Decoder<'_>) -> Result<(Index, Answered), DecodeError> {
    let index = Index(input.u64()?);
    let answered = Answered {
        key: RequestKey::decode(input)?,
        wall: Wall(input.i64()?),
        job: JobId(input.u64()?),
        name: input.str()?.into(),
        claimed: input.bool()?,
    };
    Ok((index, answered))
}

fn decode_skip(input: &mut Decoder<'_>) -> Result<(Index, Wall, Skip), DecodeError> {
    Ok((Index(input.u64()?), Wall(input.i64()?), Skip::decode(input)?))
}

fn decode_tail(input: &mut Decoder<'_>) -> Result<(RunId, Vec<u8>), DecodeError> {
    Ok((RunId::decode(input)?, input.bytes()?.to_vec()))
}

fn decode_fire(input: &mut Decoder<'_>) -> Result<Fire, DecodeError> {
    Ok(Fire {
        group: Index(input.u64()?),
        due: decode_second(input)?,
        trigger: Trigger::decode(input)?,
        claimed: Wall(input.i64()?),
        spec: input.option(|input| input.bytes().map(Rc::from))?,
        runs: input.list(|input| {
            Ok(Run {
                node: NodeId::decode(input)?,
                attempt: input.u32()?,
                state: input.option(Ending::decode)?.map_or(RunState::Open, RunState::Ended),
            })
        })?,
    })
}
