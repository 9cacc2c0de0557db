//! Judges a stack from outside: is it whole, is it gone?

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::machine::{self, Process, processes_of};
use super::{Sandbox, wait_until};

/// The stack without a file.
pub const NAME: &str = "monstack";

/// Name and pid of each component that is to run.
pub type Pids = BTreeMap<String, u32>;

/// Asserts that the stack runs, that `up` would change nothing, and that each service runs exactly once.
#[track_caller]
pub fn assert_whole(sandbox: &Sandbox, args: &[&str]) -> Pids {
    let status = sandbox.json(&["status"]);
    assert!(is_well(&status), "{status:#}");
    sandbox.run(&[&["plan", "--check"], args].concat()).code(0);
    let pids = pids(&status);
    assert!(pids.len() >= 6, "{status:#}");
    let root = sandbox.stack(NAME);
    let (supervisors, services): (Vec<Process>, Vec<Process>) =
        processes_of(&root).into_iter().partition(Process::is_supervisor);
    let supervisors: Vec<u32> = supervisors.iter().map(|process| process.pid).collect();
    assert_eq!(supervisors, [number(&status["supervisor"])], "{services:#?}");
    let groups: BTreeSet<u32> = services.iter().map(|process| process.group).collect();
    let wanted: BTreeSet<u32> = pids.values().copied().collect();
    assert_eq!(groups, wanted, "{status:#}\n{services:#?}");
    pids
}

/// Whether everything that is there runs and answers.
pub fn is_well(status: &Value) -> bool {
    ["healthy", "degraded"].contains(&status["state"].as_str().unwrap())
}

/// Pids by component; those that are missing have none.
pub fn pids(status: &Value) -> Pids {
    let components = status["components"].as_array().unwrap().iter();
    components
        .filter(|component| component["state"] != "missing" && component["pid"].is_u64())
        .map(|component| {
            (component["name"].as_str().unwrap().to_owned(), number(&component["pid"]))
        })
        .collect()
}

/// What `status` says, even of a stack that is not well.
pub fn status(sandbox: &Sandbox) -> Value {
    let run = sandbox.run(&["status", "-o", "json"]);
    let document: Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
    document["result"].clone()
}

/// What `status` says of one component.
pub fn component(sandbox: &Sandbox, name: &str) -> Value {
    let status = status(sandbox);
    let components = status["components"].as_array().cloned().unwrap_or_default();
    components.into_iter().find(|component| component["name"] == name).unwrap_or_default()
}

/// Third number of the stack's loopback addresses, while its record is there.
pub fn slot(sandbox: &Sandbox) -> Option<u8> {
    let text = std::fs::read_to_string(sandbox.stack(NAME).join("stack.json")).ok()?;
    let record: Value = serde_json::from_str(&text).ok()?;
    u8::try_from(record["seat"]["slot"].as_u64()?).ok()
}

/// Takes the stack down and asserts that nothing of it is left.
#[track_caller]
pub fn take_down(sandbox: &Sandbox) {
    let slot = slot(sandbox);
    sandbox.run(&["down", "--yes", "--confirm", NAME]).code(0);
    assert_gone(sandbox, slot);
}

/// Asserts that no folder, process or port of the stack is left.
#[track_caller]
pub fn assert_gone(sandbox: &Sandbox, slot: Option<u8>) {
    let root = sandbox.stack(NAME);
    assert!(!root.exists(), "`{}` is left: {:?}", root.display(), names(&root));
    assert_eq!(processes_of(&root), []);
    if let Some(slot) = slot {
        assert_eq!(machine::listening(&root, slot), []);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Kills with SIGKILL and waits until the process is gone.
#[track_caller]
pub fn kill(pid: u32) {
    machine::send(pid, Signal::KILL);
    wait_until("the end of a killed process", || !machine::runs(pid));
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap_or_else(|| panic!("{value} is no pid"))).unwrap()
}
