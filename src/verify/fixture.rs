//! What the tests of all checks share: a stack in a folder of its own, and servers that answer from a table.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::context::{Clock, Context, Sheet};
use super::{Channels, Subject};
use crate::config::StackFile;
use crate::http::table::Table;
use crate::layout::Layout;
use crate::process::Listener;
use crate::report::recorder::Recorder;
use crate::topology::{Seat, Topology};

/// A stack for tests.
pub struct Fixture {
    pub topology: Topology,
    pub layout: Layout,
    pub http: Table,
    pub report: Recorder,
    pub listeners: Vec<Listener>,
    pub dashboards: Vec<(String, Vec<u8>)>,
    pub interrupted: AtomicBool,
    pub channels: Channels,
    folder: tempfile::TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        fs::create_dir_all(layout.data("agent").join("textfile")).unwrap();
        fs::create_dir_all(layout.logs()).unwrap();
        Self {
            topology: Topology::new(StackFile::default(), Seat::default()),
            layout,
            http: Table::default(),
            report: Recorder::default(),
            listeners: Vec::new(),
            dashboards: Vec::new(),
            interrupted: AtomicBool::new(false),
            channels: Channels::Excluded,
            folder,
        }
    }

    /// Takes a component away.
    pub fn without(&mut self, name: &'static str, reason: &str) {
        self.topology.missing.insert(name, reason.to_owned());
    }

    /// Adds answers to the table.
    pub fn answer(&mut self, prefix: &str, status: u16, body: impl Into<Vec<u8>>) {
        self.http = std::mem::take(&mut self.http).answer(prefix, status, body);
    }

    /// A file in the folder of written metrics.
    pub fn textfile(&self, name: &str) -> PathBuf {
        self.folder.path().join("data/agent/textfile").join(name)
    }

    /// A log file.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    pub fn subject(&self) -> Subject<'_> {
        Subject {
            topology: &self.topology,
            layout: &self.layout,
            http: &self.http,
            report: &self.report,
            listeners: self.listeners.clone(),
            dashboards: self.dashboards.clone(),
            grafana_password: Some("hunter2"),
            interval: Duration::from_secs(2),
            interrupted: &self.interrupted,
            channels: self.channels,
        }
    }

    /// Works in the context of this stack, with a clock that moves only when somebody waits.
    pub fn with<T>(&self, work: impl FnOnce(&Context<'_>) -> T) -> T {
        let (subject, clock) = (self.subject(), Clock::turned());
        let (run, refused) = ("run1".to_owned(), AtomicBool::new(false));
        work(&Context { subject: &subject, clock: &clock, run, refused })
    }

    /// What `check` writes down, and its error.
    pub fn check(
        &self,
        check: impl FnOnce(&Context<'_>, &mut Sheet) -> anyhow::Result<()>,
    ) -> (Sheet, Option<anyhow::Error>) {
        let mut sheet = Sheet::default();
        let error = self.with(|cx| check(cx, &mut sheet)).err();
        (sheet, error)
    }
}

/// A listening socket of the process `program`.
pub fn listener(program: &str, address: &str) -> Listener {
    let address: SocketAddr = address.parse().unwrap();
    Listener { address, pid: Some(4711), program: Some(program.to_owned()), user: 0 }
}
