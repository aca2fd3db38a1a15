//! The daemon's log: lines on standard error that never stop the loop.
//!
//! A full pipe or a closed descriptor costs lines, which are counted, and nothing else. Lines are
//! `key=value` text or JSON objects; whatever came from outside is escaped. A message that repeats
//! is limited, so that a fault fills no disk.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::cron::civil;
use crate::node::{Level, Note};
use crate::sys::{clock, file};
use crate::text::escape_control;
use crate::time::Mono;

/// Longest line; a pipe takes this much at once or says that it can't.
const LINE_MAX_BYTES: usize = 4_096;
/// How often one message may be written in one window.
const REPEATS_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// The sink.
#[derive(Debug)]
pub(super) struct Log {
    least: Level,
    json: bool,
    /// journald(8) puts its own time before each line.
    with_time: bool,
    dropped: u64,
    seen: BTreeMap<&'static str, (Mono, u32)>,
}

impl Log {
    pub(super) fn new(least: Level, json: bool) -> Log {
        let with_time = std::env::var_os("JOURNAL_STREAM").is_none();
        Log { least, json, with_time, dropped: 0, seen: BTreeMap::new() }
    }

    /// Writes a line, if its level is wanted and the other end takes it now.
    pub(super) fn write(&mut self, note: &Note) {
        if note.level > self.least {
            return;
        }
        let Some(suppressed) = self.admit(note.message) else { return };
        let mut fields = note.fields.clone();
        if suppressed > 0 {
            fields.push(("repeats_left_out", suppressed.to_string()));
        }
        if self.dropped > 0 {
            fields.push(("lines_dropped", self.dropped.to_string()));
        }
        let line = self.line(note.level, note.message, &fields);
        let stderr = std::io::stderr();
        let ready = file::is_writable(stderr.as_fd()).unwrap_or(false);
        if ready && stderr.lock().write_all(line.as_bytes()).is_ok() {
            self.dropped = 0;
        } else {
            self.dropped += 1;
        }
    }

    /// A line about something that is not the node's.
    pub(super) fn say(
        &mut self,
        level: Level,
        message: &'static str,
        fields: Vec<(&'static str, String)>,
    ) {
        self.write(&Note { level, message, fields });
    }

    /// Whether `message` may be written now, and how often it was left out before.
    fn admit(&mut self, message: &'static str) -> Option<u32> {
        let now = clock::now().mono;
        let (since, count) = self.seen.entry(message).or_insert((now, 0));
        let mut left_out = 0;
        if now.since(*since) >= WINDOW {
            left_out = count.saturating_sub(REPEATS_MAX);
            (*since, *count) = (now, 0);
        }
        *count += 1;
        (*count <= REPEATS_MAX).then_some(left_out)
    }

    /// A line that fits. Where it does not, its longest values are cut, so that it stays whole in
    /// its form: a reader of JSON gets JSON.
    fn line(&self, level: Level, message: &str, fields: &[(&'static str, String)]) -> String {
        let mut value_max = LINE_MAX_BYTES;
        loop {
            let mut line = self.line_with(level, message, fields, value_max);
            if line.len() < LINE_MAX_BYTES || value_max == 0 {
                line.push('\n');
                return line;
            }
            value_max /= 2;
        }
    }

    fn line_with(
        &self,
        level: Level,
        message: &str,
        fields: &[(&'static str, String)],
        value_max: usize,
    ) -> String {
        let time = civil::format_utc(clock::now().wall);
        let fields = fields.iter().map(|(key, value)| (*key, cut(value, value_max)));
        if self.json {
            let mut object = Map::new();
            if self.with_time {
                object.insert("time".into(), time.into());
            }
            object.insert("level".into(), level_name(level).into());
            object.insert("msg".into(), message.into());
            object.extend(fields.map(|(key, value)| (key.to_owned(), value.into())));
            return json_line(&Value::Object(object));
        }
        let mut text = if self.with_time { format!("time={time} ") } else { String::new() };
        text.push_str(&format!("level={} msg=\"{message}\"", level_name(level)));
        for (key, value) in fields {
            text.push_str(&format!(" {key}={}", text_value(value)));
        }
        text
    }
}

/// The start of `text`, of at most `bytes_max` bytes.
fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// JSON asks for escapes of the first 32 characters only; a terminal obeys others as well. They
/// stand in texts alone, where an escape means the same.
fn json_line(object: &Value) -> String {
    let mut line = String::new();
    for c in object.to_string().chars() {
        match c.is_control() {
            true => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => line.push(c),
        }
    }
    line
}

/// As it is when nothing in it could be taken for the end of the value, else in quotes.
fn text_value(value: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escape_control(&escaped))
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_never_breaks_out_of_its_line() {
        for (value, shown) in [
            ("plain", "plain"),
            ("/a/path.x:80", "/a/path.x:80"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("a=b", "\"a=b\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("line\nlevel=error", "\"line\\nlevel=error\""),
            ("\x1b[2J", "\"\\x1b[2J\""),
        ] {
            assert_eq!(text_value(value), shown);
        }
    }

    fn log(json: bool) -> Log {
        let seen = BTreeMap::new();
        Log { least: Level::Debug, json, with_time: true, dropped: 0, seen }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_within_its_values() {
        for long in ["é", "\"", "\\", "\u{1b}", "\u{9b}", "x", " "] {
            let long = long.repeat(LINE_MAX_BYTES);
            let fields = [("x", long.clone()), ("short", "kept".to_owned()), ("y", long)];
            for json in [false, true] {
                let line = log(json).line(Level::Info, "long", &fields);
                assert!(line.len() <= LINE_MAX_BYTES && line.len() > 512, "{}", line.len());
                let text = line.strip_suffix('\n').unwrap();
                assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
                assert!(text.contains("kept"), "{text}");
                if json {
                    let read: Value = serde_json::from_str(text).unwrap();
                    assert_eq!((&read["msg"], &read["short"]), (&"long".into(), &"kept".into()));
                }
            }
        }
    }

    #[test]
    fn a_line_of_json_steers_no_terminal_and_says_the_same() {
        let value = "\u{1b}[2J\u{9b}31m\u{7f}\r\n\"é";
        let line = log(true).line(Level::Warn, "odd", &[("x", value.to_owned())]);
        assert!(!line.trim_end().contains(|c: char| c.is_control()), "{line:?}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["x"], value);
    }

    #[test]
    fn a_message_that_repeats_is_limited() {
        let mut log = log(false);
        let written = (0..100).filter(|_| log.admit("again").is_some()).count();
        assert_eq!(written, REPEATS_MAX as usize);
        assert!(log.admit("another").is_some());
    }
}
