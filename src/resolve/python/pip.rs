//! Runs of pip: from its wheel, with hashes, with the user's own configuration.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::super::Mirror;
use super::super::attempt::Wanted;
use super::super::disk;
use crate::error::exit_of;
use crate::exec::Cmd;
use crate::exit::Exit;

/// How long pip may take: it may have to build a package from source.
const TIMEOUT: Duration = Duration::from_secs(900);
/// What pip says when it finds no wheel, whatever the reason.
const NO_WHEEL: &str = "No matching distribution found";

/// No package index could be asked.
#[derive(Debug)]
pub(super) struct Unreached(String);

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pip reached no package index: {}", self.0)
    }
}

impl std::error::Error for Unreached {}

/// A run of pip.
pub(super) struct Pip<'a> {
    /// The interpreter of the environment.
    pub python: &'a Path,
    /// The wheel that holds pip.
    pub wheel: &'a Path,
    /// The hashed requirements.
    pub requirements: &'a Path,
}

/// Tries the mirror, then the index of the user's configuration; builds from source only what has no wheel.
pub(super) fn install(wanted: &Wanted<'_>, pip: &Pip<'_>) -> Result<()> {
    let place = wanted.sources.mirror.as_ref().map(|mirror| match mirror {
        Mirror::Folder(folder) => folder.join("python").display().to_string(),
        Mirror::Url(url) => format!("{url}/python/"),
    });
    if let Some(place) = place {
        match run(wanted, &pip_install(pip, &["--no-index", "--find-links", &place])) {
            Ok(()) => return Ok(()),
            Err(error) if exit_of(&error) == Exit::INTERRUPTED => return Err(error),
            Err(error) => wanted.step(format!("the mirror does not do: {error:#}")),
        }
    }
    match run(wanted, &pip_install(pip, &["--only-binary", ":all:"])) {
        Ok(()) => Ok(()),
        Err(error) => match unreached(&error.to_string()) {
            Some(unreached) => Err(unreached.into()),
            None if error.to_string().contains(NO_WHEEL) => run(wanted, &pip_install(pip, &[])),
            None => Err(error),
        },
    }
}

fn run(wanted: &Wanted<'_>, cmd: &Cmd) -> Result<()> {
    wanted.sources.check()?;
    wanted.sources.runner.run(cmd, &mut |_| {}).or_else(|error| match exit_of(&error) {
        Exit::INTERRUPTED => Err(error),
        _ => disk::failed("pip", &wanted.sources.cache, &error),
    })
}

/// What pip says of a connection that failed, if that is why it failed.
fn unreached(error: &str) -> Option<Unreached> {
    let (_, rest) = error.split_once("after connection broken by '")?;
    let rest = rest.split("': /").next().unwrap_or(rest).trim_end_matches(['\'', ')']);
    let why = rest.rsplit_once(">: ").map_or(rest, |(_, why)| why);
    error.contains(NO_WHEEL).then(|| Unreached(why.to_owned()))
}

/// pip runs from its wheel, so that it need not be installed; the user's configuration of it holds.
fn pip_install(pip: &Pip<'_>, options: &[&str]) -> Cmd {
    Cmd::write(pip.python)
        .args(["-I"])
        .args([pip.wheel.join("pip")])
        .args(["install", "--require-hashes", "--no-input", "--disable-pip-version-check"])
        .args(["--progress-bar", "off", "--no-warn-script-location"])
        .args(options)
        .args(["-r"])
        .args([pip.requirements])
        // An environment has no folder of its user, whatever pip is told elsewhere.
        .env("PIP_USER", "0")
        .timeout(TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_takes_only_what_has_a_hash() {
        let pip = Pip {
            python: Path::new("/venv/bin/python"),
            wheel: Path::new("/pip.whl"),
            requirements: Path::new("/venv/requirements.txt"),
        };
        assert_eq!(
            pip_install(&pip, &["--no-index"]).to_string(),
            "/venv/bin/python -I /pip.whl/pip install --require-hashes --no-input \
             --disable-pip-version-check --progress-bar off --no-warn-script-location --no-index \
             -r /venv/requirements.txt"
        );
    }

    #[test]
    fn nothing_is_built_from_source_because_the_network_is_away() {
        let none = "ERROR: No matching distribution found for pure==1.0";
        assert!(unreached(none).is_none());
        let broken = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip.HTTPConnection object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/pure/";
        let unreached = unreached(&format!("{broken}\n{none}")).unwrap().to_string();
        assert_eq!(
            unreached,
            "pip reached no package index: Failed to establish a new connection: [Errno 111] Connection refused"
        );
    }
}
