//! The calendar, counted on fingers: one day after the other from 1970-01-01.

use std::sync::OnceLock;

/// The table ends with this year.
pub(crate) const LAST_YEAR: u32 = 2450;

pub(crate) const DAY: i64 = 86_400;

/// One day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) year: u32,
    pub(crate) month: u32,
    pub(crate) day: u32,
    /// 0 is Sunday.
    pub(crate) weekday: u32,
    /// Days in this month.
    pub(crate) month_len: u32,
}

/// All days since 1970-01-01, which is the first.
pub(crate) fn days() -> &'static [Day] {
    static DAYS: OnceLock<Vec<Day>> = OnceLock::new();
    DAYS.get_or_init(|| {
        let mut days = Vec::new();
        let mut weekday = 4; // 1970-01-01 was a Thursday.
        for year in 1970..=LAST_YEAR {
            for month in 1..=12 {
                let month_len = month_len(year, month);
                for day in 1..=month_len {
                    days.push(Day { year, month, day, weekday, month_len });
                    weekday = (weekday + 1) % 7;
                }
            }
        }
        days
    })
}

/// The day that `second`, counted from 1970-01-01 00:00:00 on the same clock, lies in.
pub(crate) fn day_of(second: i64) -> Day {
    let index = usize::try_from(second.div_euclid(DAY)).expect("no day before 1970");
    days()[index]
}

/// Seconds from 1970-01-01 00:00:00 to this moment of the same clock, given as
/// `2011-12-30 01:02:03`.
pub(crate) fn seconds(text: &str) -> i64 {
    let numbers: Vec<u32> = text
        .split(['-', ' ', ':'])
        .map(|part| part.parse().unwrap_or_else(|_| panic!("{text} is no time")))
        .collect();
    let [year, month, day, hour, minute, second] = numbers[..] else {
        panic!("{text} is no time");
    };
    let same = |d: &Day| (d.year, d.month, d.day) == (year, month, day);
    let index = days().iter().position(same).unwrap_or_else(|| panic!("{text} is no day"));
    let in_day = (hour * 60 + minute) * 60 + second;
    i64::try_from(index).expect("a small number") * DAY + i64::from(in_day)
}

/// The reverse of [`seconds`].
pub(crate) fn text(second: i64) -> String {
    let day = day_of(second);
    let in_day = second.rem_euclid(DAY);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    let Day { year, month, day, .. } = day;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

fn month_len(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[test]
fn the_days_are_those_of_the_wall_calendar() {
    for (at, weekday) in [
        ("1970-01-01 00:00:00", 4),
        ("2000-02-29 23:59:59", 2),
        ("2026-11-23 12:00:00", 1),
        ("2100-03-01 00:00:00", 1),
    ] {
        assert_eq!(text(seconds(at)), at);
        assert_eq!(day_of(seconds(at)).weekday, weekday, "{at}");
    }
    // As `date -u -d 2100-03-01 +%s` says.
    assert_eq!(seconds("2100-03-01 00:00:00"), 4_107_542_400);
}
