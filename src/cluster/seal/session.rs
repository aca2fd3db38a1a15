//! Frames on an authenticated stream: sealed one after the other, or not at all.
//!
//! Each direction has a key of its own, and counts; so a frame that is changed, left out, repeated,
//! sent back or moved ends the stream. A frame's length is readable and authenticated. An end of
//! the bytes between two frames can't be told from a cut there; one inside a frame can. The node
//! drives it, with what its socket read.

use std::fmt;

use super::crypto::{Cipher, TAG_BYTES};
use super::keys::KeyId;
use super::stream::{Identity, Proof, StreamError};

/// Longest frame of an authenticated stream.
pub const FRAME_MAX_BYTES: usize = 1 << 20;

/// Length of a frame's length.
pub(super) const LENGTH_BYTES: usize = 4;

/// One direction of a session.
struct Half {
    cipher: Cipher,
    next: Option<u64>,
}

impl Half {
    fn new(cipher: Cipher) -> Half {
        Half { cipher, next: Some(0) }
    }

    fn count(&mut self) -> Result<u64, StreamError> {
        let counter = self.next.ok_or(StreamError::Exhausted)?;
        self.next = counter.checked_add(1);
        Ok(counter)
    }
}

/// An authenticated stream.
pub struct Session {
    /// Who is at the other end.
    pub peer: Identity,
    /// What both ends have proved to each other: that they hold this key.
    pub proof: Proof,
    /// The id of that key; `None` without keys.
    pub key: Option<KeyId>,
    sends: Half,
    receives: Half,
    partial: Partial,
    is_broken: bool,
}

impl Session {
    pub(super) fn new(
        peer: Identity,
        proof: Proof,
        key: Option<KeyId>,
        sends: Cipher,
        receives: Cipher,
    ) -> Session {
        let (sends, receives) = (Half::new(sends), Half::new(receives));
        Session { peer, proof, key, sends, receives, partial: Partial::default(), is_broken: false }
    }

    /// Appends the sealed `frame` to `out`.
    ///
    /// # Errors
    /// When it is too long, or every counter of the session was used; `out` is left as it was.
    pub fn seal(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), StreamError> {
        if frame.len() > FRAME_MAX_BYTES {
            return Err(StreamError::TooLong(frame.len()));
        }
        let counter = self.sends.count()?;
        let start = out.len();
        let length = (frame.len() + self.sends.cipher.overhead()) as u32;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(frame);
        self.sends.cipher.seal(counter, out, start..start + LENGTH_BYTES);
        Ok(())
    }

    /// Takes bytes off the front of `input` until a frame is complete, and returns the frame; or
    /// takes all and returns `None`. Call it until it does.
    ///
    /// # Errors
    /// When what arrived is not what the peer sealed next. The session is of no use after that.
    pub fn open(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, StreamError> {
        if self.is_broken {
            return Err(StreamError::Broken);
        }
        let opened = self.open_next(input);
        self.is_broken = opened.is_err();
        opened
    }

    fn open_next(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, StreamError> {
        let max = FRAME_MAX_BYTES + self.receives.cipher.overhead();
        let Some(Frame { length, mut body }) = self.partial.take(input, max)? else {
            return Ok(None);
        };
        let counter = self.receives.count()?;
        let opened = self.receives.cipher.open(counter, &length, &mut body);
        let length = opened.ok_or(StreamError::Forged)?.len();
        body.truncate(length);
        Ok(Some(body))
    }

    /// Goes on at `counter` in both directions.
    #[cfg(test)]
    pub(super) fn jump_to(&mut self, counter: u64) {
        self.sends.next = Some(counter);
        self.receives.next = Some(counter);
    }

    /// Says what it means that the bytes end here.
    ///
    /// # Errors
    /// [`StreamError::Truncated`] inside a frame.
    pub fn end(&self) -> Result<(), StreamError> {
        if self.partial.is_empty() { Ok(()) } else { Err(StreamError::Truncated) }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session with {:?} by {:?}", self.peer, self.proof)
    }
}

/// A frame as it travels.
pub(super) struct Frame {
    /// The length as it was written.
    pub(super) length: [u8; LENGTH_BYTES],
    /// What follows it.
    pub(super) body: Vec<u8>,
}

/// A frame of which a part has arrived. Room is made for what arrived, never for what is announced.
#[derive(Default)]
pub(super) struct Partial {
    length: Vec<u8>,
    body: Vec<u8>,
}

impl Partial {
    /// Takes what belongs to the frame off `input`, and returns it once it is complete. A length
    /// above `max` is refused as soon as it is read.
    pub(super) fn take(
        &mut self,
        input: &mut &[u8],
        max: usize,
    ) -> Result<Option<Frame>, StreamError> {
        move_bytes(input, &mut self.length, LENGTH_BYTES);
        let Some(length) = self.length.first_chunk::<LENGTH_BYTES>().copied() else {
            return Ok(None);
        };
        let announced = u32::from_le_bytes(length) as usize;
        if announced > max {
            return Err(StreamError::TooLong(announced));
        }
        move_bytes(input, &mut self.body, announced);
        if self.body.len() < announced {
            return Ok(None);
        }
        self.length.clear();
        Ok(Some(Frame { length, body: std::mem::take(&mut self.body) }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length.is_empty() && self.body.is_empty()
    }
}

/// Moves bytes until `to` holds `wanted`, or none are left.
fn move_bytes(from: &mut &[u8], to: &mut Vec<u8>, wanted: usize) {
    let count = wanted.saturating_sub(to.len()).min(from.len());
    let (taken, rest) = from.split_at(count);
    to.extend_from_slice(taken);
    *from = rest;
}

const _: () =
    assert!(FRAME_MAX_BYTES + TAG_BYTES < u32::MAX as usize, "a length fits in its place");
