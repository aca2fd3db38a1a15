//! Help and man pages, as the table of settings makes them.

use super::super::help;
use super::*;

/// Set to write the man pages anew instead of comparing them.
const REWRITE: &str = "BELLWETHER_TEST_REWRITE";

#[test]
fn help_fits_eighty_columns() {
    for verb in VERBS.into_iter().map(Some).chain([None]) {
        let text = help::text(verb);
        assert!(text.starts_with("Usage: bellwether ") && text.ends_with('\n'));
        for line in text.lines() {
            assert!(line.chars().count() <= 80 && !line.ends_with(' '), "{line}");
        }
    }
}

#[test]
fn help_and_completion_name_every_setting() {
    let (text, completion) = (help::text(Some("agent")), help::bash_completion());
    for setting in flags::all() {
        let flag = format!("--{}", setting.name);
        let words =
            |text: &str| text.split(|c: char| c.is_whitespace() || c == '"').any(|w| w == flag);
        assert!(words(&text), "{flag}");
        assert_eq!(words(&completion), setting.status == flags::Status::Works, "{flag}");
    }
}

#[test]
fn man_pages_are_in_step_with_the_table() {
    for (page, mark, list) in [
        ("bellwether.8", "agent options", help::man_options()),
        ("bellwether.8", "launcher options", help::man_launcher_options()),
        ("bellwether.8", "options of Dkron", help::man_dkron()),
        ("bellwether.conf.5", "keys", help::man_keys()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        let begin = format!(".\\\" Made from the table of settings: {mark}\n");
        let end = ".\\\" Made until here\n";
        let start = text.find(&begin).unwrap_or_else(|| panic!("{page}: no {mark}")) + begin.len();
        let length = text[start..].find(end).unwrap();
        let (old, rest) = text[start..].split_at(length);
        if std::env::var_os(REWRITE).is_some() {
            std::fs::write(&path, format!("{}{list}{rest}", &text[..start])).unwrap();
        } else {
            assert_eq!(old, list, "{page}: set {REWRITE}=1 to write it anew");
        }
    }
}
