//! What the programs that read the files say of them.

use std::process::Command;

use crate::support::{ODD, Stack, default_stack, odd_stack, program, repository, succeeded, walk};

/// Has two rendered stacks checked, and tells what the tool said of them.
fn checked(component: &str, tool: &str) -> Option<String> {
    let tool = program(tool)?;
    let mut said = String::new();
    let folder = tempfile::tempdir().unwrap();
    let stacks: [Stack; 2] =
        [default_stack(&folder.path().join("a")), odd_stack(&folder.path().join(ODD))];
    for mut stack in stacks {
        // nginx looks the user up, and which users there are differs from machine to machine.
        stack.input.facts.worker = None;
        stack.write();
        let output = stack.check(component, &tool);
        succeeded(&format!("{component} in {}", stack.layout.root().display()), &output);
        said += &String::from_utf8_lossy(&output.stdout);
    }
    Some(said)
}

#[test]
fn prometheus_accepts_its_configuration() {
    if let Some(said) = checked("prometheus", "promtool") {
        let rules = said.lines().filter(|line| line.contains("rules found"));
        assert_eq!(rules.count(), 8, "{said}");
    }
}

#[test]
fn alertmanager_accepts_its_configuration() {
    checked("alertmanager", "amtool");
}

#[test]
fn the_test_alert_leads_to_its_listener_and_others_to_people() {
    let Some(amtool) = program("amtool") else { return };
    let folder = tempfile::tempdir().unwrap();
    let stack = odd_stack(folder.path());
    stack.write();
    let file = stack.layout.rendered_secret("prometheus", "alertmanager").join("alertmanager.yml");
    for (labels, receivers) in [
        (&["alertname=MonstackTest", "severity=none"][..], "monstack-test"),
        (&["alertname=MonstackTest", "severity=none", "notify=yes"], "people,monstack-test"),
        (&["alertname=Note", "severity=none"], "nobody"),
        (&["alertname=TargetDown", "severity=critical"], "people"),
        (&["alertname=HighLatency", "severity=warning"], "people"),
    ] {
        let output = Command::new(&amtool)
            .args(["config", "routes", "test", "--config.file"])
            .arg(&file)
            .args(labels)
            .output()
            .unwrap();
        succeeded("amtool config routes test", &output);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), receivers, "{labels:?}");
    }
}

#[test]
fn nginx_accepts_its_configuration() {
    checked("nginx", "nginx");
}

#[test]
fn nginx_finds_an_odd_path_again() {
    let Some(nginx) = program("nginx") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut stack = odd_stack(&folder.path().join(ODD));
    stack.input.facts.worker = None;
    stack.write();
    succeeded("nginx", &stack.check("nginx", &nginx));
    for path in ["logs/nginx_access.log", "data/nginx/client_body"] {
        assert!(stack.layout.root().join(path).exists(), "nginx made `{path}` somewhere else");
    }
}

#[test]
fn loki_accepts_its_configuration() {
    checked("loki", "loki");
}

#[test]
fn alloy_accepts_its_configuration() {
    checked("alloy", "alloy");
}

#[test]
fn alerts_fire_when_they_should_and_not_when_they_should_not() {
    let Some(promtool) = program("promtool") else { return };
    let tests = walk(&repository("tests/rules"));
    assert!(!tests.is_empty());
    let output = Command::new(promtool).args(["test", "rules"]).args(tests).output().unwrap();
    succeeded("promtool test rules", &output);
}
