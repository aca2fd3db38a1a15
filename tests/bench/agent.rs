//! Measures the program as it is built for use: how late jobs start, what an idle agent takes, how
//! many changes it makes durable. Each stands beside the least that the machine could do, measured
//! in the same run, because only the ratio says anything on another machine. Asserts no times.
//!
//! `cargo bench --bench agent [-- [--runs N] [single] [thousand] [idle] [posts] [large]
//! [snapshot] [disk] [restore]]`
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the bench")]
#![allow(clippy::print_stdout, reason = "the numbers are for the person")]

#[path = "../common/mod.rs"]
mod common;
mod idle;
mod large;
mod lateness;
mod numbers;
mod posts;

use std::path::Path;

const RUNS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Cargo names itself when it runs benches, and not when it runs all targets as tests.
    if !args.iter().any(|arg| arg == "--bench") {
        return;
    }
    let runs = args.iter().position(|arg| arg == "--runs").and_then(|at| args.get(at + 1));
    let runs = runs.map_or(RUNS, |runs| runs.parse().expect("--runs takes a number"));
    let names = ["single", "thousand", "idle", "posts", "large", "snapshot", "disk", "restore"];
    let any = args.iter().any(|arg| names.contains(&arg.as_str()));
    let wanted = |name: &str| !any || args.iter().any(|arg| arg == name);

    let tools = lateness::Tools::compile(Path::new(env!("CARGO_TARGET_TMPDIR")));
    if wanted("idle") {
        idle::measure(runs);
    }
    if wanted("single") {
        lateness::measure(&tools, lateness::SINGLE, runs);
    }
    if wanted("thousand") {
        lateness::measure(&tools, lateness::THOUSAND, runs);
    }
    if wanted("posts") {
        posts::measure_all(Path::new(env!("CARGO_TARGET_TMPDIR")), runs);
    }
    if wanted("large") {
        large::measure(runs);
    }
    if wanted("snapshot") {
        large::snapshot(&tools, runs);
    }
    if wanted("disk") {
        large::disk(runs);
    }
    if wanted("restore") {
        large::restore(runs);
    }
}
