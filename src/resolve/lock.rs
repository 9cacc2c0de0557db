//! `components.lock`: which checksum was taken for which file. It is meant to be shared.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::attempt::Wanted;
use super::cache::Lock;
use super::{Sources, disk};
use crate::error::Note;

/// Who vouches for a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PinnedBy {
    /// It is in monstack's own catalogue.
    Monstack,
    /// Upstream's checksum file said so, over TLS.
    Upstream,
    /// The mirror's checksum file said so.
    Mirror,
}

/// The whole file: component names to what is locked.
type File = BTreeMap<String, Component>;

#[derive(Debug, Serialize, Deserialize)]
struct Component {
    version: String,
    #[serde(flatten)]
    platforms: BTreeMap<String, Locked>,
}

/// One archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Locked {
    /// Where upstream has it.
    pub url: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Who vouches for that.
    pub pinned_by: PinnedBy,
}

/// What is locked for this version and platform.
pub(crate) fn locked(wanted: &Wanted<'_>, version: &str) -> Result<Option<Locked>> {
    let mut file = read(&wanted.sources.lock)?;
    let Some(mut component) = file.remove(wanted.component.name) else { return Ok(None) };
    if component.version != version {
        return Ok(None);
    }
    Ok(component.platforms.remove(&wanted.sources.platform.arch))
}

/// Records what was taken; another version of the component is replaced.
pub(crate) fn record(wanted: &Wanted<'_>, version: &str, locked: &Locked) -> Result<()> {
    let Sources { lock: path, cache, platform, .. } = wanted.sources;
    let _alone = Lock::take(&cache.join(".components.lock"), wanted.sources)?;
    let mut file = read(path)?;
    let component = file
        .entry(wanted.component.name.to_owned())
        .or_insert_with(|| Component { version: version.to_owned(), platforms: BTreeMap::new() });
    if component.version != version {
        *component = Component { version: version.to_owned(), platforms: BTreeMap::new() };
    }
    let before = component.platforms.insert(platform.arch.clone(), locked.clone());
    if before.as_ref() == Some(locked) { Ok(()) } else { write(path, &file) }
}

fn read(path: &Path) -> Result<File> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(File::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    serde_json::from_slice(&text)
        .with_context(|| format!("`{}` is damaged", path.display()))
        .hint(format!("git checkout '{0}', or remove it: rm '{0}'", path.display()))
}

/// Replaces the file in one step.
fn write(path: &Path, file: &File) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    disk::make_folder(folder)?;
    let mut bytes = serde_json::to_vec_pretty(file)?;
    bytes.push(b'\n');
    let mut made = tempfile::Builder::new();
    let made = made.prefix(".components.lock-").permissions(readable());
    let mut part = disk::writing(made.tempfile_in(folder), folder)?;
    disk::writing(part.write_all(&bytes).and_then(|()| part.as_file().sync_all()), path)?;
    disk::writing(part.persist(path).map_err(|error| error.error), path)?;
    Ok(())
}

fn readable() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
