use super::*;
use crate::cluster::seal::keys::{Keys, Purpose, generate};
use crate::cluster::seal::session::FRAME_MAX_BYTES;
use crate::ident::{Boot, NAME_MAX_BYTES, StoreId};
use crate::rng::Rng;

fn id(node: u32) -> Identity {
    let cluster = ClusterId(77);
    let (store, boot) = (StoreId(u64::from(node) << 40), Boot(5));
    Identity { node: NodeId::new(node).unwrap(), store, boot, cluster }
}

fn keys(bytes: &[u8], purpose: Purpose) -> Option<Keys> {
    let lines: Vec<String> = bytes.iter().map(|&byte| generate([byte; 32])).collect();
    Some(Keys::parse(&lines.join("\n"), purpose).unwrap())
}

fn gossip(bytes: &[u8]) -> Keyring {
    Keyring { gossip: keys(bytes, Purpose::Gossip), ..Keyring::default() }
}

/// A server's ring: the gossip key 1, and these.
fn server(bytes: &[u8]) -> Keyring {
    Keyring { server: keys(bytes, Purpose::Server), ..gossip(&[1]) }
}

/// A worker's ring: the gossip key 1, and what follows from these and the name.
fn worker(bytes: &[u8], name: &str) -> Keyring {
    let lines: Vec<String> =
        bytes.iter().map(|&byte| server(&[byte]).server.unwrap().worker_line(name)).collect();
    let worker = Some(Keys::parse(&lines.join("\n"), Purpose::Worker).unwrap());
    Keyring { worker, ..gossip(&[1]) }
}

/// One end with its ring, its random bytes made of its number and `nth`.
struct End {
    ring: Keyring,
    handshake: Handshake,
}

impl End {
    fn accept(node: u32, ring: &Keyring, nth: u8) -> End {
        let handshake = Handshake::accept(id(node), random(node, nth));
        End { ring: ring.clone(), handshake }
    }

    /// With the first message.
    fn initiate(node: u32, ring: &Keyring, proof: Proof, nth: u8) -> (End, Vec<u8>) {
        let mut out = Vec::new();
        let random = random(node, nth);
        let begun = Handshake::initiate(id(node), None, proof, ring, random, &mut out);
        (End { ring: ring.clone(), handshake: begun.unwrap() }, out)
    }

    /// Feeds all of `bytes`; what it says, and its session.
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(Vec<u8>, Option<Session>), StreamError> {
        let mut out = Vec::new();
        let session = self.handshake.take(&self.ring, &mut bytes, &mut out)?;
        assert!(session.is_some() || bytes.is_empty());
        Ok((out, session))
    }

    fn error(&mut self, bytes: &[u8]) -> StreamError {
        self.feed(bytes).expect_err("it must be refused")
    }
}

fn random(node: u32, nth: u8) -> [u8; RANDOM_BYTES] {
    [node as u8 * 16 + nth; RANDOM_BYTES]
}

/// The three messages between node 1, which begins, and node 2, and the sessions.
struct Done {
    messages: [Vec<u8>; 3],
    first: Session,
    second: Session,
}

fn shake(one: &Keyring, two: &Keyring, proof: Proof, nth: u8) -> Result<Done, StreamError> {
    let (mut a, hello) = End::initiate(1, one, proof, nth);
    let mut b = End::accept(2, two, nth);
    let (reply, none) = b.feed(&hello)?;
    assert!(none.is_none());
    let (finish, first) = a.feed(&reply)?;
    let (nothing, second) = b.feed(&finish)?;
    assert!(nothing.is_empty());
    let messages = [hello, reply, finish];
    Ok(Done { messages, first: first.unwrap(), second: second.unwrap() })
}

fn shaken(nth: u8) -> Done {
    shake(&server(&[2]), &server(&[2]), Proof::Server, nth).unwrap()
}

fn sealed(session: &mut Session, frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    session.seal(frame, &mut out).unwrap();
    out
}

fn opened(session: &mut Session, bytes: &[u8]) -> Result<Option<Vec<u8>>, StreamError> {
    session.open(&mut &bytes[..])
}

#[test]
fn both_ends_learn_who_the_other_is_and_what_it_proved() {
    let name = "x".repeat(NAME_MAX_BYTES);
    let as_worker = Proof::Worker(name.clone());
    for (one, two, proof) in [
        (Keyring::default(), Keyring::default(), Proof::Clear),
        (gossip(&[1]), gossip(&[1]), Proof::Gossip),
        (gossip(&[1]), server(&[2]), Proof::Gossip),
        (server(&[2]), server(&[2]), Proof::Server),
        (worker(&[2], &name), server(&[2]), as_worker),
    ] {
        let mut done = shake(&one, &two, proof.clone(), 0).unwrap();
        assert_eq!((done.first.peer, done.second.peer), (id(2), id(1)));
        assert_eq!((&done.first.proof, &done.second.proof), (&proof, &proof));
        assert_eq!(done.first.key, done.second.key);
        assert_eq!(done.first.key.is_none(), proof == Proof::Clear);
        let from_initiator = done.messages[0].len() + done.messages[2].len();
        assert!(from_initiator <= UNPROVED_MAX_BYTES && done.messages[1].len() <= 256, "{proof:?}");
        for n in 0..3 {
            let (there, back) = (sealed(&mut done.first, &[n]), sealed(&mut done.second, b"back"));
            assert_eq!(opened(&mut done.second, &there), Ok(Some(vec![n])));
            assert_eq!(opened(&mut done.first, &back), Ok(Some(b"back".to_vec())));
        }
    }
    assert_eq!(server(&[2]).best("n"), Proof::Server);
    assert_eq!(worker(&[2], "n").best("n"), Proof::Worker("n".into()));
    assert_eq!(gossip(&[2]).best("n"), Proof::Gossip);
    assert_eq!(Keyring::default().best("n"), Proof::Clear);
}

#[test]
fn bytes_may_come_one_by_one_and_frames_right_behind_the_handshake() {
    let ring = server(&[2]);
    let (mut a, hello) = End::initiate(1, &ring, Proof::Server, 0);
    let mut b = End::accept(2, &ring, 0);
    let mut reply = Vec::new();
    for byte in &hello {
        assert!(reply.is_empty());
        reply = b.feed(&[*byte]).unwrap().0;
    }
    let (mut bytes, session) = a.feed(&reply).unwrap();
    let mut first = session.unwrap();
    first.seal(b"one", &mut bytes).unwrap();
    first.seal(b"", &mut bytes).unwrap();
    let mut input = bytes.as_slice();
    let mut second = b.handshake.take(&ring, &mut input, &mut Vec::new()).unwrap().unwrap();
    let mut frames = Vec::new();
    for byte in input {
        frames.extend(opened(&mut second, &[*byte]).unwrap());
    }
    assert_eq!(frames, [b"one".to_vec(), vec![]]);
    assert_eq!(b.feed(b"more").map(drop), Err(StreamError::Broken), "a handshake ends once");
}

#[test]
fn any_changed_bit_of_a_handshake_is_refused() {
    let ring = server(&[2]);
    let messages = shaken(0).messages;
    for (nth, message) in messages.iter().enumerate() {
        for bit in 0..message.len() * 8 {
            let mut bad = message.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (mut a, hello) = End::initiate(1, &ring, Proof::Server, 0);
            let mut b = End::accept(2, &ring, 0);
            // A changed first message is noticed by the end that sent it, in the answer.
            let result = match nth {
                0 => b.feed(&bad).and_then(|(reply, _)| a.feed(&reply)),
                1 => a.feed(&bad),
                _ => b.feed(&hello).and_then(|_| b.feed(&bad)),
            };
            let is_complete = result.is_ok_and(|(_, session)| session.is_some());
            assert!(!is_complete, "message {nth}, bit {bit}");
        }
    }
}

#[test]
fn a_handshake_that_is_cut_off_never_completes() {
    let ring = server(&[2]);
    let messages = shaken(0).messages;
    for end in 0..messages[0].len() {
        let mut b = End::accept(2, &ring, 0);
        let (reply, session) = b.feed(&messages[0][..end]).unwrap();
        assert!(reply.is_empty() && session.is_none(), "{end}");
    }
    for end in 0..messages[1].len() {
        let (mut a, _) = End::initiate(1, &ring, Proof::Server, 0);
        let (finish, session) = a.feed(&messages[1][..end]).unwrap();
        assert!(finish.is_empty() && session.is_none(), "{end}");
    }
    for end in 0..messages[2].len() {
        let mut b = End::accept(2, &ring, 0);
        b.feed(&messages[0]).unwrap();
        assert!(b.feed(&messages[2][..end]).unwrap().1.is_none(), "{end}");
    }
}

#[test]
fn a_recorded_handshake_opens_no_door() {
    let ring = server(&[2]);
    let [hello, reply, finish] = shaken(0).messages;
    let mut b = End::accept(2, &ring, 1);
    let (fresh, _) = b.feed(&hello).unwrap();
    // No key seals twice: the same identity looks different without its tag, too.
    let identity = LENGTH_BYTES + HEAD_BYTES + RANDOM_BYTES..reply.len() - TAG_BYTES;
    assert_ne!(fresh[identity.clone()], reply[identity]);
    assert_eq!(b.error(&finish), StreamError::Forged);
    let (mut a, _) = End::initiate(1, &ring, Proof::Server, 1);
    assert_eq!(a.error(&reply), StreamError::Forged);
}

#[test]
fn a_handshake_that_is_sent_back_is_refused() {
    let ring = server(&[2]);
    let [hello, reply, finish] = shaken(0).messages;
    for message in [&hello, &finish] {
        let (mut a, _) = End::initiate(1, &ring, Proof::Server, 0);
        assert!(matches!(a.error(message), StreamError::Forged | StreamError::NotOurs));
    }
    let mut b = End::accept(2, &ring, 0);
    b.feed(&hello).unwrap();
    assert_eq!(b.error(&reply), StreamError::Forged);
    // Somebody leads a node to itself: the bytes are right, the number is its own.
    let (mut a, hello) = End::initiate(1, &ring, Proof::Server, 0);
    let mut same = End::accept(1, &ring, 1);
    let (reply, _) = same.feed(&hello).unwrap();
    assert_eq!(a.error(&reply), StreamError::Own);
}

#[test]
fn messages_of_two_handshakes_do_not_mix() {
    let ring = server(&[2]);
    let [(mut a, hello_a), (mut c, hello_c)] =
        [1, 3].map(|node| End::initiate(node, &ring, Proof::Server, 0));
    let [mut for_a, mut for_c] = [0, 1].map(|nth| End::accept(2, &ring, nth));
    let (reply_a, _) = for_a.feed(&hello_a).unwrap();
    let (reply_c, _) = for_c.feed(&hello_c).unwrap();
    let [(mut other_a, _), (mut other_c, _)] =
        [1, 3].map(|node| End::initiate(node, &ring, Proof::Server, 0));
    assert_eq!(other_a.error(&reply_c), StreamError::Forged);
    assert_eq!(other_c.error(&reply_a), StreamError::Forged);
    let (finish_a, _) = a.feed(&reply_a).unwrap();
    c.feed(&reply_c).unwrap();
    assert_eq!(for_c.error(&finish_a), StreamError::Forged);
    assert!(for_a.feed(&finish_a).unwrap().1.is_some());
}

#[test]
fn an_end_without_the_key_learns_and_proves_nothing() {
    let ring = server(&[2]);
    let (mut a, hello) = End::initiate(1, &server(&[3]), Proof::Server, 0);
    let unknown = server(&[3]).server.unwrap().ids().next().unwrap();
    assert_eq!(End::accept(2, &ring, 0).error(&hello), StreamError::UnknownKey(unknown));
    // It names the right key, without having it.
    let named = |hello: &[u8]| {
        let mut hello = hello.to_vec();
        hello[8..12].copy_from_slice(&ring.server.as_ref().unwrap().ids().next().unwrap().0);
        hello
    };
    let mut b = End::accept(2, &ring, 0);
    let (reply, _) = b.feed(&named(&hello)).unwrap();
    assert_eq!(a.error(&reply), StreamError::Forged);
    let (store, cluster) = (id(2).store.0.to_le_bytes(), id(2).cluster.0.to_le_bytes());
    for secret in [store, cluster] {
        assert!(!reply.windows(8).any(|part| part == secret), "said in the clear");
    }
    let guess = [&44u32.to_le_bytes()[..], &[7; 44]].concat();
    assert_eq!(b.error(&guess), StreamError::Forged);
}

#[test]
fn a_worker_proves_its_own_name_and_is_no_server() {
    let ring = server(&[2]);
    let w1 = worker(&[2], "w1");
    let as_other = Proof::Worker("w2".into());
    let (_, hello) = End::initiate(1, &w1, as_other.clone(), 0);
    let w1_key = w1.worker.as_ref().unwrap().ids().next().unwrap();
    assert_eq!(End::accept(2, &ring, 0).error(&hello), StreamError::UnknownKey(w1_key));
    // The id of the other's key is public, the key is not.
    let w2_key = worker(&[2], "w2").worker.unwrap().ids().next().unwrap();
    let mut named = hello.clone();
    named[8..12].copy_from_slice(&w2_key.0);
    let (mut a, _) = End::initiate(1, &w1, as_other, 0);
    let (reply, _) = End::accept(2, &ring, 0).feed(&named).unwrap();
    assert_eq!(a.error(&reply), StreamError::Forged);
    // Of two workers neither accepts the other as such, and none is taken for a server.
    let (_, hello) = End::initiate(1, &w1, Proof::Worker("w1".into()), 0);
    let other = worker(&[2], "w2");
    assert_eq!(End::accept(2, &other, 0).error(&hello), StreamError::UnknownKey(w1_key));
    let begun = Handshake::initiate(id(1), None, Proof::Server, &w1, [0; 32], &mut Vec::new());
    assert_eq!(begun.map(drop), Err(StreamError::NoKey));
    let stolen = Keyring { server: w1.worker.clone(), ..w1.clone() };
    let (_, hello) = End::initiate(1, &stolen, Proof::Server, 0);
    assert!(matches!(End::accept(2, &ring, 0).error(&hello), StreamError::UnknownKey(_)));
    for name in ["", "-w", "a b", "é"] {
        let (_, hello) = End::initiate(1, &w1, Proof::Worker(name.into()), 0);
        assert_eq!(End::accept(2, &ring, 0).error(&hello), StreamError::NotOurs, "{name:?}");
    }
}

#[test]
fn an_end_without_keys_and_one_with_keys_refuse_each_other() {
    let (keyed, bare) = (gossip(&[1]), Keyring::default());
    let (mut a, clear) = End::initiate(1, &bare, Proof::Clear, 0);
    let (mut b, sealed) = End::initiate(1, &keyed, Proof::Gossip, 0);
    assert_eq!(End::accept(2, &keyed, 0).error(&clear), StreamError::Clear);
    assert_eq!(End::accept(2, &bare, 0).error(&sealed), StreamError::Sealed);
    let (clear_reply, _) = End::accept(2, &bare, 0).feed(&clear).unwrap();
    let (sealed_reply, _) = End::accept(2, &keyed, 0).feed(&sealed).unwrap();
    assert_eq!(a.error(&sealed_reply), StreamError::Sealed);
    assert_eq!(b.error(&clear_reply), StreamError::Clear);
    let begun = Handshake::initiate(id(1), None, Proof::Clear, &keyed, [0; 32], &mut Vec::new());
    assert_eq!(begun.map(drop), Err(StreamError::NoKey), "a node with keys never goes without");
}

#[test]
fn another_cluster_or_node_is_refused_by_the_end_that_sees_it() {
    let ring = server(&[2]);
    let try_it = |one: Identity, two: Identity, expected: Option<u32>| {
        let mut hello = Vec::new();
        let expected = expected.map(|node| NodeId::new(node).unwrap());
        let begun =
            Handshake::initiate(one, expected, Proof::Server, &ring, random(1, 0), &mut hello);
        let mut a = End { ring: ring.clone(), handshake: begun.unwrap() };
        let handshake = Handshake::accept(two, random(2, 0));
        let mut b = End { ring: ring.clone(), handshake };
        let (finish, _) = a.feed(&b.feed(&hello)?.0)?;
        b.feed(&finish).map(drop)
    };
    let in_cluster = |node, cluster| Identity { cluster: ClusterId(cluster), ..id(node) };
    assert_eq!(try_it(id(1), id(2), Some(2)), Ok(()));
    assert_eq!(try_it(id(1), id(2), Some(3)), Err(StreamError::Misdirected(id(2).node)));
    let foreign = StreamError::Foreign(ClusterId(78));
    assert_eq!(try_it(id(1), in_cluster(2, 78), None), Err(foreign));
    assert_eq!(try_it(in_cluster(1, 0), id(2), None), Ok(()));
    assert_eq!(try_it(id(1), in_cluster(2, 0), None), Ok(()));
    // An acceptor that has joined a cluster since it answered looks again.
    let (mut a, hello) = End::initiate(1, &ring, Proof::Server, 0);
    let mut b = End::accept(2, &ring, 0);
    a.handshake.me.cluster = ClusterId(78);
    b.handshake.me.cluster = ClusterId(0);
    let (reply, _) = b.feed(&hello).unwrap();
    let (finish, _) = a.feed(&reply).unwrap();
    b.handshake.me.cluster = ClusterId(77);
    assert_eq!(b.error(&finish), foreign);
}

#[test]
fn keys_are_changed_while_a_node_is_away() {
    let works = |one: &Keyring, two: &Keyring, proof: Proof| shake(one, two, proof, 0).is_ok();
    let (old, both, moved, new) = (server(&[2]), server(&[2, 3]), server(&[3, 2]), server(&[3]));
    for (one, two, fits) in [
        (&old, &both, true),
        (&both, &moved, true),
        (&moved, &both, true),
        (&moved, &new, true),
        (&old, &moved, true),
        (&moved, &old, false),
        (&old, &new, false),
    ] {
        assert_eq!(works(one, two, Proof::Server), fits, "{one:?} and {two:?}");
    }
    let as_worker = || Proof::Worker("w1".into());
    assert!(works(&worker(&[2], "w1"), &moved, as_worker()));
    assert!(works(&worker(&[3, 2], "w1"), &both, as_worker()));
    assert!(!works(&worker(&[2], "w1"), &new, as_worker()));
}

#[test]
fn what_is_not_of_this_protocol_is_refused_at_once() {
    let ring = gossip(&[1]);
    let (_, hello) = End::initiate(1, &ring, Proof::Gossip, 0);
    let changed = |at: usize, byte: u8| {
        let mut hello = hello.clone();
        hello[at] = byte;
        hello
    };
    let longer = [&41u32.to_le_bytes()[..], &hello[4..], b"x"].concat();
    let max = (UNPROVED_MAX_BYTES - LENGTH_BYTES) as u32;
    for (bytes, error) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), StreamError::TooLong(0x2054_4547)),
        ((max + 1).to_le_bytes().to_vec(), StreamError::TooLong(max as usize + 1)),
        ([&max.to_le_bytes()[..], &vec![0; max as usize]].concat(), StreamError::NotOurs),
        (vec![0; 4], StreamError::NotOurs),
        (changed(4, b'x'), StreamError::NotOurs),
        (changed(6, 2), StreamError::Version(2)),
        (changed(7, 4), StreamError::NotOurs),
        (longer, StreamError::NotOurs),
        ([&hello[..5], &[0; 39]].concat(), StreamError::NotOurs),
    ] {
        let mut b = End::accept(2, &ring, 0);
        assert_eq!(b.error(&bytes), error, "{bytes:?}");
        assert_eq!(b.error(&hello), StreamError::Broken, "it is over");
    }
}

#[test]
fn no_peer_says_more_than_allowed_before_it_has_proved_itself() {
    let name = "x".repeat(NAME_MAX_BYTES);
    let ring = server(&[2]);
    let (_, hello) = End::initiate(1, &worker(&[2], &name), Proof::Worker(name), 0);
    let mut b = End::accept(2, &ring, 0);
    b.feed(&hello).unwrap();
    let left = UNPROVED_MAX_BYTES - hello.len() - LENGTH_BYTES;
    assert_eq!(b.error(&(left as u32 + 1).to_le_bytes()), StreamError::TooLong(left + 1));
    let mut b = End::accept(2, &ring, 0);
    b.feed(&hello).unwrap();
    let most = [&(left as u32).to_le_bytes()[..], &vec![0; left]].concat();
    assert_eq!(b.error(&most), StreamError::Forged);
}

#[test]
fn any_changed_bit_of_a_frame_ends_the_session() {
    let length = sealed(&mut shaken(0).first, b"frame").len();
    for bit in 0..length * 8 {
        let Done { mut first, mut second, .. } = shaken(0);
        let mut bad = sealed(&mut first, b"frame");
        bad[bit / 8] ^= 1 << (bit % 8);
        let good = sealed(&mut first, b"next");
        match opened(&mut second, &bad) {
            // The length grew: what follows is taken for the rest, and does not fit.
            Ok(None) => assert!(bit < 32 && second.end() == Err(StreamError::Truncated)),
            Ok(Some(frame)) => panic!("bit {bit} opens as {frame:?}"),
            Err(StreamError::Forged | StreamError::TooLong(_)) => {
                assert_eq!(opened(&mut second, &good), Err(StreamError::Broken));
            }
            Err(error) => panic!("bit {bit}: {error}"),
        }
    }
}

#[test]
fn a_frame_that_is_repeated_left_out_or_sent_back_is_refused() {
    type Attack = fn(&[Vec<u8>], Vec<u8>) -> Vec<u8>;
    let attacks: [(Attack, bool); 5] = [
        (|sent, _| sent[0].clone(), true),
        (|sent, _| [&sent[0][..], &sent[0]].concat(), false),
        (|sent, _| sent[1].clone(), false),
        (|_, own| own, false),
        (|sent, _| [&sent[1][..], &sent[0]].concat(), false),
    ];
    for (nth, (attack, passes)) in attacks.into_iter().enumerate() {
        let Done { mut first, mut second, .. } = shaken(0);
        let sent = [sealed(&mut first, b"a"), sealed(&mut first, b"b")];
        let own = sealed(&mut second, b"a");
        let bytes = attack(&sent, own);
        let mut input = bytes.as_slice();
        let result = (|| {
            while second.open(&mut input)?.is_some() {}
            Ok::<(), StreamError>(())
        })();
        let wanted = if passes { Ok(()) } else { Err(StreamError::Forged) };
        assert_eq!(result, wanted, "attack {nth}");
    }
    // Nor does a frame of another session with the same key pass, in either direction.
    let (mut one, mut other) = (shaken(0), shaken(1));
    let frame = sealed(&mut one.first, b"a");
    assert_eq!(opened(&mut other.second, &frame), Err(StreamError::Forged));
    assert_eq!(opened(&mut other.first, &frame), Err(StreamError::Forged));
}

#[test]
fn a_cut_inside_a_frame_is_seen_and_one_between_frames_is_none() {
    let Done { mut first, mut second, .. } = shaken(0);
    let frame = sealed(&mut first, b"frame");
    for byte in &frame[..frame.len() - 1] {
        assert_eq!(opened(&mut second, &[*byte]), Ok(None));
        assert_eq!(second.end(), Err(StreamError::Truncated));
    }
    assert_eq!(opened(&mut second, &frame[frame.len() - 1..]), Ok(Some(b"frame".to_vec())));
    assert_eq!(second.end(), Ok(()));
}

#[test]
fn a_frame_has_its_longest_length_and_no_more() {
    for (ring, overhead) in [(server(&[2]), TAG_BYTES), (Keyring::default(), 0)] {
        let Done { mut first, mut second, .. } = shake(&ring, &ring, ring.best(""), 0).unwrap();
        let mut out = vec![1, 2, 3];
        let frame = vec![7; FRAME_MAX_BYTES + 1];
        assert_eq!(first.seal(&frame, &mut out), Err(StreamError::TooLong(frame.len())));
        assert_eq!(out, [1, 2, 3]);
        first.seal(&frame[1..], &mut out).unwrap();
        assert_eq!(opened(&mut second, &out[3..]), Ok(Some(frame[1..].to_vec())));
        let length = FRAME_MAX_BYTES + overhead + 1;
        let error = StreamError::TooLong(length);
        assert_eq!(opened(&mut second, &(length as u32).to_le_bytes()), Err(error));
    }
}

#[test]
fn random_pieces_give_the_same_frames() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let Done { mut first, mut second, .. } = shaken(0);
        let mut bytes = Vec::new();
        let frames: Vec<Vec<u8>> = (0..30).map(|n| vec![n; rng.below(300) as usize]).collect();
        frames.iter().for_each(|frame| first.seal(frame, &mut bytes).unwrap());
        let (mut got, mut rest) = (Vec::new(), bytes.as_slice());
        while !rest.is_empty() {
            let (mut piece, after) = rest.split_at(rng.below(rest.len() as u64 + 1) as usize);
            while let Some(frame) = second.open(&mut piece).unwrap() {
                got.push(frame);
            }
            assert!(piece.is_empty(), "seed {seed}: all that is given is taken");
            rest = after;
        }
        assert_eq!(got, frames, "seed {seed}");
        assert_eq!(second.end(), Ok(()));
    }
}

#[test]
fn the_last_counter_of_a_session_is_used_and_then_none() {
    let Done { mut first, mut second, .. } = shaken(0);
    first.jump_to(u64::MAX);
    second.jump_to(u64::MAX);
    let frame = sealed(&mut first, b"last");
    assert_eq!(opened(&mut second, &frame), Ok(Some(b"last".to_vec())));
    let mut out = Vec::new();
    assert_eq!(first.seal(b"", &mut out), Err(StreamError::Exhausted));
    assert!(out.is_empty());
    assert_eq!(opened(&mut second, &frame), Err(StreamError::Exhausted));
}

#[test]
fn nothing_secret_is_shown() {
    let Done { first, .. } = shaken(0);
    let shown = format!("{first:?} {:?}", End::accept(2, &server(&[2]), 0).handshake);
    assert_eq!(shown.matches("Secret").count() + shown.matches("0x").count(), 0);
    assert!(shown.starts_with("Session with Identity") && shown.ends_with("first message"));
}
