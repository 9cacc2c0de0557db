//! The stack's lock: one writer, and it cannot rot.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::{PLAIN, append, is_full, read_json, remove, write_json};
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::process::{self, Identity};

/// How often the holder says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often one who waits looks again.
const LOOK: Duration = Duration::from_millis(200);
/// After how long without a heartbeat a holder on another host is taken for dead.
const EXPIRY: i64 = 30;

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub process: Identity,
    /// The host it runs on.
    pub host: String,
    /// The boot of that host, for pids start anew with it.
    pub boot: String,
    /// Since when it holds the lock.
    pub since: Timestamp,
    /// Its last heartbeat.
    pub heartbeat: Timestamp,
    /// What it does.
    pub command: String,
}

impl Holder {
    fn this(command: &str) -> Result<Self> {
        let process = Identity::of(std::process::id()).context("cannot read `/proc/self/stat`")?;
        let now = Timestamp::now();
        Ok(Self {
            process,
            host: process::hostname(),
            boot: process::boot_id().unwrap_or_default(),
            since: now,
            heartbeat: now,
            command: command.to_owned(),
        })
    }

    /// Whether the holder is known to be gone: at once on this host, after the lease elsewhere.
    pub fn is_dead(&self) -> bool {
        if self.host == process::hostname() {
            return self.boot != process::boot_id().unwrap_or_default() || !self.process.is_alive();
        }
        Timestamp::now().as_second() - self.heartbeat.as_second() > EXPIRY
    }

    fn is_same(&self, other: &Self) -> bool {
        self.process == other.process && self.host == other.host && self.boot == other.boot
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (pid {} on `{}`)", self.command, self.process.pid, self.host)
    }
}

/// A lock that is held until it is dropped.
pub enum Lock {
    /// Its holder is written down.
    Written(Beat),
    /// On a full disk nothing can be written down, so the guard itself is kept: others wait until it is free.
    Guarded(File),
}

/// Says again and again that the holder is alive.
pub struct Beat {
    path: PathBuf,
    holder: Holder,
    over: Arc<AtomicBool>,
    heart: Option<JoinHandle<()>>,
}

/// Takes the lock at `path`; gives the dead holder whose lock was broken.
///
/// As long as another one holds it, `wait` is asked: it fails when nobody wants to wait any longer.
pub fn take(
    path: &Path,
    command: &str,
    wait: &mut dyn FnMut(&Holder) -> Result<()>,
) -> Result<(Lock, Option<Holder>)> {
    loop {
        let holder = Holder::this(command)?;
        match try_take(path, &holder)? {
            Attempt::Taken { broken } => {
                return Ok((Lock::Written(Beat::start(path, holder)), broken));
            }
            Attempt::Guarded(guard) => return Ok((Lock::Guarded(guard), None)),
            Attempt::Held(other) => wait(&other)?,
        }
        thread::sleep(LOOK);
    }
}

/// Who holds the lock at `path`, if anybody does.
pub fn holder(path: &Path) -> Result<Option<Holder>> {
    read_json(path)
}

/// Removes the lock at `path` whoever holds it; gives the one who did.
pub fn break_open(path: &Path) -> Result<Option<Holder>> {
    let _guard = guard(path)?;
    let holder = holder(path)?;
    remove(path)?;
    Ok(holder)
}

enum Attempt {
    Taken { broken: Option<Holder> },
    Guarded(File),
    Held(Holder),
}

fn try_take(path: &Path, holder: &Holder) -> Result<Attempt> {
    let guard = guard(path)?;
    let broken = match self::holder(path)? {
        Some(other) if !other.is_dead() => return Ok(Attempt::Held(other)),
        other => other,
    };
    match write_json(path, holder) {
        Ok(_) => Ok(Attempt::Taken { broken }),
        Err(error) if is_full(&error) => Ok(Attempt::Guarded(guard)),
        Err(error) => Err(error),
    }
}

/// The error that names who holds the lock.
pub fn held(other: &Holder) -> anyhow::Error {
    let message = format!(
        "the stack is locked by {other}, since {}",
        other.since.strftime("%Y-%m-%d %H:%M:%S UTC"),
    );
    let hint = "wait for it with `--lock-wait 5m`, or type `monstack lock break` if you know that it is dead";
    hinted(failure(Exit::LOCKED, message), hint)
}

/// Held for the moment in which the lock file is looked at and changed; the kernel frees it with the process.
fn guard(path: &Path) -> Result<File> {
    let file = append(&path.with_file_name("guard"), PLAIN)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)
        .context("cannot lock the lock's guard")?;
    Ok(file)
}

impl Beat {
    fn start(path: &Path, holder: Holder) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let heart = thread::spawn({
            let (path, mut holder, over) = (path.to_owned(), holder.clone(), Arc::clone(&over));
            move || {
                loop {
                    thread::park_timeout(HEARTBEAT);
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    holder.heartbeat = Timestamp::now();
                    // A beat that cannot be written is tried again; on this host the pid decides anyway.
                    let _ = while_held(&path, &holder, || write_json(&path, &holder).map(|_| ()));
                }
            }
        });
        Self { path: path.to_owned(), holder, over, heart: Some(heart) }
    }
}

/// Does `act` if `holder` still holds the lock at `path`.
fn while_held(path: &Path, holder: &Holder, act: impl FnOnce() -> Result<()>) -> Result<()> {
    // Where somebody removed the folder nothing is held, and nothing may be made again.
    if !path.exists() {
        return Ok(());
    }
    let _guard = guard(path)?;
    let is_ours = self::holder(path)?.is_some_and(|now| now.is_same(holder));
    if is_ours { act() } else { Ok(()) }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(heart) = self.heart.take() {
            heart.thread().unpark();
            // A heart that panicked beats no more, which is all that matters here.
            let _ = heart.join();
        }
        // A lock that could not be removed is broken by the next run, for its holder is dead by then.
        let _ = while_held(&self.path, &self.holder, || remove(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_of;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        (folder, path)
    }

    fn try_once(path: &Path, command: &str) -> Result<(Lock, Option<Holder>)> {
        take(path, command, &mut |other| Err(held(other)))
    }

    #[test]
    fn a_second_run_is_refused_and_told_by_whom() {
        let (_folder, path) = place();
        let (lock, _) = try_once(&path, "monstack up").unwrap();
        let error = try_once(&path, "monstack down").map(|_| ()).unwrap_err();
        assert_eq!(exit_of(&error), Exit::LOCKED);
        assert!(error.to_string().contains("`monstack up`"), "{error}");
        drop(lock);
        assert_eq!(holder(&path).unwrap(), None);
        try_once(&path, "monstack down").unwrap();
    }

    #[test]
    fn a_dead_holder_of_this_host_is_broken_at_once() {
        let (_folder, path) = place();
        let mut dead = Holder::this("monstack up").unwrap();
        dead.process.start += 1;
        write_json(&path, &dead).unwrap();
        let (_lock, broken) = try_once(&path, "monstack down").unwrap();
        assert_eq!(broken.unwrap().command, "monstack up");
    }

    #[test]
    fn a_holder_elsewhere_is_broken_after_its_lease() {
        let (_folder, path) = place();
        let mut far = Holder::this("monstack up").unwrap();
        far.host = "elsewhere".to_owned();
        write_json(&path, &far).unwrap();
        assert!(try_once(&path, "monstack down").is_err());
        far.heartbeat = Timestamp::now() - Duration::from_secs(31);
        write_json(&path, &far).unwrap();
        assert!(try_once(&path, "monstack down").is_ok());
    }

    #[test]
    fn of_many_at_once_one_gets_it() {
        let (_folder, path) = place();
        let taken: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| try_once(&path, "monstack up").ok())).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(taken.len(), 1);
    }
}
