//! A schedule as a sentence for people, with a warning for each classic trap that it is in.
//!
//! It decides nothing: what it says comes from the parsed schedule, never from the text, and the
//! due times stay those of [`Schedule::next_after`](super::Schedule::next_after). The previews and
//! the command line drive it. The traps are those of crontab(5), of clock changes in cron(8), and
//! of texts that were written for another program.

mod clock;
mod days;
mod traps;
mod words;

use super::calendar::Calendar;
use super::{Expression, Kind, Zone, civil};
use crate::time::Second;
use words::{count, join};

/// What a schedule means, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// When it is due, such as `at 02:30 every Friday, Europe/Berlin`: a clause in lower case,
    /// without a final dot.
    pub sentence: String,
    /// What its author may not have meant; each a clause like the sentence.
    pub warnings: Vec<String>,
}

/// Puts the schedule of `expression` into words. Its fields are read in `zone`; whether a time
/// falls into a clock change is looked up in the two years after `from`.
pub fn explain(expression: &Expression, zone: &Zone, from: Second) -> Explanation {
    let sentence = match &expression.schedule.0 {
        Kind::Calendar(calendar) => calendar_sentence(calendar, Some(zone.name())),
        Kind::Every(seconds) => format!(
            "every {}, counted from the creation of the job or the last change of its schedule",
            interval(seconds.get())
        ),
        Kind::At(at) => format!("once, at {}", civil::format_in(*at, zone)),
        Kind::Manually => "never by itself, only when it is started by hand".to_owned(),
    };
    Explanation { sentence, warnings: traps::warnings(expression, zone, from) }
}

/// When `calendar` is due; with the zone, if it makes a difference and one is given.
fn calendar_sentence(calendar: &Calendar, zone: Option<&str>) -> String {
    let clock = clock::clock(calendar);
    let days = days::days(calendar, clock.names_times);
    let mut sentence = clock.text;
    sentence.push_str(&days);
    if let Some(zone) = zone.filter(|_| !clock.is_everywhere || !days.is_empty()) {
        sentence.push_str(", ");
        sentence.push_str(zone);
    }
    if !calendar.spreads().is_empty() {
        sentence.push_str("; the job's name decides which");
    }
    sentence
}

/// `hour`, `90 minutes` as `1 hour and 30 minutes`.
fn interval(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3_600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|(number, _)| *number > 0).collect();
    match parts.as_slice() {
        [(1, unit)] => (*unit).to_owned(),
        parts => join(parts.iter().map(|(number, unit)| count(*number, unit))),
    }
}
