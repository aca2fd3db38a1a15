//! The style of the house, as a test. Each rule is a function from a file to complaints, and has a
//! test of its own beside it that shows it catching a planted violation.
#![allow(clippy::expect_used, reason = "what fails here fails the test")]

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;

use source::Source;
use std::fs;
use std::path::Path;

/// What is wrong, and where: `path:line: what`.
type Complaint = String;

type Rule = fn(&Source) -> Vec<Complaint>;

const RULES_OF_SRC: [Rule; 12] = [
    arrows::arrows,
    arrows::crates,
    arrows::nouns,
    arrows::purity,
    arrows::unsafe_code,
    shape::columns,
    shape::file_size,
    shape::function_size,
    shape::leftovers,
    shape::one_voter,
    shape::sleeps,
    |file| one_path_per_module(file),
];

const RULES_OF_TESTS: [Rule; 3] = [shape::columns, shape::leftovers, shape::sleeps];

#[test]
fn the_house_is_tidy() {
    let (src, mut complaints) = tree::reachable(files("src"));
    assert!(src.len() > 10, "the house was not found");
    complaints.extend(tree::total_size(&src));
    complaints.extend(tree::crate_count(&read("Cargo.toml"), &read("Cargo.lock")));
    for file in &src {
        complaints.extend(RULES_OF_SRC.iter().flat_map(|rule| rule(file)));
    }
    for file in &files("tests") {
        complaints.extend(RULES_OF_TESTS.iter().flat_map(|rule| rule(file)));
    }
    assert!(complaints.is_empty(), "{} complaints\n{}", complaints.len(), complaints.join("\n"));
}

/// A module's name says where its file is, or the search for dead files would be blind.
fn one_path_per_module(file: &Source) -> Vec<Complaint> {
    let lines = file.code.lines().enumerate().filter(|(_, line)| line.contains("#[path"));
    lines.map(|(index, _)| complain(file, index + 1, "a module that lives elsewhere")).collect()
}

#[test]
fn a_module_that_lives_elsewhere_is_seen() {
    check(one_path_per_module, "src/x.rs", "#[path = \"y.rs\"]\nmod z;", 1);
    check(one_path_per_module, "src/x.rs", "// #[path]\nmod z;", 0);
}

fn complain(file: &Source, line: usize, what: impl std::fmt::Display) -> Complaint {
    format!("{}:{line}: {what}", file.path)
}

/// Runs `rule` over one made-up file and expects so many complaints.
#[cfg(test)]
#[track_caller]
fn check(rule: Rule, path: &str, text: &str, complaints: usize) {
    let found = rule(&Source::new(path, text));
    assert_eq!(found.len(), complaints, "{path} with {text}: {found:?}");
}

/// The Rust files below `dir`, sorted.
fn files(dir: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(dir, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(dir: &str, files: &mut Vec<Source>) {
    for entry in fs::read_dir(root().join(dir)).expect("the package has its folders") {
        let entry = entry.expect("a folder can be read");
        let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("an entry has a type").is_dir() {
            collect(&path, files);
        } else if path.ends_with(".rs") {
            files.push(Source::new(&path, &read(&path)));
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the package has its files")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
