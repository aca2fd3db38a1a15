//! How much a peer may send, and how long it may take.

use std::time::Duration;

use super::request::Method;

/// What every connection of a listener shares.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// The node's name, sent as `X-Whom` with every response.
    pub whom: String,
    /// The bounds.
    pub limits: Limits,
}

/// The bounds of one connection. What crosses a size is refused with the named status; what
/// crosses a wait ends the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest request target; beyond it 414.
    pub target_max_bytes: usize,
    /// Largest header section, line ends included; beyond it 431. The extensions of a body's
    /// chunks, and its trailers, are held to the same number each.
    pub header_max_bytes: usize,
    /// Most header fields, or trailer fields; beyond it 431.
    pub fields_max: usize,
    /// Largest body after the chunks are taken apart; beyond it 413.
    pub body_max_bytes: usize,
    /// Requests whose bodies may be larger, and come out in pieces.
    pub streamed: Option<Streamed>,
    /// How long a connection may stay without a request; then it is closed silently.
    pub idle: Duration,
    /// From the first byte of a head to its last; then 408.
    pub header_wait: Duration,
    /// From the end of the head to the end of the body, to which every `body_rate_min` bytes that
    /// have arrived add a second; then 408.
    pub body_wait: Duration,
    /// Bytes of a body in a second; 0 adds nothing to `body_wait`.
    pub body_rate_min: u32,
    /// How long a reader may take nothing of what is there for it; then the connection is dropped.
    pub stall: Duration,
    /// How long a refused peer may go on sending after it was answered. A socket closed over
    /// unread bytes resets the connection, and the peer would lose the answer.
    pub linger: Duration,
    /// How much a refused peer may go on sending.
    pub linger_max_bytes: usize,
}

/// Requests whose bodies come out in pieces, so that no more than a few of these are in memory:
/// those with this method and path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Streamed {
    /// The method.
    pub method: Method,
    /// The path, as it comes; a `/` at its end is ignored.
    pub path: &'static str,
    /// Largest body after the chunks are taken apart; beyond it 413.
    pub body_max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            target_max_bytes: 8 * 1024,
            header_max_bytes: 16 * 1024,
            fields_max: 100,
            body_max_bytes: 1024 * 1024,
            streamed: None,
            idle: Duration::from_secs(60),
            header_wait: Duration::from_secs(10),
            body_wait: Duration::from_secs(30),
            body_rate_min: 1024,
            stall: Duration::from_secs(30),
            linger: Duration::from_secs(5),
            linger_max_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// What holds for the body of such a request, if it comes out in pieces.
    pub(super) fn streamed(&self, method: &Method, path: &str) -> Option<&Streamed> {
        let is_meant = |streamed: &&Streamed| {
            streamed.method == *method && path.trim_end_matches('/') == streamed.path
        };
        self.streamed.as_ref().filter(is_meant)
    }
}
