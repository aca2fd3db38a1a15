//! Moments as the stored form of a job holds them: RFC 3339 in UTC, one text for each moment.
//!
//! Kept here and not asked of the cron room, because stored bytes must mean the same whoever
//! composes the rooms; zones, calendars and other spellings stay the cron room's. The calendar
//! arithmetic is Howard Hinnant's "chrono-compatible low-level date algorithms".

use crate::time::Wall;

/// What both eras of Dkron show for "not yet".
pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
/// 0001-01-01T00:00:00Z.
pub(super) const MIN: Wall = Wall(-62_135_596_800_000);
/// 9999-12-31T23:59:59.999Z.
pub(super) const MAX: Wall = Wall(253_402_300_799_999);

/// Longest text of a time that is looked at, in bytes.
pub(super) const TEXT_MAX_BYTES: usize = 64;

const MS_PER_DAY: i64 = 86_400_000;

/// `at` in UTC with as many decimals of the second as it needs; clamped to the years 1–9999.
pub(super) fn format_utc(at: Wall) -> String {
    let at = at.clamp(MIN, MAX);
    let (year, month, day) = civil(at.0.div_euclid(MS_PER_DAY));
    let ms = at.0.rem_euclid(MS_PER_DAY);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if ms % 1_000 != 0 {
        let decimals = format!(".{:03}", ms % 1_000);
        text.push_str(decimals.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Reads exactly what [`format_utc`] writes.
pub(super) fn parse_utc(text: &str) -> Option<Wall> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    let ms = match text.get(20..)?.strip_suffix('Z') {
        Some(decimals) if decimals.len() <= 3 => format!("{decimals:0<3}").parse::<i64>().ok()?,
        Some(_) => return None,
        None => 0,
    };
    let at = Wall(days * MS_PER_DAY + seconds * 1_000 + ms);
    // The one test that no other text passes, whatever the arithmetic above made of it.
    (format_utc(at) == text).then_some(at)
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The day counted from 1970-01-01, for a year of up to four digits.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn moments_have_one_text() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_709_210_096_500, "2024-02-29T12:34:56.5Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (MIN.0, ZERO_TIME),
            (MAX.0, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format_utc(Wall(ms)), text);
            assert_eq!(parse_utc(text), Some(Wall(ms)), "{text}");
        }
        assert_eq!(format_utc(Wall(i64::MIN)), ZERO_TIME);
        assert_eq!(format_utc(Wall(i64::MAX)), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn no_other_text_is_read() {
        for text in [
            "",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.0Z",
            "2024-01-01T00:00:00.50Z",
            "2024-01-01T00:00:00.1234Z",
            "2024-01-01T00:00:00+00:00",
            "2024-01-01t00:00:00z",
            "2024-01-01T00:00:00",
            "+024-01-01T00:00:00Z",
            "2024-01-01T-1:00:00Z",
            "2024-01-01T00:00:00Zé",
            "éééééééééééééééééé",
        ] {
            assert_eq!(parse_utc(text), None, "{text:?}");
        }
    }

    #[test]
    fn random_moments_read_back_as_themselves() {
        for seed in 0..5_000 {
            let mut rng = Rng::new(seed);
            let at = Wall(MIN.0 + rng.below((MAX.0 - MIN.0) as u64) as i64);
            assert_eq!(parse_utc(&format_utc(at)), Some(at), "seed {seed}");
        }
    }
}
