//! One HTTP connection with any bytes from its peer.

use bellwether::http::{Body, Connection, Request, Response, Settings};
use bellwether::time::Mono;
use std::sync::Arc;

/// Steps after which a peer's silence must have ended the connection.
const STEPS_MAX: usize = 32;

/// The same bytes give the same requests however they are cut, a connection always comes to its
/// end, and it never holds much.
pub(crate) fn http_bytes(bytes: &[u8]) {
    let whole = requests(bytes, bytes.len().max(1));
    for piece in [1, 7] {
        assert_eq!(requests(bytes, piece), whole, "in pieces of {piece}");
    }
}

fn requests(bytes: &[u8], piece: usize) -> Vec<Request> {
    let mut now = Mono(1);
    let mut connection = Connection::new(Arc::new(Settings::default()), now);
    let mut requests = Vec::new();
    for part in bytes.chunks(piece) {
        connection.received(part, now);
        serve(&mut connection, &mut requests, now);
    }
    connection.closed_by_peer(now);
    serve(&mut connection, &mut requests, now);
    for _ in 0..STEPS_MAX {
        let Some(at) = connection.poll_timeout() else { break };
        now = now.max(at);
        connection.handle_timeout(now);
        serve(&mut connection, &mut requests, now);
    }
    assert!(connection.is_done(), "{connection:?}");
    assert_eq!(connection.output(), b"");
    requests
}

/// Answers what has come and takes what is to be sent.
fn serve(connection: &mut Connection, requests: &mut Vec<Request>, now: Mono) {
    loop {
        let request = connection.poll_request(now);
        let found = request.is_some();
        if let Some(request) = request {
            requests.push(request);
            connection.respond(Response::new(200, Body::Bytes(b"{}".to_vec())), now);
        }
        let ready = connection.output().len();
        connection.sent(ready, now);
        assert!(connection.held_bytes() < 4 * 1024 * 1024);
        if !found && ready == 0 {
            return;
        }
    }
}
