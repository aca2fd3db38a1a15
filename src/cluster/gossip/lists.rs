//! Whole lists over a stream: what rumors missed, newcomers, and the other side of a partition.

use super::hear::Via;
use super::members::Member;
use super::message::List;
use super::timing::Timer;
use super::update::{State, Update};
use super::{Act, Drop, Gossip};
use crate::ident::NodeId;
use crate::time::Mono;
use core::net::SocketAddr;
use std::collections::BTreeMap;

impl Gossip {
    /// Takes a list that came over a stream, and returns the one that answers it; `None` when it
    /// was dropped, which is counted.
    pub fn list_asked(&mut self, from: SocketAddr, bytes: &[u8], now: Mono) -> Option<Vec<u8>> {
        let held = self.merge(from, bytes, false, now)?;
        Some(self.list(Some(&held)))
    }

    /// Takes the answer to an [`Act::Exchange`].
    pub fn list_answered(&mut self, from: SocketAddr, bytes: &[u8], now: Mono) {
        self.merge(from, bytes, true, now);
    }

    /// Compares lists with a member by chance.
    pub(super) fn compare_lists(&mut self, now: Mono) {
        let Some(&node) = self.round.draw(1, None, &mut self.rng).first() else { return };
        self.timers.arm(Timer::List, now + self.timing.list_every);
        self.exchange(self.members.get(node).and_then(Member::address));
    }

    /// Compares lists with somebody on the other side of what may be a partition: a dead member,
    /// and an address to join by if none of the members that can be spoken to has it.
    pub(super) fn heal(&mut self, now: Mono) {
        self.timers.arm(Timer::Heal, now + self.timing.heal_every);
        let is_dead = |member: &&Member| member.update.state == State::Dead;
        let dead = self.members.iter().filter(is_dead).filter_map(Member::address);
        let dead: Vec<SocketAddr> = dead.collect();
        let chosen = self.rng.below(dead.len().max(1) as u64) as usize;
        self.exchange(dead.get(chosen).copied());
        if self.round.len() > 0 {
            self.exchange_with_next_join();
        }
    }

    /// Compares lists with an address to join by, while nobody is known.
    pub(super) fn join(&mut self, now: Mono) {
        self.timers.arm(Timer::Join, now + self.timing.join_every);
        if self.round.len() == 0 {
            self.exchange_with_next_join();
        }
    }

    fn exchange_with_next_join(&mut self) {
        let live = self.members.iter().filter(|member| member.in_round);
        let mut known: Vec<SocketAddr> = live.filter_map(Member::address).collect();
        known.push(self.card.meta.address);
        let strange = |address: &SocketAddr| !known.contains(address);
        let join: Vec<SocketAddr> = self.join.iter().copied().filter(strange).collect();
        self.next_join = self.next_join.wrapping_add(1);
        let chosen = self.next_join.checked_rem(join.len()).map(|at| join[at]);
        self.exchange(chosen);
    }

    fn exchange(&mut self, with: Option<SocketAddr>) {
        if let Some(with) = with {
            let bytes = self.list(None);
            self.acts.push_back(Act::Exchange { with, bytes });
        }
    }

    /// All that is known; with the descriptions that the other side lacks, by what it said to
    /// hold.
    fn list(&self, answers: Option<&BTreeMap<NodeId, Update>>) -> Vec<u8> {
        let mut entries = vec![(self.me, Some(self.card.clone()))];
        for member in self.members.iter() {
            let update = Update { meta: member.held(), ..member.update };
            let lacks = |held: &BTreeMap<NodeId, Update>| {
                let there = held.get(&update.node).filter(|there| there.boot == update.boot);
                there.map_or(0, |there| there.meta) < update.meta
            };
            let card = member.card.as_deref().filter(|_| answers.is_some_and(lacks));
            entries.push((update, card.cloned()));
        }
        List { header: self.header(), is_answer: answers.is_some(), entries }.encode()
    }

    /// Learns from a list; returns what the other side holds.
    fn merge(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        is_answer: bool,
        now: Mono,
    ) -> Option<BTreeMap<NodeId, Update>> {
        let list = List::decode(bytes).ok().filter(|list| list.is_answer == is_answer);
        let Some(list) = list else {
            self.drops.count(Drop::Malformed);
            return None;
        };
        // Who knows nobody yet is told what all others know.
        let is_news = self.round.len() > 0;
        let teller = list.teller().unwrap_or(from);
        let sender = self.greet(&list.header, teller, now)?;
        let via = Via { teller, is_list: true, is_news };
        let mut held = BTreeMap::new();
        for (update, card) in list.entries {
            if !sender.is_believed && update.node != sender.node {
                self.drops.count(Drop::Unjoined);
                continue;
            }
            self.learn(update, via, now);
            held.insert(update.node, update);
            if let Some(card) = card {
                self.hold(card);
            }
        }
        self.keep_timers(now);
        Some(held)
    }
}
