//! Schedules against an oracle that shares nothing with the product: it knows what each random
//! schedule means before spelling it, reads the zones' files itself, and finds the fires by walking
//! through every minute or second of the four days around a clock change.
//!
//! `cargo test --test cron_oracle` looks at a random sample of all zones and changes; the seed that
//! it prints replays with `CRON_ORACLE_SEED=n`. `make fuzz` looks at every change of every zone:
//! `CRON_ORACLE_ALL=1 cargo test --release --test cron_oracle -- --nocapture`; with
//! `CRON_ORACLE_CASES=n` it tries n schedules at each instead of a few.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]
#![allow(clippy::print_stdout, reason = "a seed that is not shown cannot be replayed")]

#[path = "oracle/days.rs"]
mod days;
#[path = "oracle/fixed.rs"]
mod fixed;
#[path = "oracle/generate.rs"]
mod generate;
#[path = "oracle/schedule.rs"]
mod schedule;
#[path = "oracle/spread.rs"]
mod spread;
#[path = "oracle/tzif.rs"]
mod tzif;
#[path = "oracle/walk.rs"]
mod walk;

use bellwether::cron::{Place, Schedule, Zone, parse};
use bellwether::rng::{Rng, mix};
use bellwether::time::Second;
use days::{DAY, seconds, text};
use schedule::Cron;
use std::time::{SystemTime, UNIX_EPOCH};
use tzif::Shifts;

/// Clock changes of these years, and a few that no file lists but only its rule gives.
const YEARS: [&str; 2] = ["1990-01-01 00:00:00", "2041-01-01 00:00:00"];

/// How far around a clock change every fire is compared.
const AROUND: i64 = 2 * DAY;

/// The same for a schedule with more fires than [`MANY`].
const CLOSE_AROUND: i64 = 2 * 3600;
const MANY: usize = 20_000;

/// Windows of a sample, and schedules tried in each.
const SAMPLE: u64 = 200;
const SAMPLE_CASES: u64 = 4;

/// Schedules tried at each clock change of each zone when all are asked for.
const ALL_CASES: u64 = 16;

/// Of so many schedules one has a field of seconds.
const SECONDS_ONE_IN: u64 = 8;

/// A zone as both sides read it.
struct Pair {
    name: String,
    ours: Zone,
    oracle: Shifts,
}

impl Pair {
    fn new(name: &str, bytes: &[u8]) -> Pair {
        let ours = Zone::from_tzif(name, bytes).unwrap_or_else(|e| panic!("{name} {e}"));
        Pair { name: name.to_owned(), ours, oracle: Shifts::read(bytes) }
    }

    fn system(name: &str) -> Pair {
        Pair::new(name, &tzif::system_file(name))
    }
}

#[test]
fn every_fire_around_a_clock_change_is_found() {
    let seed = seed();
    let zones: Vec<Pair> =
        tzif::system_files().iter().map(|(name, bytes)| Pair::new(name, bytes)).collect();
    assert!(zones.len() > 200, "only {} zones; the tests need tzdata", zones.len());
    let windows: Vec<(&Pair, i64)> =
        zones.iter().flat_map(|zone| centres(zone, seed).map(move |at| (zone, at))).collect();
    let all = is_all();
    let cases = number("CRON_ORACLE_CASES").unwrap_or(if all { ALL_CASES } else { SAMPLE_CASES });
    let count = windows.len() as u64;
    println!("{} zones, {count} windows, {cases} schedules each", zones.len());
    let mut faults = Vec::new();
    let mut fires = 0;
    for n in 0..if all { count } else { SAMPLE } {
        let mut rng = Rng::new(mix(seed ^ n));
        let index = if all { n } else { rng.below(count) };
        let (zone, centre) = windows[index as usize];
        for _ in 0..cases {
            let local = centre + zone.oracle.offset(centre);
            let with_seconds = rng.chance(1, SECONDS_ONE_IN);
            let cron = generate::cron(&mut rng, local, with_seconds);
            match check(&cron, zone, centre, &mut rng) {
                Ok(number) => fires += number,
                Err(wrong) => faults.push(smallest(&cron, wrong, zone, centre)),
            }
        }
        if all && n % 1_000 == 0 {
            println!("{n} of {count} windows, {fires} fires, {} faults", faults.len());
        }
    }
    println!("{fires} fires compared");
    faults.sort();
    faults.dedup();
    let shown = faults.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(faults.is_empty(), "{} faults, CRON_ORACLE_SEED={seed}\n{shown}", faults.len());
    assert!(fires > 10_000, "only {fires} fires were compared: the schedules are dull");
}

/// The instants to look around: each clock change, and one random instant for zones without.
fn centres(zone: &Pair, seed: u64) -> impl Iterator<Item = i64> + '_ {
    let [from, to] = YEARS.map(seconds);
    let mut rng = Rng::new(seed ^ bellwether::rng::stable_hash(zone.name.as_bytes()));
    let quiet = from + rng.below((to - from) as u64) as i64;
    let changes = zone.oracle.instants().filter(move |at| (from..to).contains(at));
    changes.chain([quiet / 60 * 60])
}

/// Compares all fires around `centre`, and the next fire after the moments where answers change.
/// Gives the number of fires.
fn check(cron: &Cron, zone: &Pair, centre: i64, rng: &mut Rng) -> Result<usize, String> {
    let text = cron.text();
    let expression = parse(&text).map_err(|wrong| format!("{text}: {wrong}"))?;
    let canonical = expression.schedule.canonical();
    if parse(&canonical).map(|again| again.schedule).as_ref() != Ok(&expression.schedule) {
        return Err(format!("{text}: is not its canonical text {canonical}"));
    }
    let mut around = AROUND;
    let mut expected = walk::fires(cron, &zone.oracle, centre - around, centre + around);
    if expected.len() > MANY {
        around = CLOSE_AROUND;
        expected.retain(|at| (centre - around..=centre + around).contains(at));
    }
    let mut probes = vec![centre - 1, centre, centre + 1];
    for near in [3_600, 7_200, around] {
        probes.push(centre - near + rng.below(2 * near as u64) as i64);
    }
    let next_after = next_after(&expression.schedule, &zone.ours, "a name");
    walk::compare(&expected, centre - around, centre + around, &probes, &next_after)
        .map_err(|wrong| format!("{text} | {} | {wrong}", zone.name))?;
    Ok(expected.len())
}

/// What `schedule` says, in the shape that the comparison wants.
fn next_after<'a>(
    schedule: &'a Schedule,
    zone: &'a Zone,
    name: &'a str,
) -> impl Fn(i64) -> Option<i64> + 'a {
    let anchor = Second(0);
    move |after| schedule.next_after(Second(after), &Place { zone, name, anchor }).map(|s| s.0)
}

/// The complaint about the simplest schedule like `cron` that is still wrong there.
fn smallest(cron: &Cron, complaint: String, zone: &Pair, centre: i64) -> String {
    let mut rng = Rng::new(0);
    let mut found = (cron.clone(), complaint);
    let mut wrong = |cron: Cron| check(&cron, zone, centre, &mut rng).err().map(|why| (cron, why));
    while let Some(simpler) = found.0.simpler().into_iter().find_map(&mut wrong) {
        found = simpler;
    }
    format!("{} (around {} UTC, first seen with {})", found.1, text(centre), cron.text())
}

/// Whether to take the time for everything.
fn is_all() -> bool {
    std::env::var_os("CRON_ORACLE_ALL").is_some()
}

/// From the environment, or another each time.
fn seed() -> u64 {
    let seed = number("CRON_ORACLE_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        now.as_nanos() as u64
    });
    println!("CRON_ORACLE_SEED={seed} replays this");
    seed
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
