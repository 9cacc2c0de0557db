//! Starting and stopping one service: only ever the process that we started, by pid and start time.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Paths, Spec};
use crate::component::Signal;
use crate::process::{self, Identity};
use crate::workdir;

/// How long a service may take to stop after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// Variables of the user's environment that services get; all others may hold secrets.
const INHERITED: &[&str] = &["PATH", "HOME", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Starts a service as the leader of a process group of its own.
pub fn start(run: &Path, spec: &Spec) -> Result<Child> {
    for folder in &spec.folders {
        workdir::make_folder(folder)?;
    }
    let log = workdir::append(&spec.log, workdir::PLAIN)?;
    // The supervisor may have been replaced on disk; `/proc/self/exe` still is what runs now.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("__service")
        .args([run, Path::new(&spec.name), &spec.program])
        .arg("--")
        .args(&spec.args)
        .env_clear()
        .envs(inherited())
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the log")?)
        .stderr(log)
        .current_dir(&spec.dir)
        .process_group(0);
    command.spawn().with_context(|| format!("cannot start `{}`", spec.name))
}

/// The few variables that services and the supervisor inherit.
pub fn inherited() -> impl Iterator<Item = (&'static str, String)> {
    INHERITED.iter().filter_map(|name| std::env::var(name).ok().map(|value| (*name, value)))
}

/// The process that wrote the service's pid file, if it still lives.
pub fn recorded(run: &Path, name: &str) -> Option<Identity> {
    let identity: Identity = workdir::read_json(&Paths(run).pid(name)).ok()??;
    identity.is_alive().then_some(identity)
}

/// All living processes of the service: the recorded one and the rest of its group.
pub fn members(run: &Path, name: &str) -> Vec<Identity> {
    let Ok(Some(leader)) = workdir::read_json::<Identity>(&Paths(run).pid(name)) else {
        return Vec::new();
    };
    process::group_of(&leader)
}

/// Sends a signal to the leader.
pub fn signal(leader: &Identity, signal: Signal) {
    let signal = match signal {
        Signal::Hup => rustix::process::Signal::HUP,
        Signal::Usr1 => rustix::process::Signal::USR1,
    };
    // A process that is gone needs no signal; the next look finds it dead.
    let _ = process::signal(*leader, signal);
}

/// Asks services to stop, all at once, and kills what has not gone when the grace is over.
pub fn stop(run: &Path, names: &[String]) {
    for name in names {
        if let Some(leader) = recorded(run, name) {
            let _ = process::signal(leader, rustix::process::Signal::TERM);
        }
    }
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && names.iter().any(|name| recorded(run, name).is_some()) {
        thread::sleep(Duration::from_millis(20));
    }
    for name in names {
        kill(run, name);
    }
}

/// Kills every process of the service that is left, and forgets the service.
pub fn kill(run: &Path, name: &str) {
    for _ in 0..50 {
        let members = members(run, name);
        if members.is_empty() {
            break;
        }
        for member in members {
            let _ = process::signal(member, rustix::process::Signal::KILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
    if members(run, name).is_empty() {
        // What cannot be removed is overwritten when the service starts again.
        let _ = workdir::remove(&Paths(run).pid(name));
    }
}

/// Whether some process of the service still holds its lock, even one that left its group.
pub fn is_held(run: &Path, name: &str) -> bool {
    let Ok(file) = File::open(Paths(run).service_lock(name)) else { return false };
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
}
