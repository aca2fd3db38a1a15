//! What an order may hold before a process is made of it.
//!
//! An agent talks to the network, so its orders are judged here once more, by the launcher alone.

use std::fmt;

use crate::run::order::{Program, SpawnOrder, TAIL_MAX_BYTES, VARIABLES_MAX, WORDS_MAX};

/// Longest working directory, in bytes, its final NUL included (PATH_MAX).
pub const PATH_MAX_BYTES: usize = 4_096;
/// Longest word, shell text or variable: the kernel's limit on one string is 32 pages.
pub const STRING_MAX_BYTES: usize = 128 * 1024;

/// Why an order is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderError {
    /// No word, an empty first word, or an empty text for the shell.
    NoProgram,
    /// More words than [`WORDS_MAX`].
    TooManyWords,
    /// More variables than [`VARIABLES_MAX`].
    TooManyVariables,
    /// A variable's name is empty or holds `=`.
    VariableName,
    /// A NUL byte in a word, a variable or the directory.
    Nul,
    /// A word or a variable above [`STRING_MAX_BYTES`], or the directory above
    /// [`PATH_MAX_BYTES`].
    TooLong,
    /// The directory is not absolute.
    Directory,
    /// More tail than [`TAIL_MAX_BYTES`].
    Tail,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OrderError::NoProgram => "the order names no program",
            OrderError::TooManyWords => "the order has more than 4096 words",
            OrderError::TooManyVariables => "the order has more than 1024 variables",
            OrderError::VariableName => "a variable's name is empty or holds '='",
            OrderError::Nul => "the order holds a NUL byte",
            OrderError::TooLong => "a text of the order is longer than the kernel takes",
            OrderError::Directory => "the working directory is not an absolute path",
            OrderError::Tail => "the order asks for more than 16 KiB of output",
        })
    }
}

impl std::error::Error for OrderError {}

/// Says whether a process may be made of `order`.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_order(order: &SpawnOrder) -> Result<(), OrderError> {
    match &order.program {
        Program::Words(words) => {
            if words.first().is_none_or(String::is_empty) {
                return Err(OrderError::NoProgram);
            }
            if words.len() > WORDS_MAX {
                return Err(OrderError::TooManyWords);
            }
            words.iter().try_for_each(|word| check_text(word, STRING_MAX_BYTES))?;
        }
        Program::Shell(text) if text.is_empty() => return Err(OrderError::NoProgram),
        Program::Shell(text) => check_text(text, STRING_MAX_BYTES)?,
    }
    if order.env.len() > VARIABLES_MAX {
        return Err(OrderError::TooManyVariables);
    }
    for (name, value) in &order.env {
        if name.is_empty() || name.contains('=') {
            return Err(OrderError::VariableName);
        }
        check_text(name, STRING_MAX_BYTES)?;
        // The kernel counts `NAME=value`.
        check_text(value, STRING_MAX_BYTES.saturating_sub(name.len() + 1))?;
    }
    if let Some(cwd) = &order.cwd {
        check_text(cwd, PATH_MAX_BYTES)?;
        if !cwd.starts_with('/') {
            return Err(OrderError::Directory);
        }
    }
    if order.tail_max_bytes as usize > TAIL_MAX_BYTES {
        return Err(OrderError::Tail);
    }
    Ok(())
}

fn check_text(text: &str, limit: usize) -> Result<(), OrderError> {
    if text.contains('\0') {
        return Err(OrderError::Nul);
    }
    // One byte is the NUL at its end.
    if text.len() >= limit { Err(OrderError::TooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::testing::order;

    #[test]
    fn an_order_is_refused_for_each_thing_that_can_be_wrong() {
        let words = |count: usize| Program::Words(vec!["x".into(); count]);
        let shell = |text: String| Program::Shell(text);
        let (long, path) = ("x".repeat(STRING_MAX_BYTES), "/".repeat(PATH_MAX_BYTES));
        let fine = |change: &dyn Fn(&mut SpawnOrder)| {
            let mut order = order(1, words(1));
            change(&mut order);
            check_order(&order)
        };
        assert_eq!(fine(&|_| {}), Ok(()));
        for (program, wanted) in [
            (words(WORDS_MAX), Ok(())),
            (words(WORDS_MAX + 1), Err(OrderError::TooManyWords)),
            (words(0), Err(OrderError::NoProgram)),
            (Program::Words(vec![String::new()]), Err(OrderError::NoProgram)),
            (Program::Words(vec!["a".into(), "b\0".into()]), Err(OrderError::Nul)),
            (Program::Words(vec!["a".into(), String::new()]), Ok(())),
            (shell(String::new()), Err(OrderError::NoProgram)),
            (shell(long[1..].into()), Ok(())),
            (shell(long.clone()), Err(OrderError::TooLong)),
        ] {
            assert_eq!(fine(&|order| order.program = program.clone()), wanted);
        }
        for (count, name, value, wanted) in [
            (VARIABLES_MAX, "A", "b=c", Ok(())),
            (VARIABLES_MAX + 1, "A", "", Err(OrderError::TooManyVariables)),
            (1, "", "", Err(OrderError::VariableName)),
            (1, "A=B", "", Err(OrderError::VariableName)),
            (1, "A\0", "", Err(OrderError::Nul)),
            (1, "A", "\0", Err(OrderError::Nul)),
            (1, "A", &long[3..], Ok(())),
            (1, "A", &long[2..], Err(OrderError::TooLong)),
        ] {
            let env = vec![(name.to_string(), value.to_string()); count];
            assert_eq!(fine(&|order| order.env = env.clone()), wanted, "{count} {name:?}");
        }
        for (cwd, wanted) in [
            ("/tmp", Ok(())),
            ("tmp", Err(OrderError::Directory)),
            ("", Err(OrderError::Directory)),
            ("/a\0", Err(OrderError::Nul)),
            (&path[1..], Ok(())),
            (&path, Err(OrderError::TooLong)),
        ] {
            assert_eq!(fine(&|order| order.cwd = Some(cwd.into())), wanted);
        }
        let tail = TAIL_MAX_BYTES as u32;
        assert_eq!(fine(&|order| order.tail_max_bytes = tail), Ok(()));
        assert_eq!(fine(&|order| order.tail_max_bytes = tail + 1), Err(OrderError::Tail));
    }
}
