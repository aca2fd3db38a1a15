//! From what a launcher knows of a process to what the journal keeps of a run.

use super::order::{Cause, Exit, StartFailure, Status};
use crate::store::{End, Ending, Reason};

/// The ending of a run whose process ended.
pub(super) fn of_exit(exit: &Exit) -> Ending {
    let end = match (exit.cause, exit.status) {
        (Cause::TimedOut, _) => End::TimedOut,
        (Cause::Killed, _) => End::Killed,
        (Cause::Own, Status::Code(0)) => End::Succeeded,
        (Cause::Own, Status::Code(_) | Status::Signal(_)) => End::Failed,
    };
    let (exit_code, signal) = match exit.status {
        Status::Code(code) => (Some(code), None),
        Status::Signal(signal) => (None, Some(signal)),
    };
    Ending {
        end,
        reason: None,
        exit_code,
        signal,
        started: exit.started,
        finished: exit.finished,
        duration_ms: exit.duration_ms,
        cpu_ms: exit.cpu_ms,
        max_rss_bytes: exit.max_rss_bytes,
        output_bytes: exit.output_bytes,
    }
}

/// The ending of a run that came to no process.
pub(super) fn of_failure(failure: &StartFailure) -> Ending {
    let reason = Reason::StartFailed(failure.stage.code(), failure.errno);
    Ending::decided(End::Failed, reason, failure.at)
}
