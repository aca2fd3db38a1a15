//! What several tests of this room need.

use crate::ident::{Index, Instance, NodeId, RunId};
use crate::run::order::{Program, SpawnOrder};

/// The run numbered `number`.
pub(crate) fn run(number: u64) -> RunId {
    RunId { group: Index(number), node: NodeId::new(7).unwrap(), attempt: 1 }
}

/// An order for launcher 9, without timeout.
pub(crate) fn order(number: u64, program: Program) -> SpawnOrder {
    SpawnOrder {
        run: run(number),
        instance: Instance(9),
        program,
        env: Vec::new(),
        cwd: None,
        timeout_ms: 0,
        kill_grace_ms: 10_000,
        tail_max_bytes: 4_096,
    }
}
