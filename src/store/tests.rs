//! What records do, told as conversations; and random histories, which must come out the same
//! whether they are applied, applied again, or carried over by a snapshot in their midst.

mod backups;
mod chains;
mod purity;
mod restores;
mod retries;

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::*;
use crate::ident::{Boot, ClusterId, StoreId};
use crate::rng::Rng;
use crate::time::Wall;

// ---- conversations ----

/// A state under test; the record at index i carries the wall time of second 100 + i.
#[derive(Default)]
struct World {
    state: State,
}

impl World {
    fn apply(&mut self, record: Record) -> Change {
        let index = Index(self.state.applied().0 + 1);
        let wall = Second(100 + index.0 as i64).wall();
        let actor = "test".to_owned();
        let change = self.state.apply(Entry { index, epoch: Epoch(1), wall, actor, record });
        self.state.check();
        change
    }

    /// Does what one line of a conversation asks, and says what came of it.
    fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "show" => return self.show(JobId(words[1].parse().unwrap())),
            "open" => return self.open(),
            _ => {}
        }
        let record = self.record(&words);
        match self.apply(record) {
            Change::EpochStarted(leader) => format!("led by {}", leader.get()),
            Change::Members => "members".into(),
            Change::JobPut(job) => format!("put {job}"),
            Change::JobDeleted(job) => format!("deleted {job}"),
            Change::Claimed(job, group) => format!("claimed {job} as {group}"),
            Change::Ended(job, run) => format!("ended {job} {}.{}", run.group, run.node.get()),
            Change::Retried(job, run) => {
                format!("retried {job} {}.{}.{}", run.group, run.node.get(), run.attempt)
            }
            Change::Skipped(job) => format!("skipped {job}"),
            Change::ClockCorrected => "corrected".into(),
            Change::Checkpoint => "checkpoint".into(),
            Change::Staged => "staged".into(),
            Change::Restored(jobs) => {
                let one = |(name, id, how): (Rc<str>, JobId, Restored)| match how {
                    Restored::Created => format!("+{name}:{id}"),
                    Restored::Replaced => format!("={name}:{id}"),
                    Restored::Removed => format!("-{name}:{id}"),
                };
                let all: Vec<String> = jobs.into_iter().map(one).collect();
                format!("restored {}", all.join(" "))
            }
            Change::Void(job) => job.map_or("void".into(), |job| format!("void {job}")),
        }
    }

    fn record(&self, words: &[&str]) -> Record {
        let flag = |name: &str| words.contains(&name);
        let value =
            |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let number = |name: &str| value(name).map(|text| text.parse::<i64>().unwrap());
        let job = || JobId(words[1].parse().unwrap());
        match words[0] {
            "lead" => Record::EpochStart { leader: node(words[1].parse().unwrap()) },
            "vote" => Record::Config(Servers::of(ClusterId(5), nodes(words[1]))),
            "node" => {
                let store = StoreId(number("store").unwrap_or(9).unsigned_abs());
                Record::Node(Member { store, ..member(words[1].parse().unwrap(), words[2]) })
            }
            "put" => Record::JobPut(JobPut {
                name: words[1].to_owned(),
                spec: line_bytes(words),
                timing: Timing {
                    starts: number("starts").map(Second),
                    expires: number("expires").map(Second),
                    parent: value("after").unwrap_or_default().into(),
                    ..timing(value("every").unwrap_or("minute"))
                },
                facts: Facts {
                    disabled: flag("off"),
                    forbid: flag("forbid"),
                    per_node: flag("each"),
                    keep: number("keep").unwrap_or(100) as u16,
                    retries: number("retries").unwrap_or(0) as u8,
                    idempotent: flag("idempotent"),
                },
                mark: number("mark").map(Second),
                anchor: number("anchor").map(Second),
            }),
            // `part put a` stages a job as `put a` would store it.
            "part" => {
                let Record::JobPut(put) = self.record(&words[1..]) else { panic!("no put") };
                let wall = |name: &str| number(name).map(|second| Second(second).wall());
                let counts = Counts {
                    success_count: number("good").unwrap_or(0) as u64,
                    ..Counts::default()
                };
                Record::RestorePart(Box::new(RestorePart {
                    restore: number("of").unwrap_or(1) as u64,
                    put,
                    counts,
                    created: wall("created"),
                    updated: wall("updated"),
                }))
            }
            "restore" => Record::RestoreCommit(RestoreCommit {
                restore: number("of").unwrap_or(1) as u64,
                jobs: words[1].parse().ok(),
                replace: flag("replace"),
            }),
            "delete" => Record::JobDelete { job: job() },
            "claim" => Record::Claim(Claim {
                job: job(),
                version: number("version").map_or_else(
                    || self.state.job(job()).map_or(0, |job| job.version),
                    |version| version as u64,
                ),
                due: number("due").map(Second),
                clock_era: number("era").map_or(self.state.clock_era(), |era| era as u32),
                trigger: match number("for") {
                    Some(_) => Trigger::Parent,
                    None if flag("hand") => Trigger::Manual,
                    None => Trigger::Schedule,
                },
                targets: nodes(value("on").unwrap_or("1")),
                parent: number("for").map(|end| Index(end as u64)),
            }),
            "end" => Record::Finished(Finished {
                run: run_id(words[1]),
                ending: ending(end_named(words[2]), self.state.applied().0 as i64),
                tail: vec![b'x'; number("tail").unwrap_or(0) as usize],
            }),
            "retry" => Record::Retry(Retry {
                run: run_id(words[1]),
                node: node(number("on").unwrap() as u32),
                not_before: Second(900).wall(),
            }),
            "skip" => Record::Skip(Skip {
                job: job(),
                clock_era: number("era").map_or(self.state.clock_era(), |era| era as u32),
                after: Second(number("after").unwrap_or(0)),
                until: Second(number("until").unwrap_or(0)),
                first: Second(number("after").unwrap_or(0) + 1),
                count: number("count").unwrap_or(1) as u32,
                more: false,
                reason: match flag("lost") {
                    true => SkipReason::Lost,
                    false => SkipReason::WindowPassed,
                },
                parent: number("for").map(|end| Index(end as u64)),
            }),
            "back" => Record::ClockCorrected { to: Second(words[1].parse().unwrap()) },
            other => panic!("no such step: {other}"),
        }
    }

    /// A job as one line: mark, succeeded/failed/missed, status, fires with their runs.
    fn show(&self, id: JobId) -> String {
        let Some(job) = self.state.job_or_deleted(id) else { return "gone".into() };
        let mut out = match self.state.job(id) {
            Some(_) => format!("mark {}", job.decided_until.0),
            None => "deleted".into(),
        };
        let Counts { success_count, error_count, missed_count, status, .. } = job.counts();
        write!(out, ", {success_count}/{error_count}/{missed_count}, {status:?}").unwrap();
        let mut group = None;
        for Execution { group: of, run, .. } in job.executions() {
            if group.replace(of) != Some(of) {
                write!(out, ", {of}:").unwrap();
            }
            let state = match run.state {
                RunState::Open => "open",
                RunState::Ended(ending) => ending.end.name(),
            };
            write!(out, " {} {state}", run.node.get()).unwrap();
            if run.attempt > 1 {
                write!(out, " at {}", run.attempt).unwrap();
            }
        }
        match job.skips().count() {
            0 => out,
            count => format!("{out}, {count} skips"),
        }
    }

    fn open(&self) -> String {
        let runs = self.state.open_runs();
        let runs: Vec<String> =
            runs.map(|(run, job)| format!("{job}:{}.{}", run.group, run.node.get())).collect();
        runs.join(" ")
    }
}

#[track_caller]
fn check(title: &str, conversation: &[(&str, &str)]) {
    let mut world = World::default();
    for (line, answer) in conversation {
        assert_eq!(&world.line(line), answer, "{title}: {line}");
    }
}

fn node(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

fn nodes(list: &str) -> Vec<NodeId> {
    list.split(',').map(|number| node(number.parse().unwrap())).collect()
}

/// `7.2` is the first attempt of claim 7 on node 2, `7.2.3` the third.
fn run_id(text: &str) -> RunId {
    let mut numbers = text.split('.').map(|number| number.parse::<u32>().unwrap());
    let (group, target) = (numbers.next().unwrap(), numbers.next().unwrap());
    let attempt = numbers.next().unwrap_or(1);
    RunId { group: Index(group.into()), node: node(target), attempt }
}

fn timing(schedule: &str) -> Timing {
    Timing { schedule: schedule.into(), ..Timing::default() }
}

fn line_bytes(words: &[&str]) -> Vec<u8> {
    words.join(" ").into_bytes()
}

fn member(id: u32, name: &str) -> Member {
    Member {
        id: node(id),
        store: StoreId(9),
        boot: Boot(1),
        name: name.to_owned(),
        address: "192.0.2.1:7946".into(),
        server: true,
        work: true,
        tags: vec![("role".into(), "web".into())],
        state: MemberState::Registered,
    }
}

fn ending(end: End, second: i64) -> Ending {
    Ending {
        end,
        reason: None,
        exit_code: (end == End::Succeeded).then_some(0),
        signal: None,
        started: Second(second).wall(),
        finished: Second(second + 1).wall(),
        duration_ms: 1_000,
        cpu_ms: 10,
        max_rss_bytes: 1 << 20,
        output_bytes: 0,
    }
}

const ENDS: [End; 7] =
    [End::Succeeded, End::Failed, End::Killed, End::TimedOut, End::Lost, End::Skipped, End::Missed];

fn end_named(name: &str) -> End {
    ENDS.into_iter().find(|end| end.name() == name).unwrap()
}

#[test]
fn a_put_creates_then_replaces_and_moves_the_mark_only_when_it_says_so() {
    check(
        "create, edit, enable",
        &[
            ("put a", "put 1"),
            ("show 1", "mark 101, 0/0/0, Untriggered"),
            ("put b mark=7", "put 2"),
            ("show 2", "mark 7, 0/0/0, Untriggered"),
            ("claim 1 due=500", "claimed 1 as 3"),
            ("put a keep=5", "put 1"),
            ("show 1", "mark 500, 0/0/0, Untriggered, 3: 1 open"),
            ("put a mark=900", "put 1"),
            ("show 1", "mark 900, 0/0/0, Untriggered, 3: 1 open"),
        ],
    );
    let mut world = World::default();
    world.line("put a");
    world.line("put a anchor=5 off");
    let job = world.state.job_named("a").unwrap();
    assert_eq!((job.id, job.version, job.anchor), (JobId(1), 2, Second(5)));
    assert_eq!((job.created, job.updated), (Second(101).wall(), Second(102).wall()));
    assert!(job.facts.disabled);
}

#[test]
fn cluster_records_change_what_they_name() {
    let mut world = World::default();
    for (line, answer) in [
        ("lead 3", "led by 3"),
        ("vote 1,2,3", "members"),
        ("node 2 two", "members"),
        ("node 1 one", "members"),
        ("node 2 zwei", "members"),
    ] {
        assert_eq!(world.line(line), answer, "{line}");
    }
    assert_eq!(*world.state.servers(), Servers::of(ClusterId(5), nodes("1,2,3")));
    let names: Vec<&str> = world.state.members().map(|member| &*member.name).collect();
    assert_eq!(names, ["one", "zwei"]);
    assert_eq!(world.state.member(node(3)), None);
    assert_eq!(world.state.newest_wall(), Second(105).wall());
}

#[test]
fn a_claim_that_no_longer_applies_changes_nothing() {
    check(
        "void claims",
        &[
            ("claim 1 due=500", "void 1"),
            ("put a", "put 2"),
            ("claim 2 due=102", "void 2"),
            ("claim 2 due=103 version=1", "void 2"),
            ("claim 2 due=103 era=1", "void 2"),
            ("claim 2 hand version=1", "void 2"),
            ("show 2", "mark 102, 0/0/0, Untriggered"),
            ("claim 2 due=103", "claimed 2 as 7"),
            ("claim 2 due=103", "void 2"),
            ("claim 2 hand", "claimed 2 as 9"),
            ("show 2", "mark 103, 0/0/0, Untriggered, 7: 1 open, 9: 1 open"),
            ("put a", "put 2"),
            ("claim 2 due=104 version=2", "void 2"),
            ("delete 2", "deleted 2"),
            ("claim 2 due=900 version=10", "void 2"),
            ("open", "2:7.1 2:9.1"),
        ],
    );
}

#[test]
fn an_ended_run_never_ends_again() {
    check(
        "void ends",
        &[
            ("put a", "put 1"),
            ("claim 1 due=500 on=1,2", "claimed 1 as 2"),
            ("end 2.3 failed", "void"),
            ("end 9.1 failed", "void"),
            ("end 2.1 succeeded tail=3", "ended 1 2.1"),
            ("end 2.1 failed tail=9", "void"),
            ("show 1", "mark 500, 1/0/0, Untriggered, 2: 1 succeeded 2 open"),
            ("open", "1:2.2"),
        ],
    );
}

#[test]
fn a_skip_moves_the_mark_from_where_it_says_it_is() {
    check(
        "skips",
        &[
            ("skip 1 after=1 until=2", "void 1"),
            ("put a mark=500", "put 2"),
            ("skip 2 after=499 until=600", "void 2"),
            ("skip 2 after=501 until=600", "void 2"),
            ("skip 2 after=500 until=600 era=1", "void 2"),
            ("skip 2 after=500 until=500", "void 2"),
            ("skip 2 after=500 until=400", "void 2"),
            ("show 2", "mark 500, 0/0/0, Untriggered"),
            ("skip 2 after=500 until=600 count=7", "skipped 2"),
            ("show 2", "mark 600, 0/0/7, Untriggered, 1 skips"),
            ("skip 2 after=500 until=600", "void 2"),
            ("claim 2 due=600", "void 2"),
            ("claim 2 due=601", "claimed 2 as 11"),
            ("skip 2 after=601 until=700 count=3 lost", "skipped 2"),
            ("show 2", "mark 700, 0/3/7, Untriggered, 11: 1 open, 2 skips"),
        ],
    );
}

#[test]
fn runs_of_a_node_that_came_back_with_another_directory_are_lost() {
    check(
        "another directory",
        &[
            ("node 1 a", "members"),
            ("node 2 b", "members"),
            ("put a mark=500", "put 3"),
            ("claim 3 due=600 on=1,2", "claimed 3 as 4"),
            ("node 1 a", "members"),
            ("open", "3:4.1 3:4.2"),
            ("node 1 a store=10", "members"),
            ("open", "3:4.2"),
            ("end 4.1 succeeded", "void"),
            ("delete 3", "deleted 3"),
            ("node 2 b store=10", "members"),
            ("open", ""),
        ],
    );
}

#[test]
fn a_job_keeps_its_newest_hundred_skips() {
    let mut world = World::default();
    world.line("put a mark=1000");
    for mark in 1000..1000 + SKIPS_KEPT as i64 + 1 {
        assert_eq!(world.line(&format!("skip 1 after={mark} until={}", mark + 1)), "skipped 1");
    }
    let job = world.state.job(JobId(1)).unwrap();
    assert_eq!(job.skips().count(), SKIPS_KEPT);
    assert_eq!(job.skips().next().unwrap().2.after, Second(1001), "the oldest goes");
    assert_eq!(job.counts().missed_count, SKIPS_KEPT as u64 + 1, "and stays counted");
}

const SKIPS_KEPT: usize = 100;

#[test]
fn deleting_keeps_what_runs_and_a_name_made_anew_is_another_job() {
    check(
        "delete",
        &[
            ("put a", "put 1"),
            ("claim 1 due=500 on=1,2", "claimed 1 as 2"),
            ("end 2.1 succeeded tail=4", "ended 1 2.1"),
            ("delete 1", "deleted 1"),
            ("delete 1", "void 1"),
            ("show 1", "deleted, 1/0/0, Untriggered, 2: 1 succeeded 2 open"),
            ("skip 1 after=500 until=600", "void 1"),
            ("put a", "put 7"),
            ("show 7", "mark 107, 0/0/0, Untriggered"),
            ("open", "1:2.2"),
            ("end 2.2 failed tail=4", "ended 1 2.2"),
            ("show 1", "gone"),
            ("show 7", "mark 107, 0/0/0, Untriggered"),
            ("delete 7", "deleted 7"),
            ("show 7", "gone"),
        ],
    );
}

#[test]
fn a_deleted_job_waits_for_its_last_run_whatever_it_keeps() {
    check(
        "delete with two fires and keep 0",
        &[
            ("put a keep=0", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("claim 1 due=501", "claimed 1 as 3"),
            ("delete 1", "deleted 1"),
            ("end 2.1 failed", "ended 1 2.1"),
            ("show 1", "deleted, 0/1/0, Failed, 3: 1 open"),
            ("end 3.1 failed", "ended 1 3.1"),
            ("show 1", "gone"),
        ],
    );
}

#[test]
fn forbid_skips_what_overlaps_over_the_job_or_on_each_node() {
    check(
        "over the job",
        &[
            ("put a forbid", "put 1"),
            ("claim 1 due=500 on=1,2", "claimed 1 as 2"),
            ("claim 1 due=501 on=3", "claimed 1 as 3"),
            ("show 1", "mark 501, 0/0/1, Untriggered, 2: 1 open 2 open, 3: 3 skipped"),
            ("end 2.1 succeeded", "ended 1 2.1"),
            ("claim 1 due=502 on=1", "claimed 1 as 5"),
            ("end 2.2 succeeded", "ended 1 2.2"),
            ("claim 1 due=503 on=1", "claimed 1 as 7"),
            ("open", "1:7.1"),
        ],
    );
    check(
        "on each node",
        &[
            ("put a forbid each", "put 1"),
            ("claim 1 due=500 on=1,2", "claimed 1 as 2"),
            ("end 2.1 succeeded", "ended 1 2.1"),
            ("claim 1 due=501 on=1,2,3", "claimed 1 as 4"),
            ("open", "1:2.2 1:4.1 1:4.3"),
            ("claim 1 due=502 on=1,2,3", "claimed 1 as 5"),
            (
                "show 1",
                "mark 502, 1/0/4, Untriggered, 2: 1 succeeded 2 open, \
                 4: 1 open 2 skipped 3 open, 5: 1 skipped 2 skipped 3 skipped",
            ),
        ],
    );
    check(
        "allowed, until an edit forbids it",
        &[
            ("put a", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("claim 1 due=501", "claimed 1 as 3"),
            ("put a forbid", "put 1"),
            ("claim 1 due=502", "claimed 1 as 5"),
            ("open", "1:2.1 1:3.1"),
        ],
    );
}

#[test]
fn an_open_fire_keeps_the_definition_it_was_claimed_with() {
    let mut world = World::default();
    world.line("put a");
    world.line("claim 1 due=500 on=1,2");
    world.line("put a keep=7");
    let spec = |world: &World| {
        world.state.fire(JobId(1), Index(2)).map(|fire| String::from_utf8_lossy(&fire.spec).into())
    };
    assert_eq!(spec(&world), Some("put a".to_owned()));
    world.line("end 2.1 succeeded");
    assert_eq!(spec(&world), Some("put a".to_owned()));
    world.line("end 2.2 succeeded");
    assert_eq!(spec(&world), None, "nothing runs it any more");
}

#[test]
fn the_oldest_ended_fires_are_trimmed_and_an_open_one_never() {
    check(
        "keep 2",
        &[
            ("put a keep=2", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("claim 1 due=501", "claimed 1 as 3"),
            ("claim 1 due=502", "claimed 1 as 4"),
            ("claim 1 due=503", "claimed 1 as 5"),
            ("end 3.1 succeeded tail=1", "ended 1 3.1"),
            ("end 4.1 succeeded tail=1", "ended 1 4.1"),
            ("end 5.1 succeeded tail=1", "ended 1 5.1"),
            ("show 1", "mark 503, 3/0/0, Success, 2: 1 open, 4: 1 succeeded, 5: 1 succeeded"),
            ("end 2.1 failed", "ended 1 2.1"),
            ("show 1", "mark 503, 3/1/0, Success, 4: 1 succeeded, 5: 1 succeeded"),
            ("put a keep=1", "put 1"),
            ("show 1", "mark 503, 3/1/0, Success, 5: 1 succeeded"),
        ],
    );
    check(
        "keep 0",
        &[
            ("put a keep=0", "put 1"),
            ("claim 1 due=500 on=1,2", "claimed 1 as 2"),
            ("end 2.2 succeeded tail=1", "ended 1 2.2"),
            ("show 1", "mark 500, 1/0/0, Untriggered, 2: 1 open 2 succeeded"),
            ("end 2.1 succeeded tail=1", "ended 1 2.1"),
            ("show 1", "mark 500, 2/0/0, Success"),
        ],
    );
}

#[test]
fn a_job_keeps_ten_thousand_ended_runs_whatever_it_asks_for_and_is_running() {
    let mut world = World::default();
    world.line("put a keep=65535");
    let all: Vec<String> = (1..=1_000).map(|number| number.to_string()).collect();
    let all = all.join(",");
    let claim = |world: &mut World| world.line(&format!("claim 1 hand on={all}"));
    let open_runs = 12_000;
    for _ in 0..open_runs / 1_000 {
        claim(&mut world);
    }
    // While those are open, eleven more fires of a thousand runs each end at once.
    world.line("put a keep=65535 forbid");
    let first = world.state.applied().0 + 1;
    for _ in 0..11 {
        claim(&mut world);
    }
    let job = world.state.job(JobId(1)).unwrap();
    let is_open = |one: &Execution| one.run.state == RunState::Open;
    let ended = job.executions().filter(|one| !is_open(one)).map(|one| one.group.0);
    let mut ended: Vec<u64> = ended.collect();
    ended.dedup();
    assert_eq!(ended, (first + 1..first + 11).collect::<Vec<_>>(), "the oldest of them went");
    assert_eq!(world.state.open_runs().len(), open_runs);
}

#[test]
fn each_end_is_counted_and_timed() {
    for (end, counts, status) in [
        (End::Succeeded, "1/0/0", "Success"),
        (End::Failed, "0/1/0", "Failed"),
        (End::Killed, "0/1/0", "Failed"),
        (End::TimedOut, "0/1/0", "Failed"),
        (End::Lost, "0/1/0", "Failed"),
        (End::Skipped, "0/0/1", "Untriggered"),
        (End::Missed, "0/0/1", "Untriggered"),
    ] {
        let name = end.name();
        let shown = format!("mark 500, {counts}, {status}, 2: 1 {name}");
        let finished = format!("end 2.1 {name}");
        let mut world = World::default();
        for line in ["put a", "claim 1 due=500", &finished] {
            world.line(line);
        }
        assert_eq!(world.line("show 1"), shown);
        let job = world.state.job(JobId(1)).unwrap();
        let at = Some(Second(3).wall());
        let times = match (end.may_have_started(), end == End::Succeeded) {
            (false, _) => (None, None),
            (true, true) => (at, None),
            (true, false) => (None, at),
        };
        let counts = job.counts();
        assert_eq!((counts.last_success, counts.last_error), times, "{name}");
    }
}

#[test]
fn counts_stop_at_their_end() {
    let mut world = World::default();
    world.line("put a mark=500");
    world.line("claim 1 due=501 on=1,2,3");
    let job = world.state.jobs.get_mut(&JobId(1)).unwrap();
    let counts = &mut job.past_mut().counts;
    (counts.success_count, counts.error_count, counts.missed_count) =
        (u64::MAX, u64::MAX, u64::MAX);
    for line in ["end 2.1 failed", "end 2.2 succeeded", "end 2.3 missed"] {
        world.line(line);
    }
    assert_eq!(world.line("skip 1 after=501 until=502"), "skipped 1");
    let job = world.state.job(JobId(1)).unwrap();
    let Counts { success_count, error_count, missed_count, .. } = job.counts();
    assert_eq!([success_count, error_count, missed_count], [u64::MAX; 3]);
}

#[test]
fn two_targets_make_one_verdict() {
    for (one, two, status) in [
        ("succeeded", "succeeded", "Success"),
        ("succeeded", "failed", "PartiallyFailed"),
        ("lost", "succeeded", "PartiallyFailed"),
        ("failed", "timed_out", "Failed"),
        ("succeeded", "missed", "Success"),
        ("skipped", "killed", "Failed"),
        ("skipped", "missed", "Untriggered"),
    ] {
        let mut world = World::default();
        world.line("put a");
        world.line("claim 1 due=500 on=1,2");
        world.line(&format!("end 2.1 {one}"));
        let status_now =
            |world: &World| format!("{:?}", world.state.job(JobId(1)).unwrap().counts().status);
        assert_eq!(status_now(&world), "Untriggered", "{one}, and the other is open");
        world.line(&format!("end 2.2 {two}"));
        assert_eq!(status_now(&world), status, "{one} and {two}");
    }
}

#[test]
fn the_newest_ended_fire_is_the_one_that_speaks() {
    check(
        "ends out of order",
        &[
            ("put a", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("claim 1 due=501", "claimed 1 as 3"),
            ("end 3.1 failed", "ended 1 3.1"),
            ("end 2.1 succeeded", "ended 1 2.1"),
            ("show 1", "mark 501, 1/1/0, Failed, 2: 1 succeeded, 3: 1 failed"),
        ],
    );
}

#[test]
fn a_fire_that_never_started_says_nothing_of_the_job() {
    check(
        "the first run fails after the second was skipped for it",
        &[
            ("put a forbid", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("claim 1 due=501", "claimed 1 as 3"),
            ("end 2.1 failed", "ended 1 2.1"),
            ("show 1", "mark 501, 0/1/1, Failed, 2: 1 failed, 3: 1 skipped"),
        ],
    );
    check(
        "the newer fire has ended and is no longer kept",
        &[
            ("put a keep=0", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("claim 1 due=501", "claimed 1 as 3"),
            ("end 3.1 failed", "ended 1 3.1"),
            ("end 2.1 succeeded", "ended 1 2.1"),
            ("show 1", "mark 501, 1/1/0, Failed"),
        ],
    );
}

#[test]
fn a_corrected_clock_lowers_marks_and_voids_what_was_computed_before_it() {
    check(
        "clock",
        &[
            ("put a mark=5000", "put 1"),
            ("put b mark=20", "put 2"),
            ("back 1000", "corrected"),
            ("show 1", "mark 1000, 0/0/0, Untriggered"),
            ("show 2", "mark 20, 0/0/0, Untriggered"),
            ("claim 1 due=1001 era=0", "void 1"),
            ("skip 1 after=1000 until=1001 era=0", "void 1"),
            ("claim 1 due=1001", "claimed 1 as 6"),
        ],
    );
    let mut world = World::default();
    world.line("back 50");
    assert_eq!(world.state.newest_wall(), Wall(50_000), "the times before were never real");
}

// ---- bytes of records ----

fn any_text(rng: &mut Rng, longest: u64) -> String {
    let length = rng.below(longest + 1);
    (0..length).map(|_| char::from(b' ' + rng.below(95) as u8)).collect()
}

fn any_bytes(rng: &mut Rng, longest: u64) -> Vec<u8> {
    let length = rng.below(longest + 1);
    (0..length).map(|_| rng.next_u64() as u8).collect()
}

/// Now and then an extreme, else any number.
fn any_number(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => [0, 1, u64::MAX, 1 << 63][rng.below(4) as usize],
        1 => rng.below(1_000),
        _ => rng.next_u64(),
    }
}

fn any_second(rng: &mut Rng) -> Second {
    Second(any_number(rng) as i64)
}

fn any_node(rng: &mut Rng) -> NodeId {
    node((any_number(rng) as u32).max(1))
}

fn any_nodes(rng: &mut Rng) -> Vec<NodeId> {
    let set: BTreeSet<NodeId> = (0..rng.below(8)).map(|_| any_node(rng)).collect();
    set.into_iter().collect()
}

fn any<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

fn maybe<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.chance(1, 2).then(|| make(rng))
}

fn any_ending(rng: &mut Rng) -> Ending {
    let reasons = [
        Reason::DeadlinePassed,
        Reason::Overlap,
        Reason::StartFailed(rng.next_u64() as u8, rng.next_u64() as i32),
        Reason::LauncherGone,
        Reason::Untraceable,
        Reason::StoreReplaced,
        Reason::Unreachable,
        Reason::JobDeleted,
    ];
    let reason = maybe(rng, |rng| any(rng, &reasons));
    let number = (!matches!(reason, Some(Reason::StartFailed(..)))).then(|| rng.next_u64() as i32);
    let by_signal = rng.chance(1, 2);
    Ending {
        end: any(rng, &ENDS),
        reason,
        exit_code: number.filter(|_| !by_signal),
        signal: number.filter(|_| by_signal),
        started: Wall(any_number(rng) as i64),
        finished: Wall(any_number(rng) as i64),
        duration_ms: any_number(rng),
        cpu_ms: any_number(rng),
        max_rss_bytes: any_number(rng),
        output_bytes: any_number(rng),
    }
}

const KINDS: [u8; 14] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];

const SKIP_REASONS: [SkipReason; 5] = [
    SkipReason::WindowPassed,
    SkipReason::NoNode,
    SkipReason::Lost,
    SkipReason::Backlog,
    SkipReason::Withdrawn,
];

fn any_record(rng: &mut Rng, kind: u8) -> Record {
    let record = match kind {
        1 => Record::EpochStart { leader: any_node(rng) },
        2 => Record::Config(Servers {
            cluster: ClusterId(any_number(rng)),
            voters: any_nodes(rng),
            learners: any_nodes(rng),
            wanted: any_nodes(rng),
        }),
        3 => Record::Node(Member {
            id: any_node(rng),
            store: StoreId(any_number(rng)),
            boot: Boot(any_number(rng)),
            name: any_text(rng, 20),
            address: any_text(rng, 20),
            server: rng.chance(1, 2),
            work: rng.chance(1, 2),
            tags: (0..rng.below(4)).map(|_| (any_text(rng, 5), any_text(rng, 5))).collect(),
            state: any(rng, &[MemberState::Registered, MemberState::Left]),
        }),
        4 => Record::JobPut(JobPut {
            name: any_text(rng, 20),
            spec: any_bytes(rng, 60),
            timing: any_timing(rng),
            facts: any_facts(rng),
            mark: maybe(rng, any_second),
            anchor: maybe(rng, any_second),
        }),
        5 => Record::JobDelete { job: JobId(any_number(rng)) },
        6 => Record::Claim(Claim {
            job: JobId(any_number(rng)),
            version: any_number(rng),
            due: maybe(rng, any_second),
            clock_era: any_number(rng) as u32,
            trigger: any(
                rng,
                &[Trigger::Schedule, Trigger::Catchup, Trigger::Manual, Trigger::Parent],
            ),
            targets: any_nodes(rng),
            parent: maybe(rng, |rng| Index(any_number(rng))),
        }),
        7 => Record::Finished(Finished {
            run: RunId {
                group: Index(any_number(rng)),
                node: any_node(rng),
                attempt: any_number(rng) as u32,
            },
            ending: any_ending(rng),
            tail: any_bytes(rng, 60),
        }),
        8 => Record::Skip(Skip {
            job: JobId(any_number(rng)),
            clock_era: any_number(rng) as u32,
            after: any_second(rng),
            until: any_second(rng),
            first: any_second(rng),
            count: any_number(rng) as u32,
            more: rng.chance(1, 2),
            reason: any(rng, &SKIP_REASONS),
            parent: maybe(rng, |rng| Index(any_number(rng))),
        }),
        9 => Record::ClockCorrected { to: any_second(rng) },
        10 => {
            let kind = 1 + rng.below(9) as u8;
            Record::Keyed(Box::new(Keyed { key: any_key(rng), record: any_record(rng, kind) }))
        }
        11 => Record::Checkpoint {
            previous: maybe(rng, |rng| (Index(any_number(rng)), [rng.next_u64() as u8; 32])),
        },
        12 => {
            let Record::JobPut(put) = any_record(rng, 4) else { unreachable!("4 is a put") };
            let restore = any_number(rng);
            Record::RestorePart(Box::new(part_of(rng, restore, put)))
        }
        13 => Record::RestoreCommit(RestoreCommit {
            restore: any_number(rng),
            jobs: maybe(rng, |rng| any_number(rng) as u32),
            replace: rng.chance(1, 2),
        }),
        14 => Record::Retry(Retry {
            run: RunId {
                group: Index(any_number(rng)),
                node: any_node(rng),
                attempt: any_number(rng) as u32,
            },
            node: any_node(rng),
            not_before: Wall(any_number(rng) as i64),
        }),
        other => panic!("no kind {other}"),
    };
    assert_eq!(record.kind(), kind);
    record
}

fn part_of(rng: &mut Rng, restore: u64, put: JobPut) -> RestorePart {
    let counts = Counts {
        success_count: any_number(rng),
        error_count: any_number(rng),
        missed_count: any_number(rng),
        last_success: maybe(rng, |rng| Wall(any_number(rng) as i64)),
        last_error: maybe(rng, |rng| Wall(any_number(rng) as i64)),
        status: any(
            rng,
            &[Status::Untriggered, Status::Success, Status::PartiallyFailed, Status::Failed],
        ),
    };
    let counts = if rng.chance(1, 2) { counts } else { Counts::default() };
    let created = maybe(rng, |rng| Wall(any_number(rng) as i64));
    let updated = maybe(rng, |rng| Wall(any_number(rng) as i64));
    RestorePart { restore, put, counts, created, updated }
}

fn any_key(rng: &mut Rng) -> RequestKey {
    let text = format!("k{}", rng.below(60));
    RequestKey { text, print: any_number(rng), status: any(rng, &[200, 201, 299]) }
}

fn any_timing(rng: &mut Rng) -> Timing {
    Timing {
        schedule: any_text(rng, 20),
        timezone: any_text(rng, 9),
        starts: maybe(rng, any_second),
        expires: maybe(rng, any_second),
        parent: any_text(rng, 9),
    }
}

fn any_facts(rng: &mut Rng) -> Facts {
    Facts {
        disabled: rng.chance(1, 2),
        forbid: rng.chance(1, 2),
        per_node: rng.chance(1, 2),
        keep: any(rng, &[0, 1, 3, 100, u16::MAX]),
        retries: any(rng, &[0, 0, 1, 3, u8::MAX]),
        idempotent: rng.chance(1, 2),
    }
}

fn decode(kind: u8, payload: &[u8]) -> Result<Entry, crate::codec::DecodeError> {
    Entry::decode(Index(7), Epoch(3), kind, SCHEMA, payload)
}

#[test]
fn every_record_is_read_as_it_was_written_and_only_whole() {
    for seed in 0..40 {
        let rng = &mut Rng::new(seed);
        for kind in KINDS {
            let wall = Wall(any_number(rng) as i64);
            let actor = any_text(rng, ACTOR_MAX_BYTES as u64);
            let record = any_record(rng, kind);
            let payload = record.encode(wall, &actor);
            let entry = Entry { index: Index(7), epoch: Epoch(3), wall, actor, record };
            assert_eq!(decode(kind, &payload), Ok(entry), "seed {seed}, kind {kind}");
            for end in 0..payload.len() {
                let cut = decode(kind, &payload[..end]);
                assert!(cut.is_err(), "seed {seed}, kind {kind}, {end} bytes: {cut:?}");
            }
            let longer = [&payload[..], &[0]].concat();
            assert!(decode(kind, &longer).is_err(), "seed {seed}, kind {kind}, one byte more");
        }
    }
}

#[test]
fn unknown_kinds_schemas_and_numbers_are_refused() {
    let put = any_record(&mut Rng::new(1), 4).encode(Wall(0), "");
    for kind in [0, 11, 12, 13, 14, 15, 255] {
        assert!(decode(kind, &put).is_err(), "kind {kind}");
    }
    for schema in [0, SCHEMA + 1, 255] {
        let entry = Entry::decode(Index(1), Epoch(1), 4, schema, &put);
        assert!(entry.is_err(), "schema {schema}");
    }
    // The number of the enum is the last byte of a skip and of a member.
    for kind in [3, 8] {
        let mut payload = any_record(&mut Rng::new(1), kind).encode(Wall(0), "");
        *payload.last_mut().unwrap() = 5;
        assert!(decode(kind, &payload).is_err(), "kind {kind}");
    }
}

#[test]
fn an_actor_longer_than_can_be_written_is_not_read() {
    for (length, accepted) in [(ACTOR_MAX_BYTES, true), (ACTOR_MAX_BYTES + 1, false)] {
        let mut payload = crate::codec::Encoder::new();
        payload.i64(0).str(&"x".repeat(length)).i64(0);
        assert_eq!(decode(9, &payload.into_bytes()).is_ok(), accepted, "{length} bytes");
    }
}

#[test]
fn targets_are_few_enough_in_order_and_each_there_once() {
    let most = TARGETS_MAX as u32;
    for (targets, accepted) in [
        (vec![], true),
        ((1..=most).collect(), true),
        ((1..=most + 1).collect(), false),
        (vec![1, 2, 9], true),
        (vec![2, 1], false),
        (vec![1, 2, 2], false),
        (vec![0], false),
    ] {
        let none = vec![];
        let (job, trigger) = (JobId(1), Trigger::Manual);
        let claim = Claim {
            job,
            version: 1,
            due: None,
            clock_era: 0,
            trigger,
            targets: none,
            parent: None,
        };
        let mut payload = Record::Claim(claim).encode(Wall(0), "");
        payload.truncate(payload.len() - 4);
        payload.extend((targets.len() as u32).to_le_bytes());
        payload.extend(targets.iter().copied().flat_map(u32::to_le_bytes));
        assert_eq!(decode(6, &payload).is_ok(), accepted, "{} targets", targets.len());
    }
}

#[test]
#[should_panic(expected = "in order of number")]
fn a_claim_that_could_not_be_read_back_is_not_written() {
    let (job, trigger, targets) = (JobId(1), Trigger::Manual, vec![node(2), node(1)]);
    let claim = Claim { job, version: 1, due: None, clock_era: 0, trigger, targets, parent: None };
    Record::Claim(claim).encode(Wall(0), "");
}

#[test]
fn no_bytes_make_the_reader_panic() {
    for seed in 0..3_000 {
        let rng = &mut Rng::new(seed);
        let noise = any_bytes(rng, 120);
        let kind = any(rng, &KINDS);
        if let Ok(entry) = decode(kind, &noise) {
            assert_eq!(entry.record.encode(entry.wall, &entry.actor), noise, "seed {seed}");
        }
        let mut payload = any_record(rng, kind).encode(Wall(0), "somebody");
        mutate(rng, &mut payload);
        if let Ok(entry) = decode(kind, &payload) {
            assert_eq!(entry.record.encode(entry.wall, &entry.actor), payload, "seed {seed}");
        }
    }
}

/// Changes a byte or two, or cuts the end off.
fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(2) {
        let Some(last) = (bytes.len() as u64).checked_sub(1) else { return };
        let at = rng.below(last + 1) as usize;
        match rng.below(8) {
            0 => bytes.truncate(at),
            1 => bytes[at] = 0xff,
            2 => bytes[at] = bytes[at].wrapping_add(1),
            _ => bytes[at] ^= 1 << rng.below(8),
        }
    }
}

#[test]
fn a_key_within_a_key_and_a_key_of_any_other_size_are_not_read() {
    let keyed = |text: &str, status| {
        let key = RequestKey { text: text.to_owned(), print: 1, status };
        Record::Keyed(Box::new(Keyed { key, record: Record::JobDelete { job: JobId(1) } }))
    };
    let read = |payload: &[u8]| decode(10, payload).map(|entry| entry.record);
    let longest = "k".repeat(KEY_MAX_BYTES);
    let whole = keyed(&longest, 201).encode(Wall(0), "");
    assert_eq!(read(&whole), Ok(keyed(&longest, 201)));
    let head = 8 + 4;
    for (what, at, byte) in [("length", head, 65), ("status", head + 4 + 64 + 8, 0)] {
        let mut wrong = whole.clone();
        wrong[at] = byte;
        assert!(read(&wrong).is_err(), "{what}");
    }
    let mut nested = whole[..head + 4 + 64 + 8 + 2].to_vec();
    nested.push(10);
    nested.extend_from_slice(&whole[head..]);
    assert_eq!(
        read(&nested),
        Err(crate::codec::DecodeError::Invalid("kind within a record with a key"))
    );
}

// ---- keys of requests ----

fn with_key(text: &str, record: Record) -> Record {
    let key = RequestKey { text: text.to_owned(), print: 5, status: 200 };
    Record::Keyed(Box::new(Keyed { key, record }))
}

#[test]
fn what_a_keyed_change_was_answered_is_known_until_it_is_an_hour_old() {
    let mut world = World::default();
    let put = world.record(&["put", "a"]);
    assert_eq!(world.apply(with_key("made", put)), Change::JobPut(JobId(1)));
    let claim = world.record(&["claim", "1", "hand"]);
    world.apply(with_key("ran", claim));
    world.line("end 2.1 succeeded");
    world.apply(with_key("gone", Record::JobDelete { job: JobId(1) }));
    let known = |world: &World, text: &str| {
        let found = world.state.answered(text, world.state.newest_wall());
        found.map(|(index, of)| (index.0, of.job.0, of.name.to_string(), of.claimed))
    };
    let a = || "a".to_owned();
    assert_eq!(known(&world, "made"), Some((1, 1, a(), false)));
    assert_eq!(known(&world, "ran"), Some((2, 1, a(), true)));
    assert_eq!(known(&world, "gone"), Some((4, 1, a(), false)), "by the name it had");
    assert_eq!(known(&world, "other"), None);

    // What changed nothing may be tried again.
    world.apply(with_key("void", Record::JobDelete { job: JobId(1) }));
    assert_eq!(known(&world, "void"), None);

    let last = world.state.applied().0;
    let late = Entry {
        index: Index(last + 1),
        epoch: Epoch(1),
        wall: Second(101 + 3_600).wall(),
        actor: String::new(),
        record: Record::JobDelete { job: JobId(9) },
    };
    world.state.apply(late);
    assert_eq!(known(&world, "made"), None);
    assert_eq!(world.state.answers.iter().len(), 2);
    world.state.check();
}

#[test]
fn answers_out_of_order_of_a_later_time_or_of_one_key_are_no_snapshot() {
    let mut world = World::default();
    for name in ["a", "b"] {
        let put = world.record(&["put", name]);
        world.apply(with_key(name, put));
    }
    let mut good = entries(&world.state);
    let answers = good.split_off(good.len() - 2).concat();
    assert!(load(&[good.clone(), vec![answers.clone()]].concat()).unwrap() == world.state);
    assert!(load(&[good.clone(), vec![answers.clone(), answers]].concat()).is_err(), "twice");
    for (what, first, second) in [("order", (2, "x"), (1, "y")), ("key", (1, "x"), (2, "x"))] {
        let mut state = load(&good).unwrap();
        let (_, one) = world.state.answered("a", Wall(0)).unwrap();
        let mut bytes = Vec::new();
        for (index, text) in [first, second] {
            let mut one = one.clone();
            text.clone_into(&mut one.key.text);
            let mut alone = State::new();
            std::mem::swap(&mut alone.answers, &mut state.answers);
            alone.answers.put(Index(index), one);
            bytes.push(snapshot::entries(&alone).pop().unwrap());
        }
        assert!(load(&[good.clone(), bytes].concat()).is_err(), "{what}");
    }
}

// ---- random histories ----

/// A record that a leader might write next, or might have written a moment too late.
fn next_record(rng: &mut Rng, state: &State) -> Record {
    let record = next_plain_record(rng, state);
    if rng.chance(1, 3) {
        return Record::Keyed(Box::new(Keyed { key: any_key(rng), record }));
    }
    record
}

fn next_plain_record(rng: &mut Rng, state: &State) -> Record {
    let job = pick_job(rng, state);
    if state.open_runs().len() > 40 && rng.chance(2, 3) {
        return end_of(rng, state);
    }
    match rng.below(100) {
        0 if rng.chance(1, 2) => Record::EpochStart { leader: node(rng.below(3) as u32 + 1) },
        0 => Record::RestoreCommit(RestoreCommit {
            restore: 1 + rng.below(2),
            jobs: match rng.below(4) {
                0 => maybe(rng, |rng| rng.below(3) as u32),
                _ => Some(state.staged.entries(Index(0), state.applied()).count() as u32),
            },
            replace: rng.chance(1, 4),
        }),
        1 => Record::Config(Servers::of(ClusterId(5), some_nodes(rng))),
        2 => Record::Node(member(rng.below(9) as u32 + 1, &any_text(rng, 9))),
        3..10 => {
            let put = put_of(rng, job);
            match rng.below(5) {
                0 => {
                    let restore = if rng.chance(1, 9) { 2 } else { 1 };
                    Record::RestorePart(Box::new(part_of(rng, restore, put)))
                }
                _ => Record::JobPut(put),
            }
        }
        10..12 => Record::JobDelete { job: job.map_or(JobId(77), |job| job.id) },
        12..50 => claim_of(rng, state, job),
        50..70 if state.owed_retries().len() > 0 => retry_of(rng, state),
        50..90 => end_of(rng, state),
        90..98 => skip_of(rng, state, job),
        98 => Record::Checkpoint { previous: None },
        _ => Record::ClockCorrected { to: Second(rng.below(2_000) as i64) },
    }
}

fn put_of(rng: &mut Rng, job: Option<&Job>) -> JobPut {
    JobPut {
        name: format!("job{}", rng.below(12)),
        spec: any_bytes(rng, 40),
        timing: Timing {
            parent: any(rng, &["", "", "", "job1", "job2"]).into(),
            ..timing(any(rng, &["minute", "hour", "day"]))
        },
        facts: Facts { keep: any(rng, &[0, 1, 3, 100]), ..any_facts(rng) },
        mark: maybe(rng, |_| job.map_or(Second(500), |job| job.decided_until.plus(5))),
        anchor: maybe(rng, |rng| Second(rng.below(1_000) as i64)),
    }
}

fn pick_job<'a>(rng: &mut Rng, state: &'a State) -> Option<&'a Job> {
    let all: Vec<&Job> = state.jobs_by_name().collect();
    (!all.is_empty()).then(|| any(rng, &all))
}

fn some_nodes(rng: &mut Rng) -> Vec<NodeId> {
    (1..=5).filter(|_| rng.chance(1, 2)).map(node).collect()
}

fn claim_of(rng: &mut Rng, state: &State, job: Option<&Job>) -> Record {
    let stale = rng.chance(1, 20);
    let mark = job.map_or(Second(0), |job| job.decided_until);
    let ahead = 1 - 2 * i64::from(stale);
    let of_job = |&(id, _): &(JobId, Index)| Some(id) == job.map(|job| job.id);
    let parent = state.chained().find(of_job).map(|(_, end)| end);
    Record::Claim(Claim {
        job: job.map_or(JobId(3), |job| job.id),
        version: job.map_or(0, |job| job.version).saturating_sub(stale.into()),
        due: maybe(rng, |rng| mark.plus(ahead * (1 + rng.below(60) as i64))),
        clock_era: state.clock_era() + u32::from(rng.chance(1, 50)),
        trigger: any(rng, &[Trigger::Schedule, Trigger::Catchup, Trigger::Manual]),
        targets: some_nodes(rng),
        parent,
    })
}

fn end_of(rng: &mut Rng, state: &State) -> Record {
    let open: Vec<RunId> = state.open_runs().map(|(run, _)| run).collect();
    let run = if open.is_empty() || rng.chance(1, 20) {
        let group = Index(1 + rng.below(state.applied().0 + 1));
        RunId { group, node: node(1), attempt: 1 }
    } else {
        any(rng, &open)
    };
    let end = any(rng, &ENDS);
    let ending = ending(end, state.applied().0 as i64);
    Record::Finished(Finished { run, ending, tail: any_bytes(rng, 30) })
}

fn retry_of(rng: &mut Rng, state: &State) -> Record {
    let owed: Vec<RunId> = state.owed_retries().map(|(run, _)| run).collect();
    let run = any(rng, &owed);
    let run = if rng.chance(1, 20) { RunId { attempt: run.attempt + 1, ..run } } else { run };
    let node = if rng.chance(1, 2) { run.node } else { node(1 + rng.below(6) as u32) };
    let not_before = Wall(any_number(rng) as i64);
    Record::Retry(Retry { run, node, not_before })
}

fn skip_of(rng: &mut Rng, state: &State, job: Option<&Job>) -> Record {
    let mark = job.map_or(Second(0), |job| job.decided_until);
    let after = mark.plus(-i64::from(rng.chance(1, 20)));
    Record::Skip(Skip {
        job: job.map_or(JobId(3), |job| job.id),
        clock_era: state.clock_era(),
        after,
        until: after.plus(60),
        first: after.plus(1),
        count: rng.below(100) as u32,
        more: rng.chance(1, 9),
        reason: SkipReason::NoNode,
        parent: None,
    })
}

fn entry_after(rng: &mut Rng, state: &State, record: Record) -> Entry {
    let index = Index(state.applied().0 + 1);
    let epoch = Epoch(state.epoch().0 + u64::from(rng.chance(1, 500)));
    let wall = Wall(index.0 as i64 * 700 + rng.below(2_000) as i64);
    Entry { index, epoch, wall, actor: "test".into(), record }
}

/// `count` more records of the history of `rng`, applied and returned.
fn go_on(rng: &mut Rng, state: &mut State, count: usize) -> Vec<Entry> {
    let mut told = Vec::with_capacity(count);
    for _ in 0..count {
        let record = next_record(rng, state);
        let entry = entry_after(rng, state, record);
        state.apply(entry.clone());
        state.check();
        told.push(entry);
    }
    told
}

fn chunks(state: &State) -> Vec<Vec<u8>> {
    state.snapshot()
}

/// The entries of a snapshot, which are a snapshot of very small chunks.
fn entries(state: &State) -> Vec<Vec<u8>> {
    let entries = snapshot::entries(state);
    assert!(entries.concat() == chunks(state).concat());
    entries
}

fn load(chunks: &[Vec<u8>]) -> Result<State, SnapshotError> {
    let mut loader = SnapshotLoader::new();
    for chunk in chunks {
        loader.chunk(chunk)?;
    }
    loader.finish()
}

#[test]
fn the_same_records_give_the_same_bytes() {
    for seed in 0..4 {
        let mut first = State::new();
        let told = go_on(&mut Rng::new(seed), &mut first, 3_000);
        let mut second = State::new();
        for entry in told {
            // What was read back from a journal is applied as what was proposed.
            let payload = entry.record.encode(entry.wall, &entry.actor);
            let (index, epoch, kind) = (entry.index, entry.epoch, entry.record.kind());
            second.apply(Entry::decode(index, epoch, kind, SCHEMA, &payload).unwrap());
        }
        assert!(first == second, "seed {seed}");
        assert_eq!(chunks(&first), chunks(&second), "seed {seed}");
    }
}

#[test]
fn a_snapshot_is_the_state_and_history_goes_on_from_it_unchanged() {
    for seed in 0..6 {
        let rng = &mut Rng::new(1_000 + seed);
        let mut straight = State::new();
        for part in 0..8 {
            let size = 1 + rng.below(600) as usize;
            go_on(rng, &mut straight, size);
            let mut carried = load(&chunks(&straight)).unwrap();
            carried.check();
            assert!(straight == carried, "seed {seed}, part {part}: right after loading");
            for entry in go_on(rng, &mut straight, 300) {
                carried.apply(entry);
            }
            assert!(straight == carried, "seed {seed}, part {part}: 300 records later");
            assert_eq!(chunks(&straight), chunks(&carried), "seed {seed}, part {part}");
        }
    }
}

/// While a snapshot is being taken the state goes on changing; what comes out is what it was when
/// the snapshot was begun, and in the same chunks.
#[test]
fn a_snapshot_that_is_taken_while_records_are_applied_is_of_its_beginning() {
    let (mut completed, mut voided) = (0, 0);
    for seed in 0..12 {
        let rng = &mut Rng::new(4_000 + seed);
        let mut state = State::new();
        go_on(rng, &mut state, 600);
        let wanted = chunks(&state);
        let newest = newest_outputs(&state, Index(450));
        state.begin_snapshot(Index(450));
        let mut taken = Vec::new();
        loop {
            let count = rng.below(4) as usize;
            go_on(rng, &mut state, count);
            match state.snapshot_piece() {
                Piece::Chunk(chunk) => taken.push(chunk),
                Piece::Done(outputs, before) => {
                    assert!(taken == wanted, "seed {seed}");
                    assert_eq!((&outputs, before), (&newest, Index(450)), "seed {seed}");
                    completed += 1;
                    break;
                }
                Piece::Void => {
                    voided += 1;
                    break;
                }
            }
        }
        assert_eq!(state.snapshot_piece(), Piece::Void, "nothing is being taken any more");
    }
    assert!(completed > 6, "{completed} completed, {voided} void");
}

fn newest_outputs(state: &State, before: Index) -> Vec<Index> {
    let jobs = state.jobs.values().chain(state.deleted.values());
    let newest = jobs.filter_map(|job| {
        let ended = job.past.as_ref()?.history.summaries().map(|summary| summary.execution());
        ended.filter(Execution::may_have_output).map(|one| one.run.record).last()
    });
    let mut newest: Vec<Index> = newest.filter(|&record| record < before).collect();
    newest.sort();
    newest
}

#[test]
fn a_corrected_clock_and_too_many_changes_void_a_snapshot() {
    let mut world = World::default();
    world.line("put a mark=5000");
    world.state.begin_snapshot(Index(0));
    world.line("back 1000");
    assert_eq!(world.state.snapshot_piece(), Piece::Void);

    let spec = vec![b'x'; 60 << 10];
    let put = |name: String| {
        let facts =
            Facts { disabled: false, forbid: false, per_node: false, keep: 1, ..Facts::default() };
        let (spec, timing) = (spec.clone(), timing("day"));
        Record::JobPut(JobPut { name, spec, timing, facts, mark: None, anchor: None })
    };
    let jobs = walk::BEFORE_MAX_BYTES / spec.len() + 1;
    let mut state = State::new();
    let apply = |state: &mut State, record| {
        let index = Index(state.applied().0 + 1);
        let (wall, actor) = (Wall(0), String::new());
        state.apply(Entry { index, epoch: Epoch(1), wall, actor, record });
    };
    (0..jobs).for_each(|number| apply(&mut state, put(format!("job{number}"))));
    for (changed, void) in [(jobs / 2, false), (jobs, true)] {
        state.begin_snapshot(Index(0));
        (0..changed).for_each(|number| apply(&mut state, put(format!("job{number}"))));
        assert_eq!(state.snapshot_piece() == Piece::Void, void, "{changed} jobs changed");
        state.end_snapshot();
    }
}

#[test]
fn an_empty_state_is_carried_over_too() {
    assert!(load(&chunks(&State::new())).unwrap() == State::new());
}

#[test]
fn no_chunk_grows_with_what_a_job_keeps() {
    let mut world = World::default();
    world.line("put a");
    world.line("put a keep=10000");
    for _ in 0..700 {
        world.line("claim 1 hand");
        let group = world.state.applied();
        world.line(&format!("end {group}.1 failed"));
    }
    let all: Vec<String> = (1..=TARGETS_MAX).map(|number| number.to_string()).collect();
    for _ in 0..10 {
        world.line(&format!("claim 1 hand on={}", all.join(",")));
    }
    let chunks = chunks(&world.state);
    let largest = chunks.iter().map(Vec::len).max().unwrap();
    assert!(largest < 2 * 64 * 1024, "{largest} bytes in one chunk");
    assert!(chunks.len() > 2, "{} chunks", chunks.len());
    assert!(load(&chunks).unwrap() == world.state);
}

#[test]
fn chunks_out_of_their_place_are_refused() {
    let mut world = World::default();
    for line in [
        "put a keep=200",
        "claim 1 due=500",
        "end 2.1 failed tail=5",
        "skip 1 after=500 until=600",
        "claim 1 hand",
        "put b",
        "claim 6 hand",
        "delete 6",
    ] {
        world.line(line);
    }
    world.apply(with_key("k", world.record(&["put", "c"])));
    let entries = entries(&world.state);
    let tags: Vec<u8> = entries.iter().map(|entry| entry[0]).collect();
    assert_eq!(tags, [1, 2, 3, 4, 5, 2, 3, 2, 6], "header, two jobs with a past, a third, answer");
    let in_order = |order: &[usize]| {
        let chosen: Vec<_> = order.iter().map(|&at| entries[at].clone()).collect();
        load(&chosen).map(|state| state.check())
    };
    assert_eq!(in_order(&[0, 1, 2, 3, 4, 5, 6, 7, 8]), Ok(()));
    let parts = "the parts of a job out of order";
    for (order, complaint) in [
        (&[][..], "no header"),
        (&[1][..], "no header"),
        (&[0, 0], "two headers"),
        (&[0, 1, 0], "two headers"),
        (&[0, 2], "a history without a job"),
        (&[0, 3], "a history without a job"),
        (&[0, 4], "a history without a job"),
        (&[0, 7, 4], "a history without a job"),
        (&[0, 1, 4, 3], parts),
        (&[0, 1, 3, 2], parts),
        (&[0, 1, 2, 2], "fires out of order"),
        (&[0, 1, 3, 3], "fires out of order"),
        (&[0, 1, 4, 4], "skips out of order"),
        (&[0, 1, 1], "jobs out of order"),
        (&[0, 5, 6, 1], "jobs out of order"),
        (&[0, 5, 6, 5, 6], "jobs out of order"),
        (&[0, 5], "a deleted job without an open run"),
        (&[0, 5, 8], "a deleted job without an open run"),
        (&[0, 8, 1], "jobs out of order"),
        (&[0, 1, 8, 2], parts),
        (&[0, 8, 8], "answers out of order"),
    ] {
        assert_eq!(in_order(order), Err(SnapshotError::Order(complaint)), "{order:?}");
    }
}

#[test]
fn an_entry_is_read_only_whole() {
    let rng = &mut Rng::new(3_000);
    let mut state = State::new();
    go_on(rng, &mut state, 200);
    let whole = entries(&state);
    for at in 0..whole.len() {
        let with = |entry: Vec<u8>| {
            let mut loader = SnapshotLoader::new();
            whole[..at].iter().for_each(|before| loader.chunk(before).unwrap());
            loader.chunk(&entry)
        };
        assert_eq!(with(whole[at].clone()), Ok(()), "entry {at}");
        for end in [1, 5, whole[at].len() / 2, whole[at].len() - 1] {
            assert!(with(whole[at][..end].to_vec()).is_err(), "entry {at}, {end} bytes");
        }
        assert!(with([&whole[at][..], &[0]].concat()).is_err(), "entry {at}, one byte more");
    }
}

#[test]
fn a_snapshot_that_no_history_leads_to_is_refused() {
    type Damage = fn(&mut State);
    let rows: [(&str, Damage); 6] = [
        ("a job of a later time", |state| state.applied = Index(0)),
        ("a fire of a later time", |state| state.applied = Index(1)),
        ("more fires than their job keeps", |state| job_one(state).facts.keep = 0),
        ("two jobs of one name", |state| {
            let mut twin = job_one(state).clone();
            (twin.id, twin.past) = (JobId(2), None);
            state.jobs.insert(twin.id, Box::new(twin));
        }),
        ("a run of two jobs", |state| {
            let mut twin = job_one(state).clone();
            (twin.id, twin.name) = (JobId(2), "b".into());
            state.jobs.insert(twin.id, Box::new(twin));
        }),
        ("too many skips of a job", |state| {
            let skips = &mut job_one(state).past_mut().skips;
            let mut skip = skips[0].clone();
            for _ in 0..SKIPS_KEPT {
                skip.0.0 += 1;
                skips.push_back(skip.clone());
            }
        }),
    ];
    for (complaint, damage) in rows {
        let mut world = World::default();
        world.line("put a");
        world.line("claim 1 due=500");
        world.line("claim 1 due=501");
        world.line("end 2.1 failed");
        world.line("skip 1 after=501 until=502");
        damage(&mut world.state);
        let loaded = load(&snapshot::entries(&world.state)).map(|_| ());
        assert_eq!(loaded, Err(SnapshotError::Order(complaint)));
    }
}

fn job_one(state: &mut State) -> &mut Job {
    state.jobs.get_mut(&JobId(1)).unwrap()
}

#[test]
fn a_damaged_snapshot_is_refused_or_is_a_sound_state() {
    for seed in 0..12 {
        let rng = &mut Rng::new(2_000 + seed);
        let mut state = State::new();
        go_on(rng, &mut state, 400);
        let whole = entries(&state);
        let mut loaded = 0;
        for _ in 0..120 {
            let mut damaged = whole.clone();
            let at = rng.below(damaged.len() as u64) as usize;
            let to = rng.below(damaged.len() as u64) as usize;
            match rng.below(8) {
                0 => damaged.swap(at, to),
                1 => drop(damaged.remove(at)),
                2 => damaged.insert(to, whole[at].clone()),
                3 => damaged.insert(to, any_bytes(rng, 50)),
                _ => mutate(rng, &mut damaged[at]),
            }
            let Ok(mut other) = load(&damaged) else { continue };
            loaded += 1;
            other.check();
            if other.applied().0 < 1 << 40 && other.epoch().0 < 1 << 40 {
                go_on(rng, &mut other, 20);
            }
        }
        assert!(loaded > 0, "seed {seed}: not every change can be seen");
    }
}

// ---- speed ----

/// Tells how long `count` claims took, each with the end of a run. Nothing is asserted of a clock
/// that others share; what counts is that four times as many take four times as long.
fn clock(title: &str, facts: Facts, open_before: u64, count: u64, oldest_first: bool) {
    let mut state = State::new();
    let mut tell = |record| {
        let index = Index(state.applied().0 + 1);
        let wall = Second(index.0 as i64).wall();
        state.apply(Entry { index, epoch: Epoch(1), wall, actor: String::new(), record });
        index
    };
    let name = "a".to_owned();
    let put =
        JobPut { name, spec: vec![0; 100], timing: timing("day"), facts, mark: None, anchor: None };
    tell(Record::JobPut(put));
    let claim = |number: u32| {
        let (due, trigger, targets) = (None, Trigger::Manual, vec![node(number)]);
        Record::Claim(Claim {
            job: JobId(1),
            version: 1,
            due,
            clock_era: 0,
            trigger,
            targets,
            parent: None,
        })
    };
    let mut open = VecDeque::new();
    for _ in 0..open_before {
        open.push_back(tell(claim(1)));
    }
    let began = std::time::Instant::now();
    let number = if facts.per_node { 2 } else { 1 };
    for _ in 0..count {
        open.push_back(tell(claim(number)));
        let ended = if oldest_first { open.pop_front() } else { open.pop_back() };
        let run = RunId { group: ended.unwrap(), node: node(number), attempt: 1 };
        tell(Record::Finished(Finished { run, ending: ending(End::Failed, 1), tail: vec![] }));
    }
    println!("{title}: {count} claims and ends in {:?}", began.elapsed());
}

#[test]
fn claims_and_ends_cost_the_same_however_long_the_history() {
    let allow =
        Facts { disabled: false, forbid: false, per_node: false, keep: 10_000, ..Facts::default() };
    let each = Facts { forbid: true, per_node: true, ..allow };
    for count in [25_000, 100_000] {
        clock("one at a time", allow, 0, count, false);
    }
    for count in [5_000, 20_000] {
        clock("beside one that hangs on another node", each, 1, count, false);
        clock("beside 2,000 that hang", allow, 2_000, count, false);
        clock("2,000 at a time, the oldest ends", allow, 2_000, count, true);
    }
}
