//! The cache: one folder per fetched program, complete or not there at all.
//!
//! `<cache>/<component>/<key>/` holds `files/` and `manifest.json`. It is made elsewhere and renamed, so a
//! run that is killed leaves only a folder `.part-*`, which a later run sweeps.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::identity::Located;
use super::lock::PinnedBy;
use super::transfer::sha256_of;
use super::{Sources, Stamp, disk};
use crate::report::Event;

/// What begins the name of a folder that is not complete.
const PART: &str = ".part-";
/// How old such a folder must be before it is taken for left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a lock that another run holds is tried.
const RETRY: Duration = Duration::from_millis(50);
/// After how many times the user is told.
const TELL_AT: u32 = 20;

/// What an entry holds; all paths are relative to its `files/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Where it came from: a URL, or `package=version`.
    pub source: String,
    /// SHA-256 of the archive.
    pub sha256: Option<String>,
    /// Who vouched for it.
    pub pinned_by: Option<PinnedBy>,
    /// The program.
    pub program: PathBuf,
    /// Folder of what belongs to it.
    pub home: PathBuf,
    /// Folders of shared libraries.
    pub libraries: Vec<PathBuf>,
    /// SHA-256 of the program.
    pub program_sha256: String,
    /// How the program looked when the entry was made.
    pub stamp: Option<Stamp>,
}

/// The place of an entry.
pub(crate) struct Entry {
    folder: PathBuf,
}

impl Entry {
    /// The entry `key` of the folder of a component.
    pub(crate) fn new(parent: &Path, key: &str) -> Self {
        Self { folder: parent.join(key) }
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it holds, if it is complete and its program is the one that was unpacked.
    pub(crate) fn open(&self) -> Option<Manifest> {
        let text = fs::read(self.folder.join("manifest.json")).ok()?;
        let manifest: Manifest = serde_json::from_slice(&text).ok()?;
        let program = self.located(&manifest).program;
        let unchanged = Stamp::of(&program).ok()? == manifest.stamp?
            || sha256_of(&program).ok()? == manifest.program_sha256;
        (unchanged && disk::is_executable(&program)).then_some(manifest)
    }

    /// Where its program is.
    pub(crate) fn located(&self, manifest: &Manifest) -> Located {
        let files = self.folder.join("files");
        Located {
            program: files.join(&manifest.program),
            home: files.join(&manifest.home),
            libraries: manifest.libraries.iter().map(|folder| files.join(folder)).collect(),
        }
    }

    /// Waits until no other run makes this entry; the lock ends when it is dropped, or with the process.
    pub(crate) fn lock(&self, sources: &Sources<'_>) -> Result<Lock> {
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        let path = self.folder.with_file_name(format!(".{name}.lock"));
        Lock::take(&path, sources)
    }

    /// Puts a complete folder in the place of the entry; the caller holds its lock.
    pub(crate) fn publish(&self, staging: TempDir, mut manifest: Manifest) -> Result<Manifest> {
        let files = staging.path().join("files");
        let program = files.join(&manifest.program);
        let mode = fs::Permissions::from_mode(0o755);
        disk::writing(fs::set_permissions(&program, mode), &program)?;
        disk::writing(File::open(&program).and_then(|file| file.sync_all()), &program)?;
        manifest.program_sha256 = sha256_of(&program)?;
        manifest.stamp = Some(Stamp::of(&program)?);
        let path = staging.path().join("manifest.json");
        write(&path, &serde_json::to_vec_pretty(&manifest)?)?;
        if self.folder.exists() {
            // It is damaged, or `open` would have taken it; it leaves its place in one step.
            let aside = staging_in(self.folder.parent().unwrap_or(Path::new(".")))?;
            disk::writing(fs::rename(&self.folder, aside.path().join("damaged")), &self.folder)?;
        }
        let done = staging.keep();
        let renamed = disk::writing(fs::rename(&done, &self.folder), &self.folder);
        if renamed.is_err() {
            // Nothing uses it, and a later run sweeps what cannot be removed now.
            let _ = fs::remove_dir_all(&done);
        }
        renamed.map(|()| manifest)
    }
}

/// A lock between runs, and between threads of one run.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock at `path` as long as the user does.
    pub(crate) fn take(path: &Path, sources: &Sources<'_>) -> Result<Self> {
        disk::make_folder(path.parent().unwrap_or(Path::new(".")))?;
        let file = disk::writing(File::create(path), path)?;
        for tries in 0_u32.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot lock `{}`", path.display()));
                }
            }
            if tries == TELL_AT {
                let message = format!("waiting for another run that holds `{}`", path.display());
                sources.report.event(Event::step("cache", message));
            }
            sources.check()?;
            thread::sleep(RETRY);
        }
        bail!("`{}` stays locked", path.display())
    }
}

/// A folder below `parent` that is removed unless it becomes an entry.
pub(crate) fn staging_in(parent: &Path) -> Result<TempDir> {
    disk::make_folder(parent)?;
    let made = tempfile::Builder::new().prefix(PART).tempdir_in(parent);
    let staging = disk::writing(made, parent)?;
    // Other users of a shared cache may read what becomes of it.
    let mode = fs::Permissions::from_mode(0o755);
    disk::writing(fs::set_permissions(staging.path(), mode), staging.path())?;
    Ok(staging)
}

/// Removes folders that a killed run left behind a day ago or earlier.
pub(crate) fn sweep(parent: &Path) {
    for path in disk::entries(parent) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PART) && age(&path).is_some_and(|age| age > LEFT_BEHIND) {
            // What cannot be removed now is tried again by the next run.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// How long ago the newest thing in `folder` was written.
pub(crate) fn age(folder: &Path) -> Option<Duration> {
    let mut paths = disk::entries(folder);
    paths.push(folder.to_owned());
    let newest =
        paths.iter().filter_map(|path| fs::symlink_metadata(path).ok()?.modified().ok()).max()?;
    SystemTime::now().duration_since(newest).ok()
}

/// Writes a file and waits until the disk has it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    disk::writing(written, path)
}

/// Refuses a name that would lead out of a folder.
pub(crate) fn plain_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+~.".contains(c);
    if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(plain) {
        bail!("`{name}` is not a version: letters, digits and `-_+~.` make one, such as `3.5.0`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn age_by(path: &Path, age: Duration) {
        let then = SystemTime::now() - age;
        File::open(path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn only_old_parts_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (name, old) in [(".part-old", 25), (".part-new", 1), ("1.0-amd64", 900)] {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            let file = folder.join("archive");
            fs::write(&file, "half").unwrap();
            age_by(&file, hours(old));
            age_by(&folder, hours(old));
        }
        sweep(parent.path());
        let left: Vec<_> = disk::entries(parent.path());
        assert_eq!(left, [parent.path().join(".part-new"), parent.path().join("1.0-amd64")]);
    }

    #[test]
    fn a_version_cannot_lead_out_of_the_cache() {
        for bad in ["", "..", "../x", "a/b", "-x", ".x", "1.0 2", "1\n"] {
            assert!(plain_name(bad).is_err(), "{bad:?}");
        }
        for good in ["3.14.0", "1.22.1-9+deb12u10", "2.0~rc.1"] {
            assert!(plain_name(good).is_ok(), "{good}");
        }
    }
}
