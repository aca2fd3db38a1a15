//! The time of day: seconds, minutes and hours.

use super::words::{join, list, name, ordinal, progression, runs, unit, values};
use crate::cron::calendar::{Calendar, Field, Spread};

/// Most times of day that are listed one by one.
const TIMES_MAX: u32 = 6;

/// Bit 0 alone: the second or the minute is 0.
const ZERO: u64 = 1;

/// The time of day in words.
pub(super) struct Clock {
    pub(super) text: String,
    /// It is a list of times, which reads well before `every Friday`.
    pub(super) names_times: bool,
    /// It is the same for every hour of the day, and so in nearly every zone.
    pub(super) is_everywhere: bool,
}

pub(super) fn clock(calendar: &Calendar) -> Clock {
    let [seconds, minutes, hours] =
        [Field::Second, Field::Minute, Field::Hour].map(|field| calendar.plain(field));
    let every_hour = calendar.is_full(Field::Hour);
    let is_clock = |spread: &Spread| spread.field <= Field::Hour;
    if calendar.spreads().iter().any(is_clock) {
        let text = spread_text(calendar);
        return Clock { text, names_times: !every_hour, is_everywhere: every_hour };
    }
    if [seconds, minutes, hours].iter().map(|bits| bits.count_ones()).product::<u32>() <= TIMES_MAX
    {
        let text = format!("at {}", join(times(seconds, minutes, hours)));
        return Clock { text, names_times: true, is_everywhere: false };
    }
    let single = seconds == ZERO && minutes.count_ones() == 1;
    let text = match progression(hours).filter(|_| single) {
        Some((0, 23, 1)) if minutes == ZERO => "every hour".to_owned(),
        Some((first, last, step)) if !every_hour => {
            let minute = minutes.trailing_zeros() as u8;
            let head = every(step, "hour");
            let evenly = first == 0 && minute == 0 && last + step == 24;
            if evenly { head } else { head + &from_to((first, minute), (last, minute)) }
        }
        Some(_) | None if seconds == ZERO => minutes_text(calendar),
        Some(_) | None => seconds_text(calendar),
    };
    Clock { text, names_times: false, is_everywhere: every_hour }
}

/// `02:30`, or `02:30:15` where some second is not 0.
fn times(seconds: u64, minutes: u64, hours: u64) -> Vec<String> {
    let mut times = Vec::new();
    for hour in values(hours) {
        for minute in values(minutes) {
            for second in values(seconds) {
                let second = if seconds == ZERO { String::new() } else { format!(":{second:02}") };
                times.push(format!("{hour:02}:{minute:02}{second}"));
            }
        }
    }
    times
}

/// What is due at second 0 of some minutes.
fn minutes_text(calendar: &Calendar) -> String {
    let minutes = Pattern::of(Field::Minute, calendar.plain(Field::Minute));
    let hours = calendar.plain(Field::Hour);
    if let ([(from, to)], true) = (runs(hours).as_slice(), minutes.is_even) {
        if !calendar.is_full(Field::Hour) {
            return minutes.head + &from_to((*from, minutes.first), (*to, minutes.last));
        }
    }
    let whole = minutes.is_even && minutes.first == 0 && calendar.is_full(Field::Hour);
    let text = minutes.with_start();
    if whole { text } else { text + &of_hours(calendar, minutes.is_even) }
}

/// What is due at other seconds than 0.
fn seconds_text(calendar: &Calendar) -> String {
    let seconds = Pattern::of(Field::Second, calendar.plain(Field::Second));
    let (minutes, hours) = (calendar.plain(Field::Minute), calendar.plain(Field::Hour));
    let every_hour = calendar.is_full(Field::Hour);
    let whole = seconds.is_even && seconds.first == 0;
    if !calendar.is_full(Field::Minute) {
        let minutes = noun(Field::Minute, minutes);
        return format!("{} of {minutes}{}", seconds.with_start(), of_hours(calendar, false));
    }
    if let ([(from, to)], false, true) = (runs(hours).as_slice(), every_hour, seconds.is_even) {
        let Pattern { head, first, last, .. } = seconds;
        return format!("{head} from {from:02}:00:{first:02} to {to:02}:59:{last:02}");
    }
    let minutes = if whole { "" } else { " of every minute" };
    let hours = if every_hour { String::new() } else { of_hours(calendar, true) };
    format!("{}{minutes}{hours}", seconds.with_start())
}

/// What the job's name decides a part of: each field as a list.
fn spread_text(calendar: &Calendar) -> String {
    let field_text = |field: Field| {
        let spreads = calendar.spreads().iter().filter(|spread| spread.field == field);
        let plain = calendar.plain(field);
        let plain = (plain != 0).then(|| noun(field, plain));
        join(plain.into_iter().chain(spreads.map(spread_noun)))
    };
    let has_second = calendar.spreads().iter().any(|spread| spread.field == Field::Second);
    let mut parts = Vec::new();
    if has_second || calendar.plain(Field::Second) != ZERO {
        parts.push(field_text(Field::Second));
    }
    parts.extend([Field::Minute, Field::Hour].map(field_text));
    format!("at {}", parts.join(" of "))
}

/// The values of a field in a cycle of 60, as the beginning of a sentence.
struct Pattern {
    field: Field,
    head: String,
    first: u8,
    last: u8,
    /// The distance from the last to the first of the next cycle is that between all others.
    is_even: bool,
}

impl Pattern {
    fn of(field: Field, bits: u64) -> Pattern {
        let cycle = field.max() + 1;
        let first = bits.trailing_zeros() as u8;
        let last = 63 - bits.leading_zeros() as u8;
        let even = progression(bits)
            .filter(|&(first, last, step)| last + step == first + cycle)
            .filter(|_| bits.count_ones() > 2 || first == 0);
        if let Some((_, _, step)) = even {
            return Pattern { field, head: every(step, unit(field)), first, last, is_even: true };
        }
        let unit = unit(field);
        let head = match progression(bits).filter(|_| bits.count_ones() > 3) {
            Some((first, last, step)) => {
                format!("{} from {unit} {first} to {unit} {last}", every(step, unit))
            }
            None => format!("at {}", noun(field, bits)),
        };
        Pattern { field, head, first, last, is_even: false }
    }

    /// The head, with the first value where it is not to be taken for 0.
    fn with_start(&self) -> String {
        if self.is_even && self.first > 0 {
            return format!("{} from {} {}", self.head, unit(self.field), self.first);
        }
        self.head.clone()
    }
}

/// `every hour`, `every 2 hours`.
fn every(step: u8, unit: &str) -> String {
    if step == 1 { format!("every {unit}") } else { format!("every {step} {unit}s") }
}

fn from_to((hour, minute): (u8, u8), (last_hour, last_minute): (u8, u8)) -> String {
    format!(" from {hour:02}:{minute:02} to {last_hour:02}:{last_minute:02}")
}

/// What follows minutes or seconds: ` of every hour`, ` in hours 8 and 12`.
fn of_hours(calendar: &Calendar, inside: bool) -> String {
    let word = if inside && !calendar.is_full(Field::Hour) { "in" } else { "of" };
    format!(" {word} {}", noun(Field::Hour, calendar.plain(Field::Hour)))
}

/// `every minute`, `minute 5`, `minutes 5 and 10 to 12`, `every 15th minute`.
fn noun(field: Field, bits: u64) -> String {
    let unit = unit(field);
    if bits == field.full() {
        return format!("every {unit}");
    }
    match progression(bits) {
        Some((first, last, step)) if bits.count_ones() > 3 && step > 1 => {
            let ordinal = ordinal(step);
            format!("every {ordinal} {unit} from {first} to {last}")
        }
        Some(_) | None => {
            let plural = if bits.count_ones() == 1 { "" } else { "s" };
            format!("{unit}{plural} {}", join(list(bits, |value| name(field, value))))
        }
    }
}

/// `one minute between 0 and 59`, `every 15th minute from one between 0 and 14`.
pub(super) fn spread_noun(spread: &Spread) -> String {
    let Spread { field, low, high, step } = *spread;
    let unit = unit(field);
    let between = |last: u8| format!("between {} and {}", name(field, low), name(field, last));
    if step == 0 {
        return format!("one {unit} {}", between(high));
    }
    let end = if high == field.spread_max() {
        String::new()
    } else {
        format!(" up to {}", name(field, high))
    };
    format!("every {} {unit} from one {}{end}", ordinal(step), between(low + step - 1))
}
