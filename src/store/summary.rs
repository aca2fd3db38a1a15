//! What is kept of an ended run, in 64 bytes: a million of them are an ordinary history.
//!
//! The same bytes are in memory and in a snapshot. Times and sizes have fewer bits than elsewhere
//! and stop at their ends: a wall time is right for 4,000 years around 1970, a duration for 34
//! years, an output up to 256 TiB; resident memory is kept in KiB, as wait4(2) measures it.
//!
//! | bytes | field |
//! |------:|-------|
//! | 8 | group |
//! | 6 | due time, or without one the time of the claim, in milliseconds |
//! | 6, 6 | started, finished |
//! | 5, 5 | duration, processor time |
//! | 4, 6 | resident memory, output |
//! | 4, 3 | node, attempt |
//! | 4 | how far behind the claim the record of the end stands; 0 when there is none |
//! | 4 | exit code, signal or errno |
//! | 1 | end, trigger, whether there is a due time |
//! | 1, 1 | reason and what the number is; stage of a failed start |

use super::fires::{Execution, Run, RunState};
use super::record::{End, Ending, Reason, Trigger};
use crate::codec::DecodeError;
use crate::ident::{Index, NodeId, RunId};
use crate::time::{Second, Wall};

/// Length of a summary.
pub(super) const SUMMARY_BYTES: usize = 64;

const KIB: u64 = 1_024;
/// The latest due time that fits, in seconds from 1970; the earliest is as far before.
const DUE_MAX: i64 = (1 << 47) / 1_000 - 1;
/// Where the node stands, and the attempt behind it.
const NODE_AT: usize = 46;
/// What the number is.
const EXIT_CODE: u8 = 1;
const SIGNAL: u8 = 2;

/// An ended run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary([u8; SUMMARY_BYTES]);

impl Summary {
    /// The summary of `execution`, which ended as `ending` says.
    pub(super) fn new(execution: &Execution, ending: &Ending) -> Summary {
        let mut bytes = [0; SUMMARY_BYTES];
        let Execution { group, due, claimed, trigger, run } = *execution;
        let (reason, stage, errno) = split_reason(ending.reason);
        let (kind, number) = match (errno, ending.signal, ending.exit_code) {
            (Some(errno), ..) => (0, errno),
            (None, Some(signal), _) => (SIGNAL, signal),
            (None, None, Some(code)) => (EXIT_CODE, code),
            (None, None, None) => (0, 0),
        };
        let behind = run.record.0.saturating_sub(group.0);
        let mut out = Cells { bytes: &mut bytes, at: 0 };
        out.put(8, group.0);
        let due_at = due.map(|due| Second(due.0.clamp(-DUE_MAX, DUE_MAX)).wall());
        out.put_signed(6, due_at.unwrap_or(claimed).0);
        out.put_signed(6, ending.started.0);
        out.put_signed(6, ending.finished.0);
        out.put(5, ending.duration_ms);
        out.put(5, ending.cpu_ms);
        out.put(4, ending.max_rss_bytes / KIB);
        out.put(6, ending.output_bytes);
        out.put(4, run.node.get().into());
        out.put(3, run.attempt.into());
        // A tail that stands too far behind to be named is one that is missing.
        out.put(4, if u32::try_from(behind).is_ok() { behind } else { 0 });
        out.put_signed(4, number.into());
        let has_due = u8::from(due.is_some());
        out.put(1, (ending.end.code() | trigger.code() << 3 | has_due << 6).into());
        out.put(1, (reason | kind << 4).into());
        out.put(1, stage.into());
        Summary(bytes)
    }

    /// Reads what [`Self::bytes`] gave.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn read(bytes: &[u8]) -> Result<Summary, DecodeError> {
        let bytes = bytes.try_into().map_err(|_| DecodeError::Invalid("length of a summary"))?;
        let summary = Summary(bytes);
        let execution = summary.unpack()?;
        match execution.run.state {
            // One summary, one form.
            RunState::Ended(ending) if Summary::new(&execution, &ending) == summary => Ok(summary),
            RunState::Ended(_) | RunState::Open => Err(DecodeError::Invalid("summary")),
        }
    }

    pub(super) fn bytes(&self) -> &[u8; SUMMARY_BYTES] {
        &self.0
    }

    /// Index of the claim.
    pub(super) fn group(&self) -> Index {
        Index(Reader { bytes: &self.0, at: 0 }.take(8))
    }

    /// The run's name, by which summaries are in order; read without the rest.
    pub(super) fn id(&self) -> RunId {
        let mut input = Reader { bytes: &self.0, at: NODE_AT };
        let (node, attempt) = (input.take(4) as u32, input.take(3) as u32);
        let Some(node) = NodeId::new(node) else { unreachable!("a summary is of a node") };
        RunId { group: self.group(), node, attempt }
    }

    /// The run, as it is shown.
    pub(super) fn execution(&self) -> Execution {
        match self.unpack() {
            Ok(execution) => execution,
            Err(_) => unreachable!("a summary is made of an execution"),
        }
    }

    fn unpack(&self) -> Result<Execution, DecodeError> {
        let mut input = Reader { bytes: &self.0, at: 0 };
        let group = Index(input.take(8));
        let [at, started, finished] = [6; 3].map(|width| Wall(input.take_signed(width)));
        let [duration_ms, cpu_ms, rss_kib, output_bytes, node, attempt, behind] =
            [5, 5, 4, 6, 4, 3, 4].map(|width| input.take(width));
        let number = input.take_signed(4) as i32;
        let [codes, reason, stage] = [1; 3].map(|width| input.take(width) as u8);
        let number_is = |kind| (reason >> 4 == kind).then_some(number);
        let ending = Ending {
            end: End::from_code(codes & 7)?,
            reason: join_reason(reason & 15, stage, number)?,
            exit_code: number_is(EXIT_CODE),
            signal: number_is(SIGNAL),
            started,
            finished,
            duration_ms,
            cpu_ms,
            max_rss_bytes: rss_kib * KIB,
            output_bytes,
        };
        let node = NodeId::new(node as u32).ok_or(DecodeError::Invalid("node id"))?;
        let record = Index(if behind == 0 { 0 } else { group.0.saturating_add(behind) });
        Ok(Execution {
            group,
            due: (codes & 64 != 0).then(|| at.second()),
            claimed: at,
            trigger: Trigger::from_code(codes >> 3 & 7)?,
            run: Run { record, ..Run::new(node, attempt as u32, RunState::Ended(ending)) },
        })
    }
}

impl std::fmt::Debug for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.unpack().fmt(f)
    }
}

fn split_reason(reason: Option<Reason>) -> (u8, u8, Option<i32>) {
    match reason {
        None => (0, 0, None),
        Some(Reason::DeadlinePassed) => (1, 0, None),
        Some(Reason::Overlap) => (2, 0, None),
        Some(Reason::StartFailed(stage, errno)) => (3, stage, Some(errno)),
        Some(Reason::LauncherGone) => (4, 0, None),
        Some(Reason::Untraceable) => (5, 0, None),
        Some(Reason::StoreReplaced) => (6, 0, None),
        Some(Reason::Unreachable) => (7, 0, None),
        Some(Reason::JobDeleted) => (8, 0, None),
    }
}

fn join_reason(code: u8, stage: u8, number: i32) -> Result<Option<Reason>, DecodeError> {
    Ok(Some(match code {
        0 => return Ok(None),
        1 => Reason::DeadlinePassed,
        2 => Reason::Overlap,
        3 => Reason::StartFailed(stage, number),
        4 => Reason::LauncherGone,
        5 => Reason::Untraceable,
        6 => Reason::StoreReplaced,
        7 => Reason::Unreachable,
        8 => Reason::JobDeleted,
        _ => return Err(DecodeError::Invalid("reason")),
    }))
}

/// Numbers of any width, side by side, little-endian.
struct Cells<'a> {
    bytes: &'a mut [u8; SUMMARY_BYTES],
    at: usize,
}

impl Cells<'_> {
    /// The lowest `width` bytes of `value`, or the largest number that fits.
    fn put(&mut self, width: usize, value: u64) {
        let value = value.min(u64::MAX >> (64 - 8 * width));
        self.bytes[self.at..self.at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.at += width;
    }

    fn put_signed(&mut self, width: usize, value: i64) {
        let max = i64::MAX >> (64 - 8 * width);
        let value = value.clamp(-max - 1, max);
        self.bytes[self.at..self.at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.at += width;
    }
}

struct Reader<'a> {
    bytes: &'a [u8; SUMMARY_BYTES],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, width: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&self.bytes[self.at..self.at + width]);
        self.at += width;
        u64::from_le_bytes(bytes)
    }

    fn take_signed(&mut self, width: usize) -> i64 {
        let unused = 64 - 8 * width;
        ((self.take(width) << unused) as i64) >> unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(ending: Ending) -> Execution {
        let node = NodeId::new(u32::MAX).unwrap();
        let run = Run { record: Index(60), ..Run::new(node, 3, RunState::Ended(ending)) };
        let due = Some(Second(1_780_272_000));
        let claimed = Wall(1_780_272_000_000);
        Execution { group: Index(50), due, claimed, trigger: Trigger::Catchup, run }
    }

    fn usual() -> Ending {
        Ending {
            end: End::Failed,
            reason: None,
            exit_code: Some(-1),
            signal: None,
            started: Wall(1_780_272_000_123),
            finished: Wall(1_780_272_009_999),
            duration_ms: 9_876,
            cpu_ms: 5_432,
            max_rss_bytes: 3_333 * KIB,
            output_bytes: 1 << 40,
        }
    }

    #[test]
    fn what_fits_comes_back_as_it_was() {
        for ending in [
            usual(),
            Ending { exit_code: None, signal: Some(9), end: End::Killed, ..usual() },
            Ending { exit_code: None, started: Wall(-5), end: End::Lost, ..usual() },
            Ending::decided(End::Failed, Reason::StartFailed(7, -2), Wall(9)),
            Ending::decided(End::Missed, Reason::DeadlinePassed, Wall(9)),
            Ending::decided(End::Skipped, Reason::Overlap, Wall(9)),
            Ending::decided(End::Lost, Reason::LauncherGone, Wall(9)),
            Ending::decided(End::Lost, Reason::Untraceable, Wall(9)),
            Ending::decided(End::Lost, Reason::StoreReplaced, Wall(9)),
            Ending::decided(End::Missed, Reason::Unreachable, Wall(9)),
            Ending::decided(End::Skipped, Reason::JobDeleted, Wall(9)),
        ] {
            let mut whole = execution(ending);
            for record in [Index(60), Index(0)] {
                whole.run.record = record;
                let summary = Summary::new(&whole, &ending);
                assert_eq!(summary.execution(), whole);
                assert_eq!(Summary::read(summary.bytes()).as_ref(), Ok(&summary));
                assert_eq!((summary.group(), summary.id()), (whole.group, whole.id()));
            }
            (whole.due, whole.trigger) = (None, Trigger::Manual);
            assert_eq!(Summary::new(&whole, &ending).execution(), whole);
        }
    }

    #[test]
    fn what_does_not_fit_stops_at_the_end_and_stays_there() {
        let far = Ending {
            started: Wall(i64::MAX),
            finished: Wall(i64::MIN),
            duration_ms: u64::MAX,
            cpu_ms: 1 << 40,
            max_rss_bytes: u64::MAX,
            output_bytes: 1 << 48,
            ..usual()
        };
        let mut whole = execution(far);
        (whole.due, whole.run.attempt) = (Some(Second(i64::MAX)), u32::MAX);
        whole.run.record = Index(50 + (1 << 32));
        let summary = Summary::new(&whole, &far);
        let kept = summary.execution();
        let RunState::Ended(ending) = kept.run.state else { panic!() };
        assert_eq!((ending.started.0, ending.finished.0), ((1 << 47) - 1, -(1 << 47)));
        assert_eq!((ending.duration_ms, ending.cpu_ms), ((1 << 40) - 1, (1 << 40) - 1));
        assert_eq!(ending.max_rss_bytes, u64::from(u32::MAX) * KIB);
        assert_eq!(ending.output_bytes, (1 << 48) - 1);
        assert_eq!((kept.run.attempt, kept.run.record), ((1 << 24) - 1, Index(0)));
        assert_eq!(Summary::new(&kept, &ending), summary);
        assert_eq!(Summary::read(summary.bytes()), Ok(summary));
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = *Summary::new(&execution(usual()), &usual()).bytes();
        for (at, byte) in [(61, 7), (61, 0x3f), (61, 0xff), (62, 7), (62, 0x30), (63, 1)] {
            let mut bad = good;
            bad[at] = byte;
            assert!(Summary::read(&bad).is_err(), "byte {at} is {byte}");
        }
        let mut nobody = good;
        nobody[NODE_AT..NODE_AT + 4].fill(0);
        assert!(Summary::read(&nobody).is_err(), "no node");
        assert!(Summary::read(&good[1..]).is_err());
    }
}
