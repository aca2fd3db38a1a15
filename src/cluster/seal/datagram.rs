//! Datagrams on the wire, and sealing them.
//!
//! A datagram is sealed for one receiver with a key that follows from the sender, its boot and a
//! random salt; its nonce is a counter, so it never repeats. Everything readable is authenticated.
//! The node drives one [`Sealer`] for its boot. It works without keys too, and then only a lack of
//! enemies protects; such datagrams are never taken for sealed ones.

use std::fmt;
use std::time::Duration;

use super::crypto::{Cipher, TAG_BYTES};
use super::keys::{KEY_ID_BYTES, Key, KeyId, Keys};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Boot, ClusterId, NodeId};

/// Longest datagram: what passes any usual network in one piece.
pub const DATAGRAM_MAX_BYTES: usize = 1_200;

/// Longest payload, which leaves room for both cookies whether they travel or not.
pub const PAYLOAD_MAX_BYTES: usize =
    DATAGRAM_MAX_BYTES - HEADER_BYTES - INNER_BYTES - 2 * COOKIE_BYTES - TAG_BYTES;

/// A cookie that is older than this is stale; younger than half of it, it surely is not.
pub const COOKIE_LIFE: Duration = Duration::from_secs(20);

/// Length of a [`Cookie`]. Only who has a key may guess, once a datagram.
pub const COOKIE_BYTES: usize = 8;

pub(super) const MAGIC: [u8; 2] = *b"bw";
pub(super) const VERSION: u8 = 1;
pub(super) const CLEAR: u8 = 0;
pub(super) const SEALED: u8 = 1;

/// Magic, version, mode, key id, sender, boot, salt, counter.
pub(super) const HEADER_BYTES: usize = 2 + 1 + 1 + KEY_ID_BYTES + 4 + 8 + 8 + 8;

/// Cluster, receiver, which cookies follow.
const INNER_BYTES: usize = 8 + 4 + 1;

const HAS_CHALLENGE: u8 = 1;
const HAS_ECHO: u8 = 2;

/// Proof of having heard from a node a moment ago, that only this node can make and check.
#[derive(Clone, Copy)]
pub struct Cookie(pub(super) [u8; COOKIE_BYTES]);

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie")
    }
}

/// The cookies that a datagram carries beside its payload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cookies {
    /// To be echoed by the receiver, which the sender does not know yet.
    pub challenge: Option<Cookie>,
    /// What the receiver sent as a challenge.
    pub echo: Option<Cookie>,
}

impl Cookies {
    /// Whether there is nothing to carry, so no answer is owed for their sake.
    pub fn is_empty(&self) -> bool {
        self.challenge.is_none() && self.echo.is_none()
    }
}

/// One life of a node as its datagrams name it. The salt is random: two copies of a data directory
/// that started in the same second have the same boot, and must not share a key and its counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub(super) sender: NodeId,
    pub(super) boot: Boot,
    pub(super) salt: u64,
}

impl Origin {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u32(self.sender.get()).u64(self.boot.0).u64(self.salt);
        out.into_bytes()
    }

    pub(super) fn cipher(&self, key: Option<&Key>) -> Cipher {
        match key {
            Some(key) => Cipher::new(&key.root.derive("datagram", &[&self.bytes()])),
            None => Cipher::Clear,
        }
    }
}

/// Makes the datagrams of one boot of this node.
#[derive(Debug)]
pub struct Sealer {
    origin: Origin,
    cluster: ClusterId,
    key: KeyId,
    cipher: Cipher,
    /// The counter of the next datagram; `None` when all were used.
    next: Option<u64>,
}

impl Sealer {
    /// The sealer of the node `me` in this boot, which is durable already. `salt` is random.
    /// Without `keys` its datagrams are readable and unprotected.
    pub fn new(
        me: NodeId,
        boot: Boot,
        salt: u64,
        cluster: ClusterId,
        keys: Option<&Keys>,
    ) -> Sealer {
        let origin = Origin { sender: me, boot, salt };
        let (key, cipher) = (KeyId::default(), Cipher::Clear);
        let mut sealer = Sealer { origin, cluster, key, cipher, next: Some(1) };
        sealer.set_keys(keys);
        sealer
    }

    /// Seals from now on with the first of `keys`. The counter goes on, so that a key that comes
    /// back is not used twice for one counter.
    pub fn set_keys(&mut self, keys: Option<&Keys>) {
        let key = keys.map(Keys::first);
        self.key = key.map(|key| key.id).unwrap_or_default();
        self.cipher = self.origin.cipher(key);
    }

    /// Says from now on that this node belongs to `cluster`.
    pub fn set_cluster(&mut self, cluster: ClusterId) {
        self.cluster = cluster;
    }

    /// The id of the key that seals, if there is one.
    pub fn key(&self) -> Option<KeyId> {
        match self.cipher {
            Cipher::Clear => None,
            Cipher::Sealed(_) => Some(self.key),
        }
    }

    /// Goes on at `counter`, as if all before it had been used.
    #[cfg(test)]
    pub(super) fn jump_to(&mut self, counter: u64) {
        self.next = Some(counter);
    }

    /// Puts the datagram with `payload` into `out`, for the node `to`, or for whoever is at the
    /// address where it is not known yet: such a datagram is never verified.
    ///
    /// # Errors
    /// When the payload is too long, or this boot has used all its counters. `out` is then empty.
    pub fn seal(
        &mut self,
        to: Option<NodeId>,
        cookies: Cookies,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        out.clear();
        if payload.len() > PAYLOAD_MAX_BYTES {
            return Err(SealError::TooLong(payload.len()));
        }
        let counter = self.next.ok_or(SealError::Exhausted)?;
        self.next = counter.checked_add(1);
        let mode = if self.key().is_some() { SEALED } else { CLEAR };
        let mut bytes = Encoder::with_capacity(DATAGRAM_MAX_BYTES);
        bytes.raw(&MAGIC).u8(VERSION).u8(mode).raw(&self.key.0);
        bytes.raw(&self.origin.bytes()).u64(counter);
        let flags = if cookies.challenge.is_some() { HAS_CHALLENGE } else { 0 }
            | if cookies.echo.is_some() { HAS_ECHO } else { 0 };
        bytes.u64(self.cluster.0).u32(to.map_or(0, NodeId::get)).u8(flags);
        for cookie in [cookies.challenge, cookies.echo].into_iter().flatten() {
            bytes.raw(&cookie.0);
        }
        bytes.raw(payload);
        *out = bytes.into_bytes();
        self.cipher.seal(counter, out, 0..HEADER_BYTES);
        Ok(())
    }
}

/// The readable part of a datagram.
pub(super) struct Header {
    pub(super) mode: u8,
    pub(super) key: KeyId,
    pub(super) origin: Origin,
    pub(super) counter: u64,
}

/// The sealed part of a datagram.
pub(super) struct Inner<'a> {
    pub(super) cluster: ClusterId,
    pub(super) to: Option<NodeId>,
    pub(super) cookies: Cookies,
    pub(super) payload: &'a [u8],
}

pub(super) fn read_header(clear: &[u8]) -> Result<Header, DatagramError> {
    let mut input = Decoder::new(clear);
    let mut read = || {
        let (magic, version, mode) = (input.raw(2)?, input.u8()?, input.u8()?);
        let key = KeyId(input.array()?);
        let sender = input.u32()?;
        let (boot, salt, counter) = (Boot(input.u64()?), input.u64()?, input.u64()?);
        Ok::<_, DecodeError>((magic, version, mode, key, sender, boot, salt, counter))
    };
    let Ok((magic, version, mode, key, sender, boot, salt, counter)) = read() else {
        return Err(DatagramError::NotOurs);
    };
    if magic != MAGIC {
        return Err(DatagramError::NotOurs);
    }
    if version != VERSION {
        return Err(DatagramError::Version(version));
    }
    let sender = NodeId::new(sender).ok_or(DatagramError::NotOurs)?;
    Ok(Header { mode, key, origin: Origin { sender, boot, salt }, counter })
}

pub(super) fn read_inner(text: &[u8]) -> Result<Inner<'_>, DecodeError> {
    let mut input = Decoder::new(text);
    let cluster = ClusterId(input.u64()?);
    let to = NodeId::new(input.u32()?);
    let flags = input.u8()?;
    if flags & !(HAS_CHALLENGE | HAS_ECHO) != 0 {
        return Err(DecodeError::Invalid("flag"));
    }
    let mut cookie = |flag: u8| match flags & flag {
        0 => Ok(None),
        _ => input.array().map(|bytes| Some(Cookie(bytes))),
    };
    let cookies = Cookies { challenge: cookie(HAS_CHALLENGE)?, echo: cookie(HAS_ECHO)? };
    let payload = input.raw(input.remaining())?;
    Ok(Inner { cluster, to, cookies, payload })
}

/// Why a datagram was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealError {
    /// The payload has so many bytes.
    TooLong(usize),
    /// Every counter of this boot was used.
    Exhausted,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::TooLong(bytes) => {
                write!(f, "{bytes} bytes of payload, at most {PAYLOAD_MAX_BYTES} are sent")
            }
            SealError::Exhausted => {
                f.write_str("all counters of this boot were used, a restart begins anew")
            }
        }
    }
}

impl std::error::Error for SealError {}

/// Why a datagram was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatagramError {
    /// Longer than [`DATAGRAM_MAX_BYTES`].
    TooLong,
    /// Not of this protocol.
    NotOurs,
    /// Of another version of it.
    Version(u8),
    /// Not sealed, and this node has keys.
    Clear,
    /// Sealed, and this node has no keys.
    Sealed,
    /// Sealed with a key that is not accepted.
    UnknownKey(KeyId),
    /// Changed, cut off, or never sealed with the key that it names.
    Forged,
    /// Sealed by somebody who knows the key, but not understood.
    Malformed,
    /// Of another cluster.
    Foreign(ClusterId),
    /// Sealed for another node.
    Misdirected,
    /// Sent by a node with this node's number, which may be itself.
    Own,
    /// Of an earlier boot than the sender's newest.
    OldBoot,
    /// Of a second node with the same number and boot.
    Twin,
    /// Opened before, or too old to tell.
    Replayed,
    /// As many senders as are kept were heard lately, and this is another.
    Full,
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatagramError::TooLong => {
                write!(f, "longer than the {DATAGRAM_MAX_BYTES} bytes of a datagram")
            }
            DatagramError::NotOurs => f.write_str("no datagram of this protocol"),
            DatagramError::Version(theirs) => {
                write!(f, "of version {theirs} of the protocol, this node speaks {VERSION}")
            }
            DatagramError::Clear => f.write_str("not sealed, this node accepts sealed ones only"),
            DatagramError::Sealed => f.write_str("sealed, this node has no key"),
            DatagramError::UnknownKey(id) => {
                write!(f, "sealed with the key {id}, which this node does not have")
            }
            DatagramError::Forged => f.write_str("not what was sealed with the key"),
            DatagramError::Malformed => f.write_str("sealed but not understood"),
            DatagramError::Foreign(cluster) => write!(f, "of another cluster, {cluster}"),
            DatagramError::Misdirected => f.write_str("sealed for another node"),
            DatagramError::Own => f.write_str("from a node with this node's own number"),
            DatagramError::OldBoot => f.write_str("from before the sender's last start"),
            DatagramError::Twin => f.write_str("from a second node with the same number and boot"),
            DatagramError::Replayed => f.write_str("opened before or too old to tell"),
            DatagramError::Full => f.write_str("from one sender more than are kept in mind"),
        }
    }
}

impl std::error::Error for DatagramError {}
