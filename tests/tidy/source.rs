//! A Rust file as the rules see it: its text, its code without comments and literals, and its code
//! without tests. Not a parser: it knows as much of the language as the rules need.

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// From the root of the package, with `/`.
    pub(crate) path: String,
    /// As it is on disk.
    pub(crate) text: String,
    /// The text with blanks for comments and for what is inside literals; lines stay in place.
    pub(crate) code: String,
    /// The code with blanks for what is only compiled for tests.
    pub(crate) product: String,
}

/// A name, a number, `::`, or one other character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// From 1.
    pub(crate) line: usize,
}

/// A function with a body.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let code = blank_literals(text);
        let product = if is_test_file(path) { blank(&code) } else { blank_tests(&code) };
        Source { path: path.to_owned(), text: text.to_owned(), code, product }
    }

    /// The same file, known to be compiled for tests only.
    pub(crate) fn for_tests_only(mut self) -> Source {
        self.product = blank(&self.code);
        self
    }

    /// The modules of this file, from the root of the package: `["cron", "field"]`; none for
    /// `lib.rs`, `main.rs` and whatever is not under `src/`.
    pub(crate) fn modules(&self) -> Vec<&str> {
        let Some(path) = self.path.strip_prefix("src/") else { return Vec::new() };
        let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(path, "lib" | "main") { Vec::new() } else { path.split('/').collect() }
    }

    /// The room of this file.
    pub(crate) fn room(&self) -> Option<&str> {
        self.modules().first().copied()
    }

    /// Whether there is nothing but comments yet.
    pub(crate) fn is_placeholder(&self) -> bool {
        self.code.trim().is_empty()
    }

    /// How many lines are not tests.
    pub(crate) fn product_lines(&self) -> usize {
        let lines = self.code.lines().zip(self.product.lines());
        let tests = lines.filter(|(code, product)| code != product).count();
        let all = self.text.lines().count();
        if is_test_file(&self.path) || (tests > 0 && self.product.trim().is_empty()) {
            0
        } else {
            all - tests
        }
    }

    /// How many lines of code are not tests: blank lines and comments cost a reader nothing.
    pub(crate) fn code_lines(&self) -> usize {
        if is_test_file(&self.path) {
            return 0;
        }
        self.product.lines().filter(|line| !line.trim().is_empty()).count()
    }
}

/// Whether the name says that it holds tests only.
fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The tokens of code that [`Source`] has stripped.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let line = index + 1;
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            let (text, after) = rest.split_at(length);
            tokens.push(Token { text, line });
            rest = after.trim_start();
        }
    }
    tokens
}

/// Every path in `code` with its line, groups written out: `use a::{b, c::d}` is `a::b` and
/// `a::c::d`. A single name is a path too.
pub(crate) fn paths(code: &str) -> Vec<(usize, Vec<&str>)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = if is_name(tokens[at].text) && !KEYWORDS.contains(&tokens[at].text) {
            path_tree(&tokens, at, Vec::new(), &mut found)
        } else {
            at + 1
        };
    }
    found
}

/// Words that may stand before a path that starts with `::`, and are no part of it.
const KEYWORDS: [&str; 13] = [
    "as", "const", "dyn", "else", "for", "if", "impl", "in", "let", "match", "mut", "return", "use",
];

/// Reads the path that starts at `at` below `prefix`; returns where it ends.
fn path_tree<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    mut prefix: Vec<&'a str>,
    found: &mut Vec<(usize, Vec<&'a str>)>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let line = tokens[at].line;
    prefix.push(text(at));
    at += 1;
    while text(at) == "::" && is_name(text(at + 1)) {
        prefix.push(text(at + 1));
        at += 2;
    }
    if (text(at), text(at + 1)) != ("::", "{") {
        found.push((line, prefix));
        return at;
    }
    at += 2;
    while at < tokens.len() && text(at) != "}" {
        at = match text(at) {
            "as" => at + 2,
            name if is_name(name) => path_tree(tokens, at, prefix.clone(), found),
            _ => at + 1,
        };
    }
    at + 1
}

/// The functions of `code`, also those inside others.
pub(crate) fn functions(code: &str) -> Vec<Function<'_>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let (keyword, name) = (pair[0], pair[1].text);
        if keyword.text != "fn" || !is_name(name) {
            continue;
        }
        let end = item_end(&tokens, at);
        if tokens[end].text == "}" {
            let (first_line, last_line) = (keyword.line, tokens[end].line);
            found.push(Function { name, first_line, last_line });
        }
    }
    found
}

/// The token that ends the item which starts at `start`: the brace that closes its body, or its
/// semicolon.
fn item_end(tokens: &[Token<'_>], start: usize) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "{" => braces += 1,
            "(" | "[" => others += 1,
            ")" | "]" => others = others.saturating_sub(1),
            "}" => {
                braces = braces.saturating_sub(1);
                if braces == 0 && others == 0 {
                    return at;
                }
            }
            ";" if braces == 0 && others == 0 => return at,
            _ => {}
        }
    }
    tokens.len() - 1
}

/// `code` with blanks for every item under `#[cfg(test)]`, the attribute included.
fn blank_tests(code: &str) -> String {
    if code.contains("#![cfg(test)]") {
        return blank(code);
    }
    let mut rest = code;
    let mut product = String::with_capacity(code.len());
    while let Some(start) = rest.find("#[cfg(test)]") {
        product.push_str(&rest[..start]);
        let length = item_length(&rest[start..]);
        product.push_str(&blank(&rest[start..start + length]));
        rest = &rest[start + length..];
    }
    product + rest
}

/// How many bytes the item at the start of `code` has.
fn item_length(code: &str) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => braces += 1,
            b'(' | b'[' => others += 1,
            b')' | b']' => others = others.saturating_sub(1),
            b'}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 && others == 0 {
                    return at + 1;
                }
            }
            b';' if braces == 0 && others == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// `text` with blanks for comments and for the inside of literals.
fn blank_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before = code.chars().next_back();
        let length = literal_length(rest, before);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.push_str(&blank(&rest[..length]));
            rest = &rest[length..];
        }
    }
    code
}

/// How long the comment or literal at the start of `rest` is; 0 when there is none.
fn literal_length(rest: &str, before: Option<char>) -> usize {
    let until = |end: &str, from: usize| {
        rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if let Some(quoted) = rest.strip_prefix('"') {
        return 1 + quoted_length(quoted, '"');
    }
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let prefixed = matches!(before, Some('b' | 'c'));
        if raw[hashes..].starts_with('"') && (prefixed || !before.is_some_and(is_word)) {
            return until(&format!("\"{}", "#".repeat(hashes)), hashes + 2);
        }
    }
    if let Some(quoted) = rest.strip_prefix('\'') {
        let mut chars = quoted.chars();
        let (first, second) = (chars.next(), chars.next());
        if first == Some('\\') || second == Some('\'') {
            return 1 + quoted_length(quoted, '\'');
        }
    }
    0
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn block_comment_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        for (text, code) in [
            ("a // b", "a"),
            ("a /* b /* c */ d */ e", "a e"),
            (r#"a "b \" // c" d"#, "a d"),
            (r##"a r#"b " c"# d"##, "a d"),
            (r#"a br"\" b"#, "a b b"),
            ("a 'b' '\\'' '\"' c", "a c"),
            ("a<'b> 'c: loop", "a<'b> 'c: loop"),
            ("xr\"a\"", "xr"),
            ("'é' \"é\" é", "é"),
        ] {
            let got = blank_literals(text);
            assert_eq!(got.chars().count(), text.chars().count(), "{text}");
            assert_eq!(got.split_whitespace().collect::<Vec<_>>().join(" "), code, "{text}");
        }
    }

    #[test]
    fn tests_are_no_product() {
        let text = "a();\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n fn f() { \"}\" }\n}\nb();\n";
        let source = Source::new("src/x.rs", text);
        assert_eq!(source.product.split_whitespace().collect::<Vec<_>>(), ["a();", "b();"]);
        assert_eq!(source.product_lines(), 2);
        assert_eq!(Source::new("src/x/tests.rs", text).product_lines(), 0);
        assert_eq!(Source::new("src/x.rs", text).for_tests_only().product_lines(), 0);
        let one = Source::new("src/x.rs", "mod a;\n#[cfg(test)]\nmod tests;\nmod b;");
        assert_eq!(one.product_lines(), 2);
        assert_eq!(Source::new("src/x.rs", "//! words\n").product_lines(), 1);
    }

    #[test]
    fn paths_are_written_out() {
        let code = "use a::{self, b as c, d::{e, *}};\n let x: ::f::G<h::I> = j.k::<l>();";
        let found: Vec<String> = paths(code).iter().map(|(_, path)| path.join("::")).collect();
        assert_eq!(found, ["a::self", "a::b", "a::d::e", "x", "f::G", "h::I", "j", "k", "l"]);
    }

    #[test]
    fn functions_have_a_first_and_a_last_line() {
        let code =
            "fn a(x: [u8; 2]) -> u8 {\n fn b() {\n }\n}\ntrait T {\n fn c();\n}\ntype F = fn(u8);";
        let found: Vec<_> =
            functions(code).iter().map(|f| (f.name, f.first_line, f.last_line)).collect();
        assert_eq!(found, [("a", 1, 4), ("b", 2, 3)]);
    }

    #[test]
    fn a_file_knows_its_room() {
        for (path, modules) in [
            ("src/lib.rs", vec![]),
            ("src/main.rs", vec![]),
            ("src/schedule.rs", vec!["schedule"]),
            ("src/cron/mod.rs", vec!["cron"]),
            ("src/cron/field.rs", vec!["cron", "field"]),
            ("tests/tidy.rs", vec![]),
        ] {
            assert_eq!(Source::new(path, "").modules(), modules, "{path}");
        }
    }
}
