//! Why a request is refused before anyone outside this room sees it.

use std::fmt;

use super::response::Response;
use super::target::TargetError;

/// A request that is answered with an error and ends its connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// A CR without LF, or a LF without CR, in the head or around a chunk.
    BareBreak,
    /// A byte that has no place in the named part.
    BadByte(u8, &'static str),
    /// The first line has not three parts.
    RequestLine,
    /// A field line that starts with white space.
    Fold,
    /// White space between a field's name and its colon.
    SpaceBeforeColon,
    /// A field line without a name or without a colon.
    FieldLine,
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host`, or an authority in the target, that is not `name[:port]`.
    HostInvalid,
    /// A target in none of the forms that its method allows.
    TargetForm,
    /// A query that cannot be decoded.
    Query(TargetError),
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndCoding,
    /// A repeated `Content-Length`, or one that is not a plain number.
    Length,
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingTooEarly,
    /// A chunk's size line that is not a hexadecimal number.
    ChunkSize,
    /// A chunk that goes on where it should end.
    ChunkEnd,
    /// The named part came too slowly.
    TooSlow(&'static str),
    /// The part goes beyond this limit.
    TooLarge(Part, usize),
    /// A `Content-Encoding` other than identity.
    ContentEncoding,
    /// An `Expect` other than 100-continue.
    Expectation,
    /// `CONNECT`.
    Tunnel,
    /// A transfer coding other than exactly `chunked`.
    Coding,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
}

/// What can be too large.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// The method, in bytes.
    Method,
    /// The request target, in bytes.
    Target,
    /// The fields of a head or of trailers, in bytes.
    Fields,
    /// Their number.
    FieldCount,
    /// The chunks' extensions, in bytes.
    Extensions,
    /// The body, in bytes.
    Body,
}

impl Refusal {
    /// The whole answer, without what the connection adds.
    pub(super) fn response(&self) -> Response {
        let (status, code) = self.status_and_code();
        Response::error(status, code, &self.to_string())
    }

    fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Refusal::BareBreak
            | Refusal::BadByte(..)
            | Refusal::RequestLine
            | Refusal::Fold
            | Refusal::SpaceBeforeColon
            | Refusal::FieldLine
            | Refusal::HostMissing
            | Refusal::HostRepeated
            | Refusal::HostInvalid
            | Refusal::TargetForm
            | Refusal::Query(_)
            | Refusal::LengthAndCoding
            | Refusal::Length
            | Refusal::CodingTooEarly
            | Refusal::ChunkSize
            | Refusal::ChunkEnd => (400, "bad_request"),
            Refusal::TooSlow(_) => (408, "timeout"),
            Refusal::TooLarge(part, _) => part.status_and_code(),
            Refusal::ContentEncoding => (415, "unsupported_media_type"),
            Refusal::Expectation => (417, "expectation_failed"),
            Refusal::Tunnel | Refusal::Coding => (501, "not_implemented"),
            Refusal::Version => (505, "version_not_supported"),
        }
    }
}

impl Part {
    fn status_and_code(self) -> (u16, &'static str) {
        match self {
            Part::Method => (501, "not_implemented"),
            Part::Target => (414, "target_too_long"),
            Part::Fields | Part::FieldCount | Part::Extensions => (431, "header_too_large"),
            Part::Body => (413, "body_too_large"),
        }
    }

    fn complaint(self) -> &'static str {
        match self {
            Part::Method => "the method is too long",
            Part::Target => "the request target is too long",
            Part::Fields => "the header fields are too large",
            Part::FieldCount => "there are too many header fields",
            Part::Extensions => "the chunk extensions are too large",
            Part::Body => "the body is too large",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::BareBreak => {
                f.write_str("a CR or LF stands alone in the framing; a line ends in CR LF")
            }
            Refusal::BadByte(byte, place) => write!(f, "byte 0x{byte:02x} may not be in {place}"),
            Refusal::RequestLine => f.write_str(
                "the first line is malformed; it must be 'METHOD target HTTP/1.1' with single \
                 spaces",
            ),
            Refusal::Fold => f.write_str(
                "a field line starts with white space; a field's value must be on one line",
            ),
            Refusal::SpaceBeforeColon => f.write_str(
                "white space stands between a field's name and its colon; it must be 'Name: value'",
            ),
            Refusal::FieldLine => {
                f.write_str("a field line has no name or no colon; it must be 'Name: value'")
            }
            Refusal::HostMissing => {
                f.write_str("the Host field is missing; HTTP/1.1 needs exactly one")
            }
            Refusal::HostRepeated => {
                f.write_str("the Host field is given more than once; exactly one is allowed")
            }
            Refusal::HostInvalid => f.write_str(
                "the host, in Host or in the target, is malformed; it must be 'name' or \
                 'name:port'",
            ),
            Refusal::TargetForm => f.write_str(
                "the request target is malformed; it must be a path that starts with '/' or an \
                 http URL, without user name and fragment",
            ),
            Refusal::Query(error) => write!(f, "the query of the request target {error}"),
            Refusal::LengthAndCoding => f.write_str(
                "both Content-Length and Transfer-Encoding are given; only one is allowed",
            ),
            Refusal::Length => {
                f.write_str("Content-Length must be given at most once, as decimal digits only")
            }
            Refusal::CodingTooEarly => f.write_str(
                "Transfer-Encoding is given in HTTP/1.0; it needs HTTP/1.1, or a Content-Length \
                 instead",
            ),
            Refusal::ChunkSize => f.write_str(
                "a chunk's size is malformed; it must be 1 to 16 hexadecimal digits, then CR LF \
                 or ';'",
            ),
            Refusal::ChunkEnd => {
                f.write_str("a chunk is longer than its size says; CR LF must follow its data")
            }
            Refusal::TooSlow(part) => write!(f, "the request's {part} did not arrive in time"),
            Refusal::TooLarge(part, max) => {
                let unit = if *part == Part::FieldCount { "" } else { " bytes" };
                write!(f, "{}; at most {max}{unit} are allowed", part.complaint())
            }
            Refusal::ContentEncoding => {
                f.write_str("Content-Encoding is not supported; send the body as it is")
            }
            Refusal::Expectation => f.write_str("Expect must be '100-continue' or absent"),
            Refusal::Tunnel => f.write_str("CONNECT is not supported; this server is no proxy"),
            Refusal::Coding => {
                f.write_str("Transfer-Encoding must be exactly 'chunked', given once")
            }
            Refusal::Version => {
                f.write_str("the version is not supported; HTTP/1.0 and HTTP/1.1 are")
            }
        }
    }
}
