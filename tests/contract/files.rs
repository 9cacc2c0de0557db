//! Files: a plan writes none, and nothing is written outside `.monstack`, the cache and the state folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use monstack::process;

use crate::common::{Sandbox, is_lab_skipped};

/// Each file and folder below a folder, with what a change would change.
type Listing = BTreeMap<PathBuf, (u64, i64, i64, u64)>;

fn listing(folder: &Path) -> Listing {
    let mut found = Listing::new();
    list(folder, &mut found);
    found
}

fn list(folder: &Path, found: &mut Listing) {
    let Ok(metadata) = fs::symlink_metadata(folder) else { return };
    let facts = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len());
    found.insert(folder.to_owned(), facts);
    for entry in fs::read_dir(folder).into_iter().flatten() {
        list(&entry.unwrap().path(), found);
    }
}

#[test]
fn a_plan_of_a_stack_that_is_not_there_writes_nothing() {
    let sandbox = Sandbox::new();
    let home = sandbox.path().join("home");
    fs::create_dir(&home).unwrap();
    let sandbox = ["HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "TMPDIR"]
        .iter()
        .fold(sandbox, |sandbox, name| sandbox.with_env(name, &home));
    let before = listing(sandbox.path());
    let plan = sandbox.json(&["plan"]);
    assert!(plan["changes"].as_array().unwrap().len() > 20, "{plan:#}");
    for args in [
        &["plan", "--check"][..],
        &["render", "--diff"],
        &["config", "show"],
        &["config", "schema"],
        &["status"],
        &["verify"],
        &["logs", "app"],
        &["open"],
        &["down"],
        &["lock", "status"],
        &["lock", "break"],
        &["version"],
    ] {
        sandbox.run(args);
        assert_eq!(listing(sandbox.path()), before, "{args:?}");
    }
}

#[test]
fn a_plan_of_a_running_stack_writes_nothing() {
    if is_lab_skipped("the plan of a running stack") {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new().with_env("XDG_STATE_HOME", state.path());
    sandbox.run(&["up", "--no-verify"]).code(0);
    let own = || {
        // The services write their data and logs, and the supervisor what it sees.
        let stack = sandbox.stack("monstack");
        let theirs = ["data", "logs", "run"].map(|name| stack.join(name));
        let mut all = listing(sandbox.path());
        all.extend(listing(state.path()));
        all.retain(|path, _| !theirs.iter().any(|folder| path.starts_with(folder)));
        all
    };
    let desired = || fs::read(sandbox.stack("monstack").join("run/desired.json")).unwrap();
    let before = (own(), desired());
    for args in [
        &["plan"][..],
        &["plan", "--set", "components.prometheus.retention=3d"],
        &["plan", "--set", "components.prometheus.scrape_interval=7s", "-o", "json"],
        &["render", "--diff", "--set", "components.prometheus.scrape_interval=7s"],
        &["status"],
        &["open", "--print"],
        &["logs", "app"],
    ] {
        sandbox.run(args).code(0);
        assert_eq!((own(), desired()), before, "{args:?}");
    }
}

#[test]
fn nothing_is_written_outside_its_folders() {
    if is_lab_skipped("the places that are written to") {
        return;
    }
    let sandbox = Sandbox::new();
    let (home, temporary) = (sandbox.path().join("home"), sandbox.path().join("temporary"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&temporary).unwrap();
    let sandbox = sandbox
        .with_env("HOME", &home)
        .with_env("TMPDIR", &temporary)
        .with_env("XDG_CONFIG_HOME", home.join("config"))
        .with_env("XDG_STATE_HOME", home.join("state"));
    sandbox.run(&["up"]).code(0);
    no_file_is_open_elsewhere(&sandbox, &home);
    sandbox.run(&["render"]).code(0);
    sandbox.run(&["verify"]).code(0);
    assert_eq!(names(sandbox.path()), [".monstack", "home", "temporary"]);
    assert_eq!(names(&home), ["state"]);
    assert_eq!(names(&home.join("state")), ["monstack"]);
    assert_eq!(names(&temporary), Vec::<String>::new());
    sandbox.run(&["down", "--yes", "--confirm", "monstack"]).code(0);
    assert_eq!(names(&temporary), Vec::<String>::new());
    let slots: Vec<_> = listing(&home).into_keys().filter(|path| path.is_file()).collect();
    assert!(slots.iter().all(|path| path.ends_with("guard")), "{slots:?}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Files that the services and their supervisor hold open for writing.
fn no_file_is_open_elsewhere(sandbox: &Sandbox, home: &Path) {
    let status = sandbox.status();
    let rows = status["components"].as_array().unwrap().iter().map(|row| &row["pid"]);
    let pids = rows.chain([&status["supervisor"]]);
    let roots: Vec<u32> = pids.filter_map(|pid| u32::try_from(pid.as_u64()?).ok()).collect();
    let mut seen = 0;
    for pid in process::descendants(&roots) {
        for (number, path) in open_files(pid) {
            let own = path.starts_with(sandbox.path().join(".monstack")) || path.starts_with(home);
            let is_written = is_writable(pid, &number);
            seen += u32::from(is_written && own);
            let kernel = ["/dev", "/proc", "/sys"].iter().any(|folder| path.starts_with(folder));
            // A file without a name holds nothing for anybody and goes with its process.
            let nameless = path.to_string_lossy().ends_with(" (deleted)") || !path.is_absolute();
            assert!(
                own || kernel || nameless || !is_written,
                "{:?} writes `{}`",
                process::name(pid),
                path.display()
            );
        }
    }
    assert!(seen > 10, "{seen}");
}

fn open_files(pid: u32) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().into_string().ok()?, fs::read_link(entry.path()).ok()?))
        })
        .collect()
}

fn is_writable(pid: u32, number: &str) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0");
    // The last two bits are the access mode, and 0 is reading.
    u32::from_str_radix(flags.trim(), 8).unwrap() & 3 != 0
}
