//! bellwether: a distributed cron daemon that neither loses a scheduled run nor starts one twice.
//!
//! # The idea
//! Everything that decides is a pure state machine; everything that touches the world is a thin
//! shell around it. [`node::Node`] takes inputs and a time and gives effects. It owns no clock,
//! socket, file, thread or random source, so the agent's loop and a simulator drive the same brain.
//!
//! # Where to start reading
//! Follow one fire. [`schedule`] sees that a job is due and proposes a `Claim`; [`node`] appends it
//! and hands it to the disk; when it is durable, [`cluster`] calls it committed and [`store`]
//! applies it; [`run`] orders the node to start it, which promises so in its runs log before it
//! asks the [`launcher`] for a process. The way back ends in a `Finished` record. [`agent`] is the
//! loop around all that. A request comes in through [`http`] and [`api`] and takes the same way
//! from the append on.
//!
//! # What always holds
//! - No claim, no process: a start is decided once, durably, before anything starts.
//! - `Accepted` is durable before a spawn is asked for; an order that is repeated starts nothing.
//! - The state is what `apply` makes of the journal; it sees the record and the state, no clock,
//!   zone, schedule or setting.
//! - What depends on a disk is held in the node until the disk has answered.
//! - A node alone is a cluster with one voter. No code asks how many there are.
//! - Each rule that a cluster's safety hangs on can be broken on purpose in a build for tests
//!   ([`mistake`]), and a simulated world must then fail.
//! - A room uses rooms below it only; `tests/tidy.rs` checks that, and the rest of the style.
//!
//! # The rooms, lowest floor first
#![warn(missing_docs)]

// Floor 0, vocabulary: the standard library only.
pub mod codec;
pub mod ident;
pub mod mistake;
pub mod rng;
pub mod text;
pub mod time;
pub mod timer;

// Floor 1, pure machines: no clock, file, socket, thread, environment or randomness.
// When; what; bytes that survive; the replicated state.
pub mod cron;
pub mod job;
pub mod journal;
pub mod store;
// Which fires are due, and what becomes of the runs that they ask for.
pub mod schedule;

pub mod run;
// Who leads and what is committed; bytes to requests and back; what to answer.
pub mod cluster;
pub mod http;

pub mod api;
// All of them put together.
pub mod node;

// Floor 2, the operating system: the only libc, the only unsafe.
pub mod sys;

// Floor 3, shells: the only mio.
pub mod agent;
pub mod cli;
pub mod launcher;
