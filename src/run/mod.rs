//! The life of a run, from claim to end.
//!
//! Two halves that speak in orders and reports: `dispatch` is the leader's, `worker` is that of
//! the node which runs it; the leader orders itself through the same path. Never reads a schedule
//! and never decides who leads. The node drives both and carries their words.
#![forbid(unsafe_code)]

pub mod dispatch;
mod ending;
pub mod launch;
pub mod order;
pub mod retry;
pub mod runs_log;
pub mod session;
pub mod table;
pub mod wire;
pub mod worker;
