//! What each key of a job's JSON object means: one place for requests and for stored bytes.
//!
//! Each key is taken out of the object, so that what is left over is unknown. The two spellings of
//! a command (the seed's `command`, v4's `executor_config`) are resolved here. What depends on
//! other rooms (name, schedule, zone, times) is `request`'s.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::{Fields, Given, Take, TextsLimits, quoted, refuse, shown_name};
use super::json::kind;
use super::request::Refusal;
use super::spec::{self, Catchup, Concurrency, MASK, RunOn, Spec, split_tag};

/// The one executor of this version.
const EXECUTOR: &str = "shell";

/// Keys that answers hold and requests cannot set; ignored without a word, so that what was got
/// can be posted back.
const READ_ONLY: &[&str] = &[
    "id",
    "success_count",
    "error_count",
    "missed_count",
    "last_success",
    "last_error",
    "status",
    "next",
    "version",
    "created_at",
    "updated_at",
    "dependent_jobs",
    "warnings",
];

const LABELS: TextsLimits = TextsLimits {
    count_max: spec::KEYS_MAX,
    key_max_bytes: spec::KEY_MAX_BYTES,
    value_max_bytes: spec::VALUE_MAX_BYTES,
};
const ENV: TextsLimits = TextsLimits {
    count_max: spec::ENV_MAX,
    key_max_bytes: spec::ENV_NAME_MAX_BYTES,
    value_max_bytes: spec::ENV_VALUE_MAX_BYTES,
};
/// Longest `executor_config.env`: every variable at its longest would be far beyond any job.
const ENV_TEXT_MAX_BYTES: usize = spec::SPEC_MAX_BYTES;

/// Puts what `object` gives into `spec`, and takes the keys that are known out of it. `base` is
/// what of two spellings the unchanged one equals; `defaults` is what null goes back to.
pub(super) fn fill(
    spec: &mut Spec,
    base: &Spec,
    defaults: &Spec,
    object: &mut Map<String, Value>,
) -> Result<(), Refusal> {
    object.retain(|key, _| !READ_ONLY.contains(&key.as_str()));
    let fields = &mut Fields::new(object, "");
    fill_texts(spec, defaults, fields)?;
    fields.flag("disabled")?.put(&mut spec.disabled, &defaults.disabled);
    fields.flag("idempotent")?.put(&mut spec.idempotent, &defaults.idempotent);
    fields.merge_texts("tags", LABELS, &mut spec.tags)?;
    check_counts(&spec.tags)?;
    fields.merge_texts("metadata", LABELS, &mut spec.metadata)?;
    concurrency(fields)?.put(&mut spec.concurrency, &defaults.concurrency);
    executor(fields)?;
    fill_command(spec, base, defaults, fields)?;
    fill_running(spec, defaults, fields)?;
    run_on(fields)?.put(&mut spec.run_on, &defaults.run_on);
    refuse_unavailable(fields)
}

/// Variables as v4's `executor_config` has them. It knows no escapes: a value with a comma reads
/// back as something else, which is why a request is compared with this text before it is split.
pub(super) fn env_text(env: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(",")
}

fn fill_texts(spec: &mut Spec, defaults: &Spec, fields: &mut Fields<'_>) -> Result<(), Refusal> {
    let mut text = |key, max_bytes, place: &mut String, default: &String| {
        fields.text(key, max_bytes).map(|given| given.put(place, default))
    };
    let label = spec::LABEL_MAX_BYTES;
    text("displayname", label, &mut spec.displayname, &defaults.displayname)?;
    text("schedule", spec::SCHEDULE_MAX_BYTES, &mut spec.schedule, &defaults.schedule)?;
    text("timezone", label, &mut spec.timezone, &defaults.timezone)?;
    text("owner", label, &mut spec.owner, &defaults.owner)?;
    text("owner_email", spec::EMAIL_MAX_BYTES, &mut spec.owner_email, &defaults.owner_email)?;
    let name = crate::ident::NAME_MAX_BYTES;
    text("parent_job", name, &mut spec.parent_job, &defaults.parent_job)?;
    text("note", spec::NOTE_MAX_BYTES, &mut spec.note, &defaults.note)
}

/// Everything about how runs are treated.
fn fill_running(spec: &mut Spec, defaults: &Spec, fields: &mut Fields<'_>) -> Result<(), Refusal> {
    fields
        .duration("kill_grace", spec::KILL_GRACE)?
        .put(&mut spec.kill_grace, &defaults.kill_grace);
    fields
        .duration("start_deadline", spec::START_DEADLINE)?
        .put(&mut spec.start_deadline, &defaults.start_deadline);
    catchup(fields)?.put(&mut spec.catchup, &defaults.catchup);
    match fields.duration("catchup_window", spec::CATCHUP_WINDOW)? {
        Given::Absent => {}
        Given::Null => spec.catchup_window = defaults.catchup_window,
        Given::Value(window) => spec.catchup_window = Some(window),
    }
    fields
        .integer("catchup_max", spec::CATCHUP_MAX)?
        .put(&mut spec.catchup_max, &defaults.catchup_max);
    fields.integer("retries", spec::RETRIES)?.put(&mut spec.retries, &defaults.retries);
    fields
        .duration("retry_backoff", spec::RETRY_BACKOFF)?
        .put(&mut spec.retry_backoff, &defaults.retry_backoff);
    fields.integer("keep", spec::KEEP)?.put(&mut spec.keep, &defaults.keep);
    fields
        .integer("output_limit", spec::OUTPUT_LIMIT)?
        .put(&mut spec.output_limit, &defaults.output_limit);
    Ok(())
}

/// The five keys with two spellings.
fn fill_command(
    spec: &mut Spec,
    base: &Spec,
    defaults: &Spec,
    fields: &mut Fields<'_>,
) -> Result<(), Refusal> {
    let mut config = match fields.object("executor_config")? {
        Given::Absent => Map::new(),
        Given::Null => {
            spec.executor_extras.clear();
            Map::new()
        }
        Given::Value(config) => config,
    };
    let config = &mut Fields::new(&mut config, "executor_config.");

    let mut pair = (
        fields.text("command", spec::COMMAND_MAX_BYTES)?,
        config.text("command", spec::COMMAND_MAX_BYTES)?,
    );
    // A client of one era may hold the other era's key as its type's zero value.
    if pair.0 == Given::Value(String::new()) && matches!(pair.1, Given::Value(_)) {
        pair.0 = Given::Absent;
    }
    settle("command", pair, &base.command)?.put(&mut spec.command, &defaults.command);

    let pair = (fields.flag("shell")?, config.flag("shell")?);
    settle("shell", pair, &base.shell)?.put(&mut spec.shell, &defaults.shell);

    let pair = (cwd(fields, "")?, cwd(config, "executor_config.")?);
    settle("cwd", pair, &base.cwd)?.put(&mut spec.cwd, &defaults.cwd);

    let pair =
        (fields.timeout("timeout", spec::TIMEOUT)?, config.timeout("timeout", spec::TIMEOUT)?);
    settle("timeout", pair, &base.timeout)?.put(&mut spec.timeout, &defaults.timeout);

    let object = env_object(fields, spec, base)?;
    let pairs = env_pairs(config, base, &object)?;
    settle("env", (object, pairs), &base.env)?.put(&mut spec.env, &defaults.env);

    config.unavailable("su", "leave it out: jobs run as the agent's own user")?;
    config.unavailable("mem_limit", "leave it out, or let the command set a limit")?;
    config.unavailable("payload", "leave it out: a job's standard input is empty")?;
    config.merge_rest("executor_config", LABELS, &mut spec.executor_extras)
}

/// Of two spellings, the one that differs from `base` was meant.
fn settle<T: PartialEq>(key: &str, pair: (Given<T>, Given<T>), base: &T) -> Take<T> {
    match pair {
        (Given::Value(seed), Given::Value(config)) => {
            if seed == config || config == *base {
                Ok(Given::Value(seed))
            } else if seed == *base {
                Ok(Given::Value(config))
            } else {
                let why = format!("differs from executor_config.{key}; give one of them");
                Err(refuse("", key, &why))
            }
        }
        (Given::Value(value), Given::Absent | Given::Null)
        | (Given::Absent | Given::Null, Given::Value(value)) => Ok(Given::Value(value)),
        (Given::Null, Given::Absent | Given::Null) | (Given::Absent, Given::Null) => {
            Ok(Given::Null)
        }
        (Given::Absent, Given::Absent) => Ok(Given::Absent),
    }
}

fn cwd(fields: &mut Fields<'_>, prefix: &str) -> Take<String> {
    let given = fields.text("cwd", spec::CWD_MAX_BYTES)?;
    match &given {
        Given::Value(path) if !path.is_empty() && !path.starts_with('/') => {
            let why = format!("{} is not an absolute path; begin it with \"/\"", quoted(path));
            Err(refuse(prefix, "cwd", &why))
        }
        Given::Value(_) | Given::Absent | Given::Null => Ok(given),
    }
}

/// `env` as an object, merged into what `spec` has.
fn env_object(fields: &mut Fields<'_>, spec: &Spec, base: &Spec) -> Take<BTreeMap<String, String>> {
    let object = match fields.object("env")? {
        Given::Absent => return Ok(Given::Absent),
        Given::Null => return Ok(Given::Null),
        Given::Value(object) => object,
    };
    if let Some((name, _)) = object.iter().find(|(_, value)| value.is_object()) {
        let key = format!("env.{}", shown_name(name));
        let why = "reading a value from a file is not available in this version; give a text";
        return Err(refuse("", &key, why));
    }
    let mut env = spec.env.clone();
    let mut whole = Map::from_iter([("env".to_owned(), Value::Object(object))]);
    Fields::new(&mut whole, "").merge_texts("env", ENV, &mut env)?;
    check_env("env", env, base).map(Given::Value)
}

/// `executor_config.env`, which replaces all variables. What reads like the variables stored, or
/// like those of the `env` beside it, means them, commas and all.
fn env_pairs(
    config: &mut Fields<'_>,
    base: &Spec,
    object: &Given<BTreeMap<String, String>>,
) -> Take<BTreeMap<String, String>> {
    let text = match config.text("env", ENV_TEXT_MAX_BYTES)? {
        Given::Absent => return Ok(Given::Absent),
        Given::Null => return Ok(Given::Null),
        Given::Value(text) => text,
    };
    if text == env_text(&base.env) {
        return Ok(Given::Value(base.env.clone()));
    }
    if matches!(object, Given::Value(env) if text == env_text(env)) {
        return Ok(object.clone());
    }
    let mut pairs = Map::new();
    for pair in text.split(',').filter(|_| !text.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            let why = format!(
                "{} has no \"=\"; a value that holds a comma can be given in env only",
                quoted(pair)
            );
            return Err(refuse("executor_config.", "env", &why));
        };
        pairs.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    let mut env = BTreeMap::new();
    let mut whole = Map::from_iter([("env".to_owned(), Value::Object(pairs))]);
    Fields::new(&mut whole, "executor_config.").merge_texts("env", ENV, &mut env)?;
    check_env("executor_config.env", env, base).map(Given::Value)
}

/// Checks names, and puts the old value where the mask stands.
fn check_env(
    key: &str,
    mut env: BTreeMap<String, String>,
    base: &Spec,
) -> Result<BTreeMap<String, String>, Refusal> {
    for (name, value) in &mut env {
        let key = || format!("{key}.{}", shown_name(name));
        // A name with a comma could not be told apart in the text spelling.
        if name.contains(['=', ',']) {
            let why = "the name of a variable must not hold \"=\" or \",\"";
            return Err(refuse("", &key(), why));
        }
        if value == MASK {
            let Some(old) = base.env.get(name) else {
                let why = "has the mask for its value, and no older value to keep";
                return Err(refuse("", &key(), why));
            };
            value.clone_from(old);
        }
    }
    Ok(env)
}

fn check_counts(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for (key, value) in tags {
        if let (_, Some(count)) = split_tag(value) {
            if !(1..=spec::TARGETS_MAX).contains(&count) {
                let why = format!(
                    "the count in {} is out of range 1-{}",
                    quoted(value),
                    spec::TARGETS_MAX
                );
                return Err(refuse("tags.", &shown_name(key), &why));
            }
        }
    }
    Ok(())
}

fn concurrency(fields: &mut Fields<'_>) -> Take<Concurrency> {
    let from_word = |word: &str| match word {
        "queue" | "replace" => Err("is not available in this version; use \"allow\" or \"forbid\""),
        word => Ok(Concurrency::from_word(word)),
    };
    match fields.text("concurrency", spec::LABEL_MAX_BYTES)? {
        Given::Absent => Ok(Given::Absent),
        Given::Null => Ok(Given::Null),
        Given::Value(text) if text.is_empty() => Ok(Given::Null),
        Given::Value(text) => match from_word(&text) {
            Ok(Some(value)) => Ok(Given::Value(value)),
            Ok(None) => Err(none_of("concurrency", &text, &Concurrency::words())),
            Err(why) => Err(refuse("", "concurrency", &format!("{} {why}", quoted(&text)))),
        },
    }
}

fn catchup(fields: &mut Fields<'_>) -> Take<Catchup> {
    match fields.text("catchup", spec::LABEL_MAX_BYTES)? {
        Given::Absent => Ok(Given::Absent),
        Given::Null => Ok(Given::Null),
        Given::Value(text) if text.is_empty() => Ok(Given::Null),
        Given::Value(text) => match Catchup::from_word(&text) {
            Some(value) => Ok(Given::Value(value)),
            None => Err(none_of("catchup", &text, &Catchup::words())),
        },
    }
}

fn executor(fields: &mut Fields<'_>) -> Result<(), Refusal> {
    match fields.text("executor", spec::LABEL_MAX_BYTES)? {
        Given::Value(name) if !name.is_empty() && name != EXECUTOR => {
            let why =
                format!("{} is not available in this version; use \"{EXECUTOR}\"", quoted(&name));
            Err(refuse("", "executor", &why))
        }
        Given::Value(_) | Given::Absent | Given::Null => Ok(()),
    }
}

fn run_on(fields: &mut Fields<'_>) -> Take<RunOn> {
    let value = match fields.any("run_on") {
        Given::Absent => return Ok(Given::Absent),
        Given::Null => return Ok(Given::Null),
        Given::Value(value) => value,
    };
    match value.as_str() {
        Some("") => return Ok(Given::Null),
        Some("all") => return Ok(Given::Value(RunOn::All)),
        Some("any") => return Ok(Given::Value(RunOn::Any)),
        Some(_) | None => {}
    }
    let max = spec::TARGETS_MAX;
    let wrong = match &value {
        Value::String(text) => quoted(text),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => kind(&value).into(),
    };
    let mut whole = Map::from_iter([("run_on".to_owned(), value)]);
    match Fields::new(&mut whole, "").integer("run_on", 1..=max) {
        Ok(Given::Value(count)) => Ok(Given::Value(RunOn::Count(count))),
        Ok(Given::Absent | Given::Null) | Err(_) => {
            let why = format!("must be \"all\", \"any\" or a number 1-{max}, not {wrong}");
            Err(refuse("", "run_on", &why))
        }
    }
}

fn refuse_unavailable(fields: &mut Fields<'_>) -> Result<(), Refusal> {
    for (key, instead) in [
        ("processors", "leave it out: the output of each run is kept"),
        ("notify", "leave it out, or let the command notify"),
        ("limits", "leave it out, or let the command set limits"),
        ("run_as_user", "leave it out: jobs run as the agent's own user"),
        ("ephemeral", "use false, and delete the job after its run"),
        ("queue_max", "leave it out: runs don't queue"),
    ] {
        fields.unavailable(key, instead)?;
    }
    Ok(())
}

fn none_of(key: &str, word: &str, all: &[&str]) -> Refusal {
    let all: Vec<String> = all.iter().map(|word| format!("\"{word}\"")).collect();
    refuse("", key, &format!("{} is none of {}", quoted(word), all.join(", ")))
}
