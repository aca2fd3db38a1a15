//! Help, the lists of options in the man pages, and the completion for bash: all made from the
//! table of settings.

use std::fmt::Write;

use super::flags::{self, Fallback, Kind, Setting, Status};

/// Where the lines of help end.
const COLUMNS: usize = 80;

const OVERVIEW: &str = "\
Usage: bellwether VERB [OPTION]...

A cron daemon that neither loses a scheduled run nor starts one twice.

Verbs:
  agent                 run an agent in the foreground
  next                  show when a schedule is due
  check-config [FILE]   check a configuration file
  journal ...           check, print or recover a data directory
  reset DIR             move the data of a stopped agent aside, to begin anew
  completion bash       print the completion for bash
  version               print the version
  help [VERB]           print this, or the help of a verb
  launcher              own the processes of an agent, which starts it itself

To begin: bellwether agent
See also: bellwether(8), bellwether.conf(5), bellwether-next(1)
";

const AGENT_HEAD: &str = "\
Usage: bellwether agent [OPTION]...

Runs an agent in the foreground until SIGTERM or SIGINT. Its jobs go on after
it and are known to the next agent in the same directory.

Options:
";

const AGENT_TAIL: &str = "
An option that may be repeated also takes several values with commas between.
Each option is also a variable, as BELLWETHER_DATA_DIR for --data-dir, and a
key of the configuration file, as data-dir = DIR. Options win over variables,
and those over the file.
";

const LAUNCHER_HEAD: &str = "\
Usage: bellwether launcher --data-dir DIR [--idle-exit DURATION]

Owns the processes of the agent that keeps its data in DIR. The agent starts it
by itself; by hand it is only of use under a service manager.

Options:
";

const CHECK_CONFIG: &str = "\
Usage: bellwether check-config [FILE]

Checks the configuration file FILE, or /etc/bellwether/bellwether.conf, and
prints OK or everything that is wrong with it. Variables are not looked at.
The exit code is 0 or 2.
";

const JOURNAL: &str = "\
Usage: bellwether journal verify DIR
       bellwether journal dump DIR [--from INDEX] [--count N] [--runs]
           [--secrets]
       bellwether journal stats DIR
       bellwether journal recover [--accept-loss] DIR

Looks at the data directory DIR. All but recover only read, and may do so while
an agent runs there.

verify checks every byte of every file: a JSON object a file on standard output,
the verdict on standard error. The exit code is 0 if all is sound, else 1. A
last group that a crash has cut short is no damage.
dump prints the records, a JSON object each: those from INDEX on, N at most,
with --runs those of the runs log. Values of env are masked without --secrets;
of a run's output the last 4 KiB are shown.
stats prints one JSON object: who the node is, and how much there is of what.
recover says what of a damaged directory can be kept, with exit code 2, and with
--accept-loss keeps it, while no agent runs there: all before the first damage,
as a new cluster. Open runs end as lost, and what was due since the last record
that is kept is not run. The damaged files are moved into damaged-TIME, and none
is deleted.
";

const RESET: &str = "\
Usage: bellwether reset DIR --yes

Moves the jobs, their history and the identity of the agent in DIR, which must
not run, into the folder reset-TIME in DIR, so that its next start begins anew.
Without --yes it only says what it would move. Runs that have a process go on,
and the new agent knows nothing of them. Exit code: 0 done, 1 refused, 2 asked
for wrongly or without --yes.
";

const COMPLETION: &str = "\
Usage: bellwether completion bash

Prints the completion for bash. To use it in this shell:
  source <(bellwether completion bash)
";

/// The help of `verb`, or the overview.
pub(super) fn text(verb: Option<&str>) -> String {
    match verb {
        Some("agent") => {
            let mut text = format!("{AGENT_HEAD}{}", options(works()));
            text.push_str(AGENT_TAIL);
            let others = |wanted: fn(&Status) -> bool| {
                let chosen = flags::all().filter(move |setting| wanted(&setting.status));
                chosen.map(|s| format!("--{}", s.name)).collect::<Vec<_>>().join(" ")
            };
            let only = others(|status| matches!(status, Status::Only(..)));
            let ignored = others(|status| matches!(status, Status::Ignored(_)));
            let refused = others(|status| matches!(status, Status::Refused(_)));
            for (head, names) in [
                ("For command lines of Dkron, as far as one node goes:", only),
                ("Accepted without effect, with a warning:", ignored),
                ("Refused in this version:", refused),
            ] {
                let _ = write!(text, "\n{head}\n{}", wrapped(&names, 2));
            }
            text
        }
        Some("launcher") => format!("{LAUNCHER_HEAD}{}", options(flags::LAUNCHER.iter())),
        Some("check-config") => CHECK_CONFIG.into(),
        Some("journal") => JOURNAL.into(),
        Some("reset") => RESET.into(),
        Some("completion") => COMPLETION.into(),
        Some(_) | None => OVERVIEW.into(),
    }
}

fn works() -> impl Iterator<Item = &'static Setting> + Clone {
    flags::all().filter(|setting| setting.status == Status::Works)
}

fn options(table: impl Iterator<Item = &'static Setting>) -> String {
    let mut text = String::new();
    for setting in table {
        let _ = writeln!(text, "  --{} {}", setting.name, setting.value);
        text.push_str(&wrapped(&sentences(setting).join(" "), 6));
    }
    text
}

/// All that is to be said of a setting: the help, its values, whether it repeats, its default.
fn sentences(setting: &Setting) -> Vec<String> {
    let mut all = vec![setting.help.to_owned()];
    match &setting.kind {
        Kind::Word(words, _) => all.push(format!("One of {}.", words.join(", "))),
        Kind::Count(range) => all.push(format!("From {} to {}.", range.start(), range.end())),
        Kind::Flag
        | Kind::Text
        | Kind::Name
        | Kind::Host
        | Kind::Zone
        | Kind::Path
        | Kind::Address
        | Kind::Pair
        | Kind::Size(_)
        | Kind::Duration(_)
        | Kind::DurationOrNever => {}
    }
    if setting.values_max > 1 {
        all.push(format!("May be repeated, up to {} values.", setting.values_max));
    }
    match setting.fallback {
        Fallback::Nothing => {}
        // A value ends without a dot, which would look like a part of it.
        Fallback::Text(text) => all.push(format!("Default: {text}")),
        Fallback::Words(text) => all.push(format!("Default: {text}.")),
    }
    all
}

/// `text` in lines of at most [`COLUMNS`], each after `indent` blanks.
fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length <= COLUMNS {
            out.push(' ');
            width += 1 + length;
        } else {
            if width > 0 {
                out.push('\n');
            }
            out.push_str(&" ".repeat(indent));
            width = indent + length;
        }
        out.push_str(word);
    }
    out.push('\n');
    out
}

/// The options of `bellwether journal`.
const JOURNAL_FLAGS: &str = "--from --count --runs --secrets --accept-loss";

/// The completion for bash.
pub(super) fn bash_completion() -> String {
    let flags = |table: &mut dyn Iterator<Item = &'static Setting>| {
        table.map(|setting| format!("--{}", setting.name)).collect::<Vec<_>>().join(" ")
    };
    let mut values = String::new();
    for setting in works() {
        let generator = match &setting.kind {
            Kind::Word(words, _) => format!("-W \"{}\"", words.join(" ")),
            Kind::Path if setting.value == "DIR" => "-d".into(),
            Kind::Path => "-f".into(),
            _ => continue,
        };
        let name = setting.name;
        let _ = writeln!(values, "        --{name}) words=({generator}) ;;");
    }
    let verbs = super::VERBS.join(" ");
    let (agent, launcher) = (flags(&mut works()), flags(&mut flags::LAUNCHER.iter()));
    format!(
        "# Completion for bash; made by: bellwether completion bash
_bellwether() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words
    case ${{COMP_WORDS[1]}} in
        agent) words=(-W \"{agent}\") ;;
        launcher) words=(-W \"{launcher}\") ;;
        check-config) words=(-f) ;;
        journal) words=(-d -W \"verify dump stats recover {JOURNAL_FLAGS}\") ;;
        reset) words=(-d -W \"--yes\") ;;
        completion) words=(-W bash) ;;
        help) words=(-W \"{verbs}\") ;;
        *) words=(-W \"\") ;;
    esac
    if [ \"$COMP_CWORD\" -eq 1 ]; then
        words=(-W \"{verbs}\")
    fi
    case $before in
{values}    esac
    mapfile -t COMPREPLY < <(compgen \"${{words[@]}}\" -- \"$current\")
}}
complete -F _bellwether bellwether
"
    )
}

/// The options of `bellwether agent` as a list of mdoc(7), for bellwether(8).
#[cfg(test)]
pub(super) fn man_options() -> String {
    man_list(works(), |s| format!("Fl -{} Ar {}", s.name, s.value))
}

/// The options of `bellwether launcher` as a list of mdoc(7), for bellwether(8).
#[cfg(test)]
pub(super) fn man_launcher_options() -> String {
    man_list(flags::LAUNCHER.iter(), |s| format!("Fl -{} Ar {}", s.name, s.value))
}

/// The keys as a list of mdoc(7), for bellwether.conf(5).
#[cfg(test)]
pub(super) fn man_keys() -> String {
    let keys = works().filter(|setting| setting.name != "config");
    man_list(keys, |s| format!("Cm {} Li = Ar {}", s.name, s.value))
}

/// The names that only Dkron has, for bellwether(8).
#[cfg(test)]
pub(super) fn man_dkron() -> String {
    let others = flags::all().filter(|setting| setting.status != Status::Works);
    let mut text = String::from(".Bl -tag -width Ds\n");
    for setting in others {
        let _ = writeln!(text, ".It Fl -{}", setting.name);
        let what = match setting.status {
            Status::Only(values, why) => {
                let values = values.join(" or ");
                format!("Accepted as {values}, without effect; otherwise refused: {why}.")
            }
            Status::Ignored(why) => format!("No effect: {why}."),
            Status::Refused(why) => format!("Refused: {why}."),
            Status::Works => String::new(),
        };
        text.push_str(&man_text(&what));
    }
    text.push_str(".El\n");
    text
}

#[cfg(test)]
fn man_list(
    table: impl Iterator<Item = &'static Setting>,
    head: impl Fn(&Setting) -> String,
) -> String {
    let mut text = String::from(".Bl -tag -width Ds\n");
    for setting in table {
        let _ = writeln!(text, ".It {}", head(setting));
        text.push_str(&man_text(&sentences(setting).join(" ")));
    }
    text.push_str(".El\n");
    text
}

/// Each sentence from a line of its own, as mdoc(7) wants it, with nothing that it would take for
/// a macro.
#[cfg(test)]
fn man_text(text: &str) -> String {
    let mut out = String::new();
    for sentence in text.replace(". ", ".\n").lines() {
        let escaped = sentence.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        for line in wrapped(&escaped, 0).lines() {
            let guard = if line.starts_with('.') { "\\&" } else { "" };
            let _ = writeln!(out, "{guard}{line}");
        }
    }
    out
}
