//! Rules about the package as a whole: its size, its dead files, its dependencies.

use crate::source::{Source, tokens};
use crate::{Complaint, complain};
use std::collections::{BTreeMap, BTreeSet};

/// Lines of code that a person can read in a weekend, with the comments beside them.
const SRC_LINES_MAX: usize = 34_000;
const CORE_LINES_MAX: usize = 7_000;
const CORE: [&str; 2] = ["cluster", "run"];

/// How many crates the program may be made of, all targets and build scripts counted, itself not.
const CRATES_MAX: usize = 40;

/// Beginnings of crates that are only compiled for other systems.
const OTHER_SYSTEMS: [&str; 3] = ["windows", "wasi", "wit-bindgen"];

/// The files that are compiled, found by their `mod` lines from `src/lib.rs` and `src/main.rs`;
/// those behind `#[cfg(test)]` are marked as tests. With complaints about the others.
pub(crate) fn reachable(files: Vec<Source>) -> (Vec<Source>, Vec<Complaint>) {
    let mut files: BTreeMap<String, Source> =
        files.into_iter().map(|file| (file.path.clone(), file)).collect();
    let mut found = Vec::new();
    let mut complaints = Vec::new();
    let mut waiting = vec![("src/lib.rs".to_owned(), false), ("src/main.rs".to_owned(), false)];
    while let Some((path, for_tests)) = waiting.pop() {
        let Some(mut file) = files.remove(&path) else { continue };
        if for_tests {
            file = file.for_tests_only();
        }
        let in_product: BTreeSet<&str> = modules(&file.product).into_iter().collect();
        for name in modules(&file.code) {
            let for_tests = for_tests || !in_product.contains(name);
            let dir = directory(&path);
            for place in [format!("{dir}/{name}.rs"), format!("{dir}/{name}/mod.rs")] {
                waiting.push((place, for_tests));
            }
        }
        found.push(file);
    }
    for file in files.into_values() {
        complaints.push(complain(&file, 1, "a dead file: no mod line leads here"));
    }
    (found, complaints)
}

/// The whole stays small enough to be read.
pub(crate) fn total_size(files: &[Source]) -> Vec<Complaint> {
    let sum = |wanted: &dyn Fn(&Source) -> bool| {
        files.iter().filter(|file| wanted(file)).map(Source::code_lines).sum::<usize>()
    };
    let in_core = |file: &Source| file.room().is_some_and(|room| CORE.contains(&room));
    [("src", sum(&|_| true), SRC_LINES_MAX), ("cluster and run", sum(&in_core), CORE_LINES_MAX)]
        .into_iter()
        .filter(|(_, lines, max)| lines > max)
        .map(|(what, lines, max)| {
            format!("{what}: {lines} lines of code without tests, at most {max}")
        })
        .collect()
}

/// The program is made of few crates. `manifest` is Cargo.toml, `lock` Cargo.lock.
pub(crate) fn crate_count(manifest: &str, lock: &str) -> Vec<Complaint> {
    let crates = normal_crates(manifest, lock);
    if crates.len() <= CRATES_MAX {
        return Vec::new();
    }
    let names = crates.into_iter().collect::<Vec<_>>().join(" ");
    vec![format!("Cargo.lock: more than {CRATES_MAX} crates: {names}")]
}

fn normal_crates(manifest: &str, lock: &str) -> BTreeSet<String> {
    let graph = lock_graph(lock);
    let mut found = BTreeSet::new();
    let mut waiting = direct_dependencies(manifest);
    while let Some(name) = waiting.pop() {
        let other_system = OTHER_SYSTEMS.iter().any(|system| name.starts_with(system));
        if !other_system && found.insert(name.clone()) {
            waiting.extend(graph.get(&name).cloned().unwrap_or_default());
        }
    }
    found
}

/// The keys of `[dependencies]` and `[build-dependencies]`.
fn direct_dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = matches!(line.trim(), "[dependencies]" | "[build-dependencies]");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside) {
            names.push(name.trim().to_owned());
        }
    }
    names
}

/// Which crate needs which. Two versions of one crate count as one.
fn lock_graph(lock: &str) -> BTreeMap<String, Vec<String>> {
    let mut graph = BTreeMap::<String, Vec<String>>::new();
    let mut package = String::new();
    for line in lock.lines() {
        if let Some(name) = line.strip_prefix("name = ") {
            package = name.trim_matches('"').to_owned();
        } else if let Some(needed) = line.strip_prefix(" \"") {
            let name = needed.split(['"', ' ']).next().unwrap_or_default();
            graph.entry(package.clone()).or_default().push(name.to_owned());
        }
    }
    graph
}

/// The names in `mod name;`.
fn modules(code: &str) -> Vec<&str> {
    let tokens = tokens(code);
    let declared = tokens.windows(3).filter(|t| t[0].text == "mod" && t[2].text == ";");
    declared.map(|t| t[1].text).collect()
}

/// Where the modules of the file at `path` are.
fn directory(path: &str) -> &str {
    let stem = path.trim_end_matches(".rs");
    for own in ["/mod", "/lib", "/main"] {
        if let Some(dir) = stem.strip_suffix(own) {
            return dir;
        }
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(rows: &[(&str, &str)]) -> Vec<Source> {
        rows.iter().map(|(path, text)| Source::new(path, text)).collect()
    }

    #[test]
    fn a_dead_file_is_seen() {
        let (mut found, complaints) = reachable(files(&[
            ("src/lib.rs", "pub mod cron;\npub mod time;\n// mod dead;"),
            ("src/cron/mod.rs", "mod field;\n#[cfg(test)]\nmod testing;"),
            ("src/cron/field.rs", "mod deep;"),
            ("src/cron/field/deep.rs", ""),
            ("src/cron/testing.rs", "fn f() {}"),
            ("src/time.rs", ""),
            ("src/dead.rs", ""),
        ]));
        assert_eq!(complaints, ["src/dead.rs:1: a dead file: no mod line leads here"]);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let tests: Vec<_> = found.iter().filter(|file| file.code != file.product).collect();
        let names: Vec<_> = tests.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(found.len(), 6);
        assert_eq!(names, ["src/cron/mod.rs", "src/cron/testing.rs"]);
    }

    #[test]
    fn a_package_that_grows_too_large_is_seen() {
        let lines = |count: usize| "f();\n".repeat(count);
        let sizes = |core: usize, rest: usize| {
            let (core, rest) = (lines(core), lines(rest));
            let rows = [("src/run/mod.rs", core.as_str()), ("src/api/mod.rs", rest.as_str())];
            total_size(&files(&rows)).len()
        };
        assert_eq!(sizes(CORE_LINES_MAX, SRC_LINES_MAX - CORE_LINES_MAX), 0);
        assert_eq!(sizes(CORE_LINES_MAX, SRC_LINES_MAX - CORE_LINES_MAX + 1), 1);
        assert_eq!(sizes(CORE_LINES_MAX + 1, 0), 1);
    }

    #[test]
    fn a_crate_too_many_is_seen() {
        let manifest = "[dependencies]\na = \"1\"\n[dev-dependencies]\nz = \"1\"\n";
        let lock = |count: usize| {
            let needs: Vec<String> = (0..count).map(|n| format!(" \"c{n} 1.0\",\n")).collect();
            let needs = needs.concat();
            format!("[[package]]\nname = \"a\"\ndependencies = [\n{needs} \"windows-sys\",\n]\n")
        };
        assert_eq!(crate_count(manifest, &lock(CRATES_MAX - 1)).len(), 0);
        assert_eq!(crate_count(manifest, &lock(CRATES_MAX)).len(), 1);
        assert!(!normal_crates(manifest, &lock(1)).contains("z"));
    }
}
