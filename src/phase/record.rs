//! What a run knows of its stack, and what it writes down in `stack.json`.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::config::StackFile;
use crate::layout::Layout;
use crate::resolve::Found;
use crate::topology::{Node, Seat, Topology};
use crate::verify::Verdict;
use crate::workdir;

/// The resolved topology, as written to `stack.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Version of monstack that wrote it.
    pub version: String,
    /// The stack file with all defaults; secrets are references.
    pub stack: StackFile,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Its loopback addresses and ports.
    pub seat: Option<Seat>,
    /// The program of each component.
    pub programs: BTreeMap<String, Found>,
    /// Components that could not be had, with the reason.
    pub missing: BTreeMap<String, String>,
    /// Hash of all that decided about the programs.
    pub programs_hash: String,
    /// When programs were last looked for.
    pub programs_at: Timestamp,
    /// Hash of the files that their checkers accepted last, and of the programs they were checked for.
    #[serde(default)]
    pub checked: String,
    /// Hash of the services and files that were started last.
    #[serde(default)]
    pub services_hash: String,
    /// The last proof, with the hash of what was proven.
    pub proven: Option<Proof>,
}

/// The last proof of a stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proof {
    /// When it ended.
    pub at: Timestamp,
    /// Hash of the services and files that were proven.
    pub hash: String,
    /// What it found.
    pub verdict: Verdict,
}

/// What a run knows so far.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What the last run wrote down.
    pub record: Option<Record>,
    /// Resolved secrets by name, such as `grafana_admin_password`.
    pub secrets: BTreeMap<String, crate::secret::Secret>,
    /// The proof of this run.
    pub proof: Option<Proof>,
    /// Keeps other users' runs away from addresses that were chosen and are not listened on yet.
    pub hold: Option<Arc<TcpListener>>,
    /// Changes that a dry run would make.
    pub would: u32,
}

impl Record {
    /// An empty record for a stack file.
    pub fn new(stack: StackFile) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stack,
            nodes: Vec::new(),
            seat: None,
            programs: BTreeMap::new(),
            missing: BTreeMap::new(),
            programs_hash: String::new(),
            programs_at: Timestamp::UNIX_EPOCH,
            services_hash: String::new(),
            checked: String::new(),
            proven: None,
        }
    }

    /// The topology that this record describes.
    pub fn topology(&self) -> Topology {
        let mut topology = Topology::new(self.stack.clone(), self.seat.unwrap_or_default());
        for component in self.missing.keys().filter_map(|name| Component::named(name)) {
            topology.missing.insert(component.name, "no program was found".to_owned());
        }
        topology
    }

    /// Writes it to `stack.json`.
    pub fn save(&self, layout: &Layout) -> Result<()> {
        workdir::write_json(&layout.stack(), self).map(|_| ())
    }
}

impl State {
    /// The record, a new one for `stack` if there is none.
    pub fn record_for(&mut self, stack: &StackFile) -> &mut Record {
        let record = self.record.get_or_insert_with(|| Record::new(stack.clone()));
        record.stack = stack.clone();
        record
    }

    /// Changes the record for `stack` and writes it, unless that leaves it as it is on disk.
    pub fn keep(
        &mut self,
        layout: &Layout,
        stack: &StackFile,
        change: impl FnOnce(&mut Record),
    ) -> Result<()> {
        let record = self.record_for(stack);
        change(record);
        record.save(layout)
    }
}
