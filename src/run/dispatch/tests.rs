//! What a leader makes of what it hears; and the orders that it gives.

mod retries;

use std::time::Duration;

use super::*;
use crate::ident::{Boot, NodeId, StoreId};
use crate::job::Spec;
use crate::run::order::{Program, SpawnOrder};
use crate::store::{
    Change, Claim, Entry, Facts, JobPut, Member, MemberState, Record, RunState, Trigger,
};
use crate::time::Second;

/// 2026-06-01T00:00:00Z.
const BEGIN: i64 = 1_780_272_000;

struct Leader {
    state: State,
    dispatch: Dispatch,
    job: JobId,
    run: RunId,
}

fn at(second: i64) -> Now {
    let mono = Mono(1_000_000_000 * (1_000_000 + second).unsigned_abs());
    Now { mono, wall: Second(BEGIN + second).wall() }
}

fn apply(state: &mut State, record: Record, now: Now) -> Change {
    let index = Index(state.applied().0 + 1);
    let (epoch, wall, actor) = (Epoch(1), now.wall, String::new());
    state.apply(Entry { index, epoch, wall, actor, record })
}

fn spec() -> Spec {
    Spec {
        name: "job".into(),
        schedule: "@every 10s".into(),
        timezone: "UTC".into(),
        command: "echo 'a b' c".into(),
        start_deadline: Duration::from_secs(60),
        ..Spec::default()
    }
}

/// A leader that has claimed, at second 10, a run of `spec` due then.
fn leader(spec: &Spec) -> Leader {
    let mut state = State::new();
    let node = NodeId::new(1).unwrap();
    let member = Member {
        id: node,
        store: StoreId(1),
        boot: Boot(1),
        name: "n1".into(),
        address: String::new(),
        server: true,
        work: true,
        tags: Vec::new(),
        state: MemberState::Registered,
    };
    apply(&mut state, Record::Node(member), at(0));
    let put = JobPut {
        name: spec.name.clone(),
        spec: spec.to_bytes(),
        timing: crate::schedule::timing(spec),
        facts: Facts {
            per_node: true,
            keep: 9,
            retries: spec.retries as u8,
            idempotent: spec.idempotent,
            ..Facts::default()
        },
        mark: None,
        anchor: None,
    };
    let Change::JobPut(job) = apply(&mut state, Record::JobPut(put), at(0)) else { panic!() };
    let claim = Claim {
        job,
        version: job.0,
        due: Some(Second(BEGIN + 10)),
        clock_era: 0,
        trigger: Trigger::Schedule,
        targets: vec![node],
        parent: None,
    };
    let Change::Claimed(_, group) = apply(&mut state, Record::Claim(claim), at(10)) else {
        panic!()
    };
    let run = RunId { group, node, attempt: 1 };
    let mut dispatch = Dispatch::default();
    // The office began before there was a run.
    dispatch.take_office(Epoch(1), &State::new(), &Scheduler::default(), at(0));
    dispatch.session_began(&State::new(), node, at(0));
    Leader { state, dispatch, job, run }
}

fn polled(dispatch: &mut Dispatch) -> String {
    let mut said = Vec::new();
    while let Some(instruction) = dispatch.poll() {
        said.push(match instruction {
            Instruction::Order(_) => "order".to_owned(),
            Instruction::Question(_) => "ask".into(),
            Instruction::Settle(_) => "settle".into(),
            Instruction::Finish(finished) => format!("finish {}", finished.ending.end.name()),
            Instruction::Retry(retry) => format!("retry on {}", retry.node),
        });
    }
    said.join(" ")
}

#[test]
fn what_a_report_leads_to() {
    let lost = Ending::decided(End::Lost, Reason::LauncherGone, at(20).wall);
    let ended = || Report::Ended(lost, Vec::new());
    let running = Wall(5);
    for (before, report, second, says, heard) in [
        (vec![], Report::Starting, 20, "", Heard::Starting),
        (vec![], Report::Running(running), 20, "", Heard::Running(running)),
        (vec![], ended(), 20, "finish lost", Heard::Concluding),
        (vec![], Report::NeverStarted, 20, "order", Heard::Ordered),
        (vec![], Report::NeverStarted, 69, "order", Heard::Ordered),
        (vec![], Report::NeverStarted, 70, "finish missed", Heard::Concluding),
        (vec![Report::Starting], Report::NeverStarted, 20, "order", Heard::Ordered),
        (vec![Report::Running(running)], ended(), 20, "finish lost", Heard::Concluding),
        // Once the end is on its way nothing else counts.
        (vec![ended()], ended(), 20, "", Heard::Concluding),
        (vec![ended()], Report::NeverStarted, 20, "", Heard::Concluding),
        (vec![ended()], Report::Running(running), 20, "", Heard::Concluding),
    ] {
        let Leader { state, mut dispatch, job, run } = leader(&spec());
        dispatch.claimed(&state, &Scheduler::default(), job, run.group, at(10));
        assert_eq!(polled(&mut dispatch), "order");
        let what = format!("{before:?}, then {report:?} at {second}");
        for earlier in before {
            dispatch.report(&state, run, earlier, at(20));
        }
        polled(&mut dispatch);
        dispatch.report(&state, run, report, at(second));
        assert_eq!(polled(&mut dispatch), says, "{what}");
        assert_eq!(dispatch.heard(run), heard, "{what}");
    }
}

#[test]
fn an_end_that_is_committed_is_settled_and_nothing_else_is_said_of_it() {
    let Leader { mut state, mut dispatch, job, run } = leader(&spec());
    dispatch.claimed(&state, &Scheduler::default(), job, run.group, at(10));
    polled(&mut dispatch);
    let ending = Ending::decided(End::Lost, Reason::LauncherGone, at(20).wall);
    apply(&mut state, Record::Finished(Finished { run, ending, tail: Vec::new() }), at(20));
    dispatch.ended(&state, run, at(20));
    assert_eq!(polled(&mut dispatch), "settle");
    dispatch.report(&state, run, Report::NeverStarted, at(20));
    dispatch.report(&state, run, Report::Starting, at(20));
    assert_eq!(polled(&mut dispatch), "");
    dispatch.report(&state, run, Report::Ended(ending, Vec::new()), at(20));
    assert_eq!(polled(&mut dispatch), "settle", "the node has not heard so");
    let kept = state.job(job).unwrap().execution(run).unwrap();
    assert_eq!(kept.run.state, RunState::Ended(ending));
}

#[test]
fn a_new_leader_asks_and_orders_within_what_is_left() {
    let window =
        |seconds: u64| Spec { catchup_window: Some(Duration::from_secs(seconds)), ..spec() };
    let skip = Spec { catchup: crate::job::Catchup::Skip, ..window(600) };
    // Claimed at 10, due at 10; the second at which the node says that it never started.
    for (spec, second, says) in [
        (window(20), 69, "order"),
        (window(20), 70, "finish missed"),
        (window(600), 609, "order"),
        (window(600), 610, "finish missed"),
        (skip, 70, "finish missed"),
        // A clock that was set back makes no wait longer.
        (window(20), -9_000, "order"),
    ] {
        let Leader { state, mut dispatch, run, .. } = leader(&spec);
        let scheduler = Scheduler::default();
        dispatch.take_office(Epoch(2), &state, &scheduler, at(second));
        assert_eq!(polled(&mut dispatch), "", "the node has no session");
        dispatch.session_began(&state, run.node, at(second));
        assert_eq!(polled(&mut dispatch), "ask");
        assert_eq!(dispatch.heard(run), Heard::Nothing);
        dispatch.report(&state, run, Report::NeverStarted, at(second));
        assert_eq!(polled(&mut dispatch), says, "at {second}");
        if second < 0 {
            dispatch.report(&state, run, Report::NeverStarted, at(second + 60));
            assert_eq!(polled(&mut dispatch), "finish missed", "at {second}");
        }
    }
}

/// The disk takes nothing from second 15 on, for so long.
#[test]
fn a_run_that_the_disk_holds_up_is_not_too_late_by_that() {
    let window = |seconds| Spec { catchup_window: Some(Duration::from_secs(seconds)), ..spec() };
    for (spec, until, says) in [
        (window(20), 20, "order"),
        (window(20), 71, "finish missed"),
        (window(600), 600, "order"),
        (window(600), 611, "finish missed"),
    ] {
        let scheduler = Scheduler::default();
        // Claimed before that, or applied only when it was over.
        for claimed_before in [true, false] {
            let Leader { state, mut dispatch, job, run } = leader(&spec);
            let what = format!("until {until}, claimed before: {claimed_before}");
            if claimed_before {
                dispatch.claimed(&state, &scheduler, job, run.group, at(10));
                polled(&mut dispatch);
            }
            dispatch.stand_still();
            if claimed_before {
                dispatch.report(&state, run, Report::NeverStarted, at(until.max(80)));
                assert_eq!(polled(&mut dispatch), "", "{what}: it is not given up");
            }
            dispatch.go_on(&state, &scheduler, run.group, at(until));
            match claimed_before {
                true => assert_eq!(polled(&mut dispatch), "ask", "{what}"),
                false => {
                    dispatch.claimed(&state, &scheduler, job, run.group, at(until));
                    assert_eq!(polled(&mut dispatch), "order", "{what}");
                }
            }
            dispatch.report(&state, run, Report::NeverStarted, at(until));
            assert_eq!(polled(&mut dispatch), says, "{what}");
        }
        // One that runs, or has ended, is not asked for.
        for report in [
            Report::Running(Wall(5)),
            Report::Ended(Ending::decided(End::Lost, Reason::LauncherGone, at(20).wall), vec![]),
        ] {
            let Leader { state, mut dispatch, job, run } = leader(&spec);
            dispatch.claimed(&state, &scheduler, job, run.group, at(10));
            dispatch.report(&state, run, report, at(12));
            polled(&mut dispatch);
            dispatch.stand_still();
            dispatch.go_on(&state, &scheduler, run.group, at(until));
            assert_eq!(polled(&mut dispatch), "");
        }
    }
}

#[test]
fn an_order_says_all_that_the_process_needs() {
    let mut made = spec();
    for (key, value) in [("B", "2"), ("BELLWETHER_ATTEMPT", "9"), ("ENV_JOB_NAME", "other")] {
        made.env.insert(key.into(), value.into());
    }
    made.timeout = Duration::from_millis(1_500);
    let Leader { state, job, run, .. } = leader(&made);
    let order: SpawnOrder = launch::spawn_order(&state, job, run, &made).unwrap();
    let words = ["echo", "a b", "c"].map(String::from).to_vec();
    assert_eq!(order.program, Program::Words(words));
    assert_eq!((order.timeout_ms, order.kill_grace_ms, order.cwd), (1_500, 10_000, None));
    let env: Vec<String> = order.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        env,
        [
            "B=2",
            "BELLWETHER_JOB_NAME=job",
            "BELLWETHER_SCHEDULED_FOR=2026-06-01T00:00:10Z",
            "BELLWETHER_TRIGGER=schedule",
            "BELLWETHER_EXECUTION_ID=3-n1-1",
            "BELLWETHER_ATTEMPT=1",
            "BELLWETHER_NODE_NAME=n1",
            "ENV_JOB_NAME=job",
        ],
        "a job cannot pretend to be another run"
    );
    let made = Spec { shell: true, cwd: "/srv".into(), ..spec() };
    let Leader { state, job, run, .. } = leader(&made);
    let order = launch::spawn_order(&state, job, run, &made).unwrap();
    assert_eq!(order.program, Program::Shell("echo 'a b' c".into()));
    assert_eq!(order.cwd.as_deref(), Some("/srv"));
}

#[test]
fn a_run_that_ended_with_its_nodes_directory_is_settled_and_not_ordered() {
    let Leader { mut state, mut dispatch, job, run } = leader(&spec());
    dispatch.claimed(&state, &Scheduler::default(), job, run.group, at(10));
    assert_eq!(polled(&mut dispatch), "order");
    dispatch.members_changed(&state, at(20));
    assert_eq!(polled(&mut dispatch), "", "the run is open");
    let mut member = state.member(run.node).unwrap().clone();
    member.store = StoreId(2);
    apply(&mut state, Record::Node(member), at(20));
    dispatch.members_changed(&state, at(20));
    assert_eq!(polled(&mut dispatch), "settle");
    dispatch.report(&state, run, Report::NeverStarted, at(20));
    assert_eq!(polled(&mut dispatch), "");
}

/// A run whose node is away from second 12 on, or from before its claim at second 10.
#[test]
fn a_run_on_a_node_that_is_away_is_missed_only_if_it_was_never_sent() {
    let timeout = Spec { timeout: Duration::from_secs(100), ..spec() };
    let lost_after = LOST_AFTER.as_secs() as i64;
    for (spec, away_from, back_at, says) in [
        // Claimed at 10, so it may start until 70.
        (spec(), 5, Some(69), "order"),
        (spec(), 5, None, "70: finish missed"),
        (spec(), 12, Some(71), "ask"),
        (spec(), 12, Some(lost_after), "ask"),
        (spec(), 12, None, "21612: finish lost"),
        // 12 + start deadline + timeout + grace + 60 s.
        (timeout.clone(), 12, None, "242: finish lost"),
        (timeout, 12, Some(240), "ask"),
    ] {
        let Leader { state, mut dispatch, job, run } = leader(&spec);
        let mut said = String::new();
        for second in 0..=lost_after + 100 {
            if second == away_from {
                dispatch.session_ended(run.node, at(second));
            }
            if second == 10 {
                dispatch.claimed(&state, &Scheduler::default(), job, run.group, at(10));
                polled(&mut dispatch);
            }
            if Some(second) == back_at {
                dispatch.session_began(&state, run.node, at(second));
                said = polled(&mut dispatch);
                break;
            }
            if dispatch.poll_timeout().is_some_and(|due| due <= at(second).mono) {
                dispatch.tick(&state, at(second));
            }
            let now = polled(&mut dispatch);
            if !now.is_empty() {
                said = format!("{second}: {now}");
                break;
            }
        }
        assert_eq!(said, says, "away from {away_from}, back at {back_at:?}");
        assert_eq!(dispatch.is_reachable(run.node), back_at.is_some());
    }
}

#[test]
fn a_new_leader_gives_up_nothing_that_may_have_been_sent_before_it() {
    let Leader { state, mut dispatch, run, .. } = leader(&spec());
    dispatch.take_office(Epoch(2), &state, &Scheduler::default(), at(20));
    dispatch.tick(&state, at(20 + LOST_AFTER.as_secs() as i64 - 1));
    assert_eq!(polled(&mut dispatch), "");
    dispatch.tick(&state, at(20 + LOST_AFTER.as_secs() as i64));
    assert_eq!(polled(&mut dispatch), "finish lost");
    assert_eq!(dispatch.heard(run), Heard::Concluding);
}
