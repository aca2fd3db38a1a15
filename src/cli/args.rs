//! Words of a command line, against a table of settings.

use getopts::{Fail, HasArg, Occur, Options};

use super::flags::{self, Given, Kind, Place, Setting};
use super::quoted;

/// What the words of a verb say.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Parsed {
    /// Values, those of one setting in their order.
    pub(super) given: Vec<Given>,
    /// The words that belong to no option.
    pub(super) free: Vec<String>,
    /// Whether `-h` or `--help` is among them.
    pub(super) wants_help: bool,
}

/// Reads `words`. A value is the next word or follows `=`; that of a [`Kind::Flag`] only follows
/// `=`, as in Go.
///
/// # Errors
/// For the first word that is not an option, lacks its value, or is given again.
pub(super) fn parse(
    table: impl Iterator<Item = &'static Setting> + Clone,
    words: &[String],
) -> Result<Parsed, String> {
    let mut options = Options::new();
    options.optflagmulti("h", "help", "");
    for setting in table.clone() {
        let has_value = if setting.kind == Kind::Flag { HasArg::Maybe } else { HasArg::Yes };
        let occur = if setting.values_max > 1 { Occur::Multi } else { Occur::Optional };
        options.opt("", setting.name, "", "", has_value, occur);
    }
    let matches = options.parse(words).map_err(|fail| complaint(fail, table.clone(), words))?;
    let mut given = Vec::new();
    for setting in table {
        let mut texts = matches.opt_strs(setting.name);
        if texts.is_empty() && matches.opt_present(setting.name) {
            texts.push("true".into());
        }
        let given_here = |text| Given { setting, text, place: Place::Flag };
        given.extend(texts.into_iter().map(given_here));
    }
    Ok(Parsed { given, wants_help: matches.opt_present("help"), free: matches.free })
}

fn complaint(
    fail: Fail,
    table: impl Iterator<Item = &'static Setting> + Clone,
    words: &[String],
) -> String {
    match fail {
        Fail::ArgumentMissing(name) => {
            let setting = table.clone().find(|setting| setting.name == name);
            let value = setting.map_or("VALUE", |setting| setting.value);
            format!("--{name}: has no value; write --{name} {value}")
        }
        Fail::OptionDuplicated(name) => format!("--{name}: is given more than once"),
        Fail::UnexpectedArgument(name) => format!("--{name}: takes no value"),
        Fail::OptionMissing(name) => format!("--{name}: must be given"),
        Fail::UnrecognizedOption(name) if name.chars().count() == 1 => {
            short_option(&name, table, words)
        }
        Fail::UnrecognizedOption(name) => {
            let hint = flags::suggest(&name, table).map(|near| format!("; did you mean --{near}?"));
            format!("{} is not an option{}", quoted(&format!("--{name}")), hint.unwrap_or_default())
        }
    }
}

/// `-node`, as Go and Dkron 0.7 take it, is seen as a row of one-letter options.
fn short_option(
    letter: &str,
    table: impl Iterator<Item = &'static Setting> + Clone,
    words: &[String],
) -> String {
    let is_it = |word: &&String| {
        word.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-') && rest.contains(letter))
    };
    let Some(word) = words.iter().find(is_it) else {
        return format!("{} is not an option", quoted(&format!("--{letter}")));
    };
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    let shown = quoted(&format!("-{name}"));
    if name.chars().count() < 2 {
        return format!("{shown} is not an option");
    }
    let long = if name == "help" { Some("help") } else { flags::suggest(name, table) };
    let hint = long.map(|long| format!(", as in --{long}")).unwrap_or_default();
    format!("{shown} is not an option; options are written with two dashes{hint}")
}
