//! Probes and suspicions: whether a member answers, and what is believed when it does not.

use super::members::Member;
use super::message::Body;
use super::timing::Timer;
use super::update::{State, Update};
use super::{Event, Gossip};
use crate::ident::{Boot, NodeId};
use crate::time::Mono;
use std::time::Duration;

/// How many others are asked to ping a member that does not answer.
const HELPERS: usize = 3;

/// The probe of one period.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) target: NodeId,
    pub(super) boot: Boot,
    pub(super) seq: u32,
    /// Who was asked to ping it.
    pub(super) helpers: Vec<NodeId>,
    pub(super) is_answered: bool,
}

impl Gossip {
    /// Ends the probe of this period with its verdict and begins the next one.
    pub(super) fn next_probe(&mut self, now: Mono) {
        self.judge_probe(now);
        let Some(target) = self.round.next(&mut self.rng) else { return };
        self.timers.arm(Timer::Probe, now + self.timing.probe_every);
        self.timers.arm(Timer::Indirect, now + self.timing.direct);
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        let Some(boot) = self.members.get(target).map(|member| member.update.boot) else { return };
        self.probe = Some(Probe { target, boot, seq, helpers: Vec::new(), is_answered: false });
        self.send_to(target, Body::Ping { seq, target, origin: self.me.node });
    }

    /// Asks others to ping the member that has not answered: perhaps it is only the way to it.
    pub(super) fn probe_indirectly(&mut self) {
        let Some(probe) = self.probe.as_mut().filter(|probe| !probe.is_answered) else { return };
        probe.helpers = self.round.draw(HELPERS, Some(probe.target), &mut self.rng);
        let (seq, target, helpers) = (probe.seq, probe.target, probe.helpers.clone());
        for helper in helpers {
            self.send_to(helper, Body::PingFor { seq, target });
        }
    }

    fn judge_probe(&mut self, now: Mono) {
        let Some(probe) = self.probe.take().filter(|probe| !probe.is_answered) else { return };
        let Some(member) = self.members.get(probe.target) else { return };
        // Another start of it was not asked.
        if member.update.boot == probe.boot && member.update.state == State::Alive {
            let update = Update { state: State::Suspect, ..member.update };
            self.believe(update, true, now);
        }
    }

    /// This node was asleep: answers may have come and gone, and suspects had less time to speak
    /// than it seems.
    pub(super) fn excuse_all(&mut self, late: Duration) {
        self.probe = None;
        self.members.postpone_suspicions(late);
    }

    /// The time of `node` is up.
    pub(super) fn expire(&mut self, node: NodeId, now: Mono) {
        let Some(member) = self.members.get(node) else { return };
        match member.update.state {
            State::Suspect => {
                let update = Update { state: State::Dead, ..member.update };
                self.believe(update, true, now);
            }
            State::Alive | State::Dead | State::Left => self.forget(node),
        }
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        let removed = self.members.remove(node);
        self.tell_forgotten(removed);
    }

    pub(super) fn tell_forgotten(&mut self, removed: Option<Member>) {
        let Some(member) = removed else { return };
        let node = member.update.node;
        self.rumors.stop(node);
        if member.in_round {
            self.round.remove(node);
        }
        if member.said.is_some() {
            self.tell(Event::Forgotten(node));
        }
    }

    pub(super) fn forget_everybody(&mut self) {
        let nodes: Vec<NodeId> = self.members.iter().map(|member| member.update.node).collect();
        nodes.into_iter().for_each(|node| self.forget(node));
        self.probe = None;
        self.leader = None;
    }

    /// Takes `update` of a known member for true, whatever was believed before, and spreads it if
    /// told so.
    pub(super) fn believe(&mut self, update: Update, is_news: bool, now: Mono) {
        let suspicion = self.timing.suspicion_among(self.nodes());
        let Some(member) = self.members.get_mut(update.node) else { return };
        if update.boot != member.update.boot {
            member.card = None;
        }
        member.update = update;
        let deadline = match update.state {
            State::Alive if member.card.is_some() => None,
            State::Alive => Some(now + self.timing.undescribed),
            State::Suspect => Some(now + suspicion),
            State::Dead | State::Left => Some(now + self.timing.forget),
        };
        self.members.set_deadline(update.node, deadline);
        if is_news {
            self.rumors.push(update);
        }
        self.settle(update.node);
    }

    /// Brings everything that follows from a member's state in line with it.
    pub(super) fn settle(&mut self, node: NodeId) {
        self.members.settle_wanting(node);
        let Some(member) = self.members.get_mut(node) else { return };
        let Update { boot, state, .. } = member.update;
        let can_be_probed = state.is_live() && member.card.is_some();
        if can_be_probed && !member.in_round {
            self.round.insert(node, &mut self.rng);
        } else if !can_be_probed && member.in_round {
            self.round.remove(node);
        }
        member.in_round = can_be_probed;
        // A number alone is not worth telling: who is never described was perhaps made up.
        let is_worth_it = member.card.is_some() || member.said.is_some();
        if is_worth_it && member.said != Some((boot, state)) {
            member.said = Some((boot, state));
            self.tell(Event::Member { node, boot, state });
        }
    }
}
