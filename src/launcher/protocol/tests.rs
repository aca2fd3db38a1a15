use super::*;
use crate::codec::DecodeError;
use crate::ident::BootId;
use crate::launcher::testing::{order, run};
use crate::rng::Rng;
use crate::run::order::{Cause, Program, Stage, Status, TAIL_MAX_BYTES};

fn commands() -> Vec<LauncherCommand> {
    let words = Program::Words(vec!["a b".into(), String::new(), "é".into()]);
    let full = SpawnOrder {
        env: vec![("A".into(), "b=c".into()), ("B".into(), String::new())],
        cwd: Some("/tmp".into()),
        timeout_ms: u64::MAX,
        ..order(2, Program::Shell("exit 1".into()))
    };
    vec![
        LauncherCommand::Spawn(order(1, words)),
        LauncherCommand::Spawn(full),
        LauncherCommand::Kill(run(3)),
        LauncherCommand::Ack(run(u64::MAX)),
    ]
}

fn entries() -> Vec<(RunId, Entry)> {
    let process = Process { pid: 7, start_ticks: 8, boot: BootId(9) };
    let exit = Exit {
        status: Status::Signal(9),
        cause: Cause::TimedOut,
        started: Wall(-1),
        finished: Wall(2),
        duration_ms: 3,
        cpu_ms: 4,
        max_rss_bytes: 5,
        output_bytes: 6,
        tail: vec![0xff; TAIL_MAX_BYTES],
    };
    let failure = StartFailure { stage: Stage::Directory, errno: 2, at: Wall(7) };
    vec![
        (run(1), Entry::Running(process, Wall(5))),
        (run(2), Entry::Ended(exit)),
        (run(3), Entry::Failed(failure)),
    ]
}

fn requests() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_hello(&mut bytes);
    commands().iter().for_each(|command| encode_command(command, &mut bytes).unwrap());
    bytes
}

fn read_requests(chunks: &[&[u8]]) -> Result<Vec<Request>, ProtocolError> {
    let (mut reader, mut found) = (RequestReader::default(), Vec::new());
    for chunk in chunks {
        reader.push(chunk);
        while let Some(request) = reader.next()? {
            found.push(request);
        }
    }
    Ok(found)
}

fn read_events(bytes: &[u8]) -> Result<Vec<LauncherEvent>, ProtocolError> {
    let (mut reader, mut found) = (EventReader::default(), Vec::new());
    reader.push(bytes);
    while let Some(event) = reader.next()? {
        found.push(event);
    }
    Ok(found)
}

fn answers(list: &[Answer]) -> Vec<u8> {
    let mut bytes = Vec::new();
    list.iter().for_each(|answer| encode_answer(answer, &mut bytes));
    bytes
}

#[test]
fn commands_are_read_as_they_were_written_wherever_the_stream_is_cut() {
    let bytes = requests();
    let wanted: Vec<Request> = [Request::Hello(VERSION)]
        .into_iter()
        .chain(commands().into_iter().map(Request::Command))
        .collect();
    for cut in 0..=bytes.len() {
        let (start, end) = bytes.split_at(cut);
        assert_eq!(read_requests(&[start, end]).as_ref(), Ok(&wanted), "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read_requests(&single), Ok(wanted));
}

#[test]
fn a_welcome_is_put_together_and_news_follow() {
    let listed = entries().into_iter().map(|(run, entry)| Answer::Listed(run, entry));
    let mut list = vec![Answer::Welcome(Instance(9))];
    list.extend(listed);
    list.push(Answer::ListedAll);
    list.extend(entries().into_iter().map(|(run, entry)| Answer::Run(run, entry)));
    list.push(Answer::Refused(run(4)));
    let mut wanted = vec![LauncherEvent::Welcome { instance: Instance(9), table: entries() }];
    wanted.extend(entries().into_iter().map(|(run, entry)| LauncherEvent::Run(run, entry)));
    wanted.push(LauncherEvent::Refused(run(4)));
    assert_eq!(read_events(&answers(&list)), Ok(wanted));
}

#[test]
fn answers_out_of_order_or_of_another_version_end_the_connection() {
    let welcome = Answer::Welcome(Instance(1));
    let (run_7, entry) = (run(7), entries().remove(0).1);
    let version = |agent, launcher| ProtocolError::Version { agent, launcher };
    for (list, wanted) in [
        (vec![Answer::ListedAll], ProtocolError::Order(LISTED_ALL)),
        (vec![Answer::Refused(run_7)], ProtocolError::Order(REFUSED)),
        (vec![welcome.clone(), welcome.clone()], ProtocolError::Order(WELCOME)),
        (vec![welcome.clone(), Answer::Run(run_7, entry.clone())], ProtocolError::Order(RUN)),
        (
            vec![welcome.clone(), Answer::ListedAll, Answer::Listed(run_7, entry)],
            ProtocolError::Order(LISTED),
        ),
        (vec![Answer::Mismatch { agent: 1, launcher: 2 }], version(1, 2)),
    ] {
        assert_eq!(read_events(&answers(&list)), Err(wanted), "{list:?}");
    }
    let mut newer = answers(&[welcome]);
    newer[HEADER_BYTES] = 77;
    assert_eq!(read_events(&newer), Err(version(VERSION, 77)));
    let failed = Entry::Failed(StartFailure { stage: Stage::Exec, errno: 0, at: Wall(0) });
    let mut many = vec![Answer::Welcome(Instance(1))];
    many.resize(LISTED_MAX + 2, Answer::Listed(run_7, failed));
    assert!(read_events(&answers(&many[..=LISTED_MAX])).is_ok());
    assert_eq!(read_events(&answers(&many)), Err(ProtocolError::TooMany));
}

#[test]
fn hostile_frames_are_refused() {
    let raw = |length: u32, kind: u8, payload: &[u8]| {
        [&length.to_le_bytes()[..], &[kind], payload].concat()
    };
    let hello = raw(4, HELLO, &VERSION.to_le_bytes());
    let after = |frame: Vec<u8>| [hello.clone(), frame].concat();
    let max = PAYLOAD_MAX_BYTES;
    for (bytes, wanted) in [
        (raw(0, KILL, &[]), ProtocolError::Order(KILL)),
        (after(hello.clone()), ProtocolError::Order(HELLO)),
        (raw(5, HELLO, &[0; 5]), ProtocolError::Payload(HELLO, DecodeError::Trailing)),
        (after(raw(0, WELCOME, &[])), ProtocolError::Kind(WELCOME)),
        (after(raw(15, KILL, &[1; 15])), ProtocolError::Payload(KILL, DecodeError::Short)),
        (after(raw(16, ACK, &[0; 16])), ProtocolError::Payload(ACK, DecodeError::Invalid("node"))),
        (after(raw(max as u32 + 1, SPAWN, &[])), ProtocolError::TooLong(max + 1)),
        (
            after(raw(max as u32, SPAWN, &vec![0xff; max])),
            ProtocolError::Payload(SPAWN, DecodeError::Invalid("program")),
        ),
    ] {
        assert_eq!(read_requests(&[&bytes]), Err(wanted));
    }
    // A whole megabyte may come; one byte less of it is not yet a frame.
    let big = after(raw(max as u32, SPAWN, &vec![0; max - 1]));
    assert_eq!(read_requests(&[&big]), Ok(vec![Request::Hello(VERSION)]));
}

#[test]
fn an_order_that_fits_no_frame_is_not_written() {
    let mut bytes = Vec::new();
    let fits = order(1, Program::Shell("x".repeat(PAYLOAD_MAX_BYTES - 200)));
    encode_command(&LauncherCommand::Spawn(fits), &mut bytes).unwrap();
    let before = bytes.len();
    let large = order(1, Program::Shell("x".repeat(PAYLOAD_MAX_BYTES)));
    let answer = encode_command(&LauncherCommand::Spawn(large), &mut bytes);
    assert!(matches!(answer, Err(ProtocolError::TooLong(_))), "{answer:?}");
    assert_eq!(bytes.len(), before);
}

#[test]
fn damaged_streams_never_panic() {
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed);
        let mut bytes = requests();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        let cut = rng.below(bytes.len() as u64) as usize;
        let (start, end) = bytes.split_at(cut);
        // Either outcome is right; the seed is shown by a panic's place in the loop.
        let outcome = std::panic::catch_unwind(|| read_requests(&[start, end]).is_ok());
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_reader_gives_its_memory_back() {
    let mut reader = FrameReader::default();
    let mut bytes = Vec::new();
    let big = order(1, Program::Shell("x".repeat(500_000)));
    encode_command(&LauncherCommand::Spawn(big), &mut bytes).unwrap();
    reader.push(&bytes);
    assert!(reader.next().unwrap().is_some());
    assert_eq!(reader.buffered(), 0);
    reader.push(&[1]);
    assert!(reader.bytes.capacity() < KEPT_BYTES);
}
