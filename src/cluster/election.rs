//! The election of a leader, from the side of one voter.
//!
//! Rank (last epoch, last index, node) decides who tries: a probe, which changes nothing, tells a
//! voter whether a majority would follow it and whether a better one is there, and the better one
//! then tries itself (the bully). Durable promises of a majority decide who leads: an epoch is
//! promised to one candidate at most, whose journal holds all that the voter's does (Raft, section
//! 5.4.1), and is never used twice, not even over a restart. Nobody is unseated: a voter that
//! hears a leader takes no other (Raft's dissertation, section 4.2.3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::message::{Act, Envelope, Message, Place};
use super::timing::Timing;
use super::voters::Voters;
use crate::ident::{Epoch, NodeId};
use crate::mistake::{Mistake, made};
use crate::rng::Rng;
use crate::time::Mono;

/// How many of its own writes a candidate looks back on, to know how slow a disk may be.
const WRITES_KEPT: usize = 10;
/// A candidate waits this many times the slowest of them.
const WRITES_FACTOR: u32 = 6;
/// A candidacy that failed backs off no longer than after so many failures.
const CANDIDACY_FAILURES_MAX: u32 = 2;
/// Most candidates that wait for an answer; who comes beyond asks again.
const CANDIDATES_MAX: usize = 16;

/// The highest epoch that this voter has promised, and to whom; durable before anything that
/// depends on it leaves the node, and never lowered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Promise {
    /// The epoch.
    pub epoch: Epoch,
    /// Whom it was promised to; `None` while the epoch is known but nobody was chosen.
    pub to: Option<NodeId>,
}

/// What this voter is at the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Neither a candidate nor the leader.
    Follower,
    /// It asks who would follow it.
    Probing {
        /// Of this probe.
        nonce: u64,
        /// Who would, and who of all outranks it.
        answers: BTreeMap<NodeId, Answer>,
        /// Until when it stands back for one who outranks it.
        back_until: Option<Mono>,
    },
    /// It asks for promises in this epoch; these voters have made theirs durable.
    Candidate {
        /// The epoch that it wants to lead.
        epoch: Epoch,
        /// Who has promised it, itself included.
        promised: BTreeSet<NodeId>,
        /// The office that asked for it.
        transfer_of: Option<Epoch>,
        /// When those who have not answered are asked again.
        ask_at: Mono,
    },
    /// It leads.
    Leader(Epoch),
}

/// What a voter has answered to a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    pub(super) follows: bool,
    pub(super) outranks: bool,
}

/// What an election must know of the rest of its node at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    /// Who votes, as far as this node knows.
    pub(super) voters: Option<&'a Voters>,
    /// The journal as far as it is durable.
    pub(super) tail: Place,
    /// Whether this node leads and a majority has answered lately.
    pub(super) fresh: bool,
    /// Whether this node may lead: it votes, and nothing else forbids it.
    pub(super) electable: bool,
    /// The time.
    pub(super) now: Mono,
}

/// One voter's part in elections.
#[derive(Debug)]
pub struct Election {
    pub(super) me: NodeId,
    pub(super) timing: Timing,
    rng: Rng,
    pub(super) promise: Promise,
    durable: Promise,
    /// When the newest promise was given to the disk.
    asked: Mono,
    /// How long the last writes took.
    writes: VecDeque<Duration>,
    /// The highest epoch that anybody has promised, as heard.
    pub(super) highest: Epoch,
    pub(super) standing: Standing,
    /// Who leads, as its messages say, and when the last one came.
    leader: Option<(NodeId, Epoch)>,
    heard: Option<Mono>,
    /// When the standing changes by itself; `None` while a candidate waits for its disk.
    pub(super) deadline: Option<Mono>,
    pub(super) nonce: u64,
    failures: u32,
    /// Candidates that get their answer when the promise is durable.
    unanswered: BTreeMap<NodeId, Epoch>,
}

pub(super) type Out = VecDeque<Act>;

impl Election {
    /// The voter `me` after a start at `now`, with the promise that its disk holds: a follower,
    /// whatever it was before. It probes at once, for that is free.
    pub(super) fn new(me: NodeId, promise: Promise, timing: Timing, seed: u64, now: Mono) -> Self {
        Election {
            me,
            timing,
            rng: Rng::new(seed),
            promise,
            durable: promise,
            asked: now,
            writes: VecDeque::new(),
            highest: promise.epoch,
            standing: Standing::Follower,
            leader: None,
            heard: None,
            deadline: Some(now),
            nonce: 0,
            failures: 0,
            unanswered: BTreeMap::new(),
        }
    }

    /// What this voter is.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The epoch that this node leads.
    pub fn leads(&self) -> Option<Epoch> {
        match self.standing {
            Standing::Leader(epoch) => Some(epoch),
            Standing::Follower | Standing::Probing { .. } | Standing::Candidate { .. } => None,
        }
    }

    /// Who leads and in which epoch, as far as this node has heard.
    pub fn leader(&self) -> Option<(NodeId, Epoch)> {
        self.leads().map(|epoch| (self.me, epoch)).or(self.leader)
    }

    /// The newest promise, durable or not.
    pub(super) fn promise(&self) -> Promise {
        self.promise
    }

    /// The newest durable promise.
    pub(super) fn durable_promise(&self) -> Promise {
        self.durable
    }

    /// When [`Election::tick`] must be called at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        let ask = match self.standing {
            Standing::Candidate { ask_at, .. } => Some(ask_at).filter(|_| self.deadline.is_some()),
            Standing::Follower | Standing::Probing { .. } | Standing::Leader(_) => None,
        };
        let back = match self.standing {
            Standing::Probing { back_until, .. } => back_until,
            Standing::Follower | Standing::Candidate { .. } | Standing::Leader(_) => None,
        };
        [self.deadline, ask, back].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, sight: Sight<'_>, out: &mut Out) {
        let due = self.deadline.is_some_and(|at| at <= sight.now);
        match &mut self.standing {
            Standing::Follower if due => match sight.electable {
                true => self.probe(sight, out),
                false => self.wait_for_leader(sight.now),
            },
            Standing::Probing { .. } if due => self.fail(sight.now),
            Standing::Probing { back_until: Some(until), .. } if *until <= sight.now => {
                self.campaign(None, sight, out);
            }
            Standing::Candidate { .. } if due => {
                // A majority would have followed, so the next try is not hopeless.
                self.failures = self.failures.min(CANDIDACY_FAILURES_MAX);
                self.fail(sight.now);
            }
            Standing::Candidate { ask_at, .. } if *ask_at <= sight.now => {
                *ask_at = sight.now + self.timing.heartbeat;
                self.ask_for_votes(sight, out);
            }
            Standing::Follower
            | Standing::Probing { .. }
            | Standing::Candidate { .. }
            | Standing::Leader(_) => {}
        }
    }

    /// Decides on a candidacy of `from` in `epoch`, and answers when that is durable.
    pub(super) fn asked_for_vote(
        &mut self,
        from: NodeId,
        epoch: Epoch,
        (tail, transfer_of): (Place, Option<Epoch>),
        sight: Sight<'_>,
        out: &mut Out,
    ) {
        if epoch < self.promise.epoch {
            // At once, unless the higher promise is still on its way to the disk.
            self.owes_answer(from, epoch);
            self.answer_candidates(self.durable, out);
            return;
        }
        let mut promise = self.promise;
        if epoch > promise.epoch {
            let handed_over = transfer_of
                .is_some_and(|office| self.leader().is_some_and(|(_, epoch)| epoch == office));
            if self.is_sticky(sight) && !handed_over && !made(Mistake::StickyVoid) {
                return;
            }
            promise = Promise { epoch, to: None };
            if self.standing != Standing::Follower {
                self.wait_for_leader(sight.now);
            }
        }
        let free = promise.to.is_none_or(|to| to == from) || made(Mistake::VoteTwice);
        let whole = at_least(tail, self.rank(sight.tail)) || made(Mistake::PlainBully);
        if free && whole {
            promise.to = Some(from);
            self.wait_for_leader(sight.now);
        }
        self.owes_answer(from, epoch);
        self.promise_is(promise, sight.now, out);
        if made(Mistake::VoteBeforeFsync) {
            self.answer_candidates(promise, out);
        }
    }

    /// Counts a vote. True when it was the one that won.
    pub(super) fn voted(&mut self, from: NodeId, epoch: Epoch, sight: Sight<'_>) -> bool {
        let Standing::Candidate { epoch: wanted, promised, .. } = &mut self.standing else {
            return false;
        };
        let Some(voters) = sight.voters.filter(|_| *wanted == epoch) else { return false };
        promised.insert(from);
        let own = promised.contains(&self.me);
        let has_promised = |node| promised.contains(&node);
        if !own || !carried(voters, has_promised, has_promised) {
            return false;
        }
        self.standing = Standing::Leader(epoch);
        (self.leader, self.deadline, self.failures) = (None, None, 0);
        true
    }

    /// The newest promise is on the disk. True when it was the own one, and won.
    pub(super) fn promise_durable(
        &mut self,
        promise: Promise,
        sight: Sight<'_>,
        out: &mut Out,
    ) -> bool {
        if promise == self.promise {
            self.writes.push_back(sight.now.since(self.asked));
            if self.writes.len() > WRITES_KEPT {
                self.writes.pop_front();
            }
        }
        self.durable = promise;
        self.answer_candidates(promise, out);
        match &self.standing {
            Standing::Candidate { epoch, .. }
                if promise == (Promise { epoch: *epoch, to: Some(self.me) }) =>
            {
                self.deadline = Some(sight.now + self.patience(self.timing.candidacy));
                self.begin_to_ask(sight, out)
            }
            Standing::Candidate { .. }
            | Standing::Follower
            | Standing::Probing { .. }
            | Standing::Leader(_) => false,
        }
    }

    /// A voter has promised the epoch of this candidacy to a rival. One of the two wins soon, or
    /// neither does: then to wait any longer would only delay the next try.
    pub(super) fn refused(&mut self, epoch: Epoch, now: Mono) {
        match &self.standing {
            Standing::Candidate { epoch: wanted, .. } if *wanted == epoch => {
                let until = now + self.patience(self.timing.bully);
                self.deadline = self.deadline.map(|at| at.min(until));
            }
            Standing::Candidate { .. }
            | Standing::Follower
            | Standing::Probing { .. }
            | Standing::Leader(_) => {}
        }
    }

    /// How long a candidate waits: at least so long, and long enough for disks as slow as its own.
    /// Those of others may be slower still, so each try waits longer.
    fn patience(&self, least: Duration) -> Duration {
        let slowest = self.writes.iter().max().copied().unwrap_or_default();
        let wait = least * 2u32.saturating_pow(self.failures.min(16));
        wait.max(slowest * WRITES_FACTOR).min(self.timing.candidacy_max)
    }

    /// A leader of `epoch`, which is not below the promise, has spoken.
    pub(super) fn leader_heard(&mut self, from: NodeId, epoch: Epoch, now: Mono, out: &mut Out) {
        if epoch > self.promise.epoch {
            self.promise_is(Promise { epoch, to: Some(from) }, now, out);
        }
        self.leader = Some((from, epoch));
        self.heard = Some(now);
        self.failures = 0;
        self.wait_for_leader(now);
    }

    /// Somebody has promised `epoch`: no lower one counts any more.
    pub(super) fn epoch_heard(&mut self, epoch: Epoch, now: Mono, out: &mut Out) {
        self.highest = self.highest.max(epoch);
        if epoch > self.promise.epoch {
            self.promise_is(Promise { epoch, to: None }, now, out);
            self.wait_for_leader(now);
        }
    }

    /// The leader of `epoch` hands over to this node.
    pub(super) fn handed_over(
        &mut self,
        from: NodeId,
        epoch: Epoch,
        sight: Sight<'_>,
        out: &mut Out,
    ) {
        if self.leader == Some((from, epoch)) && self.leads().is_none() && sight.electable {
            self.campaign(Some(epoch), sight, out);
        }
    }

    /// This node leads no more.
    pub(super) fn resign(&mut self, now: Mono) {
        self.leader = None;
        self.wait_for_leader(now);
    }

    pub(super) fn is_sticky(&self, sight: Sight<'_>) -> bool {
        let heard = self.heard.is_some_and(|at| sight.now.since(at) < self.timing.sticky);
        sight.fresh || (heard && self.leader.is_some() && self.leads().is_none())
    }

    fn wait_for_leader(&mut self, now: Mono) {
        self.standing = Standing::Follower;
        let spread = self.random(self.timing.election_spread);
        self.deadline = Some(now + self.timing.election + spread);
    }

    /// A probe or a candidacy led to nothing: the next comes later each time.
    fn fail(&mut self, now: Mono) {
        self.standing = Standing::Follower;
        let doubled = self.timing.back_off * 2u32.saturating_pow(self.failures.min(16));
        let wait = doubled.min(self.timing.back_off_max);
        self.failures += 1;
        let wait = wait / 2 + self.random(wait / 2);
        self.deadline = Some(now + wait);
    }

    pub(super) fn campaign(&mut self, transfer_of: Option<Epoch>, sight: Sight<'_>, out: &mut Out) {
        let epoch = Epoch(self.highest.max(self.promise.epoch).0 + 1);
        self.promise_is(Promise { epoch, to: Some(self.me) }, sight.now, out);
        let (promised, ask_at) = (BTreeSet::new(), sight.now);
        self.standing = Standing::Candidate { epoch, promised, transfer_of, ask_at };
        self.deadline = None;
        if made(Mistake::SelfBeforeFsync) {
            self.begin_to_ask(sight, out);
        }
    }

    /// The own promise stands: counts it and asks the others. True when it is enough.
    fn begin_to_ask(&mut self, sight: Sight<'_>, out: &mut Out) -> bool {
        let Standing::Candidate { epoch, ask_at, .. } = &mut self.standing else { return false };
        let epoch = *epoch;
        *ask_at = sight.now + self.timing.heartbeat;
        self.ask_for_votes(sight, out);
        self.voted(self.me, epoch, sight)
    }

    fn ask_for_votes(&mut self, sight: Sight<'_>, out: &mut Out) {
        let Standing::Candidate { epoch, promised, transfer_of, .. } = &self.standing else {
            return;
        };
        let (epoch, transfer_of) = (*epoch, *transfer_of);
        let silent = sight.voters.map(Voters::nodes).unwrap_or_default().iter();
        let silent = silent.filter(|&&node| node != self.me && !promised.contains(&node));
        let tail = self.rank(sight.tail);
        for &node in silent {
            let message = Message::Candidacy { tail, transfer_of };
            out.push_back(Act::Send(node, Envelope { epoch, message }));
        }
    }

    fn owes_answer(&mut self, candidate: NodeId, epoch: Epoch) {
        if self.unanswered.len() < CANDIDATES_MAX || self.unanswered.contains_key(&candidate) {
            self.unanswered.insert(candidate, epoch);
        }
    }

    /// Candidates that wait for `promise`, which is durable, get their answers.
    fn answer_candidates(&mut self, promise: Promise, out: &mut Out) {
        let due = |epoch: &Epoch| *epoch <= promise.epoch;
        let nodes: Vec<(NodeId, Epoch)> =
            self.unanswered.iter().filter(|(_, epoch)| due(epoch)).map(|(&n, &e)| (n, e)).collect();
        for (node, epoch) in nodes {
            self.unanswered.remove(&node);
            let granted = promise == Promise { epoch, to: Some(node) };
            let promised = promise.epoch;
            self.send(node, epoch, Message::Vote { granted, promised }, out);
        }
    }

    /// Promises, unless that is promised already; what is durable is answered at once.
    fn promise_is(&mut self, promise: Promise, now: Mono, out: &mut Out) {
        if promise == self.durable && promise == self.promise {
            self.answer_candidates(promise, out);
            return;
        }
        if promise == self.promise {
            return;
        }
        assert!(promise.epoch >= self.promise.epoch, "a promise never decreases");
        self.promise = promise;
        self.asked = now;
        out.push_back(Act::Promise(promise));
    }

    /// The place by which this journal ranks.
    pub(super) fn rank(&self, tail: Place) -> Place {
        match made(Mistake::EpochMarkerAheadOfLog) {
            true => Place { epoch: self.promise.epoch, index: tail.index },
            false => tail,
        }
    }

    pub(super) fn to_others(
        &self,
        sight: Sight<'_>,
        message: Message,
        epoch: Epoch,
        out: &mut Out,
    ) {
        for &node in sight.voters.map(Voters::nodes).unwrap_or_default() {
            if node != self.me {
                out.push_back(Act::Send(node, Envelope { epoch, message: message.clone() }));
            }
        }
    }

    pub(super) fn send(&self, to: NodeId, epoch: Epoch, message: Message, out: &mut Out) {
        out.push_back(Act::Send(to, Envelope { epoch, message }));
    }

    fn random(&mut self, width: Duration) -> Duration {
        let nanos = u64::try_from(width.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.rng.below(nanos.max(1)))
    }
}

/// Whether a journal that ends at `tail` holds all that can be committed of one that ends at
/// `other`.
pub(super) fn at_least(tail: Place, other: Place) -> bool {
    if made(Mistake::IndexOnly) { tail.index >= other.index } else { tail >= other }
}

/// Whether a majority agrees: of all voters, not of those that are there.
pub(super) fn carried(
    voters: &Voters,
    agrees: impl Fn(NodeId) -> bool,
    seems_alive: impl Fn(NodeId) -> bool,
) -> bool {
    if made(Mistake::GossipQuorum) {
        let alive = voters.nodes().iter().filter(|&&node| seems_alive(node));
        let agreed = alive.clone().filter(|&&node| agrees(node)).count();
        return agreed > alive.count() / 2;
    }
    voters.carried(agrees)
}
