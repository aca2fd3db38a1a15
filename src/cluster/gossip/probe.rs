//! Probes and suspicions: whether a member answers, and what is believed when it does not.

use super::members::Member;
use super::message::Body;
use super::timing::Timer;
use super::update::{State, Update};
use super::{Event, Gossip};
use crate::ident::{Boot, NodeId};
use crate::time::Mono;
use std::time::Duration;

/// How many others are asked at a time to ping a member that does not answer.
const HELPERS: usize = 3;

/// How often a member that does not answer is pinged within one period, and from which of these
/// times on others are asked to ping it, too.
const PINGS: u32 = 4;
const FIRST_WITH_HELPERS: u32 = 3;

/// Most suspects that are asked a last time within one period. Where more would die at once it is
/// the network, and one more question saves nobody.
const LAST_ASKED_MAX: usize = 32;

/// A member that was pinged in this period and has not answered yet.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) target: NodeId,
    boot: Boot,
    /// Who was asked to ping it.
    pub(super) helpers: Vec<NodeId>,
}

impl Gossip {
    /// Ends the probes of this period with their verdict and begins the next ones.
    pub(super) fn begin_period(&mut self, now: Mono) {
        for probe in std::mem::take(&mut self.probes) {
            self.accuse(&probe, now);
        }
        self.seq = self.seq.wrapping_add(1);
        self.pings = 0;
        for target in self.targets(now) {
            let Some(member) = self.members.get(target) else { continue };
            let boot = member.update.boot;
            self.probes.push(Probe { target, boot, helpers: Vec::new() });
        }
        if !self.probes.is_empty() {
            self.timers.arm(Timer::Probe, now + self.timing.probe_every);
            self.ping(now);
        }
    }

    /// Whom to probe in the period that begins. The next one of the round alone would do for the
    /// paper; that each is also probed by the neighbour before it, once a period, cuts off the
    /// long tail: by chance alone a hundredth of the deaths goes unseen for 4.6 periods. Who would
    /// be dead before the end of the next period is asked a last time, since the word with which
    /// it defends itself may have passed this node by.
    fn targets(&mut self, now: Mono) -> Vec<NodeId> {
        let period = self.timing.probe_every;
        let from = std::mem::replace(&mut self.asked_until, now + period + period);
        let mut targets: Vec<NodeId> = self.round.next(&mut self.rng).into_iter().collect();
        let neighbour = self.members.neighbour_of(self.me.node);
        let last_asked = self.members.suspects_until(from, self.asked_until).take(LAST_ASKED_MAX);
        for node in neighbour.into_iter().chain(last_asked) {
            if !targets.contains(&node) {
                targets.push(node);
            }
        }
        targets
    }

    /// Pings those who have not answered, and later asks others to do so, too: perhaps it is only
    /// the way to them.
    pub(super) fn ping(&mut self, now: Mono) {
        self.pings += 1;
        let (seq, origin) = (self.seq, self.me.node);
        for at in 0..self.probes.len() {
            let target = self.probes[at].target;
            self.send_to(target, Body::Ping { seq, target, origin });
            if self.pings >= FIRST_WITH_HELPERS {
                let helpers = self.round.draw(HELPERS, Some(target), &mut self.rng);
                self.probes[at].helpers.extend(&helpers);
                for helper in helpers {
                    self.send_to(helper, Body::PingFor { seq, target });
                }
            }
        }
        if self.pings < PINGS && !self.probes.is_empty() {
            self.timers.arm(Timer::Ping, now + self.timing.ping_every);
        }
    }

    fn accuse(&mut self, probe: &Probe, now: Mono) {
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
        self.probes.clear();
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
        self.probes.clear();
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
