//! The fuzz targets without a fuzzer: over what is kept in `testdata/fuzz`, and over what a seeded
//! generator makes of it.
//!
//! A failure names target and seed: `BELLWETHER_FUZZ_SEED=17` replays it, and
//! `BELLWETHER_FUZZ_SEEDS=100000` looks further. An input that once failed is kept as a file.
#![allow(clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

mod fuzz_targets;

use bellwether::rng::Rng;
use fuzz_targets::{cron, gossip, http, job, journal, seal, wire};
use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::Path;

/// Seeds tried when nothing is said.
const SEEDS: u64 = 2_000;

/// Most changes made to one input.
const CHANGES_MAX: u64 = 8;

#[test]
fn any_text_is_a_schedule_or_an_error_that_points_into_it() {
    fuzz("cron_parse", SEEDS, &WORDS_OF_CRON, cron::cron_parse);
}

#[test]
fn the_next_due_time_is_later_and_has_the_fields() {
    fuzz("cron_next", SEEDS, &WORDS_OF_CRON, cron::cron_next);
}

#[test]
fn any_body_is_a_job_or_gets_a_sentence() {
    fuzz("job_read", SEEDS, &WORDS_OF_JSON, job::job_read);
}

#[test]
fn any_bytes_come_to_an_end_and_to_the_same_requests_in_pieces() {
    fuzz("http_bytes", SEEDS / 4, &WORDS_OF_HTTP, http::http_bytes);
}

#[test]
fn any_files_are_opened_as_they_will_be_again_or_refused() {
    fuzz("journal_open", SEEDS, &[], journal::journal_open);
}

#[test]
fn nothing_is_accepted_that_was_not_sealed_with_the_key() {
    fuzz("seal_open", SEEDS, &[], seal::seal_open);
}

#[test]
fn any_bytes_are_a_message_that_is_written_as_it_was_or_none_and_a_node_stays_sound() {
    fuzz("gossip_decode", SEEDS / 4, &[], gossip::gossip_decode);
}

#[test]
fn any_frame_is_a_word_that_is_written_as_it_was_or_none() {
    fuzz("wire_decode", SEEDS * 10, &[], wire::wire_decode);
}

const WORDS_OF_CRON: [&str; 32] = [
    "*",
    "?",
    "*/5",
    "0",
    "7",
    "31",
    "59",
    "60",
    "-",
    ",",
    "/",
    " ",
    "\t",
    "~",
    "~/15",
    "H",
    "L",
    "L-3",
    "LW",
    "W",
    "15W",
    "#",
    "5#3",
    "FRI",
    "SUN",
    "JAN",
    "FRIL",
    "@every ",
    "1h30m",
    "@at ",
    "CRON_TZ=",
    "999999999999",
];

const WORDS_OF_JSON: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "1e999",
    "-0",
    "\"a\"",
    "\"name\":",
    "\"schedule\":",
    "\"tags\":",
    "\"timezone\":",
    "\"retries\":",
    "\u{1b}[2J",
];

const WORDS_OF_HTTP: [&str; 20] = [
    "GET ",
    "POST ",
    " HTTP/1.1",
    " HTTP/1.0",
    "\r\n",
    "\n",
    "\r\n\r\n",
    "Host: a\r\n",
    ":",
    " ",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "%2f",
    "/v1/jobs",
    "?a=b",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "\u{0}",
];

fn fuzz(target: &str, seeds: u64, words: &[&str], check: fn(&[u8])) {
    let corpus = corpus(target);
    for (name, bytes) in &corpus {
        run(target, &format!("the file {name}"), bytes, check);
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("BELLWETHER_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BELLWETHER_FUZZ_SEEDS").unwrap_or(seeds),
    };
    for seed in seeds {
        let bytes = made(&mut Rng::new(seed), &corpus, words);
        run(target, &format!("seed {seed}"), &bytes, check);
    }
}

fn run(target: &str, what: &str, bytes: &[u8], check: impl Fn(&[u8]) + RefUnwindSafe) {
    let shown = String::from_utf8_lossy(bytes);
    assert!(catch_unwind(|| check(bytes)).is_ok(), "{target} fails with {what}: {shown:?}");
}

/// A kept input with some changes.
fn made(rng: &mut Rng, corpus: &[(String, Vec<u8>)], words: &[&str]) -> Vec<u8> {
    let below = |rng: &mut Rng, bound: usize| rng.below(bound as u64) as usize;
    let mut bytes = corpus[below(rng, corpus.len())].1.clone();
    for _ in 0..=rng.below(CHANGES_MAX) {
        let at = below(rng, bytes.len() + 1);
        let end = (at + below(rng, 8)).min(bytes.len());
        match rng.below(6) {
            0 if at < bytes.len() => bytes[at] = rng.next_u64() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let other = &corpus[below(rng, corpus.len())].1;
                let from = below(rng, other.len() + 1);
                bytes.splice(at..end, other[from..].iter().copied());
            }
            4 => bytes.insert(at, rng.next_u64() as u8),
            _ if words.is_empty() => bytes.truncate(end),
            _ => drop(bytes.splice(at..end, words[below(rng, words.len())].bytes())),
        }
    }
    bytes
}

/// The kept inputs of a target with their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/fuzz").join(target);
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&dir)
        .expect("each target has its folder")
        .map(|entry| entry.expect("a folder can be read"))
        .map(|entry| {
            let bytes = std::fs::read(entry.path()).expect("a file can be read");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{target} has too few inputs to begin with");
    files
}
