//! What is tried again, how often and where; told as conversations.

use super::*;

#[test]
fn a_target_is_tried_until_it_succeeds_or_no_attempt_is_left_and_its_last_end_counts() {
    check(
        "two attempts more",
        &[
            ("put a retries=2", "put 1"),
            ("claim 1 due=500 on=1,2", "claimed 1 as 2"),
            ("end 2.1 failed", "ended 1 2.1"),
            ("show 1", "mark 500, 0/0/0, Untriggered, 2: 1 failed 2 open"),
            ("retry 2.1 on=1", "retried 1 2.1.2"),
            ("end 2.2 succeeded", "ended 1 2.2"),
            ("show 1", "mark 500, 1/0/0, Untriggered, 2: 1 failed 1 open at 2 2 succeeded"),
            ("open", "1:2.1"),
            ("end 2.1.2 timed_out", "ended 1 2.1"),
            ("open", ""),
            ("retry 2.1.2 on=1", "retried 1 2.1.3"),
            ("end 2.1.3 failed", "ended 1 2.1"),
            (
                "show 1",
                "mark 500, 1/1/0, PartiallyFailed, \
                 2: 1 failed 1 timed_out at 2 1 failed at 3 2 succeeded",
            ),
            ("retry 2.1.3 on=1", "void"),
        ],
    );
    check(
        "success at the second",
        &[
            ("put a retries=1", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("end 2.1 failed", "ended 1 2.1"),
            ("retry 2.1 on=3", "retried 1 2.3.2"),
            ("end 2.3.2 succeeded", "ended 1 2.3"),
            ("show 1", "mark 500, 1/0/0, Success, 2: 1 failed 3 succeeded at 2"),
        ],
    );
    // What never came to its retry has failed.
    check(
        "a retry that never starts",
        &[
            ("put a retries=1", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("end 2.1 failed", "ended 1 2.1"),
            ("retry 2.1 on=1", "retried 1 2.1.2"),
            ("end 2.1.2 missed", "ended 1 2.1"),
            ("show 1", "mark 500, 0/1/0, Failed, 2: 1 failed 1 missed at 2"),
        ],
    );
}

#[test]
fn only_what_has_failed_is_tried_again_once_and_where_nothing_of_its_fire_is() {
    for (flags, end, again) in [
        ("retries=1", "failed", true),
        ("retries=1", "timed_out", true),
        ("retries=1", "lost", false),
        ("retries=1 idempotent", "lost", true),
        ("retries=1 idempotent", "succeeded", false),
        ("retries=1 idempotent", "killed", false),
        ("retries=1 idempotent", "missed", false),
        ("retries=1 idempotent", "skipped", false),
        ("retries=0 idempotent", "failed", false),
    ] {
        let mut world = World::default();
        world.line(&format!("put a {flags}"));
        world.line("claim 1 due=500 on=1,2");
        assert_eq!(world.line("retry 2.1 on=1"), "void", "it has not ended");
        world.line(&format!("end 2.1 {end}"));
        assert_eq!(world.state.owed_retry(run_id("2.1")).is_some(), again, "{flags}, {end}");
        if !again {
            assert_eq!(world.line("retry 2.1 on=1"), "void", "{flags}, {end}");
            continue;
        }
        assert_eq!(world.line("retry 2.1 on=2"), "void 1", "another target is there");
        assert_eq!(world.line("retry 2.1 on=3"), "retried 1 2.3.2");
        assert_eq!(world.line("retry 2.1 on=1"), "void", "a second one");
        world.line("end 2.2 failed");
        assert_eq!(world.line("retry 2.2 on=3"), "void 1", "an open attempt is there");
        world.line("end 2.3.2 failed");
        assert_eq!(world.line("open"), "", "no attempt is left");
        assert_eq!(world.line("retry 2.2 on=4"), "retried 1 2.4.2");
    }
    // Where an attempt of the same number has ended, another would have its name.
    check(
        "two targets that meet",
        &[
            ("put a retries=3", "put 1"),
            ("claim 1 due=500 on=1,2", "claimed 1 as 2"),
            ("end 2.1 failed", "ended 1 2.1"),
            ("retry 2.1 on=3", "retried 1 2.3.2"),
            ("end 2.3.2 failed", "ended 1 2.3"),
            ("retry 2.3.2 on=4", "retried 1 2.4.3"),
            ("end 2.2 failed", "ended 1 2.2"),
            ("retry 2.2 on=3", "void 1"),
            ("retry 2.2 on=1", "retried 1 2.1.2"),
        ],
    );
}

#[test]
fn a_fire_that_is_to_be_tried_again_is_open_and_keeps_its_definition() {
    for (each, shown) in [("", "1: 1 skipped 2 skipped"), ("each", "1: 1 skipped 2 open")] {
        let mut world = World::default();
        world.line(&format!("put a forbid {each} retries=1"));
        world.line("claim 1 due=500");
        world.line("end 2.1 failed");
        // The edit takes the retries from later fires, and a disabled job's are made all the same.
        world.line(&format!("put a forbid {each} off"));
        world.line("claim 1 due=600 on=1,2");
        let wanted = format!("0/0/{}", if each.is_empty() { 2 } else { 1 });
        let told = world.show(JobId(1));
        assert!(told.contains(&wanted), "{each}: {told}");
        assert!(told.ends_with(&shown.replace("1:", "5:")), "{each}: {told}");
        assert_eq!(world.line("retry 2.1 on=1"), "retried 1 2.1.2", "{each}");
        let spec = &world.state.fire(JobId(1), Index(2)).unwrap().spec;
        assert!(spec.ends_with(b"retries=1"), "{each}");
    }
}

#[test]
fn a_deleted_job_is_not_tried_again() {
    check(
        "deleted with a retry that waits for its record, and one that has it",
        &[
            ("put a retries=5 keep=0", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("claim 1 due=600", "claimed 1 as 3"),
            ("end 2.1 failed", "ended 1 2.1"),
            ("end 3.1 failed", "ended 1 3.1"),
            ("retry 3.1 on=1", "retried 1 3.1.2"),
            ("delete 1", "deleted 1"),
            ("retry 2.1 on=1", "void"),
            ("show 1", "deleted, 0/0/0, Untriggered, 3: 1 failed 1 open at 2"),
            ("end 3.1.2 failed", "ended 1 3.1"),
            ("show 1", "gone"),
        ],
    );
    check(
        "deleted with nothing open",
        &[
            ("put a retries=5", "put 1"),
            ("claim 1 due=500", "claimed 1 as 2"),
            ("end 2.1 failed", "ended 1 2.1"),
            ("delete 1", "deleted 1"),
            ("show 1", "gone"),
        ],
    );
}

#[test]
fn what_is_lost_with_its_node_is_tried_again_where_that_does_no_harm() {
    for (flags, owed) in [("retries=1", 0), ("retries=1 idempotent", 1)] {
        let mut world = World::default();
        for line in
            ["node 1 one", &format!("put a {flags}"), "claim 2 due=500", "node 1 one store=8"]
        {
            world.line(line);
        }
        assert_eq!(world.line("open"), "");
        assert_eq!(world.state.owed_retries().len(), owed, "{flags}");
    }
}

/// A snapshot at any moment of a retry is that moment.
#[test]
fn a_snapshot_holds_what_is_to_be_tried_again() {
    let mut world = World::default();
    for line in [
        "put a retries=2",
        "claim 1 due=500 on=1,2",
        "end 2.1 failed",
        "retry 2.1 on=3",
        "end 2.2 failed",
        "end 2.3.2 timed_out",
        "retry 2.3.2 on=3",
    ] {
        world.line(line);
        let loaded = load(&chunks(&world.state)).unwrap();
        loaded.check();
        assert!(loaded == world.state, "after {line}");
    }
    let run = *world.state.fire(JobId(1), Index(2)).unwrap().run(run_id("2.3.3")).unwrap();
    assert_eq!(run.not_before, Some(Second(900).wall()));
}

/// The one fire that is left stays whole, though it has more runs than a history is to have.
#[test]
fn a_fire_that_every_node_fails_every_time_is_kept() {
    let mut world = World::default();
    world.line("put a retries=10 keep=1");
    let targets = (1..=TARGETS_MAX as u32).map(node).collect();
    let (job, trigger) = (JobId(1), Trigger::Manual);
    let claim = Claim { job, version: 1, due: None, clock_era: 0, trigger, targets, parent: None };
    let put = |state: &mut State, record| {
        let index = Index(state.applied().0 + 1);
        let (epoch, wall, actor) = (Epoch(1), Wall(0), String::new());
        state.apply(Entry { index, epoch, wall, actor, record })
    };
    put(&mut world.state, Record::Claim(claim));
    let open = |state: &State| state.open_runs().next().map(|(run, _)| run);
    while let Some(run) = open(&world.state) {
        let ending = ending(End::Failed, 1);
        put(&mut world.state, Record::Finished(Finished { run, ending, tail: Vec::new() }));
        let not_before = Wall(0);
        put(&mut world.state, Record::Retry(Retry { run, node: run.node, not_before }));
    }
    world.state.check();
    assert_eq!(world.state.job(job).unwrap().executions().count(), TARGETS_MAX * 11);
    assert_eq!(world.state.job(job).unwrap().counts().error_count, TARGETS_MAX as u64);
    world.line("claim 1 due=500");
    world.line(&format!("end {}.1 succeeded", world.state.applied().0));
    let kept = world.state.job(job).unwrap().executions().count();
    assert!(kept <= 2, "{kept} runs are kept");
}
