//! From what was given on the command line, in the environment and in the file to the settings of
//! an agent: flags win over variables, those over the file, that over the table's defaults. All
//! values are checked, those that lose, too; everything wrong is said at once.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::flags::{
    self, Complaint, Fallback, Given, Kind, Place, Setting, Status, VARIABLE_PREFIX,
};
use super::listen;
use super::value::{self, Address, Value};
use super::{World, file, quoted};
use crate::agent::Settings;
use crate::api::Role;
use crate::node::Level;
use crate::text::escape_control;
use crate::{ident, launcher};

/// Variables with our prefix that are no settings: those that runs are given, and the mark by
/// which tests find their processes.
const NO_SETTINGS: [&str; 6] =
    ["TEST", "JOB_NAME", "SCHEDULED_FOR", "TRIGGER", "EXECUTION_ID", "ATTEMPT"];

/// The variable by which a process knows that it belongs to a run.
const RUN_MARK: &str = "BELLWETHER_EXECUTION_ID";

/// The settings of an agent with the flags `given`.
///
/// # Errors
/// Everything that is wrong, one clause each.
pub fn load(given: Vec<Given>, world: &World) -> Result<Settings, Vec<String>> {
    let mut sum = Sum { given, ..Sum::default() };
    sum.add_variables(&world.variables);
    // Flags come before variables, so that the first one found counts.
    let named = sum.given.iter().find(|given| given.setting.name == "config");
    match named.map(|given| given.text.clone()).filter(|path| !path.is_empty()) {
        Some(path) => sum.add_file(Path::new(&path), world, true),
        None => sum.add_file(Path::new(flags::CONFIG_FILE), world, false),
    }
    sum.settle(world)
}

/// The settings that the file at `path` alone gives.
///
/// # Errors
/// Everything that is wrong, one clause each.
pub fn load_file(path: &Path, world: &World) -> Result<Settings, Vec<String>> {
    let mut sum = Sum::default();
    sum.add_file(path, world, true);
    sum.settle(world)
}

/// The settings of a launcher with the flags `given`.
///
/// # Errors
/// The first thing that is wrong.
pub fn launcher(given: Vec<Given>) -> Result<launcher::Settings, String> {
    let mut dir = None;
    let mut idle_exit = Some(launcher::IDLE_EXIT);
    for given in given {
        match value::read(&given.setting.kind, &given.text) {
            Ok(Value::Path(path)) => dir = Some(path),
            Ok(Value::Duration(time)) => idle_exit = time,
            Ok(other) => unreachable!("the launcher's table has no {other:?}"),
            Err(why) => return Err(format!("{given}: {why}")),
        }
    }
    let dir = dir.ok_or("--data-dir: must be given")?;
    Ok(launcher::Settings { dir, idle_exit })
}

/// What was given, and what is to be said about it. Flags first, the file last.
#[derive(Default)]
struct Sum {
    given: Vec<Given>,
    warnings: Vec<String>,
    complaints: Vec<Complaint>,
}

impl Sum {
    /// An empty variable is as good as none.
    fn add_variables(&mut self, variables: &[(std::ffi::OsString, std::ffi::OsString)]) {
        let in_a_job = variables.iter().any(|(name, _)| name == RUN_MARK);
        for (name, text) in variables {
            let name = name.to_string_lossy();
            let Some(short) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
            // A run is given its node's name; an agent that it starts is not that node.
            let of_the_run = NO_SETTINGS.contains(&short) || (in_a_job && short == "NODE_NAME");
            if text.is_empty() || of_the_run {
                continue;
            }
            match (flags::all().find(|setting| setting.variable() == name), text.to_str()) {
                (Some(setting), Some(text)) => {
                    self.given.push(Given { setting, text: text.into(), place: Place::Variable });
                }
                (Some(_), None) => {
                    let text = format!("{name}: is not UTF-8");
                    self.complaints.push(Complaint { place: Place::Variable, text });
                }
                (None, _) => {
                    let near = flags::suggest(short, flags::all()).and_then(flags::find);
                    let hint = near.map(|near| format!("; did you mean {}?", near.variable()));
                    let (name, hint) = (escape_control(&name), hint.unwrap_or_default());
                    self.warnings.push(format!("{name}: is not a setting{hint}"));
                }
            }
        }
    }

    /// A file that nobody named may be missing, but it must not be unreadable.
    fn add_file(&mut self, path: &Path, world: &World, must_exist: bool) {
        let name = escape_control(&path.to_string_lossy());
        match (world.read_file)(path, file::FILE_MAX_BYTES as u64 + 1) {
            Ok(bytes) => {
                let (given, complaints) = file::parse(&name, &bytes);
                self.given.extend(given);
                self.complaints.extend(complaints);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {}
            Err(error) => {
                let text = format!("{name}: cannot be read: {error}");
                self.complaints.push(Complaint { place: Place::File(name, 0, 0), text });
            }
        }
    }

    fn settle(mut self, world: &World) -> Result<Settings, Vec<String>> {
        let values = self.choose();
        let http_addrs = self.listen(&values);
        let timezone = values.text("timezone");
        if let Some(given) = values.given("timezone").filter(|g| !(world.knows_zone)(&g.text)) {
            let what = format!("{} is no time zone of this system", quoted(&given.text));
            self.complaints.push(given.complain(what));
        }
        let tags = self.tags(&values);
        if !self.complaints.is_empty() {
            // Within one place they stay in the order in which they were found.
            self.complaints.sort_by(|a, b| a.place.cmp(&b.place));
            return Err(self.complaints.into_iter().map(|complaint| complaint.text).collect());
        }
        let mut http_hosts: Vec<String> = values.texts("http-host").collect();
        http_hosts.extend(http_addrs.iter().filter_map(name_of));
        http_hosts.sort();
        http_hosts.dedup();
        Ok(Settings {
            data_dir: values.path("data-dir"),
            http_addrs,
            http_hosts,
            anonymous: Role::from_name(values.word("anonymous")),
            node_name: values.text("node-name").unwrap_or_else(|| clean_name(&world.hostname)),
            tags,
            timezone,
            log_level: level(values.word("log-level")),
            log_json: values.word("log-format") == "json",
            running_max: values.count("max-running") as usize,
            connections_max: values.count("max-connections") as usize,
            snapshot_bytes: values.count("snapshot-after"),
            ballast_bytes: values.count("ballast"),
            leave_timeout: values.duration("leave-timeout"),
            warnings: self.warnings,
        })
    }

    /// Checks all that was given and picks what counts.
    fn choose(&mut self) -> Values {
        let mut values = Values::default();
        for given in std::mem::take(&mut self.given) {
            match given.setting.status {
                Status::Works => self.add_values(&given, &mut values),
                Status::Only(accepted, why) => {
                    let text = match value::read(&given.setting.kind, &given.text) {
                        Ok(Value::Flag(flag)) => flag.to_string(),
                        Ok(_) | Err(_) => given.text.clone(),
                    };
                    if !accepted.contains(&text.as_str()) {
                        self.complaints.push(
                            given.complain(format_args!("{} is refused: {why}", quoted(&text))),
                        );
                    }
                }
                Status::Ignored(why) => {
                    let warning = format!("{given}: has no effect: {why}");
                    if !self.warnings.contains(&warning) {
                        self.warnings.push(warning);
                    }
                }
                Status::Refused(why) => {
                    self.complaints.push(given.complain(format_args!("is refused: {why}")));
                }
            }
        }
        values
    }

    fn add_values(&mut self, given: &Given, values: &mut Values) {
        for given in split(given) {
            match value::read(&given.setting.kind, &given.text) {
                Ok(value) => {
                    let max = given.setting.values_max;
                    if values.add(given.clone(), value) > max {
                        self.complaints
                            .push(given.complain(format_args!("has more than {max} values")));
                    }
                }
                Err(why) => {
                    values.broken.push(given.setting.name);
                    self.complaints.push(given.complain(why));
                }
            }
        }
    }

    fn listen(&mut self, values: &Values) -> Vec<SocketAddr> {
        let wanted = values.all("http-addr").filter_map(|(given, value)| match value {
            Value::Address(address) => Some((given.clone(), *address)),
            _ => None,
        });
        let mut wanted: Vec<(Given, Address)> = wanted.collect();
        // Whoever wrote a role that is none does not have to read about the lack of one, too.
        if values.broken.contains(&"anonymous") {
            wanted.clear();
        }
        let listening = listen::decide(&wanted, Role::from_name(values.word("anonymous")));
        self.warnings.extend(listening.warnings);
        self.complaints.extend(listening.complaints);
        listening.addresses
    }

    fn tags(&mut self, values: &Values) -> Vec<(String, String)> {
        let mut tags = BTreeMap::new();
        for (given, value) in values.all("tag") {
            if let Value::Pair(key, value) = value {
                if tags.insert(key.clone(), value.clone()).is_some() {
                    let what = format!("the key {} is given twice", quoted(key));
                    self.complaints.push(given.complain(what));
                }
            }
        }
        tags.into_iter().collect()
    }
}

/// The values that count, by name; the table's own where nobody gave any.
#[derive(Default)]
struct Values {
    chosen: BTreeMap<&'static str, Vec<(Given, Value)>>,
    /// Names of settings of which a value was refused.
    broken: Vec<&'static str>,
}

impl Values {
    /// Adds a value, unless one from a stronger place is there. Returns how many there are now.
    fn add(&mut self, given: Given, value: Value) -> usize {
        let there = self.chosen.entry(given.setting.name).or_default();
        let rank = |given: &Given| match given.place {
            Place::Flag => 0,
            Place::Variable => 1,
            Place::File(..) => 2,
        };
        if there.first().is_none_or(|(first, _)| rank(first) == rank(&given)) {
            there.push((given, value));
        }
        there.len()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &(Given, Value)> {
        self.chosen.get(name).into_iter().flatten()
    }

    fn given(&self, name: &str) -> Option<&Given> {
        self.all(name).next().map(|(given, _)| given)
    }

    /// The value; the table's when there is none, `None` when it has none.
    fn value(&self, name: &str) -> Option<Value> {
        let chosen = self.all(name).next().map(|(_, value)| value.clone());
        chosen.or_else(|| {
            let setting = flags::find(name)?;
            match setting.fallback {
                Fallback::Text(text) => value::read(&setting.kind, text).ok(),
                Fallback::Nothing | Fallback::Words(_) => None,
            }
        })
    }

    fn texts(&self, name: &str) -> impl Iterator<Item = String> {
        self.all(name).filter_map(|(_, value)| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        self.texts(name).next()
    }

    fn path(&self, name: &str) -> PathBuf {
        match self.value(name) {
            Some(Value::Path(path)) => path,
            other => unreachable!("{name} is no path: {other:?}"),
        }
    }

    fn word(&self, name: &str) -> &'static str {
        match self.value(name) {
            Some(Value::Word(word)) => word,
            other => unreachable!("{name} is no word: {other:?}"),
        }
    }

    fn count(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Count(count)) => count,
            other => unreachable!("{name} is no count: {other:?}"),
        }
    }

    fn duration(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(Value::Duration(Some(time))) => time,
            other => unreachable!("{name} is no duration: {other:?}"),
        }
    }
}

/// Each of the values that are written with commas between, with its own place.
fn split(given: &Given) -> Vec<Given> {
    let setting: &'static Setting = given.setting;
    if setting.values_max == 1 || setting.kind == Kind::Text {
        return vec![given.clone()];
    }
    let mut parts = Vec::new();
    let mut at = 0;
    for part in given.text.split(',') {
        let text = part.trim();
        let blanks = part.len() - part.trim_start().len();
        let place = match &given.place {
            Place::File(file, line, column) => {
                Place::File(file.clone(), *line, column + at + blanks)
            }
            place => place.clone(),
        };
        parts.push(Given { setting, text: text.into(), place });
        at += part.len() + 1;
    }
    parts
}

/// What callers write into `Host` for an address. A page cannot be made to look as if it came from
/// an address, as it can from a name, so these are safe to answer.
fn name_of(address: &SocketAddr) -> Option<String> {
    match address.ip() {
        ip if ip.is_unspecified() => None,
        IpAddr::V4(ip) => Some(ip.to_string()),
        IpAddr::V6(ip) => Some(format!("[{ip}]")),
    }
}

/// `hostname` as a name that [`ident::check_name`] accepts.
fn clean_name(hostname: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let name: String = hostname.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let name: String =
        name.trim_start_matches(['.', '-']).chars().take(ident::NAME_MAX_BYTES).collect();
    if name.is_empty() { "node".into() } else { name }
}

fn level(word: &str) -> Level {
    match word {
        "error" => Level::Error,
        "warn" => Level::Warn,
        "debug" => Level::Debug,
        _ => Level::Info,
    }
}
