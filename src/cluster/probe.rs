//! Probes: a voter asks who would follow it before it raises any epoch.
//!
//! Nothing durable changes anywhere, so a voter that lags, or can send and not hear, disturbs
//! nobody. Who is asked and ranks higher asks in its turn: that is the bully.

use std::collections::BTreeMap;

use super::election::{Answer, Election, Out, Sight, Standing, at_least, carried};
use super::message::{Message, Place};
use crate::ident::{Epoch, NodeId};
use crate::mistake::{Mistake, made};

impl Election {
    /// Answers a probe, and probes itself if that is better.
    pub(super) fn probed(
        &mut self,
        from: NodeId,
        (nonce, promised, tail): (u64, Epoch, Place),
        sight: Sight<'_>,
        out: &mut Out,
    ) {
        self.highest = self.highest.max(promised);
        let own = self.rank(sight.tail);
        let log_ok = at_least(tail, own) || made(Mistake::PlainBully);
        // One that is to go may be needed, but not where one that stays is as good.
        let stays = |node| sight.voters.is_some_and(|voters| voters.contains(node));
        let better = match made(Mistake::PlainBully) {
            true => self.me > from,
            false => (own, stays(self.me), self.me) > (tail, stays(from), from),
        };
        let sticky = self.is_sticky(sight);
        let outranks = better && sight.electable;
        let promised = self.promise.epoch;
        let answer = Message::ProbeAnswer { nonce, promised, log_ok, sticky, outranks };
        self.send(from, promised, answer, out);
        if outranks && !sticky && self.standing == Standing::Follower {
            self.probe(sight, out);
        }
    }

    /// Takes the answer to a probe.
    pub(super) fn probe_answered(
        &mut self,
        from: NodeId,
        nonce: u64,
        promised: Epoch,
        answer: (bool, bool),
        sight: Sight<'_>,
        out: &mut Out,
    ) {
        self.highest = self.highest.max(promised);
        let (follows, outranks) = answer;
        match &mut self.standing {
            Standing::Probing { nonce: own, answers, .. } if *own == nonce => {
                answers.insert(from, Answer { follows, outranks });
                self.weigh(sight, out);
            }
            Standing::Probing { .. }
            | Standing::Follower
            | Standing::Candidate { .. }
            | Standing::Leader(_) => {}
        }
    }

    pub(super) fn probe(&mut self, sight: Sight<'_>, out: &mut Out) {
        self.nonce += 1;
        let (nonce, tail) = (self.nonce, self.rank(sight.tail));
        let own = Answer { follows: true, outranks: false };
        let answers = BTreeMap::from([(self.me, own)]);
        self.standing = Standing::Probing { nonce, answers, back_until: None };
        self.deadline = Some(sight.now + self.timing.probe);
        self.to_others(sight, Message::Probe { nonce, tail }, self.promise.epoch, out);
        self.weigh(sight, out);
    }

    /// Whether a majority would follow, and whether to stand back for a better one first.
    fn weigh(&mut self, sight: Sight<'_>, out: &mut Out) {
        let Standing::Probing { answers, back_until, .. } = &mut self.standing else { return };
        let Some(voters) = sight.voters else { return };
        let follows = |node| answers.get(&node).is_some_and(|answer| answer.follows);
        if !carried(voters, follows, |node| answers.contains_key(&node)) || back_until.is_some() {
            return;
        }
        if answers.values().any(|answer| answer.outranks) {
            let until = sight.now + self.timing.bully;
            *back_until = Some(until);
            self.deadline = Some(until + self.timing.probe);
        } else {
            self.campaign(None, sight, out);
        }
    }
}
