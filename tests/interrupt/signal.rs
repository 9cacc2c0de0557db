//! SIGINT and SIGTERM end a run cleanly, in whatever phase it is.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::judge::{assert_whole, kill, take_down};
use crate::common::machine::{processes_of, send};
use crate::common::{Run, Sandbox, is_lab_skipped};

/// Runs the command, sends the signals so long after the start of the phase, and sees how it ends.
fn interrupt(mut command: Command, phase: &str, after: Duration, signals: &[Signal]) -> Run {
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    while !told.lines().last().is_some_and(|line| line.starts_with('[') && line.ends_with(phase)) {
        let read = stderr.read_line(&mut told).unwrap();
        assert!(read > 0, "the phase `{phase}` did not come:\n{told}");
    }
    std::thread::sleep(after);
    for signal in signals {
        send(child.id(), *signal);
        // Two of the same kind at once would be one.
        std::thread::sleep(Duration::from_millis(30));
    }
    stderr.read_to_string(&mut told).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stderr = told.into_bytes();
    Run::of(&["up"], output)
}

#[test]
fn a_run_that_is_interrupted_says_so_and_can_be_run_again() {
    if is_lab_skipped("interrupting runs") {
        return;
    }
    let sandbox = Sandbox::new();
    let short = Duration::from_millis(200);
    for (phase, after) in [("Start services", short), ("Prove the signals", short * 4)] {
        for (signals, code) in [
            (&[Signal::INT][..], 130),
            (&[Signal::INT, Signal::INT], 130),
            (&[Signal::TERM], 143),
            (&[Signal::TERM, Signal::TERM], 143),
        ] {
            let run = interrupt(sandbox.command(&["up"]), phase, after, signals).code(code);
            if signals.len() == 1 {
                run.says(&format!("error: phase `{phase}` failed\n  caused by: "))
                    .says("interrupted\n")
                    .says("\nhint: run `monstack ");
            }
            sandbox.run(&["lock", "status"]).code(0);
            sandbox.run(&["up", "--no-verify"]).code(0);
            assert_whole(&sandbox, &[]);
            if phase == "Start services" {
                take_down(&sandbox);
            }
        }
    }
    take_down(&sandbox);
}

#[test]
fn looking_for_programs_is_interrupted_at_once_and_leaves_nobody_behind() {
    if is_lab_skipped("interrupting the search for programs") {
        return;
    }
    let sandbox = Sandbox::new();
    let cache = sandbox.path().join("cache");
    for (after, signals, code) in [
        (2000, &[Signal::INT][..], 130),
        (4000, &[Signal::INT, Signal::INT], 130),
        (1000, &[Signal::TERM], 143),
    ] {
        let mut command = sandbox.command(&["up", "-o", "json"]);
        command.env("XDG_CACHE_HOME", &cache);
        let after = Duration::from_millis(after);
        let run = interrupt(command, "Find programs", after, signals).code(code);
        if signals.len() == 1 {
            let document: Value = serde_json::from_str(&run.stdout).unwrap();
            assert_eq!(document["exit"], code, "{document:#}");
        }
        assert_eq!(processes_of(&cache), [], "after {signals:?}");
    }
    // What was half fetched does not stand in the way.
    sandbox.run(&["up", "--no-verify"]).code(0);
    assert_whole(&sandbox, &[]);
    take_down(&sandbox);
}

#[test]
fn the_lock_of_a_run_that_was_killed_is_broken_at_once() {
    if is_lab_skipped("killing the holder of the lock") {
        return;
    }
    let sandbox = Sandbox::new();
    let mut child = sandbox.spawn(&["up", "--no-verify"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("Start services")));
    kill(child.id());
    child.wait().unwrap();
    let pid = child.id();
    sandbox.run(&["lock", "status"]).code(0).answers("which is dead");
    sandbox.run(&["up", "--no-verify"]).code(0).says(&format!(
        "warning: lock: lock of `monstack up` (pid {pid}), which is dead, was broken"
    ));
    sandbox.run(&["lock", "status"]).code(0).answers("is not locked");
    take_down(&sandbox);
}
