//! The one table of settings: flags, variables, keys of the configuration file, help, man pages and
//! completion are all made from it. The names that Dkron has and this program has not are in
//! [`dkron`](super::dkron), in the same form.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::dkron::{self, DKRON};
use crate::text::nearest;

/// The configuration file that is read when it is there.
pub const CONFIG_FILE: &str = "/etc/bellwether/bellwether.conf";

/// The start of each variable's name.
pub const VARIABLE_PREFIX: &str = "BELLWETHER_";

/// A row of the table.
#[derive(PartialEq, Eq, Debug)]
pub struct Setting {
    /// As in `--name`, and the key in the file.
    pub name: &'static str,
    /// What stands for the value in help.
    pub value: &'static str,
    /// What a value may be.
    pub kind: Kind,
    /// How many values it may have; more than one may also be written with commas between.
    pub values_max: usize,
    /// What holds when nobody gives it.
    pub fallback: Fallback,
    /// Whole sentences for help and man page.
    pub help: &'static str,
    /// What it does here.
    pub status: Status,
}

/// What a value may be; bounds included.
#[derive(PartialEq, Eq, Debug)]
pub enum Kind {
    /// True or false, as Go writes them; true when no value is given.
    Flag,
    /// Anything.
    Text,
    /// The name of a node.
    Name,
    /// A name as it comes in `Host`, without port.
    Host,
    /// The name of a time zone.
    Zone,
    /// A path, not empty.
    Path,
    /// `ADDRESS:PORT`.
    Address,
    /// `KEY=VALUE`.
    Pair,
    /// A whole number.
    Count(RangeInclusive<u64>),
    /// Bytes, with B, KiB, MiB or GiB.
    Size(RangeInclusive<u64>),
    /// As Go writes it.
    Duration(RangeInclusive<Duration>),
    /// A duration, or `never`.
    DurationOrNever,
    /// One of the first, or a synonym that stands for one of them.
    Word(&'static [&'static str], &'static [(&'static str, &'static str)]),
}

/// What holds when nobody gives a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fallback {
    /// Nothing, and there is nothing to say.
    Nothing,
    /// This value.
    Text(&'static str),
    /// What these words describe.
    Words(&'static str),
}

/// What a setting does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// What its help says.
    Works,
    /// Only these values are accepted, which change nothing; others are refused because.
    Only(&'static [&'static str], &'static str),
    /// Accepted without effect, with a warning, because.
    Ignored(&'static str),
    /// Refused because.
    Refused(&'static str),
}

/// A value that somebody gave to a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// The row.
    pub setting: &'static Setting,
    /// The value as it was written.
    pub text: String,
    /// Where.
    pub place: Place,
}

/// Where a value was given, the strongest first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// On the command line.
    Flag,
    /// In the environment.
    Variable,
    /// In a file; line and column from 1.
    File(String, usize, usize),
}

/// What is wrong with something that was given. Ordered by place, the strongest first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Complaint {
    /// Where it was given.
    pub(super) place: Place,
    /// The whole message.
    pub(super) text: String,
}

impl Given {
    /// Says that something is wrong with this value.
    pub(super) fn complain(&self, why: impl fmt::Display) -> Complaint {
        Complaint { place: self.place.clone(), text: format!("{self}: {why}") }
    }
}

/// What a message about the value starts with.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.setting.name;
        match &self.place {
            Place::Flag => write!(f, "--{name}"),
            Place::Variable => f.write_str(&self.setting.variable()),
            Place::File(file, line, column) => write!(f, "{file}:{line}:{column}: {name}"),
        }
    }
}

impl Setting {
    /// The name of the variable.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.replace('-', "_").to_uppercase())
    }

    const fn up_to(mut self, values_max: usize) -> Setting {
        self.values_max = values_max;
        self
    }
}

/// Every setting of an agent.
pub fn all() -> impl Iterator<Item = &'static Setting> + Clone {
    AGENT.iter().chain(DKRON)
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.name == name)
}

/// The setting that `name` was most likely meant to be: in another spelling, under the name it had
/// in Dkron 0.7, or one edit away.
pub fn suggest(
    name: &str,
    mut table: impl Iterator<Item = &'static Setting> + Clone,
) -> Option<&'static str> {
    let spelled = name.to_lowercase().replace('_', "-");
    let renamed = dkron::RENAMED.iter().find(|(old, _)| *old == spelled);
    let spelled = renamed.map_or(spelled.as_str(), |(_, new)| new);
    let names = table.clone().map(|setting| setting.name);
    table.find(|s| s.name == spelled).map(|s| s.name).or_else(|| nearest(spelled, names))
}

/// Most tags of a node; as many as a job may ask for.
const TAGS_MAX: usize = crate::job::spec::KEYS_MAX;
const ADDRESSES_MAX: usize = 16;
const HOSTS_MAX: usize = 64;
/// Half of the descriptors that an agent asks for.
const CONNECTIONS_MAX: u64 = 32_768;

const KIB: u64 = 1 << 10;
const TIB: u64 = 1 << 40;
const HOUR: Duration = Duration::from_secs(3_600);

/// The names that an old log level goes by today.
const OLD_LEVELS: &[(&str, &str)] =
    &[("warning", "warn"), ("trace", "debug"), ("fatal", "error"), ("panic", "error")];

/// The settings that do something, in the order of help.
const AGENT: &[Setting] = &[
    works(
        "config",
        "FILE",
        Kind::Path,
        Fallback::Words("/etc/bellwether/bellwether.conf, if it is there"),
        "Reads settings from FILE. Not a key of the file itself.",
    ),
    works(
        "data-dir",
        "DIR",
        Kind::Path,
        Fallback::Text("./bellwether.data"),
        "Keeps everything in DIR, which is made if it is not there. It may hold other files.",
    ),
    works(
        "node-name",
        "NAME",
        Kind::Name,
        Fallback::Words("the host's name, with '-' for what a name cannot hold"),
        "Calls this node NAME: 1-128 of the letters a-z and A-Z, digits, '_', '.' and '-', not \
         starting with '.' or '-'.",
    ),
    works(
        "tag",
        "KEY=VALUE",
        Kind::Pair,
        Fallback::Nothing,
        "Gives this node a tag, by which jobs choose where they run.",
    )
    .up_to(TAGS_MAX),
    works(
        "http-addr",
        "ADDRESS:PORT",
        Kind::Address,
        Fallback::Text("127.0.0.1:8080"),
        "Serves the API there, beside the socket api.sock in the data directory. Addresses only, \
         no host names, but for localhost, which is 127.0.0.1. Port 0 is one that the system \
         chooses. Without an address, as in :8080, it is 127.0.0.1, or every IPv4 address if \
         anonymous is set. Another than a loopback address needs anonymous.",
    )
    .up_to(ADDRESSES_MAX),
    works(
        "http-host",
        "NAME",
        Kind::Host,
        Fallback::Nothing,
        "Answers requests for NAME, too. The names localhost, 127.0.0.1, [::1], the node's own \
         and the addresses in http-addr are always answered, and no others.",
    )
    .up_to(HOSTS_MAX),
    works(
        "anonymous",
        "ROLE",
        Kind::Word(&["none", "read", "run", "write", "admin"], &[]),
        Fallback::Text("none"),
        "What anyone may do who reaches a TCP address: read looks, run starts jobs that are \
         there, write changes jobs, admin changes the cluster, each with all before it. With \
         none, it takes root or the user that the agent runs as.",
    ),
    works(
        "timezone",
        "ZONE",
        Kind::Zone,
        Fallback::Words("the system's"),
        "The time zone of jobs that name none, such as Europe/Paris.",
    ),
    works(
        "log-level",
        "LEVEL",
        Kind::Word(&["error", "warn", "info", "debug"], OLD_LEVELS),
        Fallback::Text("info"),
        "Logs what matters at least that much.",
    ),
    works(
        "log-format",
        "FORMAT",
        Kind::Word(&["text", "json"], &[]),
        Fallback::Text("text"),
        "Logs lines of key=value, or of JSON objects.",
    ),
    works(
        "max-running",
        "COUNT",
        Kind::Count(1..=10_000),
        Fallback::Text("4096"),
        "Runs at most that many jobs at once on this node; others wait their turn.",
    ),
    works(
        "max-connections",
        "COUNT",
        Kind::Count(1..=CONNECTIONS_MAX),
        Fallback::Text("4096"),
        "Holds at most that many connections to the API, and never more than half of the \
         descriptors that the system allows.",
    ),
    works(
        "snapshot-after",
        "SIZE",
        Kind::Size(4 * KIB..=TIB),
        Fallback::Text("64MiB"),
        "Takes a snapshot when the journal has grown by SIZE, or by the size of the last \
         snapshot if that is larger.",
    ),
    works(
        "ballast",
        "SIZE",
        Kind::Size(0..=TIB),
        Fallback::Text("16MiB"),
        "Keeps a file of SIZE in the data directory, to be given up when the disk is full. Changes \
         are refused while less than SIZE is free beside it. 0 turns both off.",
    ),
    works(
        "leave-timeout",
        "DURATION",
        Kind::Duration(Duration::ZERO..=HOUR),
        Fallback::Text("15s"),
        "Cuts a stop short that takes longer. Jobs go on either way.",
    ),
];

/// The settings of a launcher, which come as flags only.
pub const LAUNCHER: &[Setting] = &[
    works(
        "data-dir",
        "DIR",
        Kind::Path,
        Fallback::Nothing,
        "The data directory of the agent to serve. Must be given.",
    ),
    works(
        "idle-exit",
        "DURATION",
        Kind::DurationOrNever,
        Fallback::Text("1m"),
        "Ends after DURATION without an agent and without a run to tell of, or never.",
    ),
];

const fn works(
    name: &'static str,
    value: &'static str,
    kind: Kind,
    fallback: Fallback,
    help: &'static str,
) -> Setting {
    Setting { name, value, kind, values_max: 1, fallback, help, status: Status::Works }
}
