use super::*;
use crate::cluster::seal::crypto::TAG_BYTES;
use crate::cluster::seal::datagram::{PAYLOAD_MAX_BYTES, SealError, Sealer};
use crate::cluster::seal::keys::{Purpose, generate};
use crate::cluster::seal::window::WINDOW_COUNTERS;
use crate::mistake::Making;
use crate::rng::Rng;
use std::collections::HashSet;
use std::time::Duration;

const CLUSTER: ClusterId = ClusterId(77);

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

/// The keys made of these bytes, the first of which seals.
fn keys(bytes: &[u8]) -> Option<Keys> {
    let lines: Vec<String> = bytes.iter().map(|&byte| generate([byte; 32])).collect();
    Some(Keys::parse(&lines.join("\n"), Purpose::Gossip).unwrap())
}

fn at(seconds: u64) -> Mono {
    Mono(3_600_000_000_000) + Duration::from_secs(seconds)
}

/// A node's two halves.
struct End {
    id: NodeId,
    sealer: Sealer,
    opener: Opener,
}

impl End {
    fn new(id: u32, boot: u64, keys: Option<Keys>) -> End {
        End::in_cluster(id, boot, keys, CLUSTER)
    }

    fn in_cluster(id: u32, boot: u64, keys: Option<Keys>, cluster: ClusterId) -> End {
        let salt = u64::from(id) << 32 | boot;
        let sealer = Sealer::new(node(id), Boot(boot), salt, cluster, keys.as_ref());
        let opener = Opener::new(node(id), cluster, keys, [id as u8; KEY_BYTES]);
        End { id: node(id), sealer, opener }
    }

    fn seal(&mut self, to: u32, payload: &[u8]) -> Vec<u8> {
        self.seal_with(NodeId::new(to), Cookies::default(), payload)
    }

    fn seal_with(&mut self, to: Option<NodeId>, cookies: Cookies, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.sealer.seal(to, cookies, payload, &mut out).unwrap();
        out
    }

    /// Whether it is verified, or why it is dropped.
    fn open(&mut self, datagram: &[u8], now: Mono) -> Result<bool, DatagramError> {
        self.opener.open(&mut datagram.to_vec(), now).map(|opened| opened.verified)
    }

    fn answer(&mut self, datagram: &[u8], now: Mono) -> Cookies {
        self.opener.open(&mut datagram.to_vec(), now).unwrap().answer
    }
}

/// Lets `a` and `b` get to know each other as the module says: each answer that is due is sent.
/// Returns what travelled.
fn meet(a: &mut End, b: &mut End, now: Mono) -> Vec<Vec<u8>> {
    let mut sent = vec![a.seal_with(None, Cookies::default(), b"ping")];
    let mut ends = [a, b];
    loop {
        ends.swap(0, 1);
        let [receiver, sender] = &mut ends;
        let cookies = receiver.answer(sent.last().unwrap(), now);
        if cookies.is_empty() {
            return sent;
        }
        assert!(sent.len() < 6, "they never come to an end");
        let to = Some(sender.id);
        sent.push(receiver.seal_with(to, cookies, b""));
    }
}

fn pair(keys_of_both: &[u8]) -> (End, End) {
    let (mut a, mut b) = (End::new(1, 5, keys(keys_of_both)), End::new(2, 6, keys(keys_of_both)));
    meet(&mut a, &mut b, at(0));
    (a, b)
}

#[test]
fn what_is_sealed_is_opened_with_all_that_it_says() {
    let (mut a, mut b) = pair(&[1]);
    let payload = vec![9; PAYLOAD_MAX_BYTES];
    let mut bytes = a.seal(2, &payload);
    assert!(bytes.len() <= DATAGRAM_MAX_BYTES);
    assert!(!bytes.windows(8).any(|part| part == [9; 8]), "readable");
    let opened = b.opener.open(&mut bytes, at(1)).unwrap();
    assert_eq!((opened.sender, opened.boot, opened.cluster), (node(1), Boot(5), CLUSTER));
    assert_eq!(opened.payload, payload);
    assert_eq!(opened.key, a.sealer.key());
    assert!(opened.verified && opened.answer.is_empty());
}

#[test]
fn strangers_know_each_other_after_one_exchange_of_cookies() {
    for keys in [keys(&[1]), None] {
        let (mut a, mut b) = (End::new(1, 5, keys.clone()), End::new(2, 6, keys));
        assert_eq!(meet(&mut a, &mut b, at(0)).len(), 4);
        for _ in 0..3 {
            assert_eq!(b.open(&a.seal(2, b"x"), at(1)), Ok(true));
            assert_eq!(a.open(&b.seal(1, b"x"), at(1)), Ok(true));
        }
        // With nothing more to prove, nothing but the payload travels.
        assert_eq!(meet(&mut a, &mut b, at(1)).len(), 3, "the first has no address");
    }
}

#[test]
fn any_changed_bit_and_any_missing_or_added_byte_is_refused() {
    let (mut a, mut b) = pair(&[1]);
    let good = a.seal(2, b"payload");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = b.open(&bad, at(1)).expect_err("a changed bit");
        let wanted = match bit / 8 {
            0..2 => DatagramError::NotOurs,
            2 => DatagramError::Version(bad[2]),
            3 if bad[3] == CLEAR => DatagramError::Clear,
            3 => DatagramError::NotOurs,
            4..8 => DatagramError::UnknownKey(KeyId(bad[4..8].try_into().unwrap())),
            // Another sender's number may be none at all, which 1 without its bit is.
            8 if bad[8] == 0 => DatagramError::NotOurs,
            _ => DatagramError::Forged,
        };
        assert_eq!(error, wanted, "bit {bit}");
    }
    for end in 0..good.len() {
        assert!(b.open(&good[..end], at(1)).is_err(), "{end} bytes");
    }
    assert_eq!(b.open(&[good.as_slice(), &[0]].concat(), at(1)), Err(DatagramError::Forged));
    assert_eq!(b.open(&good, at(1)), Ok(true), "none of this spent the counter");
}

#[test]
fn limits_hold_to_the_byte() {
    let (mut a, mut b) = pair(&[1]);
    let mut out = vec![1];
    let long = vec![0; PAYLOAD_MAX_BYTES + 1];
    let error = a.sealer.seal(Some(node(2)), Cookies::default(), &long, &mut out);
    assert_eq!(error, Err(SealError::TooLong(long.len())));
    assert!(out.is_empty());
    let cookies = a.answer(&End::new(3, 1, keys(&[1])).seal(1, b""), at(0));
    let both = Cookies { echo: cookies.challenge, ..cookies };
    let longest = a.seal_with(Some(node(2)), both, &long[1..]);
    assert_eq!(longest.len(), DATAGRAM_MAX_BYTES);
    assert!(b.open(&longest, at(1)).is_ok());
    assert_eq!(b.open(&vec![0; DATAGRAM_MAX_BYTES], at(1)), Err(DatagramError::NotOurs));
    assert_eq!(b.open(&vec![0; DATAGRAM_MAX_BYTES + 1], at(1)), Err(DatagramError::TooLong));
}

#[test]
fn each_datagram_is_opened_once_in_any_order() {
    for seed in 0..8 {
        let (mut a, mut b) = pair(&[1]);
        let mut rng = Rng::new(seed);
        let sent: Vec<Vec<u8>> = (0..3_000u32).map(|n| a.seal(2, &n.to_le_bytes())).collect();
        let (mut seen, mut newest) = (HashSet::new(), 0);
        for step in 0..6_000u64 {
            let near = (step / 2).saturating_sub(1_200) + rng.below(1_400);
            let n = near.min(sent.len() as u64 - 1);
            newest = newest.max(n);
            let wanted = newest - n < WINDOW_COUNTERS && seen.insert(n);
            let result = b.open(&sent[n as usize], at(step / 100));
            let expected = if wanted { Ok(true) } else { Err(DatagramError::Replayed) };
            assert_eq!(result, expected, "seed {seed} step {step}: {n}");
        }
    }
}

#[test]
fn without_a_window_a_replay_passes() {
    for (mistake, second) in
        [(None, Err(DatagramError::Replayed)), (Some(Mistake::ReplayWindowOff), Ok(true))]
    {
        let _making = Making::new(mistake);
        let (mut a, mut b) = pair(&[1]);
        let datagram = a.seal(2, b"");
        assert_eq!(b.open(&datagram, at(1)), Ok(true));
        assert_eq!(b.open(&datagram, at(600)), second);
    }
}

#[test]
fn a_recording_is_never_more_than_unverified() {
    let (mut a, mut b) = (End::new(1, 5, keys(&[1])), End::new(2, 6, keys(&[1])));
    let mut recorded = meet(&mut a, &mut b, at(0));
    recorded.extend((0..20).map(|n| a.seal(2, &[n])));
    // The receiver starts again, twice, and has forgotten everything.
    for boot in [7, 8] {
        let mut restarted = End::new(2, boot, keys(&[1]));
        restarted.opener = Opener::new(node(2), CLUSTER, keys(&[1]), [boot as u8 + 9; KEY_BYTES]);
        for _ in 0..2 {
            for datagram in &recorded {
                // Its own datagrams come back as well.
                let opened = restarted.open(datagram, at(1));
                assert!(matches!(opened, Ok(false) | Err(DatagramError::Own)), "{opened:?}");
            }
        }
        assert_eq!(restarted.opener.peers(), 0, "a recording leaves nothing");
        meet(&mut a, &mut restarted, at(2));
        for datagram in &recorded {
            let opened = restarted.open(datagram, at(3));
            let refused =
                matches!(opened, Err(DatagramError::Replayed | DatagramError::Own) | Ok(false));
            assert!(refused, "sealed before they met: {opened:?}");
        }
        assert_eq!(restarted.open(&a.seal(2, b"now"), at(3)), Ok(true));
    }
}

#[test]
fn a_cookie_is_for_one_life_of_one_sender_and_soon_stale() {
    let (mut a, mut b) = (End::new(1, 5, keys(&[1])), End::new(2, 6, keys(&[1])));
    let start = at(0);
    let half = COOKIE_LIFE / 2;
    let challenge = b.answer(&a.seal(2, b""), start).challenge;
    let echo = Cookies { challenge: None, echo: challenge };
    let mut other_node = End::new(3, 5, keys(&[1]));
    let mut other_boot = End::new(1, 6, keys(&[1]));
    let mut other_salt = End::new(1, 5, keys(&[1]));
    other_salt.sealer = Sealer::new(node(1), Boot(5), 99, CLUSTER, keys(&[1]).as_ref());
    for other in [&mut other_node, &mut other_boot, &mut other_salt] {
        let datagram = other.seal_with(Some(node(2)), echo, b"");
        assert_eq!(b.open(&datagram, start), Ok(false), "{:?}", other.sealer);
    }
    let unaddressed = a.seal_with(None, echo, b"");
    assert_eq!(b.open(&unaddressed, start), Ok(false), "it may have been sealed for anybody");
    let datagram = a.seal_with(Some(node(2)), echo, b"");
    assert_eq!(b.open(&datagram, start + COOKIE_LIFE), Ok(false), "stale");
    assert_eq!(b.opener.peers(), 0);
    assert_eq!(b.open(&datagram, start + half), Ok(true));
    let after = start + half + Duration::from_secs(1);
    assert_eq!(b.open(&datagram, after), Err(DatagramError::Replayed));
}

#[test]
fn a_recorded_echo_is_no_proof_once_its_sender_was_forgotten() {
    let (mut a, mut b) = (End::new(1, 5, keys(&[1])), End::new(2, 6, keys(&[1])));
    let recorded = meet(&mut a, &mut b, at(0));
    let later = at(0) + COOKIE_LIFE;
    b.opener.peers.clear();
    for datagram in recorded.iter().step_by(2) {
        assert_eq!(b.open(datagram, later), Ok(false));
    }
}

#[test]
fn a_lower_boot_is_refused_and_a_higher_one_must_prove_itself() {
    let (mut a, mut b) = pair(&[1]);
    let mut older = End::new(1, 4, keys(&[1]));
    assert_eq!(b.open(&older.seal(2, b""), at(1)), Err(DatagramError::OldBoot));
    let mut newer = End::new(1, 9, keys(&[1]));
    assert_eq!(b.open(&newer.seal(2, b""), at(1)), Ok(false));
    assert_eq!(b.open(&a.seal(2, b""), at(1)), Ok(true), "the other proved nothing yet");
    meet(&mut newer, &mut b, at(2));
    assert_eq!(b.open(&newer.seal(2, b""), at(2)), Ok(true));
    assert_eq!(b.open(&a.seal(2, b""), at(2)), Err(DatagramError::OldBoot));
    assert_eq!(b.opener.peers(), 1);
}

#[test]
fn a_second_node_with_the_same_number_and_boot_is_seen() {
    let (_, mut b) = pair(&[1]);
    let mut copy = Sealer::new(node(1), Boot(5), 1_234, CLUSTER, keys(&[1]).as_ref());
    let mut out = Vec::new();
    copy.seal(Some(node(2)), Cookies::default(), b"", &mut out).unwrap();
    assert_eq!(b.open(&out, at(1)), Err(DatagramError::Twin));
    copy.seal(Some(node(1)), Cookies::default(), b"", &mut out).unwrap();
    let mut first = End::new(1, 5, keys(&[1]));
    assert_eq!(first.open(&out, at(1)), Err(DatagramError::Own));
}

#[test]
fn what_was_sealed_for_another_node_is_refused() {
    let (mut a, mut b) = pair(&[1]);
    let mut c = End::new(3, 5, keys(&[1]));
    meet(&mut a, &mut c, at(0));
    let to_c = a.seal(3, b"");
    assert_eq!(b.open(&to_c, at(1)), Err(DatagramError::Misdirected));
    assert_eq!(c.open(&to_c, at(1)), Ok(true));
    // Without an address it is opened, but believed by nobody.
    let to_whoever = a.seal(0, b"");
    assert_eq!(b.open(&to_whoever, at(1)), Ok(false));
    assert_eq!(b.open(&to_whoever, at(1)), Err(DatagramError::Replayed));
}

#[test]
fn another_cluster_is_refused_and_a_node_without_one_is_not() {
    let member = || End::new(2, 6, keys(&[1]));
    let mut joining = End::in_cluster(1, 5, keys(&[1]), ClusterId(0));
    let mut foreign = End::in_cluster(1, 5, keys(&[1]), ClusterId(78));
    let error = DatagramError::Foreign(ClusterId(78));
    assert_eq!(member().open(&foreign.seal(2, b""), at(0)), Err(error));
    assert_eq!(member().open(&joining.seal(2, b""), at(0)), Ok(false));
    assert_eq!(joining.open(&member().seal(1, b""), at(0)), Ok(false));
    let mut bytes = joining.seal(2, b"");
    assert_eq!(member().opener.open(&mut bytes, at(0)).unwrap().cluster, ClusterId(0));
    joining.sealer.set_cluster(CLUSTER);
    joining.opener.set_cluster(CLUSTER);
    assert_eq!(joining.open(&foreign.seal(1, b""), at(0)), Err(DatagramError::Own));
    assert_eq!(joining.open(&member().seal(1, b""), at(0)), Ok(false));
    let mut foreign = End::in_cluster(3, 5, keys(&[1]), ClusterId(78));
    assert_eq!(joining.open(&foreign.seal(1, b""), at(0)), Err(error));
}

#[test]
fn another_key_and_no_key_are_refused_on_both_sides() {
    let mut sealed = End::new(1, 5, keys(&[1]));
    let mut other = End::new(2, 5, keys(&[2]));
    let mut clear = End::new(3, 5, None);
    let id = sealed.sealer.key().unwrap();
    assert_eq!(other.open(&sealed.seal(2, b""), at(0)), Err(DatagramError::UnknownKey(id)));
    assert_eq!(sealed.open(&clear.seal(1, b""), at(0)), Err(DatagramError::Clear));
    assert_eq!(clear.open(&sealed.seal(3, b""), at(0)), Err(DatagramError::Sealed));
    assert_eq!(clear.sealer.key(), None);
    // A key with the id of an accepted one is still another key.
    let mut named = sealed.seal(2, b"");
    named[4..8].copy_from_slice(&other.sealer.key().unwrap().0);
    assert_eq!(other.open(&named, at(0)), Err(DatagramError::Forged));
}

#[test]
fn keys_are_changed_while_a_node_is_away() {
    let (mut a, mut b) = pair(&[1]);
    let mut away = End::new(3, 5, keys(&[1]));
    meet(&mut a, &mut away, at(0));
    let change = |end: &mut End, bytes: &[u8]| {
        end.sealer.set_keys(keys(bytes).as_ref());
        end.opener.set_keys(keys(bytes));
    };
    let both_ways = |a: &mut End, b: &mut End, now: Mono| {
        let (there, back) = (a.seal(b.id.get(), b""), b.seal(a.id.get(), b""));
        (b.open(&there, now), a.open(&back, now))
    };
    for (step, lists) in
        [[&[1, 2][..], &[1]], [&[1, 2], &[1, 2]], [&[2, 1], &[1, 2]], [&[2, 1], &[2, 1]]]
            .into_iter()
            .enumerate()
    {
        change(&mut a, lists[0]);
        change(&mut b, lists[1]);
        let now = at(1 + step as u64);
        assert_eq!(both_ways(&mut a, &mut b, now), (Ok(true), Ok(true)), "step {step}");
    }
    let mut bytes = a.seal(2, b"");
    let new = keys(&[2]).unwrap().ids().next();
    assert_eq!(
        b.opener.open(&mut bytes, at(6)).unwrap().key,
        new,
        "it is seen who has the new key"
    );
    // The node that slept through it is heard as long as the old key stays, but hears nothing.
    let id = new.unwrap();
    let both = both_ways(&mut a, &mut away, at(7));
    assert_eq!(both, (Err(DatagramError::UnknownKey(id)), Ok(true)));
    change(&mut a, &[2]);
    let old = away.sealer.key().unwrap();
    assert_eq!(a.open(&away.seal(1, b""), at(8)), Err(DatagramError::UnknownKey(old)));
    change(&mut away, &[1, 2]);
    assert_eq!(away.open(&a.seal(3, b""), at(9)), Ok(true));
}

#[test]
fn a_key_that_comes_back_never_meets_a_counter_twice() {
    let (one, two) = (keys(&[1]), keys(&[2]));
    let mut sealer = Sealer::new(node(1), Boot(1), 7, CLUSTER, one.as_ref());
    let mut out = Vec::new();
    let mut headers = HashSet::new();
    for keys in [&one, &two, &one, &None, &one] {
        sealer.set_keys(keys.as_ref());
        for _ in 0..3 {
            sealer.seal(None, Cookies::default(), b"same", &mut out).unwrap();
            assert!(headers.insert(out[..HEADER_BYTES].to_vec()));
        }
    }
    // Another salt is another key, so the same counter is no repetition.
    let text = |salt| {
        let mut out = Vec::new();
        let mut sealer = Sealer::new(node(1), Boot(1), salt, CLUSTER, keys(&[1]).as_ref());
        sealer.seal(None, Cookies::default(), b"same", &mut out).unwrap();
        out[HEADER_BYTES..out.len() - TAG_BYTES].to_vec()
    };
    assert_ne!(text(1), text(2));
}

#[test]
fn the_last_counter_is_used_and_then_none() {
    let mut sealer = Sealer::new(node(1), Boot(1), 7, CLUSTER, keys(&[1]).as_ref());
    sealer.jump_to(u64::MAX);
    let mut out = Vec::new();
    let mut seal = || sealer.seal(None, Cookies::default(), b"", &mut out);
    assert_eq!(seal(), Ok(()));
    assert_eq!(seal(), Err(SealError::Exhausted));
    assert_eq!(seal(), Err(SealError::Exhausted));
}

/// Makes `opener` know the sender `id`, as an exchange of cookies would.
fn introduce(end: &mut End, id: u32, now: Mono) -> Result<bool, DatagramError> {
    let mut sender = End::new(id, 1, keys(&[1]));
    let first = sender.seal(end.id.get(), b"");
    let echo = Cookies { challenge: None, echo: end.answer(&first, now).challenge };
    let second = sender.seal_with(Some(end.id), echo, b"");
    end.open(&second, now)
}

#[test]
fn no_flood_makes_an_opener_grow() {
    let mut end = End::new(1, 1, keys(&[1]));
    let peers = PEERS_MAX as u32;
    for id in 2..2 + 3 * peers {
        let mut sender = End::new(id, 1, keys(&[1]));
        assert_eq!(end.open(&sender.seal(1, b""), at(0)), Ok(false));
    }
    assert_eq!(end.opener.peers(), 0, "nothing is kept of who proved nothing");
    for id in 2..2 + peers {
        assert_eq!(introduce(&mut end, id, at(0)), Ok(true));
    }
    let late = at(0) + (COOKIE_LIFE - Duration::from_nanos(1));
    assert_eq!(introduce(&mut end, 90_000, late), Err(DatagramError::Full));
    let mut known = End::new(2, 1, keys(&[1]));
    known.sealer.jump_to(10);
    assert_eq!(end.open(&known.seal(1, b""), late), Ok(true), "who is known stays");
    assert_eq!(introduce(&mut end, 90_000, at(0) + COOKIE_LIFE), Ok(true));
    assert_eq!(end.opener.peers(), PEERS_MAX);
    assert_eq!(end.open(&known.seal(1, b""), late), Ok(true), "the silent went, not who spoke");
}

#[test]
fn sealed_nonsense_is_refused_without_a_trace() {
    let mut end = End::new(1, 1, keys(&[1]));
    let origin = Origin { sender: node(2), boot: Boot(1), salt: 3 };
    let key = keys(&[1]).unwrap();
    let cipher = origin.cipher(Some(key.first()));
    let good = End::new(2, 1, keys(&[1])).seal(1, b"")[..HEADER_BYTES].to_vec();
    for inner in [
        &[][..],
        &[0; 12],
        &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4],
        &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3],
        &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 1],
    ] {
        let mut bytes = good.clone();
        bytes[20..28].copy_from_slice(&3u64.to_le_bytes());
        bytes.extend_from_slice(inner);
        cipher.seal(1, &mut bytes, 0..HEADER_BYTES);
        assert_eq!(end.open(&bytes, at(0)), Err(DatagramError::Malformed), "{inner:?}");
    }
    assert_eq!(end.opener.peers(), 0);
}
