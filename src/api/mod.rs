//! The REST API: routed handlers from a request to an answer, or to a change that must be
//! committed first.
//!
//! Reads the state, never changes it: a handler that changes something returns the record that
//! would, and the node answers when that is committed. Authorisation belongs to the routed
//! handler, never to a path. The node drives it. Contract: Dkron's REST API 0.7.2; where that is
//! silent, v4's.
#![forbid(unsafe_code)]

mod backup;
mod cluster;
mod context;
mod executions;
mod form;
mod guard;
mod health;
mod jobs;
mod keys;
mod list;
mod peek;
mod restore;
mod routes;
mod sent_on;
mod shown;
mod split;
mod stream;
mod tags;
mod voters;

pub use context::JobContext;
pub use guard::{HostRule, Peer, Role};
pub use keys::key_text;
pub use restore::{Next, Restore, streamed};
pub use sent_on::{ANSWER_FIELDS, SENT_FIELDS, sent_on};
pub use stream::{Progress, Stream};

use std::time::Duration;

use crate::cron::Zones;
use crate::http::{Body, Request, Response};
use crate::ident::{Epoch, Index, JobId, NodeId};
use crate::run::dispatch::Dispatch;
use crate::schedule::Scheduler;
use crate::store::{Job, Keyed, Record, RequestKey, State};
use crate::time::Now;

/// The reason in [`View::not_ready`] for which nothing of the state may be shown: this node may
/// have answered more, before it was started again, than it has applied now.
pub const STARTING: &str = "starting";

/// The code of a change that is refused, and of a node that is not ready, for want of room.
pub const DISK_FULL: &str = "disk_full";

/// The key of a query that asks for no less than what was answered to anybody.
pub const CONSISTENT: &str = "consistent";

/// Changes of voters are made one after another, under this name, which is no job's.
pub const VOTERS_NAME: &str = "/voters";

/// All that a handler may look at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The applied state.
    pub state: &'a State,
    /// The leader's schedule.
    pub scheduler: &'a Scheduler,
    /// What the leader has heard of open runs.
    pub dispatch: &'a Dispatch,
    /// Time zones.
    pub zones: &'a dyn Zones,
    /// The zone of a job that names none.
    pub default_zone: &'a str,
    /// This node.
    pub me: NodeId,
    /// Its name.
    pub node_name: &'a str,
    /// Whether it keeps the journal: a worker has nothing to show.
    pub is_server: bool,
    /// Who leads, and in which epoch; `None` while nobody is known to.
    pub leader: Option<(NodeId, Epoch)>,
    /// Whether this node is established as leader, so that it may change things.
    pub established: bool,
    /// Why this node is not ready, as codes.
    pub not_ready: &'a [&'static str],
    /// What is noteworthy all the same, as codes.
    pub warnings: &'a [&'static str],
    /// How long the node has been up.
    pub uptime: Duration,
    /// The clocks.
    pub now: Now,
    /// Names in `Host` that are our own, beside localhost and the node's name.
    pub hosts: &'a HostRule,
}

/// What a handler makes of a request.
#[derive(Debug)]
pub enum Answer {
    /// This, at once.
    Now(Response),
    /// A large answer, made piece by piece: the head without a body, and what makes the body.
    Stream(Response, Box<Stream>),
    /// A change that must be committed first.
    Change(Box<Change>),
    /// Jobs are to be restored; it is to be given the request's body, whole or as it comes.
    Restore(Box<Restore>),
    /// This node leaves the cluster, and answers when it has.
    Leave,
    /// This node, which leads, hands over to that voter, or to the one that has most.
    Transfer(Option<NodeId>),
    /// This must see every change that was answered before it came: ask again when that is sure,
    /// without [`CONSISTENT`].
    Consistent,
    /// Only the leader can do that, and who asks may have it done.
    Forward,
}

/// A change of one job, or of who votes.
#[derive(Debug)]
pub struct Change {
    /// The job's name: changes of one name are made one after another, each seeing the last.
    pub name: String,
    /// The job whose owed due times are to be decided first.
    pub settle: Option<JobId>,
    /// The record; a claim by hand for a job that it creates is added by `run_on_create`.
    pub record: Record,
    /// Who asks.
    pub actor: String,
    /// The client's key; it goes into the last record of the change, by [`keyed`].
    pub key: Option<RequestKey>,
    /// What to answer when it is applied.
    pub then: Then,
}

/// The answer to an applied change.
#[derive(Debug)]
pub enum Then {
    /// The stored job.
    Stored {
        /// 200 or 201; with 201 it is said where the job is found.
        status: u16,
        /// What to say beside it.
        warnings: Vec<String>,
        /// Keys of the request that mean nothing.
        ignored: Vec<String>,
        /// Whether a person reads it.
        pretty: bool,
        /// Whether it is run once, too.
        run_once: RunOnce,
    },
    /// The job, and the claim's index in a header.
    Claimed {
        /// Whether a person reads it.
        pretty: bool,
    },
    /// This, made before.
    Fixed(Response),
    /// Who votes.
    Voters {
        /// Whether a person reads it.
        pretty: bool,
    },
}

/// Whether a job that is stored is run by hand in the same breath.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunOnce {
    /// It isn't.
    No,
    /// It is to be, when it is stored.
    Wanted,
    /// It was.
    Done,
}

/// Answers a request.
pub fn handle(view: &View<'_>, request: &Request, peer: &Peer) -> Answer {
    match answer(view, request, peer) {
        Ok(answer) => answer,
        Err(mut refused) => {
            if let (Body::Bytes(body), true) = (&mut refused.body, wants_pretty(request)) {
                *body = crate::job::pretty(body);
            }
            Answer::Now(refused)
        }
    }
}

/// `record` as the last record of a change with this key.
pub fn keyed(record: Record, key: Option<RequestKey>) -> Record {
    match key {
        Some(key) => Record::Keyed(Box::new(Keyed { key, record })),
        None => record,
    }
}

/// The answer to a change of the job `name` that was applied by the record at `group`.
pub fn applied(view: &View<'_>, name: &str, then: Then, group: Index) -> Response {
    let job = view.state.job_named(name);
    match (then, job) {
        (Then::Fixed(response), _) => response,
        (Then::Voters { pretty }, _) => {
            let body = voters::shown(view);
            Response::json(200, if pretty { crate::job::pretty(&body) } else { body })
        }
        (Then::Stored { status, warnings, ignored, pretty, run_once }, Some(job)) => {
            let mut response = Response::json(status, shown::job(view, job, warnings, pretty));
            if status == 201 {
                response = response.header("Location", format!("/v1/jobs/{name}"));
            }
            if run_once == RunOnce::Done {
                response = response.header("X-Execution-Group", group.to_string());
            }
            if ignored.is_empty() {
                return response;
            }
            response.header("X-Ignored-Keys", ignored.join(", "))
        }
        (Then::Claimed { pretty }, Some(job)) => {
            let body = shown::job(view, job, Vec::new(), pretty);
            Response::json(200, body).header("X-Execution-Group", group.to_string())
        }
        (Then::Stored { .. } | Then::Claimed { .. }, None) => overtaken(),
    }
}

/// The claim of a fire by hand.
///
/// # Errors
/// When nothing may run it now, as a sentence.
pub fn claim_by_hand(view: &View<'_>, job: &Job) -> Result<Record, String> {
    jobs::claim_by_hand(view, job).map_err(|not_run| not_run.sentence)
}

/// The answer of a node that has left: the members as it last knew them.
pub fn left(view: &View<'_>) -> Response {
    Response::json(200, cluster::members_json(view))
}

/// The answer to a request that this node hand over, when another leads.
pub fn handed_over(view: &View<'_>) -> Response {
    Response::json(200, cluster::leader_json(view).unwrap_or_else(|| b"{}".to_vec()))
}

/// The answer to a change whose record no longer applied when its turn came.
pub fn overtaken() -> Response {
    Response::error(409, "conflict", "the job was changed at the same moment; nothing was done")
}

/// The answer while this node may change nothing.
pub fn unavailable(code: &'static str, sentence: &str) -> Response {
    Response::error(503, code, sentence).header("Retry-After", "1")
}

/// The answer to a change that may be made or not: nobody can know now.
pub fn outcome_unknown() -> Response {
    let sentence = "the disk does not take the change, which may still be made when it does; look \
                    whether it was, or repeat it with the same Idempotency-Key";
    Response::error(504, "outcome_unknown", sentence)
}

fn answer(view: &View<'_>, request: &Request, peer: &Peer) -> Handled {
    let found = routes::find(request)?;
    guard::admit(view, request, peer, found.route.role, found.changes)?;
    if !view.is_server && !found.route.on_worker {
        let sentence = "this node is a worker, which keeps no jobs; ask a server";
        return Err(unavailable("not_a_server", sentence));
    }
    // Even "not found" could take back what was answered before the start.
    if found.route.role.is_some() && view.not_ready.contains(&STARTING) {
        let sentence = "this node does not yet know all of its journal; try again";
        return Err(unavailable(STARTING, sentence));
    }
    let key = match found.changes {
        true => keys::key_of(request, &found.segments, found.route.is_streamed)?,
        false => None,
    };
    let repeat = key.as_ref().and_then(|key| keys::repeat(view, key, wants_pretty(request)));
    // Whether a restore is the same one again is known at the end of its body.
    if let Some(response) = repeat.filter(|_| !found.route.is_streamed) {
        return Ok(Answer::Now(response));
    }
    if found.changes && !view.established && !found.route.is_local {
        return Ok(Answer::Forward);
    }
    let consistent = request.query.iter().any(|(key, _)| key == CONSISTENT);
    if consistent && !found.changes && !found.route.on_worker {
        return Ok(Answer::Consistent);
    }
    let call = Call { view, request, peer, segments: &found.segments };
    let mut answer = (found.route.handler)(&call)?;
    match &mut answer {
        // A change of voters may be repeated without one.
        Answer::Change(change) if matches!(change.record, Record::Config(_)) => {}
        Answer::Change(change) => {
            let status = keys::status_of(&change.then);
            change.key = key.map(|key| RequestKey { status, ..key });
        }
        Answer::Restore(restore) => restore.key = key,
        Answer::Now(_)
        | Answer::Stream(..)
        | Answer::Leave
        | Answer::Transfer(_)
        | Answer::Consistent
        | Answer::Forward => {}
    }
    Ok(answer)
}

fn wants_pretty(request: &Request) -> bool {
    request.query.iter().any(|(key, _)| key == "pretty")
}

/// One routed request.
struct Call<'a> {
    view: &'a View<'a>,
    request: &'a Request,
    peer: &'a Peer,
    /// The variable segments of the path, decoded, in order.
    segments: &'a [String],
}

/// What a handler gives: an answer, or a refusal that ends it early.
type Handled = Result<Answer, Response>;

impl Call<'_> {
    fn wants_pretty(&self) -> bool {
        wants_pretty(self.request)
    }

    fn segment(&self, at: usize) -> &str {
        self.segments.get(at).map_or("", String::as_str)
    }

    /// The job that the first variable segment names.
    fn job(&self) -> Result<&Job, Response> {
        let name = self.segment(0);
        self.view.state.job_named(name).ok_or_else(|| {
            let shown: String = crate::text::escape_control(name).chars().take(128).collect();
            Response::error(404, "not_found", &format!("there is no job named \"{shown}\""))
        })
    }

    fn json(&self, status: u16, body: Vec<u8>) -> Response {
        let body = if self.wants_pretty() { crate::job::pretty(&body) } else { body };
        Response::json(status, body)
    }
}

#[cfg(test)]
mod tests;
