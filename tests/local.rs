//! The main job: a whole stack on this machine, as a user drives it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails, and one that is skipped says so"
)]

mod common;

use std::net::TcpStream;
use std::time::Duration;

use common::{Sandbox, component, is_lab_skipped, kill, wait_until};
use serde_json::Value;

#[test]
fn a_stack_comes_up_is_proven_mends_itself_and_goes_away() {
    if is_lab_skipped("the main job") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["status"]).code(6).says("there is no stack `monstack`");
    let planned = sandbox.json(&["plan"]);
    assert!(!planned["changes"].as_array().unwrap().is_empty());
    assert!(!sandbox.path().join(".monstack").exists(), "a plan wrote something");

    let up = sandbox.json(&["up"]);
    assert_eq!(up["changed"], true);
    assert_ne!(up["verdict"]["result"], "failed", "{up:#}");
    let missing = !up["missing"].as_array().unwrap().is_empty();
    assert_eq!(up["result"], if missing { "degraded" } else { "healthy" });

    let again = sandbox.json(&["up"]);
    assert_eq!(again["changed"], false, "{again:#}");
    assert_eq!(again["proven_at"], up["proven_at"], "an unchanged stack is not proven again");
    sandbox.run(&["up"]).code(0).answers("nothing changed");
    sandbox.run(&["plan", "--check"]).code(0).answers("would change nothing");

    killed_services_come_back(&sandbox);
    edits_by_hand_are_found(&sandbox);

    let verdict = sandbox.json(&["verify"]);
    assert_eq!(verdict["checks"].as_array().unwrap().len(), 7);
    assert_ne!(verdict["result"], "failed", "{verdict:#}");
    nothing_is_left(&sandbox);
}

fn killed_services_come_back(sandbox: &Sandbox) {
    let before = sandbox.json(&["status"]);
    for name in ["prometheus", "nginx", "app"] {
        kill(&component(&before, name)["pid"]);
    }
    wait_until("the restart of what was killed", || {
        let run = sandbox.run(&["status", "-o", "json"]);
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        let status = &document["result"];
        ["prometheus", "nginx", "app"].iter().all(|name| {
            let (now, then) = (component(status, name), component(&before, name));
            now["state"] == "healthy" && now["restarts"] == 1 && now["pid"] != then["pid"]
        })
    });
}

fn edits_by_hand_are_found(sandbox: &Sandbox) {
    let file = sandbox.stack("monstack").join("rendered/prometheus/prometheus/prometheus.yml");
    let rendered = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{rendered}# edited by hand\n")).unwrap();
    sandbox.run(&["plan", "--check"]).code(7).answers("-# edited by hand");
    sandbox.run(&["render", "--diff"]).code(0).answers("-# edited by hand");
    let up = sandbox.json(&["up", "--no-verify"]);
    assert_eq!(up["changed"], true);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), rendered);
    sandbox.run(&["plan", "--check"]).code(0);
}

fn nothing_is_left(sandbox: &Sandbox) {
    let status = sandbox.json(&["status"]);
    sandbox.run(&["down"]).code(8).says("--confirm monstack");
    sandbox.run(&["down", "--yes", "--confirm", "other"]).code(8).says("not the name");
    sandbox
        .run(&["down", "--yes", "--confirm", "monstack"])
        .code(0)
        .answers("no process, port or file");
    assert!(!sandbox.stack("monstack").exists());
    for component in status["components"].as_array().unwrap() {
        let Some(url) = component["url"].as_str() else { continue };
        let address = url.trim_start_matches("http://").parse().unwrap();
        assert!(
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err(),
            "{url} still answers"
        );
        let pid = component["pid"].as_u64().unwrap();
        assert!(
            monstack::process::Identity::of(u32::try_from(pid).unwrap()).is_none(),
            "{component} still runs"
        );
    }
    sandbox.run(&["down", "--yes", "--confirm", "monstack"]).code(6);
}
