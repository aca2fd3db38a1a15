//! What a scheduler decides, as tables; and random lives, in which every due time is decided
//! exactly once.

use super::owed::newest_up_to;
use super::*;
use crate::cron::Zone;
use crate::ident::{Boot, Epoch, NodeId, StoreId};
use crate::rng::Rng;
use crate::store::{Change, Entry, Facts, JobPut, Member, MemberState};
use crate::time::Mono;

/// 2026-06-01T00:00:00Z; the times of these tests are seconds after it.
const BEGIN: i64 = 1_780_272_000;

struct Utc;

impl Zones for Utc {
    fn zone(&self, name: &str) -> Option<Zone> {
        (name == "UTC").then(Zone::utc)
    }
}

fn at(second: i64) -> Now {
    let wall = Second(BEGIN + second).wall();
    Now { mono: Mono(1_000_000_000 * second.unsigned_abs()), wall }
}

fn spec(schedule: &str) -> Spec {
    Spec {
        name: "job".into(),
        schedule: schedule.into(),
        timezone: "UTC".into(),
        command: "true".into(),
        ..Spec::default()
    }
}

/// A leader's state and its scheduler, on one node.
#[derive(Default)]
struct Office {
    state: State,
    scheduler: Scheduler,
}

impl Office {
    fn new() -> Office {
        let mut office = Office::default();
        let member = Member {
            id: NodeId::new(1).unwrap(),
            store: StoreId(1),
            boot: Boot(1),
            name: "n1".into(),
            address: String::new(),
            server: true,
            work: true,
            tags: vec![("role".into(), "web".into())],
            state: MemberState::Registered,
        };
        office.apply(Record::Node(member), at(0));
        office
    }

    fn apply(&mut self, record: Record, now: Now) -> Change {
        let index = Index(self.state.applied().0 + 1);
        let (epoch, wall, actor) = (Epoch(1), now.wall, "test".to_owned());
        self.state.apply(Entry { index, epoch, wall, actor, record })
    }

    /// Stores `spec` with the mark at `mark` and the anchor at 0.
    fn put(&mut self, spec: &Spec, mark: i64) -> JobId {
        let put = JobPut {
            name: spec.name.clone(),
            spec: spec.to_bytes(),
            timing: timing(spec),
            facts: Facts {
                disabled: spec.disabled,
                forbid: false,
                per_node: true,
                keep: 0,
                ..Facts::default()
            },
            mark: Some(Second(BEGIN + mark)),
            anchor: Some(Second(BEGIN)),
        };
        let Change::JobPut(id) = self.apply(Record::JobPut(put), at(mark)) else { panic!() };
        self.scheduler.job_put(&self.state, id, &Utc);
        id
    }

    fn lead(&mut self, now: i64) {
        self.scheduler.take_office(&self.state, &Utc, at(now));
    }

    /// Polls once and applies what comes, as text: `s` skip, `n` no node, `c` claim, `u` catch-up.
    fn fire(&mut self, now: i64) -> String {
        let mut said = Vec::new();
        for (id, records) in self.scheduler.poll(&self.state, at(now)) {
            let last = Index(self.state.applied().0 + records.len() as u64);
            self.scheduler.proposed(id, last);
            for record in records {
                said.push(show(&record));
                let change = self.apply(record, at(now));
                assert!(!matches!(change, Change::Void(_)), "{said:?} changed nothing");
                let index = self.state.applied();
                self.scheduler.applied(&self.state, id, index);
            }
        }
        said.join(" ")
    }
}

fn show(record: &Record) -> String {
    let relative = |second: Second| second.0 - BEGIN;
    match record {
        Record::Claim(claim) => {
            let kind = if claim.trigger == Trigger::Schedule { 'c' } else { 'u' };
            format!("{kind}{}", relative(claim.due.unwrap()))
        }
        Record::Skip(skip) => {
            let kind = if skip.reason == SkipReason::NoNode { 'n' } else { 's' };
            let more = if skip.more { "+" } else { "" };
            let (first, until) = (relative(skip.first), relative(skip.until));
            format!("{kind}{first}-{until}({}{more})", skip.count)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_decision_follows_policy_window_and_deadline() {
    let latest = |schedule: &str| spec(schedule);
    let with = |schedule: &str, change: &dyn Fn(&mut Spec)| {
        let mut made = spec(schedule);
        change(&mut made);
        made
    };
    let seconds = Duration::from_secs;
    let skip = |deadline: u64| {
        move |spec: &mut Spec| {
            (spec.catchup, spec.start_deadline) = (Catchup::Skip, seconds(deadline));
        }
    };
    let all = |max: u64, window: Option<u64>| {
        move |spec: &mut Spec| {
            (spec.catchup, spec.catchup_max) = (Catchup::All, max);
            spec.catchup_window = window.map(seconds);
        }
    };
    let wall = |second: i64| Some(Second(BEGIN + second).wall());
    let (every, hour) = ("@every 10s", 3_600);
    // The job, since when the office stands, now, and the decision; the mark is at 0.
    for (spec, live, now, said) in [
        (latest(every), 0, 9, ""),
        (latest(every), 0, 10, "c10"),
        (latest(every), 10, 10, "c10"),
        (latest(every), 11, 11, "u10"),
        // Without a gap in the watch all are claimed that are not much delayed.
        (latest("@every 3s"), 0, 10, "c3 c6 c9"),
        (latest(every), 0, 25, "s10-10(1) c20"),
        // After an outage one is caught up, and the rest is one skip.
        (latest(every), 95, 95, "s10-80(8) u90"),
        (with(every, &skip(60)), 95, 95, "s10-80(8) u90"),
        (with(every, &skip(5)), 95, 95, "s10-80(8) u90"),
        (with(every, &skip(4)), 95, 95, "s10-90(9)"),
        (with(every, &all(100, None)), 95, 95, "u10 u20 u30 u40 u50 u60 u70 u80 u90"),
        (with(every, &all(3, None)), 95, 95, "s10-60(6) u70 u80 u90"),
        (with(every, &all(100, Some(25))), 95, 95, "s10-60(6) u70 u80 u90"),
        (with(every, &all(2, Some(25))), 95, 95, "s10-70(7) u80 u90"),
        // The window is half the time to the following fire, within its bounds.
        (latest("@every 1h"), 3 * hour, hour + 1_800, "u3600"),
        (latest("@every 1h"), 3 * hour, hour + 1_801, "s3600-3600(1)"),
        (latest("@every 24h"), 72 * hour, 24 * hour + 12 * hour, "u86400"),
        (latest("@every 24h"), 72 * hour, 24 * hour + 12 * hour + 1, "s86400-86400(1)"),
        (latest("@every 80s"), 999, 80 + 60, "u80"),
        (with("@every 80s", &|spec| spec.start_deadline = seconds(1)), 999, 80 + 61, "s80-80(1)"),
        (
            with("@every 1h", &|spec| spec.catchup_window = Some(seconds(9))),
            9_999,
            3_700,
            "s3600-3600(1)",
        ),
        // Bounds of the job itself.
        (with(every, &|spec| spec.expires_at = wall(25)), 500, 500, "s10-20(2)"),
        (with(every, &|spec| spec.expires_at = wall(20)), 0, 21, "s10-10(1) c20"),
        (with(every, &|spec| spec.starts_at = wall(30)), 0, 35, "c30"),
        (with(every, &|spec| spec.starts_at = wall(31)), 0, 35, ""),
        (with(every, &|spec| spec.disabled = true), 0, 95, ""),
        (with(every, &|spec| spec.timezone = "Mars/Utopia".into()), 0, 95, ""),
        (latest("@manually"), 0, 95, ""),
        (latest("@at 2026-06-01T00:00:07Z"), 0, 9, "c7"),
        // Nobody may run it: that is a skip for each, and the mark moves on.
        (
            with(every, &|spec| drop(spec.tags.insert("role".into(), "db".into()))),
            0,
            10,
            "n10-10(1)",
        ),
        (
            with("@every 3s", &|spec| drop(spec.tags.insert("role".into(), "db".into()))),
            0,
            10,
            "n3-3(1) n6-6(1) n9-9(1)",
        ),
        (
            with(every, &|spec| drop(spec.tags.insert("role".into(), "db".into()))),
            95,
            95,
            "s10-80(8) n90-90(1)",
        ),
        // Counting ends somewhere.
        (with("@every 1s", &skip(1)), 10_001, 10_001, "s1-10000(10000) c10001"),
        (with("@every 1s", &skip(1)), 10_002, 10_002, "s1-10001(10000+) c10002"),
    ] {
        let mut office = Office::new();
        office.put(&spec, 0);
        office.lead(live);
        let what = format!("{} {:?} from {live} at {now}", spec.schedule, spec.catchup);
        assert_eq!(office.fire(now), said, "{what}");
        assert_eq!(office.fire(now), "", "{} is decided once", spec.schedule);
    }
}

#[test]
fn what_is_proposed_is_not_proposed_again_before_it_is_applied() {
    let mut office = Office::new();
    let id = office.put(&spec("@every 10s"), 0);
    office.lead(0);
    let first = office.scheduler.poll(&office.state, at(10));
    assert_eq!(first.len(), 1);
    office.scheduler.proposed(id, Index(office.state.applied().0 + 1));
    assert!(office.scheduler.is_in_flight(id));
    assert!(office.scheduler.poll(&office.state, at(25)).is_empty());
    assert_eq!(office.scheduler.settle(&office.state, id, at(25)), Decision::default());
    office.scheduler.zones_changed(&office.state, &Utc);
    assert!(office.scheduler.poll(&office.state, at(25)).is_empty(), "nor after new zones");
    let record = first[0].1[0].clone();
    office.apply(record, at(10));
    let index = office.state.applied();
    office.scheduler.applied(&office.state, id, index);
    assert_eq!(office.fire(25), "c20");
}

#[test]
fn many_claims_and_many_jobs_are_decided_in_parts() {
    let mut office = Office::new();
    let mut all = spec("@every 1s");
    (all.catchup, all.catchup_max) = (Catchup::All, 500);
    let id = office.put(&all, 0);
    office.lead(250);
    assert!(office.scheduler.settle(&office.state, id, at(250)).more);
    for (count, first) in
        [(CLAIMS_PER_DECISION, "u1 "), (CLAIMS_PER_DECISION, "u101 "), (50, "u201 ")]
    {
        let said = office.fire(250);
        assert!(said.starts_with(first), "{said}");
        assert_eq!(said.split(' ').count(), count);
    }
    assert!(!office.scheduler.settle(&office.state, id, at(250)).more);

    let mut office = Office::new();
    for number in 0..JOBS_PER_POLL + 44 {
        let named = Spec { name: format!("j{number}"), ..spec("@every 10s") };
        office.put(&named, 0);
    }
    office.lead(0);
    for count in [JOBS_PER_POLL, 44] {
        assert_eq!(office.fire(10).split(' ').count(), count);
    }
    assert_eq!(office.fire(10), "");
}

#[test]
fn a_void_record_is_followed_by_another_decision() {
    let mut office = Office::new();
    let id = office.put(&spec("@every 10s"), 0);
    office.lead(0);
    let first = office.scheduler.poll(&office.state, at(10));
    office.scheduler.proposed(id, Index(office.state.applied().0 + 2));
    // An edit gets before the claim, which names the old version.
    office.put(&spec("@every 10s"), 0);
    let change = office.apply(first[0].1[0].clone(), at(10));
    assert_eq!(change, Change::Void(Some(id)));
    let index = office.state.applied();
    office.scheduler.applied(&office.state, id, index);
    assert_eq!(office.fire(10), "c10");
}

#[test]
fn marks_and_corrections_of_the_clock() {
    let mut office = Office::new();
    let id = office.put(&spec("@every 10s"), 0);
    let later = Spec { name: "later".into(), ..spec("@every 10s") };
    let later = Spec { starts_at: Some(Second(BEGIN + 600).wall()), ..later };
    let waiting = office.put(&later, 599);
    office.lead(0);
    let decided = |office: &Office, id| {
        let job = office.state.job(id).unwrap();
        office.scheduler.decided_until(job).map(|second| second.0 - BEGIN)
    };
    assert_eq!((decided(&office, id), decided(&office, waiting)), (Some(0), None));
    assert_eq!(office.fire(20), "c10 c20");
    // A small step back: quiet until the mark is passed.
    office.scheduler.clock_jumped(&office.state, at(5));
    assert_eq!(office.fire(15), "");
    assert_eq!(office.fire(30), "c30");
    // A correction: due anew, but nothing before its start.
    office.apply(Record::ClockCorrected { to: Second(BEGIN - 36_000) }, at(-36_000));
    office.scheduler.clock_jumped(&office.state, at(-36_000));
    assert_eq!(office.fire(10), "c10");
    assert_eq!(office.fire(599), "s20-580(57) c590");
    assert_eq!(office.fire(600), "c600 c600");
}

#[test]
fn stale_alarms_do_not_pile_up() {
    let mut office = Office::new();
    let id = office.put(&spec("@yearly"), 0);
    office.lead(0);
    for _ in 0..10_000 {
        let index = office.state.applied();
        office.scheduler.applied(&office.state, id, index);
    }
    assert!(office.scheduler.alarms.len() <= 2 + 64 + 1, "{}", office.scheduler.alarms.len());
    assert!(office.scheduler.next_alarm().is_some());
}

#[test]
fn the_newest_due_time_is_found_as_by_looking_at_each() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let text = random_schedule(&mut rng);
        let schedule = cron::parse(&text).unwrap().schedule;
        let zone = Zone::utc();
        let place = Place { zone: &zone, name: "job", anchor: Second(BEGIN) };
        let timeline =
            Timeline { schedule: &schedule, place, starts: None, expires: None, gap: None };
        let mark = Second(BEGIN + rng.below(1_000) as i64);
        let limit = mark.plus(rng.below(4_000) as i64);
        let Some(first) = timeline.next_after(mark).filter(|&first| first <= limit) else {
            continue;
        };
        let mut newest = first;
        while let Some(next) = timeline.next_after(newest).filter(|&next| next <= limit) {
            newest = next;
        }
        assert_eq!(newest_up_to(&timeline, first, limit), newest, "seed {seed}: {text}");
    }
}

#[test]
fn every_due_time_is_decided_once_and_in_order() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut made = spec(&random_schedule(&mut rng));
        made.catchup = [Catchup::Latest, Catchup::All, Catchup::Skip][rng.below(3) as usize];
        made.catchup_max = 1 + rng.below(300);
        made.catchup_window = rng.chance(1, 2).then(|| Duration::from_secs(1 + rng.below(500)));
        made.start_deadline = Duration::from_secs(1 + rng.below(100));
        let mut office = Office::new();
        let id = office.put(&made, 0);
        office.lead(0);
        let schedule = cron::parse(&made.schedule).unwrap().schedule;
        let zone = Zone::utc();
        let place = Place { zone: &zone, name: "job", anchor: Second(BEGIN) };
        let mut now = 0;
        let mut mark = Second(BEGIN);
        for _ in 0..40 {
            let most = if rng.chance(1, 8) { 9_000 } else { 30 };
            now += rng.below(most) as i64;
            if rng.chance(1, 10) {
                office.lead(now);
            }
            for piece in office.fire(now).split(' ').filter(|piece| !piece.is_empty()) {
                let numbers: Vec<i64> = piece[1..]
                    .split(['-', '(', '+', ')'])
                    .filter_map(|number| number.parse().ok())
                    .collect();
                let next = schedule.next_after(mark, &place).unwrap();
                assert_eq!(next.0 - BEGIN, numbers[0], "seed {seed}: {piece} at {now}");
                if let [_, until, count] = numbers[..] {
                    let (mut at, mut counted) = (next, 1);
                    while at.0 - BEGIN < until {
                        at = schedule.next_after(at, &place).unwrap();
                        counted += 1;
                    }
                    assert_eq!((at.0 - BEGIN, counted), (until, count), "seed {seed}: {piece}");
                }
                mark = Second(BEGIN + numbers.get(1).unwrap_or(&numbers[0]));
            }
            assert_eq!(mark, office.state.job(id).unwrap().decided_until, "seed {seed}");
        }
        while !office.fire(now).is_empty() {}
        let mark = office.state.job(id).unwrap().decided_until;
        let owed = schedule.next_after(mark, &place).filter(|due| due.0 <= BEGIN + now);
        assert_eq!(owed, None, "seed {seed}: {} leaves something owed", made.schedule);
    }
}

fn random_schedule(rng: &mut Rng) -> String {
    match rng.below(6) {
        0 => format!("@every {}s", 1 + rng.below(100)),
        1 => format!("*/{} * * * * *", 1 + rng.below(59)),
        2 => format!("{} */{} * * * *", rng.below(60), 1 + rng.below(59)),
        3 => "~ * * * * *".into(),
        4 => format!("{0} {0} * * * *", rng.below(60)),
        _ => "* * * * *".into(),
    }
}

#[test]
fn what_is_given_up_is_never_decided_again() {
    let disabled = Spec { disabled: true, ..spec("@every 10s") };
    let nowhere = Spec { timezone: "Mars/Base".into(), ..spec("@every 10s") };
    for (what, spec, given_up, then) in [
        ("what is owed", spec("@every 10s"), "s10-90(9)", "c100"),
        ("nothing is owed", spec("@every 200s"), "", ""),
        ("it owes nothing", disabled, "", ""),
        ("nobody can name what it owes", nowhere, "s95-95(0+)", ""),
    ] {
        let mut office = Office::new();
        office.put(&spec, 0);
        office.lead(95);
        let records =
            office.scheduler.give_up(&office.state, at(95).wall.second(), SkipReason::Lost);
        let said: Vec<String> = records.iter().map(show).collect();
        assert_eq!(said.join(" "), given_up, "{what}");
        for record in records {
            let change = office.apply(record, at(95));
            assert!(matches!(change, Change::Skipped(_)), "{what}: {change:?}");
        }
        office.lead(95);
        assert_eq!(office.fire(95), "", "{what}");
        assert_eq!(office.fire(100), then, "{what}");
    }
}

/// What one job's question has shown of a schedule answers the next job's, and always rightly.
#[test]
fn what_is_known_of_a_gap_gives_the_due_times_of_the_schedule() {
    for text in [
        "* * * * * *",
        "0 */7 * * * *",
        "0 30 4 * * MON",
        "0 0 0 29 2 *",
        "@at 2026-06-02T00:00:00Z",
    ] {
        let schedule = cron::parse(text).unwrap().schedule;
        let zone = Zone::utc();
        let gap = Cell::new(None);
        let rng = &mut Rng::new(5);
        let mut after = Second(BEGIN);
        for _ in 0..500 {
            let place = Place { zone: &zone, name: "job", anchor: Second(0) };
            let wanted = schedule.next_after(after, &place);
            let timeline = Timeline {
                schedule: &schedule,
                place,
                starts: None,
                expires: None,
                gap: Some(&gap),
            };
            assert_eq!(timeline.next_after(after), wanted, "{text} after {}", after.0);
            after = match (rng.below(3), wanted) {
                (0, Some(due)) => due,
                (1, Some(due)) => due.plus(-1 - rng.below(3) as i64),
                _ => Second(BEGIN + rng.below(200_000) as i64 - 100_000),
            };
        }
    }
}
