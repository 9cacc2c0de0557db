//! What a run asks of the supervisor.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;

use super::{Desired, Observed, Paths, Spec, child};
use crate::workdir;

/// How long the supervisor may take to start.
const START: Duration = Duration::from_secs(5);
/// How long it may take to stop everything.
const STOP: Duration = Duration::from_secs(30);

/// What is wanted now.
pub fn desired(run: &Path) -> Result<Desired> {
    Ok(workdir::read_json(&Paths(run).desired())?.unwrap_or_default())
}

/// What the supervisor saw last, whether it still lives or not.
pub fn observed(run: &Path) -> Result<Option<Observed>> {
    workdir::read_json(&Paths(run).observed())
}

/// Whether a supervisor runs; the kernel knows, for it holds a lock.
pub fn is_running(run: &Path) -> bool {
    let Ok(lock) = File::open(Paths(run).lock()) else { return false };
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

/// Tells the supervisor what to run, and starts one if none does; gives the new generation.
pub fn apply(run: &Path, services: Vec<Spec>) -> Result<u64> {
    let generation = desired(run)?.generation + 1;
    workdir::write_json(&Paths(run).desired(), &Desired { generation, services, stop: false })?;
    ensure(run)?;
    Ok(generation)
}

/// Starts a supervisor if none runs.
pub fn ensure(run: &Path) -> Result<()> {
    if is_running(run) {
        return Ok(());
    }
    workdir::make_folder(run)?;
    let log = workdir::append(&Paths(run).log(), workdir::PLAIN)?;
    let program = std::env::current_exe().context("cannot find monstack's own program")?;
    let mut child = Command::new(program)
        .arg("__supervise")
        .arg(run)
        .current_dir("/")
        .env_clear()
        .envs(child::inherited())
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the log")?)
        .stderr(log)
        .spawn()
        .context("cannot start the supervisor")?;
    let deadline = Instant::now() + START;
    while !is_running(run) {
        if Instant::now() > deadline || child.try_wait()?.is_some() {
            bail!(
                "the supervisor did not start; its last words are in `{}`",
                Paths(run).log().display()
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Stops everything and the supervisor with it; gives the names of services that live on all the same.
pub fn stop(run: &Path) -> Result<Vec<String>> {
    let before = desired(run)?;
    let names: Vec<String> = before.services.iter().map(|spec| spec.name.clone()).collect();
    if is_running(run) {
        let generation = before.generation + 1;
        workdir::write_json(&Paths(run).desired(), &Desired { generation, stop: true, ..before })?;
        let deadline = Instant::now() + STOP;
        while is_running(run) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
    }
    let mut names = names;
    names.extend(recorded_names(run));
    names.sort();
    names.dedup();
    child::stop(run, &names);
    Ok(names.into_iter().filter(|name| child::is_held(run, name)).collect())
}

/// Names of all services that ever wrote a pid file here and were not cleanly stopped.
fn recorded_names(run: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(run) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".pid").map(str::to_owned))
        .collect()
}
