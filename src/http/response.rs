//! A response, and the bytes of its head.
//!
//! It owns what goes out in a head: no value of a field ever breaks out of its line. The framing
//! fields are the connection's alone (RFC 9112, section 6).

use crate::ident::StreamId;

/// The fields that the connection writes itself.
const OWN_FIELDS: [&str; 4] = ["Connection", "Content-Length", "Transfer-Encoding", "X-Whom"];

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Further fields. Without a `Content-Type` the body is JSON. `Connection: close` ends the
    /// connection; what is said about the body's length is dropped, as the connection says it.
    pub headers: Vec<(&'static str, String)>,
    /// What follows.
    pub body: Body,
}

/// What follows a response's head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// Pieces that are asked for as the peer takes them.
    Stream(StreamId),
}

impl Response {
    /// An answer without fields of its own.
    pub fn new(status: u16, body: Body) -> Self {
        Response { status, headers: Vec::new(), body }
    }

    /// An answer whose body is `json`.
    pub fn json(status: u16, json: Vec<u8>) -> Self {
        Response::new(status, Body::Bytes(json))
    }

    /// The error object: `sentence` is for people, `code` for programs.
    pub fn error(status: u16, code: &'static str, sentence: &str) -> Self {
        let sentence = serde_json::Value::from(sentence);
        let code = serde_json::Value::from(code);
        let json = format!("{{\"error\":{sentence},\"code\":{code}}}");
        Response::json(status, json.into_bytes())
    }

    /// The same with a field more.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Whether it asks for the end of the connection.
    pub(super) fn closes(&self) -> bool {
        self.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
        })
    }

    /// Whether a body may follow this status at all.
    pub(super) fn may_have_body(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }
}

/// How a response's end is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// Its status has no body.
    Bodiless,
    /// `Content-Length`.
    Length(usize),
    /// Chunks.
    Chunked,
    /// The connection's end.
    UntilClose,
}

/// What `Connection` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Persistence {
    /// Nothing: HTTP/1.1 goes on.
    Implied,
    /// HTTP/1.0 goes on, as it was asked to.
    KeepAlive,
    /// This is the last response.
    Close,
}

/// Appends the head of `response` to `out`.
pub(super) fn encode_head(
    response: &Response,
    whom: &str,
    framing: Framing,
    persistence: Persistence,
    out: &mut Vec<u8>,
) {
    let status = response.status;
    assert!((200..=599).contains(&status), "{status} is no final status");
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
    if !response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        push_field(out, "Content-Type", "application/json; charset=utf-8");
    }
    push_field(out, "X-Whom", whom);
    for (name, value) in &response.headers {
        if !OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            push_field(out, name, value);
        }
    }
    match framing {
        Framing::Bodiless | Framing::UntilClose => {}
        Framing::Length(bytes) => push_field(out, "Content-Length", &bytes.to_string()),
        Framing::Chunked => push_field(out, "Transfer-Encoding", "chunked"),
    }
    match persistence {
        Persistence::Implied => {}
        Persistence::KeepAlive => push_field(out, "Connection", "keep-alive"),
        Persistence::Close => push_field(out, "Connection", "close"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Control characters become spaces: a value with a line end in it would be a second field, or a
/// second response.
fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.replace(char::is_control, " ").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The customary phrase; clients ignore it.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
