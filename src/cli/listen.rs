//! Where the API listens, and when that is refused: an address that others can reach is never
//! opened by accident.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::flags::{Complaint, Given, Place};
use super::value::Address;
use crate::api::Role;

/// The default: loopback, and the port of Dkron.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where to listen, and what there is to say about it.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Listening {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) warnings: Vec<String>,
    pub(super) complaints: Vec<Complaint>,
}

/// Decides about the addresses in `wanted`, where `anonymous` is what anyone may do there.
pub(super) fn decide(wanted: &[(Given, Address)], anonymous: Option<Role>) -> Listening {
    let mut listening = Listening::default();
    for (given, address) in wanted {
        let exact = match (address, anonymous) {
            (Address::Exact(exact), _) => *exact,
            (Address::Port(port), Some(_)) => (Ipv4Addr::UNSPECIFIED, *port).into(),
            (Address::Port(port), None) => {
                listening.warnings.push(format!(
                    "{given}: listens on 127.0.0.1:{port} only, because anonymous is not set; \
                     write 127.0.0.1:{port} to say so"
                ));
                (Ipv4Addr::LOCALHOST, *port).into()
            }
        };
        if exact.port() != 0 && listening.addresses.contains(&exact) {
            listening.complaints.push(given.complain(format_args!("{exact} is given twice")));
        } else if anonymous.is_none() && !is_loopback(exact) {
            listening.complaints.push(given.complain(refusal(given, exact)));
        }
        listening.addresses.push(exact);
    }
    if wanted.is_empty() {
        listening.addresses.push(DEFAULT);
    }
    if let Some(role) = anonymous {
        for address in &listening.addresses {
            let who = if is_loopback(*address) { "every user of this host" } else { "anyone" };
            let role = role.name();
            listening.warnings.push(format!(
                "anonymous: {who} who reaches {address} has the role {role}, without a password"
            ));
        }
    }
    listening
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Says why, and the lines that would work, in the spelling of the place.
fn refusal(given: &Given, address: SocketAddr) -> String {
    let port = address.port();
    let line = |name: &str, value: &str| match given.place {
        Place::Flag => format!("--{name} {value}"),
        Place::Variable => {
            format!("BELLWETHER_{}={value}", name.replace('-', "_").to_uppercase())
        }
        Place::File(..) => format!("{name} = {value}"),
    };
    let mut text = format!(
        "{address} can be reached from other hosts, and nothing tells who may call; \
         this would work:"
    );
    let local = line("http-addr", &format!("127.0.0.1:{port}"));
    let open = line("anonymous", "write");
    let _ = write!(text, "\n    {local}\n        to serve this host only, or");
    let _ = write!(text, "\n    {open}\n        in addition, to let anyone change and run jobs");
    text.push_str("\n  Files of tokens, which tell callers apart, come in a later version.");
    text
}
