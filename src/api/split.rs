//! Takes the objects of a restore out of a text that comes in pieces.
//!
//! It looks at each byte once and keeps what is not taken yet: the beginning of one object, and the
//! piece that came last. What it finds does not depend on how the text was cut. Whether an object
//! is one is seen when it is read.

use std::ops::Range;

use super::form::FormFile;

/// Longest line of a backup, or element of an array, in bytes: twice a definition, each byte of
/// which may need escaping.
pub(super) const OBJECT_MAX_BYTES: usize = 512 * 1024;

/// What comes next of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Nothing, before the next piece is there.
    Wants,
    /// What should be an object: where it is until the next piece comes, and the line in which it
    /// begins.
    Object(Range<usize>, usize),
    /// The end.
    End,
}

/// Why a text cannot be taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// It stops before its end.
    Incomplete,
    /// An object is longer than [`OBJECT_MAX_BYTES`].
    TooLong,
    /// After an element comes neither a comma nor the end of the array.
    NoComma,
    /// Something follows the end.
    AfterEnd,
    /// It should be a form of one file, and is none.
    NotOneFile,
}

/// The place in a text.
#[derive(Debug)]
pub(super) struct Splitter {
    form: Option<FormFile>,
    text: Vec<u8>,
    /// How much of it is taken.
    at: usize,
    /// The line, from 1, in which that is.
    line: usize,
    shape: Shape,
    is_array: bool,
    scan: Scan,
    has_ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// Nothing was seen yet.
    Unknown,
    /// A line each.
    Lines,
    /// An array, before its first element.
    First,
    /// Behind an element.
    Behind,
    /// Behind a comma.
    Element,
    /// Only space may follow.
    Closed,
}

/// How far the value at the place was looked through.
#[derive(Clone, Copy, Default, Debug)]
struct Scan {
    length: usize,
    depth: usize,
    in_text: bool,
    is_escaped: bool,
}

impl Splitter {
    /// A text of which nothing has come; `form` takes it out of what comes, if it lies in one.
    pub(super) fn new(form: Option<FormFile>) -> Splitter {
        Splitter {
            form,
            text: Vec::new(),
            at: 0,
            line: 1,
            shape: Shape::Unknown,
            is_array: false,
            scan: Scan::default(),
            has_ended: false,
        }
    }

    /// Takes the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.text.drain(..self.at);
        self.at = 0;
        match &mut self.form {
            Some(form) => form.feed(piece, &mut self.text),
            None => self.text.extend_from_slice(piece),
        }
    }

    /// There is no further piece.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The next object.
    pub(super) fn next(&mut self) -> Result<Found, Fault> {
        loop {
            self.skip_space();
            let Some(&byte) = self.text.get(self.at) else { return self.at_end() };
            match (self.shape, byte) {
                (Shape::Unknown, b'[') => {
                    self.is_array = true;
                    self.step_to(Shape::First);
                }
                (Shape::Unknown, _) => self.shape = Shape::Lines,
                (Shape::First | Shape::Behind, b']') => self.step_to(Shape::Closed),
                (Shape::Behind, b',') => self.step_to(Shape::Element),
                (Shape::Behind, _) => return Err(Fault::NoComma),
                (Shape::Closed, _) => return Err(Fault::AfterEnd),
                (Shape::Lines | Shape::First | Shape::Element, _) => return self.value(),
            }
        }
    }

    /// The bytes of an object that was found after the last piece had come.
    pub(super) fn text(&self, at: Range<usize>) -> &[u8] {
        self.text.get(at).unwrap_or_default()
    }

    /// Whether the text is an array.
    pub(super) fn is_array(&self) -> bool {
        self.is_array
    }

    /// The line in which the place is.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The line that was found last ends the text.
    pub(super) fn close(&mut self) {
        self.shape = Shape::Closed;
    }

    fn step_to(&mut self, shape: Shape) {
        self.at += 1;
        self.shape = shape;
    }

    /// Nothing more is there.
    fn at_end(&mut self) -> Result<Found, Fault> {
        match self.shape {
            _ if self.is_cut() => Err(Fault::NotOneFile),
            _ if !self.has_ended => Ok(Found::Wants),
            Shape::Closed => Ok(Found::End),
            // An element that is nothing.
            Shape::Element => {
                self.shape = Shape::Behind;
                Ok(Found::Object(self.at..self.at, self.line))
            }
            Shape::Unknown | Shape::Lines | Shape::First | Shape::Behind => Err(Fault::Incomplete),
        }
    }

    /// Whether the form will never be whole.
    fn is_cut(&self) -> bool {
        let is_cut = |form: &FormFile| form.is_broken() || (self.has_ended && !form.is_whole());
        self.form.as_ref().is_some_and(is_cut)
    }

    fn value(&mut self) -> Result<Found, Fault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let most = rest.len().min(OBJECT_MAX_BYTES + 1);
        let is_line = self.shape == Shape::Lines;
        let mut has_end = false;
        for &byte in rest.get(self.scan.length..most).unwrap_or_default() {
            has_end = if is_line { byte == b'\n' } else { self.scan.ends_before(byte) };
            if has_end {
                break;
            }
            self.scan.length += 1;
        }
        if self.scan.length > OBJECT_MAX_BYTES {
            return Err(Fault::TooLong);
        }
        if !has_end {
            match self.is_cut() {
                true => return Err(Fault::NotOneFile),
                false if !self.has_ended => return Ok(Found::Wants),
                false => {}
            }
        }
        let length = std::mem::take(&mut self.scan).length;
        let (start, line) = (self.at, self.line);
        self.at += length;
        self.line += self.text(start..self.at).iter().filter(|&&byte| byte == b'\n').count();
        if !is_line {
            self.shape = Shape::Behind;
        }
        Ok(Found::Object(start..self.at, line))
    }

    fn skip_space(&mut self) {
        if self.scan.length > 0 {
            return; // It is within a value.
        }
        while let Some(&byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.text.get(self.at) {
            self.line += usize::from(byte == b'\n');
            self.at += 1;
        }
    }
}

impl Scan {
    /// Whether `byte`, a comma or a bracket, ends the value before it.
    fn ends_before(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.in_text => {
                self.in_text = self.is_escaped || byte != b'"';
                self.is_escaped = !self.is_escaped && byte == b'\\';
            }
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth > 0 => self.depth -= 1,
            b']' | b',' => return self.depth == 0,
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// What is found in a text whose pieces end at `cuts`.
    fn found(kind: Option<&str>, text: &[u8], cuts: &[usize]) -> Vec<String> {
        let mut splitter = Splitter::new(kind.map(FormFile::new));
        let (mut found, mut at) = (Vec::new(), 0);
        loop {
            match splitter.next() {
                Ok(Found::Wants) if at == text.len() => splitter.end(),
                Ok(Found::Wants) => {
                    let next = cuts.iter().copied().find(|&cut| cut > at).unwrap_or(text.len());
                    splitter.feed(&text[at..next]);
                    at = next;
                }
                Ok(Found::Object(range, line)) => {
                    let object = String::from_utf8_lossy(splitter.text(range)).into_owned();
                    if object == "end" {
                        splitter.close();
                    }
                    found.push(format!("{line} {object}"));
                }
                Ok(Found::End) => {
                    found.push("done".into());
                    return found;
                }
                Err(fault) => {
                    found.push(format!("{} {fault:?}", splitter.line()));
                    return found;
                }
            }
        }
    }

    const FORM: &str = "multipart/form-data; boundary=B";

    const TEXTS: [(Option<&str>, &str, &[&str]); 30] = [
        (None, "", &["1 Incomplete"]),
        (None, " \n\t\r\n ", &["3 Incomplete"]),
        (None, "a\nb\nend\n \n", &["1 a", "2 b", "3 end", "done"]),
        (None, "a\r\n\n\nb \nend", &["1 a\r", "4 b ", "5 end", "done"]),
        (None, "a\nend\n x", &["1 a", "2 end", "3 AfterEnd"]),
        (None, "a\n{\"x\":[", &["1 a", "2 {\"x\":[", "2 Incomplete"]),
        (None, "[]", &["done"]),
        (None, "\n[ \n]\n", &["done"]),
        (None, "[", &["1 Incomplete"]),
        (None, "[]]", &["1 AfterEnd"]),
        (None, "[1,{},\n\n[2,3]]", &["1 1", "1 {}", "3 [2,3]", "done"]),
        (None, "[1 ,2]", &["1 1 ", "1 2", "done"]),
        (None, "[1", &["1 1", "1 Incomplete"]),
        (None, "[1,", &["1 1", "1 ", "1 Incomplete"]),
        (None, "[1,]", &["1 1", "1 ", "done"]),
        (None, "[,1]", &["1 ", "1 1", "done"]),
        (None, "[{}}{]", &["1 {}}{]", "1 Incomplete"]),
        (None, "[\"]\"]", &["1 \"]\"", "done"]),
        (None, r#"["\"],[",2]"#, &[r#"1 "\"],[""#, "1 2", "done"]),
        (None, r#"["\\",2]"#, &[r#"1 "\\""#, "1 2", "done"]),
        (
            None,
            r#"[{"a":"}{","b":[["\\\"",1]]},2]"#,
            &[r#"1 {"a":"}{","b":[["\\\"",1]]}"#, "1 2", "done"],
        ),
        (None, "[{\n\"a\":\n1},\n2]", &["1 {\n\"a\":\n1}", "4 2", "done"]),
        (Some(FORM), "--B\r\nx: y\r\n\r\n[1]\r\n--B--\r\nrest", &["1 1", "done"]),
        (Some(FORM), "--B\r\n\r\na\nend\r\n--B--", &["1 a", "2 end", "done"]),
        (Some(FORM), "--B\r\n\r\n[1,\r\n--\r\r\n--B--", &["1 1", "2 --\r", "2 Incomplete"]),
        (Some(FORM), "--B\r\n\r\n[1]\r\n--B\r\n\r\n[2]\r\n--B--", &["1 1", "1 NotOneFile"]),
        (Some(FORM), "--B\r\n\r\n[1]\r\n--B-", &["1 1", "1 NotOneFile"]),
        (Some(FORM), "--C\r\n\r\n[1]\r\n--C--", &["1 NotOneFile"]),
        (Some(FORM), "--B\r\nx: y\r\n", &["1 NotOneFile"]),
        (Some("multipart/form-data; x=y"), "--\r\n\r\n[1]\r\n----", &["1 NotOneFile"]),
    ];

    #[test]
    fn what_is_found_does_not_depend_on_how_the_text_was_cut() {
        for (kind, text, wanted) in TEXTS {
            let text = text.as_bytes();
            assert_eq!(found(kind, text, &[]), wanted, "{}", text.escape_ascii());
            for one in 0..=text.len() {
                for two in one..=text.len() {
                    let got = found(kind, text, &[one, two]);
                    assert_eq!(got, wanted, "{} at {one}, {two}", text.escape_ascii());
                }
            }
            let all: Vec<usize> = (0..text.len()).collect();
            assert_eq!(found(kind, text, &all), wanted, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn random_texts_are_taken_apart_alike_however_they_come() {
        let seed = crate::rng::mix(0x5717);
        let rng = &mut Rng::new(seed);
        for round in 0..4_000 {
            let word = |rng: &mut Rng| {
                let words: [&[u8]; 16] = [
                    b"[",
                    b"]",
                    b"{",
                    b"}",
                    b",",
                    b"\"",
                    b"\\",
                    b"\n",
                    b"\r\n--B",
                    b"--",
                    b" ",
                    b"end",
                    b"a",
                    b"\r\n",
                    b"\xff",
                    b"--B\r\n\r\n",
                ];
                words[rng.below(16) as usize]
            };
            let begin: &[u8] =
                [&b""[..], b"[", b"--B\r\n\r\n", b"--B\r\n\r\n["][rng.below(4) as usize];
            let mut text = begin.to_vec();
            for _ in 0..rng.below(24) {
                text.extend_from_slice(word(rng));
            }
            let kind = begin.starts_with(b"--").then_some(FORM);
            let whole = found(kind, &text, &[]);
            for _ in 0..8 {
                let mut cuts: Vec<usize> =
                    (0..rng.below(6)).map(|_| rng.below(text.len() as u64 + 1) as usize).collect();
                cuts.sort_unstable();
                let what = format!("seed {seed}, round {round}: {}", text.escape_ascii());
                assert_eq!(found(kind, &text, &cuts), whole, "{what} at {cuts:?}");
            }
        }
    }

    #[test]
    fn an_object_has_a_size_and_no_more_than_that_is_kept() {
        for is_array in [false, true] {
            for over in [0, 1] {
                let mut splitter = Splitter::new(None);
                splitter.feed(if is_array { b"[" } else { b"head\n" });
                if !is_array {
                    assert!(matches!(splitter.next(), Ok(Found::Object(_, 1))));
                }
                for _ in 0..OBJECT_MAX_BYTES / 1024 {
                    assert_eq!(splitter.next(), Ok(Found::Wants));
                    splitter.feed(&[b'x'; 1024]);
                }
                assert_eq!(splitter.next(), Ok(Found::Wants));
                splitter.feed(&b"xx,\n"[2 - over..]);
                let length = splitter.next().map(|found| match found {
                    Found::Object(range, _) => range.len() - usize::from(!is_array),
                    Found::Wants | Found::End => 0,
                });
                // A line ends after its comma, which is one byte more.
                let wanted = match (is_array, over) {
                    (true, 0) => Ok(OBJECT_MAX_BYTES),
                    _ => Err(Fault::TooLong),
                };
                assert_eq!(length, wanted, "{is_array}, {over}");
            }
        }
        // Space is dropped as it comes.
        let mut splitter = Splitter::new(None);
        splitter.feed(b"[");
        for _ in 0..4_096 {
            splitter.feed(&[b' '; 1024]);
            assert_eq!(splitter.next(), Ok(Found::Wants));
        }
        assert!(splitter.text.capacity() < 8 * 1024, "{}", splitter.text.capacity());
    }
}
