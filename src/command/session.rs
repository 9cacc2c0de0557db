//! What every verb needs: the stack file, the folders, the seams for real.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::folders;
use crate::asset::Assets;
use crate::cli::{Color, Global};
use crate::config::{self, Loaded, Source, StackFile};
use crate::error::{Note, coded, exit_of, failure, hinted};
use crate::exec::Runner;
use crate::exec::duct::Duct;
use crate::exec::traced::Traced;
use crate::exit::Exit;
use crate::http::real::Real;
use crate::layout::Layout;
use crate::phase::{self, Context, Options, Record, State, User};
use crate::report::plain::{HEARTBEAT, Plain};
use crate::report::terminal::{Detail, Terminal};
use crate::report::{Event, Reporter, Several};
use crate::workdir;
use crate::workdir::journal::Journal;
use crate::workdir::lock::{self, Holder, Lock};

/// The stack file that is read when none is named.
const STACK_FILE: &str = "monstack.yml";

/// How many runs are kept.
const KEPT_RUNS: usize = 20;

/// What every verb needs.
pub struct Session {
    /// The checked stack file.
    pub stack: StackFile,
    /// Where the stack's files are.
    pub layout: Layout,
    /// Asks servers.
    pub http: Real,
    /// Starts programs.
    pub runner: Duct,
    /// Tells this run from others.
    pub run: String,
    user: User,
    directory: PathBuf,
    global: Global,
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
    late: Arc<AtomicBool>,
}

/// The text of the stack file, and its name for messages.
pub fn read_stack_file(global: &Global) -> Result<(PathBuf, Option<PathBuf>, Option<String>)> {
    let directory = global.directory.clone().unwrap_or_else(|| PathBuf::from("."));
    let directory = directory
        .canonicalize()
        .with_context(|| format!("folder `{}` cannot be entered", directory.display()))
        .hint("name a folder that is there with `-C DIR`")
        .exit(Exit::USAGE)?;
    let named = global.config.as_ref().map(|file| directory.join(file));
    let path = named.clone().unwrap_or_else(|| directory.join(STACK_FILE));
    let bytes = workdir::read(&path).exit(Exit::USAGE)?;
    match (bytes, named) {
        (Some(bytes), _) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((directory, Some(path), Some(config::decode(bytes, &name)?)))
        }
        (None, Some(path)) => {
            let error =
                failure(Exit::USAGE, format!("there is no stack file `{}`", path.display()));
            Err(hinted(error, "leave `--config` out for the default stack on this machine"))
        }
        (None, None) => Ok((directory, None, None)),
    }
}

/// The checked stack file, with what the command line says on top.
pub fn load(global: &Global, file: Option<&Path>, text: Option<&str>) -> Result<Loaded> {
    let mut sets = global.set.clone();
    sets.extend(global.stack.as_ref().map(|name| format!("name='{name}'")));
    let file = file.map_or(STACK_FILE.to_owned(), |file| {
        let name = file.file_name().unwrap_or_default();
        global.config.as_deref().unwrap_or(Path::new(name)).display().to_string()
    });
    config::load_with_origins(Source { text, file: &file, sets: &sets })
}

impl Session {
    /// Opens the stack that the stack file describes.
    pub fn open(global: &Global) -> Result<Self> {
        let (directory, file, text) = read_stack_file(global)?;
        let stack = load(global, file.as_deref(), text.as_deref())?.stack;
        Self::with(global, directory, (file.as_deref(), stack))
    }

    /// Opens a stack that was brought up before; a stack file that is broken by now does not stand in the way.
    pub fn open_existing(global: &Global) -> Result<(Self, Record)> {
        let session = Self::open_remains(global)?;
        match phase::recorded(&session.layout)? {
            Some(record) => Ok((session, record)),
            None => {
                let record = session.layout.stack();
                let fault = if record.exists() { "cannot be read" } else { "was never written" };
                let message = format!("the record `{}` of the stack {fault}", record.display());
                let hint =
                    "bring it up with `monstack up`, or remove what is there with `monstack down`";
                Err(hinted(failure(Exit::NO_STACK, message), hint))
            }
        }
    }

    /// Opens the stack that the stack file names, or the only one there is where that file is broken.
    pub fn open_named(global: &Global) -> Result<Self> {
        let (directory, file, text) = read_stack_file(global)?;
        let stack = match load(global, file.as_deref(), text.as_deref()) {
            Ok(loaded) => loaded.stack,
            Err(error) => only_stack(&directory, global).ok_or(error)?,
        };
        Self::with(global, directory, (file.as_deref(), stack))
    }

    /// Opens whatever is there of a stack, for `down`: a run that was killed early left a folder and no record.
    pub fn open_remains(global: &Global) -> Result<Self> {
        let mut session = Self::open_named(global)?;
        if let Some(record) = phase::recorded(&session.layout)? {
            session.stack = record.stack;
        } else if !session.layout.root().exists() {
            let (name, folder) = (&session.stack.name, session.directory.display());
            let message = format!("there is no stack `{name}` in `{folder}`");
            return Err(hinted(failure(Exit::NO_STACK, message), "bring it up with `monstack up`"));
        }
        Ok(session)
    }

    fn with(
        global: &Global,
        directory: PathBuf,
        (file, stack): (Option<&Path>, StackFile),
    ) -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let terminated = Arc::new(AtomicBool::new(false));
        let layout = Layout::new(directory.join(".monstack").join(&stack.name));
        let user = folders::user(global, &directory, file)?;
        let runner = Duct { interrupted: Arc::clone(&interrupted) };
        let http = Real::new(Arc::clone(&interrupted));
        let global = global.clone();
        let run = format!("{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), std::process::id());
        Ok(Self {
            stack,
            layout,
            http,
            runner,
            run,
            user,
            directory,
            global,
            interrupted,
            terminated,
            late: Arc::default(),
        })
    }

    /// From now on the first Ctrl-C stops the run after its current step, and the second at once.
    pub fn watch_signals(&self) -> Result<()> {
        for (signal, code) in [(SIGINT, Exit::INTERRUPTED), (SIGTERM, Exit::TERMINATED)] {
            let code = i32::from(code.0);
            signal_hook::flag::register_conditional_shutdown(
                signal,
                code,
                Arc::clone(&self.interrupted),
            )
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&self.interrupted)))
            .context("cannot watch for signals")?;
        }
        signal_hook::flag::register(SIGTERM, Arc::clone(&self.terminated))
            .context("cannot watch for signals")?;
        Ok(())
    }

    /// Takes the stack's lock for `command`.
    pub fn lock(&self, command: &str, wait: Option<Duration>) -> Result<Lock> {
        workdir::create_home(&self.layout)?;
        let deadline = Instant::now() + wait.unwrap_or_default();
        let mut waits = false;
        let mut patience = |holder: &Holder| {
            self.go_on()?;
            if Instant::now() >= deadline {
                return Err(lock::held(holder));
            }
            if !std::mem::replace(&mut waits, true) {
                self.display().event(Event::step("lock", format!("waiting for {holder}")));
            }
            Ok(())
        };
        let command = format!("monstack {command}");
        let (lock, broken) = lock::take(&self.layout.lock(), &command, &mut patience)?;
        if let Some(dead) = broken {
            let message = format!(
                "lock of `{}` (pid {}), which is dead, was broken",
                dead.command, dead.process.pid
            );
            self.display().event(Event::warning("lock", message));
        }
        Ok(lock)
    }

    /// Fails when the user interrupted the run.
    fn go_on(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(self.terminated_or(failure(Exit::INTERRUPTED, "interrupted")));
        }
        Ok(())
    }

    /// Shows progress: live on a terminal, as lines elsewhere, not at all with `--quiet`.
    pub fn display(&self) -> Box<dyn Reporter> {
        let detail = if self.global.verbose > 0 { Detail::Steps } else { Detail::Normal };
        colours(self.global.color);
        if self.global.quiet {
            Box::new(Several(Vec::new()))
        } else if std::io::stderr().is_terminal() {
            Box::new(Terminal::new(detail))
        } else {
            Box::new(Plain::new(std::io::stderr(), HEARTBEAT))
        }
    }

    /// Shows progress and writes it to the journal.
    pub fn journal(&self, command: &str) -> Result<Several> {
        let journal = Journal::open(&self.layout.journal(), &self.run, command)?;
        Ok(Several(vec![self.display(), Box::new(journal)]))
    }

    /// Keeps the answer of this run in a folder of its own, and the newest runs only.
    pub fn keep_report(&self, facts: &impl Serialize) -> Result<()> {
        let runs = self.layout.runs();
        workdir::write_json(&runs.join(&self.run).join("report.json"), facts)?;
        let mut old: Vec<PathBuf> =
            std::fs::read_dir(&runs)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        old.sort();
        old.iter().rev().skip(KEPT_RUNS).try_for_each(|run| workdir::remove_folder(run))
    }

    /// Interrupts the run when its time is over.
    fn watch_clock(&self) {
        let Some(timeout) = self.global.timeout else { return };
        let (interrupted, late) = (Arc::clone(&self.interrupted), Arc::clone(&self.late));
        std::thread::spawn(move || {
            std::thread::sleep(timeout);
            late.store(true, Ordering::Relaxed);
            interrupted.store(true, Ordering::Relaxed);
        });
    }

    /// Runs `work` with a context for phases; what it leaves in the context can be used for the answer.
    pub fn with_context<T>(
        &self,
        (report, runner): (&dyn Reporter, &dyn Runner),
        options: Options,
        work: impl FnOnce(&mut Context<'_>) -> Result<T>,
    ) -> Result<T> {
        let directory = self.directory.clone();
        let shadow = move |path: &str| std::fs::read(directory.join(path)).ok();
        let assets = Assets::new(&shadow);
        let state = State { record: phase::recorded(&self.layout)?, ..State::default() };
        self.watch_clock();
        let traced = Traced { inner: runner, report };
        let mut cx = Context {
            runner: if self.global.verbose > 1 { &traced } else { runner },
            http: &self.http,
            report,
            assets: &assets,
            layout: self.layout.clone(),
            user: self.user.clone(),
            stack: self.stack.clone(),
            options: Options { jobs: self.global.jobs, ..options },
            interrupted: &self.interrupted,
            state,
            timings: Vec::new(),
        };
        work(&mut cx).map_err(|error| self.terminated_or(error))
    }

    /// SIGTERM and the end of the time given have exit codes of their own.
    fn terminated_or(&self, error: anyhow::Error) -> anyhow::Error {
        match exit_of(&error) {
            Exit::INTERRUPTED if self.late.load(Ordering::Relaxed) => {
                coded(error.context("the time given with `--timeout` is over"), Exit::TIMEOUT)
            }
            Exit::INTERRUPTED if self.terminated.load(Ordering::Relaxed) => {
                coded(error, Exit::TERMINATED)
            }
            _ => error,
        }
    }

    /// Whether a question can be asked and answered.
    pub fn can_ask(&self) -> bool {
        !self.global.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Whether `--yes` was given.
    pub fn yes(&self) -> bool {
        self.global.yes
    }
}

/// The one stack of the folder, or the one that `--stack` names, where the stack file cannot tell.
fn only_stack(directory: &Path, global: &Global) -> Option<StackFile> {
    let entries = std::fs::read_dir(directory.join(".monstack")).ok()?;
    let mut records: Vec<Record> = entries
        .filter_map(|entry| phase::recorded(&Layout::new(entry.ok()?.path())).ok()?)
        .filter(|record| global.stack.as_ref().is_none_or(|name| *name == record.stack.name))
        .collect();
    let record = records.pop()?;
    records.is_empty().then_some(record.stack)
}

fn colours(color: Color) {
    let on = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => return,
    };
    console::set_colors_enabled(on);
    console::set_colors_enabled_stderr(on);
}
