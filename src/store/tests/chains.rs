//! Jobs that run after another, told as conversations.

use super::*;

#[test]
fn a_child_is_owed_one_fire_for_each_success_of_its_parent() {
    check(
        "success, failure, success by hand",
        &[
            ("put a", "put 1"),
            ("put b after=a", "put 2"),
            ("claim 1 due=500 on=1,2", "claimed 1 as 3"),
            ("end 3.1 succeeded", "ended 1 3.1"),
            ("claim 2 for=4", "void 2"),
            ("end 3.2 succeeded", "ended 1 3.2"),
            ("claim 2 for=4", "void 2"),
            ("claim 2 for=6", "claimed 2 as 8"),
            ("claim 2 for=6", "void 2"),
            ("claim 1 due=600", "claimed 1 as 10"),
            ("end 10.1 failed", "ended 1 10.1"),
            ("claim 2 for=11", "void 2"),
            ("claim 1 hand", "claimed 1 as 13"),
            ("end 13.1 succeeded", "ended 1 13.1"),
            ("claim 2 for=14", "claimed 2 as 15"),
            ("show 2", "mark 102, 0/0/0, Untriggered, 8: 1 open, 15: 1 open"),
        ],
    );
    // All targets must succeed, each at its last attempt.
    for (ends, owes) in [
        (
            vec!["end 3.1 succeeded", "end 3.2 failed", "retry 3.2 on=2", "end 3.2.2 succeeded"],
            true,
        ),
        (vec!["end 3.1 succeeded", "end 3.2 failed", "retry 3.2 on=2", "end 3.2.2 failed"], false),
        (vec!["end 3.1 succeeded", "end 3.2 missed"], false),
        (vec!["end 3.1 succeeded", "end 3.2 skipped"], false),
        (vec!["end 3.1 succeeded", "end 3.2 killed"], false),
    ] {
        let mut world = World::default();
        for line in ["put a retries=1", "put b after=a", "claim 1 due=500 on=1,2"] {
            world.line(line);
        }
        for line in &ends {
            assert_eq!(world.state.chained().count(), 0, "{ends:?} before {line}");
            world.line(line);
        }
        let end = world.state.applied();
        let owed: Vec<(JobId, Index)> = world.state.chained().collect();
        assert_eq!(owed, if owes { vec![(JobId(2), end)] } else { vec![] }, "{ends:?}");
    }
}

#[test]
fn a_parent_is_there_while_a_job_names_it_and_nobody_runs_after_itself() {
    check(
        "links",
        &[
            ("put b after=a", "void"),
            ("put a after=a", "void"),
            ("put a", "put 3"),
            ("put b after=a", "put 4"),
            ("put a after=b", "void 3"),
            ("put c after=b", "put 6"),
            ("put a after=c", "void 3"),
            ("delete 3", "void 3"),
            ("put c after=a", "put 6"),
            ("put b after=c", "put 4"),
            ("delete 6", "void 6"),
            ("delete 4", "deleted 4"),
            ("delete 6", "deleted 6"),
            ("delete 3", "deleted 3"),
        ],
    );
    check(
        "restores",
        &[
            ("part put b after=a", "staged"),
            ("restore 1", "void"),
            ("part put b after=a", "staged"),
            ("part put a", "staged"),
            ("restore 2", "restored +b:3 +a:4"),
            ("part put a after=b", "staged"),
            ("restore 1", "void"),
            ("part put b", "staged"),
            ("part put a after=b", "staged"),
            ("restore 2", "restored =b:3 =a:4"),
            ("delete 3", "void 3"),
            // The parent is not part of it.
            ("part put a after=b", "staged"),
            ("restore 1 replace", "void"),
            ("part put c", "staged"),
            ("restore 1 replace", "restored +c:14 -a:4 -b:3"),
        ],
    );
}

#[test]
fn who_owes_nothing_then_is_owed_nothing_and_what_is_withdrawn_is_told() {
    for (flags, owed) in [
        ("", 1),
        ("off", 0),
        ("starts=105", 1),
        ("starts=106", 0),
        ("expires=105", 1),
        ("expires=104", 0),
    ] {
        let mut world = World::default();
        for line in ["put a", &format!("put b after=a {flags}"), "claim 1 due=500", "lead 1"] {
            world.line(line);
        }
        // By the record at second 105.
        world.line("end 3.1 succeeded");
        assert_eq!(world.state.chained().count(), owed, "{flags}");
    }
    for (edit, missed) in [
        ("put b after=a off", 1),
        ("put b", 1),
        ("put b after=a keep=5", 0),
        ("put b after=c", 0),
        ("delete 2", 0),
    ] {
        let mut world = World::default();
        for line in ["put a", "put b after=a", "put c", "claim 1 due=500", "end 4.1 succeeded"] {
            world.line(line);
        }
        world.line(edit);
        let is_there = world.state.job(JobId(2)).is_some();
        assert_eq!(world.state.chained().count(), usize::from(missed == 0 && is_there), "{edit}");
        let told = world
            .state
            .job(JobId(2))
            .map_or((0, 0), |job| (job.counts().missed_count, job.skips().count()));
        assert_eq!(told, (missed, missed as usize), "{edit}");
    }
    check(
        "no node",
        &[
            ("put a", "put 1"),
            ("put b after=a", "put 2"),
            ("claim 1 due=500", "claimed 1 as 3"),
            ("end 3.1 succeeded", "ended 1 3.1"),
            ("skip 2 for=3", "void 2"),
            ("skip 2 for=4", "skipped 2"),
            ("skip 2 for=4", "void 2"),
            ("claim 2 for=4", "void 2"),
            ("show 2", "mark 102, 0/0/1, Untriggered, 1 skips"),
        ],
    );
}

#[test]
fn only_so_many_fires_are_owed_and_the_rest_is_told() {
    let mut world = World::default();
    world.line("put a");
    world.line("put b after=a");
    for _ in 0..CHAINED_MAX + 2 {
        world.line("claim 1 hand");
        world.line(&format!("end {}.1 succeeded", world.state.applied().0));
    }
    assert_eq!(world.state.chained().count(), CHAINED_MAX);
    let job = world.state.job(JobId(2)).unwrap();
    assert_eq!((job.counts().missed_count, job.skips().count()), (2, 2));
    let loaded = load(&chunks(&world.state)).unwrap();
    loaded.check();
    assert!(loaded == world.state);
}

/// Whatever a snapshot says of chains, a state that is read from it is sound.
#[test]
fn a_snapshot_holds_who_runs_after_whom_and_what_is_owed() {
    let mut world = World::default();
    for line in ["put a", "put b after=a", "put c after=b", "claim 1 hand", "end 4.1 succeeded"] {
        world.line(line);
        let loaded = load(&chunks(&world.state)).unwrap();
        loaded.check();
        assert!(loaded == world.state, "after {line}");
    }
    let good = entries(&world.state);
    let mut without = good.clone();
    without.remove(1);
    assert!(load(&without).is_err(), "the parent is not there");
    let mut early = good.clone();
    // The end for which the fire is owed is the last number of the header.
    let last = early[0].len() - 8;
    early[0][last..].copy_from_slice(&99_u64.to_le_bytes());
    assert!(load(&early).is_err(), "an end of a later time");
    early[0][last - 8..last].copy_from_slice(&1_u64.to_le_bytes());
    early[0][last..].copy_from_slice(&5_u64.to_le_bytes());
    assert!(load(&early).is_err(), "owed to a job that runs after nobody");
}
