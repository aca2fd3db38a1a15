//! Takes a request's body out of the connection's bytes (RFC 9112, sections 6 and 7).
//!
//! It owns the place in the body; the text goes to a buffer of the caller, which grows with what
//! has arrived and never with what was announced.

use super::head::{FieldScanner, is_text_byte};
use super::limits::Limits;
use super::refusal::{Part, Refusal};

/// Most digits of a chunk's size; zeros in front count.
const SIZE_MAX_DIGITS: u8 = 16;

/// How the end of a request's body is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyLength {
    /// `Content-Length`, or 0 when nothing was said.
    Known(usize),
    /// The last chunk.
    Chunked,
}

/// Where the reading of a body stands.
#[derive(Debug)]
pub(super) enum BodyReader {
    /// So many bytes are still to come.
    Known(usize),
    /// Chunks.
    Chunked(ChunkReader),
}

impl BodyReader {
    /// A reader for a body of which nothing has arrived, and which may have `body_max` bytes.
    pub(super) fn new(length: BodyLength, body_max: usize) -> Self {
        match length {
            BodyLength::Known(bytes) => BodyReader::Known(bytes),
            BodyLength::Chunked => BodyReader::Chunked(ChunkReader::new(body_max)),
        }
    }

    /// Moves text from `input` to `body`. Returns how much of `input` is used up, and whether the
    /// body is complete.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<(usize, bool), Refusal> {
        match self {
            BodyReader::Known(left) => {
                let (taken, _) = input.split_at(input.len().min(*left));
                body.extend_from_slice(taken);
                *left -= taken.len();
                Ok((taken.len(), *left == 0))
            }
            BodyReader::Chunked(reader) => reader.read(input, body, limits),
        }
    }
}

/// Where the reading of chunks stands.
#[derive(Debug)]
pub(super) struct ChunkReader {
    part: ChunkPart,
    /// Most bytes that the body may have, and how many of them are not taken yet.
    max: usize,
    room: usize,
    size: usize,
    digits: u8,
    extension_bytes: usize,
}

#[derive(Debug)]
enum ChunkPart {
    /// The digits of a size.
    Size,
    /// White space between a size and its extension.
    Space,
    /// A chunk's extension, which is read over.
    Extension,
    /// The LF that ends a size line.
    SizeBreak,
    /// The chunk's text, `size` bytes of it.
    Text,
    /// The CR after the text.
    TextEnd,
    /// The LF after the text.
    TextBreak,
    /// The fields after the last chunk, which are dropped, and the empty line.
    Trailers(FieldScanner),
}

impl ChunkReader {
    fn new(max: usize) -> Self {
        let part = ChunkPart::Size;
        ChunkReader { part, max, room: max, size: 0, digits: 0, extension_bytes: 0 }
    }

    fn read(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<(usize, bool), Refusal> {
        let mut used = 0;
        while let Some((&byte, _)) = input.get(used..).and_then(<[u8]>::split_first) {
            if matches!(self.part, ChunkPart::Text) {
                let text = &input[used..];
                let (taken, _) = text.split_at(text.len().min(self.size));
                body.extend_from_slice(taken);
                self.size -= taken.len();
                self.room = self.room.saturating_sub(taken.len());
                used += taken.len();
                if self.size == 0 {
                    self.part = ChunkPart::TextEnd;
                }
                continue;
            }
            used += 1;
            if self.step(byte, limits)? {
                return Ok((used, true));
            }
        }
        Ok((used, false))
    }

    /// True when `byte`, which belongs to no text, ends the body.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<bool, Refusal> {
        match (&mut self.part, byte) {
            (ChunkPart::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.add_digit(byte)?;
            }
            (ChunkPart::Size, b'\r') if self.digits > 0 => self.part = ChunkPart::SizeBreak,
            (ChunkPart::Size, b';') if self.digits > 0 => self.part = ChunkPart::Extension,
            (ChunkPart::Size, b' ' | b'\t') if self.digits > 0 => self.part = ChunkPart::Space,
            (ChunkPart::Space, b' ' | b'\t') => self.count_extension(limits)?,
            (ChunkPart::Space, b';') => self.part = ChunkPart::Extension,
            (ChunkPart::Extension, b'\r') => self.part = ChunkPart::SizeBreak,
            (ChunkPart::Extension, b'\n') => return Err(Refusal::BareBreak),
            (ChunkPart::Extension, _) if is_text_byte(byte) => self.count_extension(limits)?,
            (ChunkPart::Extension, _) => {
                return Err(Refusal::BadByte(byte, "a chunk's extension"));
            }
            (ChunkPart::Size | ChunkPart::Space, _) => return Err(Refusal::ChunkSize),
            (ChunkPart::SizeBreak, b'\n') => {
                self.digits = 0;
                self.part = match self.size {
                    0 => ChunkPart::Trailers(FieldScanner::new()),
                    _ => ChunkPart::Text,
                };
            }
            (ChunkPart::TextEnd, b'\r') => self.part = ChunkPart::TextBreak,
            (ChunkPart::TextBreak, b'\n') => self.part = ChunkPart::Size,
            (ChunkPart::SizeBreak | ChunkPart::TextBreak, _) => return Err(Refusal::BareBreak),
            (ChunkPart::TextEnd | ChunkPart::Text, _) => return Err(Refusal::ChunkEnd),
            (ChunkPart::Trailers(fields), _) => return fields.step(byte, limits),
        }
        Ok(false)
    }

    fn add_digit(&mut self, byte: u8) -> Result<(), Refusal> {
        if self.digits == SIZE_MAX_DIGITS {
            return Err(Refusal::ChunkSize);
        }
        self.digits += 1;
        let digit = char::from(byte).to_digit(16).map_or(0, |digit| digit as usize);
        self.size = self.size.saturating_mul(16).saturating_add(digit);
        if self.size > self.room {
            return Err(Refusal::TooLarge(Part::Body, self.max));
        }
        Ok(())
    }

    fn count_extension(&mut self, limits: &Limits) -> Result<(), Refusal> {
        self.extension_bytes += 1;
        if self.extension_bytes > limits.header_max_bytes {
            return Err(Refusal::TooLarge(Part::Extensions, limits.header_max_bytes));
        }
        Ok(())
    }
}
