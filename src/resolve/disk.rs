//! Small looks at files, and what a full disk is called.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::error::Note;

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

/// Names the place of a failed write and the way out.
pub(crate) fn writing<T>(result: io::Result<T>, path: &Path) -> Result<T> {
    let Err(error) = &result else { return Ok(result?) };
    let (message, hint) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
            format!("no space is left on the disk of `{}`", path.display()),
            "free some space, or point XDG_CACHE_HOME at another disk".to_owned(),
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (
            format!("`{}` cannot be written", path.display()),
            format!("ls -ld '{}'; or point XDG_CACHE_HOME elsewhere", path.display()),
        ),
        _ => return result.with_context(|| format!("cannot write `{}`", path.display())),
    };
    result.context(message).hint(hint)
}
