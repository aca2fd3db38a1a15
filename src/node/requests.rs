//! Requests: answered at once, or held until their change is applied.
//!
//! Changes of one job are made one after another, so that each handler sees what the one before
//! has stored; a request whose job is being changed, or has fires under way to the disk, waits for
//! its turn and is then handled afresh.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::effect::{Effect, Level};
use super::{Leaving, Node, Space};
use crate::api::{self, Answer, Change as Asked, Peer, RunOnce, Stream, Then};
use crate::http::{Body, Request, Response};
use crate::ident::{Index, JobId, RequestId, StreamId};
use crate::mistake::{Mistake, made};
use crate::store::{self, ACTOR_MAX_BYTES, Entry, Record, RequestKey};
use crate::time::Mono;

/// Most requests that wait for their turn.
pub(super) const PARKED_MAX: usize = 1_024;
/// Most changes that wait for their record to be applied.
pub(super) const PENDING_MAX: usize = 4_096;
/// How long a request waits for its record to be applied; then nobody can tell it the outcome.
pub(super) const OUTCOME_WAIT: Duration = Duration::from_secs(10);
/// What is added to the answer when a job is stored, and the run that was asked for with it is not
/// made.
const NOT_RUN: &str = "runoncreate: the job is stored and was not run: another run of it is open, \
                       no node may run it, or it was changed at the same moment";

/// Requests that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// By the index of the record that they wait for.
    pending: BTreeMap<Index, Pending>,
    /// Of those, the ones that were answered that their outcome is unknown.
    given_up: BTreeMap<Index, Pending>,
    /// Names of jobs with a change under way.
    locked: BTreeSet<String>,
    /// Keys of changes under way.
    keys: BTreeMap<String, Keyed>,
    /// Requests that wait for a job, oldest first, by its name.
    parked: BTreeMap<String, VecDeque<Parked>>,
    parked_count: usize,
}

/// A change under way that has a key.
#[derive(Debug)]
struct Keyed {
    /// The name of the job that it changes.
    name: String,
    /// Whether who asked for it was answered that the outcome is unknown.
    given_up: bool,
}

#[derive(Debug)]
struct Pending {
    /// `None` once it is answered.
    request: Option<RequestId>,
    /// When it is to be answered at the latest. In the order of the indexes.
    late_at: Mono,
    name: String,
    actor: String,
    key: Option<RequestKey>,
    then: Then,
}

#[derive(Debug)]
struct Parked {
    id: RequestId,
    peer: Peer,
    request: Box<Request>,
}

impl Node {
    /// Handles a request, or parks it.
    pub(super) fn request(&mut self, id: RequestId, peer: Peer, request: Box<Request>) {
        let under_way = api::key_text(&request).and_then(|key| self.requests.keys.get(key));
        match under_way {
            Some(first) if first.given_up => return self.reply(id, api::outcome_unknown()),
            // The answer to this is the one that the first request of its key is about to get.
            Some(first) => return self.park(first.name.clone(), Parked { id, peer, request }),
            None => {}
        }
        let not_ready = self.not_ready();
        match api::handle(&self.view(&not_ready), &request, &peer) {
            Answer::Now(response) => self.reply(id, response),
            Answer::Stream(head, stream) => self.reply_stream(id, head, *stream),
            Answer::Leave | Answer::Change(_) | Answer::Restore(_) | Answer::Transfer(_)
                if self.leaving != Leaving::No =>
            {
                self.reply(id, stopping());
            }
            Answer::Change(_) | Answer::Restore(_) if self.is_handing_over() => {
                self.reply(id, about_to_go());
            }
            Answer::Leave | Answer::Change(_) | Answer::Restore(_)
                if self.space != Space::Enough =>
            {
                self.reply(id, disk_full());
            }
            Answer::Forward => self.forward(id, peer, *request),
            Answer::Consistent => self.read(id, peer, request),
            Answer::Restore(mut restore) => {
                restore.feed(&request.body);
                restore.end();
                self.begin_restore(id, restore);
            }
            Answer::Leave => self.leave(Some(id)),
            Answer::Transfer(to) => self.hand_over(to, Some(id)),
            Answer::Change(change) => self.change(id, peer, request, *change),
        }
    }

    /// Answers who waits for the record at `index`, and lets those go on who wait for its job.
    pub(super) fn answer_applied(&mut self, index: Index, change: &store::Change) {
        let requests = &mut self.requests;
        let waited = requests.pending.remove(&index).or_else(|| requests.given_up.remove(&index));
        if let Some(pending) = waited {
            let void = matches!(change, store::Change::Void(_));
            let run_once =
                matches!(pending.then, Then::Stored { run_once: RunOnce::Wanted, .. }) && !void;
            if run_once {
                self.run_once(pending, index);
            } else {
                self.conclude(pending, index, void);
            }
        }
        self.restore_applied(index, change);
        let job = match *change {
            store::Change::JobPut(job)
            | store::Change::JobDeleted(job)
            | store::Change::Claimed(job, _)
            | store::Change::Skipped(job)
            | store::Change::Void(Some(job)) => Some(job),
            store::Change::ClockCorrected | store::Change::Restored(_) => None,
            store::Change::Members => return self.unpark_name(api::VOTERS_NAME),
            store::Change::EpochStarted(_)
            | store::Change::Ended(..)
            | store::Change::Retried(..)
            | store::Change::Checkpoint
            | store::Change::Staged
            | store::Change::Void(None) => return,
        };
        self.unpark(job);
    }

    fn change(&mut self, id: RequestId, peer: Peer, request: Box<Request>, mut change: Asked) {
        // A claim by hand waits, too: it would be answered with success and then find a fire open.
        let claimed = match &change.record {
            Record::Claim(claim) => Some(claim.job),
            _ => None,
        };
        let waits_for = change.settle.or(claimed);
        let under_way = waits_for.is_some_and(|job| self.is_under_way(job));
        if self.requests.locked.contains(&change.name) || under_way || self.is_restoring() {
            self.park(change.name, Parked { id, peer, request });
            return;
        }
        if self.requests.pending.len() + self.requests.given_up.len() >= PENDING_MAX {
            self.reply(id, overloaded());
            return;
        }
        if change.settle.is_some() && !self.is_registered() {
            // What the job owes can be decided only when it is known who may run it.
            let sentence = "this node has only just begun to lead; try again in a moment";
            self.reply(id, api::unavailable("starting", sentence));
            return;
        }
        let is_config = matches!(change.record, Record::Config(_));
        if is_config && !self.consensus.may_change_voters() {
            let sentence = "a step to other voters is on its way to the journals; try again";
            self.reply(id, api::unavailable("no_leader", sentence));
            return;
        }
        if self.moves_mark_unsurely(&change.record) {
            self.reply(id, clock_unsure());
            return;
        }
        if change.settle.is_some_and(|job| !self.settle(job)) {
            self.park(change.name, Parked { id, peer, request });
            return;
        }
        self.keep_decided(&mut change.record);
        let fits = |&(at, c): &(usize, char)| at + c.len_utf8() <= ACTOR_MAX_BYTES;
        let actor: String = change.actor.char_indices().take_while(fits).map(|(_, c)| c).collect();
        if let Some(key) = &change.key {
            let keyed = Keyed { name: change.name.clone(), given_up: false };
            self.requests.keys.insert(key.text.clone(), keyed);
        }
        // The key stands in the last record of a change: one that was cut short by a crash is
        // then made again as a whole.
        let last = !matches!(change.then, Then::Stored { run_once: RunOnce::Wanted, .. });
        let record = api::keyed(change.record, change.key.clone().filter(|_| last));
        let index = self.append(record, &actor);
        if let Some(job) = change.settle {
            // Nothing is decided by a definition that is about to be replaced.
            self.scheduler.proposed(job, index);
        }
        self.requests.locked.insert(change.name.clone());
        let Asked { name, key, then, .. } = change;
        let late_at = self.now.mono + OUTCOME_WAIT;
        let pending = Pending { request: Some(id), late_at, name, actor, key, then };
        self.requests.pending.insert(index, pending);
    }

    /// Decides what a job owes before it is changed: the change may move its mark. False when
    /// more is owed than can be decided at once.
    fn settle(&mut self, job: JobId) -> bool {
        if !self.may_fire() {
            return true;
        }
        let decision = self.scheduler.settle(&self.state, job, self.now);
        let mut last = None;
        for record in decision.records {
            last = Some(self.append(record, super::office::BY_SCHEDULER));
        }
        if let Some(last) = last {
            self.scheduler.proposed(job, last);
        }
        !decision.more
    }

    /// Whether `record` would move a mark, or let a job owe nothing more, by a clock that is not
    /// believed: what is owed until then can't be decided.
    fn moves_mark_unsurely(&self, record: &Record) -> bool {
        match record {
            Record::JobPut(put) => {
                (put.mark.is_some() || put.facts.disabled) && !self.clock.is_trusted()
            }
            _ => false,
        }
    }

    /// A clock that was set back a little does not bring back what is decided.
    fn keep_decided(&self, record: &mut Record) {
        let Record::JobPut(put) = record else { return };
        let Some(job) = self.state.job_named(&put.name) else { return };
        if made(Mistake::MarkNotResetOnEdit) {
            put.mark = None;
        }
        if let (Some(mark), Some(decided)) = (put.mark, self.scheduler.decided_until(job)) {
            put.mark = Some(mark.max(decided));
        }
    }

    /// Whether records about `job` are on their way to the disk, so that what it owes and what of
    /// it is open is not known before they are applied.
    fn is_under_way(&self, job: JobId) -> bool {
        // A correction lowers the mark of every job.
        let corrects = |entry: &Entry| matches!(entry.record, Record::ClockCorrected { .. });
        self.scheduler.is_in_flight(job) || self.log.iter().any(corrects)
    }

    fn park(&mut self, name: String, parked: Parked) {
        if self.requests.parked_count >= PARKED_MAX {
            self.reply(parked.id, overloaded());
            return;
        }
        self.requests.parked_count += 1;
        self.requests.parked.entry(name).or_default().push_back(parked);
    }

    pub(super) fn unpark(&mut self, job: Option<JobId>) {
        if self.requests.parked.is_empty() {
            return;
        }
        // A deleted job has no name here any more, so all who wait are looked through then.
        let name = job.and_then(|job| self.state.job(job)).map(|job| job.name.to_string());
        let names: Vec<String> = match name {
            Some(name) => vec![name],
            None => self.requests.parked.keys().cloned().collect(),
        };
        for name in names {
            self.unpark_name(&name);
        }
    }

    fn unpark_name(&mut self, name: &str) {
        while !self.requests.locked.contains(name) && !self.is_restoring() {
            let stored = self.state.job_named(name).map(|job| job.id);
            let waits_on = stored.is_some_and(|job| self.is_under_way(job));
            let Some(queue) = self.requests.parked.get_mut(name) else { return };
            if queue.is_empty() {
                self.requests.parked.remove(name);
                return;
            }
            if waits_on {
                return;
            }
            let Some(parked) = queue.pop_front() else { return };
            self.requests.parked_count -= 1;
            self.request(parked.id, parked.peer, parked.request);
        }
    }

    /// The second half of a creation with `runoncreate`, whose first is the record at `index`. A
    /// job that cannot run now is stored all the same, and the answer says so.
    fn run_once(&mut self, mut pending: Pending, index: Index) {
        let not_ready = self.not_ready();
        let view = self.view(&not_ready);
        let claim = match self.state.job_named(&pending.name) {
            Some(job) => api::claim_by_hand(&view, job),
            None => Err("it is gone".into()),
        };
        if let Then::Stored { warnings, run_once, .. } = &mut pending.then {
            *run_once = if claim.is_ok() { RunOnce::Done } else { RunOnce::No };
            warnings.extend(claim.as_ref().err().map(|why| format!("runoncreate: {why}")));
        }
        match claim {
            Ok(record) => {
                let record = api::keyed(record, pending.key.clone());
                let index = self.append(record, &pending.actor);
                pending.late_at = self.now.mono + OUTCOME_WAIT;
                let requests = &mut self.requests;
                match pending.request {
                    Some(_) => requests.pending.insert(index, pending),
                    None => requests.given_up.insert(index, pending),
                };
            }
            Err(_) => self.conclude(pending, index, false),
        }
    }

    fn conclude(&mut self, pending: Pending, index: Index, void: bool) {
        self.requests.locked.remove(&pending.name);
        if let Some(key) = &pending.key {
            self.requests.keys.remove(&key.text);
        }
        let then = match (void, pending.then) {
            (false, then) => Some(then),
            // The definition is in force; it was the claim after it.
            (
                true,
                Then::Stored { status, mut warnings, ignored, pretty, run_once: RunOnce::Done },
            ) => {
                warnings.push(NOT_RUN.to_owned());
                Some(Then::Stored { status, warnings, ignored, pretty, run_once: RunOnce::No })
            }
            (
                true,
                Then::Stored { .. } | Then::Claimed { .. } | Then::Fixed(_) | Then::Voters { .. },
            ) => None,
        };
        let response = match then {
            None => api::overtaken(),
            Some(then) => {
                let not_ready = self.not_ready();
                api::applied(&self.view(&not_ready), &pending.name, then, index)
            }
        };
        if let Some(request) = pending.request {
            self.reply(request, response);
        }
    }

    /// When [`Node::answer_late`] must be called at the latest.
    pub(super) fn late_at(&self) -> Option<Mono> {
        let change = self.requests.pending.values().next().map(|pending| pending.late_at);
        let leave = match self.leaving {
            Leaving::Registry { request, .. } => request.map(|(_, late_at)| late_at),
            Leaving::No | Leaving::Stopping | Leaving::Gone => None,
        };
        [change, leave].into_iter().flatten().min()
    }

    /// Answers those whose change has waited too long for the disk. It is made when the disk takes
    /// it, so its job and its key stay taken until then.
    pub(super) fn answer_late(&mut self) {
        while self.late_at().is_some_and(|at| at <= self.now.mono) {
            if let Leaving::Registry { request, .. } = &mut self.leaving {
                if let Some((request, _)) = request.take_if(|(_, at)| *at <= self.now.mono) {
                    self.reply(request, api::outcome_unknown());
                    continue;
                }
            }
            let Some((index, mut pending)) = self.requests.pending.pop_first() else { return };
            if let Some(request) = pending.request.take() {
                self.reply(request, api::outcome_unknown());
            }
            if let Some(key) = &pending.key {
                if let Some(keyed) = self.requests.keys.get_mut(&key.text) {
                    keyed.given_up = true;
                }
                let same = |parked: &Parked| api::key_text(&parked.request) == Some(&key.text);
                self.answer_parked(&same, api::outcome_unknown);
            }
            self.requests.given_up.insert(index, pending);
        }
    }

    /// This node leads no more: whether what was under way is made, the next leader decides.
    pub(super) fn give_up_requests(&mut self) {
        let Requests { pending, parked, .. } = std::mem::take(&mut self.requests);
        for request in pending.into_values().filter_map(|pending| pending.request) {
            self.reply(request, api::outcome_unknown());
        }
        let sentence = "this node leads no more, and nothing was changed; try again in a moment";
        for parked in parked.into_values().flatten() {
            self.reply(parked.id, api::unavailable("no_leader", sentence));
        }
        if let Some(restoring) = self.restoring.take() {
            self.reply(restoring.request(), api::outcome_unknown());
        }
        if matches!(self.leaving, Leaving::Registry { .. }) {
            // The next leader is asked to write that this node has left.
            self.tether.greet_anew(self.now.mono);
        }
    }

    /// Refuses all that wait for a turn which will not come while the disk is full. Who repeats a
    /// change under way waits for what becomes of that.
    pub(super) fn refuse_parked(&mut self) {
        let repeats = |keys: &BTreeMap<String, Keyed>, parked: &Parked| {
            api::key_text(&parked.request).is_some_and(|key| keys.contains_key(key))
        };
        let keys = std::mem::take(&mut self.requests.keys);
        self.answer_parked(&|parked| !repeats(&keys, parked), disk_full);
        self.requests.keys = keys;
    }

    /// Answers those of the requests that wait for their turn for which `is_meant` holds.
    fn answer_parked(&mut self, is_meant: &dyn Fn(&Parked) -> bool, answer: fn() -> Response) {
        let mut ids = Vec::new();
        for queue in self.requests.parked.values_mut() {
            ids.extend(queue.iter().filter(|parked| is_meant(parked)).map(|parked| parked.id));
            queue.retain(|parked| !is_meant(parked));
        }
        self.requests.parked.retain(|_, queue| !queue.is_empty());
        self.requests.parked_count -= ids.len();
        ids.into_iter().for_each(|id| self.reply(id, answer()));
    }

    /// Answers with `head`, and the pieces of `stream` as the body.
    pub(super) fn reply_stream(&mut self, id: RequestId, mut head: Response, stream: Stream) {
        self.next_stream += 1;
        let stream_id = StreamId(self.next_stream);
        self.streams.insert(stream_id, (stream, false));
        head.body = Body::Stream(stream_id);
        self.reply(id, head);
    }

    pub(super) fn reply(&mut self, id: RequestId, response: Response) {
        let Some(response) = self.answer_foreign(id, response) else { return };
        if response.status == 500 {
            self.log(Level::Error, "a request met a bug", vec![("request", id.to_string())]);
        }
        self.effects.push_back(Effect::Reply(id, response));
    }
}

pub(super) fn about_to_go() -> Response {
    api::unavailable("no_leader", "another node is about to lead; try again in a moment")
}

fn overloaded() -> Response {
    overloaded_by("too many changes are waiting; try again in a moment")
}

pub(super) fn overloaded_by(sentence: &str) -> Response {
    api::unavailable("overloaded", sentence)
}

pub(super) fn clock_unsure() -> Response {
    let sentence = "the clock of this node looks wrong, and gets two minutes to be set before it \
                    is believed; try again then";
    api::unavailable("starting", sentence)
}

pub(super) fn disk_full() -> Response {
    let sentence = "the disk of this node is full, so nothing was changed; jobs go on for as long \
                    as they can be recorded, and changes as soon as there is room";
    api::unavailable(api::DISK_FULL, sentence)
}

pub(super) fn stopping() -> Response {
    api::unavailable("read_only", "this node is stopping and changes nothing any more")
}

#[cfg(test)]
mod tests {
    use crate::http::Method;
    use crate::job::{Catchup, Spec};
    use crate::node::Input;
    use crate::node::testing::{ask, at, every_second, node_after, records_of, sync, sync_one};

    /// A job was edited right after a start, when it owed more due times than are claimed at once.
    /// The edit moved the mark past those that were left, and nothing told of them.
    #[test]
    fn a_change_waits_until_all_that_the_job_owes_is_decided() {
        let all = Spec { catchup: Catchup::All, catchup_max: 10_000, ..every_second() };
        for (change, owed) in [
            (r#"{"schedule": "@manually"}"#, 350),
            (r#"{"disabled": true}"#, 350),
            (r#"{"note": "other"}"#, 350),
            (r#"{"schedule": "@manually"}"#, 100),
            (r#"{"schedule": "@manually"}"#, 1),
        ] {
            let mut node = node_after(records_of(&all), owed);
            let mut answers = Vec::new();
            // As early as a change can come.
            while !node.leads() {
                assert!(sync_one(&mut node, &mut answers), "it leads at last");
            }
            ask(&mut node, Method::Patch, "/v1/jobs/a", change);
            answers.extend(sync(&mut node));
            let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
            assert!(matches!(statuses[..], [200..=299]), "{change}: {statuses:?}");
            let job = node.state().job_named("a").unwrap();
            assert_eq!(job.executions().count() as i64, owed, "{change} after {owed} s");
            assert_eq!(job.decided_until, at(owed).wall.second(), "{change} after {owed} s");
        }
    }

    /// A job was given a later end, or none, after it had expired. What it would have owed in
    /// between was caught up and counted as missed.
    #[test]
    fn a_job_that_is_given_a_later_end_owes_nothing_of_the_time_after_the_old_one() {
        for (expired, change) in [
            (10, r#"{"expires_at": null}"#),
            (10, r#"{"expires_at": "2027-01-01T00:00:00Z"}"#),
            (995, r#"{"expires_at": null}"#),
        ] {
            let spec = Spec { expires_at: Some(at(expired).wall), ..every_second() };
            let mut node = node_after(records_of(&spec), 1_000);
            sync(&mut node);
            let before = node.state().job_named("a").unwrap().clone();
            ask(&mut node, Method::Patch, "/v1/jobs/a", change);
            let statuses: Vec<u16> = sync(&mut node).iter().map(|answer| answer.status).collect();
            assert!(matches!(statuses[..], [200..=299]), "{change}: {statuses:?}");
            let after = node.state().job_named("a").unwrap();
            let missed = [after, &before].map(|job| job.counts().missed_count);
            assert_eq!(missed[0], missed[1], "{change} after {expired} s");
            assert_eq!(after.executions().count(), before.executions().count(), "{change}");
            node.handle(Input::Tick, at(1_001));
            sync(&mut node);
            let newest = node.state().job_named("a").unwrap().executions().last();
            assert_eq!(newest.unwrap().due, Some(at(1_001).wall.second()));
        }
    }
}
