//! The program: the command line becomes an action, the action runs, and its end is the exit code.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use bellwether::cli::{self, World};

fn main() -> ExitCode {
    match cli::try_parse_from(std::env::args_os().skip(1)) {
        Ok(action) => cli::run(action, &World::real(), &mut stdout(), &mut stderr()),
        Err(refusal) => refusal.report(&mut stderr()),
    }
}
