//! The next due time, through every kind of clock change.
//!
//! A schedule with a wild hour field is due at each instant whose local time matches: it follows
//! elapsed time. Any other is due, for each matching local time, at the *first instant whose local
//! clock shows that time or a later one*. That one sentence is the whole rule of cron(8): it gives
//! a skipped time the first instant after the gap, a repeated time its first occurrence, and one
//! fire to those that meet, whatever the size of the shift.

use super::calendar::Calendar;
use super::civil::{FIRST, LAST};
use super::zone::{OFFSET_MAX, Zone};
use super::{Kind, Place, Schedule};
use crate::time::Second;
use std::num::NonZeroU64;

/// Longest search, in seconds: 400 years, in which the calendar repeats.
const HORIZON: i64 = 146_097 * 86_400;

/// Two instants further apart than this show local times in the same order.
const SHIFT_MAX: i64 = 2 * OFFSET_MAX;

impl Schedule {
    /// The first due time strictly later than `after`; `None` when there is none in 400 years or
    /// before the year 9999 ends. Takes a microsecond or so, some more where the search crosses
    /// years, and a millisecond for a wild hour that falls into the same gap year after year.
    pub fn next_after(&self, after: Second, place: &Place<'_>) -> Option<Second> {
        let after = after.clamp(FIRST.plus(-1), LAST);
        let next = match &self.0 {
            Kind::Calendar(calendar) if calendar.spreads().is_empty() => {
                calendar.next_after(after.0, place.zone)?
            }
            Kind::Calendar(calendar) => {
                calendar.resolve(place.name).next_after(after.0, place.zone)?
            }
            Kind::Every(interval) => next_multiple(after, *interval, place.anchor)?,
            Kind::At(at) => at.0,
            Kind::Manually => return None,
        };
        (next > after.0 && next <= LAST.0).then_some(Second(next))
    }
}

/// The first of `anchor + interval`, `anchor + 2 * interval` … after `after`.
fn next_multiple(after: Second, interval: NonZeroU64, anchor: Second) -> Option<i64> {
    let interval = i64::try_from(interval.get()).ok()?;
    let anchor = anchor.clamp(FIRST, LAST);
    let passed = (after - anchor).max(0) / interval;
    interval.checked_mul(passed.checked_add(1)?)?.checked_add(anchor.0)
}

impl Calendar {
    fn next_after(&self, after: i64, zone: &Zone) -> Option<i64> {
        if self.wild_hours { self.next_wild(after, zone) } else { self.next_fixed(after, zone) }
    }

    /// The first instant later than `after` whose local time matches.
    fn next_wild(&self, after: i64, zone: &Zone) -> Option<i64> {
        let mut at = after + 1;
        while at <= after.saturating_add(HORIZON) {
            let span = zone.span_at(at);
            let local = self.first_local(at + span.offset)?;
            if local - span.offset < span.end {
                return Some(local - span.offset);
            }
            // Nothing matches from this span's local time up to `local`. If the span is long, the
            // local clock never returns to before it, so the spans up to `local` are skipped too.
            let skip = if span.end - at >= SHIFT_MAX { local - OFFSET_MAX } else { span.end };
            at = span.end.max(skip);
        }
        None
    }

    /// The first instant later than `after` at which the local clock reaches, for the first time,
    /// a matching time or passes it.
    fn next_fixed(&self, after: i64, zone: &Zone) -> Option<i64> {
        // The latest local time that any clock has shown up to `after`: what matches up to it has
        // had its fire.
        let mut at = after - SHIFT_MAX;
        let mut span = zone.span_at(at);
        let mut shown = i64::MIN;
        loop {
            shown = shown.max(after.min(span.end - 1) + span.offset);
            if span.end > after {
                break;
            }
            at = span.end;
            span = zone.span_at(at);
        }
        let wanted = self.first_local(shown + 1)?;
        at = after + 1;
        loop {
            let reached = at.max(wanted - span.offset);
            if reached < span.end {
                return Some(reached);
            }
            // Up to here no clock can have reached `wanted`, which skips the spans between.
            at = span.end.max(wanted - OFFSET_MAX);
            span = zone.span_at(at);
        }
    }
}
