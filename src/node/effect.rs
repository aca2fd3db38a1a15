//! What goes into a node and what comes out: plain data.

use crate::api::Peer;
use crate::cluster::{Envelope, Promise, Raw};
use crate::http::{BodyPiece, Request, Response};
use crate::ident::{Boot, Digest, Epoch, Index, NodeId, RequestId, StreamId, Ticket};
use crate::journal::Seam;
use crate::run::order::{LauncherCommand, LauncherEvent, Process};
use crate::run::runs_log::RunsRecord;
use crate::run::session;

/// Something that happened in the world.
#[derive(Debug)]
pub enum Input {
    /// Nothing but time has passed.
    Tick,
    /// A complete request; it is answered once, by [`Effect::Reply`].
    Request {
        /// To be named in the reply.
        id: RequestId,
        /// Who asks.
        peer: Peer,
        /// What.
        request: Box<Request>,
    },
    /// The same, but that its body is still to be asked for, by [`Effect::ReadBody`].
    Upload {
        /// To be named in the reply, and when more of the body is wanted.
        id: RequestId,
        /// Who asks.
        peer: Peer,
        /// What, without a body.
        request: Box<Request>,
    },
    /// What [`Effect::ReadBody`] asked for; `None` when the rest of the body will never come, and
    /// nobody waits for the answer any more.
    Body(RequestId, Option<BodyPiece>),
    /// Nobody waits for this stream any more.
    StreamClosed(StreamId),
    /// A batch is durable, and all before it.
    Durable(Durable),
    /// What became of the snapshot at this index.
    Snapshot(Index, SnapshotNews),
    /// What [`Effect::ReadOutputs`] asked for; `None` where nothing is kept.
    Outputs(StreamId, Vec<(Index, Option<Vec<u8>>)>),
    /// The launcher has said something, or is gone.
    Launcher(LauncherEvent),
    /// A watched process has ended.
    ProcessGone(Process),
    /// The disk has less room than before, or more. After [`Space::Full`] it takes nothing until
    /// it says otherwise, and says so before it completes what waited.
    Space(Space),
    /// Somebody has set the wall clock, or the machine slept.
    ClockSet,
    /// The time zones on disk are to be looked at again.
    ZonesChanged,
    /// Another node, which is known to be it, has said this.
    Peer(NodeId, Word),
    /// What [`Effect::ReadSnapshot`] asked for, for that node.
    SnapshotPart(NodeId, SnapshotPart),
    /// These nodes are servers, as gossip has it: a hint where a leader may be asked for. The shell
    /// sends to them only when they have proven to be servers.
    Servers(Vec<NodeId>),
    /// Records of the journal that [`Effect::ReadRecords`] asked for, in order from there.
    Records(Vec<Raw>),
    /// Stop in good order: start nothing, finish what is under way on the disk, then exit.
    Stop,
}

/// A disk completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Durable {
    /// The batch.
    pub ticket: Ticket,
    /// Bytes of the journal behind its snapshot.
    pub journal_bytes: u64,
    /// Bytes of its snapshot.
    pub snapshot_bytes: u64,
    /// Bytes of the runs log.
    pub runs_bytes: u64,
    /// Up to which record, exclusive, the next snapshot must tell whose output is to be kept; 0
    /// while there is room for all.
    pub outputs_old: Index,
}

/// What became of a part of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotNews {
    /// The part is written, and the next one may come.
    PartWritten,
    /// All of it is in force, and this is its SHA-256.
    InForce(Digest),
    /// It was given up; what is still said of it is ignored.
    GivenUp,
}

/// What is to be done for a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SnapshotWork {
    /// One begins.
    Begin,
    /// One of the leader's begins, which stands for all up to there, whatever the journal holds.
    BeginFrom(Seam),
    /// Its next chunks.
    Part(Vec<Vec<u8>>),
    /// Its last chunks. Of the output in records before the index, only that in these records, in
    /// order, is still wanted; index 0 wants all.
    End(Vec<Vec<u8>>, Vec<Index>, Index),
    /// It is given up.
    Abort,
}

/// How much room the disk has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Space {
    /// Enough.
    #[default]
    Enough,
    /// Less than is kept for what must be recorded: fires, and ends of runs.
    Low,
    /// None: batches that were given out wait until there is some.
    Full,
}

/// Something to be done in the world, in the order given. Whatever depends on a disk is held
/// inside the node until the completion has come, so an effect may be carried out at once.
#[derive(Debug)]
pub enum Effect {
    /// Answer a request.
    Reply(RequestId, Response),
    /// Make this durable, then say so by [`Input::Durable`]. Batches keep their order; several may
    /// share one fsync.
    Commit(Batch),
    /// Write this of the snapshot at that index, between batches, and say by [`Input::Snapshot`]
    /// what became of it.
    Snapshot(Index, SnapshotWork),
    /// Tell another node. It may be lost.
    Send(NodeId, Word),
    /// Read records of the journal from here on, as much as fits one message, and give them by
    /// [`Input::Records`].
    ReadRecords(Index),
    /// Read the part of that number of the snapshot at that index, or the first part of the newest
    /// when there is no such snapshot (any more), and give it by [`Input::SnapshotPart`]; nothing
    /// when there is none.
    ReadSnapshot(NodeId, Index, u64),
    /// Read what these records hold of the output of runs, and give it by [`Input::Outputs`].
    ReadOutputs(StreamId, Vec<Index>),
    /// Wait for the next piece of the body of an upload, and give it by [`Input::Body`].
    ReadBody(RequestId),
    /// A stream that was waiting can go on.
    StreamReady(StreamId),
    /// End the process at once, and say why: this node is not to be trusted.
    Halt(String),
    /// Write the runs log anew with these records, after the batches before and before those
    /// after.
    CompactRuns(Vec<RunsRecord>),
    /// Tell the launcher; dropped when it is gone, for its successor is told what matters.
    Launcher(LauncherCommand),
    /// Say by [`Input::ProcessGone`] when this process ends, at once if it has.
    Watch(Process),
    /// Write a line to the log.
    Log(Note),
    /// Send what is to be sent, then end the process.
    Exit,
}

/// What one node tells another; its bytes are the neighbour's, `wire`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// Of elections and the journal.
    Consensus(Envelope),
    /// Of runs.
    Session(session::Word),
    /// Who leads?
    WhoLeads,
    /// This node does, in that epoch. Believed, so the shell takes it from servers alone.
    Leads(NodeId, Epoch),
    /// A read has come; what must it see?
    ReadIndex(u64),
    /// Everything up to there; or nobody can say.
    ReadAt(u64, Option<Index>),
    /// A client's request, which only the leader can do. Who asks is known to the sender.
    Forward(u64, Peer, Box<Request>),
    /// The answer to that, and the record up to which the leader had applied the journal then.
    Answer(u64, Index, Box<Response>),
    /// A part of a snapshot.
    SnapshotPart(SnapshotPart),
    /// The part of that number is wanted, of the snapshot at that index.
    SnapshotWanted(Index, u64),
}

/// A part of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotPart {
    /// What the snapshot stands for.
    pub seam: Seam,
    /// The SHA-256 of all its chunks.
    pub digest: Digest,
    /// Counted from 0.
    pub number: u64,
    /// Its chunks.
    pub chunks: Vec<Vec<u8>>,
    /// Whether none follows.
    pub is_last: bool,
}

/// What one turn of the node wants on disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// To be named in the completion.
    pub ticket: Ticket,
    /// The promise to be kept, before anything else of the batch.
    pub promise: Option<Promise>,
    /// Records behind this one are dropped, before others are appended.
    pub cut: Option<Index>,
    /// Records of the replicated journal.
    pub records: Vec<Raw>,
    /// Records of the runs log.
    pub runs: Vec<RunsRecord>,
}

/// How much a line of the log matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something should be looked at.
    Warn,
    /// Something happened.
    Info,
    /// For those who look for a fault.
    Debug,
}

/// A line of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// What happened, the same words each time.
    pub message: &'static str,
    /// What it happened to.
    pub fields: Vec<(&'static str, String)>,
}

/// What a data directory says of its node, read before the node is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Its data directory.
    pub store: crate::ident::StoreId,
    /// This start.
    pub boot: Boot,
    /// The promise that it holds.
    pub promise: Promise,
}

/// Whether a stream has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Produced {
    /// There is more.
    More,
    /// It goes on after [`Effect::StreamReady`].
    Waiting,
    /// That was the last.
    Done,
    /// The rest can't be made: whoever reads it must see that it is cut short.
    Cut,
}
