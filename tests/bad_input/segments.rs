//! Journals of several segments, with and without a snapshot before them, that were damaged: the
//! agent says where and changes nothing, not even what it could mend.

use crate::common::Agent;
use crate::directory::{FILE_HEADER, RECORD_HEADER, Stopped, frames};
use crate::names;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

/// What somebody did to the directory: files with their new contents, or without any.
type Damage = Vec<(String, Option<Vec<u8>>)>;

#[test]
fn a_damaged_or_missing_segment_is_refused_and_nothing_is_changed() {
    let stopped = Stopped::new();
    grow(&stopped, &stopped.start(), |files| files.len() == 3);
    let files = segments(&stopped);
    let [first, middle, last] = &files[..] else { panic!("three segments, not {files:?}") };
    let (a, b, c) = (stopped.read(first), stopped.read(middle), stopped.read(last));
    let frames = frames(&b);
    let (start, _) = frames[frames.len() / 2];
    let (end, _) = frames[frames.len() - 1];
    let flipped = |at: usize| {
        let mut bad = b.clone();
        bad[at] ^= 0x10;
        vec![(middle.clone(), Some(bad))]
    };
    let of = |file: &String, bytes: &[u8]| (file.clone(), Some(bytes.to_vec()));
    let without = |file: &String| vec![(file.clone(), None)];
    let here = |at: usize| format!("{middle} is damaged at byte {at}");
    let next = format!("{last} is damaged at byte 0");
    let rows: [(&str, Damage, String); 11] = [
        ("a byte of its header", flipped(20), here(0)),
        ("a byte of a record's header", flipped(start + 17), here(start)),
        ("a byte of a payload", flipped(start + RECORD_HEADER + 9), here(start)),
        ("its very last byte", flipped(b.len() - 1), here(end)),
        ("its last byte is missing", vec![of(middle, &b[..b.len() - 1])], here(end)),
        ("its last record is missing", vec![of(middle, &b[..end])], next.clone()),
        ("only its header is left", vec![of(middle, &b[..FILE_HEADER])], next.clone()),
        ("it is empty", vec![of(middle, b"")], here(0)),
        ("it is missing", without(middle), next),
        ("the first is missing", without(first), here(0)),
        ("it stands in the place of the first", vec![of(first, &b), of(middle, &a)], {
            format!("{first} is damaged at byte 0")
        }),
    ];
    for (what, damage, place) in &rows {
        check(&stopped, what, damage, place, (last, &c));
    }
    assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
}

#[test]
fn a_journal_whose_beginning_is_in_a_snapshot_is_refused_without_it() {
    let stopped = Stopped::new();
    let early = Agent::builder().data_dir(&stopped.dir).flag("--snapshot-after", "6MiB");
    let began_anew = |files: &[String]| files.len() == 2 && !files[0].ends_with("01");
    grow(&stopped, &early.start(), began_anew);
    let files = segments(&stopped);
    let [first, last] = &files[..] else { panic!("two segments, not {files:?}") };
    let whole = stopped.read(last);
    let snapshot = stopped.read("snapshot");
    let name = || "snapshot".to_owned();
    let mut bad = snapshot.clone();
    bad[snapshot.len() / 2] ^= 0x10;
    let short = snapshot[..snapshot.len() - 1].to_vec();
    let rows: [(&str, Damage, String); 5] = [
        ("no snapshot", vec![(name(), None)], format!("{first} is damaged at byte 0")),
        (
            "a byte of the snapshot",
            vec![(name(), Some(bad))],
            "snapshot is damaged at byte ".into(),
        ),
        ("a short snapshot", vec![(name(), Some(short))], "snapshot is damaged at byte ".into()),
        ("no segment behind it", vec![(first.clone(), None), (last.clone(), None)], {
            "the journal is missing".into()
        }),
        ("a gap behind it", vec![(first.clone(), None)], format!("{last} is damaged at byte 0")),
    ];
    for (what, damage, place) in &rows {
        check(&stopped, what, damage, place, (last, &whole));
    }
    assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
}

#[test]
fn what_could_be_mended_is_left_alone_beside_what_can_not() {
    let stopped = Stopped::new();
    let file = segments(&stopped).remove(0);
    let (journal, runs, hard) = (stopped.read(&file), stopped.read("runs"), stopped.read("hard"));
    let flipped = |bytes: &[u8], places: &[usize]| {
        let mut bad = bytes.to_vec();
        places.iter().for_each(|&at| bad[at] ^= 1);
        Some(bad)
    };
    let rows: [(&str, Damage, String); 4] = [
        ("no runs log", vec![("runs".into(), None)], "runs is missing".into()),
        ("a byte of the runs log", vec![("runs".into(), flipped(&runs, &[FILE_HEADER + 20]))], {
            format!("runs is damaged at byte {FILE_HEADER}")
        }),
        ("both identities", vec![("hard".into(), flipped(&hard, &[20, 4_096 + 20]))], {
            "hard is damaged at byte 0".into()
        }),
        ("no identity", vec![("hard".into(), None)], "the file \\\"hard\\\" is missing".into()),
    ];
    for (what, damage, place) in &rows {
        check(&stopped, what, damage, place, (&file, &journal));
    }
    let bad = flipped(&journal, &[FILE_HEADER + 20]);
    let place = format!("{file} is damaged at byte {FILE_HEADER}");
    check(&stopped, "the journal", &vec![(file, bad)], &place, (&"runs".into(), &runs));
}

/// An agent refuses to start over `damage` and says `place`: over that alone, with a torn end of
/// the file `torn` besides, and with what was half written at a crash. Nothing is changed; then the
/// damage is undone.
#[track_caller]
fn check(stopped: &Stopped, what: &str, damage: &Damage, place: &str, torn: (&String, &Vec<u8>)) {
    let put = |(file, bytes): &(String, Option<Vec<u8>>)| match bytes {
        Some(bytes) => stopped.write(file, bytes),
        None => fs::remove_file(stopped.path(file)).expect("it is there"),
    };
    let good: Damage =
        damage.iter().map(|(file, _)| (file.clone(), Some(stopped.read(file)))).collect();
    damage.iter().for_each(put);
    stopped.check_refused(what, &[place]);
    let (file, whole) = torn;
    if !damage.iter().any(|(other, _)| other == file) {
        stopped.write(file, &whole[..whole.len() - 3]);
        stopped.check_refused(&format!("{what}, and a torn end"), &[place]);
        stopped.write(file, whole);
    }
    let leftovers = ["snapshot.tmp", "runs.tmp", "torn.tmp", "journal/segment.tmp"];
    leftovers.iter().for_each(|name| stopped.write(name, b"half"));
    stopped.check_refused(&format!("{what}, and what a crash left"), &[place]);
    leftovers.iter().for_each(|name| put(&((*name).to_owned(), None)));
    good.iter().for_each(put);
}

/// Changes a job until the journal is `grown`.
fn grow(stopped: &Stopped, agent: &Agent, grown: impl Fn(&[String]) -> bool) {
    let labels = (0..15).map(|number| (format!("k{number}"), json!("x".repeat(4_000))));
    let labels: serde_json::Map<String, Value> = labels.collect();
    let job = json!({"metadata": labels});
    for _ in 0..2_000 {
        if grown(&segments(stopped)) {
            return;
        }
        agent.unix().patch("/v1/jobs/quiet", &job).expect(201);
    }
    panic!("the journal does not grow: {:?}", segments(stopped));
}

/// The segments of the journal, oldest first.
fn segments(stopped: &Stopped) -> Vec<String> {
    let entries = fs::read_dir(stopped.path("journal")).expect("a journal");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| format!("journal/{}", name.to_str().expect("plain")));
    let all: BTreeSet<String> = names.filter(|name| name.starts_with("journal/0")).collect();
    all.into_iter().collect()
}
