//! Schedules against tables that a person can read: `testdata/cron/*.txt`, and real zones.
//!
//! A table is a list of blocks: a line that begins in the first column says what to ask, the
//! indented lines below it what must come out. Lines that begin with `# ` explain.

// A helper of a test fails as a test does.
#![allow(clippy::panic, clippy::unwrap_used)]

use bellwether::cron::{Place, Zone, Zones, civil, parse};
use bellwether::time::Second;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Header: `schedule | zone | from [| name=x] [| anchor=time]`. Below: the next due times in that
/// zone, the last line perhaps `never`.
#[test]
fn due_times_are_those_of_the_tables() {
    let zones = SystemZones::default();
    let mut count = 0;
    for table in ["fields", "days", "words", "spread", "clock_changes", "far"] {
        for block in blocks(table) {
            check_due_times(&block, &zones);
            count += 1;
        }
    }
    assert!(count > 150, "only {count} blocks were found");
}

#[track_caller]
fn check_due_times(block: &Block, zones: &SystemZones) {
    let place = &block.place;
    let mut parts = block.header.split(" | ").map(str::trim);
    let mut part = |what: &str| parts.next().unwrap_or_else(|| panic!("{place}: no {what}"));
    let (schedule, zone, from) = (part("schedule"), part("zone"), part("from"));
    let mut name = "job";
    let mut at = time(from, place);
    let mut anchor = at;
    for option in parts {
        match option.split_once('=') {
            Some(("name", given)) => name = given,
            Some(("anchor", given)) => anchor = time(given, place),
            _ => panic!("{place}: unknown option {option}"),
        }
    }
    let expression = parse(schedule).unwrap_or_else(|wrong| panic!("{place}: {schedule}: {wrong}"));
    let zone_name = expression.zone.as_deref().unwrap_or(zone);
    let zone = zones.zone(zone_name).unwrap_or_else(|| panic!("{place}: no zone {zone_name}"));
    for (line, expected) in &block.expected {
        let place = format!("{line}: {schedule}");
        let found = expression.schedule.next_after(at, &Place { zone: &zone, name, anchor });
        let shown = found.map_or("never".to_owned(), |due| civil::format_in(due, &zone));
        assert_eq!(&shown, expected, "{place}");
        at = found.unwrap_or(at);
    }
}

/// Header: a text. Below: the whole message.
#[test]
fn rejected_texts_get_exactly_this_message() {
    for block in blocks("rejected") {
        let text = unescape(&block.header);
        let message = match parse(&text) {
            Ok(accepted) => format!("accepted as {accepted}"),
            Err(wrong) => wrong.to_string(),
        };
        assert_eq!(message, block.only(), "{}: {}", block.place, block.header);
    }
}

/// Header: a text. Below: its canonical text, then any warnings.
#[test]
fn accepted_texts_have_this_canonical_text() {
    for block in blocks("canonical") {
        let text = unescape(&block.header);
        let expression = parse(&text)
            .unwrap_or_else(|wrong| panic!("{}: {}: {wrong}", block.place, block.header));
        let mut lines = vec![expression.to_string()];
        lines.extend(expression.warnings.iter().map(|warning| format!("warning: {warning}")));
        let expected: Vec<&str> = block.expected.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(lines, expected, "{}: {}", block.place, block.header);
        let again = parse(&lines[0]).unwrap();
        assert_eq!(again.schedule, expression.schedule, "{}: {}", block.place, lines[0]);
        assert_eq!(again.to_string(), lines[0], "{}", block.place);
    }
}

/// The rule on clock changes, word for word, around every change of the clock of odd zones in
/// twenty-five years, against a walk by minutes.
#[test]
fn real_clock_changes_follow_the_rule() {
    // Africa/Casablanca and Asia/Gaza change four times a year, Lord Howe by half an hour, Troll by
    // two hours, Dublin backwards in winter; Beirut, Havana and Santiago around midnight.
    let names = "Africa/Cairo Africa/Casablanca America/Havana America/New_York America/Nuuk \
                 America/Santiago America/Sao_Paulo America/St_Johns Antarctica/Casey \
                 Antarctica/Troll Asia/Beirut Asia/Gaza Asia/Pyongyang Asia/Tehran \
                 Australia/Lord_Howe Europe/Dublin Europe/Istanbul Europe/Paris Europe/Volgograd \
                 Pacific/Apia Pacific/Chatham Pacific/Easter Pacific/Norfolk Pacific/Tongatapu";
    let zones = SystemZones::default();
    let mut changes = 0;
    for name in names.split_whitespace() {
        let zone = zones.zone(name).unwrap();
        let start = time("2010-01-01T00:00:00Z", name);
        let end = time("2042-01-01T00:00:00Z", name);
        let mut before = offset(start.0, &zone);
        for at in (start.0..end.0).step_by(86_400) {
            let after = offset(at, &zone);
            if before != after {
                changes += 1;
                check_change(&zone, first_second(at - 86_400, at, &zone));
            }
            before = after;
        }
    }
    assert!(changes > 900, "only {changes} changes were found");
}

/// Checks schedules from some hours before to some hours after the change at `change`.
fn check_change(zone: &Zone, change: i64) {
    const DAY: i64 = 86_400;
    let (before, after) = (offset(change - 1, zone), offset(change, zone));
    let shown = |at: i64| at + if at < change { before } else { after };
    let width = (after - before).abs() + 4 * 3_600;
    let (start, end) = (change - width, change + width);
    let mut seen = BTreeSet::new();
    let mut last = shown(start - width) - 60;
    let mut minutes_shown = Vec::new();
    for at in (start - width..end).step_by(60) {
        let local = shown(at);
        minutes_shown.push((at, last + 60..local, local, !seen.insert(local)));
        last = local;
    }
    type Hours = fn(i64) -> bool;
    let schedules: [(&str, i64, bool, Hours); 7] = [
        ("*/15 * * * *", 15, true, |_| true),
        ("*/20 */3 * * *", 20, true, |hour| hour % 3 == 0),
        ("*/15 0-23 * * *", 15, false, |_| true),
        ("*/30 1-3 * * *", 30, false, |hour| (1..=3).contains(&hour)),
        ("0 0 * * *", 60, false, |hour| hour == 0),
        ("*/15 23,0,1 * * *", 15, false, |hour| [23, 0, 1].contains(&hour)),
        ("*/10 2 * * *", 10, false, |hour| hour == 2),
    ];
    for (text, minutes, wild, hours) in schedules {
        let matches = |local: i64| {
            local.rem_euclid(minutes * 60) == 0 && hours(local.rem_euclid(DAY) / 3_600)
        };
        let mut expected = BTreeSet::new();
        for (at, skipped, local, repeated) in &minutes_shown {
            let due = if wild {
                matches(*local)
            } else {
                skipped.clone().step_by(60).any(matches) || matches(*local) && !repeated
            };
            if due && *at >= start {
                expected.insert(*at);
            }
        }
        let schedule = parse(text).unwrap().schedule;
        let place = Place { zone, name: "job", anchor: Second(0) };
        let mut found = BTreeSet::new();
        let mut at = Second(start - 1);
        while let Some(due) = schedule.next_after(at, &place).filter(|due| due.0 < end) {
            found.insert(due.0);
            at = due;
        }
        assert_eq!(found, expected, "{text} in {zone:?} around {change}");
    }
}

/// Local time minus UTC, in seconds, as the written time shows it.
fn offset(at: i64, zone: &Zone) -> i64 {
    let written = civil::format_in(Second(at), zone);
    let (local, _) = written.split_at("2026-01-02T03:04:05".len());
    time(&format!("{local}Z"), zone.name()).0 - at
}

/// The first second of the offset that `to` has and `from` has not.
fn first_second(mut from: i64, mut to: i64, zone: &Zone) -> i64 {
    let old = offset(from, zone);
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        if offset(middle, zone) == old { from = middle } else { to = middle }
    }
    to
}

struct Block {
    /// File and line of the header.
    place: String,
    header: String,
    /// The lines below, each with its file and line.
    expected: Vec<(String, String)>,
}

impl Block {
    fn only(&self) -> &str {
        assert_eq!(self.expected.len(), 1, "{}: one line is expected", self.place);
        &self.expected[0].1
    }
}

fn blocks(table: &str) -> Vec<Block> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/testdata/cron").join(format!("{table}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let mut blocks: Vec<Block> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{table}.txt:{number}");
        if line.is_empty() || line == "#" || line.starts_with("# ") {
            continue;
        }
        match line.strip_prefix("    ") {
            None => {
                blocks.push(Block { place, header: line.to_owned(), expected: Vec::new() });
            }
            Some(expected) => {
                let block = blocks.last_mut().unwrap_or_else(|| panic!("{place}: no header"));
                block.expected.push((place, expected.to_owned()));
            }
        }
    }
    for block in &blocks {
        assert!(!block.expected.is_empty(), "{}: nothing is expected", block.place);
    }
    blocks
}

fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n").replace("\\s", " ").replace("\\e", "\x1b")
}

fn time(text: &str, place: &str) -> Second {
    civil::parse_rfc3339(text).unwrap_or_else(|| panic!("{place}: no time: {text}")).second()
}

/// The zones of the system's tzdata.
#[derive(Default)]
struct SystemZones(RefCell<HashMap<String, Zone>>);

impl Zones for SystemZones {
    fn zone(&self, name: &str) -> Option<Zone> {
        if name == "UTC" {
            return Some(Zone::utc());
        }
        if let Some(zone) = self.0.borrow().get(name) {
            return Some(zone.clone());
        }
        let path = Path::new("/usr/share/zoneinfo").join(name);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| {
            panic!("{}: {e}; the tests need the zones of Debian's package tzdata", path.display())
        });
        let zone = Zone::from_tzif(name, &bytes).unwrap();
        self.0.borrow_mut().insert(name.to_owned(), zone.clone());
        Some(zone)
    }
}
