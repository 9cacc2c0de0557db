//! Rules of the house that a program can check; the others are in `CONTRIBUTING.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use monstack::asset::Assets;
use monstack::component::CATALOGUE;
use regex::Regex;

/// Modules of the library: each may use those below it, and none above.
const ORDER: &[&str] = &[
    "command",
    "cli",
    "target",
    "phase",
    "verify",
    "supervisor",
    "resolve",
    "render",
    "topology",
    "secret",
    "workdir",
    "tail",
    "asset",
    "layout",
    "process",
    "exec",
    "http",
    "report",
    "config",
    "component",
    "error",
    "exit",
    "digest",
];

/// Most lines of a file before its tests; the exceptions are tables.
const LONGEST: usize = 350;
const TABLES: &[&str] = &["src/component/catalogue.rs"];

/// Where a component may be called by its name, and why. Everywhere else the catalogue says what differs.
const NAMED: &[(&str, &str)] = &[
    ("src/component/catalogue.rs", "the table itself"),
    ("src/verify", "each server is asked in its own language"),
    ("src/render/context.rs", "settings of one component that others are told"),
    ("src/render/encode.rs", "names of file formats"),
    ("src/config/option.rs", "which component knows which setting"),
    ("src/topology.rs", "names of nodes"),
    ("src/phase/prove.rs", "how often Prometheus scrapes"),
    ("src/command/logs.rs", "log lines come from Loki"),
    ("src/command/open.rs", "the page of the app is nginx's"),
    ("src/command/up.rs", "the pages that people look at, in their order"),
    ("src/cli.rs", "the page that is opened where none is named"),
    ("src/asset.rs", "the folder of the app's source"),
];

/// Hosts that files may name, beside examples and loopback.
const HOSTS: &[&str] = &[
    "astral.sh",
    "crates.io",
    "dl.grafana.com",
    "docs.rs",
    "github.com",
    "grafana.com",
    "json-schema.org",
    "nginx.org",
    "packaging.python.org",
    "prometheus.io",
    "rustup.rs",
    "sh.rustup.rs",
    "static.rust-lang.org",
    "www.apache.org",
    "www.rust-lang.org",
    "www.w3.org",
];

#[test]
fn files_are_short() {
    let long: Vec<String> = files()
        .into_iter()
        .filter(|file| is_code(file) && !is_test(file) && !TABLES.contains(&file.as_str()))
        .map(|file| (before_tests(&text(&file)).lines().count(), file))
        .filter(|(lines, _)| *lines > LONGEST)
        .map(|(lines, file)| format!("{file}: {lines} lines"))
        .collect();
    assert_eq!(long, Vec::<String>::new(), "wanted at most {LONGEST} before the tests");
}

#[test]
fn imports_go_one_way() {
    let import = Regex::new(r"\bcrate::(\w+)").unwrap();
    let mut wrong = Vec::new();
    for (file, module) in modules() {
        let Some(own) = ORDER.iter().position(|name| *name == module) else {
            panic!("`{file}`: `{module}` is not in ORDER; put it where it belongs");
        };
        let code = before_tests(&text(&file)).to_owned();
        for used in import.captures_iter(&code).map(|found| found[1].to_owned()) {
            match ORDER.iter().position(|name| *name == used) {
                Some(place) if place >= own => {}
                _ => wrong.push(format!("{file}: `{module}` uses `{used}`")),
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "a module uses only those below it in ORDER");
    let known: BTreeSet<String> = modules().into_iter().map(|(_, module)| module).collect();
    assert_eq!(known, ORDER.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn components_are_named_in_the_catalogue_alone() {
    let names: Vec<&str> = CATALOGUE.iter().map(|component| component.name).collect();
    let name = Regex::new(&format!("\"({})\"", names.join("|"))).unwrap();
    let mut wrong = Vec::new();
    let mut unused: BTreeSet<&str> = NAMED.iter().map(|(place, _)| *place).collect();
    for (file, _) in modules() {
        let code = before_tests(&text(&file)).to_owned();
        let found: Vec<&str> = name.find_iter(&code).map(|found| found.as_str()).collect();
        match NAMED.iter().find(|(place, _)| file.starts_with(place)) {
            Some((place, _)) if !found.is_empty() => drop(unused.remove(place)),
            None if !found.is_empty() => wrong.push(format!("{file}: {}", found.join(", "))),
            _ => {}
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "make it a row or a column of the catalogue");
    assert_eq!(unused, BTreeSet::new(), "no component is named there any more");
}

#[test]
fn every_template_is_a_row_of_the_catalogue() {
    let none = |_: &str| None;
    let there: BTreeSet<String> = Assets::new(&none).list("templates/").into_iter().collect();
    let named = CATALOGUE.iter().flat_map(|component| component.files);
    let named: BTreeSet<String> =
        named.map(|file| format!("templates/{}", file.template)).collect();
    assert_eq!(there, named);
}

#[test]
fn nothing_is_put_off() {
    let later = Regex::new(concat!(r"\b(TO", r"DO|FIX", r"ME|XX", r"X|HA", r"CK)\b")).unwrap();
    assert_eq!(matches(&later, |file| file != "tests/tidy.rs"), Vec::<String>::new());
}

#[test]
fn code_has_no_banners_and_no_silenced_lints() {
    let banner = Regex::new(r"(?m)^\s*(//|#) ?[-=*#]{4,}").unwrap();
    assert_eq!(matches(&banner, is_code), Vec::<String>::new());
    let silenced = Regex::new(r"#!?\[allow\(").unwrap();
    let own = |file: &str| is_code(file) && !is_test(file);
    assert_eq!(matches(&silenced, own), Vec::<String>::new(), "write `#[expect(.., reason = ..)]`");
}

#[test]
fn functions_take_no_bare_switches() {
    let switch = Regex::new(r"pub fn \w+(<[^>]*>)?\([^)]*\b\w+: bool\b").unwrap();
    let own = |file: &str| file.ends_with(".rs") && !is_test(file);
    assert_eq!(matches(&switch, own), Vec::<String>::new(), "two functions, or an enum");
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    let path = Regex::new(r#"(?m)(^|[\s"'`(=:,])/(root|work|home/\w+|Users/\w+|tmp/w)/"#).unwrap();
    assert_eq!(matches(&path, |file| file != "tests/tidy.rs"), Vec::<String>::new());
}

#[test]
fn no_mirror_of_a_registry_is_written_down() {
    let setting = Regex::new(
        r"(?i)--(extra-)?index-url|--trusted-host|replace-with|source\.crates-io|(http|https|all)_proxy *=|GOPROXY *=",
    )
    .unwrap();
    assert_eq!(matches(&setting, |file| file != "tests/tidy.rs"), Vec::<String>::new());
    let source = Regex::new(r#"(?m)^source = "(.*)"$"#).unwrap();
    for found in source.captures_iter(&text("Cargo.lock")) {
        assert_eq!(&found[1], "registry+https://github.com/rust-lang/crates.io-index");
    }
}

#[test]
fn only_known_hosts_are_named() {
    let url = Regex::new(r"https?://([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)").unwrap();
    let mut wrong = BTreeSet::new();
    for file in files() {
        for found in url.captures_iter(&text(&file)).map(|found| found[1].to_lowercase()) {
            let suffix = found.rsplit('.').next().unwrap_or_default();
            let reserved = ["example", "invalid", "test", "localhost"].contains(&suffix)
                || [".example.org", ".example.com", ".example.net"]
                    .iter()
                    .any(|end| format!(".{found}").ends_with(end));
            // Loopback, and the addresses that are set aside for documentation.
            let harmless = ["127.", "0.0.0.0", "192.0.2.", "198.51.100.", "203.0.113."];
            let own = reserved || harmless.iter().any(|start| found.starts_with(start));
            if !own && !HOSTS.contains(&found.as_str()) {
                wrong.insert(format!("{file}: {found}"));
            }
        }
    }
    assert_eq!(wrong, BTreeSet::new(), "add a public host to HOSTS, and take others out");
}

/// Places of the files that `wanted` chooses where `pattern` is found.
fn matches(pattern: &Regex, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    for file in files().into_iter().filter(|file| wanted(file)) {
        let text = text(&file);
        for found in pattern.find_iter(&text) {
            let line = text[..found.start()].lines().count().max(1);
            places.push(format!("{file}:{line}: {}", found.as_str().trim()));
        }
    }
    places
}

/// Files of the library below `src/`, each with its module.
fn modules() -> Vec<(String, String)> {
    let own = files().into_iter().filter(|file| {
        file.starts_with("src/") && !["src/lib.rs", "src/main.rs"].contains(&file.as_str())
    });
    own.filter(|file| !is_test(file))
        .map(|file| {
            let module = file["src/".len()..].split('/').next().unwrap_or_default();
            (file.clone(), module.trim_end_matches(".rs").to_owned())
        })
        .collect()
}

fn is_code(file: &str) -> bool {
    [".rs", ".py", ".sh", ".toml"].iter().any(|end| file.ends_with(end))
}

fn is_test(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    file.split('/').any(|part| part == "tests") && !file.starts_with("tests/standin/")
        || name.starts_with("test_")
        || ["tests.rs", "fixture.rs"].contains(&name)
}

/// The part of a Rust file that is built into the product.
fn before_tests(text: &str) -> &str {
    let end = text.find("#[cfg(test)]\nmod tests").or(text.find("#[cfg(test)]\npub mod tests"));
    &text[..end.unwrap_or(text.len())]
}

/// Text of a file; nothing where it is no text.
fn text(file: &str) -> String {
    String::from_utf8(fs::read(root().join(file)).unwrap()).unwrap_or_default()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Paths of all files of the repository, relative to its top; what is built or fetched is left out.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    let relative = |path: PathBuf| path.strip_prefix(root()).ok()?.to_str().map(str::to_owned);
    let mut found: Vec<String> = found.into_iter().filter_map(relative).collect();
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    const ELSEWHERE: &[&str] = &[".git", ".monstack", ".terraform", "__pycache__", "target"];
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() && !ELSEWHERE.contains(&name.as_str()) => {
                walk(&path, found);
            }
            Ok(metadata) if metadata.is_file() && !ELSEWHERE.contains(&name.as_str()) => {
                found.push(path);
            }
            _ => {}
        }
    }
}
