//! What an office appends, and what becomes of a record of it once it is committed.

use std::time::Duration;

use super::clock::Look;
use super::effect::{Durable, Level, Space};
use super::{Leaving, Node};
use crate::cluster::{Place, Raw};
use crate::ident::Index;
use crate::mistake::{Mistake, made};
use crate::store::{Change, Entry, Member, MemberState, Record, Restored};
use crate::time::Now;

/// Who signs what no person asked for.
pub(super) const BY_NODE: &str = "node";
pub(super) const BY_SCHEDULER: &str = "scheduler";
/// A fire later than this makes `/ready` red: the node is there and does not fire.
pub(super) const OVERDUE: Duration = Duration::from_secs(5);

impl Node {
    /// A batch is durable: counts the promise, commits records, lets runs go on.
    pub(super) fn durable(&mut self, durable: Durable) {
        let Some(done) = self.on_disk.pop_front() else { return };
        assert_eq!(done.ticket, durable.ticket, "batches become durable in the order given");
        if let Some(promise) = done.promise {
            self.consensus.promise_durable(promise, self.now);
            self.follow_consensus();
        }
        if let Some((last, generation)) = done.end {
            self.consensus.log_durable(last, generation, self.now);
            self.follow_consensus();
        }
        for record in done.runs {
            self.worker.durable(&record, self.now);
        }
        self.maintain(durable);
    }

    /// Appends a record to the journal of this office; it counts when it is committed.
    pub(super) fn append(&mut self, record: Record, actor: &str) -> Index {
        let Place { index, epoch } = self.consensus.append();
        let wall = self.now.wall;
        let payload = record.encode(wall, actor);
        let raw = Raw { index, epoch, kind: record.kind(), payload };
        if self.consensus.is_followed() {
            self.consensus.keep(raw.clone());
        }
        if let Some(config) = super::config_in(&record) {
            self.consensus.configured(index, config);
        }
        self.batch.records.push(raw);
        self.log.push_back(Entry { index, epoch, wall, actor: actor.to_owned(), record });
        index
    }

    /// Lets the scheduler decide what is due.
    pub(super) fn fire(&mut self) {
        if !self.may_fire() {
            return;
        }
        for (job, records) in self.scheduler.poll(&self.state, self.now) {
            let mut last = Index(0);
            for record in records {
                last = self.append(record, BY_SCHEDULER);
            }
            self.scheduler.proposed(job, last);
        }
        if made(Mistake::StartBeforeCommit) {
            self.apply_up_to(Index(u64::MAX));
        }
    }

    pub(super) fn may_fire(&self) -> bool {
        self.established.is_some()
            && self.is_registered()
            && self.clock.is_trusted()
            && self.space != Space::Full
            && self.leaving == Leaving::No
            && !self.is_handing_over()
            && !self.is_committing()
    }

    /// Whether the registry has this start of the node. Before that it may have left, or carry
    /// other tags: a due time would be given up for want of a node, or go to the wrong ones.
    pub(super) fn is_registered(&self) -> bool {
        self.state.member(self.identity.node).is_some_and(|member| {
            member.boot == self.identity.boot && member.state == MemberState::Registered
        })
    }

    /// Whether the registry has this data directory of the node. Before that, runs look open that
    /// another one was ordered to start; of those this one would say that they never started.
    pub(super) fn is_of_this_store(&self) -> bool {
        let member = self.state.member(self.identity.node);
        member.is_some_and(|member| member.store == self.identity.store)
    }

    /// Takes the time of a turn. What a leader decides by, and writes in the journal, is never much
    /// later than what the voters' clocks say.
    pub(super) fn look_at_clock(&mut self, now: Now) {
        let leads = self.established.is_some();
        let voters = self.consensus.voters_clock(now).filter(|_| leads);
        self.clock.compare(voters, now);
        self.now = self.clock.deciding(now);
        self.hand_over_for_clock();
        match self.clock.look(self.state.newest_wall(), now, leads) {
            Look::Fine => {}
            Look::Stepped => {
                self.log(Level::Warn, "clock stepped", Vec::new());
                self.scheduler.clock_jumped(&self.state, self.now);
            }
            Look::Correct(to) => {
                let to_text = crate::cron::civil::format_utc(to.wall());
                self.log(Level::Warn, "clock corrected", vec![("to", to_text)]);
                self.append(Record::ClockCorrected { to }, BY_NODE);
            }
        }
    }

    /// The first record of the office is committed: from here on this node answers and fires.
    pub(super) fn establish(&mut self) {
        let Some(epoch) = self.consensus.election().leads() else { return };
        self.established = Some(epoch);
        self.checkpoints.begin_office();
        let fields =
            vec![("epoch", epoch.to_string()), ("index", self.state.applied().to_string())];
        self.log(Level::Info, "leading", fields);
        self.worker.greet(epoch);
        self.sessions.take_office(epoch, self.now.mono);
        self.is_scheduled = true;
        self.scheduler.take_office(&self.state, &*self.zones, self.now);
        self.dispatch.take_office(epoch, &self.state, &self.scheduler, self.now);
        self.hear_early();
        self.announce();
        if self.leaving != Leaving::No && self.consensus.heir().is_some() {
            // Its registry is told at the beginning of the office that it has left.
            self.hand_over(None, None);
        }
    }

    /// Acts on what an applied record has changed.
    pub(super) fn applied(&mut self, index: Index, change: &Change) {
        if self.is_scheduled {
            self.reschedule(index, change);
        }
        match *change {
            Change::Members => self.members_changed(),
            Change::Claimed(job, group) if self.established.is_some() => {
                self.dispatch.claimed(&self.state, &self.scheduler, job, group, self.now);
            }
            Change::Ended(_, run) if self.established.is_some() => {
                self.dispatch.ended(&self.state, run, self.now);
            }
            Change::Retried(job, run) if self.established.is_some() => {
                self.dispatch.retried(&self.state, &self.scheduler, (job, run), index, self.now);
            }
            Change::JobDeleted(job) if self.established.is_some() => {
                self.dispatch.job_deleted(&self.state, job, self.now);
            }
            Change::Restored(ref jobs) if self.established.is_some() => {
                for &(_, job, _) in jobs.iter().filter(|(.., how)| *how == Restored::Removed) {
                    self.dispatch.job_deleted(&self.state, job, self.now);
                }
            }
            Change::Claimed(..)
            | Change::Ended(..)
            | Change::Retried(..)
            | Change::EpochStarted(_)
            | Change::JobPut(_)
            | Change::JobDeleted(_)
            | Change::Skipped(_)
            | Change::ClockCorrected
            | Change::Restored(_)
            | Change::Checkpoint
            | Change::Staged
            | Change::Void(_) => {}
        }
        if self.established.is_some() {
            self.answer_applied(index, change);
        }
    }

    /// Keeps the schedule of every job what the state says.
    fn reschedule(&mut self, index: Index, change: &Change) {
        match *change {
            Change::JobPut(job) => {
                self.scheduler.job_put(&self.state, job, &*self.zones);
                self.scheduler.applied(&self.state, job, index);
            }
            Change::JobDeleted(job) => self.scheduler.job_deleted(job),
            Change::Claimed(job, _) | Change::Skipped(job) | Change::Void(Some(job)) => {
                self.scheduler.applied(&self.state, job, index);
            }
            Change::ClockCorrected => self.scheduler.clock_jumped(&self.state, self.now),
            Change::Restored(ref jobs) => {
                for &(_, job, result) in jobs {
                    if result == Restored::Removed {
                        self.scheduler.job_deleted(job);
                    } else {
                        self.scheduler.job_put(&self.state, job, &*self.zones);
                        self.scheduler.applied(&self.state, job, index);
                    }
                }
            }
            Change::EpochStarted(_)
            | Change::Members
            | Change::Ended(..)
            | Change::Retried(..)
            | Change::Checkpoint
            | Change::Staged
            | Change::Void(None) => {}
        }
    }

    fn members_changed(&mut self) {
        self.note_servers();
        if self.established.is_some() {
            self.dispatch.members_changed(&self.state, self.now);
            self.welcome_registered();
        }
        let me = self.identity.node;
        let left = self.state.member(me).is_some_and(|member| member.state == MemberState::Left);
        if left {
            self.end_leaving();
        }
    }

    pub(super) fn registration(&self, state: MemberState) -> Member {
        Member {
            id: self.identity.node,
            store: self.identity.store,
            boot: self.identity.boot,
            name: self.settings.name.clone(),
            address: self.settings.address.clone(),
            server: self.settings.server,
            work: self.settings.work,
            tags: self.settings.tags.clone(),
            state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::{Instance, JobId, RunId, StoreId};
    use crate::node::testing::{at, every_second, node_id, node_of_store, records_of};
    use crate::node::{Effect, Input};
    use crate::run::order::{LauncherCommand, LauncherEvent};
    use crate::store::{Claim, End, RunState, Trigger};

    /// A directory that was put in the place of another has an empty runs log: of a run that the
    /// other may have started it would say that it never did.
    #[test]
    fn open_runs_of_another_directory_end_lost_and_are_not_ordered() {
        let mut spec = every_second();
        spec.schedule = "@manually".into();
        let claim = Record::Claim(Claim {
            job: JobId(4),
            version: 4,
            due: None,
            clock_era: 0,
            trigger: Trigger::Manual,
            targets: vec![node_id()],
            parent: None,
        });
        for (store, spawns_wanted, end) in [(1, 1, None), (2, 0, Some(End::Lost))] {
            let records = records_of(&spec).into_iter().chain([claim.clone()]).collect();
            let mut node = node_of_store(StoreId(store), records, 1);
            let welcome = LauncherEvent::Welcome { instance: Instance(5), table: Vec::new() };
            node.handle(Input::Launcher(welcome), at(1));
            let mut spawns = 0;
            while let Some(effect) = node.poll_effect() {
                match effect {
                    Effect::Commit(batch) => {
                        let ticket = batch.ticket;
                        let durable = Durable { ticket, ..Durable::default() };
                        node.handle(Input::Durable(durable), at(1));
                    }
                    Effect::Launcher(LauncherCommand::Spawn(_)) => spawns += 1,
                    _ => {}
                }
            }
            assert_eq!(spawns, spawns_wanted, "store {store}");
            let run = RunId { group: Index(5), node: node_id(), attempt: 1 };
            let job = node.state().job(JobId(4)).expect("it is kept");
            let found = match job.executions().next().expect("it has one").run.state {
                RunState::Open => None,
                RunState::Ended(ending) => Some(ending.end),
            };
            assert_eq!(found, end, "store {store}");
            assert_eq!(node.state().open_run(run).is_some(), end.is_none(), "store {store}");
        }
    }
}
