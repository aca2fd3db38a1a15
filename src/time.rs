//! Points in time, as plain numbers.
//!
//! Nothing here reads a clock: the shells do, through `sys::clock`, and hand a [`Now`] to every
//! machine. Civil time (years, months, zones) is the `cron` room's alone.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds in a second, for the conversions between [`Wall`] and [`Second`].
pub const MS_PER_SECOND: i64 = 1_000;

/// A moment of the machine's monotonic clock (`CLOCK_BOOTTIME`, which counts suspend), in
/// nanoseconds since an arbitrary start. Never compared between machines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    /// Saturates: a deadline beyond 584 years is never reached anyway.
    fn add(self, wait: Duration) -> Mono {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Mono(self.0.saturating_add(nanos))
    }
}

/// A moment of the wall clock, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Wall(pub i64);

impl Wall {
    /// The whole second that this moment lies in.
    pub fn second(self) -> Second {
        Second(self.0.div_euclid(MS_PER_SECOND))
    }

    /// Milliseconds from `earlier` to `self`; negative when `earlier` is later.
    pub fn ms_since(self, earlier: Wall) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Wall {
    type Output = Wall;

    fn add(self, wait: Duration) -> Wall {
        Wall(self.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// A whole second of wall time since 1970-01-01T00:00:00Z: what a schedule names. A due time is
/// always one of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Second(pub i64);

impl Second {
    /// The first moment of this second; saturates at the ends of [`Wall`].
    pub fn wall(self) -> Wall {
        Wall(self.0.saturating_mul(MS_PER_SECOND))
    }

    /// `self` moved by `seconds`, which may be negative; saturates.
    pub fn plus(self, seconds: i64) -> Second {
        Second(self.0.saturating_add(seconds))
    }
}

impl Sub for Second {
    type Output = i64;

    /// Seconds from `earlier` to `self`; saturates.
    fn sub(self, earlier: Second) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The two clocks read together, as a machine is given them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For waits and deadlines inside this process.
    pub mono: Mono,
    /// For due times, and for what people read.
    pub wall: Wall,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_time_before_1970_lies_in_the_second_below_it() {
        for (ms, second) in [(0, 0), (999, 0), (1_000, 1), (-1, -1), (-1_000, -1), (-1_001, -2)] {
            assert_eq!(Wall(ms).second(), Second(second), "{ms} ms");
        }
    }

    #[test]
    fn sums_saturate_at_the_ends() {
        assert_eq!(Mono(u64::MAX) + Duration::from_secs(1), Mono(u64::MAX));
        assert_eq!(Wall(i64::MAX) + Duration::MAX, Wall(i64::MAX));
        assert_eq!(Second(i64::MAX).wall(), Wall(i64::MAX));
        assert_eq!(Second(i64::MIN).plus(-1), Second(i64::MIN));
        assert_eq!(Second(i64::MIN) - Second(1), i64::MIN);
        assert_eq!(Mono(1).since(Mono(2)), Duration::ZERO);
    }
}
