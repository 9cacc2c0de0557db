//! Unpacks `.tar.gz` and `.zip` without trusting them: nothing leaves the folder, nothing is a device, nothing is endless.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};

mod tar;
mod tree;
mod zip;

use tree::{LIMITS, Tree};

/// Kinds of archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `.tar.gz` and `.tgz`.
    TarGz,
    /// `.zip`.
    Zip,
}

/// The kind of archive that the name tells.
pub(crate) fn format(name: &str) -> Result<Format> {
    if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        Ok(Format::TarGz)
    } else if name.ends_with(".zip") {
        Ok(Format::Zip)
    } else {
        bail!("`{name}` is neither a `.tar.gz` nor a `.zip`")
    }
}

/// Unpacks `archive` into the new folder `into`.
pub(crate) fn unpack(archive: &Path, into: &Path, interrupted: &AtomicBool) -> Result<()> {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let format = format(&name)?;
    let file =
        File::open(archive).with_context(|| format!("cannot read `{}`", archive.display()))?;
    let mut tree = Tree::new(into, LIMITS, interrupted)?;
    match format {
        Format::TarGz => tar::unpack(file, &mut tree),
        Format::Zip => zip::unpack(file, &mut tree),
    }
    .and_then(|()| tree.finish())
    .with_context(|| format!("`{name}` cannot be unpacked"))
}

#[cfg(test)]
mod tests;
