//! A large installation: how long it takes to open, and what it takes in memory, beside reading
//! and checking the same bytes and nothing more.

use super::numbers::Spread;
use crate::common::Agent;
use bellwether::ident::{Boot, ClusterId, Epoch, Index, JobId, NodeId, RunId, StoreId};
use bellwether::job::Spec;
use bellwether::journal::sim::SimStorage;
use bellwether::journal::{
    Hard, HardFile, Journal, Outputs, Owner, Progress, RunsLog, SEGMENT_BYTES_DEFAULT, Seam,
    Settings, Storage, TAILS_MAX_BYTES,
};
use bellwether::schedule::timing;
use bellwether::store::{
    Claim, End, Ending, Entry, Facts, Finished, JobPut, Record, State, Trigger,
};
use bellwether::time::{Second, Wall};
use std::fs;
use std::path::Path;
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
    apply(&mut state, Record::Config { cluster: ClusterId(1), voters: vec![node()] });
    state
}

/// Stores a job and gives its number. Names come in no order.
fn put(state: &mut State, number: u64) -> JobId {
    let mut spec = Spec {
        name: format!("job-{:08x}", bellwether::rng::mix(number) as u32 ^ number as u32),
        schedule: format!("0 {} {} 1 1 *", number % 60, number % SCHEDULES / 60),
        timezone: "Europe/Berlin".into(),
        command: format!("/usr/local/bin/report --customer {number}"),
        ..Spec::default()
    };
    spec.note = "x".repeat(SPEC_BYTES.saturating_sub(spec.to_bytes().len() + 10));
    let facts = Facts { disabled: false, forbid: false, per_node: true, keep: 100 };
    let mark = Some(Second(4_000_000_000));
    let (name, timing) = (format!("{}-{number}", spec.name), timing(&spec));
    spec.name.clone_from(&name);
    let put = JobPut { name, spec: spec.to_bytes(), timing, facts, mark, anchor: None };
    JobId(apply(state, Record::JobPut(put)).0)
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
    let (cluster, store) = (ClusterId(1), StoreId(2));
    let hard = Hard {
        cluster,
        store,
        node: node(),
        boot: Boot(1),
        promised_epoch: Epoch(1),
        promised_to: Some(node()),
    };
    let owner = Owner { cluster, store };
    let mut disk = SimStorage::new();
    HardFile::create(&mut disk, &hard).expect("an empty disk");
    RunsLog::create(&mut disk, store).expect("an empty disk");
    let (segment_bytes, tails_max_bytes) = (SEGMENT_BYTES_DEFAULT, TAILS_MAX_BYTES);
    let settings = Settings { owner, segment_bytes, tails_max_bytes };
    let mut journal = Journal::create(&mut disk, settings).expect("an empty disk");
    let seam = Seam { index: state.applied(), epoch: Epoch(1), chain: 9 };
    journal.snapshot_begin_from_peer(&mut disk, seam).expect("newer");
    for chunk in state.snapshot() {
        journal.snapshot_chunk(&mut disk, &chunk).expect("room");
    }
    let outputs = Outputs { extract: &|_| None, keep: &[], keep_before: Index(0) };
    while journal.snapshot_finish_step(&mut disk, &outputs).expect("room") == Progress::More {}
    let dir = tempfile::tempdir().expect("a directory can be made");
    fs::create_dir(dir.path().join("journal")).expect("a folder can be made");
    for file in disk.list().expect("a list") {
        fs::write(dir.path().join(&file), disk.bytes(&file).expect("a file"))
            .expect("there is room");
    }
    dir
}
