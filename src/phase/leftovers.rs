//! Removes the stack's files and proves that no process, port or file is left.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Change, Context, Phase, seat, start};
use crate::error::{failure, hinted};
use crate::exit::Exit;
use crate::process;
use crate::report::Event;
use crate::workdir;

/// Removes files, keeping `data` where that was asked for.
pub struct RemoveFiles;

/// Looks for what is left.
pub struct ProveEmpty;

impl Phase for RemoveFiles {
    fn title(&self) -> &'static str {
        "Remove files"
    }

    fn run(&self, cx: &mut Context<'_>) -> Result<Change> {
        let root = cx.layout.root();
        if cx.options.keep_data {
            for name in ["rendered", "run", "runs", "logs"] {
                workdir::remove_folder(&root.join(name))?;
            }
            workdir::remove(&cx.layout.stack())?;
            cx.report
                .event(Event::step("data", format!("kept in `{}`", root.join("data").display())));
        } else {
            // The record goes last: as long as it is there, a `down` that was cut short can be run again.
            for name in ["rendered", "data", "logs", "run", "runs", "secrets"] {
                workdir::remove_folder(&root.join(name))?;
            }
            workdir::remove_folder(root)?;
        }
        // Whoever takes the addresses from now on finds nobody there.
        seat::release(&cx.user.slots, root)?;
        Ok(Change::Some)
    }

    fn dry_run(&self, cx: &mut Context<'_>) -> Result<()> {
        cx.report.event(Event::would("files", format!("remove `{}`", cx.layout.root().display())));
        Ok(())
    }
}

impl Phase for ProveEmpty {
    fn title(&self) -> &'static str {
        "Prove that nothing is left"
    }

    fn run(&self, cx: &mut Context<'_>) -> Result<Change> {
        let mut left = Vec::new();
        let root = cx.layout.root();
        if !cx.options.keep_data && root.exists() {
            left.push(format!("folder `{}`", root.display()));
        }
        // A run that was killed before it took addresses has no ports; those of the first slot are somebody else's.
        if let Some(record) = cx.state.record.as_ref().filter(|record| record.seat.is_some()) {
            left.extend(ports(record));
        }
        left.extend(processes(root));
        if left.is_empty() {
            return Ok(Change::None);
        }
        let error = failure(Exit::LEFTOVERS, format!("left behind: {}", left.join(", ")));
        Err(hinted(error, "run `monstack down` again, or remove them by hand"))
    }

    fn dry_run(&self, _cx: &mut Context<'_>) -> Result<()> {
        Ok(())
    }
}

/// Addresses of the stack that still answer.
fn ports(record: &super::Record) -> Vec<String> {
    let topology = record.topology();
    let addresses = topology.services().flat_map(|service| {
        let ports =
            service.component.ports.iter().map(|port| (service.node.address, service.number(port)));
        ports.collect::<Vec<_>>()
    });
    addresses
        .map(SocketAddr::from)
        .filter(|address| TcpStream::connect_timeout(address, Duration::from_millis(200)).is_ok())
        .filter_map(process::holder)
        .filter(|holder| !holder.address.ip().is_unspecified())
        .map(|holder| format!("port {} of {}", holder.address, holder.program.unwrap_or_default()))
        .collect()
}

/// Processes that work in the stack's data folder or carry its name in their environment, as every service does.
fn processes(root: &Path) -> Vec<String> {
    process::all()
        .into_iter()
        .filter(|pid| {
            process::folder(*pid).is_some_and(|folder| folder.starts_with(root.join("data")))
                || process::variable(*pid, start::STACK_VARIABLE)
                    .is_some_and(|stack| Path::new(&stack) == root)
        })
        .map(|pid| format!("process {pid} (`{}`)", process::name(pid).unwrap_or_default()))
        .collect()
}
