//! Sealing: what leaves a node can be read and made by holders of a key only, and counts once.
//!
//! Datagrams ([`Sealer`], [`Opener`]), streams ([`Handshake`], [`Session`]) and the place where
//! strangers wait ([`Door`]), all pure: randomness comes as bytes, time as a number. What is inside
//! is nothing to this module. The node drives it. Keys are shared and nothing is agreed upon by
//! exchange, so there is no forward secrecy: who gets a key later reads what was recorded before.
//! A stolen gossip key forges gossip as anybody, and a stolen server key is the end of all safety.

mod base64;
mod crypto;
mod datagram;
mod door;
mod handshake;
mod keys;
mod opener;
mod session;
mod stream;
mod window;

pub use datagram::{
    COOKIE_BYTES, COOKIE_LIFE, Cookie, Cookies, DATAGRAM_MAX_BYTES, DatagramError,
    PAYLOAD_MAX_BYTES, SealError, Sealer,
};
pub use door::{Door, PENDING_MAX, PROOF_TIMEOUT, Parting};
pub use handshake::{Handshake, RANDOM_BYTES, UNPROVED_MAX_BYTES};
pub use keys::{
    KEY_ID_BYTES, KEY_LENGTHS, KEYS_MAX, KeyId, KeyMistake, Keys, KeysError, Purpose, generate,
};
pub use opener::{Opened, Opener, PEERS_MAX};
pub use session::{FRAME_MAX_BYTES, Session};
pub use stream::{Identity, Keyring, Proof, StreamError};
pub use window::WINDOW_COUNTERS;
