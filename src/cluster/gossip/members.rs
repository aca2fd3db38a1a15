//! The members that a node knows, apart from itself, with a deadline for those in an uncertain
//! state. Bounded: when all places are taken the one that is gone longest gives its place up, and
//! while nobody is gone a newcomer finds none. So no flood of invented members pushes out a live
//! one.

use super::meta::{Card, Meta};
use super::update::{State, Update};
use crate::ident::{Boot, NodeId};
use crate::time::Mono;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// Most members of which a node knows, those that are gone included: 1,000 nodes, and room for
/// those that left today.
pub const MEMBERS_MAX: usize = 1_280;

/// A member, as others may see it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The newest word about it.
    pub update: Update,
    /// Its description, if it is known for this boot.
    pub meta: Option<&'a Meta>,
}

#[derive(Debug)]
pub(super) struct Member {
    /// The newest word; its `meta` is the newest version of the description that was heard of.
    pub(super) update: Update,
    /// The description, of this boot.
    pub(super) card: Option<Box<Card>>,
    /// Who told of it: the first one to be asked for the description.
    pub(super) teller: SocketAddr,
    /// What the owner of the machine was told last.
    pub(super) said: Option<(Boot, State)>,
    /// Whether the probes go to it.
    pub(super) in_round: bool,
    /// When a suspect is dead, one that is gone is forgotten, and one that nobody describes too.
    deadline: Option<Mono>,
}

impl Member {
    /// The version of the description that is held; 0 for none.
    pub(super) fn held(&self) -> u16 {
        self.card.as_ref().map_or(0, |card| card.version)
    }

    /// Where to speak to it.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.card.as_ref().map(|card| card.meta.address)
    }
}

#[derive(Debug, Default)]
pub(super) struct Members {
    by_node: BTreeMap<NodeId, Member>,
    due: BTreeSet<(Mono, NodeId)>,
    /// Live members whose newest description is not held.
    wanting: BTreeSet<NodeId>,
}

impl Members {
    pub(super) fn get(&self, node: NodeId) -> Option<&Member> {
        self.by_node.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Member> {
        self.by_node.get_mut(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_node.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }

    /// Makes room for one more, if need be by forgetting the member that is gone longest; returns
    /// that one. `Err` when all places are taken by members that are not gone.
    pub(super) fn make_room(&mut self) -> Result<Option<Member>, ()> {
        if self.by_node.len() < MEMBERS_MAX {
            return Ok(None);
        }
        // All who are gone are forgotten after the same time, so the first one is gone longest.
        let is_gone = |node| self.get(node).is_some_and(|member| !member.update.state.is_live());
        let longest = self.due.iter().map(|&(_, node)| node).find(|&node| is_gone(node));
        longest.map(|node| self.remove(node)).ok_or(())
    }

    /// Notes a member that is new. The caller has made room.
    pub(super) fn insert(&mut self, update: Update, teller: SocketAddr) {
        assert!(self.by_node.len() < MEMBERS_MAX, "room is made first");
        let (card, said, in_round, deadline) = (None, None, false, None);
        let member = Member { update, card, teller, said, in_round, deadline };
        self.by_node.insert(update.node, member);
    }

    pub(super) fn remove(&mut self, node: NodeId) -> Option<Member> {
        self.set_deadline(node, None);
        self.wanting.remove(&node);
        self.by_node.remove(&node)
    }

    pub(super) fn set_deadline(&mut self, node: NodeId, deadline: Option<Mono>) {
        let Some(member) = self.by_node.get_mut(&node) else { return };
        if let Some(old) = member.deadline.take() {
            self.due.remove(&(old, node));
        }
        member.deadline = deadline;
        self.due.extend(deadline.map(|at| (at, node)));
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Takes the earliest deadline at or before `now` and says whose it was.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<NodeId> {
        let &(_, node) = self.due.first().filter(|&&(at, _)| at <= now)?;
        self.set_deadline(node, None);
        Some(node)
    }

    /// The suspects whose time is up in `from..to`, that one first whose time is up first.
    pub(super) fn suspects_until(&self, from: Mono, to: Mono) -> impl Iterator<Item = NodeId> {
        let is_suspect = |member: &Member| member.in_round && member.update.state == State::Suspect;
        let due = self.due.iter().take_while(move |&&(at, _)| at < to);
        let nodes = due.filter(move |&&(at, _)| at >= from).map(|&(_, node)| node);
        nodes.filter(move |&node| self.get(node).is_some_and(is_suspect))
    }

    /// The first member behind `node` in the circle of all numbers that can be spoken to and is no
    /// suspect.
    pub(super) fn neighbour_of(&self, node: NodeId) -> Option<NodeId> {
        let behind = self.by_node.range((Bound::Excluded(node), Bound::Unbounded));
        let mut circle = behind.chain(self.by_node.range(..node)).map(|(_, member)| member);
        let neighbour =
            circle.find(|member| member.in_round && member.update.state == State::Alive);
        neighbour.map(|member| member.update.node)
    }

    /// Gives every suspect so much more time.
    pub(super) fn postpone_suspicions(&mut self, by: Duration) {
        let is_suspect = |member: &&Member| member.update.state == State::Suspect;
        let suspects = self.iter().filter(is_suspect);
        let moved: Vec<(NodeId, Option<Mono>)> = suspects
            .map(|member| (member.update.node, member.deadline.map(|at| at + by)))
            .collect();
        for (node, deadline) in moved {
            self.set_deadline(node, deadline);
        }
    }

    /// Notes whether the description of `node` is to be asked for.
    pub(super) fn settle_wanting(&mut self, node: NodeId) {
        let is_wanting = |member: &Member| {
            member.update.state.is_live()
                && (member.card.is_none() || member.held() < member.update.meta)
        };
        if self.get(node).is_some_and(is_wanting) {
            self.wanting.insert(node);
        } else {
            self.wanting.remove(&node);
        }
    }

    pub(super) fn is_wanting(&self) -> bool {
        !self.wanting.is_empty()
    }

    /// Up to `count` members to be described, in a circle from behind `after`.
    pub(super) fn wanting_after(&self, after: Option<NodeId>, count: usize) -> Vec<NodeId> {
        let behind = |node: &&NodeId| after.is_none_or(|after| **node > after);
        let (first, second): (Vec<NodeId>, Vec<NodeId>) = self.wanting.iter().partition(behind);
        first.into_iter().chain(second).take(count).collect()
    }
}
