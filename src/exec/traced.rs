//! A `Runner` that tells each command before it runs it (`-vv`).

use anyhow::Result;

use super::{Cmd, Runner};
use crate::report::{Event, Reporter};

/// Tells `report` what `inner` runs; arguments never hold a secret.
pub struct Traced<'a> {
    /// Runs the commands.
    pub inner: &'a dyn Runner,
    /// Is told each.
    pub report: &'a dyn Reporter,
}

impl Runner for Traced<'_> {
    fn run(&self, cmd: &Cmd, on_line: &mut dyn FnMut(&str)) -> Result<()> {
        self.report.event(Event::step("running", cmd.to_string()));
        self.inner.run(cmd, on_line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::script::Script;
    use crate::report::recorder::Recorder;

    #[test]
    fn each_command_is_told_and_run() {
        let (script, report) = (Script::default().answer("ls", "a\n"), Recorder::default());
        let traced = Traced { inner: &script, report: &report };
        assert_eq!(traced.read(&Cmd::read("ls").args(["-a"])).unwrap(), "a\n");
        assert_eq!(report.events(), [Event::step("running", "ls -a")]);
    }
}
