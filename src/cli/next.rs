//! Shows when a schedule is due.

use std::io::Write;
use std::process::ExitCode;

/// Nothing yet.
pub fn run(_args: &[String], _out: &mut dyn Write, _err: &mut dyn Write) -> ExitCode {
    ExitCode::FAILURE
}
