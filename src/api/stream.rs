//! Large answers, made piece by piece as the socket takes them.
//!
//! A stream remembers which objects it is to show, by number, and looks each up when its turn
//! comes: what was deleted meanwhile is left out, nothing appears twice, and no answer is ever in
//! memory as a whole.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::View;
use super::backup::Lines;
use super::shown::{self, Shown, Style};
use crate::ident::{Index, JobId, RunId};
use crate::job::{Pretty, render};
use crate::store::{BackupStep, Restored};

/// How many bytes one piece is to have; it may be longer by one object.
const PIECE_BYTES: usize = 64 * 1024;
/// Most outputs that are asked for at once.
pub(super) const OUTPUTS_MAX: usize = 32;
/// How many entries of the list are looked through for them.
const LOOK_AHEAD: usize = 1_024;

/// What comes next of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// There is more.
    More,
    /// It goes on when [`Stream::give`] has told what these records, at most [`OUTPUTS_MAX`], hold
    /// of the output of runs.
    Wants(Vec<Index>),
    /// That was the last.
    Done,
    /// The rest can't be made any more: too much has changed since it was begun.
    Cut,
}

/// An array, a single object, or lines of objects, on their way out.
#[derive(Debug)]
pub struct Stream {
    items: Items,
    /// The last output of the next executions, by the record that holds it, as far as it is kept.
    outputs: BTreeMap<Index, Option<Vec<u8>>>,
    form: Form,
    pretty: Option<Pretty>,
    begun: bool,
    first: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Array,
    Single,
    Lines,
}

#[derive(Debug)]
pub(super) enum Items {
    Jobs(VecDeque<JobId>),
    Backup(Lines),
    Restored(VecDeque<(Rc<str>, Restored)>),
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
            Shown::Run(execution) => Item::Run(execution.id()),
            Shown::Skip(index, _, _) => Item::Skip(*index),
        }
    }

    /// The entry, if it still exists.
    fn find<'a>(self, view: &View<'a>, job: JobId) -> Option<(&'a crate::store::Job, Shown<'a>)> {
        let job = view.state.job_or_deleted(job)?;
        let shown = match self {
            Item::Run(id) => Shown::Run(job.execution(id)?),
            Item::Skip(wanted) => {
                let (index, wall, skip) = job.skips().find(|(index, _, _)| *index == wanted)?;
                Shown::Skip(*index, *wall, skip)
            }
        };
        Some((job, shown))
    }
}

impl Stream {
    pub(super) fn new(items: Items, wants_pretty: bool) -> Stream {
        let pretty = wants_pretty.then(Pretty::default);
        let outputs = BTreeMap::new();
        Stream { items, outputs, form: Form::Array, pretty, begun: false, first: true }
    }

    /// One object instead of an array; `null` if it is gone when its turn comes.
    pub(super) fn single(self) -> Stream {
        Stream { form: Form::Single, ..self }
    }

    /// Lines instead of an array, as the items make them.
    pub(super) fn lines(self) -> Stream {
        Stream { form: Form::Lines, ..self }
    }

    /// Appends the next piece to `out`, and says what comes next.
    pub fn produce(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> Progress {
        let mut piece = Vec::with_capacity(PIECE_BYTES / 8);
        let mut progress = Progress::More;
        if !self.begun && self.form == Form::Array {
            piece.push(b'[');
        }
        self.begun = true;
        while piece.len() < PIECE_BYTES && progress == Progress::More {
            let wanted = self.wanted(view);
            progress = match (wanted.is_empty(), self.is_at_end()) {
                (false, _) => Progress::Wants(wanted),
                (true, false) => self.next(view, &mut piece),
                (true, true) => Progress::Done,
            };
        }
        let done = progress == Progress::Done;
        if done {
            piece.extend_from_slice(match (self.form, self.first) {
                (Form::Array, _) => b"]",
                (Form::Single, true) => b"null",
                (Form::Single, false) | (Form::Lines, _) => b"",
            });
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
        progress
    }

    /// Tells what records hold of the output of runs; `None` where nothing is kept any more.
    pub fn give(&mut self, outputs: Vec<(Index, Option<Vec<u8>>)>) {
        self.outputs.extend(outputs);
    }

    fn is_at_end(&self) -> bool {
        match &self.items {
            Items::Jobs(jobs) => jobs.is_empty(),
            Items::Restored(jobs) => jobs.is_empty(),
            // Its last line tells.
            Items::Backup(_) => false,
            Items::Executions(items, _) => items.is_empty(),
        }
    }

    /// The records whose outputs must be known before the next object can be made; with them, those
    /// for the objects after it.
    fn wanted(&self, view: &View<'_>) -> Vec<Index> {
        let Items::Executions(items, style) = &self.items else { return Vec::new() };
        let output = |(job, item): &(JobId, Item)| {
            let (_, shown) = item.find(view, *job)?;
            shown.output(*style).filter(|record| !self.outputs.contains_key(record))
        };
        match items.front().and_then(output) {
            Some(_) => items.iter().take(LOOK_AHEAD).filter_map(output).take(OUTPUTS_MAX).collect(),
            None => Vec::new(),
        }
    }

    /// Appends the next object, if it still exists.
    fn next(&mut self, view: &View<'_>, piece: &mut Vec<u8>) -> Progress {
        let length = piece.len();
        if !self.first && self.form != Form::Lines {
            piece.push(b',');
        }
        let object = piece.len();
        match &mut self.items {
            Items::Backup(lines) => match lines.next(view, PIECE_BYTES, piece) {
                BackupStep::More => {}
                BackupStep::Done => return Progress::Done,
                BackupStep::Void => return Progress::Cut,
            },
            Items::Restored(jobs) => {
                if let Some((name, result)) = jobs.pop_front() {
                    let object = serde_json::json!({ "name": &*name, "result": result.name() });
                    piece.extend_from_slice(object.to_string().as_bytes());
                }
            }
            Items::Jobs(jobs) => {
                if let Some(job) = jobs.pop_front().and_then(|id| view.state.job(id)) {
                    render(&job.spec, &shown::hot(view, job, Vec::new()), piece);
                }
            }
            Items::Executions(items, style) => {
                let found = items.pop_front().and_then(|(job, item)| item.find(view, job));
                if let Some((job, shown)) = found {
                    let output = shown.output(*style).and_then(|at| self.outputs.remove(&at));
                    shown.render(view, job, *style, output.flatten().as_deref(), piece);
                }
            }
        }
        match piece.len() > object {
            true => self.first = false,
            false => piece.truncate(length),
        }
        Progress::More
    }
}
