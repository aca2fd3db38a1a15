//! The messages of the gossip and their bytes. All of them begin alike; what was decoded is encoded
//! to the same bytes again.

use super::meta::{Card, META_BYTES_MAX};
use super::update::{State, UPDATE_BYTES, Update};
use super::{MEMBERS_MAX, PAYLOAD_BYTES_MAX};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ident::{ClusterId, Epoch, NodeId};
use core::net::SocketAddr;

/// The version of these messages; another one is not read.
pub const VERSION: u8 = 1;

/// Bytes before the body of every message.
pub const HEADER_BYTES: usize = 1 + 1 + 8 + UPDATE_BYTES + 8 + 4;

/// Most members whose description is asked for in one datagram.
pub const ASK_MAX: usize = 32;

/// Most bytes of a list: the largest one fits, so it is never cut into pages.
pub const LIST_BYTES_MAX: usize = 1 << 20;

/// Most entries of a list: all members, and the teller.
pub const LIST_MAX: usize = MEMBERS_MAX + 1;

const LIST_ENTRY_BYTES_MAX: usize = UPDATE_BYTES + 1 + META_BYTES_MAX;
const _: () = assert!(HEADER_BYTES + 4 + LIST_MAX * LIST_ENTRY_BYTES_MAX <= LIST_BYTES_MAX);

/// What every message begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The sender's cluster; 0 before it joined one.
    pub cluster: ClusterId,
    /// The sender about itself: alive or left.
    pub sender: Update,
    /// The newest leader that the sender has heard of.
    pub leader: Option<(Epoch, NodeId)>,
}

/// What a datagram is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Answer with [`Body::Ack`].
    Ping {
        /// Comes back in the answer.
        seq: u32,
        /// Whom it is meant for: another node may have taken over the address.
        target: NodeId,
        /// Who wants to know; comes back in the answer.
        origin: NodeId,
    },
    /// Ping `target` for me (SWIM, section 3.1: ping-req).
    PingFor {
        /// Comes back in the answer.
        seq: u32,
        /// Whom to ping.
        target: NodeId,
    },
    /// An answer to a ping, on its way to `origin`.
    Ack {
        /// That of the ping.
        seq: u32,
        /// Who answered.
        subject: NodeId,
        /// Who wants to know.
        origin: NodeId,
    },
    /// Describe these members to me.
    Ask(Vec<NodeId>),
    /// Descriptions.
    Cards(Vec<Card>),
    /// Nothing beyond the updates.
    News,
}

/// A datagram: at most [`PAYLOAD_BYTES_MAX`] before it is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Who sends it.
    pub header: Header,
    /// What for.
    pub body: Body,
    /// News that ride along, as many as fit.
    pub updates: Vec<Update>,
}

/// All members that a node knows, for a stream: at most [`LIST_BYTES_MAX`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// Who sends it.
    pub header: Header,
    /// Whether it answers one.
    pub is_answer: bool,
    /// The members, those that the sender holds for dead or left too. Here `meta` is the version
    /// that the sender *holds*; the other side adds the description where it holds a newer one.
    pub entries: Vec<(Update, Option<Card>)>,
}

impl Header {
    fn encode(&self, kind: u8, out: &mut Encoder) {
        out.u8(VERSION).u8(kind).u64(self.cluster.0);
        self.sender.encode(out);
        let (epoch, node) = self.leader.map_or((0, 0), |(epoch, node)| (epoch.0, node.get()));
        out.u64(epoch).u32(node);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<(u8, Header), DecodeError> {
        if input.u8()? != VERSION {
            return Err(DecodeError::Invalid("version"));
        }
        let kind = input.u8()?;
        let cluster = ClusterId(input.u64()?);
        let sender = Update::decode(input)?;
        match sender.state {
            State::Alive | State::Left => {}
            State::Suspect | State::Dead => return Err(DecodeError::Invalid("sender")),
        }
        let epoch = Epoch(input.u64()?);
        let leader = NodeId::new(input.u32()?).map(|node| (epoch, node));
        if leader.is_none() && epoch.0 != 0 {
            return Err(DecodeError::Invalid("leader"));
        }
        Ok((kind, Header { cluster, sender, leader }))
    }
}

impl Body {
    /// The member that it is about, if it is one other than the sender and the receiver.
    pub(super) fn subject(&self) -> Option<NodeId> {
        match self {
            Body::PingFor { target, .. } => Some(*target),
            Body::Ack { subject, .. } => Some(*subject),
            Body::Ping { .. } | Body::Ask(_) | Body::Cards(_) | Body::News => None,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Body::Ping { .. } => 1,
            Body::PingFor { .. } => 2,
            Body::Ack { .. } => 3,
            Body::Ask(_) => 4,
            Body::Cards(_) => 5,
            Body::News => 6,
        }
    }

    fn encode(&self, out: &mut Encoder) {
        match self {
            Body::Ping { seq, target, origin } => {
                out.u32(*seq).u32(target.get()).u32(origin.get());
            }
            Body::PingFor { seq, target } => {
                out.u32(*seq).u32(target.get());
            }
            Body::Ack { seq, subject, origin } => {
                out.u32(*seq).u32(subject.get()).u32(origin.get());
            }
            Body::Ask(nodes) => {
                out.u8(nodes.len() as u8);
                for node in nodes {
                    out.u32(node.get());
                }
            }
            Body::Cards(cards) => {
                out.u8(cards.len() as u8);
                cards.iter().for_each(|card| card.encode(out));
            }
            Body::News => {}
        }
    }

    fn decode(kind: u8, input: &mut Decoder<'_>) -> Result<Body, DecodeError> {
        Ok(match kind {
            1 => {
                let (seq, target) = (input.u32()?, NodeId::decode(input)?);
                Body::Ping { seq, target, origin: NodeId::decode(input)? }
            }
            2 => Body::PingFor { seq: input.u32()?, target: NodeId::decode(input)? },
            3 => {
                let (seq, subject) = (input.u32()?, NodeId::decode(input)?);
                Body::Ack { seq, subject, origin: NodeId::decode(input)? }
            }
            4 => {
                let count = usize::from(input.u8()?);
                if count > ASK_MAX {
                    return Err(DecodeError::Invalid("count"));
                }
                Body::Ask((0..count).map(|_| NodeId::decode(input)).collect::<Result<_, _>>()?)
            }
            5 => {
                let count = input.u8()?;
                Body::Cards((0..count).map(|_| Card::decode(input)).collect::<Result<_, _>>()?)
            }
            6 => Body::News,
            _ => return Err(DecodeError::Invalid("kind")),
        })
    }
}

impl Datagram {
    /// The bytes, before they are sealed.
    ///
    /// # Panics
    /// When they are too many: who makes one asks [`updates_that_fit`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(PAYLOAD_BYTES_MAX);
        self.header.encode(self.body.kind(), &mut out);
        self.body.encode(&mut out);
        self.updates.iter().for_each(|update| update.encode(&mut out));
        assert!(out.len() <= PAYLOAD_BYTES_MAX, "a datagram is filled up to its limit");
        out.into_bytes()
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is longer than [`PAYLOAD_BYTES_MAX`], or is none.
    pub fn decode(bytes: &[u8]) -> Result<Datagram, DecodeError> {
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(DecodeError::Invalid("length"));
        }
        let mut input = Decoder::new(bytes);
        let (kind, header) = Header::decode(&mut input)?;
        let body = Body::decode(kind, &mut input)?;
        let mut updates = Vec::with_capacity(input.remaining() / UPDATE_BYTES);
        while input.remaining() > 0 {
            updates.push(Update::decode(&mut input)?);
        }
        Ok(Datagram { header, body, updates })
    }
}

/// How many updates may ride along with `body`.
pub fn updates_that_fit(body: &Body) -> usize {
    let mut out = Encoder::new();
    body.encode(&mut out);
    (PAYLOAD_BYTES_MAX - HEADER_BYTES - out.len()) / UPDATE_BYTES
}

impl List {
    /// Where its teller takes datagrams, which is not where its stream came from.
    pub fn teller(&self) -> Option<SocketAddr> {
        let cards = self.entries.iter().filter_map(|(_, card)| card.as_ref());
        let mut own = cards.filter(|card| card.node == self.header.sender.node);
        own.next().map(|card| card.meta.address)
    }

    /// The bytes, before they are sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        self.header.encode(if self.is_answer { 8 } else { 7 }, &mut out);
        out.list(self.entries.iter(), |out, (update, card)| {
            update.encode(out);
            out.option(card.as_ref(), |out, card| card.encode(out));
        });
        assert!(out.len() <= LIST_BYTES_MAX, "the largest list fits");
        out.into_bytes()
    }

    /// Reads a list.
    ///
    /// # Errors
    /// When it is longer than [`LIST_BYTES_MAX`], has more than [`LIST_MAX`] entries, or is none.
    pub fn decode(bytes: &[u8]) -> Result<List, DecodeError> {
        if bytes.len() > LIST_BYTES_MAX {
            return Err(DecodeError::Invalid("length"));
        }
        let mut input = Decoder::new(bytes);
        let (kind, header) = Header::decode(&mut input)?;
        let is_answer = match kind {
            7 => false,
            8 => true,
            _ => return Err(DecodeError::Invalid("kind")),
        };
        let count = input.u32()? as usize;
        if count > LIST_MAX {
            return Err(DecodeError::Invalid("count"));
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            let update = Update::decode(&mut input)?;
            let card = input.option(Card::decode)?;
            let is_of_it = |card: &Card| (card.node, card.boot) == (update.node, update.boot);
            if !card.as_ref().is_none_or(is_of_it) {
                return Err(DecodeError::Invalid("card"));
            }
            entries.push((update, card));
        }
        input.finish()?;
        Ok(List { header, is_answer, entries })
    }
}
