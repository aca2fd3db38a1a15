//! A state from the chunks of a snapshot. What comes from a disk is checked: nothing is accepted
//! that [`State::check`] would not.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::State;
use super::answers::{ANSWERS_MAX, Answered, RequestKey};
use super::bytes::decode_second;
use super::fires::{Fire, Run, RunState};
use super::jobs::{Job, Past, SKIPS_MAX, TimingRef};
use super::record::{Ending, Facts, Member, RestorePart, Skip, Trigger};
use super::servers::Servers;
use super::snapshot::{
    ANSWER, HEADER, JOB, OPEN_FIRE, SKIPS, STAGED, SUMMARIES, SUMMARIES_PER_ENTRY, decode_counts,
};
use super::summary::{SUMMARY_BYTES, Summary};
use crate::codec::{DecodeError, Decoder};
use crate::ident::{Epoch, Index, JobId, NodeId};
use crate::time::{Second, Wall};

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
    /// What the next entry may follow.
    place: Place,
    /// The job whose fires and skips follow, and whether it is a deleted one.
    current: Option<(Box<Job>, bool)>,
    /// In order of number; put into the state at once, which makes its tree denser.
    jobs: Vec<(JobId, Box<Job>)>,
}

/// Kinds of entries come in this order; of a job those of its history, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
enum Place {
    #[default]
    Start,
    Header,
    Job,
    OpenFires,
    Summaries,
    Skips,
    Answers,
    Staged,
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
        while input.remaining() > 0 {
            let tag = input.u8()?;
            if self.place == Place::Start && tag != HEADER {
                return Err(SnapshotError::Order("no header"));
            }
            match tag {
                HEADER => self.header(&mut input)?,
                JOB => self.open_job(&mut input)?,
                OPEN_FIRE => self.add_open_fire(decode_fire(&mut input)?)?,
                SUMMARIES => self.add_summaries(&mut input)?,
                SKIPS => self.add_skips(input.list(decode_skip)?)?,
                ANSWER => {
                    self.begin_last(Place::Answers)?;
                    self.add_answer(decode_answered(&mut input)?)?;
                }
                STAGED => {
                    self.begin_last(Place::Staged)?;
                    let index = Index(input.u64()?);
                    self.add_staged(index, RestorePart::decode(&mut input)?)?;
                }
                _ => return Err(DecodeError::Invalid("tag").into()),
            }
        }
        Ok(())
    }

    /// The state, after the last chunk.
    ///
    /// # Errors
    /// When there was no chunk at all, the last job is a broken one, or two have one name.
    pub fn finish(mut self) -> Result<State, SnapshotError> {
        if self.place == Place::Start {
            return Err(SnapshotError::Order("no header"));
        }
        self.close_job()?;
        self.state.names = by_name(&self.jobs);
        if self.state.names.len() != self.jobs.len() {
            return Err(SnapshotError::Order("two jobs of one name"));
        }
        self.state.jobs = self.jobs.into_iter().collect();
        match self.state.link_all() {
            true => Ok(self.state),
            false => Err(SnapshotError::Order("a job that runs after none that is there")),
        }
    }

    fn header(&mut self, input: &mut Decoder<'_>) -> Result<(), SnapshotError> {
        if self.place != Place::Start {
            return Err(SnapshotError::Order("two headers"));
        }
        self.place = Place::Header;
        self.state.applied = Index(input.u64()?);
        self.state.epoch = Epoch(input.u64()?);
        self.state.newest_wall = Wall(input.i64()?);
        self.state.clock_era = input.u32()?;
        self.state.servers = Servers::decode(input)?;
        self.state.checkpoint = input.option(|input| input.u64().map(Index))?;
        for member in input.list(Member::decode)? {
            if self.state.members.insert(member.id, member).is_some() {
                return Err(SnapshotError::Order("a node that is there twice"));
            }
        }
        for (id, end) in input.list(|input| Ok((JobId(input.u64()?), Index(input.u64()?))))? {
            if !self.state.chains.restore(id, end) {
                return Err(SnapshotError::Order("ends that fires are owed for out of order"));
            }
        }
        Ok(())
    }

    fn open_job(&mut self, input: &mut Decoder<'_>) -> Result<(), SnapshotError> {
        let before = self.current.as_ref().map(|(job, _)| job.id);
        self.close_job()?;
        let deleted = input.bool()?;
        let job = self.decode_job(input, deleted)?;
        if self.place > Place::Skips || before.is_some_and(|before| before >= job.id) {
            return Err(SnapshotError::Order("jobs out of order"));
        }
        if job.id.0 > self.state.applied.0 {
            return Err(SnapshotError::Order("a job of a later time"));
        }
        self.place = Place::Job;
        self.current = Some((Box::new(job), deleted));
        Ok(())
    }

    fn decode_job(&mut self, input: &mut Decoder<'_>, deleted: bool) -> Result<Job, DecodeError> {
        Ok(Job {
            id: JobId(input.u64()?),
            name: input.str()?.into(),
            spec: input.bytes()?.into(),
            timing: match (TimingRef::decode(input)?, deleted) {
                (timing, true) => Rc::new(timing.to_owned()),
                (timing, false) => self.state.timings.take(timing),
            },
            facts: Facts::decode(input)?,
            version: input.u64()?,
            decided_until: Second(input.i64()?),
            anchor: Second(input.i64()?),
            created: Wall(input.i64()?),
            updated: Wall(input.i64()?),
            past: input.option(decode_past)?.map(Box::new),
        })
    }

    /// The past of the job that is being read, if what comes next may follow what came last.
    fn past(&mut self, next: Place) -> Result<&mut Past, SnapshotError> {
        if self.place > next {
            return Err(SnapshotError::Order("the parts of a job out of order"));
        }
        self.place = next;
        let past = self.current.as_mut().and_then(|(job, _)| job.past.as_deref_mut());
        past.ok_or(SnapshotError::Order("a history without a job"))
    }

    fn add_open_fire(&mut self, (mut fire, pinned): Decoded) -> Result<(), SnapshotError> {
        if fire.group > self.state.applied
            || fire.runs.iter().any(|r| r.record > self.state.applied)
        {
            return Err(SnapshotError::Order("a fire of a later time"));
        }
        if !fire.runs_are_in_order() || fire.is_over() {
            return Err(SnapshotError::Order("runs out of order"));
        }
        match (&self.current, pinned) {
            (_, Some(pinned)) => fire.spec = pinned,
            (Some((job, _)), None) => fire.spec = Rc::clone(&job.spec),
            (None, None) => {}
        }
        let past = self.past(Place::OpenFires)?;
        if past.history.open_fires().next_back().is_some_and(|last| last.group >= fire.group) {
            return Err(SnapshotError::Order("fires out of order"));
        }
        past.history.push(fire);
        Ok(())
    }

    fn add_summaries(&mut self, input: &mut Decoder<'_>) -> Result<(), SnapshotError> {
        let applied = self.state.applied;
        let count = usize::from(input.u16()?);
        if !(1..=SUMMARIES_PER_ENTRY).contains(&count) {
            return Err(DecodeError::Invalid("count of summaries").into());
        }
        let past = self.past(Place::Summaries)?;
        for _ in 0..count {
            let summary = Summary::read(input.raw(SUMMARY_BYTES)?)?;
            if summary.group() > applied || summary.execution().run.record > applied {
                return Err(SnapshotError::Order("a fire of a later time"));
            }
            if past.history.fire(summary.group()).is_some() || !past.history.restore(summary) {
                return Err(SnapshotError::Order("fires out of order"));
            }
        }
        Ok(())
    }

    fn add_skips(&mut self, skips: Vec<(Index, Wall, Skip)>) -> Result<(), SnapshotError> {
        let past = self.past(Place::Skips)?;
        for skip in skips {
            if past.skips.back().is_some_and(|last| last.0 >= skip.0) {
                return Err(SnapshotError::Order("skips out of order"));
            }
            past.skips.push_back(skip);
        }
        match past.skips.len() > SKIPS_MAX {
            true => Err(SnapshotError::Order("too many skips of a job")),
            false => Ok(()),
        }
    }

    /// An entry comes that no job's follows.
    fn begin_last(&mut self, place: Place) -> Result<(), SnapshotError> {
        self.close_job()?;
        if self.place > place {
            return Err(SnapshotError::Order("its last parts out of order"));
        }
        self.place = place;
        Ok(())
    }

    fn add_staged(&mut self, index: Index, part: RestorePart) -> Result<(), SnapshotError> {
        let staged = &mut self.state.staged;
        if staged.newest() >= Some(index) || index > self.state.applied {
            return Err(SnapshotError::Order("jobs of a restore out of order"));
        }
        match staged.add(index, part) {
            true => Ok(()),
            false => Err(SnapshotError::Order("two restores, or one that is too large")),
        }
    }

    fn add_answer(&mut self, (index, answered): (Index, Answered)) -> Result<(), SnapshotError> {
        let newest = self.state.answers.iter().next_back().map(|(index, _)| index);
        if newest >= Some(index) || index > self.state.applied {
            return Err(SnapshotError::Order("answers out of order"));
        }
        let count = self.state.answers.iter().len();
        self.state.answers.put(index, answered);
        if count == ANSWERS_MAX || self.state.answers.iter().len() == count {
            return Err(SnapshotError::Order("too many answers, or two of one key"));
        }
        Ok(())
    }

    fn close_job(&mut self) -> Result<(), SnapshotError> {
        let Some((job, deleted)) = self.current.take() else { return Ok(()) };
        if let Some(past) = &job.past {
            if past.history.exceeds(usize::from(job.facts.keep)) {
                return Err(SnapshotError::Order("more fires than their job keeps"));
            }
        }
        let State { open, owed, .. } = &mut self.state;
        let is_other = job.open_runs().any(|run| open.insert(run, job.id).is_some())
            || job.owed_retries().any(|run| owed.insert(run, job.id).is_some());
        if is_other {
            return Err(SnapshotError::Order("a run of two jobs"));
        }
        if deleted && job.owed_retries().next().is_some() {
            return Err(SnapshotError::Order("a deleted job that is to be tried again"));
        }
        match (deleted, job.has_open_fire()) {
            (true, false) => Err(SnapshotError::Order("a deleted job without an open run")),
            (true, true) => {
                self.state.deleted.insert(job.id, job);
                Ok(())
            }
            (false, _) => {
                self.jobs.push((job.id, job));
                Ok(())
            }
        }
    }
}

/// The jobs by name. Sorted by the beginnings of the names first, which lie side by side, where
/// the names themselves lie all over the memory.
fn by_name(jobs: &[(JobId, Box<Job>)]) -> BTreeMap<Rc<str>, JobId> {
    let beginning = |name: &str| {
        let mut bytes = [0; 16];
        let length = name.len().min(bytes.len());
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        u128::from_be_bytes(bytes)
    };
    let mut names: Vec<(u128, Rc<str>, JobId)> =
        jobs.iter().map(|(id, job)| (beginning(&job.name), Rc::clone(&job.name), *id)).collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name, id)| (name, id)).collect()
}

fn decode_past(input: &mut Decoder<'_>) -> Result<Past, DecodeError> {
    let counts = decode_counts(input)?;
    Ok(Past { counts, judged: Index(input.u64()?), ..Past::default() })
}

/// An open fire, and its definition where that is not its job's.
type Decoded = (Fire, Option<Rc<[u8]>>);

fn decode_fire(input: &mut Decoder<'_>) -> Result<Decoded, DecodeError> {
    let (group, due) = (Index(input.u64()?), decode_second(input)?);
    let (trigger, claimed) = (Trigger::decode(input)?, Wall(input.i64()?));
    let (retries, idempotent) = (input.u8()?, input.bool()?);
    let pinned = input.option(|input| input.bytes().map(Rc::from))?;
    let runs = input.list(|input| {
        Ok(Run {
            node: NodeId::decode(input)?,
            attempt: input.u32()?,
            record: Index(input.u64()?),
            state: input.option(Ending::decode)?.map_or(RunState::Open, RunState::Ended),
            retried: input.bool()?,
            not_before: input.option(|input| input.i64().map(Wall))?,
        })
    })?;
    let spec = Rc::default();
    Ok((Fire { group, due, trigger, claimed, spec, retries, idempotent, runs }, pinned))
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
