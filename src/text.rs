//! Places in a text, and messages that point at them.

use std::fmt;

/// A half-open range of bytes in some text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte; equal to `start` for a point.
    pub end: usize,
}

/// A complaint about a text: where, and one sentence that says what was wrong and what would be
/// right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// The offending part.
    pub span: Span,
    /// One lower-case clause without a final dot and without the place.
    pub message: String,
}

impl Diagnostic {
    /// A diagnostic for the bytes `start..end`.
    pub fn new(start: usize, end: usize, message: impl Into<String>) -> Self {
        Diagnostic { span: Span { start, end }, message: message.into() }
    }

    /// The column to show to a person: 1 for the first byte.
    pub fn column(&self) -> usize {
        self.span.start + 1
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (column {})", self.message, self.column())
    }
}

/// The candidate that `word` was most likely meant to be: one edit away (a letter added, dropped,
/// changed, or two neighbours swapped), whatever the case. Words of one letter have none.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() < 2 {
        return None;
    }
    let word: Vec<char> = word.to_lowercase().chars().collect();
    candidates.into_iter().find(|candidate| {
        let candidate: Vec<char> = candidate.to_lowercase().chars().collect();
        one_edit_apart(&word, &candidate)
    })
}

fn one_edit_apart(a: &[char], b: &[char]) -> bool {
    let same_start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same_start..], &b[same_start..]);
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - same_end], &b[..b.len() - same_end]);
    match (a, b) {
        ([_], []) | ([], [_]) | ([_], [_]) => true,
        ([a0, a1], [b0, b1]) => a0 == b1 && a1 == b0,
        _ => false,
    }
}

/// `text` with control characters written as `\n`, `\t`, `\x1b` …, for logs and messages: a
/// terminal or a log reader is never steered by what a stranger sent (CVE-2023-28486).
pub fn escape_control(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_one_edit_away() {
        let words = ["@daily", "@hourly", "MON", "timezone"];
        for (typed, meant) in [
            ("@dayly", Some("@daily")),
            ("@dialy", Some("@daily")),
            ("@DAILYY", Some("@daily")),
            ("hourly", Some("@hourly")),
            ("mo", Some("MON")),
            ("MOM", Some("MON")),
            ("tiemzone", Some("timezone")),
            ("m", None),
            ("", None),
            ("@weekly", None),
            ("MON", None),
        ] {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
    }

    #[test]
    fn control_characters_are_shown_not_sent() {
        assert_eq!(escape_control("a\x1b[2J\n\u{85}é"), "a\\x1b[2J\\n\\x85é");
    }

    #[test]
    fn a_diagnostic_counts_columns_from_one() {
        assert_eq!(Diagnostic::new(2, 4, "bad").to_string(), "bad (column 3)");
    }
}
