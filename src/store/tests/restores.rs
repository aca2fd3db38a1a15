//! Jobs that are staged, and put in force at once or never.

use super::*;

#[test]
fn a_restore_is_in_force_as_a_whole_or_not_at_all() {
    check(
        "created and replaced",
        &[
            ("put a mark=900 anchor=5", "put 1"),
            ("claim 1 hand", "claimed 1 as 2"),
            ("end 2.1 succeeded", "ended 1 2.1"),
            ("put z", "put 4"),
            ("part put a good=50 mark=10 anchor=7", "staged"),
            ("part put b good=50 mark=10 anchor=7 created=3 updated=4", "staged"),
            ("part put c every=day starts=5000", "staged"),
            ("show 6", "gone"),
            ("show 1", "mark 900, 1/0/0, Success, 2: 1 succeeded"),
            ("restore 3", "restored =a:1 +b:6 +c:7"),
            ("show 1", "mark 900, 1/0/0, Success, 2: 1 succeeded"),
            ("show 6", "mark 108, 50/0/0, Untriggered"),
            ("show 7", "mark 4999, 0/0/0, Untriggered"),
            ("show 4", "mark 104, 0/0/0, Untriggered"),
            ("restore 3", "void"),
        ],
    );
    for (title, end, came) in [
        ("too few", "restore 3", "void"),
        ("too many", "restore 1", "void"),
        ("given up", "restore none", "void"),
        ("another one", "restore 2 of=2", "void"),
        ("none of another one", "restore 0 of=2", "restored "),
        ("a new office", "lead 1", "led by 1"),
        ("a part of another one", "part put d of=2", "staged"),
    ] {
        check(
            title,
            &[
                ("part put a", "staged"),
                ("part put b", "staged"),
                (end, came),
                ("restore 2", "void"),
                ("show 1", "gone"),
                ("show 2", "gone"),
            ],
        );
    }
    check(
        "the rest is removed",
        &[
            ("put a", "put 1"),
            ("put b", "put 2"),
            ("put c", "put 3"),
            ("claim 3 hand", "claimed 3 as 4"),
            ("part put b", "staged"),
            ("restore 1 replace", "restored =b:2 -a:1 -c:3"),
            ("show 1", "gone"),
            ("show 3", "deleted, 0/0/0, Untriggered, 4: 1 open"),
            ("restore 0 replace", "restored -b:2"),
        ],
    );
}

#[test]
fn a_restored_job_owes_nothing_from_before() {
    for (what, stored, part, mark) in [
        ("an old mark is forgotten", None, "mark=10", 103),
        ("a later one is kept", None, "mark=900", 900),
        ("without one it is now", None, "", 103),
        ("or a second before the start", None, "starts=700 mark=10", 699),
        ("what is decided stays so", Some("mark=800"), "mark=10", 800),
        ("a start that is no more is not", Some("starts=800 mark=799"), "mark=10", 103),
    ] {
        let mut world = World::default();
        world.line(&format!(
            "put {} {}",
            if stored.is_some() { "a" } else { "b" },
            stored.unwrap_or_default()
        ));
        world.line(&format!("part put a {part}"));
        world.line("restore 1");
        assert_eq!(world.state.job_named("a").unwrap().decided_until, Second(mark), "{what}");
    }
}

#[test]
fn a_created_job_is_as_it_was_and_a_replaced_one_keeps_what_became_of_it() {
    let mut world = World::default();
    world.line("put a every=day");
    for line in [
        "part put a every=day good=9 created=1 updated=2",
        "part put b good=9 created=1 updated=2 anchor=3",
        "part put c",
    ] {
        world.line(line);
    }
    world.line("restore 3");
    let told = |name: &str| {
        let job = world.state.job_named(name).unwrap();
        let times = [job.created, job.updated].map(|wall| wall.second().0);
        (job.version, job.anchor.0, times, job.counts().success_count)
    };
    assert_eq!(told("a"), (5, 101, [101, 105], 0), "its anchor stays where its schedule does");
    assert_eq!(told("b"), (5, 3, [1, 2], 9));
    assert_eq!(told("c"), (5, 105, [105, 105], 0));
    let mut world = World::default();
    world.line("put a every=day");
    world.line("part put a every=hour");
    world.line("restore 1");
    assert_eq!(world.state.job_named("a").unwrap().anchor, Second(103), "else it counts anew");
}

#[test]
fn what_is_staged_is_bounded() {
    let mut world = World::default();
    let part = |restore| {
        let facts =
            Facts { disabled: false, forbid: false, per_node: false, keep: 1, ..Facts::default() };
        let (spec, timing) = (vec![0; 32 << 20], timing("day"));
        let put = JobPut { name: "a".into(), spec, timing, facts, mark: None, anchor: None };
        let counts = Counts::default();
        RestorePart { restore, put, counts, created: None, updated: None }
    };
    let fit = STAGED_MAX_BYTES / part(1).staged_bytes();
    for number in 0..=fit {
        let change = world.apply(Record::RestorePart(Box::new(part(1))));
        assert_eq!(change == Change::Staged, number < fit, "part {number} of {fit}");
    }
    assert_eq!(world.apply(Record::RestorePart(Box::new(part(2)))), Change::Staged);
}

#[test]
fn what_is_staged_is_part_of_a_snapshot_in_its_order() {
    let mut world = World::default();
    world.line("put a");
    world.apply(with_key("k", world.record(&["put", "b"])));
    world.line("part put c good=3");
    world.line("part put d");
    let all = entries(&world.state);
    let tags: Vec<u8> = all.iter().map(|entry| entry[0]).collect();
    assert_eq!(tags, [1, 2, 2, 6, 7, 7]);
    let mut loaded = load(&all).unwrap();
    assert!(loaded == world.state);
    let commit = world.record(&["restore", "2"]);
    let entry = Entry {
        index: Index(5),
        epoch: Epoch(1),
        wall: Second(105).wall(),
        actor: "test".into(),
        record: commit.clone(),
    };
    loaded.apply(entry);
    world.apply(commit);
    assert!(loaded == world.state, "a restore goes on from a snapshot");
    assert_eq!(loaded.jobs_by_name().len(), 4);
    for order in [&[0, 1, 2, 4, 3][..], &[0, 5, 4], &[0, 4, 4], &[0, 4, 1]] {
        let chosen: Vec<_> = order.iter().map(|&at| all[at].clone()).collect();
        assert!(load(&chosen).is_err(), "{order:?}");
    }
}
