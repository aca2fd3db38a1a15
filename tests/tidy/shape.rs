//! How long things may be, and what must not be left in them.

use crate::source::{Source, functions, tokens};
use crate::{Complaint, complain};

const COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
const MAIN_LINES_MAX: usize = 40;

/// The one function of the tests that may sleep, and its file.
const SLEEPER: (&str, &str) = ("tests/common/mod.rs", "wait_until");

/// Code that asks whether there is one voter. A cluster of one goes the same way as a cluster of
/// seven, or the way of seven is never walked in daily use. Compared without white space.
const ONE_VOTER: [&str; 18] = [
    "voters.len()==1",
    "voters().len()==1",
    "voters.len()<=1",
    "voters().len()<=1",
    "voters.len()<2",
    "voters().len()<2",
    "voters.len()>1",
    "voters().len()>1",
    "voter_count==1",
    "voter_count()==1",
    "quorum==1",
    "quorum()==1",
    "is_single",
    "is_alone",
    "single_node",
    "single_voter",
    "one_voter",
    "only_voter",
];

/// No line is wider than a screen, except one that is an address.
pub(crate) fn columns(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let words = line.trim_start_matches(|c: char| " /!#".contains(c));
        let address = words.contains("://") && !words.trim_end().contains(' ');
        let width = line.chars().count();
        if width > COLUMNS_MAX && !address {
            let what = format!("{width} columns, at most {COLUMNS_MAX}");
            complaints.push(complain(source, index + 1, what));
        }
    }
    complaints
}

/// No function is longer than a page.
pub(crate) fn function_size(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for function in functions(&source.product) {
        let lines = function.last_line - function.first_line + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = function.name;
            let what = format!("fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}");
            complaints.push(complain(source, function.first_line, what));
        }
    }
    complaints
}

/// No file is longer than one sitting, without its tests.
pub(crate) fn file_size(source: &Source) -> Vec<Complaint> {
    let main = source.path == "src/main.rs";
    let max = if main { MAIN_LINES_MAX } else { FILE_LINES_MAX };
    let lines = source.product_lines();
    if lines <= max {
        return Vec::new();
    }
    vec![complain(source, 1, format!("{lines} lines without tests, at most {max}"))]
}

/// Nothing is left for later.
pub(crate) fn leftovers(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for pair in tokens(&source.code).windows(2) {
        let name = pair[0].text;
        if matches!(name, "todo" | "dbg" | "unimplemented") && pair[1].text == "!" {
            complaints.push(complain(source, pair[0].line, format!("{name}! is a leftover")));
        }
    }
    // Written in two halves, or this file would be its own finding.
    let marks = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];
    for (index, line) in source.text.lines().enumerate() {
        let comment = line.split_once("//").map_or("", |(_, comment)| comment);
        let mut words = comment.split(|c: char| !c.is_alphanumeric());
        if let Some(mark) = words.find(|word| marks.contains(word)) {
            complaints.push(complain(source, index + 1, format!("{mark} is a leftover")));
        }
    }
    complaints
}

/// Nobody sleeps: a loop waits for events, a test for what it tests.
pub(crate) fn sleeps(source: &Source) -> Vec<Complaint> {
    let functions = functions(&source.code);
    let allowed = |line: usize| {
        source.path == SLEEPER.0
            && functions
                .iter()
                .any(|f| f.name == SLEEPER.1 && (f.first_line..=f.last_line).contains(&line))
    };
    let mut complaints = Vec::new();
    for pair in tokens(&source.code).windows(2) {
        let (name, line) = (pair[0].text, pair[0].line);
        let sleeps = matches!(name, "sleep" | "sleep_ms" | "park_timeout" | "usleep" | "nanosleep");
        if sleeps && pair[1].text == "(" && !allowed(line) {
            complaints.push(complain(source, line, format!("{name} outside {}", SLEEPER.1)));
        }
    }
    complaints
}

/// A cluster of one is no special case.
pub(crate) fn one_voter(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, line) in source.product.lines().enumerate() {
        let code: String = line.split_whitespace().collect();
        if let Some(pattern) = ONE_VOTER.iter().find(|pattern| code.contains(**pattern)) {
            let what = format!("{pattern}: a cluster of one is no special case");
            complaints.push(complain(source, index + 1, what));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;

    #[test]
    fn a_wide_line_is_seen() {
        let (fits, wide) = ("é".repeat(COLUMNS_MAX), "x".repeat(COLUMNS_MAX + 1));
        let address = format!("    // https://example.org/{wide}");
        check(columns, "src/x.rs", &fits, 0);
        check(columns, "src/x.rs", &wide, 1);
        check(columns, "src/x.rs", &address, 0);
        check(columns, "src/x.rs", &format!("see {address}"), 1);
    }

    #[test]
    fn a_long_function_is_seen() {
        let function = |lines: usize| format!("fn f() {{{}}}", "\n".repeat(lines - 1));
        check(function_size, "src/x.rs", &function(FUNCTION_LINES_MAX), 0);
        check(function_size, "src/x.rs", &function(FUNCTION_LINES_MAX + 1), 1);
        let test = format!("#[cfg(test)]\nmod tests {{ {} }}", function(FUNCTION_LINES_MAX + 1));
        check(function_size, "src/x.rs", &test, 0);
    }

    #[test]
    fn a_long_file_is_seen() {
        let lines = |count: usize| "f();\n".repeat(count);
        check(file_size, "src/x.rs", &lines(FILE_LINES_MAX), 0);
        check(file_size, "src/x.rs", &lines(FILE_LINES_MAX + 1), 1);
        check(file_size, "src/x/tests.rs", &lines(FILE_LINES_MAX + 1), 0);
        check(file_size, "src/main.rs", &lines(MAIN_LINES_MAX + 1), 1);
        let mut tested = lines(FILE_LINES_MAX);
        tested.push_str("#[cfg(test)]\nmod tests {\n}\n");
        check(file_size, "src/x.rs", &tested, 0);
    }

    #[test]
    fn a_leftover_is_seen() {
        check(leftovers, "src/x.rs", "fn f() { todo!() }", 1);
        check(leftovers, "src/x.rs", "dbg!(x); let todo = 1; \"dbg!(x)\"", 1);
        check(leftovers, "src/x.rs", concat!("// FIX", "ME: later\n// XX", "X"), 2);
        check(leftovers, "src/x.rs", concat!("let name = \"/tmp/XX", "X\"; // XX", "XX"), 0);
    }

    #[test]
    fn a_sleep_is_seen() {
        let helper = "fn wait_until() {\n std::thread::sleep(x);\n}\n";
        check(sleeps, "tests/common/mod.rs", helper, 0);
        check(sleeps, "tests/other.rs", helper, 1);
        check(sleeps, "tests/common/mod.rs", "fn f() { sleep(x) } // sleep(y)", 1);
        check(sleeps, "src/agent/mod.rs", "#[cfg(test)]\nmod t { fn f() { sleep(x) } }", 1);
        check(sleeps, "tests/other.rs", "let s = \"sleep(1)\"; let sleep = 2;", 0);
    }

    #[test]
    fn a_question_for_one_voter_is_seen() {
        check(one_voter, "src/cluster/mod.rs", "if self.voters().len() == 1 {", 1);
        check(one_voter, "src/cluster/mod.rs", "fn is_single_node() {}", 1);
        check(one_voter, "src/cluster/mod.rs", "if votes >= quorum(voters.len()) {", 0);
        check(one_voter, "src/cluster/mod.rs", "#[cfg(test)]\nmod t { fn one_voter() {} }", 0);
    }
}
