//! A run is a list of phases; the list is written once, and numbering, plan and journal come from it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::asset::Assets;
use crate::config::StackFile;
use crate::error::{failure, hinted};
use crate::exec::Runner;
use crate::exit::Exit;
use crate::http::Http;
use crate::layout::Layout;
use crate::report::{Event, Reporter};
use crate::resolve::Mirror;

pub mod files;
pub mod leftovers;
pub mod preflight;
pub mod programs;
pub mod prove;
pub mod record;
pub mod seat;
pub mod start;
pub mod stop;

pub use record::{Record, State};

/// One step of a run.
pub trait Phase {
    /// What it does, as an imperative sentence.
    fn title(&self) -> &'static str;

    /// Does it; doing it twice is safe.
    fn run(&self, cx: &mut Context<'_>) -> Result<Change>;

    /// Says what `run` would change, without changing it.
    fn dry_run(&self, cx: &mut Context<'_>) -> Result<()>;
}

/// Whether a phase changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing had to be done.
    None,
    /// Something was done.
    Some,
}

impl From<bool> for Change {
    fn from(changed: bool) -> Self {
        if changed { Self::Some } else { Self::None }
    }
}

/// Whether phases act or only say what they would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They act.
    Apply,
    /// They only look.
    Dry,
}

/// What phases work with.
pub struct Context<'a> {
    /// Starts programs.
    pub runner: &'a dyn Runner,
    /// Asks servers.
    pub http: &'a dyn Http,
    /// Is told what happens.
    pub report: &'a dyn Reporter,
    /// Templates and the app.
    pub assets: &'a Assets<'a>,
    /// Where the stack's files are.
    pub layout: Layout,
    /// Folders and settings of the user.
    pub user: User,
    /// The checked stack file.
    pub stack: StackFile,
    /// What this run was told on the command line.
    pub options: Options,
    /// Becomes true when the user wants to stop.
    pub interrupted: &'a AtomicBool,
    /// What is known so far.
    pub state: State,
    /// What the phases took.
    pub timings: Vec<Timing>,
}

/// Folders and settings of the user.
#[derive(Clone, Debug)]
pub struct User {
    /// Relative paths of the stack file start here.
    pub base: PathBuf,
    /// Programs are kept here, for all stacks.
    pub cache: PathBuf,
    /// Says which slots are taken, for all stacks.
    pub slots: PathBuf,
    /// Checksums that bind.
    pub lock: PathBuf,
    /// `PATH`.
    pub path: std::ffi::OsString,
    /// A place that has what upstream offers.
    pub mirror: Option<Mirror>,
    /// The folder of monstack's own program.
    pub siblings: PathBuf,
}

/// What a run was told on the command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether downloads need a checksum of our own.
    pub require_pinned: bool,
    /// Whether the stack is not to be proven.
    pub no_verify: bool,
    /// Whether data outlives `down`.
    pub keep_data: bool,
    /// How many things are done at once.
    pub jobs: u8,
}

/// How long a phase took.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// The phase.
    pub phase: &'static str,
    /// Seconds it took.
    pub seconds: f64,
    /// Whether it changed anything.
    pub changed: bool,
}

impl Context<'_> {
    /// Fails when the user interrupted the run or its time is over.
    pub fn go_on(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(failure(Exit::INTERRUPTED, "interrupted"));
        }
        Ok(())
    }

    /// Whether any phase of this run changed anything.
    pub fn changed(&self) -> bool {
        self.timings.iter().any(|timing| timing.changed)
    }
}

/// Runs `phases` in order; the first failure ends the run, and running it again is safe.
pub fn run_all(phases: &[Box<dyn Phase>], mode: Mode, cx: &mut Context<'_>) -> Result<()> {
    let total = phases.len();
    for (index, phase) in (1..).zip(phases) {
        let title = phase.title();
        let report = cx.report;
        let began = Instant::now();
        report.event(Event::PhaseStarted { index, total, title });
        let outcome = cx.go_on().and_then(|()| match mode {
            Mode::Apply => phase.run(cx),
            Mode::Dry => phase.dry_run(cx).map(|()| Change::None),
        });
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Ok(change) => {
                let changed = change == Change::Some;
                report.event(Event::PhaseFinished { title, seconds, changed });
                cx.timings.push(Timing { phase: title, seconds, changed });
            }
            Err(error) => {
                report.event(Event::PhaseFailed { title, seconds, message: format!("{error:#}") });
                return Err(explain(error, title));
            }
        }
    }
    Ok(())
}

fn explain(error: anyhow::Error, title: &str) -> anyhow::Error {
    let unhinted = crate::error::hint_of(&error).is_none();
    let unclassified = crate::error::exit_of(&error) == Exit::FAILURE;
    let error = error.context(format!("phase `{title}` failed"));
    let error = if unclassified { crate::error::coded(error, Exit::STEP) } else { error };
    // Running a wrong command line or stack file again would not help.
    if unhinted && crate::error::exit_of(&error) != Exit::USAGE {
        hinted(
            error,
            "run `monstack up` again to continue, or `monstack down` to remove what is there",
        )
    } else {
        error
    }
}

/// Reads the record of the stack, if it was ever brought up.
pub fn recorded(layout: &Layout) -> Result<Option<Record>> {
    crate::workdir::read_json(&layout.stack()).context("cannot read what is known of the stack")
}
