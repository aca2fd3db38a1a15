//! Frames between nodes, and the bytes of what servers say of elections and the journal.
//!
//! A frame is a header of 24 bytes and a body; its length is told and authenticated by the stream
//! that seals it ([`super::seal::Session`]), and before that stream knows its peer there are none.
//! Integers are little-endian:
//!
//! | at | bytes | field |
//! |---:|------:|-------|
//! |  0 | 1 | kind: 1–9 are the messages of this room, in the order of [`Message`] |
//! |  1 | 1 | version, see [`VERSION`] |
//! |  2 | 2 | 0 |
//! |  4 | 4 | who sends it |
//! |  8 | 8 | the epoch of which it speaks; 0 where it speaks of none |
//! | 16 | 8 | the index of the newest configuration in the sender's journal |
//!
//! What is read is hostile, and has one spelling: what was decoded is encoded to the same bytes.
#![forbid(unsafe_code)]

use std::fmt;

use super::message::{Append, Envelope, Message, Place, Raw};
use super::peer::APPEND_MAX_BYTES;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Epoch, Index, NodeId};
use crate::journal::PAYLOAD_MAX_BYTES;
use crate::time::Wall;

pub use super::seal::FRAME_MAX_BYTES;

/// The version of all frames. It is announced in each, and another one is not read.
pub const VERSION: u8 = 1;
/// Bytes before the body.
pub const HEADER_BYTES: usize = 24;
/// Longest body.
pub const BODY_MAX_BYTES: usize = FRAME_MAX_BYTES - HEADER_BYTES;
/// Highest epoch that is read; none that is promised comes near it, and sums stay in range.
pub const EPOCH_MAX: Epoch = Epoch(1 << 62);
/// Highest index that is read.
pub const INDEX_MAX: Index = Index(crate::journal::INDEX_MAX);
/// What a record takes beside its payload: its epoch, its kind, a length.
pub const RECORD_BYTES: usize = 8 + 1 + 4;
/// What an Append takes beside its records.
const APPEND_BYTES: usize = 16 + 8 + 8 + 4;
// Whatever a disk takes as one record can be sent.
const _: () = assert!(APPEND_BYTES + RECORD_BYTES + PAYLOAD_MAX_BYTES <= BODY_MAX_BYTES);
const _: () = assert!(APPEND_BYTES + APPEND_MAX_BYTES <= BODY_MAX_BYTES);

/// What every frame begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the body is.
    pub kind: u8,
    /// Who sends it.
    pub from: NodeId,
    /// The epoch of which it speaks, at most [`EPOCH_MAX`].
    pub epoch: Epoch,
    /// The newest configuration that the sender knows, at most [`INDEX_MAX`].
    pub config: Index,
}

/// Why bytes are no frame, or a frame can't be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// It has, or would have, so many bytes: more than [`FRAME_MAX_BYTES`].
    TooLong(usize),
    /// It is of another version.
    Version(u8),
    /// Nothing of this kind is known.
    Kind(u8),
    /// Its header is none.
    Header(DecodeError),
    /// The body of a frame of this kind is none.
    Body(u8, DecodeError),
    /// A part of what is to be sent has no place in a frame; says what.
    Unsendable(&'static str),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::TooLong(bytes) => {
                write!(f, "a frame of {bytes} bytes is above the {FRAME_MAX_BYTES} allowed")
            }
            WireError::Version(version) => {
                write!(f, "a frame is of version {version}, this node speaks {VERSION}")
            }
            WireError::Kind(kind) => write!(f, "a frame of kind {kind} is not known here"),
            WireError::Header(error) => write!(f, "the header of a frame {error}"),
            WireError::Body(kind, error) => write!(f, "a frame of kind {kind} {error}"),
            WireError::Unsendable(what) => write!(f, "{what} cannot be sent to another node"),
        }
    }
}

impl std::error::Error for WireError {}

impl Header {
    /// The frame with this header and the body that `write` puts.
    ///
    /// # Errors
    /// [`WireError::TooLong`].
    pub fn frame(&self, write: impl FnOnce(&mut Encoder)) -> Result<Vec<u8>, WireError> {
        let mut out = Encoder::new();
        out.u8(self.kind).u8(VERSION).u16(0);
        out.u32(self.from.get()).u64(self.epoch.0).u64(self.config.0);
        write(&mut out);
        if out.len() > FRAME_MAX_BYTES {
            return Err(WireError::TooLong(out.len()));
        }
        Ok(out.into_bytes())
    }

    /// Takes a frame apart: its header, and its body.
    ///
    /// # Errors
    /// When it is too long, of another version, or its header is none. Of the kind nothing is
    /// known here.
    pub fn read(frame: &[u8]) -> Result<(Header, &[u8]), WireError> {
        if frame.len() > FRAME_MAX_BYTES {
            return Err(WireError::TooLong(frame.len()));
        }
        let mut input = Decoder::new(frame);
        let header = Header::decode(&mut input)?;
        let body = input.raw(input.remaining()).map_err(WireError::Header)?;
        Ok((header, body))
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Header, WireError> {
        let (kind, version) = (input.u8(), input.u8());
        let kind = kind.map_err(WireError::Header)?;
        let version = version.map_err(WireError::Header)?;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let rest = |input: &mut Decoder<'_>| {
            if input.u16()? != 0 {
                return Err(DecodeError::Invalid("filling"));
            }
            let from = NodeId::decode(input)?;
            Ok(Header { kind, from, epoch: decode_epoch(input)?, config: decode_index(input)? })
        };
        rest(input).map_err(WireError::Header)
    }

    /// Reads `body` to its end, as that of this header.
    ///
    /// # Errors
    /// [`WireError::Body`].
    pub fn body<T>(
        &self,
        body: &[u8],
        read: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, WireError> {
        let mut input = Decoder::new(body);
        let value = read(&mut input).and_then(|value| input.finish().map(|()| value));
        value.map_err(|error| WireError::Body(self.kind, error))
    }
}

impl Envelope {
    /// The frame that tells this, by `from`, whose newest configuration stands at `config`.
    ///
    /// # Errors
    /// [`WireError::TooLong`], which none is that a consensus gives out.
    pub fn frame(&self, from: NodeId, config: Index) -> Result<Vec<u8>, WireError> {
        let header = Header { kind: self.message.kind(), from, epoch: self.epoch, config };
        header.frame(|out| self.message.encode(out))
    }

    /// Reads what a frame of that header tells.
    ///
    /// # Errors
    /// [`WireError::Kind`] for a frame that is no message of this room, and [`WireError::Body`].
    pub fn read(header: &Header, body: &[u8]) -> Result<Envelope, WireError> {
        if !(PROBE..=TRANSFER).contains(&header.kind) {
            return Err(WireError::Kind(header.kind));
        }
        let (kind, epoch) = (header.kind, header.epoch);
        let message = header.body(body, |input| Message::decode(kind, epoch, input))?;
        Ok(Envelope { epoch, message })
    }
}

const PROBE: u8 = 1;
const PROBE_ANSWER: u8 = 2;
const CANDIDACY: u8 = 3;
const VOTE: u8 = 4;
const APPEND: u8 = 5;
const ACK: u8 = 6;
const CONFLICT: u8 = 7;
const STALE: u8 = 8;
const TRANSFER: u8 = 9;

impl Message {
    fn kind(&self) -> u8 {
        match self {
            Message::Probe { .. } => PROBE,
            Message::ProbeAnswer { .. } => PROBE_ANSWER,
            Message::Candidacy { .. } => CANDIDACY,
            Message::Vote { .. } => VOTE,
            Message::Append(_) => APPEND,
            Message::Ack { .. } => ACK,
            Message::Conflict { .. } => CONFLICT,
            Message::Stale { .. } => STALE,
            Message::Transfer => TRANSFER,
        }
    }

    fn encode(&self, out: &mut Encoder) {
        match self {
            Message::Probe { nonce, tail } => {
                encode_place(*tail, out.u64(*nonce));
            }
            Message::ProbeAnswer { nonce, promised, log_ok, sticky, outranks } => {
                out.u64(*nonce).u64(promised.0).bool(*log_ok).bool(*sticky).bool(*outranks);
            }
            Message::Candidacy { tail, transfer_of } => {
                encode_place(*tail, out);
                out.option(*transfer_of, |out, epoch| {
                    out.u64(epoch.0);
                });
            }
            Message::Vote { granted, promised } => {
                out.bool(*granted).u64(promised.0);
            }
            Message::Append(append) => append.encode(out),
            Message::Ack { matched, round, wall } => {
                out.u64(matched.0).u64(*round).i64(wall.0);
            }
            Message::Conflict { prev, found, first } => {
                encode_place(*found, out.u64(prev.0));
                out.u64(first.0);
            }
            Message::Stale { promised } => {
                out.u64(promised.0);
            }
            Message::Transfer => {}
        }
    }

    fn decode(kind: u8, epoch: Epoch, input: &mut Decoder<'_>) -> Result<Message, DecodeError> {
        Ok(match kind {
            PROBE => Message::Probe { nonce: input.u64()?, tail: decode_place(input)? },
            PROBE_ANSWER => Message::ProbeAnswer {
                nonce: input.u64()?,
                promised: decode_epoch(input)?,
                log_ok: input.bool()?,
                sticky: input.bool()?,
                outranks: input.bool()?,
            },
            CANDIDACY => Message::Candidacy {
                tail: decode_place(input)?,
                transfer_of: input.option(decode_epoch)?,
            },
            VOTE => Message::Vote { granted: input.bool()?, promised: decode_epoch(input)? },
            APPEND => Message::Append(Append::decode(epoch, input)?),
            ACK => Message::Ack {
                matched: decode_index(input)?,
                round: input.u64()?,
                wall: Wall(input.i64()?),
            },
            CONFLICT => Message::Conflict {
                prev: decode_index(input)?,
                found: decode_place(input)?,
                first: decode_index(input)?,
            },
            STALE => Message::Stale { promised: decode_epoch(input)? },
            TRANSFER => Message::Transfer,
            _ => return Err(DecodeError::Invalid("kind")),
        })
    }
}

impl Append {
    /// The records follow `prev` without a gap, so their indexes are not written.
    fn encode(&self, out: &mut Encoder) {
        encode_place(self.prev, out);
        out.u64(self.commit.0).u64(self.round);
        out.list(self.records.iter(), |out, raw| {
            out.u64(raw.epoch.0).u8(raw.kind).bytes(&raw.payload);
        });
    }

    /// A leader of `epoch` has records of that or earlier ones, each of one no lower than that of
    /// the record before.
    fn decode(epoch: Epoch, input: &mut Decoder<'_>) -> Result<Append, DecodeError> {
        let prev = decode_place(input)?;
        let (commit, round) = (decode_index(input)?, input.u64()?);
        let (mut last, mut bytes) = (prev, 0);
        let records = input.list(|input| {
            let place = Place { epoch: decode_epoch(input)?, index: Index(last.index.0 + 1) };
            if place.epoch < last.epoch || place.epoch > epoch || place.index > INDEX_MAX {
                return Err(DecodeError::Invalid("place of a record"));
            }
            let is_first = last == prev;
            last = place;
            let (kind, payload) = (input.u8()?, input.bytes()?);
            bytes += RECORD_BYTES + payload.len();
            if payload.len() > PAYLOAD_MAX_BYTES || (bytes > APPEND_MAX_BYTES && !is_first) {
                return Err(DecodeError::Invalid("length of records"));
            }
            let payload = payload.to_vec();
            Ok(Raw { index: place.index, epoch: place.epoch, kind, payload })
        })?;
        Ok(Append { prev, records, commit, round })
    }
}

fn encode_place(place: Place, out: &mut Encoder) {
    out.u64(place.epoch.0).u64(place.index.0);
}

fn decode_place(input: &mut Decoder<'_>) -> Result<Place, DecodeError> {
    Ok(Place { epoch: decode_epoch(input)?, index: decode_index(input)? })
}

/// Reads an epoch.
///
/// # Errors
/// When it is above [`EPOCH_MAX`], or the bytes are too few.
pub fn decode_epoch(input: &mut Decoder<'_>) -> Result<Epoch, DecodeError> {
    let epoch = Epoch(input.u64()?);
    if epoch <= EPOCH_MAX { Ok(epoch) } else { Err(DecodeError::Invalid("epoch")) }
}

/// Reads an index.
///
/// # Errors
/// When it is above [`INDEX_MAX`], or the bytes are too few.
pub fn decode_index(input: &mut Decoder<'_>) -> Result<Index, DecodeError> {
    let index = Index(input.u64()?);
    if index <= INDEX_MAX { Ok(index) } else { Err(DecodeError::Invalid("index")) }
}

#[cfg(test)]
mod tests;
