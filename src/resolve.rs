//! Finds the program of a component: path, cache, mirror, download, PATH, distribution package.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::config::model::ComponentSettings;
use crate::error::{Note, failure};
use crate::exec::Runner;
use crate::exit::Exit;
use crate::http::Http;
use crate::http::real::check_url;
use crate::report::Reporter;

mod archive;
mod attempt;
mod cache;
mod checksum;
mod disk;
mod identity;
mod lock;
mod package;
mod python;
mod release;
mod search;
mod transfer;

pub use disk::Stamp;
pub use lock::PinnedBy;

/// How many components are resolved at once unless the user says otherwise.
pub const PARALLEL: usize = 5;

/// Where programs may come from, and what is needed to fetch them.
pub struct Sources<'a> {
    /// Starts `apt-get`, `python3` and the programs that are asked for their version.
    pub runner: &'a dyn Runner,
    /// Downloads.
    pub http: &'a dyn Http,
    /// Told about each step.
    pub report: &'a dyn Reporter,
    /// Settings of components, by name.
    pub settings: &'a BTreeMap<String, ComponentSettings>,
    /// Folder of everything that was fetched, see [`default_cache`].
    pub cache: PathBuf,
    /// The file `components.lock`.
    pub lock: PathBuf,
    /// Folders to search, as in `PATH`.
    pub path: OsString,
    /// Folder of the running `monstack`.
    pub sibling_dir: PathBuf,
    /// A place to fetch from instead of upstream.
    pub mirror: Option<Mirror>,
    /// Whether a checksum that only upstream vouches for will do.
    pub pinning: Pinning,
    /// The app's hashed requirements, for pip.
    pub requirements: Vec<u8>,
    /// The machine that the programs are for.
    pub platform: Platform,
    /// How many components are resolved at once.
    pub parallel: usize,
    /// When this becomes true, the work ends with an error.
    pub interrupted: &'a AtomicBool,
}

/// Whether a checksum that only upstream vouches for will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// Upstream's checksum, fetched over TLS, is recorded and binding from then on.
    FirstUse,
    /// Only checksums that monstack itself knows are taken.
    Required,
}

/// The machine that programs are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The architecture as releases call it: `amd64`, `arm64`.
    pub arch: String,
}

impl Platform {
    /// This machine.
    pub fn here() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: std::env::consts::OS.to_owned(), arch: arch.to_owned() }
    }
}

/// A place that holds what upstream offers, as `<component>/<version>/<file>` with a `SHA256SUMS` beside each file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An `https` URL without a slash at its end.
    Url(String),
}

impl Mirror {
    /// Reads `text` as a URL or as a folder.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((_, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(std::path::absolute(text)?));
        };
        if rest.split('/').next().is_some_and(|host| host.contains('@')) {
            return Err(anyhow!("the URL of the mirror holds a password, and logs show URLs"))
                .hint("let a proxy log in, or use a folder: `--mirror ./mirror`")
                .exit(Exit::USAGE);
        }
        check_url(text).exit(Exit::USAGE)?;
        Ok(Self::Url(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// How a program was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The path in the stack file.
    Path,
    /// Fetched by an earlier run.
    Cache,
    /// Downloaded by this run.
    Download,
    /// Taken from the mirror by this run.
    Mirror,
    /// A folder of PATH.
    SearchPath,
    /// Unpacked from a package of the distribution.
    Package,
    /// Beside `monstack` itself.
    Sibling,
    /// A virtual environment of Python.
    Python,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "stack file",
            Self::Cache => "cache",
            Self::Download => "download",
            Self::Mirror => "mirror",
            Self::SearchPath => "PATH",
            Self::Package => "package",
            Self::Sibling => "beside monstack",
            Self::Python => "virtualenv",
        })
    }
}

/// A program that was found and has said its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Name of the program, which tells which of a row's programs it is.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// The version it reports.
    pub version: String,
    /// How it was had.
    pub origin: Origin,
    /// Where it comes from, for people: a URL, `package=version`, or a path.
    pub source: String,
    /// Folder of what belongs to it, such as Grafana's `--homepath`.
    pub home: PathBuf,
    /// Folders of shared libraries for `LD_LIBRARY_PATH`; none for most programs.
    pub libraries: Vec<PathBuf>,
    /// Programs by name: itself, and those that come with it.
    pub tools: BTreeMap<String, PathBuf>,
    /// SHA-256 of the archive it was unpacked from.
    pub sha256: Option<String>,
    /// How its files looked when it was found.
    pub seen: BTreeMap<PathBuf, Stamp>,
}

/// The folder of fetched programs: `$XDG_CACHE_HOME/monstack`, or `~/.cache/monstack`.
pub fn default_cache() -> Result<PathBuf> {
    let folder = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute())
    };
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("monstack"))
        .ok_or_else(|| anyhow!("there is no place for downloads: neither `XDG_CACHE_HOME` nor `HOME` is an absolute path"))
        .hint("export XDG_CACHE_HOME=/var/tmp/cache")
        .exit(Exit::USAGE)
}

/// Whether what was found is unchanged; a look at a few files, nothing is started.
pub fn still_there(found: &Found) -> bool {
    disk::is_executable(&found.program)
        && found.seen.iter().all(|(path, stamp)| Stamp::of(path).is_ok_and(|now| now == *stamp))
}

/// Finds or fetches the program of `component`.
pub fn resolve(component: &'static Component, sources: &Sources<'_>) -> Result<Found> {
    attempt::all(component, sources)
}

/// Finds the program of `component` where nothing has to be fetched or written: stack file, cache, PATH.
pub fn at_hand(component: &'static Component, sources: &Sources<'_>) -> Result<Found> {
    attempt::at_hand(component, sources)
}

/// Resolves `components`, several at once; the results have the same order.
pub fn resolve_all(
    components: &[&'static Component],
    sources: &Sources<'_>,
) -> Vec<(&'static Component, Result<Found>)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(components.len()));
    thread::scope(|scope| {
        for _ in 0..sources.parallel.clamp(1, components.len().max(1)) {
            scope.spawn(|| {
                while let Some(component) = components.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = resolve(component, sources);
                    results
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((*component, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(component, _)| {
        components.iter().position(|known| std::ptr::eq(*known, *component))
    });
    results
}

impl Sources<'_> {
    /// Fails when the user wants to stop.
    fn check(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(failure(Exit::INTERRUPTED, "the search for programs was interrupted"));
        }
        Ok(())
    }
}
