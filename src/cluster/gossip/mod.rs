//! Who is there: the gossip of all nodes, by the SWIM protocol (Das, Gupta and Motivala, 2002).
//!
//! Owns the list of members, what is believed of each and the news about them. All of it is a hint:
//! nothing here decides voters, votes, commit, targets or the end of a run. Takes clear datagrams
//! and lists and the time; gives what is to be sent and told. Sealing, sockets and names are
//! others'. The node drives it: after each call take [`Gossip::poll`] until `None`, then call
//! [`Gossip::tick`] at [`Gossip::poll_timeout`]. Beyond the paper: everybody has a neighbour that
//! probes it in every period, a suspect hears of it first and is asked before it is held for dead,
//! news need not wait for a probe, who oversleeps blames nobody, and lists heal partitions.

mod drops;
mod hear;
mod lists;
mod members;
mod message;
mod meta;
mod probe;
mod round;
mod rumors;
mod timing;
mod update;

#[cfg(test)]
mod tests;

pub use drops::{Drop, Drops};
pub use members::{MEMBERS_MAX, View};
pub use message::{
    ASK_MAX, Body, Datagram, HEADER_BYTES, Header, LIST_BYTES_MAX, LIST_MAX, List, VERSION,
    updates_that_fit,
};
pub use meta::{Card, META_BYTES_MAX, Meta};
pub use timing::Timing;
pub use update::{BOOT_MAX, INCARNATION_MAX, State, UPDATE_BYTES, Update};

use crate::codec::DecodeError;
use crate::ident::{Boot, ClusterId, Epoch, NodeId};
use crate::rng::Rng;
use crate::time::Mono;
use core::net::SocketAddr;
use members::{Member, Members};
use probe::Probe;
use round::Round;
use rumors::Rumors;
use std::collections::VecDeque;
use std::time::Duration;
use timing::{Timer, Timers};

/// Most bytes of a datagram before it is sealed.
pub const PAYLOAD_BYTES_MAX: usize = super::seal::PAYLOAD_MAX_BYTES;

/// Most addresses to join by; those behind them are left out.
pub const JOIN_MAX: usize = 32;

/// How many members are told the news at a time.
const SPREAD_FANOUT: usize = 3;

/// Rounds in which a leaving node says goodbye, and to how many members in each.
const LEAVE_ROUNDS: u32 = 3;
const LEAVE_FANOUT: usize = 3;

/// This node, as it starts.
#[derive(Clone, Debug)]
pub struct Me {
    /// Its number.
    pub node: NodeId,
    /// This start of it, at most [`BOOT_MAX`].
    pub boot: Boot,
    /// What it tells of itself, its cluster included.
    pub meta: Meta,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Seal these bytes, at most [`PAYLOAD_BYTES_MAX`], and send them.
    Send {
        /// Where to.
        to: SocketAddr,
        /// A [`Datagram`].
        bytes: Vec<u8>,
    },
    /// Send this list over a stream, and give what comes back to [`Gossip::list_answered`]. A
    /// failure needs no report.
    Exchange {
        /// Where to.
        with: SocketAddr,
        /// A [`List`], at most [`LIST_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// Something has changed.
    Tell(Event),
}

/// What has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A member is now believed to be in this state. First told when its description is known.
    Member {
        /// Who.
        node: NodeId,
        /// In which start.
        boot: Boot,
        /// What is believed now.
        state: State,
    },
    /// A member's description has come, or is a newer one.
    Described(NodeId),
    /// A member is no longer known: it was gone for long, or had to make room.
    Forgotten(NodeId),
    /// A leader of a higher epoch than before was heard of. A hint.
    Leader(Epoch, NodeId),
    /// A later start of this very node was heard of: somebody else goes by its number. It is not
    /// contradicted. Told once for each higher boot.
    SecondHolder(Boot),
    /// This node can no longer contradict what is said of it, as somebody has used up the numbers:
    /// only a new boot helps. Told once.
    Speechless,
    /// A message of another cluster came. Told once an hour.
    Foreign(ClusterId, SocketAddr),
    /// The goodbye was said. Told once.
    SaidGoodbye,
}

/// One node's part in the gossip.
#[derive(Debug)]
pub struct Gossip {
    me: Update,
    card: Card,
    timing: Timing,
    rng: Rng,
    members: Members,
    round: Round,
    rumors: Rumors,
    timers: Timers,
    /// Who was pinged in this period and has not answered, with which number and how often.
    probes: Vec<Probe>,
    seq: u32,
    pings: u32,
    /// Suspects whose time is up before this were asked a last time.
    asked_until: Mono,
    leader: Option<(Epoch, NodeId)>,
    /// Before joining: the first cluster that was heard of, so that two are never mixed.
    leaning: ClusterId,
    join: Vec<SocketAddr>,
    next_join: usize,
    last_asked: Option<NodeId>,
    ask_anybody: bool,
    goodbyes: Option<u32>,
    rival: Boot,
    is_speechless: bool,
    told_foreign: Option<Mono>,
    drops: Drops,
    acts: VecDeque<Act>,
}

impl Gossip {
    /// This node alone. `seed` spreads its timers and choices.
    ///
    /// # Errors
    /// When others would not take `me.meta`: it is larger than [`META_BYTES_MAX`], the name is not
    /// allowed, or nobody can send to the address.
    ///
    /// # Panics
    /// When the boot is above [`BOOT_MAX`].
    pub fn new(me: Me, seed: u64, timing: Timing) -> Result<Gossip, DecodeError> {
        let Me { node, boot, meta } = me;
        assert!(boot.0 <= BOOT_MAX, "a boot counts seconds since 1970 or starts");
        let card = Card { node, boot, version: 1, meta };
        card.check()?;
        let mut rng = Rng::new(seed);
        Ok(Gossip {
            me: Update { node, boot, incarnation: 0, state: State::Alive, meta: card.version },
            card,
            timing,
            members: Members::default(),
            round: Round::default(),
            rumors: Rumors::default(),
            timers: Timers::default(),
            probes: Vec::new(),
            seq: rng.next_u64() as u32,
            pings: 0,
            asked_until: Mono(0),
            rng,
            leader: None,
            leaning: ClusterId(0),
            join: Vec::new(),
            next_join: 0,
            last_asked: None,
            ask_anybody: false,
            goodbyes: None,
            rival: boot,
            is_speechless: false,
            told_foreign: None,
            drops: Drops::default(),
            acts: VecDeque::new(),
        })
    }

    /// Sets the addresses to find the others by: at once while nobody is known, and later for as
    /// long as none of the known members has that address.
    pub fn set_join(&mut self, mut addresses: Vec<SocketAddr>, now: Mono) {
        addresses.truncate(JOIN_MAX);
        self.join = addresses;
        self.timers.disarm(Timer::Join);
        self.keep_timers(now);
    }

    /// Changes what this node tells of itself and spreads that there is something new.
    ///
    /// # Errors
    /// As [`Gossip::new`], and when it was changed 65,534 times in this boot; nothing is changed
    /// then.
    pub fn set_meta(&mut self, meta: Meta, now: Mono) -> Result<(), DecodeError> {
        let version = self.me.meta.checked_add(1).ok_or(DecodeError::Invalid("version"))?;
        let card = Card { version, meta, ..self.card.clone() };
        card.check()?;
        let none = ClusterId(0);
        if card.meta.cluster != none {
            let leaning = std::mem::replace(&mut self.leaning, none);
            if leaning != none && leaning != card.meta.cluster {
                self.forget_everybody();
            }
        }
        self.card = card;
        self.me.meta = version;
        self.speak_up(self.me.incarnation);
        self.keep_timers(now);
        Ok(())
    }

    /// Notes a leader that this node knows of by itself. The highest epoch is spread.
    pub fn set_leader(&mut self, epoch: Epoch, node: NodeId) {
        if self.leader.is_none_or(|(known, _)| epoch > known) {
            self.leader = Some((epoch, node));
        }
    }

    /// Says goodbye to a few members and then tells [`Event::SaidGoodbye`]. Go on driving it until
    /// then.
    pub fn leave(&mut self, now: Mono) {
        if self.goodbyes.is_none() {
            self.goodbyes = Some(LEAVE_ROUNDS);
            self.me.state = State::Left;
            self.timers = Timers::default();
            self.timers.arm(Timer::Goodbye, now);
        }
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Mono) {
        let late = self.poll_timeout().map_or_else(Default::default, |at| now.since(at));
        if late >= self.timing.late {
            self.excuse_all(late);
        }
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Probe => self.begin_period(now),
                Timer::Ping => self.ping(now),
                Timer::Spread => self.spread(now),
                Timer::Ask => self.ask(now),
                Timer::List => self.compare_lists(now),
                Timer::Heal => self.heal(now),
                Timer::Join => self.join(now),
                Timer::Goodbye => self.say_goodbye(now),
            }
        }
        while let Some(node) = self.members.pop_due(now) {
            self.expire(node, now);
        }
        self.keep_timers(now);
    }

    /// When to call [`Gossip::tick`] next; `None` while there is nothing to wait for.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let deadlines = [self.timers.next(), self.members.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// What is to be done next. At most a few times [`LIST_MAX`] wait, and only behind a list.
    pub fn poll(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// All other members that are known, in the order of their numbers.
    pub fn members(&self) -> impl Iterator<Item = View<'_>> {
        self.members.iter().map(view)
    }

    /// One of the other members.
    pub fn member(&self, node: NodeId) -> Option<View<'_>> {
        self.members.get(node).map(view)
    }

    /// This node, as it tells of itself.
    pub fn me(&self) -> View<'_> {
        View { update: self.me, meta: Some(&self.card.meta) }
    }

    /// The leader of the highest epoch that was heard of. A hint.
    pub fn leader(&self) -> Option<(Epoch, NodeId)> {
        self.leader
    }

    /// What was not taken, by reason.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// How many news are still being spread; at most [`MEMBERS_MAX`] and one.
    pub fn rumors(&self) -> usize {
        self.rumors.len()
    }

    /// How many nodes there are to speak to, and this one.
    fn nodes(&self) -> usize {
        self.round.len() + 1
    }

    fn cluster(&self) -> ClusterId {
        self.card.meta.cluster
    }

    fn header(&self) -> Header {
        Header { cluster: self.cluster(), sender: self.me, leader: self.leader }
    }

    /// Sends `body` with as many news as fit. What is held against `node`, if that is who it goes
    /// to, comes first: it can only contradict what it has heard. So does what is known of the one
    /// that `body` is about: a suspicion goes with the question, and its contradiction comes with
    /// the answer.
    fn send(&mut self, to: SocketAddr, node: Option<NodeId>, body: Body) {
        let room = updates_that_fit(&body);
        let word = |node: NodeId| self.members.get(node).map(|member| member.update);
        let against = node.and_then(word).filter(|update| update.state != State::Alive);
        let mut updates: Vec<Update> =
            against.into_iter().chain(body.subject().and_then(word)).take(room).collect();
        let nodes = self.nodes();
        updates.extend(self.rumors.take(room - updates.len(), nodes));
        let bytes = Datagram { header: self.header(), body, updates }.encode();
        self.acts.push_back(Act::Send { to, bytes });
    }

    /// Sends `body` to a member, if its address is known.
    fn send_to(&mut self, node: NodeId, body: Body) {
        match self.members.get(node).and_then(Member::address) {
            Some(address) => self.send(address, Some(node), body),
            None => self.drops.count(Drop::NoAddress),
        }
    }

    fn tell(&mut self, event: Event) {
        self.acts.push_back(Act::Tell(event));
    }

    /// Raises the own incarnation above `said`, so that the own word is the last one, and spreads
    /// it.
    fn speak_up(&mut self, said: u32) {
        let above = self.me.incarnation.max(said) + 1;
        if above <= INCARNATION_MAX {
            self.me.incarnation = above;
        } else {
            self.fall_silent();
        }
        self.rumors.push(self.me);
    }

    fn fall_silent(&mut self) {
        if !self.is_speechless {
            self.is_speechless = true;
            self.tell(Event::Speechless);
        }
    }

    /// Tells a few members the news. The probes alone are too slow a carrier: a suspicion and its
    /// contradiction would each need about as long to reach all as the suspicion lasts.
    fn spread(&mut self, now: Mono) {
        for node in self.round.draw(SPREAD_FANOUT, None, &mut self.rng) {
            if self.has_news() {
                self.send_to(node, Body::News);
            }
        }
        if self.has_news() {
            self.timers.arm(Timer::Spread, now + self.timing.spread_every);
        }
    }

    /// Whether there is a word to tell and somebody to tell it to.
    fn has_news(&self) -> bool {
        self.round.len() > 0 && self.rumors.len() > 0
    }

    fn say_goodbye(&mut self, now: Mono) {
        let Some(rounds) = self.goodbyes else { return };
        let to = self.round.draw(LEAVE_FANOUT, None, &mut self.rng);
        if rounds == 0 || to.is_empty() {
            return self.tell(Event::SaidGoodbye);
        }
        to.into_iter().for_each(|node| self.send_to(node, Body::News));
        self.goodbyes = Some(rounds - 1);
        self.timers.arm(Timer::Goodbye, now + self.timing.goodbye_every);
    }

    /// Arms what has become necessary: what comes again and again at a moment of its own, so that
    /// nodes that start together do not act together, and the rest at once. What is no longer
    /// necessary runs out.
    fn keep_timers(&mut self, now: Mono) {
        if self.goodbyes.is_some() {
            return;
        }
        let has_peers = self.round.len() > 0;
        let may_heal = self.members.len() > 0 || !self.join.is_empty();
        let is_lost = !has_peers && !self.join.is_empty();
        let timing = &self.timing;
        for (timer, is_needed, within) in [
            (Timer::Probe, has_peers, timing.probe_every),
            (Timer::List, has_peers, timing.list_every),
            (Timer::Heal, may_heal, timing.heal_every),
            (Timer::Join, is_lost, Duration::ZERO),
            (Timer::Ask, self.members.is_wanting(), Duration::ZERO),
            (Timer::Spread, self.has_news(), Duration::ZERO),
        ] {
            if is_needed && !self.timers.is_armed(timer) {
                let wait = timing::part_of(within, &mut self.rng);
                self.timers.arm(timer, now + wait);
            }
        }
    }
}

fn view(member: &Member) -> View<'_> {
    View { update: member.update, meta: member.card.as_ref().map(|card| &card.meta) }
}
