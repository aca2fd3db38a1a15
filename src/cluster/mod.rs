//! Who leads, and what is committed: elections and the replicated journal, for 1 to 7 voters.
//!
//! Bully rank decides who tries, durable promises of a majority decide who leads (the safety rules
//! are those of Zab and Raft). This room knows epochs, indexes and voters, never what a record
//! says. The node drives it; what must reach the disk comes out as data and is answered by the
//! completions that are fed back.
#![forbid(unsafe_code)]

mod consensus;
mod election;
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
