//! The frames between an agent and its launcher.
//!
//! A frame is a `u32` length of the payload, a kind and the payload, little-endian. The agent opens
//! with `Hello`; the launcher answers with `Welcome`, its table in one `Listed` per entry, and
//! `ListedAll`, or with `Mismatch` when it speaks another version. Both ends take what they read
//! for hostile: nothing is kept beyond [`PAYLOAD_MAX_BYTES`], and a frame that is not exactly right
//! ends the connection. Used by both ends; owns no socket.

use std::fmt;

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Instance, RunId};
use crate::run::order::{
    Entry, Exit, LauncherCommand, LauncherEvent, Process, SpawnOrder, StartFailure,
};
use crate::time::Wall;

/// The version of this protocol. Agent and launcher are one binary, but a launcher outlives the
/// agent that started it.
pub const VERSION: u32 = 1;
/// Most bytes in the payload of a frame.
pub const PAYLOAD_MAX_BYTES: usize = 1024 * 1024;
/// Most entries that an agent takes in one welcome; more than a launcher keeps.
pub const LISTED_MAX: usize = 20_000;

/// Why a connection has to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// A frame announces, or a message would take, this many bytes.
    TooLong(usize),
    /// No message of this kind goes in this direction.
    Kind(u8),
    /// The payload of a frame of this kind is malformed.
    Payload(u8, DecodeError),
    /// A frame of this kind comes at the wrong moment.
    Order(u8),
    /// A welcome lists more entries than [`LISTED_MAX`].
    TooMany,
    /// The two ends speak different versions.
    Version {
        /// What the agent speaks.
        agent: u32,
        /// What the launcher speaks.
        launcher: u32,
    },
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::TooLong(bytes) => {
                write!(f, "a frame of {bytes} bytes is above the {PAYLOAD_MAX_BYTES} allowed")
            }
            ProtocolError::Kind(kind) => write!(f, "a frame of kind {kind} is not known here"),
            ProtocolError::Payload(kind, error) => write!(f, "a frame of kind {kind} {error}"),
            ProtocolError::Order(kind) => {
                write!(f, "a frame of kind {kind} comes at the wrong moment")
            }
            ProtocolError::TooMany => {
                write!(f, "a welcome lists more than the {LISTED_MAX} runs allowed")
            }
            ProtocolError::Version { agent, launcher } => write!(
                f,
                "the agent speaks version {agent}, the launcher version {launcher}; end the \
                 launcher when its jobs are done, or start the agent it belongs to"
            ),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// A message to the launcher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// The first: the version that the agent speaks.
    Hello(u32),
    /// Any later one.
    Command(LauncherCommand),
}

/// A message to the agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The first: who the launcher is.
    Welcome(Instance),
    /// An entry of the table as it is at this moment; between `Welcome` and `ListedAll`.
    Listed(RunId, Entry),
    /// The table has been listed.
    ListedAll,
    /// News of a run, or the answer to a repeated spawn.
    Run(RunId, Entry),
    /// The order named another instance.
    Refused(RunId),
    /// In place of a welcome: the version that the agent spoke and the one that it should.
    Mismatch {
        /// What the agent speaks.
        agent: u32,
        /// What the launcher speaks.
        launcher: u32,
    },
}

const HELLO: u8 = 1;
const SPAWN: u8 = 2;
const KILL: u8 = 3;
const ACK: u8 = 4;
const WELCOME: u8 = 65;
const LISTED: u8 = 66;
const LISTED_ALL: u8 = 67;
const RUN: u8 = 68;
const REFUSED: u8 = 69;
const MISMATCH: u8 = 70;

/// Appends the agent's first message.
pub fn encode_hello(out: &mut Vec<u8>) {
    frame(HELLO, Encoder::new().u32(VERSION), out);
}

/// Appends a command.
///
/// # Errors
/// [`ProtocolError::TooLong`], and nothing is appended: the order could not be carried out anyway.
pub fn encode_command(command: &LauncherCommand, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let mut payload = Encoder::new();
    let kind = match command {
        LauncherCommand::Spawn(order) => {
            order.encode(&mut payload);
            SPAWN
        }
        LauncherCommand::Kill(run) => {
            run.encode(&mut payload);
            KILL
        }
        LauncherCommand::Ack(run) => {
            run.encode(&mut payload);
            ACK
        }
    };
    if payload.len() > PAYLOAD_MAX_BYTES {
        return Err(ProtocolError::TooLong(payload.len()));
    }
    frame(kind, &mut payload, out);
    Ok(())
}

/// Appends an answer.
pub fn encode_answer(answer: &Answer, out: &mut Vec<u8>) {
    let mut payload = Encoder::new();
    let kind = match answer {
        Answer::Welcome(instance) => {
            payload.u32(VERSION).u64(instance.0);
            WELCOME
        }
        Answer::Listed(run, entry) => {
            encode_entry(*run, entry, &mut payload);
            LISTED
        }
        Answer::ListedAll => LISTED_ALL,
        Answer::Run(run, entry) => {
            encode_entry(*run, entry, &mut payload);
            RUN
        }
        Answer::Refused(run) => {
            run.encode(&mut payload);
            REFUSED
        }
        Answer::Mismatch { agent, launcher } => {
            payload.u32(*agent).u32(*launcher);
            MISMATCH
        }
    };
    frame(kind, &mut payload, out);
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    taken: usize,
}

/// Bytes before a payload: its length and the kind.
const HEADER_BYTES: usize = 5;
/// What a reader keeps of its buffer when it is empty.
const KEPT_BYTES: usize = 16 * 1024;

impl FrameReader {
    /// Takes what has been read; call [`FrameReader::next`] until `None` afterwards.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame: its kind and payload.
    ///
    /// # Errors
    /// [`ProtocolError::TooLong`], as soon as a length has been read.
    #[allow(clippy::should_implement_trait)] // It lends from itself, as no iterator can.
    pub fn next(&mut self) -> Result<Option<(u8, &[u8])>, ProtocolError> {
        let rest = &self.bytes[self.taken..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [a, b, c, d, kind] = *header;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > PAYLOAD_MAX_BYTES {
            return Err(ProtocolError::TooLong(length));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        self.taken += HEADER_BYTES + length;
        Ok(Some((kind, payload)))
    }

    /// Bytes that have been pushed and not yet returned.
    pub fn buffered(&self) -> usize {
        self.bytes.len() - self.taken
    }
}

/// Reads what an agent sends.
#[derive(Debug, Default)]
pub struct RequestReader {
    frames: FrameReader,
    greeted: bool,
}

impl RequestReader {
    /// Takes what has been read; call [`RequestReader::next`] until `None` afterwards.
    pub fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// Bytes that wait for the rest of their frame, or for a call of [`RequestReader::next`].
    pub fn buffered(&self) -> usize {
        self.frames.buffered()
    }

    /// The next message. The first is a hello, and no other is.
    ///
    /// # Errors
    /// The connection is to be closed.
    #[allow(clippy::should_implement_trait)] // An iterator would go on after an error.
    pub fn next(&mut self) -> Result<Option<Request>, ProtocolError> {
        let Some((kind, payload)) = self.frames.next()? else { return Ok(None) };
        if (kind == HELLO) == self.greeted {
            return Err(ProtocolError::Order(kind));
        }
        self.greeted = true;
        let request = match kind {
            HELLO => whole(kind, payload, |input| input.u32().map(Request::Hello)),
            SPAWN => whole(kind, payload, |input| {
                SpawnOrder::decode(input).map(LauncherCommand::Spawn).map(Request::Command)
            }),
            KILL => whole(kind, payload, |input| {
                RunId::decode(input).map(LauncherCommand::Kill).map(Request::Command)
            }),
            ACK => whole(kind, payload, |input| {
                RunId::decode(input).map(LauncherCommand::Ack).map(Request::Command)
            }),
            other => Err(ProtocolError::Kind(other)),
        };
        request.map(Some)
    }
}

/// Reads what a launcher sends, and puts a welcome together.
#[derive(Debug, Default)]
pub struct EventReader {
    frames: FrameReader,
    state: Listing,
}

#[derive(Debug, Default)]
enum Listing {
    #[default]
    NotYet,
    Open(Instance, Vec<(RunId, Entry)>),
    Done,
}

impl EventReader {
    /// Takes what has been read; call [`EventReader::next`] until `None` afterwards.
    pub fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// The next event: a welcome first, once, then news. [`LauncherEvent::Gone`] is the caller's
    /// to make when the stream ends.
    ///
    /// # Errors
    /// The connection is to be closed.
    #[allow(clippy::should_implement_trait)] // An iterator would go on after an error.
    pub fn next(&mut self) -> Result<Option<LauncherEvent>, ProtocolError> {
        while let Some((kind, payload)) = self.frames.next()? {
            let answer = decode_answer(kind, payload)?;
            if let Some(event) = self.take(kind, answer)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn take(&mut self, kind: u8, answer: Answer) -> Result<Option<LauncherEvent>, ProtocolError> {
        match (answer, &mut self.state) {
            (Answer::Mismatch { agent, launcher }, _) => {
                Err(ProtocolError::Version { agent, launcher })
            }
            (Answer::Welcome(instance), Listing::NotYet) => {
                self.state = Listing::Open(instance, Vec::new());
                Ok(None)
            }
            (Answer::Listed(run, entry), Listing::Open(_, table)) => {
                if table.len() >= LISTED_MAX {
                    return Err(ProtocolError::TooMany);
                }
                table.push((run, entry));
                Ok(None)
            }
            (Answer::ListedAll, Listing::Open(instance, table)) => {
                let event =
                    LauncherEvent::Welcome { instance: *instance, table: std::mem::take(table) };
                self.state = Listing::Done;
                Ok(Some(event))
            }
            (Answer::Run(run, entry), Listing::Done) => Ok(Some(LauncherEvent::Run(run, entry))),
            (Answer::Refused(run), Listing::Done) => Ok(Some(LauncherEvent::Refused(run))),
            (
                Answer::Welcome(_)
                | Answer::Listed(..)
                | Answer::ListedAll
                | Answer::Run(..)
                | Answer::Refused(_),
                Listing::NotYet | Listing::Open(..) | Listing::Done,
            ) => Err(ProtocolError::Order(kind)),
        }
    }
}

fn decode_answer(kind: u8, payload: &[u8]) -> Result<Answer, ProtocolError> {
    match kind {
        WELCOME => {
            let (launcher, instance) =
                whole(kind, payload, |input| Ok((input.u32()?, Instance(input.u64()?))))?;
            if launcher != VERSION {
                return Err(ProtocolError::Version { agent: VERSION, launcher });
            }
            Ok(Answer::Welcome(instance))
        }
        LISTED => whole(kind, payload, |input| {
            decode_entry(input).map(|(run, entry)| Answer::Listed(run, entry))
        }),
        LISTED_ALL => whole(kind, payload, |_| Ok(Answer::ListedAll)),
        RUN => whole(kind, payload, |input| {
            decode_entry(input).map(|(run, entry)| Answer::Run(run, entry))
        }),
        REFUSED => whole(kind, payload, |input| RunId::decode(input).map(Answer::Refused)),
        MISMATCH => whole(kind, payload, |input| {
            Ok(Answer::Mismatch { agent: input.u32()?, launcher: input.u32()? })
        }),
        other => Err(ProtocolError::Kind(other)),
    }
}

fn frame(kind: u8, payload: &mut Encoder, out: &mut Vec<u8>) {
    let payload = std::mem::take(payload).into_bytes();
    assert!(payload.len() <= PAYLOAD_MAX_BYTES, "what is sent has been measured");
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&payload);
}

fn whole<T>(
    kind: u8,
    payload: &[u8],
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
) -> Result<T, ProtocolError> {
    let mut input = Decoder::new(payload);
    let value = read(&mut input).and_then(|value| input.finish().map(|()| value));
    value.map_err(|error| ProtocolError::Payload(kind, error))
}

fn encode_entry(run: RunId, entry: &Entry, out: &mut Encoder) {
    run.encode(out);
    match entry {
        Entry::Running(process, started) => {
            out.u8(0);
            process.encode(out);
            out.i64(started.0);
        }
        Entry::Ended(exit) => exit.encode(out.u8(1)),
        Entry::Failed(failure) => failure.encode(out.u8(2)),
    }
}

fn decode_entry(input: &mut Decoder<'_>) -> Result<(RunId, Entry), DecodeError> {
    let run = RunId::decode(input)?;
    let entry = match input.u8()? {
        0 => Entry::Running(Process::decode(input)?, Wall(input.i64()?)),
        1 => Entry::Ended(Exit::decode(input)?),
        2 => Entry::Failed(StartFailure::decode(input)?),
        _ => return Err(DecodeError::Invalid("entry")),
    };
    Ok((run, entry))
}

#[cfg(test)]
mod tests;
