//! Files of a stack: written whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::FlockOperation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{coded, hinted};
use crate::exit::Exit;
use crate::layout::Layout;

pub mod journal;
pub mod lock;

/// Mode of files that hold a secret.
pub const SECRET: u32 = 0o600;
/// Mode of all other files.
pub const PLAIN: u32 = 0o644;

/// Makes the folder of all stacks, and in it the `.gitignore` that keeps all of it out of repositories.
pub fn create_home(layout: &Layout) -> Result<()> {
    let Some(home) = layout.root().parent() else { return Ok(()) };
    make_folder(home)?;
    write(&home.join(".gitignore"), b"*\n", PLAIN).map(|_| ())
}

/// Makes the stack's folder.
pub fn create(layout: &Layout) -> Result<()> {
    create_home(layout)?;
    make_folder(layout.root())?;
    make_private_folder(&layout.secrets())
}

/// Makes a folder and those above it.
pub fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path)
        .with_context(|| format!("cannot make folder `{}`", path.display()))
        .map_err(way_out)
}

/// Makes a folder that only its owner may enter.
pub fn make_private_folder(path: &Path) -> Result<()> {
    make_folder(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
        .with_context(|| format!("cannot close folder `{}` to others", path.display()))
}

/// Writes a file by renaming a complete one into place; says whether anything changed.
pub fn write(path: &Path, contents: &[u8], mode: u32) -> Result<bool> {
    if is_already(path, contents, mode) {
        return Ok(false);
    }
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    replace(path, contents, mode).map(|()| true)
}

/// Puts a complete file in the place of another one; the folder must be there.
fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".write-").tempfile_in(folder)?;
        file.write_all(contents)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_data()?;
        file.persist(path)?;
        Ok(())
    };
    attempt().with_context(|| format!("cannot write `{}`", path.display())).map_err(way_out)
}

/// The contents of a file, or none if it is absent, be it that one of its folders is a file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

/// Reads a JSON file; none if it is absent or was not written by this version.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    Ok(read(path)?.and_then(|contents| serde_json::from_slice(&contents).ok()))
}

/// Writes a value as JSON.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<bool> {
    write(path, &json(value)?, PLAIN)
}

/// Writes a value as JSON into a folder that is not made anew where somebody removed it.
pub fn replace_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    replace(path, &json(value)?, PLAIN)
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut contents = serde_json::to_vec_pretty(value)?;
    contents.push(b'\n');
    Ok(contents)
}

/// Takes the kernel's lock on a file for this process alone; says whether it could be had within `patience`.
pub fn lock_within(file: &File, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Removes a file; an absent one is no error.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it, or a file in its place; an absent one is no error.
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => remove(path),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

fn is_already(path: &Path, contents: &[u8], mode: u32) -> bool {
    let same_mode = fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o777 == mode);
    same_mode && fs::read(path).is_ok_and(|old| old == contents)
}

/// Whether an error says that the disk is full.
pub fn is_full(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

/// Adds what the user can do about a full disk or a folder that cannot be written.
fn way_out(error: anyhow::Error) -> anyhow::Error {
    let hint = match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        _ if is_full(&error) => {
            "free some space, or use another disk with `-C DIR`; nothing was left half-written"
        }
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            "use a folder that you may write: `-C DIR` for stacks, `XDG_STATE_HOME` and `XDG_CACHE_HOME` for what they share"
        }
        Some(ErrorKind::NotADirectory | ErrorKind::AlreadyExists) => {
            "a file lies where a folder is needed; move it away, or use another folder with `-C DIR`"
        }
        _ => return error,
    };
    coded(hinted(error, hint), Exit::STEP)
}

/// Opens a file for appending with the given mode.
pub fn append(path: &Path, mode: u32) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("cannot open `{}`", path.display()))
        .map_err(way_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.yml");
        assert!(write(&path, b"x", PLAIN).unwrap());
        assert!(!write(&path, b"x", PLAIN).unwrap());
        assert!(write(&path, b"y", PLAIN).unwrap());
        assert_eq!(read(&path).unwrap().unwrap(), b"y");
    }

    #[test]
    fn a_wrong_mode_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        write(&path, b"x", PLAIN).unwrap();
        assert!(write(&path, b"x", SECRET).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SECRET);
    }

    #[test]
    fn the_folder_is_ignored_by_git_and_secrets_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join(".monstack/demo"));
        create(&layout).unwrap();
        assert_eq!(fs::read(folder.path().join(".monstack/.gitignore")).unwrap(), b"*\n");
        assert_eq!(fs::metadata(layout.secrets()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = write(folder.path(), b"x", PLAIN).unwrap_err();
        assert!(error.to_string().starts_with("cannot write `"), "{error}");
    }
}
