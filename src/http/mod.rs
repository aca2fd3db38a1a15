//! One HTTP/1.x connection, seen from the server: bytes in, requests out, responses in, bytes out.
//!
//! [`Connection`] owns the framing, the limits, the waits and the answers to what is malformed. It
//! never touches a socket or a clock, and never knows what a path means. A shell drives it: it
//! reads while `wants_read`, writes `output`, and calls `handle_timeout` at `poll_timeout`.
//! The rules are RFC 9110 and RFC 9112, and where those leave a choice, the strict one: what two
//! parties could read in two ways is refused.
#![forbid(unsafe_code)]

mod body;
mod buffer;
mod connection;
mod head;
mod limits;
mod phase;
mod refusal;
mod request;
mod response;
mod target;
mod upload;

#[cfg(test)]
mod tests;

pub use connection::Connection;
pub use limits::{Limits, Settings, Streamed};
pub use request::{Headers, Method, Request};
pub use response::{Body, Response};
pub use target::TargetError;
pub use upload::BodyPiece;
