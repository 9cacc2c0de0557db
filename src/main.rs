//! The `monstack` program.

use std::process::ExitCode;

use monstack::cli::Cli;
use monstack::command;
use rustix::fs::Mode;
use rustix::process::umask;

fn main() -> ExitCode {
    keep_others_out();
    let exit = match Cli::read() {
        Ok(cli) => command::execute(&cli),
        Err(error) => command::misread(&error),
    };
    ExitCode::from(exit.0)
}

/// Nobody else may write what this program and its services make, even where the user's mask would let them.
fn keep_others_out() {
    let others = Mode::WGRP | Mode::WOTH;
    let mask = umask(others);
    umask(mask | others);
}
