//! A `Runner` that refuses to change anything: every dry run uses it.

use anyhow::{Result, bail};

use super::{Cmd, Effect, Runner};

/// Passes commands that read on to `inner` and refuses all others.
pub struct ReadOnly<'a>(pub &'a dyn Runner);

impl Runner for ReadOnly<'_> {
    fn run(&self, cmd: &Cmd, on_line: &mut dyn FnMut(&str)) -> Result<()> {
        match cmd.effect {
            Effect::Read => self.0.run(cmd, on_line),
            Effect::Write => bail!("a dry run does not start `{cmd}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::script::Script;

    #[test]
    fn a_dry_run_cannot_write() {
        let script = Script::default().answer("ls", "a\n").answer("rm", "");
        let runner = ReadOnly(&script);
        assert_eq!(runner.read(&Cmd::read("ls")).unwrap(), "a\n");
        let error = runner.read(&Cmd::write("rm").args(["a"])).unwrap_err();
        assert_eq!(error.to_string(), "a dry run does not start `rm a`");
        assert_eq!(script.asked(), ["ls"]);
    }
}
