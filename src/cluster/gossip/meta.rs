//! What a node tells of itself beyond being alive: sent when somebody asks, never with the news.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{Boot, ClusterId, NodeId, StoreId, check_name};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::update::{decode_boot, encode_boot};

/// Most bytes of a [`Card`] on the wire.
pub const META_BYTES_MAX: usize = 512;

/// A node as it describes itself. All of it is a hint: targets and tags that count come from the
/// registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meta {
    /// Where it takes datagrams and streams. A scope of IPv6 does not travel.
    pub address: SocketAddr,
    /// Its name, as [`check_name`] allows it.
    pub name: String,
    /// Its data directory.
    pub store: StoreId,
    /// The cluster it belongs to; 0 before it joined one.
    pub cluster: ClusterId,
    /// Whether it is, or wants to be, a server.
    pub server: bool,
    /// How many servers it waits for before a genesis; 0 for none.
    pub expect: u8,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

/// A [`Meta`] with whose it is and which of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Card {
    /// Whose.
    pub node: NodeId,
    /// In which start of that node.
    pub boot: Boot,
    /// From 1, raised with each change in that start.
    pub version: u16,
    /// The description.
    pub meta: Meta,
}

impl Card {
    /// Writes what [`Card::decode`] reads.
    pub fn encode(&self, out: &mut Encoder) {
        out.u32(self.node.get());
        encode_boot(self.boot, out);
        out.u16(self.version);
        let meta = &self.meta;
        encode_address(meta.address, out);
        out.str(&meta.name).u64(meta.store.0).u64(meta.cluster.0).bool(meta.server);
        out.u8(meta.expect).list(meta.tags.iter(), |out, (key, value)| {
            out.str(key).str(value);
        });
    }

    /// Reads a card.
    ///
    /// # Errors
    /// When the bytes are too few or more than [`META_BYTES_MAX`], the node or the version is 0,
    /// the address is none that a datagram can be sent to, or the name is not allowed.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Card, DecodeError> {
        let before = input.remaining();
        let node = NodeId::decode(input)?;
        let boot = decode_boot(input)?;
        let version = input.u16()?;
        if version == 0 {
            return Err(DecodeError::Invalid("version"));
        }
        let address = decode_address(input)?;
        let name = input.str()?;
        if check_name(name).is_err() {
            return Err(DecodeError::Invalid("name"));
        }
        let meta = Meta {
            address,
            name: name.to_owned(),
            store: StoreId(input.u64()?),
            cluster: ClusterId(input.u64()?),
            server: input.bool()?,
            expect: input.u8()?,
            tags: input.list(|input| Ok((input.str()?.to_owned(), input.str()?.to_owned())))?,
        };
        if before - input.remaining() > META_BYTES_MAX {
            return Err(DecodeError::Invalid("length"));
        }
        Ok(Card { node, boot, version, meta })
    }

    /// Whether others would take this card: it is read back from what is written.
    pub(super) fn check(&self) -> Result<(), DecodeError> {
        let mut out = Encoder::new();
        self.encode(&mut out);
        Card::decode(&mut Decoder::new(&out.into_bytes())).map(drop)
    }
}

fn encode_address(address: SocketAddr, out: &mut Encoder) {
    match address.ip() {
        IpAddr::V4(ip) => out.u8(4).raw(&ip.octets()),
        IpAddr::V6(ip) => out.u8(6).raw(&ip.octets()),
    };
    out.u16(address.port());
}

/// An address that would make a node speak to many, or to nobody, is refused.
fn decode_address(input: &mut Decoder<'_>) -> Result<SocketAddr, DecodeError> {
    let invalid = DecodeError::Invalid("address");
    let ip = match input.u8()? {
        4 => IpAddr::V4(Ipv4Addr::from(input.u32()?.to_le_bytes())),
        6 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(input.raw(16)?);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return Err(invalid),
    };
    let port = input.u16()?;
    let to_many = ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if ip.is_unspecified() || to_many || port == 0 {
        return Err(invalid);
    }
    Ok(SocketAddr::new(ip, port))
}
