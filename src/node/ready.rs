//! Whether the node does all that it should, and if not, why.

use super::office::OVERDUE;
use super::{Leaving, Node, Space};
use crate::api;

impl Node {
    /// The reasons for which this node fires nothing now, or soon may not, as codes; none when all
    /// is well.
    pub(super) fn not_ready(&self) -> Vec<&'static str> {
        // Elsewhere alarms stay behind, of due times that the leader has decided.
        let overdue = self
            .scheduler
            .next_alarm()
            .filter(|_| self.established.is_some())
            .is_some_and(|due| self.now.wall.ms_since(due.wall()) > OVERDUE.as_millis() as i64);
        [
            (self.is_starting(), api::STARTING),
            (self.leader().is_none(), "no_leader"),
            (self.leader().is_some() && !self.is_known(), "not_registered"),
            (!self.worker.has_launcher(), "no_launcher"),
            (!self.clock.is_trusted(), "clock"),
            (self.scheduler.waiting_for_zone() > 0, "zone_missing"),
            (overdue, "overdue"),
            (self.space != Space::Enough, api::DISK_FULL),
            (self.leaving != Leaving::No, "leaving"),
        ]
        .into_iter()
        .filter_map(|(holds, code)| holds.then_some(code))
        .collect()
    }

    /// Whether the leader knows this start of the node.
    fn is_known(&self) -> bool {
        match self.settings.server {
            true => self.is_registered(),
            false => self.tether.is_open(),
        }
    }

    /// Whether the journal holds records from before the start that may be committed and are not
    /// applied yet. What this node has answered may lie in them.
    fn is_starting(&self) -> bool {
        self.settings.server
            && self.established.is_none()
            && (!self.has_commit || self.state.applied() < self.found)
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::{every_second, get, node_after, records_of, sync};

    /// A job was created and answered with 201, and the agent was killed. The next one knew the
    /// record, but not yet that it is committed, and answered 404 until it led.
    #[test]
    fn a_node_that_starts_takes_back_nothing_that_it_has_answered() {
        let mut node = node_after(records_of(&every_second()), 0);
        assert_eq!(get(&mut node, "/v1/jobs/a"), (503, "starting".into()));
        assert_eq!(get(&mut node, "/v1/jobs"), (503, "starting".into()));
        assert_eq!(get(&mut node, "/health").0, 200);
        assert!(get(&mut node, "/ready").1.contains("starting"));
        sync(&mut node);
        assert!(node.leads());
        assert_eq!(get(&mut node, "/v1/jobs/a").0, 200);
        assert!(!get(&mut node, "/ready").1.contains("starting"));
    }
}
