//! The days: of the month, of the week, and the months.

use super::clock::spread_noun;
use super::words::{join, list, name, ordinal, progression, values};
use crate::cron::calendar::{Calendar, Field};

const NTH: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// The days in words, with what separates them from the time of day before; nothing for every day
/// after a time that is no list.
pub(super) fn days(calendar: &Calendar, after_times: bool) -> String {
    let months = months(calendar);
    let in_months = months.as_ref().map_or(String::new(), |months| format!(" in {months}"));
    let every_date = calendar.is_full(Field::DayOfMonth);
    let every_weekday = calendar.is_full(Field::DayOfWeek);
    match (every_date, every_weekday) {
        (true, true) if after_times => format!(" every day{in_months}"),
        (true, true) => in_months,
        (false, true) => format!(" {}", dates(calendar, months.as_deref())),
        (true, false) => weekdays(calendar, months.as_deref(), &in_months, after_times),
        (false, false) if calendar.either => format!(
            " {} and{}",
            dates(calendar, months.as_deref()),
            weekdays(calendar, months.as_deref(), &in_months, true)
        ),
        (false, false) => format!(
            "{}, but only {}",
            weekdays(calendar, months.as_deref(), "", true),
            dates(calendar, months.as_deref())
        ),
    }
}

/// `January`, `March to May and July`; `None` for all.
fn months(calendar: &Calendar) -> Option<String> {
    if calendar.is_full(Field::Month) {
        return None;
    }
    let mut items = list(calendar.plain(Field::Month), |value| name(Field::Month, value));
    items.extend(spreads(calendar, Field::Month));
    Some(join(items))
}

/// `on the 1st and the last day of every month`.
fn dates(calendar: &Calendar, months: Option<&str>) -> String {
    let bits = calendar.plain(Field::DayOfMonth);
    let date = |day: u8| name(Field::DayOfMonth, day);
    let mut items = match progression(bits) {
        Some((first, last, step)) if step > 1 && bits.count_ones() > 3 => {
            vec![format!("every {} day from {} to {}", ordinal(step), date(first), date(last))]
        }
        Some(_) | None => list(bits, date),
    };
    items.extend(values(u64::from(calendar.last)).map(|before| match before {
        0 => "the last day".to_owned(),
        1 => "the day before the last".to_owned(),
        before => format!("the {} day before the last", ordinal(before)),
    }));
    if calendar.last_weekday {
        items.push("the last weekday (Monday to Friday)".to_owned());
    }
    let nearest = values(u64::from(calendar.nearest));
    items.extend(nearest.map(|day| format!("the weekday nearest to {}", date(day))));
    items.extend(spreads(calendar, Field::DayOfMonth));
    format!("on {} of {}", join(items), months.unwrap_or("every month"))
}

/// ` every Monday to Friday`, ` on Fridays`, ` on the third Friday of every month`.
fn weekdays(
    calendar: &Calendar,
    months: Option<&str>,
    in_months: &str,
    after_times: bool,
) -> String {
    let mut parts = Vec::new();
    let plain = calendar.plain(Field::DayOfWeek);
    // A week ends with its Sunday, as FRI-SUN has it.
    let week = plain & !1 | (plain & 1) << 7;
    let day = |day: u8| name(Field::DayOfWeek, day);
    if week != 0 {
        parts.push(if after_times {
            format!(" every {}{in_months}", join(list(week, day)))
        } else {
            let plurals = list(week, |value| format!("{}s", day(value)));
            format!(" on {}{in_months}", join(plurals))
        });
    }
    let mut special = Vec::new();
    for (number, days) in NTH.iter().zip(calendar.nth) {
        special.extend(values(u64::from(days)).map(|value| format!("the {number} {}", day(value))));
    }
    let last = values(u64::from(calendar.last_day_of_week));
    special.extend(last.map(|value| format!("the last {}", day(value))));
    if !special.is_empty() {
        let months = months.unwrap_or("every month");
        parts.push(format!(" on {} of {months}", join(special)));
    }
    let spread: Vec<String> = spreads(calendar, Field::DayOfWeek).collect();
    if !spread.is_empty() {
        parts.push(format!(" every week on {}{in_months}", join(spread)));
    }
    parts.join(" and")
}

/// What the job's name decides of a field.
fn spreads(calendar: &Calendar, field: Field) -> impl Iterator<Item = String> {
    calendar.spreads().iter().filter(move |spread| spread.field == field).map(spread_noun)
}
