//! Keys that clients give to changes, so that asking twice changes once.
//!
//! A change that was made is found by its key in the state, and answered as it was, with the job
//! as it is now. What was refused changed nothing, so it is simply tried again. That two changes
//! of one key are not under way at once is the node's to see to.

use serde_json::json;

use super::{Then, View, shown};
use crate::codec::Encoder;
use crate::http::{Body, Method, Request, Response};
use crate::rng::stable_hash;
use crate::store::{KEY_MAX_BYTES, RequestKey};

/// The header that carries a key.
const HEADER: &str = "Idempotency-Key";

/// The key of a request that may change something; as it came, checked by nobody yet.
pub fn key_text(request: &Request) -> Option<&str> {
    match request.method {
        Method::Get | Method::Head | Method::Options => None,
        Method::Post | Method::Put | Method::Patch | Method::Delete | Method::Other(_) => {
            request.headers.get(HEADER)
        }
    }
}

/// The key of `request`, whose path has these segments; without its body, if that comes in pieces.
///
/// # Errors
/// 400 for a key that is none.
pub(super) fn key_of(
    request: &Request,
    segments: &[String],
    is_streamed: bool,
) -> Result<Option<RequestKey>, Response> {
    let Some(text) = key_text(request) else { return Ok(None) };
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    let alone = request.headers.all(HEADER).count() == 1;
    if !alone || !visible || !(1..=KEY_MAX_BYTES).contains(&text.len()) {
        let sentence = format!(
            "{HEADER} must be given once, as 1 to {KEY_MAX_BYTES} visible ASCII characters"
        );
        return Err(Response::error(400, "bad_idempotency_key", &sentence));
    }
    let body = if is_streamed { &[] } else { request.body.as_slice() };
    let print = print(request, segments, body);
    Ok(Some(RequestKey { text: text.to_owned(), print, status: 200 }))
}

/// The answer to a change with this key that was made before.
pub(super) fn repeat(view: &View<'_>, key: &RequestKey, wants_pretty: bool) -> Option<Response> {
    let (index, answered) = view.state.answered(&key.text, view.now.wall)?;
    if answered.key.print != key.print {
        let sentence = format!("{HEADER} was used for another request less than an hour ago");
        return Some(Response::error(409, "idempotency_key_reused", &sentence));
    }
    let body = match view.state.job(answered.job) {
        Some(job) => shown::job(view, job, Vec::new(), wants_pretty),
        // A restore, whose list is not kept.
        None if answered.name.is_empty() => b"[]".to_vec(),
        // What is gone cannot be shown any more, only named.
        None => {
            let named = json!({ "id": &*answered.name, "name": &*answered.name });
            let named = named.to_string().into_bytes();
            if wants_pretty { crate::job::pretty(&named) } else { named }
        }
    };
    let mut response =
        Response::new(answered.key.status, Body::Bytes(body)).header("Idempotent-Replayed", "true");
    if answered.key.status == 201 {
        response = response.header("Location", format!("/v1/jobs/{}", answered.name));
    }
    if answered.claimed {
        response = response.header("X-Execution-Group", index.to_string());
    }
    Some(response)
}

/// The status that `then` answers with when all goes well.
pub(super) fn status_of(then: &Then) -> u16 {
    match then {
        Then::Stored { status, .. } => *status,
        Then::Claimed { .. } | Then::Voters { .. } => 200,
        Then::Fixed(response) => response.status,
    }
}

/// A hash of all that says what the request is to do; each part with its length.
fn print(request: &Request, segments: &[String], body: &[u8]) -> u64 {
    let mut all = Encoder::new();
    all.str(request.method.name());
    all.list(segments.iter(), |out, segment| {
        out.str(segment);
    });
    all.list(request.query.iter(), |out, (key, value)| {
        out.str(key).str(value);
    });
    all.bytes(body);
    stable_hash(&all.into_bytes())
}
