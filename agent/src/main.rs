//! The program `monstack-agent`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use monstack_agent::cli::{Cli, Command};
use monstack_agent::{log, run};

/// Something went wrong while it ran; the log says what.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let Command::Run(settings) = Cli::parse().command;
    if let Err(problem) = settings.check() {
        // Where even this cannot be written, the exit code has to do.
        let _ = writeln!(std::io::stderr(), "error: {problem}");
        return ExitCode::from(USAGE);
    }
    log::start();
    match run::run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(FAILED)
        }
    }
}
