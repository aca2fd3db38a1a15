//! Large answers, made piece by piece as the socket takes them.
//!
//! A stream remembers which objects it is to show, by number, and looks each up when its turn
//! comes: what was deleted meanwhile is left out, nothing appears twice, and no answer is ever in
//! memory as a whole.

use std::collections::VecDeque;

use super::View;
use super::shown::{self, Shown, Style};
use crate::ident::{Index, JobId, RunId};
use crate::job::{Pretty, render};

/// How many bytes one piece is to have; it may be longer by one object.
const PIECE_BYTES: usize = 64 * 1024;

/// An array that is on its way out.
#[derive(Debug)]
pub struct Stream {
    items: Items,
    pretty: Option<Pretty>,
    begun: bool,
    first: bool,
}

#[derive(Debug)]
pub(super) enum Items {
    Jobs(VecDeque<JobId>),
    /// Runs and skips, of any jobs.
    Executions(VecDeque<(JobId, Item)>, Style),
}

/// One entry of a list of executions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Run(RunId),
    Skip(Index),
}

impl Item {
    pub(super) fn of(shown: &Shown<'_>) -> Item {
        match shown {
            Shown::Run(fire, run) => Item::Run(fire.run_id(run)),
            Shown::Skip(index, _, _) => Item::Skip(*index),
        }
    }
}

impl Stream {
    pub(super) fn new(items: Items, wants_pretty: bool) -> Stream {
        let pretty = wants_pretty.then(Pretty::default);
        Stream { items, pretty, begun: false, first: true }
    }

    /// Appends the next piece to `out` and says whether it was the last.
    pub fn produce(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        let mut piece = Vec::with_capacity(PIECE_BYTES / 8);
        if !self.begun {
            self.begun = true;
            piece.push(b'[');
        }
        let mut done = false;
        while piece.len() < PIECE_BYTES && !done {
            done = !self.next(view, &mut piece);
        }
        if done {
            piece.push(b']');
        }
        match &mut self.pretty {
            None => out.extend_from_slice(&piece),
            Some(pretty) => {
                pretty.feed(&piece, out);
                if done {
                    std::mem::take(pretty).finish(out);
                }
            }
        }
        done
    }

    /// Appends the next object, if it still exists; false when there is none left.
    fn next(&mut self, view: &View<'_>, piece: &mut Vec<u8>) -> bool {
        let length = piece.len();
        if !self.first {
            piece.push(b',');
        }
        let object = piece.len();
        let more = match &mut self.items {
            Items::Jobs(jobs) => jobs.pop_front().map(|id| {
                if let Some(job) = view.state.job(id) {
                    render(&job.spec, &shown::hot(view, job, Vec::new()), piece);
                }
            }),
            Items::Executions(items, style) => items.pop_front().map(|(job, item)| {
                execution(view, job, item, *style, piece);
            }),
        };
        match piece.len() > object {
            true => self.first = false,
            false => piece.truncate(length),
        }
        more.is_some()
    }
}

fn execution(view: &View<'_>, job: JobId, item: Item, style: Style, piece: &mut Vec<u8>) {
    let Some(job) = view.state.job_or_deleted(job) else { return };
    match item {
        Item::Run(id) => {
            let Some(fire) = job.fires.get(id.group) else { return };
            let Some(run) = fire.runs.iter().find(|run| fire.run_id(run) == id) else { return };
            Shown::Run(fire, run).render(view, job, style, piece);
        }
        Item::Skip(wanted) => {
            let kept = job.skips.iter().find(|(index, _, _)| *index == wanted);
            let Some((index, wall, skip)) = kept else { return };
            Shown::Skip(*index, *wall, skip).render(view, job, style, piece);
        }
    }
}
