//! Interpreters of Python, and the pip that each brings along.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::super::{disk, search};
use crate::error::exit_of;
use crate::exec::{Cmd, Runner};
use crate::exit::Exit;

/// How long an interpreter may take to say who it is.
const ANSWER: Duration = Duration::from_secs(20);
/// The oldest version that the app runs on.
const OLDEST: (u32, u32) = (3, 9);
/// Asks for what decides whether an environment can be made and shared.
const QUESTION: &str = "import json, os, platform, sys, sysconfig
try:
    import ensurepip
    bundled = os.path.join(os.path.dirname(ensurepip.__file__), '_bundled')
except (ImportError, TypeError):
    bundled = None
print(json.dumps({
    'version': platform.python_version(),
    'major': sys.version_info[0],
    'minor': sys.version_info[1],
    'abi': sysconfig.get_config_var('SOABI') or sys.implementation.cache_tag,
    'executable': os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable),
    'wheels': [folder for folder in (bundled, sysconfig.get_config_var('WHEEL_PKG_DIR')) if folder],
}))";
/// Where distributions keep the wheel of pip.
const WHEELS: &[&str] = &["/usr/share/python-wheels", "/usr/share/python3-wheels"];

/// An interpreter that works.
#[derive(Clone, Debug)]
pub(super) struct Interpreter {
    /// How it was found; a link of a user's choice.
    pub path: PathBuf,
    /// The file that this leads to.
    pub executable: PathBuf,
    /// Its version, such as `3.11.2`.
    pub version: String,
    abi: String,
    wheels: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Answer {
    version: String,
    major: u32,
    minor: u32,
    abi: String,
    executable: PathBuf,
    wheels: Vec<PathBuf>,
}

/// All programs called `python3`: those of PATH, then the distribution's.
pub(super) fn candidates(path: &OsStr) -> Vec<PathBuf> {
    let mut all = search::candidates(path, &["python3"]);
    let system = PathBuf::from("/usr/bin/python3");
    if disk::is_executable(&system) && !all.contains(&system) {
        all.push(system);
    }
    all
}

/// The wheel of pip in `folder`, the newest by name if there are several.
pub(super) fn wheel_in(folder: &Path) -> Option<PathBuf> {
    disk::entries(folder).into_iter().rfind(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("pip-") && name.ends_with(".whl")
    })
}

impl Interpreter {
    /// Asks the program at `path`; one that does not work, such as a shim without a version behind it, is refused.
    pub(super) fn ask(runner: &dyn Runner, path: &Path) -> Result<Self> {
        let cmd = Cmd::read(path).args(["-I", "-c", QUESTION]).timeout(ANSWER);
        let text = runner.read(&cmd).map_err(|error| match exit_of(&error) {
            Exit::INTERRUPTED => error,
            _ => anyhow!("it does not work: {}", disk::last_words(&format!("{error:#}"))),
        })?;
        let answer: Answer = serde_json::from_str(text.trim()).with_context(|| {
            format!("`{}` is no Python: it says `{}`", path.display(), text.trim())
        })?;
        if (answer.major, answer.minor) < OLDEST {
            bail!("it is version {}, wanted {}.{} or newer", answer.version, OLDEST.0, OLDEST.1);
        }
        let Answer { version, abi, executable, wheels, .. } = answer;
        Ok(Self { path: path.to_owned(), executable, version, abi, wheels })
    }

    /// What an environment depends on.
    pub(super) fn identity(&self) -> String {
        format!("{} {} {}", self.version, self.abi, self.executable.display())
    }

    /// The wheel of pip that came with it or with the distribution.
    pub(super) fn pip(&self) -> Option<PathBuf> {
        let known = WHEELS.iter().map(PathBuf::from);
        self.wheels.iter().cloned().chain(known).find_map(|folder| wheel_in(&folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::script::Script;

    fn ask(answer: &str) -> Result<Interpreter> {
        let script = Script::default().answer("/usr/bin/python3", answer);
        Interpreter::ask(&script, Path::new("/usr/bin/python3"))
    }

    fn answer(minor: u32) -> String {
        format!(
            r#"{{"version": "3.{minor}.1", "major": 3, "minor": {minor}, "abi": "cpython-3{minor}", "executable": "/usr/bin/python3.{minor}", "wheels": []}}"#
        )
    }

    #[test]
    fn an_old_python_is_refused() {
        assert_eq!(ask(&answer(9)).unwrap().version, "3.9.1");
        let error = ask(&answer(8)).unwrap_err().to_string();
        assert_eq!(error, "it is version 3.8.1, wanted 3.9 or newer");
    }

    #[test]
    fn a_shim_without_a_version_is_refused() {
        let script = Script::default().fail("/shims/python3", "pyenv: python3: command not found");
        let error = Interpreter::ask(&script, Path::new("/shims/python3")).unwrap_err();
        assert!(error.to_string().contains("command not found"), "{error}");
    }

    #[test]
    fn the_newest_wheel_of_pip_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pip-23.0.1-py3-none-any.whl", "setuptools-66-py3-none-any.whl"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let wheel = wheel_in(folder.path()).unwrap();
        assert!(wheel.ends_with("pip-23.0.1-py3-none-any.whl"));
        assert_eq!(wheel_in(Path::new("/nowhere")), None);
    }
}
