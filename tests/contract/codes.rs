//! Each exit code on the real program.

use std::fs;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Run, Sandbox, component, is_lab_skipped, kill, wait_until};

#[test]
fn what_is_missing_has_a_code() {
    let sandbox = Sandbox::new();
    for args in [&["status"][..], &["verify"], &["logs", "app"], &["open"], &["down"]] {
        let run = sandbox.run(args).code(6).says("there is no stack `monstack`");
        run.says("hint: bring it up with `monstack up`");
        assert_eq!(sandbox.run(&[args, &["-o", "json"]].concat()).document()["exit"], 6);
    }
    let secret = "notify.slack.webhook.env=NO_SUCH_VARIABLE";
    for command in ["up", "plan"] {
        let run = sandbox.run(&[command, "--set", secret]).code(3);
        run.says("environment variable `NO_SUCH_VARIABLE` is not set").says("hint: export");
    }
    let run = sandbox.run(&["up", "--timeout", "1ms"]).code(9);
    run.says("the time given with `--timeout` is over").says("hint: ");
}

#[test]
fn a_step_that_fails_has_a_code() {
    if is_lab_skipped("a step that fails") {
        return;
    }
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["up", "--set", "components.prometheus.path=./nothing"]).code(4);
    run.says("phase `Find programs` failed").says("nothing").says("hint: ");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let sandbox = Sandbox::new();
    // The stack's own folder cannot be made.
    sandbox.write(".monstack", "");
    let run = sandbox.run(&["up"]);
    assert!([Some(1), Some(4)].contains(&run.code), "{run:?}");
    run.says("cannot make folder").says(".monstack");
}

#[test]
fn a_record_that_cannot_be_read_is_an_unclassified_failure() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.stack("monstack").join("stack.json")).unwrap();
    let run = sandbox.run(&["status"]).code(1);
    run.says("cannot read").says("stack.json");
}

#[test]
fn a_running_stack_answers_with_its_codes() {
    if is_lab_skipped("the exit codes of a running stack") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    changes(&sandbox);
    declined(&sandbox);
    locked_and_stopped_by_signals(&sandbox);
    unhealthy(&sandbox);
    left_behind(&sandbox);
}

fn changes(sandbox: &Sandbox) {
    sandbox.run(&["plan", "--check"]).code(0);
    let wanted = ["--set", "components.prometheus.retention=3d"];
    let run = sandbox.run(&[&["plan", "--check"][..], &wanted].concat()).code(7);
    run.answers("start it anew");
    let document = sandbox.run(&[&["plan", "--check", "-o", "json"][..], &wanted].concat());
    assert_eq!(document.code(7).document()["exit"], 7);
    sandbox.run(&[&["plan"][..], &wanted].concat()).code(0);
}

fn declined(sandbox: &Sandbox) {
    sandbox.run(&["down"]).code(8).says("hint: type `monstack down --yes --confirm monstack`");
    sandbox.run(&["down", "--yes"]).code(8).says("was not confirmed");
    sandbox.run(&["down", "--yes", "--confirm", "Monstack"]).code(8).says("is not the name");
    sandbox.run(&["down", "--confirm", "monstack"]).code(8);
    let kept = sandbox.run(&["down", "--keep-data"]).code(8);
    assert!(!kept.says("hint: type `monstack down --keep-data --yes`").stderr.contains("destroys"));
    let document = sandbox.run(&["down", "-o", "json", "--no-input"]).code(8).document();
    assert_eq!((&document["ok"], &document["exit"]), (&false.into(), &8.into()));
    sandbox.run(&["status"]).code(0);
}

fn locked_and_stopped_by_signals(sandbox: &Sandbox) {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let args = ["verify", "-o", "json"];
        let child = sandbox.spawn(&args);
        let pid = child.id().to_string();
        wait_until("the lock", || !sandbox.json(&["lock", "status"])["holder"].is_null());
        let refused = sandbox.run(&["up"]).code(11);
        refused.says("is locked by `monstack verify`").says(&pid).says("--lock-wait");
        let holder = sandbox.json(&["lock", "status"]);
        assert_eq!(holder["dead"], false, "{holder:#}");
        sandbox.run(&["lock", "status"]).code(0).answers("which lives");
        let document = stop(child, signal, &args).code(code).document();
        assert_eq!(document["exit"], code, "{document:#}");
        sandbox.run(&["lock", "status"]).code(0).answers("is not locked");
    }
}

fn stop(child: Child, signal: Signal, args: &[&str]) -> Run {
    kill_process(Pid::from_child(&child), signal).unwrap();
    Run::of(args, child.wait_with_output().unwrap())
}

fn unhealthy(sandbox: &Sandbox) {
    let status = sandbox.status();
    let prometheus = component(&status, "prometheus")["pid"].as_i64().unwrap();
    let prometheus = Pid::from_raw(i32::try_from(prometheus).unwrap()).unwrap();
    // It hangs, so it stays unhealthy until somebody notices.
    kill_process(prometheus, Signal::STOP).unwrap();
    wait_until("an unhealthy stack", || sandbox.status()["state"] == "unhealthy");
    sandbox.run(&["status"]).code(10).answers("is unhealthy");
    kill_process(prometheus, Signal::CONT).unwrap();
    wait_until("a healthy stack", || {
        ["healthy", "degraded"].contains(&sandbox.status()["state"].as_str().unwrap())
    });
    if sandbox.status()["state"] == "degraded" {
        let run = sandbox.run(&["status", "--strict"]).code(10);
        run.answers("is degraded");
        sandbox.run(&["up", "--no-verify", "--strict"]).code(10).says("the stack is degraded");
    }
    kill(&sandbox.status()["supervisor"]);
    wait_until("the supervisor's end", || sandbox.status()["supervisor"].is_null());
    sandbox.run(&["verify"]).code(10).says("does not run").says("hint: bring it up");
    sandbox.run(&["up", "--no-verify"]).code(0);
}

fn left_behind(sandbox: &Sandbox) {
    // A process that says it belongs to the stack, and that nobody knows.
    let stranger = Command::new("sleep")
        .arg("60")
        .env("MONSTACK_STACK_FOLDER", sandbox.stack("monstack").canonicalize().unwrap())
        .spawn();
    let mut stranger = stranger.unwrap();
    let run = sandbox.run(&["down", "--yes", "--confirm", "monstack"]).code(13);
    let left = format!("process {} (`sleep`)", stranger.id());
    run.says("left behind").says(&left).says("hint: ");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let again = sandbox.run(&["down", "--yes", "--confirm", "monstack"]);
    assert!([Some(0), Some(6)].contains(&again.code), "{again:?}");
    assert!(!sandbox.stack("monstack").exists());
}
