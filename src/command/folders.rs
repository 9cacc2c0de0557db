//! Folders of the user that all stacks share.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::phase::User;
use crate::resolve;

/// Works them out from the environment and the place of the stack file.
pub fn user(directory: &Path, file: Option<&Path>) -> Result<User> {
    let home =
        std::env::var_os("HOME").map(PathBuf::from).unwrap_or_else(|| directory.join(".monstack"));
    let state =
        std::env::var_os("XDG_STATE_HOME").map_or_else(|| home.join(".local/state"), PathBuf::from);
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
        path: std::env::var_os("PATH").unwrap_or_default(),
        siblings: program.parent().unwrap_or(Path::new("/")).to_owned(),
    })
}
