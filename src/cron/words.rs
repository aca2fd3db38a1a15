//! The schedules that begin with `@`.

use super::Kind;
use super::civil::parse_rfc3339;
use super::parse::{Word, parse_plain};
use crate::text::{Diagnostic, escape_control, nearest};
use std::num::NonZeroU64;

/// The words that stand for five fields.
const CALENDARS: [(&str, &str); 8] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@minutely", "* * * * *"),
];

/// The other words that are understood.
const OTHERS: [&str; 3] = ["@every", "@at", "@manually"];

/// Understands `word`, in any case, with what follows it.
pub(super) fn parse_word(word: Word<'_>, arguments: &[Word<'_>]) -> Result<Kind, Diagnostic> {
    let name = word.text.to_ascii_lowercase();
    let kind = match name.as_str() {
        "@every" => return every(word, arguments),
        "@at" => return at(word, arguments),
        "@manually" => Kind::Manually,
        "@reboot" => {
            return Err(word.complaint(
                "@reboot is not supported: a job belongs to the cluster, which does not start \
                 when one machine does; use that machine's own service manager",
            ));
        }
        name => match CALENDARS.iter().find(|(known, _)| *known == name) {
            Some((_, fields)) => Kind::Calendar(parse_plain(fields)?),
            None => return Err(unknown(word)),
        },
    };
    match arguments.first() {
        None => Ok(kind),
        Some(extra) => Err(extra.complaint(format!("{name} takes nothing after it"))),
    }
}

fn unknown(word: Word<'_>) -> Diagnostic {
    let shown = escape_control(word.text);
    let known = CALENDARS.iter().map(|(name, _)| *name).chain(OTHERS);
    word.complaint(match nearest(word.text, known.clone()) {
        Some(meant) => format!("unknown word \"{shown}\"; did you mean {meant}?"),
        None => {
            let known: Vec<&str> = known.collect();
            format!("unknown word \"{shown}\"; there are {}", known.join(", "))
        }
    })
}

fn every(word: Word<'_>, arguments: &[Word<'_>]) -> Result<Kind, Diagnostic> {
    let duration = only("@every", "an interval such as 1h30m", word, arguments)?;
    match go_duration(duration.text) {
        Ok(nanos) => match NonZeroU64::new(nanos / SECOND) {
            Some(seconds) => Ok(Kind::Every(seconds)),
            None => {
                let shown = duration.text;
                Err(duration.complaint(format!("@every {shown} is below one second")))
            }
        },
        Err((at, wrong)) => {
            let start = duration.start + at;
            let message = format!("@every: {wrong}; write an interval such as 1h30m or 45s");
            Err(Diagnostic::new(start, duration.end().max(start), message))
        }
    }
}

fn at(word: Word<'_>, arguments: &[Word<'_>]) -> Result<Kind, Diagnostic> {
    let time = only("@at", "a time such as 2026-01-02T03:04:05Z", word, arguments)?;
    match parse_rfc3339(time.text) {
        Some(wall) => Ok(Kind::At(wall.second())),
        None => {
            let shown = escape_control(time.text);
            Err(time.complaint(format!(
                "@at: \"{shown}\" is not an RFC 3339 time; write one such as \
                 2026-01-02T03:04:05Z or 2026-01-02T03:04:05+01:00"
            )))
        }
    }
}

/// The one argument of a word.
fn only<'a>(
    name: &str,
    wanted: &str,
    word: Word<'_>,
    arguments: &[Word<'a>],
) -> Result<Word<'a>, Diagnostic> {
    match arguments {
        [argument] => Ok(*argument),
        [] => {
            Err(Diagnostic::new(word.end(), word.end(), format!("{name} needs {wanted} after it")))
        }
        [_, extra, ..] => Err(extra.complaint(format!("{name} takes {wanted} and nothing more"))),
    }
}

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// Each unit of a duration in nanoseconds; the two spellings of µ are different characters.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

/// Longest interval, in nanoseconds: what Go's type holds, some 292 years.
const DURATION_MAX: u64 = i64::MAX as u64;

/// The nanoseconds of a duration in the syntax of Go's `time.ParseDuration`: numbers with an
/// optional fraction, each with its unit. Or the byte where it goes wrong, and why.
fn go_duration(text: &str) -> Result<u64, (usize, String)> {
    if text.starts_with('-') {
        return Err((0, "an interval is not negative".into()));
    }
    let mut at = usize::from(text.starts_with('+'));
    if text.get(at..) == Some("0") {
        return Ok(0);
    }
    let mut total: u64 = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let number_len = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, rest) = rest.split_at(number_len);
        let unit_len = rest.bytes().take_while(|b| !b.is_ascii_digit() && *b != b'.').count();
        let (unit, rest) = rest.split_at(unit_len);
        if !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err((at, "a number is missing".into()));
        }
        let unit_at = at + number_len;
        let Some(&(_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let shown = escape_control(unit);
            return Err(match unit {
                "" => (unit_at, format!("\"{number}\" has no unit (ns, us, ms, s, m or h)")),
                _ => (unit_at, format!("unknown unit \"{shown}\" (ns, us, ms, s, m or h)")),
            });
        };
        let part = scaled(number, nanos).map_err(|wrong| (at, wrong))?;
        total = match total.checked_add(part) {
            Some(total) if total <= DURATION_MAX => total,
            _ => return Err((at, "the interval is above 292 years".into())),
        };
        if rest.is_empty() {
            return Ok(total);
        }
        at = unit_at + unit_len;
    }
}

/// `number`, digits with at most one point, times `unit`; what is below a nanosecond is dropped.
fn scaled(number: &str, unit: u64) -> Result<u64, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') {
        return Err(format!("\"{number}\" has two points"));
    }
    let digits = |text: &str| text.bytes().map(|byte| u64::from(byte - b'0')).collect::<Vec<_>>();
    let mut sum: u64 = 0;
    for digit in digits(whole) {
        sum = sum.saturating_mul(10).saturating_add(digit);
    }
    sum = sum.saturating_mul(unit);
    // Digits further right cannot make a whole nanosecond of any unit.
    let (mut numerator, mut denominator) = (0_u128, 1_u128);
    for digit in digits(fraction).into_iter().take(18) {
        numerator = numerator * 10 + u128::from(digit);
        denominator *= 10;
    }
    let part = numerator * u128::from(unit) / denominator;
    Ok(sum.saturating_add(u64::try_from(part).unwrap_or(u64::MAX)))
}
