//! A whole scrape of a machine made of files, compared with `scrape.prom`. `MONSTACK_BLESS=1` rewrites that file.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use monstack_agent::collector::{COLLECTORS, Collected, Collector, Context};
use monstack_agent::gather::Gatherer;
use monstack_agent::health::{Health, Status};
use monstack_agent::scope::Scope;

use crate::{machine, program};

#[test]
fn the_fixture_gives_exactly_this_text() {
    let text = Gatherer::new(machine::context(), COLLECTORS).gather();
    // The version changes with every release, and no reader of the file is interested in it.
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scrape.prom");
    if std::env::var_os("MONSTACK_BLESS").is_some() {
        fs::write(&golden, &text).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    let first = text.lines().zip(expected.lines()).find(|(found, wanted)| found != wanted);
    assert_eq!(first, None, "the first line that differs: found, wanted");
    assert_eq!(text, expected);
}

#[test]
fn a_second_scrape_says_the_same() {
    let gatherer = Gatherer::new(machine::context(), COLLECTORS);
    assert_eq!(gatherer.gather(), gatherer.gather());
    // The user's file that names one of the agent's own metrics is the one failure.
    assert_eq!(gatherer.failed(), ["textfile"]);
}

#[test]
fn promtool_finds_nothing_but_the_names_of_node_exporter() {
    let Some(promtool) = program::find(&["promtool"]) else {
        println!("skipped: no `promtool` on PATH or in MONSTACK_TEST_BIN");
        return;
    };
    let text = Gatherer::new(machine::context(), COLLECTORS).gather();
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // node_exporter takes these names from the kernel as they are, and so do the dashboards.
    let others: Vec<_> = said
        .lines()
        .filter(|line| {
            !(line.starts_with("node_memory_") && line.ends_with("'snake_case' not 'camelCase'"))
        })
        .collect();
    assert_eq!(others, [""; 0]);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", output.status);
}

fn crash(_: &Context) -> anyhow::Result<Collected> {
    panic!("a collector with a mistake in it")
}

fn hang(_: &Context) -> anyhow::Result<Collected> {
    std::thread::sleep(Duration::from_secs(600));
    anyhow::bail!("nobody waits for this")
}

fn fail(_: &Context) -> anyhow::Result<Collected> {
    anyhow::bail!("no such disk")
}

static WITH_BAD_ONES: [Collector; 5] = [
    Collector { name: "crash", collect: crash },
    Collector { name: "hang", collect: hang },
    Collector { name: "fail", collect: fail },
    Collector { name: "loadavg", collect: monstack_agent::collector::loadavg::collect },
    Collector { name: "again", collect: monstack_agent::collector::loadavg::collect },
];

#[test]
fn bad_collectors_are_reported_and_spoil_nothing() {
    let gatherer = Gatherer::new(machine::context(), &WITH_BAD_ONES);
    for _ in 0..3 {
        let text = gatherer.gather();
        for collector in ["crash", "hang", "fail", "again"] {
            assert!(
                text.contains(&format!(
                    "node_scrape_collector_success{{collector=\"{collector}\"}} 0\n"
                )),
                "{text}"
            );
        }
        assert!(text.contains("node_scrape_collector_success{collector=\"loadavg\"} 1\n"));
        assert_eq!(text.matches("\nnode_load1 0.28\n").count(), 1, "{text}");
    }
    assert_eq!(gatherer.failed(), ["crash", "hang", "fail", "again"]);
}

#[test]
fn a_machine_without_files_gives_failures_but_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = machine::Fixture::at(folder.path());
    let gatherer = Gatherer::new(
        Arc::new(Context::new(Arc::new(fixture), Arc::new(machine::Still))),
        COLLECTORS,
    );
    let text = gatherer.gather();
    for collector in [
        "cpu",
        "diskstats",
        "filefd",
        "filesystem",
        "loadavg",
        "meminfo",
        "netdev",
        "stat",
        "vmstat",
    ] {
        assert!(
            text.contains(&format!(
                "node_scrape_collector_success{{collector=\"{collector}\"}} 0\n"
            )),
            "{text}"
        );
    }
    assert!(text.contains("node_scrape_collector_success{collector=\"uname\"} 1\n"));
    assert!(text.contains("node_textfile_scrape_error 1\n"));
    // A kernel without the feature is no failure.
    assert!(!text.contains("pressure"), "{text}");
}

#[test]
fn health_sums_up_the_fixture() {
    let report = Health::new(machine::context()).report(vec!["disk"]);
    assert_eq!(report.status, Status::Ok);
    assert_eq!(report.scope, Some(Scope::Host));
    assert_eq!(report.metrics.memory_percent, Some(18.98));
    assert_eq!(report.metrics.root_filesystem_percent, Some(62.5));
    assert_eq!(report.metrics.load1, Some(0.28));
    assert_eq!(report.metrics.cpu_percent, None, "the fixture's counters stand still");
    let process = report.process.unwrap();
    assert_eq!(
        (process.cpu_seconds, process.resident_memory_bytes, process.threads),
        (2.0, 2800 * 1024, 3)
    );
    assert_eq!(report.failed_collectors, ["disk"]);
}
