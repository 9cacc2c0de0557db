//! What the agent asks the machine: files, free space, the name of the kernel.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// No file that a collector reads is larger; a larger one is refused instead of filling the memory.
const FILE_LIMIT: u64 = 8 * 1024 * 1024;

/// The agent's only way to look at the machine.
pub trait Host: Send + Sync {
    /// Reads a whole file below a root.
    fn read(&self, root: Root, path: &str) -> io::Result<Vec<u8>>;

    /// Names the entries of a folder below a root, sorted; bytes that are not UTF-8 become U+FFFD.
    fn list(&self, root: Root, path: &str) -> io::Result<Vec<String>>;

    /// Says when a regular file below a root was changed, in whole seconds since 1970.
    fn modified(&self, root: Root, path: &str) -> io::Result<i64>;

    /// Names the target of a symbolic link below a root.
    fn link(&self, root: Root, path: &str) -> io::Result<String>;

    /// Says where a root is, or nothing where the user gave none.
    fn location(&self, root: Root) -> Option<&Path>;

    /// Measures the filesystem that is mounted at a mount point of the host.
    fn space(&self, mount_point: &str) -> io::Result<Space>;

    /// Asks the kernel for its names.
    fn names(&self) -> Names;

    /// Reads a whole file as text; bytes that are not UTF-8 become U+FFFD.
    fn text(&self, root: Root, path: &str) -> io::Result<String> {
        let bytes = self.read(root, path)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }
}

/// A folder below which files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// Where procfs is mounted.
    Procfs,
    /// Where sysfs is mounted.
    Sysfs,
    /// The root of the host's own files.
    Rootfs,
    /// What the kernel says about the agent's own process.
    Own,
    /// The user's folder of `.prom` files.
    Textfile,
}

/// The size of one filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes a block has.
    pub block_size: u64,
    /// Blocks there are.
    pub blocks: u64,
    /// Blocks nobody uses.
    pub free: u64,
    /// Blocks an ordinary user may still take.
    pub available: u64,
    /// File nodes there are.
    pub files: u64,
    /// File nodes nobody uses.
    pub files_free: u64,
}

/// What `uname` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The NIS domain, `(none)` where there is none.
    pub domain: String,
    /// The hardware, such as `x86_64`.
    pub machine: String,
    /// The host's name.
    pub node: String,
    /// The kernel's release.
    pub release: String,
    /// The system, `Linux`.
    pub system: String,
    /// The kernel's build.
    pub version: String,
}

/// The machine the agent runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    pub sysfs: PathBuf,
    /// The root of the host's own files.
    pub rootfs: PathBuf,
    /// The user's folder of `.prom` files.
    pub textfile: Option<PathBuf>,
}

impl Machine {
    fn path(&self, root: Root, path: &str) -> io::Result<PathBuf> {
        let folder = self.location(root).ok_or(io::ErrorKind::NotFound)?;
        Ok(folder.join(path.trim_start_matches('/')))
    }
}

impl Host for Machine {
    fn read(&self, root: Root, path: &str) -> io::Result<Vec<u8>> {
        // Files of procfs say that they are empty, so their length is no help.
        let mut content = Vec::with_capacity(4096);
        File::open(self.path(root, path)?)?.take(FILE_LIMIT + 1).read_to_end(&mut content)?;
        if content.len() as u64 > FILE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "file is larger than 8 MiB"));
        }
        Ok(content)
    }

    fn list(&self, root: Root, path: &str) -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(self.path(root, path)?)?
            .map(|entry| entry.map(|entry| lossy(entry.file_name())))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn modified(&self, root: Root, path: &str) -> io::Result<i64> {
        let metadata = fs::metadata(self.path(root, path)?)?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let age = metadata.modified()?.duration_since(UNIX_EPOCH);
        Ok(age.map_or_else(
            |before| -(before.duration().as_secs() as i64),
            |after| after.as_secs() as i64,
        ))
    }

    fn link(&self, root: Root, path: &str) -> io::Result<String> {
        fs::read_link(self.path(root, path)?).map(|target| lossy(target.into_os_string()))
    }

    fn location(&self, root: Root) -> Option<&Path> {
        match root {
            Root::Procfs => Some(&self.procfs),
            Root::Sysfs => Some(&self.sysfs),
            Root::Rootfs => Some(&self.rootfs),
            // The agent's own process is never the one of a tree that `--path.procfs` names.
            Root::Own => Some(Path::new("/proc/self")),
            Root::Textfile => self.textfile.as_deref(),
        }
    }

    fn space(&self, mount_point: &str) -> io::Result<Space> {
        let answer = rustix::fs::statfs(self.path(Root::Rootfs, mount_point)?)?;
        Ok(Space {
            block_size: answer.f_bsize.unsigned_abs(),
            blocks: answer.f_blocks,
            free: answer.f_bfree,
            available: answer.f_bavail,
            files: answer.f_files,
            files_free: answer.f_ffree,
        })
    }

    fn names(&self) -> Names {
        let answer = rustix::system::uname();
        Names {
            domain: answer.domainname().to_string_lossy().into_owned(),
            machine: answer.machine().to_string_lossy().into_owned(),
            node: answer.nodename().to_string_lossy().into_owned(),
            release: answer.release().to_string_lossy().into_owned(),
            system: answer.sysname().to_string_lossy().into_owned(),
            version: answer.version().to_string_lossy().into_owned(),
        }
    }
}

fn lossy(name: OsString) -> String {
    String::from_utf8_lossy(&name.into_vec()).into_owned()
}
