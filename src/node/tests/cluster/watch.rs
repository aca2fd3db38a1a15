//! What the world knows of the cluster, and what must hold of it, whoever fails.
//!
//! A record counts as committed when any node has applied it; then it must be on the disks of a
//! majority, and stay there. The oracle of one node's journal reads what is committed. Here are
//! the promises that take more than one node to break.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::disk;
use super::super::oracle::Oracle;
use super::machine::Machine;
use crate::ident::{Epoch, Index, JobId, NodeId, RunId};
use crate::job::Spec;
use crate::node::Raw;
use crate::rng::{mix, stable_hash};
use crate::run::order::SpawnOrder;
use crate::run::runs_log::RunsRecord;
use crate::store::{Change, End, Entry, Reason, Record};
use crate::time::Wall;

/// How long a run stays open whose node says nothing.
const LOST_AFTER: Duration = Duration::from_secs(6 * 3_600);
const LOST_GRACE: Duration = Duration::from_secs(60);
/// How far clocks that nobody sets may be apart.
const SKEW_MS: i64 = 1_000;

/// A claim as it was committed.
struct Claimed {
    /// When that was seen, by nobody's clock.
    seen: u64,
    wall: Wall,
    epoch: Epoch,
    job: JobId,
    /// Whether it was to overlap with no other run, and if so only on its own node.
    forbids: bool,
    per_node: bool,
    start_deadline: Duration,
    timeout: Duration,
    kill_grace: Duration,
}

pub(super) struct Watch {
    pub(super) oracle: Oracle,
    pub(super) committed: Vec<Raw>,
    /// Who votes by that.
    voters: Vec<NodeId>,
    claims: BTreeMap<Index, Claimed>,
    /// When each retry was made, by nobody's clock, and when it was to start.
    retries: BTreeMap<RunId, (u64, Wall)>,
    /// Who was answered that nothing was changed.
    pub(super) refused: BTreeSet<String>,
    /// Who has led in each epoch.
    leaders: BTreeMap<Epoch, usize>,
    /// Whether wall clocks are set in this world.
    pub(super) steps: bool,
    /// Whether they are set back so far that it is a correction.
    pub(super) corrects: bool,
    pub(super) trace: u64,
    pub(super) told: bool,
    pub(super) spawns: u64,
    pub(super) offices: u64,
}

impl Watch {
    pub(super) fn new(steps: bool) -> Watch {
        Watch {
            oracle: Oracle::new(),
            committed: Vec::new(),
            voters: Vec::new(),
            claims: BTreeMap::new(),
            retries: BTreeMap::new(),
            refused: BTreeSet::new(),
            leaders: BTreeMap::new(),
            steps,
            corrects: false,
            trace: 0,
            told: false,
            spawns: 0,
            offices: 0,
        }
    }

    /// Looks at what machine `at` has applied.
    pub(super) fn observe(&mut self, machines: &mut Vec<Machine>, at: usize, t: u64) {
        let Some(node) = &machines[at].node else { return };
        let (applied, leads) = (node.state().applied().0, node.leads());
        while (self.committed.len() as u64) < applied {
            self.commit(machines, at, t);
        }
        if leads && !machines[at].leads {
            self.established(machines, at);
        }
        machines[at].leads = leads;
    }

    /// Something was applied that nobody has applied before.
    fn commit(&mut self, machines: &Vec<Machine>, at: usize, t: u64) {
        let index = Index(self.committed.len() as u64 + 1);
        let mut found: Vec<&Raw> = Vec::new();
        for machine in machines {
            let history = &machine.disk.history;
            let at = history.binary_search_by_key(&index, |raw| raw.index);
            found.extend(at.ok().map(|at| &history[at]));
        }
        let has = |node: NodeId, raw: &Raw| {
            let disk = &machines.iter().find(|machine| machine.id == node).unwrap().disk;
            let at = disk.history.binary_search_by_key(&index, |raw| raw.index);
            disk.covers(index) || at.is_ok_and(|at| disk.history[at] == *raw)
        };
        let carried = |raw: &Raw| {
            let carried = |voters: &Vec<NodeId>| {
                voters.iter().filter(|node| has(**node, raw)).count() * 2 > voters.len()
            };
            self.voters_at(raw, machines).iter().any(carried)
        };
        let raw = found.iter().find(|raw| carried(raw)).map(|raw| (*raw).clone());
        let id = machines[at].id;
        let raw = raw.unwrap_or_else(|| {
            panic!("{id} applies record {index}, which is not on the disks of a majority")
        });
        self.trace = mix(self.trace ^ stable_hash(&raw.payload) ^ raw.epoch.0);
        let entry = disk::decode(&raw);
        if self.told {
            println!("  {:.3}: {entry:?}", t as f64 / 1e9);
        }
        if let Record::Config(servers) = &entry.record {
            self.voters.clone_from(&servers.voters);
        }
        self.committed.push(raw);
        assert!(!self.refused.contains(&entry.actor), "{} was refused: {entry:?}", entry.actor);
        let change = self.oracle.take(entry.clone(), machines);
        self.take(&entry, &change, machines, t);
    }

    /// Who may decide of a record: those whom it makes voters or else those who voted before it,
    /// and those of a configuration behind it that is not committed yet.
    fn voters_at(&self, raw: &Raw, machines: &[Machine]) -> Vec<Vec<NodeId>> {
        let voters = |raw: &Raw| match disk::decode(raw).record {
            Record::Config(servers) => Some(servers.voters),
            _ => None,
        };
        let behind = |machine: &Machine| {
            let from = machine.disk.history.partition_point(|other| other.index <= raw.index);
            machine.disk.history[from..].iter().find_map(voters)
        };
        let own = voters(raw).unwrap_or_else(|| self.voters.clone());
        machines.iter().filter_map(behind).chain([own]).collect()
    }

    fn take(&mut self, entry: &Entry, change: &Change, machines: &[Machine], t: u64) {
        let keyed = entry.actor.starts_with('k') && !self.steps;
        let effects = self.oracle.effects.get(&entry.actor).map_or(0, Vec::len);
        assert!(!keyed || effects <= 1, "{} has more than one effect", entry.actor);
        match (change, &entry.record) {
            (Change::Claimed(job, group), _) => {
                let stored = self.oracle.state.job(*job).expect("it was claimed");
                let spec = Spec::from_bytes(&stored.spec).unwrap();
                let claimed = Claimed {
                    seen: t,
                    wall: entry.wall,
                    epoch: entry.epoch,
                    job: *job,
                    forbids: stored.facts.forbid,
                    per_node: stored.facts.per_node,
                    start_deadline: spec.start_deadline,
                    timeout: spec.timeout,
                    kill_grace: spec.kill_grace,
                };
                self.claims.insert(*group, claimed);
            }
            (Change::Retried(_, run), Record::Retry(retry)) => {
                self.retries.insert(*run, (t, retry.not_before));
            }
            (Change::Ended(_, run), Record::Finished(_)) => self.ended(*run, entry, machines, t),
            (Change::ClockCorrected, _) if !self.corrects => {
                panic!("nobody's clock was wrong by hours: {entry:?}")
            }
            _ => {}
        }
    }

    /// An end that no launcher has told must be one that nobody can know better.
    fn ended(&self, run: RunId, entry: &Entry, machines: &[Machine], t: u64) {
        let claimed = &self.claims[&run.group];
        let ending = self.oracle.ending(run).expect("it has ended");
        let machine = machines.iter().find(|machine| machine.id == run.node).unwrap();
        let retry = self.retries.get(&run).copied();
        let (seen, since) = retry.unwrap_or((claimed.seen, claimed.wall));
        match (ending.end, ending.reason) {
            (End::Lost, Some(Reason::Unreachable)) => {
                let bounds = claimed.start_deadline + claimed.timeout + claimed.kill_grace;
                let limit = match claimed.timeout.is_zero() {
                    true => LOST_AFTER,
                    false => (bounds + LOST_GRACE).min(LOST_AFTER),
                };
                let waited = Duration::from_nanos(t - seen);
                assert!(waited + LOST_GRACE / 60 >= limit, "{run} is given up after {waited:?}");
                let runs = machine.launcher.running().any(|other| other == run);
                assert!(!runs || claimed.timeout.is_zero(), "{run} has outlived its timeout");
            }
            (End::Missed, _) if !self.steps => {
                let waited = entry.wall.ms_since(since);
                let same = entry.epoch == claimed.epoch && retry.is_none();
                let skew = if same { 2 } else { SKEW_MS };
                let least = claimed.start_deadline.as_millis() as i64 - skew;
                assert!(waited >= least, "{run} is called missed after {waited} ms");
            }
            _ => {}
        }
    }

    /// A new leader has everything that was committed in epochs below its own.
    fn established(&mut self, machines: &mut [Machine], at: usize) {
        let node = machines[at].node.as_ref().unwrap();
        let (epoch, applied) = (node.state().epoch(), node.state().applied());
        let before = self.leaders.insert(epoch, at);
        assert!(before.is_none_or(|other| other == at), "two lead in epoch {epoch}");
        let below = self.committed.iter().rev().find(|raw| raw.epoch < epoch);
        let needed = below.map(|raw| raw.index).unwrap_or_default();
        assert!(applied >= needed, "the leader of epoch {epoch} lacks what was committed before");
        let id = machines[at].id;
        machines[at].led = Some(epoch);
        self.offices += 1;
        if self.told {
            println!("  {id} leads in epoch {epoch}");
        }
        self.same_state(&machines[at]);
    }

    /// Where a node has applied the same, it has made the same of it.
    pub(super) fn same_state(&self, machine: &Machine) {
        let Some(node) = &machine.node else { return };
        if node.state().applied() == self.oracle.state.applied() {
            let id = machine.id;
            assert!(*node.state() == self.oracle.state, "{id} has made another state of the same");
        }
    }

    /// A process is asked for only when claim and promise are durable, by an order that was not to
    /// be refused, and while it is wanted.
    pub(super) fn check_spawn(&self, machine: &Machine, order: &SpawnOrder) {
        let run = order.run;
        assert_eq!(run.node, machine.id, "{run} is started where it was not claimed");
        let claim = self.committed.get(run.group.0 as usize - 1).map(disk::decode);
        let is_claim = |entry: &Entry| match &entry.record {
            Record::Claim(_) => true,
            Record::Keyed(keyed) => matches!(keyed.record, Record::Claim(_)),
            _ => false,
        };
        assert!(claim.as_ref().is_some_and(is_claim), "{run} is ordered without a claim");
        match machine.disk.promised(run) {
            Some(RunsRecord::Accepted { instance, .. }) => {
                assert_eq!(*instance, order.instance, "{run}: the promise names the launcher");
            }
            other => panic!("{run} is asked for, and the runs log has {other:?}"),
        }
        assert!(!self.oracle.has_ended(run), "{run} has ended and is started");
        assert!(self.oracle.has_begun(run), "{run} is started, and nothing before it has failed");
        let by_itself = claim.is_some_and(|claim| machine.led.is_some_and(|e| e >= claim.epoch));
        let ordered = machine.orders.contains_key(&run);
        assert!(ordered || by_itself, "{run} is started by an order that was to be refused");
    }

    /// Of one target no two attempts run at once, unless nobody could know better.
    fn is_alone(&self, machines: &[Machine], run: RunId) {
        let mut earlier = self.oracle.attempt_before(run);
        while let Some(before) = earlier {
            let mut running = machines.iter().flat_map(|machine| machine.launcher.running());
            let ending = self.oracle.ending(before).expect("it has failed");
            let is_gone = running.all(|other| other != before);
            assert!(is_gone || ending.end == End::Lost, "{run} is started beside {before}");
            earlier = self.oracle.attempt_before(before);
        }
    }

    /// A run has a process now: of a job that forbids it there is no other, unless nobody could
    /// know better.
    pub(super) fn started(&mut self, machines: &[Machine], run: RunId, t: u64) {
        self.spawns += 1;
        self.is_alone(machines, run);
        if let Some(&(_, not_before)) = self.retries.get(&run).filter(|_| !self.steps) {
            let machine = machines.iter().find(|machine| machine.id == run.node).unwrap();
            let early = not_before.ms_since(machine.clock.read(t).wall);
            assert!(early <= SKEW_MS, "{run} is started {early} ms early");
        }
        let Some(claimed) = self.claims.get(&run.group).filter(|claimed| claimed.forbids) else {
            return;
        };
        let running = machines.iter().flat_map(|machine| machine.launcher.running());
        for other in running.filter(|other| other.group < run.group) {
            let same = self.claims[&other.group].job == claimed.job;
            if same && (!claimed.per_node || other.node == run.node) {
                let ending = self.oracle.ending(other);
                let lost = ending.is_some_and(|ending| ending.end == End::Lost);
                assert!(lost, "{run} overlaps with {other}, which has {ending:?}");
            }
        }
    }
}
