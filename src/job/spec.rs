//! The definition of a job: everything that a user sets, as types, with its bounds and defaults.
//!
//! A [`Spec`] is data. Reading one from a request is `request`'s, its stored form is
//! `canonical`'s. What this version does not do has no field here: its keys are refused when they
//! ask for something, and shown with neutral values.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::text::Diagnostic;
use crate::time::Wall;

use super::words;

/// Largest stored form of a definition, in bytes. An answer shows `command` and `env` twice, and
/// every default, so that it is at most twice as long and a little more.
pub const SPEC_MAX_BYTES: usize = 64 << 10;
/// Longest `displayname`, `owner` or `timezone`, in bytes.
pub const LABEL_MAX_BYTES: usize = 256;
/// Longest `owner_email`, in bytes; it may hold a list of addresses.
pub const EMAIL_MAX_BYTES: usize = 1_024;
/// Longest `schedule`, in bytes.
pub const SCHEDULE_MAX_BYTES: usize = 1_024;
/// Longest `note`, in bytes.
pub const NOTE_MAX_BYTES: usize = 4_096;
/// Longest `command`, in bytes: about half of a definition.
pub const COMMAND_MAX_BYTES: usize = 32_000;
/// Longest `cwd`, in bytes: the system's own limit.
pub const CWD_MAX_BYTES: usize = 4_095;
/// Most keys in `tags`, in `metadata` and of other executors in `executor_config`, each.
pub const KEYS_MAX: usize = 64;
/// Longest of those keys, in bytes.
pub const KEY_MAX_BYTES: usize = 128;
/// Longest of their values, in bytes.
pub const VALUE_MAX_BYTES: usize = 4_096;
/// Most variables in `env`.
pub const ENV_MAX: usize = 256;
/// Longest name of a variable, in bytes.
pub const ENV_NAME_MAX_BYTES: usize = 256;
/// Longest value of a variable, in bytes.
pub const ENV_VALUE_MAX_BYTES: usize = 16_384;
/// Most nodes that one run may be sent to.
pub const TARGETS_MAX: u64 = 1_024;
/// Bounds of `keep`.
pub const KEEP: RangeInclusive<u64> = 0..=10_000;
/// Bounds of `catchup_max`.
pub const CATCHUP_MAX: RangeInclusive<u64> = 1..=10_000;
/// Bounds of `output_limit`, in bytes: a spool file at least, a terabyte at most.
pub const OUTPUT_LIMIT: RangeInclusive<u64> = 1 << 20..=1 << 40;
/// Bounds of `timeout`, beside zero, which is none: a timer of a millisecond at least.
pub const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(365 * 86_400);
/// Bounds of `kill_grace`.
pub const KILL_GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3_600);
/// Bounds of `start_deadline`.
pub const START_DEADLINE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(86_400);
/// Bounds of `catchup_window`.
pub const CATCHUP_WINDOW: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);
/// Bounds of `retries`: with all of them, a fire is about as much history as a job keeps, however
/// many nodes run it.
pub const RETRIES: RangeInclusive<u64> = 0..=10;
/// The longest wait before a retry.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(300);
/// Bounds of `retry_backoff`.
pub const RETRY_BACKOFF: RangeInclusive<Duration> = Duration::from_millis(100)..=RETRY_WAIT_MAX;
/// What stands for the value of a variable where a reader may not see it.
pub const MASK: &str = "********";

/// What a user asks for. Equal definitions have equal stored bytes, and the reverse.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Unique in the cluster; see [`crate::ident::check_name`].
    pub name: String,
    /// For people; may be empty.
    pub displayname: String,
    /// When it runs.
    pub schedule: String,
    /// The zone that `schedule` is read in, resolved when the job was created.
    pub timezone: String,
    /// For people.
    pub owner: String,
    /// For people.
    pub owner_email: String,
    /// Owes no runs.
    pub disabled: bool,
    /// What a node's tags must equal; `value:count` picks that many of the matching.
    pub tags: BTreeMap<String, String>,
    /// For people and filters.
    pub metadata: BTreeMap<String, String>,
    /// The job after whose success it runs; empty for none.
    pub parent_job: String,
    /// How often a run that failed is tried again.
    pub retries: u64,
    /// The wait before the first retry, which doubles with each.
    pub retry_backoff: Duration,
    /// What happens to a run while another is open.
    pub concurrency: Concurrency,
    /// What to run: words, or with `shell` a script for `/bin/sh -c`.
    pub command: String,
    /// Whether a shell reads `command`.
    pub shell: bool,
    /// Variables added to the small environment that every job gets.
    pub env: BTreeMap<String, String>,
    /// Directory to run in, absolute; empty is the user's home.
    pub cwd: String,
    /// How long a run may take; zero is for ever.
    pub timeout: Duration,
    /// From the polite signal to the other one.
    pub kill_grace: Duration,
    /// How late an order may reach a process.
    pub start_deadline: Duration,
    /// What is done about due times that passed while nobody could decide them.
    pub catchup: Catchup,
    /// How old such a due time may be; `None` goes by the schedule.
    pub catchup_window: Option<Duration>,
    /// How many of them `all` claims.
    pub catchup_max: u64,
    /// On how many of the matching nodes it runs.
    pub run_on: RunOn,
    /// How many fires the history keeps.
    pub keep: u64,
    /// How much output a run may leave on disk, in bytes.
    pub output_limit: u64,
    /// Whether a run whose end nobody knows may be repeated.
    pub idempotent: bool,
    /// For people.
    pub note: String,
    /// Owes nothing before.
    pub starts_at: Option<Wall>,
    /// Owes nothing after.
    pub expires_at: Option<Wall>,
    /// Keys of `executor_config` that mean nothing here, given back as they came.
    pub executor_extras: BTreeMap<String, String>,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            name: String::new(),
            displayname: String::new(),
            schedule: String::new(),
            timezone: String::new(),
            owner: String::new(),
            owner_email: String::new(),
            disabled: false,
            tags: BTreeMap::new(),
            metadata: BTreeMap::new(),
            parent_job: String::new(),
            retries: 0,
            retry_backoff: Duration::from_secs(1),
            concurrency: Concurrency::Allow,
            command: String::new(),
            shell: false,
            env: BTreeMap::new(),
            cwd: String::new(),
            timeout: Duration::ZERO,
            kill_grace: Duration::from_secs(10),
            start_deadline: Duration::from_secs(60),
            catchup: Catchup::Latest,
            catchup_window: None,
            catchup_max: 100,
            run_on: RunOn::All,
            keep: 100,
            output_limit: 16 << 20,
            idempotent: false,
            note: String::new(),
            starts_at: None,
            expires_at: None,
            executor_extras: BTreeMap::new(),
        }
    }
}

impl Spec {
    /// The program and its arguments; at least the program.
    ///
    /// # Errors
    /// What is wrong with `command`, and where; never for a definition that was validated.
    pub fn argv(&self) -> Result<Vec<String>, Diagnostic> {
        if self.shell {
            return Ok(vec!["/bin/sh".into(), "-c".into(), self.command.clone()]);
        }
        let words = words::split(&self.command)?;
        match words.first() {
            Some(program) if !program.is_empty() => Ok(words),
            Some(_) | None => Err(Diagnostic::new(0, 0, "names no program")),
        }
    }

    /// The definition as one who may not see secrets is shown it. Posting it back changes nothing.
    pub fn masked(&self) -> Spec {
        let mut shown = self.clone();
        for value in shown.env.values_mut() {
            *value = MASK.into();
        }
        shown
    }

    /// Whether every matching node runs it, each for itself.
    pub fn runs_on_each(&self) -> bool {
        self.run_on == RunOn::All && self.counted_tag().is_none()
    }

    /// The lowest count that a tag carries, and the tag's key.
    pub fn counted_tag(&self) -> Option<(&str, u64)> {
        let counts =
            self.tags.iter().filter_map(|(key, value)| Some((key.as_str(), split_tag(value).1?)));
        counts.min_by_key(|&(_, count)| count)
    }
}

/// A tag's value, and the count after its last colon: `web:2` is `web` and 2.
pub fn split_tag(value: &str) -> (&str, Option<u64>) {
    match value.rsplit_once(':') {
        Some((start, count)) if !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()) => {
            // A number too long to read is out of range, too.
            (start, Some(count.parse().unwrap_or(u64::MAX)))
        }
        Some(_) | None => (value, None),
    }
}

macro_rules! words_of {
    ($name:ident { $($variant:ident = $word:literal),+ }) => {
        impl $name {
            /// Every variant, in the order in which sentences list them.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The word in requests and answers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }

            /// Every word.
            pub fn words() -> Vec<&'static str> {
                $name::ALL.iter().map(|variant| variant.as_str()).collect()
            }

            /// The variant that `word` names.
            pub fn from_word(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|variant| variant.as_str() == word)
            }
        }
    };
}
pub(super) use words_of;

/// What happens to a run while another of the same job is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Concurrency {
    /// Both run.
    Allow,
    /// The new one is skipped.
    Forbid,
}
words_of!(Concurrency { Allow = "allow", Forbid = "forbid" });

/// What is done about due times that passed while nobody could decide them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Catchup {
    /// The newest one runs.
    Latest,
    /// The newest `catchup_max` run.
    All,
    /// None runs.
    Skip,
}
words_of!(Catchup { Latest = "latest", All = "all", Skip = "skip" });

/// On how many of the matching nodes a job runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunOn {
    /// On each.
    All,
    /// On one.
    Any,
    /// On this many, 1–[`TARGETS_MAX`].
    Count(u64),
}
