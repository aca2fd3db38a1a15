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

    fn line(&self, level: Level, message: &str, fields: &[(&'static str, String)]) -> String {
        let time = civil::format_utc(clock::now().wall);
        let mut line = match self.json {
            true => {
                let mut object = Map::new();
                if self.with_time {
                    object.insert("time".into(), time.into());
                }
                object.insert("level".into(), level_name(level).into());
                object.insert("msg".into(), message.into());
                for (key, value) in fields {
                    object.insert((*key).to_owned(), value.clone().into());
                }
                Value::Object(object).to_string()
            }
            false => {
                let mut text = String::new();
                if self.with_time {
                    text = format!("time={time} ");
                }
                text.push_str(&format!("level={} msg=\"{message}\"", level_name(level)));
                for (key, value) in fields {
                    text.push_str(&format!(" {key}={}", text_value(value)));
                }
                text
            }
        };
        if line.len() >= LINE_MAX_BYTES {
            let fits = (0..LINE_MAX_BYTES).rev().find(|&at| line.is_char_boundary(at));
            line.truncate(fits.unwrap_or(0));
        }
        line.push('\n');
        line
    }
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

    #[test]
    fn a_line_is_cut_at_its_limit() {
        let log = Log {
            least: Level::Debug,
            json: false,
            with_time: false,
            dropped: 0,
            seen: BTreeMap::new(),
        };
        let line = log.line(Level::Info, "long", &[("x", "é".repeat(LINE_MAX_BYTES))]);
        assert!(line.len() <= LINE_MAX_BYTES && line.ends_with('\n'));
    }

    #[test]
    fn a_message_that_repeats_is_limited() {
        let mut log = Log {
            least: Level::Debug,
            json: false,
            with_time: false,
            dropped: 0,
            seen: BTreeMap::new(),
        };
        let written = (0..100).filter(|_| log.admit("again").is_some()).count();
        assert_eq!(written, REPEATS_MAX as usize);
        assert!(log.admit("another").is_some());
    }
}
