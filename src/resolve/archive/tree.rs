//! The folder that an archive fills, and its bounds.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use super::super::disk;
use crate::error::failure;
use crate::exit::Exit;

/// How much an archive may unpack to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
}

/// More than any release has, and less than what fills a disk.
pub(super) const LIMITS: Limits = Limits { bytes: 4 << 30, entries: 100_000 };

/// The folder that an archive fills. Links are made last, so that nothing is ever written through one.
pub(super) struct Tree<'a> {
    root: PathBuf,
    links: Vec<(PathBuf, PathBuf)>,
    limits: Limits,
    left: Limits,
    interrupted: &'a AtomicBool,
}

impl<'a> Tree<'a> {
    /// A new, empty folder.
    pub(super) fn new(root: &Path, limits: Limits, interrupted: &'a AtomicBool) -> Result<Self> {
        disk::writing(fs::create_dir(root), root)?;
        let root = root.canonicalize()?;
        Ok(Self { root, links: Vec::new(), limits, left: limits, interrupted })
    }

    /// Adds a folder.
    pub(super) fn folder(&mut self, path: &Path) -> Result<()> {
        self.count()?;
        let path = inside(path)?;
        self.make_folder(&path)
    }

    /// Adds a file with `mode`, of which the special bits and the right of others to write are dropped.
    pub(super) fn file(
        &mut self,
        path: &Path,
        (mode, content): (u32, &mut dyn Read),
    ) -> Result<()> {
        self.count()?;
        let path = self.vacant(path)?;
        let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
        let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let file = disk::writing(made, &path)?;
        self.fill(&path, file, content)
    }

    /// Adds a second name of a file that was unpacked before.
    pub(super) fn hard_link(&mut self, path: &Path, target: &Path) -> Result<()> {
        self.count()?;
        let shown = target.display();
        let target = self.root.join(inside(target)?);
        if !fs::symlink_metadata(&target).is_ok_and(|file| file.is_file()) {
            bail!("`{}` is a hard link to `{shown}`, which is no file before it", path.display());
        }
        let path = self.vacant(path)?;
        disk::writing(fs::hard_link(&target, &path), &path)
    }

    /// Adds a symbolic link; it is made by `finish`.
    pub(super) fn symbolic_link(&mut self, path: &Path, target: &Path) -> Result<()> {
        self.count()?;
        let path = inside(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut depth = folder.components().count();
        for part in target.components() {
            match part {
                Component::Normal(_) => depth += 1,
                Component::CurDir => {}
                Component::ParentDir if depth > 0 => depth -= 1,
                _ => bail!(
                    "`{}` is a link to `{}`, which leaves the folder",
                    path.display(),
                    target.display()
                ),
            }
        }
        self.links.push((path, target.to_owned()));
        Ok(())
    }

    /// Makes the links and proves that none leads out; one that leads nowhere is left out.
    pub(super) fn finish(mut self) -> Result<()> {
        let links = std::mem::take(&mut self.links);
        for (path, target) in &links {
            let full = self.vacant(path)?;
            disk::writing(symlink(target, &full), &full)?;
        }
        for (path, target) in &links {
            match self.root.join(path).canonicalize() {
                Ok(real) if real.starts_with(&self.root) => {}
                Ok(_) => bail!(
                    "`{}` is a link to `{}`, which leaves the folder",
                    path.display(),
                    target.display()
                ),
                Err(_) => {
                    let full = self.root.join(path);
                    disk::writing(fs::remove_file(&full), &full)?;
                }
            }
        }
        Ok(())
    }

    /// The full path of an entry whose folder is there and real, and which itself is not there.
    fn vacant(&self, path: &Path) -> Result<PathBuf> {
        let inside = inside(path)?;
        let (Some(folder), Some(_)) = (inside.parent(), inside.file_name()) else {
            bail!("an entry has no name");
        };
        self.make_folder(folder)?;
        let full = self.root.join(&inside);
        if fs::symlink_metadata(&full).is_ok() {
            bail!("`{}` is there twice", path.display());
        }
        Ok(full)
    }

    /// Makes a folder and those above it, none of which may be a link.
    fn make_folder(&self, folder: &Path) -> Result<()> {
        let mut full = self.root.clone();
        for part in folder.components() {
            full.push(part);
            match fs::create_dir(&full) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(&full)?.is_dir() {
                        bail!("`{}` is no folder", folder.display());
                    }
                }
                made => disk::writing(made, &full)?,
            }
        }
        Ok(())
    }

    fn fill(&mut self, path: &Path, mut file: File, content: &mut dyn Read) -> Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) => return Err(error).context("the archive is damaged"),
            };
            self.check()?;
            self.left.bytes = match self.left.bytes.checked_sub(count as u64) {
                Some(left) => left,
                None => bail!("it unpacks to more than {} bytes", self.limits.bytes),
            };
            disk::writing(file.write_all(&buffer[..count]), path)?;
        }
    }

    fn count(&mut self) -> Result<()> {
        self.check()?;
        self.left.entries = match self.left.entries.checked_sub(1) {
            Some(left) => left,
            None => bail!("it has more than {} entries", self.limits.entries),
        };
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(failure(Exit::INTERRUPTED, "unpacking was interrupted"));
        }
        Ok(())
    }
}

/// `path` without `.`, if it stays in the folder.
fn inside(path: &Path) -> Result<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            _ => bail!("`{}` leaves the folder", path.display()),
        }
    }
    Ok(inside)
}
