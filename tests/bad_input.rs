//! Whatever is wrong with what the real program is given, it says so clearly, and nothing is lost
//! or half done: it goes on answering, its jobs are what they were, and it stays ready to fire.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;
#[path = "bad_input/connections.rs"]
mod connections;
#[path = "bad_input/directory.rs"]
mod directory;
#[path = "bad_input/programs.rs"]
mod programs;
#[path = "bad_input/requests.rs"]
mod requests;
#[path = "bad_input/segments.rs"]
mod segments;
#[path = "bad_input/surroundings.rs"]
mod surroundings;

use common::{Agent, Client, Reply};
use serde_json::Value;

/// A job that is due once a year.
const QUIET: &str = r#"{"name":"quiet","schedule":"0 0 0 1 1 *","command":"true"}"#;

/// An agent with two jobs that never fire while a test runs.
struct Calm {
    agent: Agent,
    jobs: Value,
}

impl Calm {
    #[track_caller]
    fn start() -> Calm {
        Calm::over(Agent::start())
    }

    /// Puts the jobs into a running agent.
    #[track_caller]
    fn over(agent: Agent) -> Calm {
        let unix = agent.unix();
        unix.post("/v1/jobs", QUIET).expect(201);
        unix.post("/v1/jobs", r#"{"name":"other","schedule":"@manually","command":"true"}"#)
            .expect(201);
        let jobs = unix.get("/v1/jobs").expect(200).json();
        Calm { agent, jobs }
    }

    /// The agent answers, on both its listeners if one is TCP; is ready; and has the same jobs.
    #[track_caller]
    fn check(&self, after: &str) {
        let unix = self.agent.unix();
        let ready = unix.get("/ready");
        assert_eq!(ready.status, 200, "after {after}: {}", ready.text());
        let jobs = unix.get("/v1/jobs").expect(200).json();
        assert_eq!(jobs, self.jobs, "after {after}");
    }
}

/// The reply refuses with `status` in the object that all errors have, and its sentence holds
/// `part`.
#[track_caller]
fn check_refusal(reply: &Reply, status: u16, part: &str, after: &str) {
    assert_eq!(reply.status, status, "after {after}: {}", reply.text());
    let body = reply.json();
    let (error, code) = (body["error"].as_str(), body["code"].as_str());
    let (error, code) = (error.unwrap_or_default(), code.unwrap_or_default());
    assert!(error.contains(part), "after {after}, {part:?} is not in {error:?}");
    assert!(!error.contains(|c: char| c.is_control()), "after {after}: {error:?}");
    let slug = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    assert!(!code.is_empty() && code.bytes().all(slug), "after {after}: {code:?}");
    assert!(reply.header("x-whom").is_some_and(|name| !name.is_empty()), "after {after}");
    let json = "application/json; charset=utf-8";
    assert_eq!(reply.header("content-type"), Some(json), "after {after}");
}

/// The names of all jobs.
fn names(client: &Client) -> Vec<String> {
    let jobs = client.get("/v1/jobs").expect(200).json();
    let jobs = jobs.as_array().expect("an array").iter();
    jobs.map(|job| job["name"].as_str().expect("a name").to_owned()).collect()
}
