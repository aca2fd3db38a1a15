//! Opening datagrams: who has proved to be alive, and which counters of theirs were seen.
//!
//! A sender is known once it echoed a cookie that this opener made seconds ago; so what was
//! recorded earlier, from whatever boot, is never more than unverified. A verified datagram is new
//! to this node, not surely young: one that was held back on its way may come late. Nothing is kept
//! about a datagram that was not authenticated, nor about a sender that proved nothing. The node
//! drives it. The window is that of RFC 6479.

use std::collections::BTreeMap;

use super::crypto::{KEY_BYTES, Marker};
use super::datagram::{
    CLEAR, COOKIE_LIFE, Cookie, Cookies, DATAGRAM_MAX_BYTES, DatagramError, HEADER_BYTES, Header,
    Inner, Origin, SEALED, read_header, read_inner,
};
use super::keys::{KeyId, Keys};
use super::window::Window;
use crate::ident::{Boot, ClusterId, NodeId};
use crate::mistake::{Mistake, made};
use crate::time::Mono;

/// Most senders whose windows are kept: twice the nodes that a cluster may have.
pub const PEERS_MAX: usize = 2_048;

/// What a datagram was found to be.
#[derive(Debug)]
pub struct Opened<'a> {
    /// Who sealed it.
    pub sender: NodeId,
    /// In which boot.
    pub boot: Boot,
    /// The sender's cluster: this node's, or 0 on the side that has none yet.
    pub cluster: ClusterId,
    /// The key that it was sealed with; `None` without keys.
    pub key: Option<KeyId>,
    /// What it says.
    pub payload: &'a [u8],
    /// Whether it was sealed for this node by a life of the sender that this node knows to have
    /// been going on since they met, and comes for the first time. If false it may be a recording:
    /// believe nothing of it, and answer.
    pub verified: bool,
    /// What the next datagram to the sender must carry. If it is not empty, one is due at once,
    /// with an empty payload if there is nothing to say.
    pub answer: Cookies,
}

/// Opens the datagrams of other nodes.
#[derive(Debug)]
pub struct Opener {
    me: NodeId,
    cluster: ClusterId,
    keys: Option<Keys>,
    cookies: Marker,
    peers: BTreeMap<NodeId, Peer>,
}

/// The newest verified life of a sender.
#[derive(Debug)]
struct Peer {
    boot: Boot,
    salt: u64,
    window: Window,
    heard: Mono,
}

impl Opener {
    /// The opener of the node `me`. `secret` is random and of this process alone: its cookies are
    /// made with it.
    pub fn new(
        me: NodeId,
        cluster: ClusterId,
        keys: Option<Keys>,
        secret: [u8; KEY_BYTES],
    ) -> Opener {
        Opener { me, cluster, keys, cookies: Marker::new(&secret), peers: BTreeMap::new() }
    }

    /// Accepts from now on what is sealed with any of `keys`, or what is not sealed.
    pub fn set_keys(&mut self, keys: Option<Keys>) {
        self.keys = keys;
    }

    /// Knows from now on that this node belongs to `cluster`.
    pub fn set_cluster(&mut self, cluster: ClusterId) {
        self.cluster = cluster;
    }

    /// Opens a datagram in place; whatever comes of it, its bytes are spent.
    ///
    /// # Errors
    /// Why it must be dropped. Nothing is kept of it then, and nothing may be answered.
    pub fn open<'a>(
        &mut self,
        datagram: &'a mut [u8],
        now: Mono,
    ) -> Result<Opened<'a>, DatagramError> {
        let (header, text) = self.unseal(datagram)?;
        let inner = read_inner(text).map_err(|_| DatagramError::Malformed)?;
        let foreign = inner.cluster != self.cluster;
        if foreign && inner.cluster != ClusterId(0) && self.cluster != ClusterId(0) {
            return Err(DatagramError::Foreign(inner.cluster));
        }
        if inner.to.is_some_and(|to| to != self.me) {
            return Err(DatagramError::Misdirected);
        }
        let verified = self.admit(&header, &inner, now)?;
        let Header { key, origin, .. } = header;
        let challenge = if verified { None } else { Some(self.cookie(&origin, slot(now))) };
        Ok(Opened {
            sender: origin.sender,
            boot: origin.boot,
            cluster: inner.cluster,
            key: self.keys.as_ref().map(|_| key),
            payload: inner.payload,
            verified,
            answer: Cookies { challenge, echo: inner.cookies.challenge },
        })
    }

    /// How many senders are known.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    fn unseal<'a>(&self, datagram: &'a mut [u8]) -> Result<(Header, &'a mut [u8]), DatagramError> {
        if datagram.len() > DATAGRAM_MAX_BYTES {
            return Err(DatagramError::TooLong);
        }
        let (clear, sealed) =
            datagram.split_at_mut_checked(HEADER_BYTES).ok_or(DatagramError::NotOurs)?;
        let header = read_header(clear)?;
        let key = match (&self.keys, header.mode) {
            (None, CLEAR) => None,
            (Some(_), CLEAR) => return Err(DatagramError::Clear),
            (None, SEALED) => return Err(DatagramError::Sealed),
            (Some(keys), SEALED) => {
                Some(keys.find(header.key).ok_or(DatagramError::UnknownKey(header.key))?)
            }
            _ => return Err(DatagramError::NotOurs),
        };
        let cipher = header.origin.cipher(key);
        let text = cipher.open(header.counter, clear, sealed).ok_or(DatagramError::Forged)?;
        if header.origin.sender == self.me {
            return Err(DatagramError::Own);
        }
        Ok((header, text))
    }

    /// Decides on an authenticated datagram, and whether it is verified.
    fn admit(
        &mut self,
        header: &Header,
        inner: &Inner<'_>,
        now: Mono,
    ) -> Result<bool, DatagramError> {
        let origin = &header.origin;
        let is_addressed = inner.to.is_some();
        match self.peers.get_mut(&origin.sender) {
            Some(peer) if origin.boot < peer.boot => return Err(DatagramError::OldBoot),
            Some(peer) if origin.boot == peer.boot => {
                if origin.salt != peer.salt {
                    return Err(DatagramError::Twin);
                }
                let is_new = peer.window.take(header.counter);
                if !is_new && !made(Mistake::ReplayWindowOff) {
                    return Err(DatagramError::Replayed);
                }
                peer.heard = now;
                return Ok(is_addressed);
            }
            Some(_) | None => {}
        }
        let echo = inner.cookies.echo.filter(|_| is_addressed);
        if !echo.is_some_and(|cookie| self.is_fresh(cookie, origin, now)) {
            return Ok(false);
        }
        self.make_room(origin.sender, now)?;
        // What was sealed before the echo may have been recorded before this node met the sender.
        let window = Window::after(header.counter);
        let peer = Peer { boot: origin.boot, salt: origin.salt, window, heard: now };
        self.peers.insert(origin.sender, peer);
        Ok(true)
    }

    /// Makes room for a window of `sender`: the sender that was silent longest must prove itself
    /// again. One that was heard lately stays, for a replay of its echo could still pass for new.
    fn make_room(&mut self, sender: NodeId, now: Mono) -> Result<(), DatagramError> {
        if self.peers.len() < PEERS_MAX || self.peers.contains_key(&sender) {
            return Ok(());
        }
        let silent = self.peers.iter().min_by_key(|(_, peer)| peer.heard);
        match silent.map(|(&sender, peer)| (sender, now.since(peer.heard))) {
            Some((silent, age)) if age >= COOKIE_LIFE => {
                self.peers.remove(&silent);
                Ok(())
            }
            Some(_) | None => Err(DatagramError::Full),
        }
    }

    fn cookie(&self, origin: &Origin, slot: u64) -> Cookie {
        let mut text = origin.bytes();
        text.extend_from_slice(&slot.to_le_bytes());
        Cookie(self.cookies.mark(&text))
    }

    fn is_fresh(&self, cookie: Cookie, origin: &Origin, now: Mono) -> bool {
        let slot = slot(now);
        [Some(slot), slot.checked_sub(1)].into_iter().flatten().any(|slot| {
            let own = self.cookie(origin, slot);
            self.cookies.same(&cookie.0, &own.0)
        })
    }
}

/// Cookies of this half life and of the one before are fresh.
fn slot(now: Mono) -> u64 {
    now.0 / (COOKIE_LIFE.as_nanos() as u64 / 2)
}

#[cfg(test)]
mod tests;
