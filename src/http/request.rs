//! A request, and how a complete head becomes one.
//!
//! The only file that names the parser crate. The head's characters were checked by
//! `head::HeadScanner` before; here the fields get their meaning (RFC 9112, sections 3.2, 6 and
//! 9.3).

use std::fmt;

use super::body::BodyLength;
use super::head::HeadScanner;
use super::limits::Limits;
use super::refusal::{Part, Refusal};
use super::target::{self, Target, TargetError};

/// A complete request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// The path as it came, percent-encoded; it starts with `/`, or is `*` with OPTIONS.
    pub path: String,
    /// The query's pairs, decoded, in order; a key without `=` has an empty value.
    pub query: Vec<(String, String)>,
    /// The header fields.
    pub headers: Headers,
    /// The body, chunks already put together.
    pub body: Vec<u8>,
    /// The target's authority, else the `Host` field: `name[:port]` in any case, or empty. Only
    /// HTTP/1.0 has none.
    pub host: Option<String>,
    /// Whether the request is of HTTP/1.0.
    pub version_10: bool,
}

impl Request {
    /// The path's segments, percent-decoded once each; a `/` at the end is ignored. A segment may
    /// be empty and may hold any character but NUL, a `/` too.
    ///
    /// # Errors
    /// Escapes that are none, and segments that would lead elsewhere.
    pub fn segments(&self) -> Result<Vec<String>, TargetError> {
        target::segments(&self.path)
    }

    /// The first value of `key` in the query.
    pub fn query_value(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// A request's method; names are case-sensitive.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "each is named as in RFC 9110 and RFC 5789")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    /// Any other token, of at most 32 bytes.
    Other(String),
}

impl Method {
    /// The method of that name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            other => Method::Other(other.to_owned()),
        }
    }

    /// The name as it is sent.
    pub fn name(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Other(name) => name,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Header fields in the order in which they came. Names are compared without regard to case;
/// values are without the white space around them, and what is not UTF-8 in them is U+FFFD.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Adds a field at the end.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of `name`, one a field.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Every field: name, value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The elements of a field that is a list, over all its lines (RFC 9110, section 5.6.1).
    fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|value| value.split(',')).map(|element| element.trim_matches(WHITE))
    }
}

/// White space within a line.
const WHITE: [char; 2] = [' ', '\t'];

/// What a head says: the request without its body, and how to go on.
#[derive(Debug)]
pub(super) struct Head {
    /// The body is empty.
    pub(super) request: Request,
    /// Where the body ends.
    pub(super) body: BodyLength,
    /// Most bytes that it may have.
    pub(super) body_max: usize,
    /// Whether it comes out in pieces.
    pub(super) is_streamed: bool,
    /// The client waits for a 100 before it sends the body.
    pub(super) expects_continue: bool,
    /// Whether a further request may follow.
    pub(super) keep_alive: bool,
}

impl Head {
    /// Makes sense of `bytes`, a whole head that `scanner` has gone through.
    pub(super) fn parse(
        bytes: &[u8],
        scanner: &HeadScanner,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let bytes = bytes.get(scanner.skipped()..).unwrap_or_default();
        let mut fields = vec![httparse::EMPTY_HEADER; scanner.field_count()];
        let mut parsed = httparse::Request::new(&mut fields);
        // The scanner lets through nothing that the parser refuses; should they ever differ, the
        // request is refused.
        match parsed.parse(bytes) {
            Ok(status) if status.is_complete() => {}
            Ok(_) | Err(_) => return Err(Refusal::RequestLine),
        }
        let version_10 = parsed.version == Some(0);
        let method = Method::from_name(parsed.method.unwrap_or_default());
        if method.name() == "CONNECT" {
            return Err(Refusal::Tunnel);
        }
        let mut headers = Headers(Vec::with_capacity(parsed.headers.len()));
        for field in parsed.headers.iter() {
            headers.push(field.name, String::from_utf8_lossy(field.value).trim_matches(WHITE));
        }
        let target = Target::parse(parsed.path.unwrap_or_default(), &method)?;
        let host = host(&headers, version_10)?;
        let streamed = limits.streamed(&method, target.path);
        let body_max = streamed.map_or(limits.body_max_bytes, |streamed| streamed.body_max_bytes);
        let body = body_length(&headers, version_10, body_max)?;
        let expects_continue = expects_continue(&headers, version_10)?;
        let request = Request {
            method,
            path: target.path.to_owned(),
            query: target::pairs(target.query).map_err(Refusal::Query)?,
            host: target.authority.map(str::to_owned).or(host),
            body: Vec::new(),
            version_10,
            headers,
        };
        let keep_alive = keep_alive(&request.headers, version_10);
        let is_streamed = streamed.is_some();
        Ok(Head { request, body, body_max, is_streamed, expects_continue, keep_alive })
    }
}

fn host(headers: &Headers, version_10: bool) -> Result<Option<String>, Refusal> {
    let mut hosts = headers.all("host");
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(Refusal::HostRepeated),
        (Some(host), None) => target::check_host(host).map(|()| Some(host.to_owned())),
        (None, None) if version_10 => Ok(None),
        (None, None) => Err(Refusal::HostMissing),
    }
}

/// Framing comes first: what follows a refusal of it is not known to be a request.
fn body_length(
    headers: &Headers,
    version_10: bool,
    body_max: usize,
) -> Result<BodyLength, Refusal> {
    let codings: Vec<&str> = headers.all("transfer-encoding").collect();
    let lengths: Vec<&str> = headers.all("content-length").collect();
    let body = match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => BodyLength::Known(0),
        ([], [length]) => BodyLength::Known(parse_length(length)?),
        ([], _) => return Err(Refusal::Length),
        (_, [_, ..]) => return Err(Refusal::LengthAndCoding),
        (_, []) if version_10 => return Err(Refusal::CodingTooEarly),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => BodyLength::Chunked,
        (_, []) => return Err(Refusal::Coding),
    };
    if matches!(body, BodyLength::Known(bytes) if bytes > body_max) {
        return Err(Refusal::TooLarge(Part::Body, body_max));
    }
    if headers.all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(Refusal::ContentEncoding);
    }
    Ok(body)
}

/// A number beyond all bounds is a length all the same, and too large.
fn parse_length(digits: &str) -> Result<usize, Refusal> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::Length);
    }
    Ok(digits.parse().unwrap_or(usize::MAX))
}

/// HTTP/1.0 has no interim responses, so an expectation in it is ignored (RFC 9110, 10.1.1).
fn expects_continue(headers: &Headers, version_10: bool) -> Result<bool, Refusal> {
    if version_10 {
        return Ok(false);
    }
    let mut expects = false;
    for expectation in headers.list("expect") {
        if !expectation.eq_ignore_ascii_case("100-continue") {
            return Err(Refusal::Expectation);
        }
        expects = true;
    }
    Ok(expects)
}

fn keep_alive(headers: &Headers, version_10: bool) -> bool {
    let says = |option: &str| headers.list("connection").any(|o| o.eq_ignore_ascii_case(option));
    !says("close") && (!version_10 || says("keep-alive"))
}
