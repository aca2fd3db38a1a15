//! The request target: its forms, its path's segments and its query (RFC 9112, section 3.2, and
//! RFC 3986).
//!
//! Everything is percent-decoded exactly once, after it was taken apart, so that an escaped `/` or
//! `&` never separates anything.

use std::fmt;

use super::refusal::Refusal;
use super::request::Method;

/// Why a part of a target cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TargetError {
    /// A `%` without two hexadecimal digits after it.
    BadEscape,
    /// The decoded bytes are not UTF-8.
    NotUtf8,
    /// A NUL, escaped.
    Nul,
    /// A segment `.` or `..`, escaped or not.
    DotSegment,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetError::BadEscape => "has a '%' that two hexadecimal digits do not follow",
            TargetError::NotUtf8 => "is not UTF-8 after percent-decoding",
            TargetError::Nul => "holds an escaped NUL, which nothing may hold",
            TargetError::DotSegment => "has a segment '.' or '..', which is not resolved here",
        })
    }
}

impl std::error::Error for TargetError {}

/// A target taken apart.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Target<'a> {
    /// `/…` as it came, or `*`.
    pub(super) path: &'a str,
    /// What follows the first `?`, as it came.
    pub(super) query: &'a str,
    /// The authority of a target in absolute form.
    pub(super) authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Takes `target` apart by the form that `method` allows.
    pub(super) fn parse(target: &'a str, method: &Method) -> Result<Self, Refusal> {
        if target == "*" && *method == Method::Options {
            return Ok(Target { path: target, query: "", authority: None });
        }
        if target.starts_with('/') {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            return Ok(Target { path, query, authority: None });
        }
        let rest = without_scheme(target).ok_or(Refusal::TargetForm)?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(Refusal::TargetForm);
        }
        check_host(authority)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = if path.is_empty() { "/" } else { path };
        Ok(Target { path, query, authority: Some(authority) })
    }
}

/// Checks that `host` is `name[:port]`, where the name may be a bracketed IPv6 address, or nothing
/// at all. Names are held to letters, digits, `-`, `.`, `_` and `~`: nobody is called otherwise.
pub(super) fn check_host(host: &str) -> Result<(), Refusal> {
    let (name_is_valid, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(Refusal::HostInvalid)?;
        let allowed = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
        (!address.is_empty() && address.bytes().all(allowed), port)
    } else {
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
        (name.bytes().all(allowed) && (port.is_empty() || !name.is_empty()), port)
    };
    let port_is_valid = match port.strip_prefix(':') {
        Some(digits) => digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    if name_is_valid && port_is_valid { Ok(()) } else { Err(Refusal::HostInvalid) }
}

/// The decoded segments of `path`; one `/` at the end is ignored.
pub(super) fn segments(path: &str) -> Result<Vec<String>, TargetError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    path.split('/')
        .map(|segment| {
            let segment = decode(segment, false)?;
            if matches!(segment.as_str(), "." | "..") {
                return Err(TargetError::DotSegment);
            }
            Ok(segment)
        })
        .collect()
}

/// The decoded pairs of `query`, in order; a key without `=` has an empty value.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, TargetError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key, true)?, decode(value, true)?))
        })
        .collect()
}

/// `text` percent-decoded once; `+` is a space in a form's encoding, which queries have.
fn decode(text: &str, plus_is_space: bool) -> Result<String, TargetError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_value).ok_or(TargetError::BadEscape)?;
                let low = bytes.next().and_then(hex_value).ok_or(TargetError::BadEscape)?;
                high << 4 | low
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    if decoded.contains(&0) {
        return Err(TargetError::Nul);
    }
    String::from_utf8(decoded).map_err(|_| TargetError::NotUtf8)
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn without_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let start = target.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(target.get(scheme.len()..)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart_by_their_form() {
        let origin = |path, query| Ok(Target { path, query, authority: None });
        let absolute = |host, path, query| Ok(Target { path, query, authority: Some(host) });
        for (target, wanted) in [
            ("/", origin("/", "")),
            ("/v1/jobs?a=b?c", origin("/v1/jobs", "a=b?c")),
            ("//host/x", origin("//host/x", "")),
            ("http://n1:8080/v1?x", absolute("n1:8080", "/v1", "x")),
            ("HTTPS://n1", absolute("n1", "/", "")),
            ("http://[::1]:80?x=1", absolute("[::1]:80", "/", "x=1")),
            ("http://", Err(Refusal::TargetForm)),
            ("http:///v1", Err(Refusal::TargetForm)),
            ("http://user@n1/", Err(Refusal::HostInvalid)),
            ("http://n1:x/", Err(Refusal::HostInvalid)),
            ("ftp://n1/", Err(Refusal::TargetForm)),
            ("v1/jobs", Err(Refusal::TargetForm)),
            ("?a", Err(Refusal::TargetForm)),
            ("*", Err(Refusal::TargetForm)),
        ] {
            assert_eq!(Target::parse(target, &Method::Get), wanted, "{target}");
        }
        assert_eq!(Target::parse("*", &Method::Options), origin("*", ""));
        assert_eq!(Target::parse("*x", &Method::Options), Err(Refusal::TargetForm));
    }

    #[test]
    fn hosts_are_names_with_an_optional_port() {
        for host in ["", "n1", "n1:8080", "n1:", "127.0.0.1:80", "[::1]", "[::ffff:1.2.3.4]:80"] {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
        for host in [
            ":80", "a b", "a,b", "a/b", "u@h", "h:8a", "h:123456", "h:1:2", "[]", "[::1", "[::1]x",
            "[g]", "é", "h%41", "a\\b", "a#b",
        ] {
            assert_eq!(check_host(host), Err(Refusal::HostInvalid), "{host}");
        }
    }

    #[test]
    fn segments_are_decoded_once_and_matched_as_they_are() {
        let ok = |segments: &[&str]| Ok(segments.iter().map(|s| s.to_string()).collect());
        for (path, wanted) in [
            ("/", ok(&[])),
            ("*", ok(&["*"])),
            ("/v1/jobs", ok(&["v1", "jobs"])),
            ("/v1/jobs/", ok(&["v1", "jobs"])),
            ("/v1//jobs", ok(&["v1", "", "jobs"])),
            ("//", ok(&[])),
            ("/v1//", ok(&["v1", ""])),
            ("/a%2Fb/%c3%a9", ok(&["a/b", "é"])),
            ("/a%252e", ok(&["a%2e"])),
            ("/a+b", ok(&["a+b"])),
            ("/...", ok(&["..."])),
            ("/v1/.", Err(TargetError::DotSegment)),
            ("/v1/../x", Err(TargetError::DotSegment)),
            ("/v1/%2E%2e/x", Err(TargetError::DotSegment)),
            ("/v1/.%2e", Err(TargetError::DotSegment)),
            ("/a%00b", Err(TargetError::Nul)),
            ("/a%", Err(TargetError::BadEscape)),
            ("/a%4", Err(TargetError::BadEscape)),
            ("/a%4/b", Err(TargetError::BadEscape)),
            ("/a%+1", Err(TargetError::BadEscape)),
            ("/%ff", Err(TargetError::NotUtf8)),
            ("/%c0%ae", Err(TargetError::NotUtf8)),
        ] {
            assert_eq!(segments(path), wanted, "{path}");
        }
    }

    #[test]
    fn a_query_is_a_list_of_decoded_pairs() {
        let ok = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
        };
        for (query, wanted) in [
            ("", ok(&[])),
            ("pretty", ok(&[("pretty", "")])),
            ("a=1&a=2", ok(&[("a", "1"), ("a", "2")])),
            ("&&a=&&=b&", ok(&[("a", ""), ("", "b")])),
            ("a=b=c", ok(&[("a", "b=c")])),
            ("metadata[k]=v%26w", ok(&[("metadata[k]", "v&w")])),
            ("s=0+30%2B*", ok(&[("s", "0 30+*")])),
            ("a=%zz", Err(TargetError::BadEscape)),
            ("%80=", Err(TargetError::NotUtf8)),
            ("a=%00", Err(TargetError::Nul)),
        ] {
            assert_eq!(pairs(query), wanted, "{query}");
        }
    }
}
