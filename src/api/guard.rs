//! Who may call, and from where a browser may.
//!
//! Two questions, both before any handler: does the peer have the role that the route needs, and
//! is this a page of somebody else that uses the peer's browser. The second is asked of everyone:
//! names in `Host` stop DNS rebinding, `Origin` and `Sec-Fetch-Site` stop forged changes.

use super::View;
use crate::http::{Method, Request, Response};

/// What a caller may do; each includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Look.
    Read,
    /// Run jobs that are there.
    Run,
    /// Change jobs.
    Write,
    /// Change the cluster.
    Admin,
}

impl Role {
    /// As settings and messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Run => "run",
            Role::Write => "write",
            Role::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Role> {
        [Role::Read, Role::Run, Role::Write, Role::Admin].into_iter().find(|r| r.name() == name)
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// What it may do; `None` is nothing.
    pub role: Option<Role>,
    /// For the journal: `uid 1000` or an address.
    pub who: String,
    /// Whether it came over the Unix socket, where no browser comes from; or from another node,
    /// which has looked for one.
    pub on_unix_socket: bool,
}

/// Which names in `Host` are ours, beside localhost, 127.0.0.1, \[::1\] and the node's name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostRule {
    /// Further names, lower case, without port.
    pub names: Vec<String>,
}

/// Lets a request pass to a handler that needs `role` and, as `changes` tells, changes something.
///
/// # Errors
/// The refusal: 401, 403 or 421.
pub(super) fn admit(
    view: &View<'_>,
    request: &Request,
    peer: &Peer,
    role: Option<Role>,
    changes: bool,
) -> Result<(), Response> {
    check_host(view, request, peer)?;
    if changes {
        check_not_looked_at(request)?;
        check_origin(request)?;
    }
    match (role, peer.role) {
        (None, _) => Ok(()),
        (Some(needed), Some(has)) if has >= needed => Ok(()),
        (Some(needed), Some(has)) => Err(Response::error(
            403,
            "forbidden",
            &format!("this needs the role {}; you have {}", needed.name(), has.name()),
        )),
        (Some(_), None) if peer.on_unix_socket => Err(Response::error(
            403,
            "forbidden",
            "this socket serves root and the user that the agent runs as",
        )),
        (Some(_), None) => Err(Response::error(
            401,
            "unauthorized",
            "this address serves root and the user that the agent runs as; call as one of them, \
             or use the Unix socket in the data directory",
        )
        .header("WWW-Authenticate", "Bearer")),
    }
}

fn check_host(view: &View<'_>, request: &Request, peer: &Peer) -> Result<(), Response> {
    if peer.on_unix_socket {
        return Ok(());
    }
    let misdirected = |sentence: &str| Err(Response::error(421, "misdirected", sentence));
    let Some(host) = &request.host else {
        return misdirected("the Host header is missing; it must name this node");
    };
    let name = host_name(host).to_ascii_lowercase();
    let builtin = ["localhost", "127.0.0.1", "[::1]"];
    let ours = builtin.contains(&name.as_str())
        || name == view.node_name.to_ascii_lowercase()
        || view.hosts.names.contains(&name);
    if ours {
        return Ok(());
    }
    misdirected("the name in the Host header is not one of this node's (see http-host)")
}

/// A change may come from a tool, which sends neither header, or from our own pages.
fn check_origin(request: &Request) -> Result<(), Response> {
    let refuse = |what: &str| {
        let sentence = format!("a page from elsewhere may not change anything here ({what})");
        Err(Response::error(403, "cross_site", &sentence))
    };
    let mut sites = request.headers.all("Sec-Fetch-Site");
    match (sites.next(), sites.next()) {
        (None | Some("same-origin" | "none"), None) => {}
        _ => return refuse("Sec-Fetch-Site"),
    }
    let mut origins = request.headers.all("Origin");
    match (origins.next(), origins.next()) {
        (None, None) => {}
        (Some(origin), None)
            if request.host.as_ref().is_some_and(|host| {
                origin.strip_prefix("http://").is_some_and(|own| own.eq_ignore_ascii_case(host))
            }) => {}
        _ => return refuse("Origin"),
    }
    Ok(())
}

/// An old client leaves by GET; a browser that follows a link or looks ahead must not.
fn check_not_looked_at(request: &Request) -> Result<(), Response> {
    let hints = ["origin", "referer", "purpose", "sec-purpose"];
    let of_browser = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("sec-fetch-") || hints.contains(&name.as_str())
    };
    if request.method == Method::Get && request.headers.iter().any(|(name, _)| of_browser(name)) {
        return Err(
            Response::error(405, "method_not_allowed", "use POST").header("Allow", "POST, OPTIONS")
        );
    }
    Ok(())
}

/// `host` without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            if name.starts_with('[') == name.ends_with(']') { name } else { host }
        }
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::host_name;

    #[test]
    fn a_port_is_no_part_of_a_name() {
        for (host, name) in [
            ("localhost:8080", "localhost"),
            ("localhost", "localhost"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("a:b", "a:b"),
        ] {
            assert_eq!(host_name(host), name);
        }
    }
}
