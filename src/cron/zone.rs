//! Time zones, as offsets from UTC over stretches of time.
//!
//! Only lookups by instant are asked of the time-zone crate. What happens to a local time that is
//! skipped or that occurs twice is decided in `next.rs`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt;

/// Largest TZif file read, in bytes; the largest in use have some 4 KiB.
pub const TZIF_MAX_BYTES: usize = 256 * 1024;

/// Longest name of a zone, in bytes; the longest in use has 32.
pub const ZONE_NAME_MAX_BYTES: usize = 64;

/// No two local clocks differ by more, and none is further from UTC, in seconds.
pub(super) const OFFSET_MAX: i64 = 26 * 3_600;

/// Where zones come from: the agent reads the system's files, tests have tables.
pub trait Zones {
    /// The zone of that IANA name, such as `Europe/Paris`; `None` when it is unknown.
    fn zone(&self, name: &str) -> Option<Zone>;

    /// The release of the data, such as `2026a`; `None` when it does not say.
    fn version(&self) -> Option<String> {
        None
    }
}

impl Zones for BTreeMap<String, Zone> {
    fn zone(&self, name: &str) -> Option<Zone> {
        self.get(name).cloned()
    }
}

/// A time zone; cheap to clone.
#[derive(Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated Universal Time, which never shifts.
    pub fn utc() -> Zone {
        Zone(TimeZone::UTC)
    }

    /// The zone that a TZif file (RFC 9636) describes.
    ///
    /// # Errors
    /// One clause that fits after the file's name.
    pub fn from_tzif(name: &str, bytes: &[u8]) -> Result<Zone, String> {
        if bytes.len() > TZIF_MAX_BYTES {
            let len = bytes.len();
            return Err(format!("is {len} bytes long, at most {TZIF_MAX_BYTES} are read"));
        }
        match TimeZone::tzif(name, bytes) {
            Ok(zone) => Ok(Zone(zone)),
            Err(error) => Err(format!("is not a time zone file: {error}")),
        }
    }

    /// The name it was made with; `UTC` for [`Zone::utc`].
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The stretch of one offset that `second` lies in. Neighbouring spans may have the same
    /// offset: some transitions change only a zone's abbreviation.
    pub(super) fn span_at(&self, second: i64) -> Span {
        let at = timestamp(second);
        let offset = i64::from(self.0.to_offset(at).seconds());
        // A rule that ends with the year may be reported a nanosecond before the second it means.
        // A file without a rule for the future may be answered with a transition of the past.
        let end = self.0.following(at).next().map(|transition| {
            let at = transition.timestamp();
            at.as_second() + i64::from(at.subsec_nanosecond() > 0)
        });
        Span { offset, end: end.filter(|&end| end > second).unwrap_or(i64::MAX) }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

/// Seconds of one offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    /// Local time minus UTC, in seconds.
    pub(super) offset: i64,
    /// The first second of the next span; `i64::MAX` when there is none.
    pub(super) end: i64,
}

/// Says what is wrong with `name` as the name of a zone: it will be part of a file's path.
///
/// # Errors
/// One clause that fits after "time zone: ".
pub fn check_zone_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("must not be empty; write a name such as Europe/Paris".into());
    }
    if name.len() > ZONE_NAME_MAX_BYTES {
        let len = name.len();
        return Err(format!("is {len} bytes long, at most {ZONE_NAME_MAX_BYTES} are allowed"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    if let Some((at, c)) = name.char_indices().find(|&(_, c)| !allowed(c)) {
        let shown = crate::text::escape_control(&c.to_string());
        return Err(format!(
            "has '{shown}' at character {}; write a name such as Europe/Paris",
            at + 1
        ));
    }
    if name.split('/').any(str::is_empty) {
        return Err("has an empty part; write a name such as Europe/Paris".into());
    }
    Ok(())
}

fn timestamp(second: i64) -> Timestamp {
    let end = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(second).unwrap_or(end)
}
