//! State to objects of the API.

use std::borrow::Cow;

use super::View;
use crate::ident::{Index, RunId};
use crate::job::execution::{self, Contact, Skipped};
use crate::job::{Counts, ExecutionView, Hot, Status, pretty, render};
use crate::run::dispatch::Heard;
use crate::run::order::Stage;
use crate::store::{
    self, End, Ending, Execution, Job, Reason, RunState, Skip, SkipReason, Trigger,
};
use crate::time::Wall;

/// About what the object of a job holds beside its stored definition, in bytes.
const SHOWN_BYTES: usize = 1_536;

/// The job object, as bytes.
pub(super) fn job(
    view: &View<'_>,
    job: &Job,
    warnings: Vec<String>,
    wants_pretty: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(job.spec.len() + SHOWN_BYTES);
    render(&job.spec, &hot(view, job, warnings), &mut out);
    if wants_pretty { pretty(&out) } else { out }
}

/// What of a job changes without its user.
pub(super) fn hot(view: &View<'_>, job: &Job, warnings: Vec<String>) -> Hot {
    Hot {
        counts: counts(job),
        next: view.scheduler.next_due(job, view.now).map(|due| due.wall()),
        dependent_jobs: dependents(view, job),
        version: job.version,
        created_at: job.created,
        updated_at: job.updated,
        warnings,
    }
}

/// The names of the jobs that run after this one, in order.
fn dependents(view: &View<'_>, job: &Job) -> Vec<String> {
    let mut names: Vec<String> =
        view.state.children(&job.name).map(|child| child.name.to_string()).collect();
    names.sort_unstable();
    names
}

/// What became of the job's executions.
pub(super) fn counts(job: &Job) -> Counts {
    let counts = job.counts();
    Counts {
        success_count: counts.success_count,
        error_count: counts.error_count,
        missed_count: counts.missed_count,
        last_success: counts.last_success,
        last_error: counts.last_error,
        status: match counts.status {
            store::Status::Untriggered => Status::Untriggered,
            store::Status::Success => Status::Success,
            store::Status::Failed => Status::Failed,
            store::Status::PartiallyFailed => Status::PartiallyFailed,
        },
    }
}

/// One run, or one range of skipped due times.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    Run(Execution),
    Skip(Index, Wall, &'a Skip),
}

/// How executions are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Style {
    /// Of the output at most so many of its last bytes.
    pub(super) output_max: Option<usize>,
    /// With what is known of the node, as for the open runs of the cluster.
    pub(super) contact: bool,
}

impl Shown<'_> {
    /// Its state.
    pub(super) fn state(&self, view: &View<'_>) -> execution::State {
        match self {
            Shown::Skip(_, _, skip) => match skip.reason {
                SkipReason::WindowPassed
                | SkipReason::NoNode
                | SkipReason::Backlog
                | SkipReason::Withdrawn => execution::State::Missed,
                SkipReason::Lost => execution::State::Lost,
            },
            Shown::Run(execution) => match execution.run.state {
                RunState::Open => heard_state(view.dispatch.heard(execution.id())),
                RunState::Ended(ending) => ended_state(ending.end),
            },
        }
    }

    /// The claim or the skip that made it.
    pub(super) fn group(&self) -> Index {
        match self {
            Shown::Run(execution) => execution.group,
            Shown::Skip(index, _, _) => *index,
        }
    }

    /// Which try it was.
    pub(super) fn attempt(&self) -> u32 {
        match self {
            Shown::Run(execution) => execution.run.attempt,
            Shown::Skip(..) => 1,
        }
    }

    /// When it started, or was decided.
    pub(super) fn started_at(&self, view: &View<'_>) -> Wall {
        match self {
            Shown::Run(execution) => started(view, execution),
            Shown::Skip(_, wall, _) => *wall,
        }
    }

    /// When it ended; `None` while it is open.
    pub(super) fn finished_at(&self) -> Option<Wall> {
        match self {
            Shown::Run(execution) => match execution.run.state {
                RunState::Open => None,
                RunState::Ended(ending) => Some(ending.finished),
            },
            Shown::Skip(_, wall, _) => Some(*wall),
        }
    }

    /// The record that holds its last output, if that is to be shown.
    pub(super) fn output(&self, style: Style) -> Option<Index> {
        match self {
            Shown::Run(execution) if style.output_max != Some(0) => {
                execution.may_have_output().then_some(execution.run.record)
            }
            Shown::Run(_) | Shown::Skip(..) => None,
        }
    }

    /// Appends its object; `output` is the last of what it printed, where that is known.
    pub(super) fn render(
        &self,
        view: &View<'_>,
        job: &Job,
        style: Style,
        output: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
        match self {
            Shown::Run(execution) => render_run(view, job, execution, (style, output), out),
            Shown::Skip(index, wall, skip) => {
                render_skip(self.state(view), job, (*index, *wall), skip, out);
            }
        }
    }
}

/// Everything that the job's history holds, newest first.
pub(super) fn history(job: &Job) -> Vec<Shown<'_>> {
    let runs = job.executions().map(Shown::Run);
    let skips = job.skips().map(|(index, wall, skip)| Shown::Skip(*index, *wall, skip));
    let mut all: Vec<Shown<'_>> = runs.chain(skips).collect();
    all.sort_by_key(|shown| std::cmp::Reverse(shown.group()));
    all
}

fn render_run(
    view: &View<'_>,
    job: &Job,
    execution: &Execution,
    (style, output): (Style, Option<&[u8]>),
    out: &mut Vec<u8>,
) {
    let run = &execution.run;
    let ended = match run.state {
        RunState::Open => None,
        RunState::Ended(ending) => Some(ending),
    };
    let tail = output.unwrap_or_default();
    let shown = &tail[tail.len() - style.output_max.unwrap_or(tail.len()).min(tail.len())..];
    let output_bytes = ended.map_or(0, |ending| ending.output_bytes);
    let reason = ended.map_or(Cow::Borrowed(""), |ending| {
        reason(&ending, output.is_some() || style.output_max == Some(0))
    });
    let node_name = crate::run::launch::node_name(view.state, run.node);
    // The only node with a session is this one, as long as there is no network.
    let contact = Contact { reachable: run.node == view.me, last_seen: view.now.wall };
    ExecutionView {
        job_name: &job.name,
        node_name: &node_name,
        group: execution.group,
        attempt: run.attempt,
        state: Shown::Run(*execution).state(view),
        trigger: trigger(execution),
        scheduled_for: execution.scheduled_for(),
        started_at: started(view, execution),
        finished_at: ended.map(|ending| ending.finished),
        exit_code: ended.and_then(|ending| ending.exit_code),
        signal: ended.and_then(|ending| ending.signal),
        cpu_ms: ended.map(|ending| ending.cpu_ms),
        max_rss_bytes: ended.map(|ending| ending.max_rss_bytes),
        output: shown,
        output_bytes,
        output_truncated: (shown.len() as u64) < output_bytes,
        reason: &reason,
        skipped: None,
        job_deleted: view.state.job(job.id).is_none(),
        contact: style.contact.then_some(contact),
    }
    .render(out);
}

fn render_skip(
    state: execution::State,
    job: &Job,
    (index, wall): (Index, Wall),
    skip: &Skip,
    out: &mut Vec<u8>,
) {
    let count = u64::from(skip.count) + u64::from(skip.more);
    ExecutionView {
        job_name: &job.name,
        node_name: "",
        group: index,
        attempt: 1,
        state,
        trigger: match skip.parent {
            Some(_) => execution::Trigger::Parent,
            None => execution::Trigger::Schedule,
        },
        scheduled_for: skip.until.wall(),
        started_at: wall,
        finished_at: Some(wall),
        exit_code: None,
        signal: None,
        cpu_ms: None,
        max_rss_bytes: None,
        output: b"",
        output_bytes: 0,
        output_truncated: false,
        reason: match skip.reason {
            SkipReason::WindowPassed => "too late to be caught up",
            SkipReason::NoNode => "no registered node may run it",
            SkipReason::Backlog => "too many runs after its parent_job were waiting already",
            SkipReason::Withdrawn => {
                "the job was disabled, or left its parent_job, before it could start"
            }
            SkipReason::Lost => "the records of that time were lost, so nobody knows if it ran",
        },
        skipped: Some(Skipped { from: skip.first.wall(), count }),
        job_deleted: false,
        contact: None,
    }
    .render(out);
}

fn started(view: &View<'_>, execution: &Execution) -> Wall {
    match (execution.run.state, view.dispatch.heard(execution.id())) {
        (RunState::Ended(ending), _) => ending.started,
        (RunState::Open, Heard::Running(since)) => since,
        (
            RunState::Open,
            Heard::Nothing | Heard::Unsent | Heard::Ordered | Heard::Starting | Heard::Concluding,
        ) => execution.run.not_before.unwrap_or(execution.claimed),
    }
}

fn heard_state(heard: Heard) -> execution::State {
    match heard {
        Heard::Nothing | Heard::Unsent | Heard::Ordered => execution::State::Claimed,
        Heard::Starting => execution::State::Starting,
        Heard::Running(_) | Heard::Concluding => execution::State::Running,
    }
}

fn ended_state(end: End) -> execution::State {
    match end {
        End::Succeeded => execution::State::Succeeded,
        End::Failed => execution::State::Failed,
        End::Killed => execution::State::Killed,
        End::TimedOut => execution::State::TimedOut,
        End::Lost => execution::State::Lost,
        End::Skipped => execution::State::Skipped,
        End::Missed => execution::State::Missed,
    }
}

fn trigger(execution: &Execution) -> execution::Trigger {
    match execution.trigger {
        _ if execution.run.is_retry() => execution::Trigger::Retry,
        Trigger::Schedule => execution::Trigger::Schedule,
        Trigger::Catchup => execution::Trigger::Catchup,
        Trigger::Manual => execution::Trigger::Manual,
        Trigger::Parent => execution::Trigger::Parent,
    }
}

/// Why a run ended as it did, as a clause.
fn reason(ending: &Ending, has_tail: bool) -> Cow<'static, str> {
    match ending.reason {
        None if !has_tail && ending.output_bytes > 0 => {
            "the output was dropped to make room".into()
        }
        None => "".into(),
        Some(Reason::DeadlinePassed) => "the start deadline passed".into(),
        Some(Reason::Overlap) => "another run of the job was open".into(),
        Some(Reason::LauncherGone) => {
            "the launcher that held the process died, so nobody knows how it ended".into()
        }
        Some(Reason::Untraceable) => "its traces contradict each other".into(),
        Some(Reason::Unreachable) => "the node could not be reached in time".into(),
        Some(Reason::JobDeleted) => "the job was deleted before it was tried again".into(),
        Some(Reason::StoreReplaced) => {
            "the node's data directory was replaced, so nobody knows how it ended".into()
        }
        Some(Reason::StartFailed(stage, errno)) => start_failure(stage, errno),
    }
}

fn start_failure(stage: u8, errno: i32) -> Cow<'static, str> {
    let Some(stage) = Stage::from_code(stage) else { return "it could not be started".into() };
    let what = match stage {
        Stage::Exec => "the program could not be executed",
        Stage::Directory => "the working directory could not be entered",
        Stage::Fork => "no process could be made",
        Stage::Pipe => "no pipe could be made for its output",
        Stage::Session => "no session could be made",
        Stage::Descriptors => "its descriptors could not be set up",
        Stage::Limits => "its resource limits could not be set",
        Stage::User => "the user could not be taken on",
        Stage::Refused => return "the launcher could not take the order".into(),
    };
    format!("{what}: {}", errno_text(errno)).into()
}

/// The commonest of errno(3) in words; a number says the rest.
fn errno_text(errno: i32) -> Cow<'static, str> {
    match errno {
        1 => "operation not permitted".into(),
        2 => "no such file or directory".into(),
        7 => "argument list too long".into(),
        8 => "exec format error".into(),
        11 => "resource temporarily unavailable".into(),
        12 => "out of memory".into(),
        13 => "permission denied".into(),
        20 => "not a directory".into(),
        21 => "is a directory".into(),
        24 => "too many open files".into(),
        26 => "text file busy".into(),
        36 => "file name too long".into(),
        40 => "too many levels of symbolic links".into(),
        other => format!("errno {other}").into(),
    }
}

/// The run that an execution's id names, if `job` has it.
pub(super) fn find<'a>(view: &View<'_>, job: &'a Job, id: &str) -> Option<Shown<'a>> {
    history(job).into_iter().find(|shown| match shown {
        Shown::Run(execution) => execution_id(view, execution.id()) == id,
        Shown::Skip(index, _, _) => format!("{index}-skip") == id,
    })
}

fn execution_id(view: &View<'_>, run: RunId) -> String {
    crate::run::launch::execution_id(view.state, run)
}
