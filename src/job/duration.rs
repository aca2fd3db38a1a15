//! Durations as Go writes them: `90s`, `1m30s`, `1.5h`, printed back in one canonical way.
//!
//! The grammar is that of Go's `time.ParseDuration`, without a sign that makes time run backwards;
//! the printed form is that of `time.Duration.String`. Bounds are the caller's.

use std::fmt;
use std::time::Duration;

/// Longest text of a duration, in bytes.
pub const TEXT_MAX_BYTES: usize = 64;

/// Go's own largest duration, about 292 years.
const MAX_NANOS: u128 = i64::MAX as u128;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Why a text is no duration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DurationError {
    /// Not of the form number and unit, repeated.
    Syntax,
    /// Below zero.
    Negative,
    /// Beyond about 292 years.
    TooLong,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DurationError::Syntax => "is not a duration; write it like \"90s\" or \"1m30s\"",
            DurationError::Negative => "is negative; a duration is 0 or more",
            DurationError::TooLong => "is too long for a duration",
        })
    }
}

impl std::error::Error for DurationError {}

/// Reads a Go duration. A number alone is an error, except `0`.
///
/// # Errors
/// Says what is wrong; fits after the quoted text.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(DurationError::Syntax);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut rest = unsigned;
    let mut nanos: u128 = 0;
    if rest == "0" {
        rest = "0s";
    }
    if rest.is_empty() {
        return Err(DurationError::Syntax);
    }
    while !rest.is_empty() {
        let (term, after) = term(rest)?;
        nanos = nanos.saturating_add(term);
        rest = after;
    }
    if text.starts_with('-') && nanos > 0 {
        return Err(DurationError::Negative);
    }
    from_nanos(nanos)
}

/// A number of seconds, as JSON gives it.
///
/// # Errors
/// When it is negative or too long.
pub fn from_seconds(seconds: f64) -> Result<Duration, DurationError> {
    if seconds < 0.0 {
        return Err(DurationError::Negative);
    }
    // `as` saturates, so that what is too long stays too long.
    from_nanos((seconds * NANOS_PER_SECOND as f64).round() as u128)
}

/// `duration` as Go prints it: `0s`, `1.5s`, `250ms`, `1h0m0s`.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let nanos = u64::from(duration.subsec_nanos());
    if seconds == 0 {
        let (unit, name) = match nanos {
            0 => return "0s".into(),
            1..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{name}", decimal(nanos, unit));
    }
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let rest = decimal(seconds % 60 * NANOS_PER_SECOND + nanos, NANOS_PER_SECOND);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        (_, _) => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// `value / unit` in decimals, without trailing zeros; `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// The first number and unit of `text` in nanoseconds, and what follows them.
fn term(text: &str) -> Result<(u128, &str), DurationError> {
    let (whole, after) = digits(text);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Syntax);
    }
    let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
    let (name, after) = after.split_at(end);
    let unit: u128 = match name {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(DurationError::Syntax),
    };
    // What is below a nanosecond is dropped, as in Go; 18 digits hold more than that of an hour.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let part = number(fraction) * unit / 10u128.pow(fraction.len() as u32);
    let nanos = number(whole).saturating_mul(unit).saturating_add(part);
    Ok((nanos, after))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// Saturates: at most 64 digits get here.
fn number(digits: &str) -> u128 {
    digits
        .bytes()
        .fold(0u128, |sum, digit| sum.saturating_mul(10).saturating_add(u128::from(digit - b'0')))
}

fn from_nanos(nanos: u128) -> Result<Duration, DurationError> {
    if nanos > MAX_NANOS {
        return Err(DurationError::TooLong);
    }
    let nanos = u64::try_from(nanos).map_err(|_| DurationError::TooLong)?;
    Ok(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn durations_are_read_and_printed_as_go_does() {
        use DurationError::{Negative, Syntax, TooLong};
        for (text, printed) in [
            ("0", Ok("0s")),
            ("0s", Ok("0s")),
            ("-0s", Ok("0s")),
            ("+5s", Ok("5s")),
            ("90s", Ok("1m30s")),
            ("1m30s", Ok("1m30s")),
            ("30s1m", Ok("1m30s")),
            ("60m", Ok("1h0m0s")),
            ("1.5h", Ok("1h30m0s")),
            (".5s", Ok("500ms")),
            ("5.s", Ok("5s")),
            ("1.5s", Ok("1.5s")),
            ("100ms", Ok("100ms")),
            ("1us", Ok("1µs")),
            ("1µs", Ok("1µs")),
            ("1μs", Ok("1µs")),
            ("1500ns", Ok("1.5µs")),
            ("7ns", Ok("7ns")),
            ("0.3ns", Ok("0s")),
            ("0.0000000001h", Ok("360ns")),
            ("1h0.25m3.5s", Ok("1h0m18.5s")),
            ("2562047h47m16.854775807s", Ok("2562047h47m16.854775807s")),
            ("2562047h47m16.854775808s", Err(TooLong)),
            ("99999999999999999999999999999999999999999999999h", Err(TooLong)),
            ("-5s", Err(Negative)),
            ("", Err(Syntax)),
            ("5", Err(Syntax)),
            ("s", Err(Syntax)),
            (".s", Err(Syntax)),
            ("5x", Err(Syntax)),
            ("5 s", Err(Syntax)),
            ("1d", Err(Syntax)),
            ("5s ", Err(Syntax)),
            ("--5s", Err(Syntax)),
            ("5é", Err(Syntax)),
        ] {
            let got = parse(text).map(format);
            assert_eq!(got, printed.map(str::to_owned), "{text:?}");
        }
        assert_eq!(parse(&format!("{}1s", "0".repeat(TEXT_MAX_BYTES))), Err(Syntax));
    }

    #[test]
    fn seconds_are_read_from_numbers() {
        assert_eq!(from_seconds(1.5), Ok(Duration::from_millis(1_500)));
        assert_eq!(from_seconds(0.0), Ok(Duration::ZERO));
        assert_eq!(from_seconds(-1.0), Err(DurationError::Negative));
        assert_eq!(from_seconds(1e300), Err(DurationError::TooLong));
    }

    #[test]
    fn every_printed_duration_reads_back_as_itself() {
        for seed in 0..5_000 {
            let mut rng = Rng::new(seed);
            let nanos = rng.next_u64() >> (1 + rng.below(63));
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse(&format(duration)), Ok(duration), "seed {seed}");
        }
    }
}
