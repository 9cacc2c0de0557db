//! Turns this process into a service: takes its lock, writes its pid, then executes its program.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;
use rustix::io::FdFlags;

use super::Paths;
use crate::process::Identity;
use crate::workdir;

/// How long processes of the service's last life may take to go away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Becomes the service `name` of the stack whose `run` folder is given; returns only if that fails.
pub fn become_service(run: &Path, name: &str, program: &Path, args: &[String]) -> Result<()> {
    let paths = Paths(run);
    let lock = OpenOptions::new()
        .create(true)
        .append(true)
        .open(paths.service_lock(name))
        .context("cannot open the service's lock")?;
    let deadline = Instant::now() + PATIENCE;
    while rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > deadline {
            bail!("`{name}` still has a process of its last life");
        }
        thread::sleep(Duration::from_millis(20));
    }
    // The descriptor outlives the execution, so the kernel holds the lock as long as the service lives.
    rustix::io::fcntl_setfd(&lock, FdFlags::empty()).context("cannot keep the service's lock")?;
    let identity = Identity::of(std::process::id()).context("cannot read `/proc/self/stat`")?;
    workdir::write_json(&paths.pid(name), &identity)?;
    let error = Command::new(program).args(args).exec();
    Err(error).with_context(|| format!("cannot start `{}`", program.display()))
}
