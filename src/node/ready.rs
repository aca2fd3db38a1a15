//! Whether the node fires jobs, and if not, why.

use super::office::OVERDUE;
use super::{Leaving, Node};

impl Node {
    /// The reasons for which this node fires nothing now, as codes; none when it does.
    pub(super) fn not_ready(&self) -> Vec<&'static str> {
        let overdue = self
            .scheduler
            .next_alarm()
            .is_some_and(|due| self.now.wall.ms_since(due.wall()) > OVERDUE.as_millis() as i64);
        [
            (self.established.is_none(), "no_leader"),
            (!self.worker.has_launcher(), "no_launcher"),
            (!self.clock.is_trusted(), "clock"),
            (self.scheduler.waiting_for_zone() > 0, "zone_missing"),
            (overdue, "overdue"),
            (self.leaving != Leaving::No, "leaving"),
        ]
        .into_iter()
        .filter_map(|(holds, code)| holds.then_some(code))
        .collect()
    }
}
