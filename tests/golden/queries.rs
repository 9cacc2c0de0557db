//! Whether Prometheus and Loki understand every query of dashboards, log alerts and runbooks.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use monstack::topology::Seat;
use serde_json::{Value, json};

use crate::support::{Stack, default_stack, program, repository, succeeded, walk};
use crate::tidy::{dashboards, log_alerts, panels};

/// Queries of the panels that ask `source`, with a name for each and Grafana's variables filled in.
fn queries(source: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                if target["datasource"]["uid"] == source {
                    let name = format!("{file}, {}", panel["title"].as_str().unwrap());
                    all.push((name, filled(target["expr"].as_str().unwrap())));
                }
            }
        }
    }
    assert!(!all.is_empty());
    all
}

/// Queries in runbooks, in blocks of `language`.
fn in_runbooks(language: &str) -> Vec<(String, String)> {
    let block = regex::Regex::new(&format!("(?s)```{language}\n(.*?)\n```")).unwrap();
    let mut all = Vec::new();
    for path in walk(&repository("docs/runbooks")) {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        all.extend(block.captures_iter(&text).map(|it| (name.clone(), it[1].to_owned())));
    }
    assert!(!all.is_empty());
    all
}

fn filled(query: &str) -> String {
    let values = [
        ("$__rate_interval", "8s"),
        ("$__range", "5m"),
        ("$__auto", "1m"),
        ("$job", "node"),
        ("$node", ".+"),
        ("$level", ".+"),
    ];
    values.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value))
}

#[test]
fn prometheus_understands_every_query() {
    let Some(promtool) = program("promtool") else { return };
    let rules: Vec<_> = queries("prometheus")
        .into_iter()
        .chain(in_runbooks("promql"))
        .enumerate()
        .map(|(number, (name, query))| {
            json!({"record": format!("panel:{number}"), "expr": query, "labels": {"panel": name}})
        })
        .collect();
    let count = rules.len();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("panels.yml");
    let file = json!({"groups": [{"name": "panels", "rules": rules}]});
    fs::write(&path, file.to_string()).unwrap();
    let output = Command::new(promtool).args(["check", "rules"]).arg(path).output().unwrap();
    succeeded("promtool check rules", &output);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("{count} rules found")), "{said}");
}

#[test]
fn loki_answers_every_query() {
    let Some(program) = program("loki") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (mut stack, _held) = seated(default_stack(folder.path()));
    stack.input.facts.worker = None;
    stack.write();
    let loki = Loki::start(&stack, &program);
    loki.push(&[
        ("app", "flask", "error", r#"{"level": "ERROR", "message": "boom"}"#),
        ("nginx", "nginx_access", "error", r#"{"path":"/","status":"500"}"#),
    ]);
    let mut asked = queries("loki");
    for alert in log_alerts() {
        let name = alert["title"].as_str().unwrap().to_owned();
        asked.push((name, alert["data"][0]["model"]["expr"].as_str().unwrap().to_owned()));
    }
    for (name, query) in asked {
        let answer = loki.ask(&query);
        let result = answer["data"]["result"].as_array();
        assert!(result.is_some_and(|it| !it.is_empty()), "{name}: `{query}` gives {answer}");
    }
    for (name, query) in in_runbooks("logql") {
        assert_eq!(loki.ask(&query)["status"], "success", "{name}: `{query}`");
    }
}

/// The stack on loopback addresses of which Loki's ports are free; what is returned beside it keeps others away.
fn seated(mut stack: Stack) -> (Stack, TcpListener) {
    for slot in 200..=250 {
        stack.topology = monstack::topology::Topology::new(
            stack.topology.stack,
            Seat { slot, ..Seat::default() },
        );
        let service = stack.topology.service("loki").unwrap();
        let free = |name: &str| TcpListener::bind(service.listen(name)).is_ok();
        // A port that no component has stands for the whole slot, so that two tests never take the same.
        let lock = TcpListener::bind((service.node.address, 1025));
        if let (Ok(lock), true) = (lock, free("http") && free("grpc")) {
            return (stack, lock);
        }
    }
    panic!("no loopback address is free");
}

/// A running Loki, which ends with this value.
struct Loki {
    process: Child,
    url: String,
}

impl Loki {
    fn start(stack: &Stack, program: &std::path::Path) -> Self {
        let service = stack.topology.service("loki").unwrap();
        let input = &stack.input;
        let spec = monstack::render::service_spec(&stack.topology, &stack.layout, input, &service);
        let log = fs::File::create(stack.layout.logs().join("loki.log")).unwrap();
        let process = Command::new(program)
            .args(spec.unwrap().args)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut loki = Self { process, url: service.url() };
        let start = Instant::now();
        while ureq::get(&service.health()).call().is_err() {
            let ended = loki.process.try_wait().unwrap();
            let words = fs::read_to_string(stack.layout.logs().join("loki.log")).unwrap();
            assert!(ended.is_none() && start.elapsed() < Duration::from_secs(60), "{words}");
            sleep(Duration::from_millis(50));
        }
        loki
    }

    fn push(&self, lines: &[(&str, &str, &str, &str)]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos().to_string();
        let streams: Vec<_> = lines
            .iter()
            .map(|(service, job, level, line)| {
                let labels = json!({"service": service, "job": job, "level": level, "node": "app"});
                json!({"stream": labels, "values": [[now, line]]})
            })
            .collect();
        let body = json!({"streams": streams}).to_string();
        let url = format!("{}/loki/api/v1/push", self.url);
        ureq::post(&url).header("content-type", "application/json").send(body).unwrap();
    }

    fn ask(&self, query: &str) -> Value {
        let url = format!("{}/loki/api/v1/query_range", self.url);
        let answer = ureq::get(&url).query("query", query).query("step", "60").config();
        let mut answer = answer.http_status_as_error(false).build().call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("`{query}`: {text}"))
    }
}

impl Drop for Loki {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
