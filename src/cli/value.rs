//! Values of settings: from text to type, by the kind that the table gives.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::flags::Kind;
use super::quoted;
use crate::job::{duration, spec};
use crate::{cron, ident};

/// Longest path, in bytes: the system's own limit.
const PATH_MAX_BYTES: usize = 4_095;
/// Longest name of a host, in bytes, from RFC 1035.
const HOST_MAX_BYTES: usize = 253;

/// A value that fits its kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Flag(bool),
    Text(String),
    Path(PathBuf),
    Address(Address),
    Pair(String, String),
    Count(u64),
    /// `None` is never.
    Duration(Option<Duration>),
    /// From the table, a synonym resolved.
    Word(&'static str),
}

/// An address to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Address {
    /// As it was written.
    Exact(SocketAddr),
    /// Only the port was written.
    Port(u16),
}

/// Reads `text` as a value of `kind`.
///
/// # Errors
/// One clause that fits after the setting's name.
pub(super) fn read(kind: &Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Flag => flag(text).map(Value::Flag),
        Kind::Text => Ok(Value::Text(text.into())),
        Kind::Name => checked(ident::check_name, text),
        Kind::Host => host(text).map(Value::Text),
        Kind::Zone => checked(cron::check_zone_name, text),
        Kind::Path => path(text).map(Value::Path),
        Kind::Address => address(text).map(Value::Address),
        Kind::Pair => pair(text).map(|(key, value)| Value::Pair(key, value)),
        Kind::Count(range) => count(text, range).map(Value::Count),
        Kind::Size(range) => size(text, range).map(Value::Count),
        Kind::Duration(range) => time(text, range).map(|time| Value::Duration(Some(time))),
        Kind::DurationOrNever if text == "never" => Ok(Value::Duration(None)),
        Kind::DurationOrNever => match duration::parse(text) {
            Ok(time) => Ok(Value::Duration(Some(time))),
            Err(error) => Err(format!("{} {error}, or never", quoted(text))),
        },
        Kind::Word(words, synonyms) => word(text, words, synonyms).map(Value::Word),
    }
}

fn checked(check: fn(&str) -> Result<(), String>, text: &str) -> Result<Value, String> {
    match check(text) {
        Ok(()) => Ok(Value::Text(text.into())),
        Err(why) => Err(format!("{} {why}", quoted(text))),
    }
}

/// Go's `strconv.ParseBool`.
fn flag(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(format!("{} is neither true nor false", quoted(text))),
    }
}

fn path(text: &str) -> Result<PathBuf, String> {
    match text.len() {
        0 => Err("must not be empty".into()),
        1..=PATH_MAX_BYTES if text.contains('\0') => Err(format!("{} has a NUL", quoted(text))),
        1..=PATH_MAX_BYTES => Ok(text.into()),
        bytes => Err(format!("is {bytes} bytes long, at most {PATH_MAX_BYTES} are allowed")),
    }
}

fn host(text: &str) -> Result<String, String> {
    let shown = quoted(text);
    if text.is_empty() || text.len() > HOST_MAX_BYTES {
        return Err(format!("{shown} is not 1-{HOST_MAX_BYTES} bytes long"));
    }
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => {}
        Some(_) => return Err(format!("{shown} is not an IPv6 address in brackets")),
        None if text.bytes().all(of_name) => {}
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => {
            return Err(format!("{shown} needs brackets, as in [{text}]"));
        }
        None if text.contains("://") => {
            return Err(format!("{shown} is a URL; write the name of the host alone"));
        }
        None if text.contains(':') => {
            return Err(format!("{shown} has a port; write the name alone, any port is answered"));
        }
        None => return Err(format!("{shown} is not the name of a host")),
    }
    Ok(text.to_ascii_lowercase())
}

fn address(text: &str) -> Result<Address, String> {
    if let Ok(exact) = text.parse() {
        return Ok(Address::Exact(exact));
    }
    let shown = quoted(text);
    let example = "write ADDRESS:PORT, as in 127.0.0.1:8080";
    if text.contains("{{") {
        return Err(format!("{shown} is a template, which is not filled in; {example}"));
    }
    if text.starts_with('[') || text.parse::<IpAddr>().is_ok() {
        return Err(format!("{shown} is not an address with a port; {example} or [::1]:8080"));
    }
    let Some((name, port)) = text.rsplit_once(':') else {
        return Err(format!("{shown} is not an address with a port; {example}"));
    };
    // `parse` alone would take a plus sign.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let Some(port) = port.parse().ok().filter(|_| digits) else {
        return Err(format!("{shown} has no port from 0 to 65535; {example}"));
    };
    match name {
        "" => Ok(Address::Port(port)),
        _ if name.eq_ignore_ascii_case("localhost") => {
            Ok(Address::Exact((Ipv4Addr::LOCALHOST, port).into()))
        }
        _ => Err(format!("{shown} is not an address, and names are not looked up; {example}")),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let shown = quoted(text);
    let Some((key, value)) = text.split_once('=') else {
        return Err(format!("{shown} has no \"=\"; write KEY=VALUE"));
    };
    if key.is_empty() || key.len() > spec::KEY_MAX_BYTES {
        return Err(format!("the key of {shown} is not 1-{} bytes long", spec::KEY_MAX_BYTES));
    }
    if value.len() > spec::VALUE_MAX_BYTES {
        return Err(format!("the value of {shown} is longer than {} bytes", spec::VALUE_MAX_BYTES));
    }
    if text.contains(char::is_control) {
        return Err(format!("{shown} has a control character"));
    }
    if spec::split_tag(value).1.is_some() {
        let what = "ends like a count, so that no job could ask for it";
        return Err(format!("the value of {shown} {what}"));
    }
    Ok((key.into(), value.into()))
}

fn count(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let bounds = || format!("({}-{})", range.start(), range.end());
    match whole(text) {
        Some(number) if range.contains(&number) => Ok(number),
        Some(_) => Err(format!("{} is out of range {}", quoted(text), bounds())),
        None => Err(format!("{} is not a whole number {}", quoted(text), bounds())),
    }
}

fn size(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let factor = if unit.is_empty() { Some(1) } else { factor };
    let bounds = format!("({}-{})", show_size(*range.start()), show_size(*range.end()));
    let (Some(number), Some(factor)) = (whole(number), factor) else {
        let units = "a whole number of B, KiB, MiB, GiB or TiB";
        return Err(format!("{} is not {units} {bounds}", quoted(text)));
    };
    match number.checked_mul(factor).filter(|bytes| range.contains(bytes)) {
        Some(bytes) => Ok(bytes),
        None => Err(format!("{} is out of range {bounds}", quoted(text))),
    }
}

const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn show_size(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, factor)| bytes.is_multiple_of(*factor) && bytes >= *factor);
    unit.map_or("0B".into(), |(name, factor)| format!("{}{name}", bytes / factor))
}

/// Digits alone; a number too large to hold is larger than any bound.
fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn time(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(time) if range.contains(&time) => Ok(time),
        Ok(_) => {
            let [from, to] = [range.start(), range.end()].map(|bound| duration::format(*bound));
            Err(format!("{} is out of range ({from}-{to})", quoted(text)))
        }
        Err(error) => Err(format!("{} {error}", quoted(text))),
    }
}

fn word(
    text: &str,
    words: &'static [&'static str],
    synonyms: &'static [(&'static str, &'static str)],
) -> Result<&'static str, String> {
    let lower = text.to_ascii_lowercase();
    let meant = synonyms.iter().find(|(old, _)| *old == lower).map(|(_, word)| *word);
    let found = meant.or_else(|| words.iter().find(|word| **word == lower).copied());
    found.ok_or_else(|| format!("{} is none of {}", quoted(text), words.join(", ")))
}
