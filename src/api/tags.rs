//! Entity tags of jobs, and the conditions that requests make of them (RFC 9110, section 13).
//!
//! A job's tag is `"<version>-<print of the body>"`: a counter that moves makes another tag, so
//! that `If-None-Match` never hides news. A change replaces the definition alone, so `If-Match`
//! asks for the version only, whichever way it is written: `7`, `"7"`, or a tag that a GET gave.

use super::Call;
use crate::http::{Body, Response};
use crate::rng::stable_hash;
use crate::store::Job;

/// `response` with the tag of its body, or 304 when the peer has that already.
pub(super) fn tagged(call: &Call<'_>, job: &Job, response: Response) -> Response {
    let print = match &response.body {
        Body::Bytes(body) => stable_hash(body),
        Body::Empty | Body::Stream(_) => 0,
    };
    let tag = format!("\"{}-{print:016x}\"", job.version);
    if elements(call, "If-None-Match").any(|seen| seen == "*" || opaque(seen) == opaque(&tag)) {
        return Response::new(304, Body::Empty).header("ETag", tag);
    }
    response.header("ETag", tag)
}

/// Refuses a change of `stored` that was meant for another version of it.
///
/// # Errors
/// 412.
pub(super) fn check_version(call: &Call<'_>, stored: Option<&Job>) -> Result<(), Response> {
    let refuse = |sentence: &str| Err(Response::error(412, "version_mismatch", sentence));
    let is_stored = |tag: &str| {
        stored.is_some_and(|job| tag == "*" || version_of(tag) == job.version.to_string())
    };
    let headers = &call.request.headers;
    if headers.get("If-Match").is_some() && !elements(call, "If-Match").any(is_stored) {
        return match stored {
            Some(job) => refuse(&format!(
                "the job is at version {}, which If-Match does not name",
                job.version
            )),
            None => refuse("If-Match names a version, but there is no such job"),
        };
    }
    if elements(call, "If-None-Match").any(is_stored) {
        return refuse("the job is there already, which If-None-Match rules out");
    }
    Ok(())
}

fn elements<'a>(call: &Call<'a>, name: &'a str) -> impl Iterator<Item = &'a str> {
    call.request.headers.all(name).flat_map(|value| value.split(',')).map(str::trim)
}

/// A tag without the mark of weakness, which proxies that compress put before it.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn version_of(tag: &str) -> &str {
    let bare = opaque(tag).trim_matches('"');
    bare.split_once('-').map_or(bare, |(version, _)| version)
}
