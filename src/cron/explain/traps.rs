//! The classic traps, each with a sentence for whoever is in it.

use super::calendar_sentence;
use crate::cron::calendar::{Calendar, Field};
use crate::cron::civil::date_time;
use crate::cron::{Expression, Kind, Place, Zone, parse};
use crate::time::Second;

/// How far ahead clock changes are looked up: two years, in seconds.
const AHEAD: i64 = 731 * 86_400;

/// Most stretches of one offset looked at; no zone has changed its clock so often in two years.
const SPANS_MAX: usize = 64;

/// Most dates named for one kind of clock change.
const DATES_MAX: usize = 4;

const HOUR: i64 = 3_600;

pub(super) fn warnings(expression: &Expression, zone: &Zone, from: Second) -> Vec<String> {
    let mut found: Vec<String> = expression.warnings.iter().map(ToString::to_string).collect();
    if let Kind::Calendar(calendar) = &expression.schedule.0 {
        found.extend(every_second(calendar));
        found.extend(seconds_first(expression));
        found.extend(either_day(calendar));
    }
    found.extend(never(expression, zone, from));
    if let Kind::Calendar(calendar) = &expression.schedule.0 {
        found.extend(clock_changes(&calendar.widest(), zone, from));
    }
    found
}

fn every_second(calendar: &Calendar) -> Option<String> {
    let whole_day = calendar.is_full(Field::Minute) && calendar.is_full(Field::Hour);
    let trapped = calendar.is_full(Field::Second) && !whole_day;
    trapped.then(|| {
        "the first of six fields is the second, and * there fires 60 times in each minute that \
         matches; write 0 for once"
            .to_owned()
    })
}

/// Five fields that Dkron 0.7.2 would have taken too, and what they meant there.
fn seconds_first(expression: &Expression) -> Option<String> {
    let fields = expression.five_fields.as_ref()?;
    // It took a missing sixth field, the day of week, for `*`.
    let there = parse(&format!("{fields} *")).ok()?;
    match &there.schedule.0 {
        Kind::Calendar(calendar) if calendar.spreads().is_empty() => Some(format!(
            "five fields begin with the minute; Dkron 0.7.2 read the second first, and there this \
             meant {}",
            calendar_sentence(calendar, None)
        )),
        Kind::Calendar(_) | Kind::Every(_) | Kind::At(_) | Kind::Manually => None,
    }
}

fn either_day(calendar: &Calendar) -> Option<String> {
    calendar.either.then(|| {
        "day of month and day of week are both restricted: a day matches when either does, it \
         need not be both"
            .to_owned()
    })
}

fn never(expression: &Expression, zone: &Zone, from: Second) -> Option<String> {
    let place = Place { zone, name: "", anchor: from };
    // What a name may get from a spread decides nothing here if no value of it is ever due.
    let next = match &expression.schedule.0 {
        Kind::Calendar(calendar) => calendar.widest().first_local(from.0).map(Second),
        Kind::Every(_) | Kind::At(_) => expression.schedule.next_after(from, &place),
        Kind::Manually => return None,
    };
    if next.is_some() {
        return None;
    }
    Some(match &expression.schedule.0 {
        Kind::At(_) => "it never fires: the time has passed".to_owned(),
        Kind::Calendar(_) => "it never fires: no day of any year matches".to_owned(),
        Kind::Every(_) | Kind::Manually => "it never fires before the year 9999 ends".to_owned(),
    })
}

/// Local times that a clock change takes away, or gives twice.
fn clock_changes(calendar: &Calendar, zone: &Zone, from: Second) -> Vec<String> {
    let (mut gaps, mut overlaps) = (Vec::new(), Vec::new());
    let end = from.plus(AHEAD).0;
    let mut span = zone.span_at(from.0);
    for _ in 0..SPANS_MAX {
        if span.end >= end {
            break;
        }
        let at = span.end;
        let (before, after) = (at + span.offset, at + zone.span_at(at).offset);
        let change = Change { before, after };
        if let Some(first) = change.first_match(calendar) {
            let found = if before < after { &mut gaps } else { &mut overlaps };
            found.push((change, first));
        }
        span = zone.span_at(at);
    }
    let told = [gaps, overlaps].into_iter().filter_map(|changes| tell(calendar, &changes));
    told.collect()
}

/// A moment at which a local clock that was about to show one time shows another.
struct Change {
    before: i64,
    after: i64,
}

impl Change {
    /// The first matching local time that this change skips or repeats; `None` also where a
    /// schedule that follows elapsed time keeps its beat.
    fn first_match(&self, calendar: &Calendar) -> Option<i64> {
        if calendar.wild_hours && self.keeps_beat(calendar) {
            return None;
        }
        let (start, end) = (self.before.min(self.after), self.before.max(self.after));
        calendar.first_local(start).filter(|first| *first < end)
    }

    /// True when moving all times of day by this change gives the same times.
    fn keeps_beat(&self, calendar: &Calendar) -> bool {
        let shift = (self.after - self.before).rem_euclid(HOUR);
        let minutes = calendar.plain(Field::Minute);
        let by = shift / 60;
        let turned = (minutes << by | minutes >> (60 - by)) & Field::Minute.full();
        calendar.is_full(Field::Hour) && shift % 60 == 0 && turned == minutes
    }
}

/// One sentence for all changes of one kind.
fn tell(calendar: &Calendar, changes: &[(Change, i64)]) -> Option<String> {
    let (Change { before, after }, first) = changes.first()?;
    let (from, to, local) = (time(*before), time(*after), time(*first));
    let what = match (before < after, calendar.wild_hours) {
        (true, false) => format!("skips {local}: what is due in the gap fires once, at {to}"),
        (true, true) => {
            format!("skips {local}: an hour field that begins with * does not make up for it")
        }
        (false, false) => format!("shows {local} twice: it fires the first time only"),
        (false, true) => {
            format!("shows {local} twice: an hour field that begins with * fires both times")
        }
    };
    let dates: Vec<String> = changes.iter().skip(1).map(|(_, first)| date(*first)).collect();
    let again = match dates.as_slice() {
        [] => String::new(),
        dates if dates.len() < DATES_MAX => format!(" (again on {})", dates.join(", ")),
        dates => format!(" (again on {} …)", dates[..DATES_MAX - 1].join(", ")),
    };
    let goes = if before < after { "forward" } else { "back" };
    let date = date(*first);
    Some(format!("on {date} the clock goes {goes} from {from} to {to} and {what}{again}"))
}

fn date(local: i64) -> String {
    let date = date_time(local).date();
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

/// `02:30`, with seconds if there are some.
fn time(local: i64) -> String {
    let time = date_time(local).time();
    match time.second() {
        0 => format!("{:02}:{:02}", time.hour(), time.minute()),
        second => format!("{:02}:{:02}:{second:02}", time.hour(), time.minute()),
    }
}
