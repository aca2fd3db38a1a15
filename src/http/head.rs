//! Finds the end of a request's head, looking at each byte once.
//!
//! It owns the character-level strictness: line ends, white space and control bytes where a
//! lenient parser would shrug (RFC 9112, sections 2.2, 3, 5 and 11.2). It never looks at what a
//! field means. The connection feeds it what has arrived; the answer does not depend on how the
//! bytes were cut. [`FieldScanner`] reads the trailers of a chunked body too.

use super::limits::Limits;
use super::refusal::{Part, Refusal};

/// Longest method, in bytes. The longest one registered with IANA has 17.
pub(super) const METHOD_MAX_BYTES: usize = 32;

/// Longest version, in bytes; the valid ones have 8.
const VERSION_MAX_BYTES: usize = 16;

/// Where a head's scan stands.
#[derive(Debug)]
pub(super) struct HeadScanner {
    part: HeadPart,
    seen: usize,
    skipped: usize,
    version: [u8; VERSION_MAX_BYTES],
    fields: FieldScanner,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum HeadPart {
    /// The very beginning. One empty line is read over there: old clients put one after a body.
    Start,
    /// The LF of that empty line.
    StartBreak,
    /// The method, of which so many bytes are here.
    Method(usize),
    /// The target, of which so many bytes are here.
    Target(usize),
    /// The version, of which so many bytes are here.
    Version(usize),
    /// The LF that ends the first line.
    VersionBreak(usize),
    /// The fields and the empty line after them.
    Fields,
}

impl HeadScanner {
    /// A scan of a head of which nothing has arrived.
    pub(super) fn new() -> Self {
        HeadScanner {
            part: HeadPart::Start,
            seen: 0,
            skipped: 0,
            version: [0; VERSION_MAX_BYTES],
            fields: FieldScanner::new(),
        }
    }

    /// Looks at what `input`, all bytes since the last request's end, has beyond the earlier
    /// calls. Returns the head's length once its last byte is there, the skipped line included.
    pub(super) fn scan(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        for &byte in input.get(self.seen..).unwrap_or_default() {
            self.seen += 1;
            if self.step(byte, limits)? {
                return Ok(Some(self.seen));
            }
        }
        Ok(None)
    }

    /// Whether a byte of the head itself has been seen.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.part, HeadPart::Start | HeadPart::StartBreak | HeadPart::Method(0))
    }

    /// How many bytes before the first line are to be read over.
    pub(super) fn skipped(&self) -> usize {
        self.skipped
    }

    /// How many fields have begun.
    pub(super) fn field_count(&self) -> usize {
        self.fields.count
    }

    /// True when `byte` ends the head.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<bool, Refusal> {
        self.part = match (self.part, byte) {
            (HeadPart::Start, b'\r') => HeadPart::StartBreak,
            (HeadPart::StartBreak, b'\n') => {
                self.skipped = self.seen;
                HeadPart::Method(0)
            }
            (HeadPart::StartBreak, _) => return Err(Refusal::BareBreak),
            (HeadPart::VersionBreak(len), b'\n') => {
                check_version(&self.version[..len])?;
                HeadPart::Fields
            }
            (HeadPart::VersionBreak(_), _) => return Err(Refusal::BareBreak),
            (HeadPart::Fields, _) => return self.fields.step(byte, limits),
            (_, b'\n') => return Err(Refusal::BareBreak),
            (HeadPart::Start, _) => HeadPart::with_method_byte(0, byte)?,
            (HeadPart::Method(len), _) => HeadPart::with_method_byte(len, byte)?,
            (HeadPart::Target(len), _) => {
                HeadPart::with_target_byte(len, byte, limits.target_max_bytes)?
            }
            (HeadPart::Version(len), b'\r') => HeadPart::VersionBreak(len),
            (HeadPart::Version(len), b'!'..=b'~') if len < VERSION_MAX_BYTES => {
                self.version[len] = byte;
                HeadPart::Version(len + 1)
            }
            (HeadPart::Version(_), _) => return Err(Refusal::RequestLine),
        };
        Ok(false)
    }
}

impl HeadPart {
    fn with_method_byte(len: usize, byte: u8) -> Result<HeadPart, Refusal> {
        match byte {
            b' ' if len > 0 => Ok(HeadPart::Target(0)),
            _ if !is_token_byte(byte) => Err(Refusal::RequestLine),
            _ if len == METHOD_MAX_BYTES => Err(Refusal::TooLarge(Part::Method, METHOD_MAX_BYTES)),
            _ => Ok(HeadPart::Method(len + 1)),
        }
    }

    fn with_target_byte(len: usize, byte: u8, max: usize) -> Result<HeadPart, Refusal> {
        match byte {
            b' ' if len > 0 => Ok(HeadPart::Version(0)),
            b' ' | b'\r' => Err(Refusal::RequestLine),
            b'#' => Err(Refusal::TargetForm),
            b'!'..=b'~' if len >= max => Err(Refusal::TooLarge(Part::Target, max)),
            b'!'..=b'~' => Ok(HeadPart::Target(len + 1)),
            _ => Err(Refusal::BadByte(byte, "the request target")),
        }
    }
}

fn check_version(version: &[u8]) -> Result<(), Refusal> {
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', number @ ..]
            if !number.is_empty() && number.iter().all(|b| matches!(b, b'0'..=b'9' | b'.')) =>
        {
            Err(Refusal::Version)
        }
        _ => Err(Refusal::RequestLine),
    }
}

/// Where the scan of a section of fields stands: of a head, or of a chunked body's trailers.
#[derive(Debug)]
pub(super) struct FieldScanner {
    part: FieldPart,
    bytes: usize,
    count: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FieldPart {
    /// The first byte of a line.
    LineStart,
    /// A field's name.
    Name,
    /// A field's value.
    Value,
    /// The LF that ends a field.
    ValueBreak,
    /// The LF that ends the section.
    LastBreak,
}

impl FieldScanner {
    /// A scan of a section of which nothing has arrived.
    pub(super) fn new() -> Self {
        FieldScanner { part: FieldPart::LineStart, bytes: 0, count: 0 }
    }

    /// True when `byte` ends the section.
    pub(super) fn step(&mut self, byte: u8, limits: &Limits) -> Result<bool, Refusal> {
        if self.bytes >= limits.header_max_bytes {
            return Err(Refusal::TooLarge(Part::Fields, limits.header_max_bytes));
        }
        self.bytes += 1;
        self.part = match (self.part, byte) {
            (FieldPart::LastBreak, b'\n') => return Ok(true),
            (FieldPart::ValueBreak, b'\n') => FieldPart::LineStart,
            (FieldPart::LastBreak | FieldPart::ValueBreak, _) | (_, b'\n') => {
                return Err(Refusal::BareBreak);
            }
            (FieldPart::LineStart, b'\r') => FieldPart::LastBreak,
            (FieldPart::LineStart, b' ' | b'\t') => return Err(Refusal::Fold),
            (FieldPart::LineStart, _) if is_token_byte(byte) => {
                if self.count >= limits.fields_max {
                    return Err(Refusal::TooLarge(Part::FieldCount, limits.fields_max));
                }
                self.count += 1;
                FieldPart::Name
            }
            (FieldPart::Name, b':') => FieldPart::Value,
            (FieldPart::Name, b' ' | b'\t') => return Err(Refusal::SpaceBeforeColon),
            (FieldPart::Name, _) if is_token_byte(byte) => FieldPart::Name,
            (FieldPart::LineStart, b':') | (FieldPart::Name, b'\r') => {
                return Err(Refusal::FieldLine);
            }
            (FieldPart::LineStart | FieldPart::Name, _) => {
                return Err(Refusal::BadByte(byte, "a field's name"));
            }
            (FieldPart::Value, b'\r') => FieldPart::ValueBreak,
            (FieldPart::Value, _) if is_text_byte(byte) => FieldPart::Value,
            (FieldPart::Value, _) => return Err(Refusal::BadByte(byte, "a field's value")),
        };
        Ok(false)
    }
}

/// Whether `byte` may stand in a method or a field's name (`tchar` of RFC 9110, section 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `byte` may stand in a field's value or a chunk's extension.
pub(super) fn is_text_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
