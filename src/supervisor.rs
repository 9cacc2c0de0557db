//! Keeps a stack's processes running on this machine: starts, health-checks, restarts, rotates logs, stops.
//!
//! `up` writes what is wanted to `run/desired.json`; the supervisor, a process of its own session, makes it so and
//! writes what it sees to `run/observed.json`. Each service's pid and start time lie in `run/<name>.pid`, written by
//! the service's own process before it becomes the service, so that no crash can lose track of one.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::component::{Reload, Reopen};
use crate::digest;
use crate::process::Identity;

pub mod child;
pub mod client;
pub mod health;
pub mod keeper;
pub mod rotate;
pub mod service;
pub mod shim;

/// One process that is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Name of the component.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, beside `PATH`, `HOME`, `LANG` and `TZ`.
    pub env: Vec<(String, String)>,
    /// The folder it works in.
    pub dir: PathBuf,
    /// Folders that must exist before it starts.
    pub folders: Vec<PathBuf>,
    /// Its configuration.
    pub files: Vec<PathBuf>,
    /// Hash of the files it is meant to have loaded.
    pub files_hash: String,
    /// URL that answers 200 when it is healthy.
    pub health: String,
    /// What makes it take up changed files.
    pub reload: Reload,
    /// What makes it reopen its own log files.
    pub reopen: Reopen,
    /// Log files that it writes itself.
    pub logs: Vec<PathBuf>,
    /// Where its standard output and error go.
    pub log: PathBuf,
}

impl Spec {
    /// Hash of all that can only be changed by starting anew.
    pub fn identity(&self) -> String {
        let essence = (&self.program, &self.args, &self.env, &self.dir, &self.folders);
        let json = serde_json::to_vec(&essence).unwrap_or_default();
        digest::sha256(json)
    }
}

/// What is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Grows with every change.
    pub generation: u64,
    /// The processes.
    pub services: Vec<Spec>,
}

/// Version of the files that a run and the supervisor exchange.
pub const FORMAT: u32 = 1;

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Version of this file.
    pub format: u32,
    /// The supervisor.
    pub supervisor: Identity,
    /// The generation it last read.
    pub generation: u64,
    /// The processes.
    pub services: Vec<Status>,
}

/// One process as the supervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the component.
    pub name: String,
    /// Whether it runs and answers.
    pub state: State,
    /// The process, if it runs.
    pub process: Option<Identity>,
    /// When it was last started.
    pub since: Timestamp,
    /// How often it was started again after it ended or hung by itself.
    pub restarts: u32,
    /// How it last ended.
    pub last_exit: Option<String>,
    /// Identity of the spec it runs with.
    pub spec: String,
    /// Hash of the files it loaded.
    pub loaded: String,
}

/// Whether a process runs and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs and has not answered yet.
    Starting,
    /// It runs and answers.
    Healthy,
    /// It runs, answered once, and does not now.
    Unhealthy,
    /// It ended and is about to be started again.
    Waiting,
}

/// Paths of what the supervisor reads and writes below `run`.
pub struct Paths<'a>(pub &'a Path);

impl Paths<'_> {
    /// What is to run.
    pub fn desired(&self) -> PathBuf {
        self.0.join("desired.json")
    }

    /// What runs.
    pub fn observed(&self) -> PathBuf {
        self.0.join("observed.json")
    }

    /// Held by the supervisor as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.0.join("supervisor.lock")
    }

    /// Pid and start time of the supervisor.
    pub fn supervisor(&self) -> PathBuf {
        self.0.join("supervisor.json")
    }

    /// The supervisor's own words.
    pub fn log(&self) -> PathBuf {
        self.0.join("supervisor.log")
    }

    /// Pid and start time of a service.
    pub fn pid(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pid"))
    }

    /// Held by a service as long as any of its processes lives.
    pub fn service_lock(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.lock"))
    }
}

/// Hash of files as they are on disk now; an absent one counts as such.
pub fn hash_files(paths: &[PathBuf]) -> String {
    let contents = paths.iter().map(|path| (path.as_path(), fs::read(path).ok()));
    hash_contents(contents.map(|(path, bytes)| (path, bytes.unwrap_or_default())))
}

/// Hash of named contents.
pub fn hash_contents<'a, B: AsRef<[u8]>>(contents: impl Iterator<Item = (&'a Path, B)>) -> String {
    let mut hash = Sha256::new();
    for (path, bytes) in contents {
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update([0]);
        hash.update(Sha256::digest(bytes.as_ref()));
    }
    digest::hex(hash)
}
