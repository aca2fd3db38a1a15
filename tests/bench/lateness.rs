//! How late a job's first instruction is, counted from the second for which it was due, beside a
//! loop that only sleeps and spawns.

use super::numbers::{Sample, Spread};
use crate::common::{Agent, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is measured: so many jobs at each of so many seconds.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) title: &'static str,
    pub(crate) jobs: usize,
    pub(crate) schedule: &'static str,
    pub(crate) period_s: u64,
    pub(crate) rounds: usize,
    /// How many seconds behind the agent's the bare loop's turns are. At the same moment the two
    /// would measure each other wherever they take longer than a moment.
    pub(crate) bare_after_s: u64,
}

/// One each second: what a machine feels that has little to do.
pub(crate) const SINGLE: Load = Load {
    title: "1 job each second",
    jobs: 1,
    schedule: "* * * * * *",
    period_s: 1,
    rounds: 20,
    bare_after_s: 0,
};

/// Midnight.
pub(crate) const THOUSAND: Load = Load {
    title: "1,000 jobs at one second",
    jobs: 1_000,
    schedule: "*/10 * * * * *",
    period_s: 10,
    rounds: 5,
    bare_after_s: 5,
};

/// How late the 99th of a hundred may be: so many times the bare loop's, and so much more.
const AIM: (f64, f64) = (1.25, 10.0);

/// The helpers that this is measured with.
pub(crate) struct Tools {
    pub(crate) stamp: PathBuf,
    bare: PathBuf,
}

impl Tools {
    /// Compiles them into `dir`, with the compiler that Rust links with.
    pub(crate) fn compile(dir: &Path) -> Tools {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench");
        let compile = |name: &str| {
            let (from, to) = (source.join(format!("{name}.c")), dir.join(format!("bench-{name}")));
            let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
            // A static program is at its first line sooner, but not every system can link one.
            let made = ["-static", "-O2"].iter().any(|flag| {
                let mut command = Command::new(&cc);
                command.args(["-O2", flag, "-o"]).arg(&to).arg(&from);
                command.status().is_ok_and(|status| status.success())
            });
            assert!(made, "{cc} cannot compile {}", from.display());
            to
        };
        Tools { stamp: compile("stamp"), bare: compile("bare") }
    }
}

/// The lateness of the agent's jobs and of the bare loop's programs, in milliseconds.
struct Run {
    agent: Sample,
    bare: Sample,
}

/// Measures `load` so many times and prints what was found.
pub(crate) fn measure(tools: &Tools, load: Load, runs: usize) {
    println!(
        "\n{}, {} times; ms from the second to the first instruction",
        load.title, load.rounds
    );
    println!("run        p50      p90      p99      max");
    let mut found = Vec::new();
    for number in 1..=runs {
        let run = run(tools, load);
        for (who, sample) in [("agent", &run.agent), ("bare", &run.bare)] {
            let [p50, p90, p99] = [50, 90, 99].map(|percent| sample.percentile(percent));
            let max = sample.max();
            println!(
                "{number} {who:5} {p50:8.2} {p90:8.2} {p99:8.2} {max:8.2}  n={}",
                sample.len()
            );
        }
        found.push(run);
    }
    let p99 = |run: &Run| (run.agent.percentile(99), run.bare.percentile(99));
    println!("p99 / bare p99:  {}", Spread::of(found.iter().map(p99).map(|(a, b)| a / b)));
    let over = |(agent, bare): (f64, f64)| agent - (AIM.0 * bare + AIM.1);
    let over = Spread::of(found.iter().map(p99).map(over));
    println!("p99 - ({} x bare p99 + {} ms), below 0 is the aim:  {over} ms", AIM.0, AIM.1);
}

fn run(tools: &Tools, load: Load) -> Run {
    let agent = Agent::start();
    let stamps = agent.home().join("agent.stamps");
    let bare_stamps = agent.home().join("bare.stamps");
    for number in 0..load.jobs {
        let command = format!("{} {}", tools.stamp.display(), stamps.display());
        let (schedule, executor) = (load.schedule, "shell");
        let body = serde_json::json!({
            "name": format!("job{number}"), "schedule": schedule, "executor": executor,
            "executor_config": { "command": command },
        });
        agent.post("/v1/jobs", body).expect(201);
    }
    // The next round but one: everything has come to rest by then.
    let first = (unix_time().as_secs() / load.period_s + 2) * load.period_s;
    let status = Command::new(&tools.bare)
        .args([load.jobs.to_string(), (first + load.bare_after_s).to_string()])
        .args([load.period_s.to_string(), load.rounds.to_string()])
        .args([&tools.stamp, &bare_stamps])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "the bare loop failed");
    let lateness = |file: &Path, first: u64| {
        let dues: Vec<u64> = (0..load.rounds as u64).map(|n| first + n * load.period_s).collect();
        wait_until(Duration::from_secs(60), "every job has run", || {
            let found = read(file, &dues);
            (found.len() >= load.jobs * load.rounds).then(|| Sample::new(found))
        })
    };
    Run { agent: lateness(&stamps, first), bare: lateness(&bare_stamps, first + load.bare_after_s) }
}

/// The lateness of each stamp that belongs to one of the `dues`, in milliseconds.
pub(crate) fn read(file: &Path, dues: &[u64]) -> Vec<f64> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let stamps = text.lines().filter_map(|line| {
        let (began, due) = line.split_once(' ')?;
        let due = bellwether::cron::civil::parse_rfc3339(due)?.second().0;
        let began: u128 = began.parse().ok()?;
        let due = u64::try_from(due).ok().filter(|due| dues.contains(due))?;
        Some((began as f64 - due as f64 * 1e9) / 1e6)
    });
    stamps.collect()
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set")
}
