//! Strict reading of JSON: no duplicate key, no byte order mark, no lone surrogate, bounded
//! nesting and a bounded count of values; a refusal says where.
//!
//! It knows nothing of jobs. The grammar is serde_json's (RFC 8259); the strictness is that of
//! I-JSON (RFC 7493), because two readers of one ambiguous text may differ.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::fields::quoted;

/// Longest text that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of arrays and objects: what serde_json reads.
pub const MAX_DEPTH: usize = 127;
/// Most values, keys not counted, so that a text of brackets and commas cannot take many times
/// its own size in memory.
pub const MAX_VALUES: usize = 65_536;

/// Why a text was not read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JsonError {
    /// One lower-case clause.
    pub message: String,
    /// Line of the place, from 1.
    pub line: usize,
    /// Column of the place in bytes; 0 stands for the end of the line before.
    pub column: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {} column {})", self.message, self.line, self.column)
    }
}

impl std::error::Error for JsonError {}

/// Reads one object and nothing after it.
///
/// # Errors
/// As [`read`]; and when the text holds some other value.
pub fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match read(bytes)? {
        Value::Object(object) => Ok(object),
        other => Err(at_start(format!("a JSON object is needed, not {}", kind(&other)))),
    }
}

/// Reads one value and nothing after it.
///
/// # Errors
/// When the text is not strict JSON, or is beyond [`MAX_BYTES`], [`MAX_DEPTH`] or [`MAX_VALUES`].
pub fn read(bytes: &[u8]) -> Result<Value, JsonError> {
    if bytes.len() > MAX_BYTES {
        let length = bytes.len();
        return Err(at_start(format!("{length} bytes are too many, at most {MAX_BYTES} are read")));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(at_start("a byte order mark is not JSON; send plain UTF-8".into()));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(at_start("nothing is there; a JSON value is needed".into()));
    }
    let values_left = Cell::new(MAX_VALUES);
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { values_left: &values_left }.deserialize(&mut input).map_err(placed)?;
    input.end().map_err(placed)?;
    Ok(value)
}

/// What `value` is, with its article, for sentences.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn at_start(message: String) -> JsonError {
    JsonError { message, line: 1, column: 1 }
}

/// serde_json ends its messages with the place; ours is set apart.
fn placed(error: serde_json::Error) -> JsonError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let message = match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some("recursion limit exceeded") => format!("nesting is deeper than {MAX_DEPTH}"),
        Some(message) => message.to_owned(),
        None => text,
    };
    JsonError { message, line, column }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    values_left: &'a Cell<usize>,
}

impl Strict<'_> {
    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        let left = self.values_left.get();
        let left = left.checked_sub(1);
        self.values_left.set(
            left.ok_or_else(|| {
                E::custom(format!("there are more than {MAX_VALUES} values in it"))
            })?,
        );
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        self.count()?;
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = input.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = input.next_key::<String>()? {
            match object.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(input.next_value_seed(self)?);
                }
                Entry::Occupied(twice) => {
                    return Err(A::Error::custom(format!(
                        "the key {} is there twice",
                        quoted(twice.key())
                    )));
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[track_caller]
    fn refused(text: impl AsRef<[u8]>, sentence: &str) {
        match read(text.as_ref()) {
            Err(error) => assert_eq!(error.to_string(), sentence),
            Ok(value) => panic!("read as {value}, wanted: {sentence}"),
        }
    }

    #[test]
    fn what_is_ambiguous_is_refused_with_its_place() {
        for (text, sentence) in [
            ("", "nothing is there; a JSON value is needed (line 1 column 1)"),
            (" \n", "nothing is there; a JSON value is needed (line 1 column 1)"),
            ("\u{feff}{}", "a byte order mark is not JSON; send plain UTF-8 (line 1 column 1)"),
            ("{\"a\":1,\n \"a\":2}", "the key \"a\" is there twice (line 2 column 4)"),
            ("{\"a\":1,\"\\u0061\":2}", "the key \"a\" is there twice (line 1 column 15)"),
            ("{\"a\":{\"b\":1,\"b\":1}}", "the key \"b\" is there twice (line 1 column 15)"),
            ("\"\\ud800\"", "unexpected end of hex escape (line 1 column 8)"),
            ("\"\\ud800\\u0041\"", "lone leading surrogate in hex escape (line 1 column 13)"),
            ("\"\\udc00\"", "lone leading surrogate in hex escape (line 1 column 7)"),
            ("{} {}", "trailing characters (line 1 column 4)"),
            ("[1,]", "trailing comma (line 1 column 4)"),
            ("{a:1}", "key must be a string (line 1 column 2)"),
            ("[1e999]", "number out of range (line 1 column 6)"),
            ("01", "invalid number (line 1 column 2)"),
            ("NaN", "expected value (line 1 column 1)"),
            (
                "\"a\nb\"",
                "control character (\\u0000-\\u001F) found while parsing a string \
                          (line 2 column 0)",
            ),
        ] {
            refused(text, sentence);
        }
        refused(b"\"\xff\"", "invalid unicode code point (line 1 column 2)");
    }

    #[test]
    fn an_object_is_needed_where_one_is_asked_for() {
        assert!(read_object(b" {\"a\":[null,true,-1,2,0.5,\"\\ud83d\\ude00\"]} ").is_ok());
        let refused = read_object(b"[]").map_err(|e| e.to_string());
        let sentence = "a JSON object is needed, not an array (line 1 column 1)";
        assert_eq!(refused, Err(sentence.to_owned()));
    }

    #[test]
    fn each_limit_is_kept() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        refused(nested(MAX_DEPTH + 1), "nesting is deeper than 127 (line 1 column 128)");

        let values = |count: usize| ["[", &"0,".repeat(count - 2), "0]"].concat();
        assert!(read(values(MAX_VALUES).as_bytes()).is_ok());
        let error = read(values(MAX_VALUES + 1).as_bytes()).map_err(|e| e.message);
        assert_eq!(error, Err("there are more than 65536 values in it".to_owned()));

        let long = format!("\"{}\"", "x".repeat(MAX_BYTES - 2));
        assert!(read(long.as_bytes()).is_ok());
        let sentence = "1048577 bytes are too many, at most 1048576 are read (line 1 column 1)";
        refused(format!("{long} "), sentence);
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let alphabet = b"{}[]\",:\\u0dDeE.-+19 \ntrufalsn\xff\xc3\xa9";
        for seed in 0..20_000 {
            let mut rng = Rng::new(seed);
            let length = rng.below(40);
            let text: Vec<u8> =
                (0..length).map(|_| alphabet[rng.below(alphabet.len() as u64) as usize]).collect();
            // What is read can be written and read again: a value, not an accident.
            if let Ok(value) = read(&text) {
                assert!(read(value.to_string().as_bytes()).is_ok(), "seed {seed}");
            }
        }
    }
}
