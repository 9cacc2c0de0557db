//! The app's virtual environment: `<cache>/venv/<hash>/`, made in place because it cannot be moved.
//!
//! The file `complete.json` is written last. A folder without it was left by a killed run and is made anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::attempt::{Wanted, reason};
use super::cache::{self, Lock};
use super::identity::{Located, identify};
use super::{Found, Origin, Stamp, disk, package, still_there};
use crate::digest::sha256;
use crate::error::{Note, exit_of};
use crate::exec::Cmd;
use crate::exit::Exit;

mod interpreter;
mod pip;

use interpreter::Interpreter;
use pip::Pip;

/// How long making an empty environment may take.
const VENV: Duration = Duration::from_secs(120);

/// What is written when an environment is complete.
#[derive(Serialize, Deserialize)]
struct Complete {
    /// SHA-256 of the requirements.
    requirements: String,
    /// The machine it is for.
    arch: String,
    /// The interpreter it leads to; another one means another environment.
    python: PathBuf,
    /// How that looked.
    stamp: Stamp,
    /// What was found in it.
    found: Found,
}

/// The environment that an earlier run made, if its interpreter is unchanged. Nothing is started.
pub(crate) fn ready(wanted: &Wanted<'_>) -> Result<Option<Found>> {
    let requirements = sha256(&wanted.sources.requirements);
    let folder = folder(wanted);
    let found = disk::entries(&folder).into_iter().find_map(|environment| {
        let complete = complete(&environment)?;
        let same = complete.requirements == requirements
            && complete.arch == wanted.sources.platform.arch
            && complete.found.name == wanted.program.name
            && complete.found.home == environment
            && Stamp::of(&complete.python).is_ok_and(|now| now == complete.stamp);
        (same && still_there(&complete.found)).then_some(complete.found)
    });
    match (found, wanted.version_setting()) {
        (Some(found), Some(setting)) if found.version != setting => Ok(None),
        (found, _) => Ok(found),
    }
}

/// Makes the environment with the first interpreter that can.
pub(crate) fn build(wanted: &Wanted<'_>) -> Result<Found> {
    if wanted.sources.requirements.is_empty() {
        bail!("there are no requirements");
    }
    let mut reasons = Vec::new();
    for path in interpreter::candidates(&wanted.sources.path) {
        let made = Interpreter::ask(wanted.sources.runner, &path)
            .and_then(|interpreter| environment(wanted, &interpreter));
        match made {
            Ok(found) => return Ok(found),
            Err(error) if exit_of(&error) == Exit::INTERRUPTED => return Err(error),
            // Another interpreter would not reach it either.
            Err(error) if error.downcast_ref::<pip::Unreached>().is_some() => {
                return Err(error).hint(
                    "export PIP_INDEX_URL=..., or give `--mirror` a folder whose `python` holds the wheels",
                );
            }
            Err(error) => {
                reasons.push(format!("{}: {}", path.display(), reason(&error)));
            }
        }
    }
    if reasons.is_empty() {
        return Err(anyhow!("there is no `python3`")).hint("sudo apt-get install python3");
    }
    bail!("{}", reasons.join("\n"))
}

fn folder(wanted: &Wanted<'_>) -> PathBuf {
    wanted.sources.cache.join("venv")
}

fn complete(environment: &Path) -> Option<Complete> {
    serde_json::from_slice(&fs::read(environment.join("complete.json")).ok()?).ok()
}

/// The environment of this interpreter: the one that is there, or a new one.
fn environment(wanted: &Wanted<'_>, interpreter: &Interpreter) -> Result<Found> {
    let requirements = sha256(&wanted.sources.requirements);
    let arch = &wanted.sources.platform.arch;
    let key = format!("{requirements} {} {arch}", interpreter.identity());
    let key = &sha256(key.as_bytes())[..16];
    let environment = folder(wanted).join(key);
    let _alone = Lock::take(&folder(wanted).join(format!(".{key}.lock")), wanted.sources)?;
    // Another run may have made it while this one waited.
    if let Some(complete) = complete(&environment).filter(|complete| still_there(&complete.found)) {
        return Ok(complete.found);
    }
    remove(&environment)?;
    let made = fill(wanted, interpreter, &environment);
    if made.is_err() {
        remove(&environment)?;
    }
    let found = made?;
    let complete = Complete {
        requirements,
        arch: arch.clone(),
        stamp: Stamp::of(&interpreter.executable)?,
        python: interpreter.executable.clone(),
        found,
    };
    cache::write(&environment.join("complete.json"), &serde_json::to_vec_pretty(&complete)?)?;
    Ok(complete.found)
}

fn remove(environment: &Path) -> Result<()> {
    if !environment.exists() {
        return Ok(());
    }
    disk::writing(fs::remove_dir_all(environment), environment)
}

/// Makes the environment and installs the requirements into it.
fn fill(wanted: &Wanted<'_>, interpreter: &Interpreter, environment: &Path) -> Result<Found> {
    let runner = wanted.sources.runner;
    wanted.step(format!("making a virtual environment with Python {}", interpreter.version));
    runner.run(&venv(interpreter, environment), &mut |_| {})?;
    let pip = match interpreter.pip() {
        Some(pip) => pip,
        None => distribution_pip(wanted)?,
    };
    let requirements = environment.join("requirements.txt");
    cache::write(&requirements, &wanted.sources.requirements)?;
    let python = environment.join("bin/python");
    pip::install(wanted, &Pip { python: &python, wheel: &pip, requirements: &requirements })?;
    let located = Located {
        program: environment.join("bin").join(wanted.program.name),
        home: environment.to_owned(),
        libraries: Vec::new(),
    };
    if !disk::is_executable(&located.program) {
        bail!("the requirements do not bring `{}`", wanted.program.name);
    }
    let source = format!("Python {} at {}", interpreter.version, interpreter.executable.display());
    let mut found = identify(wanted, located, (Origin::Python, source))?;
    // The environment leads to the interpreter, so it is gone when that is.
    found.seen.insert(python.clone(), Stamp::of(&python)?);
    found.tools.insert("python".to_owned(), python);
    Ok(found)
}

/// pip as Debian packages it for those who have no `python3-venv`.
fn distribution_pip(wanted: &Wanted<'_>) -> Result<PathBuf> {
    let locate = |files: &Path| {
        let wheel = interpreter::wheel_in(&files.join("usr/share/python-wheels"))?;
        wheel.strip_prefix(files).ok().map(Path::to_owned)
    };
    package::file(wanted, &package::Wish { name: "python3-pip-whl", locate: &locate })
        .map_err(|error| anyhow!("it has no pip, and no package of it: {}", reason(&error)))
        .hint("sudo apt-get install python3-venv")
}

fn venv(interpreter: &Interpreter, environment: &Path) -> Cmd {
    Cmd::write(&interpreter.path)
        .args(["-I", "-m", "venv", "--without-pip"])
        .args([environment])
        .timeout(VENV)
}
