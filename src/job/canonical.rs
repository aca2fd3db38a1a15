//! The stored form of a definition: one compact JSON object, which is also how the object in an
//! answer begins.
//!
//! So a list of a hundred thousand jobs is made by copying bytes (`show` adds what changes). One
//! definition has one form: what does not come out as it went in is not read.

use std::fmt;

use crate::ident::check_name;
use crate::time::Wall;

use super::duration;
use super::fields::{Fields, Given, quoted, refuse};
use super::json;
use super::keys::{self, env_text, fill};
use super::request::Refusal;
use super::spec::{RunOn, Spec};
use super::times;
use super::write::Object;

/// Why stored bytes are no definition. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CanonicalError {
    /// Not an object; says why.
    Json(json::JsonError),
    /// A value is wrong; the sentence names its key.
    Value(String),
    /// A definition, but not written as this version writes it.
    Form,
}

impl fmt::Display for CanonicalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CanonicalError::Json(error) => write!(f, "is not valid JSON: {error}"),
            CanonicalError::Value(sentence) => write!(f, "has an invalid value: {sentence}"),
            CanonicalError::Form => f.write_str("is not in its canonical form"),
        }
    }
}

impl std::error::Error for CanonicalError {}

impl Spec {
    /// The stored form. It ends with `}`, and holds a key at least.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1_024 + 2 * self.command.len());
        let mut object = Object::begin(&mut bytes);
        self.write_dkron_keys(&mut object);
        self.write_own_keys(&mut object);
        object.end();
        bytes
    }

    /// Reads what [`Spec::to_bytes`] wrote, exactly.
    ///
    /// # Errors
    /// For all other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Spec, CanonicalError> {
        let mut object = json::read_object(bytes).map_err(CanonicalError::Json)?;
        let spec = read(&mut object).map_err(|why| CanonicalError::Value(why.sentence))?;
        if spec.to_bytes() == bytes { Ok(spec) } else { Err(CanonicalError::Form) }
    }

    /// The keys of both eras of Dkron that a user sets.
    fn write_dkron_keys(&self, object: &mut Object<'_>) {
        object
            .text("id", &self.name)
            .text("name", &self.name)
            .text("displayname", &self.displayname)
            .text("timezone", &self.timezone)
            .text("schedule", &self.schedule)
            .text("command", &self.command)
            .flag("shell", self.shell)
            .text("owner", &self.owner)
            .text("owner_email", &self.owner_email)
            .text("run_as_user", "")
            .flag("disabled", self.disabled)
            .texts("tags", &self.tags)
            .texts("metadata", &self.metadata)
            .number("retries", 0)
            .text("parent_job", "")
            .raw("processors", "{}")
            .text("concurrency", self.concurrency.as_str())
            .text("executor", keys::EXECUTOR);
        self.write_executor_config(Object::begin(object.key("executor_config")));
        object
            .raw("ephemeral", "false")
            .maybe_time("starts_at", self.starts_at)
            .maybe_time("expires_at", self.expires_at);
    }

    /// The second spelling of five keys, all values texts, and what else was sent with them.
    fn write_executor_config(&self, mut config: Object<'_>) {
        config
            .text("command", &self.command)
            .text("shell", if self.shell { "true" } else { "false" });
        if !self.env.is_empty() {
            config.text("env", &env_text(&self.env));
        }
        if !self.cwd.is_empty() {
            config.text("cwd", &self.cwd);
        }
        if !self.timeout.is_zero() {
            config.text("timeout", &duration::format(self.timeout));
        }
        for (key, value) in &self.executor_extras {
            config.text(key, value);
        }
        config.end();
    }

    fn write_own_keys(&self, object: &mut Object<'_>) {
        let timeout =
            if self.timeout.is_zero() { String::new() } else { duration::format(self.timeout) };
        let window = self.catchup_window.map(duration::format).unwrap_or_default();
        object
            .texts("env", &self.env)
            .text("cwd", &self.cwd)
            .text("timeout", &timeout)
            .text("kill_grace", &duration::format(self.kill_grace))
            .text("start_deadline", &duration::format(self.start_deadline))
            .text("catchup", self.catchup.as_str())
            .text("catchup_window", &window)
            .number("catchup_max", self.catchup_max)
            .text("retry_backoff", "");
        match self.run_on {
            RunOn::All => object.text("run_on", "all"),
            RunOn::Any => object.text("run_on", "any"),
            RunOn::Count(count) => object.number("run_on", count),
        };
        object
            .number("queue_max", 0)
            .raw("limits", "{}")
            .number("output_limit", self.output_limit)
            .number("keep", self.keep)
            .flag("idempotent", self.idempotent)
            .raw("notify", "[]")
            .text("note", &self.note);
    }
}

fn read(object: &mut serde_json::Map<String, serde_json::Value>) -> Result<Spec, Refusal> {
    let defaults = Spec::default();
    let mut spec = defaults.clone();
    let mut fields = Fields::new(object, "");
    fields.text("name", crate::ident::NAME_MAX_BYTES)?.put(&mut spec.name, &defaults.name);
    check_name(&spec.name).map_err(|why| refuse("", "name", &why))?;
    spec.starts_at = stored_time(&mut fields, "starts_at")?;
    spec.expires_at = stored_time(&mut fields, "expires_at")?;
    fill(&mut spec, &defaults, &defaults, object)?;
    Ok(spec)
}

fn stored_time(fields: &mut Fields<'_>, key: &str) -> Result<Option<Wall>, Refusal> {
    match fields.text(key, times::TEXT_MAX_BYTES)? {
        Given::Absent | Given::Null => Ok(None),
        Given::Value(text) => match times::parse_utc(&text) {
            Some(at) => Ok(Some(at)),
            None => Err(refuse("", key, &format!("{} is no time in UTC", quoted(&text)))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::render;
    use crate::job::testing::{random_hot, random_spec};
    use crate::rng::Rng;

    #[test]
    fn every_definition_reads_back_as_itself() {
        for seed in 0..2_000 {
            let mut rng = Rng::new(seed);
            let (spec, other) = (random_spec(&mut rng), random_spec(&mut rng));
            let bytes = spec.to_bytes();
            assert_eq!(Spec::from_bytes(&bytes).as_ref(), Ok(&spec), "seed {seed}");
            assert_eq!(spec == other, bytes == other.to_bytes(), "seed {seed}");
            // An answer is no definition, though it begins like one.
            let mut shown = Vec::new();
            render(&bytes, &random_hot(&mut rng), &mut shown);
            assert_eq!(Spec::from_bytes(&shown), Err(CanonicalError::Form), "seed {seed}");
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let spec = Spec { name: "a".into(), command: "x".into(), ..Spec::default() };
        let good = String::from_utf8(spec.to_bytes()).unwrap();
        for (bytes, sentence) in [
            (good.replace(",\"note\"", ", \"note\""), "is not in its canonical form"),
            (good.replace("\"10s\"", "10"), "is not in its canonical form"),
            (good.replace("\"note\":\"\"", "\"noot\":\"\""), "is not in its canonical form"),
            (good.replace("\"id\":\"a\"", "\"id\":\"b\""), "is not in its canonical form"),
            (
                good.replace("\"name\":\"a\"", "\"name\":\"-\""),
                "has an invalid value: name: must not start with '.' or '-'",
            ),
            (
                good.replace("\"starts_at\":null", "\"starts_at\":\"x\""),
                "has an invalid value: starts_at: \"x\" is no time in UTC",
            ),
            (
                good.replace("\"retries\":0", "\"retries\":1"),
                "has an invalid value: retries: is not available in this version; use 0, or let \
                 the command try again",
            ),
            (format!("{good}}}"), "is not valid JSON: trailing characters (line 1 column 636)"),
        ] {
            let why = Spec::from_bytes(bytes.as_bytes()).map_err(|why| why.to_string());
            assert_eq!(why, Err(sentence.into()), "{bytes}");
        }
        assert_eq!(Spec::from_bytes(good.as_bytes()), Ok(spec));
    }
}
