//! Who leads, and what is committed: elections and the replicated journal, for 1 to 7 voters; who
//! is there; and how words between nodes are written and sealed.
//!
//! Bully rank decides who tries, durable promises of a majority decide who leads (the safety rules
//! are those of Zab and Raft). This room knows epochs, indexes and voters, never what a record
//! says. The node drives [`Consensus`]; what must reach the disk comes out as data and is answered
//! by the completions that are fed back. [`gossip`] decides nothing; [`seal`] knows keys and bytes,
//! [`wire`] what they say. Start with `consensus`, then `election`, `replication` and `office`;
//! what must hold is checked in `tests/checks.rs`, told in `tests/testdata/transcripts`.
#![forbid(unsafe_code)]

mod changes;
mod clocks;
mod consensus;
mod election;
pub mod genesis;
pub mod gossip;
mod message;
mod office;
mod peer;
mod probe;
mod replication;
pub mod seal;
mod shape;
mod timing;
mod voters;
pub mod wire;

pub use changes::{LAG_MAX, LEARNERS_MAX};
pub use consensus::{Consensus, Start};
pub use election::{Election, Promise, Standing};
pub use message::{Act, Append, Envelope, Message, Place, Raw};
pub use office::READS_MAX;
pub use peer::APPEND_MAX_BYTES;
pub use replication::Replication;
pub use shape::Shape;
pub use timing::Timing;
pub use voters::{Config, Configs, VOTERS_MAX, Voters};

#[cfg(test)]
mod tests;
