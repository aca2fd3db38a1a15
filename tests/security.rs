//! Who may do what: other users of the machine, pages in the user's browser, and what a name or a
//! path could be taken for. All against the real program.
//!
//! Tests that need to be another user say so when they are not run as root, and check what can be
//! checked without.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

#[path = "security/browser.rs"]
mod browser;
mod common;
#[path = "security/files.rs"]
mod files;
#[path = "security/users.rs"]
mod users;

use common::{Agent, Client, Reply};
use serde_json::Value;

/// A route, as the table in the program has it.
struct Route {
    method: String,
    /// With `*` for any segment.
    path: String,
    /// The role that it needs; `None` is open to all.
    role: Option<String>,
}

impl Route {
    /// A path that leads here, with `job` in place of the first variable segment.
    fn path_for(&self, job: &str) -> String {
        self.path.replacen('*', job, 1).replace('*', "7-here-1")
    }
}

/// Every route of the program, read from its source so that none is forgotten.
fn routes() -> Vec<Route> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/routes.rs");
    let source = std::fs::read_to_string(source).expect("the package has its files");
    let (_, table) = source.split_once("fn table()").expect("the table");
    let (table, _) = table.split_once("\n}\n").expect("its end");
    let (count, table) =
        table.split_once("; ").and_then(|(_, rest)| rest.split_once(']')).expect("its length");
    let mut found = Vec::new();
    for piece in table.split("&[").skip(1).zip(table.split("&[")) {
        let (after, before) = piece;
        let (segments, rest) = after.split_once(']').expect("the end of a path");
        let path: String = segments
            .split(',')
            .map(|segment| format!("/{}", segment.trim().trim_matches('"')))
            .collect();
        let (_, call) = before.rsplit_once('\n').expect("a line of its own");
        let (kind, method) = call.trim().split_once('(').expect("a call");
        let role = match kind {
            "open" => None,
            "reads" | "reads_anywhere" => Some("read".to_owned()),
            _ => {
                let (_, role) = rest.split_once("Role::").expect("a role");
                let end = role.find(|c: char| !c.is_ascii_alphabetic()).expect("more follows");
                Some(role[..end].to_ascii_lowercase())
            }
        };
        let method = method.trim().trim_end_matches(',').to_ascii_uppercase();
        let method = if method.is_empty() { "GET".to_owned() } else { method };
        found.push(Route { method, path, role });
    }
    assert_eq!(count.parse(), Ok(found.len()), "a row was not understood");
    found
}

/// Adds a job that is due once a year, and returns the list of jobs.
#[track_caller]
fn with_job(agent: &Agent) -> Value {
    let job = r#"{"name":"quiet","schedule":"0 0 0 1 1 *","command":"true"}"#;
    agent.unix().post("/v1/jobs", job).expect(201);
    jobs(agent)
}

fn jobs(agent: &Agent) -> Value {
    agent.unix().get("/v1/jobs").expect(200).json()
}

/// One request with further headers; the client's own `Host` is left out.
#[track_caller]
fn ask(client: &Client, head: &str, body: &str) -> Reply {
    let mut connection = client.connect().expect("it listens");
    let length = format!("Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    connection.send(format!("{head}{length}").as_bytes()).expect("it is sent");
    let method = head.split(' ').next().unwrap_or_default();
    connection.reply(method).unwrap_or_else(|error| panic!("{head}: {error}"))
}
