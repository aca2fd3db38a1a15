//! Random schedules in random spellings, mostly such that are due near a given local time.

use super::days::{DAY, day_of};
use super::schedule::{Cron, Field, Item, Means};
use bellwether::rng::Rng;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The smallest and the largest value of a field, and its names.
#[derive(Clone, Copy)]
struct Kind {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const SIXTY: Kind = Kind { min: 0, max: 59, names: &[] };
const HOURS: Kind = Kind { min: 0, max: 23, names: &[] };
const DAYS: Kind = Kind { min: 1, max: 31, names: &[] };
const MONTHS_OF_YEAR: Kind = Kind { min: 1, max: 12, names: &MONTHS };
/// 7 is written as a value or as the end of a range only.
const DAYS_OF_WEEK: Kind = Kind { min: 0, max: 6, names: &WEEKDAYS };

/// A schedule that is likely due within a day of the local second `near`; with a second field or
/// without.
pub(crate) fn cron(rng: &mut Rng, near: i64, with_seconds: bool) -> Cron {
    let hint = day_of(near + (below(rng, 3) as i64 - 1) * DAY);
    let second = near.rem_euclid(DAY) as u32;
    let hour = (second / 3600 + 22 + below(rng, 5)) % 24;
    let minute = pick(rng, &[0, 0, 30, 59, 1, 29, 31, second / 60 % 60]);
    let (mut day, mut weekday) = (star(rng, DAYS), star(rng, DAYS_OF_WEEK));
    // Two restricted fields are seldom due together, and fields of one kind only are the most used.
    let shape = below(rng, 6);
    if shape == 1 || shape >= 4 {
        day = list(rng, DAYS, hint.day);
    }
    if shape == 2 || shape >= 4 {
        weekday = list(rng, DAYS_OF_WEEK, hint.weekday);
    }
    let month = if rng.chance(2, 3) {
        star(rng, MONTHS_OF_YEAR)
    } else {
        list(rng, MONTHS_OF_YEAR, hint.month)
    };
    let hour = if rng.chance(1, 4) { star(rng, HOURS) } else { list(rng, HOURS, hour) };
    let minute = if rng.chance(1, 8) { star(rng, SIXTY) } else { list(rng, SIXTY, minute) };
    let seconds = pick(rng, &[0, 0, 59, 1, 30]);
    let second = with_seconds
        .then(|| if rng.chance(1, 16) { star(rng, SIXTY) } else { list(rng, SIXTY, seconds) });
    let separator = pick(rng, &[" ", " ", " ", "\t", "  ", " \t "]).to_owned();
    Cron { second, minute, hour, day, month, weekday, separator }
}

fn star(rng: &mut Rng, kind: Kind) -> Field {
    let text = pick(rng, &["*", "*", "*", "?"]);
    Field(vec![Item::new(text, Means::Values((kind.min..=kind.max).collect()))])
}

/// One item, often; seldom up to five.
fn list(rng: &mut Rng, kind: Kind, hint: u32) -> Field {
    let count = pick(rng, &[1, 1, 1, 2, 2, 3, 5]);
    let mut items = Vec::new();
    for _ in 0..count {
        let hint = if rng.chance(2, 3) { hint } else { value(rng, kind) };
        items.push(item(rng, kind, hint));
    }
    Field(items)
}

fn item(rng: &mut Rng, kind: Kind, hint: u32) -> Item {
    let is_days = kind.max == DAYS.max;
    let is_week = kind.max == DAYS_OF_WEEK.max;
    match below(rng, 12) {
        0..4 => one(rng, kind, hint),
        4..6 => range(rng, kind, hint),
        6 => stepped_range(rng, kind, hint),
        7 => stepped_star(rng, kind),
        8 => stepped_start(rng, kind, hint),
        _ if is_days => day_rule(rng, hint),
        _ if is_week => week_rule(rng, hint),
        9 => star(rng, kind).0.remove(0),
        _ => one(rng, kind, hint),
    }
}

fn one(rng: &mut Rng, kind: Kind, value: u32) -> Item {
    let sunday = kind.max == DAYS_OF_WEEK.max && value == 0;
    let text = if sunday && rng.chance(1, 3) { "7".into() } else { spelled(rng, kind, value) };
    Item::new(text, Means::Values(vec![value]))
}

/// The two ends of a range around `hint`, and its text.
fn bounds(rng: &mut Rng, kind: Kind, hint: u32) -> (u32, u32, String) {
    let first = hint - below(rng, (hint - kind.min).min(6) + 1);
    let most = if rng.chance(1, 2) { 59 } else { 6 };
    let mut last = hint + below(rng, (kind.max - hint).min(most) + 1);
    let sunday_last = kind.max == DAYS_OF_WEEK.max && rng.chance(1, 4);
    let last_text = if sunday_last {
        last = 7;
        // From Sunday to Sunday is said with digits only: with names it could be one day or eight.
        if first > 0 && rng.chance(1, 2) { cased(rng, "sun") } else { "7".into() }
    } else if last == 0 {
        last.to_string()
    } else {
        spelled(rng, kind, last)
    };
    let text = format!("{}-{last_text}", spelled(rng, kind, first));
    (first, last, text)
}

fn range(rng: &mut Rng, kind: Kind, hint: u32) -> Item {
    let (first, last, text) = bounds(rng, kind, hint);
    Item::new(text, Means::Values((first..=last).collect()))
}

fn stepped_range(rng: &mut Rng, kind: Kind, hint: u32) -> Item {
    let (first, last, text) = bounds(rng, kind, hint);
    let step = step(rng, kind);
    Item::new(format!("{text}/{step}"), every(first, last, step))
}

fn stepped_star(rng: &mut Rng, kind: Kind) -> Item {
    let step = step(rng, kind);
    let star = star(rng, kind).0.remove(0).text;
    Item::new(format!("{star}/{step}"), every(kind.min, kind.max, step))
}

fn stepped_start(rng: &mut Rng, kind: Kind, hint: u32) -> Item {
    let first = if rng.chance(1, 2) { hint } else { kind.min };
    let step = step(rng, kind);
    Item::new(format!("{}/{step}", spelled(rng, kind, first)), every(first, kind.max, step))
}

/// `first`, and then always `step` more, up to `last`.
fn every(first: u32, last: u32, step: u32) -> Means {
    let mut values = Vec::new();
    let mut value = first;
    while value <= last {
        values.push(value);
        value += step;
    }
    Means::Values(values)
}

fn step(rng: &mut Rng, kind: Kind) -> u32 {
    match below(rng, 8) {
        0 => 1,
        1 => kind.max + below(rng, 3),
        2..4 => 1 + below(rng, kind.max),
        _ => pick(rng, &[2, 3, 4, 5, 6, 7, 10, 15, 20, 30]),
    }
}

fn day_rule(rng: &mut Rng, hint: u32) -> Item {
    match below(rng, 5) {
        0 => Item::new("L", Means::BeforeLast(0)),
        1 => {
            let most = pick(rng, &[3, 30]);
            let before = 1 + below(rng, most);
            Item::new(format!("L-{before}"), Means::BeforeLast(before))
        }
        2 => Item::new("LW", Means::LastWeekday),
        _ => {
            let wanted = pick(rng, &[hint, hint, 1, 31, 30, hint.min(30) + 1, hint.max(2) - 1]);
            Item::new(format!("{wanted}W"), Means::NearestWeekday(wanted))
        }
    }
}

fn week_rule(rng: &mut Rng, hint: u32) -> Item {
    let name = one(rng, DAYS_OF_WEEK, hint).text;
    if rng.chance(1, 2) {
        Item::new(format!("{name}L"), Means::LastOf(hint))
    } else {
        let n = 1 + below(rng, 5);
        Item::new(format!("{name}#{n}"), Means::NthOf(hint, n))
    }
}

/// As a number or by name.
fn spelled(rng: &mut Rng, kind: Kind, value: u32) -> String {
    match kind.names.get((value - kind.min) as usize) {
        Some(name) if rng.chance(1, 2) => cased(rng, name),
        _ => value.to_string(),
    }
}

/// Each letter large or small.
fn cased(rng: &mut Rng, name: &str) -> String {
    match below(rng, 4) {
        0 => name.into(),
        1 | 2 => name.to_uppercase(),
        _ => name
            .chars()
            .map(|c| if rng.chance(1, 2) { c.to_ascii_uppercase() } else { c })
            .collect(),
    }
}

fn value(rng: &mut Rng, kind: Kind) -> u32 {
    kind.min + below(rng, kind.max - kind.min + 1)
}

fn below(rng: &mut Rng, bound: u32) -> u32 {
    u32::try_from(rng.below(u64::from(bound))).expect("below a small bound")
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}
