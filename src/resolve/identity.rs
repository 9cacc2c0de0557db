//! Asks a program who it is: a file of the right name may be somebody else's, or not start at all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use super::{Found, Origin, Stamp, disk, search};
use crate::component::{Program, Supply};
use crate::error::exit_of;
use crate::exec::{Cmd, Runner};
use crate::exit::Exit;

use super::attempt::Wanted;

/// How long a program may take to say its version; a large one comes from a cold disk.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a program that is busy is left alone, and how often.
const BUSY: Duration = Duration::from_millis(20);
const BUSY_TRIES: usize = 20;
/// How many characters of a program's last words are shown.
const SHOWN: usize = 300;

/// A program's place on the disk, not yet asked for its version.
pub(crate) struct Located {
    /// The executable.
    pub program: PathBuf,
    /// Folder of what belongs to it.
    pub home: PathBuf,
    /// Folders of shared libraries.
    pub libraries: Vec<PathBuf>,
}

impl Located {
    /// A program outside the cache; its folder is guessed from the usual layouts.
    pub(crate) fn loose(program: PathBuf, name: &str) -> Self {
        let real = program.canonicalize().unwrap_or_else(|_| program.clone());
        let folder = real.parent().unwrap_or(Path::new("/"));
        let home = match (folder.file_name().and_then(|name| name.to_str()), folder.parent()) {
            (Some("bin" | "sbin"), Some(prefix)) => {
                let shared = prefix.join("share").join(name);
                if shared.is_dir() { shared } else { prefix.to_owned() }
            }
            _ => folder.to_owned(),
        };
        Self { program, home, libraries: Vec::new() }
    }
}

/// Asks the program for its version and puts down all that is known about it.
pub(crate) fn identify(
    wanted: &Wanted<'_>,
    located: Located,
    (origin, source): (Origin, String),
) -> Result<Found> {
    let version = version(wanted, &located)?;
    if let Some(setting) = wanted.version_setting()
        && origin != Origin::Path
        && setting != version
        && version != STAND_IN
    {
        bail!(
            "`{}` has version {version}, the stack file wants {setting}",
            located.program.display()
        );
    }
    let tools = tools(wanted, &located.program);
    let seen = tools
        .values()
        .filter_map(|path| Stamp::of(path).ok().map(|stamp| (path.clone(), stamp)))
        .collect();
    let Located { program, home, libraries } = located;
    let name = wanted.program.name.to_owned();
    Ok(Found { name, program, version, origin, source, home, libraries, tools, sha256: None, seen })
}

/// The version that a stand-in for a program reports.
const STAND_IN: &str = "stand-in";

fn version(wanted: &Wanted<'_>, located: &Located) -> Result<String> {
    let shown = located.program.display();
    let cmd = ask(wanted.program, located);
    let text = read(wanted.sources.runner, &cmd).map_err(|error| match exit_of(&error) {
        Exit::INTERRUPTED => error,
        _ => anyhow!("`{shown}` does not start: {}", cause(&error.to_string())),
    })?;
    let mark = wanted.program.version_mark;
    let Some((_, rest)) = text.split_once(mark) else {
        let first = text.lines().next().unwrap_or("nothing").trim();
        bail!("`{shown}` is another program of this name: it says `{first}`, not `{mark}...`");
    };
    let version = rest.split([' ', '\n', '\t', ',', ')']).next().unwrap_or_default().trim();
    let version = match version.strip_prefix('v') {
        Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => number,
        _ => version,
    };
    if version.is_empty() {
        bail!("`{shown}` says no version after `{mark}`");
    }
    Ok(version.to_owned())
}

/// A program that was just written counts as busy while a process that another thread forked has not become its program.
fn read(runner: &dyn Runner, cmd: &Cmd) -> Result<String> {
    for _ in 0..BUSY_TRIES {
        match runner.read(cmd) {
            Err(error) if error.to_string().contains("Text file busy") => thread::sleep(BUSY),
            outcome => return outcome,
        }
    }
    runner.read(cmd)
}

/// The question; some programs answer it on standard error.
fn ask(program: &Program, located: &Located) -> Cmd {
    let cmd = Cmd::read("/bin/sh")
        .args(["-c", r#"exec "$0" "$@" 2>&1"#])
        .args([&located.program])
        .args(program.version_args)
        .timeout(ANSWER);
    if located.libraries.is_empty() {
        return cmd;
    }
    let folders: Vec<_> = located.libraries.iter().map(|path| path.to_string_lossy()).collect();
    cmd.env("LD_LIBRARY_PATH", folders.join(":"))
}

/// The missing library, where that is what a failed start is about.
fn cause(error: &str) -> String {
    for mark in ["error while loading shared libraries: ", "Error loading shared library "] {
        if let Some((_, rest)) = error.split_once(mark) {
            let library = rest.split([':', '\n']).next().unwrap_or(rest).trim();
            return format!("the shared library `{library}` is missing");
        }
    }
    disk::last_words(error)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(SHOWN)
        .collect()
}

/// The program itself and the tools that come with it, beside it or on PATH.
fn tools(wanted: &Wanted<'_>, program: &Path) -> BTreeMap<String, PathBuf> {
    let mut tools = [(wanted.program.name.to_owned(), program.to_owned())].into_iter().collect();
    let Supply::Native(native) = &wanted.program.supply else { return tools };
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    for tool in native.tools {
        let beside = [program, &real].map(|program| program.with_file_name(tool));
        let place = beside
            .into_iter()
            .find(|path| disk::is_executable(path))
            .or_else(|| search::first(&wanted.sources.path, tool));
        if let Some(place) = place {
            tools.insert((*tool).to_owned(), place);
        }
    }
    tools
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named() {
        let glibc = "`/bin/sh -c x` failed with exit status: 127: /x/nginx: error while loading shared libraries: libpcre2-8.so.0: cannot open shared object file: No such file or directory";
        assert_eq!(cause(glibc), "the shared library `libpcre2-8.so.0` is missing");
        let musl = "Error loading shared library libssl.so.3: No such file or directory (needed by /x/nginx)";
        assert_eq!(cause(musl), "the shared library `libssl.so.3` is missing");
    }

    #[test]
    fn a_busy_program_is_asked_again() {
        struct Busy(std::sync::atomic::AtomicUsize);
        impl Runner for Busy {
            fn run(&self, _: &Cmd, on_line: &mut dyn FnMut(&str)) -> Result<()> {
                if self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 {
                    bail!("`x` failed with exit status: 126: /bin/sh: 1: exec: x: Text file busy");
                }
                on_line("x 1.0");
                Ok(())
            }
        }
        let busy = Busy(std::sync::atomic::AtomicUsize::new(0));
        assert_eq!(read(&busy, &Cmd::read("x")).unwrap(), "x 1.0\n");
        assert_eq!(busy.0.into_inner(), 3);
    }

    #[test]
    fn any_other_trouble_is_the_programs_last_words() {
        let error = "`/bin/sh -c x` failed with exit status: 126: /bin/sh: 1: exec: /x/loki: Exec format error";
        assert_eq!(cause(error), "exit status: 126: /bin/sh: 1: exec: /x/loki: Exec format error");
    }

    #[test]
    fn the_home_of_a_loose_program_is_what_belongs_to_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["opt/grafana/bin", "usr/sbin", "usr/share/grafana", "plain"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let home = |program: &str| Located::loose(root.join(program), "grafana").home;
        assert_eq!(home("opt/grafana/bin/grafana"), root.join("opt/grafana"));
        assert_eq!(home("usr/sbin/grafana"), root.join("usr/share/grafana"));
        assert_eq!(home("plain/grafana"), root.join("plain"));
    }
}
