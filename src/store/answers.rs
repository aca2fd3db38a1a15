//! Answers that a client may ask for again: what became of a change that carried a key.
//!
//! A key travels in the record of the change itself, so that both are there or neither. Kept for
//! an hour by the time that the records carry, and no more than [`ANSWERS_MAX`]; the oldest go
//! first. The body of an answer is not kept: it is made anew of what is known then.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Index, JobId};
use crate::time::Wall;

/// Most answers that are kept.
pub const ANSWERS_MAX: usize = 100_000;
/// How long an answer is kept, in milliseconds.
pub(super) const ANSWER_KEPT_MS: i64 = 3_600_000;
/// Longest key, in bytes.
pub const KEY_MAX_BYTES: usize = 64;

/// The key that a client gave to a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestKey {
    /// The key: 1 to [`KEY_MAX_BYTES`] bytes.
    pub text: String,
    /// What tells one request from another, so that a key is not taken for two.
    pub print: u64,
    /// The status of the answer.
    pub status: u16,
}

impl RequestKey {
    pub(super) fn encode(&self, out: &mut Encoder) {
        assert!(self.is_sound(), "a key is bounded where it enters");
        out.str(&self.text).u64(self.print).u16(self.status);
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<RequestKey, DecodeError> {
        let (text, print) = (input.str()?.to_owned(), input.u64()?);
        let key = RequestKey { text, print, status: input.u16()? };
        key.is_sound().then_some(key).ok_or(DecodeError::Invalid("key of a request"))
    }

    fn is_sound(&self) -> bool {
        (1..=KEY_MAX_BYTES).contains(&self.text.len()) && (200..300).contains(&self.status)
    }
}

/// What became of a change that carried a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The key and the answer's status.
    pub key: RequestKey,
    /// When it was answered.
    pub wall: Wall,
    /// The job that was changed.
    pub job: JobId,
    /// Its name, which outlives it.
    pub name: Rc<str>,
    /// Whether the record was a claim, so that its index is the group of an execution.
    pub claimed: bool,
}

/// All answers that are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Answers {
    by_index: BTreeMap<Index, Answered>,
    by_key: BTreeMap<String, Index>,
}

impl Answers {
    /// Keeps what the record at `index` answered, and gives what is dropped for it: a key that is
    /// used again means the newer one.
    pub(super) fn put(&mut self, index: Index, answered: Answered) -> Vec<(Index, Answered)> {
        let mut dropped = Vec::new();
        if let Some(older) = self.by_key.insert(answered.key.text.clone(), index) {
            dropped.extend(self.by_index.remove_entry(&older));
        }
        self.by_index.insert(index, answered);
        while self.by_index.len() > ANSWERS_MAX {
            dropped.extend(self.drop_oldest());
        }
        dropped
    }

    /// Drops the oldest one if it is too old at `now`, and gives it. Call until `None`.
    pub(super) fn expire(&mut self, now: Wall) -> Option<(Index, Answered)> {
        let is_old = self.by_index.first_key_value().is_some_and(|(_, first)| !is_kept(first, now));
        is_old.then(|| self.drop_oldest())?
    }

    /// Those of the records from `from` up to `to`, oldest first.
    pub(super) fn range(&self, from: Index, to: Index) -> impl Iterator<Item = (Index, &Answered)> {
        let to = to.max(from);
        self.by_index.range(from..=to).map(|(&index, answered)| (index, answered))
    }

    /// What the change with the key `text` was answered, unless that is too long ago at `now`.
    pub(super) fn get(&self, text: &str, now: Wall) -> Option<(Index, &Answered)> {
        let index = *self.by_key.get(text)?;
        let answered = self.by_index.get(&index)?;
        is_kept(answered, now).then_some((index, answered))
    }

    /// All of them, oldest first.
    pub(super) fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = (Index, &Answered)> + DoubleEndedIterator {
        self.by_index.iter().map(|(&index, answered)| (index, answered))
    }

    fn drop_oldest(&mut self) -> Option<(Index, Answered)> {
        let (index, oldest) = self.by_index.pop_first()?;
        self.by_key.remove(&oldest.key.text);
        Some((index, oldest))
    }

    pub(super) fn check(&self) {
        assert_eq!(self.by_index.len(), self.by_key.len(), "each key has one answer");
        assert!(self.by_index.len() <= ANSWERS_MAX);
        for (text, index) in &self.by_key {
            assert_eq!(&self.by_index[index].key.text, text);
        }
    }
}

fn is_kept(answered: &Answered, now: Wall) -> bool {
    now.ms_since(answered.wall) < ANSWER_KEPT_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str, at: i64) -> Answered {
        Answered {
            key: RequestKey { text: text.into(), print: 7, status: 201 },
            wall: Wall(at),
            job: JobId(1),
            name: "a".into(),
            claimed: false,
        }
    }

    #[test]
    fn an_answer_is_kept_for_an_hour() {
        let mut answers = Answers::default();
        answers.put(Index(1), answered("k", 1_000));
        for (later, kept) in [(0, true), (ANSWER_KEPT_MS - 1, true), (ANSWER_KEPT_MS, false)] {
            let found = answers.get("k", Wall(1_000 + later));
            assert_eq!(found.is_some(), kept, "{later} ms later");
        }
        answers.expire(Wall(1_000 + ANSWER_KEPT_MS - 1));
        assert_eq!(answers.iter().len(), 1);
        answers.expire(Wall(1_000 + ANSWER_KEPT_MS));
        assert_eq!(answers, Answers::default());
        assert_eq!(answers.get("k", Wall(1_000)), None);
    }

    #[test]
    fn the_oldest_answers_go_when_there_are_too_many() {
        let mut answers = Answers::default();
        for index in 0..=ANSWERS_MAX as u64 {
            answers.put(Index(index), answered(&index.to_string(), 5));
        }
        answers.check();
        assert_eq!(answers.get("0", Wall(5)), None);
        assert!(answers.get("1", Wall(5)).is_some());
        assert_eq!(answers.iter().len(), ANSWERS_MAX);
    }

    #[test]
    fn a_key_that_is_used_again_means_the_newer_answer() {
        let mut answers = Answers::default();
        answers.put(Index(1), answered("k", 1));
        answers.put(Index(2), answered("k", 2));
        answers.check();
        assert_eq!(answers.get("k", Wall(2)).unwrap().0, Index(2));
    }
}
