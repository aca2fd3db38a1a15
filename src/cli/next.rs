//! `bellwether next`: when a schedule is due, and what it means.
//!
//! It asks no agent: the schedule is read here, by the parser that the agent has, in the zone that
//! the agent would take. Errors point into the schedule and end with exit code 2.

use std::io::{self, Write};
use std::process::ExitCode;

use getopts::{Matches, Options};

use crate::agent::{FileZones, system_zone};
use crate::cron::{
    Explanation, Expression, Place, SCHEDULE_MAX_BYTES, Zone, Zones, check_zone_name, civil,
    explain, parse,
};
use crate::sys::clock;
use crate::text::{Diagnostic, escape_control};
use crate::time::Second;

/// Times printed when `--count` says nothing.
const COUNT_DEFAULT: u32 = 5;

/// Largest `--count`.
const COUNT_MAX: u32 = 100_000;

const USAGE: &str = "\
Usage: bellwether next [options] 'SCHEDULE'

Prints when the schedule is due, one RFC 3339 time a line, and nothing if it never is.
SCHEDULE is one argument, so it needs quotes: '*/15 9-17 * * MON-FRI', '@daily',
'CRON_TZ=Europe/Paris 0 4 L * *'. A fire counted by @every is counted from --from.";

/// Runs the verb with what follows its name. Exit code 0 also when the schedule never fires or
/// `out` was closed, 2 when the options or the schedule are wrong, 1 when `out` cannot be written.
pub fn run(args: &[String], out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let options = options();
    let asked = match options.parse(args) {
        Ok(matches) if matches.opt_present("help") => {
            return finish(writeln!(out, "{}", options.usage(USAGE).trim_end()), err);
        }
        Ok(matches) => question(&matches, &FileZones::system()),
        Err(wrong) => Err(Wrong::Usage(escape_control(&wrong.to_string()))),
    };
    match asked {
        Ok(question) => {
            if question.expression.schedule.is_spread() && question.name.is_none() {
                // Nobody is left to tell where stderr is closed.
                let _ = writeln!(err, "bellwether next: ~ depends on the job's name; give --name");
            }
            finish(answer(&question, out), err)
        }
        Err(wrong) => {
            let _ = write!(err, "bellwether next: {}", wrong.told());
            ExitCode::from(2)
        }
    }
}

fn options() -> Options {
    let mut options = Options::new();
    options
        .optopt("", "timezone", "read the fields in this zone (default: the system's)", "ZONE")
        .optopt("", "from", "print times later than this one (default: now)", "RFC3339")
        .optopt("", "count", "print so many times (default: 5)", "N")
        .optopt("", "name", "the job's name, which decides the values of ~ and H", "NAME")
        .optflag("", "explain", "say first what the schedule means, and warn of traps")
        .optflag("h", "help", "print this and exit");
    options
}

/// What is asked, checked.
struct Question {
    expression: Expression,
    zone: Zone,
    name: Option<String>,
    from: Second,
    count: u32,
    explained: bool,
}

/// Why a question cannot be answered.
enum Wrong {
    /// The options: a sentence.
    Usage(String),
    /// The schedule: its text, and what is wrong in it.
    Schedule(String, Diagnostic),
}

impl Wrong {
    /// The whole message, with what points into the schedule.
    fn told(&self) -> String {
        match self {
            Wrong::Usage(sentence) => format!("{sentence}; see bellwether next --help\n"),
            Wrong::Schedule(text, diagnostic) if text.len() > SCHEDULE_MAX_BYTES => {
                format!("{diagnostic}\n")
            }
            Wrong::Schedule(text, diagnostic) => {
                let shown =
                    |from: usize, to: usize| escape_control(text.get(from..to).unwrap_or_default());
                let span = diagnostic.span;
                let before = shown(0, span.start).chars().count();
                let marked = shown(span.start, span.end).chars().count().max(1);
                let (all, tail) = (escape_control(text), "~".repeat(marked - 1));
                format!("{diagnostic}\n{all}\n{:before$}^{tail}\n", "")
            }
        }
    }
}

fn question(matches: &Matches, zones: &dyn Zones) -> Result<Question, Wrong> {
    let [text] = matches.free.as_slice() else {
        return Err(Wrong::Usage(match matches.free.len() {
            0 => "a schedule is missing".into(),
            found => format!("one schedule in quotes is expected, found {found} arguments"),
        }));
    };
    let once = |option: &str| match matches.opt_strs(option).as_slice() {
        [] => Ok(None),
        [value] => Ok(Some(value.clone())),
        _ => Err(Wrong::Usage(format!("--{option} is given more than once"))),
    };
    let from = match once("from")? {
        None => clock::now().wall.second(),
        Some(given) => match civil::parse_rfc3339(&given) {
            Some(wall) => wall.second(),
            None => return Err(unfit("from", &given, "an RFC 3339 time, 2026-01-02T03:04:05Z")),
        },
    };
    let count = match once("count")? {
        None => COUNT_DEFAULT,
        Some(given) => match given.parse::<u32>() {
            Ok(count) if (1..=COUNT_MAX).contains(&count) => count,
            Ok(_) | Err(_) => {
                return Err(unfit("count", &given, &format!("a number from 1 to {COUNT_MAX}")));
            }
        },
    };
    let (timezone, name) = (once("timezone")?, once("name")?);
    let expression = parse(text).map_err(|wrong| Wrong::Schedule(text.clone(), wrong))?;
    let zone = zone(timezone, &expression, text, zones)?;
    let explained = matches.opt_present("explain");
    Ok(Question { expression, zone, name, from, count, explained })
}

/// The zone of the option or the schedule, which must not differ, as on a job; else the system's.
fn zone(
    option: Option<String>,
    expression: &Expression,
    text: &str,
    zones: &dyn Zones,
) -> Result<Zone, Wrong> {
    let name = match (option, &expression.zone) {
        (Some(option), Some(zone)) if option != *zone => {
            let option = escape_control(&option);
            return Err(Wrong::Usage(format!(
                "--timezone: \"{option}\" differs from \"{zone}\", with which the schedule \
                 begins; give one of them"
            )));
        }
        (_, Some(zone)) => {
            return zones.zone(zone).ok_or_else(|| {
                let start = text.find('=').map_or(0, |at| at + 1);
                let message = format!("unknown time zone \"{zone}\"");
                Wrong::Schedule(text.into(), Diagnostic::new(start, start + zone.len(), message))
            });
        }
        (Some(option), None) => match check_zone_name(&option) {
            Ok(()) => option,
            Err(wrong) => return Err(Wrong::Usage(format!("--timezone: {wrong}"))),
        },
        (None, None) => system_zone(zones),
    };
    let unknown = || Wrong::Usage(format!("--timezone: unknown time zone \"{name}\""));
    zones.zone(&name).ok_or_else(unknown)
}

fn unfit(option: &str, given: &str, wanted: &str) -> Wrong {
    Wrong::Usage(format!("--{option}: \"{}\" is not {wanted}", escape_control(given)))
}

fn answer(question: &Question, out: &mut dyn Write) -> io::Result<()> {
    let Question { expression, zone, name, from, count, explained } = question;
    if *explained {
        let Explanation { sentence, warnings } = explain(expression, zone, *from);
        writeln!(out, "{sentence}")?;
        for warning in warnings {
            writeln!(out, "warning: {warning}")?;
        }
    }
    let name = name.as_deref().unwrap_or_default();
    let place = Place { zone, name, anchor: *from };
    let mut at = *from;
    for _ in 0..*count {
        let Some(next) = expression.schedule.next_after(at, &place) else { break };
        writeln!(out, "{}", civil::format_in(next, zone))?;
        at = next;
    }
    out.flush()
}

/// A reader that has seen enough is no failure.
fn finish(written: io::Result<()>, err: &mut dyn Write) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(err, "bellwether next: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}
