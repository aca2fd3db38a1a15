//! The launcher's end of the connection to its agent.
//!
//! What is read and what waits to be written are both bounded: commands are taken out a few per
//! turn and the rest stays in the socket; answers are made only while there is room for them.

use std::io::{self, Read, Write};

use mio::net::UnixStream;

use super::protocol::{self, Answer, ProtocolError, Request, RequestReader};
use crate::time::Mono;

/// Bytes that wait to be written before no further answer is made. One answer may go above.
pub(super) const BACKLOG_MAX_BYTES: usize = 256 * 1024;
/// What one read(2) takes at most.
const READ_BYTES: usize = 64 * 1024;

/// A connection from an agent.
#[derive(Debug)]
pub(super) struct Link {
    /// The socket, to be registered for reading and writing, edge-triggered.
    pub(super) stream: UnixStream,
    /// Whether the hello has come.
    pub(super) greeted: bool,
    /// When the connection was accepted.
    pub(super) since: Mono,
    reader: RequestReader,
    readable: bool,
    out: Vec<u8>,
    written: usize,
}

/// What reading a link has brought.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A message.
    Request(Request),
    /// Nothing until the socket is readable again.
    Drained,
    /// The agent has closed, or the socket is broken.
    Closed,
    /// The agent sends what it must not.
    Broken(ProtocolError),
}

impl Link {
    /// A link over a fresh connection.
    pub(super) fn new(stream: UnixStream, since: Mono) -> Link {
        Link {
            stream,
            greeted: false,
            since,
            reader: RequestReader::default(),
            // What came before the registration makes no edge.
            readable: true,
            out: Vec::new(),
            written: 0,
        }
    }

    /// The socket has become readable.
    pub(super) fn set_readable(&mut self) {
        self.readable = true;
    }

    /// Whether [`Link::next`] would not answer [`Incoming::Drained`] at once.
    pub(super) fn may_have_more(&self) -> bool {
        self.readable
    }

    /// The next message.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> Incoming {
        loop {
            match self.reader.next() {
                Ok(Some(request)) => return Incoming::Request(request),
                Ok(None) => {}
                Err(error) => return Incoming::Broken(error),
            }
            let length = buffer.len().min(READ_BYTES);
            match self.stream.read(&mut buffer[..length]) {
                Ok(0) => return Incoming::Closed,
                Ok(count) => self.reader.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Incoming::Drained;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Incoming::Closed,
            }
        }
    }

    /// Whether another answer may be made.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() - self.written < BACKLOG_MAX_BYTES
    }

    /// Puts an answer behind what waits to be written.
    pub(super) fn push(&mut self, answer: &Answer) {
        protocol::encode_answer(answer, &mut self.out);
    }

    /// Writes as much as the socket takes. Returns whether all has been written.
    ///
    /// # Errors
    /// When the agent has gone.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // What has been written would otherwise stay as long as the agent is slow.
                    self.out.drain(..self.written);
                    self.written = 0;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.out = Vec::new();
        self.written = 0;
        Ok(true)
    }
}
