use super::*;
use crate::api::Role;
use crate::cluster::wire::FRAME_MAX_BYTES;
use crate::cluster::{Append, Envelope, Message, Place};
use crate::http::{Headers, Method};
use crate::ident::Epoch;
use crate::node::testing::{every_second, node_after, node_id, records_of, sync, wired};
use crate::node::{Durable, Input};

fn other() -> NodeId {
    NodeId::new(3).expect("not 0")
}

fn answer() -> Box<Response> {
    Box::new(Response::json(201, b"{}".to_vec()))
}

fn replies(node: &mut Node) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(effect) = node.poll_effect() {
        if let Effect::Reply(_, response) = effect {
            statuses.push(response.status);
        }
    }
    statuses
}

/// A node that has led, and follows another one now.
fn follower() -> Node {
    let mut node = node_after(records_of(&every_second()), 0);
    sync(&mut node);
    let append = Append { prev: Place::default(), records: Vec::new(), commit: Index(0), round: 1 };
    let envelope = Envelope { epoch: Epoch(99), message: Message::Append(append) };
    let now = node.now;
    node.handle(Input::Peer(other(), Word::Consensus(envelope)), now);
    while node.poll_effect().is_some() {}
    node
}

/// A request as it comes in at another node than the leader, by TCP.
fn request(path: &str, body: &str) -> Request {
    let mut headers = Headers::default();
    for (name, value) in [
        ("Host", "other.example"),
        ("Authorization", "Bearer secret"),
        ("Cookie", "a=b"),
        ("Accept", "*/*"),
        ("content-type", "application/json"),
        ("If-None-Match", "*"),
        ("IDEMPOTENCY-KEY", "once"),
    ] {
        headers.push(name, value);
    }
    Request {
        method: Method::Post,
        path: path.into(),
        query: vec![("pretty".into(), String::new())],
        headers,
        body: body.into(),
        host: Some("other.example".into()),
        version_10: true,
    }
}

fn peer() -> Peer {
    Peer { role: Some(Role::Admin), who: "10.0.0.9:5".into(), on_unix_socket: false }
}

/// What a follower that has let a request in sends to its leader, or answers itself.
fn forwarded(node: &mut Node, request: Request) -> Result<Word, Response> {
    let peer = Peer { on_unix_socket: true, ..peer() };
    let (now, request) = (node.now, Box::new(request));
    node.handle(Input::Request { id: RequestId(1), peer, request }, now);
    while let Some(effect) = node.poll_effect() {
        match effect {
            Effect::Send(to, word @ Word::Forward(..)) => {
                assert_eq!(to, other());
                return Ok(wired(node, word));
            }
            Effect::Reply(_, response) => return Err(response),
            _ => {}
        }
    }
    panic!("it is forwarded or answered");
}

/// What a leader answers to a word of another node, once all is durable that it wants.
fn answered(leader: &mut Node, word: Word) -> Response {
    let now = leader.now;
    leader.handle(Input::Peer(other(), word), now);
    for _ in 0..100_000 {
        match leader.poll_effect() {
            Some(Effect::Commit(batch)) => {
                let durable = Durable { ticket: batch.ticket, ..Durable::default() };
                leader.handle(Input::Durable(durable), now);
            }
            Some(Effect::Send(_, word @ Word::Answer(..))) => {
                let Word::Answer(_, _, answer) = wired(leader, word) else { continue };
                return *answer;
            }
            Some(_) => {}
            None => leader.handle(Input::Tick, now),
        }
    }
    panic!("it never answers");
}

/// The numbers of forwards began at 1 after each start. An answer to the first one before it,
/// late on its way, was then given to the first client after it.
#[test]
fn an_answer_to_what_was_forwarded_before_a_start_is_nobodys() {
    let mut node = follower();
    let now = node.now;
    let Ok(Word::Forward(number, ..)) = forwarded(&mut node, request("/v1/jobs", "{}")) else {
        panic!("it is forwarded");
    };
    for stale in [0, 1, 2] {
        let word = Word::Answer(stale, Index(0), answer());
        node.handle(Input::Peer(other(), word), now);
        assert_eq!(replies(&mut node), [] as [u16; 0], "{stale}");
    }
    let of_another = Word::Answer(number, Index(0), answer());
    node.handle(Input::Peer(node_id(), of_another), now);
    assert_eq!(replies(&mut node), [] as [u16; 0], "of another node");
    node.handle(Input::Peer(other(), Word::Answer(number, Index(0), answer())), now);
    assert_eq!(replies(&mut node), [201]);
}

/// The leader took the name of the node that was asked, in `Host`, for one that is not its own.
#[test]
fn a_request_is_sent_on_without_credentials_and_done_whatever_its_host_is() {
    let mut leader = node_after(records_of(&every_second()), 0);
    sync(&mut leader);
    let body = r#"{"name":"new","schedule":"@manually","command":"true"}"#;
    let (peer, sent) = api::sent_on(peer(), request("/v1/jobs", body));
    let fields: Vec<_> = sent.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(fields, ["Content-Type", "If-None-Match", "Idempotency-Key"]);
    assert_eq!((sent.host.as_deref(), sent.version_10), (None, false));
    assert_eq!((peer.role, peer.who.as_str()), (Some(Role::Admin), "10.0.0.9:5"));
    let word = wired(&leader, Word::Forward(1, peer, Box::new(sent)));
    let done = answered(&mut leader, word.clone());
    assert_eq!(done.status, 201);
    let again = answered(&mut leader, word);
    assert!(again.headers.iter().any(|(name, _)| *name == "Idempotent-Replayed"), "{again:?}");
}

#[test]
fn what_does_not_fit_a_frame_is_refused_where_it_was_asked() {
    let mut node = follower();
    let empty = forwarded(&mut node, request("/v1/jobs", "")).expect("it is sent on");
    let frame = empty.frame(node_id(), Index(0)).expect("it fits").len();
    let room = FRAME_MAX_BYTES - frame;
    let pairs = |count| Request {
        query: vec![("a".into(), String::new()); count],
        ..request("/v1/jobs", "")
    };
    for (request, is_sent) in [
        (request("/v1/jobs", &"x".repeat(room)), true),
        (request("/v1/jobs", &"x".repeat(room + 1)), false),
        (request("/v1/restore", &"x".repeat(4 << 20)), false),
        (pairs(1_024), true),
        (pairs(1_025), false),
    ] {
        match forwarded(&mut node, request) {
            Ok(_) => assert!(is_sent),
            Err(refused) => {
                let Body::Bytes(body) = &refused.body else { panic!("{refused:?}") };
                let body = String::from_utf8_lossy(body);
                assert!(!is_sent && refused.status == 413, "{body}");
                assert!(body.contains("too_large") && body.contains("the leader itself"));
            }
        }
    }
}

/// A restore was sent on, done, and answered with 503, as if it had not been.
#[test]
fn a_restore_that_is_sent_on_is_refused_and_changes_nothing() {
    let mut leader = node_after(records_of(&every_second()), 0);
    sync(&mut leader);
    let body = r#"[{"name":"new","schedule":"@manually","command":"true"}]"#;
    let word = forwarded(&mut follower(), request("/v1/restore", body)).expect("it fits a frame");
    let refused = answered(&mut leader, word);
    assert_eq!((refused.status, leader.state().jobs_by_name().len()), (503, 1));
}

/// No answer of ours is so long; one that is keeps its status, which says what was done.
#[test]
fn an_answer_that_is_too_long_keeps_its_status() {
    for (bytes, is_whole) in [(1 << 20, false), ((1 << 20) - 4_096, true)] {
        let mut node = node_after(records_of(&every_second()), 0);
        let id = RequestId(FOREIGN | 5);
        node.forwards.foreign.insert(id, (other(), 7));
        let long = Response::json(201, vec![b'x'; bytes]).header("Location", "/v1/jobs/a");
        node.effects.clear();
        node.reply(id, long.clone());
        let Some(Effect::Send(to, Word::Answer(7, _, sent))) = node.poll_effect() else {
            panic!("it is answered");
        };
        assert_eq!((to, sent.status, &sent.headers), (other(), 201, &long.headers));
        assert_eq!(*sent == long, is_whole);
    }
}
