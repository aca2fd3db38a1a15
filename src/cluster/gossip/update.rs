//! What one node says of a member in 16 bytes, and which of two such words is the newer one.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Boot, NodeId};
use std::cmp::Ordering;

/// Length of an [`Update`] on the wire.
pub const UPDATE_BYTES: usize = 16;

/// Highest boot that fits in an update: 48 bits of seconds last for millions of years.
pub const BOOT_MAX: u64 = (1 << 48) - 1;

/// Highest incarnation: 30 bits, as the state takes two of the word.
pub const INCARNATION_MAX: u32 = (1 << 30) - 1;

/// What is believed of a member, weakest word first (SWIM, section 4.2; `Left` is ours).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// Nothing speaks against it.
    Alive,
    /// A probe failed; it may still refute.
    Suspect,
    /// It did not refute in time.
    Dead,
    /// It said goodbye.
    Left,
}

impl State {
    /// Whether the member still takes part: it is probed and told the news.
    pub fn is_live(self) -> bool {
        match self {
            State::Alive | State::Suspect => true,
            State::Dead | State::Left => false,
        }
    }
}

/// One word about one member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Update {
    /// Whom it is about.
    pub node: NodeId,
    /// Which start of that node, at most [`BOOT_MAX`].
    pub boot: Boot,
    /// How often the member has spoken up for itself in this boot, at most [`INCARNATION_MAX`].
    /// Only the member raises it.
    pub incarnation: u32,
    /// What is believed.
    pub state: State,
    /// The newest version of the member's [`super::Meta`] that the teller knows of, or holds in a
    /// list; 0 for none. No part of the order.
    pub meta: u16,
}

impl Update {
    /// The one order of all words about a member: a later start beats all of an earlier one, then
    /// what the member said last beats what was believed before it, then the graver word wins.
    pub fn order(&self, other: &Update) -> Ordering {
        let key = |update: &Update| (update.boot, update.incarnation, update.state);
        key(self).cmp(&key(other))
    }

    /// Whether this says something that `other` does not know yet.
    pub fn is_newer_than(&self, other: &Update) -> bool {
        self.order(other) == Ordering::Greater
    }

    /// Writes the [`UPDATE_BYTES`] that [`Update::decode`] reads.
    pub fn encode(self, out: &mut Encoder) {
        let state = match self.state {
            State::Alive => 0,
            State::Suspect => 1,
            State::Dead => 2,
            State::Left => 3,
        };
        out.u32(self.node.get());
        encode_boot(self.boot, out);
        out.u32(self.incarnation << 2 | state).u16(self.meta);
    }

    /// Reads one word.
    ///
    /// # Errors
    /// When the bytes are too few or the node is 0.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Update, DecodeError> {
        let node = NodeId::decode(input)?;
        let boot = decode_boot(input)?;
        let word = input.u32()?;
        let state = match word & 3 {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Dead,
            _ => State::Left,
        };
        Ok(Update { node, boot, incarnation: word >> 2, state, meta: input.u16()? })
    }
}

/// Writes a boot in 6 bytes.
pub(super) fn encode_boot(boot: Boot, out: &mut Encoder) {
    out.raw(&boot.0.to_le_bytes()[..6]);
}

/// Reads what [`encode_boot`] wrote.
pub(super) fn decode_boot(input: &mut Decoder<'_>) -> Result<Boot, DecodeError> {
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(input.raw(6)?);
    Ok(Boot(u64::from_le_bytes(bytes)))
}
