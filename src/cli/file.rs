//! The configuration file: `key = value` lines, where keys are the names of the flags.
//!
//! A `#` at the start of a line or after a blank starts a comment. A key that may have several
//! values may come on several lines. Reading goes on after an error, so that all are seen at once.

use super::flags::{self, Complaint, Given, Place, Setting};
use super::quoted;

/// Largest file, in bytes.
pub(super) const FILE_MAX_BYTES: usize = 1 << 20;
/// Longest line, in bytes, without its end.
pub(super) const LINE_MAX_BYTES: usize = 4 << 10;

/// What the bytes of the file called `name` give, and every complaint about them.
pub(super) fn parse(name: &str, bytes: &[u8]) -> (Vec<Given>, Vec<Complaint>) {
    if bytes.len() > FILE_MAX_BYTES {
        let text = format!("{name}: is larger than {FILE_MAX_BYTES} bytes");
        return (Vec::new(), vec![Complaint { place: Place::File(name.into(), 0, 0), text }]);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut given: Vec<Given> = Vec::new();
    let mut complaints = Vec::new();
    for (index, bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        let mut complain = |column: usize, what: String| {
            let text = format!("{name}:{line}:{column}: {what}");
            complaints.push(Complaint { place: Place::File(name.into(), line, column), text });
        };
        match parse_line(bytes) {
            Ok(None) => {}
            Ok(Some(Entry { setting, text, column, key_column })) => {
                match given.iter().find(|given| given.setting == setting).map(|given| &given.place)
                {
                    Some(Place::File(_, first, _)) if setting.values_max == 1 => {
                        let key = setting.name;
                        complain(key_column, format!("{key}: is given again, after line {first}"));
                    }
                    _ => {
                        let place = Place::File(name.into(), line, column);
                        given.push(Given { setting, text: text.into(), place });
                    }
                }
            }
            Err((column, what)) => complain(column, what),
        }
    }
    (given, complaints)
}

struct Entry<'a> {
    setting: &'static Setting,
    text: &'a str,
    /// Of the value, from 1.
    column: usize,
    key_column: usize,
}

/// What a line gives; nothing when it is blank or a comment.
fn parse_line(bytes: &[u8]) -> Result<Option<Entry<'_>>, (usize, String)> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.len() > LINE_MAX_BYTES {
        let what = format!("the line is longer than {LINE_MAX_BYTES} bytes");
        return Err((LINE_MAX_BYTES + 1, what));
    }
    let line = str::from_utf8(bytes).map_err(|e| (e.valid_up_to() + 1, "is not UTF-8".into()))?;
    if let Some(at) = line.find(|c: char| c.is_control() && c != '\t') {
        return Err((at + 1, "a control character is not allowed".into()));
    }
    let content = line[..comment_start(line)].trim_end();
    let key_at = content.len() - content.trim_start().len();
    if content.is_empty() {
        return Ok(None);
    }
    let Some((key, text)) = content.split_once('=') else {
        let what = format!("{} has no \"=\"; write key = value", quoted(content.trim()));
        return Err((key_at + 1, what));
    };
    let column = content.len() - text.trim_start().len() + 1;
    let (key, text, key_column) = (key.trim(), text.trim(), key_at + 1);
    let setting = setting(key).map_err(|what| (key_column, what))?;
    if text.is_empty() {
        return Err((key_column, format!("{key}: has no value; write {key} = {}", setting.value)));
    }
    if text.starts_with(['"', '\'']) {
        return Err((column, format!("{key}: a value is written without quotes")));
    }
    Ok(Some(Entry { setting, text, column, key_column }))
}

fn setting(key: &str) -> Result<&'static Setting, String> {
    if key == "config" {
        return Err("config: a file cannot name another one".into());
    }
    flags::find(key).ok_or_else(|| {
        let hint = flags::suggest(key, flags::all().filter(|setting| setting.name != "config"));
        let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        format!("{} is not a setting{hint}", quoted(key))
    })
}

/// Where the comment starts; the length of `line` when it has none.
fn comment_start(line: &str) -> usize {
    let starts = |&(at, _): &(usize, &str)| at == 0 || line[..at].ends_with([' ', '\t']);
    line.match_indices('#').find(starts).map_or(line.len(), |(at, _)| at)
}
