//! What of a request is sent on to the leader, and what of its answer comes back.
//!
//! Who asks was looked at where the request came in, so nothing of that travels: no credentials,
//! and no names that only a browser's tricks are known by. Of the rest only what handlers read.

use super::Peer;
use crate::http::{Headers, Request};

/// The header fields of a request that handlers of changes read. A place in this list is a number
/// between nodes: new ones come last.
pub const SENT_FIELDS: [&str; 4] = ["Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"];

/// The header fields of an answer to a change. A place in this list is a number between nodes: new
/// ones come last.
pub const ANSWER_FIELDS: [&str; 10] = [
    "Allow",
    "Content-Type",
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Execution-Group",
    "X-Ignored-Keys",
    "X-Total-Count",
];

/// The request as it is sent on, and who asks. No browser need be looked for again: the leader has
/// other names than the node that was asked, and would take the request for one gone astray.
pub fn sent_on(peer: Peer, request: Request) -> (Peer, Request) {
    let mut headers = Headers::default();
    for (name, value) in request.headers.iter() {
        let known = SENT_FIELDS.iter().find(|known| known.eq_ignore_ascii_case(name));
        if let Some(&known) = known {
            headers.push(known, value);
        }
    }
    let request = Request { headers, host: None, version_10: false, ..request };
    (Peer { on_unix_socket: true, ..peer }, request)
}
