//! One file per verb: build the context, choose the phases, run, answer.

use anyhow::Result;
use clap::error::ErrorKind;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::{Cli, Command, Output};
use crate::error::{exit_of, hint_of, hinted, messages};
use crate::exit::Exit;
use crate::report;

mod config;
mod down;
mod folders;
mod lock;
mod logs;
mod open;
mod plan;
mod render;
mod service;
mod session;
mod status;
mod up;
mod verify;
mod version;

/// What a command answers: the same facts as text and as JSON.
pub struct Answer {
    text: String,
    json: Value,
    exit: Exit,
    /// Writes the text.
    tell: fn(&str) -> std::io::Result<()>,
}

impl Answer {
    /// An answer whose JSON is `facts`.
    pub fn new(facts: &impl Serialize, text: String, exit: Exit) -> Result<Self> {
        Ok(Self { text, json: serde_json::to_value(facts)?, exit, tell: report::answer })
    }

    /// The same, with a text of sentences that may be folded to the width of a terminal.
    pub fn prose(facts: &impl Serialize, text: String, exit: Exit) -> Result<Self> {
        Ok(Self { tell: report::prose, ..Self::new(facts, text, exit)? })
    }
}

/// Runs the command line and says how the program is to end.
pub fn execute(cli: &Cli) -> Exit {
    let output = cli.global.output;
    let outcome = dispatch(cli);
    let exit = match &outcome {
        Ok(answer) => answer.exit,
        Err(error) => exit_of(error),
    };
    let told = match (&outcome, output) {
        (Ok(answer), Output::Text) => (answer.tell)(&answer.text),
        (Ok(answer), Output::Json) => {
            report::answer(&document(answer.exit, "result", answer.json.clone()))
        }
        (Err(error), output) => fail(error, exit, output),
    };
    match told {
        Err(error) => {
            // Where even this cannot be told, the exit code still speaks.
            let _ = report::complain(&format!("error: the answer cannot be written: {error}\n"));
            if exit == Exit::DONE { Exit::FAILURE } else { exit }
        }
        Ok(()) => exit,
    }
}

/// Tells what is wrong with the command line, or gives the help or version that it asks for.
pub fn misread(error: &clap::Error) -> Exit {
    let output = Output::asked();
    let is_bare = match error.kind() {
        ErrorKind::MissingSubcommand => true,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => output == Output::Json,
        _ => false,
    };
    let error = if is_bare {
        hinted(anyhow::anyhow!("a command is missing"), "type `monstack --help`")
    } else if output == Output::Text || !error.use_stderr() {
        error.exit()
    } else {
        briefly(&error.render().to_string())
    };
    // Where even the error cannot be told, the exit code still speaks.
    let _ = fail(&error, Exit::USAGE, output);
    Exit::USAGE
}

/// The first paragraph of what clap says, with its tip as the hint.
fn briefly(text: &str) -> anyhow::Error {
    let mut paragraphs = text.split("\n\n").map(str::trim);
    let message = paragraphs.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: "));
    hinted(anyhow::Error::msg(message), tip.unwrap_or("type `monstack --help`"))
}

/// Tells an error: as text on standard error, with JSON also as the one document on standard output.
fn fail(error: &anyhow::Error, exit: Exit, output: Output) -> std::io::Result<()> {
    let messages = messages(error);
    let mut text = format!("error: {}\n", messages.first().map_or("unknown", String::as_str));
    for cause in messages.iter().skip(1) {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    if let Some(hint) = hint_of(error) {
        text.push_str(&format!("\nhint: {hint}\n"));
    }
    report::complain(&text)?;
    if output == Output::Json {
        let facts = json!({ "message": messages.first(), "causes": messages.get(1..), "hint": hint_of(error) });
        report::answer(&document(exit, "error", facts))?;
    }
    Ok(())
}

fn document(exit: Exit, key: &str, facts: Value) -> String {
    let mut document = json!({ "version": 1, "ok": exit == Exit::DONE, "exit": exit.0 });
    document[key] = facts;
    format!("{document:#}\n")
}

fn dispatch(cli: &Cli) -> Result<Answer> {
    let global = &cli.global;
    match &cli.command {
        Command::Plan(args) => plan::run(global, args),
        Command::Up(args) => up::run(global, args),
        Command::Verify(args) => verify::run(global, args),
        Command::Status(args) => status::run(global, args),
        Command::Logs(args) => logs::run(global, args),
        Command::Open(args) => open::run(global, args),
        Command::Render(args) => render::run(global, args),
        Command::Down(args) => down::run(global, args),
        Command::Lock(args) => lock::run(global, args),
        Command::Config(args) => config::run(global, args),
        Command::Version => version::run(),
        Command::Supervise { run } => service::supervise(run),
        Command::Service { run, name, program, args } => {
            service::become_service(run, name, (program, args))
        }
    }
}
