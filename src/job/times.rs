//! Moments as the stored form of a job holds them: RFC 3339 in UTC, one text for each moment.

use crate::cron::civil;
use crate::time::Wall;

/// What both eras of Dkron show for "not yet".
pub(super) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
/// 9999-12-31T23:59:59.999Z.
pub(super) const MAX: Wall = Wall(253_402_300_799_999);

/// Longest text of a time that is looked at, in bytes.
pub(super) const TEXT_MAX_BYTES: usize = 64;

/// `at` in UTC, with milliseconds only if there are some; clamped to the years 1–9999.
pub(super) fn format_utc(at: Wall) -> String {
    civil::format_utc(at)
}

/// Reads exactly what [`format_utc`] writes.
pub(super) fn parse_utc(text: &str) -> Option<Wall> {
    let at = civil::parse_rfc3339(text)?;
    // The one test that no other spelling of the moment passes.
    (format_utc(at) == text).then_some(at)
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
            (1_709_210_096_500, "2024-02-29T12:34:56.500Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (-62_135_596_800_000, ZERO_TIME),
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
            "2024-01-01T00:00:00.5Z",
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
            let at =
                Wall(-62_135_596_800_000 + rng.below((MAX.0 - -62_135_596_800_000) as u64) as i64);
            assert_eq!(parse_utc(&format_utc(at)), Some(at), "seed {seed}");
        }
    }
}
