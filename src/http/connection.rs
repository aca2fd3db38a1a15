//! The state of one peer.
//!
//! [`Connection`] owns what has arrived and not been used, what is to be sent and has not been
//! taken, and the deadlines. It handles one request at a time: a pipelined one waits, as bytes,
//! until the answer to the one before is on its way. The shell that drives it calls, in a turn,
//! `received`, then `poll_request` until `None`, then sends `output`; and it asks `is_done`,
//! `wants_shutdown`, `wants_read`, `wants_stream` and `poll_timeout` anew after any call.

mod sending;

use std::sync::Arc;

use super::body::{BodyLength, BodyReader};
use super::buffer::Buffer;
use super::head::HeadScanner;
use super::limits::Settings;
use super::phase::{Exchange, Phase, Receiving, Wait};
use super::refusal::Refusal;
use super::request::{Head, Method, Request};
use super::response::{Body, Framing, Response};
use super::upload::{BodyPiece, Upload};
use crate::ident::StreamId;
use crate::time::Mono;

/// The next piece of a stream, and the next pipelined request, wait until no more than this is
/// left to send.
const OUTPUT_LOW_BYTES: usize = 16 * 1024;

/// About what the head of an answer takes, in bytes.
const HEAD_BYTES: usize = 256;

/// Most bytes that may arrive while a request is being answered: a shell that heeds `wants_read`
/// brings no more than one read. Beyond it the connection is dropped.
const BACKLOG_MAX_BYTES: usize = 1024 * 1024;

/// One HTTP/1.x connection.
#[derive(Debug)]
pub struct Connection {
    settings: Arc<Settings>,
    phase: Phase,
    exchange: Exchange,
    /// What is to come of the body of the request that is being answered.
    upload: Option<Upload>,
    input: Buffer,
    output: Buffer,
    /// When the peer last took something, or when there was something to take again.
    progress_at: Mono,
    /// Since when nothing is owed to the peer.
    quiet_since: Mono,
    /// What a refused peer has sent since.
    discarded: usize,
    peer_closed: bool,
    finishing: bool,
}

impl Connection {
    /// A connection that was accepted at `now`.
    pub fn new(settings: Arc<Settings>, now: Mono) -> Self {
        Connection {
            settings,
            phase: Phase::Head(HeadScanner::new(), None),
            exchange: Exchange { head_only: false, version_10: false, keep_alive: true },
            upload: None,
            input: Buffer::default(),
            output: Buffer::default(),
            progress_at: now,
            quiet_since: now,
            discarded: 0,
            peer_closed: false,
            finishing: false,
        }
    }

    /// Takes what has arrived; nothing is not the end. Call `poll_request` afterwards.
    pub fn received(&mut self, bytes: &[u8], now: Mono) {
        if bytes.is_empty() || self.peer_closed {
            return;
        }
        match self.phase {
            Phase::Done => {}
            Phase::Closing { .. } => {
                self.phase = Phase::Closing { linger: true };
                self.discard(bytes.len());
            }
            Phase::Lingering(_) => self.discard(bytes.len()),
            Phase::Head(..)
            | Phase::Body(_)
            | Phase::Ready(_)
            | Phase::Answering
            | Phase::Streaming(_) => {
                self.input.end().extend_from_slice(bytes);
                self.advance(now);
                if self.input.len() > BACKLOG_MAX_BYTES {
                    self.abort();
                }
            }
        }
    }

    /// Notes that nothing more will arrive. What is complete is still answered, what is not is
    /// dropped. Call `poll_request` afterwards.
    pub fn closed_by_peer(&mut self, now: Mono) {
        self.peer_closed = true;
        if matches!(self.phase, Phase::Lingering(_)) {
            self.phase = Phase::Done;
        }
        self.advance(now);
        self.settle(now);
    }

    /// The next complete request, which must be answered by [`Connection::respond`]; none while
    /// another one is. Call it after `received`, `closed_by_peer`, `sent`, `respond` and the last
    /// piece of a `stream`. A malformed request is answered in here and never comes out.
    pub fn poll_request(&mut self, now: Mono) -> Option<Request> {
        self.advance(now);
        match std::mem::replace(&mut self.phase, Phase::Answering) {
            Phase::Ready(request) => {
                self.input.shrink();
                Some(*request)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Whether the body of the request that was polled last comes by [`Connection::poll_body`].
    pub fn is_uploading(&self) -> bool {
        self.upload.is_some()
    }

    /// The next piece of that body, if one has arrived. Until it is taken, no more is read.
    pub fn poll_body(&mut self, now: Mono) -> Option<BodyPiece> {
        if !self.is_answering() {
            return None;
        }
        let piece = self.upload.as_mut()?.take(now)?;
        if piece.is_last {
            self.upload = None;
        }
        Some(piece)
    }

    /// Whether the request that was polled last waits for its answer. One whose body is malformed,
    /// late or cut short is answered in here, and not again.
    pub fn is_answering(&self) -> bool {
        matches!(self.phase, Phase::Answering)
    }

    /// Answers the request that was polled last. What is missing of its body is then not waited
    /// for, and the connection ends with the answer. A body is dropped where the request or the
    /// status has none. If [`Connection::stream_id`] is `None` afterwards, the stream is not
    /// wanted.
    ///
    /// # Panics
    /// If no polled request is unanswered. On a connection that is done nothing happens.
    pub fn respond(&mut self, response: Response, now: Mono) {
        if self.is_done() {
            return;
        }
        assert!(matches!(self.phase, Phase::Answering), "each request is answered once");
        let framing = match &response.body {
            _ if !response.may_have_body() => Framing::Bodiless,
            Body::Empty => Framing::Length(0),
            Body::Bytes(bytes) => Framing::Length(bytes.len()),
            Body::Stream(_) if self.exchange.version_10 => Framing::UntilClose,
            Body::Stream(_) => Framing::Chunked,
        };
        self.exchange.keep_alive &=
            !self.finishing && !response.closes() && framing != Framing::UntilClose;
        self.exchange.keep_alive &= self.has_whole_body();
        self.send_head(&response, framing, now);
        let body = if self.exchange.head_only || framing == Framing::Bodiless {
            Body::Empty
        } else {
            response.body
        };
        match body {
            Body::Empty => self.complete(now),
            Body::Bytes(bytes) => {
                self.output.end().extend_from_slice(&bytes);
                self.complete(now);
            }
            Body::Stream(id) => self.phase = Phase::Streaming(id),
        }
    }

    /// The next piece of the body that streams, and whether it was the last. An empty piece is
    /// fine. A stream that fails is ended by [`Connection::abort`], so that the peer sees it cut.
    ///
    /// # Panics
    /// If nothing streams. On a connection that is done nothing happens.
    pub fn stream(&mut self, piece: &[u8], done: bool, now: Mono) {
        if self.is_done() {
            return;
        }
        assert!(matches!(self.phase, Phase::Streaming(_)), "a piece belongs to a stream");
        let chunked = !self.exchange.version_10;
        let out = self.start_output(now);
        if !piece.is_empty() && chunked {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(piece);
        }
        if done {
            if chunked {
                out.extend_from_slice(b"0\r\n\r\n");
            }
            self.complete(now);
        }
    }

    /// Notes that `count` bytes of `output` were taken by the socket; at most all of them.
    pub fn sent(&mut self, count: usize, now: Mono) {
        if count == 0 || self.is_done() {
            return;
        }
        self.output.consume(count);
        self.progress_at = now;
        if self.output.is_empty() && matches!(self.phase, Phase::Head(..)) {
            self.quiet_since = now;
        }
        self.advance(now);
        self.settle(now);
    }

    /// Acts on the waits that are over at `now`.
    pub fn handle_timeout(&mut self, now: Mono) {
        while let Some((deadline, wait)) = self.next_wait() {
            if deadline > now {
                break;
            }
            match wait {
                Wait::Idle | Wait::Stall | Wait::Linger => self.abort(),
                Wait::Head => self.refuse(&Refusal::TooSlow("head"), now),
                Wait::Body => self.refuse(&Refusal::TooSlow("body"), now),
            }
        }
    }

    /// Ends the connection as soon as nothing is owed: at once if no request has begun, else with
    /// the next answer, which says so.
    pub fn finish(&mut self, now: Mono) {
        self.finishing = true;
        self.advance(now);
        self.settle(now);
    }

    /// Ends the connection at once; what was not sent is lost.
    pub fn abort(&mut self) {
        self.phase = Phase::Done;
        self.upload = None;
        self.input.clear();
        self.output.clear();
    }

    /// What is to be sent. Report progress with `sent`.
    pub fn output(&self) -> &[u8] {
        self.output.rest()
    }

    /// Whether the shell should read from the socket. Not while a pipelined request waits: the
    /// kernel then holds the peer back.
    pub fn wants_read(&self) -> bool {
        !self.peer_closed
            && match self.phase {
                Phase::Head(..) => self.input.is_empty() || self.has_room(),
                Phase::Body(_) => true,
                Phase::Ready(_) | Phase::Answering if !self.has_whole_body() => {
                    self.upload.as_ref().is_some_and(Upload::wants_read)
                }
                Phase::Ready(_) | Phase::Answering | Phase::Streaming(_) => self.input.is_empty(),
                Phase::Closing { .. } | Phase::Lingering(_) => {
                    self.discarded < self.settings.limits.linger_max_bytes
                }
                Phase::Done => false,
            }
    }

    /// The stream whose next piece is due.
    pub fn wants_stream(&self) -> Option<StreamId> {
        self.stream_id().filter(|_| self.has_room())
    }

    /// The stream that is the body of the current answer.
    pub fn stream_id(&self) -> Option<StreamId> {
        if let Phase::Streaming(id) = self.phase { Some(id) } else { None }
    }

    /// Whether the shell should end its direction of the socket, and go on reading: the peer was
    /// refused and may still be sending.
    pub fn wants_shutdown(&self) -> bool {
        matches!(self.phase, Phase::Lingering(_))
    }

    /// Whether the shell should close the socket.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// When to call [`Connection::handle_timeout`], if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.next_wait().map(|(deadline, _)| deadline)
    }

    /// Since when the connection stands open without a complete request, everything before it
    /// answered and sent; for the choice of which one to close when there are too many.
    pub fn waiting_since(&self) -> Option<Mono> {
        match self.phase {
            Phase::Head(..) | Phase::Body(_) => self.output.is_empty().then_some(self.quiet_since),
            Phase::Lingering(since) => Some(since),
            Phase::Ready(_)
            | Phase::Answering
            | Phase::Streaming(_)
            | Phase::Closing { .. }
            | Phase::Done => None,
        }
    }

    /// Since when the peer has taken nothing of what is there for it; the next choice, when every
    /// connection has something to send.
    pub fn stalled_since(&self) -> Option<Mono> {
        (!self.output.is_empty()).then_some(self.progress_at)
    }

    /// Memory held beside the connection itself, in bytes.
    pub fn held_bytes(&self) -> usize {
        let upload = self.upload.as_ref().map_or(0, Upload::capacity);
        self.input.capacity() + self.output.capacity() + self.phase.body_capacity() + upload
    }
}

impl Connection {
    /// Reads on until a request is complete, the bytes are used up, or an answer is owed.
    fn advance(&mut self, now: Mono) {
        loop {
            let read_on = match self.phase {
                Phase::Head(..) => self.read_head(now),
                Phase::Body(_) => self.read_body(),
                Phase::Ready(_) | Phase::Answering => self.read_upload(now),
                Phase::Streaming(_) | Phase::Closing { .. } | Phase::Lingering(_) | Phase::Done => {
                    Ok(false)
                }
            };
            match read_on {
                Ok(true) => {}
                Ok(false) => break,
                Err(refusal) => return self.refuse(&refusal, now),
            }
        }
        if self.will_get_no_request() {
            self.input.clear();
            self.phase = Phase::Closing { linger: false };
            self.settle(now);
        }
    }

    /// True when the head was complete.
    fn read_head(&mut self, now: Mono) -> Result<bool, Refusal> {
        let has_room = self.has_room();
        let Phase::Head(scanner, started) = &mut self.phase else { return Ok(false) };
        if !has_room {
            return Ok(false);
        }
        let limits = &self.settings.limits;
        let Some(length) = scanner.scan(self.input.rest(), limits)? else {
            if started.is_none() && scanner.has_begun() {
                *started = Some(now);
            }
            return Ok(false);
        };
        let bytes = self.input.rest().get(..length).unwrap_or_default();
        let head = Head::parse(bytes, scanner, limits)?;
        self.input.consume(length);
        self.exchange = Exchange {
            head_only: head.request.method == Method::Head,
            version_10: head.request.version_10,
            keep_alive: head.keep_alive,
        };
        if head.body == BodyLength::Known(0) {
            self.phase = Phase::Ready(Box::new(head.request));
            return Ok(true);
        }
        if head.expects_continue {
            self.start_output(now).extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let (request, reader) = (head.request, BodyReader::new(head.body, head.body_max));
        if head.is_streamed {
            self.upload = Some(Upload::new(reader, now));
            self.phase = Phase::Ready(Box::new(request));
        } else {
            self.phase = Phase::Body(Box::new(Receiving { request, reader, started: now }));
        }
        Ok(true)
    }

    /// Always false: nothing else can be read before the request is answered.
    fn read_upload(&mut self, now: Mono) -> Result<bool, Refusal> {
        if let Some(upload) = &mut self.upload {
            let used = upload.read(self.input.rest(), &self.settings.limits, now)?;
            self.input.consume(used);
        }
        Ok(false)
    }

    fn has_whole_body(&self) -> bool {
        self.upload.as_ref().is_none_or(Upload::is_complete)
    }

    /// True when the body was complete.
    fn read_body(&mut self) -> Result<bool, Refusal> {
        let Phase::Body(receiving) = &mut self.phase else { return Ok(false) };
        let (used, complete) = receiving.reader.read(
            self.input.rest(),
            &mut receiving.request.body,
            &self.settings.limits,
        )?;
        self.input.consume(used);
        if complete {
            match std::mem::replace(&mut self.phase, Phase::Answering) {
                Phase::Body(receiving) => self.phase = Phase::Ready(Box::new(receiving.request)),
                other => self.phase = other,
            }
        }
        Ok(complete)
    }

    /// Whether what is missing of the next request will not come, or is not waited for.
    fn will_get_no_request(&self) -> bool {
        match &self.phase {
            Phase::Head(scanner, _) if self.has_room() || self.input.is_empty() => {
                self.peer_closed || (self.finishing && !scanner.has_begun())
            }
            Phase::Body(_) => self.peer_closed,
            Phase::Ready(_) | Phase::Answering if !self.has_whole_body() => self.peer_closed,
            Phase::Head(..)
            | Phase::Ready(_)
            | Phase::Answering
            | Phase::Streaming(_)
            | Phase::Closing { .. }
            | Phase::Lingering(_)
            | Phase::Done => false,
        }
    }

    fn has_room(&self) -> bool {
        self.output.len() <= OUTPUT_LOW_BYTES
    }

    /// The wait that ends first.
    fn next_wait(&self) -> Option<(Mono, Wait)> {
        let limits = &self.settings.limits;
        let stall = (!self.output.is_empty() && !self.is_done())
            .then_some((self.progress_at + limits.stall, Wait::Stall));
        let idle = (self.output.is_empty() && self.phase.is_idle())
            .then_some((self.quiet_since + limits.idle, Wait::Idle));
        let own = self.phase.wait(limits);
        let awaits_body = matches!(self.phase, Phase::Ready(_) | Phase::Answering);
        let upload = self.upload.as_ref().filter(|_| awaits_body);
        let body = upload.and_then(|upload| upload.late_at(limits)).map(|at| (at, Wait::Body));
        [stall, idle, own, body].into_iter().flatten().min_by_key(|&(deadline, _)| deadline)
    }
}
