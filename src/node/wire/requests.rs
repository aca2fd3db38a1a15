//! The bytes of a request that is sent on to the leader, and of its answer.
//!
//! Names of methods and header fields travel as places in closed lists, so no peer can bring one
//! that would end up in a response's head.

use crate::api::{ANSWER_FIELDS, Peer, Role, SENT_FIELDS};
use crate::cluster::wire::decode_index;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::http::{Body, Headers, Method, Request, Response};
use crate::ident::Index;
use crate::store::ACTOR_MAX_BYTES;

/// Most pairs in the query of a request that is sent on, and most header fields.
const PAIRS_MAX: usize = 1_024;

const METHODS: [Method; 7] = [
    Method::Get,
    Method::Head,
    Method::Post,
    Method::Put,
    Method::Patch,
    Method::Delete,
    Method::Options,
];

const ROLES: [Role; 4] = [Role::Read, Role::Run, Role::Write, Role::Admin];

/// Says what of a request no other node would take.
pub(super) fn check_forward(peer: &Peer, request: &Request) -> Result<(), &'static str> {
    let Request { method, path, query, headers, body: _, host, version_10 } = request;
    if peer.who.len() > ACTOR_MAX_BYTES {
        return Err("name of who asks");
    }
    if !METHODS.contains(method) {
        return Err("method");
    }
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("path");
    }
    if query.len() > PAIRS_MAX || headers.iter().count() > PAIRS_MAX {
        return Err("number of fields");
    }
    if !headers.iter().all(|(name, _)| SENT_FIELDS.contains(&name)) {
        return Err("header field of a request");
    }
    match host.is_none() && !version_10 {
        true => Ok(()),
        false => Err("host of a request"),
    }
}

/// Writes what [`decode_forward`] reads, if [`check_forward`] finds nothing.
pub(super) fn encode_forward(number: u64, peer: &Peer, request: &Request, out: &mut Encoder) {
    out.u64(number);
    out.option(peer.role, |out, role| {
        out.u8(place_of(&ROLES, &role));
    });
    out.str(&peer.who).bool(peer.on_unix_socket);
    out.u8(place_of(&METHODS, &request.method)).str(&request.path);
    out.list(request.query.iter(), |out, (key, value)| {
        out.str(key).str(value);
    });
    let headers: Vec<(&str, &str)> = request.headers.iter().collect();
    out.list(headers.into_iter(), |out, (name, value)| {
        out.u8(place_of(&SENT_FIELDS, &name)).str(value);
    });
    out.bytes(&request.body);
}

/// Reads the number of a request, who asks, and what.
pub(super) fn decode_forward(input: &mut Decoder<'_>) -> Result<(u64, Peer, Request), DecodeError> {
    let text = |input: &mut Decoder<'_>| input.str().map(str::to_owned);
    let number = input.u64()?;
    let role = input.option(|input| at_place(&ROLES, input.u8()?, "role"))?;
    let peer = Peer { role, who: text(input)?, on_unix_socket: input.bool()? };
    let method = at_place(&METHODS, input.u8()?, "method")?;
    let path = text(input)?;
    let query = input.list(|input| Ok((text(input)?, text(input)?)))?;
    let mut headers = Headers::default();
    input.list(|input| {
        let name = at_place(&SENT_FIELDS, input.u8()?, "header field of a request")?;
        headers.push(name, input.str()?);
        Ok(())
    })?;
    let body = input.bytes()?.to_vec();
    let request = Request { method, path, query, headers, body, host: None, version_10: false };
    check_forward(&peer, &request).map_err(DecodeError::Invalid)?;
    Ok((number, peer, request))
}

/// Says what of an answer no other node would take.
pub(super) fn check_answer(response: &Response) -> Result<(), &'static str> {
    if !(200..=599).contains(&response.status) {
        return Err("status");
    }
    if response.headers.len() > PAIRS_MAX {
        return Err("number of fields");
    }
    if !response.headers.iter().all(|(name, _)| ANSWER_FIELDS.contains(name)) {
        return Err("header field of an answer");
    }
    match response.body {
        Body::Empty | Body::Bytes(_) => Ok(()),
        Body::Stream(_) => Err("a body that is made piece by piece"),
    }
}

/// Writes what [`decode_answer`] reads, if [`check_answer`] finds nothing.
pub(super) fn encode_answer(number: u64, applied: Index, response: &Response, out: &mut Encoder) {
    out.u64(number).u64(applied.0).u16(response.status);
    out.list(response.headers.iter(), |out, (name, value)| {
        out.u8(place_of(&ANSWER_FIELDS, name)).str(value);
    });
    let body = match &response.body {
        Body::Bytes(body) => Some(body),
        Body::Empty | Body::Stream(_) => None,
    };
    out.option(body, |out, body| {
        out.bytes(body);
    });
}

/// Reads the number of a request, how much the leader had applied, and its answer.
pub(super) fn decode_answer(
    input: &mut Decoder<'_>,
) -> Result<(u64, Index, Response), DecodeError> {
    let (number, applied, status) = (input.u64()?, decode_index(input)?, input.u16()?);
    let headers = input.list(|input| {
        let name = at_place(&ANSWER_FIELDS, input.u8()?, "header field of an answer")?;
        Ok((name, input.str()?.to_owned()))
    })?;
    let body = match input.option(Decoder::bytes)? {
        Some(body) => Body::Bytes(body.to_vec()),
        None => Body::Empty,
    };
    let response = Response { status, headers, body };
    check_answer(&response).map_err(DecodeError::Invalid)?;
    Ok((number, applied, response))
}

/// The place of what was found in the list before.
fn place_of<T: PartialEq>(list: &[T], wanted: &T) -> u8 {
    list.iter().position(|one| one == wanted).unwrap_or(list.len()) as u8
}

fn at_place<T: Clone>(list: &[T], place: u8, what: &'static str) -> Result<T, DecodeError> {
    list.get(usize::from(place)).cloned().ok_or(DecodeError::Invalid(what))
}
