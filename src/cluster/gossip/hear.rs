//! What comes in by datagram: who says it, the news, and the purpose.

use super::message::{ASK_MAX, Body, Datagram, HEADER_BYTES, Header};
use super::meta::{Card, META_BYTES_MAX};
use super::probe::Probe;
use super::timing::Timer;
use super::update::{State, UPDATE_BYTES, Update};
use super::{Act, Drop, Event, Gossip, PAYLOAD_BYTES_MAX};
use crate::codec::Encoder;
use crate::ident::{ClusterId, NodeId};
use crate::time::Mono;
use core::net::SocketAddr;

/// Bytes for descriptions in a datagram. What is held against the one who asked must fit, too, or
/// it would not hear of it.
const CARDS_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - HEADER_BYTES - 1 - UPDATE_BYTES;
const _: () = assert!(META_BYTES_MAX <= CARDS_BYTES_MAX);

/// How a word came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Via {
    /// Who may be asked for more.
    pub(super) teller: SocketAddr,
    /// By a list, which may be old; else by a datagram.
    pub(super) is_list: bool,
    /// Whether others do not know it yet, as far as one can tell.
    pub(super) is_news: bool,
}

/// Who sent a message, and what of it counts.
pub(super) struct Sender {
    pub(super) node: NodeId,
    /// Whether its words about others are taken.
    pub(super) is_believed: bool,
}

impl Gossip {
    /// Takes a datagram after the seal was opened. Bytes that are none are counted and dropped.
    pub fn handle(&mut self, from: SocketAddr, bytes: &[u8], now: Mono) {
        let Ok(Datagram { header, body, updates }) = Datagram::decode(bytes) else {
            return self.drops.count(Drop::Malformed);
        };
        let Some(sender) = self.greet(&header, from, now) else {
            if let Body::Ping { .. } = body {
                self.show_successor(&header, from);
            }
            return;
        };
        let via = Via { teller: from, is_list: false, is_news: true };
        for update in updates {
            if sender.is_believed {
                self.learn(update, via, now);
            } else {
                self.drops.count(Drop::Unjoined);
            }
        }
        self.answer(&sender, from, body, now);
        self.keep_timers(now);
    }

    /// Checks the head of a message and takes what it says of its sender. `None` when the message
    /// is to be dropped, which is counted.
    pub(super) fn greet(&mut self, header: &Header, from: SocketAddr, now: Mono) -> Option<Sender> {
        let node = header.sender.node;
        if !self.is_of_ours(header.cluster) {
            self.drops.count(Drop::Foreign);
            let since = self.told_foreign.map(|told| now.since(told));
            if since.is_none_or(|since| since >= self.timing.foreign_every) {
                self.told_foreign = Some(now);
                self.tell(Event::Foreign(header.cluster, from));
            }
            return None;
        }
        if node == self.me.node {
            self.hear_of_myself(header.sender);
            self.drops.count(Drop::Own);
            return None;
        }
        let via = Via { teller: from, is_list: false, is_news: true };
        self.learn(header.sender, via, now);
        // An earlier start, or somebody for whom there is no room: counted where it was refused.
        let known = self.members.get(node)?.update;
        if known.boot != header.sender.boot {
            return None;
        }
        // Who has not joined may know another cluster; its members are never brought in here.
        let none = ClusterId(0);
        let is_believed = self.cluster() == none || header.cluster == self.cluster();
        if let Some((epoch, leader)) = header.leader.filter(|_| header.cluster != none) {
            if self.leader.is_none_or(|(known, _)| epoch > known) {
                self.leader = Some((epoch, leader));
                self.tell(Event::Leader(epoch, leader));
            }
        }
        Some(Sender { node, is_believed })
    }

    /// Whether a message of `cluster` may be heard. A node that has joined hears its own cluster
    /// and those that join; one that has not hears the first cluster that it met.
    fn is_of_ours(&mut self, cluster: ClusterId) -> bool {
        let zero = ClusterId(0);
        if cluster == zero || cluster == self.cluster() {
            return true;
        }
        if self.cluster() == zero && self.leaning == zero {
            self.leaning = cluster;
        }
        self.cluster() == zero && self.leaning == cluster
    }

    /// Tells a node that speaks with an earlier boot than is known who took its number, and no
    /// more: perhaps what came was only a replay.
    fn show_successor(&mut self, header: &Header, to: SocketAddr) {
        let Some(member) = self.members.get(header.sender.node) else { return };
        if member.update.boot > header.sender.boot {
            self.show(member.update, to);
        }
    }

    /// Sends one word.
    fn show(&mut self, update: Update, to: SocketAddr) {
        let updates = vec![update];
        let bytes = Datagram { header: self.header(), body: Body::News, updates }.encode();
        self.acts.push_back(Act::Send { to, bytes });
    }

    /// Takes one word about one member, if it is newer than what is known.
    pub(super) fn learn(&mut self, mut heard: Update, via: Via, now: Mono) {
        if heard.node == self.me.node {
            return self.hear_of_myself(heard);
        }
        let Some(member) = self.members.get_mut(heard.node) else {
            return self.meet(heard, via, now);
        };
        let known = member.update;
        if heard.boot < known.boot {
            return self.drops.count(Drop::OldBoot);
        }
        // A list may come from the other side of a partition, where all of this side are dead:
        // they get the time to contradict.
        if via.is_list && heard.state == State::Dead && known.state.is_live() {
            heard.state = State::Suspect;
        }
        if heard.boot == known.boot {
            heard.meta = heard.meta.max(known.meta);
        }
        if heard.is_newer_than(&known) {
            member.teller = via.teller;
            self.believe(heard, via.is_news, now);
        } else if heard.boot == known.boot && heard.meta > known.meta {
            member.update.meta = heard.meta;
            self.settle(heard.node);
        }
    }

    /// A member that was not known. One that is gone is none: it would only take the place of one
    /// of whom something is known.
    fn meet(&mut self, heard: Update, via: Via, now: Mono) {
        if !heard.state.is_live() {
            return self.drops.count(Drop::UnknownGone);
        }
        let Ok(removed) = self.members.make_room() else {
            return self.drops.count(Drop::Full);
        };
        self.tell_forgotten(removed);
        self.members.insert(heard, via.teller);
        self.believe(heard, via.is_news, now);
    }

    /// A word about this node. Whatever is held against this start of it is contradicted (SWIM,
    /// section 4.2); a later start is somebody else, with whom there is no fight.
    fn hear_of_myself(&mut self, heard: Update) {
        if heard.boot > self.me.boot {
            if heard.boot > self.rival {
                self.rival = heard.boot;
                self.tell(Event::SecondHolder(heard.boot));
            }
        } else if heard.boot < self.me.boot {
            self.drops.count(Drop::OldBoot);
        } else if heard.is_newer_than(&self.me) || heard.meta > self.me.meta {
            // A version above the own one was made up; what is told under it must not stand.
            if heard.meta > self.me.meta {
                match heard.meta.checked_add(1) {
                    Some(version) => {
                        self.me.meta = version;
                        self.card.version = version;
                    }
                    None => self.fall_silent(),
                }
            }
            self.speak_up(heard.incarnation);
        }
    }

    fn answer(&mut self, sender: &Sender, from: SocketAddr, body: Body, now: Mono) {
        let me = self.me.node;
        match body {
            Body::Ping { seq, target, origin } if target == me => {
                self.send(from, Some(sender.node), Body::Ack { seq, subject: me, origin });
            }
            Body::Ping { .. } => self.drops.count(Drop::Misdirected),
            Body::PingFor { target, .. } if target == me => self.drops.count(Drop::Misdirected),
            Body::PingFor { seq, target } => {
                let known = self.members.get(target).map(|member| member.update);
                // Whoever asks has missed the goodbye.
                match known.filter(|update| update.state == State::Left) {
                    Some(goodbye) => self.show(goodbye, from),
                    None => self.send_to(target, Body::Ping { seq, target, origin: sender.node }),
                }
            }
            Body::Ack { seq, subject, origin } if origin == me => {
                self.take_ack(sender.node, seq, subject);
            }
            // Passed on for the one who asked for the ping: only what the sender says of itself.
            Body::Ack { seq, subject, origin } if subject == sender.node => {
                self.send_to(origin, Body::Ack { seq, subject, origin });
            }
            Body::Ack { .. } => self.drops.count(Drop::Unasked),
            Body::Ask(nodes) => self.describe(sender.node, from, &nodes),
            Body::Cards(cards) => {
                for card in cards {
                    if sender.is_believed || card.node == sender.node {
                        self.hold(card);
                    } else {
                        self.drops.count(Drop::Unjoined);
                    }
                }
                // Something came: the rest is asked for soon.
                if self.goodbyes.is_none() && self.members.is_wanting() {
                    self.timers.arm(Timer::Ask, now + self.timing.ask_pause);
                }
            }
            Body::News => {}
        }
    }

    fn take_ack(&mut self, sender: NodeId, seq: u32, subject: NodeId) {
        let is_answered = |probe: &Probe| {
            self.seq == seq
                && probe.target == subject
                && (sender == subject || probe.helpers.contains(&sender))
        };
        match self.probes.iter().position(is_answered) {
            Some(at) => drop(self.probes.swap_remove(at)),
            None => self.drops.count(Drop::Unasked),
        }
    }

    /// Sends the descriptions that are held, as many as fit in one datagram; who asked asks again
    /// for the rest.
    fn describe(&mut self, node: NodeId, to: SocketAddr, asked: &[NodeId]) {
        let mut room = CARDS_BYTES_MAX;
        let mut cards = Vec::new();
        for &about in asked {
            let card = match self.members.get(about) {
                Some(member) => member.card.as_deref(),
                None => Some(&self.card).filter(|card| card.node == about),
            };
            let Some(card) = card else { continue };
            let mut out = Encoder::with_capacity(META_BYTES_MAX);
            card.encode(&mut out);
            if let Some(rest) = room.checked_sub(out.len()) {
                room = rest;
                cards.push(card.clone());
            }
        }
        if !cards.is_empty() {
            self.send(to, Some(node), Body::Cards(cards));
        }
    }

    /// Takes a description, if it is newer than the one that is held.
    pub(super) fn hold(&mut self, card: Card) {
        let node = card.node;
        let Some(member) = self.members.get_mut(node) else {
            return self.drops.count(Drop::StrayCard);
        };
        if member.update.boot != card.boot || card.version < member.held() {
            return self.drops.count(Drop::StrayCard);
        }
        // Each list brings that of its teller, and two may answer one question.
        if card.version == member.held() {
            return;
        }
        member.update.meta = member.update.meta.max(card.version);
        member.card = Some(Box::new(card));
        if member.update.state == State::Alive {
            self.members.set_deadline(node, None);
        }
        self.settle(node);
        self.tell(Event::Described(node));
    }

    /// Asks for descriptions: first the one who told of the first member, then, as it may not hold
    /// it itself, anybody.
    pub(super) fn ask(&mut self, now: Mono) {
        let nodes = self.members.wanting_after(self.last_asked, ASK_MAX);
        let Some(&first) = nodes.first() else { return };
        self.last_asked = nodes.last().copied();
        let anybody = self.round.draw(1, None, &mut self.rng).first().copied();
        let chosen = anybody.filter(|_| self.ask_anybody);
        self.ask_anybody = !self.ask_anybody;
        match (chosen, self.members.get(first)) {
            (Some(node), _) => self.send_to(node, Body::Ask(nodes)),
            (None, Some(member)) => self.send(member.teller, None, Body::Ask(nodes)),
            (None, None) => {}
        }
        self.timers.arm(Timer::Ask, now + self.timing.ask_every);
    }
}
