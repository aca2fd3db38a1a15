//! Command lines, files and environments, and what becomes of them.

mod files;
mod layers;
mod lines;
mod pages;
mod table;

use super::*;
use crate::agent::Settings;

/// A world without variables and without the default file, but with the files that a test makes.
fn world(variables: &[(&str, &str)]) -> World {
    let variables = variables.iter().map(|(name, text)| (name.into(), text.into())).collect();
    World {
        variables,
        hostname: "alpha.example".into(),
        read_file: |path, max_bytes| {
            if path == Path::new(flags::CONFIG_FILE) {
                return Err(io::ErrorKind::NotFound.into());
            }
            (World::real().read_file)(path, max_bytes)
        },
        knows_zone: |name| name == "Europe/Paris",
    }
}

fn parse(line: &[&str]) -> Result<Action, Refusal> {
    try_parse_from(line.iter().map(OsString::from))
}

/// The settings of `bellwether agent FLAGS` with these variables.
fn load(flags: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let line: Vec<&str> = ["agent"].iter().chain(flags).copied().collect();
    match parse(&line) {
        Ok(Action::Agent(given)) => settings::load(given, &world(variables)),
        Ok(other) => panic!("{line:?} is {other:?}"),
        Err(refusal) => Err(refusal.complaints),
    }
}
