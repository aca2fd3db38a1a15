//! Whether the node lives, and whether it fires jobs.

use serde_json::json;

use super::{Answer, Call, Handled};
use crate::http::Response;

/// The process answers, and that is all this says.
pub(super) fn health(call: &Call<'_>) -> Handled {
    let body = json!({ "status": "healthy" });
    Ok(Answer::Now(call.json(200, body.to_string().into_bytes())))
}

/// Codes only: names of jobs and paths go to the log, for anyone may ask this.
pub(super) fn ready(call: &Call<'_>) -> Handled {
    let view = call.view;
    let ready = view.not_ready.is_empty();
    let body = json!({
        "ready": ready,
        "reasons": view.not_ready,
        "warnings": view.warnings,
    });
    let response = call.json(if ready { 200 } else { 503 }, body.to_string().into_bytes());
    let response: Response = if ready { response } else { response.header("Retry-After", "1") };
    Ok(Answer::Now(response))
}
