//! Values that the name of the job decides, and words: what the rules promise of them.

use crate::days::{DAY, day_of, seconds};
use crate::fixed::every_minute;
use crate::schedule::{Cron, Field, Item};
use crate::{Pair, next_after, seed, walk};
use bellwether::cron::{Place, Zone, parse};
use bellwether::rng::Rng;
use bellwether::time::Second;
use std::collections::BTreeSet;

/// A quiet time to read the values from: a Sunday the 1st with the whole year ahead.
const QUIET: &str = "2023-01-01 00:00:00";

/// A text to read values from; what is one of the values at a fire; the allowed ones; how far each
/// is from the one before (0: there is one only).
type Row = (&'static str, fn(i64) -> i64, std::ops::RangeInclusive<i64>, i64);

const ROWS: &[Row] = &[
    ("~ 3 * * *", |at| at / 60 % 60, 0..=59, 0),
    ("H 3 * * *", |at| at / 60 % 60, 0..=59, 0),
    ("10~20 3 * * *", |at| at / 60 % 60, 10..=20, 0),
    ("7~7 3 * * *", |at| at / 60 % 60, 7..=7, 0),
    ("~/15 3 * * *", |at| at / 60 % 60, 0..=59, 15),
    ("H/15 3 * * *", |at| at / 60 % 60, 0..=59, 15),
    ("~/7 3 * * *", |at| at / 60 % 60, 0..=59, 7),
    ("~ 0 3 * * *", |at| at % 60, 0..=59, 0),
    ("30~59 0 3 * * *", |at| at % 60, 30..=59, 0),
    ("0 ~ * * *", |at| at / 3600 % 24, 0..=23, 0),
    ("0 9~17 * * *", |at| at / 3600 % 24, 9..=17, 0),
    ("0 ~/6 * * *", |at| at / 3600 % 24, 0..=23, 6),
    ("0 0 ~ * *", |at| i64::from(day_of(at).day), 1..=28, 0),
    ("0 0 5~9 * *", |at| i64::from(day_of(at).day), 5..=9, 0),
    ("0 0 ~/9 * *", |at| i64::from(day_of(at).day), 1..=28, 9),
    ("0 0 1 ~ *", |at| i64::from(day_of(at).month), 1..=12, 0),
    ("0 0 1 mar~jun *", |at| i64::from(day_of(at).month), 3..=6, 0),
    ("0 0 * * ~", |at| i64::from(day_of(at).weekday), 0..=6, 0),
    ("0 0 * * mon~fri", |at| i64::from(day_of(at).weekday), 1..=5, 0),
];

#[test]
fn a_name_decides_one_value_within_bounds_for_ever() {
    let zone = Zone::utc();
    let start = seconds(QUIET);
    for (schedule, value_at, allowed, step) in ROWS {
        let mut seen = BTreeSet::new();
        for n in 0..100 {
            let name = format!("job-{n}");
            let values = values(schedule, &name, &zone, start, *value_at);
            assert_eq!(values, self::values(schedule, &name, &zone, start + 200 * DAY, *value_at));
            assert!(values.iter().all(|v| allowed.contains(v)), "{schedule} {name}: {values:?}");
            let first = values[0];
            if *step == 0 {
                assert_eq!(values.len(), 1, "{schedule} {name}: {values:?}");
            } else {
                let all: Vec<i64> = (first..=*allowed.end()).step_by(*step as usize).collect();
                assert_eq!(values, all, "{schedule} {name}");
                assert!(first < allowed.start() + step, "{schedule} {name}: {values:?}");
            }
            seen.insert(first);
        }
        let possible = match step {
            0 => allowed.clone().count(),
            step => *step as usize,
        };
        assert!(seen.len() * 2 > possible, "{schedule}: only {seen:?} of {possible}");
    }
}

/// The different values of all fires in a year from `start`, sorted.
fn values(s: &str, name: &str, zone: &Zone, start: i64, value_at: fn(i64) -> i64) -> Vec<i64> {
    let expression = parse(s).unwrap_or_else(|wrong| panic!("{s}: {wrong}"));
    let next = next_after(&expression.schedule, zone, name);
    let mut values = BTreeSet::new();
    let mut at = start - 1;
    // Enough for every value of a day, of a week and of a year's months.
    for _ in 0..40 {
        at = next(at).unwrap_or_else(|| panic!("{s}: never"));
        values.insert(value_at(at));
    }
    values.into_iter().collect()
}

/// A spread hour is a fixed one, so it fires once on every day, whatever the clocks do.
#[test]
fn a_spread_hour_is_fixed() {
    let start = seconds(QUIET);
    for zone in ["Europe/Berlin", "America/New_York", "Antarctica/Troll", "Australia/Lord_Howe"] {
        let pair = Pair::system(zone);
        for (schedule, hours) in
            [("15 1~2 * * *", 1..=2), ("15 ~/2 * * *", 0..=23), ("15 H * * *", 0..=23)]
        {
            for name in ["a", "b", "c", "d", "e"] {
                let utc = Zone::utc();
                let values = values(schedule, name, &utc, start, |at| at / 3600 % 24);
                assert!(values.iter().all(|v| hours.contains(v)), "{schedule} {name}");
                let items = values.iter().map(|&v| Item::value(v as u32)).collect();
                let cron = Cron { minute: Field::value(15), hour: Field(items), ..every_minute() };
                let expression = parse(schedule).expect(schedule);
                let next = next_after(&expression.schedule, &pair.ours, name);
                for change in pair.oracle.instants().filter(|&at| at > start).take(4) {
                    let (first, last) = (change - 2 * DAY, change + 2 * DAY);
                    let expected = walk::fires(&cron, &pair.oracle, first, last);
                    let result = walk::compare(&expected, first, last, &[], &next);
                    assert_eq!(result, Ok(()), "{schedule} {name} {zone}");
                }
            }
        }
    }
}

/// The words are five fields, whose hour is wild or fixed like any other.
#[test]
fn words_stand_for_their_five_fields() {
    let only = Field::value;
    let daily = Cron { minute: only(0), hour: only(0), ..every_minute() };
    let monthly = Cron { day: only(1), ..daily.clone() };
    let yearly = Cron { month: only(1), ..monthly.clone() };
    let weekly = Cron { weekday: only(0), ..daily.clone() };
    let hourly = Cron { minute: only(0), ..every_minute() };
    for (words, cron) in [
        (&["@yearly", "@annually", "@Yearly"][..], &yearly),
        (&["@monthly", "@MONTHLY"], &monthly),
        (&["@weekly", "@wEEkly"], &weekly),
        (&["@daily", "@midnight", "@Daily"], &daily),
        (&["@hourly"], &hourly),
        (&["@minutely"], &every_minute()),
    ] {
        for zone in ["America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Beirut"] {
            let pair = Pair::system(zone);
            let all: Vec<i64> = pair.oracle.instants().filter(|&at| at > 8_000 * DAY).collect();
            for &change in all.iter().rev().take(4).chain([&seconds("2012-01-01 00:00:00")]) {
                let (first, last) = (change - 3 * DAY, change + 3 * DAY);
                let expected = walk::fires(cron, &pair.oracle, first, last);
                for word in words {
                    let expression = parse(word).unwrap_or_else(|wrong| panic!("{word}: {wrong}"));
                    let next = next_after(&expression.schedule, &pair.ours, "a name");
                    let result =
                        walk::compare(&expected, first, last, &[change, change - 1], &next);
                    assert_eq!(result, Ok(()), "{word} {zone}");
                }
            }
        }
    }
}

#[test]
fn intervals_are_counted_from_the_anchor() {
    let mut rng = Rng::new(seed());
    for (text, interval) in [
        ("@every 1s", 1),
        ("@EVERY 90s", 90),
        ("@every 1h30m", 5_400),
        ("@every 1.5h", 5_400),
        ("@every 2500ms", 2),
        ("@every 1h0m0.999s", 3_600),
        ("@every 1000000us", 1),
        ("@every 1000000µs", 1),
        ("@every 3000000000ns", 3),
        ("@every 36h", 129_600),
    ] {
        let expression = parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        let zone = Pair::system("Europe/Berlin").ours;
        for _ in 0..100 {
            let anchor = 1_700_000_000 + rng.below(100_000_000) as i64;
            let after = anchor - 1_000 + rng.below(10_000_000) as i64;
            let mut wanted = anchor + interval;
            wanted += (after - wanted + interval).div_euclid(interval).max(0) * interval;
            let place = Place { zone: &zone, name: "a name", anchor: Second(anchor) };
            for after in [after, wanted - 1, wanted - interval] {
                let after = after.max(anchor - 1_000);
                let found = expression.schedule.next_after(Second(after), &place);
                let wanted = if after < wanted { wanted } else { wanted + interval };
                assert_eq!(found, Some(Second(wanted)), "{text} from {anchor} after {after}");
            }
        }
    }
}

#[test]
fn a_moment_comes_once() {
    let zone = Zone::utc();
    for (text, at) in [
        ("@at 2026-03-29T02:30:00Z", "2026-03-29 02:30:00"),
        ("@AT 2026-03-29T02:30:00+05:45", "2026-03-28 20:45:00"),
        ("@at 2026-03-29T02:30:00-11:00", "2026-03-29 13:30:00"),
    ] {
        let expression = parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        let next = next_after(&expression.schedule, &zone, "a name");
        let at = seconds(at);
        assert_eq!([at - 9_999_999, at - 1, at].map(next), [Some(at), Some(at), None], "{text}");
    }
    let manual = parse("@Manually").expect("a word").schedule;
    assert_eq!(next_after(&manual, &zone, "a name")(0), None);
}

/// A schedule in front of which a zone is named is the schedule without it.
#[test]
fn a_zone_in_front_is_told_and_changes_nothing_else() {
    for (text, zone, rest) in [
        ("CRON_TZ=Asia/Tokyo 0 0 * * *", "Asia/Tokyo", "0 0 * * *"),
        ("TZ=Etc/GMT+5 @daily", "Etc/GMT+5", "@daily"),
        ("CRON_TZ=America/Port-au-Prince 1 2 3 4 5 6", "America/Port-au-Prince", "1 2 3 4 5 6"),
    ] {
        let expression = parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
        assert_eq!(expression.zone.as_deref(), Some(zone));
        assert_eq!(expression.schedule, parse(rest).expect(rest).schedule);
    }
}

#[test]
fn what_the_grammar_does_not_have_is_refused() {
    let long = format!("0 0 * * {}", " ".repeat(1_017));
    let many = format!("{} * * * *", vec!["1"; 65].join(","));
    for text in [
        "",
        " ",
        "*",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "60 * * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "* * * * FRI-MON",
        "*/0 * * * *",
        "1/0 * * * *",
        "1-5/0 * * * *",
        "1,,2 * * * *",
        ",1 * * * *",
        "1, * * * *",
        "+5 * * * *",
        "*-5 * * * *",
        "-5 * * * *",
        "1- * * * *",
        "1.5 * * * *",
        "1/ * * * *",
        "1/2/3 * * * *",
        "1-2-3 * * * *",
        "** * * * *",
        "a * * * *",
        "L * * * *",
        "* L * * *",
        "* * * L *",
        "* * 32W * *",
        "* * 0W * *",
        "* * * * 8L",
        "* * * * 5#0",
        "* * * * 5#6",
        "* * * * #3",
        "* * L-31 * *",
        "* * 15#2 * *",
        "* * 5L * *",
        "* * * * 5W",
        "* * MON * *",
        "* * * MON *",
        "* * * * JAN",
        "JAN * * * *",
        "*\u{a0}* * * *",
        "*\n* * * *",
        "* *\r* * *",
        "\u{661} * * * *",
        "@reboot",
        "@every",
        "@every 1",
        "@every 0s",
        "@every 999ms",
        "@every -1h",
        "@every 1d",
        "@at",
        "@at 2026-13-01T00:00:00Z",
        "@at 2026-01-01T00:00:60Z",
        "@at 2026-01-01T00:00:00",
        "@fortnightly",
        "@",
        "CRON_TZ=UTC",
        "CRON_TZ= * * * * *",
        "4294967297 * * * *",
        "18446744073709551617 * * * *",
        "20~10 * * * *",
        "~/0 * * * *",
        "0~60 * * * *",
        &long,
        &many,
    ] {
        assert!(parse(text).is_err(), "{text:?} is understood: {:?}", parse(text));
    }
    let just = format!("{} * * * *", vec!["1"; 64].join(","));
    assert!(parse(&just).is_ok());
}
