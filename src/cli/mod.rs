//! The command line: what was asked for, and who does it.
//!
//! [`try_parse_from`] turns words into an [`Action`] and touches nothing; [`run`] carries it out
//! with a [`World`], so that tests need no process. [`flags`] is the one table of settings, which
//! feeds flags, variables, the configuration file, help, man pages and completion. Nothing here
//! ends the process or panics when an output is closed.

mod args;
mod aside;
mod check_config;
mod dkron;
pub mod dump;
mod file;
pub mod flags;
mod help;
pub mod journal;
mod listen;
pub mod next;
mod recover;
pub mod reset;
pub mod settings;
mod survey;
#[cfg(test)]
mod tests;
mod value;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::agent::FileZones;
use crate::cron::Zones;
use crate::text::{escape_control, nearest};
use crate::{agent, launcher};
use flags::Given;

/// The exit code for a wrong command line or wrong settings: nothing was started.
pub const USAGE: u8 = 2;

/// Most complaints that are printed at once.
const COMPLAINTS_MAX: usize = 20;

const VERBS: [&str; 9] = [
    "agent",
    "launcher",
    "next",
    "check-config",
    "journal",
    "reset",
    "completion",
    "version",
    "help",
];

/// What a command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Run an agent with these flags; variables and the configuration file are yet to be read.
    Agent(Vec<Given>),
    /// Run a launcher.
    Launcher(launcher::Settings),
    /// Show due times; the words after the verb.
    Next(Vec<String>),
    /// Check a configuration file.
    CheckConfig(PathBuf),
    /// Look at a data directory, or recover one.
    Journal(journal::Command),
    /// Move the data of an agent aside.
    Reset(reset::Command),
    /// Print the completion for bash.
    Completion,
    /// Print the version.
    Version,
    /// Print the help of a verb; the overview when `None`.
    Help(Option<&'static str>),
}

/// Why a command line or its settings are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What is wrong, each one clause; never empty.
    pub complaints: Vec<String>,
    /// The verb whose help says more; the overview when `None`.
    pub see: Option<&'static str>,
}

/// What settings are made of beside the flags.
pub struct World {
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// The host's name, as the system has it.
    pub hostname: String,
    /// Reads at most so many bytes of a file.
    pub read_file: fn(&Path, u64) -> io::Result<Vec<u8>>,
    /// Whether there is a time zone of that name.
    pub knows_zone: fn(&str) -> bool,
}

/// The action that the words after the program's name ask for.
///
/// # Errors
/// When there is no such action; the caller exits with [`USAGE`].
pub fn try_parse_from(args: impl IntoIterator<Item = OsString>) -> Result<Action, Refusal> {
    let mut words = Vec::new();
    for arg in args {
        words.push(arg.into_string().map_err(|arg| {
            let shown = escape_control(&arg.to_string_lossy());
            Refusal::of(None, format!("\"{shown}\" is not UTF-8"))
        })?);
    }
    let Some((verb, rest)) = words.split_first() else {
        let verbs = VERBS.join(", ");
        return Err(Refusal::of(None, format!("a verb is missing; the verbs are {verbs}")));
    };
    match verb.as_str() {
        "agent" => agent_action(rest),
        "launcher" => launcher_action(rest),
        "next" => Ok(Action::Next(rest.to_vec())),
        "check-config" if is_help(rest) => Ok(Action::Help(Some("check-config"))),
        "check-config" => check_config_action(rest),
        "journal" if asks_help(rest) => Ok(Action::Help(Some("journal"))),
        "journal" => parsed("journal", journal::parse(rest).map(Action::Journal)),
        "reset" if asks_help(rest) => Ok(Action::Help(Some("reset"))),
        "reset" => parsed("reset", reset::parse(rest).map(Action::Reset)),
        "completion" if is_help(rest) => Ok(Action::Help(Some("completion"))),
        "completion" => completion_action(rest),
        "version" | "--version" | "-V" => alone(verb, rest, Action::Version),
        "help" | "--help" | "-h" => help_action(rest),
        _ => Err(unknown_verb(verb)),
    }
}

/// Carries `action` out and says how the process is to end.
pub fn run(action: Action, world: &World, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    match action {
        Action::Agent(given) => match settings::load(given, world) {
            Ok(settings) => agent::run(&settings),
            Err(complaints) => Refusal { complaints, see: Some("agent") }.report(err),
        },
        Action::Launcher(settings) => launcher::run(&settings),
        Action::Next(args) => next::run(&args, out, err),
        Action::CheckConfig(file) => check_config::run(&file, world, out, err),
        Action::Journal(command) => journal::run(&command, out, err),
        Action::Reset(command) => reset::run(&command, err),
        Action::Completion => print(&help::bash_completion(), out, err),
        Action::Version => print(concat!("bellwether ", env!("CARGO_PKG_VERSION"), "\n"), out, err),
        Action::Help(verb) => print(&help::text(verb), out, err),
    }
}

/// Writes `text` to `out`. That nobody reads on is no failure, that a disk is full is one.
pub(crate) fn print(text: &str, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            say(err, &format!("bellwether: cannot write to standard output: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Writes `text` to `err`, and does not mind when nobody can read it.
fn say(err: &mut dyn Write, text: &str) {
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

impl Refusal {
    fn of(see: Option<&'static str>, complaint: impl Into<String>) -> Refusal {
        Refusal { complaints: vec![complaint.into()], see }
    }

    /// Writes the refusal to `err`, and gives the exit code that it ends with.
    pub fn report(&self, err: &mut dyn Write) -> ExitCode {
        say(err, &self.to_string());
        ExitCode::from(USAGE)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for complaint in self.complaints.iter().take(COMPLAINTS_MAX) {
            writeln!(f, "bellwether: {complaint}")?;
        }
        if let Some(more) = self.complaints.len().checked_sub(COMPLAINTS_MAX).filter(|n| *n > 0) {
            writeln!(f, "bellwether: and {more} more")?;
        }
        let (space, verb) = if let Some(verb) = self.see { (" ", verb) } else { ("", "") };
        writeln!(f, "See: bellwether help{space}{verb}")
    }
}

impl World {
    /// The world as it is.
    pub fn real() -> World {
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        World {
            variables: std::env::vars_os().collect(),
            hostname: hostname.trim_end().to_owned(),
            read_file: |path, max_bytes| {
                let mut bytes = Vec::new();
                File::open(path)?.take(max_bytes).read_to_end(&mut bytes)?;
                Ok(bytes)
            },
            knows_zone: |name| FileZones::system().zone(name).is_some(),
        }
    }
}

fn agent_action(words: &[String]) -> Result<Action, Refusal> {
    let parsed = args::parse(flags::all(), words).map_err(|e| Refusal::of(Some("agent"), e))?;
    if parsed.wants_help {
        return Ok(Action::Help(Some("agent")));
    }
    match parsed.free.first() {
        Some(word) => {
            let what = format!("{} is not an option; an option starts with --", quoted(word));
            Err(Refusal::of(Some("agent"), what))
        }
        None => Ok(Action::Agent(parsed.given)),
    }
}

fn launcher_action(words: &[String]) -> Result<Action, Refusal> {
    let refuse = |complaint: String| Refusal::of(Some("launcher"), complaint);
    let parsed = args::parse(flags::LAUNCHER.iter(), words).map_err(refuse)?;
    if parsed.wants_help {
        return Ok(Action::Help(Some("launcher")));
    }
    if let Some(word) = parsed.free.first() {
        return Err(refuse(format!("{} is not an option", quoted(word))));
    }
    settings::launcher(parsed.given).map(Action::Launcher).map_err(refuse)
}

fn check_config_action(words: &[String]) -> Result<Action, Refusal> {
    match words {
        [] => Ok(Action::CheckConfig(flags::CONFIG_FILE.into())),
        [file] if !file.starts_with('-') => Ok(Action::CheckConfig(file.into())),
        [file] => {
            let what = format!("{} is not an option of check-config", quoted(file));
            Err(Refusal::of(Some("check-config"), what))
        }
        [_, more, ..] => {
            let what = format!("{} is one word too many; one file is checked", quoted(more));
            Err(Refusal::of(Some("check-config"), what))
        }
    }
}

fn completion_action(words: &[String]) -> Result<Action, Refusal> {
    match words {
        [shell] if shell == "bash" => Ok(Action::Completion),
        _ => Err(Refusal::of(Some("completion"), "the shell must be bash")),
    }
}

fn help_action(words: &[String]) -> Result<Action, Refusal> {
    let Some((word, rest)) = words.split_first() else { return Ok(Action::Help(None)) };
    match VERBS.iter().find(|verb| *verb == word) {
        // That verb is the one that knows its own options.
        Some(&"next") => alone(word, rest, Action::Next(vec!["--help".into()])),
        Some(verb) => alone(word, rest, Action::Help(Some(verb))),
        None => Err(unknown_verb(word)),
    }
}

fn alone(word: &str, rest: &[String], action: Action) -> Result<Action, Refusal> {
    match rest.first() {
        None => Ok(action),
        Some(more) => {
            let what = format!("nothing may follow {word}, but {} does", quoted(more));
            Err(Refusal::of(None, what))
        }
    }
}

fn parsed(verb: &'static str, action: Result<Action, String>) -> Result<Action, Refusal> {
    action.map_err(|complaint| Refusal::of(Some(verb), complaint))
}

/// Whether help is among the options.
fn asks_help(words: &[String]) -> bool {
    words.iter().any(|word| word == "--help" || word == "-h")
}

fn is_help(words: &[String]) -> bool {
    matches!(words, [word] if word == "--help" || word == "-h")
}

fn unknown_verb(word: &str) -> Refusal {
    let shown = quoted(word);
    let complaint = match word {
        "keygen" | "leave" | "raft" => {
            format!("the verb {word} is not available yet: {}", dkron::CLUSTER)
        }
        _ if word.starts_with('-') => {
            format!("{shown} is not an option here; a verb comes first, as in: bellwether agent")
        }
        _ => match nearest(word, VERBS) {
            Some(verb) => format!("{shown} is not a verb; did you mean {verb}?"),
            None => format!("{shown} is not a verb; the verbs are {}", VERBS.join(", ")),
        },
    };
    Refusal::of(None, complaint)
}

/// `text` in quotes, harmless to a terminal, and cut where it is long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 64;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("\"{}…\"", escape_control(&text[..end])),
        None => format!("\"{}\"", escape_control(text)),
    }
}
