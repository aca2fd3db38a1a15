//! A small blocking HTTP/1.1 client over TCP and Unix sockets, with a way in for broken requests.

use super::DEADLINE;
use serde_json::Value;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// The longest head of a reply that is read.
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// The longest body of a reply that is read.
const BODY_MAX_BYTES: usize = 256 * 1024 * 1024;

/// Where an agent answers. Each request uses a connection of its own.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Client {
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.request("GET", path, None)
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: impl fmt::Display) -> Reply {
        self.request("POST", path, Some(&body.to_string()))
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: impl fmt::Display) -> Reply {
        self.request("PUT", path, Some(&body.to_string()))
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, body: impl fmt::Display) -> Reply {
        self.request("PATCH", path, Some(&body.to_string()))
    }

    /// A DELETE; an empty `body` sends none.
    #[track_caller]
    pub(crate) fn delete(&self, path: &str, body: impl fmt::Display) -> Reply {
        let body = body.to_string();
        self.request("DELETE", path, (!body.is_empty()).then_some(&body))
    }

    /// Sends one request, its body as JSON, and returns the reply.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&str>) -> Reply {
        match self.try_request(method, path, &[], body) {
            Ok(reply) => reply,
            Err(error) => panic!("{method} {path} over {self:?}: {error}"),
        }
    }

    /// Sends one request with further `headers` and returns the reply.
    pub(crate) fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> io::Result<Reply> {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        text.push_str("Connection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            text.push_str("Content-Type: application/json\r\n");
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body.unwrap_or_default());
        let mut connection = self.connect()?;
        // An agent may answer and close before it has read everything: the reply is what counts.
        let sent = connection.send(text.as_bytes());
        match connection.reply(method) {
            Ok(reply) => Ok(reply),
            Err(error) => sent.and(Err(error)),
        }
    }

    /// Sends `bytes`, says that nothing follows, and returns all that comes back until the agent
    /// closes. For requests that are half, several, or none.
    ///
    /// # Panics
    /// When the agent does not close within [`DEADLINE`].
    #[track_caller]
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut connection = self.connect().expect("the agent listens");
        // A refusal may come before everything is sent; what came back tells.
        let _ = connection.send(bytes);
        let _ = connection.finish();
        connection.rest().expect("the agent answers and closes")
    }

    /// A connection, for more than one request or for a slow one.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        let stream = match self {
            Client::Tcp(address) => Stream::Tcp(TcpStream::connect_timeout(address, DEADLINE)?),
            Client::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        stream.set_deadlines()?;
        Ok(Connection { stream, unread: Vec::new() })
    }
}

/// An open connection.
pub(crate) struct Connection {
    stream: Stream,
    unread: Vec<u8>,
}

impl Connection {
    /// Sends `bytes` as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing follows; replies can still be read.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.stream.finish()
    }

    /// Reads the reply to a request whose method was `method`; skips interim (1xx) ones.
    pub(crate) fn reply(&mut self, method: &str) -> io::Result<Reply> {
        loop {
            let head = self.head()?;
            let mut reply = parse_head(&head)?;
            if (100..200).contains(&reply.status) {
                continue;
            }
            if method != "HEAD" && !matches!(reply.status, 204 | 304) {
                reply.body = self.body(&reply)?;
            }
            return Ok(reply);
        }
    }

    /// Everything until the agent closes. That it resets the connection counts as closing.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill(BODY_MAX_BYTES) {
                Ok(true) => {}
                Ok(false) => return Ok(std::mem::take(&mut self.unread)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(std::mem::take(&mut self.unread));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                let head = self.take(at);
                self.take(4);
                return String::from_utf8(head).map_err(|_| bad("the head is not UTF-8"));
            }
            self.need(HEAD_MAX_BYTES)?;
        }
    }

    fn body(&mut self, reply: &Reply) -> io::Result<Vec<u8>> {
        if reply.header("transfer-encoding").is_some_and(|value| value == "chunked") {
            return self.chunks();
        }
        match reply.header("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| bad("a strange content-length"))?;
                self.exactly(length)
            }
            None => self.rest(),
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| bad("a strange chunk"))?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            if !self.line()?.is_empty() {
                return Err(bad("a chunk is longer than it says"));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.unread, b"\r\n") {
                let line = self.take(at);
                self.take(2);
                return String::from_utf8(line).map_err(|_| bad("a line is not UTF-8"));
            }
            self.need(HEAD_MAX_BYTES)?;
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.need(BODY_MAX_BYTES)?;
        }
        Ok(self.take(length))
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.unread.drain(..length).collect()
    }

    fn need(&mut self, max_bytes: usize) -> io::Result<()> {
        match self.fill(max_bytes)? {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads once; false at the end.
    fn fill(&mut self, max_bytes: usize) -> io::Result<bool> {
        if self.unread.len() > max_bytes {
            return Err(bad("the reply is too long"));
        }
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case, in the order in which they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The first header of that name, which is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error} in the body of a {}: {}", self.status, self.text()),
        }
    }

    /// The reply itself, if its status is `status`.
    ///
    /// # Panics
    /// When it is another one; the message shows the body.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "the reply says: {}", self.text());
        self
    }
}

fn parse_head(head: &str) -> io::Result<Reply> {
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| bad(&format!("no status line: {head}")))?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
        Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok(Reply { status, headers: headers.collect::<io::Result<_>>()?, body: Vec::new() })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_deadlines(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                stream.set_write_timeout(Some(DEADLINE))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(DEADLINE))?;
                stream.set_write_timeout(Some(DEADLINE))
            }
        }
    }

    fn finish(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
