//! How answers go out, and how a connection ends with one.

use std::sync::Arc;

use super::{Connection, HEAD_BYTES};
use crate::http::head::HeadScanner;
use crate::http::phase::{Exchange, Phase};
use crate::http::refusal::Refusal;
use crate::http::response::{self, Body, Framing, Persistence, Response};
use crate::time::Mono;

impl Connection {
    /// Answers what is malformed or late, and ends the connection with it.
    pub(super) fn refuse(&mut self, refusal: &Refusal, now: Mono) {
        let head_only = if let Phase::Head(scanner, _) = &self.phase {
            let line = self.input.rest().get(scanner.skipped()..).unwrap_or_default();
            line.starts_with(b"HEAD ")
        } else {
            self.exchange.head_only
        };
        let response = refusal.response();
        let Body::Bytes(json) = &response.body else { return self.abort() };
        self.exchange = Exchange { head_only, version_10: false, keep_alive: false };
        self.upload = None;
        self.send_head(&response, Framing::Length(json.len()), now);
        if !head_only {
            self.output.end().extend_from_slice(json);
        }
        self.discarded = self.input.len();
        self.input.clear();
        self.phase = Phase::Closing { linger: true };
        self.settle(now);
    }

    pub(super) fn send_head(&mut self, response: &Response, framing: Framing, now: Mono) {
        let persistence = match (self.exchange.keep_alive, self.exchange.version_10) {
            (false, _) => Persistence::Close,
            (true, true) => Persistence::KeepAlive,
            (true, false) => Persistence::Implied,
        };
        let settings = Arc::clone(&self.settings);
        let out = self.start_output(now);
        let body_bytes = if let Framing::Length(bytes) = framing { bytes } else { 0 };
        out.reserve(HEAD_BYTES + body_bytes);
        response::encode_head(response, &settings.whom, framing, persistence, out);
    }

    /// The end of the output; the wait for the peer to take some begins if nothing was there.
    pub(super) fn start_output(&mut self, now: Mono) -> &mut Vec<u8> {
        if self.output.is_empty() {
            self.progress_at = now;
        }
        self.output.end()
    }

    /// The answer is complete, if not sent.
    pub(super) fn complete(&mut self, now: Mono) {
        let is_cut = self.upload.take().is_some_and(|upload| !upload.is_complete());
        if self.exchange.keep_alive {
            self.phase = Phase::Head(HeadScanner::new(), None);
            self.advance(now);
        } else {
            self.phase = Phase::Closing { linger: is_cut || !self.input.is_empty() };
            self.input.clear();
        }
        self.settle(now);
    }

    /// Goes on with the end of the connection once the last answer is sent.
    pub(super) fn settle(&mut self, now: Mono) {
        let Phase::Closing { linger } = self.phase else { return };
        if !self.output.is_empty() {
            return;
        }
        if linger && !self.peer_closed {
            self.phase = Phase::Lingering(now);
        } else {
            self.abort();
        }
    }

    pub(super) fn discard(&mut self, count: usize) {
        self.discarded = self.discarded.saturating_add(count);
        let too_much = self.discarded >= self.settings.limits.linger_max_bytes;
        if too_much && matches!(self.phase, Phase::Lingering(_)) {
            self.abort();
        }
    }
}
