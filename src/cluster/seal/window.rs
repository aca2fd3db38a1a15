//! Which of a sender's counters were seen: a bitmap over the newest of them, whose blocks are
//! reused in a circle, so nothing is ever shifted (RFC 6479).

/// How many counters back from the newest one are told apart; older ones count as seen.
pub const WINDOW_COUNTERS: u64 = 1_024;

const BLOCK_BITS: u64 = u64::BITS as u64;

/// One block more than the window needs, for the window may begin inside a block.
const BLOCKS: u64 = WINDOW_COUNTERS / BLOCK_BITS + 1;

/// The window of one sender.
#[derive(Clone, Debug)]
pub(super) struct Window {
    newest: u64,
    blocks: [u64; BLOCKS as usize],
}

impl Window {
    /// A window in which `counter` and all before it count as seen.
    pub(super) fn after(counter: u64) -> Window {
        let mut window = Window { newest: counter, blocks: [u64::MAX; BLOCKS as usize] };
        *window.block(counter) = u64::MAX >> (BLOCK_BITS - 1 - counter % BLOCK_BITS);
        window
    }

    /// Notes `counter`; false when it was seen before, or is too old to tell.
    pub(super) fn take(&mut self, counter: u64) -> bool {
        if counter > self.newest {
            let first = self.newest / BLOCK_BITS + 1;
            let last = counter / BLOCK_BITS;
            for block in first..=last.min(first + BLOCKS - 1) {
                self.blocks[(block % BLOCKS) as usize] = 0;
            }
            self.newest = counter;
        } else if self.newest - counter >= WINDOW_COUNTERS {
            return false;
        }
        let bit = 1 << (counter % BLOCK_BITS);
        let block = self.block(counter);
        let is_new = *block & bit == 0;
        *block |= bit;
        is_new
    }

    fn block(&mut self, counter: u64) -> &mut u64 {
        &mut self.blocks[(counter / BLOCK_BITS % BLOCKS) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::HashSet;

    /// What a window is, in the plainest words.
    struct Oracle {
        start: u64,
        newest: u64,
        seen: HashSet<u64>,
    }

    impl Oracle {
        fn take(&mut self, counter: u64) -> bool {
            let too_old = counter <= self.start
                || self.newest.checked_sub(counter).is_some_and(|age| age >= WINDOW_COUNTERS);
            self.newest = self.newest.max(counter);
            !too_old && self.seen.insert(counter)
        }
    }

    #[test]
    fn a_counter_is_taken_once_in_any_order() {
        let starts = [0, 1, 63, 64, 1_023, 1_024, 1_087, 1_088, u64::MAX / 2];
        for seed in 0..400 {
            let mut rng = Rng::new(seed);
            let start = starts[rng.below(starts.len() as u64) as usize];
            let mut window = Window::after(start);
            let mut oracle = Oracle { start, newest: start, seen: HashSet::new() };
            for step in 0..2_000 {
                let counter = match rng.below(20) {
                    0 => oracle.newest + rng.below(3 * WINDOW_COUNTERS),
                    1..=8 => oracle.newest + rng.below(3),
                    9 => oracle.newest.saturating_sub(WINDOW_COUNTERS - 2 + rng.below(4)),
                    10 => oracle.newest.saturating_sub(rng.below(3 * WINDOW_COUNTERS)),
                    _ => oracle.newest.saturating_sub(rng.below(WINDOW_COUNTERS)),
                };
                let wanted = oracle.take(counter);
                assert_eq!(window.take(counter), wanted, "seed {seed} step {step}: {counter}");
            }
        }
    }

    #[test]
    fn the_window_is_as_wide_as_it_says_and_no_wider() {
        let mut window = Window::after(0);
        assert!(window.take(WINDOW_COUNTERS + 1));
        assert!(!window.take(1), "{WINDOW_COUNTERS} back");
        assert!(window.take(2), "{} back", WINDOW_COUNTERS - 1);
        assert!(!window.take(2));
    }

    #[test]
    fn the_ends_of_the_numbers_are_counters_too() {
        let mut window = Window::after(0);
        assert!(!window.take(0));
        assert!(window.take(u64::MAX));
        assert!(!window.take(u64::MAX));
        assert!(window.take(u64::MAX - 1));
        assert!(!window.take(1));
        assert!(!Window::after(u64::MAX).take(u64::MAX));
    }
}
