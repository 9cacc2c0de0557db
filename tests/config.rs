//! The stack file: what loads, what is refused and with which words.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use monstack::config::model::SecretRef;
use monstack::config::{self, Source, StackFile};
use monstack::error::{exit_of, hint_of};
use monstack::exit::Exit;
use proptest::prelude::*;
use serde_json::{Value, json};

const FILE: &str = "monstack.yml";

fn load(text: &str, sets: &[&str]) -> anyhow::Result<StackFile> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    config::load(Source { text: Some(text), file: FILE, sets: &sets })
}

fn refusal(text: &str, sets: &[&str]) -> String {
    match load(text, sets) {
        Ok(stack) => panic!("loaded: {text}\n{stack:?}"),
        Err(error) => error.to_string(),
    }
}

/// Files of a folder of this crate with their text, sorted.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "yml")).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Lines such as `# --set name=demo` of a broken file are its settings.
fn sets(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# --set ")).collect()
}

/// Compares `text` with a golden file; `MONSTACK_BLESS=1` rewrites that.
fn is_golden(text: &str, path: &Path) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MONSTACK_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
}

fn validates(value: &Value) -> bool {
    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::validator_for(&config::schema()).unwrap());
    VALIDATOR.is_valid(value)
}

#[test]
fn every_broken_file_is_refused_in_the_words_of_its_golden_file() {
    let all = files("tests/config/broken");
    assert!(all.len() >= 30);
    for (path, text) in all {
        let error = load(&text, &sets(&text)).unwrap_err();
        assert_eq!(exit_of(&error), Exit::USAGE, "{}", path.display());
        assert!(hint_of(&error).unwrap().contains("monstack config schema"), "{}", path.display());
        let said = format!("error: {error}\n");
        assert!(!said.contains("CANARY"), "{} shows a secret: {said}", path.display());
        is_golden(&said, &path.with_extension("txt"));
    }
}

#[test]
fn the_schema_refuses_what_it_can_express() {
    for (path, text) in files("tests/config/broken") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name.starts_with("yaml-") || name == "sets" {
            continue;
        }
        let value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(validates(&value), name.starts_with("meaning-"), "{name}");
    }
}

#[test]
fn every_example_loads_and_validates_and_names_its_schema() {
    let all = files("examples");
    assert!(all.len() >= 4);
    for (path, text) in all {
        let stack = load(&text, &[]).unwrap();
        assert_eq!(Some(stack.name.as_str()), path.file_stem().unwrap().to_str());
        assert_eq!(text.lines().next(), Some(config::MODELINE), "{}", path.display());
        assert!(validates(&serde_yaml::from_str(&text).unwrap()), "{}", path.display());
    }
}

#[test]
fn nothing_at_all_is_the_default_stack() {
    let source = Source { text: None, file: FILE, sets: &[] };
    assert_eq!(config::load(source).unwrap(), StackFile::default());
    for text in ["", "\n", "# nothing yet\n", "---\n", "{}", "\u{feff}", "~"] {
        assert_eq!(load(text, &[]).unwrap(), StackFile::default(), "{text:?}");
    }
}

#[test]
fn settings_win_over_the_file() {
    let text = "name: a\nnotify: {slack: {webhook: {env: A}}}\ncomponents: {loki: {retention: 2d}}";
    let sets = [
        "name=b",
        "components.loki.retention=3d",
        "components.prometheus={retention: 1d}",
        "notify.slack.webhook={file: ~/slack}",
        "notify.email={to: [a@b.c], smtp: {host: b.c}}",
        "notify.email.to=[d@e.f]",
    ];
    let stack = load(text, &sets).unwrap();
    assert_eq!(stack.name, "b");
    assert_eq!(stack.components["loki"].retention, Some(config::Duration::days(3)));
    assert_eq!(stack.components["prometheus"].retention, Some(config::Duration::days(1)));
    assert_eq!(stack.notify.slack.unwrap().webhook.file, Some("~/slack".into()));
    assert_eq!(stack.notify.email.unwrap().to, ["d@e.f"]);
    assert_eq!(load(text, &["notify.slack=null"]).unwrap().notify.slack, None);
}

#[test]
fn settings_without_a_file_are_blamed_alone() {
    let sets = ["name=Demo".to_owned()];
    let error = config::load(Source { text: None, file: FILE, sets: &sets }).unwrap_err();
    let first = error.to_string().lines().next().unwrap().to_owned();
    assert_eq!(first, "what `--set` makes is not a monitoring stack:");
}

#[test]
fn a_position_points_at_the_word_that_is_wrong() {
    for marked in [
        "name: ^Demo",
        "name: demo\n^taget: local",
        "notify:\n  ^email:\n    to: [a@b.c]",
        "notify:\n  email:\n    to:\n      - a@b.c\n      - ^nobody\n    smtp: {host: h}",
        "components: {loki: {retention: 2d}, ^redis: {}}",
        "notify: {slack: {webhook: ^\"CANARY\"}}",
        "notify: {slack: {webhook: ^|\n  CANARY\n}}",
        "notify: {slack: {webhook: {env: A, ^file: b}}}",
        "name: demo\n^name: demo",
        "x-\u{e4}\u{f6}: [\u{1f980}, 1]\n^nmae: x",
        "# comment\r\n\r\n^nmae: x\r\n",
        "? name\n: ^Demo",
        "notify: {^slack: , discord: {webhook: {env: A}}}",
        "app: {database_url: ^[1]}",
    ] {
        let at = marked.find('^').unwrap();
        let before = &marked[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let error = refusal(&marked.replacen('^', "", 1), &[]);
        let problems: Vec<&str> = error.lines().skip(1).collect();
        let place = format!("  {FILE}:{line}:{column}: ");
        assert!(problems.len() == 1 && problems[0].starts_with(&place), "{marked:?}\n{error}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    assert_eq!(config::decode(b"name: a".to_vec(), FILE).unwrap(), "name: a");
    let error = config::decode(b"name: a\nx: \xff".to_vec(), FILE).unwrap_err();
    assert!(error.to_string().ends_with("monstack.yml:2:4: this byte is not UTF-8"), "{error}");
    let error = config::decode(b"\xff\xfen\0a\0".to_vec(), FILE).unwrap_err();
    assert_eq!(error.to_string(), "`monstack.yml` is UTF-16, wanted UTF-8");
    assert!(refusal("name: a\0b", &[]).contains("monstack.yml:1:8: "));
}

#[test]
fn what_is_shown_has_every_default_and_its_origin_and_loads_again() {
    let text =
        "name: demo\nnotify:\n  email:\n    to: [a@b.c]\n    smtp: {host: h, password: {env: P}}";
    let sets = ["components.loki.retention=3d".to_owned()];
    let source = Source { text: Some(text), file: FILE, sets: &sets };
    let loaded = config::load_with_origins(source).unwrap();
    let shown = config::show(&loaded.stack, &loaded.origins);
    let yaml = shown.to_string();
    is_golden(&yaml, Path::new("tests/config/shown.yml"));
    assert_eq!(load(&yaml, &[]).unwrap(), config::effective(&loaded.stack));
    assert_eq!(config::effective(&shown.stack), shown.stack);
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json["stack"]["components"]["prometheus"]["retention"], "15d");
    assert_eq!(json["origins"]["components.loki.retention"], "--set components.loki.retention");
    assert!(validates(&json["stack"]));
}

#[test]
fn what_every_example_comes_to_loads_again() {
    for (_, text) in files("examples") {
        let stack = load(&text, &[]).unwrap();
        let shown = config::show(&stack, &BTreeMap::new());
        assert_eq!(load(&shown.to_string(), &[]).unwrap(), shown.stack);
    }
}

/// A value that has a chance to be right somewhere.
fn values() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "demo",
        "local",
        "builtin",
        "3.5.0",
        "15d",
        "0s",
        "a@b.c",
        "smtp.example.org",
        "TOKEN",
        "",
        "Demo",
        "x y",
        "{",
        "true",
        "a: b",
        "1h1h",
    ]);
    let leaf = prop_oneof![
        4 => words.prop_map(|word| json!(word)),
        1 => (0i64..100_000).prop_map(|number| json!(number)),
        1 => Just(json!(null)),
        1 => Just(json!(true)),
        1 => Just(json!(1.5)),
        1 => "\\PC{0,6}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            4 => prop::collection::btree_map(keys(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn keys() -> impl Strategy<Value = String> {
    let known = vec![
        "name",
        "target",
        "components",
        "app",
        "notify",
        "slack",
        "discord",
        "email",
        "webhook",
        "env",
        "file",
        "command",
        "aws_secret",
        "to",
        "from",
        "smtp",
        "host",
        "port",
        "user",
        "password",
        "source",
        "path",
        "database_url",
        "prometheus",
        "loki",
        "nginx",
        "version",
        "retention",
        "scrape_interval",
        "x-a",
        "other",
    ];
    prop::sample::select(known).prop_map(str::to_owned)
}

/// A stack that is valid, with one value changed, added or taken away.
fn changed() -> impl Strategy<Value = Value> {
    let full = json!({
        "name": "demo", "target": "local", "x-any": null,
        "components": {"prometheus": {"version": "3.5.0", "retention": "2d"}, "nginx": {"path": "/n"}},
        "app": {"path": "./a", "database_url": {"env": "URL"}},
        "notify": {
            "slack": {"webhook": {"file": "~/s"}},
            "email": {"to": ["a@b.c"], "smtp": {"host": "h", "port": 25, "password": {"command": "c"}}}
        }
    });
    let mut spots = Vec::new();
    collect(&full, "", &mut spots);
    let change = prop_oneof![Just(None), values().prop_map(Some)];
    (prop::sample::select(spots), prop::option::of(keys()), change).prop_map(
        move |(spot, key, value)| {
            let mut stack = full.clone();
            let node = stack.pointer_mut(&spot).unwrap();
            match (key, value, &mut *node) {
                (Some(key), Some(value), Value::Object(map)) => drop(map.insert(key, value)),
                (Some(key), None, Value::Object(map)) => drop(map.remove(&key)),
                (_, value, _) => *node = value.unwrap_or_default(),
            }
            stack
        },
    )
}

fn collect(value: &Value, path: &str, spots: &mut Vec<String>) {
    spots.push(path.to_owned());
    for (key, value) in value.as_object().into_iter().flatten() {
        collect(value, &format!("{path}/{key}"), spots);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_loader_and_the_schema_are_of_one_mind(stack in changed()) {
        let text = serde_yaml::to_string(&stack).unwrap();
        let loaded = load(&text, &[]).map_err(|error| error.to_string());
        let empty = stack.is_null();
        prop_assert_eq!(loaded.is_ok(), empty || validates(&stack), "{}\n{:?}", text, loaded);
        if let Err(error) = loaded {
            prop_assert!(error.contains("is not a monitoring stack:\n"), "{}", error);
        }
    }

    #[test]
    fn any_text_is_shown_so_that_it_is_read_back(user in "\\PC+|[ -~]+|[0-9a-fox._-]{1,5}", command in "(.|\n|[\\x00-\\x7f]){1,9}") {
        let mut stack = load("notify: {email: {to: [a@b.c], smtp: {host: h}}}", &[]).unwrap();
        let smtp = &mut stack.notify.email.as_mut().unwrap().smtp;
        smtp.user = Some(user);
        smtp.password = Some(SecretRef { command: Some(command), ..SecretRef::default() });
        let shown = config::show(&stack, &BTreeMap::new());
        let again = load(&shown.to_string(), &[]);
        prop_assert_eq!(again.map_err(|error| error.to_string()), Ok(shown.stack));
    }

    #[test]
    fn no_text_makes_the_loader_panic(text in any::<String>(), set in any::<String>()) {
        let _ = load(&text, &[&set]);
    }

    #[test]
    fn no_yaml_like_text_makes_the_loader_panic(
        text in "((name|notify|components|x-a|- |\\? |&a |\\*a |!t |<<|\"|'|\\||>)?[:{}\\[\\], \n\t#~-]{0,3}){0,20}",
        set in "[a-z.\"'=\\[{*&]{0,12}",
    ) {
        let _ = load(&text, &[&set]);
    }
}
