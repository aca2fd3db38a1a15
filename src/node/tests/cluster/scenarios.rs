//! Worlds in which one thing goes wrong, each by its name.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::disk::decode;
use super::machine::{MS, Machine, NEVER, SECOND};
use super::plan::{Fault, Plan};
use super::world::{Crew, World};
use crate::http::Method;
use crate::ident::RunId;
use crate::mistake::{Making, Mistake};
use crate::node::{Input, Raw};
use crate::rng::Rng;
use crate::store::{End, MemberState, Record, RunState};

/// A cluster of so many nodes in which nothing goes wrong by itself, and that has a leader.
pub(super) fn calm(count: usize, seed: u64) -> World {
    calm_with(Crew::of(count), seed)
}

fn calm_with(crew: Crew, seed: u64) -> World {
    let mut world = World::of(crew, Plan::calm(0), Rng::new(seed)).without_clients();
    world.machines.iter_mut().for_each(|machine| machine.launcher.quick = true);
    world.pass(5 * SECOND);
    assert!(world.leader().is_some(), "nobody leads");
    world
}

/// A node that does not lead.
fn follower(world: &World) -> usize {
    let leader = world.leader().expect("somebody leads");
    (leader + 1) % world.machines.len()
}

/// Asks a node, and waits for the answer.
fn ask(world: &mut World, at: usize, line: (Method, &str), body: &str) -> u16 {
    let who = world.wish(at, line, body);
    world.pass(SECOND);
    world.wishes[&who]
}

/// Alarms that a follower never looks at were taken for fires that it owed, so that it was red
/// for as long as any job was due.
#[test]
fn a_follower_is_ready_while_the_leader_fires() {
    let mut world = calm(3, 1);
    let follower = follower(&world);
    let job = r#"{"name":"a","schedule":"@every 2s","command":"true","run_on":"any"}"#;
    assert_eq!(ask(&mut world, follower, (Method::Post, "/v1/jobs"), job), 201);
    world.pass(20 * SECOND);
    assert!(world.watch.spawns > 5);
    assert_eq!(ask(&mut world, follower, (Method::Get, "/ready"), ""), 200);
    world.heal();
}

/// Runs a job by hand on all nodes, and names its run on `at`.
fn run_by_hand(world: &mut World, at: usize) -> RunId {
    let who = world.wish(at, (Method::Post, "/v1/jobs/a/run"), "");
    let asked = who.clone();
    world.run_to("the claim", move |world| world.watch.oracle.effects.contains_key(&asked));
    let group = world.watch.oracle.effects[&who][0];
    RunId { group, node: world.machines[at].id, attempt: 1 }
}

/// A job that is run by hand, on all nodes or one, and whose processes last so long.
fn with_job(world: &mut World, run_on: &str, lasts: Duration) {
    for machine in &mut world.machines {
        (machine.launcher.lasts, machine.running_max) = (Some(lasts), 100);
    }
    let body = format!(
        r#"{{"name":"a","schedule":"@manually","command":"true","run_on":{run_on},
            "concurrency":"forbid"}}"#
    );
    assert_eq!(ask(world, 0, (Method::Post, "/v1/jobs"), &body), 201);
}

/// The leader loses its power at each step of a run on another node: the run is started once, and
/// ends as it ended.
#[test]
fn a_leader_that_dies_at_any_step_of_a_run_leaves_it_whole() {
    type Step = (&'static str, fn(&World, RunId, usize) -> bool);
    let steps: [Step; 5] = [
        ("claim", |_, _, _| true),
        ("order", |world, run, at| world.machines[at].orders.contains_key(&run)),
        ("accepted", |world, run, at| world.machines[at].disk.promised(run).is_some()),
        ("spawn", |world, run, at| world.machines[at].launcher.started.contains_key(&run)),
        ("exit", |world, run, at| world.machines[at].launcher.ends.contains_key(&run)),
    ];
    for (what, reached) in steps {
        for seed in 0..4 {
            let mut world = calm(3, seed);
            with_job(&mut world, r#""all""#, Duration::from_secs(2));
            let (leader, other) = (world.leader().unwrap(), follower(&world));
            let run = run_by_hand(&mut world, other);
            world.run_to(what, |world| reached(world, run, other));
            world.fault(Fault::Machine(leader, 20 * SECOND));
            world.pass(15 * SECOND);
            let launcher = &world.machines[other].launcher;
            assert!(launcher.started.contains_key(&run), "{what}: it is started");
            let ending = world.watch.oracle.ending(run).expect("it has ended");
            assert_ne!(ending.end, End::Lost, "{what}");
            world.heal();
        }
    }
}

/// A worker is cut off with a run of a job that forbids two at once. The run keeps its place until
/// somebody knows of its end.
fn cut_off_for(span: u64) -> World {
    let mut world = calm(3, 3);
    // In a young office no session is given up.
    world.pass(120 * SECOND);
    let leader = world.leader().unwrap();
    with_job(&mut world, r#""all""#, Duration::from_nanos(span + 20 * SECOND));
    // A second node that runs it would do as well as the first.
    let other = follower(&world);
    let run = run_by_hand(&mut world, other);
    world.run_to("its process", |world| world.machines[other].launcher.started.contains_key(&run));
    world.pass(SECOND);
    world.fault(Fault::Part(BTreeSet::from([other]), span));
    world.pass(span - SECOND);
    assert!(!world.watch.oracle.has_ended(run), "nobody knows its end");
    let refused = ask(&mut world, leader, (Method::Post, "/v1/jobs/a/run"), "");
    assert_eq!(refused, 409, "its place is taken");
    world.pass(30 * SECOND);
    let ending = world.watch.oracle.ending(run).expect("it has ended");
    assert_ne!(ending.end, End::Lost);
    world.heal();
    world
}

#[test]
fn a_run_on_a_node_that_is_cut_off_stays_open_until_its_end_is_known() {
    cut_off_for(120 * SECOND);
}

#[test]
fn a_run_that_is_called_missed_and_was_started_is_seen() {
    let _making = Making::new(Some(Mistake::MissedWrittenForStarted));
    assert!(std::panic::catch_unwind(|| cut_off_for(120 * SECOND)).is_err());
}

/// Whether the end of a run is on the disk of a node that does not lead: whoever leads next has it,
/// and the leader has heard nothing of that yet.
fn an_end_is_kept(world: &World, leader: usize) -> bool {
    let others = world.machines.iter().enumerate().filter(|&(at, _)| at != leader);
    let is_end = |raw: &Raw| matches!(decode(raw).record, Record::Finished(_));
    others.flat_map(|(_, machine)| machine.disk.history.iter().rev().take(3)).any(is_end)
}

/// A job on one node whose processes fail loses its leader when the end of its first attempt is on
/// the way, when that has failed, when the second is decided, and when that has a process. All
/// attempts are made, each once.
fn a_leader_dies_between_attempts() {
    type Step = (&'static str, fn(&World, usize, RunId) -> bool);
    let steps: [Step; 4] = [
        ("kept", |world, leader, _| an_end_is_kept(world, leader)),
        ("failed", |world, _, run| world.watch.oracle.ending(run).is_some()),
        ("decided", |world, _, _| world.watch.oracle.counts.retries >= 1),
        ("started", |world, _, run| {
            let second = RunId { attempt: 2, ..run };
            let mut launchers = world.machines.iter().map(|machine| &machine.launcher);
            launchers.any(|launcher| launcher.started.contains_key(&second))
        }),
    ];
    for (what, reached) in steps {
        let mut world = calm(3, 7);
        with_job(
            &mut world,
            r#""all","tags":{"role":"web"},"retries":3"#,
            Duration::from_millis(500),
        );
        world.machines.iter_mut().for_each(|machine| machine.launcher.fails = Some(true));
        let (leader, other) = (world.leader().unwrap(), follower(&world));
        let run = run_by_hand(&mut world, other);
        world.run_to(what, |world| reached(world, leader, run));
        world.fault(Fault::Machine(leader, 15 * SECOND));
        world.pass(45 * SECOND);
        let started = &world.machines[other].launcher.started;
        let attempts = started.keys().filter(|of| of.group == run.group).map(|of| of.attempt);
        assert!(attempts.eq(1..=4), "{what}: {started:?}");
        let last = RunId { attempt: 4, ..run };
        assert_eq!(world.watch.oracle.ending(last).map(|end| end.end), Some(End::Failed), "{what}");
        assert_eq!(world.watch.oracle.owes_retry(), None, "{what}");
        world.heal();
    }
}

#[test]
fn a_retry_survives_the_leader_that_decides_it() {
    a_leader_dies_between_attempts();
}

#[test]
fn a_retry_that_dies_with_its_leader_is_seen() {
    let _making = Making::new(Some(Mistake::RetryLostOnFailover));
    assert!(std::panic::catch_unwind(a_leader_dies_between_attempts).is_err());
}

/// The leader dies when the success of a job is on its way after which another runs, when it has
/// succeeded, when the other is claimed, and when that is started. It runs once.
fn a_leader_dies_between_parent_and_child() {
    type Step = (&'static str, fn(&World, usize) -> bool);
    let steps: [Step; 4] = [
        ("kept", an_end_is_kept),
        ("succeeded", |world, _| world.watch.oracle.counts.ends >= 1),
        ("claimed", |world, _| world.watch.oracle.counts.chained >= 1),
        ("started", |world, _| world.watch.spawns > 1),
    ];
    for (what, reached) in steps {
        let mut world = calm(3, 7);
        let (leader, other) = (world.leader().unwrap(), follower(&world));
        with_job(&mut world, "1", Duration::from_millis(500));
        world.machines.iter_mut().for_each(|machine| machine.launcher.fails = Some(false));
        let child = r#"{"name":"b","parent_job":"a","command":"true","run_on":"all"}"#;
        assert_eq!(ask(&mut world, other, (Method::Post, "/v1/jobs"), child), 201, "{what}");
        let claims = world.watch.oracle.counts.claims;
        world.wish(other, (Method::Post, "/v1/jobs/a/run"), "");
        world.run_to(what, |world| reached(world, leader));
        world.fault(Fault::Machine(leader, 15 * SECOND));
        world.pass(40 * SECOND);
        assert_eq!(world.watch.oracle.counts.chained, 1, "{what}");
        assert_eq!(world.watch.oracle.counts.claims, claims + 2, "{what}");
        assert_eq!(world.watch.oracle.owes_chained(), None, "{what}");
        let b = world.watch.oracle.state.job_named("b").expect("it is there");
        let group = b.executions().next().expect("it has run").group;
        for machine in &world.machines {
            let run = RunId { group, node: machine.id, attempt: 1 };
            assert!(machine.launcher.started.contains_key(&run), "{what}: {run}");
        }
        world.heal();
    }
}

#[test]
fn a_child_survives_the_leader_that_claims_it() {
    a_leader_dies_between_parent_and_child();
}

#[test]
fn a_child_that_dies_with_its_leader_is_seen() {
    let _making = Making::new(Some(Mistake::ChildLostOnFailover));
    assert!(std::panic::catch_unwind(a_leader_dies_between_parent_and_child).is_err());
}

/// A node dies for good with a run that may be repeated: another one does.
#[test]
fn a_run_that_is_lost_with_its_node_is_repeated_elsewhere_where_that_does_no_harm() {
    let mut world = calm(3, 3);
    let how = r#""any","retries":1,"idempotent":true,"timeout":"1s""#;
    with_job(&mut world, how, Duration::from_secs(2));
    let who = world.wish(0, (Method::Post, "/v1/jobs/a/run"), "");
    world.run_to("its process", |world| world.watch.spawns == 1);
    let group = world.watch.oracle.effects[&who][0];
    let started = |machine: &Machine| machine.launcher.started.keys().any(|of| of.group == group);
    let one = world.machines.iter().position(started).unwrap();
    world.fault(Fault::Machine(one, 600 * SECOND));
    world.pass(500 * SECOND);
    assert_eq!(world.watch.spawns, 2, "it is repeated once");
    let others = world.machines.iter().filter(|machine| started(machine)).count();
    assert_eq!(others, 2, "on another node");
    world.heal();
}

/// A leader gets no turn for a minute. What it had to say then is said when others lead.
#[test]
fn a_leader_that_wakes_after_a_minute_orders_nothing() {
    for seed in 0..4 {
        let mut world = calm(3, seed);
        let job = r#"{"name":"a","schedule":"* * * * * *","command":"true","run_on":"all"}"#;
        assert_eq!(ask(&mut world, 0, (Method::Post, "/v1/jobs"), job), 201);
        world.pass(3 * SECOND + seed * 137 * MS);
        let leader = world.leader().unwrap();
        world.fault(Fault::Pause(leader, 60 * SECOND));
        world.pass(70 * SECOND);
        assert_ne!(world.leader(), Some(leader), "another leads");
        world.heal();
    }
}

/// A node has no launcher, and its session breaks again and again, so that it is asked more than
/// once for a run that it has not heard of. Each time it answers, the run is ordered.
fn ordered_twice() {
    let mut world = calm(3, 5);
    with_job(&mut world, r#""all""#, Duration::from_secs(2));
    let (leader, other) = (world.leader().unwrap(), follower(&world));
    world.fault(Fault::Launcher(other, 40 * SECOND));
    world.pass(SECOND);
    let run = run_by_hand(&mut world, other);
    world.fault(Fault::Break(leader, other));
    for _ in 0..6 {
        world.pass(5 * SECOND / 2);
        world.fault(Fault::OneWay(leader, other, SECOND));
        world.pass(9 * SECOND / 10);
        world.fault(Fault::Break(leader, other));
    }
    world.pass(30 * SECOND);
    assert!(world.machines[other].launcher.started.contains_key(&run));
    world.heal();
}

#[test]
fn a_run_that_is_ordered_twice_is_promised_once() {
    ordered_twice();
}

#[test]
fn a_run_that_is_promised_twice_is_seen() {
    let _making = Making::new(Some(Mistake::NoWorkerDedup));
    assert!(std::panic::catch_unwind(ordered_twice).is_err());
}

/// Who votes, as it is committed.
fn voters(world: &World) -> Vec<u32> {
    world.watch.oracle.state.servers().voters.iter().map(|node| node.get()).collect()
}

fn leads(world: &World, at: usize) -> bool {
    world.leader() == Some(at)
}

/// One node becomes three and then others, while a job fires each second; each that leads is made
/// to go. No due time is late by more than a moment, for nobody has to be missed first.
#[test]
fn voters_come_and_go_while_jobs_fire() {
    let mut world = calm_with(Crew { voters: 1, spares: 2, workers: 1 }, 7);
    for machine in &mut world.machines {
        (machine.launcher.lasts, machine.running_max) = (Some(Duration::from_millis(100)), 100);
    }
    let job = r#"{"name":"a","schedule":"* * * * * *","command":"true","run_on":"all"}"#;
    assert_eq!(ask(&mut world, 0, (Method::Post, "/v1/jobs"), job), 201);
    assert_eq!(world.watch.oracle.state.servers().learners.len(), 2, "they learn");
    assert_eq!(ask(&mut world, 3, (Method::Get, "/v1/jobs"), ""), 503, "a worker has none");
    let add = r#"{"add":["n2","n3"]}"#;
    assert_eq!(ask(&mut world, 1, (Method::Post, "/v1/voters"), add), 200);
    world.run_to("three voters", |world| voters(world) == [1, 2, 3]);
    assert_eq!(ask(&mut world, 1, (Method::Post, "/v1/voters"), add), 200, "it is so already");
    let to = r#"{"to":"n2"}"#;
    assert_eq!(ask(&mut world, 2, (Method::Post, "/v1/voters/transfer"), to), 200);
    assert!(leads(&world, 1));
    assert_eq!(ask(&mut world, 2, (Method::Delete, "/v1/voters/n2"), ""), 200);
    world.run_to("two voters", |world| voters(world) == [1, 3]);
    world.run_to("another leader", |world| world.leader().is_some_and(|at| at != 1));
    // Whoever is asked may not have heard yet who leads now.
    world.pass(SECOND);
    let replace = r#"{"old":"n1","new":"n2"}"#;
    assert_eq!(ask(&mut world, 1, (Method::Post, "/v1/voters/replace"), replace), 200);
    world.run_to("others", |world| voters(world) == [2, 3]);
    world.pass(5 * SECOND);
    for machine in &world.machines {
        let count = machine.launcher.started.len();
        assert!(count > 5, "{} runs it {count} times", machine.id);
    }
    world.heal();
}

/// A leader that leaves or stops hands over first: the next one leads long before anybody would
/// have missed it.
#[test]
fn a_leader_that_goes_hands_over_first() {
    for leaves in [true, false] {
        for seed in 0..4 {
            let mut world = calm(3, seed);
            let leader = world.leader().unwrap();
            let fault = if leaves { Fault::Leave } else { Fault::Stop };
            world.fault(fault(leader, 30 * SECOND));
            world.pass(SECOND / 2);
            let next = world.leader().expect("another leads at once");
            assert_ne!(next, leader);
            assert!(world.machines[leader].node.is_none(), "it has ended");
            let member = world.watch.oracle.state.member(world.machines[leader].id);
            let has_left = member.is_some_and(|member| member.state == MemberState::Left);
            assert_eq!(has_left, leaves);
            world.heal();
        }
    }
}

/// A leader stands still, cut off, while others elect another, which changes something. It is asked
/// in the moment in which it wakes, and still believes that it leads.
fn read_of_a_leader_that_was() {
    let mut world = calm(3, 2);
    let (leader, other) = (world.leader().unwrap(), follower(&world));
    world.fault(Fault::Part(BTreeSet::from([leader]), 20 * SECOND));
    world.fault(Fault::Pause(leader, 8 * SECOND));
    world.pass(6 * SECOND);
    let job = r#"{"name":"a","schedule":"@manually","command":"true"}"#;
    assert_eq!(ask(&mut world, other, (Method::Post, "/v1/jobs"), job), 201);
    let wakes = world.machines[leader].paused_until;
    world.run_until(wakes - 1);
    world.t = wakes;
    let who = world.wish(leader, (Method::Get, "/v1/jobs?consistent"), "");
    world.pass(5 * SECOND);
    assert_eq!(world.wishes[&who], 503, "it can't say");
    world.pass(15 * SECOND);
    for at in 0..3 {
        assert_eq!(ask(&mut world, at, (Method::Get, "/v1/jobs/a?consistent"), ""), 200);
    }
    world.heal();
}

#[test]
fn a_consistent_read_sees_what_another_leader_has_answered() {
    read_of_a_leader_that_was();
}

#[test]
fn a_read_that_is_served_without_asking_a_majority_is_seen() {
    let _making = Making::new(Some(Mistake::ReadWithoutRound));
    assert!(std::panic::catch_unwind(read_of_a_leader_that_was).is_err());
}

/// A clock goes wrong by a second or by years, on the leader or on another node. What is due is
/// fired when it is, by whoever has the right time; no mark is lowered, and nothing fires early.
#[test]
fn one_clock_that_is_wrong_fires_nothing_too_early_and_holds_nothing_up() {
    let hour = 3_600_000;
    let wrong = [3_000, hour, -hour, -4 * hour, -20 * 366 * 24 * hour, 14 * 365 * 24 * hour];
    for (offset, of_leader) in wrong.into_iter().flat_map(|ms| [(ms, true), (ms, false)]) {
        let what = format!("{offset} ms on the leader: {of_leader}");
        let mut world = calm(3, 4);
        with_clock_job(&mut world);
        let leader = world.leader().unwrap();
        let wrong = if of_leader { leader } else { follower(&world) };
        world.machines[wrong].clock.offset = offset;
        world.input(wrong, Input::ClockSet);
        world.pass(15 * SECOND);
        let off = offset.abs() > 5_000;
        assert_eq!(world.leader() != Some(leader), of_leader && off, "{what}");
        let right = (0..3).find(|&at| at != wrong).unwrap();
        let true_now = world.now(right).wall;
        let state = &world.watch.oracle.state;
        assert_eq!(state.clock_era(), 0, "{what}");
        let job = state.job_named("a").unwrap();
        let behind = true_now.ms_since(job.decided_until.wall());
        assert!((-1_001..3_000).contains(&behind), "{what}: {behind} ms behind");
        world.machines[wrong].clock.offset = 0;
        world.input(wrong, Input::ClockSet);
        world.pass(5 * SECOND);
        if of_leader {
            world.heal();
        }
    }
}

/// All clocks are set back by four hours: that is a correction, and fires go on.
#[test]
fn clocks_that_are_all_set_back_are_corrected() {
    let mut world = calm(3, 4);
    with_clock_job(&mut world);
    world.watch.corrects = true;
    for at in 0..3 {
        world.machines[at].clock.offset = -4 * 3_600_000;
    }
    for at in 0..3 {
        world.input(at, Input::ClockSet);
    }
    let before = world.watch.spawns;
    world.pass(30 * SECOND);
    assert_eq!(world.watch.oracle.state.clock_era(), 1);
    assert!(world.watch.spawns > before + 5);
}

/// A job that fires each second, in a world whose clocks are set.
fn with_clock_job(world: &mut World) {
    world.watch.steps = true;
    for machine in &mut world.machines {
        (machine.launcher.lasts, machine.running_max) = (Some(Duration::from_millis(100)), 100);
    }
    let job = r#"{"name":"a","schedule":"* * * * * *","command":"true","run_on":"any"}"#;
    assert_eq!(ask(world, 0, (Method::Post, "/v1/jobs"), job), 201);
    world.pass(3 * SECOND);
}

/// Orders are held up on their way until others lead and have given up their runs.
fn late_orders(seed: u64) {
    let mut world = calm(3, seed);
    let leader = world.leader().unwrap();
    let job = r#"{"name":"a","schedule":"@manually","command":"true","run_on":"all",
                  "start_deadline":"1s","catchup":"skip"}"#;
    assert_eq!(ask(&mut world, leader, (Method::Post, "/v1/jobs"), job), 201);
    let run = run_by_hand(&mut world, leader);
    let others: Vec<usize> = (0..3).filter(|&at| at != leader).collect();
    for &other in &others {
        world.fault(Fault::OneWay(leader, other, 5 * SECOND));
    }
    world.fault(Fault::Pause(leader, 12 * SECOND));
    world.pass(15 * SECOND);
    for &other in &others {
        let run = RunId { node: world.machines[other].id, ..run };
        let ending = world.watch.oracle.ending(run).expect("another leader has given it up");
        assert_eq!(ending.end, End::Missed);
    }
    world.pass(20 * SECOND);
    world.heal();
}

#[test]
fn an_order_of_a_leader_that_was_starts_nothing() {
    (0..12).for_each(late_orders);
}

#[test]
fn an_order_of_a_lower_epoch_that_is_obeyed_is_seen() {
    let _making = Making::new(Some(Mistake::LowEpochObeyed));
    let is_seen = |seed| std::panic::catch_unwind(|| late_orders(seed)).is_err();
    assert!((0..12).any(is_seen));
}

/// A worker dies with a run, and another one comes with its name. Until the first has been silent
/// for a minute, it might come back; then the name is given away and the run is lost. The first is
/// refused from then on.
#[test]
fn a_name_is_given_away_when_its_node_was_silent_for_a_minute() {
    let mut world = calm_with(Crew { voters: 3, spares: 0, workers: 2 }, 9);
    with_job(&mut world, r#""all""#, Duration::from_secs(1_000));
    let (old, new) = (3, 4);
    world.fault(Fault::Agent(new, NEVER - world.t));
    world.machines[new].name = world.machines[old].name.clone();
    // Its session is over when it was silent for twenty seconds, in an office that is not young.
    world.pass(120 * SECOND);
    let run = run_by_hand(&mut world, 0);
    let run = RunId { node: world.machines[old].id, ..run };
    world.run_to("its process", |world| world.machines[old].launcher.started.contains_key(&run));
    world.fault(Fault::Machine(old, NEVER / 2));
    world.machines[new].agent_at = world.t;
    let holds = |world: &World, at: usize| {
        let member = world.watch.oracle.state.member(world.machines[at].id);
        let name = member.filter(|member| member.state == MemberState::Registered);
        name.is_some_and(|member| member.name == "n4")
    };
    world.pass(60 * SECOND);
    assert!(holds(&world, old) && !holds(&world, new), "it might come back");
    assert!(!world.watch.oracle.has_ended(run));
    world.pass(30 * SECOND);
    assert!(holds(&world, new) && !holds(&world, old), "it is given away");
    let job = world.watch.oracle.state.job_named("a").unwrap();
    let state = job.execution(run).expect("it is kept").run.state;
    assert!(matches!(state, RunState::Ended(ending) if ending.end == End::Lost), "{state:?}");
    assert_eq!(world.watch.oracle.state.open_run(run), None);
    world.machines[old].agent_at = world.t;
    world.machines[old].launcher_at = world.t;
    world.pass(30 * SECOND);
    assert!(holds(&world, new) && !holds(&world, old), "it stays so");
}
