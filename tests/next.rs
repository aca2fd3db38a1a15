//! `bellwether next`: due times on stdout, errors that point, and schedules in words.
//!
//! Each file of `testdata/explain` is a conversation: a command line after `$ `, then what it
//! prints, lines of stderr after `! `, and the exit code if it is not 0. To write the answers anew
//! and look at the difference: `BELLWETHER_REWRITE=1 cargo test --test next`.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what fails here fails the test")]

use bellwether::cli::next::run;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

struct Answer {
    out: String,
    err: String,
    code: ExitCode,
}

fn next(args: &[&str]) -> Answer {
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&args, &mut out, &mut err);
    let [out, err] = [out, err].map(|bytes| String::from_utf8(bytes).unwrap());
    Answer { out, err, code }
}

#[track_caller]
fn check(args: &[&str], out: &str, err: &str, code: u8) {
    let answer = next(args);
    assert_eq!(answer.err, err, "{args:?}");
    assert_eq!(answer.out, out, "{args:?}");
    assert_eq!(answer.code, ExitCode::from(code), "{args:?}");
}

#[test]
fn conversations_are_those_of_the_files() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/explain");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 20, "only {} conversations were found", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let answered: String =
            text.lines().filter_map(|l| l.strip_prefix("$ ")).map(talk).collect();
        if std::env::var_os("BELLWETHER_REWRITE").is_some() {
            std::fs::write(&file, answered).unwrap();
        } else {
            assert_eq!(answered, text, "{}", file.display());
        }
    }
}

fn talk(command: &str) -> String {
    let words = words(command);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let args = words.strip_prefix(&["bellwether", "next"]).expect("each line calls the verb");
    let answer = next(args);
    let mut text = format!("$ {command}\n{}", answer.out);
    text.extend(answer.err.lines().map(|line| format!("! {line}\n")));
    if answer.code != ExitCode::SUCCESS {
        text.push_str(&format!("{:?}\n", answer.code));
    }
    text
}

/// Words between blanks, or between single quotes.
fn words(command: &str) -> Vec<String> {
    let quoted = |(number, part): (usize, &str)| match number % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    };
    command.split('\'').enumerate().flat_map(quoted).collect()
}

const FROM: &str = "--from=2026-01-01T00:00:00Z";
const UTC: &str = "--timezone=UTC";

#[test]
fn due_times_come_one_a_line_with_their_offset() {
    let paris = "--timezone=Europe/Paris";
    let late = "2026-03-28T03:00:00+01:00\n2026-03-29T03:00:00+02:00\n";
    for (args, out) in [
        (
            [UTC, FROM, "--count=2", "0 12 * * *"],
            "2026-01-01T12:00:00+00:00\n2026-01-02T12:00:00+00:00\n",
        ),
        ([paris, "--from=2026-03-27T12:00:00Z", "--count=2", "0 3 * * *"], late),
        (
            ["--from=2026-03-27T12:00:00Z", "--count=2", "--explain", "@manually"],
            "never by itself, only when it is started by hand\n",
        ),
        ([UTC, FROM, "--count=1", "@every 1h30m"], "2026-01-01T01:30:00+00:00\n"),
        ([UTC, FROM, "--count=3", "@at 2026-02-01T00:00:00Z"], "2026-02-01T00:00:00+00:00\n"),
        ([UTC, FROM, "--count=3", "@at 2025-02-01T00:00:00Z"], ""),
        ([UTC, FROM, "--count=3", "0 0 30 2 *"], ""),
        ([UTC, FROM, "--count=1", "CRON_TZ=UTC 0 0 1 2 *"], "2026-02-01T00:00:00+00:00\n"),
    ] {
        check(&args, out, "", 0);
    }
    assert_eq!(next(&[UTC, FROM, "* * * * *"]).out.lines().count(), 5);
    assert_eq!(next(&[UTC, "@hourly"]).out.lines().count(), 5, "from now on");
    assert_eq!(next(&[UTC, "--count=100000", "* * * * * *"]).out.lines().count(), 100_000);
}

#[test]
fn a_name_decides_a_spread_and_without_one_there_is_a_note() {
    let of = |name: &str| next(&[UTC, FROM, name, "~ ~ * * *"]).out;
    assert_eq!(of("--name=a"), of("--name=a"));
    assert_ne!(of("--name=a"), of("--name=b"));
    let answer = next(&[UTC, FROM, "~ ~ * * *"]);
    assert_eq!(answer.err, "bellwether next: ~ depends on the job's name; give --name\n");
    assert_eq!((answer.out.lines().count(), answer.code), (5, ExitCode::SUCCESS));
}

#[test]
fn a_wrong_schedule_is_pointed_at() {
    for (schedule, message) in [
        ("75 * * * *", "minute field: 75 is out of range 0-59 (column 1)\n75 * * * *\n^~\n"),
        (
            "* * * * FOO",
            "unknown name \"FOO\" in the day-of-week field; it takes 0-7 and SUN to SAT \
             (column 9)\n* * * * FOO\n        ^~~\n",
        ),
        ("*\t75\t* * *", "hour field: 75 is out of range 0-23 (column 3)\n*\\t75\\t* * *\n   ^~\n"),
        (
            "* * * \x1b[2J *",
            "month field: a number is expected, found '\\x1b' (column 7)\n\
             * * * \\x1b[2J *\n      ^~~~\n",
        ),
        (
            "",
            "the schedule is empty; five fields are expected (minute hour day-of-month month \
             day-of-week), or six (second in front), or a word such as @daily (column 1)\n\n^\n",
        ),
        (
            "TZ=Mars/Base * * * * *",
            "unknown time zone \"Mars/Base\" (column 4)\n\
             TZ=Mars/Base * * * * *\n   ^~~~~~~~~\n",
        ),
    ] {
        check(&[schedule], "", &format!("bellwether next: {message}"), 2);
    }
    let long = "*".repeat(2_000);
    let answer = next(&[&long]);
    assert_eq!((answer.err.lines().count(), answer.code), (1, ExitCode::from(2)), "{}", answer.err);
}

#[test]
fn wrong_options_get_a_sentence() {
    for (args, sentence) in [
        (&[][..], "a schedule is missing"),
        (&["*", "*", "*", "*", "*"], "one schedule in quotes is expected, found 5 arguments"),
        (&["--bogus", "@daily"], "Unrecognized option: 'bogus'"),
        (&["--bo\x1bgus", "@daily"], "Unrecognized option: 'bo\\x1bgus'"),
        (&["--count=0", "@daily"], "--count: \"0\" is not a number from 1 to 100000"),
        (&["--count=100001", "@daily"], "--count: \"100001\" is not a number from 1 to 100000"),
        (&["--count=x\x1b", "@daily"], "--count: \"x\\x1b\" is not a number from 1 to 100000"),
        (&["--count=1", "--count=2", "@daily"], "Option 'count' given more than once"),
        (
            &["--from=today", "@daily"],
            "--from: \"today\" is not an RFC 3339 time, 2026-01-02T03:04:05Z",
        ),
        (&["--timezone=Mars/Base", "@daily"], "--timezone: unknown time zone \"Mars/Base\""),
        (
            &["--timezone=../etc", "@daily"],
            "--timezone: has '.' at character 1; write a name such \
             as Europe/Paris",
        ),
        (
            &["--timezone=UTC", "CRON_TZ=Asia/Tokyo 0 0 * * *"],
            "--timezone: \"UTC\" differs from \
             \"Asia/Tokyo\", with which the schedule begins; give one of them",
        ),
    ] {
        let err = format!("bellwether next: {sentence}; see bellwether next --help\n");
        check(args, "", &err, 2);
    }
}

#[test]
fn help_names_every_option() {
    let answer = next(&["--help"]);
    assert_eq!(answer.code, ExitCode::SUCCESS);
    for option in ["--timezone", "--from", "--count", "--name", "--explain", "--help"] {
        assert!(answer.out.contains(option), "{option}: {}", answer.out);
    }
}

/// A pipe whose reader takes some bytes and goes.
struct Closing(usize, io::ErrorKind);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(self.1)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_is_no_failure_but_a_full_disk_is() {
    for (kind, code, said) in
        [(io::ErrorKind::BrokenPipe, 0, false), (io::ErrorKind::StorageFull, 1, true)]
    {
        for args in [&["--explain", "@daily"][..], &["--help"]] {
            for room in [0, 10, 60] {
                let args: Vec<String> = args.iter().map(ToString::to_string).collect();
                let mut err = Vec::new();
                let answer = run(&args, &mut Closing(room, kind), &mut err);
                assert_eq!(answer, ExitCode::from(code), "{args:?} {room} {kind}");
                assert_eq!(!err.is_empty(), said, "{args:?} {room} {kind}");
            }
        }
    }
}

#[test]
fn the_examples_of_the_man_page_are_schedules() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/bellwether-schedule.5");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, examples) = page.split_once(".Sh EXAMPLES").unwrap();
    let texts: Vec<String> = examples
        .lines()
        .filter_map(|line| line.strip_prefix(".It Li "))
        .map(|text| text.replace("\\&", ""))
        .collect();
    assert!(texts.len() >= 5, "{texts:?}");
    for text in texts {
        let answer = next(&["--name", "a", "--count", "1", &text]);
        assert_eq!((answer.code, answer.err.as_str()), (ExitCode::SUCCESS, ""), "{text}");
        assert!(!answer.out.is_empty(), "{text} is never due");
    }
}
