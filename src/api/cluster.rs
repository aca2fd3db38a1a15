//! Status, members, leader, and leaving.

use serde_json::{Map, Value, json};

use super::list::{Page, bad_query};
use super::{Answer, Call, Handled, View, unavailable};
use crate::store::{Member, MemberState};

/// Versions of the peer protocol that this program speaks, lowest and highest.
const PROTOCOL: (u8, u8) = (1, 1);

pub(super) fn status(call: &Call<'_>) -> Handled {
    let view = call.view;
    let leader = view.leader.and_then(|(id, _)| view.state.member(id));
    let me = view.state.member(view.me);
    let tags: Map<String, Value> = me.map(tags_of).unwrap_or_default();
    let registered =
        view.state.members().filter(|member| member.state == MemberState::Registered).count();
    let body = json!({
        "agent": {
            "name": view.node_name,
            "version": env!("CARGO_PKG_VERSION"),
            "leader": leader.map_or("", |member| member.name.as_str()),
            "epoch": view.state.epoch().to_string(),
            "journal_index": view.state.applied().to_string(),
            "tzdata": view.zones.version().unwrap_or_default(),
            "uptime_seconds": view.uptime.as_secs().to_string(),
            "jobs": view.state.jobs_by_name().len().to_string(),
            "open_runs": view.state.open_runs().len().to_string(),
            "members": view.state.members().len().to_string(),
        },
        "serf": {
            "members": view.state.members().len().to_string(),
            "left": (view.state.members().len() - registered).to_string(),
            "failed": "0",
            "encrypted": "false",
        },
        "tags": tags,
    });
    Ok(Answer::Now(call.json(200, body.to_string().into_bytes())))
}

pub(super) fn members(call: &Call<'_>) -> Handled {
    let page = Page::of(call, false)?;
    let mut members: Vec<&Member> = call.view.state.members().collect();
    match call.request.query_value("_sort") {
        None | Some("" | "id") => {}
        Some("Name" | "name") => members.sort_by_key(|member| &member.name),
        Some("Status" | "status") => members.sort_by_key(|member| status_of(member)),
        Some(_) => return Err(bad_query("_sort must be id, Name or Status")),
    }
    if page.descending {
        members.reverse();
    }
    let count = members.len().to_string();
    let body = array(call.view, page.cut(members));
    Ok(Answer::Now(call.json(200, body).header("X-Total-Count", count)))
}

pub(super) fn leader(call: &Call<'_>) -> Handled {
    match leader_json(call.view) {
        Some(body) => Ok(Answer::Now(call.json(200, body))),
        None => Err(unavailable("no_leader", "there is no leader at the moment")),
    }
}

/// Who leads; `None` while nobody is known to.
pub(super) fn leader_json(view: &View<'_>) -> Option<Vec<u8>> {
    let (id, epoch) = view.leader?;
    let mut object = member_object(view, view.state.member(id)?);
    object.insert("epoch".into(), epoch.0.into());
    Some(Value::Object(object).to_string().into_bytes())
}

pub(super) fn is_leader(call: &Call<'_>) -> Handled {
    let leads = call.view.leader.is_some_and(|(id, _)| id == call.view.me);
    let (status, words) = match leads {
        true => (200, "I am a leader"),
        false => (404, "I am a follower"),
    };
    Ok(Answer::Now(call.json(status, Value::from(words).to_string().into_bytes())))
}

pub(super) fn leave(call: &Call<'_>) -> Handled {
    if call.view.leader.is_none() {
        return Err(unavailable("no_leader", "nobody is there to write it down; try again"));
    }
    Ok(Answer::Leave)
}

/// All members, as an array.
pub(super) fn members_json(view: &View<'_>) -> Vec<u8> {
    array(view, view.state.members().collect())
}

fn array(view: &View<'_>, members: Vec<&Member>) -> Vec<u8> {
    let objects = members.into_iter().map(|member| Value::Object(member_object(view, member)));
    Value::Array(objects.collect()).to_string().into_bytes()
}

/// The seed's member object and what v4 and we add. Without a network there is no address to
/// show, and the port is 0.
pub(super) fn member_object(view: &View<'_>, member: &Member) -> Map<String, Value> {
    let (address, port) = member.address.rsplit_once(':').unwrap_or((&member.address, "0"));
    let (status, status_text) = status_of(member);
    let leads = view.leader.is_some_and(|(id, _)| id == member.id);
    let role = match (leads, member.server) {
        (true, _) => "leader",
        (false, true) => "server",
        (false, false) => "worker",
    };
    let object = json!({
        "id": member.id.to_string(),
        "Name": member.name,
        "Addr": address,
        "Port": port.parse::<u16>().unwrap_or(0),
        "Tags": tags_of(member),
        "Status": status,
        "statusText": status_text,
        "role": role,
        "ProtocolMin": PROTOCOL.0,
        "ProtocolMax": PROTOCOL.1,
        "ProtocolCur": PROTOCOL.1,
        "DelegateMin": PROTOCOL.0,
        "DelegateMax": PROTOCOL.1,
        "DelegateCur": PROTOCOL.1,
    });
    match object {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// As serf counts them.
fn status_of(member: &Member) -> (u8, &'static str) {
    match member.state {
        MemberState::Registered => (1, "alive"),
        MemberState::Left => (3, "left"),
    }
}

fn tags_of(member: &Member) -> Map<String, Value> {
    member.tags.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect()
}
