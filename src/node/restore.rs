//! Restores: reads one a little in each turn, stages its jobs, and puts them in force at once.
//!
//! More of its body is asked for when what has come is read, so a client that sends faster than
//! jobs are staged is held back. While it is being read, all else goes on. Before it is put in
//! force, what jobs owe is decided, as before any change of one; from then until it is in force,
//! other changes wait.

use std::collections::VecDeque;

use super::effect::{Effect, Level, Space};
use super::requests::{about_to_go, clock_unsure, disk_full, overloaded_by, stopping};
use super::{Leaving, Node};
use crate::api::{self, Answer, Next, Peer, Restore};
use crate::http::{BodyPiece, Request, Response};
use crate::ident::{Index, RequestId};
use crate::store::{Change, Record, RestoreCommit};

/// Bytes of a restore that are read at one tick, beside one job: what takes about a millisecond.
const TURN_BYTES: u64 = 8 * 1024;
/// Most records that may be on their way to the disk when more is read.
const AHEAD_MAX: usize = 1_024;
/// The same, in bytes of jobs.
const AHEAD_MAX_BYTES: usize = 1024 * 1024;

/// The restore that is under way.
#[derive(Debug)]
pub(super) struct Restoring {
    request: RequestId,
    restore: Box<Restore>,
    id: u64,
    has_staged: bool,
    phase: Phase,
    /// Records of its jobs that are not applied yet, each with its bytes, and their sum.
    ahead: VecDeque<(Index, usize)>,
    ahead_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Its jobs are being read and staged.
    Reading,
    /// More of it has to come first.
    Waiting,
    /// What jobs owe is being decided.
    Settling,
    /// It is in force when this record is applied.
    Committing(Index),
}

impl Restoring {
    /// Who waits for it.
    pub(super) fn request(&self) -> RequestId {
        self.request
    }
}

impl Node {
    /// Handles a request whose body is still to be asked for.
    pub(super) fn upload(&mut self, id: RequestId, peer: &Peer, request: &Request) {
        let not_ready = self.not_ready();
        let response = match api::handle(&self.view(&not_ready), request, peer) {
            Answer::Now(response) => response,
            Answer::Forward => self.ask_the_leader(),
            Answer::Restore(_) if self.leaving != Leaving::No => stopping(),
            Answer::Restore(_) if self.is_handing_over() => about_to_go(),
            Answer::Restore(_) if self.space != Space::Enough => disk_full(),
            Answer::Restore(restore) => return self.begin_restore(id, restore),
            Answer::Stream(..)
            | Answer::Leave
            | Answer::Transfer(_)
            | Answer::Consistent
            | Answer::Change(_) => {
                Response::error(413, "body_too_large", "this takes no body that comes in pieces")
            }
        };
        self.reply(id, response);
    }

    /// Begins a restore, unless there is one.
    pub(super) fn begin_restore(&mut self, request: RequestId, restore: Box<Restore>) {
        let refused = if Node::is_foreign(request) {
            // What became of each job would not fit into what goes back.
            Some(self.ask_the_leader())
        } else if self.leaving != Leaving::No {
            Some(stopping())
        } else if self.restoring.is_some() {
            Some(overloaded_by("another restore is under way; try again later"))
        } else if !self.clock.is_trusted() {
            Some(clock_unsure())
        } else {
            None
        };
        if let Some(response) = refused {
            self.reply(request, response);
            return;
        }
        // Unique within the office, and what an office leaves behind the next one drops.
        let id = request.0;
        let phase = Phase::Reading;
        let (has_staged, ahead, ahead_bytes) = (false, VecDeque::new(), 0);
        let restoring = Restoring { request, restore, id, has_staged, phase, ahead, ahead_bytes };
        self.restoring = Some(restoring);
    }

    /// A piece of the body of a request has come, or never will.
    pub(super) fn restore_piece(&mut self, request: RequestId, piece: Option<BodyPiece>) {
        let waits = |restoring: &mut Restoring| {
            restoring.request == request && restoring.phase == Phase::Waiting
        };
        let Some(mut restoring) = self.restoring.take_if(waits) else { return };
        let Some(piece) = piece else {
            let jobs = restoring.restore.jobs().to_string();
            self.log(Level::Info, "a restore was cut short", vec![("jobs", jobs)]);
            let sentence = "the restore was cut short, and nothing of it is in force";
            return self.give_up_restore(restoring, Response::error(400, "incomplete", sentence));
        };
        restoring.restore.feed(&piece.bytes);
        if piece.is_last {
            restoring.restore.end();
        }
        restoring.phase = Phase::Reading;
        self.restoring = Some(restoring);
    }

    /// Whether changes must wait for a restore.
    pub(super) fn is_restoring(&self) -> bool {
        let waits = |restoring: &Restoring| match restoring.phase {
            Phase::Reading | Phase::Waiting => false,
            Phase::Settling | Phase::Committing(_) => true,
        };
        self.restoring.as_ref().is_some_and(waits)
    }

    /// Whether a restore is on its way to the disk as a whole. What would be decided until it is
    /// there would be decided by definitions that it replaces.
    pub(super) fn is_committing(&self) -> bool {
        let commits = |restoring: &Restoring| matches!(restoring.phase, Phase::Committing(_));
        self.restoring.as_ref().is_some_and(commits)
    }

    /// Whether a restore can go on without anything happening first.
    pub(super) fn restore_can_go_on(&self) -> bool {
        self.restoring.as_ref().is_some_and(|restoring| self.may_read_on(restoring))
    }

    /// Does a little of the restore that is under way, and reads of it only when `may_read` says
    /// that a turn of the loop has begun: what the disk has to tell in one turn may be much.
    pub(super) fn go_on_restoring(&mut self, may_read: bool) {
        let Some(mut restoring) = self.restoring.take() else { return };
        match self.restore_turn(&mut restoring, may_read) {
            Ok(()) => self.restoring = Some(restoring),
            Err(response) => self.give_up_restore(restoring, response),
        }
    }

    /// Answers when the record at `index`, which has just been applied, puts the restore in force.
    pub(super) fn restore_applied(&mut self, index: Index, change: &Change) {
        let is_it = |restoring: &mut Restoring| restoring.phase == Phase::Committing(index);
        let Some(restoring) = self.restoring.take_if(is_it) else { return };
        let Change::Restored(restored) = change else {
            self.reply(restoring.request, api::overtaken());
            self.unpark(None);
            return;
        };
        let fields = vec![("jobs", restored.len().to_string())];
        self.log(Level::Info, "restored", fields);
        let (head, stream) = restoring.restore.answer(restored);
        self.reply_stream(restoring.request, head, *stream);
    }

    fn restore_turn(&mut self, restoring: &mut Restoring, may_read: bool) -> Result<(), Response> {
        if matches!(restoring.phase, Phase::Committing(_)) {
            return Ok(());
        }
        if self.leaving != Leaving::No {
            return Err(stopping());
        }
        if self.space != Space::Enough {
            return Err(disk_full());
        }
        let applied = self.state.applied();
        while let Some(&(_, bytes)) = restoring.ahead.front().filter(|(at, _)| *at <= applied) {
            restoring.ahead_bytes -= bytes;
            restoring.ahead.pop_front();
        }
        if may_read && self.may_read_on(restoring) {
            self.read_restore(restoring)?;
        }
        if restoring.phase == Phase::Settling && !self.may_be_owed() {
            if !self.clock.is_trusted() {
                return Err(clock_unsure());
            }
            self.commit_restore(restoring)?;
        }
        Ok(())
    }

    fn may_read_on(&self, restoring: &Restoring) -> bool {
        let has_room = self.log.len() < AHEAD_MAX && restoring.ahead_bytes < AHEAD_MAX_BYTES;
        restoring.phase == Phase::Reading && has_room
    }

    fn read_restore(&mut self, restoring: &mut Restoring) -> Result<(), Response> {
        let not_ready = self.not_ready();
        let from = restoring.restore.read_bytes();
        while restoring.restore.read_bytes() - from < TURN_BYTES {
            match restoring.restore.next(&self.view(&not_ready), restoring.id)? {
                Next::Part(part) => {
                    restoring.has_staged = true;
                    let length = part.staged_bytes();
                    let record = Record::RestorePart(part);
                    let index = self.append(record, &restoring.restore.actor);
                    restoring.ahead.push_back((index, length));
                    restoring.ahead_bytes += length;
                }
                Next::Wants => {
                    restoring.phase = Phase::Waiting;
                    self.effects.push_back(Effect::ReadBody(restoring.request));
                    break;
                }
                Next::Done => {
                    restoring.phase = Phase::Settling;
                    break;
                }
            }
        }
        Ok(())
    }

    fn commit_restore(&mut self, restoring: &mut Restoring) -> Result<(), Response> {
        let not_ready = self.not_ready();
        let commit = restoring.restore.commit(&self.view(&not_ready), restoring.id)?;
        let record = api::keyed(Record::RestoreCommit(commit), restoring.restore.key.clone());
        restoring.phase = Phase::Committing(self.append(record, &restoring.restore.actor));
        Ok(())
    }

    /// Whether a job may owe something that is not decided, as far as this node can decide it.
    fn may_be_owed(&self) -> bool {
        let moves_mark = |entry: &crate::store::Entry| match &entry.record {
            Record::JobPut(_)
            | Record::JobDelete { .. }
            | Record::Claim(_)
            | Record::Skip(_)
            | Record::ClockCorrected { .. }
            | Record::Keyed(_) => true,
            Record::EpochStart { .. }
            | Record::Config(_)
            | Record::Node(_)
            | Record::Finished(_)
            | Record::Checkpoint { .. }
            | Record::RestorePart(_)
            | Record::RestoreCommit(_)
            | Record::Retry(_) => false,
        };
        let now = self.now.wall.second();
        let is_due = self.scheduler.next_alarm().is_some_and(|due| due <= now)
            || self.state.chained().next().is_some();
        (is_due && self.may_fire()) || self.log.iter().any(moves_mark)
    }

    fn give_up_restore(&mut self, restoring: Restoring, response: Response) {
        if restoring.has_staged {
            let commit = RestoreCommit { restore: restoring.id, jobs: None, replace: false };
            self.append(Record::RestoreCommit(commit), &restoring.restore.actor);
        }
        self.reply(restoring.request, response);
        self.unpark(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use crate::job::{Catchup, Spec};
    use crate::node::Input;
    use crate::node::testing::{
        ask, at, every_second, get, node_after, records_of, sync, sync_one,
    };

    fn leading(spec: &Spec, owed: i64) -> Node {
        let mut node = node_after(records_of(spec), owed);
        let mut answers = Vec::new();
        while !node.leads() {
            assert!(sync_one(&mut node, &mut answers), "it leads at last");
        }
        node
    }

    fn job(name: &str) -> String {
        format!(r#"{{"name":"{name}","schedule":"@manually","command":"true","note":"new"}}"#)
    }

    /// Gives the node a restore, and the turn in which it begins to read it.
    fn restore(node: &mut Node, body: &str) {
        ask(node, Method::Post, "/v1/restore", body);
        let now = node.now;
        node.handle(Input::Tick, now);
    }

    fn statuses(answers: &[Response]) -> Vec<u16> {
        answers.iter().map(|answer| answer.status).collect()
    }

    /// Turns and durable batches until nothing is left to do.
    fn finish(node: &mut Node) -> Vec<Response> {
        let mut answers = sync(node);
        while node.restoring.is_some() {
            let now = node.now;
            node.handle(Input::Tick, now);
            answers.extend(sync(node));
        }
        answers
    }

    #[test]
    fn what_a_job_owes_is_decided_before_it_is_restored() {
        let all = Spec { catchup: Catchup::All, catchup_max: 10_000, ..every_second() };
        for owed in [350, 100, 1] {
            let mut node = leading(&all, owed);
            restore(&mut node, &format!("[{}]", job("a")));
            assert_eq!(statuses(&finish(&mut node)), [200], "{owed} s");
            let job = node.state().job_named("a").unwrap();
            assert_eq!(job.executions().count() as i64, owed, "{owed} s");
            assert_eq!(job.decided_until, at(owed).wall.second(), "{owed} s");
        }
    }

    #[test]
    fn changes_wait_until_a_restore_is_in_force_and_another_restore_is_refused() {
        let mut node = leading(&every_second(), 0);
        sync(&mut node);
        restore(&mut node, &format!("[{},{}]", job("a"), job("b")));
        ask(&mut node, Method::Patch, "/v1/jobs/a", r#"{"owner":"x"}"#);
        ask(&mut node, Method::Delete, "/v1/jobs/b", "");
        ask(&mut node, Method::Post, "/v1/jobs", &job("c"));
        assert_eq!(get(&mut node, "/v1/jobs/b").0, 404, "it is not in force");
        restore(&mut node, "[]");
        // What is not in force is not there to be deleted.
        assert_eq!(statuses(&finish(&mut node)), [404, 503, 200, 201, 201]);
        let state = node.state();
        let a = state.job_named("a").unwrap();
        let spec = Spec::from_bytes(&a.spec).unwrap();
        assert_eq!((spec.note.as_str(), spec.owner.as_str()), ("new", "x"));
        assert!(state.job_named("b").is_some() && state.job_named("c").is_some());
    }

    #[test]
    fn a_long_restore_is_read_in_many_turns_and_other_changes_go_on() {
        let mut node = leading(&every_second(), 0);
        sync(&mut node);
        let jobs: Vec<String> = (0..5_000).map(|number| job(&format!("job{number}"))).collect();
        restore(&mut node, &format!("[{}]", jobs.join(",")));
        let a_turn = 2 + TURN_BYTES as usize / job("job0").len();
        assert!(node.log.len() <= a_turn, "{}", node.log.len());
        ask(&mut node, Method::Post, "/v1/jobs", &job("other"));
        let mut turns = 0;
        while node.restore_can_go_on() {
            let (now, before) = (node.now, node.log.len());
            node.handle(Input::Tick, now);
            assert!(node.log.len() - before <= a_turn);
            turns += 1;
        }
        assert!(node.log.len() < AHEAD_MAX + a_turn, "{} on the way", node.log.len());
        assert!(turns > 2, "{turns}");
        assert_eq!(statuses(&finish(&mut node)), [201, 200]);
        assert_eq!(node.state().jobs_by_name().len(), 5_002);
    }

    #[test]
    fn a_restore_that_is_refused_leaves_nothing_behind() {
        let jobs: Vec<String> = (0..500).map(|number| job(&format!("job{number}"))).collect();
        let bad = format!("[{},{{}}]", jobs.join(","));
        for (what, status) in [("bad", 400), ("stop", 503)] {
            let mut node = leading(&every_second(), 0);
            sync(&mut node);
            let before = node.state().jobs_by_name().len();
            restore(&mut node, &bad);
            if what == "stop" {
                let now = node.now;
                node.handle(Input::Stop, now);
            }
            assert_eq!(statuses(&finish(&mut node)), [status], "{what}");
            assert_eq!(node.state().jobs_by_name().len(), before, "{what}");
            let staged: Vec<Vec<u8>> = node.state().snapshot();
            let bytes: usize = staged.iter().map(Vec::len).sum();
            assert!(bytes < 2_000, "{what}: {bytes} bytes are left");
        }
        // A clock that is not believed moves no marks.
        let mut node = leading(&every_second(), -8 * 3_600);
        restore(&mut node, &format!("[{}]", job("b")));
        assert_eq!(statuses(&finish(&mut node)), [503]);
        assert!(node.state().job_named("b").is_none());
    }

    const UPLOAD: RequestId = RequestId(9);

    /// Begins a restore whose body comes in pieces.
    fn upload(node: &mut Node) {
        let request = Request {
            method: Method::Post,
            path: "/v1/restore".into(),
            query: Vec::new(),
            headers: crate::http::Headers::default(),
            body: Vec::new(),
            host: None,
            version_10: false,
        };
        let (who, role) = ("test".into(), Some(api::Role::Admin));
        let peer = Peer { role, who, on_unix_socket: true };
        let now = node.now;
        node.handle(Input::Upload { id: UPLOAD, peer, request: Box::new(request) }, now);
    }

    /// Turns until it has read all there is; whether it wants more. What is durable is told.
    fn read_on(node: &mut Node, answers: &mut Vec<Response>) -> bool {
        let mut wants = 0;
        loop {
            let is_want = |effect: &Effect| matches!(effect, Effect::ReadBody(UPLOAD));
            wants += node.effects.iter().filter(|effect| is_want(effect)).count();
            node.effects.retain(|effect| !is_want(effect));
            if !sync_one(node, answers) {
                if !node.restore_can_go_on() {
                    break;
                }
                let now = node.now;
                node.handle(Input::Tick, now);
            }
        }
        assert!(wants <= 1, "{wants} wishes for one piece");
        wants == 1
    }

    fn piece(node: &mut Node, bytes: &str, is_last: bool) {
        let now = node.now;
        let piece = BodyPiece { bytes: bytes.into(), is_last };
        node.handle(Input::Body(UPLOAD, Some(piece)), now);
    }

    #[test]
    fn a_body_in_pieces_is_asked_for_as_it_is_read_and_in_force_at_its_end() {
        let body = format!("[{}, {}]", job("b"), job("c"));
        for cut in 0..=body.len() {
            let mut node = leading(&every_second(), 0);
            sync(&mut node);
            let mut answers = Vec::new();
            upload(&mut node);
            for (bytes, is_last) in [(&body[..cut], false), (&body[cut..], true)] {
                assert!(read_on(&mut node, &mut answers), "at {cut}");
                assert!(node.state().job_named("b").is_none() && answers.is_empty());
                piece(&mut node, bytes, is_last);
            }
            assert!(!read_on(&mut node, &mut answers), "at {cut}: there is no more");
            answers.extend(finish(&mut node));
            assert_eq!(statuses(&answers), [200], "at {cut}");
            assert!(node.state().job_named("c").is_some());
        }
    }

    /// Whoever sends without end is held back by what is not durable yet, as by what is not read.
    #[test]
    fn no_more_is_asked_for_than_can_be_staged() {
        let mut node = leading(&every_second(), 0);
        sync(&mut node);
        upload(&mut node);
        let note = "x".repeat(4_000);
        let mut pieces = 0;
        loop {
            while node.restore_can_go_on() {
                let now = node.now;
                node.handle(Input::Tick, now);
            }
            let wants = node.effects.iter().any(|e| matches!(e, Effect::ReadBody(_)));
            if !wants {
                break;
            }
            node.effects.retain(|e| !matches!(e, Effect::ReadBody(_)));
            let begin = if pieces == 0 { "[" } else { "," };
            let long = job(&format!("job{pieces}")).replace("new", &note);
            piece(&mut node, &format!("{begin}{long}"), false);
            pieces += 1;
        }
        let bytes = pieces * note.len();
        assert!(pieces > 10 && bytes < 1_200_000, "{bytes} bytes in {pieces} pieces on the way");
        assert!(read_on(&mut node, &mut Vec::new()), "it goes on when that is durable");
    }

    fn snapshot_bytes(node: &Node) -> usize {
        node.state().snapshot().iter().map(Vec::len).sum()
    }

    #[test]
    fn a_body_that_stops_anywhere_leaves_nothing_behind_and_room_for_another() {
        let body = format!("[{}, {}]", job("b"), job("c"));
        for cut in 0..=body.len() {
            let mut node = leading(&every_second(), 0);
            sync(&mut node);
            let (mut answers, before) = (Vec::new(), snapshot_bytes(&node));
            upload(&mut node);
            assert!(read_on(&mut node, &mut answers));
            piece(&mut node, &body[..cut], false);
            assert!(read_on(&mut node, &mut answers));
            let now = node.now;
            node.handle(Input::Body(UPLOAD, None), now);
            answers.extend(sync(&mut node));
            assert_eq!(statuses(&answers), [400], "at {cut}: to nobody");
            assert_eq!(node.state().jobs_by_name().len(), 1, "at {cut}");
            let left = snapshot_bytes(&node);
            assert!(left < before + 16, "at {cut}: {left} bytes are left of {before}");
            restore(&mut node, &format!("[{}]", job("d")));
            assert_eq!(statuses(&finish(&mut node)), [200], "at {cut}");
        }
    }

    #[test]
    fn a_node_that_does_not_lead_or_cannot_keep_it_refuses_a_body_before_it_comes() {
        for (what, status, part) in [
            ("follows", 503, "ask the leader itself"),
            ("full", 503, "is full"),
            ("stops", 503, ""),
        ] {
            let mut node = leading(&every_second(), 0);
            sync(&mut node);
            let now = node.now;
            match what {
                "follows" => node.established = None,
                "full" => node.handle(Input::Space(Space::Low), now),
                _ => node.leaving = Leaving::Stopping,
            }
            upload(&mut node);
            let mut found = Vec::new();
            while let Some(effect) = node.poll_effect() {
                assert!(!matches!(effect, Effect::ReadBody(_)), "{what}");
                if let Effect::Reply(UPLOAD, response) = effect {
                    found.push(response);
                }
            }
            assert_eq!(statuses(&found), [status], "{what}");
            let crate::http::Body::Bytes(body) = &found[0].body else { panic!("{found:?}") };
            assert!(String::from_utf8_lossy(body).contains(part), "{found:?}");
        }
    }
}
