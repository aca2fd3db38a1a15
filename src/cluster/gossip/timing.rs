//! How long things take, and what is due when.

use crate::rng::Rng;
use crate::time::Mono;
use std::collections::BTreeMap;
use std::time::Duration;

/// The times of the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timing {
    /// A member by chance and the neighbour are probed in each such period (SWIM, section 3.1).
    pub probe_every: Duration,
    /// Who does not answer is pinged again after this: twice alone, then with the help of others.
    /// A quarter of the period.
    pub ping_every: Duration,
    /// A suspicion lasts so long, times log10 of the nodes where that is more than 1.
    pub suspicion: Duration,
    /// News is told at once, and this often while it lasts, beside what rides along with probes.
    pub spread_every: Duration,
    /// Lists are compared with a member by chance.
    pub list_every: Duration,
    /// Lists are compared with a dead member and an address to join by.
    pub heal_every: Duration,
    /// An address to join by is tried while nobody is known.
    pub join_every: Duration,
    /// A description that did not come is asked for again.
    pub ask_every: Duration,
    /// And no sooner than this while they do come.
    pub ask_pause: Duration,
    /// A live member that nobody describes for so long is taken for an invention.
    pub undescribed: Duration,
    /// Between two rounds of goodbyes.
    pub goodbye_every: Duration,
    /// Who is gone is forgotten after this.
    pub forget: Duration,
    /// Who comes so late to its own deadline was asleep, and what it missed proves nothing.
    pub late: Duration,
    /// Foreign messages are told of once in this time.
    pub foreign_every: Duration,
}

impl Timing {
    /// The times for one site, all multiplied by `factor`: 1 for a local network.
    pub fn times(factor: u32) -> Timing {
        let times = |ms: u64| Duration::from_millis(ms).saturating_mul(factor.max(1));
        Timing {
            probe_every: times(1_000),
            ping_every: times(250),
            suspicion: times(4_000),
            spread_every: times(200),
            list_every: times(30_000),
            heal_every: times(60_000),
            join_every: times(5_000),
            ask_every: times(1_000),
            ask_pause: times(50),
            undescribed: times(60_000),
            goodbye_every: times(200),
            forget: times(24 * 3_600_000),
            late: times(500),
            foreign_every: times(3_600_000),
        }
    }

    /// How long a suspicion lasts among `nodes`: 4·max(1, log10 n) s.
    pub(super) fn suspicion_among(&self, nodes: usize) -> Duration {
        self.suspicion.mul_f64((nodes as f64).log10().max(1.0))
    }
}

/// A part of `whole` by chance.
pub(super) fn part_of(whole: Duration, rng: &mut Rng) -> Duration {
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.below(nanos.max(1)))
}

/// What happens at its time. What is due together happens in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    Probe,
    Ping,
    Spread,
    Ask,
    List,
    Heal,
    Join,
    Goodbye,
}

/// At most one deadline for each [`Timer`].
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeMap<Timer, Mono>);

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, at: Mono) {
        self.0.insert(timer, at);
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    pub(super) fn is_armed(&self, timer: Timer) -> bool {
        self.0.contains_key(&timer)
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.0.values().copied().min()
    }

    /// Takes the earliest one that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        let (&timer, &at) = self.0.iter().min_by_key(|&(_, at)| at)?;
        (at <= now).then(|| self.disarm(timer))?;
        Some(timer)
    }
}
