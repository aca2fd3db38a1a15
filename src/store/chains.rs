//! Jobs that run after another: which those are, and the fires that they are owed.
//!
//! A job names its parent, which is there for as long as anybody names it, and nobody runs after
//! itself. When all targets of a fire have succeeded, each child is owed one; a claim or a skip
//! that names that end decides it, once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::jobs::Job;
use super::record::{JobPut, RestorePart, Skip, SkipReason};
use super::{Change, State};
use crate::ident::{Index, JobId};
use crate::time::Wall;

/// Most fires that one job is owed while nobody can decide them.
pub const CHAINED_MAX: usize = 100;

/// Who runs after whom, and what is owed for that.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub(super) struct Chains {
    /// By the name of the parent.
    children: BTreeMap<String, BTreeSet<JobId>>,
    /// The ends after which each job is owed a fire, in order.
    owed: BTreeMap<JobId, VecDeque<Index>>,
}

/// Why jobs can't run after each other as they say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChainError {
    /// A job, and its parent, which isn't there.
    Missing(String, String),
    /// A job that would run after itself.
    Cycle(String),
}

/// Checks that each of `jobs` has a parent that is there, if it names one, and so on up to one that
/// names none. `parent_of` gives the parent of a job, empty for none; `None` when there is no such
/// job.
///
/// # Errors
/// The first that is wrong.
pub fn check_chains<'a>(
    jobs: impl Iterator<Item = &'a str>,
    parent_of: &dyn Fn(&'a str) -> Option<&'a str>,
) -> Result<(), ChainError> {
    let mut sound = BTreeSet::new();
    for job in jobs {
        let mut path = BTreeSet::new();
        let (mut child, mut at) = ("", job);
        while !sound.contains(at) {
            if !path.insert(at) {
                return Err(ChainError::Cycle(job.to_owned()));
            }
            match parent_of(at) {
                None => return Err(ChainError::Missing(child.to_owned(), at.to_owned())),
                Some("") => break,
                Some(parent) => (child, at) = (at, parent),
            }
        }
        sound.append(&mut path);
    }
    Ok(())
}

impl Chains {
    /// Notes whom the job `id` runs after; nobody when `parent` is empty.
    pub(super) fn link(&mut self, id: JobId, parent: &str) {
        if !parent.is_empty() {
            self.children.entry(parent.to_owned()).or_default().insert(id);
        }
    }

    /// Forgets that.
    pub(super) fn unlink(&mut self, id: JobId, parent: &str) {
        let Some(children) = self.children.get_mut(parent) else { return };
        children.remove(&id);
        if children.is_empty() {
            self.children.remove(parent);
        }
    }

    /// Whether the job is owed a fire for that end.
    pub(super) fn owes(&self, id: JobId, end: Index) -> bool {
        self.owed.get(&id).is_some_and(|owed| owed.contains(&end))
    }

    /// The fire that the job is owed for that end is decided.
    pub(super) fn decide(&mut self, id: JobId, end: Index) {
        let Some(owed) = self.owed.get_mut(&id) else { return };
        owed.retain(|&other| other != end);
        if owed.is_empty() {
            self.owed.remove(&id);
        }
    }

    /// The job is owed nothing any more; how many fires that was.
    pub(super) fn drop_owed(&mut self, id: JobId) -> usize {
        self.owed.remove(&id).map_or(0, |owed| owed.len())
    }

    /// Takes what a snapshot says; false when that is out of order, or too much.
    pub(super) fn restore(&mut self, id: JobId, end: Index) -> bool {
        let owed = self.owed.entry(id).or_default();
        let follows = owed.back().is_none_or(|&last| last < end);
        owed.push_back(end);
        follows && owed.len() <= CHAINED_MAX
    }
}

impl State {
    /// The jobs that run after the job of that name, in order of number.
    pub fn children(&self, parent: &str) -> impl Iterator<Item = &Job> {
        let ids = self.chains.children.get(parent).into_iter().flatten();
        ids.filter_map(|id| self.job(*id))
    }

    /// The jobs that are owed fires for ends of others, with those ends, in order.
    pub fn chained(&self) -> impl Iterator<Item = (JobId, Index)> + '_ {
        self.chains.owed.iter().flat_map(|(&id, ends)| ends.iter().map(move |&end| (id, end)))
    }

    /// The ends after which the job is owed a fire, in order.
    pub fn chained_of(&self, id: JobId) -> impl ExactSizeIterator<Item = Index> + '_ {
        static NONE: VecDeque<Index> = VecDeque::new();
        self.chains.owed.get(&id).unwrap_or(&NONE).iter().copied()
    }

    /// Whether the job may be stored: whom it names is there, and does not run after it.
    pub(super) fn is_linked(&self, put: &JobPut) -> bool {
        let parent_of = |name: &str| match name == put.name {
            true => Some(&*put.timing.parent),
            false => self.job_named(name).map(|job| &*job.timing.parent),
        };
        put.timing.parent.is_empty() || check_chains([&*put.name].into_iter(), &parent_of).is_ok()
    }

    /// Whether a restore of those jobs leaves each with a parent that is there, if it names one.
    pub(super) fn are_linked<'a>(
        &'a self,
        parts: impl Iterator<Item = &'a RestorePart>,
        replace: bool,
    ) -> bool {
        let of_part = |part: &'a RestorePart| (&*part.put.name, &*part.put.timing.parent);
        let parents: BTreeMap<&str, &str> = parts.map(of_part).collect();
        let stored = |name: &str| self.job_named(name).filter(|_| !replace);
        let parent_of = |name: &'a str| {
            let of_stored = || stored(name).map(|job| &*job.timing.parent);
            parents.get(name).copied().or_else(of_stored)
        };
        check_chains(parents.keys().copied(), &parent_of).is_ok()
    }

    /// All targets of a fire of the job `parent` have succeeded, the last by the record at `end`.
    /// Who runs after it is owed a fire, unless it is disabled, not started yet or expired.
    pub(super) fn follow(&mut self, parent: &str, end: Index, wall: Wall) {
        let Some(children) = self.chains.children.get(parent).cloned() else { return };
        for id in children {
            let now = wall.second();
            let Some(job) = self.jobs.get(&id) else { continue };
            let starts = job.timing.starts.is_none_or(|starts| starts <= now);
            let expired = job.timing.expires.is_some_and(|expires| expires < now);
            if job.facts.disabled || !starts || expired {
                continue;
            }
            if self.chains.owed.get(&id).is_none_or(|owed| owed.len() < CHAINED_MAX) {
                self.chains.owed.entry(id).or_default().push_back(end);
            } else {
                self.miss(id, 1, SkipReason::Backlog, end, wall);
            }
        }
    }

    /// The job was stored anew: one that is disabled, or runs after nobody, is owed nothing.
    pub(super) fn settle_chained(&mut self, id: JobId, index: Index, wall: Wall) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.facts.disabled || job.timing.parent.is_empty() {
            let count = self.chains.drop_owed(id);
            if count > 0 {
                self.miss(id, count as u32, SkipReason::Withdrawn, index, wall);
            }
        }
    }

    /// Gives up the fire that a child is owed for that end.
    pub(super) fn skip_chained(
        &mut self,
        skip: Skip,
        end: Index,
        (index, wall): (Index, Wall),
    ) -> Change {
        let id = skip.job;
        if !self.chains.owes(id, end) {
            return Change::Void(Some(id));
        }
        self.chains.decide(id, end);
        self.save_before(id);
        let Some(job) = self.jobs.get_mut(&id) else { return Change::Void(Some(id)) };
        let past = job.past_mut();
        past.count_missed(1);
        past.push_skip(index, wall, skip);
        Change::Skipped(id)
    }

    /// Gives up fires of a child, and tells of it.
    fn miss(&mut self, id: JobId, count: u32, reason: SkipReason, index: Index, wall: Wall) {
        self.save_before(id);
        let (now, clock_era) = (wall.second(), self.clock_era);
        let (after, until, first, parent) = (now, now, now, Some(index));
        let skip =
            Skip { job: id, clock_era, after, until, first, count, more: false, reason, parent };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let past = job.past_mut();
        past.count_missed(count.into());
        past.push_skip(index, wall, skip);
    }

    /// Notes who runs after whom, of a state that was read; false when that can't be.
    pub(super) fn link_all(&mut self) -> bool {
        let names: Vec<(JobId, Rc<str>, String)> = self
            .jobs
            .values()
            .filter(|job| !job.timing.parent.is_empty())
            .map(|job| (job.id, Rc::clone(&job.name), job.timing.parent.clone()))
            .collect();
        names.iter().for_each(|(id, _, parent)| self.chains.link(*id, parent));
        self.chains_are_sound()
    }

    /// Whether who runs after somebody can, and what is owed is owed to such jobs.
    pub(super) fn chains_are_sound(&self) -> bool {
        let parent_of = |name: &str| self.job_named(name).map(|job| &*job.timing.parent);
        let children = self.chains.children.values().flatten();
        let names = children.filter_map(|id| self.jobs.get(id)).map(|job| &*job.name);
        let may_be_owed = |id: &JobId| {
            let job = self.jobs.get(id);
            job.is_some_and(|job| !job.facts.disabled && !job.timing.parent.is_empty())
        };
        check_chains(names, &parent_of).is_ok()
            && self.chains.owed.keys().all(may_be_owed)
            && self.chained().all(|(_, end)| end <= self.applied)
    }
}
