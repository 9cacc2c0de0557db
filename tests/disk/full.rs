//! Disks without space, and folders that cannot be written.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::mount::Namespace;
use crate::common::judge::{NAME, is_well, kill, pids};
use crate::common::machine::{processes_of, runs, send};
use crate::common::{Run, Sandbox, is_lab_skipped, wait_until};

#[test]
fn a_small_disk_is_refused_before_anything_starts() {
    if is_lab_skipped("a small disk") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(namespace) = Namespace::enter(&sandbox) else { return };
    namespace.disk(20);
    namespace
        .run(&["up", "--no-verify"])
        .code(4)
        .says("MiB are free below `")
        .says("hint: free some space, or use another disk with `-C DIR`");
    assert_eq!(processes_of(&sandbox.stack(NAME)), []);
    namespace.fill();
    namespace.run(&["up", "--no-verify"]).code(4).says("hint: free some space");
    namespace.free();
    namespace.sh(&format!("mount -o remount,size=500m '{}'", sandbox.path().display()));
    namespace.run(&["up", "--no-verify"]).code(0);
    whole(&namespace);
    namespace.run(&["down", "--yes", "--confirm", NAME]).code(0);
}

#[test]
fn a_disk_that_is_full_from_the_start_is_named() {
    if is_lab_skipped("a full disk") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(namespace) = Namespace::enter(&sandbox) else { return };
    namespace.disk(4);
    namespace.fill();
    for command in ["up", "render"] {
        namespace
            .run(&[command])
            .code(4)
            .says("cannot write `")
            .says("No space left on device")
            .says("hint: free some space, or use another disk with `-C DIR`");
    }
    namespace.run(&["status"]).code(6);
}

#[test]
fn a_disk_that_fills_up_during_the_run_fails_it_and_leaves_nothing_half_written() {
    if is_lab_skipped("a disk that fills up during `up`") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(namespace) = Namespace::enter(&sandbox) else { return };
    namespace.disk(500);
    for phase in ["Take addresses", "Write files"] {
        let mut child = namespace.command(&["up", "--no-verify"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with(phase)));
        send(child.id(), Signal::STOP);
        namespace.fill();
        send(child.id(), Signal::CONT);
        let told: Vec<String> = lines.collect();
        let mut output = child.wait_with_output().unwrap();
        output.stderr = told.join("\n").into_bytes();
        let run = Run::of(&["up"], output);
        run.code(4).says("free").says("hint: free some space");
        let root = namespace.seen(&sandbox.stack(NAME));
        assert_eq!(drafts(&root), Vec::<PathBuf>::new());
        for file in ["stack.json", "report.json"] {
            let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
        namespace.free();
        namespace.run(&["up", "--no-verify"]).code(0);
        whole(&namespace);
        namespace.run(&["down", "--yes", "--confirm", NAME]).code(0);
    }
}

#[test]
fn services_outlast_a_disk_that_fills_up_while_they_run() {
    if is_lab_skipped("a disk that fills up under a running stack") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(namespace) = Namespace::enter(&sandbox) else { return };
    namespace.disk(500);
    namespace.run(&["up", "--no-verify"]).code(0);
    whole(&namespace);
    let before = pids(&namespace.status());
    namespace.fill();
    // One that has to start anew cannot, for it could not even write down its pid.
    kill(before["app"]);
    wait_until("the restarts without space", || {
        restarts(&namespace, "app") >= 1 && !runs(before["app"])
    });
    namespace.run(&["status"]).code(10);
    namespace.run(&["verify"]).code(10);
    namespace.free();
    wait_until("the return once there is space", || namespace.run(&["status"]).code == Some(0));
    whole(&namespace);
    namespace.run(&["up", "--no-verify"]).code(0);
    namespace.fill();
    namespace.run(&["down", "--yes", "--confirm", NAME]).code(0);
    assert_eq!(processes_of(&sandbox.stack(NAME)), []);
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    if is_lab_skipped("read-only folders") {
        return;
    }
    let sandbox = Sandbox::new();
    let Some(namespace) = Namespace::enter(&sandbox) else { return };
    namespace.disk(500);
    let folder = sandbox.path().display();
    let seal = format!("mount -o remount,ro '{folder}'");
    let unseal = format!("mount -o remount,rw '{folder}'");
    namespace.sh(&seal);
    let hint = "hint: use a folder that you may write: `-C DIR` for stacks, `XDG_STATE_HOME`";
    namespace.run(&["up"]).code(4).says("Read-only file system").says(hint);
    namespace.run(&["plan"]).code(0);
    namespace.run(&["status"]).code(6);
    namespace.sh(&unseal);

    // The folder that tells stacks apart is another one.
    let mut command = namespace.command(&["up"]);
    namespace.sh(&format!(
        "mkdir '{folder}/shared' && mount --bind '{folder}/shared' '{folder}/shared'"
    ));
    namespace.sh(&format!("mount -o remount,ro,bind '{folder}/shared'"));
    let run = command.env("XDG_STATE_HOME", sandbox.path().join("shared")).output().unwrap();
    Run::of(&["up"], run).code(4).says("shared/monstack/slots").says(hint);

    namespace.run(&["up", "--no-verify"]).code(0);
    whole(&namespace);
    // A stack that runs can be looked at, and is not harmed by what cannot be done.
    namespace
        .sh(&format!("mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}'"));
    namespace.run(&["status"]).code(0);
    namespace.run(&["plan", "--check"]).code(0);
    namespace.run(&["up", "--no-verify"]).code(4).says("Read-only file system");
    namespace.run(&["down", "--yes", "--confirm", NAME]).code(4).says("Read-only file system");
    namespace.sh(&format!("umount '{folder}'"));
    whole(&namespace);
    namespace.run(&["down", "--yes", "--confirm", NAME]).code(0);
}

/// The stack runs and `up` would change nothing.
#[track_caller]
fn whole(namespace: &Namespace<'_>) {
    let status = namespace.status();
    assert!(is_well(&status), "{status:#}");
    namespace.run(&["plan", "--check"]).code(0);
}

fn restarts(namespace: &Namespace<'_>, name: &str) -> u64 {
    let status = namespace.status();
    let mut components = status["components"].as_array().unwrap().iter();
    components.find(|component| component["name"] == name).unwrap()["restarts"].as_u64().unwrap()
}

/// Files that were being written and never got their name.
fn drafts(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .flat_map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                drafts(&path)
            } else if name.starts_with(".write-") {
                vec![path]
            } else {
                Vec::new()
            }
        })
        .collect()
}
