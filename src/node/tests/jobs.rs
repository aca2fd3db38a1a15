//! The definitions of jobs that clients ask for, drawn at random.

use std::fmt::Write as _;

use crate::cron::civil;
use crate::rng::Rng;
use crate::time::Wall;

/// A job as the body of a request, with moments near `wall`.
pub(super) fn random_job(rng: &mut Rng, name: &str, wall: i64) -> String {
    let at = |ms: i64| civil::format_utc(Wall(ms.max(0)));
    let near = |rng: &mut Rng, wall: i64| at(wall + rng.below(90_000) as i64 - 20_000);
    let schedule = match rng.below(10) {
        0 => "@every 1s".into(),
        1 | 2 => format!("@every {}s", 2 + rng.below(20)),
        3 => "*/2 * * * * *".into(),
        4 => "*/15 * * * * *".into(),
        5 => "* * * * *".into(),
        6 => "0 * * * *".into(),
        7 => format!("@at {}", near(rng, wall)),
        8 => "@manually".into(),
        _ => "~ * * * * *".into(),
    };
    // Sometimes of no job that is there, or one that runs after this one.
    let parent = ["a", "b"][rng.below(2) as usize];
    let is_child = parent != name && rng.chance(1, 3);
    let schedule = if is_child && rng.chance(1, 2) { String::new() } else { schedule };
    let mut body = format!(r#"{{"name":"{name}","command":"true","schedule":"{schedule}""#);
    if is_child {
        write!(body, r#","parent_job":"{parent}""#).unwrap();
    }
    let catchup = ["latest", "all", "skip"][rng.below(3) as usize];
    write!(body, r#","catchup":"{catchup}","keep":{}"#, rng.below(5)).unwrap();
    let overlap = ["allow", "forbid"][rng.below(2) as usize];
    write!(body, r#","concurrency":"{overlap}""#).unwrap();
    write!(body, r#","start_deadline":"{}s""#, 1 + rng.below(60)).unwrap();
    if rng.chance(1, 3) {
        write!(body, r#","catchup_window":"{}s""#, 1 + rng.below(4_000)).unwrap();
    }
    if rng.chance(1, 3) {
        write!(body, r#","catchup_max":{}"#, 1 + rng.below(500)).unwrap();
    }
    if rng.chance(1, 8) {
        write!(body, r#","starts_at":"{}""#, near(rng, wall)).unwrap();
    }
    if rng.chance(1, 8) {
        write!(body, r#","expires_at":"{}""#, near(rng, wall + 60_000)).unwrap();
    }
    if rng.chance(1, 3) {
        write!(body, r#","timeout":"{}s""#, 1 + rng.below(20)).unwrap();
    }
    match rng.below(10) {
        0 => body.push_str(r#","tags":{"role":"db"}"#),
        1 => body.push_str(r#","tags":{"role":"web:2"}"#),
        2..=4 => body.push_str(r#","run_on":"any""#),
        5 => body.push_str(r#","run_on":2"#),
        _ => {}
    }
    if rng.chance(1, 2) {
        write!(body, r#","retries":{}"#, 1 + rng.below(4)).unwrap();
        let idempotent = rng.chance(1, 3);
        write!(
            body,
            r#","retry_backoff":"{}ms","idempotent":{idempotent}"#,
            100 + rng.below(9_000)
        )
        .unwrap();
    }
    if rng.chance(1, 8) {
        body.push_str(r#","disabled":true"#);
    }
    body + "}"
}
