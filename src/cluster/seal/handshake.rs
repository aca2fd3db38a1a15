//! The handshake that begins a stream: three messages, after which both ends know each other.
//!
//! The initiator says which key it uses, and 32 random bytes; the acceptor answers with its own and
//! who it is; the initiator then says who it is. Both identities are sealed with keys that follow
//! from the shared key and all that was said before, which proves the key, the part played and the
//! freshness at once; so nothing that was recorded, sent back or taken from another handshake
//! passes. The keys of the frames follow from all three messages. A machine without sockets: bytes
//! go in, bytes come out, a [`Session`] is what is left. The node drives it, and its clock.

use std::fmt;

use super::crypto::{Cipher, KEY_BYTES, TAG_BYTES};
use super::keys::{Key, KeyId};
use super::session::{Frame, LENGTH_BYTES, Partial, Session};
use super::stream::{Identity, Keyring, Proof, StreamError, VERSION};
use crate::codec::{Decoder, Encoder};
use crate::ident::{ClusterId, NodeId, check_name};

/// Most bytes that are taken from a peer before it has proved anything.
pub const UNPROVED_MAX_BYTES: usize = 256;

/// How many random bytes each side adds.
pub const RANDOM_BYTES: usize = 32;

const MAGIC: [u8; 2] = *b"bs";

/// Magic, version, kind.
const HEAD_BYTES: usize = 2 + 1 + 1;

/// The first message.
struct Hello {
    proof: Proof,
    key: KeyId,
    random: [u8; RANDOM_BYTES],
}

impl Hello {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.raw(&MAGIC).u8(VERSION).u8(self.proof.kind());
        out.raw(&self.key.0).raw(&self.random).raw(self.proof.name().as_bytes());
        out.into_bytes()
    }

    fn decode(body: &[u8]) -> Result<Hello, StreamError> {
        let kind = read_head(body)?;
        let mut input = Decoder::new(&body[HEAD_BYTES..]);
        let key = input.array().map_err(|_| StreamError::NotOurs)?;
        let random = input.array().map_err(|_| StreamError::NotOurs)?;
        let name = input.raw(input.remaining()).ok().and_then(|name| str::from_utf8(name).ok());
        let proof = match (kind, name) {
            (0, Some("")) => Proof::Clear,
            (1, Some("")) => Proof::Gossip,
            (2, Some("")) => Proof::Server,
            (3, Some(name)) if check_name(name).is_ok() => Proof::Worker(name.to_owned()),
            _ => return Err(StreamError::NotOurs),
        };
        Ok(Hello { proof, key: KeyId(key), random })
    }
}

/// The kind that a message names behind the magic and the version.
fn read_head(body: &[u8]) -> Result<u8, StreamError> {
    match body {
        [m0, m1, ..] if [*m0, *m1] != MAGIC => Err(StreamError::NotOurs),
        [_, _, version, _, ..] if *version != VERSION => Err(StreamError::Version(*version)),
        [_, _, _, kind, ..] => Ok(*kind),
        _ => Err(StreamError::NotOurs),
    }
}

/// What the two ends agreed on, and every byte that was said.
struct Talk {
    proof: Proof,
    key: Option<Key>,
    said: Vec<u8>,
}

impl Talk {
    /// A cipher that follows from the key and all that was said so far.
    fn cipher(&self, label: &str) -> Cipher {
        match &self.key {
            Some(key) => Cipher::new(&key.root.derive::<KEY_BYTES>(label, &[&self.said])),
            None => Cipher::Clear,
        }
    }

    /// Adds a message of `readable` bytes and the sealed identity, and returns it.
    fn say(&mut self, readable: &[u8], me: &Identity, label: &str) -> Vec<u8> {
        let mut message = Encoder::new();
        message.u32(0).raw(readable);
        let readable_end = message.len();
        me.encode(&mut message);
        let mut message = message.into_bytes();
        let overhead = if self.key.is_some() { TAG_BYTES } else { 0 };
        let length = (message.len() - LENGTH_BYTES + overhead) as u32;
        message[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        self.said.extend_from_slice(&message[..readable_end]);
        // A key that follows from the random bytes of both seals one text, with the counter 0.
        self.cipher(label).seal(0, &mut message, 0..readable_end);
        self.said.extend_from_slice(&message[readable_end..]);
        message
    }

    /// Adds what the other end said, whose first `readable` bytes are not sealed, and returns who
    /// it is.
    fn hear(
        &mut self,
        frame: &Frame,
        readable: usize,
        label: &str,
    ) -> Result<Identity, StreamError> {
        let (clear, sealed) = frame.body.split_at_checked(readable).ok_or(StreamError::NotOurs)?;
        let header = [&frame.length, clear].concat();
        self.said.extend_from_slice(&header);
        let mut text = sealed.to_vec();
        let opened = self.cipher(label).open(0, &header, &mut text).ok_or(StreamError::Forged)?;
        self.said.extend_from_slice(sealed);
        Identity::decode(opened).map_err(|_| StreamError::Malformed)
    }

    /// The session with `peer` after the last message.
    fn session(self, peer: Identity, is_initiator: bool) -> Session {
        let (initiator, acceptor) =
            (self.cipher("frames of the initiator"), self.cipher("frames of the acceptor"));
        let (sends, receives) =
            if is_initiator { (initiator, acceptor) } else { (acceptor, initiator) };
        Session::new(peer, self.proof, self.key.map(|key| key.id), sends, receives)
    }
}

const OF_INITIATOR: &str = "identity of the initiator";
const OF_ACCEPTOR: &str = "identity of the acceptor";

enum State {
    /// The acceptor waits for the first message, and has these random bytes to add.
    Hello([u8; RANDOM_BYTES]),
    /// The initiator waits for the second.
    Reply(Talk),
    /// The acceptor waits for the third.
    Finish(Talk),
    /// It failed, or made its session.
    Over,
}

/// One end of a handshake.
pub struct Handshake {
    me: Identity,
    expected: Option<NodeId>,
    state: State,
    message: Partial,
    /// Bytes of the messages that were taken.
    taken: usize,
}

impl Handshake {
    /// Begins a stream: appends the first message to `out`. `random` must never have been used
    /// before. If it is known which node is to answer, no other may.
    ///
    /// # Errors
    /// When the ring has not the key for this proof, or has keys and the proof is none.
    pub fn initiate(
        me: Identity,
        expected: Option<NodeId>,
        proof: Proof,
        ring: &Keyring,
        random: [u8; RANDOM_BYTES],
        out: &mut Vec<u8>,
    ) -> Result<Handshake, StreamError> {
        let key = ring.own(&proof)?.cloned();
        let id = key.as_ref().map(|key| key.id).unwrap_or_default();
        let body = Hello { proof: proof.clone(), key: id, random }.encode();
        let said = [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat();
        out.extend_from_slice(&said);
        let state = State::Reply(Talk { proof, key, said });
        Ok(Handshake { me, expected, state, message: Partial::default(), taken: 0 })
    }

    /// The end of a stream that another node begins. `random` must never have been used before.
    pub fn accept(me: Identity, random: [u8; RANDOM_BYTES]) -> Handshake {
        let state = State::Hello(random);
        Handshake { me, expected: None, state, message: Partial::default(), taken: 0 }
    }

    /// Takes bytes off the front of `input`, appends what must be sent to `out`, and returns the
    /// session once the handshake is complete; what is left in `input` then is its first frames.
    ///
    /// # Errors
    /// Why the stream must be closed. Nothing is told to the peer.
    pub fn take(
        &mut self,
        ring: &Keyring,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Session>, StreamError> {
        loop {
            let state = std::mem::replace(&mut self.state, State::Over);
            if matches!(state, State::Over) {
                return Err(StreamError::Broken);
            }
            let max = UNPROVED_MAX_BYTES.saturating_sub(self.taken + LENGTH_BYTES);
            let Some(frame) = self.message.take(input, max)? else {
                self.state = state;
                return Ok(None);
            };
            self.taken += LENGTH_BYTES + frame.body.len();
            if let Some(session) = self.advance(state, ring, &frame, out)? {
                return Ok(Some(session));
            }
        }
    }

    fn advance(
        &mut self,
        state: State,
        ring: &Keyring,
        frame: &Frame,
        out: &mut Vec<u8>,
    ) -> Result<Option<Session>, StreamError> {
        match state {
            State::Hello(random) => {
                let hello = Hello::decode(&frame.body)?;
                let key = ring.theirs(&hello.proof, hello.key)?;
                let head = [MAGIC[0], MAGIC[1], VERSION, hello.proof.kind()];
                let said = [frame.length.as_slice(), &frame.body].concat();
                let mut talk = Talk { proof: hello.proof, key, said };
                let readable = [head.as_slice(), &random].concat();
                out.extend_from_slice(&talk.say(&readable, &self.me, OF_ACCEPTOR));
                self.state = State::Finish(talk);
                Ok(None)
            }
            State::Reply(mut talk) => {
                match (talk.proof.kind(), read_head(&frame.body)?) {
                    (asked, answered) if asked == answered => {}
                    (0, _) => return Err(StreamError::Sealed),
                    (_, 0) => return Err(StreamError::Clear),
                    _ => return Err(StreamError::Forged),
                }
                let peer = talk.hear(frame, HEAD_BYTES + RANDOM_BYTES, OF_ACCEPTOR)?;
                self.check(&peer)?;
                out.extend_from_slice(&talk.say(&[], &self.me, OF_INITIATOR));
                Ok(Some(talk.session(peer, true)))
            }
            State::Finish(mut talk) => {
                let peer = talk.hear(frame, 0, OF_INITIATOR)?;
                self.check(&peer)?;
                Ok(Some(talk.session(peer, false)))
            }
            State::Over => Err(StreamError::Broken),
        }
    }

    /// Whether this node may talk with `peer`, which has proved its key.
    fn check(&self, peer: &Identity) -> Result<(), StreamError> {
        let unset = ClusterId(0);
        if peer.node == self.me.node {
            return Err(StreamError::Own);
        }
        if self.expected.is_some_and(|expected| expected != peer.node) {
            return Err(StreamError::Misdirected(peer.node));
        }
        let foreign = peer.cluster != self.me.cluster;
        if foreign && peer.cluster != unset && self.me.cluster != unset {
            return Err(StreamError::Foreign(peer.cluster));
        }
        Ok(())
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Hello(_) => "waits for the first message",
            State::Reply(_) => "waits for the second message",
            State::Finish(_) => "waits for the third message",
            State::Over => "over",
        })
    }
}

#[cfg(test)]
mod tests;
