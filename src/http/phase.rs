//! The states of a connection, and the wait that each of them has.

use std::time::Duration;

use super::body::BodyReader;
use super::head::HeadScanner;
use super::limits::Limits;
use super::request::Request;
use crate::ident::StreamId;
use crate::time::Mono;

/// Where the connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// The next request's head is to come; since when it does, once it has begun.
    Head(HeadScanner, Option<Mono>),
    /// The head is there, the body is to come.
    Body(Box<Receiving>),
    /// A request is complete and was not polled yet.
    Ready(Box<Request>),
    /// A request was polled and is to be answered.
    Answering,
    /// The answer's head is out, its body comes in pieces.
    Streaming(StreamId),
    /// The last answer is complete and partly unsent; whether the peer may still be sending.
    Closing { linger: bool },
    /// Everything is sent; what the peer still sends is thrown away, from this moment on.
    Lingering(Mono),
    /// Nothing will happen any more.
    Done,
}

/// A request whose body is arriving.
#[derive(Debug)]
pub(super) struct Receiving {
    pub(super) request: Request,
    pub(super) reader: BodyReader,
    pub(super) started: Mono,
}

/// What the answer must know of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) head_only: bool,
    pub(super) version_10: bool,
    pub(super) keep_alive: bool,
}

/// A wait that has an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    Idle,
    Head,
    Body,
    Stall,
    Linger,
}

impl Phase {
    /// The state's own wait, besides those for a request to begin and for the peer to take what
    /// is there.
    pub(super) fn wait(&self, limits: &Limits) -> Option<(Mono, Wait)> {
        match self {
            Phase::Head(_, started) => started.map(|at| (at + limits.header_wait, Wait::Head)),
            Phase::Body(receiving) => {
                let bytes = u64::try_from(receiving.request.body.len()).unwrap_or(u64::MAX);
                let earned = bytes.checked_div(u64::from(limits.body_rate_min)).unwrap_or(0);
                let wait = limits.body_wait.saturating_add(Duration::from_secs(earned));
                Some((receiving.started + wait, Wait::Body))
            }
            Phase::Lingering(since) => Some((*since + limits.linger, Wait::Linger)),
            Phase::Ready(_)
            | Phase::Answering
            | Phase::Streaming(_)
            | Phase::Closing { .. }
            | Phase::Done => None,
        }
    }

    /// Whether a request could begin and has not.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Phase::Head(_, None))
    }

    /// Memory held by a body, in bytes.
    pub(super) fn body_capacity(&self) -> usize {
        match self {
            Phase::Body(receiving) => receiving.request.body.capacity(),
            Phase::Ready(request) => request.body.capacity(),
            Phase::Head(..)
            | Phase::Answering
            | Phase::Streaming(_)
            | Phase::Closing { .. }
            | Phase::Lingering(_)
            | Phase::Done => 0,
        }
    }
}
