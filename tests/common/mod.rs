//! Runs the real program for the tests: starts an agent in a directory of its own, talks to it,
//! kills it, starts it again, and leaves no process behind.
//!
//! Tests run in parallel threads and several test programs side by side, so nothing here is
//! shared: each agent has its own directory, port (the kernel's choice) and keeper.
#![allow(dead_code, unused_imports, reason = "each test program uses its own part of this")]
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]
#![allow(clippy::print_stderr, reason = "the log of a failed test is for the person")]

mod agent;
mod client;
mod keeper;
mod log;
mod moment;
mod process;
mod user;

pub(crate) use agent::{Agent, Builder};
pub(crate) use client::{Client, Connection, Reply};
pub(crate) use moment::{Seed, pass, wait_for_a_file_beside};
pub(crate) use process::{Pid, alive, leftovers, send};
pub(crate) use user::{NOBODY, as_user, is_root};

use std::io::Write;
use std::time::{Duration, Instant};

/// How long anything may take that a healthy agent does at once. Long, because a machine under
/// load is slow; nothing waits for it to pass when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Pause between two questions of [`wait_until`].
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// Says something that a test which passes is heard with, too: what it left out is no secret.
pub(crate) fn say(what: &str) {
    writeln!(std::io::stderr(), "{}: {what}", env!("CARGO_CRATE_NAME")).expect("somebody hears");
}

/// Asks `question` until it answers, and returns the answer. The only place in the tests that
/// sleeps: for what cannot be waited for by an event.
///
/// # Panics
/// When there is no answer before `deadline` has passed; the message says `what` was waited for.
#[track_caller]
pub(crate) fn wait_until<T>(
    deadline: Duration,
    what: &str,
    mut question: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {deadline:?} in vain until {what}");
        std::thread::sleep(ASK_AGAIN_AFTER);
    }
}
