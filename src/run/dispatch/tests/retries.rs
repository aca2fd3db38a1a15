//! What a leader does for runs that have failed and are to be tried again.

use super::*;

/// A leader, at second 20, of a run with `retries` that has just ended so.
fn failed(spec: &Spec, end: End) -> Leader {
    let mut leader = leader(spec);
    let Leader { state, dispatch, job, run } = &mut leader;
    dispatch.claimed(state, &Scheduler::default(), *job, run.group, at(10));
    polled(dispatch);
    finish(state, *run, end, 20);
    leader
}

fn finish(state: &mut State, run: RunId, end: End, second: i64) {
    let ending = Ending::decided(end, Reason::LauncherGone, at(second).wall);
    apply(state, Record::Finished(Finished { run, ending, tail: Vec::new() }), at(second));
}

fn often() -> Spec {
    let retry_backoff = Duration::from_secs(100);
    Spec { retries: 2, retry_backoff, catchup: crate::job::Catchup::Skip, ..spec() }
}

/// What is said in the first second in which something is.
fn next_said(leader: &mut Leader, from: i64) -> (i64, String) {
    let Leader { state, dispatch, .. } = leader;
    for second in from..from + 1_000 {
        dispatch.tick(state, at(second));
        let said = polled(dispatch);
        if !said.is_empty() {
            return (second, said);
        }
    }
    panic!("nothing is ever said");
}

/// Writes the retry that is proposed; the run that it makes.
fn write(leader: &mut Leader, second: i64) -> RunId {
    let Leader { state, dispatch, job, .. } = leader;
    let mut retry = None;
    while let Some(instruction) = dispatch.poll() {
        if let Instruction::Retry(one) = instruction {
            assert_eq!(retry.replace(one), None, "it is proposed once");
        }
    }
    let change = apply(state, Record::Retry(retry.expect("it is proposed")), at(second));
    let Change::Retried(_, run) = change else { panic!("{change:?}") };
    let index = state.applied();
    dispatch.retried(state, &Scheduler::default(), (*job, run), index, at(second));
    run
}

#[test]
fn a_run_that_has_failed_is_ordered_again_when_its_time_has_come() {
    let mut leader = failed(&often(), End::Failed);
    leader.dispatch.ended(&leader.state, leader.run, at(20));
    let run = write(&mut leader, 20);
    assert_eq!(run, RunId { attempt: 2, ..leader.run });
    assert_eq!(leader.dispatch.heard(run), Heard::Unsent);
    let (second, said) = next_said(&mut leader, 20);
    assert!((110..=130).contains(&second), "{second}");
    assert_eq!(said, "order");
    let order = launch::spawn_order(&leader.state, leader.job, run, &often()).unwrap();
    let env: BTreeMap<&str, &str> =
        order.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!((env["BELLWETHER_ATTEMPT"], env["BELLWETHER_TRIGGER"]), ("2", "retry"));
    assert_eq!(env["BELLWETHER_EXECUTION_ID"], "3-n1-2");
    assert_eq!(env["BELLWETHER_SCHEDULED_FOR"], "2026-06-01T00:00:10Z");
    // Its start deadline counts from when it might start.
    leader.dispatch.report(&leader.state, run, Report::NeverStarted, at(second + 58));
    assert_eq!(polled(&mut leader.dispatch), "order");
    leader.dispatch.report(&leader.state, run, Report::NeverStarted, at(second + 61));
    assert_eq!(polled(&mut leader.dispatch), "finish missed");
}

#[test]
fn what_did_not_fail_is_not_tried_again() {
    let lost_again = Spec { idempotent: true, ..often() };
    for (spec, end, says) in [
        (often(), End::Failed, "settle retry on 00000001"),
        (often(), End::TimedOut, "settle retry on 00000001"),
        (often(), End::Succeeded, "settle"),
        (often(), End::Killed, "settle"),
        (often(), End::Lost, "settle"),
        (lost_again, End::Lost, "settle retry on 00000001"),
        (spec(), End::Failed, "settle"),
    ] {
        let Leader { state, mut dispatch, run, .. } = failed(&spec, end);
        dispatch.ended(&state, run, at(20));
        assert_eq!(polled(&mut dispatch), says, "{end:?}");
        dispatch.members_changed(&state, at(20));
        assert_eq!(polled(&mut dispatch), "", "{end:?}: it is on its way");
    }
}

/// A leader dies at any point; the next one goes on from the state, whoever ordered what.
#[test]
fn a_new_leader_goes_on_with_what_is_to_be_tried_again() {
    let mut leader = failed(&often(), End::Failed);
    // It was not written yet.
    leader.dispatch.take_office(Epoch(2), &leader.state, &Scheduler::default(), at(22));
    leader.dispatch.session_began(&leader.state, leader.run.node, at(23));
    let run = write(&mut leader, 23);
    // It was written, and waits.
    leader.dispatch.take_office(Epoch(3), &leader.state, &Scheduler::default(), at(40));
    leader.dispatch.session_began(&leader.state, run.node, at(41));
    assert_eq!(polled(&mut leader.dispatch), "ask", "a clock that is ahead has sent it, maybe");
    leader.dispatch.report(&leader.state, run, Report::NeverStarted, at(42));
    assert_eq!(polled(&mut leader.dispatch), "");
    let (second, said) = next_said(&mut leader, 42);
    assert!((113..=133).contains(&second) && said == "order", "{second}: {said}");
    // A clock that was set back makes it wait no longer than any.
    leader.dispatch.take_office(Epoch(4), &leader.state, &Scheduler::default(), at(-90_000));
    leader.dispatch.session_began(&leader.state, run.node, at(-90_000));
    leader.dispatch.report(&leader.state, run, Report::NeverStarted, at(-90_000));
    assert_eq!(polled(&mut leader.dispatch), "ask");
    assert_eq!(next_said(&mut leader, -90_000), (-89_700, "order".into()));
}

#[test]
fn a_retry_goes_elsewhere_when_its_node_is_away_and_the_job_may() {
    let any = Spec { run_on: crate::job::RunOn::Any, ..often() };
    for (spec, away, waits, node) in [
        (any.clone(), false, false, 1),
        (any.clone(), true, false, 2),
        (any, true, true, 2),
        (often(), true, false, 1),
    ] {
        let mut leader = failed(&spec, End::Failed);
        let second = NodeId::new(2).unwrap();
        let mut member = leader.state.member(leader.run.node).unwrap().clone();
        (member.id, member.name) = (second, "n2".into());
        apply(&mut leader.state, Record::Node(member), at(20));
        if waits {
            // In a young office it is waited for.
            leader.dispatch.take_office(Epoch(2), &leader.state, &Scheduler::default(), at(20));
        }
        if away {
            leader.dispatch.session_ended(leader.run.node, at(20));
        }
        leader.dispatch.session_began(&leader.state, second, at(20));
        if waits {
            assert_eq!(polled(&mut leader.dispatch), "");
            leader.dispatch.tick(&leader.state, at(29));
            assert_eq!(polled(&mut leader.dispatch), "");
            leader.dispatch.tick(&leader.state, at(30));
        } else {
            leader.dispatch.ended(&leader.state, leader.run, at(20));
        }
        let run = write(&mut leader, 30);
        assert_eq!(run.node, NodeId::new(node).unwrap(), "away {away}, waits {waits}");
    }
}

#[test]
fn a_retry_that_nobody_was_told_of_ends_with_its_job() {
    for told in [false, true] {
        let mut leader = failed(&often(), End::Failed);
        leader.dispatch.ended(&leader.state, leader.run, at(20));
        let run = write(&mut leader, 20);
        if told {
            assert_eq!(next_said(&mut leader, 20).1, "order");
        }
        apply(&mut leader.state, Record::JobDelete { job: leader.job }, at(140));
        leader.dispatch.job_deleted(&leader.state, leader.job, at(140));
        let says = if told { "" } else { "finish skipped" };
        assert_eq!(polled(&mut leader.dispatch), says);
        if !told {
            continue;
        }
        leader.dispatch.take_office(Epoch(2), &leader.state, &Scheduler::default(), at(141));
        leader.dispatch.session_began(&leader.state, run.node, at(141));
        leader.dispatch.report(&leader.state, run, Report::NeverStarted, at(141));
        assert_eq!(polled(&mut leader.dispatch), "ask finish skipped");
    }
}

/// While the disk takes nothing, nothing is decided.
#[test]
fn a_retry_is_not_decided_before_the_disk_takes_it() {
    let mut leader = failed(&often(), End::Failed);
    leader.dispatch.stand_still();
    leader.dispatch.ended(&leader.state, leader.run, at(20));
    assert_eq!(polled(&mut leader.dispatch), "settle");
    leader.dispatch.go_on(&leader.state, &Scheduler::default(), Index(0), at(900));
    let run = write(&mut leader, 900);
    assert_eq!(run.attempt, 2);
    assert!(next_said(&mut leader, 900).0 >= 990);
}
