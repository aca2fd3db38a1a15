//! The records of the replicated journal: everything that can happen to the state.
//!
//! The leader writes them; each carries all that its application depends on. Their bytes are the
//! neighbour's, `bytes`.

use super::answers::RequestKey;
use super::jobs::Counts;
use super::servers::Servers;
use crate::ident::{Boot, Digest, Epoch, Index, JobId, NodeId, RunId, StoreId};
use crate::time::{Second, Wall};

/// Most targets of a claim.
pub const TARGETS_MAX: usize = 1_024;

/// A committed record with its place, its time and its author.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place in the journal.
    pub index: Index,
    /// The office in which it was written.
    pub epoch: Epoch,
    /// The leader's wall clock when it was written.
    pub wall: Wall,
    /// Who asked for it: a user's name and role, or `scheduler`, `node` and the like.
    pub actor: String,
    /// What it says.
    pub record: Record,
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// The first record of an office.
    EpochStart {
        /// Who leads in it.
        leader: NodeId,
    },
    /// Who keeps the journal, and who decides; the first record of a journal is one.
    Config(Servers),
    /// A node has registered or changed.
    Node(Member),
    /// A job is created or replaced.
    JobPut(JobPut),
    /// A job is deleted; runs of it that are open go on.
    JobDelete {
        /// Which.
        job: JobId,
    },
    /// A fire is decided: its runs may start.
    Claim(Claim),
    /// A run has ended, or will never start.
    Finished(Finished),
    /// Due times are given up.
    Skip(Skip),
    /// The clock was set back by more than a correction of the season: later marks are lowered.
    ClockCorrected {
        /// The second that is now.
        to: Second,
    },
    /// A change to which the client gave a key: what became of it is remembered.
    Keyed(Box<Keyed>),
    /// Every server makes a snapshot of the state up to here.
    Checkpoint {
        /// The checkpoint before it, and the SHA-256 of the leader's snapshot there. A server whose
        /// own snapshot has another has gone astray, and must not go on.
        previous: Option<(Index, Digest)>,
    },
    /// A job of a restore, which is not in force yet.
    RestorePart(Box<RestorePart>),
    /// A restore is put in force, or given up.
    RestoreCommit(RestoreCommit),
    /// A run that has failed is tried again.
    Retry(Retry),
}

/// A record with the key of the request that asked for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyed {
    /// The key.
    pub key: RequestKey,
    /// The change, never one with a key itself.
    pub record: Record,
}

/// A node as the registry has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// Its data directory.
    pub store: StoreId,
    /// Its latest registered start.
    pub boot: Boot,
    /// Its name.
    pub name: String,
    /// Where others reach it; empty while the node takes no part in a network.
    pub address: String,
    /// Whether it is a server (else a worker).
    pub server: bool,
    /// Whether it takes orders.
    pub work: bool,
    /// Its tags, in order of key.
    pub tags: Vec<(String, String)>,
    /// Whether it is there to stay.
    pub state: MemberState,
}

/// Whether a registered node is expected to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It is.
    Registered,
    /// It left in good order.
    Left,
}

/// A job's new definition, with what the leader computed from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobPut {
    /// The name, by which a stored job is replaced.
    pub name: String,
    /// Canonical bytes of the definition.
    pub spec: Vec<u8>,
    /// When it is due.
    pub timing: Timing,
    /// What the state must know of it without reading it.
    pub facts: Facts,
    /// Set when the mark moves: due times up to here are not owed.
    pub mark: Option<Second>,
    /// Set when `@every` counts anew from here.
    pub anchor: Option<Second>,
}

/// A job that is to be restored, with what an empty cluster takes of its past.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestorePart {
    /// Which restore it is part of, within its office.
    pub restore: u64,
    /// The definition. Its mark, if any, is the one that the job had.
    pub put: JobPut,
    /// What was counted of its runs.
    pub counts: Counts,
    /// When it was created, where that is known.
    pub created: Option<Wall>,
    /// When its definition was written, where that is known.
    pub updated: Option<Wall>,
}

/// The end of a restore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestoreCommit {
    /// Which.
    pub restore: u64,
    /// How many jobs it has; nothing is restored unless so many are staged. `None` gives it up.
    pub jobs: Option<u32>,
    /// Whether every other job is deleted.
    pub replace: bool,
}

/// When a job is due, as its definition says: what a leader must know of each of a million jobs
/// without reading one. Kept once for all jobs that have the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timing {
    /// The schedule's text.
    pub schedule: String,
    /// The zone that it is read in, if it names none.
    pub timezone: String,
    /// It owes nothing before.
    pub starts: Option<Second>,
    /// It owes nothing after.
    pub expires: Option<Second>,
    /// The name of the job after which it runs, instead of by a schedule; empty for none.
    pub parent: String,
}

/// The parts of a definition that decide what records do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// It owes no fires.
    pub disabled: bool,
    /// A run is skipped while another is open.
    pub forbid: bool,
    /// Overlap is judged for each node apart (`run_on` is `all`), not over the whole job.
    pub per_node: bool,
    /// How many ended fires are kept.
    pub keep: u16,
    /// How many attempts each target of a fire has after the first, while they fail.
    pub retries: u8,
    /// Whether an attempt of which nobody can know the end is one that failed.
    pub idempotent: bool,
}

/// What made a fire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trigger {
    /// Its time had come.
    Schedule,
    /// Its time had passed with nobody there to see it.
    Catchup,
    /// Somebody asked for it.
    Manual,
    /// Another job has succeeded.
    Parent,
}

/// A decided fire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The job.
    pub job: JobId,
    /// Version of the definition that it runs.
    pub version: u64,
    /// The due time, and the mark from here on; `None` for a fire by hand or after another job.
    pub due: Option<Second>,
    /// The clock era in which `due` was computed.
    pub clock_era: u32,
    /// What made it.
    pub trigger: Trigger,
    /// The nodes that run it, each once, in order of number; at most [`TARGETS_MAX`].
    pub targets: Vec<NodeId>,
    /// The end of another job for which it is owed, if it is.
    pub parent: Option<Index>,
}

/// The end of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// Which.
    pub run: RunId,
    /// How.
    pub ending: Ending,
    /// The last bytes that it wrote.
    pub tail: Vec<u8>,
}

/// The next attempt of a target whose last one has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// The attempt that has failed.
    pub run: RunId,
    /// Where the next one is made.
    pub node: NodeId,
    /// It is not started before.
    pub not_before: Wall,
}

/// How a run ended, without its output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ending {
    /// The final state.
    pub end: End,
    /// Why, where that needs saying.
    pub reason: Option<Reason>,
    /// The code it exited with.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// When it was started; when its end was decided, if it never was.
    pub started: Wall,
    /// When it ended, or its end was decided.
    pub finished: Wall,
    /// How long it ran.
    pub duration_ms: u64,
    /// Processor time.
    pub cpu_ms: u64,
    /// Largest resident set.
    pub max_rss_bytes: u64,
    /// All that it wrote.
    pub output_bytes: u64,
}

/// The final states of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum End {
    /// Exit code 0.
    Succeeded,
    /// Another code, a signal, or no start.
    Failed,
    /// Ended by request.
    Killed,
    /// Ended by its timeout.
    TimedOut,
    /// It was accepted, and nobody can know what became of it.
    Lost,
    /// It never started, by decision.
    Skipped,
    /// It never started, for want of time or a node.
    Missed,
}

/// Why a run ended as it did: a code, and a number where one belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The order could not reach a process within the start deadline.
    DeadlinePassed,
    /// Another run of the job was open.
    Overlap,
    /// The process could not be started: the launcher's stage, and errno(3).
    StartFailed(u8, i32),
    /// The launcher that held the process is gone.
    LauncherGone,
    /// The launcher and its table no longer agree with the runs log.
    Untraceable,
    /// The data directory of the node is another one, which knows nothing of the run.
    StoreReplaced,
    /// The node could not be reached within the start deadline, and was sent no order.
    Unreachable,
    /// The job was deleted before this attempt was made.
    JobDeleted,
}

/// A range of due times that are given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Skip {
    /// The job.
    pub job: JobId,
    /// The clock era in which the range was computed.
    pub clock_era: u32,
    /// The mark before: the range starts after it.
    pub after: Second,
    /// The last due time of the range, and the mark from here on; later than `after`.
    pub until: Second,
    /// The first due time of the range.
    pub first: Second,
    /// How many due times it holds.
    pub count: u32,
    /// Whether there were more than were counted.
    pub more: bool,
    /// Why.
    pub reason: SkipReason,
    /// Set for fires after another job: the end for which one was owed, or the record that gave
    /// them up. The times are then those of the skip, and the mark stays.
    pub parent: Option<Index>,
}

/// Why due times were given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SkipReason {
    /// Older than the catch-up window, or beyond what the policy catches up.
    WindowPassed,
    /// No registered node may run it.
    NoNode,
    /// The records of that time are lost: whether it ran, nobody can know.
    Lost,
    /// After another job: too many fires are owed already.
    Backlog,
    /// After another job: it was disabled, or runs after nobody any more.
    Withdrawn,
}

impl Trigger {
    /// As the API and the job's environment name it.
    pub fn name(self) -> &'static str {
        match self {
            Trigger::Schedule => "schedule",
            Trigger::Catchup => "catchup",
            Trigger::Manual => "manual",
            Trigger::Parent => "parent",
        }
    }
}

impl Ending {
    /// An end that was decided at `at`, of a run of which nothing is measured.
    pub fn decided(end: End, reason: Reason, at: Wall) -> Ending {
        Ending {
            end,
            reason: Some(reason),
            exit_code: None,
            signal: None,
            started: at,
            finished: at,
            duration_ms: 0,
            cpu_ms: 0,
            max_rss_bytes: 0,
            output_bytes: 0,
        }
    }
}

impl End {
    /// As the API names it.
    pub fn name(self) -> &'static str {
        match self {
            End::Succeeded => "succeeded",
            End::Failed => "failed",
            End::Killed => "killed",
            End::TimedOut => "timed_out",
            End::Lost => "lost",
            End::Skipped => "skipped",
            End::Missed => "missed",
        }
    }

    /// Whether a process may have been started.
    pub fn may_have_started(self) -> bool {
        match self {
            End::Succeeded | End::Failed | End::Killed | End::TimedOut | End::Lost => true,
            End::Skipped | End::Missed => false,
        }
    }
}
