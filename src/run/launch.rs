//! From a claimed fire to the process that it asks for, and how long that may take.

use std::borrow::Cow;
use std::time::Duration;

use super::order::{Program, SpawnOrder, TAIL_MAX_BYTES};
use crate::cron::civil;
use crate::ident::{Instance, JobId, NodeId, RunId};
use crate::job::Spec;
use crate::job::spec::RETRY_WAIT_MAX;
use crate::schedule::Scheduler;
use crate::store::{Fire, Run, State};
use crate::time::Wall;

/// Bytes of output tails that one fire may put into the journal, over all its targets.
const TAILS_PER_FIRE_BYTES: usize = 256 * 1024;
/// What every target gets of that, however many there are.
const TAIL_MIN_BYTES: usize = 512;
/// What a process is told that is a retry, instead of what made its fire.
const RETRY: &str = "retry";

/// The definition that `fire` runs; `None` when it cannot be read.
pub fn claimed_spec(fire: &Fire) -> Option<Spec> {
    Spec::from_bytes(&fire.spec).ok()
}

/// How long from `now` an order of `fire`, claimed by a leader that still leads, may take to reach
/// a process. A clock that was set back since the claim makes it no longer than it ever was.
pub fn time_left(fire: &Fire, spec: &Spec, now: Wall) -> Duration {
    left(fire.claimed, spec.start_deadline, now)
}

/// The same for that run of it, which may be a retry: its time begins when it may start.
fn run_time_left(fire: &Fire, run: &Run, spec: &Spec, now: Wall) -> Duration {
    match run.not_before {
        None => time_left(fire, spec, now),
        Some(not_before) => hold(run, now) + left(not_before, spec.start_deadline, now),
    }
}

/// How long from `now` the order of a retry, made in this office, may take to reach a process.
pub fn retry_time_left(state: &State, job: JobId, run: RunId, now: Wall) -> Duration {
    let Some(fire) = state.fire(job, run.group) else { return Duration::ZERO };
    let (Some(spec), Some(run)) = (claimed_spec(fire), fire.run(run)) else {
        return Duration::ZERO;
    };
    run_time_left(fire, run, &spec, now)
}

/// How long from `now` a run must not be ordered, because it is a retry. A clock that was set back
/// makes it no longer than any retry waits.
pub fn hold(run: &Run, now: Wall) -> Duration {
    let ahead = run.not_before.map_or(0, |not_before| not_before.ms_since(now));
    Duration::from_millis(u64::try_from(ahead).unwrap_or(0)).min(RETRY_WAIT_MAX)
}

/// How long from `now` an order of a run may take that was claimed in an earlier office and, its
/// node says, never started: a due time that the job still wants caught up gives it longer.
pub fn late_time_left(
    state: &State,
    scheduler: &Scheduler,
    job: JobId,
    run: RunId,
    now: Wall,
) -> Duration {
    let Some(fire) = state.fire(job, run.group) else { return Duration::ZERO };
    let Some(spec) = claimed_spec(fire) else { return Duration::ZERO };
    let Some(kept) = fire.run(run) else { return Duration::ZERO };
    let usual = run_time_left(fire, kept, &spec, now);
    let caught_up = || {
        let window = scheduler.catchup_window(state.job(job)?, &spec, fire.due?)?;
        let window = Duration::from_secs(u64::try_from(window).ok()?);
        Some(left(fire.due?.wall(), window, now))
    };
    caught_up().map_or(usual, |late| usual.max(late))
}

/// The order for `run`, of a fire of `spec`, with the instance left to the worker; `None` when the
/// fire is not kept, or its command names no program.
pub fn spawn_order(state: &State, job: JobId, run: RunId, spec: &Spec) -> Option<SpawnOrder> {
    let name = &state.job_or_deleted(job)?.name;
    let fire = state.fire(job, run.group)?;
    let program = match spec.shell {
        true => Program::Shell(spec.command.clone()),
        false => Program::Words(spec.argv().ok()?),
    };
    let tail_max = (TAILS_PER_FIRE_BYTES / fire.targets().max(1)).max(TAIL_MIN_BYTES);
    Some(SpawnOrder {
        run,
        instance: Instance(0),
        program,
        env: environment(spec, name, fire, run, state),
        cwd: Some(spec.cwd.clone()).filter(|cwd| !cwd.is_empty()),
        timeout_ms: millis(spec.timeout),
        kill_grace_ms: millis(spec.kill_grace),
        tail_max_bytes: tail_max.min(TAIL_MAX_BYTES) as u32,
    })
}

/// The execution's id as people see it: the claim, the node's name and the attempt.
pub fn execution_id(state: &State, run: RunId) -> String {
    format!("{}-{}-{}", run.group, node_name(state, run.node), run.attempt)
}

/// The name of a node, or its number where the registry doesn't have it.
pub fn node_name(state: &State, node: NodeId) -> Cow<'_, str> {
    match state.member(node) {
        Some(member) => member.name.as_str().into(),
        None => node.to_string().into(),
    }
}

/// The job's own variables, then ours: a job cannot pretend to be another run.
fn environment(
    spec: &Spec,
    name: &str,
    fire: &Fire,
    run: RunId,
    state: &State,
) -> Vec<(String, String)> {
    let scheduled_for = fire.due.map_or(fire.claimed, |due| due.wall());
    let node = state.member(run.node).map_or("", |member| &member.name);
    let trigger = if run.attempt > 1 { RETRY } else { fire.trigger.name() };
    let ours = [
        ("BELLWETHER_JOB_NAME", name.to_owned()),
        ("BELLWETHER_SCHEDULED_FOR", civil::format_utc(scheduled_for)),
        ("BELLWETHER_TRIGGER", trigger.to_owned()),
        ("BELLWETHER_EXECUTION_ID", execution_id(state, run)),
        ("BELLWETHER_ATTEMPT", run.attempt.to_string()),
        ("BELLWETHER_NODE_NAME", node.to_owned()),
        ("ENV_JOB_NAME", name.to_owned()),
    ];
    let is_ours = |key: &str| ours.iter().any(|(own, _)| *own == key);
    let theirs = spec.env.iter().filter(|(key, _)| !is_ours(key));
    let mut all: Vec<(String, String)> =
        theirs.map(|(key, value)| (key.clone(), value.clone())).collect();
    all.extend(ours.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    all
}

/// What is left of `wait`, which began at `since`.
fn left(since: Wall, wait: Duration, now: Wall) -> Duration {
    let ahead = u64::try_from((since + wait).ms_since(now)).unwrap_or(0);
    Duration::from_millis(ahead).min(wait)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
