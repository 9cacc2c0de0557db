//! Small looks at files, and what a full disk is called.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::error::Note;

/// What to do about a full disk.
const MORE_ROOM: &str = "free some space, or point XDG_CACHE_HOME at another disk";
/// How other programs call it.
const FULL: &[&str] = &["No space left on device", "enough free space", "quota exceeded"];

/// How a file looked: enough to notice that it was replaced or edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its length in bytes.
    pub size: u64,
    /// When it was written, in seconds since 1970.
    pub seconds: i64,
    /// The nanoseconds of that second.
    pub nanoseconds: i64,
}

impl Stamp {
    /// How the file at `path`, or the one a link there leads to, looks now.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            size: metadata.size(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        })
    }
}

/// Whether there is a program at `path`.
pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Makes a folder and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    writing(fs::create_dir_all(path), path)
}

/// The files and folders in `folder`; none if it cannot be read.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Fails unless `bytes` more fit on the disk of `folder`, for programs that do worse than fail when it is full.
pub(crate) fn need_room(folder: &Path, bytes: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(folder)
        .with_context(|| format!("cannot look at the disk of `{}`", folder.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < bytes {
        let (free, wanted, folder) = (free >> 20, bytes >> 20, folder.display());
        return Err(anyhow!("{free} MiB are free on the disk of `{folder}`, wanted {wanted}"))
            .hint(MORE_ROOM);
    }
    Ok(())
}

/// The failure of somebody else's program: its last words, or the way out when the disk of `folder` is full.
pub(crate) fn failed<T>(name: &str, folder: &Path, error: &anyhow::Error) -> Result<T> {
    let error = format!("{error:#}");
    let words = last_words(&error);
    if FULL.iter().any(|full| words.contains(full)) {
        return no_space(folder);
    }
    Err(anyhow!("{name} failed with {words}"))
}

fn no_space<T>(path: &Path) -> Result<T> {
    Err(anyhow!("no space is left on the disk of `{}`", path.display())).hint(MORE_ROOM)
}

/// What a program said at last, without the command that started it, which the reader knows or which is long.
pub(crate) fn last_words(error: &str) -> &str {
    error.rsplit_once("` failed with ").map_or(error, |(_, words)| words).trim()
}

/// Names the place of a failed write and the way out.
pub(crate) fn writing<T>(result: io::Result<T>, path: &Path) -> Result<T> {
    let Err(error) = &result else { return Ok(result?) };
    let (message, hint) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => return no_space(path),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (
            format!("`{}` cannot be written", path.display()),
            format!("ls -ld '{}'; or point XDG_CACHE_HOME elsewhere", path.display()),
        ),
        _ => return result.with_context(|| format!("cannot write `{}`", path.display())),
    };
    result.context(message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::hint_of;

    #[test]
    fn a_full_disk_is_known_by_the_words_of_others() {
        let error = anyhow!(
            "`pip install x` failed with exit status: 1: [Errno 28] No space left on device"
        );
        let full = failed::<()>("pip", Path::new("/cache"), &error).unwrap_err();
        assert_eq!(full.to_string(), "no space is left on the disk of `/cache`");
        assert_eq!(hint_of(&full), Some(MORE_ROOM));
        let error = anyhow!("`pip install x` failed with exit status: 1: no wheel");
        let other = failed::<()>("pip", Path::new("/cache"), &error).unwrap_err();
        assert_eq!(other.to_string(), "pip failed with exit status: 1: no wheel");
    }

    #[test]
    fn too_little_room_is_said_in_numbers() {
        let folder = tempfile::tempdir().unwrap();
        assert!(need_room(folder.path(), 0).is_ok());
        let error = need_room(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.ends_with("wanted 17592186044415"), "{error}");
    }
}
