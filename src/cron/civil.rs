//! Dates and times as people write them.
//!
//! Every function is total: a moment outside the years 0001 to 9999, which no text here can say,
//! is taken for the nearest one inside.

use super::Zone;
use crate::time::{MS_PER_SECOND, Second, Wall};
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};

/// 0001-01-01T00:00:00Z, the first second that can be written.
pub const FIRST: Second = Second(-62_135_596_800);

/// 9999-12-31T23:59:59Z, the last second that can be written.
pub const LAST: Second = Second(253_402_300_799);

const EPOCH: DateTime = Date::constant(1970, 1, 1).to_datetime(Time::MIN);

/// `2026-01-02T03:04:05Z`, with milliseconds (`.006`) only if there are some.
pub fn format_utc(at: Wall) -> String {
    let last = Wall(LAST.wall().0 + MS_PER_SECOND - 1);
    let at = at.clamp(FIRST.wall(), last);
    let local = date_time(at.second().0);
    let mut text = written(local);
    let ms = at.0.rem_euclid(MS_PER_SECOND);
    if ms > 0 {
        text.push_str(&format!(".{ms:03}"));
    }
    text.push('Z');
    text
}

/// `2026-01-02T04:04:05+01:00`: the zone's local time and its offset from UTC. Where the offset
/// has odd seconds (before zones were standardised), both are moved to the whole minute, so that
/// the text still names the same instant.
pub fn format_in(at: Second, zone: &Zone) -> String {
    let at = at.clamp(FIRST, LAST);
    let minutes = zone.span_at(at.0).offset / 60;
    let local = date_time(at.0 + minutes * 60);
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.abs();
    format!("{}{sign}{:02}:{:02}", written(local), minutes / 60, minutes % 60)
}

/// The moment that an RFC 3339 text names, to the millisecond (further digits are dropped).
/// `None` for any other text: the offset is required, second 60 does not exist.
pub fn parse_rfc3339(text: &str) -> Option<Wall> {
    let bytes = text.as_bytes();
    let (stamp, rest) = bytes.split_at_checked("2026-01-02T03:04:05".len())?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b't', time @ ..] = stamp else {
        return None;
    };
    let [h0, h1, b':', n0, n1, b':', s0, s1] = time else {
        return None;
    };
    let year = number(&[*y0, *y1, *y2, *y3])?;
    let month = number(&[*m0, *m1])?;
    let date = Date::new(year, i8::try_from(month).ok()?, two(*d0, *d1)?).ok()?;
    let time = Time::new(two(*h0, *h1)?, two(*n0, *n1)?, two(*s0, *s1)?, 0).ok()?;
    let local = date.to_datetime(time).duration_since(EPOCH).as_secs();
    let (ms, offset) = fraction(rest)?;
    let second = Second(local - offset_seconds(offset)?);
    (FIRST..=LAST).contains(&second).then(|| Wall(second.wall().0 + ms))
}

/// The civil time of a count of seconds since 1970 on the same clock.
pub(super) fn date_time(seconds: i64) -> DateTime {
    let seconds = seconds.clamp(FIRST.0, LAST.0);
    EPOCH.saturating_add(SignedDuration::from_secs(seconds))
}

/// Date and time, in a text with room for what follows. Digit by digit: every answer about a job
/// holds several, and a format string takes ten times as long.
fn written(local: DateTime) -> String {
    let (date, time) = (local.date(), local.time());
    let (century, year) = (date.year() / 100, date.year() % 100);
    let mut text = String::with_capacity("2026-01-02T03:04:05+01:00".len());
    for (number, after) in [
        (i8::try_from(century).unwrap_or_default(), ""),
        (i8::try_from(year).unwrap_or_default(), "-"),
        (date.month(), "-"),
        (date.day(), "T"),
        (time.hour(), ":"),
        (time.minute(), ":"),
        (time.second(), ""),
    ] {
        text.extend(
            [number / 10, number % 10].map(|digit| char::from(b'0' + digit.unsigned_abs())),
        );
        text.push_str(after);
    }
    text
}

/// The milliseconds of a leading `.123…`, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = bytes.strip_prefix(b".") else {
        return Some((0, bytes));
    };
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at_checked(len)?;
    let digit = |at: usize| digits.get(at).map_or(0, |byte| i64::from(byte - b'0'));
    let ms = digit(0) * 100 + digit(1) * 10 + digit(2);
    (len > 0).then_some((ms, rest))
}

fn offset_seconds(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (two(*h0, *h1)?, two(*m0, *m1)?);
            let seconds = i64::from(hours) * 3_600 + i64::from(minutes) * 60;
            let signed = if *sign == b'-' { -seconds } else { seconds };
            (hours < 24 && minutes < 60).then_some(signed)
        }
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<i8> {
    i8::try_from(number(&[tens, ones])?).ok()
}

fn number(digits: &[u8]) -> Option<i16> {
    digits.iter().try_fold(0, |sum: i16, &byte| {
        let digit = char::from(byte).to_digit(10)?;
        sum.checked_mul(10)?.checked_add(i16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_read_and_nothing_else() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-01-02T03:04:05Z", Some(1_767_323_045_000)),
            ("2026-01-02t03:04:05z", Some(1_767_323_045_000)),
            ("2026-01-02T03:04:05.6Z", Some(1_767_323_045_600)),
            ("2026-01-02T03:04:05.6789999Z", Some(1_767_323_045_678)),
            ("2026-01-02T04:34:05+01:30", Some(1_767_323_045_000)),
            ("2026-01-01T21:34:05-05:30", Some(1_767_323_045_000)),
            ("2026-01-02T03:04:05-00:00", Some(1_767_323_045_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            ("1969-12-31T23:59:59.999Z", Some(-1)),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("", None),
            ("2026-01-02", None),
            ("2026-01-02T03:04:05", None),
            ("2026-01-02T03:04Z", None),
            ("2026-01-02 03:04:05Z", None),
            ("2026-01-02T03:04:60Z", None),
            ("2026-01-02T24:00:00Z", None),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-00-01T00:00:00Z", None),
            ("0000-12-31T23:59:59Z", None),
            ("0001-01-01T00:00:00+00:01", None),
            ("9999-12-31T23:59:59-00:01", None),
            ("2026-01-02T03:04:05.Z", None),
            ("2026-01-02T03:04:05,6Z", None),
            ("2026-01-02T03:04:05+0130", None),
            ("2026-01-02T03:04:05+24:00", None),
            ("2026-01-02T03:04:05+01:60", None),
            ("2026-01-02T03:04:05ZZ", None),
            (" 2026-01-02T03:04:05Z", None),
            ("+026-01-02T03:04:05Z", None),
            ("2026-01-02T03:04:0éZ", None),
        ] {
            assert_eq!(parse_rfc3339(text), ms.map(Wall), "{text}");
        }
    }

    #[test]
    fn a_written_moment_is_read_back() {
        let mut rng = crate::rng::Rng::new(0x0C1D);
        let zone = Zone::utc();
        for _ in 0..2_000 {
            let span = LAST.wall().0.abs_diff(FIRST.wall().0);
            let at = Wall(FIRST.wall().0 + i64::try_from(rng.below(span)).unwrap());
            assert_eq!(parse_rfc3339(&format_utc(at)), Some(at), "{at:?}");
            let second = at.second();
            let written = format_in(second, &zone);
            assert_eq!(parse_rfc3339(&written), Some(second.wall()), "{written}");
        }
    }

    #[test]
    fn moments_outside_the_writable_years_are_clamped() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (7, "1970-01-01T00:00:00.007Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MIN, "0001-01-01T00:00:00Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format_utc(Wall(ms)), text);
        }
        assert_eq!(format_in(Second(i64::MIN), &Zone::utc()), "0001-01-01T00:00:00+00:00");
        assert_eq!(format_in(Second(i64::MAX), &Zone::utc()), "9999-12-31T23:59:59+00:00");
    }
}
