//! The collectors: each opens what it needs through [`Context`], parses it in a pure function and names the result.
//! Metric names, labels, types and help texts are those of node_exporter.

use std::io;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};

use crate::clock::Clock;
use crate::exposition::Family;
use crate::host::{Host, Root};
use crate::lines::Parsed;
use crate::patience::Turns;

pub mod agent;
pub mod cpu;
pub mod cpu_sysfs;
pub mod diskstats;
pub mod filefd;
pub mod filesystem;
pub mod loadavg;
pub mod meminfo;
pub mod mounts;
pub mod netdev;
pub mod pressure;
pub mod stat;
pub mod textfile;
pub mod time;
pub mod udev;
pub mod uname;
pub mod vmstat;

/// One row of the table of collectors.
#[derive(Clone, Copy, Debug)]
pub struct Collector {
    /// The value of the label `collector`.
    pub name: &'static str,
    /// Opens, parses and names.
    pub collect: fn(&Context) -> Result<Collected>,
}

/// Every collector; of two that serve the same metric name, the first one wins.
pub const COLLECTORS: &[Collector] = &[
    Collector { name: "agent", collect: agent::collect },
    Collector { name: "cpu", collect: cpu::collect },
    Collector { name: "diskstats", collect: diskstats::collect },
    Collector { name: "filefd", collect: filefd::collect },
    Collector { name: "filesystem", collect: filesystem::collect },
    Collector { name: "loadavg", collect: loadavg::collect },
    Collector { name: "meminfo", collect: meminfo::collect },
    Collector { name: "netdev", collect: netdev::collect },
    Collector { name: "pressure", collect: pressure::collect },
    Collector { name: "stat", collect: stat::collect },
    Collector { name: "time", collect: time::collect },
    Collector { name: "uname", collect: uname::collect },
    Collector { name: "vmstat", collect: vmstat::collect },
    // The last one, so that a user's file can never replace what the agent measures.
    Collector { name: "textfile", collect: textfile::collect },
];

/// What a collector may use: the two seams, and what some of them keep from one scrape to the next.
pub struct Context {
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The last processor times, so that a counter never goes back.
    pub processors: Mutex<cpu::History>,
    /// Mount points that are being asked, some of them perhaps for ever.
    pub mounts: Turns,
}

impl Context {
    /// Begins without any past.
    pub fn new(host: Arc<dyn Host>, clock: Arc<dyn Clock>) -> Context {
        Context { host, clock, processors: Mutex::default(), mounts: Turns::default() }
    }

    /// Reads a file of procfs as text.
    pub fn procfs(&self, path: &str) -> Result<String> {
        self.host
            .text(Root::Procfs, path)
            .with_context(|| format!("cannot read `{path}` of procfs"))
    }

    /// Reads a file of sysfs as text without the line's end, or nothing where this machine does not have it.
    pub fn sysfs(&self, path: &str) -> Option<String> {
        let text = self.host.text(Root::Sysfs, path).ok()?;
        Some(text.trim_end().to_owned())
    }
}

/// What a collector found.
#[derive(Debug, Default)]
pub struct Collected {
    /// The families to serve.
    pub families: Vec<Family>,
    /// What it could not read; a collector with a problem has failed, but what it did read is served.
    pub problems: Vec<String>,
    /// What the log should say although the collector succeeded.
    pub notices: Vec<String>,
    /// Whether this machine has what the collector looks for.
    pub presence: Presence,
}

/// Whether a machine has what a collector looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It has.
    #[default]
    Here,
    /// It has not, which is no failure: nothing is reported about the collector.
    Absent,
}

impl Collected {
    /// Found everything.
    pub fn whole(families: Vec<Family>) -> Collected {
        Collected { families, ..Collected::default() }
    }

    /// Turns the lines that could be read into families, and fails softly for the others.
    pub fn from_lines<T>(parsed: Parsed<T>, families: impl Fn(&[T]) -> Vec<Family>) -> Collected {
        Collected {
            families: families(&parsed.items),
            problems: parsed.problems,
            ..Collected::default()
        }
    }

    /// This machine does not have what the collector looks for.
    pub fn absent() -> Collected {
        Collected { presence: Presence::Absent, ..Collected::default() }
    }
}

/// Whether a file is not there because the kernel does not have the feature.
pub fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::Unsupported)
}
