//! The one text of a schedule.
//!
//! Five fields where the second is 0, else six. A field is written as `*`, `*/s`, `a/s` or
//! `a-b/s` where its plain values have such a form, else as values and ranges; then come the
//! special days and the spreads. What a leading `*` means is kept: an hour field has it exactly
//! when the schedule follows elapsed time, and one of two partial day fields exactly when both
//! must match.

use super::calendar::{Calendar, Field, Spread};
use super::{Expression, Kind, Schedule, civil};
use std::fmt;

impl fmt::Display for Expression {
    /// The canonical text with its zone in front.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(zone) = &self.zone {
            write!(f, "CRON_TZ={zone} ")?;
        }
        fmt::Display::fmt(&self.schedule, f)
    }
}

impl fmt::Display for Schedule {
    /// See [`Schedule::canonical`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Calendar(calendar) => write_calendar(calendar, f),
            Kind::Every(seconds) => write_every(seconds.get(), f),
            Kind::At(at) => write!(f, "@at {}", civil::format_utc(at.wall())),
            Kind::Manually => f.write_str("@manually"),
        }
    }
}

fn write_every(seconds: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("@every ")?;
    for (count, unit) in [(seconds / 3_600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')] {
        if count > 0 {
            write!(f, "{count}{unit}")?;
        }
    }
    Ok(())
}

fn write_calendar(calendar: &Calendar, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut stars = [Star::Allowed; 6];
    let [_, _, hour, dom, _, dow] = &mut stars;
    *hour = if calendar.wild_hours { Star::Required } else { Star::Forbidden };
    let partial = |field| !calendar.is_full(field);
    if calendar.either {
        (*dom, *dow) = (Star::Forbidden, Star::Forbidden);
    } else if partial(Field::DayOfMonth) && partial(Field::DayOfWeek) {
        // Both must match, so at least one needs its star: one that has it anyway, if possible.
        let natural = |field: Field| {
            let values = calendar.plain(field);
            values.count_ones() > 1 && values == field.bits(field.min(), field.max(), gap(values))
        };
        let first = calendar.plain(Field::DayOfMonth) & 0b10 != 0;
        if first && (natural(Field::DayOfMonth) || !natural(Field::DayOfWeek)) {
            *dom = Star::Required;
        } else {
            *dow = Star::Required;
        }
    }
    let seconds = calendar.plain(Field::Second);
    let minutely = seconds == 1 && !has_spread(calendar, Field::Second);
    let skipped = usize::from(minutely);
    for (&field, star) in Field::ALL.iter().zip(stars).skip(skipped) {
        if field.index() > skipped {
            f.write_str(" ")?;
        }
        let mut items = plain_items(field, calendar.plain(field), star);
        special_items(calendar, field, &mut items);
        let spreads = calendar.spreads().iter().filter(|spread| spread.field == field);
        items.extend(spreads.map(spread_item));
        f.write_str(&items.join(","))?;
    }
    Ok(())
}

fn has_spread(calendar: &Calendar, field: Field) -> bool {
    calendar.spreads().iter().any(|spread| spread.field == field)
}

/// Whether a field may begin with `*`, and whether it must.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Star {
    Allowed,
    Required,
    Forbidden,
}

/// The plain values of a field; none if it has none.
fn plain_items(field: Field, values: u64, star: Star) -> Vec<String> {
    let (min, max) = (field.min(), field.max());
    if values == 0 {
        return Vec::new();
    }
    if values == field.full() {
        let full = if star == Star::Forbidden { format!("{min}-{max}") } else { "*".into() };
        return vec![full];
    }
    if star == Star::Required {
        // The field began with `*` or `*/s`, so a large enough step is always found.
        let is_part = |step: &u8| field.bits(min, max, *step) & !values == 0;
        let step = (2..=max - min + 1).find(is_part).unwrap_or(max - min + 1);
        let mut items = vec![format!("*/{step}")];
        items.extend(list(field, values & !field.bits(min, max, step)));
        return items;
    }
    let step = gap(values);
    let first = values.trailing_zeros() as u8;
    let halves = values.count_ones() == 2 && first == min && step * 2 == max - min + 1;
    let many = values.count_ones() > 2 && step > 1;
    if (halves || many) && values == field.bits(first, max, step) {
        let star = first == min && star == Star::Allowed;
        return vec![if star { format!("*/{step}") } else { format!("{first}/{step}") }];
    }
    let last = 63 - values.leading_zeros() as u8;
    if many && values.count_ones() > 3 && values == field.bits(first, last, step) {
        return vec![format!("{first}-{last}/{step}")];
    }
    list(field, values)
}

/// The distance of the two lowest values; 0 when there are fewer.
fn gap(values: u64) -> u8 {
    let rest = values & values.wrapping_sub(1);
    if rest == 0 { 0 } else { (rest.trailing_zeros() - values.trailing_zeros()) as u8 }
}

/// Values, and ranges from three neighbours on.
fn list(field: Field, values: u64) -> Vec<String> {
    let has = |value: u8| value <= field.max() && values & field.bit(value) != 0;
    let mut items = Vec::new();
    let mut value = field.min();
    while value <= field.max() {
        let end = (value..).find(|&next| !has(next)).unwrap_or(value);
        match end - value {
            0 => {}
            1 => items.push(value.to_string()),
            2 => items.extend([value.to_string(), (value + 1).to_string()]),
            _ => items.push(format!("{value}-{}", end - 1)),
        }
        value = end + 1;
    }
    items
}

fn special_items(calendar: &Calendar, field: Field, items: &mut Vec<String>) {
    match field {
        Field::DayOfMonth => {
            let set = |bits: u32| (0..32_u8).filter(move |bit| bits & (1 << bit) != 0);
            items.extend(set(calendar.last).map(|before| match before {
                0 => "L".to_owned(),
                before => format!("L-{before}"),
            }));
            items.extend(calendar.last_weekday.then(|| "LW".to_owned()));
            items.extend(set(calendar.nearest).map(|day| format!("{day}W")));
        }
        Field::DayOfWeek => {
            let set = |bits: u8| (0..7_u8).filter(move |bit| bits & (1 << bit) != 0);
            items.extend(set(calendar.last_day_of_week).map(|day| format!("{day}L")));
            for (number, days) in (1..).zip(calendar.nth) {
                items.extend(set(days).map(|day| format!("{day}#{number}")));
            }
        }
        Field::Second | Field::Minute | Field::Hour | Field::Month => {}
    }
}

fn spread_item(spread: &Spread) -> String {
    let Spread { field, low, high, step } = *spread;
    let range = if low == field.min() && high == field.spread_max() {
        "~".to_owned()
    } else {
        format!("{low}~{high}")
    };
    if step == 0 { range } else { format!("{range}/{step}") }
}
