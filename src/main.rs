//! The `monstack` program.

use std::process::ExitCode;

use clap::Parser;
use monstack::cli::{Cli, Output};
use monstack::command;
use monstack::exit::Exit;

fn main() -> ExitCode {
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
