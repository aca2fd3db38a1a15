//! The order of words, and the bytes of all messages.

use super::*;
use std::cmp::Ordering;

#[test]
fn a_later_boot_then_a_later_incarnation_then_the_graver_state_wins() {
    use State::{Alive, Dead, Left, Suspect};
    // Each row is newer than all rows above it.
    let rows = [
        (1, 0, Alive),
        (1, 0, Suspect),
        (1, 0, Dead),
        (1, 0, Left),
        (1, 1, Alive),
        (1, 1, Suspect),
        (1, 2, Alive),
        (1, INCARNATION_MAX, Left),
        (2, 0, Alive),
        (2, 0, Dead),
        (BOOT_MAX, 0, Alive),
    ];
    let words = rows.map(|(boot, incarnation, state)| word(9, boot, incarnation, state));
    for (i, a) in words.iter().enumerate() {
        for (j, b) in words.iter().enumerate() {
            assert_eq!(a.order(b), i.cmp(&j), "{a:?} {b:?}");
            assert_eq!(a.is_newer_than(b), i > j);
        }
        let other_meta = Update { meta: 5, ..*a };
        assert_eq!(a.order(&other_meta), Ordering::Equal, "the description is no part of it");
    }
}

fn samples() -> Vec<Vec<u8>> {
    let mut head = header(2, BOOT_MAX);
    head.leader = Some((Epoch(u64::MAX), id(3)));
    let words = [word(4, 3, 7, State::Suspect), word(5, 1, INCARNATION_MAX, State::Left)];
    let mut v6 = card(6, 2, 9);
    v6.meta.address = "[2001:db8::1]:9".parse().unwrap();
    v6.meta.tags.clear();
    let (seq, target, origin, subject) = (9, id(1), id(2), id(4));
    let bodies = [
        Body::Ping { seq, target, origin },
        Body::PingFor { seq, target },
        Body::Ack { seq, subject, origin },
        Body::Ask(vec![id(4), id(5)]),
        Body::Cards(vec![card(4, 1, 1), v6]),
        Body::News,
    ];
    bodies.into_iter().map(|body| datagram(head, body, &words)).collect()
}

type Recode = fn(&[u8]) -> Option<Vec<u8>>;

fn recode(bytes: &[u8]) -> Option<Vec<u8>> {
    Datagram::decode(bytes).ok().map(|datagram| datagram.encode())
}

fn recode_list(bytes: &[u8]) -> Option<Vec<u8>> {
    List::decode(bytes).ok().map(|list| list.encode())
}

#[test]
fn what_is_decoded_is_encoded_to_the_same_bytes_whatever_was_damaged() {
    let list = list(2, 2..6, true);
    let mut rows: Vec<(Vec<u8>, Recode)> = vec![(list, recode_list)];
    rows.extend(samples().into_iter().map(|bytes| (bytes, recode as Recode)));
    for (bytes, recode) in rows {
        assert_eq!(recode(&bytes).as_ref(), Some(&bytes));
        for end in 0..bytes.len() {
            let prefix = &bytes[..end];
            assert!(recode(prefix).is_none_or(|again| again == prefix), "{end} bytes");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(recode(&flipped).is_none_or(|again| again == flipped), "{at} {bit}");
            }
        }
        assert_eq!(recode(&[&bytes[..], &[1]].concat()), None, "a byte behind the end");
    }
}

#[test]
fn a_word_takes_16_bytes_and_a_head_38() {
    let bare = datagram(header(2, 1), Body::News, &[]);
    assert_eq!(bare.len(), HEADER_BYTES);
    assert_eq!(HEADER_BYTES, 38);
    let one = datagram(header(2, 1), Body::News, &[word(3, 1, 1, State::Dead)]);
    assert_eq!(one.len() - bare.len(), 16);
    assert_eq!(updates_that_fit(&Body::News), 67);
}

#[test]
fn what_no_node_says_is_refused() {
    let good = datagram(header(2, 1), Body::News, &[]);
    for (what, at, value) in [
        ("another version", 0, 2),
        ("no kind", 1, 0),
        ("the kind of a list", 1, 7),
        ("a kind to come", 1, 9),
        ("a sender that suspects itself", 20, 1),
        ("a sender that is dead", 20, 2),
        ("a leader's epoch without a leader", 26, 1),
    ] {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert!(Datagram::decode(&bytes).is_err(), "{what}");
    }
    let refused = |change: fn(&mut Card)| {
        let mut card = card(4, 1, 1);
        change(&mut card);
        assert!(card.check().is_err(), "{card:?}");
        assert!(Datagram::decode(&datagram(header(2, 1), Body::Cards(vec![card]), &[])).is_err());
    };
    refused(|card| card.version = 0);
    refused(|card| card.meta.name = "no name".into());
    refused(|card| card.meta.address.set_port(0));
    for ip in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        let mut card = card(4, 1, 1);
        card.meta.address.set_ip(ip.parse().unwrap());
        assert!(card.check().is_err(), "{ip}");
    }
}
