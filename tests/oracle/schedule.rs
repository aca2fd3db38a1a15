//! A schedule as a structure: what each item means is known before it is spelled, so nothing here
//! ever reads a schedule's text, except the first character of a field, which the rules name.

use super::days::Day;

/// What one item of a list asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// These values; on days of the week 7 is Sunday like 0.
    Values(Vec<u32>),
    /// So many days before the last of the month.
    BeforeLast(u32),
    /// The weekday nearest to this day of the month.
    NearestWeekday(u32),
    LastWeekday,
    /// The last of this day of the week in the month.
    LastOf(u32),
    /// This day of the week for the n-th time in the month.
    NthOf(u32, u32),
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) text: String,
    pub(crate) means: Means,
}

impl Item {
    pub(crate) fn new(text: impl Into<String>, means: Means) -> Item {
        Item { text: text.into(), means }
    }

    pub(crate) fn value(value: u32) -> Item {
        Item::new(value.to_string(), Means::Values(vec![value]))
    }
}

/// A list.
#[derive(Clone, Debug)]
pub(crate) struct Field(pub(crate) Vec<Item>);

impl Field {
    /// `*`, for a field of values `0..=max`.
    pub(crate) fn star(max: u32) -> Field {
        Field(vec![Item::new("*", Means::Values((0..=max).collect()))])
    }

    pub(crate) fn value(value: u32) -> Field {
        Field(vec![Item::value(value)])
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|item| item.text.as_str()).collect::<Vec<_>>().join(",")
    }

    fn starts_open(&self) -> bool {
        self.text().starts_with(['*', '?'])
    }

    fn contains(&self, value: u32) -> bool {
        self.0.iter().any(|item| match &item.means {
            Means::Values(values) => values.contains(&value),
            _ => panic!("{} in a field without days", item.text),
        })
    }

    fn contains_day_of_month(&self, day: &Day) -> bool {
        self.0.iter().any(|item| match item.means {
            Means::Values(ref values) => values.contains(&day.day),
            Means::BeforeLast(before) => day.day + before == day.month_len,
            Means::NearestWeekday(wanted) => is_nearest_weekday(day, wanted),
            Means::LastWeekday => is_last_weekday(day),
            Means::LastOf(_) | Means::NthOf(..) => panic!("{} in days of the month", item.text),
        })
    }

    fn contains_day_of_week(&self, day: &Day) -> bool {
        let today = |wanted: u32| wanted % 7 == day.weekday;
        self.0.iter().any(|item| match item.means {
            Means::Values(ref values) => values.iter().any(|&value| today(value)),
            Means::LastOf(wanted) => today(wanted) && day.day + 7 > day.month_len,
            Means::NthOf(wanted, n) => today(wanted) && (day.day - 1) / 7 + 1 == n,
            Means::BeforeLast(_) | Means::NearestWeekday(_) | Means::LastWeekday => {
                panic!("{} in days of the week", item.text)
            }
        })
    }
}

/// Monday to Friday.
fn is_working(weekday: u32) -> bool {
    (1..=5).contains(&weekday)
}

fn weekday_of(day: &Day, other: u32) -> u32 {
    (day.weekday + 35 + other - day.day) % 7
}

/// Is `day` the working day nearest to the `wanted` day of its month, without leaving the month?
fn is_nearest_weekday(day: &Day, wanted: u32) -> bool {
    if wanted > day.month_len {
        return false;
    }
    // Nearest first; of two that are as near only one can be a working day.
    for distance in 0..=2 {
        for candidate in [wanted.wrapping_sub(distance), wanted + distance] {
            let exists = (1..=day.month_len).contains(&candidate);
            if exists && is_working(weekday_of(day, candidate)) {
                return candidate == day.day;
            }
        }
    }
    false
}

fn is_last_weekday(day: &Day) -> bool {
    let later = day.day + 1..=day.month_len;
    is_working(day.weekday) && !later.into_iter().any(|d| is_working(weekday_of(day, d)))
}

/// Six fields.
#[derive(Clone, Debug)]
pub(crate) struct Cron {
    /// Without it the text has five fields, and the seconds are 0.
    pub(crate) second: Option<Field>,
    pub(crate) minute: Field,
    pub(crate) hour: Field,
    pub(crate) day: Field,
    pub(crate) month: Field,
    pub(crate) weekday: Field,
    /// Between the fields.
    pub(crate) separator: String,
}

impl Cron {
    pub(crate) fn text(&self) -> String {
        let rest = [&self.minute, &self.hour, &self.day, &self.month, &self.weekday];
        let fields: Vec<_> = self.second.iter().chain(rest).map(Field::text).collect();
        fields.join(&self.separator)
    }

    /// Whether the job follows elapsed time.
    pub(crate) fn is_wild(&self) -> bool {
        self.hour.starts_open()
    }

    pub(crate) fn matches_day(&self, day: &Day) -> bool {
        let day_fits = self.day.contains_day_of_month(day);
        let weekday_fits = self.weekday.contains_day_of_week(day);
        let either = !self.day.starts_open() && !self.weekday.starts_open();
        let fits = if either { day_fits || weekday_fits } else { day_fits && weekday_fits };
        fits && self.month.contains(day.month)
    }

    pub(crate) fn matches_hour(&self, hour: u32) -> bool {
        self.hour.contains(hour)
    }

    pub(crate) fn matches_minute(&self, minute: u32) -> bool {
        self.minute.contains(minute)
    }

    pub(crate) fn matches_second(&self, second: u32) -> bool {
        self.second.as_ref().map_or(second == 0, |field| field.contains(second))
    }

    /// Schedules that ask for a little less or are a little simpler, to find the smallest that
    /// still shows a fault.
    pub(crate) fn simpler(&self) -> Vec<Cron> {
        let mut found = Vec::new();
        let mut push = |change: &dyn Fn(&mut Cron)| {
            let mut cron = self.clone();
            change(&mut cron);
            if cron.text().len() < self.text().len() {
                found.push(cron);
            }
        };
        push(&|cron| cron.separator = " ".into());
        push(&|cron| cron.second = None);
        for which in 0..6 {
            let Some(field) = self.field(which) else { continue };
            for index in 0..field.0.len() {
                push(&|cron| {
                    if let Some(field) = cron.field_mut(which).filter(|f| f.0.len() > 1) {
                        field.0.remove(index);
                    }
                });
            }
            for simple in [Field::star(59), Field::value(u32::from(which == 3 || which == 4))] {
                push(&|cron| {
                    if let Some(field) = cron.field_mut(which) {
                        *field = simple.clone();
                    }
                });
            }
        }
        found
    }

    fn field(&self, which: usize) -> Option<&Field> {
        match which {
            0 => self.second.as_ref(),
            1 => Some(&self.minute),
            2 => Some(&self.hour),
            3 => Some(&self.day),
            4 => Some(&self.month),
            _ => Some(&self.weekday),
        }
    }

    fn field_mut(&mut self, which: usize) -> Option<&mut Field> {
        match which {
            0 => self.second.as_mut(),
            1 => Some(&mut self.minute),
            2 => Some(&mut self.hour),
            3 => Some(&mut self.day),
            4 => Some(&mut self.month),
            _ => Some(&mut self.weekday),
        }
    }
}
