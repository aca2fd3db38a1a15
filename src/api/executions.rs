//! Routes of executions.

use std::collections::VecDeque;

use super::list::{self, Page, bad_query};
use super::shown::{self, Shown, Style};
use super::stream::{Item, Items, Stream};
use super::{Answer, Call, Handled};
use crate::http::{Body, Response};
use crate::ident::{JobId, RunId};
use crate::job::execution::State;

/// Executions of a job, newest first: those that started or may have; with `state` all, or those
/// in one state.
pub(super) fn list(call: &Call<'_>) -> Handled {
    let job = call.job()?;
    let wanted = wanted_states(call)?;
    let page = Page::of(call, true)?;
    let mut found: Vec<Shown<'_>> = shown::history(job)
        .into_iter()
        .filter(|item| wanted.takes(item.state(call.view)))
        .collect();
    // What is equal in the wanted field stays in order of claim.
    found.reverse();
    let view = call.view;
    match call.request.query_value("_sort") {
        None | Some("" | "id" | "group") => {
            found.sort_by_key(|item| (item.group(), item.attempt()));
        }
        Some("started_at") => found.sort_by_key(|item| item.started_at(view)),
        Some("finished_at") => found.sort_by_key(Shown::finished_at),
        Some("attempt") => found.sort_by_key(Shown::attempt),
        Some("state") => found.sort_by_key(|item| item.state(view).as_str()),
        Some(_) => {
            let fields = "id, group, started_at, finished_at, attempt or state";
            return Err(bad_query(&format!("_sort must be {fields}")));
        }
    }
    if page.descending {
        found.reverse();
    }
    let total = found.len();
    let items = page.cut(found).iter().map(|item| (job.id, Item::of(item))).collect();
    streamed(call, items, total, style(call, false)?)
}

/// One execution by its id.
pub(super) fn show(call: &Call<'_>) -> Handled {
    let job = call.job()?;
    let id = call.segment(1);
    let Some(found) = shown::find(call.view, job, id) else {
        let sentence = "the job has no execution of this id, or it is no longer kept";
        return Err(Response::error(404, "not_found", sentence));
    };
    let items = Items::Executions([(job.id, Item::of(&found))].into(), style(call, false)?);
    let stream = Stream::new(items, call.wants_pretty()).single();
    Ok(Answer::Stream(Response::new(200, Body::Empty), Box::new(stream)))
}

/// Every open run of the cluster, oldest first.
pub(super) fn busy(call: &Call<'_>) -> Handled {
    let page = Page::of(call, false)?;
    let state = call.view.state;
    let mut runs: Vec<(RunId, JobId)> = state.open_runs().collect();
    match call.request.query_value("_sort") {
        // Claims are numbered in order of time.
        None | Some("" | "id" | "group" | "started_at") => {}
        Some("job_name") => {
            runs.sort_by_cached_key(|(_, job)| state.job_or_deleted(*job).map(|job| &job.name));
        }
        Some(_) => return Err(bad_query("_sort must be id, group, started_at or job_name")),
    }
    if page.descending {
        runs.reverse();
    }
    let total = runs.len();
    let items = page.cut(runs).into_iter().map(|(run, job)| (job, Item::Run(run))).collect();
    streamed(call, items, total, style(call, true)?)
}

fn streamed(
    call: &Call<'_>,
    items: VecDeque<(JobId, Item)>,
    total: usize,
    style: Style,
) -> Handled {
    let stream = Stream::new(Items::Executions(items, style), call.wants_pretty());
    let head = Response::new(200, Body::Empty).header("X-Total-Count", total.to_string());
    Ok(Answer::Stream(head, Box::new(stream)))
}

fn style(call: &Call<'_>, contact: bool) -> Result<Style, Response> {
    Ok(Style { output_max: list::number(call, "output_size_limit")?, contact })
}

enum Wanted {
    Started,
    All,
    One(State),
}

impl Wanted {
    fn takes(&self, state: State) -> bool {
        match self {
            Wanted::Started => !matches!(state, State::Skipped | State::Missed),
            Wanted::All => true,
            Wanted::One(one) => state == *one,
        }
    }
}

fn wanted_states(call: &Call<'_>) -> Result<Wanted, Response> {
    match call.request.query_value("state") {
        None | Some("") => Ok(Wanted::Started),
        Some("all") => Ok(Wanted::All),
        Some(word) => State::from_word(word).map(Wanted::One).ok_or_else(|| {
            let words: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
            bad_query(&format!("state must be all or one of {}", words.join(", ")))
        }),
    }
}
