//! What the tests of this room share: a context with fixed answers, and random jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::rng::Rng;
use crate::time::Wall;

use super::{
    Catchup, Concurrency, Context, Counts, Hot, RunOn, ScheduleFacts, Spec, Status, times,
};

/// Knows three zones. A schedule that begins with `bad` is wrong, one with `never` never fires.
pub(super) struct Fixed {
    pub(super) default_zone: &'static str,
    pub(super) run_on: RunOn,
    pub(super) nodes: usize,
}

impl Default for Fixed {
    fn default() -> Self {
        Fixed { default_zone: "UTC", run_on: RunOn::All, nodes: 1 }
    }
}

impl Context for Fixed {
    fn check_schedule(&self, text: &str, zone: &str, name: &str) -> Result<ScheduleFacts, String> {
        assert!(!zone.is_empty() && !name.is_empty());
        let (prefix, rest) = match text.strip_prefix("CRON_TZ=").and_then(|t| t.split_once(' ')) {
            Some((zone, rest)) => (Some(zone.to_owned()), rest),
            None => (None, text),
        };
        if rest.starts_with("bad") {
            return Err("minute field: 75 is out of range 0-59 (column 3)".into());
        }
        let warnings =
            if rest.starts_with("never") { vec!["schedule: never fires".into()] } else { vec![] };
        Ok(ScheduleFacts { zone: prefix, warnings, ..ScheduleFacts::default() })
    }

    fn check_parent(&self, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn zone_known(&self, name: &str) -> bool {
        ["UTC", "Europe/Paris", "Asia/Tokyo"].contains(&name)
    }

    fn default_zone(&self) -> &str {
        self.default_zone
    }

    fn parse_time(&self, text: &str) -> Option<Wall> {
        match text.strip_suffix("+02:00") {
            Some(local) => Some(Wall(times::parse_utc(&format!("{local}Z"))?.0 - 7_200_000)),
            None => times::parse_utc(text),
        }
    }

    fn default_run_on(&self) -> RunOn {
        self.run_on
    }

    fn nodes(&self) -> usize {
        self.nodes
    }
}

/// A text of characters that need care in JSON, in headers, in shells and in `K=V,K=V`.
pub(super) fn random_text(rng: &mut Rng, max_chars: u64) -> String {
    let alphabet = [
        'a', 'Z', '0', ' ', '"', '\\', '\n', '\t', '\u{1}', '\u{7f}', 'é', '😀', ',', '=', '{',
        '\'',
    ];
    (0..rng.below(max_chars + 1)).map(|_| alphabet[rng.below(16) as usize]).collect()
}

/// A definition that [`super::read`] accepts under [`Fixed`]. It names every field, so that a new
/// one is not forgotten.
pub(crate) fn random_spec(rng: &mut Rng) -> Spec {
    let texts = |rng: &mut Rng, name: &str| {
        (0..rng.below(4)).map(|n| (format!("{name}{n}"), random_text(rng, 6))).collect()
    };
    let seconds = |rng: &mut Rng, max: u64| Duration::from_millis(1_000 + rng.below(max * 1_000));
    let mut spec = Spec {
        name: format!("job-{}", rng.below(1_000)),
        displayname: random_text(rng, 8),
        schedule: ["@hourly", "CRON_TZ=Asia/Tokyo * * * * *", "never"][rng.below(3) as usize]
            .into(),
        timezone: "Europe/Paris".into(),
        owner: random_text(rng, 8),
        owner_email: random_text(rng, 8),
        disabled: rng.chance(1, 2),
        metadata: texts(rng, "m"),
        parent_job: ["", "other"][rng.below(2) as usize].into(),
        retries: rng.below(11),
        retry_backoff: seconds(rng, 290),
        concurrency: Concurrency::ALL[rng.below(2) as usize],
        command: format!("run '{}'", random_text(rng, 12).replace('\'', "")),
        shell: rng.chance(1, 2),
        env: texts(rng, "E"),
        cwd: ["", "/", "/srv/a b"][rng.below(3) as usize].into(),
        timeout: if rng.chance(1, 2) { Duration::ZERO } else { seconds(rng, 9_000) },
        kill_grace: seconds(rng, 3_000),
        start_deadline: seconds(rng, 80_000),
        catchup: Catchup::ALL[rng.below(3) as usize],
        catchup_window: rng.chance(1, 2).then(|| seconds(rng, 90_000)),
        catchup_max: 1 + rng.below(10_000),
        run_on: [RunOn::All, RunOn::Any, RunOn::Count(1 + rng.below(1_024))][rng.below(3) as usize],
        keep: rng.below(10_001),
        output_limit: (1 << 20) + rng.below(1 << 40) / 2,
        idempotent: rng.chance(1, 2),
        note: random_text(rng, 20),
        executor_extras: texts(rng, "x"),
        tags: BTreeMap::new(),
        starts_at: None,
        expires_at: None,
    };
    if spec.schedule.starts_with("CRON_TZ") {
        spec.timezone = "Asia/Tokyo".into();
    }
    if rng.chance(1, 2) {
        spec.tags.insert("dc".into(), "north".into());
    }
    if rng.chance(1, 3) {
        spec.tags.insert("role".into(), "web:2".into());
        spec.run_on = RunOn::All;
    }
    if rng.chance(1, 2) {
        let starts = Wall(rng.below(times::MAX.0 as u64 / 2) as i64);
        spec.starts_at = Some(starts);
        spec.expires_at = Some(Wall(starts.0 + 1 + rng.below(times::MAX.0 as u64 / 2) as i64));
    }
    spec
}

/// Counters and times as a store might have them.
pub(super) fn random_hot(rng: &mut Rng) -> Hot {
    let at = |rng: &mut Rng| Wall(rng.below(times::MAX.0 as u64) as i64);
    Hot {
        counts: Counts {
            success_count: rng.next_u64(),
            error_count: rng.below(9),
            missed_count: rng.below(9),
            last_success: rng.chance(1, 2).then(|| at(rng)),
            last_error: rng.chance(1, 2).then(|| at(rng)),
            status: Status::ALL[rng.below(5) as usize],
        },
        next: rng.chance(1, 2).then(|| at(rng)),
        dependent_jobs: (0..rng.below(3)).map(|_| random_text(rng, 5)).collect(),
        version: rng.next_u64(),
        created_at: at(rng),
        updated_at: at(rng),
        warnings: (0..rng.below(3)).map(|_| random_text(rng, 5)).collect(),
    }
}
