//! From a text to an [`Expression`]: the zone in front, then a word or the fields.

use super::calendar::{Calendar, Field};
use super::field::{Fields, parse_field};
use super::words::parse_word;
use super::{Expression, Kind, Schedule, check_zone_name};
use crate::text::Diagnostic;

/// Longest text of a schedule, in bytes.
pub const SCHEDULE_MAX_BYTES: usize = 1_024;

/// Most items in the list of one field.
pub const FIELD_MAX_ITEMS: usize = 64;

/// Understands the text of a schedule: five fields (minute hour day-of-month month day-of-week),
/// six (seconds in front), or a word such as `@daily`; before it, perhaps `CRON_TZ=Zone`.
///
/// # Errors
/// The first thing that is wrong, with its place. Nothing longer than [`SCHEDULE_MAX_BYTES`] and
/// no field of more than [`FIELD_MAX_ITEMS`] items is looked into.
pub fn parse(text: &str) -> Result<Expression, Diagnostic> {
    if text.len() > SCHEDULE_MAX_BYTES {
        let message = format!(
            "the schedule is {} bytes long, at most {SCHEDULE_MAX_BYTES} are allowed",
            text.len()
        );
        return Err(Diagnostic::new(0, text.len(), message));
    }
    let mut words = split(text);
    let zone = match words.first() {
        Some(&first) => parse_zone(first)?,
        None => None,
    };
    if zone.is_some() {
        words.remove(0);
    }
    let mut warnings = Vec::new();
    let mut five_fields = None;
    let kind = match words.as_slice() {
        [] => {
            let message = format!("the schedule is empty; {EXPECTED}");
            return Err(Diagnostic::new(text.len(), text.len(), message));
        }
        [word, arguments @ ..] if word.text.starts_with('@') => parse_word(*word, arguments)?,
        fields => {
            let calendar = parse_fields(fields, &mut warnings)?;
            if let [first, _, _, _, last] = fields {
                five_fields = text.get(first.start..last.end()).map(Box::from);
            }
            Kind::Calendar(calendar)
        }
    };
    Ok(Expression { zone, schedule: Schedule(kind), warnings, five_fields })
}

const EXPECTED: &str = "five fields are expected (minute hour day-of-month month day-of-week), \
                        or six (second in front), or a word such as @daily";

/// A part of the text and where it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
}

impl Word<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// A complaint about all of it.
    pub(super) fn complaint(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.start, self.end(), message)
    }
}

/// The calendar of the schedule that a word stands for.
pub(super) fn parse_plain(text: &str) -> Result<Calendar, Diagnostic> {
    parse_fields(&split(text), &mut Vec::new())
}

/// The words between blanks. Only space and tab separate.
fn split(text: &str) -> Vec<Word<'_>> {
    let mut start = 0;
    let mut words = Vec::new();
    for part in text.split([' ', '\t']) {
        if !part.is_empty() {
            words.push(Word { text: part, start });
        }
        start += part.len() + 1;
    }
    words
}

fn parse_zone(word: Word<'_>) -> Result<Option<String>, Diagnostic> {
    let stripped = word.text.strip_prefix("CRON_TZ=").or_else(|| word.text.strip_prefix("TZ="));
    let Some(name) = stripped else {
        return Ok(None);
    };
    match check_zone_name(name) {
        Ok(()) => Ok(Some(name.to_owned())),
        Err(wrong) => {
            let start = word.end() - name.len();
            Err(Diagnostic::new(start, word.end(), format!("time zone: {wrong}")))
        }
    }
}

fn parse_fields(
    words: &[Word<'_>],
    warnings: &mut Vec<Diagnostic>,
) -> Result<Calendar, Diagnostic> {
    let mut fields = Fields::new(warnings);
    let names = match words.len() {
        6 => Field::ALL.as_slice(),
        5 => {
            fields.calendar.add(Field::Second, Field::Second.bit(0));
            &Field::ALL[1..]
        }
        found => {
            let start = words.get(6).or(words.first()).map_or(0, |word| word.start);
            let end = words.last().map_or(0, Word::end);
            let plural = if found == 1 { "" } else { "s" };
            let message = format!("found {found} field{plural}; {EXPECTED}");
            return Err(Diagnostic::new(start, end, message));
        }
    };
    for (&field, &word) in names.iter().zip(words) {
        parse_field(field, word, &mut fields)?;
    }
    Ok(fields.finish())
}
