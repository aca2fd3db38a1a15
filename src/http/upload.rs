//! A body that comes out in pieces, while its request is being answered.
//!
//! It holds no more than a read or two of the socket brings: until the piece is taken, nothing more
//! is read, and the kernel holds the peer back. While that is so, no wait of the peer's counts.

use std::time::Duration;

use super::body::BodyReader;
use super::limits::Limits;
use super::refusal::Refusal;
use crate::time::Mono;

/// Nothing more is read while so much waits to be taken.
const PIECE_ENOUGH_BYTES: usize = 16 * 1024;

/// The next bytes of a body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BodyPiece {
    /// They; none only where they are the last.
    pub bytes: Vec<u8>,
    /// Whether the body ends with them.
    pub is_last: bool,
}

/// Where the reading of such a body stands.
#[derive(Debug)]
pub(super) struct Upload {
    reader: BodyReader,
    piece: BodyPiece,
    /// How much was read in all.
    received: u64,
    /// The end of the head, later by all the time for which the peer was held back.
    started: Mono,
    /// When the peer last sent something, or could send again.
    progress_at: Mono,
    /// Since when it is held back.
    held_since: Option<Mono>,
}

impl Upload {
    /// A body of which nothing has arrived.
    pub(super) fn new(reader: BodyReader, now: Mono) -> Upload {
        let piece = BodyPiece::default();
        Upload { reader, piece, received: 0, started: now, progress_at: now, held_since: None }
    }

    /// Takes what belongs to the body from the front of `input`; how much that was.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        limits: &Limits,
        now: Mono,
    ) -> Result<usize, Refusal> {
        if self.piece.is_last || input.is_empty() {
            return Ok(0);
        }
        let before = self.piece.bytes.len();
        let (used, is_last) = self.reader.read(input, &mut self.piece.bytes, limits)?;
        self.piece.is_last = is_last;
        self.received += (self.piece.bytes.len() - before) as u64;
        self.progress_at = now;
        if !self.wants_read() {
            self.held_since.get_or_insert(now);
        }
        Ok(used)
    }

    /// What has arrived since the last call, if anything has.
    pub(super) fn take(&mut self, now: Mono) -> Option<BodyPiece> {
        if self.piece.bytes.is_empty() && !self.piece.is_last {
            return None;
        }
        if let Some(since) = self.held_since.take() {
            self.started = self.started + now.since(since);
            self.progress_at = now;
        }
        let is_last = self.piece.is_last;
        Some(BodyPiece { bytes: std::mem::take(&mut self.piece.bytes), is_last })
    }

    /// Whether all of it has arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.piece.is_last
    }

    /// Whether more is to be read.
    pub(super) fn wants_read(&self) -> bool {
        !self.piece.is_last && self.piece.bytes.len() < PIECE_ENOUGH_BYTES
    }

    /// When it comes too slowly: `body_wait` after the last byte, or by the rate, as with others.
    pub(super) fn late_at(&self, limits: &Limits) -> Option<Mono> {
        let earned = self.received.checked_div(u64::from(limits.body_rate_min)).unwrap_or(0);
        let by_rate = limits.body_wait.saturating_add(Duration::from_secs(earned));
        let late_at = (self.started + by_rate).min(self.progress_at + limits.body_wait);
        self.wants_read().then_some(late_at)
    }

    /// Memory held, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.piece.bytes.capacity()
    }
}
