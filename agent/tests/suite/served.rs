//! The real program, asked over HTTP.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine;
use crate::program::{Client, Running, agent, value};

const ANYWHERE: [&str; 2] = ["--listen", "127.0.0.1:0"];

#[test]
fn metrics_are_served_fresh_and_with_the_exact_type() {
    let running = Running::agent(&ANYWHERE);
    let (head, first) = running.get("/metrics");
    assert!(
        head.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{head}"
    );
    let second = running.metrics();
    assert!(value(&second, "node_time_seconds") > value(&first, "node_time_seconds"));
    assert!(
        value(&second, "node_context_switches_total")
            > value(&first, "node_context_switches_total")
    );
    assert!(first.contains(&format!(
        "monstack_agent_build_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    )));
    assert!(value(&first, "process_resident_memory_bytes") > 500_000.0);
    let processes: f64 = value(&first, "process_threads");
    assert!((1.0..20.0).contains(&processes), "{processes}");
}

#[test]
fn health_is_one_json_object() {
    let running = Running::agent(&ANYWHERE);
    let (head, body) = running.get("/health");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(report["status"], "ok");
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert!(report["scope"] == "host" || report["scope"] == "container", "{body}");
    for (part, name) in [
        ("metrics", "memory_percent"),
        ("metrics", "root_filesystem_percent"),
        ("metrics", "load1"),
    ] {
        assert!(report[part][name].is_number(), "{name}: {body}");
    }
    assert!(report["process"]["threads"].as_u64().unwrap() >= 1, "{body}");
    assert_eq!(report["failed_collectors"], Value::Array(Vec::new()));
}

#[test]
fn only_three_pages_exist_and_only_for_reading() {
    let running = Running::agent(&ANYWHERE);
    let (head, body) = running.get("/");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(body.contains("<a href=\"/metrics\">"), "{body}");
    for path in ["/nothing", "/metrics/", "//metrics", "/../etc/passwd"] {
        assert!(running.get(path).0.starts_with("HTTP/1.1 404 "), "{path}");
    }
    assert!(running.get("/metrics?name=x").0.starts_with("HTTP/1.1 200 "));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let (head, _) =
            running.ask(&format!("{method} /metrics HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        assert!(
            head.starts_with("HTTP/1.1 405 ") && head.contains("\r\nallow: GET, HEAD"),
            "{method}: {head}"
        );
    }
    let (head, body) =
        running.ask("HEAD /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: "), "{head}");
    assert_eq!(body, "");
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let running = Running::agent(&ANYWHERE);
    let (head, _) =
        running.ask(&format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(20_000)));
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    let many: String = (0..100).map(|number| format!("X-{number}: 1\r\n")).collect();
    let (head, _) = running.ask(&format!("GET / HTTP/1.1\r\nHost: test\r\n{many}\r\n"));
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    assert!(running.get("/").0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_client_that_never_ends_its_request_is_sent_away() {
    let running = Running::agent(&ANYWHERE);
    let mut streams: Vec<_> = (0..20).map(|_| running.connect()).collect();
    streams
        .iter_mut()
        .for_each(|stream| stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: te").unwrap());
    running.metrics();
    for mut stream in streams {
        let mut answer = Vec::new();
        // An end of the connection, not the time limit of this test.
        stream.read_to_end(&mut answer).unwrap();
    }
}

#[test]
fn clients_that_only_hold_connections_keep_nobody_out() {
    let running = Running::agent(&ANYWHERE);
    let mut idle: Vec<_> = (0..200).map(|_| running.connect()).collect();
    running.metrics();
    // The place of the one that came first is taken by somebody else.
    assert_eq!(idle[0].read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn several_requests_fit_into_one_connection() {
    let running = Running::agent(&ANYWHERE);
    let mut stream = running.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).unwrap();
        assert!(bytes[..length].starts_with(b"HTTP/1.1 200 "));
    }
}

#[test]
fn a_signal_ends_it_although_clients_hang_on() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        let mut running = Running::agent(&[&ANYWHERE[..], &["--data-dir", &data]].concat());
        let published = fs::read_to_string(folder.path().join("data/address")).unwrap();
        assert_eq!(published.trim_end(), running.address);
        let _idle = running.connect();
        let mut half = running.connect();
        half.write_all(b"GET /metr").unwrap();
        running.metrics();
        let begin = Instant::now();
        running.signal(signal);
        assert!(running.wait().success());
        // The promise is one second; a busy machine may take a little longer to notice.
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        assert!(running.line_with("stopping").contains(&format!("SIG{signal}")));
        assert!(!folder.path().join("data/address").exists());
    }
}

#[test]
fn a_hanging_file_of_the_kernel_costs_one_collector_and_one_thread() {
    let folder = tempfile::tempdir().unwrap();
    copy(&machine::folder(), folder.path());
    let pipe = folder.path().join("procfs/diskstats");
    fs::remove_file(&pipe).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (procfs, sysfs) = (path("procfs"), path("sysfs"));
    let mut running = Running::agent(&[
        "--listen",
        "127.0.0.1:0",
        "--path.procfs",
        &procfs,
        "--path.sysfs",
        &sysfs,
    ]);
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let text = running.metrics();
            assert!(
                text.contains("node_scrape_collector_success{collector=\"diskstats\"} 0\n"),
                "{text}"
            );
            assert!(
                text.contains("node_scrape_collector_success{collector=\"loadavg\"} 1\n"),
                "{text}"
            );
            value(&text, "process_threads")
        })
        .collect();
    // The pool of waiting threads may grow to its small limit, but not by one thread for each scrape.
    assert!(threads[19] <= threads[0] + 4.0, "{threads:?}");
    assert!(running.line_with("diskstats").contains("it does not answer"));
    running.signal("TERM");
    assert!(running.wait().success());
}

#[test]
fn a_users_file_is_seen_at_once_and_a_bad_one_spoils_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let running =
        Running::agent(&[&ANYWHERE[..], &["--collector.textfile.directory", &path]].concat());
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("canary.prom", "# HELP canary A bird.\n# TYPE canary gauge\ncanary 1\n");
    let text = running.metrics();
    assert_eq!((value(&text, "canary"), value(&text, "node_textfile_scrape_error")), (1.0, 0.0));
    write("canary.prom", "canary 2\n");
    write("bad.prom", "canary{ 3\n");
    assert!(
        Command::new("mkfifo").arg(folder.path().join("pipe.prom")).status().unwrap().success()
    );
    fs::create_dir(folder.path().join("folder.prom")).unwrap();
    let text = running.metrics();
    assert_eq!((value(&text, "canary"), value(&text, "node_textfile_scrape_error")), (2.0, 1.0));
    assert!(text.contains("node_scrape_collector_success{collector=\"textfile\"} 1\n"));
    let line = running.line_with("cannot read everything");
    for problem in [
        "bad.prom`: line 1: ",
        "pipe.prom`: not a regular file",
        "folder.prom`: not a regular file",
    ] {
        assert!(line.contains(problem), "{line}");
    }
}

fn failure(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn an_address_that_others_can_reach_is_refused_also_from_the_environment() {
    for command in [
        &mut agent(&["--listen", "0.0.0.0:0"]),
        agent(&[]).env("MONSTACK_AGENT_LISTEN", "0.0.0.0:0"),
    ] {
        let (code, said) = failure(command);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.starts_with(
                "error: `--listen 0.0.0.0:0`: `0.0.0.0` can be reached from other machines"
            ),
            "{said}"
        );
        assert!(
            said.contains("\n\nhint: use `--listen 127.0.0.1:0`, or add `--insecure`"),
            "{said}"
        );
    }
}

#[test]
fn a_busy_port_and_a_busy_folder_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (code, said) = failure(&mut agent(&["--listen", &address]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on `{address}`")), "{said}");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["level"], "error");

    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let arguments = [&ANYWHERE[..], &["--data-dir", &data]].concat();
    let _first = Running::agent(&arguments);
    let (code, said) = failure(&mut agent(&arguments));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(&format!("the data folder `{data}` is in use by another agent")),
        "{said}"
    );
}

#[test]
fn the_version_is_printed() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_monstack-agent")).arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("monstack-agent {}\n", env!("CARGO_PKG_VERSION"))
    );
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn many_clients_at_once_all_get_an_answer() {
    let running = Running::agent(&ANYWHERE);
    let ask = |running: &Client| {
        for _ in 0..5 {
            let report: Value = serde_json::from_str(&running.get("/health").1).unwrap();
            assert_eq!(report["status"], "ok");
            let text = running.metrics();
            assert!(text.contains("collector_success{collector=\"cpu\"} 1\n"), "{text}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| ask(&running.client));
        }
    });
}
