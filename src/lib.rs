//! bellwether: a distributed cron daemon that neither loses a scheduled run nor starts one twice.
//!
//! Everything that decides is a pure state machine; everything that touches the world is a thin
//! shell around it. The rooms, lowest floor first; imports only point down.
#![warn(missing_docs)]

// Floor 0, vocabulary: std only.
pub mod codec;
pub mod ident;
pub mod rng;
pub mod text;
pub mod time;
pub mod timer;

// Floor 1, pure machines: no clock, file, socket, thread, environment or randomness.
pub mod api;
pub mod cluster;
pub mod cron;
pub mod http;
pub mod job;
pub mod journal;
pub mod node;
pub mod run;
pub mod schedule;
pub mod store;

// Floor 2, the operating system: the only libc, the only unsafe.
pub mod sys;

// Floor 3, shells: the only mio.
pub mod agent;
pub mod cli;
pub mod launcher;
