//! Schedules: the parser, the canonical text, and the next due time against a slow reading of
//! that text.

use super::zones::{RULES, zone};
use bellwether::cron::{Place, SCHEDULE_MAX_BYTES, Schedule, Zone, civil, explain, parse};
use bellwether::time::Second;

/// Longest way to a due time: 400 years and a few days for the zone.
const FAR: i64 = (146_097 + 4) * 86_400;

/// Any text is a schedule or gets an error that points into it; a schedule's canonical text is the
/// same schedule.
pub(crate) fn cron_parse(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let expression = match parse(&text) {
        Ok(expression) => expression,
        Err(wrong) => {
            assert!(text.get(wrong.span.start..wrong.span.end).is_some(), "{text:?}: {wrong:?}");
            assert!(!wrong.message.contains(char::is_control), "{text:?}: {wrong:?}");
            return;
        }
    };
    let canonical = expression.to_string();
    assert!(canonical.len() <= SCHEDULE_MAX_BYTES, "{text:?}: {canonical}");
    let again = parse(&canonical).expect("a canonical text is a schedule");
    assert_eq!(again.schedule, expression.schedule, "{text:?}");
    assert_eq!(again.zone, expression.zone, "{text:?}");
    assert_eq!(again.to_string(), canonical, "{text:?}");
    let explained = explain(&expression, &zone(RULES[1]), Second(1_767_225_600));
    for clause in explained.warnings.iter().chain([&explained.sentence]) {
        assert!(!clause.is_empty() && !clause.contains(char::is_control), "{text:?}: {clause:?}");
    }
}

/// A byte for the zone, eight for the moment, then the schedule's text.
pub(crate) fn cron_next(bytes: &[u8]) {
    let Some(([choice, moment @ ..], text)) = bytes.split_first_chunk::<9>() else { return };
    let Ok(expression) = parse(&String::from_utf8_lossy(text)) else { return };
    let zone = zone(RULES[usize::from(*choice) % RULES.len()]);
    let start = i64::from_le_bytes(*moment);
    // Half the moments lie in this century, the others anywhere.
    let start = if choice & 0x80 == 0 { start.rem_euclid(3_000_000_000) } else { start };
    check_walk(&expression.schedule, start, &zone);
    let _ = explain(&expression, &zone, Second(start));
}

fn check_walk(schedule: &Schedule, start: i64, zone: &Zone) {
    let place = Place { zone, name: "backup", anchor: Second(0) };
    let next = |after: i64| schedule.next_after(Second(after), &place).map(|next| next.0);
    let mut after = start;
    for _ in 0..4 {
        let Some(due) = next(after) else {
            let later = after.saturating_add(FAR / 7);
            assert_eq!(next(later), None, "{schedule}: none after {after}, but one later");
            return;
        };
        assert!(due > after, "{schedule}: {due} is not after {after}");
        let first = after.max(civil::FIRST.0 - 1);
        let is_fields = !schedule.is_every() && !schedule.is_once();
        assert!(!is_fields || due - first <= FAR, "{schedule}: {due} is too far from {after}");
        // Whoever asks from anywhere on the way is told the same.
        for between in [first, first + (due - first) / 2, due - 1] {
            assert_eq!(next(between), Some(due), "{schedule}: asked at {between}, from {after}");
        }
        if is_fields && !schedule.is_spread() {
            check_fields(schedule, due, zone);
        }
        after = due;
    }
}

/// A due time has the fields that the canonical text asks for, unless the clock has just moved.
fn check_fields(schedule: &Schedule, due: i64, zone: &Zone) {
    let canonical = schedule.canonical();
    let (shown, before) = (shown(due, zone), shown(due - 1, zone));
    let mut fields: Vec<&str> = canonical.split(' ').collect();
    if fields.len() == 5 {
        fields.insert(0, "0");
    }
    let fixed = !fields[2].starts_with('*');
    let moved = fixed && shown.offset > before.offset;
    assert!(moved || shown.matches(&fields), "{schedule}: {shown:?} in {zone:?}");
}

/// A local time.
#[derive(Debug)]
struct Shown {
    clock: [i64; 3],
    year: i64,
    month: i64,
    day: i64,
    offset: i64,
}

fn shown(at: i64, zone: &Zone) -> Shown {
    let text = civil::format_in(Second(at), zone);
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().expect("digits");
    let sign = if text.as_bytes()[19] == b'-' { -1 } else { 1 };
    Shown {
        clock: [number(17, 19), number(14, 16), number(11, 13)],
        year: number(0, 4),
        month: number(5, 7),
        day: number(8, 10),
        offset: sign * (number(20, 22) * 60 + number(23, 25)),
    }
}

impl Shown {
    fn matches(&self, fields: &[&str]) -> bool {
        let [second, minute, hour, dom, month, dow] = fields else { return false };
        let [s, m, h] = self.clock;
        let any = |field: &str, test: &dyn Fn(&str) -> bool| field.split(',').any(test);
        let by_date = any(dom, &|item| self.is_date(item));
        let by_weekday = any(dow, &|item| self.is_weekday(item));
        let both = dom.starts_with('*') || dow.starts_with('*');
        any(second, &|item| is_in(item, s, 0, 59))
            && any(minute, &|item| is_in(item, m, 0, 59))
            && any(hour, &|item| is_in(item, h, 0, 23))
            && any(month, &|item| is_in(item, self.month, 1, 12))
            && if both { by_date && by_weekday } else { by_date || by_weekday }
    }

    fn is_date(&self, item: &str) -> bool {
        let last = self.length();
        if item == "LW" {
            return self.day == self.nearest_weekday(last);
        }
        if let Some(before) = item.strip_prefix('L') {
            let before = before.strip_prefix('-').map_or(0, |n| n.parse().expect("digits"));
            return self.day == last - before;
        }
        match item.strip_suffix('W') {
            Some(day) => {
                let day = day.parse().expect("digits");
                day <= last && self.day == self.nearest_weekday(day)
            }
            None => is_in(item, self.day, 1, 31),
        }
    }

    fn is_weekday(&self, item: &str) -> bool {
        let weekday = self.weekday(self.day);
        let is = |text: &str| text.parse() == Ok(weekday);
        if let Some(day) = item.strip_suffix('L') {
            return is(day) && self.day + 7 > self.length();
        }
        match item.split_once('#') {
            Some((day, nth)) => is(day) && nth.parse() == Ok((self.day - 1) / 7 + 1),
            None => is_in(item, weekday, 0, 6),
        }
    }

    fn nearest_weekday(&self, day: i64) -> i64 {
        // The nearest day of this month from Monday to Friday; a tie has none, as two days cannot
        // both be one step away from a Saturday or a Sunday.
        let fit = (1..=self.length()).filter(|&other| !matches!(self.weekday(other), 0 | 6));
        fit.min_by_key(|other| (other - day).abs()).expect("each month has a Monday")
    }

    fn length(&self) -> i64 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// 0 for Sunday: Zeller's congruence.
    fn weekday(&self, day: i64) -> i64 {
        let early = i64::from(self.month < 3);
        let (year, month) = (self.year - early, self.month + 12 * early);
        let days = day + (13 * (month + 1)) / 5 + year + year / 4 - year / 100 + year / 400;
        (days + 6).rem_euclid(7)
    }
}

/// Whether `value` is in `*`, `n`, `a-b`, each perhaps with `/s`.
fn is_in(item: &str, value: i64, min: i64, max: i64) -> bool {
    let number = |text: &str| text.parse::<i64>().expect("digits");
    let (range, step) = item.split_once('/').map_or((item, None), |(r, s)| (r, Some(number(s))));
    let (low, high) = match (range.split_once('-'), range) {
        (_, "*") => (min, max),
        (Some((low, high)), _) => (number(low), number(high)),
        (None, one) if step.is_some() => (number(one), max),
        (None, one) => (number(one), number(one)),
    };
    (low..=high).contains(&value) && (value - low) % step.unwrap_or(1) == 0
}
