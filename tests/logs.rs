//! Log lines on their way: from the app's file through Alloy to Loki, Grafana and `monstack logs`.
//!
//! Where Loki, Alloy and Grafana cannot be had their stand-ins stand; a real Loki is taken from `MONSTACK_TEST_BIN`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails, and one that is skipped says so"
)]

mod common;

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::{Sandbox, component, get, is_lab_skipped, kill, standins, wait_until};
use monstack::http::encode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

#[test]
fn every_signal_is_proven_where_every_component_runs() {
    if is_lab_skipped("a stack with stand-ins for Loki, Alloy and Grafana") {
        return;
    }
    let sandbox = Sandbox::new().with_path(&standins());
    proven(&sandbox);
    let status = sandbox.status();
    for name in ["loki", "alloy", "grafana"] {
        assert_eq!(component(&status, name)["version"], "stand-in", "{status:#}");
    }
    lines_arrive_with_their_labels(&sandbox);
    logs_answers_from_loki_and_without_it(&sandbox);
    lines_outlive_a_killed_loki(&sandbox);
    a_wrong_password_is_told(&sandbox);
}

#[test]
fn a_real_loki_takes_the_lines() {
    if is_lab_skipped("a stack with a real Loki") {
        return;
    }
    let Some(loki) = real("loki") else {
        eprintln!("skipped: there is no `loki` in MONSTACK_TEST_BIN");
        return;
    };
    let sandbox = Sandbox::new();
    let programs = sandbox.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    symlink(loki, programs.join("loki")).unwrap();
    for name in ["alloy", "grafana"] {
        symlink(standins().join(name), programs.join(name)).unwrap();
    }
    let sandbox = sandbox.with_path(&programs);
    proven(&sandbox);
    assert_ne!(component(&sandbox.status(), "loki")["version"], "stand-in");
    lines_arrive_with_their_labels(&sandbox);
    logs_answers_from_loki_and_without_it(&sandbox);
    lines_outlive_a_killed_loki(&sandbox);
}

#[test]
fn logs_are_followed_through_rotation() {
    if is_lab_skipped("following logs") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    write_line(&sandbox, "before");
    let mut child = sandbox.spawn(&["logs", "app", "-f", "--grep", "probe"]);
    let lines = lines_of(child.stdout.take().unwrap());
    let next = || lines.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(next().contains("probe before"));
    write_line(&sandbox, "first");
    assert!(next().contains("probe first"));
    let log = app_log(&sandbox);
    std::fs::rename(&log, log.with_extension("log.1")).unwrap();
    std::fs::write(&log, "").unwrap();
    write_line(&sandbox, "second");
    assert!(next().contains("probe second"));
    // As `head` does: who reads no more ends it with the next line.
    drop(lines);
    write_line(&sandbox, "third");
    write_line(&sandbox, "fourth");
    let ended = std::cell::OnceCell::new();
    wait_until("the end of `logs -f`", || {
        write_line(&sandbox, "unread");
        child.try_wait().unwrap().is_some_and(|status| ended.set(status).is_ok())
    });
    assert_eq!(ended.get().unwrap().code(), Some(0));
    assert_eq!(std::io::read_to_string(child.stderr.take().unwrap()).unwrap(), "");
}

#[test]
fn log_lines_of_the_files_are_chosen_by_time_and_pattern() {
    if is_lab_skipped("logs from files") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let old = json!({"time": "2020-01-01T00:00:00.000Z", "level": "INFO", "message": "probe old"});
    append(&app_log(&sandbox), &format!("{old}\n"));
    write_line(&sandbox, "new");
    let found = sandbox.json(&["logs", "app", "--grep", "probe"]);
    assert_eq!(found["source"], "files");
    assert_eq!(messages(&found), ["probe old", "probe new"]);
    let found = sandbox.json(&["logs", "app", "--grep", "probe", "--since", "5m"]);
    assert_eq!(messages(&found), ["probe new"]);
    sandbox.run(&["logs", "app", "--grep", "("]).code(2).says("no regular expression");
    sandbox.run(&["logs", "redis"]).code(2).says("hint: name one of prometheus");
    let both = sandbox.run(&["logs", "app", "-f", "-o", "json"]).code(2);
    both.says("never ends").answers("\"ok\": false");
}

/// Brings the stack up, which must be healthy with every check proven and every panel filled.
fn proven(sandbox: &Sandbox) {
    let up = sandbox.json(&["up"]);
    assert_eq!(up["result"], "healthy", "{up:#}");
    let verdict = sandbox.json(&["verify"]);
    assert_eq!(verdict["result"], "proven", "{verdict:#}");
    let checks = verdict["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 7);
    assert!(checks.iter().all(|check| check["outcome"] == "proven"), "{verdict:#}");
    let panels = checks.iter().find(|check| check["check"] == "panels").unwrap();
    let items = panels["items"].as_array().unwrap();
    assert!(items.len() > 50, "{panels:#}");
    assert!(items.iter().all(|item| item["outcome"] == "proven"), "{panels:#}");
}

fn lines_arrive_with_their_labels(sandbox: &Sandbox) {
    write_line(sandbox, "labels");
    let streams = in_loki(sandbox, "labels");
    let labels = streams[0]["stream"].as_object().unwrap();
    let own = ["job", "level", "node", "service"].map(|name| labels[name].as_str().unwrap());
    assert_eq!((own[1], own[2], own[3]), ("warning", "app", "app"), "{labels:?}");
    assert!(!own[0].is_empty());
}

fn logs_answers_from_loki_and_without_it(sandbox: &Sandbox) {
    let question = ["logs", "app", "--grep", "probe lab[e]ls", "--since", "5m"];
    let found = sandbox.json(&question);
    assert_eq!(found["source"], "loki");
    assert_eq!(messages(&found), ["probe labels"]);
    // Loki hangs: it takes the question and never answers.
    let loki = pid(sandbox, "loki");
    kill_process(loki, Signal::STOP).unwrap();
    let found = sandbox.json(&question);
    kill_process(loki, Signal::CONT).unwrap();
    assert_eq!(found["source"], "files");
    assert_eq!(messages(&found), ["probe labels"]);
    wait_until("Loki's recovery", || component(&sandbox.status(), "loki")["state"] == "healthy");
}

fn lines_outlive_a_killed_loki(sandbox: &Sandbox) {
    let status = sandbox.status();
    kill(&component(&status, "loki")["pid"]);
    write_line(sandbox, "orphan");
    wait_until("Loki's return", || {
        let status = sandbox.status();
        component(&status, "loki")["state"] == "healthy"
            && component(&status, "loki")["restarts"] == 1
    });
    assert_eq!(in_loki(sandbox, "orphan").len(), 1);
    let verdict = sandbox.json(&["verify", "--only", "logs"]);
    assert_eq!(verdict["result"], "proven", "{verdict:#}");
}

fn a_wrong_password_is_told(sandbox: &Sandbox) {
    let file = sandbox.stack("monstack").join("secrets/grafana_admin_password");
    let password = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "another-password").unwrap();
    let run = sandbox.run(&["verify"]).code(10);
    let run = run.answers("Grafana refuses the password of its user `admin`");
    let run = run.answers("secrets/grafana_admin_password");
    assert!(!format!("{run:?}").contains("another-password"));
    std::fs::write(&file, password).unwrap();
    assert_eq!(sandbox.json(&["verify", "--only", "metrics"])["result"], "proven");
}

/// Writes a line as the app does.
fn write_line(sandbox: &Sandbox, word: &str) {
    let line = json!({
        "time": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        "level": "WARNING",
        "message": format!("probe {word}"),
    });
    append(&app_log(sandbox), &format!("{line}\n"));
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn app_log(sandbox: &Sandbox) -> PathBuf {
    sandbox.stack("monstack").join("logs/flask.log")
}

/// Streams of Loki with a line of this test.
fn in_loki(sandbox: &Sandbox, word: &str) -> Vec<Value> {
    let loki = sandbox.json(&["open", "loki", "--print"])["url"].as_str().unwrap().to_owned();
    let query = encode(&format!("{{service=\"app\"}} |= \"probe {word}\""));
    let mut streams = Vec::new();
    wait_until("the line's arrival in Loki", || {
        let answer = get(&format!("{loki}/loki/api/v1/query_range?query={query}"));
        let answer: Value = serde_json::from_str(&answer.unwrap_or_default()).unwrap_or_default();
        streams = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        !streams.is_empty()
    });
    streams
}

fn messages(found: &Value) -> Vec<String> {
    let lines = found["lines"].as_array().unwrap().iter();
    let message = |line: &Value| -> Option<String> {
        let line: Value = serde_json::from_str(line["text"].as_str()?).ok()?;
        line["message"].as_str().map(str::to_owned)
    };
    lines.map(|line| message(line).unwrap()).collect()
}

fn pid(sandbox: &Sandbox, name: &str) -> Pid {
    let status = sandbox.status();
    let pid = component(&status, name)["pid"].as_i64().unwrap();
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Lines as they come, read in a thread of their own until nobody wants them.
fn lines_of(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output).lines();
        while lines.next().is_some_and(|line| sender.send(line.unwrap()).is_ok()) {}
    });
    receiver
}

fn real(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("MONSTACK_TEST_BIN").map(PathBuf::from)?;
    Some(folder.join(name)).filter(|path| path.is_file())
}
