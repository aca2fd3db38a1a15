//! Who leads and who votes, when that is to change on purpose.
//!
//! A leader that is to go hands over to a voter that has everything, so that nobody has to miss it
//! first: meanwhile it decides nothing new. And it takes the steps to the voters that are wanted.

use std::time::Duration;

use super::clock::OFF_MS;
use super::effect::{Effect, Level};
use super::office::BY_NODE;
use super::requests::OUTCOME_WAIT;
use super::{Leaving, Node};
use crate::api;
use crate::ident::{NodeId, RequestId};
use crate::store::{MemberState, Record, Servers};
use crate::time::Mono;

/// How long a leader tries to hand over.
pub(super) const HANDOVER_WAIT: Duration = Duration::from_secs(5);

/// How long a node that leaves waits until that is written down.
const LEAVE_WAIT: Duration = Duration::from_secs(15);

/// A leader that hands over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Handover {
    /// To this voter; else to the one that has most.
    to: Option<NodeId>,
    until: Mono,
    /// Who asked for it.
    request: Option<RequestId>,
}

impl Node {
    /// Hands over, if anybody is there to lead; `request` is answered when it is done or has
    /// failed.
    pub(super) fn hand_over(&mut self, to: Option<NodeId>, request: Option<RequestId>) {
        let able = to.or(self.consensus.heir()).filter(|_| self.established.is_some());
        if able.is_none() || self.handover.is_some() {
            let sentence = "no other voter can lead at the moment";
            return self.reply_to(request, api::unavailable("no_leader", sentence));
        }
        self.log(Level::Info, "handing over", Vec::new());
        self.handover = Some(Handover { to, until: self.now.mono + HANDOVER_WAIT, request });
    }

    /// A leader whose clock is off lets another lead, whose clock is right.
    pub(super) fn hand_over_for_clock(&mut self) {
        let Some(wall) = self.clock.is_off(self.now).filter(|_| self.handover.is_none()) else {
            return;
        };
        let nearest = self.consensus.nearest_clock(wall, self.now);
        if let Some((to, _)) = nearest.filter(|&(_, off)| off <= OFF_MS) {
            self.log(Level::Warn, "the clock is off by that of the others", Vec::new());
            self.hand_over(Some(to), None);
        }
    }

    /// Whether nothing new is to be decided, because another is about to lead.
    pub(super) fn is_handing_over(&self) -> bool {
        self.handover.is_some()
    }

    /// When [`Node::tend_handover`] or [`Node::end_if_stopped`] must be called at the latest.
    pub(super) fn handover_due(&self) -> Option<Mono> {
        let leave = match self.leaving {
            Leaving::Registry { until, .. } => Some(until),
            Leaving::No | Leaving::Stopping | Leaving::Gone => None,
        };
        self.handover.map(|handover| handover.until).into_iter().chain(leave).min()
    }

    /// Goes on with what is being handed over.
    pub(super) fn tend_handover(&mut self) {
        let Some(Handover { to, until, request }) = self.handover else { return };
        let now = self.now.mono;
        if self.established.is_none() {
            if self.leader().is_none() && now < until {
                return;
            }
            self.handover = None;
            let not_ready = self.not_ready();
            let response = api::handed_over(&self.view(&not_ready));
            return self.reply_to(request, response);
        }
        if until <= now {
            self.handover = None;
            self.log(Level::Warn, "nobody took the office over", Vec::new());
            let sentence = "the other voter did not take over in time; this node still leads";
            self.reply_to(request, api::unavailable("no_leader", sentence));
            if matches!(self.leaving, Leaving::Registry { .. }) {
                self.write_that_it_leaves();
            }
            return;
        }
        let to = to.or(self.consensus.heir());
        if let Some(to) = to.filter(|_| !self.consensus.is_handing_over()) {
            // Until it has everything, this is asked again as it answers.
            self.consensus.transfer(to);
            self.follow_consensus();
        }
    }

    /// Stops in good order.
    pub(super) fn stop(&mut self) {
        if self.leaving == Leaving::No {
            self.log(Level::Info, "stopping", Vec::new());
            self.leaving = Leaving::Stopping;
            self.consensus.set_electable(false);
            if self.consensus.heir().is_some() {
                self.hand_over(None, None);
            }
        }
    }

    /// Leaves the registry; the answer to `request` follows when that is committed.
    pub(super) fn leave(&mut self, request: Option<RequestId>) {
        let request = request.map(|id| (id, self.now.mono + OUTCOME_WAIT));
        self.leaving = Leaving::Registry { request, until: self.now.mono + LEAVE_WAIT };
        self.consensus.set_electable(false);
        if self.established.is_none() {
            // The leader is asked to write that.
            self.tether.greet_anew(self.now.mono);
        } else if self.consensus.heir().is_some() {
            // The next leader is, as soon as there is one.
            self.hand_over(None, None);
        } else {
            self.write_that_it_leaves();
        }
    }

    /// The registry has it that this node has left, if it was about to.
    pub(super) fn end_leaving(&mut self) {
        let Leaving::Registry { request, .. } = self.leaving else { return };
        if let Some((request, _)) = request {
            let not_ready = self.not_ready();
            let response = api::left(&self.view(&not_ready));
            self.effects.push_back(Effect::Reply(request, response));
        }
        self.log(Level::Info, "left the cluster", Vec::new());
        self.leaving = Leaving::Stopping;
    }

    /// Writes in the registry that this node, which leads, has left.
    fn write_that_it_leaves(&mut self) {
        let member = self.registration(MemberState::Left);
        self.append(Record::Node(member), BY_NODE);
    }

    /// Takes the next step to the voters that are wanted, if there is one now.
    pub(super) fn tend_voters(&mut self) {
        if self.established.is_none() || self.leaving != Leaving::No || self.is_handing_over() {
            return;
        }
        let servers = self.state.servers();
        let Some(next) = self.consensus.next_config(&servers.wanted, &self.servers) else { return };
        let (cluster, wanted) = (servers.cluster, servers.wanted.clone());
        let (voters, learners) = (next.voters.nodes().to_vec(), next.learners);
        let fields = vec![("voters", listed(&voters)), ("learners", listed(&learners))];
        self.log(Level::Info, "another configuration", fields);
        self.append(Record::Config(Servers { cluster, voters, learners, wanted }), BY_NODE);
        self.consensus.settle();
        self.follow_consensus();
    }

    fn reply_to(&mut self, request: Option<RequestId>, response: crate::http::Response) {
        if let Some(request) = request {
            self.reply(request, response);
        }
    }

    /// The registry has changed: notes who could keep the journal.
    pub(super) fn note_servers(&mut self) {
        let is_server = |member: &&crate::store::Member| {
            member.server && member.state == MemberState::Registered
        };
        self.servers = self.state.members().filter(is_server).map(|member| member.id).collect();
    }

    /// Ends the process when all that was to be done before is done, or can't be done in time.
    pub(super) fn end_if_stopped(&mut self) {
        let now = self.now.mono;
        if matches!(self.leaving, Leaving::Registry { until, .. } if until <= now) {
            self.log(Level::Warn, "nobody has written down that this node leaves", Vec::new());
            self.leaving = Leaving::Stopping;
        }
        let is_done = self.on_disk.is_empty() && !self.is_handing_over();
        if self.leaving == Leaving::Stopping && is_done {
            self.leaving = Leaving::Gone;
            self.effects.push_back(Effect::Exit);
        }
    }
}

fn listed(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")
}
