//! One key of a stored definition, without reading the rest: what lists are filtered and sorted
//! by is looked up in every job, and a hundred thousand of them must not hold up a fire.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Deserialize, IgnoredAny, MapAccess, Visitor};

/// The text under `key`; empty when there is none.
pub(super) fn text(spec: &[u8], key: &str) -> String {
    value(spec, key).unwrap_or_default()
}

/// The texts under `key`; none when there are none.
pub(super) fn texts(spec: &[u8], key: &str) -> BTreeMap<String, String> {
    value(spec, key).unwrap_or_default()
}

fn value<'s, T: Deserialize<'s>>(spec: &'s [u8], key: &str) -> Option<T> {
    let mut found = None;
    let visitor = Until { key, found: &mut found };
    // The reader complains that not all was read, which is what was meant.
    let _ = serde_json::Deserializer::from_slice(spec).deserialize_map(visitor);
    found
}

/// Reads an object up to the value of a key.
struct Until<'a, T> {
    key: &'a str,
    found: &'a mut Option<T>,
}

impl<'s, T: Deserialize<'s>> Visitor<'s> for Until<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'s>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&str>()? {
            if key == self.key {
                *self.found = map.next_value().ok();
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Spec;

    #[test]
    fn a_key_is_found_as_the_whole_reader_finds_it() {
        let mut spec = Spec {
            name: "a".into(),
            displayname: "\"quoted\" \u{2603}".into(),
            schedule: "@daily".into(),
            ..Spec::default()
        };
        spec.metadata.insert("k\"".into(), "v\n".into());
        spec.tags.insert("role".into(), "web".into());
        let bytes = spec.to_bytes();
        assert_eq!(text(&bytes, "displayname"), spec.displayname);
        assert_eq!(text(&bytes, "schedule"), spec.schedule);
        assert_eq!(texts(&bytes, "metadata"), spec.metadata);
        assert_eq!(texts(&bytes, "tags"), spec.tags);
        assert_eq!(text(&bytes, "none"), "");
        assert_eq!(text(&bytes, "tags"), "", "what is of another type is not there");
        assert_eq!(text(b"no object", "tags"), "");
    }
}
