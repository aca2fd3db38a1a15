//! The table of routes: method, path, the role that it needs, and its handler.

use super::guard::Role;
use super::{Answer, Call, Handled, backup, cluster, executions, health, jobs, restore, voters};
use crate::http::{Method, Request, Response};

/// One row of the table.
pub(super) struct Route {
    method: Method,
    /// Segments; `*` stands for any one.
    path: &'static [&'static str],
    /// Who may call it; `None` is open to all.
    pub(super) role: Option<Role>,
    /// Whether it changes something, whatever the method says.
    changes: bool,
    /// Whether a node that does not lead does it itself.
    pub(super) is_local: bool,
    /// Whether a worker does it, too.
    pub(super) on_worker: bool,
    /// Whether its body is read as it comes.
    pub(super) is_streamed: bool,
    pub(super) handler: fn(&Call<'_>) -> Handled,
}

/// A route, and the variable segments of the path that led to it.
pub(super) struct Found {
    pub(super) route: Route,
    pub(super) segments: Vec<String>,
    pub(super) changes: bool,
}

fn reads(path: &'static [&'static str], handler: fn(&Call<'_>) -> Handled) -> Route {
    Route {
        method: Method::Get,
        path,
        role: Some(Role::Read),
        changes: false,
        is_local: true,
        on_worker: false,
        is_streamed: false,
        handler,
    }
}

fn reads_anywhere(path: &'static [&'static str], handler: fn(&Call<'_>) -> Handled) -> Route {
    Route { on_worker: true, ..reads(path, handler) }
}

fn shows_to(path: &'static [&'static str], role: Role, handler: fn(&Call<'_>) -> Handled) -> Route {
    Route { role: Some(role), ..reads(path, handler) }
}

fn changes(
    method: Method,
    path: &'static [&'static str],
    role: Role,
    handler: fn(&Call<'_>) -> Handled,
) -> Route {
    Route { method, role: Some(role), changes: true, is_local: false, ..reads(path, handler) }
}

fn local(
    method: Method,
    path: &'static [&'static str],
    role: Role,
    handler: fn(&Call<'_>) -> Handled,
) -> Route {
    Route { is_local: true, on_worker: true, ..changes(method, path, role, handler) }
}

fn streamed(
    method: Method,
    path: &'static [&'static str],
    role: Role,
    handler: fn(&Call<'_>) -> Handled,
) -> Route {
    Route { is_streamed: true, ..changes(method, path, role, handler) }
}

fn open(path: &'static [&'static str], handler: fn(&Call<'_>) -> Handled) -> Route {
    Route { role: None, on_worker: true, ..reads(path, handler) }
}

/// Every route. A path that stands here with other methods only is answered 405.
fn table() -> [Route; 46] {
    use Method::{Delete, Get, Patch, Post, Put};
    [
        reads_anywhere(&["v1"], cluster::status),
        reads(&["v1", "jobs"], jobs::list),
        changes(Post, &["v1", "jobs"], Role::Write, jobs::replace),
        changes(Patch, &["v1", "jobs"], Role::Write, jobs::merge),
        reads(&["v1", "jobs", "*"], jobs::show),
        changes(Put, &["v1", "jobs", "*"], Role::Write, jobs::replace),
        changes(Patch, &["v1", "jobs", "*"], Role::Write, jobs::merge),
        changes(Delete, &["v1", "jobs", "*"], Role::Write, jobs::delete),
        changes(Post, &["v1", "jobs", "*"], Role::Run, jobs::run),
        changes(Post, &["v1", "jobs", "*", "run"], Role::Run, jobs::run),
        changes(Post, &["v1", "jobs", "*", "toggle"], Role::Write, jobs::toggle),
        changes(Post, &["v1", "jobs", "*", "enable"], Role::Write, jobs::enable),
        changes(Post, &["v1", "jobs", "*", "disable"], Role::Write, jobs::disable),
        reads(&["v1", "jobs", "*", "next"], jobs::next),
        reads(&["v1", "schedule", "next"], jobs::preview),
        reads(&["v1", "jobs", "*", "executions"], executions::list),
        reads(&["v1", "executions", "*"], executions::list),
        reads(&["v1", "jobs", "*", "executions", "*"], executions::show),
        changes(Delete, &["v1", "jobs", "*", "executions"], Role::Write, later),
        reads(&["v1", "jobs", "*", "executions", "*", "output"], later),
        changes(Post, &["v1", "jobs", "*", "executions", "*", "kill"], Role::Run, later),
        changes(Post, &["v1", "jobs", "*", "executions", "*", "forget"], Role::Write, later),
        reads(&["v1", "busy"], executions::busy),
        reads(&["v1", "members"], cluster::members),
        reads(&["v1", "leader"], cluster::leader),
        reads(&["v1", "isleader"], cluster::is_leader),
        local(Get, &["v1", "leave"], Role::Admin, cluster::leave),
        local(Post, &["v1", "leave"], Role::Admin, cluster::leave),
        changes(Delete, &["v1", "members", "*"], Role::Admin, later),
        changes(Post, &["v1", "members", "*", "drain"], Role::Admin, later),
        changes(Post, &["v1", "members", "*", "undrain"], Role::Admin, later),
        reads(&["v1", "pause"], later),
        changes(Post, &["v1", "pause"], Role::Write, later),
        changes(Post, &["v1", "unpause"], Role::Write, later),
        streamed(Post, &["v1", "restore"], Role::Admin, restore::restore),
        shows_to(&["v1", "backup"], Role::Admin, backup::backup),
        reads(&["v1", "audit"], later),
        reads(&["v1", "voters"], voters::list),
        changes(Post, &["v1", "voters"], Role::Admin, voters::change),
        changes(Delete, &["v1", "voters", "*"], Role::Admin, voters::remove),
        changes(Post, &["v1", "voters", "replace"], Role::Admin, voters::replace),
        changes(Post, &["v1", "voters", "transfer"], Role::Admin, voters::transfer),
        reads(&["v1", "openapi.json"], later),
        reads(&["metrics"], later),
        open(&["health"], health::health),
        open(&["ready"], health::ready),
    ]
}

/// The route of `request`.
///
/// # Errors
/// 400 for a path that cannot be decoded, 404, 405 with `Allow`; and the answer to OPTIONS, which
/// reaches no handler.
pub(super) fn find(request: &Request) -> Result<Found, Response> {
    let segments = request.segments().map_err(|error| {
        Response::error(400, "bad_request", &format!("the path of the request {error}"))
    })?;
    let mut allowed: Vec<String> = Vec::new();
    for route in table() {
        let Some(variables) = matches(route.path, &segments) else { continue };
        // HEAD is GET without the body, where GET changes nothing.
        let by_head = request.method == Method::Head && route.method == Method::Get;
        if route.method == request.method || (by_head && !route.changes) {
            let changes = route.changes;
            return Ok(Found { route, segments: variables, changes });
        }
        allowed.push(route.method.name().to_owned());
        if route.method == Method::Get && !route.changes {
            allowed.push("HEAD".to_owned());
        }
    }
    if request.method == Method::Options && request.path == "*" {
        let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        allowed = all.map(str::to_owned).to_vec();
    }
    if allowed.is_empty() {
        return Err(Response::error(404, "not_found", "there is nothing under this path"));
    }
    allowed.push("OPTIONS".to_owned());
    allowed.dedup();
    let allow = allowed.join(", ");
    if request.method == Method::Options {
        let body = serde_json::json!({ "allow": allowed }).to_string().into_bytes();
        return Err(Response::json(200, body).header("Allow", allow));
    }
    let sentence = format!("this path takes {allow}, not {}", request.method.name());
    Err(Response::error(405, "method_not_allowed", &sentence).header("Allow", allow))
}

/// Answers for what a coming version will do.
fn later(_: &Call<'_>) -> Handled {
    let sentence = "this version does not do that yet; nothing was changed";
    Ok(Answer::Now(Response::error(501, "not_implemented", sentence)))
}

fn matches(path: &[&str], segments: &[String]) -> Option<Vec<String>> {
    if path.len() != segments.len() {
        return None;
    }
    let mut variables = Vec::new();
    for (wanted, segment) in path.iter().zip(segments) {
        match *wanted {
            "*" => variables.push(segment.clone()),
            literal if literal == segment => {}
            _ => return None,
        }
    }
    Some(variables)
}

/// How many routes there are.
#[cfg(test)]
pub(super) fn count() -> usize {
    table().len()
}
