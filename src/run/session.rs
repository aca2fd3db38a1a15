//! Sessions: how a leader and the nodes that run things for it know that they hear each other.
//!
//! A node greets the leader, registers with it, and from then on each hears the other's beat. What
//! is said in a session is numbered, so that nothing is missing in between: who finds a gap ends
//! the session and begins another, in which the leader asks for all that it does not know. Never
//! decides what a run becomes. Deadlines travel on the leader's monotonic clock: the node keeps the
//! smallest difference that it has seen between its own clock and the leader's, which is right
//! but for the shortest time that a word was on its way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::worker::{Order, Report};
use crate::ident::{Epoch, NodeId, RunId};
use crate::mistake::{Mistake, made};
use crate::rng::Rng;
use crate::store::Member;
use crate::time::Mono;

/// The shortest time between two beats.
pub const BEAT_MIN: Duration = Duration::from_secs(2);
/// One second is added to it for each so many nodes.
const NODES_PER_BEAT_SECOND: u32 = 50;
/// A node that has missed so many beats is given nothing new that another could do.
const BEATS_UNTIL_DOUBTED: u32 = 3;
/// A session ends after so many.
const BEATS_UNTIL_OVER: u32 = 10;
/// In a new office no session is given up before this.
pub const PATIENCE_AFTER_FAILOVER: Duration = Duration::from_secs(120);
/// How long a greeting waits for its answer.
const GREETING_WAIT: Duration = Duration::from_secs(1);
/// Greetings after a lost session are spread over this, so that a new leader is not run over.
const GREETING_SPREAD: Duration = Duration::from_secs(1);
/// Most nodes with a session.
pub const SESSIONS_MAX: usize = 1_100;

/// Something that is said in a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// The session, drawn by the node that greeted.
    pub session: u64,
    /// Counted from 0 in each direction.
    pub number: u64,
    /// What is said.
    pub said: Said,
}

/// What can be said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// The node's: it wants a session, and to be registered so.
    Greeting(Box<Member>),
    /// The node's: what became of a run.
    Report(RunId, Report),
    /// Either's: I am there. The leader adds its clock and how often it will say so.
    Beat(Mono, Duration),
    /// The leader's: the session has begun.
    Welcome(Mono, Duration),
    /// The leader's: start this.
    Order(Box<Order>),
    /// The leader's: what became of this run?
    Question(RunId),
    /// The leader's: the end of this run is committed.
    Settle(RunId),
    /// The leader's: there is no such session, or not any more. With what is wrong, if waiting
    /// alone does not help.
    Over(Option<String>),
}

/// A node's side of its one session.
#[derive(Debug)]
pub struct Tether {
    rng: Rng,
    leader: Option<(NodeId, Epoch)>,
    session: u64,
    phase: Phase,
    /// The next number to say, and to hear.
    say_next: u64,
    hear_next: u64,
    /// The own clock less the leader's, in nanoseconds, at least.
    offset: Option<i128>,
    heard: Mono,
    beat: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// It greets at that time.
    Away(Mono),
    /// It has greeted, and waits until then.
    Greeting(Mono),
    /// The session stands; the next beat is due then.
    Open(Mono),
}

/// What a node makes of a word of its leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Nothing to be done.
    Nothing,
    /// The session has begun: tell of all that has ended.
    Begun,
    /// Start this; the deadline is on the own clock.
    Order(Box<Order>),
    /// Tell what became of this run.
    Question(RunId),
    /// The end of this run is committed.
    Settle(RunId),
    /// The leader refuses the session, and says why.
    Refused(String),
}

impl Tether {
    /// A node without a leader.
    pub fn new(seed: u64) -> Tether {
        Tether {
            rng: Rng::new(seed),
            leader: None,
            session: 0,
            phase: Phase::Away(Mono(0)),
            say_next: 0,
            hear_next: 0,
            offset: None,
            heard: Mono(0),
            beat: BEAT_MIN,
        }
    }

    /// The leader is this one now, or nobody that the node would have to speak to. True when that
    /// is news.
    pub fn leader_is(&mut self, leader: Option<(NodeId, Epoch)>, now: Mono) -> bool {
        if self.leader == leader {
            return false;
        }
        self.leader = leader;
        self.offset = None;
        self.phase = Phase::Away(now);
        true
    }

    /// The node has something new to say of itself: it greets at once.
    pub fn greet_anew(&mut self, now: Mono) {
        self.phase = Phase::Away(now);
    }

    /// Whether the session stands.
    pub fn is_open(&self) -> bool {
        self.leader.is_some() && matches!(self.phase, Phase::Open(_))
    }

    /// When [`Tether::tick`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.leader?;
        match self.phase {
            Phase::Away(at) | Phase::Greeting(at) => Some(at),
            Phase::Open(beat_at) => Some(beat_at.min(self.heard + self.beat * BEATS_UNTIL_OVER)),
        }
    }

    /// What is due: a greeting as `me`, or a beat. `may_greet` says whether the leader's epoch is
    /// durable here.
    pub fn tick(&mut self, me: &Member, may_greet: bool, now: Mono) -> Option<(NodeId, Word)> {
        match self.phase {
            Phase::Away(at) if at <= now && may_greet => {
                self.session = self.rng.next_u64();
                (self.say_next, self.hear_next) = (0, 0);
                self.phase = Phase::Greeting(now + GREETING_WAIT);
                self.heard = now;
                self.say(Said::Greeting(Box::new(me.clone())))
            }
            Phase::Greeting(at) if at <= now => {
                self.phase = Phase::Away(now);
                None
            }
            Phase::Open(_) if now.since(self.heard) >= self.beat * BEATS_UNTIL_OVER => {
                self.lose(now);
                None
            }
            Phase::Open(at) if at <= now => {
                self.phase = Phase::Open(now + self.beat);
                self.say(Said::Beat(now, self.beat))
            }
            Phase::Away(_) | Phase::Greeting(_) | Phase::Open(_) => None,
        }
    }

    /// Says something to the leader, if there is a session.
    pub fn report(&mut self, run: RunId, report: Report) -> Option<(NodeId, Word)> {
        if self.is_open() { self.say(Said::Report(run, report)) } else { None }
    }

    /// Takes a word of `from`.
    pub fn hear(&mut self, from: NodeId, word: Word, now: Mono) -> Heard {
        let of_leader = self.leader == Some((from, word.epoch)) && word.session == self.session;
        if !of_leader {
            if let (true, Said::Order(order)) = (made(Mistake::LowEpochObeyed), word.said) {
                return Heard::Order(order);
            }
            return Heard::Nothing;
        }
        if let Said::Over(why) = word.said {
            self.lose(now);
            return why.map_or(Heard::Nothing, Heard::Refused);
        }
        if word.number != self.hear_next {
            self.lose(now);
            return Heard::Nothing;
        }
        self.hear_next += 1;
        self.heard = now;
        match word.said {
            Said::Welcome(sent, beat) => {
                self.clock(sent, beat, now);
                self.phase = Phase::Open(now + self.beat);
                Heard::Begun
            }
            Said::Beat(sent, beat) => {
                self.clock(sent, beat, now);
                Heard::Nothing
            }
            Said::Order(mut order) => {
                order.deadline = self.local(order.deadline);
                Heard::Order(order)
            }
            Said::Question(run) => Heard::Question(run),
            Said::Settle(run) => Heard::Settle(run),
            Said::Greeting(_) | Said::Report(..) | Said::Over(_) => Heard::Nothing,
        }
    }

    fn clock(&mut self, sent: Mono, beat: Duration, now: Mono) {
        let offset = i128::from(now.0) - i128::from(sent.0);
        self.offset = Some(self.offset.map_or(offset, |least| least.min(offset)));
        self.beat = beat.clamp(BEAT_MIN, BEAT_MIN * 60);
    }

    /// A moment of the leader's clock on the own one.
    fn local(&self, leaders: Mono) -> Mono {
        let nanos = i128::from(leaders.0) + self.offset.unwrap_or(0);
        Mono(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }

    fn lose(&mut self, now: Mono) {
        let spread = u64::try_from(GREETING_SPREAD.as_nanos()).unwrap_or(u64::MAX);
        self.phase = Phase::Away(now + Duration::from_nanos(self.rng.below(spread)));
    }

    fn say(&mut self, said: Said) -> Option<(NodeId, Word)> {
        let (leader, epoch) = self.leader?;
        let number = self.say_next;
        self.say_next += 1;
        Some((leader, Word { epoch, session: self.session, number, said }))
    }
}

/// A leader's side of all sessions of its office.
#[derive(Debug, Default)]
pub struct Sessions {
    epoch: Epoch,
    began: Mono,
    of: BTreeMap<NodeId, Session>,
}

#[derive(Debug)]
struct Session {
    number: u64,
    /// What it wants to be registered as; `None` once it has been welcomed, that being committed.
    wants: Option<Box<Member>>,
    say_next: u64,
    hear_next: u64,
    heard: Mono,
    beat_at: Mono,
}

/// What a leader makes of a word of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromNode {
    /// Nothing to be done.
    Nothing,
    /// It wants a session, and to be registered so. An older session of it has ended.
    Greeting(Box<Member>),
    /// What became of a run of its own.
    Report(RunId, Report),
    /// Its session has ended; it is to be told so.
    Lost,
}

impl Sessions {
    /// Begins an office at `now`: nobody has a session.
    pub fn take_office(&mut self, epoch: Epoch, now: Mono) {
        *self = Sessions { epoch, began: now, of: BTreeMap::new() };
    }

    /// Ends the office.
    pub fn leave_office(&mut self) {
        self.of.clear();
    }

    /// Whether `node` has a session.
    pub fn is_open(&self, node: NodeId) -> bool {
        self.of.get(&node).is_some_and(|session| session.wants.is_none())
    }

    /// What the nodes want to be registered as that have greeted and are not welcomed yet.
    pub fn waiting(&self) -> impl Iterator<Item = &Member> {
        self.of.values().filter_map(|session| session.wants.as_deref())
    }

    /// Whether `node` has a session and was heard lately: it may be chosen before another.
    pub fn is_hale(&self, node: NodeId, now: Mono) -> bool {
        let wait = self.beat() * BEATS_UNTIL_DOUBTED;
        let hale = |own: &Session| own.wants.is_none() && now.since(own.heard) <= wait;
        self.of.get(&node).is_some_and(hale)
    }

    /// Takes a word of `from`.
    pub fn hear(&mut self, from: NodeId, word: Word, now: Mono) -> FromNode {
        if word.epoch != self.epoch {
            return FromNode::Nothing;
        }
        if let Said::Greeting(member) = word.said {
            let is_room = self.of.len() < SESSIONS_MAX || self.of.contains_key(&from);
            if member.id != from || !is_room || word.number != 0 {
                return FromNode::Nothing;
            }
            let (number, hear_next, beat_at) = (word.session, 1, now + self.beat());
            let wants = Some(member.clone());
            let session = Session { number, wants, say_next: 0, hear_next, heard: now, beat_at };
            self.of.insert(from, session);
            return FromNode::Greeting(member);
        }
        let Some(session) = self.of.get_mut(&from).filter(|own| own.number == word.session) else {
            return FromNode::Nothing;
        };
        if word.number != session.hear_next {
            return FromNode::Lost;
        }
        session.hear_next += 1;
        session.heard = now;
        match word.said {
            // Only the node that a claim names can tell of its run.
            Said::Report(run, report) if run.node == from => FromNode::Report(run, report),
            Said::Report(..)
            | Said::Beat(..)
            | Said::Greeting(_)
            | Said::Welcome(..)
            | Said::Order(_)
            | Said::Question(_)
            | Said::Settle(_)
            | Said::Over(_) => FromNode::Nothing,
        }
    }

    /// The registration of `node` is committed: its session begins. `None` when it has not asked
    /// for one, or has one.
    pub fn welcome(&mut self, node: NodeId, now: Mono) -> Option<Word> {
        let session = self.of.get_mut(&node).filter(|session| session.wants.is_some())?;
        session.wants = None;
        let beat = self.beat();
        self.say(node, Said::Welcome(now, beat))
    }

    /// A word for `node`; `None` when it has no session.
    pub fn say(&mut self, node: NodeId, said: Said) -> Option<Word> {
        let session = self.of.get_mut(&node)?;
        let number = session.say_next;
        session.say_next += 1;
        Some(Word { epoch: self.epoch, session: session.number, number, said })
    }

    /// Ends the session of `node`, and gives the word that tells it so.
    pub fn end(&mut self, node: NodeId, why: Option<String>) -> Option<Word> {
        let word = self.say(node, Said::Over(why));
        self.of.remove(&node);
        word
    }

    /// When [`Sessions::tick`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.of.values().map(|session| session.beat_at).min()
    }

    /// The beats that are due, and the nodes that have not been heard for too long.
    pub fn tick(&mut self, now: Mono) -> (Vec<(NodeId, Word)>, Vec<NodeId>) {
        let beat = self.beat();
        let patient = now.since(self.began) < PATIENCE_AFTER_FAILOVER;
        let mut over = Vec::new();
        let mut due = Vec::new();
        for (&node, session) in &mut self.of {
            if session.beat_at > now {
                continue;
            }
            session.beat_at = now + beat;
            if !patient && now.since(session.heard) >= beat * BEATS_UNTIL_OVER {
                over.push(node);
            } else if session.wants.is_none() {
                due.push(node);
            }
        }
        let words = due.into_iter().filter_map(|node| {
            let word = self.say(node, Said::Beat(now, beat))?;
            Some((node, word))
        });
        (words.collect(), over)
    }

    fn beat(&self) -> Duration {
        let nodes = u32::try_from(self.of.len()).unwrap_or(u32::MAX);
        BEAT_MIN.max(Duration::from_secs(u64::from(nodes / NODES_PER_BEAT_SECOND)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{Boot, Index, StoreId};
    use crate::store::MemberState;

    const SECOND: u64 = 1_000_000_000;

    fn node(id: u32) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn member(id: u32) -> Member {
        Member {
            id: node(id),
            store: StoreId(1),
            boot: Boot(1),
            name: format!("n{id}"),
            address: String::new(),
            server: true,
            work: true,
            tags: Vec::new(),
            state: MemberState::Registered,
        }
    }

    /// A leader and a node, 5 s apart by their clocks, with a session.
    fn session() -> (Sessions, Tether) {
        let (mut leader, mut tether) = (Sessions::default(), Tether::new(3));
        leader.take_office(Epoch(2), Mono(0));
        assert!(tether.leader_is(Some((node(1), Epoch(2))), Mono(6 * SECOND)));
        assert_eq!(tether.tick(&member(2), false, Mono(6 * SECOND)), None, "its epoch first");
        let (to, greeting) = tether.tick(&member(2), true, Mono(6 * SECOND)).unwrap();
        assert_eq!(to, node(1));
        let said = leader.hear(node(2), greeting, Mono(SECOND));
        assert_eq!(said, FromNode::Greeting(Box::new(member(2))));
        let welcome = leader.welcome(node(2), Mono(SECOND)).unwrap();
        assert_eq!(tether.hear(node(1), welcome, Mono(6 * SECOND + 1_000)), Heard::Begun);
        (leader, tether)
    }

    fn run(of: u32) -> RunId {
        RunId { group: Index(9), node: node(of), attempt: 1 }
    }

    #[test]
    fn a_deadline_keeps_its_moment_on_another_clock() {
        let (mut leader, mut tether) = session();
        let beat = leader.say(node(2), Said::Beat(Mono(3 * SECOND), BEAT_MIN)).unwrap();
        // This one was faster, so the clocks are 5 s and at most 400 ns apart.
        tether.hear(node(1), beat, Mono(8 * SECOND + 400));
        let slow = leader.say(node(2), Said::Beat(Mono(4 * SECOND), BEAT_MIN)).unwrap();
        tether.hear(node(1), slow, Mono(11 * SECOND));
        assert_eq!(tether.local(Mono(60 * SECOND)), Mono(65 * SECOND + 400));
    }

    #[test]
    fn what_is_missing_in_between_ends_the_session_on_both_sides() {
        for lost_of_node in [true, false] {
            let (mut leader, mut tether) = session();
            if lost_of_node {
                let _lost = tether.report(run(2), Report::Starting).unwrap();
                let (_, next) = tether.report(run(2), Report::NeverStarted).unwrap();
                assert_eq!(leader.hear(node(2), next, Mono(2 * SECOND)), FromNode::Lost);
                let over = leader.end(node(2), None).unwrap();
                assert_eq!(tether.hear(node(1), over, Mono(7 * SECOND)), Heard::Nothing);
                assert!(!leader.is_open(node(2)));
            } else {
                let _lost = leader.say(node(2), Said::Question(run(2))).unwrap();
                let next = leader.say(node(2), Said::Settle(run(2))).unwrap();
                assert_eq!(tether.hear(node(1), next, Mono(7 * SECOND)), Heard::Nothing);
            }
            assert!(!tether.is_open());
            let at = tether.poll_timeout().unwrap();
            assert!(tether.tick(&member(2), true, at).is_some(), "it greets anew");
        }
    }

    #[test]
    fn words_of_other_sessions_epochs_and_nodes_say_nothing() {
        let (mut leader, mut tether) = session();
        let (_, word) = tether.report(run(2), Report::Starting).unwrap();
        for (from, wrong) in [
            (3, word.clone()),
            (2, Word { session: word.session + 1, ..word.clone() }),
            (2, Word { epoch: Epoch(1), ..word.clone() }),
        ] {
            assert_eq!(leader.hear(node(from), wrong, Mono(2 * SECOND)), FromNode::Nothing);
        }
        let report = FromNode::Report(run(2), Report::Starting);
        assert_eq!(leader.hear(node(2), word.clone(), Mono(2 * SECOND)), report);
        let other = Word { number: 2, said: Said::Report(run(3), Report::Starting), ..word };
        assert_eq!(leader.hear(node(2), other, Mono(2 * SECOND)), FromNode::Nothing);
        let question = leader.say(node(2), Said::Question(run(2))).unwrap();
        assert_eq!(tether.hear(node(4), question.clone(), Mono(7 * SECOND)), Heard::Nothing);
        let asked = tether.hear(node(1), question, Mono(7 * SECOND));
        assert_eq!(asked, Heard::Question(run(2)));
    }

    #[test]
    fn a_silent_node_is_doubted_after_three_beats_and_given_up_after_ten() {
        let (mut leader, _) = session();
        let at = |seconds: u64| Mono((1 + seconds) * SECOND);
        assert!(leader.is_hale(node(2), at(6)) && !leader.is_hale(node(2), at(7)));
        assert!(leader.tick(at(100)).1.is_empty(), "the office is young");
        assert_eq!(leader.tick(at(130)).1, [node(2)]);
    }

    #[test]
    fn there_are_only_so_many_sessions() {
        let mut leader = Sessions::default();
        let count = SESSIONS_MAX as u32;
        for id in 1..=count + 1 {
            let said = Said::Greeting(Box::new(member(id)));
            let word = Word { epoch: Epoch(0), session: 1, number: 0, said };
            let greets = leader.hear(node(id), word, Mono(0)) != FromNode::Nothing;
            assert_eq!(greets, id <= count, "{id}");
        }
    }
}
