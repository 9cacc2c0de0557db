//! Standard output carries the answer, standard error the progress; a terminal gets colours, others do not.

use std::fs::File;
use std::process::{Command, Stdio};

use regex::Regex;
use serde_json::{Deserializer, Value};

use crate::common::{Run, Sandbox, is_lab_skipped};

const ESCAPE: char = '\u{1b}';

#[test]
fn an_answer_is_one_document_and_progress_is_elsewhere() {
    if is_lab_skipped("the streams of a running stack") {
        return;
    }
    let sandbox = Sandbox::new();
    let up = sandbox.run(&["up", "--no-verify", "-o", "json"]).code(0);
    one_document(&up);
    assert!(up.stderr.starts_with("[1/5] Check this machine\n"), "{}", up.stderr);
    assert!(!up.stderr.contains(ESCAPE), "{}", up.stderr);
    let again = sandbox.run(&["up", "--no-verify"]).code(0);
    assert!(again.stdout.contains("nothing changed") && !again.stdout.contains("[1/"), "{again:?}");
    assert!(!again.stdout.contains(ESCAPE), "{again:?}");
    let quiet = sandbox.run(&["up", "--no-verify", "-q"]).code(0);
    assert_eq!(quiet.stderr, "");
    assert_eq!(sandbox.run(&["render", "-q"]).code(0).stderr, "");
    for args in [
        &["plan"][..],
        &["status"],
        &["verify", "--only", "network"],
        &["logs", "prometheus"],
        &["open", "prometheus", "--print"],
        &["render"],
        &["render", "--diff"],
        &["lock", "status"],
        &["lock", "break"],
        &["config", "show"],
        &["config", "validate"],
        &["config", "schema"],
        &["version"],
    ] {
        one_document(&sandbox.run(&[args, &["-o", "json"]].concat()).code(0));
        let run = sandbox.run(&[args, &["--color", "always"]].concat()).code(0);
        assert!(!run.stdout.is_empty(), "{run:?}");
    }
    pages_are_printed(&sandbox);
    nobody_reads(&sandbox);
    on_a_terminal(&sandbox);
    let down = sandbox.run(&["down", "--yes", "--confirm", "monstack", "-o", "json"]).code(0);
    one_document(&down);
}

fn pages_are_printed(sandbox: &Sandbox) {
    let url = sandbox.run(&["open", "--print"]).code(0).stdout;
    assert!(url.starts_with("http://127.77.") && url.lines().count() == 1, "{url}");
    // Without a display nothing is opened, and the address is printed all the same.
    assert_eq!(sandbox.run(&["open"]).code(0).stdout, url);
    assert_eq!(sandbox.json(&["open"])["opened"], false);
    sandbox.run(&["open", "redis"]).code(2).says("hint: name one of prometheus");
}

/// As with `| head -0`, and with a full disk behind `>`.
fn nobody_reads(sandbox: &Sandbox) {
    for args in [&["status"][..], &["plan"], &["logs", "prometheus"], &["up", "--no-verify"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sandbox.command(args).stdout(writer).output().unwrap();
        let run = Run::of(args, output).code(0);
        assert!(!run.stderr.contains("panic") && !run.stderr.contains("error"), "{run:?}");
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = sandbox.command(&["status"]).stdout(full).output().unwrap();
    Run::of(&["status"], output).code(1).says("error: the answer cannot be written");
}

fn on_a_terminal(sandbox: &Sandbox) {
    let Some(coloured) = in_terminal(sandbox, ("up --no-verify --color always", &[])) else {
        eprintln!("skipped: there is no `script` here to make a terminal");
        return;
    };
    assert!(has_colours(&coloured), "{coloured:?}");
    let wanted_plain: [(&str, &[(&str, &str)]); 5] = [
        ("up --no-verify --color never", &[]),
        ("up --no-verify", &[("NO_COLOR", "1")]),
        ("up --no-verify", &[("MONSTACK_COLOR", "never")]),
        ("--color never --help", &[]),
        ("--color=never frob", &[]),
    ];
    for run in wanted_plain {
        let plain = in_terminal(sandbox, run).unwrap();
        assert!(!plain.is_empty() && !has_colours(&plain), "{run:?}: {plain:?}");
    }
}

/// What a terminal is sent by `monstack LINE`; nothing where none can be made.
fn in_terminal(sandbox: &Sandbox, (line, env): (&str, &[(&str, &str)])) -> Option<String> {
    let inside = sandbox.command(&[]);
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--command"])
        .arg(format!("'{}' {line}", env!("CARGO_BIN_EXE_monstack")))
        .arg("/dev/null")
        .current_dir(sandbox.path())
        .envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("TERM", "xterm")
        .envs(env.iter().copied())
        .stdin(Stdio::null());
    Some(String::from_utf8(command.output().ok()?.stdout).unwrap())
}

/// Whether colours or weights are set; moving the cursor is no colour.
fn has_colours(text: &str) -> bool {
    let colour = Regex::new("\u{1b}\\[[0-9;]*[1-9][0-9;]*m").unwrap();
    colour.is_match(text)
}

#[track_caller]
fn one_document(run: &Run) {
    let documents: Vec<Value> = Deserializer::from_str(&run.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {run:?}"));
    assert_eq!(documents.len(), 1, "{run:?}");
    let document = &documents[0];
    assert_eq!(document["version"], 1, "{document:#}");
    assert_eq!(document["ok"], run.code == Some(0), "{document:#}");
    assert_eq!(document["exit"].as_i64(), run.code.map(i64::from), "{document:#}");
    assert_eq!(document.get("result").is_some(), run.code == Some(0), "{document:#}");
    assert!(!run.stdout.contains(ESCAPE));
}

#[test]
fn colours_are_told_from_other_codes() {
    assert!(has_colours("a\u{1b}[32mb\u{1b}[0m") && has_colours("\u{1b}[1;4mb"));
    assert!(!has_colours("\u{1b}[2K\u{1b}[1A\u{1b}[0mb [32m"));
}
