//! A disk that fails, under the real program: it says so, and has lost no answer.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;
#[path = "disk_full/failing.rs"]
mod failing;
