//! State to objects of the API.

use std::borrow::Cow;

use super::View;
use crate::ident::{Index, RunId};
use crate::job::execution::{self, Contact, Skipped};
use crate::job::{ExecutionView, Hot, Status, pretty, render};
use crate::run::dispatch::Heard;
use crate::run::order::Stage;
use crate::store::{
    self, End, Ending, Fire, Job, Reason, Run, RunState, Skip, SkipReason, Trigger,
};
use crate::time::Wall;

/// The job object, as bytes.
pub(super) fn job(
    view: &View<'_>,
    job: &Job,
    warnings: Vec<String>,
    wants_pretty: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(job.spec.len() + 512);
    render(&job.spec, &hot(view, job, warnings), &mut out);
    if wants_pretty { pretty(&out) } else { out }
}

/// What of a job changes without its user.
pub(super) fn hot(view: &View<'_>, job: &Job, warnings: Vec<String>) -> Hot {
    Hot {
        success_count: job.success_count,
        error_count: job.error_count,
        missed_count: job.missed_count,
        last_success: job.last_success,
        last_error: job.last_error,
        status: status(job),
        next: view.scheduler.next_due(job, view.now).map(|due| due.wall()),
        dependent_jobs: Vec::new(),
        version: job.version,
        created_at: job.created,
        updated_at: job.updated,
        warnings,
    }
}

/// The outcome of the job's last group.
pub(super) fn status(job: &Job) -> Status {
    match job.status {
        store::Status::Untriggered => Status::Untriggered,
        store::Status::Success => Status::Success,
        store::Status::Failed => Status::Failed,
        store::Status::PartiallyFailed => Status::PartiallyFailed,
    }
}

/// One run, or one range of skipped due times.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    Run(&'a Fire, &'a Run),
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
                SkipReason::WindowPassed | SkipReason::NoNode => execution::State::Missed,
                SkipReason::Lost => execution::State::Lost,
            },
            Shown::Run(fire, run) => match run.state {
                RunState::Open => heard_state(view.dispatch.heard(fire.run_id(run))),
                RunState::Ended(ending) => ended_state(ending.end),
            },
        }
    }

    /// The claim or the skip that made it.
    pub(super) fn group(&self) -> Index {
        match self {
            Shown::Run(fire, _) => fire.group,
            Shown::Skip(index, _, _) => *index,
        }
    }

    /// Which try it was.
    pub(super) fn attempt(&self) -> u32 {
        match self {
            Shown::Run(_, run) => run.attempt,
            Shown::Skip(..) => 1,
        }
    }

    /// When it started, or was decided.
    pub(super) fn started_at(&self, view: &View<'_>) -> Wall {
        match self {
            Shown::Run(fire, run) => started(view, fire, run),
            Shown::Skip(_, wall, _) => *wall,
        }
    }

    /// When it ended; `None` while it is open.
    pub(super) fn finished_at(&self) -> Option<Wall> {
        match self {
            Shown::Run(_, run) => match run.state {
                RunState::Open => None,
                RunState::Ended(ending) => Some(ending.finished),
            },
            Shown::Skip(_, wall, _) => Some(*wall),
        }
    }

    /// Appends its object.
    pub(super) fn render(&self, view: &View<'_>, job: &Job, style: Style, out: &mut Vec<u8>) {
        match self {
            Shown::Run(fire, run) => render_run(view, job, fire, run, style, out),
            Shown::Skip(index, wall, skip) => {
                render_skip(self.state(view), job, (*index, *wall), skip, out);
            }
        }
    }
}

/// Everything that the job's history holds, newest first.
pub(super) fn history(job: &Job) -> Vec<Shown<'_>> {
    let runs =
        job.fires.iter().flat_map(|fire| fire.runs.iter().map(move |run| Shown::Run(fire, run)));
    let skips = job.skips.iter().map(|(index, wall, skip)| Shown::Skip(*index, *wall, skip));
    let mut all: Vec<Shown<'_>> = runs.chain(skips).collect();
    all.sort_by_key(|shown| std::cmp::Reverse(shown.group()));
    all
}

fn render_run(view: &View<'_>, job: &Job, fire: &Fire, run: &Run, style: Style, out: &mut Vec<u8>) {
    let id = fire.run_id(run);
    let ended = match run.state {
        RunState::Open => None,
        RunState::Ended(ending) => Some(ending),
    };
    let kept = view.state.tail(id);
    let tail = kept.unwrap_or_default();
    let shown = &tail[tail.len() - style.output_max.unwrap_or(tail.len()).min(tail.len())..];
    let output_bytes = ended.map_or(0, |ending| ending.output_bytes);
    let reason = ended.map_or(Cow::Borrowed(""), |ending| reason(&ending, kept.is_some()));
    let node_name = crate::run::launch::node_name(view.state, run.node);
    // The only node with a session is this one, as long as there is no network.
    let contact = Contact { reachable: run.node == view.me, last_seen: view.now.wall };
    ExecutionView {
        job_name: &job.name,
        node_name: &node_name,
        group: fire.group,
        attempt: run.attempt,
        state: Shown::Run(fire, run).state(view),
        trigger: trigger(fire.trigger),
        scheduled_for: fire.due.map_or(fire.claimed, |due| due.wall()),
        started_at: started(view, fire, run),
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
        trigger: execution::Trigger::Schedule,
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
            SkipReason::Lost => "the records of that time were lost, so nobody knows if it ran",
        },
        skipped: Some(Skipped { from: skip.first.wall(), count }),
        job_deleted: false,
        contact: None,
    }
    .render(out);
}

fn started(view: &View<'_>, fire: &Fire, run: &Run) -> Wall {
    match (run.state, view.dispatch.heard(fire.run_id(run))) {
        (RunState::Ended(ending), _) => ending.started,
        (RunState::Open, Heard::Running(since)) => since,
        (RunState::Open, Heard::Nothing | Heard::Ordered | Heard::Starting | Heard::Concluding) => {
            fire.claimed
        }
    }
}

fn heard_state(heard: Heard) -> execution::State {
    match heard {
        Heard::Nothing | Heard::Ordered => execution::State::Claimed,
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

fn trigger(trigger: Trigger) -> execution::Trigger {
    match trigger {
        Trigger::Schedule => execution::Trigger::Schedule,
        Trigger::Catchup => execution::Trigger::Catchup,
        Trigger::Manual => execution::Trigger::Manual,
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
        Shown::Run(fire, run) => execution_id(view, fire.run_id(run)) == id,
        Shown::Skip(index, _, _) => format!("{index}-skip") == id,
    })
}

fn execution_id(view: &View<'_>, run: RunId) -> String {
    crate::run::launch::execution_id(view.state, run)
}
