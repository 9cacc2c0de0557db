//! `.zip` archives.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use zip::ZipArchive;

use super::tree::Tree;

/// What the mode of an entry says about its kind.
const KIND: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
/// The longest target of a link.
const TARGET: u64 = 4096;

/// Unpacks the archive in `file`.
pub(super) fn unpack(file: File, tree: &mut Tree<'_>) -> Result<()> {
    let mut archive = ZipArchive::new(BufReader::new(file)).context("it is no zip archive")?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).context("it is damaged")?;
        let name = entry.name().context("an entry has no readable name")?.into_owned();
        let path = PathBuf::from(&name);
        let mode = entry.unix_mode().unwrap_or(0o644);
        match mode & KIND {
            _ if entry.is_dir() => tree.folder(&path)?,
            0 | FILE => tree.file(&path, (mode, &mut entry))?,
            FOLDER => tree.folder(&path)?,
            LINK => {
                let mut target = String::new();
                let read = entry.take(TARGET).read_to_string(&mut target);
                read.with_context(|| format!("the link `{name}` has no readable target"))?;
                tree.symbolic_link(&path, &PathBuf::from(target))?;
            }
            _ => bail!("`{name}` is neither a file, a folder nor a link"),
        }
    }
    Ok(())
}
