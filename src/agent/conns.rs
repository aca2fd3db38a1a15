//! Connections of the API: sockets, and for each the protocol's machine.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

use crate::api::{self, Peer, Role};
use crate::http::{BodyPiece, Connection, Limits, Request, Settings};
use crate::ident::{RequestId, StreamId};
use crate::sys::socket_owner::{self, Owner};
use crate::sys::{unix_socket, user};
use crate::time::Mono;
use crate::timer::TimerQueue;

/// Bytes that one read takes at most.
const READ_BYTES: usize = 16 * 1024;
/// Most bytes that one connection may give in one turn.
const READ_TURN_BYTES: usize = 128 * 1024;
/// Most bytes that requests under way may take, over all connections of strangers, and over all of
/// those who may restore; beyond, the connection that holds most of them is closed. A stranger who
/// is refused anyway could otherwise fill the memory.
const HELD_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Tokens of connections start here, and are never used twice.
pub(super) const FIRST_TOKEN: usize = 1 << 20;

/// A listening socket.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[derive(Debug)]
struct Conn {
    stream: Stream,
    http: Connection,
    peer: Peer,
    /// Whether the socket may have bytes, or room, that nobody has asked it for yet.
    readable: bool,
    writable: bool,
    shut: bool,
    /// The request that waits for its answer.
    request: Option<RequestId>,
    /// Whether the next piece of its body was asked for.
    wants_body: bool,
    /// The stream whose pieces it is sent: one that was aborted does not tell any more.
    streaming: Option<StreamId>,
    /// The deadline for which the queue of timers has an entry.
    armed: Option<Mono>,
    /// Bytes that it held when it was last looked at.
    held: usize,
}

/// What a connection wants of the node.
#[derive(Debug)]
pub(super) enum Wish {
    /// An answer; and whether the request's body is still to be asked for.
    Answer(RequestId, Peer, Box<Request>, bool),
    /// To take the piece of a body that was asked for; none when it was cut short.
    Body(RequestId, Option<BodyPiece>),
    /// The next piece of a stream.
    Piece(Token, StreamId),
    /// Nothing more of this stream.
    Cancel(StreamId),
}

/// All connections.
#[derive(Debug)]
pub(super) struct Conns {
    settings: Arc<Settings>,
    /// For those who may restore: with a body in pieces there.
    admin_settings: Arc<Settings>,
    max: usize,
    /// What anyone may do who comes by TCP.
    anonymous: Option<Role>,
    conns: BTreeMap<Token, Conn>,
    requests: BTreeMap<RequestId, Token>,
    timers: TimerQueue<Mono, Token>,
    next_token: usize,
    next_request: u64,
    /// The sum over all connections of strangers, and of those who may restore.
    held: [usize; 2],
    ending: bool,
    /// Where every read goes first; made once, because to clear it costs more than a request.
    buffer: Box<[u8]>,
}

impl Conns {
    pub(super) fn new(settings: Settings, max: usize, anonymous: Option<Role>) -> Conns {
        let streamed = Some(api::streamed());
        let limits = Limits { streamed, ..settings.limits.clone() };
        let admin_settings = Settings { limits, ..settings.clone() };
        Conns {
            settings: Arc::new(settings),
            admin_settings: Arc::new(admin_settings),
            max,
            anonymous,
            conns: BTreeMap::new(),
            requests: BTreeMap::new(),
            timers: TimerQueue::new(),
            next_token: FIRST_TOKEN,
            next_request: 0,
            held: [0; 2],
            ending: false,
            buffer: vec![0; READ_BYTES].into(),
        }
    }

    /// Accepts what waits at `listener`.
    ///
    /// # Errors
    /// When the system is short of something: to be tried again, without waiting for an event.
    pub(super) fn accept(
        &mut self,
        listener: &Listener,
        registry: &Registry,
        now: Mono,
        wishes: &mut Vec<Wish>,
    ) -> io::Result<()> {
        loop {
            let accepted = match listener {
                Listener::Tcp(listener) => {
                    listener.accept().map(|(stream, from)| self.tcp_peer(stream, from))
                }
                Listener::Unix(listener) => {
                    listener.accept().map(|(stream, _)| (unix_peer(&stream), Stream::Unix(stream)))
                }
            };
            match accepted {
                Ok((peer, stream)) => {
                    if self.conns.len() >= self.max {
                        self.make_room(wishes);
                    }
                    self.add(stream, peer, registry, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Notes that a socket is ready.
    pub(super) fn ready(&mut self, token: Token, readable: bool, writable: bool) {
        if let Some(conn) = self.conns.get_mut(&token) {
            conn.readable |= readable;
            conn.writable |= writable;
        }
    }

    /// Moves bytes of one connection until nothing more moves; what it wants of the node comes out
    /// in `wishes`. True when it has more to read, and is to be called again in the next turn.
    pub(super) fn pump(&mut self, token: Token, now: Mono, wishes: &mut Vec<Wish>) -> bool {
        let Some(conn) = self.conns.get_mut(&token) else { return false };
        let mut again = false;
        if conn.readable && conn.http.wants_read() {
            again = conn.read(&mut self.buffer, now);
        }
        // Once more after the write, which may have made room for a request that waited behind a
        // long answer: no event would tell of it.
        for before_write in [true, false] {
            if let Some(request) = conn.next_request(now) {
                self.next_request += 1;
                let id = RequestId(self.next_request);
                conn.request = Some(id);
                self.requests.insert(id, token);
                let has_body_to_come = conn.http.is_uploading();
                let (peer, request) = (conn.peer.clone(), Box::new(request));
                wishes.push(Wish::Answer(id, peer, request, has_body_to_come));
            }
            if before_write {
                conn.write(now);
            }
        }
        if let Some(request) = conn.bring_body(now, wishes) {
            self.requests.remove(&request);
        }
        if let Some(stream) = conn.http.wants_stream() {
            wishes.push(Wish::Piece(token, stream));
        }
        if conn.http.wants_shutdown() && !conn.shut {
            conn.shut = true;
            conn.shutdown();
        }
        again |= conn.readable && conn.http.wants_read();
        again |= conn.request.is_none() && conn.writable && !conn.http.output().is_empty();
        let held = conn.http.held_bytes();
        let sum = &mut self.held[usize::from(conn.may_restore())];
        *sum = *sum - conn.held + held;
        conn.held = held;
        if conn.http.is_done() {
            self.close(token, wishes);
            return false;
        }
        self.arm(token);
        self.bound_memory(wishes);
        again
    }

    fn bound_memory(&mut self, wishes: &mut Vec<Wish>) {
        for admins in [false, true] {
            while self.held[usize::from(admins)] > HELD_MAX_BYTES {
                let conns = self.conns.iter().filter(|(_, conn)| conn.may_restore() == admins);
                let largest = conns.max_by_key(|(_, conn)| conn.held);
                let Some(token) = largest.map(|(&token, _)| token) else { return };
                self.close(token, wishes);
            }
        }
    }

    /// Gives the answer to a request; the connection is then to be pumped.
    pub(super) fn answer(
        &mut self,
        id: RequestId,
        response: crate::http::Response,
        now: Mono,
        wishes: &mut Vec<Wish>,
    ) -> Option<Token> {
        let stream = match response.body {
            crate::http::Body::Stream(stream) => Some(stream),
            crate::http::Body::Empty | crate::http::Body::Bytes(_) => None,
        };
        let token = self.requests.remove(&id);
        let conn = token.and_then(|token| self.conns.get_mut(&token));
        // One whose body went wrong was answered by the protocol itself.
        let Some(conn) = conn.filter(|conn| conn.http.is_answering()) else {
            wishes.extend(stream.map(Wish::Cancel));
            return None;
        };
        conn.request = None;
        conn.wants_body = false;
        conn.http.respond(response, now);
        if self.ending {
            conn.http.finish(now);
        }
        conn.streaming = conn.http.stream_id();
        if conn.streaming.is_none() {
            wishes.extend(stream.map(Wish::Cancel));
        }
        token
    }

    /// Asks for the next piece of a request's body; the connection is then to be pumped.
    pub(super) fn read_body(&mut self, id: RequestId, wishes: &mut Vec<Wish>) -> Option<Token> {
        let token = self.requests.get(&id).copied();
        match token.and_then(|token| self.conns.get_mut(&token)) {
            Some(conn) => conn.wants_body = true,
            None => wishes.push(Wish::Body(id, None)),
        }
        token
    }

    /// Gives the next piece of a stream.
    pub(super) fn piece(&mut self, token: Token, piece: &[u8], done: bool, now: Mono) {
        if let Some(conn) = self.conns.get_mut(&token) {
            conn.http.stream(piece, done, now);
            conn.streaming = conn.streaming.filter(|_| !done);
        }
    }

    /// Ends a connection whose stream can't be completed, so that the peer sees it cut short.
    pub(super) fn cut(&mut self, token: Token) {
        if let Some(conn) = self.conns.get_mut(&token) {
            conn.http.abort();
        }
    }

    /// Lets the waits that are over take effect; gives the connections to be pumped.
    pub(super) fn handle_timeouts(&mut self, now: Mono) -> Vec<Token> {
        let mut due = Vec::new();
        while let Some((deadline, token)) = self.timers.pop_due(now) {
            let Some(conn) = self.conns.get_mut(&token) else { continue };
            if conn.armed != Some(deadline) {
                continue;
            }
            conn.armed = None;
            conn.http.handle_timeout(now);
            due.push(token);
        }
        due
    }

    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.timers.next_deadline()
    }

    /// Lets every connection end as soon as what it is owed is sent.
    pub(super) fn finish(&mut self, now: Mono) -> Vec<Token> {
        self.ending = true;
        self.conns.values_mut().for_each(|conn| conn.http.finish(now));
        self.conns.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    fn add(&mut self, stream: Stream, peer: Peer, registry: &Registry, now: Mono) {
        if self.conns.len() >= self.max {
            return; // Every request is being answered, so the new one is the one to go.
        }
        let token = Token(self.next_token);
        self.next_token += 1;
        let mut stream = stream;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = match &mut stream {
            Stream::Tcp(stream) => {
                let _ = stream.set_nodelay(true);
                registry.register(stream, token, interest)
            }
            Stream::Unix(stream) => registry.register(stream, token, interest),
        };
        if registered.is_err() {
            return; // The peer sees its connection closed, as with any shortage.
        }
        let may_restore = peer.role == Some(Role::Admin);
        let settings = if may_restore { &self.admin_settings } else { &self.settings };
        let http = Connection::new(Arc::clone(settings), now);
        let conn = Conn {
            stream,
            http,
            peer,
            readable: false,
            writable: false,
            shut: false,
            request: None,
            wants_body: false,
            streaming: None,
            armed: None,
            held: 0,
        };
        self.conns.insert(token, conn);
        self.arm(token);
    }

    /// Closes the connection that has waited longest without a complete request; if there is none,
    /// the one whose peer has longest taken nothing, or a few who never read could keep all others
    /// out.
    fn make_room(&mut self, wishes: &mut Vec<Wish>) {
        let longest = |since: fn(&Connection) -> Option<Mono>| {
            let conns = self.conns.iter();
            conns.filter_map(|(token, conn)| Some((since(&conn.http)?, *token))).min()
        };
        let chosen =
            longest(Connection::waiting_since).or_else(|| longest(Connection::stalled_since));
        if let Some((_, token)) = chosen {
            self.close(token, wishes);
        }
    }

    fn close(&mut self, token: Token, wishes: &mut Vec<Wish>) {
        let Some(conn) = self.conns.remove(&token) else { return };
        self.held[usize::from(conn.may_restore())] -= conn.held;
        wishes.extend(conn.streaming.map(Wish::Cancel));
        if let Some(request) = conn.request {
            self.requests.remove(&request);
            wishes.extend(conn.wants_body.then_some(Wish::Body(request, None)));
        }
    }

    fn arm(&mut self, token: Token) {
        let Some(conn) = self.conns.get_mut(&token) else { return };
        let Some(deadline) = conn.http.poll_timeout() else { return };
        // An entry that comes too early looks again; so only an earlier deadline needs a new one.
        if conn.armed.is_none_or(|armed| deadline < armed) {
            conn.armed = Some(deadline);
            self.timers.arm(deadline, token);
        }
    }

    fn tcp_peer(&self, stream: TcpStream, from: SocketAddr) -> (Peer, Stream) {
        // What anyone may do takes nothing from the owner; the question is saved if it is all.
        let role = match self.anonymous {
            Some(Role::Admin) => Some(Role::Admin),
            Some(Role::Read | Role::Run | Role::Write) | None => {
                self.anonymous.max(owner_role(&stream, from))
            }
        };
        let peer = Peer { role, who: from.to_string(), on_unix_socket: false };
        (peer, Stream::Tcp(stream))
    }
}

impl Conn {
    fn may_restore(&self) -> bool {
        self.peer.role == Some(Role::Admin)
    }

    /// The next request, if the one before is answered.
    fn next_request(&mut self, now: Mono) -> Option<Request> {
        if self.request.is_some() { None } else { self.http.poll_request(now) }
    }

    /// Brings the piece of a body that was asked for. A request whose body went wrong is done with,
    /// and given back.
    fn bring_body(&mut self, now: Mono, wishes: &mut Vec<Wish>) -> Option<RequestId> {
        let request = self.request?;
        let is_lost = !self.http.is_answering();
        let piece = if self.wants_body { self.http.poll_body(now) } else { None };
        if self.wants_body && (is_lost || piece.is_some()) {
            self.wants_body = false;
            wishes.push(Wish::Body(request, piece));
        }
        if is_lost { self.request.take() } else { None }
    }

    /// Reads what is there, at most a turn's worth; true when there may be more.
    fn read(&mut self, buffer: &mut [u8], now: Mono) -> bool {
        let mut taken = 0;
        while self.http.wants_read() {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(buffer),
                Stream::Unix(stream) => stream.read(buffer),
            };
            match read {
                Ok(0) => {
                    self.readable = false;
                    self.http.closed_by_peer(now);
                    return false;
                }
                Ok(count) => {
                    self.http.received(&buffer[..count], now);
                    taken += count;
                    if taken >= READ_TURN_BYTES {
                        return true;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return false;
                }
                Err(_) => {
                    self.readable = false;
                    self.http.abort();
                    return false;
                }
            }
        }
        false
    }

    fn write(&mut self, now: Mono) {
        while self.writable && !self.http.output().is_empty() {
            let written = match &mut self.stream {
                Stream::Tcp(stream) => stream.write(self.http.output()),
                Stream::Unix(stream) => stream.write(self.http.output()),
            };
            match written {
                Ok(0) => return self.http.abort(),
                Ok(count) => self.http.sent(count, now),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => return self.http.abort(),
            }
        }
    }

    fn shutdown(&mut self) {
        // The peer may be gone already, which is what this is to bring about.
        let _ = match &mut self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

/// What the owner of the socket at the other end may do: root and our own user everything, others
/// nothing; and so nobody whose owner the kernel does not tell.
fn owner_role(stream: &TcpStream, from: SocketAddr) -> Option<Role> {
    let local = stream.local_addr().ok()?;
    match socket_owner::owner_of_peer(local, from) {
        Ok(Owner::Uid(uid)) if uid == 0 || uid == user::uid() => Some(Role::Admin),
        Ok(Owner::Uid(_) | Owner::NotFound) | Err(_) => None,
    }
}

fn unix_peer(stream: &UnixStream) -> Peer {
    let uid = unix_socket::peer(stream).ok().map(|peer| peer.uid);
    let known = uid.is_some_and(|uid| uid == 0 || uid == user::uid());
    let who = uid.map_or_else(|| "unknown".to_owned(), |uid| format!("uid {uid}"));
    Peer { role: known.then_some(Role::Admin), who, on_unix_socket: true }
}
