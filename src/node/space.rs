//! What a node does while its disk has little room, or none.
//!
//! With little, changes are refused and all else goes on: what is left is for fires and for ends
//! of runs. With none, nothing that is decided could become durable, so nothing is decided. What
//! was given to the disk stays there, neither lost nor done; when there is room it is done, and
//! what has become due in the meantime is caught up as after any other outage.

use super::Node;
use super::effect::{Level, Space};

impl Node {
    /// The disk says how much room it has.
    pub(super) fn space_changed(&mut self, space: Space) {
        let before = std::mem::replace(&mut self.space, space);
        if before == space {
            return;
        }
        let (level, message, what) = match space {
            Space::Enough => (Level::Info, "the disk has room again", "all goes on"),
            Space::Low => (
                Level::Warn,
                "the disk is nearly full",
                "changes are refused until there is room; jobs go on and are recorded",
            ),
            Space::Full => (
                Level::Error,
                "the disk is full",
                "nothing is started or changed until there is room; what was under way waits",
            ),
        };
        self.log(level, message, vec![("what", what.to_owned())]);
        if space == Space::Full {
            self.dispatch.stand_still();
            self.refuse_parked();
        }
        if before == Space::Full {
            let appended = self.log.back().map_or(self.state.applied(), |entry| entry.index);
            self.dispatch.go_on(&self.state, &self.scheduler, appended, self.now);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::Method;
    use crate::ident::Instance;
    use crate::job::Spec;
    use crate::node::requests::OUTCOME_WAIT;
    use crate::node::testing::{
        answered, ask, at, every_second, get, keyed, node_after, records_of, sync,
    };
    use crate::node::{Effect, Input, Node, Space};
    use crate::run::order::{LauncherCommand, LauncherEvent};

    const NOTE: &str = r#"{"note": "other"}"#;

    fn leader(spec: &Spec) -> Node {
        let mut node = node_after(records_of(spec), 0);
        let welcome = LauncherEvent::Welcome { instance: Instance(5), table: Vec::new() };
        node.handle(Input::Launcher(welcome), at(0));
        sync(&mut node);
        assert_eq!(get(&mut node, "/ready").0, 200);
        node
    }

    fn space(node: &mut Node, space: Space) {
        let now = node.now;
        node.handle(Input::Space(space), now);
    }

    fn fires(node: &Node) -> usize {
        node.state().job_named("a").unwrap().executions().count()
    }

    #[test]
    fn changes_are_refused_while_there_is_little_room_and_fires_go_on() {
        let mut node = leader(&every_second());
        for room in [Space::Low, Space::Full] {
            space(&mut node, room);
            for (method, path, body) in [
                (Method::Patch, "/v1/jobs/a", NOTE),
                (Method::Delete, "/v1/jobs/a", ""),
                (Method::Post, "/v1/jobs/a/run", ""),
                (Method::Post, "/v1/leave", ""),
            ] {
                ask(&mut node, method, path, body);
                assert_eq!(answered(&mut node), ["503 disk_full"], "{path}, {room:?}");
            }
            assert!(get(&mut node, "/ready").1.contains("disk_full"), "{room:?}");
            assert_eq!(get(&mut node, "/v1/jobs/a").0, 200, "{room:?}");
        }
        space(&mut node, Space::Low);
        node.handle(Input::Tick, at(1));
        sync(&mut node);
        assert_eq!(fires(&node), 1);
        space(&mut node, Space::Enough);
        assert!(!get(&mut node, "/ready").1.contains("disk_full"));
        ask(&mut node, Method::Patch, "/v1/jobs/a", NOTE);
        assert_eq!(sync(&mut node).len(), 1);
    }

    #[test]
    fn nothing_is_decided_on_a_full_disk_and_all_of_it_when_there_is_room() {
        let mut node = leader(&every_second());
        space(&mut node, Space::Full);
        for second in 1..=5 {
            node.handle(Input::Tick, at(second));
            assert_eq!((node.poll_alarm(), node.log.len()), (None, 0), "{second}");
        }
        space(&mut node, Space::Low);
        sync(&mut node);
        assert_eq!(fires(&node), 5);
    }

    #[test]
    fn what_is_stuck_is_answered_in_time_and_what_waits_behind_it_at_once() {
        let mut node = leader(&every_second());
        keyed(&mut node, Method::Patch, "/v1/jobs/a", NOTE, "first");
        ask(&mut node, Method::Patch, "/v1/jobs/a", NOTE);
        keyed(&mut node, Method::Patch, "/v1/jobs/a", NOTE, "first");
        assert!(answered(&mut node).is_empty());
        space(&mut node, Space::Full);
        assert_eq!(answered(&mut node), ["503 disk_full"], "the one that repeats nothing");
        assert_eq!(node.poll_timeout(), Some(at(0).mono + OUTCOME_WAIT));
        node.handle(Input::Tick, at(9));
        assert!(answered(&mut node).is_empty());
        node.handle(Input::Tick, at(10));
        assert_eq!(answered(&mut node), ["504 outcome_unknown"; 2]);
        assert_eq!(node.poll_timeout(), None, "nothing to wake up for");
        keyed(&mut node, Method::Patch, "/v1/jobs/a", NOTE, "first");
        assert_eq!(answered(&mut node), ["504 outcome_unknown"]);
        space(&mut node, Space::Enough);
        assert!(sync(&mut node).is_empty(), "nobody waits any more");
        // It was made, and who asks again is told so.
        keyed(&mut node, Method::Patch, "/v1/jobs/a", NOTE, "first");
        assert_eq!(answered(&mut node).len(), 1);
        assert!(node.log.is_empty());
        ask(&mut node, Method::Patch, "/v1/jobs/a", NOTE);
        assert_eq!(sync(&mut node).len(), 1);
    }

    /// How often a process was asked for; everything becomes durable.
    fn spawns(node: &mut Node) -> usize {
        let mut spawns = 0;
        loop {
            let is_spawn = |e: &Effect| matches!(e, Effect::Launcher(LauncherCommand::Spawn(_)));
            spawns += node.effects.iter().filter(|effect| is_spawn(effect)).count();
            node.effects.retain(|effect| !is_spawn(effect));
            let mut answers = Vec::new();
            if !crate::node::testing::sync_one(node, &mut answers) {
                return spawns;
            }
        }
    }

    /// A full disk held up the claim, or the promise to start it, for longer than a start may be
    /// late. The run is then as one after a restart: started if its job wants it caught up.
    #[test]
    fn a_run_that_a_full_disk_held_up_starts_as_after_a_restart() {
        for (schedule, durable_first, minutes, started) in [
            ("0 0 * * *", 0, 10, 1),
            ("0 0 * * *", 1, 10, 1),
            // Half the time to the next one has passed, so this one isn't wanted any more.
            ("0 0 * * *", 0, 13 * 60, 0),
            ("0 0 * * *", 1, 13 * 60, 0),
        ] {
            let spec = Spec { schedule: schedule.into(), ..every_second() };
            let mut node = leader(&spec);
            let day = 24 * 3_600;
            node.handle(Input::Tick, at(day));
            let mut answers = Vec::new();
            for _ in 0..durable_first {
                assert!(crate::node::testing::sync_one(&mut node, &mut answers));
            }
            space(&mut node, Space::Full);
            for minute in 1..=minutes {
                node.handle(Input::Tick, at(day + 60 * minute));
            }
            space(&mut node, Space::Low);
            let what = format!("{schedule}, {durable_first} before, {minutes} min");
            assert_eq!(spawns(&mut node), started, "{what}");
            assert_eq!(fires(&node), 1, "{what}");
        }
    }
}
