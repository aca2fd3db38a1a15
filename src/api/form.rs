//! Takes the one file out of a form (RFC 7578) that comes in pieces.
//!
//! What is held back is no more than the fields of the file, or what may be the beginning of the
//! line that ends it: a line that no JSON has in it.

/// Longest fields of a file in a form, in bytes.
const FIELDS_MAX_BYTES: usize = 4 * 1024;
/// What ends them.
const FIELDS_END: &[u8] = b"\r\n\r\n";

/// A form that is being read.
#[derive(Debug)]
pub(super) struct FormFile {
    /// The line before the fields, and what comes between the file and the end of the form.
    first: Vec<u8>,
    behind: Vec<u8>,
    /// What has come and is not known to be of the file.
    held: Vec<u8>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    First,
    Fields,
    File,
    /// Behind the boundary after the file: whether it was the last is to be seen.
    Behind,
    /// What follows the form does not matter.
    Over,
    /// It is no form of one file.
    Broken,
}

impl FormFile {
    /// A form whose `Content-Type` is `kind`.
    pub(super) fn new(kind: &str) -> FormFile {
        let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
        let boundary = boundary.unwrap_or_default().trim_matches('"');
        let place = if boundary.is_empty() { Place::Broken } else { Place::First };
        let first = format!("--{boundary}\r\n").into_bytes();
        let behind = format!("\r\n--{boundary}").into_bytes();
        FormFile { first, behind, held: Vec::new(), place }
    }

    /// Appends to `file` what of it is known after the next piece.
    pub(super) fn feed(&mut self, piece: &[u8], file: &mut Vec<u8>) {
        self.held.extend_from_slice(piece);
        while self.step(file) {}
        if matches!(self.place, Place::Over | Place::Broken) {
            self.held.clear();
        }
    }

    /// Whether all of it has come.
    pub(super) fn is_whole(&self) -> bool {
        self.place == Place::Over
    }

    /// Whether it can't become whole any more.
    pub(super) fn is_broken(&self) -> bool {
        self.place == Place::Broken
    }

    /// Whether it came a place further.
    fn step(&mut self, file: &mut Vec<u8>) -> bool {
        match self.place {
            Place::First => {
                let length = self.first.len();
                if self.held.len() < length {
                    return false;
                }
                let is_first = self.held.starts_with(&self.first);
                // The line's end may be that of the fields, too.
                self.held.drain(..length - 2);
                self.place = if is_first { Place::Fields } else { Place::Broken };
            }
            Place::Fields => match find(&self.held, FIELDS_END) {
                Some(end) if end <= FIELDS_MAX_BYTES => {
                    self.held.drain(..end + FIELDS_END.len());
                    self.place = Place::File;
                }
                None if self.held.len() <= FIELDS_MAX_BYTES => return false,
                Some(_) | None => self.place = Place::Broken,
            },
            Place::File => match find(&self.held, &self.behind) {
                Some(end) => {
                    file.extend_from_slice(self.held.get(..end).unwrap_or_default());
                    self.held.drain(..end + self.behind.len());
                    self.place = Place::Behind;
                }
                None => {
                    let known = self.held.len().saturating_sub(self.behind.len() - 1);
                    file.extend(self.held.drain(..known));
                    return false;
                }
            },
            Place::Behind => {
                let Some(two) = self.held.get(..2) else { return false };
                self.place = if two == b"--" { Place::Over } else { Place::Broken };
            }
            Place::Over | Place::Broken => return false,
        }
        true
    }
}

/// Where `what`, which begins with a CR, begins first.
fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == b'\r')?;
        if bytes.get(at..)?.starts_with(what) {
            return Some(at);
        }
        at += 1;
    }
}
