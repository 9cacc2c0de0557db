//! What needs something of the machine: a disk that can be full, apt, users.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use monstack::component::Component;
use monstack::exec::Cmd;
use monstack::http::table::Table;
use monstack::resolve::{Found, Origin, Platform, resolve};
use serde_json::Value;

use crate::bench::{Bench, Row, text, upstream, walk};

/// Runs this test's program again as `child`, below `wrapper`, and returns what it wrote down.
pub fn child(wrapper: &[OsString], name: &str, env: &[(&str, &OsStr)]) -> Option<Value> {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let answer = folder.path().join("answer.json");
    let exe = std::env::current_exe().unwrap().into_os_string();
    let args = wrapper.iter().cloned().chain([exe]).collect::<Vec<_>>();
    let output = Command::new(&args[0])
        .args(&args[1..])
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("MONSTACK_TEST_ANSWER", &answer)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let Ok(text) = fs::read(&answer) else {
        assert!(
            !said.contains("running 1 test"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        eprintln!(
            "skipped: `{}` said {}",
            args[0].display(),
            String::from_utf8_lossy(&output.stderr)
        );
        return None;
    };
    Some(serde_json::from_slice(&text).unwrap())
}

/// Writes down how a search ended.
pub fn answer(outcome: anyhow::Result<Found>) {
    let answer = match outcome {
        Ok(found) => serde_json::to_value(found).unwrap(),
        Err(error) => Value::String(text(&error)),
    };
    let path = std::env::var_os("MONSTACK_TEST_ANSWER").unwrap();
    fs::write(path, serde_json::to_vec(&answer).unwrap()).unwrap();
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_full_disk_is_named_and_leaves_no_half_entry() {
    let (server, _) = upstream();
    // The first is full while the archive is fetched, the second while it is unpacked.
    for size in ["8k", "32k"] {
        let folder = tempfile::tempdir().unwrap();
        let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && exec \"$@\"");
        let wrapper = [
            "unshare".into(),
            if is_root() { "--mount" } else { "--map-root-user" }.into(),
            "--mount".into(),
            "sh".into(),
            "-c".into(),
            mount.into(),
            folder.path().into(),
        ];
        let env = [
            ("MONSTACK_TEST_SERVER", OsStr::new(&server.url)),
            ("MONSTACK_TEST_CACHE", folder.path().as_os_str()),
        ];
        let Some(answer) = child(&wrapper, "machine::child_fills_a_disk", &env) else { return };
        let said = answer.as_str().unwrap();
        assert!(said.contains("no space is left on the disk of `"), "{size}: {said}");
        assert!(said.contains("free some space, or point XDG_CACHE_HOME"), "{size}: {said}");
    }
}

#[test]
#[ignore = "another test starts it in a mount namespace"]
fn child_fills_a_disk() {
    let server = std::env::var("MONSTACK_TEST_SERVER").unwrap();
    let cache = std::env::var_os("MONSTACK_TEST_CACHE").unwrap();
    let bench = Bench::new();
    let mut sources = bench.sources();
    sources.cache = cache.into();
    let outcome = resolve(Row::default().of(&server), &sources);
    let left: Vec<_> = walk(&sources.cache)
        .into_iter()
        .filter(|path| !path.is_dir() && path.extension().is_none_or(|end| end != "lock"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    answer(outcome);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let (server, _) = upstream();
    let (row, bench) = (Row::default().of(&server.url), Bench::new());
    bench.file("cache/probe", "a file where a folder should be", 0o644);
    let said = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(said.contains("cannot write `") && said.contains("cache/probe"), "{said}");
}

/// The row of the real catalogue, by the distribution's package: upstream cannot be reached.
fn by_package(bench: &Bench, name: &str) -> anyhow::Result<Found> {
    let offline = Table::default();
    let mut sources = bench.sources();
    sources.http = &offline;
    sources.platform = Platform::here();
    resolve(Component::named(name).unwrap(), &sources)
}

/// Whether this is a machine on which the test about `package` means something.
fn has_apt(package: &str) -> bool {
    if !Path::new("/usr/bin/apt-get").exists() {
        eprintln!("skipped: there is no apt-get");
        return false;
    }
    let installed = Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]).output();
    if installed.is_ok_and(|output| output.stdout.ends_with(b" installed")) {
        eprintln!("skipped: `{package}` is installed, so it would be found on PATH");
        return false;
    }
    true
}

fn packages(bench: &mut Bench) {
    bench.path = "/usr/bin:/bin".into();
    for (row, package) in [("node_exporter", "prometheus-node-exporter"), ("nginx", "nginx")] {
        if !has_apt(package) {
            continue;
        }
        let found = by_package(bench, row).unwrap();
        assert_eq!(found.origin, Origin::Package);
        assert!(found.source.starts_with(&format!("{package}=")), "{}", found.source);
        assert!(found.source.contains(&found.version), "{found:?}");
        assert!(found.program.starts_with(bench.path("cache")), "{found:?}");
        assert_eq!(found.sha256.as_ref().map(String::len), Some(64));
        assert!(found.libraries.iter().all(|folder| folder.is_dir()), "{found:?}");
        // Now it is there, and apt is not asked again.
        let mut sources = bench.sources();
        sources.path = OsString::new();
        sources.platform = Platform::here();
        let offline = Table::default();
        sources.http = &offline;
        let again = resolve(Component::named(row).unwrap(), &sources).unwrap();
        assert_eq!(again, found);
    }
    assert!(bench.parts().is_empty());
}

#[test]
fn a_package_of_the_distribution_is_unpacked_and_works() {
    packages(&mut Bench::new());
}

#[test]
fn no_root_is_needed_for_a_package() {
    if !is_root() {
        eprintln!("skipped: the test before this one ran without root");
        return;
    }
    let wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let wrapper = wrapper.map(OsString::from);
    if let Some(answer) = child(&wrapper, "machine::child_is_nobody", &[]) {
        assert_eq!(answer["origin"], "search-path");
    }
}

#[test]
#[ignore = "another test starts it as another user"]
fn child_is_nobody() {
    assert!(!is_root());
    let mut bench = Bench::new();
    packages(&mut bench);
    bench.path = bench.path("bin").into();
    bench.program("bin/zz-probe", "probe, version 1");
    answer(resolve(Row::default().of("http://127.0.0.1:1"), &bench.sources()));
}

#[test]
fn an_unknown_package_is_refused_with_the_words_of_apt() {
    if !has_apt("zz-no-such-package") {
        return;
    }
    let package = monstack::component::Package {
        name: "zz-no-such-package",
        program: "usr/bin/zz-probe",
        shared: &[],
    };
    let row = Row { package: Some(package), ..Row::default() }.of("http://127.0.0.1:1");
    let mut bench = Bench::new();
    bench.path = "/usr/bin:/bin".into();
    let said = text(&resolve(row, &bench.sources()).unwrap_err());
    assert!(said.contains("Unable to locate package zz-no-such-package"), "{said}");
    assert!(said.contains("by fresh package lists"), "{said}");
}

#[test]
fn what_apt_is_told_to_do_installs_nothing() {
    // The commands are values: this reads them, as a dry run would.
    struct Listener(std::sync::Mutex<Vec<String>>);
    impl monstack::exec::Runner for Listener {
        fn run(&self, cmd: &Cmd, on_line: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
            let text = cmd.to_string();
            self.0.lock().unwrap().push(text.clone());
            if text.contains(" -s install ") {
                on_line("Inst libzz1 (1.0-1 Debian:12/stable [amd64])");
                on_line("Inst zz-data (1.0-1 Debian:12/stable [all])");
                on_line("Inst zz-package (2:1.0-1 Debian:12/stable [amd64])");
                return Ok(());
            }
            anyhow::bail!("no more")
        }
    }
    let package = monstack::component::Package {
        name: "zz-package",
        program: "usr/bin/zz-probe",
        shared: &[],
    };
    let row = Row { package: Some(package), ..Row::default() }.of("http://127.0.0.1:1");
    let mut bench = Bench::new();
    for tool in ["apt-get", "dpkg-deb"] {
        bench.program(&format!("bin/{tool}"), "");
    }
    bench.path = bench.path("bin").into();
    let listener = Listener(std::sync::Mutex::default());
    let mut sources = bench.sources();
    sources.runner = &listener;
    resolve(row, &sources).unwrap_err();
    let asked = listener.0.lock().unwrap();
    let verbs: Vec<_> = asked.iter().map(|line| line.rsplit(" -o ").next().unwrap()).collect();
    let verbs: Vec<_> =
        verbs.iter().filter_map(|line| line.split_once(' ')).map(|(_, verb)| verb).collect();
    assert_eq!(
        verbs,
        [
            "-s install --no-install-recommends zz-package",
            "download zz-package=2:1.0-1 libzz1=1.0-1",
            "update",
            "-s install --no-install-recommends zz-package",
            "download zz-package=2:1.0-1 libzz1=1.0-1",
        ]
    );
    assert!(
        asked
            .iter()
            .all(|line| line.contains("/cache/apt/") && line.contains("Debug::NoLocking=1"))
    );
    assert!(
        asked[2..]
            .iter()
            .all(|line| line.contains("Dir::State=") && line.contains("/cache/apt/own/state"))
    );
}

#[test]
fn a_proxy_is_used_for_others_and_not_for_this_machine() {
    let (server, _) = upstream();
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (stream, _) = proxy.accept().unwrap();
        let mut first = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut first).unwrap();
        first
    });
    let env = [
        ("MONSTACK_TEST_SERVER", OsStr::new(&server.url)),
        ("HTTPS_PROXY", OsStr::new(&url)),
        ("HTTP_PROXY", OsStr::new(&url)),
    ];
    let found = child(&["env".into()], "machine::child_has_a_proxy", &env).unwrap();
    assert_eq!(found["origin"], "download");
    assert_eq!(asked.join().unwrap(), "CONNECT monstack.invalid:443 HTTP/1.1\r\n");
}

#[test]
#[ignore = "another test starts it with a proxy"]
fn child_has_a_proxy() {
    let bench = Bench::new();
    let sources = bench.sources();
    let mut nothing = Vec::new();
    let far = "https://monstack.invalid/file";
    assert!(sources.http.download(far, &mut nothing, &mut |_, _| {}).is_err());
    let server = std::env::var("MONSTACK_TEST_SERVER").unwrap();
    answer(resolve(Row::default().of(&server), &sources));
}
