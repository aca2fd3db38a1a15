//! Properties of the whole room, against a model that walks through time step by step.

use super::field::{SPECIAL_MAX_ITEMS, SPREAD_MAX_ITEMS};
use super::{
    Expression, FIELD_MAX_ITEMS, Place, SCHEDULE_MAX_BYTES, Schedule, TZIF_MAX_BYTES,
    ZONE_NAME_MAX_BYTES, Zone, Zones, check_zone_name, civil, parse,
};
use crate::rng::Rng;
use crate::time::Second;
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// Runs `check` with many seeds; a failure names the one to replay.
fn with_seeds(count: u64, check: impl Fn(&mut Rng) + std::panic::RefUnwindSafe) {
    for seed in 0..count {
        let run = std::panic::catch_unwind(|| check(&mut Rng::new(seed)));
        assert!(run.is_ok(), "failed with seed {seed}");
    }
}

fn next(schedule: &Schedule, after: i64, zone: &Zone) -> Option<i64> {
    let place = Place { zone, name: "job", anchor: Second(0) };
    schedule.next_after(Second(after), &place).map(|next| next.0)
}

#[test]
fn due_days_are_those_of_a_walk_through_ten_years() {
    let zone = Zone::utc();
    with_seeds(80, |rng| {
        let model = Model::random(rng, true);
        let schedule = parse(&format!("0 0 {}", model.days_text())).unwrap().schedule;
        let start = i64::try_from(rng.below(200 * 365)).unwrap() * DAY;
        let mut due = next(&schedule, start - 1, &zone);
        for day in 0..3_653 {
            let at = start + day * DAY;
            if model.has_day(civil::date_time(at).date()) {
                assert_eq!(due, Some(at), "{}", model.days_text());
                due = next(&schedule, at, &zone);
            }
        }
        assert!(due.is_none_or(|due| due >= start + 3_653 * DAY), "{}", model.days_text());
    });
}

#[test]
fn due_seconds_are_those_of_a_walk_through_a_day() {
    let zone = Zone::utc();
    with_seeds(20, |rng| {
        let [second, minute, hour] =
            [(0, 59), (0, 59), (0, 23)].map(|(a, b)| Set::random(rng, a, b));
        let text = format!("{} {} {} * * *", second.text, minute.text, hour.text);
        let schedule = parse(&text).unwrap().schedule;
        let start = 1_700_000_000 + i64::try_from(rng.below(1_000_000)).unwrap();
        let mut due = next(&schedule, start - 1, &zone);
        for at in start..start + DAY {
            let of_day = at % DAY;
            let parts = [of_day % 60, of_day / 60 % 60, of_day / 3_600];
            if [&second, &minute, &hour].iter().zip(parts).all(|(set, part)| set.has(part)) {
                assert_eq!(due, Some(at), "{text}");
                due = next(&schedule, at, &zone);
            }
        }
    });
}

/// The rule, word for word: wild hours are due whenever the local time matches; else a local time
/// is due the first time it occurs, and a skipped one at the first instant after the gap.
#[test]
fn clock_changes_of_any_size_follow_the_rule() {
    let cases = [
        // An hour forward, and back.
        (0, 3_600),
        (3_600, 0),
        // Lord Howe, Troll, a move across the date line each way, a quarter, most of three days.
        (37_800, 39_600),
        (39_600, 37_800),
        (0, 7_200),
        (7_200, 0),
        (-36_000, 50_400),
        (43_200, -43_200),
        (0, 900),
        (-86_400, 86_400),
        (86_400, -86_400),
    ];
    with_seeds(6, |rng| {
        for (before, after) in cases {
            // Half the changes come at midnight, half at any minute.
            let mut change = 1_700_000_000 / DAY * DAY - before;
            if rng.chance(1, 2) {
                change += i64::try_from(rng.below(1_440)).unwrap() * MINUTE;
            }
            let zone = made_zone(&[(change, after)], before, "");
            let offset = |at: i64| if at < change { before } else { after };
            check_around(rng, &zone, change, offset);
        }
    });
}

/// Two days come again just after the last match of the month: the search must not pass them by.
#[test]
fn a_wild_schedule_is_due_again_in_days_that_come_again() {
    let midnight = 1_700_006_400;
    let zone = made_zone(&[(midnight, -DAY)], DAY, "");
    let schedule = parse("0 * 14,15 11 *").unwrap().schedule;
    assert_eq!(next(&schedule, midnight - MINUTE, &zone), Some(midnight));
}

/// Two changes close together, as in a short-lived rule.
#[test]
fn clock_changes_that_follow_each_other_keep_the_rule() {
    with_seeds(30, |rng| {
        let first = 1_700_000_000 / DAY * DAY;
        let second = first + (120 + i64::try_from(rng.below(2_000)).unwrap()) * MINUTE;
        let [a, b, c] = [0; 3].map(|_| i64::try_from(rng.below(5)).unwrap() * 1_800 - 3_600);
        let zone = made_zone(&[(first, b), (second, c)], a, "");
        let offset = |at: i64| match at {
            at if at < first => a,
            at if at < second => b,
            _ => c,
        };
        check_around(rng, &zone, first, offset);
    });
}

#[track_caller]
fn check_around(rng: &mut Rng, zone: &Zone, change: i64, offset: impl Fn(i64) -> i64) {
    let model = Model::random(rng, false);
    let schedule = parse(&model.text()).unwrap().schedule;
    let (start, end) = (change - 4 * DAY, change + 5 * DAY);
    let shown = |at: i64| at + offset(at);
    let mut expected = BTreeSet::new();
    if model.hour.is_wild() {
        expected.extend((start..end).step_by(60).filter(|&at| model.has(shown(at))));
    } else {
        let mut first: BTreeMap<i64, i64> = BTreeMap::new();
        let mut before = shown(start - 4 * DAY);
        for at in (start - 4 * DAY..end).step_by(60) {
            first.entry(shown(at)).or_insert(at);
            // What is skipped here and was not shown earlier.
            for skipped in (before + MINUTE..shown(at)).step_by(60) {
                first.entry(skipped).or_insert(at);
            }
            before = shown(at);
        }
        expected.extend(first.iter().filter(|&(&l, _)| model.has(l)).map(|(_, &at)| at));
        expected.retain(|at| (start..end).contains(at));
    }
    let mut found = BTreeSet::new();
    let mut at = start - 1;
    while let Some(due) = next(&schedule, at, zone).filter(|&due| due < end) {
        found.insert(due);
        at = due;
    }
    assert_eq!(found, expected, "{} in {zone:?}, change {change}", model.text());
    // Asked from any moment, not only from a due one.
    for _ in 0..8 {
        let at = start + i64::try_from(rng.below((end - start).unsigned_abs())).unwrap();
        let due = next(&schedule, at, zone).filter(|&due| due < end);
        let wanted = expected.range(at + 1..).next().copied();
        assert_eq!(due, wanted, "{} from {at}, change {change}", model.text());
    }
}

#[test]
fn from_any_moment_the_answer_is_later_and_steady() {
    let zone = made_zone(&[], 3_600, "CET-1CEST,M3.5.0,M10.5.0/3");
    with_seeds(400, |rng| {
        let model = Model::random(rng, true);
        let schedule = parse(&model.text()).unwrap().schedule;
        let mut after = i64::try_from(rng.below(4_000_000_000)).unwrap();
        let Some(due) = next(&schedule, after, &zone) else {
            return;
        };
        assert!(due > after, "{}: {due} after {after}", model.text());
        // Every moment up to it has the same answer; from it on there is a later one.
        for _ in 0..4 {
            after += i64::try_from(rng.below((due - after).unsigned_abs())).unwrap();
            assert_eq!(next(&schedule, after, &zone), Some(due), "{}", model.text());
        }
        assert!(next(&schedule, due, &zone).is_none_or(|next| next > due), "{}", model.text());
    });
}

#[test]
fn the_ends_of_time_are_answered() {
    let zone = made_zone(&[], 3_600, "CET-1CEST,M3.5.0,M10.5.0/3");
    for zone in [zone, Zone::utc()] {
        for text in ["* * * * * *", "0 5 * * *", "@every 1s", "@at 0001-01-01T00:00:00Z"] {
            let schedule = parse(text).unwrap().schedule;
            let first = next(&schedule, i64::MIN, &zone);
            assert!(first.is_some_and(|at| at >= civil::FIRST.0), "{text}: {first:?}");
            assert_eq!(next(&schedule, i64::MAX, &zone), None, "{text}");
            assert_eq!(next(&schedule, civil::LAST.0, &zone), None, "{text}");
        }
    }
    let place = Place { zone: &Zone::utc(), name: "", anchor: Second(i64::MAX) };
    let every = parse("@every 200000h").unwrap().schedule;
    assert_eq!(every.next_after(Second(0), &place), None);
    let place = Place { anchor: Second(i64::MIN), ..place };
    assert!(every.next_after(Second(0), &place).is_some());
}

#[test]
fn equal_schedules_print_alike_and_are_read_back() {
    with_seeds(2_000, |rng| {
        let (a, b) = (Model::random(rng, true), Model::random(rng, true));
        let [a, b] = [a, b].map(|model| parse(&model.text()).unwrap().schedule);
        let again = parse(&a.canonical()).unwrap();
        assert_eq!(again.schedule, a, "{a}");
        assert_eq!(again.schedule.canonical(), a.canonical());
        assert_eq!(a == b, a.canonical() == b.canonical(), "{a} and {b}");
    });
}

#[test]
fn no_text_whatever_makes_the_parser_panic() {
    let zone = made_zone(&[(1_700_000_000, 7_200)], 3_600, "");
    let letters: Vec<char> =
        "0123456789*?,-/~#LWHlwh@ \t+.:=TZsunmonJANevrydailyµé\0\n".chars().collect();
    with_seeds(20_000, |rng| {
        let len = rng.below(40);
        let mut text = String::new();
        if rng.chance(1, 2) {
            text.push_str(&Model::random(rng, true).text());
        }
        for _ in 0..len {
            let pick = usize::try_from(rng.below(letters.len() as u64)).unwrap();
            let at = usize::try_from(rng.below(text.chars().count() as u64 + 1)).unwrap();
            let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
            text.insert(at, letters[pick]);
        }
        match parse(&text) {
            Ok(Expression { schedule, .. }) => {
                assert_eq!(parse(&schedule.canonical()).unwrap().schedule, schedule, "{text:?}");
                next(&schedule, 1_700_000_000, &zone);
            }
            Err(wrong) => {
                assert!(wrong.span.start <= wrong.span.end, "{text:?}: {wrong:?}");
                assert!(wrong.span.end <= text.len(), "{text:?}: {wrong:?}");
                assert!(!wrong.to_string().chars().any(char::is_control), "{text:?}");
            }
        }
    });
}

#[test]
fn no_zone_file_whatever_makes_the_room_panic() {
    let transitions: Vec<(i64, i64)> = (0..20).map(|n| (n * 9_000_000, n % 3 * 3_600)).collect();
    let good = tzif(&transitions, 3_600, "CET-1CEST,M3.5.0,M10.5.0/3");
    let schedules = ["*/7 * * * *", "30 2 * * *", "0 0 29 2 *"].map(|text| parse(text).unwrap());
    with_seeds(3_000, |rng| {
        let mut bytes = good.clone();
        for _ in 0..=rng.below(4) {
            let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            bytes[at] = rng.next_u64().to_le_bytes()[0];
        }
        if let Ok(zone) = Zone::from_tzif("Test/Broken", &bytes) {
            for Expression { schedule, .. } in &schedules {
                for after in [-1, 90_000_000, 179_999_999, 2_000_000_000] {
                    assert!(next(schedule, after, &zone).is_none_or(|due| due > after));
                }
            }
            civil::format_in(Second(0), &zone);
        }
    });
}

#[test]
fn limits_are_kept() {
    let long = "0 ".repeat(SCHEDULE_MAX_BYTES / 2);
    let items = |count: usize, item: &str| vec![item; count].join(",");
    for (text, complaint) in [
        (long.clone(), "found 512 fields; "),
        (long + "0", "the schedule is 1025 bytes long, at most 1024 are allowed"),
        (format!("{} * * * *", items(FIELD_MAX_ITEMS, "0")), ""),
        (
            format!("{} * * * *", items(FIELD_MAX_ITEMS + 1, "0")),
            "minute field: 65 items, at most 64 are allowed",
        ),
        (format!("{} * * * *", items(SPREAD_MAX_ITEMS, "~")), ""),
        (
            format!("{} * * * *", items(SPREAD_MAX_ITEMS + 1, "~")),
            "minute field: 7 items with ~ or H, at most 6 are allowed",
        ),
        (format!("0 0 {} * *", items(SPECIAL_MAX_ITEMS, "L")), ""),
        (
            format!("0 0 {} * *", items(SPECIAL_MAX_ITEMS + 1, "15W")),
            "day-of-month field: 25 items with L, W or #, at most 24 are allowed",
        ),
        (format!("TZ={} @daily", "x".repeat(ZONE_NAME_MAX_BYTES)), ""),
        (
            format!("TZ={} @daily", "x".repeat(ZONE_NAME_MAX_BYTES + 1)),
            "time zone: is 65 bytes long, at most 64 are allowed",
        ),
    ] {
        match (parse(&text), complaint) {
            (Ok(_), "") => {}
            (Err(wrong), start) if !start.is_empty() && wrong.message.starts_with(start) => {}
            (result, _) => panic!("{text}: {result:?}, wanted {complaint:?}"),
        }
    }
    let too_large = vec![0; TZIF_MAX_BYTES + 1];
    let error = Zone::from_tzif("Test/Large", &too_large).unwrap_err();
    assert_eq!(error, "is 262145 bytes long, at most 262144 are read");
    assert!(size_of::<Schedule>() <= 150);
}

/// The widest thing that can be said stays readable when it is printed.
#[test]
fn the_longest_canonical_text_is_within_the_limit() {
    // Two in, one out makes the most items; the spreads reach values beside them.
    let set = |from: u32, to: u32| {
        let values: Vec<String> =
            (from..=to).filter(|n| n % 3 != 0).map(|n| n.to_string()).collect();
        values.join(",")
    };
    let spreads = |low: u32, high: u32| -> String {
        (2..2 + SPREAD_MAX_ITEMS).map(|step| format!(",{low}~{high}/{step}")).collect()
    };
    let last: String = (0..SPECIAL_MAX_ITEMS).map(|n| format!(",{}W", 31 - n)).collect();
    let nth: String = (0..SPECIAL_MAX_ITEMS).map(|n| format!(",{}#{}", n % 7, n / 7 + 1)).collect();
    let fields = [
        set(0, 59) + &spreads(10, 59),
        set(0, 59) + &spreads(10, 59),
        set(0, 23) + &spreads(10, 23),
        set(1, 31) + &spreads(10, 28) + &last,
        set(1, 12) + &spreads(10, 12),
        set(0, 6) + &spreads(0, 5) + &nth,
    ];
    for field in &fields {
        assert!(field.split(',').count() <= FIELD_MAX_ITEMS, "{field}");
    }
    let zone = "x".repeat(ZONE_NAME_MAX_BYTES);
    let length = "CRON_TZ= ".len() + zone.len() + fields.join(" ").len();
    assert!(length <= SCHEDULE_MAX_BYTES, "{length} bytes");
}

#[test]
fn a_spread_is_stable_and_even() {
    let zone = Zone::utc();
    let slots = |text: &str, names: u32| {
        let schedule = parse(text).unwrap().schedule;
        let mut counts: BTreeMap<i64, u32> = BTreeMap::new();
        for number in 0..names {
            let name = format!("job-{number}");
            let place = Place { zone: &zone, name: &name, anchor: Second(0) };
            let due = schedule.next_after(Second(-1), &place).unwrap();
            *counts.entry(due.0).or_default() += 1;
        }
        counts
    };
    for (text, slot_count) in [
        ("~ 0 * * *", 60),
        ("0 ~ * * *", 24),
        ("0 0 ~ * *", 28),
        ("0 0 1 ~ *", 12),
        ("0 0 * * ~", 7),
        ("~ * * * * *", 60),
        ("10~19 0 * * *", 10),
        ("H/15 0 * * *", 15),
    ] {
        let counts = slots(text, 6_000);
        assert_eq!(counts.len(), slot_count, "{text}");
        let share = 6_000 / u32::try_from(slot_count).unwrap();
        let even = |count: &&u32| **count > share / 2 && **count < share * 2;
        assert_eq!(counts.values().filter(even).count(), slot_count, "{text}: {counts:?}");
    }
}

#[test]
fn names_of_zones_are_checked_for_their_form() {
    let long = "x".repeat(ZONE_NAME_MAX_BYTES + 1);
    for (name, complaint) in [
        ("UTC", ""),
        ("Europe/Paris", ""),
        ("America/Argentina/ComodRivadavia", ""),
        ("Etc/GMT+12", ""),
        ("America/Port-au-Prince", ""),
        ("Africa/Dar_es_Salaam", ""),
        ("", "must not be empty"),
        (&long, "is 65 bytes long"),
        ("../passwd", "has '.' at character 1"),
        ("Europe/é", "has 'é' at character 8"),
        ("Europe\n", "has '\\n' at character 7"),
        ("/etc/passwd", "has an empty part"),
        ("Europe//Paris", "has an empty part"),
        ("Europe/", "has an empty part"),
    ] {
        match check_zone_name(name) {
            Ok(()) => assert_eq!(complaint, "", "{name}"),
            Err(said) => {
                assert!(!complaint.is_empty() && said.starts_with(complaint), "{name}: {said}");
            }
        }
    }
    let zones = BTreeMap::from([("UTC".to_owned(), Zone::utc())]);
    assert_eq!(zones.zone("UTC").unwrap().name(), "UTC");
    assert!(zones.zone("Europe/Atlantis").is_none());
}

#[test]
fn a_schedule_says_what_kind_it_is() {
    for (text, kinds) in [
        ("@manually", [true, false, false, false]),
        ("@every 5m", [false, true, false, false]),
        ("@at 2026-01-02T03:04:05Z", [false, false, true, false]),
        ("~ 0 * * *", [false, false, false, true]),
        ("@daily", [false; 4]),
    ] {
        let s = parse(text).unwrap().schedule;
        assert_eq!([s.is_manual(), s.is_every(), s.is_once(), s.is_spread()], kinds, "{text}");
    }
}

/// What five random fields mean, as plain sets and rules.
struct Model {
    minute: Set,
    hour: Set,
    dom: Set,
    month: Set,
    dow: Set,
    dom_rules: Vec<Rule>,
    dow_rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Last(i8),
    LastWeekday,
    Nearest(i8),
    LastOf(i8),
    Nth(i8, i8),
}

impl Model {
    fn random(rng: &mut Rng, special_days: bool) -> Model {
        let mut model = Model {
            minute: Set::random(rng, 0, 59),
            hour: Set::random(rng, 0, 23),
            dom: Set::random(rng, 1, 31),
            month: Set::random(rng, 1, 12),
            dow: Set::random(rng, 0, 6),
            dom_rules: Vec::new(),
            dow_rules: Vec::new(),
        };
        let mut below = |bound: u64| i8::try_from(rng.below(bound)).unwrap();
        if !special_days {
            if below(2) == 0 {
                (model.dom, model.dow) = (Set::star(1, 31), Set::star(0, 6));
            }
            model.month = Set::star(1, 12);
            return model;
        }
        for _ in 0..below(3) {
            model.dom_rules.push(match below(3) {
                0 => Rule::Last(below(31)),
                1 => Rule::LastWeekday,
                _ => Rule::Nearest(1 + below(31)),
            });
        }
        for _ in 0..below(3) {
            model.dow_rules.push(match below(2) {
                0 => Rule::LastOf(below(7)),
                _ => Rule::Nth(below(7), 1 + below(5)),
            });
        }
        model
    }

    fn text(&self) -> String {
        format!("{} {} {}", self.minute.text, self.hour.text, self.days_text())
    }

    fn days_text(&self) -> String {
        let with = |set: &Set, rules: &[Rule]| {
            let rules = rules.iter().map(|rule| match rule {
                Rule::Last(0) => ",L".to_owned(),
                Rule::Last(before) => format!(",L-{before}"),
                Rule::LastWeekday => ",LW".to_owned(),
                Rule::Nearest(day) => format!(",{day}W"),
                Rule::LastOf(day) => format!(",{day}L"),
                Rule::Nth(day, nth) => format!(",{day}#{nth}"),
            });
            set.text.clone() + &rules.collect::<String>()
        };
        let (dom, dow) = (with(&self.dom, &self.dom_rules), with(&self.dow, &self.dow_rules));
        format!("{dom} {} {dow}", self.month.text)
    }

    fn has(&self, local: i64) -> bool {
        let of_day = local.rem_euclid(DAY);
        self.minute.has(of_day / 60 % 60)
            && self.hour.has(of_day / 3_600)
            && of_day % 60 == 0
            && self.has_day(civil::date_time(local).date())
    }

    fn has_day(&self, date: Date) -> bool {
        let dow = i64::from(date.weekday().to_sunday_zero_offset());
        let is = |rules: &[Rule]| rules.iter().any(|rule| rule.has(date));
        let by_date = self.dom.has(i64::from(date.day())) || is(&self.dom_rules);
        let by_weekday = self.dow.has(dow) || is(&self.dow_rules);
        self.month.has(i64::from(date.month()))
            && if self.dom.is_wild() || self.dow.is_wild() {
                by_date && by_weekday
            } else {
                by_date || by_weekday
            }
    }
}

impl Rule {
    fn has(self, date: Date) -> bool {
        let dow = date.weekday().to_sunday_zero_offset();
        let length = date.days_in_month();
        let working_days: Vec<i8> = (1..=length)
            .filter(|&day| {
                let date = Date::new(date.year(), date.month(), day).unwrap();
                (1..=5).contains(&date.weekday().to_sunday_zero_offset())
            })
            .collect();
        match self {
            Rule::Last(before) => date.day() == length - before,
            Rule::LastWeekday => working_days.last() == Some(&date.day()),
            Rule::Nearest(day) => {
                let nearest = working_days.iter().min_by_key(|&working| working.abs_diff(day));
                day <= length && nearest == Some(&date.day())
            }
            Rule::LastOf(wanted) => dow == wanted && date.day() > length - 7,
            Rule::Nth(wanted, nth) => dow == wanted && (date.day() + 6) / 7 == nth,
        }
    }
}

/// The values of one field and a text that says so.
struct Set {
    text: String,
    values: Vec<bool>,
}

impl Set {
    fn star(min: i64, max: i64) -> Set {
        Set { text: "*".into(), values: (0..=max).map(|value| value >= min).collect() }
    }

    fn random(rng: &mut Rng, min: i64, max: i64) -> Set {
        let mut set = Set { text: String::new(), values: vec![false; 64] };
        for item in 0..=rng.below(3) {
            let mut within = |low: i64, high: i64| {
                low + i64::try_from(rng.below((high - low + 1).unsigned_abs())).unwrap()
            };
            let low = within(min, max);
            let high = within(low, max);
            let step = within(1, max - min + 3);
            let (text, low, high, step) = match within(0, 6) {
                0 => ("*".into(), min, max, 1),
                1 => ("?".into(), min, max, 1),
                2 => (format!("*/{step}"), min, max, step),
                3 => (format!("{low}/{step}"), low, max, step),
                4 => (format!("{low}-{high}/{step}"), low, high, step),
                5 => (format!("{low}-{high}"), low, high, 1),
                _ => (format!("{low:02}"), low, low, 1),
            };
            if item > 0 {
                set.text.push(',');
            }
            set.text.push_str(&text);
            for value in (low..=high).step_by(usize::try_from(step).unwrap()) {
                set.values[usize::try_from(value).unwrap()] = true;
            }
        }
        set
    }

    fn is_wild(&self) -> bool {
        self.text.starts_with(['*', '?'])
    }

    fn has(&self, value: i64) -> bool {
        self.values[usize::try_from(value).unwrap()]
    }
}

fn made_zone(transitions: &[(i64, i64)], first: i64, rule: &str) -> Zone {
    Zone::from_tzif("Test/Made", &tzif(transitions, first, rule)).unwrap()
}

/// A TZif file (RFC 9636, version 2) of transitions to offsets, the offset before them, and the
/// rule after them, which may be empty.
fn tzif(transitions: &[(i64, i64)], first: i64, rule: &str) -> Vec<u8> {
    let header = |times: usize, types: usize| {
        let mut bytes = b"TZif2".to_vec();
        bytes.extend([0; 15]);
        for count in [0, 0, 0, times, types, 4] {
            bytes.extend(u32::try_from(count).unwrap().to_be_bytes());
        }
        bytes
    };
    let local_type = |offset: i64| {
        let mut bytes = i32::try_from(offset).unwrap().to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes
    };
    let mut bytes = header(0, 1);
    bytes.extend(local_type(0));
    bytes.extend(b"XXX\0");
    bytes.extend(header(transitions.len(), transitions.len() + 1));
    bytes.extend(transitions.iter().flat_map(|(at, _)| at.to_be_bytes()));
    bytes.extend((1..).take(transitions.len()));
    bytes.extend(local_type(first));
    bytes.extend(transitions.iter().flat_map(|(_, offset)| local_type(*offset)));
    bytes.extend(b"XXX\0\n");
    bytes.extend(rule.as_bytes());
    bytes.push(b'\n');
    bytes
}
