//! The six fields as sets of bits, brought to one form so that equal sets compare equal.

use crate::rng::stable_hash;
use std::sync::Arc;

/// Last day of a month that a spread may choose, so that every month has it.
pub(super) const SPREAD_LAST_DAY: u8 = 28;

/// A field of a schedule, in the order they are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Field {
    Second,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

impl Field {
    pub(super) const ALL: [Field; 6] = [
        Field::Second,
        Field::Minute,
        Field::Hour,
        Field::DayOfMonth,
        Field::Month,
        Field::DayOfWeek,
    ];

    /// The name used in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Field::Second => "second",
            Field::Minute => "minute",
            Field::Hour => "hour",
            Field::DayOfMonth => "day-of-month",
            Field::Month => "month",
            Field::DayOfWeek => "day-of-week",
        }
    }

    pub(super) fn min(self) -> u8 {
        match self {
            Field::Second | Field::Minute | Field::Hour | Field::DayOfWeek => 0,
            Field::DayOfMonth | Field::Month => 1,
        }
    }

    /// The largest value; Sunday's second number, 7, is not counted.
    pub(super) fn max(self) -> u8 {
        match self {
            Field::Second | Field::Minute => 59,
            Field::Hour => 23,
            Field::DayOfMonth => 31,
            Field::Month => 12,
            Field::DayOfWeek => 6,
        }
    }

    /// The largest value that `~` alone may choose.
    pub(super) fn spread_max(self) -> u8 {
        match self {
            Field::DayOfMonth => SPREAD_LAST_DAY,
            Field::Second | Field::Minute | Field::Hour | Field::Month | Field::DayOfWeek => {
                self.max()
            }
        }
    }

    /// The bits of all values.
    pub(super) fn full(self) -> u64 {
        self.bits(self.min(), self.max(), 1)
    }

    /// The bits of `low`, `low + step` … up to `high`; the day of week 7 is 0. A step of 0 is 1.
    pub(super) fn bits(self, low: u8, high: u8, step: u8) -> u64 {
        if step <= 1 && high <= self.max() {
            return (u64::MAX >> (63 - high)) & (u64::MAX << low.min(63));
        }
        (low..=high).step_by(usize::from(step.max(1))).fold(0, |bits, value| bits | self.bit(value))
    }

    /// The bit of one value; the day of week 7 is 0.
    pub(super) fn bit(self, value: u8) -> u64 {
        match self {
            Field::DayOfWeek => 1 << (value % 7),
            Field::Second | Field::Minute | Field::Hour | Field::DayOfMonth | Field::Month => {
                1 << value.min(63)
            }
        }
    }

    /// Which of the six it is, from 0. Also its number in [`Spread::resolve`]: never to change.
    pub(super) fn index(self) -> usize {
        match self {
            Field::Second => 0,
            Field::Minute => 1,
            Field::Hour => 2,
            Field::DayOfMonth => 3,
            Field::Month => 4,
            Field::DayOfWeek => 5,
        }
    }
}

/// One `~` item: a value, or a first value of a sequence, that depends on the job's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Spread {
    pub(super) field: Field,
    pub(super) low: u8,
    /// Not below `low`; up to 7 for the day of week.
    pub(super) high: u8,
    /// 0 for one value of `low..=high`. Else below the number of values: the first one is among
    /// the lowest `step`, the others follow in that distance.
    pub(super) step: u8,
}

impl Spread {
    /// The bits for the job `name`. Stable for ever: with `h` the
    /// [`stable_hash`] of the name's bytes and one byte more, the field's number (second 0, minute
    /// 1, hour 2, day of month 3, month 4, day of week 5), the (first) value is
    /// `low + h mod count`, where `count` is the step, or without a step `high - low + 1`.
    fn resolve(self, name: &str) -> u64 {
        let mut key = Vec::with_capacity(name.len() + 1);
        key.extend_from_slice(name.as_bytes());
        key.push(self.field.index() as u8);
        let count = if self.step == 0 { self.high - self.low + 1 } else { self.step };
        let offset = stable_hash(&key) % u64::from(count);
        let first = self.low + offset as u8;
        if self.step == 0 {
            self.field.bit(first)
        } else {
            self.field.bits(first, self.high, self.step)
        }
    }

    /// The bits of all values that any name may get.
    fn reach(self) -> u64 {
        self.field.bits(self.low, self.high, 1)
    }
}

/// Fields as sets. Made by the parser, brought to its one form by [`Calendar::normal`].
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Calendar {
    /// The plain values of each field, by [`Field::index`].
    plain: [u64; 6],
    /// `L`: bit n is set for the day n days before the last of the month.
    pub(super) last: u32,
    /// `15W`: bit d is set for the weekday nearest to day d.
    pub(super) nearest: u32,
    /// `LW`: the last weekday of the month.
    pub(super) last_weekday: bool,
    /// `5#3`: element n - 1 has the bits of the days of week whose nth in the month is meant.
    pub(super) nth: [u8; 5],
    /// `5L`: the bits of the days of week whose last in the month is meant.
    pub(super) last_day_of_week: u8,
    /// The hour field began with `*` or `?`: the schedule follows elapsed time.
    pub(super) wild_hours: bool,
    /// A day matches when either day field does; else both must. Only if neither is full.
    pub(super) either: bool,
    /// Sorted; `None` when there are none.
    spreads: Option<Arc<[Spread]>>,
}

impl Calendar {
    pub(super) fn plain(&self, field: Field) -> u64 {
        self.plain[field.index()]
    }

    pub(super) fn add(&mut self, field: Field, bits: u64) {
        self.plain[field.index()] |= bits;
    }

    pub(super) fn is_full(&self, field: Field) -> bool {
        self.plain(field) == field.full()
    }

    pub(super) fn spreads(&self) -> &[Spread] {
        self.spreads.as_deref().unwrap_or_default()
    }

    /// The one form of this calendar with the given spreads: drops what changes nothing.
    pub(super) fn normal(mut self, spreads: Vec<Spread>, either: bool) -> Calendar {
        let mut kept = Vec::new();
        for mut spread in spreads {
            if spread.high == 7 && spread.low == 0 {
                spread.high = 6;
            }
            if spread.step > spread.high - spread.low {
                spread.step = 0;
            }
            if spread.low == spread.high || spread.step == 1 {
                self.add(spread.field, spread.reach());
            } else {
                kept.push(spread);
            }
        }
        let days = [Field::DayOfMonth, Field::DayOfWeek];
        self.add_covered_weekdays();
        let any_full = days.iter().any(|&field| self.is_full(field));
        if either && any_full {
            days.iter().for_each(|&field| self.add(field, field.full()));
        }
        self.either = either && !any_full;
        self.drop_covered_days();
        kept.retain(|spread| spread.reach() & !self.plain(spread.field) != 0);
        kept.sort_unstable();
        kept.dedup();
        self.spreads = (!kept.is_empty()).then(|| kept.into());
        self
    }

    /// This calendar with its spreads decided for the job `name`.
    pub(super) fn resolve(&self, name: &str) -> Calendar {
        let mut resolved = Calendar { spreads: None, ..self.clone() };
        for spread in self.spreads() {
            resolved.add(spread.field, spread.resolve(name));
        }
        resolved
    }

    /// This calendar with each spread taken for all the values that some name may get.
    pub(super) fn widest(&self) -> Calendar {
        let mut widest = Calendar { spreads: None, ..self.clone() };
        for spread in self.spreads() {
            widest.add(spread.field, spread.reach());
        }
        widest
    }

    /// All five of a day of week are the plain day.
    fn add_covered_weekdays(&mut self) {
        let all = self.nth.iter().fold(0x7f, |all, nth| all & nth);
        self.add(Field::DayOfWeek, u64::from(all));
    }

    /// Drops each `L` and `#` that the plain days already contain.
    fn drop_covered_days(&mut self) {
        let dom = self.plain(Field::DayOfMonth);
        if self.is_full(Field::DayOfMonth) {
            self.nearest = 0;
            self.last_weekday = false;
        }
        for before in 0..31_u8 {
            let days = Field::DayOfMonth.bits(28_u8.saturating_sub(before).max(1), 31 - before, 1);
            if days & !dom == 0 {
                self.last &= !(1 << before);
            }
        }
        let other = !(self.plain(Field::DayOfWeek) as u8);
        self.last_day_of_week &= other;
        self.nth.iter_mut().for_each(|nth| *nth &= other);
    }
}
