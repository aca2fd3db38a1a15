//! What the ends of a stream are called, which keys they may prove, and what can go wrong.
//!
//! Who holds a key of servers may order and vote, who holds only that of gossip may not: that is
//! decided above, by the [`Proof`] that a handshake ended with. Nothing here touches bytes.

use std::fmt;

use super::keys::{Key, KeyId, Keys};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Boot, ClusterId, NodeId, StoreId};

/// Of the handshake and of the frames after it.
pub(super) const VERSION: u8 = 1;

/// Who a node is; the parts are those of its data directory, and its boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its number.
    pub node: NodeId,
    /// Its data directory.
    pub store: StoreId,
    /// Its start.
    pub boot: Boot,
    /// Its cluster, 0 before it has joined one.
    pub cluster: ClusterId,
}

impl Identity {
    pub(super) fn encode(&self, out: &mut Encoder) {
        out.u32(self.node.get()).u64(self.store.0).u64(self.boot.0).u64(self.cluster.0);
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Identity, DecodeError> {
        let mut input = Decoder::new(bytes);
        let node = NodeId::decode(&mut input)?;
        let (store, boot) = (StoreId(input.u64()?), Boot(input.u64()?));
        let cluster = ClusterId(input.u64()?);
        input.finish()?;
        Ok(Identity { node, store, boot, cluster })
    }
}

/// Which key the ends of a stream have proved to hold, which says what they may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// None: no end has a key.
    Clear,
    /// That of gossip: any node.
    Gossip,
    /// One of servers: both are servers.
    Server,
    /// The one of the worker with this name: the initiator is that worker, the acceptor a server.
    Worker(String),
}

impl Proof {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Proof::Clear => 0,
            Proof::Gossip => 1,
            Proof::Server => 2,
            Proof::Worker(_) => 3,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Proof::Worker(name) => name,
            Proof::Clear | Proof::Gossip | Proof::Server => "",
        }
    }
}

/// All keys of a node.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// `encrypt`.
    pub gossip: Option<Keys>,
    /// `server-key`, of servers.
    pub server: Option<Keys>,
    /// `worker-key`, of workers.
    pub worker: Option<Keys>,
}

impl Keyring {
    /// What the node `name` can prove best.
    pub fn best(&self, name: &str) -> Proof {
        if self.server.is_some() {
            Proof::Server
        } else if self.worker.is_some() {
            Proof::Worker(name.to_owned())
        } else if self.gossip.is_some() {
            Proof::Gossip
        } else {
            Proof::Clear
        }
    }

    /// Whether there is no key at all. Only then a stream without keys is accepted.
    pub fn is_empty(&self) -> bool {
        self.gossip.is_none() && self.server.is_none() && self.worker.is_none()
    }

    /// The key with which this node begins a stream.
    pub(super) fn own(&self, proof: &Proof) -> Result<Option<&Key>, StreamError> {
        let keys = match proof {
            Proof::Clear if self.is_empty() => return Ok(None),
            Proof::Clear => None,
            Proof::Gossip => self.gossip.as_ref(),
            Proof::Server => self.server.as_ref(),
            Proof::Worker(_) => self.worker.as_ref(),
        };
        keys.map(|keys| Some(keys.first())).ok_or(StreamError::NoKey)
    }

    /// The key with which a peer began one.
    pub(super) fn theirs(&self, proof: &Proof, id: KeyId) -> Result<Option<Key>, StreamError> {
        let (gossip, server) = (self.gossip.as_ref(), self.server.as_ref());
        let key = match proof {
            Proof::Clear if self.is_empty() => return Ok(None),
            Proof::Clear => return Err(StreamError::Clear),
            Proof::Gossip | Proof::Server | Proof::Worker(_) if self.is_empty() => {
                return Err(StreamError::Sealed);
            }
            Proof::Gossip => gossip.and_then(|keys| keys.find(id)).cloned(),
            Proof::Server => server.and_then(|keys| keys.find(id)).cloned(),
            Proof::Worker(name) => server.and_then(|keys| keys.find_of_worker(name, id)),
        };
        key.map(Some).ok_or(StreamError::UnknownKey(id))
    }
}

/// Why a stream must be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamError {
    /// A message or frame has so many bytes.
    TooLong(usize),
    /// Not of this protocol.
    NotOurs,
    /// Of another version of it.
    Version(u8),
    /// Without a key, and this node has keys.
    Clear,
    /// With a key, and this node has none.
    Sealed,
    /// This node has no key for what it wants to prove.
    NoKey,
    /// With a key that is not accepted, or not of that worker.
    UnknownKey(KeyId),
    /// Changed, replayed, sent back, or never sealed with the key that it names.
    Forged,
    /// Sealed by somebody who knows the key, but not understood.
    Malformed,
    /// Of another cluster.
    Foreign(ClusterId),
    /// With a node of this node's number, which may be itself.
    Own,
    /// With this node, where another is expected.
    Misdirected(NodeId),
    /// The bytes end inside a frame.
    Truncated,
    /// Every counter was used.
    Exhausted,
    /// It failed before.
    Broken,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::TooLong(bytes) => {
                write!(f, "{bytes} bytes in one piece, more than are allowed here")
            }
            StreamError::NotOurs => f.write_str("no stream of this protocol"),
            StreamError::Version(theirs) => {
                write!(f, "of version {theirs} of the protocol, this node speaks {VERSION}")
            }
            StreamError::Clear => f.write_str("without a key, this node accepts none without"),
            StreamError::Sealed => f.write_str("with a key, this node has none"),
            StreamError::NoKey => f.write_str("this node has no key to begin such a stream with"),
            StreamError::UnknownKey(id) => {
                write!(f, "with the key {id}, which this node does not have")
            }
            StreamError::Forged => f.write_str("not what was sealed with the key"),
            StreamError::Malformed => f.write_str("sealed but not understood"),
            StreamError::Foreign(cluster) => write!(f, "of another cluster, {cluster}"),
            StreamError::Own => f.write_str("with a node of this node's own number"),
            StreamError::Misdirected(node) => write!(f, "with the node {node} instead of another"),
            StreamError::Truncated => f.write_str("cut off inside a frame"),
            StreamError::Exhausted => f.write_str("all counters of this stream were used"),
            StreamError::Broken => f.write_str("failed before"),
        }
    }
}

impl std::error::Error for StreamError {}
