//! The main promise, with the real program: agents and launchers are killed at any moment, and
//! still every due second of every job is decided once, runs at most once, and is told truly.
//!
//! Moments are drawn from a seed, which a failure prints; `SURVIVAL_SEED` draws them again.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

#[path = "survival/audit.rs"]
mod audit;
mod common;
#[path = "survival/observer.rs"]
mod observer;

use bellwether::rng::Rng;
use common::{Agent, Client, DEADLINE, Pid, Seed, alive, pass, wait_for_a_file_beside, wait_until};
use observer::Observer;
use serde_json::json;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

/// Jobs whose every due second is audited.
const JOBS: usize = 20;
/// Jobs that print much and keep nothing, so that the logs grow and are written anew.
const LOUD_JOBS: usize = 8;
/// What one of them prints each second: as much as is kept of any run.
const LOUD_BYTES: usize = 16 * 1024;
/// The job that is run by hand while everything dies.
const BY_HAND: &str = "by-hand";

#[test]
fn an_agent_killed_thirty_times_starts_nothing_twice_and_forgets_nothing() {
    let mut trial = Trial::begin("agent", 0);
    let mut kills = 0;
    while kills < 30 {
        trial.wait_for_a_moment();
        if trial.rng.chance(1, 8) {
            // One that stops in good order leaves just as much to its successor.
            trial.stop_in_good_order();
        } else {
            trial.agent.kill9();
            kills += 1;
        }
        trial.agent.relaunch();
    }
    trial.end(audit::Losses::None);
}

#[test]
fn a_launcher_killed_again_and_again_costs_no_more_than_the_runs_it_held() {
    let mut trial = Trial::begin("launcher", 0);
    for _ in 0..15 {
        trial.wait_for_a_moment();
        trial.kill_launcher();
    }
    trial.end(audit::Losses::WithLaunchers);
}

#[test]
fn agent_and_launcher_killed_while_their_logs_are_written_anew_lose_no_record() {
    let mut trial = Trial::begin("both", LOUD_JOBS);
    let mut rounds = 0;
    // More rounds than this on a machine that is slow to fill a log.
    while rounds < 12 || (trial.observer.compactions() == 0 && rounds < 60) {
        trial.wait_for_a_moment();
        match trial.rng.below(4) {
            0 => trial.agent.kill9(),
            1 => {
                trial.kill_launcher();
                trial.agent.kill9();
            }
            _ => {
                trial.agent.kill9();
                trial.kill_launcher();
            }
        }
        trial.agent.relaunch();
        rounds += 1;
    }
    assert!(trial.agent.data_dir().join("snapshot").exists(), "no snapshot was written");
    assert!(trial.observer.compactions() > 0, "the runs log was never written anew");
    trial.end(audit::Losses::WithLaunchers);
}

#[test]
fn a_first_start_killed_at_any_moment_is_finished_by_the_next() {
    let mut seed = Seed::new("genesis");
    let mut killed_before_it_listened = 0;
    for _ in 0..30 {
        let mut agent = Agent::builder().launch();
        for _ in 0..=seed.rng.below(3) {
            pass(Duration::from_micros(seed.rng.below(200_000) / (1 + seed.rng.below(8))));
            killed_before_it_listened += u32::from(!agent.log().contains("listening"));
            agent.kill9();
            agent.relaunch();
        }
        agent.wait_until_listening();
        agent.wait_until_ready();
        let job = json!({"name": "a", "schedule": "@manually", "command": "true"});
        agent.post("/v1/jobs", job).expect(201);
        agent.kill9();
        agent.restart();
        agent.get("/v1/jobs/a").expect(200);
    }
    assert!(killed_before_it_listened > 0, "no start was killed in the middle");
    seed.passed();
}

/// One agent with its jobs, under fire.
struct Trial {
    agent: Agent,
    rng: Rng,
    observer: Observer,
    jobs: Vec<audit::Job>,
    /// Only to be dropped: it prints the seed if the test fails.
    seed: Seed,
}

impl Trial {
    fn begin(name: &str, loud: usize) -> Trial {
        let mut seed = Seed::new(name);
        let mut builder = Agent::builder();
        if loud > 0 {
            builder = builder.flag("--snapshot-after", "16384");
        }
        let agent = builder.start();
        let jobs: Vec<audit::Job> = (0..JOBS)
            .map(|number| every_second(number, agent.home()))
            .chain((0..loud).map(|number| self::loud(number, agent.home())))
            .chain([by_hand(agent.home())])
            .collect();
        for job in &jobs {
            agent.post("/v1/jobs", &job.definition).expect(201);
        }
        let names = jobs.iter().map(|job| job.name.clone()).collect();
        let observer = Observer::start(agent.unix(), names, agent.data_dir());
        let rng = Rng::new(seed.rng.next_u64());
        Trial { agent, rng, observer, jobs, seed }
    }

    /// Waits for something that can be seen, and then a little longer.
    fn wait_for_a_moment(&mut self) {
        let longer = match self.rng.below(8) {
            // In the middle of a start, at any step of it.
            0 | 1 => 150_000,
            2 => {
                self.agent.wait_until_listening();
                50_000
            }
            // The fires of the downtime are decided and started now.
            3 => {
                self.agent.wait_until_ready_again();
                100_000
            }
            4 => {
                self.agent.wait_until_ready_again();
                1_500_000
            }
            // Twenty processes have just been asked for.
            5 => {
                self.agent.wait_until_ready_again();
                wait_for_the_next(&self.jobs[0].witness);
                20_000
            }
            6 => {
                self.agent.wait_until_ready_again();
                let unix = self.agent.unix();
                wait_until(DEADLINE, "a run is open", || is_busy(&unix).then_some(()));
                1
            }
            _ => {
                self.agent.wait_until_ready_again();
                wait_for_a_file_beside(self.agent.data_dir(), Duration::from_secs(1));
                1
            }
        };
        pass(Duration::from_micros(self.rng.below(longer)));
    }

    /// Asks the agent to stop. One that has not come so far as to listen may not have taken the
    /// signal for its own yet, and dies of it as any program does between exec and its first line.
    fn stop_in_good_order(&mut self) {
        let was_listening = self.agent.is_listening();
        let status = self.agent.stop();
        let died = status.signal() == Some(libc::SIGTERM) && !was_listening;
        assert!(status.success() || died, "{status:?}, listening: {was_listening}");
    }

    /// Kills the launcher, if there is one at the moment.
    fn kill_launcher(&mut self) {
        let file = self.agent.data_dir().join("launcher.pid");
        let pid = fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<Pid>().ok());
        if pid.is_some_and(|pid| alive(pid) && self.agent.owns(pid)) {
            self.agent.kill9_launcher();
        }
    }

    /// A launcher that is asked to end does so only when each end that it had to tell was told,
    /// and is on the agent's disk.
    fn check_that_the_launcher_holds_nothing(&mut self) {
        let pid = self.agent.launcher_pid();
        common::send(pid, libc::SIGTERM).expect("it lives");
        wait_until(DEADLINE, "the launcher has ended", || (!alive(pid)).then_some(()));
    }

    /// Lets everything come to its end, and audits it; once more after an orderly restart.
    fn end(mut self, losses: audit::Losses) {
        if !self.agent.is_running() {
            self.agent.relaunch();
        }
        self.agent.wait_until_ready_again();
        for job in &self.jobs {
            let shown = self.agent.post(&format!("/v1/jobs/{}/disable", job.name), "").json();
            assert_eq!(shown["disabled"], true, "{shown}");
        }
        let unix = self.agent.unix();
        wait_until(DEADLINE, "every run has ended", || (!is_busy(&unix)).then_some(()));
        let seen = self.observer.stop();
        let first = audit::audit(&unix, &self.jobs, &seen, losses);
        self.check_that_the_launcher_holds_nothing();
        self.agent.restart();
        let second = audit::audit(&unix, &self.jobs, &seen, losses);
        assert!(first == second, "an orderly restart changed the history");
        self.seed.passed();
    }
}

/// A job that is due at every second and writes a line into a witness of its own. The kinds differ
/// in how long a run takes, what it prints, and what the job wants of what it missed.
fn every_second(number: usize, home: &Path) -> audit::Job {
    let name = format!("job-{number}");
    let witness = home.join(&name);
    let catchup = ["latest", "all", "skip"][number % 3];
    let (rest, concurrency) = match number % 4 {
        0 => ("", "allow"),
        1 => ("; sleep 1.4", "forbid"),
        2 => ("; sleep 0.6", "allow"),
        _ => ("; echo out; echo more >&2", "forbid"),
    };
    let definition = json!({
        "name": name, "schedule": "* * * * * *", "shell": true, "keep": 10_000,
        "command": format!("{}{rest}", testify(&witness)),
        "concurrency": concurrency, "catchup": catchup, "catchup_max": 5,
    });
    audit::Job { name, witness, definition, kind: audit::Kind::EverySecond }
}

fn loud(number: usize, home: &Path) -> audit::Job {
    let name = format!("loud-{number}");
    let witness = home.join(&name);
    let definition = json!({
        "name": name, "schedule": "* * * * * *", "shell": true, "keep": 1,
        "command": format!("{}; head -c {LOUD_BYTES} /dev/zero | tr '\\0' x", testify(&witness)),
    });
    audit::Job { name, witness, definition, kind: audit::Kind::Loud }
}

fn by_hand(home: &Path) -> audit::Job {
    let (name, witness) = (BY_HAND.to_owned(), home.join(BY_HAND));
    let definition = json!({
        "name": name, "schedule": "@manually", "shell": true, "keep": 10_000,
        "command": testify(&witness),
    });
    audit::Job { name, witness, definition, kind: audit::Kind::ByHand }
}

/// A line in the witness, by one write(2) at its end.
fn testify(witness: &Path) -> String {
    let line = r#"printf '%s %s\n' "$BELLWETHER_SCHEDULED_FOR" "$BELLWETHER_EXECUTION_ID""#;
    format!("{line} >> '{}'", witness.display())
}

fn is_busy(client: &Client) -> bool {
    match client.try_request("GET", "/v1/busy", &[], None) {
        Ok(reply) if reply.status == 200 => reply.json().as_array().is_none_or(|a| !a.is_empty()),
        Ok(_) | Err(_) => true,
    }
}

fn wait_for_the_next(witness: &Path) {
    let length = || fs::metadata(witness).map_or(0, |found| found.len());
    let before = length();
    wait_until(DEADLINE, "a job has written a line", || (length() > before).then_some(()));
}
