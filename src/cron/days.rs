//! The first local time that a calendar matches: years, months and days are skipped, never walked.

use super::calendar::{Calendar, Field};
use super::civil::date_time;
use jiff::civil::Date;
use jiff::tz::Offset;

/// After so many years dates and days of week repeat exactly.
const CYCLE_YEARS: i16 = 400;

/// The same day of week throughout a month, from bit 0 on.
const WEEKLY: u32 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28;

impl Calendar {
    /// The first matching local second at or after `local`; `None` when there is none in 400
    /// years. Spreads must have been decided.
    pub(super) fn first_local(&self, local: i64) -> Option<i64> {
        let from = date_time(local);
        let time = Clock {
            hour: from.hour().unsigned_abs(),
            minute: from.minute().unsigned_abs(),
            second: from.second().unsigned_abs(),
        };
        let mut date = self.first_day(from.date())?;
        let mut first = Clock { hour: 0, minute: 0, second: 0 };
        if date == from.date() {
            first = time;
        }
        let clock = match self.first_clock(first) {
            Some(clock) => clock,
            None => {
                date = self.first_day(date.tomorrow().ok()?)?;
                self.first_clock(Clock { hour: 0, minute: 0, second: 0 })?
            }
        };
        let midnight = Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
        Some(midnight.as_second() + clock.seconds())
    }

    /// The first matching time of day at or after `from`.
    fn first_clock(&self, from: Clock) -> Option<Clock> {
        let hours = self.plain(Field::Hour);
        let minutes = self.plain(Field::Minute);
        let seconds = self.plain(Field::Second);
        let Clock { mut hour, mut minute, mut second } = from;
        if hours & (1 << hour) == 0 {
            hour = next_bit(hours, hour)?;
            (minute, second) = (0, 0);
        }
        // At most three rounds: a later second, else a later minute, else a later hour.
        loop {
            if let Some(found) = next_bit(minutes, minute) {
                if found > minute {
                    second = 0;
                }
                minute = found;
                if let Some(second) = next_bit(seconds, second) {
                    return Some(Clock { hour, minute, second });
                }
                (minute, second) = (minute + 1, 0);
            } else {
                hour = next_bit(hours, hour + 1)?;
                (minute, second) = (0, 0);
            }
        }
    }

    /// The first matching day at or after `from`.
    fn first_day(&self, from: Date) -> Option<Date> {
        let months = self.plain(Field::Month);
        let mut earliest = (from.month().unsigned_abs(), from.day().unsigned_abs());
        for year in from.year()..=from.year().saturating_add(CYCLE_YEARS) {
            // A year's search costs less than the proof that no year will do.
            if year == from.year().saturating_add(2) && self.is_impossible() {
                return None;
            }
            let mut month = next_bit(months, earliest.0);
            while let Some(number) = month {
                let first = Date::new(year, number as i8, 1).ok()?;
                let weekday = first.weekday().to_sunday_zero_offset().unsigned_abs();
                let mut days = self.month_days(weekday, first.days_in_month().unsigned_abs());
                if number == earliest.0 {
                    days &= !0 << earliest.1;
                }
                if days != 0 {
                    return Date::new(year, number as i8, days.trailing_zeros() as i8).ok();
                }
                month = next_bit(months, number + 1);
            }
            earliest = (1, 1);
        }
        None
    }

    /// True when no month of any year has a matching day. Each month occurs with each first day
    /// of week, February also with 29 days.
    fn is_impossible(&self) -> bool {
        let months = self.plain(Field::Month);
        let lengths =
            [(28, 1 << 2), (29, 1 << 2), (30, 0b1010_0101_0000), (31, 0b1_0101_1010_1010)];
        lengths.iter().filter(|&&(_, with_length)| months & with_length != 0).all(|&(length, _)| {
            (0..7).all(|first_weekday| self.month_days(first_weekday, length) == 0)
        })
    }

    /// The matching days (bit d for day d) of a month of `length` days whose first is the day of
    /// week `first`, 0 for Sunday.
    fn month_days(&self, first: u8, length: u8) -> u32 {
        let all = (!0_u32 >> (31 - length)) & !1;
        let by_date = self.plain(Field::DayOfMonth) as u32 | self.special_dates(first, length);
        let by_weekday = self.weekdays(first, length);
        let matching = if self.either { by_date | by_weekday } else { by_date & by_weekday };
        matching & all
    }

    /// The days that `L` and `W` items name.
    fn special_dates(&self, first: u8, length: u8) -> u32 {
        let weekday = |day: u8| (first + day - 1) % 7;
        let mut days = 0;
        for before in ones(self.last).take_while(|&before| before < length) {
            days |= 1 << (length - before);
        }
        if self.last_weekday {
            days |= 1
                << match weekday(length) {
                    0 => length - 2,
                    6 => length - 1,
                    _ => length,
                };
        }
        for day in ones(self.nearest).take_while(|&day| day <= length) {
            days |= 1
                << match weekday(day) {
                    0 if day == length => day - 2,
                    0 => day + 1,
                    6 if day == 1 => 3,
                    6 => day - 1,
                    _ => day,
                };
        }
        days
    }

    /// The days whose day of week matches.
    fn weekdays(&self, first: u8, length: u8) -> u32 {
        if self.is_full(Field::DayOfWeek) {
            return !0;
        }
        let earliest = |weekday: u8| 1 + (weekday + 7 - first) % 7;
        let mut days = 0;
        for weekday in ones(self.plain(Field::DayOfWeek) as u32) {
            days |= WEEKLY << earliest(weekday);
        }
        for weekday in ones(u32::from(self.last_day_of_week)) {
            let earliest = earliest(weekday);
            days |= 1 << (earliest + (length - earliest) / 7 * 7);
        }
        for (weeks, nth) in (0..).zip(self.nth) {
            for weekday in ones(u32::from(nth)) {
                let day = earliest(weekday) + 7 * weeks;
                days |= u32::from(day <= length) << day.min(31);
            }
        }
        days
    }
}

/// A time of day.
#[derive(Clone, Copy)]
struct Clock {
    hour: u8,
    minute: u8,
    second: u8,
}

impl Clock {
    fn seconds(self) -> i64 {
        i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60 + i64::from(self.second)
    }
}

/// The lowest bit that is set at `from` or above it; `from` is below 64.
fn next_bit(bits: u64, from: u8) -> Option<u8> {
    let rest = bits & (!0 << from);
    (rest != 0).then(|| rest.trailing_zeros() as u8)
}

/// The numbers of the bits that are set, lowest first.
fn ones(mut bits: u32) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let lowest = (bits != 0).then(|| bits.trailing_zeros() as u8)?;
        bits &= bits - 1;
        Some(lowest)
    })
}
