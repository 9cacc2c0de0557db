//! Folders of the user that all stacks share.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cli::Global;
use crate::phase::User;
use crate::resolve::{self, Mirror};

/// Works them out from the environment and the place of the stack file.
pub fn user(global: &Global, directory: &Path, file: Option<&Path>) -> Result<User> {
    // A relative path, or an empty one, would mean another folder in each place.
    let absolute = |name: &str| {
        std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute())
    };
    let home = absolute("HOME").unwrap_or_else(|| directory.join(".monstack"));
    let state = absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state"));
    let program = std::env::current_exe().context("cannot find monstack's own program")?;
    let base = file.and_then(Path::parent).unwrap_or(directory).to_owned();
    let lock = match file {
        Some(_) => base.join("components.lock"),
        None => directory.join(".monstack/components.lock"),
    };
    Ok(User {
        base,
        cache: resolve::default_cache()?,
        slots: state.join("monstack/slots"),
        lock,
        mirror: global.mirror.as_deref().map(Mirror::parse).transpose()?,
        path: std::env::var_os("PATH").unwrap_or_default(),
        siblings: program.parent().unwrap_or(Path::new("/")).to_owned(),
    })
}
