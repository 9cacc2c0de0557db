//! Services die, hang, or cannot start at all.

use rustix::process::Signal;

use crate::common::judge::{NAME, assert_whole, component, kill, take_down};
use crate::common::machine::{children_of, runs, send};
use crate::common::{Sandbox, is_lab_skipped, wait_until};

#[test]
fn a_leader_that_dies_takes_its_family_along_and_comes_back() {
    if is_lab_skipped("killing leaders with children") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let before = assert_whole(&sandbox, &[]);
    for name in ["nginx", "app"] {
        let leader = before[name];
        let children = children_of(leader);
        assert!(!children.is_empty(), "`{name}` has no children");
        kill(leader);
        wait_until("the end of its children", || children.iter().all(|child| !runs(*child)));
        wait_until("its return", || {
            let now = component(&sandbox, name);
            now["state"] == "healthy" && now["pid"] != leader
        });
        assert_eq!(component(&sandbox, name)["restarts"], 1);
        let ended = component(&sandbox, name)["last_exit"].clone();
        assert!(ended.as_str().unwrap().contains("SIGKILL"), "{ended}");
    }
    assert_whole(&sandbox, &[]);
    take_down(&sandbox);
}

#[test]
fn a_service_that_hangs_is_seen_and_started_anew() {
    if is_lab_skipped("stopping a service in its tracks") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let before = assert_whole(&sandbox, &[]);
    let hung = before["alertmanager"];
    send(hung, Signal::STOP);
    wait_until("the hung service to be seen", || {
        component(&sandbox, "alertmanager")["state"] == "unhealthy"
    });
    sandbox.run(&["status"]).code(10);
    // Nobody else waits for the end of the hung one.
    kill(before["node_exporter"]);
    wait_until("the return of another one", || {
        let now = component(&sandbox, "node_exporter");
        now["state"] == "healthy" && now["restarts"] == 1
    });
    wait_until("the return of the hung one", || {
        let now = component(&sandbox, "alertmanager");
        now["state"] == "healthy" && now["pid"] != hung
    });
    let ended = component(&sandbox, "alertmanager")["last_exit"].clone();
    assert_eq!(ended, "gave no healthy answer for 30 s");
    assert!(!runs(hung));
    assert_whole(&sandbox, &[]);

    // A service that hangs holds up `down` no longer than its grace.
    send(before["prometheus"], Signal::STOP);
    take_down(&sandbox);
}

#[test]
fn a_program_that_cannot_start_fails_the_run_with_its_last_words() {
    if is_lab_skipped("a program that cannot start") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let real = program_of(&sandbox, "node_exporter");
    exporter(&sandbox, "echo 'the disk of this exporter is on fire' >&2; exit 3");
    let set = ["--set", "components.node_exporter.path=exporter"];
    let up = [&["up", "--no-verify"], &set[..]].concat();
    sandbox
        .run(&up)
        .code(4)
        .says("phase `Start services` failed")
        .says("`node_exporter` does not stay up: exit status: 3")
        .says("the disk of this exporter is on fire")
        .says("hint: look at `");
    let now = component(&sandbox, "node_exporter");
    assert_eq!(now["state"], "restarting");
    assert!(now["last_exit"].as_str().unwrap().contains("exit status: 3"), "{now}");
    exporter(&sandbox, &format!("exec {real} \"$@\""));
    sandbox.run(&up).code(0);
    assert_whole(&sandbox, &set);
    take_down(&sandbox);
}

/// A program that says that it is node_exporter, and does something else when it is started.
fn exporter(sandbox: &Sandbox, does: &str) {
    let version = "--version) echo 'node_exporter, version 9.9.9'; exit;;";
    sandbox.write("exporter", &format!("#!/bin/sh\ncase $1 in {version} esac\n{does}\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(sandbox.path().join("exporter"), mode).unwrap();
}

fn program_of(sandbox: &Sandbox, name: &str) -> String {
    let text = std::fs::read_to_string(sandbox.stack(NAME).join("stack.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["programs"][name]["program"].as_str().unwrap().to_owned()
}

#[test]
fn files_that_a_checker_refuses_are_refused_every_time() {
    if is_lab_skipped("files that are refused") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let before = assert_whole(&sandbox, &[]);
    sandbox.write("templates/prometheus/prometheus.yml", "scrape_configs: nonsense\n");
    for _ in 0..2 {
        sandbox
            .run(&["up", "--no-verify"])
            .code(4)
            .says("the files of `prometheus` are refused by `promtool`");
    }
    std::fs::remove_dir_all(sandbox.path().join("templates")).unwrap();
    sandbox.run(&["up", "--no-verify"]).code(0);
    assert_eq!(assert_whole(&sandbox, &[]), before);
    take_down(&sandbox);
}
