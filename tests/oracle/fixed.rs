//! Rows that were worked out by hand from the rules and the zones' histories, for both sides; and
//! checks over decades, day by day.

use crate::days::{DAY, days, seconds, text};
use crate::generate;
use crate::schedule::{Cron, Field, Item, Means};
use crate::{Pair, is_all, next_after, seed, walk};
use bellwether::cron::{Zone, parse};
use bellwether::rng::Rng;

/// Zone; from when on (UTC); minute and hour; all fires of the two days from there (UTC).
///
/// The rows' days and months are `*`. The minutes and hours are lists of numbers, or `*`.
const ROWS: &[(&str, &str, &str, &str, &[&str])] = &[
    // 02:00 to 03:00 is skipped on the 29th, 01:00 UTC.
    ("Europe/Berlin", "2026-03-28 12:00", "30", "2", &["29 01:00", "30 00:30"]),
    (
        "Europe/Berlin",
        "2026-03-28 12:00",
        "0,15,30,45",
        "2",
        &["29 01:00", "30 00:00", "30 00:15", "30 00:30", "30 00:45"],
    ),
    // A skipped time and a regular one meet.
    ("Europe/Berlin", "2026-03-28 12:00", "0", "2,3", &["29 01:00", "30 00:00", "30 01:00"]),
    // 02:00 to 03:00 comes twice on the 25th, from 00:00 and from 01:00 UTC.
    (
        "Europe/Berlin",
        "2026-10-24 12:00",
        "0,30",
        "2",
        &["25 00:00", "25 00:30", "26 01:00", "26 01:30"],
    ),
    (
        "Europe/Berlin",
        "2026-10-24 23:45",
        "30",
        "1,2,3",
        &["25 00:30", "25 02:30", "26 00:30", "26 01:30", "26 02:30"],
    ),
    // 02:00 to 03:00 is skipped at 07:00 UTC; 01:00 to 02:00 comes again from 06:00 UTC.
    ("America/New_York", "2026-03-08 00:00", "30", "2", &["08 07:00", "09 06:30"]),
    ("America/New_York", "2026-11-01 00:00", "30", "1", &["01 05:30", "02 06:30"]),
    (
        "America/New_York",
        "2026-11-01 00:00",
        "0",
        "1,2",
        &["01 05:00", "01 07:00", "02 06:00", "02 07:00"],
    ),
    // Winter time is the exception by the law of Ireland, but the clocks do as London's.
    ("Europe/Dublin", "2026-03-28 12:00", "30", "1", &["29 01:00", "30 00:30"]),
    ("Europe/Dublin", "2026-10-24 12:00", "30", "1", &["25 00:30", "26 01:30"]),
    // Half an hour: 02:00 to 02:30 is skipped, 15:30 UTC; 01:30 to 02:00 comes again.
    (
        "Australia/Lord_Howe",
        "2026-10-03 00:00",
        "15,45",
        "2",
        &["03 15:30", "03 15:45", "04 15:15", "04 15:45"],
    ),
    (
        "Australia/Lord_Howe",
        "2026-04-04 00:00",
        "15,45",
        "1",
        &["04 14:15", "04 14:45", "05 14:45", "05 15:15"],
    ),
    // The 30th did not happen: from 10:00 UTC on it was the 31st.
    (
        "Pacific/Apia",
        "2011-12-29 12:00",
        "0",
        "6,12",
        &["29 16:00", "29 22:00", "30 10:00", "30 16:00", "30 22:00"],
    ),
    ("Pacific/Apia", "2011-12-29 12:00", "0", "0", &["30 10:00", "31 10:00"]),
    // Midnight to one is skipped at 03:00 UTC; before the 18th, 23:00 to midnight comes again.
    ("America/Sao_Paulo", "2018-11-03 12:00", "0", "0", &["04 03:00", "05 02:00"]),
    ("America/Sao_Paulo", "2018-11-03 12:00", "30", "0", &["04 03:00", "05 02:30"]),
    ("America/Sao_Paulo", "2018-02-17 12:00", "30", "23", &["18 01:30", "19 02:30"]),
    ("America/Sao_Paulo", "2018-02-17 12:00", "0", "0", &["18 03:00", "19 03:00"]),
    // Back an hour for Ramadan from 03:00, and on again from 02:00, both at 02:00 UTC.
    ("Africa/Casablanca", "2025-02-22 12:00", "30", "2", &["23 01:30", "24 02:30"]),
    ("Africa/Casablanca", "2025-04-05 12:00", "30", "2", &["06 02:00", "07 01:30"]),
    // Two hours: 01:00 to 03:00 is skipped, and comes twice.
    ("Antarctica/Troll", "2026-03-28 12:00", "30", "1,2", &["29 01:00", "29 23:30", "30 00:30"]),
    (
        "Antarctica/Troll",
        "2026-10-24 12:00",
        "30",
        "1,2",
        &["24 23:30", "25 00:30", "26 01:30", "26 02:30"],
    ),
    // No changes, a quarter of an hour off.
    ("Asia/Kathmandu", "2026-01-01 00:00", "0", "6", &["01 00:15", "02 00:15"]),
];

#[test]
fn known_clock_changes_are_as_worked_out_by_hand() {
    for &(zone, from, minutes, hours, wanted) in ROWS {
        let list = |text: &str| Field(text.split(',').map(number).collect());
        let cron = Cron { minute: list(minutes), hour: list(hours), ..every_minute() };
        let pair = Pair::system(zone);
        let first = seconds(&format!("{from}:00"));
        let last = first + 2 * DAY - 1;
        let shown: Vec<String> = walk::fires(&cron, &pair.oracle, first, last)
            .iter()
            .map(|&at| text(at)[8..16].to_owned())
            .collect();
        assert_eq!(shown, wanted, "the oracle is wrong: {} | {zone} | {from}", cron.text());
        check(&cron, &pair, first, last);
    }
}

/// Hours whose first character is `*` or `?` follow elapsed time.
#[test]
fn a_wild_hour_goes_on_through_clock_changes() {
    for (zone, change) in [
        ("Europe/Berlin", "2026-03-29 01:00:00"),
        ("Europe/Berlin", "2026-10-25 01:00:00"),
        ("Europe/Dublin", "2026-10-25 01:00:00"),
        ("Antarctica/Troll", "2026-03-29 01:00:00"),
        ("Antarctica/Troll", "2026-10-25 01:00:00"),
        ("Australia/Lord_Howe", "2026-10-03 15:30:00"),
        ("Pacific/Apia", "2011-12-30 10:00:00"),
        ("America/Sao_Paulo", "2018-11-04 03:00:00"),
    ] {
        let pair = Pair::system(zone);
        let change = seconds(change);
        assert_ne!(pair.oracle.offset(change), pair.oracle.offset(change - 1), "{zone}");
        let (first, last) = (change - DAY, change + DAY - 1);
        for hour in ["*", "?", "*,3", "?/1"] {
            let hour = Field(vec![Item::new(hour, Means::Values((0..24).collect()))]);
            let minute = Item::new("*/15", Means::Values(vec![0, 15, 30, 45]));
            let cron = Cron { minute: Field(vec![minute]), hour, ..every_minute() };
            let fires = walk::fires(&cron, &pair.oracle, first, last);
            assert!(fires.iter().all(|at| at % 900 == 0) && fires.len() == 192, "{zone}");
            check(&cron, &pair, first, last);
        }
    }
}

/// Random lists of days.
#[test]
fn days_are_those_of_the_calendar_for_fifty_years() {
    let mut rng = Rng::new(seed());
    for _ in 0..if is_all() { 1_000 } else { 40 } {
        let near = seconds("2070-01-01 12:00:00") + rng.below(18_000) as i64 * DAY;
        check_days(&generate::cron(&mut rng, near, false), &mut rng);
    }
}

/// Every rule that depends on the length of the month or on its first weekday.
#[test]
fn each_rule_of_days_is_that_of_the_calendar_for_fifty_years() {
    let mut rng = Rng::new(seed());
    let mut days = vec![Item::new("L", Means::BeforeLast(0)), Item::new("LW", Means::LastWeekday)];
    days.extend((1..=30).map(|n| Item::new(format!("L-{n}"), Means::BeforeLast(n))));
    days.extend((1..=31).map(|n| Item::new(format!("{n}W"), Means::NearestWeekday(n))));
    for day in days {
        check_days(&Cron { day: Field(vec![day]), ..every_minute() }, &mut rng);
    }
    for weekday in 0..=7 {
        let nth = |n| Item::new(format!("{weekday}#{n}"), Means::NthOf(weekday, n));
        let last = Item::new(format!("{weekday}L"), Means::LastOf(weekday));
        for rule in (1..=5).map(nth).chain([last]) {
            check_days(&Cron { weekday: Field(vec![rule]), ..every_minute() }, &mut rng);
        }
    }
}

/// Compares all days of `cron` from 2070 to 2120, at noon in UTC.
#[track_caller]
fn check_days(cron: &Cron, rng: &mut Rng) {
    let cron = Cron { minute: Field::value(0), hour: Field::value(12), ..cron.clone() };
    let noon = |index: usize| index as i64 * DAY + DAY / 2;
    let from = days().partition_point(|day| day.year < 2070);
    let to = days().partition_point(|day| day.year < 2120);
    let fires: Vec<i64> = (from..to).filter(|&i| cron.matches_day(&days()[i])).map(noon).collect();
    let expression = parse(&cron.text()).expect("a good schedule");
    let (zone, first, last) = (Zone::utc(), noon(from), noon(to) - 1);
    let probes: Vec<i64> =
        (0..10).map(|_| first + rng.below((last - first) as u64) as i64).collect();
    let next_after = next_after(&expression.schedule, &zone, "a name");
    assert_eq!(walk::compare(&fires, first, last, &probes, &next_after), Ok(()), "{}", cron.text());
}

/// What is due once in years, or in decades.
#[test]
fn rare_days_are_found() {
    let utc = Zone::utc();
    let leap_days = ["2092-02-29", "2096-02-29", "2104-02-29", "2108-02-29"];
    let saturdays = ["2048-02-29", "2076-02-29", "2116-02-29"];
    for (schedule, from, wanted) in [
        ("0 0 29 2 *", "2088-03-01", &leap_days[..]),
        // Two restricted fields: either is enough, and the second asks for nothing more.
        ("0 0 29 2 6#5", "2088-03-01", &leap_days[..]),
        ("0 0 29 2 ?", "2088-03-01", &leap_days[..]),
        // Fields that begin with a star must both match.
        ("0 0 */28 2 6#5", "2026-01-01", &saturdays[..]),
        ("0 0 ? 2 SAT#5", "2026-01-01", &saturdays[..]),
        ("0 0 ? 2 7#5", "2026-01-01", &["2032-02-29", "2060-02-29", "2088-02-29", "2128-02-29"]),
        ("0 0 L 2 ?", "2099-01-01", &["2099-02-28", "2100-02-28", "2101-02-28"]),
        ("0 0 L-28 2 *", "2095-01-01", &["2096-02-01", "2104-02-01"]),
        ("0 0 29W 2 *", "2095-01-01", &["2096-02-29", "2104-02-29", "2108-02-29"]),
        ("0 0 31W 4,5 *", "2026-01-01", &["2026-05-29", "2027-05-31", "2028-05-31"]),
    ] {
        let expression = parse(schedule).expect(schedule);
        let next = next_after(&expression.schedule, &utc, "a name");
        let mut at = seconds(&format!("{from} 00:00:00"));
        for &day in wanted {
            at = next(at).unwrap_or_else(|| panic!("{schedule}: never, instead of {day}"));
            assert_eq!(text(at), format!("{day} 00:00:00"), "{schedule}");
        }
    }
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 L-30 2,4 *", "0 0 30W 2 *"] {
        let expression = parse(never).expect(never);
        let next = next_after(&expression.schedule, &utc, "a name");
        assert_eq!(next(seconds("2026-01-01 00:00:00")), None, "{never}");
    }
}

#[track_caller]
fn check(cron: &Cron, pair: &Pair, first: i64, last: i64) {
    let expected = walk::fires(cron, &pair.oracle, first, last);
    let expression = parse(&cron.text()).expect("a good schedule");
    let probes: Vec<i64> = (first..last).step_by(1_799).collect();
    let next_after = next_after(&expression.schedule, &pair.ours, "a name");
    let result = walk::compare(&expected, first, last, &probes, &next_after);
    assert_eq!(result, Ok(()), "{} | {}", cron.text(), pair.name);
}

/// `* * * * *`
pub(crate) fn every_minute() -> Cron {
    Cron {
        second: None,
        minute: Field::star(59),
        hour: Field::star(23),
        day: Field::star(31),
        month: Field::star(12),
        weekday: Field::star(6),
        separator: " ".into(),
    }
}

fn number(text: &str) -> Item {
    match text {
        "*" => Item::new("*", Means::Values((0..60).collect())),
        _ => Item::value(text.parse().expect("a number")),
    }
}
