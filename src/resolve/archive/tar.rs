//! `.tar.gz` archives.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::tree::Tree;

type Reader = MultiGzDecoder<BufReader<File>>;

/// Unpacks the archive in `file`.
pub(super) fn unpack(file: File, tree: &mut Tree<'_>) -> Result<()> {
    let mut archive = Archive::new(MultiGzDecoder::new(BufReader::new(file)));
    for entry in archive.entries().context("it is no tar archive")? {
        add(entry.context("it is damaged")?, tree)?;
    }
    Ok(())
}

fn add(mut entry: Entry<'_, Reader>, tree: &mut Tree<'_>) -> Result<()> {
    let path = entry.path().context("an entry has no readable name")?.into_owned();
    let mode = entry.header().mode().unwrap_or(0o644);
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => tree.file(&path, (mode, &mut entry)),
        EntryType::Directory => tree.folder(&path),
        EntryType::Symlink => tree.symbolic_link(&path, &target(&entry, &path)?),
        EntryType::Link => tree.hard_link(&path, &target(&entry, &path)?),
        EntryType::XGlobalHeader => Ok(()),
        other => bail!("`{}` is neither a file, a folder nor a link: {other:?}", path.display()),
    }
}

fn target(entry: &Entry<'_, Reader>, path: &Path) -> Result<std::path::PathBuf> {
    let target = entry.link_name().ok().flatten();
    let target = target.with_context(|| format!("the link `{}` has no target", path.display()))?;
    Ok(target.into_owned())
}
