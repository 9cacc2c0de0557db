//! Secrets that lie in files.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::OFlags;

use super::{LONGEST, Secret};
use crate::config::model::SecretRef;
use crate::error::{Note, failure};
use crate::exit::Exit;

/// Reads the secret in the file at `path`.
pub(super) fn read(path: &Path, base: &Path) -> Result<Secret> {
    let path = place(path, base)?;
    let origin = format!("secret file `{}`", path.display());
    let hint = format!("write the secret, and nothing else, into `{}`", path.display());
    let fault = |what: String| failure(Exit::CREDENTIALS, format!("{origin} {what}"));
    let file = open(&path).map_err(|error| fault(format!("cannot be read: {}", reason(&error))));
    let file = file.hint(&hint)?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(fault("is not a regular file".to_owned())).hint(hint);
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    let length = file.take(most).read_to_end(&mut bytes);
    length.map_err(|error| fault(format!("cannot be read: {}", reason(&error)))).hint(&hint)?;
    let text = String::from_utf8(bytes).map_err(|_| fault("is not UTF-8".to_owned()));
    Secret::new(&text.hint(&hint)?, &origin).hint(hint)
}

/// What the user should know about a secret's file that others can read; the secret is usable all the same.
pub fn exposure(reference: &SecretRef, base: &Path) -> Option<String> {
    let path = place(reference.file.as_deref()?, base).ok()?;
    let mode = open(&path).ok()?.metadata().ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let shown = path.display();
        format!(
            "secret file `{shown}` has mode {mode:04o}, so others may reach it; chmod 600 {shown}"
        )
    })
}

/// Where `path` is: `~/` at home, another relative path at `base`.
fn place(path: &Path, base: &Path) -> Result<PathBuf> {
    if let Ok(rest) = path.strip_prefix("~") {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.ok_or_else(|| failure(Exit::CREDENTIALS, "`HOME` is not set"));
        return Ok(PathBuf::from(home.hint("export HOME=..., or write the whole path")?).join(rest));
    }
    Ok(base.join(path))
}

/// Opens without waiting, so that a named pipe is seen as what it is.
fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit_of, hint_of};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    fn fault(folder: &TempDir, name: &str) -> String {
        let error = read(Path::new(name), folder.path()).unwrap_err();
        assert_eq!(exit_of(&error), Exit::CREDENTIALS);
        assert!(hint_of(&error).is_some());
        error.to_string().replace(folder.path().to_str().unwrap(), "")
    }

    #[test]
    fn a_file_is_read_from_the_stack_files_folder() {
        let folder = folder();
        fs::write(folder.path().join("token"), "t0ken \r\n\n").unwrap();
        assert_eq!(read(Path::new("token"), folder.path()).unwrap().expose(), "t0ken ");
        let whole = folder.path().join("token");
        assert_eq!(read(&whole, Path::new("/nowhere")).unwrap().expose(), "t0ken ");
    }

    #[test]
    fn a_tilde_is_home() {
        let Some(home) = std::env::var_os("HOME") else { return };
        let path = place(Path::new("~/.secrets/x"), Path::new("/base")).unwrap();
        assert_eq!(path, Path::new(&home).join(".secrets/x"));
        assert_eq!(place(Path::new("a~/b"), Path::new("/base")).unwrap(), Path::new("/base/a~/b"));
    }

    #[test]
    fn what_is_no_readable_secret_is_named_but_not_shown() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("empty"), "\n").unwrap();
        fs::write(at("lines"), "CANARY\nCANARY\n").unwrap();
        fs::write(at("long"), "CANARY".repeat(LONGEST)).unwrap();
        fs::write(at("latin"), b"CANARY\xe4").unwrap();
        let fifo = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, fifo, 0)
            .unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (name, reason) in [
            ("absent", "cannot be read: it does not exist"),
            ("empty", "is empty"),
            ("lines", "has more than one line, wanted the secret alone"),
            ("long", "is too long to be a secret"),
            ("latin", "is not UTF-8"),
            ("pipe", "is not a regular file"),
            ("folder", "is not a regular file"),
        ] {
            assert_eq!(fault(&folder, name), format!("secret file `/{name}` {reason}"));
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_told() {
        let folder = folder();
        let path = folder.path().join("token");
        fs::write(&path, "token").unwrap();
        let reference = SecretRef { file: Some("token".into()), ..SecretRef::default() };
        let told = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            exposure(&reference, folder.path())
        };
        assert_eq!(told(0o600), None);
        let note = told(0o644).unwrap();
        assert!(note.contains("has mode 0644, so others may reach it; chmod 600 "), "{note}");
        assert_eq!(exposure(&SecretRef::default(), folder.path()), None);
    }
}
