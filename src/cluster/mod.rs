//! Who leads, and what is committed: elections and the replicated journal, for 1 to 7 voters.
//!
//! Bully rank decides who tries, durable promises of a majority decide who leads (the safety rules
//! are those of Zab and Raft). This room knows epochs, indexes and voters, never what a record
//! says. The node drives it; what must reach the disk comes out as data and is answered by the
//! completions that are fed back.
#![forbid(unsafe_code)]

mod election;
mod replication;
mod voters;

pub use election::{Election, Promise, Standing};
pub use replication::{Place, Replication};
pub use voters::{VOTERS_MAX, Voters};
