//! The folder an agent keeps for itself.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// A data folder that no other agent uses while this value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder where it is missing, and takes it.
    pub fn take(path: &Path) -> Result<DataDir> {
        let name = path.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the data folder `{name}`"))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .with_context(|| format!("cannot write into the data folder `{name}`"))?;
        // The kernel lets go of the lock when the process ends, however it ends.
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataDir { path: path.to_owned(), _lock: lock }),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                bail!("the data folder `{name}` is in use by another agent")
            }
            Err(error) => {
                Err(error).with_context(|| format!("cannot lock the data folder `{name}`"))
            }
        }
    }

    /// Writes the address that the agent serves into the file `address`, whole or not at all.
    pub fn publish(&self, address: SocketAddr) -> io::Result<()> {
        let fresh = self.path.join("address.new");
        let mut file =
            File::options().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        writeln!(file, "{address}")?;
        fs::rename(fresh, self.path.join("address"))
    }

    /// Takes the address back, because nobody answers there any more.
    pub fn withdraw(&self) -> io::Result<()> {
        fs::remove_file(self.path.join("address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = DataDir::take(&path).unwrap();
        let error = DataDir::take(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("the data folder `{}` is in use by another agent", path.display())
        );
        drop(first);
        DataDir::take(&path).unwrap();
    }

    #[test]
    fn the_address_is_published_and_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::take(folder.path()).unwrap();
        data.publish("127.0.0.1:9101".parse().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("address")).unwrap(), "127.0.0.1:9101\n");
        data.publish("[::1]:1".parse().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("address")).unwrap(), "[::1]:1\n");
        data.withdraw().unwrap();
        assert!(!folder.path().join("address").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = DataDir::take(&folder.path().join("file/x")).unwrap_err().to_string();
        assert!(error.starts_with("cannot make the data folder `"), "{error}");
    }
}
