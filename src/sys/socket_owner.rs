//! Who owns the other end of a TCP connection within this machine, sock_diag(7).
//!
//! One exact look-up, never a dump: its cost does not grow with the number of sockets. The answer
//! counts only when it is about that very socket and some process still holds it: the kernel
//! reports user 0 for one that lingers after its process has closed it, and may answer with a
//! listener when there is no connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::errno;

/// What is known of the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// This user holds the socket.
    Uid(u32),
    /// There is no such socket, or no process holds it any more.
    NotFound,
}

/// How long the kernel may take; it answers within the call that sends the question.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// The user that owns the socket at `peer`, connected to `local`, both as the accepted end of the
/// connection names them, and both of this machine. IPv4 addresses may be written in IPv6.
///
/// # Errors
/// When `peer` is no loopback address and not the same as `local`'s, when the addresses are of two
/// families, or when the kernel does not answer (no `tcp_diag`, a filter): then nothing is known,
/// and the connection must be taken for a stranger's.
pub fn owner_of_peer(local: SocketAddr, peer: SocketAddr) -> io::Result<Owner> {
    let (local_ip, peer_ip) = (local.ip().to_canonical(), peer.ip().to_canonical());
    if !(peer_ip.is_loopback() || peer_ip == local_ip) {
        return Err(errno::invalid("the peer is on another machine"));
    }
    if peer_ip.is_ipv4() != local_ip.is_ipv4() {
        return Err(errno::invalid("the two addresses are of two families"));
    }
    let id = SocketId {
        // Seen from the peer's socket: its own port comes first.
        source_port: peer.port().to_be_bytes(),
        target_port: local.port().to_be_bytes(),
        source: words_of(peer_ip),
        target: words_of(local_ip),
        interface: 0,
        cookie: [u32::MAX; 2],
    };
    let family = if peer_ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let answer = ask(&request(family as u8, &id))?;
    read_answer(&answer, local, peer)
}

/// `inet_diag_sockid` of linux/inet_diag.h.
struct SocketId {
    source_port: [u8; 2],
    target_port: [u8; 2],
    source: [u8; 16],
    target: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// `struct inet_diag_msg`.
const MESSAGE_BYTES: usize = 72;
/// `TCP_LISTEN` of the kernel's states.
const LISTENING: u8 = 10;

/// The bytes of `nlmsghdr` and `inet_diag_req_v2`, in the order of this machine but for the ports.
fn request(family: u8, id: &SocketId) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    out.extend(((HEADER_BYTES + REQUEST_BYTES) as u32).to_ne_bytes());
    out.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    out.extend([0; 8]); // Sequence number and sender: one question on a socket of its own.
    out.extend([family, libc::IPPROTO_TCP as u8, 0, 0]);
    out.extend(u32::MAX.to_ne_bytes()); // All states.
    out.extend(id.source_port);
    out.extend(id.target_port);
    out.extend(id.source);
    out.extend(id.target);
    out.extend(id.interface.to_ne_bytes());
    id.cookie.iter().for_each(|word| out.extend(word.to_ne_bytes()));
    assert_eq!(out.len(), HEADER_BYTES + REQUEST_BYTES, "the kernel's struct is of fixed size");
    out
}

fn ask(request: &[u8]) -> io::Result<Vec<u8>> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes numbers only.
    let fd =
        errno::check(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) })?;
    // SAFETY: the descriptor was just made and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: reads `request.len()` bytes from `request`. An unbound socket sends to the kernel.
    errno::check_count(unsafe { libc::send(fd, request.as_ptr().cast(), request.len(), 0) })?;
    if !super::file::wait_readable(socket.as_fd(), ANSWER_WAIT)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut answer = vec![0u8; 4_096];
    let (start, length) = (answer.as_mut_ptr(), answer.len());
    let count = errno::retry(|| {
        // SAFETY: the kernel writes at most `length` bytes into `answer`.
        errno::check_count(unsafe { libc::recv(socket.as_raw_fd(), start.cast(), length, 0) })
    })?;
    answer.truncate(count);
    Ok(answer)
}

fn read_answer(answer: &[u8], local: SocketAddr, peer: SocketAddr) -> io::Result<Owner> {
    let short = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is too short");
    let (header, body) = answer.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    if kind == libc::NLMSG_ERROR as u16 {
        let code = body.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes));
        return match code.ok_or_else(short)? {
            code if code == -libc::ENOENT => Ok(Owner::NotFound),
            code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        };
    }
    if kind != SOCK_DIAG_BY_FAMILY {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel answers another thing"));
    }
    let message = body.first_chunk::<MESSAGE_BYTES>().ok_or_else(short)?;
    let number = |at: usize| {
        u32::from_ne_bytes([message[at], message[at + 1], message[at + 2], message[at + 3]])
    };
    let (family, state) = (message[0], message[1]);
    let port = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let source = SocketAddr::new(address_in(family, &message[8..24]), port(4));
    let target = SocketAddr::new(address_in(family, &message[24..40]), port(6));
    let (uid, inode) = (number(64), number(68));
    let same = same_address(source, peer) && same_address(target, local);
    if same && state != LISTENING && inode != 0 { Ok(Owner::Uid(uid)) } else { Ok(Owner::NotFound) }
}

fn same_address(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

fn words_of(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => {
            let mut words = [0; 16];
            words[..4].copy_from_slice(&ip.octets());
            words
        }
    }
}

fn address_in(family: u8, words: &[u8]) -> IpAddr {
    let mut all = [0; 16];
    all.copy_from_slice(words);
    if i32::from(family) == libc::AF_INET {
        IpAddr::from([all[0], all[1], all[2], all[3]])
    } else {
        IpAddr::from(all)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn check(listen: &str, connect: &str) -> (TcpListener, TcpStream, TcpStream) {
        let listener = TcpListener::bind(listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((connect, port)).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let owner = owner_of_peer(server.local_addr().unwrap(), peer).unwrap();
        assert_eq!(owner, Owner::Uid(crate::sys::user::uid()), "{listen} {connect}");
        (listener, client, server)
    }

    #[test]
    fn the_owner_of_a_connected_peer_is_found_in_both_families() {
        check("127.0.0.1:0", "127.0.0.1");
        check("[::1]:0", "::1");
        check("[::]:0", "127.0.0.1");
        check("[::]:0", "::1");
    }

    #[test]
    fn a_peer_that_has_closed_belongs_to_nobody() {
        // The kernel would say user 0 for what lingers after a close.
        let (_listener, client, server) = check("127.0.0.1:0", "127.0.0.1");
        let (local, peer) = (server.local_addr().unwrap(), server.peer_addr().unwrap());
        drop(client);
        assert_eq!(owner_of_peer(local, peer).unwrap(), Owner::NotFound);
        drop(server);
        assert_eq!(owner_of_peer(local, peer).unwrap(), Owner::NotFound);
    }

    #[test]
    fn a_listener_is_not_taken_for_a_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let elsewhere = SocketAddr::new(address.ip(), 1);
        assert_eq!(owner_of_peer(elsewhere, address).unwrap(), Owner::NotFound);
    }

    #[test]
    fn addresses_that_cannot_be_local_are_refused() {
        for (local, peer) in [("127.0.0.1:80", "192.0.2.1:9"), ("127.0.0.1:80", "[::1]:9")] {
            let answer = owner_of_peer(local.parse().unwrap(), peer.parse().unwrap());
            assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{peer}");
        }
    }

    #[test]
    fn answers_that_are_cut_or_of_another_kind_are_errors() {
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let whole = request(
            2,
            &SocketId {
                source_port: [0; 2],
                target_port: [0; 2],
                source: [0; 16],
                target: [0; 16],
                interface: 0,
                cookie: [0; 2],
            },
        );
        for length in 0..whole.len() {
            assert!(read_answer(&whole[..length], address, address).is_err(), "{length}");
        }
        assert!(read_answer(&[0; 200], address, address).is_err());
    }
}
