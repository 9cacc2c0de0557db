//! Stacks beside each other, beside programs of others that hold ports, and of a user without rights.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails, and one that is skipped says so"
)]

mod common;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Sandbox, component, get, is_lab_skipped, kill, wait_until};
use serde_json::Value;

/// Set in the run of this program that has a network of its own.
const OWN_NETWORK: &str = "MONSTACK_TEST_OWN_NETWORK";
/// A user and a group that own nothing.
const NOBODY: u32 = 65534;

#[test]
fn two_stacks_of_two_folders_leave_each_other_alone() {
    if is_lab_skipped("two stacks of two folders") {
        return;
    }
    let (left, right) = (Sandbox::new(), Sandbox::new());
    let (mut one, mut two) = (left.spawn(&["-s", "one", "up"]), right.spawn(&["-s", "two", "up"]));
    assert!(one.wait().unwrap().success() && two.wait().unwrap().success());
    let before = right.json(&["-s", "two", "status"]);
    assert_ne!(slot(&left, "one"), slot(&right, "two"));
    assert_ne!(
        left.json(&["-s", "one", "verify", "--only", "network,metrics"])["result"],
        "failed"
    );

    left.run(&["-s", "one", "down", "--yes", "--confirm", "one"]).code(0);
    let after = right.json(&["-s", "two", "status"]);
    assert_eq!(pids(&before), pids(&after), "taking one stack down touched the other");
    assert!(["healthy", "degraded"].contains(&after["state"].as_str().unwrap()), "{after:#}");
    right.run(&["-s", "two", "verify", "--only", "network"]).code(0);
}

#[test]
fn two_stacks_of_one_folder_leave_each_other_alone() {
    if is_lab_skipped("two stacks of one folder") {
        return;
    }
    let sandbox = Sandbox::new();
    for name in ["one", "two"] {
        sandbox.run(&["-s", name, "up", "--no-verify"]).code(0);
    }
    assert_ne!(slot(&sandbox, "one"), slot(&sandbox, "two"));
    let before = sandbox.json(&["-s", "two", "status"]);
    sandbox.run(&["status"]).code(6).says("there is no stack `monstack`");
    sandbox.run(&["-s", "one", "down", "--yes", "--confirm", "one"]).code(0);
    assert!(!sandbox.stack("one").exists());
    assert_eq!(pids(&before), pids(&sandbox.json(&["-s", "two", "status"])));
    sandbox.run(&["-s", "two", "verify", "--only", "network"]).code(0);
    sandbox.run(&["-s", "one", "up", "--no-verify"]).code(0);
}

#[test]
fn a_stack_keeps_its_addresses_and_says_who_took_them() {
    if is_lab_skipped("a taken address") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let status = sandbox.json(&["status"]);
    let address = component(&status, "prometheus")["url"].as_str().unwrap().to_owned();
    let address = address.trim_start_matches("http://").to_owned();
    // As after a crash of the machine: all is gone but the files.
    kill(&status["supervisor"]);
    status["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| !row["pid"].is_null())
        .for_each(|row| kill(&row["pid"]));
    let mut taken = None;
    wait_until("the end of Prometheus", || {
        taken = TcpListener::bind(&address).ok();
        taken.is_some()
    });
    let program = std::env::current_exe().unwrap();
    // The kernel keeps the first 15 bytes of a program's name.
    let program = program.file_name().unwrap().to_str().unwrap();
    let holder = format!("(pid {})", std::process::id());
    let run = sandbox.run(&["up", "--no-verify"]).code(4);
    let run = run.says(&format!("`{address}` is held by `{}", &program[..10])).says(&holder);
    run.says("hint:");
    sandbox.run(&["plan"]).code(4).says(&holder);
    drop(taken);
    sandbox.run(&["up", "--no-verify"]).code(0);
    let after = sandbox.json(&["status"]);
    assert_eq!(component(&after, "prometheus")["url"], component(&status, "prometheus")["url"]);
    assert!(get(&format!("http://{address}/-/ready")).is_some());
}

#[test]
fn a_stack_whose_addresses_were_taken_can_move() {
    if is_lab_skipped("a stack that moves") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.run(&["up", "--no-verify"]).code(0);
    let before = slot(&sandbox, "monstack");
    let url = sandbox.json(&["open", "prometheus", "--print"])["url"].as_str().unwrap().to_owned();
    sandbox.run(&["down", "--yes", "--keep-data"]).code(0).answers("are kept in");
    let _taken = TcpListener::bind(url.trim_start_matches("http://")).unwrap();
    sandbox.run(&["up", "--no-verify"]).code(0);
    assert_ne!(slot(&sandbox, "monstack"), before);
}

/// Every port of a stack may be in use on a machine, so this runs where nobody else is.
#[test]
fn a_port_that_is_held_on_every_address_moves_all_ports() {
    if is_lab_skipped("a port held on every address") {
        return;
    }
    let test = std::env::current_exe().unwrap();
    // An interface beside loopback, as every machine has one: the dashboards show its traffic.
    let network_of_its_own = "ip link set lo up && ip link add name lab type veth peer name peer";
    let inner = "exec \"$0\" --exact --ignored --nocapture \
                 in_a_network_of_its_own_a_held_port_moves_all_ports";
    let network = ["unshare", "--net", "sh", "-c"];
    let user = ["unshare", "--user", "--map-current-user", "--keep-caps", "--net", "sh", "-c"];
    let can = |words: &[&str]| {
        Command::new(words[0])
            .args(&words[1..])
            .arg(network_of_its_own)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let Some(words) = [&network[..], &user[..]].into_iter().find(|words| can(words)) else {
        eprintln!("skipped: no network of its own can be made here (`unshare --net`)");
        return;
    };
    // In there nothing can be fetched, so the programs are fetched before.
    Sandbox::new().run(&["up", "--no-verify"]).code(0);
    let status = Command::new(words[0])
        .args(&words[1..])
        .arg(format!("{network_of_its_own} && {inner}"))
        .arg(test)
        .env(OWN_NETWORK, "1")
        .status()
        .unwrap();
    assert!(status.success(), "the run in a network of its own failed");
}

#[test]
#[ignore = "the test above runs it in a network of its own"]
fn in_a_network_of_its_own_a_held_port_moves_all_ports() {
    if std::env::var_os(OWN_NETWORK).is_none() {
        eprintln!("skipped: it wants a network of its own");
        return;
    }
    let _held = TcpListener::bind("0.0.0.0:9093").unwrap();
    let sandbox = Sandbox::new();
    let planned = sandbox.run(&["plan"]).code(0);
    let up = sandbox.run(&["up"]).code(0);
    let holder = format!("(pid {})", std::process::id());
    let up =
        up.says("warning: ports: port 9093 is held on every address by `neighbours").says(&holder);
    up.says("the ports of this stack are moved up by 10000");
    assert!(planned.stdout.contains("take 127.77."), "{planned:?}");
    let status = sandbox.json(&["status"]);
    let url = |name: &str| component(&status, name)["url"].as_str().unwrap().to_owned();
    assert!(url("alertmanager").ends_with(":19093"), "{status:#}");
    assert!(url("prometheus").ends_with(":19090"));
    assert!(url("nginx").ends_with(":18080"));
    assert!(get(&format!("{}/view", url("nginx"))).is_some());
    assert_ne!(sandbox.json(&["verify"])["result"], "failed");
    let again = sandbox.json(&["up"]);
    assert_eq!(again["changed"], false, "{again:#}");
    // The offset is recorded: it stays when the reason has gone.
    drop(_held);
    assert_eq!(sandbox.json(&["up"])["changed"], false);
}

#[test]
fn a_user_without_rights_needs_none() {
    if is_lab_skipped("the stack of an unprivileged user") {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: the other tests run as an unprivileged user already");
        return;
    }
    let sandbox = Sandbox::new();
    let folder = sandbox.path().to_owned();
    let program = folder.join("bin/monstack");
    fs::create_dir(folder.join("bin")).unwrap();
    for (name, source) in [
        ("monstack", Path::new(env!("CARGO_BIN_EXE_monstack")).to_owned()),
        (
            "monstack-agent",
            Path::new(env!("CARGO_BIN_EXE_monstack")).with_file_name("monstack-agent"),
        ),
    ] {
        fs::copy(source, folder.join("bin").join(name)).unwrap();
    }
    packages_for(&folder.join("cache"));
    owned_by_nobody(&folder);
    let id = NOBODY.to_string();
    let sandbox = sandbox
        .with_program(program)
        .with_wrapper(&["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"])
        .with_env("HOME", folder.join("home"))
        .with_env("XDG_CACHE_HOME", folder.join("cache"))
        .with_env("XDG_STATE_HOME", folder.join("state"))
        // No folder of root: the Python of root's own folder is none that others may use.
        .with_env("PATH", "/usr/local/bin:/usr/bin:/bin");

    let up = sandbox.json(&["up"]);
    assert_ne!(up["verdict"]["result"], "failed", "{up:#}");
    let status = sandbox.json(&["status"]);
    let app = component(&status, "nginx")["url"].as_str().unwrap().to_owned();
    assert!(app.ends_with(":8080"), "{app}");
    assert!(get(&format!("{app}/view?read=true")).is_some());
    for row in status["components"].as_array().unwrap().iter().filter(|row| row["pid"].is_u64()) {
        let owner = fs::metadata(format!("/proc/{}", row["pid"])).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), NOBODY, "{row:#}");
    }
    assert_eq!(sandbox.json(&["up"])["changed"], false);
    sandbox.run(&["down", "--yes", "--confirm", "monstack"]).code(0);
    assert!(!sandbox.stack("monstack").exists());
}

/// Packages that other tests fetched already; a virtual environment belongs to the Python that made it.
fn packages_for(cache: &Path) {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/monstack");
    let Ok(entries) = fs::read_dir(shared) else { return };
    fs::create_dir_all(cache.join("monstack")).unwrap();
    for entry in entries.map(Result::unwrap).filter(|entry| entry.file_name() != "venv") {
        let copied =
            Command::new("cp").arg("-a").arg(entry.path()).arg(cache.join("monstack")).status();
        assert!(copied.unwrap().success());
    }
}

fn owned_by_nobody(folder: &Path) {
    let owner = format!("{NOBODY}:{NOBODY}");
    assert!(Command::new("chown").args(["-R", &owner]).arg(folder).status().unwrap().success());
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
}

/// Third byte of the addresses of a stack.
fn slot(sandbox: &Sandbox, name: &str) -> u64 {
    let record = fs::read_to_string(sandbox.stack(name).join("stack.json")).unwrap();
    serde_json::from_str::<Value>(&record).unwrap()["seat"]["slot"].as_u64().unwrap()
}

fn pids(status: &Value) -> Vec<u64> {
    let components = status["components"].as_array().unwrap();
    components.iter().filter_map(|component| component["pid"].as_u64()).collect()
}
