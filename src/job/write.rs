//! Writes JSON objects, key by key, in the order in which a reader should meet them.
//!
//! It never looks a key up: that each is written once is the caller's duty, and the tests'.

use crate::time::Wall;

use super::times;

/// An object being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Begins an object at the end of `out`.
    pub(super) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Goes on with an object that `out` ends in, which holds a key already and is not closed.
    pub(super) fn resume(out: &'o mut Vec<u8>) -> Self {
        Object { out, empty: false }
    }

    /// Closes the object.
    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// A key, and the buffer to which its value is to be written.
    pub(super) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        push_text(self.out, key);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        push_text(self.key(key), value);
        self
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// A number, written as it displays.
    pub(super) fn number(&mut self, key: &str, value: impl Into<i128>) -> &mut Self {
        self.raw(key, &value.into().to_string())
    }

    /// A number, or null.
    pub(super) fn maybe_number(&mut self, key: &str, value: Option<impl Into<i128>>) -> &mut Self {
        match value {
            Some(value) => self.number(key, value),
            None => self.raw(key, "null"),
        }
    }

    pub(super) fn time(&mut self, key: &str, at: Wall) -> &mut Self {
        self.text(key, &times::format_utc(at))
    }

    /// A time, or null.
    pub(super) fn maybe_time(&mut self, key: &str, at: Option<Wall>) -> &mut Self {
        match at {
            Some(at) => self.time(key, at),
            None => self.raw(key, "null"),
        }
    }

    /// An array of texts.
    pub(super) fn list(&mut self, key: &str, values: &[String]) -> &mut Self {
        let out = self.key(key);
        out.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_text(out, value);
        }
        out.push(b']');
        self
    }

    /// A value that is JSON already.
    pub(super) fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        self.key(key).extend_from_slice(json.as_bytes());
        self
    }
}

/// Writes an object of texts.
pub(super) fn push_texts<'t>(
    out: &mut Vec<u8>,
    texts: impl IntoIterator<Item = (&'t String, &'t String)>,
) {
    let mut object = Object::begin(out);
    for (key, value) in texts {
        object.text(key, value);
    }
    object.end();
}

/// Writes a JSON text: the shortest escapes of what must be escaped (RFC 8259, section 7).
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x00..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[copied..at]);
        copied = at + 1;
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'0', b'0', high, low]);
        }
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_read_back_as_itself() {
        for c in (0..=0x2ff).chain(0x2020..0x2030).chain(0x1_f600..0x1_f610) {
            let c = char::from_u32(c).unwrap();
            let text = format!("a{c}b");
            let mut out = Vec::new();
            push_text(&mut out, &text);
            let read = super::super::json::read(&out).unwrap();
            assert_eq!(read.as_str(), Some(text.as_str()), "{c:?}");
        }
    }
}
