//! The fires that a job keeps: open ones whole, ended ones as summaries.
//!
//! What an ended fire is kept for is to be shown, so of it only [`Summary`]s of its runs are left,
//! in order of claim. How many are kept is decided by count alone, and so is the same on every
//! node.

use std::collections::VecDeque;

use super::fires::{Execution, Fire, RunState};
use super::summary::Summary;
use crate::ident::{Index, RunId};

/// Most runs that the ended fires of one job have together, whatever it asks to keep, unless the
/// newest alone has more.
pub(super) const SUMMARIES_MAX: usize = 10_000;

/// The fires of one job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct History {
    /// In order of claim, those that are open; few, and kept to the size that they have.
    open: VecDeque<Fire>,
    /// The runs of all others, in order of claim, node and attempt.
    ended: VecDeque<Summary>,
    /// How many fires those are of.
    ended_fires: usize,
}

impl History {
    /// Every run that is kept, in order of claim, node and attempt.
    pub(super) fn executions(&self) -> impl Iterator<Item = Execution> + '_ {
        let mut open = self.open.iter().flat_map(Fire::executions).peekable();
        let mut ended = self.ended.iter().map(Summary::execution).peekable();
        std::iter::from_fn(move || match (open.peek(), ended.peek()) {
            (Some(one), Some(other)) if one.group < other.group => open.next(),
            (_, Some(_)) => ended.next(),
            (_, None) => open.next(),
        })
    }

    /// One run; `None` when it is not kept.
    pub(super) fn execution(&self, id: RunId) -> Option<Execution> {
        if let Some(fire) = self.fire(id.group) {
            return fire.executions().find(|execution| execution.id() == id);
        }
        let at = self.ended.binary_search_by_key(&id, Summary::id).ok()?;
        self.ended.get(at).map(Summary::execution)
    }

    /// The fire of that claim, while it is open.
    pub(super) fn fire(&self, group: Index) -> Option<&Fire> {
        self.open.get(self.position(group)?)
    }

    /// The fires that are open, in order of claim.
    pub(super) fn open_fires(&self) -> impl DoubleEndedIterator<Item = &Fire> {
        self.open.iter()
    }

    /// What ended fires have left, in order.
    pub(super) fn summaries(&self) -> impl ExactSizeIterator<Item = &Summary> {
        self.ended.iter()
    }

    /// Index of the newest record that may hold the last output of a run.
    pub(super) fn newest_output(&self) -> Option<Index> {
        let ended = self.ended.iter().rev().map(Summary::execution);
        ended.filter(Execution::may_have_output).map(|execution| execution.run.record).next()
    }

    /// Adds a fire that was just claimed.
    pub(super) fn push(&mut self, fire: Fire) {
        let newest = self.open.back().map(|fire| fire.group);
        assert!(newest < Some(fire.group), "claims are in order");
        match fire.is_over() {
            true => self.keep_ended(&fire),
            false => self.open.push_back(fire),
        }
    }

    /// The fire of that claim, while it is open.
    pub(super) fn fire_mut(&mut self, group: Index) -> Option<&mut Fire> {
        let at = self.position(group)?;
        self.open.get_mut(at)
    }

    /// No fire is tried again from here on; those that only waited for that are closed.
    pub(super) fn end_retries(&mut self) {
        self.open.iter_mut().for_each(|fire| fire.retries = 0);
        let over: Vec<Index> =
            self.open.iter().filter(|fire| fire.is_over()).map(|fire| fire.group).collect();
        over.into_iter().for_each(|group| {
            self.close(group);
        });
    }

    /// Closes the fire of `group` and gives it; `None` while it is open.
    pub(super) fn close(&mut self, group: Index) -> Option<Fire> {
        let at = self.position(group)?;
        let fire = self.open.get(at).is_some_and(Fire::is_over).then(|| self.open.remove(at))??;
        if self.open.is_empty() {
            self.open.shrink_to_fit();
        }
        self.keep_ended(&fire);
        Some(fire)
    }

    /// Drops the oldest ended fires beyond `keep` fires and [`SUMMARIES_MAX`] runs; but a fire that
    /// is the only one, however often its runs were tried. One that is open stays, and its runs do
    /// not count.
    pub(super) fn trim(&mut self, keep: usize) {
        while self.exceeds(keep) {
            let Some(oldest) = self.ended.front().map(Summary::group) else { return };
            let runs = self.ended.partition_point(|summary| summary.group() <= oldest);
            self.ended.drain(..runs);
            self.ended_fires -= 1;
        }
    }

    /// Whether there is something to trim.
    pub(super) fn exceeds(&self, keep: usize) -> bool {
        self.ended_fires > keep || (self.ended.len() > SUMMARIES_MAX && self.ended_fires > 1)
    }

    /// Adds the next summary of a snapshot; false when it does not follow the last.
    pub(super) fn restore(&mut self, summary: Summary) -> bool {
        let last = self.ended.back().map(Summary::id);
        if last >= Some(summary.id()) {
            return false;
        }
        self.ended_fires += usize::from(last.map(|id| id.group) != Some(summary.group()));
        make_room(&mut self.ended);
        self.ended.push_back(summary);
        true
    }

    /// Checks what must hold between records.
    ///
    /// # Panics
    /// When it doesn't.
    pub(super) fn check(&self, keep: usize) {
        assert!(self.open.iter().is_sorted_by(|a, b| a.group < b.group), "claims are in order");
        for fire in &self.open {
            assert!(!fire.is_over(), "what has ended is kept as summaries");
            assert!(fire.runs_are_in_order(), "the runs of a fire are in order of node");
        }
        assert!(self.ended.iter().is_sorted_by(|a, b| a.id() < b.id()), "runs are in order");
        let mut groups: Vec<Index> = self.ended.iter().map(Summary::group).collect();
        groups.dedup();
        assert_eq!(groups.len(), self.ended_fires);
        assert!(groups.iter().all(|&group| self.fire(group).is_none()));
        assert!(!self.exceeds(keep), "history is trimmed");
    }

    fn keep_ended(&mut self, fire: &Fire) {
        if fire.runs.is_empty() {
            return;
        }
        self.ended_fires += 1;
        // Most fires end in the order in which they were claimed.
        let mut at = self.ended.partition_point(|summary| summary.group() < fire.group);
        for execution in fire.executions() {
            let RunState::Ended(ending) = execution.run.state else { continue };
            make_room(&mut self.ended);
            self.ended.insert(at, Summary::new(&execution, &ending));
            at += 1;
        }
    }

    fn position(&self, group: Index) -> Option<usize> {
        self.open.binary_search_by_key(&group, |fire| fire.group).ok()
    }
}

/// Grows by a quarter instead of to the double: these are what most of the memory goes to.
fn make_room(ended: &mut VecDeque<Summary>) {
    if ended.len() == ended.capacity() {
        ended.reserve_exact((ended.len() / 4).max(2));
    }
}
