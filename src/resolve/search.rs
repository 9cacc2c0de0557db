//! Programs that are on the machine already.

use std::env::split_paths;
use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::attempt::{Wanted, reason};
use super::identity::{Located, identify};
use super::{Found, Origin, disk};
use crate::error::exit_of;
use crate::exit::Exit;

/// Folders in which distributions keep servers, and which the PATH of an ordinary user may lack.
const SYSTEM: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The first program on PATH that is the one wanted; others of the same name are passed over.
pub(crate) fn find(wanted: &Wanted<'_>) -> Result<Found> {
    let mut names = vec![wanted.program.name];
    names.extend(wanted.native().map_or(&[][..], |native| native.aliases));
    let mut reasons = Vec::new();
    for path in candidates(&wanted.sources.path, &names) {
        let source = path.display().to_string();
        let located = Located::loose(path, wanted.program.name);
        match identify(wanted, located, (Origin::SearchPath, source)) {
            Ok(found) => return Ok(found),
            Err(error) if exit_of(&error) == Exit::INTERRUPTED => return Err(error),
            Err(error) => reasons.push(reason(&error)),
        }
    }
    if reasons.is_empty() {
        bail!("there is no `{}`", names.join("`, `"));
    }
    bail!("{}", reasons.join("\n"))
}

/// The first program of this name, whatever it is.
pub(crate) fn first(path: &OsStr, name: &str) -> Option<PathBuf> {
    candidates(path, &[name]).into_iter().next()
}

/// All programs with one of `names`, folder by folder, each file once.
pub(crate) fn candidates(path: &OsStr, names: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut known = Vec::new();
    // A folder that depends on where one stands is nothing to start a service from.
    let own = split_paths(path).filter(|folder| folder.is_absolute());
    for folder in own.chain(SYSTEM.iter().map(PathBuf::from)) {
        for name in names {
            let path = folder.join(name);
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            if disk::is_executable(&path) && !known.contains(&real) {
                known.push(real);
                found.push(path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn each_program_is_found_once_and_in_order() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str, mode: u32| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let plain = file("a/zz-nginx", 0o644);
        let alias = file("b/zz-nginx-alias", 0o755);
        let named = file("c/zz-nginx", 0o755);
        symlink(&named, root.path().join("b/zz-nginx")).unwrap();
        let folders = ["a", "b", "c"].map(|folder| root.path().join(folder));
        let path = std::env::join_paths(folders).unwrap();
        let found = candidates(&path, &["zz-nginx", "zz-nginx-alias"]);
        assert_eq!(found, [root.path().join("b/zz-nginx"), alias]);
        assert!(!found.contains(&plain));
    }
}
