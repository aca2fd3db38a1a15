//! Schedules against tables that a person can read: `testdata/cron/*.txt`, and real zones.
//!
//! A table is a list of blocks: a line that begins in the first column says what to ask, the
//! indented lines below it what must come out. Lines that begin with `# ` explain.

use bellwether::cron::{Place, Zone, Zones, civil, parse};
use bellwether::time::Second;
use std::cell::RefCell;
use std::collections::HashMap;
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
