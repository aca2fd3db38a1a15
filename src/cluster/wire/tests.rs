use super::*;
use crate::rng::Rng;

fn node(id: u32) -> NodeId {
    NodeId::new(id).unwrap()
}

fn place(epoch: u64, index: u64) -> Place {
    Place { epoch: Epoch(epoch), index: Index(index) }
}

fn raw(epoch: u64, index: u64, payload: &[u8]) -> Raw {
    Raw { index: Index(index), epoch: Epoch(epoch), kind: 6, payload: payload.to_vec() }
}

fn append(prev: Place, records: Vec<Raw>) -> Envelope {
    let append = Append { prev, records, commit: Index(8), round: 3 };
    Envelope { epoch: Epoch(5), message: Message::Append(append) }
}

fn framed(envelope: &Envelope) -> Vec<u8> {
    envelope.frame(node(0xabc), Index(7)).unwrap()
}

fn read(frame: &[u8]) -> Result<Envelope, WireError> {
    let (header, body) = Header::read(frame)?;
    Envelope::read(&header, body)
}

/// One of each kind, with the body that it has on the wire. The bytes are kept by nodes of every
/// version that can be in one cluster: a change here is a change of [`VERSION`].
fn all() -> Vec<(Message, &'static str)> {
    let records = vec![raw(4, 10, b"ab"), raw(5, 11, b"")];
    let append = Append { prev: place(4, 9), records, commit: Index(8), round: 3 };
    vec![
        (
            Message::Probe { nonce: 17, tail: place(4, 9) },
            "1100000000000000 0400000000000000 0900000000000000",
        ),
        (
            Message::ProbeAnswer {
                nonce: 17,
                promised: Epoch(5),
                log_ok: true,
                sticky: false,
                outranks: true,
            },
            "1100000000000000 0500000000000000 01 00 01",
        ),
        (
            Message::Candidacy { tail: place(4, 9), transfer_of: Some(Epoch(4)) },
            "0400000000000000 0900000000000000 01 0400000000000000",
        ),
        (Message::Vote { granted: true, promised: Epoch(5) }, "01 0500000000000000"),
        (
            Message::Append(append),
            "0400000000000000 0900000000000000 0800000000000000 0300000000000000 02000000 \
             0400000000000000 06 02000000 6162 0500000000000000 06 00000000",
        ),
        (
            Message::Ack { matched: Index(9), round: 3, wall: Wall(-1) },
            "0900000000000000 0300000000000000 ffffffffffffffff",
        ),
        (
            Message::Conflict { prev: Index(9), found: place(3, 7), first: Index(6) },
            "0900000000000000 0300000000000000 0700000000000000 0600000000000000",
        ),
        (Message::Stale { promised: Epoch(6) }, "0600000000000000"),
        (Message::Transfer, ""),
    ]
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn each_message_has_the_bytes_that_it_always_had() {
    for (number, (message, body)) in (1..).zip(all()) {
        let envelope = Envelope { epoch: Epoch(5), message };
        let header = format!("{number:02x} 01 0000 bc0a0000 0500000000000000 0700000000000000");
        let frame = bytes_of(&format!("{header}{body}"));
        assert_eq!(framed(&envelope), frame, "{envelope:?}");
        assert_eq!(read(&frame), Ok(envelope));
        let header = Header::read(&frame).unwrap().0;
        assert_eq!((header.from, header.config), (node(0xabc), Index(7)));
    }
}

#[test]
fn what_is_cut_short_or_goes_on_is_refused() {
    for (message, _) in all() {
        let frame = framed(&Envelope { epoch: Epoch(5), message });
        for end in 0..frame.len() {
            match read(&frame[..end]) {
                Err(WireError::Header(DecodeError::Short)) if end < HEADER_BYTES => {}
                Err(WireError::Body(_, DecodeError::Short)) if end >= HEADER_BYTES => {}
                other => panic!("{end} of {} bytes: {other:?}", frame.len()),
            }
        }
        let longer = [frame.as_slice(), &[0]].concat();
        assert_eq!(read(&longer), Err(WireError::Body(frame[0], DecodeError::Trailing)));
    }
}

#[test]
fn a_header_that_is_none_is_refused_with_the_reason() {
    let frame = framed(&Envelope { epoch: Epoch(5), message: Message::Transfer });
    let invalid = |what| WireError::Header(DecodeError::Invalid(what));
    for (at, bytes, wrong) in [
        (0, &[0][..], WireError::Kind(0)),
        (0, &[10], WireError::Kind(10)),
        (0, &[255], WireError::Kind(255)),
        (1, &[0], WireError::Version(0)),
        (1, &[2], WireError::Version(2)),
        (2, &[1], invalid("filling")),
        (3, &[1], invalid("filling")),
        (4, &[0, 0], invalid("node")),
        (8, &[1, 0, 0, 0, 0, 0, 0, 0x40], invalid("epoch")),
        (16, &[1, 0, 0, 0, 0, 0, 0, 0x40], invalid("index")),
    ] {
        let mut bad = frame.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(read(&bad), Err(wrong), "{bytes:?} at {at}");
    }
    let highest = Envelope { epoch: EPOCH_MAX, message: Message::Transfer };
    assert_eq!(read(&highest.frame(node(1), INDEX_MAX).unwrap()), Ok(highest));
}

#[test]
fn a_body_that_says_what_cannot_be_is_refused() {
    let high = EPOCH_MAX.0 + 1;
    let far = Index(INDEX_MAX.0 + 1);
    let at = |index: u64| place(4, index);
    let one = |epoch, payload: &[u8]| vec![raw(epoch, 10, payload)];
    let envelope = |message| Envelope { epoch: Epoch(5), message };
    let candidacy = |tail, of| envelope(Message::Candidacy { tail, transfer_of: of });
    let answer = |matched| envelope(Message::Ack { matched, round: 0, wall: Wall(0) });
    let conflict = |prev, first| envelope(Message::Conflict { prev, found: at(7), first });
    let long = vec![0; PAYLOAD_MAX_BYTES + 1];
    for (wrong, what) in [
        (envelope(Message::Probe { nonce: 0, tail: place(high, 0) }), "epoch"),
        (envelope(Message::Probe { nonce: 0, tail: at(far.0) }), "index"),
        (envelope(Message::Vote { granted: true, promised: Epoch(high) }), "epoch"),
        (envelope(Message::Stale { promised: Epoch(high) }), "epoch"),
        (candidacy(place(high, 0), None), "epoch"),
        (candidacy(at(9), Some(Epoch(high))), "epoch"),
        (answer(far), "index"),
        (conflict(far, Index(1)), "index"),
        (conflict(Index(1), far), "index"),
        (append(at(9), one(6, b"")), "place of a record"),
        (append(at(9), one(3, b"")), "place of a record"),
        (append(at(9), vec![raw(5, 10, b""), raw(4, 11, b"")]), "place of a record"),
        (append(at(INDEX_MAX.0), one(5, b"")), "place of a record"),
        (append(at(9), one(5, &long)), "length of records"),
    ] {
        let error = DecodeError::Invalid(what);
        let kind = wrong.message.kind();
        assert_eq!(read(&framed(&wrong)), Err(WireError::Body(kind, error)), "{wrong:.200?}");
    }
    // Truth values that are none, and lists that are longer than what holds them.
    for (message, from_end, byte) in [
        (Message::Vote { granted: true, promised: Epoch(5) }, 9, 2),
        (Message::Candidacy { tail: at(9), transfer_of: None }, 1, 2),
        (append(at(9), one(5, b"")).message, 13 + 1, 0xff),
        (append(at(9), one(5, b"")).message, 1, 0xff),
    ] {
        let mut frame = framed(&envelope(message));
        let at = frame.len() - from_end;
        frame[at] = byte;
        assert!(matches!(read(&frame), Err(WireError::Body(..))), "{frame:?}");
    }
}

#[test]
fn the_largest_append_fits_and_what_is_larger_is_refused() {
    let full = |count: u64, bytes: usize| {
        append(place(5, 0), (1..=count).map(|at| raw(5, at, &vec![9; bytes])).collect())
    };
    let half = APPEND_MAX_BYTES / 2 - RECORD_BYTES;
    let least = (APPEND_MAX_BYTES / RECORD_BYTES) as u64;
    for (envelope, fits) in [
        (full(1, PAYLOAD_MAX_BYTES), true),
        (full(1, PAYLOAD_MAX_BYTES + 1), false),
        (full(2, half), true),
        (full(2, half + 1), false),
        (full(least, 0), true),
        (full(least + 1, 0), false),
    ] {
        let frame = framed(&envelope);
        assert!(frame.len() <= FRAME_MAX_BYTES);
        assert_eq!(read(&frame).is_ok(), fits);
    }
    let huge = full(1, FRAME_MAX_BYTES);
    let bytes = HEADER_BYTES + APPEND_BYTES + RECORD_BYTES + FRAME_MAX_BYTES;
    assert_eq!(huge.frame(node(1), Index(0)), Err(WireError::TooLong(bytes)));
    assert_eq!(read(&vec![0; FRAME_MAX_BYTES + 1]), Err(WireError::TooLong(FRAME_MAX_BYTES + 1)));
}

/// What a leader keeps in memory for followers is cut so that it fits.
#[test]
fn what_a_leader_sends_is_never_refused_for_its_length() {
    for bytes in [0, 1, 12, 13, 14, 1_000, APPEND_MAX_BYTES - 13, APPEND_MAX_BYTES, 300_000] {
        let shape = super::super::Shape::behind(place(1, 0));
        let mut log = super::super::Replication::new(node(1), shape, Index(0));
        let count = 2 + 2 * APPEND_MAX_BYTES / (bytes + 1);
        let records = (1..=count as u64).map(|at| raw(5, at, &vec![9; bytes]));
        records.for_each(|record| log.keep(record));
        let first = (1..).map(Index).find(|&at| log.recent(at, 1).is_some()).unwrap();
        let taken = log.recent(first, APPEND_MAX_BYTES).unwrap();
        assert!(!taken.is_empty());
        let envelope = append(place(5, first.0 - 1), taken);
        assert_eq!(read(&framed(&envelope)), Ok(envelope), "{bytes} bytes");
    }
}

#[test]
fn any_bytes_are_a_message_that_is_written_as_it_was_or_none() {
    let frames: Vec<Vec<u8>> = all()
        .into_iter()
        .map(|(message, _)| framed(&Envelope { epoch: Epoch(5), message }))
        .collect();
    let mut taken = 0;
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let mut frame = frames[rng.below(frames.len() as u64) as usize].clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(frame.len() as u64) as usize;
            frame[at] = [0, 1, 2, 0xff, rng.next_u64() as u8][rng.below(5) as usize];
        }
        let Ok(envelope) = read(&frame) else { continue };
        let header = Header::read(&frame).unwrap().0;
        let again = envelope.frame(header.from, header.config).unwrap();
        assert_eq!(again, frame, "seed {seed}: {envelope:?}");
        taken += 1;
    }
    assert!(taken > 1_000, "only {taken} were messages");
}
