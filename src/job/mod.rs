//! What a job is: its definition, read from a request, checked, stored as canonical bytes, and
//! shown; and how an execution of it is shown.
//!
//! This room keeps no jobs, reads no clock and never decides when or where one runs. The api room
//! drives it with request bodies and the [`Context`]; the store keeps what [`Spec::to_bytes`]
//! gives. Names and quirks of the objects follow Dkron's REST API, 0.7.2 and v4.
#![forbid(unsafe_code)]

pub mod canonical;
pub mod duration;
pub mod execution;
mod fields;
pub mod json;
pub mod kept;
mod keys;
pub mod request;
pub mod show;
pub mod spec;
mod times;
pub mod words;
mod write;

#[cfg(test)]
pub(crate) mod testing;

pub use execution::ExecutionView;
pub use kept::{Kept, render_kept};
pub use request::{Draft, Mode, Parsed, Refusal, RefusalKind, read};
pub use show::{Counts, Hot, Pretty, Status, pretty, render};
pub use spec::{Catchup, Concurrency, RunOn, Spec};

use crate::time::Wall;

/// What the validation of a job must ask of other rooms.
pub trait Context {
    /// Checks the text of a schedule for the job `name` in `timezone`.
    ///
    /// # Errors
    /// A clause with the place, such as `minute field: 75 is out of range 0-59 (column 3)`.
    fn check_schedule(
        &self,
        schedule: &str,
        timezone: &str,
        name: &str,
    ) -> Result<ScheduleFacts, String>;

    /// Whether the time-zone data knows `name`.
    fn zone_known(&self, name: &str) -> bool;

    /// The zone that a job gets which names none.
    fn default_zone(&self) -> &str;

    /// Checks that the job `name` may run after `parent`.
    ///
    /// # Errors
    /// A clause that says what is wrong.
    fn check_parent(&self, name: &str, parent: &str) -> Result<(), String>;

    /// Reads RFC 3339.
    fn parse_time(&self, text: &str) -> Option<Wall>;

    /// Where a job runs that doesn't say so: the setting `default-run-on`.
    fn default_run_on(&self) -> RunOn {
        RunOn::All
    }

    /// How many nodes are registered to run jobs.
    fn nodes(&self) -> usize {
        1
    }
}

/// What a schedule's text says, beyond being valid.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScheduleFacts {
    /// The zone that a leading `CRON_TZ=` or `TZ=` names.
    pub zone: Option<String>,
    /// How due times come about.
    pub kind: ScheduleKind,
    /// Sentences for the person who sent it, such as that it never fires.
    pub warnings: Vec<String>,
}

/// How a schedule's due times come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ScheduleKind {
    /// By the calendar: fields, or the words that stand for them.
    #[default]
    Calendar,
    /// `@every`: counted from an anchor.
    Every,
    /// `@at`: once.
    Once,
    /// `@manually`: never by itself.
    Manual,
}
