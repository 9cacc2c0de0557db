//! The command line: types and help texts, no logic.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::config::{Duration as Span, stack_name};
use crate::verify::Part;

/// Stand up, prove, load and remove a complete monitoring stack
#[derive(Debug, Parser)]
#[command(name = "monstack", version, max_term_width = 100, propagate_version = false)]
#[command(after_help = "Start here: `monstack up`, then `monstack open`, then `monstack down`.")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Work in this folder instead of the current one
    #[arg(short = 'C', long, global = true, value_name = "DIR", env = "MONSTACK_DIRECTORY")]
    pub directory: Option<PathBuf>,
    /// Read this stack file instead of monstack.yml
    #[arg(short = 'c', long, global = true, value_name = "FILE", env = "MONSTACK_CONFIG")]
    pub config: Option<PathBuf>,
    /// Use the stack of this name instead of the one that the stack file names
    #[arg(short, long, global = true, value_name = "NAME", env = "MONSTACK_STACK",
          value_parser = stack_name)]
    pub stack: Option<String>,
    /// Override a value of the stack file, such as components.prometheus.retention=2d
    #[arg(
        long,
        global = true,
        value_name = "KEY=VALUE",
        env = "MONSTACK_SET",
        value_delimiter = ';'
    )]
    pub set: Vec<String>,
    /// How the answer is written to standard output
    #[arg(short, long, global = true, value_enum, default_value_t, env = "MONSTACK_OUTPUT")]
    pub output: Output,
    /// Show no progress
    #[arg(short, long, global = true, env = "MONSTACK_QUIET")]
    pub quiet: bool,
    /// Keep every step on the screen; give it twice for the programs that are started
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t, env = "MONSTACK_COLOR")]
    pub color: Color,
    /// Never ask; fail where an answer would be needed
    #[arg(long, global = true, env = "MONSTACK_NO_INPUT")]
    pub no_input: bool,
    /// Answer yes to questions; never enough to destroy data
    #[arg(short, long, global = true, env = "MONSTACK_YES")]
    pub yes: bool,
    /// Give up after this long, such as 10m
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, env = "MONSTACK_TIMEOUT")]
    pub timeout: Option<Duration>,
    /// Take programs from this folder or https URL before upstream is asked
    #[arg(long, global = true, value_name = "DIR|URL", env = "MONSTACK_MIRROR")]
    pub mirror: Option<String>,
    /// How many things are done at once
    #[arg(short = 'j', long = "jobs", global = true, default_value_t = 5, env = "MONSTACK_JOBS",
          value_parser = clap::value_parser!(u8).range(1..=64))]
    pub jobs: u8,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// Exactly one JSON document, also on failure
    Json,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what `up` would render, start and stop; change nothing
    Plan(Plan),
    /// Stand the stack up, or bring it back to what the stack file says, and prove that it works
    Up(Up),
    /// Prove by real signals that the stack works
    Verify(Verify),
    /// Say what runs, from where, since when, and where to look at it
    Status(Status),
    /// Show log lines of a component
    Logs(Logs),
    /// Open a page of the stack in the browser, or print its address
    Open(Open),
    /// Only write the files that the stack would be given
    Render(Render),
    /// Take the stack down and prove that nothing is left
    Down(Down),
    /// Look at the stack's lock, or break it
    #[command(subcommand)]
    Lock(Lock),
    /// Look at the stack file
    #[command(subcommand)]
    Config(Config),
    /// Print the versions of monstack and of the components it pins
    Version,
    #[command(name = "__supervise", hide = true)]
    Supervise { run: PathBuf },
    #[command(name = "__service", hide = true)]
    Service {
        run: PathBuf,
        name: String,
        program: PathBuf,
        #[arg(last = true)]
        args: Vec<String>,
    },
}

#[derive(Args, Debug)]
pub struct Plan {
    /// End with exit code 7 when there are changes
    #[arg(long)]
    pub check: bool,
}

#[derive(Args, Debug)]
pub struct Up {
    /// Do not prove the stack at the end
    #[arg(long)]
    pub no_verify: bool,
    /// Treat a degraded stack as a failure (exit code 10)
    #[arg(long, env = "MONSTACK_STRICT")]
    pub strict: bool,
    /// Refuse downloads whose checksum monstack does not know itself
    #[arg(long, env = "MONSTACK_REQUIRE_PINNED")]
    pub require_pinned: bool,
    #[command(flatten)]
    pub wait: LockWait,
}

#[derive(Args, Debug)]
pub struct LockWait {
    /// Wait this long for another run to let go of the stack
    #[arg(long, value_name = "DURATION", value_parser = duration, env = "MONSTACK_LOCK_WAIT")]
    pub lock_wait: Option<Duration>,
}

#[derive(Args, Debug)]
pub struct Verify {
    /// Only these parts, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PARTS")]
    pub only: Vec<Part>,
    /// Send the test alert to the channels of the stack file too
    #[arg(long)]
    pub notify: bool,
    /// Treat a part that cannot be proven as a failure (exit code 10)
    #[arg(long, env = "MONSTACK_STRICT")]
    pub strict: bool,
    #[command(flatten)]
    pub wait: LockWait,
}

#[derive(Args, Debug)]
pub struct Status {
    /// Treat a degraded stack as a failure (exit code 10)
    #[arg(long, env = "MONSTACK_STRICT")]
    pub strict: bool,
}

#[derive(Args, Debug)]
pub struct Logs {
    /// Component, such as prometheus or app
    pub role: String,
    /// Go on with new lines as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Only lines of the last while, such as 15m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<Duration>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub grep: Option<String>,
}

#[derive(Args, Debug)]
pub struct Open {
    /// Component whose page is opened
    #[arg(default_value = "app")]
    pub role: String,
    /// Only print the address
    #[arg(long)]
    pub print: bool,
}

#[derive(Args, Debug)]
pub struct Render {
    /// Only show what would change
    #[arg(long)]
    pub diff: bool,
}

#[derive(Args, Debug)]
pub struct Down {
    /// Keep the folder `data` of the stack, for the next `up`
    #[arg(long)]
    pub keep_data: bool,
    /// Name of the stack, needed with --yes where nobody can be asked
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    #[command(flatten)]
    pub wait: LockWait,
}

#[derive(Debug, Subcommand)]
pub enum Lock {
    /// Say who holds the lock
    Status,
    /// Remove the lock of a run that is known to be dead
    Break,
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the stack file with all defaults filled in
    Show,
    /// Check the stack file
    Validate,
    /// Print the JSON Schema of the stack file
    Schema,
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(Into::into)
}

impl Cli {
    /// Reads the command line of this process.
    pub fn read() -> Result<Self, clap::Error> {
        let mut command = Self::command().color(Color::asked().into());
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }
}

impl Output {
    /// What was asked for, even on a command line that cannot be read otherwise.
    pub fn asked() -> Self {
        asked("--output", Some('o')).unwrap_or_default()
    }
}

impl Color {
    /// What was asked for, before the command line was read: help and its errors have colours too.
    fn asked() -> Self {
        asked("--color", None).unwrap_or_default()
    }
}

impl From<Color> for clap::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

fn asked<T: ValueEnum>(long: &str, short: Option<char>) -> Option<T> {
    let args: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let variable = format!("MONSTACK_{}", long.trim_start_matches('-').to_uppercase());
    let value = value_in(&args, long, short).or_else(|| std::env::var(variable).ok())?;
    T::from_str(&value, false).ok()
}

/// The value of an option that is given as `--long value`, `--long=value`, `-s value`, `-svalue` or `-s=value`.
fn value_in(args: &[String], long: &str, short: Option<char>) -> Option<String> {
    let next = args.iter().skip(1).map(String::as_str).chain([""]);
    args.iter().zip(next).find_map(|(arg, next)| {
        let cluster = arg.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        let rest = arg.strip_prefix(long).or_else(|| Some(cluster?.split_once(short?)?.1))?;
        Some(if rest.is_empty() { next } else { rest.trim_start_matches('=') }.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_in_each_way_it_can_be_given() {
        let output = |line: &str| {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            value_in(&args, "--output", Some('o')).unwrap_or_default()
        };
        for line in [
            "-o json up",
            "up --output json",
            "--output=json",
            "-ojson",
            "-o=json",
            "-qo json",
            "-qojson",
        ] {
            assert_eq!(output(line), "json", "{line}");
        }
        for line in ["up", "logs json -f", "up --no-input", "-o"] {
            assert_eq!(output(line), "", "{line}");
        }
    }

    #[test]
    fn help_and_options_hang_together() {
        Cli::command().debug_assert();
    }
}
