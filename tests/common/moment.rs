//! Moments that a seed draws, for tests that kill.

use super::{DEADLINE, wait_until};
use bellwether::rng::Rng;
use std::path::Path;
use std::time::{Duration, Instant};

/// Lets so much time go by, to the microsecond: the moment of a kill is no synchronisation.
pub(crate) fn pass(time: Duration) {
    let end = Instant::now() + time;
    wait_until(DEADLINE, "the moment has come", || {
        while Instant::now() + Duration::from_millis(12) > end {
            if Instant::now() >= end {
                return Some(());
            }
            std::hint::spin_loop();
        }
        None
    });
}

/// Waits until a log or a snapshot is being written anew in `data_dir`, at most so long.
pub(crate) fn wait_for_a_file_beside(data_dir: &Path, longest: Duration) {
    let beside =
        ["runs.tmp", "snapshot.tmp", "journal/segment.tmp"].map(|name| data_dir.join(name));
    let end = Instant::now() + longest;
    // Such a file lives for a moment only, so this looks all the time.
    while Instant::now() < end && !beside.iter().any(|file| file.exists()) {
        std::thread::yield_now();
    }
}

/// The seed of one test; printed when the test fails. `SURVIVAL_SEED` draws the same again.
pub(crate) struct Seed {
    name: String,
    value: u64,
    /// Draws the moments.
    pub(crate) rng: Rng,
    has_passed: bool,
}

impl Seed {
    /// The seed of the test of that name.
    pub(crate) fn new(name: &str) -> Seed {
        let given = std::env::var("SURVIVAL_SEED").ok();
        let drawn = || {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock that is set");
            since.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
        };
        let value = given.map_or_else(drawn, |text| text.parse().expect("SURVIVAL_SEED: a number"));
        Seed { name: name.to_owned(), value, rng: Rng::new(value), has_passed: false }
    }

    /// Nothing is to be printed.
    pub(crate) fn passed(&mut self) {
        self.has_passed = true;
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if !self.has_passed {
            eprintln!("{}: draw the same moments with SURVIVAL_SEED={}", self.name, self.value);
        }
    }
}
