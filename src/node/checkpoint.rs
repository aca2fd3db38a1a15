//! Keeps both logs from growing without end: checkpoints, the snapshots that they ask for, and the
//! runs log written anew.
//!
//! The leader writes a checkpoint when its journal has grown; every server that applies it makes a
//! snapshot of the state there, piece by piece between its other work, and remembers the digest.
//! The next checkpoint names the leader's, so that a server which made something else of the same
//! journal finds out, and stops.

use super::Node;
use super::effect::{Durable, Effect, Level, SnapshotNews, SnapshotWork};
use super::office::BY_NODE;
use crate::ident::{Digest, Index, Ticket};
use crate::store::{Piece, Record};

/// Bytes of a snapshot that are made in one turn, and are on their way to the disk at once: what
/// takes about half a millisecond to make.
const PART_BYTES: usize = 512 * 1024;
/// How many bytes the runs log may have before it is written anew; and it must have doubled.
const RUNS_LOG_MIN_BYTES: u64 = 1024 * 1024;

/// Where a node stands with its logs.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// The checkpoint whose snapshot is being made.
    taking: Option<Index>,
    /// A checkpoint of this leader is not applied yet.
    proposed: bool,
    /// The newest snapshot in force, and its digest.
    made: Option<(Index, Digest)>,
    /// Bytes of journal below which no snapshot is tried again, after one was given up.
    not_below: u64,
    /// Bytes of journal behind the snapshot, as the disk told last.
    journal_bytes: u64,
    /// Up to which record the disk wants to know whose output is to be kept.
    outputs_old: Index,
    runs_bytes_compacted: u64,
    /// The last batch that was given out before the runs log was last to be written anew.
    runs_compacted_after: Ticket,
}

impl Checkpoints {
    /// After a start that has found this snapshot.
    pub(super) fn new(made: Option<(Index, Digest)>) -> Checkpoints {
        Checkpoints { made, ..Checkpoints::default() }
    }

    /// A snapshot of the leader comes in the place of one that is being made.
    pub(super) fn give_way(&mut self) {
        self.taking = None;
    }

    /// A snapshot of the leader is in force.
    pub(super) fn made_by_leader(&mut self, index: Index, digest: Digest) {
        (self.taking, self.made) = (None, Some((index, digest)));
    }

    /// What an earlier office has proposed and is not applied may never be.
    pub(super) fn begin_office(&mut self) {
        self.proposed = false;
    }
}

impl Node {
    /// Looks whether a log has grown too long.
    pub(super) fn maintain(&mut self, disk: Durable) {
        let logs = &mut self.checkpoints;
        (logs.journal_bytes, logs.outputs_old) = (disk.journal_bytes, disk.outputs_old);
        let due = self.settings.snapshot_bytes.max(disk.snapshot_bytes).max(logs.not_below);
        let busy = logs.taking.is_some() || logs.proposed;
        if disk.journal_bytes > due && !busy && self.established.is_some() {
            logs.proposed = true;
            let previous = logs.made;
            self.append(Record::Checkpoint { previous }, BY_NODE);
        }
        self.compact_runs(disk);
    }

    /// Whether this node has made of the journal what the leader has, as far as a checkpoint that
    /// names `previous` tells. If not, the node stops: what it would decide and answer is worth
    /// nothing.
    pub(super) fn agrees(&mut self, previous: Option<(Index, Digest)>) -> bool {
        let (Some((index, theirs)), Some((mine, ours))) = (previous, self.checkpoints.made) else {
            return true;
        };
        if index != mine || theirs == ours {
            return true;
        }
        self.effects.push_back(Effect::Halt(format!(
            "the snapshot at index {index} is not the leader's: this node has made another state \
             of the same journal; replace it, and keep its data directory for those who look for \
             the fault"
        )));
        false
    }

    /// A checkpoint is applied: begins the snapshot, unless an older one is still being made.
    pub(super) fn begin_snapshot(&mut self) {
        self.checkpoints.proposed = false;
        if self.checkpoints.taking.is_some() || self.shipping.is_busy() {
            return;
        }
        let index = self.state.applied();
        // A follower may hear of records and of their commit at once: they go to the disk first, or
        // that would be told to make a snapshot of what its journal does not hold.
        self.flush();
        self.checkpoints.taking = Some(index);
        self.state.begin_snapshot(self.checkpoints.outputs_old);
        self.effects.push_back(Effect::Snapshot(index, SnapshotWork::Begin));
        self.next_part(index);
    }

    /// The disk has news of the snapshot at `index`.
    pub(super) fn snapshot_news(&mut self, index: Index, news: SnapshotNews) {
        if self.shipping.is_receiving(index) {
            return self.received(news);
        }
        if self.checkpoints.taking != Some(index) {
            return;
        }
        match news {
            SnapshotNews::PartWritten => self.next_part(index),
            SnapshotNews::InForce(digest) => {
                let logs = &mut self.checkpoints;
                (logs.taking, logs.made, logs.not_below) = (None, Some((index, digest)), 0);
                self.consensus.rebased(index);
            }
            SnapshotNews::GivenUp => {
                self.state.end_snapshot();
                let logs = &mut self.checkpoints;
                logs.taking = None;
                // The reason, a full disk for one, rarely goes away at once.
                logs.not_below = logs.journal_bytes + self.settings.snapshot_bytes;
            }
        }
    }

    fn next_part(&mut self, index: Index) {
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let work = loop {
            match self.state.snapshot_piece() {
                Piece::Chunk(chunk) => {
                    bytes += chunk.len();
                    chunks.push(chunk);
                    if bytes >= PART_BYTES {
                        break SnapshotWork::Part(chunks);
                    }
                }
                Piece::Done(keep, keep_before) => {
                    break SnapshotWork::End(chunks, keep, keep_before);
                }
                Piece::Void => {
                    self.log(Level::Info, "snapshot begun anew later", Vec::new());
                    self.checkpoints.taking = None;
                    break SnapshotWork::Abort;
                }
            }
        };
        self.effects.push_back(Effect::Snapshot(index, work));
    }

    fn compact_runs(&mut self, disk: Durable) {
        let logs = &self.checkpoints;
        // What was on its way to the disk before the last time still tells the old length.
        let is_news = disk.ticket > logs.runs_compacted_after;
        if !is_news || disk.runs_bytes <= RUNS_LOG_MIN_BYTES.max(2 * logs.runs_bytes_compacted) {
            return;
        }
        // What this turn still wants in the log is part of the worker's table already, so it must
        // be in the file before the table replaces the file.
        self.carry();
        self.flush();
        let live = self.worker.live_records();
        let bytes: usize = live.iter().map(|record| record.encode().len() + 64).sum();
        self.checkpoints.runs_bytes_compacted = bytes as u64;
        self.checkpoints.runs_compacted_after = Ticket(self.next_ticket);
        self.effects.push_back(Effect::CompactRuns(live));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{at, every_second, node_after, records_of};
    use crate::node::{Batch, Input, Node};
    use crate::store::{Facts, JobPut, Timing};

    /// What the disk says of old output while a snapshot is made is for the next one: of this one
    /// nobody has looked which outputs are the newest of their jobs, and all would be dropped.
    #[test]
    fn a_snapshot_ends_with_the_outputs_that_it_was_begun_for() {
        let big = |number: u32| {
            Record::JobPut(JobPut {
                name: format!("big{number}"),
                spec: vec![b'x'; 60 << 10],
                timing: Timing::default(),
                facts: Facts {
                    disabled: true,
                    forbid: false,
                    per_node: true,
                    keep: 1,
                    ..Facts::default()
                },
                mark: None,
                anchor: None,
            })
        };
        let mut records = records_of(&every_second());
        records.extend((0..12).map(big));
        records.push(Record::Checkpoint { previous: None });
        let mut node: Node = node_after(records, 0);
        let (mut parts, mut ends) = (0, Vec::new());
        while let Some(effect) = node.poll_effect() {
            let input = match effect {
                Effect::Commit(Batch { ticket, .. }) => {
                    Input::Durable(Durable { ticket, ..Durable::default() })
                }
                Effect::Snapshot(index, SnapshotWork::Part(_)) => {
                    parts += 1;
                    node.maintain(Durable { outputs_old: Index(7), ..Durable::default() });
                    Input::Snapshot(index, SnapshotNews::PartWritten)
                }
                Effect::Snapshot(_, SnapshotWork::End(_, keep, keep_before)) => {
                    ends.push((keep, keep_before));
                    continue;
                }
                _ => continue,
            };
            node.handle(input, at(0));
        }
        assert!(parts > 0, "it was made in one turn");
        assert_eq!(ends, [(Vec::new(), Index(0))]);
    }

    #[test]
    fn a_node_that_made_something_else_of_the_journal_stops() {
        let (mine, other) = ([1; 32], [2; 32]);
        for (made, previous, goes_on) in [
            (None, None, true),
            (None, Some((Index(3), mine)), true),
            (Some((Index(3), mine)), None, true),
            (Some((Index(3), mine)), Some((Index(3), mine)), true),
            (Some((Index(3), mine)), Some((Index(2), other)), true),
            (Some((Index(3), mine)), Some((Index(3), other)), false),
        ] {
            let mut records = records_of(&every_second());
            records.push(Record::Checkpoint { previous });
            let last = Index(records.len() as u64);
            let mut node = node_after(records, 0);
            node.checkpoints.made = made;
            let mut halted = false;
            while let Some(effect) = node.poll_effect() {
                halted |= matches!(effect, Effect::Halt(_));
                if let Effect::Commit(batch) = effect {
                    let durable = Durable { ticket: batch.ticket, ..Durable::default() };
                    node.durable(durable);
                    node.settle_turn();
                }
            }
            assert_eq!(halted, !goes_on, "{made:?}, {previous:?}");
            assert_eq!(node.state().applied() >= last, goes_on, "{made:?}, {previous:?}");
        }
    }
}
