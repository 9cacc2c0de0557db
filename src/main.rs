//! The `monstack` program.

use std::process::ExitCode;

use clap::Parser;
use monstack::cli::{Cli, Output};
use monstack::command;
use monstack::exit::Exit;
use rustix::fs::Mode;
use rustix::process::umask;

fn main() -> ExitCode {
    keep_others_out();
    let exit = match Cli::try_parse() {
        Ok(cli) => command::execute(&cli),
        Err(error) if error.use_stderr() && Output::is_json_asked() => {
            let error = anyhow::anyhow!(
                "{}",
                error.render().to_string().trim_start_matches("error: ").trim()
            );
            // Where even the error cannot be told, the exit code still speaks.
            let _ = command::fail(&error, Exit::USAGE, Output::Json);
            Exit::USAGE
        }
        Err(error) => error.exit(),
    };
    ExitCode::from(exit.0)
}

/// Nobody else may write what this program and its services make, even where the user's mask would let them.
fn keep_others_out() {
    let others = Mode::WGRP | Mode::WOTH;
    let mask = umask(others);
    umask(mask | others);
}
