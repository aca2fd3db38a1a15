//! What strangers send to the cluster's port.

use bellwether::cluster::seal::{
    Cookies, DATAGRAM_MAX_BYTES, FRAME_MAX_BYTES, Handshake, Identity, KEYS_MAX, Keyring, Keys,
    Opener, Proof, Purpose, Sealer, Session, StreamError, generate,
};
use bellwether::ident::{Boot, ClusterId, NodeId, StoreId};
use bellwether::time::Mono;

const CLUSTER: ClusterId = ClusterId(7);
const FRAMES: [&[u8]; 2] = [b"first", b""];

/// The first byte chooses who gets the rest. Who has keys accepts nothing that was not sealed with
/// them: neither any bytes, nor what was sealed and then changed. Who has none takes what it
/// understands, and no more of it than is allowed.
pub(crate) fn seal_open(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    match choice % 7 {
        0 => any_datagram(rest),
        1 => any_stream(&sealed_ring(), rest),
        2 => any_stream(&Keyring::default(), rest),
        3 => any_frames(rest),
        4 => changed_datagram(rest),
        5 => changed_stream(rest),
        _ => any_keys(&String::from_utf8_lossy(rest)),
    }
}

fn any_datagram(bytes: &[u8]) {
    for keys in [sealed_ring().gossip, None] {
        let is_keyed = keys.is_some();
        let mut opener = Opener::new(node(2), CLUSTER, keys, [9; 32]);
        match opener.open(&mut bytes.to_vec(), Mono(1)) {
            Ok(opened) => {
                assert!(!is_keyed, "nobody sealed it");
                assert!(!opened.verified && opened.answer.challenge.is_some());
                assert!(opened.payload.len() < DATAGRAM_MAX_BYTES);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        assert_eq!(opener.peers(), 0, "nobody proved to be alive");
    }
}

/// Each end of a handshake gets the bytes. Without keys they may be a handshake.
fn any_stream(ring: &Keyring, bytes: &[u8]) {
    let begun = begin(ring, &mut Vec::new());
    let waiting = Handshake::accept(identity(2), [2; 32]);
    for (me, mut handshake) in [(node(1), begun), (node(2), waiting)] {
        let mut input = bytes;
        match handshake.take(ring, &mut input, &mut Vec::new()) {
            Ok(Some(mut session)) => {
                assert!(ring.is_empty(), "nobody proved to hold the key");
                assert_ne!(session.peer.node, me);
                let _ = read_all(&mut session, input);
            }
            Ok(None) => assert!(input.is_empty(), "what is not an error is taken"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn any_frames(bytes: &[u8]) {
    let mut session = talk().2;
    let (frames, _) = read_all(&mut session, bytes);
    assert!(frames.is_empty(), "nobody sealed it");
}

/// Each three bytes change a good datagram: the place, and the new byte.
fn changed_datagram(edits: &[u8]) {
    let keys = sealed_ring().gossip;
    let mut sealer = Sealer::new(node(1), Boot(1), 3, CLUSTER, keys.as_ref());
    let mut good = Vec::new();
    let sealed = sealer.seal(Some(node(2)), Cookies::default(), b"payload", &mut good);
    assert_eq!(sealed, Ok(()));
    let mut bytes = edited(&good, edits);
    let is_good = bytes == good;
    let mut opener = Opener::new(node(2), CLUSTER, keys, [9; 32]);
    match opener.open(&mut bytes, Mono(1)) {
        Ok(opened) => assert!(is_good && opened.payload == b"payload"),
        Err(error) => assert!(!is_good, "{error}"),
    }
}

/// The same with all that an initiator says, two frames included.
fn changed_stream(edits: &[u8]) {
    let ring = sealed_ring();
    let (good, said, _) = talk();
    let bytes = edited(&good, edits);
    let mut input = bytes.as_slice();
    let mut acceptor = Handshake::accept(identity(2), [2; 32]);
    let Ok(Some(mut session)) = acceptor.take(&ring, &mut input, &mut Vec::new()) else {
        assert_ne!(bytes[..said], good[..said]);
        return;
    };
    assert_eq!(bytes[..said], good[..said], "a changed handshake is none");
    assert_eq!(session.peer, identity(1));
    let (frames, error) = read_all(&mut session, input);
    assert!(frames.iter().zip(FRAMES).all(|(got, sent)| got == sent), "{frames:?}");
    let is_whole = frames.len() == FRAMES.len() && error.is_none() && session.end().is_ok();
    assert_eq!(is_whole, bytes == good);
}

fn any_keys(text: &str) {
    match Keys::parse(text, Purpose::Gossip) {
        Ok(keys) => assert!((1..=KEYS_MAX).contains(&keys.ids().count())),
        Err(error) => {
            let lines = text.lines().count().max(1);
            assert!((1..=lines).contains(&error.line), "{error}");
            let line = text.lines().nth(error.line - 1).unwrap_or_default();
            assert!((1..=line.len() + 1).contains(&error.column), "{error}");
        }
    }
}

/// All that an initiator says, how much of it is the handshake, and its acceptor's session before
/// the frames.
fn talk() -> (Vec<u8>, usize, Session) {
    let ring = sealed_ring();
    let mut said = Vec::new();
    let mut initiator = begin(&ring, &mut said);
    let mut acceptor = Handshake::accept(identity(2), [2; 32]);
    let mut reply = Vec::new();
    let first = acceptor.take(&ring, &mut said.as_slice(), &mut reply);
    assert!(matches!(first, Ok(None)));
    let finish_at = said.len();
    let ours = initiator.take(&ring, &mut reply.as_slice(), &mut said);
    let mut ours = ours.ok().flatten().expect("the answer is good");
    let theirs = acceptor.take(&ring, &mut &said[finish_at..], &mut Vec::new());
    let theirs = theirs.ok().flatten().expect("the last message is good");
    let handshake = said.len();
    for frame in FRAMES {
        assert_eq!(ours.seal(frame, &mut said), Ok(()));
    }
    (said, handshake, theirs)
}

fn begin(ring: &Keyring, out: &mut Vec<u8>) -> Handshake {
    let proof = ring.best("n");
    assert_eq!(proof == Proof::Clear, ring.is_empty());
    let begun = Handshake::initiate(identity(1), None, proof, ring, [1; 32], out);
    begun.expect("the ring has the key")
}

fn read_all(session: &mut Session, mut input: &[u8]) -> (Vec<Vec<u8>>, Option<StreamError>) {
    let mut frames = Vec::new();
    loop {
        match session.open(&mut input) {
            Ok(Some(frame)) => {
                assert!(frame.len() <= FRAME_MAX_BYTES);
                frames.push(frame);
            }
            Ok(None) => {
                assert!(input.is_empty(), "what is not an error is taken");
                return (frames, None);
            }
            Err(error) => {
                assert_eq!(session.open(&mut input), Err(StreamError::Broken));
                return (frames, Some(error));
            }
        }
    }
}

fn edited(good: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for edit in edits.chunks_exact(3) {
        let [low, high, byte] = edit else { continue };
        let at = usize::from(u16::from_le_bytes([*low, *high])) % (bytes.len() + 1);
        match bytes.get_mut(at) {
            Some(there) => *there = *byte,
            None => bytes.push(*byte),
        }
    }
    bytes
}

fn sealed_ring() -> Keyring {
    let keys = |byte, purpose| Keys::parse(&generate([byte; 32]), purpose).ok();
    let (gossip, server) = (keys(1, Purpose::Gossip), keys(2, Purpose::Server));
    Keyring { gossip, server, worker: None }
}

fn identity(number: u32) -> Identity {
    Identity { node: node(number), store: StoreId(4), boot: Boot(5), cluster: CLUSTER }
}

fn node(number: u32) -> NodeId {
    NodeId::new(number).expect("it is not 0")
}
