//! The verbs that look at a data directory, recover one, or move it aside: with the real program,
//! over every kind of damage, and beside an agent that writes.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod common;

use common::{Agent, Client, DEADLINE, NOBODY, is_root, say, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const JOURNAL: &str = "journal/0000000000000001";
/// Lengths of the headers of a log file and of a record, see the journal's pages.
const FILE_HEADER: usize = 64;
const RECORD_HEADER: usize = 44;

fn tool(line: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command.args(line).arg(dir).env_clear();
    if let Some(path) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", path);
    }
    command.output().expect("the program can be started")
}

/// Runs the verb, expects the exit code and each of `parts` on standard error; standard output as
/// JSON, a value a line.
#[track_caller]
fn check(line: &[&str], dir: &Path, code: i32, parts: &[&str]) -> Vec<Value> {
    let got = tool(line, dir);
    let (out, err) = (String::from_utf8(got.stdout), String::from_utf8(got.stderr));
    let (out, err) = (out.expect("UTF-8"), err.expect("UTF-8"));
    assert_eq!(got.status.code(), Some(code), "{line:?}: {out}\n{err}");
    for part in parts {
        assert!(err.contains(part), "{line:?}: {part:?} is not in {err}");
    }
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!out.contains(control) && !err.contains(control), "{line:?} steers a terminal");
    out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// The directory of an agent that has stopped, with two jobs and an ended run of one.
struct Stopped {
    home: TempDir,
    dir: PathBuf,
}

impl Stopped {
    #[track_caller]
    fn new() -> Stopped {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().join("data");
        let mut agent = Agent::builder().data_dir(&dir).start();
        post(
            &agent,
            json!({"name": "first", "schedule": "@manually", "command": "echo one",
            "env": {"PASSWORD": "hunter2"}}),
        );
        post(&agent, json!({"name": "second", "schedule": "@yearly", "command": "true"}));
        run_to_its_end(&agent.unix(), "first");
        assert!(agent.stop().success());
        Stopped { home, dir }
    }

    /// With a snapshot; `whole` says whether the segments from the first on are there, too.
    #[track_caller]
    fn with_snapshot(whole: bool) -> Stopped {
        let stopped = Stopped::new();
        let builder = Agent::builder().data_dir(&stopped.dir).flag("--snapshot-after", "4096");
        let mut agent = builder.start();
        let note = "n".repeat(4_000);
        for note in [&note, "x"] {
            agent.patch("/v1/jobs/second", json!({"note": note})).expect(201);
        }
        let file = stopped.path("snapshot");
        wait_until(DEADLINE, "there is a snapshot", || file.exists().then_some(()));
        assert!(agent.stop().success());
        if !whole {
            // As if the first segment had been full.
            fs::remove_file(stopped.path(JOURNAL)).expect("it is there");
        }
        stopped
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).expect("the file is there")
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.path(file), bytes).expect("it can be written");
    }

    fn flip(&self, file: &str, at: usize) {
        let mut bytes = self.read(file);
        bytes[at] ^= 0x40;
        self.write(file, &bytes);
    }

    /// Every file with its bytes, and every folder.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.dir, &mut found);
        found
    }

    /// An agent starts here, sound, with these jobs.
    #[track_caller]
    fn check_start(&self, jobs: &[&str]) -> Agent {
        let agent = Agent::builder().data_dir(&self.dir).start();
        assert_eq!(names(&agent.unix()), jobs);
        check(&["journal", "verify"], &self.dir, 0, &["is sound"]);
        agent
    }
}

fn collect(dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).expect("it can be listed") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            collect(&entry.path(), found);
            found.insert(entry.path(), Vec::new());
        } else {
            found.insert(entry.path(), fs::read(entry.path()).unwrap_or_default());
        }
    }
}

fn names(client: &Client) -> Vec<String> {
    let jobs = client.get("/v1/jobs").expect(200).json();
    let jobs = jobs.as_array().expect("an array").iter();
    jobs.map(|job| job["name"].as_str().expect("a name").to_owned()).collect()
}

#[track_caller]
fn post(agent: &Agent, job: Value) {
    agent.unix().post("/v1/jobs", job).expect(201);
}

#[track_caller]
fn run_to_its_end(client: &Client, job: &str) {
    let count = || {
        let shown = client.get(&format!("/v1/jobs/{job}")).expect(200).json();
        shown["success_count"].as_u64().expect("a number")
    };
    let before = count();
    client.post(&format!("/v1/jobs/{job}/run"), "").expect(200);
    wait_until(DEADLINE, "the run has ended", || (count() > before).then_some(()));
}

/// Start of each record of a log file.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), FILE_HEADER);
    while let Some(length) = bytes.get(at + 4..at + 8) {
        found.push(at);
        let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
        at += RECORD_HEADER + length as usize;
    }
    found
}

/// The line of `file` in what `verify` printed.
#[track_caller]
fn of<'a>(lines: &'a [Value], file: &str) -> &'a Value {
    let line = lines.iter().find(|line| line["file"] == file);
    line.unwrap_or_else(|| panic!("no line of {file} in {lines:?}"))
}

#[test]
fn a_sound_directory_is_said_to_be_and_is_not_touched() {
    let stopped = Stopped::with_snapshot(true);
    let before = stopped.contents();
    let lines = check(&["journal", "verify"], &stopped.dir, 0, &["is sound"]);
    for file in ["hard", "snapshot", JOURNAL, "runs"] {
        let line = of(&lines, file);
        assert_eq!(line["ok"], true, "{line}");
        assert_eq!(line["bytes"], stopped.read(file).len(), "{line}");
    }
    let journal = of(&lines, JOURNAL);
    assert_eq!((&journal["first"], &journal["epochs"][0]), (&json!(1), &json!(0)), "{journal}");
    assert_eq!(journal["records"], frames(&stopped.read(JOURNAL)).len(), "{journal}");

    let stats = check(&["journal", "stats"], &stopped.dir, 0, &[]).remove(0);
    assert_eq!((&stats["jobs"], &stats["executions"]), (&json!(2), &json!(1)), "{stats}");
    assert_eq!(stats["records"]["job_put"], 4, "{stats}");
    assert_eq!(stats["last_index"], journal["last"], "{stats}");

    let all = check(&["journal", "dump"], &stopped.dir, 0, &[]);
    assert_eq!(all.len(), frames(&stopped.read(JOURNAL)).len());
    assert!(all.iter().zip(1..).all(|(record, index)| record["index"] == index));
    let some = check(&["journal", "dump", "--from=3", "--count=2"], &stopped.dir, 0, &[]);
    assert_eq!(some, all[2..4]);
    assert!(!format!("{all:?}").contains("hunter2"), "a value of env is shown");
    let told = check(&["journal", "dump", "--secrets"], &stopped.dir, 0, &[]);
    assert!(format!("{told:?}").contains("hunter2"), "a value of env is not shown when asked for");
    let ended = all.iter().find(|record| record["kind"] == "finished").expect("a run has ended");
    assert_eq!((&ended["tail"], &ended["tail_bytes"]), (&json!("one\n"), &json!(4)), "{ended}");
    let runs = check(&["journal", "dump", "--runs"], &stopped.dir, 0, &[]);
    let kinds: Vec<&Value> = runs.iter().map(|record| &record["kind"]).collect();
    assert!(kinds.contains(&&json!("accepted")) && kinds.contains(&&json!("exited")), "{kinds:?}");
    check(&["journal", "recover", "--accept-loss"], &stopped.dir, 0, &["nothing to recover"]);
    assert_eq!(stopped.contents(), before, "something was touched");
}

#[test]
fn what_a_job_writes_steers_no_terminal_and_is_shown_to_a_bound() {
    let mut agent = Agent::start();
    let evil = r"printf '\033[2J\302\233\177%9000d' 7";
    let job = json!({"name": "evil", "schedule": "@manually", "command": evil, "shell": true,
        "note": "\u{9b}31m"});
    post(&agent, job);
    run_to_its_end(&agent.unix(), "evil");
    assert!(agent.stop().success());
    let all = check(&["journal", "dump"], agent.data_dir(), 0, &[]);
    let ended = all.iter().find(|record| record["kind"] == "finished").expect("a run has ended");
    assert_eq!(ended["tail"].as_str().map(str::len), Some(4_096));
    assert_eq!(ended["tail_bytes"], 4 + 2 + 1 + 9_000);
}

#[test]
fn verify_is_content_beside_an_agent_that_writes_all_the_time() {
    let agent = Agent::builder().flag("--snapshot-after", "4096").start();
    let unix = agent.unix();
    let writer = std::thread::spawn(move || {
        for number in 0..400 {
            let name = format!("job-{}", number % 40);
            let note = "n".repeat(number);
            let job = json!({"name": name, "schedule": "* * * * * *", "command": "true",
                "note": note});
            let reply = unix.post("/v1/jobs", job);
            assert!([200, 201].contains(&reply.status), "{}", reply.text());
        }
    });
    let mut looks = 0;
    while !writer.is_finished() || looks < 20 {
        check(&["journal", "verify"], agent.data_dir(), 0, &["is sound"]);
        check(&["journal", "dump"], agent.data_dir(), 0, &[]);
        check(&["journal", "stats"], agent.data_dir(), 0, &[]);
        looks += 1;
    }
    writer.join().expect("all was posted");
    check(&["journal", "recover", "--accept-loss"], agent.data_dir(), 1, &["an agent is using it"]);
    check(&["reset", "--yes"], agent.data_dir(), 1, &["an agent is using it"]);
    agent.get("/ready").expect(200);
}

#[test]
fn damage_is_reported_with_file_and_place() {
    let stopped = Stopped::with_snapshot(true);
    for file in [JOURNAL, "runs", "snapshot", "hard"] {
        let good = stopped.read(file);
        let starts = if file == "snapshot" { vec![FILE_HEADER] } else { frames(&good) };
        let middle = starts[starts.len() / 2 - usize::from(starts.len() > 1)];
        let places: Vec<(usize, usize)> = match file {
            "hard" => vec![],
            "snapshot" => vec![(20, 0), (FILE_HEADER + 1, FILE_HEADER)],
            _ => vec![(20, 0), (middle + 17, middle), (middle + RECORD_HEADER, middle)],
        };
        for (at, offset) in places {
            stopped.flip(file, at);
            let before = stopped.contents();
            let said = format!("{file} is damaged at byte {offset}");
            let lines = check(&["journal", "verify"], &stopped.dir, 1, &[&said]);
            let line = of(&lines, file);
            assert_eq!((&line["ok"], &line["offset"]), (&json!(false), &json!(offset)), "{line}");
            check(&["journal", "stats"], &stopped.dir, 1, &[&said]);
            assert_eq!(stopped.contents(), before, "{file} was touched");
            stopped.write(file, &good);
        }
    }
    stopped.flip("hard", 20);
    check(&["journal", "verify"], &stopped.dir, 0, &["is sound"]);
    stopped.flip("hard", 4_096 + 20);
    let lines = check(&["journal", "verify"], &stopped.dir, 1, &["hard is damaged at byte 0"]);
    assert_eq!(of(&lines, JOURNAL)["ok"], true, "the rest is looked at all the same");
}

#[test]
fn a_torn_end_is_told_and_no_damage() {
    for file in [JOURNAL, "runs"] {
        let stopped = Stopped::new();
        let good = stopped.read(file);
        stopped.write(file, &good[..good.len() - 1]);
        let what = format!("the last group of {file} was cut short");
        let lines = check(&["journal", "verify"], &stopped.dir, 0, &[&what, "is sound"]);
        assert!(of(&lines, file)["torn"]["offset"].is_u64(), "{lines:?}");
        assert_eq!(stopped.read(file).len(), good.len() - 1, "it was cut");
    }
}

#[test]
fn what_is_no_directory_of_ours_is_refused_by_name() {
    let home = tempfile::tempdir().expect("a directory");
    let (empty, file) = (home.path().join("empty"), home.path().join("file"));
    fs::create_dir(&empty).expect("a directory");
    fs::write(&file, "precious").expect("a file");
    for verb in [
        &["journal", "verify"][..],
        &["journal", "dump"],
        &["journal", "stats"],
        &["reset", "--yes"],
    ] {
        check(verb, &empty, 1, &["holds no data of an agent"]);
        check(verb, &file, 1, &["ot a directory"]);
        check(verb, &home.path().join("nowhere"), 1, &["cannot open"]);
    }
    check(&["journal", "recover", "--accept-loss"], &empty, 1, &["holds no data of an agent"]);
    assert_eq!(fs::read_dir(&empty).expect("it is there").count(), 0, "something was made");

    let (stopped, other) = (Stopped::new(), Stopped::new());
    for file in [JOURNAL, "runs"] {
        let good = stopped.read(file);
        stopped.write(file, &other.read(file));
        check(&["journal", "verify"], &stopped.dir, 1, &[file, "of another cluster"]);
        check(&["journal", "recover"], &stopped.dir, 1, &["of another cluster"]);
        let mut newer = good.clone();
        newer[8..12].copy_from_slice(&7u32.to_le_bytes());
        let crc = crc32fast::hash(&newer[..60]);
        newer[60..64].copy_from_slice(&crc.to_le_bytes());
        stopped.write(file, &newer);
        check(&["journal", "verify"], &stopped.dir, 1, &[file, "format 7", "a later bellwether"]);
        check(&["journal", "recover", "--accept-loss"], &stopped.dir, 1, &["a later bellwether"]);
        stopped.write(file, &good);
    }
    check(&["journal", "verify"], &stopped.dir, 0, &["is sound"]);
}

#[test]
fn who_may_not_look_is_told_so_and_another_user_changes_nothing() {
    if !is_root() {
        say("not run as root: what another user gets was NOT checked");
        return;
    }
    let stopped = Stopped::new();
    fs::set_permissions(stopped.home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it is ours");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$0\" \"$@\" < /dev/null"]).arg(env!("CARGO_BIN_EXE_bellwether"));
    let got = command.args(["journal", "verify"]).arg(&stopped.dir).uid(NOBODY).output();
    // The program itself may lie where nobody may go; then there is nothing to see.
    let got = got.expect("a shell");
    let err = String::from_utf8_lossy(&got.stderr).into_owned();
    assert!(err.contains("ermission denied"), "{err}");

    std::os::unix::fs::chown(&stopped.dir, Some(NOBODY), None).expect("root may");
    stopped.flip("runs", 20);
    for verb in [&["journal", "recover", "--accept-loss"][..], &["reset", "--yes"]] {
        check(verb, &stopped.dir, 1, &["belongs to the user with the id 65534"]);
    }
}

#[test]
fn each_kind_of_damage_is_recovered_from_up_to_where_it_is() {
    type Damage = fn(&Stopped);
    // What it is, whether there is a snapshot, what is said, and the jobs that are kept.
    type Row<'r> = (&'r str, bool, Damage, &'r [&'r str], &'r [&'r str]);
    let last_put: Damage = |stopped| {
        let bytes = stopped.read(JOURNAL);
        let name = bytes.windows(6).rposition(|part| part == b"second").expect("its record");
        stopped.flip(JOURNAL, name);
    };
    let rows: [Row; 9] = [
        (
            "identity",
            false,
            |s| {
                s.flip("hard", 20);
                s.flip("hard", 4_116);
            },
            &["hard is damaged", "no record is lost"],
            &["first", "second"],
        ),
        (
            "no identity",
            false,
            |s| fs::remove_file(s.path("hard")).expect("it is there"),
            &["hard: it is missing", "no record is lost"],
            &["first", "second"],
        ),
        (
            "runs log",
            false,
            |s| s.flip("runs", FILE_HEADER + 17),
            &["runs is damaged at byte 64", "no record is lost"],
            &["first", "second"],
        ),
        (
            "no runs log",
            false,
            |s| fs::remove_file(s.path("runs")).expect("it is there"),
            &["runs: it is missing"],
            &["first", "second"],
        ),
        (
            "a record",
            false,
            last_put,
            &["is damaged at byte", "lost is every record from"],
            &["first"],
        ),
        (
            "a record that the snapshot has",
            true,
            |s| s.flip(JOURNAL, FILE_HEADER + 17),
            &["is damaged at byte 64", "lost is every record from"],
            &["first", "second"],
        ),
        (
            "no segment",
            true,
            |s| fs::remove_file(s.path(JOURNAL)).expect("it is there"),
            &["journal: it is missing", "lost is every record from"],
            &["first", "second"],
        ),
        (
            "snapshot",
            true,
            |s| s.flip("snapshot", 70),
            &["snapshot is damaged at byte 64", "no record is lost"],
            &["first", "second"],
        ),
        (
            "all at once",
            true,
            |s| {
                s.flip("hard", 20);
                s.flip("hard", 4_116);
                s.flip("runs", 20);
                s.flip("snapshot", 20);
            },
            &["hard", "runs", "snapshot"],
            &["first", "second"],
        ),
    ];
    for (what, snapshot, damage, said, jobs) in rows {
        let stopped = if snapshot { Stopped::with_snapshot(true) } else { Stopped::new() };
        let ids = check(&["journal", "stats"], &stopped.dir, 0, &[]).remove(0);
        damage(&stopped);
        let damaged = stopped.contents();
        let said_so = [said, &["nothing was changed; add --accept-loss"]].concat();
        check(&["journal", "recover"], &stopped.dir, 2, &said_so);
        assert_eq!(stopped.contents(), damaged, "{what}");
        check(&["journal", "recover", "--accept-loss"], &stopped.dir, 0, said);
        let stats = check(&["journal", "stats"], &stopped.dir, 0, &[]).remove(0);
        for id in ["cluster", "store", "node"] {
            assert_ne!(stats[id], ids[id], "{what}");
        }
        let aside: Vec<PathBuf> = fs::read_dir(&stopped.dir)
            .expect("it is there")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.to_string_lossy().contains("/damaged-"))
            .collect();
        assert_eq!(aside.len(), 1, "{what}: {aside:?}");
        for (path, bytes) in damaged {
            let name = path.strip_prefix(&stopped.dir).expect("it is below");
            let is_ours = ["hard", "runs", "snapshot"].iter().any(|file| Path::new(file) == name);
            if is_ours || name.starts_with("journal") {
                let kept = fs::read(aside[0].join(name)).unwrap_or_default();
                assert_eq!(kept, bytes, "{what}: {name:?} is not kept");
            }
        }
        let mut agent = stopped.check_start(jobs);
        // It goes on as any other does.
        run_to_its_end(&agent.unix(), "first");
        agent.kill9();
        agent.restart();
        assert_eq!(names(&agent.unix()), jobs, "{what}");
    }
}

#[test]
fn jobs_that_no_sound_record_has_are_not_recovered() {
    let stopped = Stopped::with_snapshot(false);
    stopped.flip("snapshot", 70);
    let before = stopped.contents();
    for line in [&["journal", "recover"][..], &["journal", "recover", "--accept-loss"]] {
        check(line, &stopped.dir, 1, &["jobs cannot be recovered", "snapshot is damaged"]);
    }
    assert_eq!(stopped.contents(), before);
    check(&["reset", "--yes"], &stopped.dir, 0, &["begins anew"]);
    stopped.check_start(&[]);
}

#[test]
fn an_open_run_ends_lost_and_is_not_started_again() {
    let mut agent = Agent::start();
    let witness = agent.home().join("witness");
    let command = format!("echo started >> '{}'; sleep 300", witness.display());
    let job = json!({"name": "long", "schedule": "@manually", "command": command, "shell": true,
        "start_deadline": "1h"});
    post(&agent, job);
    agent.unix().post("/v1/jobs/long/run", "").expect(200);
    wait_until(DEADLINE, "it has started", || witness.exists().then_some(()));
    agent.kill9();
    let file = agent.data_dir().join("runs");
    let mut bytes = fs::read(&file).expect("it is there");
    bytes[20] ^= 1;
    fs::write(&file, bytes).expect("it is ours");
    let said = ["1 open runs end as lost"];
    check(&["journal", "recover", "--accept-loss"], agent.data_dir(), 0, &said);
    agent.restart();
    let shown = agent.get("/v1/jobs/long/executions").expect(200).json();
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown[0]["state"], "lost", "{shown}");
    run_by_hand_still_works(&agent);
    assert_eq!(fs::read_to_string(&witness).expect("it is there"), "started\n");
}

#[track_caller]
fn run_by_hand_still_works(agent: &Agent) {
    post(agent, json!({"name": "other", "schedule": "@manually", "command": "true"}));
    run_to_its_end(&agent.unix(), "other");
}

#[test]
fn a_due_time_whose_claim_was_lost_is_not_run_again() {
    let mut agent = Agent::start();
    let witness = agent.home().join("witness");
    let line = r#"echo "$BELLWETHER_SCHEDULED_FOR""#;
    let command = format!("{line} >> '{}'", witness.display());
    let job = json!({"name": "each", "schedule": "* * * * * *", "command": command, "shell": true,
        "catchup": "all"});
    post(&agent, job);
    let lines = || fs::read_to_string(&witness).unwrap_or_default();
    wait_until(DEADLINE, "it has run", || (lines().lines().count() >= 3).then_some(()));
    agent.kill9();
    // The first claim and all after it.
    let file = agent.data_dir().join(JOURNAL);
    let mut bytes = fs::read(&file).expect("it is there");
    let claim = frames(&bytes).into_iter().find(|&start| bytes[start + 40] == 6).expect("a claim");
    bytes[claim + RECORD_HEADER] ^= 1;
    fs::write(&file, bytes).expect("it is ours");
    check(&["journal", "recover", "--accept-loss"], agent.data_dir(), 0, &["lost is every record"]);
    let before = lines().lines().count();
    agent.restart();
    wait_until(DEADLINE, "it goes on", || (lines().lines().count() > before).then_some(()));
    let text = lines();
    let mut times: Vec<&str> = text.lines().collect();
    times.sort_unstable();
    let count = times.len();
    times.dedup();
    assert_eq!(times.len(), count, "a due time was run twice: {text}");
    let shown = agent.get("/v1/jobs/each/executions").expect(200).json();
    let lost = shown.as_array().expect("an array").iter().filter(|one| one["state"] == "lost");
    assert_eq!(lost.count(), 1, "{shown}");
}

#[test]
fn a_recovery_that_was_cut_short_is_finished_by_the_next() {
    // Which of the names were moved out, and which were moved in, when the power went.
    let all = ["hard", "journal", "runs", "snapshot"];
    for (out, inside) in [(0, 0), (1, 0), (3, 0), (4, 0), (4, 1), (4, 3), (4, 4)] {
        let stopped = Stopped::with_snapshot(true);
        stopped.flip("runs", 20);
        check(&["journal", "recover", "--accept-loss"], &stopped.dir, 0, &[]);
        let folder = fs::read_dir(&stopped.dir)
            .expect("it is there")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("plain"))
            .find(|name| name.starts_with("damaged-"))
            .expect("the damaged files are kept");
        // Back to that moment.
        let built = stopped.path("recovery.tmp");
        fs::create_dir(&built).expect("a folder");
        for (place, name) in all.iter().enumerate() {
            if place >= inside {
                fs::rename(stopped.path(name), built.join(name)).expect("it is there");
            }
            if place >= out {
                let old = stopped.path(&folder).join(name);
                fs::rename(old, stopped.path(name)).expect("it is there");
            }
        }
        let phase = if inside > 0 || out == 4 { "in" } else { "out" };
        fs::write(stopped.path("recovery"), format!("{phase} {folder}")).expect("it is ours");

        let mut refused = Agent::builder().data_dir(&stopped.dir).launch();
        assert_eq!(refused.wait().code(), Some(1));
        assert!(refused.whole_log().contains("a recovery of it is unfinished"), "{out}, {inside}");
        check(&["journal", "verify"], &stopped.dir, 1, &["a recovery was cut short"]);
        check(&["journal", "recover"], &stopped.dir, 2, &["add --accept-loss to finish it"]);
        check(&["journal", "recover", "--accept-loss"], &stopped.dir, 0, &["is finished"]);
        assert!(!built.exists() && !stopped.path("recovery").exists());
        for name in all {
            assert!(stopped.path(&folder).join(name).exists(), "{out}, {inside}: {name}");
        }
        stopped.check_start(&["first", "second"]);
    }
}

#[test]
fn a_reset_moves_all_aside_and_the_next_start_begins_anew() {
    let stopped = Stopped::with_snapshot(true);
    stopped.write("notes.txt", b"somebody's");
    let before = stopped.contents();
    check(&["reset"], &stopped.dir, 2, &["hard, journal, runs, snapshot", "add --yes to do it"]);
    assert_eq!(stopped.contents(), before);
    for (flag, instead) in [("--genesis", "reset DIR --yes"), ("--rejoin", "journal recover")] {
        check(&["reset", flag], &stopped.dir, 2, &["is for clusters", instead]);
    }
    check(&["reset", "--yes"], &stopped.dir, 0, &["was moved into reset-"]);
    let after = stopped.contents();
    let moved = after.keys().filter(|path| path.to_string_lossy().contains("/reset-"));
    assert_eq!(moved.count(), 1 + 3 + 2, "{:?}", after.keys());
    assert_eq!(stopped.read("notes.txt"), b"somebody's");
    let agent = stopped.check_start(&[]);
    run_by_hand_still_works(&agent);
    drop(agent);
    // One that was cut short is taken for damage, never for a new directory.
    fs::rename(stopped.path("hard"), stopped.path("reset-hard")).expect("it is there");
    let mut refused = Agent::builder().data_dir(&stopped.dir).launch();
    assert_eq!(refused.wait().code(), Some(1));
    check(&["reset", "--yes"], &stopped.dir, 0, &["was moved into reset-"]);
    stopped.check_start(&[]);
}

#[test]
fn a_wrong_command_line_is_answered_with_what_is_right() {
    let here = Path::new("/nowhere");
    for (line, part) in [
        (&["journal"][..], "is none of verify, dump, stats, recover"),
        (&["journal", "dump", "--from", "0"], "--from: \"0\" is not a number from 1"),
        (&["journal", "dump", "--count=x"], "--count: \"x\" is not a number from 1"),
        (&["journal", "verify", "--fix"], "fix"),
        (&["journal", "verify", "a"], "one data directory is expected after verify, found 2"),
        (&["reset", "--force"], "force"),
    ] {
        check(line, here, 2, &[part, "See: bellwether help"]);
    }
}
