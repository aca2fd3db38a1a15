//! Whether the wall clock is to be believed.
//!
//! Steps are seen by comparing how far the two clocks went between two looks. A step back of more
//! than three hours is a correction, as cron(8) has it; a smaller one only makes the node wait
//! until the marks are passed. A clock that is wrong when the node starts gets two minutes, for
//! NTP to set it, before it is believed. A leader looks at the clocks of the other voters, too, and
//! believes its own only while it is near their median.

use std::time::Duration;

use crate::mistake::{Mistake, made};
use crate::time::{Mono, Now, Second, Wall};

/// No clock that is right shows less than this: 2026-01-01T00:00:00Z.
pub const RELEASE: Wall = Wall(1_767_225_600_000);
/// A step back beyond this is a correction.
const CORRECTION_MS: i64 = 3 * 3_600 * 1_000;
/// How far the clocks may drift apart between two looks without being called a step.
const STEP_MS: i64 = 1_000;
/// How long a wrong clock at the start has to be set.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A leader whose clock differs by more from the voters' decides nothing.
pub(super) const OFF_MS: i64 = 5_000;
/// When it has done so for this long, another is to lead.
const OFF_PATIENCE: Duration = Duration::from_secs(10);
/// A leader claims nothing that is due later than the voters' clocks say, and this.
const AHEAD_MS: i64 = 1_000;

/// What a look at the clocks shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Nothing special.
    Fine,
    /// The wall clock has been stepped; what lies between was not watched.
    Stepped,
    /// The marks are to be lowered to this second.
    Correct(Second),
}

/// The guard of one node's wall clock.
#[derive(Debug)]
pub(super) struct ClockGuard {
    last: Now,
    /// The latest wall time known when the distrust began.
    found: Wall,
    /// Until when nothing is fired, because the clock was wrong at the start.
    distrust_until: Option<Mono>,
    /// What the voters' clocks say, while this node leads and knows more than its own.
    voters: Option<Wall>,
    /// Since when the clock is off by too much from that.
    off_since: Option<Mono>,
}

impl ClockGuard {
    /// A guard that starts at `now`; `newest` is the latest wall time that the journal has seen.
    pub(super) fn new(newest: Wall, now: Now) -> Self {
        let wrong = now.wall < RELEASE || newest.ms_since(now.wall) > CORRECTION_MS;
        ClockGuard {
            last: now,
            found: newest,
            distrust_until: wrong.then(|| now.mono + PATIENCE),
            voters: None,
            off_since: None,
        }
    }

    /// Looks at the clocks. Call at every turn; `newest` is what is applied of it, and a correction
    /// waits until `may_correct`.
    pub(super) fn look(&mut self, newest: Wall, now: Now, may_correct: bool) -> Look {
        let went = i64::try_from(now.mono.since(self.last.mono).as_millis()).unwrap_or(i64::MAX);
        let last = std::mem::replace(&mut self.last, now);
        let step = now.wall.ms_since(last.wall).saturating_sub(went);
        // Right after a start the newest records are found and not applied yet.
        let newest = newest.max(self.found);
        let wrong = now.wall < RELEASE || newest.ms_since(now.wall) > CORRECTION_MS;
        let may_correct = may_correct && self.off_since.is_none();
        match self.distrust_until {
            // NTP has set it.
            Some(_) if !wrong => {
                self.distrust_until = None;
                Look::Stepped
            }
            Some(_) if made(Mistake::FutureClockBlocks) => Look::Fine,
            Some(until) if now.mono < until || !may_correct => Look::Fine,
            Some(_) => {
                self.distrust_until = None;
                Look::Correct(now.wall.second())
            }
            None if step < -STEP_MS && may_correct && made(Mistake::BackStepRefires) => {
                Look::Correct(now.wall.second())
            }
            None if step < -CORRECTION_MS && may_correct => Look::Correct(now.wall.second()),
            None if step < -CORRECTION_MS => {
                // What this clock showed alone, nobody has decided anything by.
                (self.found, self.distrust_until) = (newest, Some(now.mono));
                Look::Stepped
            }
            None if step.abs() > STEP_MS => Look::Stepped,
            None => Look::Fine,
        }
    }

    /// Notes what the voters' clocks say now, of which this is one; `None` when this node does not
    /// lead or knows of no other. Call before [`ClockGuard::look`].
    pub(super) fn compare(&mut self, voters: Option<Wall>, now: Now) {
        let off = voters.map(|wall| now.wall.ms_since(wall).saturating_abs());
        self.voters = voters;
        self.off_since = match off.is_some_and(|off| off > OFF_MS) {
            true => self.off_since.or(Some(now.mono)),
            false => None,
        };
    }

    /// The time by which a leader decides what is due: its own, but never much later than what the
    /// voters' clocks say.
    pub(super) fn deciding(&self, now: Now) -> Now {
        let latest = self.voters.map(|wall| Wall(wall.0.saturating_add(AHEAD_MS)));
        Now { wall: latest.map_or(now.wall, |latest| latest.min(now.wall)), ..now }
    }

    /// By how much the clock was ahead of the time by which this node decides, when it was looked
    /// at last.
    pub(super) fn ahead_ms(&self) -> i64 {
        self.last.wall.ms_since(self.deciding(self.last).wall)
    }

    /// What the voters' clocks say, when this one has been off so long that another should lead.
    pub(super) fn is_off(&self, now: Now) -> Option<Wall> {
        let long = self.off_since.is_some_and(|at| now.mono.since(at) >= OFF_PATIENCE);
        self.voters.filter(|_| long)
    }

    /// Whether the clock may decide what is due.
    pub(super) fn is_trusted(&self) -> bool {
        self.distrust_until.is_none() && self.off_since.is_none()
    }

    /// When [`ClockGuard::look`] must be called at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        // Later it is looked at whenever a voter answers.
        let off = self.off_since.map(|at| at + OFF_PATIENCE).filter(|&at| at > self.last.mono);
        self.distrust_until.into_iter().chain(off).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(mono_s: u64, wall: i64) -> Now {
        Now { mono: Mono(mono_s * 1_000_000_000), wall: Wall(wall) }
    }

    #[test]
    fn steps_are_seen_and_only_great_ones_back_are_corrections() {
        let start = RELEASE.0 + 1_000 * HOUR;
        for (step, look) in [
            (0, Look::Fine),
            (999, Look::Fine),
            (-999, Look::Fine),
            (1_001, Look::Stepped),
            (-1_001, Look::Stepped),
            (HOUR, Look::Stepped),
            (-3 * HOUR, Look::Stepped),
            (-3 * HOUR - 1, Look::Correct(Wall(start + 10_000 - 3 * HOUR - 1).second())),
        ] {
            let mut guard = ClockGuard::new(Wall(start), at(100, start));
            let now = at(110, start + 10_000 + step);
            assert_eq!(guard.look(Wall(start), now, true), look, "a step of {step} ms");
            assert!(guard.is_trusted());
            assert_eq!(guard.look(Wall(0), at(111, now.wall.0 + 1_000), true), Look::Fine);
        }
    }

    #[test]
    fn a_clock_wrong_at_the_start_gets_two_minutes() {
        let newest = Wall(RELEASE.0 + 1_000 * HOUR);
        for wrong in [0, newest.0 - 4 * HOUR] {
            let mut guard = ClockGuard::new(newest, at(0, wrong));
            assert!(!guard.is_trusted());
            assert_eq!(guard.look(newest, at(119, wrong + 119_000), true), Look::Fine);
            assert!(!guard.is_trusted());
            let late = at(120, wrong + 120_000);
            assert_eq!(guard.look(newest, late, true), Look::Correct(late.wall.second()));
            assert!(guard.is_trusted());

            let mut guard = ClockGuard::new(newest, at(0, wrong));
            assert_eq!(guard.look(newest, at(60, newest.0), true), Look::Stepped, "set by NTP");
            assert!(guard.is_trusted());
        }
        assert!(ClockGuard::new(newest, at(0, newest.0 - 3 * HOUR)).is_trusted());
    }

    #[test]
    fn what_was_found_counts_before_it_is_applied_and_a_correction_waits_for_the_office() {
        let newest = Wall(RELEASE.0 + 1_000 * HOUR);
        let wrong = newest.0 - 4 * HOUR;
        let mut guard = ClockGuard::new(newest, at(0, wrong));
        // Nothing is applied yet, and nobody leads.
        assert_eq!(guard.look(Wall(0), at(1, wrong + 1_000), false), Look::Fine);
        assert!(!guard.is_trusted());
        assert_eq!(guard.look(Wall(0), at(200, wrong + 200_000), false), Look::Fine);
        assert!(!guard.is_trusted());
        let late = at(201, wrong + 201_000);
        assert_eq!(guard.look(newest, late, true), Look::Correct(late.wall.second()));
        assert!(guard.is_trusted());

        // A great step back before the office is corrected when it begins.
        let mut guard = ClockGuard::new(newest, at(0, newest.0));
        assert_eq!(guard.look(Wall(0), at(1, wrong), false), Look::Stepped);
        assert!(!guard.is_trusted());
        let next = at(2, wrong + 1_000);
        assert_eq!(guard.look(newest, next, true), Look::Correct(next.wall.second()));
    }

    #[test]
    fn a_leader_believes_its_clock_only_near_the_voters() {
        let noon = RELEASE.0 + 12 * HOUR;
        let mut guard = ClockGuard::new(Wall(noon), at(0, noon));
        // How far it is ahead of the voters, whether it is believed, and by how much the time by
        // which it decides is ahead of theirs.
        for (seconds, ahead, trusted, decides) in [
            (1, 0, true, 0),
            (2, 900, true, 900),
            (3, 5_000, true, 1_000),
            (4, -5_000, true, -5_000),
            (5, 5_001, false, 1_000),
            (6, HOUR, false, 1_000),
            (7, 0, true, 0),
            (8, -5_001, false, -5_001),
        ] {
            let voters = noon + 1_000 * seconds as i64;
            let now = at(seconds, voters + ahead);
            guard.compare(Some(Wall(voters)), now);
            assert_eq!(guard.is_trusted(), trusted, "{ahead}");
            assert_eq!(guard.deciding(now).wall.0 - voters, decides, "{ahead}");
            assert_eq!(guard.is_off(now), None);
        }
        let now = at(18, noon + HOUR);
        guard.compare(Some(Wall(noon)), now);
        assert_eq!(guard.is_off(now), Some(Wall(noon)), "for ten seconds");
        // Four hours back, and the others do not agree.
        assert_eq!(guard.look(Wall(noon), at(19, noon - 4 * HOUR), true), Look::Stepped);
        guard.compare(None, now);
        assert_eq!((guard.is_off(now), guard.deciding(now)), (None, now));
    }
}
