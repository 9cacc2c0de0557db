//! A machine made of files and a clock that stands still.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use monstack_agent::clock::{Clock, Zone};
use monstack_agent::collector::Context;
use monstack_agent::host::{Host, Machine, Names, Root, Space};

/// A machine whose files are in folders named after the roots.
pub struct Fixture {
    machine: Machine,
    own: PathBuf,
}

impl Fixture {
    pub fn at(folder: &Path) -> Fixture {
        let machine = Machine {
            procfs: folder.join("procfs"),
            sysfs: folder.join("sysfs"),
            rootfs: folder.join("rootfs"),
            textfile: Some(folder.join("textfile")),
        };
        Fixture { machine, own: folder.join("own") }
    }

    /// The agent's own process has no root of its own in a machine, so it is read as if it were procfs.
    fn own(&self, root: Root) -> (Machine, Root) {
        match root {
            Root::Own => {
                (Machine { procfs: self.own.clone(), ..self.machine.clone() }, Root::Procfs)
            }
            _ => (self.machine.clone(), root),
        }
    }
}

impl Host for Fixture {
    fn read(&self, root: Root, path: &str) -> io::Result<Vec<u8>> {
        let (machine, root) = self.own(root);
        machine.read(root, path)
    }

    fn list(&self, root: Root, path: &str) -> io::Result<Vec<String>> {
        let (machine, root) = self.own(root);
        machine.list(root, path)
    }

    fn modified(&self, root: Root, path: &str) -> io::Result<i64> {
        self.machine.modified(root, path).map(|_| 1_700_000_123)
    }

    fn link(&self, root: Root, path: &str) -> io::Result<String> {
        self.machine.link(root, path)
    }

    fn location(&self, root: Root) -> Option<&Path> {
        match root {
            Root::Rootfs => Some(Path::new("/")),
            Root::Textfile => Some(Path::new("/textfile")),
            _ => self.machine.location(root),
        }
    }

    fn space(&self, mount_point: &str) -> io::Result<Space> {
        match mount_point {
            "/mnt/broken" => Err(io::Error::from_raw_os_error(107)),
            // A file server that does not answer within the test's life.
            "/mnt/nas" => {
                std::thread::sleep(Duration::from_secs(600));
                Err(io::ErrorKind::TimedOut.into())
            }
            _ => Ok(Space {
                block_size: 4096,
                blocks: 1000,
                free: 500,
                available: 300,
                files: 200,
                files_free: 150,
            }),
        }
    }

    fn names(&self) -> Names {
        Names {
            domain: "(none)".to_owned(),
            machine: "x86_64".to_owned(),
            node: "fixture".to_owned(),
            release: "6.1.0".to_owned(),
            system: "Linux".to_owned(),
            version: "#1 SMP".to_owned(),
        }
    }
}

/// A clock that stands still.
pub struct Still;

impl Clock for Still {
    fn now(&self) -> Duration {
        Duration::from_millis(1_700_000_500_250)
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn zone(&self) -> Zone {
        Zone { name: "CET".to_owned(), offset_seconds: 3600 }
    }
}

/// The context of the machine made of files.
pub fn context() -> Arc<Context> {
    Arc::new(Context::new(Arc::new(Fixture::at(&folder())), Arc::new(Still)))
}

/// Where its files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture")
}
