//! The order in which places are tried, and what is said when none of them has the program.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::identity::{Located, identify};
use super::{Found, Origin, Sources, cache, disk, package, python, release, search};
use crate::component::{Component, Native, Program, Supply};
use crate::config::model::ComponentSettings;
use crate::error::{Note, exit_of, failure, hint_of, messages};
use crate::exit::Exit;
use crate::report::Event;

/// A program that is looked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The row it is for.
    pub component: &'static Component,
    /// The program.
    pub program: &'static Program,
    /// Where it may come from.
    pub sources: &'a Sources<'a>,
}

impl Wanted<'_> {
    /// The version that the stack file asks for.
    pub(crate) fn version_setting(&self) -> Option<&str> {
        let version = settings(self.component, self.sources)?.version.as_deref()?;
        Some(version.trim_start_matches('v'))
    }

    /// The native supply of the program, if that is how it is had.
    pub(crate) fn native(&self) -> Option<&'static Native> {
        match &self.program.supply {
            Supply::Native(native) => Some(native),
            Supply::Python | Supply::Sibling => None,
        }
    }

    /// Tells what is being done.
    pub(crate) fn step(&self, message: String) {
        self.sources.report.event(Event::step(self.component.name, message));
    }

    /// The folder of the cache that holds what was fetched for this component.
    pub(crate) fn folder(&self) -> std::path::PathBuf {
        self.sources.cache.join(self.component.name)
    }
}

/// One place where a program may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Cache,
    Mirror,
    Download,
    SearchPath,
    /// A package that an earlier run unpacked.
    Unpacked,
    Package,
    /// A virtual environment that an earlier run made.
    Environment,
    NewEnvironment,
    Sibling,
}

impl Attempt {
    /// The places of a program, best first.
    fn order(supply: &Supply) -> &'static [Self] {
        match supply {
            Supply::Native(_) => &[
                Self::Cache,
                Self::Mirror,
                Self::Download,
                Self::SearchPath,
                Self::Unpacked,
                Self::Package,
            ],
            Supply::Python => &[Self::Environment, Self::NewEnvironment],
            Supply::Sibling => &[Self::Sibling, Self::SearchPath],
        }
    }

    /// Whether it may be looked there.
    fn is_allowed(self, mode: Mode) -> bool {
        let fetches =
            matches!(self, Self::Mirror | Self::Download | Self::Package | Self::NewEnvironment);
        mode == Mode::Fetch || !fetches
    }

    /// Its name in a list of places.
    fn title(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Mirror => "mirror",
            Self::Download => "download",
            Self::SearchPath => "PATH",
            Self::Unpacked | Self::Package => "package",
            Self::Environment | Self::NewEnvironment => "virtual environment",
            Self::Sibling => "beside monstack",
        }
    }

    /// Looks there; none where the place does not apply to the program.
    fn run(self, wanted: &Wanted<'_>) -> Result<Option<Found>> {
        match self {
            Self::Cache => release::cached(wanted),
            Self::Mirror => release::from_mirror(wanted),
            Self::Download => release::download(wanted),
            Self::SearchPath => search::find(wanted).map(Some),
            Self::Unpacked => package::unpacked(wanted),
            Self::Package => package::fetch(wanted),
            Self::Environment => python::ready(wanted),
            Self::NewEnvironment => python::build(wanted).map(Some),
            Self::Sibling => sibling(wanted).map(Some),
        }
    }
}

/// What may be done to find a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Everything.
    Fetch,
    /// Nothing is fetched or written.
    Look,
}

/// Tries every place of every program of the row.
pub(crate) fn all(component: &'static Component, sources: &Sources<'_>) -> Result<Found> {
    cache::sweep(&sources.cache.join(component.name));
    look(component, sources, Mode::Fetch)
}

/// Tries the places where nothing is fetched.
pub(crate) fn at_hand(component: &'static Component, sources: &Sources<'_>) -> Result<Found> {
    look(component, sources, Mode::Look)
}

fn look(component: &'static Component, sources: &Sources<'_>, mode: Mode) -> Result<Found> {
    if let Some(path) = settings(component, sources).and_then(|own| own.path.as_deref()) {
        return given(component, sources, path);
    }
    let mut tried = Vec::new();
    for program in component.programs {
        let wanted = Wanted { component, program, sources };
        let order = Attempt::order(&program.supply).iter();
        for attempt in order.filter(|attempt| attempt.is_allowed(mode)) {
            sources.check()?;
            match attempt.run(&wanted) {
                Ok(Some(found)) => {
                    if mode == Mode::Fetch && *attempt == Attempt::Cache {
                        release::keep(&wanted)?;
                    }
                    tell(&wanted, &found, &tried);
                    return Ok(found);
                }
                Ok(None) => {}
                Err(error) if exit_of(&error) == Exit::INTERRUPTED => return Err(error),
                Err(error) => tried.push((*attempt, reason(&error))),
            }
        }
    }
    nothing(component, &tried)
}

/// Says what was found, and loudly why it is not the pinned release where there is one.
fn tell(wanted: &Wanted<'_>, found: &Found, tried: &[(Attempt, String)]) {
    let failed = |attempt: &Attempt| matches!(attempt, Attempt::Mirror | Attempt::Download);
    let reasons: Vec<_> = tried
        .iter()
        .filter(|(attempt, _)| failed(attempt))
        .map(|(attempt, reason)| format!("{}: {reason}", attempt.title()))
        .collect();
    wanted.step(format!("{}, {}: {}", found.version, found.origin, found.source));
    if matches!(found.origin, Origin::SearchPath | Origin::Package) && !reasons.is_empty() {
        let message = format!("not the pinned release; {}", reasons.join("; "));
        wanted.sources.report.event(Event::warning(wanted.component.name, message));
    }
}

/// Why a place was of no use, with the way out where there is one.
pub(crate) fn reason(error: &anyhow::Error) -> String {
    let mut reason = messages(error).join(": ");
    if let Some(hint) = hint_of(error) {
        reason.push_str(&format!(" ({hint})"));
    }
    reason
}

fn settings<'a>(component: &Component, sources: &'a Sources<'_>) -> Option<&'a ComponentSettings> {
    sources.settings.get(component.name)
}

/// The program that the stack file names: taken as it is, and nothing else will do.
fn given(component: &'static Component, sources: &Sources<'_>, path: &Path) -> Result<Found> {
    let path = std::path::absolute(path)?;
    let mut outcome = Err(anyhow::anyhow!("the row names no program"));
    for program in component.programs {
        let wanted = Wanted { component, program, sources };
        let located = Located::loose(path.clone(), program.name);
        outcome = executable(&path)
            .and_then(|()| identify(&wanted, located, (Origin::Path, path.display().to_string())));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
        .with_context(|| format!("`components.{}.path` cannot be used", component.name))
        .hint(format!(
            "correct `components.{0}.path` in the stack file, or remove it",
            component.name
        ))
        .exit(Exit::STEP)
}

fn executable(path: &Path) -> Result<()> {
    if !path.exists() {
        bail!("there is no `{}`", path.display());
    }
    if !disk::is_executable(path) {
        bail!("`{}` is not an executable file", path.display());
    }
    Ok(())
}

/// A program of this project.
fn sibling(wanted: &Wanted<'_>) -> Result<Found> {
    let path = wanted.sources.sibling_dir.join(wanted.program.name);
    executable(&path)?;
    let source = path.display().to_string();
    identify(wanted, Located::loose(path, wanted.program.name), (Origin::Sibling, source))
}

/// The error when no place has the program: each place with its reason, and what to do.
fn nothing(component: &Component, tried: &[(Attempt, String)]) -> Result<Found> {
    let mut message = format!("`{}` cannot be had:", component.name);
    for same in tried.chunk_by(|one, next| one.1 == next.1) {
        let places: Vec<_> = same.iter().map(|(attempt, _)| attempt.title()).collect();
        let reason = same.first().map_or("", |(_, reason)| reason).replace('\n', "\n    ");
        message.push_str(&format!("\n  {}: {reason}", places.join(", ")));
    }
    let mut ways = Vec::new();
    for program in component.programs {
        match &program.supply {
            Supply::Native(native) => {
                if let Some(package) = &native.package {
                    ways.push(format!("sudo apt-get install {}", package.name));
                }
                ways.push(format!("put `{}` on PATH", program.name));
                if native.release.is_some() {
                    ways.push("give `--mirror` a folder or URL that has it".to_owned());
                }
            }
            Supply::Python => ways.push("sudo apt-get install python3-venv".to_owned()),
            Supply::Sibling => ways.push("cargo build --release".to_owned()),
        }
    }
    ways.push(format!("set `components.{}.path` in the stack file", component.name));
    Err(failure(Exit::STEP, message)).hint(ways.join("; or "))
}
