//! The due times that a job owes: counted up to a bound, and reached from their newest end.

use super::{Timeline, Wanted};
use crate::store::Job;
use crate::time::Second;

/// Up to how many due times are counted one by one; beyond, a skip says that there were more.
pub(super) const COUNT_MAX: u32 = 10_000;

/// Due times after the mark and up to now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Owed {
    mark: Second,
    first: Option<Second>,
    newest: Option<Second>,
}

/// A range of due times that is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) first: Second,
    pub(super) last: Second,
    pub(super) count: u32,
    pub(super) more: bool,
}

/// What `job` owes at `now`.
pub(super) fn owed(timeline: &Timeline<'_>, job: &Job, now: Second) -> Owed {
    let mark = job.decided_until;
    let nothing = Owed { mark, first: None, newest: None };
    if job.facts.disabled || mark >= now {
        return nothing;
    }
    match timeline.next_after(mark).filter(|&first| first <= now) {
        None => nothing,
        Some(first) => {
            let newest = newest_up_to(timeline, first, now);
            Owed { mark, first: Some(first), newest: Some(newest) }
        }
    }
}

impl Owed {
    pub(super) fn newest(&self) -> Option<Second> {
        self.newest
    }

    /// The newest due times that are wanted, oldest first.
    pub(super) fn last(&self, wanted: Wanted, timeline: &Timeline<'_>) -> Vec<Second> {
        let (Some(first), Some(newest)) = (self.first, self.newest) else { return Vec::new() };
        let mut taken = Vec::new();
        let mut at = newest;
        loop {
            let position = taken.len();
            let by_policy = position < wanted.count && at >= wanted.not_before;
            if !by_policy && position >= wanted.at_least && at < wanted.all_from {
                break;
            }
            taken.push(at);
            if at <= first {
                break;
            }
            at = newest_up_to(timeline, first, at.plus(-1));
        }
        taken.reverse();
        taken
    }

    /// The due times before `claimed`, or all of them when there is none claimed.
    pub(super) fn before(&self, claimed: Option<Second>, timeline: &Timeline<'_>) -> Option<Range> {
        let (first, newest) = (self.first?, self.newest?);
        let last = match claimed {
            Some(claimed) if claimed <= first => return None,
            Some(claimed) => newest_up_to(timeline, first, claimed.plus(-1)),
            None => newest,
        };
        let mut count = 1;
        let mut at = first;
        while at < last && count < COUNT_MAX {
            match timeline.next_after(at) {
                Some(next) => at = next,
                None => break,
            }
            count += 1;
        }
        Some(Range { first, last, count, more: at < last })
    }
}

/// The newest due time at or before `limit`, given that `first`, a due time, is one.
///
/// `next_after` never decreases, so the moment whose next due time is the wanted one is found by
/// halving: some thirty steps for an outage of decades.
pub(super) fn newest_up_to(timeline: &Timeline<'_>, first: Second, limit: Second) -> Second {
    let mut newest = first;
    // Invariant: the due time after `low` is `newest` or later; that after `high` is beyond.
    let (mut low, mut high) = (first, limit);
    let step = |at: Second| timeline.next_after(at).filter(|&due| due <= limit);
    match step(first) {
        None => return first,
        Some(second) => newest = newest.max(second),
    }
    while low < high {
        let middle = low.plus((high - low) / 2);
        match step(middle) {
            Some(due) => {
                newest = due;
                low = due;
            }
            None => high = middle,
        }
    }
    newest
}
