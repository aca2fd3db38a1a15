//! Who votes: shown, and what is wanted instead.
//!
//! A handler writes down who is to vote in the end; the leader then takes the steps to it, one
//! voter at a time, and so does every later leader. Asking for what is wanted already changes
//! nothing, so each of these requests may be repeated.

use serde_json::{Map, Value, json};

use super::cluster::member_object;
use super::{Answer, Call, Change, Handled, Then, VOTERS_NAME, View};
use crate::http::Response;
use crate::ident::NodeId;
use crate::store::{Member, MemberState, Record, Servers};

/// Most voters, as elections count them.
const VOTERS_MAX: usize = 7;
/// Most nodes that one request names.
const NAMED_MAX: usize = 16;

pub(super) fn list(call: &Call<'_>) -> Handled {
    Ok(Answer::Now(call.json(200, shown(call.view))))
}

/// `add` and `remove`, each a list of nodes.
pub(super) fn change(call: &Call<'_>) -> Handled {
    let mut body = body(call)?;
    let (add, remove) = (names(&mut body, "add")?, names(&mut body, "remove")?);
    if add.is_empty() && remove.is_empty() {
        return Err(malformed("name nodes in \"add\" or \"remove\""));
    }
    want(call, &add, &remove)
}

pub(super) fn remove(call: &Call<'_>) -> Handled {
    want(call, &[], &[call.segment(0).to_owned()])
}

/// `old` goes and `new` comes.
pub(super) fn replace(call: &Call<'_>) -> Handled {
    let mut body = body(call)?;
    let (old, new) = (name(&mut body, "old")?, name(&mut body, "new")?);
    match (old, new) {
        (Some(old), Some(new)) => want(call, &[new], &[old]),
        _ => Err(malformed(
            "name the voter that goes in \"old\" and the server that comes in \"new\"",
        )),
    }
}

/// Leadership goes to the voter in `to`, or to the one that has most.
pub(super) fn transfer(call: &Call<'_>) -> Handled {
    let mut body = match call.request.body.is_empty() {
        true => Map::new(),
        false => body(call)?,
    };
    let to = name(&mut body, "to")?;
    let to = to.map(|to| server(call.view, &to).map(|member| member.id)).transpose()?;
    let voters = &call.view.state.servers().voters;
    if let Some(to) = to.filter(|to| !voters.contains(to)) {
        return Err(conflict(&format!("node {to} does not vote; add it first")));
    }
    if voters.as_slice() == [call.view.me] {
        return Err(conflict("there is no other voter that could lead"));
    }
    Ok(Answer::Transfer(to))
}

/// All of it as it is now.
pub(super) fn shown(view: &View<'_>) -> Vec<u8> {
    let servers = view.state.servers();
    let objects =
        |nodes: &[NodeId]| -> Vec<Value> { nodes.iter().map(|&node| object(view, node)).collect() };
    let count = servers.wanted.len();
    let body = json!({
        "voters": objects(&servers.voters),
        "learners": objects(&servers.learners),
        "wanted": servers.wanted.iter().map(|&node| name_of(view, node)).collect::<Vec<_>>(),
        "under_way": servers.wanted != servers.voters,
        "tolerates": count.saturating_sub(1) / 2,
        "warnings": warning(count).into_iter().collect::<Vec<_>>(),
    });
    body.to_string().into_bytes()
}

/// What a number of voters does not do that people expect of it.
fn warning(count: usize) -> Option<String> {
    match count {
        2 => Some(
            "with two voters nothing new is fired while either is down; a third, which need not \
             run jobs, tolerates that"
                .into(),
        ),
        _ if count.is_multiple_of(2) => {
            Some(format!("{count} voters tolerate no more losses than {} do", count - 1))
        }
        _ => None,
    }
}

fn want(call: &Call<'_>, add: &[String], remove: &[String]) -> Handled {
    let servers = call.view.state.servers();
    let mut wanted = servers.wanted.clone();
    for name in add {
        let member = server(call.view, name)?;
        if member.state != MemberState::Registered {
            return Err(conflict(&format!("{name} has left; it can vote when it is back")));
        }
        wanted.push(member.id);
    }
    for name in remove {
        let node = server(call.view, name)?.id;
        wanted.retain(|&other| other != node);
    }
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return Err(conflict("the last voter can't be removed; add another first"));
    }
    if wanted.len() > VOTERS_MAX {
        let sentence = format!("{} voters are too many; at most {VOTERS_MAX} vote", wanted.len());
        return Err(conflict(&sentence));
    }
    if wanted == servers.wanted {
        return list(call);
    }
    Ok(Answer::Change(Box::new(Change {
        name: VOTERS_NAME.into(),
        settle: None,
        record: Record::Config(Servers { wanted, ..servers.clone() }),
        actor: call.peer.who.clone(),
        key: None,
        then: Then::Voters { pretty: call.wants_pretty() },
    })))
}

/// The server of that name or number.
fn server<'a>(view: &'a View<'_>, name: &str) -> Result<&'a Member, Response> {
    let is_meant = |member: &&Member| member.name == name || member.id.to_string() == name;
    let shown: String = crate::text::escape_control(name).chars().take(128).collect();
    let member = view.state.members().find(is_meant).ok_or_else(|| {
        Response::error(404, "not_found", &format!("there is no node named \"{shown}\""))
    })?;
    if !member.server {
        return Err(conflict(&format!("{shown} is a worker; only a server can vote")));
    }
    Ok(member)
}

fn object(view: &View<'_>, node: NodeId) -> Value {
    match view.state.member(node) {
        Some(member) => Value::Object(member_object(view, member)),
        // It was elected before it had registered.
        None => json!({ "id": node.to_string() }),
    }
}

fn name_of(view: &View<'_>, node: NodeId) -> String {
    view.state.member(node).map_or_else(|| node.to_string(), |member| member.name.clone())
}

fn body(call: &Call<'_>) -> Result<Map<String, Value>, Response> {
    crate::job::json::read_object(&call.request.body)
        .map_err(|error| malformed(&format!("the body is not a valid JSON object: {error}")))
}

fn name(body: &mut Map<String, Value>, key: &str) -> Result<Option<String>, Response> {
    match body.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(_) => Err(malformed(&format!("\"{key}\" must be the name of a node"))),
    }
}

fn names(body: &mut Map<String, Value>, key: &str) -> Result<Vec<String>, Response> {
    let wrong = || malformed(&format!("\"{key}\" must be a list of at most {NAMED_MAX} names"));
    let list = match body.remove(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(name)) => return Ok(vec![name]),
        Some(Value::Array(list)) if list.len() <= NAMED_MAX => list,
        Some(_) => return Err(wrong()),
    };
    let text = |value| match value {
        Value::String(name) => Ok(name),
        _ => Err(wrong()),
    };
    list.into_iter().map(text).collect()
}

fn malformed(sentence: &str) -> Response {
    Response::error(400, "malformed", sentence)
}

fn conflict(sentence: &str) -> Response {
    Response::error(409, "conflict", sentence)
}
