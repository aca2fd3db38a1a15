//! Takes typed values out of a JSON object, key by key, with one sentence for each way in which a
//! value can be wrong.
//!
//! Booleans and numbers are also taken from texts, where older clients have texts. It knows the
//! kinds of values, never which keys a job has.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::text::escape_control;

use super::duration;
use super::json::kind;
use super::request::Refusal;

/// Most characters of a foreign value that a sentence quotes.
const QUOTED_MAX_CHARS: usize = 64;

/// What an object says of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Given<T> {
    /// Nothing.
    Absent,
    /// Back to the default.
    Null,
    /// This.
    Value(T),
}

impl<T> Given<T> {
    /// Puts the value, or for null the default, into its place.
    pub(super) fn put(self, place: &mut T, default: &T)
    where
        T: Clone,
    {
        match self {
            Given::Absent => {}
            Given::Null => place.clone_from(default),
            Given::Value(value) => *place = value,
        }
    }

    fn and_then<U>(self, make: impl FnOnce(T) -> Result<Given<U>, Refusal>) -> Take<U> {
        match self {
            Given::Absent => Ok(Given::Absent),
            Given::Null => Ok(Given::Null),
            Given::Value(value) => make(value),
        }
    }
}

pub(super) type Take<T> = Result<Given<T>, Refusal>;

/// The keys of an object that have not been taken yet.
pub(super) struct Fields<'a> {
    keys: &'a mut Map<String, Value>,
    /// What goes before a key in sentences, such as `executor_config.`.
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(keys: &'a mut Map<String, Value>, prefix: &'static str) -> Self {
        Fields { keys, prefix }
    }

    /// Whatever is there.
    pub(super) fn any(&mut self, key: &str) -> Given<Value> {
        match self.keys.remove(key) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(value) => Given::Value(value),
        }
    }

    pub(super) fn text(&mut self, key: &str, max_bytes: usize) -> Take<String> {
        let prefix = self.prefix;
        self.any(key).and_then(|value| {
            text(value, max_bytes).map(Given::Value).map_err(|why| refuse(prefix, key, &why))
        })
    }

    pub(super) fn flag(&mut self, key: &str) -> Take<bool> {
        let prefix = self.prefix;
        self.any(key).and_then(|value| match &value {
            Value::Bool(flag) => Ok(Given::Value(*flag)),
            Value::String(text) if text.is_empty() => Ok(Given::Null),
            Value::String(text) => flag(text).map(Given::Value).ok_or_else(|| {
                let why = format!("must be true or false, not {}", quoted(text));
                refuse(prefix, key, &why)
            }),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                let why = format!("must be true or false, not {}", kind(&value));
                Err(refuse(prefix, key, &why))
            }
        })
    }

    pub(super) fn integer(&mut self, key: &str, range: RangeInclusive<u64>) -> Take<u64> {
        let prefix = self.prefix;
        self.any(key).and_then(|value| {
            if value == Value::String(String::new()) {
                return Ok(Given::Null);
            }
            match whole(&value) {
                Some(number) if range.contains(&number) => Ok(Given::Value(number)),
                Some(_) => {
                    let (low, high) = range.into_inner();
                    let why = format!("{} is out of range {low}-{high}", shown(&value));
                    Err(refuse(prefix, key, &why))
                }
                None => {
                    let (low, high) = range.into_inner();
                    let why = format!("must be a whole number {low}-{high}, not {}", shown(&value));
                    Err(refuse(prefix, key, &why))
                }
            }
        })
    }

    /// A Go duration as text, or a number of seconds. An empty text is the default.
    pub(super) fn duration(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Take<Duration> {
        let prefix = self.prefix;
        self.any(key).and_then(|value| match duration(&value, &range) {
            Ok(Some(read)) => Ok(Given::Value(read)),
            Ok(None) => Ok(Given::Null),
            Err(why) => Err(refuse(prefix, key, &why)),
        })
    }

    /// As [`Fields::duration`]; zero is allowed besides.
    pub(super) fn timeout(&mut self, key: &str, range: RangeInclusive<Duration>) -> Take<Duration> {
        let zero = Duration::ZERO..=Duration::ZERO;
        match self.keys.get(key).map(|value| duration(value, &zero)) {
            Some(Ok(Some(zero))) => {
                self.keys.remove(key);
                Ok(Given::Value(zero))
            }
            Some(Ok(None) | Err(_)) | None => self.duration(key, range),
        }
    }

    pub(super) fn object(&mut self, key: &str) -> Take<Map<String, Value>> {
        let prefix = self.prefix;
        self.any(key).and_then(|value| match value {
            Value::Object(object) => Ok(Given::Value(object)),
            other => {
                let why = format!("must be an object, not {}", kind(&other));
                Err(refuse(prefix, key, &why))
            }
        })
    }

    /// Merges an object of texts into `place`, where null removes a key; null for the whole
    /// empties it.
    pub(super) fn merge_texts(
        &mut self,
        key: &str,
        limits: TextsLimits,
        place: &mut BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        let object = match self.object(key)? {
            Given::Absent => return Ok(()),
            Given::Null => {
                place.clear();
                return Ok(());
            }
            Given::Value(object) => object,
        };
        for (name, value) in object {
            let inner = || format!("{key}.{}", shown_name(&name));
            if name.is_empty() {
                return Err(refuse(self.prefix, key, "has an empty key; give it a name"));
            }
            text(Value::String(name.clone()), limits.key_max_bytes)
                .map_err(|why| refuse(self.prefix, &inner(), &format!("its key {why}")))?;
            if value.is_null() {
                place.remove(&name);
                continue;
            }
            let value = text(value, limits.value_max_bytes)
                .map_err(|why| refuse(self.prefix, &inner(), &why))?;
            place.insert(name, value);
        }
        if place.len() > limits.count_max {
            let why = format!("has {} keys, at most {} are allowed", place.len(), limits.count_max);
            return Err(refuse(self.prefix, key, &why));
        }
        Ok(())
    }

    /// Merges all keys that are left into `place`, as texts.
    pub(super) fn merge_rest(
        &mut self,
        name: &str,
        limits: TextsLimits,
        place: &mut BTreeMap<String, String>,
    ) -> Result<(), Refusal> {
        let mut rest = std::mem::take(self.keys);
        for value in rest.values_mut() {
            match value {
                Value::Bool(_) | Value::Number(_) => *value = Value::String(value.to_string()),
                Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => {}
            }
        }
        let mut whole = Map::from_iter([(name.to_owned(), Value::Object(rest))]);
        Fields::new(&mut whole, "").merge_texts(name, limits, place)
    }

    /// A key that means something here one day: only a value that asks for nothing is accepted.
    pub(super) fn unavailable(&mut self, key: &str, instead: &str) -> Result<(), Refusal> {
        match self.any(key) {
            Given::Value(value) if !asks_for_nothing(&value) => {
                let why = format!("is not available in this version; {instead}");
                Err(refuse(self.prefix, key, &why))
            }
            Given::Absent | Given::Null | Given::Value(_) => Ok(()),
        }
    }
}

/// Bounds of an object of texts.
#[derive(Clone, Copy)]
pub(super) struct TextsLimits {
    pub(super) count_max: usize,
    pub(super) key_max_bytes: usize,
    pub(super) value_max_bytes: usize,
}

/// `key: why`, as an invalid request.
pub(super) fn refuse(prefix: &str, key: &str, why: &str) -> Refusal {
    Refusal::invalid(format!("{prefix}{key}: {why}"))
}

/// A foreign text in quotes, without control characters, cut after 64 characters.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", escape_control(&cut(text)))
}

/// A foreign name within a sentence, as [`quoted`] but without the quotes.
pub(super) fn shown_name(name: &str) -> String {
    escape_control(&cut(name))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A value as a sentence names it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => kind(value).into(),
    }
}

fn text(value: Value, max_bytes: usize) -> Result<String, String> {
    let text = match value {
        Value::String(text) => text,
        other => return Err(format!("must be a text, not {}", kind(&other))),
    };
    if text.len() > max_bytes {
        let length = text.len();
        return Err(format!("is {length} bytes long, at most {max_bytes} are allowed"));
    }
    if let Some(at) = text.find('\0') {
        return Err(format!("has a NUL, which no text may hold (column {})", at + 1));
    }
    Ok(text)
}

/// `None` stands for the default.
fn duration(value: &Value, range: &RangeInclusive<Duration>) -> Result<Option<Duration>, String> {
    let read = match value {
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => match text.parse::<u64>() {
            Ok(seconds) => duration::from_seconds(seconds as f64),
            Err(_) => duration::parse(text),
        },
        Value::Number(number) => duration::from_seconds(number.as_f64().unwrap_or(f64::INFINITY)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(format!(
                "must be a duration such as \"90s\" or a number of seconds, not {}",
                kind(value)
            ));
        }
    };
    let read = read.map_err(|why| format!("{} {why}", shown(value)))?;
    if range.contains(&read) {
        return Ok(Some(read));
    }
    let (low, high) = (duration::format(*range.start()), duration::format(*range.end()));
    Err(format!("{} is out of range {low} to {high}", duration::format(read)))
}

/// The words of Go's `strconv.ParseBool`, which v4 reads its texts with.
fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let float = number.as_f64()?;
            // Some clients write every number as a float; beyond 2^53 none of them is exact.
            let exact = float.fract() == 0.0 && (0.0..9e15).contains(&float);
            exact.then_some(float as u64)
        }),
        Value::String(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.as_str(), "" | "0" | "0s" | "false"),
        Value::Array(values) => values.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}
