//! The supervisor dies, or the ground goes from under it.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::common::dice::{Dice, setting};
use crate::common::judge::{
    NAME, assert_gone, assert_whole, component, is_well, kill, pids, slot, status, take_down,
};
use crate::common::machine::{processes_of, runs, send};
use crate::common::{Sandbox, is_lab_skipped, wait_until};

fn supervisor(sandbox: &Sandbox) -> u32 {
    u32::try_from(status(sandbox)["supervisor"].as_u64().unwrap()).unwrap()
}

#[test]
fn services_outlive_their_supervisor_and_the_next_one_adopts_them() {
    if is_lab_skipped("killing the supervisor") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let before = assert_whole(&sandbox, &[]);
    kill(supervisor(&sandbox));
    assert!(before.values().all(|pid| runs(*pid)), "services ended with their supervisor");
    // The kernel lets go of the lock of a killed process a moment after it was killed.
    wait_until("the end of the supervisor", || status(&sandbox)["state"] == "unsupervised");
    let now = status(&sandbox);
    assert_eq!(now["supervisor"], json!(null));
    assert_eq!(pids(&now), before);
    sandbox.run(&["status"]).code(10).answers("run `monstack up`");
    sandbox.run(&["plan", "--check"]).code(7);
    sandbox.run(&["up", "--no-verify"]).code(0);
    assert_eq!(assert_whole(&sandbox, &[]), before);
    let restarts = |name: &String| component(&sandbox, name)["restarts"].clone();
    assert!(before.keys().map(restarts).all(|restarts| restarts == 0));

    // With a service killed as well, that one alone starts anew.
    kill(supervisor(&sandbox));
    kill(before["prometheus"]);
    sandbox.run(&["up", "--no-verify"]).code(0);
    let after = assert_whole(&sandbox, &[]);
    for (name, pid) in &before {
        let anew = name == "prometheus";
        assert_eq!(after[name] != *pid, anew, "{name}");
        assert_eq!(component(&sandbox, name)["restarts"], u32::from(anew), "{name}");
    }

    // `down` needs no supervisor either.
    kill(supervisor(&sandbox));
    take_down(&sandbox);
}

#[test]
fn a_supervisor_that_dies_while_services_start_is_replaced_by_the_same_run() {
    if is_lab_skipped("killing the supervisor while services start") {
        return;
    }
    let sandbox = Sandbox::new();
    let mut dice = Dice::new();
    let rounds = setting("MONSTACK_CHAOS_ROUNDS", 12) / 2;
    let (mut missed, mut late) = (0, 0);
    for round in 0..rounds {
        let mut up = sandbox.spawn(&["up", "--no-verify"]);
        let mut lines = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("Start services")));
        let file = sandbox.stack(NAME).join("run/supervisor.json");
        wait_until("the first words of the supervisor", || file.exists());
        let delay = Duration::from_micros(dice.below(600_000));
        std::thread::sleep(delay);
        let text = std::fs::read_to_string(&file).unwrap();
        let identity: serde_json::Value = serde_json::from_str(&text).unwrap();
        // A run that stands still and has not ended yet must see what happens now.
        send(up.id(), Signal::STOP);
        let ended = up.try_wait().unwrap().is_some();
        kill(u32::try_from(identity["pid"].as_u64().unwrap()).unwrap());
        send(up.id(), Signal::CONT);
        let told: Vec<String> = lines.collect();
        assert!(up.wait().unwrap().success(), "round {round}, {delay:?}: {told:#?}");
        if ended {
            missed += 1;
            sandbox.run(&["up", "--no-verify"]).code(0);
        } else if !is_well(&status(&sandbox)) {
            late += 1;
            sandbox.run(&["up", "--no-verify"]).code(0);
        }
        assert_whole(&sandbox, &[]);
        take_down(&sandbox);
    }
    eprintln!(
        "{rounds} supervisors killed: {missed} when the run had ended, {late} after its last look"
    );
    assert!(late <= 1 + rounds / 10, "runs did not see that their supervisor was gone");
}

#[test]
fn a_supervisor_whose_own_files_are_lost_is_still_found_and_stopped() {
    if is_lab_skipped("losing the supervisor's files") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let run = sandbox.stack(NAME).join("run");
    std::fs::remove_file(run.join("supervisor.json")).unwrap();
    for name in assert_whole(&sandbox, &[]).keys() {
        std::fs::remove_file(run.join(format!("{name}.pid"))).unwrap();
    }
    take_down(&sandbox);
}

#[test]
fn a_stack_whose_folder_is_removed_ends_by_itself() {
    if is_lab_skipped("removing the folder of a running stack") {
        return;
    }
    for again in [false, true] {
        let sandbox = Sandbox::new();
        sandbox.run(&["up", "--no-verify"]).code(0);
        assert_whole(&sandbox, &[]);
        let (root, old) = (sandbox.stack(NAME), slot(&sandbox));
        let before = processes_of(&root);
        // Services write while this goes on, so it may take more than one attempt, as it would by hand.
        wait_until("the removal of the folder", || {
            std::fs::remove_dir_all(sandbox.path().join(".monstack")).is_ok()
        });
        if again {
            // The new stack must not be taken for the old one, nor the old one's end touch it.
            sandbox.run(&["up", "--no-verify"]).code(0);
        }
        wait_until("the end of the old stack", || before.iter().all(|process| !runs(process.pid)));
        if again {
            assert_whole(&sandbox, &[]);
            take_down(&sandbox);
        } else {
            assert_gone(&sandbox, old);
            assert!(!sandbox.path().join(".monstack").exists(), "something was made again");
        }
    }
}

#[test]
fn a_machine_that_lost_every_process_gets_its_stack_back() {
    if is_lab_skipped("the restart of the machine") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let before = assert_whole(&sandbox, &[]);
    let root = sandbox.stack(NAME);
    // The supervisor first, or it would start again what is killed; a power cut takes all at once.
    kill(supervisor(&sandbox));
    wait_until("the end of every process", || {
        let living = processes_of(&root);
        living.iter().for_each(|process| send(process.pid, Signal::KILL));
        living.is_empty()
    });
    let run = sandbox.run(&["status", "-o", "json"]).code(10);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["result"]["state"], "stopped", "{document:#}");
    assert!(pids(&document["result"]).is_empty());
    sandbox.run(&["up", "--no-verify"]).code(0);
    let after = assert_whole(&sandbox, &[]);
    assert!(before.iter().all(|(name, pid)| after[name] != *pid));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(assert_whole(&sandbox, &[]), after, "something started twice");
    take_down(&sandbox);
}
