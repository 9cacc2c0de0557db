//! Rotates log files by size.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Size at which a log file is rotated.
pub const LIMIT: u64 = 16 << 20;
/// How many old files are kept.
pub const KEPT: u32 = 3;

/// How a log file gives way to a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Renamed; the writer is then told to reopen it, or notices by itself.
    Rename,
    /// Copied and cut, for writers that never reopen; lines written in that instant are lost.
    Cut,
}

/// Rotates `path` if it is over `limit`; says whether it did.
pub fn rotate(path: &Path, limit: u64, way: Way) -> io::Result<bool> {
    if fs::metadata(path).map_or(0, |metadata| metadata.len()) < limit {
        return Ok(false);
    }
    for number in (1..KEPT).rev() {
        let old = numbered(path, number);
        if old.exists() {
            fs::rename(old, numbered(path, number + 1))?;
        }
    }
    match way {
        Way::Rename => fs::rename(path, numbered(path, 1))?,
        Way::Cut => {
            fs::copy(path, numbered(path, 1))?;
            fs::OpenOptions::new().write(true).open(path)?.set_len(0)?;
        }
    }
    Ok(true)
}

/// `app.log` becomes `app.log.1`, which no `*.log` pattern finds again.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_old_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        for round in 0..6 {
            fs::write(&path, format!("{round}")).unwrap();
            assert!(rotate(&path, 1, Way::Rename).unwrap());
        }
        assert!(!path.exists());
        let kept: Vec<_> =
            (1..=4).map(|number| fs::read_to_string(numbered(&path, number)).ok()).collect();
        assert_eq!(kept, [Some("5".into()), Some("4".into()), Some("3".into()), None]);
    }

    #[test]
    fn a_cut_file_keeps_its_writer() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let mut writer = fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
        writer.write_all(b"old\n").unwrap();
        assert!(rotate(&path, 4, Way::Cut).unwrap());
        writer.write_all(b"new\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
        assert_eq!(fs::read(numbered(&path, 1)).unwrap(), b"old\n");
    }

    #[test]
    fn a_small_or_absent_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!rotate(&folder.path().join("none.log"), 1, Way::Cut).unwrap());
    }
}
