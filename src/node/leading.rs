//! Follows the consensus: what it wants sent, kept, cut and applied, and who leads.

use super::effect::{Effect, Level, Word};
use super::office::BY_NODE;
use super::{Leaving, Node};
use crate::cluster::{Act, Raw};
use crate::ident::{Epoch, Index};
use crate::store::{Change, Entry, MemberState, Record, SCHEMA};

impl Node {
    /// Does what the consensus wants done, until it wants nothing more.
    pub(super) fn follow_consensus(&mut self) {
        while let Some(act) = self.consensus.poll() {
            match act {
                Act::Send(to, envelope) => {
                    self.effects.push_back(Effect::Send(to, Word::Consensus(envelope)));
                }
                Act::Promise(promise) => {
                    // Each is written, so that none is answered before it is durable.
                    if self.batch.promise.is_some() {
                        self.flush();
                    }
                    self.batch.promise = Some(promise);
                }
                Act::Truncate(keep) => self.cut(keep),
                Act::Append(records) => self.take(records),
                Act::Committed(index) => {
                    // An office that has ended begins nothing more, though who leads it is told so
                    // only later: requests that wait for a record are handled when it is applied.
                    if self.established.is_some_and(|epoch| !self.leads_in(epoch)) {
                        self.leave_office();
                    }
                    self.apply_up_to(index);
                }
                Act::Won(_) => self.won(),
                Act::Lost(epoch) => self.lost(epoch),
                Act::Read(from) => self.effects.push_back(Effect::ReadRecords(from)),
                Act::Snapshot(node) => self.offer_snapshot(node),
                Act::ReadReady(number, index) => self.read_proven(number, Some(index)),
                Act::ReadFailed(number) => self.read_proven(number, None),
                Act::Halt(why) => self.effects.push_back(Effect::Halt(why.to_owned())),
            }
        }
    }

    /// Takes the records of another leader.
    fn take(&mut self, records: Vec<Raw>) {
        for raw in &records {
            match Entry::decode(raw.index, raw.epoch, raw.kind, SCHEMA, &raw.payload) {
                Ok(entry) => {
                    if let Some(config) = super::config_in(&entry.record) {
                        self.consensus.configured(entry.index, config);
                    }
                    self.log.push_back(entry);
                }
                Err(error) => {
                    let why = format!("record {} of the leader cannot be read: {error}", raw.index);
                    self.effects.push_back(Effect::Halt(why));
                    return;
                }
            }
        }
        self.batch.records.extend(records);
    }

    /// Drops what the leader's journal does not have.
    fn cut(&mut self, keep: Index) {
        // What is given out so far is the journal from before.
        self.flush();
        self.batch.cut = Some(keep);
        self.generation += 1;
        self.log.retain(|entry| entry.index <= keep);
        self.found = self.found.min(keep);
    }

    /// Nothing counts before the first record of the office is committed.
    fn won(&mut self) {
        self.append(Record::EpochStart { leader: self.identity.node }, BY_NODE);
        // Before the first fire: a node that has left, or was never here, runs nothing.
        let member = self.registration(match self.leaving {
            Leaving::Registry { .. } => MemberState::Left,
            Leaving::No | Leaving::Stopping | Leaving::Gone => MemberState::Registered,
        });
        self.append(Record::Node(member), BY_NODE);
    }

    fn lost(&mut self, epoch: Epoch) {
        self.early.clear();
        self.leave_office();
        self.log(Level::Warn, "leads no more", vec![("epoch", epoch.to_string())]);
    }

    /// Whether the office of `epoch` has not ended.
    fn leads_in(&self, epoch: Epoch) -> bool {
        self.consensus.election().leads() == Some(epoch)
    }

    /// Another may lead now: what this node was about to decide is not its to decide any more.
    fn leave_office(&mut self) {
        if self.established.take().is_some() {
            self.dispatch.leave_office();
            self.sessions.leave_office();
            self.give_up_requests();
        }
    }

    pub(super) fn apply_up_to(&mut self, committed: Index) {
        while self.log.front().is_some_and(|entry| entry.index <= committed) {
            let Some(entry) = self.log.pop_front() else { return };
            let index = entry.index;
            let own_office = self.consensus.election().leads() == Some(entry.epoch);
            if let Record::Checkpoint { previous } = entry.record {
                if !self.agrees(previous) {
                    return;
                }
            }
            let change = self.state.apply(entry);
            if change == Change::Checkpoint {
                self.begin_snapshot();
            }
            if own_office && matches!(change, Change::EpochStarted(_)) {
                self.establish();
            } else {
                self.applied(index, &change);
            }
        }
        self.has_commit |= self.leader().is_some();
    }

    /// Reads every schedule, so that what a job is due at can be shown, and stays known.
    pub(super) fn schedule_all(&mut self) {
        if !self.is_scheduled {
            self.is_scheduled = true;
            self.scheduler.take_office(&self.state, &*self.zones, self.now);
        }
    }
}
