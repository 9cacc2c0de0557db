//! Command lines that cannot be right, and those that only ask.

use std::fs;

use serde_json::Value;

use crate::common::Sandbox;

const COMMANDS: &[&[&str]] = &[
    &["plan"],
    &["up"],
    &["verify"],
    &["status"],
    &["logs"],
    &["open"],
    &["render"],
    &["down"],
    &["lock"],
    &["lock", "status"],
    &["lock", "break"],
    &["config"],
    &["config", "show"],
    &["config", "validate"],
    &["config", "schema"],
    &["version"],
];

/// Command lines, and what is said of them.
const WRONG: &[(&[&str], &str)] = &[
    (&["frob"], "unrecognized subcommand 'frob'"),
    (&["plna"], "a similar subcommand exists: 'plan'"),
    (&["plan", "--jbos", "3"], "a similar argument exists: '--jobs'"),
    (&["-q"], "a command is missing"),
    (&["logs"], "<ROLE>"),
    (&["plan", "-o", "yaml"], "possible values: text, json"),
    (&["plan", "--timeout", "soon"], "is not a duration such as"),
    (&["plan", "-j", "0"], "0 is not in 1..=64"),
    (&["plan", "-C", "nowhere"], "folder `nowhere` cannot be entered"),
    (&["plan", "-c", "nothing.yml"], "there is no stack file"),
    (&["plan", "--set", "name"], "--set name: wanted a path, `=` and a value"),
    (&["plan", "--set", "name="], "nothing follows the `=`"),
    (&["plan", "--set", "components.promtheus.path=x"], "did you mean `prometheus`?"),
    (&["plan", "--set", "components.prometheus.retention=ages"], "is not a duration such as"),
    (&["plan", "--set", "target=aws"], "use `local`"),
    (&["config", "validate", "--set", "nmae=x"], "did you mean `name`?"),
];

#[test]
fn a_wrong_command_line_ends_with_2_and_touches_nothing() {
    let sandbox = Sandbox::new();
    for (args, said) in WRONG {
        let run = sandbox.run(args).code(2).says(said);
        assert_eq!(run.stdout, "", "{run:?}");
        assert!(run.stderr.starts_with("error: "), "{run:?}");
        let json = sandbox.run(&[&["-o", "json"], *args].concat());
        if args.contains(&"yaml") {
            continue;
        }
        let document = json.code(2).document();
        assert_eq!((&document["ok"], &document["exit"]), (&false.into(), &2.into()));
        let told = document["error"].to_string();
        let said = Value::from(*said).to_string();
        assert!(told.contains(said.trim_matches('"')), "{document:#}");
    }
    assert_eq!(fs::read_dir(sandbox.path()).unwrap().count(), 0);
}

#[test]
fn what_is_no_name_of_a_stack_is_refused() {
    let sandbox = Sandbox::new();
    let long = "a".repeat(80);
    let names = [
        "..", "../x", "a/b", "/etc", ".", "", "a..b", "Démo", "é", "-a", "1a", "a_b", "a b", "a\n",
        &long,
    ];
    for name in names {
        let given = format!("--stack={name}");
        for args in [[given.as_str(), "up"], [&given, "plan"], [&given, "down"], [&given, "status"]]
        {
            let run = sandbox.run(&args).code(2);
            assert!(run.stderr.contains("--stack") && run.stdout.is_empty(), "{run:?}");
        }
        let written = serde_json::json!({ "name": name }).to_string();
        sandbox.write("monstack.yml", &written);
        sandbox.run(&["up"]).code(2).says("monstack.yml:1:");
        fs::remove_file(sandbox.path().join("monstack.yml")).unwrap();
        let mut command = sandbox.command(&["plan"]);
        command.env("MONSTACK_STACK", name);
        assert_eq!(command.output().unwrap().status.code(), Some(2), "{name:?}");
    }
    assert_eq!(fs::read_dir(sandbox.path()).unwrap().count(), 0);
}

#[test]
fn a_name_that_means_something_in_yaml_is_a_name() {
    let sandbox = Sandbox::new();
    for name in ["null", "true", "no", "off", "y"] {
        let shown = sandbox.json(&["-s", name, "config", "validate"]);
        assert_eq!(shown["stack"], name);
    }
}

#[test]
fn help_fits_and_ends_with_0() {
    let sandbox = Sandbox::new();
    for words in COMMANDS.iter().copied().chain([&[][..]]) {
        for flag in ["-h", "--help"] {
            let run = sandbox.run(&[words, &[flag]].concat()).code(0);
            assert!(run.stderr.is_empty() && run.stdout.contains("Usage: monstack"), "{run:?}");
            let first = run.stdout.lines().next().unwrap_or_default();
            assert!(!first.is_empty() && !first.ends_with('.'), "{first}");
            for line in run.stdout.lines() {
                assert!(line.chars().count() <= 100, "`{}`: {line}", run.args);
            }
            assert!(!run.stdout.contains("__"), "a hidden command is shown");
        }
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let sandbox = Sandbox::new();
    let version = env!("CARGO_PKG_VERSION");
    for flag in ["-V", "--version"] {
        assert_eq!(sandbox.run(&[flag]).code(0).stdout, format!("monstack {version}\n"));
    }
    let facts = sandbox.json(&["version"]);
    assert_eq!(facts["monstack"], version);
    assert!(facts["pinned"]["prometheus"].is_string(), "{facts:#}");
    sandbox.run(&["version"]).code(0).answers("prometheus");
}

#[test]
fn the_stack_file_is_shown_checked_and_described() {
    let sandbox = Sandbox::new();
    sandbox.write("monstack.yml", "name: shown\ncomponents:\n  prometheus: {retention: 2d}\n");
    sandbox.run(&["config", "validate"]).code(0).answers("is a monitoring stack named `shown`");
    assert_eq!(sandbox.json(&["config", "validate"])["valid"], true);
    let shown = sandbox.run(&["config", "show"]).code(0);
    let shown: Value = serde_yaml::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["components"]["prometheus"]["retention"], "2d");
    let schema = sandbox.run(&["config", "schema"]).code(0);
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    assert!(schema["properties"]["components"].is_object());
    assert_eq!(sandbox.json(&["config", "schema"]), schema);
    sandbox.write("monstack.yml", "nmae: shown\ntarget: lokal\n");
    let run = sandbox.run(&["config", "validate"]).code(2);
    run.says("monstack.yml:1:1: unknown key `nmae`")
        .says("monstack.yml:2:9: unknown value `lokal`");
}

#[test]
fn the_lock_of_a_stack_that_is_not_there_is_free() {
    let sandbox = Sandbox::new();
    for verb in ["status", "break"] {
        sandbox.run(&["lock", verb]).code(0).answers("is not locked");
        assert_eq!(sandbox.json(&["lock", verb])["holder"], Value::Null);
    }
    assert_eq!(fs::read_dir(sandbox.path()).unwrap().count(), 0);
}
