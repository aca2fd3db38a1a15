//! Backups that are taken while the state goes on changing.

use super::*;

/// What a backup gives of a job.
fn told(job: &Job) -> (JobId, String, Vec<u8>, Counts, [u64; 5]) {
    let times = [job.decided_until.0, job.anchor.0, job.created.0, job.updated.0];
    let [mark, anchor, created, updated] = times.map(|time| time as u64);
    let numbers = [job.version, mark, anchor, created, updated];
    (job.id, job.name.to_string(), job.spec.to_vec(), job.counts(), numbers)
}

#[test]
fn backups_and_a_snapshot_that_are_taken_at_once_are_each_of_their_beginning() {
    let (mut completed, mut voided, mut snapshots) = (0, 0, 0);
    for seed in 0..60 {
        let rng = &mut Rng::new(7_000 + seed);
        let mut state = State::new();
        go_on(rng, &mut state, 300);
        let mut backups = Vec::new();
        let wanted_chunks = chunks(&state);
        state.begin_snapshot(Index(0));
        for _ in 0..BACKUPS_MAX {
            let count = rng.below(20) as usize;
            go_on(rng, &mut state, count);
            let wanted: Vec<_> = state.jobs.values().map(|job| told(job)).collect();
            backups.push((state.begin_backup().unwrap(), wanted, Vec::new()));
        }
        let mut taken = Vec::new();
        while !backups.is_empty() {
            let count = rng.below(8) as usize;
            go_on(rng, &mut state, count);
            if rng.chance(1, 3) {
                match state.snapshot_piece() {
                    Piece::Chunk(chunk) => taken.push(chunk),
                    Piece::Done(..) => {
                        assert!(taken == wanted_chunks, "seed {seed}");
                        snapshots += 1;
                    }
                    Piece::Void => {}
                }
            }
            let at = rng.below(backups.len() as u64) as usize;
            let (backup, wanted, got) = &mut backups[at];
            let most = got.len() + 1 + rng.below(3) as usize;
            let step = backup.go_on(&state, &mut |job| {
                got.push(told(job));
                got.len() < most
            });
            match step {
                BackupStep::More => continue,
                BackupStep::Done => {
                    assert_eq!(got, wanted, "seed {seed}");
                    completed += 1;
                }
                BackupStep::Void => voided += 1,
            }
            backups.swap_remove(at);
        }
    }
    let counts = [completed, snapshots];
    assert!(completed > 100 && snapshots > 10, "{counts:?} completed, {voided} void");
}

#[test]
fn there_are_few_backups_at_once_and_one_that_is_dropped_makes_room() {
    let mut world = World::default();
    world.line("put a");
    let mut backups: Vec<Backup> =
        std::iter::from_fn(|| world.state.begin_backup()).take(BACKUPS_MAX + 1).collect();
    assert_eq!(backups.len(), BACKUPS_MAX);
    backups.pop();
    world.line("put a");
    backups.push(world.state.begin_backup().unwrap());
    assert!(world.state.begin_backup().is_none());
}

#[test]
fn too_many_changes_and_a_corrected_clock_void_a_backup() {
    let spec = vec![b'x'; 60 << 10];
    let jobs = walk::BEFORE_MAX_BYTES / spec.len() + 1;
    let put = |name: usize| {
        let facts =
            Facts { disabled: false, forbid: false, per_node: false, keep: 1, ..Facts::default() };
        let (name, spec, timing) = (format!("job{name}"), spec.clone(), timing("day"));
        Record::JobPut(JobPut { name, spec, timing, facts, mark: None, anchor: None })
    };
    let mut world = World::default();
    let apply = |world: &mut World, record| {
        let index = Index(world.state.applied().0 + 1);
        let actor = String::new();
        world.state.apply(Entry { index, epoch: Epoch(1), wall: Wall(0), actor, record });
    };
    (0..jobs).for_each(|number| apply(&mut world, put(number)));
    for (changed, void) in [(jobs / 2, false), (jobs, true)] {
        let backup = world.state.begin_backup().unwrap();
        (0..changed).for_each(|number| apply(&mut world, put(number)));
        let step = backup.go_on(&world.state, &mut |_| true);
        assert_eq!(step == BackupStep::Void, void, "{changed} jobs changed");
    }
    let backup = world.state.begin_backup().unwrap();
    world.line("back 1");
    assert_eq!(backup.go_on(&world.state, &mut |_| true), BackupStep::Void);
}
