//! Two runs at once: one works, the other one says who does, or waits.

use std::process::Child;

use crate::common::judge::{NAME, assert_gone, assert_whole, take_down};
use crate::common::{Run, Sandbox, is_lab_skipped};

fn end(child: Child) -> (u32, Run) {
    (child.id(), Run::of(&["(one of two)"], child.wait_with_output().unwrap()))
}

#[test]
fn of_two_runs_at_once_one_is_told_about_the_other() {
    if is_lab_skipped("two runs at once") {
        return;
    }
    let sandbox = Sandbox::new();
    for round in 0..20 {
        let days = format!("components.prometheus.retention={}d", round + 1);
        let up = ["up", "--no-verify", "--set", &days];
        let both = [sandbox.spawn(&up), sandbox.spawn(&up)].map(end);
        let [(first, one), (second, other)] = both;
        let (winner, refused) = if one.code == Some(0) { (first, other) } else { (second, one) };
        refused
            .code(11)
            .says(&format!("the stack is locked by `monstack up` (pid {winner} on"))
            .says("hint: wait for it with `--lock-wait 5m`");
    }
    assert_whole(&sandbox, &["--set", "components.prometheus.retention=20d"]);
    take_down(&sandbox);
}

#[test]
fn a_run_that_may_wait_gets_its_turn() {
    if is_lab_skipped("waiting for another run") {
        return;
    }
    let sandbox = Sandbox::new();
    let up = ["up", "--no-verify", "--lock-wait", "60s"];
    let [(_, one), (_, other)] = [sandbox.spawn(&up), sandbox.spawn(&up)].map(end);
    let (one, other) = (one.code(0), other.code(0));
    let waited = |run: &Run| run.stderr.contains("lock: waiting for `monstack up` (pid ");
    assert!(waited(&one) != waited(&other), "{one:?}\n{other:?}");
    assert_whole(&sandbox, &[]);
    take_down(&sandbox);
}

#[test]
fn up_and_down_at_once_take_turns() {
    if is_lab_skipped("up and down at once") {
        return;
    }
    let sandbox = Sandbox::new();
    let up = ["up", "--no-verify", "--lock-wait", "60s"];
    let down = ["down", "--yes", "--confirm", NAME, "--lock-wait", "60s"];
    for _ in 0..10 {
        sandbox.run(&up).code(0);
        let [(_, one), (_, other)] = [sandbox.spawn(&down), sandbox.spawn(&up)].map(end);
        let (_, up) = (one.code(0), other.code(0));
        // Whoever came last has decided.
        if sandbox.stack(NAME).exists() {
            assert_whole(&sandbox, &[]);
        } else {
            assert!(!up.stderr.contains("waiting for `monstack down`"), "{up:?}");
            assert_gone(&sandbox, None);
        }
    }
    if sandbox.stack(NAME).exists() {
        take_down(&sandbox);
    }
}
