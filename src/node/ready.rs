//! Whether the node fires jobs, and if not, why.

use super::office::OVERDUE;
use super::{Leaving, Node};
use crate::api;

impl Node {
    /// The reasons for which this node fires nothing now, as codes; none when it does.
    pub(super) fn not_ready(&self) -> Vec<&'static str> {
        let overdue = self
            .scheduler
            .next_alarm()
            .is_some_and(|due| self.now.wall.ms_since(due.wall()) > OVERDUE.as_millis() as i64);
        [
            (self.is_starting(), api::STARTING),
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

    /// Whether the journal holds records from before the start that may be committed and are not
    /// applied yet. What this node has answered may lie in them.
    fn is_starting(&self) -> bool {
        self.established.is_none() && self.state.applied() < self.found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::{HostRule, Peer, Role};
    use crate::cluster::Promise;
    use crate::cron::Zone;
    use crate::http::{Headers, Method, Request};
    use crate::ident::{Boot, ClusterId, Epoch, Index, NodeId, RequestId, StoreId, Ticket};
    use crate::node::{Durable, Effect, Found, Identity, Input, RELEASE, Settings};
    use crate::store::{Entry, Facts, JobPut, Record, State};
    use crate::time::{Mono, Now};

    const NOW: Now = Now { mono: Mono(1), wall: RELEASE };

    /// A job was created and answered with 201, and the agent was killed. The next one knew the
    /// record, but not yet that it is committed, and answered 404 until it led.
    #[test]
    fn a_node_that_starts_takes_back_nothing_that_it_has_answered() {
        let mut node = node_after(vec![
            Record::Config { cluster: ClusterId(1), voters: vec![node_id()] },
            Record::EpochStart { leader: node_id() },
            Record::JobPut(JobPut {
                name: "a".into(),
                spec: crate::job::Spec { name: "a".into(), ..Default::default() }.to_bytes(),
                facts: Facts { disabled: false, forbid: false, per_node: true, keep: 1 },
                mark: None,
                anchor: None,
            }),
        ]);
        assert_eq!(get(&mut node, "/v1/jobs/a"), (503, "starting".into()));
        assert_eq!(get(&mut node, "/v1/jobs"), (503, "starting".into()));
        assert_eq!(get(&mut node, "/health").0, 200);
        assert!(get(&mut node, "/ready").1.contains("starting"));
        for ticket in 1..=2 {
            let ticket = Ticket(ticket);
            let durable = Durable { ticket, journal_bytes: 0, snapshot_bytes: 0, runs_bytes: 0 };
            node.handle(Input::Durable(durable), NOW);
        }
        assert!(node.leads());
        assert_eq!(get(&mut node, "/v1/jobs/a").0, 200);
        assert!(!get(&mut node, "/ready").1.contains("starting"));
    }

    fn node_id() -> NodeId {
        NodeId::new(7).unwrap()
    }

    fn node_after(records: Vec<Record>) -> Node {
        let entry = |(index, record)| Entry {
            index: Index(index),
            epoch: Epoch(1),
            wall: RELEASE,
            actor: "test".into(),
            record,
        };
        let promise = Promise { epoch: Epoch(1), to: Some(node_id()) };
        let (store, boot) = (StoreId(1), Boot(1));
        let found = Found {
            identity: Identity { node: node_id(), store, boot, promise },
            state: State::new(),
            records: (1..).zip(records).map(entry).collect(),
            runs: Vec::new(),
        };
        let settings = Settings {
            name: "n".into(),
            tags: Vec::new(),
            default_zone: "UTC".into(),
            hosts: HostRule { names: Vec::new() },
            running_max: 1,
            snapshot_bytes: u64::MAX,
            warnings: Vec::new(),
        };
        let zones = BTreeMap::from([("UTC".to_owned(), Zone::utc())]);
        Node::new(settings, Box::new(zones), found, NOW)
    }

    /// The status, and the code or else the body.
    fn get(node: &mut Node, path: &str) -> (u16, String) {
        let request = Request {
            method: Method::Get,
            path: path.into(),
            query: Vec::new(),
            headers: Headers::default(),
            body: Vec::new(),
            host: None,
            version_10: false,
        };
        let peer = Peer { role: Some(Role::Admin), who: "test".into(), on_unix_socket: true };
        let request = Box::new(request);
        node.handle(Input::Request { id: RequestId(1), peer, request }, NOW);
        while let Some(effect) = node.poll_effect() {
            let Effect::Reply(_, response) = effect else { continue };
            let crate::http::Body::Bytes(body) = response.body else { panic!("a whole answer") };
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let code = json["code"].as_str().map_or_else(|| json.to_string(), str::to_owned);
            return (response.status, code);
        }
        panic!("{path} is answered at once")
    }
}
