//! The bytes of the records.
//!
//! A payload is the wall time, the actor, then the fields of its kind in order, as
//! [`crate::codec`] writes them. Kinds and the numbers inside them are never reused; a change of
//! the fields raises [`SCHEMA`]. What is read comes from a disk, so it is checked; a payload that
//! is not exactly one of its kind is refused.

use super::answers::RequestKey;
use super::jobs::TimingRef;
use super::record::{
    Claim, End, Ending, Entry, Facts, Finished, JobPut, Keyed, Member, MemberState, Reason, Record,
    RestoreCommit, RestorePart, Retry, Skip, SkipReason, TARGETS_MAX, Timing, Trigger,
};
use super::servers::Servers;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Boot, DIGEST_BYTES, Epoch, Index, JobId, NodeId, RunId, StoreId};
use crate::time::{Second, Wall};

/// Version of the payloads, written beside the kind.
pub const SCHEMA: u16 = 1;
/// The kind of [`Record::Finished`].
const FINISHED: u8 = 7;
/// Longest actor, in bytes.
pub const ACTOR_MAX_BYTES: usize = 160;

impl Record {
    /// The number of its kind on disk.
    pub fn kind(&self) -> u8 {
        match self {
            Record::EpochStart { .. } => 1,
            Record::Config(_) => 2,
            Record::Node(_) => 3,
            Record::JobPut(_) => 4,
            Record::JobDelete { .. } => 5,
            Record::Claim(_) => 6,
            Record::Finished(_) => FINISHED,
            Record::Skip(_) => 8,
            Record::ClockCorrected { .. } => 9,
            Record::Keyed(_) => 10,
            Record::Checkpoint { .. } => 11,
            Record::RestorePart(_) => 12,
            Record::RestoreCommit(_) => 13,
            Record::Retry(_) => 14,
        }
    }

    /// Its payload.
    ///
    /// # Panics
    /// When [`Entry::decode`] would refuse it: `actor` or a key is too long, the targets of a claim
    /// are too many or not in order, or a record with a key is one of two.
    pub fn encode(&self, wall: Wall, actor: &str) -> Vec<u8> {
        assert!(actor.len() <= ACTOR_MAX_BYTES, "an actor's name is bounded where it enters");
        let mut out = Encoder::new();
        out.i64(wall.0).str(actor);
        self.encode_fields(&mut out);
        out.into_bytes()
    }

    fn encode_fields(&self, out: &mut Encoder) {
        match self {
            Record::EpochStart { leader } => {
                out.u32(leader.get());
            }
            Record::Config(servers) => servers.encode(out),
            Record::Node(member) => member.encode(out),
            Record::JobPut(put) => put.encode(out),
            Record::JobDelete { job } => {
                out.u64(job.0);
            }
            Record::Claim(claim) => claim.encode(out),
            Record::Finished(finished) => finished.encode(out),
            Record::Skip(skip) => skip.encode(out),
            Record::ClockCorrected { to } => {
                out.i64(to.0);
            }
            Record::Checkpoint { previous } => {
                out.option(previous.as_ref(), |out, (index, digest)| {
                    out.u64(index.0).raw(digest);
                });
            }
            Record::RestorePart(part) => part.encode(out),
            Record::RestoreCommit(commit) => commit.encode(out),
            Record::Retry(retry) => retry.encode(out),
            Record::Keyed(keyed) => {
                assert!(!matches!(keyed.record, Record::Keyed(_)), "a change has one key");
                keyed.key.encode(out);
                keyed.record.encode_fields(out.u8(keyed.record.kind()));
            }
        }
    }

    fn decode_fields(kind: u8, input: &mut Decoder<'_>) -> Result<Record, DecodeError> {
        Ok(match kind {
            1 => Record::EpochStart { leader: NodeId::decode(input)? },
            2 => Record::Config(Servers::decode(input)?),
            3 => Record::Node(Member::decode(input)?),
            4 => Record::JobPut(JobPut::decode(input)?),
            5 => Record::JobDelete { job: JobId(input.u64()?) },
            6 => Record::Claim(Claim::decode(input)?),
            FINISHED => Record::Finished(Finished::decode(input)?),
            8 => Record::Skip(Skip::decode(input)?),
            9 => Record::ClockCorrected { to: Second(input.i64()?) },
            10 => {
                let key = RequestKey::decode(input)?;
                let record = match input.u8()? {
                    10 => return Err(DecodeError::Invalid("kind within a record with a key")),
                    kind => Record::decode_fields(kind, input)?,
                };
                Record::Keyed(Box::new(Keyed { key, record }))
            }
            11 => Record::Checkpoint {
                previous: input.option(|input| {
                    let (index, digest) = (Index(input.u64()?), input.raw(DIGEST_BYTES)?);
                    let short = |_| DecodeError::Invalid("digest");
                    Ok((index, digest.try_into().map_err(short)?))
                })?,
            },
            12 => Record::RestorePart(Box::new(RestorePart::decode(input)?)),
            13 => Record::RestoreCommit(RestoreCommit::decode(input)?),
            14 => Record::Retry(Retry::decode(input)?),
            _ => return Err(DecodeError::Invalid("kind")),
        })
    }
}

impl Entry {
    /// Reads the record of `kind` that stands at `index`.
    ///
    /// # Errors
    /// When the schema or the kind is unknown, or the payload is not one of that kind.
    pub fn decode(
        index: Index,
        epoch: Epoch,
        kind: u8,
        schema: u16,
        payload: &[u8],
    ) -> Result<Entry, DecodeError> {
        if schema != SCHEMA {
            return Err(DecodeError::Invalid("schema"));
        }
        let mut input = Decoder::new(payload);
        let wall = Wall(input.i64()?);
        let actor = input.str()?.to_owned();
        if actor.len() > ACTOR_MAX_BYTES {
            return Err(DecodeError::Invalid("length of the actor"));
        }
        let record = Record::decode_fields(kind, &mut input)?;
        input.finish()?;
        Ok(Entry { index, epoch, wall, actor, record })
    }
}

/// What a record, found as [`Entry::decode`] takes it, holds of the output of a run; `None` for
/// those that end no run, and for bytes that are no record.
pub fn output_in(kind: u8, schema: u16, payload: &[u8]) -> Option<&[u8]> {
    if (kind, schema) != (FINISHED, SCHEMA) {
        return None;
    }
    let mut input = Decoder::new(payload);
    input.i64().ok()?;
    input.str().ok()?;
    RunId::decode(&mut input).ok()?;
    Ending::decode(&mut input).ok()?;
    input.bytes().ok()
}

impl Member {
    /// Writes what [`Member::decode`] reads.
    pub fn encode(&self, out: &mut Encoder) {
        out.u32(self.id.get()).u64(self.store.0).u64(self.boot.0);
        out.str(&self.name).str(&self.address).bool(self.server).bool(self.work);
        out.list(self.tags.iter(), |out, (key, value)| {
            out.str(key).str(value);
        });
        out.u8(match self.state {
            MemberState::Registered => 0,
            MemberState::Left => 1,
        });
    }

    /// Reads a member. How long its texts are is not looked at.
    ///
    /// # Errors
    /// When the bytes are too few, or are none.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Member, DecodeError> {
        Ok(Member {
            id: NodeId::decode(input)?,
            store: StoreId(input.u64()?),
            boot: Boot(input.u64()?),
            name: input.str()?.to_owned(),
            address: input.str()?.to_owned(),
            server: input.bool()?,
            work: input.bool()?,
            tags: input.list(|input| Ok((input.str()?.to_owned(), input.str()?.to_owned())))?,
            state: match input.u8()? {
                0 => MemberState::Registered,
                1 => MemberState::Left,
                _ => return Err(DecodeError::Invalid("member state")),
            },
        })
    }
}

impl JobPut {
    pub(super) fn encode(&self, out: &mut Encoder) {
        out.str(&self.name).bytes(&self.spec);
        self.timing.encode(out);
        self.facts.encode(out);
        encode_second(self.mark, out);
        encode_second(self.anchor, out);
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<JobPut, DecodeError> {
        Ok(JobPut {
            name: input.str()?.to_owned(),
            spec: input.bytes()?.to_vec(),
            timing: TimingRef::decode(input)?.to_owned(),
            facts: Facts::decode(input)?,
            mark: decode_second(input)?,
            anchor: decode_second(input)?,
        })
    }
}

impl Timing {
    pub(super) fn encode(&self, out: &mut Encoder) {
        out.str(&self.schedule).str(&self.timezone);
        encode_second(self.starts, out);
        encode_second(self.expires, out);
        out.str(&self.parent);
    }
}

impl<'a> TimingRef<'a> {
    pub(super) fn decode(input: &mut Decoder<'a>) -> Result<TimingRef<'a>, DecodeError> {
        Ok(TimingRef {
            schedule: input.str()?,
            timezone: input.str()?,
            starts: decode_second(input)?,
            expires: decode_second(input)?,
            parent: input.str()?,
        })
    }
}

impl Facts {
    pub(super) fn encode(&self, out: &mut Encoder) {
        out.bool(self.disabled).bool(self.forbid).bool(self.per_node).u16(self.keep);
        out.u8(self.retries).bool(self.idempotent);
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<Facts, DecodeError> {
        Ok(Facts {
            disabled: input.bool()?,
            forbid: input.bool()?,
            per_node: input.bool()?,
            keep: input.u16()?,
            retries: input.u8()?,
            idempotent: input.bool()?,
        })
    }
}

impl Claim {
    fn encode(&self, out: &mut Encoder) {
        assert!(self.targets_are_sound(), "targets are few enough and in order of number");
        out.u64(self.job.0).u64(self.version);
        encode_second(self.due, out);
        out.u32(self.clock_era).u8(self.trigger.code());
        encode_index(self.parent, out);
        encode_nodes(&self.targets, out);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Claim, DecodeError> {
        let claim = Claim {
            job: JobId(input.u64()?),
            version: input.u64()?,
            due: decode_second(input)?,
            clock_era: input.u32()?,
            trigger: Trigger::decode(input)?,
            parent: decode_index(input)?,
            targets: input.list(NodeId::decode)?,
        };
        if !claim.targets_are_sound() {
            return Err(DecodeError::Invalid("list of targets"));
        }
        Ok(claim)
    }

    /// A node that is named twice would have two runs of one name, of which one never ends.
    fn targets_are_sound(&self) -> bool {
        self.targets.len() <= TARGETS_MAX && self.targets.is_sorted_by(|a, b| a < b)
    }
}

impl Trigger {
    pub(super) fn code(self) -> u8 {
        match self {
            Trigger::Schedule => 0,
            Trigger::Catchup => 1,
            Trigger::Manual => 2,
            Trigger::Parent => 3,
        }
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<Trigger, DecodeError> {
        Trigger::from_code(input.u8()?)
    }

    pub(super) fn from_code(code: u8) -> Result<Trigger, DecodeError> {
        match code {
            0 => Ok(Trigger::Schedule),
            1 => Ok(Trigger::Catchup),
            2 => Ok(Trigger::Manual),
            3 => Ok(Trigger::Parent),
            _ => Err(DecodeError::Invalid("trigger")),
        }
    }
}

impl Finished {
    fn encode(&self, out: &mut Encoder) {
        self.run.encode(out);
        self.ending.encode(out);
        out.bytes(&self.tail);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Finished, DecodeError> {
        Ok(Finished {
            run: RunId::decode(input)?,
            ending: Ending::decode(input)?,
            tail: input.bytes()?.to_vec(),
        })
    }
}

impl Ending {
    /// Writes what [`Ending::decode`] reads.
    pub fn encode(&self, out: &mut Encoder) {
        out.u8(self.end.code());
        out.option(self.reason, |out, reason| reason.encode(out));
        let number = |out: &mut Encoder, value: i32| {
            out.i32(value);
        };
        out.option(self.exit_code, number).option(self.signal, number);
        out.i64(self.started.0).i64(self.finished.0);
        out.u64(self.duration_ms).u64(self.cpu_ms).u64(self.max_rss_bytes).u64(self.output_bytes);
    }

    /// Reads an ending.
    ///
    /// # Errors
    /// When the bytes are too few, a number is unknown, or it has more than one of exit code,
    /// signal and errno.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Ending, DecodeError> {
        let ending = Ending {
            end: End::from_code(input.u8()?)?,
            reason: input.option(Reason::decode)?,
            exit_code: input.option(Decoder::i32)?,
            signal: input.option(Decoder::i32)?,
            started: Wall(input.i64()?),
            finished: Wall(input.i64()?),
            duration_ms: input.u64()?,
            cpu_ms: input.u64()?,
            max_rss_bytes: input.u64()?,
            output_bytes: input.u64()?,
        };
        let failed_start = matches!(ending.reason, Some(Reason::StartFailed(..)));
        let numbers = [failed_start, ending.exit_code.is_some(), ending.signal.is_some()];
        match numbers.iter().filter(|&&has| has).count() {
            0 | 1 => Ok(ending),
            _ => Err(DecodeError::Invalid("outcome")),
        }
    }
}

impl End {
    pub(super) fn code(self) -> u8 {
        match self {
            End::Succeeded => 0,
            End::Failed => 1,
            End::Killed => 2,
            End::TimedOut => 3,
            End::Lost => 4,
            End::Skipped => 5,
            End::Missed => 6,
        }
    }

    pub(super) fn from_code(code: u8) -> Result<End, DecodeError> {
        match code {
            0 => Ok(End::Succeeded),
            1 => Ok(End::Failed),
            2 => Ok(End::Killed),
            3 => Ok(End::TimedOut),
            4 => Ok(End::Lost),
            5 => Ok(End::Skipped),
            6 => Ok(End::Missed),
            _ => Err(DecodeError::Invalid("end")),
        }
    }
}

impl Reason {
    fn encode(self, out: &mut Encoder) {
        match self {
            Reason::DeadlinePassed => out.u8(0),
            Reason::Overlap => out.u8(1),
            Reason::StartFailed(stage, errno) => out.u8(2).u8(stage).i32(errno),
            Reason::LauncherGone => out.u8(3),
            Reason::Untraceable => out.u8(4),
            Reason::StoreReplaced => out.u8(5),
            Reason::Unreachable => out.u8(6),
            Reason::JobDeleted => out.u8(7),
        };
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Reason, DecodeError> {
        match input.u8()? {
            0 => Ok(Reason::DeadlinePassed),
            1 => Ok(Reason::Overlap),
            2 => Ok(Reason::StartFailed(input.u8()?, input.i32()?)),
            3 => Ok(Reason::LauncherGone),
            4 => Ok(Reason::Untraceable),
            5 => Ok(Reason::StoreReplaced),
            6 => Ok(Reason::Unreachable),
            7 => Ok(Reason::JobDeleted),
            _ => Err(DecodeError::Invalid("reason")),
        }
    }
}

impl Skip {
    pub(super) fn encode(&self, out: &mut Encoder) {
        out.u64(self.job.0).u32(self.clock_era);
        out.i64(self.after.0).i64(self.until.0).i64(self.first.0);
        out.u32(self.count).bool(self.more);
        encode_index(self.parent, out);
        out.u8(match self.reason {
            SkipReason::WindowPassed => 0,
            SkipReason::NoNode => 1,
            SkipReason::Lost => 2,
            SkipReason::Backlog => 3,
            SkipReason::Withdrawn => 4,
        });
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<Skip, DecodeError> {
        Ok(Skip {
            job: JobId(input.u64()?),
            clock_era: input.u32()?,
            after: Second(input.i64()?),
            until: Second(input.i64()?),
            first: Second(input.i64()?),
            count: input.u32()?,
            more: input.bool()?,
            parent: decode_index(input)?,
            reason: match input.u8()? {
                0 => SkipReason::WindowPassed,
                1 => SkipReason::NoNode,
                2 => SkipReason::Lost,
                3 => SkipReason::Backlog,
                4 => SkipReason::Withdrawn,
                _ => return Err(DecodeError::Invalid("reason of a skip")),
            },
        })
    }
}

pub(super) fn encode_second(second: Option<Second>, out: &mut Encoder) {
    out.option(second, |out, second| {
        out.i64(second.0);
    });
}

pub(super) fn decode_second(input: &mut Decoder<'_>) -> Result<Option<Second>, DecodeError> {
    input.option(|input| input.i64().map(Second))
}

fn encode_index(index: Option<Index>, out: &mut Encoder) {
    out.option(index, |out, index| {
        out.u64(index.0);
    });
}

fn decode_index(input: &mut Decoder<'_>) -> Result<Option<Index>, DecodeError> {
    input.option(|input| input.u64().map(Index))
}

pub(super) fn encode_nodes(nodes: &[NodeId], out: &mut Encoder) {
    out.list(nodes.iter(), |out, node| {
        out.u32(node.get());
    });
}
