//! Metrics written into the folder from which the agent, or node_exporter, reads them.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use super::context::Context;
use crate::error::{Note, failure};
use crate::exit::Exit;

/// A file of one metric; it is removed when this is dropped.
pub struct Textfile {
    path: PathBuf,
    metric: &'static str,
    help: &'static str,
}

impl Textfile {
    /// The file of `metric` in the folder of this stack; nothing is written yet.
    pub fn new(cx: &Context<'_>, metric: &'static str, help: &'static str) -> Self {
        Self { path: folder(cx).join(format!("{metric}.prom")), metric, help }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file at once by one sample.
    pub fn write(&self, labels: &[(&str, &str)], value: u64) -> Result<()> {
        let (metric, help) = (self.metric, self.help);
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let text = format!(
            "# HELP {metric} {help}\n# TYPE {metric} gauge\n{metric}{{{}}} {value}\n",
            labels.join(",")
        );
        self.replace(text.as_bytes())
            .with_context(|| format!("cannot write `{}`", self.path.display()))
            .hint("run `monstack up`, it makes the folder; and look for free space with `df -h`")
    }

    fn replace(&self, bytes: &[u8]) -> std::io::Result<()> {
        // The collectors read `*.prom` only, so they never see this half-written.
        let draft = self.path.with_extension("draft");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&draft)?;
        file.write_all(bytes)?;
        // The exporter may run as another user, whatever the umask says.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        fs::rename(&draft, &self.path).inspect_err(|_| {
            let _ = fs::remove_file(&draft);
        })
    }
}

impl Drop for Textfile {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path.with_extension("draft"));
        let _ = fs::remove_file(&self.path);
    }
}

/// Keeps other verifications of this stack out until it is dropped, or this process dies.
#[derive(Debug)]
pub struct Turn {
    _folder: Option<File>,
}

impl Turn {
    /// Takes the turn; fails if another verification has it.
    pub fn take(cx: &Context<'_>) -> Result<Self> {
        let path = folder(cx);
        let folder = match File::open(&path) {
            Ok(folder) => folder,
            // Without the folder nothing can be written; the checks tell that better.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { _folder: None });
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot open `{}`", path.display()));
            }
        };
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _folder: Some(folder) }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let name = &cx.subject.topology.stack.name;
                let message = format!("another verification of the stack `{name}` is running");
                Err(failure(Exit::LOCKED, message))
                    .hint("wait until it has ended, then run `monstack verify` again")
            }
            Err(error) => Err(error).with_context(|| format!("cannot lock `{}`", path.display())),
        }
    }
}

fn folder(cx: &Context<'_>) -> PathBuf {
    let collector = match cx.subject.topology.service("agent") {
        Some(agent) => agent.component.name,
        None => "node_exporter",
    };
    cx.subject.layout.data(collector).join("textfile")
}

/// A label value in the text format of Prometheus.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_of;
    use crate::verify::fixture::Fixture;

    #[test]
    fn a_metric_is_written_whole_and_removed_at_the_end() {
        let fixture = Fixture::new();
        fixture.with(|cx| {
            let file = Textfile::new(cx, "monstack_canary", "Text.");
            file.write(&[("stack", "monstack"), ("run", "a\"b\\c")], 7).unwrap();
            let path = fixture.textfile("monstack_canary.prom");
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                "# HELP monstack_canary Text.\n# TYPE monstack_canary gauge\n\
                 monstack_canary{stack=\"monstack\",run=\"a\\\"b\\\\c\"} 7\n"
            );
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
            drop(file);
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        });
    }

    #[test]
    fn without_an_agent_node_exporter_reads_the_file() {
        let mut fixture = Fixture::new();
        fixture.without("agent", "none");
        fixture.with(|cx| {
            let file = Textfile::new(cx, "monstack_canary", "Text.");
            assert!(file.path().ends_with("data/node_exporter/textfile/monstack_canary.prom"));
        });
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let mut fixture = Fixture::new();
        fixture.without("agent", "none");
        fixture.with(|cx| {
            let file = Textfile::new(cx, "monstack_canary", "Text.");
            let error = file.write(&[], 1).unwrap_err().to_string();
            assert_eq!(error, format!("cannot write `{}`", file.path().display()));
        });
    }

    #[test]
    fn one_verification_at_a_time_has_the_turn() {
        let fixture = Fixture::new();
        fixture.with(|cx| {
            let turn = Turn::take(cx).unwrap();
            let error = Turn::take(cx).unwrap_err();
            assert_eq!(exit_of(&error), Exit::LOCKED);
            assert_eq!(
                error.to_string(),
                "another verification of the stack `monstack` is running"
            );
            drop(turn);
            Turn::take(cx).unwrap();
        });
    }
}
