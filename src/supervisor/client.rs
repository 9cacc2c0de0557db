//! What a run asks of the supervisor.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;
use rustix::process::Signal;

use super::child::{self, Handle};
use super::{Desired, FORMAT, Observed, Paths, Spec};
use crate::process::{self, Identity};
use crate::workdir;

/// How long the supervisor may take to start.
const START: Duration = Duration::from_secs(5);
/// How long it may take to tell what it sees where its file was spoilt.
const TELL: Duration = Duration::from_secs(1);
/// How long it may take to stop everything.
const STOP: Duration = Duration::from_secs(30);

/// What is wanted now.
pub fn desired(run: &Path) -> Result<Desired> {
    Ok(workdir::read_json(&Paths(run).desired())?.unwrap_or_default())
}

/// What the supervisor saw last, whether it still lives or not.
pub fn observed(run: &Path) -> Result<Option<Observed>> {
    let deadline = Instant::now() + TELL;
    loop {
        let observed: Option<Observed> = workdir::read_json(&Paths(run).observed())?;
        let observed = observed.filter(|observed| observed.format == FORMAT);
        if observed.is_some() || !is_running(run) || Instant::now() > deadline {
            return Ok(observed);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the supervisor that runs now sees; none before it has told, whatever an earlier one saw.
pub fn current(run: &Path) -> Result<Option<Observed>> {
    Ok(observed(run)?.filter(|observed| observed.supervisor.is_alive()))
}

/// Whether a supervisor runs; the kernel knows, for it holds a lock.
pub fn is_running(run: &Path) -> bool {
    let Ok(lock) = File::open(Paths(run).lock()) else { return false };
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
}

/// Tells the supervisor what to run, and starts one if none does; gives the new generation.
pub fn apply(run: &Path, services: Vec<Spec>) -> Result<u64> {
    if is_running(run) && observed(run)?.is_none() {
        // A supervisor of another version of monstack cannot read what is wanted now.
        stop(run)?;
    }
    // Either file may have been lost; what the supervisor has told is older than what it is asked now in any case.
    let told = observed(run)?.map_or(0, |observed| observed.generation);
    let generation = desired(run)?.generation.max(told) + 1;
    workdir::write_json(&Paths(run).desired(), &Desired { generation, services })?;
    ensure(run)?;
    Ok(generation)
}

/// Starts a supervisor if none runs, and waits until it has looked around.
pub fn ensure(run: &Path) -> Result<()> {
    if is_running(run) {
        return Ok(());
    }
    workdir::make_folder(run)?;
    workdir::remove(&Paths(run).supervisor())?;
    let mut child = spawn(run)?;
    let deadline = Instant::now() + START;
    while !(is_running(run) && Paths(run).supervisor().exists()) {
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

fn spawn(run: &Path) -> Result<Child> {
    let log = workdir::append(&Paths(run).log(), workdir::PLAIN)?;
    let program = std::env::current_exe().context("cannot find monstack's own program")?;
    Command::new(program)
        .arg("__supervise")
        .arg(run)
        .current_dir("/")
        .env_clear()
        .envs(child::inherited())
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the log")?)
        .stderr(log)
        .spawn()
        .context("cannot start the supervisor")
}

/// Stops the supervisor and everything it keeps; gives the names of services that live on all the same.
pub fn stop(run: &Path) -> Result<Vec<String>> {
    let began = Instant::now();
    while is_running(run) {
        let patient = began.elapsed() < STOP;
        if let Some(supervisor) = supervisor(run) {
            let signal = if patient { Signal::TERM } else { Signal::KILL };
            process::signal(supervisor, signal).context("cannot stop the supervisor")?;
        } else if !patient {
            bail!("a process unknown to monstack holds `{}`", Paths(run).lock().display());
        }
        thread::sleep(Duration::from_millis(50));
    }
    let names = service_names(run);
    let services: Vec<Handle> = names.iter().map(|name| Handle::new(run, name)).collect();
    child::stop(&services);
    Ok(names.into_iter().filter(|name| child::is_held(run, name)).collect())
}

/// The supervisor, found by its lock where the file that names it was lost.
fn supervisor(run: &Path) -> Option<Identity> {
    let known: Option<Identity> = workdir::read_json(&Paths(run).supervisor()).ok()?;
    let holder = || process::lock_holders(&Paths(run).lock()).into_iter().find_map(Identity::of);
    known.filter(Identity::is_alive).or_else(holder)
}

/// Names of all services that ever took their lock here.
pub fn service_names(run: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(run) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".lock").map(str::to_owned))
        .filter(|name| name != "supervisor")
        .collect()
}

/// All living processes of the stack's services.
pub fn members(run: &Path) -> Vec<Identity> {
    service_names(run).iter().flat_map(|name| Handle::new(run, name).members()).collect()
}
