//! One server's part in electing a leader and copying its journal.
//!
//! Puts election and replication together. Takes messages, completions of the disk and the time;
//! gives out acts. What depends on the disk is held in here until the disk has answered. Never
//! knows what a record says: who drives it tells of the configurations among them.

use std::collections::VecDeque;

use super::election::{Election, Promise, Sight};
use super::message::{Act, Envelope, Message, Place, Raw};
use super::office::Office;
use super::replication::Replication;
use super::shape::Shape;
use super::timing::Timing;
use super::voters::{Config, Configs};
use crate::ident::{Epoch, Index, NodeId};
use crate::time::{Mono, Now, Wall};

/// What a server finds when it starts.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its number.
    pub me: NodeId,
    /// The promise that its disk holds.
    pub promise: Promise,
    /// The journal on its disk.
    pub shape: Shape,
    /// What of it is known to be committed: what a snapshot covers.
    pub committed: Index,
    /// Where each configuration of the journal stands, the snapshot's first.
    pub configs: Vec<(Index, Config)>,
    /// For waits that must differ from those of others.
    pub seed: u64,
    /// How long the protocol waits.
    pub timing: Timing,
}

/// One server's consensus.
#[derive(Debug)]
pub struct Consensus {
    pub(super) me: NodeId,
    pub(super) timing: Timing,
    election: Election,
    pub(super) log: Replication,
    pub(super) configs: Configs,
    /// Whether this node may lead.
    electable: bool,
    pub(super) now: Now,
    pub(super) out: VecDeque<Act>,
}

impl Consensus {
    /// The server after a start at `now`.
    pub fn new(start: Start, now: Now) -> Consensus {
        let Start { me, promise, shape, committed, configs, seed, timing } = start;
        Consensus {
            me,
            timing,
            election: Election::new(me, promise, timing, seed, now.mono),
            log: Replication::new(me, shape, committed),
            configs: Configs::new(configs),
            electable: true,
            now,
            out: VecDeque::new(),
        }
    }

    /// Takes a message that `from`, who is known to be a server, has sent to this one.
    pub fn handle(&mut self, from: NodeId, envelope: Envelope, now: Now) {
        self.now = now;
        let Envelope { epoch, message } = envelope;
        let sight = sight(&self.configs, &self.log, &self.timing, self.electable, now.mono);
        let (election, out) = (&mut self.election, &mut self.out);
        match message {
            Message::Probe { nonce, tail } => {
                election.probed(from, (nonce, epoch, tail), sight, out);
            }
            Message::ProbeAnswer { nonce, promised, log_ok, sticky, outranks } => {
                let answer = (log_ok && !sticky, outranks);
                election.probe_answered(from, nonce, promised, answer, sight, out);
            }
            Message::Candidacy { tail, transfer_of } => {
                election.asked_for_vote(from, epoch, (tail, transfer_of), sight, out);
            }
            Message::Vote { granted: true, promised } if promised == epoch => {
                if election.voted(from, epoch, sight) {
                    return self.won(epoch);
                }
            }
            Message::Vote { promised, .. } if promised == epoch => {
                election.refused(epoch, now.mono);
            }
            Message::Vote { promised, .. } | Message::Stale { promised } => {
                election.epoch_heard(promised, now.mono, out);
            }
            Message::Transfer => election.handed_over(from, epoch, sight, out),
            Message::Append(append) => return self.appended(from, epoch, append),
            Message::Ack { matched, round, wall } => {
                election.epoch_heard(epoch, now.mono, out);
                self.acked(from, epoch, (matched, round, wall));
            }
            Message::Conflict { prev, found, first } => {
                election.epoch_heard(epoch, now.mono, out);
                self.conflicts(from, epoch, (prev, found, first));
            }
        }
        self.settle();
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        self.now = now;
        let sight = sight(&self.configs, &self.log, &self.timing, self.electable, now.mono);
        self.election.tick(sight, &mut self.out);
        if let Some(office) = &mut self.log.office {
            office.beat(&self.timing, now.mono);
            office.transfer = office.transfer.filter(|(_, until)| *until > now.mono);
        }
        self.check_office();
        self.settle();
    }

    /// When [`Consensus::tick`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let office = self.log.office.as_ref().and_then(|office| office.poll_timeout(&self.timing));
        [self.election.poll_timeout(), office].into_iter().flatten().min()
    }

    /// The next thing to do. Call until `None` after every other call.
    pub fn poll(&mut self) -> Option<Act> {
        self.out.pop_front()
    }

    /// A promise that was given out by [`Act::Promise`] is durable.
    pub fn promise_durable(&mut self, promise: Promise, now: Now) {
        self.now = now;
        let sight = sight(&self.configs, &self.log, &self.timing, self.electable, now.mono);
        if self.election.promise_durable(promise, sight, &mut self.out) {
            return self.won(promise.epoch);
        }
        self.settle();
    }

    /// The disk holds the journal up to `last`, as it was when [`Consensus::generation`] was
    /// this.
    pub fn log_durable(&mut self, last: Index, generation: u64, now: Now) {
        self.now = now;
        self.log.log_durable(last, generation);
        if let Some(office) = &mut self.log.office {
            if self.log.durable > office.advanced.0 {
                office.advanced = (self.log.durable, now.mono);
            }
        }
        self.count();
        self.settle();
    }

    /// To be named in completions of what is given to the disk from now on.
    pub fn generation(&self) -> u64 {
        self.log.generation()
    }

    /// The place of the next record of this office. Give the record to [`Consensus::keep`] at
    /// once.
    ///
    /// # Panics
    /// When this node does not lead.
    pub fn append(&mut self) -> Place {
        if let Some(office) = &mut self.log.office {
            if self.log.durable == self.log.shape.last().index {
                office.advanced = (self.log.durable, self.now.mono);
            }
        }
        self.log.append()
    }

    /// The record whose place [`Consensus::append`] gave: sent to the followers when the turn
    /// ends, see [`Consensus::settle`].
    pub fn keep(&mut self, raw: Raw) {
        self.log.keep(raw);
    }

    /// Whether anybody is to be sent what this office appends.
    pub fn is_followed(&self) -> bool {
        self.log.office.as_ref().is_some_and(|office| !office.peers.is_empty())
    }

    /// The record at `index` is this configuration: in force from now on, until it is cut.
    pub fn configured(&mut self, index: Index, config: Config) {
        self.configs.push(index, config);
        let next = Index(self.log.shape.last().index.0 + 1);
        if let (Some(office), Some(config)) = (&mut self.log.office, self.configs.newest()) {
            office.configured(config, self.me, next);
        }
    }

    /// Records that [`Act::Read`] asked for, in order from there.
    pub fn records(&mut self, records: Vec<Raw>) {
        self.log.give(records, &mut self.out);
        self.settle();
    }

    /// A snapshot of this server holds everything up to `index`, and its journal begins behind.
    pub fn rebased(&mut self, index: Index) {
        self.log.shape.rebase(index);
    }

    /// A snapshot at `place`, of the leader that is followed, is in force and durable here, and
    /// what it does not agree with is gone. When all of it is committed here already, nothing
    /// changes (call [`Consensus::rebased`] if it is in force all the same); the leader is told.
    pub fn replaced(&mut self, place: Place, config: Config) {
        if place.index > self.log.committed {
            let is_left = self.log.replaced(place);
            self.configs.replaced(place.index, config, is_left);
            self.out.push_back(Act::Committed(place.index));
        } else {
            self.log.replaced(place);
        }
        self.settle();
    }

    /// Serves a read when it is proven that nobody else led when it came.
    pub fn read(&mut self, id: u64, now: Now) {
        self.now = now;
        let committed = self.log.committed;
        let is_established = self.log.is_established();
        let taken = self.log.office.as_mut().is_some_and(|office| {
            is_established && office.read(id, committed, &self.timing, now.mono)
        });
        if !taken {
            self.out.push_back(Act::ReadFailed(id));
        }
        self.weigh_rounds();
        self.settle();
    }

    /// Says whether this node may lead.
    pub fn set_electable(&mut self, electable: bool) {
        self.electable = electable;
    }

    /// The election's side.
    pub fn election(&self) -> &Election {
        &self.election
    }

    /// The journal's side.
    pub fn log(&self) -> &Replication {
        &self.log
    }

    /// The newest durable promise.
    pub fn durable_promise(&self) -> Promise {
        self.election.durable_promise()
    }

    /// Who takes part, as far as this node knows.
    pub fn config(&self) -> Option<&Config> {
        self.configs.newest()
    }

    /// Where that stands in the journal.
    pub fn config_at(&self) -> Index {
        self.configs.newest_at()
    }

    /// Ends a turn: sends what is to be sent. Called by all that takes input; call it after
    /// [`Consensus::keep`], too.
    pub fn settle(&mut self) {
        let promised = self.election.durable_promise().epoch;
        self.leave_office();
        self.log.unfollow_before(self.election.promise().epoch);
        self.log.acknowledge(promised, self.now.wall, &mut self.out);
        self.log.feed(&mut self.out);
    }

    fn won(&mut self, epoch: Epoch) {
        let first = Index(self.log.shape.last().index.0 + 1);
        let mut office = Office::new(epoch, first, self.log.durable, self.now.mono);
        if let Some(config) = self.configs.newest() {
            office.configured(config, self.me, first);
        }
        self.log.office = Some(office);
        self.out.push_back(Act::Won(epoch));
    }

    fn appended(&mut self, from: NodeId, epoch: Epoch, append: super::Append) {
        let promised = self.election.promise().epoch;
        let fenced = epoch < promised && !crate::mistake::made(crate::mistake::Mistake::NoFence);
        if fenced {
            // A refusal is an answer, too: it names what the disk holds, or waits to be asked
            // again.
            let promised = self.durable_promise().epoch;
            if promised > epoch {
                let message = Message::Stale { promised };
                self.out.push_back(Act::Send(from, Envelope { epoch, message }));
            }
            return;
        }
        if self.election.leads() == Some(epoch) {
            self.out.push_back(Act::Halt("two nodes lead in one epoch"));
            return;
        }
        self.election.leader_heard(from, epoch, self.now.mono, &mut self.out);
        self.leave_office();
        self.log.take(from, epoch, append, &mut self.out);
        for act in &self.out {
            if let Act::Truncate(index) = act {
                self.configs.cut(*index);
            }
        }
        self.settle();
    }

    fn acked(&mut self, from: NodeId, epoch: Epoch, (matched, round, wall): (Index, u64, Wall)) {
        let last = self.log.shape.last().index;
        let now = self.now.mono;
        let Some(office) = self.log.office.as_mut().filter(|office| office.epoch == epoch) else {
            return;
        };
        let Some(peer) = office.peers.get_mut(&from).filter(|_| matched <= last) else { return };
        peer.answered(wall, now);
        peer.round = peer.round.max(round);
        peer.acked(matched);
        self.weigh_rounds();
        self.count();
    }

    fn conflicts(
        &mut self,
        from: NodeId,
        epoch: Epoch,
        (prev, found, first): (Index, Place, Index),
    ) {
        let shape = &self.log.shape;
        let Some(office) = self.log.office.as_mut().filter(|office| office.epoch == epoch) else {
            return;
        };
        let Some(peer) = office.peers.get_mut(&from) else { return };
        peer.heard = Some(self.now.mono);
        peer.conflicts(prev, found, first, shape);
    }

    /// Whether a majority still follows, and the own disk keeps up.
    fn check_office(&mut self) {
        let now = self.now.mono;
        self.weigh_rounds();
        let Some(voters) = self.configs.voters() else { return };
        let Some(office) = &self.log.office else { return };
        let deserted = !office.peers.is_empty() && now.since(office.fresh) >= self.timing.quorum;
        let pending = self.log.durable < self.log.shape.last().index;
        let stalled = pending
            && now.since(office.advanced.1) >= self.timing.stalled
            && office.could_lead(voters, &self.timing, now);
        if deserted || stalled {
            self.election.resign(now);
        }
    }

    fn weigh_rounds(&mut self) {
        let Some(voters) = self.configs.voters() else { return };
        let Some(office) = &mut self.log.office else { return };
        office.weigh_rounds(self.me, voters, &mut self.out);
    }

    fn count(&mut self) {
        let Some(voters) = self.configs.voters() else { return };
        if self.log.count(voters) {
            self.out.push_back(Act::Committed(self.log.committed));
            // A leader that the newest configuration leaves out has done its last work.
            let settled = self.configs.newest_at() <= self.log.committed;
            if settled && !voters.contains(self.me) {
                self.election.resign(self.now.mono);
            }
        }
    }

    /// Ends the office if the election says so.
    fn leave_office(&mut self) {
        let leads = self.election.leads();
        let ended = self.log.office.take_if(|office| leads != Some(office.epoch));
        if let Some(mut office) = ended {
            self.out.extend(office.end_reads().map(Act::ReadFailed));
            self.out.push_back(Act::Lost(office.epoch));
        }
    }
}

/// What the election must know of the rest.
fn sight<'a>(
    configs: &'a Configs,
    log: &Replication,
    timing: &Timing,
    electable: bool,
    now: Mono,
) -> Sight<'a> {
    let fresh = log
        .office
        .as_ref()
        .is_some_and(|office| office.peers.is_empty() || now.since(office.fresh) < timing.quorum);
    let voters = configs.voters();
    let electable = electable && configs.may_lead(log.me, log.committed);
    Sight { voters, tail: log.tail(), fresh, electable, now }
}
