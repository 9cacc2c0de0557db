//! Seam: starting other programs. A command is a value; a `Runner` runs it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

pub mod duct;
pub mod read_only;
pub mod script;
pub mod traced;

/// Whether running a command can change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only looks.
    Read,
    /// It may change files, processes or machines.
    Write,
}

/// A program to run, as a plain value: it can be compared, printed and recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    /// Path or name of the program.
    pub program: PathBuf,
    /// Its arguments; never a secret, for errors print them.
    pub args: Vec<String>,
    /// Where it runs; the current directory if absent.
    pub dir: Option<PathBuf>,
    /// Added to the environment.
    pub env: Vec<(String, String)>,
    /// Whether it may change anything.
    pub effect: Effect,
    /// It is ended when it takes longer.
    pub timeout: Duration,
    /// How it is called where it is told; its program and arguments if absent.
    pub alias: Option<&'static str>,
}

impl Cmd {
    /// A command that only looks.
    pub fn read(program: impl AsRef<Path>) -> Self {
        Self::new(program.as_ref(), Effect::Read)
    }

    /// A command that may change something.
    pub fn write(program: impl AsRef<Path>) -> Self {
        Self::new(program.as_ref(), Effect::Write)
    }

    fn new(program: &Path, effect: Effect) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            dir: None,
            env: Vec::new(),
            effect,
            timeout: Duration::from_secs(600),
            alias: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()));
        self
    }

    /// Runs it in `dir`.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Adds a variable to its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Calls it `alias` wherever it is told, for its arguments are nobody else's business.
    #[must_use]
    pub fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// Ends it when it takes longer than `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(alias) = self.alias {
            return f.write_str(alias);
        }
        write!(f, "{}", self.program.display())?;
        self.args.iter().try_for_each(|arg| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
            if !arg.is_empty() && arg.chars().all(plain) {
                write!(f, " {arg}")
            } else {
                write!(f, " '{}'", arg.replace('\'', r"'\''"))
            }
        })
    }
}

/// Starts programs.
pub trait Runner: Send + Sync {
    /// Runs `cmd`, gives each line of its standard output to `on_line`, and fails with its last words if it exits non-zero.
    fn run(&self, cmd: &Cmd, on_line: &mut dyn FnMut(&str)) -> Result<()>;

    /// Runs `cmd` and returns all of its standard output.
    fn read(&self, cmd: &Cmd) -> Result<String> {
        let mut all = String::new();
        self.run(cmd, &mut |line| {
            all.push_str(line);
            all.push('\n');
        })?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_command_prints_its_alias_alone() {
        let cmd = Cmd::read("sh").args(["-c", "private"]).alias("the command of a secret");
        assert_eq!(cmd.to_string(), "the command of a secret");
    }

    #[test]
    fn a_command_prints_as_one_could_type_it() {
        let cmd = Cmd::read("promtool").args(["check", "config", "my file.yml"]);
        assert_eq!(cmd.to_string(), "promtool check config 'my file.yml'");
    }
}
