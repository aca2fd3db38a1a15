//! Lists, numbers and names in English.

use crate::cron::calendar::Field;

/// `a`, `a and b`, `a, b and c`.
pub(super) fn join(items: impl IntoIterator<Item = String>) -> String {
    let mut items: Vec<String> = items.into_iter().collect();
    let last = items.pop().unwrap_or_default();
    if items.is_empty() { last } else { format!("{} and {last}", items.join(", ")) }
}

/// `1 hour`, `2 hours`.
pub(super) fn count(number: u64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

/// `1st`, `2nd`, `11th`.
pub(super) fn ordinal(number: u8) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// Single values and, from three neighbours on, ranges, as pairs of first and last.
pub(super) fn runs(bits: u64) -> Vec<(u8, u8)> {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    for value in values(bits) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == value => *last = value,
            Some(_) | None => runs.push((value, value)),
        }
    }
    let pairs = |(first, last): (u8, u8)| match last - first {
        1 => vec![(first, first), (last, last)],
        _ => vec![(first, last)],
    };
    runs.into_iter().flat_map(pairs).collect()
}

/// The runs of `bits` with each end named by `name`.
pub(super) fn list(bits: u64, name: impl Fn(u8) -> String) -> Vec<String> {
    let shown = |(first, last): (u8, u8)| {
        if first == last { name(first) } else { format!("{} to {}", name(first), name(last)) }
    };
    runs(bits).into_iter().map(shown).collect()
}

/// First, last and step of values in equal distances; they are two at least.
pub(super) fn progression(bits: u64) -> Option<(u8, u8, u8)> {
    let all: Vec<u8> = values(bits).collect();
    let (first, last) = (*all.first()?, *all.last()?);
    let step = all.get(1)? - first;
    all.windows(2).all(|pair| pair[1] - pair[0] == step).then_some((first, last, step))
}

/// The numbers of the bits that are set, lowest first.
pub(super) fn values(bits: u64) -> impl Iterator<Item = u8> {
    (0..64_u8).filter(move |value| bits & (1 << value) != 0)
}

/// The word for one of this field's values.
pub(super) fn unit(field: Field) -> &'static str {
    match field {
        Field::Second => "second",
        Field::Minute => "minute",
        Field::Hour => "hour",
        Field::DayOfMonth | Field::DayOfWeek => "day",
        Field::Month => "month",
    }
}

/// How a person calls the value of a field; 7 is Sunday too.
pub(super) fn name(field: Field, value: u8) -> String {
    let names: &[&str] = match field {
        Field::Second | Field::Minute | Field::Hour => return value.to_string(),
        Field::DayOfMonth => return format!("the {}", ordinal(value)),
        Field::Month => &MONTHS,
        Field::DayOfWeek => &WEEKDAYS,
    };
    names
        .get(usize::from(value - field.min()))
        .map_or_else(|| value.to_string(), |name| (*name).into())
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 8] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
