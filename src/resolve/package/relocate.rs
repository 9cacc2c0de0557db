//! Makes a program of a package find its shared files where the package was unpacked.
//!
//! Debian compiles `/usr/share/...` into some programs. As nothing is installed, that path is not there; so each `/usr/`
//! of the named paths becomes `.////`, which has the same length and starts at the folder the program works in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

const INSTALLED: &[u8] = b"/usr/";
const RELATIVE: &[u8] = b".////";

/// Rewrites every `paths` in `program`, which must all begin with `/usr/`.
pub(crate) fn relocate(program: &Path, paths: &[&str]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut bytes =
        fs::read(program).with_context(|| format!("cannot read `{}`", program.display()))?;
    for path in paths {
        rewrite(&mut bytes, path.as_bytes());
    }
    let mode = fs::metadata(program)?.permissions().mode();
    fs::write(program, bytes).with_context(|| format!("cannot write `{}`", program.display()))?;
    Ok(fs::set_permissions(program, fs::Permissions::from_mode(mode))?)
}

fn rewrite(bytes: &mut [u8], path: &[u8]) {
    let mut start = 0;
    while let Some(found) = bytes[start..].windows(path.len()).position(|window| window == path) {
        let at = start + found;
        if path.starts_with(INSTALLED) {
            bytes[at..at + RELATIVE.len()].copy_from_slice(RELATIVE);
        }
        start = at + path.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_occurrence_becomes_relative_and_nothing_else_changes() {
        let mut bytes = b"a /usr/share/x/ui /usr/share/y /usr/share/x b".to_vec();
        rewrite(&mut bytes, b"/usr/share/x");
        assert_eq!(bytes, b"a .////share/x/ui /usr/share/y .////share/x b");
    }
}
