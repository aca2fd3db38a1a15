//! Schedules: one grammar, one parser, one [`Schedule::next_after`] for the scheduler, the
//! previews and the tools.
//!
//! It owns civil time (years, months, zones) and is the only room that names the time-zone crate,
//! which does every calendar computation. It never reads a clock or a file: whoever asks hands in
//! the moment and the [`Zone`]. The rules for clock changes are those of cron(8), *Daylight Saving
//! Time and other time changes*; the grammar is that of crontab(5) with seconds and Dkron's words.
#![forbid(unsafe_code)]

mod calendar;
pub mod civil;
mod days;
mod display;
mod explain;
mod field;
mod next;
mod parse;
#[cfg(test)]
mod tests;
mod words;
mod zone;

pub use explain::{Explanation, explain};
pub use parse::{FIELD_MAX_ITEMS, SCHEDULE_MAX_BYTES, parse};
pub use zone::{TZIF_MAX_BYTES, ZONE_NAME_MAX_BYTES, Zone, Zones, check_zone_name};

use crate::text::Diagnostic;
use crate::time::Second;
use std::num::NonZeroU64;

/// A schedule's text, understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expression {
    /// The zone that the text itself names (`CRON_TZ=` or `TZ=` in front). Its form is checked;
    /// whether it exists, a [`Zones`] says.
    pub zone: Option<String>,
    /// What it asks for.
    pub schedule: Schedule,
    /// What is allowed but hardly meant, such as a step larger than its range.
    pub warnings: Vec<Diagnostic>,
    /// The fields as they were written, if there were five: other programs read seconds first.
    five_fields: Option<Box<str>>,
}

/// When a job is due. Two texts that ask for the same give equal schedules, and equal schedules
/// print alike; the exception is a `W` item that the plain days beside it contain.
///
/// At most 150 bytes, and cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Schedule(Kind);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Kind {
    /// Five or six fields.
    Calendar(calendar::Calendar),
    /// `@every`: so many seconds from one fire to the next.
    Every(NonZeroU64),
    /// `@at`: once.
    At(Second),
    /// `@manually`: never by itself.
    Manually,
}

/// What a schedule needs to know of the job it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The zone that the fields are read in.
    pub zone: &'a Zone,
    /// The job's name, which decides the values of `~` and `H`.
    pub name: &'a str,
    /// What `@every` counts from: the second of the job's creation, or of the last change of its
    /// schedule or zone.
    pub anchor: Second,
}

impl Schedule {
    /// True for `@manually`, which has no fires of its own.
    pub fn is_manual(&self) -> bool {
        matches!(self.0, Kind::Manually)
    }

    /// True for `@every`, which counts from [`Place::anchor`] and knows no zone.
    pub fn is_every(&self) -> bool {
        matches!(self.0, Kind::Every(_))
    }

    /// True for `@at`, which fires once.
    pub fn is_once(&self) -> bool {
        matches!(self.0, Kind::At(_))
    }

    /// True when the due times depend on [`Place::name`]: a preview without a name is a guess.
    pub fn is_spread(&self) -> bool {
        match &self.0 {
            Kind::Calendar(calendar) => !calendar.spreads().is_empty(),
            Kind::Every(_) | Kind::At(_) | Kind::Manually => false,
        }
    }

    /// The one text of this schedule: [`parse`] of it gives an equal schedule, in any zone, and
    /// never fails. Without a zone in front. [`Display`](std::fmt::Display) writes the same.
    pub fn canonical(&self) -> String {
        self.to_string()
    }
}
