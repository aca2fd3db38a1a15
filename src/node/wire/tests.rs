use std::time::Duration;

use super::requests::{encode_answer, encode_forward};
use super::*;
use crate::api::{Peer, Role};
use crate::cluster::Message;
use crate::http::{Body, Headers, Method, Request, Response};
use crate::ident::{Boot, Instance, RunId, StoreId, StreamId};
use crate::node::testing::{every_second, node_after, records_of, sync};
use crate::node::{Effect, Input, Node};
use crate::rng::Rng;
use crate::run::order::{
    LauncherCommand, LauncherEvent, Program, SpawnOrder, TAIL_MAX_BYTES, VARIABLES_MAX, WORDS_MAX,
};
use crate::run::session::Said;
use crate::run::wire::{MEMBER_MAX_BYTES, OVER_MAX_BYTES};
use crate::run::worker::{Order, Report};
use crate::store::{ACTOR_MAX_BYTES, End, Ending, Member, MemberState, Reason};
use crate::time::{Mono, Wall};

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

fn run() -> RunId {
    RunId { group: Index(17), node: node(2), attempt: 1 }
}

fn member() -> Member {
    Member {
        id: node(2),
        store: StoreId(3),
        boot: Boot(4),
        name: "n2".into(),
        address: "10.0.0.2:8946".into(),
        server: true,
        work: false,
        tags: vec![("a".into(), "1".into()), ("b".into(), String::new())],
        state: MemberState::Left,
    }
}

fn order(program: Program) -> Order {
    let spawn = SpawnOrder {
        run: run(),
        instance: Instance(0),
        program,
        env: vec![("A".into(), "b".into())],
        cwd: Some("/".into()),
        timeout_ms: 5,
        kill_grace_ms: 6,
        tail_max_bytes: 7,
    };
    Order { epoch: Epoch(5), deadline: Mono(9), spawn }
}

fn ending() -> Ending {
    Ending {
        exit_code: Some(2),
        reason: None,
        ..Ending::decided(End::Failed, Reason::Overlap, Wall(8))
    }
}

fn said(said: Said) -> Word {
    Word::Session(session::Word { epoch: Epoch(5), session: 6, number: 7, said })
}

fn peer() -> Peer {
    Peer { role: Some(Role::Write), who: "uid 0".into(), on_unix_socket: true }
}

fn request() -> Request {
    let mut headers = Headers::default();
    headers.push("If-Match", "\"3\"");
    Request {
        method: Method::Put,
        path: "/v1/jobs/a".into(),
        query: vec![("pretty".into(), String::new())],
        headers,
        body: b"{}".to_vec(),
        host: None,
        version_10: false,
    }
}

fn forward(peer: Peer, request: Request) -> Word {
    Word::Forward(11, peer, Box::new(request))
}

fn answer(response: Response) -> Word {
    Word::Answer(11, Index(12), Box::new(response))
}

fn part(chunks: Vec<Vec<u8>>) -> SnapshotPart {
    let seam = Seam { index: Index(20), epoch: Epoch(4), chain: 0xc0 };
    SnapshotPart { seam, digest: [9; 32], number: 1, chunks, is_last: true }
}

/// One of each, with kind, epoch and body as they are on the wire. The bytes are kept by nodes of
/// every version that can be in one cluster: a change here is a change of the version of frames.
fn all() -> Vec<(Word, u8, u8, &'static str)> {
    let words = Program::Words(vec!["a".into(), String::new()]);
    vec![
        (
            said(Said::Greeting(Box::new(member()))),
            16,
            5,
            "0600000000000000 0700000000000000 02000000 0300000000000000 0400000000000000 \
             02000000 6e32 0d000000 31302e302e302e323a38393436 01 00 02000000 01000000 61 \
             01000000 31 01000000 62 00000000 01",
        ),
        (
            said(Said::Report(run(), Report::NeverStarted)),
            17,
            5,
            "0600000000000000 0700000000000000 1100000000000000 02000000 01000000 00",
        ),
        (
            said(Said::Report(run(), Report::Starting)),
            17,
            5,
            "0600000000000000 0700000000000000 1100000000000000 02000000 01000000 01",
        ),
        (
            said(Said::Report(run(), Report::Running(Wall(-1)))),
            17,
            5,
            "0600000000000000 0700000000000000 1100000000000000 02000000 01000000 02 \
             ffffffffffffffff",
        ),
        (
            said(Said::Report(run(), Report::Ended(ending(), b"bye".to_vec()))),
            17,
            5,
            "0600000000000000 0700000000000000 1100000000000000 02000000 01000000 03 01 \
             00 01 02000000 00 0800000000000000 0800000000000000 0000000000000000 \
             0000000000000000 0000000000000000 0000000000000000 03000000 627965",
        ),
        (
            said(Said::Beat(Mono(9), Duration::from_secs(2))),
            18,
            5,
            "0600000000000000 0700000000000000 0900000000000000 0094357700000000",
        ),
        (
            said(Said::Welcome(Mono(9), Duration::from_secs(2))),
            19,
            5,
            "0600000000000000 0700000000000000 0900000000000000 0094357700000000",
        ),
        (
            said(Said::Order(Box::new(order(words)))),
            20,
            5,
            "0600000000000000 0700000000000000 0900000000000000 1100000000000000 02000000 \
             01000000 0000000000000000 00 02000000 01000000 61 00000000 01000000 01000000 \
             41 01000000 62 01 01000000 2f 0500000000000000 0600000000000000 07000000",
        ),
        (
            said(Said::Order(Box::new(order(Program::Shell("a".into()))))),
            20,
            5,
            "0600000000000000 0700000000000000 0900000000000000 1100000000000000 02000000 \
             01000000 0000000000000000 01 01000000 61 01000000 01000000 41 01000000 62 01 \
             01000000 2f 0500000000000000 0600000000000000 07000000",
        ),
        (
            said(Said::Question(run())),
            21,
            5,
            "0600000000000000 0700000000000000 1100000000000000 02000000 01000000",
        ),
        (
            said(Said::Settle(run())),
            22,
            5,
            "0600000000000000 0700000000000000 1100000000000000 02000000 01000000",
        ),
        (said(Said::Over(None)), 23, 5, "0600000000000000 0700000000000000 00"),
        (
            said(Said::Over(Some("no".into()))),
            23,
            5,
            "0600000000000000 0700000000000000 01 02000000 6e6f",
        ),
        (
            forward(peer(), request()),
            32,
            0,
            "0b00000000000000 01 02 05000000 7569642030 01 03 0a000000 \
             2f76312f6a6f62732f61 01000000 06000000 707265747479 00000000 01000000 02 \
             03000000 223322 02000000 7b7d",
        ),
        (
            answer(Response::json(201, b"{}".to_vec()).header("ETag", "\"3\"")),
            33,
            0,
            "0b00000000000000 0c00000000000000 c900 01000000 02 03000000 223322 01 \
             02000000 7b7d",
        ),
        (
            answer(Response::new(204, Body::Empty)),
            33,
            0,
            "0b00000000000000 0c00000000000000 cc00 00000000 00",
        ),
        (
            Word::SnapshotPart(part(vec![b"ab".to_vec(), b"c".to_vec()])),
            34,
            0,
            "1400000000000000 0400000000000000 c0000000 \
             0909090909090909090909090909090909090909090909090909090909090909 \
             0100000000000000 01 02000000 02000000 6162 01000000 63",
        ),
        (Word::SnapshotWanted(Index(20), 1), 35, 0, "1400000000000000 0100000000000000"),
        (Word::WhoLeads, 36, 0, ""),
        (Word::Leads(node(2), Epoch(5)), 37, 0, "02000000 0500000000000000"),
        (Word::ReadIndex(3), 38, 0, "0300000000000000"),
        (Word::ReadAt(3, Some(Index(20))), 39, 0, "0300000000000000 01 1400000000000000"),
        (Word::ReadAt(3, None), 39, 0, "0300000000000000 00"),
        (Word::Consensus(Envelope { epoch: Epoch(5), message: Message::Transfer }), 9, 5, ""),
    ]
}

fn framed(word: &Word) -> Vec<u8> {
    word.frame(node(0xabc), Index(7)).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_word_has_the_bytes_that_it_always_had() {
    for (word, kind, epoch, body) in all() {
        let header = format!("{kind:02x}010000bc0a0000{epoch:02x}000000000000000700000000000000");
        let frame = framed(&word);
        let body: String = body.split_whitespace().collect();
        assert_eq!(hex(&frame), format!("{header}{body}"), "{word:?}");
        let told = Told { from: node(0xabc), config: Index(7), word };
        assert_eq!(Word::read(&frame), Ok(told));
    }
}

#[test]
fn what_is_cut_short_or_goes_on_is_refused() {
    for (word, ..) in all() {
        let frame = framed(&word);
        for end in 0..frame.len() {
            assert!(Word::read(&frame[..end]).is_err(), "{end} bytes of {word:?}");
        }
        let longer = [frame.as_slice(), &[0]].concat();
        let refused = WireError::Body(frame[0], DecodeError::Trailing);
        assert_eq!(Word::read(&longer), Err(refused));
    }
}

/// The frame of a word as somebody would write it who looks at nothing.
fn unchecked(word: &Word) -> Vec<u8> {
    let frame = |kind, epoch, write: &dyn Fn(&mut Encoder)| {
        let header = Header { kind, from: node(1), epoch, config: Index(0) };
        header.frame(|out| write(out)).unwrap()
    };
    match word {
        Word::Session(word) => frame(word.kind(), word.epoch, &|out| word.encode(out)),
        Word::Forward(number, peer, request) => {
            frame(FORWARD, Epoch(0), &|out| encode_forward(*number, peer, request, out))
        }
        Word::Answer(number, applied, response) => {
            frame(ANSWER, Epoch(0), &|out| encode_answer(*number, *applied, response, out))
        }
        Word::SnapshotPart(part) => frame(SNAPSHOT_PART, Epoch(0), &|out| part.encode(out)),
        Word::Consensus(_)
        | Word::SnapshotWanted(..)
        | Word::WhoLeads
        | Word::Leads(..)
        | Word::ReadIndex(_)
        | Word::ReadAt(..) => word.frame(node(1), Index(0)).unwrap(),
    }
}

fn check(word: &Word, fits: bool, what: &str) {
    match word.frame(node(1), Index(0)) {
        Ok(frame) => assert!(fits && frame == unchecked(word), "{what} is sent"),
        Err(WireError::Unsendable(said)) => assert!(!fits && said == what, "{what}: {said}"),
        Err(error) => panic!("{what}: {error}"),
    }
    match Word::read(&unchecked(word)) {
        Ok(told) => assert!(fits && told.word == *word, "{what} is taken"),
        Err(WireError::Body(_, DecodeError::Invalid(said))) => {
            assert!(!fits && said == what, "{what}: {said}");
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn words_of_sessions_are_held_to_their_limits_on_both_sides() {
    let greeting = |member: Member| said(Said::Greeting(Box::new(member)));
    let ordered =
        |spawn| said(Said::Order(Box::new(Order { spawn, ..order(Program::Shell("a".into())) })));
    let spawn = || order(Program::Shell("a".into())).spawn;
    let over = |bytes: usize| said(Said::Over(Some("x".repeat(bytes))));
    let ended =
        |bytes: usize| said(Said::Report(run(), Report::Ended(ending(), vec![b'x'; bytes])));
    let mut out = Encoder::new();
    member().encode(&mut out);
    let room = MEMBER_MAX_BYTES - out.len();
    let tagged = |bytes: usize| {
        let tags = vec![("a".into(), "1".into()), ("b".into(), "x".repeat(bytes))];
        greeting(Member { tags, ..member() })
    };
    let tags = |keys: &[&str]| {
        let tags = keys.iter().map(|&key| (key.to_owned(), String::new())).collect();
        greeting(Member { tags, ..member() })
    };
    let named = |name: &str| greeting(Member { name: name.into(), ..member() });
    let at = |address: &str| greeting(Member { address: address.into(), ..member() });
    let words = |count| {
        let program = Program::Words(vec!["a".into(); count]);
        ordered(SpawnOrder { program, ..spawn() })
    };
    let variables = |count| {
        let env = vec![("A".into(), String::new()); count];
        ordered(SpawnOrder { env, ..spawn() })
    };
    let tail = |bytes: usize| ordered(SpawnOrder { tail_max_bytes: bytes as u32, ..spawn() });
    for (word, fits, what) in [
        (tagged(room), true, ""),
        (tagged(room + 1), false, "length of a registration"),
        (tags(&["a", "b", "c"]), true, ""),
        (tags(&["b", "a"]), false, "list of tags"),
        (tags(&["a", "a"]), false, "list of tags"),
        (named("-rf"), false, "name of a node"),
        (named(""), false, "name of a node"),
        (at(""), true, ""),
        (at("a\n"), false, "address of a node"),
        (ended(TAIL_MAX_BYTES), true, ""),
        (ended(TAIL_MAX_BYTES + 1), false, "length of an output tail"),
        (words(WORDS_MAX), true, ""),
        (words(WORDS_MAX + 1), false, "length of an order"),
        (variables(VARIABLES_MAX), true, ""),
        (variables(VARIABLES_MAX + 1), false, "length of an order"),
        (tail(TAIL_MAX_BYTES), true, ""),
        (tail(TAIL_MAX_BYTES + 1), false, "length of an output tail"),
        (over(OVER_MAX_BYTES), true, ""),
        (over(OVER_MAX_BYTES + 1), false, "length of a reason"),
    ] {
        check(&word, fits, what);
    }
    // These have no other spelling.
    let stale = Order { epoch: Epoch(4), ..order(Program::Shell("a".into())) };
    for (word, what) in [
        (said(Said::Order(Box::new(stale))), "epoch of an order"),
        (said(Said::Beat(Mono(0), Duration::MAX)), "time between beats"),
    ] {
        assert_eq!(word.frame(node(1), Index(0)), Err(WireError::Unsendable(what)));
    }
}

#[test]
fn requests_and_answers_are_held_to_their_limits_on_both_sides() {
    let who = |bytes: usize| forward(Peer { who: "x".repeat(bytes), ..peer() }, request());
    let path = |path: &str| forward(peer(), Request { path: path.into(), ..request() });
    let pairs = |count| {
        let query = vec![("a".into(), String::new()); count];
        forward(peer(), Request { query, ..request() })
    };
    let fields = |count| {
        let mut headers = Headers::default();
        (0..count).for_each(|_| headers.push("If-Match", "*"));
        forward(peer(), Request { headers, ..request() })
    };
    let status = |status| answer(Response::new(status, Body::Empty));
    let answered = |count| {
        let headers = vec![("ETag", String::new()); count];
        answer(Response { headers, ..Response::new(200, Body::Empty) })
    };
    for (word, fits, what) in [
        (who(ACTOR_MAX_BYTES), true, ""),
        (who(ACTOR_MAX_BYTES + 1), false, "name of who asks"),
        (path("/"), true, ""),
        (path(""), false, "path"),
        (path("*"), false, "path"),
        (path("/a b"), false, "path"),
        (path("/\u{e9}"), false, "path"),
        (pairs(1_024), true, ""),
        (pairs(1_025), false, "number of fields"),
        (fields(1_024), true, ""),
        (fields(1_025), false, "number of fields"),
        (status(199), false, "status"),
        (status(599), true, ""),
        (status(600), false, "status"),
        (answered(1_024), true, ""),
        (answered(1_025), false, "number of fields"),
        (Word::SnapshotPart(part(vec![vec![1; CHUNK_MAX_BYTES]])), true, ""),
        (Word::SnapshotPart(part(vec![vec![1; CHUNK_MAX_BYTES + 1]])), false, "length of a chunk"),
        (Word::SnapshotPart(part(vec![Vec::new()])), false, "length of a chunk"),
        (Word::SnapshotPart(part(Vec::new())), true, ""),
    ] {
        check(&word, fits, what);
    }
}

/// What is not in the closed lists can be said by nobody.
#[test]
fn only_known_names_are_sent_and_taken() {
    let mut headers = Headers::default();
    headers.push("Authorization", "Bearer x");
    let stream = Body::Stream(StreamId(1));
    for (word, what) in [
        (forward(peer(), Request { method: Method::Other("GET".into()), ..request() }), "method"),
        (forward(peer(), Request { headers, ..request() }), "header field of a request"),
        (forward(peer(), Request { host: Some("a".into()), ..request() }), "host of a request"),
        (forward(peer(), Request { version_10: true, ..request() }), "host of a request"),
        (answer(Response::new(200, stream)), "a body that is made piece by piece"),
        (answer(Response::new(200, Body::Empty).header("X", "y")), "header field of an answer"),
    ] {
        assert_eq!(word.frame(node(1), Index(0)), Err(WireError::Unsendable(what)));
    }
    let of_forward = framed(&forward(peer(), request()));
    let of_answer = framed(&answer(Response::new(200, Body::Empty).header("ETag", "")));
    let of_report = framed(&said(Said::Report(run(), Report::Starting)));
    let end = of_forward.len();
    for (frame, at, byte, what) in [
        (&of_forward, HEADER + 8 + 1, 4, "role"),
        (&of_forward, HEADER + 8 + 2 + 9, 2, "truth value"),
        (&of_forward, HEADER + 8 + 2 + 9 + 1, 7, "method"),
        (&of_forward, end - 6 - 8, 4, "header field of a request"),
        (&of_answer, HEADER + 8 + 8 + 2 + 4, 10, "header field of an answer"),
        (&of_report, of_report.len() - 1, 4, "report"),
    ] {
        let mut bad = frame.clone();
        bad[at] = byte;
        let refused = WireError::Body(frame[0], DecodeError::Invalid(what));
        assert_eq!(Word::read(&bad), Err(refused), "{byte} at {at}");
    }
    for (at, byte, refused) in [
        (0, 15, WireError::Kind(15)),
        (0, 24, WireError::Kind(24)),
        (0, 31, WireError::Kind(31)),
        (0, 40, WireError::Kind(40)),
        (1, 2, WireError::Version(2)),
        (8, 1, WireError::Header(DecodeError::Invalid("epoch"))),
    ] {
        let mut bad = of_forward.clone();
        bad[at] = byte;
        assert_eq!(Word::read(&bad), Err(refused));
    }
}

const HEADER: usize = crate::cluster::wire::HEADER_BYTES;

#[test]
fn a_body_that_does_not_fit_is_told_to_be_too_long() {
    let word = |bytes: usize| forward(peer(), Request { body: vec![b'x'; bytes], ..request() });
    let room = BODY_MAX_BYTES - (framed(&word(0)).len() - HEADER);
    assert!(word(room).frame(node(1), Index(0)).is_ok());
    let long = WireError::TooLong(HEADER + BODY_MAX_BYTES + 1);
    assert_eq!(word(room + 1).frame(node(1), Index(0)), Err(long));
}

#[test]
fn the_largest_part_of_a_snapshot_fits() {
    // As many chunks as there can be before the last one goes beyond.
    for chunk in [1, 1_000, PART_BYTES / 3] {
        let count = PART_BYTES.div_ceil(CHUNK_BYTES + chunk) - 1;
        let mut chunks = vec![vec![1; chunk]; count];
        assert!(count * (CHUNK_BYTES + chunk) < PART_BYTES);
        chunks.push(vec![1; CHUNK_MAX_BYTES]);
        check(&Word::SnapshotPart(part(chunks)), true, "");
    }
}

/// A job as large as one may be, of text that takes most room when it is shown.
fn job(bytes: usize) -> String {
    let value = |bytes: usize| "\\\"\\u0001".repeat(bytes / 8);
    let name = "x".repeat(128);
    let env: Vec<String> =
        (0..bytes / 8_000).map(|at| format!(r#""V{at}":"{}""#, value(8_000))).collect();
    let env = env.join(",");
    let note = value(bytes % 8_000);
    let start = format!(r#""name":"{name}","schedule":"@manually","command":"true""#);
    format!(r#"{{{start},"env":{{{env}}},"note":"{note}"}}"#)
}

/// What a leader says to another node, and to its launcher; and how long its records are.
#[derive(Default)]
struct Heard {
    answers: Vec<Response>,
    orders: Vec<SpawnOrder>,
    longest_record: usize,
}

fn hear(leader: &mut Node, input: Input) -> Heard {
    let mut heard = Heard::default();
    let now = leader.now;
    leader.handle(input, now);
    while let Some(effect) = leader.poll_effect() {
        match effect {
            Effect::Commit(batch) => {
                let lengths = batch.records.iter().map(|raw| raw.payload.len());
                heard.longest_record = lengths.max().unwrap_or(0).max(heard.longest_record);
                let ticket = batch.ticket;
                let durable = crate::node::Durable { ticket, ..crate::node::Durable::default() };
                leader.handle(Input::Durable(durable), now);
            }
            Effect::Send(_, word) => {
                framed(&word);
                let Word::Answer(_, _, response) = word else { continue };
                heard.answers.push(*response);
            }
            Effect::Launcher(LauncherCommand::Spawn(order)) => heard.orders.push(order),
            _ => {}
        }
    }
    heard
}

#[test]
fn the_largest_job_fits_wherever_it_goes() {
    let mut leader = node_after(records_of(&every_second()), 0);
    sync(&mut leader);
    assert!(leader.leads());
    let event = LauncherEvent::Welcome { instance: Instance(5), table: Vec::new() };
    hear(&mut leader, Input::Launcher(event));
    let mut tell = |method: Method, path: &str, body: String| {
        let (path, query) = (path.to_owned(), vec![("pretty".to_owned(), String::new())]);
        let headers = Headers::default();
        let request = Request { method, path, query, headers, body: body.into(), ..request() };
        hear(&mut leader, Input::Peer(node(2), forward(peer(), request)))
    };
    let (mut fits, mut too_large) = (0_usize, 1_usize << 20);
    while too_large - fits > 8 {
        let bytes = fits.midpoint(too_large);
        let heard = tell(Method::Post, "/v1/jobs", job(bytes));
        match heard.answers[0].status {
            200 | 201 => fits = bytes,
            400 => too_large = bytes,
            other => panic!("{other}"),
        }
    }
    let stored = tell(Method::Post, "/v1/jobs", job(fits));
    let ran = tell(Method::Post, &format!("/v1/jobs/{}", "x".repeat(128)), String::new());
    let chunks = leader.state().snapshot();
    let chunk = chunks.iter().map(Vec::len).max().unwrap();
    let spec = leader.state().job_named(&"x".repeat(128)).unwrap().spec.len();
    assert!(spec > crate::job::spec::SPEC_MAX_BYTES - 100, "{spec} bytes are not the most");
    for answer in stored.answers.iter().chain(&ran.answers) {
        let Body::Bytes(body) = &answer.body else { panic!("{answer:?}") };
        assert!(answer.status < 300 && body.len() > spec, "{}", answer.status);
    }
    // None of it comes near its limit.
    assert!(stored.longest_record < crate::journal::PAYLOAD_MAX_BYTES / 4);
    assert!(chunk < CHUNK_MAX_BYTES / 2);
    let [spawn] = &ran.orders[..] else { panic!("it is ordered once") };
    let spawn = spawn.clone();
    check(
        &said(Said::Order(Box::new(Order { epoch: Epoch(5), deadline: Mono(0), spawn }))),
        true,
        "",
    );
}

#[test]
fn any_bytes_are_a_word_that_is_written_as_it_was_or_none() {
    let frames: Vec<Vec<u8>> = all().iter().map(|(word, ..)| framed(word)).collect();
    let mut taken = 0;
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let mut frame = frames[rng.below(frames.len() as u64) as usize].clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(frame.len() as u64) as usize;
            frame[at] = [0, 1, 2, 0xff, rng.next_u64() as u8][rng.below(5) as usize];
        }
        let Ok(told) = Word::read(&frame) else { continue };
        let again = told.word.frame(told.from, told.config).unwrap();
        assert_eq!(again, frame, "seed {seed}: {:?}", told.word);
        taken += 1;
    }
    assert!(taken > 1_000, "only {taken} were words");
}
