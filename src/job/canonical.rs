//! The stored form of a definition: one compact JSON object of the keys that are not at their
//! defaults, and what a whole definition looks like, made of it.
//!
//! A node keeps every definition in this form, so it is small; a long list is made by copying from
//! it, so it holds its values as an answer shows them. One definition has one form: what does not
//! come out as it went in is not read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::ident::check_name;
use crate::time::Wall;

use super::duration;
use super::fields::{Fields, Given, quoted, refuse};
use super::json;
use super::keys::fill;
use super::request::Refusal;
use super::spec::{RunOn, Spec};
use super::times;
use super::write::{push_text, push_texts};

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
    /// The stored form. It ends with `}`, and holds the name first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512 + self.command.len());
        bytes.push(b'{');
        for key in &KEYS {
            let Some(value) = key.value else { continue };
            let before = bytes.len();
            if before > 1 {
                bytes.push(b',');
            }
            bytes.extend_from_slice(key.label.as_bytes());
            let start = bytes.len();
            value(self).push(&mut bytes);
            if bytes[start..] == *key.default.as_bytes() {
                bytes.truncate(before);
            }
        }
        bytes.push(b'}');
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
}

/// A key of a shown definition.
struct Key {
    /// The key as it stands before its value, such as `"name":`.
    label: &'static str,
    /// The JSON of the value that is not stored.
    default: &'static str,
    /// Its value; `None` where this version knows no other than the default.
    value: Option<fn(&Spec) -> Value<'_>>,
    config: InConfig,
}

/// A value of a definition, as JSON has it.
enum Value<'s> {
    Text(&'s str),
    Texts(&'s BTreeMap<String, String>),
    Flag(bool),
    Number(u64),
    /// `null` for none.
    Time(Option<Wall>),
    /// The empty text for none.
    Span(Option<Duration>),
}

/// What `executor_config` shows of a key. All values in it are texts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InConfig {
    Nothing,
    /// The text, if it is not empty.
    Text,
    /// The flag, made a text.
    Flag,
    /// The texts as `K=V,K=V`, if there are any.
    Pairs,
    /// The key is `executor_config`: it holds what was sent there and means nothing here.
    Rest,
}

macro_rules! key {
    ($name:literal = $default:expr) => {
        key!(@ $name, $default, None, Nothing)
    };
    ($name:literal = $default:expr, $value:expr) => {
        key!(@ $name, $default, Some($value), Nothing)
    };
    ($name:literal = $default:expr, $value:expr, $config:ident) => {
        key!(@ $name, $default, Some($value), $config)
    };
    (@ $name:literal, $default:expr, $value:expr, $config:ident) => {
        Key {
            label: concat!("\"", $name, "\":"),
            default: $default,
            value: $value,
            config: InConfig::$config,
        }
    };
}

/// The JSON of an empty text.
const NONE: &str = "\"\"";

/// Every key of a definition, in the order in which it is stored and shown. The name has no
/// default, so that it is always stored; `id`, the name again, is shown before it.
static KEYS: [Key; 38] = [
    key!("name" = "", |spec| Value::Text(&spec.name)),
    key!("displayname" = NONE, |spec| Value::Text(&spec.displayname)),
    key!("timezone" = NONE, |spec| Value::Text(&spec.timezone)),
    key!("schedule" = NONE, |spec| Value::Text(&spec.schedule)),
    key!("command" = NONE, |spec| Value::Text(&spec.command), Text),
    key!("shell" = "false", |spec| Value::Flag(spec.shell), Flag),
    key!("owner" = NONE, |spec| Value::Text(&spec.owner)),
    key!("owner_email" = NONE, |spec| Value::Text(&spec.owner_email)),
    key!("run_as_user" = NONE),
    key!("disabled" = "false", |spec| Value::Flag(spec.disabled)),
    key!("tags" = "{}", |spec| Value::Texts(&spec.tags)),
    key!("metadata" = "{}", |spec| Value::Texts(&spec.metadata)),
    key!("retries" = "0", |spec| Value::Number(spec.retries)),
    key!("parent_job" = NONE, |spec| Value::Text(&spec.parent_job)),
    key!("processors" = "{}"),
    key!("concurrency" = "\"allow\"", |spec| Value::Text(spec.concurrency.as_str())),
    key!("executor" = "\"shell\""),
    key!("executor_config" = "{}", |spec| Value::Texts(&spec.executor_extras), Rest),
    key!("ephemeral" = "false"),
    key!("starts_at" = "null", |spec| Value::Time(spec.starts_at)),
    key!("expires_at" = "null", |spec| Value::Time(spec.expires_at)),
    key!("env" = "{}", |spec| Value::Texts(&spec.env), Pairs),
    key!("cwd" = NONE, |spec| Value::Text(&spec.cwd), Text),
    key!(
        "timeout" = NONE,
        |spec| Value::Span(Some(spec.timeout).filter(|timeout| !timeout.is_zero())),
        Text
    ),
    key!("kill_grace" = "\"10s\"", |spec| Value::Span(Some(spec.kill_grace))),
    key!("start_deadline" = "\"1m0s\"", |spec| Value::Span(Some(spec.start_deadline))),
    key!("catchup" = "\"latest\"", |spec| Value::Text(spec.catchup.as_str())),
    key!("catchup_window" = NONE, |spec| Value::Span(spec.catchup_window)),
    key!("catchup_max" = "100", |spec| Value::Number(spec.catchup_max)),
    key!("retry_backoff" = "\"1s\"", |spec| Value::Span(Some(spec.retry_backoff))),
    key!("run_on" = "\"all\"", |spec| match spec.run_on {
        RunOn::All => Value::Text("all"),
        RunOn::Any => Value::Text("any"),
        RunOn::Count(count) => Value::Number(count),
    }),
    key!("queue_max" = "0"),
    key!("limits" = "{}"),
    key!("output_limit" = "16777216", |spec| Value::Number(spec.output_limit)),
    key!("keep" = "100", |spec| Value::Number(spec.keep)),
    key!("idempotent" = "false", |spec| Value::Flag(spec.idempotent)),
    key!("notify" = "[]"),
    key!("note" = NONE, |spec| Value::Text(&spec.note)),
];

impl Value<'_> {
    fn push(&self, out: &mut Vec<u8>) {
        match self {
            Value::Text(text) => push_text(out, text),
            Value::Texts(texts) => push_texts(out, *texts),
            Value::Flag(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
            Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Value::Time(Some(at)) => push_text(out, &times::format_utc(*at)),
            Value::Time(None) => out.extend_from_slice(b"null"),
            Value::Span(Some(span)) => push_text(out, &duration::format(*span)),
            Value::Span(None) => push_text(out, ""),
        }
    }
}

/// Appends the whole definition whose stored form is `stored`: an object that is not closed.
pub(super) fn show(stored: &[u8], out: &mut Vec<u8>) {
    let values = values(stored);
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(values[0]);
    for (key, value) in KEYS.iter().zip(values) {
        out.push(b',');
        out.extend_from_slice(key.label.as_bytes());
        if key.config == InConfig::Rest {
            show_config(&values, value, out);
        } else {
            out.extend_from_slice(value);
        }
    }
}

/// The JSON of every key's value, stored or default, in one pass over `stored`.
fn values(stored: &[u8]) -> [&[u8]; KEYS.len()] {
    let mut rest = stored.strip_prefix(b"{").unwrap_or_default();
    let values = KEYS.each_ref().map(|key| match rest.strip_prefix(key.label.as_bytes()) {
        None => key.default.as_bytes(),
        Some(after) => {
            let (value, after) = after.split_at(value_len(after));
            rest = after.strip_prefix(b",").unwrap_or(after);
            value
        }
    });
    assert!(rest == b"}", "a stored definition is an object of known keys in their order");
    values
}

/// Length of the value that `json` begins with: no array, and an object of texts at most.
fn value_len(json: &[u8]) -> usize {
    let is_object = json.starts_with(b"{");
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = text_end(json, at),
            b'}' if is_object => return at + 1,
            b',' | b'}' if !is_object => return at,
            _ => {}
        }
        at += 1;
    }
    json.len()
}

/// Where the text that is opened at `open` is closed. A long one is passed in blocks, each of which
/// is compared at once.
fn text_end(json: &[u8], open: usize) -> usize {
    const BLOCK_BYTES: usize = 16;
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\');
    let all_plain = |block: &[u8]| block.iter().fold(true, |all, byte| all & is_plain(byte));
    let mut at = open + 1;
    loop {
        while json.get(at..at + BLOCK_BYTES).is_some_and(all_plain) {
            at += BLOCK_BYTES;
        }
        at += json.get(at..).map_or(0, |rest| rest.iter().take_while(|b| is_plain(b)).count());
        match json.get(at) {
            Some(b'\\') => at += 2,
            Some(_) | None => return at,
        }
    }
}

/// Appends `executor_config`: the second spelling of five values, and after them `rest`.
fn show_config(values: &[&[u8]], rest: &[u8], out: &mut Vec<u8>) {
    out.push(b'{');
    for (key, &value) in KEYS.iter().zip(values) {
        let is_set = value != key.default.as_bytes();
        let push: fn(&[u8], &mut Vec<u8>) = match key.config {
            InConfig::Text if is_set => |text, out| out.extend_from_slice(text),
            InConfig::Pairs if is_set => push_pairs,
            InConfig::Flag => push_quoted,
            InConfig::Text | InConfig::Pairs | InConfig::Nothing | InConfig::Rest => continue,
        };
        out.extend_from_slice(key.label.as_bytes());
        push(value, out);
        out.push(b',');
    }
    if rest == b"{}" {
        // The flag is always shown, so that this is the comma after the last value.
        out.pop();
    }
    out.extend_from_slice(rest.strip_prefix(b"{").unwrap_or(rest));
}

fn push_quoted(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(value);
    out.push(b'"');
}

/// Appends the texts of an object as `"K=V,K=V"`: as they are written, for what must be escaped
/// in a text must be in a longer one.
fn push_pairs(texts: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut at = 1;
    while let Some(&byte) = texts.get(at) {
        match byte {
            b'"' => {
                let end = text_end(texts, at);
                out.extend_from_slice(&texts[at + 1..end]);
                at = end;
            }
            b':' => out.push(b'='),
            b',' => out.push(b','),
            _ => {}
        }
        at += 1;
    }
    out.push(b'"');
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
            // An answer is no definition, though it holds one.
            let mut shown = Vec::new();
            render(&bytes, &random_hot(&mut rng), &mut shown);
            assert_eq!(Spec::from_bytes(&shown), Err(CanonicalError::Form), "seed {seed}");
        }
    }

    #[test]
    fn what_is_at_its_default_is_not_stored() {
        let plain = Spec { name: "a".into(), ..Spec::default() };
        assert_eq!(plain.to_bytes(), br#"{"name":"a"}"#);
        for (spec, stored) in [
            (Spec { timezone: "UTC".into(), ..plain.clone() }, r#","timezone":"UTC""#),
            (Spec { timeout: Duration::from_secs(5), ..plain.clone() }, r#","timeout":"5s""#),
            (Spec { shell: true, ..plain.clone() }, r#","shell":true"#),
            (Spec { keep: 0, run_on: RunOn::Count(2), ..plain.clone() }, r#","run_on":2,"keep":0"#),
            (
                Spec { env: [("A".into(), "x,y".into())].into(), ..plain.clone() },
                r#","env":{"A":"x,y"}"#,
            ),
            (
                Spec { executor_extras: [("f".into(), "1".into())].into(), ..plain.clone() },
                r#","executor_config":{"f":"1"}"#,
            ),
        ] {
            let wanted = format!("{{\"name\":\"a\"{stored}}}");
            assert_eq!(String::from_utf8(spec.to_bytes()).unwrap(), wanted);
        }
    }

    /// With the test that every field reads back, this binds the table to the fields and to the
    /// keys that are read: what one of them has and another has not fails here or there.
    #[test]
    fn every_key_is_written_read_and_shown_alike() {
        let mut stored = std::collections::BTreeSet::new();
        let mut names = json::read_object(&shown(&Spec::default())).unwrap();
        for seed in 0..500 {
            let bytes = random_spec(&mut Rng::new(seed)).to_bytes();
            stored.extend(json::read_object(&bytes).unwrap().into_iter().map(|(key, _)| key));
        }
        for key in &KEYS {
            let name = key.label.trim_matches(['"', ':']);
            assert_eq!(stored.contains(name), key.value.is_some(), "{name}");
            assert!(names.contains_key(name), "{name} is shown");
            if let (Some(value), true) = (key.value, name != "name") {
                let mut default = Vec::new();
                value(&Spec::default()).push(&mut default);
                assert_eq!(String::from_utf8(default).unwrap(), key.default, "{name}");
            }
        }
        assert_eq!(names.len(), 1 + KEYS.len(), "id, and each key once");
        names.remove("name");
        let defaults = Spec::default();
        let mut spec = defaults.clone();
        for time in ["starts_at", "expires_at"] {
            assert_eq!(names.remove(time), Some(serde_json::Value::Null));
        }
        fill(&mut spec, &defaults, &defaults, &mut names).unwrap();
        assert_eq!((spec, names.len()), (defaults, 0), "every shown key is read");
    }

    /// The whole definition, closed.
    fn shown(spec: &Spec) -> Vec<u8> {
        let mut out = Vec::new();
        show(&spec.to_bytes(), &mut out);
        out.push(b'}');
        out
    }

    /// Around the ends of the blocks in which a text is passed.
    #[test]
    fn a_value_ends_where_it_ends_however_long() {
        for length in 0..100 {
            let plain = "x".repeat(length);
            for value in [
                plain.clone(),
                format!("\"{plain}\""),
                format!("\"{plain}\\\\\""),
                format!("\"{plain}\\\",}}{plain}\\n\""),
                format!("{{\"{plain}\":\"}}{plain}\",\"b\":\",\"}}"),
            ] {
                for rest in [",\"k\":1}", "}"] {
                    let json = format!("{value}{rest}");
                    assert_eq!(value_len(json.as_bytes()), value.len(), "{json}");
                    // What is cut off has no end, and is not looked for beyond it.
                    let cut = &json.as_bytes()[..value.len() / 2];
                    assert!(value_len(cut) <= cut.len(), "{json}");
                }
            }
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let spec = Spec { name: "a".into(), keep: 7, note: "n".into(), ..Spec::default() };
        let good = String::from_utf8(spec.to_bytes()).unwrap();
        assert_eq!(good, r#"{"name":"a","keep":7,"note":"n"}"#);
        let form = "is not in its canonical form";
        for (bytes, sentence) in [
            (good.replace(",\"note\"", ", \"note\""), form),
            (good.replace("7", "\"7\""), form),
            (good.replace("7", "100"), form),
            (good.replace("\"note\":\"n\"", "\"noot\":\"n\""), form),
            (good.replace("\"note\":\"n\"", "\"note\":\"\""), form),
            (good.replace("{\"name\":\"a\",", "{\"id\":\"a\",\"name\":\"a\","), form),
            (r#"{"keep":7,"name":"a","note":"n"}"#.into(), form),
            (good.replace("\"keep\"", "\"retries\":0,\"keep\""), form),
            (good.replace("\"keep\"", "\"executor_config\":{\"shell\":\"true\"},\"keep\""), form),
            (
                good.replace("\"name\":\"a\"", "\"name\":\"-\""),
                "has an invalid value: name: must not start with '.' or '-'",
            ),
            (
                good.replace("\"keep\"", "\"starts_at\":\"x\",\"keep\""),
                "has an invalid value: starts_at: \"x\" is no time in UTC",
            ),
            (
                good.replace("\"keep\"", "\"ephemeral\":true,\"keep\""),
                "has an invalid value: ephemeral: is not available in this version; use false, and \
                 delete the job after its run",
            ),
            (format!("{good}}}"), "is not valid JSON: trailing characters (line 1 column 33)"),
        ] {
            let why = Spec::from_bytes(bytes.as_bytes()).map_err(|why| why.to_string());
            assert_eq!(why, Err(sentence.into()), "{bytes}");
        }
        assert_eq!(Spec::from_bytes(good.as_bytes()), Ok(spec));
    }
}
