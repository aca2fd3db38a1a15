//! Who may name whom: the rooms and their floors, and what each room never knows.

use crate::source::{Source, Token, paths, tokens};
use crate::{Complaint, complain};

/// The rooms with their floors, lowest first. On floor 1 the order counts too.
const ROOMS: [(&str, u8); 22] = [
    ("time", 0),
    ("timer", 0),
    ("ident", 0),
    ("text", 0),
    ("rng", 0),
    ("codec", 0),
    ("mistake", 0),
    ("cron", 1),
    ("job", 1),
    ("journal", 1),
    ("store", 1),
    ("schedule", 1),
    ("run", 1),
    ("cluster", 1),
    ("http", 1),
    ("api", 1),
    ("node", 1),
    ("sys", 2),
    ("launcher", 3),
    ("agent", 3),
    ("cli", 3),
    ("ui", 3),
];

/// What a room never names although it is lower.
const STRANGERS: [(&str, &[&str], &str); 3] = [
    ("cluster", &["cron", "job"], "the cluster never knows what a job is"),
    (
        "http",
        &["cron", "job", "journal", "store", "schedule", "run", "cluster"],
        "http never knows what an API is",
    ),
    (
        "launcher",
        &["cron", "schedule", "cluster", "api", "node", "agent", "cli"],
        "the launcher decides nothing about cluster or schedule, and stays small",
    ),
];

/// Nouns that a room has no word for.
const NOUNS: [(&str, &[&str], &str); 3] = [
    ("cluster", &["job"], "the cluster never knows what a job is"),
    ("cron", &["node"], "cron never knows what a node is"),
    ("sys", &["job", "schedule", "cluster"], "sys knows no noun of the domain"),
];

/// Crates, and the only places that name them.
const CRATES: [(&str, &[&str]); 5] = [
    ("httparse", &["src/http/request.rs"]),
    ("jiff", &["src/cron/"]),
    ("libc", &["src/sys/"]),
    ("mio", &["src/agent/", "src/launcher/"]),
    ("ring", &["src/cluster/seal/crypto.rs", "src/api/auth.rs", "src/journal/digest.rs"]),
];

/// What touches the world, which floors 0 and 1 never do.
const WORLD: [&[&str]; 9] = [
    &["std", "fs"],
    &["std", "net"],
    &["std", "thread"],
    &["std", "env"],
    &["std", "process"],
    &["std", "os"],
    &["Instant"],
    &["SystemTime"],
    &["RandomState"],
];

/// Imports only point down.
pub(crate) fn arrows(source: &Source) -> Vec<Complaint> {
    let Some(from) = source.room() else { return Vec::new() };
    let Some(from_at) = position(from) else {
        return vec![complain(source, 1, format!("{from} is no room of the house"))];
    };
    let mut complaints = Vec::new();
    for (line, path) in paths(&source.product) {
        let Some((to, sure)) = target(&path, source.modules().len()) else { continue };
        let Some(to_at) = position(to) else {
            if sure {
                complaints.push(complain(source, line, format!("crate::{to} is no room")));
            }
            continue;
        };
        let stranger = STRANGERS.iter().find(|row| row.0 == from && row.1.contains(&to));
        if !may_use(from_at, to_at) {
            let what = format!("{from} names {to}, which is not below it");
            complaints.push(complain(source, line, what));
        } else if let Some((.., why)) = stranger {
            complaints.push(complain(source, line, format!("{from} names {to}, but {why}")));
        }
    }
    complaints
}

/// No room has a word for what it must not know.
pub(crate) fn nouns(source: &Source) -> Vec<Complaint> {
    let Some(row) = NOUNS.iter().find(|row| Some(row.0) == source.room()) else {
        return Vec::new();
    };
    let speaks = |token: &Token<'_>| {
        words(token.text).iter().any(|word| row.1.contains(&word.trim_end_matches('s')))
    };
    let complain = |token: Token<'_>| {
        complain(source, token.line, format!("{} is a strange word here: {}", token.text, row.2))
    };
    tokens(&source.product).into_iter().filter(speaks).map(complain).collect()
}

/// Each crate is named in its place only.
pub(crate) fn crates(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if !source.path.starts_with("src/") {
        return complaints;
    }
    for (line, path) in paths(&source.product) {
        let Some((name, places)) = CRATES.iter().find(|(name, _)| *name == path[0]) else {
            continue;
        };
        if path.len() > 1 && !places.iter().any(|place| source.path.starts_with(place)) {
            let what = format!("{name} is named here, but only {} may", places.join(", "));
            complaints.push(complain(source, line, what));
        }
    }
    complaints
}

/// The lower floors own no clock, file, socket, thread, environment or randomness.
pub(crate) fn purity(source: &Source) -> Vec<Complaint> {
    if source.room().and_then(position).is_none_or(|at| ROOMS[at].1 > 1) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (line, path) in paths(&source.product) {
        let touched = WORLD.iter().find(|name| match name {
            [single] => path.contains(single),
            several => path.starts_with(several),
        });
        if let Some(name) = touched {
            let what = format!("a pure room names {} (addresses are core::net)", name.join("::"));
            complaints.push(complain(source, line, what));
        }
    }
    complaints
}

/// `unsafe` stays in `sys`, and the pure rooms say so to the compiler.
pub(crate) fn unsafe_code(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let Some(at) = source.room().and_then(position) else { return complaints };
    let modules = source.modules();
    if modules[0] != "sys" {
        let found = tokens(&source.code).into_iter().filter(|token| token.text == "unsafe");
        complaints.extend(found.map(|token| complain(source, token.line, "unsafe is sys alone's")));
    }
    let head_of_pure_room = ROOMS[at].1 == 1 && modules.len() == 1;
    let forbids = source.code.contains("#![forbid(unsafe_code)]");
    if head_of_pure_room && !forbids && !source.is_placeholder() {
        complaints.push(complain(source, 1, "a pure room starts with #![forbid(unsafe_code)]"));
    }
    complaints
}

fn position(room: &str) -> Option<usize> {
    ROOMS.iter().position(|(name, _)| *name == room)
}

/// Floor 0 serves all. Floor 1 is ordered. `sys` stands on floor 0 alone. Floor 3 is one floor.
fn may_use(from: usize, to: usize) -> bool {
    let (from_floor, to_floor) = (ROOMS[from].1, ROOMS[to].1);
    match from_floor {
        _ if from == to || to_floor == 0 => true,
        0 | 2 => false,
        1 => to_floor == 1 && to < from,
        _ => true,
    }
}

/// The room that `path` leads to from a file `depth` modules deep, and whether it surely is one.
fn target<'a>(path: &[&'a str], depth: usize) -> Option<(&'a str, bool)> {
    if matches!(path[0], "crate" | "bellwether") {
        return path.get(1).filter(|name| **name != "self").map(|name| (*name, true));
    }
    let up = path.iter().take_while(|part| **part == "super").count();
    // A module inside the file is one deeper, so what follows may be a neighbour's name instead.
    if up > 0 && up >= depth { path.get(up).map(|name| (*name, false)) } else { None }
}

/// The words of an identifier, in lower case: `JobName` and `job_name` are `job`, `name`.
fn words(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for c in identifier.chars() {
        if c == '_' || (c.is_uppercase() && lower_before) {
            words.push(String::new());
        }
        lower_before = c.is_lowercase();
        if c != '_' {
            words.last_mut().expect("it starts with one").extend(c.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;

    #[test]
    fn an_arrow_that_points_up_is_seen() {
        for (path, text, complaints) in [
            ("src/cron/mod.rs", "use crate::node::Node;", 1),
            ("src/cron/mod.rs", "use crate::{text::Span, job::{A, B}};", 2),
            ("src/cron/field.rs", "use super::super::job::Job;", 1),
            ("src/cron/field.rs", "use super::job::Job; use crate::time::Wall;", 0),
            ("src/cron/mod.rs", "fn f() { crate::store::apply() }", 1),
            ("src/cron/mod.rs", "#[cfg(test)]\nmod tests { use crate::node::Node; }", 0),
            ("src/cron/mod.rs", "// crate::node\npub(crate) fn f() { \"crate::node\" }", 0),
            ("src/schedule.rs", "use crate::job::Job; use crate::cron::Spec;", 0),
            ("src/schedule.rs", "use super::run::Run;", 1),
            ("src/text.rs", "use crate::sys::clock;", 1),
            ("src/codec.rs", "use crate::time::Wall;", 0),
            ("src/sys/mod.rs", "use crate::job::Job;", 1),
            ("src/node/mod.rs", "use crate::{api, cluster, run};", 0),
            ("src/node/mod.rs", "use crate::agent::Loop; use crate::sys::file;", 2),
            ("src/agent/mod.rs", "use crate::{launcher, node, sys};", 0),
            ("src/cluster/mod.rs", "use crate::job::Job; use crate::store::Index;", 1),
            ("src/http/mod.rs", "use crate::api::Route; use crate::job::Job;", 2),
            ("src/launcher/mod.rs", "use crate::run::Order; use crate::agent::Loop;", 1),
            ("src/cron/mod.rs", "use crate::Thing;", 1),
            ("src/kitchen/mod.rs", "", 1),
            ("src/main.rs", "use bellwether::cli;", 0),
            ("src/cli/mod.rs", "//! To be written.", 0),
        ] {
            check(arrows, path, text, complaints);
        }
    }

    #[test]
    fn a_word_that_a_room_must_not_know_is_seen() {
        for (path, text, complaints) in [
            ("src/cluster/mod.rs", "use crate::ident::JobName; // a job", 1),
            ("src/cluster/mod.rs", "fn f(jobs: u8, next_job: u8, jobless: u8) {}", 2),
            ("src/cron/mod.rs", "struct NodeId;", 1),
            ("src/sys/mod.rs", "fn spawn_job() {} fn sched_yield() {}", 1),
            ("src/node/mod.rs", "struct Job; struct Node;", 0),
        ] {
            check(nouns, path, text, complaints);
        }
    }

    #[test]
    fn a_crate_out_of_its_place_is_seen() {
        for (path, text, complaints) in [
            ("src/http/request.rs", "use httparse::Status;", 0),
            ("src/http/response.rs", "use httparse::Status;", 1),
            ("src/job/mod.rs", "let x = jiff::Zoned::now();", 1),
            ("src/cron/zones.rs", "use jiff::tz::TimeZone;", 0),
            ("src/agent/mod.rs", "use mio::Poll; let ring = 1; use ::libc::c_int;", 1),
            ("src/sys/clock.rs", "use libc::c_int; use mio::Poll;", 1),
            ("tests/common/mod.rs", "use libc::c_int;", 0),
        ] {
            check(crates, path, text, complaints);
        }
    }

    #[test]
    fn the_world_in_a_pure_room_is_seen() {
        for (path, text, complaints) in [
            ("src/store/mod.rs", "use std::{fs, io::Read, thread::spawn};", 2),
            ("src/store/mod.rs", "let t = std::time::Instant::now();", 1),
            ("src/store/mod.rs", "use std::time::{Duration, SystemTime};", 1),
            ("src/store/mod.rs", "use core::net::SocketAddr; use crate::sys::env;", 0),
            ("src/store/mod.rs", "#[cfg(test)]\nmod tests { use std::env; }", 0),
            ("src/time.rs", "use std::env;", 1),
            ("src/sys/mod.rs", "use std::fs;", 0),
            ("src/agent/mod.rs", "use std::thread;", 0),
        ] {
            check(purity, path, text, complaints);
        }
    }

    #[test]
    fn unsafe_code_outside_sys_is_seen() {
        for (path, text, complaints) in [
            ("src/agent/mod.rs", "unsafe { f() }", 1),
            ("src/agent/mod.rs", "#![deny(unsafe_op_in_unsafe_fn)] // unsafe", 0),
            ("src/sys/mod.rs", "unsafe { f() }", 0),
            ("src/cron/mod.rs", "//! Words.\nfn f() {}", 1),
            ("src/cron/mod.rs", "//! Words.\n#![forbid(unsafe_code)]\nfn f() {}", 0),
            ("src/cron/mod.rs", "//! To be written.", 0),
            ("src/cron/field.rs", "fn f() {}", 0),
            ("src/schedule.rs", "fn f() {}", 1),
        ] {
            check(unsafe_code, path, text, complaints);
        }
    }
}
