//! What an agent opens once: its listeners, and the node's settings.

use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Poll, Token};

use super::Settings;
use super::conns::Listener;
use super::zones::{FileZones, system_zone};
use crate::api::HostRule;
use crate::cluster::Timing;
use crate::node;
use crate::sys::file::Dir;
use crate::sys::unix_socket;

/// The API's Unix socket, in the data directory.
const API_SOCKET: &str = "api.sock";
/// The first token of a listener.
pub(super) const FIRST_LISTENER: usize = 16;

/// What the node is told of itself.
pub(super) fn node_settings(
    settings: &Settings,
    zones: &FileZones,
    seed: u64,
    mut warnings: Vec<&'static str>,
) -> node::Settings {
    if settings.anonymous.is_some() {
        warnings.push("anonymous");
    }
    node::Settings {
        name: settings.node_name.clone(),
        tags: settings.tags.clone(),
        address: String::new(),
        server: true,
        work: true,
        default_zone: settings.timezone.clone().unwrap_or_else(|| system_zone(zones)),
        hosts: HostRule { names: settings.http_hosts.clone() },
        running_max: settings.running_max,
        snapshot_bytes: settings.snapshot_bytes,
        timing: Timing::default(),
        seed,
        warnings,
    }
}

/// Opens every listener and registers it.
pub(super) fn listen(settings: &Settings, dir: &Dir, poll: &Poll) -> Result<Vec<Listener>, String> {
    let mut listeners = Vec::new();
    for address in &settings.http_addrs {
        let listener = TcpListener::bind(*address)
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        listeners.push(Listener::Tcp(listener));
    }
    // The lock of the directory is held, so a socket that is there is nobody's any more.
    let bound = dir.unlink(API_SOCKET).and_then(|_| unix_socket::bind(dir, API_SOCKET));
    let socket = bound
        .map_err(|error| format!("cannot listen on {API_SOCKET} in the data directory: {error}"))?;
    listeners.push(Listener::Unix(UnixListener::from_std(socket)));
    for (number, listener) in listeners.iter_mut().enumerate() {
        let token = Token(FIRST_LISTENER + number);
        let registered = match listener {
            Listener::Tcp(tcp) => poll.registry().register(tcp, token, Interest::READABLE),
            Listener::Unix(unix) => poll.registry().register(unix, token, Interest::READABLE),
        };
        registered.map_err(|error| format!("cannot wait for connections: {error}"))?;
    }
    Ok(listeners)
}

/// Where the API is, as it is bound: port 0 has become a number.
pub(super) fn addresses(
    listeners: &[Listener],
    settings: &Settings,
) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    for listener in listeners {
        match listener {
            Listener::Tcp(tcp) => {
                let bound = tcp.local_addr().map(|address| address.to_string());
                fields.push(("http", bound.unwrap_or_default()));
            }
            Listener::Unix(_) => {
                let path = settings.data_dir.join(API_SOCKET);
                fields.push(("socket", path.display().to_string()));
            }
        }
    }
    fields
}
