//! How fast schedules are read and their next due time is found, beside the crates `croner` and
//! `cron` in the same run.
//!
//! Every contender gets the same starting moments, in its own type, and one `next` from each; all
//! take turns in every round, so that a busy machine is busy for all. Printed is the median of the
//! rounds with half the distance of the quartiles, and how many times longer the others take. No
//! time is asserted. Without `--bench`, as `cargo test --benches` calls it, one short round is run.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark reports to a person")]

use bellwether::agent::FileZones;
use bellwether::cron::{Place, Schedule, Zone, Zones, parse};
use bellwether::time::Second;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use std::hint::black_box;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// One schedule as each contender writes it; `None` where it has no words for it.
struct Case {
    ours: &'static str,
    croner: Option<&'static str>,
    cron: Option<&'static str>,
}

/// `cron` always has a second first and has neither `L` nor `#`. It ends with the year 2100,
/// `croner` with 5000 and bellwether after 400 years, which is the search where nothing is due.
const CASES: [Case; 6] = [
    Case { ours: "*/5 * * * *", croner: Some("*/5 * * * *"), cron: Some("0 */5 * * * *") },
    Case {
        ours: "30 2 * * MON-FRI",
        croner: Some("30 2 * * MON-FRI"),
        cron: Some("0 30 2 * * MON-FRI"),
    },
    Case { ours: "0 0 29 2 *", croner: Some("0 0 29 2 *"), cron: Some("0 0 0 29 2 *") },
    Case { ours: "0 0 0 L * ?", croner: Some("0 0 0 L * ?"), cron: None },
    Case { ours: "0 0 29 2 6#5", croner: Some("0 0 29 2 6#5"), cron: None },
    Case { ours: "0 0 30 2 *", croner: Some("0 0 30 2 *"), cron: Some("0 0 0 30 2 *") },
];

/// Moments asked about: so many, this far apart, from 2026 on. Primes, to meet every time of day.
const STARTS: i64 = 61;
const APART: i64 = 1_000_003;
const FIRST: i64 = 1_767_225_600;

/// How long one contender is measured in one round.
const TURN: Duration = Duration::from_millis(20);
const ROUNDS: usize = 15;

fn main() {
    let in_full = std::env::args().any(|arg| arg == "--bench");
    let (rounds, turn) = if in_full { (ROUNDS, TURN) } else { (1, Duration::ZERO) };
    println!("median ns of {rounds} rounds ± half the quartile distance; × bellwether's time");
    println!("\n{:<22}{:>26}{:>22}{:>32}", "parse", "bellwether", "croner", "cron");
    for case in &CASES {
        print_row("", case.ours, &mut measure(&mut parsers(case), rounds, turn));
    }
    for zone in ["UTC", "America/New_York"] {
        println!("\nnext after, {zone}");
        for case in &CASES {
            let mut contenders = nexts(case, zone);
            let note = compare(&mut contenders);
            print_row(&note, case.ours, &mut measure(&mut contenders, rounds, turn));
        }
    }
}

/// Does one unit of work and gives what it came to, for comparison.
type Work<'a> = Box<dyn FnMut(usize) -> Option<i64> + 'a>;

/// bellwether, croner, cron.
type Contenders<'a> = [Option<Work<'a>>; 3];

fn parsers(case: &Case) -> Contenders<'_> {
    let count = |is_ok: bool| Some(i64::from(is_ok));
    [
        Some(Box::new(move |_| count(black_box(parse(black_box(case.ours))).is_ok()))),
        case.croner.map(|text| -> Work<'_> {
            Box::new(move |_| count(black_box(croner::Cron::from_str(black_box(text))).is_ok()))
        }),
        case.cron.map(|text| -> Work<'_> {
            Box::new(move |_| count(black_box(cron::Schedule::from_str(black_box(text))).is_ok()))
        }),
    ]
}

fn nexts(case: &Case, zone: &str) -> Contenders<'static> {
    let starts: Vec<i64> = (0..STARTS).map(|number| FIRST + number * APART).collect();
    let tz: Tz = zone.parse().expect("chrono-tz knows the zone");
    let utc = |&second: &i64| DateTime::<Utc>::from_timestamp(second, 0).expect("a moment of 2026");
    let moments: Vec<DateTime<Tz>> =
        starts.iter().map(|second| utc(second).with_timezone(&tz)).collect();
    let moments_of_cron = moments.clone();
    let zone = FileZones::system().zone(zone).expect("the system has zone files");
    let schedule = parse(case.ours).expect("each case is a schedule").schedule;
    [
        Some(Box::new(move |at| next_of_ours(&schedule, starts[at], &zone))),
        case.croner.map(|text| -> Work<'static> {
            let cron = croner::Cron::from_str(text).expect("each case of croner is one");
            Box::new(move |at| {
                let next = cron.find_next_occurrence(black_box(&moments[at]), false);
                next.ok().map(|next| next.timestamp())
            })
        }),
        case.cron.map(|text| -> Work<'static> {
            let schedule = cron::Schedule::from_str(text).expect("each case of cron is one");
            Box::new(move |at| {
                let next = schedule.after(black_box(&moments_of_cron[at])).next();
                next.map(|next| next.timestamp())
            })
        }),
    ]
}

fn next_of_ours(schedule: &Schedule, start: i64, zone: &Zone) -> Option<i64> {
    let place = Place { zone, name: "", anchor: Second(0) };
    schedule.next_after(Second(black_box(start)), &place).map(|next| next.0)
}

/// Says where the contenders do not agree: then they do not do the same work.
fn compare(contenders: &mut Contenders<'_>) -> String {
    let [Some(ours), others @ ..] = contenders else { return String::new() };
    let mut note = String::new();
    for (name, other) in ["croner", "cron"].iter().zip(others) {
        let Some(other) = other else { continue };
        let differing = (0..STARTS as usize).filter(|&at| ours(at) != other(at)).count();
        if differing > 0 {
            note.push_str(&format!("  ({name} differs in {differing} of {STARTS})"));
        }
    }
    note
}

/// Nanoseconds for one unit of work, by round.
fn measure(contenders: &mut Contenders<'_>, rounds: usize, turn: Duration) -> [Vec<f64>; 3] {
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let Some(work) = contender else { continue };
            let (mut calls, start) = (0_u32, Instant::now());
            // A few calls at first, then the clock is read once for all starts: it takes as long
            // as a fast call. A slow contender has only its few.
            let mut batch = STARTS as usize / 20;
            while calls == 0 || start.elapsed() < turn {
                for at in 0..batch {
                    black_box(work(at));
                }
                calls += batch as u32;
                batch = STARTS as usize;
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
        }
    }
    times
}

fn print_row(note: &str, name: &str, times: &mut [Vec<f64>; 3]) {
    let mut line = format!("  {name:<20}");
    let mut base = None;
    for times in times {
        times.sort_by(f64::total_cmp);
        let part = |quarter: usize| times.get(times.len() * quarter / 4).copied();
        let (Some(low), Some(median), Some(high)) = (part(1), part(2), part(3)) else {
            line.push_str(&format!("{:>32}", "cannot say it"));
            continue;
        };
        let shown = format!("{median:.0} ± {:.0}", (high - low) / 2.0);
        match base {
            None => line.push_str(&format!("{shown:>26}")),
            Some(base) => line.push_str(&format!("{shown:>22} ×{:<8.1}", median / base)),
        }
        base = base.or(Some(median));
    }
    println!("{line}{note}");
}
