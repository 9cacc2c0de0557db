//! Rules that people would otherwise have to remember.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::support::{default_stack, repository, walk};

/// Dashboards by path.
pub fn dashboards() -> Vec<(String, Value)> {
    let files = walk(&repository("templates/grafana/dashboards"));
    assert!(!files.is_empty());
    files
        .iter()
        .map(|path| {
            let json = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), json)
        })
        .collect()
}

/// Panels that show data.
pub fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    all.filter(|panel| panel["type"] != "row")
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// Alerts of Prometheus: rules that raise one.
fn alerts() -> Vec<Value> {
    let rules = walk(&repository("templates/prometheus/rules"));
    let files = rules.iter().map(|path| yaml(&fs::read_to_string(path).unwrap()));
    let groups = files.flat_map(|file| file["groups"].as_array().unwrap().clone());
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.filter(|rule| rule.get("alert").is_some()).collect()
}

/// Alerts of Grafana, as they are rendered.
pub fn log_alerts() -> Vec<Value> {
    let files = default_stack("/s".as_ref()).render();
    let file = files.iter().find(|file| file.path.ends_with("alerting/logs.yml")).unwrap();
    let file = yaml(std::str::from_utf8(&file.contents).unwrap());
    let groups = file["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn every_panel_has_a_unit_a_description_and_a_source() {
    for (file, dashboard) in dashboards() {
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let name = format!("{file}: {}", panel["title"]);
            assert!(!text(panel, "/title").is_empty(), "{name}");
            assert!(!text(panel, "/fieldConfig/defaults/unit").is_empty(), "{name} has no unit");
            assert!(text(panel, "/description").ends_with('.'), "{name} has no description");
            let source = text(panel, "/datasource/uid");
            assert!(["prometheus", "loki"].contains(&source), "{name} has the source `{source}`");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{name} asks nothing");
            for target in targets {
                assert_eq!(text(target, "/datasource/uid"), source, "{name}");
                assert!(!text(target, "/expr").is_empty(), "{name} asks nothing");
            }
        }
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{file}: two panels of one id");
        }
    }
}

#[test]
fn dashboards_have_the_uids_that_links_use() {
    let uids: Vec<_> =
        dashboards().iter().map(|(_, dashboard)| text(dashboard, "/uid").to_owned()).collect();
    assert_eq!(uids, ["monstack-application", "monstack-hosts", "monstack-stack"]);
}

#[test]
fn panels_do_not_overlap() {
    for (file, dashboard) in dashboards() {
        let mut taken = BTreeMap::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{file}: {} is too wide", panel["title"]);
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    let other = taken.insert((x, y), panel["title"].clone());
                    assert_eq!(other, None, "{file}: {} is in the way", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn every_alert_says_what_it_means() {
    for alert in alerts() {
        let name = text(&alert, "/alert");
        assert!(!text(&alert, "/for").is_empty(), "`{name}` has no `for`");
        judge(name, &alert, &["none", "warning", "critical"]);
    }
    for alert in log_alerts() {
        let name = text(&alert, "/title");
        assert!(!text(&alert, "/for").is_empty(), "`{name}` has no `for`");
        judge(name, &alert, &["warning", "critical"]);
    }
}

fn judge(name: &str, alert: &Value, severities: &[&str]) {
    let severity = text(alert, "/labels/severity");
    assert!(severities.contains(&severity), "`{name}` has the severity `{severity}`");
    assert!(!text(alert, "/annotations/summary").is_empty(), "`{name}` has no summary");
    assert!(!text(alert, "/annotations/description").is_empty(), "`{name}` has no description");
    let runbook = text(alert, "/annotations/runbook_url");
    assert_eq!(runbook, format!("docs/runbooks/{name}.md"));
    let runbook = fs::read_to_string(repository(runbook)).unwrap_or_default();
    for part in ["Meaning", "Impact", "Diagnosis", "Mitigation"] {
        assert!(
            runbook.contains(&format!("\n## {part}\n")),
            "the runbook of `{name}` lacks {part}"
        );
    }
    assert!(runbook.starts_with(&format!("# {name}\n")));
}

#[test]
fn every_runbook_is_of_an_alert() {
    let of_prometheus = alerts().into_iter().map(|it| text(&it, "/alert").to_owned());
    let of_grafana = log_alerts().into_iter().map(|it| text(&it, "/title").to_owned());
    let names: BTreeSet<String> = of_prometheus.chain(of_grafana).collect();
    assert!(names.len() >= 8, "{names:?}");
    for path in walk(&repository("docs/runbooks")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(names.contains(&name) || name == "README", "`{name}` is no alert");
    }
}

#[test]
fn every_alert_is_tested_firing_and_not_firing() {
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for path in walk(&repository("tests/rules")) {
        let file = yaml(&fs::read_to_string(path).unwrap());
        for test in file["tests"].as_array().unwrap() {
            for case in test["alert_rule_test"].as_array().unwrap() {
                let fires = case["exp_alerts"].as_array().is_some_and(|it| !it.is_empty());
                seen.entry(text(case, "/alertname").to_owned()).or_default().insert(fires);
            }
        }
    }
    for alert in alerts() {
        let name = text(&alert, "/alert");
        let cases = seen.get(name).map_or(0, BTreeSet::len);
        assert_eq!(
            cases, 2,
            "`{name}` needs a test in which it fires and one in which it does not"
        );
    }
}

#[test]
fn rules_on_machines_ask_one_exporter() {
    let rules = fs::read_to_string(repository("templates/prometheus/rules/hosts.yml")).unwrap();
    let metric = regex::Regex::new(r#"\bnode_\w+(\{job="node")?"#).unwrap();
    let mut found = 0;
    for used in metric.captures_iter(&rules).filter(|it| &it[0] != "node_exporter") {
        assert!(used.get(1).is_some(), "`{}` is asked of any job", &used[0]);
        found += 1;
    }
    assert!(found > 5);
}

#[test]
fn templates_hide_nothing_from_the_encoders() {
    for path in walk(&repository("templates")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("| safe"), "{}", path.display());
    }
}
