//! The bytes of all that one node tells another.
//!
//! Frames are those of [`crate::cluster::wire`]; the kinds beyond the messages of servers are
//! listed here: 16–23 are the words of sessions, which [`crate::run::wire`] writes, 32–39 requests,
//! answers, snapshots, and questions for the leader. What can't be sent is found before it is
//! tried, and its client told; so that a frame can't be made is a mistake of our own. What is read
//! is hostile.

mod requests;

use super::effect::{SnapshotPart, Word};
use crate::cluster::Envelope;
use crate::cluster::wire::{
    BODY_MAX_BYTES, Header, INDEX_MAX, WireError, decode_epoch, decode_index,
};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{DIGEST_BYTES, Epoch, Index, NodeId};
use crate::journal::{CHUNK_MAX_BYTES, Seam};
use crate::run::session;
use crate::run::wire::KINDS as SESSION_KINDS;

/// Bytes of a snapshot in one part, unless its last chunk goes beyond.
pub const PART_BYTES: usize = 256 * 1024;
/// What a chunk takes beside its bytes: their number.
pub const CHUNK_BYTES: usize = 4;
/// What a part takes beside its chunks.
const PART_HEAD_BYTES: usize = 8 + 8 + 4 + DIGEST_BYTES + 8 + 1 + 4;
// Whatever a disk takes as a chunk can be sent.
const _: () =
    assert!(PART_HEAD_BYTES + PART_BYTES + CHUNK_BYTES + CHUNK_MAX_BYTES <= BODY_MAX_BYTES);

const FORWARD: u8 = 32;
const ANSWER: u8 = 33;
const SNAPSHOT_PART: u8 = 34;
const SNAPSHOT_WANTED: u8 = 35;
const WHO_LEADS: u8 = 36;
const LEADS: u8 = 37;
const READ_INDEX: u8 = 38;
const READ_AT: u8 = 39;

/// What a frame tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Who says that it sent it.
    pub from: NodeId,
    /// The newest configuration that it knows.
    pub config: Index,
    /// What it says.
    pub word: Word,
}

impl Word {
    /// The frame that tells this, by `from`, whose newest configuration stands at `config`.
    ///
    /// # Errors
    /// [`WireError::Unsendable`] for what no other node would take, and [`WireError::TooLong`].
    pub fn frame(&self, from: NodeId, config: Index) -> Result<Vec<u8>, WireError> {
        let header = |kind, epoch| Header { kind, from, epoch, config };
        let plain = |kind| header(kind, Epoch(0));
        match self {
            Word::Consensus(envelope) => envelope.frame(from, config),
            Word::Session(word) => {
                word.check().map_err(WireError::Unsendable)?;
                header(word.kind(), word.epoch).frame(|out| word.encode(out))
            }
            Word::Forward(number, peer, request) => {
                requests::check_forward(peer, request).map_err(WireError::Unsendable)?;
                plain(FORWARD).frame(|out| requests::encode_forward(*number, peer, request, out))
            }
            Word::Answer(number, applied, response) => {
                requests::check_answer(response).map_err(WireError::Unsendable)?;
                plain(ANSWER).frame(|out| {
                    requests::encode_answer(*number, *applied, response, out);
                })
            }
            Word::SnapshotPart(part) => {
                part.check().map_err(WireError::Unsendable)?;
                plain(SNAPSHOT_PART).frame(|out| part.encode(out))
            }
            Word::SnapshotWanted(index, number) => plain(SNAPSHOT_WANTED).frame(|out| {
                out.u64(index.0).u64(*number);
            }),
            Word::WhoLeads => plain(WHO_LEADS).frame(|_| {}),
            Word::Leads(leader, epoch) => plain(LEADS).frame(|out| {
                out.u32(leader.get()).u64(epoch.0);
            }),
            Word::ReadIndex(number) => plain(READ_INDEX).frame(|out| {
                out.u64(*number);
            }),
            Word::ReadAt(number, index) => plain(READ_AT).frame(|out| {
                out.u64(*number).option(*index, |out, index| {
                    out.u64(index.0);
                });
            }),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is none: every kind of [`WireError`] but the last.
    pub fn read(frame: &[u8]) -> Result<Told, WireError> {
        let (header, body) = Header::read(frame)?;
        let word = match header.kind {
            kind if SESSION_KINDS.contains(&kind) => Word::Session(
                header.body(body, |input| session::Word::decode(kind, header.epoch, input))?,
            ),
            FORWARD..=READ_AT => {
                if header.epoch != Epoch(0) {
                    return Err(WireError::Header(DecodeError::Invalid("epoch")));
                }
                header.body(body, |input| Word::decode(header.kind, input))?
            }
            _ => Word::Consensus(Envelope::read(&header, body)?),
        };
        Ok(Told { from: header.from, config: header.config, word })
    }

    fn decode(kind: u8, input: &mut Decoder<'_>) -> Result<Word, DecodeError> {
        Ok(match kind {
            FORWARD => {
                let (number, peer, request) = requests::decode_forward(input)?;
                Word::Forward(number, peer, Box::new(request))
            }
            ANSWER => {
                let (number, applied, response) = requests::decode_answer(input)?;
                Word::Answer(number, applied, Box::new(response))
            }
            SNAPSHOT_PART => Word::SnapshotPart(SnapshotPart::decode(input)?),
            SNAPSHOT_WANTED => Word::SnapshotWanted(decode_index(input)?, input.u64()?),
            WHO_LEADS => Word::WhoLeads,
            LEADS => Word::Leads(NodeId::decode(input)?, decode_epoch(input)?),
            READ_INDEX => Word::ReadIndex(input.u64()?),
            READ_AT => Word::ReadAt(input.u64()?, input.option(decode_index)?),
            _ => return Err(DecodeError::Invalid("kind")),
        })
    }
}

impl SnapshotPart {
    fn check(&self) -> Result<(), &'static str> {
        if self.seam.index > INDEX_MAX {
            return Err("index of a snapshot");
        }
        match self.chunks.iter().all(|chunk| (1..=CHUNK_MAX_BYTES).contains(&chunk.len())) {
            true => Ok(()),
            false => Err("length of a chunk"),
        }
    }

    fn encode(&self, out: &mut Encoder) {
        out.u64(self.seam.index.0).u64(self.seam.epoch.0).u32(self.seam.chain);
        out.raw(&self.digest).u64(self.number).bool(self.is_last);
        out.list(self.chunks.iter(), |out, chunk| {
            out.bytes(chunk);
        });
    }

    fn decode(input: &mut Decoder<'_>) -> Result<SnapshotPart, DecodeError> {
        let (index, epoch) = (decode_index(input)?, decode_epoch(input)?);
        let part = SnapshotPart {
            seam: Seam { index, epoch, chain: input.u32()? },
            digest: input.array()?,
            number: input.u64()?,
            is_last: input.bool()?,
            chunks: input.list(|input| input.bytes().map(<[u8]>::to_vec))?,
        };
        part.check().map_err(DecodeError::Invalid)?;
        Ok(part)
    }
}

#[cfg(test)]
mod tests;
