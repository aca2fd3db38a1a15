//! A large installation: how long it takes to open, and what it takes in memory, beside reading
//! and checking the same bytes and nothing more.

use super::lateness::{self, Tools};
use super::numbers::{Sample, Spread};
use crate::common::{Agent, Client, wait_until};
use bellwether::ident::{Boot, ClusterId, Epoch, Index, JobId, NodeId, RunId, StoreId};
use bellwether::job::{Catchup, Spec};
use bellwether::journal::sim::SimStorage;
use bellwether::journal::{
    self, Hard, HardFile, Journal, Outputs, Owner, Progress, RunsLog, SEGMENT_BYTES_DEFAULT, Seam,
    Settings, Storage, TAILS_MAX_BYTES,
};
use bellwether::schedule::timing;
use bellwether::store::{
    Claim, End, Ending, Entry, Facts, Finished, JobPut, Record, SCHEMA, Servers, State, Trigger,
};
use bellwether::time::{Second, Wall};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Jobs of the first installation; `BENCH_JOBS` says another number.
const JOBS: u64 = 1_000_000;
/// Distinct schedules among them.
const SCHEDULES: u64 = 300;
/// Length of a stored definition, in bytes.
const SPEC_BYTES: usize = 300;
/// Jobs of the second installation, and how many executions each has.
const OLD_JOBS: u64 = 10_000;
const EXECUTIONS: u64 = 100;
/// Jobs that fire each second while a snapshot is written, and how long they are watched after.
const FIRING: u64 = 200;
const REST_S: u64 = 10;

/// Jobs that are sent at once to be restored.
const RESTORED_AT_ONCE: usize = 100;

/// Jobs of the directory that is changed all the time, and who changes them.
const DISK_JOBS: u64 = 100_000;
const WRITERS: u64 = 16;

const OWNER: Owner = Owner { cluster: ClusterId(1), store: StoreId(2) };
/// A mark that no due time passes.
const FAR: Second = Second(4_000_000_000);

/// Measures both, so many times, and prints what was found.
pub(crate) fn measure(runs: usize) {
    let jobs = std::env::var("BENCH_JOBS").map_or(JOBS, |n| n.parse().expect("a number"));
    let empty = Found::of(write(&begun()).path());
    println!("\nopening; an empty one takes {} KiB", empty.rss_kib);
    println!("run                     open s   bare s   KiB of memory");
    for (what, state, each, aim) in [
        ("jobs", with_jobs(jobs), jobs, "700 bytes each"),
        ("executions", with_executions(), OLD_JOBS * EXECUTIONS, "150 bytes each, jobs and all"),
    ] {
        let dir = write(&state);
        drop(state);
        let (mut times, mut ratios, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=runs {
            let found = Found::of(dir.path());
            let (open, bare) = (found.open.as_secs_f64(), found.bare.as_secs_f64());
            println!("{number} {each} {what:12} {open:7.2} {bare:8.3} {:12}", found.rss_kib);
            times.push(open);
            ratios.push(open / bare);
            sizes.push((found.rss_kib - empty.rss_kib) as f64 * 1_024.0 / each as f64);
        }
        println!("{what}: open {} s, / bare: {}", Spread::of(times), Spread::of(ratios));
        println!("{what}: {} bytes each (aim {aim})", Spread::of(sizes));
    }
}

/// How late jobs start while a snapshot of a large installation is written, and afterwards.
pub(crate) fn snapshot(tools: &Tools, runs: usize) {
    let jobs = std::env::var("BENCH_JOBS").map_or(JOBS, |n| n.parse().expect("a number"));
    println!(
        "\n{FIRING} of {jobs} jobs each second, ms late, while a snapshot is written and after"
    );
    println!("run           seconds      p50      p99      max");
    let mut added = Vec::new();
    for number in 1..=runs {
        let home = tempfile::tempdir().expect("a directory can be made");
        let stamps = home.path().join("stamps");
        let dir = write_journal(jobs, &tools.stamp, &stamps);
        let agent = Agent::builder().data_dir(dir.path()).start();
        let begun = unix_time().as_secs() + 1;
        wait_until(Duration::from_secs(300), "the snapshot is in force", || {
            dir.path().join("snapshot").exists().then_some(())
        });
        let ended = unix_time().as_secs();
        wait_until(Duration::from_secs(60), "as much time has gone by again", || {
            (unix_time().as_secs() > ended + REST_S + 2).then_some(())
        });
        drop(agent);
        let p99 = [("during", begun, ended), ("after", ended + 2, ended + 2 + REST_S)].map(
            |(when, from, to)| {
                let dues: Vec<u64> = (from..to).collect();
                let sample = Sample::new(lateness::read(&stamps, &dues));
                let [p50, p99] = [50, 99].map(|percent| sample.percentile(percent));
                let (max, seconds) = (sample.max(), dues.len());
                println!("{number} {when:10} {seconds:8} {p50:8.2} {p99:8.2} {max:8.2}");
                p99
            },
        );
        added.push(p99[0] - p99[1]);
    }
    println!("p99 during - p99 after: {} ms (aim below 20)", Spread::of(added));
}

/// How fast a restore is read, and for how long the agent does nothing else when all of it is put
/// in force at once.
pub(crate) fn restore(runs: usize) {
    let jobs = std::env::var("BENCH_JOBS").map_or(JOBS, |n| n.parse().expect("a number"));
    println!("\na restore of {jobs} jobs");
    println!("run      jobs/s read   longest wait s   for 100,000 jobs");
    let mut waits = Vec::new();
    for number in 1..=runs {
        let agent = Agent::start();
        let mut connection = agent.unix().connect().expect("it listens");
        let head = "POST /v1/restore HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked";
        connection.send(format!("{head}\r\n\r\n").as_bytes()).expect("it is sent");
        let start = Instant::now();
        for first in (0..jobs).step_by(RESTORED_AT_ONCE) {
            let last = jobs.min(first + RESTORED_AT_ONCE as u64);
            let element = |job: u64| {
                let Spec { name, schedule, command, note, .. } = spec_of(job);
                let before = if job == 0 { "[" } else { "," };
                let job = serde_json::json!({
                    "name": name, "schedule": schedule, "command": command, "note": note,
                });
                format!("{before}{job}")
            };
            let text: String = (first..last).map(element).collect();
            let chunk = format!("{:x}\r\n{text}\r\n", text.len());
            connection.send(chunk.as_bytes()).expect("it is taken");
        }
        connection.send(b"1\r\n]\r\n0\r\n\r\n").expect("it is taken");
        let read = jobs as f64 / start.elapsed().as_secs_f64();
        let ended = AtomicBool::new(false);
        let longest = std::thread::scope(|scope| {
            scope.spawn(|| {
                connection.reply("POST").expect("a reply").expect(200);
                ended.store(true, Ordering::Relaxed);
            });
            let mut longest = Duration::ZERO;
            while !ended.load(Ordering::Relaxed) {
                let start = Instant::now();
                agent.unix().get("/health").expect(200);
                longest = longest.max(start.elapsed());
            }
            longest.as_secs_f64()
        });
        let each = longest * 100_000.0 / jobs as f64;
        println!("{number} {read:15.0} {longest:16.2} {each:18.2}");
        waits.push(each);
    }
    println!("all else waits {} s for 100,000 jobs", Spread::of(waits));
}

/// How much room a directory takes beside what is alive in it, while jobs are changed all the time
/// until a second snapshot is in force. The ballast is not counted.
pub(crate) fn disk(runs: usize) {
    let jobs = std::env::var("BENCH_JOBS").map_or(DISK_JOBS, |n| n.parse().expect("a number"));
    println!("\nbytes of a directory with {jobs} jobs / bytes of its snapshot, at most");
    println!("run   at rest   while a snapshot is written");
    let (mut rests, mut writings) = (Vec::new(), Vec::new());
    for number in 1..=runs {
        let dir = write(&with_jobs(jobs));
        let live = fs::metadata(dir.path().join("snapshot")).expect("a snapshot").len() as f64;
        let agent = Agent::builder().data_dir(dir.path()).flag("--snapshot-after", "1MiB").start();
        let ended = AtomicBool::new(false);
        let (rest, writing) = std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (client, ended) = (agent.unix(), &ended);
                scope.spawn(move || edit(&client, (writer, jobs), ended));
            }
            let found = watch(dir.path(), live);
            ended.store(true, Ordering::Relaxed);
            found
        });
        println!("{number} {rest:11.2} {writing:11.2}");
        rests.push(rest);
        writings.push(writing);
    }
    println!("at rest {} (aim 2), while writing {} (3)", Spread::of(rests), Spread::of(writings));
}

/// Patches one job after the other.
fn edit(client: &Client, (writer, jobs): (u64, u64), ended: &AtomicBool) {
    let mut connection = client.connect().expect("the agent listens");
    for number in (0..jobs).skip(writer as usize).step_by(WRITERS as usize).cycle() {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let name = spec_of(number).name;
        let body = format!(r#"{{"owner":"{number}"}}"#);
        let request = format!(
            "PATCH /v1/jobs/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.send(request.as_bytes()).expect("the agent reads");
        assert_eq!(connection.reply("PATCH").expect("an answer").status, 201);
    }
}

/// The largest ratios at rest and while a snapshot is written, until one has taken the place of the
/// first.
fn watch(dir: &Path, live: f64) -> (f64, f64) {
    let inode = || fs::metadata(dir.join("snapshot")).expect("a snapshot").ino();
    let first = inode();
    let (mut rest, mut writing) = (0.0_f64, 0.0_f64);
    wait_until(Duration::from_secs(600), "there is another snapshot", || {
        let is_writing = || dir.join("snapshot.tmp").exists();
        let before = is_writing();
        let ratio = bytes_in(dir) as f64 / live;
        match before || is_writing() {
            true => writing = writing.max(ratio),
            false => rest = rest.max(ratio),
        }
        (inode() != first).then_some(())
    });
    (rest, writing)
}

fn bytes_in(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = |file: fs::DirEntry| match file.metadata() {
        Ok(found) if found.is_dir() => bytes_in(&file.path()),
        Ok(found) if file.file_name() != "ballast" => found.len(),
        Ok(_) | Err(_) => 0,
    };
    files.map(bytes).sum()
}

/// A data directory whose journal creates these jobs and, firing each second, some more; it is due
/// for a snapshot.
fn write_journal(jobs: u64, stamp: &Path, stamps: &Path) -> TempDir {
    let mut disk = SimStorage::new();
    let mut journal = begin(&mut disk);
    let now = Second(i64::try_from(unix_time().as_secs()).expect("in time"));
    let config = Record::Config(Servers::of(OWNER.cluster, vec![node()]));
    let firing = (0..FIRING).map(|number| {
        let spec = Spec {
            name: format!("firing-{number}"),
            schedule: "* * * * * *".into(),
            timezone: "UTC".into(),
            command: format!("{} {}", stamp.display(), stamps.display()),
            catchup: Catchup::Skip,
            ..Spec::default()
        };
        put_of(spec, now)
    });
    let far = (0..jobs).map(|number| put_of(spec_of(number), FAR));
    let mut records = std::iter::once(config).chain(firing).chain(far).peekable();
    let mut index = 0;
    while records.peek().is_some() {
        let group = records.by_ref().take(1_000).map(|r| (r.kind(), r.encode(now.wall(), "bench")));
        let group: Vec<(u8, Vec<u8>)> = group.collect();
        let raw: Vec<journal::Record<'_>> = group
            .iter()
            .zip(index + 1..)
            .map(|((kind, payload), at)| journal::Record {
                index: Index(at),
                epoch: Epoch(1),
                kind: *kind,
                schema: SCHEMA,
                payload,
            })
            .collect();
        journal.append_group(&mut disk, &raw).expect("room");
        index += group.len() as u64;
    }
    drop(journal);
    put_out(&disk)
}

struct Found {
    open: Duration,
    bare: Duration,
    rss_kib: u64,
}

impl Found {
    /// Starts an agent over a copy of `dir`, which is in the page cache then.
    fn of(dir: &Path) -> Found {
        let copy = tempfile::tempdir().expect("a directory can be made");
        copy_all(dir, copy.path());
        let start = Instant::now();
        let bytes = fs::read(copy.path().join("snapshot")).expect("there is a snapshot");
        std::hint::black_box(sum(&bytes));
        drop(bytes);
        let bare = start.elapsed();
        let start = Instant::now();
        let agent = Agent::builder().data_dir(copy.path()).start();
        let open = start.elapsed();
        let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = line.and_then(|line| line.split_whitespace().next()).map(str::parse);
        Found { open, bare, rss_kib: rss.expect("a size").expect("a number") }
    }
}

/// A sum over all bytes, eight at a time: the least that a check of them can be.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8")));
    words.fold(0, |sum, word| sum.rotate_left(5) ^ word)
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("it can be listed") {
        let entry = entry.expect("an entry");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_all(&path, &to);
        } else {
            fs::copy(&path, &to).expect("there is room");
        }
    }
}

fn apply(state: &mut State, record: Record) -> Index {
    let index = Index(state.applied().0 + 1);
    let wall = Wall(1_780_272_000_000 + index.0 as i64);
    state.apply(Entry { index, epoch: Epoch(1), wall, actor: "bench".into(), record });
    index
}

fn node() -> NodeId {
    NodeId::new(7).expect("not zero")
}

fn begun() -> State {
    let mut state = State::new();
    apply(&mut state, Record::Config(Servers::of(ClusterId(1), vec![node()])));
    state
}

/// A job that is due in a far year. Names come in no order.
fn spec_of(number: u64) -> Spec {
    let mut spec = Spec {
        name: format!("job-{:08x}-{number}", bellwether::rng::mix(number) as u32),
        schedule: format!("0 {} {} 1 1 *", number % 60, number % SCHEDULES / 60),
        timezone: "Europe/Berlin".into(),
        command: format!("/usr/local/bin/report --customer {number}"),
        ..Spec::default()
    };
    spec.note = "x".repeat(SPEC_BYTES.saturating_sub(spec.to_bytes().len() + 10));
    spec
}

fn put_of(spec: Spec, mark: Second) -> Record {
    let facts =
        Facts { disabled: false, forbid: false, per_node: true, keep: 100, ..Facts::default() };
    let (timing, bytes) = (timing(&spec), spec.to_bytes());
    Record::JobPut(JobPut {
        name: spec.name,
        spec: bytes,
        timing,
        facts,
        mark: Some(mark),
        anchor: None,
    })
}

/// Stores a job and gives its number.
fn put(state: &mut State, number: u64) -> JobId {
    JobId(apply(state, put_of(spec_of(number), FAR)).0)
}

fn with_jobs(jobs: u64) -> State {
    let mut state = begun();
    for number in 0..jobs {
        put(&mut state, number);
    }
    state
}

fn with_executions() -> State {
    let mut state = begun();
    for number in 0..OLD_JOBS {
        let job = put(&mut state, number);
        for _ in 0..EXECUTIONS {
            let claim = Claim {
                job,
                version: job.0,
                due: None,
                clock_era: 0,
                trigger: Trigger::Manual,
                targets: vec![node()],
                parent: None,
            };
            let group = apply(&mut state, Record::Claim(claim));
            let at = Wall(1_780_272_000_000 + group.0 as i64);
            let ending = Ending {
                end: End::Succeeded,
                reason: None,
                exit_code: Some(0),
                signal: None,
                started: at,
                finished: at,
                duration_ms: 1_000,
                cpu_ms: 10,
                max_rss_bytes: 1 << 20,
                output_bytes: 0,
            };
            let run = RunId { group, node: node(), attempt: 1 };
            apply(&mut state, Record::Finished(Finished { run, ending, tail: Vec::new() }));
        }
    }
    state
}

/// A data directory with this state in its snapshot; a leader sends one just so.
fn write(state: &State) -> TempDir {
    let mut disk = SimStorage::new();
    let mut journal = begin(&mut disk);
    let seam = Seam { index: state.applied(), epoch: Epoch(1), chain: 9 };
    journal.snapshot_begin_from_peer(&mut disk, seam).expect("newer");
    for chunk in state.snapshot() {
        journal.snapshot_chunk(&mut disk, &chunk).expect("room");
    }
    let outputs = Outputs { extract: &|_| None, keep: &[], keep_before: Index(0) };
    while journal.snapshot_finish_step(&mut disk, &outputs).expect("room") == Progress::More {}
    put_out(&disk)
}

/// The files of a node, and its empty journal.
fn begin(disk: &mut SimStorage) -> Journal {
    let hard = Hard {
        cluster: OWNER.cluster,
        store: OWNER.store,
        node: node(),
        boot: Boot(1),
        promised_epoch: Epoch(1),
        promised_to: Some(node()),
    };
    HardFile::create(disk, &hard).expect("an empty disk");
    RunsLog::create(disk, OWNER.store).expect("an empty disk");
    let (segment_bytes, tails_max_bytes) = (SEGMENT_BYTES_DEFAULT, TAILS_MAX_BYTES);
    let settings = Settings { owner: OWNER, segment_bytes, tails_max_bytes };
    Journal::create(disk, settings).expect("an empty disk")
}

/// The files of `disk` in a directory.
fn put_out(disk: &SimStorage) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory can be made");
    fs::create_dir(dir.path().join("journal")).expect("a folder can be made");
    for file in disk.list().expect("a list") {
        let bytes = disk.bytes(&file).expect("a file");
        let mut file = fs::File::create(dir.path().join(&file)).expect("a file can be made");
        // On the disk, or its way there would be measured, too.
        file.write_all(bytes).and_then(|()| file.sync_all()).expect("there is room");
    }
    dir
}

fn unix_time() -> Duration {
    std::time::SystemTime::UNIX_EPOCH.elapsed().expect("the clock is set")
}
