//! Turns this process into a service: takes its lock, writes its pid, then executes its program.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::FdFlags;
use rustix::process::Signal;

use super::Paths;
use crate::process::Identity;
use crate::workdir;

/// How long processes of the service's last life may take to go away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Becomes the service `name` of the stack whose `run` folder is given; returns only if that fails.
pub fn become_service(run: &Path, name: &str, program: &Path, args: &[String]) -> Result<()> {
    let paths = Paths(run);
    live_with_the_supervisor(&paths)?;
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(paths.service_lock(name))
        .context("cannot open the service's lock")?;
    if !workdir::lock_within(&lock, PATIENCE) {
        bail!("`{name}` still has a process of its last life");
    }
    // The descriptor outlives the execution, so the kernel holds the lock as long as the service lives.
    rustix::io::fcntl_setfd(&lock, FdFlags::empty()).context("cannot keep the service's lock")?;
    let identity = Identity::of(std::process::id()).context("cannot read `/proc/self/stat`")?;
    workdir::replace_json(&paths.pid(name), &identity)?;
    rustix::process::set_parent_process_death_signal(None).context("cannot become a service")?;
    let error = Command::new(program).args(args).exec();
    Err(error).with_context(|| format!("cannot start `{}`", program.display()))
}

/// Until the pid file is written nobody but the supervisor knows this process, so it must not outlive it.
fn live_with_the_supervisor(paths: &Paths<'_>) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot follow the supervisor")?;
    let supervisor: Option<Identity> = workdir::read_json(&paths.supervisor())?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if supervisor.is_some_and(|supervisor| Some(supervisor.pid) != parent) {
        bail!("the supervisor that started this is gone");
    }
    Ok(())
}
