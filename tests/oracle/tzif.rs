//! A reader of TZif files (RFC 9636), apart from the one that the product uses: it spells out all
//! shifts as a plain list, those of the rule at the file's end too, and searches that list.

use super::days::{DAY, days};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Shifts of the rule at a file's end are spelled out to the end of this year.
pub(crate) const LAST_YEAR: u32 = 2110;

const ROOT: &str = "/usr/share/zoneinfo";

/// A zone as a list.
#[derive(Clone, Debug)]
pub(crate) struct Shifts {
    /// Local time minus UTC before the first shift, in seconds.
    first: i64,
    /// When (UTC seconds), and the offset from there on; sorted; each changes the offset.
    list: Vec<(i64, i64)>,
}

impl Shifts {
    pub(crate) fn offset(&self, at: i64) -> i64 {
        match self.list.partition_point(|shift| shift.0 <= at) {
            0 => self.first,
            n => self.list[n - 1].1,
        }
    }

    /// The instants at which the offset changes.
    pub(crate) fn instants(&self) -> impl Iterator<Item = i64> + '_ {
        self.list.iter().map(|shift| shift.0)
    }

    /// # Panics
    /// On a file that is not as RFC 9636 wants it.
    pub(crate) fn read(bytes: &[u8]) -> Shifts {
        let first_len = Header::read(bytes).data_len(4);
        let bytes = &bytes[44 + first_len..];
        let header = Header::read(bytes);
        let data = &bytes[44..];
        let footer = &data[header.data_len(8)..];
        let (times, data) = data.split_at(header.times * 8);
        let (indexes, types) = data.split_at(header.times);
        let offset = |index: u8| {
            let at = usize::from(index) * 6;
            i64::from(i32::from_be_bytes(types[at..at + 4].try_into().expect("four bytes")))
        };
        let times = times.chunks(8).map(|b| i64::from_be_bytes(b.try_into().expect("eight bytes")));
        let mut all: Vec<(i64, i64)> = times.zip(indexes.iter().map(|&i| offset(i))).collect();
        let footer = std::str::from_utf8(footer).expect("the footer is text").trim_matches('\n');
        let last = all.last().map_or(i64::MIN, |shift| shift.0);
        all.extend(rule_shifts(footer).into_iter().filter(|shift| shift.0 > last));
        let mut shifts = Shifts { first: offset(0), list: Vec::new() };
        for (at, offset) in all {
            if shifts.offset(at) != offset {
                shifts.list.push((at, offset));
            }
        }
        shifts
    }
}

struct Header {
    utc_flags: usize,
    standard_flags: usize,
    leaps: usize,
    times: usize,
    types: usize,
    letters: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Header {
        assert!(bytes.starts_with(b"TZif") && bytes[4] >= b'2', "not TZif of version 2 or later");
        let count = |n: usize| {
            let at = 20 + 4 * n;
            u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
        };
        Header {
            utc_flags: count(0),
            standard_flags: count(1),
            leaps: count(2),
            times: count(3),
            types: count(4),
            letters: count(5),
        }
    }

    fn data_len(&self, time_len: usize) -> usize {
        self.times * (time_len + 1)
            + self.types * 6
            + self.letters
            + self.leaps * (time_len + 4)
            + self.standard_flags
            + self.utc_flags
    }
}

/// All shifts from 1970 on of a rule such as `CET-1CEST,M3.5.0,M10.5.0/3`; of one without summer
/// time, one in 1970.
fn rule_shifts(rule: &str) -> Vec<(i64, i64)> {
    if rule.is_empty() {
        return Vec::new();
    }
    let mut parts = rule.split(',');
    let (standard, rest) = offset_after_name(parts.next().expect("there is always one"));
    let Some(begins) = parts.next() else {
        return vec![(0, standard)];
    };
    let ends = parts.next().expect("a rule with a begin has an end");
    let summer = match offset_after_name_or_none(rest) {
        Some(offset) => offset,
        None => standard + 3600,
    };
    let mut shifts = Vec::new();
    for year in 1970..=LAST_YEAR {
        shifts.push((local_moment(begins, year) - standard, summer));
        shifts.push((local_moment(ends, year) - summer, standard));
    }
    shifts.sort_unstable();
    shifts
}

/// The offset that follows a name, east positive, and what comes after it.
fn offset_after_name(text: &str) -> (i64, &str) {
    let after = skip_name(text);
    let end = after.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | ':'));
    let (offset, rest) = after.split_at(end.unwrap_or(after.len()));
    (-clock(offset), rest)
}

fn offset_after_name_or_none(text: &str) -> Option<i64> {
    (!skip_name(text).is_empty()).then(|| offset_after_name(text).0)
}

fn skip_name(text: &str) -> &str {
    match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>').expect("a closed name").1,
        None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    }
}

/// Seconds of `[+-]h[:mm[:ss]]`.
fn clock(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.trim_start_matches('+')),
    };
    let mut unit = 3600;
    let mut sum = 0;
    for part in digits.split(':') {
        sum += part.parse::<i64>().expect("a number") * unit;
        unit /= 60;
    }
    sign * sum
}

/// Local seconds of `M3.5.0/2`, `J60/2` or `59/2` in `year`.
fn local_moment(text: &str, year: u32) -> i64 {
    let (date, time) = text.split_once('/').unwrap_or((text, "2"));
    let first = days().partition_point(|day| day.year < year);
    let mut days = days().iter().enumerate().skip(first).take_while(|(_, day)| day.year == year);
    let found = if let Some(rule) = date.strip_prefix('M') {
        let numbers: Vec<u32> = rule.split('.').map(|n| n.parse().expect("a number")).collect();
        let [month, week, weekday] = numbers[..] else { panic!("{text}") };
        let same: Vec<_> =
            days.filter(|(_, day)| day.month == month && day.weekday == weekday).collect();
        same.get(week as usize - 1).or(same.last()).copied()
    } else if let Some(number) = date.strip_prefix('J') {
        // The 29th of February is never counted.
        let number: usize = number.parse().expect("a number");
        days.filter(|(_, day)| (day.month, day.day) != (2, 29)).nth(number - 1)
    } else {
        days.nth(date.parse().expect("a number"))
    };
    let (index, _) = found.expect("a day of the year");
    i64::try_from(index).expect("a small number") * DAY + clock(time)
}

/// The files of all zones on this system, one name for each different content, without those that
/// count leap seconds.
pub(crate) fn system_files() -> Vec<(String, Vec<u8>)> {
    let mut by_content = BTreeMap::new();
    let mut folders = vec![PathBuf::from(ROOT)];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("{}: {e}; the tests need tzdata", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(ROOT).expect("below the root").display().to_string();
            if path.is_dir() {
                if !["right", "posix"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.starts_with(char::is_uppercase) {
                let bytes = std::fs::read(&path).expect("a readable file");
                if bytes.starts_with(b"TZif") {
                    by_content.entry(bytes).or_insert(name);
                }
            }
        }
    }
    let mut files: Vec<_> = by_content.into_iter().map(|(bytes, name)| (name, bytes)).collect();
    files.sort();
    files
}

/// The file of the zone `name`.
pub(crate) fn system_file(name: &str) -> Vec<u8> {
    let path = Path::new(ROOT).join(name);
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; the tests need tzdata", path.display()))
}

#[test]
fn shifts_are_those_that_zdump_prints() {
    use super::days::seconds;
    for (zone, at, before, after) in [
        ("Europe/Berlin", "2026-03-29 01:00:00", 3600, 7200),
        ("Europe/Berlin", "2026-10-25 01:00:00", 7200, 3600),
        ("Europe/Berlin", "2085-03-25 01:00:00", 3600, 7200),
        ("America/New_York", "2026-03-08 07:00:00", -18000, -14400),
        ("Australia/Lord_Howe", "2026-04-04 15:00:00", 39600, 37800),
        ("Pacific/Apia", "2011-12-30 10:00:00", -36000, 50400),
    ] {
        let shifts = Shifts::read(&system_file(zone));
        let at = seconds(at);
        assert_eq!((shifts.offset(at - 1), shifts.offset(at)), (before, after), "{zone}");
    }
    for (rule, year, at) in [
        ("J60", 2024, "2024-03-01 02:00:00"),
        ("J59/0", 2024, "2024-02-28 00:00:00"),
        ("59/-1:30", 2024, "2024-02-28 22:30:00"),
        ("M2.5.4/24", 2024, "2024-03-01 00:00:00"),
    ] {
        assert_eq!(local_moment(rule, year), seconds(at), "{rule}");
    }
}
