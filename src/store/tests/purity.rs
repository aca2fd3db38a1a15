//! The same journal gives the same bytes in any process: whatever its zone, its language, its
//! directory, the place of its memory and the seed of its hashes are.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use super::*;
use crate::codec::{Decoder, Encoder};

/// Where a child finds the journal; its presence makes one.
const JOURNAL: &str = "STORE_TEST_JOURNAL";
const RECORDS: usize = 4_000;

#[test]
fn the_same_journal_gives_the_same_bytes_in_every_process() {
    if let Some(file) = env::var_os(JOURNAL) {
        println!("states {:?}", states(&fs::read(file).unwrap()));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let empty = empty.to_str().unwrap();
    let file = dir.path().join("journal");
    for seed in [7_000, 7_001] {
        let journal = journal(seed);
        fs::write(&file, &journal).unwrap();
        let here = states(&journal);
        let elsewhere = std::thread::scope(|scope| scope.spawn(|| states(&journal)).join());
        assert_eq!(elsewhere.unwrap(), here, "seed {seed}: another thread");
        for variables in [
            &[][..],
            &[("TZ", "Pacific/Kiritimati"), ("LC_ALL", "tr_TR.UTF-8")],
            &[("TZ", ":/no/such/zone"), ("TZDIR", empty), ("LANG", "de_DE")],
            // The allocator fills what it gives and takes, and gives other places.
            &[("MALLOC_PERTURB_", "165"), ("MALLOC_MMAP_THRESHOLD_", "64"), ("TZDIR", empty)],
        ] {
            let told = in_child(&file, variables);
            let wanted = format!("states {here:?}");
            assert!(told.contains(&wanted), "seed {seed}, {variables:?}: {told}");
        }
    }
}

/// What this test says in a process of its own, with these variables alone.
fn in_child(file: &Path, variables: &[(&str, &str)]) -> String {
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::the_same_journal_gives_the_same_bytes_in_every_process");
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", &test, "--nocapture", "--test-threads=1"]);
    child.current_dir("/").env_clear().env(JOURNAL, file).envs(variables.iter().copied());
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    told
}

/// The payloads of a history in which every kind of record occurs.
fn journal(seed: u64) -> Vec<u8> {
    let told = go_on(&mut Rng::new(seed), &mut State::new(), RECORDS);
    let kinds: BTreeSet<u8> = told.iter().map(|entry| entry.record.kind()).collect();
    assert!(KINDS.iter().all(|kind| kinds.contains(kind)), "seed {seed}: {kinds:?}");
    let mut out = Encoder::new();
    out.list(told.into_iter(), |out, entry| {
        let payload = entry.record.encode(entry.wall, &entry.actor);
        out.u64(entry.index.0).u64(entry.epoch.0).u8(entry.record.kind()).bytes(&payload);
    });
    out.into_bytes()
}

/// Prints of the state after this journal: applied at once, twice, with other memory in between
/// and another state beside it; and carried over by a snapshot at some places.
fn states(journal: &[u8]) -> Vec<String> {
    let entries = || {
        let mut input = Decoder::new(journal);
        let entry = |input: &mut Decoder<'_>| {
            let (index, epoch) = (Index(input.u64()?), Epoch(input.u64()?));
            let kind = input.u8()?;
            Entry::decode(index, epoch, kind, SCHEMA, input.bytes()?)
        };
        input.list(entry).unwrap()
    };
    let (mut straight, mut beside) = (State::new(), State::new());
    let mut rng = Rng::new(journal.len() as u64);
    let mut junk: Vec<Vec<u8>> = Vec::new();
    for entry in entries() {
        straight.apply(entry.clone());
        junk.push(vec![1; rng.below(2_000) as usize]);
        if junk.len() > 100 {
            junk.swap_remove(rng.below(100) as usize);
        }
        beside.apply(entry);
    }
    let mut prints = vec![print(&straight), print(&beside)];
    for _ in 0..3 {
        let place = rng.below(RECORDS as u64);
        let mut state = State::new();
        for entry in entries() {
            if entry.index.0 == place {
                state = load(&chunks(&state)).unwrap();
            }
            state.apply(entry);
        }
        prints.push(print(&state));
    }
    assert!(prints.iter().all(|print| print == &prints[0]), "{prints:?}");
    prints
}

/// FNV-1a of 128 bits over the chunks of a snapshot, each with its length.
fn print(state: &State) -> String {
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    for chunk in state.snapshot() {
        for &byte in chunk.len().to_le_bytes().iter().chain(&chunk) {
            hash =
                (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    format!("{hash:032x}")
}
