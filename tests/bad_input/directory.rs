//! Data directories that cannot be used, or not as they are.

use crate::common::{Agent, Client, DEADLINE, is_root, wait_until};
use crate::programs::finished_run;
use crate::{Calm, names};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const JOURNAL: &str = "journal/0000000000000001";
/// Lengths of the headers of a log file and of a record, see the journal's pages.
pub(crate) const FILE_HEADER: usize = 64;
pub(crate) const RECORD_HEADER: usize = 44;

/// A directory of an agent that has stopped.
pub(crate) struct Stopped {
    home: TempDir,
    pub(crate) dir: PathBuf,
    pub(crate) jobs: Vec<String>,
}

impl Stopped {
    /// One with a few jobs and a finished run in it.
    #[track_caller]
    pub(crate) fn new() -> Stopped {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().join("data");
        let mut calm = Calm::over(Agent::builder().data_dir(&dir).start());
        calm.agent.post("/v1/jobs/quiet/run", "").expect(200);
        finished_run(&calm.agent, "quiet");
        let jobs = names(&calm.agent.tcp());
        assert!(calm.agent.stop().success());
        Stopped { home, dir, jobs }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).expect("the file is there")
    }

    pub(crate) fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.path(file), bytes).expect("it can be written");
    }

    pub(crate) fn start(&self) -> Agent {
        Agent::builder().data_dir(&self.dir).start()
    }

    /// What counts in the directory: every file but those of the launcher, locks and sockets; of
    /// `hard`, which is written anew each time it is read, who this is and how often it started.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(self.path(&folder)) else { continue };
            for entry in entries {
                let entry = entry.expect("an entry");
                let name = format!("{folder}{}", entry.file_name().to_str().expect("plain"));
                let kind = entry.file_type().expect("a type");
                if kind.is_dir() {
                    folders.push(format!("{name}/"));
                }
                if !kind.is_file() || name.starts_with("launcher.") || name == "agent.lock" {
                    continue;
                }
                let bytes = fs::read(entry.path()).expect("it can be read");
                found.insert(name, bytes);
            }
        }
        if let Some(hard) = found.get_mut("hard").filter(|hard| hard.len() == 8_192) {
            // From the node id to the promise, in the copy of the higher generation.
            let copy = |start: usize| {
                let generation = u64::from(u32_at(hard, start + 56));
                (generation, hard[start + 12..start + 52].to_vec())
            };
            *hard = copy(0).max(copy(4_096)).1;
        }
        found
    }

    /// An agent refuses to start here, twice; says each of `parts`; and nothing has changed.
    #[track_caller]
    pub(crate) fn check_refused(&self, what: &str, parts: &[&str]) {
        let before = self.contents();
        for _ in 0..2 {
            refused(Agent::builder().data_dir(&self.dir).launch(), what, parts);
        }
        let after = self.contents();
        let files: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let lengths =
            |file: &String| (before.get(file).map(Vec::len), after.get(file).map(Vec::len));
        let changed: Vec<_> = files
            .into_iter()
            .filter(|&file| before.get(file) != after.get(file))
            .map(|file| (file, lengths(file)))
            .collect();
        assert!(changed.is_empty(), "{what}: files and their lengths have changed: {changed:?}");
    }
}

/// The agent ends with 1 and one line that holds each of `parts`.
#[track_caller]
pub(crate) fn refused(mut agent: Agent, what: &str, parts: &[&str]) {
    let status = agent.wait();
    let log = agent.whole_log();
    assert_eq!(status.code(), Some(1), "{what}: {log}");
    assert_eq!(log.lines().count(), 1, "{what}: {log}");
    for part in ["level=error", "cannot start"].iter().chain(parts) {
        assert!(log.contains(part), "{what}: {part:?} is not in {log}");
    }
}

#[test]
fn a_directory_in_use_is_left_to_its_agent() {
    let calm = Calm::start();
    let second = Agent::builder().data_dir(calm.agent.data_dir()).launch();
    refused(second, "a second agent", &["another agent is using it"]);
    calm.check("a second agent");
    // Not even its sockets were touched.
    calm.agent.get("/ready").expect(200);
}

#[test]
fn an_address_in_use_is_named_and_leaves_the_directory_usable() {
    let calm = Calm::start();
    let Client::Tcp(address) = calm.agent.tcp() else { panic!("it is TCP") };
    let stopped = Stopped::new();
    let taken = address.to_string();
    // In place of the address that every agent of a test is given.
    let script = format!(r#"program=$1; shift 4; exec "$program" agent --http-addr {taken} "$@""#);
    let second = Agent::builder().data_dir(&stopped.dir).through(&script).launch();
    refused(second, "an address in use", &[&taken, "in use"]);
    calm.check("an address in use");
    assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
}

#[test]
fn what_is_no_directory_or_cannot_be_written_is_refused_by_name() {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("file");
    fs::write(&file, "precious").expect("it can be written");
    let name = file.to_str().expect("a plain path");
    refused(Agent::builder().data_dir(&file).launch(), "a file", &[name, "ot a directory"]);
    let below = file.join("below");
    refused(Agent::builder().data_dir(&below).launch(), "below a file", &[name, "ot a directory"]);
    assert_eq!(fs::read(&file).expect("it is there"), b"precious");
}

#[test]
fn a_read_only_directory_is_refused() {
    let stopped = Stopped::new();
    let before = stopped.contents();
    let dir = stopped.dir.to_str().expect("a plain path");
    if is_root() {
        // Root writes whatever the permissions say, so the file system itself must refuse.
        let script = format!(
            r#"exec unshare -m /bin/sh -c 'mount --bind {dir} {dir} &&
               mount -o remount,ro,bind {dir} && exec "$@"' ro "$@""#
        );
        let agent = Agent::builder().data_dir(&stopped.dir).through(&script).launch();
        refused(agent, "a read-only file system", &[dir, "ead-only file system"]);
        assert_eq!(stopped.contents(), before);
    } else {
        let mode = |mode| fs::set_permissions(dir, fs::Permissions::from_mode(mode));
        mode(0o500).expect("it is ours");
        fs::remove_file(stopped.path("agent.lock")).expect_err("it is read-only");
        let agent = Agent::builder().data_dir(&stopped.dir).launch();
        refused(agent, "a read-only directory", &[dir, "ermission denied"]);
        assert_eq!(stopped.contents(), before);
        mode(0o700).expect("it is ours");
    }
    assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
}

#[test]
fn a_flipped_byte_is_refused_with_its_file_and_place() {
    let stopped = Stopped::new();
    for file in [JOURNAL, "runs"] {
        let good = stopped.read(file);
        let frames = frames(&good);
        assert!(frames.len() >= 3, "{file} has records");
        // In the header of the file, and of a record in the middle, and in its payload.
        let (start, length) = frames[frames.len() / 2 - 1];
        assert!(length > 0, "{file} has payloads");
        for (at, offset) in [(20, 0), (start + 17, start), (start + RECORD_HEADER, start)] {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            stopped.write(file, &bad);
            let place = format!("{file} is damaged at byte {offset}");
            stopped.check_refused(&format!("byte {at} of {file}"), &[&place]);
        }
        stopped.write(file, &good);
    }
    assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
}

#[test]
fn a_snapshot_is_whole_or_refused() {
    let stopped = Stopped::new();
    {
        let small = Agent::builder().data_dir(&stopped.dir).flag("--snapshot-after", "4096");
        let mut agent = small.start();
        for name in ["other", "quiet"] {
            let note = json!({"note": "n".repeat(4_096)});
            agent.patch(&format!("/v1/jobs/{name}"), note).expect(201);
        }
        let file = stopped.path("snapshot");
        wait_until(DEADLINE, "there is a snapshot", || file.exists().then_some(()));
        assert!(agent.stop().success());
    }
    let good = stopped.read("snapshot");
    for at in [20, FILE_HEADER + 4, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        stopped.write("snapshot", &bad);
        stopped.check_refused(&format!("byte {at}"), &["snapshot is damaged at byte "]);
    }
    for length in [0, 1, FILE_HEADER, good.len() - 1] {
        stopped.write("snapshot", &good[..length]);
        stopped.check_refused(&format!("{length} bytes"), &["snapshot is damaged at byte "]);
    }
    let mut newer = good.clone();
    newer[8..12].copy_from_slice(&7u32.to_le_bytes());
    let crc = crc32fast::hash(&newer[..60]);
    newer[60..64].copy_from_slice(&crc.to_le_bytes());
    stopped.write("snapshot", &newer);
    stopped.check_refused("a newer snapshot", &["snapshot has format 7", "a later bellwether"]);
    stopped.write("snapshot", &good);
    let agent = stopped.start();
    assert_eq!(names(&agent.tcp()), stopped.jobs);
    let job = agent.get("/v1/jobs/quiet").expect(200).json();
    assert_eq!(
        (&job["success_count"], job["note"].as_str().map(str::len)),
        (&json!(1), Some(4_096))
    );
}

#[test]
fn an_identity_is_refused_when_both_its_copies_are_bad_and_not_before() {
    let stopped = Stopped::new();
    let (first, second) = (20, 4_096 + 20);
    let mut bad = stopped.read("hard");
    bad[first] ^= 1;
    bad[second] ^= 1;
    stopped.write("hard", &bad);
    stopped.check_refused("two bad copies", &["hard is damaged at byte 0"]);
    // Of the two, one has a promise that the other knows nothing of.
    for (what, bytes) in [("the first", [second]), ("the second", [first])] {
        let mut bad = bad.clone();
        bytes.into_iter().for_each(|at| bad[at] ^= 1);
        stopped.write("hard", &bad);
        let agent = stopped.start();
        let log = agent.log();
        assert!(log.contains("one of the two copies of the identity"), "{what}: {log}");
        assert_eq!(names(&agent.tcp()), stopped.jobs, "{what}");
    }
}

#[test]
fn a_torn_end_is_cut_kept_and_warned_of() {
    for file in [JOURNAL, "runs"] {
        for cut in [1, 30] {
            let stopped = Stopped::new();
            let good = stopped.read(file);
            stopped.write(file, &good[..good.len() - cut]);
            let mut agent = stopped.start();
            let ready = agent.get("/ready").expect(200).json();
            assert_eq!(ready["warnings"], json!(["torn_tail"]), "{file}, {cut} bytes");
            agent.wait_for_log("was cut short by a crash");
            let kept: Vec<String> =
                stopped.contents().into_keys().filter(|name| name.starts_with("torn-")).collect();
            assert_eq!(kept.len(), 1, "{kept:?}");
            let (start, _) = *frames(&good).last().expect("a record");
            let torn = stopped.read(&kept[0]);
            assert!(good[..good.len() - cut].ends_with(&torn), "{file}, {cut} bytes");
            assert!(torn.len() >= good.len() - cut - start, "{file}: the record is not whole");
            assert_eq!(names(&agent.tcp()), stopped.jobs);
        }
    }
}

#[test]
fn a_file_of_a_later_version_is_named_as_one() {
    let stopped = Stopped::new();
    for file in [JOURNAL, "runs", "hard"] {
        let good = stopped.read(file);
        let mut newer = good.clone();
        // The version is behind the magic, and a CRC behind all of it, in every file.
        let copies = if file == "hard" { vec![(0, 64), (4_096, 64)] } else { vec![(0, 60)] };
        for (start, length) in copies {
            newer[start + 8..start + 12].copy_from_slice(&7u32.to_le_bytes());
            let crc = crc32fast::hash(&newer[start..start + length]);
            newer[start + length..start + length + 4].copy_from_slice(&crc.to_le_bytes());
        }
        stopped.write(file, &newer);
        let parts = [&format!("{file} has format 7"), "a later bellwether wrote"];
        stopped.check_refused(&format!("{file} of format 7"), &parts.map(|part| part as &str));
        stopped.write(file, &good);
    }
    assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
}

#[test]
fn a_record_that_only_a_later_version_understands_is_refused() {
    for (what, at, value) in [("kind", 40, 200u8), ("schema", 43, 0x7f)] {
        let stopped = Stopped::new();
        for file in [JOURNAL, "runs"] {
            let good = stopped.read(file);
            stopped.write(file, &with_last_record(&good, at, value));
            let what = format!("an unknown {what} in {file}");
            let place = format!("{file} cannot be read at byte ");
            stopped.check_refused(&what, &[&place, "a later version"]);
            stopped.write(file, &good);
        }
        assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
    }
}

#[test]
fn a_missing_file_is_never_taken_for_an_empty_one() {
    let stopped = Stopped::new();
    for (file, part) in [
        ("hard", "the file \\\"hard\\\" is missing"),
        ("runs", "runs is missing"),
        (JOURNAL, "the journal is missing"),
    ] {
        let good = stopped.read(file);
        fs::remove_file(stopped.path(file)).expect("it is there");
        stopped.check_refused(&format!("no {file}"), &[part]);
        assert!(!stopped.path(file).exists(), "{file} was made anew");
        stopped.write(file, &good);
    }
    assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
}

#[test]
fn a_file_of_another_node_is_refused() {
    let (stopped, other) = (Stopped::new(), Stopped::new());
    for (file, part) in
        [(JOURNAL, "another node"), ("runs", "another node"), ("hard", "another node")]
    {
        let good = stopped.read(file);
        stopped.write(file, &other.read(file));
        stopped.check_refused(&format!("a foreign {file}"), &["of another cluster", part]);
        stopped.write(file, &good);
    }
    assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
}

#[test]
fn strange_things_in_the_directory_are_refused_or_left_alone() {
    let stopped = Stopped::new();
    let precious = stopped.home.path().join("precious");
    fs::write(&precious, "precious").expect("it can be written");
    for name in ["notes.txt", "journal/README", "journal/zz", "journal/1", "lost+found"] {
        stopped.write(name, b"somebody's");
    }
    {
        let agent = stopped.start();
        assert_eq!(names(&agent.tcp()), stopped.jobs);
    }
    for name in ["notes.txt", "journal/README", "journal/zz", "journal/1", "lost+found"] {
        assert_eq!(stopped.read(name), b"somebody's", "{name}");
    }
    // A link is never followed, a directory or fifo in a file's place never waited for.
    for file in ["agent.lock", "runs", "hard", JOURNAL] {
        let aside = stopped.home.path().join("aside");
        fs::rename(stopped.path(file), &aside).expect("it is there");
        std::os::unix::fs::symlink(&precious, stopped.path(file)).expect("a link");
        refused(Agent::builder().data_dir(&stopped.dir).launch(), file, &["the data directory"]);
        fs::remove_file(stopped.path(file)).expect("a link");
        fs::create_dir(stopped.path(file)).expect("a directory");
        refused(Agent::builder().data_dir(&stopped.dir).launch(), file, &["the data directory"]);
        fs::remove_dir(stopped.path(file)).expect("a directory");
        if file == "agent.lock" {
            // A fifo can be locked like a file.
            fs::rename(&aside, stopped.path(file)).expect("it was moved");
            continue;
        }
        make_fifo(&stopped.path(file));
        refused(Agent::builder().data_dir(&stopped.dir).launch(), file, &["the data directory"]);
        fs::remove_file(stopped.path(file)).expect("a fifo");
        fs::rename(&aside, stopped.path(file)).expect("it was moved");
    }
    assert_eq!(fs::read(&precious).expect("it is there"), b"precious");
    assert_eq!(names(&stopped.start().tcp()), stopped.jobs);
}

#[test]
fn a_very_long_path_is_no_limit() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("x".repeat(200)).join("y".repeat(200));
    let mut agent = Agent::builder().data_dir(&dir).start();
    let job = json!({"name": "far", "schedule": "@manually", "command": "echo fine"});
    agent.post("/v1/jobs?runoncreate", job).expect(201);
    // A path to the socket that fits into an address, as any client would need.
    let short = home.path().join("short");
    std::os::unix::fs::symlink(&dir, &short).expect("a link");
    let unix = Client::Unix(short.join("api.sock"));
    assert_eq!(names(&unix), ["far"]);
    wait_until(DEADLINE, "the run has ended", || {
        let job = unix.get("/v1/jobs/far").expect(200).json();
        (job["success_count"] == json!(1)).then_some(())
    });
    agent.restart();
    assert_eq!(names(&agent.tcp()), ["far"]);
}

fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(made.success());
}

/// Start and payload length of each record of a log file.
pub(crate) fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = FILE_HEADER;
    while at < bytes.len() {
        let length = u32_at(bytes, at + 4) as usize;
        found.push((at, length));
        at += RECORD_HEADER + length;
    }
    found
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The log with one byte of its last record's header changed and both checksums made right again,
/// as a later program would have written it.
fn with_last_record(log: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut log = log.to_vec();
    let frames = frames(&log);
    let (start, _) = *frames.last().expect("a record");
    let before = frames.len().checked_sub(2).map_or(12, |place| frames[place].0 + 12);
    let mut chain = crc32fast::Hasher::new_with_initial(u32_at(&log, before));
    log[start + at] = value;
    // Index, epoch, kind, schema, length, payload crc.
    let parts = [(16, 24), (24, 32), (40, 41), (42, 44), (4, 8), (8, 12)];
    for (from, to) in parts {
        chain.update(&log[start + from..start + to]);
    }
    let chain = chain.finalize().to_le_bytes();
    log[start + 12..start + 16].copy_from_slice(&chain);
    let crc = crc32fast::hash(&log[start + 4..start + RECORD_HEADER]).to_le_bytes();
    log[start..start + 4].copy_from_slice(&crc);
    log
}

#[test]
fn an_agent_whose_files_are_taken_away_ends_and_says_which() {
    let mut agent = Agent::start();
    fs::remove_file(agent.data_dir().join("runs")).expect("it is there");
    let job = r#"{"name":"each","schedule":"* * * * * *","command":"true"}"#;
    agent.unix().post("/v1/jobs", job).expect(201);
    let status = agent.wait();
    let log = agent.whole_log();
    assert_eq!(status.code(), Some(1), "{log}");
    for part in ["level=error", "cannot write runs: it was removed"] {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
}
