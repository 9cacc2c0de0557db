//! The agent beside the real node_exporter, where that is found: the same machine has to give the same series.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use monstack_agent::collector::textfile::parse::{self, TextFamily};
use monstack_agent::exposition::Kind;

use crate::program::{PATIENCE, Running, find, free_port};

const COLLECTORS: [&str; 13] = [
    "cpu",
    "diskstats",
    "filefd",
    "filesystem",
    "loadavg",
    "meminfo",
    "netdev",
    "pressure",
    "stat",
    "textfile",
    "time",
    "uname",
    "vmstat",
];

/// Debian changes these defaults; the agent follows the project's own.
const UPSTREAM_DEFAULTS: [&str; 4] = [
    "--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\\d+n\\d+p)\\d+$",
    "--collector.filesystem.fs-types-exclude=^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
    "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
    "--collector.netdev.device-exclude=^$",
];

/// About node_exporter's own program, and one metric that is of macOS and always zero on Linux.
const NOT_OURS: [&str; 5] = [
    "go_",
    "promhttp_",
    "node_exporter_build_info",
    "node_filesystem_purgeable_bytes",
    "process_network_",
];

/// Measures that stand still between two scrapes, so that their values have to be the same to the last byte.
const STANDING_STILL: [&str; 10] = [
    "canary",
    "without_help",
    "node_boot_time_seconds",
    "node_disk_info",
    "node_filefd_maximum",
    "node_filesystem_mount_info",
    "node_filesystem_size_bytes",
    "node_memory_MemTotal_bytes",
    "node_time_clocksource",
    "node_uname_info",
];

#[test]
fn every_series_of_node_exporter_is_served() {
    let Some(program) = find(&["node_exporter", "prometheus-node-exporter"]) else {
        println!("skipped: no `node_exporter` on PATH or in MONSTACK_TEST_BIN");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let canary =
        "# HELP canary A \\\\ bird.\n# TYPE canary gauge\ncanary{a=\"\\\"\"} 1\nwithout_help 2e7\n";
    std::fs::write(folder.path().join("a.prom"), canary).unwrap();
    let textfile = folder.path().display().to_string();
    let theirs = node_exporter(&program, &textfile);
    let ours =
        Running::agent(&["--listen", "127.0.0.1:0", "--collector.textfile.directory", &textfile]);
    let (theirs, ours) = (families(&theirs.metrics()), families(&ours.metrics()));
    let missing: Vec<_> =
        theirs.iter().filter_map(|(name, family)| difference(family, ours.get(name)?)).collect();
    assert_eq!(missing, [""; 0]);
    let absent: Vec<_> =
        theirs.keys().filter(|name| !ours.contains_key(*name) && !is_not_ours(name)).collect();
    assert_eq!(absent, [""; 0]);
    let invented: Vec<_> = ours
        .keys()
        .filter(|name| name.starts_with("node_") && !theirs.contains_key(*name))
        .collect();
    // Old versions serve every line of `/proc/meminfo`, as the agent does, and newer ones those they know.
    let newer = ["node_filesystem_mount_info", "node_pressure_irq_stalled_seconds_total"];
    let unknown: Vec<_> = invented
        .iter()
        .filter(|name| !name.starts_with("node_memory_") && !newer.contains(&name.as_str()))
        .collect();
    assert_eq!(unknown, [&&""; 0]);
}

fn node_exporter(program: &Path, textfile: &str) -> Running {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(program);
    command
        .args(UPSTREAM_DEFAULTS)
        .arg("--collector.disable-defaults")
        .args(COLLECTORS.map(|name| format!("--collector.{name}")));
    command.args(["--collector.textfile.directory", textfile, "--web.listen-address", &address]);
    let mut running = Running::start(command);
    let begin = Instant::now();
    while TcpStream::connect(&address).is_err() {
        assert!(begin.elapsed() < PATIENCE, "node_exporter does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    running.client.address = address;
    running
}

/// Reads a whole answer; series are known by their name and labels.
fn families(text: &str) -> BTreeMap<String, Family> {
    let parsed = parse::families(text.as_bytes()).unwrap();
    let family = |family: TextFamily| {
        let series = family.samples.into_iter().map(|mut sample| {
            // A version of node_exporter says 0 for every disk on a kernel that it does not know, and old ones say
            // nothing; the agent says what the kernel says.
            sample.labels.retain(|(name, _)| name != "rotational");
            (sample.identity(), sample.value)
        });
        (family.name, Family { kind: family.kind, help: family.help, series: series.collect() })
    };
    parsed.into_iter().map(family).collect()
}

struct Family {
    kind: Option<Kind>,
    help: Option<String>,
    series: BTreeMap<String, f64>,
}

fn difference(theirs: &Family, ours: &Family) -> Option<String> {
    if (theirs.kind, &theirs.help) != (ours.kind, &ours.help) {
        return Some(format!(
            "{:?} {:?} instead of {:?} {:?}",
            ours.kind, ours.help, theirs.kind, theirs.help
        ));
    }
    theirs.series.iter().find_map(|(series, value)| match ours.series.get(series) {
        None => Some(format!("no `{series}`")),
        Some(found)
            if found != value && STANDING_STILL.iter().any(|name| series.starts_with(name)) =>
        {
            Some(format!("`{series}` is {found} instead of {value}"))
        }
        Some(_) => None,
    })
}

fn is_not_ours(name: &str) -> bool {
    NOT_OURS.iter().any(|start| name.starts_with(start))
}
