//! Starting and stopping one service: only ever the process that we started, by pid and start time.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Paths, Spec};
use crate::component::Signal;
use crate::process::{self, Identity};
use crate::workdir;

/// How long a service may take to stop after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(10);

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

/// A service whose processes can be found: by what the supervisor remembers, and by the pid file.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The `run` folder and the service's name in it; none where the folder is gone or another stack's by now.
    place: Option<(PathBuf, String)>,
    remembered: Option<Identity>,
}

impl Handle {
    /// A service of which nothing is known but what its files in `run` say.
    pub fn new(run: &Path, name: &str) -> Self {
        Self { place: Some((run.to_owned(), name.to_owned())), remembered: None }
    }

    /// A service of which nothing is left but what the supervisor remembers.
    pub fn homeless(leader: Option<Identity>) -> Self {
        Self { place: None, remembered: leader }
    }

    /// Adds what the supervisor remembers, for the files may be gone.
    #[must_use]
    pub fn remember(mut self, leader: Option<Identity>) -> Self {
        self.remembered = leader;
        self
    }

    /// The process that wrote the pid file, if it still lives.
    pub fn recorded(&self) -> Option<Identity> {
        let (run, name) = self.place.as_ref()?;
        let identity: Option<Identity> = workdir::read_json(&Paths(run).pid(name)).ok()?;
        identity.filter(Identity::is_alive)
    }

    /// All living processes of the service: its leader and the rest of the leader's group.
    pub fn members(&self) -> Vec<Identity> {
        self.leaders().iter().flat_map(process::group_of).collect()
    }

    /// Leaders of its groups, living or not; where neither memory nor file knows, the holders of its lock tell.
    fn leaders(&self) -> Vec<Identity> {
        let recorded = self.recorded().filter(|leader| self.remembered != Some(*leader));
        let known: Vec<Identity> = self.remembered.into_iter().chain(recorded).collect();
        let Some((run, name)) = &self.place else { return known };
        if known.iter().any(|leader| !process::group_of(leader).is_empty()) || !is_held(run, name) {
            return known;
        }
        let holders = process::lock_holders(&Paths(run).service_lock(name));
        let groups: BTreeSet<Identity> =
            holders.into_iter().filter_map(process::leader_of).collect();
        groups.into_iter().collect()
    }

    /// Nothing of it lives; a pid file that cannot be removed is overwritten when the service starts again.
    fn forget(&self) {
        if let Some((run, name)) = &self.place {
            let _ = workdir::remove(&Paths(run).pid(name));
        }
    }
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
pub fn stop(services: &[Handle]) {
    let leaders: Vec<Identity> = services.iter().flat_map(Handle::leaders).collect();
    for leader in &leaders {
        let _ = process::signal(*leader, rustix::process::Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && leaders.iter().any(Identity::is_alive) {
        thread::sleep(Duration::from_millis(20));
    }
    services.iter().for_each(kill);
}

/// Kills every process of the service that is left, and forgets the service.
pub fn kill(service: &Handle) {
    for _ in 0..50 {
        let members = service.members();
        if members.is_empty() {
            return service.forget();
        }
        for member in members {
            let _ = process::signal(member, rustix::process::Signal::KILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether some process of the service still holds its lock, even one that left its group.
pub fn is_held(run: &Path, name: &str) -> bool {
    let Ok(file) = File::open(Paths(run).service_lock(name)) else { return false };
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
}
