//! Splits a command into words as a POSIX shell would, without expanding anything.
//!
//! POSIX.1-2017, Shell Command Language, 2.2 Quoting: `'…'` keeps all, `"…"` keeps all but a
//! backslash before `$`, a backquote, `"`, `\` and newline, and elsewhere a backslash keeps the
//! next character. `$ | & ; < > ( ) # * ~` are ordinary here: who wants them sets `shell`.

use crate::text::Diagnostic;

/// Longest command, in bytes.
pub const COMMAND_MAX_BYTES: usize = 64 << 10;
/// Most words in a command.
pub const WORDS_MAX: usize = 4_096;

/// The words of `command`; empty ones only where they are quoted, and none for a blank text.
///
/// # Errors
/// An unbalanced quote, a backslash that escapes nothing, a NUL, or a limit; with the place.
pub fn split(command: &str) -> Result<Vec<String>, Diagnostic> {
    if command.len() > COMMAND_MAX_BYTES {
        let message =
            format!("is {} bytes long, at most {COMMAND_MAX_BYTES} are allowed", command.len());
        return Err(Diagnostic::new(COMMAND_MAX_BYTES, command.len(), message));
    }
    if let Some(at) = command.find('\0') {
        return Err(Diagnostic::new(at, at + 1, "has a NUL, which no argument can hold"));
    }
    let mut splitter = Splitter { input: command.char_indices(), words: Vec::new(), word: None };
    splitter.run()?;
    Ok(splitter.words)
}

struct Splitter<'a> {
    input: std::str::CharIndices<'a>,
    words: Vec<String>,
    /// The word being read; `None` between words.
    word: Option<String>,
}

impl Splitter<'_> {
    fn run(&mut self) -> Result<(), Diagnostic> {
        while let Some((at, c)) = self.input.next() {
            match c {
                ' ' | '\t' | '\n' => self.end_word(at)?,
                '\'' => self.single_quoted(at)?,
                '"' => self.double_quoted(at)?,
                '\\' => match self.input.next() {
                    // A continued line: both characters vanish.
                    Some((_, '\n')) => {}
                    Some((_, c)) => self.keep(c),
                    None => {
                        let message = "has a backslash at its end, which escapes nothing";
                        return Err(Diagnostic::new(at, at + 1, message));
                    }
                },
                c => self.keep(c),
            }
        }
        self.end_word(self.input.offset())
    }

    fn single_quoted(&mut self, opened: usize) -> Result<(), Diagnostic> {
        self.word.get_or_insert_default();
        loop {
            match self.input.next() {
                Some((_, '\'')) => return Ok(()),
                Some((_, c)) => self.keep(c),
                None => return Err(unclosed(opened, '\'')),
            }
        }
    }

    fn double_quoted(&mut self, opened: usize) -> Result<(), Diagnostic> {
        self.word.get_or_insert_default();
        loop {
            match self.input.next() {
                Some((_, '"')) => return Ok(()),
                Some((_, '\\')) => match self.input.next() {
                    Some((_, '\n')) => {}
                    Some((_, c @ ('$' | '`' | '"' | '\\'))) => self.keep(c),
                    Some((_, c)) => {
                        self.keep('\\');
                        self.keep(c);
                    }
                    None => return Err(unclosed(opened, '"')),
                },
                Some((_, c)) => self.keep(c),
                None => return Err(unclosed(opened, '"')),
            }
        }
    }

    fn keep(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self, at: usize) -> Result<(), Diagnostic> {
        if let Some(word) = self.word.take() {
            if self.words.len() == WORDS_MAX {
                let message = format!("has more than {WORDS_MAX} words");
                return Err(Diagnostic::new(at - 1, at, message));
            }
            self.words.push(word);
        }
        Ok(())
    }
}

fn unclosed(opened: usize, quote: char) -> Diagnostic {
    Diagnostic::new(opened, opened + 1, format!("has a {quote} that is never closed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The words are what `printf '[%s]' …` shows in dash, wherever dash has nothing to expand.
    #[test]
    fn words_are_those_of_a_shell() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t\n ", &[]),
            ("a", &["a"]),
            ("  a  b\tc\nd ", &["a", "b", "c", "d"]),
            ("echo 'a b'", &["echo", "a b"]),
            ("echo \"a b\"", &["echo", "a b"]),
            ("echo a\\ b", &["echo", "a b"]),
            ("'a'b\"c\"d", &["abcd"]),
            ("''", &[""]),
            ("a '' \"\" b", &["a", "", "", "b"]),
            ("a''b", &["ab"]),
            ("'a\\'", &["a\\"]),
            ("'a\"b'", &["a\"b"]),
            ("\"a'b\"", &["a'b"]),
            ("'it'\\''s'", &["it's"]),
            (r#""a\"b""#, &["a\"b"]),
            (r#""\$\`\\""#, &["$`\\"]),
            (r#""\n\a\ ""#, &["\\n\\a\\ "]),
            (r"\n\'\\", &["n'\\"]),
            ("a\\\nb", &["ab"]),
            ("a \\\n b", &["a", "b"]),
            ("\\\n", &[]),
            ("\"a\\\nb\"", &["ab"]),
            ("'a\\\nb'", &["a\\\nb"]),
            ("'a\nb'", &["a\nb"]),
            ("a\rb", &["a\rb"]),
            ("a\u{a0}b é", &["a\u{a0}b", "é"]),
            // A shell would act on these; here they are ordinary.
            ("echo $HOME `id` *", &["echo", "$HOME", "`id`", "*"]),
            ("a|b && c;d >e # f", &["a|b", "&&", "c;d", ">e", "#", "f"]),
            ("FOO=1 a", &["FOO=1", "a"]),
        ];
        for (command, words) in cases {
            let words = words.iter().map(|word| word.to_string()).collect();
            assert_eq!(split(command), Ok(words), "{command:?}");
        }
    }

    #[test]
    fn what_a_shell_would_wait_for_is_refused_with_its_place() {
        for (command, sentence) in [
            ("echo 'a", "has a ' that is never closed (column 6)"),
            ("echo \"a' b", "has a \" that is never closed (column 6)"),
            ("é \"", "has a \" that is never closed (column 4)"),
            ("\"a\\", "has a \" that is never closed (column 1)"),
            ("\"a\\\"", "has a \" that is never closed (column 1)"),
            ("it's", "has a ' that is never closed (column 3)"),
            ("a b\\", "has a backslash at its end, which escapes nothing (column 4)"),
            ("a\0b", "has a NUL, which no argument can hold (column 2)"),
        ] {
            assert_eq!(split(command).map_err(|e| e.to_string()), Err(sentence.into()));
        }
    }

    #[test]
    fn each_limit_is_kept() {
        let words = |count: usize| "a ".repeat(count);
        assert_eq!(split(&words(WORDS_MAX)).map(|w| w.len()), Ok(WORDS_MAX));
        let error = split(&words(WORDS_MAX + 1)).unwrap_err();
        assert_eq!(error.to_string(), "has more than 4096 words (column 8193)");
        assert_eq!(split(words(WORDS_MAX).trim_end()).map(|w| w.len()), Ok(WORDS_MAX));

        assert!(split(&"x".repeat(COMMAND_MAX_BYTES)).is_ok());
        let error = split(&"x".repeat(COMMAND_MAX_BYTES + 1)).unwrap_err();
        let sentence = "is 65537 bytes long, at most 65536 are allowed (column 65537)";
        assert_eq!(error.to_string(), sentence);
    }

    /// Quoting a list of words the way shells print them gives the list back.
    #[test]
    fn quoted_words_come_back() {
        let alphabet = ['a', ' ', '\'', '"', '\\', '\n', '$', '`', 'é', '\t'];
        for seed in 0..5_000 {
            let mut rng = Rng::new(seed);
            let words: Vec<String> = (0..rng.below(5))
                .map(|_| (0..rng.below(6)).map(|_| alphabet[rng.below(10) as usize]).collect())
                .collect();
            let quote = |word: &String| match rng.below(2) {
                0 => format!("'{}'", word.replace('\'', "'\\''")),
                _ => {
                    let escaped = word.chars().flat_map(|c| match c {
                        '$' | '`' | '"' | '\\' => vec!['\\', c],
                        c => vec![c],
                    });
                    format!("\"{}\"", escaped.collect::<String>())
                }
            };
            let command = words.iter().map(quote).collect::<Vec<_>>().join(" ");
            assert_eq!(split(&command), Ok(words), "seed {seed}: {command:?}");
        }
    }

    #[test]
    fn arbitrary_text_never_panics() {
        let alphabet = ['a', ' ', '\'', '"', '\\', '\n', '\0', 'é'];
        for seed in 0..20_000 {
            let mut rng = Rng::new(seed);
            let text: String =
                (0..rng.below(12)).map(|_| alphabet[rng.below(8) as usize]).collect();
            if let Err(error) = split(&text) {
                assert!(error.column() <= text.len() + 1, "seed {seed}");
            }
        }
    }
}
