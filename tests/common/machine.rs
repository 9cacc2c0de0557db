//! What runs on this machine, read from `/proc` with nothing of the product, so that it can judge the product.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// A living process that belongs to a stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: u32,
    pub group: u32,
    pub command: String,
}

impl Process {
    pub fn is_supervisor(&self) -> bool {
        self.command.contains("__supervise")
    }
}

/// Every process that works in `folder`, names it in its environment, or has a file below it open.
pub fn processes_of(folder: &Path) -> Vec<Process> {
    pids().into_iter().filter(|pid| touches(*pid, folder)).filter_map(read).collect()
}

/// The processes that `pid` started.
pub fn children_of(pid: u32) -> Vec<u32> {
    pids().into_iter().filter(|child| field(*child, 1) == Some(pid)).collect()
}

/// Whether `pid` runs; one that has ended and was not waited for does not.
pub fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| !matches!(fields[0].as_str(), "Z" | "X"))
}

/// When `pid` started, in ticks.
pub fn start_of(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// Sends a signal to a process that the test knows to be its own.
pub fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // One that has just ended needs no signal.
    let _ = kill_process(pid, signal);
}

/// Listening sockets on the loopback addresses of `slot` that no stranger to the stack in `folder` holds.
pub fn listening(folder: &Path, slot: u8) -> Vec<SocketAddrV4> {
    let suspects = listeners(slot);
    let strangers: BTreeSet<u64> = pids()
        .into_iter()
        .filter(|pid| !touches(*pid, folder))
        .flat_map(|pid| links(&format!("/proc/{pid}/fd")))
        .filter_map(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect();
    // One that was closed meanwhile has no holder and is none.
    let still: BTreeSet<u64> = listeners(slot).into_iter().map(|(_, inode)| inode).collect();
    suspects
        .into_iter()
        .filter(|(_, inode)| still.contains(inode) && !strangers.contains(inode))
        .map(|(address, _)| address)
        .collect()
}

fn listeners(slot: u8) -> Vec<(SocketAddrV4, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = fields[1].split_once(':')?;
        let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
        let port = u16::from_str_radix(port, 16).ok()?;
        let ours = fields[3] == "0A" && address.octets()[..3] == [127, 77, slot];
        ours.then_some((SocketAddrV4::new(address, port), fields[9].parse().ok()?))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn touches(pid: u32, folder: &Path) -> bool {
    let folder = folder.to_str().unwrap();
    let below = |path: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ' ']))
    };
    let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let environment = String::from_utf8_lossy(&environment);
    let mut values = environment.split('\0').filter_map(|pair| Some(pair.split_once('=')?.1));
    // Seen from another mount namespace, open files lose their path; the supervisor is given its folder.
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = String::from_utf8_lossy(&arguments);
    let is_supervisor = arguments.contains("__supervise") && arguments.split('\0').any(below);
    is_supervisor
        || cwd.is_ok_and(|cwd| below(&cwd.to_string_lossy()))
        || values.any(below)
        || links(&format!("/proc/{pid}/fd")).iter().any(|link| below(link))
}

fn links(folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect()
}

fn read(pid: u32) -> Option<Process> {
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    runs(pid).then_some(Process { pid, group: field(pid, 2)?, command })
}

fn field(pid: u32, index: usize) -> Option<u32> {
    stat(pid)?.get(index)?.parse().ok()
}

/// What `/proc/PID/stat` says after the name: state, parent, group, ...
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, tail) = text.rsplit_once(')')?;
    Some(tail.split_whitespace().map(str::to_owned).collect())
}
