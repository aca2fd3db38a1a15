//! `bellwether check-config`: what an agent would say of its configuration file, without one.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::{Refusal, World, print, say, settings};
use crate::text::escape_control;

/// Prints `FILE: OK`, with any warnings, or all that is wrong.
pub(super) fn run(
    file: &Path,
    world: &World,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    match settings::load_file(file, world) {
        Ok(settings) => {
            for warning in settings.warnings {
                say(err, &format!("bellwether: warning: {warning}\n"));
            }
            let name = escape_control(&file.to_string_lossy());
            print(&format!("{name}: OK\n"), out, err)
        }
        Err(complaints) => Refusal { complaints, see: Some("agent") }.report(err),
    }
}
