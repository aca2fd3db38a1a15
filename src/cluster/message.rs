//! What servers tell each other to elect a leader and to copy its journal: plain data.

use crate::ident::{Epoch, Index, NodeId};
use crate::time::Wall;

/// A record's place: the index, and the epoch in which it was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Place {
    /// The epoch, which ranks first when two journals are compared.
    pub epoch: Epoch,
    /// The index.
    pub index: Index,
}

/// A record of the journal as bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raw {
    /// Its place.
    pub index: Index,
    /// The office in which it was written.
    pub epoch: Epoch,
    /// Its kind.
    pub kind: u8,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Raw {
    /// Where it stands.
    pub fn place(&self) -> Place {
        Place { epoch: self.epoch, index: self.index }
    }
}

/// A message between two servers, with the epoch of which it speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// A candidate's, a leader's, or that of whom is answered; of a probe the sender's promise.
    pub epoch: Epoch,
    /// What it says.
    pub message: Message,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Would you follow me? Changes nothing anywhere.
    Probe {
        /// To be named in the answer.
        nonce: u64,
        /// The asker's durable journal.
        tail: Place,
    },
    /// The answer to a probe.
    ProbeAnswer {
        /// The probe's.
        nonce: u64,
        /// The highest epoch that the answerer has promised.
        promised: Epoch,
        /// The asker's journal holds all that the answerer's does.
        log_ok: bool,
        /// The answerer has heard a live leader lately, or is one.
        sticky: bool,
        /// The answerer could lead itself, and ranks higher.
        outranks: bool,
    },
    /// Promise me this epoch.
    Candidacy {
        /// The candidate's durable journal.
        tail: Place,
        /// The office that asked for this candidacy, so that those who follow it need not wait
        /// until they miss it.
        transfer_of: Option<Epoch>,
    },
    /// The answer to a candidacy, once it is durable.
    Vote {
        /// Whether the promise is made.
        granted: bool,
        /// The highest epoch that the answerer has promised.
        promised: Epoch,
    },
    /// Records of the leader, or its heartbeat.
    Append(Append),
    /// The follower's disk holds the leader's journal up to here.
    Ack {
        /// The newest such record.
        matched: Index,
        /// The newest round that has been heard.
        round: u64,
        /// The follower's wall clock.
        wall: Wall,
    },
    /// The follower's journal lacks or contradicts the record before those of an Append.
    Conflict {
        /// The index of that record.
        prev: Index,
        /// What stands there, or the end of the follower's journal if that is shorter.
        found: Place,
        /// The first record of the epoch found.
        first: Index,
    },
    /// The epoch has passed: this one is promised.
    Stale {
        /// The highest epoch that the answerer has promised.
        promised: Epoch,
    },
    /// Become a candidate at once: the leader hands over.
    Transfer,
}

/// What a leader sends to each follower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// The record before the first; the beginning of all when nothing is to be compared.
    pub prev: Place,
    /// The records, in order; none in a mere heartbeat.
    pub records: Vec<Raw>,
    /// What is committed.
    pub commit: Index,
    /// The heartbeat, counted from 1 in each office.
    pub round: u64,
}

/// What the consensus wants done, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Send this to a server. It may be lost.
    Send(NodeId, Envelope),
    /// Make this promise durable, then call `promise_durable`.
    Promise(super::Promise),
    /// Cut the journal behind this record.
    Truncate(Index),
    /// Append these records of the leader to the journal. Tell of a configuration among them by
    /// `configured`.
    Append(Vec<Raw>),
    /// Everything up to here is committed.
    Committed(Index),
    /// This node has won the epoch: append its first record.
    Won(Epoch),
    /// This node leads no more.
    Lost(Epoch),
    /// Read records from here, for a follower that lags, and give them by `records`.
    Read(Index),
    /// This follower needs a snapshot: the journal begins behind what it lacks.
    Snapshot(NodeId),
    /// What was committed when this read arrived is known to be so: serve it at this index.
    ReadReady(u64, Index),
    /// This read cannot be served here: the office has ended.
    ReadFailed(u64),
    /// A rule that cannot be broken is broken: stop at once.
    Halt(&'static str),
}
