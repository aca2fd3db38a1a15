//! How long the protocol waits.

use std::time::Duration;

/// The times of the protocol, for a local network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// A voter that has heard no leader for a time between this and its double less a quarter
    /// probes: from `election` to `election + election_spread`.
    pub election: Duration,
    /// The width of that range.
    pub election_spread: Duration,
    /// For how long after a leader's last word a voter wants no other.
    pub sticky: Duration,
    /// How long answers to a probe are waited for.
    pub probe: Duration,
    /// How long one who is outranked stands back.
    pub bully: Duration,
    /// The least time that a candidate waits for its votes.
    pub candidacy: Duration,
    /// The most, however slow its disk was: one write that took long must not hold up the next try.
    pub candidacy_max: Duration,
    /// The first wait after a probe or candidacy that led to nothing; it doubles.
    pub back_off: Duration,
    /// The longest such wait.
    pub back_off_max: Duration,
    /// A leader that no majority has answered for so long steps down.
    pub quorum: Duration,
    /// A leader whose own journal does not advance for so long steps down, if others can lead.
    pub stalled: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        let ms = Duration::from_millis;
        Timing {
            heartbeat: ms(250),
            election: ms(1_500),
            election_spread: ms(1_000),
            sticky: ms(1_500),
            probe: ms(500),
            bully: ms(200),
            candidacy: ms(1_000),
            candidacy_max: ms(4_000),
            back_off: ms(250),
            back_off_max: ms(8_000),
            quorum: ms(1_500),
            stalled: ms(10_000),
        }
    }
}

impl Timing {
    /// All times multiplied, for networks that are slower by as much.
    pub fn times(self, factor: u32) -> Timing {
        Timing {
            heartbeat: self.heartbeat * factor,
            election: self.election * factor,
            election_spread: self.election_spread * factor,
            sticky: self.sticky * factor,
            probe: self.probe * factor,
            bully: self.bully * factor,
            candidacy: self.candidacy * factor,
            candidacy_max: self.candidacy_max * factor,
            back_off: self.back_off * factor,
            back_off_max: self.back_off_max * factor,
            quorum: self.quorum * factor,
            stalled: self.stalled * factor,
        }
    }
}
