//! What an agent and its launcher take when there is nothing to do: memory, and waking up.

use super::numbers::Spread;
use crate::common::{Agent, Pid, wait_until};
use std::fs;
use std::time::{Duration, Instant};

/// How long an agent has to come to rest, and how long it is watched then.
const SETTLE: Duration = Duration::from_secs(3);
const WATCH: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
struct Found {
    rss_kib: u64,
    anonymous_kib: u64,
    proportional_kib: u64,
    wake_ups: u64,
}

/// Measures so many times and prints what was found.
pub(crate) fn measure(runs: usize) {
    println!("\nidle, one job due in weeks; KiB of memory, and switches in {} s", WATCH.as_secs());
    println!("run              VmRSS  RssAnon      Pss  wake-ups");
    let (mut agents, mut launchers) = (Vec::new(), Vec::new());
    for number in 1..=runs {
        let agent = Agent::start();
        let job = serde_json::json!({
            "name": "far", "schedule": far_schedule(), "executor": "shell",
            "executor_config": { "command": "true" },
        });
        agent.post("/v1/jobs", job).expect(201);
        pass(SETTLE);
        let pids = [agent.pid(), agent.launcher_pid()];
        let before = pids.map(switches);
        pass(WATCH);
        let [ours, its] = [0, 1].map(|at| look(pids[at], before[at]));
        for (who, found) in [("agent", ours), ("launcher", its)] {
            let Found { rss_kib, anonymous_kib, proportional_kib, wake_ups } = found;
            println!(
                "{number} {who:12} {rss_kib:8} {anonymous_kib:8} {proportional_kib:8} {wake_ups:9}"
            );
        }
        agents.push(ours);
        launchers.push(its);
    }
    for (who, found, aim_mib) in [("agent", agents, 10), ("launcher", launchers, 4)] {
        let mib = Spread::of(found.iter().map(|found| found.rss_kib as f64 / 1_024.0));
        let wake_ups = Spread::of(found.iter().map(|found| found.wake_ups as f64));
        println!("{who}: {mib} MiB (aim {aim_mib}), {wake_ups} wake-ups (aim 0)");
    }
}

/// A day in a month that is neither this nor the next.
fn far_schedule() -> &'static str {
    let day_of_year = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / 86_400 % 365);
    if (100..280).contains(&day_of_year) { "0 0 0 31 12 *" } else { "0 0 0 1 7 *" }
}

fn pass(time: Duration) {
    let start = Instant::now();
    wait_until(time * 2, "some time has passed", || (start.elapsed() >= time).then_some(()));
}

fn look(pid: Pid, switches_before: u64) -> Found {
    // Before the memory is looked at, which takes locks of the process.
    let wake_ups = switches(pid) - switches_before;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    Found {
        rss_kib: field(&status, "VmRSS:"),
        anonymous_kib: field(&status, "RssAnon:"),
        proportional_kib: field(&rollup, "Pss:"),
        wake_ups,
    }
}

/// How often any thread of `pid` was switched away from: a thread that was never woken never was.
fn switches(pid: Pid) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of_task = |status: String| {
        field(&status, "voluntary_ctxt_switches:") + field(&status, "nonvoluntary_ctxt_switches:")
    };
    tasks
        .map(|task| task.expect("a thread has an entry").path().join("status"))
        .map(|status| of_task(fs::read_to_string(status).expect("a thread has a status")))
        .sum()
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}
