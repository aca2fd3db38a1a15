//! One field: a list of items, each a value, a range, a step, a spread or a special day.

use super::calendar::{Calendar, Field, SPREAD_LAST_DAY, Spread};
use super::parse::{FIELD_MAX_ITEMS, Word};
use crate::text::{Diagnostic, escape_control, nearest};

/// Most items with `~` or `H` in one field.
pub(super) const SPREAD_MAX_ITEMS: usize = 6;

/// Most items with `L`, `W` or `#` in one field. With this and [`SPREAD_MAX_ITEMS`] the canonical
/// text of any schedule stays within what the parser reads.
pub(super) const SPECIAL_MAX_ITEMS: usize = 24;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// What the fields read so far ask for.
pub(super) struct Fields<'w> {
    pub(super) calendar: Calendar,
    spreads: Vec<Spread>,
    starred_days: bool,
    warnings: &'w mut Vec<Diagnostic>,
}

impl<'w> Fields<'w> {
    pub(super) fn new(warnings: &'w mut Vec<Diagnostic>) -> Self {
        let calendar = Calendar::default();
        Fields { calendar, spreads: Vec::new(), starred_days: false, warnings }
    }

    /// The calendar in its one form.
    pub(super) fn finish(self) -> Calendar {
        self.calendar.normal(self.spreads, !self.starred_days)
    }
}

/// Reads the field `word` into `fields`.
pub(super) fn parse_field(
    field: Field,
    word: Word<'_>,
    fields: &mut Fields<'_>,
) -> Result<(), Diagnostic> {
    let name = field.name();
    let count = word.text.split(',').count();
    if count > FIELD_MAX_ITEMS {
        let message = format!("{name} field: {count} items, at most {FIELD_MAX_ITEMS} are allowed");
        return Err(word.complaint(message));
    }
    if word.text.starts_with(['*', '?']) {
        match field {
            Field::Hour => fields.calendar.wild_hours = true,
            Field::DayOfMonth | Field::DayOfWeek => fields.starred_days = true,
            Field::Second | Field::Minute | Field::Month => {}
        }
    }
    let spreads_before = fields.spreads.len();
    let mut specials = 0;
    let mut start = word.start;
    for text in word.text.split(',') {
        let mut item = Item { field, text, start, at: 0 };
        specials += usize::from(item.read(fields)?);
        start += text.len() + 1;
    }
    let spreads = fields.spreads.len() - spreads_before;
    for (found, most, what) in
        [(spreads, SPREAD_MAX_ITEMS, "~ or H"), (specials, SPECIAL_MAX_ITEMS, "L, W or #")]
    {
        if found > most {
            let message =
                format!("{name} field: {found} items with {what}, at most {most} are allowed");
            return Err(word.complaint(message));
        }
    }
    Ok(())
}

/// One item of a list, read from left to right.
struct Item<'a> {
    field: Field,
    text: &'a str,
    /// Where it begins in the schedule.
    start: usize,
    /// How much of it is read.
    at: usize,
}

impl Item<'_> {
    /// Reads the item; true if it was a special day (`L`, `W`, `#`).
    fn read(&mut self, fields: &mut Fields<'_>) -> Result<bool, Diagnostic> {
        let field = self.field;
        match self.peek() {
            None => return Err(self.wrong(0, "an item of the list is empty")),
            Some('*' | '?') => {
                self.at += 1;
                return self.range(field.min(), field.max(), fields);
            }
            Some('~') => return self.whole_spread(fields),
            Some('H' | 'h') if !self.text.chars().nth(1).is_some_and(char::is_alphabetic) => {
                return self.whole_spread(fields);
            }
            Some('L' | 'l') if field == Field::DayOfMonth => {
                return self.last_day(&mut fields.calendar);
            }
            Some(_) => {}
        }
        let first = self.value(false)?;
        let weekday = field.bit(first) as u8;
        let after = self.at;
        match self.peek() {
            None => fields.calendar.add(field, field.bit(first)),
            Some('/') => {
                let first = if first > field.max() { field.min() } else { first };
                return self.range(first, field.max(), fields);
            }
            Some('-') => {
                self.at += 1;
                let last = self.value(true)?;
                self.check_order(first, last, &split_range(field, first, last))?;
                return self.range(first, last, fields);
            }
            Some('~' | 'H' | 'h') => {
                self.at += 1;
                let last = self.value(true)?;
                self.check_order(first, last, &format!("{last}~{first}"))?;
                return self.spread(first, last, fields);
            }
            Some('W' | 'w') if field == Field::DayOfMonth => {
                self.at += 1;
                fields.calendar.nearest |= 1 << first;
            }
            Some('L' | 'l') if field == Field::DayOfWeek => {
                self.at += 1;
                fields.calendar.last_day_of_week |= weekday;
            }
            Some('#') if field == Field::DayOfWeek => {
                self.at += 1;
                let nth = self.number(1, 5, "a week from 1 to 5")?;
                if let Some(days) = fields.calendar.nth.get_mut(usize::from(nth) - 1) {
                    *days |= weekday;
                }
            }
            Some(_) => {}
        }
        let special = self.at > after;
        self.end()?;
        Ok(special)
    }

    /// `low-high` with its step, if one follows.
    fn range(&mut self, low: u8, high: u8, fields: &mut Fields<'_>) -> Result<bool, Diagnostic> {
        let step = self.step(low, high, fields)?;
        self.end()?;
        fields.calendar.add(self.field, self.field.bits(low, high, step.unwrap_or(1)));
        Ok(false)
    }

    fn whole_spread(&mut self, fields: &mut Fields<'_>) -> Result<bool, Diagnostic> {
        self.at += 1;
        if self.peek().is_some_and(|c| c.is_ascii_alphanumeric()) {
            return Err(self.wrong(0, "a spread has both ends, such as 0~5, or none"));
        }
        self.spread(self.field.min(), self.field.spread_max(), fields)
    }

    fn spread(&mut self, low: u8, high: u8, fields: &mut Fields<'_>) -> Result<bool, Diagnostic> {
        let whole = self.at;
        let allowed = if self.field == Field::DayOfMonth { SPREAD_LAST_DAY } else { high };
        if low > allowed {
            return Err(self.wrong(0, "a spread stays within 1-28, which every month has"));
        }
        if high > allowed {
            let message = "the spread stays within 1-28, which every month has";
            fields.warnings.push(self.complaint(0, whole, message));
        }
        let high = high.min(allowed);
        let step = self.step(low, high, fields)?.unwrap_or(0);
        self.end()?;
        fields.spreads.push(Spread { field: self.field, low, high, step });
        Ok(false)
    }

    /// `L`, `L-3` or `LW`.
    fn last_day(&mut self, calendar: &mut Calendar) -> Result<bool, Diagnostic> {
        self.at += 1;
        match self.peek() {
            Some('W' | 'w') => {
                self.at += 1;
                calendar.last_weekday = true;
            }
            Some('-') => {
                self.at += 1;
                calendar.last |= 1 << self.number(0, 30, "a number of days from 0 to 30")?;
            }
            Some(_) | None => calendar.last |= 1,
        }
        self.end()?;
        Ok(true)
    }

    /// The number after a `/`, if there is one; 255 stands for any larger one.
    fn step(
        &mut self,
        low: u8,
        high: u8,
        fields: &mut Fields<'_>,
    ) -> Result<Option<u8>, Diagnostic> {
        if self.peek() != Some('/') {
            return Ok(None);
        }
        self.at += 1;
        let from = self.at;
        let step = self.number(0, u8::MAX, "a step")?;
        if step == 0 {
            return Err(self.wrong(from, "step 0 never moves on; write 1 or more"));
        }
        if step > (high - low).max(1) {
            let shown = shorten(self.text.get(from..self.at).unwrap_or_default());
            let message =
                format!("step {shown} is larger than the range {low}-{high}: one value is left");
            fields.warnings.push(self.complaint(from, self.at, &message));
        }
        Ok(Some(step))
    }

    /// A number or a name of this field. Sunday at the end of a range is 7.
    fn value(&mut self, is_end: bool) -> Result<u8, Diagnostic> {
        if !self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            let most = if self.field == Field::DayOfWeek { 7 } else { self.field.max() };
            return self.number(self.field.min(), most, "a number");
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let len = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (names, first): (&[&str], u8) = match self.field {
            Field::Month => (&MONTHS, 1),
            Field::DayOfWeek => (&WEEKDAYS, 0),
            Field::Second | Field::Minute | Field::Hour | Field::DayOfMonth => (&[], 0),
        };
        for (name, value) in names.iter().zip(first..) {
            let Some((word, tail)) = rest.split_at_checked(name.len()) else {
                break;
            };
            let is_last = self.field == Field::DayOfWeek && tail.starts_with(['L', 'l']);
            if word.eq_ignore_ascii_case(name) && (len == 3 || len == 4 && is_last) {
                self.at += name.len();
                return Ok(if is_end && *name == "SUN" { 7 } else { value });
            }
        }
        Err(self.unknown_name(rest.get(..len).unwrap_or_default(), names))
    }

    /// Digits; `what` is said when there are none.
    fn number(&mut self, least: u8, most: u8, what: &str) -> Result<u8, Diagnostic> {
        let from = self.at;
        let rest = self.text.get(from..).unwrap_or_default();
        let len = rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = rest.get(..len).unwrap_or_default();
        if digits.is_empty() {
            let found = match self.peek() {
                Some(c) => format!("'{}'", escape_control(&c.to_string())),
                None => "nothing".into(),
            };
            return Err(self.wrong(from, &format!("{what} is expected, found {found}")));
        }
        self.at += len;
        let number = digits
            .bytes()
            .fold(0_u8, |sum, digit| sum.saturating_mul(10).saturating_add(digit - b'0'));
        if number < least || number > most {
            let shown = shorten(digits);
            let message = format!("{shown} is out of range {least}-{most}");
            return Err(self.wrong(from, &message));
        }
        Ok(number)
    }

    fn check_order(&self, first: u8, last: u8, instead: &str) -> Result<(), Diagnostic> {
        if first <= last {
            return Ok(());
        }
        let shown = self.text.get(..self.at).unwrap_or_default();
        Err(self.wrong(0, &format!("{shown} ends before it begins; write {instead}")))
    }

    /// Nothing may follow.
    fn end(&self) -> Result<(), Diagnostic> {
        let Some(c) = self.peek() else {
            return Ok(());
        };
        let (before, _) = self.text.split_at_checked(self.at).unwrap_or_default();
        let shown = escape_control(&c.to_string());
        let message = format!("'{shown}' cannot follow {}", shorten(before));
        Err(self.complaint(self.at, self.at + c.len_utf8(), &message))
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..).and_then(|rest| rest.chars().next())
    }

    /// A complaint about the item from byte `from` to where reading stopped, or to its next
    /// character.
    fn wrong(&self, from: usize, message: &str) -> Diagnostic {
        let next = self.at + self.peek().map_or(0, char::len_utf8);
        self.complaint(from, if self.at > from { self.at } else { next }, message)
    }

    fn complaint(&self, from: usize, to: usize, message: &str) -> Diagnostic {
        let message = format!("{} field: {message}", self.field.name());
        Diagnostic::new(self.start + from, self.start + to, message)
    }

    fn unknown_name(&self, word: &str, names: &[&str]) -> Diagnostic {
        let name = self.field.name();
        let shown = shorten(word);
        let begins = |name: &&str| {
            let start = word.get(..name.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        let meant =
            names.iter().copied().find(begins).or_else(|| nearest(word, names.iter().copied()));
        let hint = match (meant, self.field) {
            (Some(meant), _) => format!("did you mean {meant}?"),
            (None, Field::DayOfWeek) if word.eq_ignore_ascii_case("L") => {
                "write the last Friday as FRIL, the last day of the week as SAT".into()
            }
            (None, Field::DayOfWeek) => "it takes 0-7 and SUN to SAT".into(),
            (None, Field::Month) => "it takes 1-12 and JAN to DEC".into(),
            (None, Field::DayOfMonth) => "it takes 1-31, and days such as L, L-3, LW, 15W".into(),
            (None, Field::Second | Field::Minute | Field::Hour) => {
                format!("it takes {}-{}", self.field.min(), self.field.max())
            }
        };
        let message = format!("unknown name \"{shown}\" in the {name} field; {hint}");
        let start = self.start + self.at;
        Diagnostic::new(start, start + word.len(), message)
    }
}

/// The two ranges that a range over the end of the field stands for.
fn split_range(field: Field, first: u8, last: u8) -> String {
    let range =
        |low: u8, high: u8| if low == high { low.to_string() } else { format!("{low}-{high}") };
    let (min, max) = (field.min(), field.max());
    format!("{},{}", range(first.min(max), max), range(min, last))
}

/// At most twenty characters, for messages.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(20) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
